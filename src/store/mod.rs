//! Records on disk, for ever: write-ahead log, live part, sealed segments, catalogue.
//!
//! Floor 2. *Invariant:* knows no tokio, no HTTP, no query text. The only folder that writes files.

pub mod live;

use std::path::PathBuf;
use std::sync::Arc;

use crate::base::error::Result;
use crate::base::machine::{Clock, Disk};
use crate::base::metrics::Metrics;
use crate::base::record::Record;
use crate::base::time::Timestamp;
use crate::codec::{ChunkMeta, Rows};

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
    /// Free bytes below which nothing is accepted.
    pub free_floor_bytes: u64,
    /// Sees every accepted batch.
    pub on_commit: CommitHook,
    /// Where it counts.
    pub metrics: Arc<Metrics>,
}

/// The store of one data directory; one a process.
pub struct Store {}

impl Store {
    /// Locks the directory, reads the catalogue, replays the log.
    pub fn open(options: Options, disk: Arc<dyn Disk>, clock: Arc<dyn Clock>) -> Result<Arc<Self>> {
        drop((options, disk, clock));
        unimplemented!("lead: store")
    }

    /// Hands a batch to the log's writer and returns at once. Batches of one caller keep their
    /// order. Bounding what waits is the caller's (`ingest::Intake`).
    pub fn append(&self, records: Vec<Record>, done: Done) {
        drop((records, done));
        unimplemented!("lead: store")
    }

    /// What is visible now; later appends, seals and merges do not change it.
    pub fn snapshot(&self) -> Snapshot {
        unimplemented!("lead: store")
    }

    /// Closes what is open into segments and waits; with `merge`, until no merge is due. How many
    /// segments there are then.
    pub fn seal(&self, merge: bool) -> Result<usize> {
        let _ = merge;
        unimplemented!("lead: store")
    }

    /// Writes and syncs what waits, then stops all threads. Later appends answer `Closed`.
    pub fn close(&self) -> Result<()> {
        unimplemented!("lead: store")
    }

    /// Figures for the status page and metrics.
    pub fn status(&self) -> Status {
        unimplemented!("lead: store")
    }

    /// Every (host, app) that is kept, with its counts.
    pub fn sources(&self) -> Vec<Source> {
        unimplemented!("lead: store")
    }
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

/// A consistent view: parts that do not change.
#[derive(Clone)]
pub struct Snapshot {
    chunks: Arc<Vec<Arc<dyn Chunk>>>,
}

impl Snapshot {
    /// From its chunks, ids rising.
    pub fn new(chunks: Vec<Arc<dyn Chunk>>) -> Self {
        Self { chunks: Arc::new(chunks) }
    }

    /// All chunks; ids rise from one to the next (their times may overlap).
    pub fn chunks(&self) -> &[Arc<dyn Chunk>] {
        &self.chunks
    }

    /// One record.
    pub fn record(&self, id: u64) -> Result<Option<Arc<Record>>> {
        let n = self.chunks.partition_point(|c| c.meta().last_id < id);
        let Some(chunk) = self.chunks.get(n).filter(|c| c.meta().first_id <= id) else {
            return Ok(None);
        };
        let rows = chunk.rows()?;
        match rows.ids()?.binary_search(&id) {
            Ok(row) => rows.record(row).map(Some),
            Err(_) => Ok(None),
        }
    }
}

/// A key that every match of a query must hold; see `base::split` for what each is cut from.
#[derive(Clone, Debug, PartialEq, Eq)]
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
}
