//! `cargo bench`: how small a segment is and what encoding it costs, each figure beside `zstd -3`
//! of the same text in the same run. Files are named as arguments (`cargo bench -- FILE…`), else
//! those of 1 MB and more of the corpora that `SHIRABE_CORPORA` names are taken.
//!
//! The tables of search and of the whole server come with the issue that makes the store fast.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and ends where it cannot go on"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use corpus::{chunks_of, decode, read};
use shirabe::base::machine::{Clock, SystemClock};
use shirabe::base::record::Record;
use shirabe::codec::encode;
use shirabe::codec::filter::Filter;

mod corpus;

fn main() {
    let named: Vec<PathBuf> =
        std::env::args().skip(1).filter(|a| !a.starts_with("--")).map(PathBuf::from).collect();
    let all = named.is_empty();
    let files = if all { corpora() } else { named };
    println!(
        "file | MB | records | zstd -3 | body | filter | words | z3/body | encode Z | decode MB/s"
    );
    for file in files {
        let text = read(&file);
        if !all || text.len() >= 1_000_000 {
            print_figures(&file, &text);
        }
    }
}

fn corpora() -> Vec<PathBuf> {
    let Some(dir) = std::env::var_os("SHIRABE_CORPORA") else {
        println!("name log files, or a folder of corpora in SHIRABE_CORPORA");
        return Vec::new();
    };
    let entries = std::fs::read_dir(PathBuf::from(dir).join("lines")).expect("lines/");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
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
