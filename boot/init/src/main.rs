//! Process 1 of a container image that boots: mounts what a process expects, loads the modules of the machine's devices, asks for an
//! address, runs the image's process as Docker would, and ends the machine with it.
//!
//! ```text
//!  mounts ── modules ── root ── mounts ── network ─┐
//!            │ devices (uevents) ──────────────────┤ events
//!            buttons, signals ─────────────────────┴──► supervisor ── life: setsid, limits, groups, user, exec
//!                                                        └─ status, shutdown
//! ```
//! The program starts itself again to become the image's process (`life`): what has to happen between fork and exec then happens in an
//! ordinary program of one thread. Nothing here listens, nothing is a shell, and standard input is `/dev/null` but with `tty yes`.

mod buttons;
mod console;
mod devices;
mod dhcp;
mod event;
mod failure;
mod files;
mod life;
mod machine;
mod modules;
mod mounts;
mod names;
mod net;
mod root;
mod shutdown;
mod status;
mod supervisor;
mod verity;

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_default();
    match name.to_str() {
        Some(life::PROCESS) => life::become_process(arguments, false),
        Some(life::FIRST) => life::become_process(arguments, true),
        Some(life::NAMESPACE) => life::keep_namespace(arguments),
        _ if std::process::id() == 1 => machine::run(),
        _ => {
            console::say("this program is process 1 of a machine, and nothing else");
            ExitCode::from(life::OURS)
        }
    }
}
