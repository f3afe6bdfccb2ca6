//! Images on their way: from a registry into the cache, out of it, and into builds and conversions.

use crate::{
    linuxkit::CORPUS,
    support::{
        registry::Registry,
        scratch, text,
        tools::{Finished, finish, moby, run},
    },
};
use formats::oci::Digest;
use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::TcpListener,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Instant,
};

/// The images of `everything.yml`: their layouts in the corpus, and their names.
pub(crate) const EVERYTHING: [(&str, &str); 7] = [
    ("kernel-multi", "lab/kernel:multi"),
    ("init-a", "lab/init:a"),
    ("init-b", "lab/init:b"),
    ("app", "lab/app:1"),
    ("app2", "lab/app:2"),
    ("agent", "lab/agent:1"),
    ("pax", "lab/pax:1"),
];

/// A registry with the images of `everything.yml`.
pub(crate) fn registry(name: &str) -> Registry {
    let registry = Registry::start(&scratch(name));
    for (layout, image) in EVERYTHING {
        registry.push(&CORPUS.directory.join("layouts").join(layout), image);
    }
    registry
}

/// A build of `everything.yml` in the corpus with a cache of its own.
pub(crate) fn build(cache: &Path, output: &Path, more: &[&str]) -> Command {
    let mut command = moby();
    command.args(["build", "--quiet", "--no-sbom", "--cache", text(cache), "-o", text(output), "-f", "tar"]);
    command.args(more).arg("yml/everything.yml").current_dir(&CORPUS.directory);
    command
}

pub(crate) fn everything() -> Vec<u8> {
    fs::read(CORPUS.directory.join("expected/everything.tar")).unwrap()
}

/// Every file of a directory, by its path in it.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(next) = pending.pop() {
        for entry in fs::read_dir(next).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                all.insert(path.strip_prefix(directory).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    all
}

#[test]
fn a_build_pulls_what_the_cache_lacks() {
    let registry = registry("images-pull-registry");
    let directory = scratch("images-pull");
    let (cache, output) = (directory.join("cache"), directory.join("out.tar"));
    finish(&mut build(&cache, &output, &["--mirror", &registry.mirror()])).success();
    assert!(fs::read(&output).unwrap() == everything());
    // Of the kernel's platforms the wanted one alone.
    let whole = files(&cache);
    drop(registry);
    finish(&mut build(&cache, &directory.join("again.tar"), &["--offline"])).success();
    assert!(fs::read(directory.join("again.tar")).unwrap() == everything());
    assert_eq!(files(&cache), whole);
    // Somebody else reads it.
    run(
        "skopeo",
        [
            "--insecure-policy",
            "copy",
            "--quiet",
            &format!("oci:{}:docker.io/lab/app:1", cache.display()),
            &format!("dir:{}", directory.join("skopeo").display()),
        ],
    );
}

#[test]
fn a_registry_that_is_gone_is_named() {
    let directory = scratch("images-gone");
    let done = finish(&mut build(&directory.join("cache"), &directory.join("out.tar"), &["--mirror", "docker.io=http://127.0.0.1:1"]));
    assert_eq!(done.code(), 5, "{done}");
    assert!(done.errors().contains("lab/kernel") && !directory.join("out.tar").exists(), "{done}");
    let done = finish(&mut build(&directory.join("cache"), &directory.join("out.tar"), &["--offline"]));
    assert_eq!(done.code(), 2, "{done}");
    assert!(done.errors().contains("image docker.io/lab/kernel:multi is in none of: cache"), "{done}");
}

#[test]
fn a_blob_that_was_changed_on_the_server_is_refused() {
    let registry = registry("images-changed-registry");
    let layout = CORPUS.directory.join("layouts/app");
    let manifest: serde_json::Value = {
        let index: serde_json::Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
        let hex = index["manifests"][0]["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
        serde_json::from_slice(&fs::read(layout.join("blobs/sha256").join(hex)).unwrap()).unwrap()
    };
    let digest = manifest["layers"][0]["digest"].as_str().unwrap();
    let path = registry.blob(digest);
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    let directory = scratch("images-changed");
    let cache = directory.join("cache");
    let done = finish(&mut build(&cache, &directory.join("out.tar"), &["--mirror", &registry.mirror()]));
    assert_eq!(done.code(), 2, "{done}");
    assert!(done.errors().contains(digest) && done.errors().contains("its digest is"), "{done}");
    assert!(!directory.join("out.tar").exists());
    assert!(files(&cache).keys().all(|path| !text(path).contains(&digest[7..])));
}

/// A cache whose writer was killed at any of 100 points is sound: what comes after finds or pulls everything.
#[test]
fn a_pull_that_is_killed_harms_nothing() {
    const KILLS: u32 = 100;
    let registry = registry("images-killed-registry");
    let directory = scratch("images-killed");
    let (cache, output, whole) = (directory.join("cache"), directory.join("out.tar"), directory.join("whole.tar"));
    let mirror = registry.mirror();
    let began = Instant::now();
    finish(&mut build(&cache, &whole, &["--mirror", &mirror])).success();
    let took = began.elapsed();
    let (mut killed, mut random) = (0, 1_u32);
    for nth in 0..KILLS {
        if nth % 2 == 0 {
            let _ = fs::remove_dir_all(&cache);
        }
        // Knuth's multiplicative hash: spread over the time that a whole run takes.
        random = random.wrapping_mul(2_654_435_761).wrapping_add(nth);
        let mut child = build(&cache, &output, &["--mirror", &mirror]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(took.mul_f64(f64::from(random >> 16) / 65_536.0));
        let _ = child.kill();
        let ended = child.wait().unwrap();
        killed += u32::from(!ended.success());
        assert!(ended.success() || !output.exists() || fs::read(&output).unwrap() == everything(), "half an output");
        let _ = fs::remove_file(&output);
        for (path, bytes) in files(&cache).iter().filter(|(path, _)| path.starts_with("blobs/sha256")) {
            assert!(text(path).ends_with(Digest::sha256(bytes).hex()), "{} bytes at {}", bytes.len(), path.display());
        }
        if nth % 5 == 4 {
            finish(&mut build(&cache, &whole, &["--mirror", &mirror])).success();
            assert!(fs::read(&whole).unwrap() == everything());
            finish(&mut build(&cache, &whole, &["--offline"])).success();
        }
    }
    assert!(killed > KILLS / 3, "{killed} of {KILLS} ended by being killed");
    let mut left: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["cache", "whole.tar"], "debris");
}

fn cache(directory: &Path, arguments: &[&str]) -> Finished {
    finish(moby().arg("cache").args(arguments).args(["--cache", text(&directory.join("cache"))]))
}

#[test]
fn what_is_imported_comes_out_again() {
    let directory = scratch("images-cache");
    let layouts = CORPUS.directory.join("layouts");
    for (layout, _) in EVERYTHING {
        cache(&directory, &["import", text(&layouts.join(layout))]).success();
    }
    let list = cache(&directory, &["ls"]).success().text();
    for (_, name) in EVERYTHING {
        assert!(list.contains(&format!("docker.io/{name}\n")), "{list}");
    }
    assert!(list.contains("linux/arm64"), "{list}");
    finish(&mut build(&directory.join("cache"), &directory.join("out.tar"), &["--offline"])).success();
    assert!(fs::read(directory.join("out.tar")).unwrap() == everything());

    let archive = directory.join("app.tar");
    cache(&directory, &["export", "lab/app:1", "-o", text(&archive)]).success();
    let (from, to) = (format!("oci-archive:{}:docker.io/lab/app:1", archive.display()), directory.join("copied"));
    run("skopeo", ["--insecure-policy", "copy", "--quiet", &from, &format!("dir:{}", to.display())]);

    cache(&directory, &["clean", "lab/app:1"]).success();
    assert!(!cache(&directory, &["ls"]).success().text().contains("lab/app:1\n"));
    let done = finish(&mut build(&directory.join("cache"), &directory.join("no.tar"), &["--offline"]));
    assert!(done.code() == 2 && done.errors().contains("docker.io/lab/app:1"), "{done}");
    finish(&mut build(
        &directory.join("cache"),
        &directory.join("yes.tar"),
        &["--offline", "--images", &format!("oci-archive:{}", archive.display())],
    ))
    .success();
    assert!(fs::read(directory.join("yes.tar")).unwrap() == everything());
    cache(&directory, &["clean", "--all"]).success();
    assert_eq!(cache(&directory, &["ls"]).success().text(), "");
    assert!(files(&directory.join("cache")).keys().all(|path| !path.starts_with("blobs")));
}

/// What skopeo calls a docker-archive is what `docker save` writes.
#[test]
fn what_docker_saves_is_an_image_and_no_disk() {
    let directory = scratch("images-saved");
    let layout = CORPUS.directory.join("layouts/app");
    for (kind, file) in [("docker-archive", "saved.tar"), ("oci-archive", "oci.tar")] {
        let archive = directory.join(file);
        let to = format!("{kind}:{}:docker.io/lab/app:1", archive.display());
        run("skopeo", ["--insecure-policy", "copy", "--quiet", &format!("oci:{}:docker.io/lab/app:1", layout.display()), &to]);
        let inspect = finish(moby().args(["inspect", text(&archive)])).success();
        assert!(inspect.text().contains("container image") && inspect.text().contains("  entrypoint\n    /bin/app\n"), "{inspect}");
        let names = finish(moby().args(["inspect", "--files", text(&archive)])).success().text();
        assert!(!names.contains("blobs") && !names.contains("layer.tar"), "{names}");
        let of_layout = finish(moby().args(["inspect", "--files", text(&layout)])).success().text();
        assert_eq!(names, of_layout);
        let done = finish(moby().args(["convert", text(&archive), "-o", text(&directory.join("disk.img"))]));
        assert!(done.code() == 2 && done.errors().contains("boot/kernel"), "{done}");
    }
}

/// The head of a request, and somebody to answer it.
fn requested(stream: &mut (impl Read + Write)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn answer(stream: &mut impl Write, status: &str, body: &[u8]) {
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len()).unwrap();
    stream.write_all(body).unwrap();
}

/// A socket that answers as Docker's does: it has one image. Not Docker: its packages start a service, which a test may not.
#[test]
fn a_docker_daemon_is_asked_first() {
    let directory = scratch("images-docker");
    let saved = directory.join("saved.tar");
    let layout = CORPUS.directory.join("layouts/app");
    let to = format!("docker-archive:{}:docker.io/lab/app:1", saved.display());
    run("skopeo", ["--insecure-policy", "copy", "--quiet", &format!("oci:{}:docker.io/lab/app:1", layout.display()), &to]);
    let socket = directory.join("docker.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let archive = fs::read(saved).unwrap();
    // It ends with the tests.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            match requested(&mut stream).starts_with("GET /images/docker.io/lab/app:1/get ") {
                true => answer(&mut stream, "200 OK", &archive),
                false => answer(&mut stream, "404 Not Found", b"{\"message\":\"no such image\"}"),
            }
        }
    });
    fs::write(directory.join("app.yml"), "init: [lab/app:1, lab/agent:1]\n").unwrap();
    let build = |output: &str, more: &[&str]| {
        let mut command = moby();
        command.args(["build", "app.yml", "--offline", "--arch", "amd64", "-o", output, "-f", "tar"]).args(more);
        finish(command.current_dir(&directory).env("DOCKER_HOST", format!("unix://{}", socket.display())))
    };
    let agent = format!("oci-layout:{}", CORPUS.directory.join("layouts/agent").display());
    let cache = format!("--cache={}", CORPUS.cache.display());
    build("docker.tar", &["--docker", &cache]).success();
    let app = format!("oci-layout:{}", layout.display());
    build("layouts.tar", &["--images", &agent, "--images", &app, "--cache", "none"]).success();
    // Where nobody listens the cache is asked.
    fs::remove_file(&socket).unwrap();
    build("nobody.tar", &["--docker", "--images", &agent, "--images", &app, "--cache", "none"]).success();
    let read = |name: &str| fs::read(directory.join(name)).unwrap();
    assert!(read("docker.tar") == read("layouts.tar") && read("nobody.tar") == read("layouts.tar"));
}

#[test]
fn a_configuration_may_be_anywhere() {
    let directory = scratch("images-url");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/yml/everything.yml", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            match requested(&mut stream).starts_with("GET /yml/everything.yml ") {
                true => answer(&mut stream, "200 OK", &fs::read(CORPUS.directory.join("yml/everything.yml")).unwrap()),
                false => answer(&mut stream, "404 Not Found", b""),
            }
        }
    });
    let build = |url: &str, more: &[&str]| {
        let mut command = moby();
        command.args([
            "build",
            "--quiet",
            "--no-sbom",
            "--cache",
            text(&CORPUS.cache),
            "-f",
            "tar",
            "-o",
            text(&directory.join("out.tar")),
        ]);
        finish(command.args(more).arg(url).current_dir(&CORPUS.directory).env_remove("http_proxy"))
    };
    build(&url, &[]).success();
    assert!(fs::read(directory.join("out.tar")).unwrap() == everything());
    let done = build(&url.replace("everything", "nothing"), &[]);
    assert!(done.code() == 5 && done.errors().contains("nothing.yml") && done.errors().contains("404"), "{done}");
    let done = build(&url, &["--offline"]);
    assert!(done.code() == 2 && done.errors().contains("--offline"), "{done}");
}

/// By its name: at a registry, and of a layout with many.
#[test]
fn an_image_is_a_root_file_system_by_its_name() {
    let registry = registry("images-named-registry");
    let directory = scratch("images-named");
    let tree = |input: &str, more: &[&str]| {
        let mut command = moby();
        command.args(["convert", input, "-f", "docker", "-o", text(&directory.join("out"))]).args(more);
        finish(
            command
                .args(["--init", "none", "--cmdline", "quiet", "--kernel", "boot/prebuilt/testkernel.bzimage"])
                .current_dir(env!("CARGO_MANIFEST_DIR")),
        )
        .success();
        fs::read(directory.join("out")).unwrap()
    };
    let cache = directory.join("cache");
    let of_registry = tree("oci://lab/app:1", &["--cache", text(&cache), "--mirror", &registry.mirror()]);
    let of_layout = tree(text(&CORPUS.directory.join("layouts/app")), &[]);
    let of_many = tree(text(&CORPUS.cache), &["--image", "lab/app:1"]);
    assert!(of_registry == of_layout && of_many == of_layout);
    drop(registry);
    assert!(tree("oci://lab/app:1", &["--cache", text(&cache), "--offline"]) == of_layout);
    let done = finish(moby().args(["inspect", text(&CORPUS.cache)]));
    assert!(done.code() == 2 && done.errors().contains("choose one with --image"), "{done}");
    let done = finish(moby().args(["inspect", "--image", "lab/nothing", text(&CORPUS.cache)]));
    assert!(done.code() == 2 && done.errors().contains("it has no image docker.io/lab/nothing, but: docker.io/"), "{done}");
}
