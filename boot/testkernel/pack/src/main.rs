//! `testkernel-pack BIOS-HALF EFI-HALF OUTPUT`

use std::error::Error;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let [bios, efi, output] = arguments.as_slice() else {
        return Err("usage: testkernel-pack BIOS-HALF EFI-HALF OUTPUT".into());
    };
    fs::write(output, testkernel_pack::join(&fs::read(bios)?, &fs::read(efi)?)?)?;
    Ok(())
}
