//! The one integration binary. Each module is one subject, in the order of a record's road.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "all of it is test: to panic is how a test fails, also in its helpers"
)]

mod support; // the built program on free ports, a small HTTP client, waiting without sleeping for luck

// Decoders: recorded bytes of real senders against the records that they must give.
mod forward;
mod syslog;
// The program as others meet it: commands, configuration, ways in, API, real senders.
mod api;
mod cli;
mod config;
mod killed; // at random instants, by SIGKILL: the store
mod killed_server; // and the built program
mod ready;
mod recordings;
mod senders;
mod verify;
mod ways_in;
// What is on disk, read from the pages on its format alone.
mod by_hand;
// Real log files: encoded and decoded, imported and compared byte for byte.
mod codec;
mod corpora;
// The source itself: floors, doors, names.
mod house;
