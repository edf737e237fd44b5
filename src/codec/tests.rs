//! The codec as a whole: what is encoded comes back, damage is said, words are complete.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::sample::any_chunks;
use super::{Body, Encoded, encode};
use crate::base::error::{Error, Result};
use crate::base::fold::fold;
use crate::base::machine::ReadAt;
use crate::base::record::Record;
use crate::base::split::{letter_runs, tokens};
use crate::codec::filter::{is_filtered, token_hash};

/// A file in memory.
#[derive(Debug)]
struct Memory(Vec<u8>);

impl ReadAt for Memory {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }
    fn read_at(&self, at: u64, len: usize) -> Result<Vec<u8>> {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let end = at.checked_add(len).ok_or_else(|| Error::corrupt("memory", "beyond"))?;
        let bytes = self.0.get(at..end).ok_or_else(|| Error::corrupt("memory", "beyond"))?;
        Ok(bytes.to_vec())
    }
}

type Chunks = Vec<Vec<Arc<Record>>>;

fn encode_all(chunks: &Chunks) -> Encoded {
    encode(&chunks.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

fn decode_all(body: Vec<u8>) -> Result<Vec<Vec<Record>>> {
    let len = body.len() as u64;
    let body = Body::open(Arc::new(Memory(body)), 0, len)?;
    let chunk = |n| {
        let rows = body.chunk(n)?;
        let names: BTreeSet<Arc<str>> = rows.field_names()?.into_iter().collect();
        for row in 0..rows.meta().rows {
            assert!(rows.fields(row)?.iter().all(|f| names.contains(&f.name)));
        }
        (0..rows.meta().rows).map(|row| rows.record(row).map(|r| (*r).clone())).collect()
    };
    (0..body.chunks().len()).map(chunk).collect()
}

fn check_round_trip(chunks: &Chunks) -> Encoded {
    let encoded = encode_all(chunks);
    let back = decode_all(encoded.body.clone()).unwrap();
    assert_eq!(back.len(), chunks.len());
    for (back, chunk) in back.iter().zip(chunks) {
        assert_eq!(back.len(), chunk.len());
        for (back, record) in back.iter().zip(chunk) {
            assert_eq!(back, &**record);
        }
    }
    encoded
}

/// Every letter run of every text that a term looks at is among the words of its chunk, every
/// long token with a digit among the tokens.
fn check_words(chunks: &Chunks, encoded: &Encoded) {
    for (records, words) in chunks.iter().zip(&encoded.words) {
        for record in records {
            let fields = record.fields.iter().map(|f| f.value.to_string());
            let texts = [record.message(), &record.host, &record.app];
            for text in texts.into_iter().map(str::to_owned).chain(fields) {
                let folded = fold(&text);
                for run in letter_runs(&folded) {
                    assert!(words.contains(run), "{run:?} of {text:?}");
                }
                for token in tokens(&folded).filter(|t| is_filtered(t)) {
                    let found = encoded.tokens.binary_search(&token_hash(token));
                    assert!(found.is_ok(), "{token:?} of {text:?}");
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn records_come_back(chunks in any_chunks()) {
        let encoded = check_round_trip(&chunks);
        check_words(&chunks, &encoded);
    }
}
