//! Disks that hold what differs from a parent. No free program writes them: these are ours, changed by hand as their standards say, and
//! two readers that know parents judge them: libvhdi, and dissect.hypervisor.

use super::follow::Beside;
use crate::support::{Case, Desk, env, noise, python};
use formats::{Blob, Error, Ids, Kind, Reading, units};

const SIZE: usize = 9 << 20;
const BLOCK: usize = 1 << 20;

/// What the child has of its own: a byte, and blocks of it.
fn contents() -> (Vec<u8>, Vec<u8>) {
    let parent = noise(SIZE, 5);
    let mut child = vec![0; SIZE];
    child[2 * BLOCK..3 * BLOCK].copy_from_slice(&noise(BLOCK, 6));
    child[5 * BLOCK..6 * BLOCK].copy_from_slice(&noise(BLOCK, 7));
    (parent, child)
}

/// A file of ours, whose identifiers differ from every other's.
fn encode(format: &'static str, options: &'static [(&'static str, &'static str)], disk: &[u8], seed: &[u8]) -> Vec<u8> {
    let case = Case { format, options, qemu: "" };
    let mut blob = Blob::zeros(units::bytes(disk.len()));
    for (block, bytes) in (0..).zip(disk.chunks(BLOCK)).filter(|(_, bytes)| bytes.iter().any(|byte| *byte != 0)) {
        blob.splice(block * units::bytes(BLOCK), &Blob::bytes(bytes));
    }
    case.plan().encode(&blob, &Ids::from_seed(seed).into(), &mut env(1)).unwrap().to_vec(u64::MAX).unwrap()
}

fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(bytes).collect()
}

fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

fn find(file: &[u8], what: &[u8]) -> usize {
    file.windows(what.len()).position(|window| window == what).unwrap()
}

/// The ones' complement of the sum of all bytes but those of the sum itself.
fn vhd_sum(file: &mut [u8], at: usize, len: usize, sum_at: usize) {
    put(file, at + sum_at, &[0; 4]);
    let sum: u32 = file[at..at + len].iter().map(|byte| u32::from(*byte)).sum();
    put(file, at + sum_at, &(!sum).to_be_bytes());
}

/// A child and its parent as VHD, whose blocks have 2 MiB: the first sectors of the child's first block are the parent's.
fn vhd(parent: &[u8], child: &[u8], path: &str) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let below = encode("vhd", &[("subformat", "dynamic")], parent, b"parent");
    let mut file = encode("vhd", &[("subformat", "dynamic")], child, b"child");
    let footer = file.split_off(file.len() - 512);
    let path = utf16(path, u16::to_le_bytes);
    let path_at = file.len();
    file.extend(&path);
    file.resize(path_at + 512, 0);
    file.extend(footer);
    let last = file.len() - 512;
    for at in [0, last] {
        put(&mut file, at + 60, &4_u32.to_be_bytes());
        vhd_sum(&mut file, at, 512, 64);
    }
    put(&mut file, 512 + 40, &below[68..84]);
    put(&mut file, 512 + 64, &utf16("base.vhd", u16::to_be_bytes));
    put(&mut file, 512 + 576, b"W2ru");
    put(&mut file, 512 + 580, &512_u32.to_be_bytes());
    put(&mut file, 512 + 584, &u32::try_from(path.len()).unwrap().to_be_bytes());
    put(&mut file, 512 + 592, &units::bytes(path_at).to_be_bytes());
    vhd_sum(&mut file, 512, 1024, 36);
    // The blocks from 2 and 4 MiB on.
    let mut wanted = parent.to_vec();
    wanted[2 * BLOCK..6 * BLOCK].copy_from_slice(&child[2 * BLOCK..6 * BLOCK]);
    let block = 512 * usize::try_from(u32::from_be_bytes(file[1536 + 4..1536 + 8].try_into().unwrap())).unwrap();
    put(&mut file, block, &[0, 0x7f]);
    wanted[2 * BLOCK..2 * BLOCK + 9 * 512].copy_from_slice(&parent[2 * BLOCK..2 * BLOCK + 9 * 512]);
    (below, file, wanted)
}

/// The same as VHDX, of blocks of 1 MiB; one of them may be zeros.
fn vhdx(parent: &[u8], child: &[u8], path: &str, zeros: bool) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    const RATIO: usize = 4096;
    let below = encode("vhdx", &[("block_size", "1M")], parent, b"parent");
    let mut file = encode("vhdx", &[("block_size", "1M")], child, b"child");
    let header = if below[64 << 10..][8..16] > below[128 << 10..][8..16] { 64 << 10 } else { 128 << 10 };
    let linkage = formats::Guid::from_mixed_endian(below[header + 32..header + 48].try_into().unwrap());

    let region = find(&file, b"metadata");
    let count = usize::from(u16::from_le_bytes(file[region + 10..region + 12].try_into().unwrap()));
    let pairs = [("parent_linkage", format!("{{{linkage}}}")), ("relative_path", path.to_owned())];
    let mut texts: Vec<u8> = Vec::new();
    let mut entries: Vec<u8> = Vec::new();
    for (key, value) in &pairs {
        let (key, value) = (utf16(key, u16::to_le_bytes), utf16(value, u16::to_le_bytes));
        let at = u32::try_from(20 + 12 * pairs.len() + texts.len()).unwrap();
        let (key_len, value_len) = (u16::try_from(key.len()).unwrap(), u16::try_from(value.len()).unwrap());
        entries.extend([at.to_le_bytes(), (at + u32::from(key_len)).to_le_bytes()].concat());
        entries.extend([key_len.to_le_bytes(), value_len.to_le_bytes()].concat());
        texts.extend([key, value].concat());
    }
    let kind = "b04aefb7-d19e-4a81-b789-25b8e9445913".parse::<formats::Guid>().unwrap().to_mixed_endian();
    let locator = [&kind[..], &[0, 0, 2, 0], &entries, &texts].concat();
    put(&mut file, region + (96 << 10), &locator);
    let item = "a8d35f2d-b30b-454d-abf7-d3d84834ab0c".parse::<formats::Guid>().unwrap().to_mixed_endian();
    let entry =
        [&item[..], &(96_u32 << 10).to_le_bytes(), &u32::try_from(locator.len()).unwrap().to_le_bytes(), &4_u32.to_le_bytes(), &[0; 4]];
    put(&mut file, region + 32 + 32 * count, &entry.concat());
    put(&mut file, region + 10, &u16::try_from(count + 1).unwrap().to_le_bytes());
    let parameters = "caa16737-fa36-4d43-b3b6-33f0aa44e76b".parse::<formats::Guid>().unwrap().to_mixed_endian();
    let at = region + find(&file[region..], &parameters);
    let parameters = region + usize::try_from(u32::from_le_bytes(file[at + 16..at + 20].try_into().unwrap())).unwrap();
    file[parameters + 4] |= 2;

    let known = "2dc27766-f623-4200-9d64-115e9bfd4a08".parse::<formats::Guid>().unwrap().to_mixed_endian();
    let row = (192 << 10) + find(&file[192 << 10..], &known);
    let bat = usize::try_from(u64::from_le_bytes(file[row + 16..row + 24].try_into().unwrap())).unwrap();
    let mut wanted = parent.to_vec();
    for block in 0..SIZE / BLOCK {
        let at = bat + 8 * block;
        match (block, file[at] & 7) {
            (2, 6) => file[at] = file[at] & !7 | 7,
            (5, 6) => wanted[5 * BLOCK..6 * BLOCK].copy_from_slice(&child[5 * BLOCK..6 * BLOCK]),
            (8, _) if zeros => {
                put(&mut file, at, &2_u64.to_le_bytes());
                wanted[8 * BLOCK..].fill(0);
            }
            _ => put(&mut file, at, &[0; 8]),
        }
    }
    // The bitmap of the chunk: of block 2 the sectors from 9 on are the child's.
    file.resize(file.len().next_multiple_of(BLOCK), 0);
    let end = units::bytes(file.len());
    put(&mut file, bat + 8 * RATIO, &(end | 6).to_le_bytes());
    let mut bitmap = vec![0; BLOCK];
    bitmap[2 * 2048 / 8..3 * 2048 / 8].fill(0xff);
    put(&mut bitmap, 2 * 2048 / 8, &[0, 0xfe]);
    file.extend(bitmap);
    wanted[2 * BLOCK + 9 * 512..3 * BLOCK].copy_from_slice(&child[2 * BLOCK + 9 * 512..3 * BLOCK]);
    (below, file, wanted)
}

/// The same as VDI, which knows its parent by identifiers alone.
fn vdi(parent: &[u8], child: &[u8]) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let below = encode("vdi", &[], parent, b"parent");
    let mut file = encode("vdi", &[], child, b"child");
    file[76] = 4;
    put(&mut file, 424, &below[392..408]);
    put(&mut file, 440, &below[408..424]);
    put(&mut file, 512 + 8 * 4, &0xffff_fffe_u32.to_le_bytes());
    let mut wanted = parent.to_vec();
    wanted[2 * BLOCK..3 * BLOCK].copy_from_slice(&child[2 * BLOCK..3 * BLOCK]);
    wanted[5 * BLOCK..6 * BLOCK].copy_from_slice(&child[5 * BLOCK..6 * BLOCK]);
    wanted[8 * BLOCK..].fill(0);
    (below, file, wanted)
}

/// Puts both on a desk, the parent as `base` with the format's ending.
fn desk(format: &str, below: &[u8], child: &[u8], wanted: &[u8]) -> Desk {
    let desk = Desk::new();
    for (name, bytes) in [(format!("base.{format}").as_str(), below), ("child", child), ("wanted", wanted)] {
        desk.put(name, &Blob::bytes(bytes));
    }
    desk
}

fn read(desk: &Desk, format: &str, follow: bool) -> Result<Vec<u8>, Error> {
    let beside = Beside(desk);
    let reading = Reading { parts: follow.then_some(&beside as &dyn formats::Parts), ..Reading::default() };
    formats::format(format).unwrap().decode(&desk.get("child"), &reading, &mut env(1))?.to_vec(u64::MAX)
}

/// Refused without its parent, read over it, and refused over another one.
#[track_caller]
fn judge(format: &str, (below, child, wanted): (Vec<u8>, Vec<u8>, Vec<u8>), script: &str) {
    let on = desk(format, &below, &child, &wanted);
    let error = read(&on, format, false).unwrap_err();
    assert!(error.kind() == Kind::Unsupported && error.hint_text().unwrap().contains("--follow"), "{error}");
    assert!(read(&on, format, true).unwrap() == wanted, "{format}");
    let paths = ["base", "child", "wanted"].map(|name| {
        let name = if name == "base" { format!("base.{format}") } else { name.to_owned() };
        on.path(&name).display().to_string()
    });
    python(script, format, &paths);

    let (parent, _) = contents();
    let other = encode(
        if format == "vhd" {
            "vhd"
        } else if format == "vdi" {
            "vdi"
        } else {
            "vhdx"
        },
        &[],
        &parent,
        b"other",
    );
    let error = read(&desk(format, &other, &child, &wanted), format, true).unwrap_err();
    assert!(error.kind() == Kind::BadInput && error.to_string().contains("parent"), "{error}");
    let alone = Desk::new();
    alone.put("child", &Blob::bytes(child));
    read(&alone, format, true).unwrap_err();
}

const LIBVHDI: &str = "import sys, pyvhdi
parent, child, wanted = sys.argv[2:]
below, file = pyvhdi.file(), pyvhdi.file()
below.open(parent)
file.open(child)
file.set_parent(below)
wanted = open(wanted, 'rb').read()
assert file.get_media_size() == len(wanted)
found = file.read_buffer_at_offset(len(wanted), 0)
assert found == wanted, next(i for i in range(len(wanted)) if found[i] != wanted[i])";

const DISSECT: &str = "import sys
from pathlib import Path
from dissect.hypervisor.disk import vdi, vhdx
kind, parent, child, wanted = sys.argv[1:]
file = vdi.VDI(open(child, 'rb'), vdi.VDI(open(parent, 'rb')).open()).open() if kind == 'vdi' else vhdx.VHDX(Path(child))
wanted = open(wanted, 'rb').read()
# Block by block: it takes what is behind a block for more of it.
for at in range(0, file.size, 1 << 20):
    assert file.read(1 << 20) == wanted[at:at + (1 << 20)], at";

#[test]
fn a_differencing_vhd_is_read_over_its_parent() {
    let (parent, child) = contents();
    judge("vhd", vhd(&parent, &child, ".\\base.vhd"), LIBVHDI);
    // The path of another machine; then the name alone.
    let (below, file, wanted) = vhd(&parent, &child, "..\\elsewhere\\base.vhd");
    assert!(read(&desk("vhd", &below, &file, &wanted), "vhd", true).unwrap() == wanted);
}

#[test]
fn a_differencing_vhdx_is_read_over_its_parent() {
    let (parent, child) = contents();
    // For libvhdi a block of zeros is the parent's, unlike for the standard and for dissect.
    judge("vhdx", vhdx(&parent, &child, ".\\base.vhdx", false), LIBVHDI);
    judge("vhdx", vhdx(&parent, &child, "base.vhdx", true), DISSECT);
}

#[test]
fn a_differencing_vdi_is_read_over_its_parent() {
    let (parent, child) = contents();
    judge("vdi", vdi(&parent, &child), DISSECT);
}
