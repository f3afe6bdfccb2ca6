//! Stage 1 is assembly only: one sector, see `stage1.s`.

#![no_std]
#![no_main]

use core::arch::global_asm;

global_asm!(include_str!("stage1.s"), include_str!("fail.s"), include_str!("stage1_end.s"), options(att_syntax));

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
