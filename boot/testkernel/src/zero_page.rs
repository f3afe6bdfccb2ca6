//! The zero page (`struct boot_params`) judged by Documentation/arch/x86/zero-page.rst and boot.rst, protocol 2.15.
//!
//! Every rule is one [`Fault`], in the order in which it is judged.

use core::fmt;

/// Length of `struct boot_params`.
pub const ZERO_PAGE_LEN: usize = 4096;
/// The setup header of protocol 2.15: bytes 0x1f1 to 0x26c of the kernel file and of the zero page.
pub const HEADER_LEN: usize = HEADER_END - HEADER_START;

const HEADER_START: usize = 0x1f1;
const HEADER_END: usize = 0x26c;
const E820_TABLE: usize = 0x2d0;
const E820_MAX: usize = 128;
const E820_ENTRY: usize = 20;

/// The fields of the setup header that a loader fills in or may change: offset and length. All others are the kernel's.
const WRITTEN_BY_LOADER: [(usize, usize); 13] = [
    (0x1fa, 2),  // vid_mode
    (0x1fc, 2),  // root_dev
    (0x210, 1),  // type_of_loader
    (0x211, 1),  // loadflags, judged by itself
    (0x212, 2),  // setup_move_size
    (0x214, 4),  // code32_start
    (0x218, 8),  // ramdisk_image, ramdisk_size
    (0x224, 2),  // heap_end_ptr
    (0x226, 2),  // ext_loader_ver, ext_loader_type
    (0x228, 4),  // cmd_line_ptr
    (0x230, 4),  // kernel_alignment
    (0x23c, 12), // hardware_subarch, hardware_subarch_data
    (0x250, 8),  // setup_data
];

/// What no loader has business in: padding that must be zero, and the fields of other firmware.
const MUST_BE_ZERO: [(usize, usize); 10] = [
    (0x054, 4),   // _pad2
    (0x078, 8),   // _pad3
    (0x0c0, 12),  // ext_ramdisk_image, ext_ramdisk_size, ext_cmd_line_ptr: nothing lies above 4 GiB
    (0x0cc, 112), // _pad4
    (0x1c0, 32),  // efi_info
    (0x1ed, 2),   // _pad5
    (0x1f0, 1),   // _pad6
    (HEADER_END, 0x290 - HEADER_END),
    (0xcd0, 48),  // _pad8
    (0xeec, 276), // _pad9
];

/// What is not in the zero page: how and where the kernel was entered.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// The setup header as it is in the kernel file.
    pub header: &'a [u8; HEADER_LEN],
    /// Where the protected-mode kernel was loaded.
    pub load_address: u64,
    /// Where the zero page is.
    pub boot_params: u64,
    /// EBX, EBP and EDI at the 32-bit entry.
    pub registers: [u32; 3],
    /// EFLAGS at the 32-bit entry.
    pub eflags: u32,
    /// CS, DS, ES and SS at the 32-bit entry.
    pub segments: [u16; 4],
}

/// A rule of the boot protocol that the loader broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// EBX, EBP or EDI is not zero.
    Registers([u32; 3]),
    /// Interrupts are enabled.
    InterruptsEnabled,
    /// CS is not 0x10, or DS, ES, SS are not 0x18.
    Segments([u16; 4]),
    /// `sentinel` is not zero: more than the setup header was copied.
    Sentinel(u8),
    /// Bytes that must be zero are not.
    NotZero(usize),
    /// A byte of the setup header that belongs to the kernel was changed.
    HeaderChanged(usize),
    /// `type_of_loader` is zero.
    TypeOfLoader,
    /// `loadflags` lacks `LOADED_HIGH`, or has more than the 32-bit protocol allows.
    LoadFlags(u8),
    /// `code32_start` is not where the kernel was loaded.
    Code32Start(u32, u64),
    /// `e820_entries` is zero or above 128.
    E820Entries(usize),
    /// An e820 range is empty, wraps, overlaps the one before it or stands out of order.
    E820Range(usize),
    /// `[load address, + init_size)` is not usable RAM.
    KernelOutsideRam(u64, u64),
    /// The zero page lies outside usable RAM or inside the kernel.
    BootParams(u64),
    /// `cmd_line_ptr` is zero, or the command line lies outside usable RAM or inside the kernel.
    CmdLinePtr(u32),
    /// The command line has no NUL within `cmdline_size` + 1 bytes.
    CmdLineEndless,
    /// Only one of `ramdisk_image` and `ramdisk_size` is zero.
    RamdiskHalf(u32, u32),
    /// The initrd ends above `initrd_addr_max`.
    RamdiskTooHigh(u64, u64),
    /// The initrd is not in usable RAM.
    RamdiskOutsideRam(u64, u64),
    /// The initrd overlaps `[load address, + init_size)`, the zero page or the command line.
    RamdiskOverlaps(&'static str),
    /// `orig_video_isVGA` is neither 1 (text) nor 0x23 (VESA frame buffer).
    VideoIsVga(u8),
    /// A text mode without columns, lines or points.
    VideoText([u16; 3]),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registers([ebx, ebp, edi]) => write!(f, "ebx {ebx:#x}, ebp {ebp:#x}, edi {edi:#x} must be 0"),
            Self::InterruptsEnabled => f.write_str("interrupts are enabled"),
            Self::Segments([cs, ds, es, ss]) => {
                write!(f, "cs {cs:#x}, ds {ds:#x}, es {es:#x}, ss {ss:#x} must be 0x10, 0x18, 0x18, 0x18")
            }
            Self::Sentinel(found) => write!(f, "sentinel is {found:#x}, must be 0"),
            Self::NotZero(at) => write!(f, "byte {at:#x} must be 0"),
            Self::HeaderChanged(at) => write!(f, "setup header: byte {at:#x} is not the kernel's"),
            Self::TypeOfLoader => f.write_str("type_of_loader is 0"),
            Self::LoadFlags(found) => write!(f, "loadflags {found:#x}, LOADED_HIGH (0x1) required"),
            Self::Code32Start(found, load) => write!(f, "code32_start {found:#x}, but loaded at {load:#x}"),
            Self::E820Entries(found) => write!(f, "e820_entries {found}, must be 1 to 128"),
            Self::E820Range(entry) => write!(f, "e820 entry {entry} is empty, wraps, overlaps or is out of order"),
            Self::KernelOutsideRam(start, end) => write!(f, "kernel {start:#x}-{end:#x} (init_size) is not usable RAM"),
            Self::BootParams(at) => write!(f, "boot_params at {at:#x}: outside usable RAM or inside the kernel"),
            Self::CmdLinePtr(at) => write!(f, "cmd_line_ptr {at:#x}: outside usable RAM or inside the kernel"),
            Self::CmdLineEndless => f.write_str("command line: no NUL within cmdline_size + 1 bytes"),
            Self::RamdiskHalf(image, size) => write!(f, "ramdisk_image {image:#x} with ramdisk_size {size:#x}"),
            Self::RamdiskTooHigh(end, max) => write!(f, "initrd ends at {end:#x}, above initrd_addr_max {max:#x}"),
            Self::RamdiskOutsideRam(start, end) => write!(f, "initrd {start:#x}-{end:#x} is not usable RAM"),
            Self::RamdiskOverlaps(what) => write!(f, "initrd overlaps {what}"),
            Self::VideoIsVga(found) => write!(f, "orig_video_isVGA {found:#x}, must be 1 or 0x23"),
            Self::VideoText([cols, lines, points]) => write!(f, "text mode of {cols} columns, {lines} lines, {points} points"),
        }
    }
}

/// `[start, end)` of physical memory.
#[derive(Debug, Clone, Copy)]
struct Range {
    start: u64,
    end: u64,
}

impl Range {
    fn new(start: u64, len: u64) -> Self {
        Self { start, end: start.saturating_add(len) }
    }

    fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }
}

/// A zero page.
#[derive(Clone, Copy)]
pub struct ZeroPage<'a>(&'a [u8; ZERO_PAGE_LEN]);

impl<'a> ZeroPage<'a> {
    /// The zero page in `bytes`, as yet unjudged.
    #[must_use]
    pub fn new(bytes: &'a [u8; ZERO_PAGE_LEN]) -> Self {
        Self(bytes)
    }

    /// Where the initrd is and its length in bytes; `None` when there is none.
    #[must_use]
    pub fn initrd(self) -> Option<(u64, u64)> {
        let (image, size) = (self.u32(0x218), self.u32(0x21c));
        (image != 0 && size != 0).then(|| (u64::from(image), u64::from(size)))
    }

    /// Where the command line is.
    #[must_use]
    pub fn cmd_line_ptr(self) -> u64 {
        u64::from(self.u32(0x228))
    }

    /// The e820 map: start, length, type.
    pub fn e820(self) -> impl Iterator<Item = (u64, u64, u32)> {
        let count = usize::from(self.0[0x1e8]).min(E820_MAX);
        (0..count).map(move |entry| {
            let at = E820_TABLE + entry * E820_ENTRY;
            (self.u64(at), self.u64(at + 8), self.u32(at + 16))
        })
    }

    /// Whether all of `len` bytes at `start` are usable RAM, of one range or of several that touch.
    #[must_use]
    pub fn is_ram(self, start: u64, len: u64) -> bool {
        let Some(end) = start.checked_add(len) else { return false };
        let mut reached = start;
        // A map out of order is a fault of its own; one pass an entry is enough for any order.
        for _ in 0..=E820_MAX {
            if reached >= end {
                return true;
            }
            let next = self.e820().find(|&(base, length, kind)| kind == 1 && base <= reached && reached - base < length);
            match next {
                Some((base, length, _)) => reached = base.saturating_add(length),
                None => return false,
            }
        }
        false
    }

    /// Judges the page; `report` is called once a fault. `cmdline_len` is the length of the command line up to its NUL, or
    /// `None` when no NUL was found.
    pub fn judge(self, arrival: &Arrival<'_>, cmdline_len: Option<usize>, report: &mut dyn FnMut(Fault)) {
        judge_entry(arrival, report);
        self.judge_header(arrival, report);
        self.judge_e820(report);
        self.judge_places(arrival, cmdline_len, report);
        self.judge_screen_info(report);
    }

    fn judge_header(self, arrival: &Arrival<'_>, report: &mut dyn FnMut(Fault)) {
        let sentinel = self.0[0x1ef];
        if sentinel != 0 {
            report(Fault::Sentinel(sentinel));
        }
        for (at, len) in MUST_BE_ZERO {
            // The sentinel has a fault of its own.
            if let Some(found) = (at..at + len).find(|&byte| self.0[byte] != 0 && byte != 0x1ef) {
                report(Fault::NotZero(found));
            }
        }
        let kernels_own = |at: &usize| !WRITTEN_BY_LOADER.iter().any(|&(start, len)| (start..start + len).contains(at));
        let changed = (HEADER_START..HEADER_END).filter(kernels_own).find(|&at| self.0[at] != arrival.header[at - HEADER_START]);
        if let Some(at) = changed {
            report(Fault::HeaderChanged(at));
        }
        if self.0[0x210] == 0 {
            report(Fault::TypeOfLoader);
        }
        // QUIET (0x20) and CAN_USE_HEAP (0x80) are the loader's to set; KASLR and KEEP_SEGMENTS are not.
        let loadflags = self.0[0x211];
        if loadflags & !0xa0 != 0x01 {
            report(Fault::LoadFlags(loadflags));
        }
        let code32_start = self.u32(0x214);
        if u64::from(code32_start) != arrival.load_address {
            report(Fault::Code32Start(code32_start, arrival.load_address));
        }
    }

    fn judge_e820(self, report: &mut dyn FnMut(Fault)) {
        let entries = usize::from(self.0[0x1e8]);
        if entries == 0 || entries > E820_MAX {
            report(Fault::E820Entries(entries));
        }
        let mut reached = 0;
        for (entry, (start, length, _)) in self.e820().enumerate() {
            match start.checked_add(length) {
                Some(end) if length > 0 && start >= reached => reached = end,
                _ => report(Fault::E820Range(entry)),
            }
        }
    }

    /// Kernel, zero page, command line and initrd: all in RAM, none over another.
    fn judge_places(self, arrival: &Arrival<'_>, cmdline_len: Option<usize>, report: &mut dyn FnMut(Fault)) {
        let kernel = Range::new(arrival.load_address, u64::from(self.u32(0x260)));
        if !self.is_ram(kernel.start, kernel.end - kernel.start) {
            report(Fault::KernelOutsideRam(kernel.start, kernel.end));
        }
        let page_len = 4096;
        let page = Range::new(arrival.boot_params, page_len);
        if !self.is_ram(page.start, page_len) || page.overlaps(kernel) {
            report(Fault::BootParams(page.start));
        }
        let cmdline_len = match cmdline_len {
            Some(len) => u64::try_from(len).unwrap_or(u64::MAX).saturating_add(1),
            None => {
                report(Fault::CmdLineEndless);
                1
            }
        };
        let cmdline = Range::new(self.cmd_line_ptr(), cmdline_len);
        if cmdline.start == 0 || !self.is_ram(cmdline.start, cmdline_len) || cmdline.overlaps(kernel) {
            report(Fault::CmdLinePtr(self.u32(0x228)));
        }
        self.judge_initrd([("the kernel (init_size)", kernel), ("the zero page", page), ("the command line", cmdline)], report);
    }

    fn judge_initrd(self, others: [(&'static str, Range); 3], report: &mut dyn FnMut(Fault)) {
        let Some((start, len)) = self.initrd() else {
            let (image, size) = (self.u32(0x218), self.u32(0x21c));
            if image != 0 || size != 0 {
                report(Fault::RamdiskHalf(image, size));
            }
            return;
        };
        let initrd = Range::new(start, len);
        let max = u64::from(self.u32(0x22c));
        if initrd.end - 1 > max {
            report(Fault::RamdiskTooHigh(initrd.end, max));
        }
        if !self.is_ram(start, len) {
            report(Fault::RamdiskOutsideRam(initrd.start, initrd.end));
        }
        for (what, other) in others {
            if initrd.overlaps(other) {
                report(Fault::RamdiskOverlaps(what));
            }
        }
    }

    fn judge_screen_info(self, report: &mut dyn FnMut(Fault)) {
        let text = [u16::from(self.0[0x07]), u16::from(self.0[0x0e]), self.u16(0x10)];
        match self.0[0x0f] {
            0x01 if text.contains(&0) => report(Fault::VideoText(text)),
            0x01 | 0x23 => {}
            other => report(Fault::VideoIsVga(other)),
        }
    }

    fn bytes<const N: usize>(self, at: usize) -> [u8; N] {
        core::array::from_fn(|byte| self.0[at + byte])
    }

    fn u16(self, at: usize) -> u16 {
        u16::from_le_bytes(self.bytes(at))
    }

    fn u32(self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes(at))
    }

    fn u64(self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes(at))
    }
}

/// The state of the processor at the 32-bit entry.
fn judge_entry(arrival: &Arrival<'_>, report: &mut dyn FnMut(Fault)) {
    if arrival.registers != [0; 3] {
        report(Fault::Registers(arrival.registers));
    }
    let interrupt_flag = 1 << 9;
    if arrival.eflags & interrupt_flag != 0 {
        report(Fault::InterruptsEnabled);
    }
    if arrival.segments != [0x10, 0x18, 0x18, 0x18] {
        report(Fault::Segments(arrival.segments));
    }
}

#[cfg(test)]
mod tests;
