//! The decode direction for libFuzzer, which needs a nightly compiler.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::decode(bytes));
