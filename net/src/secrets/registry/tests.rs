use super::*;

/// The sources that these files are, and the directory that they are in.
fn sources(files: &[&str]) -> (Sources, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let path = |n: usize| dir.path().join(format!("{n}.json"));
    files.iter().enumerate().for_each(|(n, text)| fs::write(path(n), text).unwrap());
    // One that is not there is no error.
    let files = (0..=files.len()).map(path).collect();
    (Sources { files, path: None }, dir)
}

fn found(files: &[&str], host: &str, repository: &str) -> Option<(String, String)> {
    let (sources, _dir) = sources(files);
    sources.find(host, repository).unwrap().map(|login| match login.with {
        With::Password { user, password } => (user, password.told().to_owned()),
        With::IdentityToken(token) => ("<token>".to_owned(), token.told().to_owned()),
    })
}

fn is(user: &str, password: &str) -> Option<(String, String)> {
    Some((user.to_owned(), password.to_owned()))
}

#[test]
fn the_longest_key_wins() {
    // a:1, b:2, c:3
    let file = r#"{"auths": {"reg.example": {"auth": "YToxCg=="}, "reg.example/team": {"auth": "Yjoy"}, "reg.example/team/app": {"auth": "Yzoz"},
        "https://index.docker.io/v1/": {"username": "d", "password": "4"}, "reg.example:5000": {"identitytoken": "5"}, "empty.example": {}}}"#;
    let cases = [
        ("reg.example", "app", is("a", "1\n")),
        ("reg.example", "teams/app", is("a", "1\n")),
        ("reg.example", "team/other", is("b", "2")),
        ("reg.example", "team/app", is("c", "3")),
        ("reg.example:5000", "team/app", is("<token>", "5")),
        ("docker.io", "library/alpine", is("d", "4")),
        ("empty.example", "app", None),
        ("other.example", "app", None),
    ];
    for (host, repository, wanted) in cases {
        assert_eq!(found(&[file], host, repository), wanted, "{host}/{repository}");
    }
}

#[test]
fn the_first_file_that_knows_wins() {
    let one = r#"{"auths": {"a": {"auth": "YTox"}}}"#;
    let two = r#"{"auths": {"a": {"auth": "Yjoy"}, "b": {"auth": "Yjoy"}}}"#;
    assert_eq!(found(&[one, two], "a", "x"), is("a", "1"));
    assert_eq!(found(&[one, two], "b", "x"), is("b", "2"));
}

#[test]
fn the_environment_says_where_the_files_are() {
    let env = |name: &str| {
        let value = match name {
            "REGISTRY_AUTH_FILE" => "/a.json",
            "XDG_RUNTIME_DIR" => "/run/user/1",
            "HOME" => "/h",
            _ => return None,
        };
        Some(value.into())
    };
    let wanted = ["/a.json", "/run/user/1/containers/auth.json", "/h/.config/containers/auth.json", "/h/.docker/config.json"];
    assert_eq!(Sources::from_env(&env).files, wanted.map(PathBuf::from));
    assert_eq!(Sources::from_env(&|name| (name == "DOCKER_CONFIG").then(|| "/d".into())).files, [Path::new("/d/config.json")]);
}

#[test]
fn mistakes_do_not_show_secrets() {
    for file in [r#"{"auths": {"a": {"auth": "c2VjcmV0"}}}"#, r#"{"auths": {"a": {"auth": "secret!"}}}"#, r#"{"auths": secret}"#] {
        let (sources, _dir) = sources(&[file]);
        let error = sources.find("a", "x").unwrap_err();
        assert!(error.to_string().contains("0.json") && !error.to_string().contains("secret"), "{error}");
    }
    let login = With::new("user", "hidden");
    assert!(!format!("{login:?}").contains("hidden"));
}

#[cfg(unix)]
mod helpers {
    use super::*;
    use std::process::Command;

    /// What the helper `docker-credential-test`, which is this script, makes of a file that names it.
    fn helped(script: &str, file: &str, host: &str) -> Result<Option<Login>> {
        let (mut sources, dir) = sources(&[file, r#"{"auths": {"a": {"auth": "YTox"}}}"#]);
        let helper = dir.path().join("docker-credential-test");
        let text = dir.path().join("script");
        fs::write(&text, format!("#!/bin/sh\n{script}\n")).unwrap();
        // By another process: what a thread of this one starts meanwhile inherits files that are open for writing, and no program is run
        // while one is ("text file busy").
        assert!(Command::new("install").args(["-m", "755"]).args([&text, &helper]).status().unwrap().success());
        sources.path = Some(format!("{}:/usr/bin:/bin", dir.path().display()).into());
        sources.find(host, "x")
    }

    const STORE: &str = r#"{"credsStore": "test", "auths": {"a": {}}}"#;

    #[test]
    fn a_helper_is_asked_by_the_registry() {
        let script = r#"read -r host; [ "$1" = get ] && printf '{"ServerURL": "x", "Username": "%s", "Secret": "s"}' "$host""#;
        let user = |file, host| match helped(script, file, host).unwrap().unwrap() {
            Login { with: With::Password { user, .. }, from } if from.starts_with("docker-credential-test, which ") => user,
            login => panic!("{login:?}"),
        };
        assert_eq!(user(STORE, "a"), "a");
        assert_eq!(user(STORE, "docker.io"), "https://index.docker.io/v1/");
        assert_eq!(user(r#"{"credHelpers": {"reg.example:5000": "test"}, "credsStore": "none"}"#, "reg.example:5000"), "reg.example:5000");
    }

    #[test]
    fn a_helper_may_know_a_token_or_nothing() {
        let token = helped(r#"echo '{"Username": "<token>", "Secret": "t"}'"#, STORE, "a").unwrap().unwrap();
        assert_eq!(token.with, With::IdentityToken(Secret::new("t")));
        // Not the second file, which knows it.
        assert!(helped("echo credentials not found in native keychain; exit 1", STORE, "a").unwrap().is_none());
    }

    #[test]
    fn a_helper_that_fails_is_told_of() {
        for (script, wanted) in [("printf 'locked \\033[1m'; exit 2", "locked \\u{1b}[1m"), ("echo hidden", "no JSON")] {
            let error = helped(script, STORE, "a").unwrap_err();
            assert!(error.to_string().contains(wanted) && !error.to_string().contains("hidden"), "{error}");
            assert_eq!(error.kind(), Kind::Environment);
        }
        let lost = helped("", r#"{"credsStore": "absent"}"#, "a").unwrap_err();
        assert!(lost.to_string().contains("docker-credential-absent cannot be run"), "{lost}");
        assert!(helped("", r#"{"credsStore": "../x"}"#, "a").unwrap_err().to_string().contains("no name"));
    }
}
