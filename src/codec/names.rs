//! A column whose few different values are shared by the rows that have them: hosts, apps, peers.

use std::collections::HashMap;
use std::sync::Arc;

use super::column::Column;
use super::pack::{Damage, Read};
use super::parents::RowIds;
use super::places::Codes;
use super::set::RowSet;
use super::texts::Texts;

/// For each row one of some values, or none.
#[derive(Debug)]
pub(super) struct Named<T: ?Sized> {
    /// The value's number and one; 0 for none.
    rows: Codes,
    values: Vec<Arc<T>>,
}

impl<T: ?Sized> Named<T> {
    /// From a column, and which rows have a value.
    pub(super) fn new(
        column: &Column,
        present: &[bool],
        read: fn(&[u8]) -> Read<Arc<T>>,
    ) -> Read<Self> {
        let mut values = Vec::new();
        let mut numbers: HashMap<Box<[u8]>, u32, foldhash::fast::RandomState> = HashMap::default();
        // Entries of a dictionary are told apart by their numbers.
        let mut entries: HashMap<u32, u32, foldhash::fast::RandomState> = HashMap::default();
        let mut rows = Vec::with_capacity(present.len());
        let mut room = Vec::new();
        let mut next = 0;
        for present in present {
            if !present {
                rows.push(0);
                continue;
            }
            let entry = match column {
                Column::Ids(ids, _) | Column::Picks(ids, _) => ids.get(next).copied(),
                _ => None,
            };
            let known = entry.and_then(|entry| entries.get(&entry).copied());
            let number = if let Some(known) = known {
                known
            } else {
                let short = Damage("a column that is too short");
                let text = column.text(next, &mut room).ok_or(short)?;
                let number = if let Some(number) = numbers.get(text) {
                    *number
                } else {
                    values.push(read(text)?);
                    let number = u32::try_from(values.len()).unwrap_or(u32::MAX);
                    numbers.insert(text.into(), number);
                    number
                };
                entries.extend(entry.map(|entry| (entry, number)));
                number
            };
            rows.push(number);
            next += 1;
        }
        let rows = Codes::new(&rows, values.len() + 1);
        Ok(Self { rows, values })
    }

    /// The value of a row.
    pub(super) fn get(&self, row: usize) -> Option<&Arc<T>> {
        let number = self.rows.get(row)?.checked_sub(1)?;
        self.values.get(number as usize)
    }

    /// For each row the number of its value and one, 0 for none; and the values.
    pub(super) fn all(&self) -> (&Codes, &[Arc<T>]) {
        (&self.rows, &self.values)
    }

    /// The rows whose value passes.
    pub(super) fn select(&self, mut is: impl FnMut(&T) -> bool) -> RowSet {
        let mut marked = vec![false];
        marked.extend(self.values.iter().map(|value| is(value)));
        if marked.iter().all(|marked| !marked) {
            return RowSet::none(self.rows.len());
        }
        self.rows.marked(&marked)
    }

    /// Bytes in memory.
    pub(super) fn weight(&self) -> usize {
        self.rows.weight() + self.values.len() * 64
    }
}

impl Named<str> {
    /// As a parent of columns.
    pub(super) fn row_ids(&self, which: u32) -> RowIds {
        let mut texts: Texts = std::iter::once(&b""[..]).collect();
        self.values.iter().for_each(|value| texts.push(value.as_bytes()));
        let rows = (0..self.rows.len()).filter_map(|row| self.rows.get(row)).collect();
        RowIds { which, rows, texts: Some(texts) }
    }
}
