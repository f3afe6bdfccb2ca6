use super::*;
use crate::units::{GIB, MIB, SECTOR};

fn volume(files: Vec<File>) -> Volume {
    Volume {
        label: "MOBY".to_owned(),
        serial: 0x1234_abcd,
        time: Timestamp(1_700_000_000),
        sector: SECTOR,
        hidden_sectors: 2048,
        fat32_only: true,
        cluster_min: SECTOR,
        files,
        directories: Vec::new(),
    }
}

fn geometry(size: u64, fat32_only: bool, cluster_min: u64) -> Option<Geometry> {
    let volume = Volume { fat32_only, cluster_min, ..volume(Vec::new()) };
    Geometry::new(size, &volume, volume.directories().unwrap().fixed_root_len(volume.sector))
}

#[test]
fn the_count_of_clusters_makes_the_width_beyond_doubt() {
    for mib in (1..600).chain((600..70_000).step_by(97)) {
        for cluster_min in [512, 2048] {
            let any = geometry(mib * MIB, false, cluster_min).unwrap();
            let range = match any.width {
                Width::Fat12 => 0..4085 - 15,
                Width::Fat16 => 4085 + 16..65_525 - 15,
                Width::Fat32 => 65_525 + 16..0x0fff_fff5,
            };
            assert!(range.contains(&any.clusters), "{mib} MiB: {any:?}");
            assert!(
                any.fat_len * 8
                    >= (u64::from(any.clusters) + 2)
                        * u64::from(match any.width {
                            Width::Fat12 => 12_u32,
                            Width::Fat16 => 16,
                            Width::Fat32 => 32,
                        })
            );
            assert!(any.data_at.is_multiple_of(4096) && any.cluster >= cluster_min);
            assert!(any.data_at + u64::from(any.clusters) * any.cluster <= any.size);
        }
    }
}

#[test]
fn fat32_begins_at_34_mib_and_ends_at_2_tib() {
    assert!(geometry(32 * MIB, true, 512).is_none());
    assert_eq!(geometry(34 * MIB, true, 512).unwrap().cluster, 512);
    assert_eq!(geometry(261 * MIB, true, 512).unwrap().cluster, 4096);
    assert!(geometry(2048 * GIB - 512, true, 512).is_some());
    assert!(geometry(2048 * GIB, true, 512).is_none());
    assert!(geometry(34 * MIB + 1, true, 512).is_none());
}

#[test]
fn a_size_that_is_named_is_enough() {
    for len in [0, 1, 100 * MIB, 253 * MIB, 259 * MIB, 4 * GIB - 1] {
        for fat32_only in [true, false] {
            for cluster_min in [512, 2048, 32768] {
                for copies in [1_u64, 3] {
                    let files = (0..copies).map(|i| File::new(format!("f{i}"), Blob::zeros(len))).collect();
                    let volume = Volume { fat32_only, cluster_min, ..volume(files) };
                    let size = volume.size_for(0).unwrap();
                    volume.write(size).unwrap();
                    let larger = volume.size_for(10 * MIB).unwrap();
                    let written = volume.write(larger).unwrap();
                    assert!(larger - written.files.last().unwrap().end >= 10 * MIB);
                    let slack = size.saturating_sub(copies * len);
                    assert!(
                        slack <= size / 20 + (if fat32_only { 66_000 * cluster_min.max(512) } else { 5 * MIB }),
                        "{size} for {copies} * {len}"
                    );
                }
            }
        }
    }
}

#[test]
fn every_structure_is_whole_sectors() {
    for sector in [512, 1024, 2048, 4096] {
        for (size, fat32_only) in [(4 * MIB, false), (40 * MIB, false), (300 * MIB, true), (40 * GIB, true)] {
            let volume = Volume { sector, fat32_only, ..volume(Vec::new()) };
            let geometry = Geometry::new(size, &volume, volume.directories().unwrap().fixed_root_len(sector)).unwrap();
            let Geometry { cluster, fat_at, fat_len, root_len, data_at, .. } = geometry;
            assert!([cluster, fat_at, fat_len, root_len, data_at].iter().all(|at| at.is_multiple_of(sector)), "{sector}: {geometry:?}");
            let boot = volume.write(size).unwrap().volume;
            assert_eq!(u64::from(u16::from_le_bytes(boot.read_array(11).unwrap())), sector);
            if fat32_only {
                assert_eq!(boot.read_array(sector).unwrap(), *b"RRaA");
                assert_eq!(boot.read_array::<512>(6 * sector).unwrap(), boot.read_array::<512>(0).unwrap());
            }
        }
    }
}

#[test]
fn too_small_a_size_is_refused_with_one_that_is_not() {
    let volume = volume(vec![File::new("f", Blob::zeros(50 * MIB))]);
    let error = volume.write(40 * MIB).unwrap_err().to_string();
    assert_eq!(error, "a FAT volume of 40 MiB is too small, 51 MiB are needed");
    volume.write(51 * MIB).unwrap();
    assert!(volume.write(50 * MIB).is_err());
}

#[test]
fn files_that_fat_cannot_hold_are_refused_by_name() {
    let refused = |files: &[(&str, u64)]| {
        let files = files.iter().map(|(path, len)| File::new(*path, Blob::zeros(*len))).collect();
        volume(files).write(40 * MIB).unwrap_err().to_string()
    };
    assert_eq!(refused(&[("moby/initrd.img", 4 * GIB)]), "moby/initrd.img: the file is 4 GiB, FAT holds less than 4 GiB");
    assert!(refused(&[("a/b", 1), ("A/B", 1)]).starts_with("A/B: the path stands twice"));
    assert!(refused(&[("a", 1), ("a/b", 1)]).contains("'a' is a file and a directory"));
    assert!(refused(&[("a//b", 1)]).contains("a//b: the name ''"));
}

#[test]
fn files_are_where_the_writer_says_and_in_one_piece() {
    let body = |n: u8, len: usize| Blob::from(vec![n; len]);
    for (fat32_only, size) in [(true, 40 * MIB), (false, 2 * MIB), (false, 20 * MIB)] {
        let files = vec![File::new("/a/one", body(1, 1000)), File::new("empty", Blob::default()), File::new("two", body(2, 5000))];
        let volume = Volume { fat32_only, cluster_min: 2048, ..volume(files) };
        // FAT32 with clusters of 2048 bytes needs more.
        let written = volume.write(if fat32_only { 140 * MIB } else { size }).unwrap();
        for (file, range) in volume.files.iter().zip(&written.files) {
            assert!(range.start.is_multiple_of(2048));
            assert_eq!(written.volume.slice(range.clone()).to_vec(MIB).unwrap(), file.body.to_vec(MIB).unwrap());
        }
    }
}

#[test]
fn any_name_makes_a_label() {
    assert_eq!([label_of("my data-2, ünï"), label_of("")], ["MY DATA_2_ ", ""]);
    let volume = Volume { label: label_of("x\u{202e}"), directories: vec!["a/b".to_owned(), "A".to_owned()], ..volume(Vec::new()) };
    assert!(Volume { fat32_only: false, ..volume.clone() }.write(MIB).is_ok());
    let files = vec![File::new("a", Blob::default())];
    assert!(Volume { files, ..volume }.write(40 * MIB).unwrap_err().to_string().contains("is a file and a directory"));
}

#[test]
fn memory_and_time_do_not_grow_with_free_space() {
    let written = volume(vec![File::new("f", Blob::zeros(GIB))]).write(2000 * GIB).unwrap();
    assert!(written.volume.data_len() < MIB, "{}", written.volume.data_len());
}
