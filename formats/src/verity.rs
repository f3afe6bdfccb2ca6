//! dm-verity: a tree of hashes over a read-only device, by which the kernel refuses every block that was changed. The standard
//! is Linux `Documentation/admin-guide/device-mapper/verity.rst`, with the superblock that `veritysetup` defines.
//!
//! ```text
//!  0          4 KiB
//!  superblock  level n: one block    level n-1    ...    level 0
//! ```
//! A block of level 0 has the digests of 128 blocks of data, a block of any other level those of 128 blocks of the level below,
//! zeros where there are fewer. A digest is SHA-256 over the salt and the block. The digest of the one block of the top level
//! is the root hash; who knows it can check everything. All blocks have 4 KiB; the format of the tree is 1.
//!
//! Written: the tree of data that is whole blocks, on all cores. Nothing is refused: our own file systems are whole blocks.
//!
//! Oracles: `veritysetup verify`, Linux.

use crate::{Blob, Env, Guid, Result, Stage, parallel, units};
use sha2::{Digest as _, Sha256};
use std::{mem::offset_of, ops::Range};
use zerocopy::{
    Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32, U64},
};

/// Bytes of a block, of data and of hashes.
pub const BLOCK: u64 = 4 * units::KIB;
/// Digests in a block.
const FANOUT: u64 = BLOCK / 32;
/// Bytes of salt.
const SALT_LEN: usize = 16;

/// `struct verity_sb`.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Superblock {
    /// 0: "verity".
    signature: [u8; 8],
    /// 8: 1.
    version: U32,
    /// 12: format of the tree, 1.
    hash_type: U32,
    /// 16: identifies the device.
    uuid: [u8; 16],
    /// 32: name of the digest, padded with zeros.
    algorithm: [u8; 32],
    /// 64: bytes.
    data_block_size: U32,
    /// 68: bytes.
    hash_block_size: U32,
    /// 72: blocks of data.
    data_blocks: U64,
    /// 80: bytes of salt.
    salt_size: U16,
    /// 82: zeros.
    reserved: [u8; 6],
    /// 88: padded with zeros.
    salt: [u8; 256],
    /// 344: zeros.
    padding: [u8; 168],
}

const _: () = assert!(size_of::<Superblock>() == 512 && offset_of!(Superblock, data_blocks) == 72 && offset_of!(Superblock, salt) == 88);

/// How a tree is made.
#[derive(Clone, Copy, Debug)]
pub struct Verity {
    /// Goes before every block that is hashed.
    pub salt: [u8; SALT_LEN],
    /// Identifies the device.
    pub uuid: Guid,
}

/// A tree over some data.
#[derive(Clone, Debug)]
pub struct Hashed {
    /// Superblock and tree.
    pub image: Blob,
    /// The root hash.
    pub root_hash: [u8; 32],
    salt: [u8; SALT_LEN],
    data_blocks: u64,
}

impl Verity {
    /// The tree over data that is whole blocks, at least one; anything else is a planner bug and panics.
    ///
    /// # Errors
    /// When the data cannot be read or the spool not be written.
    pub fn hash(&self, data: &Blob, env: &mut Env) -> Result<Hashed> {
        assert!(!data.is_empty() && data.len().is_multiple_of(BLOCK), "{} bytes of data", data.len());
        let data_blocks = data.len() / BLOCK;
        let mut levels: Vec<Blob> = Vec::new();
        while levels.last().unwrap_or(data).len() > BLOCK {
            let level = self.level(levels.last().unwrap_or(data), env)?;
            levels.push(level);
        }
        let top = levels.last().unwrap_or(data).to_vec(BLOCK)?;
        let mut image = Blob::bytes(self.superblock(data_blocks).as_bytes());
        image.pad_to(BLOCK);
        levels.iter().rev().for_each(|level| image.append(level));
        Ok(Hashed { image, root_hash: self.digest(&top), salt: self.salt, data_blocks })
    }

    /// The level above a level, or above the data.
    fn level(&self, below: &Blob, env: &mut Env) -> Result<Blob> {
        let span = BLOCK * FANOUT;
        let spans = (0..below.len().div_ceil(span)).map(|nth| Ok(nth * span..((nth + 1) * span).min(below.len())));
        let Env { spool, threads, progress, .. } = env;
        let stage = Stage::new(&**progress, below.len());
        let block = |span: Range<u64>| {
            let len = span.end - span.start;
            let bytes = below.slice(span).to_vec(u64::MAX)?;
            let mut block: Vec<u8> = bytes.chunks(units::index(BLOCK)).flat_map(|block| self.digest(block)).collect();
            block.resize(units::index(BLOCK), 0);
            stage.advance(len);
            Ok(block)
        };
        let mark = spool.position();
        parallel::ordered(*threads, spans, block, |block| spool.append(&block).map(drop))?;
        stage.finish();
        Ok(spool.since(mark))
    }

    fn digest(&self, block: &[u8]) -> [u8; 32] {
        Sha256::new().chain_update(self.salt).chain_update(block).finalize().into()
    }

    fn superblock(&self, data_blocks: u64) -> Superblock {
        let block = U32::new(u32::try_from(BLOCK).expect("4 KiB"));
        let mut algorithm = [0; 32];
        algorithm[..6].copy_from_slice(b"sha256");
        let mut salt = [0; 256];
        salt[..SALT_LEN].copy_from_slice(&self.salt);
        Superblock {
            signature: *b"verity\0\0",
            version: 1.into(),
            hash_type: 1.into(),
            uuid: *self.uuid.as_bytes(),
            algorithm,
            data_block_size: block,
            hash_block_size: block,
            data_blocks: data_blocks.into(),
            salt_size: U16::new(u16::try_from(SALT_LEN).expect("few bytes")),
            reserved: [0; 6],
            salt,
            padding: [0; 168],
        }
    }
}

/// What the kernel does where data is not what was hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDamage {
    /// Whoever reads it gets an error, and may go on without.
    Error,
    /// The machine stops.
    Panic,
}

impl Hashed {
    /// The device-mapper target that checks the device `data` by the device `hashes`, which holds [`Hashed::image`].
    pub fn table(&self, data: &str, hashes: &str, on_damage: OnDamage) -> String {
        let Self { data_blocks, root_hash, salt, .. } = self;
        let options = if on_damage == OnDamage::Panic { " 1 panic_on_corruption" } else { "" };
        format!("verity 1 {data} {hashes} {BLOCK} {BLOCK} {data_blocks} 1 sha256 {} {}{options}", units::hex(root_hash), units::hex(salt))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::env;

    #[test]
    fn one_block_is_its_own_root() {
        let verity = Verity { salt: [7; 16], uuid: Guid::NIL };
        let hashed = verity.hash(&Blob::zeros(BLOCK), &mut env()).unwrap();
        assert_eq!(hashed.image.len(), BLOCK);
        assert_eq!(hashed.root_hash, verity.digest(&[0; 4096]));
        let table = |on_damage| hashed.table("/dev/a", "/dev/b", on_damage);
        assert!(table(OnDamage::Error).starts_with("verity 1 /dev/a /dev/b 4096 4096 1 1 sha256 "));
        assert_eq!(table(OnDamage::Panic), table(OnDamage::Error) + " 1 panic_on_corruption");
    }

    #[test]
    fn levels_stand_from_the_top() {
        let verity = Verity { salt: [1; 16], uuid: Guid::NIL };
        let mut data = Blob::zeros(129 * BLOCK);
        data.splice(128 * BLOCK, &Blob::bytes(*b"last"));
        let hashed = verity.hash(&data, &mut env()).unwrap();
        // The top, and two blocks of digests of data.
        assert_eq!(hashed.image.len(), 4 * BLOCK);
        let block = |nth: u64| hashed.image.slice(nth * BLOCK..(nth + 1) * BLOCK).to_vec(BLOCK).unwrap();
        assert_eq!(verity.digest(&block(1)), hashed.root_hash);
        assert_eq!(block(1)[..32], verity.digest(&block(2)));
        assert_eq!(block(1)[32..64], verity.digest(&block(3)));
        assert_eq!(block(3)[..32], verity.digest(&data.slice(128 * BLOCK..129 * BLOCK).to_vec(BLOCK).unwrap()));
        assert!(block(3)[32..].iter().all(|byte| *byte == 0));
    }
}
