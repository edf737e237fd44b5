//! The body of a segment: sections with checksums, and their table.
//!
//! Writing: every part of the records goes through a pool, a list of integers, or templates; the
//! sections of each chunk follow in the order of the columns, then what the chunks share, then
//! the table. Reading: the table at once, what chunks share when it is first asked for (`rows` reads
//! the rest).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use super::column::take_dictionary;
use super::fields::{self, Shapes, SharedFields};
use super::integers::Integers;
use super::pack::{
    Damage, Read, checksum, done, pack_section, put_len, put_planes, put_signed, put_varint,
    take_frame, take_len, take_signed, take_u32, take_varint,
};
use super::parents::{APP, Aligned, BOTH, HOST, MESSAGE, OWN, RowIds, SOURCE};
use super::pool::{Plan, Pool};
use super::predict::Parent;
use super::rebuild::Templates;
use super::record::put_via;
use super::template::{self, Lines};
use super::texts::Texts;
use super::told::put_told;
use super::words::Words;
use super::work;
use super::{ChunkMeta, Encoded, Strength};
use crate::base::error::{Error, Result};
use crate::base::limits::{CHUNK_ROWS_MAX, COLUMN_BYTES_MAX, SEGMENT_CHUNKS_MAX};
use crate::base::machine::ReadAt;
use crate::base::record::Record;
use crate::base::time::Timestamp;

/// Version of the body's format; another is refused.
pub(super) const VERSION: u8 = 0;

/// Bytes behind the table: its length and its checksum.
pub(super) const TRAILER_BYTES: usize = 8;

/// The columns of a chunk, in the order of its sections.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    Id,
    Time,
    Received,
    Host,
    App,
    Severity,
    Facility,
    Pid,
    Format,
    Via,
    Tag,
    Defects,
    Around,
    Message,
    Fields,
}

/// Sections of a chunk.
pub(super) const PARTS: usize = Part::Fields as usize + 1;

/// What the chunks share, in the order of its sections.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shared {
    Host,
    App,
    Pid,
    Format,
    Via,
    Tag,
    Around,
    Message,
    Fields,
}

/// How many of them are dictionaries of names; they stand first.
pub(super) const NAMES: usize = Shared::Tag as usize + 1;

/// Sections that the chunks share.
pub(super) const SHARED: usize = Shared::Fields as usize + 1;

/// Encodes the records of one segment; see [`super::encode`] and
/// [`super::encode_whole`].
pub(super) fn encode(chunks: &[&[Arc<Record>]], keep_whole: bool, strength: Strength) -> Encoded {
    let chunks: Vec<&[Arc<Record>]> = chunks.iter().copied().filter(|c| !c.is_empty()).collect();
    let mut pools: [Pool; NAMES] = Default::default();
    let (mut around, mut messages) = (Lines::new(keep_whole), Lines::new(keep_whole));
    for (n, records) in chunks.iter().enumerate() {
        around.begin(records.len());
        messages.begin(records.len());
        let mut before = None;
        for record in *records {
            gather(record, before, n, &mut pools);
            before = Some(&**record);
            around.push(record.line.raw(), record.line.span(), record.time);
            messages.push(record.message().as_bytes(), None, record.time);
        }
    }
    let (around, messages) = (around.file(), messages.file());
    let mut shapes = Shapes::new(&around, &messages, keep_whole);
    for (n, records) in chunks.iter().enumerate() {
        for (row, record) in records.iter().enumerate() {
            shapes.push(n, row, record);
        }
    }
    let mut plans = Plans {
        strength,
        names: pools.each_ref().map(|pool| Plan::new(pool, strength)),
        around: around.plan(strength),
        messages: messages.plan(strength),
        fields: shapes.plan(strength),
    };
    let around_fields = plans.around_fields(&shapes);
    let mut words = Words::default();
    let mut writer = Writer::default();
    let (mut metas, mut chunk_words) = (Vec::new(), Vec::new());
    for (n, records) in chunks.iter().enumerate() {
        plans.words(n, records, &around_fields, &mut words);
        chunk_words.push(words.end_chunk());
        metas.extend(describe(records));
        plans.put_chunk(n, records, &mut writer);
    }
    plans.put_shared(&mut writer);
    let body = writer.finish(&metas);
    Encoded { body, chunks: metas, words: chunk_words, tokens: words.into_tokens() }
}

fn describe(records: &[Arc<Record>]) -> Option<ChunkMeta> {
    Some(ChunkMeta {
        rows: records.len(),
        first_id: records.first()?.id,
        last_id: records.last()?.id,
        min_time: records.iter().map(|r| r.time).min()?,
        max_time: records.iter().map(|r| r.time).max()?,
    })
}

/// Adds the names of a record to their pools. `before` is the record in front of it, which mostly
/// came the same way.
fn gather(record: &Record, before: Option<&Record>, chunk: usize, pools: &mut [Pool; NAMES]) {
    let same_via = before.is_some_and(|before| Arc::ptr_eq(&before.via, &record.via));
    if let Some(pool) = pools.get_mut(Shared::Via as usize)
        && !(same_via && pool.push_again(chunk))
    {
        let mut via = Vec::new();
        put_via(&record.via, &mut via);
        pool.push(chunk, &via);
    }
    for (shared, text) in [
        (Shared::Host, Some(&*record.host)),
        (Shared::App, Some(&*record.app)),
        (Shared::Pid, record.pid.as_deref()),
        (Shared::Format, record.format.as_deref()),
        (Shared::Tag, record.tag.as_deref()),
    ] {
        if let (Some(text), Some(pool)) = (text, pools.get_mut(shared as usize)) {
            pool.push(chunk, text.as_bytes());
        }
    }
}

/// All that is known of a segment's columns.
struct Plans<'a> {
    strength: Strength,
    names: [Plan<'a>; NAMES],
    around: template::Planned<'a>,
    messages: template::Planned<'a>,
    fields: fields::Planned<'a>,
}

impl Plans<'_> {
    /// The pools of what stands around messages that hold values of fields.
    fn around_fields(&self, shapes: &Shapes<'_>) -> Vec<bool> {
        let mut pools = vec![false; self.around.pools()];
        shapes.slots_around(|template, slot| {
            let pool = self.around.pool_of(template, slot);
            if let Some(pool) = pool.and_then(|pool| pools.get_mut(pool)) {
                *pool = true;
            }
        });
        pools
    }

    /// Adds the words of a chunk: of the texts that a term looks at.
    fn words(&self, n: usize, records: &[Arc<Record>], around: &[bool], words: &mut Words) {
        for shared in [Shared::Host, Shared::App, Shared::Tag] {
            if let Some(plan) = self.names.get(shared as usize) {
                plan.for_each_distinct(n, |text| words.add(text));
            }
        }
        self.messages.words(n, words);
        self.around.pool_words(n, around, words);
        self.fields.words(n, records, words);
    }

    /// Writes the sections of one chunk, in the order of [`Part`].
    fn put_chunk(&mut self, n: usize, records: &[Arc<Record>], writer: &mut Writer) {
        let strength = self.strength;
        let integers = |number: fn(&Record) -> i64| {
            let numbers: Vec<i64> = records.iter().map(|r| number(r)).collect();
            let mut section = Vec::new();
            Integers::of(&numbers).put(strength, &mut section);
            section
        };
        // What stands beside a column is looked at where there is time.
        let (mut beside, mut lines) = (Vec::new(), Vec::new());
        if strength == Strength::Strong {
            beside = RowIds::of_records(records);
            let message = self.messages.row_ids(n, MESSAGE);
            let both = RowIds::of_both(BOTH, &self.around.row_ids(n, OWN), &message);
            lines = vec![message, both];
        }
        let of = |which: u32| beside.iter().find(|parent| parent.which == which);
        let source = of(HOST).zip(of(APP)).map(|(h, a)| RowIds::of_both(SOURCE, h, a));
        let lines: Vec<&RowIds> = lines.iter().collect();
        let (message, both) = lines.split_at(lines.len().min(1));
        let names = &mut self.names;
        let mut texts = |shared: Shared, present: Option<fn(&Record) -> bool>, by: &[&RowIds]| {
            let mut section = Vec::new();
            let mut rows: Vec<u32> = (0..).take(records.len()).collect();
            if let Some(present) = present {
                let flags: Vec<u64> = records.iter().map(|r| u64::from(present(r))).collect();
                put_planes(&mut section, &flags);
                rows.retain(|row| records.get(*row as usize).is_some_and(|r| present(r)));
            }
            let by: Vec<Aligned> = by.iter().filter_map(|parent| parent.beside(&rows)).collect();
            let by: Vec<Parent<'_>> = by.iter().filter_map(Aligned::parent).collect();
            if let Some(plan) = names.get_mut(shared as usize) {
                plan.put_column(n, &by, &mut section);
            }
            section
        };
        let codes = |number: fn(&Record) -> u64| {
            let numbers: Vec<u64> = records.iter().map(|r| number(r)).collect();
            let mut section = Vec::new();
            put_told(&numbers, &lines, &mut section);
            section
        };
        let sources: Vec<&RowIds> = source.iter().collect();
        writer.section(&integers(|r| r.id.cast_signed()));
        writer.section(&integers(|r| r.time.0));
        writer.section(&integers(|r| r.received.0));
        writer.section(&texts(Shared::Host, None, &[]));
        writer.section(&texts(Shared::App, None, &lines));
        writer.section(&codes(|r| r.severity.map_or(0, |s| s as u64 + 1)));
        writer.section(&codes(|r| r.facility.map_or(0, |f| u64::from(f.code()) + 1)));
        writer.section(&texts(Shared::Pid, Some(|r| r.pid.is_some()), &sources));
        writer.section(&texts(Shared::Format, Some(|r| r.format.is_some()), message));
        writer.section(&texts(Shared::Via, None, &[both, &sources[..]].concat()));
        writer.section(&texts(Shared::Tag, Some(|r| r.tag.is_some()), &sources));
        writer.section(&integers(|r| r.defects.bits().cast_signed()));
        let mut beside: Vec<&RowIds> = beside.iter().collect();
        let mut messages = Vec::new();
        self.messages.put_chunk(n, &beside, &mut messages);
        beside.extend(message);
        let mut arounds = Vec::new();
        self.around.put_chunk(n, &beside, &mut arounds);
        writer.section_as_is(&arounds);
        writer.section_as_is(&messages);
        let mut section = Vec::new();
        self.fields.put_chunk(n, &lines, &mut section);
        writer.section(&section);
    }

    /// Writes what the chunks share, in the order of [`Shared`], after all chunks.
    fn put_shared(&self, writer: &mut Writer) {
        let mut sections: Vec<Vec<u8>> = Vec::new();
        for plan in &self.names {
            let mut section = Vec::new();
            plan.put_dictionary(&mut section);
            sections.push(section);
        }
        for planned in [&self.around, &self.messages] {
            let mut section = Vec::new();
            planned.put_shared(&mut section);
            sections.push(section);
        }
        let mut section = Vec::new();
        self.fields.put_shared(&mut section);
        sections.push(section);
        for section in &sections {
            writer.section(section);
        }
    }
}

/// Sections one after the other, and what the table says of each.
#[derive(Default)]
pub(super) struct Writer {
    body: Vec<u8>,
    table: Vec<(usize, u32)>,
}

impl Writer {
    pub(super) fn section(&mut self, bytes: &[u8]) {
        self.section_as_is(&pack_section(bytes));
    }

    /// Lines, whose columns are packed on their own.
    pub(super) fn section_as_is(&mut self, bytes: &[u8]) {
        self.body.extend_from_slice(bytes);
        self.table.push((bytes.len(), checksum(bytes)));
    }

    pub(super) fn finish(mut self, metas: &[ChunkMeta]) -> Vec<u8> {
        let mut table = vec![VERSION];
        put_len(&mut table, metas.len());
        for meta in metas {
            put_len(&mut table, meta.rows);
            put_varint(&mut table, meta.first_id);
            put_varint(&mut table, meta.last_id.wrapping_sub(meta.first_id));
            put_signed(&mut table, meta.min_time.0);
            put_varint(&mut table, meta.max_time.0.wrapping_sub(meta.min_time.0).cast_unsigned());
        }
        for (len, sum) in &self.table {
            put_len(&mut table, *len);
            table.extend_from_slice(&sum.to_le_bytes());
        }
        let sum = checksum(&table);
        let len = u32::try_from(table.len()).unwrap_or(u32::MAX);
        self.body.extend_from_slice(&table);
        self.body.extend_from_slice(&len.to_le_bytes());
        self.body.extend_from_slice(&sum.to_le_bytes());
        self.body
    }
}

/// Where a section stands, from the start of the body.
#[derive(Clone, Copy, Debug)]
struct Section {
    at: u64,
    len: usize,
    sum: u32,
}

/// An open body: its table, and the sections that have been asked for.
#[derive(Debug)]
pub(super) struct Open {
    file: File,
    metas: Vec<ChunkMeta>,
    sections: Vec<Section>,
    names: [OnceLock<Arc<Texts>>; NAMES],
    around: OnceLock<Templates>,
    messages: OnceLock<Templates>,
    fields: OnceLock<Arc<SharedFields>>,
    /// What of it all chunks share and was read weighs so much, bytes.
    shared_bytes: AtomicUsize,
}

/// The file and where the body stands in it.
struct File {
    file: Arc<dyn ReadAt>,
    at: u64,
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a body at {}", self.at)
    }
}

impl Open {
    /// Reads the table.
    pub(super) fn new(file: Arc<dyn ReadAt>, at: u64, len: u64) -> Result<Self> {
        let place = format!("the table of the body at {at}");
        let early = || Damage("ends early").at(&place);
        if at.checked_add(len).is_none_or(|end| end > file.len()) {
            return Err(early());
        }
        let rest = len.checked_sub(TRAILER_BYTES as u64).ok_or_else(early)?;
        let trailer = file.read_at(at + rest, TRAILER_BYTES)?;
        let mut input = &trailer[..];
        let table_len = take_u32(&mut input).map_err(|d| d.at(&place))?;
        let sum = take_u32(&mut input).map_err(|d| d.at(&place))?;
        let sections_len = rest.checked_sub(u64::from(table_len)).ok_or_else(early)?;
        let table = file.read_at(at + sections_len, table_len as usize)?;
        if checksum(&table) != sum {
            return Err(Damage("its checksum is wrong").at(&place));
        }
        let version = table.first().copied().ok_or_else(early)?;
        if version != VERSION {
            let (got, want) = (version.into(), VERSION.into());
            return Err(Error::Version { place, got, want });
        }
        let (metas, sections) = take_table(table.get(1..).unwrap_or_default(), sections_len)
            .map_err(|d| d.at(&place))?;
        Ok(Self {
            file: File { file, at },
            metas,
            sections,
            names: Default::default(),
            around: OnceLock::new(),
            messages: OnceLock::new(),
            fields: OnceLock::new(),
            shared_bytes: AtomicUsize::new(0),
        })
    }

    /// The same, nothing read yet of what the chunks share.
    pub(super) fn again(&self) -> Self {
        Self {
            file: File { file: Arc::clone(&self.file.file), at: self.file.at },
            metas: self.metas.clone(),
            sections: self.sections.clone(),
            names: Default::default(),
            around: OnceLock::new(),
            messages: OnceLock::new(),
            fields: OnceLock::new(),
            shared_bytes: AtomicUsize::new(0),
        }
    }

    /// Bytes in memory now; grows as dictionaries and templates are read.
    pub(super) fn weight(&self) -> usize {
        self.metas.len() * size_of::<ChunkMeta>()
            + self.sections.len() * size_of::<Section>()
            + self.shared_bytes.load(Ordering::Relaxed)
            + self.messages.get().map_or(0, Templates::folded_bytes)
            + self.around.get().map_or(0, Templates::folded_bytes)
    }

    pub(super) fn chunks(&self) -> &[ChunkMeta] {
        &self.metas
    }

    /// The checked and unpacked bytes of a section.
    fn section(&self, n: usize) -> Result<Vec<u8>> {
        let missing = || Error::corrupt("a body", format!("no section {n}"));
        let section = self.sections.get(n).copied().ok_or_else(missing)?;
        let bytes = self.file.file.read_at(self.file.at + section.at, section.len)?;
        if checksum(&bytes) != section.sum {
            return Err(Damage("its checksum is wrong").at(&self.place(n)));
        }
        if is_as_is(n, self.metas.len()) {
            return Ok(bytes);
        }
        work::read(bytes.len());
        take_frame(&mut &bytes[..], COLUMN_BYTES_MAX).map_err(|damage| damage.at(&self.place(n)))
    }

    fn place(&self, n: usize) -> String {
        format!("section {n} of the body at {}", self.file.at)
    }

    /// Reads a section of a chunk whole.
    pub(super) fn part<T>(
        &self,
        chunk: usize,
        part: Part,
        take: impl FnOnce(&mut &[u8]) -> Read<T>,
    ) -> Result<T> {
        self.read(chunk * PARTS + part as usize, take)
    }

    /// Bytes of a chunk's section in the file.
    pub(super) fn section_len(&self, chunk: usize, part: Part) -> u64 {
        self.sections.get(chunk * PARTS + part as usize).map_or(0, |section| section.len as u64)
    }

    /// What was read of a chunk's section, or where it is damaged.
    pub(super) fn checked<T>(&self, chunk: usize, part: Part, read: Read<T>) -> Result<T> {
        read.map_err(|damage| damage.at(&self.place(chunk * PARTS + part as usize)))
    }

    /// Where it stands in its file.
    pub(super) fn at(&self) -> u64 {
        self.file.at
    }

    /// Reads a section whole.
    fn read<T>(&self, n: usize, take: impl FnOnce(&mut &[u8]) -> Read<T>) -> Result<T> {
        let bytes = self.section(n)?;
        let mut input = &bytes[..];
        let value = take(&mut input).and_then(|value| done(input).map(|()| value));
        value.map_err(|damage| damage.at(&self.place(n)))
    }

    fn shared<'a, T>(
        &self,
        cell: &'a OnceLock<T>,
        shared: Shared,
        take: impl FnOnce(&mut &[u8]) -> Read<T>,
        weight: impl FnOnce(&T) -> usize,
    ) -> Result<&'a T> {
        lazily(cell, || {
            let read = self.read(self.metas.len() * PARTS + shared as usize, take)?;
            self.shared_bytes.fetch_add(weight(&read), Ordering::Relaxed);
            Ok(read)
        })
    }

    /// The templates of what stands around messages.
    pub(super) fn around(&self) -> Result<&Templates> {
        let take = |input: &mut &[u8]| Templates::take(input, self.metas.len());
        self.shared(&self.around, Shared::Around, take, Templates::weight)
    }

    /// The templates of messages.
    pub(super) fn messages(&self) -> Result<&Templates> {
        let take = |input: &mut &[u8]| Templates::take(input, self.metas.len());
        self.shared(&self.messages, Shared::Message, take, Templates::weight)
    }

    /// Names, shapes and dictionaries of fields.
    pub(super) fn fields(&self) -> Result<&Arc<SharedFields>> {
        let take = |input: &mut &[u8]| SharedFields::take(input).map(Arc::new);
        self.shared(&self.fields, Shared::Fields, take, |fields| fields.weight())
    }

    /// The dictionary of some names.
    pub(super) fn dictionary(&self, shared: Shared) -> Result<&Arc<Texts>> {
        let missing = || Error::corrupt("a body", "no such dictionary");
        let cell = self.names.get(shared as usize).ok_or_else(missing)?;
        self.shared(cell, shared, take_dictionary, |texts| texts.weight())
    }
}

fn take_table(mut table: &[u8], sections_len: u64) -> Read<(Vec<ChunkMeta>, Vec<Section>)> {
    let input = &mut table;
    let chunks = take_len(input, SEGMENT_CHUNKS_MAX)?;
    let mut metas = Vec::new();
    for _ in 0..chunks {
        let rows = take_len(input, CHUNK_ROWS_MAX)?;
        let first_id = take_varint(input)?;
        let last_id = first_id.wrapping_add(take_varint(input)?);
        let min_time = take_signed(input)?;
        let max_time = min_time.wrapping_add(take_varint(input)?.cast_signed());
        if rows == 0 || last_id < first_id || max_time < min_time {
            return Err(Damage("a chunk that cannot be"));
        }
        let (min_time, max_time) = (Timestamp(min_time), Timestamp(max_time));
        metas.push(ChunkMeta { rows, first_id, last_id, min_time, max_time });
    }
    let mut sections = Vec::new();
    let mut at = 0_u64;
    for _ in 0..chunks * PARTS + SHARED {
        let len = take_varint(input)?;
        let sum = take_u32(input)?;
        let end = at.checked_add(len).filter(|end| *end <= sections_len);
        let end = end.ok_or(Damage("a section beyond the body"))?;
        let len = usize::try_from(len).map_err(|_| Damage("a section beyond the body"))?;
        sections.push(Section { at, len, sum });
        at = end;
    }
    done(input)?;
    if at == sections_len { Ok((metas, sections)) } else { Err(Damage("bytes of no section")) }
}

/// Is a section of so many chunks no frame as a whole?
fn is_as_is(n: usize, chunks: usize) -> bool {
    let part = n % PARTS;
    n / PARTS < chunks && (part == Part::Around as usize || part == Part::Message as usize)
}

/// What a cell holds; computed first where it holds nothing.
pub(super) fn lazily<T, E>(
    cell: &OnceLock<T>,
    make: impl FnOnce() -> std::result::Result<T, E>,
) -> std::result::Result<&T, E> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = make()?;
    Ok(cell.get_or_init(|| value))
}

/// The unpacked sections of a body, for tests that damage one.
#[cfg(test)]
pub(super) fn sections_of(body: &[u8]) -> Read<Vec<Vec<u8>>> {
    let (metas, sections) = split_table(body)?;
    let unpack = |(n, section): (usize, &Section)| {
        let at = usize::try_from(section.at).map_err(|_| Damage("too long"))?;
        let mut bytes = body.get(at..at + section.len).unwrap_or_default();
        if is_as_is(n, metas.len()) {
            return Ok(bytes.to_vec());
        }
        take_frame(&mut bytes, COLUMN_BYTES_MAX)
    };
    sections.iter().enumerate().map(unpack).collect()
}

/// The same body with other sections and right checksums.
#[cfg(test)]
pub(super) fn with_sections(body: &[u8], sections: &[Vec<u8>]) -> Vec<u8> {
    let metas = split_table(body).map(|(metas, _)| metas).unwrap_or_default();
    let mut writer = Writer::default();
    for (n, section) in sections.iter().enumerate() {
        if is_as_is(n, metas.len()) {
            writer.section_as_is(section);
        } else {
            writer.section(section);
        }
    }
    writer.finish(&metas)
}

#[cfg(test)]
fn split_table(body: &[u8]) -> Read<(Vec<ChunkMeta>, Vec<Section>)> {
    let rest = body.len() - TRAILER_BYTES;
    let len = take_u32(&mut body.get(rest..).unwrap_or_default())?;
    let table = rest - len as usize;
    take_table(body.get(table + 1..rest).unwrap_or_default(), table as u64)
}
