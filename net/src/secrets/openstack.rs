//! OpenStack: a token of Keystone's (Identity API v3), and where the services are.
//!
//! Settings are those of one cloud of `clouds.yaml`, when `OS_CLOUD` names one, else the variables `OS_*`. Logged in is by password,
//! by application credential or by a token; other ways, by a browser or by another identity, are refused with the command that prints a
//! token.

mod clouds;

use super::{
    Secret, Variables,
    chain::{Found, Lasting, Looked, first},
    environment::Environment,
    server::{Ask, field},
};
use crate::{
    clock::Clock,
    dates,
    http::{Body, Http, remote},
    text::{SHOWN, shown},
    tls::Roots,
    url::Url,
};
use clouds::{Settings, cloud};
use formats::{At, Error, Result};
use serde_json::{Value, json};
use std::{path::Path, sync::Arc};
use ureq::http::Method;

/// Settings that are variables, too: `OS_AUTH_URL`.
const VARIABLES: &[&str] = &[
    "OS_APPLICATION_CREDENTIAL_ID",
    "OS_APPLICATION_CREDENTIAL_NAME",
    "OS_APPLICATION_CREDENTIAL_SECRET",
    "OS_AUTH_TYPE",
    "OS_AUTH_URL",
    "OS_CACERT",
    "OS_CERT",
    "OS_CLIENT_CONFIG_FILE",
    "OS_CLOUD",
    "OS_DEFAULT_DOMAIN",
    "OS_DOMAIN_ID",
    "OS_DOMAIN_NAME",
    "OS_IMAGE_ENDPOINT_OVERRIDE",
    "OS_INSECURE",
    "OS_INTERFACE",
    "OS_PASSWORD",
    "OS_PROJECT_DOMAIN_ID",
    "OS_PROJECT_DOMAIN_NAME",
    "OS_PROJECT_ID",
    "OS_PROJECT_NAME",
    "OS_REGION_NAME",
    "OS_SYSTEM_SCOPE",
    "OS_TENANT_ID",
    "OS_TENANT_NAME",
    "OS_TOKEN",
    "OS_USERNAME",
    "OS_USER_DOMAIN_ID",
    "OS_USER_DOMAIN_NAME",
    "OS_USER_ID",
    "OS_VERIFY",
    "XDG_CONFIG_HOME",
];

/// What names older than today's are called.
const TODAY: [(&str, &str); 3] = [("tenant_id", "project_id"), ("tenant_name", "project_name"), ("endpoint_type", "interface")];

/// Logs in, and keeps the token while it is good.
#[derive(Debug)]
pub(crate) struct Chain {
    env: Environment,
    sessions: Lasting<Session>,
}

/// Who is logged in.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// The value of `X-Auth-Token`.
    pub(crate) token: Secret,
    settings: Arc<Settings>,
    /// Keystone's `catalog`.
    catalogue: Arc<Value>,
    from: String,
}

impl Chain {
    /// Nothing is looked at yet but the environment.
    pub(crate) fn new(env: Variables<'_>) -> Self {
        Self { env: Environment::new(env, VARIABLES), sessions: Lasting::new() }
    }

    /// A session that is good now and for some minutes more.
    ///
    /// # Errors
    /// Bad input: there are no settings, or something lacks. Unsupported: another kind of login. Remote: Keystone refuses or fails.
    pub(crate) fn session(&self, http: &Http, clock: &dyn Clock) -> Result<Session> {
        self.sessions.get("", clock, || {
            let found = self.settings()?;
            log_in(http, found.value, &found.from).at(|| &found.from)
        })
    }

    /// Whom the cloud's servers are trusted by: the authority that the user names (`--ca`), else that of the settings.
    ///
    /// # Errors
    /// Bad input: there are no settings. Unsupported: they want nobody to prove who he is, or a certificate of ours.
    pub(crate) fn roots(&self, of_user: &Roots) -> Result<Roots> {
        let Found { value: settings, from, .. } = self.settings()?;
        let is = |name: &str, words: &[&str]| settings.get(name).is_some_and(|value| words.contains(&&*value.told().to_ascii_lowercase()));
        if settings.contains_key("cert") {
            return Err(Error::unsupported("has a certificate of the user's (cert), and moby shows none").at(from));
        }
        if of_user.ca.is_some() {
            return Ok(of_user.clone());
        }
        if is("insecure", &["true", "yes", "on", "1"]) || is("verify", &["false", "no", "off", "0"]) {
            let what = "is not to be verified (verify, insecure), and moby tells nobody a password who does not prove who he is";
            let hint =
                "name the certificate of its authority: cacert in clouds.yaml, OS_CACERT, or --ca FILE, which counts before all of them";
            return Err(Error::unsupported(what).at(from).hint(hint));
        }
        let file = settings.get("cacert").or_else(|| settings.get("verify").filter(|_| !is("verify", &["true", "yes", "on", "1"])));
        let ca = file.map(|file| self.env.expanded(Path::new(file.told())));
        Ok(Roots { ca, ..of_user.clone() })
    }

    fn settings(&self) -> Result<Found<Settings>> {
        let hint = "the file that OpenStack's dashboard offers as \"OpenStack RC File\" sets the variables";
        let places: [&dyn Fn() -> Result<Looked<Settings>>; 2] = [&|| self.of_file(), &|| self.of_environment()];
        first("there is a login for OpenStack", hint, &places)
    }

    /// The next token is asked for anew: this one was refused.
    pub(crate) fn forget(&self) {
        self.sessions.forget();
    }

    fn of_file(&self) -> Result<Looked<Settings>> {
        let Some(name) = self.env.text("OS_CLOUD")? else { return Ok(Looked::Nothing("the variable OS_CLOUD".to_owned())) };
        let (settings, file) = cloud(&self.env, name)?;
        let from = format!("the cloud '{name}' of {}", file.display());
        if settings.contains_key("profile") && !settings.contains_key("auth_url") {
            let error = Error::unsupported("names a vendor's profile in place of an auth_url, and moby has none").at(from);
            return Err(error.hint("write the auth_url into it"));
        }
        Ok(Looked::Found(Found { value: today(settings), until: None, from }))
    }

    fn of_environment(&self) -> Result<Looked<Settings>> {
        let mut settings = Settings::new();
        for variable in VARIABLES {
            if let (Some(name), Some(value)) = (variable.strip_prefix("OS_"), self.env.text(variable)?) {
                settings.insert(name.to_ascii_lowercase(), Secret::new(value));
            }
        }
        let from = "the variable OS_AUTH_URL".to_owned();
        Ok(if settings.contains_key("auth_url") {
            Looked::Found(Found { value: today(settings), until: None, from })
        } else {
            Looked::Nothing(from)
        })
    }
}

impl Session {
    /// Where a service is: `image`.
    ///
    /// # Errors
    /// Bad input: the cloud has no such service, or not in this region.
    pub(crate) fn endpoint(&self, service: &str) -> Result<Url> {
        let setting = |name: &str| self.settings.get(name).map(Secret::told);
        if let Some(url) = setting(&format!("{service}_endpoint_override")) {
            return Url::parse(url).at(|| format!("{service}_endpoint_override")).at(|| &self.from);
        }
        let (interface, region) = (setting("interface").unwrap_or("public").trim_end_matches("URL"), setting("region_name"));
        let services = self.catalogue.as_array().into_iter().flatten();
        let endpoints =
            services.filter(|entry| field(entry, "type") == Some(service)).filter_map(|entry| entry.get("endpoints")?.as_array());
        let endpoints: Vec<&Value> = endpoints.flatten().filter(|entry| field(entry, "interface") == Some(interface)).collect();
        let region_of = |entry: &Value| field(entry, "region_id").or_else(|| field(entry, "region")).map(str::to_owned);
        let found = endpoints.iter().find(|entry| region.is_none_or(|region| region_of(entry).as_deref() == Some(region)));
        if let Some(url) = found.and_then(|entry| field(entry, "url")) {
            return Url::parse(url).at(|| format!("the catalogue's endpoint of {service}"));
        }
        let regions: Vec<_> = endpoints.iter().filter_map(|entry| region_of(entry)).map(|region| shown(&region, SHOWN)).collect();
        let error = match region {
            Some(region) if !regions.is_empty() => {
                Error::bad_input(format!("the cloud has no {service} service in the region {region}, but in {}", regions.join(", ")))
            }
            _ => Error::bad_input(format!("the cloud has no {service} service with a {interface} endpoint")),
        };
        let project = "a login without a project sees no services: OS_PROJECT_NAME";
        Err(if self.catalogue.is_array() { error } else { error.hint(project) }.at(&self.from))
    }
}

/// Names of old as today's; who is in no domain is in the default one.
fn today(mut settings: Settings) -> Settings {
    for (old, new) in TODAY {
        if let Some(value) = settings.remove(old) {
            settings.entry(new.to_owned()).or_insert(value);
        }
    }
    let default = settings.get("default_domain").cloned().unwrap_or_else(|| Secret::new("default"));
    for (whose, needed) in [("user_domain", "username"), ("project_domain", "project_name")] {
        let names = [format!("{whose}_id"), format!("{whose}_name")];
        if settings.contains_key(needed) && !names.iter().any(|name| settings.contains_key(name)) {
            settings.insert(format!("{whose}_id"), default.clone());
        }
    }
    settings
}

fn log_in(http: &Http, settings: Settings, from: &str) -> Result<Found<Session>> {
    let (url, body) = request(&settings)?;
    let headers = [("content-type", "application/json".to_owned()), ("accept", "application/json".to_owned())];
    let body = body.to_string();
    let ask = Ask { method: Method::POST, body: Body::Bytes(body.as_bytes()), ..Ask::get(&url, &headers) };
    let said = ask.said(http, "x-subject-token")?;
    let lacks = |what: &str| remote(&url, format!("answers without {what}"));
    let token = said.header.clone().filter(|token| !token.is_empty()).ok_or_else(|| lacks("a token"))?;
    let mut json = said.json(&url)?;
    let json = json.get_mut("token").ok_or_else(|| lacks("what the token is good for"))?;
    let until =
        field(json, "expires_at").map(|text| dates::of_rfc3339(text).ok_or_else(|| lacks("a date that can be read"))).transpose()?;
    let catalogue = Arc::new(json.get_mut("catalog").map(Value::take).unwrap_or_default());
    let value = Session { token: Secret::new(token), settings: Arc::new(settings), catalogue, from: from.to_owned() };
    Ok(Found { value, until, from: from.to_owned() })
}

/// What Keystone is asked, and where.
fn request(settings: &Settings) -> Result<(Url, Value)> {
    let url = needed(settings, "auth_url")?.trim_end_matches('/');
    if url.ends_with("/v2.0") {
        return Err(Error::unsupported("auth_url is of the Identity API v2.0, must be v3"));
    }
    let url = if url.ends_with("/v3") { format!("{url}/auth/tokens") } else { format!("{url}/v3/auth/tokens") };
    let identity = identity(settings)?;
    let mut auth = json!({"identity": identity});
    // A credential has its project already.
    if let Some(scope) = scope(settings).filter(|_| auth["identity"].get("application_credential").is_none()) {
        auth["scope"] = scope;
    }
    Ok((Url::parse(&url).at(|| "auth_url")?, json!({"auth": auth})))
}

/// Who we are.
fn identity(settings: &Settings) -> Result<Value> {
    let is_there = |name: &str| settings.contains_key(name);
    let kind = settings.get("auth_type").map(Secret::told);
    let kind = match kind.map(|kind| kind.strip_prefix("v3").unwrap_or(kind)) {
        Some(kind) => kind,
        None if is_there("application_credential_secret") => "applicationcredential",
        None if is_there("token") && !is_there("password") => "token",
        None => "password",
    };
    match kind {
        "applicationcredential" => {
            let mut credential = json!({"secret": needed(settings, "application_credential_secret")?});
            if let Some(id) = settings.get("application_credential_id") {
                credential["id"] = json!(id.told());
            } else {
                credential["name"] = json!(needed(settings, "application_credential_name")?);
                credential["user"] = user(settings)?;
            }
            Ok(json!({"methods": ["application_credential"], "application_credential": credential}))
        }
        "token" => Ok(json!({"methods": ["token"], "token": {"id": needed(settings, "token")?}})),
        "password" => {
            let mut user = user(settings)?;
            user["password"] = json!(needed(settings, "password")?);
            Ok(json!({"methods": ["password"], "password": {"user": user}}))
        }
        other => {
            let what = format!("auth_type is '{}', must be password, v3applicationcredential or token", shown(other, SHOWN));
            Err(Error::unsupported(what).hint("`openstack token issue -f value -c id` prints a token: OS_AUTH_TYPE=token OS_TOKEN=TOKEN"))
        }
    }
}

fn user(settings: &Settings) -> Result<Value> {
    if let Some(id) = settings.get("user_id") {
        return Ok(json!({"id": id.told()}));
    }
    let mut user = json!({"name": needed(settings, "username")?});
    if let Some(domain) = named(settings, "user_domain") {
        user["domain"] = domain;
    }
    Ok(user)
}

/// What the token is to be good for; none is for nothing but asking who one is.
fn scope(settings: &Settings) -> Option<Value> {
    if let Some(project) = named(settings, "project") {
        let mut project = project;
        if project.get("name").is_some()
            && let Some(domain) = named(settings, "project_domain")
        {
            project["domain"] = domain;
        }
        return Some(json!({"project": project}));
    }
    if let Some(domain) = named(settings, "domain") {
        return Some(json!({"domain": domain}));
    }
    settings.get("system_scope").filter(|scope| scope.told() == "all").map(|_| json!({"system": {"all": true}}))
}

/// Something by its id, else by its name.
fn named(settings: &Settings, what: &str) -> Option<Value> {
    let by = |with: &str| settings.get(&format!("{what}_{with}")).map(|value| json!({with: value.told()}));
    by("id").or_else(|| by("name"))
}

fn needed<'a>(settings: &'a Settings, name: &str) -> Result<&'a str> {
    let lacks = || Error::bad_input(format!("has no {name} (OS_{})", name.to_ascii_uppercase()));
    settings.get(name).map(Secret::told).ok_or_else(lacks)
}

#[cfg(test)]
mod tests;
