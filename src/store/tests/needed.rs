//! Every sync is needed: without it, a crash loses or doubles something, and the tests see it.
//!
//! Each site of a sync (what for, and which kind of file) is taken out in turn; the lives of `crash`
//! and the few below must then go wrong for one of their crashes. A site that nothing needs is a cost
//! without a use, or a promise that no test holds us to: both are to be mended, not listed here.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::crash::{crash_and_go_on, live, opened};
use super::told::listed;
use super::*;

/// Sites that do without, and why they are there all the same.
const FREE: &[(&str, &str)] = &[
    (
        "sync /data/VERSION.tmp",
        "made anew where it does not read; `replace` is the catalogue's too",
    ),
    ("truncate /data/manifest", "what comes back is passed over; `truncate` is the log's too"),
];

/// What may go wrong without a sync, by a crash at the n-th of those that are left.
type Life = fn(&str, u64) -> Result<Went, String>;

/// How a life went that nothing is wrong with.
struct Went {
    /// Syncs up to the crash, or to the end.
    syncs: u64,
    /// Every sync that there was.
    sites: BTreeSet<String>,
    /// Crashes soon after a sync that was left out, the others being as good without it.
    near: Vec<u64>,
}

/// Crashes at the next syncs after each that was left out.
fn near(disk: &SimDisk) -> Vec<u64> {
    let near = disk.passed().into_iter().flat_map(|passed| passed + 1..=passed + 3);
    near.collect::<BTreeSet<u64>>().into_iter().collect()
}

/// A crash that does not come.
const NEVER: u64 = 1 << 40;

fn without(site: &str, crash: u64) -> SimDisk {
    let disk =
        SimDisk::new(Faults { seed: crash, crash_at_sync: Some(crash), ..Faults::default() });
    disk.ignore(site);
    disk
}

/// A usual life, killed or without power at a sync.
fn usual(site: &str, crash: u64) -> Result<Went, String> {
    let disk = without(site, crash);
    let mut sites = crash_and_go_on(&disk, Leaves::Nothing, crash, crash)?.sites();
    let disk = without(site, crash);
    sites.extend(crash_and_go_on(&disk, Leaves::All, crash, crash)?.sites());
    Ok(Went { syncs: disk.syncs(), sites, near: near(&disk) })
}

/// A second run, on what the first left in good order, ends without power at a sync.
fn later(site: &str, crash: u64) -> Result<Went, String> {
    let disk = without(site, NEVER);
    let mut told = Told::default();
    live(&disk, &mut told, 0)?;
    let faults = Faults { seed: crash, crash_at_sync: Some(crash), ..Faults::default() };
    let disk = disk.after(Leaves::All, faults);
    live(&disk, &mut told, 1)?;
    let (syncs, near) = (disk.syncs(), near(&disk));
    let disk = disk.after(Leaves::Nothing, Faults::default());
    live(&disk, &mut told, 2)?;
    Ok(Went { syncs, sites: disk.sites(), near })
}

/// A second run is killed at a sync, and soon after the next start the power is lost.
fn killed(site: &str, crash: u64) -> Result<Went, String> {
    let disk = without(site, NEVER);
    let mut told = Told::default();
    live(&disk, &mut told, 0)?;
    let (crash, soon) = (crash.div_ceil(SOON), crash % SOON + 1);
    let faults = |at| Faults { seed: crash, crash_at_sync: Some(at), ..Faults::default() };
    let disk = disk.after(Leaves::All, faults(crash));
    live(&disk, &mut told, 1)?;
    let syncs = disk.syncs() * SOON;
    let near = near(&disk).into_iter().flat_map(|at| (at - 1) * SOON + 1..=at * SOON).collect();
    let disk = disk.after(Leaves::All, faults(soon));
    live(&disk, &mut told, 2)?;
    let disk = disk.after(Leaves::Nothing, Faults::default());
    live(&disk, &mut told, 3)?;
    Ok(Went { syncs, sites: disk.sites(), near })
}

/// The first run is killed at a sync; what the second shows, or takes, must outlive a loss of power.
fn begun(site: &str, crash: u64) -> Result<Went, String> {
    let (first, variant) = (crash.div_ceil(VARIANTS), crash % VARIANTS);
    let disk =
        SimDisk::new(Faults { seed: crash, crash_at_sync: Some(first), ..Faults::default() });
    disk.ignore(site);
    let mut told = Told::default();
    live(&disk, &mut told, 0)?;
    let syncs = disk.syncs() * VARIANTS;
    // Wherever it was: what counts is what the second run does.
    let of = |variant| (1..=syncs).filter(move |crash| crash % VARIANTS == variant);
    let near = (0..VARIANTS).flat_map(of).collect();
    let disk = disk.after(Leaves::All, Faults::default());
    if variant % 2 == 0 {
        told.check(&*opened(&disk, &told).map_err(|error| error.to_string())?)?;
    } else {
        live(&disk, &mut told, 1)?;
    }
    let disk = disk.after(Leaves::Nothing, Faults::default());
    live(&disk, &mut told, 2)?;
    Ok(Went { syncs, sites: disk.sites(), near })
}

/// A copy of the files alone, without the directories that nothing stands in, is started on.
fn copied(site: &str, crash: u64) -> Result<Went, String> {
    let disk = without(site, NEVER);
    let mut told = Told::default();
    live(&disk, &mut told, 0)?;
    let store = opened(&disk, &told).map_err(|error| error.to_string())?;
    store.seal(false).map_err(|error| error.to_string())?;
    drop(store);
    for name in ["log", "quarantine"] {
        let dir = Path::new("/data").join(name);
        assert_eq!(names(&disk, &format!("/{name}/")), [""; 0]);
        disk.remove_dir(&dir);
    }
    let faults = Faults { seed: crash, crash_at_sync: Some(crash), ..Faults::default() };
    let disk = disk.after(Leaves::All, faults);
    if let Ok(store) = opened(&disk, &told) {
        told.append(&store, vec![record("into what was made anew")])?;
    }
    let (syncs, near) = (disk.syncs(), near(&disk));
    let disk = disk.after(Leaves::Nothing, Faults::default());
    live(&disk, &mut told, 1)?;
    Ok(Went { syncs, sites: disk.sites(), near })
}

/// With and without more records, and each with two ways in which a sync is cut short.
const VARIANTS: u64 = 4;

/// Within so many syncs.
const SOON: u64 = 12;

/// A sync fails once, and is made up for before the power is lost.
fn failing(site: &str, n: u64) -> Result<Went, String> {
    let disk = without(site, NEVER);
    let mut told = Told::default();
    drop(opened(&disk, &told).map_err(|error| error.to_string())?);
    disk.fail_sync(n);
    match live(&disk, &mut told, 0) {
        Err(what) if what.contains("does not open") => {}
        went => went?,
    }
    let (syncs, near) = (disk.syncs(), near(&disk));
    let disk = disk.after(Leaves::Nothing, Faults::default());
    live(&disk, &mut told, 1)?;
    Ok(Went { syncs, sites: disk.sites(), near })
}

/// A batch of several log entries that does not fit: it is refused, and does not come back.
fn refused(site: &str, crash: u64) -> Result<Went, String> {
    let disk = without(site, crash);
    let mut told = Told::default();
    if let Ok(store) = opened(&disk, &told) {
        let long = "x".repeat(LOG_ENTRY_BYTES);
        for n in 0..2 {
            told.append(&store, vec![record(&format!("before {n}"))])?;
            let used = disk.paths().into_iter().filter_map(|path| disk.read(&path).ok());
            let used: usize = used.map(|bytes| bytes.len()).sum();
            disk.set_capacity(Some((used + LOG_ENTRY_BYTES * 3 / 2) as u64));
            let big = (0..2).map(|k| record(&format!("{n} {k} {long}")));
            told.append(&store, big.collect())?;
            disk.set_capacity(None);
        }
        drop(store.close());
    }
    let (syncs, near) = (disk.syncs(), near(&disk));
    let disk = disk.after(Leaves::Nothing, Faults::default());
    let store = opened(&disk, &told).map_err(|error| error.to_string())?;
    told.check(&store)?;
    Ok(Went { syncs, sites: disk.sites(), near })
}

/// A damaged segment is set aside: its bytes are never nowhere.
fn set_aside(site: &str, crash: u64) -> Result<Went, String> {
    let disk = without(site, NEVER);
    let store = opened(&disk, &Told::default()).map_err(|error| error.to_string())?;
    put(&store, &["one two three"]);
    store.seal(false).map_err(|error| error.to_string())?;
    store.close().map_err(|error| error.to_string())?;
    drop(store);
    let path = names(&disk, ".seg").remove(0);
    for byte in 0..1_000 {
        disk.flip(Path::new(&path), 8 * (16 + byte * 8));
    }
    let bytes = disk.read(Path::new(&path)).map_err(|error| error.to_string())?;
    let disk = disk.after(
        Leaves::All,
        Faults { seed: crash, crash_at_sync: Some(crash), ..Faults::default() },
    );
    if let Ok(store) = opened(&disk, &Told::default()) {
        drop(listed(&store));
        // Sealing comes after looking.
        drop(store.seal(false));
        drop(append(&store, vec![record("more")]));
        drop(store.seal(false));
        drop(store.close());
    }
    if !disk.crashed() && names(&disk, "/quarantine/").is_empty() {
        return Err("it is not set aside".to_owned());
    }
    let (syncs, near) = (disk.syncs(), near(&disk));
    let disk = disk.after(Leaves::Nothing, Faults::default());
    let kept = disk.paths().iter().any(|path| disk.read(path).is_ok_and(|b| b == bytes));
    if !kept {
        return Err("what was damaged is nowhere".to_owned());
    }
    Ok(Went { syncs, sites: disk.sites(), near })
}

/// `SITE=` tries one site alone.
#[test]
fn every_sync_is_missed_when_it_is_taken_out() {
    let lives: [Life; 8] = [set_aside, copied, refused, later, failing, usual, begun, killed];
    let mut sites: BTreeSet<String> =
        lives.iter().flat_map(|life| life("none", NEVER).unwrap().sites).collect();
    for (free, _) in FREE {
        assert!(sites.remove(*free), "{free} is no site any more");
    }
    let only = std::env::var("SITE").ok();
    let tried = sites.into_iter().filter(|site| only.as_ref().is_none_or(|only| only == site));
    let unmissed: Vec<String> = tried.filter(|site| !is_missed(&lives, site)).collect();
    assert_eq!(unmissed, [] as [&str; 0]);
}

/// The lives that are tried in `needed` only go well with all syncs in place.
#[test]
fn a_refused_batch_and_a_damaged_segment_survive_every_crash() {
    for life in [refused as Life, set_aside, copied, failing, later] {
        let end = life("none", NEVER).unwrap().syncs;
        for crash in (1..=end).step_by(if every() { 1 } else { 5 }) {
            assert_eq!(life("none", crash).err(), None, "crash {crash} of {end}");
        }
    }
}

/// Does any crash show that this sync is not there? First those lives that end without one, then
/// crashes soon after it should have been.
fn is_missed(lives: &[Life], site: &str) -> bool {
    let went = |life: &Life, crash| match catch_unwind(AssertUnwindSafe(|| life(site, crash))) {
        Ok(Ok(went)) => Some(went.near),
        _ => None,
    };
    let mut near = Vec::new();
    for (n, life) in lives.iter().enumerate() {
        let Some(crashes) = went(life, NEVER) else {
            println!("{site}: missed at the end of life {n}");
            return true;
        };
        near.extend(crashes.into_iter().map(|crash| (n, life, crash)));
    }
    let many = near.len();
    for (n, life, crash) in near {
        if went(life, crash).is_none() {
            println!("{site}: missed by crash {crash} of life {n}");
            return true;
        }
    }
    println!("{site}: not missed by {many} crashes");
    false
}
