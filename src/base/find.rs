//! One text searched for in another: fragments, fragments with holes, whole words.
//!
//! A query asks it of lines, the codec of the pieces that lines are made of. A finder that folds
//! wants folded text; the caller folds once for all finders of a row.

use std::ops::Range;

use memchr::memmem;

use super::fold::{fold, is_mark};
use super::split::is_token_char;

/// What is looked for.
#[derive(Clone, Debug)]
pub struct Finder {
    /// In this order, with anything but a line's end between them; none: found everywhere.
    parts: Vec<memmem::Finder<'static>>,
    /// Does it want folded text?
    folds: bool,
    /// May a combining mark follow (behind a `*`)?
    open: bool,
    /// No letter, digit or `_` around it.
    whole: bool,
}

impl Finder {
    /// A fragment, in any case and width.
    pub fn plain(text: &str) -> Self {
        Self::new([&*fold(text)], true)
    }

    /// A fragment as it is typed.
    pub fn exact(text: &str) -> Self {
        Self::new([text], false)
    }

    /// A fragment in any case and width, in which `*` stands for any run within a line.
    pub fn glob(text: &str) -> Self {
        let folded = fold(text);
        let finder = Self::new(folded.split('*'), true);
        Self { open: folded.ends_with('*'), ..finder }
    }

    /// A whole word.
    pub fn word(word: &str) -> Self {
        Self { whole: true, ..Self::new([&*fold(word)], true) }
    }

    fn new<'a>(parts: impl IntoIterator<Item = &'a str>, folds: bool) -> Self {
        let parts = parts.into_iter().filter(|p| !p.is_empty());
        let parts = parts.map(|p| memmem::Finder::new(p).into_owned()).collect();
        Self { parts, folds, open: false, whole: false }
    }

    /// Does it want folded text?
    pub fn folds(&self) -> bool {
        self.folds
    }

    /// Must it stand as a whole word?
    pub fn is_word(&self) -> bool {
        self.whole
    }

    /// Its parts, as they must stand in the text.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().map(|p| std::str::from_utf8(p.needle()).unwrap_or_default())
    }

    /// Each part as a finder of its own: what holds this one holds all of those.
    pub fn singles(&self) -> Vec<Self> {
        if let [_] = &self.parts[..] {
            return vec![self.clone()];
        }
        // A mark may follow a part behind which anything may come.
        let single = |part: &memmem::Finder<'static>| Self {
            parts: vec![part.clone()],
            folds: self.folds,
            open: true,
            whole: false,
        };
        self.parts.iter().map(single).collect()
    }

    /// The same text for finders that find the same.
    pub fn identity(&self) -> String {
        let mut name = format!("{}{}{}", self.folds, self.open, self.whole);
        for part in self.parts() {
            name.push_str(&part.len().to_string());
            name.push(':');
            name.push_str(part);
        }
        name
    }

    /// Is it in `text`?
    pub fn is_in(&self, text: &str) -> bool {
        self.next(text, 0).is_some()
    }

    /// The first place at or behind `from`.
    pub fn next(&self, text: &str, from: usize) -> Option<Range<usize>> {
        let Some((first, others)) = self.parts.split_first() else { return Some(from..from) };
        let Some((last, middle)) = others.split_last() else {
            return self.next_whole(first, text, from);
        };
        let bytes = text.as_bytes();
        let mut line = from;
        loop {
            let start = line + first.find(bytes.get(line..)?)?;
            let end = memchr::memchr(b'\n', bytes.get(start..)?).map_or(bytes.len(), |n| start + n);
            let rest = bytes.get(..end)?;
            let behind = middle.iter().try_fold(start + first.needle().len(), |at, part| {
                part.find(rest.get(at..)?).map(|n| at + n + part.needle().len())
            });
            let found = behind.and_then(|at| self.next_whole(last, text.get(..end)?, at));
            if let Some(found) = found {
                return Some(start..found.end);
            }
            line = end + 1;
        }
    }

    /// The first place of one part where a match may end (and, for words, begin).
    fn next_whole(
        &self,
        part: &memmem::Finder<'_>,
        text: &str,
        from: usize,
    ) -> Option<Range<usize>> {
        let mut at = from;
        loop {
            let start = at + part.find(text.as_bytes().get(at..)?)?;
            let end = start + part.needle().len();
            if self.may_end(text, end) && (!self.whole || is_word(text, start, end)) {
                return Some(start..end);
            }
            let rest = text.get(start..)?;
            // A word begins in front of no token but its own: the rest of this one is passed over,
            // so that a long run of one letter costs one look.
            at = match rest.find(|c: char| !is_token_char(c)) {
                Some(end) if self.whole && end > 0 => start + end,
                None if self.whole => return None,
                _ => start + rest.chars().next()?.len_utf8(),
            };
        }
    }

    fn may_end(&self, text: &str, end: usize) -> bool {
        self.open || !text.get(end..).and_then(|t| t.chars().next()).is_some_and(is_mark)
    }
}

/// Do no token characters adjoin those at its ends?
fn is_word(text: &str, start: usize, end: usize) -> bool {
    let (Some(before), Some(word), Some(behind)) =
        (text.get(..start), text.get(start..end), text.get(end..))
    else {
        return false;
    };
    let joins = |c: char| is_token_char(c) || is_mark(c);
    let left = word.starts_with(is_token_char) && before.ends_with(joins);
    let right = word.ends_with(is_token_char) && behind.starts_with(is_token_char);
    !left && !right
}

/// Is all of `text` the pattern, in which `*` stands for any run within a line?
pub fn is_glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let (Some(first), Some(last)) = (parts.next(), parts.next_back()) else {
        return pattern == text;
    };
    let Some(rest) = text.strip_prefix(first).and_then(|t| t.strip_suffix(last)) else {
        return false;
    };
    if rest.contains('\n') {
        return false; // neither a star nor what is typed without quotes reaches over a line's end
    }
    let mut rest = rest;
    parts.all(|part| match rest.find(part) {
        Some(at) => {
            rest = rest.get(at + part.len()..).unwrap_or_default();
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_stop_before_marks_and_lines() {
        let check = |typed: &str, text: &str, want: Option<Range<usize>>| {
            let finder =
                if typed.contains('*') { Finder::glob(typed) } else { Finder::plain(typed) };
            assert_eq!(finder.next(&fold(text), 0), want, "{typed} in {text}");
        };
        check("TIME", "upstream_Timeout", Some(9..13));
        check("か", "が", None);
        check("か", "がか", Some(6..9));
        check("が", "が", Some(0..6));
        check("か*", "が", Some(0..3));
        check("time*out", "time is out", Some(0..11));
        check("time*out", "time\nout", None);
        check("time*out", "time\ntime out", Some(5..13));
        check("a*b*c", "c a b xc", Some(2..8));
        check("a*か", "a が か", Some(0..12));
        check("*", "", Some(0..0));
    }

    #[test]
    fn words_are_whole() {
        let check = |word: &str, text: &str, want: bool| {
            assert_eq!(Finder::word(word).is_in(&fold(text)), want, "{word} in {text}");
        };
        check("ab", "x ab.", true);
        check("ab", "abc ab", true);
        check("ab", "ab_c xab 1ab", false);
        check("AB", "é ab", true);
        check("caf", "cafe\u{301}", false);
        check("-x", "a-x", true);
        check("a b", "xa b", false);
    }

    #[test]
    fn globs_are_anchored() {
        let check = |pattern: &str, text: &str, want: bool| {
            assert_eq!(is_glob(pattern, text), want, "{pattern} {text}");
        };
        check("web-*", "web-3", true);
        check("web-*", "xweb-3", false);
        check("*-3", "web-3", true);
        check("w*b*3", "web-3", true);
        check("a*a", "a", false);
        check("a*b*b", "ab", false);
        check("a**b", "ab", true);
        check("a*", "a\nb", false);
        check("ab", "ab", true);
    }
}
