//! A sweep: every match of a query visited once, on several threads, and what is added up of it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering as Atomic};
use std::sync::{Mutex, PoisonError};

use super::{
    Meter, Plan, Spent, first_key, is_inside, last_id, threads, time_of, told, unless_spent,
};
use crate::base::error::Result;
use crate::base::time::TimeRange;
use crate::codec::ask::{Asked, Watch};
use crate::codec::{ChunkMeta, RowSet, Rows, Work};
use crate::query::check::{Check, Scratch};
use crate::query::{Answer, Budget, Explain, Order, Query};
use crate::store::{Chunk, Snapshot};

/// What a sweep over all matches adds up, one for each thread.
pub(in crate::query) trait Tally: Send {
    /// All rows of a chunk match; `false` where the chunk must be opened for that.
    fn whole(&mut self, meta: &ChunkMeta) -> bool;
    /// These rows of a chunk match; nothing may be added where it is stopped.
    fn rows(&mut self, rows: &dyn Rows, found: &RowSet, watch: &mut dyn Watch) -> Asked<()>;
}

/// What a sweep says besides its tallies.
pub(in crate::query) struct Swept<T> {
    pub(in crate::query) tallies: Vec<T>,
    pub(in crate::query) partial: Option<String>,
}

impl Plan {
    /// Visits every match, on several threads where there are several chunks.
    pub(in crate::query) fn sweep<T: Tally>(
        &mut self,
        make: impl Fn() -> T + Sync,
        meter: &mut Meter<'_>,
    ) -> Result<Swept<T>> {
        let threads = threads(self.chunks.len());
        let shared = Shared {
            next: AtomicUsize::new(0),
            spent: AtomicBool::new(false),
            unfinished: Mutex::new(Vec::new()),
        };
        let (plan, shared_ref, make_ref) = (&*self, &shared, &make);
        let budget = meter.budget;
        let work = move || {
            let mut worker = Worker {
                tally: make_ref(),
                meter: Meter::new(budget),
                explain: Explain::default(),
            };
            let before = Work::so_far();
            worker.run(plan, shared_ref)?;
            worker.explain.add(Work::so_far().since(before));
            Ok(worker)
        };
        let workers: Vec<Result<Worker<'_, T>>> = if threads <= 1 {
            vec![work()]
        } else {
            std::thread::scope(|scope| {
                let spawned: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
                let joined = spawned.into_iter().map(|thread| match thread.join() {
                    Ok(done) => done,
                    Err(panic) => std::panic::resume_unwind(panic),
                });
                joined.collect()
            })
        };
        let mut tallies = Vec::with_capacity(workers.len());
        for worker in workers {
            let worker = worker?;
            meter.rows += worker.meter.rows;
            self.explain.scanned += worker.explain.scanned;
            self.explain.pruned_by_index += worker.explain.pruned_by_index;
            self.explain.columns += worker.explain.columns;
            self.explain.bytes += worker.explain.bytes;
            self.explain.rebuilt += worker.explain.rebuilt;
            tallies.push(worker.tally);
        }
        self.explain.rows = meter.rows;
        let open = shared.unfinished.into_inner().unwrap_or_else(PoisonError::into_inner);
        let next = shared.next.load(Atomic::Relaxed);
        let left = if shared.spent.load(Atomic::Relaxed) { self.chunks.get(next..) } else { None };
        let left = left.unwrap_or_default().iter().map(|c| first_key(self.order, c.meta()));
        let frontier = open.into_iter().chain(left).min();
        let partial = frontier.map(|at| {
            let side = if self.order == Order::Asc { "before" } else { "after" };
            format!("{}: complete {side} {}", meter.why(), time_of(self.order, at))
        });
        Ok(Swept { tallies, partial })
    }
}

/// What the threads of a sweep share.
struct Shared {
    /// The chunk that nobody has taken yet.
    next: AtomicUsize,
    spent: AtomicBool,
    /// Keys of chunks that were begun and not finished.
    unfinished: Mutex<Vec<i64>>,
}

struct Worker<'b, T> {
    tally: T,
    meter: Meter<'b>,
    explain: Explain,
}

impl<T: Tally> Worker<'_, T> {
    fn run(&mut self, plan: &Plan, shared: &Shared) -> Result<()> {
        let mut scratch = Scratch::default();
        while !shared.spent.load(Atomic::Relaxed) {
            let Some(chunk) = plan.chunks.get(shared.next.fetch_add(1, Atomic::Relaxed)) else {
                break;
            };
            let swept = self.chunk(plan, &**chunk, &mut scratch);
            if let Err(Spent) = told(&**chunk, swept)? {
                shared.spent.store(true, Atomic::Relaxed);
                let mut open = shared.unfinished.lock().unwrap_or_else(PoisonError::into_inner);
                open.push(first_key(plan.order, chunk.meta()));
            }
        }
        Ok(())
    }

    fn chunk(
        &mut self,
        plan: &Plan,
        chunk: &dyn Chunk,
        scratch: &mut Scratch,
    ) -> Result<Result<(), Spent>> {
        if self.meter.look().is_err() {
            return Ok(Err(Spent));
        }
        let inside = is_inside(plan.range, plan.last_id, chunk.meta());
        if inside && matches!(plan.check, Check::All) && self.tally.whole(chunk.meta()) {
            return Ok(Ok(()));
        }
        let Some(rows) = plan.open(chunk)? else {
            self.explain.pruned_by_index += 1;
            return Ok(Ok(()));
        };
        self.explain.scanned += 1;
        let among = if inside { RowSet::all(chunk.meta().rows) } else { plan.in_view(&*rows)? };
        self.meter.rows += among.count() as u64;
        let found = plan.check.select(&*rows, &among, &mut self.meter, scratch);
        let Ok(found) = unless_spent(found)? else { return Ok(Err(Spent)) };
        let whole = found.is_all() && self.tally.whole(chunk.meta());
        if whole || found.is_none() {
            return Ok(Ok(()));
        }
        unless_spent(self.tally.rows(&*rows, &found, &mut self.meter))
    }
}

/// Counts.
struct Counter(u64);

impl Tally for Counter {
    fn whole(&mut self, meta: &ChunkMeta) -> bool {
        self.0 += meta.rows as u64;
        true
    }
    fn rows(&mut self, _: &dyn Rows, found: &RowSet, _: &mut dyn Watch) -> Asked<()> {
        self.0 += found.count() as u64;
        Ok(())
    }
}

/// See [`super::count`].
pub(in crate::query) fn count(
    snapshot: &Snapshot,
    query: &Query,
    range: TimeRange,
    budget: &Budget,
) -> Result<Answer<u64>> {
    let mut meter = Meter::new(budget);
    let last = last_id(snapshot);
    let Ok(mut plan) = Plan::new(snapshot, query, range, Order::Desc, last, &mut meter)? else {
        return Ok(unstarted(0, query, &meter));
    };
    let swept = plan.sweep(|| Counter(0), &mut meter)?;
    let value = swept.tallies.iter().map(|t| t.0).sum();
    Ok(Answer { value, partial: swept.partial, explain: plan.explain })
}

/// The answer where not even the names could be looked up in time.
pub(in crate::query) fn unstarted<T>(value: T, query: &Query, meter: &Meter<'_>) -> Answer<T> {
    let explain = Explain { query: query.to_string(), rows: meter.rows, ..Explain::default() };
    Answer { value, partial: Some(format!("{}: nothing was counted", meter.why())), explain }
}
