//! Sets of rows of one chunk: the answer of every question that is asked of a chunk.
//!
//! Questions narrow each other down (`ask`); what adds up matches takes whole sets, so that none
//! and all cost nothing.

use std::borrow::Cow;

/// Some of the rows of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowSet {
    rows: usize,
    bits: Bits,
}

/// Which of them. A set that holds none or all is always said as such.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Bits {
    None,
    All,
    /// One bit a row, lowest first; those behind the last row are 0.
    Some(Vec<u64>),
}

const WORD: usize = u64::BITS as usize;

impl RowSet {
    /// None of no rows.
    pub const NOTHING: Self = Self { rows: 0, bits: Bits::None };

    /// None of so many rows.
    pub fn none(rows: usize) -> Self {
        Self { rows, bits: Bits::None }
    }

    /// All of so many rows.
    pub fn all(rows: usize) -> Self {
        Self { rows, bits: if rows == 0 { Bits::None } else { Bits::All } }
    }

    /// Those for which `is` says so, asked in their order.
    pub fn of(rows: usize, mut is: impl FnMut(usize) -> bool) -> Self {
        let word = |n: usize| {
            let (start, end) = (n * WORD, rows.min((n + 1) * WORD));
            (start..end).fold(0, |word, row| word | u64::from(is(row)) << (row - start))
        };
        Self::from_words(rows, (0..rows.div_ceil(WORD)).map(word).collect())
    }

    /// Those whose number `is` says so of; quicker than [`Self::of`].
    pub(super) fn of_each<T: Copy>(numbers: &[T], is: impl Fn(T) -> bool) -> Self {
        let word = |numbers: &[T]| {
            numbers.iter().rev().fold(0, |word, number| word << 1 | u64::from(is(*number)))
        };
        Self::from_words(numbers.len(), numbers.chunks(WORD).map(word).collect())
    }

    /// For each row whether it is in it.
    pub(super) fn marks(&self) -> Vec<bool> {
        (0..self.rows).map(|row| self.contains(row)).collect()
    }

    /// From some rows, in any order; those that are not there are left out.
    pub fn from_rows(rows: usize, some: impl IntoIterator<Item = usize>) -> Self {
        let mut words = vec![0_u64; rows.div_ceil(WORD)];
        for row in some.into_iter().filter(|row| *row < rows) {
            Self::add(&mut words, row);
        }
        Self::from_words(rows, words)
    }

    fn from_words(rows: usize, words: Vec<u64>) -> Self {
        let count: usize = words.iter().map(|word| word.count_ones() as usize).sum();
        let bits = match count {
            0 => Bits::None,
            _ if count == rows => Bits::All,
            _ => Bits::Some(words),
        };
        Self { rows, bits }
    }

    /// How many rows the chunk has.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many of them are in the set.
    pub fn count(&self) -> usize {
        match &self.bits {
            Bits::None => 0,
            Bits::All => self.rows,
            Bits::Some(words) => words.iter().map(|word| word.count_ones() as usize).sum(),
        }
    }

    /// Is it empty?
    pub fn is_none(&self) -> bool {
        self.bits == Bits::None
    }

    /// Does it hold every row (and is there one)?
    pub fn is_all(&self) -> bool {
        self.bits == Bits::All
    }

    /// Is this row in it?
    pub fn contains(&self, row: usize) -> bool {
        row < self.rows && self.word(row / WORD) >> (row % WORD) & 1 == 1
    }

    /// The rows in it, rising.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        let (mut next, mut word) = (0, 0_u64);
        let words = self.rows.div_ceil(WORD);
        std::iter::from_fn(move || {
            while word == 0 {
                if next >= words {
                    return None;
                }
                word = self.word(next);
                next += 1;
            }
            let bit = word.trailing_zeros() as usize;
            // The lowest bit that is set goes.
            word &= word - 1;
            Some((next - 1) * WORD + bit)
        })
    }

    /// Adds a row that is there.
    fn add(words: &mut [u64], row: usize) {
        if let Some(word) = words.get_mut(row / WORD) {
            *word |= 1 << (row % WORD);
        }
    }

    /// Those that are in both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        match (&self.bits, &other.bits) {
            (Bits::None, _) | (_, Bits::All) => self.clone(),
            (_, Bits::None) | (Bits::All, _) => other.clone(),
            _ => self.joined(other, |a, b| a & b),
        }
    }

    /// Those that are in either.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        match (&self.bits, &other.bits) {
            (Bits::All, _) | (_, Bits::None) => self.clone(),
            (_, Bits::All) | (Bits::None, _) => other.clone(),
            _ => self.joined(other, |a, b| a | b),
        }
    }

    /// Those that are not in the other.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        match (&self.bits, &other.bits) {
            (Bits::None, _) | (_, Bits::None) => self.clone(),
            (_, Bits::All) => Self::none(self.rows),
            _ => self.joined(other, |a, b| a & !b),
        }
    }

    fn joined(&self, other: &Self, join: impl Fn(u64, u64) -> u64) -> Self {
        let (left, right) = (self.words(), other.words());
        let words = left.iter().zip(right.iter()).map(|(a, b)| join(*a, *b)).collect();
        Self::from_words(self.rows, words)
    }

    fn words(&self) -> Cow<'_, [u64]> {
        match &self.bits {
            Bits::Some(words) => Cow::Borrowed(words),
            _ => (0..self.rows.div_ceil(WORD)).map(|n| self.word(n)).collect(),
        }
    }

    fn word(&self, n: usize) -> u64 {
        match &self.bits {
            Bits::None => 0,
            Bits::Some(words) => words.get(n).copied().unwrap_or_default(),
            Bits::All => match self.rows.saturating_sub(n * WORD) {
                0 => 0,
                left if left < WORD => (1 << left) - 1,
                _ => u64::MAX,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sets_are_sets(
            rows in 0_usize..200,
            a in prop::collection::vec(0_usize..200, 0..250),
            b in prop::collection::vec(0_usize..200, 0..250),
            whole in 0..4,
        ) {
            let of = |some: &[usize], whole: bool| -> BTreeSet<usize> {
                (0..rows).filter(|row| whole || some.contains(row)).collect()
            };
            let (a, b) = (of(&a, whole & 1 == 1), of(&b, whole & 2 == 2));
            let set = |of: &BTreeSet<usize>| RowSet::from_rows(rows, of.iter().copied());
            let (x, y) = (set(&a), set(&b));
            prop_assert_eq!(x.iter().collect::<BTreeSet<_>>(), a.clone());
            prop_assert!(x.iter().is_sorted());
            prop_assert_eq!(&x, &RowSet::of(rows, |row| a.contains(&row)));
            prop_assert_eq!(x.count(), a.len());
            prop_assert_eq!(x.is_none(), a.is_empty());
            prop_assert_eq!(x.is_all(), rows > 0 && a.len() == rows);
            prop_assert!((0..rows + 70).all(|row| x.contains(row) == a.contains(&row)));
            prop_assert_eq!(x.and(&y), set(&a.intersection(&b).copied().collect()));
            prop_assert_eq!(x.or(&y), set(&a.union(&b).copied().collect()));
            prop_assert_eq!(x.minus(&y), set(&a.difference(&b).copied().collect()));
        }
    }
}
