//! The joined file is read back as a boot loader and as a firmware would read it.

use super::{Error, join};

/// A flat half: setup with its header, 0x300 bytes of protected-mode kernel.
fn flat() -> Vec<u8> {
    let mut flat = vec![0u8; 0x1300];
    flat[0..2].copy_from_slice(b"MZ");
    flat[0x1f1] = 7;
    flat[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    flat[0x202..0x206].copy_from_slice(b"HdrS");
    flat[0x1000] = 0xeb;
    flat[0x12ff] = 0x5a;
    flat
}

/// A PE with two sections: .text of 0x200 bytes of 0x11 at 0x1000, .data of 0x400 bytes of 0x22 at 0x2000.
fn efi() -> Vec<u8> {
    let mut efi = vec![0u8; 0xa00];
    let mut put = |at: usize, bytes: &[u8]| efi[at..at + bytes.len()].copy_from_slice(bytes);
    let pe = 0x78;
    put(0, b"MZ");
    put(0x3c, &[0x78, 0, 0, 0]);
    put(pe, b"PE\0\0\x64\x86\x02\0");
    put(pe + 20, &[0xf0, 0]);
    put(pe + 24, &[0x0b, 0x02]);
    put(pe + 24 + 32, &[0, 0x10, 0, 0, 0, 2, 0, 0]);
    put(pe + 24 + 56, &[0, 0x30, 0, 0, 0, 4, 0, 0]);
    put(pe + 24 + 112 + 48, &[0xac, 0x20, 0, 0, 0x1c, 0, 0, 0]);
    for (section, name, address, len, at) in [(0, b".text", 0x1000u32, 0x200u32, 0x400u32), (1, b".data", 0x2000, 0x400, 0x600)] {
        let header = pe + 24 + 240 + section * 40;
        put(header, name);
        for (field, value) in [(8, len), (12, address), (16, len), (20, at)] {
            put(header + field, &value.to_le_bytes());
        }
    }
    efi[0x400..0x600].fill(0x11);
    efi[0x600..0xa00].fill(0x22);
    efi
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    usize::try_from(u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())).unwrap()
}

#[test]
fn a_boot_loader_finds_setup_and_kernel() {
    let kernel = join(&flat(), &efi()).unwrap();
    let setup = (usize::from(kernel[0x1f1]) + 1) * 512;
    assert_eq!((kernel[setup], kernel[setup + 0x2ff]), (0xeb, 0x5a));
    assert_eq!(u32_at(&kernel, 0x1f4) * 16 + setup, kernel.len(), "syssize covers the file");
    assert_eq!(kernel[0x1080..0x1080 + 0x7b], kernel[0x1f1..0x26c], "the kernel knows its header");
}

#[test]
fn a_firmware_finds_every_section_at_its_address() {
    let kernel = join(&flat(), &efi()).unwrap();
    let pe = u32_at(&kernel, 0x3c);
    assert_eq!(&kernel[pe..pe + 8], b"PE\0\0\x64\x86\x03\0");
    let mut memory = vec![0u8; u32_at(&kernel, pe + 80)];
    let headers = u32_at(&kernel, pe + 84);
    memory[..headers].copy_from_slice(&kernel[..headers]);
    for section in 0..3 {
        let header = pe + 264 + section * 40;
        let (address, len, at) = (u32_at(&kernel, header + 12), u32_at(&kernel, header + 16), u32_at(&kernel, header + 20));
        assert!(address >= headers && at >= headers && at % 512 == 0);
        memory[address..address + len].copy_from_slice(&kernel[at..at + len]);
    }
    assert!(memory[0x1000..0x1200].iter().all(|&byte| byte == 0x11));
    assert!(memory[0x2000..0x2400].iter().all(|&byte| byte == 0x22));
    assert_eq!((memory[0x3000], memory[0x32ff]), (0xeb, 0x5a), ".bios follows");
    assert_eq!(u32_at(&kernel, pe + 24 + 112 + 48), 0, "no debug directory");
}

#[test]
fn halves_that_are_not_ours_are_refused_by_name() {
    let mut arm = efi();
    arm[0x78 + 4..0x78 + 6].copy_from_slice(&[0x64, 0xaa]);
    let error = join(&flat(), &arm).unwrap_err();
    assert_eq!(error.to_string(), "test kernel: EFI: machine is 0xaa64, 0x8664 (x86-64) required");

    let mut grown = flat();
    grown[0x400] = 1;
    assert!(matches!(join(&grown, &efi()), Err(Error::Field { field: "BIOS: room for the PE headers", .. })));
    assert!(matches!(join(&flat()[..0x1000], &efi()), Err(Error::Truncated { half: "BIOS", .. })));
    assert!(matches!(join(&flat(), &efi()[..0x900]), Err(Error::Truncated { half: "EFI", .. })));
    assert!(matches!(join(&flat(), b"MZ"), Err(Error::Truncated { half: "EFI", .. })));
}
