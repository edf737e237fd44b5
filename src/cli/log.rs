//! The program's own log: to standard error, and from warnings on into its own store.
//!
//! What the store says while it keeps such an event would be another event: so events wait in a
//! bounded queue, are handed in by a task of their own, and only so many a minute.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::field::{Field as Name, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, fmt as print};

use crate::base::machine::{self, Clock};
use crate::base::metrics::{Counter, Metrics};
use crate::base::record::{Defects, INTERNAL, Line, Record, Severity, Via};
use crate::base::value::{Field, Value};
use crate::cli::{Failure, LogFormat};
use crate::config::load::Problem;
use crate::ingest::Intake;

/// Events that wait to be kept; what comes beyond is counted and stands on standard error only.
const WAITING_MAX: usize = 256;

/// Events that are kept in a minute.
const A_MINUTE_MAX: usize = 120;

/// What a warning or error said.
struct Said {
    severity: Severity,
    message: String,
    fields: Vec<Field>,
}

/// Events on their way to the own store.
pub(super) struct Waiting(mpsc::Receiver<Said>);

/// Starts the log.
pub(super) fn start(format: LogFormat, metrics: &Arc<Metrics>) -> Result<Waiting, Failure> {
    let wanted = std::env::var("SHIRABE_LOG").unwrap_or_default();
    let wanted = if wanted.is_empty() { "info" } else { &wanted };
    let filter = EnvFilter::try_new(wanted).map_err(|e| {
        let expected = "a level (error, warn, info, debug, trace) or a list such as \
                        info,shirabe::store=debug";
        let detail = format!("found {wanted:?} ({e}), expected {expected}");
        vec![Problem { place: "SHIRABE_LOG".to_owned(), key: String::new(), detail }]
    })?;
    let (tell, told) = mpsc::channel(WAITING_MAX);
    let own = Own { tell, metrics: Arc::clone(metrics) };
    let registry = Registry::default().with(filter).with(own);
    let writer = io::stderr;
    let started = match format {
        LogFormat::Json => {
            registry.with(print::layer().json().flatten_event(true).with_writer(writer)).try_init()
        }
        LogFormat::Text => {
            let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            let layer = print::layer().with_ansi(colour).with_target(false).with_writer(writer);
            registry.with(layer).try_init()
        }
    };
    // A log that was started before (by a host of this library) stays as it is.
    drop(started);
    Ok(Waiting(told))
}

impl Waiting {
    /// Hands in what comes, until the process ends.
    pub(super) async fn keep(mut self, intake: Intake, clock: Arc<dyn Clock>) {
        let via = Arc::new(Via {
            format: INTERNAL.into(),
            listener: INTERNAL.into(),
            transport: INTERNAL.into(),
            peer: "127.0.0.1".into(),
        });
        let host: Arc<str> = machine::hostname().into();
        let pid: Box<str> = std::process::id().to_string().into();
        let (mut minute, mut kept) = (clock.monotonic(), 0);
        while let Some(said) = self.0.recv().await {
            if clock.monotonic().saturating_sub(minute) > Duration::from_mins(1) {
                (minute, kept) = (clock.monotonic(), 0);
            }
            kept += 1;
            if kept > A_MINUTE_MAX {
                intake.metrics().add(Counter::Dropped, &[INTERNAL, "too-many"], 1);
                continue;
            }
            let now = clock.now();
            intake.offer(vec![Record {
                id: 0,
                time: now,
                received: now.floor_to_millis(),
                host: Arc::clone(&host),
                app: "shirabe".into(),
                severity: Some(said.severity),
                facility: None,
                pid: Some(pid.clone()),
                line: Line::text(&said.message),
                fields: said.fields,
                format: None,
                via: Arc::clone(&via),
                tag: None,
                defects: Defects::default(),
            }]);
        }
    }
}

/// Counts events, and hands warnings and errors to the own store.
struct Own {
    tell: mpsc::Sender<Said>,
    metrics: Arc<Metrics>,
}

impl<S: Subscriber> Layer<S> for Own {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = *event.metadata().level();
        let severity = match level {
            Level::ERROR => Severity::Error,
            Level::WARN => Severity::Warning,
            _ => return,
        };
        self.metrics.add(Counter::Events, &[severity.name()], 1);
        let module = Field { name: "module".into(), value: Value::str(event.metadata().target()) };
        let mut said = Said { severity, message: String::new(), fields: vec![module] };
        event.record(&mut said);
        if self.tell.try_send(said).is_err() {
            self.metrics.add(Counter::Dropped, &[INTERNAL, "queue-full"], 1);
        }
    }
}

impl Visit for Said {
    fn record_debug(&mut self, name: &Name, value: &dyn fmt::Debug) {
        if name.name() == "message" {
            write!(self.message, "{value:?}").unwrap_or_default();
        } else {
            let value = Value::str(format!("{value:?}"));
            self.fields.push(Field { name: name.name().into(), value });
        }
    }

    fn record_str(&mut self, name: &Name, value: &str) {
        if name.name() == "message" {
            self.message.push_str(value);
        } else {
            self.fields.push(Field { name: name.name().into(), value: Value::str(value) });
        }
    }

    fn record_i64(&mut self, name: &Name, value: i64) {
        self.fields.push(Field { name: name.name().into(), value: Value::Int(value) });
    }

    fn record_u64(&mut self, name: &Name, value: u64) {
        self.fields.push(Field { name: name.name().into(), value: Value::uint(value) });
    }
}
