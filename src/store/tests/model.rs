//! Random lives of a store beside a plain map in memory: the same answers, whatever is sealed, merged,
//! dropped, closed or lost in between. `SEED=` repeats a run, `ROUNDS=` makes more of them.

use super::*;
use crate::base::machine::Clock;
use crate::base::record::Severity;
use crate::base::sim::Dice;
use crate::config::{Keep, Retention, Storage};

const WORDS: &[&str] = &[
    "user",
    "logged",
    "in",
    "from",
    "10.0.0.7",
    "took",
    "ms",
    "調べ",
    "id=4f5e6d7c8b9a",
    "-0",
    "1.50",
    "GET",
    "/a/b",
    "500",
    "\"q\"",
    "",
    "é",
    "x=1",
    "2026-03-01T09:00:00Z",
];

fn pick<'a>(dice: &mut Dice, of: &[&'a str]) -> &'a str {
    of[dice.below(of.len())]
}

fn any_record(dice: &mut Dice, at: Timestamp) -> Record {
    let words: Vec<&str> = (0..dice.below(9)).map(|_| pick(dice, WORDS)).collect();
    let number = dice.roll(1 << 50).to_string();
    let text = [words.join(" "), number].join(pick(dice, &[" ", "=", ""]));
    let field = |name: &str, value| Field { name: name.into(), value };
    let fields = match dice.roll(4) {
        0 => Vec::new(),
        1 => vec![field("n", Value::Int(i64::try_from(dice.roll(9)).unwrap()))],
        2 => vec![field("a.b", Value::str(pick(dice, WORDS))), field("ok", Value::Bool(true))],
        _ => vec![field(pick(dice, WORDS), Value::Float(1.5))],
    };
    let late = i64::try_from(dice.roll(90_000)).unwrap() * 1_000_000_000;
    Record {
        time: Timestamp(at.0 - late),
        host: pick(dice, &["web-1", "web-2", "db-1"]).into(),
        app: pick(dice, &["shop", "-", "調"]).into(),
        severity: Severity::ALL.get(dice.below(12)).copied(),
        pid: (dice.roll(2) == 0).then(|| dice.roll(9).to_string().into()),
        fields,
        ..record_at(&text, at)
    }
}

/// A life in the making.
struct Life {
    dice: Dice,
    disk: SimDisk,
    clock: Arc<ManualClock>,
    storage: Storage,
    store: Option<Arc<Store>>,
    /// What must be there.
    kept: BTreeMap<u64, Record>,
    /// What retention took; its ids are never seen again.
    dropped: BTreeSet<u64>,
    /// Handed in when the machine died.
    unknown: Vec<Record>,
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let max_bytes = (dice.roll(2) == 0).then_some(40_000);
        let storage = Storage { max_bytes, min_free_bytes: 0, ..Storage::default() };
        let disk = SimDisk::new(Faults { seed, ..Faults::default() });
        Self {
            dice,
            disk,
            clock: ManualClock::new(START),
            storage,
            store: None,
            kept: BTreeMap::new(),
            dropped: BTreeSet::new(),
            unknown: Vec::new(),
        }
    }

    /// `None` where the disk dies meanwhile.
    fn open(&self) -> Option<Arc<Store>> {
        let rule = Retention {
            name: "kept".to_owned(),
            hosts: vec!["db-*".to_owned()],
            apps: Vec::new(),
            severities: None,
            keep: Keep::Forever,
        };
        let options = Options {
            live_bytes_max: 8_000,
            storage: self.storage,
            retention: vec![rule],
            ..options(Path::new("/data"))
        };
        let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&self.clock);
        match Store::open(options, Arc::new(self.disk.clone()), clock) {
            Ok(store) => Some(store),
            Err(error) => {
                assert!(self.disk.crashed(), "{error}");
                None
            }
        }
    }

    /// What the machine finds after it died; a few times it dies again while it starts.
    fn restart(&mut self) {
        self.store = None;
        loop {
            let seed = self.dice.roll(u64::MAX);
            let leaves = [Leaves::Nothing, Leaves::Some, Leaves::All][self.dice.below(3)];
            let crash_at_sync = (self.dice.roll(3) == 0).then(|| 1 + self.dice.roll(80));
            self.disk =
                self.disk.after(leaves, Faults { seed, crash_at_sync, ..Faults::default() });
            if let Some(store) = self.open() {
                self.store = Some(store);
                return;
            }
        }
    }

    fn step(&mut self) {
        let Some(store) = self.store.clone() else { return self.restart() };
        match self.dice.roll(16) {
            0..9 => self.append(&store),
            9 => self.clock.advance(std::time::Duration::from_hours(self.dice.roll(30))),
            10 | 11 => drop(store.seal(false)),
            12 => drop(store.seal(true)),
            13 => {
                drop(store.close());
                drop(store);
                self.store = None;
                self.store = self.open();
            }
            14 => {
                self.disk.crash();
                drop(store);
                self.restart();
            }
            _ => self.check(&store),
        }
        if self.disk.crashed() {
            self.restart();
        }
    }

    fn append(&mut self, store: &Store) {
        let at = self.clock.now();
        let batch: Vec<Record> =
            (0..=self.dice.roll(40)).map(|_| any_record(&mut self.dice, at)).collect();
        match append(store, batch.clone()) {
            Ok(()) => {
                let last = store.snapshot().last_id().unwrap();
                for (id, record) in (last + 1 - batch.len() as u64..).zip(batch) {
                    let before = self.kept.insert(id, Record { id, ..record });
                    assert!(before.is_none() && !self.dropped.contains(&id), "id {id} again");
                }
            }
            Err(error) => {
                assert!(self.disk.crashed(), "{error}");
                self.unknown.extend(batch);
            }
        }
    }

    /// Every answer of one snapshot against the map.
    fn check(&mut self, store: &Store) {
        let snapshot = store.snapshot();
        let found: Vec<Result<Arc<Record>>> = snapshot.in_order(0, u64::MAX).collect();
        if self.disk.crashed() {
            return;
        }
        let found: BTreeMap<u64, Arc<Record>> =
            found.into_iter().map(|r| r.unwrap()).map(|r| (r.id, r)).collect();
        self.note_unknown(&found);
        self.note_dropped(&found);
        assert!(found.keys().eq(self.kept.keys()), "{:?}\n{:?}", found.keys(), self.kept.keys());
        for (id, record) in &found {
            assert_eq!(**record, self.kept[id]);
        }
        assert_eq!(snapshot.last_id(), self.kept.keys().last().copied());
        let rows: usize = snapshot.chunks().iter().map(|chunk| chunk.meta().rows).sum();
        assert_eq!(rows, self.kept.len());
        for chunk in snapshot.chunks() {
            let meta = chunk.meta();
            let of = self.kept.range(meta.first_id..=meta.last_id).map(|(_, r)| r.time);
            assert!(of.clone().min() <= Some(meta.min_time) && Some(meta.max_time) <= of.max());
        }
        let end = snapshot.last_id().unwrap_or(0) + 2;
        for _ in 0..8 {
            let id = self.dice.roll(end);
            let one = snapshot.record(id).unwrap();
            assert_eq!(one.as_deref(), self.kept.get(&id), "{id}");
            let (after, to) = (self.dice.roll(end), self.dice.roll(end));
            let walk = snapshot.in_order(after, to).map(|record| record.unwrap().id);
            let want = self.kept.keys().copied().filter(|id| *id > after && *id <= to);
            assert!(walk.eq(want), "from {after} to {to}");
        }
        self.check_sources(store);
    }

    /// What was handed in when the machine died may be there, as a whole batch's beginning.
    fn note_unknown(&mut self, found: &BTreeMap<u64, Arc<Record>>) {
        for (id, record) in found {
            if !self.kept.contains_key(id) {
                assert!(!self.dropped.contains(id), "{id} came back");
                let own = |r: &Record| Record { id: *id, ..r.clone() } == **record;
                let at = self.unknown.iter().position(own);
                self.unknown.remove(at.unwrap_or_else(|| panic!("{id} was never handed in")));
                self.kept.insert(*id, (**record).clone());
            }
        }
        // What did not come by now never will.
        self.unknown.clear();
    }

    /// Retention takes the oldest of one class, and only where it may.
    fn note_dropped(&mut self, found: &BTreeMap<u64, Arc<Record>>) {
        let may_go = |record: &Record| record.host.starts_with("web");
        let cut = found.values().find(|r| may_go(r)).map_or(u64::MAX, |r| r.id);
        if self.storage.max_bytes.is_some() {
            let dropped = &mut self.dropped;
            self.kept.retain(|id, record| {
                let goes = *id < cut && may_go(record) && !found.contains_key(id);
                if goes {
                    dropped.insert(*id);
                }
                !goes
            });
        }
    }

    fn check_sources(&self, store: &Store) {
        let mut counted: BTreeMap<(String, String), (u64, u64)> = BTreeMap::new();
        for record in self.kept.values() {
            let of = (record.host.to_string(), record.app.to_string());
            let count = counted.entry(of).or_default();
            count.0 += 1;
            count.1 += record.line.raw().len() as u64;
        }
        let listed = store.sources().into_iter();
        let listed: BTreeMap<(String, String), (u64, u64)> = listed
            .map(|s| ((s.host.to_string(), s.app.to_string()), (s.records, s.bytes)))
            .collect();
        // Something may be dropped between the two looks.
        if self.storage.max_bytes.is_none() && !self.disk.crashed() {
            assert_eq!(listed, counted);
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn random_lives_answer_as_a_map_in_memory() {
    let seed = number("SEED").unwrap_or_else(|| u64::from(std::process::id()) << 20);
    let rounds = number("ROUNDS").unwrap_or(if every() { 300 } else { 4 });
    for seed in seed..seed + rounds {
        println!("SEED={seed} ROUNDS=1");
        let mut life = Life::new(seed);
        life.store = life.open();
        for _ in 0..60 {
            life.step();
        }
        let store = life.store.clone().unwrap();
        life.check(&store);
    }
}
