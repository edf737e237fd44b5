//! JSON objects in a message: all of it, after `@cee:`, or after other text up to the end.

use std::borrow::Cow;

use crate::base::json::compact;
use crate::base::record::Record;

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
    use crate::base::flatten::Flat;
    use crate::base::json::read_last_object;

    fn check(message: &str, want: Option<&str>) {
        let got = read_last_object(message, &mut Flat::default()).map(|found| found.to_string());
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
