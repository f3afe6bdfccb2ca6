use super::*;
use crate::{
    Progress,
    compress::Encoding,
    elf, testing,
    tree::{Builder, Inode},
};
use std::sync::{Arc, Mutex};

const SIGNATURE: &[u8] = b"signed~Module signature appended~\n";

fn module(info: &[&str]) -> Vec<u8> {
    elf::file(".modinfo", info.iter().flat_map(|pair| pair.bytes().chain([0])).collect::<Vec<_>>().as_slice(), SIGNATURE)
}

/// A tree of these files below `lib/modules/6.1`.
fn tree(files: &[(&str, Vec<u8>)]) -> Tree {
    let mut builder = Builder::default();
    for (path, body) in files {
        let path = format!("lib/modules/6.1/{path}");
        builder.add(path.as_bytes(), Inode::new(Content::File(Blob::bytes(body.as_slice())), 0o644)).unwrap();
    }
    builder.finish()
}

fn select(files: &[(&str, Vec<u8>)], set: &str) -> Result<Selection> {
    Modules::of(&tree(files))?.select(&set.parse()?, &mut testing::env())
}

fn paths(selection: &Selection) -> Vec<&str> {
    selection.modules.iter().map(|(path, _)| path.as_str()).collect()
}

/// A disk on a bus, a driver nobody asked for, and what is wanted by other names.
fn some() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("kernel/drivers/virtio/virtio_blk.ko", module(&["alias=virtio:d00000002v*", "depends=virtio-ring,virtio", "license=GPL"])),
        ("kernel/drivers/virtio/virtio-ring.ko", module(&["depends=virtio"])),
        ("kernel/drivers/virtio/virtio.ko", module(&["depends=", "softdep=pre: crypto-sum late", "softdep=ignored post: after-all"])),
        ("kernel/crypto/sum_generic.ko", module(&["alias=crypto-sum", "alias=sum"])),
        ("kernel/crypto/sum_fast.ko", module(&["alias=crypto-sum"])),
        ("kernel/lib/after_all.ko", module(&[])),
        ("kernel/lib/ignored.ko", module(&[])),
        ("kernel/net/wireguard.ko", module(&["depends=udp_tunnel", "alias=rtnl-link-wireguard"])),
        ("kernel/net/udp_tunnel.ko", module(&[])),
        ("modules.builtin", b"kernel/fs/ext4/ext4.ko\nkernel/lib/crc-ccitt.ko\n".to_vec()),
        ("modules.order", b"kernel/lib/ignored.ko\nkernel/drivers/virtio/virtio_blk.ko\n".to_vec()),
        ("build", Vec::new()),
    ]
}

#[test]
fn a_set_is_closed_over_hard_and_soft_dependencies() {
    let boot = select(&some(), "boot").unwrap();
    let wanted = [
        "kernel/drivers/virtio/virtio_blk.ko",
        "kernel/crypto/sum_fast.ko",
        "kernel/crypto/sum_generic.ko",
        "kernel/drivers/virtio/virtio-ring.ko",
        "kernel/drivers/virtio/virtio.ko",
        "kernel/lib/after_all.ko",
    ];
    assert_eq!(paths(&boot), wanted);
    // What is loaded first stands last.
    let blk = "kernel/drivers/virtio/virtio_blk.ko: kernel/drivers/virtio/virtio-ring.ko kernel/drivers/virtio/virtio.ko\n";
    assert!(boot.dep.starts_with(blk), "{}", boot.dep);
    assert!(boot.dep.ends_with("kernel/lib/after_all.ko:\n"));
    let aliases = "# Aliases extracted from modules themselves.\nalias virtio:d00000002v* virtio_blk\nalias crypto-sum sum_fast\n\
                   alias crypto-sum sum_generic\nalias sum sum_generic\n";
    assert_eq!(boot.alias, aliases);
    let soft = "# Soft dependencies extracted from modules themselves.\nsoftdep virtio pre: crypto-sum late\n\
                softdep virtio ignored post: after-all\n";
    assert_eq!(boot.softdep, soft);
    let files: Vec<_> = boot.files().into_iter().map(|(path, _)| path).collect();
    assert_eq!(files[6..], ["modules.dep", "modules.alias", "modules.softdep", "modules.builtin"]);
}

#[test]
fn sets_are_all_or_more_than_boot() {
    assert_eq!(select(&some(), "all").unwrap().modules.len(), 9);
    let plus = select(&some(), "+wireguard,crc_ccitt").unwrap();
    assert_eq!(plus.modules.len(), 8);
    let error = select(&some(), "+wireguard,wire\u{1b}").unwrap_err();
    assert_eq!(error.to_string(), r"the kernel has no module 'wire\u{1b}'");
    assert!(error.hint_text().is_none());
    let error = select(&some(), "+wiregaurd").unwrap_err();
    assert_eq!(
        (error.to_string().as_str(), error.hint_text()),
        ("the kernel has no module 'wiregaurd'", Some("did you mean 'wireguard'?"))
    );
    for bad in ["", "+", "+a,,b", "most", "Boot"] {
        assert_eq!(bad.parse::<Set>().unwrap_err().kind(), crate::Kind::BadInput, "{bad}");
    }
    let modules = Modules::of(&tree(&some())).unwrap();
    assert!(modules.has("after-all") && modules.has("crc_ccitt") && modules.is_builtin("ext4") && !modules.has("most"));
    assert_eq!(modules.names().count(), 9);
    assert!(Modules::of(&Tree::default()).unwrap().select(&Set::All, &mut testing::env()).unwrap().files().is_empty());
}

#[test]
fn compressed_modules_are_unpacked_and_keep_their_signature() {
    let wanted = select(&some(), "all").unwrap();
    for (codec, ending) in [(Codec::Xz, ".xz"), (Codec::Zstd, ".zst"), (Codec::Gzip, ".gz")] {
        let packed: Vec<_> = some()
            .into_iter()
            .map(|(path, body)| match path.ends_with(".ko") {
                true => {
                    let blob = Encoding::new(codec, None).unwrap().compress(&Blob::bytes(body), &mut testing::env()).unwrap();
                    (format!("{path}{ending}"), blob.to_vec(1 << 20).unwrap())
                }
                false => (path.to_owned(), body),
            })
            .collect();
        let packed: Vec<_> = packed.iter().map(|(path, body)| (path.as_str(), body.clone())).collect();
        for set in ["boot", "all"] {
            let (plain, found) = (select(&some(), set).unwrap(), select(&packed, set).unwrap());
            assert_eq!((&found.dep, &found.alias, &found.softdep), (&plain.dep, &plain.alias, &plain.softdep));
            for ((path, body), (other, same)) in found.modules.iter().zip(&plain.modules) {
                let body = body.to_vec(1 << 20).unwrap();
                assert!(path == other && body == same.to_vec(1 << 20).unwrap() && body.ends_with(SIGNATURE), "{path}");
            }
        }
    }
    assert_eq!(wanted.modules.len(), 9);
}

#[test]
fn updates_take_the_place_of_what_the_kernel_came_with() {
    let files = [
        ("kernel/drivers/nvme.ko", module(&["alias=old"])),
        ("updates/dkms/nvme.ko", module(&["alias=new"])),
        ("kernel/drivers/z.ko", module(&["depends=nvme"])),
    ];
    let all = select(&files, "all").unwrap();
    assert_eq!(all.dep, "kernel/drivers/z.ko: updates/dkms/nvme.ko\nupdates/dkms/nvme.ko:\n");
    assert!(all.alias.ends_with("alias new nvme\n") && !all.alias.contains("old"));
}

#[test]
fn circles_and_crowds_end() {
    let circle = [("a.ko", module(&["depends=b"])), ("b.ko", module(&["depends=c,a", "softdep=pre: a"])), ("c.ko", module(&["depends=a"]))];
    assert_eq!(select(&circle, "all").unwrap().dep, "a.ko: b.ko c.ko\nb.ko: c.ko a.ko\nc.ko: a.ko b.ko\n");
    let names: Vec<_> = (0..=CLOSURE_MAX).map(|nth| (format!("m{nth}.ko"), module(&[&format!("depends=m{}", nth + 1)]))).collect();
    let chain: Vec<_> = names.iter().map(|(path, body)| (path.as_str(), body.clone())).collect();
    let error = select(&chain, "all").unwrap_err().to_string();
    assert_eq!(error, "module m0.ko: it needs more than 128 modules, at most so many are taken");
    assert!(select(&chain[1..], "all").is_ok());
}

#[test]
fn what_no_index_can_hold_is_refused() {
    for path in ["a b.ko", "a:b.ko", "a\u{1b}.ko.xz", "a\n.ko"] {
        let error = select(&[(path, module(&[]))], "all").unwrap_err().to_string();
        assert!(error.starts_with("entry lib/modules/6.1/a") && error.contains("no index can hold it"), "{error}");
    }
    for (body, words) in [
        (module(&["alias=a\nb"]), "module a.ko: its alias is 'a\\nb', must be one line of UTF-8"),
        (elf::file(".modinf", b"", b""), "module a.ko: it has no section .modinfo"),
        (b"no module at all".to_vec(), "module a.ko: it has 16 bytes"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\0\xff\xff\xff\xff".to_vec(), "module a.ko: the gzip data"),
    ] {
        let error = select(&[("a.ko", body)], "all").unwrap_err().to_string();
        assert!(error.starts_with(words), "{error}");
    }
}

#[derive(Debug, Default)]
struct Warned(Mutex<Vec<String>>);

impl Progress for Warned {
    fn advance(&self, _: u64) {}

    fn warn(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

#[test]
fn a_need_that_nothing_meets_is_told() {
    let warned = Arc::new(Warned::default());
    let mut env = Env { progress: Arc::clone(&warned) as Arc<dyn Progress>, ..testing::env() };
    let files = [
        ("a.ko", module(&["depends=gone,there", "softdep=pre: gone-too"])),
        ("modules.builtin", b"kernel/there.ko\n".to_vec()),
        ("b.ko", module(&["depends=far"])),
    ];
    let modules = Modules::of(&tree(&files)).unwrap();
    assert_eq!(modules.select(&"+a".parse().unwrap(), &mut env).unwrap().dep, "a.ko:\n");
    assert_eq!(*warned.0.lock().unwrap(), ["module a needs gone, which is not among the kernel's"]);
}
