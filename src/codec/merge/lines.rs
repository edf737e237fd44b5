//! The templates of one place of lines: those of all inputs by their keys, with those of the rows that
//! are records again, and where the values of each old template's slots go.

use super::feed::{From, Route};
use super::inputs::{Chunk, Inputs, MESSAGES};
use crate::base::error::Result;
use crate::base::split::{SLOTS_MAX, is_piece_byte};
use crate::base::stamp::FORMAT_BYTES;
use crate::codec::body::Open;
use crate::codec::encoders::{SAME, TEXT};
use crate::codec::families::Source;
use crate::codec::lines::{Reader, View};
use crate::codec::rebuild::{PoolShape, Templates};
use crate::codec::template::{
    Filed, HOLE, KEYED, Kind, Lines, MARK, PLAIN, Piece, REST, STAMP, Settled, WORD,
};

/// The two templates that are always there: the whole text, and the texts around a hole.
pub(super) const WHOLE: u32 = 0;
pub(super) const AROUND: u32 = 1;

/// What the values of a slot are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// What is a slot whatever the other lines have.
    Value,
    /// A word, of which the lines of its segment had many.
    Word,
    /// The rest of a rare line.
    Rest,
}

/// What each slot of a template holds, told by a row of it.
pub(super) fn holds(
    view: &View<'_>,
    reader: &mut Reader<'_>,
    (template, row): (u32, usize),
) -> Result<Vec<Holds>> {
    let pieces = view.shared.template(template);
    let many = pieces.iter().filter(|piece| piece.pool().is_some()).count();
    let mut holds = vec![Holds::Value; many];
    if template <= AROUND || many >= SLOTS_MAX {
        return Ok(holds);
    }
    let quote = |piece: Option<&Piece>, at: fn(&[u8]) -> Option<&u8>| match piece {
        Some(Piece::Static(text)) => at(text) == Some(&b'"'),
        _ => false,
    };
    let mut slots = holds.iter_mut().enumerate();
    for (n, piece) in pieces.iter().enumerate() {
        let Some(pool) = piece.pool() else { continue };
        let Some((slot, cell)) = slots.next() else { break };
        let before = n.checked_sub(1).and_then(|n| pieces.get(n));
        let quoted = quote(before, <[u8]>::last) && quote(pieces.get(n + 1), <[u8]>::first);
        if matches!(piece, Piece::Keyed(..)) || view.shared.name(pool).is_some() || quoted {
            continue;
        }
        let is_last = n + 1 == pieces.len();
        *cell = match is_token((view, reader), pool, (row, slot))? {
            Some(false) => Holds::Word,
            None if is_last => Holds::Rest,
            Some(true) | None => Holds::Value,
        };
    }
    Ok(holds)
}

/// Is what stands in a slot a token that is one whatever the other lines have, or a word? `None`
/// where it is neither. Looks at no more than has to be read.
fn is_token(
    (view, reader): (&View<'_>, &mut Reader<'_>),
    pool: u32,
    (row, slot): (usize, usize),
) -> Result<Option<bool>> {
    let Some(PoolShape::Texts(dictionary)) = view.shared.pools().get(pool as usize) else {
        return Ok(Some(true));
    };
    let own = pool > 1;
    if own && let Some(text) = dictionary.get(0) {
        return Ok(kind_of(text));
    }
    // Words without a dictionary are hardly anything but texts.
    let tag = view.local(pool).and_then(|local| view.lines.stored(local).first());
    if own && tag.is_some_and(|tag| ![SAME, TEXT].contains(tag)) {
        return Ok(Some(true));
    }
    let mut text = Vec::new();
    reader.slot_of(row, slot, &mut text)?;
    Ok(kind_of(&text))
}

fn kind_of(text: &[u8]) -> Option<bool> {
    let dots = || memchr::memchr_iter(b'.', text).count() >= 2;
    let whole = text.iter().all(|b| is_piece_byte(*b));
    whole.then(|| text.iter().any(u8::is_ascii_digit) || dots())
}

/// What becomes of an input's template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// No row of it is told by columns.
    Unused,
    /// One of the two that are always there.
    Same(u32),
    Draft(u32),
    /// There is no room for it: its rows are put together and kept as one of these.
    Kept(u32),
}

/// The templates of all inputs, before those of records are known.
pub(super) struct Gathered {
    /// Which of a chunk's places.
    place: usize,
    /// For each body the way of each template.
    ways: Vec<Vec<Way>>,
}

impl Gathered {
    /// Finds the templates of all rows that are told by columns.
    pub(super) fn new(place: usize, inputs: &Inputs, lines: &mut Lines<'_>) -> Result<Self> {
        let mut ways: Vec<Vec<Way>> = Vec::new();
        for chunk in &inputs.chunks {
            if ways.len() <= chunk.body {
                ways.resize_with(chunk.body + 1, Vec::new);
            }
            let Some(ways) = ways.get_mut(chunk.body) else { continue };
            let body = inputs.body(chunk)?;
            let shared = templates(&body, place)?;
            for (template, rows) in told(chunk, place) {
                let n = template as usize;
                if ways.len() <= n {
                    ways.resize(n + 1, Way::Unused);
                }
                let Some(way) = ways.get_mut(n).filter(|_| rows > 0) else { continue };
                *way = match way {
                    Way::Kept(as_one) => Way::Kept(*as_one),
                    _ if template <= AROUND => Way::Same(template),
                    _ => {
                        let (key, slots) =
                            draft_of(shared, template, inputs.holds(chunk, place, template));
                        let hole = shared.template(template).contains(&Piece::Hole);
                        let kept = Way::Kept(if hole { AROUND } else { WHOLE });
                        lines.known(&key, &slots, rows).map_or(kept, Way::Draft)
                    }
                };
            }
        }
        Ok(Self { place, ways })
    }

    /// Says where the values go, once all templates are settled.
    pub(super) fn united<'f>(self, filed: &'f Filed<'f>, settled: &[Settled]) -> United<'f> {
        let united = |way: &Way| match *way {
            Way::Unused => Target::default(),
            Way::Kept(template) => Target { template, kept: true, ..Target::default() },
            Way::Same(template) => target(filed, template, None),
            Way::Draft(draft) => {
                // What is known is always kept as a template.
                let settled = settled.get(draft as usize);
                let template = settled.and_then(|settled| settled.template);
                template.map_or_else(Target::default, |number| target(filed, number, settled))
            }
        };
        let targets = self.ways.iter().map(|ways| ways.iter().map(united).collect()).collect();
        United { place: self.place, filed, targets }
    }
}

/// For each template of a chunk how many rows are told by its columns.
fn told(chunk: &Chunk, place: usize) -> Vec<(u32, usize)> {
    let (Some(kinds), Some(templates)) = (chunk.kinds.get(place), chunk.templates.get(place))
    else {
        return Vec::new();
    };
    let mut counts = vec![0_usize; templates.len()];
    kinds.each(|_, kind| {
        if let Some(count) = counts.get_mut(kind) {
            *count += 1;
        }
    });
    for row in &chunk.loose {
        let kind = kinds.get(*row as usize).map(|kind| kind as usize);
        if let Some(count) = kind.and_then(|kind| counts.get_mut(kind)) {
            *count -= 1;
        }
    }
    templates.iter().copied().zip(counts).collect()
}

/// The templates of a place, read.
pub(super) fn templates(body: &Open, place: usize) -> Result<&Templates> {
    if place == MESSAGES { body.messages() } else { body.around() }
}

/// The key of a template and what its slots are, as cutting a line gives them.
fn draft_of(shared: &Templates, template: u32, holds: &[Holds]) -> (Vec<u8>, Vec<Kind>) {
    let (mut key, mut slots) = (Vec::new(), Vec::new());
    for piece in shared.template(template) {
        let pool = match piece {
            Piece::Static(text) => {
                key.extend_from_slice(text);
                continue;
            }
            Piece::Hole => {
                key.extend_from_slice(&[MARK, HOLE]);
                continue;
            }
            Piece::Slot(pool) | Piece::Keyed(pool, _) => *pool,
        };
        let name = match piece {
            Piece::Keyed(_, name) => Some(&**name),
            _ => shared.name(pool),
        };
        match (shared.pools().get(pool as usize), name) {
            (Some(PoolShape::Stamps(format)), _) => {
                key.extend_from_slice(&[MARK, STAMP]);
                key.extend_from_slice(&format.to_bytes());
                slots.push(Kind::Stamp(*format));
            }
            (_, Some(name)) => {
                key.extend_from_slice(&[MARK, KEYED]);
                slots.push(Kind::Keyed(name.into()));
            }
            _ => {
                let (marker, kind) = match holds.get(slots.len()) {
                    Some(Holds::Word) => (WORD, Kind::Plain),
                    Some(Holds::Rest) => (REST, Kind::Rest),
                    _ => (PLAIN, Kind::Plain),
                };
                key.extend_from_slice(&[MARK, marker]);
                slots.push(kind);
            }
        }
    }
    (key, slots)
}

/// What an input's template is written as.
#[derive(Debug, Default)]
pub(super) struct Target {
    pub(super) template: u32,
    /// Where the values of the new slots come from.
    pub(super) routes: Vec<Route>,
    /// Where its slots stand among the new ones; `None` where they are the same.
    slots: Option<Vec<Option<u32>>>,
    /// Are its rows put together and kept whole?
    pub(super) kept: bool,
}

impl Target {
    /// The new number of a slot.
    pub(super) fn slot(&self, n: u32) -> Option<u32> {
        match &self.slots {
            _ if self.kept => None,
            None => Some(n),
            Some(slots) => slots.get(n as usize).copied().flatten(),
        }
    }
}

fn target(filed: &Filed<'_>, template: u32, settled: Option<&Settled>) -> Target {
    let pieces = filed.templates().get(template as usize).map_or(&[][..], Vec::as_slice);
    let pools = pieces.iter().filter_map(Piece::pool);
    let changed = settled.and_then(|settled| Some((&settled.key, settled.change.as_ref()?)));
    let Some((key, change)) = changed else {
        let routes = pools.zip(0..).map(|(pool, n)| Route { pool, from: From::Slot(n) }).collect();
        return Target { template, routes, slots: None, kept: false };
    };
    let (mut routes, mut slots) = (Vec::new(), Vec::new());
    for ((pool, source), n) in pools.zip(&change.sources).zip(0_u32..) {
        let from = match *source {
            Source::Slot(slot) => {
                if slots.len() <= slot {
                    slots.resize(slot + 1, None);
                }
                if let Some(cell) = slots.get_mut(slot) {
                    *cell = Some(n);
                }
                From::Slot(slot)
            }
            Source::Word { slots, offset, len } => {
                let text = behind(key, slots).get(offset..offset + len);
                From::Text(text.unwrap_or_default().into())
            }
            // Only what is rare is told by how it begins, and this is kept however rare it is.
            Source::Rest { .. } => From::Text(Box::default()),
        };
        routes.push(Route { pool, from });
    }
    Target { template, routes, slots: Some(slots), kept: false }
}

/// What of a key stands behind so many of its slots.
fn behind(key: &[u8], slots: usize) -> &[u8] {
    let mut rest = key;
    for _ in 0..slots {
        let Some(mark) = memchr::memchr(MARK, rest) else { return &[] };
        let kind = rest.get(mark + 1).copied().unwrap_or_default();
        let len = mark + 2 + if kind == STAMP { FORMAT_BYTES } else { 0 };
        rest = rest.get(len..).unwrap_or_default();
    }
    rest
}

/// The templates of a place of the merged segment.
pub(super) struct United<'f> {
    pub(super) place: usize,
    pub(super) filed: &'f Filed<'f>,
    /// For each body what each of its templates is written as.
    targets: Vec<Vec<Target>>,
}

impl United<'_> {
    /// What each kind of a chunk's rows is written as.
    pub(super) fn targets(&self, chunk: &Chunk) -> Vec<&Target> {
        let all = self.targets.get(chunk.body).map_or(&[][..], Vec::as_slice);
        let kinds = chunk.templates.get(self.place).into_iter().flatten();
        kinds.filter_map(|template| all.get(*template as usize)).collect()
    }

    /// The template of each row of an input's chunk.
    fn rows_of(&self, n: usize, chunk: &Chunk, out: &mut Vec<u32>) {
        let start = out.len();
        let templates: Vec<u32> =
            self.targets(chunk).iter().map(|target| target.template).collect();
        if let Some(kinds) = chunk.kinds.get(self.place) {
            kinds.each(|_, kind| out.push(templates.get(kind).copied().unwrap_or_default()));
        }
        for (at, row) in chunk.loose.iter().enumerate() {
            let number = self.filed.number_of(n, at);
            if let (Some(cell), Some(number)) = (out.get_mut(start + *row as usize), number) {
                *cell = number;
            }
        }
    }

    /// The template of each row of a chunk that is written.
    pub(super) fn rows(&self, inputs: &Inputs, joined: usize) -> Vec<u32> {
        let mut rows = Vec::new();
        for (n, chunk) in inputs.numbers(joined).zip(inputs.of(joined)) {
            self.rows_of(n, chunk, &mut rows);
        }
        rows
    }
}
