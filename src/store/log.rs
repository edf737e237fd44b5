//! The write-ahead log: a record is here, synced, before anybody hears that it was taken.
//!
//! `log/<seq>.log`, each file belonging to one live part. What a file holds is given back by
//! [`replay`] after a restart, until the part is a catalogued segment and the file is let go.
//! *Invariant:* knows entries (a first id, a count, opaque bytes), not records.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::error::{Error, Refusal, Result};
use crate::base::limits::{
    LOG_ENTRY_BYTES, LOG_ENTRY_BYTES_MAX, LOG_GROUP_BYTES_MAX, LOG_RESYNC_TRIES_MAX,
};
use crate::base::machine::{AppendFile, Disk, ReadAt};
use crate::store::wire::{Put, Reader};

/// First bytes of a log file.
pub(super) const MAGIC: [u8; 8] = *b"SHIRALOG";
/// Its format version.
pub(super) const VERSION: u32 = 0;
/// Magic, version, sequence number, checksum of these.
pub(super) const HEADER_BYTES: usize = 24;
/// First bytes of an entry.
pub(super) const ENTRY_MARK: [u8; 4] = *b"entr";
/// Mark, payload length, first id, records, payload checksum, checksum of these.
pub(super) const ENTRY_HEADER_BYTES: usize = 28;

/// Bytes read at once in a replay.
const WINDOW_BYTES: usize = 1 << 20;

/// Entries in the making, one after another in one buffer that is used again for the next ones.
#[derive(Default)]
pub(super) struct Entries {
    bytes: Vec<u8>,
    /// Where the open one begins, its first id, and its records until now.
    open: Option<(usize, u64, u32)>,
}

impl Entries {
    /// Adds a record; `write` appends its bytes.
    pub(super) fn add(&mut self, id: u64, write: impl FnOnce(&mut Vec<u8>)) {
        let (start, first_id, records) = self.open.unwrap_or((self.bytes.len(), id, 0));
        if records == 0 {
            // Its header is known when it ends.
            self.bytes.put(&[0; ENTRY_HEADER_BYTES]);
        }
        write(&mut self.bytes);
        self.open = Some((start, first_id, records + 1));
        if self.bytes.len() - start - ENTRY_HEADER_BYTES >= LOG_ENTRY_BYTES {
            self.end();
        }
    }

    fn end(&mut self) {
        let Some((start, first_id, records)) = self.open.take() else { return };
        let Some(entry) = self.bytes.get_mut(start..) else { return };
        let Some((header, payload)) = entry.split_at_mut_checked(ENTRY_HEADER_BYTES) else {
            return;
        };
        header.copy_from_slice(&entry_header(first_id, records, payload));
    }

    /// All of them, whole.
    pub(super) fn bytes(&mut self) -> &[u8] {
        self.end();
        &self.bytes
    }

    /// None any more. A buffer that one large batch made is not kept.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(2 * LOG_GROUP_BYTES_MAX);
        self.open = None;
    }
}

fn entry_header(first_id: u64, records: u32, payload: &[u8]) -> [u8; ENTRY_HEADER_BYTES] {
    let mut header = Vec::with_capacity(ENTRY_HEADER_BYTES);
    header.put(&ENTRY_MARK);
    header.put_u32(u32::try_from(payload.len()).unwrap_or(u32::MAX));
    header.put_u64(first_id);
    header.put_u32(records);
    header.put_u32(crc32fast::hash(payload));
    header.put_u32(crc32fast::hash(&header));
    header.try_into().unwrap_or([0; ENTRY_HEADER_BYTES])
}

/// The first bytes of the log file of a number.
pub(super) fn file_header(seq: u64) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.put(&MAGIC);
    header.put_u32(VERSION);
    header.put_u64(seq);
    header.put_u32(crc32fast::hash(&header));
    header
}

/// Where the log file of a number is.
pub(super) fn path(dir: &Path, seq: u64) -> PathBuf {
    dir.join(format!("{seq:020}.log"))
}

/// The number of a log file's name.
pub(super) fn seq_of(name: &str) -> Option<u64> {
    name.strip_suffix(".log").filter(|n| n.len() == 20)?.parse().ok()
}

/// What became of a write that failed.
pub(super) enum Failure {
    /// Nothing of it is in the log; it may be tried again.
    Undone(Error),
    /// What is in the log is unknown: nothing more may be written.
    Unknown(Error),
}

/// Appends to the newest log file, making it where there is none.
pub(super) struct LogWriter {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    next_seq: u64,
    open: Option<OpenLog>,
}

struct OpenLog {
    seq: u64,
    path: PathBuf,
    file: Box<dyn AppendFile>,
    /// Bytes that are written and synced.
    len: u64,
}

impl LogWriter {
    /// Its first file will be `next_seq`.
    pub(super) fn new(disk: Arc<dyn Disk>, dir: PathBuf, next_seq: u64) -> Self {
        Self { disk, dir, next_seq, open: None }
    }

    /// Writes entries and syncs them. Gives the number of the file, and the bytes that it grew by.
    pub(super) fn write(&mut self, entries: &[u8]) -> Result<(u64, u64), Failure> {
        let (mut log, new) = match self.open.take() {
            Some(log) => (log, false),
            None => (self.create().map_err(Failure::Undone)?, true),
        };
        let header = if new { file_header(log.seq) } else { Vec::new() };
        let appended = log.file.append(&header).and_then(|()| log.file.append(entries));
        if let Err(error) = appended {
            // A part of it may be there, and must not stand before the next entry.
            return Err(if new {
                // The next attempt makes another. It is emptied first, since a removed file may be
                // back after a loss of power, and must not bring what was refused.
                drop(log.file);
                let emptied = self.disk.truncate(&log.path, 0);
                match emptied.and_then(|()| self.disk.remove(&log.path)) {
                    Ok(()) => Failure::Undone(error),
                    Err(_) => Failure::Unknown(error),
                }
            } else {
                match self.disk.truncate(&log.path, log.len) {
                    Ok(()) => {
                        self.open = Some(log);
                        Failure::Undone(error)
                    }
                    Err(_) => Failure::Unknown(error),
                }
            });
        }
        log.file.sync().map_err(Failure::Unknown)?;
        let grown = (header.len() + entries.len()) as u64;
        log.len += grown;
        let seq = log.seq;
        self.open = Some(log);
        Ok((seq, grown))
    }

    fn create(&mut self) -> Result<OpenLog> {
        let seq = self.next_seq;
        let path = path(&self.dir, seq);
        self.next_seq += 1;
        let file = self.disk.create(&path)?;
        Ok(OpenLog { seq, path, file, len: 0 })
    }

    /// The next entry goes to a new file.
    pub(super) fn rotate(&mut self) {
        self.open = None;
    }
}

/// What a failed write means to those whose records it held.
pub(super) fn refusal(error: Error) -> Error {
    if error.is_disk_full() { Error::Busy(Refusal::DiskFull) } else { error }
}

/// An entry that is whole.
pub(super) struct Entry<'a> {
    /// Id of its first record.
    pub(super) first_id: u64,
    /// How many records it holds.
    pub(super) records: u32,
    /// Their bytes.
    pub(super) payload: &'a [u8],
}

/// How a file was read.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Replay {
    /// Bytes in places that are no entry, with entries behind them.
    pub(super) damaged_bytes: u64,
    /// Where the last whole entry ends, and whether what follows looks like a write that was cut
    /// short (and not like damage). `None`: nothing follows.
    pub(super) tail: Option<(u64, bool)>,
    /// Records in the headers of entries that could not be read, where these could.
    pub(super) lost_to_id: u64,
}

/// Gives every whole entry of a file to `visit`, in order.
pub(super) fn replay(
    file: Arc<dyn ReadAt>,
    place: &str,
    visit: &mut dyn FnMut(Entry<'_>) -> Result<()>,
) -> Result<Replay> {
    let mut window = Window { file, start: 0, bytes: Vec::new() };
    let mut found = Replay::default();
    check_header(&mut window, place)?;
    let mut at = HEADER_BYTES as u64;
    let end = window.file.len();
    let mut tries = LOG_RESYNC_TRIES_MAX;
    while at < end {
        match window.entry(at)? {
            Found::Whole(entry) => {
                let next = at + (ENTRY_HEADER_BYTES + entry.payload.len()) as u64;
                visit(entry)?;
                at = next;
            }
            Found::No { cut, lost_to_id } => {
                found.lost_to_id = found.lost_to_id.max(lost_to_id);
                let Some(next) = window.next_whole(at + 1, &mut tries)? else {
                    let cut = cut || window.zeros_from(at)?;
                    found.tail = Some((at.min(end), cut));
                    return Ok(found);
                };
                found.damaged_bytes += next - at;
                at = next;
            }
        }
    }
    if end < HEADER_BYTES as u64 {
        found.tail = Some((0, true));
    }
    Ok(found)
}

/// A header of another version is refused; a damaged one is passed over, since entries stand for
/// themselves.
fn check_header(window: &mut Window, place: &str) -> Result<()> {
    let Some(header) = window.get(0, HEADER_BYTES)? else { return Ok(()) };
    let mut reader = Reader::new(header, place);
    let (magic, version, _seq) = (reader.take(MAGIC.len())?, reader.u32()?, reader.u64()?);
    let whole = header
        .get(..HEADER_BYTES - 4)
        .is_some_and(|body| reader.u32().is_ok_and(|crc| crc == crc32fast::hash(body)));
    if whole && magic == MAGIC && version != VERSION {
        return Err(Error::Version { place: place.to_owned(), got: version, want: VERSION });
    }
    Ok(())
}

enum Found<'a> {
    Whole(Entry<'a>),
    /// None here; `cut`: its header is good, or cut itself, and the file ends before it does.
    No {
        cut: bool,
        lost_to_id: u64,
    },
}

/// A stretch of the file in memory.
struct Window {
    file: Arc<dyn ReadAt>,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// `len` bytes from `at` on; `None` where the file ends before.
    fn get(&mut self, at: u64, len: usize) -> Result<Option<&[u8]>> {
        let file_len = self.file.len();
        let Some(end) = at.checked_add(len as u64).filter(|end| *end <= file_len) else {
            return Ok(None);
        };
        if at < self.start || end > self.start + self.bytes.len() as u64 {
            let want = usize::try_from(file_len - at).unwrap_or(usize::MAX);
            self.bytes = self.file.read_at(at, want.min(len.max(WINDOW_BYTES)))?;
            self.start = at;
        }
        let from = usize::try_from(at - self.start).unwrap_or(usize::MAX);
        Ok(self.bytes.get(from..from.saturating_add(len)))
    }

    fn entry(&mut self, at: u64) -> Result<Found<'_>> {
        let no = Found::No { cut: false, lost_to_id: 0 };
        let Some(header) = self.get(at, ENTRY_HEADER_BYTES)? else {
            return Ok(Found::No { cut: true, lost_to_id: 0 });
        };
        let mut reader = Reader::new(header, "a log entry");
        let mark = reader.take(ENTRY_MARK.len())?;
        let (len, first_id, records) = (reader.u32()? as usize, reader.u64()?, reader.u32()?);
        let (payload_crc, header_crc) = (reader.u32()?, reader.u32()?);
        let sum = header.get(..ENTRY_HEADER_BYTES - 4).map(crc32fast::hash);
        if mark != ENTRY_MARK || sum != Some(header_crc) || len > LOG_ENTRY_BYTES_MAX {
            return Ok(no);
        }
        let lost_to_id = first_id.saturating_add(u64::from(records));
        let Some(payload) = self.get(at + ENTRY_HEADER_BYTES as u64, len)? else {
            return Ok(Found::No { cut: true, lost_to_id });
        };
        if crc32fast::hash(payload) != payload_crc {
            return Ok(Found::No { cut: false, lost_to_id });
        }
        Ok(Found::Whole(Entry { first_id, records, payload }))
    }

    /// Where the next whole entry starts. Each place that looks like one costs a try.
    fn next_whole(&mut self, from: u64, tries: &mut u32) -> Result<Option<u64>> {
        let mut at = from;
        let end = self.file.len();
        while at < end {
            let len = usize::try_from(end - at).unwrap_or(usize::MAX).min(WINDOW_BYTES);
            let Some(bytes) = self.get(at, len)? else { return Ok(None) };
            let marks: Vec<usize> = memchr::memmem::find_iter(bytes, &ENTRY_MARK).collect();
            for mark in marks {
                if *tries == 0 {
                    return Ok(None);
                }
                *tries -= 1;
                let place = at + mark as u64;
                if matches!(self.entry(place)?, Found::Whole(_)) {
                    return Ok(Some(place));
                }
            }
            // A mark may stand across the edge of two windows.
            let step = if len > ENTRY_MARK.len() { len - (ENTRY_MARK.len() - 1) } else { len };
            at += step as u64;
        }
        Ok(None)
    }

    fn zeros_from(&mut self, from: u64) -> Result<bool> {
        let mut at = from;
        let end = self.file.len();
        while at < end {
            let len = usize::try_from(end - at).unwrap_or(usize::MAX).min(WINDOW_BYTES);
            match self.get(at, len)? {
                Some(bytes) if bytes.iter().all(|b| *b == 0) => at += len as u64,
                _ => return Ok(false),
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::sim::{Faults, SimDisk};

    fn disk() -> (SimDisk, LogWriter) {
        let disk = SimDisk::new(Faults::default());
        disk.create_dir_all(Path::new("/log")).unwrap();
        let log = LogWriter::new(Arc::new(disk.clone()), "/log".into(), 7);
        (disk, log)
    }

    fn entry(id: u64, payload: &[u8]) -> Vec<u8> {
        let mut entries = Entries::default();
        entries.add(id, |out| out.put(payload));
        entries.bytes().to_vec()
    }

    fn read(disk: &SimDisk) -> (Vec<(u64, Vec<u8>)>, Replay) {
        let mut all = Vec::new();
        let file = disk.open(&path(Path::new("/log"), 7)).unwrap();
        let replay = replay(file, "log", &mut |e| {
            all.push((e.first_id, e.payload.to_vec()));
            Ok(())
        });
        (all, replay.unwrap())
    }

    fn three() -> (SimDisk, PathBuf) {
        let (disk, mut log) = disk();
        for id in 1..=3 {
            assert!(log.write(&entry(id, &[b'x'; 100])).is_ok());
        }
        let path = path(Path::new("/log"), 7);
        (disk, path)
    }

    #[test]
    fn what_is_written_is_read_in_order() {
        let (disk, _) = three();
        let (all, replay) = read(&disk);
        assert_eq!(all.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(all[2].1, [b'x'; 100]);
        assert_eq!(replay, Replay::default());
    }

    #[test]
    fn a_file_cut_anywhere_gives_its_whole_entries() {
        let whole = (ENTRY_HEADER_BYTES + 100) as u64;
        let full = HEADER_BYTES as u64 + 3 * whole;
        for len in 0..full {
            let (disk, path) = three();
            disk.truncate(&path, len).unwrap();
            let (all, replay) = read(&disk);
            let entries = len.saturating_sub(HEADER_BYTES as u64) / whole;
            assert_eq!(all.len() as u64, entries, "cut at {len}");
            let at = HEADER_BYTES as u64 + entries * whole;
            let tail = (len != at).then_some(if len < at { (0, true) } else { (at, true) });
            assert_eq!(replay.tail, tail, "cut at {len}");
        }
    }

    #[test]
    fn a_flipped_bit_costs_its_own_entry_only() {
        let bytes = HEADER_BYTES + 3 * (ENTRY_HEADER_BYTES + 100);
        for bit in 0..bytes * 8 {
            let (disk, path) = three();
            disk.flip(&path, bit);
            let mut ids = Vec::new();
            let file = disk.open(&path).unwrap();
            let found = replay(file, "log", &mut |e| {
                ids.push(e.first_id);
                Ok(())
            })
            .unwrap();
            let hit = (bit / 8).checked_sub(HEADER_BYTES).map(|b| b / (ENTRY_HEADER_BYTES + 100));
            let want: Vec<u64> =
                (1..=3).filter(|id| hit.is_none_or(|h| *id != h as u64 + 1)).collect();
            assert_eq!(ids, want, "bit {bit}");
            assert_eq!(found.tail.is_some(), hit == Some(2), "bit {bit}");
        }
    }

    #[test]
    fn another_version_is_refused() {
        let (disk, _) = disk();
        let mut header = Vec::new();
        header.put(&MAGIC);
        header.put_u32(VERSION + 1);
        header.put_u64(7);
        header.put_u32(crc32fast::hash(&header));
        disk.replace(Path::new("/log/x"), &header).unwrap();
        let file = disk.open(Path::new("/log/x")).unwrap();
        let read = replay(file, "x", &mut |_| Ok(()));
        assert!(matches!(read, Err(Error::Version { got, .. }) if got == VERSION + 1));
    }

    #[test]
    fn a_first_write_that_did_not_fit_never_comes_back() {
        for seed in 0..64 {
            let faults = Faults { seed, capacity: Some(300), ..Faults::default() };
            let disk = SimDisk::new(faults);
            disk.create_dir_all(Path::new("/log")).unwrap();
            let mut log = LogWriter::new(Arc::new(disk.clone()), "/log".into(), 7);
            let entries = [entry(1, b"refused"), entry(2, &[b'y'; 300])].concat();
            assert!(matches!(log.write(&entries), Err(Failure::Undone(_))));
            let after = disk.after_crash(Faults { seed, ..Faults::default() });
            let path = path(Path::new("/log"), 7);
            if after.paths().contains(&path) {
                let (all, _) = read(&after);
                assert_eq!(all, [], "seed {seed}: the sender was told that it was not taken");
            }
        }
    }

    #[test]
    fn a_write_that_did_not_fit_is_cut_off_again() {
        let (disk, mut log) = disk();
        assert!(log.write(&entry(1, b"one")).is_ok());
        disk.set_capacity(Some(100));
        let failed = log.write(&entry(2, &[b'y'; 100]));
        assert!(matches!(failed, Err(Failure::Undone(e)) if e.is_disk_full()));
        disk.set_capacity(None);
        assert!(log.write(&entry(2, b"two")).is_ok());
        let (all, replay) = read(&disk);
        assert_eq!(all, [(1, b"one".to_vec()), (2, b"two".to_vec())]);
        assert_eq!(replay, Replay::default());
    }
}
