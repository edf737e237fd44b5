//! What is done with bytes that anybody may have made: nothing may panic, hang, or take more memory
//! than its bounds. Shared by the fuzz targets and, with mutations by a seed, by the tests
//! (`tests/it/fuzzed.rs`).

#![allow(dead_code, reason = "each target uses its part")]

use std::path::Path;
use std::sync::Arc;

use shirabe::base::error::{Error, Result};
use shirabe::base::find::Finder;
use shirabe::base::machine::{Disk as _, ReadAt};
use shirabe::base::sim::{Faults, ManualClock, SimDisk};
use shirabe::base::time::Timestamp;
use shirabe::codec::ask::{Asked, Watch};
use shirabe::codec::{Body, Look, RowSet};
use shirabe::config::Storage;
use shirabe::decode::forward::{Forward, Step};
use shirabe::decode::frame::Framer;
use shirabe::decode::{Origin, syslog as lines};
use shirabe::store::verify::verify;
use shirabe::store::{Options, Store};

const NOW: Timestamp = Timestamp(1_772_355_600_000_000_000);

/// A file in memory.
struct Memory(Vec<u8>);

impl ReadAt for Memory {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, at: u64, len: usize) -> Result<Vec<u8>> {
        let early = || Error::corrupt("memory", "ends early");
        let at = usize::try_from(at).map_err(|_| early())?;
        let end = at.checked_add(len).ok_or_else(early)?;
        self.0.get(at..end).map(<[u8]>::to_vec).ok_or_else(early)
    }
}

struct Unwatched;

impl Watch for Unwatched {
    fn worked(&mut self, _: usize) -> Asked<()> {
        Ok(())
    }
}

/// Opens a body, reads every record, asks, and lists its columns.
pub(crate) fn body(bytes: &[u8]) {
    drop(read_body(assemble(bytes)));
}

/// How many records read.
pub(crate) fn read_body(bytes: Vec<u8>) -> Result<usize> {
    let len = bytes.len() as u64;
    let body = Body::open(Arc::new(Memory(bytes)), 0, len)?;
    drop(body.templates());
    let mut read = 0;
    for n in 0..body.chunks().len() {
        drop(body.columns(n));
        let Ok(rows) = body.chunk(n) else { continue };
        let all = RowSet::all(rows.meta().rows);
        for text in ["user", "7f", "2026", "調べ"] {
            let finder = Finder::plain(text);
            drop(rows.find(&finder, Look::Everywhere, &all, &mut Unwatched));
        }
        drop(rows.with_field(&|name| name.len() > 2, &all, &mut Unwatched, &mut |_| true));
        read += (0..rows.meta().rows).filter(|row| rows.record(*row).is_ok()).count();
        drop(rows.records(&all));
    }
    Ok(read)
}

/// A body from its parts: the length of the table's beginning (2 bytes), that beginning, and of
/// each section `1` where it is a frame, its length (3 bytes), and its content. So that what is mutated
/// is what stands behind checksums and compression.
pub(crate) fn assemble(mut parts: &[u8]) -> Vec<u8> {
    let mut take = |len: usize| {
        let (front, rest) = parts.split_at(len.min(parts.len()));
        parts = rest;
        front
    };
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |n, byte| n << 8 | usize::from(*byte));
    let len = number(take(2));
    let mut table = take(len).to_vec();
    let mut body = Vec::new();
    loop {
        let head = take(4);
        let [is_frame, len @ ..] = head else { break };
        let content = take(number(len));
        let start = body.len();
        if *is_frame == 1 {
            put_var(&mut body, content.len());
            for piece in content.chunks(1 << 20) {
                body.push(0);
                body.extend_from_slice(piece);
            }
        } else {
            body.extend_from_slice(content);
        }
        let section = &body[start..];
        put_var(&mut table, section.len());
        table.extend_from_slice(&crc(section).to_le_bytes());
    }
    let len = u32::try_from(table.len()).unwrap_or(u32::MAX);
    let sum = crc(&table);
    body.extend_from_slice(&table);
    body.extend_from_slice(&len.to_le_bytes());
    body.extend_from_slice(&sum.to_le_bytes());
    body
}

fn put_var(out: &mut Vec<u8>, mut n: usize) {
    while n >= 0x80 {
        out.push(u8::try_from(n & 0x7f).unwrap_or(0) | 0x80);
        n >>= 7;
    }
    out.push(u8::try_from(n).unwrap_or(0));
}

/// CRC-32 (IEEE), bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ (0xedb8_8320 * (crc & 1)))
    })
}

fn disk_with(path: &str, bytes: &[u8]) -> SimDisk {
    let disk = SimDisk::new(Faults::default());
    let path = Path::new(path);
    let made = disk.create_dir_all(path.parent().unwrap_or(path));
    made.and_then(|()| disk.replace(path, bytes)).expect("a disk in memory");
    disk
}

fn open(disk: &SimDisk) -> Result<Arc<Store>> {
    let options = Options {
        data_dir: "/data".into(),
        live_bytes_max: 1 << 20,
        storage: Storage { min_free_bytes: 0, ..Storage::default() },
        retention: Vec::new(),
        on_commit: Box::new(|_| {}),
        metrics: Arc::default(),
    };
    Store::open(options, Arc::new(disk.clone()), ManualClock::new(NOW))
}

fn read_store(disk: &SimDisk) {
    drop(verify(disk, Path::new("/data"), &mut |_| {}));
    if let Ok(store) = open(disk) {
        store.snapshot().in_order(0, u64::MAX).for_each(drop);
        drop(store.close());
    }
}

/// A store is opened on a log file.
pub(crate) fn log(bytes: &[u8]) {
    read_store(&disk_with("/data/log/00000000000000000001.log", bytes));
}

/// A store is opened on a segment, of which no catalogue knows.
pub(crate) fn segment(bytes: &[u8]) {
    read_store(&disk_with("/data/segments/2026-03-01/default/00000000000000000001.seg", bytes));
}

/// Frames of a stream, cut at places that the first byte says, and one datagram.
pub(crate) fn syslog(bytes: &[u8]) {
    let origin = Origin::new("syslog", "tcp", "10.0.0.1");
    let Some((step, stream)) = bytes.split_first() else { return };
    let mut framer = Framer::default();
    let mut each = |frame: shirabe::decode::frame::Frame<'_>| {
        drop(lines::read_frame(&frame, NOW, &origin));
    };
    for piece in stream.chunks(usize::from(*step) + 1) {
        if framer.push(piece, &mut each).is_err() {
            return;
        }
    }
    framer.finish(&mut each);
    drop(lines::read_datagram(stream, NOW, &origin));
}

/// A forward connection, its bytes in pieces that the first byte says.
pub(crate) fn forward(bytes: &[u8]) {
    let origin = Origin::new("forward", "tcp", "10.0.0.1");
    let Some((step, stream)) = bytes.split_first() else { return };
    let mut forward = Forward::new();
    for piece in stream.chunks(usize::from(*step) + 1) {
        forward.feed(piece);
        loop {
            match forward.step(NOW, &origin) {
                Step::More => break,
                Step::Reply { refused: None, .. } | Step::Message(_) => {}
                _ => return,
            }
        }
    }
}
