//! Credentials for registries, where Docker and the containers tools keep them.
//!
//! In order: `REGISTRY_AUTH_FILE`, `$XDG_RUNTIME_DIR/containers/auth.json`, `~/.config/containers/auth.json`,
//! `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`. In each: `credHelpers` of the registry, `credsStore`, `auths`. A key is a
//! registry or a path in it, and the longest match wins. A helper that knows nothing ends the search: so it is anonymous.

use super::{Secret, Variables, program};
use crate::text::{SHOWN, shown};
use base64::{Engine, prelude::BASE64_STANDARD};
use formats::{At, Error, Kind, Result};
use serde_json::{Map, Value};
use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// How Docker's own registry is called in credentials files, and by its helpers.
const DOCKER_KEY: &str = "https://index.docker.io/v1/";

/// Where credentials are looked for.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Files, the first that knows a registry counts; those that do not exist know none.
    pub files: Vec<PathBuf>,
    /// The `PATH` in which `docker-credential-NAME` is looked for; none: the one of this process.
    pub path: Option<OsString>,
}

/// How to log in, and who says so.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) with: With,
    /// A file or a helper, for messages.
    pub(crate) from: String,
}

/// With what to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum With {
    Password {
        user: String,
        password: Secret,
    },
    /// For the token server alone.
    IdentityToken(Secret),
}

impl With {
    /// From a user and what belongs to it; the user `<token>` stands for an identity token.
    fn new(user: &str, secret: &str) -> Self {
        let secret = Secret::new(secret);
        if user == "<token>" { Self::IdentityToken(secret) } else { Self::Password { user: user.to_owned(), password: secret } }
    }
}

impl Sources {
    /// Where the environment says that they are.
    pub fn from_env(env: Variables<'_>) -> Self {
        let path = |name: &str| env(name).map(PathBuf::from);
        let home = path("HOME").or_else(|| path("USERPROFILE"));
        let in_home = |below: &str| home.as_ref().map(|home| home.join(below));
        let files = [
            path("REGISTRY_AUTH_FILE"),
            path("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json")),
            path("XDG_CONFIG_HOME").or_else(|| in_home(".config")).map(|dir| dir.join("containers/auth.json")),
            path("DOCKER_CONFIG").or_else(|| in_home(".docker")).map(|dir| dir.join("config.json")),
        ];
        Self { files: files.into_iter().flatten().collect(), path: env("PATH") }
    }

    /// What there is for a repository of a registry (`host[:port]`); none is anonymous.
    ///
    /// # Errors
    /// When a file cannot be read or is no such JSON, or a helper fails.
    pub(crate) fn find(&self, host: &str, repository: &str) -> Result<Option<Login>> {
        for file in &self.files {
            let text = match fs::read(file) {
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => continue,
                text => text.at(|| file.display())?,
            };
            // What serde says of a mistake may quote the file.
            let json = serde_json::from_slice(&text).map_err(|e| format!("is no JSON: line {}, column {}", e.line(), e.column()));
            let root: Value = json.map_err(|what| Error::bad_input(format!("the credentials file {what}")).at(file.display()))?;
            match self.in_file(&root, host, repository).at(|| file.display())? {
                Found::Nothing => {}
                Found::Anonymous => return Ok(None),
                Found::Login(login, helper) => {
                    let from =
                        helper.map_or_else(|| file.display().to_string(), |helper| format!("{helper}, which {} names", file.display()));
                    return Ok(Some(Login { with: login, from }));
                }
            }
        }
        Ok(None)
    }

    /// The files, for a message.
    pub(crate) fn searched(&self) -> String {
        let files: Vec<_> = self.files.iter().map(|file| file.display().to_string()).collect();
        if files.is_empty() { "no file".to_owned() } else { files.join(", ") }
    }

    fn in_file(&self, root: &Value, host: &str, repository: &str) -> Result<Found> {
        let whole = format!("{host}/{repository}");
        let helper = root.get("credHelpers").and_then(Value::as_object).and_then(|map| longest(map, &whole)).and_then(Value::as_str);
        let helper = helper.or_else(|| root.get("credsStore").and_then(Value::as_str)).filter(|name| !name.is_empty());
        if let Some(name) = helper {
            let found = self.ask_helper(name, if host == "docker.io" { DOCKER_KEY } else { host })?;
            return Ok(found.map_or(Found::Anonymous, |login| Found::Login(login, Some(program_of(name)))));
        }
        let entry = root.get("auths").and_then(Value::as_object).and_then(|map| longest(map, &whole));
        Ok(entry.map(in_entry).transpose()?.flatten().map_or(Found::Nothing, |login| Found::Login(login, None)))
    }

    /// What `docker-credential-NAME get` says; none when it knows nothing.
    fn ask_helper(&self, name: &str, key: &str) -> Result<Option<With>> {
        let program = program_of(name);
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
            return Err(Error::bad_input(format!("'{}' is no name of a credential helper", shown(name, SHOWN))));
        }
        let failed = |what: String| Error::new(Kind::Environment, format!("the credential helper {program} {what}"));
        let mut command = Command::new(&program);
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        command.arg("get");
        let (status, said) = program::run(command, key, &format!("the credential helper {program}"))?;
        if !status.success() {
            let said = String::from_utf8_lossy(&said);
            let knows_nothing = said.contains("credentials not found") || said.contains("no credentials");
            return if knows_nothing { Ok(None) } else { Err(failed(format!("failed: {status}: {}", shown(&said, SHOWN)))) };
        }
        // What it said is not shown from here on: a secret may be in it.
        let said: Value = serde_json::from_slice(&said).map_err(|_| failed("answered with something that is no JSON".to_owned()))?;
        let field = |name: &str| said.get(name).and_then(Value::as_str).unwrap_or_default();
        let (user, secret) = (field("Username"), field("Secret"));
        Ok((!user.is_empty() || !secret.is_empty()).then(|| With::new(user, secret)))
    }
}

/// What one file says.
enum Found {
    Nothing,
    Anonymous,
    /// With the helper that said it.
    Login(With, Option<String>),
}

fn program_of(name: &str) -> String {
    format!("docker-credential-{}", shown(name, SHOWN))
}

/// The value of the longest key that is `host/path` or a beginning of it, cut at a slash.
fn longest<'a>(map: &'a Map<String, Value>, whole: &str) -> Option<&'a Value> {
    let matching = map.iter().filter_map(|(key, value)| {
        let key = plain(key);
        let rest = whole.strip_prefix(key.as_str())?;
        (rest.is_empty() || rest.starts_with('/')).then_some((key.len(), value))
    });
    // Of equal ones the first.
    matching.rev().max_by_key(|(length, _)| *length).map(|(_, value)| value)
}

/// A key without what old ones have around the host: `https://index.docker.io/v1/` is `docker.io`.
fn plain(key: &str) -> String {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key).trim_end_matches('/');
    let key = key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key);
    let (host, path) = key.split_at(key.find('/').unwrap_or(key.len()));
    let host = if matches!(host, "index.docker.io" | "registry-1.docker.io") { "docker.io" } else { host };
    format!("{host}{path}")
}

/// `auth` is user and password as HTTP's Basic has them; an identity token may stand beside it.
fn in_entry(entry: &Value) -> Result<Option<With>> {
    let field = |name: &str| entry.get(name).and_then(Value::as_str).filter(|value| !value.is_empty());
    if let Some(token) = field("identitytoken") {
        return Ok(Some(With::IdentityToken(Secret::new(token))));
    }
    if let Some(auth) = field("auth") {
        let bad = || Error::bad_input("an entry's auth is not user and password in base64");
        let text = BASE64_STANDARD.decode(auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(bad)?;
        let (user, password) = text.split_once(':').ok_or_else(bad)?;
        return Ok(Some(With::new(user, password.trim_end_matches('\0'))));
    }
    // What is empty says that a helper has it, or nobody.
    Ok(field("username").zip(field("password")).map(|(user, password)| With::new(user, password)))
}

/// The user's directories of registries' own authorities.
pub(crate) fn home_of_containers(env: Variables<'_>) -> Option<PathBuf> {
    let config = env("XDG_CONFIG_HOME").map(PathBuf::from);
    config.or_else(|| env("HOME").map(|home| Path::new(&home).join(".config"))).map(|dir| dir.join("containers"))
}

#[cfg(test)]
mod tests;
