//! The containers against foreign programs: what we write, they read; what they write, we read.
//!
//! `tests/setup.sh` installs the programs; a missing one is a failure.

mod check;
mod check_qcow2;
mod damage;
mod decode;
mod differencing;
mod follow;
mod golden;
mod matrix;
mod oracle;
mod property;
