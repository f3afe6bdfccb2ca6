//! The build half: images into a tar and into an initrd, images out of a registry, and how long a program takes to say anything.
//!
//! LinuxKit itself cannot be had from Debian. Who has no LinuxKit unpacks each image and packs the trees again.

use super::{
    inputs, limits, race,
    support::{layouts, registry::Registry, tools::run},
};
use formats::Blob;
use serde_json::{Value, json};
use std::{fmt::Write as _, fs, path::Path};

/// How many images the files are spread over.
const PARTS: usize = 8;

/// A yml of some 230 MiB in nine images.
pub fn builds(work: &Path, moby: &str) {
    let layout = work.join("images");
    if !layout.join("index.json").exists() {
        write(work, &layout);
    }
    let ours = |format: &str| {
        format!("{moby} -q build images/app.yml --offline --arch amd64 --images oci-layout:images -f {format} --name ours --dir .")
    };
    let unpack = format!(
        "rm -rf x all && mkdir all && for n in kernel $(seq -f part%.0f 0 {}); do umoci unpack --rootless --image images:docker.io/bench/$n:1 x >/dev/null 2>&1 && cp -al x/rootfs all/$n && rm -rf x || exit 1; done",
        PARTS - 1
    );
    race(
        work,
        "yml to tar, 230 MiB in 9 images",
        &[
            ("moby build", ours("tar"), "ours.tar"),
            ("moby build, kernel and initrd", ours("kernel+initrd"), "ours-initrd.img"),
            ("umoci unpack, tar", format!("{unpack} && tar -cf peer.tar -C all ."), "peer.tar"),
            limits::cat("images/blobs/sha256/*"),
        ],
    );
}

/// 300 MiB in three layers from a registry on loopback into an empty cache.
pub fn pulls(work: &Path, moby: &str) {
    let store = work.join("registry");
    fs::create_dir_all(&store).expect("a directory");
    let registry = Registry::start(&store);
    let layout = work.join("big");
    if !layout.join("index.json").exists() {
        let noise =
            "openssl enc -aes-128-ctr -nosalt -pass pass:moby -iter 1 </dev/zero 2>/dev/null | head -c 314572800 | split -b 100M - noise.";
        run("sh", ["-c", &format!("cd {} && {noise}", work.display())]);
        let layers = ["aa", "ab", "ac"].map(|name| work.join(format!("noise.{name}")));
        let layers = layers.map(|path| tar(work, &[path.to_str().expect("UTF-8").to_owned()]));
        layouts::write_index(&layout, &[image(&layout, "bench/big:1", &layers)]);
    }
    registry.push(&layout, "bench/big:1");
    let (server, mirror) = (format!("127.0.0.1:{}", registry.port), registry.mirror());
    race(
        work,
        "pull of 300 MiB",
        &[
            ("moby pull", format!("rm -rf pulled && {moby} -q pull bench/big:1 --arch amd64 --cache pulled --mirror {mirror}"), "none"),
            (
                "skopeo copy",
                format!(
                    "rm -rf copied && skopeo --insecure-policy copy -q --src-tls-verify=false docker://{server}/bench/big:1 oci:copied:big"
                ),
                "none",
            ),
            limits::cat("big/blobs/sha256/*"),
        ],
    );
}

/// A hundred times, so that the clock shows something.
pub fn starts(work: &Path, moby: &str) {
    let hundred = |command: &str| format!("for n in $(seq 100); do {command} >/dev/null; done");
    race(
        work,
        "a hundred times --help",
        &[
            ("moby build --help", hundred(&format!("{moby} build --help")), "none"),
            ("skopeo --help", hundred("skopeo copy --help"), "none"),
            ("true, as a program", hundred("/bin/true"), "none"),
        ],
    );
}

fn write(work: &Path, layout: &Path) {
    let files: Vec<String> = inputs::paths(230 << 20);
    let mut manifests = Vec::new();
    let kernel = super::support::guest::Arch::Amd64.debian("kernel");
    let mut tree = formats::tree::Builder::default();
    let file = |bytes: Vec<u8>| formats::tree::Inode::new(formats::tree::Content::File(Blob::bytes(bytes)), 0o644);
    tree.add(b"kernel", file(fs::read(kernel).expect("the kernel"))).expect("a plain name");
    let mut writer = formats::tar::Writer::new(formats::tar::Dialect::Pax);
    writer.tree(&tree.finish()).expect("a plain tree");
    manifests.push(image(layout, "bench/kernel:1", &[writer.finish().to_vec(u64::MAX).expect("memory")]));
    let mut yml = "kernel: {image: 'bench/kernel:1', tar: none, cmdline: console=ttyS0}\ninit:\n".to_owned();
    for (nth, part) in files.chunks(files.len().div_ceil(PARTS)).enumerate() {
        manifests.push(image(layout, &format!("bench/part{nth}:1"), &[tar(work, part)]));
        if nth == PARTS / 2 {
            yml += "services:\n";
        }
        let entry = if nth < PARTS / 2 {
            format!("  - bench/part{nth}:1\n")
        } else {
            format!("  - {{name: part{nth}, image: 'bench/part{nth}:1'}}\n")
        };
        let _ = write!(yml, "{entry}");
    }
    fs::write(layout.join("app.yml"), yml).expect("a directory of ours");
    layouts::write_index(layout, &manifests);
}

/// Files of this machine in a tar.
fn tar(work: &Path, files: &[String]) -> Vec<u8> {
    let list = work.join("list");
    fs::write(&list, files.join("\n")).expect("a directory of ours");
    let path = work.join("layer.tar");
    run("tar", ["--format=pax", "-P", "--transform", "s,^/,,", "-T", list.to_str().expect("UTF-8"), "-cf", path.to_str().expect("UTF-8")]);
    fs::read(path).expect("a tar")
}

fn image(layout: &Path, name: &str, tars: &[Vec<u8>]) -> Value {
    let ids: Vec<_> = tars.iter().map(|tar| formats::oci::Digest::sha256(tar).to_string()).collect();
    let config =
        json!({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/sh"]}, "rootfs": {"type": "layers", "diff_ids": ids}});
    let layers: Vec<_> = tars.iter().map(|tar| layouts::packed(&Blob::bytes(tar.as_slice()))).collect();
    layouts::image(layout, name, config.to_string().as_bytes(), &layers)
}
