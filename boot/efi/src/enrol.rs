//! Enrolling a disk's own Secure Boot keys into a machine that has none (UEFI 2.10, sections 8.2.2 and 32.3).
//!
//! `/loader/keys/auto/*.auth` of the partition that we came from are signed updates of the four variables. They are written in
//! setup mode, `PK` last, as it ends that mode, and then the machine restarts. A machine that is real may have an option ROM that
//! only Microsoft's key signs, and would never show a picture again: there it takes a file `force` and nobody at the keyboard.

use core::fmt;

/// Somebody may say no for so long, where the machine is real.
pub const SECONDS_TO_ABORT: u32 = 15;

/// Where the files are.
pub const DIRECTORY: &str = "/loader/keys/auto";
/// The file that has keys enrolled in a real machine.
pub const FORCE: &str = "/loader/keys/auto/force";

/// The variables with keys, in the order in which they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// What may be started.
    Db,
    /// What may not; need not be there.
    Dbx,
    /// Who may change these two.
    Kek,
    /// Who owns the machine.
    Pk,
}

impl Key {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Db, Self::Dbx, Self::Kek, Self::Pk];

    /// The name of the variable.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Db => "db",
            Self::Dbx => "dbx",
            Self::Kek => "KEK",
            Self::Pk => "PK",
        }
    }

    /// Its file.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Db => "/loader/keys/auto/db.auth",
            Self::Dbx => "/loader/keys/auto/dbx.auth",
            Self::Kek => "/loader/keys/auto/KEK.auth",
            Self::Pk => "/loader/keys/auto/PK.auth",
        }
    }

    /// Whether it is among the variables of images (`EFI_IMAGE_SECURITY_DATABASE_GUID`), not among the global ones.
    #[must_use]
    pub const fn is_of_images(self) -> bool {
        matches!(self, Self::Db | Self::Dbx)
    }
}

/// The machine, as far as enrolling needs it.
pub trait Machine {
    /// What it says when something fails.
    type Status: fmt::Display;

    /// Whether the firmware takes keys from anybody.
    fn is_in_setup_mode(&self) -> bool;
    /// Whether it is virtual.
    fn is_virtual(&self) -> bool;
    /// Whether [`FORCE`] exists.
    fn is_forced(&self) -> bool;
    /// Reads the file of a key and keeps it; whether there is one.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    fn read(&mut self, key: Key) -> Result<bool, Self::Status>;
    /// Writes the variable of a key that was read.
    ///
    /// # Errors
    /// What the firmware says.
    fn write(&mut self, key: Key) -> Result<(), Self::Status>;
    /// Waits; whether a key was pressed meanwhile.
    fn is_stopped(&mut self, seconds: u32) -> bool;
    /// Tells the user.
    fn say(&mut self, line: fmt::Arguments<'_>);
}

/// Enrols the keys, if there are any, the machine wants some, and nothing speaks against it. Returns whether the machine must
/// restart now; else it is to be booted, and the user was told why nothing came of it if he wanted something.
pub fn enrol(machine: &mut impl Machine) -> bool {
    if !machine.is_in_setup_mode() {
        return false;
    }
    // All are read before the first is written: a disk that cannot be read leaves no half of them.
    let mut there = [false; Key::ALL.len()];
    for (key, there) in Key::ALL.into_iter().zip(&mut there) {
        match machine.read(key) {
            Ok(found) => *there = found,
            Err(status) => {
                machine.say(format_args!("moby: no keys enrolled: {}: {status}", key.path()));
                return false;
            }
        }
    }
    if there == [false; Key::ALL.len()] {
        return false;
    }
    let keys = || Key::ALL.into_iter().zip(there);
    if let Some((missing, _)) = keys().find(|(key, there)| !there && *key != Key::Dbx) {
        machine.say(format_args!("moby: no keys enrolled: {}: file not found", missing.path()));
        return false;
    }
    if !machine.is_virtual() {
        if !machine.is_forced() {
            machine.say(format_args!("moby: no keys enrolled: this is no virtual machine, and there is no {FORCE}"));
            return false;
        }
        machine.say(format_args!("moby: enrolling the Secure Boot keys of {DIRECTORY} in {SECONDS_TO_ABORT} s, or not at a key"));
        if machine.is_stopped(SECONDS_TO_ABORT) {
            machine.say(format_args!("moby: no keys enrolled"));
            return false;
        }
    }
    for (key, _) in keys().filter(|(_, there)| *there) {
        if let Err(status) = machine.write(key) {
            machine.say(format_args!("moby: {} not enrolled: {status}", key.name()));
            return false;
        }
    }
    machine.say(format_args!("moby: Secure Boot keys enrolled, restarting"));
    true
}

#[cfg(test)]
mod tests {
    use std::string::{String, ToString};
    use std::vec::Vec;

    use super::*;

    struct Fake {
        setup_mode: bool,
        real: bool,
        forced: bool,
        key_pressed: bool,
        files: Vec<Key>,
        unreadable: Option<Key>,
        refused: Option<Key>,
        /// What happened, in order.
        log: Vec<String>,
    }

    /// A virtual machine in setup mode, with these files.
    fn fake(files: &[Key]) -> Fake {
        let files = files.to_vec();
        Fake { setup_mode: true, real: false, forced: false, key_pressed: false, files, unreadable: None, refused: None, log: Vec::new() }
    }

    impl Machine for Fake {
        type Status = &'static str;

        fn is_in_setup_mode(&self) -> bool {
            self.setup_mode
        }

        fn is_virtual(&self) -> bool {
            !self.real
        }

        fn is_forced(&self) -> bool {
            self.forced
        }

        fn read(&mut self, key: Key) -> Result<bool, &'static str> {
            assert!(self.log.is_empty(), "all are read first");
            if self.unreadable == Some(key) { Err("read error") } else { Ok(self.files.contains(&key)) }
        }

        fn write(&mut self, key: Key) -> Result<(), &'static str> {
            if self.refused == Some(key) {
                return Err("Security Violation");
            }
            self.log.push(key.name().to_string());
            Ok(())
        }

        fn is_stopped(&mut self, seconds: u32) -> bool {
            self.log.push(seconds.to_string());
            self.key_pressed
        }

        fn say(&mut self, line: fmt::Arguments<'_>) {
            self.log.push(line.to_string());
        }
    }

    const WITHOUT_DBX: [Key; 3] = [Key::Db, Key::Kek, Key::Pk];
    const DONE: &str = "moby: Secure Boot keys enrolled, restarting";

    #[test]
    fn the_platform_key_comes_last_and_then_the_machine_restarts() {
        let mut machine = fake(&Key::ALL);
        assert!(enrol(&mut machine));
        assert_eq!(machine.log, ["db", "dbx", "KEK", "PK", DONE]);
        let mut machine = fake(&WITHOUT_DBX);
        assert!(enrol(&mut machine));
        assert_eq!(machine.log, ["db", "KEK", "PK", DONE]);
    }

    #[test]
    fn a_machine_with_keys_and_a_disk_without_are_left_alone_in_silence() {
        for mut machine in [Fake { setup_mode: false, ..fake(&Key::ALL) }, fake(&[])] {
            assert!(!enrol(&mut machine));
            assert!(machine.log.is_empty());
        }
    }

    #[test]
    fn nothing_is_written_when_a_file_is_missing_or_cannot_be_read() {
        let mut machine = fake(&[Key::Db, Key::Pk]);
        assert!(!enrol(&mut machine));
        assert_eq!(machine.log, ["moby: no keys enrolled: /loader/keys/auto/KEK.auth: file not found"]);
        let mut machine = Fake { unreadable: Some(Key::Pk), ..fake(&Key::ALL) };
        assert!(!enrol(&mut machine));
        assert_eq!(machine.log, ["moby: no keys enrolled: /loader/keys/auto/PK.auth: read error"]);
    }

    #[test]
    fn a_real_machine_is_asked_to_be_forced_and_waits() {
        let mut machine = Fake { real: true, ..fake(&WITHOUT_DBX) };
        assert!(!enrol(&mut machine));
        assert_eq!(machine.log, ["moby: no keys enrolled: this is no virtual machine, and there is no /loader/keys/auto/force"]);
        let mut machine = Fake { real: true, forced: true, ..fake(&WITHOUT_DBX) };
        assert!(enrol(&mut machine));
        assert_eq!(machine.log[1..], ["15", "db", "KEK", "PK", DONE]);
        let mut machine = Fake { real: true, forced: true, key_pressed: true, ..fake(&WITHOUT_DBX) };
        assert!(!enrol(&mut machine));
        assert_eq!(machine.log[1..], ["15", "moby: no keys enrolled"]);
    }

    #[test]
    fn a_variable_that_is_refused_is_said_and_the_machine_boots() {
        let mut machine = Fake { refused: Some(Key::Pk), ..fake(&WITHOUT_DBX) };
        assert!(!enrol(&mut machine));
        assert_eq!(machine.log, ["db", "KEK", "moby: PK not enrolled: Security Violation"]);
    }
}
