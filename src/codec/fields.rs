//! Fields: shapes, and where each value stands.
//!
//! A *shape* is the ordered list of a record's field names with the type of each and the place
//! its value comes from: a slot of the record's own line, so that what was read out of a line is
//! not kept twice (engine.md 3.7), or the column of that name and type. Records whose fields have
//! no shape (too many shapes, a number that is none) keep theirs as bytes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::sync::Arc;

use super::Strength;
use super::column::take_dictionary;
use super::derived::{are_same, fields_of, is_same, without_message};
use super::own::Outlines;
use super::pack::{
    Damage, Read, done, put_bytes, put_frame, put_len, take_frame, take_len, take_str, take_u8,
};
use super::parents::RowIds;
use super::pool::{Plan, Pool};
use super::question::{Asked, Known, Questions};
use super::record::write_fields;
use super::set::RowSet;
use super::template::Filed;
use super::texts::Texts;
use super::told::put_told;
use super::value_text::{KINDS, Kind, is_text_of, put_text};
use super::words::Words;
use crate::base::find::Finder;
use crate::base::flatten::Flat;
use crate::base::limits::{POOLS_MAX, SHAPE_BYTES_MAX, SHAPE_VARIANTS_MAX, SHAPES_MAX};
use crate::base::record::Record;
use crate::base::value::{Field, Value};

/// Rows of a template from which on the fields of its rows have a shape of their own.
const SHAPE_ROWS_MIN: u32 = 3;

/// The shape of records whose fields are kept as bytes.
pub(super) const LOOSE: u32 = 0;

/// The shape of records whose fields are those of the object that their line ends with.
pub(super) const WHOLE: u32 = 1;

/// The same without the message.
pub(super) const LESS: u32 = 2;

/// Takes the last of a list; the only one stays there for others.
fn take_but_last(sources: &mut Vec<Source>) -> Option<Source> {
    if sources.len() > 1 { sources.pop() } else { sources.first().copied() }
}

/// Which of a record's two texts a slot belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// What stands around the message.
    Around,
    /// The message.
    Message,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// A null needs no place.
    Nowhere,
    /// The next value of that column.
    Pool(u32),
    /// A slot of the line.
    Slot(Place, u32),
    /// What the object that the text ends with has under this name.
    Derived(Place),
}

const NOWHERE: u8 = 0;
const POOL: u8 = 1;
const AROUND: u8 = 2;
const MESSAGE: u8 = 3;
const DERIVED_AROUND: u8 = 4;
const DERIVED_MESSAGE: u8 = 5;

/// A name, its type, and where its value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    pub(super) name: u32,
    pub(super) kind: Kind,
    pub(super) source: Source,
}

/// The templates of a record's two texts.
type Templates = (Option<u32>, Option<u32>);

/// Records alike in all that decides a shape: the templates of their texts, names and types.
type Likeness = (Templates, Vec<(u32, Kind)>);

/// The last likeness that records of the same templates had: names are compared faster than
/// looked up.
#[derive(Debug)]
struct Last {
    names: Vec<(Arc<str>, Kind)>,
    shapes: Vec<u32>,
}

impl Last {
    fn is_of(&self, fields: &[Field]) -> bool {
        let is = |((name, kind), field): (&(Arc<str>, Kind), &Field)| {
            *kind == Kind::of(&field.value)
                && (Arc::ptr_eq(name, &field.name) || *name == field.name)
        };
        self.names.len() == fields.len() && self.names.iter().zip(fields).all(is)
    }
}

/// The fields of a segment's records, filed.
#[derive(Debug)]
pub(super) struct Shapes<'a> {
    around: &'a Filed<'a>,
    messages: &'a Filed<'a>,
    /// How many rows each template of what stands around messages has.
    around_rows: Vec<u32>,
    names: Vec<Arc<str>>,
    name_index: HashMap<Arc<str>, u32, foldhash::fast::RandomState>,
    lists: Vec<Vec<Entry>>,
    shape_index: HashMap<Vec<Entry>, u32, foldhash::fast::RandomState>,
    /// What the shapes weigh, bytes.
    weight: usize,
    /// The shapes that records of a likeness had; the last one, once there are too many, takes
    /// all from columns.
    known: HashMap<Likeness, Vec<u32>, foldhash::fast::RandomState>,
    last: HashMap<Templates, Last, foldhash::fast::RandomState>,
    pools: Vec<Pool>,
    pool_index: HashMap<(u32, Kind), u32>,
    loose: Pool,
    /// For each chunk the shapes of its rows.
    rows: Vec<Vec<u32>>,
    text: Vec<u8>,
    flat: RefCell<Flat>,
    /// All fields are kept as bytes.
    keep_whole: bool,
}

impl<'a> Shapes<'a> {
    /// With the texts of the same records, already filed; `keep_whole`: no fields have a shape.
    pub(super) fn new(around: &'a Filed<'a>, messages: &'a Filed<'a>, keep_whole: bool) -> Self {
        Self {
            keep_whole,
            around_rows: around.rows_of_templates(),
            around,
            messages,
            names: Vec::new(),
            name_index: HashMap::default(),
            lists: vec![Vec::new(); LESS as usize + 1],
            shape_index: HashMap::default(),
            weight: 0,
            known: HashMap::default(),
            last: HashMap::default(),
            pools: Vec::new(),
            pool_index: HashMap::default(),
            loose: Pool::default(),
            rows: Vec::new(),
            text: Vec::new(),
            flat: RefCell::default(),
        }
    }

    /// Adds the fields of the next record of a chunk.
    pub(super) fn push(&mut self, chunk: usize, row: usize, record: &Record) {
        if self.rows.len() <= chunk {
            self.rows.resize_with(chunk + 1, Vec::new);
        }
        let shape = self.decide(chunk, row, record);
        if let Some(rows) = self.rows.get_mut(chunk) {
            rows.push(shape);
        }
        if shape == LOOSE {
            self.text.clear();
            write_fields(&record.fields, &mut self.text);
            self.loose.push(chunk, &self.text);
            return;
        }
        let entries = self.lists.get(shape as usize).map_or(&[][..], Vec::as_slice);
        for (entry, field) in entries.iter().zip(&record.fields) {
            if let Source::Pool(pool) = entry.source
                && let Some(pool) = self.pools.get_mut(pool as usize)
            {
                put_text(&field.value, &mut self.text);
                pool.push(chunk, &self.text);
            }
        }
    }

    /// The shape of a record's fields; the texts of the record are of that row.
    pub(super) fn decide(&mut self, chunk: usize, row: usize, record: &Record) -> u32 {
        let shape = self.shape(chunk, row, record);
        shape.or_else(|| self.whole(record)).unwrap_or(LOOSE)
    }

    /// The shape of records whose fields stand where `entries` say, read from a body, slots as those
    /// of these templates; `None` where it has no room.
    pub(super) fn united<'e>(
        &mut self,
        places: Templates,
        entries: impl Iterator<Item = (&'e Arc<str>, Kind, Source)>,
    ) -> Option<u32> {
        let (mut named, mut list) = (Vec::new(), Vec::new());
        for (name, kind, source) in entries {
            let name = self.name(name)?;
            let source = match source {
                Source::Pool(_) => Source::Pool(self.pool(name, kind)?),
                other => other,
            };
            named.push((name, kind));
            list.push(Entry { name, kind, source });
        }
        let shape = self.intern(list)?;
        let variants = self.known.entry((places, named)).or_default();
        if !variants.contains(&shape) {
            variants.push(shape);
        }
        Some(shape)
    }

    /// The entries of a shape.
    pub(super) fn entries_of(&self, shape: u32) -> &[Entry] {
        self.lists.get(shape as usize).map_or(&[], Vec::as_slice)
    }

    /// How many columns there are, loose fields apart.
    pub(super) fn pools(&self) -> usize {
        self.pools.len()
    }

    /// The shape of these fields; `None` where they have none.
    fn shape(&mut self, chunk: usize, row: usize, record: &Record) -> Option<u32> {
        let fields = &record.fields[..];
        let keepable = |value: &Value| !matches!(value, Value::Float(x) if !x.is_finite());
        if self.keep_whole || !fields.iter().all(|field| keepable(&field.value)) {
            return None;
        }
        let places = (self.around.template_of(chunk, row), self.messages.template_of(chunk, row));
        let mut own = Own::new(record);
        if let Some(last) = self.last.get(&places)
            && last.is_of(fields)
            && let Some(shape) = last.shapes.iter().find(|s| self.fits(**s, chunk, row, &mut own))
        {
            return Some(*shape);
        }
        // Names that hardly come again are not worth a shape where the record's own object has them:
        // each would stand in the file once more.
        let rows = places
            .0
            .map_or(0, |template| self.around_rows.get(template as usize).copied().unwrap_or(0));
        if rows < SHAPE_ROWS_MIN
            && !fields.is_empty()
            && let Some(shape) = self.whole(record)
        {
            return Some(shape);
        }
        let names: Option<Vec<(u32, Kind)>> = fields
            .iter()
            .map(|field| Some((self.name(&field.name)?, Kind::of(&field.value))))
            .collect();
        let likeness = (places, names?);
        let known = self.known.get(&likeness).map_or(&[][..], Vec::as_slice);
        let fitting = known.iter().copied().find(|s| self.fits(*s, chunk, row, &mut own));
        let shape = if let Some(shape) = fitting {
            shape
        } else {
            let more = known.len() < SHAPE_VARIANTS_MAX;
            let entries = match known.last().copied().filter(|_| more) {
                Some(last) => self.refined(last, chunk, row, &mut own)?,
                None => self.entries(chunk, row, &likeness.1, more, &mut own)?,
            };
            self.intern(entries)?
        };
        let variants = self.known.entry(likeness).or_default();
        if !variants.contains(&shape) {
            variants.push(shape);
        }
        let kind = |field: &Field| (Arc::clone(&field.name), Kind::of(&field.value));
        let last = Last { names: fields.iter().map(kind).collect(), shapes: variants.clone() };
        self.last.insert(places, last);
        Some(shape)
    }

    fn name(&mut self, name: &Arc<str>) -> Option<u32> {
        if let Some(known) = self.name_index.get(name) {
            return Some(*known);
        }
        self.weight += name.len();
        let next = u32::try_from(self.names.len()).ok()?;
        if self.weight > SHAPE_BYTES_MAX {
            return None;
        }
        self.names.push(Arc::clone(name));
        self.name_index.insert(Arc::clone(name), next);
        Some(next)
    }

    /// Do the slots that a shape names hold these values? Names and types are alike already.
    fn fits(&self, shape: u32, chunk: usize, row: usize, own: &mut Own<'_>) -> bool {
        let entries = self.lists.get(shape as usize).map_or(&[][..], Vec::as_slice);
        let mut pairs = entries.iter().zip(&own.record.fields);
        pairs.all(|(entry, field)| self.holds(entry, chunk, row, field, own))
    }

    fn holds(
        &self,
        entry: &Entry,
        chunk: usize,
        row: usize,
        field: &Field,
        own: &mut Own<'_>,
    ) -> bool {
        let (place, n) = match entry.source {
            Source::Nowhere | Source::Pool(_) => return true,
            Source::Derived(place) => return own.gives(place, field, &self.flat),
            Source::Slot(place, n) => (place, n),
        };
        let filed = if place == Place::Around { self.around } else { self.messages };
        filed.slot(chunk, row, n as usize).is_some_and(|slot| is_text_of(slot, &field.value))
    }

    /// Where a value comes from that stands in no slot: the record's object, else a column.
    fn elsewhere(
        &mut self,
        (name, kind): (u32, Kind),
        field: &Field,
        own: &mut Own<'_>,
    ) -> Option<Source> {
        let mut places = [Place::Around, Place::Message].into_iter();
        match places.find(|place| own.gives(*place, field, &self.flat)) {
            Some(place) => Some(Source::Derived(place)),
            None => Some(Source::Pool(self.pool(name, kind)?)),
        }
    }

    /// The shape of fields that can all be read again from the line, where they can.
    fn whole(&self, record: &Record) -> Option<u32> {
        if self.keep_whole {
            return None;
        }
        let fields = fields_of(record.line.raw(), &mut self.flat.borrow_mut());
        if are_same(&fields, &record.fields) {
            return Some(WHOLE);
        }
        let fields = without_message(fields, record.message().as_bytes());
        are_same(&fields, &record.fields).then_some(LESS)
    }

    /// A shape whose slots that do not hold what they should here are columns instead: what was
    /// alike by chance is not taken for the same again.
    fn refined(
        &mut self,
        shape: u32,
        chunk: usize,
        row: usize,
        own: &mut Own<'_>,
    ) -> Option<Vec<Entry>> {
        let mut entries = self.lists.get(shape as usize)?.clone();
        for (entry, field) in entries.iter_mut().zip(&own.record.fields) {
            if !self.holds(entry, chunk, row, field, own) {
                entry.source = self.elsewhere((entry.name, entry.kind), field, own)?;
            }
        }
        Some(entries)
    }

    /// Looks for each value among the slots of the row, where asked to: behind a key that ends
    /// the field's name, else any that comes after the one before.
    fn entries(
        &mut self,
        chunk: usize,
        row: usize,
        names: &[(u32, Kind)],
        look: bool,
        own: &mut Own<'_>,
    ) -> Option<Vec<Entry>> {
        let fields = &own.record.fields[..];
        let texts: Vec<Vec<u8>> = fields
            .iter()
            .map(|field| {
                let mut text = Vec::new();
                put_text(&field.value, &mut text);
                text
            })
            .collect();
        let mut keyed: HashMap<(&[u8], &[u8]), Vec<Source>> = HashMap::new();
        let mut any: HashMap<&[u8], Vec<Source>> = HashMap::new();
        let places = [(self.messages, Place::Message), (self.around, Place::Around)];
        for (filed, place) in places.into_iter().filter(|_| look) {
            let Some(template) = filed.template_of(chunk, row) else { continue };
            for n in 0_u32.. {
                let Some(slot) = filed.slot(chunk, row, n as usize) else { break };
                let source = Source::Slot(place, n);
                let key = filed.key(template, n as usize);
                if key.is_empty() {
                    any.entry(slot).or_default().push(source);
                } else {
                    keyed.entry((key, slot)).or_default().push(source);
                }
            }
        }
        // Fields come in the order of the text, mostly: the last ones stand first to be taken.
        keyed.values_mut().chain(any.values_mut()).for_each(|sources| sources.reverse());
        let mut entries = Vec::new();
        for ((field, text), &(name, kind)) in fields.iter().zip(&texts).zip(names) {
            let text = &text[..];
            // A key may have dots of its own; the longest that ends the name comes first.
            let ends = memchr::memchr_iter(b'.', field.name.as_bytes()).map(|dot| dot + 1);
            let mut keys = std::iter::once(0).chain(ends).filter_map(|at| field.name.get(at..));
            let slot = match kind {
                Kind::Null | Kind::Array => None,
                _ => keys
                    .find_map(|key| keyed.get_mut(&(key.as_bytes(), text)).and_then(take_but_last))
                    .or_else(|| any.get_mut(text).and_then(take_but_last)),
            };
            let source = match (kind, slot) {
                (Kind::Null, _) => Source::Nowhere,
                (_, Some(slot)) => slot,
                (_, None) => self.elsewhere((name, kind), field, own)?,
            };
            entries.push(Entry { name, kind, source });
        }
        Some(entries)
    }

    fn pool(&mut self, name: u32, kind: Kind) -> Option<u32> {
        let next = u32::try_from(self.pools.len()).ok()?;
        match self.pool_index.entry((name, kind)) {
            MapEntry::Occupied(entry) => Some(*entry.get()),
            MapEntry::Vacant(_) if self.pools.len() >= POOLS_MAX => None,
            MapEntry::Vacant(entry) => {
                self.pools.push(Pool::default());
                Some(*entry.insert(next))
            }
        }
    }

    fn intern(&mut self, entries: Vec<Entry>) -> Option<u32> {
        if let Some(shape) = self.shape_index.get(&entries) {
            return Some(*shape);
        }
        self.weight += entries.len() * size_of::<Entry>();
        if self.lists.len() >= SHAPES_MAX || self.weight > SHAPE_BYTES_MAX {
            return None;
        }
        let shape = u32::try_from(self.lists.len()).ok()?;
        self.lists.push(entries.clone());
        self.shape_index.insert(entries, shape);
        Some(shape)
    }

    /// Looks for what the values of each column have in common.
    pub(super) fn plan(&self, strength: Strength) -> Planned<'_> {
        Planned {
            shapes: self,
            loose: Plan::new(&self.loose, strength),
            plans: self.pools.iter().map(|pool| Plan::new(pool, strength)).collect(),
        }
    }

    /// Writes names and shapes.
    pub(super) fn put_lists(&self, out: &mut Vec<u8>) {
        let mut lists = Vec::new();
        put_len(&mut lists, self.names.len());
        for name in &self.names {
            put_bytes(&mut lists, name.as_bytes());
        }
        put_len(&mut lists, self.lists.len());
        for entries in &self.lists {
            put_len(&mut lists, entries.len());
            for entry in entries {
                put_len(&mut lists, entry.name as usize);
                lists.push(entry.kind as u8);
                let (tag, n) = match entry.source {
                    Source::Nowhere => (NOWHERE, 0),
                    Source::Pool(pool) => (POOL, pool),
                    Source::Slot(Place::Around, n) => (AROUND, n),
                    Source::Slot(Place::Message, n) => (MESSAGE, n),
                    Source::Derived(Place::Around) => (DERIVED_AROUND, 0),
                    Source::Derived(Place::Message) => (DERIVED_MESSAGE, 0),
                };
                lists.push(tag);
                put_len(&mut lists, n as usize);
            }
        }
        put_frame(out, &lists);
    }

    /// Adds the words of a record's values that stand in no slot and no column of texts, nulls
    /// apart.
    pub(super) fn add_words(&self, record: &Record, shape: u32, words: &mut Words) {
        for field in &record.fields {
            if shape <= LESS || matches!(field.value, Value::Array(_)) {
                words.add_value(&field.value);
            }
        }
        for (entry, field) in self.entries_of(shape).iter().zip(&record.fields) {
            if matches!(entry.source, Source::Derived(_)) {
                words.add_value(&field.value);
            }
        }
    }

    /// The types of the columns' values.
    pub(super) fn pool_kinds(&self) -> Vec<Kind> {
        let mut kinds = vec![Kind::Str; self.pools.len()];
        for ((_, kind), pool) in &self.pool_index {
            if let Some(slot) = kinds.get_mut(*pool as usize) {
                *slot = *kind;
            }
        }
        kinds
    }

    /// Calls `mark` with the template and slot of each slot around messages that is a field.
    pub(super) fn slots_around(&self, mut mark: impl FnMut(u32, usize)) {
        for (((template, _), _), shapes) in &self.known {
            let entries =
                shapes.iter().filter_map(|shape| self.lists.get(*shape as usize)).flatten();
            for entry in entries {
                if let (Some(template), Source::Slot(Place::Around, n)) = (*template, entry.source)
                {
                    mark(template, n as usize);
                }
            }
        }
    }
}

/// A record, and the fields of the objects that its texts end with, once they were asked for.
struct Own<'r> {
    record: &'r Record,
    around: Option<Vec<Field>>,
    message: Option<Vec<Field>>,
}

impl<'r> Own<'r> {
    fn new(record: &'r Record) -> Self {
        Self { record, around: None, message: None }
    }

    /// Has the object of that text this field?
    fn gives(&mut self, place: Place, field: &Field, flat: &RefCell<Flat>) -> bool {
        let (fields, text) = match place {
            Place::Around => (&mut self.around, self.record.line.raw()),
            Place::Message => (&mut self.message, self.record.message().as_bytes()),
        };
        let fields = fields.get_or_insert_with(|| fields_of(text, &mut flat.borrow_mut()));
        fields.iter().any(|own| own.name == field.name && is_same(&own.value, &field.value))
    }
}

/// Filed fields, ready to be written.
#[derive(Debug)]
pub(super) struct Planned<'a> {
    shapes: &'a Shapes<'a>,
    loose: Plan<'a>,
    plans: Vec<Plan<'a>>,
}

impl Planned<'_> {
    /// Adds the words of values that stand in columns or as bytes.
    pub(super) fn words(&self, chunk: usize, records: &[Arc<Record>], words: &mut Words) {
        let kinds = self.shapes.pool_kinds();
        for (plan, kind) in self.plans.iter().zip(kinds) {
            if kind != Kind::Array {
                plan.for_each_distinct(chunk, |text| words.add(text));
            }
        }
        let shapes = self.shapes.rows.get(chunk).into_iter().flatten();
        let mut nulls = false;
        for (record, shape) in records.iter().zip(shapes) {
            nulls |= record.fields.iter().any(|field| field.value == Value::Null);
            self.shapes.add_words(record, *shape, words);
        }
        if nulls {
            words.add_value(&Value::Null);
        }
    }

    /// Writes a chunk: the shapes of its rows, then the columns.
    pub(super) fn put_chunk(&mut self, chunk: usize, parents: &[&RowIds], out: &mut Vec<u8>) {
        let rows = self.shapes.rows.get(chunk).map_or(&[][..], Vec::as_slice);
        let shapes: Vec<u64> = rows.iter().map(|shape| u64::from(*shape)).collect();
        put_told(&shapes, parents, out);
        self.loose.put_column(chunk, &[], out);
        for plan in &mut self.plans {
            plan.put_column(chunk, &[], out);
        }
    }

    /// Writes what the chunks share: names, shapes, dictionaries.
    pub(super) fn put_shared(&self, out: &mut Vec<u8>) {
        self.shapes.put_lists(out);
        self.loose.put_dictionary(out);
        put_len(out, self.plans.len());
        for plan in &self.plans {
            plan.put_dictionary(out);
        }
    }
}

/// What [`Planned::put_shared`] wrote, read.
#[derive(Debug)]
pub(super) struct SharedFields {
    names: Vec<Arc<str>>,
    shapes: Vec<Vec<Entry>>,
    loose: Arc<Texts>,
    pools: Vec<Arc<Texts>>,
    /// The types of the columns' values; `None` where no shape has one.
    kinds: Vec<Option<Kind>>,
    outlines: Outlines,
    questions: Questions,
}

impl SharedFields {
    /// Reads what the chunks share.
    pub(super) fn take(input: &mut &[u8]) -> Read<Self> {
        // Names and entries take about as many bytes here as they weighed.
        let lists = take_frame(input, 2 * SHAPE_BYTES_MAX)?;
        let mut rest = &lists[..];
        let most = rest.len();
        let count = take_len(&mut rest, most)?;
        let names: Read<Vec<Arc<str>>> =
            (0..count).map(|_| take_str(&mut rest).map(Into::into)).collect();
        let names = names?;
        let count = take_len(&mut rest, SHAPES_MAX)?;
        let mut shapes = Vec::new();
        for _ in 0..count {
            let entries = take_len(&mut rest, most)?;
            let entries: Read<Vec<Entry>> =
                (0..entries).map(|_| take_entry(&mut rest, names.len())).collect();
            shapes.push(entries?);
        }
        done(rest)?;
        let loose = take_dictionary(input)?;
        let count = take_len(input, POOLS_MAX)?;
        let pools: Read<Vec<Arc<Texts>>> = (0..count).map(|_| take_dictionary(input)).collect();
        let pools = pools?;
        let mut kinds = vec![None; pools.len()];
        for entry in shapes.iter().flatten().rev() {
            if let Source::Pool(pool) = entry.source
                && let Some(kind) = kinds.get_mut(pool as usize)
            {
                *kind = Some(entry.kind);
            }
        }
        let (outlines, questions) = (Outlines::default(), Questions::default());
        Ok(Self { names, shapes, loose, pools, kinds, outlines, questions })
    }
}

impl SharedFields {
    /// The dictionaries of the columns.
    pub(super) fn pools(&self) -> &[Arc<Texts>] {
        &self.pools
    }

    /// The dictionary of loose fields.
    pub(super) fn loose(&self) -> &Arc<Texts> {
        &self.loose
    }

    /// What is known of a text.
    pub(super) fn question(&self, finder: &Finder) -> Known {
        self.questions.get(finder, &[])
    }

    /// Which entries of a column's dictionary pass.
    pub(super) fn entries<'a>(&self, asked: &'a Asked, pool: u32) -> &'a RowSet {
        static NONE: RowSet = RowSet::NOTHING;
        let find_out = || self.pools.iter().map(|of| asked.probe.of_any(of)).collect();
        asked.entries(find_out).get(pool as usize).unwrap_or(&NONE)
    }

    /// What templates tell of derived fields.
    pub(super) fn outlines(&self) -> &Outlines {
        &self.outlines
    }

    /// The entries of a shape.
    pub(super) fn shape(&self, n: u32) -> Option<&[Entry]> {
        self.shapes.get(n as usize).map(Vec::as_slice)
    }

    /// A name by its number.
    pub(super) fn name(&self, n: u32) -> Option<&Arc<str>> {
        self.names.get(n as usize)
    }

    /// For each name whether it is meant.
    pub(super) fn marked(&self, named: &dyn Fn(&str) -> bool) -> Vec<bool> {
        self.names.iter().map(|name| named(name)).collect()
    }

    /// The type of a column's values; `None` where no shape has it.
    pub(super) fn kind_of(&self, pool: u32) -> Option<Kind> {
        self.kinds.get(pool as usize).copied().flatten()
    }

    /// Bytes in memory, about.
    pub(super) fn weight(&self) -> usize {
        let entries: usize = self.shapes.iter().map(|shape| shape.len() * size_of::<Entry>()).sum();
        let names: usize = self.names.iter().map(|name| 32 + name.len()).sum();
        let pools: usize = self.pools.iter().map(|texts| texts.weight()).sum();
        self.loose.weight() + entries + names + pools + self.outlines.weight()
    }
}

fn take_entry(input: &mut &[u8], names: usize) -> Read<Entry> {
    let name = take_len(input, names.saturating_sub(1))?;
    let name = u32::try_from(name).map_err(|_| Damage("too many names"))?;
    let kind = KINDS.get(usize::from(take_u8(input)?)).copied();
    let tag = take_u8(input)?;
    let n = u32::try_from(take_len(input, u32::MAX as usize)?).unwrap_or(u32::MAX);
    let source = match tag {
        NOWHERE => Source::Nowhere,
        POOL => Source::Pool(n),
        AROUND => Source::Slot(Place::Around, n),
        MESSAGE => Source::Slot(Place::Message, n),
        DERIVED_AROUND => Source::Derived(Place::Around),
        DERIVED_MESSAGE => Source::Derived(Place::Message),
        _ => return Err(Damage("a value from an unknown place")),
    };
    Ok(Entry { name, kind: kind.ok_or(Damage("a value of an unknown type"))?, source })
}
