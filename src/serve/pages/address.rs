//! The state of a page, all of it in its address: what was asked, over which time, where one is.
//!
//! Every link of a page is this with one thing changed. A link adds to the visible text of the
//! query or takes from it; nothing is hidden beside it.

use std::fmt::Write as _;

use crate::serve::params::Params;

/// What an address of the viewer says. Empty texts are as good as absent ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Address {
    /// The query.
    pub(crate) q: String,
    /// Begin of the range, as typed.
    pub(crate) from: String,
    /// End of the range, as typed.
    pub(crate) to: String,
    /// `asc` for oldest first.
    pub(crate) order: String,
    /// Where this page of lines begins.
    pub(crate) cursor: String,
    /// Not empty: the lines *before* the cursor are asked for.
    pub(crate) newer: String,
    /// The line that is open.
    pub(crate) open: String,
    /// Zone of all times, IANA.
    pub(crate) tz: String,
    /// `ja` or `en`.
    pub(crate) lang: String,
    /// Not empty: the page follows what comes.
    pub(crate) live: String,
}

impl Address {
    /// Of a request.
    pub(crate) fn from_params(params: &Params) -> Self {
        let text = |name| params.get(name).unwrap_or_default().to_owned();
        Self {
            q: text("q"),
            from: text("from"),
            to: text("to"),
            order: text("order"),
            cursor: text("cursor"),
            newer: text("newer"),
            open: text("open"),
            tz: text("tz"),
            lang: text("lang"),
            live: text("live"),
        }
    }

    /// The address, below `path`.
    pub(crate) fn below(&self, path: &str) -> String {
        let parts = [
            ("q", &self.q),
            ("from", &self.from),
            ("to", &self.to),
            ("order", &self.order),
            ("cursor", &self.cursor),
            ("newer", &self.newer),
            ("open", &self.open),
            ("tz", &self.tz),
            ("lang", &self.lang),
            ("live", &self.live),
        ];
        let mut href = String::from(path);
        for (name, value) in parts.into_iter().filter(|(_, value)| !value.is_empty()) {
            href.push(if href.len() == path.len() { '?' } else { '&' });
            href.push_str(name);
            href.push('=');
            encode(value, &mut href);
        }
        href
    }

    /// The viewer's address.
    pub(crate) fn href(&self) -> String {
        self.below("/")
    }

    /// The same question from its first line on, nothing open.
    fn fresh(&self) -> Self {
        Self { cursor: String::new(), newer: String::new(), open: String::new(), ..self.clone() }
    }

    /// Another question.
    pub(crate) fn asking(&self, q: impl Into<String>) -> Self {
        Self { q: q.into(), ..self.fresh() }
    }

    /// With one more condition.
    pub(crate) fn adding(&self, term: &str) -> Self {
        self.asking(add(&self.q, term))
    }

    /// Over another time; following what comes makes sense only without an end.
    pub(crate) fn over(&self, from: impl Into<String>, to: impl Into<String>) -> Self {
        let to = to.into();
        let live = if to.is_empty() { self.live.clone() } else { String::new() };
        Self { from: from.into(), to, live, ..self.fresh() }
    }

    /// With this line open, or none.
    pub(crate) fn opening(&self, id: Option<u64>) -> Self {
        Self { open: id.map(|id| id.to_string()).unwrap_or_default(), ..self.clone() }
    }

    /// At another page of lines.
    pub(crate) fn at(&self, cursor: String, newer: bool) -> Self {
        let newer = if newer { "1" } else { "" };
        Self { cursor, newer: newer.into(), live: String::new(), ..self.fresh() }
    }

    /// In the other order.
    pub(crate) fn turned(&self) -> Self {
        let order = if self.order == "asc" { "" } else { "asc" };
        Self { order: order.into(), live: String::new(), ..self.fresh() }
    }

    /// Following what comes, or not.
    pub(crate) fn following(&self, on: bool) -> Self {
        let live = if on { "1" } else { "" };
        if on {
            return Self {
                live: live.into(),
                order: String::new(),
                to: String::new(),
                ..self.fresh()
            };
        }
        Self { live: live.into(), ..self.clone() }
    }

    /// In another language.
    pub(crate) fn speaking(&self, lang: &str) -> Self {
        Self { lang: lang.into(), ..self.clone() }
    }
}

/// Percent-encodes what a query parameter cannot hold as it is, and leaves the rest readable.
pub(crate) fn encode(value: &str, out: &mut String) {
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => out.push(char::from(byte)),
            b'-' | b'.' | b'_' | b'~' | b':' | b'/' | b',' | b'*' | b'(' | b')' | b'!' | b'@' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            other => write!(out, "%{other:02X}").unwrap_or_default(),
        }
    }
}

/// `query` and one more condition; a condition that stands there already is not added again.
pub(crate) fn add(query: &str, term: &str) -> String {
    let query = query.trim();
    if query.is_empty() || query == "*" {
        return term.to_owned();
    }
    if has_term(query, term) {
        return query.to_owned();
    }
    // One line has one host, app and severity: another one takes the place of the first.
    let single = ["host:", "app:", "severity:"].into_iter().find(|name| term.starts_with(name));
    if let Some(name) = single
        && !has_or(query)
        && words(query).iter().any(|word| word.starts_with(name))
    {
        let swap = |word| if str::starts_with(word, name) { term } else { word };
        let swapped: Vec<&str> = words(query).into_iter().map(swap).collect();
        return swapped.join(" ");
    }
    let mut out = query.to_owned();
    if has_or(query) && !is_wrapped(query) {
        out = format!("({query})");
    }
    // The opposite condition goes: a click on "not this" after "only this" changes one's mind.
    let opposite = term.strip_prefix('-').map_or_else(|| format!("-{term}"), str::to_owned);
    if has_term(&out, &opposite) && !out.starts_with('(') {
        let kept: Vec<&str> = words(&out).into_iter().filter(|w| *w != opposite).collect();
        out = kept.join(" ");
    }
    if out.is_empty() { term.to_owned() } else { format!("{out} {term}") }
}

/// Cut at spaces outside of quotes and parentheses.
fn words(query: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let (mut start, mut quote, mut depth, mut escaped) = (0, None, 0_usize, false);
    let mut before = ' ';
    for (at, c) in query.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some('"'), '\\') => escaped = true,
            (Some(open), close) if open == close => quote = None,
            // Inside a word (`it's`) a quote is a letter.
            (None, '"' | '\'') if !before.is_alphanumeric() => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') => depth = depth.saturating_sub(1),
            (None, ' ' | '\t' | '\n') if depth == 0 => {
                words.push(query.get(start..at).unwrap_or_default());
                start = at + c.len_utf8();
            }
            _ => {}
        }
        before = c;
    }
    words.push(query.get(start..).unwrap_or_default());
    words.retain(|word| !word.is_empty());
    words
}

fn has_term(query: &str, term: &str) -> bool {
    words(query).contains(&term)
}

fn has_or(query: &str) -> bool {
    words(query).iter().any(|word| matches!(*word, "OR" | "||"))
}

fn is_wrapped(query: &str) -> bool {
    query.starts_with('(') && words(query).len() == 1
}

/// `name:value` as the language reads it back to just that (query.md 2).
pub(crate) fn condition(name: &str, value: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '@' | '+');
    let name = if !name.is_empty() && name.chars().all(|c| plain(c) && c != '/') {
        name.to_owned()
    } else {
        quoted(name)
    };
    let starts_well = value.chars().next().is_some_and(|c| c.is_alphanumeric() || c == '_');
    let plain_value = starts_well && !value.contains("..") && value.chars().all(plain);
    if plain_value { format!("{name}:{value}") } else { format!("{name}:{}", quoted(value)) }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_added_to_the_visible_text() {
        for (query, term, want) in [
            ("", "host:web-1", "host:web-1"),
            ("*", "host:web-1", "host:web-1"),
            ("timeout", "host:web-1", "timeout host:web-1"),
            ("timeout host:web-1", "host:web-1", "timeout host:web-1"),
            ("a OR b", "host:web-1", "(a OR b) host:web-1"),
            ("(a OR b)", "host:web-1", "(a OR b) host:web-1"),
            ("(a OR b) OR (c)", "x:1", "((a OR b) OR (c)) x:1"),
            ("\"this OR that\"", "x:1", "\"this OR that\" x:1"),
            ("it's a OR b", "x:1", "(it's a OR b) x:1"),
            ("timeout app:nginx", "-app:nginx", "timeout -app:nginx"),
            ("-app:nginx", "app:nginx", "app:nginx"),
            ("x severity:info y", "severity:error", "x severity:error y"),
        ] {
            assert_eq!(add(query, term), want, "{query:?} + {term:?}");
        }
    }

    #[test]
    fn a_condition_names_exactly_this_value() {
        for (name, value, want) in [
            ("host", "web-1", "host:web-1"),
            ("status", "500", "status:500"),
            ("url.path", "/a/b", "url.path:\"/a/b\""),
            ("user", "Ann \"x\" \\ Lee", "user:\"Ann \\\"x\\\" \\\\ Lee\""),
            ("odd key", "x", "\"odd key\":x"),
            ("app", "a,b*", "app:\"a,b*\""),
            ("range", "1..2", "range:\"1..2\""),
            ("n", "-5", "n:\"-5\""),
            ("host", "::1", "host:\"::1\""),
            ("user", "調べ", "user:調べ"),
        ] {
            assert_eq!(condition(name, value), want);
        }
    }

    #[test]
    fn an_address_holds_what_it_was_made_from() {
        let address = Address {
            q: "調べ & \"100%\" +x=#1".into(),
            from: "2026-03-01T09:00:00+09:00".into(),
            live: "1".into(),
            ..Address::default()
        };
        let href = address.href();
        let pairs = href.trim_start_matches("/?").split('&').filter_map(|p| p.split_once('='));
        let decode = |text: &str| {
            let uri: axum::http::Uri = format!("/?v={text}").parse().unwrap();
            axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri).unwrap().0[0]
                .1
                .clone()
        };
        let pairs = pairs.map(|(name, value)| (name.to_owned(), decode(value))).collect();
        assert_eq!(Address::from_params(&Params::new(pairs).unwrap()), address);
        assert!(href.starts_with("/?q=%E8%AA%BF%E3%81%B9+%26+%22100%25%22+%2Bx%3D%231&from="));
        assert!(href.ends_with("&live=1"), "{href}");
        assert_eq!(Address::default().href(), "/");
    }
}
