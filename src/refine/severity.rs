//! How grave a record is, where its envelope does not say.
//!
//! Senders name it in a field, by word or number, or begin their text with it. A word in the
//! middle of a text says nothing: `no error found` is none.

use crate::base::record::{Record, Severity};
use crate::base::value::{Value, places};

/// Fields that name it, the first that reads: contract 3's, then where OTLP says it.
const FIELDS: [&str; 8] = [
    "severity",
    "level",
    "log.level",
    "lvl",
    "severity_text",
    "PRIORITY",
    "metadata.otlp.severity_text",
    OTLP_NUMBER,
];

/// OTLP's number, 1 to 24, four for each of its six names.
const OTLP_NUMBER: &str = "metadata.otlp.severity_number";

/// How far into a text its level is looked for, bytes.
const WITHIN: usize = 160;

/// Words that are a level in any case where they follow a time at once.
const PLAIN: &[&str] = &["trace", "debug", "info", "warn", "warning", "error", "critical", "fatal"];

/// How many words may stand between a time and the level.
const WORDS_BEFORE: usize = 4;

/// From the fields; numbers only in the first `typed` of them.
pub(super) fn of_fields(record: &Record, typed: usize) -> Option<Severity> {
    let find = |(name, at): (&str, Option<usize>)| {
        let at = at?;
        match &record.fields.get(at)?.value {
            Value::Int(number) if name == OTLP_NUMBER => of_otlp(*number),
            _ if name == OTLP_NUMBER => None,
            // A small `level` is syslog's in GELF; others count from 0 up, each in a way of its own.
            Value::Int(0..=7) if name == "level" && !is_gelf(record) => None,
            Value::Int(number) if at < typed => of_number(*number),
            Value::Str(text) => match text.parse() {
                Ok(number) if name == "PRIORITY" => of_number(number),
                _ => Severity::from_text(text),
            },
            _ => None,
        }
    };
    FIELDS.into_iter().zip(places(&record.fields, &FIELDS)).find_map(find)
}

fn is_gelf(record: &Record) -> bool {
    let version = record.field("version").and_then(Value::as_str);
    matches!(version, Some("1.0" | "1.1"))
}

fn of_number(number: i64) -> Option<Severity> {
    match number {
        0..=7 => Severity::from_code(u8::try_from(number).ok()?),
        // pino and bunyan.
        10 => Some(Severity::Trace),
        20 => Some(Severity::Debug),
        30 => Some(Severity::Info),
        40 => Some(Severity::Warning),
        50 => Some(Severity::Error),
        60 => Some(Severity::Crit),
        _ => None,
    }
}

fn of_otlp(number: i64) -> Option<Severity> {
    match number {
        1..=4 => Some(Severity::Trace),
        5..=8 => Some(Severity::Debug),
        9..=12 => Some(Severity::Info),
        13..=16 => Some(Severity::Warning),
        17..=20 => Some(Severity::Error),
        21..=24 => Some(Severity::Crit),
        _ => None,
    }
}

/// From a level word at the beginning of `text`; `is_after_time` where a time stands before it.
/// Before it may stand what logging frameworks put there: numbers, something in brackets, dashes,
/// and one name.
pub(super) fn of_text(text: &str, is_after_time: bool) -> Option<Severity> {
    let head = text.get(..text.floor_char_boundary(WITHIN))?;
    if is_after_time {
        let first = head.trim_start_matches([' ', ',']);
        let word = first.split(' ').next().unwrap_or_default();
        if PLAIN.iter().any(|plain| word.eq_ignore_ascii_case(plain)) {
            return Severity::from_text(word);
        }
    }
    let mut rest = head;
    let mut names = 0;
    for _ in 0..=WORDS_BEFORE {
        rest = rest.trim_start_matches([' ', '\t', '-', '|', ',', ':']);
        if let Some(inner) = rest.strip_prefix(['[', '(', '<']) {
            let end = inner.find([']', ')', '>'])?;
            // `[error]`, and Apache's `[core:error]`.
            let word = inner.get(..end)?.trim();
            let last = word.rsplit_once(':').map_or(word, |(_, last)| last);
            if let Some(severity) = of_word(last, true) {
                return Some(severity);
            }
            rest = inner.get(end + 1..)?;
            continue;
        }
        let end =
            rest.find(|c: char| c.is_whitespace() || matches!(c, ':' | '|' | ',' | '[' | '('));
        let (word, after) = rest.split_at_checked(end.unwrap_or(rest.len()))?;
        // `error: x`, and Monolog's `local.ERROR: x`.
        let is_last = after.starts_with(':') && names == 0;
        let dotted = word.rsplit_once('.').filter(|_| is_last);
        if let Some(severity) =
            of_word(word, is_last).or_else(|| dotted.and_then(|(_, word)| of_word(word, false)))
        {
            return Some(severity);
        }
        let is_number = !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let is_name = names == 0 && is_dashed(head, rest, after);
        if !is_number && !is_name {
            return None;
        }
        names += usize::from(!is_number);
        rest = after;
    }
    None
}

/// Does a word stand between dashes, as Python's `time - name - LEVEL - text` has it?
fn is_dashed(head: &str, from_word: &str, after: &str) -> bool {
    let before = head.get(..head.len() - from_word.len()).unwrap_or_default();
    before.trim_end().ends_with('-') && after.trim_start().starts_with('-')
}

/// A level word: in capitals, or in any case where a sign sets it apart.
fn of_word(word: &str, is_set_apart: bool) -> Option<Severity> {
    let is_long = word.len() >= 3;
    let is_shouted = word.bytes().all(|b| b.is_ascii_uppercase());
    (is_long && (is_shouted || is_set_apart)).then(|| Severity::from_text(word)).flatten()
}
