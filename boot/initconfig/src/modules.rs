//! Which modules drive a device, and in which order they are loaded: `modules.alias`, `modules.dep` and `modules.softdep` as depmod(8)
//! writes them.
//!
//! ```text
//!  alias virtio:d00000001v* virtio_net          kernel/drivers/net/virtio_net.ko: kernel/.../net_failover.ko ...
//!  softdep uhci_hcd pre: ehci_pci post: x       a module's own file, then all that it needs, the nearest first
//! ```
//! A name of a module has `_` where a file or a dependency may have `-`. A soft dependency may be an alias: ext4's is `crc32c`.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use crate::pattern;

/// The three files.
#[derive(Debug, Default)]
pub struct Modules<'a> {
    aliases: Vec<(&'a [u8], Vec<u8>)>,
    files: BTreeMap<Vec<u8>, File<'a>>,
    soft: BTreeMap<Vec<u8>, Soft>,
}

#[derive(Debug)]
struct File<'a> {
    path: &'a [u8],
    needs: Vec<&'a [u8]>,
}

#[derive(Debug, Default)]
struct Soft {
    before: Vec<Vec<u8>>,
    after: Vec<Vec<u8>>,
}

/// More modules than this are loaded for no device: a circle of names would be.
const ORDER_MAX: usize = 1024;
/// Soft dependencies of soft dependencies go no deeper.
const DEPTH_MAX: u32 = 16;

impl<'a> Modules<'a> {
    /// Reads the text of `modules.alias`, `modules.dep` and `modules.softdep`. Lines that are of another kind are passed over.
    pub fn parse(alias: &'a [u8], dep: &'a [u8], softdep: &'a [u8]) -> Self {
        let mut modules = Self::default();
        for line in lines(alias) {
            let mut words = words(line);
            if let (Some(b"alias"), Some(pattern), Some(name), None) = (words.next(), words.next(), words.next(), words.next()) {
                modules.aliases.push((pattern, normal(name)));
            }
        }
        for line in lines(dep) {
            let mut halves = line.splitn(2, |byte| *byte == b':');
            if let (Some(file), Some(needs)) = (halves.next(), halves.next()) {
                modules.files.insert(name(file), File { path: file, needs: words(needs).collect() });
            }
        }
        for line in lines(softdep) {
            let mut words = words(line);
            let (Some(b"softdep"), Some(name)) = (words.next(), words.next()) else { continue };
            let soft = modules.soft.entry(normal(name)).or_default();
            let mut to = None;
            for word in words {
                match (word, &mut to) {
                    (b"pre:", _) => to = Some(false),
                    (b"post:", _) => to = Some(true),
                    (name, Some(false)) => soft.before.push(name.to_vec()),
                    (name, Some(true)) => soft.after.push(name.to_vec()),
                    (_, None) => {}
                }
            }
        }
        modules
    }

    /// The names of the modules for a device's modalias, or for an alias such as `fs-squashfs`.
    pub fn named(&self, modalias: &[u8]) -> Vec<&[u8]> {
        self.aliases.iter().filter(|(pattern, _)| pattern::matches(pattern, modalias)).map(|(_, name)| name.as_slice()).collect()
    }

    /// The files to load for a module, in their order, itself among them; empty when it is not there, as when it is built in.
    pub fn order(&self, module: &[u8]) -> Vec<&'a [u8]> {
        let mut order = Order { files: Vec::new(), seen: BTreeSet::new() };
        self.add(module, &mut order, 0);
        order.files
    }

    fn add(&self, name: &[u8], order: &mut Order<'a>, depth: u32) {
        if depth > DEPTH_MAX || order.files.len() >= ORDER_MAX || !order.seen.insert(name.to_vec()) {
            return;
        }
        let deeper = depth.saturating_add(1);
        let module = normal(name);
        let Some(File { path, needs }) = self.files.get(&module) else {
            return self.named(name).into_iter().for_each(|name| self.add(name, order, deeper));
        };
        let soft = self.soft.get(&module);
        soft.into_iter().flat_map(|soft| &soft.before).for_each(|name| self.add(name, order, deeper));
        // depmod lists the whole closure, the nearest first.
        needs.iter().rev().for_each(|file| self.add(&self::name(file), order, deeper));
        if !order.files.contains(path) {
            order.files.push(path);
        }
        soft.into_iter().flat_map(|soft| &soft.after).for_each(|name| self.add(name, order, deeper));
    }
}

struct Order<'a> {
    files: Vec<&'a [u8]>,
    seen: BTreeSet<Vec<u8>>,
}

/// The name of the module in a file: without directories and endings, `_` for `-`.
fn name(file: &[u8]) -> Vec<u8> {
    let base = file.rsplit(|byte| *byte == b'/').next().unwrap_or(file);
    normal(base.split(|byte| *byte == b'.').next().unwrap_or(base))
}

fn normal(name: &[u8]) -> Vec<u8> {
    name.iter().map(|byte| if *byte == b'-' { b'_' } else { *byte }).collect()
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"#"))
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::Modules;
    use alloc::{string::String, vec::Vec};

    const ALIAS: &[u8] = b"# Aliases extracted from modules themselves.\n\
        alias virtio:d00000001v* virtio_net\nalias fs-ext4 ext4\nalias crypto-crc32c crc32c-intel\nalias pci:v*d*sv*sd*bc01sc06i01* ahci\nalias torn\n\
        alias virtio:d00000001v* second-driver\n";
    const DEP: &[u8] = b"kernel/fs/ext4/ext4.ko: kernel/lib/crc16.ko kernel/fs/mbcache.ko kernel/fs/jbd2/jbd2.ko\n\
        kernel/lib/crc16.ko:\nkernel/fs/mbcache.ko:\nkernel/fs/jbd2/jbd2.ko: kernel/lib/crc16.ko\nkernel/crypto/crc32c-intel.ko.xz:\n\
        kernel/net/virtio-net.ko: kernel/net/failover.ko\nkernel/net/failover.ko:\na.ko:\nb.ko:\ntorn";
    const SOFT: &[u8] = b"softdep ext4 pre: crypto-crc32c\nsoftdep a post: b\nsoftdep b pre: a\nsoftdep torn\n";

    fn order(module: &str) -> Vec<String> {
        let modules = Modules::parse(ALIAS, DEP, SOFT);
        modules.order(module.as_bytes()).into_iter().map(|file| String::from_utf8_lossy(file).into_owned()).collect()
    }

    #[test]
    fn a_device_has_its_modules() {
        let modules = Modules::parse(ALIAS, DEP, SOFT);
        assert_eq!(modules.named(b"virtio:d00000001v00001AF4"), [b"virtio_net".as_slice(), b"second_driver"]);
        assert_eq!(modules.named(b"fs-ext4"), [b"ext4"]);
        assert!(modules.named(b"fs-ext").is_empty());
    }

    #[test]
    fn what_a_module_needs_comes_first() {
        let ext4 = order("ext4");
        assert_eq!(ext4[0], "kernel/crypto/crc32c-intel.ko.xz");
        assert_eq!(ext4[4], "kernel/fs/ext4/ext4.ko");
        let place = |name: &str| ext4.iter().position(|file| file.contains(name)).unwrap();
        assert!(place("crc16") < place("jbd2") && place("mbcache") < 4);
        // By the name of its file or by its own.
        assert_eq!(order("virtio_net"), order("virtio-net"));
        assert_eq!(order("virtio_net"), ["kernel/net/failover.ko", "kernel/net/virtio-net.ko"]);
    }

    #[test]
    fn circles_end_and_what_is_not_there_is_passed_over() {
        assert_eq!(order("a"), ["a.ko", "b.ko"]);
        assert_eq!(order("b"), ["a.ko", "b.ko"]);
        assert!(order("built_in").is_empty());
        let text: Vec<u8> = (0..3000).flat_map(|n| alloc::format!("m{n}.ko: m{}.ko\n", n + 1).into_bytes()).collect();
        assert!(Modules::parse(b"", &text, b"").order(b"m0").len() <= 17);
    }
}
