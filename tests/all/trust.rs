//! Signed images: what is demanded is there, or nothing is built.

use crate::{
    images::{EVERYTHING, build, everything, registry},
    linuxkit::CORPUS,
    support::{
        registry::Registry,
        scratch, text,
        tools::{Finished, finish, moby, oracle, run},
    },
};
use std::{fs, path::Path};

/// A key pair: the private one for the tests, the public one for us.
fn key(directory: &Path, name: &str) -> (String, String) {
    let (private, public) = (directory.join(format!("{name}.pem")), directory.join(format!("{name}.pub")));
    run("openssl", ["genpkey", "-quiet", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", text(&private)]);
    run("openssl", ["pkey", "-in", text(&private), "-pubout", "-out", text(&public)]);
    (text(&private).into(), text(&public).into())
}

/// What a layout of the corpus has pushed: manifest or index.
fn digest(layout: &str) -> String {
    let index = fs::read(CORPUS.directory.join("layouts").join(layout).join("index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
    index["manifests"][0]["digest"].as_str().unwrap().into()
}

fn sign(registry: &Registry, form: &str, layout: &str, signed: &str, key: &str) {
    let name = EVERYTHING.iter().find(|(of, _)| *of == layout).unwrap().1;
    let repository = name.split(':').next().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/sign.py");
    let server = format!("127.0.0.1:{}", registry.port);
    run(text(&oracle("python3")), [text(&script), form, &server, repository, &digest(layout), signed, key]);
}

#[test]
fn what_must_be_signed_is_signed_or_nothing_is_built() {
    let registry = registry("trust-registry");
    let directory = scratch("trust");
    let (private, public) = key(&directory, "key");
    let (others, other) = key(&directory, "other");
    let (cache, output) = (directory.join("cache"), directory.join("out.tar"));
    let mirror = registry.mirror();
    let try_it = |more: &[&str]| -> Finished { finish(&mut build(&cache, &output, &[&["--mirror", &mirror], more].concat())) };
    let refused = |words: &str| {
        let done = try_it(&["--verify-key", &public]);
        assert!(done.code() == 2 && done.errors().contains(words) && !output.exists(), "{words}: {done}");
    };

    refused("docker.io/lab/kernel:multi: sha256:");
    refused("there is no signature");
    // The kernel's index, the others' manifests; in either form.
    for (nth, (layout, _)) in EVERYTHING.iter().enumerate().skip(1) {
        sign(&registry, ["simple", "bundle"][nth % 2], layout, &digest(layout), &private);
    }
    sign(&registry, "simple", "kernel-multi", &digest("kernel-multi"), &others);
    refused("there is a signature by another key");
    sign(&registry, "simple", "kernel-multi", &digest("app"), &private);
    refused(&format!("it is for '{}'", digest("app")));
    sign(&registry, "bundle", "kernel-multi", &digest("app"), &private);
    refused(&format!("it is for '{}'", digest("app")));
    sign(&registry, "bundle", "kernel-multi", &digest("kernel-multi"), &private);
    try_it(&["--verify-key", &public]).success();
    assert!(fs::read(&output).unwrap() == everything());
    fs::remove_file(&output).unwrap();
    // One of several is enough; and what came into the cache serves without the registry.
    try_it(&["--verify-key", &other, "--verify-key", &public]).success();
    drop(registry);
    finish(&mut build(&cache, &output, &["--offline", "--verify-key", &public])).success();
    assert!(fs::read(&output).unwrap() == everything());
    fs::remove_file(&output).unwrap();
    let done = finish(&mut build(&cache, &output, &["--offline", "--verify-key", &other]));
    assert!(done.code() == 2 && done.errors().contains("by another key") && !output.exists(), "{done}");
}

#[test]
fn a_configuration_says_what_must_be_signed() {
    let registry = registry("trust-yml-registry");
    let directory = scratch("trust-yml");
    let (private, public) = key(&directory, "key");
    let output = directory.join("out.tar");
    let try_it = |trust: &str| {
        let yml = directory.join("app.yml");
        fs::write(
            &yml,
            format!("onboot:\n  - {{name: app, image: lab/app:1}}\n  - {{name: app2, image: lab/app:2}}\ntrust: {{{trust}}}\n"),
        )
        .unwrap();
        let mut command = moby();
        command.args(["build", "--cache", text(&directory.join("cache")), "-f", "tar", "-o", text(&output), "--mirror"]);
        finish(command.arg(registry.mirror()).arg(&yml))
    };
    sign(&registry, "simple", "app", &digest("app"), &private);
    try_it(&format!("cosign: {{key: '{public}', image: ['lab/app:1']}}")).success();
    assert!(output.exists());
    fs::remove_file(&output).unwrap();
    // The repository: the other one, too.
    let done = try_it(&format!("cosign: {{key: '{public}', image: [lab/app]}}"));
    assert!(done.code() == 2 && done.errors().contains("image docker.io/lab/app:2: ") && !output.exists(), "{done}");
    let done = try_it("cosign: {key: nowhere.pub, image: [lab/app]}");
    assert!(
        done.code() == 2 && done.errors().contains("app.yml:4:") && done.errors().contains("key nowhere.pub: there is no such file"),
        "{done}"
    );
    let done = try_it(&format!("cosign: {{key: '{private}', image: [lab/app]}}"));
    assert!(done.code() == 2 && done.errors().contains("is no public key in PEM"), "{done}");
    let done = try_it(&format!("org: [lab], cosign: {{key: '{public}', image: [lab/ap]}}")).success();
    assert!(done.errors().contains("verify nothing any more") && done.errors().contains("begins with 'lab/ap'"), "{done}");
}
