//! The codec on real log files: every record of every file comes back, every word is among its
//! chunk's words.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shirabe::base::fold::fold;
use shirabe::base::record::Record;
use shirabe::base::split::{letter_runs, tokens};
use shirabe::codec::filter::{is_filtered, token_hash};
use shirabe::codec::{Encoded, encode};

use corpus::{chunks_of, decode, read};

use crate::support::corpora;

#[path = "../../benches/corpus.rs"]
mod corpus;

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
