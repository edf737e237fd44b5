//! Which chunks a key rules out: never one that holds it.

use super::*;

#[test]
fn without_its_index_a_segment_is_still_searched() {
    let disk = sim();
    let store = open(&disk, 1 << 20).unwrap();
    put(&store, &["needle in here"]);
    store.seal(false).unwrap();
    let path = names(&disk, ".seg").remove(0);
    let bytes = disk.read(Path::new(&path)).unwrap();
    let index = memchr::memmem::find(&bytes, b"meta.json").unwrap();
    disk.flip(Path::new(&path), (index + 40) * 8);
    let snapshot = store.snapshot();
    let holds = |text: &str| snapshot.chunks()[0].may_hold(&Key::Letters(text.to_owned())).unwrap();
    assert!(holds("needle") && holds("nowhere"), "nothing is pruned");
    assert_eq!(messages(&store), ["needle in here"]);
    assert_eq!(store.status().quarantined, 0);
}

#[test]
fn a_chunk_without_the_word_is_pruned() {
    let store = open(&sim(), 1 << 20).unwrap();
    for text in ["user logged in id=4f5e6d7c8b", "調べ物 done"] {
        put(&store, &[text]);
        store.seal(false).unwrap();
    }
    let snapshot = store.snapshot();
    let cases = [
        (Key::Letters("ogge".into()), [true, false]),
        (Key::Letters(fold("調べ").into()), [false, true]),
        (Key::Letters("shop".into()), [true, true]),
        (Key::Token("id".into()), [true, false]),
        (Key::Token("4f5e6d7c8b".into()), [true, false]),
    ];
    for (key, want) in cases {
        let got: Vec<bool> =
            snapshot.chunks().iter().map(|chunk| chunk.may_hold(&key).unwrap()).collect();
        assert_eq!(got, want, "{key:?}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]

    /// From record to answer, over the codec's words and tokens: no chunk is denied what it holds.
    #[test]
    fn what_a_sealed_record_holds_is_never_denied(
        text in "[a-cXÅßﬃべガ一9_.= ]{0,40}", from in 0_usize..40, len in 1_usize..12,
    ) {
        let store = open(&sim(), 1 << 20).unwrap();
        put(&store, &[&text, "another"]);
        store.seal(false).unwrap();
        let snapshot = store.snapshot();
        let chunk = &snapshot.chunks()[0];
        let folded = fold(&text).into_owned();
        let part: String = folded.chars().skip(from).take(len).collect();
        for run in crate::base::split::letter_runs(&part) {
            proptest::prop_assert!(chunk.may_hold(&Key::Letters(run.to_owned())).unwrap(), "{run}");
        }
        for token in crate::base::split::tokens(&folded) {
            let key = Key::Token(token.to_owned());
            proptest::prop_assert!(chunk.may_hold(&key).unwrap(), "{token}");
        }
    }
}
