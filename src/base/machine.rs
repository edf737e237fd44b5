//! The two seams to the machine: its clock and its disk.
//!
//! Everything above asks these traits, so that `sim` can stand in with a crash at the n-th sync,
//! a torn write, a full disk. `std::fs` and `Instant::now` are used in this file only.

use std::fs::{self, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::base::durable::Steps;
use crate::base::error::{Error, Result};
use crate::base::time::Timestamp;

/// What [`Disk::replace`] adds to a name for the file that it writes first; after a crash one may
/// be left behind, and means nothing.
pub const TEMP_SUFFIX: &str = ".tmp";

/// What time it is.
pub trait Clock: Send + Sync {
    /// Wall clock; may jump.
    fn now(&self) -> Timestamp;
    /// Time since some fixed moment; never goes back.
    fn monotonic(&self) -> Duration;
}

/// Files below a directory. All paths are as given; nothing is relative to hidden state.
///
/// *Durability:* what `AppendFile::sync` returned `Ok` for survives a crash, and so do the names
/// made by `create_dir_all`, `create`, `replace` and `rename` (each syncs the directory).
pub trait Disk: Send + Sync {
    /// Makes a directory and its parents.
    fn create_dir_all(&self, path: &Path) -> Result<()>;
    /// What is in a directory, sorted by name; a directory that is not there is empty.
    fn list(&self, path: &Path) -> Result<Vec<DirEntry>>;
    /// A whole file.
    fn read(&self, path: &Path) -> Result<Vec<u8>>;
    /// A file to read from at any place.
    fn open(&self, path: &Path) -> Result<Arc<dyn ReadAt>>;
    /// A new, empty file to append to; fails where it exists.
    fn create(&self, path: &Path) -> Result<Box<dyn AppendFile>>;
    /// A file that exists, to append to at its end.
    fn append_to(&self, path: &Path) -> Result<Box<dyn AppendFile>>;
    /// Replaces a file's content as one step: the old or the new is there, never a mixture.
    fn replace(&self, path: &Path, content: &[u8]) -> Result<()>;
    /// Renames as one step, over what was there. After a crash a file that came from another
    /// directory may be under both names.
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;
    /// Removes a file; one that is not there is fine.
    fn remove(&self, path: &Path) -> Result<()>;
    /// Cuts a file to `len` bytes, synced.
    fn truncate(&self, path: &Path, len: u64) -> Result<()>;
    /// Bytes that an unprivileged process may still write below `path`.
    fn free_bytes(&self, path: &Path) -> Result<u64>;
    /// Takes the exclusive lock on a lock file and writes our pid into it; held until dropped.
    fn lock(&self, path: &Path) -> Result<Box<dyn Send + Sync>>;
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The last part of its path.
    pub name: String,
    /// A directory?
    pub is_dir: bool,
    /// Its size, bytes.
    pub len: u64,
}

/// Reading at any place, from many threads at once.
pub trait ReadAt: Send + Sync {
    /// Size, bytes.
    fn len(&self) -> u64;
    /// Exactly `len` bytes from `at` on; fewer are an error.
    fn read_at(&self, at: u64, len: usize) -> Result<Vec<u8>>;
    /// Nothing in it?
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A file that grows at its end.
pub trait AppendFile: Send {
    /// Adds bytes at the end.
    fn append(&mut self, bytes: &[u8]) -> Result<()>;
    /// Returns once all that was appended is on the medium. After an error nothing may be assumed.
    fn sync(&mut self) -> Result<()>;
}

/// A whole file that is not below the data directory: configuration, certificates, `/proc`.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path)
}

/// A file to be read once from its start: what `import` is given.
pub fn open_to_read(path: &Path) -> io::Result<(Box<dyn io::Read + Send>, u64)> {
    #[expect(clippy::disallowed_types, reason = "read once, outside of the data directory")]
    let file = fs::File::open(path)?;
    let meta = file.metadata()?;
    if meta.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory));
    }
    Ok((Box::new(file), meta.len()))
}

/// The calling thread works only when others leave it a core. Where the system does not let it, it
/// works as before.
pub fn lower_priority() {
    if let Err(error) = rustix::process::setpriority_process(None, LOW_PRIORITY) {
        tracing::debug!(%error, "a background thread keeps its priority");
    }
}

/// Memory of this process is had and given back in pages of the usual size. Batches of records come
/// and go: with huge pages the system cleared many times what was used, measured a third of the
/// CPU time that taking logs in needs. Where it does not let us, all works as before.
pub fn use_small_pages() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay allowed");
    }
}

/// As `nice` counts: a tenth of what a usual thread gets where both want to run.
const LOW_PRIORITY: i32 = 10;

/// How the machine calls itself.
pub fn hostname() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = text.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}

/// Memory that this process may use, bytes: the machine's, or its cgroup's where that is less.
/// 1 GiB where nothing says.
pub fn memory_bytes() -> u64 {
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    let meminfo = read(Path::new("/proc/meminfo"));
    let machine = meminfo
        .lines()
        .find_map(|line| {
            line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse().ok()
        })
        .map_or(1 << 30, |kib: u64| kib << 10);
    // Version 2 names the group behind `0::`; limits of all groups above it hold too. In a
    // container the group is often the root of what can be seen.
    let groups = read(Path::new("/proc/self/cgroup"));
    let own = groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let root = Path::new("/sys/fs/cgroup");
    Path::new(own.trim_start_matches('/'))
        .ancestors()
        .map(|group| root.join(group).join("memory.max"))
        .chain([root.join("memory/memory.limit_in_bytes")])
        .filter_map(|path| read(&path).trim().parse::<u64>().ok())
        .fold(machine, u64::min)
}

/// The machine's own clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Counts [`Clock::monotonic`] from now on.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the Clock that all others take")]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the Clock that all others take")]
    fn now(&self) -> Timestamp {
        let since = |d: Duration| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX);
        match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => Timestamp(since(after)),
            Err(before) => Timestamp(-since(before.duration())),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "this is the Clock that all others take")]
    fn monotonic(&self) -> Duration {
        Instant::now().duration_since(self.start)
    }
}

/// The machine's own files.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemDisk;

impl Steps for SystemDisk {
    fn has_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn make_dir(&self, path: &Path) -> Result<()> {
        // Logs tell of people: nobody but the owner and its group has to read them.
        match fs::DirBuilder::new().mode(0o750).create(path) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                Err(Error::io("create the directory", path, e))
            }
            _ => Ok(()),
        }
    }

    fn names_in(&self, path: &Path) -> Result<Vec<DirEntry>> {
        let fail = |e| Error::io("list", path, e);
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(fail(e)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(fail)?;
            let meta = match entry.metadata() {
                Ok(meta) => meta,
                // Gone since the directory was read.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(Error::io("look at", entry.path(), e)),
            };
            found.push(DirEntry {
                name: entry.file_name().to_string_lossy().into_owned(),
                is_dir: meta.is_dir(),
                len: meta.len(),
            });
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    fn content(&self, path: &Path) -> Result<Vec<u8>> {
        fs::read(path).map_err(|e| Error::io("read", path, e))
    }

    fn reader(&self, path: &Path) -> Result<Arc<dyn ReadAt>> {
        let fail = |e| Error::io("open", path, e);
        let file = OpenOptions::new().read(true).open(path).map_err(fail)?;
        let len = file.metadata().map_err(fail)?.len();
        Ok(Arc::new(SystemFile { file, path: path.to_owned(), len }))
    }

    fn make_file(&self, path: &Path, over: bool) -> Result<Box<dyn AppendFile>> {
        // O_APPEND, so that after a `truncate` the next bytes stand at the new end.
        let mut options = OpenOptions::new();
        options.append(true).create(over).create_new(!over);
        let file = options.open(path).map_err(|e| Error::io("create", path, e))?;
        if over {
            file.set_len(0).map_err(|e| Error::io("create", path, e))?;
        }
        Ok(Box::new(SystemAppend { file, path: path.to_owned() }))
    }

    fn grow_file(&self, path: &Path) -> Result<Box<dyn AppendFile>> {
        let file = OpenOptions::new().append(true).open(path);
        let file = file.map_err(|e| Error::io("open", path, e))?;
        Ok(Box::new(SystemAppend { file, path: path.to_owned() }))
    }

    #[expect(clippy::disallowed_methods, reason = "`durable` syncs the directories")]
    fn move_file(&self, from: &Path, to: &Path) -> Result<()> {
        fs::rename(from, to).map_err(|e| Error::io("rename", from, e))
    }

    fn unlink(&self, path: &Path) -> Result<()> {
        match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path, e)),
            _ => Ok(()),
        }
    }

    fn cut(&self, path: &Path, len: u64) -> Result<()> {
        let fail = |e| Error::io("truncate", path, e);
        let file = OpenOptions::new().write(true).open(path).map_err(fail)?;
        file.set_len(len).map_err(fail)
    }

    fn sync_file(&self, path: &Path, _op: &'static str) -> Result<()> {
        let fail = |e| Error::io("sync", path, e);
        OpenOptions::new().write(true).open(path).map_err(fail)?.sync_data().map_err(fail)
    }

    fn sync_dir(&self, path: &Path, _op: &'static str) -> Result<()> {
        let fail = |e| Error::io("sync the directory", path, e);
        OpenOptions::new().read(true).open(path).map_err(fail)?.sync_all().map_err(fail)
    }

    fn room(&self, path: &Path) -> Result<u64> {
        let stat = rustix::fs::statvfs(path).map_err(|e| Error::io("measure", path, e.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn hold(&self, path: &Path) -> Result<Box<dyn Send + Sync>> {
        let fail = |e| Error::io("lock", path, e);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = fs::read_to_string(path).ok().and_then(|t| t.trim().parse().ok());
                let path = path.parent().unwrap_or(path).to_owned();
                return Err(Error::InUse { path, pid });
            }
            Err(TryLockError::Error(e)) => return Err(fail(e)),
        }
        // Who holds it is for people to read: on a full disk it is held all the same.
        let pid = format!("{}\n", std::process::id());
        match file.set_len(0).and_then(|()| file.write_all(pid.as_bytes())).map_err(fail) {
            Err(error) if !error.is_disk_full() => Err(error),
            _ => Ok(Box::new(file)),
        }
    }
}

#[expect(clippy::disallowed_types, reason = "this is the Disk that all others take")]
struct SystemFile {
    file: fs::File,
    path: PathBuf,
    len: u64,
}

impl ReadAt for SystemFile {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, at: u64, len: usize) -> Result<Vec<u8>> {
        // A damaged length must not become an allocation.
        if at.checked_add(len as u64).is_none_or(|end| end > self.len) {
            let what = format!("{len} bytes at {at} lie beyond its end at {}", self.len);
            return Err(Error::corrupt(self.path.display().to_string(), what));
        }
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, at).map_err(|e| Error::io("read", &self.path, e))?;
        Ok(bytes)
    }
}

#[expect(clippy::disallowed_types, reason = "this is the Disk that all others take")]
struct SystemAppend {
    file: fs::File,
    path: PathBuf,
}

impl AppendFile for SystemAppend {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|e| Error::io("write", &self.path, e))
    }

    fn sync(&mut self) -> Result<()> {
        self.file.sync_data().map_err(|e| Error::io("sync", &self.path, e))
    }
}

/// Memory that this process holds in RAM, bytes; `None` where the system does not say.
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let number = kilobytes.trim().strip_suffix("kB")?.trim();
    number.parse::<u64>().ok().map(|kb| kb * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_made_read_replaced_and_cut() {
        let dir = tempfile::tempdir().unwrap();
        let disk = SystemDisk;
        let deep = dir.path().join("a/b/c");
        disk.create_dir_all(&deep).unwrap();
        disk.create_dir_all(&deep).unwrap();
        let path = deep.join("one");
        let mut file = disk.create(&path).unwrap();
        assert!(disk.create(&path).is_err());
        file.append(b"hello ").unwrap();
        file.append(b"world").unwrap();
        file.sync().unwrap();
        disk.truncate(&path, 5).unwrap();
        file.append(b"!").unwrap();
        assert_eq!(disk.read(&path).unwrap(), b"hello!");
        let open = disk.open(&path).unwrap();
        assert_eq!((open.len(), open.is_empty()), (6, false));
        assert_eq!(open.read_at(1, 4).unwrap(), b"ello");
        assert!(matches!(open.read_at(3, 4), Err(Error::Corrupt { .. })));
        assert!(matches!(open.read_at(u64::MAX, 4), Err(Error::Corrupt { .. })));
        disk.replace(&path, b"new").unwrap();
        assert_eq!(disk.read(&path).unwrap(), b"new");
        disk.rename(&path, &dir.path().join("two")).unwrap();
        assert!(disk.list(&deep).unwrap().is_empty());
        let names: Vec<_> = disk.list(dir.path()).unwrap();
        assert_eq!(names[0], DirEntry { name: "a".into(), is_dir: true, len: names[0].len });
        assert_eq!(names[1], DirEntry { name: "two".into(), is_dir: false, len: 3 });
        disk.remove(&dir.path().join("two")).unwrap();
        disk.remove(&dir.path().join("two")).unwrap();
        assert!(disk.list(&dir.path().join("none")).unwrap().is_empty());
        assert!(disk.free_bytes(dir.path()).unwrap() > 0);
    }

    #[test]
    fn a_lock_is_exclusive_names_its_holder_and_ends_when_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = SystemDisk.lock(&path).unwrap();
        match SystemDisk.lock(&path).map(drop) {
            Err(Error::InUse { path, pid }) => {
                assert_eq!((path.as_path(), pid), (dir.path(), Some(std::process::id())));
            }
            other => panic!("{other:?}"),
        }
        drop(held);
        drop(SystemDisk.lock(&path).unwrap());
    }

    #[test]
    fn the_clock_is_of_this_century_and_does_not_go_back() {
        let clock = SystemClock::new();
        assert!(clock.now() > Timestamp::parse_rfc3339("2024-01-01T00:00:00Z").unwrap());
        let first = clock.monotonic();
        assert!(clock.monotonic() >= first);
    }
}
