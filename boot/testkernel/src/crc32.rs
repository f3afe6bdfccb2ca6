//! CRC-32 (ISO/IEC 8802-3, as in zip and `crc32(1)`), sixteen bytes a step: an initrd of 1 GB must take seconds in an
//! emulator too.

const POLYNOMIAL: u32 = 0xedb8_8320;
const STEP: usize = 16;

/// The tables of the checksum; 16 KiB, made at run time.
pub struct Crc32([[u32; 256]; STEP]);

impl Default for Crc32 {
    fn default() -> Self {
        Self::new()
    }
}

impl Crc32 {
    /// Makes the tables: `table[n][b]` is the effect of byte `b` followed by `n` zero bytes.
    #[must_use]
    pub fn new() -> Self {
        let mut tables = [[0u32; 256]; STEP];
        let mut previous = core::array::from_fn(|byte| {
            let mut value = u32::try_from(byte).unwrap_or_default();
            for _ in 0..8 {
                value = (value >> 1) ^ if value & 1 == 1 { POLYNOMIAL } else { 0 };
            }
            value
        });
        let first: [u32; 256] = previous;
        for table in &mut tables {
            *table = previous;
            previous = previous.map(|value| (value >> 8) ^ first[usize::from(value.to_le_bytes()[0])]);
        }
        Self(tables)
    }

    /// The checksum of `bytes`.
    #[must_use]
    pub fn of(&self, bytes: &[u8]) -> u32 {
        let mut crc = !0u32;
        let (steps, rest) = bytes.as_chunks::<STEP>();
        for step in steps {
            crc = self.step(crc, step);
        }
        for byte in rest {
            crc = (crc >> 8) ^ self.0[0][usize::from(crc.to_le_bytes()[0] ^ byte)];
        }
        !crc
    }

    /// Sixteen bytes at once; the checksum so far touches only the first four.
    #[inline(always)]
    fn step(&self, crc: u32, bytes: &[u8; STEP]) -> u32 {
        let seed = crc.to_le_bytes();
        let mut next = 0;
        for (at, byte) in bytes.iter().enumerate() {
            let byte = if at < 4 { byte ^ seed[at] } else { *byte };
            next ^= self.0[STEP - 1 - at][usize::from(byte)];
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::Crc32;

    #[test]
    fn the_check_value_of_the_standard() {
        assert_eq!(Crc32::new().of(b"123456789"), 0xcbf4_3926);
        assert_eq!(Crc32::new().of(b""), 0);
    }

    #[test]
    fn sixteen_at_once_equals_bit_by_bit_at_every_length() {
        let bytes: Vec<u8> = (0..100u32).map(|n| n.wrapping_mul(0x9e37_79b1).to_le_bytes()[3]).collect();
        let tables = Crc32::new();
        for length in 0..bytes.len() {
            let mut crc = !0u32;
            for byte in &bytes[..length] {
                crc ^= u32::from(*byte);
                for _ in 0..8 {
                    crc = (crc >> 1) ^ if crc & 1 == 1 { super::POLYNOMIAL } else { 0 };
                }
            }
            assert_eq!(tables.of(&bytes[..length]), !crc, "length {length}");
        }
    }
}
