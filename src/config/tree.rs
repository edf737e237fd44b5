//! What was written: values of all sources in one tree, each with the place it was written at.
//!
//! Knows TOML and nothing of the keys; `load` says what they mean.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use crate::config::load::Problem;

/// A value, and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// The value.
    pub(super) raw: Raw,
    /// `default`, a flag, a name of the environment, or file and line.
    pub(super) place: String,
    /// The text as it came, where it came without TOML's quotes (flags, environment).
    pub(super) text: Option<String>,
}

/// What TOML can say, as far as a configuration needs it.
#[derive(Clone, Debug)]
pub(super) enum Raw {
    Str(String),
    Int(i64),
    /// Floats and dates: no key takes them, they are kept to be shown in a problem.
    Other(String),
    Bool(bool),
    List(Vec<Node>),
    Table(BTreeMap<String, Node>),
}

impl Node {
    /// A table with nothing in it.
    pub(super) fn empty() -> Self {
        Self { raw: Raw::Table(BTreeMap::new()), place: "default".to_owned(), text: None }
    }

    /// A value as people write it in a shell: TOML where it is, otherwise the text itself.
    pub(super) fn from_text(place: &str, text: &str) -> Self {
        let raw = match DeValue::parse(text) {
            Ok(value) => Raw::from_toml(value.get_ref(), &|_| place.to_owned()),
            Err(_) => Raw::Str(text.to_owned()),
        };
        Self { raw, place: place.to_owned(), text: Some(text.to_owned()) }
    }

    /// The value as text. A scalar that came without quotes is the text that it came as, so that
    /// a token `12345` needs none.
    pub(super) fn as_text(&self) -> Option<&str> {
        match (&self.raw, &self.text) {
            (Raw::Str(text), _) | (Raw::Int(_) | Raw::Bool(_) | Raw::Other(_), Some(text)) => {
                Some(text)
            }
            _ => None,
        }
    }

    /// The value of `key`, where this is a table that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        match &self.raw {
            Raw::Table(entries) => entries.get(key),
            _ => None,
        }
    }
}

impl Raw {
    fn from_toml(value: &DeValue<'_>, place: &dyn Fn(usize) -> String) -> Self {
        let node = |v: &toml::Spanned<DeValue<'_>>| Node {
            raw: Self::from_toml(v.get_ref(), place),
            place: place(v.span().start),
            text: None,
        };
        match value {
            DeValue::String(text) => Self::Str(text.to_string()),
            DeValue::Integer(n) => match i64::from_str_radix(n.as_str(), n.radix()) {
                Ok(n) => Self::Int(n),
                Err(_) => Self::Other(n.as_str().to_owned()),
            },
            DeValue::Float(x) => Self::Other(x.as_str().to_owned()),
            DeValue::Boolean(b) => Self::Bool(*b),
            DeValue::Datetime(at) => Self::Other(at.to_string()),
            DeValue::Array(items) => Self::List(items.iter().map(node).collect()),
            DeValue::Table(entries) => Self::from_table(entries, place),
        }
    }

    fn from_table(entries: &DeTable<'_>, place: &dyn Fn(usize) -> String) -> Self {
        let named = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
            let key: &std::borrow::Cow<'_, str> = key.get_ref();
            let raw = Self::from_toml(value.get_ref(), place);
            (key.to_string(), Node { raw, place: place(value.span().start), text: None })
        };
        Self::Table(entries.iter().map(named).collect())
    }
}

/// As TOML, on one line.
impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Str(text) => write!(f, "{}", toml::Value::String(text.clone())),
            Self::Int(n) => write!(f, "{n}"),
            Self::Other(text) => f.write_str(text),
            Self::Bool(b) => write!(f, "{b}"),
            Self::List(items) => {
                f.write_str("[")?;
                for (i, item) in items.iter().enumerate() {
                    write!(f, "{}{}", if i == 0 { "" } else { ", " }, item.raw)?;
                }
                f.write_str("]")
            }
            Self::Table(entries) => {
                f.write_str("{")?;
                for (i, (key, item)) in entries.iter().enumerate() {
                    write!(f, "{}{key} = {}", if i == 0 { "" } else { ", " }, item.raw)?;
                }
                f.write_str("}")
            }
        }
    }
}

/// All sources laid over one another.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    entries: BTreeMap<String, Node>,
}

impl Tree {
    /// A file. What does not read as TOML is a problem with its line; the rest is used.
    pub(super) fn parse(path: &Path, text: &str, problems: &mut Vec<Problem>) -> Self {
        let place = |at: usize| {
            let line = text.bytes().take(at).filter(|b| *b == b'\n').count() + 1;
            format!("{}:{line}", path.display())
        };
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let at = error.span().map_or(0, |s| s.start);
            let detail = error.message().lines().collect::<Vec<_>>().join(", ");
            problems.push(Problem {
                place: place(at),
                key: String::new(),
                detail: format!("not TOML: {detail}"),
            });
        }
        match Raw::from_table(table.get_ref(), &place) {
            Raw::Table(entries) => Self { entries },
            _ => Self::default(),
        }
    }

    /// Lays one value over what is there. `key` is dotted; a number names an entry of a list, made
    /// where it is not there.
    pub(super) fn set(&mut self, key: &str, node: Node) {
        let (parents, last) = key.rsplit_once('.').map_or((None, key), |(p, l)| (Some(p), l));
        let mut entries = &mut self.entries;
        for step in parents.into_iter().flat_map(|p| p.split('.')) {
            if step == "0" {
                continue;
            }
            let is_list = key.split('.').nth(1) == Some("0");
            let next = entries.entry(step.to_owned()).or_insert_with(Node::empty);
            if is_list {
                if !matches!(&next.raw, Raw::List(items) if !items.is_empty()) {
                    next.raw = Raw::List(vec![Node::empty()]);
                }
            } else if !matches!(next.raw, Raw::Table(_)) {
                next.raw = Raw::Table(BTreeMap::new());
            }
            let inner = match &mut next.raw {
                Raw::List(items) => items.first_mut().map(|n| &mut n.raw),
                raw => Some(raw),
            };
            match inner {
                Some(Raw::Table(inner)) => entries = inner,
                _ => return,
            }
        }
        entries.insert(last.to_owned(), node);
    }

    /// The whole as one table.
    pub(super) fn root(self) -> Node {
        Node { raw: Raw::Table(self.entries), place: String::new(), text: None }
    }
}
