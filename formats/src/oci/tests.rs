use super::{archive::Archive, *};
use crate::{
    Blob, Env, Kind, Result, Silent,
    compress::{Codec, Encoding},
    tar::{Dialect, Writer},
    tree::{Content, Inode},
};
use proptest::prelude::*;
use std::num::NonZeroUsize;

fn file(bytes: impl Into<Vec<u8>>) -> Inode {
    Inode::new(Content::File(Blob::bytes(bytes.into())), 0o644)
}

fn tar(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new(Dialect::Pax);
    for (path, bytes) in files {
        writer.add(path.as_bytes(), &file(bytes.clone())).unwrap();
    }
    writer.finish().to_vec(1 << 24).unwrap()
}

fn packed(codec: Codec, bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    Encoding::new(codec, None).unwrap().write(&Blob::bytes(bytes), NonZeroUsize::MIN, &Silent, &mut packed).unwrap();
    packed
}

/// What `docker save` writes of an image of three layers, the second of which is compressed.
fn saved() -> Vec<u8> {
    let layers = [
        tar(&[("etc/a", b"one".to_vec()), ("etc/b", b"two".to_vec())]),
        tar(&[("etc/a", b"three".to_vec())]),
        tar(&[("etc/.wh.b", Vec::new())]),
    ];
    let ids: Vec<_> = layers.iter().map(|layer| format!("\"{}\"", Digest::sha256(layer))).collect();
    let config =
        format!(r#"{{"architecture":"amd64","os":"linux","config":{{"Cmd":["/a"]}},"rootfs":{{"diff_ids":[{}]}}}}"#, ids.join(","));
    let name = Digest::sha256(config.as_bytes()).hex().to_owned();
    let paths: Vec<_> = (0..3).map(|nth| format!("{}/layer.tar", nth.to_string().repeat(64))).collect();
    let manifest = format!(r#"[{{"Config":"{name}.json","RepoTags":["me/app:1"],"Layers":["{}"]}}]"#, paths.join("\",\""));
    tar(&[
        (paths[0].as_str(), layers[0].clone()),
        (&paths[1], packed(Codec::Zstd, &layers[1])),
        (&paths[2], layers[2].clone()),
        (&format!("{name}.json"), config.into_bytes()),
        ("manifest.json", manifest.into_bytes()),
    ])
}

/// The whole way: the archive, the image of a name in it, its layers, their tree as `path=text`.
fn tree_of(archive: &[u8], env: &mut Env) -> Result<Option<String>> {
    let Some(archive) = Archive::open(&Blob::bytes(archive), "x.tar")? else { return Ok(None) };
    let store: &dyn Store = &archive;
    let index = store.index()?;
    let Some(descriptor) = named(&index, "docker.io/me/app:1") else { return Ok(None) };
    let image = select(store, descriptor, &Platform::linux("amd64"))?;
    let unpack = |layer: &Layer| Ok((layer.descriptor.digest.to_string(), layer::unpack(layer, &mut env.spool, &Silent)?));
    let layers = image.layers.iter().map(unpack).collect::<Result<Vec<_>>>()?;
    let tree = merge::tree(&layers)?;
    let text = |inode: usize| match &tree.inodes[inode].content {
        Content::File(body) => String::from_utf8_lossy(&body.to_vec(99).unwrap_or_default()).into_owned(),
        _ => String::new(),
    };
    Ok(Some(
        tree.names.iter().map(|name| format!("{}={}", String::from_utf8_lossy(&name.path), text(name.inode))).collect::<Vec<_>>().join(" "),
    ))
}

#[test]
fn what_docker_saves_is_an_image() {
    assert_eq!(tree_of(&saved(), &mut Env::scratch(1)).unwrap().unwrap(), "etc= etc/a=three");
    assert!(Archive::open(&Blob::bytes(tar(&[("manifest.json", b"{}".to_vec())])), "").unwrap().is_none(), "any tar may have such a file");
    assert!(Archive::open(&Blob::bytes(tar(&[("etc/a", Vec::new())])), "").unwrap().is_none());
}

#[test]
fn a_layer_that_is_another_is_refused() {
    let (right, other) = (tar(&[("a", b"right".to_vec())]), tar(&[("a", b"other".to_vec())]));
    let unpack = |stored: &[u8], digest: &[u8], content: &[u8]| {
        let descriptor = Descriptor::new("", Digest::sha256(digest), 0);
        let layer = Layer { descriptor, diff_id: Some(Digest::sha256(content)), blob: Blob::bytes(stored) };
        layer::unpack(&layer, &mut Env::scratch(1).spool, &Silent).map(|tar| tar.to_vec(1 << 20).unwrap())
    };
    for codec in [Codec::None, Codec::Gzip, Codec::Zstd] {
        let stored = packed(codec, &right);
        assert!(unpack(&stored, &stored, &right).unwrap() == right, "{codec}");
        let error = unpack(&stored, &other, &right).unwrap_err().to_string();
        assert!(error.starts_with("layer sha256:") && error.contains("its digest is"), "{codec}: {error}");
        let error = unpack(&stored, &stored, &other).unwrap_err().to_string();
        assert!(error.contains("what is in it (diff_id): its digest is"), "{codec}: {error}");
        let cut = &stored[..stored.len() / 2];
        let error = unpack(cut, cut, &right).unwrap_err();
        assert_eq!(error.kind(), Kind::BadInput, "{codec}: {error}");
    }
}

proptest! {
    /// Whatever is done to an archive, what is wrong is said, and by the right kind.
    #[test]
    fn damaged_archives_are_errors(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in prop::option::of(any::<prop::sample::Index>())) {
        let mut bytes = saved();
        for (at, byte) in &edits {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Err(error) = tree_of(&bytes, &mut Env::scratch(1)) {
            prop_assert!(matches!(error.kind(), Kind::BadInput | Kind::Unsupported), "{error:?}");
        }
    }
}
