//! From text to answers: parse, plan, scan a snapshot of the store.
//!
//! Floor 3. *Invariant:* writes nothing, knows no HTTP. Every answer is exact, and says how far it
//! came where its budget ended first.
//!
//! | file | noun |
//! |---|---|
//! | `grammar` | the language: from text to tree |
//! | `pasted` | pieces of log lines that do not read as a query |
//! | `tree` | what was read; prints back |
//! | `field` | names: built in, aliases, keys; numbers |
//! | `time` | times as people type them |
//! | `plan` | from a tree to a check, and to the keys that chunks are left out by |
//! | `check` | a query asked of one record |
//! | `select` | a query asked of a chunk |
//! | `scan` | a query over a snapshot: search, count |
//! | `histogram` | counts over time |
//!
//! The language is described in `LANGUAGE.md`, whose examples run as tests.

mod check;
mod field;
mod grammar;
mod histogram;
mod pasted;
mod plan;
mod scan;
mod select;
#[cfg(test)]
mod tests;
mod time;
mod tree;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::base::error::{QueryError, Result};
use crate::base::fold::Mapped;
use crate::base::machine::Clock;
use crate::base::record::Record;
use crate::base::time::{TimeRange, Timestamp, Zone};
use crate::codec::Work;
use crate::store::Snapshot;

/// A query that reads; prints back to text that parses to the same.
#[derive(Clone)]
pub struct Query {
    tree: tree::Node,
    range: TimeRange,
    /// Ready for single records.
    check: Arc<check::Check>,
}

impl PartialEq for Query {
    fn eq(&self, other: &Self) -> bool {
        self.tree == other.tree && self.range == other.range
    }
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Query")
            .field("tree", &self.tree)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let everything = self.tree == tree::Node::All && self.range != TimeRange::ALL;
        let mut blank = "";
        if !everything {
            // `since:` and `until:` do not bind, they hold for all of the query.
            write!(f, "{}", self.tree)?;
            blank = " ";
        }
        if self.range.from != Timestamp::MIN {
            write!(f, "{blank}since:{}", self.range.from)?;
            blank = " ";
        }
        if self.range.to != Timestamp::MAX {
            write!(f, "{blank}until:{}", self.range.to)?;
        }
        Ok(())
    }
}

/// What the meaning of a query depends on besides its text.
#[derive(Clone, Debug)]
pub struct Context {
    /// What `now` and `-15m` count from.
    pub now: Timestamp,
    /// Zone of `today`, `yesterday 17:30` and dates without a zone.
    pub zone: Zone,
}

impl Query {
    /// Reads the language of `LANGUAGE.md`.
    pub fn parse(text: &str, context: &Context) -> Result<Self, QueryError> {
        let (tree, range) = grammar::read(text, context)?;
        let check = Arc::new(plan::check(&tree, &|_| None));
        Ok(Self { tree, range, check })
    }

    /// `since:` and `until:` of the text; [`TimeRange::ALL`] without them.
    pub fn range(&self) -> TimeRange {
        self.range
    }

    /// Does it hold for this record? What the live tail asks. Does not look at the range; a name
    /// that is neither built in nor an alias is a field where this record has it, else text.
    pub fn matches(&self, record: &Record) -> bool {
        self.check.holds(record, &mut check::Scratch::default())
    }

    /// Byte ranges of `text` (a message) that the query's terms found, rising, not overlapping.
    pub fn highlights(&self, text: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        self.check.places(text, &Mapped::new(text), &mut found);
        found.sort_unstable_by_key(|range| (range.start, range.end));
        let mut merged: Vec<Range<usize>> = Vec::with_capacity(found.len());
        for range in found {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        merged
    }
}

/// Reads a time parameter: RFC 3339, epoch (s, ms, µs, ns by size), `now`, `now-15m`, `-15m`,
/// `today`, `yesterday 17:30`, a date, a date and time in the context's zone.
pub fn parse_time(text: &str, context: &Context) -> Option<Timestamp> {
    time::instant(text, context)
}

/// How much a query may cost, and how it is told to stop.
#[derive(Clone)]
pub struct Budget {
    /// Measures the time.
    pub clock: Arc<dyn Clock>,
    /// `clock.monotonic()` at which it must end; `None`: no time budget.
    pub deadline: Option<Duration>,
    /// Set when nobody waits any more.
    pub cancelled: Arc<AtomicBool>,
}

/// Newest or oldest first, by (time, id).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Newest first.
    #[default]
    Desc,
    /// Oldest first.
    Asc,
}

/// Where a page ended: the next one starts behind it. `serve` makes an opaque text of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Time of the last record that was given.
    pub time: Timestamp,
    /// Its id.
    pub id: u64,
    /// Largest id that was visible when the first page was asked; later records are no part of it.
    pub last_id: u64,
}

/// An answer, and how sure it is.
#[derive(Clone, Debug)]
pub struct Answer<T> {
    /// What was asked for.
    pub value: T,
    /// `None`: complete. Otherwise why and how far, as a sentence for `partial`.
    pub partial: Option<String>,
    /// How it was found; always collected, shown when asked for.
    pub explain: Explain,
}

/// What a query did (query.md 5).
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Explain {
    /// The tree as it was read, printed.
    pub query: String,
    /// Chunks in the snapshot.
    pub chunks: usize,
    /// Left out by time.
    pub pruned_by_time: usize,
    /// Left out by index or filter.
    pub pruned_by_index: usize,
    /// Opened.
    pub scanned: usize,
    /// Rows that were asked about.
    pub rows: u64,
    /// Columns that had to be decoded, of sealed chunks.
    pub columns: u64,
    /// Bytes that these had before, and those of other sections that had to be read.
    pub bytes: u64,
    /// Texts (messages, whole lines) that were put together again.
    pub rebuilt: u64,
}

impl Explain {
    /// Adds what reading cost.
    fn add(&mut self, work: Work) {
        self.columns += work.columns;
        self.bytes += work.bytes;
        self.rebuilt += work.rebuilt;
    }
}

/// A page of records.
#[derive(Clone, Debug)]
pub struct Page {
    /// In the order asked for.
    pub records: Vec<Arc<Record>>,
    /// For the next page; `None`: this was the last.
    pub next: Option<Cursor>,
}

/// Asks what of a snapshot can be read. Damage costs what is damaged, and is said: where it is met,
/// the question is asked again without the chunk, which is known to be damaged by then.
fn whole<T>(
    snapshot: &Snapshot,
    range: TimeRange,
    ask: impl Fn(&Snapshot) -> Result<Answer<T>>,
) -> Result<Answer<T>> {
    let (mut readable, mut lost) = snapshot.readable();
    loop {
        let mut answer = match ask(&readable) {
            Err(error) if error.is_damage() => {
                let known = lost.len();
                (readable, lost) = snapshot.readable();
                if lost.len() > known {
                    continue;
                }
                return Err(error);
            }
            other => other?,
        };
        lost.retain(|meta| scan::overlaps(range, meta));
        let first = lost.iter().map(|meta| meta.min_time).min();
        if let Some((first, last)) = first.zip(lost.iter().map(|meta| meta.max_time).max()) {
            let records: usize = lost.iter().map(|meta| meta.rows).sum();
            let left_out =
                format!("{records} records from {first} to {last} are damaged and were left out");
            let before = answer.partial.take().map(|why| why + "; ").unwrap_or_default();
            answer.partial = Some(before + &left_out);
        }
        return Ok(answer);
    }
}

/// Records by (time, id); `range` is intersected with the query's own. A page ends early where its
/// records weigh `limits::ANSWER_BYTES_MAX`; its cursor then goes on from there.
pub fn search(
    snapshot: &Snapshot,
    query: &Query,
    range: TimeRange,
    order: Order,
    limit: usize,
    cursor: Option<Cursor>,
    budget: &Budget,
) -> Result<Answer<Page>> {
    whole(snapshot, range.and(query.range), |snapshot| {
        scan::search(snapshot, query, range, order, limit, cursor, budget)
    })
}

/// How many there are.
pub fn count(
    snapshot: &Snapshot,
    query: &Query,
    range: TimeRange,
    budget: &Budget,
) -> Result<Answer<u64>> {
    whole(snapshot, range.and(query.range), |snapshot| scan::count(snapshot, query, range, budget))
}

/// How a histogram is cut.
#[derive(Clone, Debug)]
pub enum Buckets {
    /// About so many, of a round width.
    About(usize),
    /// Of this width.
    Every(Duration),
}

/// Counts over time.
#[derive(Clone, Debug)]
pub struct Histogram {
    /// Width of a bucket, milliseconds.
    pub interval_ms: u64,
    /// Oldest first, empty ones included.
    pub buckets: Vec<Bucket>,
    /// All of them together.
    pub total: u64,
}

/// One bucket.
#[derive(Clone, Debug, Default)]
pub struct Bucket {
    /// Its first instant, a multiple of the width on the clocks of the context's zone.
    pub time: Timestamp,
    /// Records in it.
    pub count: u64,
    /// By value of the `by` field: the ten most frequent of the whole answer, then `other`.
    pub by: Vec<(String, u64)>,
}

/// Counts over time, by a field where one is named (`severity`, `host`, `app`, or any).
///
/// A range that is open at an end is cut to the records that are there.
pub fn histogram(
    snapshot: &Snapshot,
    query: &Query,
    range: TimeRange,
    buckets: &Buckets,
    by: Option<&str>,
    context: &Context,
    budget: &Budget,
) -> Result<Answer<Histogram>> {
    whole(snapshot, range.and(query.range), |snapshot| {
        histogram::histogram(snapshot, query, range, buckets, by, context, budget)
    })
}
