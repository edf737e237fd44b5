//! A query over a snapshot: which chunks are opened, in which order, and when it may stop.
//!
//! Newest (or oldest) first, chunk by chunk; a chunk is left out by its time, its ids, or its
//! index. Past the budget the answer is what was found, and says up to where it is complete.
//! Pages are found here; what adds up all matches is `sweep`.

mod sweep;

use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering as Atomic};

use super::check::{Check, Scratch};
use super::field::Keys;
use super::plan::{self, Need};
use super::{Answer, Budget, Cursor, Explain, Order, Page, Query};
use crate::base::error::Result;
use crate::base::limits;
use crate::base::record::Record;
use crate::base::time::{TimeRange, Timestamp};
use crate::codec::ask::{Asked, Halt, Watch};
use crate::codec::{ChunkMeta, RowSet, Rows, Work};
use crate::store::{Chunk, Snapshot};

pub(super) use sweep::{Tally, count, unstarted};

/// Rows between two looks at the clock; few, since a row may be of a mebibyte.
const TICK_ROWS: u64 = 256;

/// Records of a page that are read at once: a page of huge ones is cut before all are in memory.
const FETCH_RECORDS: usize = 64;

/// Chunks that are asked at once for a page, at most.
const WAVE_CHUNKS: usize = 16;

/// Most threads of one query, so that others and the intake have cores too.
const THREADS_MAX: usize = 8;

/// How many threads look through so many chunks.
fn threads(chunks: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    cores.min(chunks).min(THREADS_MAX)
}

/// Rows of a chunk that are asked first for a page: it is full soon where matches are frequent.
const FIRST_ROWS: usize = 512;

/// The budget is spent, or nobody waits any more.
#[derive(Debug)]
pub(super) struct Spent;

/// The budget was spent at this time's key.
struct StoppedAt(i64);

/// Watches the budget from one thread.
pub(super) struct Meter<'b> {
    budget: &'b Budget,
    /// Rows of the chunks that were asked.
    pub(super) rows: u64,
    /// Since the last look at the clock.
    since: u64,
}

impl<'b> Meter<'b> {
    pub(super) fn new(budget: &'b Budget) -> Self {
        Self { budget, rows: 0, since: 0 }
    }

    /// Before something that takes long.
    fn look(&self) -> Result<(), Spent> {
        let late = self.budget.deadline.is_some_and(|at| self.budget.clock.monotonic() >= at);
        if late || self.budget.cancelled.load(Atomic::Relaxed) { Err(Spent) } else { Ok(()) }
    }

    /// Why it is spent, for people.
    fn why(&self) -> &'static str {
        if self.budget.cancelled.load(Atomic::Relaxed) {
            "the query was cancelled"
        } else {
            "the time budget of the query was spent"
        }
    }
}

impl Watch for Meter<'_> {
    fn worked(&mut self, rows: usize) -> Asked<()> {
        self.since += rows as u64;
        if self.since < TICK_ROWS {
            return Ok(());
        }
        self.since = 0;
        self.look().map_err(|Spent| Halt::Stopped)
    }
}

/// What was asked, or that the budget was spent meanwhile.
fn unless_spent<T>(asked: Asked<T>) -> Result<Result<T, Spent>> {
    match asked {
        Ok(answer) => Ok(Ok(answer)),
        Err(Halt::Stopped) => Ok(Err(Spent)),
        Err(Halt::Failed(error)) => Err(error),
    }
}

/// A query made ready for a snapshot.
pub(super) struct Plan {
    /// Those that may have a match, in the order of their first instants in `order`.
    chunks: Vec<Arc<dyn Chunk>>,
    order: Order,
    range: TimeRange,
    /// Later records are no part of the view.
    last_id: u64,
    check: Check,
    need: Need,
    pub(super) explain: Explain,
}

/// Reverses the order of what is compared, for newest first.
fn key(order: Order, time: Timestamp, id: u64) -> (i64, u64) {
    match order {
        Order::Asc => (time.0, id),
        Order::Desc => (!time.0, !id),
    }
}

/// The time of a key.
fn time_of(order: Order, key: i64) -> Timestamp {
    Timestamp(if order == Order::Asc { key } else { !key })
}

/// The key of the first instant of a chunk.
fn first_key(order: Order, meta: &ChunkMeta) -> i64 {
    match order {
        Order::Asc => meta.min_time.0,
        Order::Desc => !meta.max_time.0,
    }
}

/// The key of the last.
fn last_key(order: Order, meta: &ChunkMeta) -> i64 {
    match order {
        Order::Asc => meta.max_time.0,
        Order::Desc => !meta.min_time.0,
    }
}

/// Does any instant of the chunk lie in the range?
pub(super) fn overlaps(range: TimeRange, meta: &ChunkMeta) -> bool {
    meta.max_time >= range.from && (meta.min_time < range.to || range.to == Timestamp::MAX)
}

/// Do all of them, and is all of it part of the view?
fn is_inside(range: TimeRange, last_id: u64, meta: &ChunkMeta) -> bool {
    range.contains(meta.min_time) && range.contains(meta.max_time) && meta.last_id <= last_id
}

/// The largest id of a snapshot.
pub(super) fn last_id(snapshot: &Snapshot) -> u64 {
    snapshot.last_id().unwrap_or_default()
}

impl Plan {
    /// Looks up the names, and leaves out by time and id. `Err(Spent)`: nothing was done yet.
    pub(super) fn new(
        snapshot: &Snapshot,
        query: &Query,
        range: TimeRange,
        order: Order,
        last_id: u64,
        meter: &mut Meter<'_>,
    ) -> Result<Result<Self, Spent>> {
        let range = range.and(query.range);
        let mut chunks: Vec<Arc<dyn Chunk>> = snapshot
            .chunks()
            .iter()
            .filter(|c| overlaps(range, c.meta()) && c.meta().first_id <= last_id)
            .map(Arc::clone)
            .collect();
        chunks.sort_by_key(|c| first_key(order, c.meta()));
        let explain = Explain {
            query: query.to_string(),
            chunks: snapshot.chunks().len(),
            pruned_by_time: snapshot.chunks().len() - chunks.len(),
            ..Explain::default()
        };
        let mut plan =
            Self { chunks, order, range, last_id, check: Check::All, need: Need::Nothing, explain };
        let Ok(known) = plan.look_up(&query.tree, meter)? else { return Ok(Err(Spent)) };
        plan.check = plan::check(&query.tree, &|keys| Some(known.contains(keys)));
        plan.need = plan::need(&plan.check);
        let ids = plan::ids(&plan.check);
        let before = plan.chunks.len();
        plan.chunks.retain(|c| c.meta().first_id <= *ids.end() && c.meta().last_id >= *ids.start());
        plan.explain.pruned_by_index = before - plan.chunks.len();
        Ok(Ok(plan))
    }

    /// Which names that are neither built in nor an alias some record in the range has.
    fn look_up(
        &self,
        tree: &super::tree::Node,
        meter: &mut Meter<'_>,
    ) -> Result<Result<Vec<Keys>, Spent>> {
        let mut open = Vec::new();
        let mut known = Vec::new();
        plan::questions(tree, &mut open);
        for chunk in &self.chunks {
            if open.is_empty() {
                break;
            }
            let looked = self.look_up_in(&**chunk, &mut open, &mut known, meter);
            if told(&**chunk, looked)?.is_err() {
                return Ok(Err(Spent));
            }
        }
        Ok(Ok(known))
    }

    fn look_up_in(
        &self,
        chunk: &dyn Chunk,
        open: &mut Vec<Keys>,
        known: &mut Vec<Keys>,
        meter: &mut Meter<'_>,
    ) -> Result<Result<(), Spent>> {
        if meter.look().is_err() {
            return Ok(Err(Spent));
        }
        let rows = chunk.rows()?;
        // A chunk that lies in the range as a whole needs no look at its rows.
        let inside = is_inside(self.range, self.last_id, chunk.meta());
        let view = if inside { RowSet::none(0) } else { self.in_view(&*rows)? };
        let mut still = Vec::new();
        for keys in open.drain(..) {
            let named = |name: &str| keys.has(name);
            let has = rows.has_field(&named)?
                && (inside || {
                    let found = rows.with_field(&named, &view, meter, &mut |_| true);
                    let Ok(found) = unless_spent(found)? else { return Ok(Err(Spent)) };
                    !found.is_none()
                });
            if has { known.push(keys) } else { still.push(keys) }
        }
        *open = still;
        Ok(Ok(()))
    }

    /// The rows of a chunk that are in the range and in the view.
    fn in_view(&self, rows: &dyn Rows) -> Result<RowSet> {
        let (times, ids) = (rows.times()?, rows.ids()?);
        Ok(RowSet::of(rows.meta().rows, |row| {
            times.get(row).is_some_and(|time| self.range.contains(*time))
                && ids.get(row).is_some_and(|id| *id <= self.last_id)
        }))
    }

    /// Opens a chunk that may have a match.
    fn open(&self, chunk: &dyn Chunk) -> Result<Option<Arc<dyn Rows>>> {
        if self.need.may_be_in(chunk)? { chunk.rows().map(Some) } else { Ok(None) }
    }
}

/// Tells the store of damage that reading met, so that the next snapshot does without it.
fn told<T>(chunk: &dyn Chunk, read: Result<T>) -> Result<T> {
    read.inspect_err(|error| chunk.distrust(error))
}

/// See [`super::search`].
pub(super) fn search(
    snapshot: &Snapshot,
    query: &Query,
    range: TimeRange,
    order: Order,
    limit: usize,
    cursor: Option<Cursor>,
    budget: &Budget,
) -> Result<Answer<Page>> {
    let mut meter = Meter::new(budget);
    let before = Work::so_far();
    let last_id = cursor.map_or_else(|| last_id(snapshot), |c| c.last_id);
    let after = cursor.map(|c| key(order, c.time, c.id));
    let Ok(mut plan) = Plan::new(snapshot, query, range, order, last_id, &mut meter)? else {
        let start = cursor.unwrap_or_else(|| cursor_at(order, (i64::MIN, 0), last_id));
        let value = Page { records: Vec::new(), next: Some(start) };
        let explain = Explain { query: query.to_string(), rows: meter.rows, ..Explain::default() };
        let partial = Some(format!("{}: nothing was looked at", meter.why()));
        return Ok(Answer { value, partial, explain });
    };
    plan.explain.add(Work::so_far().since(before));
    let mut best = Best { heap: BinaryHeap::new(), room: limit.saturating_add(1) };
    let frontier = plan.collect(after, &mut best, &mut meter)?;
    plan.explain.rows = meter.rows;

    let mut hits = best.heap.into_sorted_vec();
    let mut next = None;
    if let Some(frontier) = frontier {
        hits.retain(|hit| hit.key.0 < frontier);
        // The next page goes on there, and never in front of where this one began.
        let key = (frontier, 0).max(after.unwrap_or((i64::MIN, 0)));
        next = Some(cursor_at(order, key, last_id));
    }
    if hits.len() > limit {
        hits.truncate(limit);
        next = hits.last().map(|hit| cursor_at(order, hit.key, last_id));
    }
    let partial = frontier.map(|at| {
        let side = if order == Order::Asc { "before" } else { "after" };
        format!("{}: complete {side} {}", meter.why(), time_of(order, at))
    });
    let before = Work::so_far();
    let records = plan.fetch(&hits, limits::ANSWER_BYTES_MAX)?;
    plan.explain.add(Work::so_far().since(before));
    if records.len() < hits.len() {
        let last = records.len().checked_sub(1).and_then(|n| hits.get(n));
        next = last.map(|hit| cursor_at(order, hit.key, last_id));
    }
    Ok(Answer { value: Page { records, next }, partial, explain: plan.explain })
}

/// Behind the record at `key`.
fn cursor_at(order: Order, key: (i64, u64), last_id: u64) -> Cursor {
    let id = if order == Order::Asc { key.1 } else { !key.1 };
    Cursor { time: time_of(order, key.0), id, last_id }
}

/// A record that was found: where it stands in the answer, and where it is.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Hit {
    key: (i64, u64),
    chunk: usize,
    row: usize,
}

/// The first so many hits so far; the last of them on top.
struct Best {
    heap: BinaryHeap<Hit>,
    room: usize,
}

impl Best {
    fn is_full(&self) -> bool {
        self.heap.len() >= self.room
    }

    /// Leaves the first of these hits, as many as there is room for.
    fn cut(&self, hits: &mut Vec<((i64, u64), usize)>) {
        if hits.len() > self.room {
            hits.select_nth_unstable(self.room);
            hits.truncate(self.room);
        }
    }

    /// Can a hit at `key` still be one of them?
    fn wants(&self, key: (i64, u64)) -> bool {
        !self.is_full() || self.heap.peek().is_some_and(|worst| key < worst.key)
    }

    fn add(&mut self, hit: Hit) {
        if self.is_full() {
            self.heap.pop();
        }
        self.heap.push(hit);
    }
}

/// What a chunk gave.
struct Gathered {
    /// Its first hits, as many as there is room for, in any order.
    hits: Vec<((i64, u64), usize)>,
    /// The budget was spent at this key.
    stopped: Option<i64>,
    /// It was left out by its index.
    pruned: bool,
    /// Rows that were asked about.
    rows: u64,
    work: Work,
}

impl Plan {
    /// Gathers hits behind `after`. `Some(key)`: the budget was spent, and only what lies in front
    /// of that time is complete.
    ///
    /// The first chunk alone: it mostly fills the page. Then more and more of them at once, on
    /// several threads: what is rare is looked for in many.
    fn collect(
        &mut self,
        after: Option<(i64, u64)>,
        best: &mut Best,
        meter: &mut Meter<'_>,
    ) -> Result<Option<i64>> {
        let (mut next, mut many) = (0, 1);
        while next < self.chunks.len() {
            let mut wave = Vec::new();
            while wave.len() < many
                && let Some(chunk) = self.chunks.get(next)
            {
                if !best.wants((first_key(self.order, chunk.meta()), 0)) {
                    next = self.chunks.len(); // nor can any later chunk
                    break;
                }
                let is_before = after.is_some_and(|a| last_key(self.order, chunk.meta()) < a.0);
                if !is_before {
                    wave.push(next); // else all of it was on the pages before
                }
                next += 1;
            }
            let mut frontier = None;
            for (n, gathered) in wave.iter().zip(self.gather(&wave, after, best, meter.budget)?) {
                self.explain.pruned_by_index += usize::from(gathered.pruned);
                self.explain.scanned += usize::from(!gathered.pruned);
                self.explain.add(gathered.work);
                meter.rows += gathered.rows;
                for (key, row) in gathered.hits {
                    if best.wants(key) {
                        best.add(Hit { key, chunk: *n, row });
                    }
                }
                frontier = frontier.into_iter().chain(gathered.stopped).min();
            }
            if let Some(key) = frontier {
                // Chunks that were not begun lie behind their first instants.
                let next = self.chunks.get(next);
                let next = next.map_or(i64::MAX, |c| first_key(self.order, c.meta()));
                return Ok(Some(key.min(next)));
            }
            many = (2 * many).min(WAVE_CHUNKS);
        }
        Ok(None)
    }

    /// Hits of some chunks, each asked as if it was the next.
    fn gather(
        &self,
        wave: &[usize],
        after: Option<(i64, u64)>,
        best: &Best,
        budget: &Budget,
    ) -> Result<Vec<Gathered>> {
        let threads = threads(wave.len());
        let taken = AtomicUsize::new(0);
        let work = || {
            let (mut meter, mut scratch) = (Meter::new(budget), Scratch::default());
            let mut done = Vec::new();
            while let at = taken.fetch_add(1, Atomic::Relaxed)
                && let Some(n) = wave.get(at)
            {
                done.push((at, self.gather_from(*n, after, best, &mut meter, &mut scratch)?));
            }
            Ok(done)
        };
        let mut all: Vec<(usize, Gathered)> = if threads <= 1 {
            work()?
        } else {
            let joined = std::thread::scope(|scope| {
                let spawned: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
                let joined = spawned.into_iter().map(|thread| match thread.join() {
                    Ok(done) => done,
                    Err(panic) => std::panic::resume_unwind(panic),
                });
                joined.collect::<Result<Vec<_>>>()
            });
            joined?.into_iter().flatten().collect()
        };
        all.sort_unstable_by_key(|(at, _)| *at);
        Ok(all.into_iter().map(|(_, gathered)| gathered).collect())
    }

    fn gather_from(
        &self,
        n: usize,
        after: Option<(i64, u64)>,
        best: &Best,
        meter: &mut Meter<'_>,
        scratch: &mut Scratch,
    ) -> Result<Gathered> {
        let (before, rows_before) = (Work::so_far(), meter.rows);
        let mut gathered =
            Gathered { hits: Vec::new(), stopped: None, pruned: false, rows: 0, work: before };
        let Some(chunk) = self.chunks.get(n) else { return Ok(gathered) };
        if meter.look().is_err() {
            gathered.stopped = Some(first_key(self.order, chunk.meta()));
        } else if let Some(rows) = told(&**chunk, self.open(&**chunk))? {
            let found = self.collect_from(&*rows, after, best, meter, scratch, &mut gathered.hits);
            gathered.stopped = told(&**chunk, found)?.err().map(|StoppedAt(key)| key);
        } else {
            gathered.pruned = true;
        }
        gathered.rows = meter.rows - rows_before;
        gathered.work = Work::so_far().since(before);
        Ok(gathered)
    }

    fn collect_from(
        &self,
        rows: &dyn Rows,
        after: Option<(i64, u64)>,
        best: &Best,
        meter: &mut Meter<'_>,
        scratch: &mut Scratch,
        hits: &mut Vec<((i64, u64), usize)>,
    ) -> Result<Result<(), StoppedAt>> {
        if best.heap.is_empty() && self.explain.scanned > 0 {
            // Nothing was found yet, so it is rare.
            let first = first_key(self.order, rows.meta());
            let inside = is_inside(self.range, self.last_id, rows.meta());
            let all = || RowSet::all(rows.meta().rows);
            let among = if inside { all() } else { self.in_view(rows)? };
            meter.rows += among.count() as u64;
            let found = self.check.select(rows, &among, meter, scratch);
            let Ok(found) = unless_spent(found)? else { return Ok(Err(StoppedAt(first))) };
            if found.is_none() {
                return Ok(Ok(()));
            }
            let candidates = self.candidates(rows, after, best)?;
            hits.extend(candidates.into_iter().filter(|(_, row)| found.contains(*row)));
            best.cut(hits);
            return Ok(Ok(()));
        }
        let mut candidates = self.candidates(rows, after, best)?;
        let many = FIRST_ROWS.max(best.room).min(candidates.len());
        if many < candidates.len() {
            candidates.select_nth_unstable(many);
        }
        // Where matches are frequent the page is full soon; what is rare is looked for in all.
        let (head, tail) = candidates.split_at_mut(many);
        for part in [&*head, &*tail] {
            let first = part.iter().map(|(key, _)| *key).min();
            // All hits so far lie in front of it.
            let in_front = |key| best.heap.iter().filter(|hit| hit.key < key).count() + hits.len();
            let Some(first) = first.filter(|key| in_front(*key) < best.room) else { continue };
            let among = RowSet::from_rows(rows.meta().rows, part.iter().map(|(_, row)| *row));
            meter.rows += part.len() as u64;
            let found = self.check.select(rows, &among, meter, scratch);
            let Ok(found) = unless_spent(found)? else { return Ok(Err(StoppedAt(first.0))) };
            if !found.is_none() {
                hits.extend(part.iter().filter(|(_, row)| found.contains(*row)).copied());
            }
            best.cut(hits);
        }
        Ok(Ok(()))
    }

    /// The rows of a chunk that may be in the answer.
    fn candidates(
        &self,
        rows: &dyn Rows,
        after: Option<(i64, u64)>,
        best: &Best,
    ) -> Result<Vec<((i64, u64), usize)>> {
        let mut found = Vec::new();
        for (row, (time, id)) in rows.times()?.iter().zip(rows.ids()?).enumerate() {
            let key = key(self.order, *time, *id);
            let in_view = *id <= self.last_id && self.range.contains(*time);
            if in_view && after.is_none_or(|a| key > a) && best.wants(key) {
                found.push((key, row));
            }
        }
        Ok(found)
    }

    /// The records of hits, as many of them as weigh `bytes_max`, but one at least.
    fn fetch(&self, hits: &[Hit], bytes_max: usize) -> Result<Vec<Arc<Record>>> {
        let mut records = Vec::with_capacity(hits.len());
        let mut bytes = 0;
        for hits in hits.chunks(FETCH_RECORDS) {
            for record in self.fetch_all(hits)? {
                bytes += record.weight();
                if bytes > bytes_max && !records.is_empty() {
                    return Ok(records);
                }
                records.push(record);
            }
        }
        Ok(records)
    }

    /// The records of hits, each chunk opened once.
    fn fetch_all(&self, hits: &[Hit]) -> Result<Vec<Arc<Record>>> {
        let mut places: Vec<(usize, usize, usize)> =
            hits.iter().enumerate().map(|(n, hit)| (hit.chunk, hit.row, n)).collect();
        places.sort_unstable();
        let mut records: Vec<(usize, Arc<Record>)> = Vec::with_capacity(hits.len());
        for same in places.chunk_by(|a, b| a.0 == b.0) {
            let Some(chunk) = same.first().and_then(|p| self.chunks.get(p.0)) else { continue };
            let rows = told(&**chunk, chunk.rows())?;
            let wanted = RowSet::from_rows(chunk.meta().rows, same.iter().map(|p| p.1));
            let read = told(&**chunk, rows.records(&wanted))?;
            // The places are sorted by row as well.
            records.extend(same.iter().map(|p| p.2).zip(read));
        }
        records.sort_unstable_by_key(|r| r.0);
        Ok(records.into_iter().map(|r| r.1).collect())
    }
}
