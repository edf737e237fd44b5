//! The fields of a chunk's rows, read: columns at once, each row's fields when they are asked for.
//!
//! Names are decided on shapes, values where they stand: in columns of their own, or in slots of
//! the lines, which are read through [`Lines`].

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use super::ask::{self, Asked as Answer, Watch};
use super::body::lazily;
use super::column::{Column, take_column};
use super::derived::{fields_of, without_message};
use super::fields::{Entry, LESS, LOOSE, Place, SharedFields, Source, WHOLE};
use super::items::Items;
use super::lines::{Cuts, Reader, View};
use super::own::OwnRows;
use super::pack::{Damage, Read, done};
use super::parents::RowIds;
use super::places::{Codes, Places, Walk};
use super::question::Asked;
use super::record::read_fields;
use super::set::RowSet;
use super::texts::Texts;
use super::told::take_told;
use super::value_text::{Kind, read_text};
use super::work;
use crate::base::error::{Error, Result};
use crate::base::find::Finder;
use crate::base::flatten::Flat;
use crate::base::record::Defects;
use crate::base::value::{Field, Value};

/// Where the lines of the same rows are read.
pub(super) trait Lines {
    /// What stands around messages.
    fn around(&self) -> Result<View<'_>>;
    /// The messages.
    fn messages(&self) -> Result<View<'_>>;
    /// What is wrong with a row.
    fn defects(&self, row: usize) -> Result<Defects>;
}

/// The fields of a chunk.
#[derive(Debug)]
pub(super) struct ChunkFields {
    shared: Arc<SharedFields>,
    /// The shapes that the chunk has; a row's kind is the place of its shape here.
    shapes: Vec<u32>,
    /// Pool 0 is that of loose rows, then come the others that have values here.
    places: Places,
    /// By the same numbers, with the number in the segment and one (0 for loose rows).
    columns: Vec<(u32, Column)>,
    /// By the same numbers the items of arrays and of loose rows, once they were asked for.
    items: Vec<OnceLock<Items>>,
    special: OnceLock<Special>,
    own: OnceLock<OwnRows>,
}

/// Rows with values that stand in no column.
#[derive(Debug)]
struct Special {
    derived: RowSet,
    /// In slots around the message, and in which pools these are.
    in_slots: RowSet,
    pools: Vec<u32>,
}

impl ChunkFields {
    /// Reads the columns of a chunk of so many rows.
    pub(super) fn take(
        input: &mut &[u8],
        shared: &Arc<SharedFields>,
        rows: usize,
        parent: impl FnOnce(u32) -> Option<RowIds>,
    ) -> Read<Self> {
        let unknown = Damage("a shape that there is not");
        let mut numbers: HashMap<u32, u32, foldhash::fast::RandomState> = HashMap::default();
        let mut shapes: Vec<(u32, usize)> = Vec::new();
        let mut kinds = Vec::with_capacity(rows);
        for shape in take_told(input, rows, parent)? {
            let shape = u32::try_from(shape).map_err(|_| unknown)?;
            let next = u32::try_from(shapes.len()).map_err(|_| unknown)?;
            let kind = *numbers.entry(shape).or_insert(next);
            if kind == next {
                shapes.push((shape, 0));
            }
            if let Some((_, rows)) = shapes.get_mut(kind as usize) {
                *rows += 1;
            }
            kinds.push(kind);
        }
        let mut counts = vec![0_usize; shared.pools().len() + 1];
        for (shape, rows) in &shapes {
            for pool in slots_of(shared, *shape).ok_or(unknown)? {
                *counts.get_mut(pool as usize).ok_or(unknown)? += rows;
            }
        }
        let mut columns = Vec::new();
        let mut local = vec![u32::MAX; counts.len()];
        for ((pool, count), local) in (0_u32..).zip(counts).zip(&mut local) {
            let dictionary = match pool.checked_sub(1) {
                None => shared.loose(),
                Some(pool) => shared.pools().get(pool as usize).ok_or(unknown)?,
            };
            let column = take_column(input, count, dictionary)?;
            if count > 0 {
                work::decoded(0);
                *local = u32::try_from(columns.len()).map_err(|_| unknown)?;
                columns.push((pool, column));
            }
        }
        let slots = |(shape, _): &(u32, usize)| {
            let pools = slots_of(shared, *shape).unwrap_or_default();
            pools.into_iter().filter_map(|pool| local.get(pool as usize).copied()).collect()
        };
        let slots = shapes.iter().map(slots).collect();
        let places = Places::new(Codes::new(&kinds, shapes.len()), slots, columns.len());
        let shapes = shapes.into_iter().map(|(shape, _)| shape).collect();
        let items = columns.iter().map(|_| OnceLock::new()).collect();
        let (special, own) = (OnceLock::new(), OnceLock::new());
        Ok(Self { shared: Arc::clone(shared), shapes, places, columns, items, special, own })
    }

    /// Which shape each row has, by its number in this chunk.
    pub(super) fn places(&self) -> &Places {
        &self.places
    }

    /// The shapes that the chunk has.
    pub(super) fn shapes(&self) -> &[u32] {
        &self.shapes
    }

    /// The columns that have values here, each with its number in the segment and one, 0 for loose
    /// rows; in the order of the numbers.
    pub(super) fn into_columns(self) -> Vec<(u32, Column)> {
        self.columns
    }

    fn entries(&self, kind: u32) -> &[Entry] {
        self.shared.shape(self.shape_of(kind)).unwrap_or_default()
    }

    fn shape_of(&self, kind: u32) -> u32 {
        self.shapes.get(kind as usize).copied().unwrap_or(LOOSE)
    }

    /// The shape of a row.
    pub(super) fn shape_of_row(&self, row: usize) -> u32 {
        self.places.kinds().get(row).map_or(LOOSE, |kind| self.shape_of(kind))
    }

    /// What the chunks of the segment share.
    pub(super) fn shared(&self) -> &SharedFields {
        &self.shared
    }

    /// Has each row of this kind names of its own?
    fn is_unnamed(&self, kind: u32) -> bool {
        self.shape_of(kind) <= LESS
    }

    /// Is a slot around the message a field of rows of this kind?
    fn is_around(&self, kind: u32, slot: usize) -> bool {
        let slot = u32::try_from(slot).unwrap_or(u32::MAX);
        let source = Source::Slot(Place::Around, slot);
        self.entries(kind).iter().any(|entry| entry.source == source)
    }

    /// Is something of these rows only known once their texts are read?
    fn is_derived(&self, kind: u32) -> bool {
        matches!(self.shape_of(kind), WHOLE | LESS)
            || self.entries(kind).iter().any(|e| matches!(e.source, Source::Derived(_)))
    }

    /// The kinds of rows for which `is` says so.
    fn kinds(&self, mut is: impl FnMut(u32) -> bool) -> RowSet {
        let many = u32::try_from(self.shapes.len()).unwrap_or(u32::MAX);
        let marked: Vec<bool> = (0..many).map(&mut is).collect();
        if marked.iter().all(|marked| !marked) {
            return RowSet::none(self.places.kinds().len());
        }
        self.places.kinds().marked(&marked)
    }

    /// Bytes in memory, about.
    pub(super) fn weight(&self) -> usize {
        let columns: usize = self.columns.iter().map(|(_, column)| column.weight()).sum();
        let own = self.own.get().map_or(0, OwnRows::weight);
        let items: usize = self.items.iter().filter_map(OnceLock::get).map(Items::weight).sum();
        // Sets of rows are a bit a row.
        let special = self.special.get().map_or(0, |_| self.places.kinds().len() / 4);
        columns + items + special + self.places.weight() + self.shapes.len() * 4 + own
    }
}

/// The pools that a row of a shape takes a value of: 0 for loose rows, else their number and one.
fn slots_of(shared: &SharedFields, shape: u32) -> Option<Vec<u32>> {
    if shape == LOOSE {
        return Some(vec![0]);
    }
    let pools = shared.shape(shape)?.iter().filter_map(|entry| match entry.source {
        Source::Pool(pool) => Some(pool.saturating_add(1)),
        Source::Nowhere | Source::Slot(..) | Source::Derived(_) => None,
    });
    Some(pools.collect())
}

/// Fields, with the lines that they may stand in.
pub(super) struct FieldsView<'a> {
    pub(super) fields: &'a ChunkFields,
    pub(super) lines: &'a dyn Lines,
    /// Where this is, for errors.
    pub(super) here: &'a str,
}

impl FieldsView<'_> {
    fn checked<T>(&self, read: Read<T>) -> Result<T> {
        read.map_err(|damage| damage.at(self.here))
    }

    fn missing(&self) -> Error {
        Damage("a value that is not there").at(self.here)
    }

    /// Has any row a field of a name that is meant?
    pub(super) fn has(&self, named: &dyn Fn(&str) -> bool) -> Result<bool> {
        let known = self.fields.shared.marked(named);
        let is = |entry: &Entry| known.get(entry.name as usize).copied().unwrap_or_default();
        let kinds = 0..u32::try_from(self.fields.shapes.len()).unwrap_or(u32::MAX);
        if kinds.into_iter().any(|kind| self.fields.entries(kind).iter().any(is)) {
            return Ok(true);
        }
        let unnamed = self.fields.kinds(|kind| self.fields.is_unnamed(kind));
        if unnamed.is_none() {
            return Ok(false);
        }
        let mut reader = self.reader()?;
        for row in unnamed.iter() {
            if reader.read(row)?.iter().any(|field| named(&field.name)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads the fields of rows.
    pub(super) fn reader(&self) -> Result<FieldReader<'_>> {
        let kinds = || 0..u32::try_from(self.fields.shapes.len()).unwrap_or(u32::MAX);
        let derived = kinds().any(|kind| self.fields.is_derived(kind));
        let slots = |place| {
            let mut entries = kinds().flat_map(|kind| self.fields.entries(kind));
            derived || entries.any(|e| matches!(e.source, Source::Slot(p, _) if p == place))
        };
        Ok(FieldReader {
            view: self,
            walk: Walk::new(&self.fields.places),
            around: if slots(Place::Around) {
                Some(self.lines.around()?.into_reader()?)
            } else {
                None
            },
            messages: if slots(Place::Message) {
                Some(self.lines.messages()?.into_reader()?)
            } else {
                None
            },
            text: Vec::new(),
            own: Own::default(),
        })
    }

    /// Those of `among` that have a field of a name that is meant, whose value passes.
    pub(super) fn select(
        &self,
        named: &dyn Fn(&str) -> bool,
        among: &RowSet,
        watch: &mut dyn Watch,
        is: &mut dyn FnMut(&Value) -> bool,
    ) -> Answer<RowSet> {
        let known = self.fields.shared.marked(named);
        let meant = |entry: &Entry| known.get(entry.name as usize).copied().unwrap_or_default();
        let with = self.fields.kinds(|kind| {
            self.fields.is_unnamed(kind) || self.fields.entries(kind).iter().any(meant)
        });
        let with = with.and(among);
        if with.is_none() {
            return Ok(with);
        }
        let mut reader = self.reader()?;
        ask::filter(&with, watch, |row| reader.any(row, &meant, named, is))
    }

    /// Those of `among` where a value that stands in no slot of the message holds the text.
    pub(super) fn find(
        &self,
        finder: &Finder,
        among: &RowSet,
        watch: &mut dyn Watch,
    ) -> Answer<RowSet> {
        let fields = self.fields;
        let known = fields.shared.question(finder);
        let Some(question) = known.question() else { return Ok(RowSet::none(among.rows())) };
        let mut found = self.find_in_columns(&question.whole, watch)?.and(among);
        let special = lazily(&fields.special, || self.special())?;
        let left = special.derived.and(among).minus(&found);
        if !left.is_none() {
            let own = lazily(&fields.own, || OwnRows::new(self, &special.derived))?;
            found = found.or(&own.find(self, finder, question, &left, watch)?);
        }
        let left = special.in_slots.and(among).minus(&found);
        if left.is_none() {
            return Ok(found);
        }
        let view = self.lines.around()?;
        let known = view.shared.question(finder);
        let Some(question) = known.question() else { return Ok(found) };
        let mut is_field = |row: usize, slot: usize| {
            let kind = fields.places.kinds().get(row).unwrap_or_default();
            fields.is_around(kind, slot)
        };
        let (asked, pools) = (&question.whole, &special.pools);
        Ok(found.or(&view.find_in_slots(asked, pools, &mut is_field, &left, watch)?))
    }

    /// The rows where a value that stands in a column passes, or is null.
    fn find_in_columns(&self, asked: &Asked, watch: &mut dyn Watch) -> Answer<RowSet> {
        let fields = self.fields;
        let mut found = RowSet::none(fields.places.kinds().len());
        if asked.probe.holds(b"null") {
            found = fields.kinds(|kind| {
                fields.entries(kind).iter().any(|e| matches!(e.source, Source::Nowhere))
            });
        }
        for ((pool, column), local) in fields.columns.iter().zip(0_u32..) {
            watch.worked(column.len() / 64)?;
            let number = pool.checked_sub(1);
            let kind = number.and_then(|pool| fields.shared.kind_of(pool));
            let values = if matches!(kind, Some(Kind::Array) | None) {
                let cell = fields.items.get(local as usize);
                let cell = cell.ok_or_else(|| self.missing())?;
                let items = lazily(cell, || self.checked(items(column, number.is_none())))?;
                items.find(&asked.probe, column.len())
            } else {
                let none = Texts::default();
                let own = number.and_then(|pool| fields.shared.pools().get(pool as usize));
                let entries = fields.shared.entries(asked, number.unwrap_or(u32::MAX));
                asked.probe.of_column(column, own.map_or(&none, |own| own), entries)
            };
            if !values.is_none() {
                found = found.or(&fields.places.rows_with(local, &values));
            }
        }
        Ok(found)
    }

    /// Finds out which rows have values that stand in no column.
    fn special(&self) -> Result<Special> {
        let fields = self.fields;
        let derived = fields.kinds(|kind| fields.is_derived(kind));
        let around = |e: &Entry| matches!(e.source, Source::Slot(Place::Around, _));
        let in_slots = fields.kinds(|kind| fields.entries(kind).iter().any(around));
        let mut pools = BTreeSet::new();
        if !in_slots.is_none() {
            let view = self.lines.around()?;
            let lines = view.kinds()?;
            let pairs = in_slots
                .iter()
                .filter_map(|row| Some((fields.places.kinds().get(row)?, lines.get(row)?)));
            for (kind, line) in pairs.collect::<HashSet<_, foldhash::fast::RandomState>>() {
                for entry in fields.entries(kind) {
                    if let Source::Slot(Place::Around, slot) = entry.source {
                        pools.extend(view.pool_of(line, slot)?);
                    }
                }
            }
        }
        Ok(Special { derived, in_slots, pools: pools.into_iter().collect() })
    }
}

/// The items of a column of arrays, or of whole lists of fields.
fn items(column: &Column, loose: bool) -> Read<Items> {
    let (mut text, mut items) = (Vec::new(), Items::default());
    for n in 0..column.len() {
        if loose {
            for field in read_loose(column, n, &mut text)? {
                items.add(n, &field.value, &|_| false);
            }
        } else {
            let stored = column.text(n, &mut text).ok_or(Damage("a value that is not there"))?;
            items.add(n, &read_text(Kind::Array, stored)?, &|_| false);
        }
    }
    Ok(items)
}

fn read_loose(column: &Column, n: usize, text: &mut Vec<u8>) -> Read<Vec<Field>> {
    let mut input = column.text(n, text).ok_or(Damage("a value that is not there"))?;
    let fields = read_fields(&mut input)?;
    done(input).map(|()| fields)
}

/// Reads the fields of rows, one after the other or here and there.
pub(super) struct FieldReader<'a> {
    view: &'a FieldsView<'a>,
    walk: Walk,
    around: Option<Reader<'a>>,
    messages: Option<Reader<'a>>,
    text: Vec<u8>,
    own: Own,
}

/// What the objects gave that the texts of the row read last end with.
#[derive(Default)]
struct Own {
    flat: Flat,
    row: Option<usize>,
    around: Option<Vec<Field>>,
    message: Option<Vec<Field>>,
}

impl FieldReader<'_> {
    /// The fields of a row.
    pub(super) fn read(&mut self, row: usize) -> Result<Vec<Field>> {
        let fields = self.view.fields;
        let missing = || Damage("a value that is not there").at(self.view.here);
        let kind = fields.places.kinds().get(row).ok_or_else(missing)?;
        self.walk.go(&fields.places, row);
        if matches!(fields.shape_of(kind), WHOLE | LESS) {
            self.walk.next();
            let own = self.derived(row, Place::Around)?.to_vec();
            if fields.shape_of(kind) == WHOLE {
                return Ok(own);
            }
            return Ok(without_message(own, &self.message(row)?));
        }
        if fields.shape_of(kind) == LOOSE {
            let at = self.walk.take(0);
            self.walk.next();
            let (_, loose) = fields.columns.first().ok_or_else(missing)?;
            return self.view.checked(read_loose(loose, at, &mut self.text));
        }
        let entries = fields.entries(kind);
        let mut pools = fields.places.slots(kind).iter().copied();
        let mut all = Vec::with_capacity(entries.len());
        for entry in entries {
            let pool = if matches!(entry.source, Source::Pool(_)) { pools.next() } else { None };
            let value = self.value(row, entry, pool)?;
            let name = fields.shared.name(entry.name).ok_or_else(missing)?;
            all.push(Field { name: Arc::clone(name), value });
        }
        self.walk.next();
        Ok(all)
    }

    /// The derived fields of a row, from the message where that gives them as well.
    pub(super) fn of_object(&mut self, row: usize, in_message: bool) -> Result<Vec<Field>> {
        let fields = self.view.fields;
        let entries = fields.shared.shape(fields.shape_of_row(row)).unwrap_or_default();
        let derived = entries.iter().filter(|e| matches!(e.source, Source::Derived(_)));
        let names: Vec<&Arc<str>> = derived.filter_map(|e| fields.shared.name(e.name)).collect();
        if !in_message || names.is_empty() {
            return self.read(row);
        }
        let own = self.derived(row, Place::Message)?.iter();
        Ok(own.filter(|field| names.contains(&&field.name)).cloned().collect())
    }

    /// Has a row a field that is meant and passes?
    fn any(
        &mut self,
        row: usize,
        meant: &impl Fn(&Entry) -> bool,
        named: &dyn Fn(&str) -> bool,
        is: &mut dyn FnMut(&Value) -> bool,
    ) -> Result<bool> {
        let fields = self.view.fields;
        let missing = || Damage("a value that is not there").at(self.view.here);
        let kind = fields.places.kinds().get(row).ok_or_else(missing)?;
        if fields.is_unnamed(kind) {
            return Ok(self.read(row)?.iter().any(|f| named(&f.name) && is(&f.value)));
        }
        self.walk.go(&fields.places, row);
        let mut pools = fields.places.slots(kind).iter().copied();
        let mut found = false;
        for entry in fields.entries(kind) {
            let pool = if matches!(entry.source, Source::Pool(_)) { pools.next() } else { None };
            if !found && meant(entry) {
                let value = self.value(row, entry, pool)?;
                found = is(&value);
            } else if let Some(pool) = pool {
                self.walk.take(pool);
            }
        }
        self.walk.next();
        Ok(found)
    }

    fn value(&mut self, row: usize, entry: &Entry, pool: Option<u32>) -> Result<Value> {
        let missing = || Damage("a value that is not there").at(self.view.here);
        self.text.clear();
        let there = match entry.source {
            Source::Nowhere => true,
            Source::Pool(_) => {
                let pool = pool.ok_or_else(missing)?;
                let at = self.walk.take(pool);
                let column = self.view.fields.columns.get(pool as usize);
                column.is_some_and(|(_, column)| column.write(at, &mut self.text))
            }
            Source::Derived(place) => {
                let name = self.view.fields.shared.name(entry.name).cloned().ok_or_else(missing)?;
                let mut own = self.derived(row, place)?.iter();
                let own = own.find(|field| field.name == name).ok_or_else(missing)?;
                return Ok(own.value.clone());
            }
            Source::Slot(place, n) => {
                let lines = match place {
                    Place::Around => &mut self.around,
                    Place::Message => &mut self.messages,
                };
                lines.as_mut().ok_or_else(missing)?.slot_of(row, n as usize, &mut self.text)?;
                true
            }
        };
        if !there {
            return Err(missing());
        }
        self.view.checked(read_text(entry.kind, &self.text))
    }
    /// The fields of the object that a text of the row ends with.
    fn derived(&mut self, row: usize, place: Place) -> Result<&[Field]> {
        if self.own.row != Some(row) {
            (self.own.row, self.own.around, self.own.message) = (Some(row), None, None);
        }
        let known = match place {
            Place::Around => self.own.around.take(),
            Place::Message => self.own.message.take(),
        };
        let fields = if let Some(fields) = known {
            fields
        } else {
            let mut text = self.message(row)?;
            if place == Place::Around {
                let message = std::mem::take(&mut text);
                let around = self.around.as_mut().ok_or_else(|| self.view.missing())?;
                around.read(row, &message, &mut text, &mut Cuts::default())?;
            }
            fields_of(&text, &mut self.own.flat)
        };
        let cell = match place {
            Place::Around => &mut self.own.around,
            Place::Message => &mut self.own.message,
        };
        Ok(cell.insert(fields))
    }

    /// The message of a row, where some field is read from it.
    pub(super) fn message(&mut self, row: usize) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        let messages = self.messages.as_mut().ok_or_else(|| self.view.missing())?;
        messages.read(row, &[], &mut text, &mut Cuts::default())?;
        Ok(text)
    }
}
