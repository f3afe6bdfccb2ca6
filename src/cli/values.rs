//! Values of options, by the tables: what is right, what completion offers, and how a mistake is refused.

use crate::{
    names::{self, Named},
    outputs::OUTPUTS,
    root::ROOT_FILE_SYSTEMS,
};
use clap::{
    Arg, Command,
    builder::{PossibleValue, StringValueParser, TypedValueParser},
    error::{ContextKind, ContextValue, Error, ErrorKind},
};
use formats::Values;
use std::{ffi::OsStr, marker::PhantomData};

/// Takes the names of a table.
pub(super) fn named<T: Named>() -> NamedParser<T> {
    NamedParser(PhantomData)
}

/// See [`named`].
#[derive(Debug)]
pub(super) struct NamedParser<T>(PhantomData<T>);

impl<T> Clone for NamedParser<T> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<T: Named> TypedValueParser for NamedParser<T> {
    type Value = T;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<T, Error> {
        let name = StringValueParser::new().parse_ref(command, arg, value)?;
        names::find(&name).map_err(|refused| refusal(command, arg, &name, &refused))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let value = |row: T| {
            let value = PossibleValue::new(row.name()).aliases(row.aliases().iter().copied());
            if row.about().is_empty() { value } else { value.help(row.about()) }
        };
        Some(Box::new(T::all().into_iter().map(value)))
    }
}

/// A refusal of ours in clap's terms; `usage` gives it back.
fn refusal(command: &Command, arg: Option<&Arg>, value: &str, refused: &crate::error::Error) -> Error {
    let mut error = Error::new(ErrorKind::InvalidValue).with_cmd(command);
    if let Some(arg) = arg {
        error.insert(ContextKind::InvalidArg, ContextValue::String(arg.to_string()));
    }
    error.insert(ContextKind::InvalidValue, ContextValue::String(value.to_owned()));
    error.insert(ContextKind::Custom, ContextValue::String(refused.to_string()));
    if let Some(hint) = refused.hint_text() {
        error.insert(ContextKind::Suggested, ContextValue::String(hint.to_owned()));
    }
    error
}

/// Takes `KEY=VALUE`, and offers those that the outputs know. Whether they go with an output is seen when all are known.
pub(super) fn key_value() -> KeyValueParser {
    KeyValueParser
}

/// See [`key_value`].
#[derive(Clone, Debug)]
pub(super) struct KeyValueParser;

impl TypedValueParser for KeyValueParser {
    type Value = (String, String);

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<Self::Value, Error> {
        let text = StringValueParser::new().parse_ref(command, arg, value)?;
        let pair = text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
        pair.ok_or_else(|| {
            let what = format!("'{}' must be KEY=VALUE", text.escape_debug());
            refusal(command, arg, &text, &crate::error::Error::bad_input(what))
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let of_outputs = OUTPUTS.iter().flat_map(|output| output.options());
        let mut values = Vec::new();
        for spec in of_outputs.chain(ROOT_FILE_SYSTEMS.iter().flat_map(|root| root.options)) {
            let words: &[&str] = match spec.values {
                Values::Choice(words) => words,
                Values::Flag => &["on", "off"],
                _ => &[""],
            };
            values.extend(words.iter().map(|word| (format!("{}={word}", spec.name), spec.help)));
        }
        values.sort();
        values.dedup_by(|a, b| a.0 == b.0);
        Some(Box::new(values.into_iter().map(|(value, help)| PossibleValue::new(value).help(help))))
    }
}
