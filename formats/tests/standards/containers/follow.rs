//! Disks in several files, which `qemu-img` made, and snapshots: read only when asked, and then as qemu reads them.

use crate::support::{Desk, env, identity, noise, run};
use formats::{Blob, Env, Error, FORMATS, Kind, Options, Parts, Reading, units};
use std::os::unix::ffi::OsStrExt;

/// Files of a desk, by the name that another file has for them.
#[derive(Debug)]
pub(crate) struct Beside<'a>(pub(crate) &'a Desk);

impl Parts for Beside<'_> {
    fn file(&self, name: &[u8], _: &mut Env) -> Result<Blob, Error> {
        self.0.read(name)
    }

    fn disk(&self, name: &[u8], format: Option<&str>, env: &mut Env) -> Result<Blob, Error> {
        let reading = Reading { parts: Some(self), ..Reading::default() };
        let file = self.0.read(name)?;
        let probed = || FORMATS.iter().copied().find(|format| format.probe(&file).unwrap());
        let format = format.map_or_else(probed, formats::format).unwrap();
        format.decode(&file, &reading, env)
    }

    fn near(&self, ending: &str) -> Result<Vec<Vec<u8>>, Error> {
        let names = std::fs::read_dir(self.0.path("")).unwrap().map(|entry| entry.unwrap().file_name().as_bytes().to_vec());
        Ok(names.filter(|name| name.ends_with(ending.as_bytes())).collect())
    }
}

fn decode(desk: &Desk, format: &str, reading: &Reading<'_>) -> Result<Blob, Error> {
    formats::format(format).unwrap().decode(&desk.get("image"), reading, &mut env(2))
}

/// Qemu runs in the desk, so that the names in its files are relative.
pub(crate) fn qemu(desk: &Desk, program: &str, arguments: &str) {
    let script = format!("cd \"$0\" && {program} {arguments}");
    run("sh", &[&"-c", &script, &desk.path("")]);
}

#[track_caller]
fn same(desk: &Desk, decoded: &Blob) {
    let decoded = desk.put("decoded", decoded);
    run("cmp", &[&decoded, &desk.path("wanted")]);
}

fn raw(desk: &Desk) {
    let mut disk = Blob::zeros(9 * units::MIB);
    disk.splice(0, &Blob::bytes(noise(200_000, 1)));
    disk.splice(3 * units::MIB, &Blob::bytes(vec![5; 700_000]));
    disk.splice(9 * units::MIB - 512, &Blob::bytes(noise(512, 2)));
    desk.put("raw", &disk);
}

/// Names what is missing, and reads it when it is given.
#[track_caller]
fn refused_then_read(desk: &Desk, format: &str, name: &str) {
    let error = decode(desk, format, &Reading::default()).unwrap_err();
    assert!(error.kind() == Kind::Unsupported && error.to_string().contains(name), "{error}");
    assert!(error.hint_text().unwrap().contains("--follow"));
    let beside = Beside(desk);
    let reading = Reading { parts: Some(&beside), ..Reading::default() };
    same(desk, &decode(desk, format, &reading).unwrap());
}

#[test]
fn a_chain_of_overlays_is_read_as_qemu_reads_it() {
    for options in ["compat=1.1", "extended_l2=on", "cluster_size=512"] {
        let desk = Desk::new();
        raw(&desk);
        qemu(&desk, "qemu-img", "convert -f raw -O qcow2 raw base");
        // The one in the middle is shorter, the last is longer again: between them are zeros.
        qemu(&desk, "qemu-img", &format!("create -q -f qcow2 -o {options} -F qcow2 -b base middle 8M"));
        qemu(&desk, "qemu-io", "-f qcow2 -c 'write -P 1 100k 3k' -c 'write -z 3M 64k' -c 'discard 3200k 64k' middle");
        qemu(&desk, "qemu-img", "create -q -f qcow2 -F qcow2 -b middle image 10M");
        qemu(&desk, "qemu-io", "-f qcow2 -c 'write -P 2 7M 100k' -c 'write -z 0 64k' image");
        qemu(&desk, "qemu-img", "convert -f qcow2 -O raw image wanted");
        refused_then_read(&desk, "qcow2", "middle");
    }
}

#[test]
fn an_overlay_of_qed_is_read_as_qemu_reads_it() {
    let desk = Desk::new();
    raw(&desk);
    qemu(&desk, "qemu-img", "convert -f raw -O qcow2 raw base");
    qemu(&desk, "qemu-img", "create -q -f qed -F qcow2 -b base middle 8M");
    qemu(&desk, "qemu-io", "-f qed -c 'write -P 1 100k 3k' -c 'write -z 3M 64k' middle");
    qemu(&desk, "qemu-img", "create -q -f qed -F qed -b middle image 10M");
    qemu(&desk, "qemu-io", "-f qed -c 'write -P 2 7M 100k' -c 'write -z 0 64k' image");
    qemu(&desk, "qemu-img", "convert -f qed -O raw image wanted");
    refused_then_read(&desk, "qed", "middle");
    // What is said to be raw is never looked into.
    qemu(&desk, "qemu-img", "create -q -f qed -F raw -b base image 9M");
    qemu(&desk, "qemu-img", "convert -f qed -O raw image wanted");
    refused_then_read(&desk, "qed", "base");
}

#[test]
fn data_in_another_file_is_read_as_qemu_reads_it() {
    for options in ["data_file=data", "data_file=data,data_file_raw=on,preallocation=metadata"] {
        let desk = Desk::new();
        raw(&desk);
        qemu(&desk, "qemu-img", &format!("create -q -f qcow2 -o {options} image 9M"));
        qemu(&desk, "qemu-img", "convert -n -f raw -O qcow2 raw image");
        qemu(&desk, "qemu-img", "convert -f qcow2 -O raw image wanted");
        refused_then_read(&desk, "qcow2", "data");
    }
}

#[test]
fn split_and_flat_vmdks_are_read_as_qemu_reads_them() {
    for subformat in ["monolithicFlat", "twoGbMaxExtentFlat", "twoGbMaxExtentSparse"] {
        let desk = Desk::new();
        raw(&desk);
        // Past the 2 GB of one extent, and most of it holes.
        qemu(&desk, "qemu-img", "resize -q -f raw raw 2100M");
        qemu(&desk, "qemu-io", "-f raw -c 'write -P 6 2080M 1M' raw");
        qemu(&desk, "qemu-img", &format!("convert -f raw -O vmdk -o subformat={subformat} raw image"));
        let error = decode(&desk, "vmdk", &Reading::default()).unwrap_err();
        assert!(error.to_string().contains(subformat), "{error}");
        let beside = Beside(&desk);
        let disk = decode(&desk, "vmdk", &Reading { parts: Some(&beside), ..Reading::default() }).unwrap();
        assert_eq!(disk.len(), 2100 * units::MIB, "{subformat}");
        let near = |at: u64| desk.put("near", &disk.slice(at..at + 20 * units::MIB));
        for at in [0, 2040, 2080] {
            let ours = near(at * units::MIB);
            qemu(&desk, "qemu-img", &format!("dd -f vmdk -O raw if=image of=wanted bs=1M skip={at} count={}", at + 20));
            run("cmp", &[&ours, &desk.path("wanted")]);
        }
    }
}

#[test]
fn split_and_flat_vmdks_of_ours_are_read_by_qemu() {
    for subformat in ["monolithicFlat", "twoGbMaxExtentFlat", "twoGbMaxExtentSparse"] {
        let desk = Desk::new();
        let mut disk = Blob::zeros(2100 * units::MIB);
        disk.splice(0, &Blob::bytes(noise(200_000, 1)));
        disk.splice(2047 * units::MIB - 100_000, &Blob::bytes(noise(200_000, 2)));
        disk.splice(2100 * units::MIB - 3, &Blob::bytes(*b"end"));
        let vmdk = formats::format("vmdk").unwrap();
        let options = Options::parse(vmdk.options(), [("subformat", subformat)]).unwrap().named(Some("image".to_owned()));
        let plan = vmdk.plan(&options).unwrap();
        desk.put("image", &plan.encode(&disk, &identity(), &mut env(2)).unwrap());
        for (name, extent) in plan.extents(&disk) {
            desk.put(&name, &extent);
        }
        desk.put("wanted", &disk);
        run("qemu-img", &[&"compare", &"-f", &"vmdk", &"-F", &"raw", &desk.path("image"), &desk.path("wanted")]);
        let beside = Beside(&desk);
        let back = decode(&desk, "vmdk", &Reading { parts: Some(&beside), ..Reading::default() }).unwrap();
        assert!(formats::compare::same(&back, &disk).unwrap(), "{subformat}");
        if subformat.ends_with("Sparse") {
            run("qemu-img", &[&"check", &"-f", &"vmdk", &desk.path("image")]);
        }
    }
}

#[test]
fn snapshots_are_read_by_name_and_by_number() {
    for options in ["compat=1.1", "compat=0.10", "extended_l2=on"] {
        let desk = Desk::new();
        raw(&desk);
        qemu(&desk, "qemu-img", &format!("convert -c -f raw -O qcow2 -o {options} raw image"));
        for (name, write) in [("first", "write -P 7 1M 2M"), ("second", "write -P 8 2M 2M"), ("2", "write -z 0 64k")] {
            qemu(&desk, "qemu-img", &format!("snapshot -c {name} image"));
            qemu(&desk, "qemu-io", &format!("-f qcow2 -c '{write}' image"));
        }
        // The third is called 2, and names go before numbers.
        for (asked, name) in [("first", "first"), ("1", "first"), ("second", "second"), ("2", "2"), ("3", "2")] {
            qemu(&desk, "qemu-img", &format!("convert -f qcow2 -O raw -l snapshot.name={name} image wanted"));
            same(&desk, &decode(&desk, "qcow2", &Reading { snapshot: Some(asked), ..Reading::default() }).unwrap());
        }
        let error = decode(&desk, "qcow2", &Reading { snapshot: Some("none"), ..Reading::default() }).unwrap_err();
        assert!(error.to_string().contains("'first', 'second', '2'"), "{error}");
    }
}

#[test]
fn what_was_not_closed_is_read_only_by_force() {
    for (format, options) in [("qcow2", "-o lazy_refcounts=on"), ("qed", ""), ("parallels", "")] {
        let desk = Desk::new();
        raw(&desk);
        qemu(&desk, "qemu-img", &format!("convert -f raw -O {format} {options} raw image"));
        // Qemu dies with tables that may not have been written.
        qemu(&desk, "qemu-io", &format!("-f {format} -c 'write -P 4 5M 1M' -c flush -c 'abort' image 2>/dev/null; true"));
        assert!(formats::format(format).unwrap().info(&desk.get("image")).unwrap().dirty, "{format}");
        let error = decode(&desk, format, &Reading::default()).unwrap_err();
        assert!(error.to_string().contains("not closed properly") && error.hint_text().unwrap().contains("--force"), "{error}");
        let decoded = decode(&desk, format, &Reading { force: true, ..Reading::default() }).unwrap();
        qemu(&desk, "qemu-img", &format!("convert -f {format} -O raw image wanted"));
        same(&desk, &decoded);
    }
}

#[test]
fn a_snapshot_is_refused_where_there_is_none() {
    let file = Blob::zeros(units::MIB);
    for format in FORMATS.iter().filter(|format| format.name() != "qcow2") {
        let error = format.decode(&file, &Reading { snapshot: Some("x"), ..Reading::default() }, &mut env(1)).unwrap_err();
        assert!(error.kind() == Kind::Unsupported && error.to_string().contains("'x'"), "{error}");
    }
}

/// A descriptor of a Windows host names its extents in the code page of that host. They are here under the same bytes, or, copied by what knows
/// text, under that text.
#[test]
fn extents_are_found_by_their_bytes_and_by_the_text_that_they_are() {
    let names: [(&str, &[u8], &str); 3] = [
        ("windows-1252", b"Gr\xf6\xdfe", "Größe"),
        ("GBK", b"\xd0\xe9\xc4\xe2\xbb\xfa", "虚拟机"),
        ("Shift_JIS", b"\x83f\x83B\x83X\x83N", "ディスク"),
    ];
    for (encoding, bytes, text) in names {
        for here in [bytes, text.as_bytes()] {
            let desk = Desk::new();
            raw(&desk);
            qemu(&desk, "qemu-img", "convert -f raw -O vmdk -o subformat=monolithicFlat raw image");
            std::fs::copy(desk.path("raw"), desk.path("wanted")).unwrap();
            let descriptor = desk.get("image").to_vec(u64::MAX).unwrap();
            let quoted = [b"\"", bytes, b"\""].concat();
            let at = descriptor.windows(12).position(|word| word == b"\"image-flat\"").unwrap();
            let renamed = [&descriptor[..at], &quoted, &descriptor[at + 12..]].concat();
            let line = format!("# Disk DescriptorFile\nencoding=\"{encoding}\"\n");
            let renamed = [line.as_bytes(), renamed.strip_prefix(b"# Disk DescriptorFile\n").unwrap()].concat();
            desk.put("image", &Blob::bytes(renamed));
            std::fs::rename(desk.path("image-flat"), desk.path("").join(std::ffi::OsStr::from_bytes(here))).unwrap();
            let beside = Beside(&desk);
            let disk = decode(&desk, "vmdk", &Reading { parts: Some(&beside), ..Reading::default() }).unwrap();
            same(&desk, &disk);
            std::fs::remove_file(desk.path("").join(std::ffi::OsStr::from_bytes(here))).unwrap();
            let error = decode(&desk, "vmdk", &Reading { parts: Some(&beside), ..Reading::default() }).unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        }
    }
}
