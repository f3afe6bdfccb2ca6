use super::{
    super::known::{cases, judged, pairs, text as field, time},
    *,
};

/// What azure-storage-blob signed (`fixtures/signatures/by_azure_storage.py`).
const KNOWN: &str = include_str!("../../../../fixtures/signatures/azure.json");

#[test]
fn signatures_are_those_of_azures_own_program() {
    for case in cases(KNOWN, 14) {
        let (url, headers) = (Url::parse(field(&case, "url")).unwrap(), pairs(&case["headers"]));
        let length = case["length"].as_u64().unwrap();
        let request = Request { method: field(&case, "method"), url: &url, headers: &headers, length };
        let key = Key::new(field(&case, "account"), field(&case, "key")).unwrap();
        judged(sign(&request, &key, time(&case)), &case);
    }
}

/// The example of Azure's documentation ("Authorize with Shared Key", of Get Container Metadata), with names that come twice.
#[test]
fn the_text_is_that_of_the_documentation() {
    let url = Url::parse("https://myaccount.blob.core.windows.net/mycontainer?restype=container&comp=metadata&timeout=20&a=2&A=1").unwrap();
    let headers = [("X-Ms-Date", "Fri, 26 Jun 2015 23:39:12 GMT".to_owned()), ("x-ms-version", "2015-02-21".to_owned())];
    let request = Request { method: "GET", url: &url, headers: &headers, length: 0 };
    let wanted = "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2015-02-21\n\
                  /myaccount/mycontainer\na:1,2\ncomp:metadata\nrestype:container\ntimeout:20";
    assert_eq!(text(&request, &canonical(headers.iter().map(|(name, value)| (*name, value.as_str()))), "myaccount"), wanted);
}

#[test]
fn keys_are_base64_and_not_shown() {
    let error = Key::new("account", "geheim!").unwrap_err().to_string();
    assert_eq!(error, "the key of the storage account account is no base64");
    assert_eq!(format!("{:?}", Key::new("account", "Z2VoZWlt").unwrap()), "Key { account: \"account\", .. }");
}
