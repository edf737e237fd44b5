//! Whether a record's time is one that can be; it is kept either way.

use crate::base::limits::{ANCIENT_TIME_S, FUTURE_SKEW_MAX_S};
use crate::base::record::{Defect, Record};
use crate::base::time::Timestamp;

/// Notes a time far ahead of ours, or before there were such logs.
pub(super) fn judge(record: &mut Record) {
    let ahead = record.time.0.saturating_sub(record.received.0);
    if ahead > FUTURE_SKEW_MAX_S.saturating_mul(1_000_000_000) {
        record.defects.add(Defect::FutureTime);
    }
    if record.time < Timestamp::from_parts(ANCIENT_TIME_S, 0) {
        record.defects.add(Defect::AncientTime);
    }
}
