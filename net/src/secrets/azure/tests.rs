use super::{super::served::*, *};
use formats::Kind;
use std::os::unix::fs::PermissionsExt;

/// A chain with these variables, where nobody is in the neighbourhood and there is no `az`.
fn chain(these: Set<'_>) -> Chain {
    let nobody = nobody();
    let own = [("AZURE_POD_IDENTITY_AUTHORITY_HOST", nobody.as_str()), ("PATH", "/nowhere")];
    let all: Vec<_> = own.iter().chain(these).copied().collect();
    Chain::new(&variables(&all))
}

fn storage(these: Set<'_>) -> Result<Login> {
    let clock = Standing::at(NOON);
    chain(these).storage(&http(&clock), &*clock, "account")
}

fn token(these: Set<'_>) -> Result<Secret> {
    let clock = Standing::at(NOON);
    chain(these).token(&http(&clock), &*clock, MANAGEMENT)
}

fn shared_key() -> Login {
    Login::SharedKey(Key::new("account", "Z2VoZWlt").unwrap())
}

fn sas() -> Login {
    Login::Sas(Secret::new("sv=1&se=2024-03-01T00%3A00%3A00Z&sig=geheim"))
}

const BY_KEY: (&str, &str) = ("AZURE_STORAGE_KEY", "Z2VoZWlt");
const BY_SAS: (&str, &str) = ("AZURE_STORAGE_SAS_TOKEN", "?sv=1&se=2024-03-01T00%3A00%3A00Z&sig=geheim");
const BY_STRING: (&str, &str) =
    (CONNECTION, "DefaultEndpointsProtocol=https;AccountName=account;AccountKey=Z2VoZWlt;EndpointSuffix=core.windows.net");

#[test]
fn a_storage_account_is_opened_in_order() {
    assert_eq!(storage(&[BY_STRING]).unwrap(), shared_key());
    assert_eq!(storage(&[BY_KEY]).unwrap(), shared_key());
    assert_eq!(storage(&[BY_KEY, ("AZURE_STORAGE_ACCOUNT", "account"), BY_SAS]).unwrap(), shared_key());
    assert_eq!(storage(&[BY_SAS]).unwrap(), sas());
    // What is of another account opens this one no more.
    assert_eq!(storage(&[(CONNECTION, "AccountName=other;AccountKey=Z2VoZWlt"), BY_SAS]).unwrap(), sas());
    let string = "BlobEndpoint=http://h:1/account;SharedAccessSignature=sv=1&se=2024-03-01T00%3A00%3A00Z&sig=geheim";
    assert_eq!(storage(&[(CONNECTION, string), BY_KEY]).unwrap(), sas());
    let other = storage(&[BY_KEY, ("AZURE_STORAGE_ACCOUNT", "other")]).unwrap_err();
    assert!(other.to_string().contains("AZURE_STORAGE_KEY (which is of the account other)"), "{other}");
}

#[test]
fn a_connection_string_says_where() {
    let of = |string: &str| chain(&[(CONNECTION, string)]);
    let endpoint = |string: &str| of(string).endpoint("account").unwrap().map(|url| url.whole());
    assert_eq!(endpoint(BY_STRING.1).unwrap(), "https://account.blob.core.windows.net/");
    assert_eq!(endpoint("AccountName=account;BlobEndpoint=http://h:1/account").unwrap(), "http://h:1/account");
    assert_eq!(endpoint("AccountName=other;BlobEndpoint=http://h:1/other"), None);
    let emulated = of("UseDevelopmentStorage=true;");
    assert_eq!(emulated.account().unwrap().unwrap(), "devstoreaccount1");
    assert_eq!(emulated.endpoint("devstoreaccount1").unwrap().unwrap().whole(), "http://127.0.0.1:10000/devstoreaccount1");
    assert_eq!(chain(&[BY_STRING, ("AZURE_STORAGE_ACCOUNT", "a")]).account().unwrap().as_deref(), Some("account"));
    assert_eq!(chain(&[("AZURE_STORAGE_ACCOUNT", "a")]).account().unwrap().as_deref(), Some("a"));
}

#[test]
fn a_client_and_a_workload_get_tokens() {
    let server = Server::start(|_| ok(r#"{"token_type": "Bearer", "expires_in": 3599, "access_token": "token"}"#));
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "jwt\n").unwrap();
    let (url, path) = (server.url(), file.path().to_str().unwrap());
    let common = [("AZURE_AUTHORITY_HOST", url.as_str()), ("AZURE_TENANT_ID", "tenant"), ("AZURE_CLIENT_ID", "client")];
    let with = |more: (&'static str, &str)| token(&[common[0], common[1], common[2], more]).unwrap();
    assert_eq!(with(("AZURE_CLIENT_SECRET", "geh eim")).told(), "token");
    assert_eq!(with(("AZURE_FEDERATED_TOKEN_FILE", path)).told(), "token");
    let asked = server.asked();
    assert_eq!(asked[0].what(), "POST /tenant/oauth2/v2.0/token");
    let begin = "grant_type=client_credentials&client_id=client&scope=https%3A%2F%2Fmanagement.azure.com%2F.default&";
    assert_eq!(asked[0].body, format!("{begin}client_secret=geh%20eim"));
    let assertion = "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=jwt";
    assert_eq!(asked[1].body, format!("{begin}{assertion}"));
}

#[test]
fn managed_identities_get_tokens() {
    let server = Server::start(|asked| match (asked.header("metadata"), asked.header("x-identity-header")) {
        (Some("true"), None) => ok(r#"{"access_token": "machine", "expires_in": "86399", "expires_on": "1709294400"}"#),
        (None, Some("geheim")) => ok(r#"{"access_token": "service", "expires_on": "1709294400"}"#),
        _ => refusal("400 Bad Request", ""),
    });
    let url = server.url();
    let machine = ("AZURE_POD_IDENTITY_AUTHORITY_HOST", url.as_str());
    assert_eq!(token(&[machine, ("AZURE_CLIENT_ID", "one of several")]).unwrap().told(), "machine");
    let endpoint = format!("{url}/msi/token");
    assert_eq!(token(&[machine, ("IDENTITY_ENDPOINT", &endpoint), ("IDENTITY_HEADER", "geheim")]).unwrap().told(), "service");
    let login = ("AZURE_STORAGE_AUTH_MODE", "login");
    assert_eq!(storage(&[machine, BY_KEY, BY_SAS, login]).unwrap(), Login::Bearer(Secret::new("machine")));
    let asked = server.asked();
    let wanted = "GET /metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fmanagement.azure.com%2F&client_id=one%20of%20several";
    assert_eq!(asked[0].what(), wanted);
    assert_eq!(asked[1].what(), "GET /msi/token?api-version=2019-08-01&resource=https%3A%2F%2Fmanagement.azure.com%2F");
    assert!(asked[2].what().ends_with("resource=https%3A%2F%2Fstorage.azure.com%2F"));
}

#[test]
fn the_users_login_is_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let az = dir.path().join("az");
    // Its path holds nothing else.
    let script = "#!/bin/sh\n[ \"$*\" = 'account get-access-token --output json --resource https://management.azure.com/' ] || exit 3\n\
                  echo '{\"accessToken\": \"user\", \"expires_on\": 1709211600}'\n";
    fs::write(dir.path().join("script"), script).unwrap();
    fs::copy(dir.path().join("script"), &az).unwrap();
    fs::set_permissions(&az, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(token(&[("PATH", dir.path().to_str().unwrap())]).unwrap().told(), "user");
    let error = storage(&[("PATH", dir.path().to_str().unwrap())]).unwrap_err();
    assert!(error.to_string().contains("`az account get-access-token` (exit status: 3)"), "{error}");
}

#[test]
fn a_chain_that_finds_nothing_says_where_it_looked() {
    let error = storage(&[]).unwrap_err();
    assert_eq!(error.kind(), Kind::BadInput);
    let said = error.to_string();
    assert!(
        said.starts_with("there is a login for the storage account account in none of these places: the variable AZURE_STORAGE_CONN"),
        "{said}"
    );
    for place in [
        "AZURE_STORAGE_KEY;",
        "AZURE_STORAGE_SAS_TOKEN;",
        "AZURE_CLIENT_SECRET and AZURE_FEDERATED_TOKEN_FILE;",
        "IDENTITY_ENDPOINT and IDENTITY_HEADER;",
        "the metadata service of Azure (127.0.0.1:",
        "`az account get-access-token` cannot be run",
    ] {
        assert!(said.contains(place), "{place} is not in: {said}");
    }
    assert!(error.hint_text().unwrap().contains("AZURE_STORAGE_KEY"));
    assert!(token(&[]).unwrap_err().hint_text().unwrap().contains("az login"));
}

#[test]
fn what_is_broken_is_no_next_place() {
    let refusing =
        Server::start(|_| refusal("401 Unauthorized", r#"{"error": "invalid_client", "error_description": "AADSTS7000215: Invalid"}"#));
    let strange = Server::start(|_| ok("{}"));
    let (refusing, strange) = (refusing.url(), strange.url());
    let client = [("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "c"), ("AZURE_CLIENT_SECRET", "geheim")];
    let cases: [(Set<'_>, Kind, &str); 9] = [
        (&[(CONNECTION, "AccountName=account;geheim")], Kind::BadInput, "part 2 is not NAME=VALUE"),
        (&[(CONNECTION, "AccountName=account")], Kind::BadInput, "has neither AccountKey nor SharedAccessSignature"),
        (&[("AZURE_STORAGE_KEY", "geheim!")], Kind::BadInput, "AZURE_STORAGE_KEY: the key of the storage account account is no base64"),
        (&[("AZURE_STORAGE_SAS_TOKEN", "geheim")], Kind::BadInput, "is no shared access signature"),
        (&[("AZURE_STORAGE_SAS_TOKEN", "se=2024-02-29T11:00:00Z&sig=geheim")], Kind::BadInput, "ended 3600 s ago"),
        (&client[2..], Kind::BadInput, "not both AZURE_TENANT_ID and AZURE_CLIENT_ID"),
        (&[("AZURE_CLIENT_CERTIFICATE_PATH", "/geheim")], Kind::Unsupported, "does not log in by certificate"),
        (
            &[client[0], client[1], client[2], ("AZURE_AUTHORITY_HOST", &refusing)],
            Kind::Remote,
            "gives no credentials: 401 Unauthorized: AADSTS7000215: Invalid",
        ),
        (&[client[0], client[1], client[2], ("AZURE_AUTHORITY_HOST", &strange)], Kind::Remote, "answers with JSON that has no token"),
    ];
    for (variables, kind, words) in cases {
        let error = storage(variables).unwrap_err();
        assert!(error.kind() == kind && error.to_string().contains(words), "{words}: {error:?}");
        assert!(!format!("{error:?} {:?}", error.hint_text()).contains("geheim"), "{error:?}");
    }
}

#[test]
fn tokens_are_renewed_before_their_end() {
    let server = Server::start(|asked| {
        ok(if asked.what().contains("storage") {
            r#"{"access_token": "storage", "expires_in": 3600}"#
        } else {
            r#"{"access_token": "management", "expires_in": 7200}"#
        })
    });
    let (clock, chain) = (Standing::at(NOON), chain(&[("AZURE_POD_IDENTITY_AUTHORITY_HOST", &server.url())]));
    let http = http(&clock);
    let token = |resource| chain.token(&http, &*clock, resource).unwrap().told().to_owned();
    assert_eq!((token(STORAGE), token(MANAGEMENT), token(STORAGE)), ("storage".into(), "management".into(), "storage".into()));
    assert_eq!(server.asked().len(), 2);
    clock.set(NOON + 3500);
    assert_eq!((token(STORAGE), token(MANAGEMENT)), ("storage".into(), "management".into()));
    assert_eq!(server.asked().len(), 3);
    chain.forget();
    token(MANAGEMENT);
    assert_eq!(server.asked().len(), 4);
}
