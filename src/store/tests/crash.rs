//! A machine that dies at any step: what was acked is there, once, under its id. And every sync of
//! the store is needed for that: without it, one of these crashes shows.

use super::*;
use crate::config::{Keep, Retention};

/// A class of its own for the hosts `web-*`, so that segments interleave.
fn web() -> Vec<Retention> {
    vec![Retention {
        name: "web".to_owned(),
        hosts: vec!["web-*".to_owned()],
        apps: Vec::new(),
        severities: None,
        keep: Keep::Forever,
    }]
}

pub(super) fn opened(disk: &SimDisk, told: &Told) -> Result<Arc<Store>> {
    let options = Options {
        live_bytes_max: 2_000,
        retention: web(),
        on_commit: told.hook(),
        ..options(Path::new("/data"))
    };
    Store::open(options, Arc::new(disk.clone()), ManualClock::new(START))
}

/// One run of a small server's life; ends early where the disk dies.
pub(super) fn live(disk: &SimDisk, told: &mut Told, run: u64) -> Result<(), String> {
    let store = match opened(disk, told) {
        Ok(store) => store,
        Err(_) if disk.crashed() => return Ok(()),
        Err(error) => return Err(format!("run {run} does not open: {error}")),
    };
    let checked = told.check(&store);
    // A store on a disk that has died since cannot read its segments.
    if !disk.crashed() {
        checked?;
    }
    for n in 0..12 {
        let at = Timestamp(START.0 + i64::try_from(run / 2).unwrap() * DAY_NS);
        let record = |k: u64| Record {
            host: if (n + k).is_multiple_of(2) { "web-1" } else { "db-1" }.into(),
            ..record_at(&format!("r{run} b{n} k{k}"), at)
        };
        told.append(&store, (0..=n % 3).map(record).collect())?;
        if n % 4 == 3 {
            drop(store.seal(n == 7));
        }
    }
    drop(store.close());
    Ok(())
}

/// How many syncs one life has.
pub(super) fn syncs_of_a_life() -> u64 {
    let disk = sim();
    live(&disk, &mut Told::default(), 0).unwrap();
    disk.syncs()
}

/// A life that ends at the `crash`-th sync; the next one, on what that leaves, ends with a loss of
/// power soon after its start; then a last look.
pub(super) fn crash_and_go_on(
    disk: &SimDisk,
    leaves: Leaves,
    crash: u64,
    seed: u64,
) -> Result<SimDisk, String> {
    let mut told = Told::default();
    live(disk, &mut told, 0)?;
    let next = Faults { seed, crash_at_sync: Some(crash % 17 + 1), ..Faults::default() };
    let disk = disk.after(leaves, next);
    live(&disk, &mut told, 1)?;
    let leaves = if leaves == Leaves::Some { Leaves::Some } else { Leaves::Nothing };
    let disk = disk.after(leaves, Faults { seed: seed + 1, ..Faults::default() });
    live(&disk, &mut told, 2)?;
    let store = opened(&disk, &told).map_err(|error| error.to_string())?;
    told.check(&store)?;
    // A torn entry of full length looks like a damaged one: a copy is kept. Nothing else is.
    let aside = names(&disk, "/quarantine/");
    let torn = |name: &String| leaves == Leaves::Some && name.contains(".log.from-");
    if aside.iter().all(torn) { Ok(disk) } else { Err(format!("set aside: {aside:?}")) }
}

pub(super) fn dying(seed: u64, crash: u64) -> SimDisk {
    SimDisk::new(Faults { seed, crash_at_sync: Some(crash), ..Faults::default() })
}

#[test]
fn a_crash_at_any_sync_loses_nothing_acked_and_doubles_nothing() {
    let syncs = syncs_of_a_life();
    assert!(syncs > 40, "{syncs}");
    for crash in (1..=syncs).step_by(if every() { 1 } else { 2 }) {
        let seeds = if every() { 0..8 } else { crash % 8..crash % 8 + 1 };
        for seed in seeds {
            let all = [Leaves::Nothing, Leaves::Some, Leaves::All];
            let some = all[usize::try_from(seed + crash / 8).unwrap() % 3];
            for leaves in all.into_iter().filter(|leaves| every() || *leaves == some) {
                let went = crash_and_go_on(&dying(seed, crash), leaves, crash, seed);
                assert_eq!(
                    went.err(),
                    None,
                    "seed {seed}, crash at sync {crash}, leaves {leaves:?}"
                );
            }
        }
    }
}

#[test]
fn a_failing_sync_without_a_crash_loses_nothing_either() {
    for n in (1..=syncs_of_a_life()).step_by(if every() { 1 } else { 4 }) {
        let disk = SimDisk::new(Faults { seed: n, ..Faults::default() });
        let mut told = Told::default();
        drop(opened(&disk, &told).unwrap());
        disk.fail_sync(n);
        let went = match live(&disk, &mut told, 0) {
            Err(what) if what.contains("does not open") => Ok(()),
            went => went,
        };
        let went = went.and_then(|()| {
            let disk = disk.after(Leaves::Nothing, Faults::default());
            live(&disk, &mut told, 1)
        });
        assert_eq!(went, Ok(()), "failure of sync {n}");
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
