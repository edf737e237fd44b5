//! Texts out of templates and columns: the reading side of `template`.
//!
//! What is rebuilt is the text, byte for byte, and where its slots stand, so that fields can be
//! told as slots (engine.md 3.7).

use std::sync::Arc;

use super::column::{Column, take_column, take_dictionary};
use super::directory::{Directory, STAMP_POOLS_MAX};
use super::integers::take_integers;
use super::pack::{
    Damage, Read, done, take_bytes, take_exact, take_frame, take_len, take_planes, take_u8,
    take_varint,
};
use super::template::{
    HOLE, KEYED, PLAIN, POOL_KEY, POOL_RARE, POOL_SLOT, POOL_STAMP, POOL_WHOLE, Piece, STATIC,
};
use super::texts::Texts;
use crate::base::limits::{
    CHUNK_ROWS_MAX, COLUMN_BYTES_MAX, POOLS_MAX, TEMPLATE_BYTES_MAX, TEMPLATES_MAX,
};
use crate::base::stamp::{FORMAT_BYTES, Format};
use crate::base::time::Timestamp;

/// What [`super::template::Planned::put_shared`] wrote, read.
#[derive(Debug)]
pub(super) struct Templates {
    lines: Vec<Vec<Piece>>,
    /// For each chunk the templates that it has, rising, and how many rows each: a word that stands
    /// in templates is counted without any column.
    used: Vec<Vec<(u32, u32)>>,
    pools: Vec<PoolShape>,
}

/// What a pool's columns need to be read.
#[derive(Debug)]
enum PoolShape {
    Texts(Arc<Texts>),
    Stamps(Format),
}

/// The values of a pool in a chunk, and which is next.
enum Cursor {
    Texts(Column, usize),
    Stamps(Format, std::vec::IntoIter<i64>),
}

/// The texts of a chunk, rebuilt.
#[derive(Debug)]
pub(super) struct Rebuilt {
    texts: Texts,
    /// Where the slots of all rows stand in their texts, and where each row's begin.
    slots: Vec<(u32, u32)>,
    firsts: Vec<usize>,
    /// Where what stood in the hole starts.
    holes: Vec<Option<usize>>,
}

impl Templates {
    /// Bytes in memory, about.
    pub(super) fn weight(&self) -> usize {
        let text = |piece: &Piece| if let Piece::Static(text) = piece { text.len() } else { 0 };
        let pieces = self.lines.iter().flatten();
        let pieces: usize = pieces.map(|piece| size_of::<Piece>() + text(piece)).sum();
        let dictionaries = self.pools.iter().map(|pool| match pool {
            PoolShape::Texts(texts) => texts.weight(),
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
            .into_iter()
            .map(|key| match key {
                Key::Stamp(format) => Ok(PoolShape::Stamps(format)),
                Key::Texts => take_dictionary(input).map(PoolShape::Texts),
            })
            .collect();
        Ok(Self { lines: templates, used: used?, pools: pools? })
    }

    /// Rebuilds the texts of a chunk; `times` are its records', `hole` says what stands in the
    /// hole of a row.
    pub(super) fn rebuild<'h>(
        &self,
        input: &mut &[u8],
        chunk: usize,
        times: &[Timestamp],
        hole: impl Fn(usize) -> Option<&'h [u8]>,
    ) -> Read<Rebuilt> {
        let unknown = Damage("a template that there is not");
        let used = self.used.get(chunk).map_or(&[][..], Vec::as_slice);
        let directory = Directory::take(input)?;
        let mut column = directory.column(0);
        let rows: Vec<&[Piece]> = take_planes(&mut column, times.len())?
            .into_iter()
            .map(|n| {
                let (template, _) = used.get(usize::try_from(n).ok()?)?;
                self.lines.get(*template as usize).map(Vec::as_slice)
            })
            .collect::<Option<_>>()
            .ok_or(unknown)?;
        done(column)?;
        let mut cursors = self.cursors(&directory, &rows)?;
        let mut rebuilt = Rebuilt {
            texts: Texts::default(),
            slots: Vec::new(),
            firsts: Vec::with_capacity(rows.len()),
            holes: Vec::with_capacity(rows.len()),
        };
        for ((row, pieces), time) in rows.into_iter().enumerate().zip(times) {
            rebuilt.row(pieces, &mut cursors, *time, || hole(row))?;
        }
        Ok(rebuilt)
    }

    /// The columns of a chunk; how long each is, its templates say.
    fn cursors(&self, directory: &Directory<'_>, rows: &[&[Piece]]) -> Read<Vec<Cursor>> {
        let mut counts = vec![0_usize; self.pools.len()];
        for piece in rows.iter().copied().flatten() {
            if let Some(pool) = piece.pool()
                && let Some(count) = counts.get_mut(pool as usize)
            {
                *count += 1;
            }
        }
        if directory.numbers().any(|n| n > counts.len()) {
            return Err(Damage("a column of no pool"));
        }
        let cursor = |(n, (pool, count)): (usize, (&PoolShape, usize))| {
            let mut column = directory.column(n + 1);
            let input = &mut column;
            let cursor = match pool {
                PoolShape::Texts(dictionary) => {
                    Cursor::Texts(take_column(input, count, dictionary)?, 0)
                }
                PoolShape::Stamps(format) => {
                    let values = if count > 0 { take_integers(input, count)? } else { Vec::new() };
                    Cursor::Stamps(*format, values.into_iter())
                }
            };
            done(column).map(|()| cursor)
        };
        self.pools.iter().zip(counts).enumerate().map(cursor).collect()
    }
}

/// What a pool gathers, as far as reading it needs to know.
enum Key {
    Texts,
    Stamp(Format),
}

fn take_key(input: &mut &[u8]) -> Read<Key> {
    Ok(match take_u8(input)? {
        POOL_WHOLE | POOL_RARE | POOL_SLOT => Key::Texts,
        POOL_KEY => {
            take_bytes(input)?;
            Key::Texts
        }
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

impl Rebuilt {
    fn row<'h>(
        &mut self,
        pieces: &[Piece],
        cursors: &mut [Cursor],
        time: Timestamp,
        hole: impl Fn() -> Option<&'h [u8]>,
    ) -> Read<()> {
        let short = Damage("a column that is too short");
        let start = self.texts.total();
        self.firsts.push(self.slots.len());
        let mut hole_at = None;
        for piece in pieces {
            let from = self.texts.total() - start;
            match piece {
                Piece::Static(text) => self.texts.open().extend_from_slice(text),
                Piece::Hole => {
                    hole_at = Some(from);
                    self.texts.open().extend_from_slice(hole().ok_or(short)?);
                }
                Piece::Slot(pool) | Piece::Keyed(pool, _) => {
                    match cursors.get_mut(*pool as usize).ok_or(short)? {
                        Cursor::Texts(column, next) => {
                            if !column.write(*next, self.texts.open()) {
                                return Err(short);
                            }
                            *next += 1;
                        }
                        Cursor::Stamps(format, values) => {
                            let value = values.next().ok_or(short)?.wrapping_add(format.at(time.0));
                            format.write(value, self.texts.open());
                        }
                    }
                    let offset = |n: usize| u32::try_from(n).map_err(|_| Damage("a text too long"));
                    self.slots.push((offset(from)?, offset(self.texts.total() - start)?));
                }
            }
        }
        self.holes.push(hole_at);
        self.texts.close();
        if self.texts.total() > COLUMN_BYTES_MAX {
            return Err(Damage("a column that is too long"));
        }
        Ok(())
    }

    /// The text of a row.
    pub(super) fn get(&self, row: usize) -> Option<&[u8]> {
        self.texts.get(row)
    }

    /// Where what stood in the hole starts in a row's text; `None` where it has none.
    pub(super) fn hole(&self, row: usize) -> Option<usize> {
        self.holes.get(row).copied().flatten()
    }

    /// A slot of a row's text, counted from 0.
    pub(super) fn slot(&self, row: usize, n: usize) -> Option<&[u8]> {
        let first = *self.firsts.get(row)?;
        let end = self.firsts.get(row + 1).copied().unwrap_or(self.slots.len());
        let (start, stop) = *self.slots.get(first..end)?.get(n)?;
        self.texts.get(row)?.get(start as usize..stop as usize)
    }

    /// Bytes in memory.
    pub(super) fn weight(&self) -> usize {
        self.texts.weight() + self.slots.len() * 8 + self.firsts.len() * 24
    }
}
