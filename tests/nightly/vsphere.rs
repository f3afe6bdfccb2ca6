//! VMware's own simulator of a vCenter takes what is pushed. It throws disks away, so those that it gets are kept before it.

use crate::support::{
    docker_registry::{Running, listening},
    images::{Images, write_test_tar},
    scratch, text,
    tools::{Finished, finish, moby, run, tool},
};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

/// A vCenter with a cluster, and a host beside it.
struct Center {
    _running: Running,
    dir: PathBuf,
    url: String,
}

impl Center {
    /// Below a directory, told so.
    fn start(dir: &Path, has_tls: bool, arguments: &[&str]) -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/vcsim/vcsim");
        assert!(program.exists(), "{} is missing: run tests/setup.sh nightly", program.display());
        let disks = dir.join("disks");
        fs::create_dir_all(&disks).unwrap();
        let mut command = Command::new(program);
        command.args(["-disks", text(&disks)]).args(arguments);
        if has_tls {
            let pem = dir.join("server.pem");
            let names = "subjectAltName=IP:127.0.0.1";
            run(
                "openssl",
                ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "9", "-subj", "/CN=vcsim", "-addext", names, "-addext"]
                    .into_iter()
                    .chain(["basicConstraints=critical,CA:FALSE", "-keyout", text(&pem), "-out", text(&dir.join("only.pem"))]),
            );
            let both = [fs::read(&pem).unwrap(), fs::read(dir.join("only.pem")).unwrap()].concat();
            fs::write(&pem, both).unwrap();
            command.args(["-certificate", text(&pem)]);
        }
        let (running, port) = listening(command, "listens on ");
        let scheme = if has_tls { "https" } else { "http" };
        Self { _running: running, dir: dir.to_owned(), url: format!("{scheme}://127.0.0.1:{port}") }
    }

    fn push(&self, arguments: &[&str]) -> Command {
        let mut command = moby();
        command.args(["push", "vsphere"]).args(arguments).env("GOVC_URL", &self.url).env("GOVC_USERNAME", "app");
        command.env("GOVC_PASSWORD", "hunter2").env("GOVC_NETWORK", "VM Network").env("GOVC_TLS_CA_CERTS", self.dir.join("only.pem"));
        command
    }

    /// What the simulator says to a method, in a session of ours.
    fn asked(&self, method: &str, this: (&str, &str), arguments: &str) -> String {
        let session = self.dir.join("session");
        let body = format!(
            "<?xml version=\"1.0\"?><Envelope xmlns=\"http://schemas.xmlsoap.org/soap/envelope/\"><Body><{method} xmlns=\"urn:vim25\">\
             <_this type=\"{}\">{}</_this>{arguments}</{method}></Body></Envelope>",
            this.0, this.1
        );
        let (cookies, url) = (text(&session), format!("{}/sdk", self.url));
        run(
            "curl",
            ["-sk", "-b", cookies, "-c", cookies, "-H", "Content-Type: text/xml", "-H", "SOAPAction: urn:vim25/6.5", "-d", &body, &url],
        )
    }

    fn log_in(&self) {
        let login = "<userName>app</userName><password>hunter2</password>";
        assert!(self.asked("Login", ("SessionManager", "SessionManager"), login).contains("LoginResponse"));
    }

    /// Everything that a machine is configured to be.
    fn machine(&self, id: &str) -> String {
        let specs = format!(
            "<specSet><propSet><type>VirtualMachine</type><pathSet>config</pathSet></propSet><objectSet><obj type=\"VirtualMachine\">{id}</obj>\
             </objectSet></specSet><options/>"
        );
        self.asked("RetrievePropertiesEx", ("PropertyCollector", "propertyCollector"), &specs)
    }
}

fn said(done: &Finished) -> Value {
    serde_json::from_slice(&done.stdout).unwrap()
}

#[test]
fn a_simulated_vcenter_takes_what_is_pushed() {
    let dir = scratch("nightly-vsphere");
    let center = Center::start(&dir, true, &[]);
    let (tar, disk) = (dir.join("app.tar"), dir.join("app.vmdk"));
    write_test_tar(&tar, 1);
    finish(moby().args(["convert", "--quiet", text(&tar), "--target", "vmware", "-f", "vmdk", "-o", text(&disk)])).success();
    let info = run("qemu-img", ["info", "--output=json", text(&disk)]);
    let capacity = serde_json::from_str::<Value>(&info).unwrap()["virtual-size"].as_u64().unwrap() / 1024;
    center.log_in();

    let of_firmware = [("efi", vec!["--cpus", "3", "--memory", "2048"]), ("bios", vec!["--firmware", "bios", "--template"])];
    for (firmware, more) in of_firmware {
        let name = format!("app-{firmware}");
        let arguments = [&[name.as_str(), text(&tar), "--resource-pool", "DC0_C0", "--json", "--quiet"], more.as_slice()].concat();
        let made = said(&finish(&mut center.push(&arguments)).success());
        assert_eq!(made["path"], format!("/DC0/vm/{name}"));
        let machine = center.machine(made["id"].as_str().unwrap());
        for wanted in [
            format!("<name>{name}</name>"),
            format!("<firmware>{firmware}</firmware>"),
            "<guestId>other3xLinux64Guest</guestId>".to_owned(),
            format!("<capacityInKB>{capacity}</capacityInKB>"),
            format!("<template>{}</template>", firmware == "bios"),
            format!("<numCPU>{}</numCPU>", if firmware == "efi" { 3 } else { 2 }),
            format!("<memoryMB>{}</memoryMB>", if firmware == "efi" { 2048 } else { 1024 }),
        ] {
            assert!(machine.contains(&wanted), "{wanted} is not in {machine}");
        }
        assert!(fs::read(dir.join("disks/disk-0.vmdk")).unwrap() == fs::read(&disk).unwrap(), "other bytes were sent");
        fs::remove_file(dir.join("disks/disk-0.vmdk")).unwrap();
    }

    let refused = |command: &mut Command, code: i32, words: &str| {
        let done = finish(command);
        assert!(done.code() == code && done.errors().contains(words) && !done.errors().contains("hunter"), "{done}");
    };
    let pool = ["--resource-pool", "/DC0/host/DC0_C0/Resources"];
    refused(&mut center.push(&[&["app-efi", text(&tar)], &pool[..]].concat()), 2, "the name 'app-efi' is taken in /DC0/vm by ");
    refused(&mut center.push(&["other", text(&tar)]), 2, "there are 2 resource pools, must be one: ");
    let mut stranger = center.push(&[&["other", text(&tar)], &pool[..]].concat());
    refused(stranger.env("GOVC_PASSWORD", "hunter3"), 5, "InvalidLogin");
    let mut untrusting = center.push(&[&["other", text(&tar)], &pool[..]].concat());
    refused(untrusting.env_remove("GOVC_TLS_CA_CERTS"), 5, "has a certificate of an authority that is not known here");
    let mut blind = center.push(&[&["other", text(&tar)], &pool[..]].concat());
    let done = finish(blind.env_remove("GOVC_TLS_CA_CERTS").env("GOVC_INSECURE", "true")).success();
    assert!(done.errors().contains("no certificate is looked at"), "{done}");
    let two = scratch("nightly-vsphere-two");
    refused(
        &mut Center::start(&two, false, &["-datastores", "2"]).push(&[&["other", text(&tar)], &pool[..]].concat()),
        2,
        "there are 2 datastores, must be one: ",
    );
}

#[test]
fn who_is_interrupted_leaves_no_machine() {
    let dir = scratch("nightly-vsphere-interrupted");
    let center = Center::start(&dir, false, &["-pause", "20ms"]);
    let images = Images::of_test_kernel("nightly-vsphere-guest", 40, "qcow2");
    let guest = images.path("guest.qcow2");
    let mut command = center.push(&["app", text(&guest), "--force", "--host", "DC0_H0"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !dir.join("disks/disk-0.vmdk").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it sent anything");
        thread::sleep(Duration::from_millis(5));
    }
    finish(tool("kill").args(["-INT", &child.id().to_string()])).success();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    center.log_in();
    let folder = center.asked("FindByInventoryPath", ("SearchIndex", "SearchIndex"), "<inventoryPath>/DC0/vm/app</inventoryPath>");
    assert!(folder.contains("FindByInventoryPathResponse") && !folder.contains("VirtualMachine"), "{folder}");
}
