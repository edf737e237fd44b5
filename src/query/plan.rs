//! From a tree to what is asked of rows, and to the keys by which chunks are left out.
//!
//! *Soundness first* (engine.md 4.0): a key is asked for only where every match must hold it.

use std::ops::RangeInclusive;

use super::check::{Check, FieldCheck, Item, Network, Wanted};
use super::field::{Builtin, Keys, Name, Number};
use super::tree::{self, Node, Op, Operand, Test, Text};
use crate::base::error::Result;
use crate::base::find::Finder;
use crate::base::fold::fold;
use crate::base::split;
use crate::store::{Chunk, Key};

/// What is known of a name that is neither built in nor an alias: a field (`Some(true)`), a text
/// (`Some(false)`), or to be decided by every row for itself (`None`).
pub(super) type Known<'k> = &'k dyn Fn(&Keys) -> Option<bool>;

/// Makes a tree ready.
pub(super) fn check(node: &Node, known: Known<'_>) -> Check {
    match node {
        Node::All => Check::All,
        Node::And(nodes) => {
            let mut checks: Vec<Check> = nodes.iter().map(|n| check(n, known)).collect();
            checks.sort_by_key(cost);
            Check::And(checks)
        }
        Node::Or(nodes) => {
            let mut checks: Vec<Check> = nodes.iter().map(|n| check(n, known)).collect();
            checks.sort_by_key(cost);
            Check::Or(checks)
        }
        Node::Not(node) => Check::Not(Box::new(check(node, known))),
        Node::Text(text) => Check::Text(finder(text)),
        Node::Word(word) => Check::Text(Finder::word(word)),
        Node::Regex(pattern) => Check::Regex(pattern.regex.clone()),
        Node::Field(test) => either(
            &test.name,
            &test.op,
            known,
            || field(test),
            || Check::Text(as_text(&test.typed)),
        ),
        Node::Group(name, node) => either(
            name,
            &Op::Is(Vec::new()),
            known,
            || check(node, known),
            || {
                let label = Check::Text(as_text(&format!("{name}:")));
                Check::And(vec![label, check(node, &|_| Some(false))])
            },
        ),
    }
}

/// The field or the text, as far as that is known.
fn either(
    name: &Name,
    op: &Op,
    known: Known<'_>,
    field: impl Fn() -> Check,
    text: impl Fn() -> Check,
) -> Check {
    let Some(keys) = in_question(name, op) else { return field() };
    match known(&keys) {
        Some(true) => field(),
        Some(false) => text(),
        None => Check::Either { keys, field: Box::new(field()), text: Box::new(text()) },
    }
}

/// The keys of a name that may turn out to be text. `name:*` asks for the field in any case.
fn in_question(name: &Name, op: &Op) -> Option<Keys> {
    let open = name.builtin().is_none() && *op != Op::Has;
    open.then(|| name.keys())
}

/// All names of a tree that may turn out to be text.
pub(super) fn questions(node: &Node, found: &mut Vec<Keys>) {
    let (name, op) = match node {
        Node::And(nodes) | Node::Or(nodes) => {
            return nodes.iter().for_each(|n| questions(n, found));
        }
        Node::Not(node) => return questions(node, found),
        Node::Group(name, node) => {
            questions(node, found);
            (name, &Op::Is(Vec::new()))
        }
        Node::Field(test) => (&test.name, &test.op),
        Node::All | Node::Text(_) | Node::Word(_) | Node::Regex(_) => return,
    };
    if let Some(keys) = in_question(name, op)
        && !found.contains(&keys)
    {
        found.push(keys);
    }
}

/// What was typed as a field, searched for as the text it is.
fn as_text(typed: &str) -> Finder {
    if typed.contains('*') { Finder::glob(typed) } else { Finder::plain(typed) }
}

fn finder(text: &Text) -> Finder {
    match text {
        Text::Plain(text) => Finder::plain(text),
        Text::Exact(text) => Finder::exact(text),
        Text::Glob(text) => Finder::glob(text),
    }
}

fn field(test: &Test) -> Check {
    let wanted = match &test.op {
        Op::Has => Wanted::Any,
        Op::Is(items) => Wanted::OneOf(items.iter().map(item).collect()),
        Op::Contains(text) => Wanted::Containing(finder(text)),
        Op::Matches(pattern) => Wanted::Matching(pattern.regex.clone()),
    };
    Check::Field(FieldCheck { builtin: test.name.builtin(), keys: test.name.keys(), wanted })
}

fn item(item: &tree::Item) -> Item {
    match item {
        tree::Item::Value(Text::Exact(text)) => Item::Exactly(text.clone()),
        tree::Item::Value(Text::Glob(text)) => Item::Like(fold(text).into_owned()),
        tree::Item::Value(Text::Plain(text)) => Item::Same {
            folded: fold(text).into_owned(),
            number: Number::read(text),
            network: Network::read(text),
        },
        tree::Item::Range(low, high) => {
            let is_text = |edge: &Option<tree::Edge>| {
                matches!(edge, Some(tree::Edge { at: Operand::Text(_), .. }))
            };
            if is_text(low) || is_text(high) {
                let edge = |edge: &Option<tree::Edge>| {
                    edge.as_ref().map(|e| (fold(&e.at.to_string()).into_owned(), e.inclusive))
                };
                return Item::Texts(edge(low), edge(high));
            }
            let edge = |edge: &Option<tree::Edge>| match edge {
                Some(tree::Edge { at: Operand::Number(n), inclusive }) => Some((*n, *inclusive)),
                _ => None,
            };
            Item::Numbers(edge(low), edge(high))
        }
    }
}

/// What is cheap is asked first; the answer does not depend on the order.
fn cost(check: &Check) -> u32 {
    match check {
        Check::All => 0,
        Check::Not(check) => cost(check),
        Check::Field(FieldCheck { builtin, .. }) => match builtin {
            Some(Builtin::Id | Builtin::Time | Builtin::Severity) => 1,
            Some(Builtin::Host | Builtin::App) => 2,
            Some(Builtin::Message) => 4,
            Some(_) => 9,
            None => 6,
        },
        Check::Regex(_) => 5,
        Check::Text(_) => 7,
        Check::Either { .. } => 8,
        Check::And(checks) | Check::Or(checks) => checks.iter().map(cost).sum(),
    }
}

/// What a chunk must hold to have a match.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Need {
    /// Nothing is known.
    Nothing,
    This(Key),
    All(Vec<Need>),
    Any(Vec<Need>),
}

impl Need {
    /// May `chunk` have a match?
    pub(super) fn may_be_in(&self, chunk: &dyn Chunk) -> Result<bool> {
        match self {
            Self::Nothing => Ok(true),
            Self::This(key) => chunk.may_hold(key),
            Self::All(needs) => {
                for need in needs {
                    if !need.may_be_in(chunk)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Any(needs) => {
                for need in needs {
                    if need.may_be_in(chunk)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }

    fn all(needs: impl IntoIterator<Item = Self>) -> Self {
        let mut needs: Vec<Self> = needs.into_iter().filter(|n| *n != Self::Nothing).collect();
        match needs.len() {
            0 => Self::Nothing,
            1 => needs.pop().unwrap_or(Self::Nothing),
            _ => Self::All(needs),
        }
    }

    fn any(needs: impl IntoIterator<Item = Self>) -> Self {
        let needs: Vec<Self> = needs.into_iter().collect();
        if needs.contains(&Self::Nothing) { Self::Nothing } else { Self::Any(needs) }
    }

    /// Of letters that stand in a text that holds `part`, in each of its runs.
    fn letters(part: &str) -> Self {
        let folded = fold(part);
        let runs = split::letter_runs(&folded);
        Self::all(runs.map(|run| Self::This(Key::Letters(run.to_owned()))))
    }
}

/// What every match of `check` must hold.
pub(super) fn need(check: &Check) -> Need {
    match check {
        Check::And(checks) => Need::all(checks.iter().map(need)),
        Check::Or(checks) => Need::any(checks.iter().map(need)),
        Check::Text(finder) => finder_need(finder),
        Check::Field(check) => field_need(check),
        Check::Either { field, text, .. } => Need::any([need(field), need(text)]),
        Check::All | Check::Not(_) | Check::Regex(_) => Need::Nothing,
    }
}

fn finder_need(finder: &Finder) -> Need {
    let letters = finder.parts().map(Need::letters);
    if !finder.is_word() {
        return Need::all(letters);
    }
    // A word stands in the text with its borders, so all of its tokens are tokens of the text.
    let words = finder.parts().flat_map(split::tokens);
    let tokens: Vec<Need> = words.map(|w| Need::This(Key::Token(w.to_owned()))).collect();
    Need::all(letters.chain(tokens))
}

fn field_need(check: &FieldCheck) -> Need {
    let indexed =
        matches!(check.builtin, None | Some(Builtin::Host | Builtin::App | Builtin::Message));
    if !indexed {
        return Need::Nothing;
    }
    match &check.wanted {
        Wanted::Any | Wanted::Matching(_) => Need::Nothing,
        Wanted::Containing(finder) => finder_need(finder),
        Wanted::OneOf(items) => Need::any(items.iter().map(|item| match item {
            // A number or an address can be written in other ways.
            Item::Same { folded, number: None, network: None } => Need::letters(folded),
            Item::Exactly(text) => Need::letters(text),
            Item::Like(pattern) => Need::all(pattern.split('*').map(Need::letters)),
            Item::Same { .. } | Item::Numbers(..) | Item::Texts(..) => Need::Nothing,
        })),
    }
}

/// The ids that a match can have.
pub(super) fn ids(check: &Check) -> RangeInclusive<u64> {
    let all = 0..=u64::MAX;
    match check {
        Check::And(checks) => checks
            .iter()
            .map(ids)
            .fold(all, |a, b| *a.start().max(b.start())..=*a.end().min(b.end())),
        Check::Field(FieldCheck {
            builtin: Some(Builtin::Id),
            wanted: Wanted::OneOf(items),
            ..
        }) => {
            let ranges = items.iter().map(|item| match item {
                Item::Numbers(low, high) => {
                    let int = |edge: &Option<(Number, bool)>, open: u64| match edge {
                        Some((Number::Int(n), _)) => u64::try_from(*n).unwrap_or(open),
                        _ => open,
                    };
                    int(low, 0)..=int(high, u64::MAX)
                }
                _ => 0..=u64::MAX,
            });
            ranges.reduce(|a, b| *a.start().min(b.start())..=*a.end().max(b.end())).unwrap_or(all)
        }
        _ => all,
    }
}
