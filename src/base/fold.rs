//! Folding: how texts are made alike for search (query.md 1).
//!
//! Each code point by itself to its NFKD form, then simple case folding, nothing reordered, so
//! that `fold(a + b) == fold(a) + fold(b)`: a stored text may be folded piece by piece, and a
//! fragment stands in a text exactly where its folded form stands in the folded text, but for one
//! rule: a match does not end in front of a combining mark (`カ` is not found in `ガ`).
//! Single-quoted terms are not folded.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use unicode_normalization::char::{decompose_compatible, is_combining_mark};

/// The folded text; borrowed where nothing changes.
pub fn fold(text: &str) -> Cow<'_, str> {
    if is_folded_ascii(text) {
        return Cow::Borrowed(text);
    }
    let mut folded = String::with_capacity(text.len());
    fold_into(text, &mut folded);
    Cow::Owned(folded)
}

/// Appends the folded text.
pub fn fold_into(text: &str, folded: &mut String) {
    if text.is_ascii() {
        let start = folded.len();
        folded.push_str(text);
        if let Some(added) = folded.get_mut(start..) {
            added.make_ascii_lowercase();
        }
        return;
    }
    for c in text.chars() {
        fold_char(c, |f| folded.push(f));
    }
}

/// Hands on the folded code points of one code point, in order; there is always at least one.
pub fn fold_char(c: char, mut each: impl FnMut(char)) {
    if c.is_ascii() {
        each(c.to_ascii_lowercase());
    } else if is_fixed(c) {
        each(c);
    } else {
        decompose_compatible(c, |part| each(fold_case(part)));
    }
}

/// Does `c` attach to the character in front of it? No match ends there.
pub fn is_mark(c: char) -> bool {
    !c.is_ascii() && is_combining_mark(c)
}

/// Is it its own folded form, and ASCII? The hot question of a scan.
fn is_folded_ascii(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase())
}

/// Simple case folding by one step up and one down, which reaches the same classes as Unicode's
/// table; the tests hold it against the regex engine's. What has no one-character form stays.
fn fold_case(c: char) -> char {
    match c {
        // No upper case of theirs comes back down to them, or one does that folding keeps apart.
        'ı' => c,
        _ => one(one(c, char::to_uppercase), char::to_lowercase),
    }
}

/// The mapping of `c` where it is a single character.
fn one<I: Iterator<Item = char>>(c: char, map: fn(char) -> I) -> char {
    let mut mapped = map(c);
    match (mapped.next(), mapped.next()) {
        (Some(only), None) => only,
        _ => c,
    }
}

/// One bit a code point of the basic plane: does it fold to itself?
static FIXED: LazyLock<Vec<u64>> = LazyLock::new(|| {
    let fixed = |n: u32| {
        let Some(c) = char::from_u32(n) else { return false };
        let mut same = true;
        decompose_compatible(c, |part| same &= part == c);
        same && fold_case(c) == c
    };
    (0..0x1_0000 / 64)
        .map(|w| (0..64).fold(0, |bits, b| bits | u64::from(fixed(w * 64 + b)) << b))
        .collect()
});

fn is_fixed(c: char) -> bool {
    let n = c as usize;
    FIXED.get(n / 64).is_some_and(|bits| bits >> (n % 64) & 1 == 1)
}

/// A text, its folded form, and the way back from the one to the other.
pub struct Mapped {
    folded: String,
    /// Where each code point starts: in the folded text, in the original. The end stands last.
    /// Empty for ASCII, where both are the same.
    starts: Vec<(usize, usize)>,
}

impl Mapped {
    /// Folds and remembers.
    pub fn new(text: &str) -> Self {
        let mut folded = String::with_capacity(text.len());
        if text.is_ascii() {
            fold_into(text, &mut folded);
            return Self { folded, starts: Vec::new() };
        }
        let mut starts = Vec::with_capacity(text.len() + 1);
        for (at, c) in text.char_indices() {
            starts.push((folded.len(), at));
            fold_char(c, |f| folded.push(f));
        }
        starts.push((folded.len(), text.len()));
        Self { folded, starts }
    }

    /// The folded text.
    pub fn folded(&self) -> &str {
        &self.folded
    }

    /// The bytes of the original whose folded forms make up (or overlap) `range`.
    pub fn original(&self, range: &Range<usize>) -> Range<usize> {
        if self.starts.is_empty() {
            return range.clone();
        }
        let at = |n: usize| self.starts.get(n).map_or(0, |s| s.1);
        let first = self.starts.partition_point(|s| s.0 <= range.start).saturating_sub(1);
        let behind = self.starts.partition_point(|s| s.0 < range.end);
        at(first)..at(behind.min(self.starts.len() - 1))
    }
}

/// Folds many texts with one buffer; texts that are folded already are not copied.
#[derive(Default)]
pub struct Folder {
    buffer: String,
}

impl Folder {
    /// The folded text, until the next call.
    pub fn fold<'a>(&'a mut self, text: &'a str) -> &'a str {
        if is_folded_ascii(text) {
            return text;
        }
        self.buffer.clear();
        fold_into(text, &mut self.buffer);
        &self.buffer
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn folds_case_width_and_compatibility() {
        let check = |text: &str, want: &str| assert_eq!(fold(text), want, "{text}");
        check("Error", "error");
        check("ＡＢＣ１２３", "abc123");
        check("ｶﾞﾗｽ", "カ\u{3099}ラス");
        check("ガラス", "カ\u{3099}ラス");
        check("Σίσυφος", "σι\u{301}συφοσ");
        check("ﬁne", "fine");
        check("ſtraße ẞ", "straße ß");
        check("K", "k");
        check("İı", "i\u{307}ı");
        check("㈱", "(株)");
        check("調べ", "調へ\u{3099}");
    }

    /// The classes of simple case folding, as the regex engine knows them.
    #[test]
    fn classes_are_those_of_simple_case_folding() {
        let cased = regex::Regex::new(r"^\p{Changes_When_Casemapped}$").unwrap();
        let stable = |c: &char| {
            let mut same = true;
            decompose_compatible(*c, |part| same &= part == *c);
            same
        };
        let all: Vec<char> = ('\0'..=char::MAX)
            .filter(|c| c.is_alphabetic() || is_mark(*c) || c.is_uppercase() || c.is_lowercase())
            .filter(stable)
            .filter(|c| cased.is_match(c.encode_utf8(&mut [0; 4])))
            .collect();
        assert!(all.len() > 2_000, "{}", all.len());
        let lines: String = all.iter().flat_map(|c| [*c, '\n']).collect();
        let mut ours: BTreeMap<char, BTreeSet<char>> = BTreeMap::new();
        for c in &all {
            ours.entry(fold_case(*c)).or_default().insert(*c);
        }
        for (folded, class) in &ours {
            let first = class.first().unwrap();
            let same = regex::Regex::new(&format!("(?im)^{first}$")).unwrap();
            let theirs: BTreeSet<char> =
                same.find_iter(&lines).filter_map(|m| m.as_str().chars().next()).collect();
            assert_eq!(class, &theirs, "{folded:?} U+{:04X}", *folded as u32);
        }
    }

    #[test]
    fn folded_text_folds_to_itself() {
        for c in '\0'..=char::MAX {
            let once = fold(c.encode_utf8(&mut [0; 4])).into_owned();
            assert!(!once.is_empty());
            assert_eq!(fold(&once), once, "{c:?} U+{:04X}", c as u32);
        }
    }

    #[test]
    fn ranges_come_back_on_whole_characters() {
        let mapped = Mapped::new("aﬁb ガ");
        assert_eq!(mapped.folded(), "afib カ\u{3099}");
        assert_eq!(mapped.original(&(1..2)), 1..4); // half of the ligature is all of it
        assert_eq!(mapped.original(&(1..3)), 1..4);
        assert_eq!(mapped.original(&(3..4)), 4..5);
        assert_eq!(mapped.original(&(5..11)), 6..9);
        assert_eq!(mapped.original(&(0..11)), 0..9);
    }

    proptest! {
        #[test]
        fn folding_joined_is_joining_folded(a in any::<String>(), b in any::<String>()) {
            let joined = format!("{a}{b}");
            prop_assert_eq!(fold(&joined), format!("{}{}", fold(&a), fold(&b)));
            let mut folder = Folder::default();
            prop_assert_eq!(folder.fold(&joined), &*fold(&joined));
        }

        #[test]
        fn mapped_is_the_same_folding(text in any::<String>()) {
            let mapped = Mapped::new(&text);
            prop_assert_eq!(mapped.folded(), &*fold(&text));
            prop_assert_eq!(mapped.original(&(0..mapped.folded().len())), 0..text.len());
        }
    }
}
