//! What is durable when: the one door to the disk, made of single steps of the machine.
//!
//! `machine::SystemDisk` and `sim::SimDisk` give the steps, none of which makes another durable.
//! Here, and only here, they become what the store relies on ([`Disk`]). So the simulated disk runs
//! the very syncs that the real one does, and a test can take each of them out (`store/tests`).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::error::{Error, Result};
use crate::base::machine::{AppendFile, DirEntry, Disk, ReadAt, TEMP_SUFFIX};

/// How deep what the store makes in one go is: a day, and a class in it.
const LEVELS_MADE_AT_ONCE: usize = 2;

/// Single steps of a machine. *Durability:* nothing but what a sync returned `Ok` for: of a file
/// its content, of a directory the names in it.
pub trait Steps: Send + Sync {
    /// Is there such a directory?
    fn has_dir(&self, path: &Path) -> bool;
    /// Makes one directory; one that is there is fine.
    fn make_dir(&self, path: &Path) -> Result<()>;
    /// See [`Disk::list`].
    fn names_in(&self, path: &Path) -> Result<Vec<DirEntry>>;
    /// See [`Disk::read`].
    fn content(&self, path: &Path) -> Result<Vec<u8>>;
    /// See [`Disk::open`].
    fn reader(&self, path: &Path) -> Result<Arc<dyn ReadAt>>;
    /// An empty file to append to; one that is there is emptied where `over`, else an error.
    fn make_file(&self, path: &Path, over: bool) -> Result<Box<dyn AppendFile>>;
    /// See [`Disk::append_to`].
    fn grow_file(&self, path: &Path) -> Result<Box<dyn AppendFile>>;
    /// Gives a file another name, over what was there, as one step.
    fn move_file(&self, from: &Path, to: &Path) -> Result<()>;
    /// Takes a name away; one that is not there is fine.
    fn unlink(&self, path: &Path) -> Result<()>;
    /// Cuts a file to `len` bytes.
    fn cut(&self, path: &Path, len: u64) -> Result<()>;
    /// Returns once the content of a file is on the medium. `op` says whose sync it is.
    fn sync_file(&self, path: &Path, op: &'static str) -> Result<()>;
    /// Returns once the names in a directory are on the medium.
    fn sync_dir(&self, path: &Path, op: &'static str) -> Result<()>;
    /// See [`Disk::free_bytes`].
    fn room(&self, path: &Path) -> Result<u64>;
    /// See [`Disk::lock`].
    fn hold(&self, path: &Path) -> Result<Box<dyn Send + Sync>>;
}

impl<S: Steps> Disk for S {
    fn create_dir_all(&self, path: &Path) -> Result<()> {
        let levels: Vec<&Path> = path.ancestors().filter(|dir| dir.parent().is_some()).collect();
        let missing = levels.iter().take_while(|dir| !self.has_dir(dir)).count();
        for dir in levels.iter().take(missing).rev() {
            self.make_dir(dir)?;
        }
        // Not only of those that were missing: whoever made the last ones may have been killed, or
        // failed, before they were synced.
        for dir in levels.iter().take(missing.max(LEVELS_MADE_AT_ONCE)).rev() {
            match self.sync_dir(parent(dir), "make a directory") {
                // Given to us by somebody who does not let us read what is beside it.
                Err(error) if is_forbidden(&error) => {}
                synced => synced?,
            }
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> Result<Vec<DirEntry>> {
        self.names_in(path)
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>> {
        self.content(path)
    }

    fn open(&self, path: &Path) -> Result<Arc<dyn ReadAt>> {
        self.reader(path)
    }

    fn create(&self, path: &Path) -> Result<Box<dyn AppendFile>> {
        let file = self.make_file(path, false)?;
        // A temporary file means nothing until `rename` gives it a name, and makes that durable.
        if !is_temp(path) {
            self.sync_dir(parent(path), "create")?;
        }
        Ok(file)
    }

    fn append_to(&self, path: &Path) -> Result<Box<dyn AppendFile>> {
        self.grow_file(path)
    }

    fn replace(&self, path: &Path, content: &[u8]) -> Result<()> {
        let temp = temp_of(path);
        let mut file = self.make_file(&temp, true)?;
        let written = file.append(content).and_then(|()| file.sync());
        if let Err(error) = written {
            // Leaves no half file behind on a full disk; if that fails too, the next replace does.
            drop(self.unlink(&temp));
            return Err(error);
        }
        self.rename(&temp, path)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.move_file(from, to)?;
        // Where it comes from another directory, a crash may leave it under the old name too, as it
        // may leave a file that was removed.
        self.sync_dir(parent(to), "rename")
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.unlink(path)
    }

    fn truncate(&self, path: &Path, len: u64) -> Result<()> {
        self.cut(path, len)?;
        self.sync_file(path, "truncate")
    }

    fn free_bytes(&self, path: &Path) -> Result<u64> {
        self.room(path)
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Send + Sync>> {
        self.hold(path)
    }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

fn temp_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(TEMP_SUFFIX);
    path.with_file_name(name)
}

fn is_forbidden(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
}

fn is_temp(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().ends_with(TEMP_SUFFIX.as_bytes()))
}
