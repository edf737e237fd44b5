//! `shirabe serve`: everything assembled, announced, run, and stopped.
//!
//! The order is the record's road backwards, so that nothing is accepted before it can be kept:
//! store, intake, sockets bound, `listening.json`, and only then `ready`. It stops the other way
//! round: accept no more, answer what is pending, sync.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::base::error::{Error, Result};
use crate::base::limits;
use crate::base::machine::{self, Clock, Disk, SystemClock, SystemDisk};
use crate::base::metrics::{Counter, Metrics};
use crate::base::time::Timestamp;
use crate::cli::{Outcome, Settings, config, demo, log, print};
use crate::config::{Bound, Config};
use crate::ingest::socket::{Entrances, Gate, Ways, listen_tcp};
use crate::ingest::{Intake, http};
use crate::refine::Refiner;
use crate::serve::{self, Parts, State};
use crate::store::{Options, Store};
use crate::watch::tail::Hub;

/// How long connections may take to hand in and answer what they have; the rest of the ten
/// seconds that contract 1 allows is for the store's last sync.
const GATE_PATIENCE: Duration = Duration::from_secs(4);

/// How often losses are looked for, to be told in the log.
const LOSSES_EVERY: Duration = Duration::from_secs(10);

/// Where `shirabe demo` keeps its records.
const DEMO_DIR: &str = "./shirabe-demo";

/// Runs the server, with the demo's stream where asked for.
pub(super) fn run(settings: &Settings, with_demo: bool) -> Outcome {
    let mut settings = settings.clone();
    if with_demo && settings.data_dir.is_none() {
        settings.data_dir = Some(DEMO_DIR.to_owned());
    }
    let loaded = config::read(&settings)?;
    let metrics = Arc::new(Metrics::default());
    let own_log = log::start(settings.log_format, &metrics)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    raise_descriptor_limit();
    machine::use_small_pages();
    let runtime = runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("shirabe")
        .build()
        .map_err(|source| Error::io("start", "the threads of the server", source))?;
    let config = Arc::new(loaded.config);
    runtime.block_on(serve(config, metrics, own_log, with_demo))?;
    // Queries that are still at work are not waited for.
    runtime.shutdown_timeout(Duration::from_millis(500));
    Ok(())
}

async fn serve(
    config: Arc<Config>,
    metrics: Arc<Metrics>,
    own_log: log::Waiting,
    with_demo: bool,
) -> Result<()> {
    let mut signals = Signals::new()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let disk: Arc<dyn Disk> = Arc::new(SystemDisk);
    let hub = Arc::new(Hub::default());
    let store = open_store(&config, &hub, &metrics, &disk, &clock)?;
    let queue_bytes = share(config.memory_bytes, limits::QUEUE_BYTES_MAX);
    let intake = Intake::new(
        Arc::clone(&store),
        Arc::new(Refiner::new(config.time_zone.clone())),
        Arc::clone(&metrics),
        queue_bytes,
    );
    let (ways, gate) = Ways::new(intake.clone(), Arc::clone(&clock));

    let entrances = Entrances::bind(&config)?;
    let (listener, http) = listen_tcp("http", config.http.listen)?;
    let bound = entrances.bound();
    tokio::spawn(own_log.keep(intake.clone(), Arc::clone(&clock)));
    tokio::spawn(tell_losses(Arc::clone(&metrics)));
    let state = State::new(Parts {
        store: Arc::clone(&store),
        hub,
        metrics,
        config: Arc::clone(&config),
        clock: Arc::clone(&clock),
        bound: bound.clone(),
        http,
    });
    let extra = http::routes(intake, Arc::clone(&clock), config.time_zone.clone());
    let router = serve::router(&state, extra);
    entrances.open(&ways);
    drop(ways);
    let serving = tokio::spawn(serve::run(listener, state.clone(), router));

    let file = config.data_dir.join("listening.json");
    match disk.replace(&file, listening_json(&bound, http).as_bytes()) {
        // What is kept can be asked all the same.
        Err(error) if error.is_disk_full() => {
            tracing::warn!(%error, "clients on this machine must be told the address");
        }
        written => written?,
    }
    announce(&bound, http);
    let shop = with_demo.then(|| start_demo(&bound, &store, clock)).flatten();

    signals.wait().await;
    drop(shop);
    stop(gate, &state, serving, store).await?;
    disk.remove(&file)
}

fn open_store(
    config: &Config,
    hub: &Arc<Hub>,
    metrics: &Arc<Metrics>,
    disk: &Arc<dyn Disk>,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<Store>> {
    let hub = Arc::clone(hub);
    let options = Options {
        data_dir: config.data_dir.clone(),
        live_bytes_max: config
            .live_bytes
            .unwrap_or_else(|| share(config.memory_bytes, limits::LIVE_BYTES_MAX)),
        storage: config.storage,
        retention: config.retention.clone(),
        on_commit: Box::new(move |batch| hub.publish(batch)),
        metrics: Arc::clone(metrics),
    };
    Store::open(options, Arc::clone(disk), Arc::clone(clock))
}

/// A sixteenth of the budget for one of the large holders (queue, live part), at most `max`: the
/// live part stands twice while it is sealed, the sealer and the merger take as much again, and the
/// rest is for queries and connections.
fn share(memory_bytes: u64, max: usize) -> usize {
    usize::try_from(memory_bytes / 16).unwrap_or(max).min(max)
}

/// What ends the server.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        let listen = |kind| signal(kind).map_err(|e| Error::io("listen for", "signals", e));
        let interrupt = listen(SignalKind::interrupt())?;
        // Beyond a limit of file sizes (`ulimit -f`) this would end the process. Once it is listened
        // for, the write fails instead, and is told as a full disk.
        drop(listen(SignalKind::from_raw(Signal::XFSZ.as_raw()))?);
        Ok(Self { interrupt, terminate: listen(SignalKind::terminate())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Accepts no more, answers what is pending, syncs.
async fn stop(
    gate: Gate,
    state: &State,
    serving: tokio::task::JoinHandle<()>,
    store: Arc<Store>,
) -> Result<()> {
    tracing::info!("stopping");
    state.stop();
    let (served, ()) = tokio::join!(serving, gate.close(GATE_PATIENCE));
    if let Err(e) = served {
        tracing::warn!("HTTP ended with an error: {e}");
    }
    let closed = tokio::task::spawn_blocking(move || store.close()).await;
    closed.unwrap_or(Err(Error::Closed))
}

/// Thousands of connections need as many descriptors; the usual soft limit is 1,024.
fn raise_descriptor_limit() {
    let now = getrlimit(Resource::Nofile);
    let most = Rlimit { current: now.maximum, maximum: now.maximum };
    if let Err(e) = setrlimit(Resource::Nofile, most) {
        tracing::info!("the limit of open files stays at {:?}: {e}", now.current);
    }
}

/// The contract's lines, on standard output, `ready` last.
fn announce(bound: &[Bound], http: SocketAddr) {
    let line = |b: &Bound| format!("listening {}+{} {}", b.name, b.transport, b.address);
    let mut lines: Vec<String> = bound.iter().map(line).collect();
    lines.push(format!("listening http+tcp {http}\nready\n"));
    print(&lines.join("\n"));
    tracing::info!("open {} in a browser", http_url(http));
}

/// An address that a program on this machine can ask.
fn http_url(http: SocketAddr) -> String {
    let ip = match http.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, http.port()))
}

fn listening_json(bound: &[Bound], http: SocketAddr) -> String {
    serde_json::json!({
        "pid": std::process::id(),
        "http": http_url(http),
        "listeners": bound,
    })
    .to_string()
}

/// Says in the log when records were lost, at most once in [`LOSSES_EVERY`].
async fn tell_losses(metrics: Arc<Metrics>) {
    let mut told = 0;
    let mut tick = tokio::time::interval(LOSSES_EVERY);
    loop {
        tick.tick().await;
        let kernel = metrics.total(Counter::UdpKernelDrops);
        let lost = metrics.total(Counter::Dropped) + kernel;
        if lost > told {
            let why = losses(&metrics.each(Counter::Dropped), kernel);
            tracing::warn!("{} records were lost; since the start {why}", lost - told);
            told = lost;
        }
    }
}

/// What was lost, in words: `18 of syslog (disk-full), 3 datagrams in the kernel's buffer`.
fn losses(dropped: &[(Vec<String>, u64)], kernel: u64) -> String {
    let told = dropped.iter().map(|(labels, n)| match labels.as_slice() {
        [listener, reason] => format!("{n} of {listener} ({reason})"),
        labels => format!("{n} of {}", labels.join(" ")),
    });
    let kernel = (kernel > 0).then(|| format!("{kernel} datagrams in the kernel's buffer"));
    told.chain(kernel).collect::<Vec<_>>().join(", ")
}

/// The shop of `shirabe demo`, on a thread of its own; it ends when what this returns is dropped.
fn start_demo(
    bound: &[Bound],
    store: &Store,
    clock: Arc<dyn Clock>,
) -> Option<std::sync::mpsc::Sender<()>> {
    let to = bound.iter().find(|b| b.protocol == "syslog" && b.transport == "tcp")?.address;
    let (stop, stopped) = std::sync::mpsc::channel();
    let told = store.sources().into_iter().filter(|source| demo::tells_of(&source.app));
    let told = told.map(|source| source.last).max().unwrap_or(Timestamp::MIN);
    std::thread::spawn(move || demo::tell(to, told, &*clock, &stopped));
    Some(stop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_told_in_words() {
        let of = |listener: &str, n| (vec![listener.to_owned(), "disk-full".to_owned()], n);
        assert_eq!(losses(&[of("syslog", 18)], 0), "18 of syslog (disk-full)");
        assert_eq!(
            losses(&[of("syslog", 1), of("own-log", 2)], 3),
            "1 of syslog (disk-full), 2 of own-log (disk-full), 3 datagrams in the kernel's buffer"
        );
    }
}
