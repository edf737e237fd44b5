//! What `verify` finds: every flipped bit, everything that is missing, swapped or changed.

use super::*;
use crate::store::verify::{Event, Summary, verify};

/// The lines that it tells, and its summary.
fn verified(disk: &SimDisk) -> (Vec<String>, Vec<String>, Summary) {
    let (mut damages, mut notes) = (Vec::new(), Vec::new());
    let summary = verify(disk, Path::new("/data"), &mut |event| match event {
        Event::Damage(damage) => damages.push(damage.to_string()),
        Event::Note(note) => notes.push(note),
        Event::Progress(done, all) => assert!(done <= all),
    });
    (damages, notes, summary.unwrap())
}

/// Two segments, one of them merged of two, and live records in the log.
fn filled() -> SimDisk {
    let disk = sim();
    let store = open(&disk, 1 << 20).unwrap();
    for half in 0..2 {
        let lines: Vec<String> =
            (0..20).map(|n| format!("line {n} of {half} id=abcdef1234{n} done")).collect();
        put(&store, &lines.iter().map(String::as_str).collect::<Vec<_>>());
        store.seal(false).unwrap();
    }
    store.seal(true).unwrap();
    put(&store, &["sealed alone"]);
    store.seal(false).unwrap();
    put(&store, &["live one", "live two"]);
    put(&store, &["live three"]);
    store.close().unwrap();
    disk
}

#[test]
fn what_is_whole_is_found_whole_also_while_it_is_open() {
    let disk = filled();
    let (damages, notes, summary) = verified(&disk);
    assert_eq!((damages, notes), (Vec::new(), Vec::new()));
    assert_eq!((summary.segments, summary.logs, summary.records), (2, 1, 44));
    let store = open(&disk, 1 << 20).unwrap();
    put(&store, &["more"]);
    assert_eq!(verified(&disk).0, [""; 0]);
    store.seal(true).unwrap();
    let (damages, _, summary) = verified(&disk);
    assert_eq!((damages.len(), summary.records), (0, 45));
}

#[test]
fn a_flipped_bit_anywhere_is_found_and_named() {
    let disk = filled();
    let mut tried = 0;
    for path in disk.paths() {
        if path.ends_with("lock") {
            continue;
        }
        let bits = disk.read(&path).unwrap().len() * 8;
        for bit in (0..bits).step_by((bits / 150).max(1)) {
            disk.flip(&path, bit);
            let (damages, _, summary) = verified(&disk);
            let what = format!("{} bit {bit}: {damages:?}", path.display());
            assert!(!damages.is_empty(), "{what}");
            let name = path.display().to_string();
            assert!(damages.iter().any(|damage| damage.contains(&name)), "{what}");
            assert_eq!(summary.damages, damages.len() as u64);
            disk.flip(&path, bit);
            tried += 1;
        }
    }
    assert!(tried > 500, "{tried}");
    assert_eq!(verified(&disk).0, [""; 0], "it was only turned over");
}

#[test]
fn a_missing_swapped_or_changed_segment_is_named_with_what_it_costs() {
    let files = |disk: &SimDisk| names(disk, ".seg");
    let bytes = |disk: &SimDisk, path: &str| disk.read(Path::new(path)).unwrap();

    let disk = filled();
    let merged = files(&disk).iter().max_by_key(|path| bytes(&disk, path).len()).unwrap().clone();
    disk.remove(Path::new(&merged)).unwrap();
    let (damages, _, summary) = verified(&disk);
    let [damage] = &damages[..] else { panic!("{damages:?}") };
    let want = "it is missing; costs 40 records, ids 1 to 40, times 2026-03-01T09:00:00Z to";
    assert!(damage.contains(&merged) && damage.contains(want), "{damage}");
    assert_eq!((summary.lost, summary.records), (40, 4));

    let disk = filled();
    let [a, b] = &files(&disk)[..] else { panic!() };
    let (of_a, of_b) = (bytes(&disk, a), bytes(&disk, b));
    disk.replace(Path::new(a), &of_b).unwrap();
    disk.replace(Path::new(b), &of_a).unwrap();
    let (damages, _, _) = verified(&disk);
    assert_eq!(damages.len(), 2, "{damages:?}");
    assert!(damages.iter().all(|damage| damage.contains("swapped")), "{damages:?}");

    // One that is whole in itself, of the same number, and not what the manifest knows.
    let disk = filled();
    let other = sim();
    let store = open(&other, 1 << 20).unwrap();
    put(&store, &["forged", "too"]);
    store.seal(false).unwrap();
    let forged = bytes(&other, &files(&other)[0]);
    let first = files(&disk)[0].clone();
    disk.replace(Path::new(&first), &forged).unwrap();
    let (damages, _, _) = verified(&disk);
    let [damage] = &damages[..] else { panic!("{damages:?}") };
    assert!(damage.contains("swapped") || damage.contains("changed"), "{damage}");
}

#[test]
fn a_manifest_that_was_cut_or_begun_anew_is_found() {
    let path = Path::new("/data/manifest");
    let disk = filled();
    let whole = disk.read(path).unwrap();
    for len in [0, 10, 48, whole.len() - 1] {
        disk.replace(path, &whole[..len]).unwrap();
        assert!(!verified(&disk).0.is_empty(), "cut at {len}");
    }
    disk.remove(path).unwrap();
    assert!(verified(&disk).0[0].contains("missing"));
    // Somebody else's.
    let other = sim();
    drop(open(&other, 1 << 20).unwrap());
    disk.replace(path, &other.read(path).unwrap()).unwrap();
    assert!(!verified(&disk).0.is_empty());
    disk.replace(path, &whole).unwrap();
    assert!(verified(&disk).0.is_empty());
}

#[test]
fn without_a_catalogue_the_segments_are_read_all_the_same() {
    let disk = filled();
    disk.remove(Path::new("/data/catalog")).unwrap();
    let (damages, _, summary) = verified(&disk);
    assert_eq!(damages.len(), 1, "{damages:?}");
    assert_eq!((summary.segments, summary.records), (2, 44));
}

#[test]
fn half_a_write_at_the_end_of_the_log_is_no_damage() {
    let disk = filled();
    let log = names(&disk, ".log").remove(0);
    let bytes = disk.read(Path::new(&log)).unwrap();
    disk.replace(Path::new(&log), &bytes[..bytes.len() - 3]).unwrap();
    let (damages, notes, summary) = verified(&disk);
    assert_eq!((damages.len(), notes.len(), summary.records), (0, 1, 43), "{damages:?} {notes:?}");
    // What is lost in the middle of a log has its ids.
    let disk = filled();
    disk.flip(Path::new(&log), (log::HEADER_BYTES + log::ENTRY_HEADER_BYTES + 5) * 8);
    let (damages, _, summary) = verified(&disk);
    let [damage] = &damages[..] else { panic!("{damages:?}") };
    assert!(damage.contains("costs 2 records, ids 42 to 43"), "{damage}");
    assert_eq!((summary.lost, summary.records), (2, 42));
}

#[test]
fn nothing_is_verified_where_nothing_is() {
    let disk = sim();
    disk.create_dir_all(Path::new("/data")).unwrap();
    let error = verify(&disk, Path::new("/data"), &mut |_| ());
    assert!(matches!(error, Err(Error::NotFound { .. })), "{error:?}");
}
