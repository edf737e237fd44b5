//! Small segments become large ones, and nobody sees any difference.

use super::*;
use crate::base::machine::Clock;
use crate::store::manifest::{self, Kind};

/// Merges of at most so much text.
fn open_bounded(disk: &SimDisk, text: u64) -> Result<Arc<Store>> {
    open_told(disk, text, &Told::default())
}

fn open_told(disk: &SimDisk, text: u64, told: &Told) -> Result<Arc<Store>> {
    let options =
        Options { live_bytes_max: 2_000, on_commit: told.hook(), ..options(Path::new("/data")) };
    let clock: Arc<dyn Clock> = ManualClock::new(START);
    let bounds = Bounds { text, file: 1 << 20 };
    Store::open_bounded(options, Arc::new(disk.clone()), clock, bounds)
}

/// The segments that the manifest says there are, and what its entries are.
pub(super) fn manifest_of(disk: &SimDisk) -> (BTreeSet<u64>, Vec<Kind>) {
    let file = disk.open(Path::new("/data/manifest")).unwrap();
    let (start, _) = manifest::start(&*file, "manifest").unwrap();
    let (mut numbers, mut kinds) = (BTreeSet::new(), Vec::new());
    let walked = manifest::walk(&*file, "manifest", start, &mut |entry| {
        for stamp in entry.removed {
            assert!(numbers.remove(&stamp.number), "{} went and was not there", stamp.number);
        }
        for stamp in entry.added {
            assert!(numbers.insert(stamp.number), "{} came twice", stamp.number);
        }
        kinds.push(entry.kind);
    });
    assert!(walked.unwrap().broken.is_none());
    (numbers, kinds)
}

/// Numbers of the segment files.
fn files(disk: &SimDisk) -> BTreeSet<u64> {
    let name = |path: &String| path.rsplit('/').next()?.strip_suffix(".seg")?.parse().ok();
    names(disk, "/segments/").iter().filter_map(name).collect()
}

#[test]
fn small_segments_become_one_and_ids_stay() {
    let disk = sim();
    let store = open_bounded(&disk, 1 << 20).unwrap();
    for n in 0..5 {
        put(&store, &[&format!("{n} a"), &format!("{n} b")]);
        store.seal(false).unwrap();
    }
    put(&store, &["live"]);
    let before = all(&store.snapshot());
    let shown = store.snapshot();
    let sources = store.sources();
    assert_eq!(store.seal(true).unwrap(), 1);
    assert_eq!(all(&store.snapshot()), before);
    assert_eq!(store.sources(), sources);
    assert_eq!(store.snapshot().record(4).unwrap().unwrap().message(), "1 b");
    // A snapshot of before keeps what it shows, and no more than that keeps it.
    assert_eq!(files(&disk).len(), 6);
    assert_eq!(all(&shown), before);
    drop(shown);
    assert_eq!(files(&disk).len(), 1);
    assert_eq!(
        manifest_of(&disk),
        (files(&disk), [[Kind::Sealed; 6].to_vec(), vec![Kind::Merged]].concat())
    );
    assert_eq!(store.seal(true).unwrap(), 1, "nothing is due");
    store.close().unwrap();
    drop(store);
    let store = open_bounded(&disk, 1 << 20).unwrap();
    assert_eq!(all(&store.snapshot()), before);
    assert_eq!(store.sources(), sources);
}

#[test]
fn many_small_ones_are_merged_by_themselves_and_a_day_that_is_over_too() {
    let disk = sim();
    let store = open_bounded(&disk, 1 << 20).unwrap();
    for n in 0..3 * MERGE_FAN {
        put(&store, &[&format!("line {n}")]);
        store.seal(false).unwrap();
    }
    let wait_for = |most: usize| {
        let mut state = store.shared.state();
        while state.segments.len() > most {
            state = store.shared.wait(state);
        }
    };
    wait_for(MERGE_FAN + 2);
    let next_day = Timestamp(START.0 + DAY_NS);
    append(&store, vec![record_at("next day", next_day)]).unwrap();
    // What was live of the day before was sealed by its end.
    wait_for(1);
    assert_eq!(messages(&store).len(), 3 * MERGE_FAN + 1);
    assert_eq!(store.status().live_records, 1);
}

#[test]
fn a_merged_segment_is_no_larger_than_it_may_be_and_of_one_day() {
    let disk = sim();
    let store = open_bounded(&disk, 1_000).unwrap();
    for day in [0, 0, 0, 0, 1, 1, 1, 1, -30, 2] {
        let at = Timestamp(START.0 + day * DAY_NS);
        append(&store, vec![record_at(&"x".repeat(300), at)]).unwrap();
        store.seal(false).unwrap();
    }
    let before = all(&store.snapshot());
    assert_eq!(store.seal(true).unwrap(), 6);
    assert_eq!(all(&store.snapshot()), before);
}

#[test]
fn a_full_disk_stops_merging_only() {
    let disk = sim();
    let store = open_bounded(&disk, 1 << 20).unwrap();
    for n in 0..3 {
        put(&store, &[&format!("line {n}")]);
        store.seal(false).unwrap();
    }
    let used = (1_u64 << 40) - disk.free_bytes(Path::new("/data")).unwrap();
    for more in [0, 100, 1_000] {
        disk.set_capacity(Some(used + more));
        let refused = store.seal(true);
        assert!(
            refused.is_err_and(|error| error.is_disk_full() || matches!(error, Error::Busy(_)))
        );
        assert_eq!(messages(&store).len(), 3);
    }
    disk.set_capacity(None);
    assert_eq!(store.seal(true).unwrap(), 1);
    assert_eq!(messages(&store).len(), 3);
    assert_eq!(files(&disk).len(), 1);
}

#[test]
fn without_a_catalogue_the_merged_one_is_taken_not_its_inputs() {
    let disk = sim();
    let store = open_bounded(&disk, 1 << 20).unwrap();
    for text in ["one", "two", "three"] {
        put(&store, &[text]);
        store.seal(false).unwrap();
    }
    let shown = store.snapshot();
    store.seal(true).unwrap();
    let want = all(&store.snapshot());
    store.close().unwrap();
    // As after a crash: nobody has removed the inputs.
    let crashed = disk.after_crash(Faults::default());
    drop((shown, store));
    assert_eq!(files(&crashed).len(), 4);
    for lost in [false, true] {
        let disk = crashed.after_crash(Faults::default());
        if lost {
            disk.remove(Path::new("/data/catalog")).unwrap();
        }
        let store = open_bounded(&disk, 1 << 20).unwrap();
        assert_eq!(all(&store.snapshot()), want, "lost: {lost}");
        assert_eq!((files(&disk).len(), store.status().quarantined), (1, 0), "lost: {lost}");
        assert_eq!(manifest_of(&disk).0, files(&disk));
    }
}

/// Seals after every second batch, and waits for merges now and then.
fn live(told: &mut Told, store: &Arc<Store>, run: u64) {
    for n in 0..8 {
        told.append(store, vec![record(&format!("r{run} b{n}"))]).unwrap();
        if n % 2 == 1 {
            drop(store.seal(n % 4 == 3));
        }
    }
}

#[test]
fn a_crash_at_any_instant_of_a_merge_loses_nothing_and_doubles_nothing() {
    let disk = sim();
    let mut told = Told::default();
    let store = open_told(&disk, 1 << 20, &told).unwrap();
    live(&mut told, &store, 0);
    store.close().unwrap();
    assert!(manifest_of(&disk).1.contains(&Kind::Merged));
    let syncs = disk.syncs();
    for crash in (1..=syncs).step_by(if every() { 1 } else { 2 }) {
        for seed in if every() { 0..4 } else { crash % 4..crash % 4 + 1 } {
            let what = format!("seed {seed}, crash at sync {crash}");
            let mut told = Told::default();
            let faults = Faults { seed, crash_at_sync: Some(crash), ..Faults::default() };
            let mut disk = SimDisk::new(faults);
            for run in 0..3 {
                match open_told(&disk, 1 << 20, &told) {
                    Ok(store) => {
                        // A store on a disk that has died since cannot read its segments.
                        let kept = told.check(&store);
                        assert!(disk.crashed() || kept.is_ok(), "{what}: {kept:?}");
                        live(&mut told, &store, run);
                        drop(store.close());
                    }
                    Err(error) => assert!(disk.crashed(), "{what}: {error}"),
                }
                let next = (run == 0).then_some(seed * 5 + crash % 29 + 1);
                let faults =
                    Faults { seed: seed ^ crash << 8, crash_at_sync: next, ..Faults::default() };
                disk = disk.after_crash(faults);
            }
            let store = open_bounded(&disk, 1 << 20).unwrap();
            told.check(&store).expect(&what);
            store.seal(true).unwrap();
            told.check(&store).expect(&what);
            assert_eq!(manifest_of(&disk).0, files(&disk), "{what}");
            let aside = names(&disk, "/quarantine/");
            assert!(aside.iter().all(|name| name.contains(".log.from-")), "{what}: {aside:?}");
        }
    }
}

#[test]
fn a_failing_step_of_a_merge_leaves_everything_as_it_was() {
    for n in (1..40).step_by(if every() { 1 } else { 3 }) {
        let disk = sim();
        let mut told = Told::default();
        let store = open_told(&disk, 1 << 20, &told).unwrap();
        disk.fail_sync(n);
        live(&mut told, &store, 0);
        drop(store.close());
        drop(store);
        let what = format!("failure of sync {n}");
        let disk = disk.after_crash(Faults { seed: n, ..Faults::default() });
        let store = open_bounded(&disk, 1 << 20).unwrap();
        told.check(&store).expect(&what);
        store.seal(true).unwrap();
        told.check(&store).expect(&what);
        assert_eq!(manifest_of(&disk).0, files(&disk), "{what}");
    }
}
