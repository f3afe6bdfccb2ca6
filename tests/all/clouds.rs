//! Images that are pushed to clouds, as users push them. Keystone, Glance, Compute Engine and a vCenter are fakes, whose requests are
//! looked at.

use crate::support::{
    clouds::{ACCOUNT_KEY, Cloud, Fate, ask_blobs, azure, blobs, connection, google, openstack, storage, stored, vcenter::method, vsphere},
    images::{Images, write_test_tar},
    scratch, text,
    tools::{Finished, finish, moby, run, tool},
    wire::Wire,
};
use serde_json::{Value, json};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

/// `moby push openstack`, with a login.
fn to_openstack(cloud: &Cloud, arguments: &[&str]) -> Command {
    let mut command = moby();
    command.args(["push", "openstack"]).args(arguments).env("OS_AUTH_URL", format!("{}/identity", cloud.url()));
    command.env("OS_USERNAME", "app").env("OS_PASSWORD", "hunter2").env("OS_PROJECT_NAME", "p").env_remove("OS_CLOUD");
    command
}

/// What `--json` says of a push that must succeed.
fn said(command: &mut Command) -> Value {
    serde_json::from_slice(&finish(command.args(["--json", "--quiet"])).success().stdout).unwrap()
}

/// What `sha512sum` says of a file.
fn sha512(path: &Path) -> String {
    run("sha512sum", [text(path)]).split(' ').next().unwrap().to_owned()
}

#[test]
fn a_tar_becomes_an_image_of_openstack() {
    let (dir, cloud) = (scratch("clouds-openstack"), openstack(|_, _| Fate::Served));
    let (tar, disk) = (dir.join("app.tar"), dir.join("app.qcow2"));
    write_test_tar(&tar, 1);
    let made = said(&mut to_openstack(&cloud, &["app-1", text(&tar), "--property", "hw_vif_model=virtio", "--tag", "db", "--community"]));
    finish(moby().args(["convert", "--quiet", text(&tar), "-c", "--target", "openstack", "-o", text(&disk)])).success();
    let id = made["id"].as_str().unwrap();
    assert!(cloud.has().files[id] == fs::read(&disk).unwrap(), "the disk is not the one that convert makes");
    assert_eq!(made["checksum"], json!({"algorithm": "sha512", "value": sha512(&disk)}));
    let image = cloud.has().images[id].clone();
    let expected = json!({"name": "app-1", "disk_format": "qcow2", "container_format": "bare", "visibility": "community", "tags": ["db"],
        "architecture": "x86_64", "hw_machine_type": "q35", "hw_firmware_type": "bios", "hw_disk_bus": "virtio", "os_type": "linux",
        "min_disk": 1, "hw_vif_model": "virtio"});
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&image[name], value, "{name} of {image}");
    }
    // A disk that Glance takes goes as it is; a raw one is told to be large.
    let raw = dir.join("app.img");
    finish(moby().args(["convert", "--quiet", text(&tar), "--target", "openstack", "-f", "raw", "-o", text(&raw)])).success();
    let done = finish(&mut to_openstack(&cloud, &["raw", text(&raw), "--firmware", "uefi"])).success();
    assert!(done.errors().contains("a raw disk goes with its zeros: "), "{done}");
    let has = cloud.has();
    let (id, image) = has.images.iter().find(|(_, image)| image["name"] == "raw").unwrap();
    assert!(image["disk_format"] == "raw" && image["hw_firmware_type"] == "uefi" && has.files[id] == fs::read(&raw).unwrap(), "{image}");
}

#[test]
fn who_is_interrupted_leaves_no_image() {
    let cloud = openstack(|_, line| if line.starts_with("PUT") { Fate::Held } else { Fate::Served });
    let images = Images::of_test_kernel("clouds-interrupted-guest", 40, "qcow2");
    let mut command = to_openstack(&cloud, &["app", text(&images.path("guest.qcow2")), "--force"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !cloud.lines().iter().any(|line| line.starts_with("PUT")) {
        assert!(child.try_wait().unwrap().is_none(), "{:?}", cloud.lines());
        thread::sleep(Duration::from_millis(20));
    }
    finish(tool("kill").args(["-INT", &child.id().to_string()])).success();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(cloud.has().images.is_empty() && cloud.lines().last().unwrap().starts_with("DELETE"), "{:?}", cloud.lines());
}

#[test]
fn what_is_wrong_is_said_before_any_work() {
    let (dir, cloud) = (scratch("clouds-wrong"), openstack(|_, _| Fate::Served));
    let tar = dir.join("app.tar");
    write_test_tar(&tar, 1);
    let refused = |done: Finished, code: i32, words: &str| {
        assert!(done.code() == code && done.errors().contains(words) && !done.errors().contains("hunter"), "{done}");
    };
    let mut stranger = to_openstack(&cloud, &["app", text(&tar)]);
    refused(finish(stranger.env("OS_PASSWORD", "hunter3")), 5, "No such user or password.");
    let mut nobody = to_openstack(&cloud, &["app", text(&tar)]);
    refused(finish(nobody.env_remove("OS_AUTH_URL")), 2, "in none of these places: ");
    refused(finish(&mut to_openstack(&cloud, &["app", text(&tar), "--property", "disk_format=raw"])), 2, "is no property");
    assert!(cloud.lines().iter().all(|line| line.starts_with("POST /identity")), "{:?}", cloud.lines());
    let planned = finish(&mut to_openstack(&cloud, &["app", text(&tar), "--dry-run", "--endpoint", "http://127.0.0.1:1"])).success().text();
    assert!(planned.starts_with("app  qcow2, private, ") && planned.contains("  hw_firmware_type=bios\n"), "{planned}");
    let unreached = finish(&mut to_openstack(&cloud, &["app", text(&tar), "--endpoint", "http://127.0.0.1:1"]));
    refused(unreached, 5, "127.0.0.1:1 is not reached");
}

/// `moby push gcp`, on a machine of the cloud.
fn to_gcp(cloud: &Cloud, storage: u16, arguments: &[&str]) -> Command {
    let mut command = moby();
    command.args(["push", "gcp"]).args(arguments).args(["--bucket", "gs://images"]).env("HOME", "/nonexistent");
    command.env("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE", format!("{}/compute/v1/", cloud.url()));
    command.env("STORAGE_EMULATOR_HOST", format!("http://127.0.0.1:{storage}"));
    command.env("GCE_METADATA_HOST", format!("127.0.0.1:{}", cloud.port)).env_remove("GOOGLE_APPLICATION_CREDENTIALS");
    command
}

#[test]
fn a_tar_becomes_an_image_of_google() {
    let (dir, cloud, (_running, storage)) = (scratch("clouds-google"), google(|_, _| Fate::Served), storage());
    let (tar, keys) = (dir.join("app.tar"), dir.join("keys.json"));
    write_test_tar(&tar, 1);
    fs::write(&keys, r#"{"shieldedInstanceInitialState": {"dbs": [{"content": "AA==", "fileType": "X509"}]}}"#).unwrap();
    let more = ["app-1", text(&tar), "--family", "app", "--label", "team=db", "--efi-vars", text(&keys)];
    let made = said(&mut to_gcp(&cloud, storage, &more));
    assert_eq!(made, json!({"name": "app-1", "project": "proj", "id": "4711", "selfLink": "https://compute/app-1"}));
    let image = cloud.has().images["app-1"].clone();
    let features = json!([{"type": "UEFI_COMPATIBLE"}, {"type": "VIRTIO_SCSI_MULTIQUEUE"}]);
    assert_eq!((&image["architecture"], &image["guestOsFeatures"]), (&json!("X86_64"), &features));
    assert_eq!((&image["family"], &image["labels"]["team"]), (&json!("app"), &json!("db")));
    assert_eq!(image["shieldedInstanceInitialState"]["dbs"][0]["content"], "AA==");
    let again = finish(&mut to_gcp(&cloud, storage, &["app-1", text(&tar)]));
    assert!(again.code() == 2 && again.errors().contains("the project proj has an image app-1 already"), "{again}");
    let planned = finish(&mut to_gcp(&cloud, storage, &["app-2", text(&tar), "--dry-run"])).success().text();
    assert!(planned.starts_with("app-2  X86_64, 1 GiB, of which "), "{planned}");
    let bad = finish(&mut to_gcp(&cloud, storage, &["App", text(&tar)]));
    assert!(bad.code() == 2 && bad.errors().contains("the name 'App' is none that Compute Engine takes"), "{bad}");
}

/// Interrupts a push once something has happened, and sees it end.
fn interrupt(command: &mut Command, has_happened: impl Fn() -> bool) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    while !has_happened() {
        assert!(child.try_wait().unwrap().is_none(), "it ended first");
        thread::sleep(Duration::from_millis(20));
    }
    finish(tool("kill").args(["-INT", &child.id().to_string()])).success();
    let done = child.wait_with_output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.code() == Some(130) && !said.contains("may be left"), "{said}");
}

/// A wire on which a request takes a second. What is in it when the sender is gone still arrives.
fn slow(to: u16) -> Wire {
    Wire::start(to, u64::MAX, 0, Duration::from_millis(100))
}

#[test]
fn who_is_interrupted_leaves_neither_file_nor_image_at_google() {
    const RUNNING: Fate = Fate::Answered("200 OK", "", "{\"name\": \"operation-app\", \"status\": \"RUNNING\"}");
    let (dir, (_running, storage)) = (scratch("clouds-google-interrupted"), storage());
    let cloud = google(|_, line| if line.contains("/operations/") { RUNNING } else { Fate::Served });
    let (tar, wire) = (dir.join("app.tar"), slow(storage));
    write_test_tar(&tar, 1);
    interrupt(&mut to_gcp(&cloud, wire.port, &["app", text(&tar), "--force"]), || *wire.sent.lock().unwrap() > 100 << 10);
    assert_eq!((stored(storage).as_str(), cloud.has().images.len()), ("0", 0));
    let has_begun = || cloud.lines().iter().any(|line| line.contains("/operations/"));
    interrupt(&mut to_gcp(&cloud, storage, &["app", text(&tar), "--force"]), has_begun);
    assert_eq!((stored(storage).as_str(), cloud.has().images.len()), ("0", 0), "{:?}", cloud.lines());
}

#[test]
fn who_is_interrupted_leaves_neither_blob_nor_image_at_azure() {
    let (dir, cloud, (_running, port)) = (scratch("clouds-azure-interrupted"), azure(|_, _| Fate::Served), blobs());
    let (tar, wire) = (dir.join("app.tar"), slow(port));
    write_test_tar(&tar, 1);
    ask_blobs(port, "service.create_container('vhds')");
    let kept = || ask_blobs(port, "print(len(list(service.get_container_client('vhds').list_blobs(include=['uncommittedblobs']))))");
    let to_azure = |port: u16| {
        let mut command = moby();
        command.args(["push", "azure", "app", text(&tar), "--resource-group", "images", "--force", "--endpoint", &cloud.url()]);
        command.env("AZURE_STORAGE_CONNECTION_STRING", connection(port, ACCOUNT_KEY)).env("AZURE_AUTHORITY_HOST", cloud.url());
        command.env("AZURE_TENANT_ID", "tenant").env("AZURE_CLIENT_ID", "client").env("AZURE_CLIENT_SECRET", "hunter2");
        command.env("AZURE_SUBSCRIPTION_ID", "0-1");
        command
    };
    interrupt(&mut to_azure(wire.port), || *wire.sent.lock().unwrap() > 100 << 10);
    assert_eq!((kept().as_str(), cloud.has().images.len()), ("0", 0));
    let has_begun = || cloud.lines().iter().any(|line| line.starts_with("GET /operation"));
    interrupt(&mut to_azure(port), has_begun);
    assert_eq!((kept().as_str(), cloud.has().images.len()), ("0", 0), "{:?}", cloud.lines());
}

/// `moby push vsphere`, with a login.
fn to_vsphere(cloud: &Cloud, arguments: &[&str]) -> Command {
    let mut command = moby();
    command.args(["push", "vsphere"]).args(arguments).env("GOVC_URL", cloud.url()).env("GOVC_USERNAME", "app");
    command.env("GOVC_PASSWORD", "hunter2");
    command
}

#[test]
fn a_tar_becomes_a_machine_of_vsphere() {
    let (dir, cloud) = (scratch("clouds-vsphere"), vsphere(|_, _| Fate::Served));
    let (tar, disk) = (dir.join("app.tar"), dir.join("app.vmdk"));
    write_test_tar(&tar, 1);
    let planned = finish(&mut to_vsphere(&cloud, &["app", text(&tar), "--dry-run"])).success().text();
    assert!(planned.starts_with("app  efi, ") && cloud.lines().is_empty(), "{planned}");
    let made = said(&mut to_vsphere(&cloud, &["app-1", text(&tar), "--template", "--folder", "apps", "--cpus", "3"]));
    finish(moby().args(["convert", "--quiet", text(&tar), "--target", "vmware", "-f", "vmdk", "-o", text(&disk)])).success();
    let size = fs::metadata(&disk).unwrap().len();
    let expected = json!({"name": "app-1", "id": "vm-1", "path": "/DC0/vm/apps/app-1", "template": true, "firmware": "efi", "size": size});
    assert_eq!(made, expected);
    assert!(cloud.has().files["disk-0.vmdk"] == fs::read(&disk).unwrap(), "the disk is not the one that convert makes");
    let described = cloud.asked().iter().find(|asked| method(asked) == "CreateImportSpec").map(|asked| asked.body.clone()).unwrap();
    assert!(described.contains("&lt;rasd:VirtualQuantity&gt;3&lt;") && described.contains("ovf:href=&quot;app.vmdk&quot;"), "{described}");
    let again = finish(&mut to_vsphere(&cloud, &["app-1", text(&tar), "--folder", "apps"]));
    assert!(again.code() == 2 && again.errors().contains("the name 'app-1' is taken in /DC0/vm/apps by vm-1"), "{again}");

    // Such a disk goes as it is, another kind of VMDK becomes one.
    cloud.has().images.clear();
    let flat = dir.join("flat.vmdk");
    let other = ["convert", "-q", text(&disk), "-f", "vmdk", "--opt", "subformat=monolithicSparse", "-o", text(&flat)];
    finish(moby().args(other)).success();
    let sent = dir.join("sent.vmdk");
    for input in [&disk, &flat] {
        let made = said(&mut to_vsphere(&cloud, &["app-2", text(input), "--firmware", "bios"]));
        assert_eq!(made["firmware"], "bios", "{}", input.display());
        fs::write(&sent, &cloud.has().files["disk-0.vmdk"]).unwrap();
        run("qemu-img", ["compare", text(&disk), text(&sent)]);
        assert_eq!(input == &disk, fs::read(&sent).unwrap() == fs::read(&disk).unwrap(), "{}", input.display());
        let info = run("qemu-img", ["info", text(&sent)]);
        assert!(info.contains("create type: streamOptimized"), "{info}");
        cloud.has().images.clear();
    }
}

#[test]
fn who_is_interrupted_leaves_no_machine() {
    let cloud = vsphere(|_, line| if line.contains("/nfc/") { Fate::Held } else { Fate::Served });
    let images = Images::of_test_kernel("clouds-interrupted-machine", 40, "qcow2");
    let has_begun = || cloud.lines().iter().any(|line| line.contains("/nfc/"));
    interrupt(&mut to_vsphere(&cloud, &["app", text(&images.path("guest.qcow2")), "--force"]), has_begun);
    let methods: Vec<_> = cloud.asked().iter().map(method).collect();
    assert!(cloud.has().images.is_empty() && methods.contains(&"HttpNfcLeaseAbort".to_owned()), "{methods:?}");
}

#[test]
fn what_is_wrong_with_vsphere_is_said_before_any_work() {
    let (dir, cloud) = (scratch("clouds-vsphere-wrong"), vsphere(|_, _| Fate::Served));
    let tar = dir.join("app.tar");
    write_test_tar(&tar, 1);
    let refused = |command: &mut Command, code: i32, words: &str| {
        let done = finish(command);
        assert!(done.code() == code && done.errors().contains(words) && !done.errors().contains("hunter"), "{done}");
    };
    let mut stranger = to_vsphere(&cloud, &["app", text(&tar)]);
    refused(stranger.env("GOVC_PASSWORD", "hunter3"), 5, "incorrect user name or password");
    let mut nobody = to_vsphere(&cloud, &["app", text(&tar)]);
    refused(nobody.env_remove("GOVC_URL"), 2, "there is an address of vSphere in none of these places: ");
    refused(&mut to_vsphere(&cloud, &["a/b", text(&tar)]), 2, "has a '/'");
    refused(
        &mut to_vsphere(&cloud, &["app", text(&tar), "--datastore", "ssd"]),
        2,
        "there is no datastore 'ssd', but /DC0/datastore/store",
    );
    // A file that is not there is named once.
    refused(&mut to_vsphere(&cloud, &["app", "nowhere.img"]), 2, "moby: error: nowhere.img: No such file");
    refused(&mut to_openstack(&cloud, &["app", "nowhere.yml", "--dry-run"]), 2, "moby: error: nowhere.yml: No such file");
}
