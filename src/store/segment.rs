//! A sealed segment: one immutable file that describes itself.
//!
//! Written once by [`write`], under a temporary name until it is whole and synced. Read by
//! [`Open`], with one read of its end; `sealed` does so at the first question that the catalogue
//! cannot answer. `FORMAT.md` has the bytes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::base::error::{Error, Result};
use crate::base::limits::{FILTER_SHARE_MIN, NAME_BYTES_MAX, SOURCES_MAX};
use crate::base::machine::{Disk, ReadAt};
use crate::base::record::Record;
use crate::base::time::Timestamp;
use crate::codec::filter::Filter;
use crate::codec::{self, Body, ChunkMeta, Rows};
use crate::config::is_class_name;
use crate::store::chunk_index;
use crate::store::manifest::{Hash, Stamp};
use crate::store::sources::Sources;
use crate::store::wire::{Put, Reader};

/// First bytes of a segment.
pub(super) const MAGIC: [u8; 8] = *b"SHIRASEG";
/// Last bytes of a segment.
pub(super) const END_MAGIC: [u8; 8] = *b"SHIRAEND";
/// Its format version.
pub(super) const VERSION: u32 = 0;
/// Magic and version, then zeros.
pub(super) const HEADER_BYTES: usize = 16;
/// Footer length, footer checksum, end magic.
pub(super) const TRAILER_BYTES: usize = 16;
/// Read at once from the end; holds the footer of any but a huge segment.
const TAIL_BYTES: u64 = 64 << 10;
/// Written between two syncs: a large file that is synced at its end only would hold up the log's
/// syncs, for which senders wait.
const SYNC_BYTES: u64 = 8 << 20;
/// Written or verified at once.
const PIECE_BYTES: usize = 1 << 20;
/// Most that the sources of a segment take unpacked: [`SOURCES_MAX`] pairs of the longest names.
const SOURCES_BYTES_MAX: usize = (SOURCES_MAX + 1) * (2 * NAME_BYTES_MAX + 64);
/// What an open file counts in the cache, beside its tables: a descriptor is scarce too.
const OPEN_WEIGHT: usize = 256 << 10;

/// What a section holds. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Kind {
    /// The codec's own.
    Body = 1,
    /// [`chunk_index`].
    Index = 2,
    /// [`codec::filter`].
    Filter = 3,
    /// [`Sources`].
    Sources = 4,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Section {
    kind: u32,
    at: u64,
    len: u64,
    crc: u32,
}

/// What the catalogue knows of a segment.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SegmentMeta {
    /// Its number; never given twice.
    pub(super) number: u64,
    /// Day of arrival, `YYYY-MM-DD`; its directory.
    pub(super) day: String,
    /// Class of its records (`retention`); its directory below that of the day.
    pub(super) class: String,
    /// Size of the file.
    pub(super) len: u64,
    /// SHA-256 of everything before the footer.
    pub(super) hash: Hash,
    /// SHA-256 of footer and trailer, and so of all of it.
    pub(super) footer: Hash,
    /// Bytes of the lines in it.
    pub(super) bytes: u64,
    /// Was it sealed, and not written by a merge yet, which takes the time to make it small?
    pub(super) is_fresh: bool,
    /// One for each chunk, ids rising.
    pub(super) chunks: Vec<ChunkMeta>,
}

impl SegmentMeta {
    /// Records in it.
    pub(super) fn records(&self) -> u64 {
        self.chunks.iter().map(|c| c.rows as u64).sum()
    }

    /// Smallest id; 0 of an empty one, which is never written.
    pub(super) fn first_id(&self) -> u64 {
        self.chunks.first().map_or(0, |c| c.first_id)
    }

    /// Largest id.
    pub(super) fn last_id(&self) -> u64 {
        self.chunks.last().map_or(0, |c| c.last_id)
    }

    /// Does one of the ids, which rise, lie between its first and last? (It may be of another
    /// segment all the same.)
    pub(super) fn may_hold_any(&self, ids: &[u64]) -> bool {
        let next = ids.partition_point(|id| *id < self.first_id());
        ids.get(next).is_some_and(|id| *id <= self.last_id())
    }

    /// Where its file is.
    pub(super) fn path(&self, segments: &Path) -> PathBuf {
        Identity { number: self.number, day: &self.day, class: &self.class }.path(segments)
    }

    /// What the manifest says of it.
    pub(super) fn stamp(&self) -> Stamp {
        Stamp {
            number: self.number,
            day: self.day.clone(),
            class: self.class.clone(),
            len: self.len,
            hash: self.footer,
            records: self.records(),
            first_id: self.first_id(),
            last_id: self.last_id(),
        }
    }

    /// All but the length of the file and the footer's hash, which the footer cannot know.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.put_u64(self.number);
        out.put_str(&self.day);
        out.put_str(&self.class);
        out.put(&self.hash);
        out.put_u64(self.bytes);
        out.put_u32(self.is_fresh.into());
        out.put_u32(u32::try_from(self.chunks.len()).unwrap_or(u32::MAX));
        for chunk in &self.chunks {
            out.put_u64(chunk.rows as u64);
            out.put_u64(chunk.first_id);
            out.put_u64(chunk.last_id);
            out.put_i64(chunk.min_time.0);
            out.put_i64(chunk.max_time.0);
        }
    }

    /// From what [`Self::put`] wrote, of a file of `len` bytes whose footer has this hash.
    pub(super) fn read(reader: &mut Reader<'_>, len: u64, footer: Hash) -> Result<Self> {
        let number = reader.u64()?;
        let day = reader.str()?.to_owned();
        if !is_day(&day) {
            return Err(reader.damaged(format!("{day:?} is no day")));
        }
        let class = reader.str()?.to_owned();
        if !is_class_name(&class) {
            return Err(reader.damaged(format!("{class:?} is no class")));
        }
        let (hash, bytes, is_fresh) = (reader.hash()?, reader.u64()?, reader.u32()? > 0);
        let chunks = (0..reader.count(40)?)
            .map(|_| {
                Ok(ChunkMeta {
                    rows: usize::try_from(reader.u64()?).unwrap_or(usize::MAX),
                    first_id: reader.u64()?,
                    last_id: reader.u64()?,
                    min_time: Timestamp(reader.i64()?),
                    max_time: Timestamp(reader.i64()?),
                })
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { number, day, class, len, hash, footer, bytes, is_fresh, chunks })
    }
}

/// Which segment it is, before there is more to say of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity<'a> {
    /// Its number; never given twice.
    pub(super) number: u64,
    /// Day of arrival.
    pub(super) day: &'a str,
    /// Class of its records.
    pub(super) class: &'a str,
}

impl Identity<'_> {
    /// Where its file is.
    pub(super) fn path(self, segments: &Path) -> PathBuf {
        segments.join(self.day).join(self.class).join(format!("{:020}.seg", self.number))
    }
}

/// It becomes a directory's name, so it may be nothing but a day.
pub(super) fn is_day(text: &str) -> bool {
    text.len() == 10
        && text.bytes().enumerate().all(|(n, b)| match n {
            4 | 7 => b == b'-',
            _ => b.is_ascii_digit(),
        })
}

/// A way to encode records: [`codec::encode`] or [`codec::encode_whole`].
pub(super) type Encode = fn(&[&[Arc<Record>]]) -> codec::Encoded;

/// Encodes records (one slice a chunk, ids rising) into a file at `path`, synced.
pub(super) fn write(
    disk: &dyn Disk,
    path: &Path,
    who: Identity<'_>,
    chunks: &[&[Arc<Record>]],
    encode: Encode,
) -> Result<(SegmentMeta, Sources)> {
    let mut sources = Sources::default();
    for record in chunks.iter().copied().flatten() {
        sources.count(record);
    }
    let bytes = chunks.iter().copied().flatten().map(|r| r.line.raw().len() as u64).sum();
    let text = Text { bytes, is_fresh: true };
    let meta = write_encoded(disk, path, who, text, encode(chunks), &sources)?;
    Ok((meta, sources))
}

/// The lines of what was encoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text {
    pub(super) bytes: u64,
    /// Was it sealed? Else it was merged.
    pub(super) is_fresh: bool,
}

/// Writes what was encoded to a file at `path`, synced.
pub(super) fn write_encoded(
    disk: &dyn Disk,
    path: &Path,
    who: Identity<'_>,
    text: Text,
    encoded: codec::Encoded,
    sources: &Sources,
) -> Result<SegmentMeta> {
    let mut listed = Vec::new();
    sources.put(&mut listed);
    let words: &[BTreeSet<String>] = &encoded.words;
    let index = chunk_index::build_within(words, encoded.body.len())?;
    let filter = Filter::build_within(encoded.tokens, encoded.body.len() / FILTER_SHARE_MIN);
    let sections = [
        (Kind::Body, encoded.body),
        (Kind::Index, index),
        (Kind::Filter, filter.to_bytes()),
        (Kind::Sources, codec::framed(&listed)),
    ];
    let mut file = Hashed { file: disk.create(path)?, hash: Sha256::new(), at: 0, synced: 0 };
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.put(&MAGIC);
    header.put_u32(VERSION);
    header.put_u32(0);
    file.append(&header)?;
    let mut table = Vec::new();
    for (kind, bytes) in &sections {
        let (at, len) = (file.at, bytes.len() as u64);
        table.push(Section { kind: *kind as u32, at, len, crc: crc32fast::hash(bytes) });
        file.append(bytes)?;
    }
    let mut meta = SegmentMeta {
        number: who.number,
        day: who.day.to_owned(),
        class: who.class.to_owned(),
        len: 0,
        hash: file.hash.finalize().into(),
        footer: Hash::default(),
        bytes: text.bytes,
        is_fresh: text.is_fresh,
        chunks: encoded.chunks,
    };
    let mut end = Vec::new();
    meta.put(&mut end);
    end.put_u32(u32::try_from(table.len()).unwrap_or(u32::MAX));
    for section in table {
        end.put_u32(section.kind);
        end.put_u64(section.at);
        end.put_u64(section.len);
        end.put_u32(section.crc);
    }
    let (len, crc) = (u32::try_from(end.len()).unwrap_or(u32::MAX), crc32fast::hash(&end));
    end.put_u32(len);
    end.put_u32(crc);
    end.put(&END_MAGIC);
    file.file.append(&end)?;
    file.file.sync()?;
    meta.len = file.at + end.len() as u64;
    meta.footer = Sha256::digest(&end).into();
    Ok(meta)
}

struct Hashed {
    file: Box<dyn crate::base::machine::AppendFile>,
    hash: Sha256,
    at: u64,
    synced: u64,
}

impl Hashed {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        for piece in bytes.chunks(PIECE_BYTES) {
            self.file.append(piece)?;
            self.hash.update(piece);
            self.at += piece.len() as u64;
            if self.at - self.synced >= SYNC_BYTES {
                self.file.sync()?;
                self.synced = self.at;
            }
        }
        Ok(())
    }
}

/// A segment whose table of contents was read.
pub(super) struct Open {
    file: Arc<dyn ReadAt>,
    place: String,
    meta: SegmentMeta,
    sections: Vec<Section>,
    body: Body,
    /// Where the footer starts.
    footer_at: u64,
}

impl Open {
    /// Reads header and footer.
    pub(super) fn read(disk: &dyn Disk, path: &Path) -> Result<Self> {
        let place = path.display().to_string();
        let damaged = |what: String| Error::corrupt(place.clone(), what);
        let file = disk.open(path)?;
        let len = file.len();
        if len < (HEADER_BYTES + TRAILER_BYTES) as u64 {
            return Err(damaged(format!("{len} bytes are no segment")));
        }
        let header = file.read_at(0, HEADER_BYTES)?;
        let mut reader = Reader::new(&header, &place);
        let (magic, version) = (reader.take(MAGIC.len())?, reader.u32()?);
        if magic != MAGIC {
            return Err(damaged("it does not start as a segment".to_owned()));
        }
        if version != VERSION {
            return Err(Error::Version { place: place.clone(), got: version, want: VERSION });
        }
        let tail_len = usize::try_from(len.min(TAIL_BYTES)).unwrap_or(usize::MAX);
        let mut tail = file.read_at(len - tail_len as u64, tail_len)?;
        let trailer = tail.split_off(tail.len().saturating_sub(TRAILER_BYTES));
        let mut reader = Reader::new(&trailer, &place);
        let (footer_len, crc) = (reader.u32()? as usize, reader.u32()?);
        if reader.take(END_MAGIC.len())? != END_MAGIC {
            return Err(damaged("it does not end as a segment".to_owned()));
        }
        let footer_at = len
            .checked_sub((footer_len + TRAILER_BYTES) as u64)
            .ok_or_else(|| damaged(format!("a footer of {footer_len} bytes")))?;
        let footer = match tail.len().checked_sub(footer_len) {
            Some(from) => tail.split_off(from),
            None => file.read_at(footer_at, footer_len)?,
        };
        if crc32fast::hash(&footer) != crc {
            return Err(damaged("the footer's checksum is wrong".to_owned()));
        }
        let hash = Sha256::new().chain_update(&footer).chain_update(&trailer).finalize().into();
        let mut reader = Reader::new(&footer, &place);
        let meta = SegmentMeta::read(&mut reader, len, hash)?;
        let sections = (0..reader.count(24)?)
            .map(|_| {
                let (kind, at, len, crc) =
                    (reader.u32()?, reader.u64()?, reader.u64()?, reader.u32()?);
                Ok(Section { kind, at, len, crc })
            })
            .collect::<Result<Vec<_>>>()?;
        let body = section(&sections, Kind::Body, &place)?;
        let body = Body::open(Arc::clone(&file), body.at, body.len)?;
        if body.chunks() != meta.chunks {
            return Err(damaged("its chunks are not those of its footer".to_owned()));
        }
        Ok(Self { file, place, meta, sections, body, footer_at })
    }

    /// What the footer says of it.
    pub(super) fn meta(&self) -> &SegmentMeta {
        &self.meta
    }

    /// Who sent what is in it.
    pub(super) fn sources(&self) -> Result<Sources> {
        let frame = self.section(Kind::Sources)?;
        let listed = codec::unframed(&frame, SOURCES_BYTES_MAX, &self.place)?;
        Sources::read(&mut Reader::new(&listed, &self.place))
    }

    /// Its records, encoded.
    pub(super) fn body(&self) -> Body {
        self.body.clone()
    }

    /// The rows of a chunk, past the cache.
    pub(super) fn rows(&self, n: usize) -> Result<Arc<dyn Rows>> {
        self.body.chunk(n)
    }

    /// The records of a chunk.
    pub(super) fn records(&self, n: usize) -> Result<Vec<Arc<Record>>> {
        let rows = self.body.chunk(n)?;
        (0..rows.meta().rows).map(|row| rows.record(row)).collect()
    }

    /// Every id in it.
    pub(super) fn ids(&self) -> Result<Vec<u64>> {
        let mut ids = Vec::new();
        for n in 0..self.body.chunks().len() {
            ids.extend_from_slice(self.body.chunk(n)?.ids()?);
        }
        Ok(ids)
    }

    /// The bytes of a section, as its checksum says.
    pub(super) fn section(&self, kind: Kind) -> Result<Vec<u8>> {
        let section = section(&self.sections, kind, &self.place)?;
        let len = usize::try_from(section.len).unwrap_or(usize::MAX);
        let bytes = self.file.read_at(section.at, len)?;
        if crc32fast::hash(&bytes) != section.crc {
            let what = format!("the checksum of section {kind:?} is wrong");
            return Err(Error::corrupt(self.place.clone(), what));
        }
        Ok(bytes)
    }

    /// Its sections: what they hold, where they start, their length.
    pub(super) fn sections(&self) -> impl Iterator<Item = (String, u64, u64)> + '_ {
        let kinds = [Kind::Body, Kind::Index, Kind::Filter, Kind::Sources];
        self.sections.iter().map(move |section| {
            let kind = kinds.iter().find(|kind| **kind as u32 == section.kind);
            let name = kind.map_or_else(|| section.kind.to_string(), |kind| format!("{kind:?}"));
            (name.to_lowercase(), section.at, section.len)
        })
    }

    /// Reads all of it: is it byte for byte what was written?
    pub(super) fn check_all(&self) -> Result<()> {
        let mut hash = Sha256::new();
        let mut at = 0;
        while at < self.footer_at {
            let len = usize::try_from(self.footer_at - at).unwrap_or(usize::MAX).min(PIECE_BYTES);
            hash.update(self.file.read_at(at, len)?);
            at += len as u64;
        }
        if <[u8; 32]>::from(hash.finalize()) == self.meta.hash {
            return Ok(());
        }
        Err(Error::corrupt(self.place.clone(), "its SHA-256 is not the one in its footer"))
    }

    /// Bytes in memory.
    pub(super) fn weight(&self) -> usize {
        OPEN_WEIGHT + self.meta.chunks.len() * size_of::<ChunkMeta>() + self.body.weight()
    }
}

fn section(sections: &[Section], kind: Kind, place: &str) -> Result<Section> {
    sections
        .iter()
        .find(|s| s.kind == kind as u32)
        .copied()
        .ok_or_else(|| Error::corrupt(place, format!("it has no section {kind:?}")))
}

/// Reads back what was just written. In a debug build that is every record; in a release build it
/// is what opening checks, since reading all would cost as much again as writing it.
pub(super) fn check_written(
    disk: &dyn Disk,
    path: &Path,
    meta: &SegmentMeta,
    chunks: &[&[Arc<Record>]],
) -> Result<()> {
    let differs = |what: &str| Err(Error::corrupt(path.display().to_string(), what));
    let open = Open::read(disk, path)?;
    if open.meta != *meta {
        return differs("it reads back as another segment");
    }
    let whole = meta.chunks.len() == chunks.len()
        && meta.chunks.iter().zip(chunks).all(|(meta, chunk)| {
            let ends = chunk.first().zip(chunk.last());
            meta.rows == chunk.len()
                && ends.is_some_and(|(a, b)| (meta.first_id, meta.last_id) == (a.id, b.id))
        });
    if !whole {
        return differs("its chunks are not those that were written");
    }
    if cfg!(debug_assertions) {
        for (n, chunk) in chunks.iter().enumerate() {
            let rows = open.body.chunk(n)?;
            for (row, record) in chunk.iter().enumerate() {
                if rows.record(row)? != *record {
                    return differs(&format!("record {} reads back as another", record.id));
                }
            }
        }
    }
    Ok(())
}
