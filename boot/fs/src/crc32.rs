//! CRC-32 as GPT uses it (ISO/IEC 8802-3, UEFI 2.10 section 5.3.2): polynomial 0x04c11db7, reflected, inverted at both ends.

/// A CRC-32 in progress.
#[derive(Debug, Clone, Copy)]
pub struct Crc32(u32);

impl Default for Crc32 {
    fn default() -> Self {
        Self::new()
    }
}

impl Crc32 {
    /// The checksum of any bytes followed by their own CRC-32, little-endian: how stage2 is sealed.
    pub const RESIDUE: u32 = 0x2144_df1c;

    /// The checksum of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(!0)
    }

    /// Adds `bytes`. Bit by bit: a GPT is 16 KiB, and a table of 1 KiB would be a twentieth of the loader.
    pub fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 ^= u32::from(*byte);
            for _ in 0..8 {
                let carry = self.0 & 1;
                self.0 = (self.0 >> 1) ^ (0xedb8_8320 & 0u32.wrapping_sub(carry));
            }
        }
    }

    /// The checksum of everything added.
    #[must_use]
    pub const fn value(self) -> u32 {
        !self.0
    }
}

#[cfg(test)]
mod tests {
    use super::Crc32;

    fn crc(bytes: &[u8]) -> u32 {
        let mut crc = Crc32::new();
        crc.update(bytes);
        crc.value()
    }

    #[test]
    fn the_check_value_of_the_standard() {
        assert_eq!(crc(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn bytes_followed_by_their_crc_give_the_residue() {
        let mut bytes = b"sealed".to_vec();
        bytes.extend(crc(&bytes).to_le_bytes());
        assert_eq!(crc(&bytes), Crc32::RESIDUE);
    }
}
