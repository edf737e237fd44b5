//! One bounded cache for all that queries open: segment files, indexes, filters, chunks.
//!
//! Nothing in it ever changes on disk, so nothing is ever out of date. What is too much goes by lot:
//! of chunks the decoded columns, then, if that is not enough, all of it.
//! Who holds a thing keeps it alive beyond its eviction.

use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::error::Result;
use crate::codec::Rows;
use crate::codec::filter::Filter;
use crate::store::chunk_index::ChunkIndex;
use crate::store::segment::Open;

/// Which part of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Part {
    /// The open file with its table of contents.
    File,
    /// The chunk index.
    Index,
    /// The filter.
    Filter,
    /// A chunk's rows.
    Rows(usize),
}

/// Something that was opened.
#[derive(Clone)]
pub(super) enum Opened {
    File(Arc<Open>),
    Index(Arc<ChunkIndex>),
    /// With its size, bytes.
    Filter(Arc<Filter>, usize),
    Rows(Arc<dyn Rows>),
}

impl Opened {
    /// Bytes in memory now; chunks grow as columns are decoded.
    fn weight(&self) -> usize {
        match self {
            Self::File(open) => open.weight(),
            Self::Index(index) => index.weight(),
            Self::Filter(_, bytes) => *bytes,
            Self::Rows(rows) => rows.weight(),
        }
    }
}

/// So many uses ago is new: each thread of a question holds a chunk.
const NEWEST: u64 = 1;

/// Chunks grow after they were put in, so the bound is looked at after so many uses too.
const HITS_A_LOOK: u64 = 8;

/// By segment number and part.
pub(super) struct Cache {
    bytes_max: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<(u64, Part), (u64, Opened)>,
    turn: u64,
    /// Draws lots.
    lots: foldhash::fast::FixedState,
}

impl Cache {
    /// Keeps at most so many bytes.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, inner: Mutex::default() }
    }

    /// What is there, or what `open` gives; two callers at once may both open, which is harmless.
    pub(super) fn get(
        &self,
        segment: u64,
        part: Part,
        open: impl FnOnce() -> Result<Opened>,
    ) -> Result<Opened> {
        if let Some(found) = self.touch((segment, part)) {
            return Ok(found);
        }
        let opened = open()?;
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.turn += 1;
        let turn = inner.turn;
        inner.entries.insert((segment, part), (turn, opened.clone()));
        let evicted = inner.evict(self.bytes_max);
        drop(inner);
        // Freeing columns takes its time, and is nothing that others should wait for.
        drop(evicted);
        Ok(opened)
    }

    fn touch(&self, key: (u64, Part)) -> Option<Opened> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.turn += 1;
        let turn = inner.turn;
        let found = inner.entries.get_mut(&key).map(|(at, opened)| {
            *at = turn;
            opened.clone()
        });
        let look = turn.is_multiple_of(HITS_A_LOOK);
        let evicted = if look { inner.evict(self.bytes_max) } else { Vec::new() };
        drop(inner);
        drop(evicted);
        found
    }

    /// Lets go of everything of a segment.
    pub(super) fn forget(&self, segment: u64) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.entries.retain(|(s, _), _| *s != segment);
    }
}

impl Inner {
    /// Takes out what is beyond the bound; who calls drops it where nobody waits.
    ///
    /// A question goes through all chunks again and again: were those taken that were not used for
    /// the longest, none would ever be there when it is needed. So chunks are taken by lot, but for
    /// the newest, and what the chunks of a segment share goes last.
    fn evict(&mut self, bytes_max: usize) -> Vec<Opened> {
        let mut all: Vec<Candidate> =
            self.entries.iter().map(|(key, e)| self.lot(*key, e)).collect();
        let mut total: usize = all.iter().map(|one| one.weight).sum();
        if total <= bytes_max {
            return Vec::new();
        }
        all.sort_unstable_by_key(|one| one.rank);
        for one in &mut all {
            if total <= bytes_max {
                return Vec::new();
            }
            if let Some((_, Opened::Rows(rows))) = self.entries.get(&one.key) {
                rows.shed();
                let left = rows.weight();
                total = total.saturating_sub(one.weight.saturating_sub(left));
                one.weight = left;
            }
        }
        let mut evicted = Vec::new();
        for one in all {
            if total <= bytes_max {
                break;
            }
            evicted.extend(self.entries.remove(&one.key).map(|(_, opened)| opened));
            total = total.saturating_sub(one.weight);
        }
        evicted
    }

    /// How soon something goes: those of the lowest rank first.
    fn lot(&self, key: (u64, Part), (at, opened): &(u64, Opened)) -> Candidate {
        let is_new = *at + NEWEST >= self.turn;
        let is_shared = !matches!(opened, Opened::Rows(_));
        let lot = if is_shared { *at } else { self.lots.hash_one((key, self.turn)) };
        Candidate { rank: (is_new, is_shared, lot), key, weight: opened.weight() }
    }
}

/// What may be taken out.
struct Candidate {
    rank: (bool, bool, u64),
    key: (u64, Part),
    weight: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_stays_and_the_bound_holds() {
        let cache = Cache::new(100);
        let opened = std::cell::Cell::new(0);
        let get = |segment: u64| {
            let open = || {
                opened.set(opened.get() + 1);
                Ok(Opened::Filter(Arc::new(Filter::build(Vec::new())), 40))
            };
            cache.get(segment, Part::Filter, open).unwrap();
        };
        get(1);
        get(2);
        get(1);
        get(3);
        get(1);
        assert_eq!(opened.get(), 3, "1 was used last and stays");
        get(2);
        assert_eq!(opened.get(), 4, "2 had to go");
        cache.forget(1);
        get(1);
        assert_eq!(opened.get(), 5);
        let inner = cache.inner.lock().unwrap();
        assert!(inner.entries.len() <= 3);
    }
}
