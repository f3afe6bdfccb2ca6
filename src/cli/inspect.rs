//! `moby inspect`: what is in a tar or on a disk, and what would boot.

use super::Global;
use crate::{
    disk,
    error::{At, Error, Result},
    image::{Image, ImageOptions},
    input::{self, Input},
    loaders::Arch,
};
use formats::{
    Blob, Env,
    compress::Codec,
    kernel::{Form, Kernel},
    tree::Content,
    units::show_size,
};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Show what is in a tagged tar or on a disk: kernel, command line, initrd, components, partitions
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  moby inspect image.tar\n  moby inspect image.qcow2 --json")]
pub(super) struct Inspect {
    /// A tagged tar or a disk, plain or compressed; - for standard input
    #[arg(value_name = "TAR|DISK|-")]
    input: PathBuf,
    /// What the input is [default: told by its content]
    #[arg(long, value_name = "FORMAT")]
    from: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Inspect {
    pub(super) fn run(&self, global: &Global) -> Result<()> {
        let mut env = super::env(global, &std::env::temp_dir())?;
        let place = || input::show(&self.input);
        let file = input::open(&self.input, &mut env)?;
        let facts = match input::recognise(&file, self.from.as_deref(), &mut env).at(place)? {
            Input::Tar(tar) => tar_facts(&tar).at(place)?,
            Input::Disk { format, disk } => disk_facts(&file, format, &disk, &mut env).at(place)?,
        };
        if self.json {
            return super::print(&format!("{facts:#}\n"));
        }
        let mut text = String::new();
        show(&facts, 0, &mut text);
        super::print(&text)
    }
}

fn tar_facts(tar: &Blob) -> Result<Value> {
    let image = Image::read(tar, &ImageOptions::default())?;
    let components: Vec<_> = image
        .components()
        .into_iter()
        .map(|(origin, component)| {
            let (source, location) = origin.map(|o| (o.source.clone(), o.location.clone())).unwrap_or_default();
            json!({"source": source, "location": location, "files": component.files, "bytes": component.bytes})
        })
        .collect();
    let count = |is: fn(&Content) -> bool| image.rootfs.inodes.iter().filter(|inode| is(&inode.content)).count();
    Ok(json!({
        "format": "tar",
        "bytes": tar.len(),
        "kernel": kernel_facts(&image.kernel),
        "cmdline": image.cmdline.as_str(),
        "ucode-bytes": image.ucode.as_ref().map(Blob::len),
        "root": {
            "names": image.rootfs.names.len(),
            "files": count(|c| matches!(c, Content::File(_))),
            "directories": count(|c| matches!(c, Content::Directory)),
            "symlinks": count(|c| matches!(c, Content::Symlink(_))),
            "devices": count(|c| matches!(c, Content::CharacterDevice(_) | Content::BlockDevice(_))),
            "bytes": crate::build::content_size(&image.rootfs),
        },
        "components": components,
    }))
}

fn disk_facts(file: &Blob, format: &str, disk: &Blob, env: &mut Env) -> Result<Value> {
    let partitions = match disk::partitions(disk) {
        Err(error) => json!({"error": error.to_string()}),
        Ok(found) => found.iter().map(partition_facts).collect(),
    };
    Ok(json!({
        "format": format,
        "bytes": file.len(),
        "virtual-size": disk.len(),
        "data-size": disk.data_len(),
        "partitions": partitions,
        "boot": boot_facts(disk, env),
    }))
}

fn partition_facts(partition: &disk::Partition) -> Value {
    json!({
        "number": partition.number,
        "name": partition.name,
        "type": partition.type_guid.to_string(),
        "guid": partition.guid.to_string(),
        "start": partition.start,
        "size": partition.len,
    })
}

/// What the loaders would do with the disk: of the first architecture that has an entry.
fn boot_facts(disk: &Blob, env: &mut Env) -> Value {
    let mut refused = Error::bad_input("nothing to boot");
    for arch in [Arch::X86_64, Arch::Aarch64] {
        match disk::boot(disk, arch.efi_name(), &mut env.spool) {
            Err(error) => refused = error,
            Ok(boot) => {
                let initrds: Vec<_> = boot.initrds.iter().map(|(path, body)| initrd_facts(path, body)).collect();
                return json!({
                    "entry": boot.entry,
                    "kernel-path": boot.kernel.0,
                    "kernel": kernel_facts(&boot.kernel.1),
                    "initrds": initrds,
                    "cmdline": boot.cmdline,
                });
            }
        }
    }
    json!({"error": refused.to_string()})
}

fn initrd_facts(path: &str, body: &Blob) -> Value {
    let codec = Codec::of(body).map_or_else(|error| error.to_string(), |codec| codec.to_string());
    json!({"path": path, "bytes": body.len(), "compression": codec})
}

fn kernel_facts(kernel: &Blob) -> Value {
    let identified = match Kernel::identify(kernel) {
        Err(error) => return json!({"bytes": kernel.len(), "error": error.to_string()}),
        Ok(identified) => identified,
    };
    let inside = identified.facts().unwrap_or_default();
    let codecs: Vec<_> = inside.initramfs_codecs.iter().map(|codec| codec.name()).collect();
    let mut facts = json!({
        "bytes": kernel.len(),
        "arch": identified.arch.to_string(),
        "version": identified.version.or(inside.banner),
        "efi-stub": identified.has_efi_stub,
        "compression": identified.codec.map(Codec::name),
        "initramfs-compression": codecs.join(" "),
    });
    if let Form::BzImage { protocol, cmdline_max, init_size, pref_address, .. } = identified.form {
        facts["boot-protocol"] = format!("{}.{:02}", protocol >> 8, protocol & 0xff).into();
        facts["cmdline-max"] = cmdline_max.into();
        facts["memory-size"] = init_size.into();
        facts["pref-address"] = format!("{pref_address:#x}").into();
    }
    facts
}

/// Facts for people: one line a value, sizes with units, lists of objects one object a line.
fn show(value: &Value, depth: usize, text: &mut String) {
    let indent = depth * 2;
    let Value::Object(fields) = value else { return };
    for (key, value) in fields {
        match value {
            Value::Null => {}
            Value::Object(_) => {
                *text += &format!("{:indent$}{key}\n", "");
                show(value, depth + 1, text);
            }
            Value::Array(rows) => {
                *text += &format!("{:indent$}{key}\n", "");
                for row in rows {
                    *text += &format!("{:indent$}  {}\n", "", one_line(row));
                }
            }
            value => *text += &format!("{:indent$}{key:14} {}\n", "", scalar(key, value)),
        }
    }
}

fn one_line(row: &Value) -> String {
    match row {
        Value::Object(fields) => {
            let field = |(key, value): (&String, &Value)| match value {
                Value::String(text) if text.is_empty() => None,
                value => Some(format!("{key} {}", scalar(key, value))),
            };
            fields.iter().filter_map(field).collect::<Vec<_>>().join("  ")
        }
        other => scalar("", other),
    }
}

fn scalar(key: &str, value: &Value) -> String {
    let is_size = ["bytes", "size", "start"].iter().any(|word| key.ends_with(word));
    match value {
        Value::Number(number) if is_size => number.as_u64().map_or_else(|| number.to_string(), show_size),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
