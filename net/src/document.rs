//! A small document by its URL: `http` or `https`, of anybody who has it.

use crate::{
    clock::Clock,
    http::{Body, Http, Request, Transport},
    refusal,
    retry::{Failure, persist},
    text::{SHOWN, shown},
    url::Url,
};
use formats::{At, Result};
use std::sync::Arc;
use ureq::http::Method;

/// Fetches a document of at most `limit` bytes.
///
/// # Errors
/// Bad input: it is no URL. Remote: nobody has it, the server fails or is not reached, or it is larger.
pub fn document(url: &str, limit: u64, transport: Transport, clock: Arc<dyn Clock>) -> Result<Vec<u8>> {
    let parsed = Url::parse(url).at(|| shown(url, SHOWN))?;
    let http = Http::new(transport, clock);
    persist(&http.transport.limits, &*http.clock, url, || {
        let mut answer = http.send(&Request { method: Method::GET, url: &parsed, headers: &[], authorization: None, body: Body::None })?;
        match answer.status {
            200 => answer.bytes(limit),
            _ => Err::<_, Failure>(refusal::of_server(answer, "refuses")),
        }
    })
}
