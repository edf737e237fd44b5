//! What the index and the filter are built from, told by values and templates as they are written.
//!
//! Values of fields that only a line's own object tells are hardly ever read for that: without an
//! escape each stands in the line as it is, and a number that is spelled otherwise is seen where it
//! stands. Only where something in a chunk may be an escape, its rows with such fields are looked
//! at, and those of them that hold one are read.

use std::collections::BTreeSet;

use super::columns::Near;
use super::fields::{self, Texts};
use super::inputs::{AROUND, Inputs};
use super::lines::United;
use crate::base::error::Result;
use crate::base::find::Finder;
use crate::base::value::Value;
use crate::codec::ask::{Asked, Watch};
use crate::codec::chunk_fields::FieldsView;
use crate::codec::fields::Shapes;
use crate::codec::filter::TOKEN_CHARS_MIN;
use crate::codec::record::read_fields;
use crate::codec::set::RowSet;
use crate::codec::template::Piece;
use crate::codec::value_text::{Kind, read_text};
use crate::codec::words::Words;

/// What may be spelled otherwise in a value than in the text of an object: an escape, and a number
/// that is cut within.
const ODD: [&str; 2] = ["\\", "e+"];

/// The words of all chunks.
pub(super) struct Told {
    chunks: Vec<Words>,
    /// For each chunk of the inputs the rows that have values which only their texts tell, and for
    /// each chunk that is written whether there are any.
    rows: Vec<Vec<u32>>,
    derived: Vec<bool>,
    /// May one of these be spelled otherwise than in its text?
    odd: Vec<bool>,
    /// The pools of what stands around messages that hold values of fields.
    marked: Vec<bool>,
}

impl Told {
    /// Of so many chunks, nothing yet.
    pub(super) fn new(chunks: usize) -> Self {
        let mut all = Vec::new();
        all.resize_with(chunks, Words::default);
        let no = vec![false; chunks];
        Self { chunks: all, rows: Vec::new(), derived: no.clone(), odd: no, marked: Vec::new() }
    }

    /// Those of a chunk.
    pub(super) fn chunk(&mut self, joined: usize) -> Option<&mut Words> {
        self.chunks.get_mut(joined)
    }

    /// The rows of the next chunk of the inputs that have values which only their texts tell.
    pub(super) fn derived(&mut self, joined: usize, rows: Vec<u32>) {
        if let Some(derived) = self.derived.get_mut(joined) {
            *derived |= !rows.is_empty();
        }
        self.rows.push(rows);
    }

    /// The slots around messages whose values people look for: those that are fields.
    pub(super) fn mark(&mut self, shapes: &Shapes<'_>, around: &United<'_>) {
        let templates = around.filed.templates();
        shapes.slots_around(|template, slot| {
            let pieces = templates.get(template as usize).into_iter().flatten();
            let pool = pieces.filter_map(Piece::pool).nth(slot).map(|pool| pool as usize);
            let Some(pool) = pool else { return };
            if self.marked.len() <= pool {
                self.marked.resize(pool + 1, false);
            }
            if let Some(marked) = self.marked.get_mut(pool) {
                *marked = true;
            }
        });
    }

    /// A value of a column of fields, of loose ones where it has no kind.
    pub(super) fn field(&mut self, joined: usize, kind: Option<Kind>, mut text: &[u8]) {
        let Some(words) = self.chunks.get_mut(joined) else { return };
        match kind {
            Some(Kind::Array) => {
                if let Ok(value) = read_text(Kind::Array, text) {
                    words.add_value(&value);
                }
            }
            Some(_) => words.add(text),
            None => {
                for field in read_fields(&mut text).unwrap_or_default() {
                    words.add_value(&field.value);
                }
            }
        }
    }

    /// A template that a chunk has, of lines of a place.
    pub(super) fn template(&mut self, (place, joined): (usize, usize), pieces: &[Piece]) {
        let derived = self.derived.get(joined).copied().unwrap_or_default();
        for piece in pieces {
            let Piece::Static(text) = piece else { continue };
            if let Some(words) = self.chunks.get_mut(joined).filter(|_| place != AROUND || derived)
            {
                words.add(text);
            }
            self.look(joined, derived, text);
        }
    }

    /// A value of a pool of a place that a chunk has.
    pub(super) fn value(&mut self, (place, joined): (usize, usize), pool: usize, text: &[u8]) {
        let derived = self.derived.get(joined).copied().unwrap_or_default();
        let looked_for = || self.marked.get(pool).copied().unwrap_or_default();
        if place == AROUND && !derived && !looked_for() {
            return;
        }
        let Some(words) = self.chunks.get_mut(joined) else { return };
        words.add(text);
        if derived {
            spelled_otherwise(text).for_each(|value| words.add_value(&value));
        }
        self.look(joined, derived, text);
    }

    /// The text of a time, in which nothing is odd.
    pub(super) fn time(&mut self, joined: usize, text: &[u8]) {
        if let Some(words) = self.chunks.get_mut(joined) {
            words.add(text);
        }
    }

    fn look(&mut self, joined: usize, derived: bool, text: &[u8]) {
        if let Some(odd) = self.odd.get_mut(joined).filter(|odd| derived && !**odd) {
            *odd = memchr::memchr(b'\\', text).is_some() || has_sum(text);
        }
    }

    /// The words of each chunk, and the tokens of all; reads the rows that only their texts tell.
    pub(super) fn finish(mut self, inputs: &Inputs) -> Result<(Vec<BTreeSet<String>>, Vec<u64>)> {
        for joined in 0..self.chunks.len() {
            let odd = self.odd.get(joined).copied().unwrap_or_default();
            let range = inputs.joined.get(joined).map_or(0..0, |(range, _)| range.clone());
            for n in range.filter(|_| odd) {
                if let Some(words) = self.chunks.get_mut(joined) {
                    read(inputs, n, self.rows.get(n).map_or(&[], Vec::as_slice), words)?;
                }
            }
        }
        let mut all = Words::default();
        let words = self.chunks.iter_mut().map(|chunk| {
            let words = chunk.end_chunk();
            all.take_tokens(chunk);
            words
        });
        Ok((words.collect(), all.into_tokens()))
    }
}

/// The numbers in a text that their values spell otherwise, so that it matters. No number is cut by
/// the borders of a value, but at a plus.
fn spelled_otherwise(text: &[u8]) -> impl Iterator<Item = Value> {
    let is_in = |b: &u8| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    text.split(move |b| !is_in(b)).filter_map(|number| {
        let has_exponent = || number.iter().any(|b| matches!(b, b'e' | b'E'));
        let first = number.first().is_some_and(|b| b.is_ascii_digit() || *b == b'-');
        if !first || number.len() < TOKEN_CHARS_MIN && !has_exponent() {
            return None;
        }
        let value = Value::Float(std::str::from_utf8(number).ok()?.parse().ok()?);
        (value.to_string().as_bytes() != number).then_some(value)
    })
}

/// May a text hold a number with a plus in it, or the part in front of the plus?
fn has_sum(text: &[u8]) -> bool {
    let mut exponents = memchr::memchr2_iter(b'e', b'E', text);
    exponents.any(|at| {
        let (number, behind) = text.split_at_checked(at).unwrap_or_default();
        let is_in = |b: &&u8| b.is_ascii_digit() || matches!(b, b'.' | b'-');
        let digits = number.iter().rev().take_while(is_in).count();
        let before = number.len().checked_sub(digits + 1).and_then(|at| number.get(at));
        let alone = before.is_none_or(|b| !b.is_ascii_alphanumeric());
        digits > 0 && alone && matches!(behind.get(1), None | Some(b'+'))
    })
}

/// Nobody watches.
struct Unwatched;

impl Watch for Unwatched {
    fn worked(&mut self, _: usize) -> Asked<()> {
        Ok(())
    }
}

/// Adds the words of the fields of those of a chunk's rows whose texts hold something odd.
fn read(inputs: &Inputs, n: usize, rows: &[u32], words: &mut Words) -> Result<()> {
    let Some(chunk) = inputs.chunks.get(n).filter(|_| !rows.is_empty()) else { return Ok(()) };
    let among = RowSet::from_rows(chunk.rows, rows.iter().map(|row| *row as usize));
    let near = Near::new(inputs, chunk)?;
    let texts = Texts::new(&near)?;
    let mut odd = RowSet::none(chunk.rows);
    for text in ODD {
        let finder = Finder::plain(text);
        for view in [texts.view(AROUND)?, texts.view(super::inputs::MESSAGES)?] {
            let known = view.shared.question(&finder);
            let Some(question) = known.question() else { continue };
            let found = view.find(question, &among, &mut Unwatched);
            let found =
                found.map_err(|_| crate::base::error::Error::corrupt("a merge", "stopped"))?;
            odd = odd.or(&found.sure).or(&found.maybe);
        }
    }
    if odd.is_none() {
        return Ok(());
    }
    let fields = fields::read(inputs, chunk)?;
    let view = FieldsView { fields: &fields, lines: &texts, here: "a merge's input" };
    let mut reader = view.reader()?;
    for row in odd.iter() {
        for field in reader.read(row)? {
            words.add_value(&field.value);
        }
    }
    Ok(())
}
