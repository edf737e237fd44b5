//! A machine that dies at any step: what was acked is there, once, under its id.

use super::*;

/// What was told to the senders of one run, and what may be found after it.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) acked: BTreeMap<String, u64>,
    pub(super) unknown: BTreeSet<String>,
    /// Every id that was ever seen, with what it was.
    pub(super) seen: BTreeMap<u64, String>,
}

impl Model {
    pub(super) fn check(&mut self, store: &Store, what: &str) {
        let all = all(&store.snapshot());
        let mut found = BTreeMap::new();
        for (id, text) in all {
            assert!(found.insert(text.clone(), id).is_none(), "{what}: {text} is there twice");
            assert!(
                self.acked.contains_key(&text) || self.unknown.contains(&text),
                "{what}: {text} was refused"
            );
            let before = self.seen.insert(id, text.clone());
            assert!(before.is_none_or(|b| b == text), "{what}: id {id} was given twice");
        }
        for (text, id) in &self.acked {
            assert_eq!(found.get(text), Some(id), "{what}: {text} was acked");
        }
        // What has been seen once stays.
        for text in found.keys() {
            if self.unknown.remove(text) {
                self.acked.insert(text.clone(), found[text]);
            }
        }
    }

    /// One run of a small server's life; ends where the disk dies.
    fn live(&mut self, store: &Arc<Store>, run: u64) {
        for n in 0..12 {
            let texts: Vec<String> = (0..=n % 3).map(|k| format!("r{run} b{n} k{k}")).collect();
            let records = texts.iter().map(|t| record(t)).collect();
            match append(store, records) {
                Ok(()) => {
                    let visible: BTreeMap<String, u64> =
                        all(&store.snapshot()).into_iter().map(|(id, text)| (text, id)).collect();
                    for text in texts {
                        let id = visible[&text];
                        assert!(self.seen.insert(id, text.clone()).is_none(), "id {id} again");
                        self.acked.insert(text, id);
                    }
                }
                Err(Error::Busy(_)) => {}
                Err(_) => self.unknown.extend(texts),
            }
            if n % 4 == 3 {
                drop(store.seal(false));
            }
        }
    }
}

#[test]
fn a_crash_at_any_sync_loses_nothing_acked_and_doubles_nothing() {
    // How many syncs one life has.
    let disk = sim();
    let store = open(&disk, 2_000).unwrap();
    Model::default().live(&store, 0);
    store.close().unwrap();
    let syncs = disk.syncs();
    drop(store);
    assert!(syncs > 30, "{syncs}");
    for crash in 1..=syncs {
        let seeds = if every() { 0..8 } else { crash % 8..crash % 8 + 1 };
        seeds.for_each(|seed| crash_and_go_on(seed, crash));
    }
}

/// A life that ends at the `crash`-th sync, another that ends soon after its start, a last one.
fn crash_and_go_on(seed: u64, crash: u64) {
    let what = format!("seed {seed}, crash at sync {crash}");
    let mut model = Model::default();
    let mut disk = SimDisk::new(Faults { seed, crash_at_sync: Some(crash), ..Faults::default() });
    for run in 0..3 {
        match open(&disk, 2_000) {
            Ok(store) => {
                if run > 0 {
                    model.check_unless_dead(&store, &disk, &what);
                }
                model.live(&store, run);
                drop(store.close());
            }
            Err(error) => assert!(disk.crashed(), "{what}: {error}"),
        }
        let next = (run == 0).then_some(seed * 7 + crash % 23 + 1);
        let faults = Faults { seed: seed ^ crash << 8, crash_at_sync: next, ..Faults::default() };
        disk = disk.after_crash(faults);
    }
    let store = open(&disk, 2_000).unwrap();
    model.check(&store, &what);
    // A torn entry of full length looks like a damaged one: a copy is kept. Nothing else is.
    let aside = names(&disk, "/quarantine/");
    assert!(aside.iter().all(|name| name.contains(".log.from-")), "{what}: {aside:?}");
}

impl Model {
    /// A store on a disk that has died since cannot read its segments.
    pub(super) fn check_unless_dead(&mut self, store: &Store, disk: &SimDisk, what: &str) {
        if !disk.crashed() {
            self.check(store, what);
        }
    }
}

#[test]
fn a_failing_step_without_a_crash_loses_nothing_either() {
    for n in 1..40 {
        let disk = sim();
        let mut model = Model::default();
        let store = open(&disk, 2_000).unwrap();
        disk.fail_sync(n);
        model.live(&store, 0);
        drop(store.close());
        drop(store);
        let store =
            open(&disk.after_crash(Faults { seed: n, ..Faults::default() }), 2_000).unwrap();
        model.check(&store, &format!("failure of sync {n}"));
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
