//! What an entry boots: files of the boot partition, or sections of one file that is a unified kernel image.

use core::fmt;
use core::ops::Range;

use bootfs::fat::File;
use bootfs::uki::{self, Uki};
use bootfs::{Entry, Volume};
use bootlinux::SetupHeader;

use crate::console;
use crate::disk::Drive;
use crate::failure::{About as _, Failure, INITRDS_MAX, Reason, Result};
use crate::memory;

/// Initrds are joined at multiples of this, with zeros between them (the kernel's cpio reader asks for it).
const INITRD_ALIGN: u32 = 4;

/// A file, or a section of one.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    /// Path of the file.
    pub path: &'a str,
    /// Name of the section; empty for a whole file.
    section: &'static str,
    file: File,
    /// Where it is in the file.
    at: u32,
    /// Bytes.
    pub len: u32,
}

impl fmt::Display for Piece<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let space = if self.section.is_empty() { "" } else { " " };
        write!(f, "{}{space}{} {} KiB", self.path, self.section, self.len.div_ceil(1024))
    }
}

impl<'a> Piece<'a> {
    fn file(volume: &mut Volume<Drive>, path: &'a str) -> Result<'a, Self> {
        let file = volume.file(path).about(path)?;
        Ok(Self { path, section: "", file, at: 0, len: file.size() })
    }

    fn section(self, section: &'static str, range: &Range<u32>) -> Self {
        Self { section, at: range.start, len: range.end.saturating_sub(range.start), ..self }
    }

    /// Fills `into` with the bytes from `offset` on.
    pub fn read(mut self, volume: &mut Volume<Drive>, offset: u32, into: &mut [u8]) -> Result<'a, ()> {
        volume.read(&mut self.file, self.at.saturating_add(offset), into).about(self.path)
    }
}

/// Everything that an entry boots.
pub struct Parts<'a> {
    pub kernel: Piece<'a>,
    pub initrds: Initrds<'a>,
    options: Options<'a>,
}

/// Where the command line comes from.
enum Options<'a> {
    Lines(Entry<'a>),
    Section(Piece<'a>),
}

impl<'a> Parts<'a> {
    /// Opens all of them: they must be there before anything is loaded.
    pub fn open(volume: &mut Volume<Drive>, entry: Entry<'a>) -> Result<'a, Self> {
        let mut initrds = Initrds::none();
        if let (None, Some(path)) = (entry.linux(), entry.uki()) {
            let whole = Piece::file(volume, path)?;
            let mut head = [0; uki::HEAD_LEN];
            let head = head.get_mut(..uki::HEAD_LEN.min(memory::length(whole.len))).unwrap_or_default();
            whole.read(volume, 0, head)?;
            let found = Uki::parse(head, whole.len).about(path)?;
            for (section, range) in uki::INITRDS.into_iter().zip(&found.initrds).filter(|(_, range)| !range.is_empty()) {
                initrds.push(whole.section(section, range))?;
            }
            let options = Options::Section(whole.section(uki::CMDLINE, &found.cmdline));
            return Ok(Self { kernel: whole.section(uki::LINUX, &found.linux), initrds, options });
        }
        let kernel = Piece::file(volume, entry.linux().unwrap_or_default())?;
        for path in entry.initrds() {
            initrds.push(Piece::file(volume, path)?)?;
        }
        Ok(Self { kernel, initrds, options: Options::Lines(entry) })
    }

    /// Writes the command line and a zero behind it to `into`, if the kernel of `header` takes it.
    pub fn write_options(&self, volume: &mut Volume<Drive>, header: &SetupHeader<'_>, into: &mut [u8]) -> Result<'a, ()> {
        into.fill(0);
        let (_, room) = into.split_last_mut().unwrap_or((&mut 0, &mut []));
        match &self.options {
            Options::Lines(entry) => {
                header.check_command_line(entry.options_len()).about("options")?;
                entry.write_options(room).ok_or(Failure { subject: "options", reason: Reason::TooLarge })?;
            }
            Options::Section(piece) => {
                let room = room.get_mut(..memory::length(piece.len)).ok_or(Failure { subject: "options", reason: Reason::TooLarge })?;
                piece.read(volume, 0, room)?;
                let len = uki::command_line(room).about(piece.path)?.len();
                header.check_command_line(len).about("options")?;
                room.get_mut(len..).unwrap_or_default().fill(0);
            }
        }
        Ok(())
    }
}

/// The initrds of an entry, one behind the other.
pub struct Initrds<'a> {
    pieces: [Option<Piece<'a>>; INITRDS_MAX],
    /// Bytes of all of them together.
    pub len: u32,
}

impl<'a> Initrds<'a> {
    const fn none() -> Self {
        Self { pieces: [None; INITRDS_MAX], len: 0 }
    }

    fn push(&mut self, piece: Piece<'a>) -> Result<'a, ()> {
        let failure = |reason| Failure { subject: piece.path, reason };
        let slot = self.pieces.iter_mut().find(|slot| slot.is_none()).ok_or_else(|| failure(Reason::TooManyInitrds))?;
        let start = self.len.checked_next_multiple_of(INITRD_ALIGN);
        self.len = start.and_then(|start| start.checked_add(piece.len)).ok_or_else(|| failure(Reason::TooLarge))?;
        *slot = Some(piece);
        Ok(())
    }

    /// Reads all of them to `at`.
    pub fn load(&self, volume: &mut Volume<Drive>, at: u32) -> Result<'a, ()> {
        // SAFETY: `plan` took the place from the usable memory above the kernel's; this is its only reference.
        let mut rest = unsafe { memory::claim(memory::length(at), memory::length(self.len)) };
        let mut offset = 0u32;
        for piece in self.pieces.iter().flatten() {
            let gap = offset.next_multiple_of(INITRD_ALIGN).saturating_sub(offset);
            let start = at.saturating_add(offset).saturating_add(gap);
            console::print(format_args!("initrd {piece} at {start:#x}\n"));
            let too_large = || Failure { subject: piece.path, reason: Reason::TooLarge };
            let (zeros, behind) = rest.split_at_mut_checked(memory::length(gap)).ok_or_else(too_large)?;
            let (place, behind) = behind.split_at_mut_checked(memory::length(piece.len)).ok_or_else(too_large)?;
            zeros.fill(0);
            piece.read(volume, 0, place)?;
            offset = offset.saturating_add(gap).saturating_add(piece.len);
            rest = behind;
        }
        Ok(())
    }
}
