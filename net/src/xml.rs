//! What servers say in XML: texts by the names of elements, whatever their namespaces.

use crate::{http::remote, url::Url};
use formats::Result;
use roxmltree::{Document, Node};

/// What a server answered, a document that may define no entities.
///
/// # Errors
/// Remote: it is not well-formed.
pub(crate) fn document<'a>(url: &Url, text: &'a str) -> Result<Document<'a>> {
    // Azure begins with a mark that no parser is told of.
    let text = text.trim_start_matches('\u{feff}');
    Document::parse(text).map_err(|error| remote(url, "answers what is no XML").because(error))
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
