//! The parameters of a call, from its address or, with POST, its form.
//!
//! An empty value is as good as none, since forms send their empty boxes. A name that a call does
//! not know is ignored; one that is given twice is refused, since no choice between the two would
//! be what both meant.

use std::str::FromStr;
use std::time::Duration;

use axum::Form;
use axum::body::HttpBody as _;
use axum::extract::{FromRequest, Query as Address, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};

use crate::base::limits::FORM_SECONDS_MAX;
use crate::base::time::{TimeRange, Timestamp, Zone};
use crate::query::{Context, Cursor, Query, parse_time};
use crate::reply::Problem;
use crate::serve::State;

/// Names and values as they came, without empty ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params(Vec<(String, String)>);

/// What a call with `q` is about.
#[derive(Clone, Debug)]
pub struct Question {
    /// `q`, read.
    pub query: Query,
    /// `from` and `to`; the query's own range is in `query`.
    pub range: TimeRange,
    /// What relative times count from, and `tz`.
    pub context: Context,
    /// Page to go on from.
    pub cursor: Option<Cursor>,
}

impl Params {
    /// From pairs; empty values are left out.
    pub fn new(pairs: Vec<(String, String)>) -> Result<Self, Problem> {
        let mut kept: Vec<(String, String)> = Vec::new();
        for (name, value) in pairs.into_iter().filter(|(_, value)| !value.is_empty()) {
            if kept.iter().any(|(other, _)| *other == name) {
                let name: String = name.chars().take(100).collect();
                let detail = format!("the parameter {name:?} is given twice");
                return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
            }
            kept.push((name, value));
        }
        Ok(Self(kept))
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// `true`, `1`, `yes` or `on`; `false` where it is not given.
    pub fn flag(&self, name: &'static str) -> Result<bool, Problem> {
        match self.get(name) {
            None | Some("false" | "0" | "no" | "off") => Ok(false),
            Some("true" | "1" | "yes" | "on") => Ok(true),
            Some(other) => Err(Problem::parameter(name, other, "true or false")),
        }
    }

    /// A whole number from 1 to `max`.
    pub fn number(&self, name: &'static str, default: usize, max: usize) -> Result<usize, Problem> {
        let Some(text) = self.get(name) else { return Ok(default) };
        usize::from_str(text)
            .ok()
            .filter(|n| (1..=max).contains(n))
            .ok_or_else(|| Problem::parameter(name, text, &format!("a number from 1 to {max}")))
    }

    /// `tz`, else the configured zone.
    pub fn zone(&self, default: &Zone) -> Result<Zone, Problem> {
        let Some(name) = self.get("tz") else { return Ok(default.clone()) };
        Zone::named(name)
            .ok_or_else(|| Problem::parameter("tz", name, "an IANA name such as Asia/Tokyo or UTC"))
    }

    /// `from` or `to`.
    fn time(&self, name: &'static str, context: &Context) -> Result<Option<Timestamp>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let time = parse_time(text, context).ok_or_else(|| {
            let expected =
                "a time: RFC 3339, seconds since 1970, now, -15m, today, yesterday 17:30";
            Problem::parameter(name, text, expected)
        })?;
        Ok(Some(time))
    }

    /// `q`, `from`, `to`, `tz`, `cursor`, read at the instant `now`. Parsing a large query takes
    /// a while: call it on a blocking thread, inside of [`State::ask`].
    ///
    /// With a cursor, relative times count from the instant of the first page, so that the range
    /// does not move from page to page.
    pub fn question(&self, now: Timestamp, zone: &Zone) -> Result<Question, Problem> {
        let (cursor, now) = match self.get("cursor") {
            None => (None, now),
            Some(text) => {
                let (cursor, now) = read_cursor(text).ok_or_else(|| {
                    Problem::parameter("cursor", text, "what the page before gave as next")
                })?;
                (Some(cursor), now)
            }
        };
        let context = Context { now, zone: self.zone(zone)? };
        let query = Query::parse(self.get("q").unwrap_or_default(), &context)?;
        let range = TimeRange {
            from: self.time("from", &context)?.unwrap_or(Timestamp::MIN),
            to: self.time("to", &context)?.unwrap_or(Timestamp::MAX),
        };
        Ok(Question { query, range, context, cursor })
    }
}

impl FromRequest<State> for Params {
    type Rejection = Problem;

    /// The pairs of the address, then those of the form.
    async fn from_request(request: Request, state: &State) -> Result<Self, Problem> {
        let Address(mut pairs) = Address::<Vec<(String, String)>>::try_from_uri(request.uri())
            .map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))?;
        // Clients name a type for an empty body too.
        let has_form = request.method() == Method::POST
            && request.headers().contains_key(CONTENT_TYPE)
            && request.body().size_hint().exact() != Some(0);
        if has_form {
            let form = Form::<Vec<(String, String)>>::from_request(request, state);
            let Form(form) = tokio::time::timeout(Duration::from_secs(FORM_SECONDS_MAX), form)
                .await
                .map_err(|_| Problem::new(StatusCode::REQUEST_TIMEOUT, "the form is too slow"))?
                .map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))?;
            pairs.extend(form);
        }
        Self::new(pairs)
    }
}

/// A cursor as text: base64url of time, id, last id and the first page's `now`, each 8 bytes,
/// least significant first.
pub fn cursor_text(cursor: &Cursor, now: Timestamp) -> String {
    let parts = [
        cursor.time.0.to_le_bytes(),
        cursor.id.to_le_bytes(),
        cursor.last_id.to_le_bytes(),
        now.0.to_le_bytes(),
    ];
    base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, parts.concat())
}

fn read_cursor(text: &str) -> Option<(Cursor, Timestamp)> {
    let engine = &base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let bytes = base64::Engine::decode(engine, text).ok()?;
    let ([time, id, last_id, now], []) = bytes.as_chunks::<8>() else { return None };
    let cursor = Cursor {
        time: Timestamp(i64::from_le_bytes(*time)),
        id: u64::from_le_bytes(*id),
        last_id: u64::from_le_bytes(*last_id),
    };
    Some((cursor, Timestamp(i64::from_le_bytes(*now))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        let pairs = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Params::new(pairs).expect("no name twice")
    }

    #[test]
    fn empty_is_none_and_twice_is_refused() {
        let got = params(&[("q", ""), ("from", "now")]);
        assert_eq!(got.get("q"), None);
        assert_eq!(got.get("from"), Some("now"));
        let twice = vec![("q".to_owned(), "a".to_owned()), ("q".to_owned(), "b".to_owned())];
        assert_eq!(Params::new(twice).expect_err("twice").status(), StatusCode::BAD_REQUEST);
    }

    #[test]
    fn numbers_have_bounds() {
        for (text, expected) in [
            ("1", Some(1)),
            ("100", Some(100)),
            ("101", None),
            ("0", None),
            ("-1", None),
            ("x", None),
        ] {
            let got = params(&[("limit", text)]).number("limit", 7, 100).ok();
            assert_eq!(got, expected, "{text}");
        }
        assert_eq!(params(&[]).number("limit", 7, 100).ok(), Some(7));
    }

    #[test]
    fn a_cursor_reads_back() {
        let cursor = Cursor { time: Timestamp(-5), id: u64::MAX, last_id: 3 };
        let text = cursor_text(&cursor, Timestamp(77));
        assert_eq!(read_cursor(&text), Some((cursor, Timestamp(77))));
        for bad in [
            "",
            "x",
            "AAAA",
            text.strip_prefix(|_| true).expect("a first letter"),
            &format!("{text}AAAA"),
        ] {
            assert_eq!(read_cursor(bad), None, "{bad}");
        }
    }
}
