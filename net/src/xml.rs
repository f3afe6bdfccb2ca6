//! What servers say in XML: texts by the names of elements, whatever their namespaces.

use formats::{Error, Result};
use roxmltree::{Document, Node};

/// A document, which may define no entities.
///
/// # Errors
/// Bad input: it is not well-formed.
pub(crate) fn document(text: &str) -> Result<Document<'_>> {
    Document::parse(text).map_err(|error| Error::bad_input("it is no XML").because(error))
}

/// The text of the first element of a name below another.
pub(crate) fn text<'a>(below: Node<'a, '_>, name: &str) -> Option<&'a str> {
    all(below, name).next().map(|node| node.text().unwrap_or_default())
}

/// Every element of a name below another.
pub(crate) fn all<'a, 'b: 'a>(below: Node<'a, 'b>, name: &str) -> impl Iterator<Item = Node<'a, 'b>> {
    below.descendants().filter(move |node| node.tag_name().name() == name)
}

/// The children of an element that have a name.
pub(crate) fn children<'a, 'b: 'a>(of: Node<'a, 'b>, name: &str) -> impl Iterator<Item = Node<'a, 'b>> {
    of.children().filter(move |node| node.tag_name().name() == name)
}

/// The first of them.
pub(crate) fn child<'a, 'b: 'a>(of: Node<'a, 'b>, name: &str) -> Option<Node<'a, 'b>> {
    children(of, name).next()
}

/// Text as it stands in a document.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
