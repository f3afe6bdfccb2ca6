//! Distinguished encoding rules (ITU-T X.690, 8 and 10), as far as certificates and signatures need them.
//!
//! ```text
//!  tag (1 byte) | length (1 to 5 bytes) | content
//! ```
//! Read is what stands at one level; whoever knows what is in it reads the next, so nothing nests deeper than the code does. Refused are
//! tags above 30, lengths that are indefinite or longer written than needed, and lengths of 4 GiB.

use crate::{Error, Result};
use base64::{Engine as _, prelude::BASE64_STANDARD};

/// Tags of the universal class, and what they are made of.
pub(crate) mod tag {
    pub(crate) const BOOLEAN: u8 = 0x01;
    pub(crate) const INTEGER: u8 = 0x02;
    pub(crate) const BIT_STRING: u8 = 0x03;
    pub(crate) const OCTET_STRING: u8 = 0x04;
    pub(crate) const NULL: u8 = 0x05;
    pub(crate) const OID: u8 = 0x06;
    pub(crate) const UTF8_STRING: u8 = 0x0c;
    pub(crate) const UTC_TIME: u8 = 0x17;
    pub(crate) const GENERALIZED_TIME: u8 = 0x18;
    pub(crate) const BMP_STRING: u8 = 0x1e;
    pub(crate) const SEQUENCE: u8 = 0x30;
    pub(crate) const SET: u8 = 0x31;

    /// A context-specific tag of something that has parts.
    pub(crate) const fn context(number: u8) -> u8 {
        0xa0 | number
    }

    /// A context-specific tag in place of that of something that has no parts.
    pub(crate) const fn implicit(number: u8) -> u8 {
        0x80 | number
    }
}

/// Tag, length and content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    /// With tag and length, as it stands.
    pub(crate) whole: &'a [u8],
    pub(crate) content: &'a [u8],
}

impl<'a> Element<'a> {
    /// What is in it.
    pub(crate) fn inside(&self) -> Reader<'a> {
        Reader { rest: self.content }
    }
}

/// Elements, one behind the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What was not read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next element, whatever it is; nothing at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Element<'a>>> {
        let Some((tag, rest)) = self.rest.split_first() else { return Ok(None) };
        if tag & 0x1f == 0x1f {
            return Err(Error::bad_input(format!("tag is 0x{tag:02x}, tags above 30 are in nothing that is read here")));
        }
        let (len, behind) = length(rest)?;
        let Some((content, behind)) = behind.split_at_checked(len) else {
            return Err(Error::bad_input(format!("ends after {} bytes, must have {len}", behind.len())));
        };
        let whole = &self.rest[..self.rest.len() - behind.len()];
        self.rest = behind;
        Ok(Some(Element { tag: *tag, whole, content }))
    }

    /// The next element, which must have this tag; `what` it is stands in the error.
    pub(crate) fn take(&mut self, tag: u8, what: &str) -> Result<Element<'a>> {
        match self.next().map_err(|error| error.at(what))? {
            Some(element) if element.tag == tag => Ok(element),
            Some(element) => Err(Error::bad_input(format!("tag is 0x{:02x}, must be 0x{tag:02x}", element.tag)).at(what)),
            None => Err(Error::bad_input("is missing").at(what)),
        }
    }

    /// The next element where it has this tag.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<Element<'a>>> {
        match self.rest.first() == Some(&tag) {
            true => self.next(),
            false => Ok(None),
        }
    }

    /// All that are left.
    pub(crate) fn all(mut self) -> Result<Vec<Element<'a>>> {
        std::iter::from_fn(|| self.next().transpose()).collect()
    }

    /// That nothing is left.
    pub(crate) fn end(&self, what: &str) -> Result<()> {
        match self.rest.len() {
            0 => Ok(()),
            more => Err(Error::bad_input(format!("{more} more bytes stand behind it")).at(what)),
        }
    }
}

/// A length and what is behind it.
fn length(bytes: &[u8]) -> Result<(usize, &[u8])> {
    let (first, rest) = bytes.split_first().ok_or_else(|| Error::bad_input("ends before its length"))?;
    let count = match *first {
        short @ ..=0x7f => return Ok((usize::from(short), rest)),
        long @ 0x81..=0x84 => usize::from(long & 0x7f),
        other => return Err(Error::bad_input(format!("length begins with 0x{other:02x}, must be definite and below 4 GiB"))),
    };
    let (bytes, rest) = rest.split_at_checked(count).ok_or_else(|| Error::bad_input("ends in its length"))?;
    let len = bytes.iter().fold(0_u64, |len, byte| len << 8 | u64::from(*byte));
    let is_shortest = len > 0x7f && bytes.first() != Some(&0);
    match usize::try_from(len) {
        Ok(len) if is_shortest => Ok((len, rest)),
        _ => Err(Error::bad_input(format!("length {len} is written in {count} bytes, more than it needs"))),
    }
}

/// The bytes of a number that is not negative, the highest first and without zeros before them.
pub(crate) fn magnitude<'a>(integer: &Element<'a>, what: &str) -> Result<&'a [u8]> {
    match integer.content {
        [0] => Ok(&[]),
        [0, rest @ ..] if rest[0] & 0x80 != 0 => Ok(rest),
        [first, ..] if *first != 0 && first & 0x80 == 0 => Ok(integer.content),
        _ => Err(Error::bad_input("is negative, empty or longer than it needs to be").at(what)),
    }
}

/// The bytes of a bit string that has whole ones.
pub(crate) fn whole_bytes<'a>(bits: &Element<'a>, what: &str) -> Result<&'a [u8]> {
    match bits.content {
        [0, bytes @ ..] => Ok(bytes),
        _ => Err(Error::bad_input("must be a bit string of whole bytes").at(what)),
    }
}

/// An element of these parts.
pub(crate) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let bytes = len.to_be_bytes();
    let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
    let mut whole = vec![tag];
    if len < 0x80 {
        whole.extend(u8::try_from(len));
    } else {
        whole.extend(u8::try_from(bytes.len()).map(|count| 0x80 | count));
        whole.extend(bytes);
    }
    parts.iter().for_each(|part| whole.extend_from_slice(part));
    whole
}

/// A SEQUENCE.
pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(tag::SEQUENCE, parts)
}

/// A SET OF: its parts stand in ascending order of their bytes (X.690, 11.6).
pub(crate) fn set(mut parts: Vec<Vec<u8>>) -> Vec<u8> {
    parts.sort();
    element(tag::SET, &[&parts.concat()])
}

/// An INTEGER that is not negative, from its bytes, the highest first.
pub(crate) fn integer(bytes: &[u8]) -> Vec<u8> {
    let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
    // A first bit that is set would be a sign.
    let sign: &[u8] = if bytes.first().is_none_or(|first| first & 0x80 != 0) { &[0] } else { &[] };
    element(tag::INTEGER, &[sign, bytes])
}

/// An OBJECT IDENTIFIER, from its content.
pub(crate) fn oid(content: &[u8]) -> Vec<u8> {
    element(tag::OID, &[content])
}

/// An OCTET STRING.
pub(crate) fn octets(bytes: &[u8]) -> Vec<u8> {
    element(tag::OCTET_STRING, &[bytes])
}

/// A BIT STRING of whole bytes.
pub(crate) fn bits(bytes: &[u8]) -> Vec<u8> {
    element(tag::BIT_STRING, &[&[0], bytes])
}

/// A NULL.
pub(crate) const NULL: [u8; 2] = [tag::NULL, 0];

/// An OBJECT IDENTIFIER as it is printed: `1.2.840.113549.1.1.11`.
pub(crate) fn dotted(content: &[u8]) -> String {
    let mut arcs = Vec::new();
    let mut arc = 0_u128;
    for byte in content {
        // Nothing has arcs of more than 128 bits but what is damaged.
        arc = arc << 7 | u128::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            arcs.push(std::mem::take(&mut arc));
        }
    }
    if let Some(both) = arcs.first().copied() {
        let first = (both / 40).min(2);
        arcs[0] = both - first * 40;
        arcs.insert(0, first);
    }
    arcs.iter().map(u128::to_string).collect::<Vec<_>>().join(".")
}

/// Textual encoding (RFC 7468), with a line feed at its end.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: String = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line) + "\n").collect();
    format!("-----BEGIN {label}-----\n{lines}-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_as_short_as_can_be_and_come_back() {
        for (len, head) in
            [(0, &[4, 0][..]), (127, &[4, 127]), (128, &[4, 0x81, 128]), (256, &[4, 0x82, 1, 0]), (70_000, &[4, 0x83, 1, 0x11, 0x70])]
        {
            let bytes = octets(&vec![7; len]);
            assert_eq!((&bytes[..head.len()], bytes.len()), (head, head.len() + len));
            let mut reader = Reader::new(&bytes);
            let element = reader.take(tag::OCTET_STRING, "it").unwrap();
            assert_eq!((element.whole.len(), element.content.len()), (bytes.len(), len));
            reader.end("it").unwrap();
        }
    }

    #[test]
    fn what_is_no_der_says_why() {
        for (bytes, words) in [
            (&[][..], "it: is missing"),
            (&[4], "it: ends before its length"),
            (&[4, 0x82, 1], "it: ends in its length"),
            (&[4, 3, 1, 2], "it: ends after 2 bytes, must have 3"),
            (&[4, 0x80, 1, 0, 0], "it: length begins with 0x80, must be definite"),
            (&[4, 0x85, 0, 0, 0, 0, 1, 9], "it: length begins with 0x85"),
            (&[4, 0x81, 1, 9], "it: length 1 is written in 1 bytes"),
            (&[4, 0x82, 0, 200, 9], "it: length 200 is written in 2 bytes"),
            (&[4, 0x84, 0xff, 0xff, 0xff, 0xff], "it: ends after 0 bytes, must have 4294967295"),
            (&[0x1f, 0x81, 1, 0], "it: tag is 0x1f, tags above 30"),
            (&[5, 0], "it: tag is 0x05, must be 0x04"),
        ] {
            let error = Reader::new(bytes).take(tag::OCTET_STRING, "it").unwrap_err().to_string();
            assert!(error.starts_with(words), "{error}");
        }
        assert!(Reader::new(&[5, 0]).end("it").is_err());
    }

    #[test]
    fn numbers_keep_their_sign_apart() {
        for (bytes, wanted) in [(&[][..], &[2, 1, 0][..]), (&[0, 0], &[2, 1, 0]), (&[0, 5], &[2, 1, 5]), (&[0x80], &[2, 2, 0, 0x80])] {
            assert_eq!(integer(bytes), wanted);
            let element = Reader::new(wanted).take(tag::INTEGER, "n").unwrap();
            let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
            assert_eq!(magnitude(&element, "n").unwrap(), &bytes[first..]);
        }
        for bad in [&[2, 0][..], &[2, 1, 0x80], &[2, 2, 0, 5]] {
            assert!(magnitude(&Reader::new(bad).take(tag::INTEGER, "n").unwrap(), "n").is_err(), "{bad:?}");
        }
        assert!(whole_bytes(&Reader::new(&[3, 2, 1, 0xfe]).take(tag::BIT_STRING, "b").unwrap(), "b").is_err());
    }

    #[test]
    fn identifiers_are_printed_with_dots() {
        assert_eq!(dotted(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11]), "1.2.840.113549.1.1.11");
        assert_eq!((dotted(&[0x55, 4, 3]), dotted(&[0x88, 0x37]), dotted(&[])), ("2.5.4.3".into(), "2.999".into(), String::new()));
        assert_eq!(dotted(&[0xff; 99]), "");
    }

    #[test]
    fn a_set_is_sorted() {
        assert_eq!(set(vec![octets(b"b"), octets(b"a"), NULL.to_vec()]), [0x31, 8, 4, 1, b'a', 4, 1, b'b', 5, 0]);
    }
}
