//! A root on a disk: found by the GUID of its partition, verified where it is asked for, mounted read-only below a file system in memory
//! that takes what is written, and made `/`.
//!
//! sysfs tells no PARTUUID before Linux 6.9: partition tables are read here, by the reader of the loaders.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{FileExt, FileTypeExt},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use bootfs::BlockDevice;
use initconfig::{
    Config,
    disk::{self, HEAD},
    mapper::Table,
};
use nix::{
    mount::{MsFlags, mount},
    unistd::{chdir, chroot},
};

use crate::{
    failure::{At, Failure, Result},
    files,
    modules::Modules,
    mounts, verity,
};

/// How long disks may take to appear: USB's and SCSI's do.
const PATIENCE: Duration = Duration::from_secs(30);
const ROUND: Duration = Duration::from_millis(100);

/// Where the layers are until they are the root. In the initrd, where nothing is the image's.
const LOWER: &str = "/.moby/root";
const MEMORY: &str = "/.moby/memory";
const UPPER: &str = "/.moby/memory/upper";
const WORK: &str = "/.moby/memory/work";
const MERGED: &str = "/.moby/memory/merged";

/// Makes the root that the configuration names `/`, if it names one.
pub(crate) fn switch(config: &Config, modules: &mut Modules) -> Result<()> {
    let Some(root) = &config.root else { return Ok(()) };
    let device = match &config.verity {
        None => wait(root, modules)?,
        Some(line) => {
            let mut table = Table::parse(line).ok_or_else(|| Failure::new("verity: it is no table of device-mapper"))?;
            for parameter in table.parameters_mut() {
                if parameter.starts_with(b"PARTUUID=") {
                    *parameter = number(&wait(parameter, modules)?)?.into_bytes();
                }
            }
            modules.load(b"dm-verity");
            verity::open(&table)?
        }
    };
    let shown = format!("{} ({device})", root.escape_ascii());
    let mut head = [0; HEAD];
    File::open(&device).and_then(|file| file.read_exact_at(&mut head, 0)).at(&shown)?;
    let kind = disk::file_system(&head).ok_or_else(|| Failure::new(format!("{shown}: it is no squashfs, EROFS or ext4")))?;
    for module in [kind, "overlay"] {
        modules.load(module.as_bytes());
    }
    for dir in [LOWER, MEMORY] {
        fs::create_dir_all(dir).at(dir)?;
    }
    mount(Some(device.as_str()), LOWER, Some(kind), MsFlags::MS_RDONLY, None::<&str>).at(format_args!("{shown}, {kind}"))?;
    mount(Some("tmpfs"), MEMORY, Some("tmpfs"), MsFlags::empty(), Some("mode=755")).at(MEMORY)?;
    for dir in [UPPER, WORK, MERGED] {
        fs::create_dir(dir).at(dir)?;
    }
    // The root has the mode and the owner that the image's has: overlay takes them from the upper directory.
    let own = fs::metadata(LOWER).at(LOWER)?;
    fs::set_permissions(UPPER, own.permissions()).at(UPPER)?;
    let layers = format!("lowerdir={LOWER},upperdir={UPPER},workdir={WORK}");
    mount(Some("overlay"), MERGED, Some("overlay"), MsFlags::empty(), Some(layers.as_str())).at("overlay")?;
    chdir(MERGED).at(MERGED)?;
    for place in mounts::FIRST {
        // Relative to the new root; a link in it would lead elsewhere.
        let inside = place.trim_start_matches('/');
        files::directory(inside, 0o755).at(place)?;
        mount(Some(place), inside, None::<&str>, MsFlags::MS_MOVE, None::<&str>).at(place)?;
    }
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>).at("/")?;
    chroot(".").at("/")?;
    chdir("/").at("/")
}

/// The path of the device `PARTUUID=GUID` or `/dev/NAME`, when it is there.
fn wait(name: &[u8], modules: &mut Modules) -> Result<String> {
    let guid = name.strip_prefix(b"PARTUUID=");
    let shown = name.escape_ascii();
    let guid = guid.map(|text| disk::guid(text).ok_or_else(|| Failure::new(format!("{shown}: it is no GUID")))).transpose()?;
    let end = Instant::now() + PATIENCE;
    loop {
        let found = match &guid {
            Some(guid) => files::names("/sys/block").iter().find_map(|disk| partition(disk, guid)),
            None => str::from_utf8(name).ok().map(String::from),
        };
        let is_block = |path: &String| fs::metadata(path).is_ok_and(|found| found.file_type().is_block_device());
        if let Some(path) = found.filter(is_block) {
            return Ok(path);
        }
        if Instant::now() >= end {
            let disks = files::names("/sys/block").join(" ");
            return Err(Failure::new(format!("{shown}: no such device in {} s; the disks are: {disks}", PATIENCE.as_secs())));
        }
        modules.look();
        thread::sleep(ROUND);
    }
}

/// `MAJOR:MINOR` of a device.
fn number(path: &str) -> Result<String> {
    let name = path.trim_start_matches("/dev/");
    files::word(format!("/sys/class/block/{name}/dev")).ok_or_else(|| Failure::new(format!("{path}: it has no number")))
}

/// The path of a disk's partition with this GUID.
fn partition(name: &str, guid: &bootfs::gpt::Guid) -> Option<String> {
    let dir = Path::new("/sys/block").join(name);
    let number = |file: &str| files::word(dir.join(file))?.parse::<u64>().ok();
    let sector = u32::try_from(number("queue/logical_block_size")?).ok()?;
    // sysfs counts sectors of 512 bytes whatever the disk's are.
    let sectors = number("size")?.checked_mul(512)? / u64::from(sector.max(1));
    if sectors == 0 {
        return None;
    }
    let file = File::open(Path::new("/dev").join(name)).ok()?;
    let wanted = disk::partition(Device { file, sector, sectors }, guid).ok()??;
    let parts = files::names(&dir);
    let part = parts.iter().find(|part| number(&format!("{part}/partition")) == Some(u64::from(wanted)))?;
    Some(format!("/dev/{part}"))
}

struct Device {
    file: File,
    sector: u32,
    sectors: u64,
}

impl BlockDevice for Device {
    type Error = io::Error;

    fn sector_size(&self) -> u32 {
        self.sector
    }

    fn sector_count(&self) -> Option<u64> {
        Some(self.sectors)
    }

    fn read(&mut self, first: u64, into: &mut [u8]) -> io::Result<()> {
        let at = first.checked_mul(u64::from(self.sector)).ok_or(io::ErrorKind::InvalidInput)?;
        self.file.read_exact_at(into, at)
    }
}
