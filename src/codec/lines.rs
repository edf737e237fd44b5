//! The lines of a chunk as they stand: templates, and columns that are decoded when a question or
//! a row needs them.
//!
//! [`View`] answers which rows hold a text (`question` says what to look for), [`Reader`] puts rows
//! together again, one after the other or here and there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::ask::{Asked as Answer, Watch};
use super::body::lazily;
use super::column::{Column, take_column_beside};
use super::directory::Directory;
use super::integers::take_integers;
use super::pack::{Damage, Read, done, take_planes};
use super::parents::{Aligned, OWN, RowIds};
use super::places::{Codes, Places, Walk};
use super::predict::{Beside, ParentRows};
use super::question::{Asked, Part, Question};
use super::rebuild::{PoolShape, Templates};
use super::set::RowSet;
use super::template::Piece;
use super::texts::Texts;
use super::work;
use crate::base::error::Result;
use crate::base::stamp::Format;
use crate::base::time::Timestamp;

/// What a column costs to be asked, in rows looked at.
const COLUMN_WORK_ROWS: usize = 256;

/// So few rows, and one in so many at most, are looked at instead of asking all columns for them.
const FEW_ROWS: usize = 128;
const FEW_SHARE: usize = 16;

/// Where at most one row in so many is left, only the pools of their templates are asked.
const SOME_SHARE: usize = 4;

/// The lines of one place of a chunk.
#[derive(Debug)]
pub(super) struct ChunkLines {
    directory: Directory,
    rows: usize,
    /// The templates that the chunk has, rising, and how many rows each.
    used: Vec<(u32, u32)>,
    /// The pools that have values here, rising, and how many each.
    pools: Vec<(u32, usize)>,
    places: OnceLock<Places>,
    /// One for each pool, once it was asked for.
    columns: Mutex<Vec<Option<Arc<Values>>>>,
    decoded_bytes: AtomicUsize,
}

/// The values of a pool in a chunk.
#[derive(Debug)]
pub(super) enum Values {
    Texts(Column),
    /// As differences to the records' own times.
    Stamps(Format, Vec<i64>),
}

impl Values {
    fn weight(&self) -> usize {
        match self {
            Self::Texts(column) => column.weight(),
            Self::Stamps(_, values) => values.len() * size_of::<i64>(),
        }
    }
}

impl ChunkLines {
    /// A pool's column as it is stored, by its number in this chunk.
    pub(super) fn stored(&self, local: u32) -> &[u8] {
        // The first is that of the templates, the others are those of the pools.
        self.directory.nth(local as usize + 1)
    }

    /// Reads where the columns of a chunk of so many rows stand.
    pub(super) fn take(
        input: &mut &[u8],
        shared: &Templates,
        chunk: usize,
        rows: usize,
    ) -> Read<Self> {
        let directory = Directory::take(input)?;
        let used = shared.used(chunk).to_vec();
        if used.iter().map(|(_, rows)| *rows as usize).sum::<usize>() != rows {
            return Err(Damage("templates of other rows"));
        }
        let mut counts = vec![0_usize; shared.pools().len()];
        for (template, rows) in &used {
            for pool in shared.template(*template).iter().filter_map(Piece::pool) {
                if let Some(count) = counts.get_mut(pool as usize) {
                    *count += *rows as usize;
                }
            }
        }
        let pools: Vec<(u32, usize)> =
            (0_u32..).zip(counts).filter(|(_, count)| *count > 0).collect();
        let columns = pools.iter().map(|(pool, _)| *pool as usize + 1);
        if !directory.numbers().eq(std::iter::once(0).chain(columns)) {
            return Err(Damage("columns of other pools"));
        }
        let columns = Mutex::new(vec![None; pools.len()]);
        let (places, decoded_bytes) = (OnceLock::new(), AtomicUsize::new(0));
        Ok(Self { directory, rows, used, pools, places, columns, decoded_bytes })
    }

    /// The templates that the chunk has, rising, and how many rows each.
    pub(super) fn used(&self) -> &[(u32, u32)] {
        &self.used
    }

    /// The pools that have values here, rising, and how many each.
    pub(super) fn pools(&self) -> &[(u32, usize)] {
        &self.pools
    }

    /// Which template each row has, and so where its values stand.
    pub(super) fn places(&self, shared: &Templates) -> Read<&Places> {
        lazily(&self.places, || {
            let unknown = Damage("a template that there is not");
            let mut column = self.directory.column(0);
            work::decoded(column.len());
            let kinds: Vec<u32> = take_planes(&mut column, self.rows)?
                .into_iter()
                .map(|n| u32::try_from(n).map_err(|_| unknown))
                .collect::<Read<_>>()?;
            done(column)?;
            let mut left: Vec<u32> = self.used.iter().map(|(_, rows)| *rows).collect();
            for kind in &kinds {
                let left = left.get_mut(*kind as usize).filter(|left| **left > 0);
                *left.ok_or(unknown)? -= 1;
            }
            let local = |pool: u32| {
                let at = self.pools.binary_search_by_key(&pool, |(pool, _)| *pool);
                at.ok().and_then(|at| u32::try_from(at).ok()).unwrap_or(u32::MAX)
            };
            let slots = |(template, _): &(u32, u32)| {
                shared.template(*template).iter().filter_map(Piece::pool).map(local).collect()
            };
            let slots = self.used.iter().map(slots).collect();
            Ok(Places::new(Codes::new(&kinds, self.used.len()), slots, self.pools.len()))
        })
    }

    fn columns(&self) -> std::sync::MutexGuard<'_, Vec<Option<Arc<Values>>>> {
        self.columns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes in memory.
    pub(super) fn weight(&self) -> usize {
        self.directory.weight()
            + self.used.len() * 8
            + self.pools.len() * 24
            + self.places.get().map_or(0, Places::weight)
            + self.decoded_bytes.load(Ordering::Relaxed)
    }

    /// Lets go of what can be decoded again.
    pub(super) fn shed(&self) {
        self.columns().iter_mut().for_each(|column| *column = None);
        self.decoded_bytes.store(0, Ordering::Relaxed);
    }
}

/// Who knows the times of a chunk's records, for those that stand in lines, and what else tells
/// the columns of lines.
pub(super) trait Times {
    /// One for each row.
    fn times(&self) -> Result<&[Timestamp]>;
    /// What each row has of a parent (see `parents`).
    fn row_ids(&self, which: u32) -> Result<RowIds>;
}

/// What stands beside the values of a pool.
struct Near<'a> {
    view: &'a View<'a>,
    local: u32,
}

impl Beside for Near<'_> {
    fn parent(&self, which: u32) -> Read<ParentRows> {
        let unknown = Damage("a column told by what does not read");
        let view = self.view;
        let places = view.lines.places(view.shared)?;
        let parent = if which == OWN { view.row_ids(OWN) } else { view.times.row_ids(which) };
        let aligned = parent.map_err(|_| unknown)?.beside(&places.rows_of_values(self.local));
        aligned.map(Aligned::into_rows).ok_or(unknown)
    }
}

/// Lines, with all that reading them needs.
pub(super) struct View<'a> {
    pub(super) lines: &'a ChunkLines,
    pub(super) shared: &'a Templates,
    pub(super) times: &'a dyn Times,
    /// Where this is, for errors.
    pub(super) here: &'a str,
}

impl<'a> View<'a> {
    fn checked<T>(&self, read: Read<T>) -> Result<T> {
        read.map_err(|damage| damage.at(self.here))
    }

    /// The templates of the rows, as a parent of columns.
    pub(super) fn row_ids(&self, which: u32) -> Result<RowIds> {
        let kinds = self.places()?.kinds();
        let rows = (0..kinds.len()).filter_map(|row| kinds.get(row)).collect();
        Ok(RowIds { which, rows, texts: None })
    }

    /// For each row the number of its template among those of the chunk.
    pub(super) fn kinds(&self) -> Result<&'a Codes> {
        Ok(self.places()?.kinds())
    }

    /// A template of the chunk: its number in the segment, and its pieces.
    pub(super) fn template(&self, kind: u32) -> (u32, &'a [Piece]) {
        let number = self.lines.used.get(kind as usize).map_or(u32::MAX, |(number, _)| *number);
        (number, self.shared.template(number))
    }

    /// The pool of a slot of a template of the chunk.
    pub(super) fn pool_of(&self, kind: u32, slot: u32) -> Result<Option<u32>> {
        Ok(self.places()?.slots(kind).get(slot as usize).copied())
    }

    /// The rows that have one of these values of a pool.
    pub(super) fn rows_with(&self, local: u32, values: &RowSet) -> Result<RowSet> {
        Ok(self.places()?.rows_with(local, values))
    }

    /// Which template each row has, by its number in this chunk.
    pub(super) fn places(&self) -> Result<&'a Places> {
        self.checked(self.lines.places(self.shared))
    }

    /// The values of a pool, by its number in this chunk.
    pub(super) fn column(&self, local: u32) -> Result<Arc<Values>> {
        let known = self.lines.columns().get(local as usize).cloned().flatten();
        if let Some(known) = known {
            return Ok(known);
        }
        let values = Arc::new(self.checked(self.decode(local))?);
        if let Some(cell) = self.lines.columns().get_mut(local as usize)
            && cell.is_none()
        {
            self.lines.decoded_bytes.fetch_add(values.weight(), Ordering::Relaxed);
            *cell = Some(Arc::clone(&values));
        }
        Ok(values)
    }

    fn decode(&self, local: u32) -> Read<Values> {
        let missing = Damage("a pool that there is not");
        let (pool, count) = *self.lines.pools.get(local as usize).ok_or(missing)?;
        let mut input = self.lines.stored(local);
        work::decoded(input.len());
        let values = match self.shared.pools().get(pool as usize).ok_or(missing)? {
            PoolShape::Texts(dictionary) => {
                let near = Near { view: self, local };
                Values::Texts(take_column_beside(&mut input, count, dictionary, &near)?)
            }
            PoolShape::Stamps(format) => Values::Stamps(*format, take_integers(&mut input, count)?),
        };
        done(input).map(|()| values)
    }

    /// Which values of a pool pass.
    fn ask(&self, local: u32, asked: &Asked, watch: &mut dyn Watch) -> Answer<RowSet> {
        let (pool, count) = self.lines.pools.get(local as usize).copied().unwrap_or_default();
        let none = Ok(RowSet::none(count));
        match self.shared.pools().get(pool as usize) {
            Some(PoolShape::Texts(dictionary)) => {
                let entries = self.shared.entries(asked, pool);
                if !asked.probe.may_be_in(self.lines.stored(local), entries) {
                    return none;
                }
                watch.worked(COLUMN_WORK_ROWS)?;
                let values = self.column(local)?;
                let Values::Texts(column) = &*values else { return none };
                let before = column.weight();
                let found = asked.probe.of_column(column, dictionary, entries);
                // Texts are kept folded once they were asked for so.
                let more = column.weight().saturating_sub(before);
                self.lines.decoded_bytes.fetch_add(more, Ordering::Relaxed);
                Ok(found)
            }
            Some(PoolShape::Stamps(format)) if asked.probe.may_be_in_times(*format) => {
                watch.worked(COLUMN_WORK_ROWS)?;
                Ok(self.ask_times(local, *format, asked)?)
            }
            _ => none,
        }
    }

    fn ask_times(&self, local: u32, format: Format, asked: &Asked) -> Result<RowSet> {
        let (values, times) = (self.column(local)?, self.times.times()?);
        let Values::Stamps(_, values) = &*values else { return Ok(RowSet::none(0)) };
        let rows = self.places()?.rows_of_values(local);
        let mut texts = Texts::default();
        let mut last = (None, 0..0);
        for (value, row) in values.iter().zip(rows) {
            let time = times.get(row as usize).map_or(0, |time| time.0);
            let value = value.wrapping_add(format.at(time));
            let start = texts.total();
            if last.0 == Some(value) {
                texts.open().extend_from_within(last.1.clone());
            } else {
                format.write(value, texts.open());
            }
            last = (Some(value), start..texts.total());
            texts.close();
        }
        Ok(asked.probe.of_any(&texts))
    }

    /// Those of `among` where the text stands; `sure` alone, or, to be looked at, perhaps.
    pub(super) fn find(
        &self,
        question: &Question,
        among: &RowSet,
        watch: &mut dyn Watch,
    ) -> Answer<Found> {
        let sure = self.of_templates(&question.sure)?.and(among);
        let mut found = Found { sure, maybe: RowSet::none(among.rows()) };
        let mut left = among.minus(&found.sure);
        for part in &question.parts {
            if left.is_none() {
                return Ok(found);
            }
            let mut maybe = self.of_templates(&part.maybe)?.and(&left);
            let mut open = left.minus(&maybe);
            let few = open.count();
            if few <= FEW_ROWS && few * FEW_SHARE <= open.rows() {
                left = left.minus(&found.sure);
                continue; // to look at them costs less than to ask columns
            }
            for local in self.pools_of(&open)? {
                if open.is_none() {
                    break;
                }
                let values = self.ask(local, &part.within, watch)?;
                if values.is_none() {
                    continue;
                }
                let rows = self.places()?.rows_with(local, &values).and(&open);
                open = open.minus(&rows);
                if question.exact {
                    found.sure = found.sure.or(&rows);
                } else {
                    maybe = maybe.or(&rows);
                }
            }
            maybe = maybe.or(&self.find_across(part, watch)?.and(&left));
            // What is sure was asked of the only part.
            left = maybe.minus(&found.sure);
        }
        found.maybe = left;
        Ok(found)
    }

    /// The pools that have values of these rows, if not all of them do.
    fn pools_of(&self, rows: &RowSet) -> Result<Vec<u32>> {
        let all = u32::try_from(self.lines.pools.len()).unwrap_or(u32::MAX);
        if rows.is_none() || rows.count() * SOME_SHARE > rows.rows() {
            return Ok((0..all).collect());
        }
        let places = self.places()?;
        let mut kinds = vec![false; self.lines.used.len()];
        for row in rows.iter() {
            let kind = places.kinds().get(row).unwrap_or(u32::MAX);
            if let Some(kind) = kinds.get_mut(kind as usize) {
                *kind = true;
            }
        }
        let mut pools = vec![false; self.lines.pools.len()];
        for (kind, _) in (0_u32..).zip(kinds).filter(|(_, there)| *there) {
            for pool in places.slots(kind) {
                if let Some(pool) = pools.get_mut(*pool as usize) {
                    *pool = true;
                }
            }
        }
        Ok((0_u32..).zip(pools).filter(|(_, there)| *there).map(|(pool, _)| pool).collect())
    }

    /// The rows where a part of a text may stand across the border of a value.
    fn find_across(&self, part: &Part, watch: &mut dyn Watch) -> Answer<RowSet> {
        let mut wanted: BTreeMap<(u32, usize), Vec<(u32, usize)>> = BTreeMap::new();
        for ((template, _), kind) in self.lines.used.iter().zip(0_u32..) {
            for (way, border) in part.across.get(template).into_iter().flatten() {
                let at = self.lines.pools.binary_search_by_key(&way.pool, |(pool, _)| *pool);
                if let Some(local) = at.ok().and_then(|at| u32::try_from(at).ok()) {
                    wanted.entry((local, *border)).or_default().push((kind, way.nth));
                }
            }
        }
        let mut found = RowSet::none(self.lines.rows);
        for ((local, border), wanted) in wanted {
            let Some(asked) = part.borders.get(border) else { continue };
            let values = self.ask(local, asked, watch)?;
            if !values.is_none() {
                found = found.or(&self.places()?.rows_of(local, &wanted, &values));
            }
        }
        Ok(found)
    }

    /// The rows of templates that are marked.
    fn of_templates(&self, marked: &[bool]) -> Result<RowSet> {
        let is = |(template, _): &(u32, u32)| {
            marked.get(*template as usize).copied().unwrap_or_default()
        };
        let used = &self.lines.used;
        match used.iter().filter(|used| is(used)).count() {
            0 => Ok(RowSet::none(self.lines.rows)),
            all if all == used.len() => Ok(RowSet::all(self.lines.rows)),
            _ => Ok(self.places()?.kinds().marked(&used.iter().map(is).collect::<Vec<_>>())),
        }
    }

    /// Those of `among` that have the text in a slot of one of these pools for which `is_field`
    /// says so.
    pub(super) fn find_in_slots(
        &self,
        asked: &Asked,
        pools: &[u32],
        is_field: &mut dyn FnMut(usize, usize) -> bool,
        among: &RowSet,
        watch: &mut dyn Watch,
    ) -> Answer<RowSet> {
        let mut found = RowSet::none(among.rows());
        for local in pools.iter().copied() {
            let values = self.ask(local, asked, watch)?;
            if values.is_none() {
                continue;
            }
            let places = self.places()?;
            let rows = places.rows_with(local, &values).and(among).minus(&found);
            let mut walk = Walk::new(places);
            let mut is = |row: usize| {
                walk.go(places, row);
                let kind = places.kinds().get(row).unwrap_or_default();
                let mut nth = 0;
                places.slots(kind).iter().enumerate().any(|(slot, pool)| {
                    if *pool != local {
                        return false;
                    }
                    nth += 1;
                    values.contains(walk.place(local) + nth - 1) && is_field(row, slot)
                })
            };
            found = found.or(&RowSet::from_rows(among.rows(), rows.iter().filter(|row| is(*row))));
        }
        Ok(found)
    }

    /// The number in this chunk of a pool that has values here.
    pub(super) fn local(&self, pool: u32) -> Option<u32> {
        let at = self.lines.pools.binary_search_by_key(&pool, |(pool, _)| *pool);
        at.ok().and_then(|at| u32::try_from(at).ok())
    }

    /// Puts rows together.
    pub(super) fn into_reader(self) -> Result<Reader<'a>> {
        let places = self.places()?;
        let columns = vec![None; self.lines.pools.len()];
        Ok(Reader { view: self, places, walk: Walk::new(places), columns })
    }
}

/// Where a text stands.
pub(super) struct Found {
    /// In these rows.
    pub(super) sure: RowSet,
    /// In some of these, perhaps.
    pub(super) maybe: RowSet,
}

/// Puts the texts of rows together.
pub(super) struct Reader<'a> {
    view: View<'a>,
    places: &'a Places,
    walk: Walk,
    columns: Vec<Option<Arc<Values>>>,
}

/// Where the pieces of a text stand that was put together.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    /// Start and end of each slot.
    pub(super) slots: Vec<(usize, usize)>,
    /// Where what stands in the hole starts.
    pub(super) hole: Option<usize>,
}

impl Reader<'_> {
    /// Adds the text of a row to `out`; `hole` stands in its hole.
    pub(super) fn read(
        &mut self,
        row: usize,
        hole: &[u8],
        out: &mut Vec<u8>,
        cuts: &mut Cuts,
    ) -> Result<()> {
        let here = self.view.here;
        let beyond = || Damage("a row that there is not").at(here);
        work::rebuilt();
        cuts.slots.clear();
        cuts.hole = None;
        let kind = self.places.kinds().get(row).ok_or_else(beyond)?;
        let (template, _) = self.view.lines.used.get(kind as usize).ok_or_else(beyond)?;
        self.walk.go(self.places, row);
        let start = out.len();
        let mut pools = self.places.slots(kind).iter();
        for piece in self.view.shared.template(*template) {
            match piece {
                Piece::Static(text) => out.extend_from_slice(text),
                Piece::Hole => {
                    cuts.hole = Some(out.len() - start);
                    out.extend_from_slice(hole);
                }
                Piece::Slot(_) | Piece::Keyed(..) => {
                    let pool = pools.next().copied().unwrap_or(u32::MAX);
                    let from = out.len() - start;
                    self.slot(row, pool, out)?;
                    cuts.slots.push((from, out.len() - start));
                }
            }
        }
        self.walk.next();
        Ok(())
    }

    /// Adds the text of one slot of a row, counted from 0, to `out`.
    pub(super) fn slot_of(&mut self, row: usize, n: usize, out: &mut Vec<u8>) -> Result<()> {
        let here = self.view.here;
        let beyond = || Damage("a slot that there is not").at(here);
        self.walk.go(self.places, row);
        let kind = self.places.kinds().get(row).ok_or_else(beyond)?;
        let (before, rest) = self.places.slots(kind).split_at_checked(n).ok_or_else(beyond)?;
        let pool = *rest.first().ok_or_else(beyond)?;
        let same = before.iter().filter(|other| **other == pool).count();
        self.value(row, pool, self.walk.place(pool) + same, out)
    }

    fn slot(&mut self, row: usize, pool: u32, out: &mut Vec<u8>) -> Result<()> {
        let at = self.walk.take(pool);
        self.value(row, pool, at, out)
    }

    fn value(&mut self, row: usize, pool: u32, at: usize, out: &mut Vec<u8>) -> Result<()> {
        let here = self.view.here;
        let short = || Damage("a column that is too short").at(here);
        let cell = self.columns.get_mut(pool as usize).ok_or_else(short)?;
        if cell.is_none() {
            *cell = Some(self.view.column(pool)?);
        }
        match cell.as_deref().ok_or_else(short)? {
            Values::Texts(column) => {
                if column.write(at, out) {
                    Ok(())
                } else {
                    Err(short())
                }
            }
            Values::Stamps(format, values) => {
                let time = self.view.times.times()?.get(row).copied().ok_or_else(short)?;
                let value = values.get(at).copied().ok_or_else(short)?;
                format.write(value.wrapping_add(format.at(time.0)), out);
                Ok(())
            }
        }
    }
}
