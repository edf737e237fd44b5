//! The fields of all inputs: their shapes as those of the merged segment, their columns as its own.
//!
//! A shape says where each value stands, and a slot of an old template is one of the new. What a
//! shape cannot say of the new templates is kept as bytes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use super::columns::Near;
use super::feed::{Batch, Flow, From, Gathered, Route, Special};
use super::inputs::{AROUND, Chunk, Inputs, MESSAGES};
use super::lines::{Target, United};
use super::told::Told;
use crate::base::error::{Error, Result};
use crate::base::record::{Defects, Record};
use crate::base::value::Value;
use crate::codec::Strength;
use crate::codec::body::{Part, lazily};
use crate::codec::chunk_fields::{ChunkFields, FieldsView, Lines};
use crate::codec::fields::{LESS, LOOSE, Place, Shapes, SharedFields, Source, WHOLE};
use crate::codec::lines::{ChunkLines, Values, View};
use crate::codec::pack::put_len;
use crate::codec::parents::{BOTH, MESSAGE, RowIds};
use crate::codec::places::Codes;
use crate::codec::pool::{Plan, Pool};
use crate::codec::record::write_fields;
use crate::codec::told::put_told;
use crate::codec::value_text::{Kind, put_text};

/// What stands in the fields' sections.
pub(super) struct Sections {
    /// For each chunk.
    pub(super) chunks: Vec<Vec<u8>>,
    pub(super) shared: Vec<u8>,
}

/// The fields, being written.
pub(super) struct Fields<'a, 'f> {
    inputs: &'a Inputs,
    /// By place.
    lines: [&'a United<'f>; 2],
    shapes: Shapes<'f>,
    /// For each chunk of the inputs the records of its loose rows.
    records: &'a [Vec<Arc<Record>>],
    batch: Batch,
    /// For each chunk its columns so far, each with its pool.
    written: Vec<Vec<(u32, Vec<u8>)>>,
    /// For each chunk the shapes of its rows.
    rows: Vec<Vec<u32>>,
}

/// The pool of fields that are kept as bytes; the others are their numbers and one.
const BYTES: u32 = 0;

/// The kinds of a row: of its fields, of what is around the message, of the message.
type Kinds = (u32, u32, u32);

impl<'a, 'f> Fields<'a, 'f> {
    /// Of rows whose lines have these templates.
    pub(super) fn new(
        inputs: &'a Inputs,
        lines: [&'a United<'f>; 2],
        records: &'a [Vec<Arc<Record>>],
    ) -> Self {
        let [around, messages] = lines.map(|united| united.filed);
        let mut batch = Batch::new();
        batch.add(BYTES, Gathered::Texts(Pool::default()));
        let shapes = Shapes::new(around, messages, false);
        let written = vec![Vec::new(); inputs.joined.len()];
        Self { inputs, lines, shapes, records, batch, written, rows: Vec::new() }
    }

    /// Writes all; `None` where `go_on` says no.
    pub(super) fn write(
        &mut self,
        told: &mut Told,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Sections>> {
        for joined in 0..self.inputs.joined.len() {
            if !go_on() {
                return Ok(None);
            }
            self.rows.push(Vec::new());
            for n in self.inputs.numbers(joined) {
                self.feed(joined, n, told)?;
            }
            self.put_columns(told, Pool::is_plain);
            for (_, gathered) in &mut self.batch.pools {
                if let Gathered::Texts(pool) = gathered {
                    pool.clear_plain();
                }
            }
        }
        let dictionaries = self.put_columns(told, |pool| !pool.is_plain());
        let mut shared = Vec::new();
        self.shapes.put_lists(&mut shared);
        let none = [0];
        let dictionary = |pool: u32| dictionaries.get(&pool).map_or(&none[..], Vec::as_slice);
        shared.extend_from_slice(dictionary(BYTES));
        put_len(&mut shared, self.shapes.pools());
        for pool in (1_u32..).take(self.shapes.pools()) {
            shared.extend_from_slice(dictionary(pool));
        }
        let mut chunks = Vec::new();
        for (joined, columns) in self.written.iter_mut().enumerate() {
            let [around, messages] = self.lines.map(|united| united.rows(self.inputs, joined));
            let message = RowIds { which: MESSAGE, rows: messages, texts: None };
            let around = RowIds { which: BOTH, rows: around, texts: None };
            let both = RowIds::of_both(BOTH, &around, &message);
            let shapes = self.rows.get(joined).into_iter().flatten();
            let shapes: Vec<u64> = shapes.map(|shape| u64::from(*shape)).collect();
            let mut section = Vec::new();
            put_told(&shapes, &[&message, &both], &mut section);
            columns.sort_unstable_by_key(|(pool, _)| *pool);
            for (_, column) in columns {
                section.extend_from_slice(column);
            }
            chunks.push(section);
        }
        Ok(Some(Sections { chunks, shared }))
    }

    /// All shapes.
    pub(super) fn shapes(&self) -> &Shapes<'f> {
        &self.shapes
    }

    /// Feeds what a chunk of an input has.
    fn feed(&mut self, joined: usize, n: usize, told: &mut Told) -> Result<()> {
        let missing = || Error::corrupt("a merge", "no such input");
        let inputs = self.inputs;
        let chunk = inputs.chunk(n)?;
        let body = inputs.body(chunk)?;
        let shared = body.fields()?;
        let near = Near::new(inputs, chunk)?;
        let fields = read(inputs, chunk)?;
        let targets = self.lines.map(|united| united.targets(chunk));
        let mut united = HashMap::<Kinds, (u32, bool), foldhash::fast::RandomState>::default();
        let mut routes: Vec<Vec<Route>> = vec![Vec::new(); fields.shapes().len()];
        let (mut shapes, mut derived) = (vec![LOOSE; chunk.rows], Vec::new());
        let mut lost: Vec<u32> = Vec::new();
        let mut loose = chunk.loose.iter().peekable();
        let [around, messages] = &chunk.kinds;
        for (row, cell) in (0_u32..).zip(&mut shapes) {
            if loose.next_if_eq(&&row).is_some() {
                continue;
            }
            let at = row as usize;
            let kind = |kinds: &Codes| kinds.get(at).unwrap_or(u32::MAX);
            let kinds = (kind(fields.places().kinds()), kind(around), kind(messages));
            let (shape, is_derived) = if let Some(known) = united.get(&kinds) {
                *known
            } else {
                let old = fields.shapes().get(kinds.0 as usize).copied().unwrap_or(LOOSE);
                let new = self.unite(shared, old, (kinds, &targets));
                if let Some(routes) = routes.get_mut(kinds.0 as usize)
                    && let Some(new) = new
                {
                    *routes = self.routes(new);
                }
                let entries = shared.shape(old).unwrap_or_default();
                if entries.iter().any(|entry| entry.kind == Kind::Null) {
                    told.field(joined, Some(Kind::Null), b"null");
                }
                let is = |source: Source| matches!(source, Source::Derived(_));
                let is = matches!(old, WHOLE | LESS) || entries.iter().any(|e| is(e.source));
                let known = (new.unwrap_or(u32::MAX), is && new.is_some());
                united.insert(kinds, known);
                known
            };
            if shape == u32::MAX {
                lost.push(row);
            } else {
                *cell = shape;
            }
            if is_derived {
                derived.push(row);
            }
        }
        let special = self.special((joined, n), &near, (&lost, &mut shapes), told)?;
        while self.batch.pools.len() <= self.shapes.pools() {
            let pool = u32::try_from(self.batch.pools.len()).unwrap_or(u32::MAX);
            self.batch.add(pool, Gathered::Texts(Pool::default()));
        }
        let places = fields.places().clone();
        let (mut pools, mut columns) = (Vec::new(), Vec::new());
        for (pool, column) in fields.into_columns() {
            pools.push(pool);
            columns.push(Arc::new(Values::Texts(column)));
        }
        let flow = Flow {
            places: &places,
            routes: routes.iter().map(Vec::as_slice).collect(),
            special,
            column: &|local| columns.get(local as usize).cloned().ok_or_else(missing),
            times: &|| Ok(Arc::default()),
        };
        self.batch.feed(joined, (chunk.body, &pools), &flow)?;
        if let Some(rows) = self.rows.get_mut(joined) {
            rows.extend(shapes);
        }
        told.derived(joined, derived);
        Ok(())
    }

    /// A shape of an input as one of the merged segment, of rows of these kinds; `None` where it
    /// has none.
    fn unite(
        &mut self,
        shared: &SharedFields,
        old: u32,
        ((_, around, message), targets): (Kinds, &[Vec<&Target>; 2]),
    ) -> Option<u32> {
        if old <= LESS {
            return Some(old);
        }
        let [arounds, messages] = targets;
        let around = arounds.get(around as usize)?;
        let message = messages.get(message as usize)?;
        let source = |source: Source| {
            Some(match source {
                Source::Slot(Place::Around, n) => Source::Slot(Place::Around, around.slot(n)?),
                Source::Slot(Place::Message, n) => Source::Slot(Place::Message, message.slot(n)?),
                other => other,
            })
        };
        let entries = shared
            .shape(old)?
            .iter()
            .map(|entry| Some((shared.name(entry.name)?, entry.kind, source(entry.source)?)));
        let entries: Option<Vec<_>> = entries.collect();
        let own = |target: &Target| Some(target.template).filter(|n| *n > super::lines::AROUND);
        self.shapes.united((own(around), own(message)), entries?.into_iter())
    }

    /// Where the values of a shape's columns come from, in the order of the old ones.
    fn routes(&self, shape: u32) -> Vec<Route> {
        if shape == LOOSE {
            return vec![Route { pool: BYTES, from: From::Slot(0) }];
        }
        let pools = self.shapes.entries_of(shape).iter().filter_map(|entry| match entry.source {
            Source::Pool(pool) => Some(pool + 1),
            _ => None,
        });
        pools.zip(0..).map(|(pool, n)| Route { pool, from: From::Slot(n) }).collect()
    }

    /// The rows that columns do not tell: records, and those whose shape is lost.
    fn special<'s>(
        &mut self,
        (joined, n): (usize, usize),
        near: &Near<'_>,
        (lost, shapes): (&[u32], &mut [u32]),
        told: &mut Told,
    ) -> Result<Vec<Special<'s>>> {
        let mut special: Vec<Special<'s>> = Vec::new();
        let chunk = self.inputs.chunk(n)?;
        let records = self.records.get(n).map_or(&[][..], Vec::as_slice);
        for ((at, row), record) in chunk.loose.iter().enumerate().zip(records) {
            let shape = self.shapes.decide(n, at, record);
            if let Some(words) = told.chunk(joined) {
                self.shapes.add_words(record, shape, words);
                if record.fields.iter().any(|field| field.value == Value::Null) {
                    words.add_value(&Value::Null);
                }
            }
            if let Some(cell) = shapes.get_mut(*row as usize) {
                *cell = shape;
            }
            let mut values = Vec::new();
            if shape == LOOSE {
                let mut text = Vec::new();
                write_fields(&record.fields, &mut text);
                values.push((BYTES, Cow::Owned(text)));
            }
            for (entry, field) in self.shapes.entries_of(shape).iter().zip(&record.fields) {
                if let Source::Pool(pool) = entry.source {
                    let mut text = Vec::new();
                    put_text(&field.value, &mut text);
                    values.push((pool + 1, Cow::Owned(text)));
                }
            }
            special.push((*row, values));
        }
        if !lost.is_empty() {
            let fields = read(self.inputs, chunk)?;
            let texts = Texts::new(near)?;
            let view = FieldsView { fields: &fields, lines: &texts, here: "a merge's input" };
            let mut reader = view.reader()?;
            for row in lost {
                let mut text = Vec::new();
                write_fields(&reader.read(*row as usize)?, &mut text);
                special.push((*row, vec![(BYTES, Cow::Owned(text))]));
            }
            special.sort_unstable_by_key(|(row, _)| *row);
        }
        Ok(special)
    }

    /// Writes the columns of some pools for all chunks that they have values of; their dictionaries.
    fn put_columns(
        &mut self,
        told: &mut Told,
        which: impl Fn(&Pool) -> bool,
    ) -> HashMap<u32, Vec<u8>> {
        let kinds = self.shapes.pool_kinds();
        let mut dictionaries = HashMap::new();
        for (pool, gathered) in &self.batch.pools {
            let Gathered::Texts(gathered) = gathered else { continue };
            if !which(gathered) {
                continue;
            }
            let kind = pool.checked_sub(1).and_then(|pool| kinds.get(pool as usize)).copied();
            let mut plan = Plan::new(gathered, Strength::Strong);
            let chunks: Vec<usize> = plan.chunks().collect();
            for joined in chunks {
                let mut column = Vec::new();
                plan.put_column(joined, &[], &mut column);
                plan.for_each_distinct(joined, |text| told.field(joined, kind, text));
                if let Some(written) = self.written.get_mut(joined) {
                    written.push((*pool, column));
                }
            }
            let mut dictionary = Vec::new();
            plan.put_dictionary(&mut dictionary);
            dictionaries.insert(*pool, dictionary);
        }
        dictionaries
    }
}

/// The fields of an input's chunk.
pub(super) fn read(inputs: &Inputs, chunk: &Chunk) -> Result<ChunkFields> {
    let body = inputs.body(chunk)?;
    let shared = body.fields()?;
    let parent = |which| {
        let message = chunk.parent(MESSAGE, &inputs.names)?;
        if which == MESSAGE {
            return Some(message);
        }
        let kinds = chunk.kinds.get(AROUND).filter(|_| which == BOTH)?;
        let rows = (0..chunk.rows).filter_map(|row| kinds.get(row)).collect();
        Some(RowIds::of_both(which, &RowIds { which, rows, texts: None }, &message))
    };
    body.part(chunk.n, Part::Fields, |input| ChunkFields::take(input, shared, chunk.rows, parent))
}

/// The lines of a chunk, for fields that stand in them.
pub(super) struct Texts<'a> {
    near: &'a Near<'a>,
    around: ChunkLines,
    messages: ChunkLines,
    defects: OnceLock<Vec<i64>>,
}

impl<'a> Texts<'a> {
    pub(super) fn new(near: &'a Near<'a>) -> Result<Self> {
        let (around, messages) = (near.lines(AROUND)?, near.lines(MESSAGES)?);
        Ok(Self { near, around, messages, defects: OnceLock::new() })
    }
}

impl Texts<'_> {
    /// Those of a place.
    pub(super) fn view(&self, place: usize) -> Result<View<'_>> {
        let lines = if place == AROUND { &self.around } else { &self.messages };
        self.near.view(place, lines)
    }
}

impl Lines for Texts<'_> {
    fn around(&self) -> Result<View<'_>> {
        self.view(AROUND)
    }
    fn messages(&self) -> Result<View<'_>> {
        self.view(MESSAGES)
    }
    fn defects(&self, row: usize) -> Result<Defects> {
        let bits = lazily(&self.defects, || self.near.integers(Part::Defects))?;
        let bits = bits.get(row).copied().unwrap_or_default();
        Ok(Defects::from_bits(bits.cast_unsigned()))
    }
}
