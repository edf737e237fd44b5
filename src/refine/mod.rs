//! Plain records to useful ones, in a fixed order: rules → severity → time → join → mask.
//!
//! Floor 1. Stands between every decoder and the log, so that what is written to disk is already
//! masked. *Invariant:* pure; it changes fields, severity, time and (masking) bytes of one record
//! and knows no other. What came is never cut: the message stays as it was, and what the envelope
//! said is never overruled by what the text says.
//!
//! | stage | file | what |
//! |---|---|---|
//! | rules | `json` | a JSON object that is the message, or ends it |
//! | | `pairs` | logfmt and `key=value` |
//! | | `header` | time, host, app and pid at the beginning of a plain line |
//! | severity | `severity` | from fields, then from a word at the beginning of the message |
//! | time | `time` | from fields where a plain line has it there; whether it is one that can be |
//!
//! Joining the lines of a stack trace comes after these, since it asks for times and severities;
//! masking comes last, since it must see every field. Neither has a rule yet.

use std::sync::{Arc, Mutex, PoisonError};

use crate::base::flatten::Flat;
use crate::base::json::read_last_object;
use crate::base::record::Record;
use crate::base::time::Zone;

mod header;
mod json;
mod pairs;
mod severity;
mod time;

/// The order of work for one record. One for the whole process, shared by all ways in.
#[derive(Clone, Debug)]
pub struct Refiner {
    zone: Zone,
    /// What threads collect fields with while they do not, so that the names of fields are shared
    /// by all records; never more than there are threads.
    spare: Arc<Mutex<Vec<Flat>>>,
}

impl Default for Refiner {
    fn default() -> Self {
        Self::new(Zone::utc())
    }
}

impl Refiner {
    /// One that reads times without a zone on the clocks of `zone`.
    #[must_use]
    pub fn new(zone: Zone) -> Self {
        Self { zone, spare: Arc::default() }
    }

    /// The same but for the zone, for a sender that names one.
    #[must_use]
    pub fn in_zone(&self, zone: Zone) -> Self {
        let mut other = self.clone();
        other.zone = zone;
        other
    }

    /// Adds what the texts say to each of `records`.
    pub fn refine(&self, records: &mut [Record]) {
        let spare = || self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let mut flat = spare().pop().unwrap_or_default();
        for record in records {
            self.refine_one(record, &mut flat);
        }
        spare().push(flat);
    }

    fn refine_one(&self, record: &mut Record, flat: &mut Flat) {
        // Numbers for a level are believed where somebody has typed them, not in `level=5`.
        let mut typed = usize::MAX;
        if !json::is_whole_object(record) {
            if let Some(found) = read_last_object(record.message(), flat) {
                found.add_to(record);
            } else if let Some(found) = pairs::read(record.message(), flat) {
                typed = record.fields.len();
                found.add_to(record);
            }
        }
        let mut text_from = 0;
        if &*record.via.format == "text" {
            text_from = header::read(record, &self.zone);
            time::from_fields(record, &self.zone);
        }
        if record.severity.is_none() {
            record.severity = severity::of_fields(record, typed)
                .or_else(|| severity::of_text(record.message().get(text_from..)?, text_from > 0));
        }
        time::judge(record);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::record::{Defect, Defects, Line, Severity, Via};
    use crate::base::time::Timestamp;
    use crate::base::value::{Field, Value};

    /// A record of `text` that came at noon of 2026-11-22, as `format`.
    fn record(format: &str, text: &str) -> Record {
        let received = Timestamp::parse_rfc3339("2026-11-22T12:00:00Z").unwrap();
        let mut defects = Defects::default();
        defects.add(Defect::NoTimestamp);
        let (listener, transport) = ("l".into(), "t".into());
        Record {
            id: 0,
            time: received,
            received,
            host: "10.0.0.9".into(),
            app: "-".into(),
            severity: None,
            facility: None,
            pid: None,
            line: Line::text(text),
            fields: Vec::new(),
            format: None,
            via: Via { format: format.into(), listener, transport, peer: "10.0.0.9".into() }.into(),
            tag: None,
            defects,
        }
    }

    fn refined(mut record: Record) -> Record {
        Refiner::new(Zone::named("Asia/Tokyo").unwrap()).refine(std::slice::from_mut(&mut record));
        record
    }

    #[test]
    fn plain_lines_say_when_where_and_how_grave() {
        use Severity::{Crit, Debug, Error, Info, Notice, Warning};
        let noon = "2026-11-22T12:00:00Z";
        let none = ("10.0.0.9", "-", "");
        for (text, time, (host, app, pid), severity) in [
            ("hello", noon, none, None),
            ("2026-03-01T00:00:00Z ERROR x", "2026-03-01T00:00:00Z", none, Some(Error)),
            (
                "2026-03-01 09:00:00,123 [main] WARN  c.x.Y - z",
                "2026-03-01T00:00:00.123Z",
                none,
                Some(Warning),
            ),
            (
                "2026-03-01 09:00:00.5 25746 INFO nova.x",
                "2026-03-01T00:00:00.500Z",
                none,
                Some(Info),
            ),
            (
                "2026-03-01 09:00:00,123 - my.app - CRITICAL - z",
                "2026-03-01T00:00:00.123Z",
                none,
                Some(Crit),
            ),
            ("[2026-03-01 09:00:00] prod.DEBUG: x", "2026-03-01T00:00:00Z", none, Some(Debug)),
            ("2026-03-01 09:00:00, Info   CBS", "2026-03-01T00:00:00Z", none, Some(Info)),
            (r#"{"time":"2026-03-01T00:00:00Z","level":3}"#, "2026-03-01T00:00:00Z", none, None),
            (
                r#"{"ts":1772323200.5,"level":"warn"}"#,
                "2026-03-01T00:00:00.500Z",
                none,
                Some(Warning),
            ),
            ("ts=2026-03-01T00:00:00Z lvl=warn", "2026-03-01T00:00:00Z", none, Some(Warning)),
            ("time=5 date=soon", noon, none, None),
            (
                "[Sun Mar 01 09:00:00.12 2026] [core:error] [pid 1] x",
                "2026-03-01T00:00:00.120Z",
                none,
                Some(Error),
            ),
            ("2026/03/01 09:00:00 [warn] 1#2: x", "2026-03-01T00:00:00Z", none, Some(Warning)),
            (
                r#"1.2.3.4 - ann [01/Mar/2026:00:00:00 +0000] "GET /error HTTP/1.1" 200 5"#,
                "2026-03-01T00:00:00Z",
                none,
                None,
            ),
            (
                "Nov 22 20:00:00 web-1 sshd[411]: Failed password",
                "2026-11-22T11:00:00Z",
                ("web-1", "sshd", "411"),
                None,
            ),
            (
                "Nov  2 20:00:00 web-1 kernel: x",
                "2026-11-02T11:00:00Z",
                ("web-1", "kernel", ""),
                None,
            ),
            (
                "2026-03-01T00:00:00Z web-1 sshd[411]: x",
                "2026-03-01T00:00:00Z",
                ("web-1", "sshd", "411"),
                None,
            ),
            ("2026-03-01T00:00:00Z Starting server: x", "2026-03-01T00:00:00Z", none, None),
            ("1700000000.123 5 1.2.3.4 TCP_MISS", "2023-11-14T22:13:20.123Z", none, None),
            ("[notice] x", noon, none, Some(Notice)),
            ("warning: unused x", noon, none, Some(Warning)),
            ("DEBUG x", noon, none, Some(Debug)),
            ("level=error msg=x", noon, none, Some(Error)),
            // Ordinary text.
            ("error opening the door", noon, none, None),
            ("no ERROR found", noon, none, None),
            ("the info: is here", noon, none, None),
            ("player level=5 at 12:30:00", noon, none, None),
            ("(a) [b] c", noon, none, None),
            ("2026 was a good year", noon, none, None),
            ("1700000000 is a number", noon, none, None),
            ("Nov 22 was cold", noon, none, None),
            ("A", noon, none, None),
        ] {
            let r = refined(record("text", text));
            assert_eq!(r.time.to_string(), time, "{text}");
            assert_eq!(r.defects.has(Defect::NoTimestamp), time == noon, "{text}");
            let pid_got = r.pid.as_deref().unwrap_or_default();
            assert_eq!((&*r.host, &*r.app, pid_got), (host, app, pid), "{text}");
            assert_eq!(r.severity, severity, "{text}");
            assert_eq!(r.message(), text);
        }
    }

    #[test]
    fn fields_say_how_grave() {
        let int = Value::Int;
        for (name, value, want) in [
            ("level", Value::str("Warn"), Some(Severity::Warning)),
            ("level", int(50), Some(Severity::Error)),
            ("severity", int(3), Some(Severity::Error)),
            ("level", int(3), None),
            ("PRIORITY", Value::str("6"), Some(Severity::Info)),
            ("severity_text", Value::str("FATAL"), Some(Severity::Crit)),
            ("metadata.otlp.severity_number", int(17), Some(Severity::Error)),
            ("level", Value::str("7"), None),
            ("level", int(42), None),
            ("level", Value::Null, None),
            ("my.level", Value::str("error"), None),
        ] {
            let mut r = record("forward", "text");
            r.fields = vec![Field { name: name.into(), value }];
            assert_eq!(refined(r.clone()).severity, want, "{:?}", r.fields);
            r.severity = Some(Severity::Debug);
            assert_eq!(refined(r).severity, Some(Severity::Debug), "the envelope goes first");
        }
    }

    #[test]
    fn fields_of_the_text_join_those_of_the_envelope() {
        let mut r = record("forward", r#"@cee:{"a":1,"b":{"c":2},"level":"warn"}"#);
        r.fields = vec![
            Field { name: "a".into(), value: Value::Int(1) },
            Field { name: "b.c".into(), value: Value::str("x") },
        ];
        let r = refined(r);
        let fields: Vec<String> =
            r.fields.iter().map(|f| format!("{}={}", f.name, f.value)).collect();
        assert_eq!(fields, ["a=1", r#"b.c=["x",2]"#, "level=warn"]);
        assert_eq!(r.severity, Some(Severity::Warning));
    }

    #[test]
    fn an_object_that_is_its_own_message_is_not_read_twice() {
        for (raw, message) in [(r#"{"a":1}"#, r#"{"a":1}"#), (r#"{ "a": 1 }"#, r#"{"a":1}"#)] {
            let mut r = record("json", "");
            r.line = if raw == message {
                Line::spanning(raw.as_bytes(), 0, raw.len())
            } else {
                Line::with_message(raw.as_bytes(), message)
            };
            assert_eq!(refined(r).fields, []);
        }
        let mut r = record("json", "");
        r.line = Line::with_message(br#"{"log":"{"a":1}"}"#.as_slice(), r#"{"a":1}"#);
        assert_eq!(refined(r).fields.len(), 1);
    }

    proptest! {
        #[test]
        fn any_text_is_refined(text in r#"[-\[\](){}<>|:=," a-zA-Zé0-9]{0,60}"#, cut in 0..7_usize) {
            let starts = ["", "Nov 22 20:00:00 ", "2026-03-01T00:00:00Z", "[2026-03-01 09:00:00", "1700000000.123 ", r#"{"a":"#, "- x - "];
            let text = format!("{}{text}", starts[cut]);
            let r = refined(record("text", &text));
            prop_assert_eq!(r.message(), text.as_str());
        }
    }
}
