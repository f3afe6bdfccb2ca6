//! Blobs: in one piece where it goes well, and on from where it broke where it does not.

use super::{Client, Place, Repository};
use crate::{
    http::{Answer, remote},
    retry::{Failure, persist},
    text::{SHOWN, shown},
};
use formats::{At, Error, Progress, Result, Stage, oci::Digest, units};
use ureq::http::Method;

/// What went well for so long before it broke is not counted as an attempt: bytes.
const GOT_ON: u64 = units::MIB;

/// As much as is handed on at a time, in bytes.
const CHUNK: usize = 128 << 10;

/// Takes the bytes of a blob, in order.
pub trait Sink {
    /// The next bytes, never more than were announced.
    ///
    /// # Errors
    /// When they cannot be kept: the transfer ends with that error.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// That the bytes come again from the first one, whatever was kept before: the server knows no ranges.
    ///
    /// # Errors
    /// As [`Sink::write`].
    fn restart(&mut self) -> Result<()>;
}

impl Client {
    /// The bytes of a blob from `from` on, into `sink`. `size` is what its descriptor says. A transfer that breaks off goes on from
    /// where it was. Nobody has looked at the digest when it is done.
    ///
    /// # Errors
    /// Remote: the registry refuses, fails or is not reached, or has more or fewer bytes than `size`. Bad input: `digest` is none, `from`
    /// is past `size`, or credentials cannot be read. And what `sink` says.
    pub fn blob(
        &self,
        repository: &Repository,
        digest: &str,
        size: u64,
        from: u64,
        sink: &mut dyn Sink,
        progress: &dyn Progress,
    ) -> Result<()> {
        let mut transfer = || -> Result<()> {
            let digest: Digest = digest.parse()?;
            let left = size.checked_sub(from).ok_or_else(|| Error::bad_input(format!("there are {from} bytes already, of {size}")))?;
            let place = self.place(repository)?;
            let below = format!("blobs/{digest}");
            let stage = Stage::new(progress, left);
            // Where it is, and how far it ever was: who begins anew each time gets nowhere.
            let (mut at, mut furthest) = (from, from);
            persist(&self.http.transport.limits, &*self.http.clock, &below, || {
                // A blob of nothing is not asked for.
                if at == size {
                    return Ok(());
                }
                self.go_on(&place, &below, size, &mut at, sink, &stage).map_err(|mut failure| {
                    failure.got_on = at.saturating_sub(furthest) >= GOT_ON;
                    furthest = furthest.max(at);
                    failure
                })
            })?;
            stage.finish();
            Ok(())
        };
        transfer().at(|| format!("{repository}@{}", shown(digest, SHOWN)))
    }

    /// One request for all that is left.
    fn go_on(&self, place: &Place, below: &str, size: u64, at: &mut u64, sink: &mut dyn Sink, stage: &Stage<'_>) -> Result<(), Failure> {
        let range = (*at > 0).then(|| ("Range", format!("bytes={at}-")));
        let mut answer = self.ask(place, Method::GET, below, range.as_slice())?;
        match answer.status {
            200 if *at > 0 => {
                sink.restart()?;
                *at = 0;
            }
            206 if *at > 0 => is_the_rest(&answer, *at, size)?,
            200 => {}
            _ => return Err(self.refused(place, answer)),
        }
        let left = size - *at;
        if let Some(length) = answer.length().filter(|length| *length != left) {
            return Err(remote(&answer.url, format!("announces {length} bytes, where {left} of the blob's {size} are due")).into());
        }
        let mut chunk = vec![0; CHUNK];
        loop {
            let n = answer.read(&mut chunk)?;
            match units::bytes(n) {
                0 if *at == size => return Ok(()),
                0 => return Err(Failure::passing(remote(&answer.url, format!("ended after {at} of {size} bytes")))),
                more if more > size - *at => {
                    return Err(remote(&answer.url, format!("sends more than the {size} bytes of the blob: refused")).into());
                }
                more => {
                    sink.write(&chunk[..n])?;
                    *at += more;
                    stage.advance(more);
                }
            }
        }
    }
}

/// Whether a part is the one that was asked for: `bytes FIRST-LAST/SIZE`.
fn is_the_rest(answer: &Answer, at: u64, size: u64) -> Result<()> {
    let said = answer.header("content-range").unwrap_or_default();
    let range = said.trim().strip_prefix("bytes").and_then(|range| range.trim().split_once('/'));
    let first = range.and_then(|(range, _)| range.split_once('-')).and_then(|(first, _)| first.trim().parse().ok());
    let whole = range.map(|(_, whole)| whole.trim());
    if first == Some(at) && whole.is_some_and(|whole| whole == "*" || whole == size.to_string()) {
        return Ok(());
    }
    Err(remote(&answer.url, format!("sends another part than the one from {at} on, of {size}: '{}'", shown(said, SHOWN))))
}
