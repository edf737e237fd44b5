//! A disk that is full or fails: said, survived, healed.

use super::crash::{dying, live, opened, syncs_of_a_life};
use super::*;
use crate::base::sim::Leaves;

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
    let options = Options { storage: floor(10_000), ..options(Path::new("/data")) };
    let store = Store::open(options, Arc::new(disk.clone()), ManualClock::new(START)).unwrap();
    put(&store, &["one"]);
    disk.set_capacity(Some(9_000));
    let refused = append(&store, vec![record("two")]);
    let Err(Error::Busy(below @ Refusal::BelowFloor { free, floor: 10_000 })) = refused else {
        panic!("{refused:?}")
    };
    assert!(free < 9_000 && free > 5_000, "{free}");
    assert_eq!(below.to_string(), "8.4 KiB free on the disk, less than storage.min_free (9.7 KiB)");
    assert_eq!(store.status().refusing, Some(below));
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
fn a_server_starts_on_a_full_disk_whatever_a_crash_left_there() {
    let mut started = 0;
    for crash in (1..=syncs_of_a_life()).step_by(if every() { 1 } else { 3 }) {
        let all = [Leaves::Nothing, Leaves::Some, Leaves::All];
        let leaves = all[usize::try_from(crash).unwrap() % 3];
        let disk = dying(crash, crash);
        let mut told = Told::default();
        live(&disk, &mut told, 0).unwrap();
        let disk = disk.after(leaves, Faults { seed: crash, ..Faults::default() });
        if names(&disk, "/data/catalog").is_empty() {
            continue; // It was never a whole directory.
        }
        let what = format!("crash at sync {crash}, leaves {leaves:?}");
        if crash % 4 == 1 {
            disk.remove(Path::new("/data/manifest")).unwrap();
        }
        disk.set_capacity(Some(0));
        let store = opened(&disk, &told).unwrap_or_else(|error| panic!("{what}: {error}"));
        started += 1;
        assert_eq!(told.check(&store), Ok(()), "{what}: search goes on");
        let refused = append(&store, vec![record("refused")]);
        assert!(matches!(refused, Err(Error::Busy(Refusal::DiskFull))), "{what}: {refused:?}");
        if crash.is_multiple_of(2) {
            // Another start, as little room as before.
            store.close().unwrap();
            drop(store);
            let store = opened(&disk, &told).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(told.check(&store), Ok(()), "{what}: after another start");
            heals(&disk, &mut told, &store, &what);
        } else {
            heals(&disk, &mut told, &store, &what);
        }
    }
    assert!(started > 8, "{started}");
}

/// With room again it takes records, seals them, and has them after a restart.
fn heals(disk: &SimDisk, told: &mut Told, store: &Store, what: &str) {
    disk.set_capacity(None);
    assert_eq!(told.append(store, vec![record("healed")]), Ok(()), "{what}");
    store.seal(true).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(told.check(store), Ok(()), "{what}");
    store.close().unwrap();
    let after = disk.after(Leaves::Nothing, Faults::default());
    let store = opened(&after, told).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(told.check(&store), Ok(()), "{what}: after the next start");
}
