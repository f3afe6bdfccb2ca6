//! Block blobs: blocks in any order, then the list of them.

use super::{Ask, KEY, Place, refused};
use crate::{
    http::{Answer, Body},
    parts::{Part, Rules, Zeros},
    store::{Upload, lock, taken},
    xml,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use formats::{At, Blob, Result, units};
use md5::Md5;
use std::{
    collections::{BTreeMap, HashSet},
    sync::Mutex,
};
use ureq::http::Method;

/// "A block blob has at most 50,000 blocks, each of at most 4000 MiB."
const RULES: Rules = Rules { unit: 1, part: 8 * units::MIB, part_max: 4000 * units::MIB, count_max: 50_000, zeros: Zeros::Sent };
/// Most bytes of a list of blocks.
const LIST_MAX: u64 = 32 << 20;

pub(super) struct Blocks {
    place: Place,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whether there is a blob of that name already.
    is_there: bool,
    /// The blocks that are there, by their names.
    sent: HashSet<String>,
    /// The names of the file's.
    list: BTreeMap<u64, String>,
    /// The name of a block of zeros.
    zeros: String,
    key: Option<String>,
}

/// What a block is called: its MD5 and its length. All names have one length, and equal blocks are one.
fn name(block: &Blob) -> Result<String> {
    let mut name = block.digest::<Md5>()?.to_vec();
    name.extend(block.len().to_be_bytes());
    Ok(BASE64_STANDARD.encode(name))
}

/// What may stand in a query.
fn in_query(name: &str) -> String {
    crate::url::encoded(name)
}

impl Blocks {
    pub(super) fn new(place: Place) -> Self {
        Self { place, state: Mutex::default() }
    }

    /// The blocks that an earlier run brought and did not list; none where nobody says.
    fn left(&self) -> HashSet<String> {
        let ask = Ask::new(Method::GET, "comp=blocklist&blocklisttype=uncommitted");
        let names = || {
            let mut answer = self.place.ask(&ask, &[]).ok()?;
            let text = String::from_utf8(answer.bytes(LIST_MAX).ok()?).ok()?;
            let document = xml::document(&answer.url, &text).ok()?;
            Some(xml::all(document.root(), "Name").filter_map(|name| name.text().map(str::to_owned)).collect())
        };
        names().unwrap_or_default()
    }

    fn put_list(&self, list: &str, first_only: bool) -> Result<Answer> {
        let mut ask = Ask::new(Method::PUT, "comp=blocklist");
        ask.headers.extend(lock(&self.state).key.iter().map(|key| (KEY, key.clone())));
        ask.headers.push(("x-ms-blob-content-type", "application/octet-stream".to_owned()));
        ask.headers.extend(first_only.then(|| ("If-None-Match", "*".to_owned())));
        (ask.body, ask.len) = (Body::Bytes(list.as_bytes()), units::bytes(list.len()));
        self.place.ask(&ask, &[404, 409, 412])
    }
}

impl Upload for Blocks {
    fn rules(&self) -> Option<Rules> {
        Some(RULES)
    }

    fn begin(&self, file: &Blob, key: Option<&str>) -> Result<()> {
        let is_there = self.place.found()?.is_some();
        if is_there && self.place.wishes.no_clobber {
            return Err(taken());
        }
        let zeros = name(&Blob::zeros(RULES.size(file.len())?))?;
        *lock(&self.state) = State { is_there, sent: self.left(), list: BTreeMap::new(), zeros, key: key.map(str::to_owned) };
        Ok(())
    }

    fn put(&self, part: &Part, body: &Blob) -> Result<()> {
        if part.is_empty() {
            return Ok(());
        }
        // The name of zeros is known without a look at them.
        let zeros = lock(&self.state).zeros.clone();
        let is_zeros = !part.has_data && part.len() == RULES.part;
        let name = if is_zeros { zeros } else { name(body)? };
        // Claimed before it is sent: of equal blocks that are under way together one goes.
        let is_new = {
            let mut state = lock(&self.state);
            state.list.insert(part.number, name.clone());
            state.sent.insert(name.clone())
        };
        if is_new {
            let ask = Ask::new(Method::PUT, format!("comp=block&blockid={}", in_query(&name))).with(body)?;
            self.place.ask(&ask, &[])?;
        }
        Ok(())
    }

    fn finish(&self, _: &Blob) -> Result<()> {
        let blocks: String = lock(&self.state).list.values().map(|name| format!("<Latest>{name}</Latest>")).collect();
        let list = format!("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>{blocks}</BlockList>");
        let answer = self.put_list(&list, self.place.wishes.no_clobber)?;
        match answer.status {
            404 => Err(refused(answer).error),
            409 | 412 => Err(taken()),
            _ => Ok(()),
        }
    }

    /// Blocks that no list names go with the next list. Where a blob is there its list stays, and they go by themselves within a week.
    fn abandon(&self) -> Result<()> {
        if lock(&self.state).is_there || lock(&self.state).list.is_empty() {
            return Ok(());
        }
        let empty = "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList></BlockList>";
        // Where there is no container nothing is left, nor where somebody else made the blob.
        if self.put_list(empty, true)?.status < 300 {
            self.place.delete().at(|| "an empty blob")?;
        }
        Ok(())
    }

    fn key(&self) -> Result<Option<String>> {
        Ok(self.place.found()?.and_then(|answer| answer.header(KEY).map(str::to_owned)))
    }
}
