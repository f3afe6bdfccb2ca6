//! CRC-32C (Castagnoli): polynomial 0x1EDC6F41, reflected, initial value and final inversion all ones. VHDX uses it.

/// Bytes that are worked on at a time.
const STRIDE: usize = 8;

/// The CRC of each byte value with 0 to 7 zero bytes behind it.
const TABLES: [[u32; 256]; STRIDE] = {
    let mut tables = [[0; 256]; STRIDE];
    let mut next = Some(0_u8);
    while let Some(byte) = next {
        // A const cannot call `u32::from`.
        let mut crc = byte as u32;
        let mut bytes = 0;
        while bytes < STRIDE {
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
                bit += 1;
            }
            tables[bytes][byte as usize] = crc;
            bytes += 1;
        }
        next = byte.checked_add(1);
    }
    tables
};

/// The CRC of some bytes.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    let (strides, rest) = bytes.as_chunks::<STRIDE>();
    let crc = strides.iter().fold(u32::MAX, |crc, [a, b, c, d, e, f, g, h]| {
        let [w, x, y, z] = crc.to_le_bytes();
        let stride = [w ^ a, x ^ b, y ^ c, z ^ d, *e, *f, *g, *h];
        stride.iter().zip(TABLES.iter().rev()).fold(0, |crc, (byte, table)| crc ^ table[usize::from(*byte)])
    });
    !rest.iter().fold(crc, |crc, byte| {
        let [low, ..] = crc.to_le_bytes();
        crc >> 8 ^ TABLES[0][usize::from(low ^ byte)]
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
        let ascending: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(&ascending), 0x46dd_794e);
    }
}
