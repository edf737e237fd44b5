//! The newest records, as plain records: searchable the moment they are durable.
//!
//! A [`Part`] grows batch by batch; every few thousand records become a [`LiveChunk`], which never
//! changes and is the same to a scan as a chunk of a segment. A commit costs what the batch costs,
//! a snapshot the pointers of the last piece, neither what is live.

use std::borrow::Cow;
use std::sync::Arc;

use crate::base::error::{Error, Result};
use crate::base::limits::LIVE_CHUNK_ROWS_MAX;
use crate::base::record::{Record, Severity};
use crate::base::time::Timestamp;
use crate::base::value::Field;
use crate::codec::{ChunkMeta, Rows};
use crate::store::sources::Sources;
use crate::store::{Chunk, Key};

/// A log file that holds records of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LogFile {
    /// Its number.
    pub(super) seq: u64,
    /// Damage was met in it: it is set aside, not removed, once its records are sealed.
    pub(super) damaged: bool,
}

/// Records that are in the log and not yet in a segment.
#[derive(Debug, Default)]
pub(super) struct Part {
    pieces: Vec<Arc<LiveChunk>>,
    /// The newest, fewer than a piece.
    open: Vec<Arc<Record>>,
    /// `open` as a chunk, until it grows.
    shown: Option<Arc<LiveChunk>>,
    /// Sum of [`Record::weight`].
    pub(super) weight: usize,
    /// How many.
    pub(super) records: u64,
    /// Who sent them.
    pub(super) sources: Sources,
    /// The log files that hold them, and nothing else.
    pub(super) logs: Vec<LogFile>,
}

impl Part {
    /// Adds records whose ids are above all that it holds; `weight`: of all of them.
    pub(super) fn push(&mut self, records: &[Arc<Record>], weight: usize) {
        self.shown = None;
        self.weight += weight;
        self.sources.count_all(records);
        for record in records {
            self.open.push(Arc::clone(record));
            if self.open.len() >= LIVE_CHUNK_ROWS_MAX {
                self.pieces.extend(LiveChunk::new(std::mem::take(&mut self.open)));
            }
        }
        self.records += records.len() as u64;
    }

    /// Notes a log file; the same one again changes nothing.
    pub(super) fn note_log(&mut self, file: LogFile) {
        if !self.logs.iter().any(|f| f.seq == file.seq) {
            self.logs.push(file);
        }
    }

    /// All of it as chunks, ids rising.
    pub(super) fn chunks(&mut self) -> impl Iterator<Item = Arc<dyn Chunk>> + '_ {
        if self.shown.is_none() {
            self.shown = LiveChunk::new(self.open.clone());
        }
        let all = self.pieces.iter().chain(&self.shown);
        all.map(|chunk| Arc::new(Live(Arc::clone(chunk))) as Arc<dyn Chunk>)
    }

    /// The same part with nothing open: it will not grow any more.
    #[must_use]
    pub(super) fn closed(mut self) -> Self {
        let last = self.shown.take().or_else(|| LiveChunk::new(std::mem::take(&mut self.open)));
        self.open.clear();
        self.pieces.extend(last);
        self
    }

    /// A closed part as chunks, ids rising.
    pub(super) fn pieces(&self) -> impl Iterator<Item = Arc<dyn Chunk>> + '_ {
        self.pieces.iter().map(|piece| Arc::new(Live(Arc::clone(piece))) as Arc<dyn Chunk>)
    }

    /// All of it as records, ids rising.
    pub(super) fn all(&self) -> Vec<Arc<Record>> {
        let closed = self.pieces.iter().flat_map(|piece| &piece.records);
        closed.chain(&self.open).cloned().collect()
    }
}

/// Records with rising ids; never empty, never changed.
#[derive(Debug)]
pub struct LiveChunk {
    meta: ChunkMeta,
    ids: Vec<u64>,
    times: Vec<Timestamp>,
    records: Vec<Arc<Record>>,
}

impl LiveChunk {
    /// `None` for no records.
    pub fn new(records: Vec<Arc<Record>>) -> Option<Arc<Self>> {
        let times: Vec<Timestamp> = records.iter().map(|r| r.time).collect();
        let meta = ChunkMeta {
            rows: records.len(),
            first_id: records.first()?.id,
            last_id: records.last()?.id,
            min_time: times.iter().copied().min()?,
            max_time: times.iter().copied().max()?,
        };
        let ids = records.iter().map(|r| r.id).collect();
        Some(Arc::new(Self { meta, ids, times, records }))
    }

    fn row(&self, row: usize) -> Result<&Arc<Record>> {
        self.records
            .get(row)
            .ok_or_else(|| Error::corrupt("the live part", format!("no row {row}")))
    }
}

/// A live chunk that is open is the chunk itself.
struct Opened(Arc<LiveChunk>);

/// How a live chunk stands in a snapshot.
pub struct Live(pub Arc<LiveChunk>);

impl Chunk for Live {
    fn meta(&self) -> &ChunkMeta {
        &self.0.meta
    }
    fn may_hold(&self, _: &Key) -> Result<bool> {
        Ok(true)
    }
    fn rows(&self) -> Result<Arc<dyn Rows>> {
        Ok(Arc::new(Opened(Arc::clone(&self.0))))
    }
}

impl Rows for Opened {
    fn meta(&self) -> &ChunkMeta {
        &self.0.meta
    }
    fn ids(&self) -> Result<&[u64]> {
        Ok(&self.0.ids)
    }
    fn times(&self) -> Result<&[Timestamp]> {
        Ok(&self.0.times)
    }
    fn severity(&self, row: usize) -> Result<Option<Severity>> {
        Ok(self.0.row(row)?.severity)
    }
    fn host(&self, row: usize) -> Result<&str> {
        Ok(&self.0.row(row)?.host)
    }
    fn app(&self, row: usize) -> Result<&str> {
        Ok(&self.0.row(row)?.app)
    }
    fn message(&self, row: usize) -> Result<Cow<'_, str>> {
        Ok(self.0.row(row)?.message().into())
    }
    fn fields(&self, row: usize) -> Result<Cow<'_, [Field]>> {
        Ok(Cow::Borrowed(&self.0.row(row)?.fields))
    }
    fn record(&self, row: usize) -> Result<Arc<Record>> {
        self.0.row(row).map(Arc::clone)
    }
    fn weight(&self) -> usize {
        0
    }
}
