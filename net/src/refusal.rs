//! What a server says when it refuses, as an error.

use crate::{
    dates,
    http::{Answer, remote},
    retry::{Failure, is_passing},
    text::{SHOWN, shown},
    url::Url,
};
use formats::Error;
use serde_json::Value;
use std::time::Duration;
use ureq::http::StatusCode;

/// How much of an answer is read for its errors, in bytes.
const SAID_MAX: u64 = 64 << 10;

/// An answer that is not what was asked for; `does` is what the server does.
pub(crate) fn of_server(mut answer: Answer, does: &str) -> Failure {
    let status = answer.status;
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("a status nobody knows");
    let asked = answer.retry_after();
    let verb = match status {
        500.. => "fails",
        404 => "has no such thing",
        _ => does,
    };
    // What cannot be read says nothing; the status does.
    let said = answer.bytes(SAID_MAX).map(|bytes| said(&bytes)).unwrap_or_default();
    let colon = if said.is_empty() { "" } else { ": " };
    let error = refused(&answer.url, format!("{verb}: {status} {reason}{colon}{said}"), wrong_clock(&answer).as_deref());
    let code = said.split(':').next().unwrap_or_default();
    if is_passing(status) || THROTTLED.contains(&code) { Failure::after(error, asked) } else { error.into() }
}

/// What Amazon's services say with status 400 or 403 to who asks too often.
const THROTTLED: [&str; 4] = ["Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException"];

/// What a server takes amiss in signatures and tokens; below it are networks and clocks that go a little wrong.
const CLOCKS_DIFFER: Duration = Duration::from_secs(240);

/// That a server refuses, which may be because of our clock.
pub(crate) fn refused(url: &Url, what: String, wrong_clock: Option<&str>) -> Error {
    match wrong_clock {
        Some(wrong) => {
            remote(url, format!("{what}; {wrong}")).hint("set the clock of this machine: what it signs is good for some minutes")
        }
        None => remote(url, what),
    }
}

/// By how much the clock of this machine is wrong, held against that of a server that refuses who we are.
pub(crate) fn wrong_clock(answer: &Answer) -> Option<String> {
    let theirs = answer.header("date").filter(|_| matches!(answer.status, 400 | 401 | 403))?;
    apart(theirs, answer.now())
}

/// How far a `Date` is from our time, where it is too far.
fn apart(theirs: &str, ours: Duration) -> Option<String> {
    let theirs = dates::of_http(theirs)?;
    let (by, side) = if ours > theirs { (ours - theirs, "ahead of") } else { (theirs - ours, "behind") };
    (by > CLOCKS_DIFFER).then(|| format!("the clock of this machine is {} minutes {side} the server's", by.as_secs() / 60))
}

/// The errors of a body, `CODE: message` each, or its first words.
fn said(body: &[u8]) -> String {
    if let Some(said) = said_in_xml(&String::from_utf8_lossy(body)) {
        return said;
    }
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let errors = json.as_ref().and_then(|json| json.get("errors")).and_then(Value::as_array);
    let text = |value: &Value, name: &str| {
        value.get(name).and_then(Value::as_str).map(|text| shown(&of_page(text), SHOWN)).filter(|text| !text.is_empty())
    };
    let one = |error: &Value| match (text(error, "code"), text(error, "message")) {
        (Some(code), Some(message)) => Some(format!("{code}: {message}")),
        (code, message) => code.or(message),
    };
    if let Some(errors) = errors {
        return errors.iter().filter_map(one).take(3).collect::<Vec<_>>().join(", ");
    }
    // Google, Azure's resource manager and OpenStack.
    if let Some(said) = json.as_ref().and_then(|json| json.get("error")).filter(|error| error.is_object()).and_then(one) {
        return said;
    }
    // Token servers have their own.
    let other = json
        .as_ref()
        .and_then(|json| ["details", "error_description", "message", "Message", "error"].iter().find_map(|name| text(json, name)));
    other.unwrap_or_else(|| {
        let text = String::from_utf8_lossy(body);
        let is_page = text.trim_start().starts_with('<');
        if is_page { String::new() } else { shown(text.lines().next().unwrap_or_default(), SHOWN) }
    })
}

/// Words that a server of OpenStack's writes for a page, also where it was asked for JSON.
fn of_page(text: &str) -> String {
    text.split("<br />").map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// What AWS, Azure and those like them say: `Code` and `Message`, around which each has elements of its own.
fn said_in_xml(body: &str) -> Option<String> {
    let code = element(body, "Code")?;
    let message = element(body, "Message").unwrap_or_default();
    let line = message.lines().next().unwrap_or_default();
    Some([code.as_str(), line].into_iter().filter(|text| !text.is_empty()).map(|text| shown(text, SHOWN)).collect::<Vec<_>>().join(": "))
}

/// The text of the first element of a name that has no attributes.
pub(crate) fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let named = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    Some(named.iter().fold(text.trim().to_owned(), |text, (entity, c)| text.replace(entity, c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_wrong_is_told() {
        let said = |ours| apart("Sun, 06 Nov 1994 08:49:37 GMT", Duration::from_secs(ours)).unwrap_or_default();
        assert_eq!(said(784_111_777 + 3605), "the clock of this machine is 60 minutes ahead of the server's");
        assert_eq!(said(0), "the clock of this machine is 13068529 minutes behind the server's");
        assert_eq!(said(784_111_777 - 240), "");
    }

    #[test]
    fn what_a_registry_says_is_shown_safely() {
        let body =
            br#"{"errors": [{"code": "DENIED", "message": "not \u001b[31myours"}, {"message": "really"}, {"code": "X"}, {"code": "Y"}]}"#;
        assert_eq!(said(body), "DENIED: not \\u{1b}[31myours, really, X");
        assert_eq!(said(br#"{"details": "incorrect username"}"#), "incorrect username");
        assert_eq!(said(br#"{"error": {"code": 401, "message": "Log in.", "title": "Unauthorized"}}"#), "Log in.");
        assert_eq!(said(br#"{"error": {"code": "NotFound", "message": "No disk"}}"#), "NotFound: No disk");
        let page = br#"{"message": "Not supported.\n<br /><br />\nIt is raw<br /><br />\n\n\n", "code": "415 Unsupported Media Type"}"#;
        assert_eq!(said(page), "Not supported. It is raw");
        assert_eq!(said(b"404 page not found\nmore"), "404 page not found");
        assert_eq!(said(b"<html><body>"), "");
        let xml = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>not &lt;you&gt;\x1b[31m\nTime:1</Message></Error>";
        assert_eq!(said(xml), "AccessDenied: not <you>\\u{1b}[31m");
        assert_eq!(said(b"<Error><Code>Busy</Code></Error>"), "Busy");
        assert_eq!(said(b"\xff\x1b]0;x"), "\u{fffd}\\u{1b}]0;x");
        assert!(said("é".repeat(9999).as_bytes()).chars().count() <= SHOWN + 1);
    }
}
