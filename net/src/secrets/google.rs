//! Google: access tokens by its Application Default Credentials.
//!
//! | place | what it is |
//! |---|---|
//! | `GOOGLE_APPLICATION_CREDENTIALS` | a file: the key of a service account, a user's login, another's identity |
//! | `application_default_credentials.json` | the same, where `gcloud auth application-default login` puts it |
//! | the metadata service | of a machine of Google's |

mod identity;

use super::{
    Secret, Variables,
    chain::{Found, Lasting, Looked, first},
    environment::Environment,
    server::{Ask, Said, access_token, field, nearby},
};
use crate::{
    clock::Clock,
    http::Http,
    url::{Url, encoded},
};
use formats::{At, Error, Result};
use identity::Asking;
use serde_json::Value;
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// For the stores and for Compute Engine.
pub(crate) const EVERYTHING: &str = "https://www.googleapis.com/auth/cloud-platform";

/// Everything that is read of the environment.
const VARIABLES: &[&str] =
    &["APPDATA", "CLOUDSDK_CONFIG", "GCE_METADATA_HOST", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "NO_GCE_CHECK"];

/// Who gives tokens to users.
const TOKENS: &str = "https://oauth2.googleapis.com/token";

/// Looks for tokens, and keeps them while they are good.
#[derive(Debug)]
pub(crate) struct Chain {
    env: Environment,
    /// Tests hand in their own.
    tokens_of_users: String,
    /// By their scopes.
    tokens: Lasting<Secret>,
    projects: Lasting<String>,
}

impl Chain {
    /// Nothing is looked at yet but the environment.
    pub(crate) fn new(env: Variables<'_>) -> Self {
        let env = Environment::new(env, VARIABLES);
        Self { env, tokens_of_users: TOKENS.to_owned(), tokens: Lasting::new(), projects: Lasting::new() }
    }

    /// A token that is good for scopes, separated by blanks, now and for some minutes more.
    ///
    /// # Errors
    /// Bad input: no place has one, or a file that is broken. Unsupported: a file of another kind. Remote: a token server fails.
    pub(crate) fn token(&self, http: &Http, clock: &dyn Clock, scope: &str) -> Result<Secret> {
        self.tokens.get(scope, clock, || {
            let asked = clock.now();
            let of = |path: &Path| self.of_file(path, http, asked, scope);
            let places: [&dyn Fn() -> Result<Looked<Secret>>; 3] = [
                &|| self.named_file().map_or(Ok(Looked::Nothing(format!("the variable {NAMED}"))), |path| of(&path).at(|| NAMED)),
                &|| self.of_gcloud(&of),
                &|| self.of_machine(http, asked, scope),
            ];
            let hint = "`gcloud auth application-default login` logs in; a file with the key of a service account is named in \
                        GOOGLE_APPLICATION_CREDENTIALS";
            first("there is a login of Google's", hint, &places)
        })
    }

    /// The next token is asked for anew: this one was refused.
    pub(crate) fn forget(&self) {
        self.tokens.forget();
    }

    /// The project that is meant where none is named.
    ///
    /// # Errors
    /// Bad input: no place names one.
    pub(crate) fn project(&self, http: &Http, clock: &dyn Clock) -> Result<String> {
        self.projects.get("", clock, || {
            let places: [&dyn Fn() -> Result<Looked<String>>; 3] = [
                &|| {
                    let name = "GOOGLE_CLOUD_PROJECT";
                    Ok(named(self.env.text(name)?, format!("the variable {name}")))
                },
                &|| match self.named_file().or_else(|| self.file_of_gcloud()).filter(|path| path.exists()) {
                    Some(path) => {
                        let said = read(&path)?;
                        let project = field(&said, "project_id").or_else(|| field(&said, "quota_project_id"));
                        Ok(named(project, path.display().to_string()))
                    }
                    None => Ok(Looked::Nothing(format!("the file of {NAMED}"))),
                },
                &|| {
                    let said = self.machine(http, "project/project-id")?;
                    Ok(match said {
                        Ok((_, said)) => named(Some(String::from_utf8_lossy(&said.body).trim()), MACHINE.to_owned()),
                        Err(why) => Looked::Nothing(why),
                    })
                },
            ];
            first("there is a project of Google's", "name one: GOOGLE_CLOUD_PROJECT=NAME", &places)
        })
    }

    fn named_file(&self) -> Option<PathBuf> {
        self.env.path(NAMED)
    }

    /// Where gcloud puts a login for other programs.
    fn file_of_gcloud(&self) -> Option<PathBuf> {
        let elsewhere =
            || if cfg!(windows) { self.env.path("APPDATA").map(|dir| dir.join("gcloud")) } else { self.env.in_home(".config/gcloud") };
        Some(self.env.path("CLOUDSDK_CONFIG").or_else(elsewhere)?.join("application_default_credentials.json"))
    }

    fn of_gcloud(&self, of: &dyn Fn(&Path) -> Result<Looked<Secret>>) -> Result<Looked<Secret>> {
        let Some(path) = self.file_of_gcloud() else { return Ok(Looked::Nothing("no file of gcloud's, for there is no HOME".to_owned())) };
        match fs::metadata(&path) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(Looked::Nothing(path.display().to_string()))
            }
            _ => of(&path),
        }
    }

    /// What a file says who we are.
    fn of_file(&self, path: &Path, http: &Http, asked: Duration, scope: &str) -> Result<Looked<Secret>> {
        let from = path.display().to_string();
        let asking = Asking { http, asked, tokens_of_users: &self.tokens_of_users, from: &from };
        asking.token(&read(path)?, scope).map(Looked::Found).at(|| &from)
    }

    fn of_machine(&self, http: &Http, asked: Duration, scope: &str) -> Result<Looked<Secret>> {
        let scopes = scope.split(' ').collect::<Vec<_>>().join(",");
        match self.machine(http, &format!("instance/service-accounts/default/token?scopes={}", encoded(&scopes)))? {
            Ok((url, said)) => access_token(&said.json(&url)?, &url, asked, MACHINE),
            Err(why) => Ok(Looked::Nothing(why)),
        }
    }

    /// What the metadata service says, if it is there and has it; else why not.
    fn machine(&self, http: &Http, below: &str) -> Result<Result<(Url, Said), String>> {
        if self.env.is_on("NO_GCE_CHECK")? {
            return Ok(Err(format!("{MACHINE} (NO_GCE_CHECK is set)")));
        }
        let host = self.env.text("GCE_METADATA_HOST")?.unwrap_or("metadata.google.internal");
        let url = Url::parse(&format!("http://{host}/computeMetadata/v1/{below}")).at(|| "GCE_METADATA_HOST")?;
        let headers = [("metadata-flavor", "Google".to_owned())];
        let (ask, http) = (Ask::get(&url, &headers), nearby(http));
        Ok(match ask.knock(&http, "metadata-flavor") {
            Ok(said) if said.header.as_deref() != Some("Google") => Err(format!("{MACHINE} ({host} is something else)")),
            Ok(said) if said.status == 200 => Ok((url, said)),
            Ok(Said { status: 404, .. }) => Err(format!("{MACHINE} (it has no service account)")),
            // It was there: it is asked again, and says why.
            Ok(_) => Ok((url.clone(), ask.said(&http, "").at(|| MACHINE)?)),
            Err(why) => Err(format!("{MACHINE} ({why})")),
        })
    }
}

const NAMED: &str = "GOOGLE_APPLICATION_CREDENTIALS";
const MACHINE: &str = "the metadata service of Google";

/// A file of credentials. What it says is not shown.
fn read(path: &Path) -> Result<Value> {
    let text = fs::read(path).at(|| path.display())?;
    let json = serde_json::from_slice(&text).map_err(|error| format!("is no JSON: line {}, column {}", error.line(), error.column()));
    json.map_err(|what| Error::bad_input(format!("the credentials file {what}")).at(path.display()))
}

fn named(value: Option<&str>, from: String) -> Looked<String> {
    match value {
        Some(value) => Looked::Found(Found { value: value.to_owned(), until: None, from }),
        None => Looked::Nothing(from),
    }
}

#[cfg(test)]
mod tests;
