//! The language of `LANGUAGE.md`, from text to tree: the one place in `query` that uses nom.
//!
//! Two habits meet here. What looks like a piece of a log line is text, so that pasting finds the
//! line: signs have a meaning only where no log line would have them by accident. What is meant
//! as a query and is wrong is an error that points at its column.
//!
//! | file | noun |
//! |---|---|
//! | `sign` | signs: names, operators, quotes, parentheses, slashes |
//! | `value` | what stands behind a name |
//!
//! Every function takes what is left of the text and gives what it read; depth, terms and regular
//! expressions are counted against `limits` on the way.

mod sign;
mod value;

use std::cell::Cell;

use nom::bytes::complete::tag;
use nom::error::{ErrorKind, ParseError};
use nom::{IResult, Parser};

use super::Context;
use super::field::{Builtin, Name};
use super::tree::{Node, Pattern, Text};
use super::{pasted, time};
use crate::base::error::QueryError;
use crate::base::limits;
use crate::base::time::{TimeRange, Timestamp};
use sign::{
    Sign, balanced, keyword, minus, name, operator, quote_length, quoted, sign, skip_blanks,
    slashes, starts_value,
};

/// Reads a query: its tree, and its `since:` and `until:`.
pub(super) fn read(text: &str, context: &Context) -> Result<(Node, TimeRange), QueryError> {
    if text.len() > limits::QUERY_BYTES_MAX {
        let detail = format!("a query may have {} bytes", limits::QUERY_BYTES_MAX);
        return Err(QueryError { column: 1, detail, expected: vec!["a shorter query".to_owned()] });
    }
    let grammar = Grammar {
        context,
        terms: Cell::new(0),
        regexes: Cell::new(0),
        range: Cell::new(TimeRange::ALL),
        quotes_ended: Cell::new(false),
    };
    match grammar.query(text) {
        Ok((_, node)) => Ok((node, grammar.range.get())),
        Err(nom::Err::Error(fault) | nom::Err::Failure(fault)) => {
            let pasted = if fault.stray { pasted::read(text) } else { None };
            pasted.map(|node| (node, TimeRange::ALL)).ok_or_else(|| fault.in_text(text))
        }
        Err(nom::Err::Incomplete(_)) => {
            Err(Fault::new("", "the query ends too early", &[]).in_text(text))
        }
    }
}

/// What is wrong, and where: what was left of the text there.
#[derive(Debug)]
struct Fault<'a> {
    at: &'a str,
    detail: String,
    expected: Vec<String>,
    /// A sign without its counterpart, as a piece of a log line has them.
    stray: bool,
}

impl<'a> Fault<'a> {
    fn new(at: &'a str, detail: impl Into<String>, expected: &[&str]) -> Self {
        let expected = expected.iter().map(|&e| e.to_owned()).collect();
        Self { at, detail: detail.into(), expected, stray: false }
    }

    /// Nothing else can be meant: no other reading is tried.
    fn fail<T>(at: &'a str, detail: impl Into<String>, expected: &[&str]) -> Read<'a, T> {
        Err(nom::Err::Failure(Self::new(at, detail, expected)))
    }

    /// As [`Self::fail`], for a sign without its counterpart.
    fn stray<T>(at: &'a str, detail: impl Into<String>, expected: &[&str]) -> Read<'a, T> {
        Err(nom::Err::Failure(Self { stray: true, ..Self::new(at, detail, expected) }))
    }

    fn in_text(self, text: &str) -> QueryError {
        let before = text.len().saturating_sub(self.at.len());
        let column = text.get(..before).map_or(0, |t| t.chars().count()) + 1;
        QueryError { column, detail: self.detail, expected: self.expected }
    }
}

impl<'a> ParseError<&'a str> for Fault<'a> {
    fn from_error_kind(at: &'a str, _: ErrorKind) -> Self {
        Self::new(at, "this does not read", &[])
    }
    fn append(_: &'a str, _: ErrorKind, other: Self) -> Self {
        other
    }
}

type Read<'a, T> = IResult<&'a str, T, Fault<'a>>;

/// Not this reading; another one is tried.
fn another<T>(at: &str) -> Read<'_, T> {
    Err(nom::Err::Error(Fault::new(at, "this does not read", &[])))
}

/// Where in the tree we are.
#[derive(Clone, Copy)]
struct Place<'n> {
    depth: usize,
    /// Inside of `name:(…)`.
    name: Option<&'n Name>,
}

struct Grammar<'c> {
    context: &'c Context,
    terms: Cell<usize>,
    regexes: Cell<usize>,
    range: Cell<TimeRange>,
    /// No further closing quote was found once: so there is none for later ones either.
    quotes_ended: Cell<bool>,
}

impl Grammar<'_> {
    fn query<'a>(&self, text: &'a str) -> Read<'a, Node> {
        let rest = skip_blanks(text);
        if rest.is_empty() {
            return Ok((rest, Node::All));
        }
        let (rest, node) = self.any(rest, Place { depth: 0, name: None })?;
        let rest = skip_blanks(rest);
        if rest.starts_with(')') {
            let expected = ["the end of the query", "the parenthesis in quotes"];
            return Fault::stray(rest, "this parenthesis closes nothing", &expected);
        }
        Ok((rest, node.unwrap_or(Node::All)))
    }

    /// `a OR b || c`. `None`: there were only times.
    fn any<'a>(&self, text: &'a str, place: Place<'_>) -> Read<'a, Option<Node>> {
        let (mut rest, first) = self.all(text, place)?;
        let mut nodes: Vec<Node> = first.into_iter().collect();
        while let Ok((behind, _)) = sign("||", "OR").parse(skip_blanks(rest)) {
            let (next, node) = self.all(behind, place)?;
            nodes.extend(node);
            rest = next;
        }
        Ok((rest, (!nodes.is_empty()).then(|| Node::or(nodes))))
    }

    /// `a b AND c && d`. `None`: there were only times.
    fn all<'a>(&self, text: &'a str, place: Place<'_>) -> Read<'a, Option<Node>> {
        let mut nodes = Vec::new();
        let mut open = true; // a term must follow
        let mut rest = skip_blanks(text);
        loop {
            if rest.is_empty() || rest.starts_with(')') || sign("||", "OR").parse(rest).is_ok() {
                break;
            }
            if rest.starts_with('|') {
                return Fault::stray(
                    rest,
                    "a pipe makes a table; tables are what stats answers, not search and count",
                    &["a term", "the pipe in quotes"],
                );
            }
            if let (false, Ok((behind, _))) = (open, sign("&&", "AND").parse(rest)) {
                open = true;
                rest = skip_blanks(behind);
                continue;
            }
            let (behind, node) = self.negation(rest, place)?;
            nodes.extend(node);
            open = false;
            rest = skip_blanks(behind);
        }
        if open {
            let found =
                if rest.is_empty() { "the query ends here" } else { "there is no term here" };
            return Fault::fail(rest, found, &["a term"]);
        }
        Ok((rest, (!nodes.is_empty()).then(|| Node::and(nodes))))
    }

    /// `NOT a`, `-a`, `!a`, `a`.
    fn negation<'a>(&self, text: &'a str, place: Place<'_>) -> Read<'a, Option<Node>> {
        let behind = match keyword("NOT").parse(text) {
            Ok((behind, _)) => skip_blanks(behind),
            Err(_) => match minus(text) {
                Some(behind) => behind,
                None => return self.primary(text, place),
            },
        };
        if behind.is_empty() || behind.starts_with(')') {
            return Fault::fail(behind, "there is nothing to negate here", &["a term"]);
        }
        let deeper = deeper(text, place)?;
        let (rest, node) = self.negation(behind, deeper)?;
        Ok((rest, node.map(|n| Node::Not(Box::new(n)))))
    }

    fn primary<'a>(&self, text: &'a str, place: Place<'_>) -> Read<'a, Option<Node>> {
        if let (Some(rest), None) = (text.strip_prefix("()"), place.name) {
            self.count(text, 1)?;
            return Ok((rest, Some(Node::Text(Text::Plain("()".to_owned())))));
        }
        if text.starts_with('(') {
            let (rest, node) = self.parentheses(text, deeper(text, place)?)?;
            return Ok((rest, node));
        }
        let (rest, node) = match place.name {
            Some(name) => self.test(text, text, name, Sign::Is)?,
            None => match self.named(text, place) {
                Err(nom::Err::Error(_)) => self.term(text)?,
                Ok((rest, None)) => return Ok((rest, None)),
                Ok((rest, Some(node))) => (rest, node),
                Err(failure) => return Err(failure),
            },
        };
        Ok((rest, Some(node)))
    }

    fn parentheses<'a>(&self, text: &'a str, place: Place<'_>) -> Read<'a, Option<Node>> {
        let (inner, _) = tag("(").parse(text)?;
        let (rest, node) = self.any(inner, place)?;
        match skip_blanks(rest).strip_prefix(')') {
            Some(behind) => Ok((behind, node)),
            None => Fault::stray(skip_blanks(rest), "a parenthesis is not closed", &[")"]),
        }
    }

    fn count<'a>(&self, at: &'a str, terms: usize) -> Result<(), nom::Err<Fault<'a>>> {
        self.terms.set(self.terms.get() + terms);
        if self.terms.get() > limits::QUERY_TERMS_MAX {
            let detail = format!("a query may have {} terms", limits::QUERY_TERMS_MAX);
            return Err(nom::Err::Failure(Fault::new(at, detail, &["fewer terms"])));
        }
        Ok(())
    }

    /// A text, a regular expression, a word.
    fn term<'a>(&self, text: &'a str) -> Read<'a, Node> {
        self.count(text, 1)?;
        if text.starts_with('"') {
            let (rest, phrase) = quoted(text, '"')?;
            return Ok((rest, phrase_node(Text::Plain(phrase))));
        }
        if text.starts_with('\'') {
            let (rest, phrase) = quoted(text, '\'')?;
            return Ok((rest, phrase_node(Text::Exact(phrase))));
        }
        if let Some((rest, source, any_case)) = slashes(text) {
            let pattern = self.pattern(text, source, any_case)?;
            return Ok((rest, Node::Regex(pattern)));
        }
        let (run, stray) = self.run(text, false);
        let Some((word, rest)) = text.split_at_checked(run).filter(|(word, _)| !word.is_empty())
        else {
            return Fault::fail(text, "there is no term here", &["a term"]);
        };
        let node = match bare(word) {
            Text::Glob(_) if stray => Node::Text(Text::Plain(word.to_owned())),
            Text::Glob(glob) if glob.bytes().all(|b| b == b'*') => Node::All,
            other => Node::Text(other),
        };
        Ok((rest, node))
    }

    /// `name:value` and its relatives; `Err::Error` where it is none. `None`: a time.
    fn named<'a>(&self, text: &'a str, place: Place<'_>) -> Read<'a, Option<Node>> {
        let (behind, name) = if text.starts_with('"') {
            let Ok((behind, name)) = quoted(text, '"') else { return another(text) };
            (behind, Name::Exact(name))
        } else {
            let (behind, name) = name(text)?;
            match (name, behind.strip_prefix(':').filter(|v| starts_value(v))) {
                ("word", Some(value)) => return self.word(value).map(|(r, n)| (r, Some(n))),
                ("since", Some(value)) => {
                    let (rest, at) = self.moment(value, text, place)?;
                    self.range
                        .set(self.range.get().and(TimeRange { from: at, to: Timestamp::MAX }));
                    return Ok((rest, None));
                }
                ("until", Some(value)) => {
                    let (rest, at) = self.moment(value, text, place)?;
                    self.range
                        .set(self.range.get().and(TimeRange { from: Timestamp::MIN, to: at }));
                    return Ok((rest, None));
                }
                _ => (behind, Name::read(name)),
            }
        };
        let (value, sign) = operator(behind)?;
        let stray = value.starts_with(['"', '\'']) && {
            let quote = if value.starts_with('"') { '"' } else { '\'' };
            quote_length(value, quote).is_none()
        };
        if !starts_value(value) || (stray && name.builtin().is_none()) {
            return another(text);
        }
        if sign == Sign::Is && value.starts_with('(') {
            let deeper = deeper(value, place)?;
            let inner = Place { name: Some(&name), ..deeper };
            let (rest, node) = self.parentheses(value, inner)?;
            return Ok((rest, node.map(|n| Node::Group(name, Box::new(n)))));
        }
        let (rest, node) = match self.test(text, value, &name, sign) {
            // `level:30`, `timestamp:x`: no severity, no time, so it is the key called so.
            Err(nom::Err::Failure(fault)) => match &name {
                Name::Alias(Builtin::Severity | Builtin::Time | Builtin::Received, alias) => {
                    self.test(text, value, &Name::Loose(alias.clone()), sign)?
                }
                _ => return Err(nom::Err::Failure(fault)),
            },
            other => other?,
        };
        Ok((rest, Some(node)))
    }

    fn word<'a>(&self, value: &'a str) -> Read<'a, Node> {
        self.count(value, 1)?;
        let (rest, text) = self.single(value)?;
        match text {
            Text::Plain(word) | Text::Exact(word) | Text::Glob(word) if !word.is_empty() => {
                Ok((rest, Node::Word(word)))
            }
            _ => Fault::fail(value, "there is no word here", &["a word"]),
        }
    }

    fn moment<'a>(&self, value: &'a str, text: &'a str, place: Place<'_>) -> Read<'a, Timestamp> {
        if place.depth > 0 {
            return Fault::fail(
                text,
                "since: and until: hold for the whole query",
                &["them outside of parentheses, not negated"],
            );
        }
        self.count(value, 1)?;
        let (rest, typed) = self.single(value)?;
        let (Text::Plain(typed) | Text::Exact(typed) | Text::Glob(typed)) = typed;
        match time::since(&typed, self.context) {
            Some(at) => Ok((rest, at)),
            None => Fault::fail(value, format!("{typed:?} is no time"), TIMES),
        }
    }

    fn pattern<'a>(
        &self,
        at: &'a str,
        source: &str,
        any_case: bool,
    ) -> Result<Pattern, nom::Err<Fault<'a>>> {
        self.regexes.set(self.regexes.get() + 1);
        if self.regexes.get() > limits::QUERY_REGEXES_MAX {
            let detail =
                format!("a query may have {} regular expressions", limits::QUERY_REGEXES_MAX);
            return Err(nom::Err::Failure(Fault::new(at, detail, &["one with alternatives"])));
        }
        let built = regex::RegexBuilder::new(source)
            .case_insensitive(any_case)
            .size_limit(limits::REGEX_BYTES_MAX)
            .dfa_size_limit(limits::REGEX_BYTES_MAX)
            .build();
        match built {
            Ok(regex) => Ok(Pattern { source: source.to_owned(), any_case, regex }),
            Err(error) => {
                let text = error.to_string();
                let why = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
                let detail = format!("this regular expression does not read: {why}");
                Err(nom::Err::Failure(Fault::new(at, detail, &["a regular expression"])))
            }
        }
    }

    /// Length of the run of characters that belong together, and whether a quote in it is never
    /// closed. Parentheses that open and close inside belong to it (`main.c(12)`), and so does
    /// what stands in quotes (`msg="a b"`).
    fn run(&self, text: &str, list: bool) -> (usize, bool) {
        let mut stray = false;
        let mut at = 0;
        while let Some(rest) = text.get(at..)
            && let Some(c) = rest.chars().next()
        {
            let ends = c.is_whitespace()
                || matches!(c, ')' | '|')
                || (list && c == ',')
                || rest.starts_with("&&");
            if ends {
                break;
            }
            at += match c {
                '(' => match balanced(rest) {
                    Some(length) if at > 0 => length,
                    _ => break,
                },
                '"' => self.closing_quote(rest).unwrap_or_else(|| {
                    stray = true;
                    1
                }),
                _ => c.len_utf8(),
            };
        }
        (at, stray)
    }

    /// Length of the quoted text that `text` starts with.
    fn closing_quote(&self, text: &str) -> Option<usize> {
        if self.quotes_ended.get() {
            return None;
        }
        let length = quote_length(text, '"');
        self.quotes_ended.set(length.is_none());
        length
    }
}

const TIMES: &[&str] = &["2h", "2026-03-01", "\"yesterday 17:30\"", "an RFC 3339 time", "an epoch"];

/// One level further down.
fn deeper<'a, 'n>(at: &'a str, place: Place<'n>) -> Result<Place<'n>, nom::Err<Fault<'a>>> {
    if place.depth >= limits::QUERY_DEPTH_MAX {
        let detail = format!("a query may be {} deep", limits::QUERY_DEPTH_MAX);
        return Err(nom::Err::Failure(Fault::new(at, detail, &["fewer parentheses"])));
    }
    Ok(Place { depth: place.depth + 1, ..place })
}

/// An empty phrase stands in every text.
fn phrase_node(text: Text) -> Node {
    match &text {
        Text::Plain(phrase) | Text::Exact(phrase) if phrase.is_empty() => Node::All,
        _ => Node::Text(text),
    }
}

fn bare(typed: &str) -> Text {
    if typed.contains('*') { Text::Glob(typed.to_owned()) } else { Text::Plain(typed.to_owned()) }
}
