//! The codec as a whole: what is encoded comes back, damage is said, words are complete.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::ask::{Asked, Watch};
use super::merge::{Bounds, merge_within};
use super::sample::{alike_chunks, any_chunks};
use super::{Body, Encoded, Look, RowSet, encode, encode_whole, merge};
use crate::base::error::{Error, Result};
use crate::base::find::Finder;
use crate::base::flatten::Flat;
use crate::base::fold::fold;
use crate::base::json::read_object;
use crate::base::machine::ReadAt;
use crate::base::record::{Defects, Facility, Line, Record, Severity, Via};
use crate::base::split::{letter_runs, tokens};
use crate::base::time::Timestamp;
use crate::base::value::{Field, Value};
use crate::codec::filter::{is_filtered, token_hash};

/// A file in memory.
#[derive(Debug)]
struct Memory(Vec<u8>);

impl ReadAt for Memory {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }
    fn read_at(&self, at: u64, len: usize) -> Result<Vec<u8>> {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let end = at.checked_add(len).ok_or_else(|| Error::corrupt("memory", "beyond"))?;
        let bytes = self.0.get(at..end).ok_or_else(|| Error::corrupt("memory", "beyond"))?;
        Ok(bytes.to_vec())
    }
}

/// Nobody watches.
struct Unwatched;

impl Watch for Unwatched {
    fn worked(&mut self, _: usize) -> Asked<()> {
        Ok(())
    }
}

type Chunks = Vec<Vec<Arc<Record>>>;

fn encode_all(chunks: &Chunks) -> Encoded {
    encode(&chunks.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

fn decode_all(body: Vec<u8>) -> Result<Vec<Vec<Record>>> {
    let len = body.len() as u64;
    let body = Body::open(Arc::new(Memory(body)), 0, len)?;
    let chunk = |n| {
        let rows = body.chunk(n)?;
        let mut names = BTreeSet::new();
        for row in 0..rows.meta().rows {
            names.extend(rows.fields(row)?.iter().map(|f| Arc::clone(&f.name)));
        }
        assert!(names.iter().all(|name| rows.has_field(&|n| *n == **name).unwrap()));
        assert!(!rows.has_field(&|n| !names.contains(n)).unwrap());
        (0..rows.meta().rows).map(|row| rows.record(row).map(|r| (*r).clone())).collect()
    };
    (0..body.chunks().len()).map(chunk).collect()
}

fn check_round_trip(chunks: &Chunks, encoded: &Encoded) {
    let back = decode_all(encoded.body.clone()).unwrap();
    assert_eq!(back.len(), chunks.len());
    for (back, chunk) in back.iter().zip(chunks) {
        assert_eq!(back.len(), chunk.len());
        for (back, record) in back.iter().zip(chunk) {
            assert_eq!(back, &**record);
        }
    }
}

/// Every letter run of every text that a term looks at is among the words of its chunk, every
/// long token with a digit among the tokens.
fn check_words(chunks: &Chunks, encoded: &Encoded) {
    for (records, words) in chunks.iter().zip(&encoded.words) {
        for record in records {
            let fields = record.fields.iter().map(|f| f.value.to_string());
            let texts = [record.message(), &record.host, &record.app];
            for text in texts.into_iter().map(str::to_owned).chain(fields) {
                let folded = fold(&text);
                for run in letter_runs(&folded) {
                    assert!(words.contains(run), "{run:?} of {text:?}");
                }
                for token in tokens(&folded).filter(|t| is_filtered(t)) {
                    let found = encoded.tokens.binary_search(&token_hash(token));
                    assert!(found.is_ok(), "{token:?} of {text:?}");
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn records_come_back(chunks in any_chunks()) {
        let slices: Vec<_> = chunks.iter().map(Vec::as_slice).collect();
        for encoded in [encode(&slices), encode_whole(&slices)] {
            check_round_trip(&chunks, &encoded);
            check_words(&chunks, &encoded);
        }
    }
}

fn open(body: Vec<u8>) -> (Body, u64) {
    let len = body.len() as u64;
    (Body::open(Arc::new(Memory(body)), 0, len).unwrap(), len)
}

/// What a merge of these gives is what encoding them one behind the other gives.
fn check_merge(parts: &[&Chunks]) {
    let bodies: Vec<(Body, u64)> = parts.iter().map(|part| open(encode_all(part).body)).collect();
    let tight = Bounds { records: 0, values: 30 };
    for bounds in [Bounds::default(), tight] {
        check_merged(parts, &merge_within(&bodies, bounds, &mut || true).unwrap().unwrap());
    }
}

fn check_merged(parts: &[&Chunks], encoded: &Encoded) {
    let all: Vec<Arc<Record>> = parts.iter().copied().flatten().flatten().cloned().collect();
    let mut rest = &all[..];
    let mut chunks = Chunks::new();
    for meta in &encoded.chunks {
        let (chunk, behind) = rest.split_at(meta.rows);
        chunks.push(chunk.to_vec());
        rest = behind;
    }
    assert!(rest.is_empty());
    check_round_trip(&chunks, encoded);
    check_words(&chunks, encoded);
    let again = merge(&[open(encoded.body.clone())], &mut || true).unwrap().unwrap();
    check_round_trip(&chunks, &again);
    check_words(&chunks, &again);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn merged_records_of_few_templates_come_back(
        a in alike_chunks(), b in alike_chunks(), c in alike_chunks(),
    ) {
        check_merge(&[&a, &b, &c]);
    }
}

proptest! {
    #[test]
    fn merged_records_come_back(a in any_chunks(), b in any_chunks(), c in any_chunks()) {
        check_merge(&[&a]);
        check_merge(&[&a, &b, &c]);
    }
}

#[test]
fn a_merge_joins_small_chunks_and_ends_when_told() {
    let (a, b) = (small(), small());
    check_merge(&[&a, &b]);
    let bodies = [open(encode_all(&a).body)];
    let merged = merge(&bodies, &mut || true).unwrap().unwrap();
    assert_eq!(merged.chunks.len(), 1, "two chunks of ten and twenty records");
    assert!(merge(&bodies, &mut || false).unwrap().is_none());
    assert!(merge(&[], &mut || true).unwrap().unwrap().chunks.is_empty());
}

/// Two chunks of ordinary records, always the same.
fn small() -> Chunks {
    let record = |n: u64| {
        let text = format!(
            "<13>1 2026-03-01T09:00:{:02}Z web-1 app {n} - - user=u{} took {n}.5 ms 調べ",
            n % 60,
            n % 3
        );
        let at = text.find("user").unwrap_or(0);
        let via = Via {
            format: "rfc5424".into(),
            listener: "syslog".into(),
            transport: "udp".into(),
            peer: "127.0.0.1".into(),
        };
        let field = |name: &str, value| Field { name: name.into(), value };
        Arc::new(Record {
            id: n,
            time: Timestamp(
                1_772_355_600_000_000_000 + i64::try_from(n).unwrap_or(0) * 1_000_000_000,
            ),
            received: Timestamp(1_772_355_600_000_000_000),
            host: "web-1".into(),
            app: "app".into(),
            severity: Severity::from_code(5),
            facility: Facility::from_code(1),
            pid: Some(n.to_string().into()),
            line: Line::spanning(text.as_bytes(), at, text.len()),
            fields: vec![
                field("user", Value::str(format!("u{}", n % 3))),
                field("n", Value::Int(7)),
            ],
            format: None,
            via: Arc::new(via),
            tag: None,
            defects: Defects::default(),
        })
    };
    vec![(1..20).map(record).collect(), (20..30).map(record).collect()]
}

#[test]
fn damage_anywhere_is_an_error_never_a_panic() {
    let body = encode_all(&small()).body;
    for at in 0..body.len() {
        for bit in [0_u8, 3, 7] {
            let mut damaged = body.clone();
            damaged[at] ^= 1 << bit;
            assert!(decode_all(damaged).is_err(), "byte {at}, bit {bit}");
        }
        assert!(decode_all(body[..at].to_vec()).is_err(), "cut at {at}");
    }
}

/// Damage that the checksums do not tell, as of a program that wrote nonsense: any answer but a
/// panic.
#[test]
fn nonsense_with_right_checksums_is_no_panic() {
    let body = encode_all(&small()).body;
    let sections = super::body::sections_of(&body).unwrap();
    for (n, section) in sections.iter().enumerate() {
        for at in 0..section.len() {
            for flip in [1_u8, 0x80, 0xff] {
                let mut sections = sections.clone();
                sections[n][at] ^= flip;
                drop(decode_all(super::body::with_sections(&body, &sections)));
            }
        }
    }
}

#[test]
fn ids_and_times_do_not_need_the_messages() {
    let encoded = encode_all(&small());
    let sections = super::body::sections_of(&encoded.body).unwrap();
    let mut damaged = sections.clone();
    damaged[13] = vec![0xff; 3]; // the messages of chunk 0
    let body = super::body::with_sections(&encoded.body, &damaged);
    let len = body.len() as u64;
    let body = Body::open(Arc::new(Memory(body)), 0, len).unwrap();
    let rows = body.chunk(0).unwrap();
    assert_eq!(rows.ids().unwrap(), (1..20).collect::<Vec<u64>>());
    assert_eq!(rows.times().unwrap().len(), 19);
    assert_eq!(rows.host(3).unwrap(), "web-1");
    assert!(matches!(rows.message(0), Err(Error::Corrupt { .. })));
    assert!(matches!(rows.record(0), Err(Error::Corrupt { .. })));
    assert!(matches!(rows.host(19), Err(Error::Corrupt { .. })));
    assert_eq!(body.chunk(1).unwrap().message(0).unwrap(), small()[1][0].message());
    assert!(body.chunk(2).is_err());
}

#[test]
fn a_body_of_another_version_is_refused() {
    let mut body = encode_all(&small()).body;
    let end = body.len();
    let table_len = u32::from_le_bytes(body[end - 8..end - 4].try_into().unwrap()) as usize;
    let table = end - 8 - table_len;
    body[table] = 1;
    let sum = super::pack::checksum(&body[table..end - 8]);
    body[end - 4..].copy_from_slice(&sum.to_le_bytes());
    assert!(matches!(decode_all(body), Err(Error::Version { got: 1, want: 0, .. })));
}

#[test]
fn nothing_encodes_to_a_body_without_chunks() {
    assert!(decode_all(encode(&[]).body).unwrap().is_empty());
    assert!(decode_all(encode(&[&[]]).body).unwrap().is_empty());
}

/// A record as the object `raw` gives it, its message taken out of the fields.
fn of_object(id: u64, raw: &str) -> Record {
    let mut flat = Flat::default();
    read_object(raw, &mut flat).unwrap();
    let (mut fields, _) = flat.take();
    let mut line = Line::text(raw);
    if let Some(at) = fields.iter().position(|field| &*field.name == "msg")
        && let Value::Str(message) = fields.remove(at).value
    {
        line = Line::with_message(raw.as_bytes(), message);
    }
    Record { id, line, fields, ..(*small()[0][0]).clone() }
}

#[test]
fn fields_of_an_object_are_kept_in_the_object() {
    let raw = |n: u64| {
        let (a, b) = (n % 7, n * 7919);
        format!(
            r#"{{"msg":"a \"{a}\" b","path":"\/x\/{b}","list":["u{b}",{a},null],"deep":{{"f":-0.0,"n":{b}}},"odd":{b}.50,"same":1,"same":2}}"#
        )
    };
    let records: Vec<Arc<Record>> = (1..400).map(|n| Arc::new(of_object(n, &raw(n)))).collect();
    let own_keys = |n: u64| format!(r#"{{"k{n}":"v\n{n}","msg":"m{n}"}}"#);
    let unnamed = (1..400).map(|n| Arc::new(of_object(n, &own_keys(n)))).collect::<Vec<_>>();
    let mut bare = records.clone();
    for record in &mut bare {
        Arc::make_mut(record).fields.clear();
    }
    for records in [&records, &unnamed] {
        let body = encode(&[records]).body;
        assert_eq!(
            decode_all(body.clone()).unwrap().concat(),
            records.iter().map(|r| (**r).clone()).collect::<Vec<_>>()
        );
        let len = body.len() as u64;
        let rows = Body::open(Arc::new(Memory(body)), 0, len).unwrap().chunk(0).unwrap();
        let all = RowSet::all(rows.meta().rows);
        for text in ["/x/79190", "u79190", "2"] {
            let finder = Finder::plain(text);
            let found = rows.find(&finder, Look::Everywhere, &all, &mut Unwatched).unwrap();
            let naive = super::ask::find(&*rows, &finder, Look::Everywhere, &all, &mut Unwatched);
            assert!(found == naive.unwrap(), "{text}");
        }
    }
    // What the fields cost beside the same records without any: names and one shape.
    let (with, without) = (encode(&[&records]).body.len(), encode(&[&bare]).body.len());
    assert!(with < without + 400, "{with} {without}");
}

/// What was written stays readable. `UPDATE=1` writes it anew, which is right only with a new
/// version, or before 1.0.
#[test]
fn the_golden_body_reads() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/formats/v0/body.bin");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, encode_all(&small()).body).unwrap();
    }
    let back = decode_all(std::fs::read(path).unwrap()).unwrap();
    let records: Vec<Vec<Record>> =
        small().iter().map(|chunk| chunk.iter().map(|r| (**r).clone()).collect()).collect();
    assert_eq!(back, records);
}

#[test]
fn the_document_says_what_the_program_does() {
    let document = include_str!("FORMAT.md");
    for sentence in [
        format!("(body version {})", super::body::VERSION),
        format!("end - {} |", super::body::TRAILER_BYTES),
        format!("are {} for each chunk", super::body::PARTS),
        format!("then {} that the chunks share", super::body::SHARED),
        format!("pieces of {} MiB", crate::base::limits::PACK_FRAME_BYTES_MAX >> 20),
        format!("a time format of {} bytes", crate::base::stamp::FORMAT_BYTES),
        format!("tokens of {} and more", super::filter::TOKEN_CHARS_MIN),
    ] {
        assert!(document.contains(&sentence), "FORMAT.md does not say: {sentence}");
    }
    for (tag, name) in super::encoders::NAMES.iter().enumerate() {
        let row = format!("| {tag} | {name} |");
        assert!(document.contains(&row), "FORMAT.md has no row: {row}");
    }
}

#[test]
fn what_is_read_is_weighed() {
    let text = |n: usize| format!("user {n} of group {} logged in from {}", n % 7, "x".repeat(500));
    let like = small().remove(0).remove(0);
    let record = |n: usize| Record {
        id: n as u64 + 1,
        line: Line::text(&text(n)),
        fields: vec![Field { name: "n".into(), value: Value::str(n.to_string()) }],
        ..(*like).clone()
    };
    let records: Vec<Arc<Record>> = (0..64).map(record).map(Arc::new).collect();
    let encoded = encode(&[&records]);
    let len = encoded.body.len() as u64;
    let body = Body::open(Arc::new(Memory(encoded.body)), 0, len).unwrap();
    let before = body.weight();
    let chunk = body.chunk(0).unwrap();
    let empty = chunk.weight();
    chunk.message(0).unwrap();
    assert!(body.weight() > before + 500, "the template that all lines share");
    let read = chunk.weight();
    assert!(read > empty + 64 * size_of::<i64>(), "a column of numbers");
    chunk.fields(0).unwrap();
    let two = chunk.weight();
    chunk.fields(1).unwrap();
    assert!(two > read && chunk.weight() == two, "the shapes of fields, once");
    chunk.shed();
    assert!(chunk.weight() < two, "columns go");
    assert_eq!(chunk.message(1).unwrap(), text(1));
}
