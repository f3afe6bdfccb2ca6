use super::{super::served::*, *};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use formats::Kind;
use std::process::Command;

type Case = super::super::served::Case<Chain>;

impl Case {
    /// With these variables, where nobody is in the neighbourhood.
    fn new(these: Set<'_>) -> Self {
        Self::with(these, "")
    }

    fn with(these: Set<'_>, json: &str) -> Self {
        let nobody = nobody();
        let own = [("GCE_METADATA_HOST", nobody.trim_start_matches("http://"))];
        Self::of(Chain::new, &[&own[..], these].concat(), &[(".config/gcloud/application_default_credentials.json", json)])
    }

    /// One whose gcloud has logged in.
    fn logged_in(these: Set<'_>, tokens: &Server, json: &str) -> Self {
        let mut case = Self::with(these, json);
        case.chain.tokens_of_users = tokens.url();
        case
    }

    fn token(&self) -> Result<Secret> {
        self.chain.token(&self.http, &*self.clock, EVERYTHING)
    }

    fn project(&self) -> Result<String> {
        self.chain.project(&self.http, &*self.clock)
    }
}

const USER: &str = r#"{"type": "authorized_user", "client_id": "id", "client_secret": "geheim", "refresh_token": "1//geheim+", "quota_project_id": "quota"}"#;

fn tokens() -> Server {
    Server::start(|_| ok(r#"{"access_token": "token", "expires_in": 3599, "token_type": "Bearer"}"#))
}

/// The file of a service account, whose key is new.
fn service_account(token_uri: &str) -> tempfile::NamedTempFile {
    let key =
        Command::new("openssl").args(["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]).output().unwrap();
    let json = serde_json::json!({
        "type": "service_account", "project_id": "project", "private_key_id": "0123", "private_key": String::from_utf8(key.stdout).unwrap(),
        "client_email": "a@b.iam.gserviceaccount.com", "token_uri": token_uri
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), json.to_string()).unwrap();
    file
}

#[test]
fn a_service_account_signs_for_its_token() {
    let server = tokens();
    let url = format!("{}/token", server.url());
    let file = service_account(&url);
    let case = Case::new(&[(NAMED, file.path().to_str().unwrap())]);
    assert_eq!(case.token().unwrap().told(), "token");
    assert_eq!(case.project().unwrap(), "project");
    let asked = server.asked();
    assert_eq!(asked[0].what(), "POST /token");
    let token = asked[0].body.strip_prefix("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=").unwrap();
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!((claims["aud"].as_str(), claims["scope"].as_str()), (Some(url.as_str()), Some(EVERYTHING)));
    assert_eq!(claims["iat"], NOON);
}

#[test]
fn a_user_refreshes_and_comes_after_the_variable() {
    let server = tokens();
    let case = Case::logged_in(&[], &server, USER);
    assert_eq!(case.token().unwrap().told(), "token");
    assert_eq!(case.project().unwrap(), "quota");
    let wanted = "grant_type=refresh_token&client_id=id&client_secret=geheim&refresh_token=1%2F%2Fgeheim%2B&scope=";
    assert!(server.asked()[0].body.starts_with(wanted));

    let other = Server::start(|_| ok(r#"{"access_token": "account", "expires_in": 3599}"#));
    let file = service_account(&other.url());
    let both = Case::logged_in(&[(NAMED, file.path().to_str().unwrap())], &server, USER);
    assert_eq!(both.token().unwrap().told(), "account");
}

/// What google-auth asks for (`fixtures/signatures/by_google_auth.py`), of servers that all are ours here.
const KNOWN: &str = include_str!("../../../../fixtures/signatures/google.json");

#[test]
fn what_is_asked_is_what_googles_own_library_asks() {
    let known: Value = serde_json::from_str(KNOWN).unwrap();
    assert!(known.as_object().unwrap().len() >= 5);
    for (name, case) in known.as_object().unwrap() {
        let answer = r#"{"access_token": "token", "expires_in": 3600, "accessToken": "impersonated", "expireTime": "2024-02-29T13:00:00Z", "value": "subject"}"#;
        let server = Server::start(move |_| ok(answer));
        let here = |url: &str| url.split('/').skip(3).fold(server.url(), |all, part| format!("{all}/{part}"));
        let mut file = case["file"].clone();
        for pointer in ["/token_url", "/service_account_impersonation_url", "/credential_source/url"] {
            if let Some(url) = file.pointer_mut(pointer) {
                *url = here(url.as_str().unwrap()).into();
            }
        }
        let mut case_here = Case::logged_in(&[], &server, &file.to_string());
        case_here.chain.tokens_of_users = format!("{}/token", server.url());
        assert_eq!(case_here.token().unwrap().told(), case["token"], "{name}");
        let asked: Vec<Value> = server.asked().iter().map(told).collect();
        let mut wanted = case["asked"].clone();
        for one in wanted.as_array_mut().unwrap() {
            one["url"] = here(one["url"].as_str().unwrap()).trim_start_matches(&server.url()).into();
        }
        assert_eq!(Value::Array(asked), wanted, "{name}");
    }
}

/// A request as the known ones are written.
fn told(asked: &Asked) -> Value {
    let (method, path) = asked.what().split_once(' ').unwrap();
    let pair = |pair: &str| pair.split_once('=').map(|(name, value)| (name.to_owned(), Value::from(crate::url::decoded(value))));
    let body = if asked.body.starts_with('{') {
        serde_json::from_str(&asked.body).unwrap()
    } else {
        Value::Object(asked.body.split('&').filter_map(pair).collect())
    };
    serde_json::json!({"method": method, "url": path, "body": body, "authorization": asked.header("authorization")})
}

#[test]
fn a_workload_has_its_token_in_a_file() {
    let server = tokens();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "geheim.jwt\n").unwrap();
    let json = serde_json::json!({
        "type": "external_account", "audience": "//a", "subject_token_type": "t", "token_url": server.url(),
        "credential_source": {"file": file.path().to_str().unwrap()}
    });
    assert_eq!(Case::logged_in(&[], &server, &json.to_string()).token().unwrap().told(), "token");
    assert!(server.asked()[0].body.contains("&subject_token=geheim.jwt&"));
}

#[test]
fn a_machine_has_its_own() {
    let metadata = Server::start(|asked| {
        let own = "Metadata-Flavor: Google\r\n".to_owned();
        match asked.what() {
            _ if asked.header("metadata-flavor") != Some("Google") => refusal("403 Forbidden", ""),
            "GET /computeMetadata/v1/project/project-id" => ("200 OK", own, "mine\n".to_owned()),
            what if what.ends_with("?scopes=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fcloud-platform") => {
                ("200 OK", own, r#"{"access_token": "machine", "expires_in": 3599}"#.to_owned())
            }
            _ => ("404 Not Found", own, String::new()),
        }
    });
    let url = metadata.url();
    let host = ("GCE_METADATA_HOST", url.trim_start_matches("http://"));
    assert_eq!(Case::new(&[host]).token().unwrap().told(), "machine");
    assert_eq!(Case::new(&[host]).project().unwrap(), "mine");
    assert_eq!(Case::new(&[host, ("GOOGLE_CLOUD_PROJECT", "named")]).project().unwrap(), "named");
    let case = Case::new(&[host]);
    let error = case.chain.token(&case.http, &*case.clock, "other").unwrap_err();
    assert!(error.to_string().contains("it has no service account"), "{error}");
    let other = Server::start(|_| ok("something"));
    let error = Case::new(&[("GCE_METADATA_HOST", other.url().trim_start_matches("http://"))]).token().unwrap_err();
    assert!(error.to_string().contains("is something else"), "{error}");
}

#[test]
fn a_chain_that_finds_nothing_says_where_it_looked() {
    let case = Case::new(&[]);
    let error = case.token().unwrap_err();
    assert_eq!(error.kind(), Kind::BadInput);
    let file = case.home.path().join(".config/gcloud/application_default_credentials.json");
    let places = format!("the variable GOOGLE_APPLICATION_CREDENTIALS; {}; the metadata service of Google (127.0.0.1:", file.display());
    assert!(error.to_string().contains(&places), "{error}");
    assert!(error.hint_text().unwrap().contains("gcloud auth application-default login"));
    let off = Case::new(&[("NO_GCE_CHECK", "true")]).token().unwrap_err().to_string();
    assert!(off.ends_with("the metadata service of Google (NO_GCE_CHECK is set)"), "{off}");
}

#[test]
fn what_is_broken_is_no_next_place() {
    let server = tokens();
    for (json, kind, words) in [
        ("{geheim", Kind::BadInput, "the credentials file is no JSON: line 1, column 2"),
        ("{}", Kind::BadInput, "has no 'type'"),
        (r#"{"type": "authorized_user", "client_id": "geheim"}"#, Kind::BadInput, "has no 'client_secret'"),
        (
            r#"{"type": "gdch_service_account", "x": "geheim"}"#,
            Kind::Unsupported,
            "is of the type 'gdch_service_account', which moby does not know",
        ),
        (
            r#"{"type": "external_account", "credential_source": {"environment_id": "aws1"}}"#,
            Kind::Unsupported,
            "has neither 'file' nor 'url'",
        ),
        (
            r#"{"type": "external_account", "credential_source": {"file": "/nowhere/token"}}"#,
            Kind::BadInput,
            "credential_source: /nowhere/token: ",
        ),
        (
            r#"{"type": "external_account", "credential_source": {"url": "http://127.0.0.1:1/", "headers": {"X-Odd": "geheim"}}}"#,
            Kind::Unsupported,
            "wants the header 'X-Odd', which moby does not send",
        ),
        (r#"{"type": "service_account", "private_key": "geheim", "client_email": "a@b"}"#, Kind::BadInput, "is no RSA key in PEM"),
    ] {
        let error = Case::logged_in(&[], &server, json).token().unwrap_err();
        assert!(error.kind() == kind && error.to_string().contains(words), "{words}: {error:?}");
        assert!(!format!("{error:?} {:?}", error.hint_text()).contains("geheim"), "{error:?}");
    }
    let gone = Case::logged_in(&[(NAMED, "/nowhere/file.json")], &server, USER).token().unwrap_err();
    assert!(gone.to_string().starts_with("GOOGLE_APPLICATION_CREDENTIALS: /nowhere/file.json: "), "{gone}");
    let file = service_account("http://192.0.2.1/token");
    let plain = Case::new(&[(NAMED, file.path().to_str().unwrap())]).token().unwrap_err();
    assert!(plain.to_string().contains("names http://192.0.2.1/token, must be https"), "{plain}");
    assert!(server.asked().is_empty());
}

#[test]
fn a_wrong_clock_is_named() {
    let body = r#"{"error": "invalid_grant", "error_description": "Invalid JWT: Token must be a short-lived token"}"#;
    let server = Server::start(move |_| ("400 Bad Request", "Date: Thu, 29 Feb 2024 11:00:00 GMT\r\n".to_owned(), body.to_owned()));
    let file = service_account(&server.url());
    let error = Case::new(&[(NAMED, file.path().to_str().unwrap())]).token().unwrap_err();
    assert!(error.to_string().ends_with("short-lived token; the clock of this machine is 60 minutes ahead of the server's"), "{error}");
}

#[test]
fn tokens_are_kept_by_their_scopes() {
    let server = tokens();
    let case = Case::logged_in(&[], &server, USER);
    let ask = |scope| case.chain.token(&case.http, &*case.clock, scope).unwrap();
    for scope in ["a", "b", "a"] {
        ask(scope);
    }
    assert_eq!(server.asked().len(), 2);
    case.clock.set(NOON + 3500);
    ask("a");
    case.chain.forget();
    ask("a");
    assert_eq!(server.asked().len(), 4);
}
