//! Why a kernel cannot be started, in the words that the user of a machine that does not boot will read.

use core::fmt;

const MIB: u64 = 1 << 20;

/// Why a kernel cannot be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// No setup header of the x86 boot protocol.
    NotKernel,
    /// The protocol version (major in the high byte) is older than 2.10.
    Protocol(u16),
    /// The header promises more bytes than the file has.
    Truncated {
        /// Bytes in the file.
        found: u64,
        /// Bytes that the header asks for.
        required: u64,
    },
    /// The command line is longer than the kernel would take.
    CommandLine {
        /// Bytes in the command line.
        found: usize,
        /// The most that the kernel takes.
        limit: u32,
    },
    /// No free memory for the kernel.
    KernelMemory {
        /// Bytes that the kernel needs to unpack itself.
        required: u64,
        /// The address from which on it needs them.
        at: u64,
    },
    /// No free memory for the initrd.
    InitrdMemory {
        /// Bytes in the initrd.
        required: u64,
        /// The end of the kernel, above which it must lie.
        above: u64,
        /// The address below which it must lie.
        below: u64,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::NotKernel => f.write_str("not an x86 Linux kernel (bzImage)"),
            Error::Protocol(found) => {
                let (major, minor) = (found >> 8, found & 0xff);
                write!(f, "boot protocol {major}.{minor:02}, not 2.10 or later (Linux 2.6.31)")
            }
            Error::Truncated { found, required } => {
                write!(f, "kernel cut short: {found} bytes, not {required}")
            }
            Error::CommandLine { found, limit } => {
                write!(f, "too long: {found} bytes, the kernel takes {limit}")
            }
            Error::KernelMemory { required, at } => {
                let (required, at) = (required.div_ceil(MIB), at / MIB);
                write!(f, "not enough memory: kernel needs {required} MiB at {at} MiB")
            }
            Error::InitrdMemory { required, above, below } => {
                let (required, above, below) = (required.div_ceil(MIB), above.div_ceil(MIB), below / MIB);
                write!(f, "not enough memory: initrd needs {required} MiB between {above} and {below} MiB")
            }
        }
    }
}

impl core::error::Error for Error {}
