//! What is found on disk at a start, and what becomes of each piece of it.
//!
//! | found | then |
//! |---|---|
//! | a catalogued segment | is served; opened when first asked |
//! | a catalogued segment that is missing or has another size | leaves the catalogue; quarantine; said loudly; what the log still has of it is sealed anew, the rest is told to whoever asks (`Lost`) |
//! | a segment that is not catalogued, its records in the log or another segment (left of a seal or merge that did not end, or merged) | is removed |
//! | a segment that retention dropped, as the manifest says (held by a reader to the end) | is removed |
//! | a segment that is not catalogued, its records nowhere else | quarantine; served where the catalogue was lost |
//! | no catalogue that can be read | is made anew from the segments themselves, of damaged ones what reads |
//! | a log file | gives the records that are in no segment; goes where it gives none |
//! | the torn end of the newest log file | is cut off: nobody was told that it is there |
//! | damage inside a log file | what is behind it is still read; the file is kept in the quarantine |
//! | temporary files | are removed |
//! | another format version | nothing is touched; [`Error::Version`] |

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, Weak};

use crate::base::error::{Error, Result};
use crate::base::limits::CACHE_BYTES_MAX;
use crate::base::machine::{Clock, Disk, TEMP_SUFFIX};
use crate::base::record::{Record, Via};
use crate::codec::ChunkMeta;
use crate::codec::record::read_record;
use crate::config::is_class_name;
use crate::store::append::Writer;
use crate::store::cache::Cache;
use crate::store::catalog::{self, Catalog};
use crate::store::class::Classes;
use crate::store::cut::Day;
use crate::store::ledger;
use crate::store::live::{LogFile, Part};
use crate::store::log::{self, Entries, LogWriter};
use crate::store::manifest::Hash;
use crate::store::merge::Bounds;
use crate::store::sealed::{Access, Segment};
use crate::store::segment::{Open, SegmentMeta, is_day};
use crate::store::{Options, Queue, Shared, State};

/// Version of the layout of the whole directory.
pub(super) const LAYOUT_VERSION: u32 = 0;
/// What stands in `VERSION` before the number.
pub(super) const VERSION_TEXT: &str = "shirabe data format ";

/// Where things are.
pub(super) struct Dirs {
    pub(super) data: PathBuf,
    pub(super) log: PathBuf,
    pub(super) segments: PathBuf,
    pub(super) quarantine: PathBuf,
}

/// A store whose threads do not run yet.
pub(super) struct Opened {
    pub(super) shared: Arc<Shared>,
    pub(super) writer: Writer,
    pub(super) lock: Box<dyn Send + Sync>,
}

/// Locks the directory and takes stock of it.
pub(super) fn open(
    options: Options,
    disk: Arc<dyn Disk>,
    clock: &Arc<dyn Clock>,
    merge_bounds: Bounds,
) -> Result<Opened> {
    let started = clock.monotonic();
    let data = options.data_dir;
    let dirs = Dirs {
        log: data.join("log"),
        segments: data.join("segments"),
        quarantine: data.join("quarantine"),
        data,
    };
    disk.create_dir_all(&dirs.data)?;
    let lock = disk.lock(&dirs.data.join("lock"))?;
    check_version(&*disk, &dirs.data)?;
    for dir in [&dirs.log, &dirs.segments, &dirs.quarantine] {
        disk.create_dir_all(dir)?;
    }
    let mut stock = Stock::new(&*disk, &dirs)?;
    stock.read_logs()?;
    stock.settle_segments()?;
    stock.drop_sealed_records()?;
    stock.release_logs()?;
    let mut found = stock.end()?;
    let (next_log, next_id) = (found.next_log, found.next_id);
    let (said, changed) = (found.said.take(), found.changed);
    let time = Arc::clone(clock);
    let ledger = ledger::open(&*disk, &dirs, time, said.as_ref(), &mut found.catalog, changed)?;

    let shared = Arc::new_cyclic(|weak: &Weak<Shared>| {
        let weak = Weak::clone(weak);
        let on_damage = Box::new(move |number| {
            if let Some(shared) = weak.upgrade() {
                shared.state().suspects.push(number);
                shared.changed.notify_all();
            }
        });
        let cache = Cache::new(CACHE_BYTES_MAX);
        let access = Arc::new(Access { disk: Arc::clone(&disk), cache, on_damage });
        let state = found.state(&dirs.segments, &access);
        Shared {
            dirs,
            disk: Arc::clone(&disk),
            metrics: options.metrics,
            live_bytes_max: options.live_bytes_max,
            free_floor_bytes: options.storage.min_free_bytes,
            classes: Classes::new(options.retention),
            access,
            merge_bounds,
            queue: Mutex::new(Queue::default()),
            queued: Condvar::new(),
            state: Mutex::new(state),
            changed: Condvar::new(),
            ledger: Mutex::new(ledger),
        }
    });
    let state = shared.state();
    tracing::info!(
        segments = state.segments.len(),
        live = state.live.records,
        next_id,
        ms = u64::try_from((clock.monotonic().saturating_sub(started)).as_millis()).unwrap_or(0),
        "the store is open"
    );
    drop(state);
    let writer = Writer {
        log: LogWriter::new(disk, shared.dirs.log.clone(), next_log),
        entries: Entries::default(),
        next_id,
        on_commit: options.on_commit,
        shared: Arc::clone(&shared),
    };
    Ok(Opened { shared, writer, lock })
}

/// Refuses the directory of another format; gives a new one its version.
fn check_version(disk: &dyn Disk, data: &Path) -> Result<()> {
    let path = data.join("VERSION");
    let there = disk.list(data)?.iter().any(|e| e.name == "VERSION");
    let text = if there { disk.read(&path)? } else { Vec::new() };
    let text = String::from_utf8_lossy(&text);
    match text.strip_prefix(VERSION_TEXT).and_then(|n| n.trim().parse::<u32>().ok()) {
        Some(LAYOUT_VERSION) => Ok(()),
        Some(got) => {
            let place = path.display().to_string();
            Err(Error::Version { place, got, want: LAYOUT_VERSION })
        }
        None => {
            if there {
                tracing::warn!(path = %path.display(), "does not read; every file has its own version");
            }
            match disk.replace(&path, format!("{VERSION_TEXT}{LAYOUT_VERSION}\n").as_bytes()) {
                // The next start writes it.
                Err(error) if error.is_disk_full() => {
                    tracing::warn!(%error, "the disk is full: VERSION is not written");
                    Ok(())
                }
                written => written,
            }
        }
    }
}

/// A log file as it was found.
struct FoundLog {
    seq: u64,
    len: u64,
    damaged: bool,
    records: Vec<Arc<Record>>,
}

/// What was found, while it is being sorted out.
struct Stock<'a> {
    disk: &'a dyn Disk,
    dirs: &'a Dirs,
    catalog: Catalog,
    /// The catalogue could not be read: what the segments say is all there is.
    lost: bool,
    changed: bool,
    /// The catalogue as it was on disk.
    said: Option<Catalog>,
    logs: Vec<FoundLog>,
    next_log: u64,
    next_id: u64,
    /// Ids of catalogued segments that are gone; their records may still be in the log.
    missing: Vec<SegmentMeta>,
}

/// What the store starts with.
struct Found {
    catalog: Catalog,
    changed: bool,
    /// The catalogue as it was on disk; `None` where it was lost.
    said: Option<Catalog>,
    /// Records that belong below those of a segment: to be sealed for themselves.
    below: Vec<Part>,
    live: Part,
    /// Of the newest record in the log.
    day: Option<Day>,
    log_bytes: BTreeMap<u64, u64>,
    quarantined: u64,
    /// What nothing gave back of segments that are missing.
    lost: Vec<ChunkMeta>,
    next_log: u64,
    next_id: u64,
}

impl Found {
    fn state(self, segments: &Path, access: &Arc<Access>) -> State {
        let each = self.catalog.segments.iter().cloned();
        State {
            segments: each.map(|meta| Segment::new(meta, segments, Arc::clone(access))).collect(),
            catalog: self.catalog,
            frozen_count: self.below.len() as u64,
            day: self.day,
            frozen: self.below.into_iter().map(|part| Arc::new(part.closed())).collect(),
            live: self.live,
            log_bytes: self.log_bytes,
            quarantined: self.quarantined,
            lost: self.lost,
            ..State::default()
        }
    }
}

impl<'a> Stock<'a> {
    fn new(disk: &'a dyn Disk, dirs: &'a Dirs) -> Result<Self> {
        for entry in disk.list(&dirs.data)? {
            if entry.name.ends_with(TEMP_SUFFIX) {
                disk.remove(&dirs.data.join(&entry.name))?;
            }
        }
        let (catalog, lost) = match Catalog::read(disk, &dirs.data) {
            Ok(Some(catalog)) => (catalog, false),
            Ok(None) => (Catalog::default(), true),
            Err(error @ Error::Corrupt { .. }) => {
                tracing::error!(%error, "the catalogue is made anew from the segments");
                let aside = free_name(disk, &dirs.quarantine, catalog::NAME)?;
                disk.rename(&dirs.data.join(catalog::NAME), &aside)?;
                (Catalog::default(), true)
            }
            Err(other) => return Err(other),
        };
        let next_id = catalog.next_id.max(1);
        Ok(Self {
            disk,
            dirs,
            said: (!lost).then(|| catalog.clone()),
            catalog,
            lost,
            changed: lost,
            logs: Vec::new(),
            next_log: 0,
            next_id,
            missing: Vec::new(),
        })
    }

    fn read_logs(&mut self) -> Result<()> {
        let mut files: Vec<(u64, u64)> = Vec::new();
        for entry in self.disk.list(&self.dirs.log)? {
            if let Some(seq) = log::seq_of(&entry.name) {
                files.push((seq, entry.len));
            } else {
                tracing::warn!(name = entry.name, "what is this among the log files?");
            }
        }
        let newest = files.last().map(|(seq, _)| *seq);
        let mut same = Same::default();
        for (seq, len) in files {
            self.next_log = self.next_log.max(seq + 1);
            let found = self.read_log(seq, len, newest == Some(seq), &mut same)?;
            self.logs.push(found);
        }
        Ok(())
    }

    fn read_log(&mut self, seq: u64, len: u64, newest: bool, same: &mut Same) -> Result<FoundLog> {
        let path = log::path(&self.dirs.log, seq);
        let place = path.display().to_string();
        let mut found = FoundLog { seq, len, damaged: false, records: Vec::new() };
        let mut unread = 0_u64;
        let replay = log::replay(self.disk.open(&path)?, &place, &mut |entry| {
            let mut rest = entry.payload;
            let records = (0..entry.records).map(|n| {
                let record = read_record(&mut rest)?;
                if record.id == entry.first_id + u64::from(n) {
                    Ok(Arc::new(same.of(record)))
                } else {
                    Err(Error::corrupt(place.clone(), "an id that its entry does not have"))
                }
            });
            match records.collect::<Result<Vec<_>>>() {
                Ok(records) => found.records.extend(records),
                Err(error) => {
                    tracing::error!(%error, "a log entry does not read");
                    unread = unread.max(entry.first_id + u64::from(entry.records));
                    found.damaged = true;
                }
            }
            Ok(())
        })?;
        let last = found.records.last().map_or(0, |r| r.id + 1);
        self.next_id = self.next_id.max(last).max(unread).max(replay.lost_to_id);
        // An id that was lost with its record may have been seen: skip as many as could have been.
        let mut lost_bytes = replay.damaged_bytes;
        found.damaged |= replay.damaged_bytes > 0;
        if let Some((at, cut)) = replay.tail {
            lost_bytes += len - at;
            if newest {
                match if cut { Ok(()) } else { self.keep_tail(seq, at, &path) } {
                    // Then the whole file is kept, and set aside once its records are sealed.
                    Err(error) if error.is_disk_full() => {
                        tracing::warn!(%error, "the disk is full: the end of the log stays there");
                        found.damaged = true;
                    }
                    kept => {
                        kept?;
                        found.len = at;
                    }
                }
            } else {
                found.damaged |= !cut || at > 0;
            }
        }
        if newest {
            // Synced also where there is nothing to cut: its writer may have been killed before
            // it synced, and what readers see from now on must outlive a loss of power.
            self.disk.truncate(&path, found.len)?;
        }
        self.next_id = self.next_id.saturating_add(lost_bytes);
        if found.damaged {
            tracing::error!(place, lost_bytes, "the log is damaged; what could be read of it was");
        }
        Ok(found)
    }

    /// What is to be cut off might be an entry that was whole once: it is kept for a look.
    fn keep_tail(&self, seq: u64, at: u64, path: &Path) -> Result<()> {
        let file = self.disk.open(path)?;
        let len = usize::try_from(file.len() - at).unwrap_or(usize::MAX);
        let name = format!("{seq:020}.log.from-{at}");
        tracing::warn!(name, len, "the end of the log does not read; a copy is kept in quarantine");
        self.disk.replace(&self.dirs.quarantine.join(name), &file.read_at(at, len)?)
    }

    fn settle_segments(&mut self) -> Result<()> {
        let files = self.segment_files()?;
        let mut kept = Vec::new();
        for meta in std::mem::take(&mut self.catalog.segments) {
            let path = meta.path(&self.dirs.segments);
            match files.get(&path) {
                Some(len) if *len == meta.len => kept.push(meta),
                found => {
                    let (first, last) = (meta.first_id(), meta.last_id());
                    let what = if found.is_some() { "has another size" } else { "is missing" };
                    let path = path.display().to_string();
                    let records = meta.records();
                    tracing::error!(path, records, first, last, "a segment {what}; it is left out");
                    self.missing.push(meta);
                    self.changed = true;
                }
            }
        }
        self.catalog.segments = kept;
        let known: HashSet<PathBuf> =
            self.catalog.segments.iter().map(|m| m.path(&self.dirs.segments)).collect();
        let orphans: Vec<PathBuf> =
            files.into_keys().filter(|path| !known.contains(path)).collect();
        if orphans.is_empty() {
            return Ok(());
        }
        let dropped = match &self.said {
            Some(said) => ledger::dropped(self.disk, &self.dirs.data, said)?,
            None => BTreeMap::new(),
        };
        let mut adopted = Vec::new();
        let logged: HashSet<u64> =
            self.logs.iter().flat_map(|log| log.records.iter().map(|r| r.id)).collect();
        for path in orphans {
            adopted.extend(self.settle_orphan(&path, &logged, &dropped)?);
        }
        // What was merged has a higher number than what it was made of. What is damaged comes last.
        adopted.sort_by_key(|(meta, whole)| (!whole, Reverse(meta.number)));
        for (meta, whole) in adopted {
            let path = meta.path(&self.dirs.segments);
            if whole && self.is_kept_elsewhere(self.ids_of(&meta)?, &logged)? {
                self.disk.remove(&path)?;
            } else if if whole { self.shares_ids(&meta)? } else { self.crosses(&meta) } {
                self.quarantine(&path, "its ids are those of another segment")?;
            } else {
                self.next_id = self.next_id.max(meta.last_id().saturating_add(1));
                self.changed = true;
                self.catalog.segments.push(meta);
            }
        }
        self.catalog.segments.sort_by_key(SegmentMeta::first_id);
        Ok(())
    }

    /// A segment file that the catalogue does not mean: given back where it is to be served, and
    /// whether all of it reads.
    fn settle_orphan(
        &mut self,
        path: &Path,
        logged: &HashSet<u64>,
        dropped: &BTreeMap<u64, Hash>,
    ) -> Result<Option<(SegmentMeta, bool)>> {
        let open = match Open::read(self.disk, path) {
            Ok(open) => open,
            Err(error @ Error::Corrupt { .. }) => {
                self.quarantine(path, &error.to_string())?;
                return Ok(None);
            }
            // Another version, or a disk that fails just now: nothing was found out about it.
            Err(error) => return Err(error),
        };
        let meta = open.meta().clone();
        self.catalog.next_segment = self.catalog.next_segment.max(meta.number.saturating_add(1));
        let kept = open.ids().and_then(|ids| self.is_kept_elsewhere(ids, logged));
        // What retention dropped while a reader held it stays until the reader ends, or the server.
        if matches!(kept, Ok(true)) || dropped.get(&meta.number) == Some(&meta.footer) {
            self.disk.remove(path)?;
            return Ok(None);
        }
        let whole = kept.and_then(|_| open.check_all());
        let why = match &whole {
            Err(error) if !error.is_damage() => return whole.map(|()| None),
            _ if self.lost && meta.path(&self.dirs.segments) == path => {
                return Ok(Some((meta, whole.is_ok())));
            }
            Err(error) => error.to_string(),
            Ok(()) => "the catalogue does not know it".to_owned(),
        };
        self.quarantine(path, &why)?;
        Ok(None)
    }

    /// May a segment whose ids do not read have one of another of its class?
    fn crosses(&self, meta: &SegmentMeta) -> bool {
        self.catalog.segments.iter().any(|other| {
            other.class == meta.class
                && other.first_id() <= meta.last_id()
                && meta.first_id() <= other.last_id()
        })
    }

    /// Is every one of the ids in the log, or in a segment that the catalogue means?
    fn is_kept_elsewhere(&self, mut ids: Vec<u64>, logged: &HashSet<u64>) -> Result<bool> {
        ids.retain(|id| !logged.contains(id));
        for meta in &self.catalog.segments {
            if meta.may_hold_any(&ids) {
                let held = self.ids_of(meta)?;
                ids.retain(|id| held.binary_search(id).is_err());
            }
        }
        Ok(ids.is_empty())
    }

    /// Has the segment an id that a catalogued one has?
    fn shares_ids(&self, meta: &SegmentMeta) -> Result<bool> {
        let (first, last) = (meta.first_id(), meta.last_id());
        let near = |other: &&SegmentMeta| other.first_id() <= last && first <= other.last_id();
        let mut own = None;
        for other in self.catalog.segments.iter().filter(near) {
            let own = match &own {
                Some(ids) => ids,
                None => own.insert(self.ids_of(meta)?),
            };
            if self.ids_of(other)?.iter().any(|id| own.binary_search(id).is_ok()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Every id of a segment, rising; none of one that is damaged.
    fn ids_of(&self, meta: &SegmentMeta) -> Result<Vec<u64>> {
        let path = meta.path(&self.dirs.segments);
        match Open::read(self.disk, &path).and_then(|open| open.ids()) {
            Err(error) if error.is_damage() => {
                tracing::error!(%error, "the ids of a segment do not read");
                Ok(Vec::new())
            }
            other => other,
        }
    }

    /// All segment files with their sizes; temporary ones are removed.
    fn segment_files(&mut self) -> Result<BTreeMap<PathBuf, u64>> {
        let mut files = BTreeMap::new();
        for dir in class_dirs(self.disk, &self.dirs.segments)? {
            for entry in self.disk.list(&dir)? {
                let path = dir.join(&entry.name);
                if entry.name.ends_with(TEMP_SUFFIX) {
                    self.disk.remove(&path)?;
                } else if let Some(number) = entry.name.strip_suffix(".seg") {
                    let number: Option<u64> = number.parse().ok();
                    let next = number.map_or(0, |n| n.saturating_add(1));
                    self.catalog.next_segment = self.catalog.next_segment.max(next);
                    files.insert(path, entry.len);
                }
            }
        }
        Ok(files)
    }

    fn quarantine(&self, path: &Path, why: &str) -> Result<()> {
        tracing::error!(path = %path.display(), why, "a file is set aside in quarantine");
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let aside = free_name(self.disk, &self.dirs.quarantine, &name)?;
        self.disk.rename(path, &aside)
    }

    /// What of the log is in a segment already is not shown twice. What is left was never sealed,
    /// or its segment is missing.
    fn drop_sealed_records(&mut self) -> Result<()> {
        let sealed_below = self.catalog.sealed_below;
        let is_open = |id: u64| {
            let mut missing = self.missing.iter();
            id >= sealed_below || missing.any(|m| m.first_id() <= id && id <= m.last_id())
        };
        let logged = self.logs.iter().flat_map(|log| &log.records).map(|record| record.id);
        let mut fresh: Vec<u64> = logged.filter(|id| is_open(*id)).collect();
        fresh.sort_unstable();
        // Seldom any: what is in a segment is below `sealed_below`.
        for meta in &self.catalog.segments {
            if meta.may_hold_any(&fresh) {
                let held = self.ids_of(meta)?;
                fresh.retain(|id| held.binary_search(id).is_err());
            }
        }
        let mut seen_to = 0;
        for log in &mut self.logs {
            log.records.retain(|record| {
                let is_fresh = record.id > seen_to && fresh.binary_search(&record.id).is_ok();
                if is_fresh {
                    seen_to = record.id;
                }
                is_fresh
            });
        }
        Ok(())
    }

    /// Lets go of log files that are not needed any more.
    fn release_logs(&mut self) -> Result<()> {
        let mut kept = Vec::new();
        for log in std::mem::take(&mut self.logs) {
            let path = log::path(&self.dirs.log, log.seq);
            if !log.records.is_empty() {
                kept.push(log);
            } else if log.damaged {
                self.quarantine(&path, "it is damaged; its records are sealed, or lost")?;
            } else {
                self.disk.remove(&path)?;
            }
        }
        self.logs = kept;
        Ok(())
    }

    /// What the log does not have of the segments that are missing.
    fn lost(&self) -> Vec<ChunkMeta> {
        let ids = || self.logs.iter().flat_map(|log| log.records.iter().map(|record| record.id));
        let chunks = self.missing.iter().flat_map(|meta| meta.chunks.iter().cloned());
        let left = chunks.map(|mut chunk| {
            let found = ids().filter(|id| chunk.first_id <= *id && *id <= chunk.last_id).count();
            chunk.rows = chunk.rows.saturating_sub(found);
            chunk
        });
        left.filter(|chunk| chunk.rows > 0).collect()
    }

    fn end(mut self) -> Result<Found> {
        let segments = &self.catalog.segments;
        let next_segment = |id: u64| segments.partition_point(|s| s.first_id() <= id);
        let ends = segments.iter().map(|s| s.last_id().saturating_add(1)).max().unwrap_or(0);
        let first = self.logs.iter().find_map(|log| log.records.first()).map_or(u64::MAX, |r| r.id);
        let newest = self.logs.iter().filter_map(|log| log.records.last()).next_back();
        let day = newest.map(|record| Day::of(record.received));
        let mut parts: Vec<Part> = Vec::new();
        let mut last_id = None;
        let mut log_bytes = BTreeMap::new();
        for log in &self.logs {
            for run in log.records.chunk_by(|a, b| next_segment(a.id) == next_segment(b.id)) {
                let begins = run.first().map(|r| next_segment(r.id));
                if begins != last_id.map(next_segment) {
                    parts.push(Part::default());
                }
                if let Some(part) = parts.last_mut() {
                    part.push(run, run.iter().map(|record| record.weight()).sum());
                }
                last_id = run.last().map(|r| r.id);
            }
            // Parts are sealed in their order, so the last one lets go of it.
            if let Some(part) = parts.last_mut() {
                part.note_log(LogFile { seq: log.seq, damaged: log.damaged });
            }
            log_bytes.insert(log.seq, log.len);
        }
        let live = if last_id.is_some_and(|id| id >= ends) { parts.pop() } else { None };
        let lost = self.lost();
        self.catalog.next_id = self.catalog.next_id.max(self.next_id);
        if self.lost {
            self.catalog.sealed_below = ends;
        }
        // What the log gave back is the log's until it is sealed again.
        self.catalog.sealed_below = self.catalog.sealed_below.min(first);
        Ok(Found {
            quarantined: self.disk.list(&self.dirs.quarantine)?.len() as u64,
            lost,
            catalog: self.catalog,
            changed: self.changed,
            said: self.said,
            below: parts,
            live: live.unwrap_or_default(),
            day,
            log_bytes,
            next_log: self.next_log,
            next_id: self.next_id,
        })
    }
}

/// The directories in which segments are: a day of arrival, a class.
pub(super) fn class_dirs(disk: &dyn Disk, segments: &Path) -> Result<Vec<PathBuf>> {
    let mut dirs = Vec::new();
    for day in disk.list(segments)?.into_iter().filter(|e| e.is_dir && is_day(&e.name)) {
        let day = segments.join(day.name);
        let classes = disk.list(&day)?.into_iter().filter(|e| e.is_dir && is_class_name(&e.name));
        dirs.extend(classes.map(|class| day.join(class.name)));
    }
    Ok(dirs)
}

/// A path in `dir` that does not exist yet: the name, or with a number behind it.
pub(super) fn free_name(disk: &dyn Disk, dir: &Path, name: &str) -> Result<PathBuf> {
    let taken: HashSet<String> = disk.list(dir)?.into_iter().map(|e| e.name).collect();
    let mut names = (0..).map(|n| if n == 0 { name.to_owned() } else { format!("{name}.{n}") });
    let free = names.find(|name| !taken.contains(name));
    Ok(dir.join(free.unwrap_or_default()))
}

/// Texts that many records of a log share are kept once, as they were before the restart.
#[derive(Default)]
struct Same {
    texts: HashSet<Arc<str>>,
    vias: HashSet<Arc<Via>>,
}

/// More different ones than this are not worth remembering.
const SAME_MAX: usize = 100_000;

impl Same {
    fn of(&mut self, mut record: Record) -> Record {
        self.text(&mut record.host);
        self.text(&mut record.app);
        record.format.iter_mut().chain(&mut record.tag).for_each(|text| self.text(text));
        record.fields.iter_mut().for_each(|field| self.text(&mut field.name));
        match self.vias.get(&record.via) {
            Some(known) => record.via = Arc::clone(known),
            None if self.vias.len() < SAME_MAX => {
                self.vias.insert(Arc::clone(&record.via));
            }
            None => {}
        }
        record
    }

    fn text(&mut self, text: &mut Arc<str>) {
        match self.texts.get(&**text) {
            Some(known) => *text = Arc::clone(known),
            None if self.texts.len() < SAME_MAX => {
                self.texts.insert(Arc::clone(text));
            }
            None => {}
        }
    }
}
