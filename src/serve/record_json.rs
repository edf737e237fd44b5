//! One record as contract 3 prints it: the only place that knows the shape.
//!
//! Serializes from the record itself, so that an answer of ten thousand records needs no second
//! copy of them.

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use crate::base::record::{Defect, Facility, Record, Severity};
use crate::base::value::{Field, Value};

/// A record, to be serialized.
#[derive(Clone, Copy, Debug)]
pub struct RecordJson<'a>(pub &'a Record);

impl Serialize for RecordJson<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let record = self.0;
        let raw = record.line.raw();
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("id", &Text(record.id))?;
        map.serialize_entry("time", &Text(record.time))?;
        map.serialize_entry("received", &Text(record.received))?;
        map.serialize_entry("host", &record.host)?;
        map.serialize_entry("app", &record.app)?;
        map.serialize_entry("severity", &record.severity.map(Severity::name))?;
        map.serialize_entry("facility", &record.facility.map(Facility::name))?;
        map.serialize_entry("pid", &record.pid)?;
        map.serialize_entry("message", record.message())?;
        // Only where text cannot say what the bytes were.
        if record.defects.has(Defect::NotUtf8) || std::str::from_utf8(raw).is_err() {
            map.serialize_entry("raw", &Text(Base64Display::new(raw, &STANDARD)))?;
        }
        map.serialize_entry("fields", &FieldsJson(&record.fields))?;
        map.serialize_entry("format", &record.format)?;
        map.serialize_entry("via", &ViaJson(record))?;
        map.serialize_entry("defects", &DefectsJson(record))?;
        map.end()
    }
}

/// What displays, as a string.
struct Text<T>(T);

impl<T: std::fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&self.0)
    }
}

struct FieldsJson<'a>(&'a [Field]);

impl Serialize for FieldsJson<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|field| (&field.name, ValueJson(&field.value))))
    }
}

/// A value of a field, with its type.
struct ValueJson<'a>(&'a Value);

impl Serialize for ValueJson<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => to.serialize_unit(),
            Value::Bool(b) => to.serialize_bool(*b),
            Value::Int(n) => to.serialize_i64(*n),
            Value::UInt(n) => to.serialize_u64(*n),
            Value::Float(x) => to.serialize_f64(*x),
            Value::Str(s) => to.serialize_str(s),
            Value::Array(items) => to.collect_seq(items.iter().map(ValueJson)),
        }
    }
}

struct ViaJson<'a>(&'a Record);

impl Serialize for ViaJson<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let via = &self.0.via;
        let mut map = to.serialize_map(Some(5))?;
        map.serialize_entry("format", &via.format)?;
        map.serialize_entry("listener", &via.listener)?;
        map.serialize_entry("transport", &via.transport)?;
        map.serialize_entry("peer", &via.peer)?;
        map.serialize_entry("tag", &self.0.tag)?;
        map.end()
    }
}

struct DefectsJson<'a>(&'a Record);

impl Serialize for DefectsJson<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut seq = to.serialize_seq(None)?;
        for defect in self.0.defects.iter() {
            seq.serialize_element(defect.code())?;
        }
        seq.end()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use base64::Engine as _;
    use serde_json::json;

    use super::*;
    use crate::base::record::{Defects, Line, Via};
    use crate::base::time::Timestamp;

    fn record(line: Line) -> Record {
        let via = Via {
            format: "rfc5424".into(),
            listener: "syslog".into(),
            transport: "tcp".into(),
            peer: "10.1.2.3".into(),
        };
        Record {
            id: 188_204,
            time: Timestamp::parse_rfc3339("2026-03-01T09:00:00.123456789Z").expect("a time"),
            received: Timestamp::parse_rfc3339("2026-03-01T09:00:00.130Z").expect("a time"),
            host: "web-1".into(),
            app: "nginx".into(),
            severity: Some(Severity::Error),
            facility: Facility::from_code(3),
            pid: Some("4711".into()),
            line,
            fields: Vec::new(),
            format: Some("nginx.error".into()),
            via: Arc::new(via),
            tag: None,
            defects: Defects::default(),
        }
    }

    #[test]
    fn the_contract_s_example() {
        let mut record = record(Line::text("upstream timed out …"));
        record.fields = vec![
            Field { name: "client.address".into(), value: Value::str("10.1.2.3") },
            Field { name: "http.response.status_code".into(), value: Value::Int(504) },
        ];
        let text = serde_json::to_string(&RecordJson(&record)).expect("JSON");
        assert_eq!(
            text,
            concat!(
                r#"{"id":"188204","time":"2026-03-01T09:00:00.123456789Z","#,
                r#""received":"2026-03-01T09:00:00.130Z","host":"web-1","app":"nginx","#,
                r#""severity":"error","facility":"daemon","pid":"4711","#,
                r#""message":"upstream timed out …","#,
                r#""fields":{"client.address":"10.1.2.3","http.response.status_code":504},"#,
                r#""format":"nginx.error","via":{"format":"rfc5424","listener":"syslog","#,
                r#""transport":"tcp","peer":"10.1.2.3","tag":null},"defects":[]}"#
            )
        );
    }

    #[test]
    fn what_is_unknown_is_null_and_bytes_are_base64() {
        let bytes = b"caf\xe9".as_slice();
        let mut record = record(Line::spanning(bytes, 0, bytes.len()));
        record.severity = None;
        record.facility = None;
        record.pid = None;
        record.format = None;
        record.tag = Some("docker.web".into());
        record.defects.add(Defect::NotUtf8);
        let json = serde_json::to_value(RecordJson(&record)).expect("JSON");
        assert_eq!(json["severity"], json!(null));
        assert_eq!(json["facility"], json!(null));
        assert_eq!(json["pid"], json!(null));
        assert_eq!(json["format"], json!(null));
        assert_eq!(json["message"], "caf\u{fffd}");
        assert_eq!(json["raw"], STANDARD.encode(bytes));
        assert_eq!(json["via"]["tag"], "docker.web");
        assert_eq!(json["defects"], json!(["not-utf8"]));
    }

    #[test]
    fn values_keep_their_types() {
        let array = Value::Array(vec![Value::Null, Value::Bool(true), Value::str("x")]);
        for (value, expected) in [
            (Value::Null, json!(null)),
            (Value::Int(i64::MIN), json!(i64::MIN)),
            (Value::UInt(u64::MAX), json!(u64::MAX)),
            (Value::Float(1.5), json!(1.5)),
            (array, json!([null, true, "x"])),
        ] {
            let mut record = record(Line::text("x"));
            record.fields = vec![Field { name: "".into(), value }];
            let json = serde_json::to_value(RecordJson(&record)).expect("JSON");
            assert_eq!(json["fields"], json!({"": expected}));
        }
    }
}
