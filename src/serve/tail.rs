//! The live stream: `GET /api/v1/tail?q`, server-sent events (WHATWG HTML 9.2).
//!
//! Events: `record` (its `id:` is the record's), `lag` with `{"skipped":n}` where this reader was
//! too slow to get `n` records that it asked for, and a comment each 15 s. `Last-Event-ID`, or the
//! parameter `after` for a page that begins where it was printed, resumes exactly: what came
//! meanwhile is read from the store, in pieces, and only then the reader signs up at the hub.
//! Records come in the order of their ids, each once.
//!
//! A reader is one task that feeds one bounded channel; a client that does not read stops its
//! task, whose queue at the hub then runs over, which is counted there and told here.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State as Extract;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_stream::wrappers::ReceiverStream;

use crate::base::error::Result;
use crate::base::limits::{
    TAIL_COMMENT_SECONDS, TAIL_PIECE_BYTES, TAIL_PIECE_RECORDS, TAIL_STEP_MS,
};
use crate::base::metrics::Counter;
use crate::base::record::Record;
use crate::query::{Budget, Context, Query};
use crate::reply::Problem;
use crate::serve::State;
use crate::serve::params::Params;
use crate::serve::record_json::RecordJson;
use crate::serve::records::read_id;
use crate::store::Snapshot;
use crate::watch::tail::{Gap, Offer, Subscription};

/// The call of this file.
pub fn routes() -> Router<State> {
    Router::new().route("/api/v1/tail", get(tail).post(tail))
}

async fn tail(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, Problem> {
    let after = last_event_id(&headers, &params)?;
    let context = Context { now: state.clock.now(), zone: params.zone(&state.config.time_zone)? };
    let (query, newest) = state
        .ask(move |snapshot, _| {
            let query = Query::parse(params.get("q").unwrap_or_default(), &context)?;
            Ok((Arc::new(query), snapshot.last_id().unwrap_or_default()))
        })
        .await?;
    // Before the answer begins: who has seen our first byte misses nothing from then on.
    let subscription = match after {
        None => Some(state.hub.subscribe()?),
        Some(_) => None,
    };
    let (to, from) = mpsc::channel(1);
    // An id that we never gave is of another server: nothing of ours lies behind it.
    let position = after.map_or(newest, |after| after.min(newest));
    let reader = Reader { state, query, to, position };
    tokio::spawn(reader.run(subscription));
    let mut response = Response::new(Body::from_stream(ReceiverStream::new(from)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // nginx would hold the events back.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

/// The header, which a browser sends when it comes back, wins over the parameter, which stands in
/// the address from the first time on.
fn last_event_id(headers: &HeaderMap, params: &Params) -> Result<Option<u64>, Problem> {
    let header = headers.get("last-event-id").map(|value| value.to_str().unwrap_or("?"));
    let (name, text) = match (header.filter(|text| !text.is_empty()), params.get("after")) {
        (Some(text), _) => ("Last-Event-ID", text),
        (None, Some(text)) => ("after", text),
        (None, None) => return Ok(None),
    };
    let id = read_id(text).ok_or_else(|| Problem::parameter(name, text, "the id of a record"))?;
    Ok(Some(id))
}

/// One reader.
struct Reader {
    state: State,
    query: Arc<Query>,
    to: mpsc::Sender<Result<Bytes, Infallible>>,
    /// Id up to which all is done.
    position: u64,
}

/// The stream is over: the client went, the server stops, or the store does not read.
struct Over;

impl Reader {
    async fn run(mut self, subscription: Option<Subscription>) {
        let state = self.state.clone();
        let gone = self.to.clone();
        tokio::select! {
            Err(Over) = self.follow(subscription) => {}
            () = gone.closed() => {}
            () = state.stopped() => {}
        }
    }

    async fn follow(&mut self, subscription: Option<Subscription>) -> Result<Infallible, Over> {
        // An id without an event: who loses the line before the first record can resume, too.
        self.send(format!(": live\nid: {}\n\n", self.position)).await?;
        let mut comment = comments();
        let mut subscription = match subscription {
            Some(subscription) => subscription,
            None => self.resume().await?,
        };
        loop {
            tokio::select! {
                offer = subscription.next() => match offer {
                    Offer::Batch(batch) => self.records(&batch).await?,
                    Offer::Gap(gap) => self.gap(gap).await?,
                },
                _ = comment.tick() => self.send(": live\n\n".to_owned()).await?,
            }
        }
    }

    /// Gives what lies between the position and now, then signs up; what came in between is given,
    /// too, and left out when the hub offers it again.
    async fn resume(&mut self) -> Result<Subscription, Over> {
        self.catch_up().await?;
        let subscription = self.state.hub.subscribe().map_err(|_| Over)?;
        self.catch_up().await?;
        Ok(subscription)
    }

    async fn catch_up(&mut self) -> Result<(), Over> {
        let newest = self
            .state
            .ask(|snapshot, _| Ok(snapshot.last_id().unwrap_or_default()))
            .await
            .map_err(|_| Over)?;
        while self.position < newest {
            let (query, after) = (Arc::clone(&self.query), self.position);
            let (position, piece) = self
                .state
                .ask(move |snapshot, budget| {
                    // No budget for the whole, but each step gives its place back soon.
                    let step = budget.clock.monotonic() + Duration::from_millis(TAIL_STEP_MS);
                    let budget = Budget { deadline: Some(step), ..budget.clone() };
                    Ok(piece(snapshot, &query, after, newest, &budget)?)
                })
                .await
                .map_err(|_| Over)?;
            self.send(piece).await?;
            self.position = position;
        }
        Ok(())
    }

    /// The matching ones of a batch, in pieces, so that other tasks get their turn.
    async fn records(&mut self, batch: &[Arc<Record>]) -> Result<(), Over> {
        let mut events = String::new();
        let mut looked_at = 0;
        for record in batch.iter().filter(|record| record.id > self.position) {
            looked_at += record.weight();
            if self.query.matches(record) {
                event(record, &mut events);
            }
            if looked_at >= TAIL_PIECE_BYTES {
                looked_at = 0;
                self.send(std::mem::take(&mut events)).await?;
                tokio::task::yield_now().await;
            }
        }
        self.send(events).await?;
        self.position = self.position.max(batch.last().map_or(0, |record| record.id));
        Ok(())
    }

    /// Says how many of this reader's records lie in the gap; where that cannot be counted in
    /// time, how many lie in it at all.
    async fn gap(&mut self, gap: Gap) -> Result<(), Over> {
        let after = self.position.max(gap.first_id.saturating_sub(1));
        let query = Arc::clone(&self.query);
        let counted = self
            .state
            .ask(move |snapshot, budget| {
                let mut skipped = 0;
                let last = walk(snapshot, after, gap.last_id, budget, |record| {
                    skipped += u64::from(query.matches(record));
                    ControlFlow::Continue(())
                })?;
                Ok((last >= gap.last_id).then_some(skipped))
            })
            .await;
        let skipped = counted.ok().flatten().unwrap_or(gap.records);
        self.position = self.position.max(gap.last_id);
        if skipped > 0 {
            self.state.metrics.add(Counter::TailLag, &[], skipped);
            self.send(format!("event: lag\ndata: {{\"skipped\":{skipped}}}\n\n")).await?;
        }
        Ok(())
    }

    async fn send(&self, events: String) -> Result<(), Over> {
        if events.is_empty() {
            return Ok(());
        }
        self.to.send(Ok(Bytes::from(events))).await.map_err(|_| Over)
    }
}

/// Ticks each 15 s; after a stall once.
fn comments() -> Interval {
    let mut comments = interval(Duration::from_secs(TAIL_COMMENT_SECONDS));
    comments.set_missed_tick_behavior(MissedTickBehavior::Delay);
    comments.reset();
    comments
}

/// One `record` event. JSON has no line breaks outside of strings, and escapes them in there.
fn event(record: &Record, events: &mut String) {
    match serde_json::to_string(&RecordJson(record)) {
        Ok(json) => {
            events.extend([
                "id: ",
                &record.id.to_string(),
                "\nevent: record\ndata: ",
                &json,
                "\n\n",
            ]);
        }
        Err(error) => tracing::error!(%error, id = record.id, "a record could not be printed"),
    }
}

/// Events of the next matching records with ids above `after` and up to `to`, and the id up to
/// which all is in them.
fn piece(
    snapshot: &Snapshot,
    query: &Query,
    after: u64,
    to: u64,
    budget: &Budget,
) -> Result<(u64, String)> {
    let mut events = String::new();
    let mut records = 0;
    let position = walk(snapshot, after, to, budget, |record| {
        if query.matches(record) {
            event(record, &mut events);
            records += 1;
        }
        if records >= TAIL_PIECE_RECORDS || events.len() >= TAIL_PIECE_BYTES {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    Ok((position, events))
}

/// Shows the records with ids above `after` and up to `to`, ids rising, until `see` breaks or the
/// budget ends. The id up to which all were shown.
fn walk(
    snapshot: &Snapshot,
    after: u64,
    to: u64,
    budget: &Budget,
    mut see: impl FnMut(&Record) -> ControlFlow<()>,
) -> Result<u64> {
    let mut position = after;
    let mut seen = 0_usize;
    let mut records = snapshot.in_order(after, to);
    loop {
        if seen.is_multiple_of(256) && is_spent(budget) {
            return Ok(position);
        }
        seen += 1;
        let Some(record) = records.next().transpose()? else { return Ok(to) };
        position = record.id;
        if see(&record).is_break() {
            return Ok(position);
        }
    }
}

fn is_spent(budget: &Budget) -> bool {
    budget.cancelled.load(Ordering::Relaxed)
        || budget.deadline.is_some_and(|deadline| budget.clock.monotonic() >= deadline)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::base::machine::SystemClock;
    use crate::base::record::{Defects, Line, Via};
    use crate::base::time::Timestamp;
    use crate::store::live::{Live, LiveChunk};

    fn record(id: u64) -> Arc<Record> {
        let name: Arc<str> = "x".into();
        let via = Via {
            format: Arc::clone(&name),
            listener: Arc::clone(&name),
            transport: Arc::clone(&name),
            peer: Arc::clone(&name),
        };
        Arc::new(Record {
            id,
            time: Timestamp(0),
            received: Timestamp(0),
            host: Arc::clone(&name),
            app: name,
            severity: None,
            facility: None,
            pid: None,
            line: Line::text("line"),
            fields: Vec::new(),
            format: None,
            via: Arc::new(via),
            tag: None,
            defects: Defects::default(),
        })
    }

    /// Ids 2, 4, 6 and 10, 11, 12, with holes as retention leaves them.
    fn snapshot() -> Snapshot {
        let chunk = |ids: [u64; 3]| -> Arc<dyn crate::store::Chunk> {
            Arc::new(Live(LiveChunk::new(ids.map(record).to_vec()).expect("records")))
        };
        Snapshot::new(vec![chunk([2, 4, 6]), chunk([10, 11, 12])])
    }

    fn budget(deadline: Option<Duration>) -> Budget {
        let cancelled = Arc::new(AtomicBool::new(false));
        Budget { clock: Arc::new(SystemClock::new()), deadline, cancelled }
    }

    #[track_caller]
    fn check(after: u64, to: u64, expected: &[u64]) {
        let mut ids = Vec::new();
        let position = walk(&snapshot(), after, to, &budget(None), |record| {
            ids.push(record.id);
            ControlFlow::Continue(())
        });
        assert_eq!((position.expect("readable"), &*ids), (to, expected), "{after} to {to}");
    }

    #[test]
    fn a_walk_shows_each_id_of_its_stretch_once() {
        check(0, 12, &[2, 4, 6, 10, 11, 12]);
        check(2, 11, &[4, 6, 10, 11]);
        check(3, 4, &[4]);
        check(6, 9, &[]);
        check(11, 20, &[12]);
        check(12, 12, &[]);
    }

    #[test]
    fn a_walk_goes_on_where_it_was_broken_off() {
        let (mut ids, mut position) = (Vec::new(), 0);
        while position < 12 {
            position = walk(&snapshot(), position, 12, &budget(None), |record| {
                ids.push(record.id);
                ControlFlow::Break(())
            })
            .expect("readable");
        }
        assert_eq!(ids, [2, 4, 6, 10, 11, 12]);
    }

    #[test]
    fn a_walk_ends_with_its_budget_and_says_how_far_it_came() {
        let spent = budget(Some(Duration::ZERO));
        let see = |_: &Record| panic!("nothing may be shown");
        assert_eq!(walk(&snapshot(), 4, 12, &spent, see).expect("readable"), 4);
    }
}
