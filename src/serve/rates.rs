//! How fast each source sends now: counts of the last minute, looked at every ten seconds.
//!
//! The store knows how much there is of every source; the difference of two looks, divided by the
//! time between them, costs the record's road nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::serve::State;
use crate::store::Source;

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(10);

/// Looks that are kept: with [`EVERY`], those of the last minute.
const LOOKS_MAX: usize = 7;

/// Shortest time that a rate is taken over.
const SHORTEST: Duration = Duration::from_secs(1);

type Pair = (Arc<str>, Arc<str>);

/// The looks of the last minute, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    looks: Mutex<VecDeque<Look>>,
}

/// How many records each host and app had.
#[derive(Debug)]
struct Look {
    at: Duration,
    records: HashMap<Pair, u64>,
}

impl Rates {
    /// Remembers what there is at an instant of the monotonic clock.
    fn look(&self, at: Duration, sources: &[Source]) {
        let pair = |s: &Source| (Arc::clone(&s.host), Arc::clone(&s.app));
        let records = sources.iter().map(|s| (pair(s), s.records)).collect();
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        if looks.len() >= LOOKS_MAX {
            looks.pop_front();
        }
        looks.push_back(Look { at, records });
    }

    /// Records a second of each source since the oldest look, in the order given.
    pub(crate) fn of(&self, at: Duration, sources: &[Source]) -> Vec<f64> {
        let looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(oldest) = looks.front() else { return vec![0.0; sources.len()] };
        let seconds = at.saturating_sub(oldest.at).max(SHORTEST).as_secs_f64();
        let before = |s: &Source| {
            let pair = (Arc::clone(&s.host), Arc::clone(&s.app));
            oldest.records.get(&pair).copied().unwrap_or_default()
        };
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = |s: &Source| s.records.saturating_sub(before(s)) as f64 / seconds;
        sources.iter().map(rate).collect()
    }
}

/// Looks every ten seconds until the server stops.
pub(crate) async fn watch(state: State) {
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = state.stopped() => return,
        }
        let looker = state.clone();
        let look = tokio::task::spawn_blocking(move || {
            looker.rates().look(looker.clock.monotonic(), &looker.store.sources());
        });
        if look.await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Timestamp;

    fn source(app: &str, records: u64) -> Source {
        Source {
            host: "web-1".into(),
            app: app.into(),
            first: Timestamp(0),
            last: Timestamp(0),
            records,
            bytes: 0,
            defects: 0,
        }
    }

    #[track_caller]
    fn check(rates: &Rates, at: u64, sources: &[Source], expected: &[f64]) {
        let got = rates.of(Duration::from_secs(at), sources);
        let near = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-9;
        assert!(got.len() == expected.len() && got.iter().zip(expected).all(near), "{got:?}");
    }

    #[test]
    fn rates_are_of_the_last_minute() {
        let rates = Rates::default();
        check(&rates, 0, &[source("a", 5)], &[0.0]);
        rates.look(Duration::from_secs(0), &[source("a", 100)]);
        check(&rates, 0, &[source("a", 105)], &[5.0]);
        check(&rates, 10, &[source("a", 200), source("new", 30)], &[10.0, 3.0]);
        for n in 1..=10 {
            rates.look(Duration::from_secs(n * 10), &[source("a", 1_000)]);
        }
        check(&rates, 100, &[source("a", 1_000)], &[0.0]);
        check(&rates, 100, &[source("a", 1_120)], &[2.0]);
    }
}
