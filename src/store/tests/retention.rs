//! Retention: what goes for its age, its room, a full disk; and what must not.

use std::time::Duration;

use super::*;
use crate::base::metrics::Counter;
use crate::config::{Keep, OnFull};
use crate::store::manifest::{self, Kind};

const DAY: Duration = Duration::from_hours(24);

/// Host `web-*` is kept for so many days; of the rest `default` says.
fn rules(web: Keep, default: Option<Keep>) -> Vec<Retention> {
    let rule = |name: &str, hosts: &[&str], keep| Retention {
        name: name.to_owned(),
        hosts: hosts.iter().map(|t| (*t).to_owned()).collect(),
        apps: Vec::new(),
        severities: None,
        keep,
    };
    let default = default.map(|keep| rule("default", &[], keep));
    [rule("web", &["web-*"], web)].into_iter().chain(default).collect()
}

struct Kept {
    disk: SimDisk,
    clock: Arc<ManualClock>,
    metrics: Arc<Metrics>,
    storage: Storage,
    retention: Vec<Retention>,
}

impl Kept {
    fn new(storage: Storage, retention: Vec<Retention>) -> Self {
        let clock = ManualClock::new(START);
        Self { disk: sim(), clock, metrics: Arc::default(), storage, retention }
    }

    fn open(&self) -> Arc<Store> {
        let options = Options {
            storage: self.storage,
            retention: self.retention.clone(),
            metrics: Arc::clone(&self.metrics),
            ..options(Path::new("/data"))
        };
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        Store::open(options, Arc::new(self.disk.clone()), clock).unwrap()
    }

    fn dropped(&self, reason: &str) -> u64 {
        let each = self.metrics.each(Counter::RetentionRecords).into_iter();
        each.filter(|(labels, _)| labels[0] == reason).map(|(_, n)| n).sum()
    }
}

/// A segment of each of two classes, of the day so many days after the start.
fn put_day(store: &Store, day: i64) {
    let at = Timestamp(START.0 + day * DAY_NS);
    let of = |host: &str| Record { host: host.into(), ..record_at(&format!("{host} {day}"), at) };
    append(store, vec![of("web-1"), of("db-1")]).unwrap();
    store.seal(false).unwrap();
}

/// Messages in the order of ids.
fn texts(store: &Store) -> Vec<String> {
    let snapshot = store.snapshot();
    snapshot.in_order(0, u64::MAX).map(|record| record.unwrap().message().to_owned()).collect()
}

/// Lets other threads work for a moment.
fn pause() {
    let (_tell, told) = mpsc::channel::<()>();
    assert!(told.recv_timeout(Duration::from_millis(5)).is_err());
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if is_so() {
            return;
        }
        pause();
    }
    panic!("{what}");
}

#[test]
fn each_class_goes_when_its_days_are_over() {
    let kept = Kept::new(floor(0), rules(Keep::Days(2), Some(Keep::Days(5))));
    let store = kept.open();
    for day in 0..4 {
        put_day(&store, day);
        if day < 3 {
            kept.clock.advance(DAY);
        }
    }
    // On day 3 of web day 0 is over.
    let want = ["db-1 0", "web-1 1", "db-1 1", "web-1 2", "db-1 2", "web-1 3", "db-1 3"];
    until("day 0", || texts(&store).len() == 7);
    assert_eq!(texts(&store), want);
    assert_eq!((kept.dropped("age"), kept.dropped("size")), (1, 0));
    store.close().unwrap();
    drop(store);
    // The rule of web is gone: what it took is kept as the default.
    kept.clock.advance(DAY);
    let again = Kept { retention: rules(Keep::Days(1), Some(Keep::Days(3))).split_off(1), ..kept };
    let store = again.open();
    until("the default", || texts(&store).len() == 6);
    assert_eq!(texts(&store), want[1..]);
    assert_eq!(store.sources().iter().map(|s| s.records).sum::<u64>(), 6);
    put(&store, &["next"]);
    assert_eq!(store.snapshot().last_id(), Some(9), "ids go on");
}

#[test]
fn what_was_dropped_while_a_reader_held_it_goes_with_the_next_start() {
    let kept = Kept::new(floor(0), rules(Keep::Days(2), Some(Keep::Days(5))));
    let store = kept.open();
    put_day(&store, 0);
    let before = store.snapshot();
    // Merged while it is held, and what it is in is dropped while that is held too.
    let at = |host: &str| Record { host: host.into(), ..record_at(host, START) };
    append(&store, vec![at("web-2")]).unwrap();
    store.seal(true).unwrap();
    let merged = store.snapshot();
    kept.clock.advance(3 * DAY);
    put_day(&store, 3);
    until("day 0 of web", || !texts(&store).contains(&"web-1 0".to_owned()));
    assert_eq!(before.in_order(0, u64::MAX).count(), 2);
    assert_eq!(merged.in_order(0, u64::MAX).count(), 3);
    assert_eq!(names(&kept.disk, "/web/").len(), 3, "merged, what it is in, day 3");
    // The server is killed.
    let want = texts(&store);
    let disk = kept.disk.after(Leaves::All, Faults::default());
    let next = Kept { disk, ..kept };
    let store = next.open();
    assert_eq!(texts(&store), want);
    assert_eq!(names(&next.disk, "/web/").len(), 1);
    assert_eq!(names(&next.disk, "/quarantine/"), [""; 0]);
}

#[test]
fn without_a_limit_nothing_ever_goes() {
    let kept = Kept::new(floor(0), rules(Keep::Forever, None));
    let store = kept.open();
    put_day(&store, 0);
    kept.clock.set(Timestamp(START.0 + 40_000 * DAY_NS));
    put_day(&store, 40_000);
    store.close().unwrap();
    drop(store);
    let store = kept.open();
    put_day(&store, 40_000);
    assert_eq!(texts(&store).len(), 6);
}

#[test]
fn a_limit_of_size_takes_the_oldest_and_the_manifest_says_so() {
    let kept = Kept::new(floor(0), rules(Keep::Forever, Some(Keep::Days(900))));
    let store = kept.open();
    for day in 0..20 {
        put_day(&store, day);
        kept.clock.advance(DAY);
    }
    assert_eq!(texts(&store).len(), 40);
    let max = store.status().segment_bytes * 3 / 4;
    store.close().unwrap();
    drop(store);
    let kept = Kept { storage: Storage { max_bytes: Some(max), ..floor(0) }, ..kept };
    let store = kept.open();
    put_day(&store, 20);
    until("the limit", || {
        let status = store.status();
        status.segment_bytes + status.log_bytes <= max
    });
    let left = texts(&store);
    assert_eq!(left.iter().filter(|text| text.starts_with("web")).count(), 21, "for ever");
    let db: Vec<&String> = left.iter().filter(|text| text.starts_with("db")).collect();
    assert_eq!(kept.dropped("size"), 21 - db.len() as u64);
    assert!((5..16).contains(&db.len()), "{db:?}");
    assert!(db[0].ends_with(&format!(" {}", 21 - db.len())), "the newest are left: {db:?}");
    store.close().unwrap();
    drop(store);
    let file = kept.disk.open(Path::new("/data/manifest")).unwrap();
    let (head, _) = manifest::start(&*file, "manifest").unwrap();
    let mut gone = 0;
    let each = &mut |entry: manifest::Entry| {
        if entry.kind == Kind::Dropped {
            gone += entry.removed.iter().map(|stamp| stamp.records).sum::<u64>();
        }
    };
    assert!(manifest::walk(&*file, "manifest", head, each).unwrap().broken.is_none());
    assert_eq!(gone, kept.dropped("size"));
    assert_eq!(texts(&kept.open()), left);
}

#[test]
fn a_clock_that_leaps_a_year_and_back_wipes_nothing() {
    let kept = Kept::new(floor(0), rules(Keep::Days(30), Some(Keep::Days(7))));
    let store = kept.open();
    for day in 0..5 {
        put_day(&store, day);
        kept.clock.advance(DAY);
    }
    // Ahead, with records, over a restart, and back.
    kept.clock.set(Timestamp(START.0 + 370 * DAY_NS));
    put_day(&store, 370);
    until("the doubt", || store.status().clock_doubted);
    store.close().unwrap();
    drop(store);
    let store = kept.open();
    until("the doubt after a restart", || store.status().clock_doubted);
    put_day(&store, 370);
    assert_eq!(texts(&store).len(), 14);
    kept.clock.set(Timestamp(START.0 + 5 * DAY_NS));
    put_day(&store, 5);
    until("the end of the doubt", || !store.status().clock_doubted);
    assert_eq!((texts(&store).len(), kept.dropped("age")), (16, 0));
    // Fallen back to 1970, and right again: what came then is as old as what came before.
    kept.clock.set(Timestamp(1_000_000_000));
    put_day(&store, -20_513);
    kept.clock.set(Timestamp(START.0 + 5 * DAY_NS));
    put_day(&store, 5);
    store.close().unwrap();
    drop(store);
    let store = kept.open();
    put_day(&store, 5);
    assert_eq!((texts(&store).len(), kept.dropped("age")), (22, 0));
}

#[test]
fn on_a_full_disk_the_oldest_goes_where_that_is_wanted() {
    for wanted in [false, true] {
        let on_full = if wanted { OnFull::DropOldest } else { OnFull::Refuse };
        let min_free_bytes = 100 << 20;
        let kept = Kept::new(
            Storage { min_free_bytes, on_full, max_bytes: None },
            rules(Keep::Forever, None),
        );
        let store = kept.open();
        for day in 0..10 {
            put_day(&store, day);
        }
        // What is merged in the background is other bytes while they are counted.
        store.seal(true).unwrap();
        until("what was merged, and its log, is gone", || {
            let files = (names(&kept.disk, ".seg").len(), names(&kept.disk, ".log").len());
            files == (store.status().segments, 0)
        });
        let len = |path| kept.disk.read(path).unwrap().len() as u64;
        let used: u64 = kept.disk.paths().iter().map(|path| len(path)).sum();
        // Less than two segments are missing.
        kept.disk.set_capacity(Some(used + min_free_bytes - 3_000));
        let refused = append(&store, vec![record("new")]);
        let below = match refused {
            Err(Error::Busy(below @ Refusal::BelowFloor { .. })) => Some(below),
            // Room was made before it was asked for: whoever does that looks now and then.
            Ok(()) if wanted => None,
            other => panic!("{other:?}"),
        };
        if wanted {
            until("room", || append(&store, vec![record("new")]).is_ok());
            assert_eq!(store.status().refusing, None);
            assert!((1..=10).contains(&kept.dropped("disk-full")), "{}", kept.dropped("disk-full"));
            let left = texts(&store);
            assert_eq!(left.iter().filter(|text| text.starts_with("web")).count(), 10);
            assert_eq!(left.last().unwrap(), "new");
        } else {
            assert_eq!(store.status().refusing, below);
            (0..10).for_each(|_| pause());
            assert_eq!((texts(&store).len(), kept.dropped("disk-full")), (20, 0));
            kept.disk.set_capacity(None);
            put(&store, &["new"]);
        }
    }
}

#[test]
fn what_a_reader_holds_stays_until_it_lets_go() {
    let kept = Kept::new(floor(0), rules(Keep::Days(1), Some(Keep::Days(1))));
    let store = kept.open();
    put_day(&store, 0);
    let before = store.snapshot();
    kept.clock.advance(DAY);
    put_day(&store, 1);
    kept.clock.advance(DAY);
    put_day(&store, 2);
    until("day 0", || texts(&store).len() == 4);
    assert_eq!(all(&before).len(), 2, "a snapshot does not change");
    drop(before);
    until("its files", || names(&kept.disk, "/2026-03-01/").is_empty());
}

#[test]
fn what_is_live_is_sealed_when_its_day_is_over() {
    let kept = Kept::new(floor(0), rules(Keep::Days(1), None));
    let store = kept.open();
    put(&store, &["quiet"]);
    store.close().unwrap();
    drop(store);
    kept.clock.advance(DAY);
    let store = kept.open();
    until("the seal", || store.status().segments == 1);
    assert_eq!(texts(&store), ["quiet"]);
    store.close().unwrap();
    drop(store);
    kept.clock.advance(DAY);
    let store = kept.open();
    until("the end", || texts(&store).is_empty());
}
