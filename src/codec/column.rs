//! Columns of values: gather, look for what comes again, write, read.
//!
//! A [`Pool`] gathers the values of one place (a template's slot, a field's key, the hosts) over
//! a whole segment; its dictionary is segment-wide, its columns are cut at the chunks. How each is
//! written, `encoders` knows.

#![expect(
    clippy::indexing_slicing,
    reason = "entries of a dictionary that was counted just before; readers of stored bytes use \
              get()"
)]

use std::collections::HashMap;
use std::sync::Arc;

use super::encoders::{Entries, IDS, Values, encoder_of, put_best};
use super::pack::{Damage, Read, put_varint, take_u8, take_varint};
use super::texts::Texts;
use crate::base::limits::DICTIONARY_ENTRIES_MAX;

/// A decoded column: what [`take_column`] gives.
#[derive(Clone, Debug)]
pub(super) enum Column {
    /// The same value in every row.
    Same(Box<[u8]>, usize),
    /// Numbers of entries of the segment's dictionary, each checked to be there.
    Ids(Vec<u32>, Arc<Texts>),
    /// Values of their own.
    Texts(Texts),
}

impl Column {
    /// The value of a row.
    pub(super) fn get(&self, row: usize) -> Option<&[u8]> {
        match self {
            Self::Same(text, rows) => (row < *rows).then_some(text),
            Self::Ids(ids, dictionary) => dictionary.get(usize::try_from(*ids.get(row)?).ok()?),
            Self::Texts(texts) => texts.get(row),
        }
    }

    /// Bytes in memory, the dictionary apart.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Same(text, _) => text.len(),
            Self::Ids(ids, _) => ids.len() * size_of::<u32>(),
            Self::Texts(texts) => texts.weight(),
        }
    }
}

/// All values of one place in a segment, chunk by chunk.
#[derive(Debug, Default)]
pub(super) struct Pool {
    chunks: Vec<Texts>,
}

impl Pool {
    /// The values of a chunk, to add to.
    pub(super) fn chunk(&mut self, n: usize) -> &mut Texts {
        if self.chunks.len() <= n {
            self.chunks.resize_with(n + 1, Texts::default);
        }
        &mut self.chunks[n]
    }

    /// The values of a chunk, where there are any.
    pub(super) fn values(&self, n: usize) -> Option<&Texts> {
        self.chunks.get(n).filter(|texts| texts.len() > 0)
    }
}

/// A pool with what was found out about all of it.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pool: &'a Pool,
    dictionary: Texts,
    /// For each chunk the entry of each value; empty where there is no dictionary.
    ids: Vec<Vec<u32>>,
    values: usize,
    used: bool,
}

/// Values looked at before a dictionary of mostly different ones is given up.
const DICTIONARY_SAMPLE: usize = 4_096;

/// A dictionary pays where values come again: at most this many of a hundred may be new.
const DICTIONARY_NEW_PERCENT_MAX: usize = 70;

impl<'a> Plan<'a> {
    /// Looks at all values once and decides whether the segment gets a dictionary of them.
    pub(super) fn new(pool: &'a Pool) -> Self {
        let mut plan =
            Self { pool, dictionary: Texts::default(), ids: Vec::new(), values: 0, used: false };
        let mut entries: HashMap<&[u8], u32, foldhash::fast::RandomState> = HashMap::default();
        for texts in &pool.chunks {
            let mut ids = Vec::with_capacity(texts.len());
            for text in texts.iter() {
                let next = entries.len();
                let id = *entries.entry(text).or_insert_with(|| {
                    plan.dictionary.push(text);
                    u32::try_from(next).unwrap_or(u32::MAX)
                });
                ids.push(id);
                plan.values += 1;
                let new_are_many = entries.len() * 100 > plan.values * DICTIONARY_NEW_PERCENT_MAX;
                if plan.values.is_multiple_of(DICTIONARY_SAMPLE) && new_are_many
                    || entries.len() > DICTIONARY_ENTRIES_MAX
                {
                    return plan.without_dictionary();
                }
            }
            plan.ids.push(ids);
        }
        if plan.values > 8 && entries.len() * 100 > plan.values * DICTIONARY_NEW_PERCENT_MAX {
            return plan.without_dictionary();
        }
        plan
    }

    fn without_dictionary(mut self) -> Self {
        self.dictionary = Texts::default();
        self.ids = Vec::new();
        self.values = self.pool.chunks.iter().map(Texts::len).sum();
        self
    }

    /// The different values of a chunk where there is a dictionary, all of them where not.
    pub(super) fn for_each_distinct(&self, chunk: usize, mut visit: impl FnMut(&[u8])) {
        let Some(texts) = self.pool.values(chunk) else { return };
        match self.ids.get(chunk) {
            None => texts.iter().for_each(visit),
            Some(ids) => {
                let mut seen = vec![false; self.dictionary.len()];
                for (id, text) in ids.iter().zip(texts.iter()) {
                    if !std::mem::replace(&mut seen[*id as usize], true) {
                        visit(text);
                    }
                }
            }
        }
    }

    /// Writes a chunk's column; nothing where the chunk has no value here.
    pub(super) fn put_column(&mut self, chunk: usize, out: &mut Vec<u8>) {
        let Some(texts) = self.pool.values(chunk) else { return };
        let ids = self.ids.get(chunk).map(|ids| Entries {
            ids,
            of: self.dictionary.len(),
            // What the dictionary costs, in the share that this chunk has of its use.
            share: (self.dictionary.total() / 2 + self.dictionary.len()) * texts.len()
                / self.values.max(1),
        });
        let tag = put_best(&Values { texts, ids }, out);
        self.used |= tag == IDS;
    }

    /// Writes the dictionary, after all columns; an empty one where no column uses it.
    pub(super) fn put_dictionary(&self, out: &mut Vec<u8>) {
        let none = Texts::default();
        let dictionary = if self.used { &self.dictionary } else { &none };
        put_varint(out, dictionary.len() as u64);
        if dictionary.len() > 0 {
            put_best(&Values { texts: dictionary, ids: None }, out);
        }
    }
}

/// A dictionary from what [`Plan::put_dictionary`] wrote.
pub(super) fn take_dictionary(input: &mut &[u8]) -> Read<Arc<Texts>> {
    let count = usize::try_from(take_varint(input)?)
        .ok()
        .filter(|n| *n <= DICTIONARY_ENTRIES_MAX)
        .ok_or(Damage("a dictionary that is too long"))?;
    if count == 0 {
        return Ok(Arc::default());
    }
    let column = take_column(input, count, &Arc::default())?;
    match column {
        Column::Texts(texts) => Ok(Arc::new(texts)),
        Column::Same(text, 1) => Ok(Arc::new(std::iter::once(&*text).collect())),
        _ => Err(Damage("a dictionary with an entry twice")),
    }
}

/// A column of `count` values; nothing stands there for none.
pub(super) fn take_column(
    input: &mut &[u8],
    count: usize,
    dictionary: &Arc<Texts>,
) -> Read<Column> {
    if count == 0 {
        return Ok(Column::Texts(Texts::default()));
    }
    let tag = take_u8(input)?;
    let encoder = encoder_of(tag).ok_or(Damage("a column of an unknown encoder"))?;
    let column = encoder.decode(input, count, dictionary)?;
    let rows = match &column {
        Column::Same(_, rows) => *rows,
        Column::Ids(ids, _) => ids.len(),
        Column::Texts(texts) => texts.len(),
    };
    if rows == count { Ok(column) } else { Err(Damage("a column of the wrong length")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Encodes the values as two chunks of a pool and decodes both.
    fn round_trip(values: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut pool = Pool::default();
        let (a, b) = values.split_at(values.len() / 2);
        for (n, chunk) in [a, b].iter().enumerate() {
            for value in *chunk {
                pool.chunk(n).push(value);
            }
        }
        let mut plan = Plan::new(&pool);
        let (mut columns, mut shared) = (Vec::new(), Vec::new());
        for n in 0..2 {
            plan.put_column(n, &mut columns);
        }
        plan.put_dictionary(&mut shared);
        let dictionary = take_dictionary(&mut &shared[..]).unwrap();
        let mut input = &columns[..];
        let mut back = Vec::new();
        for chunk in [a, b] {
            let column = take_column(&mut input, chunk.len(), &dictionary).unwrap();
            back.extend((0..chunk.len()).map(|n| column.get(n).unwrap().to_vec()));
            assert_eq!(column.get(chunk.len()), None);
        }
        assert!(input.is_empty());
        back
    }

    fn some_value() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            any::<i64>().prop_map(|n| n.to_string().into_bytes()),
            (0..50_u8).prop_map(|n| n.to_string().into_bytes()),
            "[0-9a-f]{8}".prop_map(String::into_bytes),
            "-?[0-9]{1,3}\\.[0-9]{2}".prop_map(String::into_bytes),
            "[0-9]{4}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..9),
        ]
    }

    proptest! {
        #[test]
        fn any_column_comes_back(values in prop::collection::vec(some_value(), 0..60)) {
            prop_assert_eq!(round_trip(&values), values);
        }

        #[test]
        fn even_columns_come_back(
            values in some_value().prop_flat_map(|v| prop::collection::vec(Just(v), 0..40)),
            other in some_value(),
        ) {
            prop_assert_eq!(&round_trip(&values), &values);
            let mut values = values;
            values.push(other);
            prop_assert_eq!(round_trip(&values), values);
        }

        #[test]
        fn garbage_is_damage_never_a_panic(bytes: Vec<u8>, tag in 0_u8..9, count in 0_usize..50) {
            let mut input = bytes;
            input.insert(0, tag);
            drop(take_column(&mut &input[..], count, &Arc::default()));
            drop(take_dictionary(&mut &input[..]));
        }
    }
}
