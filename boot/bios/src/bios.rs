//! BIOS interrupts, called from long mode by `bios_call.s`.

unsafe extern "sysv64" {
    fn bios_call(number: u8, registers: *mut Registers);
}

/// The registers that a BIOS call takes and leaves. The order is that of `bios_call.s`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Registers {
    pub edi: u32,
    pub esi: u32,
    pub ebp: u32,
    /// Ignored: the call has its own stack.
    pub esp: u32,
    pub ebx: u32,
    pub edx: u32,
    pub ecx: u32,
    pub eax: u32,
    pub es: u16,
    pub ds: u16,
    /// Only left, not taken.
    pub flags: u16,
}

const _: () = assert!(size_of::<Registers>() == 40, "REGISTERS_LEN of bios_call.s");

impl Registers {
    /// Calls interrupt `number` with these registers, and holds what it left.
    ///
    /// # Safety
    /// The interrupt writes to no memory but the BIOS's own and what the registers point to, which is the caller's to write.
    pub unsafe fn call(&mut self, number: u8) {
        // SAFETY: bios_call keeps the ABI; what the interrupt does is the caller's promise.
        unsafe { bios_call(number, self) };
    }

    /// Whether the carry flag is set, by which most calls report failure.
    pub const fn carry(&self) -> bool {
        self.flags & 1 != 0
    }

    /// Whether the zero flag is set.
    pub const fn zero(&self) -> bool {
        self.flags & 0x40 != 0
    }

    /// AH.
    pub const fn ah(&self) -> u8 {
        self.eax.to_le_bytes()[1]
    }

    /// AL.
    pub const fn al(&self) -> u8 {
        self.eax.to_le_bytes()[0]
    }
}

/// Segment and offset of something below 1 MiB; the whole of it must be reachable from there.
pub fn far<T>(target: *mut T) -> Option<(u16, u16)> {
    let address = target.expose_provenance();
    let segment = u16::try_from(address >> 4).ok()?;
    let offset = u16::try_from(address & 15).ok()?;
    Some((segment, offset))
}
