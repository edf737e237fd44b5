//! All values of one place in a segment (a template's slot, a field's key, the hosts), as they
//! come, and the dictionary that is made of them on the way.
//!
//! The dictionary is segment-wide, the columns are cut at the chunks. A pool whose values are
//! mostly new keeps them as texts instead. [`Plan`] is the pool with what was found out about all of
//! it, ready to be written by `encoders`.

use std::hash::{BuildHasher, Hasher};

use hashbrown::HashTable;

use super::Strength;
use super::encoders::{Entries, Facts, Input, put_best};
use super::pack::put_varint;
use super::predict::Parent;
use super::texts::{Texts, Values};
use crate::base::limits::DICTIONARY_ENTRIES_MAX;

/// Values looked at before a dictionary of mostly different ones is given up.
const DICTIONARY_SAMPLE: usize = 4_096;

/// A dictionary pays where values come again: at most this many of a hundred may be new.
const DICTIONARY_NEW_PERCENT_MAX: usize = 70;

/// So few values are not judged.
const FEW: usize = 8;

/// All values of one place in a segment, chunk by chunk.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// For each value its entry; nothing where there is no dictionary.
    ids: Vec<u32>,
    /// Of the last value.
    last: Key,
    /// Was the dictionary given up?
    plain: bool,
    index: Index,
    /// The different ones as they first came; all of them where there is no dictionary.
    texts: Texts,
    /// Each chunk that has values here, and the first of them.
    cuts: Vec<(usize, usize)>,
}

impl Pool {
    /// Adds a value of a chunk; chunks come in their order.
    pub(super) fn push(&mut self, chunk: usize, text: &[u8]) {
        self.extend(chunk, &[text]);
    }

    /// Adds values of a chunk.
    pub(super) fn extend(&mut self, chunk: usize, texts: &[&[u8]]) {
        if self.cuts.last().is_none_or(|(last, _)| *last < chunk) {
            self.cuts.push((chunk, self.len()));
        }
        for text in texts {
            if self.plain {
                self.texts.push(text);
            } else {
                self.enter(text);
            }
        }
    }

    /// Adds the last value of the same chunk once more; `false` where that is not known.
    pub(super) fn push_again(&mut self, chunk: usize) -> bool {
        let last = self.ids.last().copied();
        let last = last.filter(|_| self.cuts.last().is_some_and(|(last, _)| *last == chunk));
        last.map(|last| self.put(last)).is_some()
    }

    /// Adds a value to the dictionary, if it is not there.
    fn enter(&mut self, text: &[u8]) {
        let key = self.index.key(text);
        let id = match self.ids.last() {
            Some(last) if self.last == key && is_entry(text, *last, &self.texts) => *last,
            _ => self.index.entry(key, text, &mut self.texts),
        };
        self.last = key;
        self.put(id);
    }

    fn put(&mut self, entry: u32) {
        self.ids.push(entry);
        let looks = self.ids.len().is_multiple_of(DICTIONARY_SAMPLE);
        if looks && self.is_mostly_new() || self.texts.len() > DICTIONARY_ENTRIES_MAX {
            self.give_up();
        }
    }

    /// The entry of a text in the dictionary, a new one where it has none; `None` where there is no
    /// dictionary any more. A merge asks once for each entry of its inputs' dictionaries.
    pub(super) fn entry(&mut self, text: &[u8]) -> Option<u32> {
        (!self.plain).then(|| self.index.entry(self.index.key(text), text, &mut self.texts))
    }

    /// Adds a value by its entry, of a pool that has a dictionary still.
    pub(super) fn push_entry(&mut self, chunk: usize, entry: u32) {
        if self.cuts.last().is_none_or(|(last, _)| *last < chunk) {
            self.cuts.push((chunk, self.len()));
        }
        self.last = Key::NONE;
        self.put(entry);
    }

    /// Was the dictionary given up? Each chunk is written as it would be alone, then.
    pub(super) fn is_plain(&self) -> bool {
        self.plain
    }

    /// Lets go of the values of a pool that has no dictionary: they are written.
    pub(super) fn clear_plain(&mut self) {
        if self.plain {
            (self.texts, self.cuts) = (Texts::default(), Vec::new());
        }
    }

    fn is_mostly_new(&self) -> bool {
        self.texts.len() * 100 > self.ids.len() * DICTIONARY_NEW_PERCENT_MAX
    }

    fn give_up(&mut self) {
        let ids = std::mem::take(&mut self.ids);
        let entries = std::mem::take(&mut self.texts);
        self.texts = ids.iter().filter_map(|id| entries.get(*id as usize)).collect();
        self.index = Index::default();
        self.plain = true;
    }

    /// Values of all chunks.
    pub(super) fn len(&self) -> usize {
        if self.plain { self.texts.len() } else { self.ids.len() }
    }

    /// Where the values of a chunk are among all.
    fn range(&self, chunk: usize) -> Option<(usize, usize)> {
        let at = self.cuts.binary_search_by_key(&chunk, |(chunk, _)| *chunk).ok()?;
        let end = self.cuts.get(at + 1).map_or(self.len(), |(_, first)| *first);
        self.cuts.get(at).map(|(_, first)| (*first, end))
    }

    /// The values of a chunk, where there are any.
    pub(super) fn values(&self, chunk: usize) -> Option<Values<'_>> {
        let (from, to) = self.range(chunk)?;
        if self.plain {
            return Some(self.texts.values(from, to));
        }
        self.ids.get(from..to).map(|ids| self.texts.picked(ids))
    }
}

/// What texts are told apart by before they are compared: short ones by this alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Key(u64);

impl Key {
    /// Bytes of a text that is all in its key, behind its length.
    const SHORT: usize = 7;

    /// Of no text.
    const NONE: Self = Self(Self::SHORT as u64 + 1);

    /// The table takes its place from the low bits and a tag from the high ones.
    fn spread(self) -> u64 {
        let mixed = self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ mixed >> 32
    }
}

/// Is it the text of the entry that has the same key?
fn is_entry(text: &[u8], entry: u32, entries: &Texts) -> bool {
    text.len() <= Key::SHORT || entries.get(entry as usize) == Some(text)
}

/// The bytes of a text of 7 at most as a number, little-endian. Made of loads of two and four
/// bytes: one made byte by byte would have to wait until all of them are stored.
fn short(text: &[u8]) -> u64 {
    if let (Some(head), Some(tail)) = (text.first_chunk(), text.last_chunk()) {
        let (head, tail) = (u32::from_le_bytes(*head), u32::from_le_bytes(*tail));
        let twice = 8 * (2 * size_of::<u32>() - text.len());
        return u64::from(head) | (u64::from(tail) >> twice) << 32;
    }
    match *text {
        [a, b, c] => u64::from_le_bytes([a, b, c, 0, 0, 0, 0, 0]),
        [a, b] => u64::from(u16::from_le_bytes([a, b])),
        [a] => u64::from(a),
        _ => 0,
    }
}

/// Which entry a text has: keys and numbers, the texts themselves are the dictionary's.
#[derive(Debug, Default)]
struct Index {
    table: HashTable<(Key, u32)>,
    hasher: foldhash::fast::RandomState,
}

impl Index {
    fn key(&self, text: &[u8]) -> Key {
        if text.len() <= Key::SHORT {
            return Key(short(text) << 8 | text.len() as u64);
        }
        let mut hasher = self.hasher.build_hasher();
        hasher.write(text);
        Key(hasher.finish() | 0xff)
    }

    /// The entry of a text, a new one where it has none.
    fn entry(&mut self, key: Key, text: &[u8], entries: &mut Texts) -> u32 {
        let is = |entry: &(Key, u32)| entry.0 == key && is_entry(text, entry.1, entries);
        if let Some((_, id)) = self.table.find(key.spread(), is) {
            return *id;
        }
        let id = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        entries.push(text);
        self.table.insert_unique(key.spread(), (key, id), |entry| entry.0.spread());
        id
    }
}

/// A pool with what was found out about all of it.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pool: &'a Pool,
    strength: Strength,
    /// Of the dictionary's entries.
    facts: Facts,
    /// Is the dictionary worth keeping, and did a column use it?
    kept: bool,
    used: bool,
}

impl<'a> Plan<'a> {
    /// Looks at each different value once.
    pub(super) fn new(pool: &'a Pool, strength: Strength) -> Self {
        let few = pool.ids.len() <= FEW;
        let kept = !pool.plain && (few || !pool.is_mostly_new());
        let facts = if pool.plain {
            Facts::default()
        } else {
            Facts::of(&pool.texts.values(0, pool.texts.len()))
        };
        Self { pool, strength, facts, kept, used: false }
    }

    /// The chunks that have values here, as far as they are not written yet.
    pub(super) fn chunks(&self) -> impl Iterator<Item = usize> {
        self.pool.cuts.iter().map(|(chunk, _)| *chunk)
    }

    /// The different values of a chunk where there is a dictionary, all of them where not.
    pub(super) fn for_each_distinct(&self, chunk: usize, mut visit: impl FnMut(&[u8])) {
        let Some(values) = self.pool.values(chunk) else { return };
        if self.pool.plain {
            values.iter().for_each(visit);
            return;
        }
        let mut seen = vec![false; self.pool.texts.len()];
        for n in 0..values.len() {
            let seen = values.number(n).and_then(|number| seen.get_mut(number as usize));
            if seen.is_some_and(|seen| !std::mem::replace(seen, true)) {
                visit(values.get(n));
            }
        }
    }

    /// Writes a chunk's column; nothing where the chunk has no value here. `parents` are what
    /// stands beside its values.
    pub(super) fn put_column(&mut self, chunk: usize, parents: &[Parent<'_>], out: &mut Vec<u8>) {
        let Some(values) = self.pool.values(chunk) else { return };
        let entries = (!self.pool.plain).then(|| Entries {
            facts: &self.facts,
            of: self.pool.texts.len(),
            cost: self.pool.texts.total() / 2 + self.pool.texts.len(),
            uses: self.pool.ids.len(),
            kept: self.kept,
        });
        let input = Input { values, entries, parents, strength: self.strength };
        self.used |= put_best(&input, out);
    }

    /// Writes the dictionary, after all columns; an empty one where no column uses it.
    pub(super) fn put_dictionary(&self, out: &mut Vec<u8>) {
        let entries = if self.used { self.pool.texts.len() } else { 0 };
        put_varint(out, entries as u64);
        if entries > 0 {
            let values = self.pool.texts.values(0, entries);
            let input = Input { values, entries: None, parents: &[], strength: self.strength };
            put_best(&input, out);
        }
    }
}
