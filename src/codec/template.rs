//! Lines as templates: the text that comes again and again once, what varies in columns.
//!
//! [`Lines`] takes the texts of one place (the messages, or what stands around them) over a whole
//! segment, cuts each with the one splitter, counts which templates there are, and then files the
//! slots into pools: one for each time format, one for each key, one for each slot of a template.
//! A line of a template that hardly comes again is kept whole. `rebuild` reads it again.

#![expect(clippy::indexing_slicing, reason = "works on positions that the splitter gave")]

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::Strength;
use super::directory::put_columns;
use super::families::{self, Change, Found, Source};
use super::integers::Integers;
use super::pack::{put_bytes, put_frame, put_len, put_numbers, put_varint};
use super::parents::{Aligned, OWN, RowIds};
use super::pool::{Plan, Pool};
use super::predict::Parent;
use super::skeleton::Skeleton;
use super::texts::Texts;
use super::words::Words;
use crate::base::limits::{POOLS_MAX, TEMPLATE_BYTES_MAX, TEMPLATES_MAX};
use crate::base::split::{Piece as Cut, Slot, Splitter};
use crate::base::stamp::{FORMAT_BYTES, Format};
use crate::base::time::Timestamp;

/// Rows of a template from which on it is kept; with fewer, its lines are kept whole.
pub(super) const TEMPLATE_ROWS_MIN: usize = 3;

/// Rows of a template from which on its slots have pools of their own.
const OWN_POOL_ROWS_MIN: usize = 16;

/// Values of a column from which on it may be told by what stands beside it.
const TOLD_ROWS_MIN: usize = 16;

/// Fingerprints of texts that are told apart.
const GUESSES: usize = 1 << 14;

/// Slots of a text, about.
const SLOTS_EXPECTED: usize = 10;

/// Rows that are filed at once: their texts stay near the processor meanwhile.
const ROWS_AT_ONCE: usize = 4_096;

/// The two templates that are always there: the whole text, and the texts around a hole.
const WHOLE: u32 = 0;
const AROUND: u32 = 1;

/// The pool of what comes seldom; behind that of whole texts, always there as well.
const RARE: u32 = 1;

/// The byte that starts a marker in a template's key; texts that hold it are kept whole.
pub(super) const MARK: u8 = 0xff;

/// What a marker, and a stored piece, stands for.
pub(super) const STATIC: u8 = 0;
pub(super) const PLAIN: u8 = 1;
pub(super) const KEYED: u8 = 2;
pub(super) const STAMP: u8 = 3;
pub(super) const HOLE: u8 = 4;
/// Only in keys: all that is left of a line.
pub(super) const REST: u8 = 5;
/// Only in keys, of what was merged: a slot that holds a word, of a family.
pub(super) const WORD: u8 = 6;

/// What a stored pool gathers.
pub(super) const POOL_WHOLE: u8 = 0;
pub(super) const POOL_RARE: u8 = 1;
pub(super) const POOL_KEY: u8 = 2;
pub(super) const POOL_SLOT: u8 = 3;
pub(super) const POOL_STAMP: u8 = 4;

/// A template as it is found: its key, and what its slots are.
#[derive(Debug)]
struct Draft {
    /// Static text, and markers for slots and the hole: two texts have the same key just where
    /// they have the same template.
    key: Box<[u8]>,
    slots: Vec<Kind>,
    rows: usize,
    /// Has it rows whose texts are not at hand, so that it is kept however rare it is?
    fixed: bool,
}

impl Draft {
    /// Is it mostly keys and values? Those have pools whatever the template, so that it pays
    /// however rarely it comes.
    fn is_keyed(&self) -> bool {
        let keyed = self.slots.iter().filter(|kind| matches!(kind, Kind::Keyed(_))).count();
        keyed > 1 && keyed * 2 >= self.slots.len()
    }
}

/// What a slot is, on its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Plain,
    Keyed(Box<[u8]>),
    Stamp(Format),
    /// All that is left of a rare line.
    Rest,
}

/// A text, and what was found out about it.
#[derive(Debug)]
pub(super) struct Row<'a> {
    text: &'a [u8],
    /// Where it starts and ends.
    hole: Option<(u32, u32)>,
    /// The draft at first, the template once they are counted.
    template: u32,
    /// Where its slots start among all, and how many they are.
    first: u32,
    count: u32,
    time: i64,
}

impl<'a> Row<'a> {
    /// A slot of the template that the row has in the end.
    fn slot(&self, n: usize, slots: &[(u32, u32)]) -> Option<&'a [u8]> {
        match (self.template, self.hole, n) {
            (WHOLE, _, 0) => Some(self.text),
            (AROUND, Some((head, _)), 0) => self.text.get(..head as usize),
            (AROUND, Some((_, tail)), 1) => self.text.get(tail as usize..),
            (WHOLE | AROUND, ..) => None,
            _ if n < self.count as usize => {
                let (start, end) = *slots.get(self.first as usize + n)?;
                self.text.get(start as usize..end as usize)
            }
            _ => None,
        }
    }
}

/// All texts of one place in a segment.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    splitter: Splitter,
    cuts: Vec<Cut>,
    key: Vec<u8>,
    drafts: Vec<Draft>,
    index: HashMap<Box<[u8]>, u32, foldhash::fast::RandomState>,
    /// The last draft of each fingerprint.
    guesses: Vec<u32>,
    key_bytes: usize,
    chunks: Vec<Vec<Row<'a>>>,
    slots: Vec<(u32, u32)>,
    /// No text is cut.
    keep_whole: bool,
}

impl<'a> Lines<'a> {
    /// None yet; such as are all to be kept whole, or not.
    pub(super) fn new(keep_whole: bool) -> Self {
        Self {
            splitter: Splitter::default(),
            cuts: Vec::new(),
            key: Vec::new(),
            drafts: Vec::new(),
            index: HashMap::default(),
            guesses: vec![u32::MAX; GUESSES],
            key_bytes: 0,
            chunks: Vec::new(),
            slots: Vec::new(),
            keep_whole,
        }
    }

    /// Begins a chunk of so many texts.
    pub(super) fn begin(&mut self, rows: usize) {
        self.chunks.push(Vec::with_capacity(rows));
        self.slots.reserve(rows * SLOTS_EXPECTED);
    }

    /// Adds the next text of the chunk; what stands in the hole is not part of it.
    pub(super) fn push(&mut self, text: &'a [u8], hole: Option<(usize, usize)>, time: Timestamp) {
        let template = self.cut(text, hole).unwrap_or(u32::MAX);
        let offset = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let first = offset(self.slots.len());
        if template != u32::MAX {
            self.slots.extend(self.cuts.iter().map(|cut| (offset(cut.start), offset(cut.end))));
        }
        let count = offset(self.slots.len()) - first;
        let hole = hole.map(|(start, end)| (offset(start), offset(end)));
        let row = Row { text, hole, template, first, count, time: time.0 };
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.push(row);
        }
    }

    /// The draft of a text; `None` where it is to be kept whole.
    fn cut(&mut self, text: &[u8], hole: Option<(usize, usize)>) -> Option<u32> {
        if self.keep_whole
            || memchr::memchr(MARK, text).is_some()
            || u32::try_from(text.len()).is_err()
        {
            return None;
        }
        self.cuts.clear();
        let (head, tail) = hole.unwrap_or((text.len(), text.len()));
        let quoted = self.splitter.split(&text[..head], false, &mut self.cuts);
        let in_head = self.cuts.len();
        if hole.is_some() {
            self.splitter.split(&text[tail..], quoted, &mut self.cuts);
            for cut in &mut self.cuts[in_head..] {
                cut.start += tail;
                cut.end += tail;
                if let Slot::Keyed(start, end) = &mut cut.slot {
                    (*start, *end) = (*start + tail, *end + tail);
                }
            }
        }
        let skeleton = Skeleton { text, hole, cuts: &self.cuts, in_head };
        let guess = skeleton.fingerprint() % GUESSES;
        let guess = self.guesses.get_mut(guess)?;
        if self.drafts.get(*guess as usize).is_some_and(|draft| skeleton.is(&draft.key)) {
            self.drafts[*guess as usize].rows += 1;
            return Some(*guess);
        }
        self.key.clear();
        let key = &mut self.key;
        skeleton.parts(|part| {
            key.extend_from_slice(part);
            true
        });
        if let Some(draft) = self.index.get(&self.key[..]) {
            self.drafts[*draft as usize].rows += 1;
            *guess = *draft;
            return Some(*draft);
        }
        self.draft(text)
    }

    /// A new draft of the key at hand; `None` where there are too many.
    fn draft(&mut self, text: &[u8]) -> Option<u32> {
        if self.is_full(self.key.len()) {
            return None;
        }
        let kind = |cut: &Cut| match cut.slot {
            Slot::Plain => Kind::Plain,
            Slot::Keyed(start, end) => Kind::Keyed(text[start..end].into()),
            Slot::Stamp(format) => Kind::Stamp(format),
        };
        let slots = self.cuts.iter().map(kind).collect();
        let draft = u32::try_from(self.drafts.len()).ok()?;
        self.key_bytes += self.key.len();
        let key: Box<[u8]> = self.key.as_slice().into();
        self.index.insert(key.clone(), draft);
        self.drafts.push(Draft { key, slots, rows: 1, fixed: false });
        Some(draft)
    }

    /// Is there no room for a draft with a key of so many bytes?
    fn is_full(&self, key: usize) -> bool {
        self.drafts.len() >= TEMPLATES_MAX || self.key_bytes + key > TEMPLATE_BYTES_MAX
    }

    /// Adds rows of a template whose texts stand in columns already; the number of its draft, `None`
    /// where there are too many.
    pub(super) fn known(&mut self, key: &[u8], slots: &[Kind], rows: usize) -> Option<u32> {
        let known = self.index.get(key).copied();
        let draft = match known {
            Some(draft) => draft,
            None if self.is_full(key.len()) => return None,
            None => {
                let draft = u32::try_from(self.drafts.len()).ok()?;
                self.key_bytes += key.len();
                self.index.insert(key.into(), draft);
                let (key, slots) = (key.into(), slots.to_vec());
                self.drafts.push(Draft { key, slots, rows: 0, fixed: true });
                draft
            }
        };
        let known = self.drafts.get_mut(draft as usize)?;
        known.fixed = true;
        known.rows += rows;
        Some(draft)
    }

    /// Counts the templates and files all slots into pools.
    pub(super) fn file(self) -> Filed<'a> {
        self.settle(Filed::fill).0
    }

    /// Counts the templates, and hands on the rows of each chunk, some at once, told by the templates
    /// that they have in the end; and what became of each draft.
    pub(super) fn settle(
        self,
        mut fill: impl FnMut(&mut Filed<'a>, usize, &[Row<'a>]),
    ) -> (Filed<'a>, Vec<Settled>) {
        let mut filed = Filed::default();
        let whole = filed.pool(PoolKey::Whole);
        filed.pool(PoolKey::Rare);
        filed.templates.push(vec![Piece::Slot(whole)]);
        filed.templates.push(vec![Piece::Slot(whole), Piece::Hole, Piece::Slot(whole)]);
        for draft in &self.drafts {
            for kind in &draft.slots {
                if let Kind::Keyed(name) = kind {
                    *filed.key_rows.entry(name.clone()).or_insert(0) += draft.rows;
                }
            }
        }
        let (drafts, changes) = unite(&self.drafts);
        let kept =
            |draft: &&Draft| draft.rows >= TEMPLATE_ROWS_MIN || draft.is_keyed() || draft.fixed;
        let numbers: Vec<Option<u32>> = drafts
            .iter()
            .map(|draft| Some(draft).filter(kept).map(|draft| filed.template(draft)))
            .collect();
        filed.slots = self.slots;
        for (chunk, mut rows) in self.chunks.into_iter().enumerate() {
            for row in &mut rows {
                let change = changes.get(row.template as usize);
                let kept = change.and_then(|(draft, _)| numbers.get(*draft as usize));
                if let (Some(Some(_)), Some((_, Some(change)))) = (kept, change) {
                    filed.cut_again(row, &change.sources);
                }
                row.template = kept.copied().flatten().unwrap_or(if row.hole.is_some() {
                    AROUND
                } else {
                    WHOLE
                });
            }
            rows.chunks(ROWS_AT_ONCE).for_each(|rows| fill(&mut filed, chunk, rows));
            filed.chunks.push(rows);
        }
        let drafts = self.drafts.into_iter().zip(changes);
        let settled = drafts.map(|(draft, (united, change))| Settled {
            key: draft.key,
            template: numbers.get(united as usize).copied().flatten(),
            change,
        });
        let settled = settled.collect();
        (filed, settled)
    }
}

/// What became of a draft.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) key: Box<[u8]>,
    /// The template that it is filed as; `None` where its rows are kept whole.
    pub(super) template: Option<u32>,
    /// How its slots were changed for that.
    pub(super) change: Option<Change>,
}

/// Drafts with those that are filed alike as one, and for each of the old its number among them
/// and how it was changed.
fn unite(drafts: &[Draft]) -> (Vec<Draft>, Vec<(u32, Option<Change>)>) {
    let found: Vec<Found<'_>> = drafts
        .iter()
        .map(|draft| Found {
            key: &draft.key,
            rows: draft.rows,
            kept: draft.is_keyed() || draft.fixed,
        })
        .collect();
    let mut united: Vec<Draft> = Vec::new();
    let mut index: HashMap<Box<[u8]>, u32, foldhash::fast::RandomState> = HashMap::default();
    let mut changes = Vec::with_capacity(drafts.len());
    for (draft, change) in drafts.iter().zip(families::change(&found)) {
        let key = change.as_ref().map_or(&draft.key, |change| &change.key);
        let next = u32::try_from(united.len()).unwrap_or(u32::MAX);
        let number = *index.entry(key.clone()).or_insert(next);
        if number == next {
            let kind = |source: &Source| match source {
                Source::Slot(n) => draft.slots[*n].clone(),
                Source::Word { .. } => Kind::Plain,
                Source::Rest { .. } => Kind::Rest,
            };
            let slots = match &change {
                Some(change) => change.sources.iter().map(kind).collect(),
                None => draft.slots.clone(),
            };
            united.push(Draft { key: key.clone(), slots, rows: 0, fixed: false });
        }
        united[number as usize].rows += draft.rows;
        united[number as usize].fixed |= draft.fixed;
        changes.push((number, change));
    }
    (united, changes)
}

/// What a pool gathers; a merge unites those of the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum PoolKey {
    /// Texts that were kept whole.
    Whole,
    /// What comes too seldom for a pool of its own.
    Rare,
    /// The values behind a key.
    Key(Box<[u8]>),
    /// A slot of one template.
    Slot(u32, usize),
    /// Times of a format.
    Stamp(Format),
}

impl PoolKey {
    /// Writes what a reader needs to know; which slot it is, its template says.
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Whole => out.push(POOL_WHOLE),
            Self::Rare => out.push(POOL_RARE),
            Self::Key(name) => {
                out.push(POOL_KEY);
                put_bytes(out, name);
            }
            Self::Slot(..) => out.push(POOL_SLOT),
            Self::Stamp(format) => {
                out.push(POOL_STAMP);
                out.extend_from_slice(&format.to_bytes());
            }
        }
    }
}

/// Values of a pool of texts, or of a time format.
#[derive(Debug)]
enum Values {
    Texts(Pool),
    /// Chunk by chunk, as differences to the record's own time.
    Stamps(Format, Vec<Vec<i64>>),
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Static(Box<[u8]>),
    /// The next value of that pool.
    Slot(u32),
    /// The same, behind a key that comes too seldom for a pool of its own.
    Keyed(u32, Box<[u8]>),
    /// Where the text of another place goes.
    Hole,
}

impl Piece {
    /// The pool of a slot.
    pub(super) fn pool(&self) -> Option<u32> {
        match self {
            Self::Slot(pool) | Self::Keyed(pool, _) => Some(*pool),
            Self::Static(_) | Self::Hole => None,
        }
    }
}

/// All texts of a place, filed.
#[derive(Debug, Default)]
pub(super) struct Filed<'a> {
    templates: Vec<Vec<Piece>>,
    pools: Vec<Values>,
    pool_index: HashMap<PoolKey, u32>,
    /// Rows that have each key.
    key_rows: HashMap<Box<[u8]>, usize>,
    /// For each template the keys of its slots; empty for those that have none.
    keys: Vec<Vec<Box<[u8]>>>,
    chunks: Vec<Vec<Row<'a>>>,
    slots: Vec<(u32, u32)>,
    /// For each chunk the texts of times that hold words or tokens not seen just before.
    wordy: Vec<Texts>,
}

impl<'a> Filed<'a> {
    fn pool(&mut self, key: PoolKey) -> u32 {
        let key = if self.pools.len() >= POOLS_MAX && !matches!(key, PoolKey::Stamp(_)) {
            PoolKey::Rare
        } else {
            key
        };
        let next = u32::try_from(self.pools.len()).unwrap_or(u32::MAX);
        match self.pool_index.entry(key) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                self.pools.push(match entry.key() {
                    PoolKey::Stamp(format) => Values::Stamps(*format, Vec::new()),
                    _ => Values::Texts(Pool::default()),
                });
                *entry.insert(next)
            }
        }
    }

    /// Makes a template of a draft; its number. The key's markers say where its slots are.
    fn template(&mut self, draft: &Draft) -> u32 {
        let number = u32::try_from(self.templates.len()).unwrap_or(u32::MAX);
        let mut pieces = Vec::new();
        let mut slots = draft.slots.iter().enumerate();
        let mut rest = &draft.key[..];
        while let Some(mark) = memchr::memchr(MARK, rest) {
            if mark > 0 {
                pieces.push(Piece::Static(rest[..mark].into()));
            }
            let kind = rest[mark + 1];
            rest = &rest[mark + 2 + if kind == STAMP { FORMAT_BYTES } else { 0 }..];
            if kind == HOLE {
                pieces.push(Piece::Hole);
                continue;
            }
            let slot = slots.next();
            let key = match slot {
                Some((_, Kind::Stamp(format))) => PoolKey::Stamp(*format),
                Some((_, Kind::Keyed(name))) if self.is_frequent(name) => {
                    PoolKey::Key(name.clone())
                }
                Some((n, Kind::Plain | Kind::Rest)) if draft.rows >= OWN_POOL_ROWS_MIN => {
                    PoolKey::Slot(number, n)
                }
                Some((_, Kind::Rest)) => PoolKey::Whole,
                _ => PoolKey::Rare,
            };
            let pool = self.pool(key);
            pieces.push(match slot {
                Some((_, Kind::Keyed(name))) if pool == RARE => Piece::Keyed(pool, name.clone()),
                _ => Piece::Slot(pool),
            });
        }
        if !rest.is_empty() {
            pieces.push(Piece::Static(rest.into()));
        }
        self.templates.push(pieces);
        let name = |kind: &Kind| match kind {
            Kind::Keyed(name) => name.clone(),
            _ => Box::default(),
        };
        self.keys.push(draft.slots.iter().map(name).collect());
        number
    }

    /// Finds the slots of a row whose template was changed.
    fn cut_again(&mut self, row: &mut Row<'_>, sources: &[Source]) {
        let first = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        let end = u32::try_from(row.text.len()).unwrap_or(u32::MAX);
        let offset = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        for source in sources {
            let behind = |slots: usize| match slots {
                0 => 0,
                n => self.slots[row.first as usize + n - 1].1,
            };
            let span = match *source {
                Source::Slot(n) => self.slots[row.first as usize + n],
                Source::Word { slots, offset: at, len } => {
                    let start = behind(slots) + offset(at);
                    (start, start + offset(len))
                }
                Source::Rest { slots, offset: at } => (behind(slots) + offset(at), end),
            };
            self.slots.push(span);
        }
        (row.first, row.count) = (first, u32::try_from(sources.len()).unwrap_or(0));
    }

    fn is_frequent(&self, key: &[u8]) -> bool {
        self.key_rows.get(key).is_some_and(|rows| *rows >= OWN_POOL_ROWS_MIN)
    }

    /// The key in front of a slot; empty where there is none.
    pub(super) fn key(&self, template: u32, slot: usize) -> &[u8] {
        let keys = (template as usize).checked_sub(2).and_then(|n| self.keys.get(n));
        keys.and_then(|keys| keys.get(slot)).map_or(&[], |key| key)
    }

    /// Files the slots of some rows: pool after pool, since going to another one with each value
    /// costs more than all else.
    fn fill(&mut self, chunk: usize, rows: &[Row<'a>]) {
        if self.wordy.len() <= chunk {
            self.wordy.resize_with(chunk + 1, Texts::default);
        }
        let pools = |row: &Row<'_>| self.templates[row.template as usize].iter();
        let mut ends = vec![0_usize; self.pools.len() + 1];
        for pool in rows.iter().flat_map(pools).filter_map(Piece::pool) {
            ends[pool as usize] += 1;
        }
        let mut start = 0;
        for end in &mut ends {
            start += std::mem::replace(end, start);
        }
        let mut sorted: Vec<&[u8]> = vec![b""; start];
        for row in rows {
            let slots = self.templates[row.template as usize].iter().filter_map(Piece::pool);
            for (n, pool) in slots.enumerate() {
                let text = row.slot(n, &self.slots).unwrap_or_default();
                if let Values::Stamps(format, chunks) = &mut self.pools[pool as usize] {
                    if chunks.len() <= chunk {
                        chunks.resize_with(chunk + 1, Vec::new);
                    }
                    if chunks[chunk].is_empty() || format.holds_words() {
                        self.wordy[chunk].push(text);
                    }
                    let value = format.read(text).unwrap_or_default();
                    chunks[chunk].push(value.wrapping_sub(format.at(row.time)));
                }
                sorted[ends[pool as usize]] = text;
                ends[pool as usize] += 1;
            }
        }
        let mut start = 0;
        for (pool, end) in self.pools.iter_mut().zip(ends) {
            let texts = &sorted[std::mem::replace(&mut start, end)..end];
            if let Values::Texts(pool) = pool
                && !texts.is_empty()
            {
                pool.extend(chunk, texts);
            }
        }
    }

    /// A slot of a row's text, counted from 0.
    pub(super) fn slot(&self, chunk: usize, row: usize, n: usize) -> Option<&'a [u8]> {
        self.chunks.get(chunk)?.get(row)?.slot(n, &self.slots)
    }

    /// The template of a row, where it is one that was found.
    pub(super) fn template_of(&self, chunk: usize, row: usize) -> Option<u32> {
        let template = self.chunks.get(chunk)?.get(row)?.template;
        (template > AROUND).then_some(template)
    }

    /// How many rows each template has.
    pub(super) fn rows_of_templates(&self) -> Vec<u32> {
        let mut rows = vec![0; self.templates.len()];
        for row in self.chunks.iter().flatten() {
            if let Some(rows) = rows.get_mut(row.template as usize) {
                *rows += 1;
            }
        }
        rows
    }

    /// The pieces of all templates.
    pub(super) fn templates(&self) -> &[Vec<Piece>] {
        &self.templates
    }

    /// The template of a row, one of the two that are always there too.
    pub(super) fn number_of(&self, chunk: usize, row: usize) -> Option<u32> {
        self.chunks.get(chunk)?.get(row).map(|row| row.template)
    }

    /// What each pool gathers.
    pub(super) fn pool_keys(&self) -> Vec<&PoolKey> {
        let mut keys: Vec<(u32, &PoolKey)> =
            self.pool_index.iter().map(|(key, pool)| (*pool, key)).collect();
        keys.sort_unstable_by_key(|(pool, _)| *pool);
        keys.into_iter().map(|(_, key)| key).collect()
    }

    /// Looks for what the values of each pool have in common.
    pub(super) fn plan(&self, strength: Strength) -> Planned<'_> {
        let pools = self.pools.iter();
        let plans = pools
            .map(|values| match values {
                Values::Texts(pool) => Some(Plan::new(pool, strength)),
                Values::Stamps(..) => None,
            })
            .collect();
        let templates = &self.templates;
        let rows = |rows: &Vec<Row<'_>>| rows.iter().map(|row| row.template).collect();
        let rows: Vec<Vec<u32>> = self.chunks.iter().map(rows).collect();
        let used = rows.iter().map(|rows| count_used(rows)).collect();
        Planned {
            strength,
            templates,
            keys: self.pool_keys(),
            pools: &self.pools,
            rows,
            used,
            wordy: &self.wordy,
            plans,
        }
    }
}

/// Filed texts, ready to be written.
#[derive(Debug)]
pub(super) struct Planned<'a> {
    strength: Strength,
    templates: &'a [Vec<Piece>],
    keys: Vec<&'a PoolKey>,
    pools: &'a [Values],
    /// For each chunk the templates of its rows.
    rows: Vec<Vec<u32>>,
    /// For each chunk the templates that it has, rising, and how many rows each.
    used: Vec<Vec<(u32, u32)>>,
    wordy: &'a [Texts],
    plans: Vec<Option<Plan<'a>>>,
}

impl Planned<'_> {
    /// Adds the words of the values that the marked pools have in a chunk, and of times.
    pub(super) fn pool_words(&self, chunk: usize, marked: &[bool], words: &mut Words) {
        for (plan, marked) in self.plans.iter().zip(marked) {
            if let (Some(plan), true) = (plan, marked) {
                plan.for_each_distinct(chunk, |text| words.add(text));
            }
        }
        for text in self.wordy.get(chunk).into_iter().flat_map(Texts::iter) {
            words.add(text);
        }
    }

    /// How many pools there are.
    pub(super) fn pools(&self) -> usize {
        self.pools.len()
    }

    /// The pool that a slot of a template is filed into.
    pub(super) fn pool_of(&self, template: u32, slot: usize) -> Option<usize> {
        let mut slots = self.templates.get(template as usize)?.iter().filter_map(Piece::pool);
        slots.nth(slot).map(|pool| pool as usize)
    }

    /// Adds the words of a chunk's texts.
    pub(super) fn words(&self, chunk: usize, words: &mut Words) {
        for (template, _) in self.used.get(chunk).into_iter().flatten() {
            for piece in &self.templates[*template as usize] {
                if let Piece::Static(text) = piece {
                    words.add(text);
                }
            }
        }
        self.pool_words(chunk, &vec![true; self.pools.len()], words);
    }

    /// The templates of a chunk's rows, as a parent of other columns.
    pub(super) fn row_ids(&self, chunk: usize, which: u32) -> RowIds {
        RowIds { which, rows: self.rows.get(chunk).cloned().unwrap_or_default(), texts: None }
    }

    /// For each pool the rows of its values in a chunk; none where what stands beside them is not
    /// looked at.
    fn rows_of_values(&self, chunk: usize) -> Vec<Vec<u32>> {
        let mut rows_of = vec![Vec::new(); self.pools.len()];
        if self.strength == Strength::Quick {
            return rows_of;
        }
        for (template, row) in self.rows.get(chunk).into_iter().flatten().zip(0_u32..) {
            for pool in self.templates[*template as usize].iter().filter_map(Piece::pool) {
                rows_of[pool as usize].push(row);
            }
        }
        rows_of
    }

    /// Writes a chunk: the templates of its rows, then the column of each pool that has values.
    /// `parents` are what its records have.
    pub(super) fn put_chunk(&mut self, chunk: usize, parents: &[&RowIds], out: &mut Vec<u8>) {
        let own = self.row_ids(chunk, OWN);
        let rows_of = self.rows_of_values(chunk);
        let rows = self.rows.get(chunk).map_or(&[][..], Vec::as_slice);
        let mut places = vec![0_u64; self.templates.len()];
        for ((template, _), n) in self.used.get(chunk).into_iter().flatten().zip(0_u64..) {
            places[*template as usize] = n;
        }
        let mut column = Vec::new();
        let places: Vec<u64> = rows.iter().map(|template| places[*template as usize]).collect();
        put_numbers(&mut column, &places, self.strength);
        let mut columns = vec![(0, column)];
        for (n, (values, plan)) in self.pools.iter().zip(&mut self.plans).enumerate() {
            let mut column = Vec::new();
            match (values, plan) {
                (Values::Stamps(_, chunks), _) => {
                    if let Some(values) = chunks.get(chunk).filter(|values| !values.is_empty()) {
                        Integers::of(values).put(self.strength, &mut column);
                    }
                }
                (Values::Texts(_), Some(plan)) => {
                    let parents = parents.iter().copied().chain([&own]);
                    put_texts(plan, chunk, parents, &rows_of[n], &mut column);
                }
                (Values::Texts(_), None) => {}
            }
            if !column.is_empty() {
                columns.push((n + 1, column));
            }
        }
        put_columns(out, &columns);
    }

    /// Writes what the chunks share, after all of them: the templates and the dictionaries.
    pub(super) fn put_shared(&self, out: &mut Vec<u8>) {
        put_templates(&self.keys, self.templates, &self.used, out);
        for plan in self.plans.iter().flatten() {
            plan.put_dictionary(out);
        }
    }
}

/// Writes a chunk's column of a pool of texts, whose values stand in these rows.
pub(super) fn put_texts<'p>(
    plan: &mut Plan<'_>,
    chunk: usize,
    parents: impl Iterator<Item = &'p RowIds>,
    rows: &[u32],
    out: &mut Vec<u8>,
) {
    let beside: Vec<Aligned> = parents
        .filter(|_| rows.len() >= TOLD_ROWS_MIN)
        .filter_map(|parent| parent.beside(rows))
        .collect();
    let beside: Vec<Parent<'_>> = beside.iter().filter_map(Aligned::parent).collect();
    plan.put_column(chunk, &beside, out);
}

/// Writes what the chunks share but for the dictionaries.
pub(super) fn put_templates(
    keys: &[&PoolKey],
    templates: &[Vec<Piece>],
    used: &[Vec<(u32, u32)>],
    out: &mut Vec<u8>,
) {
    put_len(out, keys.len());
    for key in keys {
        key.put(out);
    }
    put_len(out, templates.len());
    let mut pieces = Vec::new();
    for template in templates {
        put_len(&mut pieces, template.len());
        for piece in template {
            match piece {
                Piece::Static(text) => {
                    pieces.push(STATIC);
                    put_bytes(&mut pieces, text);
                }
                Piece::Slot(pool) => {
                    pieces.push(PLAIN);
                    put_varint(&mut pieces, u64::from(*pool));
                }
                Piece::Keyed(pool, name) => {
                    pieces.push(KEYED);
                    put_varint(&mut pieces, u64::from(*pool));
                    put_bytes(&mut pieces, name);
                }
                Piece::Hole => pieces.push(HOLE),
            }
        }
    }
    put_frame(out, &pieces);
    let mut counts = Vec::new();
    for used in used {
        put_len(&mut counts, used.len());
        let mut next = 0;
        for (template, rows) in used {
            put_varint(&mut counts, u64::from(template - next));
            put_varint(&mut counts, u64::from(*rows));
            next = template + 1;
        }
    }
    put_frame(out, &counts);
}

/// The different numbers, rising, and how often each comes.
pub(super) fn count_used(rows: &[u32]) -> Vec<(u32, u32)> {
    let most = rows.iter().copied().max().map_or(0, |most| most as usize + 1);
    let mut counts = vec![0_u32; most];
    for row in rows {
        counts[*row as usize] += 1;
    }
    (0..).zip(counts).filter(|(_, rows)| *rows > 0).collect()
}
