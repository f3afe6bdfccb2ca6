//! The EFI system partition: what both loaders read.

use super::{Entry, Firmware, gpt};
use crate::{
    error::{Error, Result},
    secure_boot::Signed,
};
use bootfs::entry;
use formats::{
    Blob, Ids, Timestamp,
    fat::{File, Volume},
    units::SECTOR,
};

/// The boot entry, which a user may edit.
pub const ENTRY_PATH: &str = "/loader/entries/moby.conf";
const KERNEL_PATH: &str = "/moby/vmlinuz";
const INITRD_PATH: &str = "/moby/initrd.img";

/// The volume with everything that boots `entry`: small files first, so that they are near the tables.
pub(super) fn volume(firmware: Firmware, sector: u64, entry: &Entry, ids: &Ids, time: Timestamp) -> Result<Volume> {
    let described = File::new(ENTRY_PATH, Blob::from(text(entry)?.into_bytes()));
    let files = match &entry.signed {
        Some(Signed { uki, others }) => others.iter().cloned().chain([described, uki.clone()]).collect(),
        None => {
            let loader = firmware.has_uefi().then(|| File::new(entry.efi.path, entry.loader.clone()));
            let kernel = [described, File::new(KERNEL_PATH, entry.kernel.clone())];
            let initrd = entry.initrd.iter().map(|initrd| File::new(INITRD_PATH, initrd.clone()));
            loader.into_iter().chain(kernel).chain(initrd).collect()
        }
    };
    Ok(Volume {
        label: "MOBY".to_owned(),
        serial: ids.serial("EFI system"),
        time,
        sector,
        hidden_sectors: u32::try_from(gpt::FRONT / sector).expect("the partition is near the start of the disk"),
        // Firmware need not read anything else on a disk (UEFI 2.10 section 13.3).
        fat32_only: true,
        cluster_min: SECTOR,
        files,
        directories: Vec::new(),
    })
}

/// The entry as text.
fn text(entry: &Entry) -> Result<String> {
    entry.check_cmdline()?;
    let (initrd, options) = (entry.initrd.as_ref().map(|_| INITRD_PATH), entry.cmdline.trim());
    let boots = match &entry.signed {
        // Firmware starts it without an entry: this is for the BIOS loader.
        Some(signed) => vec![("uki", Some(signed.uki.path.as_str()))],
        None => vec![("linux", Some(KERNEL_PATH)), ("initrd", initrd), ("options", Some(options))],
    };
    let lines = [("title", Some(entry.title.as_str())), ("version", entry.version.as_deref()), ("architecture", Some(entry.efi.name))];
    let lines = lines.into_iter().chain(boots).filter_map(|(key, value)| value.map(|value| (key, value)));
    let text: String =
        lines.filter(|(_, value)| !value.is_empty()).map(|(key, value)| format!("{key:<12} {}\n", one_line(value))).collect();
    if text.len() > entry::MAX {
        return Err(Error::bad_input(format!("the boot entry has {} bytes, our loaders read {}", text.len(), entry::MAX)));
    }
    Ok(text)
}

/// A value of the entry; its lines must not become lines of the entry.
fn one_line(value: &str) -> String {
    value.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loaders::EFI_LOADERS;

    fn entry() -> Entry {
        Entry {
            title: "Linux".to_owned(),
            version: Some("6.6.71\nlinux /evil".to_owned()),
            efi: &EFI_LOADERS[0],
            loader: EFI_LOADERS[0].application(),
            kernel: Blob::bytes(*b"kernel"),
            initrd: Some(Blob::bytes(*b"initrd")),
            cmdline: "console=ttyS0 \"a b\" ".to_owned(),
            cmdline_max: Some(20),
            has_efi_stub: true,
            signed: None,
            root: Vec::new(),
        }
    }

    #[test]
    fn the_entry_is_what_the_loaders_read() {
        let text = text(&entry()).unwrap();
        let read = bootfs::Entry::parse("moby.conf", text.as_bytes()).unwrap();
        assert_eq!(read.linux(), Some("/moby/vmlinuz"));
        assert_eq!(read.initrds().collect::<Vec<_>>(), ["/moby/initrd.img"]);
        assert_eq!(read.options().collect::<Vec<_>>(), ["console=ttyS0 \"a b\""]);
        read.check("x64").unwrap();
        assert!(read.check("aa64").is_err());
    }

    #[test]
    fn what_is_absent_has_no_line() {
        let text = text(&Entry { initrd: None, version: None, cmdline: String::new(), ..entry() }).unwrap();
        assert_eq!(text, "title        Linux\narchitecture x64\nlinux        /moby/vmlinuz\n");
    }

    #[test]
    fn a_command_line_that_the_kernel_would_drop_is_refused() {
        let error = text(&Entry { cmdline: "x".repeat(21), ..entry() }).unwrap_err();
        assert_eq!(error.to_string(), "the kernel command line has 21 bytes, this kernel takes 20");
        assert!(text(&Entry { cmdline: "x".repeat(20), ..entry() }).is_ok());
        assert!(text(&Entry { cmdline: "a\nb".to_owned(), ..entry() }).unwrap_err().to_string().contains("'\\n'"));
    }
}
