//! Where the values of rows stand in columns: each row is of a kind (a template, a shape), each
//! kind takes a value of some pools, and a pool's values stand in the order of the rows.
//!
//! From a value to its row it is one pass over the kinds; from a row to its values, a few steps
//! behind the last mark.

use std::sync::OnceLock;

use super::set::RowSet;

/// The last bit of a word.
const BITS: usize = 63;

/// Rows between two marks at least; more where there are many pools, so that marks take some two
/// bytes a row at most.
const MARK_ROWS: usize = 256;

/// Small numbers, one a row, as narrow as they may be.
#[derive(Clone, Debug)]
pub(super) enum Codes {
    /// Below 256.
    Bytes(Vec<u8>),
    /// Below 65,536.
    Words(Vec<u16>),
    /// Any.
    Wide(Vec<u32>),
}

impl Codes {
    /// From numbers below `of`.
    pub(super) fn new(numbers: &[u32], of: usize) -> Self {
        let bytes = || numbers.iter().map(|n| u8::try_from(*n)).collect::<Result<Vec<u8>, _>>();
        let words = || numbers.iter().map(|n| u16::try_from(*n)).collect::<Result<Vec<u16>, _>>();
        if of <= 1 << 8
            && let Ok(bytes) = bytes()
        {
            return Self::Bytes(bytes);
        }
        if of <= 1 << 16
            && let Ok(words) = words()
        {
            return Self::Words(words);
        }
        Self::Wide(numbers.to_vec())
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Bytes(codes) => codes.len(),
            Self::Words(codes) => codes.len(),
            Self::Wide(codes) => codes.len(),
        }
    }

    /// The number of a row.
    pub(super) fn get(&self, row: usize) -> Option<u32> {
        match self {
            Self::Bytes(codes) => codes.get(row).map(|n| u32::from(*n)),
            Self::Words(codes) => codes.get(row).map(|n| u32::from(*n)),
            Self::Wide(codes) => codes.get(row).copied(),
        }
    }

    /// Calls with each row and its number, in order.
    pub(super) fn each(&self, mut visit: impl FnMut(usize, usize)) {
        match self {
            Self::Bytes(codes) => codes.iter().enumerate().for_each(|(r, n)| visit(r, (*n).into())),
            Self::Words(codes) => codes.iter().enumerate().for_each(|(r, n)| visit(r, (*n).into())),
            Self::Wide(codes) => codes.iter().enumerate().for_each(|(r, n)| visit(r, *n as usize)),
        }
    }

    /// The rows whose number is marked.
    pub(super) fn marked(&self, marked: &[bool]) -> RowSet {
        let is = |n: usize| marked.get(n).is_some_and(|marked| *marked);
        match self {
            Self::Bytes(codes) => {
                let mut table = [false; 256];
                table.iter_mut().zip(marked).for_each(|(to, from)| *to = *from);
                RowSet::of_each(codes, |n| table.get(usize::from(n)).is_some_and(|is| *is))
            }
            Self::Words(codes) => RowSet::of_each(codes, |n| is(n.into())),
            Self::Wide(codes) => RowSet::of_each(codes, |n| is(n as usize)),
        }
    }

    /// Bytes in memory.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Bytes(codes) => codes.len(),
            Self::Words(codes) => codes.len() * 2,
            Self::Wide(codes) => codes.len() * 4,
        }
    }
}

/// The kinds of a chunk's rows, and what each takes.
#[derive(Clone, Debug)]
pub(super) struct Places {
    kinds: Codes,
    /// For each kind the pools that it takes values of, in their order; a pool by its number here.
    slots: Vec<Vec<u32>>,
    /// For each pool the kinds that take values of it, and how many.
    takers: Vec<Vec<(u32, u32)>>,
    /// At every so many rows how many values of each pool stand before.
    marks: OnceLock<Vec<u32>>,
    /// Rows between two marks.
    step: usize,
    /// All but the marks, bytes.
    bytes: usize,
}

impl Places {
    /// Of so many pools; each row's kind has slots.
    pub(super) fn new(kinds: Codes, slots: Vec<Vec<u32>>, pools: usize) -> Self {
        let mut takers: Vec<Vec<(u32, u32)>> = vec![Vec::new(); pools];
        for (kind, slots) in (0_u32..).zip(&slots) {
            for pool in slots {
                let Some(takers) = takers.get_mut(*pool as usize) else { continue };
                match takers.last_mut() {
                    Some((last, many)) if *last == kind => *many += 1,
                    _ => takers.push((kind, 1)),
                }
            }
        }
        let lists: usize = slots.iter().map(|slots| 24 + 4 * slots.len()).sum();
        let lists = lists + takers.iter().map(|takers| 24 + 8 * takers.len()).sum::<usize>();
        let bytes = kinds.weight() + lists;
        let step = MARK_ROWS.max(pools / 4);
        Self { kinds, slots, takers, marks: OnceLock::new(), step, bytes }
    }

    /// The kind of each row.
    pub(super) fn kinds(&self) -> &Codes {
        &self.kinds
    }

    /// The pools that a kind takes values of.
    pub(super) fn slots(&self, kind: u32) -> &[u32] {
        self.slots.get(kind as usize).map_or(&[], Vec::as_slice)
    }

    /// For each kind how many values of a pool it takes.
    fn takes(&self, pool: u32) -> Vec<u32> {
        let mut takes = vec![0; self.slots.len()];
        for (kind, many) in self.takers.get(pool as usize).into_iter().flatten() {
            if let Some(takes) = takes.get_mut(*kind as usize) {
                *takes = *many;
            }
        }
        takes
    }

    /// The rows that have one of these values of a pool.
    pub(super) fn rows_with(&self, pool: u32, values: &RowSet) -> RowSet {
        if values.is_none() {
            return RowSet::none(self.kinds.len());
        }
        let takes = self.takes(pool);
        if values.is_all() {
            return self.kinds.marked(&takes.iter().map(|many| *many > 0).collect::<Vec<_>>());
        }
        let mut found = Vec::new();
        match &self.kinds {
            Codes::Bytes(kinds) => {
                let mut table = [0_u32; 256];
                table.iter_mut().zip(&takes).for_each(|(to, from)| *to = *from);
                let takes = kinds.iter().map(|kind| table.get(usize::from(*kind)).copied());
                with_values(takes.map(Option::unwrap_or_default), values, &mut found);
            }
            Codes::Words(kinds) => {
                let takes = kinds.iter().map(|kind| takes.get(usize::from(*kind)).copied());
                with_values(takes.map(Option::unwrap_or_default), values, &mut found);
            }
            Codes::Wide(kinds) => {
                let takes = kinds.iter().map(|kind| takes.get(*kind as usize).copied());
                with_values(takes.map(Option::unwrap_or_default), values, &mut found);
            }
        }
        RowSet::from_rows(self.kinds.len(), found)
    }

    /// The rows of these kinds whose `nth` value of a pool is one of these.
    pub(super) fn rows_of(&self, pool: u32, wanted: &[(u32, usize)], values: &RowSet) -> RowSet {
        if values.is_none() {
            return RowSet::none(self.kinds.len());
        }
        let takes = self.takes(pool);
        // For each kind one bit a value, the last one for all that are behind.
        let mut bits = vec![0_u64; self.slots.len()];
        for (kind, nth) in wanted {
            if let Some(bits) = bits.get_mut(*kind as usize) {
                *bits |= 1 << nth.min(&BITS);
            }
        }
        let mut found = Vec::new();
        let mut at = 0;
        self.kinds.each(|row, kind| {
            let takes = takes.get(kind).copied().unwrap_or_default() as usize;
            if takes == 0 {
                return;
            }
            let bits = bits.get(kind).copied().unwrap_or_default();
            if bits != 0
                && (0..takes).any(|n| bits >> n.min(BITS) & 1 == 1 && values.contains(at + n))
            {
                found.push(row);
            }
            at += takes;
        });
        RowSet::from_rows(self.kinds.len(), found)
    }

    /// The row of each value of a pool.
    pub(super) fn rows_of_values(&self, pool: u32) -> Vec<u32> {
        let takes = self.takes(pool);
        let mut rows = Vec::new();
        self.kinds.each(|row, kind| {
            let many = takes.get(kind).copied().unwrap_or_default() as usize;
            rows.extend(std::iter::repeat_n(u32::try_from(row).unwrap_or(u32::MAX), many));
        });
        rows
    }

    fn marks(&self) -> &[u32] {
        self.marks.get_or_init(|| {
            let pools = self.takers.len();
            let mut counts = vec![0_u32; pools];
            let mut marks = Vec::with_capacity(pools * self.kinds.len().div_ceil(self.step));
            self.kinds.each(|row, kind| {
                if row.is_multiple_of(self.step) {
                    marks.extend_from_slice(&counts);
                }
                for pool in self.slots.get(kind).into_iter().flatten() {
                    if let Some(count) = counts.get_mut(*pool as usize) {
                        *count += 1;
                    }
                }
            });
            marks
        })
    }

    /// Bytes in memory.
    pub(super) fn weight(&self) -> usize {
        self.bytes + self.marks.get().map_or(0, |marks| 4 * marks.len())
    }
}

/// The rows that have a value of these, by how many values each row takes.
fn with_values(takes: impl Iterator<Item = u32>, values: &RowSet, found: &mut Vec<usize>) {
    let mut wanted = values.iter();
    let Some(mut next) = wanted.next() else { return };
    let mut at = 0_usize;
    for (row, many) in takes.enumerate() {
        at += many as usize;
        if next >= at {
            continue;
        }
        found.push(row);
        while next < at {
            let Some(behind) = wanted.next() else { return };
            next = behind;
        }
    }
}

/// Goes from row to row, and knows which value of each pool is next.
#[derive(Debug)]
pub(super) struct Walk {
    row: usize,
    /// For each pool how many values stand before `row`.
    counts: Vec<u32>,
}

impl Walk {
    /// At the first row.
    pub(super) fn new(places: &Places) -> Self {
        Self { row: 0, counts: vec![0; places.takers.len()] }
    }

    /// Goes to a row; quick where it is not far behind the last one.
    pub(super) fn go(&mut self, places: &Places, row: usize) {
        let mark = row / places.step;
        if row < self.row || mark > self.row / places.step {
            let pools = places.takers.len();
            let counts = places.marks().get(mark * pools..(mark + 1) * pools);
            self.counts.clear();
            self.counts.extend_from_slice(counts.unwrap_or_default());
            self.row = mark * places.step;
        }
        while self.row < row {
            let kind = places.kinds.get(self.row).unwrap_or_default();
            for pool in places.slots(kind) {
                self.taken(*pool);
            }
            self.row += 1;
        }
    }

    /// The place of the next value of a pool in its column.
    pub(super) fn place(&self, pool: u32) -> usize {
        self.counts.get(pool as usize).copied().unwrap_or(u32::MAX) as usize
    }

    /// The same; it is taken.
    pub(super) fn take(&mut self, pool: u32) -> usize {
        let at = self.place(pool);
        self.taken(pool);
        at
    }

    fn taken(&mut self, pool: u32) {
        if let Some(count) = self.counts.get_mut(pool as usize) {
            *count += 1;
        }
    }

    /// All values of the row at hand were taken.
    pub(super) fn next(&mut self) {
        self.row += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn values_and_rows_find_each_other(
            slots in prop::collection::vec(prop::collection::vec(0_u32..4, 0..4), 1..6),
            kinds in prop::collection::vec(0_usize..6, 0..700),
            hops in prop::collection::vec(0_usize..700, 0..20),
            some in prop::collection::vec(0_usize..900, 0..40),
            pool in 0_u32..4, nth in 0_usize..3,
        ) {
            let kinds: Vec<u32> =
                kinds.iter().map(|k| u32::try_from(k % slots.len()).unwrap()).collect();
            let places = Places::new(Codes::new(&kinds, slots.len()), slots.clone(), 4);
            // The plain way: every value with its row.
            let mut values: Vec<Vec<usize>> = vec![Vec::new(); 4];
            let mut firsts = Vec::new();
            for (row, kind) in kinds.iter().enumerate() {
                firsts.push(values.iter().map(Vec::len).collect::<Vec<_>>());
                for pool in &slots[*kind as usize] {
                    values[*pool as usize].push(row);
                }
            }
            for row in hops.iter().copied().filter(|row| *row < kinds.len()) {
                let mut walk = Walk::new(&places);
                walk.go(&places, row);
                let at: Vec<usize> = (0..4).map(|pool| walk.take(pool)).collect();
                prop_assert_eq!(&at, &firsts[row]);
            }
            let mut walk = Walk::new(&places);
            for row in hops.into_iter().filter(|row| *row < kinds.len()) {
                walk.go(&places, row);
                let mut at = firsts[row].clone();
                for pool in &slots[kinds[row] as usize] {
                    prop_assert_eq!(walk.take(*pool), at[*pool as usize]);
                    at[*pool as usize] += 1;
                }
                walk.next();
            }
            let mine = &values[pool as usize];
            let rows: Vec<usize> =
                places.rows_of_values(pool).iter().map(|row| *row as usize).collect();
            prop_assert_eq!(&rows, mine);
            let hits = RowSet::from_rows(mine.len(), some);
            let want = RowSet::from_rows(kinds.len(), hits.iter().map(|n| mine[n]));
            prop_assert_eq!(places.rows_with(pool, &hits), want);
            let of = |kind: u32| (0..kinds.len()).filter(move |row| kinds[*row] == kind);
            let has = slots[0].iter().filter(|p| **p == pool).count() > nth;
            let want = of(0).filter(|row| has && hits.contains(firsts[*row][pool as usize] + nth));
            let want = RowSet::from_rows(places.kinds().len(), want);
            prop_assert_eq!(if has { places.rows_of(pool, &[(0, nth)], &hits) } else { want.clone() }, want);
        }
    }
}
