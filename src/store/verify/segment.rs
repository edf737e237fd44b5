//! One segment file: is it what was written, does all of it read, and is it where it belongs?

use std::path::Path;

use super::{Cost, Damage};
use crate::base::error::{Error, Result};
use crate::base::fold::fold;
use crate::base::limits::SOURCES_MAX;
use crate::base::machine::Disk;
use crate::base::split::tokens;
use crate::codec::filter::{Filter, is_filtered, token_hash};
use crate::codec::{ChunkMeta, Rows};
use crate::store::Key;
use crate::store::chunk_index::ChunkIndex;
use crate::store::segment::{Kind, Open, SegmentMeta};
use crate::store::sources::Sources;

/// Rows of a chunk whose words are looked for in index and filter.
const SAMPLES: usize = 64;

/// What was found out.
#[derive(Default)]
pub(super) struct Found {
    pub(super) damages: Vec<Damage>,
    /// Records that read.
    pub(super) records: u64,
    /// Bytes that were read.
    pub(super) bytes: u64,
}

/// Reads all of a segment; `meant` is what the catalogue says of it.
pub(super) fn check(disk: &dyn Disk, path: &Path, meant: Option<&SegmentMeta>) -> Result<Found> {
    let mut checking = Checking { place: path.display().to_string(), found: Found::default() };
    let whole = meant.and_then(|meta| Cost::of_chunks(&meta.chunks));
    let open = match Open::read(disk, path) {
        Ok(open) => open,
        Err(error) if error.is_damage() => {
            checking.say(what_of(error), whole.or(Some(super::UNKNOWN)));
            return Ok(checking.found);
        }
        Err(error) => return Err(error),
    };
    let meta = open.meta();
    checking.found.bytes = meta.len;
    if let Some(what) = meant.and_then(|meant| difference(meant, meta)) {
        checking.say(what, whole);
        return Ok(checking.found);
    }
    let named = meta.path(path.ancestors().nth(3).unwrap_or(path));
    if named != path {
        let what = format!("by its footer it belongs to {}", named.display());
        checking.say(what, None);
    }
    checking.content(&open)?;
    match open.check_all() {
        Err(error) if error.is_damage() => {
            // What it is was said already, where it is something that is read.
            if checking.found.damages.is_empty() {
                checking.say(what_of(error), None);
            }
        }
        other => other?,
    }
    Ok(checking.found)
}

/// In what a file is another than the catalogue means.
fn difference(meant: &SegmentMeta, is: &SegmentMeta) -> Option<String> {
    if meant.number != is.number {
        return Some(format!("swapped: it is segment {}, not {}", is.number, meant.number));
    }
    if meant.footer != is.footer {
        return Some("changed: its hash is not the one in catalogue and manifest".to_owned());
    }
    None
}

struct Checking {
    place: String,
    found: Found,
}

impl Checking {
    fn say(&mut self, what: impl Into<String>, cost: Option<Cost>) {
        self.found.damages.push(Damage { place: self.place.clone(), what: what.into(), cost });
    }

    /// Damage, or an error that says nothing of the file.
    fn tried<T>(&mut self, got: Result<T>, cost: Option<Cost>) -> Result<Option<T>> {
        match got {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_damage() => {
                self.say(what_of(error), cost);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn content(&mut self, open: &Open) -> Result<()> {
        let meta = open.meta();
        let index = open.section(Kind::Index).and_then(|s| ChunkIndex::open(&s, meta.chunks.len()));
        let index = self.tried(index, None)?;
        let filter = open.section(Kind::Filter).and_then(|s| Filter::from_bytes(&s));
        let filter = self.tried(filter, None)?;
        let told = open.sources();
        let told = self.tried(told, None)?;
        let (mut sources, mut bytes, mut whole) = (Sources::default(), 0, true);
        let mut last_id = 0;
        for (n, chunk) in meta.chunks.iter().enumerate() {
            if chunk.first_id <= last_id || chunk.last_id < chunk.first_id {
                self.say(format!("chunk {n}: its ids do not follow those before"), None);
            }
            last_id = chunk.last_id;
            let mut read = || {
                let rows = open.rows(n)?;
                check_rows(&*rows, chunk, &mut sources, &mut bytes)?;
                Ok(rows)
            };
            let read = read().map_err(|error| in_chunk(n, error));
            let Some(rows) = self.tried(read, Some(Cost::of_chunk(chunk)))? else {
                whole = false;
                continue;
            };
            self.found.records += chunk.rows as u64;
            let denied = denied(&*rows, n, index.as_ref(), filter.as_ref());
            let denied = self.tried(denied.map_err(|error| in_chunk(n, error)), None)?;
            if let Some(Some(word)) = denied {
                self.say(format!("chunk {n}: index or filter deny {word:?}, which is there"), None);
            }
        }
        if whole && bytes != meta.bytes {
            self.say(format!("{bytes} bytes of lines, its footer says {}", meta.bytes), None);
        }
        // Beyond the bound, which pairs are told apart depends on what came first.
        let list = sources.list();
        if whole && list.len() < SOURCES_MAX && told.is_some_and(|told| told.list() != list) {
            self.say("its sources are not those of its records", None);
        }
        Ok(())
    }
}

fn in_chunk(n: usize, error: Error) -> Error {
    match error {
        Error::Corrupt { place, what } => {
            Error::Corrupt { place, what: format!("chunk {n}: {what}") }
        }
        other => other,
    }
}

/// Reads every record and holds it against what the table says of the chunk.
fn check_rows(
    rows: &dyn Rows,
    meta: &ChunkMeta,
    sources: &mut Sources,
    bytes: &mut u64,
) -> Result<()> {
    let wrong = |what: &str| Error::corrupt("", what);
    let ids = rows.ids()?;
    if ids.len() != meta.rows || !ids.is_sorted_by(|a, b| a < b) {
        return Err(wrong("its ids do not rise, or are not as many as its rows"));
    }
    if (ids.first(), ids.last()) != (Some(&meta.first_id), Some(&meta.last_id)) {
        return Err(wrong("its ids are not those of the table"));
    }
    let times = rows.times()?;
    let ends = times.iter().min().zip(times.iter().max());
    if times.len() != meta.rows || ends != Some((&meta.min_time, &meta.max_time)) {
        return Err(wrong("its times are not those of the table"));
    }
    for (row, (id, time)) in ids.iter().zip(times).enumerate() {
        let record = rows.record(row)?;
        if record.id != *id || record.time != *time {
            return Err(wrong("a record is not the one of its row"));
        }
        sources.count(&record);
        *bytes += record.line.raw().len() as u64;
    }
    Ok(())
}

/// A token that a record of the chunk has, and index or filter say that none has.
fn denied(
    rows: &dyn Rows,
    n: usize,
    index: Option<&ChunkIndex>,
    filter: Option<&Filter>,
) -> Result<Option<String>> {
    let all = rows.meta().rows;
    for row in (0..all).step_by((all / SAMPLES).max(1)) {
        let record = rows.record(row)?;
        let text = fold(record.message()).into_owned();
        for token in tokens(&text) {
            let key = Key::Token(token.to_owned());
            let may = match index {
                Some(index) => index.may_hold(&key)?.get(n).copied().unwrap_or(false),
                None => true,
            };
            let kept = !is_filtered(token) || filter.is_none_or(|f| f.may_hold(token_hash(token)));
            if !may || !kept {
                return Ok(Some(token.to_owned()));
            }
        }
    }
    Ok(None)
}

fn what_of(error: Error) -> String {
    match error {
        Error::Corrupt { what, .. } => what,
        Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            "it is missing".to_owned()
        }
        Error::Io { source, .. } => source.to_string(),
        Error::Version { got, want, .. } => {
            format!("it has format version {got}, this program reads {want}")
        }
        other => other.to_string(),
    }
}
