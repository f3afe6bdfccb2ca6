//! Where a build differs from LinuxKit's on purpose: what help, documents and tests tell.

/// What LinuxKit does, and what moby does.
pub const DEVIATIONS: &[(&str, &str)] = &[
    ("leaves out the rest of an image whose layer is damaged or missing, with exit code 0", "an error that names image, layer and entry"),
    ("takes a kernel that is a link in its image for an empty file", "follows the link"),
    ("passes over microcode that `kernel: ucode:` names and the image lacks", "an error; where a later yml brought the image, nothing"),
    ("loses text that begins with `@` and names no package", "keeps it, and warns"),
    ("forgets the volumes of earlier ymls when it looks for those of `binds`", "knows all"),
    ("leaves the name of a volume in `mounts` as it is", "replaces it with its path, as in `binds`"),
    ("fails where the image has `etc/hosts` or `etc/resolv.conf` as a link or a directory", "makes them files"),
    ("refuses layers that are not gzip, and a name that stands twice in a layer, of an image without an index", "takes them"),
    ("panics over an index with an entry without platform", "passes it over"),
    ("joins names of containers to paths as they are, `../../etc` too", "refuses names with `/`, `..` and empty ones"),
    ("checks image names when it pulls", "checks them when it reads the yml"),
    (
        "names the list of packages (`sbom.spdx.json`) by a random UUID",
        "by one from the content, so that the same build makes the same bytes",
    ),
    ("`--input-tar` keeps parts of an old tar, and may lose or mix them up", "the option is taken, and a build is always whole"),
    (
        "`--docker` takes what Docker unpacks, with the files that it adds",
        "takes what `docker save` gives, by the daemon's socket; its layers are put together as all others",
    ),
    (
        "`trust:` asks Docker's Notary, which is gone",
        "`trust: {cosign: {key: cosign.pub, image: [lab/app]}}`, or `--verify-key` for every image; `org` and `image` get a warning",
    ),
    ("downloads every architecture of an image", "what `--arch` asks for, and only blobs that are not there"),
    ("an output file is there, empty, when a build fails", "it takes its name when it is complete"),
    ("`-o FILE` is the tar", "the format that the name tells (`-o app.qcow2`), else the tar"),
];
