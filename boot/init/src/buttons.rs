//! The power button: what QEMU's `system_powerdown`, a cloud's "stop" and a finger press. Linux input, `struct input_event` of 64-bit kernels.

use std::{collections::BTreeSet, fs::File, io::Read, os::unix::fs::MetadataExt, sync::mpsc::Sender, thread};

use crate::{event::Event, files};

const EV_KEY: u16 = 1;
const KEY_POWER: u16 = 116;
/// Two words of time, type, code, value.
const EVENT_LEN: usize = 24;

/// The devices with a power button.
pub(crate) struct Buttons {
    events: Sender<Event>,
    watched: BTreeSet<(String, u64)>,
}

impl Buttons {
    pub(crate) fn new(events: Sender<Event>) -> Self {
        Self { events, watched: BTreeSet::new() }
    }

    /// Watches those that are there and were not before.
    pub(crate) fn look(&mut self) {
        for name in files::names("/sys/class/input") {
            let keys = files::word(format!("/sys/class/input/{name}/device/capabilities/key"));
            if !name.starts_with("event") || !keys.is_some_and(|keys| has_power(&keys)) {
                continue;
            }
            let Ok(mut device) = File::open(format!("/dev/input/{name}")) else { continue };
            // One that is plugged in again has the name of another, and a file of its own.
            let Ok(file) = device.metadata() else { continue };
            if !self.watched.insert((name, file.ino())) {
                continue;
            }
            let events = self.events.clone();
            thread::spawn(move || {
                let mut event = [0; EVENT_LEN];
                while device.read_exact(&mut event).is_ok() {
                    if is_press(&event) && events.send(Event::Button).is_err() {
                        break;
                    }
                }
            });
        }
    }
}

/// Whether the keys of a device, as sysfs shows them in words of 64 bits with the highest first, are one of power among others.
fn has_power(keys: &str) -> bool {
    let word = keys.split_whitespace().rev().nth(usize::from(KEY_POWER / 64));
    word.and_then(|word| u64::from_str_radix(word, 16).ok()).is_some_and(|word| word >> (KEY_POWER % 64) & 1 != 0)
}

fn is_press(event: &[u8; EVENT_LEN]) -> bool {
    let [.., k0, k1, c0, c1, v0, v1, v2, v3] = *event;
    let (kind, code) = (u16::from_ne_bytes([k0, k1]), u16::from_ne_bytes([c0, c1]));
    (kind, code, i32::from_ne_bytes([v0, v1, v2, v3])) == (EV_KEY, KEY_POWER, 1)
}

#[cfg(test)]
mod tests {
    use super::{EVENT_LEN, has_power, is_press};

    /// The ACPI power button of QEMU, its keyboard, whose key counts as well, and its mouse.
    #[test]
    fn a_power_button_is_told_by_its_keys() {
        assert!(has_power("10000000000000 0"));
        assert!(has_power("402000000 3803078f800d001 feffffdfffefffff fffffffffffffffe"));
        for none in ["", "0", "70000 0 0 0 0", "fffffffffffffffe", "x 0"] {
            assert!(!has_power(none), "{none}");
        }
    }

    #[test]
    fn pressing_counts_and_letting_go_does_not() {
        let event = |kind: u16, code: u16, value: i32| {
            let mut event = [0; EVENT_LEN];
            event[16..18].copy_from_slice(&kind.to_ne_bytes());
            event[18..20].copy_from_slice(&code.to_ne_bytes());
            event[20..].copy_from_slice(&value.to_ne_bytes());
            event
        };
        assert!(is_press(&event(1, 116, 1)));
        assert!(!is_press(&event(1, 116, 0)) && !is_press(&event(1, 30, 1)) && !is_press(&event(0, 116, 1)));
    }
}
