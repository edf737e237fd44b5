//! Recorded bytes of real senders, cut anywhere, against the records that they must give, and our
//! answers against the recorder's, byte for byte.
//!
//! `tests/data/protocol/<sender>/<case>`: what the sender wrote on each connection
//! (`client*.bin`), what it was answered (`server*.bin`), what was in it (`expected.ndjson`).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha512};
use shirabe::base::record::Record;
use shirabe::base::time::Timestamp;
use shirabe::decode::Origin;
use shirabe::decode::forward::{Chunk, Forward, Security, Step};
use shirabe::decode::frame::{Packing, unpack};
use shirabe::decode::json::{Given, Shape, read_body};

use crate::support::repository;

const RECEIVED: Timestamp = Timestamp(1_790_000_100_000_000_000);

/// What came out of one connection.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    records: Vec<Record>,
    signals: usize,
    answers: Vec<u8>,
    refused: bool,
}

#[test]
fn forward_recordings_give_their_records() {
    let mut count = 0;
    for case in cases(|name| !name.starts_with("http-")) {
        for client in files(&case, "client") {
            let bytes = fs::read(&client).unwrap();
            let heard = replay(&case, &bytes, &[bytes.len()]);
            compare(&case, &client, &heard);
            count += heard.records.len();
            for size in [1, 2, 5, 61, 1_000] {
                let again = replay(&case, &bytes, &[size]);
                assert_eq!(again, heard, "{} in pieces of {size}", client.display());
            }
        }
    }
    assert_eq!(count, 194, "records of all recordings");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn any_split_gives_the_same(at in 0..100_usize, sizes in prop::collection::vec(1..400_usize, 1..20)) {
        let cases = cases(|name| !name.starts_with("http-") && !name.contains("metrics"));
        let case = &cases[at % cases.len()];
        let bytes = fs::read(case.join("client.bin")).unwrap();
        prop_assert_eq!(replay(case, &bytes, &sizes), replay(case, &bytes, &[bytes.len()]));
    }

    #[test]
    fn a_byte_changed_never_panics(at in 0..100_usize, place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let cases = cases(|name| !name.starts_with("http-") && !name.contains("key"));
        let case = &cases[at % cases.len()];
        let mut bytes = fs::read(case.join("client.bin")).unwrap();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        let heard = replay(case, &bytes, &[bytes.len()]);
        prop_assert_eq!(replay(case, &bytes, &[7]), heard);
    }
}

#[test]
fn http_recordings_give_their_records() {
    let origin = Origin::new("http", "http", "127.0.0.1");
    let given = Given { time_field: Some("@ts".into()), ..Given::default() };
    for case in cases(|name| name.starts_with("http-")) {
        let mut records = Vec::new();
        for client in files(&case, "client") {
            for (headers, body) in requests(&fs::read(&client).unwrap()) {
                let shape = match header(&headers, "content-type") {
                    Some("application/x-ndjson") => Shape::Lines,
                    _ => Shape::Any,
                };
                let body = match header(&headers, "content-encoding").and_then(Packing::named) {
                    Some(packing) => unpack(packing, &body, 1 << 20).unwrap(),
                    None => body,
                };
                let read = read_body(&body, shape, RECEIVED, &origin, &given);
                assert!(read.rejected.is_empty());
                records.extend(read.records);
            }
        }
        let rows = rows(&case, None);
        assert_eq!(records.len(), rows.len(), "{}", case.display());
        for (record, row) in records.iter().zip(&rows) {
            let (message, fields) = flat_of(&row["record"], &Value::Null, &[]);
            let context = format!("{}: {row}", case.display());
            assert_eq!(fields_of(record), fields, "{context}");
            if let Some(message) = message {
                assert_eq!(record.message(), message, "{context}");
            } else {
                let value_of = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).ok();
                let said = value_of(record.message().as_bytes());
                assert_eq!(said, value_of(record.line.raw()), "{context}");
            }
            let record_of = &row["record"];
            let date = record_of.get("date").unwrap_or(&record_of["@ts"]);
            assert_eq!(record.time.to_string(), rfc3339_of(date), "{context}");
        }
    }
}

/// Feeds `bytes` cut into pieces of `sizes`, over and over.
fn replay(case: &Path, bytes: &[u8], sizes: &[usize]) -> Heard {
    let origin = Origin::new("forward", "tcp", "127.0.0.1");
    let mut forward = decoder(case);
    let mut heard = Heard { answers: forward.hello().unwrap_or_default(), ..Heard::default() };
    let mut rest = bytes;
    for size in sizes.iter().cycle() {
        let (piece, after) = rest.split_at(*size.min(&rest.len()));
        rest = after;
        forward.feed(piece);
        loop {
            match forward.step(RECEIVED, &origin) {
                Step::More => break,
                Step::Reply { bytes, refused } => {
                    heard.answers.extend(bytes);
                    heard.refused |= refused.is_some();
                    if heard.refused {
                        return heard;
                    }
                }
                Step::Message(message) => {
                    heard.records.extend(message.records);
                    heard.signals += usize::from(message.signal.is_some());
                    heard.answers.extend(message.chunk.iter().flat_map(Chunk::ack));
                    heard.refused |= !message.rejects.is_empty();
                }
                Step::Reject(reject) => {
                    heard.refused = true;
                    if !reject.can_continue {
                        return heard;
                    }
                }
            }
        }
        if rest.is_empty() {
            break;
        }
    }
    heard
}

/// A decoder as the recorder was: with its key, user and fixed salts.
fn decoder(case: &Path) -> Forward {
    let name = case.file_name().unwrap().to_str().unwrap();
    let (key, users) = match name {
        "forward-shared-key" | "forward-wrong-shared-key" => ("opensesame", false),
        "forward-shared-key-user-ack" | "packed-forward-security" => ("opensesame", true),
        "forward-empty-shared-key" => ("", true),
        _ => return Forward::new(),
    };
    let security = Security {
        shared_key: key.into(),
        self_hostname: "recorder.test".into(),
        users: if users { vec![("alice".into(), "pa55word".into())] } else { vec![] },
    };
    let salt = |text: &str| *Sha512::digest(text.as_bytes()).first_chunk().unwrap();
    let (nonce, auth) = ("fixed nonce for recordings", "fixed auth salt for recordings");
    Forward::with_handshake(Arc::new(security), salt(nonce), salt(auth))
}

fn compare(case: &Path, client: &Path, heard: &Heard) {
    let name = client.file_name().unwrap().to_str().unwrap();
    let several = files(case, "client").len() > 1;
    let rows = rows(case, several.then_some(name));
    let mut group = Value::Null;
    let mut records = heard.records.iter();
    let mut signals = 0;
    for row in &rows {
        let context = format!("{}: {row}", client.display());
        if row.get("fluent_signal").is_some() || row["record"].is_array() {
            signals += 1;
            continue;
        }
        match row["group"].as_str() {
            Some("start") => group = row["record"].clone(),
            Some(_) => group = Value::Null,
            None => compare_record(records.next().expect(&context), row, &group, &context),
        }
    }
    assert_eq!(records.next(), None, "{}: too many records", client.display());
    assert_eq!(heard.signals, signals, "{}", client.display());
    let is_wrong = case.ends_with("forward-wrong-shared-key");
    assert_eq!(heard.refused, is_wrong, "{}", client.display());
    let server = case.join(name.replace("client", "server"));
    let answered = fs::read(server).unwrap_or_default();
    assert_eq!(heard.answers.escape_ascii().to_string(), answered.escape_ascii().to_string());
}

fn compare_record(record: &Record, row: &Value, group: &Value, context: &str) {
    let metadata = json!({ "metadata": row["metadata"] });
    let mut tree = row["record"].clone();
    let mut metadata = if row["metadata"].is_object() { metadata } else { json!({}) };
    let empty = Vec::new();
    for odd in row["odd_values"].as_array().unwrap_or(&empty) {
        set_odd(&mut tree, &mut metadata, odd);
    }
    let (message, fields) = flat_of(&tree, &metadata, std::slice::from_ref(group));
    assert_eq!(fields_of(record), fields, "{context}");
    if let Some(message) = message {
        assert_eq!(record.message(), message, "{context}");
    } else {
        assert_eq!(record.message(), String::from_utf8_lossy(record.line.raw()), "{context}");
    }
    if row.get("odd_values").is_none() {
        let raw: Value = serde_json::from_slice(record.line.raw()).expect(context);
        assert_eq!(raw, row["record"], "{context}");
        let compact = row["record"].to_string();
        assert_eq!(record.line.raw().len(), compact.len(), "{context}");
    }
    assert_eq!(record.tag.as_deref(), row["tag"].as_str(), "{context}");
    let (seconds, nanos) = row["time"].as_str().unwrap().split_once('.').unwrap();
    let time = Timestamp::from_parts(seconds.parse().unwrap(), nanos.parse().unwrap());
    assert_eq!(record.time, time, "{context}");
}

/// Puts what JSON could not say back to its place, as contract 3 wants it kept.
fn set_odd(tree: &mut Value, metadata: &mut Value, odd: &Value) {
    let path = odd["path"].as_array().unwrap();
    let mut node = if path[0] == "$metadata" { metadata } else { tree };
    for step in path {
        node = match step {
            Value::String(key) => &mut node[key.trim_start_matches('$')],
            index => &mut node[usize::try_from(index.as_u64().unwrap()).unwrap()],
        };
    }
    match odd["type"].as_str().unwrap() {
        "bin" | "ext" => {
            let bytes = unhex(odd["hex"].as_str().unwrap());
            *node =
                String::from_utf8(bytes).unwrap_or_else(|e| STANDARD.encode(e.as_bytes())).into();
        }
        "f64" => *node = odd["value"].as_str().unwrap().replace("nan", "NaN").into(),
        "duplicate key" => *node = json!([odd["first_value"], node]),
        _ => {}
    }
}

fn unhex(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// Contract 3's flattening, written a second time and plainly: the message, and the rest.
fn flat_of(
    record: &Value,
    metadata: &Value,
    groups: &[Value],
) -> (Option<String>, Map<String, Value>) {
    fn walk(path: &str, value: &Value, out: &mut Map<String, Value>) {
        let is_nested = |v: &Value| v.is_object() || v.is_array();
        match value {
            Value::Object(map) if !map.is_empty() => {
                for (key, value) in map {
                    walk(&format!("{path}.{key}"), value, out);
                }
            }
            Value::Object(_) => drop(out.insert(path.into(), "{}".into())),
            Value::Array(items) if items.is_empty() || items.iter().any(is_nested) => {
                out.insert(path.into(), value.to_string().into());
            }
            leaf => drop(out.insert(path.into(), leaf.clone())),
        }
    }
    let mut out = Map::new();
    for tree in [record, metadata].into_iter().chain(groups) {
        for (key, value) in tree.as_object().into_iter().flatten() {
            if value.as_object().is_none_or(|map| !map.is_empty() || std::ptr::eq(tree, record)) {
                walk(key, value, &mut out);
            }
        }
    }
    let keys = ["message", "log", "msg", "MESSAGE", "body", "short_message"];
    let key = keys.iter().find(|key| out.get(**key).is_some_and(Value::is_string));
    let message = key.and_then(|key| out.remove(*key));
    (message.and_then(|m| m.as_str().map(str::to_owned)), out)
}

fn fields_of(record: &Record) -> Map<String, Value> {
    record.fields.iter().map(|f| (f.name.to_string(), f.value.to_json())).collect()
}

fn rfc3339_of(date: &Value) -> String {
    let at = match date {
        Value::String(text) => {
            let text = text.replace(' ', "T");
            Timestamp::parse_rfc3339(&format!("{}Z", text.trim_end_matches('Z'))).unwrap()
        }
        number => {
            let number = number.to_string();
            let (seconds, micros) = number.split_once('.').unwrap_or((&number, "0"));
            let nanos = format!("{micros:0<9}").parse().unwrap();
            match seconds.len() {
                13 => Timestamp(seconds.parse::<i64>().unwrap() * 1_000_000),
                _ => Timestamp::from_parts(seconds.parse().unwrap(), nanos),
            }
        }
    };
    at.to_string()
}

/// The rows of `expected.ndjson`, of one connection where there are several.
fn rows(case: &Path, file: Option<&str>) -> Vec<Value> {
    let text = fs::read_to_string(case.join("expected.ndjson")).unwrap();
    let text = text.replace(": Infinity", ": \"inf\"");
    let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    rows.filter(|row| file.is_none() || row["file"].as_str() == file).collect()
}

type Headers = Vec<(String, String)>;

/// The requests in a connection's bytes.
fn requests(mut bytes: &[u8]) -> Vec<(Headers, Vec<u8>)> {
    let mut all = Vec::new();
    while let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let headers: Headers = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let len: usize = header(&headers, "content-length").unwrap().parse().unwrap();
        all.push((headers, bytes[end + 4..end + 4 + len].to_vec()));
        bytes = &bytes[end + 4 + len..];
    }
    all
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}

fn cases(is_wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let root = repository("tests/data/protocol");
    let mut cases = Vec::new();
    for sender in ["fluent-bit-5.1.1", "fluent-logger-node", "fluent-logger-python"] {
        for case in fs::read_dir(root.join(sender)).unwrap() {
            let case = case.unwrap().path();
            if is_wanted(case.file_name().unwrap().to_str().unwrap()) {
                cases.push(case);
            }
        }
    }
    cases.sort();
    assert!(!cases.is_empty());
    cases
}

/// The files of a case that begin with `kind`, in order of their connections.
fn files(case: &Path, kind: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(case)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(kind))
        .collect();
    files.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
    files
}
