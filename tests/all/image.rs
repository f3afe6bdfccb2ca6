//! Tagged tars as users have them become images.

use crate::support::tagged_tar::{big_rootfs, odd_rootfs, tagged_tar, write};
use formats::{Blob, blob::Backing, tree::Content};
use moby::image::tar;
use std::fs::File;

const KERNEL: &[u8] = b"not much of a kernel";

#[test]
fn nothing_of_an_odd_root_file_system_is_lost() {
    let rootfs = odd_rootfs();
    let path = crate::support::scratch("odd-image").join("odd.tar");
    write(&tagged_tar(&Blob::bytes(KERNEL), "console=ttyS0 quiet\n", &rootfs), &path).unwrap();
    let len = path.metadata().unwrap().len();
    let archive = Blob::file(Backing::from(File::open(&path).unwrap()), 0, len);
    let image = tar::read(&archive).unwrap();
    assert_eq!(image.kernel.to_vec(99).unwrap(), KERNEL);
    assert_eq!(image.cmdline.as_str(), "console=ttyS0 quiet");
    for name in &rootfs.names {
        let (before, after) = (&rootfs.inodes[name.inode], image.rootfs.get(&name.path).unwrap());
        assert_eq!((before.mode, before.uid, before.gid), (after.mode, after.uid, after.gid));
        assert_eq!((before.mtime, before.mtime_nanos), (after.mtime, after.mtime_nanos));
        assert_eq!((&before.xattrs, &before.origin), (&after.xattrs, &after.origin));
        match (&before.content, &after.content) {
            (Content::File(before), Content::File(after)) => assert_eq!(before.to_vec(99).unwrap(), after.to_vec(99).unwrap()),
            (before, after) => assert_eq!(format!("{before:?}"), format!("{after:?}")),
        }
    }
    let Content::File(release) = &image.rootfs.get(b"etc/os-release").unwrap().content else { panic!("it is a file") };
    assert_eq!(release.to_vec(99).unwrap(), b"NAME=second");
    assert_eq!(image.rootfs.name_counts().iter().filter(|count| **count == 2).count(), 1);
    let sources: Vec<_> = image.components().into_keys().flatten().map(|origin| origin.source.clone()).collect();
    assert_eq!(sources, ["linuxkit/init:v1.0", "linuxkit/kernel:v1.0", "linuxkit/service:v1.0"]);
}

#[test]
fn a_big_image_is_ranges_of_its_tar() {
    let archive = tagged_tar(&Blob::bytes(KERNEL), "", &big_rootfs(1_500_000_000, 500_000));
    assert!(archive.len() > 1_500_000_000);
    let image = tar::read(&archive).unwrap();
    let (_, service) = image.components().into_iter().find(|(origin, _)| origin.as_ref().unwrap().source.contains("service")).unwrap();
    assert_eq!((service.files, service.bytes), (3000, 1_500_000_000));
}
