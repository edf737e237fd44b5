//! A query as it was read: typed, and printing back to text that parses to the same tree.
//!
//! Nothing here looks at data. `plan` turns a tree into something that can be asked of a record.

use std::fmt;

use super::field::{Name, Number};

/// A query without its time range.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    /// Every record: the empty query, `*`.
    All,
    /// All of them; two at least, none of them an `And`.
    And(Vec<Node>),
    /// One of them at least; two at least, none of them an `Or`.
    Or(Vec<Node>),
    /// Not this.
    Not(Box<Node>),
    /// A text in the message, the host, the app or a field.
    Text(Text),
    /// `word:x`: the same, as whole words.
    Word(String),
    /// `/x/`: in the message.
    Regex(Pattern),
    /// `name:value` and its relatives.
    Field(Test),
    /// `name:(…)`: a tree whose leaves are all tests of that name.
    Group(Name, Box<Node>),
}

/// A text to be found.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Text {
    /// In any case and width.
    Plain(String),
    /// As it is typed (single quotes).
    Exact(String),
    /// In any case and width; `*` stands for any run within a line.
    Glob(String),
}

/// A regular expression, compiled when it is read so that its errors have a column.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    /// As typed between the slashes.
    pub(super) source: String,
    /// `/…/i`.
    pub(super) any_case: bool,
    /// The same, ready.
    pub(super) regex: regex::Regex,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source && self.any_case == other.any_case
    }
}

/// A condition on a field.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Test {
    /// Which field.
    pub(super) name: Name,
    /// What of it.
    pub(super) op: Op,
    /// All of it as typed (without the name inside of a group): the text it is where no record
    /// has such a field, and what it prints as.
    pub(super) typed: String,
}

/// What a field's value must be.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Op {
    /// There.
    Has,
    /// One of these.
    Is(Vec<Item>),
    /// Containing this.
    Contains(Text),
    /// Matched by this.
    Matches(Pattern),
}

/// One of the values asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    /// This value, as text, number or address.
    Value(Text),
    /// Anything between these two.
    Range(Option<Edge>, Option<Edge>),
}

/// One end of a range.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Edge {
    /// Where it is.
    pub(super) at: Operand,
    /// Does it belong to the range?
    pub(super) inclusive: bool,
}

/// What values are compared with.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operand {
    /// A number; a gravity for severities, nanoseconds for times.
    Number(Number),
    /// A text, in the order of its folded characters.
    Text(String),
}

impl Node {
    /// All of `nodes`, nested ones taken apart.
    pub(super) fn and(nodes: Vec<Self>) -> Self {
        let mut flat = Vec::with_capacity(nodes.len());
        for node in nodes {
            match node {
                Self::And(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        Self::only(flat, Self::And)
    }

    /// One of `nodes`, nested ones taken apart.
    pub(super) fn or(nodes: Vec<Self>) -> Self {
        let mut flat = Vec::with_capacity(nodes.len());
        for node in nodes {
            match node {
                Self::Or(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        Self::only(flat, Self::Or)
    }

    fn only(mut nodes: Vec<Self>, many: fn(Vec<Self>) -> Self) -> Self {
        match (nodes.pop(), nodes.is_empty()) {
            (None, _) => Self::All,
            (Some(one), true) => one,
            (Some(last), false) => {
                nodes.push(last);
                many(nodes)
            }
        }
    }

    /// Is it printed with blanks, so that it needs parentheses inside of others?
    fn is_list(&self) -> bool {
        matches!(self, Self::And(_) | Self::Or(_))
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::And(nodes) => list(f, nodes, " ", |n| matches!(n, Self::Or(_))),
            Self::Or(nodes) => list(f, nodes, " OR ", |_| false),
            Self::Not(node) if node.is_list() => write!(f, "NOT ({node})"),
            Self::Not(node) => write!(f, "NOT {node}"),
            Self::Text(text) => text.fmt(f),
            Self::Word(word) => {
                f.write_str("word:")?;
                quoted(f, word, '"')
            }
            Self::Regex(pattern) => pattern.fmt(f),
            Self::Field(test) => f.write_str(&test.typed),
            Self::Group(name, node) => write!(f, "{name}:({node})"),
        }
    }
}

fn list(
    f: &mut fmt::Formatter<'_>,
    nodes: &[Node],
    between: &str,
    wrap: fn(&Node) -> bool,
) -> fmt::Result {
    for (n, node) in nodes.iter().enumerate() {
        if n > 0 {
            f.write_str(between)?;
        }
        if wrap(node) {
            write!(f, "({node})")?;
        } else {
            write!(f, "{node}")?;
        }
    }
    Ok(())
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(text) if is_bare(text) => f.write_str(text),
            Self::Plain(text) => quoted(f, text, '"'),
            Self::Exact(text) => quoted(f, text, '\''),
            Self::Glob(text) => f.write_str(text),
        }
    }
}

/// Can it stand without quotes, whatever stands around it?
fn is_bare(text: &str) -> bool {
    text.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !matches!(text, "" | "AND" | "OR" | "NOT" | "TO")
}

/// In quotes, so that it reads back as it is.
pub(super) fn quoted(f: &mut impl fmt::Write, text: &str, quote: char) -> fmt::Result {
    f.write_char(quote)?;
    for c in text.chars() {
        if c == quote || c == '\\' {
            f.write_char('\\')?;
        }
        f.write_char(c)?;
    }
    f.write_char(quote)
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/{}", self.source, if self.any_case { "i" } else { "" })
    }
}

/// Of a text the text, of a number its digits.
impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(Number::Int(n)) => n.fmt(f),
            Self::Number(Number::Float(x)) => x.fmt(f),
        }
    }
}
