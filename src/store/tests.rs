//! The store behind its public door, on a disk that fails on demand and on a real one: what the
//! tests share. Each file below is one noun.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use super::*;
use crate::base::fold::fold;
use crate::base::limits::{LOG_ENTRY_BYTES, MERGE_FAN, SOURCES_MAX};
use crate::base::machine::{SystemClock, SystemDisk};
use crate::base::record::{Defect, Defects, Line, Via};
use crate::base::sim::{Faults, Leaves, ManualClock, SimDisk};
use crate::base::time::Timestamp;
use crate::base::value::{Field, Value};

mod classes;
mod crash;
mod damage;
mod format;
mod full;
mod life;
mod merging;
mod model;
mod needed;
mod pruning;
mod retention;
mod told;
mod verifying;

use told::Told;

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

fn floor(min_free_bytes: u64) -> Storage {
    Storage { min_free_bytes, ..Storage::default() }
}

fn options(dir: &Path) -> Options {
    Options {
        data_dir: dir.to_owned(),
        live_bytes_max: 1 << 20,
        storage: floor(0),
        retention: Vec::new(),
        on_commit: Box::new(|_| {}),
        metrics: Arc::default(),
    }
}

fn open(disk: &SimDisk, live_bytes_max: usize) -> Result<Arc<Store>> {
    let options = Options { live_bytes_max, ..options(Path::new("/data")) };
    Store::open(options, Arc::new(disk.clone()), ManualClock::new(START))
}

/// Is this the long run (`tests/run --full`)? The usual one takes a share of the faults.
fn every() -> bool {
    std::env::var("NEXTEST_PROFILE").is_ok_and(|profile| profile == "full")
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
