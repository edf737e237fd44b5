//! JSON text to flat fields, and to compact text.
//!
//! One walk over the text, each byte looked at once: what JSON is by its grammar is taken, also
//! numbers beyond a float, halves of surrogate pairs, ten thousand levels of nesting (which are
//! walked, never recursed into). The tests hold the walk against `serde_json`.

use std::borrow::Cow;
use std::fmt;

use memchr::memchr_iter;
use serde::de::{Deserializer as _, Visitor};
use serde_json::Deserializer;

use crate::base::flatten::{Flat, Found};
use crate::base::limits::ARRAY_ITEMS_MAX;
use crate::base::value::Value;

/// It is no JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnObject;

/// Puts the fields of the one object that `text` is; white space around it is allowed.
///
/// After an error `flat` may hold some of them.
pub fn read_object(text: &str, flat: &mut Flat) -> Result<(), NotAnObject> {
    let mut walk = Walk { text, at: 0 };
    walk.blank();
    if walk.peek() != Some(b'{') {
        return Err(NotAnObject);
    }
    walk.object(flat).ok_or(NotAnObject)?;
    walk.blank();
    if walk.at == text.len() { Ok(()) } else { Err(NotAnObject) }
}

/// The number, truth value or null that all of `text` is.
#[must_use]
pub fn read_scalar(text: &str) -> Option<Value> {
    let mut walk = Walk { text, at: 0 };
    let value = if text.starts_with('"') { None } else { walk.scalar() };
    value.filter(|_| walk.at == text.len())
}

/// How many braces are tried: text before an object seldom has more.
const BRACES_TRIED: usize = 4;

/// The fields of the object that `text` ends with: all of it, or after other text.
pub fn read_last_object(text: &str, flat: &mut Flat) -> Option<Found> {
    let text = text.trim_ascii_end();
    if !text.ends_with('}') {
        return None;
    }
    memchr_iter(b'{', text.as_bytes()).take(BRACES_TRIED).find_map(|at| {
        let object = text.get(at..)?;
        // An object with anything in it begins with a key; braces in code and prose do not.
        let inner = object.get(1..)?.trim_ascii_start();
        if !inner.starts_with('"') {
            return None;
        }
        let is_read = read_object(object, flat).is_ok();
        let found = flat.found();
        is_read.then_some(found)
    })
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
        let written = string.contains('\\').then(|| serde_json::to_string(&unescaped(string)));
        out.push_str(written.and_then(Result::ok).as_deref().unwrap_or(string));
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
        at += plain_len(bytes.get(at..)?);
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => return None,
        }
    }
}

/// How many bytes stand before the first quote, backslash or control character. Eight at a time:
/// this is where most of a JSON line is passed.
#[must_use]
pub fn plain_len(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    let (words, rest) = bytes.as_chunks::<8>();
    for (n, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let zeros = |x: u64| x.wrapping_sub(ONES) & !x;
        let quotes = zeros(word ^ (ONES * u64::from(b'"')));
        let slashes = zeros(word ^ (ONES * u64::from(b'\\')));
        let controls = word.wrapping_sub(ONES * 0x20) & !word;
        // The lowest bit is that of the first one; those above it may be borrowed.
        let found = (quotes | slashes | controls) & HIGH;
        if found != 0 {
            return n * 8 + (found.trailing_zeros() / 8) as usize;
        }
    }
    let is_plain = |b: &u8| !matches!(b, b'"' | b'\\' | 0..=0x1f);
    bytes.len() - rest.len() + rest.iter().take_while(|b| is_plain(b)).count()
}

/// A place in a text. Each step returns `None` where the text is no JSON.
struct Walk<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Walk<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let next = self.peek()?;
        self.at += 1;
        Some(next)
    }

    /// Past white space.
    fn blank(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    /// Puts the members of the object that begins here; how many there were.
    fn object(&mut self, flat: &mut Flat) -> Option<usize> {
        self.at += 1;
        self.blank();
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(0);
        }
        let mut count = 0;
        loop {
            let key = self.string()?;
            self.colon()?;
            let mark = flat.enter(&key.text());
            self.value(flat)?;
            flat.leave(mark);
            count += 1;
            self.blank();
            match self.next()? {
                b',' => self.blank(),
                b'}' => return Some(count),
                _ => return None,
            }
        }
    }

    /// Past a colon, and the white space around it.
    fn colon(&mut self) -> Option<()> {
        self.blank();
        (self.next()? == b':').then(|| self.blank())
    }

    /// Puts what the value that begins here says.
    fn value(&mut self, flat: &mut Flat) -> Option<()> {
        match self.peek()? {
            b'{' if flat.is_deepest() => {
                flat.note_too_deep();
                flat.put(Value::str(compact(self.container()?)));
            }
            b'{' => {
                if self.object(flat)? == 0 {
                    flat.put(Value::str("{}"));
                }
            }
            b'[' => {
                let start = self.at;
                let items = self.scalars()?;
                if items.is_empty() {
                    self.at = start;
                    flat.put(Value::str(compact(self.container()?)));
                } else {
                    flat.put(Value::Array(items));
                }
            }
            _ => flat.put(self.scalar()?),
        }
        Some(())
    }

    /// The items of the array that begins here; none where it is empty, too long, or holds a
    /// container (and is not passed then).
    fn scalars(&mut self) -> Option<Vec<Value>> {
        self.at += 1;
        self.blank();
        let mut items = Vec::new();
        loop {
            if items.len() >= ARRAY_ITEMS_MAX || matches!(self.peek()?, b'{' | b'[' | b']') {
                return Some(Vec::new());
            }
            items.push(self.scalar()?);
            self.blank();
            match self.next()? {
                b',' => self.blank(),
                b']' => return Some(items),
                _ => return None,
            }
        }
    }

    /// The object or array that begins here, all of it, however deep.
    fn container(&mut self) -> Option<&'t str> {
        let start = self.at;
        let mut open = Vec::new();
        loop {
            // A value begins here.
            match self.peek()? {
                begin @ (b'{' | b'[') => {
                    self.at += 1;
                    self.blank();
                    let end = if begin == b'{' { b'}' } else { b']' };
                    if self.peek()? == end {
                        self.at += 1;
                    } else {
                        if end == b'}' {
                            self.string()?;
                            self.colon()?;
                        }
                        open.push(end);
                        continue;
                    }
                }
                _ => self.skip_scalar()?,
            }
            // It has ended, and perhaps some of those that it stands in.
            loop {
                let Some(end) = open.last().copied() else { return self.text.get(start..self.at) };
                self.blank();
                match self.next()? {
                    b',' => {
                        self.blank();
                        if end == b'}' {
                            self.string()?;
                            self.colon()?;
                        }
                        break;
                    }
                    other if other == end => drop(open.pop()),
                    _ => return None,
                }
            }
        }
    }

    fn skip_scalar(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.string().map(|_| ()),
            b't' | b'f' | b'n' => self.word().map(|_| ()),
            _ => self.number().map(|_| ()),
        }
    }

    fn scalar(&mut self) -> Option<Value> {
        match self.peek()? {
            b'"' => Some(Value::str(self.string()?.text())),
            b't' | b'f' | b'n' => self.word(),
            _ => {
                let (text, is_whole) = self.number()?;
                Some(number(text, is_whole))
            }
        }
    }

    fn word(&mut self) -> Option<Value> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let (len, value) = if rest.starts_with(b"true") {
            (4, Value::Bool(true))
        } else if rest.starts_with(b"false") {
            (5, Value::Bool(false))
        } else if rest.starts_with(b"null") {
            (4, Value::Null)
        } else {
            return None;
        };
        self.at += len;
        Some(value)
    }

    /// The number that begins here, and whether it has neither fraction nor exponent.
    fn number(&mut self) -> Option<(&'t str, bool)> {
        let start = self.at;
        if self.peek()? == b'-' {
            self.at += 1;
        }
        match self.peek()? {
            b'0' => self.at += 1,
            _ => self.digits()?,
        }
        let whole = self.at;
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Some((self.text.get(start..self.at)?, self.at == whole))
    }

    /// The string that begins here; its escapes are well-formed.
    fn string(&mut self) -> Option<Quoted<'t>> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        if self.next()? != b'"' {
            return None;
        }
        let mut is_escaped = false;
        loop {
            self.at += plain_len(bytes.get(self.at..)?);
            match self.next()? {
                b'"' => {
                    let quoted = self.text.get(start..self.at)?;
                    return Some(Quoted { quoted, is_escaped });
                }
                b'\\' => match self.next()? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    b'u' => {
                        let hex = bytes.get(self.at..self.at + 4)?;
                        if !hex.iter().all(u8::is_ascii_hexdigit) {
                            return None;
                        }
                        self.at += 4;
                    }
                    _ => return None,
                },
                _ => return None,
            }
            is_escaped = true;
        }
    }
}

/// A string in its quotes.
struct Quoted<'t> {
    quoted: &'t str,
    is_escaped: bool,
}

impl<'t> Quoted<'t> {
    fn text(&self) -> Cow<'t, str> {
        if self.is_escaped {
            Cow::Owned(unescaped(self.quoted))
        } else {
            Cow::Borrowed(inner(self.quoted))
        }
    }
}

fn inner(quoted: &str) -> &str {
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default()
}

/// A number in the narrowest kind that holds it; `is_whole`: without fraction and exponent.
fn number(text: &str, is_whole: bool) -> Value {
    if is_whole {
        if let Ok(n) = text.parse::<i64>() {
            return Value::Int(n);
        }
        if let Ok(n) = text.parse::<u64>() {
            return Value::uint(n);
        }
    }
    text.parse().map_or_else(|_| Value::str(text), Value::float)
}

/// The text that a string in its quotes says; halves of surrogate pairs become U+FFFD.
fn unescaped(quoted: &str) -> String {
    let text = Deserializer::from_str(quoted).deserialize_str(Text);
    text.unwrap_or_else(|_| {
        let bytes = Deserializer::from_str(quoted).deserialize_bytes(Text);
        bytes.unwrap_or_else(|_| inner(quoted).to_owned())
    })
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

    /// Flattened by way of `serde_json`, which sorts its keys as it is built here.
    fn put_all(value: &serde_json::Value, flat: &mut Flat) {
        let serde_json::Value::Object(members) = value else { return };
        for (key, value) in members {
            let mark = flat.enter(key);
            match value {
                serde_json::Value::Object(inner) if !inner.is_empty() => put_all(value, flat),
                serde_json::Value::Array(items) if !items.is_empty() && !items[0].is_object() => {
                    flat.put(Value::Array(items.iter().map(of_scalar).collect()));
                }
                other => flat.put(of_scalar(other)),
            }
            flat.leave(mark);
        }
    }

    fn of_scalar(value: &serde_json::Value) -> Value {
        match value {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(b) => Value::Bool(*b),
            serde_json::Value::String(text) => Value::str(text.as_str()),
            serde_json::Value::Number(n) => number(&n.to_string(), n.is_i64() || n.is_u64()),
            other => Value::str(other.to_string()),
        }
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
        fn what_is_json_is_what_serde_json_says(
            text in r#" ?\{("[\\ua0-9f"]{0,6}" ?: ?(-?[0-9]{0,2}(\.[0-9]{0,2})?([eE][+-]?[0-9]{0,2})?|"[^"]{0,9}"|[\[{]{0,3}[0-9",: ]{0,4}[\]}]{0,3}|true|nul{1,2}|false),? ?){0,3}\} ?"#,
        ) {
            let theirs = serde_json::from_str::<&serde_json::value::RawValue>(&text);
            let ours = read_object(&text, &mut Flat::default());
            prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{}", text);
            let (mut deep, mut flat) = (Walk { text: text.trim(), at: 0 }, Flat::default());
            let deep = deep.container().filter(|all| all.len() == text.trim().len());
            prop_assert_eq!(deep.is_some(), read_object(&text, &mut flat).is_ok(), "{}", text);
        }

        #[test]
        fn values_are_what_serde_json_says(
            names in prop::collection::vec(".{0,5}", 5), text: String, n: i64, x: f64, deep in any::<bool>(),
        ) {
            let mut value = serde_json::json!({ &names[0]: text, &names[1]: [n, x, text, null, true] });
            if deep {
                value = serde_json::json!({ &names[2]: value, &names[3]: [value], &names[4]: {} });
            }
            let mut flat = Flat::default();
            prop_assert_eq!(read_object(&serde_json::to_string_pretty(&value).unwrap(), &mut flat), Ok(()));
            let mut want = Flat::default();
            put_all(&value, &mut want);
            prop_assert_eq!(flat.take(), want.take());
        }

        #[test]
        fn plain_bytes_are_counted(text in r"[ -~é\u{1}]{0,40}") {
            let special = |b: &u8| matches!(b, b'"' | b'\\' | 0..=0x1f);
            let want = text.bytes().position(|b| special(&b)).unwrap_or(text.len());
            prop_assert_eq!(plain_len(text.as_bytes()), want);
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
