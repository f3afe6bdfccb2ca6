//! Leaves that share nothing but a store: each has its own network and its own directory, makes its part of a matrix, and is killed at any
//! time. What is in the store in the end is what one process makes, and no upload is left open.
//!
//! ```text
//!  leaf 0 ─ eth0 ┐
//!  leaf 1 ─ eth0 ┼ bridge ─ this test ─ 127.0.0.1: the store
//!  leaf 2 ─ eth0 ┘
//! ```

use crate::support::{
    images::write_test_tar,
    moto::Moto,
    scratch,
    tools::{finish, run, tool},
};
use std::{
    fs, io,
    net::{Shutdown, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Seven rows; the large ones go in several parts.
const MATRIX: &str = "\
dir = 's3://BUCKET'
metadata = true
format = ['raw', 'vdi', 'kernel+initrd']
[[input]]
path = 'small.tar'
[[input]]
path = 'large.tar'
[[include]]
input = 'small'
format = 'iso'
";

#[test]
fn leaves_make_what_one_process_makes() {
    let network = Network::start(4);
    let farm = Farm::start("leaves-whole", &network);
    farm.moto.python("s3.create_bucket(Bucket='whole')");
    for count in [1, 2, 4] {
        (0..count).for_each(|index| checkout(&farm.directory(index, count, "whole"), "whole"));
        let since = Instant::now();
        let leaves: Vec<_> = (0..count).map(|index| farm.leaf(index, count, "whole")).collect();
        leaves.into_iter().for_each(|mut leaf| assert!(leaf.wait().unwrap().success()));
        eprintln!("{count} leaves: {:.1} s", since.elapsed().as_secs_f64());
        assert_eq!(farm.kept("whole"), farm.whole, "{count} leaves");
        farm.empty("whole");
    }
    // The machine's own loopback is none of theirs.
    let reach = format!("exec 3<>/dev/tcp/127.0.0.1/{}", farm.moto.port);
    assert!(finish(tool("bash").args(["-c", &reach])).code() == 0);
    assert_ne!(finish(network.within(0, "bash").args(["-c", &reach])).code(), 0);
}

/// A hundred times.
#[test]
fn leaves_that_are_killed_leave_nothing_behind() {
    const LEAVES: usize = 3;
    let network = Network::start(LEAVES);
    let farm = Farm::start("leaves-killed", &network);
    farm.moto.python("s3.create_bucket(Bucket='killed')");
    let (mut state, mut in_midst) = (0x9e37_79b9_u64, 0);
    let mut random = |below: u64| {
        // Numerical Recipes' generator: the same every time.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for _ in 0..10 {
        for _ in 0..10 {
            let index = usize::try_from(random(3)).unwrap();
            let mut leaf = farm.leaf(index, LEAVES, "killed");
            thread::sleep(Duration::from_millis(random(600)));
            leaf.kill().unwrap();
            in_midst += usize::from(leaf.wait().unwrap().code().is_none());
            farm.passage.settle();
        }
        let leaves: Vec<_> = (0..LEAVES).map(|index| farm.leaf(index, LEAVES, "killed")).collect();
        leaves.into_iter().for_each(|mut leaf| assert!(leaf.wait().unwrap().success()));
        let kept = farm.kept("killed");
        let wrong: Vec<_> = kept.lines().filter(|line| !farm.whole.lines().any(|other| other == *line)).collect();
        assert!(kept == farm.whole, "{wrong:?}");
        farm.empty("killed");
    }
    eprintln!("{in_midst} of 100 were killed in the midst");
    assert!(in_midst > 50, "most had ended by themselves: only {in_midst} were killed");
}

/// A store, and the directories of leaves.
struct Farm<'a> {
    network: &'a Network,
    moto: Moto,
    /// By which leaves reach the store.
    passage: Passage,
    dir: PathBuf,
    /// What is in the store when one process has made everything.
    whole: String,
}

impl<'a> Farm<'a> {
    fn start(name: &str, network: &'a Network) -> Self {
        let moto = Moto::start();
        let passage = Passage::start(&network.address(1), moto.port);
        let mut farm = Self { network, moto, passage, dir: scratch(name), whole: String::new() };
        farm.moto.python("s3.create_bucket(Bucket='one')");
        assert!(farm.leaf(0, 1, "one").wait().unwrap().success());
        farm.whole = farm.kept("one");
        assert!(farm.whole.ends_with("0 open") && farm.whole.lines().count() == 19, "{}", farm.whole);
        farm
    }

    /// A leaf begins with its part of the rows.
    fn leaf(&self, index: usize, count: usize, bucket: &str) -> Child {
        let dir = self.directory(index, count, bucket);
        checkout(&dir, bucket);
        let mut leaf = self.network.within(index, env!("CARGO_BIN_EXE_moby"));
        leaf.current_dir(&dir).args(["plan", "matrix.toml", "--run", "--quiet", "--shard", &format!("{index}/{count}")]);
        leaf.env("AWS_ACCESS_KEY_ID", &self.moto.id).env("AWS_SECRET_ACCESS_KEY", &self.moto.secret).env("AWS_REGION", "us-east-1");
        leaf.env("AWS_ENDPOINT_URL", format!("http://{}:{}", self.network.address(1), self.passage.port));
        leaf.stdin(Stdio::null()).spawn().unwrap()
    }

    fn directory(&self, index: usize, count: usize, bucket: &str) -> PathBuf {
        self.dir.join(format!("{bucket}-{count}-{index}"))
    }

    /// What a bucket has: names with SHA-256 (what tells of a file names its bucket: of that only the name), and how many uploads are open.
    fn kept(&self, bucket: &str) -> String {
        self.moto.python(&format!(
            "for o in s3.list_objects_v2(Bucket='{bucket}').get('Contents', []):\n  \
             body = s3.get_object(Bucket='{bucket}', Key=o['Key'])['Body'].read()\n  \
             print('' if o['Key'].endswith('.json') else hashlib.sha256(body).hexdigest(), o['Key'])\n\
             print(len(s3.list_multipart_uploads(Bucket='{bucket}').get('Uploads', [])), 'open')"
        ))
    }

    fn empty(&self, bucket: &str) {
        self.moto.python(&format!(
            "for o in s3.list_objects_v2(Bucket='{bucket}').get('Contents', []): s3.delete_object(Bucket='{bucket}', Key=o['Key'])"
        ));
    }
}

/// A directory with a matrix and its inputs, once.
fn checkout(dir: &Path, bucket: &str) {
    if !dir.exists() {
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join("matrix.toml"), MATRIX.replace("BUCKET", bucket)).unwrap();
        write_test_tar(&dir.join("small.tar"), 0);
        write_test_tar(&dir.join("large.tar"), 20);
    }
}

/// A port at an address, whose connections go on to one on loopback.
struct Passage {
    port: u16,
    open: Arc<AtomicUsize>,
}

impl Passage {
    fn start(address: &str, to: u16) -> Self {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let passage = Self { port: listener.local_addr().unwrap().port(), open: Arc::default() };
        let open = Arc::clone(&passage.open);
        let pour = |mut from: TcpStream, mut to: TcpStream| {
            // Who was killed says no good-bye.
            drop(io::copy(&mut from, &mut to));
            drop(to.shutdown(Shutdown::Write));
        };
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { return };
                let (client_too, server_too) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let open = Arc::clone(&open);
                open.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || pour(client, server));
                thread::spawn(move || {
                    pour(server_too, client_too);
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        passage
    }

    /// Until what was on its way when a leaf died has arrived: nobody can take back what comes after he looked.
    fn settle(&self) {
        let since = Instant::now();
        while self.open.load(Ordering::SeqCst) > 0 {
            assert!(since.elapsed() < Duration::from_secs(60), "a connection of a dead leaf stays open");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A bridge, and namespaces whose one way out it is.
struct Network {
    name: String,
    net: u8,
    count: usize,
}

impl Network {
    fn start(count: usize) -> Self {
        // Two that look at the same time would find the same free.
        static STARTING: Mutex<()> = Mutex::new(());
        let _starting = STARTING.lock();
        let is_taken = |net: &u8| run("ip", ["-4", "-o", "addr"]).contains(&format!(" 10.213.{net}."));
        let net = (0..=255).find(|net| !is_taken(net)).unwrap();
        let network = Self { name: format!("moby{net}"), net, count };
        let name = &network.name;
        ip(&["link", "add", name, "type", "bridge"]);
        ip(&["addr", "add", &format!("{}/24", network.address(1)), "dev", name]);
        ip(&["link", "set", name, "up"]);
        for index in 0..count {
            let (there, here) = (network.namespace(index), format!("{name}-{index}"));
            ip(&["netns", "add", &there]);
            ip(&["link", "add", &here, "type", "veth", "peer", "name", "eth0", "netns", &there]);
            ip(&["link", "set", &here, "master", name, "up"]);
            ip(&["-n", &there, "addr", "add", &format!("{}/24", network.address(index + 2)), "dev", "eth0"]);
            ip(&["-n", &there, "link", "set", "eth0", "up"]);
            ip(&["-n", &there, "link", "set", "lo", "up"]);
        }
        network
    }

    fn namespace(&self, index: usize) -> String {
        format!("{}-{index}", self.name)
    }

    fn address(&self, number: usize) -> String {
        format!("10.213.{}.{number}", self.net)
    }

    /// A program in a namespace; its process is the program's own.
    fn within(&self, index: usize, program: &str) -> Command {
        let mut command = tool("ip");
        command.args(["netns", "exec", &self.namespace(index), program]);
        command
    }
}

fn ip(words: &[&str]) {
    finish(tool("ip").args(words)).success();
}

impl Drop for Network {
    fn drop(&mut self) {
        let namespaces = (0..self.count).map(|index| vec!["netns".to_owned(), "del".to_owned(), self.namespace(index)]);
        let bridge = ["link", "del", &self.name].map(str::to_owned).to_vec();
        // What was not made cannot be taken away.
        namespaces.chain([bridge]).for_each(|words| drop(finish(tool("ip").args(words))));
    }
}
