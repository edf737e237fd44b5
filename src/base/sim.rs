//! A clock that is turned by hand, and a disk in memory that fails on demand, by seed.
//!
//! The disk takes the single steps of `durable` and promises no more than a real one: at a crash,
//! bytes that were not synced are gone, or there in part, or there as garbage; a file that was
//! removed may be back, one that was made may be gone. What it does is decided by its seed, so that
//! a failure can be shown again.

mod medium;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::durable::Steps;
use crate::base::error::{Error, Result};
use crate::base::machine::{AppendFile, Clock, DirEntry, ReadAt};
use crate::base::sim::medium::Medium;
use crate::base::time::Timestamp;

pub use crate::base::sim::medium::{Dice, Leaves};

/// A clock that stands still until it is turned.
#[derive(Debug)]
pub struct ManualClock {
    at: Mutex<(Timestamp, Duration)>,
}

impl ManualClock {
    /// Shows `now`.
    pub fn new(now: Timestamp) -> Arc<Self> {
        Arc::new(Self { at: Mutex::new((now, Duration::ZERO)) })
    }

    /// Turns both hands forward.
    pub fn advance(&self, by: Duration) {
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        at.0.0 = at.0.0.saturating_add(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX));
        at.1 = at.1.saturating_add(by);
    }

    /// Sets the wall clock only, as an administrator does.
    pub fn set(&self, now: Timestamp) {
        self.at.lock().unwrap_or_else(PoisonError::into_inner).0 = now;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.at.lock().unwrap_or_else(PoisonError::into_inner).0
    }
    fn monotonic(&self) -> Duration {
        self.at.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

/// What a [`SimDisk`] is to do wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Decides what a crash leaves and where a write tears.
    pub seed: u64,
    /// The machine dies in the n-th sync, of a file or of a directory, counted from 1.
    pub crash_at_sync: Option<u64>,
    /// The n-th sync fails, and the machine goes on.
    pub fail_at_sync: Option<u64>,
    /// Bytes that fit; `None`: without end.
    pub capacity: Option<u64>,
}

/// How a step fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// EIO; of a write, nothing is there.
    Io,
    /// EIO; of a write, a part is there.
    Short,
    /// ENOSPC; of a write, a part is there.
    Full,
}

/// A disk in memory; clones are the same disk.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    medium: Medium,
    locks: BTreeSet<PathBuf>,
    faults: Faults,
    dice: Dice,
    syncs: u64,
    /// Steps that change something, beside syncs; and steps that read.
    changes: u64,
    reads: u64,
    trouble_at_change: Option<(u64, Trouble)>,
    trouble_at_read: Option<u64>,
    sites: BTreeSet<String>,
    ignored: Option<String>,
    /// How many syncs there were before each that was ignored.
    passed: Vec<u64>,
    crashed: bool,
}

impl SimDisk {
    /// An empty one.
    pub fn new(faults: Faults) -> Self {
        Self::with(Medium::default(), faults, None)
    }

    fn with(medium: Medium, faults: Faults, ignored: Option<String>) -> Self {
        let state = State { medium, faults, ignored, dice: Dice(faults.seed), ..State::default() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// What a machine finds when it starts again after a crash (or a loss of power just now) that
    /// left some of what was not synced, as the seed says.
    #[must_use]
    pub fn after_crash(&self, faults: Faults) -> Self {
        self.after(Leaves::Some, faults)
    }

    /// The same, with a say in what is left. [`Leaves::All`]: what the next process finds when only
    /// this one was killed.
    #[must_use]
    pub fn after(&self, leaves: Leaves, faults: Faults) -> Self {
        let state = self.lock_state();
        let salt = faults.seed.wrapping_mul(0xD134_2543_DE82_EF95);
        let mut dice = Dice(state.dice.0.wrapping_add(salt));
        let medium = state.medium.after(leaves, &mut dice);
        let next = Self::with(medium, faults, state.ignored.clone());
        next.lock_state().sites.clone_from(&state.sites);
        next
    }

    /// How many syncs there were until now.
    pub fn syncs(&self) -> u64 {
        self.lock_state().syncs
    }

    /// How many other steps changed something until now.
    pub fn changes(&self) -> u64 {
        self.lock_state().changes
    }

    /// How many steps read until now.
    pub fn reads(&self) -> u64 {
        self.lock_state().reads
    }

    /// Whose syncs there were until now, on the disk that this one is left of too: what for, and the file, every number in its path as `N`.
    pub fn sites(&self) -> BTreeSet<String> {
        self.lock_state().sites.clone()
    }

    /// Syncs of this site do nothing from now on and say that all is well, on this disk and on what
    /// a crash leaves of it: as if the program did without them.
    pub fn ignore(&self, site: &str) {
        self.lock_state().ignored = Some(site.to_owned());
    }

    /// How many syncs there were before each that [`Self::ignore`] left out, on this disk.
    pub fn passed(&self) -> Vec<u64> {
        self.lock_state().passed.clone()
    }

    /// Did the planned crash happen?
    pub fn crashed(&self) -> bool {
        self.lock_state().crashed
    }

    /// The machine dies just now.
    pub fn crash(&self) {
        self.lock_state().crashed = true;
    }

    /// All files.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.lock_state().medium.files().map(|(path, _)| path.clone()).collect()
    }

    /// Turns one bit of a file over, counted from its start; beyond its end nothing happens.
    pub fn flip(&self, path: &Path, bit: usize) {
        self.lock_state().medium.flip(path, bit);
    }

    /// Takes a directory away that nothing stands in, durably: a copy of the files alone lacks it.
    pub fn remove_dir(&self, path: &Path) {
        self.lock_state().medium.remove_dir(path);
    }

    /// Changes how much fits.
    pub fn set_capacity(&self, capacity: Option<u64>) {
        self.lock_state().faults.capacity = capacity;
    }

    /// The n-th sync from now on fails, and the machine goes on.
    pub fn fail_sync(&self, n: u64) {
        let mut state = self.lock_state();
        state.faults.fail_at_sync = Some(state.syncs + n);
    }

    /// The n-th other step from now on that changes something fails so, and the machine goes on.
    pub fn fail_change(&self, n: u64, trouble: Trouble) {
        let mut state = self.lock_state();
        state.trouble_at_change = Some((state.changes + n, trouble));
    }

    /// The n-th step from now on that reads fails, and the machine goes on.
    pub fn fail_read(&self, n: u64) {
        let mut state = self.lock_state();
        state.trouble_at_read = Some(state.reads + n);
    }

    fn lock_state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, unless the machine is dead.
    fn alive(&self, op: &'static str, path: &Path) -> Result<MutexGuard<'_, State>> {
        let state = self.lock_state();
        if state.crashed { Err(broken(op, path)) } else { Ok(state) }
    }

    /// The state for a step that changes something, unless it is to fail.
    fn change(&self, op: &'static str, path: &Path) -> Result<MutexGuard<'_, State>> {
        let mut state = self.alive(op, path)?;
        match state.next_change() {
            None => Ok(state),
            Some(Trouble::Full) => Err(full(op, path)),
            Some(Trouble::Io | Trouble::Short) => Err(broken(op, path)),
        }
    }

    /// The state for a step that reads, unless it is to fail.
    fn reading(&self, op: &'static str, path: &Path) -> Result<MutexGuard<'_, State>> {
        let mut state = self.alive(op, path)?;
        state.reads += 1;
        if state.trouble_at_read == Some(state.reads) { Err(broken(op, path)) } else { Ok(state) }
    }
}

impl State {
    fn next_change(&mut self) -> Option<Trouble> {
        self.changes += 1;
        self.trouble_at_change.filter(|(at, _)| *at == self.changes).map(|(_, trouble)| trouble)
    }

    /// One sync: `work` is what it does to the medium. One that fails may have done it.
    fn sync(&mut self, site: String, work: impl FnOnce(&mut Medium)) -> bool {
        if self.ignored.as_ref() == Some(&site) {
            self.passed.push(self.syncs);
            return true;
        }
        self.sites.insert(site);
        self.syncs += 1;
        self.crashed = self.faults.crash_at_sync == Some(self.syncs);
        let fails = self.crashed || self.faults.fail_at_sync == Some(self.syncs);
        if !fails || self.dice.roll(2) == 0 {
            work(&mut self.medium);
        }
        !fails
    }

    fn room(&self) -> u64 {
        let used = || self.medium.files().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
        self.faults.capacity.map_or(1 << 40, |capacity| capacity.saturating_sub(used()))
    }

    fn has_parent(&self, op: &'static str, path: &Path) -> Result<()> {
        let dir = path.parent().unwrap_or(path);
        if self.medium.has_dir(dir) { Ok(()) } else { Err(missing(op, path)) }
    }
}

fn broken(op: &'static str, path: &Path) -> Error {
    Error::io(op, path, io::Error::other("simulated failure"))
}

fn full(op: &'static str, path: &Path) -> Error {
    Error::io(op, path, io::ErrorKind::StorageFull.into())
}

fn missing(op: &'static str, path: &Path) -> Error {
    Error::io(op, path, io::ErrorKind::NotFound.into())
}

/// What a sync is known by: numbers differ from run to run.
fn site(op: &str, path: &Path) -> String {
    let mut name = format!("{op} ");
    for c in path.display().to_string().chars() {
        let c = if c.is_ascii_digit() { 'N' } else { c };
        if c != 'N' || !name.ends_with('N') {
            name.push(c);
        }
    }
    name
}

impl Steps for SimDisk {
    fn has_dir(&self, path: &Path) -> bool {
        self.lock_state().medium.has_dir(path)
    }

    fn make_dir(&self, path: &Path) -> Result<()> {
        let mut state = self.change("create the directory", path)?;
        state.has_parent("create the directory", path)?;
        state.medium.add_dir(path);
        Ok(())
    }

    fn names_in(&self, path: &Path) -> Result<Vec<DirEntry>> {
        let state = self.reading("list", path)?;
        let inside = |p: &Path| {
            let name = p.file_name().filter(|_| p.parent() == Some(path))?;
            Some(name.to_string_lossy().into_owned())
        };
        let files = state.medium.files().filter_map(|(p, bytes)| {
            Some(DirEntry { name: inside(p)?, is_dir: false, len: bytes.len() as u64 })
        });
        let dirs = state.medium.dirs();
        let dirs = dirs.filter_map(|p| Some(DirEntry { name: inside(p)?, is_dir: true, len: 0 }));
        let mut found: Vec<DirEntry> = files.chain(dirs).collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    fn content(&self, path: &Path) -> Result<Vec<u8>> {
        let state = self.reading("read", path)?;
        state.medium.bytes(path).map(<[u8]>::to_vec).ok_or_else(|| missing("read", path))
    }

    fn reader(&self, path: &Path) -> Result<Arc<dyn ReadAt>> {
        let bytes = self.content(path)?;
        Ok(Arc::new(SimFile { disk: self.clone(), bytes, path: path.to_owned() }))
    }

    fn make_file(&self, path: &Path, over: bool) -> Result<Box<dyn AppendFile>> {
        let mut state = self.change("create", path)?;
        state.has_parent("create", path)?;
        let number = match state.medium.number(path) {
            Some(_) if !over => {
                return Err(Error::io("create", path, io::ErrorKind::AlreadyExists.into()));
            }
            Some(number) => {
                state.medium.cut(number, 0);
                number
            }
            None => state.medium.add_file(path),
        };
        Ok(Box::new(SimAppend { disk: self.clone(), number, path: path.to_owned() }))
    }

    fn grow_file(&self, path: &Path) -> Result<Box<dyn AppendFile>> {
        let state = self.alive("open", path)?;
        let number = state.medium.number(path).ok_or_else(|| missing("open", path))?;
        Ok(Box::new(SimAppend { disk: self.clone(), number, path: path.to_owned() }))
    }

    fn move_file(&self, from: &Path, to: &Path) -> Result<()> {
        let mut state = self.change("rename", from)?;
        state.has_parent("rename", to)?;
        if state.medium.rename(from, to) { Ok(()) } else { Err(missing("rename", from)) }
    }

    fn unlink(&self, path: &Path) -> Result<()> {
        self.change("remove", path)?.medium.unlink(path);
        Ok(())
    }

    fn cut(&self, path: &Path, len: u64) -> Result<()> {
        let mut state = self.change("truncate", path)?;
        let number = state.medium.number(path).ok_or_else(|| missing("truncate", path))?;
        state.medium.cut(number, usize::try_from(len).unwrap_or(0));
        Ok(())
    }

    fn sync_file(&self, path: &Path, op: &'static str) -> Result<()> {
        let mut state = self.alive("sync", path)?;
        let number = state.medium.number(path).ok_or_else(|| missing("sync", path))?;
        let done = state.sync(site(op, path), |medium| medium.sync_file(number));
        if done { Ok(()) } else { Err(broken("sync", path)) }
    }

    fn sync_dir(&self, path: &Path, op: &'static str) -> Result<()> {
        let mut state = self.alive("sync the directory", path)?;
        let done = state.sync(site(op, path), |medium| medium.sync_dir(path));
        if done { Ok(()) } else { Err(broken("sync the directory", path)) }
    }

    fn room(&self, path: &Path) -> Result<u64> {
        Ok(self.alive("measure", path)?.room())
    }

    fn hold(&self, path: &Path) -> Result<Box<dyn Send + Sync>> {
        let mut state = self.alive("lock", path)?;
        state.has_parent("lock", path)?;
        if !state.locks.insert(path.to_owned()) {
            let path = path.parent().unwrap_or(path).to_owned();
            return Err(Error::InUse { path, pid: None });
        }
        Ok(Box::new(SimLock { disk: self.clone(), path: path.to_owned() }))
    }
}

/// Reads what the file was when it was opened; files that are read do not change.
struct SimFile {
    disk: SimDisk,
    bytes: Vec<u8>,
    path: PathBuf,
}

impl ReadAt for SimFile {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, at: u64, len: usize) -> Result<Vec<u8>> {
        drop(self.disk.reading("read", &self.path)?);
        let range = usize::try_from(at).ok().and_then(|at| Some(at..at.checked_add(len)?));
        range.and_then(|r| self.bytes.get(r)).map(<[u8]>::to_vec).ok_or_else(|| {
            let what = format!("{len} bytes at {at} lie beyond its end at {}", self.bytes.len());
            Error::corrupt(self.path.display().to_string(), what)
        })
    }
}

struct SimAppend {
    disk: SimDisk,
    number: usize,
    path: PathBuf,
}

impl AppendFile for SimAppend {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let mut state = self.disk.alive("write", &self.path)?;
        let trouble = state.next_change();
        let room = usize::try_from(state.room()).unwrap_or(usize::MAX);
        let mut part = |of: usize| usize::try_from(state.dice.roll(of as u64 + 1)).unwrap_or(0);
        let (fits, error) = match trouble {
            Some(Trouble::Io) => (0, broken("write", &self.path)),
            Some(Trouble::Short) => (part(bytes.len()), broken("write", &self.path)),
            Some(Trouble::Full) => (part(bytes.len()), full("write", &self.path)),
            None if bytes.len() > room => (room, full("write", &self.path)),
            None => (bytes.len(), full("write", &self.path)),
        };
        let whole = trouble.is_none() && fits == bytes.len();
        state.medium.append(self.number, bytes.get(..fits).unwrap_or(bytes));
        if whole { Ok(()) } else { Err(error) }
    }

    fn sync(&mut self) -> Result<()> {
        let mut state = self.disk.alive("sync", &self.path)?;
        let number = self.number;
        let done = state.sync(site("sync", &self.path), |medium| medium.sync_file(number));
        if done { Ok(()) } else { Err(broken("sync", &self.path)) }
    }
}

struct SimLock {
    disk: SimDisk,
    path: PathBuf,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.lock_state().locks.remove(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::machine::Disk as _;

    fn written(faults: Faults) -> (SimDisk, PathBuf) {
        let disk = SimDisk::new(faults);
        disk.create_dir_all(Path::new("/d")).unwrap();
        (disk, PathBuf::from("/d/f"))
    }

    #[test]
    fn a_crash_keeps_what_was_synced_and_tears_the_rest() {
        let mut lengths = BTreeSet::new();
        for seed in 0..64 {
            let (disk, path) = written(Faults { seed, ..Faults::default() });
            let mut file = disk.create(&path).unwrap();
            file.append(b"kept").unwrap();
            file.sync().unwrap();
            file.append(b"lost or torn").unwrap();
            let after = disk.after_crash(Faults { seed, ..Faults::default() });
            let bytes = after.read(&path).unwrap();
            assert!(bytes.starts_with(b"kept"), "seed {seed}: {bytes:?}");
            lengths.insert(bytes.len());
        }
        assert!(lengths.len() > 5, "{lengths:?}");
    }

    #[test]
    fn the_nth_step_kills_the_machine() {
        let (disk, path) = written(Faults { crash_at_sync: Some(3), ..Faults::default() });
        let mut file = disk.create(&path).unwrap();
        file.append(b"x").unwrap();
        assert!(file.sync().is_err());
        assert!(disk.crashed());
        assert!(file.append(b"y").is_err());
        assert!(disk.read(&path).is_err());
    }

    #[test]
    fn a_full_disk_says_so_and_has_room_again() {
        let (disk, path) = written(Faults { capacity: Some(10), ..Faults::default() });
        let mut file = disk.create(&path).unwrap();
        file.append(b"12345").unwrap();
        assert!(file.append(b"1234567").unwrap_err().is_disk_full());
        disk.truncate(&path, 5).unwrap();
        disk.set_capacity(Some(20));
        assert_eq!(disk.free_bytes(&path).unwrap(), 15);
        file.append(b"1234567").unwrap();
        assert_eq!(disk.read(&path).unwrap(), b"123451234567");
    }

    #[test]
    fn a_removed_file_may_be_back_after_a_crash() {
        let mut back = 0;
        for seed in 0..32 {
            let (disk, path) = written(Faults { seed, ..Faults::default() });
            drop(disk.create(&path).unwrap());
            disk.remove(&path).unwrap();
            back += disk.after_crash(Faults { seed, ..Faults::default() }).paths().len();
        }
        assert!(back > 5 && back < 27, "{back}");
    }
}
