//! The process of a container image, and who starts it where the image is a machine.
//!
//! | `--init` | process 1 |
//! |---|---|
//! | `moby` | ours ([`crate::image::Init`]): what Entrypoint, Cmd, Env, User and WorkingDir say runs under it |
//! | `none` | whatever the kernel finds: `/init`, or `/sbin/init` of a root in a partition |
//! | `/PATH` | that program of the image |
//!
//! Nobody has to say it: an image that says what to run gets ours, any other tree is started as it is. Whatever would keep the
//! process from running is an error here, and not a riddle on a console.

use crate::{
    bootable,
    error::{At, Error, Result},
    image::{self, Cmdline, Draft, Image, Overrides, init},
    input::Container,
    names::Named,
    platforms,
};
use formats::{
    Env, Tree,
    kernel::{Arch, Kernel},
    modules::{Modules, Selection, Set},
    oci::Execution,
    tree::{Content, ShowPath},
    units,
};
use initconfig::{
    Config,
    config::{self, Pid1, Restart, is_hostname},
    identity::Identity,
    signal,
};
use std::str::FromStr;

/// What the user wishes of the process of an image. What is absent is as the image has it.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// Who is process 1.
    pub starter: Starter,
    /// Program and first arguments; then the image's Cmd does not count.
    pub entrypoint: Option<Words>,
    /// The arguments behind those.
    pub cmd: Option<Words>,
    /// More of the environment, `NAME=VALUE`.
    pub env: Vec<String>,
    /// As whom.
    pub user: Option<String>,
    /// Where it begins.
    pub workdir: Option<String>,
    /// Whether the console is its terminal.
    pub tty: bool,
    /// What follows when it ends.
    pub restart: Option<Restart>,
    /// Whether it is process 1 itself.
    pub pid1: Option<Pid1>,
    /// The machine's name.
    pub hostname: Option<String>,
    /// Which of the kernel's modules it has.
    pub modules: Option<Set>,
}

/// Who is process 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Starter {
    /// Ours where a container image, or the user, says what to run.
    #[default]
    Auto,
    /// Ours.
    Moby,
    /// Whoever the kernel finds.
    None,
    /// This program of the image.
    Program(String),
}

impl FromStr for Starter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "moby" => Ok(Self::Moby),
            "none" => Ok(Self::None),
            // It becomes a word of the command line.
            path if path.starts_with('/') && path.chars().all(|c| !c.is_whitespace() && !c.is_control() && c != '"') => {
                Ok(Self::Program(path.to_owned()))
            }
            other => {
                Err(Error::bad_input(format!("'{}' is no process 1, must be 'moby', 'none' or a path in the image", other.escape_debug()))
                    .hint("as in --init /sbin/init"))
            }
        }
    }
}

/// Words of a command: a list in JSON, as a Dockerfile has it, or one word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words(pub Vec<String>);

impl FromStr for Words {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let words = match text.starts_with('[') {
            true => serde_json::from_str(text).map_err(|error| {
                Error::bad_input(format!("'{}' is no list of words: {error}", text.escape_debug()))
                    .hint(r#"as in '["nginx", "-g", "daemon off;"]'"#)
            })?,
            false if text.is_empty() => Vec::new(),
            false => vec![text.to_owned()],
        };
        match words.iter().any(|word| word.contains('\0')) {
            true => Err(Error::bad_input("a word of a command has a zero byte")),
            false => Ok(Self(words)),
        }
    }
}

impl Named for Restart {
    const WHAT: &'static str = "restart policy";

    fn all() -> Vec<Self> {
        config::RESTART.map(|(_, policy)| policy).to_vec()
    }

    fn name(self) -> &'static str {
        config::name(self, &config::RESTART)
    }

    fn about(self) -> &'static str {
        match self {
            Self::No => "the machine ends with it",
            Self::OnFailure => "it is started again unless it ends with 0, after 1, 2, 4 ... 60 s",
            Self::Always => "it is started again, whatever it ends with",
        }
    }
}

impl Named for Pid1 {
    const WHAT: &'static str = "kind of process 1";

    fn all() -> Vec<Self> {
        config::PID1.map(|(_, kind)| kind).to_vec()
    }

    fn name(self) -> &'static str {
        config::name(self, &config::PID1)
    }

    fn about(self) -> &'static str {
        match self {
            Self::Auto => "as the program is: yes for systemd and other inits, namespace for /init (s6-overlay)",
            Self::No => "it is a child of process 1",
            Self::Namespace => "it is process 1 of a PID namespace",
            Self::Yes => "it gets the machine, without network and restart of ours",
        }
    }
}

impl Wishes {
    /// Whether ours is process 1 of an image that wants this to be run.
    pub(crate) fn is_ours(&self, image: Option<&Execution>) -> bool {
        match self.starter {
            Starter::Moby => true,
            Starter::Auto => self.entrypoint.is_some() || image.is_some_and(|image| !image.args().is_empty() || self.cmd.is_some()),
            Starter::None | Starter::Program(_) => false,
        }
    }

    /// What process 1 is told: what the image says, and what the user wishes instead.
    ///
    /// # Errors
    /// When nothing says what to run, or a value is none.
    fn config(&self, image: &Execution) -> Result<Config> {
        let words = |words: &[String]| words.iter().map(|word| word.clone().into_bytes()).collect::<Vec<_>>();
        let (entrypoint, cmd) = match &self.entrypoint {
            Some(Words(given)) => (words(given), Vec::new()),
            None => (words(&image.entrypoint), words(&image.cmd)),
        };
        let cmd = self.cmd.as_ref().map_or(cmd, |Words(given)| words(given));
        if entrypoint.is_empty() && cmd.is_empty() {
            let what = "nothing says what to run: there is neither Entrypoint nor Cmd";
            return Err(Error::bad_input(what).hint("say it with --entrypoint, or start the image's own /init with --init none"));
        }
        let timeout = image.stop_timeout.unwrap_or(10);
        let config = Config {
            entrypoint,
            cmd,
            env: self.environment(image),
            user: self.user.as_ref().unwrap_or(&image.user).clone().into_bytes(),
            cwd: match self.workdir.as_ref().unwrap_or(&image.working_dir).as_str() {
                "" => b"/".to_vec(),
                path if path.starts_with('/') => path.as_bytes().to_vec(),
                path => format!("/{path}").into_bytes(),
            },
            stop: match image.stop_signal.as_str() {
                "" => Config::default().stop,
                name => signal::number(name.as_bytes())
                    .ok_or_else(|| Error::bad_input(format!("the image's StopSignal '{}' is no signal", name.escape_debug())))?,
            },
            stop_timeout: u16::try_from(timeout.min(3600)).unwrap_or(u16::MAX),
            tty: self.tty,
            pid1: self.pid1.unwrap_or(Pid1::Auto),
            restart: self.restart.unwrap_or(Restart::No),
            hostname: self.hostname.clone().unwrap_or_default().into_bytes(),
            volumes: image.volumes.iter().filter(|path| path.starts_with('/')).map(|path| path.clone().into_bytes()).collect(),
            ..Config::default()
        };
        if self.hostname.is_some() && !is_hostname(&config.hostname) {
            let what = "--hostname: a name of a machine has letters, digits, '.' and '-', at most 64 of them";
            return Err(Error::bad_input(what));
        }
        // What process 1 would refuse is refused here.
        Config::parse(&config.write()).map_err(|error| Error::bad_input(error.to_string()).at("the image's configuration"))
    }

    /// The image's variables, and the user's in the place of those of the same name. What is no variable, Docker passes over as well.
    fn environment(&self, image: &Execution) -> Vec<Vec<u8>> {
        let mut all: Vec<&String> = Vec::new();
        for variable in image.env.iter().chain(&self.env) {
            let Some((name, _)) = variable.split_once('=').filter(|(name, _)| !name.is_empty()) else { continue };
            match all.iter_mut().find(|other| other.split_once('=').is_some_and(|(known, _)| known == name)) {
                Some(other) => *other = variable,
                None => all.push(variable),
            }
        }
        all.into_iter().map(|variable| variable.clone().into_bytes()).collect()
    }
}

/// A container image as it is to be started: what moby runs finds all of it, and one that starts by itself may be a tagged tree.
pub(crate) fn draft(Container { tree, execution }: &Container, wishes: &Wishes) -> Draft {
    if wishes.is_ours(Some(execution)) { Draft::of_root(tree.clone()) } else { image::tar::of_tree(tree) }
}

/// What a container image says of its process; nothing where it says nothing to run.
///
/// # Errors
/// When a value is none.
pub(crate) fn said(execution: &Execution) -> Result<Option<Config>> {
    if execution.args().is_empty() { Ok(None) } else { Wishes::default().config(execution).map(Some) }
}

/// The image in a draft, with process 1 of ours where the container image, or the user, says what to run.
///
/// # Errors
/// When it has no kernel, or the process could not run.
pub(crate) fn image(mut draft: Draft, execution: Option<&Execution>, wishes: &Wishes, given: &Overrides, env: &mut Env) -> Result<Image> {
    if !wishes.is_ours(execution) {
        if let Starter::Program(path) = &wishes.starter {
            // The first of a root that is unpacked, the second of one that is mounted.
            draft.append(&format!("rdinit={path} init={path}"))?;
        }
        return draft.with(given);
    }
    let config = wishes.config(execution.unwrap_or(&Execution::default()))?;
    let kernel = given.kernel.as_ref().map(|package| &package.kernel).or(draft.kernel());
    let Some(kernel) = kernel else { return draft.with(given) };
    let arch = Kernel::identify(kernel)?.arch;
    if given.cmdline.is_none() {
        draft.or_cmdline(|| Cmdline::of_machine(platforms::CONSOLES.on(arch)));
    }
    check(&config, draft.rootfs(), arch)?;
    warn(&config, env);
    let (release, modules) = modules(wishes, given, env)?;
    let (rootfs, argument) = init::with(draft.rootfs(), &config, &release, modules, arch)?;
    if let Some(argument) = argument {
        draft.append(argument)?;
    }
    draft.with_root(rootfs).with(given)
}

/// The modules that the machine has, of the kernel that is given.
fn modules(wishes: &Wishes, given: &Overrides, env: &mut Env) -> Result<(String, Selection)> {
    let package = given.kernel.as_ref().and_then(|package| package.release.as_ref().map(|release| (package, release)));
    let Some((package, release)) = package else {
        return match &wishes.modules {
            Some(_) => Err(Error::unsupported("--modules: there are no modules with this kernel")
                .hint("give the kernel as its distribution's package, or as a directory with lib/modules")),
            None => Ok((String::new(), Selection::default())),
        };
    };
    let all = Modules::of(&package.modules).at(|| "--kernel")?;
    let set = wishes.modules.clone().unwrap_or_default();
    Ok((release.clone(), all.select(&set, env).at(|| "--kernel")?))
}

/// Most bytes of a list of users or groups.
const NAMES_MAX: u64 = 16 * units::MIB;

/// Refuses a process that could not run: its program is not there, or its user.
fn check(config: &Config, root: &Tree, arch: Arch) -> Result<()> {
    let words = config.words(&[]);
    let program = words.first().map_or(&[][..], Vec::as_slice);
    let path = config.env.iter().find_map(|variable| variable.strip_prefix(b"PATH=")).unwrap_or(config::PATH);
    let inside = |directory: &[u8]| [directory, b"/", program].concat();
    let places: Vec<Vec<u8>> = match program {
        [b'/', ..] => vec![program.to_vec()],
        _ if program.contains(&b'/') => vec![inside(&config.cwd)],
        _ => path.split(|byte| *byte == b':').map(|directory| inside(if directory.is_empty() { &config.cwd } else { directory })).collect(),
    };
    let shown = ShowPath(program);
    let fix = "say what to run with --entrypoint, or where it is with --env PATH=";
    let Some(place) = places.iter().find(|place| bootable::find(root, place).is_some()) else {
        return Err(Error::bad_input(format!("the program {shown} is not in the image")).hint(fix));
    };
    if let Err(why) = bootable::runnable(root, place, Some(arch))? {
        return Err(Error::bad_input(format!("the program {shown} {why}")).hint(fix));
    }
    let text = |path: &[u8]| match bootable::find(root, path).map(|inode| &inode.content) {
        Some(Content::File(body)) => body.to_vec(NAMES_MAX),
        _ => Ok(Vec::new()),
    };
    let found = Identity::find(&config.user, &text(b"etc/passwd")?, &text(b"etc/group")?);
    found
        .map(drop)
        .map_err(|error| Error::bad_input(format!("user '{}': {error}", ShowPath(&config.user))).hint("name another with --user"))
}

/// Tells what runs, and is hardly what the user wants.
fn warn(config: &Config, env: &Env) {
    const SHELLS: [&[u8]; 5] = [b"sh", b"bash", b"ash", b"dash", b"zsh"];
    let words = config.words(&[]);
    let base = |word: &Vec<u8>| word.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
    if let ([only], false) = (words.as_slice(), config.tty)
        && SHELLS.contains(&base(only).as_slice())
    {
        let shown = ShowPath(only);
        env.progress.warn(&format!("the image runs {shown}, and a shell without a terminal ends at once: give it the console with --tty"));
    }
    if !config.volumes.is_empty() {
        let names: Vec<_> = config.volumes.iter().map(|path| ShowPath(path).to_string()).collect();
        let what = format!("the image keeps data in {}: here that is memory, and lost when the machine ends", names.join(", "));
        env.progress.warn(&what);
    }
}
