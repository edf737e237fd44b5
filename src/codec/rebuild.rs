//! The templates and dictionaries of a segment's lines, read: what `lines` puts texts together of,
//! and what questions are asked first.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::column::take_dictionary;
use super::directory::STAMP_POOLS_MAX;
use super::pack::{
    Damage, Read, done, take_bytes, take_exact, take_frame, take_len, take_u8, take_varint,
};
use super::question::{Asked, Known, Questions};
use super::set::RowSet;
use super::template::{
    HOLE, KEYED, PLAIN, POOL_KEY, POOL_RARE, POOL_SLOT, POOL_STAMP, POOL_WHOLE, Piece, STATIC,
};
use super::texts::Texts;
use crate::base::find::Finder;
use crate::base::limits::{
    CHUNK_ROWS_MAX, COLUMN_BYTES_MAX, POOLS_MAX, TEMPLATE_BYTES_MAX, TEMPLATES_MAX,
};
use crate::base::stamp::{FORMAT_BYTES, Format};

/// What [`super::template::Planned::put_shared`] wrote, read.
#[derive(Debug)]
pub(super) struct Templates {
    lines: Vec<Vec<Piece>>,
    /// For each chunk the templates that it has, rising, and how many rows each: a word that stands
    /// in templates is counted without any column.
    used: Vec<Vec<(u32, u32)>>,
    pools: Vec<PoolShape>,
    /// The key behind which the values of a pool stand, where they do.
    names: Vec<Option<Box<[u8]>>>,
    questions: Questions,
    folded_bytes: AtomicUsize,
}

/// What a pool's columns need to be read.
#[derive(Debug)]
pub(super) enum PoolShape {
    Texts(Arc<Texts>),
    Stamps(Format),
}

impl Templates {
    /// Bytes in memory, about.
    pub(super) fn weight(&self) -> usize {
        let text = |piece: &Piece| if let Piece::Static(text) = piece { text.len() } else { 0 };
        let pieces = self.lines.iter().flatten();
        let pieces: usize = pieces.map(|piece| size_of::<Piece>() + text(piece)).sum();
        let dictionaries = self.pools.iter().map(|pool| match pool {
            PoolShape::Texts(dictionary) => dictionary.weight(),
            PoolShape::Stamps(_) => 0,
        });
        let used = self.used.iter().map(|used| used.len() * size_of::<(u32, u32)>());
        pieces + used.sum::<usize>() + dictionaries.sum::<usize>()
    }

    /// Reads what so many chunks share.
    pub(super) fn take(input: &mut &[u8], chunks: usize) -> Read<Self> {
        let count = take_len(input, POOLS_MAX + STAMP_POOLS_MAX)?;
        let keys: Read<Vec<Key>> = (0..count).map(|_| take_key(input)).collect();
        let keys = keys?;
        let count = take_len(input, TEMPLATES_MAX + 2)?;
        // A piece takes more room here than in a key, by its kind, length and name.
        let bytes = take_frame(input, 8 * TEMPLATE_BYTES_MAX)?;
        let mut rest = &bytes[..];
        let mut templates = Vec::new();
        for _ in 0..count {
            let most = rest.len();
            let pieces = take_len(&mut rest, most)?;
            let template: Read<Vec<Piece>> =
                (0..pieces).map(|_| take_piece(&mut rest, keys.len())).collect();
            templates.push(template?);
        }
        done(rest)?;
        let bytes = take_frame(input, COLUMN_BYTES_MAX)?;
        let mut rest = &bytes[..];
        let used: Read<Vec<_>> =
            (0..chunks).map(|_| take_used(&mut rest, templates.len())).collect();
        done(rest)?;
        let pools: Read<Vec<PoolShape>> = keys
            .iter()
            .map(|key| match key {
                Key::Stamp(format) => Ok(PoolShape::Stamps(*format)),
                Key::Texts(_) => take_dictionary(input).map(PoolShape::Texts),
            })
            .collect();
        let name = |key| if let Key::Texts(name) = key { name } else { None };
        let names = keys.into_iter().map(name).collect();
        let (questions, folded_bytes) = (Questions::default(), AtomicUsize::new(0));
        Ok(Self { lines: templates, used: used?, pools: pools?, names, questions, folded_bytes })
    }

    /// The key behind which all values of a pool stand, where they do.
    pub(super) fn name(&self, pool: u32) -> Option<&[u8]> {
        self.names.get(pool as usize)?.as_deref()
    }

    /// The templates that a chunk has, rising, and how many rows each.
    pub(super) fn used(&self, chunk: usize) -> &[(u32, u32)] {
        self.used.get(chunk).map_or(&[], Vec::as_slice)
    }

    /// The pieces of a template.
    pub(super) fn template(&self, n: u32) -> &[Piece] {
        self.lines.get(n as usize).map_or(&[], Vec::as_slice)
    }

    /// All pools.
    pub(super) fn pools(&self) -> &[PoolShape] {
        &self.pools
    }

    /// What is known of a text.
    pub(super) fn question(&self, finder: &Finder) -> Known {
        self.questions.get(finder, &self.lines)
    }

    /// Which entries of a pool's dictionary pass.
    pub(super) fn entries<'a>(&self, asked: &'a Asked, pool: u32) -> &'a RowSet {
        static NONE: RowSet = RowSet::NOTHING;
        let entries = asked.entries(|| {
            let dictionaries = self.pools.iter().map(|pool| match pool {
                PoolShape::Texts(dictionary) => Some(dictionary),
                PoolShape::Stamps(_) => None,
            });
            let (mut entries, mut folded) = (Vec::with_capacity(self.pools.len()), 0);
            for dictionary in dictionaries {
                let before = dictionary.map_or(0, |of| of.weight());
                entries.push(dictionary.map_or(RowSet::NOTHING, |of| asked.probe.of_any(of)));
                folded += dictionary.map_or(0, |of| of.weight()) - before;
            }
            self.folded_bytes.fetch_add(folded, Ordering::Relaxed);
            entries
        });
        entries.get(pool as usize).unwrap_or(&NONE)
    }

    /// Bytes that dictionaries take once more, folded.
    pub(super) fn folded_bytes(&self) -> usize {
        self.folded_bytes.load(Ordering::Relaxed)
    }
}

/// What a pool gathers, as far as reading it needs to know.
enum Key {
    /// Texts, all of them behind this key where there is one.
    Texts(Option<Box<[u8]>>),
    Stamp(Format),
}

fn take_key(input: &mut &[u8]) -> Read<Key> {
    Ok(match take_u8(input)? {
        POOL_WHOLE | POOL_RARE | POOL_SLOT => Key::Texts(None),
        POOL_KEY => Key::Texts(Some(take_bytes(input)?.into())),
        POOL_STAMP => Key::Stamp(take_format(input)?),
        _ => return Err(Damage("a pool of an unknown kind")),
    })
}

/// The templates that a chunk has, rising, and how many rows each.
fn take_used(input: &mut &[u8], templates: usize) -> Read<Vec<(u32, u32)>> {
    let unknown = Damage("a template that there is not");
    let count = take_len(input, templates)?;
    let mut used = Vec::new();
    let mut next = 0_u32;
    for _ in 0..count {
        let step = u32::try_from(take_varint(input)?).map_err(|_| unknown)?;
        let template = next.checked_add(step).filter(|n| (*n as usize) < templates);
        let template = template.ok_or(unknown)?;
        let rows = u32::try_from(take_len(input, CHUNK_ROWS_MAX)?).unwrap_or(u32::MAX);
        used.push((template, rows));
        next = template + 1;
    }
    Ok(used)
}

fn take_format(input: &mut &[u8]) -> Read<Format> {
    let mut bytes = [0; FORMAT_BYTES];
    bytes.copy_from_slice(take_exact(input, FORMAT_BYTES)?);
    Format::from_bytes(bytes).ok_or(Damage("a time format that there is not"))
}

fn take_piece(input: &mut &[u8], pools: usize) -> Read<Piece> {
    Ok(match take_u8(input)? {
        STATIC => Piece::Static(take_bytes(input)?.into()),
        PLAIN => Piece::Slot(take_pool(input, pools)?),
        KEYED => Piece::Keyed(take_pool(input, pools)?, take_bytes(input)?.into()),
        HOLE => Piece::Hole,
        _ => return Err(Damage("a piece of an unknown kind")),
    })
}

fn take_pool(input: &mut &[u8], pools: usize) -> Read<u32> {
    let pool = u32::try_from(take_varint(input)?).ok();
    pool.filter(|pool| (*pool as usize) < pools).ok_or(Damage("a pool that there is not"))
}
