//! Amazon's stores as `moto` has them, with signatures verified; the network crate's own tests start it by this file, too.

use super::docker_registry::{Running, listening};
use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
};

const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.cache/stores/bin");

/// A server of its own, with one user who may do everything.
pub struct Moto {
    _running: Running,
    /// Where it listens.
    pub port: u16,
    /// The user's access key.
    pub id: String,
    /// Its secret.
    pub secret: String,
}

impl Moto {
    /// Starts it.
    pub fn start() -> Self {
        let root = if std::path::Path::new(PROGRAMS).exists() { PROGRAMS.to_owned() } else { PROGRAMS.replace("/../", "/") };
        let mut command = Command::new(format!("{root}/moto_server"));
        // Three requests make the user; all that follow must be signed.
        command.args(["-H", "127.0.0.1", "-p", "0"]).env("INITIAL_NO_AUTH_ACTION_COUNT", "3");
        // Nobody's images but ours.
        command.env("MOTO_EC2_LOAD_DEFAULT_AMIS", "false");
        let (running, port) = listening(command, "Running on http://127.0.0.1:");
        let mut moto = Self { _running: running, port, id: String::new(), secret: String::new() };
        let everything = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22*%22%2C%22Resource%22%3A%22*%22%7D%5D%7D";
        moto.ask("Action=CreateUser&UserName=u&Version=2010-05-08");
        moto.ask(&format!("Action=PutUserPolicy&UserName=u&PolicyName=p&PolicyDocument={everything}&Version=2010-05-08"));
        let key = moto.ask("Action=CreateAccessKey&UserName=u&Version=2010-05-08");
        let word = |name: &str| key.split(&format!("<{name}>")).nth(1).and_then(|rest| rest.split('<').next()).map(str::to_owned);
        moto.id = word("AccessKeyId").unwrap_or_else(|| panic!("no key: {key}"));
        moto.secret = word("SecretAccessKey").unwrap_or_else(|| panic!("no secret: {key}"));
        moto
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Takes also what is not signed from now on. Of requests to EBS that have no body it computes other signatures than
    /// Amazon's own library does.
    #[allow(dead_code, reason = "not for every test that starts it")]
    pub fn unlock(&self) {
        self.python(
            "from urllib.request import Request, urlopen\n\
             urlopen(Request(s3.meta.endpoint_url + '/moto-api/reset-auth', b'1000000000', {'Content-Type': 'text/plain'}))",
        );
    }

    fn ask(&self, form: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        let credential = "AWS4-HMAC-SHA256 Credential=x/20200101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=x";
        let head = format!(
            "POST / HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nAuthorization: {credential}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{form}",
            self.port,
            form.len()
        );
        stream.write_all(head.as_bytes()).expect("it takes a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }

    /// Runs lines of Python with a client `s3` of Amazon's own library; what they print.
    pub fn python(&self, lines: &str) -> String {
        let root = if std::path::Path::new(PROGRAMS).exists() { PROGRAMS.to_owned() } else { PROGRAMS.replace("/../", "/") };
        let client = format!(
            "import boto3, json, hashlib\ndef client(name): return boto3.client(name, endpoint_url='{}', region_name='us-east-1', \
             aws_access_key_id='{}', aws_secret_access_key='{}')\ns3 = client('s3')\n",
            self.url(),
            self.id,
            self.secret
        );
        let output = Command::new(format!("{root}/python3")).arg("-c").arg(client + lines).output().expect("tests/setup.sh installs it");
        assert!(output.status.success(), "{lines}\n{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("it prints text").trim().to_owned()
    }
}
