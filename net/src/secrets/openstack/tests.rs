use super::{super::served::*, *};
use formats::Kind;

/// How keystoneauth logs in (`fixtures/signatures/by_keystoneauth.py`).
const KNOWN: &str = include_str!("../../../../fixtures/signatures/openstack.json");

type Case = super::super::served::Case<Chain>;

impl Case {
    /// With these variables, and files with these texts.
    fn new(these: Set<'_>, clouds: &str, secure: &str) -> Self {
        Self::of(Chain::new, these, &[(".config/openstack/clouds.yaml", clouds), (".config/openstack/secure.yaml", secure)])
    }

    fn session(&self) -> Result<Session> {
        self.chain.session(&self.http, &*self.clock)
    }
}

/// Keystone, with Glance in two regions.
fn keystone() -> Server {
    let endpoint =
        |interface: &str, region: &str, url: &str| json!({"interface": interface, "region": region, "region_id": region, "url": url});
    let glance = [
        endpoint("internal", "one", "http://inside:9292"),
        endpoint("public", "one", "https://one:9292"),
        endpoint("public", "two", "https://two/image/"),
    ];
    let catalogue = json!([{"type": "compute", "endpoints": []}, {"type": "image", "name": "glance", "endpoints": glance}]);
    let token = json!({"token": {"expires_at": "2024-02-29T13:00:00.000000Z", "catalog": catalogue}});
    Server::start(move |asked| {
        if asked.body.contains("wrong") {
            return refusal(
                "401 Unauthorized",
                r#"{"error": {"code": 401, "message": "The request you have made requires authentication.", "title": "Unauthorized"}}"#,
            );
        }
        ("201 Created", "X-Subject-Token: token\r\n".to_owned(), token.to_string())
    })
}

#[test]
fn what_is_sent_is_what_keystoneauth_sends() {
    let known: Vec<Value> = serde_json::from_str(KNOWN).unwrap();
    assert!(known.len() >= 9);
    for case in known {
        let settings = case["settings"].as_object().unwrap().iter();
        let settings: Settings = settings.map(|(name, value)| (name.clone(), Secret::new(value.as_str().unwrap()))).collect();
        let (url, body) = request(&today(settings)).unwrap();
        assert_eq!((url.whole().as_str(), &body), (case["url"].as_str().unwrap(), &case["body"]), "{}", case["name"]);
    }
}

#[test]
fn the_environment_and_a_file_log_in() {
    let server = keystone();
    let url = server.url();
    let of_env = [("OS_AUTH_URL", url.as_str()), ("OS_USERNAME", "me"), ("OS_PASSWORD", "geheim"), ("OS_TENANT_NAME", "mine")];
    assert_eq!(Case::new(&of_env, "", "").session().unwrap().token.told(), "token");
    let clouds = format!(
        "clouds:\n  a:\n    auth:\n      auth_url: {url}/v3\n      username: me\n      user_domain_name: Users\n    region_name: two\n"
    );
    let secure = "clouds: {a: {auth: {password: geheim}}}\n";
    let named: Vec<_> = of_env.iter().copied().chain([("OS_CLOUD", "a")]).collect();
    let session = Case::new(&named, &clouds, secure).session().unwrap();
    assert_eq!(session.endpoint("image").unwrap().whole(), "https://two/image/");
    assert!(!format!("{session:?}").contains("geheim"));
    let bodies: Vec<Value> = server.asked().iter().map(|asked| serde_json::from_str(&asked.body).unwrap()).collect();
    let default = json!({"id": "default"});
    assert_eq!(bodies[0]["auth"]["identity"]["password"]["user"], json!({"name": "me", "domain": default, "password": "geheim"}));
    assert_eq!(bodies[0]["auth"]["scope"], json!({"project": {"name": "mine", "domain": default}}));
    assert_eq!(bodies[1]["auth"]["identity"]["password"]["user"], json!({"name": "me", "domain": {"name": "Users"}, "password": "geheim"}));
    assert_eq!(server.asked()[1].what(), "POST /v3/auth/tokens");
}

#[test]
fn services_are_found_by_region_and_interface() {
    let server = keystone();
    let url = server.url();
    let with = |more: Set<'_>| {
        let all: Vec<_> = [("OS_AUTH_URL", url.as_str()), ("OS_TOKEN", "t")].iter().chain(more).copied().collect();
        Case::new(&all, "", "").session().unwrap().endpoint("image").map(|url| url.whole())
    };
    assert_eq!(with(&[]).unwrap(), "https://one:9292/");
    assert_eq!(with(&[("OS_REGION_NAME", "two")]).unwrap(), "https://two/image/");
    assert_eq!(with(&[("OS_INTERFACE", "internalURL")]).unwrap(), "http://inside:9292/");
    assert_eq!(with(&[("OS_IMAGE_ENDPOINT_OVERRIDE", "http://here:1/")]).unwrap(), "http://here:1/");
    let error = with(&[("OS_REGION_NAME", "three")]).unwrap_err().to_string();
    assert!(error.ends_with("the cloud has no image service in the region three, but in one, two"), "{error}");
    assert!(with(&[("OS_INTERFACE", "admin")]).unwrap_err().to_string().ends_with("no image service with a admin endpoint"));
}

/// As openstacksdk reads it (`get_requests_verify_args`): what is insecure counts before all else, and is refused here.
#[test]
fn an_authority_is_named_by_variables_and_files() {
    let roots = |these: Set<'_>, cloud: &str, ca: Option<&str>| {
        let url = [("OS_AUTH_URL", "https://h")];
        let clouds = format!("clouds: {{a: {{auth: {{auth_url: 'https://h'}}{cloud}}}}}");
        let roots = Roots { ca: ca.map(Into::into), ..Roots::default() };
        let all = [&url[..], these].concat();
        let case = Case::new(&all, &clouds, "");
        let home = case.home.path().to_owned();
        case.chain.roots(&roots).map(|roots| roots.ca.map(|ca| ca.strip_prefix(&home).unwrap_or(&ca).display().to_string()))
    };
    let of_file = ("OS_CLOUD", "a");
    let ca = |text: &str| Some(text.to_owned());
    assert_eq!(roots(&[], "", None).unwrap(), None);
    assert_eq!(roots(&[("OS_CACERT", "/ca.pem")], "", None).unwrap(), ca("/ca.pem"));
    assert_eq!(roots(&[of_file, ("OS_CACERT", "/other.pem")], ", cacert: ~/ca.pem, verify: true", None).unwrap(), ca("ca.pem"));
    assert_eq!(roots(&[of_file], ", verify: /ca.pem", None).unwrap(), ca("/ca.pem"));
    assert_eq!(roots(&[("OS_INSECURE", "false")], "", None).unwrap(), None);
    for (these, cloud) in [
        (&[of_file][..], ", verify: false"),
        (&[of_file], ", verify: No, cacert: /ca.pem"),
        (&[of_file], ", insecure: True, cacert: /ca.pem"),
        (&[("OS_INSECURE", "1")], ""),
        (&[("OS_VERIFY", "False")], ""),
    ] {
        let error = roots(these, cloud, None).unwrap_err();
        assert!(error.kind() == Kind::Unsupported && error.to_string().contains("is not to be verified"), "{error}");
        assert!(error.hint_text().unwrap().contains("--ca FILE"), "{error}");
        assert_eq!(roots(these, cloud, Some("/mine.pem")).unwrap(), ca("/mine.pem"), "{cloud}");
    }
    let error = roots(&[("OS_CERT", "/me.pem")], "", Some("/mine.pem")).unwrap_err();
    assert!(error.kind() == Kind::Unsupported && error.to_string().contains("the variable OS_AUTH_URL: has a certificate"), "{error}");
}

#[test]
fn a_chain_that_finds_nothing_says_where_it_looked() {
    let error = Case::new(&[], "clouds: {}", "").session().unwrap_err();
    assert_eq!(error.kind(), Kind::BadInput);
    assert_eq!(
        error.to_string(),
        "there is a login for OpenStack in none of these places: the variable OS_CLOUD; the variable OS_AUTH_URL"
    );
    assert!(error.hint_text().unwrap().contains("OpenStack RC File"));
}

#[test]
fn what_is_broken_is_no_next_place() {
    let server = keystone();
    let url = server.url();
    let of_env = ("OS_AUTH_URL", url.as_str());
    let wrong = [of_env, ("OS_USERNAME", "me"), ("OS_PASSWORD", "wrong")];
    let cases: [(Set<'_>, &str, Kind, &str); 9] = [
        (&[of_env, ("OS_CLOUD", "b")], "clouds: {a: {}}", Kind::BadInput, "has no cloud 'b', which OS_CLOUD names"),
        (&[of_env, ("OS_CLOUD", "a")], "", Kind::BadInput, "OS_CLOUD is 'a', but none of these files is there: "),
        (&[of_env, ("OS_CLOUD", "a")], "clouds: [geheim", Kind::BadInput, "clouds.yaml: line "),
        (&[of_env, ("OS_CLOUD", "a")], "clouds: {a: {profile: geheim}}", Kind::Unsupported, "names a vendor's profile"),
        (&[of_env, ("OS_AUTH_TYPE", "v3oidcpassword")], "", Kind::Unsupported, "auth_type is 'oidcpassword', must be password"),
        (&[of_env], "", Kind::BadInput, "has no username (OS_USERNAME)"),
        (&[of_env, ("OS_USERNAME", "geheim")], "", Kind::BadInput, "has no password (OS_PASSWORD)"),
        (&[("OS_AUTH_URL", "http://h/v2.0/")], "", Kind::Unsupported, "is of the Identity API v2.0"),
        (&wrong, "", Kind::Remote, "gives no credentials: 401 Unauthorized: The request you have made requires"),
    ];
    for (variables, clouds, kind, words) in cases {
        let error = Case::new(variables, clouds, "").session().unwrap_err();
        assert!(error.kind() == kind && error.to_string().contains(words), "{words}: {error:?}");
        assert!(!format!("{error:?} {:?}", error.hint_text()).contains("geheim"), "{error:?}");
    }
}

#[test]
fn a_session_is_renewed_before_its_end() {
    let server = keystone();
    let url = server.url();
    let case =
        Case::new(&[("OS_AUTH_URL", &url), ("OS_APPLICATION_CREDENTIAL_ID", "c"), ("OS_APPLICATION_CREDENTIAL_SECRET", "geheim")], "", "");
    case.session().unwrap();
    case.clock.set(NOON + 3000);
    case.session().unwrap();
    assert_eq!(server.asked().len(), 1);
    case.clock.set(NOON + 3500);
    case.session().unwrap();
    assert_eq!(server.asked().len(), 2);
    case.chain.forget();
    case.clock.set(NOON + 7200);
    assert!(case.session().unwrap_err().to_string().contains("has credentials that ended 3600 s ago"));
}
