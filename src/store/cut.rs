//! How records are cut: by day of arrival into segments, by rows and bytes into chunks.

use std::sync::Arc;

use crate::base::limits::{CHUNK_BYTES_MAX, CHUNK_ROWS_MAX, LATE_ARRIVAL_S};
use crate::base::record::Record;
use crate::base::time::Timestamp;

const DAY_NS: i64 = 86_400_000_000_000;

/// A day of arrival, UTC, counted from 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Day(i64);

impl Day {
    /// The day of a moment.
    pub(super) fn of(at: Timestamp) -> Self {
        Self(at.0.div_euclid(DAY_NS))
    }

    /// Days since 1970-01-01.
    pub(super) fn number(self) -> i64 {
        self.0
    }

    /// Does a record that arrives at this moment stand in one segment with those of this day? One
    /// of the next day does not, nor one of before it; stragglers around midnight do.
    pub(super) fn takes(self, at: Timestamp) -> bool {
        let start = self.0.saturating_mul(DAY_NS);
        let late = start.saturating_sub(LATE_ARRIVAL_S * 1_000_000_000);
        late <= at.0 && at.0 < start.saturating_add(DAY_NS)
    }
}

/// `YYYY-MM-DD`, the name of its directory.
impl std::fmt::Display for Day {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = Timestamp(self.0.saturating_mul(DAY_NS)).to_string();
        f.write_str(text.get(..10).unwrap_or_default())
    }
}

/// Cuts records, ids rising, where the day of arrival changes, so that segments do not overlap in
/// ids even where the clock was set back.
pub(super) fn days(records: &[Arc<Record>]) -> Vec<(Day, &[Arc<Record>])> {
    let (mut runs, mut rest) = (Vec::new(), records);
    while let Some(first) = rest.first() {
        let mut day = Day::of(first.received);
        let same = rest.iter().take_while(|record| {
            let takes = day.takes(record.received) || Day::of(record.received) == day;
            day = if takes { day.max(Day::of(record.received)) } else { day };
            takes
        });
        let (run, after) = rest.split_at(same.count().max(1));
        runs.push((day, run));
        rest = after;
    }
    runs
}

/// Cuts records into chunks of bounded rows and bytes.
pub(super) fn chunks(run: &[Arc<Record>]) -> Vec<&[Arc<Record>]> {
    let (mut chunks, mut rest) = (Vec::new(), run);
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take(CHUNK_ROWS_MAX).take_while(|r| {
            let fits = bytes < CHUNK_BYTES_MAX;
            bytes += r.line.raw().len();
            fits
        });
        let (chunk, after) = rest.split_at(fits.count().max(1));
        chunks.push(chunk);
        rest = after;
    }
    chunks
}
