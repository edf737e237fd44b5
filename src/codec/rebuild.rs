//! Texts out of templates and columns: the reading side of `template`.
//!
//! What is rebuilt is the text, byte for byte, and where its slots stand, so that fields can be
//! told as slots (engine.md 3.7).

use std::sync::Arc;

use super::column::{Column, take_column, take_dictionary};
use super::integers::take_integers;
use super::pack::{
    Damage, Read, done, take_bytes, take_exact, take_frame, take_len, take_planes, take_u8,
    take_varint,
};
use super::template::{HOLE, PLAIN, Piece, STAMP, STATIC};
use super::texts::Texts;
use crate::base::limits::{COLUMN_BYTES_MAX, POOLS_MAX, TEMPLATE_BYTES_MAX, TEMPLATES_MAX};
use crate::base::stamp::{FORMAT_BYTES, Format};
use crate::base::time::Timestamp;

/// What [`super::template::Planned::put_shared`] wrote, read.
#[derive(Debug)]
pub(super) struct Templates {
    templates: Vec<Vec<Piece>>,
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
        let pieces = self.templates.iter().flatten();
        let pieces: usize = pieces.map(|piece| size_of::<Piece>() + text(piece)).sum();
        let dictionaries = self.pools.iter().map(|pool| match pool {
            PoolShape::Texts(texts) => texts.weight(),
            PoolShape::Stamps(_) => 0,
        });
        pieces + dictionaries.sum::<usize>()
    }

    /// Reads what the chunks share.
    pub(super) fn take(input: &mut &[u8]) -> Read<Self> {
        let count = take_len(input, POOLS_MAX + STAMP_POOLS_MAX)?;
        let mut formats = Vec::new();
        for _ in 0..count {
            formats.push(match take_u8(input)? {
                PLAIN => None,
                STAMP => Some(take_format(input)?),
                _ => return Err(Damage("a pool of an unknown kind")),
            });
        }
        let count = take_len(input, TEMPLATES_MAX + 2)?;
        // A piece takes more room here than in a key, by its kind and length.
        let bytes = take_frame(input, 8 * TEMPLATE_BYTES_MAX)?;
        let mut rest = &bytes[..];
        let mut templates = Vec::new();
        for _ in 0..count {
            let most = rest.len();
            let pieces = take_len(&mut rest, most)?;
            let template: Read<Vec<Piece>> =
                (0..pieces).map(|_| take_piece(&mut rest, formats.len())).collect();
            templates.push(template?);
        }
        done(rest)?;
        let pools: Read<Vec<PoolShape>> = formats
            .into_iter()
            .map(|format| match format {
                Some(format) => Ok(PoolShape::Stamps(format)),
                None => take_dictionary(input).map(PoolShape::Texts),
            })
            .collect();
        Ok(Self { templates, pools: pools? })
    }

    /// Rebuilds the texts of a chunk; `times` are its records', `hole` says what stands in the
    /// hole of a row.
    pub(super) fn rebuild<'h>(
        &self,
        input: &mut &[u8],
        times: &[Timestamp],
        hole: impl Fn(usize) -> Option<&'h [u8]>,
    ) -> Read<Rebuilt> {
        let unknown = Damage("a template that there is not");
        let rows: Vec<&[Piece]> = take_planes(input, times.len())?
            .into_iter()
            .map(|n| self.templates.get(usize::try_from(n).ok()?).map(Vec::as_slice))
            .collect::<Option<_>>()
            .ok_or(unknown)?;
        let mut cursors = self.cursors(input, &rows)?;
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
    fn cursors(&self, input: &mut &[u8], rows: &[&[Piece]]) -> Read<Vec<Cursor>> {
        let mut counts = vec![0_usize; self.pools.len()];
        for piece in rows.iter().copied().flatten() {
            if let Piece::Slot(pool) = piece
                && let Some(count) = counts.get_mut(*pool as usize)
            {
                *count += 1;
            }
        }
        let cursor = |(pool, count): (&PoolShape, usize)| match pool {
            PoolShape::Texts(dictionary) => {
                take_column(input, count, dictionary).map(|column| Cursor::Texts(column, 0))
            }
            PoolShape::Stamps(format) => {
                let values = if count > 0 { take_integers(input, count)? } else { Vec::new() };
                Ok(Cursor::Stamps(*format, values.into_iter()))
            }
        };
        self.pools.iter().zip(counts).map(cursor).collect()
    }
}

/// Time formats are few (5 signs and digits); more pools of them are damage.
const STAMP_POOLS_MAX: usize = 1 << 16;

fn take_format(input: &mut &[u8]) -> Read<Format> {
    let mut bytes = [0; FORMAT_BYTES];
    bytes.copy_from_slice(take_exact(input, FORMAT_BYTES)?);
    Format::from_bytes(bytes).ok_or(Damage("a time format that there is not"))
}

fn take_piece(input: &mut &[u8], pools: usize) -> Read<Piece> {
    Ok(match take_u8(input)? {
        STATIC => Piece::Static(take_bytes(input)?.into()),
        PLAIN => {
            let pool = u32::try_from(take_varint(input)?).ok();
            let pool = pool.filter(|pool| (*pool as usize) < pools);
            Piece::Slot(pool.ok_or(Damage("a pool that there is not"))?)
        }
        HOLE => Piece::Hole,
        _ => return Err(Damage("a piece of an unknown kind")),
    })
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
                Piece::Slot(pool) => {
                    match cursors.get_mut(*pool as usize).ok_or(short)? {
                        Cursor::Texts(column, next) => {
                            let text = column.get(*next).ok_or(short)?;
                            *next += 1;
                            self.texts.open().extend_from_slice(text);
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
