//! Whether the signatures by which ours are judged (`fixtures/signatures`) are still those of botocore: it makes them anew.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use std::{fs, path::Path, process::Command};

#[test]
fn botocore_signs_as_it_did() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let python = root.join(".cache/oracles/bin/python3");
    let signatures = root.join("fixtures/signatures");
    let done = Command::new(&python).arg(signatures.join("by_botocore.py")).output();
    let done =
        done.unwrap_or_else(|error| panic!("{} cannot be run: {error}; tests/setup.sh installs what the tests need", python.display()));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let committed = fs::read_to_string(signatures.join("aws.json")).unwrap();
    assert_eq!(String::from_utf8_lossy(&done.stdout), committed);
}
