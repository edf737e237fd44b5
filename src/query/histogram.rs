//! Counts over time, in buckets of a round width on the clocks of a zone, by any field.

use std::collections::HashMap;
use std::time::Duration;

use super::field::{Builtin, Keys, Name};
use super::scan::{self, Meter, Plan, Tally};
use super::select::named;
use super::{Answer, Bucket, Buckets, Budget, Context, Histogram, Order, Query};
use crate::base::error::{Error, Result};
use crate::base::limits;
use crate::base::record::{Record, Severity};
use crate::base::time::{TimeRange, Timestamp, Zone};
use crate::codec::ask::{Asked, By, Groups, Watch};
use crate::codec::{ChunkMeta, RowSet, Rows};
use crate::store::Snapshot;

/// Milliseconds of the widths that a person reads at a glance.
const ROUND_MS: &[i64] = &[
    1,
    2,
    5,
    10,
    20,
    50,
    100,
    200,
    500, // parts of a second
    1_000,
    2_000,
    5_000,
    10_000,
    15_000,
    30_000, // seconds
    60_000,
    120_000,
    300_000,
    600_000,
    900_000,
    1_800_000, // minutes
    3_600_000,
    10_800_000,
    21_600_000,
    43_200_000, // hours
    DAY_MS,
    2 * DAY_MS,
    7 * DAY_MS,
    14 * DAY_MS,
    30 * DAY_MS,
    90 * DAY_MS,
    365 * DAY_MS,
    10 * 365 * DAY_MS,
    100 * 365 * DAY_MS,
];
const DAY_MS: i64 = 86_400_000;
const MS: i64 = 1_000_000;

/// Values told apart in the answer; the others are `other`.
const TOP: usize = 10;
/// The name of the others.
const OTHER: &str = "other";
/// The name of those that have no such field; as `app` has it where there is none.
const ABSENT: &str = "-";

/// See [`super::histogram`].
pub(super) fn histogram(
    snapshot: &Snapshot,
    query: &Query,
    range: TimeRange,
    buckets: &Buckets,
    by: Option<&str>,
    context: &Context,
    budget: &Budget,
) -> Result<Answer<Histogram>> {
    let mut meter = Meter::new(budget);
    let asked = range.and(query.range);
    let Some((first, last)) = ends(snapshot, asked) else {
        let width = width(buckets, 0)?;
        let value = Histogram { interval_ms: width.unsigned_abs(), buckets: Vec::new(), total: 0 };
        let explain = super::Explain { query: query.to_string(), ..Default::default() };
        return Ok(Answer { value, partial: None, explain });
    };
    let width = width(buckets, last.0.saturating_sub(first.0) / MS + 1)?;
    let edges = edges(first, last, width, &context.zone)?;
    let newest = scan::last_id(snapshot);
    let empty = |edges: &[i64]| Histogram {
        interval_ms: width.unsigned_abs(),
        buckets: edges
            .iter()
            .map(|e| Bucket { time: Timestamp(*e), ..Bucket::default() })
            .collect(),
        total: 0,
    };
    let Ok(mut plan) = Plan::new(snapshot, query, range, Order::Desc, newest, &mut meter)? else {
        return Ok(scan::unstarted(empty(&edges), query, &meter));
    };
    let by = by.map(Name::read);
    let make = || Counts::new(&edges, by.as_ref());
    let swept = plan.sweep(make, &mut meter)?;
    let mut tallies = swept.tallies.into_iter();
    let mut counts = tallies.next().unwrap_or_else(make);
    tallies.for_each(|other| counts.add(other));
    let mut value = empty(&edges);
    counts.fill(&mut value, by.as_ref().and_then(Name::builtin) == Some(Builtin::Severity));
    Ok(Answer { value, partial: swept.partial, explain: plan.explain })
}

/// First and last instant of the histogram: the ends asked for, or those of the records that are
/// there where an end is open. `None`: there is nothing between them.
fn ends(snapshot: &Snapshot, range: TimeRange) -> Option<(Timestamp, Timestamp)> {
    let metas = || snapshot.chunks().iter().map(|c| c.meta());
    let first = match range.from {
        Timestamp::MIN => metas().map(|m| m.min_time).min()?,
        from => from,
    };
    let last = match range.to {
        Timestamp::MAX => metas().map(|m| m.max_time).max()?,
        to => Timestamp(to.0.saturating_sub(1)),
    };
    (first <= last).then_some((first, last))
}

/// The width of a bucket, milliseconds.
fn width(buckets: &Buckets, span_ms: i64) -> Result<i64> {
    match buckets {
        Buckets::Every(every) => match i64::try_from(every.as_millis()) {
            Ok(ms)
                if ms > 0
                    && ms <= i64::MAX / MS
                    && Duration::from_millis(ms.unsigned_abs()) == *every =>
            {
                Ok(ms)
            }
            _ => Err(Error::Limit {
                what: "a histogram's interval in whole milliseconds",
                got: u64::try_from(every.as_nanos()).unwrap_or(u64::MAX),
                max: u64::try_from(i64::MAX / MS).unwrap_or(u64::MAX),
            }),
        },
        Buckets::About(many) => {
            let many =
                i64::try_from((*many).clamp(1, limits::HISTOGRAM_BUCKETS_MAX / 2)).unwrap_or(1);
            let fits = |ms: &&i64| (span_ms + **ms - 1) / **ms <= many;
            Ok(ROUND_MS.iter().find(fits).or(ROUND_MS.last()).copied().unwrap_or(DAY_MS))
        }
    }
}

/// First instants of all buckets, nanoseconds, rising.
///
/// Each is a multiple of the width on the clocks of the zone; where those are put forward or
/// back, a bucket is shorter or longer.
fn edges(first: Timestamp, last: Timestamp, width_ms: i64, zone: &Zone) -> Result<Vec<i64>> {
    let width = width_ms * MS;
    let many = (i128::from(last.0) - i128::from(first.0)) / i128::from(width);
    if many >= limits::HISTOGRAM_BUCKETS_MAX as i128 {
        return Err(Error::Limit {
            what: "the number of buckets of a histogram",
            got: u64::try_from(many + 1).unwrap_or(u64::MAX),
            max: limits::HISTOGRAM_BUCKETS_MAX as u64,
        });
    }
    let mut edges = vec![floor(first.0, width, zone)];
    while let Some(edge) = edges.last().copied() {
        let Some(next) = following(edge, width, zone).filter(|next| *next <= last.0) else { break };
        edges.push(next);
    }
    Ok(edges)
}

/// How far the zone's clocks are ahead, nanoseconds.
fn offset(at: i64, zone: &Zone) -> i64 {
    i64::from(Timestamp(at).in_zone(zone).offset().seconds()) * 1_000_000_000
}

/// The last multiple of `width` on the zone's clocks at or before `at`.
fn floor(at: i64, width: i64, zone: &Zone) -> i64 {
    let wall = i128::from(at) + i128::from(offset(at, zone));
    let back = wall.rem_euclid(i128::from(width));
    let start = i64::try_from(i128::from(at) - back).unwrap_or(i64::MIN);
    // Where the clocks were changed in between, the bucket starts then at the latest.
    let moved = offset(at, zone) - offset(start, zone);
    if moved == 0 { start } else { start.saturating_add(moved).min(at) }
}

/// The next edge; `None` at the end of time.
fn following(edge: i64, width: i64, zone: &Zone) -> Option<i64> {
    let next = edge.checked_add(width)?;
    let ahead = offset(next, zone);
    if ahead == offset(edge, zone) {
        return Some(next);
    }
    let wall = i128::from(next) + i128::from(ahead);
    let back = wall.rem_euclid(i128::from(width));
    let on_grid = i128::from(next) - back;
    let fits = |at: i128| {
        // What the clocks do not show when they are changed is no edge.
        i64::try_from(at).ok().filter(|at| *at > edge && offset(*at, zone) == ahead)
    };
    fits(on_grid).or_else(|| i64::try_from(on_grid + i128::from(width)).ok())
}

/// Counts of one thread.
struct Counts<'e> {
    edges: &'e [i64],
    by: Option<&'e Name>,
    keys: Keys,
    totals: Vec<u64>,
    /// Values in the order of their first appearance.
    numbers: HashMap<String, u32>,
    /// By value and bucket.
    cells: HashMap<(u32, u32), u64>,
}

impl<'e> Counts<'e> {
    fn new(edges: &'e [i64], by: Option<&'e Name>) -> Self {
        Self {
            edges,
            by,
            keys: by.map_or(Keys::None, Name::keys),
            totals: vec![0; edges.len()],
            numbers: HashMap::new(),
            cells: HashMap::new(),
        }
    }

    fn bucket(&self, time: Timestamp) -> usize {
        self.edges.partition_point(|e| *e <= time.0).saturating_sub(1)
    }

    fn count(&mut self, value: &str, bucket: u32, many: u64) {
        let known = self.numbers.get(value).copied();
        let number = known.unwrap_or_else(|| {
            let full = self.numbers.len() >= limits::GROUPS_MAX;
            let value = if full { OTHER } else { value };
            let next = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
            *self.numbers.entry(value.to_owned()).or_insert(next)
        });
        *self.cells.entry((number, bucket)).or_default() += many;
    }

    fn add(&mut self, other: Self) {
        for (mine, theirs) in self.totals.iter_mut().zip(&other.totals) {
            *mine += theirs;
        }
        let names: HashMap<u32, String> = other.numbers.into_iter().map(|(k, v)| (v, k)).collect();
        for ((number, bucket), many) in other.cells {
            if let Some(name) = names.get(&number) {
                self.count(name, bucket, many);
            }
        }
    }

    fn fill(self, histogram: &mut Histogram, by_gravity: bool) {
        for (bucket, total) in histogram.buckets.iter_mut().zip(&self.totals) {
            bucket.count = *total;
            histogram.total += *total;
        }
        let mut sums: HashMap<u32, u64> = HashMap::new();
        for ((number, _), many) in &self.cells {
            *sums.entry(*number).or_default() += many;
        }
        let mut top: Vec<(String, u32)> = self.numbers.into_iter().collect();
        let sum = |number: u32| sums.get(&number).copied().unwrap_or_default();
        // The most frequent first; a group that was called `other` already stays last.
        top.sort_by(|a, b| {
            let rank = |v: &(String, u32)| (v.0 == OTHER, std::cmp::Reverse(sum(v.1)));
            rank(a).cmp(&rank(b)).then_with(|| a.0.cmp(&b.0))
        });
        if by_gravity {
            let gravity = |v: &(String, u32)| {
                Severity::ALL.iter().position(|s| s.name() == v.0).unwrap_or(usize::MAX)
            };
            top.sort_by_key(gravity);
        }
        let places: HashMap<u32, usize> = top
            .iter()
            .take(TOP)
            .filter(|v| v.0 != OTHER)
            .enumerate()
            .map(|(n, v)| (v.1, n))
            .collect();
        let mut rows: Vec<Vec<u64>> = vec![vec![0; TOP + 1]; histogram.buckets.len()];
        for ((number, bucket), many) in &self.cells {
            let place = places.get(number).copied().unwrap_or(TOP);
            let row = rows.get_mut(*bucket as usize).and_then(|r| r.get_mut(place));
            if let Some(cell) = row {
                *cell += many;
            }
        }
        let name = |n: usize| top.get(n).filter(|_| n < TOP).map_or(OTHER, |v| v.0.as_str());
        for (bucket, row) in histogram.buckets.iter_mut().zip(rows) {
            let counts = row.into_iter().enumerate().filter(|(_, many)| *many > 0);
            bucket.by = counts.map(|(n, many)| (name(n).to_owned(), many)).collect();
        }
    }
}

impl Tally for Counts<'_> {
    fn whole(&mut self, meta: &ChunkMeta) -> bool {
        let bucket = self.bucket(meta.min_time);
        let one = self.by.is_none() && bucket == self.bucket(meta.max_time);
        if one && let Some(total) = self.totals.get_mut(bucket) {
            *total += meta.rows as u64;
        }
        one
    }

    fn rows(&mut self, rows: &dyn Rows, found: &RowSet, watch: &mut dyn Watch) -> Asked<()> {
        let groups = match self.by {
            Some(by) => Some(group(by, &self.keys, rows, found, watch)?),
            None => None,
        };
        let times = rows.times()?;
        let mut bucket = Nearby { edges: self.edges, last: 0 };
        let buckets: Vec<u32> =
            found.iter().map(|row| times.get(row).map_or(0, |time| bucket.of(time.0))).collect();
        for bucket in &buckets {
            if let Some(total) = self.totals.get_mut(*bucket as usize) {
                *total += 1;
            }
        }
        let Some(groups) = groups else { return Ok(()) };
        let mut cells: HashMap<(u32, u32), u64, foldhash::fast::RandomState> = HashMap::default();
        for pair in groups.of.iter().copied().zip(buckets) {
            *cells.entry(pair).or_default() += 1;
        }
        for ((group, bucket), many) in cells {
            let value = groups.values.get(group as usize).and_then(Option::as_deref);
            self.count(value.unwrap_or(ABSENT), bucket, many);
        }
        Ok(())
    }
}

/// The buckets of times that lie close together, mostly.
struct Nearby<'e> {
    edges: &'e [i64],
    last: usize,
}

impl Nearby<'_> {
    fn of(&mut self, time: i64) -> u32 {
        let holds = |n: usize| {
            self.edges.get(n).is_some_and(|e| *e <= time)
                && self.edges.get(n + 1).is_none_or(|e| *e > time)
        };
        if !holds(self.last) {
            self.last = self.edges.partition_point(|e| *e <= time).saturating_sub(1);
        }
        u32::try_from(self.last).unwrap_or(u32::MAX)
    }
}

/// Rows told apart by a name.
fn group(
    by: &Name,
    keys: &Keys,
    rows: &dyn Rows,
    found: &RowSet,
    watch: &mut dyn Watch,
) -> Asked<Groups> {
    let Some(builtin) = by.builtin() else {
        return rows.group(&By::Field(&|name| keys.has(name)), found, watch);
    };
    if let Some(name) = named(builtin) {
        return rows.group(&By::Name(name), found, watch);
    }
    let text = |record: &Record| match builtin {
        Builtin::Message => Some(record.message().to_owned()),
        Builtin::Id => Some(record.id.to_string()),
        Builtin::Time => Some(record.time.to_string()),
        Builtin::Received => Some(record.received.to_string()),
        _ => record.defects.iter().next().map(|defect| defect.code().to_owned()),
    };
    match builtin {
        Builtin::Severity => rows.group(&By::Severity, found, watch),
        _ => rows.group(&By::Record(&text), found, watch),
    }
}
