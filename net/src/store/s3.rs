//! S3: uploads in parts (API 2006-03-01), of Amazon's and of those that speak alike.
//!
//! ```text
//!  POST KEY?uploads ─► UploadId     PUT KEY?partNumber&uploadId, SHA-256 each     POST KEY?uploadId ─► it has its name
//! ```
//! Zeros are sent once, as an object beside, and copied on the server for every part that has nothing else; the object beside is deleted in
//! the end. An upload of the same file that a killed run left is gone on with.

mod address;
mod refusal;
mod requests;

use super::{Ranges, Store, Stores, Upload, Wishes, lock};
use crate::{
    http::Answer,
    parts::{Part, Rules, Zeros},
    retry::Failure,
    url::Url,
};
use address::Address;
use base64::{Engine, prelude::BASE64_STANDARD};
use formats::{Blob, Error, Kind, Result, units};
use requests::Sent;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock},
};

pub(super) const STORE: Store = Store {
    scheme: "s3://",
    about: "Amazon S3, and who speaks like it (--endpoint)",
    example: "s3://BUCKET/images/app.qcow2",
    object: |stores, rest, wishes| {
        let address = rest.parse()?;
        Ok(Box::new(S3::new(stores, address, wishes)))
    },
    ranges: |stores, rest| Ok(Box::new(S3::new(stores, rest.parse()?, Wishes::default()))),
};

/// "Parts are at least 5 MiB, at most 5 GiB, and 10,000 at most."
const RULES: Rules = Rules { unit: 1, part: 8 * units::MIB, part_max: 5 * units::GIB, count_max: 10_000, zeros: Zeros::Sent };
/// "Up to 5 GiB are copied in one request": what is larger could not be given another key, and is not gone on with.
const COPY_MAX: u64 = 5 * units::GIB;
/// So many parts of zeros are worth an object beside.
const COPIES_MIN: usize = 16;

struct S3 {
    stores: Arc<Stores>,
    address: Address,
    wishes: Wishes,
    /// Who is asked in the place of Amazon, if anybody; once known.
    endpoint: OnceLock<Option<Url>>,
    /// Where the bucket is, once known.
    region: Mutex<Option<String>>,
    state: Mutex<State>,
    /// What parts are copied from that have nothing but zeros.
    zeros: OnceLock<ZeroObject>,
}

#[derive(Default)]
struct State {
    /// The upload's name.
    id: String,
    len: u64,
    /// What an earlier run brought.
    found: BTreeMap<u64, Sent>,
    /// What is there.
    done: BTreeMap<u64, Sent>,
    key: Option<String>,
    /// Whether another run began it, and named its own key.
    is_resumed: bool,
}

/// An object of zeros, as long as a part.
struct ZeroObject {
    len: u64,
    sha256: [u8; 32],
}

impl Ranges for S3 {
    fn get(&self, headers: &[(&'static str, String)]) -> Result<Answer, Failure> {
        self.read(headers)
    }
}

impl S3 {
    fn new(stores: Arc<Stores>, address: Address, wishes: Wishes) -> Self {
        let (endpoint, zeros) = (OnceLock::new(), OnceLock::new());
        Self { stores, address, wishes, endpoint, region: Mutex::default(), state: Mutex::default(), zeros }
    }

    /// An upload of the same file that a killed run left: its first part is ours; else one without parts, which nobody would ever end. Should
    /// its owner live and bring the same file, then both have the same parts. Who may not look, or has no such list, begins anew.
    fn resumed(&self, file: &Blob, size: u64) -> Result<Option<(String, BTreeMap<u64, Sent>)>> {
        let Ok(uploads) = self.open_uploads() else { return Ok(None) };
        let mut empty = None;
        for id in uploads {
            let Ok(parts) = self.parts_of(&id) else { continue };
            let Some((number, part)) = parts.first_key_value() else {
                empty = Some((id, parts));
                continue;
            };
            let start = (number - 1).saturating_mul(size);
            let end = start.saturating_add(size).min(file.len());
            if start < end && part.is(&file.slice(start..end))? {
                return Ok(Some((id, parts)));
            }
        }
        Ok(empty)
    }

    fn zeros_beside(&self, file: &Blob, size: u64) -> Result<Option<ZeroObject>> {
        let empty = |part: &Part| !part.has_data && part.len() == size;
        if RULES.parts(file)?.filter(empty).take(COPIES_MIN).count() < COPIES_MIN {
            return Ok(None);
        }
        let zeros = Blob::zeros(size);
        let sha256 = zeros.sha256()?;
        self.put_zeros(&zeros, &sha256)?;
        Ok(Some(ZeroObject { len: size, sha256 }))
    }
}

impl Upload for S3 {
    fn rules(&self) -> Option<Rules> {
        Some(RULES)
    }

    fn begin(&self, file: &Blob, key: Option<&str>) -> Result<()> {
        let size = RULES.size(file.len())?;
        self.refuse_taken()?;
        let resumed = if file.len() <= COPY_MAX { self.resumed(file, size)? } else { None };
        let is_resumed = resumed.is_some();
        let (id, found) = match resumed {
            Some(found) => found,
            None => (self.create(key)?, BTreeMap::new()),
        };
        let key = key.map(str::to_owned);
        *lock(&self.state) = State { id, len: file.len(), found, done: BTreeMap::new(), key, is_resumed };
        if let Some(zeros) = self.zeros_beside(file, size)? {
            self.zeros.get_or_init(|| zeros);
        }
        Ok(())
    }

    fn has_zeros(&self) -> bool {
        self.zeros.get().is_some()
    }

    fn put(&self, part: &Part, body: &Blob) -> Result<()> {
        let number = part.number + 1;
        let (id, found) = {
            let mut state = lock(&self.state);
            (state.id.clone(), state.found.remove(&number))
        };
        let zeros = self.zeros.get().filter(|zeros| !part.has_data && zeros.len == part.len());
        let sha256 = match zeros {
            Some(zeros) => zeros.sha256,
            None => body.sha256()?,
        };
        let sent = match (found, zeros) {
            (Some(found), _) if found.is(body)? => Sent { sha256: BASE64_STANDARD.encode(sha256), ..found },
            (_, Some(_)) => self.copy_zeros(&id, number, part.len(), &sha256)?,
            (_, None) => self.put_part(&id, number, body, &sha256)?,
        };
        lock(&self.state).done.insert(number, sent);
        Ok(())
    }

    fn finish(&self, _: &Blob) -> Result<()> {
        let (id, len, done, key) = {
            let state = lock(&self.state);
            (state.id.clone(), state.len, state.done.clone(), state.is_resumed.then(|| state.key.clone()))
        };
        match self.complete(&id, &done) {
            Ok(true) => {}
            Ok(false) if self.is_there(len, &done)? => {}
            Ok(false) => {
                let what = "the upload is gone before it was done: somebody ended it";
                return Err(Error::new(Kind::Remote, what).hint("does another run write the same name?"));
            }
            // Large ones take minutes to be put together: the answer may be lost, and what it was is not asked for again.
            Err(error) if error.kind() == Kind::Remote && matches!(self.is_there(len, &done), Ok(true)) => {
                // Where the same bytes were there before, it is still open.
                let _: Result<()> = self.abort(&id);
            }
            Err(error) => return Err(error),
        }
        // Whoever may not delete them leaves them: the file is whole.
        let _: Result<()> = self.delete_zeros();
        match key {
            Some(key) if self.kept_key()? != key => self.keep_key(key.as_deref()),
            _ => Ok(()),
        }
    }

    fn abandon(&self) -> Result<()> {
        let id = lock(&self.state).id.clone();
        if id.is_empty() {
            return Ok(());
        }
        self.abort(&id).and(self.delete_zeros())
    }

    fn key(&self) -> Result<Option<String>> {
        self.kept_key()
    }
}
