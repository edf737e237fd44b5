//! What is counted, and its Prometheus text (exposition format 0.0.4).
//!
//! A closed list: a counter that is not in [`Counter`] does not exist.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

macro_rules! counters {
    ($($name:ident = $metric:literal [$($label:literal),*] $help:literal;)*) => {
        /// Counters that only rise. The doc of each is its help text.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Counter { $(#[doc = $help] $name,)* }

        impl Counter {
            /// All, in the order of the text.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
            fn describe(self) -> (&'static str, &'static [&'static str], &'static str) {
                match self { $(Self::$name => ($metric, &[$($label),*], $help),)* }
            }
        }
    };
}

counters! {
    Records = "shirabe_records_total" ["listener"] "records accepted and durable";
    Bytes = "shirabe_received_bytes_total" ["listener"] "bytes read from senders";
    Rejected = "shirabe_rejected_total" ["listener", "reason"] "messages that were refused for their shape or size";
    CutBytes = "shirabe_cut_bytes_total" ["listener"] "bytes beyond the longest line, of records that are kept with the defect truncated";
    Dropped = "shirabe_dropped_total" ["listener", "reason"] "records lost that a sender cannot send again";
    Refused = "shirabe_refused_total" ["listener", "reason"] "batches not accepted that a sender can send again";
    Connections = "shirabe_connections_total" ["listener"] "connections accepted";
    Closed = "shirabe_connections_closed_total" ["listener", "reason"] "connections closed by us, by reason";
    Defects = "shirabe_defects_total" ["defect"] "defects of accepted records";
    Signals = "shirabe_forward_signals_total" ["listener", "kind"] "forward messages that carry metrics or traces, answered and not kept";
    UdpKernelDrops = "shirabe_udp_kernel_drops_total" ["listener"] "datagrams that the kernel dropped because its buffer was full";
    Syncs = "shirabe_log_syncs_total" [] "fsyncs of the write-ahead log";
    LogBytes = "shirabe_log_bytes_total" [] "bytes appended to the write-ahead log";
    Seals = "shirabe_seals_total" [] "segments sealed";
    Merges = "shirabe_merges_total" [] "merges of segments into one";
    RetentionSegments = "shirabe_retention_dropped_segments_total" ["reason"] "segments that retention dropped: age, size, disk-full";
    RetentionRecords = "shirabe_retention_dropped_records_total" ["reason"] "records in them";
    RetentionBytes = "shirabe_retention_dropped_bytes_total" ["reason"] "bytes of their files";
    Requests = "shirabe_http_requests_total" ["status"] "HTTP answers by status";
    TailLag = "shirabe_tail_lag_total" [] "records that slow live readers did not get";
    Events = "shirabe_events_total" ["level"] "events of the program's own log";
}

/// All counters of a process.
#[derive(Debug, Default)]
pub struct Metrics {
    counts: Mutex<BTreeMap<(Counter, Vec<String>), u64>>,
}

impl Metrics {
    /// Adds `n`. `labels` are the values of the counter's labels, in their order.
    pub fn add(&self, counter: Counter, labels: &[&str], n: u64) {
        let key = (counter, labels.iter().map(|l| (*l).to_owned()).collect());
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(key).or_default() += n;
    }

    /// The sum over all labels.
    pub fn total(&self, counter: Counter) -> u64 {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().filter(|((c, _), _)| *c == counter).map(|(_, n)| n).sum()
    }

    /// One counter's values with their labels.
    pub fn each(&self, counter: Counter) -> Vec<(Vec<String>, u64)> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts
            .iter()
            .filter(|((c, _), _)| *c == counter)
            .map(|((_, l), n)| (l.clone(), *n))
            .collect()
    }

    /// The text for a scrape; `gauges` are (name, help, value) of the moment.
    pub fn text(&self, gauges: &[(&str, &str, f64)]) -> String {
        let mut out = String::new();
        for counter in Counter::ALL {
            let (metric, labels, help) = counter.describe();
            let mut line = |text: std::fmt::Arguments<'_>| out.write_fmt(text).unwrap_or_default();
            line(format_args!("# HELP {metric} {help}\n# TYPE {metric} counter\n"));
            let each = self.each(*counter);
            if each.is_empty() && labels.is_empty() {
                line(format_args!("{metric} 0\n"));
            }
            for (values, n) in each {
                let pairs: Vec<String> = labels
                    .iter()
                    .zip(&values)
                    .map(|(l, v)| {
                        let v = v.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                        format!("{l}=\"{v}\"")
                    })
                    .collect();
                if pairs.is_empty() {
                    line(format_args!("{metric} {n}\n"));
                } else {
                    line(format_args!("{metric}{{{}}} {n}\n", pairs.join(",")));
                }
            }
        }
        for (name, help, value) in gauges {
            out.write_fmt(format_args!(
                "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n"
            ))
            .unwrap_or_default();
        }
        out
    }
}
