//! The metadata service of an EC2 instance, version 2: a token by `PUT`, then everything by `GET`.

use super::{
    super::{
        chain::{Found, Looked},
        environment::Environment,
        server::{Ask, Said, field, nearby},
    },
    key_in,
};
use crate::{
    http::{Body, Http, remote},
    sign::aws::Key,
    text::{SHOWN, shown},
    url::Url,
};
use formats::Result;
use ureq::http::Method;

/// Where it is, and what it is told so that it answers; or why there is none.
struct Instance {
    http: Http,
    base: Url,
    headers: [(&'static str, String); 1],
}

/// The credentials of the instance's role.
///
/// # Errors
/// When it is there and fails.
pub(super) fn key(env: &Environment, http: &Http) -> Result<Looked<Key>> {
    let instance = match Instance::reach(env, http)? {
        Ok(instance) => instance,
        Err(why) => return Ok(Looked::Nothing(why)),
    };
    let below = "/latest/meta-data/iam/security-credentials/";
    let Some(role) = instance.get(below)? else {
        return Ok(Looked::Nothing(format!("the metadata service of EC2 at {} (the instance has no role)", instance.base)));
    };
    let role = role.lines().next().unwrap_or_default().trim().to_owned();
    let url = instance.base.join(&format!("{below}{role}"))?;
    let said = Ask::get(&url, &instance.headers).json(&instance.http)?;
    if let Some(code) = field(&said, "Code").filter(|code| *code != "Success") {
        return Err(remote(&url, format!("has no credentials of the role {}: {}", shown(&role, SHOWN), shown(code, SHOWN))));
    }
    let from = format!("the role {} of the EC2 instance", shown(&role, SHOWN));
    key_in(&said, "Token").map(|(value, until)| Looked::Found(Found { value, until, from })).ok_or_else(|| {
        // What was said is not shown: a secret may be in it.
        remote(&url, "answers with JSON that has no credentials")
    })
}

/// The region that the instance is in.
///
/// # Errors
/// When it is there and fails.
pub(super) fn region(env: &Environment, http: &Http) -> Result<Looked<String>> {
    let instance = match Instance::reach(env, http)? {
        Ok(instance) => instance,
        Err(why) => return Ok(Looked::Nothing(why)),
    };
    let place = format!("the metadata service of EC2 at {}", instance.base);
    Ok(match instance.get("/latest/meta-data/placement/region")? {
        Some(region) => Looked::Found(Found { value: region.trim().to_owned(), until: None, from: place }),
        None => Looked::Nothing(place),
    })
}

impl Instance {
    /// Knocks.
    fn reach(env: &Environment, http: &Http) -> Result<Result<Self, String>> {
        if env.is_on("AWS_EC2_METADATA_DISABLED")? {
            return Ok(Err("the metadata service of EC2 (AWS_EC2_METADATA_DISABLED is set)".to_owned()));
        }
        let base = match (env.text("AWS_EC2_METADATA_SERVICE_ENDPOINT")?, env.text("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE")?) {
            (Some(endpoint), _) => Url::parse(endpoint).map_err(|error| error.at("AWS_EC2_METADATA_SERVICE_ENDPOINT"))?,
            (None, Some(mode)) if mode.eq_ignore_ascii_case("ipv6") => Url::parse("http://[fd00:ec2::254]")?,
            (None, _) => Url::parse("http://169.254.169.254")?,
        };
        let http = nearby(http);
        let headers = [("x-aws-ec2-metadata-token-ttl-seconds", "21600".to_owned())];
        let url = base.join("/latest/api/token")?;
        let ask = Ask { method: Method::PUT, url: &url, headers: &headers, authorization: None, body: Body::Bytes(&[]) };
        Ok(match ask.knock(&http, "") {
            Ok(Said { status: 200, body, .. }) => match String::from_utf8(body) {
                Ok(token) if token.bytes().all(|byte| byte.is_ascii_graphic()) && !token.is_empty() => {
                    Ok(Self { http, base, headers: [("x-aws-ec2-metadata-token", token)] })
                }
                _ => Err(format!("the metadata service of EC2 ({base} is something else)")),
            },
            Ok(Said { status, .. }) => Err(format!("the metadata service of EC2 ({base} gives no token: {status})")),
            Err(why) => Err(format!("the metadata service of EC2 ({why})")),
        })
    }

    /// The text of a path; none where there is none.
    fn get(&self, path: &str) -> Result<Option<String>> {
        let url = self.base.join(path)?;
        let ask = Ask::get(&url, &self.headers);
        match ask.knock(&self.http, "") {
            Ok(Said { status: 200, body, .. }) => Ok(Some(String::from_utf8_lossy(&body).into_owned())),
            Ok(Said { status: 404, .. }) => Ok(None),
            // It was there: it is asked again, and says why.
            _ => ask.text(&self.http).map(Some),
        }
    }
}
