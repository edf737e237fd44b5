//! Plain records to useful ones, in a fixed order: rules → severity → time → join → mask.
//!
//! Floor 1. Stands between every decoder and the log, so that what is written to disk is already
//! masked. *Invariant:* pure; it changes fields, severity, time and (masking) bytes of one record
//! and knows no other.

use crate::base::record::Record;

/// The order of work for one record. One for the whole process, shared by all ways in.
#[derive(Debug, Default)]
pub struct Refiner {}

impl Refiner {
    /// Adds what the text says to `record`.
    pub fn refine(&self, record: &mut Record) {
        let _ = record;
    }
}
