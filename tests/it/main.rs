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

mod forward; // recorded bytes of forward and HTTP senders, against the records they must give

mod api; // every call over HTTP: shapes, errors, guards, paging, the live stream
mod corpora;
mod house; // floors, doors and names of the source itself
mod senders; // real programs: logger, rsyslog, syslog-ng, fluent loggers, curl // real log files, imported and compared byte for byte
#[cfg(test)]
mod syslog; // recorded bytes of real senders, and dialects case by case
