//! For tests: requests, and how foreign programs signed them (`fixtures/signatures`).

use super::Signed;
use serde_json::Value;
use std::time::Duration;

/// The cases of a file, at least so many.
pub(super) fn cases(text: &str, least: usize) -> Vec<Value> {
    let cases: Vec<Value> = serde_json::from_str(text).unwrap();
    assert!(cases.len() >= least, "{} cases", cases.len());
    cases
}

pub(super) fn text<'a>(of: &'a Value, name: &str) -> &'a str {
    of[name].as_str().unwrap()
}

/// Headers. Their names live as long as the test.
pub(super) fn pairs(of: &Value) -> Vec<(&'static str, String)> {
    let pairs = of.as_object().unwrap().iter();
    pairs.map(|(name, value)| (&*name.clone().leak(), value.as_str().unwrap().to_owned())).collect()
}

pub(super) fn time(of: &Value) -> Duration {
    Duration::from_secs(of["time"].as_u64().unwrap())
}

/// Fails unless both add the same.
pub(super) fn judged(mut signed: Signed, case: &Value) {
    let mut wanted = pairs(&case["added"]);
    signed.headers.sort();
    wanted.sort();
    assert_eq!(signed.headers, wanted, "{}", case["name"]);
    assert_eq!(signed.authorization.told(), text(case, "authorization"), "{}", case["name"]);
}
