//! `search`, `count` and `histogram`: from parameters to a question, from its answer to JSON.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State as Extract;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use axum::routing::get;
use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};

use crate::base::limits::{BUCKETS_MAX, SEARCH_LIMIT_MAX};
use crate::base::machine::Clock;
use crate::base::record::Record;
use crate::base::time::Timestamp;
use crate::query::{self, Answer, Buckets, Explain, Histogram, Order, Page};
use crate::reply::Problem;
use crate::serve::State;
use crate::serve::params::{Params, cursor_text};
use crate::serve::record_json::RecordJson;

/// The calls of this file.
pub fn routes() -> Router<State> {
    Router::new()
        .route("/api/v1/search", get(search).post(search))
        .route("/api/v1/count", get(count).post(count))
        .route("/api/v1/histogram", get(histogram).post(histogram))
}

/// A body of JSON.
pub(crate) fn json(body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// What every answer of a query bears besides its value (contract 4).
#[derive(Serialize)]
struct Told<'a, T> {
    #[serde(flatten)]
    value: T,
    took_ms: u64,
    partial: Partial<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explain: Option<&'a Explain>,
}

/// `false`, or why.
struct Partial<'a>(Option<&'a str>);

impl Serialize for Partial<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            None => to.serialize_bool(false),
            Some(why) => to.serialize_str(why),
        }
    }
}

/// Measures a call, and says so in its answer.
pub(crate) struct Call {
    clock: Arc<dyn Clock>,
    began: Duration,
    explain: bool,
}

impl Call {
    /// Begins now.
    pub(crate) fn begin(state: &State, params: &Params) -> Result<Self, Problem> {
        let explain = params.flag("explain")?;
        Ok(Self { clock: Arc::clone(&state.clock), began: state.clock.monotonic(), explain })
    }

    /// The answer as JSON: `value`'s members, then what every answer bears.
    pub(crate) fn answer<A, T: Serialize>(
        &self,
        answer: &Answer<A>,
        value: T,
    ) -> Result<Vec<u8>, Problem> {
        let took = self.clock.monotonic().saturating_sub(self.began);
        to_json(&Told {
            value,
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            partial: Partial(answer.partial.as_deref()),
            explain: self.explain.then_some(&answer.explain),
        })
    }
}

/// Serialized; our own types do not fail to.
pub(crate) fn to_json(value: &impl Serialize) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(value).map_err(|error| {
        tracing::error!(%error, "an answer could not be printed as JSON");
        Problem::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, "the answer cannot be printed")
    })
}

async fn search(Extract(state): Extract<State>, params: Params) -> Result<Response, Problem> {
    let call = Call::begin(&state, &params)?;
    let limit = params.number("limit", 100, SEARCH_LIMIT_MAX)?;
    let order = order(&params)?;
    let (now, zone) = (state.clock.now(), state.config.time_zone.clone());
    let body = state
        .ask(move |snapshot, budget| {
            let asked = params.question(now, &zone)?;
            let answer = query::search(
                snapshot,
                &asked.query,
                asked.range,
                order,
                limit,
                asked.cursor,
                budget,
            )?;
            let found = Found::new(&answer.value, asked.context.now);
            call.answer(&answer, found)
        })
        .await?;
    Ok(json(body))
}

/// `order`, newest first by default.
fn order(params: &Params) -> Result<Order, Problem> {
    match params.get("order") {
        None | Some("desc") => Ok(Order::Desc),
        Some("asc") => Ok(Order::Asc),
        Some(other) => Err(Problem::parameter("order", other, "desc or asc")),
    }
}

/// `{"records":[…],"next":…}`.
#[derive(Serialize)]
struct Found<'a> {
    records: Records<'a>,
    next: Option<String>,
}

/// Records as a JSON array.
pub(crate) struct Records<'a>(pub(crate) &'a [Arc<Record>]);

impl Serialize for Records<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut seq = to.serialize_seq(Some(self.0.len()))?;
        for record in self.0 {
            seq.serialize_element(&RecordJson(record))?;
        }
        seq.end()
    }
}

impl<'a> Found<'a> {
    fn new(page: &'a Page, now: Timestamp) -> Self {
        let next = page.next.as_ref().map(|cursor| cursor_text(cursor, now));
        Self { records: Records(&page.records), next }
    }
}

async fn count(Extract(state): Extract<State>, params: Params) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Counted {
        count: u64,
    }
    let call = Call::begin(&state, &params)?;
    let (now, zone) = (state.clock.now(), state.config.time_zone.clone());
    let body = state
        .ask(move |snapshot, budget| {
            let asked = params.question(now, &zone)?;
            let answer = query::count(snapshot, &asked.query, asked.range, budget)?;
            call.answer(&answer, Counted { count: answer.value })
        })
        .await?;
    Ok(json(body))
}

async fn histogram(Extract(state): Extract<State>, params: Params) -> Result<Response, Problem> {
    let call = Call::begin(&state, &params)?;
    let buckets = buckets(&params)?;
    let (now, zone) = (state.clock.now(), state.config.time_zone.clone());
    let body = state
        .ask(move |snapshot, budget| {
            let asked = params.question(now, &zone)?;
            let by = params.get("by");
            let (query, range, context) = (&asked.query, asked.range, &asked.context);
            let answer = query::histogram(snapshot, query, range, &buckets, by, context, budget)?;
            call.answer(&answer, HistogramJson::new(&answer.value, by.is_some()))
        })
        .await?;
    Ok(json(body))
}

/// `interval`, else `buckets`, else 60 buckets.
pub(crate) fn buckets(params: &Params) -> Result<Buckets, Problem> {
    let Some(text) = params.get("interval") else {
        return Ok(Buckets::About(params.number("buckets", 60, BUCKETS_MAX)?));
    };
    interval(text).map(Buckets::Every).ok_or_else(|| {
        Problem::parameter("interval", text, "a duration from 1ms on, such as 30s, 5m, 1h or 1d")
    })
}

/// A whole number and `ms`, `s`, `m`, `h`, `d` or `w`; not zero.
fn interval(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "w" => 7 * 86_400_000,
        _ => return None,
    };
    let all = number.parse::<u64>().ok()?.checked_mul(milliseconds)?;
    (all > 0).then(|| Duration::from_millis(all))
}

/// `{"interval_ms":…,"buckets":[…],"total":n}`.
#[derive(Serialize)]
struct HistogramJson<'a> {
    interval_ms: u64,
    buckets: Vec<BucketJson<'a>>,
    total: u64,
}

#[derive(Serialize)]
struct BucketJson<'a> {
    time: String,
    count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<By<'a>>,
}

struct By<'a>(&'a [(String, u64)]);

impl Serialize for By<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(value, count)| (value, count)))
    }
}

impl<'a> HistogramJson<'a> {
    fn new(histogram: &'a Histogram, by: bool) -> Self {
        let buckets = histogram
            .buckets
            .iter()
            .map(|bucket| BucketJson {
                time: bucket.time.to_string(),
                count: bucket.count,
                by: by.then_some(By(&bucket.by)),
            })
            .collect();
        Self { interval_ms: histogram.interval_ms, buckets, total: histogram.total }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals() {
        for (text, milliseconds) in [
            ("1ms", Some(1)),
            ("90s", Some(90_000)),
            ("5m", Some(300_000)),
            ("1h", Some(3_600_000)),
            ("1d", Some(86_400_000)),
            ("1w", Some(604_800_000)),
            ("0s", None),
            ("60", None),
            ("-5m", None),
            ("5 m", None),
            ("調", None),
            ("", None),
            ("99999999999999999999d", None),
        ] {
            assert_eq!(interval(text), milliseconds.map(Duration::from_millis), "{text}");
        }
    }
}
