//! JSON objects in a message: all of it, after `@cee:`, or after other text up to the end.

use std::borrow::Cow;

use memchr::memchr_iter;

use crate::base::flatten::{Flat, Found};
use crate::base::json::{compact, read_object};
use crate::base::record::Record;

/// How many braces are tried: text before an object seldom has more.
const TRIES: usize = 4;

/// The fields of the object that the message ends with.
pub(super) fn read(message: &str, flat: &mut Flat) -> Option<Found> {
    let text = message.trim_ascii_end();
    if !text.ends_with('}') {
        return None;
    }
    memchr_iter(b'{', text.as_bytes()).take(TRIES).find_map(|at| {
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

/// Is the message the JSON of the whole object that came, whose fields are known?
pub(super) fn is_whole_object(record: &Record) -> bool {
    if !matches!(&*record.via.format, "json" | "forward") || !record.message().starts_with('{') {
        return false;
    }
    let raw = record.line.raw();
    let is_raw = record.line.span() == Some((0, raw.len()));
    is_raw || {
        let text: Cow<'_, str> = String::from_utf8_lossy(raw);
        compact(&text) == record.message()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(message: &str, want: Option<&str>) {
        let got = read(message, &mut Flat::default()).map(|found| found.to_string());
        assert_eq!(got.as_deref(), want, "{message}");
    }

    #[test]
    fn objects_are_found() {
        check(r#"{"a":1,"b":{"c":"x"}}"#, Some("a=1 b.c=x"));
        check("@cee: {\"a\": 1}\n", Some("a=1"));
        check(r#"request {id} failed: {"code": 5}"#, Some("code=5"));
        check(r#"a { b {"code": 5}"#, Some("code=5"));
        for message in ["", "}", "{}", "x {}", "fn main() { x }", r#"{"a":1} done"#, r#"{"a":}"#] {
            check(message, None);
        }
    }
}
