//! Reads everything below a data directory and says what is damaged and what that costs.
//!
//! Reads only, and takes no lock, so it works on a copy and beside a running server: what a seal, a
//! merge or retention replaces meanwhile is looked up anew in the catalogue before it is called missing.
//! Nothing is believed because something else says so: log entries and every record are decoded, chunks
//! are held against the table, the index and the filter against the records, segments against their own
//! hash, the catalogue and the manifest.

pub mod dump;
mod segment;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::error::{Error, Result};
use crate::base::machine::{Disk, ReadAt, TEMP_SUFFIX};
use crate::base::time::Timestamp;
use crate::codec::ChunkMeta;
use crate::codec::record::read_record;
use crate::store::catalog::{self, Catalog};
use crate::store::log;
use crate::store::manifest::{self, Head, Stamp};
use crate::store::open::{LAYOUT_VERSION, VERSION_TEXT, class_dirs};
use crate::store::segment::SegmentMeta;

/// How often the catalogue is asked again for what came meanwhile; a busy server has always more.
const ROUNDS_MAX: usize = 8;
/// Names in the data directory that belong to it, beside those of the store's own files.
const KNOWN: [&str; 7] =
    ["lock", "VERSION", "listening.json", "log", "segments", "quarantine", catalog::NAME];

/// What is told while it goes on.
pub enum Event<'a> {
    /// Something is damaged.
    Damage(&'a Damage),
    /// Something is odd and costs nothing.
    Note(String),
    /// So many bytes of all were read.
    Progress(u64, u64),
}

/// One thing that is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file, and where in it.
    pub place: String,
    /// What is wrong.
    pub what: String,
    /// What it costs; `None`: no record.
    pub cost: Option<Cost>,
}

/// Records that cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// How many; 0: nobody knows.
    pub records: u64,
    /// The first and the last of their ids; ids between may be of others.
    pub ids: (u64, u64),
    /// Their earliest and latest time, where that is known.
    pub times: Option<(Timestamp, Timestamp)>,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.place, self.what)?;
        let Some(cost) = &self.cost else { return f.write_str("; costs no record") };
        match cost.records {
            0 => f.write_str("; costs an unknown number of records")?,
            1 => f.write_str("; costs 1 record")?,
            n => write!(f, "; costs {n} records")?,
        }
        let (first, last) = cost.ids;
        if last > 0 {
            write!(f, ", ids {first} to {last}")?;
        }
        cost.times.map_or(Ok(()), |(from, to)| write!(f, ", times {from} to {to}"))
    }
}

impl Cost {
    fn of_chunk(meta: &ChunkMeta) -> Self {
        Self {
            records: meta.rows as u64,
            ids: (meta.first_id, meta.last_id),
            times: Some((meta.min_time, meta.max_time)),
        }
    }

    /// `None` for no chunks.
    fn of_chunks<'a>(metas: impl IntoIterator<Item = &'a ChunkMeta>) -> Option<Self> {
        metas.into_iter().map(Self::of_chunk).reduce(|a, b| Self {
            records: a.records + b.records,
            ids: (a.ids.0.min(b.ids.0), a.ids.1.max(b.ids.1)),
            times: a.times.zip(b.times).map(|(x, y)| (x.0.min(y.0), x.1.max(y.1))),
        })
    }
}

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Segment files.
    pub segments: u64,
    /// Log files.
    pub logs: u64,
    /// Bytes of all.
    pub bytes: u64,
    /// Records that are whole, in segments and, where no segment has them yet, in the log.
    pub records: u64,
    /// How many things are damaged.
    pub damages: u64,
    /// Records that they cost, as far as that is known.
    pub lost: u64,
}

/// Reads everything.
///
/// # Errors
/// What kept it from reading on: no data directory, another version of its format, a disk that fails.
pub fn verify(disk: &dyn Disk, data: &Path, tell: &mut dyn FnMut(Event<'_>)) -> Result<Summary> {
    let names: BTreeSet<String> = disk.list(data)?.into_iter().map(|entry| entry.name).collect();
    if !names.contains("VERSION") && !names.contains("segments") && !names.contains("log") {
        let what = format!("data directory at {}", data.display());
        return Err(Error::NotFound { what });
    }
    let mut verifier = Verifier {
        disk,
        data,
        segments: data.join("segments"),
        log: data.join("log"),
        tell,
        summary: Summary::default(),
        total: 0,
        seen: BTreeSet::new(),
        next_id: None,
    };
    verifier.version(&names)?;
    verifier.odd(&names)?;
    verifier.measure()?;
    let catalog = verifier.catalog(&names)?;
    verifier.logs(catalog.as_ref())?;
    match catalog {
        Some(catalog) => verifier.catalogued(catalog)?,
        None => verifier.uncatalogued()?,
    }
    Ok(verifier.summary)
}

struct Verifier<'a> {
    disk: &'a dyn Disk,
    data: &'a Path,
    segments: PathBuf,
    log: PathBuf,
    tell: &'a mut dyn FnMut(Event<'_>),
    summary: Summary,
    /// Bytes to read.
    total: u64,
    /// Numbers of segments that were looked at.
    seen: BTreeSet<u64>,
    /// The id behind all that the log files so far have, where that is known.
    next_id: Option<u64>,
}

impl Verifier<'_> {
    fn damage(&mut self, place: impl Into<String>, what: impl Into<String>, cost: Option<Cost>) {
        let damage = Damage { place: place.into(), what: what.into(), cost };
        self.summary.damages += 1;
        self.summary.lost += cost.map_or(0, |cost| cost.records);
        (self.tell)(Event::Damage(&damage));
    }

    /// An error that says its own place.
    fn damaged(&mut self, error: &Error, cost: Option<Cost>) {
        match error {
            Error::Corrupt { place, what } => self.damage(place.clone(), what.clone(), cost),
            Error::Io { path, source, .. } => {
                self.damage(path.display().to_string(), source.to_string(), cost);
            }
            Error::Version { place, got, want } => {
                let what = format!("it has format version {got}, this program reads {want}");
                self.damage(place.clone(), what, cost);
            }
            other => self.damage(self.data.display().to_string(), other.to_string(), cost),
        }
    }

    fn note(&mut self, what: String) {
        (self.tell)(Event::Note(what));
    }

    fn read(&mut self, bytes: u64) {
        self.summary.bytes += bytes;
        (self.tell)(Event::Progress(self.summary.bytes, self.total.max(self.summary.bytes)));
    }

    fn version(&mut self, names: &BTreeSet<String>) -> Result<()> {
        let path = self.data.join("VERSION");
        let place = path.display().to_string();
        if !names.contains("VERSION") {
            self.damage(place, "it is missing", None);
            return Ok(());
        }
        let bytes = self.disk.read(&path)?;
        let text = String::from_utf8_lossy(&bytes);
        if bytes == format!("{VERSION_TEXT}{LAYOUT_VERSION}\n").as_bytes() {
            return Ok(());
        }
        // A number of one digit more or less may be a flipped bit; the files say what they are.
        match text.strip_prefix(VERSION_TEXT).and_then(|n| n.trim().parse::<u32>().ok()) {
            Some(got) if got != LAYOUT_VERSION => {
                self.damage(
                    place,
                    format!("it says version {got}, this program reads {LAYOUT_VERSION}"),
                    None,
                );
            }
            _ => self.damage(place, "it does not read", None),
        }
        Ok(())
    }

    /// Says what does not belong there, and what was set aside before.
    fn odd(&mut self, names: &BTreeSet<String>) -> Result<()> {
        for name in names {
            let known = KNOWN.contains(&name.as_str()) || name == manifest::NAME;
            if !known && !name.ends_with(TEMP_SUFFIX) {
                self.note(format!("{}: not a file of the store", self.data.join(name).display()));
            }
        }
        let aside = self.disk.list(&self.data.join("quarantine"))?;
        if !aside.is_empty() {
            let bytes: u64 = aside.iter().map(|entry| entry.len).sum();
            self.note(format!(
                "{} files, {bytes} bytes, were set aside before (quarantine/)",
                aside.len()
            ));
        }
        Ok(())
    }

    fn measure(&mut self) -> Result<()> {
        let mut dirs = class_dirs(self.disk, &self.segments)?;
        dirs.push(self.log.clone());
        for dir in dirs {
            self.total += self.disk.list(&dir)?.iter().map(|entry| entry.len).sum::<u64>();
        }
        Ok(())
    }

    /// The catalogue, held against the manifest; `None` where it does not read.
    fn catalog(&mut self, names: &BTreeSet<String>) -> Result<Option<Catalog>> {
        let place = self.data.join(catalog::NAME).display().to_string();
        if !names.contains(catalog::NAME) {
            if names.contains(manifest::NAME) || !class_dirs(self.disk, &self.segments)?.is_empty()
            {
                self.damage(place, "it is missing; a start makes it anew from the segments", None);
            }
            return Ok(None);
        }
        let catalog = match Catalog::read(self.disk, self.data) {
            Ok(catalog) => catalog,
            Err(error) if error.is_damage() => {
                self.damaged(&error, None);
                None
            }
            Err(error) => return Err(error),
        };
        // A server that runs may have changed both between the two looks.
        let mut told = self.chain(catalog.as_ref())?;
        let mut catalog = catalog;
        for _ in 0..ROUNDS_MAX {
            if told.is_empty() || catalog.is_none() {
                break;
            }
            let Ok(again) = Catalog::read(self.disk, self.data) else { break };
            if again == catalog {
                break;
            }
            catalog = again;
            told = self.chain(catalog.as_ref())?;
        }
        for what in told {
            self.damage(manifest::path(self.data).display().to_string(), what, None);
        }
        Ok(catalog)
    }

    /// What is wrong with the manifest, and where it says something else than the catalogue.
    fn chain(&mut self, catalog: Option<&Catalog>) -> Result<Vec<String>> {
        let path = manifest::path(self.data);
        let place = path.display().to_string();
        if !self.disk.list(self.data)?.iter().any(|entry| entry.name == manifest::NAME) {
            return Ok(vec!["it is missing: what became of segments is not known".to_owned()]);
        }
        let file = self.disk.open(&path)?;
        let start = match manifest::start(&*file, &place) {
            Ok((start, _)) => start,
            Err(error) if error.is_damage() => return Ok(vec![what_of(error)]),
            Err(error) => return Err(error),
        };
        let mut stamps: BTreeMap<u64, Stamp> = BTreeMap::new();
        let each = &mut |entry: manifest::Entry| {
            for stamp in &entry.removed {
                stamps.remove(&stamp.number);
            }
            stamps.extend(entry.added.into_iter().map(|stamp| (stamp.number, stamp)));
        };
        let known = catalog.map_or(Head { len: file.len(), ..Head::default() }, |c| c.manifest);
        let before = UpTo { len: known.len.min(file.len()), file: Arc::clone(&file) };
        let walked = manifest::walk(&before, &place, start, each)?;
        if let Some(error) = walked.broken {
            return Ok(vec![what_of(error)]);
        }
        let Some(catalog) = catalog else { return Ok(Vec::new()) };
        if walked.head != known {
            let what = format!(
                "it is not the one that the catalogue knows: cut or changed at {} of {} bytes",
                walked.head.len, known.len
            );
            return Ok(vec![what]);
        }
        let mut told = Vec::new();
        for meta in &catalog.segments {
            match stamps.remove(&meta.number) {
                Some(stamp) if stamp == meta.stamp() => {}
                Some(_) => told.push(format!(
                    "of segment {} it says something else than the catalogue: changed or swapped",
                    meta.number
                )),
                None => {
                    told.push(format!("it does not know segment {} of the catalogue", meta.number));
                }
            }
        }
        for stamp in stamps.values() {
            told.push(format!(
                "segment {} of {} records, ids {} to {}, is not in the catalogue: missing",
                stamp.number, stamp.records, stamp.first_id, stamp.last_id
            ));
        }
        // What is behind the head did not come into force, or is newer than the catalogue was.
        let behind = manifest::walk(&*file, &place, known, &mut |_| ())?;
        if let Some(error) = behind.broken {
            self.note(format!("{place}: {} behind what the catalogue knows", what_of(error)));
        }
        Ok(told)
    }

    fn logs(&mut self, catalog: Option<&Catalog>) -> Result<()> {
        let sealed_below = catalog.map_or(0, |catalog| catalog.sealed_below);
        self.next_id = catalog.map(|catalog| catalog.sealed_below.max(1));
        let files = self.disk.list(&self.log)?;
        let newest = files.last().map(|entry| entry.name.clone());
        for entry in files {
            let Some(seq) = log::seq_of(&entry.name) else {
                self.note(format!("{}: not a log file", self.log.join(&entry.name).display()));
                continue;
            };
            match self.log_file(seq, newest.as_ref() == Some(&entry.name), sealed_below) {
                // Sealed and let go meanwhile.
                Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        Ok(())
    }

    fn log_file(&mut self, seq: u64, newest: bool, sealed_below: u64) -> Result<()> {
        let path = log::path(&self.log, seq);
        let place = path.display().to_string();
        let file = self.disk.open(&path)?;
        let len = file.len();
        let want = log::file_header(seq);
        let header = file.read_at(0, want.len().min(usize::try_from(len).unwrap_or(0)))?;
        if !want.starts_with(&header) {
            self.damage(place.clone(), "its header is damaged", None);
        }
        let mut next = self.next_id;
        let mut gaps = Vec::new();
        let mut unread = Vec::new();
        let mut records = 0;
        let replayed = log::replay(file, &place, &mut |entry| {
            if let Some(next) = next.filter(|next| *next < entry.first_id) {
                gaps.push((next, entry.first_id - 1));
            }
            let end = entry.first_id + u64::from(entry.records);
            next = Some(end);
            let mut rest = entry.payload;
            for id in entry.first_id..end {
                match read_record(&mut rest) {
                    Ok(record) if record.id == id => records += u64::from(id >= sealed_below),
                    _ => {
                        unread.push((id, end - 1));
                        break;
                    }
                }
            }
            Ok(())
        });
        let replayed = match replayed {
            Ok(replayed) => replayed,
            Err(error @ Error::Version { .. }) => {
                self.damaged(&error, None);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        for (first, last) in unread {
            self.damage(place.clone(), "an entry does not read", lost(first, last, sealed_below));
        }
        if replayed.damaged_bytes > 0 {
            let what = format!("{} bytes are no entry", replayed.damaged_bytes);
            let ids = gaps.first().zip(gaps.last()).map(|(a, b)| (a.0, b.1));
            let cost = ids.map_or(Some(UNKNOWN), |(first, last)| lost(first, last, sealed_below));
            self.damage(place.clone(), what, cost);
        }
        match replayed.tail {
            // A crash, or a server that writes it just now: nobody was told that it is there.
            Some((at, true)) if newest => {
                self.note(format!("{place}: the last {} bytes are half a write", len - at));
            }
            Some((at, cut)) if !cut || at > 0 => {
                let what = format!("the last {} bytes are no entry", len - at);
                let first = next.unwrap_or(0);
                let ends = replayed.lost_to_id.checked_sub(1).filter(|last| *last >= first);
                let cost =
                    ends.map_or(Some(UNKNOWN), |last| lost(first.max(1), last, sealed_below));
                self.damage(place, what, cost);
            }
            _ => {}
        }
        self.next_id = next;
        self.summary.logs += 1;
        self.summary.records += records;
        self.read(len);
        Ok(())
    }

    /// Every segment of the catalogue, and of those that follow it meanwhile.
    fn catalogued(&mut self, mut catalog: Catalog) -> Result<()> {
        for _ in 0..ROUNDS_MAX {
            let new: Vec<SegmentMeta> = catalog
                .segments
                .iter()
                .filter(|m| !self.seen.contains(&m.number))
                .cloned()
                .collect();
            if new.is_empty() {
                break;
            }
            for meta in new {
                self.seen.insert(meta.number);
                self.segment(&meta)?;
            }
            match Catalog::read(self.disk, self.data) {
                Ok(Some(now)) => catalog = now,
                _ => break,
            }
        }
        let known: BTreeSet<PathBuf> =
            catalog.segments.iter().map(|meta| meta.path(&self.segments)).collect();
        for (path, _) in self.files()? {
            let seen = |number: &u64| self.seen.contains(number);
            let number = number_of(&path);
            if !known.contains(&path) && !number.as_ref().is_some_and(seen) {
                let place = path.display();
                self.note(format!(
                    "{place}: not in the catalogue; left by a crash, or being written"
                ));
            }
        }
        Ok(())
    }

    fn segment(&mut self, meta: &SegmentMeta) -> Result<()> {
        let path = meta.path(&self.segments);
        let found = segment::check(self.disk, &path, Some(meta))?;
        if !found.damages.is_empty() && self.is_gone(meta) {
            return Ok(());
        }
        self.take(found);
        Ok(())
    }

    /// Merged or dropped since the catalogue was read?
    fn is_gone(&self, meta: &SegmentMeta) -> bool {
        match Catalog::read(self.disk, self.data) {
            Ok(Some(now)) => !now.segments.iter().any(|other| other.number == meta.number),
            _ => false,
        }
    }

    fn take(&mut self, found: segment::Found) {
        self.summary.segments += 1;
        self.summary.records += found.records;
        for Damage { place, what, cost } in found.damages {
            self.damage(place, what, cost);
        }
        self.read(found.bytes);
    }

    /// Without a catalogue, whatever segment files there are.
    fn uncatalogued(&mut self) -> Result<()> {
        for (path, _) in self.files()? {
            let found = segment::check(self.disk, &path, None)?;
            self.take(found);
        }
        Ok(())
    }

    fn files(&self) -> Result<BTreeMap<PathBuf, u64>> {
        let mut files = BTreeMap::new();
        for dir in class_dirs(self.disk, &self.segments)? {
            let entries = self.disk.list(&dir)?.into_iter();
            let segments = entries.filter(|entry| number_of(Path::new(&entry.name)).is_some());
            files.extend(segments.map(|entry| (dir.join(&entry.name), entry.len)));
        }
        Ok(files)
    }
}

/// Nobody knows which.
const UNKNOWN: Cost = Cost { records: 0, ids: (0, 0), times: None };

/// Log entries of these ids are lost; those below are in segments.
fn lost(first: u64, last: u64, sealed_below: u64) -> Option<Cost> {
    let first = first.max(sealed_below);
    (first <= last).then(|| Cost { records: last - first + 1, ids: (first, last), times: None })
}

/// The number of a segment by the name of its file.
fn number_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_suffix(".seg")?.parse().ok()
}

/// What an error says beside its place.
fn what_of(error: Error) -> String {
    match error {
        Error::Corrupt { what, .. } => what,
        other => other.to_string(),
    }
}

/// The beginning of a file.
struct UpTo {
    file: Arc<dyn ReadAt>,
    len: u64,
}

impl ReadAt for UpTo {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, at: u64, len: usize) -> Result<Vec<u8>> {
        self.file.read_at(at, len)
    }
}
