//! What a reader sees: the chunks of all parts at one moment, and records by their ids.
//!
//! An id is in one chunk, but the ids of two chunks may interleave: records that arrived together
//! stand in a segment for each class (`retention`).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use crate::base::error::Result;
use crate::base::record::Record;
use crate::codec::{ChunkMeta, Rows};
use crate::store::Chunk;

/// A consistent view: parts that do not change.
#[derive(Clone)]
pub struct Snapshot {
    /// First ids rising.
    chunks: Arc<Vec<Arc<dyn Chunk>>>,
    /// The largest id of a chunk and of all before it; never falls.
    reach: Arc<Vec<u64>>,
}

impl Snapshot {
    /// From its chunks, in any order.
    pub fn new(mut chunks: Vec<Arc<dyn Chunk>>) -> Self {
        chunks.sort_by_key(|chunk| chunk.meta().first_id);
        let reach = chunks.iter().scan(0, |reach, chunk| {
            *reach = chunk.meta().last_id.max(*reach);
            Some(*reach)
        });
        Self { reach: Arc::new(reach.collect()), chunks: Arc::new(chunks) }
    }

    /// All chunks, in the order of their first ids (their ids and times may overlap).
    pub fn chunks(&self) -> &[Arc<dyn Chunk>] {
        &self.chunks
    }

    /// The same without what is known to be damaged, and what is known of that.
    #[must_use]
    pub fn readable(&self) -> (Self, Vec<ChunkMeta>) {
        let damaged = self.chunks.iter().filter(|chunk| chunk.is_damaged());
        let lost: Vec<ChunkMeta> = damaged.map(|chunk| chunk.meta().clone()).collect();
        if lost.is_empty() {
            return (self.clone(), lost);
        }
        let whole = self.chunks.iter().filter(|chunk| !chunk.is_damaged());
        (Self::new(whole.cloned().collect()), lost)
    }

    /// One record.
    pub fn record(&self, id: u64) -> Result<Option<Arc<Record>>> {
        let mut damaged = None;
        let end = self.chunks.partition_point(|c| c.meta().first_id <= id);
        for n in (0..end).rev() {
            // No chunk before this one goes as far either.
            if self.reach.get(n).is_none_or(|reach| *reach < id) {
                break;
            }
            let Some(chunk) = self.chunks.get(n).filter(|c| c.meta().last_id >= id) else {
                continue;
            };
            let found = chunk.rows().and_then(|rows| match rows.ids()?.binary_search(&id) {
                Ok(row) => rows.record(row).map(Some),
                Err(_) => Ok(None),
            });
            match found.inspect_err(|error| chunk.distrust(error)) {
                Ok(Some(record)) => return Ok(Some(record)),
                Ok(None) => {}
                // It may stand in another chunk.
                Err(error) if error.is_damage() => damaged = Some(error),
                Err(error) => return Err(error),
            }
        }
        damaged.map_or(Ok(None), Err)
    }

    /// The largest id that is visible; `None` where nothing is.
    pub fn last_id(&self) -> Option<u64> {
        self.reach.last().copied()
    }

    /// The records with ids above `after` and up to `to`, ids rising.
    pub fn in_order(&self, after: u64, to: u64) -> InOrder<'_> {
        let next = self.reach.partition_point(|reach| *reach <= after);
        InOrder { snapshot: self, after, to, next, open: BTreeMap::new(), due: BinaryHeap::new() }
    }
}

/// Records in the order of their ids; holds open the chunks whose ids interleave there.
pub struct InOrder<'a> {
    snapshot: &'a Snapshot,
    after: u64,
    to: u64,
    /// The first chunk that was not opened yet.
    next: usize,
    /// By number: the rows, and which of them comes next.
    open: BTreeMap<usize, (Arc<dyn Rows>, usize)>,
    /// The next id of each open chunk.
    due: BinaryHeap<Reverse<(u64, usize)>>,
}

impl Iterator for InOrder<'_> {
    type Item = Result<Arc<Record>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.take().transpose()
    }
}

impl InOrder<'_> {
    /// The next one; what is damaged is left out.
    fn take(&mut self) -> Result<Option<Arc<Record>>> {
        loop {
            self.open_due()?;
            let Some(Reverse((id, n))) = self.due.pop() else { return Ok(None) };
            let Some((rows, row)) = self.open.remove(&n).filter(|_| id <= self.to) else {
                return Ok(None);
            };
            let read = rows.record(row).and_then(|record| {
                self.add(n, rows, row + 1)?;
                Ok(record)
            });
            if let Some(record) = self.unless_damaged(n, read)? {
                return Ok(Some(record));
            }
        }
    }

    /// Opens every chunk that may hold the next id.
    fn open_due(&mut self) -> Result<()> {
        while let Some(chunk) = self.snapshot.chunks.get(self.next) {
            let (first, last) = (chunk.meta().first_id, chunk.meta().last_id);
            let is_later = self.due.peek().is_some_and(|Reverse((id, _))| *id < first);
            if first > self.to || is_later {
                break;
            }
            if last > self.after {
                let opened = chunk.rows().and_then(|rows| {
                    let row = rows.ids()?.partition_point(|id| *id <= self.after);
                    self.add(self.next, rows, row)
                });
                self.unless_damaged(self.next, opened)?;
            }
            self.next += 1;
        }
        Ok(())
    }

    fn add(&mut self, n: usize, rows: Arc<dyn Rows>, row: usize) -> Result<()> {
        if let Some(id) = rows.ids()?.get(row) {
            self.due.push(Reverse((*id, n)));
            self.open.insert(n, (rows, row));
        }
        Ok(())
    }

    /// `None` where the chunk is damaged, of which its store is told.
    fn unless_damaged<T>(&self, n: usize, read: Result<T>) -> Result<Option<T>> {
        read.map(Some).or_else(|error| {
            if let Some(chunk) = self.snapshot.chunks.get(n) {
                chunk.distrust(&error);
            }
            if error.is_damage() { Ok(None) } else { Err(error) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::live::{Live, LiveChunk};
    use crate::store::tests::record;

    fn snapshot(chunks: &[&[u64]]) -> Snapshot {
        let chunk = |ids: &&[u64]| {
            let each = ids.iter().map(|id| Arc::new(Record { id: *id, ..record("x") }));
            Arc::new(Live(LiveChunk::new(each.collect()).unwrap())) as Arc<dyn Chunk>
        };
        Snapshot::new(chunks.iter().map(chunk).collect())
    }

    #[test]
    fn every_id_is_found_whatever_the_chunks_share() {
        let all = [&[4, 9][..], &[1, 2, 30], &[3, 8], &[5], &[10, 12], &[20, 21]];
        let snapshot = snapshot(&all);
        assert_eq!(snapshot.last_id(), Some(30));
        for id in 0..=31 {
            let found = snapshot.record(id).unwrap().map(|r| r.id);
            let want = all.iter().any(|ids| ids.contains(&id)).then_some(id);
            assert_eq!(found, want, "{id}");
        }
    }

    #[test]
    fn records_come_in_the_order_of_their_ids() {
        let snapshot = snapshot(&[&[4, 9], &[1, 2, 30], &[3, 8], &[5], &[10, 12], &[20, 21]]);
        let ids = |after, to| {
            let walk = snapshot.in_order(after, to);
            walk.map(|record| record.unwrap().id).collect::<Vec<_>>()
        };
        let all = [1, 2, 3, 4, 5, 8, 9, 10, 12, 20, 21, 30];
        assert_eq!(ids(0, u64::MAX), all);
        for after in 0..32 {
            for to in 0..32 {
                let want: Vec<u64> =
                    all.iter().copied().filter(|id| *id > after && *id <= to).collect();
                assert_eq!(ids(after, to), want, "{after} {to}");
            }
        }
    }
}
