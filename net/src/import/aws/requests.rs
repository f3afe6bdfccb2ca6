//! What is asked of EBS and EC2.

use super::{BLOCK, Image, Import};
use crate::{
    http::{Answer, Body, Request, remote},
    refusal,
    retry::{Failure, Limits, persist},
    sign,
    text::{SHOWN, shown},
    url::{Url, encoded},
    xml,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use formats::{At, Error, Kind, Result, units};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use ureq::http::Method;

/// Most bytes of an answer.
const ANSWER_MAX: u64 = 1 << 20;
/// Minutes after its last block until a snapshot that is not completed ends by itself.
const TIMEOUT: u64 = 20;
/// How often something is asked: EBS throttles whoever writes much.
const ATTEMPTS: u32 = 12;
/// How image and snapshot call their disk.
const DEVICE: &str = "/dev/xvda";

/// A request for one of the services.
struct Ask<'a> {
    method: Method,
    /// From the slash on.
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Body<'a>,
    /// SHA-256 of the body.
    sha256: [u8; 32],
}

/// A snapshot that was begun.
pub(super) struct Started {
    pub(super) id: String,
    /// How many bytes its blocks have, where it says.
    pub(super) block: Option<u64>,
}

impl Import {
    fn url(&self, service: &str, path: &str) -> Result<Url> {
        let base = match &self.stores.endpoint {
            Some(endpoint) => Url::parse(endpoint).at(|| "--endpoint")?,
            None => match self.stores.aws.endpoint(service)? {
                Some(url) => url,
                None => {
                    let domain = if self.region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
                    Url::parse(&format!("https://{service}.{}.{domain}/", self.region))?
                }
            },
        };
        Ok(Url { path: format!("{}{path}", base.path.trim_end_matches('/')), ..base })
    }

    fn once(&self, service: &str, ask: &Ask<'_>) -> Result<Answer, Failure> {
        let (http, clock) = (&self.stores.http, &*self.stores.clock);
        let url = self.url(service, &ask.path)?;
        let key = self.stores.aws.key(http, clock)?;
        // By TLS nobody changes a block on its way, and the service compares it with its own header; without it the signature does.
        let is_unsigned = service == "ebs" && url.secure && matches!(ask.method, Method::PUT);
        let payload = if is_unsigned { sign::aws::UNSIGNED.to_owned() } else { units::hex(&ask.sha256) };
        let mut headers = ask.headers.clone();
        headers.extend(is_unsigned.then(|| ("x-amz-content-sha256", payload.clone())));
        let scope = sign::aws::Scope { region: &self.region, service };
        let request = sign::aws::Request { method: ask.method.as_str(), url: &url, headers: &headers, payload: &payload };
        let signed = sign::aws::sign(&request, &key, scope, clock.now());
        headers.extend(signed.headers);
        let authorization = Some(signed.authorization.told());
        http.send_signed(&Request { method: ask.method.clone(), url: &url, headers: &headers, authorization, body: ask.body })
    }

    /// Asks until there is an answer that stays; credentials that have expired are renewed once. `expected` is a refusal that the caller
    /// looks at: there is no answer then.
    fn ask(&self, service: &str, ask: &Ask<'_>, expected: Option<&str>) -> Result<Option<(Url, Vec<u8>)>> {
        let http = &self.stores.http;
        let limits = Limits { attempts: http.transport.limits.attempts.max(ATTEMPTS), ..http.transport.limits };
        let mut renewed = false;
        persist(&limits, &*self.stores.clock, &ask.path, || {
            loop {
                let mut answer = self.once(service, ask)?;
                if (200..300).contains(&answer.status) {
                    let bytes = answer.bytes(ANSWER_MAX)?;
                    return Ok(Some((answer.url, bytes)));
                }
                let named = answer.header("x-amzn-errortype").and_then(|name| name.split(':').next()).unwrap_or_default().to_owned();
                let (status, asked) = (answer.status, answer.retry_after());
                let failure = refusal::of_server(answer, "refuses");
                let says = |code: &str| named == code || failure.error.to_string().contains(&format!(": {code}"));
                if expected.is_some_and(says) {
                    return Ok(None);
                }
                if !renewed && ["ExpiredToken", "RequestExpired", "ExpiredTokenException"].iter().any(|code| says(code)) {
                    renewed = true;
                    self.stores.aws.forget();
                    continue;
                }
                if ["RequestThrottledException", "ThrottlingException"].contains(&named.as_str()) {
                    return Err(Failure::after(failure.error, asked));
                }
                return Err(hinted(failure, &named, status, service));
            }
        })
    }

    fn answer(&self, service: &str, ask: &Ask<'_>) -> Result<(Url, Vec<u8>)> {
        self.ask(service, ask, None)?.ok_or_else(unexpected)
    }

    /// Begins a snapshot of so many GiB.
    pub(super) fn start(&self, gib: u64, token: &str, image: &Image) -> Result<Started> {
        let mut body = json!({"VolumeSize": gib, "ClientToken": token, "Timeout": TIMEOUT});
        if !image.description.is_empty() {
            body["Description"] = image.description.as_str().into();
        }
        if !image.tags.is_empty() {
            body["Tags"] = image.tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
        }
        let body = body.to_string();
        let headers = vec![("Content-Type", "application/json".to_owned())];
        let sha256 = Sha256::digest(&body).into();
        let ask = Ask { method: Method::POST, path: "/snapshots".into(), headers, body: Body::Bytes(body.as_bytes()), sha256 };
        let (url, bytes) = self.answer("ebs", &ask)?;
        let said: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let sound = |id: &&str| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let id = said.get("SnapshotId").and_then(Value::as_str).filter(sound);
        let id = id.ok_or_else(|| remote(&url, "begins a snapshot and does not name it"))?.to_owned();
        // An emulator says 512, meaning KiB.
        let block = said.get("BlockSize").and_then(Value::as_u64).filter(|block| *block != BLOCK / units::KIB);
        Ok(Started { id, block })
    }

    /// Puts a block.
    pub(super) fn put(&self, id: &str, number: u64, block: &[u8], digest: &[u8; 32]) -> Result<()> {
        let headers = vec![
            ("Content-Type", "application/octet-stream".to_owned()),
            ("x-amz-Checksum", BASE64_STANDARD.encode(digest)),
            ("x-amz-Checksum-Algorithm", "SHA256".to_owned()),
            ("x-amz-Data-Length", BLOCK.to_string()),
        ];
        let path = format!("/snapshots/{id}/blocks/{number}");
        self.answer("ebs", &Ask { method: Method::PUT, path, headers, body: Body::Bytes(block), sha256: *digest }).map(drop)
    }

    /// Says that all blocks are there.
    pub(super) fn complete(&self, id: &str, count: usize, checksum: &str) -> Result<()> {
        let headers = vec![
            ("x-amz-ChangedBlocksCount", count.to_string()),
            ("x-amz-Checksum", checksum.to_owned()),
            ("x-amz-Checksum-Aggregation-Method", "LINEAR".to_owned()),
            ("x-amz-Checksum-Algorithm", "SHA256".to_owned()),
        ];
        let path = format!("/snapshots/completion/{id}");
        let sha256 = Sha256::digest([]).into();
        self.answer("ebs", &Ask { method: Method::POST, path, headers, body: Body::Bytes(&[]), sha256 }).map(drop)
    }

    /// Asks EC2; no answer where it refuses with the code that is expected.
    fn query(&self, fields: &[(String, String)], expected: Option<&str>) -> Result<Option<(Url, String)>> {
        // A form has `+` for a blank, and there are servers that sign what they would have written.
        let fields = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value).replace("%20", "+")));
        let form = fields.chain(["Version=2016-11-15".to_owned()]).collect::<Vec<_>>().join("&");
        let sha256 = Sha256::digest(&form).into();
        let ask = Ask { method: Method::POST, path: "/".into(), headers: Vec::new(), body: Body::Form(&form), sha256 };
        let Some((url, bytes)) = self.ask("ec2", &ask, expected)? else { return Ok(None) };
        let text = String::from_utf8(bytes).map_err(|_| remote(&url, "answers what is no text"))?;
        Ok(Some((url, text)))
    }

    /// The same of what is always answered.
    fn described(&self, fields: &[(&str, &str)]) -> Result<(Url, String)> {
        self.query(&owned(fields), None)?.ok_or_else(unexpected)
    }

    /// The state of a snapshot, and how far it is, in words; none where there is no such snapshot, or not everybody knows of it yet.
    pub(super) fn state(&self, id: &str) -> Result<Option<(String, String)>> {
        let fields = [("Action", "DescribeSnapshots"), ("SnapshotId.1", id)];
        let Some((url, text)) = self.query(&owned(&fields), Some("InvalidSnapshot.NotFound"))? else { return Ok(None) };
        let document = xml::document(&url, &text)?;
        let state = xml::text(document.root(), "status").unwrap_or_default();
        let told = xml::text(document.root(), "progress").filter(|progress| !progress.is_empty());
        Ok(Some((shown(state, SHOWN), told.map(|progress| format!(" ({})", shown(progress, SHOWN))).unwrap_or_default())))
    }

    /// The image of a name that we own, and the snapshots that it is made of.
    pub(super) fn image_of(&self, name: &str) -> Result<Option<(String, Vec<String>)>> {
        let fields = [("Action", "DescribeImages"), ("Owner.1", "self"), ("Filter.1.Name", "name"), ("Filter.1.Value.1", name)];
        let (url, text) = self.described(&fields)?;
        let document = xml::document(&url, &text)?;
        // The filter knows `*` and `?`, which no name has; servers that know no filters answer with all.
        let Some(id) = xml::all(document.root(), "imageId").find(|id| {
            id.parent().is_some_and(|item| item.children().any(|child| child.tag_name().name() == "name" && child.text() == Some(name)))
        }) else {
            return Ok(None);
        };
        let item = id.parent().unwrap_or(id);
        let snapshots = xml::all(item, "snapshotId").filter_map(|snapshot| snapshot.text().map(str::to_owned)).collect();
        Ok(Some((id.text().unwrap_or_default().to_owned(), snapshots)))
    }

    /// Registers an image on a snapshot; none where its name is taken.
    pub(super) fn register_on(&self, snapshot: &str, image: &Image) -> Result<Option<String>> {
        let Some((url, text)) = self.query(&fields(snapshot, image), Some("InvalidAMIName.Duplicate"))? else { return Ok(None) };
        let document = xml::document(&url, &text)?;
        let id = xml::text(document.root(), "imageId").filter(|id| !id.is_empty());
        id.map(|id| Some(shown(id, SHOWN))).ok_or_else(|| remote(&url, "registers an image and does not name it"))
    }

    /// Deletes a snapshot, where it is there.
    pub(super) fn delete(&self, id: &str) -> Result<()> {
        let fields = [("Action", "DeleteSnapshot"), ("SnapshotId", id)];
        self.query(&owned(&fields), Some("InvalidSnapshot.NotFound")).map(drop)
    }
}

fn owned(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A refusal that nobody expected.
fn unexpected() -> Error {
    Error::new(Kind::Remote, "the cloud refuses")
}

/// The fields of RegisterImage.
fn fields(snapshot: &str, image: &Image) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    let mut put = |name: &str, value: &str| fields.push((name.to_owned(), value.to_owned()));
    put("Action", "RegisterImage");
    put("Name", &image.name);
    put("Architecture", image.architecture);
    put("VirtualizationType", "hvm");
    put("RootDeviceName", DEVICE);
    put("BlockDeviceMapping.1.DeviceName", DEVICE);
    put("BlockDeviceMapping.1.Ebs.SnapshotId", snapshot);
    put("BlockDeviceMapping.1.Ebs.VolumeType", "gp3");
    put("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "true");
    put("EnaSupport", "true");
    put("BootMode", image.boot_mode.name());
    put("ImdsSupport", "v2.0");
    if !image.description.is_empty() {
        put("Description", &image.description);
    }
    if image.tpm {
        put("TpmSupport", "v2.0");
    }
    if let Some(data) = &image.uefi_data {
        put("UefiData", data);
    }
    if !image.tags.is_empty() {
        // The snapshot has its own since it was begun.
        put("TagSpecification.1.ResourceType", "image");
        for (nth, (key, value)) in (1..).zip(&image.tags) {
            put(&format!("TagSpecification.1.Tag.{nth}.Key"), key);
            put(&format!("TagSpecification.1.Tag.{nth}.Value"), value);
        }
    }
    fields
}

/// What the user can do.
fn hinted(mut failure: Failure, named: &str, status: u16, service: &str) -> Failure {
    let said = format!("{named} {}", failure.error);
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let hint = if says(&["UnauthorizedOperation", "AccessDenied"]) {
        "the credentials need ebs:StartSnapshot, ebs:PutSnapshotBlock, ebs:CompleteSnapshot, ec2:DescribeImages, ec2:DescribeSnapshots, \
         ec2:RegisterImage, ec2:DeleteSnapshot, and ec2:CreateTags for tags"
    } else if says(&["SignatureDoesNotMatch", "AuthFailure", "InvalidClientTokenId", "UnrecognizedClient", "InvalidSignature"]) {
        "AWS does not know these credentials"
    } else if says(&["ExpiredToken", "RequestExpired"]) {
        "the credentials have expired: get new ones"
    } else if status == 404 && service == "ebs" {
        "has the region EBS direct?"
    } else {
        return failure;
    };
    if failure.error.hint_text().is_none() {
        failure.error = failure.error.hint(hint);
    }
    failure
}
