//! A page by the book has no fault; each broken rule is named, and only it.

use super::{Arrival, Fault, HEADER_LEN, HEADER_START, ZERO_PAGE_LEN, ZeroPage};

const LOAD: u32 = 0x100_0000;
const INITRD: u32 = 0x7f0_0000;

/// The setup header in the file, as far as the checks look at it.
fn header() -> [u8; HEADER_LEN] {
    let mut file = [0u8; ZERO_PAGE_LEN];
    put(&mut file, 0x1fe, &[0x55, 0xaa]);
    put(&mut file, 0x202, b"HdrS\x0f\x02");
    put(&mut file, 0x211, &[1]);
    put(&mut file, 0x22c, &0x7fff_ffffu32.to_le_bytes());
    put(&mut file, 0x260, &0x200_0000u32.to_le_bytes());
    core::array::from_fn(|at| file[HEADER_START + at])
}

/// 128 MiB of RAM, kernel at 16 MiB, 64 KiB of initrd at 127 MiB, command line at 0x5f000.
fn page() -> [u8; ZERO_PAGE_LEN] {
    let mut page = [0u8; ZERO_PAGE_LEN];
    put(&mut page, HEADER_START, &header());
    put(&mut page, 0x07, &[80]);
    put(&mut page, 0x0e, &[25, 1, 16]);
    put(&mut page, 0x1e8, &[3]);
    for (entry, (start, len, kind)) in [(0, 0x9_fc00, 1), (0xf_0000, 0x1_0000, 2), (0x10_0000, 0x7f0_0000, 1)].into_iter().enumerate() {
        e820(&mut page, entry, start, len, kind);
    }
    put(&mut page, 0x210, &[0xff]);
    put(&mut page, 0x214, &LOAD.to_le_bytes());
    put(&mut page, 0x218, &INITRD.to_le_bytes());
    put(&mut page, 0x21c, &0x1_0000u32.to_le_bytes());
    put(&mut page, 0x228, &0x5_f000u32.to_le_bytes());
    page
}

fn put(page: &mut [u8; ZERO_PAGE_LEN], at: usize, bytes: &[u8]) {
    page[at..at + bytes.len()].copy_from_slice(bytes);
}

fn e820(page: &mut [u8; ZERO_PAGE_LEN], entry: usize, start: u64, len: u64, kind: u32) {
    let at = 0x2d0 + entry * 20;
    put(page, at, &start.to_le_bytes());
    put(page, at + 8, &len.to_le_bytes());
    put(page, at + 16, &kind.to_le_bytes());
}

fn arrival(header: &[u8; HEADER_LEN]) -> Arrival<'_> {
    Arrival {
        header,
        load_address: u64::from(LOAD),
        boot_params: 0x5_0000,
        registers: [0; 3],
        eflags: 2,
        segments: [0x10, 0x18, 0x18, 0x18],
    }
}

fn faults_of(page: &[u8; ZERO_PAGE_LEN]) -> Vec<Fault> {
    let header = header();
    let mut faults = Vec::new();
    ZeroPage::new(page).judge(&arrival(&header), Some(13), &mut |fault| faults.push(fault));
    faults
}

/// The faults of the good page with `bytes` at `at`.
fn with(at: usize, bytes: &[u8]) -> Vec<Fault> {
    let mut page = page();
    put(&mut page, at, bytes);
    faults_of(&page)
}

#[test]
fn a_page_by_the_book_has_no_fault() {
    assert_eq!(faults_of(&page()), []);
}

#[test]
fn a_loader_that_copies_a_whole_sector_is_found_out() {
    assert_eq!(with(0x1ef, &[0xff, 0xff]), [Fault::Sentinel(0xff), Fault::NotZero(0x1f0)]);
}

#[test]
fn the_kernels_own_fields_must_arrive_unchanged() {
    assert_eq!(with(0x202, b"HdrX"), [Fault::HeaderChanged(0x205)]);
    assert_eq!(with(0x206, &[0x00]), [Fault::HeaderChanged(0x206)]);
    assert_eq!(with(0x26c, &[1]), [Fault::NotZero(0x26c)]);
}

#[test]
fn loader_fields() {
    assert_eq!(with(0x210, &[0]), [Fault::TypeOfLoader]);
    assert_eq!(with(0x211, &[0]), [Fault::LoadFlags(0)]);
    assert_eq!(with(0x211, &[0x81]), []);
    assert_eq!(with(0x214, &0x10_0000u32.to_le_bytes()), [Fault::Code32Start(0x10_0000, u64::from(LOAD))]);
    assert_eq!(with(0x0f, &[0]), [Fault::VideoIsVga(0)]);
    assert_eq!(with(0x07, &[0]), [Fault::VideoText([0, 25, 16])]);
}

#[test]
fn the_memory_map_must_be_sorted_and_disjoint() {
    let mut overlapping = page();
    e820(&mut overlapping, 1, 0x9_0000, 0x7_0000, 2);
    assert_eq!(faults_of(&overlapping), [Fault::E820Range(1)]);
    let mut empty = page();
    e820(&mut empty, 1, 0xf_0000, 0, 2);
    assert_eq!(faults_of(&empty), [Fault::E820Range(1)]);
    let mut wrapping = page();
    e820(&mut wrapping, 2, 0x10_0000, u64::MAX, 1);
    assert!(faults_of(&wrapping).contains(&Fault::E820Range(2)));
    assert!(with(0x1e8, &[0]).contains(&Fault::E820Entries(0)));
    assert!(with(0x1e8, &[129]).contains(&Fault::E820Entries(129)));
}

#[test]
fn the_initrd_must_lie_in_ram_and_clear_of_everything() {
    let at = |image: u32| with(0x218, &image.to_le_bytes());
    assert_eq!(at(0x100_0000 + 0x1ff_f000), [Fault::RamdiskOverlaps("the kernel (init_size)")]);
    assert_eq!(at(0x300_0000), [], "the first byte behind the kernel is free");
    assert_eq!(at(0x7ff_1000), [Fault::RamdiskOutsideRam(0x7ff_1000, 0x800_1000)]);
    assert_eq!(at(0x4_8000), [Fault::RamdiskOverlaps("the zero page")]);
    assert_eq!(at(0), [Fault::RamdiskHalf(0, 0x1_0000)]);
    assert_eq!(with(0x218, &[0; 8]), [], "a kernel without initrd is no fault");
}

#[test]
fn the_initrd_ends_below_initrd_addr_max() {
    let mut page = page();
    e820(&mut page, 2, 0x10_0000, 0xb000_0000, 1);
    put(&mut page, 0x218, &0x7fff_0000u32.to_le_bytes());
    assert_eq!(faults_of(&page), []);
    put(&mut page, 0x218, &0x7fff_1000u32.to_le_bytes());
    assert_eq!(faults_of(&page), [Fault::RamdiskTooHigh(0x8000_1000, 0x7fff_ffff)]);
}

#[test]
fn ram_may_be_several_ranges_that_touch() {
    let mut page = page();
    put(&mut page, 0x1e8, &[4]);
    e820(&mut page, 2, 0x10_0000, 0x200_0000, 1);
    e820(&mut page, 3, 0x210_0000, 0x600_0000, 1);
    assert_eq!(faults_of(&page), []);
    e820(&mut page, 3, 0x211_0000, 0x600_0000, 1);
    assert_eq!(faults_of(&page), [Fault::KernelOutsideRam(0x100_0000, 0x300_0000)]);
}

#[test]
fn the_command_line_must_exist_and_end() {
    assert_eq!(with(0x228, &[0; 4]), [Fault::CmdLinePtr(0)]);
    assert_eq!(with(0x228, &0x100_1000u32.to_le_bytes()), [Fault::CmdLinePtr(0x100_1000)]);
    let (header, page) = (header(), page());
    let mut faults = Vec::new();
    ZeroPage::new(&page).judge(&arrival(&header), None, &mut |fault| faults.push(fault));
    assert_eq!(faults, [Fault::CmdLineEndless]);
}

#[test]
fn the_processor_must_be_in_the_state_of_the_32_bit_protocol() {
    let (header, page) = (header(), page());
    let wrong = Arrival { registers: [1, 0, 0], eflags: 0x202, segments: [8, 16, 16, 16], ..arrival(&header) };
    let mut faults = Vec::new();
    ZeroPage::new(&page).judge(&wrong, Some(0), &mut |fault| faults.push(fault));
    assert_eq!(faults, [Fault::Registers([1, 0, 0]), Fault::InterruptsEnabled, Fault::Segments([8, 16, 16, 16])]);
}
