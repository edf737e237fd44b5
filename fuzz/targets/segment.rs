//! The reader of segment files, and `verify`: a data directory with a file of these bytes.
#![no_main]

#[path = "../harness.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| harness::segment(bytes));
