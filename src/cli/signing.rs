//! What commands that sign share: whose key, and what machines are to trust.

use crate::{
    error::{At, Error, Result},
    input::{self, Opening},
    secure_boot::{Command, Enrolment, Key, OfVariable, SecureBoot, Shim, Signing},
};
use formats::{Blob, Env, Guid, signer::Signer, units, x509::Certificate};
use std::{
    env,
    path::{Path, PathBuf},
    slice,
    sync::Arc,
    time::Duration,
};

/// Most bytes of a file with a key, a certificate or a variable.
const FILE_MAX: u64 = units::MIB;
/// Where a password is looked for.
const PASSWORD: &str = "MOBY_SIGN_PASSWORD";
/// The owner of what is enrolled, in a directory of keys.
pub(super) const OWNER: &str = "GUID.txt";
/// What a certificate's file may end with.
const CERTIFICATES: [&str; 4] = ["crt", "cer", "der", "pem"];

/// Whose key signs.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Secure Boot")]
pub(super) struct SigningArgs {
    /// Sign with this RSA key (PKCS #1 or #8, PEM or DER, also encrypted: see --sign-password-file), for machines that trust its certificate
    #[arg(long, value_name = "FILE", requires = "sign_cert", conflicts_with = "sign_command")]
    sign_key: Option<PathBuf>,
    /// The certificate of the key; then those that lead from it to one that machines trust
    #[arg(long, value_name = "FILE")]
    sign_cert: Vec<PathBuf>,
    /// Sign by this command of the shell's, where the key is elsewhere: a SHA-256 of 32 bytes on its standard input, the signature (RSA,
    /// PKCS #1 v1.5) on its standard output, as bytes or as base64
    #[arg(long, value_name = "COMMAND", requires = "sign_cert")]
    sign_command: Option<String>,
    /// Seconds that the command may take
    #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "sign_command")]
    sign_timeout: u64,
    /// A file whose first line is the password of the keys [default: what MOBY_SIGN_PASSWORD holds]
    #[arg(long, value_name = "FILE")]
    sign_password_file: Option<PathBuf>,
}

/// What a bootable output has to do with Secure Boot.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Secure Boot")]
pub(super) struct SecureBootArgs {
    #[command(flatten)]
    signing: SigningArgs,
    /// A directory of `moby keys`: sign with db.key and db.crt of it, and --enroll-keys of it
    #[arg(long, value_name = "DIR", conflicts_with_all = ["sign_key", "sign_command", "enroll_keys"])]
    secure_boot: Option<PathBuf>,
    /// Put the keys of this directory on the disk, where our loader hands them to a virtual machine that has none yet (setup mode): PK.auth,
    /// KEK.auth, db.auth, or .crt and .key to make them
    #[arg(long, value_name = "DIR")]
    enroll_keys: Option<PathBuf>,
    /// Let the loader do so on real machines, too, where keys of one's own can lock out graphics cards
    #[arg(long)]
    enroll_force: bool,
    /// More certificates for db: Microsoft's, for the firmware of graphics cards
    #[arg(long, value_name = "FILE")]
    db_cert: Vec<PathBuf>,
    /// An RSA key that signs what PCR 11 will be, for those who seal secrets to it
    #[arg(long, value_name = "FILE")]
    pcr_key: Option<PathBuf>,
    /// Put this shim in front, which firmware trusts already; it asks for a signature by its user's key
    #[arg(long, value_name = "FILE")]
    shim: Option<PathBuf>,
    /// The MokManager of that shim
    #[arg(long, value_name = "FILE", requires = "shim")]
    mok_manager: Option<PathBuf>,
}

/// A file of a few bytes.
pub(super) fn read(path: &Path, env: &mut Env) -> Result<Vec<u8>> {
    let read = |blob: Blob| blob.to_vec(FILE_MAX);
    input::open_plain(path, &Opening::default(), env).and_then(read).at(|| input::show(path))
}

/// The certificates of files, one behind the other.
///
/// # Errors
/// When one cannot be read, or holds none.
pub(super) fn certificates(paths: &[PathBuf], env: &mut Env) -> Result<Vec<Certificate>> {
    let mut of = |path: &PathBuf| Certificate::read(&read(path, env)?).at(|| input::show(path));
    Ok(paths.iter().map(&mut of).collect::<Result<Vec<_>>>()?.concat())
}

impl SigningArgs {
    /// What signs, if anything.
    ///
    /// # Errors
    /// When a file is not what it should be, or key and certificate do not belong together.
    pub(super) fn signing(&self, env: &mut Env) -> Result<Option<Signing>> {
        let Some(first) = self.sign_cert.first() else { return Ok(None) };
        let certificates = self.certificates(env)?;
        let signer: Arc<dyn Signer + Send + Sync> = match (&self.sign_key, &self.sign_command) {
            (Some(key), _) => Arc::new(self.key(key, env)?),
            (None, Some(command)) => Arc::new(Command {
                command: command.clone(),
                key: "db",
                public: certificates[0].public_key().at(|| input::show(first))?,
                limit: Duration::from_secs(self.sign_timeout),
            }),
            (None, None) => return Err(Error::bad_input("--sign-cert needs a key").hint("--sign-key FILE or --sign-command COMMAND")),
        };
        self.with(certificates, signer, first).map(Some)
    }

    /// A signer with its certificates, of which the first is in this file.
    fn with(&self, certificates: Vec<Certificate>, signer: Arc<dyn Signer + Send + Sync>, first: &Path) -> Result<Signing> {
        let signing = Signing::new(certificates, signer);
        match &self.sign_key {
            Some(key) => signing.at(|| format!("{} with {}", input::show(key), input::show(first))),
            None => signing.at(|| input::show(first)),
        }
    }

    /// All certificates, the signer's first.
    pub(super) fn certificates(&self, env: &mut Env) -> Result<Vec<Certificate>> {
        certificates(&self.sign_cert, env)
    }

    /// The key in a file.
    fn key(&self, path: &Path, env: &mut Env) -> Result<Key> {
        let file = read(path, env)?;
        Key::read(&file, self.password(env)?.as_deref()).at(|| input::show(path))
    }

    fn password(&self, env: &mut Env) -> Result<Option<String>> {
        let Some(path) = &self.sign_password_file else { return Ok(env::var(PASSWORD).ok()) };
        let text = String::from_utf8(read(path, env)?).map_err(|_| Error::bad_input("is no text")).at(|| input::show(path))?;
        Ok(text.lines().next().map(str::to_owned))
    }

    /// The files that are read.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.sign_key.iter().chain(&self.sign_cert).chain(&self.sign_password_file).map(PathBuf::as_path)
    }
}

impl SecureBootArgs {
    /// What is asked for.
    ///
    /// # Errors
    /// When a file is not what it should be, or keys and certificates do not belong together.
    pub(super) fn secure_boot(&self, env: &mut Env) -> Result<SecureBoot> {
        let signing = match &self.secure_boot {
            Some(directory) => Some(self.of_directory(directory, env)?),
            None => self.signing.signing(env)?,
        };
        let enrolment = self.enroll_keys.as_ref().or(self.secure_boot.as_ref());
        let pcr_key = match &self.pcr_key {
            Some(path) => Some(Arc::new(self.signing.key(path, env)?) as Arc<dyn Signer + Send + Sync>),
            None => None,
        };
        Ok(SecureBoot {
            signing,
            enrolment: enrolment.map(|directory| self.enrolment(directory, env).at(|| input::show(directory))).transpose()?.map(Arc::new),
            shim: self.shim.as_deref().map(|shim| self.shim(shim, env)).transpose()?,
            pcr_key,
        })
    }

    fn of_directory(&self, directory: &Path, env: &mut Env) -> Result<Signing> {
        let key = self.signing.key(&directory.join("db.key"), env)?;
        let path = directory.join("db.crt");
        self.signing.with(certificates(slice::from_ref(&path), env)?, Arc::new(key), &path)
    }

    fn enrolment(&self, directory: &Path, env: &mut Env) -> Result<Enrolment> {
        let mut found = Vec::new();
        for name in OfVariable::names() {
            let file = |ending: &str| Some(directory.join(format!("{name}.{ending}"))).filter(|path| path.exists());
            let (signed, key) = (file("auth"), file("key"));
            let signed = signed.map(|path| read(&path, env)).transpose()?;
            let certificate = CERTIFICATES.iter().find_map(|ending| file(ending));
            let key = key.map(|path| self.signing.key(&path, env)).transpose()?;
            found.push(OfVariable { name, signed, certificates: certificates(certificate.as_slice(), env)?, key });
        }
        let owner = directory.join(OWNER);
        let owner: Option<Guid> = if owner.exists() { Some(guid(&read(&owner, env)?).at(|| input::show(&owner))?) } else { None };
        let more = certificates(&self.db_cert, env)?;
        Enrolment::new(owner, found, more, env.time, self.enroll_force)
    }

    fn shim(&self, shim: &Path, env: &mut Env) -> Result<Shim> {
        let mut open = |path: &Path| input::open_plain(path, &Opening::default(), env).at(|| input::show(path));
        Ok(Shim { shim: open(shim)?, mok_manager: self.mok_manager.as_deref().map(open).transpose()? })
    }

    /// The files and directories that are read.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        let directories = self.secure_boot.iter().chain(&self.enroll_keys);
        let files = directories.chain(&self.db_cert).chain(&self.pcr_key).chain(&self.shim).chain(&self.mok_manager);
        files.map(PathBuf::as_path).chain(self.signing.files())
    }
}

fn guid(text: &[u8]) -> Result<Guid> {
    String::from_utf8_lossy(text).trim().parse()
}
