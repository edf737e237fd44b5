//! A piece of a log line that was pasted and does not read as a query: its words, as text.
//!
//! Log lines have bars, and what is cut out of one has parentheses and quotes without their
//! counterparts. Where such a sign is all that does not read, and nothing else says that a query
//! is meant, every word is looked for as it stands: so pasting a piece of a line finds the line.

use super::field::Name;
use super::tree::{Node, Text};
use crate::base::limits;

/// What pipes are called: behind a bar they say that a table is meant.
const PIPES: &[&str] = &[
    "avg",
    "count",
    "count_distinct",
    "fields",
    "first",
    "head",
    "last",
    "max",
    "min",
    "patterns",
    "rare",
    "rate",
    "sort",
    "stats",
    "sum",
    "top",
    "where",
];

/// The words of `text`; `None` where something else of it is meant as a query.
pub(super) fn read(text: &str) -> Option<Node> {
    let begins_stray = text.trim_start().starts_with(['"', '\'', '(', ')', '|']);
    if begins_stray || has_pipe(text) {
        return None;
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.len() > limits::QUERY_TERMS_MAX || words.iter().any(|word| is_meant(word)) {
        return None;
    }
    Some(Node::and(words.into_iter().map(|w| Node::Text(Text::Plain(w.to_owned()))).collect()))
}

/// Does the name of a pipe follow a bar?
fn has_pipe(text: &str) -> bool {
    text.split('|').skip(1).any(|behind| {
        let behind = behind.trim_start();
        let end = behind.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(behind.len());
        let name = behind.get(..end).unwrap_or_default();
        let percentile = name
            .strip_prefix('p')
            .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()));
        percentile || PIPES.contains(&name)
    })
}

/// An operator, a negation, or a condition on what every record has.
fn is_meant(word: &str) -> bool {
    let operator =
        matches!(word, "AND" | "OR" | "NOT") || word.contains("&&") || word.contains("||");
    let negation = word
        .strip_prefix(['-', '!'])
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_alphabetic() || "\"'(".contains(c)));
    let Some((name, value)) = word.split_once([':', '<', '>', '~']) else {
        return operator || negation;
    };
    let known = matches!(name, "since" | "until" | "word") || Name::read(name).builtin().is_some();
    operator || negation || (known && !value.is_empty())
}
