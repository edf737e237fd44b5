//! The codec on real log files: every record of every file comes back, every word is among its
//! chunk's words. And, asked for by name, how small and how quick it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shirabe::base::error::{Error, Result};
use shirabe::base::fold::fold;
use shirabe::base::limits::{CHUNK_BYTES_MAX, CHUNK_ROWS_MAX};
use shirabe::base::machine::{Clock, ReadAt, SystemClock};
use shirabe::base::record::Record;
use shirabe::base::split::{letter_runs, tokens};
use shirabe::base::time::Timestamp;
use shirabe::codec::filter::{Filter, is_filtered, token_hash};
use shirabe::codec::{Body, Encoded, encode};
use shirabe::decode::json::{self, Given, Shape};
use shirabe::decode::{Origin, lines, syslog};

use crate::support::corpora;

/// The beginning of each file, in every run.
#[test]
fn the_first_lines_of_all_files_come_back() {
    each_file(100 << 10, check);
}

/// All of them, whole.
#[test]
fn slow_all_lines_of_all_files_come_back() {
    each_file(usize::MAX, check);
}

/// Sizes and times against `zstd -3`, of the corpora's larger files or of those in
/// `SHIRABE_MEASURE` (paths with `:` between).
#[test]
#[ignore = "prints figures; ask for it by name, optimised"]
fn measure() {
    let files = std::env::var_os("SHIRABE_MEASURE").map(|v| std::env::split_paths(&v).collect());
    let files: Vec<PathBuf> = files.unwrap_or_else(|| files_of(&corpora().unwrap_or_default()));
    println!(
        "file | MB | records | zstd -3 | body | filter | words | z3/body | encode Z | decode MB/s"
    );
    let asked = std::env::var_os("SHIRABE_MEASURE").is_some();
    for file in files {
        let text = read(&file);
        if asked || text.len() >= 1 << 20 {
            print_figures(&file, &text);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn print_figures(file: &Path, text: &[u8]) {
    let clock = SystemClock::new();
    let chunks = chunks_of(text);
    let slices: Vec<&[Arc<Record>]> = chunks.iter().map(Vec::as_slice).collect();
    let start = clock.monotonic();
    let z3 = zstd::bulk::compress(text, 3).expect("zstd");
    let z_time = clock.monotonic().checked_sub(start).expect("monotonic");
    let start = clock.monotonic();
    let encoded = encode(&slices);
    let encode_time = clock.monotonic().checked_sub(start).expect("monotonic");
    let filter = Filter::build(encoded.tokens.clone()).to_bytes().len();
    let words: usize = encoded.words.iter().flatten().map(String::len).sum();
    let start = clock.monotonic();
    let rows: usize = chunks.iter().map(Vec::len).sum();
    let back = decode(encoded.body.clone());
    let decode_time = clock.monotonic().checked_sub(start).expect("monotonic");
    assert_eq!(back.expect("decodes").iter().map(Vec::len).sum::<usize>(), rows);
    println!(
        "{} | {:.1} | {rows} | {} | {} | {filter} | {words} | {:.2} | {:.1} | {:.0}",
        file.file_name().unwrap_or_default().display(),
        text.len() as f64 / 1e6,
        z3.len(),
        encoded.body.len(),
        z3.len() as f64 / encoded.body.len() as f64,
        encode_time.as_secs_f64() / z_time.as_secs_f64(),
        text.len() as f64 / 1e6 / decode_time.as_secs_f64(),
    );
}

fn check(file: &Path, text: &[u8]) {
    let chunks = chunks_of(text);
    let slices: Vec<&[Arc<Record>]> = chunks.iter().map(Vec::as_slice).collect();
    let encoded = encode(&slices);
    check_words(file, &chunks, &encoded);
    let back = decode(encoded.body).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    assert_eq!(back.len(), chunks.len(), "{}", file.display());
    for (back, record) in back.iter().flatten().zip(chunks.iter().flatten()) {
        assert_eq!(back, record, "{}", file.display());
    }
}

fn check_words(file: &Path, chunks: &[Vec<Arc<Record>>], encoded: &Encoded) {
    for (records, words) in chunks.iter().zip(&encoded.words) {
        let mut seen = BTreeMap::new();
        for record in records {
            let fields = record.fields.iter().map(|field| field.value.to_string());
            let texts = [record.message(), &record.host, &record.app].map(str::to_owned);
            texts.into_iter().chain(fields).for_each(|text| *seen.entry(text).or_insert(0) += 1);
        }
        for text in seen.into_keys() {
            let folded = fold(&text);
            for run in letter_runs(&folded) {
                assert!(words.contains(run), "{}: {run:?} of {text:?}", file.display());
            }
            for token in tokens(&folded).filter(|token| is_filtered(token)) {
                let found = encoded.tokens.binary_search(&token_hash(token));
                assert!(found.is_ok(), "{}: {token:?} of {text:?}", file.display());
            }
        }
    }
}

fn each_file(most: usize, check: impl Fn(&Path, &[u8])) {
    let Some(dir) = corpora() else { return };
    for file in files_of(&dir) {
        let text = read(&file);
        check(&file, &text[..text.len().min(most)]);
    }
}

fn files_of(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir.join("lines")).expect("lines/");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

fn read(file: &Path) -> Vec<u8> {
    let bytes = std::fs::read(file).expect("a corpus file");
    let packed = file.extension().is_some_and(|e| e == "zst");
    if packed { zstd::stream::decode_all(&bytes[..]).expect("a zstd file") } else { bytes }
}

/// The lines as records, as syslog, JSON or plain lines by their first byte, cut into chunks.
fn chunks_of(text: &[u8]) -> Vec<Vec<Arc<Record>>> {
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

fn decode(body: Vec<u8>) -> Result<Vec<Vec<Arc<Record>>>> {
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
