//! Fields that a record's own JSON object gives: read again from its text, never kept beside it.
//!
//! Stands between `fields` (which asks whether a value can be had this way) and `chunk_fields`
//! (which reads it). Both read the same text by the same rules, those of `base::json` and
//! `base::flatten`, so that what is equal when it is written is equal when it is read; a change of
//! these rules is a new version of the format.

use crate::base::flatten::Flat;
use crate::base::json::read_last_object;
use crate::base::value::{Field, Value};

/// The fields of the object that `text` ends with; none where there is none.
pub(super) fn fields_of(text: &[u8], flat: &mut Flat) -> Vec<Field> {
    let text = std::str::from_utf8(text).ok();
    let found = text.and_then(|text| read_last_object(text, flat));
    found.map(crate::base::flatten::Found::into_fields).unwrap_or_default()
}

/// The same without the first whose value is the message, which `contract` 3 does not repeat.
pub(super) fn without_message(mut fields: Vec<Field>, message: &[u8]) -> Vec<Field> {
    let is_message = |field: &Field| match &field.value {
        Value::Str(text) => text.as_bytes() == message,
        _ => false,
    };
    if let Some(at) = fields.iter().position(is_message) {
        fields.remove(at);
    }
    fields
}

/// Is it the same value to the bit? (`-0.0` equals `0.0` otherwise.)
pub(super) fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b))
        }
        (a, b) => a == b,
    }
}

/// Are these the same fields in the same order?
pub(super) fn are_same(a: &[Field], b: &[Field]) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| a.name == b.name && is_same(&a.value, &b.value))
}
