//! From answers to HTTP: the API, the pages, the live stream.
//!
//! Floor 5. *Invariant:* knows nothing of `ingest`; `cli` merges its routes into ours.
//!
//! A request passes, from the outside in: [`guard::count`] (status counter, security headers) →
//! panic catcher → compression → [`guard::check`] (foreign pages, token) → its handler. A handler
//! reads [`params::Params`], hands the work to [`State::ask`], which runs it on a blocking thread
//! within a budget, and answers JSON; whatever fails on the way is a [`Problem`].
//!
//! | file | noun |
//! |---|---|
//! | `accept` | connections: how many, how long, and their end |
//! | `params` | the parameters of a call, from its address or its form |
//! | `guard` | who may ask: origin, host, token |
//! | `guesses` | wrong tokens, counted by address |
//! | `login` | the form that asks a browser for the token, once |
//! | `search` | search, count, histogram |
//! | `records` | records by id, their bytes |
//! | `record_json` | one record as contract 3 prints it |
//! | `tail` | the live stream |
//! | `admin` | sources, seal, health, metrics |
//! | `rates` | how fast each source sends |
//! | `pages` | the viewer |

mod accept;
pub mod admin;
pub mod guard;
mod guesses;
pub mod login;
pub mod pages;
pub mod params;
mod rates;
pub mod record_json;
pub mod records;
pub mod search;
pub mod tail;

pub use accept::run;

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware;
use tokio::sync::{Semaphore, watch};
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;

use crate::base::error::{Error, Refusal};
use crate::base::limits::{
    FORM_BYTES_MAX, QUERIES_AT_ONCE_MAX, QUERY_SECONDS_MAX, STOP_SECONDS_MAX,
};
use crate::base::machine::Clock;
use crate::base::metrics::Metrics;
use crate::config::{Bound, Config};
use crate::query::Budget;
use crate::reply::{Problem, panicked};
use crate::store::{Snapshot, Store};
use crate::watch::tail::Hub;

/// What all handlers share; cheap to clone.
#[derive(Clone)]
pub struct State(Arc<Shared>);

/// What a [`State`] is made of.
pub struct Parts {
    /// Where the records are.
    pub store: Arc<Store>,
    /// What the store's commit hook publishes to.
    pub hub: Arc<Hub>,
    /// What everybody counts in.
    pub metrics: Arc<Metrics>,
    /// The configuration in force.
    pub config: Arc<Config>,
    /// What `now` is.
    pub clock: Arc<dyn Clock>,
    /// What is bound really, for the snippets of the first page.
    pub bound: Vec<Bound>,
    /// The address of our own listener, with the port that the system gave.
    pub http: SocketAddr,
}

/// [`Parts`], and what belongs to a running server only.
pub struct Shared {
    /// What it was made of.
    parts: Parts,
    /// Who may ask.
    guard: guard::Guard,
    /// How fast each source sends.
    rates: rates::Rates,
    /// Places for queries that are worked on.
    places: Arc<Semaphore>,
    /// `true` once the server was told to stop.
    stopping: watch::Sender<bool>,
}

impl Deref for State {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0.parts
    }
}

impl State {
    /// The state of a server that runs.
    pub fn new(parts: Parts) -> Self {
        let guard = guard::Guard::new(&parts.config.http.hosts, &parts.config.auth, parts.http);
        let places = Arc::new(Semaphore::new(QUERIES_AT_ONCE_MAX));
        let rates = rates::Rates::default();
        let stopping = watch::Sender::new(false);
        Self(Arc::new(Shared { parts, guard, rates, places, stopping }))
    }

    /// Tells the server to stop: no more connections, live streams end, queries end soon.
    pub fn stop(&self) {
        self.0.stopping.send_replace(true);
    }

    /// Returns once [`State::stop`] was called.
    pub async fn stopped(&self) {
        let mut stopping = self.0.stopping.subscribe();
        // The sender lives in `self`, so that waiting ends with the value only.
        drop(stopping.wait_for(|stop| *stop).await);
    }

    /// Version of this program, as `--version` prints it.
    pub fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    pub(crate) fn rates(&self) -> &rates::Rates {
        &self.0.rates
    }

    pub(crate) fn guard(&self) -> &guard::Guard {
        &self.0.guard
    }

    /// Runs a question over what is visible now on a blocking thread, with a budget of
    /// [`QUERY_SECONDS_MAX`]; told to stop when the client goes or the server stops.
    ///
    /// Where all places are taken it waits for one, within the same budget, then answers 503.
    pub async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Snapshot, &Budget) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let patience = Duration::from_secs(QUERY_SECONDS_MAX);
        let place = Arc::clone(&self.0.places).acquire_owned();
        let deadline = Some(self.clock.monotonic() + patience);
        let Ok(Ok(place)) = tokio::time::timeout(patience, place).await else {
            return Err(Error::Busy(Refusal::TooManyReaders).into());
        };
        let cancelled = Arc::new(AtomicBool::new(false));
        let gone = CancelOnDrop(Arc::clone(&cancelled));
        let budget = Budget { clock: Arc::clone(&self.clock), deadline, cancelled };
        let store = Arc::clone(&self.store);
        let mut task = tokio::task::spawn_blocking(move || {
            let answer = work(&store.snapshot(), &budget);
            drop(place);
            answer
        });
        let joined = tokio::select! {
            joined = &mut task => joined,
            () = self.soon_after_stop() => {
                gone.0.store(true, Ordering::Relaxed);
                task.await
            }
        };
        drop(gone);
        match joined {
            Ok(answer) => answer,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(Error::Closed.into()),
            },
        }
    }

    async fn soon_after_stop(&self) {
        self.stopped().await;
        tokio::time::sleep(Duration::from_secs(STOP_SECONDS_MAX) / 2).await;
    }
}

/// Tells a query to stop when nobody waits for it any more: hyper drops a handler's future when
/// its client goes.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Everything under one roof; `extra` are routes of others (ingest's), behind the same guard. They
/// bound their bodies themselves.
pub fn router(state: &State, extra: Router) -> Router {
    let own = Router::new()
        .merge(search::routes())
        .merge(records::routes())
        .merge(tail::routes())
        .merge(admin::routes())
        .merge(pages::routes())
        .merge(login::routes())
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX));
    own.with_state(state.clone())
        .merge(extra)
        .fallback(no_such_address)
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::from_fn_with_state(state.clone(), guard::check))
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .layer(CatchPanicLayer::custom(|panic: Box<dyn std::any::Any + Send>| panicked(&*panic)))
        .layer(middleware::from_fn_with_state(state.clone(), pages::dress))
        .layer(middleware::from_fn_with_state(state.clone(), guard::count))
}

async fn no_such_address(uri: Uri) -> Problem {
    Problem::not_found(format!("such address: {}", uri.path()))
}

async fn no_such_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("{} does not answer {method}", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::base::machine::{SystemClock, SystemDisk};
    use crate::config::load::{Inputs, load};
    use crate::store::Options;

    /// The state of a server with nothing configured, at an address of loopback.
    pub(super) fn state(http: SocketAddr) -> (State, tempfile::TempDir) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let loaded = load(&Inputs {
            file: None,
            env: Vec::new(),
            flags: Vec::new(),
            machine_memory_bytes: 1 << 30,
            hostname: "test".into(),
            read: &|_| Err(std::io::ErrorKind::NotFound.into()),
        })
        .expect("the default");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let metrics = Arc::new(Metrics::default());
        let options = Options {
            data_dir: dir.path().join("data"),
            live_bytes_max: 1 << 20,
            storage: crate::config::Storage { min_free_bytes: 0, ..Default::default() },
            retention: Vec::new(),
            on_commit: Box::new(|_| {}),
            metrics: Arc::clone(&metrics),
        };
        let store =
            Store::open(options, Arc::new(SystemDisk), Arc::clone(&clock)).expect("a store");
        let hub = Arc::new(Hub::default());
        let config = Arc::new(loaded.config);
        let parts = Parts { store, hub, metrics, config, clock, bound: Vec::new(), http };
        (State::new(parts), dir)
    }

    fn loopback() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 8514))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_question_is_told_when_nobody_waits_for_its_answer() {
        let (state, _dir) = state(loopback());
        let (began, begun) = channel();
        let (ended, end) = channel();
        let asker = state.clone();
        let client = tokio::spawn(async move {
            asker
                .ask(move |_, budget| {
                    began.send(()).expect("a listener");
                    while !budget.cancelled.load(Ordering::Relaxed) {
                        std::thread::yield_now();
                    }
                    ended.send(()).expect("a listener");
                    Ok(())
                })
                .await
        });
        let patience = Duration::from_secs(30);
        tokio::task::block_in_place(|| begun.recv_timeout(patience)).expect("it begins");
        client.abort();
        tokio::task::block_in_place(|| end.recv_timeout(patience)).expect("it is told");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_more_questions_are_worked_on_than_there_are_places() {
        let (state, _dir) = state(loopback());
        let at_once = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let asks: Vec<_> = (0..4 * QUERIES_AT_ONCE_MAX)
            .map(|_| {
                let (state, at_once) = (state.clone(), Arc::clone(&at_once));
                tokio::spawn(async move {
                    state
                        .ask(move |_, _| {
                            let now = at_once.fetch_add(1, Ordering::SeqCst) + 1;
                            std::thread::yield_now();
                            at_once.fetch_sub(1, Ordering::SeqCst);
                            Ok(now)
                        })
                        .await
                })
            })
            .collect();
        for ask in asks {
            let now = ask.await.expect("a task").expect("an answer");
            assert!((1..=QUERIES_AT_ONCE_MAX).contains(&now), "{now} at once");
        }
    }
}
