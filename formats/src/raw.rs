//! Raw: the file is the disk, byte for byte.
//!
//! Written as a sparse file where the target can hold one. There is no magic: raw is never guessed, it is what remains.
//!
//! ```
//! use formats::{Blob, Env, Format, Ids, Options, Reading, raw::Raw};
//!
//! let env = &mut Env::scratch(1);
//! let mut disk = Blob::zeros(1 << 20);
//! disk.splice(4096, &Blob::bytes(*b"content"));
//! let plan = Raw.plan(&Options::defaults(Raw.options()))?;
//! let file = plan.encode(&disk, &Ids::from_seed(b"my disk").into(), env)?;
//! assert_eq!(file.len(), disk.len());
//! assert_eq!(file.data_len(), 7, "the rest are holes");
//! assert_eq!(Raw.decode(&file, &Reading::default(), env)?.sha256()?, disk.sha256()?);
//! # Ok::<(), formats::Error>(())
//! ```

use crate::{Blob, Check, Env, Error, Format, Identity, Options, Plan, Reading, Result, dump::Dump};

/// The raw format.
#[derive(Debug)]
pub struct Raw;

impl Format for Raw {
    fn name(&self) -> &'static str {
        "raw"
    }

    fn probe(&self, _: &Blob) -> Result<bool> {
        Ok(false)
    }

    fn plan(&self, _: &Options) -> Result<Box<dyn Plan>> {
        Ok(Box::new(Self))
    }

    fn decode(&self, file: &Blob, reading: &Reading<'_>, _: &mut Env) -> Result<Blob> {
        reading.refuse_snapshot(self.name())?;
        Ok(file.clone())
    }

    fn check(&self, _: &Blob, _: &mut Env) -> Result<Check> {
        Err(Error::unsupported("a raw disk has no structures of its own that could be checked"))
    }

    fn dump(&self, file: &Blob, to: &mut Dump) -> Result<()> {
        to.field("size", file.len());
        Ok(())
    }
}

impl Plan for Raw {
    /// Bytes are bytes: whoever attaches the file says what sectors they are in.
    fn with_sectors(&self, _: u64) -> Option<Box<dyn Plan>> {
        Some(Box::new(Self))
    }

    /// Every byte has its place.
    fn unit(&self) -> Option<u64> {
        None
    }

    fn encode(&self, disk: &Blob, _: &Identity, _: &mut Env) -> Result<Blob> {
        Ok(disk.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{decode, encode};

    #[test]
    fn raw_is_the_disk() {
        let disk = Blob::bytes(*b"disk");
        let file = encode(&Raw, &disk, &[]);
        assert_eq!(file.to_vec(4).unwrap(), b"disk");
        assert_eq!(decode(&Raw, &file).unwrap().to_vec(4).unwrap(), b"disk");
    }
}
