//! `moby inspect`: what is in a tar or on a disk, and what would boot.

use super::{Global, files, values::named};
use crate::{
    bootable::{self, Doubt, Start},
    error::{At, Error, Result},
    image::{self, Booted, Image, Init, content_size, disk, file_system, tar},
    input::{self, Input, Opening, Tar},
    process, secure_boot,
};
use formats::{
    Blob, Env, Format,
    authenticode::{self, Signature},
    compress::Codec,
    efivars::{Variable, aws, flash},
    info::{Fact, SnapshotInfo},
    kernel::{Form, Kernel},
    plain,
    tree::{Content, ShowPath},
    uki,
    units::show_size,
    x509::Certificate,
};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Show what is in a tagged tar, a disk or a unified kernel image: kernel, command line, initrd, components, partitions
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  moby inspect image.tar\n  moby inspect image.qcow2 --json\n  moby inspect image.tar --duplicates")]
pub(super) struct Inspect {
    /// A tagged tar, a disk, an ISO or a unified kernel image, plain or compressed; - for standard input
    #[arg(value_name = "IMAGE|-")]
    input: PathBuf,
    /// What the input is [default: told by its content]
    #[arg(long, value_name = "FORMAT", value_parser = named::<input::Kind>())]
    from: Option<input::Kind>,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// List the files instead: of the tar, or of the initrd that the disk boots
    #[arg(long, conflicts_with = "json")]
    files: bool,
    /// List the files of equal content instead, and what they cost
    #[arg(long, conflicts_with_all = ["json", "files"])]
    duplicates: bool,
    /// What a TPM's PCR 4, 9 and 11 will hold when it boots; of a unified kernel image, or a disk that starts one
    #[arg(long, conflicts_with_all = ["files", "duplicates"])]
    pcrs: bool,
    /// With --pcrs: also PCR 7, of a machine whose firmware has these variables: a flash of OVMF or AAVMF, or EC2's UefiData
    #[arg(long, value_name = "FILE", requires = "pcrs")]
    efi_vars: Option<PathBuf>,
    #[command(flatten)]
    reading: super::ReadingArgs,
    #[command(flatten)]
    tar: super::StrictArgs,
}

impl Inspect {
    pub(super) fn run(&self, global: &Global) -> Result<()> {
        let mut env = super::env(global, &std::env::temp_dir())?;
        let opening = Opening { strict: self.tar.strict, ..self.reading.of(&self.input) };
        if self.files || self.duplicates {
            let image = files::image(&self.input, self.from, &opening, &mut env)?;
            return super::print(&if self.files { list(&image) } else { duplicates(&image)? });
        }
        let place = || input::show(&self.input);
        let facts = match input::read(&self.input, self.from, &opening, &mut env)?.input {
            Input::Tar(tar) => tar_facts(&tar, &env).at(place)?,
            Input::Container(container) => {
                let mut facts = image_facts("container image", &tar::of_tree(&container.tree).contents().at(place)?);
                facts["process"] = process::said(&container.execution).at(place)?.map(|config| super::process::facts(&config)).into();
                facts
            }
            Input::Uki(file) => self.uki_facts(&file, &mut env).at(place)?,
            Input::Disk { format, file, disk, .. } => self.disk_facts(format, &file, &disk, &mut env).at(place)?,
        };
        if self.pcrs && facts.get("pcrs").is_none() {
            return Err(Error::unsupported("is started by no firmware").hint("convert it first").at(place()));
        }
        if self.json {
            return super::print(&format!("{facts:#}\n"));
        }
        let mut text = String::new();
        show(&facts, 0, &mut text);
        super::print(&text)
    }

    fn uki_facts(&self, file: &Blob, env: &mut Env) -> Result<Value> {
        let sections: Vec<_> = uki::divide(file)?.iter().map(|(name, body)| json!({"name": name, "bytes": body.len()})).collect();
        let boot = image::uki::boot(file);
        let mut facts = json!({
            "format": "uki",
            "bytes": file.len(),
            "sections": sections,
            "signatures": signature_facts(file),
            "boot": boot_facts(&boot),
        });
        if self.pcrs {
            facts["pcrs"] = self.pcr_facts(std::slice::from_ref(file), &boot?, env)?;
        }
        Ok(facts)
    }

    /// The keys are those of `qemu-img info --output=json` where it has the fact.
    fn disk_facts(&self, format: &dyn Format, file: &Blob, disk: &Blob, env: &mut Env) -> Result<Value> {
        let table = disk::table(disk);
        let partitions = match &table {
            Err(error) => json!({"error": error.to_string()}),
            Ok(table) => table.partitions.iter().map(|partition| partition_facts(partition, disk)).collect(),
        };
        let info = format.info(file)?;
        let mut facts = json!({
            "filename": self.input.to_string_lossy(),
            "format": format.name(),
            "virtual-size": disk.len(),
            "actual-size": input::allocated(&self.input).unwrap_or_else(|| file.data_len()),
            "bytes": file.len(),
            "data-size": disk.data_len(),
            "dirty-flag": info.dirty,
        });
        let optional = [
            ("cluster-size", info.cluster_size.map(Value::from)),
            ("backing-filename", info.backing_file.map(Value::from)),
            ("backing-filename-format", info.backing_format.map(Value::from)),
        ];
        for (key, value) in optional {
            if let Some(value) = value {
                facts[key] = value;
            }
        }
        if !info.snapshots.is_empty() {
            let row = |s: &SnapshotInfo| json!({"id": s.id, "name": s.name, "date-sec": s.seconds, "disk-size": s.size});
            facts["snapshots"] = info.snapshots.iter().map(row).collect();
        }
        if !info.specific.is_empty() {
            let data: serde_json::Map<_, _> = info.specific.into_iter().map(|(key, fact)| (key.to_owned(), value(fact))).collect();
            facts["format-specific"] = json!({"type": format.name(), "data": data});
        }
        // A CD, or a disk without partitions.
        if let Some(name) = file_system::of(disk)? {
            facts["file-system"] = name.into();
        }
        if let Ok(table) = &table {
            facts["partition-table"] = table.scheme.name().into();
        }
        let loaders = disk::Loaders::of(disk, &mut env.spool)?;
        facts["loaders"] = loader_facts(&loaders);
        facts["partitions"] = partitions;
        let boot = disk::boot_any(disk, &mut env.spool);
        facts["boot"] = boot_facts(&boot);
        if self.pcrs {
            facts["pcrs"] = self.pcr_facts(&secure_boot::chain(&loaders), &boot?, env)?;
        }
        Ok(facts)
    }

    fn pcr_facts(&self, programs: &[Blob], booted: &Booted, env: &mut Env) -> Result<Value> {
        let variables = self.efi_vars.as_deref().map(|path| variables(path, env).at(|| input::show(path))).transpose()?;
        let pcrs = secure_boot::predicted(programs, booted, variables.as_deref())?;
        Ok(pcrs
            .into_iter()
            .map(|(number, pcr)| (number.to_string(), Value::from(pcr.to_string())))
            .collect::<serde_json::Map<_, _>>()
            .into())
    }
}

/// The variables of a firmware, in a flash or as EC2 takes them.
fn variables(path: &Path, env: &mut Env) -> Result<Vec<Variable>> {
    const TEXT_MAX: u64 = 1 << 20;
    let file = input::open_plain(path, &Opening::default(), env)?;
    // Base64 begins with none, a flash with sixteen.
    if file.len() > TEXT_MAX || file.slice(0..1.min(file.len())).to_vec(1)? == [0] {
        return flash::read(&file);
    }
    let text = String::from_utf8(file.to_vec(TEXT_MAX)?);
    aws::read(text.map_err(|_| Error::bad_input("is neither a flash of OVMF or AAVMF nor EC2's UefiData"))?.trim())
}

fn tar_facts(tar: &Tar, env: &Env) -> Result<Value> {
    let mut facts = image_facts("tar", &tar.draft(env)?.contents()?);
    facts["bytes"] = tar.file.len().into();
    Ok(facts)
}

fn image_facts(format: &str, image: &Image) -> Value {
    let components: Vec<_> = image
        .components()
        .into_iter()
        .map(|(origin, component)| {
            let (source, location) = origin.map(|o| (o.source.clone(), o.location.clone())).unwrap_or_default();
            json!({"source": source, "location": location, "files": component.files, "bytes": component.bytes})
        })
        .collect();
    let count = |is: fn(&Content) -> bool| image.rootfs.inodes.iter().filter(|inode| is(&inode.content)).count();
    json!({
        "format": format,
        "bytes": null,
        "kernel": (!image.kernel.is_empty()).then(|| kernel_facts(&image.kernel)),
        "cmdline": image.cmdline.as_str(),
        "ucode-bytes": image.ucode.as_ref().map(Blob::len),
        "root": {
            "names": image.rootfs.names.len(),
            "files": count(|c| matches!(c, Content::File(_))),
            "directories": count(|c| matches!(c, Content::Directory)),
            "symlinks": count(|c| matches!(c, Content::Symlink(_))),
            "devices": count(|c| matches!(c, Content::CharacterDevice(_) | Content::BlockDevice(_))),
            "bytes": content_size(&image.rootfs),
        },
        "components": components,
        "process": Init::of(&image.rootfs).ok().flatten().map(|init| super::process::facts(&init.config)),
        "doubts": doubts(image),
    })
}

/// What may keep an image from booting.
fn doubts(image: &Image) -> Option<Vec<String>> {
    // A plain root file system is not booted by itself.
    let found = if image.kernel.is_empty() { Vec::new() } else { bootable::doubts(image, Start::Initramfs).ok()? };
    (!found.is_empty()).then(|| found.iter().map(Doubt::sentence).collect())
}

fn value(fact: Fact) -> Value {
    match fact {
        Fact::Text(text) => text.into(),
        Fact::Number(number) => number.into(),
        Fact::Flag(flag) => flag.into(),
    }
}

fn partition_facts(partition: &disk::Partition, disk: &Blob) -> Value {
    let file_system = partition.range(disk.len()).and_then(|range| file_system::of(&disk.slice(range)).ok().flatten());
    json!({
        "number": partition.number,
        "name": partition.name,
        "type": partition.holds.to_string(),
        "guid": partition.guid.map(|guid| guid.to_string()),
        "active": partition.is_active.then_some(true),
        "start": partition.start,
        "size": partition.len,
        "file-system": file_system,
    })
}

/// Who signed a program; nothing where nobody did.
fn signature_facts(program: &Blob) -> Value {
    let fact = |signature: &Signature| {
        let signer = signature.certificates.first();
        json!({
            "subject": signer.map(Certificate::subject),
            "issuer": signer.map(Certificate::issuer),
            "not-after": signer.map(|signer| signer.not_after().to_string()),
            "digest": if signature.digest_matches { "matches" } else { "is of other bytes" },
            "signature": if signature.is_valid { "is the signer's" } else { "is not the signer's" },
        })
    };
    match authenticode::signatures(program) {
        Ok(signatures) if signatures.is_empty() => Value::Null,
        Ok(signatures) => signatures.iter().map(fact).collect(),
        Err(error) => json!({"error": error.to_string()}),
    }
}

/// What firmware would start.
fn loader_facts(loaders: &disk::Loaders) -> Value {
    let row = |program: &disk::Program| json!({"path": program.path, "name": program.name, "signatures": signature_facts(&program.body)});
    json!({"bios": loaders.bios, "uefi": loaders.uefi.iter().map(row).collect::<Vec<_>>()})
}

fn list(image: &Image) -> String {
    files::files(image).into_iter().map(|(path, (_, inode))| files::line(path, inode)).collect()
}

fn duplicates(image: &Image) -> Result<String> {
    let listed = files::files(image);
    let found = files::duplicates(&listed)?;
    let waste: u64 = found.iter().map(|duplicate| duplicate.waste).sum();
    let mut text: String = found
        .iter()
        .map(|d| {
            let names: String = d.paths.iter().map(|path| format!("  {}\n", ShowPath(path))).collect();
            format!("{} times {}: {} to spare\n{names}", d.paths.len(), show_size(d.len), show_size(d.waste))
        })
        .collect();
    text += &format!("{} kinds of equal files cost {}\n", found.len(), show_size(waste));
    Ok(text)
}

/// What is booted.
fn boot_facts(boot: &Result<Booted>) -> Value {
    let boot = match boot {
        Err(error) => return json!({"error": error.to_string()}),
        Ok(boot) => boot,
    };
    let initrds: Vec<_> = boot.initrds.iter().map(|(path, body)| initrd_facts(path, body)).collect();
    json!({
        "entry": boot.entry,
        "kernel-path": boot.kernel.0,
        "kernel": kernel_facts(&boot.kernel.1),
        "initrds": initrds,
        "cmdline": boot.cmdline,
    })
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
                Value::Null => None,
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
        Value::String(text) => plain::line(text),
        other => other.to_string(),
    }
}
