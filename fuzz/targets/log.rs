//! The reader of the log: a store is opened on a log file of these bytes.
#![no_main]

#[path = "../harness.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| harness::log(bytes));
