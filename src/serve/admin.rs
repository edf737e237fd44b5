//! How the server is: sources, sealing, health, metrics.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::State as Extract;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use serde_json::json as object;

use crate::base::error::Error;
use crate::base::machine::resident_bytes;
use crate::base::metrics::Counter;
use crate::query::{Answer, Explain};
use crate::reply::Problem;
use crate::serve::State;
use crate::serve::params::Params;
use crate::serve::search::{Call, json, to_json};
use crate::store::Source;

/// The calls of this file.
pub fn routes() -> Router<State> {
    Router::new()
        .route("/api/v1/sources", get(sources))
        .route("/api/v1/seal", post(seal))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
}

/// `{"sources":[…],"hosts":[…],"apps":[…],"dropped":[…],"refused":[…],"rejected":[…]}`.
#[derive(Serialize)]
struct Sources {
    /// By host and app.
    #[serde(rename = "sources")]
    pairs: Vec<SourceJson>,
    /// By host.
    hosts: Vec<SourceJson>,
    /// By app.
    apps: Vec<SourceJson>,
    /// Lost: the sender cannot send it again.
    dropped: Vec<Loss>,
    /// Not taken at the time: the sender can send it again.
    refused: Vec<Loss>,
    /// Not taken for its shape or size.
    rejected: Vec<Loss>,
}

/// What came from somewhere.
#[derive(Serialize)]
struct SourceJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<Arc<str>>,
    first: String,
    last: String,
    records: u64,
    bytes: u64,
    /// Records a second in the last minute.
    rate: f64,
    defects: u64,
}

/// What did not come in.
#[derive(Serialize)]
struct Loss {
    listener: String,
    reason: String,
    count: u64,
}

async fn sources(Extract(state): Extract<State>, params: Params) -> Result<Response, Problem> {
    let call = Call::begin(&state, &params)?;
    let asker = state.clone();
    let body = asker
        .ask(move |_, _| {
            let sources = state.store.sources();
            let rates = state.rates().of(state.clock.monotonic(), &sources);
            let all: Vec<(Source, f64)> = sources.into_iter().zip(rates).collect();
            let mut dropped = losses(&state, Counter::Dropped);
            dropped.extend(kernel_drops(&state));
            let value = Sources {
                pairs: all.iter().map(|s| SourceJson::new(s, true, true)).collect(),
                hosts: together(&all, |s| &s.host)
                    .iter()
                    .map(|s| SourceJson::new(s, true, false))
                    .collect(),
                apps: together(&all, |s| &s.app)
                    .iter()
                    .map(|s| SourceJson::new(s, false, true))
                    .collect(),
                dropped,
                refused: losses(&state, Counter::Refused),
                rejected: losses(&state, Counter::Rejected),
            };
            let answer = Answer { value: (), partial: None, explain: Explain::default() };
            call.answer(&answer, value)
        })
        .await?;
    Ok(json(body))
}

impl SourceJson {
    fn new((source, rate): &(Source, f64), host: bool, app: bool) -> Self {
        Self {
            host: host.then(|| Arc::clone(&source.host)),
            app: app.then(|| Arc::clone(&source.app)),
            first: source.first.to_string(),
            last: source.last.to_string(),
            records: source.records,
            bytes: source.bytes,
            rate: (rate * 1_000.0).round() / 1_000.0,
            defects: source.defects,
        }
    }
}

/// Sources with the same key, summed; in the order of keys.
fn together(sources: &[(Source, f64)], key: impl Fn(&Source) -> &Arc<str>) -> Vec<(Source, f64)> {
    let mut sums: BTreeMap<Arc<str>, (Source, f64)> = BTreeMap::new();
    for (source, rate) in sources {
        sums.entry(Arc::clone(key(source)))
            .and_modify(|(sum, rates)| {
                *rates += rate;
                sum.first = sum.first.min(source.first);
                sum.last = sum.last.max(source.last);
                sum.records += source.records;
                sum.bytes += source.bytes;
                sum.defects += source.defects;
            })
            .or_insert_with(|| (source.clone(), *rate));
    }
    sums.into_values().collect()
}

/// A counter by listener and reason.
fn losses(state: &State, counter: Counter) -> Vec<Loss> {
    let each = state.metrics.each(counter).into_iter();
    each.map(|(labels, count)| {
        let mut labels = labels.into_iter();
        let mut next = || labels.next().unwrap_or_default();
        Loss { listener: next(), reason: next(), count }
    })
    .collect()
}

/// What the kernel dropped before we saw it, as one more reason.
fn kernel_drops(state: &State) -> Vec<Loss> {
    let mut drops = losses(state, Counter::UdpKernelDrops);
    for loss in &mut drops {
        "kernel-buffer-full".clone_into(&mut loss.reason);
    }
    drops
}

async fn seal(Extract(state): Extract<State>, params: Params) -> Result<Response, Problem> {
    let merge = params.flag("merge")?;
    let store = Arc::clone(&state.store);
    let sealed = tokio::task::spawn_blocking(move || store.seal(merge)).await;
    let segments = match sealed {
        Ok(segments) => segments?,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => return Err(Error::Closed.into()),
        },
    };
    Ok(json(to_json(&object!({ "segments": segments }))?))
}

/// Alive: this program answers. Open to all.
async fn healthz() -> Result<Response, Problem> {
    Ok(json(to_json(&object!({ "status": "ok" }))?))
}

/// Able to take and to answer; else 503 and why.
async fn readyz(Extract(state): Extract<State>) -> Result<Response, Problem> {
    let store = Arc::clone(&state.store);
    let status = tokio::task::spawn_blocking(move || store.status()).await;
    let Ok(status) = status else { return Err(Error::Closed.into()) };
    if status.poisoned {
        return Err(Error::Poisoned.into());
    }
    if let Some(refusal) = status.refusing {
        return Err(Error::Busy(refusal).into());
    }
    Ok(json(to_json(&object!({ "status": "ready" }))?))
}

async fn metrics(Extract(state): Extract<State>) -> Result<Response, Problem> {
    let asker = state.clone();
    let text = asker.ask(move |_, _| Ok(state.metrics.text(&gauges(&state)))).await?;
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// Figures of the moment: name, help, value.
#[expect(clippy::cast_precision_loss, reason = "Prometheus knows floats only")]
fn gauges(state: &State) -> Vec<(&'static str, &'static str, f64)> {
    let status = state.store.status();
    let ready = !status.poisoned && status.refusing.is_none();
    let mut gauges = vec![
        ("shirabe_segments", "sealed segments", status.segments as f64),
        ("shirabe_segment_bytes", "bytes of segments on disk", status.segment_bytes as f64),
        ("shirabe_log_size_bytes", "bytes of the log on disk", status.log_bytes as f64),
        ("shirabe_records", "records that are kept", status.records as f64),
        ("shirabe_live_records", "records that are not sealed yet", status.live_records as f64),
        (
            "shirabe_damaged_records",
            "records left out of answers because they are damaged",
            status.damaged_records as f64,
        ),
        ("shirabe_quarantined_files", "files set aside as damaged", status.quarantined as f64),
        ("shirabe_disk_free_bytes", "free bytes on the disk", status.free_bytes as f64),
        ("shirabe_accepting", "1 where records are accepted", f64::from(u8::from(ready))),
        ("shirabe_poisoned", "1 after a failed sync", f64::from(u8::from(status.poisoned))),
        (
            "shirabe_clock_doubted",
            "1 while the clock has leapt ahead and retention does not believe it",
            f64::from(u8::from(status.clock_doubted)),
        ),
        ("shirabe_tail_readers", "live readers", state.hub.readers() as f64),
    ];
    if let Some(bytes) = resident_bytes() {
        gauges.push(("process_resident_memory_bytes", "memory in RAM", bytes as f64));
    }
    gauges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Timestamp;

    fn source(host: &str, app: &str, first: i64, last: i64, records: u64) -> (Source, f64) {
        let source = Source {
            host: host.into(),
            app: app.into(),
            first: Timestamp(first * 1_000_000_000),
            last: Timestamp(last * 1_000_000_000),
            records,
            bytes: records * 10,
            defects: 1,
        };
        (source, 0.5)
    }

    #[test]
    fn sources_sum_by_host() {
        let all = [source("a", "x", 5, 9, 1), source("b", "x", 1, 2, 2), source("a", "y", 3, 4, 4)];
        let hosts = together(&all, |s| &s.host);
        let got: Vec<_> = hosts
            .iter()
            .map(|(s, _)| (&*s.host, s.first.0, s.last.0, s.records, s.bytes, s.defects))
            .collect();
        assert_eq!(
            got,
            [
                ("a", 3_000_000_000, 9_000_000_000, 5, 50, 2),
                ("b", 1_000_000_000, 2_000_000_000, 2, 20, 1)
            ]
        );
        let rates: Vec<f64> = hosts.iter().map(|(_, rate)| *rate).collect();
        assert!(rates.iter().zip([1.0, 0.5]).all(|(a, b)| (a - b).abs() < 1e-9), "{rates:?}");
    }
}
