//! A bit turned over in each section of a sealed and of a merged segment: `verify` finds it, and
//! what is asked meanwhile is right or says that it is partial.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::sync::mpsc;

use super::*;
use crate::base::machine::Disk as _;
use crate::base::sim::{Faults, ManualClock, SimDisk};
use crate::config::Storage;
use crate::store::verify::{Event, verify};
use crate::store::{Options, Store};

const DATA: &str = "/data";
const START: i64 = 1_772_355_600_000_000_000;

fn open(disk: &SimDisk) -> Arc<Store> {
    let options = Options {
        data_dir: DATA.into(),
        live_bytes_max: 1 << 20,
        storage: Storage { min_free_bytes: 0, ..Storage::default() },
        retention: Vec::new(),
        on_commit: Box::new(|_| {}),
        metrics: Arc::default(),
    };
    Store::open(options, Arc::new(disk.clone()), ManualClock::new(Timestamp(START))).unwrap()
}

/// Something in every column.
fn told(n: i64) -> Record {
    let text = format!("request {n} of user{} took {} ms id={:016x}", n % 7, n * 31 % 97, n * 7919);
    let mut told = record(0, START + n * 1_000_000_000, &text);
    told.line = Line::spanning(format!("<13>{text} end").into_bytes(), 4, 4 + text.len());
    told.host = format!("web-{}", n % 3).into();
    told.app = format!("app-{}", n % 2).into();
    told.severity = Severity::from_code(u8::try_from(n % 5).unwrap());
    told.facility = Facility::from_code(u8::try_from(n % 4).unwrap());
    told.pid = (n % 3 > 0).then(|| (n % 11).to_string().into());
    told.format = (n % 4 > 0).then(|| "shop".into());
    told.tag = (n % 5 > 0).then(|| "kube.shop".into());
    told.fields =
        vec![field("user", Value::str(format!("u{}", n % 13))), field("n", Value::Int(n))];
    told
}

/// A segment merged of three, a sealed one, and live records.
fn filled() -> SimDisk {
    let disk = SimDisk::new(Faults::default());
    let store = open(&disk);
    let put = |numbers: Range<i64>| {
        let (tell, answer) = mpsc::channel();
        let kept = Box::new(move |kept| tell.send(kept).unwrap());
        store.append(numbers.map(told).collect(), kept);
        answer.recv().unwrap().unwrap();
    };
    for n in 0..3 {
        put(n * 50..(n + 1) * 50);
        store.seal(n == 2).unwrap();
    }
    put(150..200);
    store.seal(false).unwrap();
    put(200..210);
    store.close().unwrap();
    disk
}

/// The parts of a segment file, by the names of `FORMAT.md`.
fn parts(file: &[u8]) -> Vec<(String, Range<usize>)> {
    let number = |at: usize, len: usize| {
        file[at..at + len].iter().rev().fold(0_usize, |n, byte| n << 8 | usize::from(*byte))
    };
    let trailer = file.len() - 16;
    let footer = trailer - number(trailer, 4);
    let mut parts = vec![
        ("header".to_owned(), 0..16),
        ("footer".to_owned(), footer..trailer),
        ("trailer".to_owned(), trailer..file.len()),
    ];
    let class = footer + 8 + 14;
    let chunks = class + 4 + number(class, 4) + 32 + 8 + 4;
    let sections = chunks + 4 + 40 * number(chunks, 4);
    for n in 0..number(sections, 4) {
        let entry = sections + 4 + 24 * n;
        let (kind, at, len) = (number(entry, 4), number(entry + 4, 8), number(entry + 12, 8));
        match kind {
            1 => parts.extend(parts_of_body(&file[at..at + len], number(chunks, 4), at)),
            kind => parts.push((format!("section {kind}"), at..at + len)),
        }
    }
    parts
}

fn parts_of_body(body: &[u8], chunks: usize, start: usize) -> Vec<(String, Range<usize>)> {
    let end = body.len() - 8;
    let len = u32::from_le_bytes(body[end..end + 4].try_into().unwrap()) as usize;
    let mut table = &body[end - len + 1..end];
    let mut var = || {
        let len = table.iter().position(|byte| *byte < 0x80).unwrap() + 1;
        let (bytes, rest) = table.split_at(len);
        table = rest;
        bytes.iter().rev().fold(0, |n, byte| n << 7 | usize::from(byte & 0x7f))
    };
    assert_eq!(var(), chunks);
    (0..chunks * 5).for_each(|_| {
        var();
    });
    let mut parts = vec![
        ("table".to_owned(), start + end - len..start + end),
        ("end of the body".to_owned(), start + end..start + body.len()),
    ];
    let mut at = start;
    while at < start + end - len {
        let len = {
            let size = table.iter().position(|byte| *byte < 0x80).unwrap() + 1;
            let (bytes, rest) = table.split_at(size);
            table = &rest[4..];
            bytes.iter().rev().fold(0, |n, byte| n << 7 | usize::from(byte & 0x7f))
        };
        parts.push((format!("section {} of the body", parts.len() - 2), at..at + len));
        at += len;
    }
    parts
}

/// What is asked: each looks at other columns.
const QUERIES: [&str; 9] = [
    "*",
    "request",
    "word:user3",
    "0000000000001eef",
    "took 3",
    "user:u7",
    "n>=100",
    "host:web-1 severity:error",
    "app:app-1 tag:kube.shop",
];

/// Ids and messages of a page, and the counts; with what each said of being partial.
fn answers(store: &Store) -> Vec<(Vec<String>, bool)> {
    let snapshot = store.snapshot();
    let mut all = Vec::new();
    for text in QUERIES {
        let query = Query::parse(text, &context()).unwrap();
        let range = TimeRange::ALL;
        let counted = count(&snapshot, &query, range, &budget()).unwrap();
        all.push((vec![counted.value.to_string()], counted.partial.is_some()));
        let page = search(&snapshot, &query, range, Order::Desc, 1_000, None, &budget()).unwrap();
        let records = page.value.records.iter().map(|record| format!("{record:?}"));
        all.push((records.collect(), page.partial.is_some()));
        let by = Some("host");
        let found =
            histogram(&snapshot, &query, range, &Buckets::About(20), by, &context(), &budget());
        let found = found.unwrap();
        all.push((vec![format!("{:?}", found.value)], found.partial.is_some()));
    }
    all
}

/// Paths of the damage that is found.
fn verified(disk: &SimDisk) -> Vec<String> {
    let mut damages = Vec::new();
    let summary = verify(disk, Path::new(DATA), &mut |event| {
        if let Event::Damage(damage) = event {
            damages.push(damage.to_string());
        }
    });
    assert_eq!(summary.unwrap().damages, damages.len() as u64);
    damages
}

#[test]
fn damage_in_any_section_is_found_and_never_a_wrong_answer() {
    let whole = filled();
    let want = answers(&open(&whole));
    assert!(want.iter().all(|(_, partial)| !partial));
    assert!(want.iter().filter(|(values, _)| !values.is_empty()).count() > 20, "{want:?}");
    let known: BTreeSet<&String> = want.iter().flat_map(|(values, _)| values).collect();
    let every = std::env::var("NEXTEST_PROFILE").is_ok_and(|profile| profile == "full");
    let (mut tried, mut marked) = (0, 0);
    let segments =
        whole.paths().into_iter().filter(|path| path.extension() == Some("seg".as_ref()));
    for path in segments {
        for (name, part) in parts(&whole.read(&path).unwrap()) {
            let last = part.end - 1;
            let middle = part.start + part.len() / 2;
            for at in if every { vec![part.start, middle, last] } else { vec![middle] } {
                let what = format!("{}: {name}, byte {at}", path.display());
                marked +=
                    usize::from(check(&whole, &path, at * 8 + tried % 8, &what, &want, &known));
                tried += 1;
            }
        }
    }
    println!("{tried} bits turned over, of {marked} the answers said so");
    assert!(tried >= 2 * (15 + 9 + 8) && marked >= 2 * (15 + 9 + 4), "{tried} {marked}");
}

/// Did the answers say that they are partial?
fn check(
    whole: &SimDisk,
    path: &Path,
    bit: usize,
    what: &str,
    want: &[(Vec<String>, bool)],
    known: &BTreeSet<&String>,
) -> bool {
    let disk = whole.after_crash(Faults::default());
    disk.flip(path, bit);
    let damages = verified(&disk);
    let name = path.display().to_string();
    assert!(damages.iter().any(|damage| damage.starts_with(&name)), "{what}: {damages:?}");
    let store = open(&disk);
    let mut is_marked = false;
    // The second time, the store has looked at what was met.
    for _ in 0..2 {
        for (got, want) in answers(&store).iter().zip(want) {
            is_marked |= got.1;
            assert!(got.1 || got.0 == want.0, "{what}: {got:?} instead of {want:?}");
            let is_record = |value: &&String| value.starts_with("Record");
            let made_up = got.0.iter().filter(is_record).find(|value| !known.contains(value));
            assert_eq!(made_up, None, "{what}");
        }
        store.seal(false).unwrap();
    }
    is_marked
}
