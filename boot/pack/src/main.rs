//! Builds the loaders into `boot/prebuilt`, or checks that what is there is what the sources give.
//!
//! ```text
//!  cargo run -p moby-pack              builds and writes boot/prebuilt
//!  cargo run -p moby-pack -- --check   builds a copy of the sources elsewhere and compares byte for byte
//! ```
//!
//! One route, so that everybody gets the same bytes: the toolchain of `rust-toolchain.toml`, the profile `loader`, no flags
//! from the environment or from cargo's configuration. A loader is one function in [`ARTIFACTS`]' table.

mod sha256;
mod uninitialised;

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use bootfs::Crc32;
use bootfs::stage1::{self, STAGE2_ALIGN, STAGE2_MAX};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A file of `boot/prebuilt` and the function that makes its bytes.
struct Artifact {
    file: &'static str,
    make: fn(&Sources) -> Result<Vec<u8>>,
}

/// Every loader that is committed.
const ARTIFACTS: &[Artifact] = &[
    Artifact { file: "bootaa64.efi", make: bootaa64_efi },
    Artifact { file: "bootx64.efi", make: bootx64_efi },
    Artifact { file: "stage1.bin", make: stage1_bin },
    Artifact { file: "stage2.bin", make: stage2_bin },
    Artifact { file: "testkernel.bzimage", make: testkernel_bzimage },
];

/// The boot sector, as the linker made it.
fn stage1_bin(sources: &Sources) -> Result<Vec<u8>> {
    let sector = sources.build("moby-bios", "stage1", "x86_64-unknown-none")?;
    match sector.len() {
        512 => Ok(sector),
        len => Err(format!("stage1 is {len} bytes, not 512").into()),
    }
}

/// Stage 2, filled up to whole sectors of any device and sealed with its CRC-32 in the last four bytes.
fn stage2_bin(sources: &Sources) -> Result<Vec<u8>> {
    let mut image = sources.build("moby-bios", "stage2", "x86_64-unknown-none")?;
    let len = (image.len() + 4).next_multiple_of(STAGE2_ALIGN);
    image.resize(len - 4, 0);
    let mut crc = Crc32::new();
    crc.update(&image);
    image.extend(crc.value().to_le_bytes());
    if stage1::is_stage2(&image) {
        Ok(image)
    } else {
        Err(format!("stage2 is {len} bytes, not at most {STAGE2_MAX}, or has no magic").into())
    }
}

/// The EFI loader for AArch64.
fn bootaa64_efi(sources: &Sources) -> Result<Vec<u8>> {
    sources.build("moby-boot-efi", "boot-efi", "aarch64-unknown-uefi")
}

/// The EFI loader for x86-64.
fn bootx64_efi(sources: &Sources) -> Result<Vec<u8>> {
    sources.build("moby-boot-efi", "boot-efi", "x86_64-unknown-uefi")
}

/// The test kernel: both halves in one file.
fn testkernel_bzimage(sources: &Sources) -> Result<Vec<u8>> {
    let bios = sources.build("moby-testkernel", "testkernel-bios", "x86_64-unknown-none")?;
    let efi = sources.build("moby-testkernel", "testkernel-efi", "x86_64-unknown-uefi")?;
    Ok(testkernel_pack::join(&bios, &efi)?)
}

/// The loaders' sources and a place to build them.
struct Sources {
    workspace: PathBuf,
    target_dir: PathBuf,
    toolchain: String,
}

impl Sources {
    /// Builds one binary and returns its bytes.
    fn build(&self, package: &str, binary: &str, target: &str) -> Result<Vec<u8>> {
        let mut command = Command::new("cargo");
        command.current_dir(&self.workspace);
        command.args(["build", "--quiet", "--locked", "--profile", "loader"]);
        command.args(["--package", package, "--bin", binary, "--target", target, "--target-dir"]).arg(&self.target_dir);
        for (name, _) in env::vars_os() {
            if is_build_setting(&name) {
                command.env_remove(name);
            }
        }
        // Set but empty: goes before what a user's cargo configuration says.
        command.env("CARGO_ENCODED_RUSTFLAGS", "").env("RUSTUP_TOOLCHAIN", &self.toolchain);
        let status = command.status().map_err(|error| format!("cargo: {error}"))?;
        if !status.success() {
            return Err(format!("cargo build of {package} for {target} failed: {status}").into());
        }
        let suffix = if target.ends_with("-uefi") { ".efi" } else { "" };
        let path = self.target_dir.join(target).join("loader").join(format!("{binary}{suffix}"));
        let mut file = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        uninitialised::mark(&mut file);
        Ok(file)
    }
}

/// Whether a variable of the environment may change what cargo and rustc do.
fn is_build_setting(name: &OsString) -> bool {
    let Some(name) = name.to_str() else { return false };
    let keep = ["CARGO_HOME", "CARGO_NET_OFFLINE", "CARGO_HTTP_CAINFO"];
    let cargo = name.starts_with("CARGO") && !keep.contains(&name);
    cargo || name.starts_with("RUSTC") || matches!(name, "RUSTFLAGS" | "RUSTDOCFLAGS" | "RUST_TARGET_PATH")
}

/// The channel that `rust-toolchain.toml` pins.
fn toolchain(boot: &Path) -> Result<String> {
    let path = boot.join("../rust-toolchain.toml");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let channel = text.lines().find_map(|line| line.strip_prefix("channel")?.trim().strip_prefix('='));
    let channel = channel.ok_or_else(|| format!("{}: no channel", path.display()))?;
    Ok(channel.trim().trim_matches('"').to_owned())
}

/// The list of sums, in the form of `sha256sum`.
fn sums(files: &[(&str, Vec<u8>)]) -> String {
    files.iter().map(|(name, bytes)| format!("{}  {name}\n", sha256::hex(bytes))).collect()
}

fn make_all(sources: &Sources) -> Result<Vec<(&'static str, Vec<u8>)>> {
    ARTIFACTS.iter().map(|artifact| Ok((artifact.file, (artifact.make)(sources)?))).collect()
}

/// Builds in place and writes `prebuilt`.
fn write(boot: &Path) -> Result<()> {
    let sources = Sources { workspace: boot.to_owned(), target_dir: boot.join("target/loaders"), toolchain: toolchain(boot)? };
    let files = make_all(&sources)?;
    let prebuilt = boot.join("prebuilt");
    fs::create_dir_all(&prebuilt)?;
    for (name, bytes) in &files {
        fs::write(prebuilt.join(name), bytes)?;
        println!("{:>6}  {name}", bytes.len());
    }
    fs::write(prebuilt.join("SHA256SUMS"), sums(&files))?;
    Ok(())
}

/// Builds a copy of the sources in another directory and compares with `prebuilt`.
fn check(boot: &Path) -> Result<()> {
    let scratch = Scratch::new()?;
    let workspace = scratch.0.join("elsewhere/boot");
    copy_sources(boot, &workspace)?;
    let sources = Sources { workspace, target_dir: scratch.0.join("target"), toolchain: toolchain(boot)? };
    let files = make_all(&sources)?;
    let prebuilt = boot.join("prebuilt");
    let mut differ = Vec::new();
    let list = ("SHA256SUMS", sums(&files).into_bytes());
    for (name, bytes) in files.iter().chain([&list]) {
        let path = prebuilt.join(name);
        let committed = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        if committed == *bytes {
            println!("same  {name}");
        } else {
            differ.push(*name);
        }
    }
    if differ.is_empty() {
        Ok(())
    } else {
        Err(format!("boot/prebuilt is not what the sources give: {}; run `make loaders`", differ.join(", ")).into())
    }
}

/// Copies the workspace without what was built in it.
fn copy_sources(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        if kind.is_dir() {
            if name != "target" && name != "prebuilt" {
                copy_sources(&entry.path(), &to.join(name))?;
            }
        } else {
            fs::copy(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}

/// A directory that goes away.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let path = env::temp_dir().join(format!("moby-pack-{}", std::process::id()));
        fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn main() -> ExitCode {
    let boot = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let result = match arguments.as_slice() {
        [] => write(&boot),
        [argument] if argument == "--check" => check(&boot),
        _ => Err("usage: moby-pack [--check]".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("moby-pack: {error}");
            ExitCode::FAILURE
        }
    }
}
