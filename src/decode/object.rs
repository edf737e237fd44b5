//! An object's fields to a record: which keys are message, host, app and time (contract 3).
//!
//! Stands behind `json` and `forward`, which only differ in how they come to the fields. Severity
//! is not read here: `refine/severity` knows all the ways in which senders say it.

use std::sync::Arc;

use memchr::memchr_iter;

use crate::base::flatten::Flat;
use crate::base::limits::{LINE_BYTES_MAX, NAME_BYTES_MAX};
use crate::base::names;
use crate::base::record::{Defect, Line, Record, Via};
use crate::base::time::Timestamp;
use crate::base::value::{Field, Value, places};
use crate::decode::frame::whole_characters;

/// Keys whose string is the message, the first that is there.
const MESSAGE: [&str; 6] = ["message", "log", "msg", "MESSAGE", "body", "short_message"];

/// Paths of the host; the last is where OTLP says it.
const HOST: [&str; 5] =
    ["host", "hostname", "host.name", "kubernetes.host", "resource.attributes.host.name"];

/// Paths of the app; the last is where OTLP says it.
const APP: [&str; 7] = [
    "app",
    "service.name",
    "kubernetes.container_name",
    "container_name",
    "ident",
    "SYSLOG_IDENTIFIER",
    "resource.attributes.service.name",
];

/// What is known of a record besides its fields.
pub(super) struct Frame<'a> {
    /// The line as it came, not yet bounded.
    pub(super) raw: &'a [u8],
    /// The sender's time, where the wire says it.
    pub(super) time: Option<Timestamp>,
    /// Ours.
    pub(super) received: Timestamp,
    /// How it came.
    pub(super) via: Arc<Via>,
    /// The fluent tag.
    pub(super) tag: Option<Arc<str>>,
    /// A key to be looked at for the message before [`MESSAGE`].
    pub(super) message_field: Option<&'a str>,
}

/// Makes a record of what `flat` has collected. `compact` gives the object as compact JSON: the
/// message of an object that has none.
pub(super) fn into_record(
    frame: Frame<'_>,
    flat: &mut Flat,
    compact: impl FnOnce() -> String,
) -> Record {
    let (mut fields, mut defects) = flat.take();
    let message = take_message(&mut fields, frame.message_field);
    let raw = whole_characters(frame.raw, LINE_BYTES_MAX);
    if raw.len() < frame.raw.len() {
        defects.add(Defect::Truncated);
    }
    let line = if let Some(message) = message {
        line(raw, message)
    } else {
        let mut text = compact();
        if text.len() > LINE_BYTES_MAX {
            text.truncate(text.floor_char_boundary(LINE_BYTES_MAX));
            defects.add(Defect::Truncated);
        }
        if text.as_bytes() == raw {
            Line::spanning(raw, 0, raw.len())
        } else {
            Line::with_message(raw, text)
        }
    };
    if frame.time.is_none() {
        defects.add(Defect::NoTimestamp);
    }
    let host = first_name(&fields, &HOST).unwrap_or_else(|| Arc::clone(&frame.via.peer));
    let tag = frame.tag.filter(|tag| !tag.is_empty());
    let app =
        first_name(&fields, &APP).or_else(|| tag.clone()).unwrap_or_else(|| names::shared("-"));
    Record {
        id: 0,
        time: frame.time.unwrap_or(frame.received),
        received: frame.received,
        host,
        app,
        severity: None,
        facility: None,
        pid: None,
        line,
        fields,
        format: None,
        via: frame.via,
        tag,
        defects,
    }
}

/// A name as records may bear it: cut where it is longer than a dictionary should hold.
pub fn name(text: &str) -> Arc<str> {
    names::shared(text.get(..text.floor_char_boundary(NAME_BYTES_MAX)).unwrap_or_default())
}

fn take_message(fields: &mut Vec<Field>, first: Option<&str>) -> Option<Box<str>> {
    let is_text = |at: &usize| matches!(fields.get(*at), Some(Field { value: Value::Str(_), .. }));
    let given = first.and_then(|first| fields.iter().position(|f| *f.name == *first));
    let at = given.filter(is_text).or_else(|| {
        let usual = places(fields, &MESSAGE);
        usual.into_iter().flatten().find(is_text)
    })?;
    match fields.remove(at).value {
        Value::Str(text) => Some(text),
        _ => None,
    }
}

fn first_name<const N: usize>(fields: &[Field], paths: &[&str; N]) -> Option<Arc<str>> {
    let there = places(fields, paths).into_iter().flatten();
    there.filter_map(|at| fields.get(at)).find_map(|field| match &field.value {
        Value::Str(text) if !text.trim().is_empty() => Some(name(text)),
        number @ (Value::Int(_) | Value::UInt(_)) => Some(names::shared(&number.to_string())),
        _ => None,
    })
}

/// The message as a stretch of the line where it stands there unescaped, so that it is kept once.
fn line(raw: &[u8], message: Box<str>) -> Line {
    // Long texts that begin alike may stand there again and again: only so many are compared.
    const TRIES: usize = 16;
    let wanted = message.as_bytes();
    let head = wanted.get(..8).unwrap_or(wanted);
    let starts = memchr_iter(b'"', raw).map(|quote| quote + 1);
    let found = starts
        .filter(|at| raw.get(*at..).is_some_and(|rest| rest.starts_with(head)))
        .take(TRIES)
        .find(|at| {
            let rest = raw.get(*at..).unwrap_or_default();
            rest.starts_with(wanted) && rest.get(wanted.len()) == Some(&b'"')
        });
    match found {
        Some(at) => Line::spanning(raw, at, at + message.len()),
        None => Line::with_message(raw, message),
    }
}
