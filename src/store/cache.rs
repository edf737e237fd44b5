//! One bounded cache for all that queries open: segment files, indexes, filters, chunks.
//!
//! Nothing in it ever changes on disk, so nothing is ever out of date; what has not been asked for
//! the longest goes first: of chunks the decoded columns, then, if that is not enough, all of it.
//! Who holds a thing keeps it alive beyond its eviction.

use std::collections::HashMap;
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
    fn evict(&mut self, bytes_max: usize) -> Vec<Opened> {
        let mut by_age: Vec<(u64, (u64, Part), usize)> =
            self.entries.iter().map(|(key, (at, o))| (*at, *key, o.weight())).collect();
        let mut total: usize = by_age.iter().map(|(_, _, weight)| weight).sum();
        if total <= bytes_max {
            return Vec::new();
        }
        by_age.sort_unstable_by_key(|(at, _, _)| *at);
        for (_, key, weight) in &mut by_age {
            if total <= bytes_max {
                return Vec::new();
            }
            if let Some((_, Opened::Rows(rows))) = self.entries.get(key) {
                rows.shed();
                let left = rows.weight();
                total = total.saturating_sub(weight.saturating_sub(left));
                *weight = left;
            }
        }
        let mut evicted = Vec::new();
        for (_, key, weight) in by_age {
            if total <= bytes_max {
                break;
            }
            evicted.extend(self.entries.remove(&key).map(|(_, opened)| opened));
            total = total.saturating_sub(weight);
        }
        evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_unused_goes_first_and_the_bound_holds() {
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
