//! From the first sector to the kernel's bytes, the way the BIOS loader goes.

use bootfs::choose::{EntryFile, choose};
use bootfs::{Disk, Gpt, Volume, gpt};

use crate::support::{Image, Scratch, at, pattern, run};

#[test]
fn a_kernel_is_found_and_read_from_a_whole_disk() {
    let scratch = Scratch::new();
    let image = scratch.zeros("disk.img", 64 << 20);
    run("sgdisk", &[&"-n1:2048:0", &"-t1:ef00", &image]);
    run("mkfs.vfat", &[&"-F", &"32", &"--offset", &"2048", &image, &"64000"]);
    let esp = at(&image, 1 << 20);
    let kernel = pattern(4_068_352, 9);
    run("mmd", &[&"-i", &esp, &"::/loader", &"::/loader/entries", &"::/moby"]);
    run("mcopy", &[&"-i", &esp, &scratch.file("kernel", &kernel), &"::/moby/vmlinuz-6.1"]);
    let entry = b"title moby\nlinux /moby/vmlinuz-6.1\noptions console=ttyS0\n";
    run("mcopy", &[&"-i", &esp, &scratch.file("moby.conf", entry), &"::/loader/entries/"]);

    let mut disk = Disk::new(Image::open(&image, 512)).unwrap();
    let partition = Gpt::read(&mut disk).unwrap().find(&mut disk, &gpt::ESP).unwrap();
    let mut volume = Volume::open(disk, partition.start, partition.len).unwrap();
    let (mut best, mut spare) = (EntryFile::new(), EntryFile::new());
    choose(&mut volume, "x64", &mut best, &mut spare).unwrap();
    let mut file = volume.file(best.entry().unwrap().linux().unwrap()).unwrap();
    let mut bytes = vec![0; file.size() as usize];
    volume.read(&mut file, 0, &mut bytes).unwrap();
    assert!(bytes == kernel);
}
