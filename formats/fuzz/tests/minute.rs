//! A minute of mutants: part of `make test`, and of every `cargo test --workspace`.

use std::process::Command;

#[test]
fn a_minute_of_mutants_finds_nothing() {
    let mut mutate = Command::new(env!("CARGO_BIN_EXE_mutate"));
    let status = mutate.args(["--executions", "1000000000", "--seconds", "60"]).status().expect("it was built");
    assert!(status.success(), "its finds are written here: {status}");
}
