//! From the entry point to the kernel, or to a message.

mod console;
mod enrol;
mod entry;
mod failure;
mod file;
mod firmware;
mod initrd;
mod mapped;
mod measure;
mod start;
mod unified;
mod variables;
mod virtual_machine;

use core::fmt::Write as _;

use bootefi::Architecture;
use bootfs::choose::EntryFile;
use r_efi::efi;

use console::Console;
use failure::Failure;
use firmware::Firmware;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: Architecture = Architecture::X64;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: Architecture = Architecture::Aa64;

/// How long a message stays before the machine starts anew: nobody may be there to read it.
const SECONDS_TO_READ: u32 = 30;

#[unsafe(no_mangle)]
extern "efiapi" fn efi_main(image: efi::Handle, table: *mut efi::SystemTable) -> efi::Status {
    // SAFETY: both are what the firmware gave to the entry point, which it calls once.
    let firmware = unsafe { Firmware::new(image, table) };
    let mut console = Console::new(&firmware);
    let _ = writeln!(console, "moby loader (UEFI)");
    let (mut best, mut spare) = (EntryFile::new(), EntryFile::new());
    let failure = boot(&firmware, &mut console, &mut best, &mut spare);
    let _ = writeln!(console, "moby: cannot boot: {failure}");
    restart_after_a_while(&firmware, console)
}

/// Restarts the machine after 30 seconds, or at once at a key: a machine that nobody watches tries again.
fn restart_after_a_while(firmware: &Firmware, mut console: Console<'_>) -> ! {
    let _ = writeln!(console, "moby: restarting in {SECONDS_TO_READ} s, or at a key");
    firmware.wait_for_key(SECONDS_TO_READ);
    firmware.reset()
}

/// Boots; returns only when that was impossible. The entry is read into `best`.
fn boot<'r>(firmware: &Firmware, console: &mut Console<'_>, best: &'r mut EntryFile, spare: &'r mut EntryFile) -> Failure<'r> {
    enrol::enrol(firmware);
    let outcome = match unified::kernel(firmware) {
        Err(failure) => Err(failure),
        Ok(Some(kernel)) => unified::boot(firmware, console, kernel),
        Ok(None) => entry::boot(firmware, console, best, spare),
    };
    match outcome {
        Err(failure) => failure,
        Ok(never) => match never {},
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Without message and place: their texts would depend on where the loader was built.
    match Firmware::at_panic() {
        Some(firmware) => {
            let mut console = Console::new(&firmware);
            let _ = writeln!(console, "moby: loader bug (panic)");
            restart_after_a_while(&firmware, console)
        }
        None => loop {
            core::hint::spin_loop();
        },
    }
}
