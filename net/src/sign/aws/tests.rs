use super::{
    super::known::{cases, judged, pairs, text, time},
    *,
};
use serde_json::Value;

/// What botocore signed (`fixtures/signatures/by_botocore.py`).
const KNOWN: &str = include_str!("../../../../fixtures/signatures/aws.json");

fn key(of: &Value) -> Key {
    Key { id: text(of, "id").to_owned(), secret: Secret::new(text(of, "secret")), token: of["token"].as_str().map(Secret::new) }
}

#[test]
fn signatures_are_those_of_botocore() {
    for case in cases(KNOWN, 25) {
        let (url, headers) = (Url::parse(text(&case, "url")).unwrap(), pairs(&case["headers"]));
        let request = Request { method: text(&case, "method"), url: &url, headers: &headers, payload: text(&case, "payload") };
        let scope = Scope { region: text(&case, "region"), service: text(&case, "service") };
        judged(sign(&request, &key(&case), scope, time(&case)), &case);
    }
}

#[test]
fn headers_of_one_name_are_one_line() {
    let url = Url::parse("https://h/").unwrap();
    let headers = [("x-b", "2".to_owned()), ("X-A", "1".to_owned()), ("x-b", " 3 ".to_owned())];
    let request = Request { method: "GET", url: &url, headers: &headers, payload: "-" };
    let (canonical, names) = canonical_request(&request, Scope { region: "r", service: "s3" }, &[]);
    assert_eq!((canonical.as_str(), names.as_str()), ("GET\n/\n\nhost:h\nx-a:1\nx-b:2,3\n\nhost;x-a;x-b\n-", "host;x-a;x-b"));
}

#[test]
fn secrets_are_not_shown() {
    let key = Key { id: "AKID".to_owned(), secret: Secret::new("geheim"), token: Some(Secret::new("geheim")) };
    assert!(format!("{key:?}").contains("AKID") && !format!("{key:?}").contains("geheim"));
}
