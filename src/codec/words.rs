//! What a chunk's texts hold, for the store's index and filter: the distinct letter runs and the
//! hashes of long tokens with a digit.
//!
//! Fed with pieces of texts: templates' static text, distinct dictionary values, values. A piece
//! may end only where an ASCII sign that is neither letter, digit nor `_` stands on one side of
//! the cut, so that no letter run and no token goes on in the next piece.

use std::collections::{BTreeSet, HashSet};

use super::filter::{TOKEN_CHARS_MIN, is_filtered, token_hash};
use crate::base::fold::fold;
use crate::base::split::{letter_runs, tokens};
use crate::base::value::Value;

/// Collects the words of one chunk after the other, and the tokens of all.
#[derive(Debug, Default)]
pub(super) struct Words {
    runs: HashSet<Box<str>, foldhash::fast::RandomState>,
    tokens: Vec<u64>,
    lower: String,
}

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
        let is_token = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
        for token in piece.split(|b| !is_token(b)).filter(|token| !token.is_empty()) {
            lower.clear();
            lower.extend(token.iter().map(|b| char::from(b.to_ascii_lowercase())));
            let mut has_digit = false;
            for run in lower.split(|c: char| !c.is_ascii_alphabetic()) {
                has_digit |= run.len() < lower.len();
                if !run.is_empty() {
                    self.add_run(run);
                }
            }
            if has_digit && lower.len() >= TOKEN_CHARS_MIN && is_filtered(&lower) {
                self.tokens.push(token_hash(&lower));
            }
        }
        self.lower = lower;
    }

    fn add_run(&mut self, run: &str) {
        if !self.runs.contains(run) {
            self.runs.insert(run.into());
        }
    }

    /// The runs of the chunk that ends here.
    pub(super) fn end_chunk(&mut self) -> BTreeSet<String> {
        self.tokens.sort_unstable();
        self.tokens.dedup();
        self.runs.drain().map(String::from).collect()
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
