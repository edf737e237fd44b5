//! A process killed at random instants while it takes, seals, merges and drops: what it said is
//! durable is there afterwards, once, under its id; what retention dropped does not come back.
//!
//! The child is this test binary again, which serves a store with a live part of some kilobytes and a
//! limit of some hundred, so that seals, merges and drops happen all the time. It tells
//! every commit on its standard output; what it wrote there before the kill is read by the parent.
//!
//! 200 rounds: `SEED=1 cargo nextest run --profile full -E 'test(slow_killed)'` (`ROUNDS=` for more; a
//! kill needs no real disk, and is quicker with `TMPDIR=/dev/shm`).

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};

use shirabe::base::machine::{SystemClock, SystemDisk};
use shirabe::base::record::{Defects, Line, Record, Via};
use shirabe::base::time::Timestamp;
use shirabe::config::{Keep, OnFull, Retention, Storage};
use shirabe::store::{CommitHook, Options, Store};

const DIR: &str = "KILLED_DIR";
const ROUND: &str = "KILLED_ROUND";
/// 2026-03-01T09:00:00Z
const START_NS: i64 = 1_772_355_600_000_000_000;
const DAY_NS: i64 = 86_400_000_000_000;
/// A directory is used for so many rounds, so that looking at all of it stays quick.
const ROUNDS_OF_A_DIRECTORY: u64 = 10;

/// splitmix64.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

fn open(dir: &Path, on_commit: CommitHook) -> Arc<Store> {
    let options = Options {
        data_dir: dir.to_owned(),
        live_bytes_max: 30_000,
        storage: Storage { max_bytes: Some(150_000), min_free_bytes: 0, on_full: OnFull::Refuse },
        retention: vec![Retention {
            name: "kept".to_owned(),
            hosts: vec!["db-*".to_owned()],
            apps: Vec::new(),
            severities: None,
            keep: Keep::Forever,
        }],
        on_commit,
        metrics: Arc::default(),
    };
    Store::open(options, Arc::new(SystemDisk), Arc::new(SystemClock::new())).expect("a store")
}

/// The child; in a usual run of the tests it has nothing to do.
#[test]
fn the_child_of_the_killed_rounds() {
    let (Ok(dir), Ok(round)) = (std::env::var(DIR), std::env::var(ROUND)) else { return };
    let round: u64 = round.parse().expect("a number");
    println!("\nopening");
    let store = open(
        Path::new(&dir),
        Box::new(|batch| {
            let line = |r: &Arc<Record>| format!("committed {} {} {}\n", r.id, r.host, r.message());
            let text: String = batch.iter().map(line).collect();
            std::io::stdout().write_all(text.as_bytes()).expect("the parent reads");
        }),
    );
    println!("open");
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let store = &store;
            scope.spawn(move || send(store, round, thread));
        }
    });
}

/// Batches for ever, each awaited; now and then all is sealed and merged.
fn send(store: &Store, round: u64, thread: u64) {
    let mut dice = Dice(round << 8 | thread);
    for n in 0.. {
        let records = (0..=dice.roll(5)).map(|k| {
            let host = if dice.roll(2) == 0 { "db-1" } else { "web-1" };
            let words: Vec<String> =
                (0..dice.roll(6)).map(|_| format!("{:x}", dice.roll(1 << 40))).collect();
            let text = format!("r{round} t{thread} n{n} k{k} took {}", words.join(" "));
            record(host, &text, START_NS + i64::try_from(round / 4).expect("few") * DAY_NS)
        });
        let (tell, told) = mpsc::channel();
        let records = records.collect();
        store.append(records, Box::new(move |answer| tell.send(answer).expect("it is awaited")));
        told.recv().expect("an answer").expect("kept");
        if n % 64 == 63 {
            store.seal(true).expect("sealed");
        }
    }
}

fn record(host: &str, text: &str, at: i64) -> Record {
    Record {
        id: 0,
        time: Timestamp(at),
        received: Timestamp(at),
        host: host.into(),
        app: "shop".into(),
        severity: None,
        facility: None,
        pid: None,
        line: Line::text(text),
        fields: Vec::new(),
        format: None,
        via: Arc::new(Via {
            format: "lines".into(),
            listener: "test".into(),
            transport: "none".into(),
            peer: "none".into(),
        }),
        tag: None,
        defects: Defects::default(),
    }
}

/// What the children of one directory said, and what was seen of it.
#[derive(Default)]
struct Told {
    /// Everything that has an id: host and text.
    seen: BTreeMap<u64, (String, String)>,
    texts: BTreeSet<String>,
    /// Dropped by retention.
    gone: BTreeSet<u64>,
}

impl Told {
    fn see(&mut self, id: u64, host: &str, text: &str, what: &str) {
        let is_new = self.texts.insert(text.to_owned());
        match self.seen.insert(id, (host.to_owned(), text.to_owned())) {
            Some((_, before)) => assert_eq!(before, text, "{what}: id {id} was given twice"),
            None => assert!(is_new, "{what}: {text:?} is there twice, again as {id}"),
        }
    }

    /// A child that is killed when it has said so many lines.
    fn run_child(&mut self, dir: &Path, round: u64, lines: u64, what: &str) {
        let mut child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", "killed::the_child_of_the_killed_rounds", "--nocapture"])
            .env(DIR, dir)
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this binary again");
        let mut output = BufReader::new(child.stdout.take().expect("its output"));
        let mut line = String::new();
        let mut said = 0;
        loop {
            line.clear();
            // A line that the kill cut off was not said.
            if output.read_line(&mut line).expect("its output") == 0 || !line.ends_with('\n') {
                break;
            }
            let text = line.trim_end_matches('\n');
            if let Some(rest) = text.strip_prefix("committed ") {
                let mut words = rest.splitn(3, ' ');
                let id = words.next().and_then(|id| id.parse().ok()).expect("an id");
                let host = words.next().expect("a host");
                self.see(id, host, words.next().expect("a text"), what);
            } else if text != "opening" && text != "open" {
                continue;
            }
            said += 1;
            if said == lines {
                child.kill().expect("kill");
            }
        }
        let status = child.wait().expect("wait");
        assert!(said >= lines, "{what}: the child ended by itself: {status}");
    }

    /// Opens what the kill left, and looks at all of it.
    fn check(&mut self, dir: &Path, what: &str) {
        let store = open(dir, Box::new(|_| {}));
        let snapshot = store.snapshot();
        let mut found = BTreeMap::new();
        for record in snapshot.in_order(0, u64::MAX) {
            let record = record.unwrap_or_else(|error| panic!("{what}: {error}"));
            let old = found.insert(record.id, record.host.to_string());
            assert!(old.is_none(), "{what}: id {} is there twice", record.id);
            assert!(!self.gone.contains(&record.id), "{what}: {} came back", record.id);
            self.see(record.id, &record.host, record.message(), what);
        }
        // Retention takes the oldest, of one class only.
        let cut = found.iter().find(|(_, host)| *host == "web-1").map_or(u64::MAX, |(id, _)| *id);
        for (id, (host, text)) in &self.seen {
            let is_dropped = host == "web-1" && *id < cut;
            if is_dropped && !found.contains_key(id) {
                self.gone.insert(*id);
            } else {
                assert!(found.contains_key(id), "{what}: {id} {text:?} is lost");
            }
        }
        let status = store.status();
        assert_eq!((status.quarantined, status.poisoned), (0, false), "{what}");
        store.close().expect("a clean end");
    }
}

/// Each child is killed when it has said at most so many lines.
fn rounds(rounds: u64, most: &[u64]) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let rounds = number("ROUNDS").unwrap_or(rounds);
    println!("SEED={seed} ROUNDS={rounds}");
    let mut dice = Dice(seed);
    let (mut dir, mut told) = (tempfile::tempdir().expect("a directory"), Told::default());
    let (mut records, mut dropped) = (0, 0);
    for round in 0..rounds {
        let what = format!("SEED={seed}, round {round}");
        let most = most[usize::try_from(dice.roll(most.len() as u64)).expect("few")];
        told.run_child(dir.path(), round, 1 + dice.roll(most), &what);
        // Every other time the next child finds what the kill left.
        if dice.roll(2) == 0 || round + 1 == rounds {
            told.check(dir.path(), &what);
        }
        if (round + 1) % ROUNDS_OF_A_DIRECTORY == 0 && round + 1 < rounds {
            told.check(dir.path(), &what);
            (records, dropped) = (records + told.seen.len(), dropped + told.gone.len());
            (dir, told) = (tempfile::tempdir().expect("a directory"), Told::default());
        }
    }
    (records, dropped) = (records + told.seen.len(), dropped + told.gone.len());
    println!("{rounds} kills, {records} records, {dropped} of them dropped by retention");
    assert!(rounds < 100 || dropped > 0, "retention had nothing to do");
}

#[test]
fn a_killed_process_loses_nothing_that_it_acknowledged() {
    rounds(3, &[3, 300, 600]);
}

#[test]
fn slow_killed_at_200_instants() {
    rounds(200, &[3, 40, 800, 2_000]);
}
