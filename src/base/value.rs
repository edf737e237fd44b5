//! The value of a field: what JSON and msgpack can say, and no more.
//!
//! Keys with several types over time are fine; nothing is ever rejected for its type.

use std::fmt;

/// One field of a record: a flat, dotted name and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Dotted path, e.g. `http.response.status_code`. May be empty (msgpack allows it).
    pub name: std::sync::Arc<str>,
    /// The value, with the type that the sender gave it.
    pub value: Value,
}

impl Field {
    /// Rough size in memory, bytes; what budgets count. Names are mostly shared.
    #[must_use]
    pub fn weight(&self) -> usize {
        64 + self.value.weight()
    }
}

/// Where the field of each of `names` stands, in one pass: most fields of a record are none of
/// the few that something is read from, and are passed by their length.
#[must_use]
pub fn places<const N: usize>(fields: &[Field], names: &[&str; N]) -> [Option<usize>; N] {
    let bit = |name: &str| 1_u64 << (name.len() % 64);
    let lengths = names.iter().fold(0, |bits, name| bits | bit(name));
    let mut found = [None; N];
    for (at, field) in fields.iter().enumerate() {
        if lengths & bit(&field.name) == 0 {
            continue;
        }
        for (name, place) in names.iter().zip(&mut found) {
            if *field.name == **name && place.is_none() {
                *place = Some(at);
            }
        }
    }
    found
}

/// A scalar, or an array of scalars.
///
/// Integers that fit `i64` are always [`Value::Int`]; [`Value::UInt`] is only for those above
/// `i64::MAX`, so that equal numbers compare equal. Floats are finite: NaN and infinities are
/// kept as strings (contract 3).
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// JSON `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// Any integer from `i64::MIN` to `i64::MAX`.
    Int(i64),
    /// An integer above `i64::MAX`.
    UInt(u64),
    /// A finite float.
    Float(f64),
    /// Text.
    Str(Box<str>),
    /// Scalars only; never nested.
    Array(Vec<Value>),
}

impl Value {
    /// Text from anything that is text.
    pub fn str(text: impl Into<Box<str>>) -> Self {
        Self::Str(text.into())
    }

    /// An unsigned integer in its canonical variant.
    #[must_use]
    pub fn uint(n: u64) -> Self {
        i64::try_from(n).map_or(Self::UInt(n), Self::Int)
    }

    /// A float; NaN and infinities become the strings `NaN`, `inf`, `-inf`.
    #[must_use]
    pub fn float(x: f64) -> Self {
        if x.is_finite() { Self::Float(x) } else { Self::Str(x.to_string().into()) }
    }

    /// The text, when the value is text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(s) => Some(s),
            _ => None,
        }
    }

    /// The value as a number; a text that reads as a number counts as one (query.md 2).
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "comparison on floats is what is asked")]
            Self::Int(n) => Some(*n as f64),
            #[expect(clippy::cast_precision_loss, reason = "comparison on floats is what is asked")]
            Self::UInt(n) => Some(*n as f64),
            Self::Float(x) => Some(*x),
            Self::Str(s) => s.trim().parse().ok().filter(|x: &f64| x.is_finite()),
            _ => None,
        }
    }

    /// What it holds besides itself, bytes, about.
    fn weight(&self) -> usize {
        match self {
            Self::Str(text) => text.len(),
            Self::Array(items) => items.iter().map(|item| 32 + item.weight()).sum(),
            _ => 0,
        }
    }

    /// As JSON.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(b) => (*b).into(),
            Self::Int(n) => (*n).into(),
            Self::UInt(n) => (*n).into(),
            Self::Float(x) => (*x).into(),
            Self::Str(s) => (&**s).into(),
            Self::Array(items) => items.iter().map(Self::to_json).collect(),
        }
    }
}

/// The text a person would search for: strings bare, everything else as JSON.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Str(s) => f.write_str(s),
            other => write!(f, "{}", other.to_json()),
        }
    }
}
