//! The store behind its public door, on a disk that fails on demand and on a real one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use super::*;
use crate::base::fold::fold;
use crate::base::limits::{LOG_ENTRY_BYTES, SOURCES_MAX};
use crate::base::machine::{SystemClock, SystemDisk};
use crate::base::record::{Defect, Defects, Line, Via};
use crate::base::sim::{Faults, ManualClock, SimDisk};
use crate::base::time::Timestamp;
use crate::base::value::{Field, Value};

const DAY_NS: i64 = 86_400_000_000_000;
/// 2026-03-01T09:00:00Z
const START: Timestamp = Timestamp(1_772_355_600_000_000_000);

fn via() -> Arc<Via> {
    Arc::new(Via {
        format: "rfc5424".into(),
        listener: "syslog".into(),
        transport: "tcp".into(),
        peer: "10.0.0.1".into(),
    })
}

pub(super) fn record(text: &str) -> Record {
    record_at(text, START)
}

fn record_at(text: &str, at: Timestamp) -> Record {
    let mut defects = Defects::default();
    if text.contains("bad") {
        defects.add(Defect::BadHeader);
    }
    Record {
        id: 0,
        time: at,
        received: at,
        host: "web-1".into(),
        app: "shop".into(),
        severity: None,
        facility: None,
        pid: Some("17".into()),
        line: Line::text(text),
        fields: vec![Field { name: "n".into(), value: Value::uint(text.len() as u64) }],
        format: None,
        via: via(),
        tag: None,
        defects,
    }
}

fn options(dir: &Path) -> Options {
    Options {
        data_dir: dir.to_owned(),
        live_bytes_max: 1 << 20,
        free_floor_bytes: 0,
        on_commit: Box::new(|_| {}),
        metrics: Arc::default(),
    }
}

fn open(disk: &SimDisk, live_bytes_max: usize) -> Result<Arc<Store>> {
    let options = Options { live_bytes_max, ..options(Path::new("/data")) };
    Store::open(options, Arc::new(disk.clone()), ManualClock::new(START))
}

fn sim() -> SimDisk {
    SimDisk::new(Faults::default())
}

/// Appends and waits for the answer.
fn append(store: &Store, records: Vec<Record>) -> Result<()> {
    let (tell, told) = mpsc::channel();
    store.append(records, Box::new(move |answer| tell.send(answer).unwrap()));
    told.recv().unwrap()
}

fn put(store: &Store, texts: &[&str]) {
    append(store, texts.iter().map(|t| record(t)).collect()).unwrap();
}

/// Ids and messages of all that is visible, in the order of the snapshot.
fn all(snapshot: &Snapshot) -> Vec<(u64, String)> {
    let mut found = Vec::new();
    for chunk in snapshot.chunks() {
        let rows = chunk.rows().unwrap();
        assert_eq!(rows.meta(), chunk.meta());
        for (row, id) in rows.ids().unwrap().iter().enumerate() {
            let record = rows.record(row).unwrap();
            assert_eq!(record.id, *id);
            assert_eq!(record.message(), rows.message(row).unwrap());
            found.push((*id, record.message().to_owned()));
        }
    }
    assert!(found.is_sorted_by(|a, b| a.0 < b.0), "{found:?}");
    found
}

fn messages(store: &Store) -> Vec<String> {
    all(&store.snapshot()).into_iter().map(|(_, text)| text).collect()
}

fn names(disk: &SimDisk, part: &str) -> Vec<String> {
    let paths = disk.paths().into_iter().map(|p| p.display().to_string());
    paths.filter(|p| p.contains(part)).collect()
}

#[test]
fn a_record_is_visible_once_done_and_stays_through_seal_and_restart() {
    let disk = sim();
    let store = open(&disk, 1 << 20).unwrap();
    put(&store, &["one", "two"]);
    put(&store, &["three"]);
    assert_eq!(all(&store.snapshot()).len(), 3);
    assert_eq!(store.snapshot().last_id(), Some(3));
    assert_eq!(store.seal(false).unwrap(), 1);
    assert_eq!(names(&disk, "/log/"), Vec::<String>::new());
    put(&store, &["four"]);
    let want = ["one", "two", "three", "four"];
    assert_eq!(messages(&store), want);
    assert_eq!(store.snapshot().record(2).unwrap().unwrap().message(), "two");
    assert_eq!(store.snapshot().record(4).unwrap().unwrap().message(), "four");
    assert!(store.snapshot().record(5).unwrap().is_none());
    store.close().unwrap();
    assert!(matches!(append(&store, vec![record("late")]), Err(Error::Closed)));
    assert!(matches!(store.seal(false), Err(Error::Closed)));
    drop(store);

    let store = open(&disk, 1 << 20).unwrap();
    assert_eq!(messages(&store), want);
    let before = store.snapshot().record(3).unwrap().unwrap();
    assert_eq!(before.fields, [Field { name: "n".into(), value: Value::Int(5) }]);
    put(&store, &["five"]);
    assert_eq!(store.snapshot().last_id(), Some(5));
    assert_eq!(store.seal(true).unwrap(), 2);
    assert_eq!(store.seal(true).unwrap(), 2, "nothing is live: nothing to do");
    let status = store.status();
    assert_eq!((status.records, status.live_records, status.segments), (5, 0, 2));
    assert_eq!((status.log_bytes, status.quarantined, status.poisoned), (0, 0, false));
}

#[test]
fn a_snapshot_does_not_change() {
    let store = open(&sim(), 1 << 20).unwrap();
    put(&store, &["one"]);
    let first = store.snapshot();
    put(&store, &["two"]);
    let second = store.snapshot();
    store.seal(false).unwrap();
    put(&store, &["three"]);
    assert_eq!(all(&first).len(), 1);
    assert_eq!(all(&second).len(), 2);
    assert_eq!(messages(&store).len(), 3);
}

#[test]
fn every_batch_is_shown_to_the_hook_in_the_order_of_ids_before_done() {
    let seen: Arc<Mutex<Vec<u64>>> = Arc::default();
    let hook = Arc::clone(&seen);
    let options = Options {
        on_commit: Box::new(move |batch| hook.lock().unwrap().extend(batch.iter().map(|r| r.id))),
        ..options(Path::new("/data"))
    };
    let store = Store::open(options, Arc::new(sim()), ManualClock::new(START)).unwrap();
    put(&store, &["a", "b"]);
    assert_eq!(*seen.lock().unwrap(), [1, 2]);
    append(&store, Vec::new()).unwrap();
    put(&store, &["c"]);
    assert_eq!(*seen.lock().unwrap(), [1, 2, 3]);
}

#[test]
fn many_appenders_and_a_sealer_lose_and_mix_nothing() {
    let disk = sim();
    let store = open(&disk, 20_000).unwrap();
    std::thread::scope(|scope| {
        for who in 0..4 {
            let store = Arc::clone(&store);
            scope.spawn(move || {
                for n in 0..100 {
                    put(&store, &[&format!("{who} {n:03}"), &format!("{who} {n:03}+")]);
                    assert!(all(&store.snapshot()).len() >= 2 * n);
                }
            });
        }
        for _ in 0..5 {
            store.seal(false).unwrap();
        }
    });
    for again in 0..2 {
        let all = all(&store.snapshot());
        assert_eq!(all.len(), 800, "{again}");
        assert_eq!(all.last().unwrap().0, 800);
        for who in 0..4 {
            let own: Vec<&String> =
                all.iter().map(|(_, t)| t).filter(|t| t.starts_with(&who.to_string())).collect();
            assert_eq!(own.len(), 200);
            assert!(own.is_sorted(), "{own:?}");
        }
        store.seal(false).unwrap();
    }
    store.close().unwrap();
    drop(store);
    assert_eq!(messages(&open(&disk, 20_000).unwrap()).len(), 800);
}

#[test]
fn a_second_store_is_refused_while_the_first_is_open() {
    let disk = sim();
    let store = open(&disk, 1 << 20).unwrap();
    assert!(matches!(open(&disk, 1 << 20).map(drop), Err(Error::InUse { .. })));
    store.close().unwrap();
    drop(open(&disk, 1 << 20).unwrap());

    let dir = tempfile::tempdir().unwrap();
    let real = || {
        let clock = Arc::new(SystemClock::new());
        Store::open(options(dir.path()), Arc::new(SystemDisk), clock)
    };
    let store = real().unwrap();
    let pid = Some(std::process::id());
    assert!(matches!(real().map(drop), Err(Error::InUse { pid: p, .. }) if p == pid));
    put(&store, &["kept"]);
    drop(store);
    assert_eq!(messages(&real().unwrap()), ["kept"]);
}

#[test]
fn segments_are_cut_by_the_day_of_arrival_and_ids_never_overlap() {
    let disk = sim();
    let store = open(&disk, 1 << 20).unwrap();
    let days = [0, 0, 1, 1, -300, 2, 2];
    for (n, day) in days.iter().enumerate() {
        let at = Timestamp(START.0 + day * DAY_NS);
        append(&store, vec![record_at(&format!("{n}"), at)]).unwrap();
    }
    assert_eq!(store.seal(false).unwrap(), 4);
    let dirs: BTreeSet<String> = names(&disk, "/segments/")
        .iter()
        .map(|p| p.split('/').nth(3).unwrap().to_owned())
        .collect();
    let want = ["2025-05-05", "2026-03-01", "2026-03-02", "2026-03-03"];
    assert_eq!(dirs, want.map(str::to_owned).into());
    assert_eq!(messages(&store), ["0", "1", "2", "3", "4", "5", "6"]);
    for id in 1..=7 {
        assert!(store.snapshot().record(id).unwrap().is_some(), "{id}");
    }
}

#[test]
fn stragglers_around_midnight_stay_with_the_next_day() {
    let store = open(&sim(), 1 << 20).unwrap();
    let midnight = START.0 - START.0.rem_euclid(DAY_NS) + DAY_NS;
    for at in [-5, 1, -3, 2, -1, 3] {
        let at = Timestamp(midnight + at * 1_000_000);
        append(&store, vec![record_at("x", at)]).unwrap();
    }
    assert_eq!(store.seal(false).unwrap(), 2);
}

#[test]
fn a_batch_of_any_size_is_replayed_whole() {
    let disk = sim();
    let store = open(&disk, 64 << 20).unwrap();
    let big = "z".repeat(LOG_ENTRY_BYTES / 3);
    let records = (0..10).map(|n| record(&format!("{n} {big}"))).collect();
    append(&store, records).unwrap();
    put(&store, &["", "small"]);
    let want = all(&store.snapshot());
    assert_eq!(want.len(), 12);
    store.close().unwrap();
    drop(store);
    let store = open(&disk, 64 << 20).unwrap();
    assert_eq!(all(&store.snapshot()), want);
    store.seal(false).unwrap();
    assert_eq!(all(&store.snapshot()), want);
}

#[test]
fn without_its_index_a_segment_is_still_searched() {
    let disk = sim();
    let store = open(&disk, 1 << 20).unwrap();
    put(&store, &["needle in here"]);
    store.seal(false).unwrap();
    let path = names(&disk, ".seg").remove(0);
    let bytes = disk.read(Path::new(&path)).unwrap();
    let index = memchr::memmem::find(&bytes, b"meta.json").unwrap();
    disk.flip(Path::new(&path), (index + 40) * 8);
    let snapshot = store.snapshot();
    let holds = |text: &str| snapshot.chunks()[0].may_hold(&Key::Letters(text.to_owned())).unwrap();
    assert!(holds("needle") && holds("nowhere"), "nothing is pruned");
    assert_eq!(messages(&store), ["needle in here"]);
    assert_eq!(store.status().quarantined, 0);
}

#[test]
fn a_chunk_without_the_word_is_pruned() {
    let store = open(&sim(), 1 << 20).unwrap();
    for text in ["user logged in id=4f5e6d7c8b", "調べ物 done"] {
        put(&store, &[text]);
        store.seal(false).unwrap();
    }
    let snapshot = store.snapshot();
    let cases = [
        (Key::Letters("ogge".into()), [true, false]),
        (Key::Letters(fold("調べ").into()), [false, true]),
        (Key::Letters("shop".into()), [true, true]),
        (Key::Token("id".into()), [true, false]),
        (Key::Token("4f5e6d7c8b".into()), [true, false]),
    ];
    for (key, want) in cases {
        let got: Vec<bool> =
            snapshot.chunks().iter().map(|chunk| chunk.may_hold(&key).unwrap()).collect();
        assert_eq!(got, want, "{key:?}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]

    /// From record to answer, over the codec's words and tokens: no chunk is denied what it holds.
    #[test]
    fn what_a_sealed_record_holds_is_never_denied(
        text in "[a-cXÅßﬃべガ一9_.= ]{0,40}", from in 0_usize..40, len in 1_usize..12,
    ) {
        let store = open(&sim(), 1 << 20).unwrap();
        put(&store, &[&text, "another"]);
        store.seal(false).unwrap();
        let snapshot = store.snapshot();
        let chunk = &snapshot.chunks()[0];
        let folded = fold(&text).into_owned();
        let part: String = folded.chars().skip(from).take(len).collect();
        for run in crate::base::split::letter_runs(&part) {
            proptest::prop_assert!(chunk.may_hold(&Key::Letters(run.to_owned())).unwrap(), "{run}");
        }
        for token in crate::base::split::tokens(&folded) {
            let key = Key::Token(token.to_owned());
            proptest::prop_assert!(chunk.may_hold(&key).unwrap(), "{token}");
        }
    }
}

#[test]
fn a_full_live_part_is_sealed_by_itself() {
    let disk = sim();
    let store = open(&disk, 10_000).unwrap();
    for n in 0..200 {
        put(&store, &[&format!("line {n}")]);
    }
    store.seal(false).unwrap();
    assert!(store.status().segments > 3, "{:?}", store.status());
    assert_eq!(messages(&store).len(), 200);
}

#[test]
fn a_full_disk_is_said_and_heals() {
    let disk = sim();
    let store = open(&disk, 1 << 20).unwrap();
    put(&store, &["before"]);
    let used = (1_u64 << 40) - disk.free_bytes(Path::new("/data")).unwrap();
    for capacity in [0, used, used + 10, used + 40, used + 100] {
        disk.set_capacity(Some(capacity));
        let refused = append(&store, vec![record(&"x".repeat(200))]);
        assert!(matches!(refused, Err(Error::Busy(Refusal::DiskFull))), "{capacity}");
        assert_eq!(store.status().refusing, Some(Refusal::DiskFull));
        assert_eq!(messages(&store)[0], "before", "search goes on");
        assert!(matches!(store.seal(false), Err(Error::Busy(Refusal::DiskFull))));
        disk.set_capacity(None);
        assert_eq!(store.status().refusing, None);
        put(&store, &["healed"]);
    }
    assert!(store.seal(false).is_ok());
    let want = ["before", "healed", "healed", "healed", "healed", "healed"];
    assert_eq!(messages(&store), want);
    store.close().unwrap();
    drop(store);
    let store = open(&disk, 1 << 20).unwrap();
    assert_eq!(messages(&store), want);
    assert_eq!(store.snapshot().last_id(), Some(6), "a refused record takes no id");
    assert_eq!(store.status().quarantined, 0);
}

#[test]
fn below_the_floor_nothing_is_accepted() {
    let disk = sim();
    let options = Options { free_floor_bytes: 10_000, ..options(Path::new("/data")) };
    let store = Store::open(options, Arc::new(disk.clone()), ManualClock::new(START)).unwrap();
    put(&store, &["one"]);
    disk.set_capacity(Some(9_000));
    let refused = append(&store, vec![record("two")]);
    assert!(matches!(refused, Err(Error::Busy(Refusal::DiskFull))));
    assert_eq!(store.status().refusing, Some(Refusal::DiskFull));
    disk.set_capacity(None);
    put(&store, &["two"]);
    assert_eq!(messages(&store), ["one", "two"]);
}

#[test]
fn when_sealing_cannot_go_on_appends_are_refused_not_kept_waiting() {
    let disk = sim();
    let store = open(&disk, 3_000).unwrap();
    put(&store, &["first"]);
    disk.set_capacity(Some(20_000));
    let mut refused = false;
    for _ in 0..500 {
        refused |= append(&store, vec![record(&"y".repeat(50))]).is_err();
        if refused {
            break;
        }
    }
    assert!(refused);
    disk.set_capacity(None);
    store.seal(false).unwrap();
    put(&store, &["last"]);
    assert_eq!(messages(&store).last().unwrap(), "last");
}

#[test]
fn a_failed_sync_poisons_until_reopened() {
    let disk = sim();
    let store = open(&disk, 1 << 20).unwrap();
    put(&store, &["acked"]);
    disk.fail_sync(1);
    assert!(matches!(append(&store, vec![record("unknown")]), Err(Error::Poisoned)));
    assert!(matches!(append(&store, vec![record("later")]), Err(Error::Poisoned)));
    assert!(matches!(store.seal(false), Err(Error::Poisoned)));
    assert!(store.status().poisoned);
    assert_eq!(messages(&store), ["acked"], "search goes on");
    assert!(matches!(store.close(), Err(Error::Poisoned)));
    drop(store);
    let store = open(&disk, 1 << 20).unwrap();
    assert_eq!(messages(&store)[0], "acked");
    put(&store, &["again"]);
}

#[test]
fn sources_are_counted_over_all_parts_and_restarts() {
    let disk = sim();
    let store = open(&disk, 1 << 20).unwrap();
    put(&store, &["one", "bad two"]);
    store.seal(false).unwrap();
    let at = Timestamp(START.0 + 5_000_000);
    append(&store, vec![record_at("three", at)]).unwrap();
    let want = Source {
        host: "web-1".into(),
        app: "shop".into(),
        first: START,
        last: at,
        records: 3,
        bytes: 15,
        defects: 1,
    };
    assert_eq!(store.sources(), std::slice::from_ref(&want));
    store.seal(false).unwrap();
    store.close().unwrap();
    drop(store);
    disk.remove(Path::new("/data/catalog")).unwrap();
    assert_eq!(open(&disk, 1 << 20).unwrap().sources(), [want]);
}

#[test]
fn sources_beyond_the_bound_are_counted_together() {
    let mut sources = Sources::default();
    for n in 0..SOURCES_MAX + 7 {
        sources.count(&Record { host: format!("h{n}").into(), ..record("x") });
    }
    let listed = sources.list();
    assert_eq!(listed.len(), SOURCES_MAX + 1);
    assert_eq!(listed.iter().find(|s| &*s.host == "(other)").unwrap().records, 7);
    for n in 0..9 {
        let (host, app) = ("(other)".into(), format!("a{n}").into());
        sources.count(&Record { host, app, ..record("x") });
    }
    assert_eq!(sources.list().len(), SOURCES_MAX + 1, "whoever calls itself so is not excepted");
}

#[test]
fn a_lost_or_damaged_catalogue_is_made_anew() {
    for damage in [false, true] {
        let disk = sim();
        let store = open(&disk, 1 << 20).unwrap();
        for text in ["one", "two", "three"] {
            put(&store, &[text]);
            store.seal(false).unwrap();
        }
        put(&store, &["live"]);
        store.close().unwrap();
        drop(store);
        let path = Path::new("/data/catalog");
        if damage {
            disk.flip(path, 300);
        } else {
            disk.remove(path).unwrap();
        }
        let store = open(&disk, 1 << 20).unwrap();
        assert_eq!(messages(&store), ["one", "two", "three", "live"]);
        put(&store, &["next"]);
        assert_eq!(store.snapshot().last_id(), Some(5));
        assert_eq!(store.seal(false).unwrap(), 4);
        store.close().unwrap();
        drop(store);
        assert_eq!(messages(&open(&disk, 1 << 20).unwrap()).len(), 5);
    }
}

#[test]
fn a_missing_segment_costs_itself_only() {
    let disk = sim();
    let store = open(&disk, 1 << 20).unwrap();
    for text in ["one", "two", "three"] {
        put(&store, &[text]);
        store.seal(false).unwrap();
    }
    store.close().unwrap();
    drop(store);
    disk.remove(Path::new(&names(&disk, ".seg")[1])).unwrap();
    let store = open(&disk, 1 << 20).unwrap();
    assert_eq!(messages(&store), ["one", "three"]);
    assert_eq!(store.sources()[0].records, 2);
    put(&store, &["four"]);
    assert_eq!(store.snapshot().last_id(), Some(4));
}

#[test]
fn another_format_is_refused_untouched() {
    let disk = sim();
    drop(open(&disk, 1 << 20).unwrap());
    disk.replace(Path::new("/data/VERSION"), b"shirabe data format 1\n").unwrap();
    let refused = open(&disk, 1 << 20).map(drop);
    assert!(matches!(refused, Err(Error::Version { got: 1, want: 0, .. })), "{refused:?}");
}

#[test]
fn a_segment_of_another_format_is_refused_untouched() {
    let disk = sim();
    let store = open(&disk, 1 << 20).unwrap();
    put(&store, &["one"]);
    store.seal(false).unwrap();
    store.close().unwrap();
    drop(store);
    disk.remove(Path::new("/data/catalog")).unwrap();
    let path = names(&disk, ".seg").remove(0);
    disk.flip(Path::new(&path), 8 * segment::MAGIC.len());
    let refused = open(&disk, 1 << 20).map(drop);
    assert!(matches!(refused, Err(Error::Version { got: 1, want: 0, .. })), "{refused:?}");
    assert_eq!(names(&disk, ".seg"), std::slice::from_ref(&path));
    disk.flip(Path::new(&path), 8 * segment::MAGIC.len());
    assert_eq!(messages(&open(&disk, 1 << 20).unwrap()), ["one"]);
}

#[test]
fn what_the_log_gave_back_for_a_missing_segment_is_there_after_the_next_start_too() {
    let disk = sim();
    let store = open(&disk, 1 << 20).unwrap();
    put(&store, &["one"]);
    let log = names(&disk, "/log/").remove(0);
    let logged = disk.read(Path::new(&log)).unwrap();
    store.seal(false).unwrap();
    put(&store, &["two"]);
    store.seal(false).unwrap();
    put(&store, &["three"]);
    store.close().unwrap();
    drop(store);
    // As after a crash between the catalogue and the end of the log file.
    disk.replace(Path::new(&log), &logged).unwrap();
    disk.remove(Path::new(&names(&disk, ".seg")[0])).unwrap();
    for start in 0..3 {
        let store = open(&disk, 1 << 20).unwrap();
        let mut found = messages(&store);
        found.sort_unstable();
        assert_eq!(found, ["one", "three", "two"], "start {start}");
        if start == 1 {
            store.seal(false).unwrap();
        }
        store.close().unwrap();
    }
}

/// Sum of the fixed widths of the table under a heading of `FORMAT.md`, and the table's text.
fn table(heading: &str) -> (usize, &'static str) {
    let text = include_str!("FORMAT.md").split(&format!("### {heading}\n")).nth(1).unwrap();
    let table = text.trim_start().split("\n\n").next().unwrap();
    let width = |row: &str| row.split('|').nth(1)?.trim().parse::<usize>().ok();
    (table.lines().filter_map(width).sum(), table)
}

#[test]
fn the_format_document_says_what_the_constants_say() {
    let magic = |bytes: [u8; 8]| format!("`{}`", std::str::from_utf8(&bytes).unwrap());
    for (heading, bytes, magic, version) in [
        ("Log header", log::HEADER_BYTES, magic(log::MAGIC), Some(log::VERSION)),
        ("Log entry", log::ENTRY_HEADER_BYTES, "`entr`".to_owned(), None),
        ("Segment header", segment::HEADER_BYTES, magic(segment::MAGIC), Some(segment::VERSION)),
        ("Segment trailer", segment::TRAILER_BYTES, magic(segment::END_MAGIC), None),
        ("Catalogue header", catalog::HEADER_BYTES, magic(catalog::MAGIC), Some(catalog::VERSION)),
    ] {
        let (width, text) = table(heading);
        assert_eq!(width, bytes, "{heading}");
        assert!(text.contains(&magic), "{heading}: {magic}");
        assert!(version.is_none_or(|v| text.contains(&format!("version {v}"))), "{heading}");
    }
    let disk = sim();
    let store = open(&disk, 1 << 20).unwrap();
    put(&store, &["x"]);
    let log = disk.read(Path::new(&names(&disk, ".log")[0])).unwrap();
    assert_eq!(log[..12], *b"SHIRALOG\0\0\0\0");
    assert_eq!(log[24..28], log::ENTRY_MARK);
    assert_eq!(log[28..32], u32::try_from(log.len() - 24 - 28).unwrap().to_le_bytes());
    assert_eq!(log[32..44], [1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
    store.seal(false).unwrap();
    let file = disk.read(Path::new(&names(&disk, ".seg")[0])).unwrap();
    let end = file.len() - segment::TRAILER_BYTES;
    let footer_len = u32::from_le_bytes(file[end..end + 4].try_into().unwrap()) as usize;
    assert_eq!(footer_len, 8 + 14 + 32 + 8 + 4 + 40 + 4 + 4 * 24, "one chunk, four sections");
    assert_eq!(file[end - footer_len + 12..][..10], *b"2026-03-01");
    let version = disk.read(Path::new("/data/VERSION")).unwrap();
    let layout = open::LAYOUT_VERSION;
    assert_eq!(version, format!("shirabe data format {layout}\n").as_bytes());
}

/// Reads everything; damage is an error, never a panic, never another record.
fn read_all(store: &Store, known: &BTreeMap<u64, String>) -> bool {
    let mut damaged = false;
    for chunk in store.snapshot().chunks() {
        for key in [Key::Letters("line".into()), Key::Token("abcdef123456".into())] {
            drop(chunk.may_hold(&key));
        }
        let read = chunk.rows().and_then(|rows| {
            (0..rows.meta().rows).map(|row| rows.record(row)).collect::<Result<Vec<_>>>()
        });
        match read {
            Ok(records) => {
                for record in records {
                    assert_eq!(known.get(&record.id).map(String::as_str), Some(record.message()));
                }
            }
            Err(error) => {
                damaged = true;
                chunk.distrust(&error);
            }
        }
    }
    damaged
}

#[test]
fn a_flipped_bit_anywhere_is_never_a_wrong_answer() {
    let disk = sim();
    let store = open(&disk, 1 << 20).unwrap();
    let texts: Vec<String> = (0..40).map(|n| format!("line {n} id=abcdef1234{n}")).collect();
    let known: BTreeMap<u64, String> = (1..).zip(texts.clone()).collect();
    for half in texts.chunks(20) {
        put(&store, &half.iter().map(String::as_str).collect::<Vec<_>>());
        store.seal(false).unwrap();
    }
    let more = ["live one", "live two"];
    put(&store, &more);
    let mut known = known;
    known.extend((41..).zip(more.map(str::to_owned)));
    store.close().unwrap();
    drop(store);
    let (mut quarantined, mut tried) = (0, 0);
    for path in disk.paths() {
        let bits = disk.read(&path).unwrap().len() * 8;
        for bit in (0..bits).step_by((bits / 60).max(1)) {
            let copy = disk.after_crash(Faults::default());
            copy.flip(&path, bit);
            tried += 1;
            let store = match open(&copy, 1 << 20) {
                Ok(store) => store,
                Err(error) => {
                    assert!(matches!(error, Error::Version { .. }), "{path:?} {bit}: {error}");
                    continue;
                }
            };
            if read_all(&store, &known) {
                // The sealer looks at what was distrusted; a seal may come before or after.
                store.seal(false).unwrap();
                while store.status().quarantined == 0 {
                    std::thread::yield_now();
                }
                assert!(!read_all(&store, &known), "{path:?} {bit}");
            }
            quarantined += store.status().quarantined;
            put(&store, &["after"]);
            assert!(store.snapshot().last_id().unwrap() > 42, "{path:?} {bit}");
        }
    }
    assert!(tried > 200 && quarantined > 50, "{tried} {quarantined}");
}

/// What was told to the senders of one run, and what may be found after it.
#[derive(Clone, Debug, Default)]
struct Model {
    acked: BTreeMap<String, u64>,
    unknown: BTreeSet<String>,
    /// Every id that was ever seen, with what it was.
    seen: BTreeMap<u64, String>,
}

impl Model {
    fn check(&mut self, store: &Store, what: &str) {
        let all = all(&store.snapshot());
        let mut found = BTreeMap::new();
        for (id, text) in all {
            assert!(found.insert(text.clone(), id).is_none(), "{what}: {text} is there twice");
            assert!(
                self.acked.contains_key(&text) || self.unknown.contains(&text),
                "{what}: {text} was refused"
            );
            let before = self.seen.insert(id, text.clone());
            assert!(before.is_none_or(|b| b == text), "{what}: id {id} was given twice");
        }
        for (text, id) in &self.acked {
            assert_eq!(found.get(text), Some(id), "{what}: {text} was acked");
        }
        // What has been seen once stays.
        for text in found.keys() {
            if self.unknown.remove(text) {
                self.acked.insert(text.clone(), found[text]);
            }
        }
    }

    /// One run of a small server's life; ends where the disk dies.
    fn live(&mut self, store: &Arc<Store>, run: u64) {
        for n in 0..12 {
            let texts: Vec<String> = (0..=n % 3).map(|k| format!("r{run} b{n} k{k}")).collect();
            let records = texts.iter().map(|t| record(t)).collect();
            match append(store, records) {
                Ok(()) => {
                    let visible: BTreeMap<String, u64> =
                        all(&store.snapshot()).into_iter().map(|(id, text)| (text, id)).collect();
                    for text in texts {
                        let id = visible[&text];
                        assert!(self.seen.insert(id, text.clone()).is_none(), "id {id} again");
                        self.acked.insert(text, id);
                    }
                }
                Err(Error::Busy(_)) => {}
                Err(_) => self.unknown.extend(texts),
            }
            if n % 4 == 3 {
                drop(store.seal(false));
            }
        }
    }
}

#[test]
fn a_crash_at_any_sync_loses_nothing_acked_and_doubles_nothing() {
    // How many syncs one life has.
    let disk = sim();
    let store = open(&disk, 2_000).unwrap();
    Model::default().live(&store, 0);
    store.close().unwrap();
    let syncs = disk.syncs();
    drop(store);
    assert!(syncs > 30, "{syncs}");
    for seed in 0..4 {
        for crash in 1..=syncs {
            crash_and_go_on(seed, crash);
        }
    }
}

/// A life that ends at the `crash`-th sync, another that ends soon after its start, a last one.
fn crash_and_go_on(seed: u64, crash: u64) {
    let what = format!("seed {seed}, crash at sync {crash}");
    let mut model = Model::default();
    let mut disk = SimDisk::new(Faults { seed, crash_at_sync: Some(crash), ..Faults::default() });
    for run in 0..3 {
        match open(&disk, 2_000) {
            Ok(store) => {
                if run > 0 {
                    model.check_unless_dead(&store, &disk, &what);
                }
                model.live(&store, run);
                drop(store.close());
            }
            Err(error) => assert!(disk.crashed(), "{what}: {error}"),
        }
        let next = (run == 0).then_some(seed * 7 + crash % 23 + 1);
        let faults = Faults { seed: seed ^ crash << 8, crash_at_sync: next, ..Faults::default() };
        disk = disk.after_crash(faults);
    }
    let store = open(&disk, 2_000).unwrap();
    model.check(&store, &what);
    // A torn entry of full length looks like a damaged one: a copy is kept. Nothing else is.
    let aside = names(&disk, "/quarantine/");
    assert!(aside.iter().all(|name| name.contains(".log.from-")), "{what}: {aside:?}");
}

impl Model {
    /// A store on a disk that has died since cannot read its segments.
    fn check_unless_dead(&mut self, store: &Store, disk: &SimDisk, what: &str) {
        if !disk.crashed() {
            self.check(store, what);
        }
    }
}

#[test]
fn a_failing_step_without_a_crash_loses_nothing_either() {
    for n in 1..40 {
        let disk = sim();
        let mut model = Model::default();
        let store = open(&disk, 2_000).unwrap();
        disk.fail_sync(n);
        model.live(&store, 0);
        drop(store.close());
        drop(store);
        let store =
            open(&disk.after_crash(Faults { seed: n, ..Faults::default() }), 2_000).unwrap();
        model.check(&store, &format!("failure of sync {n}"));
    }
}

#[test]
fn a_killed_process_leaves_a_directory_that_opens() {
    let dir = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let clock = || Arc::new(SystemClock::new());
    let store = Store::open(options(dir.path()), Arc::new(SystemDisk), clock()).unwrap();
    let count = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let n = count.fetch_add(1, Ordering::Relaxed);
                    put(&store, &[&format!("record {n}")]);
                }
            });
        }
        scope.spawn(|| store.seal(false).unwrap());
    });
    // What a kill leaves is what the files hold now: the copy has no owner and was never closed.
    for entry in ["log", "segments", "catalog", "VERSION"] {
        copy_all(&dir.path().join(entry), &copy.path().join(entry));
    }
    let again = Store::open(options(copy.path()), Arc::new(SystemDisk), clock()).unwrap();
    assert_eq!(messages(&again), messages(&store));
    assert_eq!(messages(&again).len(), 100);
}

fn copy_all(from: &Path, to: &Path) {
    let disk = SystemDisk;
    let entries = disk.list(from.parent().unwrap()).unwrap();
    let name = from.file_name().unwrap().to_string_lossy().into_owned();
    let Some(entry) = entries.into_iter().find(|e| e.name == name) else { return };
    if entry.is_dir {
        disk.create_dir_all(to).unwrap();
        for inner in disk.list(from).unwrap() {
            copy_all(&from.join(&inner.name), &to.join(&inner.name));
        }
    } else {
        disk.replace(to, &disk.read(from).unwrap()).unwrap();
    }
}
