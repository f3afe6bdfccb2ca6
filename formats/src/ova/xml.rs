//! As much of XML 1.0 as it takes to read what an OVF says of its disks: start tags and their attributes, without the prefixes of
//! namespaces. A document type, which could define entities, is refused; so nothing grows, and nothing recurses.

use crate::{Error, Result};

/// A start tag.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tag {
    name: String,
    attributes: Vec<(String, String)>,
}

impl Tag {
    /// Whether it is of this element.
    pub(super) fn is(&self, name: &str) -> bool {
        self.name == name
    }

    /// The value of an attribute.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// The start tags of a document, in order.
///
/// # Errors
/// When the document is not well-formed as far as it is looked at, or has a document type.
pub(super) fn tags(text: &str) -> Result<Vec<Tag>> {
    let (mut tags, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.find('<') {
        rest = &rest[at..];
        let ends = [("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?", "?>"), ("</", ">")];
        if let Some((start, end)) = ends.into_iter().find(|(start, _)| rest.starts_with(start)) {
            let len = rest[start.len()..].find(end).ok_or_else(|| malformed("it ends inside of a comment, an instruction or a tag"))?;
            rest = &rest[start.len() + len + end.len()..];
        } else if rest.starts_with("<!") {
            return Err(malformed("it has a document type, which an OVF has not"));
        } else {
            let (tag, behind) = start_tag(&rest[1..])?;
            tags.push(tag);
            rest = behind;
        }
    }
    Ok(tags)
}

/// A tag from behind its `<`, and what follows it.
fn start_tag(text: &str) -> Result<(Tag, &str)> {
    let (element, mut rest) = name(text)?;
    let mut tag = Tag { name: element, ..Tag::default() };
    loop {
        rest = rest.trim_start();
        if let Some(behind) = rest.strip_prefix("/>").or_else(|| rest.strip_prefix('>')) {
            return Ok((tag, behind));
        }
        let (key, value) = name(rest)?;
        let value = value.trim_start().strip_prefix('=').map(str::trim_start).ok_or_else(|| malformed("an attribute has no value"))?;
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\'')).ok_or_else(|| malformed("a value has no quotes"))?;
        let (value, behind) = value[1..].split_once(quote).ok_or_else(|| malformed("it ends inside of a value"))?;
        tag.attributes.push((key, unescaped(value)?));
        rest = behind;
    }
}

/// A name without its prefix, and what follows it.
fn name(text: &str) -> Result<(String, &str)> {
    let end = text.find(|c: char| c.is_whitespace() || matches!(c, '=' | '>' | '/' | '<' | '"' | '\'')).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    match name.rsplit(':').next() {
        None | Some("") => Err(malformed("a tag or an attribute has no name")),
        Some(local) => Ok((local.to_owned(), rest)),
    }
}

/// A value with its references replaced (4.1): those of characters and the five that every document has.
fn unescaped(value: &str) -> Result<String> {
    let mut pieces = value.split('&');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (reference, rest) = piece.split_once(';').ok_or_else(|| malformed("a reference does not end"))?;
        let code = |digits: &str, radix| u32::from_str_radix(digits, radix).ok().and_then(char::from_u32);
        let c = match reference.strip_prefix('#') {
            Some(digits) => digits.strip_prefix('x').map_or_else(|| code(digits, 10), |digits| code(digits, 16)),
            None => [("amp", '&'), ("lt", '<'), ("gt", '>'), ("quot", '"'), ("apos", '\'')]
                .into_iter()
                .find(|(n, _)| *n == reference)
                .map(|(_, c)| c),
        };
        text.push(c.ok_or_else(|| malformed("a reference leads nowhere"))?);
        text.push_str(rest);
    }
    Ok(text)
}

fn malformed(why: &str) -> Error {
    Error::bad_input(format!("the XML is malformed: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_tags_are_read_and_nothing_else() {
        let text =
            "\u{feff}<?xml version='1.0'?><!-- <Disk a='1'/> --><o:E\n x:a = \"1 &amp; &#x32;\" b='\"'><![CDATA[<no>]]><f/>text</o:E>";
        let tags = tags(text).unwrap();
        assert_eq!(tags.iter().map(|tag| tag.name.as_str()).collect::<Vec<_>>(), ["E", "f"]);
        assert_eq!((tags[0].get("a"), tags[0].get("b"), tags[0].get("c")), (Some("1 & 2"), Some("\""), None));
    }

    #[test]
    fn what_is_malformed_or_could_grow_is_refused() {
        for bad in [
            "<a",
            "<a b",
            "<a b=c>",
            "<a b='c>",
            "<!DOCTYPE a [<!ENTITY b 'c'>]><a/>",
            "<a b='&b;'/>",
            "<a b='&#xd800;'/>",
            "<!-- ",
            "< a>",
        ] {
            assert!(tags(bad).is_err(), "{bad}");
        }
    }
}
