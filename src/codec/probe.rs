//! What a value must be, asked of columns as they stand: of a dictionary once, of integers and
//! digits by what they can spell, of texts in one pass over all of them.

use memchr::memmem;

use super::column::Column;
use super::encoders::{
    DECIMALS, DIFFERENCES, DIGITS, GIVEN, HEX, IDS, INTEGERS, PREFIXED, SAME, UUID,
};
use super::hex::{Digits, Packed};
use super::numbers::Spelling;
use super::pack::{Read, skip_planes, take_bytes, take_signed, take_u8, take_varint};
use super::set::RowSet;
use super::texts::Texts;
use crate::base::find::Finder;
use crate::base::fold::fold_into;
use crate::base::stamp::Format;

/// A day, nanoseconds.
const DAY_NS: i64 = 86_400_000_000_000;

/// Texts up to this length are folded without a place in memory of their own.
const SHORT: usize = 128;

/// Bytes that are folded at a time: they stay in a core's nearest cache.
const BLOCK: usize = 16 << 10;

/// So many texts are passed one by one.
const NEAR: usize = 16;

/// Where the text must stand in the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Fit {
    /// Anywhere.
    Within,
    /// At its start; the rest is not looked at.
    Starts,
    /// At its end.
    Ends,
    /// It is all of it.
    Is,
}

/// What a value must be.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    fit: Fit,
    finder: Finder,
    /// Its longest part.
    search: memmem::Finder<'static>,
}

impl Probe {
    /// It is found in the value.
    pub(super) fn within(finder: Finder) -> Self {
        let part = finder.parts().max_by_key(|part| part.len()).unwrap_or_default();
        Self { fit: Fit::Within, search: memmem::Finder::new(part).into_owned(), finder }
    }

    /// The text, as it is or folded, stands at a border of the value.
    pub(super) fn at_border(fit: Fit, text: &str, folds: bool) -> Self {
        let finder = if folds { Finder::plain(text) } else { Finder::exact(text) };
        Self { fit, search: memmem::Finder::new(text).into_owned(), finder }
    }

    /// Is it this one?
    pub(super) fn is(&self, fit: Fit, text: &str) -> bool {
        self.fit == fit && self.needle() == text.as_bytes()
    }

    /// Is it just one part, whatever stands around it?
    fn is_plain(&self) -> bool {
        !self.finder.is_word() && self.finder.parts().nth(1).is_none()
    }

    fn needle(&self) -> &[u8] {
        self.search.needle()
    }

    /// Does it want folded text?
    pub(super) fn folds(&self) -> bool {
        self.finder.folds()
    }

    /// Does a value pass, folded where that is wanted?
    fn passes(&self, value: &[u8]) -> bool {
        match self.fit {
            Fit::Within => match std::str::from_utf8(value) {
                Ok(text) => self.finder.is_in(text),
                // Only what is no UTF-8 before it is folded comes here.
                Err(_) => self.search.find(value).is_some(),
            },
            Fit::Starts => value.starts_with(self.needle()),
            Fit::Ends => value.ends_with(self.needle()),
            Fit::Is => value == self.needle(),
        }
    }

    /// Does a value pass, as it is?
    pub(super) fn holds(&self, value: &[u8]) -> bool {
        if !self.folds() {
            return self.passes(value);
        }
        // Folding makes no ASCII text longer.
        if value.is_ascii() && value.len() < self.needle().len() {
            return false;
        }
        let mut room = [0; SHORT];
        if let Some(short) = lowered(value, &mut room) {
            return self.passes(short);
        }
        let mut folded = String::with_capacity(value.len());
        fold_bytes(value, &mut folded);
        self.passes(folded.as_bytes())
    }

    /// Which of these texts, as they are, pass.
    pub(super) fn of_any(&self, texts: &Texts) -> RowSet {
        if self.fit != Fit::Within {
            let mut values = texts.iter();
            return RowSet::of(texts.len(), |_| values.next().is_some_and(|v| self.holds(v)));
        }
        let mut found = Vec::new();
        if !self.folds() {
            self.search(&texts.bytes, 0, &texts.ends, 0, &mut found);
        } else if texts.bytes.is_ascii() {
            self.search_lowered(texts, &mut found);
        } else {
            let folded = texts.folded();
            self.search(&folded.bytes, 0, &folded.ends, 0, &mut found);
        }
        RowSet::from_rows(texts.len(), found)
    }

    /// Looks through ASCII texts in any case, a block at a time: to lower them again costs less
    /// than to keep them twice.
    fn search_lowered(&self, texts: &Texts, found: &mut Vec<usize>) {
        let (mut first, mut block) = (0, Vec::with_capacity(BLOCK));
        while first < texts.len() {
            let start = texts.start(first);
            let rest = texts.ends.get(first..).unwrap_or_default();
            let most = rest.partition_point(|end| *end as usize <= start + BLOCK).max(1);
            let ends = rest.get(..most).unwrap_or_default();
            let end = ends.last().map_or(start, |end| *end as usize);
            block.clear();
            block.extend_from_slice(texts.bytes.get(start..end).unwrap_or_default());
            block.make_ascii_lowercase();
            self.search(&block, start, ends, first, found);
            first += most;
        }
    }

    /// Adds the numbers of texts that pass. `bytes` are those of the texts that end at `ends`, less
    /// the `base` bytes before; the first is number `first`.
    fn search(
        &self,
        bytes: &[u8],
        base: usize,
        ends: &[u32],
        first: usize,
        found: &mut Vec<usize>,
    ) {
        let end_of = |n: usize| ends.get(n).map(|end| *end as usize - base);
        let (mut at, mut n) = (0, 0);
        while let Some(hit) = bytes.get(at..).and_then(|rest| self.search.find(rest)) {
            let hit = at + hit;
            // Where hits are rare, texts between them are passed over quickly.
            if end_of(n + NEAR).is_some_and(|end| end <= hit) {
                n += ends
                    .get(n..)
                    .unwrap_or_default()
                    .partition_point(|e| *e as usize - base <= hit);
            }
            while end_of(n).is_some_and(|end| end <= hit) {
                n += 1;
            }
            let Some(end) = end_of(n) else { break };
            let start = n.checked_sub(1).and_then(end_of).unwrap_or(0);
            // One that goes on in the next text is none, nor can a later one in this text end in it.
            let fits = hit + self.needle().len() <= end;
            if fits && bytes.get(start..end).is_some_and(|value| self.passes(value)) {
                found.push(first + n);
            }
            at = end.max(hit + 1);
        }
    }

    /// Which values of a column pass; `own` is the dictionary of its place, and `entries` which of
    /// that pass.
    pub(super) fn of_column(&self, column: &Column, own: &Texts, entries: &RowSet) -> RowSet {
        match column {
            Column::Same(text, rows) => {
                if self.holds(text) {
                    RowSet::all(*rows)
                } else {
                    RowSet::none(*rows)
                }
            }
            Column::Ids(ids, dictionary) => {
                let other;
                let entries = if std::ptr::eq(&raw const **dictionary, own) {
                    entries
                } else {
                    other = self.of_any(dictionary);
                    &other
                };
                if entries.is_none() {
                    return RowSet::none(ids.len());
                }
                let marks = entries.marks();
                RowSet::of_each(ids, |id| marks.get(id as usize).is_some_and(|mark| *mark))
            }
            Column::Integers(numbers, spelling) => self.of_numbers(numbers, *spelling),
            Column::Packed(packed) => self.of_packed(packed),
            Column::Prefixed(prefix, rest) => self.of_prefixed(prefix, rest, column, own, entries),
            Column::Picks(picks, of) => {
                let found = self.of_column(of, own, entries);
                if found.is_none() {
                    return RowSet::none(picks.len());
                }
                RowSet::of_each(picks, |pick| found.contains(pick as usize))
            }
            Column::Union(rows, columns) => {
                let found: Vec<RowSet> =
                    columns.iter().map(|of| self.of_column(of, own, entries)).collect();
                if found.iter().all(RowSet::is_none) {
                    return RowSet::none(rows.len());
                }
                RowSet::of(rows.len(), |n| {
                    rows.get(n).is_some_and(|(of, n)| {
                        found.get(usize::from(*of)).is_some_and(|of| of.contains(*n as usize))
                    })
                })
            }
            Column::Texts(texts) => self.of_any(texts),
        }
    }

    /// All values as texts, asked in one pass.
    fn of_written(&self, count: usize, write: impl Fn(usize, &mut Vec<u8>)) -> RowSet {
        let mut texts = Texts::default();
        for n in 0..count {
            write(n, texts.open());
            texts.close();
        }
        self.of_any(&texts)
    }

    /// Can a number that is spelled so hold the text?
    pub(super) fn fits_numbers(&self, spelling: Spelling) -> bool {
        let signs = match spelling {
            Spelling::Plain => &b"-"[..],
            Spelling::Width(_) => b"",
            Spelling::Scale(_) => b"-.",
        };
        self.needle().iter().all(|b| b.is_ascii_digit() || signs.contains(b))
    }

    /// May a value of a column that is still as it was stored pass? `entries`: which of the
    /// dictionary do.
    pub(super) fn may_be_in(&self, stored: &[u8], entries: &RowSet) -> bool {
        // What cannot be read here is found out when it is decoded.
        self.glance(&mut &*stored, entries).unwrap_or(true)
    }

    fn glance(&self, input: &mut &[u8], entries: &RowSet) -> Read<bool> {
        Ok(match take_u8(input)? {
            SAME => self.holds(take_bytes(input)?),
            IDS => !entries.is_none(),
            tag @ (INTEGERS | DIGITS | DECIMALS) => {
                let spelling = take_spelling(tag, input)?;
                self.fits_numbers(spelling) && self.fits_width(&largest(input)?, spelling)
            }
            DIFFERENCES => {
                let tag = take_u8(input)?;
                self.fits_numbers(take_spelling(tag, input)?)
            }
            HEX => {
                let width = usize::try_from(take_varint(input)?).unwrap_or(usize::MAX);
                self.fits_digits(Digits::Plain(width, take_u8(input)? == 1))
            }
            UUID => self.fits_digits(Digits::Uuid),
            PREFIXED => {
                let prefix = take_bytes(input)?;
                self.fit == Fit::Starts
                    || self.fit == Fit::Is
                    || self.touches_end(prefix)
                    || self.holds(prefix)
                    || self.glance(input, entries)?
            }
            GIVEN => {
                take_varint(input)?;
                skip_planes(input)?;
                self.glance(input, entries)?
            }
            _ => true,
        })
    }

    /// Is a number long enough, in digits, to hold the text?
    fn fits_width(&self, largest: &[u64; 2], spelling: Spelling) -> bool {
        let digits = |n: u64| n.checked_ilog10().map_or(1, |log| log as usize + 1);
        let most = digits(largest[0].max(largest[1]));
        let most = match spelling {
            Spelling::Plain => most,
            Spelling::Width(width) => most.max(width),
            Spelling::Scale(scale) => most.max(scale + 1),
        };
        self.needle().iter().filter(|b| b.is_ascii_digit()).count() <= most
    }

    /// Can a time that is spelled so hold the text?
    pub(super) fn may_be_in_times(&self, format: Format) -> bool {
        let shape = |text: &[u8]| -> Vec<u8> {
            let class = |b: &u8| match b {
                b'0'..=b'9' => b'0',
                b'a'..=b'z' | b'A'..=b'Z' => b'a',
                other => *other,
            };
            text.iter().map(class).collect()
        };
        let needle = shape(self.needle());
        // Days of one digit may be spelled otherwise.
        [1, 10].iter().any(|days| {
            let mut text = Vec::new();
            format.write(format.at(days * DAY_NS), &mut text);
            memmem::find(&shape(&text), &needle).is_some()
        })
    }

    fn of_numbers(&self, numbers: &[i64], spelling: Spelling) -> RowSet {
        if !self.fits_numbers(spelling) {
            return RowSet::none(numbers.len());
        }
        self.of_written(numbers.len(), |n, out| {
            if let Some(number) = numbers.get(n) {
                spelling.write(*number, out);
            }
        })
    }

    /// Can digits that are spelled so hold the text?
    pub(super) fn fits_digits(&self, digits: Digits) -> bool {
        self.needle().iter().all(|b| match (digits, b) {
            (Digits::Plain(_, true), b'A'..=b'F') => !self.folds(),
            (Digits::Plain(_, true), b'a'..=b'f') => self.folds(),
            (_, b'0'..=b'9' | b'a'..=b'f') | (Digits::Uuid, b'-') => true,
            _ => false,
        })
    }

    fn of_packed(&self, packed: &Packed) -> RowSet {
        if !self.fits_digits(packed.digits) {
            return RowSet::none(packed.len);
        }
        let hyphen = self.needle().contains(&b'-');
        let plain = self.fit == Fit::Within && self.is_plain();
        if !plain || hyphen || self.needle().len() < 4 {
            return self.of_written(packed.len, |n, out| {
                packed.write(n, out);
            });
        }
        let nibbles: Vec<u8> = self.needle().iter().map(|b| nibble(*b)).collect();
        RowSet::from_rows(packed.len, packed_with(packed, &nibbles))
    }

    fn of_prefixed(
        &self,
        prefix: &[u8],
        rest: &Column,
        whole: &Column,
        own: &Texts,
        entries: &RowSet,
    ) -> RowSet {
        if self.fit == Fit::Within && !self.touches_end(prefix) && self.holds(prefix) {
            return RowSet::all(rest.len());
        }
        if matches!(self.fit, Fit::Within | Fit::Ends) && !self.touches_end(prefix) {
            return self.of_column(rest, own, entries);
        }
        self.of_written(whole.len(), |n, out| {
            whole.write(n, out);
        })
    }

    /// May the text begin in this and go on (or be told from a longer one) behind it?
    fn touches_end(&self, front: &[u8]) -> bool {
        if self.fit == Fit::Within && !self.is_plain() {
            return true;
        }
        let (mut room, mut folded) = ([0; SHORT], String::new());
        let front = if !self.folds() {
            front
        } else if let Some(short) = lowered(front, &mut room) {
            short
        } else {
            fold_bytes(front, &mut folded);
            folded.as_bytes()
        };
        let Some(last) = front.last() else { return false };
        memchr::memchr_iter(*last, self.needle())
            .any(|at| self.needle().get(..=at).is_some_and(|start| front.ends_with(start)))
    }
}

fn take_spelling(tag: u8, input: &mut &[u8]) -> Read<Spelling> {
    match tag {
        INTEGERS => Ok(Spelling::Plain),
        DIGITS => Spelling::take_width(input),
        _ => Spelling::take_scale(input),
    }
}

/// How far stored integers go, below and above zero.
fn largest(input: &mut &[u8]) -> Read<[u64; 2]> {
    take_u8(input)?;
    let (base, unit, most) = (take_signed(input)?, take_varint(input)?, take_varint(input)?);
    // What does not fit wraps around, and may be anything.
    let top = most.checked_mul(unit).and_then(|span| base.checked_add_unsigned(span));
    Ok(top.map_or([u64::MAX; 2], |top| [base.unsigned_abs(), top.unsigned_abs()]))
}

/// The values that hold these digits, at either half of a byte.
fn packed_with(packed: &Packed, digits: &[u8]) -> Vec<usize> {
    let width = packed.digits.count();
    let digit = |at: usize| {
        let byte = packed.bytes.get(at / 2).copied().unwrap_or_default();
        if at.is_multiple_of(2) { byte >> 4 } else { byte & 15 }
    };
    let mut found = Vec::new();
    for odd in [0, 1] {
        let pairs = digits.get(odd..).unwrap_or_default().chunks_exact(2);
        let core: Vec<u8> = pairs.map(|pair| pair.iter().fold(0, |b, d| b << 4 | d)).collect();
        for hit in memmem::find_iter(&packed.bytes, &core) {
            let Some(start) = (2 * hit).checked_sub(odd) else { continue };
            let (value, first) = (start / width, start % width);
            let fits = first + digits.len() <= width
                && value < packed.len
                && !packed.digits.is_cut_within(first, first + digits.len())
                && digits.iter().enumerate().all(|(n, d)| digit(start + n) == *d);
            if fits {
                found.push(value);
            }
        }
    }
    found
}

/// A digit's value.
fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit & 0x1f) + 9,
    }
}

/// A short ASCII text, folded.
fn lowered<'r>(text: &[u8], room: &'r mut [u8; SHORT]) -> Option<&'r [u8]> {
    let room = room.get_mut(..text.len()).filter(|_| text.is_ascii())?;
    room.copy_from_slice(text);
    room.make_ascii_lowercase();
    Some(room)
}

fn fold_bytes(text: &[u8], out: &mut String) {
    match std::str::from_utf8(text) {
        Ok(text) => fold_into(text, out),
        Err(_) => fold_into(&String::from_utf8_lossy(text), out),
    }
}
