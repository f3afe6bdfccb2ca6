//! Machines of vSphere, made by a fake of the tests' own, which sees every request; `make nightly` asks VMware's own simulator.

use super::{noise, stores};
use crate::{
    asked::Asked,
    clouds::{
        Cloud, Fate,
        vcenter::{between, method},
        vsphere,
    },
};
use formats::{Blob, Error, Kind, Progress, Silent};
use net::import::vsphere::{Import, Machine, Made, Places};
use std::{
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

fn machine(is_template: bool) -> Machine {
    let envelope = "<Envelope><Config vmw:key=\"firmware\" vmw:value=\"efi\"/></Envelope>".to_owned();
    Machine { name: "app".to_owned(), envelope, network: "VM Network", firmware: "efi", is_template }
}

fn import(cloud: &Cloud, password: &str, variables: &[(&str, &str)]) -> Import {
    let url = cloud.url();
    let login = [("GOVC_URL", &*url), ("GOVC_USERNAME", "app"), ("GOVC_PASSWORD", password)];
    Import::new(stores(&[&login, variables].concat(), 0).0, Places::default()).unwrap()
}

fn push(import: &Import, file: &Blob, machine: &Machine, progress: &dyn Progress) -> Result<Made, Error> {
    let made = import.greet(&machine.name).and_then(|()| import.send(file, machine, progress)).and_then(|()| import.finish(machine));
    made.inspect_err(|_| drop(import.abandon()))
}

fn methods(cloud: &Cloud) -> Vec<String> {
    let of = |asked: &Asked| if asked.line.contains("/sdk") { method(asked) } else { asked.line.clone() };
    cloud.asked().iter().map(of).filter(|method| method != "HttpNfcLeaseProgress").collect()
}

/// What a method was asked.
fn body(cloud: &Cloud, name: &str) -> String {
    let asked = cloud.asked().into_iter().find(|asked| method(asked) == name).unwrap_or_else(|| panic!("nobody asked {name}"));
    asked.body
}

#[derive(Debug, Default)]
struct Told(Mutex<Vec<String>>);

impl Progress for Told {
    fn advance(&self, _: u64) {}

    fn warn(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

#[test]
fn a_disk_becomes_a_machine() {
    let (cloud, file, told) = (vsphere(|_, _| Fate::Served), noise(3 << 20, 1), Told::default());
    let made = push(&import(&cloud, "hunter2", &[]), &file, &machine(false), &told).unwrap();
    assert_eq!(made, Made { id: "vm-1".to_owned(), path: "/DC0/vm/app".to_owned() });
    let expected = [
        "RetrieveServiceContent",
        "Login",
        "CreateContainerView",
        "RetrievePropertiesEx",
        "ContinueRetrievePropertiesEx",
        "RetrievePropertiesEx",
        "FindChild",
        "CreateImportSpec",
        "ImportVApp",
        "RetrievePropertiesEx",
        "POST /nfc/lease-1/disk-0.vmdk",
        "HttpNfcLeaseComplete",
        "RetrievePropertiesEx",
        "Logout",
    ];
    assert_eq!(methods(&cloud), expected);
    let spec = body(&cloud, "CreateImportSpec");
    let cisp = "<cisp><locale></locale><deploymentOption></deploymentOption><entityName>app</entityName><networkMapping><name>VM Network</name>\
        <network type=\"Network\">network-1</network></networkMapping><diskProvisioning>thin</diskProvisioning></cisp>";
    let places = "<resourcePool type=\"ResourcePool\">resgroup-1</resourcePool><datastore type=\"Datastore\">datastore-1</datastore>";
    assert!(spec.contains(&format!("</ovfDescriptor>{places}{cisp}")), "{spec}");
    assert!(body(&cloud, "ImportVApp").contains("</spec><folder type=\"Folder\">group-v1</folder></ImportVApp>"));
    assert!(cloud.has().files["disk-0.vmdk"] == file.to_vec(1 << 30).unwrap());
    assert_eq!(cloud.asked()[10].header("content-length"), Some("3145728"));
    let told = told.0.into_inner().unwrap();
    assert_eq!(told, [format!("127.0.0.1:{}: Line 1: a remark", cloud.port)]);
}

#[test]
fn a_template_goes_where_the_variables_say() {
    let cloud = vsphere(|_, _| Fate::Served);
    let places = [("GOVC_FOLDER", "/DC0/vm/apps"), ("GOVC_HOST", "esx1"), ("GOVC_RESOURCE_POOL", "C0"), ("GOVC_DATASTORE", "store")];
    let made = push(&import(&cloud, "hunter2", &places), &noise(1000, 2), &machine(true), &Silent).unwrap();
    assert_eq!(made.path, "/DC0/vm/apps/app");
    assert_eq!(cloud.has().images["vm-1"]["template"], true);
    assert_eq!(between(&body(&cloud, "ImportVApp"), "host"), "host-1");
    assert!(body(&cloud, "CreateImportSpec").contains("<hostSystem type=\"HostSystem\">host-1</hostSystem><networkMapping>"));
}

#[test]
fn who_may_not_enter_or_does_not_choose_hears_it_before_anything_is_sent() {
    let cloud = vsphere(|_, _| Fate::Served);
    let error = push(&import(&cloud, "wrong-word", &[]), &noise(100, 3), &machine(false), &Silent).unwrap_err();
    assert!(
        error.kind() == Kind::Remote && error.to_string().contains("InvalidLogin: Cannot complete login due to an incorrect"),
        "{error}"
    );
    assert!(!format!("{error:?} {:?}", error.hint_text()).contains("wrong-word"));
    assert_eq!(methods(&cloud), ["RetrieveServiceContent", "Login"]);

    cloud.has().images.insert("vm-7".to_owned(), serde_json::json!({"name": "app"}));
    let error = push(&import(&cloud, "hunter2", &[]), &noise(100, 3), &machine(false), &Silent).unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (Kind::BadInput, "the name 'app' is taken in /DC0/vm by vm-7"));
    assert_eq!(methods(&cloud).last().unwrap(), "Logout");
    assert!(cloud.has().images.contains_key("vm-7"));

    cloud.has().fails = Some("datastores");
    let error = push(&import(&cloud, "hunter2", &[]), &noise(100, 3), &machine(false), &Silent).unwrap_err();
    assert_eq!(error.to_string(), "there are 2 datastores, must be one: /DC0/datastore/store, /DC0/datastore/slow");
    assert!(error.kind() == Kind::BadInput && error.hint_text().unwrap().contains("--datastore"));
    assert!(!methods(&cloud).contains(&"ImportVApp".to_owned()));
}

#[test]
fn what_breaks_is_sent_again() {
    const BUSY: Fate = Fate::Answered("503 Service Unavailable", "Retry-After: 7\r\n", "");
    for fate in [BUSY, Fate::Reset, Fate::Lost] {
        let broken = Mutex::new(false);
        let cloud = vsphere(move |_, line| match line.contains("/nfc/") && !std::mem::replace(&mut *broken.lock().unwrap(), true) {
            true => fate,
            false => Fate::Served,
        });
        let file = noise(9 << 20, 4);
        push(&import(&cloud, "hunter2", &[]), &file, &machine(false), &Silent).unwrap_or_else(|error| panic!("{fate:?}: {error}"));
        assert!(cloud.has().files["disk-0.vmdk"] == file.to_vec(1 << 30).unwrap(), "{fate:?}");
    }
}

#[test]
fn who_fails_leaves_nothing_and_says_why() {
    const FAILS: Fate = Fate::Answered("500 Internal Server Error", "", "");
    const FULL: Fate = Fate::Answered("507 Insufficient Storage", "", "the datastore is full");
    for (fate, fails, words) in [
        (FAILS, None, "fails: 500 Internal Server Error"),
        (FULL, None, "fails: 507 Insufficient Storage: the datastore is full"),
        (
            Fate::Served,
            Some("lease"),
            "gives up the lease for the disk, whose state is error: Insufficient disk space on datastore 'store'.",
        ),
        (Fate::Served, Some("CreateImportSpec"), "refuses CreateImportSpec: SystemError: A general system error occurred"),
        (Fate::Served, Some("HttpNfcLeaseComplete"), "refuses HttpNfcLeaseComplete: SystemError"),
        (Fate::Served, Some("MarkAsTemplate"), "refuses MarkAsTemplate: SystemError"),
    ] {
        let cloud = vsphere(move |_, line| if line.contains("/nfc/") { fate } else { Fate::Served });
        cloud.has().fails = fails;
        let error = push(&import(&cloud, "hunter2", &[]), &noise(1 << 20, 5), &machine(true), &Silent).unwrap_err();
        assert!(error.kind() == Kind::Remote && error.to_string().contains(words), "{error}");
        assert!(cloud.has().images.is_empty() && cloud.has().files.is_empty(), "{words}: {:?}", methods(&cloud));
        assert_eq!(methods(&cloud).last().unwrap(), "Logout");
    }
}

#[test]
fn who_is_interrupted_aborts_the_lease_that_heard_of_progress() {
    let cloud = vsphere(|_, line| if line.contains("/nfc/") { Fate::Held } else { Fate::Served });
    let import = Arc::new(import(&cloud, "hunter2", &[]));
    let other = Arc::clone(&import);
    let pushing = thread::spawn(move || push(&other, &noise(64 << 20, 6), &machine(false), &Silent));
    let heard = || cloud.asked().iter().filter(|asked| method(asked) == "HttpNfcLeaseProgress").count();
    let is_there = (0..600).any(|_| {
        thread::sleep(Duration::from_millis(50));
        heard() >= 2
    });
    assert!(is_there, "{:?}", methods(&cloud));
    import.abandon().unwrap();
    assert!(pushing.join().unwrap().is_err());
    assert!(cloud.has().images.is_empty(), "{:?}", methods(&cloud));
    assert!(methods(&cloud).contains(&"HttpNfcLeaseAbort".to_owned()) && methods(&cloud).last().unwrap() == "Logout");
    let percent: u64 = between(&body(&cloud, "HttpNfcLeaseProgress"), "percent").parse().unwrap();
    assert!(percent <= 100);
}
