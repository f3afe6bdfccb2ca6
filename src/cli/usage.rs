//! What clap refuses, in our voice: one line of what is wrong, one of what to do.

use crate::error::Error;
use clap::error::{ContextKind, ContextValue};

/// Our words for a refusal of clap's.
pub(super) fn error(refused: &clap::Error) -> Error {
    let text = |kind| match refused.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    // What stands without a dash is said by its value.
    let option = text(ContextKind::InvalidArg).map(|arg| bare(&arg)).filter(|arg| arg.starts_with('-'));
    if let Some(ours) = text(ContextKind::Custom) {
        let error = option.map_or_else(|| Error::bad_input(&ours), |option| Error::bad_input(&ours).at(option));
        return match text(ContextKind::Suggested) {
            Some(hint) => error.hint(hint),
            None => error,
        };
    }
    if let Some(ours) = std::error::Error::source(refused) {
        return option.map_or_else(|| Error::bad_input(ours.to_string()), |option| Error::bad_input(ours.to_string()).at(option));
    }
    let rendered = refused.render().to_string();
    let mut paragraphs = rendered.split("\n\n").map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
    let what = paragraphs.next().unwrap_or_default();
    let what = what.strip_prefix("error: ").unwrap_or(&what).replace(" For more information, try '--help'.", "");
    let mut hint = String::new();
    for paragraph in paragraphs {
        let said = paragraph.strip_prefix("tip: ").or_else(|| paragraph.strip_prefix("Usage: ").filter(|_| hint.is_empty()));
        if let Some(said) = said {
            hint = if paragraph.starts_with("Usage") { format!("usage: {said}") } else { said.to_owned() };
            break;
        }
    }
    match hint.is_empty() {
        true => Error::bad_input(what),
        false => Error::bad_input(what).hint(hint),
    }
}

/// `--format <FORMAT>` without its value.
fn bare(arg: &str) -> String {
    arg.split(' ').next().unwrap_or(arg).to_owned()
}
