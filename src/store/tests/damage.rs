//! Files that are missing, of another format, or not what was written.

use super::*;

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
    let (readable, lost) = store.snapshot().readable();
    let texts: Vec<String> = all(&readable).into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["one", "three"]);
    assert_eq!((lost.len(), lost[0].first_id, lost[0].rows), (1, 2, 1), "whoever asks is told");
    assert!(store.snapshot().record(2).is_err());
    assert_eq!((store.status().damaged_records, store.status().records), (1, 2));
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

/// Reads everything; damage is an error, never a panic, never another record.
fn read_all(store: &Store, known: &BTreeMap<u64, String>) -> bool {
    let mut damaged = false;
    for chunk in store.snapshot().readable().0.chunks() {
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
    let (mut quarantined, mut left_out, mut tried) = (0, 0, 0);
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
                assert!(!read_all(&store, &known), "{path:?} {bit}");
                let status = store.status();
                assert!(status.quarantined + status.damaged_records > 0, "{path:?} {bit}");
                left_out += status.damaged_records;
                // The other segment and what is live are served.
                let (readable, lost) = store.snapshot().readable();
                assert!(lost.len() < 2 && all(&readable).len() >= 22, "{path:?} {bit}");
            }
            quarantined += store.status().quarantined;
            put(&store, &["after"]);
            assert!(store.snapshot().last_id().unwrap() > 42, "{path:?} {bit}");
        }
    }
    let counts = (tried, quarantined, left_out);
    assert!(tried > 200 && quarantined > 10 && left_out > 100, "{counts:?}");
}

/// A store with three segments, in the first of which the ids of its only chunk are damaged.
fn with_damage() -> (SimDisk, Arc<Store>) {
    let disk = sim();
    let store = open(&disk, 1 << 20).unwrap();
    for n in 0..3 {
        let texts: Vec<String> = (0..10).map(|k| format!("line {n} {k}")).collect();
        put(&store, &texts.iter().map(String::as_str).collect::<Vec<_>>());
        store.seal(false).unwrap();
    }
    let path = names(&disk, ".seg").remove(0);
    disk.flip(Path::new(&path), 8 * (segment::HEADER_BYTES + 2));
    (disk, store)
}

#[test]
fn a_damaged_chunk_is_left_out_and_the_rest_of_its_segment_is_served() {
    let (disk, store) = with_damage();
    let snapshot = store.snapshot();
    assert!(snapshot.record(3).is_err(), "not known to be gone, nor found");
    assert_eq!(snapshot.record(13).unwrap().unwrap().message(), "line 1 2");
    let walked: Vec<u64> = snapshot.in_order(0, u64::MAX).map(|r| r.unwrap().id).collect();
    assert_eq!(walked, (11..=30).collect::<Vec<_>>());
    let (readable, lost) = snapshot.readable();
    assert_eq!((all(&readable).len(), lost.len(), lost[0].rows), (20, 1, 10));
    let status = store.status();
    assert_eq!((status.quarantined, status.damaged_records, status.segments), (0, 10, 3));
    assert_eq!(names(&disk, ".seg").len(), 3);
}

#[test]
fn without_a_catalogue_a_damaged_segment_is_served_as_before() {
    let (disk, store) = with_damage();
    store.close().unwrap();
    drop(store);
    disk.remove(Path::new("/data/catalog")).unwrap();
    let store = open(&disk, 1 << 20).unwrap();
    assert!(store.snapshot().record(3).is_err());
    assert_eq!(all(&store.snapshot().readable().0).len(), 20);
    assert_eq!((store.status().quarantined, store.status().damaged_records), (0, 10));
}

#[test]
fn a_merge_leaves_a_damaged_segment_as_it_is() {
    let (disk, store) = with_damage();
    let damaged = names(&disk, ".seg").remove(0);
    let before = disk.read(Path::new(&damaged)).unwrap();
    assert_eq!(store.seal(true).unwrap(), 2);
    assert_eq!(disk.read(Path::new(&damaged)).unwrap(), before);
    assert_eq!(all(&store.snapshot().readable().0).len(), 20);
    assert_eq!(store.status().quarantined, 0);
}
