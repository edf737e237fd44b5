//! A text asked of one place of a segment: what its templates and dictionaries say is found out
//! once, for all chunks and for later queries of the same text.
//!
//! A text of one part stands in a template's static text (then in every row of it), in a slot's
//! value (then in every row that has it), or across both (`spans`: then the line itself is looked
//! at). One of several parts is asked part by part, and the lines that hold all are looked at.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::probe::Probe;
use super::set::RowSet;
use super::spans::{Way, has_sign, has_sign_last, reach};
use super::template::Piece;
use crate::base::find::Finder;

/// Questions whose answers a place remembers.
const QUESTIONS_MAX: usize = 32;

/// A text asked of templates and their pools.
#[derive(Debug)]
pub(super) struct Question {
    /// For each template: does the text stand in every row of it?
    pub(super) sure: Vec<bool>,
    pub(super) parts: Vec<Part>,
    /// All of it stands in a value.
    pub(super) whole: Asked,
    /// A value that holds the only part is a match, and the line need not be looked at.
    pub(super) exact: bool,
    across: bool,
}

/// One part of the text.
#[derive(Debug)]
pub(super) struct Part {
    /// For each template: may it stand in any row of it?
    pub(super) maybe: Vec<bool>,
    /// It stands in a value.
    pub(super) within: Asked,
    /// It stands across the borders of a value; by template.
    pub(super) across: HashMap<u32, Vec<(Way, usize)>>,
    /// What values must be for that.
    pub(super) borders: Vec<Asked>,
}

/// What values must be, and what dictionaries say to it.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) probe: Probe,
    /// For each pool which entries of its dictionary pass; none are where no more are told.
    entries: OnceLock<Vec<RowSet>>,
}

impl Asked {
    /// Nothing is known yet.
    pub(super) fn new(probe: Probe) -> Self {
        Self { probe, entries: OnceLock::new() }
    }

    /// For each pool which entries of its dictionary pass; found out the first time.
    pub(super) fn entries(&self, find_out: impl FnOnce() -> Vec<RowSet>) -> &[RowSet] {
        self.entries.get_or_init(find_out)
    }
}

impl Question {
    /// Asks all templates of a place.
    pub(super) fn new(finder: &Finder, templates: &[Vec<Piece>]) -> Self {
        let mut sure = vec![false; templates.len()];
        let singles = finder.singles();
        let single = singles.len() == 1;
        let mut exact = single;
        let parts = singles
            .into_iter()
            .map(|one| {
                exact &= !has_sign_last(&one);
                let mut part = Part {
                    maybe: vec![false; templates.len()],
                    within: Asked::new(Probe::within(one.clone())),
                    across: HashMap::new(),
                    borders: Vec::new(),
                };
                for ((n, template), sure) in (0_u32..).zip(templates).zip(&mut sure) {
                    let reach = reach(template, &one);
                    *sure |= single && reach.sure;
                    if let Some(maybe) = part.maybe.get_mut(n as usize) {
                        *maybe = reach.sure || reach.maybe;
                    }
                    if !reach.sure && !reach.maybe {
                        part.add_ways(n, reach.ways, &one);
                    }
                }
                part
            })
            .collect();
        let whole = Asked::new(Probe::within(finder.clone()));
        let across = !single || finder.parts().any(has_sign);
        Self { sure, parts, whole, exact, across }
    }

    /// May it lie across several pieces of a line?
    pub(super) fn may_lie_across(&self) -> bool {
        self.across
    }
}

impl Part {
    fn add_ways(&mut self, template: u32, ways: Vec<Way>, finder: &Finder) {
        let text = finder.parts().next().unwrap_or_default();
        for way in ways {
            let must = text.get(way.start..way.end).unwrap_or_default();
            let known = self.borders.iter().position(|b| b.probe.is(way.fit, must));
            let border = known.unwrap_or_else(|| {
                self.borders.push(Asked::new(Probe::at_border(way.fit, must, finder.folds())));
                self.borders.len() - 1
            });
            self.across.entry(template).or_default().push((way, border));
        }
    }
}

/// The last questions that a place was asked, with what was found out.
#[derive(Debug, Default)]
pub(super) struct Questions {
    known: Mutex<Vec<(String, Arc<OnceLock<Question>>)>>,
}

impl Questions {
    /// What is known of a text.
    pub(super) fn get(&self, finder: &Finder, templates: &[Vec<Piece>]) -> Known {
        let name = finder.identity();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let cell = match known.iter().position(|(other, _)| *other == name) {
            Some(n) => known.remove(n).1,
            None => Arc::default(),
        };
        known.push((name, Arc::clone(&cell)));
        let over = known.len().saturating_sub(QUESTIONS_MAX);
        known.drain(..over);
        drop(known);
        cell.get_or_init(|| Question::new(finder, templates));
        Known(cell)
    }
}

/// A question that was asked.
pub(super) struct Known(Arc<OnceLock<Question>>);

impl Known {
    /// What was found out.
    pub(super) fn question(&self) -> Option<&Question> {
        self.0.get()
    }
}
