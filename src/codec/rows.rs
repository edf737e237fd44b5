//! The rows of an open chunk: its columns, each decoded when it is first asked for.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use super::ask::{self, Asked, By, Groups, Watch};
use super::body::{Open, Part, Shared, lazily};
use super::chunk_fields::{ChunkFields, FieldReader, FieldsView, Lines};
use super::column::take_column_beside;
use super::integers::take_integers;
use super::lines::{ChunkLines, Cuts, Reader, Times, View};
use super::names::Named;
use super::pack::{Damage, Read, done, take_planes};
use super::parents::{APP, Aligned, BOTH, HOST, MESSAGE, PID, RowIds, SEVERITY, SOURCE};
use super::predict::{Beside, ParentRows};
use super::record::{read_facility, read_severity, rebuild_span, take_via};
use super::set::RowSet;
use super::told::take_told;
use super::{ChunkMeta, Look, Name, Rows};
use crate::base::error::{Error, Result};
use crate::base::find::Finder;
use crate::base::fold::Folder;
use crate::base::record::{Defects, Facility, Line, Record, Severity, Via};
use crate::base::time::Timestamp;
use crate::base::value::{Field, Value};

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
    /// One for all rows where all have the same.
    defects: OnceLock<Vec<i64>>,
    around: OnceLock<ChunkLines>,
    messages: OnceLock<ChunkLines>,
    fields: OnceLock<ChunkFields>,
    /// Where this is, for errors.
    here: String,
}

impl ChunkRows {
    /// Opens a chunk without reading anything.
    pub(super) fn new(body: Arc<Open>, chunk: usize) -> Result<Self> {
        let missing = || Error::corrupt("a body", format!("no chunk {chunk}"));
        let meta = body.chunks().get(chunk).cloned().ok_or_else(missing)?;
        let here = format!("chunk {chunk} of the body at {}", body.at());
        Ok(Self {
            here,
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

    pub(super) fn integers(&self, part: Part) -> Result<Vec<i64>> {
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
                let rows = (0_u32..).zip(&present).filter(|(_, there)| **there);
                let rows = rows.map(|(row, _)| row).collect();
                let by_source = matches!(part, Part::Pid | Part::Via | Part::Tag);
                let beside = NamesBeside { chunk: self, rows, by_source };
                let count = beside.rows.len();
                let column = take_column_beside(input, count, dictionary, &beside)?;
                Named::new(&column, &present, read)
            })
        })
    }

    pub(super) fn hosts(&self) -> Result<&Named<str>> {
        self.names(&self.host, (Part::Host, Shared::Host), false, take_name)
    }

    pub(super) fn apps(&self) -> Result<&Named<str>> {
        self.names(&self.app, (Part::App, Shared::App), false, take_name)
    }

    pub(super) fn severities(&self) -> Result<&Vec<Option<Severity>>> {
        lazily(&self.severity, || self.codes(Part::Severity, read_severity))
    }

    /// Small codes, one a row.
    fn codes<T>(&self, part: Part, read: fn(u8) -> Read<T>) -> Result<Vec<T>> {
        self.part(part, |input| {
            let unknown = Damage("a code that there is not");
            let parent = |which| self.templates(which);
            let codes = take_told(input, self.meta.rows, parent)?;
            codes.into_iter().map(|code| read(u8::try_from(code).map_err(|_| unknown)?)).collect()
        })
    }

    /// The templates of the rows, which tell what is read before the lines are.
    fn templates(&self, which: u32) -> Option<RowIds> {
        matches!(which, MESSAGE | BOTH).then(|| self.row_ids(which).ok()).flatten()
    }

    pub(super) fn messages(&self) -> Result<View<'_>> {
        let shared = self.body.messages()?;
        let lines = lazily(&self.messages, || {
            let take =
                |input: &mut &[u8]| ChunkLines::take(input, shared, self.chunk, self.meta.rows);
            self.part(Part::Message, take)
        })?;
        Ok(View { lines, shared, times: self, here: &self.here })
    }

    pub(super) fn around(&self) -> Result<View<'_>> {
        let shared = self.body.around()?;
        let lines = lazily(&self.around, || {
            let take =
                |input: &mut &[u8]| ChunkLines::take(input, shared, self.chunk, self.meta.rows);
            self.part(Part::Around, take)
        })?;
        Ok(View { lines, shared, times: self, here: &self.here })
    }

    fn message_bytes(&self, row: usize, cuts: &mut Cuts) -> Result<Vec<u8>> {
        let (messages, mut text) = (self.messages()?, Vec::new());
        messages.into_reader()?.read(row, &[], &mut text, cuts)?;
        Ok(text)
    }

    fn utf8<'t>(&self, text: &'t [u8]) -> Result<&'t str> {
        std::str::from_utf8(text).map_err(|_| Damage("a message is not UTF-8").at(&self.here))
    }

    /// A row's record; `readers` know where they are.
    fn put_together(&self, row: usize, readers: &mut Readers<'_>) -> Result<Record> {
        let beyond = || self.beyond(row);
        let received = lazily(&self.received, || self.integers(Part::Received))?;
        Ok(Record {
            id: *self.ids()?.get(row).ok_or_else(beyond)?,
            time: *Rows::times(self)?.get(row).ok_or_else(beyond)?,
            received: Timestamp(*received.get(row).ok_or_else(beyond)?),
            host: self.hosts()?.get(row).cloned().ok_or_else(beyond)?,
            app: self.apps()?.get(row).cloned().ok_or_else(beyond)?,
            severity: self.severity(row)?,
            facility: *self.facilities()?.get(row).ok_or_else(beyond)?,
            pid: self.pids()?.get(row).map(|pid| (**pid).into()),
            line: self.line(row, readers)?,
            fields: readers.fields.read(row)?,
            format: self.formats()?.get(row).cloned(),
            via: self.vias()?.get(row).cloned().ok_or_else(beyond)?,
            tag: self.tags()?.get(row).cloned(),
            defects: self.defects(row)?,
        })
    }

    fn line(&self, row: usize, readers: &mut Readers<'_>) -> Result<Line> {
        let Readers { messages, around, message, cuts, .. } = readers;
        message.clear();
        messages.read(row, &[], message, cuts)?;
        let mut raw = Vec::new();
        around.read(row, message, &mut raw, cuts)?;
        let message = self.utf8(message)?;
        let Some(start) = cuts.hole else { return Ok(Line::with_message(raw, message)) };
        rebuild_span(&raw, start, start + message.len()).map_err(|d| d.at(&self.here))
    }

    pub(super) fn fields_view(&self) -> Result<FieldsView<'_>> {
        let fields = lazily(&self.fields, || {
            let shared = self.body.fields()?;
            let parent = |which| self.templates(which);
            self.part(Part::Fields, |input| {
                ChunkFields::take(input, shared, self.meta.rows, parent)
            })
        })?;
        Ok(FieldsView { fields, lines: self, here: &self.here })
    }

    fn defects(&self, row: usize) -> Result<Defects> {
        let bits = lazily(&self.defects, || {
            let mut bits = self.integers(Part::Defects)?;
            if bits.first().is_some_and(|first| bits.iter().all(|other| other == first)) {
                bits.truncate(1);
                bits.shrink_to_fit();
            }
            Ok::<_, Error>(bits)
        })?;
        let bits = if bits.len() == 1 { bits.first() } else { bits.get(row) };
        Ok(Defects::from_bits(bits.ok_or_else(|| self.beyond(row))?.cast_unsigned()))
    }

    pub(super) fn vias(&self) -> Result<&Named<Via>> {
        self.names(&self.via, (Part::Via, Shared::Via), false, read_via)
    }

    pub(super) fn pids(&self) -> Result<&Named<str>> {
        self.names(&self.pid, (Part::Pid, Shared::Pid), true, take_name)
    }

    pub(super) fn formats(&self) -> Result<&Named<str>> {
        self.names(&self.format, (Part::Format, Shared::Format), true, take_name)
    }

    pub(super) fn tags(&self) -> Result<&Named<str>> {
        self.names(&self.tag, (Part::Tag, Shared::Tag), true, take_name)
    }

    pub(super) fn facilities(&self) -> Result<&Vec<Option<Facility>>> {
        lazily(&self.facility, || self.codes(Part::Facility, read_facility))
    }

    /// Those of `among` in whose message it is found.
    fn find_in_messages(
        &self,
        finder: &Finder,
        among: &RowSet,
        watch: &mut dyn Watch,
    ) -> Asked<RowSet> {
        let view = self.messages()?;
        let known = view.shared.question(finder);
        let Some(question) = known.question() else { return Ok(RowSet::none(among.rows())) };
        let found = view.find(question, among, watch)?;
        let (mut folder, mut text, mut cuts) = (Folder::default(), Vec::new(), Cuts::default());
        if found.maybe.is_none() {
            return Ok(found.sure);
        }
        let mut reader = view.into_reader()?;
        let looked_at = ask::filter(&found.maybe, watch, |row| {
            text.clear();
            reader.read(row, &[], &mut text, &mut cuts)?;
            let message = self.utf8(&text)?;
            Ok(finder.is_in(if finder.folds() { folder.fold(message) } else { message }))
        })?;
        Ok(found.sure.or(&looked_at))
    }

    fn beyond(&self, row: usize) -> Error {
        Error::corrupt(self.here.clone(), format!("no row {row}"))
    }
}

/// What reads records, one after the other.
struct Readers<'a> {
    messages: Reader<'a>,
    around: Reader<'a>,
    fields: FieldReader<'a>,
    message: Vec<u8>,
    cuts: Cuts,
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
            let ids = self.integers(Part::Id);
            ids.map(|ids| ids.into_iter().map(i64::cast_unsigned).collect())
        })?;
        Ok(ids)
    }

    fn times(&self) -> Result<&[Timestamp]> {
        let times = lazily(&self.times, || {
            self.integers(Part::Time).map(|times| times.into_iter().map(Timestamp).collect())
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

    fn message(&self, row: usize) -> Result<Cow<'_, str>> {
        let text = self.message_bytes(row, &mut Cuts::default())?;
        let utf8 = String::from_utf8(text);
        utf8.map(Cow::Owned).map_err(|_| Damage("a message is not UTF-8").at(&self.here))
    }

    fn fields(&self, row: usize) -> Result<Cow<'_, [Field]>> {
        self.fields_view()?.reader()?.read(row).map(Cow::Owned)
    }

    fn find(
        &self,
        finder: &Finder,
        look: Look,
        among: &RowSet,
        watch: &mut dyn Watch,
    ) -> Asked<RowSet> {
        if finder.parts().next().is_none() {
            return Ok(among.clone()); // it is found everywhere
        }
        let mut found = self.find_in_messages(finder, among, watch)?;
        if look == Look::Message || found == *among {
            return Ok(found);
        }
        let mut folder = Folder::default();
        for names in [self.hosts()?, self.apps()?] {
            let with = names
                .select(|name| finder.is_in(if finder.folds() { folder.fold(name) } else { name }));
            found = found.or(&with.and(among));
        }
        let left = among.minus(&found);
        if left.is_none() {
            return Ok(found);
        }
        // A value that stands in a slot of the message was found there.
        Ok(found.or(&self.fields_view()?.find(finder, &left, watch)?))
    }

    fn with_message(
        &self,
        among: &RowSet,
        watch: &mut dyn Watch,
        is: &mut dyn FnMut(&str) -> bool,
    ) -> Asked<RowSet> {
        let view = self.messages()?;
        let (mut reader, mut text, mut cuts) = (view.into_reader()?, Vec::new(), Cuts::default());
        ask::filter(among, watch, |row| {
            text.clear();
            reader.read(row, &[], &mut text, &mut cuts)?;
            self.utf8(&text).map(&mut *is)
        })
    }

    fn with_name(
        &self,
        name: Name,
        among: &RowSet,
        _: &mut dyn Watch,
        is: &mut dyn FnMut(&str) -> bool,
    ) -> Asked<RowSet> {
        let found = match name {
            Name::Host => self.hosts()?.select(is),
            Name::App => self.apps()?.select(is),
            Name::Pid => self.pids()?.select(is),
            Name::Format => self.formats()?.select(is),
            Name::Tag => self.tags()?.select(is),
            Name::WireFormat => self.vias()?.select(|via| is(&via.format)),
            Name::Listener => self.vias()?.select(|via| is(&via.listener)),
            Name::Transport => self.vias()?.select(|via| is(&via.transport)),
            Name::Peer => self.vias()?.select(|via| is(&via.peer)),
            Name::Facility => {
                let mut known: [Option<bool>; 256] = [None; 256];
                let codes = self.facilities()?;
                RowSet::of(self.meta.rows, |row| {
                    let Some(Some(facility)) = codes.get(row).copied() else { return false };
                    match known.get_mut(usize::from(facility.code())) {
                        Some(known) => *known.get_or_insert_with(|| is(facility.name())),
                        None => is(facility.name()),
                    }
                })
            }
        };
        Ok(found.and(among))
    }

    fn with_severity(
        &self,
        among: &RowSet,
        _: &mut dyn Watch,
        is: &mut dyn FnMut(Severity) -> bool,
    ) -> Asked<RowSet> {
        let passes: Vec<Severity> = Severity::ALL.iter().copied().filter(|s| is(*s)).collect();
        let severities = self.severities()?;
        let found = RowSet::of(self.meta.rows, |row| {
            severities.get(row).copied().flatten().is_some_and(|s| passes.contains(&s))
        });
        Ok(found.and(among))
    }

    fn with_field(
        &self,
        named: &dyn Fn(&str) -> bool,
        among: &RowSet,
        watch: &mut dyn Watch,
        is: &mut dyn FnMut(&Value) -> bool,
    ) -> Asked<RowSet> {
        self.fields_view()?.select(named, among, watch, is)
    }

    fn group(&self, by: &By<'_>, among: &RowSet, watch: &mut dyn Watch) -> Asked<Groups> {
        let names = match by {
            By::Name(Name::Host) => self.hosts()?,
            By::Name(Name::App) => self.apps()?,
            By::Name(Name::Pid) => self.pids()?,
            By::Name(Name::Format) => self.formats()?,
            By::Name(Name::Tag) => self.tags()?,
            _ => return ask::group(self, by, among, watch),
        };
        let (codes, values) = names.all();
        let of = among.iter().map(|row| codes.get(row).unwrap_or_default()).collect();
        let mut texts = vec![None];
        texts.extend(values.iter().map(|name| Some(name.to_string())));
        Ok(Groups { of, values: texts })
    }

    fn has_field(&self, named: &dyn Fn(&str) -> bool) -> Result<bool> {
        self.fields_view()?.has(named)
    }

    fn record(&self, row: usize) -> Result<Arc<Record>> {
        let one = RowSet::from_rows(self.meta.rows, [row]);
        self.records(&one)?.pop().ok_or_else(|| self.beyond(row))
    }

    fn records(&self, rows: &RowSet) -> Result<Vec<Arc<Record>>> {
        let fields = self.fields_view()?;
        let mut readers = Readers {
            messages: self.messages()?.into_reader()?,
            around: self.around()?.into_reader()?,
            fields: fields.reader()?,
            message: Vec::new(),
            cuts: Cuts::default(),
        };
        rows.iter().map(|row| self.put_together(row, &mut readers).map(Arc::new)).collect()
    }

    fn weight(&self) -> usize {
        fn of<T>(cell: &OnceLock<Vec<T>>) -> usize {
            cell.get().map_or(0, |values| values.len() * size_of::<T>())
        }
        let names = [&self.host, &self.app, &self.pid, &self.format, &self.tag];
        let names = names.into_iter().filter_map(OnceLock::get).map(Named::weight);
        let lines = [&self.around, &self.messages];
        let lines = lines.into_iter().filter_map(OnceLock::get).map(ChunkLines::weight);
        let integers = of(&self.ids) + of(&self.times) + of(&self.received) + of(&self.defects);
        names.sum::<usize>()
            + lines.sum::<usize>()
            + integers
            + of(&self.severity)
            + of(&self.facility)
            + self.via.get().map_or(0, Named::weight)
            + self.fields.get().map_or(0, ChunkFields::weight)
    }

    fn shed(&self) {
        for lines in [&self.around, &self.messages].into_iter().filter_map(OnceLock::get) {
            lines.shed();
        }
    }
}

impl Times for ChunkRows {
    fn times(&self) -> Result<&[Timestamp]> {
        Rows::times(self)
    }

    fn row_ids(&self, which: u32) -> Result<RowIds> {
        let named = |named: &Named<str>| named.row_ids(which);
        match which {
            HOST => self.hosts().map(named),
            APP => self.apps().map(named),
            PID => self.pids().map(named),
            SEVERITY => {
                let code = |severity: &Option<Severity>| severity.map_or(0, |s| s as u32 + 1);
                let rows = self.severities()?.iter().map(code).collect();
                Ok(RowIds { which, rows, texts: None })
            }
            MESSAGE => self.messages()?.row_ids(which),
            SOURCE => Ok(RowIds::of_both(which, &self.row_ids(HOST)?, &self.row_ids(APP)?)),
            BOTH => {
                let around = Self::around(self)?.row_ids(which)?;
                Ok(RowIds::of_both(which, &around, &self.row_ids(MESSAGE)?))
            }
            _ => Err(Error::corrupt(&*self.here, "a column told by what there is not")),
        }
    }
}

/// What stands beside the names that these rows of a chunk have.
struct NamesBeside<'a> {
    chunk: &'a ChunkRows,
    rows: Vec<u32>,
    /// May they be told by host and app? Not where these would ask back.
    by_source: bool,
}

impl Beside for NamesBeside<'_> {
    fn parent(&self, which: u32) -> Read<ParentRows> {
        let unknown = Damage("names told by what does not read");
        let parent = match which {
            SOURCE if self.by_source => self.chunk.row_ids(which).ok(),
            _ => self.chunk.templates(which),
        };
        let parent = parent.ok_or(unknown)?;
        parent.beside(&self.rows).map(Aligned::into_rows).ok_or(unknown)
    }
}

impl Lines for ChunkRows {
    fn around(&self) -> Result<View<'_>> {
        Self::around(self)
    }
    fn messages(&self) -> Result<View<'_>> {
        Self::messages(self)
    }
    fn defects(&self, row: usize) -> Result<Defects> {
        Self::defects(self, row)
    }
}
