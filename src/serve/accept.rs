//! Connections of the HTTP listener: how many, how long one may be silent, and how they end.
//!
//! `axum::serve` has no bound for clients that connect and say nothing, or stop to read what they
//! asked for; so the loop is ours, around hyper's connection.

use std::error::Error as _;
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
    BACK_OFF_MS, CONNECTIONS_MAX, HTTP_HEAD_BYTES_MAX, HTTP_HEAD_SECONDS_MAX,
    HTTP_STALL_SECONDS_MAX, STOP_SECONDS_MAX,
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
        tokio::time::sleep(Duration::from_millis(BACK_OFF_MS)).await;
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
    use io::ErrorKind::{BrokenPipe, ConnectionReset, TimedOut};
    let socket = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    match socket.map(io::Error::kind) {
        Some(TimedOut) => return "stalled",
        Some(BrokenPipe | ConnectionReset) => return "client-went",
        _ => {}
    }
    match error {
        e if e.is_timeout() => "silent",
        e if e.is_parse() => "bad-request",
        e if e.is_incomplete_message() => "client-went",
        _ => "broken",
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::serve::tests::state;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A server of so many places and so much patience, and where it is.
    async fn start(
        head: Duration,
        connections_max: usize,
    ) -> (State, std::net::SocketAddr, tempfile::TempDir) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (state, dir) = state(address);
        let router = Router::new().route("/", get(async || "hello"));
        tokio::spawn(serve(listener, state.clone(), router, head, connections_max));
        (state, address, dir)
    }

    /// All that comes until the server closes.
    async fn rest(stream: &mut TcpStream) -> String {
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        // A reset is an end, too.
        drop(tokio::time::timeout(PATIENCE, read).await.expect("an end in time"));
        String::from_utf8(answer).expect("text")
    }

    #[tokio::test]
    async fn who_says_nothing_or_half_a_head_is_closed() {
        let (state, address, _dir) = start(Duration::from_millis(200), 10).await;
        for begin in ["", "GET / HTTP/1.1\r\nhost: ", "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"] {
            let mut stream = TcpStream::connect(address).await.expect("a connection");
            stream.write_all(begin.as_bytes()).await.expect("sent");
            let answer = rest(&mut stream).await;
            assert_eq!(
                answer.contains("hello"),
                begin.ends_with("\r\n\r\n"),
                "{begin:?}: {answer}"
            );
        }
        assert!(state.metrics.total(Counter::Closed) >= 2);
    }

    #[tokio::test]
    async fn one_connection_too_many_is_closed_and_a_place_comes_back() {
        let (state, address, _dir) = start(PATIENCE, 1).await;
        let ask = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
        let mut first = TcpStream::connect(address).await.expect("a connection");
        first.write_all(ask).await.expect("sent");
        let mut byte = [0];
        first.read_exact(&mut byte).await.expect("an answer");
        let mut second = TcpStream::connect(address).await.expect("a connection");
        assert_eq!(rest(&mut second).await, "");
        assert_eq!(state.metrics.total(Counter::Closed), 1);
        drop(first);
        // Its place is free once the server has seen that it went.
        let answer = async {
            loop {
                let mut third = TcpStream::connect(address).await.expect("a connection");
                if third.write_all(ask).await.is_ok() && third.read_exact(&mut byte).await.is_ok() {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, answer).await.expect("a place in time");
    }

    #[tokio::test]
    async fn a_stop_lets_what_is_idle_go_at_once() {
        let (state, address, _dir) = start(PATIENCE, 10).await;
        let mut idle = TcpStream::connect(address).await.expect("a connection");
        idle.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("sent");
        let mut byte = [0];
        idle.read_exact(&mut byte).await.expect("an answer");
        state.stop();
        assert!(rest(&mut idle).await.ends_with("hello"));
    }
}
