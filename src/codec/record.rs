//! One record as bytes of its own: what an entry of the write-ahead log holds.
//!
//! Complete and quick rather than small: every part of the record in a fixed order, text with its
//! length in front. It carries no version; the log's file header does. `FORMAT.md` has the table.

use std::sync::Arc;

use super::pack::{
    Damage, Read, put_bytes, put_len, put_signed, put_varint, take_bytes, take_exact, take_len,
    take_signed, take_str, take_u8, take_varint,
};
use crate::base::error::Result;
use crate::base::limits::NESTING_MAX;
use crate::base::record::{Defects, Facility, Line, Record, Severity, Via};
use crate::base::time::Timestamp;
use crate::base::value::{Field, Value};

/// What reading says where it is asked for the place.
const PLACE: &str = "a logged record";

/// How the message of a line stands.
const SPAN: u8 = 0;
const OWN: u8 = 1;

/// The types of values.
const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INT: u8 = 3;
const UINT: u8 = 4;
const FLOAT: u8 = 5;
const STR: u8 = 6;
const ARRAY: u8 = 7;

/// Appends one record.
pub fn write_record(record: &Record, out: &mut Vec<u8>) {
    put_varint(out, record.id);
    put_signed(out, record.time.0);
    put_signed(out, record.received.0);
    put_bytes(out, record.host.as_bytes());
    put_bytes(out, record.app.as_bytes());
    out.push(record.severity.map_or(0, |s| s as u8 + 1));
    out.push(record.facility.map_or(0, |f| f.code() + 1));
    put_optional(out, record.pid.as_deref());
    put_bytes(out, record.line.raw());
    if let Some((start, end)) = record.line.span() {
        out.push(SPAN);
        put_len(out, start);
        put_len(out, end);
    } else {
        out.push(OWN);
        put_bytes(out, record.line.message().as_bytes());
    }
    write_fields(&record.fields, out);
    put_optional(out, record.format.as_deref());
    put_via(&record.via, out);
    put_optional(out, record.tag.as_deref());
    put_varint(out, record.defects.bits());
}

/// Takes one record from the front of `input`; damaged bytes are an error, and what is allocated
/// is never more than what is there.
pub fn read_record(input: &mut &[u8]) -> Result<Record> {
    take_record(input).map_err(|damage| damage.at(PLACE))
}

fn take_record(input: &mut &[u8]) -> Read<Record> {
    Ok(Record {
        id: take_varint(input)?,
        time: Timestamp(take_signed(input)?),
        received: Timestamp(take_signed(input)?),
        host: take_str(input)?.into(),
        app: take_str(input)?.into(),
        severity: read_severity(take_u8(input)?)?,
        facility: read_facility(take_u8(input)?)?,
        pid: take_optional(input)?.map(Into::into),
        line: take_line(input)?,
        fields: read_fields(input)?,
        format: take_optional(input)?.map(Into::into),
        via: take_via(input)?,
        tag: take_optional(input)?.map(Into::into),
        defects: Defects::from_bits(take_varint(input)?),
    })
}

/// 0 is none, else its code and one.
pub(super) fn read_severity(byte: u8) -> Read<Option<Severity>> {
    let Some(code) = byte.checked_sub(1) else { return Ok(None) };
    Severity::from_code(code).map(Some).ok_or(Damage("a severity that there is not"))
}

/// 0 is none, else its code and one.
pub(super) fn read_facility(byte: u8) -> Read<Option<Facility>> {
    let Some(code) = byte.checked_sub(1) else { return Ok(None) };
    Facility::from_code(code).map(Some).ok_or(Damage("a facility that there is not"))
}

fn put_optional(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        None => out.push(0),
        Some(text) => {
            out.push(1);
            put_bytes(out, text.as_bytes());
        }
    }
}

fn take_optional<'a>(input: &mut &'a [u8]) -> Read<Option<&'a str>> {
    match take_u8(input)? {
        0 => Ok(None),
        1 => take_str(input).map(Some),
        _ => Err(Damage("neither there nor absent")),
    }
}

fn take_line(input: &mut &[u8]) -> Read<Line> {
    let raw = take_bytes(input)?;
    match take_u8(input)? {
        SPAN => {
            let start = take_len(input, raw.len())?;
            let end = take_len(input, raw.len())?;
            rebuild_span(raw, start, end)
        }
        OWN => Ok(Line::with_message(raw, take_str(input)?)),
        _ => Err(Damage("a message of an unknown kind")),
    }
}

/// A line whose message is a span; a span that cannot be one is damage.
pub(super) fn rebuild_span(raw: &[u8], start: usize, end: usize) -> Read<Line> {
    let line = Line::spanning(raw, start, end);
    if line.span() == Some((start, end)) { Ok(line) } else { Err(Damage("a span that is no text")) }
}

/// Appends the four parts of a way in.
pub(super) fn put_via(via: &Via, out: &mut Vec<u8>) {
    for part in [&via.format, &via.listener, &via.transport, &via.peer] {
        put_bytes(out, part.as_bytes());
    }
}

/// Takes what [`put_via`] appended.
pub(super) fn take_via(input: &mut &[u8]) -> Read<Arc<Via>> {
    Ok(Arc::new(Via {
        format: take_str(input)?.into(),
        listener: take_str(input)?.into(),
        transport: take_str(input)?.into(),
        peer: take_str(input)?.into(),
    }))
}

/// Appends fields: their number, then name and value of each.
pub(super) fn write_fields(fields: &[Field], out: &mut Vec<u8>) {
    put_len(out, fields.len());
    for field in fields {
        put_bytes(out, field.name.as_bytes());
        write_value(&field.value, out);
    }
}

/// Takes what [`write_fields`] appended.
pub(super) fn read_fields(input: &mut &[u8]) -> Read<Vec<Field>> {
    // A field takes two bytes at least, so that a count is never more than what is there.
    let count = take_len(input, input.len() / 2)?;
    (0..count)
        .map(|_| {
            let name = take_str(input)?.into();
            Ok(Field { name, value: read_value(input)? })
        })
        .collect()
}

/// Appends a value: its type, then what it needs.
pub(super) fn write_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(NULL),
        Value::Bool(false) => out.push(FALSE),
        Value::Bool(true) => out.push(TRUE),
        Value::Int(n) => {
            out.push(INT);
            put_signed(out, *n);
        }
        Value::UInt(n) => {
            out.push(UINT);
            put_varint(out, *n);
        }
        Value::Float(x) => {
            out.push(FLOAT);
            out.extend_from_slice(&x.to_bits().to_le_bytes());
        }
        Value::Str(text) => {
            out.push(STR);
            put_bytes(out, text.as_bytes());
        }
        Value::Array(items) => {
            out.push(ARRAY);
            put_len(out, items.len());
            for item in items {
                write_value(item, out);
            }
        }
    }
}

/// Takes what [`write_value`] appended.
pub(super) fn read_value(input: &mut &[u8]) -> Read<Value> {
    take_value(input, 0)
}

fn take_value(input: &mut &[u8], depth: usize) -> Read<Value> {
    Ok(match take_u8(input)? {
        NULL => Value::Null,
        FALSE => Value::Bool(false),
        TRUE => Value::Bool(true),
        INT => Value::Int(take_signed(input)?),
        UINT => Value::UInt(take_varint(input)?),
        FLOAT => Value::Float(f64::from_bits(
            take_exact(input, 8)?.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)),
        )),
        STR => Value::Str(take_str(input)?.into()),
        ARRAY if depth <= NESTING_MAX => {
            let count = take_len(input, input.len())?;
            let items: Read<Vec<Value>> =
                (0..count).map(|_| take_value(input, depth + 1)).collect();
            Value::Array(items?)
        }
        _ => return Err(Damage("a value of an unknown type")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::sample;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_record_comes_back(records in prop::collection::vec(sample::any_record(), 0..5)) {
            let mut log = Vec::new();
            for record in &records {
                write_record(record, &mut log);
            }
            let mut input = &log[..];
            for record in &records {
                prop_assert_eq!(&read_record(&mut input).unwrap(), record);
            }
            prop_assert!(input.is_empty());
        }

        #[test]
        fn damage_is_an_error_never_a_panic(record in sample::any_record(), at: usize, bit in 0_u32..8) {
            let mut bytes = Vec::new();
            write_record(&record, &mut bytes);
            let at = at % bytes.len();
            prop_assert!(read_record(&mut &bytes[..at]).is_err(), "cut at {}", at);
            bytes[at] ^= 1_u8 << bit;
            drop(read_record(&mut &bytes[..]));
        }

        #[test]
        fn garbage_is_an_error_never_a_panic(bytes: Vec<u8>) {
            drop(read_record(&mut &bytes[..]));
        }
    }

    #[test]
    fn floats_keep_their_bits() {
        for x in [0.0, -0.0, 1.5, f64::MIN_POSITIVE, f64::MAX, 5e-324] {
            let mut out = Vec::new();
            write_value(&Value::Float(x), &mut out);
            let Ok(Value::Float(y)) = read_value(&mut &out[..]) else { panic!("no float") };
            assert_eq!(x.to_bits(), y.to_bits());
        }
    }
}
