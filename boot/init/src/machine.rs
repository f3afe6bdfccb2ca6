//! A boot, step by step.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, process::CommandExt},
    path::Path,
    process::ExitCode,
    sync::mpsc::channel,
};

use initconfig::{
    Config,
    cmdline::Cmdline,
    config::{self, Pid1},
};
use nix::sys::reboot::set_cad_enabled;

use crate::{
    buttons::Buttons,
    console::{self, say},
    devices::Uevents,
    event,
    failure::{At, Failure, Result},
    files, life,
    modules::Modules,
    mounts,
    net::Network,
    root,
    shutdown::{self, Ending},
    status,
    supervisor::Supervisor,
};

/// The last member of the initrd: where it is missing, all before it may be.
const WHOLE: &str = "/.moby/whole";
const CONFIG: &str = "/.moby/config";

/// Runs the machine to its end.
pub(crate) fn run() -> ExitCode {
    let ending = boot().unwrap_or_else(|failure| {
        say(failure.to_string());
        status::ended(life::OURS);
        Ending::PowerOff
    });
    shutdown::end(ending)
}

fn boot() -> Result<Ending> {
    mounts::early()?;
    console::open();
    // Ctrl-Alt-Del is a signal to us, not the end of everything.
    let _ = set_cad_enabled(false);
    let cmdline = files::read("/proc/cmdline", 1 << 20).at("/proc/cmdline")?;
    let cmdline = Cmdline::new(&cmdline);
    let uevents = Uevents::open();
    let mut modules = Modules::open();
    if !Path::new(WHOLE).exists() {
        // For the port on which this is told, as far as it can be.
        modules.settle();
        return Err(Failure::new("the kernel did not unpack the whole initrd: the machine needs more memory"));
    }
    let max = u64::try_from(config::MAX).unwrap_or(u64::MAX);
    let config = Config::parse(&files::read(CONFIG, max).at(CONFIG)?).at(CONFIG)?;
    // It may hold secrets, and users of the image are not to read them.
    let _ = fs::remove_file(CONFIG);
    modules.settle();
    // Families of sockets, which are no devices.
    for family in ["net-pf-17", "net-pf-10"] {
        modules.device(family.as_bytes());
    }
    root::switch(&config, &mut modules)?;
    mounts::late();
    for volume in &config.volumes {
        let _ = fs::create_dir_all(OsStr::from_bytes(volume));
    }
    let words = config.words(&cmdline.arguments());
    let (send, events) = channel();
    let mut supervisor = Supervisor::new(config, words, events, Buttons::new(send.clone()));
    if supervisor.pid1 == Pid1::Yes {
        return hand_over(supervisor);
    }
    event::signals(send.clone());
    supervisor.buttons.look();
    uevents.watch(modules, send.clone());
    let network = Network::new(cmdline.value("ip"), send);
    Ok(supervisor.run(network))
}

/// Gives the image's process the machine; comes back only when that does not work.
fn hand_over(mut supervisor: Supervisor) -> Result<Ending> {
    supervisor.names.settle(&supervisor.config.hostname);
    let error = supervisor.life()?.command(life::PROCESS).exec();
    Err(error).at("process 1")
}
