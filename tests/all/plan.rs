//! A matrix by its rows: what is told of them, and that what is made of it does not depend on who makes which row, how often, and where
//! he is stopped.

use crate::support::{
    deploy, images,
    moto::Moto,
    names, scratch,
    tools::{Finished, finish, finish_with, moby, run},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::Duration,
};

/// A directory with the matrix of `deploy/` and its inputs.
fn checkout(name: &str) -> PathBuf {
    let dir = scratch(name);
    deploy::checkout(&dir);
    dir
}

fn plan(dir: &Path, arguments: &[&str]) -> Finished {
    finish(moby().current_dir(dir).args(["plan", "matrix.toml", "--quiet"]).args(arguments))
}

/// The plan of a text.
fn plan_of(name: &str, matrix: &str, arguments: &[&str]) -> Finished {
    let dir = scratch(name);
    fs::write(dir.join("matrix.toml"), matrix).unwrap();
    plan(&dir, arguments)
}

fn rows(dir: &Path, arguments: &[&str]) -> Vec<Value> {
    let told = plan(dir, &[&["--json"], arguments].concat()).success();
    serde_json::from_slice::<Value>(&told.stdout).unwrap().as_array().unwrap().clone()
}

fn words(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect()
}

/// What a run left: every file with its bytes.
fn made(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    names(&dir.join("out")).into_iter().map(|name| (name.clone(), fs::read(dir.join("out").join(name)).unwrap())).collect()
}

#[test]
fn a_row_is_told_as_it_is_made() {
    let dir = checkout("plan-told");
    let rows = rows(&dir, &[]);
    let ids: Vec<_> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["app-qcow2", "app-iso", "base-qcow2", "app-vhdx"]);
    // By its command line, which says of itself what the plan says.
    for row in &rows {
        finish(moby().current_dir(&dir).arg("--quiet").args(words(&row["args"]))).success();
        let outputs = words(&row["outputs"]);
        let told: Value = serde_json::from_slice(&fs::read(dir.join(outputs[1])).unwrap()).unwrap();
        assert_eq!(told["outputs"].as_array().unwrap().len(), 1);
        let output = &told["outputs"][0];
        assert_eq!(output["path"], outputs[0]);
        assert_eq!(output["bytes"], fs::metadata(dir.join(outputs[0])).unwrap().len());
        let sum = run("sha256sum", [dir.join(outputs[0])]);
        assert_eq!(output["sha256"], sum.split(' ').next().unwrap());
        assert_eq!(told["moby"], env!("CARGO_PKG_VERSION"));
    }
    // And by the plan, with the same bytes. A key is of the words of the row, and so is the one in its file, but for `--quiet`.
    let by_hand = made(&dir);
    fs::remove_dir_all(dir.join("out")).unwrap();
    plan(&dir, &["--run"]).success();
    let by_plan = made(&dir);
    assert_eq!(by_hand.len(), 8);
    for row in &rows {
        let outputs = words(&row["outputs"]);
        let name = |path: &str| path.strip_prefix("out/").unwrap().to_owned();
        assert!(by_hand[&name(outputs[0])] == by_plan[&name(outputs[0])], "{outputs:?}");
        let told: Value = serde_json::from_slice(&by_plan[&name(outputs[1])]).unwrap();
        assert_eq!(told["key"], row["key"]);
    }
    let shown = plan(&dir, &[]).success().text();
    assert!(shown.starts_with("ROW         OUTPUTS\napp-qcow2   out/app.qcow2 out/app-qcow2.json\n"), "{shown}");
}

/// The same bytes, whoever makes which row.
#[test]
fn parts_make_what_one_process_makes() {
    let dir = checkout("plan-parts");
    plan(&dir, &["--run"]).success();
    let whole = made(&dir);
    fs::remove_dir_all(dir.join("out")).unwrap();
    let part = |index: usize| {
        let variable = ("MOBY_TEST_INDEX", index.to_string());
        moby()
            .current_dir(&dir)
            .args(["plan", "matrix.toml", "--run", "--shard", "$MOBY_TEST_INDEX/3", "-q"])
            .envs([variable])
            .spawn()
            .unwrap()
    };
    let parts: Vec<_> = (0..3).map(part).collect();
    parts.into_iter().for_each(|mut part| assert!(part.wait().unwrap().success()));
    assert!(made(&dir) == whole);
    let rows = rows(&dir, &["--shard", "1/3"]);
    assert_eq!(rows.iter().map(|row| row["id"].as_str().unwrap()).collect::<Vec<_>>(), ["app-iso"]);
}

/// Whenever parts are killed: after the last of them ended well, everything is there as one process makes it, and nothing else.
#[test]
fn parts_that_are_killed_are_run_again() {
    let dir = checkout("plan-killed");
    plan(&dir, &["--run"]).success();
    let whole = made(&dir);
    fs::remove_dir_all(dir.join("out")).unwrap();
    let start = |index: usize| {
        let shard = format!("{index}/2");
        let mut command = moby();
        command.current_dir(&dir).args(["plan", "matrix.toml", "--run", "--quiet", "--shard", &shard]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    for round in 0..12 {
        let mut parts: Vec<_> = (0..2).map(start).collect();
        thread::sleep(Duration::from_millis(20 * round));
        parts.iter_mut().for_each(|part| part.kill().unwrap());
        parts.iter_mut().for_each(|part| assert!(part.wait().is_ok()));
        if round % 4 == 3 {
            // It may be that nobody came so far as to make it.
            assert!(fs::remove_dir_all(dir.join("out")).is_ok() || !dir.join("out").exists());
        }
    }
    for mut part in (0..2).map(start) {
        assert!(part.wait().unwrap().success());
    }
    assert!(made(&dir) == whole, "{:?}", names(&dir.join("out")));
}

#[test]
fn a_row_that_is_there_is_not_made_again() {
    let dir = checkout("plan-again");
    let run = |words: &[&str]| {
        finish(moby().current_dir(&dir).args(["plan", "matrix.toml", "--run", "--progress", "plain"]).args(words)).success()
    };
    assert!(run(&[]).errors().contains("plan: 4 rows: 4 made, 0 there already, 0 failed"));
    let first = made(&dir);
    assert!(run(&[]).errors().contains("plan: 4 rows: 0 made, 4 there already, 0 failed"));
    // An output that is gone, one that is half of itself, an input that is another one.
    fs::remove_file(dir.join("out/app.iso")).unwrap();
    let again = run(&[]);
    assert!(again.errors().contains("plan: 4 rows: 1 made, 3 there already") && again.errors().contains("made: out/app.iso"), "{again}");
    fs::File::options().write(true).open(dir.join("out/app.qcow2")).unwrap().set_len(5).unwrap();
    assert!(run(&[]).errors().contains("plan: 4 rows: 1 made, 3 there already"));
    assert!(made(&dir) == first);
    images::write_test_tar(&dir.join("base.tar"), 2);
    let again = run(&[]);
    assert!(again.errors().contains("plan: 4 rows: 1 made, 3 there already") && again.errors().contains("made: out/base.qcow2"), "{again}");
}

/// Who wants nothing replaced wants it also when a part is run again.
#[test]
fn what_must_stay_is_taken_for_made() {
    let dir = checkout("plan-stays");
    fs::write(dir.join("matrix.toml"), "dir = 'out'\nargs = ['--no-clobber']\nformat = ['raw', 'vdi']\n[[input]]\npath = 'app.tar'\n")
        .unwrap();
    fs::create_dir(dir.join("out")).unwrap();
    fs::write(dir.join("out/app.vdi"), "somebody's").unwrap();
    for _ in 0..2 {
        plan(&dir, &["--run"]).success();
        assert_eq!(names(&dir.join("out")), ["app.img", "app.vdi"]);
        assert_eq!(fs::read(dir.join("out/app.vdi")).unwrap(), b"somebody's");
    }
}

/// A file that says what was made is the last of a run to be there, and a failure writes none.
#[test]
fn a_metadata_file_is_an_output() {
    let dir = checkout("plan-metadata");
    let convert = |words: &[&str]| finish(moby().current_dir(&dir).args(["convert", "app.tar", "--quiet"]).args(words));
    let told: Value = serde_json::from_slice(
        &convert(&["-f", "kernel+initrd,vmdk", "--opt", "subformat=monolithicFlat", "--metadata-file", "-"]).success().stdout,
    )
    .unwrap();
    let formats: Vec<_> =
        told["outputs"].as_array().unwrap().iter().map(|output| (words_of(&output["path"]), words_of(&output["format"]))).collect();
    let wanted = [
        ("app-kernel", "kernel+initrd"),
        ("app-initrd.img", "kernel+initrd"),
        ("app-cmdline", "kernel+initrd"),
        ("app-flat.vmdk", "vmdk"),
        ("app.vmdk", "vmdk"),
    ];
    assert_eq!(formats, wanted);
    // What is compressed on its way is told as it lies there.
    convert(&["-o", "app.img.zst", "--metadata-file", "told.json"]).success();
    let told: Value = serde_json::from_slice(&fs::read(dir.join("told.json")).unwrap()).unwrap();
    let sum = run("sha256sum", [dir.join("app.img.zst")]);
    assert_eq!(words_of(&told["outputs"][0]["sha256"]), sum.split(' ').next().unwrap());
    // Standard input may be another one next time.
    let input = fs::read(dir.join("app.tar")).unwrap();
    let mut command = moby();
    command.current_dir(&dir).args(["convert", "-", "-q", "-f", "raw", "--metadata-file", "stdin.json"]);
    finish_with(&mut command, &input).success();
    let told: Value = serde_json::from_slice(&fs::read(dir.join("stdin.json")).unwrap()).unwrap();
    assert_eq!(told["key"], Value::Null);
    for (words, said) in [
        (&["-o", "x.img", "--metadata-file", "x.img"][..], "--metadata-file and an output would both write x.img"),
        (&["-o", "x.img", "--metadata-file", "app.tar"], "app.tar is an input and would be overwritten"),
        (&["-o", "x.img", "--metadata-file", "told.json", "--no-clobber"], "told.json exists and --no-clobber is given"),
        (&["-o", "x.img", "--metadata-file", "gone/told.json"], "gone/told.json: "),
    ] {
        let refused = convert(words);
        assert!(refused.code() == 2 && refused.errors().contains(said), "{refused}");
        assert!(!dir.join("x.img").exists(), "{refused}");
    }
}

fn words_of(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// In a store everything of a row is there, also what tells of it, and nothing is here.
#[test]
fn rows_go_to_a_store() {
    let moto = Moto::start();
    moto.python("s3.create_bucket(Bucket='rows')");
    let dir = checkout("plan-store");
    let matrix = "dir = 's3://rows/a b'\nmetadata = true\nformat = ['vdi', 'kernel+initrd']\n[[input]]\npath = 'app.tar'\n";
    fs::write(dir.join("matrix.toml"), matrix).unwrap();
    let outputs: Vec<_> = rows(&dir, &[]).iter().map(|row| words(&row["outputs"]).join(" ")).collect();
    assert_eq!(outputs[0], "s3://rows/a b/app.vdi s3://rows/a b/app-vdi.json");
    let part = |shard: &str| {
        let mut command = moby();
        command.current_dir(&dir).args(["plan", "matrix.toml", "--run", "--quiet", "--shard", shard]);
        command.env("AWS_ACCESS_KEY_ID", &moto.id).env("AWS_SECRET_ACCESS_KEY", &moto.secret);
        command.env("AWS_REGION", "us-east-1").env("AWS_ENDPOINT_URL", moto.url()).spawn().unwrap()
    };
    ["0/2", "1/2"].map(part).into_iter().for_each(|mut part| assert!(part.wait().unwrap().success()));
    let kept = moto.python(
        "body = lambda name: s3.get_object(Bucket='rows', Key=name)['Body'].read()\n\
         names = [o['Key'] for o in s3.list_objects_v2(Bucket='rows')['Contents']]\n\
         print(len(names))\n\
         for name in names:\n  \
         if name.endswith('.json'):\n    \
         for output in json.loads(body(name))['outputs']:\n      \
         found = body(output['path'].removeprefix('s3://rows/'))\n      \
         print(output['path'], len(found) == output['bytes'], hashlib.sha256(found).hexdigest() == output['sha256'])",
    );
    let told = ["app-kernel", "app-initrd.img", "app-cmdline", "app.vdi"].map(|name| format!("s3://rows/a b/{name} True True"));
    assert_eq!(kept, format!("6\n{}", told.join("\n")));
    assert_eq!(names(&dir), ["app.tar", "base.tar", "matrix.toml"]);
    // Told here, too, while the outputs are there.
    let matrix = matrix.replace("metadata = true", "args = ['--metadata-file', 'told.json']").replace("'vdi', ", "");
    fs::write(dir.join("matrix.toml"), matrix).unwrap();
    let again = || {
        let mut command = moby();
        command.current_dir(&dir).args(["plan", "matrix.toml", "--run", "--progress", "plain"]);
        command.env("AWS_ACCESS_KEY_ID", &moto.id).env("AWS_SECRET_ACCESS_KEY", &moto.secret);
        finish(command.env("AWS_REGION", "us-east-1").env("AWS_ENDPOINT_URL", moto.url())).success().errors()
    };
    assert!(again().contains("plan: 1 row: 1 made, 0 there already"));
    assert!(again().contains("plan: 1 row: 0 made, 1 there already"));
}

/// One failure stops no other row, and the exit code is that of the failure that may go away.
#[test]
fn a_failure_is_its_row_s_own() {
    let dir = checkout("plan-failures");
    fs::write(dir.join("bad.tar"), vec![7; 5000]).unwrap();
    let matrix = |tight: &str| {
        format!(
            "dir = 'out'\nformat = ['qcow2']\n[[input]]\npath = 'bad.tar'\n[[input]]\npath = 'app.tar'\n[[input]]\npath = 'base.tar'\nargs = [{tight}]\n"
        )
    };
    fs::write(dir.join("matrix.toml"), matrix("'--metadata-file', '/dev/full'")).unwrap();
    let both = plan(&dir, &["--run"]);
    assert_eq!(both.code(), 4, "{both}");
    assert!(
        both.errors().contains("moby: error: row bad-qcow2: bad.tar: ") && both.errors().contains("moby: error: row base-qcow2: "),
        "{both}"
    );
    assert_eq!(names(&dir.join("out")), ["app.qcow2"]);
    fs::write(dir.join("matrix.toml"), matrix("")).unwrap();
    let one = plan(&dir, &["--run"]);
    assert_eq!(one.code(), 2, "{one}");
    assert_eq!(names(&dir.join("out")), ["app.qcow2", "base.qcow2"]);
}

/// Every mistake is known before anything is made, and told with its line and key.
#[test]
fn mistakes_are_told_by_line_and_key() {
    const INPUT: &str = "[[input]]\npath = 'a.tar'\n";
    for (number, (matrix, code, said)) in [
        (format!("args = ['--initrd-levle', '3']\n{INPUT}"), 2, "matrix.toml:1: args: unexpected argument '--initrd-levle'"),
        (format!("format = ['raw']\n{INPUT}args = ['--level']\n"), 2, "matrix.toml:4: input: args: "),
        (format!("{INPUT}[[include]]\ninput = 'a'\nargs = ['--initrd-level', 'x']\n"), 2, "matrix.toml:5: include: args: --initrd-level: "),
        (format!("{INPUT}args = ['--name', 'x']\n"), 2, "matrix.toml:3: input: args: the argument '--name"),
        (format!("args = ['--help']\n{INPUT}"), 2, "matrix.toml:1: args: asks for help"),
        ("args = ['--dry-run']\n[[input]]\npath = 'a.yml'\n".to_owned(), 2, "matrix.toml:1: args: --dry-run makes nothing"),
        (format!("args = ['--metadata-file', '-']\n{INPUT}"), 2, "matrix.toml:1: args: a row writes files"),
        (format!("format = ['qcow2', 'qcow2-bios']\n{INPUT}"), 2, "the rows a-qcow2 and a-qcow2-bios would both write a.qcow2"),
        (format!("format = ['vdi,vdi-x']\n{INPUT}"), 2, "matrix.toml:1: format: the format 'vdi-x' is unknown"),
        (format!("inputs = 3\n{INPUT}"), 2, "matrix.toml:1: matrix: the key 'inputs' is unknown\n  hint: did you mean 'input'?"),
        ("format = ['raw\n".to_owned(), 2, "matrix.toml:1: unclosed array"),
    ]
    .into_iter()
    .enumerate()
    {
        let refused = plan_of(&format!("plan-mistake-{number}"), &matrix, &["--run"]);
        assert_eq!(refused.code(), code, "{matrix}\n{refused}");
        assert!(refused.errors().contains(said), "{matrix}\n{refused}");
    }
    let refused = plan_of("plan-mistake-gone", INPUT, &["--json"]);
    assert!(refused.code() == 2 && refused.errors().contains("matrix.toml:2: input: path: a.tar: No such file"), "{refused}");
    let refused = plan_of("plan-mistake-row", INPUT, &["--row", "b"]);
    assert!(refused.code() == 2 && refused.errors().contains("the row 'b' is unknown"), "{refused}");
    let refused = plan_of("plan-mistake-shard", INPUT, &["--shard", "4/4"]);
    assert!(refused.code() == 2 && refused.errors().contains("there is no part 4 of 4: they are counted from 0"), "{refused}");
}

/// What may be another thing tomorrow has no key, and platforms that share a format share no file.
#[test]
fn keys_are_only_where_they_hold() {
    let digest = "0".repeat(64);
    let matrix = format!(
        "target = ['libvirt', 'openstack']\n[[input]]\npath = 'oci://example.org/app:1'\n[[input]]\npath = 'oci://example.org/pinned@sha256:{digest}'\n\
         [[input]]\npath = 'box.yml'\n"
    );
    let dir = scratch("plan-keys");
    fs::write(dir.join("matrix.toml"), matrix).unwrap();
    fs::write(dir.join("box.yml"), "").unwrap();
    let rows = rows(&dir, &[]);
    let told: Vec<_> = rows.iter().map(|row| (words(&row["outputs"])[0].to_owned(), row["key"].is_string())).collect();
    let wanted = [
        ("app-libvirt.qcow2", false),
        ("app-openstack.qcow2", false),
        ("pinned-libvirt.qcow2", true),
        ("pinned-openstack.qcow2", true),
        ("box-libvirt.qcow2", false),
        ("box-openstack.qcow2", false),
    ];
    assert_eq!(told.iter().map(|(name, has)| (name.as_str(), *has)).collect::<Vec<_>>(), wanted);
}

/// A build from a lock is known by all that it reads, also by the files that its configuration names.
#[test]
fn a_locked_build_is_known_by_what_it_reads() {
    let dir = scratch("plan-build");
    let matrix = "metadata = true\nformat = ['tar']\nargs = ['--locked']\n[[input]]\npath = 'app.yml'\n";
    for (name, text) in [("matrix.toml", matrix), ("app.yml", "files:\n  - path: etc/x\n    source: x\n"), ("x", "one")] {
        fs::write(dir.join(name), text).unwrap();
    }
    finish(moby().current_dir(&dir).args(["lock", "app.yml"])).success();
    let made = || finish(moby().current_dir(&dir).args(["plan", "matrix.toml", "--run", "--progress", "plain"])).success().errors();
    assert!(made().contains("plan: 1 row: 1 made, 0 there already"));
    assert!(made().contains("plan: 1 row: 0 made, 1 there already"));
    for (name, text) in [("x", "two"), ("app.lock", "# another\n")] {
        fs::write(dir.join(name), text).unwrap();
        assert!(made().contains("plan: 1 row: 1 made, 0 there already"), "{name}");
    }
    assert_eq!(names(&dir), ["app-tar.json", "app.lock", "app.tar", "app.yml", "matrix.toml", "x"]);
}

/// The matrix of the documentation is one.
#[test]
fn the_documented_matrix_is_taken() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/many-machines.md")).unwrap();
    let matrix = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let told = finish_with(moby().args(["plan", "-"]), matrix.as_bytes()).success().text();
    let ids: Vec<_> = told.lines().skip(1).filter_map(|line| line.split(' ').next()).collect();
    let wanted = [
        "app-qcow2-aws",
        "app-qcow2-openstack",
        "app-raw-vhdx-aws",
        "app-raw-vhdx-openstack",
        "box-qcow2-openstack",
        "box-raw-vhdx-openstack",
        "other-vhd",
    ];
    assert_eq!(ids, wanted, "{told}");
}

/// GitHub reads one line, and takes 256 jobs.
#[test]
fn github_gets_its_matrix_in_one_line() {
    let dir = checkout("plan-github");
    plan(&dir, &["--github", "--output", "told"]).success();
    let told = fs::read_to_string(dir.join("told")).unwrap();
    assert_eq!(told.lines().count(), 1);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["include"].as_array().unwrap(), &rows(&dir, &[]));
    let many: String = (0..257).map(|number| format!("[[input]]\npath = '{number}.tar'\n")).collect();
    let refused = plan_of("plan-github-many", &many, &["--github"]);
    assert!(refused.code() == 3 && refused.errors().contains("GitHub takes 256 rows, these are 257"), "{refused}");
}

/// What stands in the documentation as retry policy is every exit code that there is.
#[test]
fn every_exit_code_has_its_policy() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/many-machines.md")).unwrap();
    let help = finish(moby().arg("--help")).success().text();
    let codes = help.split("Exit codes:\n").nth(1).unwrap().lines().map_while(|line| line.trim().split_once("  "));
    let lacking: Vec<_> = codes.map(|(code, _)| code).filter(|code| !page.contains(&format!("\n| {code} |"))).collect();
    assert!(lacking.is_empty(), "docs/many-machines.md says nothing of {lacking:?}");
}
