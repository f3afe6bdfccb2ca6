//! `Sent`: an output that is elsewhere and does not have its name yet.

use super::{Body, Destination, Manner, debris};
use crate::error::Result;
use formats::{Blob, Progress, blob::Backing};
use std::{
    io::{Seek, Write},
    sync::Arc,
};

/// Bytes that are at the other side and have no name yet; dropped, they are gone there.
#[derive(Debug)]
pub(super) struct Sent(Arc<dyn Destination>);

impl Sent {
    /// Sends a body; how many bytes it has there.
    pub(super) fn send(
        destination: &Arc<dyn Destination>,
        body: &Body,
        manner: Manner<'_>,
        progress: &dyn Progress,
    ) -> Result<(Self, u64)> {
        // Known to whoever hears a signal before there is anything.
        debris::lock().uploads.push(Arc::clone(destination));
        let this = Self(Arc::clone(destination));
        let packed = if body.is_packed() { Some(packed(body, manner, progress)?) } else { None };
        let blob = packed.as_ref().unwrap_or(&body.blob);
        destination.send(blob, manner.key, progress)?;
        Ok((this, blob.len()))
    }

    /// Gives it its name.
    pub(super) fn commit(&self, progress: &dyn Progress) -> Result<()> {
        self.0.commit(progress)
    }

    /// What it is called.
    pub(super) fn place(&self) -> &dyn Destination {
        &*self.0
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        // The user hears of what kept it from being finished.
        let _: Result<()> = self.0.abandon();
        debris::lock().uploads.retain(|upload| !Arc::ptr_eq(upload, &self.0));
    }
}

/// A compressed body in a file that has no name: only then its length is known, which others ask for first.
fn packed(body: &Body, manner: Manner<'_>, progress: &dyn Progress) -> Result<Blob> {
    let mut file = tempfile::tempfile()?;
    let len = body.stream(&mut file, manner.threads, progress)?;
    file.flush()?;
    file.rewind()?;
    Ok(Blob::file(Backing::from(file), 0, len))
}
