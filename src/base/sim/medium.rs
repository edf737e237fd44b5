//! What a disk holds, and what of it a loss of power leaves.
//!
//! Files are told apart from their names, as a file system does: syncing a file makes its bytes
//! durable, syncing a directory the names in it. What no sync made durable is, after a loss of
//! power, there or not there, in part, or as garbage. *Invariant:* a rename within the file system is
//! one step: the new name may come without the old one having gone, never the other way round.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What a loss of power leaves of all that was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaves {
    /// Nothing.
    Nothing,
    /// Some of it, torn, by the dice.
    Some,
    /// All of it, as the kill of a process does; it is no more durable than it was.
    All,
}

/// Bytes that reach a medium together, or do not.
const PAGE_BYTES: usize = 4096;

#[derive(Clone, Default)]
pub(super) struct Medium {
    files: Vec<File>,
    dirs: Both<BTreeSet<PathBuf>>,
    names: Both<BTreeMap<PathBuf, usize>>,
    /// Renamed, and the name that the file had is not durably gone: new name by old.
    moved: BTreeMap<PathBuf, PathBuf>,
}

/// What programs see, and what is durable.
#[derive(Clone, Default)]
struct Both<T> {
    seen: T,
    durable: T,
}

#[derive(Clone, Default)]
struct File {
    bytes: Vec<u8>,
    /// So many of them are durable as they are.
    synced: usize,
    /// What is durable instead, where the file was cut below that.
    cut_from: Option<Vec<u8>>,
}

/// Random numbers from a seed: splitmix64.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dice(pub u64);

impl Dice {
    /// A number below `n`; 0 for none.
    pub fn roll(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n.max(1)
    }

    /// The same, for places.
    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.roll(n as u64)).unwrap_or(0)
    }

    fn coin(&mut self) -> bool {
        self.roll(2) == 0
    }
}

impl Medium {
    pub(super) fn has_dir(&self, path: &Path) -> bool {
        is_root(path) || self.dirs.seen.contains(path)
    }

    pub(super) fn add_dir(&mut self, path: &Path) {
        self.dirs.seen.insert(path.to_owned());
    }

    pub(super) fn remove_dir(&mut self, path: &Path) {
        self.dirs.seen.remove(path);
        self.dirs.durable.remove(path);
    }

    pub(super) fn dirs(&self) -> impl Iterator<Item = &PathBuf> {
        self.dirs.seen.iter()
    }

    pub(super) fn files(&self) -> impl Iterator<Item = (&PathBuf, &[u8])> {
        let bytes = |n: &usize| self.files.get(*n).map_or(&[][..], |file| &file.bytes);
        self.names.seen.iter().map(move |(path, n)| (path, bytes(n)))
    }

    pub(super) fn number(&self, path: &Path) -> Option<usize> {
        self.names.seen.get(path).copied()
    }

    pub(super) fn bytes(&self, path: &Path) -> Option<&[u8]> {
        self.files.get(self.number(path)?).map(|file| &*file.bytes)
    }

    /// A new empty file under this name; an open one that had it lives on without.
    pub(super) fn add_file(&mut self, path: &Path) -> usize {
        self.files.push(File::default());
        let number = self.files.len() - 1;
        self.names.seen.insert(path.to_owned(), number);
        number
    }

    pub(super) fn append(&mut self, number: usize, bytes: &[u8]) {
        if let Some(file) = self.files.get_mut(number) {
            file.bytes.extend_from_slice(bytes);
        }
    }

    /// `len` bytes are left; further ones are zeros.
    pub(super) fn cut(&mut self, number: usize, len: usize) {
        if let Some(file) = self.files.get_mut(number) {
            if len < file.synced && file.cut_from.is_none() {
                file.cut_from = file.bytes.get(..file.synced).map(<[u8]>::to_vec);
            }
            file.synced = file.synced.min(len);
            file.bytes.resize(len, 0);
        }
    }

    /// Turns one bit over, on the medium too.
    pub(super) fn flip(&mut self, path: &Path, bit: usize) {
        let file = self.number(path).and_then(|n| self.files.get_mut(n));
        if let Some(byte) = file.and_then(|f| f.bytes.get_mut(bit / 8)) {
            *byte ^= 1 << (bit % 8);
        }
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> bool {
        let Some(number) = self.names.seen.remove(from) else { return false };
        self.names.seen.insert(to.to_owned(), number);
        if self.names.durable.contains_key(from) {
            self.moved.insert(from.to_owned(), to.to_owned());
        }
        true
    }

    pub(super) fn unlink(&mut self, path: &Path) {
        self.names.seen.remove(path);
    }

    pub(super) fn sync_file(&mut self, number: usize) {
        if let Some(file) = self.files.get_mut(number) {
            file.synced = file.bytes.len();
            file.cut_from = None;
        }
    }

    pub(super) fn sync_dir(&mut self, dir: &Path) {
        let inside =
            |path: &Path| path.parent().is_some_and(|p| p == dir || (is_root(p) && is_root(dir)));
        let Both { seen, durable } = &mut self.names;
        durable.retain(|path, _| !inside(path));
        durable.extend(seen.iter().filter(|(p, _)| inside(p)).map(|(p, n)| (p.clone(), *n)));
        self.moved.retain(|from, _| !inside(from));
        let Both { seen, durable } = &mut self.dirs;
        durable.retain(|path| !inside(path));
        durable.extend(seen.iter().filter(|p| inside(p)).cloned());
    }

    /// What is there when the machine starts again.
    pub(super) fn after(&self, leaves: Leaves, dice: &mut Dice) -> Self {
        if leaves == Leaves::All {
            return self.clone();
        }
        let roll = |dice: &mut Dice| leaves == Leaves::Some && dice.coin();
        let mut names = self.names.durable.clone();
        for (path, number) in &self.names.seen {
            if names.get(path) != Some(number) && roll(dice) {
                names.insert(path.clone(), *number);
            }
        }
        let gone: Vec<PathBuf> =
            names.keys().filter(|p| !self.names.seen.contains_key(*p)).cloned().collect();
        for path in gone {
            let arrived = self.moved.get(&path).is_none_or(|to| names.contains_key(to));
            if arrived && roll(dice) {
                names.remove(&path);
            }
        }
        let mut dirs = self.dirs.durable.clone();
        for path in &self.dirs.seen {
            if !dirs.contains(path) && roll(dice) {
                dirs.insert(path.clone());
            }
        }
        // What stands in a directory that is not there is not there either.
        let whole = |path: &Path| {
            let above = path.ancestors().skip(1).filter(|p| !is_root(p));
            above.into_iter().all(|dir| dirs.contains(dir))
        };
        names.retain(|path, _| whole(path));
        let dirs: BTreeSet<PathBuf> = dirs.iter().filter(|path| whole(path)).cloned().collect();
        let files = self.files.iter().map(|file| file.after(leaves, dice)).collect();
        Self {
            files,
            dirs: Both { seen: dirs.clone(), durable: dirs },
            names: Both { seen: names.clone(), durable: names },
            moved: BTreeMap::new(),
        }
    }
}

/// There from the start: the root, or the directory that relative paths start from.
fn is_root(path: &Path) -> bool {
    [Path::new("/"), Path::new(""), Path::new(".")].contains(&path)
}

impl File {
    fn after(&self, leaves: Leaves, dice: &mut Dice) -> Self {
        let cut = leaves == Leaves::Some && dice.coin();
        let mut bytes = match &self.cut_from {
            Some(before) if !cut => before.clone(),
            _ => self.bytes.get(..self.synced).unwrap_or_default().to_vec(),
        };
        let written = self.bytes.get(bytes.len()..).unwrap_or_default();
        if leaves == Leaves::Some && (self.cut_from.is_none() || cut) && !written.is_empty() {
            let from = bytes.len();
            bytes
                .extend_from_slice(written.get(..dice.below(written.len() + 1)).unwrap_or(written));
            let kept = bytes.len() - from;
            if kept > 0 && dice.coin() {
                // A page that was given to the file but not written: zeros, or what was there.
                let fill = dice.coin();
                let at = from + dice.below(kept);
                for byte in bytes.iter_mut().skip(at).take(PAGE_BYTES) {
                    *byte = if fill { 0 } else { u8::try_from(dice.roll(256)).unwrap_or(0) };
                }
            }
        }
        Self { synced: bytes.len(), bytes, cut_from: None }
    }
}
