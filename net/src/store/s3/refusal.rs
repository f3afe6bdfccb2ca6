//! What S3 says when it refuses.

use crate::{
    http::Answer,
    refusal::{element, refused, wrong_clock},
    text::{SHOWN, shown},
    url::Url,
};
use formats::{Error, Kind};
use std::time::Duration;

/// Most bytes of an answer that are read for its error.
const SAID_MAX: u64 = 64 << 10;

/// An answer that is not what was asked for.
#[derive(Debug)]
pub(super) struct Refusal {
    url: Url,
    pub(super) status: u16,
    /// `NoSuchBucket`; empty where there is no such word.
    pub(super) code: String,
    message: String,
    /// Where the bucket is, when it is asked for elsewhere.
    pub(super) region: Option<String>,
    /// How long we are asked to wait.
    pub(super) wait: Option<Duration>,
    /// What is wrong with our clock.
    clock: Option<String>,
}

impl Refusal {
    /// What an answer says. A server that cannot even say it says nothing.
    pub(super) fn of(mut answer: Answer) -> Self {
        let region = answer.header("x-amz-bucket-region").map(str::to_owned);
        let clock = wrong_clock(&answer);
        let wait = answer.retry_after();
        let said = answer.bytes(SAID_MAX).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        let mut refusal = Self::said(&answer.url, &said).unwrap_or_else(|| Self {
            url: answer.url.clone(),
            status: 0,
            code: String::new(),
            message: String::new(),
            region: None,
            wait: None,
            clock: None,
        });
        refusal.status = answer.status;
        (refusal.wait, refusal.clock) = (wait, clock);
        refusal.region = refusal.region.or(region);
        refusal
    }

    /// The error in a document, which may come with status 200.
    pub(super) fn said(url: &Url, text: &str) -> Option<Self> {
        // As loosely as can be: what a server says when it fails is often no XML either.
        let error = element(text, "Error")?;
        let word = |name| element(&error, name).map(|word| shown(&word, SHOWN));
        Some(Self {
            url: url.clone(),
            status: 200,
            code: word("Code").unwrap_or_default(),
            message: word("Message").unwrap_or_default(),
            region: word("Region"),
            wait: None,
            clock: None,
        })
    }

    /// Whether trying again may help.
    pub(super) fn is_passing(&self) -> bool {
        const PASSING: [&str; 8] = [
            "BadDigest",
            "InternalError",
            "OperationAborted",
            "RequestTimeout",
            "ServiceUnavailable",
            "SlowDown",
            "Throttling",
            "XAmzContentSHA256Mismatch",
        ];
        crate::retry::is_passing(self.status) || PASSING.contains(&self.code.as_str())
    }

    /// Whether new credentials may help.
    pub(super) fn is_expired(&self) -> bool {
        matches!(self.code.as_str(), "ExpiredToken" | "TokenRefreshRequired" | "InvalidToken")
    }

    /// It as an error, with what the user can do.
    pub(super) fn error(&self) -> Error {
        let what = match (self.code.as_str(), self.status) {
            ("", status) => format!("refuses: {status}"),
            (code, _) if self.message.is_empty() => format!("refuses: {code}"),
            (code, _) => format!("refuses: {code}: {}", self.message),
        };
        let error = refused(&self.url, what, self.clock.as_deref());
        match self.code.as_str() {
            _ if self.clock.is_some() => error,
            "NoSuchBucket" => error.of_kind(Kind::BadInput).hint("make the bucket first, or name another"),
            "PreconditionFailed" => error.of_kind(Kind::BadInput),
            "ExpiredToken" | "TokenRefreshRequired" => error.hint("the credentials have expired: get new ones"),
            "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" => error.hint("the store does not know these credentials"),
            "AccessDenied" | "AllAccessDisabled" => error.hint(
                "the credentials need s3:PutObject there, s3:AbortMultipartUpload, s3:ListMultipartUploadParts and \
                 s3:ListBucketMultipartUploads to go on with an upload, s3:GetObject and s3:DeleteObject to copy zeros",
            ),
            _ => error,
        }
    }
}
