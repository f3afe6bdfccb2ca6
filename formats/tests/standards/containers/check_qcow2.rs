//! What `qemu-img check` finds wrong with a qcow2, one structure at a time. `mutate --check-against-qemu` does it with thousands of mutants.

use super::check::{Damage, Qemu, be64, image, put, same_verdicts, same_verdicts_of};
use formats::units;

const OFFSET: usize = 0x00ff_ffff_ffff_fe00;

/// Where the first L2 table of a qcow2 is.
fn l2(file: &[u8]) -> usize {
    be64(file, be64(file, 40)) & OFFSET
}

/// Where the entry of a packed cluster is.
fn packed(file: &[u8]) -> usize {
    let table = l2(file);
    (table..).step_by(8).find(|at| file[*at] & 0x40 != 0).unwrap()
}

/// Where the entry of a plain cluster is, in an L2 table of extended entries where `step` is 16.
fn plain(file: &[u8], step: usize) -> usize {
    let l1 = be64(file, 40);
    let tables = (l1..).step_by(8).map(|at| be64(file, at) & OFFSET).filter(|table| *table != 0);
    let is_plain = |at: &usize| file[*at] & 0x40 == 0 && be64(file, *at) & OFFSET != 0;
    tables.take(1).find_map(|table| (table..table + 65_536).step_by(step).find(is_plain)).unwrap()
}

/// Where the directory of bitmaps is.
fn bitmaps(file: &[u8]) -> usize {
    be64(file, file.windows(4).position(|word| word == [0x23, 0x85, 0x28, 0x75]).unwrap() + 8 + 16)
}

/// Changes a byte behind the place that `at` finds.
fn set(file: &mut [u8], at: impl Fn(&[u8]) -> usize, skip: usize, bits: u8) {
    let at = at(file) + skip;
    file[at] |= bits;
}

#[test]
fn damaged_qcow2s_are_found_out() {
    let damages: &[Damage] = &[
        ("an L2 table past the end", Qemu::FindsIt, |file| {
            put(file, |file| be64(file, 40), &(1_u64 << 40 | 1 << 63).to_be_bytes());
        }),
        ("a cluster on the L1 table", Qemu::FindsIt, |file| {
            let l1 = units::bytes(be64(file, 40)) | 1 << 63;
            put(file, l2, &l1.to_be_bytes());
        }),
        ("an entry that is not aligned", Qemu::FindsIt, |file| {
            let at = l2(file);
            file[at + 6] |= 2;
        }),
        ("a table that is absent", Qemu::FindsIt, |file| {
            put(file, |file| be64(file, 40), &[0; 8]);
        }),
        ("a refcount too high", Qemu::FindsIt, |file| {
            let at = be64(file, be64(file, 48));
            file[at + 2 * 4 + 1] += 1;
        }),
    ];
    same_verdicts("qcow2", "qcow2", "compat=1.1", damages);
    same_verdicts("qcow2", "qcow2", "compat=0.10,cluster_size=4K", &damages[..4]);
}

#[test]
fn bits_that_mean_nothing_are_found_out() {
    let damages: &[Damage] = &[
        ("L1: a low bit", Qemu::FindsIt, |file| set(file, |file| be64(file, 40), 7, 1)),
        ("L1: a high bit", Qemu::FindsIt, |file| set(file, |file| be64(file, 40), 0, 2)),
        ("L1: a flag without a table", Qemu::FindsIt, |file| set(file, |file| be64(file, 40) + 8 * 9, 0, 0x80)),
        ("L2: a low bit", Qemu::FindsIt, |file| set(file, |file| plain(file, 8), 7, 4)),
        ("L2: a high bit", Qemu::FindsIt, |file| set(file, |file| plain(file, 8), 0, 1)),
        ("refcount table: of a block", Qemu::FindsIt, |file| set(file, |file| be64(file, 48), 7, 1)),
        ("refcount table: of none", Qemu::FindsIt, |file| set(file, |file| be64(file, 48), 8 * 300 + 7, 0x80)),
        ("a packed cluster with the flag of one reference", Qemu::FindsIt, |file| set(file, packed, 0, 0x80)),
        ("a refcount block twice", Qemu::FindsIt, |file| {
            let table = be64(file, 48);
            file.copy_within(table..table + 8, table + 8 * 5);
        }),
    ];
    let (_, file) = image("cluster_size=4K");
    same_verdicts_of(&file, "qcow2", "qcow2", "with snapshots", damages);
}

#[test]
fn damaged_subclusters_are_found_out() {
    let damages: &[Damage] = &[
        ("allocated and zeros", Qemu::FindsIt, |file| {
            let at = plain(file, 16);
            file[at + 8..at + 16].fill(0xff);
        }),
        ("allocated without a cluster", Qemu::FindsIt, |file| set(file, |file| l2(file) + 16 * 4000, 15, 1)),
        ("of a packed cluster", Qemu::FindsIt, |file| {
            let table = l2(file);
            let packed = (table..).step_by(16).find(|at| file[*at] & 0x40 != 0).unwrap();
            file[packed + 15] |= 1;
        }),
        ("zeros without a cluster are sound", Qemu::Sound, |file| set(file, |file| l2(file) + 16 * 4000, 11, 1)),
    ];
    let (_, file) = image("extended_l2=on");
    same_verdicts_of(&file, "qcow2", "qcow2", "extended_l2=on", damages);
}

#[test]
fn damaged_snapshots_and_bitmaps_are_found_out() {
    const SNAPSHOTS: fn(&[u8]) -> usize = |file| be64(file, 64);
    let damages: &[Damage] = &[
        ("an entry that does not say the disk's size", Qemu::FindsIt, |file| {
            // The identifier takes the place of the extra data.
            let at = SNAPSHOTS(file);
            let (extra, id) = (usize::from(file[at + 39]), usize::from(file[at + 13]));
            file[at + 39] = 0;
            file[at + 13] = u8::try_from(extra + id).unwrap();
        }),
        ("an L1 table inside of a cluster", Qemu::FindsIt, |file| set(file, SNAPSHOTS, 6, 2)),
        ("an L1 table past the end", Qemu::FindsIt, |file| put(file, SNAPSHOTS, &(1_u64 << 40).to_be_bytes())),
        ("a table inside of a cluster", Qemu::GivesUp, |file| file[71] |= 8),
        ("more snapshots than there may be", Qemu::GivesUp, |file| file[60] = 1),
        ("a bitmap of another kind", Qemu::GivesUp, |file| set(file, bitmaps, 16, 2)),
        ("a granularity of 1 byte", Qemu::GivesUp, |file| {
            let at = bitmaps(file);
            file[at + 17] = 0;
        }),
        ("flags of a bitmap that mean nothing", Qemu::GivesUp, |file| set(file, bitmaps, 12, 1)),
        ("a bitmap's table that is too short", Qemu::GivesUp, |file| set(file, bitmaps, 11, 6)),
        ("an entry of a bitmap's table that means nothing", Qemu::GivesUp, |file| set(file, |file| be64(file, bitmaps(file)), 0, 1)),
        ("a field of the bitmaps that is reserved", Qemu::GivesUp, |file| {
            let extension = file.windows(4).position(|word| word == [0x23, 0x85, 0x28, 0x75]).unwrap();
            file[extension + 15] = 1;
        }),
        ("more bitmaps than the directory has", Qemu::GivesUp, |file| {
            let extension = file.windows(4).position(|word| word == [0x23, 0x85, 0x28, 0x75]).unwrap();
            file[extension + 11] = 7;
        }),
    ];
    for options in ["compat=1.1", "refcount_bits=64,cluster_size=4K"] {
        let (_, file) = image(options);
        same_verdicts_of(&file, "qcow2", "qcow2", options, damages);
    }
}

#[test]
fn a_header_that_contradicts_itself_is_found_out() {
    let damages: &[Damage] = &[
        ("a refcount table inside of a cluster", Qemu::GivesUp, |file| file[55] |= 8),
        ("an L1 table inside of a cluster", Qemu::GivesUp, |file| file[47] |= 8),
        ("a snapshot table past all files", Qemu::GivesUp, |file| file[64] = 0x80),
        ("raw data in a file that there is not", Qemu::GivesUp, |file| file[95] |= 2),
        ("a header longer than a cluster", Qemu::GivesUp, |file| put(file, |_| 100, &units::bytes(1 << 24).to_be_bytes()[4..])),
        ("a compression that no feature speaks of", Qemu::GivesUp, |file| file[104] = 1),
        ("a backing file's name behind the first cluster", Qemu::GivesUp, |file| file[12] = 1),
    ];
    let (_, file) = image("compat=1.1");
    same_verdicts_of(&file, "qcow2", "qcow2", "the header", damages);
}
