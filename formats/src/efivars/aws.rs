//! `UefiData`: the variables of a machine of EC2, as `RegisterImage` takes them (AWS's "UEFI Secure Boot for Amazon EC2 instances"; its
//! format is what AWS's own `uefivars` writes).
//!
//! ```text
//!  base64 of: "AMZNUEFI" | u32 CRC-32C of what follows | u32 0 | zlib of:
//!    u64 count | u64 length, name in UTF-8 | u64 length, content | GUID | u32 attributes | where authenticated: EFI_TIME, u64 32, digest
//! ```
//! The digest of the certificate that may set a variable is zeros, as AWS writes it. Theirs is compressed with a dictionary, ours without:
//! one decoder reads both. Read is what has none.
//!
//! Oracle: `uefivars`.

use super::{Variable, time};
use crate::{At, Error, Guid, Result, crc32c::crc32c, units};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use std::io::{Read, Write};

const MAGIC: &[u8] = b"AMZNUEFI";
const VERSION: u32 = 0;
/// Most bytes of all variables; EC2 takes 64 KiB of the whole.
const UNPACKED_MAX: u64 = 4 * units::MIB;
/// The attribute by which a time and a digest follow: EFI_VARIABLE_TIME_BASED_AUTHENTICATED_WRITE_ACCESS.
const TIME_BASED: u32 = 0x20;
/// The digest of whose signature may change a variable, when that is not known.
const NO_DIGEST: [u8; 32] = [0; 32];

/// The variables as EC2 takes them.
///
/// # Errors
/// When they cannot be compressed.
pub fn write(variables: &[Variable]) -> Result<String> {
    let mut content = units::bytes(variables.len()).to_le_bytes().to_vec();
    for variable in variables {
        for bytes in [variable.name.as_bytes(), &variable.data] {
            content.extend(units::bytes(bytes.len()).to_le_bytes());
            content.extend(bytes);
        }
        content.extend(variable.vendor.to_mixed_endian());
        content.extend(variable.attributes.to_le_bytes());
        if variable.attributes & TIME_BASED != 0 {
            content.extend(time::write(variable.time));
            content.extend(units::bytes(NO_DIGEST.len()).to_le_bytes());
            content.extend(NO_DIGEST);
        }
    }
    let mut packed = ZlibEncoder::new(VERSION.to_le_bytes().to_vec(), Compression::best());
    packed.write_all(&content)?;
    let summed = packed.finish()?;
    Ok(BASE64_STANDARD.encode([MAGIC, &crc32c(&summed).to_le_bytes(), &summed].concat()))
}

/// Reads the variables.
///
/// # Errors
/// Bad input: it is no such text, or is damaged. Unsupported: another version, or a dictionary.
pub fn read(text: &str) -> Result<Vec<Variable>> {
    let text: String = text.split_ascii_whitespace().collect();
    let bytes = BASE64_STANDARD.decode(text).map_err(|error| Error::bad_input("is no base64").because(error.to_string()))?;
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| Error::bad_input("does not begin with 'AMZNUEFI'"))?;
    let short = || Error::bad_input("ends in its head");
    let (sum, summed) = rest.split_first_chunk().ok_or_else(short)?;
    let (version, packed) = summed.split_first_chunk().ok_or_else(short)?;
    let (sum, found, version) = (u32::from_le_bytes(*sum), crc32c(summed), u32::from_le_bytes(*version));
    if sum != found {
        return Err(Error::bad_input(format!("the CRC-32C is {found:08x}, {sum:08x} was announced")));
    }
    // FDICT (RFC 1950, 2.2).
    let has_dictionary = packed.get(1).is_some_and(|flags| flags & 0x20 != 0);
    if version != VERSION || has_dictionary {
        let what = if has_dictionary {
            "it is compressed with a dictionary of AWS's".to_owned()
        } else {
            format!("version is {version}, must be 0")
        };
        return Err(Error::unsupported(what));
    }
    let mut content = Vec::new();
    ZlibDecoder::new(packed)
        .take(UNPACKED_MAX + 1)
        .read_to_end(&mut content)
        .map_err(|error| Error::bad_input("damaged compressed data").because(error))?;
    if units::bytes(content.len()) > UNPACKED_MAX {
        return Err(Error::unsupported(format!("the variables have more than {}", units::show_size(UNPACKED_MAX))));
    }
    let mut fields = Fields(&content);
    let count = fields.number()?;
    let mut variables = Vec::new();
    for nth in 1..=count {
        variables.push(fields.variable().at(|| format!("variable {nth} of {count}"))?);
    }
    match fields.0.len() {
        0 => Ok(variables),
        more => Err(Error::bad_input(format!("{more} more bytes stand behind the variables"))),
    }
}

/// What was not read.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk().ok_or_else(|| Error::bad_input("ends too early"))?;
        self.0 = rest;
        Ok(*array)
    }

    fn number(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// What has its length before it.
    fn bytes(&mut self) -> Result<&'a [u8]> {
        let len = self.number()?;
        let split = usize::try_from(len).ok().and_then(|len| self.0.split_at_checked(len));
        let (bytes, rest) = split.ok_or_else(|| Error::bad_input(format!("ends after {} bytes, must have {len}", self.0.len())))?;
        self.0 = rest;
        Ok(bytes)
    }

    fn variable(&mut self) -> Result<Variable> {
        let name = String::from_utf8(self.bytes()?.to_vec()).map_err(|_| Error::bad_input("its name is no UTF-8"))?;
        let data = self.bytes()?.to_vec();
        let vendor = Guid::from_mixed_endian(self.array()?);
        let attributes = u32::from_le_bytes(self.array()?);
        let time = match attributes & TIME_BASED {
            0 => None,
            _ => {
                let time = time::read(self.array()?);
                self.bytes()?;
                time
            }
        };
        Ok(Variable { name, vendor, attributes, time, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Kind, Timestamp,
        efivars::{BOOT_SERVICES, GLOBAL},
    };

    fn variables() -> Vec<Variable> {
        let plain = Variable { name: "ü".into(), vendor: GLOBAL, attributes: BOOT_SERVICES, time: None, data: vec![1, 2, 3] };
        let signed = Variable { time: Some(Timestamp(1_709_210_096)), ..Variable::of_keys("db", vec![7; 1000]) };
        vec![Variable::of_keys("PK", Vec::new()), plain, signed]
    }

    /// The text of these bytes behind the head, with the right sum.
    fn text(summed: &[u8]) -> String {
        BASE64_STANDARD.encode([MAGIC, &crc32c(summed).to_le_bytes(), summed].concat())
    }

    fn packed(content: &[u8]) -> String {
        let mut packed = ZlibEncoder::new(vec![0; 4], Compression::best());
        packed.write_all(content).unwrap();
        text(&packed.finish().unwrap())
    }

    #[test]
    fn what_is_written_comes_back() {
        let text = write(&variables()).unwrap();
        assert!(text.starts_with("QU1aTlVFRk") && text.len() < 300, "{text}");
        assert_eq!(read(&text).unwrap(), variables());
        let lines: Vec<_> = text.as_bytes().chunks(50).map(String::from_utf8_lossy).collect();
        assert_eq!(read(&format!("{}\n", lines.join("\r\n"))).unwrap(), variables());
        assert_eq!(read(&write(&[]).unwrap()).unwrap(), []);
    }

    #[test]
    fn damage_is_an_error() {
        let bytes = BASE64_STANDARD.decode(write(&variables()).unwrap()).unwrap();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            assert!(read(&BASE64_STANDARD.encode(&damaged)).is_err(), "byte {at}");
            assert!(read(&BASE64_STANDARD.encode(&bytes[..at])).is_err(), "{at} bytes");
        }
    }

    #[test]
    fn what_is_no_data_says_why() {
        let number = |value: u64| value.to_le_bytes();
        for (text, words) in [
            ("?".to_owned(), "is no base64"),
            (String::new(), "does not begin with 'AMZNUEFI'"),
            (text(&[1, 0, 0, 0]), "version is 1, must be 0"),
            (text(&[0, 0, 0, 0, 0x78, 0xf9]), "it is compressed with a dictionary of AWS's"),
            (text(&[0, 0, 0, 0, 0x78]), "damaged compressed data"),
            (packed(&[0; 7]), "ends too early"),
            (packed(&number(u64::MAX)), "variable 1 of 18446744073709551615: ends too early"),
            (packed(&[number(1), number(u64::MAX)].concat()), "variable 1 of 1: ends after 0 bytes, must have 18446744073709551615"),
            (packed(&[&number(1)[..], &number(1), &[0xff], &[0; 28]].concat()), "variable 1 of 1: its name is no UTF-8"),
            (packed(&[&number(0)[..], &[1]].concat()), "1 more bytes stand behind the variables"),
            (packed(&vec![0; 5 << 20]), "the variables have more than 4 MiB"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.to_string().starts_with(words), "{error}");
            assert!(matches!(error.kind(), Kind::BadInput | Kind::Unsupported), "{error:?}");
        }
    }
}
