//! The time of a plain line that says it in a field; and whether a time is one that can be.

use crate::base::limits::{ANCIENT_TIME_S, FUTURE_SKEW_MAX_S};
use crate::base::record::{Defect, Record, TIME_FIELDS};
use crate::base::time::{Timestamp, Zone};
use crate::base::value::{Value, places};

/// Takes the time from the first usual field that has one that can be, where none is known yet.
pub(super) fn from_fields(record: &mut Record, zone: &Zone) {
    if !record.defects.has(Defect::NoTimestamp) {
        return;
    }
    let received = record.received;
    let places = places(&record.fields, &TIME_FIELDS).into_iter().flatten();
    let found = places.filter_map(|at| record.fields.get(at)).find_map(|field| {
        let at = match &field.value {
            Value::Str(text) => Timestamp::parse_any(text, zone, received),
            Value::Int(count) => Timestamp::from_epoch(*count),
            number @ Value::Float(_) => Timestamp::from_epoch_text(&number.to_string()),
            _ => None,
        }?;
        // `time=5` and the like are durations, not moments.
        (!is_ancient(at) && !is_ahead(at, received)).then_some(at)
    });
    if let Some(at) = found {
        record.time = at;
        record.defects.remove(Defect::NoTimestamp);
    }
}

/// Notes a time far ahead of ours, or before there were such logs; it is kept either way.
pub(super) fn judge(record: &mut Record) {
    if is_ahead(record.time, record.received) {
        record.defects.add(Defect::FutureTime);
    }
    if is_ancient(record.time) {
        record.defects.add(Defect::AncientTime);
    }
}

fn is_ahead(time: Timestamp, received: Timestamp) -> bool {
    time.0.saturating_sub(received.0) > FUTURE_SKEW_MAX_S.saturating_mul(1_000_000_000)
}

fn is_ancient(time: Timestamp) -> bool {
    time < Timestamp::from_parts(ANCIENT_TIME_S, 0)
}
