//! Distinguished names: read as people write them (RFC 4514), written with a common name alone.

use crate::{
    Result,
    der::{self, Element, Reader, tag},
    units,
};

/// 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 4, 3];

/// Attributes that have a short name (RFC 4514, 3), and the one of mail addresses, which every program writes.
const SHORT: [(&str, &str); 10] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// A name of one common name.
pub(super) fn common_name(name: &str) -> Vec<u8> {
    let attribute = der::sequence(&[&der::oid(COMMON_NAME), &der::element(tag::UTF8_STRING, &[name.as_bytes()])]);
    der::sequence(&[&der::set(vec![attribute])])
}

/// A name as people write it, the narrowest part first; what is no name, by its bytes.
pub(super) fn show(name: &[u8]) -> String {
    parts(name).unwrap_or_else(|_| format!("#{}", units::hex(name)))
}

fn parts(name: &[u8]) -> Result<String> {
    let sets = Reader::new(name).take(tag::SEQUENCE, "name")?.inside().all()?;
    let set = |set: &Element<'_>| -> Result<String> {
        let attributes = set.inside().all()?;
        Ok(attributes.iter().rev().map(attribute).collect::<Result<Vec<_>>>()?.join("+"))
    };
    Ok(sets.iter().rev().map(set).collect::<Result<Vec<_>>>()?.join(","))
}

fn attribute(attribute: &Element<'_>) -> Result<String> {
    let mut reader = attribute.inside();
    let oid = der::dotted(reader.take(tag::OID, "attribute")?.content);
    let value = reader.next()?;
    let short = SHORT.iter().find(|(known, _)| *known == oid);
    let text = value.as_ref().and_then(text).filter(|_| short.is_some());
    let value = text.map_or_else(|| format!("#{}", units::hex(value.map_or(&[], |value| value.whole))), |text| escaped(&text));
    Ok(format!("{}={value}", short.map_or(oid.as_str(), |(_, short)| short)))
}

/// A string of any kind that has characters.
fn text(value: &Element<'_>) -> Option<String> {
    const NUMERIC: u8 = 0x12;
    const TELETEX: u8 = 0x14;
    const IA5: u8 = 0x16;
    match value.tag {
        tag::UTF8_STRING => Some(String::from_utf8_lossy(value.content).into_owned()),
        // Of teletex strings nobody writes more than Latin 1.
        NUMERIC..=TELETEX | IA5 => Some(value.content.iter().copied().map(char::from).collect()),
        tag::BMP_STRING => {
            let units = value.content.as_chunks().0.iter().copied().map(u16::from_be_bytes);
            Some(char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
        }
        _ => None,
    }
}

/// Section 2.4.
fn escaped(text: &str) -> String {
    let last = text.chars().count().saturating_sub(1);
    let mut escaped = String::new();
    for (nth, c) in text.chars().enumerate() {
        let is_special = matches!(c, '"' | '+' | ',' | ';' | '<' | '>' | '\\');
        if is_special || c == ' ' && (nth == 0 || nth == last) || c == '#' && nth == 0 {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_from_the_narrowest_part() {
        let attribute = |oid: &[u8], tag, value: &[u8]| der::sequence(&[&der::oid(oid), &der::element(tag, &[value])]);
        let name = der::sequence(&[
            &der::set(vec![attribute(&[0x55, 4, 6], 0x13, b"DE")]),
            &der::set(vec![attribute(&[0x55, 4, 10], tag::BMP_STRING, b"\0L\0\xfc"), attribute(&[0x55, 4, 11], 0x14, b"\xfc")]),
            &der::set(vec![attribute(COMMON_NAME, tag::UTF8_STRING, b"# a, \"b\"+\x1b ")]),
            &der::set(vec![attribute(&[0x2a, 3], tag::OCTET_STRING, b"x")]),
        ]);
        assert_eq!(show(&name), "1.2.3=#040178,CN=\\# a\\, \\\"b\\\"\\+\u{1b}\\ ,O=Lü+OU=ü,C=DE");
        assert_eq!((show(&common_name("a b")), show(&der::sequence(&[]))), ("CN=a b".into(), String::new()));
        assert_eq!((show(&[0x30, 1]), show(&der::sequence(&[&[4, 0]]))), ("#3001".into(), String::new()));
    }
}
