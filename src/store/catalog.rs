//! The catalogue: which segments exist and what is known of them without opening them.
//!
//! One small file, replaced as one step. What stands in it was synced before; a segment file that
//! does not stand in it is an orphan of a seal or merge that did not end, or was merged into another
//! (`open` decides what becomes of it). Who sent what stands in the segments, so that a seal costs
//! the same however many hosts there are.

use std::path::Path;
use std::time::Duration;

use crate::base::error::{Error, Result};
use crate::base::machine::Disk;
use crate::base::time::Timestamp;
use crate::store::manifest::Head;
use crate::store::retention::Belief;
use crate::store::segment::SegmentMeta;
use crate::store::wire::{Put, Reader};

/// Its name below the data directory.
pub(super) const NAME: &str = "catalog";
/// Its first bytes.
pub(super) const MAGIC: [u8; 8] = *b"SHIRACAT";
/// Its format version.
pub(super) const VERSION: u32 = 0;
/// Magic, version, checksum of the version and of the rest.
pub(super) const HEADER_BYTES: usize = 16;

/// Least that a segment takes in it.
const SEGMENT_BYTES: usize = 100;

/// What it says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Catalog {
    /// Larger than every id that a segment holds or held.
    pub(super) next_id: u64,
    /// Every id below is in a segment, or gone; what the log has of them is left over.
    pub(super) sealed_below: u64,
    /// Larger than every segment number that was used.
    pub(super) next_segment: u64,
    /// Up to where the manifest says the same.
    pub(super) manifest: Head,
    /// What `retention` took for the time when this was written.
    pub(super) belief: Belief,
    /// In the order of their first ids.
    pub(super) segments: Vec<SegmentMeta>,
}

impl Catalog {
    /// What is on disk; `None` where there is none.
    pub(super) fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<Self>> {
        if !disk.list(dir)?.iter().any(|e| e.name == NAME) {
            return Ok(None);
        }
        let path = dir.join(NAME);
        Self::from_bytes(&disk.read(&path)?, &path.display().to_string()).map(Some)
    }

    /// Replaces what is on disk.
    pub(super) fn write(&self, disk: &dyn Disk, dir: &Path) -> Result<()> {
        disk.replace(&dir.join(NAME), &self.to_bytes())
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        body.put_u64(self.next_id);
        body.put_u64(self.sealed_below);
        body.put_u64(self.next_segment);
        body.put_u64(self.manifest.len);
        body.put(&self.manifest.hash);
        body.put_i64(self.belief.at.0);
        body.put_u64(u64::try_from(self.belief.doubted.as_nanos()).unwrap_or(u64::MAX));
        body.put_u32(u32::try_from(self.segments.len()).unwrap_or(u32::MAX));
        for segment in &self.segments {
            body.put_u64(segment.len);
            body.put(&segment.footer);
            segment.put(&mut body);
        }
        let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
        out.put(&MAGIC);
        out.put_u32(VERSION);
        out.put_u32(checksum(VERSION, &body));
        out.put(&body);
        out
    }

    fn from_bytes(bytes: &[u8], place: &str) -> Result<Self> {
        let mut reader = Reader::new(bytes, place);
        if reader.take(MAGIC.len())? != MAGIC {
            return Err(reader.damaged("it does not start as a catalogue".to_owned()));
        }
        let (version, crc) = (reader.u32()?, reader.u32()?);
        let body = bytes.get(HEADER_BYTES..).unwrap_or_default();
        if checksum(version, body) != crc {
            return Err(reader.damaged("its checksum is wrong".to_owned()));
        }
        if version != VERSION {
            return Err(Error::Version { place: place.to_owned(), got: version, want: VERSION });
        }
        let (next_id, sealed_below, next_segment) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let manifest = Head { len: reader.u64()?, hash: reader.hash()? };
        let at = Timestamp(reader.i64()?);
        let belief = Belief { at, doubted: Duration::from_nanos(reader.u64()?) };
        let segments = (0..reader.count(SEGMENT_BYTES)?)
            .map(|_| {
                let (len, footer) = (reader.u64()?, reader.hash()?);
                SegmentMeta::read(&mut reader, len, footer)
            })
            .collect::<Result<Vec<_>>>()?;
        if !reader.is_empty() {
            return Err(reader.damaged("more follows than belongs to it".to_owned()));
        }
        Ok(Self { next_id, sealed_below, next_segment, manifest, belief, segments })
    }
}

/// Over the version too, so that a damaged one is not taken for another.
fn checksum(version: u32, body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&version.to_le_bytes());
    crc.update(body);
    crc.finalize()
}
