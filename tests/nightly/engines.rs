//! Engines that can be had as packages run the files of `deploy/`: GitHub's workflow by act, Snakemake, and Slurm with two nodes, all on this
//! machine. What they make is what one process makes, to the byte.

use crate::support::{
    deploy, names, scratch, text,
    tools::{Finished, finish, moby, run, tool},
};
use std::{
    env, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// A program of the virtual environment of engines.
fn engine(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/engines/bin").join(name);
    assert!(path.exists(), "{} is missing: run tests/setup.sh nightly", path.display());
    path
}

/// The `PATH` on which an engine finds our program.
fn with_moby() -> String {
    let directory = Path::new(env!("CARGO_BIN_EXE_moby")).parent().expect("a program is in a directory");
    format!("{}:{}", text(directory), env::var("PATH").unwrap())
}

/// A directory with the matrix, its inputs and what an engine needs; the outputs of one process are in `whole`.
fn checkout(name: &str, files: &[(&str, &str)]) -> PathBuf {
    let dir = scratch(name);
    deploy::checkout(&dir);
    finish(moby().current_dir(&dir).args(["plan", "matrix.toml", "--run", "--quiet"])).success();
    fs::rename(dir.join("out"), dir.join("whole")).unwrap();
    for (from, to) in files {
        fs::create_dir_all(dir.join(to).parent().unwrap()).unwrap();
        fs::copy(deploy::path(from), dir.join(to)).unwrap();
    }
    dir
}

/// What an engine made is what one process made.
#[track_caller]
fn same(dir: &Path, made: &Path, ran: &Finished) {
    let whole = dir.join("whole");
    assert_eq!(names(made), names(&whole), "{ran}");
    assert_eq!(names(made).len(), 8);
    for name in names(&whole) {
        assert!(fs::read(made.join(&name)).unwrap() == fs::read(whole.join(&name)).unwrap(), "{name} differs\n{ran}");
    }
}

#[test]
fn the_github_workflow_runs() {
    let files = [("github/action.yml", ".github/actions/moby/action.yml"), ("github/workflow.yml", ".github/workflows/images.yml")];
    let dir = checkout("engines-act", &files);
    // Artifacts are GitHub's own: here the outputs are laid into a directory.
    let made = dir.join("made");
    fs::create_dir(&made).unwrap();
    let workflow = deploy::file("github/workflow.yml");
    let (head, _) = workflow.split_once("      - uses: actions/upload-artifact").unwrap();
    fs::write(dir.join(".github/workflows/images.yml"), format!("{head}      - run: cp out/* {}/\n", text(&made))).unwrap();
    let git =
        |words: &[&str]| finish(tool("git").current_dir(&dir).args(["-c", "user.name=a", "-c", "user.email=a@b"]).args(words)).success();
    git(&["init", "--quiet"]);
    git(&["add", "matrix.toml", "app.tar", "base.tar", ".github"]);
    git(&["commit", "--quiet", "--message", "images"]);
    let mut act = tool(engine("act"));
    // A runner that hosts jobs keeps their checkouts at home.
    act.current_dir(&dir)
        .env("PATH", with_moby())
        .env("HOME", scratch("engines-act-home"))
        .env_remove("XDG_CACHE_HOME")
        .env_remove("XDG_CONFIG_HOME");
    let ran = finish(act.args(["push", "--platform", "ubuntu-latest=-self-hosted"])).success();
    assert_eq!(ran.text().matches("Job succeeded").count(), 5, "a job for the plan, and one for each row\n{ran}");
    same(&dir, &made, &ran);
}

#[test]
fn the_snakefile_runs_and_knows_what_is_made() {
    let files = [("snakemake/Snakefile", "Snakefile"), ("snakemake/profile/config.yaml", "profile/config.yaml")];
    let dir = checkout("engines-snakemake", &files);
    let snakemake = || {
        let mut command = tool(engine("snakemake"));
        command.current_dir(&dir).env("PATH", with_moby()).env("HOME", &dir).args(["--profile", "profile"]);
        finish(&mut command)
    };
    let ran = snakemake().success();
    same(&dir, &dir.join("out"), &ran);
    let again = snakemake().success();
    assert!(again.errors().contains("Nothing to be done"), "{again}");
    // Another input is another key, and so another job.
    fs::copy(dir.join("base.tar"), dir.join("app.tar")).unwrap();
    let again = snakemake().success();
    assert!(again.errors().contains("4 of 4 steps"), "three rows, and what asks for all of them\n{again}");
    assert_ne!(fs::read(dir.join("out/app.qcow2")).unwrap(), fs::read(dir.join("whole/app.qcow2")).unwrap());
}

#[test]
fn the_slurm_array_runs_on_two_nodes() {
    let dir = checkout("engines-slurm", &[("slurm/array.sh", "array.sh")]);
    let cluster = Cluster::start(&dir.join("cluster"));
    let ran = finish(cluster.command("sbatch").current_dir(&dir).env("PATH", with_moby()).args([
        "--wait",
        "--array=0-3",
        "array.sh",
        "matrix.toml",
    ]));
    let ran = ran.success();
    let log = fs::read_to_string(dir.join("cluster/slurmctld.log")).unwrap();
    for node in ["n1", "n2"] {
        assert!(log.contains(&format!("NodeList={node}")), "{node} had nothing to do\n{log}");
    }
    same(&dir, &dir.join("out"), &ran);
}

/// Slurm on this machine: its controller, two nodes, and what they know each other by.
struct Cluster {
    dir: PathBuf,
}

impl Cluster {
    fn start(dir: &Path) -> Self {
        fs::create_dir_all(dir.join("state")).unwrap();
        let (at, user) = (text(dir), run("id", ["-un"]));
        let key = dir.join("munge.key");
        fs::write(&key, [7; 1024]).unwrap();
        run("chmod", ["600", text(&key)]);
        // All are taken before one is given back: no two are the same.
        let taken: Vec<_> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let [controller, one, two] = [0, 1, 2].map(|number| taken[number].local_addr().unwrap().port());
        drop(taken);
        let host = run("hostname", [] as [&str; 0]);
        let (user, host) = (user.trim(), host.trim());
        let nodes = [("n1", one), ("n2", two)];
        let node = |(name, port): (&str, u16)| {
            format!("NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=1100\n")
        };
        let conf = format!(
            "ClusterName=moby\nSlurmctldHost=localhost(127.0.0.1)\nSlurmctldPort={controller}\nSlurmUser={user}\nSlurmdUser={user}\n\
             AuthType=auth/munge\nAuthInfo=socket={at}/munge.socket\nCredType=cred/munge\nProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\n\
             JobAcctGatherType=jobacct_gather/none\nSelectType=select/cons_tres\nSwitchType=switch/none\nMpiDefault=none\nReturnToService=2\n\
             StateSaveLocation={at}/state\nSlurmdSpoolDir={at}/spool.%n\nSlurmctldPidFile={at}/slurmctld.pid\nSlurmdPidFile={at}/slurmd.%n.pid\n\
             SlurmctldLogFile={at}/slurmctld.log\nSlurmdLogFile={at}/slurmd.%n.log\n{}PartitionName=all Nodes=n[1-2] Default=YES State=UP\n",
            nodes.map(node).concat()
        );
        fs::write(dir.join("slurm.conf"), conf).unwrap();
        let cluster = Self { dir: dir.to_owned() };
        let at = |name: &str| format!("{}/munge.{name}", text(dir));
        let munged = [("key-file", "key"), ("socket", "socket"), ("pid-file", "pid"), ("log-file", "log"), ("seed-file", "seed")];
        let munged = munged.map(|(option, name)| format!("--{option}={}", at(name)));
        finish(tool("munged").arg("--force").args(munged)).success();
        finish(&mut cluster.command("slurmctld")).success();
        nodes.iter().for_each(|(name, _)| drop(finish(cluster.command("slurmd").args(["-N", name])).success()));
        cluster.wait();
        cluster
    }

    /// A program of Slurm's that talks to this cluster.
    fn command(&self, program: &str) -> Command {
        let mut command = tool(program);
        command.env("SLURM_CONF", self.dir.join("slurm.conf"));
        command
    }

    /// Until both nodes have nothing to do.
    fn wait(&self) {
        let since = Instant::now();
        loop {
            let told = finish(self.command("sinfo").args(["--noheader", "--format", "%D %t"]));
            if told.text().trim() == "2 idle" {
                return;
            }
            assert!(since.elapsed() < Duration::from_secs(60), "the nodes do not come up: {told}");
            thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let pids = names(&self.dir).into_iter().filter(|name| name.ends_with(".pid"));
        for pid in pids.filter_map(|name| fs::read_to_string(self.dir.join(name)).ok()) {
            // It may have ended by itself.
            drop(finish(tool("kill").arg(pid.trim())));
        }
    }
}
