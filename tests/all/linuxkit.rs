//! `moby build` against what `linuxkit build` made of the same configurations and images: the same bytes, but where we say otherwise.

use crate::support::{
    scratch,
    tools::{finish_with, moby, run},
};
use formats::tree::Content;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

/// Where we differ on purpose; `docs/from-linuxkit.md` lists the same.
enum Deviation {
    /// LinuxKit accepts it, we refuse it, and say this.
    Refused(&'static str),
    /// LinuxKit refuses it, we build it, and this is in what we build.
    Built(&'static str),
    /// The same as another case makes.
    Like(&'static str),
    /// This is in the tar, and not in LinuxKit's.
    Other(&'static str),
}

const DEVIATIONS: &[(&str, Deviation)] = &[
    // A kernel that is a link in its image is the file that it leads to.
    ("k-link", Deviation::Other("")),
    ("k-link-sym", Deviation::Other("")),
    // Microcode that was asked for and is not there.
    ("kernel-ucode-missing", Deviation::Refused("the image has no microcode nope.cpio")),
    // Layers that are damaged or missing: LinuxKit leaves out the rest of the image.
    ("bug-broken-tar", Deviation::Refused("this is not a tar")),
    ("bug-missing-layer", Deviation::Refused("is missing")),
    ("bug-sized-link", Deviation::Refused("entry l: its type '1' has no content")),
    // The name of a volume in `mounts` is replaced as in `binds`.
    ("v-all", Deviation::Other("\"source\": \"/containers/volumes/")),
    // Texts that begin with @ and name no package are kept.
    ("scalars", Deviation::Other("@")),
    ("e-at-path", Deviation::Built("@")),
    // Layers that are not gzip, and names that stand twice in one.
    ("e-zstd-single", Deviation::Built("docker.io/lab/zstdsingle:1")),
    ("e-plain-single", Deviation::Built("docker.io/lab/plainsingle:1")),
    ("e-dup-single", Deviation::Built("docker.io/lab/dupsingle:1")),
    // Hosts and resolver that are links or directories in the image become files.
    ("e-hosts-link", Deviation::Built("127.0.0.1       localhost")),
    ("e-resolv-link", Deviation::Built("# no resolv.conf configured")),
    ("e-resolv-hard", Deviation::Built("# no resolv.conf configured")),
    ("e-resolv-dir", Deviation::Built("# no resolv.conf configured")),
    // An entry of an index that names no platform is passed over.
    ("e-index-noplat", Deviation::Built("docker.io/lab/")),
    // Volumes of every file are known in every file.
    ("e-merge-loses-volumes", Deviation::Built("/containers/volumes/a/merged")),
    // -o is short for --output.
    ("e-shorthand-o", Deviation::Built("")),
    // A build is always whole, whatever --input-tar says.
    ("it-same", Deviation::Like("it-base")),
    ("it2", Deviation::Other("")),
];

/// The corpus: where its files are, and a cache with all of its images.
pub(crate) struct Corpus {
    pub(crate) directory: PathBuf,
    pub(crate) cache: PathBuf,
}

pub(crate) static CORPUS: LazyLock<Corpus> = LazyLock::new(|| {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/linuxkit");
    let directory = scratch("linuxkit-corpus");
    for name in ["yml", "files", "pkgs"] {
        run("cp", ["-r", fixtures.join(name).to_str().unwrap(), directory.to_str().unwrap()]);
    }
    run("tar", ["--zstd", "-xf", fixtures.join("corpus.tar.zst").to_str().unwrap(), "-C", directory.to_str().unwrap()]);
    let cache = directory.join("cache");
    for layout in fs::read_dir(directory.join("layouts")).unwrap() {
        merge(&cache, &layout.unwrap().path());
    }
    Corpus { directory, cache }
});

/// Puts a layout into another, as the corpus's own was filled: some of its images are damaged, so `moby cache import` would refuse them.
fn merge(cache: &Path, layout: &Path) {
    let blobs = cache.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    for blob in fs::read_dir(layout.join("blobs/sha256")).unwrap() {
        let blob = blob.unwrap();
        fs::copy(blob.path(), blobs.join(blob.file_name())).unwrap();
    }
    let read = |path: PathBuf| -> Option<serde_json::Value> { serde_json::from_slice(&fs::read(path).ok()?).ok() };
    let mut whole = read(cache.join("index.json")).unwrap_or_else(|| serde_json::json!({"schemaVersion": 2, "manifests": []}));
    let more = read(layout.join("index.json")).unwrap();
    whole["manifests"].as_array_mut().unwrap().extend(more["manifests"].as_array().unwrap().iter().cloned());
    fs::write(cache.join("index.json"), whole.to_string()).unwrap();
    fs::write(cache.join("oci-layout"), "{}").unwrap();
}

/// What a case made: the exit code, standard output, standard error, and the file.
struct Built {
    code: i32,
    text: Vec<u8>,
    errors: String,
    tar: Option<Vec<u8>>,
}

fn build(name: &str, arguments: &str, sbom: bool) -> Built {
    let Corpus { directory, cache } = &*CORPUS;
    let output = directory.join(format!("{name}.out"));
    let (arguments, input) = arguments.split_once('<').map_or((arguments, None), |(arguments, file)| (arguments, Some(file.trim())));
    let mut command = moby();
    command.args(["build", "--quiet", "--offline"]).current_dir(directory).env("LINUXKIT_CACHE", cache);
    // Packages are named after the state of their directory, which here is none of a work tree.
    command.env("GIT_CEILING_DIRECTORIES", directory.parent().unwrap());
    if !sbom {
        command.arg("--no-sbom");
    }
    command.args(arguments.split_whitespace().map(|argument| argument.replace("{O}", output.to_str().unwrap())));
    let input = input.map(|file| fs::read(directory.join(file)).unwrap()).unwrap_or_default();
    let done = finish_with(&mut command, &input);
    Built { code: done.code(), errors: done.errors(), text: done.stdout, tar: fs::read(output).ok() }
}

fn expected(name: &str, ending: &str) -> Vec<u8> {
    fs::read(CORPUS.directory.join(format!("expected/{name}.{ending}"))).unwrap()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    text.is_empty() || bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The UUID of the list of packages, which LinuxKit takes from a random number, replaced by what the corpus has in its place.
fn without_uuid(mut tar: Vec<u8>) -> Vec<u8> {
    const PLACE: &[u8] = b"linuxkit/linuxkit/sbom-";
    const NONE: &[u8] = b"00000000-0000-4000-8000-000000000000";
    if let Some(at) = tar.windows(PLACE.len()).position(|window| window == PLACE) {
        tar[at + PLACE.len()..][..NONE.len()].copy_from_slice(NONE);
    }
    tar
}

/// Says what is wrong with a case, if something is.
fn judge(name: &str, kind: &str, built: &Built) -> Result<(), String> {
    let refused = |words: &str| match (built.code, &built.tar) {
        (2 | 3, None) if built.errors.contains(words) => Ok(()),
        (2 | 3, Some(_)) => Err("it is refused, and left a file".to_owned()),
        (code, _) => Err(format!("it must be refused with '{words}', exit code {code}: {}", built.errors)),
    };
    let tar = || built.tar.as_ref().filter(|_| built.code == 0).ok_or_else(|| format!("exit code {}: {}", built.code, built.errors));
    match (DEVIATIONS.iter().find(|(other, _)| *other == name).map(|(_, deviation)| deviation), kind) {
        (Some(Deviation::Refused(words)), _) => refused(words),
        (Some(Deviation::Built(text)), "error") => match holds(tar()?, text) {
            true => Ok(()),
            false => Err(format!("'{text}' is not in it")),
        },
        (Some(Deviation::Like(other)), _) => match *tar()? == expected(other, "tar") {
            true => Ok(()),
            false => Err(format!("it is not what {other} makes")),
        },
        (Some(Deviation::Other(text)), _) => match (holds(tar()?, text), *tar()? == expected(name, "tar")) {
            (true, false) => Ok(()),
            (true, true) => Err("it is LinuxKit's, and stands among the deviations".into()),
            (false, _) => Err(format!("'{text}' is not in it")),
        },
        (Some(Deviation::Built(_)), _) => Err("LinuxKit builds it too, and it stands among the deviations".into()),
        (None, "ok") if *tar()? == expected(name, "tar") => Ok(()),
        (None, "sbom") if without_uuid(tar()?.clone()) == expected(name, "tar") => Ok(()),
        (None, "ok" | "sbom") => Err("it is not LinuxKit's tar".into()),
        (None, "stdout") if built.text == expected(name, "out") => Ok(()),
        (None, "stdout") => Err("it is not LinuxKit's text".into()),
        (None, _) => refused(""),
    }
}

#[test]
fn every_case_of_the_corpus() {
    let cases = include_str!("../../fixtures/linuxkit/cases.tsv").lines().skip(1);
    let mut wrong = BTreeMap::new();
    let mut count = 0;
    for case in cases {
        let [name, kind, arguments] = case.split('\t').collect::<Vec<_>>()[..] else { panic!("{case}") };
        let built = build(name, arguments, kind == "sbom");
        if let Err(what) = judge(name, kind, &built) {
            wrong.insert(name.to_owned(), what);
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(count, 206);
}

#[test]
fn a_kernel_that_is_a_link_is_what_it_leads_to() {
    for case in ["k-link", "k-link-sym"] {
        let tar = build(&format!("{case}-followed"), &format!("-f tar -o {{O}} yml/{case}.yml"), false).tar.unwrap();
        let tree = formats::tar::tree(&tar.into()).unwrap();
        assert!(matches!(&tree.get(b"boot/kernel").unwrap().content, Content::File(body) if body.len() == 600), "{case}");
    }
}

#[test]
fn outputs_are_called_after_the_last_configuration() {
    let Corpus { directory, cache } = &*CORPUS;
    for (arguments, input, made) in [
        (&["yml/m1.yml", "yml/k-basic.yml", "-f", "tar"][..], "", "out/k-basic.tar"),
        (&["-", "-f", "tar", "--name", "box"], "{}", "out/box.tar"),
        (&["-", "-f", "docker"], "{}", "out/moby.docker"),
    ] {
        let mut command = moby();
        command.args(["build", "--offline", "--dir", "out"]).args(arguments).current_dir(directory).env("LINUXKIT_CACHE", cache);
        finish_with(&mut command, input.as_bytes()).success();
        assert!(directory.join(made).exists(), "{made}");
    }
}

/// LinuxKit shows what an opaque whiteout hides; who wants that hidden says so, and is told of it.
#[test]
fn opaque_whiteouts_count_by_the_rules_of_oci() {
    let Corpus { directory, cache } = &*CORPUS;
    fs::write(directory.join("layers.yml"), "init: [\"lab/whiteout:1\"]\n").unwrap();
    let build = |file: &str, more: &[&str]| {
        let mut command = moby();
        command.args(["build", "--no-sbom", "--offline", "-f", "tar", "-o", file]).args(more).arg("layers.yml");
        let done = finish_with(command.current_dir(directory).env("LINUXKIT_CACHE", cache), b"").success();
        let tree = formats::tar::tree(&fs::read(directory.join(file)).unwrap().into()).unwrap();
        let has = ["opq/old", "opq/d/old2", "opq/new"].map(|path| tree.get(path.as_bytes()).is_some());
        (has, done.errors())
    };
    let (has, said) = build("layers-linuxkit.tar", &[]);
    assert_eq!(has, [true, true, true]);
    assert!(said.contains("layers.yml:1:") && said.contains("opq/") && said.contains("--layers oci"), "{said}");
    let (has, said) = build("layers-oci.tar", &["--layers", "oci"]);
    assert_eq!(has, [false, false, true]);
    assert!(!said.contains("warning"), "{said}");
}

#[test]
fn a_lock_holds() {
    let Corpus { directory, cache } = &*CORPUS;
    let lock = directory.join("app.lock");
    let moby = |arguments: &[&str]| {
        let mut command = moby();
        command.args(arguments).current_dir(directory).env("LINUXKIT_CACHE", cache);
        finish_with(&mut command, b"")
    };
    moby(&["lock", "yml/a-multi.yml", "--offline", "--arch", "amd64,arm64", "-o", "app.lock"]).success();
    let text = fs::read_to_string(&lock).unwrap();
    assert!(
        text.contains("docker.io/lab/multi:1 linux/amd64 sha256:") && text.contains("docker.io/lab/multi:1 linux/arm64 sha256:"),
        "{text}"
    );
    let locked = ["build", "--no-sbom", "--offline", "--locked", "--lock", "app.lock", "-f", "tar", "-o", "locked.tar"];
    moby(&[&locked[..], &["yml/a-multi.yml"]].concat()).success();
    assert!(fs::read(directory.join("locked.tar")).unwrap() == expected("a-multi", "tar"));
    // Another image under the name, and one that was not written down.
    let digest = text.split("sha256:").nth(1).unwrap()[..64].to_owned();
    fs::write(&lock, text.replace(&digest, &"0".repeat(64))).unwrap();
    let done = moby(&[&locked[..], &["yml/a-multi.yml"]].concat());
    assert!(done.code() == 2 && done.errors().contains("docker.io/lab/multi:1, as it is locked, is in none of"), "{done}");
    let done = moby(&[&locked[..], &["yml/k-basic.yml"]].concat());
    assert!(done.code() == 2 && done.errors().contains("for linux/amd64 is not locked"), "{done}");
}

#[test]
fn a_list_of_packages_is_the_same_every_time() {
    let [one, two] = ["sbom-one", "sbom-two"].map(|name| build(name, "--format tar --o {O} yml/sbom.yml", true).tar.unwrap());
    assert_eq!(one, two);
}

#[test]
fn an_output_of_a_build_is_that_of_its_tar() {
    let Corpus { directory, .. } = &*CORPUS;
    let built = build("docker-of-build", "-f docker -o {O} yml/k-basic.yml", false);
    assert_eq!(built.code, 0, "{}", built.errors);
    let tar = build("tar-of-build", "--format tar --o {O} yml/k-basic.yml", false).tar.unwrap();
    // The tar, its end, and the Dockerfile before that.
    assert_eq!(built.tar.unwrap()[..tar.len() - 1024], tar[..tar.len() - 1024]);
    assert!(directory.join("tar-of-build.out").exists());
}
