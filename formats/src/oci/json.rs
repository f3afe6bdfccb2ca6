//! What the readers of JSON share: fields that must have a type, and errors that say which.

use crate::{Error, Result, units};
use serde_json::{Map, Value};

/// Most bytes of a manifest, an index or a config.
pub(super) const DOCUMENT_MAX: u64 = 16 * units::MIB;

/// An object with where it stands, for messages.
#[derive(Clone, Copy)]
pub(super) struct Object<'a> {
    fields: &'a Map<String, Value>,
}

/// The object that a document is.
///
/// # Errors
/// When it is no JSON or no object. Nesting is bounded by the parser.
pub(super) fn parse(bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(bytes).map_err(|error| Error::bad_input(format!("it is no JSON: {error}")))
}

impl<'a> Object<'a> {
    pub(super) fn of(value: &'a Value) -> Result<Self> {
        value.as_object().map(|fields| Self { fields }).ok_or_else(|| Error::bad_input(format!("it is {}, must be an object", kind(value))))
    }

    /// A field; `null` is as good as none.
    pub(super) fn get(self, name: &str) -> Option<&'a Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    fn typed<T>(self, name: &str, wanted: &str, read: impl Fn(&'a Value) -> Option<T>) -> Result<Option<T>> {
        self.get(name)
            .map(|value| read(value).ok_or_else(|| Error::bad_input(format!("{name} is {}, must be {wanted}", kind(value)))))
            .transpose()
    }

    pub(super) fn text(self, name: &str) -> Result<Option<&'a str>> {
        self.typed(name, "a string", Value::as_str)
    }

    pub(super) fn size(self, name: &str) -> Result<Option<u64>> {
        self.typed(name, "a whole number below 2^64", Value::as_u64)
    }

    pub(super) fn object(self, name: &str) -> Result<Option<Object<'a>>> {
        self.typed(name, "an object", |value| Self::of(value).ok())
    }

    /// An object that must be there.
    pub(super) fn within(self, name: &str) -> Result<Object<'a>> {
        self.required(name, self.object(name)?)
    }

    pub(super) fn list(self, name: &str) -> Result<Option<&'a Vec<Value>>> {
        self.typed(name, "a list", Value::as_array)
    }

    /// A list of strings.
    pub(super) fn texts(self, name: &str) -> Result<Option<Vec<String>>> {
        self.typed(name, "a list of strings", |value| value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect())
    }

    /// A field that must be there.
    pub(super) fn required<T>(self, name: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| Error::bad_input(format!("{name} is missing")))
    }

    /// The names of all fields, in order.
    pub(super) fn names(self) -> impl Iterator<Item = &'a str> {
        self.fields.keys().map(String::as_str)
    }

    /// All pairs of a map of strings, in order; what is no string is left out.
    pub(super) fn pairs(self, name: &str) -> Result<Vec<(String, String)>> {
        let Some(object) = self.object(name)? else { return Ok(Vec::new()) };
        Ok(object.fields.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect())
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
