//! Data blocks and fragments: the bodies of files, compressed on all cores and stored in order.
//!
//! A file of a block or more has its blocks one after the other, the last one shorter. Smaller files are put together into
//! blocks of their own, the fragments. A block of zeros is not stored. A body that several files have is stored once.

use super::{Settings, duplicates};
use crate::{
    Blob, Env, Error, Result, Stage,
    tree::{Content, Tree},
    units, zeros,
};
use std::{iter, ops::Range};

/// The bit in the size of a block that is not compressed.
const STORED: u32 = 1 << 24;
/// Most blocks of all files together, holes counted: their sizes are in memory and in the inode table.
const BLOCKS_MAX: u64 = 1 << 26;

/// Where a part of a fragment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FragmentPart {
    /// Which fragment.
    pub(super) fragment: u32,
    /// Where it begins in the unpacked fragment.
    pub(super) offset: u32,
}

/// Where the body of a file is.
#[derive(Clone, Debug, Default)]
pub(super) struct Body {
    /// Its bytes.
    pub(super) len: u64,
    /// First byte of the first block, in the image; 0 where none is stored.
    pub(super) start: u64,
    /// The size of each block in the image with [`STORED`]; 0 for a block of zeros.
    pub(super) sizes: Vec<u32>,
    /// Bytes in blocks of zeros.
    pub(super) sparse: u64,
    /// Where the body is if it is small.
    pub(super) part: Option<FragmentPart>,
}

/// All bodies, stored.
pub(super) struct Data {
    /// Different bodies.
    pub(super) bodies: Vec<Body>,
    /// The number of each inode's body; of what has none it is no body's.
    pub(super) of: Vec<usize>,
    /// 16 bytes for each fragment: where it begins (64 bits), its size with [`STORED`] (32), 0 (32).
    pub(super) fragments: Vec<u8>,
}

/// What one worker does.
enum Work {
    /// So many blocks in a gap of a body.
    Hole { body: usize, blocks: u64 },
    /// A block of a body.
    Block { body: usize, range: Range<u64> },
    /// A fragment: these of the small bodies, in their order.
    Fragment { members: Range<usize> },
}

impl Work {
    /// How many bytes of bodies it is about.
    fn len(&self, plan: &Plan<'_>) -> u64 {
        match self {
            Self::Hole { .. } => 0,
            Self::Block { range, .. } => range.end - range.start,
            Self::Fragment { members } => plan.small[members.clone()].iter().map(|small| plan.blobs[*small].len()).sum(),
        }
    }
}

/// What came of it.
enum Done {
    Hole { body: usize, blocks: u64 },
    Block { body: usize, block: Packed },
    Fragment { block: Packed },
}

/// A block for the image.
enum Packed {
    /// Compressed.
    Bytes(Vec<u8>),
    /// As it is.
    Stored(Blob),
}

/// The different bodies and where the small ones will be.
struct Plan<'a> {
    blobs: Vec<&'a Blob>,
    bodies: Vec<Body>,
    /// The small bodies, in order.
    small: Vec<usize>,
    /// Which of them make each fragment.
    fragments: Vec<Range<usize>>,
}

/// Stores the bodies of a tree behind what is in `image`.
///
/// # Errors
/// When a body cannot be read or the spool not be written, or there are too many blocks.
pub(super) fn write(tree: &Tree, settings: &Settings, image: &mut Blob, env: &mut Env) -> Result<Data> {
    let (blobs, of) = different(tree, env)?;
    let plan = plan(blobs, settings)?;
    let (mut bodies, mut fragments) = (plan.bodies.clone(), Vec::new());
    let Env { spool, threads, progress, .. } = env;
    let stage = Stage::new(&**progress, works(&plan, settings).map(|work| work.len(&plan)).sum());
    let work = |work: Work| {
        let len = work.len(&plan);
        let done = run(work, &plan, settings)?;
        stage.advance(len);
        Ok(done)
    };
    crate::parallel::ordered(*threads, works(&plan, settings).map(Ok), work, |done| {
        let start = image.len();
        let mut store = |block: Packed| -> Result<u32> {
            let (blob, flag) = match block {
                Packed::Bytes(bytes) => (spool.append(&bytes)?, 0),
                Packed::Stored(blob) => (blob, STORED),
            };
            image.append(&blob);
            Ok(u32::try_from(blob.len()).expect("a block has at most 1 MiB") | flag)
        };
        match done {
            Done::Hole { body, blocks } => {
                let body = &mut bodies[body];
                let before = units::bytes(body.sizes.len());
                body.sizes.resize(units::index(before + blocks), 0);
                let block_size = u64::from(settings.block_size);
                body.sparse += ((before + blocks) * block_size).min(body.len) - before * block_size;
            }
            Done::Block { body, block } => {
                let body = &mut bodies[body];
                // The superblock is at 0, so this is what no block has said yet.
                if body.start == 0 {
                    body.start = start;
                }
                body.sizes.push(store(block)?);
            }
            Done::Fragment { block } => {
                fragments.extend(start.to_le_bytes());
                fragments.extend(store(block)?.to_le_bytes());
                fragments.extend([0; 4]);
            }
        }
        Ok(())
    })?;
    stage.finish();
    Ok(Data { bodies, of, fragments })
}

/// The bodies of regular files, each once, and which of them each inode has.
fn different<'a>(tree: &'a Tree, env: &Env) -> Result<(Vec<&'a Blob>, Vec<usize>)> {
    let mut of = vec![usize::MAX; tree.inodes.len()];
    let mut all = Vec::new();
    for (inode, of) in tree.inodes.iter().zip(&mut of) {
        if let Content::File(blob) = &inode.content {
            *of = all.len();
            all.push(blob);
        }
    }
    let firsts = duplicates::firsts(&all, env.threads)?;
    let mut numbers = vec![0; all.len()];
    let mut blobs = Vec::new();
    for (n, first) in firsts.iter().enumerate() {
        if *first == n {
            numbers[n] = blobs.len();
            blobs.push(all[n]);
        }
    }
    for of in of.iter_mut().filter(|of| **of != usize::MAX) {
        *of = numbers[firsts[*of]];
    }
    Ok((blobs, of))
}

fn plan<'a>(blobs: Vec<&'a Blob>, settings: &Settings) -> Result<Plan<'a>> {
    let block_size = u64::from(settings.block_size);
    let blocks = blobs.iter().map(|blob| blob.len().div_ceil(block_size)).fold(0, u64::saturating_add);
    if blocks > BLOCKS_MAX {
        let (size, max) = (units::show_size(block_size), BLOCKS_MAX);
        return Err(
            Error::bad_input(format!("the files have {blocks} blocks of {size}, at most {max} are taken")).hint("use larger blocks")
        );
    }
    let mut plan = Plan { blobs, bodies: Vec::new(), small: Vec::new(), fragments: Vec::new() };
    // Bytes of the fragment that is being filled.
    let mut filled = block_size;
    for (number, blob) in plan.blobs.iter().enumerate() {
        let len = blob.len();
        let is_small = len < block_size && blob.data_len() > 0;
        let part = is_small.then(|| {
            if filled + len > block_size {
                plan.fragments.push(plan.small.len()..plan.small.len());
                filled = 0;
            }
            let fragment = u32::try_from(plan.fragments.len() - 1).expect("fewer fragments than blocks");
            let offset = u32::try_from(filled).expect("a fragment is no larger than a block");
            filled += len;
            plan.small.push(number);
            plan.fragments.last_mut().expect("it was just made").end = plan.small.len();
            FragmentPart { fragment, offset }
        });
        plan.bodies.push(Body { len, part, ..Body::default() });
    }
    Ok(plan)
}

/// All work, in the order of the image: a fragment stands where its last member does, never between the blocks of a file.
fn works<'p>(plan: &'p Plan<'_>, settings: &Settings) -> impl Iterator<Item = Work> + Send + use<'p> {
    let block_size = u64::from(settings.block_size);
    let mut fragments = plan.fragments.iter().peekable();
    plan.bodies.iter().enumerate().flat_map(move |(number, body)| -> Box<dyn Iterator<Item = Work> + Send + 'p> {
        if body.part.is_none() {
            return Box::new(blocks(number, plan.blobs[number], block_size));
        }
        let closed = fragments.next_if(|members| plan.small[members.end - 1] == number);
        Box::new(closed.map(|members| Work::Fragment { members: members.clone() }).into_iter())
    })
}

/// The blocks of a body, gaps as one.
fn blocks(body: usize, blob: &Blob, block_size: u64) -> impl Iterator<Item = Work> + Send {
    let end = blob.len().div_ceil(block_size);
    let mut at = 0;
    blob.data_units(block_size).chain(iter::once(end..end)).flat_map(move |run| {
        let hole = (run.start > at).then(|| Work::Hole { body, blocks: run.start - at });
        at = run.end;
        let block = move |nth: u64| Work::Block { body, range: nth * block_size..((nth + 1) * block_size).min(blob.len()) };
        hole.into_iter().chain(run.map(block))
    })
}

/// Does a piece of work.
fn run(work: Work, plan: &Plan<'_>, settings: &Settings) -> Result<Done> {
    let block_size = u64::from(settings.block_size);
    Ok(match work {
        Work::Hole { body, blocks } => Done::Hole { body, blocks },
        Work::Block { body, range } => {
            let block = plan.blobs[body].slice(range);
            let bytes = block.to_vec(block_size)?;
            match zeros::is_zero(&bytes) {
                true => Done::Hole { body, blocks: 1 },
                false => Done::Block { body, block: packed(&bytes, block, settings)? },
            }
        }
        Work::Fragment { members } => {
            let mut fragment = Blob::default();
            plan.small[members].iter().for_each(|small| fragment.append(plan.blobs[*small]));
            Done::Fragment { block: packed(&fragment.to_vec(block_size)?, fragment, settings)? }
        }
    })
}

fn packed(bytes: &[u8], block: Blob, settings: &Settings) -> Result<Packed> {
    Ok(settings.pack(bytes)?.map_or(Packed::Stored(block), Packed::Bytes))
}
