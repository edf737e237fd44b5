//! Records on disk, for ever: write-ahead log, live part, sealed segments, catalogue.
//!
//! Floor 2. *Invariant:* knows no tokio, no HTTP, no query text. The only folder that writes files.
//!
//! ```text
//!  append ──> queue ──> writer thread ──> log (one sync for all that wait) ──> live ──> done
//!                                                                               │ full, or seal()
//!  snapshot <── live + frozen + segments <── ledger <── sealer thread <── frozen
//!                                               ^
//!               small segments ──> merger thread ┘
//! ```
//!
//! Three threads, all asleep when nothing happens. *Order of things:* a record is in the log and
//! synced before it is visible, visible before its `done` is called, in a synced and catalogued
//! segment before its log file goes. A snapshot shares what it shows; nobody waits for a query.
//!
//! | file | noun |
//! |---|---|
//! | `open` | what is found on disk, and what becomes of each piece of it |
//! | `append` | the writer thread: ids, log, live, answers |
//! | `log` | the write-ahead log |
//! | `live` | the newest records |
//! | `seal` | the sealer thread: frozen part to segments; looks at what is damaged |
//! | `merge` | the merger thread: small segments to large ones |
//! | `cut` | by day into segments, by size into chunks |
//! | `segment` | one immutable file |
//! | `sealed` | a segment as a snapshot shows it |
//! | `snapshot` | what a reader sees: chunks of all parts, in the order of ids |
//! | `class` | which records are kept equally long |
//! | `retention` | the keeper thread: what has had its time, or its room, goes |
//! | `chunk_index` | which chunks can hold a word |
//! | `catalog` | which segments there are |
//! | `manifest` | every change of them, hash-chained |
//! | `ledger` | the one door by which they change |
//! | `sources` | who sent how much |
//! | `cache` | what queries have open |
//! | `verify` | reads everything and says what is damaged |
//! | `wire` | numbers and texts as bytes |
#![doc = include_str!("FORMAT.md")]

mod append;
mod cache;
mod catalog;
mod chunk_index;
mod class;
mod cut;
mod ledger;
pub mod live;
mod log;
mod manifest;
mod merge;
mod open;
mod retention;
mod seal;
mod sealed;
mod segment;
mod snapshot;
mod sources;
#[cfg(test)]
mod tests;
pub mod verify;
mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;

use crate::base::error::{Error, Refusal, Result};
use crate::base::machine::{Clock, Disk};
use crate::base::metrics::Metrics;
use crate::base::record::Record;
use crate::base::time::Timestamp;
use crate::codec::{ChunkMeta, Rows};
use crate::config::{Retention, Storage};
use crate::store::append::{Task, Writer};
use crate::store::catalog::Catalog;
use crate::store::class::Classes;
use crate::store::cut::Day;
use crate::store::ledger::Ledger;
use crate::store::live::Part;
use crate::store::merge::{Bounds, Merger, Merging};
use crate::store::open::Dirs;
use crate::store::retention::{Keeper, Terms};
use crate::store::seal::{Sealer, sources_of};
use crate::store::sealed::{Access, Lost, Segment};
pub use crate::store::snapshot::{InOrder, Snapshot};
use crate::store::sources::Sources;

/// Called with every batch once it is durable and visible, in the order of ids.
pub type CommitHook = Box<dyn Fn(&[Arc<Record>]) + Send + Sync>;

/// Called exactly once for each [`Store::append`]: the batch is durable, or will never be.
pub type Done = Box<dyn FnOnce(Result<()>) + Send>;

/// How a store is opened.
pub struct Options {
    /// Everything is below it.
    pub data_dir: PathBuf,
    /// Weight of the live part at which it is sealed, bytes.
    pub live_bytes_max: usize,
    /// `[storage]`: how much room it may take.
    pub storage: Storage,
    /// `[[retention]]`: classes of records and how long they are kept, in the order in which they
    /// are tried.
    pub retention: Vec<Retention>,
    /// Sees every accepted batch.
    pub on_commit: CommitHook,
    /// Where it counts.
    pub metrics: Arc<Metrics>,
}

/// The store of one data directory; one a process.
pub struct Store {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Held until the threads have ended.
    lock: Mutex<Option<Box<dyn Send + Sync>>>,
}

/// Name of the thread that merges.
const MERGER: &str = "store-merge";

/// What the callers and the threads share.
struct Shared {
    dirs: Dirs,
    disk: Arc<dyn Disk>,
    metrics: Arc<Metrics>,
    live_bytes_max: usize,
    free_floor_bytes: u64,
    classes: Classes,
    access: Arc<Access>,
    merge_bounds: Bounds,
    queue: Mutex<Queue>,
    queued: Condvar,
    state: Mutex<State>,
    changed: Condvar,
    /// Never asked for while `state` is held.
    ledger: Mutex<Ledger>,
}

/// What waits for the writer.
#[derive(Default)]
struct Queue {
    tasks: VecDeque<Task>,
    closing: bool,
}

/// What is kept, and how it stands with it.
#[derive(Default)]
struct State {
    catalog: Catalog,
    /// Those of the catalogue, in its order.
    segments: Vec<Arc<Segment>>,
    /// What was in segments that were set aside or found missing, since the start.
    lost: Vec<ChunkMeta>,
    /// How often they changed.
    generation: u64,
    /// What they say of their sources together; `None` until somebody asks.
    sources: Option<Sources>,
    /// Full parts that wait to be sealed, oldest first.
    frozen: VecDeque<Arc<Part>>,
    live: Part,
    /// The last snapshot, while nothing changed.
    shown: Option<Snapshot>,
    /// Chunks of all segments and frozen parts, first ids rising, while these are the same.
    closed: Option<Vec<Arc<dyn Chunk>>>,
    /// Parts that were ever frozen, and how many of them are segments.
    frozen_count: u64,
    sealed_count: u64,
    sealing: Sealing,
    merging: Merging,
    /// Day of arrival of the newest record, where there was one since the start.
    day: Option<Day>,
    /// Numbers of segments in which damage was met.
    suspects: Vec<u64>,
    /// Bytes of each log file.
    log_bytes: BTreeMap<u64, u64>,
    quarantined: u64,
    /// Free bytes when the disk was last too full to append.
    full_at: Option<u64>,
    /// The clock has leapt ahead and is not believed yet.
    clock_doubted: bool,
    poisoned: bool,
    closing: bool,
}

/// How sealing goes.
#[derive(Default)]
struct Sealing {
    /// Attempts that failed.
    failures: u64,
    /// The last of them, for the next `seal` that waits.
    failure: Option<Error>,
    /// The last attempt failed, and why nothing more can be taken if it goes on.
    stuck: Option<Refusal>,
    /// An attempt goes on.
    running: bool,
    /// Somebody asks not to wait for the next attempt.
    retry_now: bool,
}

impl State {
    /// Other segments are shown from now on.
    fn changed_segments(&mut self) {
        self.generation += 1;
        self.changed_parts();
    }

    /// Other segments or frozen parts are shown from now on.
    fn changed_parts(&mut self) {
        self.shown = None;
        self.closed = None;
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Locks the directory, reads the catalogue, replays the log.
    pub fn open(options: Options, disk: Arc<dyn Disk>, clock: Arc<dyn Clock>) -> Result<Arc<Self>> {
        Self::open_bounded(options, disk, clock, Bounds::default())
    }

    /// With merges of another size.
    fn open_bounded(
        options: Options,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        merge_bounds: Bounds,
    ) -> Result<Arc<Self>> {
        let (storage, terms) = (options.storage, Terms::new(&options.retention));
        let opened = open::open(options, disk, &clock, merge_bounds)?;
        let shared = Arc::clone(&opened.shared);
        let (writer, sealer) = (opened.writer, Sealer::new(Arc::clone(&shared)));
        let merger = Merger::new(Arc::clone(&shared));
        let keeper = Keeper::new(Arc::clone(&shared), clock, storage, terms);
        let store = Arc::new(Self {
            shared,
            threads: Mutex::default(),
            lock: Mutex::new(Some(opened.lock)),
        });
        let keeper = keeper.map(|keeper| spawn("store-keep", move || Keeper::run(keeper)));
        let threads = [
            spawn("store-log", move || Writer::run(writer)),
            spawn("store-seal", move || Sealer::run(sealer)),
            spawn(MERGER, move || Merger::run(merger)),
        ];
        for thread in threads.into_iter().chain(keeper) {
            match thread {
                Ok(thread) => store.threads().push(thread),
                Err(error) => {
                    store.close()?;
                    return Err(Error::io(
                        "start a thread for",
                        store.shared.dirs.data.clone(),
                        error,
                    ));
                }
            }
        }
        Ok(store)
    }

    /// Hands a batch to the log's writer and returns at once. Batches of one caller keep their
    /// order. Bounding what waits is the caller's (`ingest::Intake`).
    pub fn append(&self, records: Vec<Record>, done: Done) {
        let weight = records.iter().map(Record::weight).sum();
        self.append_weighed(records, weight, done);
    }

    /// As [`Self::append`], where the sum of [`Record::weight`] is known already.
    pub fn append_weighed(&self, records: Vec<Record>, weight: usize, done: Done) {
        let task = Task::Append { records, weight, done };
        if let Some(Task::Append { done, .. }) = self.enqueue(task) {
            done(Err(Error::Closed));
        }
    }

    /// Gives the task back where the store is closing.
    fn enqueue(&self, task: Task) -> Option<Task> {
        let mut queue = self.shared.queue();
        if queue.closing {
            return Some(task);
        }
        queue.tasks.push_back(task);
        drop(queue);
        self.shared.queued.notify_one();
        None
    }

    /// What is visible now; later appends, seals and merges do not change it.
    pub fn snapshot(&self) -> Snapshot {
        let mut guard = self.shared.state();
        let state = &mut *guard;
        if let Some(shown) = &state.shown {
            return shown.clone();
        }
        // What does not grow is the same from commit to commit.
        let closed = state.closed.get_or_insert_with(|| {
            let sealed = state.segments.iter().flat_map(Segment::chunks);
            let mut chunks: Vec<Arc<dyn Chunk>> = sealed.collect();
            chunks.extend(state.frozen.iter().flat_map(|part| part.pieces()));
            let lost = state.lost.iter().cloned();
            chunks.extend(lost.map(|meta| Arc::new(Lost(meta)) as Arc<dyn Chunk>));
            chunks.sort_by_key(|chunk| chunk.meta().first_id);
            chunks
        });
        let live: Vec<Arc<dyn Chunk>> = state.live.chunks().collect();
        let mut chunks = Vec::with_capacity(closed.len() + live.len());
        chunks.extend(closed.iter().cloned());
        chunks.extend(live);
        let snapshot = Snapshot::new(chunks);
        state.shown = Some(snapshot.clone());
        snapshot
    }

    /// Closes what is open into segments and waits; with `merge`, until no merge is due, the day that
    /// still grows taken as over. How many segments there are then.
    pub fn seal(&self, merge: bool) -> Result<usize> {
        let (reply, frozen) = mpsc::channel();
        if self.enqueue(Task::Freeze { reply }).is_some() {
            return Err(Error::Closed);
        }
        let target = frozen.recv().map_err(|_| Error::Closed)??;
        let mut state = self.shared.state();
        // An attempt that goes on now may know nothing of room that has returned since.
        let failures = state.sealing.failures + u64::from(state.sealing.running);
        state.sealing.retry_now = true;
        self.shared.changed.notify_all();
        loop {
            if state.sealed_count >= target {
                break;
            }
            if state.closing {
                return Err(Error::Closed);
            }
            if state.sealing.failures > failures {
                let refusal = state.sealing.stuck.unwrap_or(Refusal::QueueFull);
                return Err(state.sealing.failure.take().unwrap_or(Error::Busy(refusal)));
            }
            state = self.shared.wait(state);
        }
        if merge {
            state.merging.asked = true;
            state.merging.asks += 1;
            state.merging.failure = None;
            self.shared.changed.notify_all();
            while state.merging.asked {
                if state.closing {
                    return Err(Error::Closed);
                }
                state = self.shared.wait(state);
            }
            if let Some(failure) = state.merging.failure.take() {
                return Err(failure);
            }
        }
        Ok(state.segments.len())
    }

    /// Writes and syncs what waits, then stops all threads. Later appends answer `Closed`.
    pub fn close(&self) -> Result<()> {
        self.shared.queue().closing = true;
        self.shared.queued.notify_all();
        self.shared.state().closing = true;
        self.shared.changed.notify_all();
        let own = std::thread::current().id();
        let threads = std::mem::take(&mut *self.threads());
        let mut died = false;
        for thread in threads {
            // A merge that computes touches no file any more; it may end when it likes.
            let ends = thread.thread().name() != Some(MERGER) || self.shared.merging_ends();
            // The last owner of a store may be a `done` on one of its own threads.
            if ends && thread.thread().id() != own {
                died |= thread.join().is_err();
            }
        }
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if died || self.shared.state().poisoned { Err(Error::Poisoned) } else { Ok(()) }
    }

    fn threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Figures for the status page and metrics.
    pub fn status(&self) -> Status {
        let free_bytes = self.shared.disk.free_bytes(&self.shared.dirs.data).unwrap_or_default();
        let state = self.shared.state();
        let live_records =
            state.live.records + state.frozen.iter().map(|part| part.records).sum::<u64>();
        let sealed = &state.catalog.segments;
        let floor = self.shared.free_floor_bytes;
        let full = if free_bytes < floor {
            Some(Refusal::BelowFloor { free: free_bytes, floor })
        } else {
            state.full_at.filter(|then| free_bytes <= *then).map(|_| Refusal::DiskFull)
        };
        let waiting = state.live.weight >= self.shared.live_bytes_max;
        let stuck = state.sealing.stuck.filter(|_| waiting);
        Status {
            segments: sealed.len(),
            segment_bytes: sealed.iter().map(|s| s.len).sum(),
            log_bytes: state.log_bytes.values().sum(),
            records: live_records + sealed.iter().map(segment::SegmentMeta::records).sum::<u64>(),
            live_records,
            free_bytes,
            refusing: full.or(stuck),
            poisoned: state.poisoned,
            quarantined: state.quarantined,
            damaged_records: state.segments.iter().map(|s| s.damaged_records()).sum::<u64>()
                + state.lost.iter().map(|chunk| chunk.rows as u64).sum::<u64>(),
            clock_doubted: state.clock_doubted,
        }
    }

    /// Every (host, app) that is kept, with its counts; beyond `limits::SOURCES_MAX` pairs, the
    /// later ones together as `(other)`.
    pub fn sources(&self) -> Vec<Source> {
        loop {
            let mut state = self.shared.state();
            if let Some(sealed) = &state.sources {
                let mut all = sealed.clone();
                for part in &state.frozen {
                    all.merge(&part.sources);
                }
                all.merge(&state.live.sources);
                drop(state);
                return all.list();
            }
            // The first to ask after a start, or after something was dropped, reads the segments.
            let (segments, generation) = (state.segments.clone(), state.generation);
            drop(state);
            let sealed = sources_of(&segments, &*self.shared.disk);
            state = self.shared.state();
            if state.generation == generation {
                state.sources = Some(sealed);
            }
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Whoever wants to know how it ended calls `close` before.
        drop(self.close());
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run)
}

/// Figures of the moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// Sealed segments.
    pub segments: usize,
    /// Bytes of segments on disk.
    pub segment_bytes: u64,
    /// Bytes of log on disk.
    pub log_bytes: u64,
    /// Records that are visible.
    pub records: u64,
    /// Records in the live part.
    pub live_records: u64,
    /// Free bytes on the disk.
    pub free_bytes: u64,
    /// Why nothing is accepted, if so.
    pub refusing: Option<crate::base::error::Refusal>,
    /// A sync failed; nothing is accepted until restart.
    pub poisoned: bool,
    /// Files that were set aside because they are damaged.
    pub quarantined: u64,
    /// Records that are left out because they are damaged, or in segments that are lost, as far as
    /// that was met since the start.
    pub damaged_records: u64,
    /// The clock has leapt ahead; until it is believed, ages count as before.
    pub clock_doubted: bool,
}

/// What is kept of one host and app.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Host.
    pub host: Arc<str>,
    /// App.
    pub app: Arc<str>,
    /// Smallest `received`.
    pub first: Timestamp,
    /// Largest `received`.
    pub last: Timestamp,
    /// Records.
    pub records: u64,
    /// Bytes of their lines.
    pub bytes: u64,
    /// Records with a defect.
    pub defects: u64,
}

/// A key that every match of a query must hold; see `base::split` for what each is cut from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// Folded letters that must stand inside one letter run of the chunk.
    Letters(String),
    /// A folded whole token.
    Token(String),
}

/// Some thousand records, live or sealed; opened only where needed.
pub trait Chunk: Send + Sync {
    /// Known without reading.
    fn meta(&self) -> &ChunkMeta;
    /// `false` only where no record of the chunk can hold the key.
    fn may_hold(&self, key: &Key) -> Result<bool>;
    /// Opens it, from the cache where it is there.
    fn rows(&self) -> Result<Arc<dyn Rows>>;
    /// Told by a reader that met damage in its rows: from then on it is damaged, and the store looks
    /// at the file. (What `rows` and `may_hold` meet, it knows.)
    fn distrust(&self, _error: &Error) {}
    /// Was damage met in it? Then it answers for nothing, and whoever asks is told so.
    fn is_damaged(&self) -> bool {
        false
    }
}
