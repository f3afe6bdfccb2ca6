//! Ends that are not a kernel: exceptions, panics, and the restart after any of them.

use core::arch::asm;
use core::panic::PanicInfo;
use core::ptr;

use crate::bios::Registers;
use crate::{console, ports};

/// How long an error stays on the screen, in ticks of the BIOS clock (18.2 Hz).
const WAIT_TICKS: u32 = 30 * 182 / 10;
/// Ticks in a day, after which the clock starts again from 0.
const DAY_TICKS: u32 = 0x0018_00b0;

/// What the CPU and `exception_entry` of `long_mode.s` leave on the stack.
#[repr(C)]
#[derive(Debug)]
struct Frame {
    vector: u64,
    /// 0 for the vectors that have none.
    error_code: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

/// Every CPU exception ends here: called by `long_mode.s` with the frame, on whatever stack was in use.
#[unsafe(no_mangle)]
extern "sysv64" fn exception(frame: &Frame) -> ! {
    let cr2: u64;
    // SAFETY: CR2 may always be read in ring 0.
    unsafe { asm!("mov {}, cr2", out(reg) cr2, options(nomem, nostack, preserves_flags)) };
    console::print(format_args!(
        "\nmoby: CPU exception {} at {:#x}, error code {:#x}, CR2 {cr2:#x}, RSP {:#x}\n",
        frame.vector, frame.rip, frame.error_code, frame.rsp
    ));
    restart_after_a_while()
}

/// A bug of ours. Without message and place: their texts would depend on where the loader was built.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    console::print(format_args!("\nmoby: loader bug (panic)\n"));
    restart_after_a_while()
}

/// Restarts the machine after 30 seconds, or at once at a key on the keyboard or the serial console: a machine that nobody
/// watches tries again, and may find its disk the next time.
pub fn restart_after_a_while() -> ! {
    console::print(format_args!("moby: restarting in 30 s, or at a key\n"));
    while key() {}
    while console::serial_input() {}
    let start = ticks();
    loop {
        let passed = match ticks().checked_sub(start) {
            Some(passed) => passed,
            None => ticks().saturating_add(DAY_TICKS).saturating_sub(start),
        };
        if passed >= WAIT_TICKS || key() || console::serial_input() {
            restart();
        }
    }
}

/// INT 1Ah, AH=00h: ticks since midnight.
fn ticks() -> u32 {
    let mut registers = Registers::default();
    // SAFETY: INT 1Ah, AH=00h only tells.
    unsafe { registers.call(0x1a) };
    (registers.ecx << 16) | (registers.edx & 0xffff)
}

/// INT 16h: takes a key if one was pressed.
fn key() -> bool {
    let mut registers = Registers { eax: 0x0100, ..Registers::default() };
    // SAFETY: INT 16h, AH=01h (is there a key) only tells.
    unsafe { registers.call(0x16) };
    let pressed = !registers.zero();
    if pressed {
        let mut registers = Registers::default();
        // SAFETY: INT 16h, AH=00h takes the key that is there from the BIOS's own buffer.
        unsafe { registers.call(0x16) };
    }
    pressed
}

/// Resets the machine by the first means that works.
fn restart() -> ! {
    // A cold start: the BIOS looks for this word at 0040:0072 and would skip its tests.
    let warm = ptr::with_exposed_provenance_mut::<u16>(0x472);
    // SAFETY: RAM in the BIOS data area, which only the BIOS uses and not now.
    unsafe { warm.write_volatile(0) };
    for value in [0x02, 0x06] {
        // SAFETY: the reset control register of PCI chip sets; a hard reset is what we want.
        unsafe { ports::write(0xcf9, value) };
    }
    for _ in 0..0x10_0000 {
        // SAFETY: the keyboard controller's command port: pulse the reset line.
        unsafe { ports::write(0x64, 0xfe) };
    }
    let nothing = [0u8; 10];
    // SAFETY: with an empty IDT the next exception is a triple fault, which resets the CPU.
    unsafe { asm!("lidt [{}]", "ud2", in(reg) &raw const nothing, options(noreturn)) }
}
