//! The EFI half: an EFI application that takes its initrd as the Linux EFI stub does.
#![cfg_attr(target_os = "uefi", no_std, no_main)]
#![allow(missing_docs, reason = "a program; its lines are documented in the library")]

#[cfg(not(target_os = "uefi"))]
fn main() {}

#[cfg(target_os = "uefi")]
#[path = "../serial.rs"]
mod serial;

#[cfg(target_os = "uefi")]
mod firmware;

#[cfg(target_os = "uefi")]
mod kernel {
    use core::fmt::Write as _;

    use testkernel::{CMDLINE_SIZE, Crc32, EXIT_FAULT, EXIT_OK, EXIT_PANIC, Escaped};

    use super::firmware::{Firmware, InitrdError};
    use super::serial::{Serial, exit_qemu};

    #[unsafe(no_mangle)]
    extern "efiapi" fn efi_main(image: r_efi::efi::Handle, table: *mut r_efi::efi::SystemTable) -> r_efi::efi::Status {
        let mut serial = Serial::new();
        // SAFETY: both come from the firmware, which calls this entry point once.
        let firmware = unsafe { Firmware::new(image, table) };
        let ok = report(&firmware, &mut serial);
        let _ = writeln!(serial, "TESTKERNEL done");
        exit_qemu(if ok { EXIT_OK } else { EXIT_FAULT });
        firmware.shut_down()
    }

    /// Prints all there is to say; `true` when nothing handed over was at fault.
    fn report(firmware: &Firmware, serial: &mut Serial) -> bool {
        let _ = writeln!(serial, "\nTESTKERNEL firmware efi\nTESTKERNEL entry efi");
        let mut ok = true;
        let mut fault = |serial: &mut Serial, what: &str| {
            ok = false;
            let _ = writeln!(serial, "TESTKERNEL hand-over fault: {what}");
        };
        match firmware.loaded_image() {
            None => fault(serial, "no loaded image protocol"),
            Some(loaded) => {
                let _ = writeln!(serial, "TESTKERNEL kernel at {:#x}", loaded.image_base);
                print_cmdline(loaded.load_options, serial);
                // The Linux EFI stub would drop the whole line.
                if loaded.load_options.split(|&unit| unit == 0).next().is_some_and(|line| line.len() > CMDLINE_SIZE) {
                    fault(serial, "command line longer than cmdline_size");
                }
                if !loaded.has_device_handle {
                    fault(serial, "loaded image without a device handle");
                }
                if !loaded.has_file_path {
                    fault(serial, "loaded image without a file path");
                }
            }
        }
        match firmware.initrd() {
            Ok(None) => {
                let _ = writeln!(serial, "TESTKERNEL initrd none");
            }
            Ok(Some(initrd)) => {
                let crc = Crc32::new().of(initrd);
                let _ = writeln!(serial, "TESTKERNEL initrd {} bytes crc32 {crc:08x} at {:p}", initrd.len(), initrd.as_ptr());
            }
            Err(InitrdError { step, status }) => {
                let _ = writeln!(serial, "TESTKERNEL hand-over fault: initrd: {step}: {status:#x}");
                ok = false;
            }
        }
        let boot_services_left = firmware.exit_boot_services(|start, end| {
            let _ = writeln!(serial, "TESTKERNEL memory {start:#x}-{end:#x} usable");
        });
        if !boot_services_left {
            let _ = writeln!(serial, "TESTKERNEL hand-over fault: ExitBootServices failed");
            ok = false;
        }
        if ok {
            let _ = writeln!(serial, "TESTKERNEL hand-over ok");
        }
        ok
    }

    /// The load options up to their NUL, as UTF-8.
    fn print_cmdline(options: &[u16], serial: &mut Serial) {
        let line = options.split(|&unit| unit == 0).next().unwrap_or_default();
        let _ = write!(serial, "TESTKERNEL cmdline [");
        for character in char::decode_utf16(line.iter().copied()) {
            let mut utf8 = [0; 4];
            let utf8 = character.unwrap_or(char::REPLACEMENT_CHARACTER).encode_utf8(&mut utf8);
            let _ = write!(serial, "{}", Escaped(utf8.as_bytes()));
        }
        let _ = writeln!(serial, "]");
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        let _ = writeln!(Serial::new(), "TESTKERNEL panic");
        exit_qemu(EXIT_PANIC);
        loop {
            core::hint::spin_loop();
        }
    }
}
