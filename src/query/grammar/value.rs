//! What stands behind a name: values, lists, ranges, texts to be contained, as their field has them.

use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while};

use super::sign::{Sign, operator, quoted, skip_blanks, slashes, starts_value};
use super::{Fault, Grammar, Read, TIMES, another, bare};
use crate::base::time::Timestamp;
use crate::query::field::{self, Builtin, Name, Number};
use crate::query::time;
use crate::query::tree::{Edge, Item, Node, Op, Operand, Test, Text};

const SEVERITIES: &[&str] =
    &["emerg", "alert", "crit", "error", "warning", "notice", "info", "debug", "trace"];

impl Grammar<'_> {
    /// The part behind the name; `from` is where the typed text begins.
    pub(super) fn test<'a>(
        &self,
        from: &'a str,
        value: &'a str,
        name: &Name,
        sign: Sign,
    ) -> Read<'a, Node> {
        let (rest, op) = match sign {
            Sign::Is => self.is(value, name)?,
            Sign::Contains => self.contains(value)?,
            Sign::Above(inclusive) => {
                let (rest, edge) = self.edge(value, name, inclusive)?;
                (rest, Op::Is(vec![Item::Range(Some(edge), None)]))
            }
            Sign::Below(inclusive) => {
                let (rest, edge) = self.edge(value, name, inclusive)?;
                (rest, Op::Is(vec![Item::Range(None, Some(edge))]))
            }
        };
        let length = from.len() - rest.len();
        let typed = from.get(..length).unwrap_or_default().to_owned();
        Ok((rest, Node::Field(Test { name: name.clone(), op, typed })))
    }

    /// `a`, `"a"`, `'a'`, `a*`, `1..2`, `[1 TO 2]`, `>=1`, and several of them with commas.
    fn is<'a>(&self, value: &'a str, name: &Name) -> Read<'a, Op> {
        if let Ok((behind, sign)) = operator(value)
            && matches!(sign, Sign::Above(_) | Sign::Below(_))
            && starts_value(behind)
        {
            let (rest, edge) = match sign {
                Sign::Above(inclusive) | Sign::Below(inclusive) => {
                    self.edge(behind, name, inclusive)?
                }
                _ => return another(value),
            };
            let range = match sign {
                Sign::Above(_) => Item::Range(Some(edge), None),
                _ => Item::Range(None, Some(edge)),
            };
            return Ok((rest, Op::Is(vec![range])));
        }
        let mut items = Vec::new();
        let mut rest = value;
        loop {
            let (behind, item) = self.item(rest, name)?;
            items.extend(item);
            let Some(behind) = behind.strip_prefix(',') else {
                rest = behind;
                break;
            };
            rest = behind;
            if !starts_value(rest) {
                break;
            }
        }
        if items.is_empty() {
            return another(value);
        }
        self.count(value, items.len())?;
        let anything = |item: &Item| matches!(item, Item::Value(Text::Glob(g)) if g.bytes().all(|b| b == b'*'));
        Ok((rest, if items.iter().any(anything) { Op::Has } else { Op::Is(items) }))
    }

    /// One of a list; `None` where there is nothing between two commas.
    fn item<'a>(&self, value: &'a str, name: &Name) -> Read<'a, Option<Item>> {
        if value.starts_with(['[', '{']) {
            match self.brackets(value, name) {
                Err(nom::Err::Error(_)) => {}
                read => return read.map(|(rest, item)| (rest, Some(item))),
            }
        }
        if value.starts_with('"') {
            let (rest, text) = quoted(value, '"')?;
            return Ok((rest, Some(self.value(value, Text::Plain(text), name)?)));
        }
        if value.starts_with('\'') {
            let (rest, text) = quoted(value, '\'')?;
            return Ok((rest, Some(self.value(value, Text::Exact(text), name)?)));
        }
        let (run, stray) = self.run(value, true);
        let Some((typed, rest)) = value.split_at_checked(run) else { return another(value) };
        if stray {
            return another(value); // what has a single quote in it would not print back
        }
        if typed.is_empty() {
            return Ok((rest, None));
        }
        if let Some(range) = self.dots(typed, name) {
            return Ok((rest, Some(range)));
        }
        Ok((rest, Some(self.value(value, bare(typed), name)?)))
    }

    /// A value as its field has it: severities and times are ranges of themselves.
    fn value<'a>(&self, at: &'a str, text: Text, name: &Name) -> Result<Item, nom::Err<Fault<'a>>> {
        let (Text::Plain(plain) | Text::Exact(plain)) = &text else { return Ok(Item::Value(text)) };
        match name.builtin() {
            Some(Builtin::Time | Builtin::Received) => {
                if let Some((from, to)) = time::day(plain, self.context) {
                    return Ok(Item::Range(Some(edge(from, true)), Some(edge(to, false))));
                }
            }
            Some(Builtin::Severity | Builtin::Id) => {}
            _ => return Ok(Item::Value(text)),
        }
        let operand = self.operand(at, plain, name)?;
        let edge = Edge { at: operand, inclusive: true };
        Ok(Item::Range(Some(edge.clone()), Some(edge)))
    }

    /// `500..599`, `500..`, `..599`; `None` where it is no range.
    fn dots(&self, typed: &str, name: &Name) -> Option<Item> {
        let (low, high) = typed.split_once("..")?;
        let end = |text: &str| -> Option<Option<Edge>> {
            if text.is_empty() {
                return Some(None);
            }
            match self.operand("", text, name) {
                Ok(at @ Operand::Number(_)) => Some(Some(Edge { at, inclusive: true })),
                _ => None,
            }
        };
        let (low, high) = (end(low)?, end(high)?);
        (low.is_some() || high.is_some()).then_some(Item::Range(low, high))
    }

    /// `[500 TO 599]`, `{500 TO *}`.
    fn brackets<'a>(&self, value: &'a str, name: &Name) -> Read<'a, Item> {
        let (inner, open) = alt((tag("["), tag("{"))).parse(value)?;
        let (rest, low) = self.bound(skip_blanks(inner), name)?;
        let (rest, _) = tag("TO").parse(skip_blanks(rest))?;
        let (rest, high) = self.bound(skip_blanks(rest), name)?;
        let (rest, close) = alt((tag("]"), tag("}"))).parse(skip_blanks(rest))?;
        let edge = |at: Option<Operand>, inclusive| at.map(|at| Edge { at, inclusive });
        Ok((rest, Item::Range(edge(low, open == "["), edge(high, close == "]"))))
    }

    /// An end of a bracketed range; `None` for `*`.
    fn bound<'a>(&self, text: &'a str, name: &Name) -> Read<'a, Option<Operand>> {
        if text.starts_with('"') {
            let (rest, typed) = quoted(text, '"')?;
            return Ok((rest, Some(self.operand(text, &typed, name)?)));
        }
        let ends = |c: char| c.is_whitespace() || matches!(c, ']' | '}' | '|' | '"');
        let (rest, typed) = take_while(|c| !ends(c)).parse(text)?;
        match typed {
            "" | "TO" => another(text),
            "*" => Ok((rest, None)),
            _ => Ok((rest, Some(self.operand(text, typed, name)?))),
        }
    }

    fn edge<'a>(&self, value: &'a str, name: &Name, inclusive: bool) -> Read<'a, Edge> {
        self.count(value, 1)?;
        let (rest, typed) = self.single(value)?;
        let (Text::Plain(typed) | Text::Exact(typed) | Text::Glob(typed)) = typed;
        Ok((rest, Edge { at: self.operand(value, &typed, name)?, inclusive }))
    }

    /// What a field is compared with.
    fn operand<'a>(
        &self,
        at: &'a str,
        typed: &str,
        name: &Name,
    ) -> Result<Operand, nom::Err<Fault<'a>>> {
        let wrong = |what: &str, expected: &[&str]| {
            let detail = format!("{typed:?} is no {what}");
            Err(nom::Err::Failure(Fault::new(at, detail, expected)))
        };
        match name.builtin() {
            Some(Builtin::Severity) => match field::severity(typed) {
                Some(severity) => Ok(Operand::Number(Number::Int(field::gravity(severity)))),
                None => wrong("severity", SEVERITIES),
            },
            Some(Builtin::Time | Builtin::Received) => match time::instant(typed, self.context) {
                Some(time) => Ok(Operand::Number(Number::Int(time.0.into()))),
                None => wrong("time", TIMES),
            },
            Some(Builtin::Id) => match Number::read(typed) {
                Some(number) => Ok(Operand::Number(number)),
                None => wrong("number of a record", &["a number", "fields.id for a key called id"]),
            },
            _ => Ok(match Number::read(typed) {
                Some(number) => Operand::Number(number),
                None => Operand::Text(typed.to_owned()),
            }),
        }
    }

    /// `a`, `"a b"`, `'A'`, `/a/i` behind a tilde.
    fn contains<'a>(&self, value: &'a str) -> Read<'a, Op> {
        self.count(value, 1)?;
        if let Some((rest, source, any_case)) = slashes(value) {
            return Ok((rest, Op::Matches(self.pattern(value, source, any_case)?)));
        }
        let (rest, text) = self.single(value)?;
        Ok((rest, Op::Contains(text)))
    }

    /// One value without commas.
    pub(super) fn single<'a>(&self, value: &'a str) -> Read<'a, Text> {
        if value.starts_with('"') {
            return quoted(value, '"').map(|(rest, text)| (rest, Text::Plain(text)));
        }
        if value.starts_with('\'') {
            return quoted(value, '\'').map(|(rest, text)| (rest, Text::Exact(text)));
        }
        let (run, stray) = self.run(value, false);
        match value.split_at_checked(run) {
            Some((typed, rest)) if !stray && !typed.is_empty() => Ok((rest, bare(typed))),
            _ => another(value),
        }
    }
}

fn edge(at: Timestamp, inclusive: bool) -> Edge {
    Edge { at: Operand::Number(Number::Int(at.0.into())), inclusive }
}
