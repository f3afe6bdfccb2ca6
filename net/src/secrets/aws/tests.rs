use super::{super::served::*, *};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

type Case = super::super::served::Case<Chain>;

impl Case {
    /// With these variables, and files with these texts.
    fn new(these: Set<'_>, config: &str, credentials: &str) -> Self {
        let is_instance = these.iter().any(|(name, _)| *name == "AWS_EC2_METADATA_SERVICE_ENDPOINT");
        let own = [("AWS_EC2_METADATA_DISABLED", if is_instance { "false" } else { "true" })];
        Self::of(Chain::new, &[&own[..], these].concat(), &[(".aws/config", config), (".aws/credentials", credentials)])
    }

    fn key(&self) -> Result<Key> {
        self.chain.key(&self.http, &*self.clock)
    }

    fn region(&self) -> Result<String> {
        self.chain.region(&self.http, &*self.clock)
    }
}

fn some(id: &str) -> Key {
    Key { id: id.to_owned(), secret: Secret::new("geheim"), token: None }
}

fn temporary(id: &str) -> Key {
    Key { token: Some(Secret::new("token")), ..some(id) }
}

/// As containers and instances answer.
fn json(id: &str, until: &str) -> String {
    format!(r#"{{"Code": "Success", "AccessKeyId": "{id}", "SecretAccessKey": "geheim", "Token": "token", "Expiration": "{until}"}}"#)
}

/// As STS answers.
fn xml(id: &str) -> String {
    format!(
        "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>{id}</AccessKeyId><SecretAccessKey>geheim</SecretAccessKey>\
         <SessionToken>token</SessionToken><Expiration>2024-02-29T13:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
    )
}

/// EC2's metadata service, whose keys end at a time that a test sets.
fn instance(until: Arc<AtomicU64>) -> Server {
    Server::start(move |asked| match asked.what() {
        "PUT /latest/api/token" if asked.header("x-aws-ec2-metadata-token-ttl-seconds").is_some() => ok("imds"),
        _ if asked.header("x-aws-ec2-metadata-token") != Some("imds") => refusal("401 Unauthorized", ""),
        "GET /latest/meta-data/iam/security-credentials/" => ok("role\n"),
        "GET /latest/meta-data/iam/security-credentials/role" => {
            let hour = until.load(Ordering::Relaxed);
            ok(json(&format!("INSTANCE{hour}"), &format!("2024-02-29T{hour}:00:00Z")))
        }
        "GET /latest/meta-data/placement/region" => ok("eu-west-3"),
        _ => refusal("404 Not Found", ""),
    })
}

const IN_ENV: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "ENV"), ("AWS_SECRET_ACCESS_KEY", "geheim")];
const IN_FILE: &str = "[default]\naws_access_key_id = FILE\naws_secret_access_key = geheim\n";

#[test]
fn each_place_gives_its_key() {
    let sts = Server::start(|_| ok(xml("ROLE")));
    let container = Server::start(|_| ok(json("CONTAINER", "2024-02-29T13:00:00Z")));
    let metadata = instance(Arc::new(AtomicU64::new(18)));
    let (sts_url, container_url, metadata_url) = (sts.url(), format!("{}/creds", container.url()), metadata.url());
    let with_token: Vec<_> = IN_ENV.into_iter().chain([("AWS_SESSION_TOKEN", "token")]).collect();
    let of_sts: [(&str, &str); 1] = [("AWS_ENDPOINT_URL_STS", &sts_url)];
    let process = r#"[default]
credential_process = printf '{"Version": 1, "AccessKeyId": "PROCESS", "SecretAccessKey": "geheim"}'
"#;
    let role = "[default]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = base\n[profile base]\naws_access_key_id = BASE\naws_secret_access_key = geheim\n";
    let cases: [(Set<'_>, &str, &str, Key); 8] = [
        (&IN_ENV, "", "", some("ENV")),
        (&with_token, "", "", temporary("ENV")),
        (&[], "", IN_FILE, some("FILE")),
        (&[("AWS_PROFILE", "x y")], "[profile 'x y']\naws_access_key_id=OTHER\naws_secret_access_key=geheim\n", IN_FILE, some("OTHER")),
        (&[], process, "", some("PROCESS")),
        (&of_sts, role, "", temporary("ROLE")),
        (&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &container_url)], "", "", temporary("CONTAINER")),
        (&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata_url)], "", "", temporary("INSTANCE18")),
    ];
    for (variables, config, credentials, wanted) in cases {
        assert_eq!(Case::new(variables, config, credentials).key().unwrap(), wanted);
    }
}

#[test]
fn the_order_is_the_vendors() {
    let sts = Server::start(|asked| ok(xml(if asked.body.contains("WebIdentity") { "WEB" } else { "ROLE" })));
    let container = Server::start(|_| ok(json("CONTAINER", "2024-02-29T13:00:00Z")));
    let token = tempfile::NamedTempFile::new().unwrap();
    let (sts_url, container_url, token) = (sts.url(), container.url(), token.path().to_str().unwrap());
    let [id, secret] = IN_ENV;
    let all = [
        id,
        secret,
        ("AWS_ENDPOINT_URL_STS", &sts_url),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token),
        ("AWS_ROLE_ARN", "arn"),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &container_url),
    ];
    let with_role = format!("{IN_FILE}role_arn = arn\nsource_profile = default\n");
    let id = |case: Case| case.key().unwrap().id;
    assert_eq!(id(Case::new(&all, "", &with_role)), "ENV");
    assert_eq!(id(Case::new(&all[2..], "", &with_role)), "ROLE");
    assert_eq!(id(Case::new(&all[2..], "", IN_FILE)), "WEB");
    assert_eq!(id(Case::new(&all[5..], "", IN_FILE)), "FILE");
    assert_eq!(id(Case::new(&all[5..], "", "")), "CONTAINER");
    // The credentials file comes before the other.
    assert_eq!(id(Case::new(&[], "[default]\naws_access_key_id = CONFIG\naws_secret_access_key = geheim\n", IN_FILE)), "FILE");
}

#[test]
fn a_role_is_assumed_by_who_may() {
    let sts = Server::start(|_| ok(xml("ROLE")));
    let url = sts.url();
    let config = "[profile a]\nregion = eu-west-1\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = b\nexternal_id = x y\nrole_session_name = me\nduration_seconds = 900\n\
                  [profile b]\nrole_arn = arn:b\ncredential_source = Environment\n";
    let [id, secret] = IN_ENV;
    // The environment's own key would come first; the profile's role is what is looked at here.
    let case = Case::new(&[("AWS_PROFILE", "a"), ("AWS_ENDPOINT_URL_STS", &url), id, secret], config, "");
    let looking = Looking { chain: &case.chain, http: &case.http, clock: &*case.clock, profiles: OnceCell::new() };
    assert_eq!(looking.of_named("a", &mut Vec::new()).unwrap().value, temporary("ROLE"));
    let asked = sts.asked();
    assert_eq!(asked[0].body, "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Ab&RoleSessionName=moby");
    assert!(asked[0].header("authorization").unwrap().starts_with("AWS4-HMAC-SHA256 Credential=ENV/20240229/eu-west-1/sts/aws4_request, "));
    assert!(asked[1].header("authorization").unwrap().contains("Credential=ROLE/"));
    assert_eq!(asked[1].header("x-amz-security-token"), Some("token"));
    let wanted = "RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&RoleSessionName=me&ExternalId=x%20y&DurationSeconds=900";
    assert!(asked[1].body.ends_with(wanted), "{}", asked[1].body);
}

#[test]
fn a_web_identity_is_sent_and_not_shown() {
    let sts = Server::start(|_| {
        refusal(
            "400 Bad Request",
            "<ErrorResponse><Error><Code>InvalidIdentityToken</Code><Message>No provider</Message></Error></ErrorResponse>",
        )
    });
    let token = tempfile::NamedTempFile::new().unwrap();
    fs::write(token.path(), "geheim.jwt\n").unwrap();
    let (url, file) = (sts.url(), token.path().to_str().unwrap());
    let case = Case::new(&[("AWS_ENDPOINT_URL_STS", &url), ("AWS_WEB_IDENTITY_TOKEN_FILE", file), ("AWS_ROLE_ARN", "arn")], "", "");
    let error = case.key().unwrap_err();
    assert_eq!(error.kind(), Kind::Remote);
    let said = format!("{error:?}");
    assert!(
        said.contains("the role arn: ") && said.contains("gives no credentials: 400 Bad Request: InvalidIdentityToken: No provider"),
        "{said}"
    );
    assert!(!said.contains("geheim"), "{said}");
    assert!(sts.asked()[0].body.ends_with("&WebIdentityToken=geheim.jwt"));
    assert_eq!(sts.asked()[0].header("authorization"), None);
}

#[test]
fn a_chain_that_finds_nothing_says_where_it_looked() {
    let url = nobody();
    let case = Case::new(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &url)], "", "");
    let error = case.key().unwrap_err();
    assert_eq!(error.kind(), Kind::BadInput);
    let (said, home) = (error.to_string(), case.home.path().display());
    for place in [
        "the variable AWS_ACCESS_KEY_ID; ".to_owned(),
        "the variable AWS_WEB_IDENTITY_TOKEN_FILE; ".to_owned(),
        format!("the profile 'default' of {home}/.aws/config and {home}/.aws/credentials; "),
        "AWS_CONTAINER_CREDENTIALS_FULL_URI; ".to_owned(),
        "the metadata service of EC2 (127.0.0.1:".to_owned(),
        "nobody listens there".to_owned(),
    ] {
        assert!(said.contains(&place), "{place} is not in: {said}");
    }
    assert!(error.hint_text().unwrap().contains("aws configure"));
    let off = Case::new(&[], "", "").key().unwrap_err().to_string();
    assert!(off.ends_with("the metadata service of EC2 (AWS_EC2_METADATA_DISABLED is set)"), "{off}");
}

#[test]
fn what_is_broken_is_no_next_place() {
    let failing = Server::start(|_| refusal("500 Internal Server Error", ""));
    let strange = Server::start(|_| ok("geheim"));
    let (failing_url, strange_url) = (failing.url(), strange.url());
    let cases: [(Set<'_>, &str, Kind, &str); 15] = [
        (&IN_ENV[..1], "", Kind::BadInput, "has AWS_ACCESS_KEY_ID, but no AWS_SECRET_ACCESS_KEY"),
        (&[IN_ENV[0], ("AWS_SECRET_ACCESS_KEY", "gehe im")], "", Kind::BadInput, "AWS_ACCESS_KEY_ID: a key has blanks"),
        (&[("AWS_PROFILE", "other")], "", Kind::BadInput, "the profile 'other' of "),
        (&[], "[default]\naws_access_key_id = A\n", Kind::BadInput, "has aws_access_key_id, but no aws_secret_access_key"),
        (&[], "[default]\ngeheim", Kind::BadInput, "config: line 2: is neither"),
        (&[], "[default]\nsso_session = geheim\n", Kind::Unsupported, "logs in by a browser"),
        (&[], "[default]\nrole_arn = a\nsource_profile = b\nmfa_serial = geheim\n", Kind::Unsupported, "wants a code of a device"),
        (&[], "[default]\nrole_arn = a\n", Kind::BadInput, "neither source_profile nor credential_source"),
        (
            &[],
            "[default]\nrole_arn = a\nsource_profile = b\n[profile b]\nrole_arn = b\nsource_profile = default\n",
            Kind::BadInput,
            "leads back to itself",
        ),
        (&[], "[default]\ncredential_process = echo geheim\n", Kind::Environment, "answers with something that is no JSON"),
        (&[], "[default]\ncredential_process = echo geheim; exit 3\n", Kind::Environment, "failed: exit status: 3"),
        (
            &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.1.1/")],
            "",
            Kind::BadInput,
            "must be https or an address of this machine",
        ),
        (&[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", ".evil/")], "", Kind::BadInput, "must be https or an address of this machine"),
        (&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &failing_url)], "", Kind::Remote, "tried 3 times: "),
        (&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &strange_url)], "", Kind::Remote, "answers with something that is no JSON"),
    ];
    for (variables, config, kind, words) in cases {
        // What would come next is sound.
        let metadata = instance(Arc::new(AtomicU64::new(18)));
        let metadata_url = metadata.url();
        let variables: Vec<_> = variables.iter().copied().chain([("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata_url.as_str())]).collect();
        let error = Case::new(&variables, config, "").key().unwrap_err();
        assert!(error.kind() == kind && error.to_string().contains(words), "{words}: {error:?}");
        assert!(!format!("{error:?} {:?}", error.hint_text()).contains("geheim"), "{error:?}");
    }
}

#[test]
fn keys_are_renewed_before_their_end() {
    let until = Arc::new(AtomicU64::new(13));
    let metadata = instance(Arc::clone(&until));
    let case = Case::new(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata.url())], "", "");
    assert_eq!(case.key().unwrap().id, "INSTANCE13");
    until.store(14, Ordering::Relaxed);
    case.clock.set(NOON + 3400);
    assert_eq!(case.key().unwrap().id, "INSTANCE13");
    assert_eq!(metadata.asked().len(), 3);
    case.clock.set(NOON + 3500);
    assert_eq!(case.key().unwrap().id, "INSTANCE14");
    case.clock.set(NOON + 3 * 3600);
    let error = case.key().unwrap_err();
    assert_eq!(error.to_string(), "the role role of the EC2 instance: has credentials that ended 3600 s ago");
}

#[test]
fn credentials_that_ended_are_not_used() {
    let [id, secret] = IN_ENV;
    let with = |until| Case::new(&[id, secret, ("AWS_CREDENTIAL_EXPIRATION", until)], "", "").key();
    assert!(with("2024-02-29T12:00:01Z").is_ok());
    assert!(with("2024-02-29T11:00:00Z").unwrap_err().to_string().ends_with("ended 3600 s ago"));
    assert!(with("soon").unwrap_err().to_string().contains("AWS_CREDENTIAL_EXPIRATION is no date"));
}

#[test]
fn a_wrong_clock_is_named() {
    let body = "<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code><Message>Signature expired</Message></Error></ErrorResponse>";
    let sts = Server::start(move |_| ("403 Forbidden", "Date: Thu, 29 Feb 2024 13:00:10 GMT\r\n".to_owned(), body.to_owned()));
    let url = sts.url();
    let config = "[default]\nrole_arn = arn\nsource_profile = default\naws_access_key_id = A\naws_secret_access_key = geheim\n";
    let error = Case::new(&[("AWS_ENDPOINT_URL_STS", &url)], config, "").key().unwrap_err();
    assert!(error.to_string().ends_with("Signature expired; the clock of this machine is 60 minutes behind the server's"), "{error}");
    assert!(error.hint_text().unwrap().starts_with("set the clock"));
}

#[test]
fn who_asks_too_often_asks_again() {
    let body = "<ErrorResponse><Error><Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>";
    let first = std::sync::atomic::AtomicBool::new(true);
    let sts = Server::start(move |_| if first.swap(false, Ordering::Relaxed) { refusal("400 Bad Request", body) } else { ok(xml("ROLE")) });
    let config = "[default]\nrole_arn = arn\nsource_profile = default\naws_access_key_id = A\naws_secret_access_key = geheim\n";
    assert_eq!(Case::new(&[("AWS_ENDPOINT_URL", &sts.url())], config, "").key().unwrap(), temporary("ROLE"));
    assert_eq!(sts.asked().len(), 2);
}

#[test]
fn a_container_gets_its_token() {
    let container = Server::start(|_| ok(json("CONTAINER", "2024-02-29T13:00:00Z")));
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "from a file\n").unwrap();
    let mut case =
        Case::new(&[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/creds?id=1"), ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "plain")], "", "");
    case.chain.container = container.url();
    assert_eq!(case.key().unwrap(), temporary("CONTAINER"));
    let (url, path) = (container.url(), file.path().to_str().unwrap());
    let named = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str()), ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", path)];
    assert_eq!(Case::new(&named, "", "").key().unwrap(), temporary("CONTAINER"));
    let asked = container.asked();
    assert_eq!((asked[0].what(), asked[0].header("authorization")), ("GET /v2/creds?id=1", Some("plain")));
    assert_eq!((asked[1].what(), asked[1].header("authorization")), ("GET /", Some("from a file")));
}

#[test]
fn an_instance_without_a_role_or_a_service_is_nothing() {
    let bare = Server::start(|asked| if asked.what().starts_with("PUT") { ok("imds") } else { refusal("404 Not Found", "") });
    let old = Server::start(|_| refusal("403 Forbidden", ""));
    let other = Server::start(|_| ok("<html> of something else"));
    for (server, words) in [(&bare, "the instance has no role"), (&old, "gives no token: 403"), (&other, "is something else")] {
        let error = Case::new(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &server.url())], "", "").key().unwrap_err();
        assert!(error.kind() == Kind::BadInput && error.to_string().contains(words), "{error}");
    }
}

/// As in a container that is a hop too far away: the connection stands, the answer is lost.
#[test]
fn an_instance_that_says_nothing_is_not_waited_for() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let start = std::time::Instant::now();
    let error = Case::new(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &url)], "", "").key().unwrap_err();
    assert!(error.kind() == Kind::BadInput && error.to_string().contains("did not answer within 5 s"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
}

#[test]
fn the_region_is_looked_for_too() {
    let metadata = instance(Arc::new(AtomicU64::new(13)));
    let url = metadata.url();
    let of_instance = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", url.as_str());
    let config = "[default]\nregion = eu-central-1\n";
    let region = |these: Set<'_>, config: &str| Case::new(these, config, "").region();
    assert_eq!(region(&[("AWS_DEFAULT_REGION", "b"), ("AWS_REGION", "a")], config).unwrap(), "a");
    assert_eq!(region(&[("AWS_DEFAULT_REGION", "b")], config).unwrap(), "b");
    assert_eq!(region(&[of_instance], config).unwrap(), "eu-central-1");
    assert_eq!(region(&[of_instance], "").unwrap(), "eu-west-3");
    let error = region(&[], "").unwrap_err();
    assert!(error.to_string().starts_with("there is a region of AWS in none of these places: the variables AWS_REGION"), "{error}");
    assert!(region(&[("AWS_REGION", "a.evil/")], "").unwrap_err().to_string().starts_with("AWS_REGION: 'a.evil/' is no region"));
}

#[test]
fn endpoints_are_named_by_variables_and_profiles() {
    let config = "[default]\nendpoint_url = http://all:1\nservices = here\n[services here]\ns3 =\n  endpoint_url = http://s3:2\n  x = y\n";
    let endpoint = |these: Set<'_>, config: &str, service: &str| {
        let url = Case::new(these, config, "").chain.endpoint(service).unwrap();
        url.map(|url| url.whole()).unwrap_or_default()
    };
    let all = [("AWS_ENDPOINT_URL", "http://env:3"), ("AWS_ENDPOINT_URL_S3", "http://env-s3:4/path")];
    assert_eq!(endpoint(&[], config, "s3"), "http://s3:2/");
    assert_eq!(endpoint(&[], config, "ec2"), "http://all:1/");
    assert_eq!(endpoint(&[], "", "ec2"), "");
    assert_eq!(endpoint(&all, config, "s3"), "http://env-s3:4/path");
    assert_eq!(endpoint(&all, config, "ebs"), "http://env:3/");
    assert_eq!(endpoint(&[all[0], all[1], ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")], config, "s3"), "");
    let ignoring = format!("{config}[default]\nignore_configured_endpoint_urls = true\n");
    assert_eq!(endpoint(&all, &ignoring, "s3"), "");
    assert_eq!(endpoint(&[("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "false")], &ignoring, "s3"), "http://s3:2/");
    let error = Case::new(&[], "[default]\nservices = there\n", "").chain.endpoint("s3").unwrap_err();
    assert!(error.to_string().ends_with("services is 'there', but there is no [services there]"), "{error}");
    let error = Case::new(&[("AWS_ENDPOINT_URL", "here")], "", "").chain.endpoint("s3").unwrap_err();
    assert!(error.to_string().starts_with("AWS_ENDPOINT_URL: 'here' is no URL"), "{error}");
}

#[test]
fn nothing_of_a_chain_is_shown() {
    let case = Case::new(&IN_ENV, "", "");
    case.key().unwrap();
    assert!(!format!("{:?}", case.chain).contains("geheim"));
}
