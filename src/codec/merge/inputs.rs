//! What a merge knows of all rows of its inputs while it works on one place after the other: which
//! template and which names each row has, as narrow as they may be.
//!
//! Read once, chunk by chunk, before anything is written; values stay where they are. Rows that were
//! kept whole become records again here, as long as there are few: they are cut anew together, since
//! what was rare in each input may be frequent in all.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use super::lines::{self, Holds};
use crate::base::error::{Error, Result};
use crate::base::limits::{CHUNK_BYTES_MAX, CHUNK_ROWS_MAX, MERGE_TEXT_BYTES_MAX};
use crate::base::record::{Record, Via};
use crate::codec::body::{NAMES, Open, Part, Shared};
use crate::codec::lines::View;
use crate::codec::names::Named;
use crate::codec::parents::{APP, HOST, MESSAGE, PID, RowIds, SEVERITY};
use crate::codec::places::Codes;
use crate::codec::record::put_via;
use crate::codec::rows::ChunkRows;
use crate::codec::set::RowSet;
use crate::codec::texts::Texts;
use crate::codec::{Body, ChunkMeta, Rows};

/// The two places of lines, as they are numbered here.
pub(super) const AROUND: usize = 0;
pub(super) const MESSAGES: usize = 1;

/// A chunk of an input.
#[derive(Debug)]
pub(super) struct Chunk {
    /// Which body, and which chunk of it.
    pub(super) body: usize,
    pub(super) n: usize,
    pub(super) rows: usize,
    /// For each place of lines: the kind of each row, and the template of each kind.
    pub(super) kinds: [Codes; 2],
    pub(super) templates: [Vec<u32>; 2],
    /// By [`Shared`]: for each row the number of its name and one, 0 for none; and the names' numbers
    /// among those of all inputs.
    names: Vec<(Codes, Vec<u32>)>,
    pub(super) severity: Vec<u8>,
    pub(super) facility: Vec<u8>,
    /// Rows that are records again, rising, and these.
    pub(super) loose: Vec<u32>,
    pub(super) records: Vec<Arc<Record>>,
}

impl Chunk {
    /// For each row the number of a name among those of all inputs and one; 0 for none.
    pub(super) fn names(&self, shared: Shared) -> impl Iterator<Item = u32> {
        let parts = self.names.get(shared as usize);
        (0..self.rows).map(move |row| {
            let local = parts.and_then(|(codes, _)| codes.get(row)).unwrap_or_default();
            let at = local.checked_sub(1).map(|n| n as usize);
            let name = at.and_then(|at| parts.and_then(|(_, numbers)| numbers.get(at)));
            name.map_or(0, |name| name + 1)
        })
    }

    /// What each row has of a parent, as its columns were told by it.
    pub(super) fn parent(&self, which: u32, names: &[Texts]) -> Option<RowIds> {
        if which == MESSAGE {
            let kinds = self.kinds.get(MESSAGES)?;
            let rows = (0..self.rows).filter_map(|row| kinds.get(row)).collect();
            return Some(RowIds { which, rows, texts: None });
        }
        parent_of(std::slice::from_ref(self), which, names)
    }
}

/// What the rows of chunks, one behind the other, have of a parent that is a name or a code.
fn parent_of(chunks: &[Chunk], which: u32, names: &[Texts]) -> Option<RowIds> {
    let shared = match which {
        HOST => Shared::Host,
        APP => Shared::App,
        PID => Shared::Pid,
        SEVERITY => {
            let codes = chunks.iter().flat_map(|chunk| &chunk.severity);
            return Some(RowIds { which, rows: codes.map(|c| (*c).into()).collect(), texts: None });
        }
        _ => return None,
    };
    let all = names.get(shared as usize)?;
    let mut numbers: Vec<u32> = Vec::new();
    let mut texts: Texts = std::iter::once(&b""[..]).collect();
    let rows = chunks.iter().flat_map(|chunk| chunk.names(shared)).map(|name| {
        let Some(entry) = name.checked_sub(1).map(|entry| entry as usize) else { return 0 };
        if numbers.len() <= entry {
            numbers.resize(entry + 1, 0);
        }
        let Some(number) = numbers.get_mut(entry) else { return 0 };
        if *number == 0 {
            *number = u32::try_from(texts.len()).unwrap_or(u32::MAX);
            texts.push(all.get(entry).unwrap_or_default());
        }
        *number
    });
    let rows = rows.collect();
    Some(RowIds { which, rows, texts: Some(texts) })
}

/// All inputs, and how their chunks are joined.
pub(super) struct Inputs {
    bodies: RefCell<Vec<Arc<Open>>>,
    pub(super) chunks: Vec<Chunk>,
    /// For each chunk that is written the chunks that it is made of, and what is known of it.
    pub(super) joined: Vec<(Range<usize>, ChunkMeta)>,
    /// By [`Shared`], all different names.
    pub(super) names: Vec<Texts>,
    /// For each body and place what the slots of each template hold.
    holds: Vec<[Vec<Option<Vec<Holds>>>; 2]>,
}

/// Names by their texts.
#[derive(Default)]
struct Index(hashbrown::HashMap<Box<[u8]>, u32, foldhash::fast::RandomState>);

impl Index {
    fn number(&mut self, text: &[u8], all: &mut Texts) -> u32 {
        if let Some(number) = self.0.get(text) {
            return *number;
        }
        let number = u32::try_from(all.len()).unwrap_or(u32::MAX);
        all.push(text);
        self.0.insert(text.into(), number);
        number
    }
}

impl Inputs {
    /// Reads what is known of all rows of bodies, each with the bytes of its lines; rows become records
    /// as long as these weigh at most `room`. `None` where `go_on` says no.
    pub(super) fn read(
        bodies: &[(Body, u64)],
        mut room: usize,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Self>> {
        let mut inputs = Self {
            bodies: bodies
                .iter()
                .map(|(body, _)| Arc::new(body.0.again()))
                .collect::<Vec<_>>()
                .into(),
            chunks: Vec::new(),
            joined: join(bodies),
            names: vec![Texts::default(); NAMES],
            holds: Vec::new(),
        };
        let mut indexes: Vec<Index> = Vec::new();
        indexes.resize_with(NAMES, Index::default);
        for (n, (body, text)) in bodies.iter().enumerate() {
            let open = Arc::new(body.0.again());
            let rows: usize = body.chunks().iter().map(|meta| meta.rows).sum();
            let line = usize::try_from(*text).unwrap_or(usize::MAX) / rows.max(1) + LINE_BYTES;
            let mut known = [Vec::new(), Vec::new()];
            for chunk in 0..open.chunks().len() {
                if !go_on() {
                    return Ok(None);
                }
                let rows = ChunkRows::new(Arc::clone(&open), chunk)?;
                let mut read = read(&rows, (n, chunk), &mut inputs.names, &mut indexes)?;
                for (view, known) in [rows.around()?, rows.messages()?].into_iter().zip(&mut known)
                {
                    look(&view, known)?;
                }
                let loose = kept_whole(&rows)?;
                let cost = loose.count().saturating_mul(line);
                if !loose.is_none() && cost <= room {
                    room -= cost;
                    read.records = rows.records(&loose)?;
                    let numbers = loose.iter().map(|row| u32::try_from(row).unwrap_or(u32::MAX));
                    read.loose = numbers.collect();
                }
                inputs.chunks.push(read);
            }
            inputs.holds.push(known);
        }
        Ok(Some(inputs))
    }

    /// What the slots of a template of a chunk's body hold.
    pub(super) fn holds(&self, chunk: &Chunk, place: usize, template: u32) -> &[Holds] {
        let known = self.holds.get(chunk.body).and_then(|places| places.get(place));
        let known = known.and_then(|known| known.get(template as usize)?.as_deref());
        known.unwrap_or_default()
    }

    /// Opens a chunk, without reading anything.
    pub(super) fn open(&self, chunk: &Chunk) -> Result<ChunkRows> {
        ChunkRows::new(self.body(chunk)?, chunk.n)
    }

    /// The body of a chunk.
    pub(super) fn body(&self, chunk: &Chunk) -> Result<Arc<Open>> {
        let missing = || Error::corrupt("a merge", "no such input");
        self.bodies.borrow().get(chunk.body).cloned().ok_or_else(missing)
    }

    /// The chunk of an input, by its number among all.
    pub(super) fn chunk(&self, n: usize) -> Result<&Chunk> {
        self.chunks.get(n).ok_or_else(|| Error::corrupt("a merge", "no such input"))
    }

    /// The numbers of the chunks that a chunk is made of.
    pub(super) fn numbers(&self, joined: usize) -> Range<usize> {
        self.joined.get(joined).map_or(0..0, |(range, _)| range.clone())
    }

    /// Lets go of what was read of the bodies.
    pub(super) fn let_go(&self) {
        for body in self.bodies.borrow_mut().iter_mut() {
            *body = Arc::new(body.again());
        }
    }

    /// The chunks that a chunk is made of.
    pub(super) fn of(&self, joined: usize) -> &[Chunk] {
        self.chunks.get(self.numbers(joined)).unwrap_or_default()
    }

    /// What each row of a chunk that is written has of a parent that is a name or a code.
    pub(super) fn parent(&self, joined: usize, which: u32) -> RowIds {
        let found = parent_of(self.of(joined), which, &self.names);
        found.unwrap_or(RowIds { which, rows: Vec::new(), texts: None })
    }

    /// A list of integers of all rows of a chunk that is written.
    pub(super) fn integers(&self, joined: usize, part: Part) -> Result<Vec<i64>> {
        let mut all = Vec::new();
        for chunk in self.of(joined) {
            all.extend(self.open(chunk)?.integers(part)?);
        }
        Ok(all)
    }
}

/// What a record weighs beside its line, bytes, about.
const LINE_BYTES: usize = 1_024;

/// Joins small chunks, as long as their rows and their text are few and their ids rise.
fn join(bodies: &[(Body, u64)]) -> Vec<(Range<usize>, ChunkMeta)> {
    let mut joined: Vec<(Range<usize>, ChunkMeta)> = Vec::new();
    let mut bytes = 0;
    let mut at = 0;
    for (body, text) in bodies {
        let all: usize = body.chunks().iter().map(|meta| meta.rows).sum();
        let text = (*text).min(MERGE_TEXT_BYTES_MAX);
        for meta in body.chunks() {
            // As if all lines were alike, which is right where there is one chunk only.
            let more = text.saturating_mul(meta.rows as u64) / all.max(1) as u64;
            match joined.last_mut() {
                Some((range, last))
                    if last.rows + meta.rows <= CHUNK_ROWS_MAX
                        && bytes + more <= CHUNK_BYTES_MAX as u64
                        && last.last_id < meta.first_id =>
                {
                    range.end = at + 1;
                    last.rows += meta.rows;
                    last.last_id = meta.last_id;
                    last.min_time = last.min_time.min(meta.min_time);
                    last.max_time = last.max_time.max(meta.max_time);
                    bytes += more;
                }
                _ => {
                    joined.push((at..at + 1, meta.clone()));
                    bytes = more;
                }
            }
            at += 1;
        }
    }
    joined
}

fn read(
    rows: &ChunkRows,
    (body, n): (usize, usize),
    names: &mut [Texts],
    indexes: &mut [Index],
) -> Result<Chunk> {
    let (around, messages) = (rows.around()?, rows.messages()?);
    let kinds = [around.places()?.kinds().clone(), messages.places()?.kinds().clone()];
    let templates = [&around, &messages]
        .map(|view| view.lines.used().iter().map(|(template, _)| *template).collect());
    let mut all = Vec::new();
    for shared in [Shared::Host, Shared::App, Shared::Pid, Shared::Format, Shared::Via, Shared::Tag]
    {
        let (Some(texts), Some(index)) =
            (names.get_mut(shared as usize), indexes.get_mut(shared as usize))
        else {
            continue;
        };
        let mut number = |text: &[u8]| index.number(text, texts);
        let named = match shared {
            Shared::Host => rows.hosts()?,
            Shared::App => rows.apps()?,
            Shared::Pid => rows.pids()?,
            Shared::Format => rows.formats()?,
            Shared::Tag => rows.tags()?,
            _ => {
                all.push(numbered(rows.vias()?, |via: &Via| {
                    let mut text = Vec::new();
                    put_via(via, &mut text);
                    number(&text)
                }));
                continue;
            }
        };
        all.push(numbered(named, |name: &str| number(name.as_bytes())));
    }
    let severity = rows.severities()?.iter().map(|s| s.map_or(0, |s| s as u8 + 1)).collect();
    let facility = rows.facilities()?.iter().map(|f| f.map_or(0, |f| f.code() + 1)).collect();
    let (loose, records) = (Vec::new(), Vec::new());
    let rows = rows.meta().rows;
    Ok(Chunk { body, n, rows, kinds, templates, names: all, severity, facility, loose, records })
}

fn numbered<T: ?Sized>(named: &Named<T>, mut number: impl FnMut(&T) -> u32) -> (Codes, Vec<u32>) {
    let (codes, values) = named.all();
    (codes.clone(), values.iter().map(|value| number(value)).collect())
}

/// The rows whose texts were kept whole, or parted around the message only.
fn kept_whole(rows: &ChunkRows) -> Result<RowSet> {
    let mut whole = RowSet::none(rows.meta().rows);
    for view in [rows.around()?, rows.messages()?] {
        let used = view.lines.used().iter();
        let marked: Vec<bool> = used.map(|(template, _)| *template <= lines::AROUND).collect();
        if marked.iter().any(|marked| *marked) {
            whole = whole.or(&view.places()?.kinds().marked(&marked));
        }
    }
    Ok(whole)
}

/// Finds out what the slots of a chunk's templates hold, where it is not known yet.
fn look(view: &View<'_>, known: &mut Vec<Option<Vec<Holds>>>) -> Result<()> {
    let firsts = first_rows(view)?;
    let used = view.lines.used().iter().map(|(template, _)| *template);
    let mut new: Vec<(usize, u32)> = firsts
        .into_iter()
        .zip(used)
        .filter(|(_, template)| known.get(*template as usize).is_none_or(Option::is_none))
        .collect();
    // Rows are read one after the other.
    new.sort_unstable();
    let View { lines: own, shared, times, here } = *view;
    let mut reader = View { lines: own, shared, times, here }.into_reader()?;
    for (row, template) in new {
        let n = template as usize;
        if known.len() <= n {
            known.resize(n + 1, None);
        }
        if let Some(cell) = known.get_mut(n) {
            *cell = Some(lines::holds(view, &mut reader, (template, row))?);
        }
    }
    Ok(())
}

/// The first row of each kind.
fn first_rows(view: &View<'_>) -> Result<Vec<usize>> {
    let kinds = view.places()?.kinds();
    let mut firsts = vec![usize::MAX; view.lines.used().len()];
    kinds.each(|row, kind| {
        if let Some(first) = firsts.get_mut(kind) {
            *first = row.min(*first);
        }
    });
    Ok(firsts)
}
