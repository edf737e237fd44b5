//! The rows of an open chunk: its columns, each decoded when it is first asked for.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use super::body::{Open, Part, Shared, lazily};
use super::column::{Column, take_column};
use super::fields::{ChunkFields, Place};
use super::integers::take_integers;
use super::pack::{Damage, Read, done, take_planes};
use super::rebuild::Rebuilt;
use super::record::{read_facility, read_severity, rebuild_span, take_via};
use super::{ChunkMeta, Rows};
use crate::base::error::{Error, Result};
use crate::base::record::{Defects, Facility, Line, Record, Severity, Via};
use crate::base::time::Timestamp;
use crate::base::value::Field;

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
        let mut entries: HashMap<Box<[u8]>, u32, foldhash::fast::RandomState> = HashMap::default();
        let mut named = Self { rows: Vec::with_capacity(present.len()), values: Vec::new() };
        let mut room = Vec::new();
        let mut next = 0;
        for present in present {
            if !present {
                named.rows.push(0);
                continue;
            }
            let text = column.text(next, &mut room).ok_or(Damage("a column that is too short"))?;
            next += 1;
            let known = entries.get(text).copied();
            let entry = known.unwrap_or(u32::try_from(entries.len() + 1).unwrap_or(u32::MAX));
            if known.is_none() {
                named.values.push(read(text)?);
                entries.insert(text.into(), entry);
            }
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

fn read_via(mut text: &[u8]) -> Read<Arc<Via>> {
    let via = take_via(&mut text)?;
    done(text).map(|()| via)
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
    around: OnceLock<Rebuilt>,
    messages: OnceLock<Rebuilt>,
    fields: OnceLock<ChunkFields>,
}

impl ChunkRows {
    /// Opens a chunk without reading anything.
    pub(super) fn new(body: Arc<Open>, chunk: usize) -> Result<Self> {
        let missing = || Error::corrupt("a body", format!("no chunk {chunk}"));
        let meta = body.chunks().get(chunk).cloned().ok_or_else(missing)?;
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
            around: OnceLock::new(),
            messages: OnceLock::new(),
            fields: OnceLock::new(),
        })
    }

    /// Reads a section of the chunk whole.
    fn part<T>(&self, part: Part, take: impl FnOnce(&mut &[u8]) -> Read<T>) -> Result<T> {
        self.body.part(self.chunk, part, take)
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

    fn messages(&self) -> Result<&Rebuilt> {
        lazily(&self.messages, || {
            let shared = self.body.messages()?;
            let times = self.times()?;
            self.part(Part::Message, |input| shared.rebuild(input, self.chunk, times, |_| None))
        })
    }

    fn around(&self) -> Result<&Rebuilt> {
        lazily(&self.around, || {
            let shared = self.body.around()?;
            let (times, messages) = (self.times()?, self.messages()?);
            self.part(Part::Around, |input| {
                shared.rebuild(input, self.chunk, times, |row| messages.get(row))
            })
        })
    }

    fn line(&self, row: usize) -> Result<Line> {
        let (around, message) = (self.around()?, self.message(row)?);
        let raw = around.get(row).ok_or_else(|| self.beyond(row))?;
        let Some(start) = around.hole(row) else { return Ok(Line::with_message(raw, message)) };
        rebuild_span(raw, start, start + message.len()).map_err(|d| d.at(&self.here()))
    }

    fn chunk_fields(&self) -> Result<&ChunkFields> {
        lazily(&self.fields, || {
            let shared = self.body.fields()?;
            self.part(Part::Fields, |input| ChunkFields::take(input, shared, self.meta.rows))
        })
    }

    fn here(&self) -> String {
        format!("chunk {} of the body at {}", self.chunk, self.body.at())
    }

    fn beyond(&self, row: usize) -> Error {
        Error::corrupt(self.here(), format!("no row {row}"))
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
        let text = self.messages()?.get(row).ok_or_else(|| self.beyond(row))?;
        std::str::from_utf8(text).map_err(|_| Damage("a message is not UTF-8").at(&self.here()))
    }

    fn fields(&self, row: usize) -> Result<&[Field]> {
        let fields = self.chunk_fields()?;
        let around = if fields.needs(row, Place::Around) { Some(self.around()?) } else { None };
        let messages =
            if fields.needs(row, Place::Message) { Some(self.messages()?) } else { None };
        let slot = |place, n| match place {
            Place::Around => around?.slot(row, n),
            Place::Message => messages?.slot(row, n),
        };
        fields.get(row, slot).map_err(|damage| damage.at(&self.here()))
    }

    fn has_field(&self, named: &dyn Fn(&str) -> bool) -> Result<bool> {
        let names = self.chunk_fields()?.names().map_err(|damage| damage.at(&self.here()))?;
        Ok(names.iter().any(|name| named(name)))
    }

    fn record(&self, row: usize) -> Result<Arc<Record>> {
        let beyond = || self.beyond(row);
        let received = lazily(&self.received, || self.integers(Part::Received))?;
        let facility = lazily(&self.facility, || self.codes(Part::Facility, read_facility))?;
        let defects = lazily(&self.defects, || self.integers(Part::Defects))?;
        let pid = self.names(&self.pid, (Part::Pid, Shared::Pid), true, take_name)?;
        let format = self.names(&self.format, (Part::Format, Shared::Format), true, take_name)?;
        let via = self.names(&self.via, (Part::Via, Shared::Via), false, read_via)?;
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
            line: self.line(row)?,
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
        let texts: usize = [&self.around, &self.messages]
            .into_iter()
            .filter_map(OnceLock::get)
            .map(Rebuilt::weight)
            .sum();
        let fields = self.fields.get().map_or(0, ChunkFields::weight);
        self.meta.rows * 32 + names + texts + fields
    }
}
