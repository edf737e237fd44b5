//! What real senders put on the wire (`tests/data/protocol/syslog`), through `decode::frame` and
//! `decode::syslog`: the records must be those of `expected.ndjson` and of the case files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value as Json;
use shirabe::base::record::{Defect, Record};
use shirabe::base::time::{Timestamp, Zone};
use shirabe::base::value::Value;
use shirabe::decode::frame::Framer;
use shirabe::decode::{Origin, syslog};
use shirabe::refine::Refiner;

use crate::support::repository;

const PEER: &str = "198.51.100.7";

fn ndjson(path: &Path) -> Vec<Json> {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

fn hex(text: &str) -> Vec<u8> {
    let digit = |b: u8| u8::try_from(char::from(b).to_digit(16).expect("hex")).expect("hex");
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) * 16 + digit(pair[1])).collect()
}

/// The records and the reasons of rejects that a TCP stream gives when it comes in pieces.
fn read_stream(
    stream: &[u8],
    pieces: &mut dyn FnMut() -> usize,
) -> (Vec<Record>, Vec<&'static str>) {
    let origin = Origin::new("syslog", "tcp", PEER);
    let mut framer = Framer::default();
    let mut records = Vec::new();
    let mut each = |frame: shirabe::decode::frame::Frame<'_>| {
        records.extend(syslog::read_frame(&frame, received(), &origin));
    };
    let mut rest = stream;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(pieces().clamp(1, rest.len()));
        if let Err(reject) = framer.push(piece, &mut each) {
            return (records, vec![reject.reason]);
        }
        rest = after;
    }
    framer.finish(&mut each);
    (records, Vec::new())
}

fn read_datagrams(mut bytes: &[u8]) -> (Vec<Record>, Vec<&'static str>) {
    let origin = Origin::new("syslog", "udp", PEER);
    let (mut records, mut rejects) = (Vec::new(), Vec::new());
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let (datagram, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        match syslog::read_datagram(datagram, received(), &origin) {
            Ok(record) => records.extend(record),
            Err(reject) => rejects.push(reject.reason),
        }
        bytes = rest;
    }
    (records, rejects)
}

/// The recordings were made on that day.
fn received() -> Timestamp {
    Timestamp::parse_rfc3339("2026-11-22T06:00:00Z").expect("a time")
}

fn text_or<'a>(value: &'a Json, otherwise: &'a str) -> &'a str {
    value.as_str().unwrap_or(otherwise)
}

/// What differs between a record and a line of `expected.ndjson`.
fn differences(record: &Record, expected: &Json) -> Vec<String> {
    let mut differences = Vec::new();
    let mut same = |what: &str, got: &str, wanted: &str| {
        if got != wanted {
            differences.push(format!("{what}: {got:?} instead of {wanted:?}"));
        }
    };
    let severity = record.severity.map_or("", |s| s.name());
    same("format", &record.via.format, text_or(&expected["format"], ""));
    same(
        "facility",
        record.facility.map_or("", |f| f.name()),
        text_or(&expected["facility_name"], ""),
    );
    same("severity", severity, severity_name(text_or(&expected["severity_name"], "")));
    same("host", &record.host, text_or(&expected["hostname"], PEER));
    same("app", &record.app, text_or(&expected["app"], "-"));
    same("pid", record.pid.as_deref().unwrap_or(""), text_or(&expected["procid"], ""));
    same("message", record.message(), text_or(&expected["message"], ""));
    same("length", &record.line.raw().len().to_string(), &expected["frame_len"].to_string());
    if let Some(sent) = expected["timestamp"].as_str() {
        let time = if sent.starts_with("20") && sent.contains('T') {
            Timestamp::parse_rfc3339(sent)
        } else {
            let text = sent.strip_prefix("2026 ").unwrap_or(sent);
            jiff::civil::DateTime::strptime("%Y %b %e %H:%M:%S", format!("2026 {text}"))
                .ok()
                .and_then(|at| Timestamp::parse_rfc3339(&format!("{at}Z")))
        };
        same("time", &record.time.to_string(), &time.expect("a time").to_string());
    } else if expected["format"] != "none" {
        same("time", &record.time.to_string(), &received().to_string());
    }
    let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
    if let Some(msgid) = expected["msgid"].as_str() {
        fields.entry("syslog.msgid".into()).or_default().push(msgid.into());
    }
    for element in expected["sd"].as_array().into_iter().flatten() {
        for param in element["params"].as_array().into_iter().flatten() {
            let name = format!("sd.{}.{}", text_or(&element["id"], ""), text_or(&param[0], ""));
            fields.entry(name).or_default().push(text_or(&param[1], "").into());
        }
    }
    for (name, values) in fields {
        let got = record.field(&name).map_or(Json::Null, Value::to_json);
        let wanted = if let [one] = &values[..] { Json::from(one.as_str()) } else { values.into() };
        same(&name, &got.to_string(), &wanted.to_string());
    }
    differences
}

fn severity_name(name: &str) -> &str {
    if name == "err" { "error" } else { name }
}

#[test]
fn every_recording_gives_its_records() {
    let folder = repository("tests/data/protocol/syslog");
    let mut recordings: Vec<_> = fs::read_dir(&folder)
        .expect("the recordings")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_dir())
        .collect();
    recordings.sort();
    let (mut records_seen, mut failures) = (0, Vec::new());
    for recording in &recordings {
        let name = recording.file_name().expect("a name").to_string_lossy().into_owned();
        let all = ndjson(&recording.join("expected.ndjson"));
        for file in ["client.bin", "client-2.bin", "client-3.bin", "client.dgram"] {
            let Ok(bytes) = fs::read(recording.join(file)) else { continue };
            let (packed, expected): (Vec<&Json>, Vec<&Json>) = all
                .iter()
                .filter(|line| text_or(&line["file"], file) == file)
                .partition(|line| line["zlib"] == true);
            let (records, rejects) = if file == "client.dgram" {
                read_datagrams(&bytes)
            } else {
                read_stream(&bytes, &mut || usize::MAX)
            };
            let refused = if file == "client.dgram" {
                vec!["zlib-datagram"; packed.len()]
            } else {
                vec!["zlib-stream"; packed.len().min(1)]
            };
            if rejects != refused || records.len() != expected.len() {
                failures.push(format!(
                    "{name}/{file}: {} records, rejects {rejects:?}, expected {}",
                    records.len(),
                    expected.len()
                ));
            }
            for (n, (record, expected)) in records.iter().zip(&expected).enumerate() {
                records_seen += 1;
                let differences = differences(record, expected);
                failures
                    .extend(differences.iter().map(|d| format!("{name}/{file} record {n}: {d}")));
            }
            if file != "client.dgram" {
                let mut seed = 20_261_122_u64;
                for round in 0..20 {
                    let mut random = || {
                        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        usize::try_from(seed >> 33).expect("31 bits") % (1 << (round % 12))
                    };
                    let split = read_stream(&bytes, &mut random);
                    if split != (records.clone(), rejects.clone()) {
                        failures
                            .push(format!("{name}/{file}: other records in pieces, round {round}"));
                    }
                }
            }
        }
    }
    println!("{} recordings, {records_seen} records", recordings.len());
    assert!(failures.is_empty(), "{} differences\n{}", failures.len(), failures.join("\n"));
}

/// The debatable cases that we read otherwise, and why.
const OTHERWISE: &[(&str, &str)] = &[
    ("5424-unix-epoch-timestamp", "seconds since 1970 are a time without doubt, as Meraki's are"),
    ("3164-no-timestamp-host-like", "in prose a word before `word:` is no host; only a pid tells"),
    ("f5", "the tag after the severity word is read, and stays in the message"),
];

#[test]
fn the_case_files_are_read_as_they_say() {
    let folder = repository("tests/data/protocol/syslog");
    let refiner = Refiner::default();
    let (mut agreed, mut otherwise, mut failures) = (0, Vec::new(), Vec::new());
    for file in ["cases.ndjson", "cases-2.ndjson"] {
        for case in ndjson(&folder.join(file)) {
            let name = text_or(&case["name"], "?");
            let input = match case["input_hex"].as_str() {
                Some(text) => hex(text),
                None => text_or(&case["input"], "").as_bytes().to_vec(),
            };
            let received =
                Timestamp::parse_rfc3339(text_or(&case["received_at"], "")).expect("a time");
            let mut origin = Origin::new("syslog", "udp", PEER);
            origin.zone = Zone::named(text_or(&case["tz"], "UTC")).expect("a zone");
            let record = syslog::read(&input, received, &origin).map(|mut record| {
                assert_eq!(record.line.raw(), input, "{name}");
                refiner.refine(std::slice::from_mut(&mut record));
                record
            });
            let differences = case_differences(record.as_ref(), &case["expect"], received);
            let reason = OTHERWISE.iter().find(|(n, _)| *n == name);
            match (differences.is_empty(), reason) {
                (true, _) => agreed += 1,
                (false, Some((_, why))) if case["debatable"] == true => {
                    otherwise.push(format!("{name}: {} ({why})", differences.join(", ")));
                }
                _ => failures.push(format!(
                    "{name}{}: {}",
                    if case["debatable"] == true { " (debatable)" } else { "" },
                    differences.join(", ")
                )),
            }
        }
    }
    println!(
        "{agreed} cases agreed, {} read otherwise:\n{}",
        otherwise.len(),
        otherwise.join("\n")
    );
    assert!(failures.is_empty(), "{} failed\n{}", failures.len(), failures.join("\n"));
}

fn case_differences(record: Option<&Record>, expect: &Json, received: Timestamp) -> Vec<String> {
    let mut differences = Vec::new();
    let Some(record) = record else {
        if !expect["message"].is_null() {
            differences.push("no record".into());
        }
        return differences;
    };
    for (key, wanted) in expect.as_object().expect("an object") {
        let got = match key.as_str() {
            "format" => Json::from(&*record.via.format),
            "message" => Json::from(record.message()),
            "host" => unless(&record.host, PEER),
            "app" => unless(&record.app, "-"),
            "pid" => record.pid.as_deref().map_or(Json::Null, Json::from),
            "severity" => record.severity.map_or(Json::Null, |s| Json::from(s.name())),
            "facility" => record.facility.map_or(Json::Null, |f| Json::from(f.name())),
            "time" if record.defects.has(Defect::NoTimestamp) => {
                assert_eq!(record.time, received);
                Json::Null
            }
            "time" => Json::from(record.time.to_string()),
            "fields" => {
                for (name, wanted) in wanted.as_object().expect("an object") {
                    let got = record.field(name).map_or(Json::Null, Value::to_json);
                    if got != *wanted {
                        differences.push(format!("{name}: {got} instead of {wanted}"));
                    }
                }
                continue;
            }
            other => panic!("unknown key {other}"),
        };
        let wanted = match (key.as_str(), wanted.as_str()) {
            ("severity", Some(name)) => Json::from(severity_name(name)),
            ("time", Some(time)) => {
                Json::from(Timestamp::parse_rfc3339(time).expect("a time").to_string())
            }
            _ => wanted.clone(),
        };
        if got != wanted {
            differences.push(format!("{key}: {got} instead of {wanted}"));
        }
    }
    differences
}

fn unless(text: &Arc<str>, nothing: &str) -> Json {
    if **text == *nothing { Json::Null } else { Json::from(&**text) }
}
