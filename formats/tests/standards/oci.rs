//! Layers over one another against umoci, which unpacks them into a directory.
//!
//! `tests/setup.sh` installs the program; a missing one is a failure.

use formats::{
    Blob, Tree,
    oci::{Digest, LAYOUT, blob_name, merge},
    tar::{Dialect, Writer},
    tree::{Content, Inode, ShowPath},
};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::Command,
};

/// What an entry of a layer is.
#[derive(Clone, Debug)]
enum Op {
    Directory(u32),
    File(u8),
    Symlink(&'static str),
    /// To a file that stands in the same layer before it; else a file.
    HardLink(usize),
    Whiteout,
    Opaque,
}

/// Where entries are. `l` may become a link to a directory, and then `l/a` is in that.
const PATHS: [&str; 11] = ["a", "b", "l", "d", "d/a", "d/b", "d/e", "d/e/a", "d/e/f", "l/a", "l/e"];
const TARGETS: [&str; 5] = ["d", "a", "d/e", "../d", "nowhere"];

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => prop::sample::select(&[0o755, 0o700, 0o1777][..]).prop_map(Op::Directory),
        4 => any::<u8>().prop_map(Op::File),
        1 => prop::sample::select(&TARGETS[..]).prop_map(Op::Symlink),
        1 => any::<usize>().prop_map(Op::HardLink),
        2 => Just(Op::Whiteout),
        1 => Just(Op::Opaque),
    ]
}

fn layers() -> impl Strategy<Value = Vec<Vec<(&'static str, Op)>>> {
    prop::collection::vec(prop::collection::vec((prop::sample::select(&PATHS[..]), op()), 0..8), 1..4)
}

/// A layer as a tar. A name stands in it once, as in every layer that a builder makes.
fn tar(ops: &[(&'static str, Op)]) -> Blob {
    let mut writer = Writer::new(Dialect::Pax);
    let mut names: Vec<&str> = Vec::new();
    let mut files: Vec<&str> = Vec::new();
    for (path, op) in ops {
        if names.contains(path) {
            continue;
        }
        names.push(path);
        let (directory, name) = path.rsplit_once('/').map_or((String::new(), *path), |(directory, name)| (format!("{directory}/"), name));
        let file = |byte: u8, mode| Inode::new(Content::File(Blob::bytes([byte])), mode);
        match op {
            Op::Directory(mode) => writer.add(path.as_bytes(), &Inode::new(Content::Directory, *mode)).unwrap(),
            Op::HardLink(nth) if !files.is_empty() => {
                writer.hard_link(path.as_bytes(), files[nth % files.len()].as_bytes(), &file(0, 0o644)).unwrap();
            }
            Op::HardLink(_) => {}
            Op::File(byte) => {
                files.push(path);
                writer.add(path.as_bytes(), &file(*byte, 0o600 | u32::from(byte & 0o77))).unwrap();
            }
            // Links in a circle everybody refuses, each at another moment: of what has entries below it only `l` is a link, to what is none.
            Op::Symlink(_) if matches!(*path, "d" | "d/e") => {}
            Op::Symlink(_) if *path == "l" => writer.add(path.as_bytes(), &Inode::new(Content::Symlink(b"d".to_vec()), 0o777)).unwrap(),
            Op::Symlink(target) => writer.add(path.as_bytes(), &Inode::new(Content::Symlink((*target).into()), 0o777)).unwrap(),
            Op::Whiteout => writer.add(format!("{directory}.wh.{name}").as_bytes(), &file(0, 0o644)).unwrap(),
            Op::Opaque => writer.add(format!("{directory}.wh..wh..opq").as_bytes(), &file(0, 0o644)).unwrap(),
        }
    }
    writer.finish()
}

/// An image layout in a directory.
fn write(directory: &Path, layers: &[Blob]) {
    let put = |bytes: &[u8]| -> Value {
        let digest = Digest::sha256(bytes);
        let path = directory.join(blob_name(&digest));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        json!({"digest": digest.as_str(), "size": bytes.len()})
    };
    let layers: Vec<Value> = layers.iter().map(|layer| put(&layer.to_vec(1 << 20).unwrap())).collect();
    let typed = |mut value: Value, media_type: &str| {
        value["mediaType"] = format!("application/vnd.oci.image.{media_type}").into();
        value
    };
    let ids: Vec<_> = layers.iter().map(|layer| layer["digest"].clone()).collect();
    let config = json!({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": ids}});
    let config = typed(put(config.to_string().as_bytes()), "config.v1+json");
    let layers: Vec<Value> = layers.into_iter().map(|layer| typed(layer, "layer.v1.tar")).collect();
    let manifest =
        json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": layers});
    let mut entry = typed(put(manifest.to_string().as_bytes()), "manifest.v1+json");
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": "it"});
    fs::write(directory.join("index.json"), json!({"schemaVersion": 2, "manifests": [entry]}).to_string()).unwrap();
    fs::write(directory.join("oci-layout"), LAYOUT).unwrap();
}

/// What is in a directory: by path its kind, mode and content; hard links name the first of their names.
fn of_directory(root: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    let mut paths = Vec::new();
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.symlink_metadata().unwrap().is_dir() {
                pending.push(path.clone());
            }
            paths.push(path);
        }
    }
    paths.sort();
    let mut first: BTreeMap<u64, String> = BTreeMap::new();
    for path in paths {
        let meta = path.symlink_metadata().unwrap();
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        let mode = meta.permissions().mode() & 0o7777;
        let shown = if meta.is_dir() {
            format!("directory {mode:o}")
        } else if meta.is_symlink() {
            format!("-> {} = {}", fs::read_link(&path).unwrap().display(), first.entry(meta.ino()).or_insert_with(|| name.clone()))
        } else {
            format!("{mode:o} {:?} = {}", fs::read(&path).unwrap(), first.entry(meta.ino()).or_insert_with(|| name.clone()))
        };
        all.insert(name, shown);
    }
    all
}

fn of_tree(tree: &Tree) -> BTreeMap<String, String> {
    let mut names: Vec<_> = tree.names.iter().map(|name| (ShowPath(&name.path).to_string(), name.inode)).collect();
    // As a directory is read: by the parts of paths.
    names.sort_by(|(one, _), (other, _)| one.split('/').cmp(other.split('/')));
    let mut first: BTreeMap<usize, String> = BTreeMap::new();
    let mut all = BTreeMap::new();
    for (name, number) in names {
        let inode = &tree.inodes[number];
        let mode = inode.mode;
        let mut same = || first.entry(number).or_insert_with(|| name.clone()).clone();
        let shown = match &inode.content {
            Content::Directory => format!("directory {mode:o}"),
            Content::Symlink(target) => format!("-> {} = {}", ShowPath(target), same()),
            Content::File(body) => format!("{mode:o} {:?} = {}", body.to_vec(9).unwrap(), same()),
            other => panic!("{other:?}"),
        };
        all.insert(name, shown);
    }
    all
}

/// What umoci makes of the layers; none where it refuses them.
fn umoci(layers: &[Blob]) -> Option<BTreeMap<String, String>> {
    let directory = tempfile::tempdir().unwrap();
    let (layout, bundle) = (directory.path().join("layout"), directory.path().join("bundle"));
    write(&layout, layers);
    let mut command = Command::new("umoci");
    command.args(["unpack", "--rootless", "--image"]).arg(format!("{}:it", layout.display())).arg(&bundle);
    let done = command.output().unwrap_or_else(|error| panic!("umoci: {error}; tests/setup.sh installs what the tests need"));
    done.status.success().then(|| of_directory(&bundle.join("rootfs")))
}

/// Without the modes of directories that no layer has: umoci makes them with others. Where something is opaque it also keeps what a directory
/// below was like that only the names of the layer above bring back.
fn compared(all: BTreeMap<String, String>, layers: &[Vec<(&str, Op)>]) -> BTreeMap<String, String> {
    let is_opaque = layers.iter().flatten().any(|(_, op)| matches!(op, Op::Opaque));
    let is_explicit = |name: &str| layers.iter().flatten().any(|(path, op)| *path == name && matches!(op, Op::Directory(_)));
    let shown = |name: &str, shown: String| {
        let is_made = shown.starts_with("directory") && (is_opaque || !is_explicit(name));
        if is_made { "directory".into() } else { shown }
    };
    all.into_iter().map(|(name, text)| (name.clone(), shown(&name, text))).collect()
}

fn merged(tars: &[Blob]) -> formats::Result<Tree> {
    merge::tree(&tars.iter().enumerate().map(|(nth, tar)| (nth.to_string(), tar.clone())).collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn layers_lie_over_one_another_as_umoci_lays_them(layers in layers()) {
        // Whiteouts stand first, as the specification wants it, and umoci needs it: it takes entries as they come.
        let sorted = |ops: &Vec<(&'static str, Op)>| {
            let mut ops = ops.clone();
            ops.sort_by_key(|(_, op)| !matches!(op, Op::Whiteout | Op::Opaque));
            tar(&ops)
        };
        let tars: Vec<_> = layers.iter().map(sorted).collect();
        let ours = merged(&tars);
        let theirs = umoci(&tars);
        match (ours, theirs) {
            (Ok(ours), Some(theirs)) => prop_assert_eq!(compared(of_tree(&ours), &layers), compared(theirs, &layers)),
            // Below a link that leads nowhere umoci makes the directory that it leads to; we say so.
            (Err(error), _) if error.to_string().contains("through a symbolic link") => {}
            (ours, theirs) => prop_assert!(ours.is_err() && theirs.is_none(), "ours {:?}, umoci's {theirs:?}", ours.map(|tree| of_tree(&tree))),
        }
    }
}
