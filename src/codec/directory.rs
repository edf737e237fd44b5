//! The columns of a chunk's lines, each to be found and read without the others.
//!
//! Writing: `template` makes a column for the templates of the rows and one for each pool that has
//! values, [`put_columns`] says where each is. Reading: `rebuild` asks [`Directory`] for those that
//! it needs. Small columns stand together in one frame, since they pack better together; the others
//! are packed each on its own, by their encoders.

use super::pack::{
    Damage, Read, pack_section, put_len, take_exact, take_frame, take_len, take_varint,
};
use crate::base::limits::{COLUMN_BYTES_MAX, POOLS_MAX};

/// Columns shorter than this stand in the head; as long as the frames that encoders do not pack.
const SMALL_BYTES_MAX: usize = 4 << 10;

/// A directory entry takes at most so many bytes: two numbers.
const ENTRY_BYTES_MAX: usize = 20;

/// Longest head: the directory, and as many small columns as there may be pools.
const HEAD_BYTES_MAX: usize = (POOLS_MAX + STAMP_POOLS_MAX) * ENTRY_BYTES_MAX + COLUMN_BYTES_MAX;

/// Time formats are few (5 signs and digits); more pools of them are damage.
pub(super) const STAMP_POOLS_MAX: usize = 1 << 16;

/// Writes columns, numbers rising, none empty: a frame of directory and small columns, then the
/// others.
pub(super) fn put_columns(out: &mut Vec<u8>, columns: &[(usize, Vec<u8>)]) {
    let is_small = |column: &Vec<u8>| column.len() < SMALL_BYTES_MAX;
    let mut head = Vec::new();
    put_len(&mut head, columns.len());
    let mut next = 0;
    for (number, column) in columns {
        put_len(&mut head, number - next);
        put_len(&mut head, column.len());
        next = number + 1;
    }
    for (_, column) in columns.iter().filter(|(_, column)| is_small(column)) {
        head.extend_from_slice(column);
    }
    out.extend_from_slice(&pack_section(&head));
    for (_, column) in columns.iter().filter(|(_, column)| !is_small(column)) {
        out.extend_from_slice(column);
    }
}

/// Where a chunk's columns stand.
#[derive(Debug)]
pub(super) struct Directory {
    head: Vec<u8>,
    large: Vec<u8>,
    /// Number, start and end; a small one's in `head`, another's in `large`. Numbers rise.
    columns: Vec<(usize, usize, usize)>,
}

impl Directory {
    /// Reads where the columns stand of all that is left of `input`.
    pub(super) fn take(input: &mut &[u8]) -> Read<Self> {
        let head = take_frame(input, HEAD_BYTES_MAX)?;
        let mut rest = &head[..];
        let count = take_len(&mut rest, head.len())?;
        let mut columns = Vec::new();
        let mut next = 0_usize;
        for _ in 0..count {
            let number = usize::try_from(take_varint(&mut rest)?).ok();
            let number = number.and_then(|n| n.checked_add(next)).filter(|n| *n < usize::MAX);
            let number = number.ok_or(Damage("a column of no pool"))?;
            columns.push((number, 0, take_len(&mut rest, COLUMN_BYTES_MAX)?));
            next = number + 1;
        }
        let (mut small, mut large) = (head.len() - rest.len(), 0);
        for (_, start, end) in &mut columns {
            let at = if *end < SMALL_BYTES_MAX { &mut small } else { &mut large };
            *start = *at;
            *at += *end;
            *end = *at;
        }
        if small != head.len() {
            return Err(Damage("columns that are not there"));
        }
        Ok(Self { head, large: take_exact(input, large)?.to_vec(), columns })
    }

    /// The bytes of a column; none where it has no values.
    pub(super) fn column(&self, number: usize) -> &[u8] {
        let Ok(at) = self.columns.binary_search_by_key(&number, |column| column.0) else {
            return &[];
        };
        self.nth(at)
    }

    /// The bytes of a column by its place among those that are there.
    pub(super) fn nth(&self, at: usize) -> &[u8] {
        let (_, start, end) = self.columns.get(at).copied().unwrap_or_default();
        let bytes = if end - start < SMALL_BYTES_MAX { &self.head } else { &self.large };
        bytes.get(start..end).unwrap_or_default()
    }

    /// Bytes in memory.
    pub(super) fn weight(&self) -> usize {
        self.head.len() + self.large.len() + self.columns.len() * size_of::<(usize, usize, usize)>()
    }

    /// The numbers of the columns that are there, rising.
    pub(super) fn numbers(&self) -> impl Iterator<Item = usize> {
        self.columns.iter().map(|column| column.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_column_is_found() {
        let column = |len: usize| (0..len).map(|n| n.to_le_bytes()[0]).collect::<Vec<u8>>();
        let columns: Vec<(usize, Vec<u8>)> =
            [(0, 1), (1, SMALL_BYTES_MAX), (5, SMALL_BYTES_MAX - 1), (900, 3 << 20)]
                .map(|(number, len)| (number, column(len)))
                .into();
        let mut out = Vec::new();
        put_columns(&mut out, &columns);
        let mut input = &out[..];
        let directory = Directory::take(&mut input).unwrap();
        assert!(input.is_empty());
        assert_eq!(directory.numbers().collect::<Vec<_>>(), [0, 1, 5, 900]);
        for (number, column) in &columns {
            assert_eq!(directory.column(*number), column);
        }
        assert!(directory.column(2).is_empty());
        assert!(Directory::take(&mut &out[..out.len() - 1]).is_err());
    }

    proptest! {
        #[test]
        fn garbage_is_damage_never_a_panic(bytes: Vec<u8>) {
            if let Ok(directory) = Directory::take(&mut &bytes[..]) {
                let found = directory.numbers().map(|number| directory.column(number).len());
                prop_assert!(found.sum::<usize>() < COLUMN_BYTES_MAX);
            }
            let mut out = Vec::new();
            out.extend_from_slice(&pack_section(&bytes));
            drop(Directory::take(&mut &out[..]));
        }
    }
}
