//! A field's value as a text of its type, and back.
//!
//! What columns hold and slots are compared with (`fields`), and what is read of them again
//! (`chunk_fields`).

use super::pack::{Damage, Read, done};
use super::record::{read_value, write_value};
use crate::base::value::Value;

/// The types of values as they are stored, in the order of their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Null,
    Bool,
    Int,
    UInt,
    Float,
    Str,
    Array,
}

/// All, in the order of their numbers in the file.
pub(super) const KINDS: [Kind; 7] =
    [Kind::Null, Kind::Bool, Kind::Int, Kind::UInt, Kind::Float, Kind::Str, Kind::Array];

impl Kind {
    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Bool,
            Value::Int(_) => Self::Int,
            Value::UInt(_) => Self::UInt,
            Value::Float(_) => Self::Float,
            Value::Str(_) => Self::Str,
            Value::Array(_) => Self::Array,
        }
    }
}

/// The text that is stored for a value, and compared with slots; the one that people search for,
/// arrays apart.
pub(super) fn put_text(value: &Value, out: &mut Vec<u8>) {
    out.clear();
    match value {
        Value::Str(text) => out.extend_from_slice(text.as_bytes()),
        Value::Array(_) => write_value(value, out),
        other => out.extend_from_slice(other.to_string().as_bytes()),
    }
}

/// Is this the text of a value? Numbers have one text only, so that theirs need not be made.
pub(super) fn is_text_of(text: &[u8], value: &Value) -> bool {
    match value {
        Value::Bool(is) => text == if *is { &b"true"[..] } else { b"false" },
        Value::Str(value) => text == value.as_bytes(),
        Value::Int(n) => is_decimal(text) && read_number(text) == Some(*n),
        Value::UInt(n) => is_decimal(text) && read_number(text) == Some(*n),
        Value::Float(x) if is_short_fraction(text) => {
            read_number(text).is_some_and(|read: f64| read.to_bits() == x.to_bits())
        }
        other => text == other.to_string().as_bytes(),
    }
}

/// Is it an integer as it is written, with no zero in front?
fn is_decimal(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    match digits {
        [b'0'] => digits.len() == text.len(),
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// Digits up to which each text with a point is another number.
const FRACTION_DIGITS_MAX: usize = 15;

/// Zeros behind the point from which on an exponent is written.
const FRACTION_ZEROS_MAX: usize = 3;

/// Is it a number with a point as it is written, short enough that it is the only text of it?
fn is_short_fraction(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let Some(point) = digits.iter().position(|b| *b == b'.') else { return false };
    let (whole, fraction) = (digits.get(..point), digits.get(point + 1..));
    let (Some(whole), Some(fraction)) = (whole, fraction) else { return false };
    let zeros = fraction.iter().take_while(|b| **b == b'0').count();
    is_decimal(whole)
        && digits.len() <= FRACTION_DIGITS_MAX
        && fraction.iter().all(u8::is_ascii_digit)
        && fraction.last().is_some_and(|b| *b != b'0')
        && zeros <= FRACTION_ZEROS_MAX
}

fn read_number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The value of a stored text.
pub(super) fn read_text(kind: Kind, text: &[u8]) -> Read<Value> {
    let damage = Damage("a value that is not of its type");
    if kind == Kind::Array {
        let mut input = text;
        return read_value(&mut input).and_then(|value| done(input).map(|()| value));
    }
    let text = std::str::from_utf8(text).map_err(|_| damage)?;
    Ok(match kind {
        Kind::Null => Value::Null,
        Kind::Bool => Value::Bool(text.parse().map_err(|_| damage)?),
        Kind::Int => Value::Int(text.parse().map_err(|_| damage)?),
        Kind::UInt => Value::UInt(text.parse().map_err(|_| damage)?),
        Kind::Float => Value::Float(text.parse().map_err(|_| damage)?),
        Kind::Str | Kind::Array => Value::Str(text.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts() -> impl Strategy<Value = String> {
        prop_oneof![
            "-?[0-9]{1,3}",
            "-?[0-9]{1,3}\\.[0-9]{0,4}",
            "-?0\\.0{0,5}[0-9]{1,3}",
            "-?[0-9]{14,21}(\\.[0-9]{1,4})?",
            "[0-9.eE+-]{1,8}",
            "true|false|null",
        ]
    }

    proptest! {
        #[test]
        fn a_text_is_a_values_just_where_it_is_written_so(text in texts(), other: f64, n: i64) {
            let mut values = vec![Value::str(&*text), Value::Bool(true), Value::Float(other)];
            values.extend([Value::Int(n), Value::UInt(n.unsigned_abs())]);
            values.extend(text.parse().map(Value::Int));
            values.extend(text.parse().map(Value::UInt));
            values.extend(text.parse::<f64>().ok().filter(|x| x.is_finite()).map(Value::Float));
            for value in values {
                let same = text == value.to_string();
                prop_assert_eq!(is_text_of(text.as_bytes(), &value), same, "{} {:?}", text, value);
                let mut own = Vec::new();
                put_text(&value, &mut own);
                prop_assert!(is_text_of(&own, &value), "{:?}", value);
            }
        }
    }
}
