//! Images that go to clouds, as users send them there: to emulators, for no cloud is reached.

use crate::support::{
    images::write_test_tar,
    moto::Moto,
    scratch, text,
    tools::{Finished, finish, moby, tool},
};
use serde_json::Value;
use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    sync::OnceLock,
};

/// One server for all tests, each of which has a region of its own.
fn moto() -> &'static Moto {
    static MOTO: OnceLock<Moto> = OnceLock::new();
    MOTO.get_or_init(Moto::start)
}

/// `moby push aws` with credentials for the server.
fn pusher(moto: &Moto, dir: &Path, region: &str, arguments: &[&str]) -> Command {
    let mut command = moby();
    command.current_dir(dir).args(["push", "aws"]).args(arguments).args(["--region", region]);
    command.env("AWS_ACCESS_KEY_ID", &moto.id).env("AWS_SECRET_ACCESS_KEY", &moto.secret).env("AWS_ENDPOINT_URL", moto.url());
    command
}

fn push(moto: &Moto, dir: &Path, region: &str, arguments: &[&str]) -> Finished {
    finish(&mut pusher(moto, dir, region, arguments))
}

/// What moto says of a region by Amazon's own library.
fn asked(moto: &Moto, region: &str, lines: &str) -> String {
    moto.python(&format!(
        "ec2, ebs = [boto3.client(n, region_name='{region}', endpoint_url=s3.meta.endpoint_url, aws_access_key_id='{}', \
         aws_secret_access_key='{}') for n in ('ec2', 'ebs')]\n{lines}",
        moto.id, moto.secret
    ))
}

/// How many snapshots and images a region has that are ours. To every image moto adds a snapshot of its own.
fn kept(moto: &Moto, region: &str) -> String {
    asked(
        moto,
        region,
        "s = [s for s in ec2.describe_snapshots(OwnerIds=['self'])['Snapshots'] if not s.get('Description', '').startswith('Auto-created')]\n\
         print(len(s), len(ec2.describe_images(Owners=['self'])['Images']))",
    )
}

/// The SHA-256 of what a machine would see of a snapshot.
fn seen(moto: &Moto, region: &str, snapshot: &str) -> String {
    asked(
        moto,
        region,
        &format!(
            "l = ebs.list_snapshot_blocks(SnapshotId='{snapshot}')\n\
             b = {{b['BlockIndex']: b['BlockToken'] for b in l['Blocks']}}; h = hashlib.sha256()\n\
             for i in range(l['VolumeSize'] * 2048):\n  \
             h.update(ebs.get_snapshot_block(SnapshotId='{snapshot}', BlockIndex=i, BlockToken=b[i])['BlockData'].read() if i in b else bytes(1 << 19))\n\
             print(h.hexdigest())"
        ),
    )
}

#[test]
fn a_tar_and_its_disk_are_the_same_image() {
    let (moto, dir, region) = (&Moto::start(), scratch("push-aws"), "eu-central-1");
    write_test_tar(&dir.join("app.tar"), 1);
    let planned = push(moto, &dir, region, &["app 1", "app.tar", "--force", "--dry-run"]).success();
    assert_eq!((planned.text().lines().count(), kept(moto, region).as_str()), (1, "0 0"), "{planned}");
    assert!(planned.text().starts_with("app 1  x86_64, uefi-preferred, 1 GiB"), "{planned}");
    let said = |arguments: &[&str]| -> Value {
        serde_json::from_slice(&push(moto, &dir, region, &[arguments, &["--force", "--json", "--quiet"]].concat()).success().stdout)
            .unwrap()
    };
    let first = said(&["app 1", "app.tar", "--tag", "team=db", "--description", "of a tar"]);
    assert_eq!((&first["name"], &first["region"]), (&Value::from("app 1"), &Value::from(region)));
    finish(moby().current_dir(&dir).args(["convert", "app.tar", "--target", "aws", "-f", "raw", "-o", "app.raw"])).success();
    finish(moby().current_dir(&dir).args(["convert", "app.raw", "--from", "raw", "-o", "app.qcow2"])).success();
    let second = said(&["app 2", "app.qcow2"]);
    let sum = finish(tool("sha256sum").current_dir(&dir).arg("app.raw")).success().text();
    moto.unlock();
    for said in [&first, &second] {
        assert_eq!(seen(moto, region, said["snapshot"].as_str().unwrap()), sum.split(' ').next().unwrap());
    }
    assert_eq!(kept(moto, region), "2 2");

    let again = push(moto, &dir, region, &["app 1", "app.tar", "--force"]);
    assert!(again.code() == 2 && again.errors().contains("the name 'app 1' is taken in eu-central-1 by ami-"), "{again}");
    assert_eq!(kept(moto, region), "2 2");
}

#[test]
fn refusals_have_words_and_codes() {
    let (moto, dir, region) = (moto(), scratch("push-aws-refused"), "eu-west-1");
    write_test_tar(&dir.join("app.tar"), 1);
    fs::write(dir.join("empty.raw"), vec![0; 1 << 20]).unwrap();
    let refused = |arguments: &[&str], code: i32, words: &str| {
        let done = push(moto, &dir, region, arguments);
        assert!(done.code() == code && done.errors().contains(words), "{done}");
    };
    refused(&["a:b", "app.tar"], 2, "hint: names of images have 3 to 128 letters");
    refused(&["app", "app.tar", "--tag", "x"], 2, "a tag is KEY=VALUE");
    refused(&["app", "app.tar", "--force", "--tpm", "--boot-mode", "legacy-bios"], 2, "a TPM needs the boot mode uefi");
    let mut stranger = pusher(moto, &dir, region, &["app", "app.tar", "--force"]);
    let done = finish(stranger.env("AWS_SECRET_ACCESS_KEY", "not-this-one"));
    assert!(done.code() == 5 && done.errors().contains("AWS does not know these credentials"), "{done}");
    assert!(!done.errors().contains("not-this-one"), "{done}");
    assert_eq!(kept(moto, region), "0 0");
}

#[test]
fn who_is_interrupted_leaves_no_snapshot() {
    let (moto, dir, region) = (moto(), scratch("push-aws-interrupted"), "eu-north-1");
    write_test_tar(&dir.join("app.tar"), 1);
    let mut state = 1_u64;
    let mut bytes = Vec::new();
    for _ in 0..400 << 17 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&state.to_be_bytes());
    }
    fs::write(dir.join("data.raw"), bytes).unwrap();
    let disk = ["convert", "app.tar", "--target", "aws", "--part", "data=auto:linux=data.raw", "-f", "raw", "-o", "app.raw"];
    finish(moby().current_dir(&dir).args(disk)).success();
    let errors = File::create(dir.join("errors")).unwrap();
    let mut command = pusher(moto, &dir, region, &["app", text(&dir.join("app.raw")), "--force", "--connections", "1"]);
    let mut child = command.stderr(errors).stdout(Stdio::null()).spawn().unwrap();
    let waited = asked(
        moto,
        region,
        "import time\nfor _ in range(1200):\n  \
         if ec2.describe_snapshots(OwnerIds=['self'])['Snapshots']: time.sleep(0.2); print('sending'); exit()\n  \
         time.sleep(0.01)",
    );
    assert_eq!((waited.as_str(), child.try_wait().unwrap()), ("sending", None), "{}", fs::read_to_string(dir.join("errors")).unwrap());
    finish(tool("kill").args(["-INT", &child.id().to_string()])).success();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(kept(moto, region), "0 0");
}

/// What is known before anybody is asked; the rest is in the network crate's tests, with a fake of the resource manager.
#[test]
fn azure_is_told_what_a_disk_is() {
    let dir = scratch("push-azure");
    write_test_tar(&dir.join("app.tar"), 1);
    let azure = |arguments: &[&str]| {
        let mut command = moby();
        command.current_dir(&dir).args(["push", "azure", "app", "app.tar", "--resource-group", "images", "--force"]);
        finish(command.args(arguments).env_remove("AZURE_SUBSCRIPTION_ID"))
    };
    let planned = azure(&["--subscription", "0-1", "--dry-run"]).success();
    assert!(planned.text().starts_with("app  x64, V2, ") && planned.text().lines().count() == 1, "{planned}");
    let refused = |arguments: &[&str], words: &str| {
        let done = azure(arguments);
        assert!(done.code() == 2 && done.errors().contains(words), "{done}");
    };
    refused(&["--dry-run"], "nothing names the subscription");
    refused(&["--subscription", "../x", "--dry-run"], "the subscription '../x' has 4 bytes");
    refused(&["--subscription", "0-1", "--gallery", "ours"], "--definition");
    let version = ["--subscription", "0-1", "--gallery", "ours", "--definition", "app", "--version", "1.0", "--dry-run"];
    refused(&version, "the version '1.0' must be three numbers");
    fs::write(dir.join("keys.json"), "{}").unwrap();
    refused(&["--subscription", "0-1", "--efi-vars", "keys.json", "--dry-run"], "--gallery");
    let keys = [&version[..4], &["--definition", "app", "--version", "1.0.0", "--efi-vars", "keys.json", "--dry-run"]].concat();
    refused(&keys, "--efi-vars: keys.json: has no securityProfile with uefiSettings");
}
