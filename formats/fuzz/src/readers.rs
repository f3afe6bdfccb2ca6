//! What is read beside disks: archives, container images, configurations, signatures and keys. One row each.

mod signed;

use crate::{
    corpus::Random,
    mutants::splice,
    packages::{apks, debs, module, read_module, read_package, rpms},
};
use formats::{
    Blob, Env, Error, FORMATS, Kind, Options, Result, Silent, compress,
    compress::{Codec, Encoding},
    cpio, fat, gpt, iso9660,
    kernel::Kernel,
    mbr::{self, Mbr, PartitionRecord},
    oci::{
        self, Config, Descriptor, Digest, Image, Index, Layer, Manifest, Platform, Reference, Store, archive::Archive, cosign, layer, merge,
    },
    ova,
    tar::{self, Dialect, Writer, verbatim},
    tree::{Content, Name, Tree},
    uki, units, zip,
};
use moby::{
    image::disk,
    lint::{self, Subject},
    names::Named,
    platforms,
};
use std::{
    fs,
    io::{Read, Write},
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

/// Most bytes that a mutant is unpacked to: a bomb is met by whoever looks at what he reads.
const UNPACKED_MAX: u64 = 8 * units::MIB;

/// Larger files of the fixtures are no corpus, in bytes.
const SMALL: u64 = 64 * units::KIB;

/// A reader, and what it reads when nothing is wrong.
pub(crate) struct Reader {
    pub(crate) name: &'static str,
    /// Reads; whether the input was taken. Panics when a promise is broken.
    read: fn(&[u8], &mut Env) -> Result<()>,
    corpus: Vec<Vec<u8>>,
}

impl Reader {
    /// A mutant of one of its inputs.
    pub(crate) fn mutant(&self, random: &mut Random) -> Vec<u8> {
        let donor = &self.corpus[random.below(self.corpus.len())];
        let mut bytes = self.corpus[random.below(self.corpus.len())].clone();
        for _ in 0..=random.below(4) {
            splice(&mut bytes, donor, random);
        }
        bytes
    }

    /// Whether any of its inputs is taken as it is: else no mutant comes behind the first check.
    pub(crate) fn reads_what_is_whole(&self, env: &mut Env) -> bool {
        self.corpus.iter().any(|whole| (self.read)(whole, env).is_ok())
    }

    /// Whether the input was taken.
    pub(crate) fn reads(&self, bytes: &[u8], env: &mut Env) -> bool {
        match (self.read)(bytes, env) {
            Ok(()) => true,
            Err(error) if matches!(error.kind(), Kind::BadInput | Kind::Unsupported) => {
                let text = error.to_string();
                assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{}: {text:?} reaches a terminal", self.name);
                false
            }
            Err(error) => panic!("{}: {error:?}", self.name),
        }
    }
}

/// All of them, with their corpora: what the tests of `moby build` are held against, and what we write ourselves.
pub(crate) fn all() -> Vec<Reader> {
    let fixtures = fixtures();
    let files = |is_wanted: &dyn Fn(&str, &[u8]) -> bool| -> Vec<Vec<u8>> {
        fixtures.iter().filter(|(path, bytes)| is_wanted(path, bytes)).map(|(_, bytes)| bytes.clone()).collect()
    };
    let is_json = |path: &str, bytes: &[u8]| bytes.starts_with(b"{") && path.starts_with("layouts/");
    let layers = files(&|path, bytes| path.starts_with("layouts/") && Codec::sniff(bytes) != Codec::None);
    let tars: Vec<_> = layers.iter().filter_map(|bytes| unpacked(bytes)).chain(files(&|path, _| path.ends_with(".tar"))).collect();
    let trees: Vec<_> = tars.iter().filter_map(|bytes| tar::tree(&Blob::bytes(bytes.as_slice())).ok()).collect();
    let bytes = |blob: Blob| blob.to_vec(u64::MAX).expect("it is in memory");
    let reader = |name, read, corpus: Vec<Vec<u8>>| Reader { name, read, corpus };
    vec![
        reader("tar", read_tar, tars.clone()),
        reader("tar verbatim", read_verbatim, tars),
        reader("cpio", read_cpio, trees.iter().filter_map(|tree| cpio::archive(tree).ok()).map(bytes).collect()),
        reader("iso9660", read_iso, trees.iter().filter_map(volume).map(bytes).collect()),
        reader("compressed", read_compressed, compressed()),
        reader("kernel", read_kernel, vec![bzimage(), prebuilt("testkernel.bzimage")]),
        reader("deb", read_package, debs()),
        reader("rpm", read_package, rpms()),
        reader("apk", read_package, apks()),
        reader("module", read_module, vec![module()]),
        reader("uki", |file, _| uki::divide(&Blob::bytes(file)).map(drop), vec![pe()]),
        reader("signed program", signed::read_program, signed::programs(&pe())),
        reader("certificate", signed::read_certificates, signed::certificates()),
        reader("signature list", signed::read_list, signed::lists()),
        reader("signed variable", signed::read_update, signed::updates()),
        reader("flash", signed::read_flash, signed::flash_files()),
        reader("UefiData", signed::read_aws, signed::aws_texts()),
        reader("ova", read_ova, vec![appliance()]),
        reader("zip", read_zip, vec![zipped()]),
        reader("disk", read_disk, disks(&trees)),
        reader("oci json", read_json, files(&is_json)),
        reader("oci layer", read_layer, layers),
        reader("oci archive", read_archive, vec![saved(&fixtures)]),
        reader("cosign", read_cosign, signatures()),
        reader(
            "reference",
            read_reference,
            [
                &b"lab/app:1"[..],
                b"[::1]:5000/a/b__c@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
                b"localhost/x",
            ]
            .map(<[u8]>::to_vec)
            .into(),
        ),
        reader("yml", |text, _| moby::linuxkit::metadata("fuzz.yml", text).map(drop), files(&|path, _| path.ends_with(".yml"))),
        reader("process 1", read_init, vec![init_config()]),
        reader("dhcp", read_dhcp, vec![dhcp_packet()]),
        reader("modules", read_modules, vec![MODULES.to_vec()]),
        reader("options", read_options, vec![b"subformat=streamOptimized".to_vec(), b"cluster_size=64k\ncompression_type=zstd".to_vec()]),
    ]
}

/// The files that the tests of `moby build` have: small ones of the corpus, and the ymls.
fn fixtures() -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/linuxkit");
    let ymls = fs::read_dir(directory.join("yml")).expect("the fixtures are there").map(|entry| entry.expect("a name").path());
    let yml = |path: PathBuf| (path.display().to_string(), fs::read(path).expect("a file"));
    let archive = unpacked(&fs::read(directory.join("corpus.tar.zst")).expect("the fixtures are there")).expect("the archive is whole");
    let tree = tar::tree(&Blob::bytes(archive)).expect("a tar");
    let file = |name: &Name| match &tree.inodes[name.inode].content {
        Content::File(body) if body.len() < SMALL => {
            Some((String::from_utf8_lossy(&name.path).into_owned(), body.to_vec(SMALL).expect("it is in memory")))
        }
        _ => None,
    };
    ymls.map(yml).chain(tree.names.iter().filter_map(file)).collect()
}

/// None of what is damaged, as some fixtures are.
fn unpacked(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut unpacked = Vec::new();
    compress::reader(Codec::sniff(bytes), bytes).ok()?.read_to_end(&mut unpacked).ok()?;
    Some(unpacked)
}

/// An archive with a file by every method that is read.
fn zipped() -> Vec<u8> {
    use rawzip::{CompressionMethod, ZipArchiveWriter};
    let body: Vec<u8> = (0..900_u16).flat_map(u16::to_be_bytes).collect();
    let by = |codec| compressed_by(codec, &body);
    // gzip is deflate between 10 and 8 bytes.
    let gzip = by(Codec::Gzip);
    let mut bytes = Vec::new();
    let mut writer = ZipArchiveWriter::new(&mut bytes);
    for (method, packed) in [
        (CompressionMethod::STORE, body.clone()),
        (CompressionMethod::DEFLATE, gzip[10..gzip.len() - 8].to_vec()),
        (CompressionMethod::XZ, by(Codec::Xz)),
        (CompressionMethod::ZSTD, by(Codec::Zstd)),
    ] {
        let made = writer.new_file(format!("{method:?}")).compression_method(method).start();
        let (mut entry, config) = made.expect("it is in memory");
        let mut content = config.wrap(std::io::sink());
        content.write_all(&body).expect("it is in memory");
        let (_, descriptor) = content.finish().expect("it is in memory");
        entry.write_all(&packed).and_then(|()| entry.finish(descriptor).map_err(std::io::Error::other)).expect("it is in memory");
    }
    writer.finish().expect("it is in memory");
    bytes
}

pub(crate) fn archive_of(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new(Dialect::Pax);
    for (path, bytes) in files {
        let body = Content::File(Blob::bytes(bytes.as_slice()));
        writer.add(path.as_bytes(), &formats::tree::Inode::new(body, 0o644)).expect("a plain file");
    }
    writer.finish().to_vec(u64::MAX).expect("it is in memory")
}

/// An OVA with a disk, and a manifest that is right.
fn appliance() -> Vec<u8> {
    let (description, disk) = (r#"<Envelope><File id="f" href="a.vmdk"/><Disk diskId="d" fileRef="f"/></Envelope>"#, vec![7; 900]);
    let sum = |name, bytes: &[u8]| format!("SHA256({name})= {}\n", Digest::sha256(bytes).hex());
    let manifest = sum("a.ovf", description.as_bytes()) + &sum("a.vmdk", &disk);
    archive_of(&[("a.ovf", description.into()), ("a.vmdk", disk), ("a.mf", manifest.into())])
}

/// A layout of the corpus, as an archive.
fn saved(fixtures: &[(String, Vec<u8>)]) -> Vec<u8> {
    let prefix = "layouts/app/";
    let files: Vec<_> = fixtures.iter().filter_map(|(path, bytes)| Some((path.strip_prefix(prefix)?, bytes.clone()))).collect();
    archive_of(&files)
}

fn compressed() -> Vec<Vec<u8>> {
    let plain: Vec<u8> = (0..20_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
    Codec::written().filter(|codec| *codec != Codec::None).map(|codec| compressed_by(codec, &plain)).collect()
}

pub(crate) fn compressed_by(codec: Codec, plain: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    let encoding = Encoding::new(codec, None).expect("a default level");
    encoding.write(&Blob::bytes(plain), NonZeroUsize::MIN, &Silent, &mut packed).expect("memory takes it");
    packed
}

fn volume(tree: &Tree) -> Option<Blob> {
    let volume = iso9660::Volume {
        tree,
        identifier: "FUZZ",
        application: "fuzz",
        time: formats::Timestamp::default(),
        joliet: true,
        boot: None,
        start: iso9660::DESCRIPTORS_END,
        placed: Vec::new(),
        tail: 0,
        size_multiple: 2048,
    };
    volume.write().ok()
}

/// The fields that identify a kernel (Documentation/arch/x86/boot.rst), and a payload.
pub(crate) fn bzimage() -> Vec<u8> {
    let payload = compressed().swap_remove(0);
    let mut file = vec![0; 2 * 512];
    file[0x1f1] = 1;
    file[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    file[0x202..0x206].copy_from_slice(b"HdrS");
    file[0x206..0x208].copy_from_slice(&0x20f_u16.to_le_bytes());
    file[0x211] = 1;
    file[0x24c..0x250].copy_from_slice(&u32::try_from(payload.len()).expect("a small payload").to_le_bytes());
    file.extend(payload);
    file
}

fn prebuilt(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../boot/prebuilt").join(name);
    fs::read(path).expect("the loaders are there")
}

fn pe() -> Vec<u8> {
    let loader = Blob::bytes(prebuilt("bootx64.efi"));
    let sections = [
        uki::Section { name: ".cmdline", body: Blob::bytes(&b"quiet"[..]) },
        uki::Section { name: ".linux", body: Blob::bytes(bzimage()) },
    ];
    uki::unite(&loader, &sections).expect("room for sections").to_vec(u64::MAX).expect("it is in memory")
}

/// A FAT volume with everything that is looked for, in every table: GPT, MBR, none, and as a CD's boot image.
fn disks(trees: &[Tree]) -> Vec<Vec<u8>> {
    const START: u64 = 64 * units::SECTOR;
    let initrd = trees.iter().find_map(|tree| cpio::archive(tree).ok()).expect("a tree");
    let files = [
        ("loader/entries/a.conf", Blob::bytes(&b"linux /linux\ninitrd /initrd\noptions quiet console=ttyS0\n"[..])),
        ("linux", Blob::bytes(prebuilt("testkernel.bzimage"))),
        ("initrd", initrd),
        ("EFI/BOOT/BOOTX64.EFI", Blob::bytes(prebuilt("bootx64.efi"))),
        ("EFI/Linux/a-1.efi", Blob::bytes(pe())),
    ];
    let volume = fat::Volume {
        label: "FUZZ".to_owned(),
        serial: 1,
        time: formats::Timestamp::default(),
        sector: units::SECTOR,
        hidden_sectors: 64,
        fat32_only: false,
        cluster_min: units::SECTOR,
        files: files.into_iter().map(|(path, body)| fat::File::new(path, body)).collect(),
        directories: Vec::new(),
    };
    let volume = volume.size_for(0).and_then(|size| volume.write(size)).expect("room for the files").volume;
    let mut bare = Blob::zeros(START);
    bare.append(&volume);
    bare.extend_to(bare.len() + START);

    let mut gpt = bare.clone();
    let (first, last) = (START / units::SECTOR, (START + volume.len()) / units::SECTOR - 1);
    let id = formats::Guid::from_mixed_endian([7; 16]);
    let esp = gpt::Partition { type_guid: gpt::ESP, guid: id, bytes: START..START + volume.len(), attributes: 0, name: "esp".to_owned() };
    gpt::Gpt { block: units::SECTOR, disk_guid: id, partitions: vec![esp] }.write(&mut gpt).expect("room for the table");

    let record = |os_type, start, sectors| PartitionRecord::new(os_type, start, sectors).expect("small numbers");
    let sector = |records: &[PartitionRecord]| Blob::bytes(Mbr::legacy([0x90; mbr::BOOT_CODE_LEN], 1, records).to_bytes());
    let mut mbr = bare;
    mbr.replace(0, &sector(&[record(mbr::EFI_SYSTEM, first, last - first + 1), record(5, 8, 30)]));
    mbr.replace(8 * units::SECTOR, &sector(&[record(0x83, 1, 9), record(5, 10, 9)]));
    mbr.replace(18 * units::SECTOR, &sector(&[record(0x83, 1, 9)]));

    let boot = iso9660::BootImage { start: iso9660::DESCRIPTORS_END, len: volume.len() };
    let cd = iso9660::Volume {
        tree: &Tree::default(),
        identifier: "FUZZ",
        application: "fuzz",
        time: formats::Timestamp::default(),
        joliet: false,
        boot: Some(iso9660::Catalog { bios: Some(boot), uefi: Some(boot) }),
        start: iso9660::DESCRIPTORS_END + volume.len(),
        placed: Vec::new(),
        tail: 0,
        size_multiple: 2048,
    };
    let mut cd = cd.write().expect("a small volume");
    cd.replace(boot.start, &volume);
    [gpt, mbr, volume, cd].into_iter().map(|disk| disk.to_vec(u64::MAX).expect("it is in memory")).collect()
}

fn signatures() -> Vec<Vec<u8>> {
    let digest = Digest::sha256(b"");
    vec![
        format!(r#"{{"critical":{{"identity":{{"docker-reference":"a"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"cosign container image signature"}}}}"#).into_bytes(),
        br#"{"verificationMaterial":{"publicKey":{}},"dsseEnvelope":{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"c2ln"}]}}"#.to_vec(),
    ]
}

fn read_tar(file: &[u8], _: &mut Env) -> Result<()> {
    let file = Blob::bytes(file);
    tar::probe(&file)?;
    tar::tree(&file).map(drop)
}

/// What is read can be written, and reads back alike.
fn read_verbatim(file: &[u8], env: &mut Env) -> Result<()> {
    let file = Blob::bytes(file);
    let entries = verbatim::Entries::new(&file).collect::<Result<Vec<_>>>()?;
    let fresh = Env::scratch(1).spool;
    let mut writer = verbatim::Writer::new(std::mem::replace(&mut env.spool, fresh));
    for (entry, body) in &entries {
        // Not everything that can be read can be said by PAX.
        writer.add(entry, body)?;
    }
    let again = writer.finish()?;
    let read = verbatim::Entries::new(&again).collect::<Result<Vec<_>>>().expect("what was just written");
    assert_eq!(read.len(), entries.len());
    Ok(())
}

fn read_cpio(file: &[u8], _: &mut Env) -> Result<()> {
    cpio::Members::new(&Blob::bytes(file)).try_for_each(|member| member.map(drop))
}

fn read_iso(file: &[u8], _: &mut Env) -> Result<()> {
    let file = Blob::bytes(file);
    iso9660::probe(&file)?;
    iso9660::dump(&file, &mut formats::dump::Dump::new())?;
    iso9660::read(&file).map(drop)
}

fn read_compressed(file: &[u8], _: &mut Env) -> Result<()> {
    let reader = compress::reader(Codec::sniff(file), file)?;
    std::io::copy(&mut reader.take(UNPACKED_MAX), &mut std::io::sink())?;
    Ok(())
}

fn read_kernel(file: &[u8], _: &mut Env) -> Result<()> {
    let file = Blob::bytes(file);
    let kernel = Kernel::identify(&file)?;
    kernel.facts()?;
    std::io::copy(&mut kernel.content()?.take(UNPACKED_MAX), &mut std::io::sink())?;
    Ok(())
}

fn read_ova(file: &[u8], env: &mut Env) -> Result<()> {
    let files = tar::files(&Blob::bytes(file)).unwrap_or_default();
    ova::unwrap(&files, None, env).map(drop)
}

fn read_zip(file: &[u8], _: &mut Env) -> Result<()> {
    for member in zip::files(&Blob::bytes(file), 32)? {
        let mut content = member.reader()?.take(UNPACKED_MAX);
        std::io::copy(&mut content, &mut std::io::sink())?;
    }
    Ok(())
}

/// What every platform would say of it, and so what every reader of a disk finds.
fn read_disk(file: &[u8], env: &mut Env) -> Result<()> {
    let disk = Blob::bytes(file);
    let raw = formats::format("raw").expect("it is there");
    let platforms = <&platforms::Platform as Named>::all();
    let platform = platforms[file.iter().fold(0, |sum, byte| sum ^ usize::from(*byte)) % platforms.len()];
    lint::lint(&Subject { format: raw, file: &disk, disk: &disk }, platform, true, env)?;
    disk::boot_any(&disk, &mut env.spool).map(drop)
}

fn read_json(text: &[u8], _: &mut Env) -> Result<()> {
    let index = Index::parse(text).map(|index| drop(index.platforms()));
    let manifest = Manifest::parse(text).map(drop);
    let config = Config::parse(text).map(drop);
    index.or(manifest).or(config)
}

/// A layer that is what its digests say, however damaged: what is in it is judged.
fn read_layer(file: &[u8], env: &mut Env) -> Result<()> {
    let descriptor = Descriptor::new("", Digest::sha256(file), units::bytes(file.len()));
    let layer = Layer { descriptor, diff_id: None, blob: Blob::bytes(file) };
    let tar = layer::unpack(&layer, &mut env.spool, &Silent)?;
    merge::tree(&[("below".into(), tar.clone()), ("above".into(), tar)]).map(drop)
}

fn read_archive(file: &[u8], env: &mut Env) -> Result<()> {
    let Some(archive) = Archive::open(&Blob::bytes(file), "fuzz.tar")? else { return Ok(()) };
    let store: &dyn Store = &archive;
    for descriptor in store.index()? {
        let Image { layers, .. } = oci::select(store, &descriptor, &Platform::linux("amd64"))?;
        let unpack = |layer: &Layer| Ok((String::new(), layer::unpack(layer, &mut env.spool, &Silent)?));
        merge::tree(&layers.iter().map(unpack).collect::<Result<Vec<_>>>()?)?;
    }
    Ok(())
}

/// A store that has one document under every name.
#[derive(Debug)]
struct One<'a>(&'a [u8]);

impl Store for One<'_> {
    fn name(&self) -> String {
        "fuzz".into()
    }

    fn index(&self) -> Result<Vec<Descriptor>> {
        Ok(Vec::new())
    }

    fn open(&self, _: &Digest) -> Result<Option<Blob>> {
        Ok(Some(Blob::bytes(self.0)))
    }
}

fn read_cosign(text: &[u8], _: &mut Env) -> Result<()> {
    let layer = |media_type: &str| Descriptor {
        annotations: vec![("dev.cosignproject.cosign/signature".into(), "c2ln".into())],
        ..Descriptor::new(media_type, Digest::sha256(text), units::bytes(text.len()))
    };
    let layers = ["application/vnd.dev.cosign.simplesigning.v1+json", "application/vnd.dev.sigstore.bundle.v0.3+json"].map(layer);
    let manifest = Manifest { config: layers[0].clone(), layers: layers.into(), annotations: Vec::new() };
    // It is of one form at most.
    let read = cosign::signatures(&One(text), &manifest, &Digest::sha256(b""))?;
    read.into_iter().reduce(Result::or).map_or(Ok(()), |signature| signature.map(drop))
}

/// What is a reference reads back from what is shown of it.
fn read_reference(text: &[u8], _: &mut Env) -> Result<()> {
    let reference: Reference = String::from_utf8_lossy(text).parse()?;
    assert_eq!(reference.to_string().parse::<Reference>().expect("what was shown"), reference);
    Ok(())
}

/// What process 1 of a container image reads.
fn read_init(text: &[u8], _: &mut Env) -> Result<()> {
    let config = initconfig::Config::parse(text).map_err(|error| Error::bad_input(error.to_string()))?;
    assert_eq!(initconfig::Config::parse(&config.write()), Ok(config.clone()));
    let line = initconfig::cmdline::Cmdline::new(text);
    _ = (line.arguments(), line.value("ip").map(|value| initconfig::address::Ip::parse(&value)));
    _ = initconfig::identity::Identity::find(&config.user, text, text);
    Ok(())
}

fn init_config() -> Vec<u8> {
    let config = initconfig::Config {
        entrypoint: vec![b"/bin/a\\\n".to_vec()],
        env: vec![b"A=b".to_vec()],
        user: b"1:adm".to_vec(),
        root: Some(b"/dev/vda".to_vec()),
        ..initconfig::Config::default()
    };
    config.write()
}

const XID: u32 = 0x0102_0304;
const MAC: [u8; 6] = [0x52, 0x54, 0, 1, 2, 3];

/// A packet of a hostile server: to a client that asks, and to one that has a lease.
fn read_dhcp(packet: &[u8], _: &mut Env) -> Result<()> {
    use initconfig::{dhcp, lease::Client};
    let message = dhcp::payload(packet).unwrap_or(packet);
    let mut client = Client::new(MAC, XID, 0);
    for now in [0, 10_000, 4_000_000, 5_000_000] {
        client.tick(now);
        client.receive(message, now);
        let settings = client.lease().map(|lease| &lease.settings);
        let text = settings.map(|settings| settings.resolv_conf()).unwrap_or_default();
        assert!(text.iter().all(|byte| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\n')), "{}", text.escape_ascii());
    }
    dhcp::Answer::parse(message, XID, MAC).map(drop).ok_or_else(|| Error::bad_input("no answer to us"))
}

/// An acknowledgement with every option that is read.
fn dhcp_packet() -> Vec<u8> {
    let mut message = initconfig::dhcp::message(initconfig::dhcp::Ask::Discover, XID, MAC, 0);
    message.truncate(240);
    message[0] = 2;
    message[16..20].copy_from_slice(&[10, 0, 2, 15]);
    message.extend([
        53, 1, 5, 54, 4, 10, 0, 2, 2, 51, 4, 0, 0, 14, 16, 58, 4, 0, 0, 7, 8, 59, 4, 0, 0, 12, 78, 1, 4, 255, 255, 255, 0, 52, 1, 3,
    ]);
    message.extend([3, 4, 10, 0, 2, 2, 6, 4, 10, 0, 2, 3, 15, 3, b'l', b'a', b'n', 12, 1, b'a', 121, 8, 24, 10, 1, 2, 10, 0, 2, 2, 255]);
    message
}

const MODULES: &[u8] = b"alias virtio:d[0-9]*v?[!a] a-b\na/a_b.ko: c.ko\nc.ko:\nsoftdep a_b pre: c post: d\n";

/// One text as all three indexes: what is another's line is passed over.
fn read_modules(text: &[u8], _: &mut Env) -> Result<()> {
    let modules = initconfig::modules::Modules::parse(text, text, text);
    let names = modules.named(b"virtio:d00000001v00001AF4");
    names.into_iter().for_each(|name| drop(modules.order(name)));
    Ok(())
}

fn read_options(text: &[u8], _: &mut Env) -> Result<()> {
    let text = String::from_utf8_lossy(text);
    let pairs: Vec<_> = text.lines().filter_map(|line| line.split_once('=')).collect();
    FORMATS.iter().try_for_each(|format| {
        let options = Options::parse_known(format.options(), pairs.iter().copied())?;
        if format.is_written() { format.plan(&options).map(drop) } else { Ok(()) }
    })
}
