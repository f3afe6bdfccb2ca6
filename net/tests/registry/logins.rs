//! Logging in: Basic, tokens, credential helpers, and what must not be told to whom.

use crate::{
    faulty::{Asked, Faulty, reply},
    real::{Authority, Door, Registry, client, pulls, run, scratch, settings, text},
};
use base64::{Engine, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use formats::Kind;
use net::{Settings, Sources};
use std::{
    fs,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

/// Settings with a credentials file.
fn with_file(dir: &Path, json: &str) -> Settings {
    let file = dir.join("auth.json");
    fs::write(&file, json).unwrap();
    let mut with = settings();
    with.credentials = Sources { files: vec![file], path: None };
    with
}

/// The same for the user `user` of one registry.
pub(crate) fn with_password(dir: &Path, host: &str, password: &str) -> Settings {
    with_file(dir, &format!(r#"{{"auths": {{"{host}": {{"auth": "{}"}}}}}}"#, BASE64_STANDARD.encode(format!("user:{password}"))))
}

#[test]
fn basic_is_answered_and_hinted() {
    let dir = scratch();
    let image = Registry::start(dir.path(), &Door::Open, None).put_image("a");
    let registry = Registry::start(dir.path(), &Door::Basic("geheim"), None);
    let (host, repository) = (registry.host(), registry.repository("a"));
    pulls(&client(with_password(dir.path(), &host, "geheim")), &repository, &image);

    let wrong = client(with_password(dir.path(), &host, "wrong-one")).manifest(&repository, "v1").unwrap_err();
    let hint = wrong.hint_text().unwrap();
    assert!(wrong.to_string().contains("refuses: 401 Unauthorized: UNAUTHORIZED: authentication required"), "{wrong}");
    assert!(hint.contains("auth.json") && hint.contains(&format!("`docker login {host}`")), "{hint}");
    assert!(!format!("{wrong:?} {hint}").contains("wrong-one"));

    let none = client(with_file(dir.path(), "{}")).manifest(&repository, "v1").unwrap_err();
    assert_eq!(none.kind(), Kind::Remote);
    assert!(none.hint_text().unwrap().starts_with(&format!("there are no credentials for {host} in ")), "{none}");
}

#[test]
fn a_helper_is_asked() {
    let dir = scratch();
    let image = Registry::start(dir.path(), &Door::Open, None).put_image("a");
    let registry = Registry::start(dir.path(), &Door::Basic("geheim"), None);
    let helper = dir.path().join("docker-credential-test");
    // It counts how often.
    let script = format!(
        "#!/bin/sh\nread -r host\necho \"$host\" >> {}/calls\necho '{{\"Username\": \"user\", \"Secret\": \"geheim\"}}'\n",
        dir.path().display()
    );
    let file = dir.path().join("script");
    fs::write(&file, script).unwrap();
    // By another process: nothing of this one has it open for writing when it is run.
    run("install", &["-m", "755", text(&file), text(&helper)]);
    let mut with = with_file(dir.path(), r#"{"credsStore": "test"}"#);
    with.credentials.path = Some(format!("{}:/usr/bin:/bin", dir.path().display()).into());
    pulls(&client(with), &registry.repository("a"), &image);
    assert_eq!(fs::read_to_string(dir.path().join("calls")).unwrap(), format!("{}\n", registry.host()));
}

/// A token server as `docker-registry` wants it: JWT by RS256, with the certificate. Its user is `user` with `geheim`, or the bearer
/// of the identity token `geheim`.
pub(crate) fn token_server(dir: &Path, seconds: u64) -> (Faulty, std::path::PathBuf) {
    let authority = Authority::new(dir);
    let signer = authority.issue("signer", "DNS:tokens.test");
    let (certificate, key) = (signer.certificate.clone(), signer.key.clone());
    let der = BASE64_STANDARD.encode(run("openssl", &["x509", "-in", text(&certificate), "-outform", "DER"]));
    let scratch = dir.join("to-sign");
    let server = Faulty::start(move |number, asked, stream| {
        let granted = format!("Basic {}", BASE64_STANDARD.encode("user:geheim"));
        let is_user = asked.header("authorization") == Some(&granted) || asked.body.contains("refresh_token=geheim");
        if !is_user {
            return reply(stream, "401 Unauthorized", "", br#"{"details": "incorrect username or password"}"#);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let header = format!(r#"{{"alg": "RS256", "typ": "JWT", "x5c": ["{der}"]}}"#);
        let actions = if asked.line.contains("delete") { r#""pull", "push", "delete""# } else { r#""pull", "push""# };
        let access = format!(r#"[{{"type": "repository", "name": "a", "actions": [{actions}]}}]"#);
        let claims = format!(
            r#"{{"iss": "test", "sub": "user", "aud": "test", "exp": {}, "nbf": {}, "iat": {now}, "jti": "{number}", "access": {access}}}"#,
            now + 300,
            now - 10
        );
        let signed = format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(claims));
        let file = scratch.with_extension(number.to_string());
        fs::write(&file, &signed).unwrap();
        let signature = run("openssl", &["dgst", "-sha256", "-sign", text(&key), text(&file)]);
        let name = if number % 2 == 0 { "token" } else { "access_token" };
        let token = format!(r#"{{"{name}": "{signed}.{}", "expires_in": {seconds}}}"#, BASE64_URL_SAFE_NO_PAD.encode(signature));
        reply(stream, "200 OK", "", token.as_bytes());
    });
    (server, certificate)
}

#[test]
fn tokens_are_fetched_once() {
    let dir = scratch();
    let image = Registry::start(dir.path(), &Door::Open, None).put_image("a");
    let (tokens, certificate) = token_server(dir.path(), 300);
    let realm = format!("http://{}/token?x=y", tokens.host());
    let registry = Registry::start(dir.path(), &Door::Token { realm: &realm, signer: &certificate }, None);
    let repository = registry.repository("a");

    pulls(&client(with_password(dir.path(), &registry.host(), "geheim")), &repository, &image);
    let asked = tokens.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0].line, "GET /token?x=y&service=test&scope=repository%3Aa%3Apull HTTP/1.1");

    // An identity token is for the token server alone.
    let identity = format!(r#"{{"auths": {{"{}": {{"identitytoken": "geheim"}}}}}}"#, registry.host());
    pulls(&client(with_file(dir.path(), &identity)), &repository, &image);
    let Asked { line, body, .. } = &tokens.asked()[1];
    assert_eq!(line, "POST /token?x=y HTTP/1.1");
    assert_eq!(body, "grant_type=refresh_token&client_id=moby&refresh_token=geheim&service=test&scope=repository%3Aa%3Apull");

    let error = client(with_password(dir.path(), &registry.host(), "wrong-one")).manifest(&repository, "v1").unwrap_err();
    assert!(error.to_string().ends_with("gives no token: 401 Unauthorized: incorrect username or password"), "{error}");
    assert!(error.hint_text().unwrap().contains("auth.json"));
}

#[test]
fn a_token_that_ends_is_fetched_again() {
    let tokens = Faulty::start(|number, _, stream| {
        reply(stream, "200 OK", "", format!(r#"{{"token": "t{number}", "expires_in": 60}}"#).as_bytes());
    });
    let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{}/token\",service=\"s\"\r\n", tokens.host());
    // It takes the first token once, as if it was revoked then, and every later one.
    let registry = Faulty::start(move |number, asked, stream| match asked.header("authorization") {
        Some("Bearer t0") if number < 2 => reply(stream, "200 OK", "", b"{}"),
        None | Some("Bearer t0") => reply(stream, "401 Unauthorized", &challenge, b""),
        Some(_) => reply(stream, "200 OK", "", b"{}"),
    });
    let clock = std::sync::Arc::new(crate::real::Impatient::default());
    let client = net::Client::new(settings(), clock.clone()).unwrap();
    let repository = net::Repository::new(&registry.host(), "a").unwrap();
    client.manifest(&repository, "x").unwrap();
    client.manifest(&repository, "x").unwrap();
    assert_eq!(tokens.asked().len(), 2);
    // Until it comes to its end.
    client.manifest(&repository, "x").unwrap();
    assert_eq!(tokens.asked().len(), 2);
    net::clock::Clock::wait(&*clock, std::time::Duration::from_secs(51));
    client.manifest(&repository, "x").unwrap();
    assert_eq!(tokens.asked().len(), 3);
    assert_eq!(registry.asked().last().unwrap().header("authorization"), Some("Bearer t2"));
}

#[test]
fn a_login_that_nobody_knows_is_told() {
    for (headers, wanted) in [
        ("WWW-Authenticate: Negotiate\r\n", "wants a login of the kind 'negotiate', and moby knows Bearer and Basic"),
        ("", "refuses: 401 Unauthorized"),
        ("WWW-Authenticate: Bearer realm=\"ftp://h/\"\r\n", "names a token server that cannot be asked"),
    ] {
        let server = Faulty::start(move |_, _, stream| reply(stream, "401 Unauthorized", headers, b""));
        let error = client(settings()).manifest(&net::Repository::new(&server.host(), "a").unwrap(), "x").unwrap_err();
        assert!(error.to_string().contains(wanted), "{error}");
    }
}

#[test]
fn bad_tokens_are_no_tokens() {
    for (said, wanted) in [("{", "no JSON"), ("{}", "JSON that has none"), (r#"{"token": "a\r\nb: c"}"#, "characters that no header takes")]
    {
        let tokens = Faulty::start(move |_, _, stream| reply(stream, "200 OK", "", said.as_bytes()));
        let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{}/token\"\r\n", tokens.host());
        let registry = Faulty::start(move |_, _, stream| reply(stream, "401 Unauthorized", &challenge, b""));
        let error = client(settings()).manifest(&net::Repository::new(&registry.host(), "a").unwrap(), "x").unwrap_err();
        assert!(error.to_string().contains(wanted), "{error}");
    }
}
