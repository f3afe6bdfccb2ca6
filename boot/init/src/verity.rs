//! A root whose every block is verified: device-mapper is told by ioctl, which nothing safe does. The one place with `unsafe`.

use std::{fs::File, os::fd::AsRawFd};

use initconfig::mapper::Table;
use nix::{errno::Errno, libc};

use crate::{
    failure::{At, Failure, Result},
    files,
};

/// What device-mapper calls the device.
const NAME: &str = "root";
/// `_IOWR(0xfd, 0, struct dm_ioctl)`: a request's number is added.
const DM: u32 = 0xc138_fd00;

/// Makes the device of this table; its path.
pub(crate) fn open(table: &Table) -> Result<String> {
    let control = File::options().read(true).write(true).open("/dev/mapper/control").at("/dev/mapper/control")?;
    for (number, mut bytes) in table.requests(NAME) {
        ioctl(&control, DM | u32::from(number), &mut bytes).at("device-mapper")?;
    }
    let named = |disk: &String| files::word(format!("/sys/block/{disk}/dm/name")).as_deref() == Some(NAME);
    let disk = files::names("/sys/block").into_iter().find(named);
    disk.map(|disk| format!("/dev/{disk}")).ok_or_else(|| Failure::new("device-mapper made no device"))
}

#[allow(clippy::cast_possible_wrap, reason = "its number has another sign with every libc")]
#[expect(unsafe_code, reason = "device-mapper has no other door than ioctl")]
fn ioctl(control: &File, request: u32, bytes: &mut [u8]) -> nix::Result<()> {
    // SAFETY: the kernel reads and writes as many bytes as the request's own length field says, which is that of `bytes`
    // (`initconfig::mapper`), and the descriptor is open.
    let done = unsafe { libc::ioctl(control.as_raw_fd(), request as _, bytes.as_mut_ptr()) };
    Errno::result(done).map(drop)
}
