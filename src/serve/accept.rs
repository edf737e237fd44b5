//! Connections of the HTTP listener: how many, how long one may be silent, and how they end.
//!
//! `axum::serve` has no bound for clients that connect and say nothing, or stop to read what they
//! asked for; so the loop is ours, around hyper's connection.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

use crate::base::limits::{
    CONNECTIONS_MAX, HTTP_HEAD_BYTES_MAX, HTTP_HEAD_SECONDS_MAX, HTTP_STALL_SECONDS_MAX,
    STOP_SECONDS_MAX,
};
use crate::base::metrics::Counter;
use crate::serve::{State, rates};

/// Answers on a listener until [`State::stop`]; then accepts no more, lets what is pending end for
/// [`STOP_SECONDS_MAX`], and returns.
pub async fn run(listener: TcpListener, state: State, router: Router) {
    let head = Duration::from_secs(HTTP_HEAD_SECONDS_MAX);
    tokio::spawn(rates::watch(state.clone()));
    serve(listener, state, router, head, CONNECTIONS_MAX).await;
}

async fn serve(
    listener: TcpListener,
    state: State,
    router: Router,
    head: Duration,
    connections_max: usize,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(head).max_buf_size(HTTP_HEAD_BYTES_MAX);
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(connections_max));
    let mut stopped = pin!(state.stopped());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stopped => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                after_failure(&error).await;
                continue;
            }
        };
        state.metrics.add(Counter::Connections, &["http"], 1);
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            state.metrics.add(Counter::Closed, &["http", "too-many-connections"], 1);
            continue;
        };
        prepare(&stream);
        // `via.peer` of what is sent over HTTP.
        let service = router.clone().map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            request
        });
        let service = TowerToHyperService::new(service);
        let connection = http.serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        let metrics = Arc::clone(&state.metrics);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                metrics.add(Counter::Closed, &["http", reason(&error)], 1);
            }
            drop(place);
        });
    }
    drop(listener);
    let late = Duration::from_secs(STOP_SECONDS_MAX);
    if tokio::time::timeout(late, graceful.shutdown()).await.is_err() {
        tracing::warn!("some answers were not taken in time and were cut off");
    }
}

/// A connection that broke before it was accepted concerns nobody; out of descriptors, the next
/// try would fail at once again.
async fn after_failure(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionReset) {
        tracing::warn!(%error, "no connection can be accepted");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Events leave at once; who does not take what was sent, or is gone without a word, is cut off.
fn prepare(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let stall = Duration::from_secs(HTTP_STALL_SECONDS_MAX);
    let set = stream
        .set_nodelay(true)
        .and_then(|()| socket.set_tcp_user_timeout(Some(stall)))
        .and_then(|()| socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(stall)));
    if let Err(error) = set {
        tracing::debug!(%error, "a connection keeps the system's settings");
    }
}

/// Why a connection ended that did not end by itself.
fn reason(error: &hyper::Error) -> &'static str {
    match error {
        e if e.is_timeout() => "slow-request",
        e if e.is_parse() => "bad-request",
        e if e.is_incomplete_message() => "client-went",
        _ => "broken",
    }
}
