//! `POST /api/v1/ingest`: NDJSON, a JSON array, or plain lines (contract 4).
//!
//! A body is taken whole, unpacked within a bound, and then decoded and handed in piece by piece,
//! so that a large body costs its bytes and not its records. It is answered once its last piece is
//! durable. Where a piece is refused the answer is an error: what came before it is kept, and a
//! client that sends all of it again doubles that part.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Query, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use memchr::{memchr_iter, memrchr};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_stream::StreamExt as _;

use crate::base::error::{Error, Refusal};
use crate::base::limits;
use crate::base::machine::Clock;
use crate::base::metrics::Counter;
use crate::base::record::Record;
use crate::base::time::{Timestamp, Zone};
use crate::decode::frame::{Packing, unpack};
use crate::decode::json::{self, Given};
use crate::decode::{Origin, Reject, lines, name};
use crate::ingest::{Intake, Receipt, Said};
use crate::reply::Problem;

/// The listener's name in counters and `via.listener`.
const LISTENER: &str = "http";

/// How many kibibytes of bodies there may be at once: what one permit of `Ingest::bodies` is.
const BODIES_KIB: usize = limits::BODIES_BYTES_MAX >> 10;

#[derive(Clone)]
struct Ingest {
    intake: Intake,
    clock: Arc<dyn Clock>,
    zone: Zone,
    /// Room for bodies on their way in.
    bodies: Arc<Semaphore>,
    /// Places for bodies that are unpacked and decoded.
    places: Arc<Semaphore>,
    /// How long a body may take from its first byte to its last.
    patience: Duration,
}

/// The routes of this file; `zone` is that of times which carry none.
pub fn routes(intake: Intake, clock: Arc<dyn Clock>, zone: Zone) -> Router {
    let state = Ingest::new(intake, clock, zone);
    Router::new()
        .route("/api/v1/ingest", post(ingest))
        // The bound is our own, which also counts what all bodies hold together.
        .layer(DefaultBodyLimit::disable())
        .with_state(state)
}

/// What a caller can say beside the body.
#[derive(Debug, Default, Deserialize)]
struct Params {
    host: Option<String>,
    app: Option<String>,
    time_field: Option<String>,
    message_field: Option<String>,
    /// What bytes that are not UTF-8 are tried as; `charset` of the content type does the same.
    encoding: Option<String>,
    /// For times that carry no zone.
    time_zone: Option<String>,
    /// For times that carry no year: the year they fell in.
    year: Option<i16>,
    /// Host and app of lines that say none.
    default_host: Option<String>,
    default_app: Option<String>,
}

#[derive(Debug, Serialize)]
struct Answer {
    accepted: u64,
    rejected: Vec<Rejected>,
}

#[derive(Debug, Serialize)]
struct Rejected {
    line: u64,
    reason: String,
}

/// How a body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Objects, one a line.
    Ndjson,
    /// An array, one object, or several.
    Json,
    /// Lines of text.
    Plain,
}

async fn ingest(
    State(ingest): State<Ingest>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    params: Result<Query<Params>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let taken = match params {
        Ok(Query(params)) => ingest.take(peer, params, &headers, body).await,
        Err(rejection) => Err(Problem::new(rejection.status(), rejection.body_text())),
    };
    taken.map_or_else(IntoResponse::into_response, |a| axum::Json(a).into_response())
}

impl Ingest {
    fn new(intake: Intake, clock: Arc<dyn Clock>, zone: Zone) -> Self {
        Self {
            intake,
            clock,
            zone,
            bodies: Arc::new(Semaphore::new(BODIES_KIB)),
            places: Arc::new(Semaphore::new(limits::BODIES_AT_ONCE_MAX)),
            patience: Duration::from_secs(limits::MESSAGE_SECONDS_MAX),
        }
    }

    async fn take(
        &self,
        peer: SocketAddr,
        params: Params,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Answer, Problem> {
        let media = Media::of(headers);
        let origin = self.origin(peer, &params, &media)?;
        let received = self.clock.now().floor_to_millis();
        let reading = Reading {
            reference: reference(params.year, received)?,
            said: Said {
                zone: Some(origin.zone.clone()),
                host: params.default_host.as_deref().map(name),
                app: params.default_app.as_deref().map(name),
                received: params.year.map(|_| received),
            },
            origin,
            given: Given {
                host: params.host.as_deref().map(name),
                app: params.app.as_deref().map(name),
                time_field: params.time_field,
                message_field: params.message_field,
            },
        };
        let read = tokio::time::timeout(self.patience, self.read(headers, body)).await;
        let (packed, room) = read.unwrap_or_else(|_| {
            let detail = format!("the body took longer than {} s", self.patience.as_secs());
            Err(self.reject("too-slow", StatusCode::REQUEST_TIMEOUT, detail))
        })?;
        self.count(Counter::Bytes, &[LISTENER], packed.len() as u64);
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| Error::Closed)?;
        let body = self.unpack(headers, packed).await?;
        let kind = media.kind.unwrap_or_else(|| sniff(&body));
        let answer = self.hand_in(body, kind, Arc::new(reading)).await;
        drop((room, place));
        answer
    }

    fn count(&self, counter: Counter, labels: &[&str], n: u64) {
        self.intake.metrics().add(counter, labels, n);
    }

    fn reject(&self, reason: &str, status: StatusCode, detail: String) -> Problem {
        self.count(Counter::Rejected, &[LISTENER, reason], 1);
        Problem::new(status, detail)
    }

    fn origin(&self, peer: SocketAddr, params: &Params, media: &Media) -> Result<Origin, Problem> {
        let peer = peer.ip().to_canonical().to_string();
        let mut origin = Origin::new(LISTENER, "http", &peer);
        origin.zone = match &params.time_zone {
            None => self.zone.clone(),
            Some(name) => Zone::named(name).ok_or_else(|| {
                Problem::parameter("time_zone", name, "an IANA name such as Asia/Tokyo")
            })?,
        };
        if let Some(label) = params.encoding.as_ref().or(media.charset.as_ref()) {
            let encoding = encoding_rs::Encoding::for_label_no_replacement(label.as_bytes())
                .ok_or_else(|| Problem::parameter("encoding", label, "one such as shift_jis"))?;
            origin.encoding = Some(encoding).filter(|e| *e != encoding_rs::UTF_8);
        }
        Ok(origin)
    }

    /// The whole body as it comes over the wire, within the bounds of one and of all.
    async fn read(
        &self,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(Vec<u8>, OwnedSemaphorePermit), Problem> {
        let too_large = |n: u64| {
            let max = limits::BODY_BYTES_MAX;
            let detail = format!("the body is {n} bytes or more, the limit is {max}: send several");
            self.reject("body-too-large", StatusCode::PAYLOAD_TOO_LARGE, detail)
        };
        let announced = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
        if announced.is_some_and(|n: u64| n > limits::BODY_BYTES_MAX as u64) {
            return Err(too_large(announced.unwrap_or_default()));
        }
        let mut room = self.room(0)?;
        let mut bytes = Vec::new();
        let mut pieces = body.into_data_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|e| {
                let detail = format!("the body ended early: {e}");
                self.reject("body-cut", StatusCode::BAD_REQUEST, detail)
            })?;
            let len = bytes.len() + piece.len();
            if len > limits::BODY_BYTES_MAX {
                return Err(too_large(len as u64));
            }
            let needed = len.div_ceil(1 << 10) - room.num_permits();
            if needed > 0 {
                room.merge(self.room(needed)?);
            }
            bytes.extend_from_slice(&piece);
        }
        Ok((bytes, room))
    }

    /// Room for so many kibibytes more, at once or not at all: a sender can send again.
    fn room(&self, kib: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        Arc::clone(&self.bodies).try_acquire_many_owned(kib).map_err(|_| {
            self.count(Counter::Refused, &[LISTENER, "queue-full"], 1);
            Error::Busy(Refusal::QueueFull).into()
        })
    }

    async fn unpack(&self, headers: &HeaderMap, packed: Vec<u8>) -> Result<Bytes, Problem> {
        let mut packings = Vec::new();
        for name in headers.get_all(CONTENT_ENCODING).iter().filter_map(|v| v.to_str().ok()) {
            for name in name.split(',').map(str::trim) {
                if name.is_empty() || name.eq_ignore_ascii_case("identity") {
                    continue;
                }
                packings.push(Packing::named(name).ok_or_else(|| {
                    let detail = format!(
                        "the content encoding is {name:?}, expected gzip, deflate, zstd or none"
                    );
                    self.reject("content-encoding", StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
                })?);
            }
        }
        if packings.is_empty() {
            return Ok(packed.into());
        }
        let work = move || {
            // The last one that was applied is the first to be undone (RFC 9110 8.4).
            packings.iter().rev().try_fold(packed, |bytes, packing| {
                unpack(*packing, &bytes, limits::UNPACKED_BYTES_MAX)
            })
        };
        let unpacked = tokio::task::spawn_blocking(work).await.map_err(|_| Error::Closed)?;
        unpacked.map(Bytes::from).map_err(|reject| {
            let status = match reject.reason {
                "unpacks-too-large" => StatusCode::PAYLOAD_TOO_LARGE,
                _ => StatusCode::BAD_REQUEST,
            };
            let detail = format!("the body cannot be unpacked: {}", reject.detail);
            self.reject(reject.reason, status, detail)
        })
    }

    /// Decodes and hands in piece by piece; answers once the last is durable.
    async fn hand_in(
        &self,
        body: Bytes,
        kind: Kind,
        reading: Arc<Reading>,
    ) -> Result<Answer, Problem> {
        let mut answer = Answer { accepted: 0, rejected: Vec::new() };
        let mut receipts: Vec<(Receipt, u64)> = Vec::new();
        let (mut at, mut lines_before) = (0, 0);
        while let Some(piece) = next_piece(&body, at, kind) {
            at += piece.len();
            let (for_piece, bytes, intake) =
                (Arc::clone(&reading), piece.clone(), self.intake.clone());
            let work = move || {
                let (mut records, rejected) = for_piece.read(&bytes, kind);
                let mut batches = Vec::new();
                while !records.is_empty() {
                    let rest = records.split_off(records.len().min(limits::INGEST_BATCH_RECORDS));
                    batches.push(intake.refine(records, &for_piece.said));
                    records = rest;
                }
                (batches, rejected)
            };
            let decoded = tokio::task::spawn_blocking(work).await;
            let (batches, rejected) = decoded.map_err(|_| Error::Closed)?;
            for (line, reject) in rejected {
                self.count(Counter::Rejected, &[LISTENER, reject.reason], 1);
                let line = lines_before + line;
                answer.rejected.push(Rejected { line, reason: reject.detail });
            }
            lines_before += memchr_iter(b'\n', &piece).count() as u64;
            for batch in batches {
                let n = batch.len() as u64;
                receipts.push((self.intake.hand_in(batch).await?, n));
            }
        }
        for (receipt, n) in receipts {
            receipt.durable().await?;
            answer.accepted += n;
        }
        Ok(answer)
    }
}

/// How the lines of one request are read.
struct Reading {
    origin: Origin,
    /// When it came, or what a time without a year is near to.
    reference: Timestamp,
    given: Given,
    said: Said,
}

impl Reading {
    fn read(&self, body: &[u8], kind: Kind) -> (Vec<Record>, Vec<(u64, Reject)>) {
        let (origin, given) = (&self.origin, &self.given);
        let shape = match kind {
            Kind::Ndjson => json::Shape::Lines,
            Kind::Json => json::Shape::Any,
            Kind::Plain => {
                let lines = body.split(|b| *b == b'\n').filter(|line| !line.is_empty());
                let read = |line| lines::read_line(line, self.reference, origin, given);
                return (lines.map(read).collect(), Vec::new());
            }
        };
        let json::Body { records, rejected } =
            json::read_body(body, shape, self.reference, origin, given);
        (records, rejected)
    }
}

/// Our own time, or the end of the year that the sender says its lines are of.
fn reference(year: Option<i16>, received: Timestamp) -> Result<Timestamp, Problem> {
    let Some(year) = year else { return Ok(received) };
    let end = Timestamp::parse_rfc3339(&format!("{year:04}-12-31T23:59:59Z"));
    end.ok_or_else(|| Problem::parameter("year", &year.to_string(), "a year such as 2025"))
}

/// What comes after `at`: some whole lines, or all of a body that is not in lines.
fn next_piece(body: &Bytes, at: usize, kind: Kind) -> Option<Bytes> {
    let rest = body.get(at..).filter(|rest| !rest.is_empty())?;
    let window = rest.get(..limits::INGEST_PIECE_BYTES).unwrap_or(rest);
    let len = match kind {
        Kind::Json => rest.len(),
        Kind::Ndjson | Kind::Plain if window.len() == rest.len() => rest.len(),
        Kind::Ndjson | Kind::Plain => memrchr(b'\n', window)
            .or_else(|| memchr::memchr(b'\n', rest))
            .map_or(rest.len(), |at| at + 1),
    };
    Some(body.slice(at..at + len))
}

/// What the content type says.
#[derive(Debug, Default)]
struct Media {
    /// `None`: nothing that tells; look at the body.
    kind: Option<Kind>,
    charset: Option<String>,
}

impl Media {
    fn of(headers: &HeaderMap) -> Self {
        let text = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let mut parts = text.split(';').map(str::trim);
        let kind = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/x-jsonlines"
            | "application/jsonlines"
            | "application/json-lines"
            | "application/x-json-stream"
            | "application/stream+json" => Some(Kind::Ndjson),
            media if media == "application/json" || media.ends_with("+json") => Some(Kind::Json),
            media if media.starts_with("text/") => Some(Kind::Plain),
            // Nothing said, or what curl and others say when they were not told.
            _ => None,
        };
        let charset = parts
            .filter_map(|p| p.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
            .map(|(_, value)| value.trim().trim_matches('"').to_owned());
        Self { kind, charset }
    }
}

/// What a body looks like.
fn sniff(body: &[u8]) -> Kind {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii_start();
    match body {
        [b'{', ..] => Kind::Ndjson,
        [b'[', rest @ ..] if matches!(rest.trim_ascii_start(), [b'{' | b']', ..]) => Kind::Json,
        _ => Kind::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_tells_or_the_body_does() {
        use Kind::{Json, Ndjson, Plain};
        for (media, kind, charset) in [
            ("application/x-ndjson", Some(Ndjson), None),
            ("Application/JSON; charset=utf-8", Some(Json), Some("utf-8")),
            ("application/vnd.x+json", Some(Json), None),
            ("text/plain; charset=\"shift_jis\"", Some(Plain), Some("shift_jis")),
            ("application/octet-stream", None, None),
            ("application/x-www-form-urlencoded", None, None),
            ("", None, None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, media.parse().unwrap());
            let found = Media::of(&headers);
            assert_eq!((found.kind, found.charset.as_deref()), (kind, charset), "{media}");
        }
        for (body, kind) in [
            (&b"{\"a\":1}\n"[..], Ndjson),
            (b"\xef\xbb\xbf \n{", Ndjson),
            (b" [ {\"a\":1}]", Json),
            (b"[]", Json),
            (b"[error] no", Plain),
            (b"", Plain),
        ] {
            assert_eq!(sniff(body), kind, "{}", body.escape_ascii());
        }
    }

    #[test]
    fn pieces_are_whole_lines_and_all_of_the_body() {
        let line = |n: usize| [vec![b'x'; n], vec![b'\n']].concat();
        for (body, pieces) in [
            (Vec::new(), 0),
            (b"a\nb".to_vec(), 1),
            (line(10).repeat(limits::INGEST_PIECE_BYTES / 5), 3),
            (line(3 * limits::INGEST_PIECE_BYTES), 1),
            ([line(3 * limits::INGEST_PIECE_BYTES), line(1)].concat(), 2),
            (vec![b'x'; 3 * limits::INGEST_PIECE_BYTES], 1),
        ] {
            let body = Bytes::from(body);
            let (mut at, mut found) = (0, 0);
            while let Some(piece) = next_piece(&body, at, Kind::Plain) {
                at += piece.len();
                found += 1;
                assert!(piece.ends_with(b"\n") || at == body.len());
            }
            assert_eq!((at, found), (body.len(), pieces));
            let whole = next_piece(&body, 0, Kind::Json).map_or(0, |p| p.len());
            assert_eq!(whole, body.len());
        }
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let (intake, _disk, clock) = crate::ingest::tests::intake(1 << 20);
        let patience = Duration::from_millis(20);
        let ingest = Ingest { patience, ..Ingest::new(intake, clock, Zone::utc()) };
        let begun = tokio_stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"a"))]);
        let body = Body::from_stream(begun.chain(tokio_stream::pending()));
        let peer = ([127, 0, 0, 1], 1).into();
        let taken = ingest.take(peer, Params::default(), &HeaderMap::new(), body).await;
        assert_eq!(taken.unwrap_err().status(), StatusCode::REQUEST_TIMEOUT);
        let rejected = ingest.intake.metrics().each(Counter::Rejected);
        assert_eq!(rejected, [(vec![LISTENER.to_owned(), "too-slow".to_owned()], 1)]);
        // Its room is free again.
        assert_eq!(ingest.bodies.available_permits(), BODIES_KIB);
    }

    #[test]
    fn a_year_moves_the_reference_and_nothing_else() {
        let received = Timestamp::parse_rfc3339("2026-11-22T12:00:00Z").unwrap();
        assert_eq!(reference(None, received), Ok(received));
        let end = Timestamp::parse_rfc3339("2024-12-31T23:59:59Z");
        assert_eq!(reference(Some(2024), received).ok(), end);
        assert!(reference(Some(-5), received).is_err());
    }
}
