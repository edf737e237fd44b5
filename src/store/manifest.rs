//! The manifest: every change of the set of segments, for ever, each entry hashed over the one before.
//!
//! Only ever appended to. An entry is synced before the catalogue says the same, and the catalogue
//! keeps the [`Head`], so that an entry that is changed, taken out, or cut off at the end is found:
//! by the next start what was cut, by whoever walks all of it (`verify`) the rest. What is not hashed over
//! is the store's own knowledge of the outside: who can rewrite manifest, catalogue and segments
//! alike can rewrite history, unless a head was written down elsewhere.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::base::error::{Error, Result};
use crate::base::machine::{AppendFile, Disk, ReadAt};
use crate::base::time::Timestamp;
use crate::store::wire::{Put, Reader};

/// Its name below the data directory.
pub(super) const NAME: &str = "manifest";
/// Its first bytes.
pub(super) const MAGIC: [u8; 8] = *b"SHIRAMAN";
/// Its format version.
pub(super) const VERSION: u32 = 0;
/// Magic, version, hash that it goes on from, checksum of these.
pub(super) const HEADER_BYTES: usize = 48;
/// Length in front of an entry, hash behind it.
pub(super) const ENTRY_AROUND_BYTES: usize = 36;
/// Least that a [`Stamp`] takes: six numbers, two texts, a hash.
const STAMP_BYTES: usize = 80;

/// A SHA-256.
pub(super) type Hash = [u8; 32];

/// What changed the set of segments. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Kind {
    /// Live records became segments.
    Sealed = 1,
    /// Segments became one.
    Merged = 2,
    /// Retention dropped segments.
    Dropped = 3,
    /// Segments that cannot be read were set aside.
    SetAside = 4,
    /// What a start found is not what the entries before say: after a crash between manifest and
    /// catalogue, a loss, or a change by somebody else.
    Found = 5,
    /// The entry before did not come into force: the catalogue could not be written.
    Undone = 6,
}

impl Kind {
    const ALL: [Self; 6] =
        [Self::Sealed, Self::Merged, Self::Dropped, Self::SetAside, Self::Found, Self::Undone];
}

/// What an entry says of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Its number; never given twice.
    pub(super) number: u64,
    /// Its day of arrival and its class: where its file is.
    pub(super) day: String,
    /// See `day`.
    pub(super) class: String,
    /// Size of the file.
    pub(super) len: u64,
    /// SHA-256 of footer and trailer; the footer has the hash of the rest.
    pub(super) hash: Hash,
    /// Records in it.
    pub(super) records: u64,
    /// Smallest id.
    pub(super) first_id: u64,
    /// Largest id.
    pub(super) last_id: u64,
}

impl Stamp {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u64(self.number);
        out.put_str(&self.day);
        out.put_str(&self.class);
        out.put_u64(self.len);
        out.put(&self.hash);
        out.put_u64(self.records);
        out.put_u64(self.first_id);
        out.put_u64(self.last_id);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            number: reader.u64()?,
            day: reader.str()?.to_owned(),
            class: reader.str()?.to_owned(),
            len: reader.u64()?,
            hash: reader.hash()?,
            records: reader.u64()?,
            first_id: reader.u64()?,
            last_id: reader.u64()?,
        })
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Why.
    pub(super) kind: Kind,
    /// When, by the server's clock.
    pub(super) at: Timestamp,
    /// Segments that there are from now on.
    pub(super) added: Vec<Stamp>,
    /// Segments that there were until now.
    pub(super) removed: Vec<Stamp>,
}

impl Entry {
    fn payload(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u32(self.kind as u32);
        out.put_i64(self.at.0);
        for stamps in [&self.added, &self.removed] {
            out.put_u32(u32::try_from(stamps.len()).unwrap_or(u32::MAX));
            for stamp in stamps {
                stamp.put(&mut out);
            }
        }
        out
    }

    fn read(payload: &[u8], place: &str) -> Result<Self> {
        let mut reader = Reader::new(payload, place);
        let kind = reader.u32()?;
        let kind = Kind::ALL.into_iter().find(|k| *k as u32 == kind);
        let kind = kind.ok_or_else(|| reader.damaged("an entry of an unknown kind".to_owned()))?;
        let at = Timestamp(reader.i64()?);
        let stamps = |reader: &mut Reader<'_>| {
            (0..reader.count(STAMP_BYTES)?).map(|_| Stamp::read(reader)).collect::<Result<Vec<_>>>()
        };
        let (added, removed) = (stamps(&mut reader)?, stamps(&mut reader)?);
        if !reader.is_empty() {
            return Err(reader.damaged("an entry is longer than what it says".to_owned()));
        }
        Ok(Self { kind, at, added, removed })
    }
}

/// Up to where a manifest is known: its length there, and the hash of the last entry (or of the
/// header).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes.
    pub(super) len: u64,
    /// Of the last entry.
    pub(super) hash: Hash,
}

/// How far a manifest could be read.
#[derive(Debug)]
pub(super) struct Walked {
    /// Behind the last whole entry.
    pub(super) head: Head,
    /// What is wrong behind it: torn by a crash where the catalogue knows less, else damage.
    pub(super) broken: Option<Error>,
}

/// Where it is.
pub(super) fn path(data: &Path) -> PathBuf {
    data.join(NAME)
}

/// Reads the header: the head before the first entry, and the hash that it goes on from.
pub(super) fn start(file: &dyn ReadAt, place: &str) -> Result<(Head, Hash)> {
    let header = file.read_at(0, HEADER_BYTES)?;
    let mut reader = Reader::new(&header, place);
    let magic = reader.take(MAGIC.len())?;
    if magic != MAGIC {
        return Err(reader.damaged("it does not start as a manifest".to_owned()));
    }
    let (version, before, crc) = (reader.u32()?, reader.hash()?, reader.u32()?);
    if crc32fast::hash(header.get(..HEADER_BYTES - 4).unwrap_or_default()) != crc {
        return Err(reader.damaged("the header's checksum is wrong".to_owned()));
    }
    if version != VERSION {
        return Err(Error::Version { place: place.to_owned(), got: version, want: VERSION });
    }
    Ok((head_of(&header), before))
}

fn head_of(header: &[u8]) -> Head {
    Head { len: header.len() as u64, hash: Sha256::digest(header).into() }
}

/// Hands over every entry behind `from`, in order, as far as they are whole and the chain holds.
pub(super) fn walk(
    file: &dyn ReadAt,
    place: &str,
    from: Head,
    each: &mut dyn FnMut(Entry),
) -> Result<Walked> {
    let mut head = from;
    while head.len < file.len() {
        match next_entry(file, place, head) {
            Ok((entry, next)) => {
                each(entry);
                head = next;
            }
            Err(error @ Error::Corrupt { .. }) => return Ok(Walked { head, broken: Some(error) }),
            Err(error) => return Err(error),
        }
    }
    Ok(Walked { head, broken: None })
}

fn next_entry(file: &dyn ReadAt, place: &str, head: Head) -> Result<(Entry, Head)> {
    let damaged = |what: &str| Error::corrupt(place, format!("{what} at {}", head.len));
    let len = file.read_at(head.len, 4).map_err(|_| damaged("half an entry"))?;
    let payload_len = Reader::new(&len, place).u32()? as usize;
    let whole = payload_len + ENTRY_AROUND_BYTES;
    if file.len() - head.len < whole as u64 {
        return Err(damaged("half an entry"));
    }
    let bytes = file.read_at(head.len, whole)?;
    let (hashed, hash) = bytes.split_at(whole - size_of::<Hash>());
    let want = chained(head.hash, hashed);
    if want != hash {
        return Err(damaged("an entry whose hash does not follow from the one before"));
    }
    let entry = Entry::read(hashed.get(4..).unwrap_or_default(), place)?;
    Ok((entry, Head { len: head.len + whole as u64, hash: want }))
}

fn chained(before: Hash, bytes: &[u8]) -> Hash {
    Sha256::new().chain_update(before).chain_update(bytes).finalize().into()
}

/// The writing end.
pub(super) struct Manifest {
    path: PathBuf,
    /// What the file is to be begun with before anything else.
    header: Option<Vec<u8>>,
    file: Option<Box<dyn AppendFile>>,
    head: Head,
}

impl Manifest {
    /// A new file (over what is there), which goes on from a hash: zeros, or the last one known of
    /// a manifest that was lost. It is there once [`Self::begin`], or the first append, went well.
    pub(super) fn anew(data: &Path, before: Hash) -> Self {
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.put(&MAGIC);
        header.put_u32(VERSION);
        header.put(&before);
        header.put_u32(crc32fast::hash(&header));
        let head = head_of(&header);
        Self { path: path(data), header: Some(header), file: None, head }
    }

    /// Makes sure that there is a file to append to.
    pub(super) fn begin(&mut self, disk: &dyn Disk) -> Result<()> {
        if let Some(header) = &self.header {
            disk.replace(&self.path, header)?;
            self.header = None;
        }
        Ok(())
    }

    /// Goes on behind `head`; what is behind it in the file is cut off by the next entry.
    pub(super) fn go_on(data: &Path, head: Head) -> Self {
        Self { path: path(data), header: None, file: None, head }
    }

    /// Behind its last entry.
    pub(super) fn head(&self) -> Head {
        self.head
    }

    /// Adds an entry, synced. After an error it is as if nothing had been tried.
    pub(super) fn append(&mut self, disk: &dyn Disk, entry: &Entry) -> Result<()> {
        self.begin(disk)?;
        let payload = entry.payload();
        let mut bytes = Vec::with_capacity(payload.len() + ENTRY_AROUND_BYTES);
        bytes.put_u32(u32::try_from(payload.len()).unwrap_or(u32::MAX));
        bytes.put(&payload);
        let hash = chained(self.head.hash, &bytes);
        bytes.put(&hash);
        // What a failed attempt left is cut off first, so that its bytes are written again, not
        // believed (FORMAT.md, what is assumed of the disk, 3).
        let mut file = if let Some(file) = self.file.take() {
            file
        } else {
            disk.truncate(&self.path, self.head.len)?;
            disk.append_to(&self.path)?
        };
        file.append(&bytes)?;
        file.sync()?;
        self.file = Some(file);
        self.head = Head { len: self.head.len + bytes.len() as u64, hash };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::sim::{Faults, SimDisk};

    fn stamp(number: u64) -> Stamp {
        Stamp {
            number,
            day: "2026-03-01".to_owned(),
            class: "default".to_owned(),
            len: 1000 + number,
            hash: [u8::try_from(number).unwrap(); 32],
            records: 7,
            first_id: number * 10,
            last_id: number * 10 + 6,
        }
    }

    fn entries() -> Vec<Entry> {
        let entry = |kind, added: &[u64], removed: &[u64]| Entry {
            kind,
            at: Timestamp(5),
            added: added.iter().copied().map(stamp).collect(),
            removed: removed.iter().copied().map(stamp).collect(),
        };
        vec![
            entry(Kind::Sealed, &[1, 2], &[]),
            entry(Kind::Merged, &[3], &[1, 2]),
            entry(Kind::Dropped, &[], &[3]),
        ]
    }

    fn written() -> (SimDisk, Manifest) {
        let disk = SimDisk::new(Faults::default());
        let data = Path::new("/data");
        disk.create_dir_all(data).unwrap();
        let mut manifest = Manifest::anew(data, [7; 32]);
        for entry in entries() {
            manifest.append(&disk, &entry).unwrap();
        }
        (disk, manifest)
    }

    fn read(disk: &SimDisk) -> Result<(Vec<Entry>, Walked)> {
        let file = disk.open(Path::new("/data/manifest"))?;
        let (head, before) = start(&*file, "manifest")?;
        assert_eq!(before, [7; 32]);
        let mut found = Vec::new();
        let walked = walk(&*file, "manifest", head, &mut |entry| found.push(entry))?;
        Ok((found, walked))
    }

    #[test]
    fn what_was_written_is_read_and_every_flipped_bit_is_found() {
        let (disk, manifest) = written();
        let (found, walked) = read(&disk).unwrap();
        assert_eq!(found, entries());
        assert_eq!(walked.head, manifest.head());
        assert!(walked.broken.is_none());
        let path = Path::new("/data/manifest");
        let bytes = disk.read(path).unwrap();
        for bit in 0..bytes.len() * 8 {
            disk.flip(path, bit);
            if let Ok((found, walked)) = read(&disk) {
                assert!(walked.broken.is_some(), "{bit}");
                assert!(entries().starts_with(&found) && found.len() < 3, "{bit}");
            }
            disk.flip(path, bit);
        }
        for len in HEADER_BYTES..bytes.len() {
            disk.replace(path, &bytes[..len]).unwrap();
            let (found, walked) = read(&disk).unwrap();
            assert!(entries().starts_with(&found) && found.len() < 3, "{len}");
            assert!(walked.head != manifest.head(), "cut at {len}");
        }
    }

    #[test]
    fn what_failed_is_written_again_and_a_reopened_one_goes_on() {
        for fail in 1..4 {
            let (disk, mut manifest) = written();
            let before = manifest.head();
            let more = Entry { at: Timestamp(9), ..entries().remove(0) };
            // A manifest that was opened anew truncates, opens and syncs.
            manifest = Manifest::go_on(Path::new("/data"), before);
            disk.fail_sync(fail);
            while manifest.append(&disk, &more).is_err() {
                assert_eq!(manifest.head(), before);
            }
            let (found, walked) = read(&disk).unwrap();
            assert_eq!((found.len(), walked.head), (4, manifest.head()), "{fail}");
            assert_eq!(found.last(), Some(&more));
            assert!(walked.broken.is_none());
        }
    }
}
