//! Templates that differ in some words only, as one: what varies becomes a slot.
//!
//! A pure choice between [`super::template`]'s finding of templates and its filing of slots: from
//! the keys of templates to the keys that they are filed as. Free text would make a template of
//! every line otherwise. Lines that stay rare are looked at again by how they begin.
//!
//! All work is linear in the bytes of keys, but for a logarithm of the words of a line: hostile
//! texts have very many templates (engine-prototype.md, trap T5).

#![expect(clippy::indexing_slicing, reason = "works on positions that were found just before")]

use std::collections::{HashMap, HashSet};

use super::template::{HOLE, MARK, PLAIN, REST, STAMP, TEMPLATE_ROWS_MIN, WORD};
use crate::base::split::{SLOTS_MAX, is_piece_byte};
use crate::base::stamp::FORMAT_BYTES;

/// A template as it was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    /// Its static text and markers.
    pub(super) key: &'a [u8],
    pub(super) rows: usize,
    /// Is it kept however rare it is?
    pub(super) kept: bool,
}

/// As what a template is filed instead.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) key: Box<[u8]>,
    /// Where its slots come from.
    pub(super) sources: Vec<Source>,
}

/// Where a slot comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A slot of the template that was found.
    Slot(usize),
    /// A word of its text: behind so many slots, so many bytes behind the last of them.
    Word {
        /// Slots before it.
        slots: usize,
        /// Bytes between.
        offset: usize,
        /// Its bytes.
        len: usize,
    },
    /// All that stands behind this, told in the same way.
    Rest {
        /// Slots before it.
        slots: usize,
        /// Bytes between.
        offset: usize,
    },
}

/// Rows that a template of a family should have at least, on average.
const FAMILY_ROWS_MIN: usize = 8;

/// A family of so many templates, or one in so many rows, stays as it is.
const FAMILY_TEMPLATES: usize = 16;
const FAMILY_ROWS_A_TEMPLATE: usize = 256;

/// A family of which so large a part has words as slots already is one for all its templates.
const MOSTLY: usize = 2;

/// Words of a family that become slots at most: a text of which more varies is none.
const WORDS_MAX: usize = 12;

/// Words and slots after which the rest of a rare line is one slot, tried in turn.
const HEADS: [usize; 3] = [7, 4, 2];

/// A piece of a key.
enum Part<'a> {
    Static(&'a [u8]),
    /// A marker with all its bytes.
    Slot(&'a [u8]),
    Hole(&'a [u8]),
}

/// The pieces of a key, in order.
fn parts(key: &[u8]) -> impl Iterator<Item = Part<'_>> {
    let mut rest = key;
    std::iter::from_fn(move || {
        let kind = match rest {
            [] => return None,
            [MARK, kind, ..] => *kind,
            _ => {
                let len = memchr::memchr(MARK, rest).unwrap_or(rest.len());
                let (text, behind) = rest.split_at(len);
                rest = behind;
                return Some(Part::Static(text));
            }
        };
        let len = if kind == STAMP { 2 + FORMAT_BYTES } else { 2 };
        let (marker, behind) = rest.split_at(len.min(rest.len()));
        rest = behind;
        Some(if kind == HOLE { Part::Hole(marker) } else { Part::Slot(marker) })
    })
}

/// The words of a static text that may vary, as offsets; a sign stands on each side of their ends.
fn words(text: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let is_edge = |b: &u8| matches!(b, b'.' | b'-');
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            at += text[at..].iter().position(|b| is_piece_byte(*b))?;
            let run = &text[at..];
            let len = run.iter().position(|b| !is_piece_byte(*b)).unwrap_or(run.len());
            let start = at;
            at += len;
            // The name of a value is no word.
            if matches!(text.get(at), Some(b'=' | b'"')) {
                continue;
            }
            let front = text[start..at].iter().take_while(|b| is_edge(b)).count();
            if front == len {
                continue;
            }
            let back = text[start..at].iter().rev().take_while(|b| is_edge(b)).count();
            return Some((start + front, at - back));
        }
    })
}

/// What stands for any word in a skeleton.
const ANY_WORD: [u8; 2] = [MARK, u8::MAX - 1];

/// The marker of a word that is a slot already, and so of any in its family.
const SLOT_WORD: [u8; 2] = [MARK, WORD];

/// For each template what it is filed as instead, where that is something else.
pub(super) fn change(found: &[Found<'_>]) -> Vec<Option<Change>> {
    let mut changes: Vec<Option<Change>> = Vec::new();
    changes.resize_with(found.len(), || None);
    let mut families: HashMap<Vec<u8>, Vec<usize>, foldhash::fast::RandomState> =
        HashMap::default();
    for (n, template) in found.iter().enumerate() {
        if let Some(skeleton) = skeleton(template.key) {
            families.entry(skeleton).or_default().push(n);
        }
    }
    for members in families.values() {
        merge(found, members, &mut changes);
    }
    for head in HEADS {
        behead(found, head, &mut changes);
    }
    changes
}

/// The key without its words; `None` where nothing may be changed.
fn skeleton(key: &[u8]) -> Option<Vec<u8>> {
    let mut skeleton = Vec::with_capacity(key.len());
    for part in parts(key) {
        match part {
            Part::Hole(_) => return None,
            Part::Slot(marker) if marker == SLOT_WORD => skeleton.extend_from_slice(&ANY_WORD),
            Part::Slot(marker) => skeleton.extend_from_slice(marker),
            Part::Static(text) => {
                let mut at = 0;
                for (start, end) in words(text) {
                    skeleton.extend_from_slice(&text[at..start]);
                    skeleton.extend_from_slice(&ANY_WORD);
                    at = end;
                }
                skeleton.extend_from_slice(&text[at..]);
            }
        }
    }
    Some(skeleton)
}

fn words_of(key: &[u8]) -> Vec<&[u8]> {
    let mut all = Vec::new();
    for part in parts(key) {
        match part {
            Part::Static(text) => all.extend(words(text).map(|(start, end)| &text[start..end])),
            Part::Slot(marker) if marker == SLOT_WORD => all.push(marker),
            Part::Slot(_) | Part::Hole(_) => {}
        }
    }
    all
}

/// Makes slots of the words that vary most among templates of one skeleton, as few as will do.
fn merge(found: &[Found<'_>], members: &[usize], changes: &mut [Option<Change>]) {
    let rows: usize = members.iter().map(|n| found[*n].rows).sum();
    let most = FAMILY_TEMPLATES.max(rows / FAMILY_ROWS_A_TEMPLATE);
    let most = most.min(rows / FAMILY_ROWS_MIN).max(1);
    // Segments that are merged may have made slots of words already, each of others.
    let has_slot = |n: &&usize| found[**n].kept && has_slot_word(found[**n].key);
    let with_slots: usize = members.iter().filter(has_slot).map(|n| found[*n].rows).sum();
    let merged = with_slots > 0;
    let mostly = merged && with_slots * MOSTLY >= rows;
    if !mostly && (members.len() <= most || rows < TEMPLATE_ROWS_MIN) {
        for n in members.iter().filter(has_slot) {
            let key = found[*n].key;
            changes[*n] = slot_words(key, &vec![false; words_of(key).len()]);
        }
        return;
    }
    let lists: Vec<Vec<&[u8]>> = members.iter().map(|n| words_of(found[*n].key)).collect();
    let is_slot = |at: usize| merged && lists.iter().any(|words| words[at] == SLOT_WORD);
    let mut positions: Vec<(usize, usize)> = (0..lists[0].len())
        .map(|at| {
            let different: HashSet<&[u8], foldhash::fast::RandomState> =
                lists.iter().map(|words| words[at]).collect();
            // What is a slot in one of them is one in all.
            (if is_slot(at) { usize::MAX } else { different.len() }, at)
        })
        .filter(|(different, _)| *different > 1)
        .collect();
    positions.sort_unstable_by(|a, b| b.cmp(a));
    let already = positions.iter().take_while(|(different, _)| *different == usize::MAX).count();
    // With so many of them as slots, how many templates are left?
    let left = |slots: usize| {
        let fixed = &positions[slots..];
        let tuples =
            lists.iter().map(|words| fixed.iter().map(|(_, at)| words[*at]).collect::<Vec<_>>());
        tuples.collect::<HashSet<_, foldhash::fast::RandomState>>().len()
    };
    let (mut low, mut high) = (already.max(1), positions.len());
    while low < high {
        let middle = usize::midpoint(low, high);
        if left(middle) <= most {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    if low > WORDS_MAX.max(already) {
        low = already;
    }
    if low == 0 {
        return;
    }
    let mut slotted = vec![false; lists[0].len()];
    positions[..low].iter().for_each(|(_, at)| slotted[*at] = true);
    for n in members {
        changes[*n] = slot_words(found[*n].key, &slotted);
    }
}

fn has_slot_word(key: &[u8]) -> bool {
    parts(key).any(|part| matches!(part, Part::Slot(marker) if marker == SLOT_WORD))
}

/// The template with these of its words as slots.
fn slot_words(key: &[u8], slotted: &[bool]) -> Option<Change> {
    let (mut changed, mut sources) = (Vec::new(), Vec::new());
    let (mut slots, mut word) = (0, 0);
    for part in parts(key) {
        match part {
            Part::Slot(marker) | Part::Hole(marker) => {
                let is_word = marker == SLOT_WORD;
                changed.extend_from_slice(if is_word { &[MARK, PLAIN] } else { marker });
                word += usize::from(is_word);
                sources.push(Source::Slot(slots));
                slots += 1;
            }
            Part::Static(text) => {
                let mut at = 0;
                for (start, end) in words(text) {
                    if slotted[word] {
                        changed.extend_from_slice(&text[at..start]);
                        changed.extend_from_slice(&[MARK, PLAIN]);
                        sources.push(Source::Word { slots, offset: start, len: end - start });
                        at = end;
                    }
                    word += 1;
                }
                changed.extend_from_slice(&text[at..]);
            }
        }
    }
    (sources.len() <= SLOTS_MAX).then(|| Change { key: changed.into(), sources })
}

/// Templates that are still too rare to be kept.
fn rare(found: &[Found<'_>], changes: &[Option<Change>]) -> Vec<usize> {
    let filed = |n: usize| changes[n].as_ref().map_or(found[n].key, |change| &change.key);
    let may_be = |n: &usize| !found[*n].kept && found[*n].rows < TEMPLATE_ROWS_MIN;
    let mut rows: HashMap<&[u8], usize, foldhash::fast::RandomState> = HashMap::default();
    for (n, template) in found.iter().enumerate() {
        // A template of its own, that nothing was changed to, needs no counting.
        if changes[n].is_some() {
            *rows.entry(filed(n)).or_insert(0) += template.rows;
        }
    }
    let is_rare = |n: &usize| {
        let others = if changes[*n].is_some() { 0 } else { found[*n].rows };
        others + rows.get(filed(*n)).copied().unwrap_or(0) < TEMPLATE_ROWS_MIN
    };
    (0..found.len()).filter(may_be).filter(is_rare).collect()
}

/// Files templates that are still rare by how they begin, where some begin alike.
fn behead(found: &[Found<'_>], head: usize, changes: &mut [Option<Change>]) {
    let rare = rare(found, changes);
    let mut beheaded: HashMap<Box<[u8]>, Vec<(usize, Change)>, foldhash::fast::RandomState> =
        HashMap::default();
    for n in rare {
        if let Some(change) = beginning(found[n].key, head) {
            beheaded.entry(change.key.clone()).or_default().push((n, change));
        }
    }
    for group in beheaded.into_values() {
        let rows: usize = group.iter().map(|(n, _)| found[*n].rows).sum();
        if rows >= TEMPLATE_ROWS_MIN {
            for (n, change) in group {
                changes[n] = Some(change);
            }
        }
    }
}

/// The template up to the space behind so many words and slots; the rest is one slot.
fn beginning(key: &[u8], head: usize) -> Option<Change> {
    if parts(key).any(|part| matches!(part, Part::Hole(_))) {
        return None;
    }
    let (mut changed, mut sources) = (Vec::new(), Vec::new());
    let (mut slots, mut units) = (0, 0);
    for part in parts(key) {
        match part {
            Part::Slot(marker) | Part::Hole(marker) => {
                changed.extend_from_slice(marker);
                sources.push(Source::Slot(slots));
                slots += 1;
                units += 1;
            }
            Part::Static(text) => {
                for (at, byte) in text.iter().enumerate() {
                    let ends_word = at > 0 && is_piece_byte(text[at - 1]) && !is_piece_byte(*byte);
                    units += usize::from(ends_word);
                    changed.push(*byte);
                    let last = at + 1 == text.len();
                    if units >= head && *byte == b' ' && !last {
                        changed.extend_from_slice(&[MARK, REST]);
                        sources.push(Source::Rest { slots, offset: at + 1 });
                        return Some(Change { key: changed.into(), sources });
                    }
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys with `#` for a slot, what they are filed as.
    fn changed(keys: &[(&str, usize)]) -> Vec<String> {
        let keys: Vec<(Vec<u8>, usize)> = keys
            .iter()
            .map(|(key, rows)| {
                let key = key.bytes().flat_map(|b| match b {
                    b'#' => vec![MARK, PLAIN],
                    b'@' => vec![MARK, HOLE],
                    b'~' => vec![MARK, WORD],
                    b => vec![b],
                });
                (key.collect(), *rows)
            })
            .collect();
        let found: Vec<Found<'_>> = keys
            .iter()
            .map(|(key, rows)| Found { key, rows: *rows, kept: key.contains(&WORD) })
            .collect();
        let show = |(change, template): (Option<Change>, &Found<'_>)| {
            let key = change.map_or(template.key.into(), |change| change.key);
            let text = key.iter().filter(|b| **b != MARK).map(|b| match *b {
                PLAIN => '#',
                HOLE => '@',
                REST => '*',
                b => char::from(b),
            });
            text.collect()
        };
        change(&found).into_iter().zip(&found).map(show).collect()
    }

    #[test]
    fn words_that_vary_become_slots() {
        let words = ["ape", "bee", "cat", "dog", "elk", "fox", "gnu", "hen"];
        let lines: Vec<String> = words
            .iter()
            .flat_map(|w| [format!("{w} eats # of x"), format!("{w} eats # of y")])
            .collect();
        let keys: Vec<(&str, usize)> = lines.iter().map(|line| (line.as_str(), 1)).collect();
        let changed = changed(&keys);
        for (n, key) in changed.iter().enumerate() {
            assert_eq!(key, ["# eats # of x", "# eats # of y"][n % 2]);
        }
    }

    #[test]
    fn rare_lines_are_filed_by_how_they_begin() {
        let keys = [("a b: c d", 1), ("a b: e", 1), ("a b: f=# g h", 1), ("x", 1), ("a b: @", 1)];
        let all = ["a b: *", "a b: *", "a b: *", "x", "a b: @"];
        assert_eq!(changed(&keys), all);
    }

    #[test]
    fn what_was_a_slot_for_most_is_one_for_all() {
        let keys =
            [("user ann goes # away", 5), ("user ~ goes # away", 9), ("a ~ b", 5), ("a x b", 99)];
        let all = ["user # goes # away", "user # goes # away", "a # b", "a x b"];
        assert_eq!(changed(&keys), all);
    }

    #[test]
    fn templates_with_rows_enough_stay() {
        let keys = [("start # of job", 100), ("stop # of job", 100)];
        assert_eq!(changed(&keys), keys.map(|(key, _)| key.to_owned()));
    }
}
