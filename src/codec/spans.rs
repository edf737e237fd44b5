//! A text asked of a template: does it stand in what is static, or could it stand across holes?
//!
//! Wherever a slot begins or ends, an ASCII sign that is neither letter, digit nor `_` stands on one
//! side (`base::split`). So a text without such signs lies in one piece; one with signs may lie
//! across pieces, but only so that a border falls beside one of its signs.

use super::probe::Fit;
use super::template::Piece;
use crate::base::find::Finder;
use crate::base::fold::fold;

/// Steps of one search before it is given up, and every row looked at: a text of thousands of
/// signs in a template of as many slots has more ways than rows.
const STEPS_MAX: usize = 4_096;

/// What a template says to a text.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// It stands in every row.
    pub(super) sure: bool,
    /// It may stand in any row.
    pub(super) maybe: bool,
    /// It may stand in rows where this is so of one slot.
    pub(super) ways: Vec<Way>,
}

/// A slot's value that would let a text stand across its border.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) pool: u32,
    /// Which of the slots of that pool in the template, from 0.
    pub(super) nth: usize,
    pub(super) fit: Fit,
    /// Where what must stand there is in the text.
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Is it a sign beside which slots may begin and end?
fn is_sign(byte: u8) -> bool {
    byte.is_ascii() && !byte.is_ascii_alphanumeric() && byte != b'_'
}

/// Can a text lie across pieces at all?
pub(super) fn has_sign(text: &str) -> bool {
    text.bytes().any(is_sign)
}

/// Does it end in one, behind which a combining mark could stand in the line and not in the slot?
pub(super) fn has_sign_last(finder: &Finder) -> bool {
    finder.parts().last().is_none_or(|part| part.bytes().next_back().is_some_and(is_sign))
}

/// Asks a template; `finder` has one part.
pub(super) fn reach(template: &[Piece], finder: &Finder) -> Reach {
    let part = finder.parts().next().unwrap_or_default();
    let mut reach = Reach::default();
    let Some(template) = parts_of(template, finder.folds()) else {
        return Reach { maybe: true, ..reach };
    };
    for (n, one) in template.iter().enumerate() {
        if let Part::Static(text) = one {
            in_static(text, n + 1 == template.len(), part, finder, &mut reach);
        }
    }
    if reach.sure || !has_sign(part) {
        return reach;
    }
    let search =
        Search { template: &template, text: part, path: Vec::new(), steps: 0, reach: &mut reach };
    search.run();
    reach
}

/// A piece, as it is asked.
#[derive(Debug)]
enum Part {
    /// Folded where that is wanted.
    Static(String),
    /// The pool, and which of its slots in the template.
    Slot(u32, usize),
}

/// The pieces of a template, static ones that adjoin as one; `None` where that cannot be said.
fn parts_of(template: &[Piece], folds: bool) -> Option<Vec<Part>> {
    let mut parts: Vec<Part> = Vec::with_capacity(template.len());
    for piece in template {
        if let Piece::Static(text) = piece {
            let text = std::str::from_utf8(text).ok()?;
            let text = if folds { fold(text) } else { text.into() };
            match parts.last_mut() {
                Some(Part::Static(before)) => before.push_str(&text),
                _ => parts.push(Part::Static(text.into_owned())),
            }
        } else {
            let pool = piece.pool()?;
            let same = |part: &&Part| matches!(part, Part::Slot(other, _) if *other == pool);
            let nth = parts.iter().filter(same).count();
            parts.push(Part::Slot(pool, nth));
        }
    }
    Some(parts)
}

/// Does the text stand in a static piece?
fn in_static(text: &str, last: bool, part: &str, finder: &Finder, reach: &mut Reach) {
    let mut at = 0;
    while let Some(hit) = finder.next(text, at) {
        // What follows may be a mark, but not where a sign must stand.
        if hit.end < text.len() || last || !part.bytes().next_back().is_some_and(is_sign) {
            reach.sure = true;
            return;
        }
        reach.maybe = true;
        let next = text.get(hit.start..).and_then(|rest| rest.chars().next());
        at = hit.start + next.map_or(1, char::len_utf8);
    }
}

/// Looks for all ways in which a text can lie across pieces.
struct Search<'a> {
    template: &'a [Part],
    text: &'a str,
    /// Slots on the way, and what must stand in each.
    path: Vec<(usize, Fit, usize, usize)>,
    steps: usize,
    reach: &'a mut Reach,
}

impl Search<'_> {
    fn run(mut self) {
        for (n, part) in self.template.iter().enumerate() {
            for cut in 1..self.text.len() {
                if !self.is_border(cut) || self.reach.maybe {
                    continue;
                }
                match part {
                    Part::Static(text) => {
                        if self.text.get(..cut).is_some_and(|start| text.ends_with(start)) {
                            self.go(n + 1, cut);
                        }
                    }
                    Part::Slot(..) => self.through(n, Fit::Ends, 0, cut),
                }
            }
        }
    }

    /// May a piece end here?
    fn is_border(&self, at: usize) -> bool {
        let sign = |n: Option<usize>| {
            n.and_then(|n| self.text.as_bytes().get(n)).is_some_and(|b| is_sign(*b))
        };
        self.text.is_char_boundary(at) && (sign(at.checked_sub(1)) || sign(Some(at)))
    }

    /// The text from `at` on starts where piece `n` does.
    fn go(&mut self, n: usize, at: usize) {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            self.reach.maybe = true;
        }
        if self.reach.maybe {
            return;
        }
        let rest = self.text.get(at..).unwrap_or_default();
        match self.template.get(n) {
            None => {}
            Some(Part::Static(text)) => {
                if text.starts_with(rest) {
                    self.found();
                } else if rest.starts_with(text.as_str()) {
                    self.go(n + 1, at + text.len());
                }
            }
            Some(Part::Slot(..)) => {
                self.path.push((n, Fit::Starts, at, self.text.len()));
                self.found();
                self.path.pop();
                self.through(n, Fit::Is, at, at);
                for cut in at + 1..self.text.len() {
                    if self.is_border(cut) {
                        self.through(n, Fit::Is, at, cut);
                    }
                }
            }
        }
    }

    /// A part of the text in a slot, then on behind it.
    fn through(&mut self, n: usize, fit: Fit, start: usize, end: usize) {
        self.path.push((n, fit, start, end));
        self.go(n + 1, end);
        self.path.pop();
    }

    /// A way was found; the slot that must hold most says which rows are looked at.
    fn found(&mut self) {
        let best =
            self.path.iter().max_by_key(|(_, fit, start, end)| (end - start, *fit == Fit::Is));
        let slot = best.and_then(|(n, ..)| self.template.get(*n)).zip(best);
        let Some((Part::Slot(pool, nth), (_, fit, start, end))) = slot else {
            self.reach.maybe = true;
            return;
        };
        let way = Way { pool: *pool, nth: *nth, fit: *fit, start: *start, end: *end };
        if !self.reach.ways.contains(&way) {
            self.reach.ways.push(way);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn template() -> impl Strategy<Value = Vec<Option<String>>> {
        let piece = prop_oneof![
            "[ab]?[ :.=]{1,2}[ab]{0,2}[ :]?".prop_map(Some),
            Just(None),
            "[:= ]".prop_map(Some),
        ];
        prop::collection::vec(piece, 1..7)
    }

    proptest! {
        /// Random values in random templates: what stands in the line is never denied, and what
        /// is sure stands there.
        #[test]
        fn no_match_is_missed(
            pieces in template(),
            values in prop::collection::vec("[ab1]{1,2}([.][1ab])?", 7),
            from in 0_usize..12, len in 1_usize..9,
        ) {
            let mut line = String::new();
            let mut template = Vec::new();
            let mut slots = Vec::new();
            for (piece, value) in pieces.iter().zip(&values) {
                if let Some(text) = piece {
                    line.push_str(text);
                    template.push(Piece::Static(text.as_bytes().into()));
                    continue;
                }
                // Two slots, or a letter and one, touch only at a sign.
                let value = match line.bytes().next_back() {
                    Some(b) if !is_sign(b) => format!("-{value}"),
                    _ => value.clone(),
                };
                line.push_str(&value);
                template.push(Piece::Slot(u32::try_from(slots.len() % 2).unwrap()));
                slots.push(value);
            }
            // A static text that begins with a letter must not follow a slot directly.
            let joined = pieces.windows(2).any(|pair| match pair {
                [None, Some(text)] => text.starts_with(|c: char| c.is_alphanumeric()),
                _ => false,
            });
            prop_assume!(!joined);
            let fragment: String = line.chars().skip(from).take(len).collect();
            prop_assume!(!fragment.is_empty());
            let finder = Finder::plain(&fragment);
            let reach = reach(&template, &finder);
            prop_assert!(!reach.sure || finder.is_in(&line));
            let in_slot = slots.iter().any(|slot| finder.is_in(slot));
            let way = |way: &Way| {
                let mut of_pool = slots.iter().enumerate().filter(|(n, _)| n % 2 == way.pool as usize);
                let text = fragment.get(way.start..way.end).unwrap();
                of_pool.nth(way.nth).is_some_and(|(_, slot)| match way.fit {
                    Fit::Starts => slot.starts_with(text),
                    Fit::Ends => slot.ends_with(text),
                    Fit::Is => slot == text,
                    Fit::Within => slot.contains(text),
                })
            };
            let across = reach.ways.iter().any(way);
            prop_assert!(reach.sure || reach.maybe || in_slot || across, "{fragment} in {line} {reach:?}");
        }
    }
}
