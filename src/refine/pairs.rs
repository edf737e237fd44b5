//! logfmt, and `key=value` anywhere in a text.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter};

use crate::base::flatten::{Flat, Found};
use crate::base::limits::FIELDS_MAX;
use crate::base::value::Value;

/// Longest key that is taken for one, bytes.
const KEY_BYTES_MAX: usize = 64;

/// Longest value without quotes, bytes: a longer run without a space is data of another kind.
const BARE_BYTES_MAX: usize = 4_096;

/// How many `=` are looked at, so that a long line made of them costs no more than its length.
const TRIES: usize = 2 * FIELDS_MAX;

/// The fields of all pairs in the message.
pub(super) fn read(message: &str, flat: &mut Flat) -> Option<Found> {
    let mut pairs = Pairs { text: message, from: 0, open_quote: None };
    for _ in 0..TRIES {
        match pairs.next_pair() {
            Try::Pair(key, value) => {
                let mark = flat.enter(key);
                flat.put(typed(&value));
                flat.leave(mark);
            }
            Try::Other => {}
            Try::End => break,
        }
    }
    let found = flat.found();
    (!found.is_empty()).then_some(found)
}

struct Pairs<'a> {
    text: &'a str,
    from: usize,
    /// A kind of quote that is known not to be closed in what is left.
    open_quote: Option<char>,
}

enum Try<'a> {
    Pair(&'a str, Cow<'a, str>),
    /// An `=` that makes no pair.
    Other,
    End,
}

impl<'a> Pairs<'a> {
    /// Looks at the next `=`.
    fn next_pair(&mut self) -> Try<'a> {
        let rest = self.text.as_bytes().get(self.from..).unwrap_or_default();
        let Some(equals) = memchr(b'=', rest).map(|at| self.from + at) else { return Try::End };
        let key_start = key_start(self.text, self.from, equals);
        self.from = equals + 1;
        let key = key_start.and_then(|start| self.text.get(start..equals));
        match key.and_then(|key| Some((key, self.value()?))) {
            Some((key, value)) => Try::Pair(key, value),
            None => Try::Other,
        }
    }

    /// The value that begins at `from`, which is moved behind it.
    fn value(&mut self) -> Option<Cow<'a, str>> {
        let rest = self.text.get(self.from..)?;
        if let Some(quote) = rest.chars().next().filter(|c| matches!(c, '"' | '\'')) {
            if self.open_quote == Some(quote) {
                return None;
            }
            let Some((value, len)) = quoted(rest, quote) else {
                self.open_quote = Some(quote);
                return None;
            };
            self.from += len;
            return Some(value);
        }
        let head = rest.get(..rest.floor_char_boundary(BARE_BYTES_MAX))?;
        let space = head.find(char::is_whitespace);
        let word = head.get(..space.unwrap_or(head.len()))?;
        let is_whole = space.is_some() || head.len() == rest.len();
        let end = comma_before_key(word).or_else(|| is_whole.then_some(word.len()))?;
        let value = trim_value(head.get(..end)?);
        // `==`, `=>`, `=~` are operators, not pairs; what holds another `=` is no plain value.
        if value.starts_with(['=', '>', '~']) || value.contains('=') && !value.starts_with('<') {
            return None;
        }
        self.from += end;
        Some(Cow::Borrowed(value))
    }
}

/// Where the key begins that ends at `equals`; `None` where there is none: it must be a name, and
/// stand at the beginning, or after a space or an opening sign.
fn key_start(text: &str, from: usize, equals: usize) -> Option<usize> {
    let is_key = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    let before = text.as_bytes().get(from..equals)?;
    let len = before.iter().rev().take(KEY_BYTES_MAX + 1).take_while(|b| is_key(b)).count();
    let start = equals - len;
    let first = text.as_bytes().get(start)?;
    let last = text.as_bytes().get(equals.checked_sub(1)?)?;
    let edge = start.checked_sub(1).and_then(|at| text.as_bytes().get(at));
    let is_edge = edge.is_none_or(|b| {
        matches!(b, b' ' | b'\t' | b'\n' | b',' | b';' | b'|' | b'(' | b'[' | b'{')
    });
    let is_name = len > 0
        && len <= KEY_BYTES_MAX
        && (first.is_ascii_alphabetic() || *first == b'_')
        && (last.is_ascii_alphanumeric() || *last == b'_');
    (is_name && is_edge).then_some(start)
}

/// Where a value ends that another pair follows after a comma: `a=1,b=2`.
fn comma_before_key(value: &str) -> Option<usize> {
    memchr_iter(b'=', value.as_bytes()).find_map(|equals| {
        let comma = key_start(value, 0, equals)?.checked_sub(1)?;
        (value.as_bytes().get(comma) == Some(&b',')).then_some(comma)
    })
}

/// The text between quotes at the beginning of `rest`, and the length of all of it.
fn quoted(rest: &str, quote: char) -> Option<(Cow<'_, str>, usize)> {
    let mut text = Cow::Borrowed("");
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == quote {
            if let Cow::Borrowed(_) = text {
                text = Cow::Borrowed(rest.get(1..at)?);
            }
            return Some((text, at + 1));
        }
        if c == '\\' && quote == '"' {
            let escaped = match chars.next()?.1 {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                other @ ('"' | '\\') => other,
                other => {
                    own(&mut text, rest, at).push('\\');
                    other
                }
            };
            own(&mut text, rest, at).push(escaped);
        } else if let Cow::Owned(text) = &mut text {
            text.push(c);
        }
    }
    None
}

/// The text so far as one that can be added to.
fn own<'t>(text: &'t mut Cow<'_, str>, rest: &str, at: usize) -> &'t mut String {
    if let Cow::Borrowed(_) = text {
        *text = Cow::Owned(rest.get(1..at).unwrap_or_default().to_owned());
    }
    text.to_mut()
}

/// A bare value without the signs that end it in prose and lists: commas, and brackets that it
/// does not open itself.
fn trim_value(value: &str) -> &str {
    let value = value.trim_end_matches([',', ';']);
    let Some(open) = value.chars().next_back().and_then(|closing| match closing {
        ')' => Some('('),
        ']' => Some('['),
        '}' => Some('{'),
        _ => None,
    }) else {
        return value;
    };
    if value.contains(open) { value } else { value.trim_end_matches([')', ']', '}']) }
}

/// Numbers and booleans where they read back as they were written, else text.
fn typed(text: &str) -> Value {
    match text {
        "true" => return Value::Bool(true),
        "false" => return Value::Bool(false),
        _ => {}
    }
    let could_be_number = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    if could_be_number && text.len() <= 20 {
        if let Some(n) = text.parse::<i64>().ok().filter(|n| n.to_string() == text) {
            return Value::Int(n);
        }
        if let Some(x) = text.parse::<f64>().ok().filter(|x| x.to_string() == text) {
            return Value::float(x);
        }
    }
    Value::str(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(message: &str, want: &str) {
        let got =
            read(message, &mut Flat::default()).map_or(String::new(), |found| found.to_string());
        assert_eq!(got, want, "{message}");
    }

    #[test]
    fn pairs_are_found() {
        check(
            r#"level=info msg="a \"b\" c\\d\n" dur=1.5 n=-3 zip=060 ok=true e="" x="#,
            "level=info msg=a \"b\" c\\d\n dur=1.5 n=-3 zip=060 ok=true e= x=",
        );
        check(
            "to=<a=b@x.jp>, relay=mx[1.2.3.4]:25, delay=0.10, status=sent (250 ok)",
            "to=<a=b@x.jp> relay=mx[1.2.3.4]:25 delay=0.10 status=sent",
        );
        check("user=,db=x,app=(a,b) c=1,2,3 LOG: x", "user= db=x app=(a,b) c=1,2,3");
        check(
            "IN=eth0 OUT= MAC=00:16 SRC=1.2.3.4 DF LEN=40",
            "IN=eth0 OUT= MAC=00:16 SRC=1.2.3.4 LEN=40",
        );
        check("failed (code=5, tries=3) [id=x]", "code=5 tries=3 id=x");
        check("調べ user.name=太郎 a=1 a=2", "user.name=太郎 a=[1,2]");
    }

    #[test]
    fn ordinary_text_has_none() {
        for text in [
            "",
            "no pair here",
            "a == b, c != d, e => f, x >= 1, y=~z",
            "GET /index.php?a=1&b=2 HTTP/1.1",
            "key=dGVzdA== is base64",
            "= 5",
            "x =5",
            "5=x",
            "-=x",
            "see http://x.jp/?q=1",
            r#"open="never closed"#,
            "日本=x",
        ] {
            check(text, "");
        }
    }

    #[test]
    fn hostile_lines_cost_little() {
        for (piece, has_pairs) in [
            ("(a=", false),
            ("=", false),
            ("a=\"", true),
            ("a=' ", true),
            ("a=b,", true),
            ("a=b=c;", false),
            ("(a=,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,", false),
        ] {
            let text = piece.repeat((1 << 20) / piece.len());
            assert_eq!(read(&text, &mut Flat::default()).is_some(), has_pairs, "{piece}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in r#"[a=" '\\,;(\[{é\n1-]{0,40}"#) {
            let found = read(&text, &mut Flat::default()).map(|found| found.to_string());
            prop_assert!(found.is_none_or(|found| found.contains('=') && text.contains('=')));
        }
    }
}
