//! Classes: segments of their own whose ids interleave, through restarts and losses.

use super::*;
use crate::config::Keep;
use crate::config::Retention;

/// Two classes whose ids alternate; host `web-*` is one of them.
fn open_with_classes(disk: &SimDisk, live_bytes_max: usize) -> Result<Arc<Store>> {
    let web = Retention {
        name: "web".to_owned(),
        hosts: vec!["web-*".to_owned()],
        apps: Vec::new(),
        severities: None,
        keep: Keep::Forever,
    };
    let options = Options { live_bytes_max, retention: vec![web], ..options(Path::new("/data")) };
    Store::open(options, Arc::new(disk.clone()), ManualClock::new(START))
}

fn put_alternating(store: &Store, ids: std::ops::Range<u64>) {
    let host = |n: u64| if n.is_multiple_of(2) { "web-1" } else { "db-1" };
    let each = ids.map(|n| Record { host: host(n).into(), ..record(&n.to_string()) });
    append(store, each.collect()).unwrap();
}

fn numbers(ids: std::ops::Range<u64>) -> Vec<(u64, String)> {
    ids.map(|n| (n, n.to_string())).collect()
}

/// All that is visible, by walking and one by one.
fn walked(store: &Store) -> Vec<(u64, String)> {
    let snapshot = store.snapshot();
    let all: Vec<_> = snapshot.in_order(0, u64::MAX).map(Result::unwrap).collect();
    for record in &all {
        assert_eq!(snapshot.record(record.id).unwrap().as_ref(), Some(record));
    }
    all.iter().map(|r| (r.id, r.message().to_owned())).collect()
}

#[test]
fn classes_have_segments_of_their_own_and_ids_interleave() {
    let disk = sim();
    let store = open_with_classes(&disk, 1 << 20).unwrap();
    put_alternating(&store, 1..10);
    assert_eq!(store.seal(false).unwrap(), 2);
    put_alternating(&store, 10..13);
    assert_eq!(store.seal(false).unwrap(), 4);
    put_alternating(&store, 13..16);
    assert_eq!(walked(&store), numbers(1..16));
    assert_eq!(store.snapshot().last_id(), Some(15));
    assert_eq!(names(&disk, "/2026-03-01/web/").len(), 2);
    assert_eq!(names(&disk, "/2026-03-01/default/").len(), 2);
    store.close().unwrap();
    drop(store);
    // Rules that are gone: what was written keeps its class.
    let store = open(&disk, 1 << 20).unwrap();
    assert_eq!(walked(&store), numbers(1..16));
    assert_eq!(store.seal(false).unwrap(), 5);
    assert_eq!(names(&disk, "/2026-03-01/default/").len(), 3);
    store.close().unwrap();
    drop(store);
    disk.remove(Path::new("/data/catalog")).unwrap();
    let store = open_with_classes(&disk, 1 << 20).unwrap();
    assert_eq!(walked(&store), numbers(1..16));
    put_alternating(&store, 16..17);
    assert_eq!((store.snapshot().last_id(), store.status().quarantined), (Some(16), 0));
}

#[test]
fn of_two_classes_one_that_is_missing_comes_back_from_the_log_alone() {
    for class in ["web", "default"] {
        let disk = sim();
        let store = open_with_classes(&disk, 1 << 20).unwrap();
        put_alternating(&store, 1..10);
        let log = names(&disk, "/log/").remove(0);
        let logged = disk.read(Path::new(&log)).unwrap();
        store.seal(false).unwrap();
        put_alternating(&store, 10..13);
        store.close().unwrap();
        drop(store);
        // As after a crash between the catalogue and the end of the log file.
        disk.replace(Path::new(&log), &logged).unwrap();
        disk.remove(Path::new(&names(&disk, &format!("/{class}/"))[0])).unwrap();
        for start in 0..3 {
            let store = open_with_classes(&disk, 1 << 20).unwrap();
            assert_eq!(walked(&store), numbers(1..13), "{class} start {start}");
            if start == 1 {
                store.seal(false).unwrap();
            }
            store.close().unwrap();
        }
    }
}

#[test]
fn an_orphan_between_the_ids_of_another_class_is_not_taken_for_kept() {
    let disk = sim();
    let store = open_with_classes(&disk, 1 << 20).unwrap();
    put_alternating(&store, 1..10);
    store.seal(false).unwrap();
    let class = names(&disk, "/web/").remove(0);
    let orphan = disk.read(Path::new(&class)).unwrap();
    store.close().unwrap();
    drop(store);
    // The catalogue loses sight of it, then it is there again.
    disk.remove(Path::new(&class)).unwrap();
    drop(open_with_classes(&disk, 1 << 20).unwrap());
    disk.replace(Path::new(&class), &orphan).unwrap();
    drop(open_with_classes(&disk, 1 << 20).unwrap());
    assert_eq!(names(&disk, "/quarantine/").len(), 1);
    assert_eq!(disk.read(Path::new(&names(&disk, "/quarantine/")[0])).unwrap(), orphan);
}

#[test]
fn classes_are_merged_each_for_itself() {
    let disk = sim();
    let store = open_with_classes(&disk, 1 << 20).unwrap();
    for n in 0..4 {
        put_alternating(&store, 10 * n + 1..10 * n + 11);
        store.seal(false).unwrap();
    }
    let want = walked(&store);
    assert_eq!(want.len(), 40);
    assert_eq!(store.seal(true).unwrap(), 2);
    assert_eq!(walked(&store), want);
    for class in ["web", "default"] {
        assert_eq!(names(&disk, &format!("/2026-03-01/{class}/")).len(), 1);
    }
    // As after a crash that left the inputs, and nobody knows which is which.
    let crashed = disk.after_crash(Faults::default());
    crashed.remove(Path::new("/data/catalog")).unwrap();
    assert_eq!(walked(&open_with_classes(&crashed, 1 << 20).unwrap()), want);
}
