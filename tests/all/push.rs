//! What is pushed to a registry, pulled and unpacked by others, and booted.

use crate::support::{
    guest::Arch,
    images::{Images, write_test_tar},
    qemu::{Bus, Machine},
    registry::Registry,
    scratch, system, text,
    tools::{Finished, finish, moby, oracle, run},
    wire::Wire,
};
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

/// `moby push oci` with these arguments.
fn push(arguments: &[&str]) -> Finished {
    finish(moby().args(["push", "oci"]).args(arguments))
}

/// What `--json` says of a push that must succeed.
fn pushed(arguments: &[&str]) -> Value {
    serde_json::from_slice(&push(&[arguments, &["--json", "--quiet"]].concat()).success().stdout).unwrap()
}

/// A manifest as a registry has it.
fn manifest(registry: &Registry, name: &str) -> Value {
    let raw = run("skopeo", ["inspect", "--raw", "--tls-verify=false", &format!("docker://{}", registry.name(name))]);
    serde_json::from_str(&raw).unwrap()
}

#[test]
fn a_container_disk_is_unpacked_by_others_and_boots() {
    let directory = scratch("push-container-disk");
    let registry = Registry::start(&directory);
    let images = Images::of_debian("push-container-disk-guest", Arch::Amd64, 2, &["--format", "qcow2"]);
    let disk = images.path("guest.qcow2");
    let name = registry.name("vms/app:1");
    let said = pushed(&[&name, text(&disk)]);
    assert_eq!((&said["name"], &said["platform"]["architecture"]), (&Value::from(name), &Value::from("amd64")));
    assert!(said["blobs"].as_array().unwrap().iter().all(|blob| blob["arrival"] == "sent"), "{said}");

    let pulled = registry.pulled("vms/app:1", &directory).join("disk/disk.qcow2");
    assert!(fs::read(&pulled).unwrap() == fs::read(&disk).unwrap(), "the disk is another");
    assert_eq!(fs::metadata(&pulled).unwrap().mode() & 0o7777, 0o440);
    // Who is not root unpacks to himself: the layer says whose it is.
    let layer = registry.blob(said["blobs"][1]["digest"].as_str().unwrap());
    let listed = run("tar", ["--numeric-owner", "-tvf", text(&layer)]);
    let lines: Vec<_> = listed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert!(lines[0][..2] == ["drwxr-xr-x", "107/107"] && lines[1][..2] == ["-r--r-----", "107/107"], "{listed}");
    assert!(lines.len() == 2 && lines[1].last() == Some(&"disk/disk.qcow2"), "{listed}");
    // Their QEMU may open it; so may ours.
    images.boots_debian(text(&pulled), "qcow2", Bus::VirtioBlk, Machine::bios(), "bios");

    // The same again is the same, and no byte goes anywhere.
    let again = pushed(&[&registry.name("vms/app:2"), text(&disk)]);
    assert_eq!(again["digest"], said["digest"]);
    assert!(again["blobs"].as_array().unwrap().iter().all(|blob| blob["arrival"] == "there"), "{again}");
    let beside = pushed(&[&registry.name("other"), text(&disk), "--mount", &registry.name("vms/app")]);
    assert!(beside["blobs"].as_array().unwrap().iter().all(|blob| blob["arrival"] == "mounted"), "{beside}");
    assert!(registry.open_uploads("vms/app").is_empty() && registry.open_uploads("other").is_empty());
}

#[test]
fn a_tar_becomes_a_disk_on_the_way() {
    let directory = scratch("push-tar");
    let registry = Registry::start(&directory);
    let tar = directory.join("guest.tar");
    write_test_tar(&tar, 1);
    pushed(&[&registry.name("app"), text(&tar)]);
    let made = directory.join("made.qcow2");
    finish(moby().args(["convert", "--quiet", text(&tar), "-c", "--target", "kubevirt", "-o", text(&made)])).success();
    let pulled = registry.pulled("app", &directory).join("disk/disk.qcow2");
    assert!(fs::read(&pulled).unwrap() == fs::read(&made).unwrap(), "the disk is not the one that convert makes");
    // And so does a disk that KubeVirt takes no file of.
    let vhdx = directory.join("guest.vhdx");
    finish(moby().args(["convert", "--quiet", text(&tar), "-o", text(&vhdx)])).success();
    let said = pushed(&[&registry.name("vhdx"), text(&vhdx)]);
    let layer = registry.blob(said["blobs"][1]["digest"].as_str().unwrap());
    assert!(run("tar", ["-tf", text(&layer)]).contains("disk/disk.qcow2"));
}

#[test]
fn a_yml_is_built_on_the_way() {
    let directory = scratch("push-yml");
    let registry = Registry::start(&directory);
    system::write(&directory);
    let images = format!("oci-layout:{}", directory.join("images").display());
    pushed(&[&registry.name("app"), text(&directory.join("system.yml")), "--offline", "--images", &images]);
    let pulled = registry.pulled("app", &directory).join("disk/disk.qcow2");
    finish(moby().args(["check", text(&pulled)])).success();
    finish(moby().args(["lint", text(&pulled), "--target", "kubevirt"])).success();
    system::build(&directory, "tar");
    let made = directory.join("made.qcow2");
    finish(moby().args(["convert", "--quiet", text(&directory.join("system.tar")), "-c", "--target", "kubevirt", "-o", text(&made)]))
        .success();
    assert!(fs::read(&pulled).unwrap() == fs::read(&made).unwrap(), "the disk is not the one that build and convert make");
}

#[test]
fn several_machines_share_a_name() {
    let directory = scratch("push-index");
    let registry = Registry::start(&directory);
    let amd64 = Images::of_debian("push-index-amd64", Arch::Amd64, 1, &["--format", "qcow2"]);
    let arm64 = Images::of_debian("push-index-arm64", Arch::Arm64, 1, &["--format", "qcow2"]);
    let disks = [amd64.path("guest.qcow2"), arm64.path("guest.qcow2")];
    let name = registry.name("app:multi");
    pushed(&[&name, text(&disks[0]), text(&disks[1])]);
    for (architecture, disk) in ["amd64", "arm64"].into_iter().zip(&disks) {
        let to = directory.join(architecture);
        let (from, into) = (format!("docker://{name}"), format!("dir:{}", to.display()));
        let arguments = ["--insecure-policy", "--override-arch", architecture, "copy", "--quiet", "--src-tls-verify=false", &from, &into];
        run("skopeo", arguments);
        let size = fs::metadata(disk).unwrap().len();
        let found = fs::read_dir(&to).unwrap().any(|blob| {
            let len = blob.unwrap().metadata().unwrap().len();
            len > size && len < size + 8192
        });
        assert!(found, "{architecture} gets another disk");
    }
    let done = push(&[&name, text(&disks[0]), text(&disks[0])]);
    assert!(done.code() == 2 && done.errors().contains("two images are for linux/amd64"), "{done}");
}

#[test]
fn an_artifact_is_what_oras_pulls() {
    let directory = scratch("push-artifact");
    let registry = Registry::start(&directory);
    let images = Images::of_test_kernel("push-artifact-guest", 1, "raw,qcow2,kernel+initrd");
    let files = ["guest.img", "guest.qcow2", "guest-kernel"].map(|name| images.path(name));
    let one = registry.name("one:1");
    pushed(&[&one, text(&files[1]), "--as", "artifact"]);
    let found = manifest(&registry, "one:1");
    assert_eq!(
        (&found["artifactType"], &found["config"]["mediaType"]),
        (&"application/vnd.moby.disk.v1".into(), &"application/vnd.oci.empty.v1+json".into())
    );
    let pulled = directory.join("oras");
    let program = "import oras.client, sys\nprint(oras.client.OrasClient(insecure=True).pull(target=sys.argv[1], outdir=sys.argv[2]))";
    run(text(&oracle("python3")), ["-c", program, &one, text(&pulled)]);
    assert!(fs::read(pulled.join("guest.qcow2")).unwrap() == fs::read(&files[1]).unwrap(), "the file is another");

    // A tar with a kernel is a disk, and any other a file.
    let (plain, tagged) = (directory.join("plain.tar"), directory.join("tagged.tar"));
    run("tar", ["-cf", text(&plain), "-C", text(files[2].parent().unwrap()), "guest-cmdline"]);
    write_test_tar(&tagged, 1);
    for (tar, kind) in [(plain, "application/octet-stream"), (tagged, "application/x-qemu-disk")] {
        assert_eq!(pushed(&[&registry.name("tar"), text(&tar), "--as", "artifact"])["blobs"][1]["mediaType"], kind);
    }

    let several = registry.name("several:1");
    let said = pushed(&[&[&*several, "--as", "artifact"], &files.each_ref().map(|file| text(file))[..]].concat());
    let index = manifest(&registry, "several:1");
    let titles: Vec<_> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["annotations"]["org.opencontainers.image.title"].as_str().unwrap())
        .collect();
    assert_eq!(titles, ["guest.img", "guest.qcow2", "guest-kernel"]);
    let types: Vec<_> = said["blobs"].as_array().unwrap().iter().map(|blob| blob["mediaType"].as_str().unwrap()).collect();
    let empty = "application/vnd.oci.empty.v1+json";
    assert_eq!(types, [empty, "application/x-raw-disk-image", "application/x-qemu-disk", "application/octet-stream"]);
}

/// The container image of this program: one layer, in which it is the only file.
#[test]
fn an_image_of_the_program_itself_runs() {
    let directory = scratch("push-program");
    let registry = Registry::start(&directory);
    let tar = directory.join("moby.tar");
    let program = Path::new(env!("CARGO_BIN_EXE_moby"));
    let arguments = ["--format=ustar", "--owner=0", "--group=0", "--mtime=@0", "--mode=0755", "-cf", text(&tar), "-C"];
    run("tar", [&arguments[..], &[text(program.parent().unwrap()), "moby"]].concat());
    let refused = push(&[&registry.name("moby"), text(&tar), "--as", "image"]);
    assert!(refused.code() == 2 && refused.errors().contains("--arch"), "{refused}");
    // The program tells its machine.
    pushed(&[&registry.name("moby"), text(&tar), "--as", "image", "--entrypoint", "/moby"]);
    let root = registry.pulled("moby", &directory);
    let config: Value = serde_json::from_slice(&fs::read(directory.join("bundle/config.json")).unwrap()).unwrap();
    assert_eq!(config["process"]["args"][0], "/moby");
    let version = Command::new(root.join("moby")).arg("--version").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&version.stdout), format!("moby {}\n", env!("CARGO_PKG_VERSION")));
}

/// Nobody is asked, and others find in it the image of their machine.
#[test]
fn an_archive_has_an_image_for_each_machine() {
    let directory = scratch("push-archive");
    let archive = directory.join("tool.tar");
    // The head of a program, of ELF with 64 bits.
    let machines = [("amd64", 62), ("arm64", 183)].map(|(name, number)| {
        let head = [b"\x7fELF\x02\x01\x01".as_slice(), &[0; 9], &[2, 0, number, 0]].concat();
        fs::write(directory.join("tool"), [head.as_slice(), name.as_bytes()].concat()).unwrap();
        let tar = directory.join(name).with_extension("tar");
        run("tar", ["--format=ustar", "-cf", text(&tar), "-C", text(&directory), "./tool"]);
        (name, tar)
    });
    let [(_, amd64), (_, arm64)] = &machines;
    let image = ["tool:1", text(amd64), text(arm64), "--as", "image", "--entrypoint", "/tool", "--archive", text(&archive)];
    let done = push(&image).success();
    assert!(done.errors().contains("made: "), "{done}");
    for (name, tar) in &machines {
        let there = directory.join(name);
        let from = format!("oci-archive:{}", text(&archive));
        run("skopeo", ["copy", "--quiet", "--override-arch", name, &from, &format!("dir:{}", text(&there))]);
        let manifest: Value = serde_json::from_slice(&fs::read(there.join("manifest.json")).unwrap()).unwrap();
        let layers: Vec<_> = manifest["layers"].as_array().unwrap().iter().map(|layer| layer["digest"].as_str().unwrap()).collect();
        let [layer] = layers[..] else { panic!("{manifest}") };
        assert!(fs::read(there.join(layer.trim_start_matches("sha256:"))).unwrap() == fs::read(tar).unwrap(), "{name}");
    }
    let both = push(&[&image[..], &["--arch", "amd64"]].concat());
    assert!(both.code() == 2 && both.errors().contains("two images are for linux/amd64"), "{both}");
}

#[test]
fn what_kubevirt_would_refuse_is_refused() {
    let directory = scratch("push-lint");
    let registry = Registry::start(&directory);
    let disk = directory.join("empty.img");
    fs::write(&disk, [vec![0; 510], vec![0x55, 0xaa], vec![0; 1 << 20]].concat()).unwrap();
    let name = registry.name("app");
    let done = push(&[&name, text(&disk), "--arch", "amd64"]);
    assert!(done.code() == 2 && done.errors().contains("does not suit kubevirt") && done.errors().contains("error boot: "), "{done}");
    assert!(done.errors().contains("--force"), "{done}");
    pushed(&[&name, text(&disk), "--arch", "amd64", "--force"]);
    let pulled = registry.pulled("app", &directory).join("disk/disk.img");
    assert!(fs::read(pulled).unwrap() == fs::read(&disk).unwrap());
}

/// `-o oci://` of a conversion is what a push makes of its output.
#[test]
fn an_output_goes_to_a_registry() {
    let directory = scratch("push-output");
    let registry = Registry::start(&directory);
    let tar = directory.join("guest.tar");
    write_test_tar(&tar, 1);
    pushed(&[&registry.name("pushed"), text(&tar)]);
    let address = |name: &str| format!("oci://{}", registry.name(name));
    let convert = |arguments: &[&str]| finish(moby().args(["convert", text(&tar)]).args(arguments));
    let done = convert(&["-c", "--target", "kubevirt", "-o", &address("made:1")]).success();
    assert!(done.errors().contains(&format!("made: {}, ", address("made:1"))), "{done}");
    // It says besides of what it was made.
    let (found, wanted) = (manifest(&registry, "made:1"), manifest(&registry, "pushed"));
    assert_eq!((&found["config"], &found["layers"]), (&wanted["config"], &wanted["layers"]));
    let refused = convert(&["--no-clobber", "-o", &address("made:1")]);
    assert!(refused.code() == 2 && refused.errors().contains("somebody made it, and --no-clobber is given"), "{refused}");
    // Several are several names; what is no disk for KubeVirt is a file.
    convert(&["-f", "vhdx,raw", "--dir", &address("vms")]).success();
    assert_eq!(manifest(&registry, "vms/guest.vhdx")["layers"][0]["mediaType"], "application/x-vhdx-disk");
    assert_eq!(manifest(&registry, "vms/guest.img")["layers"][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar");
    let done = convert(&["-o", "oci://h.test/No Name"]);
    assert_eq!(done.code(), 2, "{done}");
    assert!(registry.open_uploads("made").is_empty());
}

/// Whoever runs rows by the hundred runs some of them twice: what is there with its key is left alone.
#[test]
fn a_row_that_is_at_a_registry_is_not_made_again() {
    let directory = scratch("push-plan");
    let registry = Registry::start(&directory);
    write_test_tar(&directory.join("app.tar"), 1);
    let matrix = format!("dir = \"oci://{}\"\nformat = [\"raw\", \"qcow2\"]\n[[input]]\npath = \"app.tar\"\n", registry.name("vms"));
    fs::write(directory.join("matrix.toml"), matrix).unwrap();
    let run = || finish(moby().current_dir(&directory).args(["plan", "matrix.toml", "--run"])).success().errors();
    assert!(run().contains("2 rows: 2 made, 0 there already, 0 failed"));
    let first = manifest(&registry, "vms/app.qcow2");
    assert!(run().contains("2 rows: 0 made, 2 there already, 0 failed"));
    write_test_tar(&directory.join("app.tar"), 2);
    assert!(run().contains("2 rows: 2 made, 0 there already, 0 failed"));
    assert_ne!(manifest(&registry, "vms/app.qcow2"), first);
}

#[test]
fn a_dry_run_asks_nobody() {
    let directory = scratch("push-dry");
    let tar = directory.join("guest.tar");
    write_test_tar(&tar, 1);
    let said = push(&["127.0.0.1:1/app", text(&tar), "--dry-run"]).success().text();
    assert!(said.ends_with("tag       127.0.0.1:1/app:latest\n") && said.matches("blob ").count() == 2, "{said}");
    let done = push(&["127.0.0.1:1/app", text(&tar)]);
    assert!(done.code() == 5 && done.errors().contains("127.0.0.1:1 is not reached"), "{done}");
    let done = push(&["h.test/Not a name", text(&tar)]);
    assert_eq!(done.code(), 2, "{done}");
}

#[test]
fn who_is_interrupted_leaves_nothing() {
    let directory = scratch("push-interrupted");
    let registry = Registry::start(&directory);
    let images = Images::of_test_kernel("push-interrupted-guest", 40, "qcow2");
    let wire = Wire::start(registry.port, 0, 0, Duration::from_millis(10));
    let name = format!("127.0.0.1:{}/app", wire.port);
    let mut command = moby();
    command.args(["push", "oci", "--force", &name, text(&images.path("guest.qcow2"))]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while *wire.sent.lock().unwrap() < 2 << 20 {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        thread::sleep(Duration::from_millis(5));
    }
    run("kill", ["-INT", &child.id().to_string()]);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(registry.open_uploads("app").is_empty(), "{:?}", registry.open_uploads("app"));
    let tags = finish(Command::new("skopeo").args(["list-tags", "--tls-verify=false", &format!("docker://{}", registry.name("app"))]));
    assert!(tags.code() != 0 || !tags.text().contains("latest"), "{tags}");
}
