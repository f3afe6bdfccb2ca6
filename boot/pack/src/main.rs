//! Builds the loaders into `boot/prebuilt`, or checks that what is there is what the sources give.
//!
//! ```text
//!  cargo run -p moby-pack              builds and writes boot/prebuilt
//!  cargo run -p moby-pack -- --check   builds a copy of the sources elsewhere and compares byte for byte
//! ```
//!
//! One route, so that everybody gets the same bytes: the toolchain of `rust-toolchain.toml`, the profile `loader`, no flags
//! from the environment or from cargo's configuration. An artifact is one function in [`ARTIFACTS`]' table.

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

/// Every loader that is committed, and process 1 of container images.
const ARTIFACTS: &[Artifact] = &[
    Artifact { file: "bootaa64.efi", make: bootaa64_efi },
    Artifact { file: "bootx64.efi", make: bootx64_efi },
    Artifact { file: "init-aarch64", make: |sources| init(sources, "aarch64-unknown-linux-musl") },
    Artifact { file: "init-x86_64", make: |sources| init(sources, "x86_64-unknown-linux-musl") },
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

/// Longer programs have no business as process 1: it is in every initrd, and in memory.
const INIT_MAX: usize = 640 << 10;

/// Process 1 of container images that boot. Its library is std, so it is linked, by Rust's own linker, and what std and the crates say of
/// themselves names no place of this machine.
fn init(sources: &Sources, target: &str) -> Result<Vec<u8>> {
    let linked = ["-Clinker=rust-lld", "-Clink-self-contained=yes", "-Crelocation-model=static"];
    // From the workspace, which is another in every checkout.
    let without_unwinding = ["-Clink-arg=-Tinit/init.ld", "-Clink-arg=--no-eh-frame-hdr"];
    let mut flags: Vec<_> = linked.into_iter().chain(without_unwinding).map(OsString::from).collect();
    for (from, to) in sources.foreign()? {
        let mut flag = OsString::from("--remap-path-prefix=");
        flag.extend([from.as_os_str(), "=".as_ref(), to.as_ref()]);
        flags.push(flag);
    }
    let program = sources.build_with("moby-init", "init", target, &flags)?;
    match program.len() {
        0..=INIT_MAX => Ok(program),
        len => Err(format!("process 1 for {target} is {len} bytes, not at most {INIT_MAX}").into()),
    }
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
    /// Where the sources are that are not ours, and what they are called instead.
    fn foreign(&self) -> Result<Vec<(PathBuf, &'static str)>> {
        let home = env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo"))).ok_or("neither CARGO_HOME nor HOME is set")?;
        let fetch = self.cargo(&["fetch", "--quiet", "--locked"]).status().map_err(|error| format!("cargo: {error}"))?;
        if !fetch.success() {
            return Err(format!("cargo fetch failed: {fetch}").into());
        }
        let registries = fs::read_dir(home.join("registry/src"))?.map(|entry| Ok((entry?.path(), "registry")));
        let sysroot = Command::new("rustc").args(["--print", "sysroot"]).env("RUSTUP_TOOLCHAIN", &self.toolchain).output()?;
        let sysroot = PathBuf::from(String::from_utf8(sysroot.stdout)?.trim_end());
        registries.chain([Ok((sysroot.join("lib/rustlib/src/rust"), "rust"))]).collect()
    }

    /// Builds one binary and returns its bytes.
    fn build(&self, package: &str, binary: &str, target: &str) -> Result<Vec<u8>> {
        self.build_with(package, binary, target, &[])
    }

    /// Builds one binary with flags for the compiler.
    fn build_with(&self, package: &str, binary: &str, target: &str, flags: &[OsString]) -> Result<Vec<u8>> {
        let mut command = self.cargo(&["build", "--quiet", "--locked", "--profile", "loader"]);
        command.args(["--package", package, "--bin", binary, "--target", target, "--target-dir"]).arg(&self.target_dir);
        // Set even if empty: goes before what a user's cargo configuration says.
        command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}".as_ref()));
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

    /// cargo, in our sources, with the pinned toolchain and without settings of the environment.
    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("cargo");
        command.current_dir(&self.workspace).args(arguments).env("RUSTUP_TOOLCHAIN", &self.toolchain);
        for (name, _) in env::vars_os().filter(|(name, _)| is_build_setting(name)) {
            command.env_remove(name);
        }
        command
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
