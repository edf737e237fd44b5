//! The two seams to the machine: its clock and its disk.
//!
//! Everything above asks these traits, so that `sim` can stand in with a crash at the n-th sync,
//! a torn write, a full disk. `std::fs` and `Instant::now` are used in this file only.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::base::error::Result;
use crate::base::time::Timestamp;

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
    /// Replaces a file's content as one step: the old or the new is there, never a mixture.
    fn replace(&self, path: &Path, content: &[u8]) -> Result<()>;
    /// Renames as one step, over what was there.
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
