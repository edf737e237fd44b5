//! Log files as the records of a segment: what the codec's tests and the benchmarks share.

use std::path::Path;
use std::sync::Arc;

use shirabe::base::error::{Error, Result};
use shirabe::base::limits::{CHUNK_BYTES_MAX, CHUNK_ROWS_MAX};
use shirabe::base::machine::ReadAt;
use shirabe::base::record::Record;
use shirabe::base::time::Timestamp;
use shirabe::codec::Body;
use shirabe::decode::json::{self, Given, Shape};
use shirabe::decode::{Origin, lines, syslog};

/// A file's text, unpacked where its name ends in `.zst`.
pub(crate) fn read(file: &Path) -> Vec<u8> {
    let bytes = std::fs::read(file).expect("a corpus file");
    let packed = file.extension().is_some_and(|e| e == "zst");
    if packed { zstd::stream::decode_all(&bytes[..]).expect("a zstd file") } else { bytes }
}

/// The lines as records, as syslog, JSON or plain lines by their first byte, cut into chunks.
pub(crate) fn chunks_of(text: &[u8]) -> Vec<Vec<Arc<Record>>> {
    let origin = Origin::new("syslog", "tcp", "127.0.0.1");
    let received = Timestamp(1_772_323_200_000_000_000);
    let given = Given::default();
    let mut chunks: Vec<Vec<Arc<Record>>> = vec![Vec::new()];
    let (mut id, mut bytes) = (0, 0);
    for line in text.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        let record = match line.first() {
            Some(b'<') => syslog::read(line, received, &origin),
            Some(b'{') => {
                let body = json::read_body(line, Shape::Lines, received, &origin, &given);
                body.records.into_iter().next()
            }
            _ => None,
        };
        let mut record =
            record.unwrap_or_else(|| lines::read_line(line, received, &origin, &given));
        id += 1;
        bytes += line.len();
        record.id = id;
        let last = chunks.last_mut().expect("one");
        last.push(Arc::new(record));
        if last.len() == CHUNK_ROWS_MAX || bytes >= CHUNK_BYTES_MAX {
            chunks.push(Vec::new());
            bytes = 0;
        }
    }
    chunks.retain(|chunk| !chunk.is_empty());
    chunks
}

/// All records of a body.
pub(crate) fn decode(body: Vec<u8>) -> Result<Vec<Vec<Arc<Record>>>> {
    let len = body.len() as u64;
    let body = Body::open(Arc::new(Memory(body)), 0, len)?;
    let chunk = |n| {
        let rows = body.chunk(n)?;
        (0..rows.meta().rows).map(|row| rows.record(row)).collect()
    };
    (0..body.chunks().len()).map(chunk).collect()
}

/// A file in memory.
struct Memory(Vec<u8>);

impl ReadAt for Memory {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }
    fn read_at(&self, at: u64, len: usize) -> Result<Vec<u8>> {
        let at = usize::try_from(at).expect("a place");
        let bytes = self.0.get(at..at + len);
        bytes.map(<[u8]>::to_vec).ok_or_else(|| Error::corrupt("memory", "ends early"))
    }
}
