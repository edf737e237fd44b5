//! A reader of what is on disk, written from `src/store/FORMAT.md` and `src/codec/FORMAT.md` alone:
//! whoever has those two pages, zstd and pco can have their lines back without this program.
//!
//! It expects no damage: what it does not understand is a panic. What it reads is held against what
//! was sent and what the program answers. When the format changes, the pages change, and then this:
//! `bytes` (building blocks), `column`, `lines`, `fields`, and here the files and their sections.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use shirabe::base::record::{Defect, Defects, Facility, Severity};
use shirabe::base::time::Timestamp;

use bytes::{Bytes, met};
use column::{Parents, column, dictionary, of_both, of_numbers, told};
use fields::in_log;
use sent::{objects, own_keys, syslog_lines};

use crate::support::{Server, corpora, repository, shirabe};

mod bytes;
mod column;
mod fields;
mod lines;
mod sent;

/// A record as the pages tell it.
struct Found {
    id: u64,
    time: i64,
    received: i64,
    host: String,
    app: String,
    severity: u8,
    facility: u8,
    pid: Option<String>,
    raw: Vec<u8>,
    message: Vec<u8>,
    fields: Map<String, Value>,
    format: Option<String>,
    via: Vec<String>,
    tag: Option<String>,
    defects: u64,
}

impl Found {
    /// As the program answers it.
    fn to_json(&self) -> Value {
        let severity = self.severity.checked_sub(1).and_then(Severity::from_code);
        let facility = self.facility.checked_sub(1).and_then(Facility::from_code);
        let defects: Vec<&str> =
            Defects::from_bits(self.defects).iter().map(Defect::code).collect();
        let [format, listener, transport, peer] = &self.via[..] else { panic!("{:?}", self.via) };
        let mut json = json!({
            "id": self.id.to_string(),
            "time": Timestamp(self.time).to_string(),
            "received": Timestamp(self.received).to_string(),
            "host": self.host, "app": self.app,
            "severity": severity.map(Severity::name), "facility": facility.map(Facility::name),
            "pid": self.pid,
            "message": String::from_utf8(self.message.clone()).expect("text"),
            "fields": self.fields,
            "format": self.format,
            "via": {
                "format": format, "listener": listener, "transport": transport, "peer": peer,
                "tag": self.tag,
            },
            "defects": defects,
        });
        if defects.contains(&"not-utf8") || std::str::from_utf8(&self.raw).is_err() {
            json["raw"] = STANDARD.encode(&self.raw).into();
        }
        json
    }
}

/// Sections of a chunk, and those that the chunks share.
const OF_A_CHUNK: usize = 15;
const SHARED: usize = 9;

/// The records of a body.
fn read_body(body: &[u8]) -> Vec<Found> {
    let (rest, mut end) = from_end(body, 8);
    let (len, crc) = (end.u32(), end.u32());
    let (rest, mut table) = from_end(rest, len as usize);
    assert_eq!(crc32fast::hash(table.0), crc, "the table");
    assert_eq!(table.u8(), 0, "the version");
    let chunks: Vec<usize> = (0..table.len())
        .map(|_| {
            let rows = table.len();
            let _ids = (table.var(), table.var());
            let _times = (table.sig(), table.var());
            rows
        })
        .collect();
    let mut rest = Bytes(rest);
    let sections: Vec<&[u8]> = (0..chunks.len() * OF_A_CHUNK + SHARED)
        .map(|n| {
            let (len, crc) = (table.len(), table.u32());
            let section = rest.take(len);
            assert_eq!(crc32fast::hash(section), crc, "section {n}");
            section
        })
        .collect();
    table.end("the table");
    rest.end("the body");
    let shared = Shared::read(&sections[chunks.len() * OF_A_CHUNK..], chunks.len());
    let of_chunks = sections.chunks(OF_A_CHUNK).take(chunks.len());
    let read =
        |(n, (sections, rows)): (usize, (&[&[u8]], &usize))| shared.chunk(n, *rows, sections);
    of_chunks.zip(&chunks).enumerate().flat_map(read).collect()
}

/// All but the last bytes, and these.
fn from_end(bytes: &[u8], len: usize) -> (&[u8], Bytes<'_>) {
    let (rest, end) = bytes.split_at(bytes.len() - len);
    (rest, Bytes(end))
}

/// What the chunks of a body share.
struct Shared {
    /// Of host, app, pid, format, via, tag.
    names: Vec<Vec<Vec<u8>>>,
    around: lines::Shared,
    message: lines::Shared,
    fields: fields::Shared,
}

impl Shared {
    fn read(sections: &[&[u8]], chunks: usize) -> Self {
        let frames: Vec<Vec<u8>> = sections.iter().map(|section| Bytes(section).frame()).collect();
        let names = |frame: &Vec<u8>| {
            let mut from = Bytes(frame);
            let names = dictionary(&mut from);
            from.end("a dictionary");
            names
        };
        Self {
            names: frames[..6].iter().map(names).collect(),
            around: lines::Shared::read(&frames[6], chunks),
            message: lines::Shared::read(&frames[7], chunks),
            fields: fields::Shared::read(&frames[8]),
        }
    }

    fn chunk(&self, n: usize, rows: usize, sections: &[&[u8]]) -> Vec<Found> {
        let frame = |part: usize| Bytes(sections[part]).frame();
        let whole = |part: usize, read: &dyn Fn(&mut Bytes<'_>) -> Vec<i64>| {
            let section = frame(part);
            let mut from = Bytes(&section);
            let numbers = read(&mut from);
            from.end("a list of integers");
            numbers
        };
        let [ids, times, received, defects] =
            [0, 1, 2, 11].map(|n| whole(n, &|from| from.ints(rows)));
        let message = lines::Rows::read(&self.message, sections[13], n, rows);
        let around = lines::Rows::read(&self.around, sections[12], n, rows);
        let mut parents = Parents::new();
        parents.insert(4, of_numbers(&message.templates));
        parents.insert(5, of_numbers(&around.templates));
        parents.insert(7, of_both(&parents, 4, 5));
        let codes = |part: usize, parents: &Parents| {
            let read = |from: &mut Bytes<'_>| told(from, rows, parents);
            whole(part, &|from| read(from).into_iter().map(u64::cast_signed).collect())
        };
        let hosts = self.names(0, &frame(3), rows, false, &parents);
        let apps = self.names(1, &frame(4), rows, false, &parents);
        let [severities, facilities] = [5, 6].map(|part| codes(part, &parents));
        parents.insert(0, of_names(&hosts));
        parents.insert(1, of_names(&apps));
        parents.insert(2, of_numbers(&severities));
        parents.insert(6, of_both(&parents, 0, 1));
        let pids = self.names(2, &frame(7), rows, true, &parents);
        parents.insert(3, of_names(&pids));
        let formats = self.names(3, &frame(8), rows, true, &parents);
        let vias = self.names(4, &frame(9), rows, false, &parents);
        let tags = self.names(5, &frame(10), rows, true, &parents);
        let message_slots = message.slots(&times, &parents);
        let line_slots = around.slots(&times, &parents);
        let texts: Vec<(Vec<u8>, Vec<u8>)> = (0..rows)
            .map(|row| {
                let message = message.text(row, &message_slots[row], &[]);
                (around.text(row, &line_slots[row], &message), message)
            })
            .collect();
        let of_row = |row: usize| fields::Texts {
            line: &texts[row].0,
            message: &texts[row].1,
            line_slots: &line_slots[row],
            message_slots: &message_slots[row],
        };
        let fields = self.fields.rows(&frame(14), rows, &parents, of_row);
        let code = |codes: &[i64], row: usize| u8::try_from(codes[row]).expect("a code");
        let one = |(row, fields): (usize, Map<String, Value>)| {
            let (raw, message) = texts[row].clone();
            let via = vias[row].clone().expect("a way in");
            let mut via = Bytes(via.as_bytes());
            Found {
                id: ids[row].cast_unsigned(),
                time: times[row],
                received: received[row],
                host: hosts[row].clone().expect("a host"),
                app: apps[row].clone().expect("an app"),
                severity: code(&severities, row),
                facility: code(&facilities, row),
                pid: pids[row].clone(),
                raw,
                message,
                fields,
                format: formats[row].clone(),
                via: (0..4).map(|_| via.text()).collect(),
                tag: tags[row].clone(),
                defects: defects[row].cast_unsigned(),
            }
        };
        fields.into_iter().enumerate().map(one).collect()
    }

    /// The names of a chunk's rows; `optional`: some may have none.
    fn names(
        &self,
        n: usize,
        section: &[u8],
        rows: usize,
        optional: bool,
        parents: &Parents,
    ) -> Vec<Option<String>> {
        let mut from = Bytes(section);
        let there = if optional { from.planes(rows) } else { vec![1; rows] };
        let present: Vec<usize> = (0..rows).filter(|row| there[*row] > 0).collect();
        let mut values = column(&mut from, &present, &self.names[n], parents).into_iter();
        from.end("a column of names");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        let one = |there| (there > 0).then(|| text(values.next().expect("a name")));
        there.into_iter().map(one).collect()
    }
}

fn of_names(names: &[Option<String>]) -> Vec<Option<Vec<u8>>> {
    names.iter().map(|name| name.clone().map(String::into_bytes)).collect()
}

/// The records of a segment file.
fn read_segment(file: &[u8]) -> Vec<Found> {
    assert_eq!(&file[..16], b"SHIRASEG\0\0\0\0\0\0\0\0");
    let (rest, mut trailer) = from_end(file, 16);
    let (len, crc) = (trailer.u32(), trailer.u32());
    assert_eq!(trailer.0, b"SHIRAEND");
    let (content, mut footer) = from_end(rest, len as usize);
    assert_eq!(crc32fast::hash(footer.0), crc, "the footer");
    footer.u64();
    for _text in ["day", "class"] {
        let len = footer.u32();
        footer.take(len as usize);
    }
    assert_eq!(footer.take(32), &Sha256::digest(content)[..], "the segment's hash");
    let bytes_of_lines = footer.u64();
    assert!(footer.u32() <= 1, "sealed or merged");
    let chunks = footer.u32() as usize;
    let mut table = Bytes(footer.take(40 * chunks));
    let mut body = None;
    for _ in 0..footer.u32() {
        let (kind, at, len, crc) = (footer.u32(), footer.u64(), footer.u64(), footer.u32());
        let section = &content[column::place(at)..][..column::place(len)];
        assert_eq!(crc32fast::hash(section), crc, "section {kind}");
        body = if kind == 1 { Some(section) } else { body };
    }
    footer.end("the footer");
    let found = read_body(body.expect("the records"));
    assert_eq!(found.iter().map(|r| r.raw.len() as u64).sum::<u64>(), bytes_of_lines);
    let mut rest = &found[..];
    for _ in 0..chunks {
        let chunk;
        (chunk, rest) = rest.split_at(column::place(table.u64()));
        let times = || chunk.iter().map(|r| r.time);
        assert_eq!((table.u64(), table.u64()), (chunk[0].id, chunk[chunk.len() - 1].id));
        let span = (table.u64().cast_signed(), table.u64().cast_signed());
        assert_eq!(span, (times().min().expect("some"), times().max().expect("some")));
    }
    found
}

/// The records of a log file.
fn read_log(file: &[u8]) -> Vec<Found> {
    let mut from = Bytes(file);
    let header = from.take(20);
    assert_eq!(&header[..12], b"SHIRALOG\0\0\0\0");
    assert_eq!(from.u32(), crc32fast::hash(header), "the header");
    let mut found = Vec::new();
    while !from.0.is_empty() {
        let header = from.take(24);
        assert_eq!(from.u32(), crc32fast::hash(header), "an entry");
        let mut header = Bytes(header);
        assert_eq!(header.take(4), b"entr");
        let (len, first, count, crc) = (header.u32(), header.u64(), header.u32(), header.u32());
        let payload = from.take(len as usize);
        assert_eq!(crc32fast::hash(payload), crc, "a payload");
        let mut payload = Bytes(payload);
        for id in (first..).take(count as usize) {
            found.push(read_logged(&mut payload));
            assert_eq!(found[found.len() - 1].id, id);
        }
        payload.end("an entry");
    }
    found
}

fn read_logged(from: &mut Bytes<'_>) -> Found {
    let optional = |from: &mut Bytes<'_>| (from.u8() == 1).then(|| from.text());
    let (id, time, received) = (from.var(), from.sig(), from.sig());
    let (host, app, severity, facility) = (from.text(), from.text(), from.u8(), from.u8());
    let (pid, raw) = (optional(from), from.bytes().to_vec());
    let message = if from.u8() == 0 {
        let (start, end) = (from.len(), from.len());
        raw[start..end].to_vec()
    } else {
        from.bytes().to_vec()
    };
    let fields = in_log(from).into_iter().collect();
    let format = optional(from);
    let via = (0..4).map(|_| from.text()).collect();
    let (tag, defects) = (optional(from), from.var());
    Found {
        id,
        time,
        received,
        host,
        app,
        severity,
        facility,
        pid,
        raw,
        message,
        fields,
        format,
        via,
        tag,
        defects,
    }
}

/// All records below a data directory: of its segments, then of its log.
fn read_directory(dir: &Path) -> BTreeMap<u64, Found> {
    let mut files = Vec::new();
    list(dir, &mut files);
    let mut found = BTreeMap::new();
    for (ending, read) in [("seg", read_segment as fn(&[u8]) -> _), ("log", read_log)] {
        let is = |path: &&PathBuf| path.extension().is_some_and(|e| e == ending);
        for path in files.iter().filter(is) {
            for record in read(&std::fs::read(path).expect("a file")) {
                found.insert(record.id, record);
            }
        }
    }
    found
}

fn list(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            list(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Holds what the reader finds on disk against what was sent and what is answered.
fn compare(server: &Server, sent: &[Vec<u8>], what: &str) {
    let found = read_directory(&server.dir);
    let mut answered = 0;
    for want in server.all("*", 10_000) {
        let id: u64 = want["id"].as_str().expect("an id").parse().expect("a number");
        let record = found.get(&id).unwrap_or_else(|| panic!("{what}: no {id}"));
        // Through text, as the answer came.
        let text = record.to_json().to_string();
        let got: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(got, want, "{what}: {id}");
        answered += 1;
    }
    assert_eq!(answered, found.len(), "{what}");
    assert_eq!(found.len(), sent.len(), "{what}");
    for (record, line) in found.values().zip(sent) {
        let (got, want) = (String::from_utf8_lossy(&record.raw), String::from_utf8_lossy(line));
        assert!(record.raw == *line, "{what}: {}: {got:?} instead of {want:?}", record.id);
    }
}

fn joined(lines: &[Vec<u8>]) -> Vec<u8> {
    lines.iter().flat_map(|line| [line, &b"\n"[..]].concat()).collect()
}

/// Sends lines as each way in takes them, one way after the other, and adds what a line is to the
/// store.
fn send(server: &Server, round: u64, sent: &mut Vec<Vec<u8>>) {
    let lines = syslog_lines(round);
    send_syslog(server, &lines, sent);
    send_objects(server, &objects(round), sent);
    let plain: Vec<Vec<u8>> = lines.into_iter().step_by(7).filter(|line| line.len() > 1).collect();
    let keep = tempfile::tempdir().expect("a directory");
    let file = keep.path().join("some.log");
    std::fs::write(&file, joined(&plain)).expect("a file");
    import(server, &file);
    sent.extend(plain);
}

fn send_syslog(server: &Server, lines: &[Vec<u8>], sent: &mut Vec<Vec<u8>>) {
    let mut stream = TcpStream::connect(server.address("syslog", "tcp")).expect("connect");
    stream.write_all(&joined(lines)).expect("send");
    sent.extend_from_slice(lines);
    server.wait_count("*", sent.len() as u64);
}

fn send_objects(server: &Server, objects: &[Vec<u8>], sent: &mut Vec<Vec<u8>>) {
    let (status, answer) = server.post("/api/v1/ingest", "application/x-ndjson", &joined(objects));
    assert_eq!((status, &answer["accepted"]), (200, &objects.len().into()), "{answer}");
    sent.extend_from_slice(objects);
}

fn import(server: &Server, file: &Path) {
    let import = shirabe().args(["import", "--url", &server.url()]).arg(file).output();
    assert!(import.expect("start the built program").status.success(), "{}", file.display());
}

/// Seals and merges all into one segment.
fn merge(server: &Server) {
    let (status, answer) = server.post("/api/v1/seal?merge=true", "application/json", b"");
    assert_eq!((status, &answer["segments"]), (200, &1.into()), "{answer}");
}

/// Was all of this met? `kind` as the reader calls it.
fn assert_met(met: &BTreeSet<String>, wanted: &[(&str, &[u8])]) {
    let names = wanted.iter().flat_map(|(kind, tags)| tags.iter().map(move |tag| (kind, tag)));
    let missed: Vec<_> =
        names.filter(|(kind, tag)| !met.contains(&format!("{kind} {tag}"))).collect();
    assert!(missed.is_empty(), "not met, send something for it: {missed:?} (met: {met:?})");
}

/// In the log, sealed, and merged: with every encoder.
#[test]
fn what_was_sent_is_read_from_the_pages_alone() {
    let server = Server::start();
    let mut sent = Vec::new();
    send(&server, 0, &mut sent);
    compare(&server, &sent, "in the log");
    server.seal();
    compare(&server, &sent, "sealed");
    send(&server, 1, &mut sent);
    merge(&server);
    compare(&server, &sent, "merged");
    let wanted: &[(&str, &[u8])] = &[
        ("column", &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
        ("text", &[0, 1]),
        ("planes", &[0, 1, 2, 3, 8, 9, 10]),
        ("ints", &[0, 1]),
        ("told", &[1]),
        ("pool", &[0, 1, 2, 3, 4]),
        ("time", &[0, 1, 2]),
        ("source", &[0, 1, 2, 3, 4, 5]),
        ("type", &[1, 2, 3, 5, 6]),
        ("parent", &[0, 1, 2, 3, 4, 6, 7]),
    ];
    assert_met(&met(), wanted);
}

/// What was written stays readable, also from the page.
#[test]
fn the_golden_body_is_read_from_the_page_alone() {
    let path = repository("tests/data/formats/v0/body.bin");
    let found = read_body(&std::fs::read(path).expect("the golden body"));
    assert!(found.is_sorted_by(|a, b| a.id < b.id));
    assert!(found.len() > 20 && found.iter().all(|record| !record.to_json().is_null()));
}

#[test]
fn slow_fields_without_shapes_are_read_from_the_pages_alone() {
    let server = Server::start();
    let mut sent = Vec::new();
    let [objects, lines] = own_keys();
    send_objects(&server, &objects, &mut sent);
    send_syslog(&server, &lines, &mut sent);
    merge(&server);
    compare(&server, &sent, "own keys");
    assert_met(&met(), &[("shape", &[0, 1, 2])]);
}

/// Real files, whose lines nobody made up for this.
#[test]
fn slow_real_files_are_read_from_the_pages_alone() {
    let Some(dir) = corpora() else { return };
    let server = Server::start();
    for entry in std::fs::read_dir(dir.join("lines")).expect("lines/") {
        let path = entry.expect("an entry").path();
        if path.metadata().expect("a file").len() <= 256 << 10 {
            import(&server, &path);
        }
    }
    merge(&server);
    let lines: Vec<Vec<u8>> = read_directory(&server.dir).into_values().map(|r| r.raw).collect();
    println!("{} lines", lines.len());
    assert!(lines.len() > 50_000);
    compare(&server, &lines, "real files");
}
