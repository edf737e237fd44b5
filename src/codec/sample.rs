//! Records for the codec's property tests: ordinary lines with odd values, and arbitrary bytes.

use std::sync::Arc;

use proptest::prelude::*;

use crate::base::flatten::Flat;
use crate::base::record::{Defects, Facility, Line, Record, Severity, Via};
use crate::base::time::Timestamp;
use crate::base::value::{Field, Value};

/// Values of the kinds that encoders take for numbers, ids and times, and those just beside them.
const ODD: &[&str] = &[
    "",
    "0",
    "-0",
    "00",
    "007",
    "7",
    "-7",
    "+7",
    "1.50",
    "1.5",
    "-0.0",
    "-0.5",
    "0.1",
    "01.5",
    "1.",
    ".5",
    "1e5",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "18446744073709551616",
    "123456789012345678901234567890",
    "deadbeef",
    "DEADBEEF",
    "DeadBeef",
    "0123456789abcdef0123456789abcdef",
    "12345678901234567890123456789012",
    "550e8400-e29b-41d4-a716-446655440000",
    "550E8400-e29b-41d4-a716-446655440000",
    "10.1.2.3",
    "10.01.2.3",
    "256.1.1.1",
    "::1",
    "2026-03-01T09:00:00Z",
    "2026-03-01 09:00:00,123",
    "2026-03-01T09:00:00.123456789+09:00",
    "2026-02-30T09:00:00Z",
    "2026-03-01T24:00:00Z",
    "Mar  1 09:00:00",
    "Mar 01 09:00:00",
    "Mar 31 23:59:60",
    "Feb 29 00:00:00",
    "01/Mar/2026:09:00:00 +0900",
    "31/Feb/2026:09:00:00 -0000",
    "\u{0}",
    "a\r",
    "調べ",
    "①",
    "℃",
    "ＡＢＣ１２３４５６７８",
    "ΣΑΣ",
    "true",
    "null",
    "\"q\"",
    "k=v",
    "a b",
    "x=\"y z\"",
    "{\"a\":1}",
    "\u{1b}[31m",
    "%20",
    "1,5",
    "0x1f",
    "_",
    "abcdefgh1",
    "\\\"",
];

fn odd() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(ODD).prop_map(str::to_owned),
        1 => any::<u64>().prop_map(|n| n.to_string()),
        1 => any::<i32>().prop_map(|n| n.to_string()),
        1 => "[0-9a-f]{8,32}",
        1 => ".{0,12}",
    ]
}

/// A line as programs write it, with an odd value or two in it.
pub(super) fn any_text() -> impl Strategy<Value = String> {
    let skeletons: &[&str] = &[
        "user % logged in from % port %",
        "GET % HTTP/1.1\" % % \"%\"",
        "level=% msg=\"%\" took=%ms",
        "{\"time\":\"%\",\"n\":%,\"msg\":\"%\",\"ok\":true}",
        "[%] (%) %: %",
        "%",
        "%%",
        "",
        "失敗 % 件 id=%",
    ];
    (prop::sample::select(skeletons), prop::collection::vec(odd(), 4)).prop_map(
        |(skeleton, values)| {
            let mut text = String::new();
            let mut values = values.iter();
            for piece in skeleton.split_inclusive('%') {
                text.push_str(piece.trim_end_matches('%'));
                if piece.ends_with('%') {
                    text.push_str(values.next().map_or("", String::as_str));
                }
            }
            text
        },
    )
}

fn any_raw() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => any_text().prop_map(String::into_bytes),
        1 => (any_text(), any_text()).prop_map(|(a, b)| format!("<13>{a} {b}\r").into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ]
}

fn any_line() -> impl Strategy<Value = Line> {
    prop_oneof![
        3 => (any_raw(), any::<(usize, usize)>()).prop_map(|(raw, (a, b))| {
            let (a, b) = (a % (raw.len() + 1), b % (raw.len() + 1));
            Line::spanning(raw, a.min(b), a.max(b))
        }),
        2 => any_raw().prop_map(|raw| {
            let len = raw.len();
            Line::spanning(raw, 0, len)
        }),
        1 => (any_raw(), any_text()).prop_map(|(raw, own)| Line::with_message(raw, own)),
    ]
}

fn any_scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::Bool),
        2 => any::<i64>().prop_map(Value::Int),
        2 => (0_i64..20).prop_map(Value::Int),
        1 => (i64::MAX.cast_unsigned() + 1..).prop_map(Value::UInt),
        1 => any::<f64>().prop_filter("finite", |x| x.is_finite()).prop_map(Value::Float),
        1 => prop::sample::select(&[0.0, -0.0, 1.5, 1e300, 5e-324][..]).prop_map(Value::Float),
        5 => odd().prop_map(Value::str),
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        9 => any_scalar(),
        1 => prop::collection::vec(any_scalar(), 0..4).prop_map(Value::Array),
    ]
}

fn any_field() -> impl Strategy<Value = Field> {
    let name = prop_oneof![
        6 => prop::sample::select(&["user", "n", "msg", "sd.x.y", "a.b", ""][..]).prop_map(str::to_owned),
        1 => ".{0,5}",
    ];
    (name, any_value()).prop_map(|(name, value)| Field { name: name.into(), value })
}

fn any_name() -> impl Strategy<Value = Arc<str>> {
    prop_oneof![
        5 => prop::sample::select(&["web-1", "web-2", "nginx", "調べ", "-", ""][..]).prop_map(str::to_owned),
        1 => ".{0,8}",
    ]
    .prop_map(Into::into)
}

fn any_via() -> impl Strategy<Value = Arc<Via>> {
    (any_name(), any_name()).prop_map(|(format, peer)| {
        let (listener, transport) = ("syslog".into(), "udp".into());
        Arc::new(Via { format, listener, transport, peer })
    })
}

fn any_time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        4 => (0_i64..10_000).prop_map(|ms| Timestamp(1_772_355_600_000_000_000 + ms * 1_000_000)),
        1 => any::<i64>().prop_map(Timestamp),
    ]
}

/// Any record at all, biased to what encoders may take for something else.
pub(super) fn any_record() -> impl Strategy<Value = Record> {
    let head = (any::<u64>(), any_time(), any_time(), any_name(), any_name());
    let codes = (0_u8..12, 0_u8..30, any::<u64>());
    let rest = (
        any_line(),
        prop::collection::vec(any_field(), 0..5),
        prop::option::of(odd()),
        prop::option::of(any_name()),
        any_via(),
        prop::option::of(any_name()),
    );
    (head, codes, rest).prop_map(|(head, codes, rest)| {
        let (id, time, received, host, app) = head;
        let (line, mut fields, pid, format, via, tag) = rest;
        let mut seen = std::collections::BTreeSet::new();
        fields.retain(|f: &Field| seen.insert(Arc::clone(&f.name)));
        Record {
            id,
            time,
            received,
            host,
            app,
            severity: Severity::from_code(codes.0),
            facility: Facility::from_code(codes.1),
            pid: pid.map(Into::into),
            line,
            fields,
            format,
            via,
            tag,
            defects: Defects::from_bits(codes.2),
        }
    })
}

/// A value in an object's text: escapes, numbers that are printed otherwise, arrays, containers.
fn any_json() -> impl Strategy<Value = String> {
    let some = &[
        "12345678.10",
        "1e9",
        "1E+9",
        "0.123456780",
        "123456789012345678901",
        "-0",
        "true",
        "null",
        "\"\"",
        "\"a\\n5c7deadbeef\"",
        "\"\\u00e9t\\u00c9 \\\"q\\\"\"",
        "\"C:\\\\temp1234567\"",
        "[\"u1\",1.50,null]",
        "[1e+9,\"x\\ty\"]",
        "[]",
        "[{\"a\":[1]}]",
        "{\"k\":{\"l\":1.0}}",
        "\"two words\"",
    ];
    prop_oneof![
        2 => prop::sample::select(&some[..]).prop_map(str::to_owned),
        1 => (0_u32..40).prop_map(|n| n.to_string()),
        1 => "[a-e]{3}".prop_map(|word| format!("\"{word}\"")),
        1 => "[0-9a-f]{12}".prop_map(|id| format!("\"{id}\"")),
    ]
}

/// A record whose fields are those of the object that its line ends with.
fn any_of_object() -> impl Strategy<Value = Record> {
    let head = prop::sample::select(&["", "a b ", "it's 5\" ", "x\\", "5 { "][..]);
    let some: &'static [&'static [&'static str]] = &[&["a", "b"], &["message", "n", "m"], &["a"]];
    let keys = prop::sample::select(some);
    let values = prop::collection::vec(any_json(), 3);
    (any_record(), head, keys, values, 0_u8..3).prop_map(|(like, head, keys, values, how)| {
        let members = keys.iter().zip(&values).map(|(key, value)| format!("\"{key}\":{value}"));
        let raw = format!("{head}{{{}}}", members.collect::<Vec<_>>().join(","));
        let fields = super::derived::fields_of(raw.as_bytes(), &mut Flat::default());
        let line = match how {
            0 => Line::text(&raw),
            1 => Line::with_message(
                raw.as_bytes(),
                fields.first().map_or_else(String::new, |f| f.value.to_string()),
            ),
            _ => Line::spanning(raw.as_bytes(), head.len(), raw.len()),
        };
        Record { line, fields, ..like }
    })
}

/// Chunks of records most of which are of a few templates, with rising ids.
pub(super) fn alike_chunks() -> impl Strategy<Value = Vec<Vec<Arc<Record>>>> {
    let texts = (
        prop::sample::select(&["took % ms", "user % of @ in", "@ @ #", "k=% @", "@ % @: ~"][..]),
        "[a-c]{1,2}",
        0_u32..30,
        odd(),
    );
    let texts = texts.prop_map(|(skeleton, word, n, odd)| {
        let text = skeleton.replace('@', &word).replace('%', &n.to_string());
        text.replace('#', "2026-03-01 09:00:00,123456789").replace('~', &odd)
    });
    let lines = (texts, 0_u8..4, any_record()).prop_map(|(text, how, like)| {
        let line = match how {
            0 => Line::text(&text),
            1 => Line::with_message(text.as_bytes(), text.replace(' ', "-")),
            _ => {
                let raw = format!("<13>Mar  1 09:00:00 h app[7]: {text}");
                let at = raw.len() - text.len();
                Line::spanning(raw.as_bytes(), at, raw.len())
            }
        };
        let mut fields = vec![Field {
            name: "w".into(),
            value: Value::str(text.rsplit(' ').next().unwrap_or_default()),
        }];
        fields.extend(like.fields.iter().take(1).filter(|f| &*f.name != "w").cloned());
        Record { line, fields, ..like }
    });
    let record = prop_oneof![6 => lines, 3 => any_of_object(), 1 => any_record()];
    prop::collection::vec(prop::collection::vec(record, 1..80), 1..3).prop_map(numbered)
}

/// Chunks of such records with rising ids.
pub(super) fn any_chunks() -> impl Strategy<Value = Vec<Vec<Arc<Record>>>> {
    prop::collection::vec(prop::collection::vec(any_record(), 1..40), 1..4).prop_map(numbered)
}

/// The same with rising ids.
fn numbered(chunks: Vec<Vec<Record>>) -> Vec<Vec<Arc<Record>>> {
    let mut id = 0;
    let mut number = |mut record: Record| {
        id += 1 + record.id % 3;
        record.id = id;
        Arc::new(record)
    };
    chunks.into_iter().map(|chunk| chunk.into_iter().map(&mut number).collect()).collect()
}
