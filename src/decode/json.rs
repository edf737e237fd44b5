//! JSON objects to records: NDJSON, arrays, objects one after another.
//!
//! Stands behind `POST /api/v1/ingest` and `import`. The line of a record is its object's own
//! bytes. What is no object is kept as text with the defect `bad-json`; only what is larger than
//! a line may be is refused, with its line number.

use std::borrow::Cow;
use std::sync::Arc;

use memchr::{memchr, memchr_iter};

use crate::base::flatten::Flat;
use crate::base::json::{compact, read_object, string_end};
use crate::base::limits::{LINE_BYTES_MAX, MESSAGE_RECORDS_MAX};
use crate::base::record::{Defect, Record, TIME_FIELDS};
use crate::base::time::Timestamp;
use crate::base::value::{Field, Value, places};
use crate::decode::object::{self, Frame};
use crate::decode::{Origin, Reject, lines};

/// What the caller of an ingest request says of all its records (contract 4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// `host`: instead of what the objects say. One for all records, so already cut by
    /// [`crate::decode::name`].
    pub host: Option<Arc<str>>,
    /// `app`: likewise.
    pub app: Option<Arc<str>>,
    /// `time_field`: looked at before the usual keys.
    pub time_field: Option<String>,
    /// `message_field`: looked at before the usual keys.
    pub message_field: Option<String>,
}

/// How the objects of a body follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One a line (`application/x-ndjson`); several on a line are taken too.
    Lines,
    /// `application/json`: an array, one object, or several with or without anything between.
    Any,
}

/// What came out of a body.
#[derive(Debug, Default)]
pub struct Body {
    /// In the order of the bytes; ids 0.
    pub records: Vec<Record>,
    /// Line number from 1, and why it was not taken.
    pub rejected: Vec<(u64, Reject)>,
}

/// Reads a whole body.
#[must_use]
pub fn read_body(
    body: &[u8],
    shape: Shape,
    received: Timestamp,
    origin: &Origin,
    given: &Given,
) -> Body {
    let mut reader = Reader { flat: Flat::default(), received, origin, given };
    let mut out = Body::default();
    let (mut counted, mut line_number) = (0, 1);
    let mut pieces = Pieces::new(body, shape);
    while let Some(piece) = pieces.next() {
        let (Piece::Line(at, bytes) | Piece::Object(at, bytes) | Piece::Text(at, bytes)) = piece;
        let is_too_many = out.records.len() >= MESSAGE_RECORDS_MAX;
        if is_too_many || bytes.len() > LINE_BYTES_MAX {
            let passed = body.get(counted..at).unwrap_or_default();
            line_number += memchr_iter(b'\n', passed).count() as u64;
            counted = at;
            if is_too_many {
                out.rejected.push((line_number, too_many()));
                break;
            }
            out.rejected.push((line_number, too_large(bytes.len())));
            continue;
        }
        out.records.push(match piece {
            Piece::Line(..) => {
                let Some(record) = reader.object(bytes) else {
                    pieces.look_through(at);
                    continue;
                };
                record
            }
            Piece::Object(..) => reader.object(bytes).unwrap_or_else(|| reader.text(bytes)),
            Piece::Text(..) => reader.text(bytes),
        });
    }
    out
}

fn too_many() -> Reject {
    Reject {
        reason: "too-many-records",
        detail: format!("this and all after it: the limit is {MESSAGE_RECORDS_MAX} records"),
        can_continue: true,
    }
}

fn too_large(len: usize) -> Reject {
    Reject {
        reason: "object-too-large",
        detail: format!("{len} bytes, the limit is {LINE_BYTES_MAX}"),
        can_continue: true,
    }
}

struct Reader<'a> {
    flat: Flat,
    received: Timestamp,
    origin: &'a Origin,
    given: &'a Given,
}

impl Reader<'_> {
    /// `None` where the bytes are no object.
    fn object(&mut self, bytes: &[u8]) -> Option<Record> {
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => Cow::Owned(self.origin.decoded(bytes).into_owned()),
        };
        if read_object(&text, &mut self.flat).is_err() {
            self.flat.take();
            return None;
        }
        if matches!(text, Cow::Owned(_)) {
            self.flat.note(Defect::NotUtf8);
        }
        let frame = Frame {
            raw: bytes,
            time: None,
            received: self.received,
            via: self.origin.via("json"),
            tag: None,
            message_field: self.given.message_field.as_deref(),
        };
        let mut record = object::into_record(frame, &mut self.flat, || compact(&text).into_owned());
        self.derive_time(&mut record);
        if let Some(host) = &self.given.host {
            record.host = Arc::clone(host);
        }
        if let Some(app) = &self.given.app {
            record.app = Arc::clone(app);
        }
        Some(record)
    }

    fn text(&self, bytes: &[u8]) -> Record {
        let mut record = lines::read_line(bytes, self.received, self.origin, self.given);
        record.defects.add(Defect::BadJson);
        record
    }

    fn derive_time(&self, record: &mut Record) {
        let fields = &record.fields;
        let is_given = |f: &Field| self.given.time_field.as_deref() == Some(&*f.name);
        let given = fields.iter().filter(|f| is_given(f)).take(1);
        let usual = places(fields, &TIME_FIELDS).into_iter().flatten();
        let mut present = given.chain(usual.filter_map(|at| fields.get(at))).peekable();
        let is_there = present.peek().is_some();
        if let Some(time) = present.find_map(|f| self.time_of(&f.value)) {
            record.time = time;
            record.defects.remove(Defect::NoTimestamp);
        } else if is_there {
            record.defects.add(Defect::BadValue);
        }
    }

    fn time_of(&self, value: &Value) -> Option<Timestamp> {
        match value {
            Value::Str(text) => Timestamp::parse_any(text, &self.origin.zone, self.received),
            Value::Int(_) | Value::UInt(_) | Value::Float(_) => {
                Timestamp::from_epoch_text(&value.to_string())
            }
            _ => None,
        }
    }
}

/// A stretch of a body, with its offset.
#[derive(Debug, PartialEq)]
enum Piece<'a> {
    /// A line that begins with `{`: one object, or [`Pieces::look_through`] it.
    Line(usize, &'a [u8]),
    /// Begins with `{` and ends where its braces do; whether it parses is not known yet.
    Object(usize, &'a [u8]),
    /// Something else.
    Text(usize, &'a [u8]),
}

/// Cuts a body into objects, each byte looked at once (or once more, by lines, after damage).
struct Pieces<'a> {
    body: &'a [u8],
    at: usize,
    shape: Shape,
    /// Between the brackets of an array.
    in_array: bool,
    /// Up to here there are only objects, seen when their line was begun.
    objects_until: usize,
    /// The line that begins here is known not to be one object.
    looked_through: Option<usize>,
}

impl<'a> Pieces<'a> {
    fn new(body: &'a [u8], shape: Shape) -> Self {
        let at = if body.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        let mut pieces =
            Self { body, at, shape, in_array: false, objects_until: 0, looked_through: None };
        if shape == Shape::Any {
            pieces.pass(|b| b.is_ascii_whitespace());
            if pieces.peek() == Some(b'[') {
                pieces.at += 1;
                pieces.in_array = true;
            }
        }
        pieces
    }

    fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    fn pass(&mut self, is_skipped: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&is_skipped) {
            self.at += 1;
        }
    }

    fn rest(&self) -> &'a [u8] {
        self.body.get(self.at..).unwrap_or_default()
    }

    fn take(&mut self, len: usize) -> (usize, &'a [u8]) {
        let start = self.at;
        self.at = (start + len).min(self.body.len());
        (start, self.body.get(start..self.at).unwrap_or_default())
    }

    /// Back to the line that begins at `at`, which is not just one object.
    fn look_through(&mut self, at: usize) {
        (self.at, self.looked_through) = (at, Some(at));
    }

    fn next_line(&mut self) -> Option<Piece<'a>> {
        loop {
            if self.at < self.objects_until {
                self.pass(|b| b != b'\n' && b.is_ascii_whitespace());
                if self.peek() == Some(b'{')
                    && let Some(len) = container_end(self.rest())
                {
                    let (at, bytes) = self.take(len);
                    return Some(Piece::Object(at, bytes));
                }
            }
            if self.peek()? == b'\n' {
                self.at += 1;
                continue;
            }
            let line_len = memchr(b'\n', self.rest()).unwrap_or(self.rest().len());
            let line = self.rest().get(..line_len).unwrap_or_default();
            let object = line.trim_ascii();
            let is_candidate = object.first() == Some(&b'{') && object.len() <= LINE_BYTES_MAX;
            if is_candidate && self.looked_through != Some(self.at) {
                let (at, _) = self.take(line_len);
                return Some(Piece::Line(at, object));
            }
            if is_all_objects(line) {
                self.objects_until = self.at + line_len;
            } else {
                let (at, bytes) = self.take(line_len);
                if bytes != b"\r" {
                    return Some(Piece::Text(at, bytes));
                }
            }
        }
    }

    fn next_value(&mut self) -> Option<Piece<'a>> {
        let in_array = self.in_array;
        self.pass(|b| b.is_ascii_whitespace() || (in_array && b == b','));
        let first = self.peek()?;
        if in_array && first == b']' {
            self.at += 1;
            self.in_array = false;
            return self.next_value();
        }
        let len = match first {
            b'{' | b'[' if in_array || first == b'{' => container_end(self.rest()),
            b'"' if in_array => string_end(self.rest()),
            _ if in_array => self.rest().iter().position(|b| matches!(b, b',' | b']' | b'\n')),
            _ => None,
        };
        let Some(len) = len else {
            // What does not end makes the rest doubtful: from here on a line is a line.
            self.shape = Shape::Lines;
            return self.next_line();
        };
        let (at, bytes) = self.take(len.max(1));
        Some(if first == b'{' { Piece::Object(at, bytes) } else { Piece::Text(at, bytes) })
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        match self.shape {
            Shape::Lines => self.next_line(),
            Shape::Any => self.next_value(),
        }
    }
}

/// Is `line` nothing but objects, as far as their braces go?
fn is_all_objects(line: &[u8]) -> bool {
    let mut rest = line.trim_ascii();
    while rest.first() == Some(&b'{') {
        let Some(len) = container_end(rest) else { return false };
        rest = rest.get(len..).unwrap_or_default().trim_ascii_start();
        if rest.is_empty() {
            return true;
        }
    }
    false
}

/// How long the object or array is that `bytes` begin with; `None` where it does not end.
fn container_end(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        match bytes.get(at)? {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            b'"' => at += string_end(bytes.get(at..)?)? - 1,
            _ => {}
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(body: &str, shape: Shape, given: &Given) -> Body {
        let origin = Origin::new("http", "http", "10.0.0.9");
        read_body(body.as_bytes(), shape, Timestamp(5), &origin, given)
    }

    fn raws(body: &str, shape: Shape) -> Vec<String> {
        let lossy = |r: &Record| String::from_utf8_lossy(r.line.raw()).into_owned();
        read(body, shape, &Given::default()).records.iter().map(lossy).collect()
    }

    #[test]
    fn objects_are_found_in_any_shape() {
        let cases: &[(Shape, &str, &[&str])] = &[
            (Shape::Any, "", &[]),
            (Shape::Any, " [ ] ", &[]),
            (Shape::Any, r#"[{"a":"]}"} , {"b":[{}]}]"#, &[r#"{"a":"]}"}"#, r#"{"b":[{}]}"#]),
            (Shape::Any, r#"{"a":1}{"b":2}"#, &[r#"{"a":1}"#, r#"{"b":2}"#]),
            (Shape::Any, "{\n \"a\": 1\n}\n", &["{\n \"a\": 1\n}"]),
            (Shape::Any, r#"[1,"x",[2],{}]"#, &["1", "\"x\"", "[2]", "{}"]),
            (Shape::Any, "[{},{\"a\n{}\nx", &["{}", "{\"a", "{}", "x"]),
            (Shape::Any, "no\n{}\n", &["no", "{}"]),
            (Shape::Lines, "{}\r\n\r\n\n{\"a\":1} {}\n", &["{}", "{\"a\":1}", "{}"]),
            (Shape::Lines, " text\n{} x\n{\n[1]", &[" text", "{} x", "{", "[1]"]),
            (Shape::Lines, "\u{feff}{}", &["{}"]),
            (Shape::Lines, "{}\u{c}\n}\n{}\u{c}{}", &["{}", "}", "{}", "{}"]),
        ];
        for (shape, body, want) in cases {
            assert_eq!(raws(body, *shape), *want, "{shape:?} {body}");
        }
    }

    #[test]
    fn keys_are_mapped() {
        let body = r#"{"level":"info","@timestamp":"2026-03-01T09:00:00.5Z","log":"a \"b\"","msg":"c",
            "kubernetes":{"host":"n1","container_name":"web"}}
            {"message":"日本","ts":1790000000.124086,"service":{"name":"s"},"host":{"name":"h"}}
            {"x": 1, "time": "soon"}"#;
        let body = read(body, Shape::Any, &Given::default());
        let got: Vec<_> = body
            .records
            .iter()
            .map(|r| (r.time.to_string(), &*r.host, &*r.app, r.message(), r.line.span()))
            .collect();
        let want = [
            ("2026-03-01T09:00:00.500Z", "n1", "web", "a \"b\"", None),
            ("2026-09-21T14:13:20.124086Z", "h", "s", "日本", Some((12, 18))),
            ("1970-01-01T00:00:00.000000005Z", "10.0.0.9", "-", r#"{"x":1,"time":"soon"}"#, None),
        ];
        for (got, want) in got.into_iter().zip(want) {
            assert_eq!((got.0.as_str(), got.1, got.2, got.3, got.4), want);
        }
        let defects: Vec<Vec<_>> =
            body.records.iter().map(|r| r.defects.iter().map(Defect::code).collect()).collect();
        assert_eq!(defects, [vec![], vec![], vec!["no-timestamp", "bad-value"]]);
        assert!(body.records[0].field("msg").is_some(), "only the first is the message");
    }

    #[test]
    fn what_is_given_wins() {
        let given = Given {
            host: Some("h".into()),
            app: Some("a".into()),
            time_field: Some("when.at".into()),
            message_field: Some("text".into()),
        };
        let body = r#"{"host":"x","message":"m","text":"t","when":{"at":1000000000000},"time":1}"#;
        let body = read(body, Shape::Any, &given);
        let r = &body.records[0];
        assert_eq!((&*r.host, &*r.app, r.message()), ("h", "a", "t"));
        assert_eq!(r.time, Timestamp::from_parts(1_000_000_000, 0));
        assert_eq!(r.field("host"), Some(&Value::str("x")));
    }

    #[test]
    fn what_is_bad_is_kept_and_what_is_large_is_named() {
        let large = format!("{{\"a\":\"{}\"}}", "x".repeat(LINE_BYTES_MAX));
        let body =
            read(&format!("{{\"a\":}}\n{large}\n\n{large}\n"), Shape::Lines, &Given::default());
        let lines: Vec<_> = body.rejected.iter().map(|(n, r)| (*n, r.reason)).collect();
        assert_eq!(lines, [(2, "object-too-large"), (4, "object-too-large")]);
        let r = &body.records[0];
        assert_eq!(
            (r.message(), &*r.via.format, r.defects.has(Defect::BadJson)),
            ("{\"a\":}", "text", true)
        );
    }

    #[test]
    fn a_body_has_an_end() {
        let body = read(&"{}".repeat(MESSAGE_RECORDS_MAX + 9), Shape::Any, &Given::default());
        let rejected: Vec<_> = body.rejected.iter().map(|(n, r)| (*n, r.reason)).collect();
        assert_eq!(rejected, [(1, "too-many-records")]);
        assert_eq!(body.records.len(), MESSAGE_RECORDS_MAX);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_kept() {
        let origin = Origin::new("http", "http", "p");
        let bytes = b"{\"message\":\"caf\xe9\",\"a\":1}";
        let body = read_body(bytes, Shape::Any, Timestamp(5), &origin, &Given::default());
        let r = &body.records[0];
        assert_eq!((r.message(), r.line.raw()), ("caf\u{fffd}", bytes.as_slice()));
        assert!(r.defects.has(Defect::NotUtf8));
    }

    proptest! {
        #[test]
        fn any_body_is_taken(body in r#"[\{\}\[\]":,\\0-9a-f \r\n]{0,80}"#) {
            for shape in [Shape::Lines, Shape::Any] {
                let kept: usize = raws(&body, shape).iter().map(|r| r.trim().len()).sum();
                let sent = body.bytes().filter(|b| !b.is_ascii_whitespace()).count();
                prop_assert!(shape == Shape::Any || kept >= sent, "{} of {}", kept, sent);
            }
        }

        #[test]
        fn any_bytes_are_taken(body in prop::collection::vec(any::<u8>(), 0..80)) {
            let origin = Origin::new("http", "http", "p");
            for shape in [Shape::Lines, Shape::Any] {
                let read = read_body(&body, shape, Timestamp(5), &origin, &Given::default());
                prop_assert!(read.records.iter().all(|r| !r.line.raw().is_empty()));
            }
            let line = lines::read_line(&body, Timestamp(5), &origin, &Given::default());
            prop_assert_eq!(line.line.raw(), body.as_slice());
        }
    }
}
