//! OpenStack's own Glance takes what is pushed: its inspector looks at every disk, and its hash is of what it keeps.

use crate::support::{
    docker_registry::{Running, listening},
    images::write_test_tar,
    scratch, text,
    tools::{Finished, finish, moby, run},
};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A program of the virtual environment of Glance.
fn program(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/glance").join(name);
    assert!(path.exists(), "{} is missing: run tests/setup.sh nightly", path.display());
    path
}

/// Glance below a directory, which asks nobody who he is; its URL.
fn start(dir: &Path) -> (Running, String) {
    for name in ["files", "staging", "tasks"] {
        fs::create_dir_all(dir.join(name)).unwrap();
    }
    for name in ["glance-api-paste.ini", "rootwrap.conf"] {
        let _ = fs::copy(program("etc/glance").join(name), dir.join(name));
    }
    let at = |name: &str| dir.join(name).display().to_string();
    let config = format!(
        "[DEFAULT]\nenabled_backends = fs:file\nenabled_import_methods = [web-download]\nnode_staging_uri = file://{}\n\
         [database]\nconnection = sqlite:///{}\n[glance_store]\ndefault_backend = fs\n[fs]\nfilesystem_store_datadir = {}\n\
         [os_glance_staging_store]\nfilesystem_store_datadir = {}\n[os_glance_tasks_store]\nfilesystem_store_datadir = {}\n\
         [oslo_policy]\nenforce_new_defaults = false\nenforce_scope = false\n[paste_deploy]\nflavor =\n",
        at("staging"),
        at("glance.db"),
        at("files"),
        at("staging"),
        at("tasks")
    );
    fs::write(dir.join("glance-api.conf"), config).unwrap();
    run(text(&program("bin/glance-manage")), ["--config-file", &at("glance-api.conf"), "db_sync"]);
    let mut command = Command::new(program("bin/waitress-serve"));
    command.args(["--listen=127.0.0.1:0", "--max-request-body-size=10737418240", "glance.wsgi.api:application"]);
    command.env("OS_GLANCE_CONFIG_DIR", dir);
    let (running, port) = listening(command, "Serving on http://127.0.0.1:");
    (running, format!("http://127.0.0.1:{port}"))
}

fn push(url: &str, arguments: &[&str]) -> Finished {
    finish(moby().args(["push", "openstack", "--endpoint", url, "--quiet", "--json"]).args(arguments))
}

#[test]
fn glance_takes_what_is_pushed_and_gives_it_back() {
    let dir = scratch("nightly-glance");
    let (_running, url) = start(&dir.join("glance"));
    let tar = dir.join("app.tar");
    write_test_tar(&tar, 1);
    let mut inputs = vec![("app.tar".to_owned(), dir.join("app.qcow2"))];
    finish(moby().args(["convert", "--quiet", text(&tar), "-c", "--target", "openstack", "-o", text(&inputs[0].1)])).success();
    for format in ["raw", "vmdk", "vhdx", "vdi"] {
        let disk = dir.join(format!("{format}.{format}"));
        let mut command = moby();
        command.args(["convert", "--quiet", text(&tar), "--target", "openstack", "-f", format, "-o", text(&disk)]);
        if format == "vmdk" {
            command.args(["--opt", "subformat=streamOptimized"]);
        }
        finish(&mut command).success();
        inputs.push((format!("{format}.{format}"), disk));
    }
    for (input, disk) in &inputs {
        let done = push(&url, &["app", text(&dir.join(input)), "--property", "os_distro=linuxkit"]).success();
        let said: Value = serde_json::from_slice(&done.stdout).unwrap();
        let id = said["id"].as_str().unwrap();
        let kept = fs::read(dir.join("glance/files").join(id)).unwrap();
        assert!(kept == fs::read(disk).unwrap(), "{input}: other bytes are kept");
        let about: Value = serde_json::from_str(&run("curl", ["-s", &format!("{url}/v2/images/{id}")])).unwrap();
        assert_eq!((&about["status"], &about["os_hash_value"]), (&"active".into(), &said["checksum"]["value"]), "{about}");
        assert_eq!((&about["hw_firmware_type"], &about["os_distro"]), (&"bios".into(), &"linuxkit".into()));
    }
    // A fixed VHD is a raw disk to it, so lint refuses that, and another disk is sent in its place.
    let vhd = dir.join("app.vhd");
    finish(moby().args(["convert", "--quiet", text(&tar), "--target", "openstack", "-f", "vhd", "-o", text(&vhd)])).success();
    let done = finish(moby().args(["lint", text(&vhd), "--target", "openstack"]));
    assert!(done.code() == 2 && done.text().contains("container"), "{done}");
    push(&url, &["vhd", text(&vhd)]).success();
    // What it refuses leaves nothing there, and its words are told.
    let hybrid = dir.join("hybrid.raw");
    let mut bytes = fs::read(dir.join("raw.raw")).unwrap();
    bytes[446 + 16..446 + 32].copy_from_slice(&[0, 0, 2, 0, 0x83, 0, 2, 0, 8, 0, 0, 0, 8, 0, 0, 0]);
    fs::write(&hybrid, bytes).unwrap();
    let done = push(&url, &["hybrid", text(&hybrid), "--force"]);
    assert!(done.code() == 5 && done.errors().contains("refuses the file: 4"), "{done}");
    let done = push(&url, &["app", text(&tar), "--public"]);
    assert!(done.code() == 5 && done.errors().contains("publicize_image"), "{done}");
    let all: Value = serde_json::from_str(&run("curl", ["-s", &format!("{url}/v2/images")])).unwrap();
    assert_eq!(all["images"].as_array().unwrap().len(), inputs.len() + 1, "{all}");
}
