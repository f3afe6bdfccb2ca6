//! Stores of variables against Debian's own files, virt-firmware and AWS's uefivars.

use super::{Key, shell};
use crate::support::{Desk, python};
use formats::{
    Blob, Guid, Kind, Timestamp,
    efivars::{
        BOOT_SERVICES, GLOBAL, Keys, Variable, aws,
        flash::{self, Kind as Flash},
        signature_list::Item,
    },
};
use std::fs;

/// The programs of the Python packages that `tests/setup.sh` installs.
const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.cache/oracles/bin");

/// Keys of a machine, and a variable of the user's.
fn variables(desk: &Desk) -> Vec<Variable> {
    let (_, certificate) = Key::new(desk, "db", 2048);
    let keys = Keys {
        owner: Guid::new(0x11111111_2222_3333_4444_555566667777),
        pk: certificate.clone(),
        kek: vec![certificate.clone()],
        db: vec![certificate.clone(), certificate],
        dbx: vec![Item::Sha256([7; 32]), Item::Sha256([8; 32])],
    };
    let timed = |variable| Variable { time: Some(Timestamp(1_709_210_096)), ..variable };
    let own = Variable { name: "Lüb✓".into(), vendor: GLOBAL, attributes: BOOT_SERVICES, time: None, data: vec![1, 2, 3] };
    keys.variables().into_iter().map(timed).chain([own]).collect()
}

/// Each as a line, in the order of names.
fn lines(variables: &[Variable]) -> Vec<String> {
    let hex = |data: &[u8]| data.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let line = |v: &Variable| format!("{} {} {} {}", v.name, v.vendor, v.attributes, hex(&v.data));
    let mut lines: Vec<_> = variables.iter().map(line).collect();
    lines.sort();
    lines
}

/// Reads a store of any kind, and fails where it is not these lines.
const VIRT_FIRMWARE: &str = "
import sys
from virt.firmware.varstore.autodetect import open_varstore
variables = open_varstore(sys.argv[1]).get_varlist().values()
found = sorted(f'{v.name} {v.guid} {v.attr} {v.data.hex()}' for v in variables)
assert found == sys.argv[2:], found
";

/// The same by AWS's own reader.
const UEFIVARS: &str = "
import sys, uuid
from pyuefivars.aws import AWSUEFIVarStore
variables = AWSUEFIVarStore(open(sys.argv[1], 'rb').read()).vars
found = sorted(f'{v.name} {uuid.UUID(bytes_le=bytes(v.guid))} {v.attr} {bytes(v.data).hex()}' for v in variables)
assert found == sys.argv[2:], found
";

/// What does not depend on variables.
#[test]
fn empty_stores_are_debians() {
    for (kind, path) in [(Flash::Ovmf4M, "/usr/share/OVMF/OVMF_VARS_4M.fd"), (Flash::Ovmf2M, "/usr/share/OVMF/OVMF_VARS.fd")] {
        let theirs = fs::read(path).unwrap_or_else(|error| panic!("{path}: {error}; tests/setup.sh installs what the tests need"));
        assert!(flash::write(kind, &[]).unwrap().to_vec(u64::MAX).unwrap() == theirs, "{path}");
    }
    // Debian's empty one for arm64 has no volume yet; this one has Microsoft's keys in it.
    let theirs = fs::read("/usr/share/AAVMF/AAVMF_VARS.ms.fd").unwrap();
    let ours = flash::write(Flash::Aavmf, &[]).unwrap().to_vec(u64::MAX).unwrap();
    assert_eq!(ours.len(), theirs.len());
    assert!(ours[..0x64] == theirs[..0x64] && ours[0x4_0000..] == theirs[0x4_0000..]);
}

#[test]
fn stores_of_debian_are_read() {
    for path in ["/usr/share/OVMF/OVMF_VARS_4M.ms.fd", "/usr/share/OVMF/OVMF_VARS.ms.fd", "/usr/share/AAVMF/AAVMF_VARS.ms.fd"] {
        let found = flash::read(&Blob::from(fs::read(path).unwrap())).unwrap();
        assert!(["PK", "KEK", "db", "SecureBootEnable"].iter().all(|name| found.iter().any(|variable| variable.name == *name)), "{path}");
        python(VIRT_FIRMWARE, path, &lines(&found));
    }
}

#[test]
fn our_flash_files_are_read_elsewhere_and_theirs_here() {
    let desk = Desk::new();
    let variables = variables(&desk);
    for kind in [Flash::Ovmf4M, Flash::Ovmf2M, Flash::Aavmf] {
        let file = flash::write(kind, &variables).unwrap();
        let path = desk.put("vars.fd", &file);
        let all = flash::read(&file).unwrap();
        assert_eq!((all.len(), &all[..variables.len()]), (variables.len() + 2, variables.as_slice()), "{kind:?}");
        python(VIRT_FIRMWARE, path.to_str().unwrap(), &lines(&all));
        // As they write it into the firmware's own empty file.
        shell(&desk, &format!("{PROGRAMS}/virt-fw-vars -i vars.fd -o theirs.fd --set-true Tried"));
        let theirs = flash::read(&desk.get("theirs.fd")).unwrap();
        assert!(lines(&all).iter().all(|line| lines(&theirs).contains(line)) && theirs.len() == all.len() + 1, "{kind:?}: {theirs:?}");
    }
}

#[test]
fn aws_reads_what_we_write() {
    let desk = Desk::new();
    let variables = variables(&desk);
    fs::write(desk.path("ours"), aws::write(&variables).unwrap()).unwrap();
    python(UEFIVARS, desk.path("ours").to_str().unwrap(), &lines(&variables));
    python(VIRT_FIRMWARE, desk.path("ours").to_str().unwrap(), &lines(&variables));
    // And writes the same again, but for its dictionary.
    shell(
        &desk,
        &format!(
            "{PROGRAMS}/uefivars -i aws -I ours -o aws -O theirs; {PROGRAMS}/uefivars -i aws -I ours -o json -O ours.json; {PROGRAMS}/uefivars -i aws -I theirs -o json -O theirs.json; cmp ours.json theirs.json"
        ),
    );
    let error = aws::read(&fs::read_to_string(desk.path("theirs")).unwrap()).unwrap_err();
    assert!(error.to_string().contains("a dictionary of AWS's") && error.kind() == Kind::Unsupported, "{error}");
}
