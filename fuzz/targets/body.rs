//! The decoder of segments: what `harness::assemble` makes of the bytes, so that checksums are right.
#![no_main]

#[path = "../harness.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| harness::body(bytes));
