//! What a file of credentials says who we are, and the token that comes of it.
//!
//! | `type` | how |
//! |---|---|
//! | `service_account` | it signs for itself (RFC 7523) |
//! | `authorized_user` | a refresh token (RFC 6749, 6) |
//! | `external_account` | another's token, out of a file or of a URL as workflows have it, exchanged (RFC 8693) |
//! | `impersonated_service_account` | one of these, which may ask for a token of another account |
//!
//! Sources of `external_account` that sign for AWS, show a certificate or run a program are refused.

use super::super::{
    Secret,
    chain::{Found, Looked},
    server::{Ask, access_token, field, number},
};
use crate::{
    dates,
    http::{Body, Http, remote},
    sign::google::{Account, assertion},
    text::{SHOWN, shown},
    url::{Url, encoded, is_loopback},
};
use formats::{At, Error, Result};
use serde_json::{Value, json};
use std::{fs, time::Duration};
use ureq::http::Method;

/// What a token must be good for by which one of another account is asked for.
const IMPERSONATING: &str = "https://www.googleapis.com/auth/iam";

/// So long is a token of another account good, in seconds.
const LIFETIME: u64 = 3600;

/// One token, and all that is asked on the way to it.
pub(super) struct Asking<'a> {
    pub(super) http: &'a Http,
    pub(super) asked: Duration,
    /// Who gives tokens to users.
    pub(super) tokens_of_users: &'a str,
    /// The file.
    pub(super) from: &'a str,
}

impl Asking<'_> {
    /// A token for scopes, separated by blanks.
    ///
    /// # Errors
    /// Bad input: something lacks, or is broken. Unsupported: another type. Remote: a server fails.
    pub(super) fn token(&self, said: &Value, scope: &str) -> Result<Found<Secret>> {
        let Some(url) = field(said, "service_account_impersonation_url") else { return self.own(said, Some(scope)) };
        let is_source = field(said, "type") == Some("impersonated_service_account");
        let source = if is_source { said.get("source_credentials").unwrap_or(&Value::Null) } else { said };
        // What a user may do is settled when he logs in.
        let scope_of_source = Some(IMPERSONATING).filter(|_| field(source, "type") != Some("authorized_user"));
        let own = self.own(source, scope_of_source)?;
        self.of_another(said, url, scope, &own.value)
    }

    /// A token of who the file is about.
    fn own(&self, said: &Value, scope: Option<&str>) -> Result<Found<Secret>> {
        let (url, form) = match needed(said, "type")? {
            "service_account" => {
                let url = field(said, "token_uri").unwrap_or(self.tokens_of_users);
                let key = Secret::new(needed(said, "private_key")?);
                let account = Account::new(needed(said, "client_email")?, field(said, "private_key_id"), &key)?;
                let token = assertion(&account, scope.unwrap_or_default(), url, self.asked)?;
                (url, form(&[("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", token.told())]))
            }
            "authorized_user" => {
                let mut fields = vec![("grant_type", "refresh_token")];
                for name in ["client_id", "client_secret", "refresh_token"] {
                    fields.push((name, needed(said, name)?));
                }
                fields.extend(scope.map(|scope| ("scope", scope)));
                (self.tokens_of_users, form(&fields))
            }
            "external_account" => {
                let subject = self.subject(said.get("credential_source").unwrap_or(&Value::Null)).at(|| "credential_source")?;
                let fields = [
                    ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
                    ("audience", needed(said, "audience")?),
                    ("scope", scope.unwrap_or_default()),
                    ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
                    ("subject_token", subject.told()),
                    ("subject_token_type", needed(said, "subject_token_type")?),
                ];
                (needed(said, "token_url")?, form(&fields))
            }
            other => {
                let what = format!("is of the type '{}', which moby does not know", shown(other, SHOWN));
                let hint = "moby takes the key of a service account, and what `gcloud auth application-default login` makes";
                return Err(Error::unsupported(what).hint(hint));
            }
        };
        let url = sound(url)?;
        let answer = Ask::post(&url, &form).json(self.http)?;
        match access_token(&answer, &url, self.asked, self.from)? {
            Looked::Found(found) => Ok(found),
            Looked::Nothing(_) => Err(remote(&url, "gives no token")),
        }
    }

    /// A token of the account that a URL names, for who has a token.
    fn of_another(&self, said: &Value, url: &str, scope: &str, by: &Secret) -> Result<Found<Secret>> {
        let url = sound(url)?;
        let seconds = said.get("service_account_impersonation").and_then(|options| number(options, "token_lifetime_seconds"));
        let mut body = json!({"scope": scope.split(' ').collect::<Vec<_>>(), "lifetime": format!("{}s", seconds.unwrap_or(LIFETIME))});
        if let Some(delegates) = said.get("delegates").filter(|delegates| delegates.is_array()) {
            body["delegates"] = delegates.clone();
        }
        let (body, authorization) = (body.to_string(), Secret::new(format!("Bearer {}", by.told())));
        let headers = [("content-type", "application/json".to_owned())];
        let ask = Ask {
            method: Method::POST,
            authorization: Some(authorization.told()),
            body: Body::Bytes(body.as_bytes()),
            ..Ask::get(&url, &headers)
        };
        let answer = ask.json(self.http)?;
        let found = field(&answer, "accessToken").zip(field(&answer, "expireTime").and_then(dates::of_rfc3339));
        let (token, until) = found.ok_or_else(|| remote(&url, "answers with JSON that has no token"))?;
        Ok(Found { value: Secret::new(token), until: Some(until), from: self.from.to_owned() })
    }

    /// What another one says who we are: text, or a field of JSON.
    fn subject(&self, source: &Value) -> Result<Secret> {
        let text = match (field(source, "file"), field(source, "url")) {
            (Some(file), _) => fs::read_to_string(file).at(|| file)?,
            (None, Some(url)) => {
                let url = sound(url)?;
                let mut authorization = None;
                let mut headers = Vec::new();
                for (name, value) in source.get("headers").and_then(Value::as_object).into_iter().flatten() {
                    let value = value.as_str().unwrap_or_default();
                    match name.to_ascii_lowercase().as_str() {
                        "authorization" => authorization = Some(value),
                        "accept" => headers.push(("accept", value.to_owned())),
                        "metadata" => headers.push(("metadata", value.to_owned())),
                        _ => {
                            return Err(Error::unsupported(format!("wants the header '{}', which moby does not send", shown(name, SHOWN))));
                        }
                    }
                }
                Ask { authorization, ..Ask::get(&url, &headers) }.text(self.http)?
            }
            (None, None) => return Err(Error::unsupported("has neither 'file' nor 'url', and moby takes no other source")),
        };
        let format = source.get("format").unwrap_or(&Value::Null);
        if field(format, "type") != Some("json") {
            return Ok(Secret::new(text.trim()));
        }
        let name = needed(format, "subject_token_field_name")?;
        let json: Value = serde_json::from_str(&text).map_err(|_| Error::bad_input("gives something that is no JSON"))?;
        field(&json, name).map(Secret::new).ok_or_else(|| Error::bad_input(format!("gives JSON that has no '{}'", shown(name, SHOWN))))
    }
}

/// A field that must be there.
fn needed<'a>(said: &'a Value, name: &str) -> Result<&'a str> {
    field(said, name).ok_or_else(|| Error::bad_input(format!("has no '{name}'")))
}

/// A URL that may see a secret.
fn sound(text: &str) -> Result<Url> {
    let url = Url::parse(text)?;
    if url.secure || is_loopback(&url.host) { Ok(url) } else { Err(Error::bad_input(format!("names {url}, must be https"))) }
}

fn form(fields: &[(&str, &str)]) -> String {
    fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>().join("&")
}
