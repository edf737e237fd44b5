//! The body of a segment: sections with checksums, their table, and the rows of its chunks.
//!
//! Writing: every part of the records goes through a pool, a list of integers, or templates; the
//! sections of each chunk follow in the order of the columns, then what the chunks share, then
//! the table. Reading: the table at once, everything else when it is first asked for.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use super::column::{
    Column, Plan, Pool, Texts, put_integers, take_column, take_dictionary, take_integers,
};
use super::pack::{
    Damage, Read, checksum, done, put_bytes, put_len, put_planes, put_signed, put_varint,
    take_bytes, take_len, take_planes, take_signed, take_str, take_u8, take_u32, take_varint,
};
use super::record::{read_facility, read_fields, read_severity, rebuild_span, write_fields};
use super::words::Words;
use super::{ChunkMeta, Encoded, Rows};
use crate::base::error::{Error, Result};
use crate::base::limits::{CHUNK_ROWS_MAX, SEGMENT_CHUNKS_MAX};
use crate::base::machine::ReadAt;
use crate::base::record::{Defects, Facility, Line, Record, Severity, Via};
use crate::base::time::Timestamp;
use crate::base::value::Field;

/// Version of the body's format; another is refused.
pub const VERSION: u8 = 0;

/// Bytes behind the table: its length and its checksum.
pub const TRAILER_BYTES: usize = 8;

/// The columns of a chunk, in the order of its sections.
#[derive(Clone, Copy, Debug)]
enum Part {
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
    Raw,
    Span,
    Fields,
}

/// Sections of a chunk.
pub const PARTS: usize = Part::Fields as usize + 1;

/// What the chunks share, in the order of its sections.
#[derive(Clone, Copy, Debug)]
enum Shared {
    Host,
    App,
    Pid,
    Format,
    Via,
    Tag,
    Raw,
    Own,
    Fields,
}

/// Sections that the chunks share.
pub const SHARED: usize = Shared::Fields as usize + 1;

/// Encodes the records of one segment; see [`super::encode`].
pub(super) fn encode(chunks: &[&[Arc<Record>]]) -> Encoded {
    let chunks: Vec<&[Arc<Record>]> = chunks.iter().copied().filter(|c| !c.is_empty()).collect();
    let mut words = Words::default();
    let mut pools: [Pool; SHARED] = Default::default();
    let mut chunk_words = Vec::new();
    for (n, records) in chunks.iter().enumerate() {
        for record in *records {
            gather(record, n, &mut pools, &mut words);
        }
        chunk_words.push(words.end_chunk());
    }
    let mut plans = pools.each_ref().map(Plan::new);
    let mut writer = Writer::default();
    let mut metas = Vec::new();
    for (n, records) in chunks.iter().enumerate() {
        metas.extend(describe(records));
        put_chunk(records, n, &mut plans, &mut writer);
    }
    for plan in &plans {
        let mut section = Vec::new();
        plan.put_dictionary(&mut section);
        writer.section(&section);
    }
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

/// Adds the parts of a record to their pools, and its words.
fn gather(record: &Record, chunk: usize, pools: &mut [Pool; SHARED], words: &mut Words) {
    let mut add = |shared: Shared, text: &[u8]| {
        if let Some(pool) = pools.get_mut(shared as usize) {
            pool.chunk(chunk).push(text);
        }
    };
    add(Shared::Host, record.host.as_bytes());
    add(Shared::App, record.app.as_bytes());
    for (shared, text) in [
        (Shared::Pid, record.pid.as_deref()),
        (Shared::Format, record.format.as_deref()),
        (Shared::Tag, record.tag.as_deref()),
    ] {
        if let Some(text) = text {
            add(shared, text.as_bytes());
        }
    }
    add(Shared::Via, &via_bytes(&record.via));
    add(Shared::Raw, record.line.raw());
    if record.line.span().is_none() {
        add(Shared::Own, record.message().as_bytes());
    }
    let mut fields = Vec::new();
    write_fields(&record.fields, &mut fields);
    add(Shared::Fields, &fields);
    for text in [record.message(), &record.host, &record.app, record.tag.as_deref().unwrap_or("")] {
        words.add(text.as_bytes());
    }
    record.fields.iter().for_each(|field| words.add_value(&field.value));
}

fn via_bytes(via: &Via) -> Vec<u8> {
    let mut out = Vec::new();
    for part in [&via.format, &via.listener, &via.transport, &via.peer] {
        put_bytes(&mut out, part.as_bytes());
    }
    out
}

fn take_via(mut input: &[u8]) -> Read<Arc<Via>> {
    let input = &mut input;
    let via = Via {
        format: take_str(input)?.into(),
        listener: take_str(input)?.into(),
        transport: take_str(input)?.into(),
        peer: take_str(input)?.into(),
    };
    done(input)?;
    Ok(Arc::new(via))
}

/// Writes the sections of one chunk, in the order of [`Part`].
fn put_chunk(
    records: &[Arc<Record>],
    n: usize,
    plans: &mut [Plan<'_>; SHARED],
    writer: &mut Writer,
) {
    let integers = |writer: &mut Writer, number: fn(&Record) -> i64| {
        let numbers: Vec<i64> = records.iter().map(|r| number(r)).collect();
        let mut section = Vec::new();
        put_integers(&mut section, &numbers);
        writer.section(&section);
    };
    let mut texts = |writer: &mut Writer, shared: Shared, present: Option<fn(&Record) -> bool>| {
        let mut section = Vec::new();
        if let Some(present) = present {
            let flags: Vec<u64> = records.iter().map(|r| u64::from(present(r))).collect();
            put_planes(&mut section, &flags);
        }
        if let Some(plan) = plans.get_mut(shared as usize) {
            plan.put_column(n, &mut section);
        }
        writer.section(&section);
    };
    integers(writer, |r| r.id.cast_signed());
    integers(writer, |r| r.time.0);
    integers(writer, |r| r.received.0);
    texts(writer, Shared::Host, None);
    texts(writer, Shared::App, None);
    integers(writer, |r| r.severity.map_or(0, |s| s as i64 + 1));
    integers(writer, |r| r.facility.map_or(0, |f| i64::from(f.code()) + 1));
    texts(writer, Shared::Pid, Some(|r| r.pid.is_some()));
    texts(writer, Shared::Format, Some(|r| r.format.is_some()));
    texts(writer, Shared::Via, None);
    texts(writer, Shared::Tag, Some(|r| r.tag.is_some()));
    integers(writer, |r| r.defects.bits().cast_signed());
    texts(writer, Shared::Raw, None);
    let mut section = Vec::new();
    let offset = |n: usize| i64::try_from(n).unwrap_or(-1);
    let spans: Vec<(usize, usize)> = records.iter().filter_map(|r| r.line.span()).collect();
    put_planes(
        &mut section,
        &records.iter().map(|r| u64::from(r.line.span().is_none())).collect::<Vec<_>>(),
    );
    put_integers(&mut section, &spans.iter().map(|(start, _)| offset(*start)).collect::<Vec<_>>());
    put_integers(&mut section, &spans.iter().map(|(_, end)| offset(*end)).collect::<Vec<_>>());
    if let Some(plan) = plans.get_mut(Shared::Own as usize) {
        plan.put_column(n, &mut section);
    }
    writer.section(&section);
    let mut section = Vec::new();
    if let Some(plan) = plans.get_mut(Shared::Fields as usize) {
        plan.put_column(n, &mut section);
    }
    writer.section(&section);
}

/// Sections one after the other, and what the table says of each.
#[derive(Default)]
struct Writer {
    body: Vec<u8>,
    table: Vec<(usize, u32)>,
}

impl Writer {
    fn section(&mut self, bytes: &[u8]) {
        self.body.extend_from_slice(bytes);
        self.table.push((bytes.len(), checksum(bytes)));
    }

    fn finish(mut self, metas: &[ChunkMeta]) -> Vec<u8> {
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
    dictionaries: [OnceLock<Arc<Texts>>; SHARED],
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
        Ok(Self { file: File { file, at }, metas, sections, dictionaries: Default::default() })
    }

    pub(super) fn chunks(&self) -> &[ChunkMeta] {
        &self.metas
    }

    /// The checked bytes of a section.
    fn section(&self, n: usize) -> Result<Vec<u8>> {
        let missing = || Error::corrupt("a body", format!("no section {n}"));
        let section = self.sections.get(n).copied().ok_or_else(missing)?;
        let bytes = self.file.file.read_at(self.file.at + section.at, section.len)?;
        if checksum(&bytes) == section.sum {
            return Ok(bytes);
        }
        Err(Damage("its checksum is wrong").at(&self.place(n)))
    }

    fn place(&self, n: usize) -> String {
        format!("section {n} of the body at {}", self.file.at)
    }

    fn dictionary(&self, shared: Shared) -> Result<&Arc<Texts>> {
        let missing = || Error::corrupt("a body", "no such dictionary");
        let cell = self.dictionaries.get(shared as usize).ok_or_else(missing)?;
        lazily(cell, || {
            let n = self.metas.len() * PARTS + shared as usize;
            let bytes = self.section(n)?;
            let mut input = &bytes[..];
            let dictionary = take_dictionary(&mut input);
            dictionary.and_then(|d| done(input).map(|()| d)).map_err(|d| d.at(&self.place(n)))
        })
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

/// What a cell holds; computed first where it holds nothing.
fn lazily<T>(cell: &OnceLock<T>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    match cell.get() {
        Some(value) => Ok(value),
        None => {
            let value = make()?;
            Ok(cell.get_or_init(|| value))
        }
    }
}

/// A column whose few different values are shared by the rows that have them.
#[derive(Debug)]
struct Named<T: ?Sized> {
    /// For each row the value, and one; 0 for none.
    rows: Vec<u32>,
    values: Vec<Arc<T>>,
}

impl<T: ?Sized> Named<T> {
    /// From a column, and which rows have a value.
    fn new(column: &Column, present: &[bool], read: fn(&[u8]) -> Read<Arc<T>>) -> Read<Self> {
        let mut entries: HashMap<&[u8], u32, foldhash::fast::RandomState> = HashMap::default();
        let mut named = Self { rows: Vec::with_capacity(present.len()), values: Vec::new() };
        let mut next = 0;
        for present in present {
            if !present {
                named.rows.push(0);
                continue;
            }
            let text = column.get(next).ok_or(Damage("a column that is too short"))?;
            next += 1;
            let entry = match entries.get(text) {
                Some(entry) => *entry,
                None => {
                    named.values.push(read(text)?);
                    let entry = u32::try_from(named.values.len()).unwrap_or(u32::MAX);
                    entries.insert(text, entry);
                    entry
                }
            };
            named.rows.push(entry);
        }
        Ok(named)
    }

    fn get(&self, row: usize) -> Option<&Arc<T>> {
        let entry = self.rows.get(row)?.checked_sub(1)?;
        self.values.get(usize::try_from(entry).ok()?)
    }

    fn weight(&self) -> usize {
        self.rows.len() * size_of::<u32>() + self.values.len() * 64
    }
}

fn take_name(text: &[u8]) -> Read<Arc<str>> {
    std::str::from_utf8(text).map(Into::into).map_err(|_| Damage("a name is not UTF-8"))
}

/// An open chunk; see [`Rows`].
#[derive(Debug)]
pub(super) struct ChunkRows {
    body: Arc<Open>,
    chunk: usize,
    meta: ChunkMeta,
    ids: OnceLock<Vec<u64>>,
    times: OnceLock<Vec<Timestamp>>,
    received: OnceLock<Vec<i64>>,
    host: OnceLock<Named<str>>,
    app: OnceLock<Named<str>>,
    severity: OnceLock<Vec<Option<Severity>>>,
    facility: OnceLock<Vec<Option<Facility>>>,
    pid: OnceLock<Named<str>>,
    format: OnceLock<Named<str>>,
    via: OnceLock<Named<Via>>,
    tag: OnceLock<Named<str>>,
    defects: OnceLock<Vec<i64>>,
    lines: OnceLock<Vec<Line>>,
    fields: OnceLock<Vec<Vec<Field>>>,
}

impl ChunkRows {
    /// Opens a chunk without reading anything.
    pub(super) fn new(body: Arc<Open>, chunk: usize) -> Result<Self> {
        let missing = || Error::corrupt("a body", format!("no chunk {chunk}"));
        let meta = body.metas.get(chunk).cloned().ok_or_else(missing)?;
        Ok(Self {
            body,
            chunk,
            meta,
            ids: OnceLock::new(),
            times: OnceLock::new(),
            received: OnceLock::new(),
            host: OnceLock::new(),
            app: OnceLock::new(),
            severity: OnceLock::new(),
            facility: OnceLock::new(),
            pid: OnceLock::new(),
            format: OnceLock::new(),
            via: OnceLock::new(),
            tag: OnceLock::new(),
            defects: OnceLock::new(),
            lines: OnceLock::new(),
            fields: OnceLock::new(),
        })
    }

    /// Reads a section whole with what it is for.
    fn part<T>(&self, part: Part, read: impl FnOnce(&mut &[u8]) -> Read<T>) -> Result<T> {
        let n = self.chunk * PARTS + part as usize;
        let bytes = self.body.section(n)?;
        let mut input = &bytes[..];
        let value = read(&mut input).and_then(|value| done(input).map(|()| value));
        value.map_err(|damage| damage.at(&self.body.place(n)))
    }

    fn integers(&self, part: Part) -> Result<Vec<i64>> {
        self.part(part, |input| take_integers(input, self.meta.rows))
    }

    fn names<'a, T: ?Sized>(
        &self,
        cell: &'a OnceLock<Named<T>>,
        (part, shared): (Part, Shared),
        optional: bool,
        read: fn(&[u8]) -> Read<Arc<T>>,
    ) -> Result<&'a Named<T>> {
        lazily(cell, || {
            let dictionary = self.body.dictionary(shared)?;
            self.part(part, |input| {
                let present = if optional {
                    take_flags(input, self.meta.rows)?
                } else {
                    vec![true; self.meta.rows]
                };
                let count = present.iter().filter(|p| **p).count();
                Named::new(&take_column(input, count, dictionary)?, &present, read)
            })
        })
    }

    fn hosts(&self) -> Result<&Named<str>> {
        self.names(&self.host, (Part::Host, Shared::Host), false, take_name)
    }

    fn apps(&self) -> Result<&Named<str>> {
        self.names(&self.app, (Part::App, Shared::App), false, take_name)
    }

    fn severities(&self) -> Result<&Vec<Option<Severity>>> {
        lazily(&self.severity, || self.codes(Part::Severity, read_severity))
    }

    /// Small codes, one a row.
    fn codes<T>(&self, part: Part, read: fn(u8) -> Read<T>) -> Result<Vec<T>> {
        self.part(part, |input| {
            let unknown = Damage("a code that there is not");
            let codes = take_integers(input, self.meta.rows)?;
            codes.into_iter().map(|code| read(u8::try_from(code).map_err(|_| unknown)?)).collect()
        })
    }

    fn lines(&self) -> Result<&Vec<Line>> {
        lazily(&self.lines, || {
            let raw_dictionary = self.body.dictionary(Shared::Raw)?;
            let own_dictionary = self.body.dictionary(Shared::Own)?;
            let raw =
                self.part(Part::Raw, |input| take_column(input, self.meta.rows, raw_dictionary))?;
            self.part(Part::Span, |input| {
                let own = take_flags(input, self.meta.rows)?;
                let owns = own.iter().filter(|own| **own).count();
                let mut starts = take_integers(input, self.meta.rows - owns)?.into_iter();
                let mut ends = take_integers(input, self.meta.rows - owns)?.into_iter();
                let messages = take_column(input, owns, own_dictionary)?;
                let mut next = 0;
                let line = |(row, own): (usize, bool)| {
                    let short = Damage("a column that is too short");
                    let raw = raw.get(row).ok_or(short)?;
                    if own {
                        let message = messages.get(next).ok_or(short)?;
                        next += 1;
                        let text = std::str::from_utf8(message);
                        return Ok(Line::with_message(
                            raw,
                            text.map_err(|_| Damage("a message is not UTF-8"))?,
                        ));
                    }
                    let mut offset = |all: &mut std::vec::IntoIter<i64>| {
                        usize::try_from(all.next().ok_or(short)?).map_err(|_| short)
                    };
                    rebuild_span(raw, offset(&mut starts)?, offset(&mut ends)?)
                };
                own.into_iter().enumerate().map(line).collect()
            })
        })
    }

    fn all_fields(&self) -> Result<&Vec<Vec<Field>>> {
        lazily(&self.fields, || {
            let dictionary = self.body.dictionary(Shared::Fields)?;
            self.part(Part::Fields, |input| {
                let column = take_column(input, self.meta.rows, dictionary)?;
                (0..self.meta.rows)
                    .map(|row| {
                        let mut input = column.get(row).unwrap_or_default();
                        let fields = read_fields(&mut input)?;
                        done(input).map(|()| fields)
                    })
                    .collect()
            })
        })
    }

    fn beyond(&self, row: usize) -> Error {
        let place = format!("chunk {} of the body at {}", self.chunk, self.body.file.at);
        Error::corrupt(place, format!("no row {row}"))
    }
}

fn take_flags(input: &mut &[u8], count: usize) -> Read<Vec<bool>> {
    Ok(take_planes(input, count)?.into_iter().map(|flag| flag != 0).collect())
}

impl Rows for ChunkRows {
    fn meta(&self) -> &ChunkMeta {
        &self.meta
    }

    fn ids(&self) -> Result<&[u64]> {
        let ids = lazily(&self.ids, || {
            Ok(self.integers(Part::Id)?.into_iter().map(i64::cast_unsigned).collect())
        })?;
        Ok(ids)
    }

    fn times(&self) -> Result<&[Timestamp]> {
        let times = lazily(&self.times, || {
            Ok(self.integers(Part::Time)?.into_iter().map(Timestamp).collect())
        })?;
        Ok(times)
    }

    fn severity(&self, row: usize) -> Result<Option<Severity>> {
        self.severities()?.get(row).copied().ok_or_else(|| self.beyond(row))
    }

    fn host(&self, row: usize) -> Result<&str> {
        self.hosts()?.get(row).map(|name| &**name).ok_or_else(|| self.beyond(row))
    }

    fn app(&self, row: usize) -> Result<&str> {
        self.apps()?.get(row).map(|name| &**name).ok_or_else(|| self.beyond(row))
    }

    fn message(&self, row: usize) -> Result<&str> {
        self.lines()?.get(row).map(Line::message).ok_or_else(|| self.beyond(row))
    }

    fn fields(&self, row: usize) -> Result<&[Field]> {
        self.all_fields()?.get(row).map(|fields| &fields[..]).ok_or_else(|| self.beyond(row))
    }

    fn record(&self, row: usize) -> Result<Arc<Record>> {
        let beyond = || self.beyond(row);
        let received = lazily(&self.received, || self.integers(Part::Received))?;
        let facility = lazily(&self.facility, || self.codes(Part::Facility, read_facility))?;
        let defects = lazily(&self.defects, || self.integers(Part::Defects))?;
        let pid = self.names(&self.pid, (Part::Pid, Shared::Pid), true, take_name)?;
        let format = self.names(&self.format, (Part::Format, Shared::Format), true, take_name)?;
        let via = self.names(&self.via, (Part::Via, Shared::Via), false, take_via)?;
        let tag = self.names(&self.tag, (Part::Tag, Shared::Tag), true, take_name)?;
        Ok(Arc::new(Record {
            id: *self.ids()?.get(row).ok_or_else(beyond)?,
            time: *self.times()?.get(row).ok_or_else(beyond)?,
            received: Timestamp(*received.get(row).ok_or_else(beyond)?),
            host: self.hosts()?.get(row).cloned().ok_or_else(beyond)?,
            app: self.apps()?.get(row).cloned().ok_or_else(beyond)?,
            severity: self.severity(row)?,
            facility: *facility.get(row).ok_or_else(beyond)?,
            pid: pid.get(row).map(|pid| (**pid).into()),
            line: self.lines()?.get(row).cloned().ok_or_else(beyond)?,
            fields: self.fields(row)?.to_vec(),
            format: format.get(row).cloned(),
            via: via.get(row).cloned().ok_or_else(beyond)?,
            tag: tag.get(row).cloned(),
            defects: Defects::from_bits(defects.get(row).ok_or_else(beyond)?.cast_unsigned()),
        }))
    }

    fn weight(&self) -> usize {
        let named = |cell: &OnceLock<Named<str>>| cell.get().map_or(0, Named::weight);
        let names: usize = [&self.host, &self.app, &self.pid, &self.format, &self.tag]
            .into_iter()
            .map(named)
            .sum();
        let lines = self
            .lines
            .get()
            .map_or(0, |lines| lines.iter().map(|line| size_of::<Line>() + line.raw().len()).sum());
        let fields =
            self.fields.get().map_or(0, |rows| rows.iter().map(|f| 24 + f.len() * 64).sum());
        self.meta.rows * 32 + names + lines + fields
    }
}
