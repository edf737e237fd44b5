//! A record's life behind the public door: taken, shown, sealed, found again after a restart.

use super::*;

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
    assert_eq!(store.seal(false).unwrap(), 2);
    assert_eq!(store.seal(false).unwrap(), 2, "nothing is live: nothing to do");
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
    let mut bytes = Vec::new();
    sources.put(&mut bytes);
    assert!(Sources::read(&mut wire::Reader::new(&bytes, "x")).unwrap() == sources);
    let framed = crate::codec::framed(&bytes);
    assert!(framed.len() < bytes.len() / 4, "{} of {}", framed.len(), bytes.len());
    for n in 0..9 {
        let (host, app) = ("(other)".into(), format!("a{n}").into());
        sources.count(&Record { host, app, ..record("x") });
    }
    assert_eq!(sources.list().len(), SOURCES_MAX + 1, "whoever calls itself so is not excepted");
}
