//! Disks to try, files to hold them, and foreign programs to run.

use formats::{Blob, Env, Format, Identity, Ids, OptionSpec, Options, Plan, Reading, Result, blob::Backing, units};
use std::{
    ffi::OsStr,
    fs::File,
    os::unix::{ffi::OsStrExt, fs::FileExt},
    path::{Path, PathBuf},
    process::Command,
};

/// An environment whose time never changes.
pub(crate) fn env(threads: usize) -> Env {
    Env::scratch(threads)
}

/// Identifiers that never change.
pub(crate) fn identity() -> Identity {
    Ids::from_seed(b"containers").into()
}

/// The disk in a file of a format.
pub(crate) fn decode(format: &dyn Format, file: &Blob, threads: usize) -> Result<Blob> {
    format.decode(file, &Reading::default(), &mut env(threads))
}

/// A format with options, as a user would ask for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    /// Our name of the format.
    pub(crate) format: &'static str,
    /// Our options.
    pub(crate) options: &'static [(&'static str, &'static str)],
    /// What `qemu-img` calls the format.
    pub(crate) qemu: &'static str,
}

impl Case {
    pub(crate) fn format(&self) -> &'static dyn Format {
        formats::format(self.format).unwrap_or_else(|| panic!("no format {}", self.format))
    }

    pub(crate) fn options(&self) -> Options {
        let specs: &'static [OptionSpec] = self.format().options();
        Options::parse(specs, self.options.iter().copied()).unwrap()
    }

    pub(crate) fn plan(&self) -> Box<dyn Plan> {
        self.format().plan(&self.options()).unwrap()
    }

    pub(crate) fn encode(&self, disk: &Blob, threads: usize) -> Blob {
        self.plan().encode(disk, &identity(), &mut env(threads)).unwrap()
    }

    pub(crate) fn decode(&self, file: &Blob, threads: usize) -> Result<Blob> {
        decode(self.format(), file, threads)
    }
}

/// Every way in which we write a container.
pub(crate) const CASES: &[Case] = &[
    Case { format: "vhd", options: &[], qemu: "vpc" },
    Case { format: "vhd", options: &[("subformat", "dynamic")], qemu: "vpc" },
    Case { format: "vhdx", options: &[], qemu: "vhdx" },
    Case { format: "vhdx", options: &[("block_size", "32M")], qemu: "vhdx" },
    Case { format: "vmdk", options: &[], qemu: "vmdk" },
    Case { format: "vmdk", options: &[("subformat", "monolithicSparse")], qemu: "vmdk" },
    Case { format: "vdi", options: &[], qemu: "vdi" },
    Case { format: "qcow2", options: &[], qemu: "qcow2" },
    Case { format: "qcow2", options: &[("compressed", "on")], qemu: "qcow2" },
    Case { format: "qcow2", options: &[("compressed", "on"), ("compression_type", "zstd")], qemu: "qcow2" },
    Case { format: "qcow2", options: &[("cluster_size", "512"), ("compressed", "on"), ("lazy_refcounts", "on")], qemu: "qcow2" },
    Case { format: "qcow2", options: &[("cluster_size", "2M"), ("compressed", "on"), ("compression_level", "9")], qemu: "qcow2" },
    Case { format: "qcow2", options: &[("cluster_size", "4K"), ("compat", "0.10")], qemu: "qcow2" },
];

/// Bytes that do not compress and never change.
pub(crate) fn noise(len: usize, mut seed: u64) -> Vec<u8> {
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed.to_le_bytes()[3]
    };
    (0..len).map(|_| next()).collect()
}

/// Disks whose sizes are multiples of `unit`, with a name each.
pub(crate) fn disks(unit: u64) -> Vec<(&'static str, Blob)> {
    let with = |len: u64, pieces: &[(u64, Vec<u8>)]| {
        let mut disk = Blob::zeros(len);
        for (at, bytes) in pieces {
            disk.splice(*at, &Blob::bytes(bytes.clone()));
        }
        disk
    };
    let odd = (5 * units::MIB + 3 * unit).next_multiple_of(unit);
    let text = b"all work and no play makes a dull disk\n".repeat(40_000);
    let scattered: Vec<_> = (0..40).map(|i| (i * i * 20_011, noise(700, i + 1))).collect();
    vec![
        ("empty", Blob::zeros(4 * units::MIB)),
        ("smallest", with(unit, &[(0, vec![1])])),
        ("one byte at each end", with(odd, &[(0, vec![1]), (odd - 1, vec![2])])),
        ("full", with(odd, &[(0, noise(units::index(odd), 7))])),
        ("scattered", with(31 * units::MIB, &scattered)),
        ("zeros that are data", with(8 * units::MIB, &[(units::MIB, vec![0; 3 << 20]), (5 * units::MIB, vec![9; 70_000])])),
        ("text across blocks", with(66 * units::MIB, &[(32 * units::MIB - 777, text.clone()), (64 * units::MIB - 5, text)])),
    ]
}

/// A directory of files that goes away.
pub(crate) struct Desk(tempfile::TempDir);

impl Desk {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a blob as a sparse file.
    pub(crate) fn put(&self, name: &str, blob: &Blob) -> PathBuf {
        let path = self.path(name);
        let file = File::create(&path).unwrap();
        file.set_len(blob.len()).unwrap();
        for extent in blob.extents() {
            let mut at = extent.start;
            while at < extent.end() {
                let mut piece = vec![0; units::index((extent.end() - at).min(units::MIB))];
                blob.read_at(at, &mut piece).unwrap();
                file.write_all_at(&piece, at).unwrap();
                at += units::bytes(piece.len());
            }
        }
        path
    }

    /// A file as a blob, without looking for holes.
    pub(crate) fn get(&self, name: &str) -> Blob {
        self.read(name.as_bytes()).unwrap()
    }

    /// The same by the bytes of a name, which may be missing.
    pub(crate) fn read(&self, name: &[u8]) -> Result<Blob> {
        let file = File::open(self.0.path().join(OsStr::from_bytes(name)))?;
        let len = file.metadata()?.len();
        Ok(Blob::file(Backing::from(file), 0, len))
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Desk").field(&self.0.path()).finish()
    }
}

/// Runs a program that must succeed, and gives what it printed.
pub(crate) fn run(program: &str, args: &[&dyn AsArg]) -> String {
    let mut command = Command::new(program);
    command.args(args.iter().map(|arg| arg.as_arg()));
    let output = command.output().unwrap_or_else(|error| panic!("{program}: {error}; tests/setup.sh installs what the tests need"));
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    text
}

/// Runs Python with the packages that `tests/setup.sh` installs.
pub(crate) fn python(script: &str, first: &str, more: &[String]) {
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/../.cache/oracles/bin/python3");
    let mut all: Vec<&dyn AsArg> = vec![&"-c", &script, &first];
    all.extend(more.iter().map(|arg| arg as &dyn AsArg));
    run(python, &all);
}

/// Anything that is an argument of a program.
pub(crate) trait AsArg {
    fn as_arg(&self) -> &std::ffi::OsStr;
}

impl AsArg for &str {
    fn as_arg(&self) -> &std::ffi::OsStr {
        (*self).as_ref()
    }
}

impl AsArg for String {
    fn as_arg(&self) -> &std::ffi::OsStr {
        self.as_str().as_ref()
    }
}

impl AsArg for PathBuf {
    fn as_arg(&self) -> &std::ffi::OsStr {
        self.as_os_str()
    }
}

impl AsArg for &Path {
    fn as_arg(&self) -> &std::ffi::OsStr {
        self.as_os_str()
    }
}
