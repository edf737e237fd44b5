//! Structured data (RFC 5424 6.3): `[id name="value" …][…]` to fields `sd.<id>.<name>`.

use std::sync::Arc;

use crate::base::limits::{FIELD_NAME_BYTES_MAX, FIELDS_MAX};
use crate::base::record::Defect;
use crate::base::value::{Field, Value};
use crate::decode::frame::whole_characters;

use super::{Context, skip_spaces};

/// Reads all elements at the beginning of `bytes`, appends their fields, and gives what follows
/// them; `None`, and nothing appended, where they are not well formed.
///
/// Laxer than the RFC where nothing is lost by it: names that are not ASCII, `]` unescaped in a
/// value, values without quotes or after a space. A name given twice is an array of its values, an element without any is `true`.
pub(super) fn read<'a>(
    bytes: &'a [u8],
    fields: &mut Vec<Field>,
    context: &mut Context<'_>,
) -> Option<&'a [u8]> {
    let known = fields.len();
    let rest = elements(bytes, fields, context);
    if rest.is_none() {
        fields.truncate(known);
    }
    rest
}

fn elements<'a>(
    mut rest: &'a [u8],
    fields: &mut Vec<Field>,
    context: &mut Context<'_>,
) -> Option<&'a [u8]> {
    let mut room = FIELDS_MAX;
    while let [b'[', element @ ..] = rest {
        let (id, mut params) = name(element)?;
        let mut name_of = String::with_capacity(32);
        name_of.push_str("sd.");
        name_of.push_str(&context.text(id));
        let stem = name_of.len();
        let mut is_bare = true;
        rest = loop {
            params = match params {
                [b']', rest @ ..] => break rest,
                [b' ', b' ' | b']', ..] => params.get(1..)?,
                [b' ', param @ ..] => {
                    let (name, value) = name(param)?;
                    let value = value.strip_prefix(b"=")?;
                    let (text, after) = match skip_spaces(value) {
                        [b'"', value @ ..] => quoted(value)?,
                        _ => bare(value)?,
                    };
                    name_of.truncate(stem);
                    name_of.push('.');
                    name_of.push_str(&context.text(name));
                    let value = Value::Str(match text {
                        Text::Plain(bytes) => context.text(bytes).into(),
                        Text::Unescaped(bytes) => context.text(&bytes).into(),
                    });
                    add(fields, &name_of, value, &mut room);
                    is_bare = false;
                    after
                }
                _ => return None,
            };
        };
        if is_bare {
            add(fields, &name_of, Value::Bool(true), &mut room);
        }
    }
    if room == 0 {
        context.defects.add(Defect::TooManyFields);
    }
    Some(rest)
}

/// SD-NAME: at least one byte, up to what may not stand in it.
fn name(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|b| matches!(b, b'=' | b']' | b'"' | 0..=b' '))?;
    (end > 0).then(|| bytes.split_at_checked(end)).flatten()
}

enum Text<'a> {
    Plain(&'a [u8]),
    Unescaped(Vec<u8>),
}

/// A value without quotes, which the RFC does not have but some send.
fn bare(bytes: &[u8]) -> Option<(Text<'_>, &[u8])> {
    let end = bytes.iter().position(|b| matches!(b, b' ' | b']' | b'"' | b'\n'))?;
    let (plain, rest) = bytes.split_at_checked(end)?;
    (end > 0 && !rest.starts_with(b"\"")).then_some((Text::Plain(plain), rest))
}

/// A value to its closing quote. A backslash takes its meaning from `"`, `\` and `]` only and is
/// itself before all others (6.3.3).
fn quoted(bytes: &[u8]) -> Option<(Text<'_>, &[u8])> {
    let mut end = memchr::memchr2(b'"', b'\\', bytes)?;
    if bytes.get(end) == Some(&b'"') {
        let (plain, rest) = bytes.split_at_checked(end)?;
        return Some((Text::Plain(plain), rest.get(1..)?));
    }
    let mut text = Vec::with_capacity(64);
    let mut rest = bytes;
    loop {
        let (plain, after) = rest.split_at_checked(end)?;
        text.extend_from_slice(plain);
        rest = match after {
            [b'"', rest @ ..] => return Some((Text::Unescaped(text), rest)),
            [b'\\', escaped @ (b'"' | b'\\' | b']'), rest @ ..] => {
                text.push(*escaped);
                rest
            }
            [backslash, rest @ ..] => {
                text.push(*backslash);
                rest
            }
            [] => return None,
        };
        end = memchr::memchr2(b'"', b'\\', rest)?;
    }
}

/// Adds a value while there is room for one: values are counted, not names, which also bounds the
/// work of looking each name up.
fn add(fields: &mut Vec<Field>, name: &str, value: Value, room: &mut usize) {
    if *room == 0 {
        return;
    }
    *room -= 1;
    let name = whole_characters(name.as_bytes(), FIELD_NAME_BYTES_MAX);
    let name = std::str::from_utf8(name).unwrap_or_default();
    match fields.iter_mut().find(|f| &*f.name == name) {
        Some(Field { value: Value::Array(values), .. }) => values.push(value),
        Some(field) => {
            let first = std::mem::replace(&mut field.value, Value::Null);
            field.value = Value::Array(vec![first, value]);
        }
        None => fields.push(Field { name: Arc::from(name), value }),
    }
}
