//! Outputs that go to stores, as users send them there: all of them are there or none, whatever happens in between.

use crate::support::{
    images::write_test_tar,
    moto::Moto,
    names,
    nginx::Nginx,
    scratch, text,
    tools::{Finished, finish, moby, tool},
};
use std::{
    fs::{self, File},
    net::{TcpListener, TcpStream},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{OnceLock, mpsc},
    thread,
    time::{Duration, Instant},
};

/// One server for all tests, each of which has a bucket of its own.
fn moto() -> &'static Moto {
    static MOTO: OnceLock<Moto> = OnceLock::new();
    MOTO.get_or_init(Moto::start)
}

fn bucket(name: &str) {
    moto().python(&format!("s3.create_bucket(Bucket='{name}')"));
}

/// `moby` with credentials for the server.
fn sender(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = moby();
    command.current_dir(dir).args(arguments).env("AWS_ACCESS_KEY_ID", &moto().id).env("AWS_SECRET_ACCESS_KEY", &moto().secret);
    command.env("AWS_REGION", "us-east-1").env("AWS_ENDPOINT_URL", moto().url());
    command
}

fn send(dir: &Path, arguments: &[&str]) -> Finished {
    finish(&mut sender(dir, arguments))
}

/// What a bucket has: names with SHA-256, and how many uploads are open.
fn kept(bucket: &str) -> String {
    moto().python(&format!(
        "for o in s3.list_objects_v2(Bucket='{bucket}').get('Contents', []):\n  \
         body = s3.get_object(Bucket='{bucket}', Key=o['Key'])['Body'].read()\n  \
         print(hashlib.sha256(body).hexdigest() + '  ' + o['Key'])\n\
         print(len(s3.list_multipart_uploads(Bucket='{bucket}').get('Uploads', [])), 'open')"
    ))
}

/// A disk of so many MiB that repeats nowhere.
fn disk(dir: &Path, mib: u64) {
    let mut state = 1_u64;
    let mut bytes = Vec::new();
    for _ in 0..mib << 17 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&state.to_be_bytes());
    }
    fs::write(dir.join("disk.raw"), bytes).unwrap();
}

/// `sha256sum` of files, as [`kept`] lists them below a prefix.
fn sums(dir: &Path, prefix: &str) -> String {
    let all = names(dir);
    let sums = finish(tool("sha256sum").current_dir(dir).args(&all)).success().text();
    sums.lines().map(|line| line.replacen("  ", &format!("  {prefix}"), 1) + "\n").collect()
}

#[test]
fn every_file_of_a_run_is_there() {
    let dir = scratch("stores-files");
    write_test_tar(&dir.join("app.tar"), 1);
    bucket("files");
    let formats = ["-f", "qcow2,kernel+initrd,vmdk", "--opt", "subformat=twoGbMaxExtentSparse"];
    send(&dir, &[&["convert", "app.tar", "--dir", "local"], &formats[..]].concat()).success();
    let done = send(&dir, &[&["convert", "app.tar", "--dir", "s3://files/a b"], &formats[..]].concat()).success();
    assert_eq!(kept("files"), sums(&dir.join("local"), "a b/") + "0 open");
    assert!(done.errors().contains("made: s3://files/a b/app.qcow2, "), "{done}");
    assert_eq!(names(&dir), ["app.tar", "local"]);

    // Compressed on its way, and named as it is.
    send(&dir, &["convert", "app.tar", "-o", "s3://files/x.img.zst"]).success();
    send(&dir, &["convert", "app.tar", "-o", "x.img.zst"]).success();
    let sum = finish(tool("sha256sum").current_dir(&dir).arg("x.img.zst")).success().text();
    assert!(kept("files").contains(sum.trim_end()), "{}", kept("files"));

    let again = send(&dir, &["convert", "app.tar", "-o", "s3://files/x.img.zst", "--no-clobber"]);
    assert!(again.code() == 2 && again.errors().contains("s3://files/x.img.zst: somebody made it, and --no-clobber is given"), "{again}");
}

#[test]
fn a_run_that_fails_leaves_nothing_anywhere() {
    let dir = scratch("stores-fails");
    disk(&dir, 1);
    bucket("fails");
    let refused = |arguments: &[&str], code: i32, words: &str| {
        let done = send(&dir, &[&["convert", "disk.raw", "--from", "raw"], arguments].concat());
        assert!(done.code() == code && done.errors().contains(words), "{done}");
    };
    refused(&["-o", "s3://nowhere/x.qcow2"], 2, "s3://nowhere/x.qcow2: 127.0.0.1:");
    refused(&["-o", "s3://nowhere/x.qcow2"], 2, "hint: make the bucket first, or name another");
    refused(&["-o", "s3://x/y.qcow2"], 2, "its bucket's name must have 3 to 63");
    refused(&["-o", "ftp://host/y.qcow2"], 2, "hint: addresses begin with s3://");
    let mut stranger = sender(&dir, &["convert", "disk.raw", "--from", "raw", "-f", "raw,qcow2", "--dir", "s3://fails"]);
    let done = finish(stranger.env("AWS_SECRET_ACCESS_KEY", "not-this-one"));
    assert!(done.code() == 5 && done.errors().contains("SignatureDoesNotMatch") && !done.errors().contains("not-this-one"), "{done}");
    let nobody = finish(
        stranger
            .env_remove("AWS_ACCESS_KEY_ID")
            .env_remove("AWS_SECRET_ACCESS_KEY")
            .env("HOME", &dir)
            .env("AWS_EC2_METADATA_DISABLED", "true"),
    );
    assert!(nobody.code() == 2 && nobody.errors().contains("in none of these places: "), "{nobody}");
    assert_eq!(kept("fails"), "0 open");
    assert_eq!(names(&dir), ["disk.raw"]);
}

/// One that is in the midst of sending.
fn sending(dir: &Path, bucket: &str) -> Child {
    let mut command = sender(dir, &["convert", "disk.raw", "--from", "raw", "-f", "raw", "--connections", "1", "-o"]);
    let errors = File::create(dir.join("errors")).unwrap();
    let mut child = command.arg(format!("s3://{bucket}/disk.img")).stderr(errors).stdout(Stdio::null()).spawn().unwrap();
    let waited = moto().python(&format!(
        "import time\nfor _ in range(600):\n  \
         for upload in s3.list_multipart_uploads(Bucket='{bucket}').get('Uploads', []):\n    \
         if s3.list_parts(Bucket='{bucket}', Key='disk.img', UploadId=upload['UploadId']).get('Parts', []): print('sending'); exit()\n  \
         time.sleep(0.01)"
    ));
    assert_eq!((waited.as_str(), child.try_wait().unwrap()), ("sending", None), "{}", fs::read_to_string(dir.join("errors")).unwrap());
    child
}

#[test]
fn who_is_interrupted_takes_back_what_was_sent() {
    let dir = scratch("stores-interrupted");
    disk(&dir, 400);
    bucket("interrupted");
    let mut child = sending(&dir, "interrupted");
    finish(tool("kill").args(["-INT", &child.id().to_string()])).success();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(kept("interrupted"), "0 open");
}

/// A store that takes connections and never answers, and where it listens. Each connection is told of, and held.
fn silent() -> (mpsc::Receiver<TcpStream>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (tell, told) = mpsc::channel();
    thread::spawn(move || listener.incoming().map_while(Result::ok).try_for_each(|stream| tell.send(stream)));
    (told, url)
}

#[test]
fn who_is_interrupted_does_not_wait_for_a_store_that_is_silent() {
    let dir = scratch("stores-silent");
    disk(&dir, 1);
    let (connections, url) = silent();
    let mut command = sender(&dir, &["convert", "disk.raw", "--from", "raw", "-o", "s3://silent/disk.qcow2"]);
    let child = command.env("AWS_ENDPOINT_URL", url).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    // Its first request is not answered.
    let _held = connections.recv_timeout(Duration::from_secs(60)).unwrap();
    let began = Instant::now();
    finish(tool("kill").args(["-INT", &child.id().to_string()])).success();
    let done = child.wait_with_output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.code() == Some(130) && began.elapsed() < Duration::from_secs(20), "{said}");
    let words = "interrupted, and something may be left: s3://silent/disk.qcow2: the other side did not answer within ";
    assert!(said.contains(words), "{said}");
}

/// Whoever sends has a secret, and may crash.
#[test]
fn no_core_is_left_of_who_knows_a_secret() {
    let dir = scratch("stores-core");
    disk(&dir, 1);
    let (connections, url) = silent();
    let moby = sender(&dir, &["convert", "disk.raw", "--from", "raw", "-o", "s3://silent/disk.qcow2"]);
    let mut command = tool("sh");
    // As many bytes of a core as the system lets anybody have.
    command.args(["-c", "ulimit -c $(ulimit -Hc); exec \"$@\"", "sh"]).arg(moby.get_program()).args(moby.get_args());
    command.envs(moby.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("AWS_ENDPOINT_URL", url).current_dir(&dir);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let _held = connections.recv_timeout(Duration::from_secs(60)).unwrap();
    finish(tool("kill").args(["-ABRT", &child.id().to_string()])).success();
    let status = child.wait().unwrap();
    assert!(status.signal() == Some(6) && !status.core_dumped(), "{status:?}");
}

#[test]
fn who_is_killed_goes_on_where_he_was() {
    let dir = scratch("stores-killed");
    disk(&dir, 400);
    bucket("killed");
    let mut child = sending(&dir, "killed");
    child.kill().unwrap();
    child.wait().unwrap();
    thread::sleep(Duration::from_millis(200));
    assert_eq!(kept("killed"), "1 open");
    send(&dir, &["convert", "disk.raw", "--from", "raw", "-f", "raw", "-o", "s3://killed/disk.img"]).success();
    let sum = finish(tool("sha256sum").current_dir(&dir).arg("disk.raw")).success().text().replace("disk.raw", "disk.img");
    assert_eq!(kept("killed"), format!("{sum}0 open"));
}

/// Whoever runs rows by the hundred runs some of them twice: what is there with its key is left alone.
#[test]
fn a_row_that_is_there_is_not_made_again() {
    let dir = scratch("stores-plan");
    write_test_tar(&dir.join("app.tar"), 1);
    bucket("plan");
    fs::write(dir.join("matrix.toml"), "dir = \"s3://plan/out\"\nformat = [\"raw\", \"qcow2\"]\n[[input]]\npath = \"app.tar\"\n").unwrap();
    let run = || send(&dir, &["plan", "matrix.toml", "--run"]);
    let first = run().success();
    assert!(first.errors().contains("2 rows: 2 made, 0 there already, 0 failed"), "{first}");
    let kept_first = kept("plan");
    assert_eq!(kept_first.lines().count(), 3, "{kept_first}");
    assert!(run().success().errors().contains("2 rows: 0 made, 2 there already, 0 failed"));
    // Another input is another key.
    write_test_tar(&dir.join("app.tar"), 2);
    assert!(run().success().errors().contains("2 rows: 2 made, 0 there already, 0 failed"));
    assert_ne!(kept("plan"), kept_first);
}

/// Of a large disk elsewhere those bytes come that are looked at.
#[test]
fn a_disk_is_looked_at_where_it_is() {
    let dir = scratch("stores-looked-at");
    write_test_tar(&dir.join("app.tar"), 1);
    disk(&dir, 48);
    let arguments = ["convert", "app.tar", "--size", "4G", "--part", "data=auto:linux=disk.raw", "-o", "disk.qcow2"];
    send(&dir, &arguments).success();
    let server = Nginx::start(&dir);
    let (disk, url) = (dir.join("disk.qcow2"), server.url("disk.qcow2"));
    fs::copy(&disk, server.files.join("disk.qcow2")).unwrap();
    // Holes are known of files here alone.
    let said = |name: &str, command: &[&str]| {
        let text = send(&dir, &[command, &[name]].concat()).success().text().replace(name, "DISK");
        text.lines().filter(|line| !line.contains("actual-size") && !line.contains("data-size")).collect::<Vec<_>>().join("\n")
    };
    for command in [&["inspect"][..], &["inspect", "--json"], &["check"], &["check", "--json"]] {
        assert_eq!(said(&url, command), said(text(&disk), command), "{command:?}");
    }
    let len = fs::metadata(&disk).unwrap().len();
    assert!(server.sent() < len / 4, "{} of {len} bytes, for four looks", server.sent());
    send(&dir, &["extract", &url, "kernel", "-o", "kernel"]).success();
    send(&dir, &["extract", "disk.qcow2", "kernel", "-o", "own-kernel"]).success();
    assert!(fs::read(dir.join("kernel")).unwrap() == fs::read(dir.join("own-kernel")).unwrap());

    // All of it comes where all is needed, and goes there.
    let there = server.url("new/disk.vmdk");
    send(&dir, &["convert", &url, "-o", &there]).success();
    send(&dir, &["convert", "disk.qcow2", "-o", "disk.vmdk"]).success();
    assert!(fs::read(server.files.join("new/disk.vmdk")).unwrap() == fs::read(dir.join("disk.vmdk")).unwrap());
    let again = send(&dir, &["convert", &url, "-o", &there, "--no-clobber"]);
    assert!(again.code() == 2 && again.errors().contains("--no-clobber is given"), "{again}");

    // The same at a store with logins.
    bucket("looked-at");
    send(&dir, &["convert", "disk.qcow2", "-o", "s3://looked-at/disk.qcow2"]).success();
    let s3 = "s3://looked-at/disk.qcow2";
    assert_eq!(said(s3, &["inspect"]), said(text(&disk), &["inspect"]));

    let gone = send(&dir, &["inspect", &server.url("gone.img")]);
    assert!(gone.code() == 2 && gone.errors().contains("gone.img: 127.0.0.1:") && gone.errors().contains("404"), "{gone}");
    let other = send(&dir, &["inspect", "ftp://host/x"]);
    assert!(other.code() == 2 && other.errors().contains("is an address that nothing is read from"), "{other}");
}
