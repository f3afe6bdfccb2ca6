//! Logging in: Basic, or tokens of a token server (Docker's token authentication specification, and its OAuth2 part).

use super::{
    Intent, Place,
    challenge::{Challenge, challenges},
    refusal,
};
use crate::{
    clock::Clock,
    http::{Answer, Body, Http, Request, remote},
    retry::Failure,
    secrets::{
        Secret,
        registry::{Login, Sources, With},
    },
    text::{SHOWN, shown},
    url::{Url, encoded},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use formats::Result;
use serde_json::Value;
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use ureq::http::Method;

/// The most that a token server's answer may have, in bytes.
const TOKEN_MAX: u64 = 1 << 20;

/// How long a token is good that does not say so, and at least: the specification's minute.
const TOKEN_TIME: u64 = 60;

/// So long before its end a token is not used any more: what begins with it should end with it.
const MARGIN: Duration = Duration::from_secs(10);

/// What was found out about who may do what.
#[derive(Debug)]
pub(super) struct Auth {
    pub(super) sources: Sources,
    /// By registry and path: a helper is asked once.
    logins: Mutex<HashMap<String, Option<Login>>>,
    /// By server and scope.
    sessions: Mutex<HashMap<String, Session>>,
}

/// What goes with every request.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// The value of `Authorization`.
    pub(super) header: Secret,
    /// When it ends, since 1970.
    until: Option<Duration>,
}

impl Auth {
    /// Nobody is logged in yet.
    pub(super) fn new(sources: Sources) -> Self {
        Self { sources, logins: Mutex::default(), sessions: Mutex::default() }
    }

    /// What to send along without being asked.
    pub(super) fn known(&self, place: &Place, clock: &dyn Clock) -> Option<Session> {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.get(&key(place)).filter(|session| session.until.is_none_or(|until| clock.now() + MARGIN < until)).cloned()
    }

    /// What the answer to an answer of 401 is; none when there is nothing to log in with. `had` says that what we knew was refused.
    ///
    /// # Errors
    /// When credentials cannot be read, or the token server refuses, fails or must not be asked.
    pub(super) fn log_in(&self, http: &Http, place: &Place, answer: &Answer, had: bool) -> Result<Option<Session>, Failure> {
        let challenges = challenges(answer.headers("www-authenticate"));
        let login = self.login(place)?;
        let bearer = challenges.iter().find_map(|challenge| match challenge {
            Challenge::Bearer { realm, service, scope } => Some((realm, service.as_deref(), scope.as_deref())),
            _ => None,
        });
        let session = if let Some((realm, service, scope)) = bearer {
            self.token(http, place, realm, service, scope, login.as_ref())?
        } else if challenges.contains(&Challenge::Basic) {
            match login {
                Some(Login { with: With::Password { user, password }, .. }) if !had => {
                    Session { header: basic(&user, &password), until: None }
                }
                _ => return Ok(None),
            }
        } else if let Some(Challenge::Other(name)) = challenges.first() {
            let wants = format!("wants a login of the kind '{}'", shown(name, SHOWN));
            return Err(remote(&answer.url, format!("{wants}, and moby knows Bearer and Basic")).into());
        } else {
            return Ok(None);
        };
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).insert(key(place), session.clone());
        Ok(Some(session))
    }

    /// The credentials for a place, looked up once.
    fn login(&self, place: &Place) -> Result<Option<Login>> {
        let key = format!("{}/{}", place.registry, place.path);
        // Held while a helper runs: it may ask the user, once.
        let mut logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(login) = logins.get(&key) {
            return Ok(login.clone());
        }
        let login = self.sources.find(&place.registry, &place.path)?;
        logins.insert(key, login.clone());
        Ok(login)
    }

    /// What a user who was refused can do.
    pub(super) fn hint(&self, place: &Place) -> String {
        let registry = &place.registry;
        match self.login(place) {
            Ok(Some(login)) => {
                format!("the credentials for {registry} are those of {}: log in anew with `docker login {registry}`", login.from)
            }
            _ => {
                format!("there are no credentials for {registry} in {}: `docker login {registry}` puts them there", self.sources.searched())
            }
        }
    }

    /// Asks the token server.
    fn token(
        &self,
        http: &Http,
        place: &Place,
        realm: &str,
        service: Option<&str>,
        scope: Option<&str>,
        login: Option<&Login>,
    ) -> Result<Session, Failure> {
        let realm = Url::parse(realm).map_err(|error| remote(&place.base, "names a token server that cannot be asked").because(error))?;
        if place.base.secure && !realm.secure {
            return Err(remote(&place.base, format!("names a token server without TLS, {realm}: refused, it would see credentials")).into());
        }
        let scope = wanted(place, scope);
        let fields = service.map(|service| ("service", service)).into_iter().chain(scope.split(' ').map(|scope| ("scope", scope)));
        let mut answer = match login.map(|login| &login.with) {
            Some(With::IdentityToken(token)) => {
                let fields = service.map(|service| ("service", service)).into_iter().chain([("scope", &*scope)]);
                let fixed = [("grant_type", "refresh_token"), ("client_id", "moby"), ("refresh_token", token.told())];
                let form = query(fixed.into_iter().chain(fields));
                http.send(&Request { method: Method::POST, url: &realm, headers: &[], authorization: None, body: Body::Form(&form) })?
            }
            with => {
                let basic = match with {
                    Some(With::Password { user, password }) => Some(basic(user, password)),
                    _ => None,
                };
                let joint = if realm.path.contains('?') { '&' } else { '?' };
                let url = Url { path: format!("{}{joint}{}", realm.path, query(fields)), ..realm };
                let authorization = basic.as_ref().map(Secret::told);
                http.send(&Request { method: Method::GET, url: &url, headers: &[], authorization, body: Body::None })?
            }
        };
        if answer.status != 200 {
            let mut failure = refusal::of_server(answer, "gives no token");
            failure.error = failure.error.hint(self.hint(place));
            return Err(failure);
        }
        let asked = http.clock.now();
        let bytes = answer.bytes(TOKEN_MAX)?;
        let bad = |what: &str| Failure::from(remote(&answer.url, format!("answers with {what} where a token is due")));
        let said: Value = serde_json::from_slice(&bytes).map_err(|_| bad("something that is no JSON"))?;
        let text = |name: &str| said.get(name).and_then(Value::as_str).filter(|token| !token.is_empty());
        let token = text("token").or_else(|| text("access_token")).ok_or_else(|| bad("JSON that has none"))?;
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(bad("characters that no header takes"));
        }
        let seconds = said.get("expires_in").and_then(Value::as_u64).unwrap_or(TOKEN_TIME).max(TOKEN_TIME);
        Ok(Session { header: Secret::new(format!("Bearer {token}")), until: asked.checked_add(Duration::from_secs(seconds)) })
    }
}

/// What a session is good for.
fn key(place: &Place) -> String {
    format!("{} {}", place.base.whole(), place.scope())
}

/// What a token is to be good for: what the registry names. Who pushes wants one token for all of it; what a registry names besides is
/// the repository that a blob is mounted from, and that an upload may be cancelled.
fn wanted(place: &Place, named: Option<&str>) -> String {
    let mut own = place.scope();
    let named = named.unwrap_or(&own).to_owned();
    if place.intent == Intent::Pull {
        return named;
    }
    let ours = format!("repository:{}:", place.path);
    let mut others = String::new();
    for scope in named.split(' ').filter(|scope| !scope.is_empty()) {
        match scope.strip_prefix(&ours) {
            Some(actions) => actions.split(',').filter(|action| !["pull", "push", "*"].contains(action)).for_each(|action| {
                own += &format!(",{action}");
            }),
            None => others += &format!(" {scope}"),
        }
    }
    own + &others
}

fn basic(user: &str, password: &Secret) -> Secret {
    Secret::new(format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{}", password.told()))))
}

fn query<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    fields.map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_pushes_wants_one_token_for_all_of_it() {
        let place = |intent| Place { base: Url::parse("https://h/").unwrap(), registry: "h".into(), path: "a/b".into(), intent };
        let wanted = |intent, named| wanted(&place(intent), named);
        assert_eq!(wanted(Intent::Pull, None), "repository:a/b:pull");
        assert_eq!(wanted(Intent::Pull, Some("repository:c:pull")), "repository:c:pull");
        for narrow in [None, Some("repository:a/b:pull"), Some("repository:a/b:push,pull")] {
            assert_eq!(wanted(Intent::Push, narrow), "repository:a/b:pull,push");
        }
        let mounting = "repository:a/b:pull,push repository:c:pull";
        assert_eq!(wanted(Intent::Push, Some(mounting)), mounting);
        assert_eq!(wanted(Intent::Push, Some("repository:a/b:delete")), "repository:a/b:pull,push,delete");
    }
}
