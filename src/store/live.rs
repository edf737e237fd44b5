//! The newest records, as plain records: searchable the moment they are durable.
//!
//! A [`LiveChunk`] is the same to a scan as a chunk of a segment.

use std::sync::Arc;

use crate::base::error::{Error, Result};
use crate::base::record::{Record, Severity};
use crate::base::time::Timestamp;
use crate::base::value::Field;
use crate::codec::{ChunkMeta, Rows};
use crate::store::{Chunk, Key};

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
    fn message(&self, row: usize) -> Result<&str> {
        Ok(self.0.row(row)?.message())
    }
    fn fields(&self, row: usize) -> Result<&[Field]> {
        Ok(&self.0.row(row)?.fields)
    }
    fn record(&self, row: usize) -> Result<Arc<Record>> {
        self.0.row(row).map(Arc::clone)
    }
    fn weight(&self) -> usize {
        0
    }
}
