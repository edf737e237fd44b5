//! The one door by which the set of segments changes: manifest, catalogue, then what is shown.
//!
//! One change at a time, whoever wants it (sealer, merger, retention), in this order: the files are
//! whole and synced (the caller's) → the manifest says it, synced → the catalogue says it; from then on
//! it holds → snapshots show it → files that are not meant any more go, once nobody holds them.
//! *Invariant:* after a failure what is on disk is made certain before anything is built on it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use crate::base::error::{Error, Result};
use crate::base::machine::{Clock, Disk, ReadAt, TEMP_SUFFIX};
use crate::store::catalog::Catalog;
use crate::store::manifest::{self, Entry, Hash, Head, Kind, Manifest, Stamp};
use crate::store::open::{Dirs, free_name};
use crate::store::sealed::Segment;
use crate::store::segment::{Identity, SegmentMeta};
use crate::store::{Shared, State};

/// A change of the set of segments.
pub(super) struct Change {
    /// Why.
    pub(super) kind: Kind,
    /// New segments; their files are synced under their names.
    pub(super) added: Vec<SegmentMeta>,
    /// Numbers of those that go.
    pub(super) removed: Vec<u64>,
}

/// Writes manifest and catalogue.
pub(super) struct Ledger {
    clock: Arc<dyn Clock>,
    manifest: Manifest,
    /// What the manifest must say before anything else: that the last change, which failed behind
    /// its entry, did not come into force; or what a start found, where the disk had no room for it.
    owed: Option<Entry>,
    /// The catalogue on disk may mean something else than what holds.
    unsure: bool,
}

impl Ledger {
    /// Makes what is on disk what holds.
    fn settle(&mut self, disk: &dyn Disk, data: &Path, holds: &Catalog) -> Result<()> {
        if let Some(entry) = &self.owed {
            self.manifest.append(disk, entry)?;
            self.owed = None;
        }
        if self.unsure {
            Catalog { manifest: self.manifest.head(), ..holds.clone() }.write(disk, data)?;
            self.unsure = false;
        }
        Ok(())
    }

    /// Makes `next` what holds on disk, and says so in the manifest.
    fn write(
        &mut self,
        (disk, data): (&dyn Disk, &Path),
        holds: &Catalog,
        next: &mut Catalog,
        entry: Entry,
    ) -> Result<()> {
        self.settle(disk, data, holds)?;
        self.manifest.append(disk, &entry)?;
        self.owed = Some(Entry {
            kind: Kind::Undone,
            at: entry.at,
            added: entry.removed,
            removed: entry.added,
        });
        self.unsure = true;
        next.manifest = self.manifest.head();
        next.write(disk, data)?;
        self.owed = None;
        self.unsure = false;
        Ok(())
    }
}

impl Shared {
    /// The number of the next segment; never given again, used or not.
    pub(super) fn next_number(&self) -> u64 {
        let mut state = self.state();
        let number = state.catalog.next_segment;
        state.catalog.next_segment += 1;
        number
    }

    /// Where a new segment is written, and its name when it is whole; its directory is there.
    pub(super) fn place_for(&self, who: Identity<'_>) -> Result<(PathBuf, PathBuf)> {
        let path = who.path(&self.dirs.segments);
        if let Some(dir) = path.parent() {
            self.disk.create_dir_all(dir)?;
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(TEMP_SUFFIX);
        Ok((path.with_file_name(name), path))
    }

    /// Changes the set of segments, on disk and in what snapshots show. `in_catalog` and `in_state`
    /// change with it what else is to change in the same step. After an error everything is as it
    /// was; files of `added` may be removed once [`Self::settle`] went well.
    pub(super) fn commit(
        &self,
        change: Change,
        in_catalog: impl FnOnce(&mut Catalog),
        in_state: impl FnOnce(&mut State),
    ) -> Result<()> {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let holds = self.state().catalog.clone();
        // Two may want the same one to go: a merge must not bring back what was dropped meanwhile.
        let there = |number: &u64| holds.segments.iter().any(|meta| meta.number == *number);
        if !change.removed.iter().all(there) {
            return Err(Error::NotFound {
                what: "segment there any more that was to go".to_owned(),
            });
        }
        let goes = |meta: &SegmentMeta| change.removed.contains(&meta.number);
        let entry = Entry {
            kind: change.kind,
            at: ledger.clock.now(),
            added: change.added.iter().map(SegmentMeta::stamp).collect(),
            removed: holds.segments.iter().filter(|m| goes(m)).map(SegmentMeta::stamp).collect(),
        };
        let mut next = holds.clone();
        next.segments.retain(|meta| !goes(meta));
        next.segments.extend(change.added.iter().cloned());
        next.segments.sort_by_key(SegmentMeta::first_id);
        in_catalog(&mut next);
        ledger.write((&*self.disk, &self.dirs.data), &holds, &mut next, entry)?;

        let mut guard = self.state();
        let state = &mut *guard;
        // Numbers are given while others write.
        state.catalog = Catalog { next_segment: state.catalog.next_segment, ..next };
        let (gone, mut kept): (Vec<_>, Vec<_>) = std::mem::take(&mut state.segments)
            .into_iter()
            .partition(|segment: &Arc<Segment>| goes(segment.meta()));
        let new = change.added.into_iter();
        let open = |meta| Segment::new(meta, &self.dirs.segments, Arc::clone(&self.access));
        kept.extend(new.map(open));
        kept.sort_by_key(|segment| segment.meta().first_id());
        state.segments = kept;
        in_state(state);
        state.changed_segments();
        drop(guard);
        drop(ledger);
        for segment in &gone {
            self.access.cache.forget(segment.meta().number);
            if matches!(change.kind, Kind::Merged | Kind::Dropped) {
                segment.remove_when_free();
            }
        }
        self.changed.notify_all();
        Ok(())
    }

    /// Changes what the catalogue says beside the segments, on disk too.
    pub(super) fn note(&self, in_catalog: impl FnOnce(&mut Catalog)) -> Result<()> {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = self.state().catalog.clone();
        in_catalog(&mut next);
        ledger.unsure = true;
        ledger.settle(&*self.disk, &self.dirs.data, &next)?;
        let mut state = self.state();
        // Numbers are given while others write.
        state.catalog = Catalog { next_segment: state.catalog.next_segment, ..next };
        drop(state);
        Ok(())
    }

    /// Makes certain that what is on disk is what holds, so that files of failed changes can go.
    pub(super) fn settle(&self) -> Result<()> {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let holds = self.state().catalog.clone();
        ledger.settle(&*self.disk, &self.dirs.data, &holds)
    }
}

/// Makes manifest and catalogue say the same at a start. `said` is the catalogue as it was on disk,
/// `None` where it is lost; `holds` what became of it, written where it is another now.
pub(super) fn open(
    disk: &dyn Disk,
    dirs: &Dirs,
    clock: Arc<dyn Clock>,
    said: Option<&Catalog>,
    holds: &mut Catalog,
    changed: bool,
) -> Result<Ledger> {
    let Told { manifest, mut stamps, next, is_more } = told(disk, dirs, said)?;
    holds.next_segment = holds.next_segment.max(next);
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    for segment in &holds.segments {
        let stamp = segment.stamp();
        match stamps.remove(&stamp.number) {
            Some(known) if known == stamp => {}
            known => {
                removed.extend(known);
                added.push(stamp);
            }
        }
    }
    removed.extend(stamps.into_values());
    let differs = !(added.is_empty() && removed.is_empty());
    let found = Entry { kind: Kind::Found, at: clock.now(), added, removed };
    let mut ledger = Ledger {
        clock,
        manifest,
        owed: differs.then_some(found),
        unsure: changed || differs || is_more,
    };
    match ledger.settle(disk, &dirs.data, holds) {
        // It is said before the next change; until then each start finds the same.
        Err(error) if error.is_disk_full() => {
            tracing::warn!(%error, "the disk is full: what this start found is written down later");
        }
        settled => settled?,
    }
    holds.manifest = ledger.manifest.head();
    Ok(ledger)
}

/// The segments that retention dropped, as far as the catalogue knows the manifest: number and hash
/// of the footer. One of those whose file is still there was held by a reader when the server ended.
pub(super) fn dropped(disk: &dyn Disk, data: &Path, said: &Catalog) -> Result<BTreeMap<u64, Hash>> {
    let mut gone = BTreeMap::new();
    // By the number of what was merged: the one it is in, and its hash.
    let mut merged: BTreeMap<u64, (u64, Hash)> = BTreeMap::new();
    let path = manifest::path(data);
    let place = path.display().to_string();
    let Ok(file) = disk.open(&path) else { return Ok(gone) };
    let known = Upto(file, said.manifest.len);
    let Ok((start, _)) = manifest::start(&known, &place) else { return Ok(gone) };
    manifest::walk(&known, &place, start, &mut |entry| {
        for stamp in &entry.removed {
            match (entry.kind, entry.added.first()) {
                (Kind::Dropped, _) => drop(gone.insert(stamp.number, stamp.hash)),
                (Kind::Merged, Some(into)) => {
                    merged.insert(stamp.number, (into.number, stamp.hash));
                }
                _ => {}
            }
        }
        for stamp in &entry.added {
            gone.remove(&stamp.number);
            merged.remove(&stamp.number);
        }
    })?;
    // What was merged has a smaller number than what it is in.
    for (number, (into, hash)) in merged.into_iter().rev() {
        if gone.contains_key(&into) {
            gone.insert(number, hash);
        }
    }
    Ok(gone)
}

/// A file up to where it is known.
struct Upto(Arc<dyn ReadAt>, u64);

impl ReadAt for Upto {
    fn len(&self) -> u64 {
        self.1.min(self.0.len())
    }

    fn read_at(&self, at: u64, len: usize) -> Result<Vec<u8>> {
        self.0.read_at(at, len)
    }
}

/// What the manifest tells.
struct Told {
    manifest: Manifest,
    /// The segments that there are, by number.
    stamps: BTreeMap<u64, Stamp>,
    /// Above every number that it knows of.
    next: u64,
    /// It is another one than the catalogue knows.
    is_more: bool,
}

fn told(disk: &dyn Disk, dirs: &Dirs, said: Option<&Catalog>) -> Result<Told> {
    let known = said.into_iter().flat_map(|catalog| &catalog.segments).map(SegmentMeta::stamp);
    let mut told = Told {
        manifest: Manifest::go_on(&dirs.data, said.map(|c| c.manifest).unwrap_or_default()),
        stamps: known.map(|stamp| (stamp.number, stamp)).collect(),
        next: 0,
        is_more: false,
    };
    match told.read(disk, dirs, said) {
        Ok(()) => Ok(told),
        Err(Broken::Damage(error)) => {
            let before = said.map_or_else(|| told.manifest.head(), |catalog| catalog.manifest);
            if before != Head::default() {
                tracing::error!(%error, "the manifest is begun anew, with what the catalogue says");
            }
            if disk.list(&dirs.data)?.iter().any(|entry| entry.name == manifest::NAME) {
                let aside = free_name(disk, &dirs.quarantine, manifest::NAME)?;
                disk.rename(&manifest::path(&dirs.data), &aside)?;
            }
            told.manifest = Manifest::anew(&dirs.data, before.hash);
            match told.manifest.begin(disk) {
                // The first change begins it, once it has room.
                Err(error) if error.is_disk_full() => {
                    tracing::warn!(%error, "the disk is full: the manifest is begun later");
                }
                begun => begun?,
            }
            told.stamps.clear();
            told.is_more = true;
            Ok(told)
        }
        Err(Broken::Other(error)) => Err(error),
    }
}

/// Why a manifest cannot be gone on with.
enum Broken {
    /// It is missing, cut or changed.
    Damage(Error),
    /// Nothing was found out about it.
    Other(Error),
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        if matches!(error, Error::Corrupt { .. }) {
            Self::Damage(error)
        } else {
            Self::Other(error)
        }
    }
}

impl Told {
    /// Reads what the catalogue does not know: what is behind its head, or all where it is lost.
    fn read(&mut self, disk: &dyn Disk, dirs: &Dirs, said: Option<&Catalog>) -> Result<(), Broken> {
        let path = manifest::path(&dirs.data);
        let place = path.display().to_string();
        if !disk.list(&dirs.data)?.iter().any(|entry| entry.name == manifest::NAME) {
            return Err(Broken::Damage(Error::corrupt(place, "it is missing")));
        }
        let file = disk.open(&path)?;
        let (start, _) = manifest::start(&*file, &place)?;
        let from = said.map_or(start, |catalog| catalog.manifest);
        if file.len() < from.len {
            let what = format!("{} bytes, the catalogue knows {}", file.len(), from.len);
            return Err(Broken::Damage(Error::corrupt(place, what)));
        }
        let walked = manifest::walk(&*file, &place, from, &mut |entry| {
            for stamp in &entry.removed {
                self.stamps.remove(&stamp.number);
            }
            for stamp in entry.added {
                self.next = self.next.max(stamp.number.saturating_add(1));
                self.stamps.insert(stamp.number, stamp);
            }
        })?;
        self.is_more = walked.head != from || said.is_none();
        self.manifest = Manifest::go_on(&dirs.data, walked.head);
        match walked.broken {
            // What the catalogue does not know of was not synced for certain: torn by a crash.
            // Where it is lost, nobody knows; a copy is kept.
            Some(error) if said.is_none() => Err(Broken::Damage(error)),
            _ => Ok(()),
        }
    }
}
