//! AWS: an access key, from where AWS's own programs take it (botocore's order).
//!
//! | place | what it is |
//! |---|---|
//! | the environment | `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN` |
//! | the profile's role | `role_arn` with `source_profile` or `credential_source` |
//! | web identity | `AWS_WEB_IDENTITY_TOKEN_FILE` and `AWS_ROLE_ARN`, or the profile's |
//! | the profile | keys, `credential_process` |
//! | the container | `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` of ECS, `…_FULL_URI` of EKS and others |
//! | the instance | EC2's metadata service, version 2 |
//!
//! A login by browser (SSO) is refused, with the command that prints its keys.

mod instance;
mod profile;
mod roles;

use super::{
    Secret, Variables,
    chain::{Found, Lasting, Looked, first},
    environment::Environment,
    program,
    server::{Ask, field, nearby},
};
use crate::{
    clock::Clock,
    dates,
    http::{Http, remote},
    sign::aws::Key,
    text::{SHOWN, shown},
    url::{Url, is_loopback},
};
use formats::{At, Error, Kind, Result};
use profile::{Profile, Profiles};
use roles::{By, Role, Service};
use serde_json::Value;
use std::{cell::OnceCell, fs, path::Path, process::Command, time::Duration};

/// Everything that is read of the environment.
const VARIABLES: &[&str] = &[
    "AWS_ACCESS_KEY_ID",
    "AWS_CONFIG_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_DEFAULT_PROFILE",
    "AWS_DEFAULT_REGION",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_EBS",
    "AWS_ENDPOINT_URL_EC2",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_STS",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
];

/// Where a container of ECS asks by a relative URI.
const CONTAINER: &str = "http://169.254.170.2";

/// Who is asked without TLS: ECS, EKS by both protocols, and this machine.
const CONTAINER_HOSTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];

/// Looks for a key, and keeps it while it is good.
#[derive(Debug)]
pub(crate) struct Chain {
    env: Environment,
    /// Tests hand in their own.
    container: String,
    keys: Lasting<Key>,
    regions: Lasting<String>,
}

impl Chain {
    /// Nothing is looked at yet but the environment.
    pub(crate) fn new(env: Variables<'_>) -> Self {
        let env = Environment::new(env, VARIABLES);
        Self { env, container: CONTAINER.to_owned(), keys: Lasting::new(), regions: Lasting::new() }
    }

    /// A key that is good now and for some minutes more.
    ///
    /// # Errors
    /// Bad input: no place has one, or one that is broken. Unsupported: only a browser can log in there. Remote: a server that should
    /// give one fails. Environment: a program that should say one cannot be run.
    pub(crate) fn key(&self, http: &Http, clock: &dyn Clock) -> Result<Key> {
        self.keys.get("", clock, || Looking { chain: self, http, clock, profiles: OnceCell::new() }.key())
    }

    /// The next key is looked for anew: this one was refused.
    pub(crate) fn forget(&self) {
        self.keys.forget();
    }

    /// The region that is meant where none is named.
    ///
    /// # Errors
    /// Bad input: no place names one, or names something else.
    pub(crate) fn region(&self, http: &Http, clock: &dyn Clock) -> Result<String> {
        self.regions.get("", clock, || {
            let looking = Looking { chain: self, http, clock, profiles: OnceCell::new() };
            let places: [&dyn Fn() -> Result<Looked<String>>; 2] = [&|| looking.named_region(), &|| instance::region(&self.env, http)];
            let found = first("there is a region of AWS", "name one: AWS_REGION=eu-central-1", &places)?;
            checked_region(&found.value).at(|| &found.from)?;
            Ok(found)
        })
    }
}

impl Chain {
    /// Where a service is that is not where AWS has it: `s3`, `ec2`, `ebs`, `sts`; in the order of botocore.
    ///
    /// # Errors
    /// Bad input: what is named is no URL, a file is broken, or it has no such section of services.
    pub(crate) fn endpoint(&self, service: &str) -> Result<Option<Url>> {
        self.endpoint_by(service, &Profiles::read(&self.env)?)
    }

    fn endpoint_by(&self, service: &str, profiles: &Profiles) -> Result<Option<Url>> {
        let of_profile = profiles.chosen().and_then(|profile| profile.get("ignore_configured_endpoint_urls"));
        if self.env.text("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")?.or(of_profile).is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let own = format!("AWS_ENDPOINT_URL_{}", service.to_ascii_uppercase());
        for name in [own.as_str(), "AWS_ENDPOINT_URL"] {
            if let Some(url) = self.env.text(name)? {
                return Url::parse(url).map(Some).at(|| name);
            }
        }
        let place = || profiles.place(&profiles.chosen);
        let of_profile = profiles.endpoint(service).at(place)?;
        of_profile.map(|url| Url::parse(url).at(|| "endpoint_url").at(place)).transpose()
    }
}

/// One look at all places.
struct Looking<'a> {
    chain: &'a Chain,
    http: &'a Http,
    clock: &'a dyn Clock,
    profiles: OnceCell<Profiles>,
}

impl Looking<'_> {
    fn key(&self) -> Result<Found<Key>> {
        let env = &self.chain.env;
        let places: [&dyn Fn() -> Result<Looked<Key>>; 6] = [
            &|| self.of_environment(),
            &|| self.of_role(),
            &|| self.of_web_identity(),
            &|| self.of_profile(),
            &|| self.of_container(),
            &|| instance::key(env, self.http),
        ];
        let hint =
            "`aws configure` stores a key; `aws configure export-credentials --format env` prints that of another login as variables";
        first("there is a key of AWS", hint, &places)
    }

    /// Both files, read once.
    fn profiles(&self) -> Result<&Profiles> {
        if let Some(profiles) = self.profiles.get() {
            return Ok(profiles);
        }
        let read = Profiles::read(&self.chain.env)?;
        Ok(self.profiles.get_or_init(|| read))
    }

    fn of_environment(&self) -> Result<Looked<Key>> {
        let env = &self.chain.env;
        let (id, secret) = (env.text("AWS_ACCESS_KEY_ID")?, env.text("AWS_SECRET_ACCESS_KEY")?);
        let lacks = |there: &str, lacking: &str| Error::bad_input(format!("the environment has {there}, but no {lacking}"));
        let (id, secret) = match (id, secret) {
            (Some(id), Some(secret)) => (id, secret),
            (Some(_), None) => return Err(lacks("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")),
            (None, Some(_)) => return Err(lacks("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID")),
            (None, None) => return Ok(Looked::Nothing("the variable AWS_ACCESS_KEY_ID".to_owned())),
        };
        let until = env.text("AWS_CREDENTIAL_EXPIRATION")?.map(|text| {
            dates::of_rfc3339(text).ok_or_else(|| Error::bad_input("AWS_CREDENTIAL_EXPIRATION is no date, must be as 2030-01-31T12:00:00Z"))
        });
        let from = "the variable AWS_ACCESS_KEY_ID".to_owned();
        let value = key(id, secret, env.text("AWS_SESSION_TOKEN")?).at(|| &from)?;
        Ok(Looked::Found(Found { value, until: until.transpose()?, from }))
    }

    fn of_role(&self) -> Result<Looked<Key>> {
        let profiles = self.profiles()?;
        match profiles.chosen().filter(|profile| assumes(profile)) {
            Some(_) => self.of_named(&profiles.chosen, &mut Vec::new()).map(Looked::Found),
            // The profile is named where its keys are looked for.
            None => Ok(Looked::Nothing(String::new())),
        }
    }

    fn of_web_identity(&self) -> Result<Looked<Key>> {
        let env = &self.chain.env;
        let profile = self.profiles()?.chosen();
        let of_profile = |name: &str| profile.and_then(|profile| profile.get(name));
        let file = match env.path("AWS_WEB_IDENTITY_TOKEN_FILE") {
            Some(file) => file,
            None => match of_profile("web_identity_token_file") {
                Some(file) => Path::new(file).to_owned(),
                None => return Ok(Looked::Nothing("the variable AWS_WEB_IDENTITY_TOKEN_FILE".to_owned())),
            },
        };
        let role = env.text("AWS_ROLE_ARN")?.or_else(|| of_profile("role_arn"));
        let name = role.ok_or_else(|| Error::bad_input("there is a token of a web identity, but no AWS_ROLE_ARN").at(file.display()))?;
        let session = env.text("AWS_ROLE_SESSION_NAME")?.or_else(|| of_profile("role_session_name")).unwrap_or("moby");
        let token = fs::read_to_string(&file).at(|| file.display())?;
        let role = Role { name, session, external_id: None, seconds: None };
        self.service()?.assume(self.http, self.clock, &role, &By::WebIdentity(token.trim())).map(Looked::Found).at(|| file.display())
    }

    fn of_profile(&self) -> Result<Looked<Key>> {
        let profiles = self.profiles()?;
        let nothing = || Looked::Nothing(profiles.place(&profiles.chosen));
        Ok(match profiles.chosen() {
            Some(profile) => self.in_profile(&profiles.chosen, profile)?.map_or_else(nothing, Looked::Found),
            None => nothing(),
        })
    }

    /// The key of a profile that another one names, or the user: what it has itself, or by a role.
    fn of_named(&self, name: &str, before: &mut Vec<String>) -> Result<Found<Key>> {
        let profiles = self.profiles()?;
        let (profile, place) = (profiles.get(name)?, profiles.place(name));
        // A profile may name itself: then its own keys are meant.
        let is_own = before.last().is_some_and(|last| last == name);
        if !is_own && before.iter().any(|earlier| earlier == name) {
            return Err(Error::bad_input("its source_profile leads back to itself").at(place));
        }
        if is_own || !assumes(profile) {
            let lacks = || Error::bad_input("has no credentials").at(&place);
            return self.in_profile(name, profile)?.ok_or_else(lacks);
        }
        before.push(name.to_owned());
        if profile.get("mfa_serial").is_some() {
            return Err(by_hand("wants a code of a device (mfa_serial), which moby cannot ask for", name).at(place));
        }
        let source = match (profile.get("source_profile"), profile.get("credential_source")) {
            (Some(source), None) => self.of_named(source, before).at(|| &place)?,
            (None, Some(source)) => self.of_source(source).at(|| &place)?,
            (Some(_), Some(_)) => return Err(Error::bad_input("has both source_profile and credential_source").at(place)),
            (None, None) => return Err(Error::bad_input("has a role_arn, but neither source_profile nor credential_source").at(place)),
        };
        let role = Role {
            name: profile.get("role_arn").unwrap_or_default(),
            session: profile.get("role_session_name").unwrap_or("moby"),
            external_id: profile.get("external_id"),
            seconds: profile.get("duration_seconds"),
        };
        self.service()?.assume(self.http, self.clock, &role, &By::Key(&source.value)).at(|| &place)
    }

    /// What `credential_source` names.
    fn of_source(&self, name: &str) -> Result<Found<Key>> {
        let looked = match name {
            "Environment" => self.of_environment(),
            "EcsContainer" => self.of_container(),
            "Ec2InstanceMetadata" => instance::key(&self.chain.env, self.http),
            other => {
                let required = "must be Environment, EcsContainer or Ec2InstanceMetadata";
                return Err(Error::bad_input(format!("credential_source is '{}', {required}", shown(other, SHOWN))));
            }
        };
        match looked? {
            Looked::Found(found) => Ok(found),
            Looked::Nothing(place) => Err(Error::bad_input(format!("credential_source is {name}, but there is nothing in {place}"))),
        }
    }

    /// What a profile has itself.
    fn in_profile(&self, name: &str, profile: &Profile) -> Result<Option<Found<Key>>> {
        let from = self.profiles()?.place(name);
        if ["sso_session", "sso_start_url", "login_session"].iter().any(|key| profile.get(key).is_some()) {
            return Err(by_hand("logs in by a browser, which moby does not", name).at(from));
        }
        match (profile.get("aws_access_key_id"), profile.get("aws_secret_access_key")) {
            (Some(id), Some(secret)) => {
                let value = key(id, secret, profile.get("aws_session_token")).at(|| &from)?;
                Ok(Some(Found { value, until: None, from }))
            }
            (None, None) => match profile.get("credential_process") {
                Some(command) => of_process(command, from).map(Some),
                None => Ok(None),
            },
            (Some(_), None) => Err(Error::bad_input("has aws_access_key_id, but no aws_secret_access_key").at(from)),
            (None, Some(_)) => Err(Error::bad_input("has aws_secret_access_key, but no aws_access_key_id").at(from)),
        }
    }

    fn of_container(&self) -> Result<Looked<Key>> {
        const NAMES: [&str; 2] = ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"];
        let env = &self.chain.env;
        let (from, url) = match (env.text(NAMES[0])?, env.text(NAMES[1])?) {
            (Some(relative), _) => (NAMES[0], Url::parse(&format!("{}{relative}", self.chain.container))),
            (None, Some(whole)) => (NAMES[1], Url::parse(whole)),
            (None, None) => return Ok(Looked::Nothing(format!("the variables {} and {}", NAMES[0], NAMES[1]))),
        };
        let url = url.at(|| from)?;
        let is_near = is_loopback(&url.host) || CONTAINER_HOSTS.contains(&url.host.as_str());
        if !is_near && !url.secure {
            let what = format!("is {url}, must be https or an address of this machine, of ECS or of EKS");
            return Err(Error::bad_input(what).at(from));
        }
        let token = match env.path("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
            Some(file) => Some(fs::read_to_string(&file).at(|| file.display()).at(|| "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")?),
            None => env.text("AWS_CONTAINER_AUTHORIZATION_TOKEN")?.map(str::to_owned),
        };
        let authorization = token.as_deref().map(str::trim);
        let ask = Ask { authorization, ..Ask::get(&url, &[]) };
        let said = if is_near { ask.json(&nearby(self.http)) } else { ask.json(self.http) }.at(|| from)?;
        let lacks = || remote(&url, "answers with JSON that has no key").at(from);
        let (value, until) = key_in(&said, "Token").ok_or_else(lacks)?;
        Ok(Looked::Found(Found { value, until, from: from.to_owned() }))
    }

    /// What the environment or the profile names.
    fn named_region(&self) -> Result<Looked<String>> {
        const NAMES: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];
        for name in NAMES {
            if let Some(region) = self.chain.env.text(name)? {
                return Ok(Looked::Found(Found { value: region.to_owned(), until: None, from: name.to_owned() }));
            }
        }
        let profiles = self.profiles()?;
        let place = profiles.place(&profiles.chosen);
        Ok(match profiles.chosen().and_then(|profile| profile.get("region")) {
            Some(region) => Looked::Found(Found { value: region.to_owned(), until: None, from: place }),
            None => Looked::Nothing(format!("the variables AWS_REGION and AWS_DEFAULT_REGION; {place}")),
        })
    }

    fn service(&self) -> Result<Service> {
        let region = match self.named_region()? {
            Looked::Found(found) => {
                checked_region(&found.value).at(|| &found.from)?;
                Some(found.value)
            }
            Looked::Nothing(_) => None,
        };
        Service::new(self.chain.endpoint_by("sts", self.profiles()?)?, region.as_deref())
    }
}

/// Whether a profile is a role that another one assumes.
fn assumes(profile: &Profile) -> bool {
    profile.get("role_arn").is_some() && profile.get("web_identity_token_file").is_none()
}

/// What only AWS's own program can do, and how to get at what it has.
fn by_hand(what: &str, profile: &str) -> Error {
    let command = format!("eval \"$(aws configure export-credentials --profile {profile} --format env)\"");
    Error::unsupported(what).hint(format!("{command} puts its key into the environment"))
}

/// What a `credential_process` says. Its command line is not shown: there may be a secret in it.
fn of_process(command_line: &str, from: String) -> Result<Found<Key>> {
    let (shell, flag) = if cfg!(windows) { ("cmd", "/C") } else { ("sh", "-c") };
    let mut command = Command::new(shell);
    command.args([flag, command_line]);
    let (status, said) = program::run(command, "", "its credential_process").at(|| &from)?;
    let failed = |what: String| Error::new(Kind::Environment, format!("its credential_process {what}")).at(&from);
    if !status.success() {
        return Err(failed(format!("failed: {status}")));
    }
    let said: Value = serde_json::from_slice(&said).map_err(|_| failed("answers with something that is no JSON".to_owned()))?;
    let version = said.get("Version").and_then(Value::as_u64);
    if version != Some(1) {
        let found = version.map_or_else(|| "no Version".to_owned(), |version| format!("Version {version}"));
        return Err(failed(format!("answers with {found}, must be 1")));
    }
    let (value, until) = key_in(&said, "SessionToken").ok_or_else(|| failed("answers with JSON that has no key".to_owned()))?;
    Ok(Found { value, until, from })
}

/// A key in JSON, and when it ends.
fn key_in(said: &Value, token: &str) -> Option<(Key, Option<Duration>)> {
    let key = key(field(said, "AccessKeyId")?, field(said, "SecretAccessKey")?, field(said, token)).ok()?;
    let until = match field(said, "Expiration") {
        Some(text) => Some(dates::of_rfc3339(text)?),
        None => None,
    };
    Some((key, until))
}

/// A key whose parts fit into headers.
fn key(id: &str, secret: &str, token: Option<&str>) -> Result<Key> {
    let fits = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if !fits(id) || !fits(secret) || !token.is_none_or(fits) {
        return Err(Error::bad_input("a key has blanks or characters outside ASCII in it, which none of AWS has"));
    }
    Ok(Key { id: id.to_owned(), secret: Secret::new(secret), token: token.map(Secret::new) })
}

/// A region becomes part of a host's name.
pub(crate) fn checked_region(region: &str) -> Result<()> {
    if region.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) && !region.is_empty() {
        return Ok(());
    }
    Err(Error::bad_input(format!("'{}' is no region, must be as eu-central-1", shown(region, SHOWN))))
}

#[cfg(test)]
mod tests;
