//! VDI 1.1: VirtualBox's own disk format. There is no standard; the facts are those of `VDICore.h`. All integers are
//! little-endian.
//!
//! ```text
//! 0        72       512          1 MiB aligned
//! | pre-   | header | block map  | 1 MiB block | block | ...
//! | header |        | u32 index of each block in the file; 0xffffffff: absent, 0xfffffffe: zeros
//! ```
//! Written: dynamic images, blocks of 1 MiB in the order of the disk, absent where the disk has none.
//!
//! Refused when read: undo images, versions other than 1.1, extra data per block. A differencing image is read over its parent.
//!
//! Oracles: `qemu-img`, 7-Zip, oslo.utils, dissect.hypervisor.
//!
//! ```
//! use formats::{Blob, Env, Format, Ids, Options, Reading, vdi::Vdi};
//!
//! let env = &mut Env::scratch(1);
//! let mut disk = Blob::zeros(64 << 20);
//! disk.splice(5 << 20, &Blob::bytes(*b"content"));
//! let plan = Vdi.plan(&Options::defaults(Vdi.options()))?;
//! let file = plan.encode(&disk, &Ids::from_seed(b"my disk").into(), env)?;
//! assert!(file.len() <= 3 << 20, "one block of 1 MiB, header and table");
//! assert_eq!(Vdi.decode(&file, &Reading::default(), env)?.sha256()?, disk.sha256()?);
//! # Ok::<(), formats::Error>(())
//! ```

use crate::{
    Blob, Check, Env, Error, Format, Identity, Info, Limits, Options, Plan, Reading, Result,
    blocks::{self, Claims, Overlay, Table},
    dump::Dump,
    error::At,
    guid::{Guid, Ids},
    reading::Parent,
    units::{KIB, MIB, SECTOR},
};
use std::mem::offset_of;
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U32, U64},
};

/// The VDI format.
#[derive(Debug)]
pub struct Vdi;

/// Where the signature is.
const SIGNATURE_AT: u64 = 64;
/// `VDI_IMAGE_SIGNATURE`.
const SIGNATURE: u32 = 0xbeda_107f;
/// Version 1.1.
const VERSION: u32 = 0x0001_0001;
/// Where the block map is.
const MAP_AT: u64 = 512;
/// Block size that we write, and the only one that VirtualBox makes.
const BLOCK: u64 = MIB;
/// Block sizes that we read.
const BLOCKS_READ: std::ops::RangeInclusive<u64> = 4 * KIB..=256 * MIB;
/// Most blocks of an image that `qemu` opens.
const BLOCKS_MAX: u64 = 0x1fff_ff80;
/// `VDI_IMAGE_BLOCK_ZERO`, the lower of the two map entries without a block: zeros, whatever the parent has.
const ENTRY_ZERO: u32 = 0xffff_fffe;
/// `VDI_IMAGE_BLOCK_FREE`: the parent's, or zeros.
const ENTRY_FREE: u32 = u32::MAX;

/// `VDIPREHEADER` and `VDIHEADER1PLUS`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    /// 0: text for people, never looked at.
    file_info: [u8; 64],
    /// 64: [`SIGNATURE`].
    signature: U32,
    /// 68: [`VERSION`].
    version: U32,
    /// 72: bytes of the header from here on: 400.
    header_len: U32,
    /// 76: see [`image_type`].
    image_type: U32,
    /// 80: no flags.
    flags: U32,
    /// 84: text for people.
    comment: [u8; 256],
    /// 340: where the block map is.
    map_offset: U32,
    /// 344: where block 0 of the file is.
    data_offset: U32,
    /// 348: cylinders, heads, sectors, bytes a sector: 0, but the last, 512.
    legacy_geometry: [U32; 4],
    /// 364: 0.
    unused: U32,
    /// 368: bytes of the disk.
    disk_size: U64,
    /// 376: bytes of a block: a power of two.
    block_size: U32,
    /// 380: bytes in front of each block: 0.
    block_extra: U32,
    /// 384: blocks of the disk.
    blocks: U32,
    /// 388: blocks that the file has.
    blocks_allocated: U32,
    /// 392: identifies the image.
    uuid_create: [u8; 16],
    /// 408: changes with the content.
    uuid_modify: [u8; 16],
    /// 424: the parent of a differencing image, else nil.
    uuid_linkage: [u8; 16],
    /// 440: the parent's `uuid_modify`, else nil.
    uuid_parent_modify: [u8; 16],
    /// 456: cylinders, heads, sectors, bytes a sector: 0 makes VirtualBox choose.
    geometry: [U32; 4],
    /// 472: zeros.
    reserved: [u8; 40],
}
const _: () = assert!(size_of::<Header>() == 512 && offset_of!(Header, map_offset) == 340 && offset_of!(Header, disk_size) == 368);

/// No identifier.
const NIL: [u8; 16] = [0; 16];

/// Values of [`Header::image_type`].
mod image_type {
    pub(super) const DYNAMIC: u32 = 1;
    pub(super) const STATIC: u32 = 2;
    pub(super) const UNDO: u32 = 3;
    pub(super) const DIFFERENCING: u32 = 4;
}

impl Format for Vdi {
    fn name(&self) -> &'static str {
        "vdi"
    }

    fn has_identifiers(&self) -> bool {
        true
    }

    fn probe(&self, file: &Blob) -> Result<bool> {
        Ok(file.len() >= SECTOR && u32::from_le_bytes(file.read_array(SIGNATURE_AT)?) == SIGNATURE)
    }

    fn plan(&self, _: &Options) -> Result<Box<dyn Plan>> {
        Ok(Box::new(Self))
    }

    fn decode(&self, file: &Blob, reading: &Reading<'_>, env: &mut Env) -> Result<Blob> {
        reading.refuse_snapshot(self.name())?;
        let (header, mut claims, map) = Header::read(file)?;
        let (size, block_size) = (header.disk_size.get(), u64::from(header.block_size.get()));
        let parent = if header.has_parent() { Some(header.parent(reading, env)?) } else { None };
        let mut disk = Overlay::over(parent);
        for (block, entry) in (0_u64..).zip(blocks::entries(map)) {
            let entry = u32::from_le_bytes(entry?);
            let (start, end) = (block * block_size, size.min((block + 1) * block_size));
            match entry {
                ENTRY_FREE => {}
                ENTRY_ZERO => {
                    disk.see_to(start);
                    disk.zeros_to(end);
                }
                entry => {
                    let at = u64::from(header.data_offset.get()) + u64::from(entry) * block_size;
                    let place = claims.claim(at, end - start, || format!("VDI block {block}"))?;
                    disk.see_to(start);
                    disk.append(&file.slice(place));
                }
            }
        }
        claims.finish()?;
        Ok(disk.finish(size))
    }

    fn info(&self, file: &Blob) -> Result<Info> {
        let (header, ..) = Header::read(file)?;
        let kind = match header.image_type.get() {
            _ if header.has_parent() => "differencing",
            image_type::STATIC => "static",
            _ => "dynamic",
        };
        let specific = vec![("image-type", kind.into())];
        Ok(Info { cluster_size: Some(header.block_size.get().into()), specific, ..Info::default() })
    }

    /// The header counts the blocks that the map names; what the file has besides is leaked.
    fn check(&self, file: &Blob, env: &mut Env) -> Result<Check> {
        let mut check = Check::default();
        if check.decoded(self.decode(file, &Reading::default(), env))?.is_none() {
            return Ok(check);
        }
        let (header, _, map) = Header::read(file)?;
        let used =
            blocks::entries(map).try_fold(0_u64, |used, entry| entry.map(|e| used + u64::from(u32::from_le_bytes(e) < ENTRY_ZERO)))?;
        let counted = u64::from(header.blocks_allocated.get());
        if used != counted {
            check.corrupt(|| format!("the block map names {used} blocks, the header counts {counted}"));
        }
        let present = file.len().saturating_sub(header.data_offset.get().into()) / u64::from(header.block_size.get());
        if present > used {
            check.leak(present - used, || format!("the file has {present} blocks, the block map names {used}"));
        }
        Ok(check)
    }

    fn dump(&self, file: &Blob, to: &mut Dump) -> Result<()> {
        let (header, _, map) = Header::read(file)?;
        to.section("header", |to| header.dump(to));
        to.section("block map", |to| {
            for (block, entry) in (0_u64..).zip(blocks::entries(map)) {
                match u32::from_le_bytes(entry?) {
                    ENTRY_FREE => {}
                    ENTRY_ZERO => to.field(&format!("block {block}"), "zeros"),
                    entry => to.field(&format!("block {block}"), entry),
                }
            }
            Ok(())
        })
    }
}

impl Plan for Vdi {
    fn limits(&self) -> Limits {
        Limits { size_multiple: SECTOR, size_max: BLOCKS_MAX * BLOCK }
    }

    fn unit(&self) -> Option<u64> {
        Some(BLOCK)
    }

    fn encode(&self, disk: &Blob, identity: &Identity, env: &mut Env) -> Result<Blob> {
        self.limits().assert_hold(disk);
        let mut map = Table::filled_with(0xff);
        let mut payload = Blob::default();
        for run in disk.data_units(BLOCK) {
            let first = payload.len() / BLOCK;
            payload.append(&disk.slice(run.start * BLOCK..disk.len().min(run.end * BLOCK)));
            payload.pad_to(BLOCK);
            map.put(
                run.start * 4,
                (first..).take_while(|n| n - first < run.end - run.start).flat_map(|n| narrow(n).to_le_bytes()).collect(),
            );
        }
        let map = map.finish(disk.len().div_ceil(BLOCK) * 4);
        let data_at = (MAP_AT + map.len()).next_multiple_of(BLOCK);
        let header = Header::new(disk.len(), data_at, payload.len() / BLOCK, identity.ids(env)?);
        let mut file = Blob::bytes(header.as_bytes());
        file.append(&map);
        file.extend_to(data_at);
        file.append(&payload);
        Ok(file)
    }
}

/// Block numbers and what is near them, which [`BLOCKS_MAX`] keeps below 2^32.
fn narrow(value: u64) -> u32 {
    u32::try_from(value).expect("limited by BLOCKS_MAX")
}

impl Header {
    fn new(disk_size: u64, data_at: u64, allocated: u64, ids: &Ids) -> Self {
        let mut file_info = [0; 64];
        let text = b"<<< Oracle VM VirtualBox Disk Image >>>\n";
        file_info[..text.len()].copy_from_slice(text);
        let geometry = [0, 0, 0, 512].map(U32::new);
        Self {
            file_info,
            signature: SIGNATURE.into(),
            version: VERSION.into(),
            header_len: 400.into(),
            image_type: image_type::DYNAMIC.into(),
            flags: 0.into(),
            comment: [0; 256],
            map_offset: narrow(MAP_AT).into(),
            data_offset: narrow(data_at).into(),
            legacy_geometry: geometry,
            unused: 0.into(),
            disk_size: disk_size.into(),
            block_size: narrow(BLOCK).into(),
            block_extra: 0.into(),
            blocks: narrow(disk_size.div_ceil(BLOCK)).into(),
            blocks_allocated: narrow(allocated).into(),
            uuid_create: ids.guid("vdi create").to_mixed_endian(),
            uuid_modify: ids.guid("vdi modify").to_mixed_endian(),
            uuid_linkage: [0; 16],
            uuid_parent_modify: [0; 16],
            geometry,
            reserved: [0; 40],
        }
    }

    /// The header, the claims of header and map, and the part of the map that covers the disk.
    fn read(file: &Blob) -> Result<(Self, Claims, Blob)> {
        let header: Self = zerocopy::transmute!(file.read_array::<512>(0).at(|| "VDI header")?);
        header.check().at(|| "VDI header")?;
        let mut claims = Claims::on(file);
        claims.claim(0, 72 + u64::from(header.header_len.get()), || "VDI header".to_owned())?;
        let blocks = header.disk_size.get().div_ceil(header.block_size.get().into());
        let map = claims.claim(header.map_offset.get().into(), blocks * 4, || "VDI block map".to_owned())?;
        Ok((header, claims, file.slice(map)))
    }

    fn has_parent(&self) -> bool {
        self.uuid_linkage != NIL
    }

    /// The disk below. VirtualBox keeps its name elsewhere: it is the file near by that has the identifier, with the content that it had then.
    fn parent(&self, reading: &Reading<'_>, env: &mut Env) -> Result<Blob> {
        let is_it = |file: &Blob| {
            if !Vdi.probe(file)? {
                return Ok(false);
            }
            let (parent, ..) = Self::read(file)?;
            let is_unchanged = self.uuid_parent_modify == NIL || parent.uuid_modify == self.uuid_parent_modify;
            Ok(parent.uuid_create == self.uuid_linkage && is_unchanged)
        };
        let identifier = Guid::from_mixed_endian(self.uuid_linkage).to_string();
        let parent = Parent { names: Vec::new(), identifier, ending: ".vdi", is_it: &is_it };
        reading.parent(&parent, self.disk_size.get(), env)
    }

    fn check(&self) -> Result<()> {
        if self.signature != SIGNATURE {
            return Err(Error::bad_input(format!("the signature is {:#x}, must be {SIGNATURE:#x}", self.signature)));
        }
        if self.version != VERSION {
            return Err(Error::unsupported(format!("the version is {:#x}, must be {VERSION:#x}", self.version)));
        }
        match self.image_type.get() {
            image_type::UNDO => return Err(Error::unsupported("an undo image holds no whole disk")),
            image_type::DIFFERENCING if self.uuid_linkage == NIL => return Err(Error::bad_input("a differencing image names no parent")),
            image_type::DYNAMIC | image_type::STATIC | image_type::DIFFERENCING => {}
            other => {
                let what = format!("the image type is {other}, must be 1 (dynamic), 2 (static) or 4 (differencing)");
                return Err(Error::unsupported(what));
            }
        }
        if self.block_extra != 0 {
            return Err(Error::unsupported(format!("{} extra bytes a block, must be 0", self.block_extra)));
        }
        let (size, block, blocks) = (self.disk_size.get(), u64::from(self.block_size.get()), u64::from(self.blocks.get()));
        if !block.is_power_of_two() || !BLOCKS_READ.contains(&block) {
            return Err(Error::bad_input(format!("the block size is {block}, must be a power of two from 4 KiB to 256 MiB")));
        }
        if !size.is_multiple_of(SECTOR) || size.div_ceil(block) > blocks.min(BLOCKS_MAX) {
            return Err(Error::bad_input(format!(
                "the disk has {size} bytes, must be whole sectors in at most {blocks} blocks of {block}"
            )));
        }
        Ok(())
    }

    fn dump(&self, to: &mut Dump) {
        to.field("file info", self.file_info.trim_ascii_end().escape_ascii());
        to.hex("version", self.version.get());
        to.field("image type", self.image_type);
        to.field("map offset", self.map_offset);
        to.field("data offset", self.data_offset);
        to.field("disk size", self.disk_size);
        to.field("block size", self.block_size);
        to.field("blocks", self.blocks);
        to.field("blocks allocated", self.blocks_allocated);
        to.field("uuid create", Guid::from_mixed_endian(self.uuid_create));
        to.field("uuid modify", Guid::from_mixed_endian(self.uuid_modify));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, env};

    fn sample() -> Blob {
        let mut disk = Blob::zeros(7 * MIB + 512);
        disk.splice(3, &Blob::bytes(*b"first"));
        disk.splice(5 * MIB - 3, &Blob::bytes(*b"middle"));
        disk.splice(7 * MIB + 511, &Blob::bytes(*b"z"));
        disk
    }

    fn encode() -> Vec<u8> {
        testing::encode(&Vdi, &sample(), &[]).to_vec(u64::MAX).unwrap()
    }

    fn decode(bytes: Vec<u8>) -> Result<Vec<u8>> {
        testing::decode(&Vdi, &Blob::bytes(bytes))?.to_vec(u64::MAX)
    }

    #[test]
    fn a_disk_survives() {
        assert_eq!(decode(encode()).unwrap(), sample().to_vec(u64::MAX).unwrap());
    }

    #[test]
    fn only_blocks_with_data_take_space() {
        assert_eq!(encode().len(), 5 << 20, "header and map, then the blocks 0, 4, 5 and 7");
    }

    #[test]
    fn differencing_images_want_their_parent() {
        let mut bytes = encode();
        bytes[76] = 4;
        assert!(decode(bytes.clone()).unwrap_err().to_string().contains("names no parent"));
        bytes[424] = 9;
        let error = decode(bytes).unwrap_err();
        assert!(error.to_string().contains("differs from its parent") && error.hint_text().unwrap().contains("--follow"), "{error}");
    }

    #[test]
    fn a_check_counts_blocks() {
        let check = |bytes: Vec<u8>| Vdi.check(&Blob::bytes(bytes), &mut env()).unwrap();
        assert_eq!(check(encode()), Check::default());
        let mut counted = encode();
        counted[388] += 1;
        assert_eq!((check(counted.clone()).corruptions, check(counted).leaks), (1, 0));
        let mut leaked = encode();
        leaked.extend(vec![7; 2 << 20]);
        assert_eq!((check(leaked.clone()).corruptions, check(leaked).leaks), (0, 2));
        let mut twice = encode();
        twice[512 + 4 * 4] = 0;
        assert_eq!(check(twice).corruptions, 1);
    }

    #[test]
    fn a_block_in_two_places_is_refused() {
        let mut bytes = encode();
        bytes[512 + 4 * 4] = 0;
        assert!(decode(bytes).unwrap_err().to_string().contains("two structures"));
    }

    #[test]
    fn sizes_that_do_not_fit_the_map_are_refused() {
        let mut bytes = encode();
        bytes[374] = 1;
        assert!(decode(bytes).unwrap_err().to_string().contains("blocks of"));
    }
}
