//! JSON text to flat fields, and to compact text.
//!
//! `serde_json` says where each value begins and ends; what a value means is said here, since a
//! log must also take what is JSON by its grammar only: numbers beyond a float, halves of
//! surrogate pairs, ten thousand levels of nesting (which are walked, never recursed into).

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer as _, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Deserializer;
use serde_json::value::RawValue;

use crate::base::flatten::Flat;
use crate::base::limits::ARRAY_ITEMS_MAX;
use crate::base::value::Value;

/// It is no JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnObject;

/// Puts the fields of the one object that `text` is; white space around it is allowed.
///
/// After an error `flat` may hold some of them.
pub fn read_object(text: &str, flat: &mut Flat) -> Result<(), NotAnObject> {
    members(text, flat).map(|_| ()).map_err(|_| NotAnObject)
}

/// The same value without white space between its parts, its texts written as themselves: only
/// what must be escaped is. Order of keys and spelling of numbers stay. Text that is no JSON
/// comes back as some text.
#[must_use]
pub fn compact(text: &str) -> Cow<'_, str> {
    let is_compact = |b: u8| !matches!(b, b' ' | b'\t' | b'\n' | b'\r' | b'\\');
    if text.bytes().all(is_compact) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(quote) = rest.find('"') {
        let (before, string) = rest.split_at(quote);
        out.extend(before.split([' ', '\t', '\n', '\r']));
        let end = string_end(string.as_bytes()).unwrap_or(string.len());
        let (string, after) = string.split_at(end);
        match serde_json::to_string(&*unquote(string)) {
            Ok(written) if string.contains('\\') => out.push_str(&written),
            _ => out.push_str(string),
        }
        rest = after;
    }
    out.extend(rest.split([' ', '\t', '\n', '\r']));
    Cow::Owned(out)
}

/// How long the string is that `bytes` begin with, its quotes included; `None`: it does not end,
/// or holds a control character that JSON would have escaped.
#[must_use]
pub fn string_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            0..=0x1f => return None,
            _ => at += 1,
        }
    }
}

/// Puts what `text`, one JSON value, says.
fn put(text: &str, flat: &mut Flat) -> Result<(), serde_json::Error> {
    match text.as_bytes().first() {
        Some(b'{') if flat.is_deepest() => {
            flat.note_too_deep();
            flat.put(Value::str(compact(text)));
        }
        Some(b'{') => {
            if members(text, flat)? == 0 {
                flat.put(Value::str("{}"));
            }
        }
        Some(b'[') => match scalars(text)? {
            Some(items) => flat.put(Value::Array(items)),
            None => flat.put(Value::str(compact(text))),
        },
        _ => flat.put(scalar(text)),
    }
    Ok(())
}

/// Puts the members of an object; how many there were.
fn members(text: &str, flat: &mut Flat) -> Result<usize, serde_json::Error> {
    let mut reader = Deserializer::from_str(text);
    let count = reader.deserialize_map(Members(flat))?;
    reader.end()?;
    Ok(count)
}

struct Members<'f>(&'f mut Flat);

impl<'de> Visitor<'de> for Members<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<usize, A::Error> {
        let mut count = 0;
        while let Some((key, value)) = map.next_entry::<&RawValue, &RawValue>()? {
            let mark = self.0.enter(&unquote(key.get()));
            put(value.get(), self.0).map_err(A::Error::custom)?;
            self.0.leave(mark);
            count += 1;
        }
        Ok(count)
    }
}

/// The items of an array of scalars; `None` where it is empty, too long, or holds a container.
fn scalars(text: &str) -> Result<Option<Vec<Value>>, serde_json::Error> {
    let mut reader = Deserializer::from_str(text);
    let items = reader.deserialize_seq(Scalars)?;
    reader.end()?;
    Ok(items)
}

struct Scalars;

impl<'de> Visitor<'de> for Scalars {
    type Value = Option<Vec<Value>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        let mut flat = true;
        while let Some(item) = seq.next_element::<&RawValue>()? {
            let item = item.get();
            flat &= !item.starts_with(['{', '[']) && items.len() < ARRAY_ITEMS_MAX;
            if flat {
                items.push(scalar(item));
            }
        }
        Ok((flat && !items.is_empty()).then_some(items))
    }
}

/// A string, number, boolean or null that `serde_json` has found well-formed.
fn scalar(text: &str) -> Value {
    match text {
        "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ if text.starts_with('"') => Value::str(unquote(text)),
        _ => number(text),
    }
}

/// A number in the narrowest kind that holds it.
fn number(text: &str) -> Value {
    if let Ok(n) = text.parse::<i64>() {
        Value::Int(n)
    } else if let Ok(n) = text.parse::<u64>() {
        Value::uint(n)
    } else {
        text.parse().map_or_else(|_| Value::str(text), Value::float)
    }
}

/// The text that a string in its quotes says; halves of surrogate pairs become U+FFFD.
fn unquote(string: &str) -> Cow<'_, str> {
    let inner = string.strip_prefix('"').and_then(|s| s.strip_suffix('"')).unwrap_or(string);
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let text = Deserializer::from_str(string).deserialize_str(Text);
    Cow::Owned(text.unwrap_or_else(|_| {
        let bytes = Deserializer::from_str(string).deserialize_bytes(Text);
        bytes.unwrap_or_else(|_| inner.to_owned())
    }))
}

struct Text;

impl Visitor<'_> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<String, E> {
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::NESTING_MAX;
    use crate::base::record::Defect;
    use proptest::prelude::*;

    fn check(text: &str, want: &[(&str, Value)]) {
        let mut flat = Flat::default();
        assert_eq!(read_object(text, &mut flat), Ok(()), "{text}");
        let got: Vec<(String, Value)> =
            flat.take().0.into_iter().map(|f| (f.name.to_string(), f.value)).collect();
        let want: Vec<_> = want.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect();
        assert_eq!(got, want, "{text}");
    }

    #[test]
    fn objects_become_flat() {
        let s = |text: &str| Value::str(text);
        check(" { } ", &[]);
        check(
            r#"{"a":{"b":{"c":1}},"a.b":{"c":2}}"#,
            &[("a.b.c", Value::Array(vec![Value::Int(1), Value::Int(2)]))],
        );
        check(
            r#"{"e":{ },"f":[ ],"g":[ 1, {"x" : 2} ],"h":[[1]]}"#,
            &[("e", s("{}")), ("f", s("[]")), ("g", s(r#"[1,{"x":2}]"#)), ("h", s("[[1]]"))],
        );
        check(
            r#"{"":"x","n":null,"l":[true,false,null,"é\n",-1.5]}"#,
            &[
                ("", s("x")),
                ("n", Value::Null),
                (
                    "l",
                    Value::Array(vec![
                        Value::Bool(true),
                        Value::Bool(false),
                        Value::Null,
                        s("é\n"),
                        Value::Float(-1.5),
                    ]),
                ),
            ],
        );
        check(
            r#"{"a":9223372036854775807,"b":18446744073709551615,"c":1e2,"d":1e999,"e":-1e999,"f":36893488147419103232}"#,
            &[
                ("a", Value::Int(i64::MAX)),
                ("b", Value::UInt(u64::MAX)),
                ("c", Value::Float(100.0)),
                ("d", s("inf")),
                ("e", s("-inf")),
                ("f", Value::Float(36_893_488_147_419_103_232.0)),
            ],
        );
        check(r#"{"\u65e5\ud83d\ude80":"\ud83d x"}"#, &[("日🚀", s("\u{fffd}\u{fffd}\u{fffd} x"))]);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["", "[]", "1", "{", "{}x", r#"{"a":}"#, "{\"a\":\"\t\"}", r#"{"a":{"b":[}}}"#]
        {
            assert_eq!(read_object(text, &mut Flat::default()), Err(NotAnObject), "{text}");
        }
    }

    #[test]
    fn the_deep_is_kept_as_text() {
        let deep = format!("{}1{}", "{\"a\": ".repeat(10_000), "}".repeat(10_000));
        let mut flat = Flat::default();
        assert_eq!(read_object(&deep, &mut flat), Ok(()));
        let (fields, defects) = flat.take();
        assert_eq!(fields[0].name.len(), NESTING_MAX * 2 - 1);
        let inner = 10_000 - NESTING_MAX;
        let want = format!("{}1{}", "{\"a\":".repeat(inner), "}".repeat(inner));
        assert_eq!(fields[0].value, Value::str(want));
        assert!(defects.has(Defect::TooManyFields));
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in r#"[\{\}\[\]":,\\u0-9a-f e.\-\n]{0,60}"#) {
            let is_read = read_object(&text, &mut Flat::default()).is_ok();
            let begins = text.trim_start().starts_with('{');
            prop_assert!(begins || !is_read);
            prop_assert!(compact(&text).len() <= 6 * text.len());
        }

        #[test]
        fn compact_means_the_same(depth in 0..5_usize, key in ".{0,6}", n in any::<f64>()) {
            let mut value = serde_json::json!([n, key, { key.clone(): key }]);
            for _ in 0..depth {
                value = serde_json::json!({ "k\n": [value] });
            }
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(compact(&pretty), value.to_string());
        }
    }
}
