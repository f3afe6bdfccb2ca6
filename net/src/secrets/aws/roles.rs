//! Roles, by the Security Token Service: `AssumeRole` by who has a key, `AssumeRoleWithWebIdentity` by who has an identity token.

use super::super::{Secret, chain::Found, environment::Environment, server::Ask};
use crate::{
    clock::Clock,
    dates,
    http::{Http, remote},
    refusal::element,
    sign::aws::{Key, Request, Scope, payload, sign},
    text::{SHOWN, shown},
    url::{Url, encoded},
};
use formats::{At, Result};
use std::time::Duration;

/// Who is to be somebody else for a while.
pub(super) struct Role<'a> {
    pub(super) name: &'a str,
    /// What is written into logs.
    pub(super) session: &'a str,
    pub(super) external_id: Option<&'a str>,
    /// How long, in seconds.
    pub(super) seconds: Option<&'a str>,
}

/// By what.
pub(super) enum By<'a> {
    Key(&'a Key),
    WebIdentity(&'a str),
}

/// Where the service is, and what its signatures are good for.
pub(super) struct Service {
    url: Url,
    region: String,
}

impl Service {
    /// The one that the environment names, or that of the region; without one, the one that stands for all.
    ///
    /// # Errors
    /// Bad input: the environment names something that is no URL.
    pub(super) fn new(env: &Environment, region: Option<&str>) -> Result<Self> {
        let mut named = None;
        for variable in ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"] {
            let is_ignored = env.is_on("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")?;
            if let Some(url) = env.text(variable)?.filter(|_| named.is_none() && !is_ignored) {
                named = Some(Url::parse(url).at(|| variable)?);
            }
        }
        let url = match (named, region) {
            (Some(url), _) => url,
            (None, Some(region)) => {
                let china = if region.starts_with("cn-") { ".cn" } else { "" };
                Url::parse(&format!("https://sts.{region}.amazonaws.com{china}/"))?
            }
            (None, None) => Url::parse("https://sts.amazonaws.com/")?,
        };
        Ok(Self { url, region: region.unwrap_or("us-east-1").to_owned() })
    }

    /// The key of a role.
    ///
    /// # Errors
    /// Remote: the service refuses or fails.
    pub(super) fn assume(&self, http: &Http, clock: &dyn Clock, role: &Role<'_>, by: &By<'_>) -> Result<Found<Key>> {
        let action = if matches!(by, By::Key(_)) { "AssumeRole" } else { "AssumeRoleWithWebIdentity" };
        let mut form =
            format!("Action={action}&Version=2011-06-15&RoleArn={}&RoleSessionName={}", encoded(role.name), encoded(role.session));
        let token = if let By::WebIdentity(token) = by { Some(*token) } else { None };
        for (name, value) in [("ExternalId", role.external_id), ("DurationSeconds", role.seconds), ("WebIdentityToken", token)] {
            form += &value.map(|value| format!("&{name}={}", encoded(value))).unwrap_or_default();
        }
        let from = format!("the role {}", shown(role.name, SHOWN));
        let said = match by {
            By::WebIdentity(_) => Ask::post(&self.url, &form).text(http),
            By::Key(key) => {
                let signed_too = [("content-type", "application/x-www-form-urlencoded".to_owned())];
                let request = Request { method: "POST", url: &self.url, headers: &signed_too, payload: &payload(form.as_bytes()) };
                let signed = sign(&request, key, Scope { region: &self.region, service: "sts" }, clock.now());
                let authorization = Some(signed.authorization.told());
                Ask { headers: &signed.headers, authorization, ..Ask::post(&self.url, &form) }.text(http)
            }
        };
        let said = said.at(|| &from)?;
        let (value, until) = key_in_xml(&said).ok_or_else(|| remote(&self.url, "answers with something that is no key").at(&from))?;
        Ok(Found { value, until: Some(until), from })
    }
}

fn key_in_xml(xml: &str) -> Option<(Key, Duration)> {
    let field = |name: &str| element(xml, name).filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()));
    let (id, secret) = (field("AccessKeyId")?, Secret::new(field("SecretAccessKey")?));
    let key = Key { id, secret, token: Some(Secret::new(field("SessionToken")?)) };
    Some((key, dates::of_rfc3339(&field("Expiration")?)?))
}
