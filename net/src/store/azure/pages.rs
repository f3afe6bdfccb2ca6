//! Page blobs: what was not written is zeros, and what is written is seen at once.

use super::{Ask, KEY, Place};
use crate::{
    parts::{Part, Rules, Zeros},
    store::{Upload, lock},
    xml,
};
use formats::{At, Blob, Error, Result, units};
use sha2::{Digest, Sha256};
use std::{ops::Range, sync::Mutex};
use ureq::http::Method;

/// "Pages have 512 bytes; at most 4 MiB are put at a time." Smaller gaps than this cost more to leave out than to send.
const RULES: Rules =
    Rules { unit: 64 * units::KIB, part: 4 * units::MIB, part_max: 4 * units::MIB, count_max: u64::MAX, zeros: Zeros::Skipped };
/// Bytes of a page.
const PAGE: u64 = 512;
/// Most bytes of a list of ranges.
const LIST_MAX: u64 = 64 << 20;
/// The mark of a blob that has not all its pages: what they are going to be.
const MARK: &str = "x-ms-meta-mobyunfinished";

pub(super) struct Pages {
    place: Place,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whether the blob is ours to delete.
    is_ours: bool,
    /// What an earlier run wrote.
    written: Vec<Range<u64>>,
    key: Option<String>,
}

/// What the pages of a file are going to be.
fn mark(file: &Blob) -> Result<String> {
    let mut digest = Sha256::new();
    for part in RULES.parts(file)? {
        digest.update(part.range.start.to_be_bytes());
        digest.update(file.slice(part.range).sha256()?);
    }
    digest.update(file.len().to_be_bytes());
    Ok(units::hex(&digest.finalize()))
}

impl Pages {
    pub(super) fn new(place: Place) -> Self {
        Self { place, state: Mutex::default() }
    }

    fn create(&self, len: u64, mark: &str) -> Result<u16> {
        let mut ask = Ask::new(Method::PUT, "");
        let headers =
            [("x-ms-blob-type", "PageBlob"), ("x-ms-blob-content-type", "application/octet-stream"), ("If-None-Match", "*"), (MARK, mark)];
        ask.headers.extend(headers.map(|(name, value)| (name, value.to_owned())));
        ask.headers.push(("x-ms-blob-content-length", len.to_string()));
        Ok(self.place.ask(&ask, &[409, 412])?.status)
    }

    fn written(&self) -> Result<Vec<Range<u64>>> {
        let mut answer = self.place.ask(&Ask::new(Method::GET, "comp=pagelist"), &[])?;
        let bytes = answer.bytes(LIST_MAX).map_err(|failure| failure.error)?;
        let text = String::from_utf8(bytes).unwrap_or_default();
        let document = xml::document(&answer.url, &text)?;
        let number = |range, name| xml::text(range, name).and_then(|text| text.parse::<u64>().ok());
        let ranges = xml::all(document.root(), "PageRange");
        Ok(ranges.filter_map(|range| Some(number(range, "Start")?..number(range, "End")?.checked_add(1)?)).collect())
    }
}

impl Upload for Pages {
    fn rules(&self) -> Option<Rules> {
        Some(RULES)
    }

    fn begin(&self, file: &Blob, key: Option<&str>) -> Result<()> {
        if !file.len().is_multiple_of(PAGE) {
            let what = format!("a page blob has whole pages of {PAGE} bytes, the file has {} bytes", file.len());
            return Err(Error::bad_input(what).hint("only a fixed VHD becomes a disk of Azure's: -f vhd --target azure"));
        }
        let mark = mark(file)?;
        let found = match self.create(file.len(), &mark)? {
            409 | 412 => self.place.found()?,
            _ => None,
        };
        let mut state = lock(&self.state);
        if let Some(answer) = found {
            if answer.header(MARK) != Some(&mark) || answer.length() != Some(file.len()) {
                return Err(Error::bad_input("is there already, and a page blob is seen while it is written: it is not replaced")
                    .hint("delete it first, or choose another name"));
            }
            state.written = self.written()?;
        }
        (state.is_ours, state.key) = (true, key.map(str::to_owned));
        Ok(())
    }

    fn put(&self, part: &Part, body: &Blob) -> Result<()> {
        let is_in = |range: &Range<u64>| range.start <= part.range.start && part.range.end <= range.end;
        if lock(&self.state).written.iter().any(is_in) {
            return Ok(());
        }
        let mut ask = Ask::new(Method::PUT, "comp=page").with(body)?;
        ask.headers.push(("x-ms-page-write", "update".to_owned()));
        ask.headers.push(("x-ms-range", format!("bytes={}-{}", part.range.start, part.range.end - 1)));
        self.place.ask(&ask, &[]).map(drop)
    }

    /// Takes the mark away.
    fn finish(&self, _: &Blob) -> Result<()> {
        let mut ask = Ask::new(Method::PUT, "comp=metadata");
        ask.headers.extend(lock(&self.state).key.iter().map(|key| (KEY, key.clone())));
        self.place.ask(&ask, &[])?;
        lock(&self.state).is_ours = false;
        Ok(())
    }

    /// Whoever may not delete leaves it, with its mark.
    fn abandon(&self) -> Result<()> {
        if lock(&self.state).is_ours { self.place.delete().at(|| "a page blob") } else { Ok(()) }
    }

    fn key(&self) -> Result<Option<String>> {
        let found = self.place.found()?.filter(|answer| answer.header(MARK).is_none());
        Ok(found.and_then(|answer| answer.header(KEY).map(str::to_owned)))
    }
}
