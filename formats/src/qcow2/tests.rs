use super::*;
use crate::{
    Blob, Error,
    testing::{self, env},
    units,
};

fn encode(disk: &Blob, options: &[(&str, &str)]) -> Blob {
    testing::encode(&Qcow2, disk, options)
}

fn decode(file: &Blob) -> Result<Blob> {
    testing::decode(&Qcow2, file)
}

fn sample() -> Blob {
    let mut disk = Blob::zeros(3 * MIB);
    disk.splice(70_000, &Blob::bytes(b"text that shrinks ".repeat(500)));
    disk.splice(3 * MIB - 3, &Blob::bytes(*b"end"));
    disk
}

fn overwrite(file: &Blob, at: usize, with: &[u8]) -> Blob {
    let mut bytes = file.to_vec(u64::MAX).unwrap();
    bytes[at..at + with.len()].copy_from_slice(with);
    Blob::from(bytes)
}

#[test]
fn every_option_gives_the_same_disk_back() {
    for cluster_size in ["512", "64K", "2M"] {
        for options in [&[][..], &[("compressed", "on")], &[("compressed", "on"), ("compression_type", "zstd")], &[("compat", "0.10")]] {
            let file = encode(&sample(), &[options, &[("cluster_size", cluster_size)]].concat());
            assert!(Qcow2.probe(&file).unwrap());
            assert!(decode(&file).unwrap().to_vec(4 * MIB).unwrap() == sample().to_vec(4 * MIB).unwrap(), "{options:?} {cluster_size}");
        }
    }
}

#[test]
fn plain_clusters_refer_to_the_disk_and_the_rest_costs_nothing() {
    let mut disk = Blob::zeros(10 * units::TIB);
    disk.splice(5 * units::TIB, &Blob::bytes(vec![7; 65_536]));
    let file = encode(&disk, &[]);
    // Header, refcounts, L1, one L2 table, one cluster.
    assert!(file.len() < MIB, "{}", file.len());
    assert!(file.data_len() < 128 * 1024 + 65_536, "{}", file.data_len());
}

#[test]
fn what_we_do_not_read_is_refused_by_name() {
    let file = encode(&sample(), &[]);
    let refused = |at, with: &[u8]| decode(&overwrite(&file, at, with)).unwrap_err().to_string();
    assert!(refused(4, &[0, 0, 0, 4]).contains("version 4"));
    assert!(refused(79, &[2]).contains("marked corrupt"));
    assert!(refused(79, &[4]).contains("in another file"));
    assert!(refused(79, &[32]).contains("unknown incompatible features 0x20"));
    assert!(refused(35, &[1]).contains("encrypted"));
    assert!(refused(23, &[30]).contains("cluster_bits is 30"));
    assert!(refused(104, &[9]).contains("compression type 9"));
    assert!(refused(36, &[0xff; 4]).contains("L1 table"));
    let named = overwrite(&overwrite(&file, 8, &[0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 5]), 512, b"/evil");
    assert!(decode(&named).unwrap_err().to_string().contains("overlay of '/evil'"));
    let dirty = overwrite(&file, 79, &[1]);
    assert!(decode(&dirty).unwrap_err().to_string().contains("marked dirty"));
    Qcow2.decode(&dirty, &Reading { force: true, ..Reading::default() }, &mut env()).unwrap();
}

#[test]
fn entries_that_leave_the_file_or_use_it_twice_are_refused() -> Result<(), Error> {
    let file = encode(&sample(), &[]);
    let l1 = u64::from_be_bytes(file.read_array(40)?);
    let l2 = u64::from_be_bytes(file.read_array(l1)?) & entry::OFFSET;
    let at = |offset: u64| units::index(offset);
    let far = (1_u64 << 40 | entry::COPIED).to_be_bytes();
    assert!(decode(&overwrite(&file, at(l1), &far)).unwrap_err().to_string().contains("past the end"));
    assert!(decode(&overwrite(&file, at(l2), &far)).unwrap_err().to_string().contains("cluster of byte 0"));
    // Cluster 0 of the disk, absent so far, gets what cluster 1 has.
    let again = file.read_array::<8>(l2 + 8)?;
    assert!(decode(&overwrite(&file, at(l2), &again)).unwrap_err().to_string().contains("two structures"));
    Ok(())
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    for options in [
        &[("compat", "0.10"), ("lazy_refcounts", "on")][..],
        &[("compat", "0.10"), ("compression_type", "zstd")],
        &[("compression_level", "12")],
    ] {
        let options = Options::parse(Qcow2.options(), options.iter().copied()).unwrap();
        assert!(Qcow2.plan(&options).is_err());
    }
}
