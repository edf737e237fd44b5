//! A catalogued segment, as a snapshot shows it: opened when first asked, through the cache.
//!
//! Its chunks know which of them are damaged, and its file goes with the last who holds it where
//! the catalogue means it no more.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::error::{Error, Result};
use crate::base::machine::Disk;
use crate::codec::filter::{Filter, is_filtered, token_hash};
use crate::codec::{ChunkMeta, Rows};
use crate::store::cache::{Cache, Opened, Part};
use crate::store::chunk_index::ChunkIndex;
use crate::store::segment::{Kind, Open, SegmentMeta};
use crate::store::{Chunk, Key};

/// What all segments share.
pub(super) struct Access {
    /// Where the files are.
    pub(super) disk: Arc<dyn Disk>,
    /// What is open.
    pub(super) cache: Cache,
    /// Told the number of a segment in which damage was met, once.
    pub(super) on_damage: Box<dyn Fn(u64) + Send + Sync>,
}

/// A catalogued segment.
pub(super) struct Segment {
    meta: SegmentMeta,
    path: PathBuf,
    access: Arc<Access>,
    /// Chunks that do not read; all of them where the file does not.
    damaged: Mutex<BTreeSet<usize>>,
    pruning_lost: AtomicBool,
    /// Its records are in another segment, or meant to be gone.
    obsolete: AtomicBool,
}

impl Drop for Segment {
    fn drop(&mut self) {
        if self.obsolete.load(Ordering::Relaxed)
            && let Err(error) = self.access.disk.remove(&self.path)
        {
            // The next start finds that the catalogue does not mean it.
            tracing::warn!(%error, "the file of a segment that is not needed could not be removed");
        }
    }
}

impl Segment {
    /// Not opened yet.
    pub(super) fn new(meta: SegmentMeta, segments: &Path, access: Arc<Access>) -> Arc<Self> {
        let path = meta.path(segments);
        let (pruning_lost, obsolete) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Self { meta, path, access, damaged: Mutex::default(), pruning_lost, obsolete })
    }

    /// Chunks in which damage was met.
    pub(super) fn damaged(&self) -> MutexGuard<'_, BTreeSet<usize>> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records in these.
    pub(super) fn damaged_records(&self) -> u64 {
        let rows = |n: &usize| self.meta.chunks.get(*n).map_or(0, |chunk| chunk.rows as u64);
        self.damaged().iter().map(rows).sum()
    }

    /// Its file goes as soon as nobody holds the segment: snapshots that show it keep working.
    pub(super) fn remove_when_free(&self) {
        self.obsolete.store(true, Ordering::Relaxed);
    }

    /// What the catalogue says of it.
    pub(super) fn meta(&self) -> &SegmentMeta {
        &self.meta
    }

    /// Where its file is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Its chunks, for a snapshot.
    pub(super) fn chunks(self: &Arc<Self>) -> impl Iterator<Item = Arc<dyn Chunk>> + '_ {
        (0..self.meta.chunks.len())
            .map(move |n| Arc::new(SegmentChunk { segment: Arc::clone(self), n }) as Arc<dyn Chunk>)
    }

    /// Its file with table of contents, past the cache.
    pub(super) fn read(&self) -> Result<Open> {
        let open = Open::read(&*self.access.disk, &self.path)?;
        if open.meta().footer != self.meta.footer {
            let what = "it is not the segment that the catalogue means";
            return Err(Error::corrupt(self.path.display().to_string(), what));
        }
        Ok(open)
    }

    /// Its file with table of contents.
    pub(super) fn open(&self) -> Result<Arc<Open>> {
        let open = || self.read().map(|open| Opened::File(Arc::new(open)));
        match self.access.cache.get(self.meta.number, Part::File, open)? {
            Opened::File(open) => Ok(open),
            _ => Err(self.mixed_up()),
        }
    }

    fn rows(&self, n: usize) -> Result<Arc<dyn Rows>> {
        let open = || Ok(Opened::Rows(self.open()?.rows(n)?));
        match self.access.cache.get(self.meta.number, Part::Rows(n), open)? {
            Opened::Rows(rows) => Ok(rows),
            _ => Err(self.mixed_up()),
        }
    }

    fn index(&self) -> Result<Arc<ChunkIndex>> {
        let open = || {
            let section = self.open()?.section(Kind::Index)?;
            let index = ChunkIndex::open(&section, self.meta.chunks.len())?;
            Ok(Opened::Index(Arc::new(index)))
        };
        match self.access.cache.get(self.meta.number, Part::Index, open)? {
            Opened::Index(index) => Ok(index),
            _ => Err(self.mixed_up()),
        }
    }

    fn filter(&self) -> Result<Arc<Filter>> {
        let open = || {
            let section = self.open()?.section(Kind::Filter)?;
            Ok(Opened::Filter(Arc::new(Filter::from_bytes(&section)?), section.len()))
        };
        match self.access.cache.get(self.meta.number, Part::Filter, open)? {
            Opened::Filter(filter, _) => Ok(filter),
            _ => Err(self.mixed_up()),
        }
    }

    fn mixed_up(&self) -> Error {
        Error::corrupt(self.path.display().to_string(), "the cache mixed up its parts")
    }

    fn may_hold(&self, n: usize, key: &Key) -> Result<bool> {
        if let Key::Token(token) = key
            && is_filtered(token)
            && !self.filter()?.may_hold(token_hash(token))
        {
            return Ok(false);
        }
        Ok(self.index()?.may_hold(key)?.get(n).copied().unwrap_or(true))
    }

    /// Its file does not read: the store looks at it.
    pub(super) fn distrust(&self, error: &Error) {
        for n in 0..self.meta.chunks.len() {
            self.distrust_chunk(n, error);
        }
    }

    /// Damage was met in a chunk: from now on it answers for nothing, and the store looks at the file.
    pub(super) fn distrust_chunk(&self, n: usize, error: &Error) {
        if error.is_damage() && self.damaged().insert(n) {
            (self.access.on_damage)(self.meta.number);
        }
    }
}

/// A chunk of a segment that was set aside or is missing: it answers for nothing, so that whoever
/// asks is told what is not in the answer.
pub(super) struct Lost(pub(super) ChunkMeta);

impl Chunk for Lost {
    fn meta(&self) -> &ChunkMeta {
        &self.0
    }

    fn may_hold(&self, _: &Key) -> Result<bool> {
        Ok(true)
    }

    fn rows(&self) -> Result<Arc<dyn Rows>> {
        Err(Error::corrupt("a segment that is lost", "its records cannot be read"))
    }

    fn is_damaged(&self) -> bool {
        true
    }
}

struct SegmentChunk {
    segment: Arc<Segment>,
    n: usize,
}

impl Chunk for SegmentChunk {
    fn meta(&self) -> &ChunkMeta {
        #[expect(
            clippy::indexing_slicing,
            reason = "made by `Segment::chunks`, n is below its len"
        )]
        &self.segment.meta.chunks[self.n]
    }

    fn may_hold(&self, key: &Key) -> Result<bool> {
        match self.segment.may_hold(self.n, key) {
            Ok(may) => Ok(may),
            // Pruning only saves work: without it the records still answer for themselves.
            Err(error) => {
                if !self.segment.pruning_lost.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "a segment is searched without its index");
                }
                Ok(true)
            }
        }
    }

    fn rows(&self) -> Result<Arc<dyn Rows>> {
        self.segment.rows(self.n).inspect_err(|error| self.distrust(error))
    }

    fn distrust(&self, error: &Error) {
        match self.segment.open() {
            Ok(_) => self.segment.distrust_chunk(self.n, error),
            Err(error) => self.segment.distrust(&error),
        }
    }

    fn is_damaged(&self) -> bool {
        self.segment.damaged().contains(&self.n)
    }
}
