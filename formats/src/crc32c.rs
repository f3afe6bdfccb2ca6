//! CRC-32C (Castagnoli): polynomial 0x1EDC6F41, reflected, initial value and final inversion all ones. VHDX uses it.

/// The CRC of each byte value.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut next = Some(0_u8);
    while let Some(byte) = next {
        // A const cannot call `u32::from`.
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[byte as usize] = crc;
        next = byte.checked_add(1);
    }
    table
};

/// The CRC of some bytes.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        let [low, ..] = crc.to_le_bytes();
        crc >> 8 ^ TABLE[usize::from(low ^ byte)]
    })
}

#[cfg(test)]
mod tests {
    use super::crc32c;

    /// RFC 3720, section B.4, and the check value of every catalogue.
    #[test]
    fn known_values() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }
}
