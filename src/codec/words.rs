//! What a chunk's texts hold, for the store's index and filter: the distinct letter runs and the
//! hashes of long tokens with a digit.
//!
//! Fed with pieces of texts: templates' static text, distinct dictionary values, values. A piece
//! may end only where an ASCII sign that is neither letter, digit nor `_` stands on one side of
//! the cut, so that no letter run and no token goes on in the next piece.

#![expect(clippy::indexing_slicing, reason = "a byte is always within a table of 256")]

use std::collections::{BTreeSet, HashSet};

use super::filter::{TOKEN_CHARS_MIN, is_filtered, token_hash};
use crate::base::fold::fold;
use crate::base::limits::{CHUNK_WORDS_MAX, INDEX_WORD_BYTES_MAX};
use crate::base::split::{letter_runs, tokens};
use crate::base::value::Value;

/// Collects the words of one chunk after the other, and the tokens of all.
#[derive(Debug, Default)]
pub(super) struct Words {
    runs: HashSet<Box<str>, foldhash::fast::RandomState>,
    short: Short,
    /// There were more than are kept.
    too_many: bool,
    tokens: Vec<u64>,
    lower: String,
}

/// Letters of the runs that ids in hex consist of, which are more than all others.
const SHORT_LETTERS: usize = 3;

/// Which runs of so many small ASCII letters and fewer there are; looked up without hashing.
#[derive(Debug)]
struct Short(Box<[bool]>);

impl Default for Short {
    fn default() -> Self {
        Self(vec![false; 27 * 27 * 27].into())
    }
}

impl Short {
    /// The place of a run; `None` where it is another one.
    fn of(&mut self, run: &str) -> Option<&mut bool> {
        if run.len() > SHORT_LETTERS || !run.bytes().all(|b| b.is_ascii_lowercase()) {
            return None;
        }
        self.0.get_mut(run.bytes().fold(0, |n, b| n * 27 + usize::from(b - b'a') + 1))
    }

    /// Those that there were, in no order.
    fn drain(&mut self) -> impl Iterator<Item = String> {
        let run = |mut n: usize| {
            let mut run = String::new();
            while n > 0 {
                run.insert(0, char::from(b'a' + (n % 27 - 1).to_le_bytes()[0]));
                n /= 27;
            }
            run
        };
        let there = self.0.iter_mut().enumerate();
        there.filter_map(move |(n, there)| std::mem::take(there).then(|| run(n)))
    }
}

/// What a byte of ASCII is in a token.
const SIGN: u8 = 0;
const LETTER: u8 = 1;
const DIGIT: u8 = 2;
const UNDERSCORE: u8 = 3;
const CLASSES: [u8; 256] = {
    let mut classes = [SIGN; 256];
    let mut byte = 0_u8;
    while byte < 0x80 {
        classes[byte as usize] = match byte {
            b'a'..=b'z' | b'A'..=b'Z' => LETTER,
            b'0'..=b'9' => DIGIT,
            b'_' => UNDERSCORE,
            _ => SIGN,
        };
        byte += 1;
    }
    classes
};

impl Words {
    /// Adds what a piece of UTF-8 text holds.
    pub(super) fn add(&mut self, piece: &[u8]) {
        if piece.is_ascii() {
            self.add_ascii(piece);
            return;
        }
        let text = String::from_utf8_lossy(piece);
        let folded = fold(&text);
        for run in letter_runs(&folded) {
            self.add_run(run);
        }
        self.tokens.extend(tokens(&folded).filter(|t| is_filtered(t)).map(token_hash));
    }

    /// Adds what the text of a value holds, and of each item of an array, which stands escaped
    /// in the array's own text.
    pub(super) fn add_value(&mut self, value: &Value) {
        match value {
            Value::Str(text) => self.add(text.as_bytes()),
            Value::Array(items) => {
                self.add(value.to_string().as_bytes());
                for item in items {
                    self.add_value(item);
                }
            }
            other => self.add(other.to_string().as_bytes()),
        }
    }

    /// The same as for other text, for which the tables of Unicode are not needed.
    fn add_ascii(&mut self, piece: &[u8]) {
        let mut lower = std::mem::take(&mut self.lower);
        lower.clear();
        lower.extend(piece.iter().map(|b| char::from(b.to_ascii_lowercase())));
        let bytes = lower.as_bytes();
        let class = |at: usize| bytes.get(at).map_or(SIGN, |b| CLASSES[usize::from(*b)]);
        let mut at = 0;
        while at < bytes.len() {
            let start = at;
            let mut has_digit = false;
            loop {
                match class(at) {
                    SIGN => break,
                    LETTER => {
                        let run = at;
                        while class(at) == LETTER {
                            at += 1;
                        }
                        self.add_run(lower.get(run..at).unwrap_or_default());
                    }
                    other => {
                        has_digit |= other == DIGIT;
                        at += 1;
                    }
                }
            }
            if has_digit && at - start >= TOKEN_CHARS_MIN {
                self.tokens.push(token_hash(lower.get(start..at).unwrap_or_default()));
            }
            at += 1;
        }
        self.lower = lower;
    }

    fn add_run(&mut self, run: &str) {
        if let Some(short) = self.short.of(run) {
            *short = true;
        } else if !self.too_many && !self.runs.contains(run) {
            self.runs.insert(run.into());
            if self.runs.len() > CHUNK_WORDS_MAX {
                (self.too_many, self.runs) = (true, HashSet::default());
            }
        }
    }

    /// The runs of the chunk that ends here; only one that is too long to be kept, which stands for
    /// any, where there were too many.
    pub(super) fn end_chunk(&mut self) -> BTreeSet<String> {
        self.tokens.sort_unstable();
        self.tokens.dedup();
        if std::mem::take(&mut self.too_many) {
            self.short.drain().for_each(drop);
            return BTreeSet::from(["x".repeat(INDEX_WORD_BYTES_MAX + 1)]);
        }
        self.short.drain().chain(self.runs.drain().map(String::from)).collect()
    }

    /// Takes the tokens of another, which has ended its chunk.
    pub(super) fn take_tokens(&mut self, other: &mut Self) {
        self.tokens.append(&mut other.tokens);
    }

    /// The tokens of all chunks, each once, sorted.
    pub(super) fn into_tokens(mut self) -> Vec<u64> {
        self.tokens.sort_unstable();
        self.tokens.dedup();
        self.tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn naive(text: &str) -> (BTreeSet<String>, BTreeSet<u64>) {
        let folded = fold(text);
        let runs = letter_runs(&folded).map(str::to_owned).collect();
        (runs, tokens(&folded).filter(|t| is_filtered(t)).map(token_hash).collect())
    }

    #[test]
    fn too_many_words_are_any() {
        let mut words = Words::default();
        for n in 0..=CHUNK_WORDS_MAX {
            let letter = |at: u32| char::from(b'a' + (n >> (4 * at) & 15).to_le_bytes()[0]);
            words.add((0..5).map(letter).collect::<String>().as_bytes());
        }
        words.add(b"one more abc");
        let all = words.end_chunk();
        assert!(all.len() == 1 && all.iter().all(|word| word.len() > INDEX_WORD_BYTES_MAX));
        words.add(b"one more abc");
        assert_eq!(words.end_chunk().len(), 3);
    }

    proptest! {
        #[test]
        fn the_quick_way_finds_what_the_tokenizer_finds(
            text in prop_oneof!["[ -~]{0,60}", "[a-zA-Z0-9_ ]{0,60}", ".{0,30}"],
        ) {
            let mut words = Words::default();
            words.add(text.as_bytes());
            let (runs, hashes) = naive(&text);
            prop_assert_eq!(words.end_chunk(), runs);
            prop_assert_eq!(words.into_tokens(), hashes.into_iter().collect::<Vec<_>>());
        }
    }
}
