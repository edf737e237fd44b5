//! The sealer thread: turns frozen parts into segments, and looks at those in which damage was met.
//!
//! In this order, so that a crash between any two steps loses and doubles nothing: segment files
//! under temporary names, synced and opened once → their real names → the ledger, which from then on means
//! them → the log files go. A step that fails is tried again from the start, with new files; the
//! log holds everything until then.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::base::error::{Error, Refusal, Result};
use crate::base::limits::SEAL_RETRY_S;
use crate::base::machine::Disk;
use crate::base::metrics::Counter;
use crate::base::record::Record;
use crate::codec;
use crate::store::catalog::Catalog;
use crate::store::cut;
use crate::store::ledger::Change;
use crate::store::live::{LogFile, Part};
use crate::store::manifest::Kind;
use crate::store::open::free_name;
use crate::store::sealed::Segment;
use crate::store::segment::{self, Encode, Identity, Open, SegmentMeta};
use crate::store::sources::Sources;
use crate::store::{Shared, State, log};

/// The state of its thread.
pub(super) struct Sealer {
    shared: Arc<Shared>,
    /// Files of attempts that failed. Removed only when a later catalogue is on disk for certain,
    /// since the failed one may be there too, and mean them.
    leftovers: Vec<PathBuf>,
    /// Before the next attempt; zero where the last one went well.
    pause: Duration,
    /// Free bytes when the last attempt found the disk full.
    full_at: Option<u64>,
}

enum Job {
    Seal(Arc<Part>),
    Look(u64),
}

impl Sealer {
    /// Works on these.
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, leftovers: Vec::new(), pause: Duration::ZERO, full_at: None }
    }

    /// Until the store closes.
    pub(super) fn run(mut self) {
        while let Some(job) = self.next_job() {
            match job {
                Job::Look(number) => {
                    if catch_unwind(AssertUnwindSafe(|| self.look(number))).is_err() {
                        tracing::error!(number, "looking at a damaged segment panicked");
                    }
                }
                Job::Seal(part) => {
                    let sealed = catch_unwind(AssertUnwindSafe(|| self.seal(&part)));
                    let sealed = sealed.unwrap_or_else(|_| {
                        Err(Error::corrupt("the live part", "sealing it panicked"))
                    });
                    match sealed {
                        Ok(()) => (self.pause, self.full_at) = (Duration::ZERO, None),
                        Err(error) => self.failed(error),
                    }
                }
            }
        }
    }

    /// Sleeps until there is work; `None` at the end.
    fn next_job(&self) -> Option<Job> {
        let mut state = self.shared.state();
        let mut waited = Duration::ZERO;
        loop {
            if state.closing {
                return None;
            }
            if let Some(number) = state.suspects.pop() {
                return Some(Job::Look(number));
            }
            let retry_now = std::mem::take(&mut state.sealing.retry_now);
            match state.frozen.front() {
                Some(part) if waited >= self.pause || retry_now || self.has_room_again() => {
                    let part = Arc::clone(part);
                    state.sealing.running = true;
                    return Some(Job::Seal(part));
                }
                // Only while something is wrong does this thread wake up by itself.
                Some(_) => {
                    let tick = Duration::from_secs(SEAL_RETRY_S);
                    let (guard, timeout) = self
                        .shared
                        .changed
                        .wait_timeout(state, tick)
                        .unwrap_or_else(PoisonError::into_inner);
                    state = guard;
                    waited += if timeout.timed_out() { tick } else { Duration::ZERO };
                }
                None => state = self.shared.wait(state),
            }
        }
    }

    /// An attempt costs seconds, so on a full disk it waits for a sign that it may go better.
    fn has_room_again(&self) -> bool {
        self.full_at.is_some_and(|then| self.free_bytes() > then)
    }

    fn free_bytes(&self) -> u64 {
        self.shared.disk.free_bytes(&self.shared.dirs.data).unwrap_or_default()
    }

    fn failed(&mut self, error: Error) {
        let pause = self.pause.saturating_mul(2).max(Duration::from_secs(SEAL_RETRY_S));
        self.pause = pause.min(Duration::from_mins(1));
        tracing::warn!(%error, "sealing failed and will be tried again; nothing is lost");
        let full = error.is_disk_full();
        self.full_at = full.then(|| self.free_bytes());
        let mut state = self.shared.state();
        state.sealing.running = false;
        state.sealing.stuck = Some(if full { Refusal::DiskFull } else { Refusal::QueueFull });
        state.sealing.failures += 1;
        state.sealing.failure = Some(log::refusal(error));
        drop(state);
        self.shared.changed.notify_all();
    }

    fn seal(&mut self, part: &Part) -> Result<()> {
        self.clear_leftovers();
        let records = part.all();
        let mut new = Vec::new();
        let mut sources = Sources::default();
        let shared = Arc::clone(&self.shared);
        for (day, run) in cut::days(&records) {
            for (class, records) in shared.classes.parted(run) {
                let (meta, sent) = self.write_segment(&day.to_string(), class, &records)?;
                sources.merge(&sent);
                new.push(meta);
            }
        }
        let count = new.len() as u64;
        let end = records.last().map_or(0, |r| r.id.saturating_add(1));
        let in_catalog = |catalog: &mut Catalog| {
            catalog.next_id = catalog.next_id.max(end);
            catalog.sealed_below = catalog.sealed_below.max(end);
        };
        let in_state = |state: &mut State| {
            if let Some(sum) = &mut state.sources {
                sum.merge(&sources);
            }
            state.frozen.pop_front();
            state.sealing.stuck = None;
            state.sealing.failure = None;
        };
        let change = Change { kind: Kind::Sealed, added: new, removed: Vec::new() };
        self.shared.commit(change, in_catalog, in_state)?;
        self.leftovers.clear();
        self.shared.metrics.add(Counter::Seals, &[], count);
        for file in &part.logs {
            self.let_go(*file);
        }
        let mut state = self.shared.state();
        state.sealed_count += 1;
        state.sealing.running = false;
        drop(state);
        self.shared.changed.notify_all();
        Ok(())
    }

    /// Writes records of one day and class to a file under its real name.
    fn write_segment(
        &mut self,
        day: &str,
        class: &str,
        run: &[Arc<Record>],
    ) -> Result<(SegmentMeta, Sources)> {
        let who = Identity { number: self.shared.next_number(), day, class };
        let (temp, path) = self.shared.place_for(who)?;
        let chunks = cut::chunks(run);
        let ways = [codec::encode, codec::encode_whole];
        let disk = &*self.shared.disk;
        let written = write_in_some_way(disk, &temp, who, &chunks, &ways)?;
        self.leftovers.push(path.clone());
        disk.rename(&temp, &path)?;
        Ok(written)
    }

    /// Removes what failed attempts left, where that is safe: the catalogue on disk is known.
    fn clear_leftovers(&mut self) {
        if !self.leftovers.is_empty() && self.shared.settle().is_ok() {
            for path in self.leftovers.drain(..) {
                drop(self.shared.disk.remove(&path));
            }
        }
    }

    fn let_go(&self, file: LogFile) {
        let path = log::path(&self.shared.dirs.log, file.seq);
        let gone = if file.damaged {
            set_aside(&self.shared, &path)
        } else {
            self.shared.disk.remove(&path)
        };
        if let Err(error) = gone {
            // The next start finds that its records are sealed.
            tracing::warn!(%error, "a log file could not be removed");
        }
        self.shared.state().log_bytes.remove(&file.seq);
    }

    /// Looks at a segment in which damage was met. What of it reads is served further on; only
    /// where nothing can be found in it, it is set aside.
    fn look(&self, number: u64) {
        let state = self.shared.state();
        let found = state.segments.iter().find(|s| s.meta().number == number).cloned();
        drop(state);
        let Some(segment) = found else { return };
        self.shared.access.cache.forget(number);
        let meta = segment.meta();
        let error = match segment.read() {
            Ok(open) => {
                self.look_at_chunks(&segment, &open);
                return;
            }
            Err(error) => error,
        };
        if !error.is_damage() {
            tracing::warn!(%error, "a segment in which damage was met cannot be looked at");
            return;
        }
        let (first, last, records) = (meta.first_id(), meta.last_id(), meta.records());
        tracing::error!(%error, first, last, records, "a segment that does not read is set aside");
        if let Err(error) = self.drop_segment(&segment) {
            tracing::error!(%error, "a segment that does not read could not be set aside");
        }
    }

    /// Finds every chunk that does not read, so that queries do not meet them one by one.
    fn look_at_chunks(&self, segment: &Segment, open: &Open) {
        let path = segment.path().display().to_string();
        for (n, chunk) in segment.meta().chunks.iter().enumerate() {
            if self.shared.state().closing {
                return;
            }
            let Err(error) = open.records(n) else { continue };
            segment.distrust_chunk(n, &error);
            let (first, last, records) = (chunk.first_id, chunk.last_id, chunk.rows);
            tracing::error!(%error, path, first, last, records, "damaged records are left out");
        }
        let mut state = self.shared.state();
        // What it found itself needs no further look.
        state.suspects.retain(|other| *other != segment.meta().number);
        state.changed_parts();
        drop(state);
        self.shared.changed.notify_all();
    }

    fn drop_segment(&self, segment: &Segment) -> Result<()> {
        let removed = vec![segment.meta().number];
        let change = Change { kind: Kind::SetAside, added: Vec::new(), removed };
        self.shared.commit(
            change,
            |_| (),
            |state| {
                state.sources = None;
                state.lost.extend_from_slice(&segment.meta().chunks);
            },
        )?;
        match set_aside(&self.shared, segment.path()) {
            Ok(()) => self.shared.state().quarantined += 1,
            // There is nothing that could be set aside.
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Writes and checks a file in the first of the ways that goes well. A fault in one of them is no
/// reason to keep the records in memory and the senders waiting for ever.
fn write_in_some_way(
    disk: &dyn Disk,
    path: &Path,
    who: Identity<'_>,
    chunks: &[&[Arc<Record>]],
    ways: &[Encode],
) -> Result<(SegmentMeta, Sources)> {
    let mut last = Error::corrupt("the live part", "there is no way to encode it");
    for encode in ways {
        let written = catch_unwind(AssertUnwindSafe(|| {
            let written = segment::write(disk, path, who, chunks, *encode)?;
            segment::check_written(disk, path, &written.0, chunks)?;
            Ok(written)
        }));
        let error = match written {
            Ok(Ok(written)) => return Ok(written),
            Ok(Err(error)) => error,
            Err(_) => Error::corrupt("the live part", "encoding it panicked"),
        };
        // Its room may be what is missing.
        drop(disk.remove(path));
        if !matches!(error, Error::Corrupt { .. }) {
            return Err(error);
        }
        tracing::error!(%error, "records could not be encoded: this is a fault of the program");
        last = error;
    }
    Err(last)
}

/// Sums what the segments themselves say; one that cannot be read is left out. Past the cache,
/// which has better things to keep.
pub(super) fn sources_of(segments: &[Arc<Segment>], disk: &dyn Disk) -> Sources {
    let mut sources = Sources::default();
    for segment in segments {
        match Open::read(disk, segment.path()).and_then(|open| open.sources()) {
            Ok(own) => sources.merge(&own),
            Err(error) => tracing::warn!(%error, "the sources of a segment are not counted"),
        }
    }
    sources
}

/// Moves a file to the quarantine.
fn set_aside(shared: &Shared, path: &std::path::Path) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = free_name(&*shared.disk, &shared.dirs.quarantine, &name)?;
    shared.disk.rename(path, &aside)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::sim::{Faults, SimDisk};
    use crate::store::tests::record;

    #[test]
    fn what_one_way_cannot_encode_another_does() {
        let disk = SimDisk::new(Faults::default());
        disk.create_dir_all(Path::new("/d")).unwrap();
        let path = Path::new("/d/1.seg");
        let records: Vec<Arc<Record>> =
            (1..50).map(|id| Arc::new(Record { id, ..record(&format!("user {id}")) })).collect();
        let write = |ways: &[Encode]| {
            let who = Identity { number: 1, day: "2026-03-01", class: "default" };
            write_in_some_way(&disk, path, who, &[&records], ways)
        };
        let panics: Encode = |_| panic!("as a fault would");
        let forgets: Encode = |chunks| codec::encode(&[&chunks[0][1..]]);
        assert!(matches!(write(&[panics, forgets]), Err(Error::Corrupt { .. })));
        assert_eq!(disk.paths(), [] as [PathBuf; 0]);
        let (meta, _) = write(&[panics, forgets, codec::encode_whole]).unwrap();
        assert_eq!((meta.records(), meta.last_id()), (49, 49));
    }
}
