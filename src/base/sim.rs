//! A clock that is turned by hand, and a disk in memory that fails on demand, by seed.
//!
//! The disk knows what a real one promises (`machine`) and gives nothing beyond it: at a crash,
//! bytes that were not synced are gone, or there in part, or there as garbage; a file that was
//! removed may be back. What it does is decided by its seed, so that a failure can be shown again.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::error::{Error, Result};
use crate::base::machine::{AppendFile, Clock, DirEntry, Disk, ReadAt};
use crate::base::time::Timestamp;

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
    /// The machine dies in the n-th step that makes something durable, counted from 1.
    pub crash_at_sync: Option<u64>,
    /// The n-th such step fails, and the machine goes on.
    pub fail_at_sync: Option<u64>,
    /// Bytes that fit; `None`: without end.
    pub capacity: Option<u64>,
}

/// A disk in memory; clones are the same disk.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    files: BTreeMap<PathBuf, File>,
    dirs: BTreeSet<PathBuf>,
    /// Removed, but their directory was not synced since.
    removed: Vec<(PathBuf, File)>,
    locks: BTreeSet<PathBuf>,
    faults: Faults,
    random: u64,
    syncs: u64,
    crashed: bool,
}

#[derive(Clone, Default)]
struct File {
    bytes: Vec<u8>,
    /// So many of them survive a crash for certain.
    synced: usize,
}

impl SimDisk {
    /// An empty one.
    pub fn new(faults: Faults) -> Self {
        let state = State { faults, random: faults.seed, ..State::default() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// What a machine finds when it starts again after a crash (or a loss of power just now).
    #[must_use]
    pub fn after_crash(&self, faults: Faults) -> Self {
        let mut old = self.lock_state();
        old.random = old.random.wrapping_add(faults.seed.wrapping_mul(0xD134_2543_DE82_EF95));
        let mut state = State { faults, random: faults.seed, ..State::default() };
        state.dirs.clone_from(&old.dirs);
        let mut files = old.files.clone();
        for (path, file) in std::mem::take(&mut old.removed) {
            if old.roll(2) == 0 {
                files.entry(path).or_insert(file);
            }
        }
        for file in files.values_mut() {
            let torn = file.bytes.len().saturating_sub(file.synced);
            let kept = old.roll(torn as u64 + 1);
            file.bytes.truncate(file.synced.saturating_add(usize::try_from(kept).unwrap_or(0)));
            if kept > 0 && old.roll(2) == 0 {
                // A block that was allocated but not written reads as zeros.
                let from = file.synced + usize::try_from(old.roll(kept)).unwrap_or(0);
                file.bytes.iter_mut().skip(from).take(4096).for_each(|b| *b = 0);
            }
            file.synced = file.bytes.len();
        }
        state.files = files;
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// How many steps made something durable until now.
    pub fn syncs(&self) -> u64 {
        self.lock_state().syncs
    }

    /// Did the planned crash happen?
    pub fn crashed(&self) -> bool {
        self.lock_state().crashed
    }

    /// All files.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.lock_state().files.keys().cloned().collect()
    }

    /// Turns one bit of a file over, counted from its start; beyond its end nothing happens.
    pub fn flip(&self, path: &Path, bit: usize) {
        if let Some(byte) =
            self.lock_state().files.get_mut(path).and_then(|f| f.bytes.get_mut(bit / 8))
        {
            *byte ^= 1 << (bit % 8);
        }
    }

    /// Changes how much fits.
    pub fn set_capacity(&self, capacity: Option<u64>) {
        self.lock_state().faults.capacity = capacity;
    }

    /// The n-th durable step from now on fails, and the machine goes on.
    pub fn fail_sync(&self, n: u64) {
        let mut state = self.lock_state();
        state.faults.fail_at_sync = Some(state.syncs + n);
    }

    fn lock_state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, unless the machine is dead.
    fn alive(&self, op: &'static str, path: &Path) -> Result<MutexGuard<'_, State>> {
        let state = self.lock_state();
        if state.crashed { Err(broken(op, path)) } else { Ok(state) }
    }
}

/// How a step that makes something durable goes.
enum Step {
    Done,
    /// Fails; `true`: what it was to do is done all the same.
    Fails(bool),
}

impl State {
    /// A number below `n`; splitmix64.
    fn roll(&mut self, n: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n.max(1)
    }

    fn step(&mut self) -> Step {
        self.syncs += 1;
        if self.faults.crash_at_sync == Some(self.syncs) {
            self.crashed = true;
            return Step::Fails(self.roll(2) == 0);
        }
        if self.faults.fail_at_sync == Some(self.syncs) {
            return Step::Fails(self.roll(2) == 0);
        }
        Step::Done
    }

    fn used(&self) -> u64 {
        self.files.values().map(|f| f.bytes.len() as u64).sum()
    }

    fn room(&self) -> u64 {
        self.faults.capacity.map_or(1 << 40, |c| c.saturating_sub(self.used()))
    }

    fn dir_synced(&mut self, path: &Path) {
        self.removed.retain(|(p, _)| p.parent() != path.parent());
    }

    fn has_parent(&self, op: &'static str, path: &Path) -> Result<()> {
        match path.parent() {
            Some(dir) if self.dirs.contains(dir) => Ok(()),
            _ => Err(Error::io(op, path, io::ErrorKind::NotFound.into())),
        }
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

impl Disk for SimDisk {
    fn create_dir_all(&self, path: &Path) -> Result<()> {
        let mut state = self.alive("create the directory", path)?;
        let new: Vec<PathBuf> =
            path.ancestors().filter(|p| !state.dirs.contains(*p)).map(Path::to_owned).collect();
        if new.is_empty() {
            return Ok(());
        }
        match state.step() {
            Step::Fails(false) => return Err(broken("create the directory", path)),
            Step::Done | Step::Fails(true) => state.dirs.extend(new),
        }
        if state.crashed { Err(broken("create the directory", path)) } else { Ok(()) }
    }

    fn list(&self, path: &Path) -> Result<Vec<DirEntry>> {
        let state = self.alive("list", path)?;
        let name = |p: &Path| p.file_name().map(|n| n.to_string_lossy().into_owned());
        let files =
            state.files.iter().filter(|(p, _)| p.parent() == Some(path)).filter_map(|(p, file)| {
                Some(DirEntry { name: name(p)?, is_dir: false, len: file.bytes.len() as u64 })
            });
        let dirs = state
            .dirs
            .iter()
            .filter(|p| p.parent() == Some(path))
            .filter_map(|p| Some(DirEntry { name: name(p)?, is_dir: true, len: 0 }));
        let mut found: Vec<DirEntry> = files.chain(dirs).collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>> {
        let state = self.alive("read", path)?;
        state.files.get(path).map(|f| f.bytes.clone()).ok_or_else(|| missing("read", path))
    }

    fn open(&self, path: &Path) -> Result<Arc<dyn ReadAt>> {
        Ok(Arc::new(SimFile { bytes: self.read(path)?, path: path.to_owned() }))
    }

    fn create(&self, path: &Path) -> Result<Box<dyn AppendFile>> {
        let mut state = self.alive("create", path)?;
        state.has_parent("create", path)?;
        if state.files.contains_key(path) {
            return Err(Error::io("create", path, io::ErrorKind::AlreadyExists.into()));
        }
        let step = state.step();
        if !matches!(step, Step::Fails(false)) {
            state.files.insert(path.to_owned(), File::default());
            state.dir_synced(path);
        }
        match step {
            Step::Done => Ok(Box::new(SimAppend { disk: self.clone(), path: path.to_owned() })),
            Step::Fails(_) => Err(broken("create", path)),
        }
    }

    fn append_to(&self, path: &Path) -> Result<Box<dyn AppendFile>> {
        if !self.alive("open", path)?.files.contains_key(path) {
            return Err(missing("open", path));
        }
        Ok(Box::new(SimAppend { disk: self.clone(), path: path.to_owned() }))
    }

    fn replace(&self, path: &Path, content: &[u8]) -> Result<()> {
        let mut state = self.alive("replace", path)?;
        state.has_parent("replace", path)?;
        // Old and new stand beside each other for a moment.
        if content.len() as u64 > state.room() {
            return Err(full("replace", path));
        }
        let step = state.step();
        if !matches!(step, Step::Fails(false)) {
            let file = File { bytes: content.to_vec(), synced: content.len() };
            state.files.insert(path.to_owned(), file);
            state.dir_synced(path);
        }
        match step {
            Step::Done => Ok(()),
            Step::Fails(_) => Err(broken("replace", path)),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let mut state = self.alive("rename", from)?;
        state.has_parent("rename", to)?;
        if !state.files.contains_key(from) {
            return Err(missing("rename", from));
        }
        let step = state.step();
        if !matches!(step, Step::Fails(false))
            && let Some(file) = state.files.remove(from)
        {
            state.files.insert(to.to_owned(), file);
            state.dir_synced(to);
        }
        match step {
            Step::Done => Ok(()),
            Step::Fails(_) => Err(broken("rename", from)),
        }
    }

    fn remove(&self, path: &Path) -> Result<()> {
        let mut state = self.alive("remove", path)?;
        if let Some(file) = state.files.remove(path) {
            state.removed.push((path.to_owned(), file));
        }
        Ok(())
    }

    fn truncate(&self, path: &Path, len: u64) -> Result<()> {
        let mut state = self.alive("truncate", path)?;
        let step = state.step();
        let file = state.files.get_mut(path).ok_or_else(|| missing("truncate", path))?;
        if !matches!(step, Step::Fails(false)) {
            file.bytes.resize(usize::try_from(len).unwrap_or(0), 0);
            file.synced = file.bytes.len();
        }
        match step {
            Step::Done => Ok(()),
            Step::Fails(_) => Err(broken("truncate", path)),
        }
    }

    fn free_bytes(&self, path: &Path) -> Result<u64> {
        Ok(self.alive("measure", path)?.room())
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Send + Sync>> {
        let mut state = self.alive("lock", path)?;
        state.has_parent("lock", path)?;
        if !state.locks.insert(path.to_owned()) {
            let path = path.parent().unwrap_or(path).to_owned();
            return Err(Error::InUse { path, pid: None });
        }
        Ok(Box::new(SimLock { disk: self.clone(), path: path.to_owned() }))
    }
}

struct SimFile {
    bytes: Vec<u8>,
    path: PathBuf,
}

impl ReadAt for SimFile {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, at: u64, len: usize) -> Result<Vec<u8>> {
        let range = usize::try_from(at).ok().and_then(|at| Some(at..at.checked_add(len)?));
        range.and_then(|r| self.bytes.get(r)).map(<[u8]>::to_vec).ok_or_else(|| {
            let what = format!("{len} bytes at {at} lie beyond its end at {}", self.bytes.len());
            Error::corrupt(self.path.display().to_string(), what)
        })
    }
}

struct SimAppend {
    disk: SimDisk,
    path: PathBuf,
}

impl AppendFile for SimAppend {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let mut state = self.disk.alive("write", &self.path)?;
        let room = state.room();
        let fits = if bytes.len() as u64 > room { state.roll(room + 1) } else { room };
        let fits = usize::try_from(fits).unwrap_or(usize::MAX).min(bytes.len());
        let file = state.files.get_mut(&self.path).ok_or_else(|| missing("write", &self.path))?;
        file.bytes.extend_from_slice(bytes.get(..fits).unwrap_or(bytes));
        if bytes.len() as u64 > room { Err(full("write", &self.path)) } else { Ok(()) }
    }

    fn sync(&mut self) -> Result<()> {
        let mut state = self.disk.alive("sync", &self.path)?;
        let step = state.step();
        let file = state.files.get_mut(&self.path).ok_or_else(|| missing("sync", &self.path))?;
        if !matches!(step, Step::Fails(false)) {
            file.synced = file.bytes.len();
        }
        match step {
            Step::Done => Ok(()),
            Step::Fails(_) => Err(broken("sync", &self.path)),
        }
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
