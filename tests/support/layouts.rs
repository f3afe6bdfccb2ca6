//! Image layouts out of trees.

use formats::{
    Blob, Tree,
    compress::{Codec, Encoding},
    oci::{Digest, LAYOUT, blob_name, media_type::MANIFEST},
    tar::{Dialect, Writer},
};
use serde_json::{Value, json};
use std::{fs, num::NonZeroUsize, path::Path};

/// Writes images into one layout: the name of each, its config, and the tree in its only layer, which gzip packs.
pub fn write(directory: &Path, images: &[(&str, Value, Tree)]) {
    let mut manifests = Vec::new();
    for (name, config, tree) in images {
        let mut writer = Writer::new(Dialect::Pax);
        writer.tree(tree).expect("a tar holds the tree");
        let tar = writer.finish();
        let hex: String = tar.sha256().expect("memory can be read").iter().map(|byte| format!("{byte:02x}")).collect();
        let config = json!({"architecture": "amd64", "os": "linux", "config": config, "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{hex}")]}});
        manifests.push(image(directory, name, config.to_string().as_bytes(), &[packed(&tar)]));
    }
    write_index(directory, &manifests);
}

/// A layer as gzip packs it.
pub fn packed(tar: &Blob) -> Vec<u8> {
    let mut packed = Vec::new();
    let encoding = Encoding::new(Codec::Gzip, Some(1)).expect("gzip has a level 1");
    encoding.write(tar, NonZeroUsize::new(2).expect("two"), &formats::Silent, &mut packed).expect("memory takes it");
    packed
}

/// Writes an image, whatever its config and its layers are; gives its entry of the index.
pub fn image(directory: &Path, name: &str, config: &[u8], layers: &[Vec<u8>]) -> Value {
    let put = |bytes: &[u8], kind: &str| {
        let digest = Digest::sha256(bytes);
        let path = directory.join(blob_name(&digest));
        fs::create_dir_all(path.parent().expect("a blob is in a directory")).expect("the scratch directory can be written");
        fs::write(path, bytes).expect("the scratch directory can be written");
        json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest.as_str(), "size": bytes.len()})
    };
    let is_packed = |layer: &[u8]| layer.starts_with(&[0x1f, 0x8b]);
    let layers: Vec<_> =
        layers.iter().map(|layer| put(layer, if is_packed(layer) { "layer.v1.tar+gzip" } else { "layer.v1.tar" })).collect();
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": put(config, "config.v1+json"), "layers": layers});
    let mut entry = put(manifest.to_string().as_bytes(), "manifest.v1+json");
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": format!("docker.io/{name}")});
    entry
}

/// Makes a layout of a directory with these images.
pub fn write_index(directory: &Path, manifests: &[Value]) {
    let files = [("index.json", json!({"schemaVersion": 2, "manifests": manifests}).to_string()), ("oci-layout", LAYOUT.to_owned())];
    for (name, text) in files {
        fs::write(directory.join(name), text).expect("the scratch directory can be written");
    }
}

/// A tree as a directory of this machine holds it, behind a prefix; root's, without times.
pub fn of_directory(builder: &mut formats::tree::Builder, directory: &Path, prefix: &str) {
    use formats::tree::{Content, Inode};
    use std::os::unix::fs::PermissionsExt;
    let mut entries: Vec<_> =
        fs::read_dir(directory).expect("the directory can be read").map(|entry| entry.expect("a name").path()).collect();
    entries.sort();
    for path in entries {
        let name = format!("{prefix}{}", path.file_name().and_then(|name| name.to_str()).expect("names are UTF-8"));
        let meta = path.symlink_metadata().expect("it is there");
        let content = if meta.is_symlink() {
            Content::Symlink(fs::read_link(&path).expect("a link").to_str().expect("UTF-8").into())
        } else if meta.is_dir() {
            Content::Directory
        } else {
            Content::File(Blob::bytes(fs::read(&path).expect("a file")))
        };
        let is_directory = matches!(content, Content::Directory);
        builder.add(name.as_bytes(), Inode::new(content, meta.permissions().mode() & 0o7777)).expect("a tree of a machine is one");
        if is_directory {
            of_directory(builder, &path, &format!("{name}/"));
        }
    }
}
