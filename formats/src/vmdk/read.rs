//! Reading hosted sparse extents, compressed or not.

use super::{
    DIRECTORY_AT_END, Header, SIZE_MAX,
    descriptor::{Descriptor, ExtentKind},
    flags,
    stream::GrainMarker,
};
use crate::{
    Blob, Check, Env, Error, Info, Parts, Reading, Result, Stage,
    blocks::{self, Claims},
    compress::deflate::{self, Wrapping},
    dump::Dump,
    error::At,
    parallel, plain,
    units::{self, KIB, MIB, SECTOR},
    zeros,
};
use std::ops::Range;

/// Largest grain that we read, in sectors; the standard's own is 128.
const GRAIN_MAX: u64 = 16 * MIB / SECTOR;
/// Most entries of a grain directory that `qemu` reads.
const DIRECTORY_MAX: u64 = 32 << 20;
/// How much of the disk a worker inflates in one go.
const BATCH: u64 = 512 * KIB;
/// Largest descriptor that `qemu` and Glance read.
const DESCRIPTOR_MAX: u64 = MIB - 1;

/// What a file is, by its magic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A hosted sparse extent.
    Sparse,
    /// A text descriptor on its own.
    Text,
    /// ESXi's copy-on-write disk.
    Cowd,
    /// ESXi's space-efficient sparse disk.
    SeSparse,
}

pub(super) fn kind(file: &Blob) -> Result<Option<Kind>> {
    let mut start = [0; 21];
    let len = start.len().min(usize::try_from(file.len()).unwrap_or(usize::MAX));
    file.read_at(0, &mut start[..len])?;
    Ok(match &start {
        [b'K', b'D', b'M', b'V', ..] => Some(Kind::Sparse),
        [b'C', b'O', b'W', b'D', ..] => Some(Kind::Cowd),
        [0xbe, 0xba, 0xfe, 0xca, 0, 0, 0, 0, ..] => Some(Kind::SeSparse),
        text if text.eq_ignore_ascii_case(b"# Disk DescriptorFile") => Some(Kind::Text),
        _ => None,
    })
}

/// The disk in a file, or in the files that a descriptor names.
pub(super) fn disk(file: &Blob, reading: &Reading<'_>, env: &mut Env) -> Result<Blob> {
    match (kind(file)?, reading.parts) {
        (Some(Kind::Text), Some(parts)) => joined(&text_of(file)?, parts, env),
        _ => sparse(file, &Extent::read(file)?, env),
    }
}

/// A descriptor on its own.
fn text_of(file: &Blob) -> Result<Descriptor> {
    Ok(Descriptor::new(file.slice(0..file.len().min(DESCRIPTOR_MAX)).to_vec(DESCRIPTOR_MAX)?))
}

/// A disk in several files.
fn joined(descriptor: &Descriptor, parts: &dyn Parts, env: &mut Env) -> Result<Blob> {
    descriptor.refuse_parent()?;
    let mut disk = Blob::default();
    for line in descriptor.extents()? {
        let place = || format!("VMDK extent '{}'", plain::line(&descriptor.text(&line.file)));
        let bytes = |sectors: u64| {
            sectors
                .checked_mul(SECTOR)
                .filter(|n| *n <= SIZE_MAX)
                .ok_or_else(|| Error::bad_input(format!("{sectors} sectors are too many")))
        };
        let len = bytes(line.sectors).at(place)?;
        let extent = match line.kind {
            ExtentKind::Zero => Blob::zeros(len),
            ExtentKind::Flat => {
                let file = descriptor.open(&line.file, parts, env).at(place)?;
                let range = Claims::on(&file).claim(bytes(line.offset).at(place)?, len, || "its data".to_owned()).at(place)?;
                file.slice(range)
            }
            ExtentKind::Sparse => {
                let file = descriptor.open(&line.file, parts, env).at(place)?;
                let extent = Extent::part(&file).and_then(|extent| sparse(&file, &extent, env)).at(place)?;
                if extent.len() < len {
                    return Err(Error::bad_input(format!("it has {} bytes, must have {len}", extent.len())).at(place()));
                }
                extent.slice(0..len)
            }
        };
        disk.append(&extent);
        if disk.len() > SIZE_MAX {
            return Err(Error::bad_input(format!("the VMDK's extents have together more than {SIZE_MAX} bytes")));
        }
    }
    Ok(disk)
}

/// The disk, or a part of it, in a hosted sparse extent.
fn sparse(file: &Blob, extent: &Extent, env: &mut Env) -> Result<Blob> {
    let mut claims = Claims::on(file);
    let mut disk = Blob::default();
    if extent.header.has(flags::COMPRESSED) {
        let Env { spool, threads, progress, .. } = env;
        let len = |grain: Result<Grain>| grain.map(|grain| grain.disk.end - grain.disk.start);
        // Once for their sum: the tables are little beside the grains.
        let stage = Stage::new(&**progress, extent.grains(file, &mut Claims::on(file))?.map(len).sum::<Result<u64>>()?);
        let grains = extent.grains(file, &mut claims)?;
        let most = units::index((BATCH / extent.grain).max(1));
        let work = |batch: Vec<Grain>| {
            let len = batch.iter().map(|grain| grain.disk.end - grain.disk.start).sum();
            let inflated = extent.inflate_all(file, batch)?;
            stage.advance(len);
            Ok(inflated)
        };
        parallel::ordered(*threads, parallel::batches(grains, most), work, |Inflated { places, bytes }| {
            let mut bytes = spool.append(&bytes)?;
            for place in places {
                let len = place.end - place.start;
                disk.extend_to(place.start);
                disk.append(&bytes.slice(0..len));
                bytes = bytes.slice(len..bytes.len());
            }
            Ok(())
        })?;
        stage.finish();
    } else {
        for grain in extent.grains(file, &mut claims)? {
            let grain = grain?;
            disk.extend_to(grain.disk.start);
            disk.append(&file.slice(grain.file));
        }
    }
    disk.extend_to(extent.size);
    claims.finish()?;
    Ok(disk)
}

/// What the descriptor says, in the words of `qemu-img info`.
pub(super) fn info(file: &Blob) -> Result<Info> {
    let (descriptor, cluster_size, compressed) = match kind(file)? {
        Some(Kind::Text) => (text_of(file)?, None, false),
        _ => {
            let extent = Extent::read(file)?;
            let compressed = extent.header.has(flags::COMPRESSED);
            (extent.descriptor, Some(extent.grain), compressed)
        }
    };
    let id = |key| descriptor.value(key).and_then(|value| u64::from_str_radix(&value, 16).ok());
    let mut specific = vec![("create-type", descriptor.create_type()?.into()), ("compressed", compressed.into())];
    specific.extend(id("CID").map(|id| ("cid", id.into())));
    specific.extend(id("parentCID").map(|id| ("parent-cid", id.into())));
    Ok(Info { cluster_size, specific, ..Info::default() })
}

/// Compares the grain directory with the redundant one, where there is one: they have to lead to the same grains.
pub(super) fn check_copies(file: &Blob, check: &mut Check) -> Result<()> {
    let extent = Extent::read(file)?;
    if !extent.header.has(flags::REDUNDANT) {
        return Ok(());
    }
    let mut copy = Extent::read(file)?;
    copy.header.directory = extent.header.redundant_directory;
    let (mut claims, mut copied_claims) = (Claims::on(file), Claims::on(file));
    let mut copied = copy.grains(file, &mut copied_claims)?;
    for grain in extent.grains(file, &mut claims)? {
        let grain = grain?;
        let same = matches!(copied.next(), Some(Ok(other)) if other.disk == grain.disk && other.file == grain.file);
        if !same {
            check.corrupt(|| format!("the redundant grain directory differs at sector {}", grain.disk.start / SECTOR));
            return Ok(());
        }
    }
    if copied.next().is_some() {
        check.corrupt(|| "the redundant grain directory has a grain that the other has not".to_owned());
    }
    Ok(())
}

/// The structures of a file.
pub(super) fn dump(file: &Blob, to: &mut Dump) -> Result<()> {
    let extent = Extent::read(file)?;
    to.section("header", |to| extent.dump(to));
    to.section("descriptor", |to| {
        for line in extent.descriptor.lines().filter(|line| !line.is_empty()) {
            to.field("line", line.escape_debug());
        }
    });
    to.section("grains", |to| {
        for grain in extent.grains(file, &mut Claims::on(file))? {
            let Grain { disk, file } = grain?;
            to.field(&format!("sector {}", disk.start / SECTOR), format_args!("{} bytes at {}", file.end - file.start, file.start));
        }
        Ok(())
    })
}

/// An extent whose numbers were checked.
struct Extent {
    /// The header, or the footer where there is one.
    header: Header,
    descriptor: Descriptor,
    /// Bytes of the disk.
    size: u64,
    /// Bytes of a grain.
    grain: u64,
}

/// A grain that the file has.
struct Grain {
    /// Where it is on the disk, clipped to the disk's end.
    disk: Range<u64>,
    /// Where its bytes are, compressed or not, without the marker.
    file: Range<u64>,
}

/// Parts of grains one behind the other, and where each is on the disk.
struct Inflated {
    places: Vec<Range<u64>>,
    bytes: Vec<u8>,
}

impl Extent {
    fn read(file: &Blob) -> Result<Self> {
        match kind(file)? {
            Some(Kind::Sparse) => {}
            Some(Kind::Text) => {
                text_of(file)?.check()?;
                return Err(Error::unsupported("the VMDK is a descriptor whose data is in another file, which is not followed"));
            }
            Some(kind @ (Kind::Cowd | Kind::SeSparse)) => {
                return Err(Error::unsupported(format!("the VMDK is an ESXi {kind:?} extent, which is not read"))
                    .hint("clone it to streamOptimized with vmkfstools or ovftool first"));
            }
            None => return Err(Error::bad_input("no VMDK: it starts with neither KDMV nor a descriptor")),
        }
        let extent = Self::part(file)?;
        let descriptor = descriptor_text(file, &extent.header)?;
        Ok(Self { descriptor, ..extent })
    }

    /// An extent of a disk in several files; its descriptor is elsewhere.
    fn part(file: &Blob) -> Result<Self> {
        if kind(file)? != Some(Kind::Sparse) {
            return Err(Error::bad_input("no hosted sparse extent: it does not start with KDMV"));
        }
        let mut header: Header = zerocopy::transmute!(file.read_array::<512>(0).at(|| "VMDK header")?);
        if header.directory == DIRECTORY_AT_END {
            header = footer(file, &header).at(|| "VMDK footer")?;
        }
        let (size, grain) = sizes(&header).at(|| "VMDK header")?;
        Ok(Self { header, descriptor: Descriptor::default(), size, grain })
    }

    /// The grains that the file has, in the order of the disk.
    fn grains<'a>(&'a self, file: &'a Blob, claims: &'a mut Claims) -> Result<impl Iterator<Item = Result<Grain>> + Send + 'a> {
        let header = &self.header;
        let covered = self.grain * u64::from(header.table_entries.get());
        let at =
            header.directory.get().checked_mul(SECTOR).ok_or_else(|| Error::bad_input("VMDK header: the grain directory is past 2^64"))?;
        claims.claim(0, SECTOR, || "VMDK header".to_owned())?;
        let directory = claims.claim(at, self.size.div_ceil(covered) * 4, || "VMDK grain directory".to_owned())?;
        let mut directory = (0_u64..).zip(blocks::entries(file.slice(directory)));
        let mut table = Vec::new().into_iter();
        Ok(std::iter::from_fn(move || {
            loop {
                if let Some(grain) = table.next() {
                    return Some(grain);
                }
                let (number, entry) = directory.next()?;
                let next = entry.and_then(|entry| self.table(file, claims, number * covered, u32::from_le_bytes(entry)));
                table = next.unwrap_or_else(|error| vec![Err(error)]).into_iter();
            }
        }))
    }

    /// The grains of the table at a sector; `start` is the first byte of the disk that it is about.
    fn table(&self, file: &Blob, claims: &mut Claims, start: u64, sector: u32) -> Result<Vec<Result<Grain>>> {
        if sector == 0 {
            return Ok(Vec::new());
        }
        let len = u64::from(self.header.table_entries.get()) * 4;
        let place = claims.claim(u64::from(sector) * SECTOR, len, || format!("VMDK grain table of sector {}", start / SECTOR))?;
        let mut grains = Vec::new();
        for (number, entry) in (0_u64..).zip(blocks::entries(file.slice(place))) {
            let (at, entry) = (start + number * self.grain, u32::from_le_bytes(entry?));
            let absent = entry == 0 || entry == 1 && self.header.has(flags::ZERO_GRAINS);
            if !absent && at < self.size {
                grains.push(self.grain(file, claims, at, u64::from(entry) * SECTOR));
            }
        }
        Ok(grains)
    }

    /// The grain for byte `at` of the disk whose table entry points to byte `from` of the file.
    fn grain(&self, file: &Blob, claims: &mut Claims, at: u64, from: u64) -> Result<Grain> {
        let name = || format!("VMDK grain of sector {}", at / SECTOR);
        let disk = at..self.size.min(at + self.grain);
        if !self.header.has(flags::COMPRESSED) {
            return Ok(Grain { file: claims.claim(from, disk.end - at, name)?, disk });
        }
        let marker: GrainMarker = zerocopy::transmute!(file.read_array::<12>(from).at(name)?);
        let size = u64::from(marker.size.get());
        if marker.sector.get() != at / SECTOR || size == 0 || size > self.grain * 2 {
            let found = format!("its marker says {size} bytes for sector {}, must be 1 to {} for its own", marker.sector, self.grain * 2);
            return Err(Error::bad_input(found).at(name()));
        }
        let place = claims.claim(from, 12 + size, name)?;
        Ok(Grain { file: place.start + 12..place.end, disk })
    }

    /// What some grains hold besides zeros.
    fn inflate_all(&self, file: &Blob, batch: Vec<Grain>) -> Result<Inflated> {
        let bytes = Vec::with_capacity(batch.len() * units::index(self.grain));
        let mut inflated = Inflated { places: Vec::with_capacity(batch.len()), bytes };
        let mut plain = vec![0; units::index(self.grain)];
        for grain in batch {
            let bytes = self.inflate(file, &grain, &mut plain)?;
            for run in zeros::data_runs(bytes) {
                inflated.places.push(grain.disk.start + run.start..grain.disk.start + run.end);
                inflated.bytes.extend_from_slice(&bytes[units::index(run.start)..units::index(run.end)]);
            }
        }
        Ok(inflated)
    }

    /// A grain, inflated into `plain`, which is as long as a whole one; the last one of a disk is shorter.
    fn inflate<'a>(&self, file: &Blob, grain: &Grain, plain: &'a mut [u8]) -> Result<&'a [u8]> {
        let mut packed = vec![0; units::index(grain.file.end - grain.file.start)];
        file.read_at(grain.file.start, &mut packed)?;
        let wanted = units::index(grain.disk.end - grain.disk.start);
        let place = || format!("VMDK grain of sector {}", grain.disk.start / SECTOR);
        let found = deflate::inflate_into(&packed, plain, Wrapping::Zlib).at(place)?;
        if found < wanted {
            return Err(Error::bad_input(format!("deflate data of {found} bytes, must be {wanted}")).at(place()));
        }
        Ok(&plain[..wanted])
    }

    fn dump(&self, to: &mut Dump) {
        let header = &self.header;
        to.field("version", header.version);
        to.hex("flags", header.flags.get());
        to.field("capacity", header.capacity);
        to.field("grain size", header.grain_size);
        to.field("descriptor offset", header.descriptor_offset);
        to.field("descriptor size", header.descriptor_size);
        to.field("table entries", header.table_entries);
        to.field("redundant directory", header.redundant_directory);
        to.field("directory", header.directory);
        to.field("overhead", header.overhead);
        to.field("compression", header.compression);
    }
}

/// The footer of a stream, which has to agree with the header.
fn footer(file: &Blob, header: &Header) -> Result<Header> {
    let same = |header: &Header| (header.magic, header.capacity, header.grain_size, header.flags, header.table_entries, header.compression);
    let is_footer = |sector: &[u8; 512]| {
        let footer: Header = zerocopy::transmute!(*sector);
        same(&footer) == same(header) && footer.directory != DIRECTORY_AT_END
    };
    match blocks::last_sector(file, |_, sector| is_footer(sector))? {
        Some(at) => Ok(zerocopy::transmute!(file.read_array::<512>(at)?)),
        None => Err(Error::bad_input("there is none that matches the header: the stream is cut short or damaged")),
    }
}

fn descriptor_text(file: &Blob, header: &Header) -> Result<Descriptor> {
    let (offset, sectors) = (header.descriptor_offset.get(), header.descriptor_size.get());
    if offset == 0 || sectors == 0 {
        return Err(Error::unsupported("the VMDK is one extent of a disk in several files, which are not followed"));
    }
    let len = sectors.saturating_mul(SECTOR).min(DESCRIPTOR_MAX);
    let at = offset.checked_mul(SECTOR).ok_or_else(|| Error::bad_input("VMDK header: the descriptor is past 2^64"))?;
    let place = Claims::on(file).claim(at, len, || "VMDK descriptor".to_owned())?;
    let descriptor = Descriptor::new(file.slice(place).to_vec(DESCRIPTOR_MAX)?);
    descriptor.check()?;
    Ok(descriptor)
}

/// Bytes of the disk and of a grain, after all numbers of the header were checked.
fn sizes(header: &Header) -> Result<(u64, u64)> {
    let (grain, entries) = (header.grain_size.get(), u64::from(header.table_entries.get()));
    let packed = header.has(flags::COMPRESSED);
    if !(1..=3).contains(&header.version.get()) {
        return Err(Error::unsupported(format!("the version is {}, must be 1 to 3", header.version)));
    }
    if header.has(flags::LINE_ENDS) && header.line_ends != *b"\n \r\n" {
        return Err(Error::bad_input("its line ends were changed: the file was copied as text"));
    }
    if packed && (header.compression != 1 || !header.has(flags::MARKERS)) {
        return Err(Error::unsupported(format!(
            "compression {} without or with markers, must be deflate with markers",
            header.compression
        )));
    }
    if !grain.is_power_of_two() || grain > GRAIN_MAX {
        return Err(Error::bad_input(format!("a grain is {grain} sectors, must be a power of two up to {GRAIN_MAX}")));
    }
    if !(1..=512).contains(&entries) {
        return Err(Error::bad_input(format!("a grain table has {entries} entries, must be 512")));
    }
    let capacity = header.capacity.get();
    if capacity > i64::MAX as u64 / SECTOR || capacity.div_ceil(grain * entries) > DIRECTORY_MAX {
        return Err(Error::bad_input(format!("{capacity} sectors are more than {DIRECTORY_MAX} grain tables cover")));
    }
    Ok((capacity * SECTOR, grain * SECTOR))
}
