//! The keeper thread: what has had its time, or is beyond the room it may take, goes.
//!
//! Only where somebody set a limit; without one the thread does not exist. Oldest first, as whole
//! segments, each drop in the manifest, the log and the metrics. First the pure choices: what the
//! keeper takes for the time ([`Belief`]), what is too old ([`Kept::expired`]), what is too much ([`Kept::beyond`]).
//!
//! *A clock that leaps must not wipe the store.* One that is suddenly more than a day ahead of where
//! it should be is not believed before it has stood so for as long as it leapt, a week at most, of running
//! time; until then ages go on counting by the clock as it was. One that falls back is believed: less goes then.
//! Records that bear a day of such a time are as old as those that came before them.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, Weak, mpsc};
use std::time::Duration;

use crate::base::error::Result;
use crate::base::limits::{
    CLOCK_DOUBT_MAX_S, CLOCK_LEAP_MAX_S, DROP_FREE_BYTES_MIN, RETENTION_LOOK_S, RETENTION_NOTE_S,
    SEAL_RETRY_S,
};
use crate::base::machine::Clock;
use crate::base::metrics::Counter;
use crate::base::time::Timestamp;
use crate::config::{DEFAULT_CLASS, Keep, OnFull, Retention, Storage};
use crate::store::append::Task;
use crate::store::catalog::Catalog;
use crate::store::cut::Day;
use crate::store::ledger::Change;
use crate::store::manifest::Kind;
use crate::store::sealed::Segment;
use crate::store::segment::SegmentMeta;
use crate::store::{Shared, State};

/// What the keeper takes for the time; kept in the catalogue over restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Belief {
    /// The believed time; the epoch where none was ever noted.
    pub(super) at: Timestamp,
    /// For how long of running time the clock has been beyond belief.
    pub(super) doubted: Duration,
}

impl Belief {
    /// What is believed when the clock says `wall`, so much running time later.
    fn next(self, wall: Timestamp, passed: Duration) -> Self {
        let trusted = Self { at: wall, doubted: Duration::ZERO };
        let nanos = i64::try_from(passed.as_nanos()).unwrap_or(i64::MAX);
        let expected = self.at.0.saturating_add(nanos);
        let leap = Duration::from_nanos(wall.0.saturating_sub(expected).max(0).unsigned_abs());
        if self.at == Timestamp::default() || leap <= Duration::from_secs(CLOCK_LEAP_MAX_S) {
            return trusted;
        }
        let doubted = self.doubted.saturating_add(passed);
        if doubted >= leap.min(Duration::from_secs(CLOCK_DOUBT_MAX_S)) {
            return trusted;
        }
        Self { at: Timestamp(expected), doubted }
    }

    fn day(self) -> i64 {
        Day::of(self.at).number()
    }
}

/// How long each class is kept.
#[derive(Debug, Default)]
pub(super) struct Terms(HashMap<String, Keep>);

impl Terms {
    pub(super) fn new(rules: &[Retention]) -> Self {
        Self(rules.iter().map(|rule| (rule.name.clone(), rule.keep)).collect())
    }

    /// Of a class whose rule is gone, what `default` says; `None` where nobody says anything.
    fn of(&self, class: &str) -> Option<Keep> {
        self.0.get(class).or_else(|| self.0.get(DEFAULT_CLASS)).copied()
    }

    fn any_age(&self) -> bool {
        self.0.values().any(|keep| matches!(keep, Keep::Days(_)))
    }
}

/// What the choices look at: a segment, in the order of first ids, which is that of arrival.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    number: u64,
    /// Day of arrival, counted from 1970; `None` where its name is no day.
    day: Option<i64>,
    len: u64,
    keep: Option<Keep>,
}

impl Kept {
    fn all(segments: &[SegmentMeta], terms: &Terms) -> Vec<Self> {
        let of = |meta: &SegmentMeta| Self {
            number: meta.number,
            day: day_number(&meta.day),
            len: meta.len,
            keep: terms.of(&meta.class),
        };
        segments.iter().map(of).collect()
    }

    /// Those whose time is over on `today`: their last record arrived at least so many days ago.
    fn expired(all: &[Self], today: i64) -> Vec<u64> {
        let mut latest = i64::MIN;
        let mut gone = Vec::new();
        for kept in all {
            let Some(day) = kept.day.filter(|day| *day <= today) else { continue };
            // A day before that of what came earlier is that of a clock that had fallen back.
            latest = latest.max(day);
            if matches!(kept.keep, Some(Keep::Days(days)) if today - latest > i64::from(days)) {
                gone.push(kept.number);
            }
        }
        gone
    }

    /// The oldest that have at least `bytes`, or all that may go.
    fn beyond(all: &[Self], bytes: u64) -> Vec<u64> {
        let mut left = bytes;
        let mut gone = Vec::new();
        for kept in all.iter().filter(|kept| kept.keep != Some(Keep::Forever)) {
            if left == 0 {
                break;
            }
            left = left.saturating_sub(kept.len);
            gone.push(kept.number);
        }
        gone
    }
}

fn day_number(day: &str) -> Option<i64> {
    Timestamp::parse_rfc3339(&format!("{day}T00:00:00Z")).map(|at| Day::of(at).number())
}

/// Why segments are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Age,
    Size,
    DiskFull,
}

impl Why {
    /// As metrics and the log call it.
    fn name(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Size => "size",
            Self::DiskFull => "disk-full",
        }
    }
}

/// The state of its thread.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    storage: Storage,
    terms: Terms,
    belief: Belief,
    /// When `belief` was formed, by the clock that does not leap.
    formed: Duration,
    /// What the catalogue has of it.
    noted: Belief,
    /// The segments had changed so often when they were looked at.
    seen: Option<u64>,
    /// Something could not be dropped, or had no effect yet; it is looked at after a pause.
    pause: bool,
    /// What was dropped for its room, while a reader may still hold its file: the segment, bytes.
    going: Vec<(Weak<Segment>, u64)>,
}

impl Keeper {
    /// `None` where nothing has to be kept within limits.
    pub(super) fn new(
        shared: Arc<Shared>,
        clock: Arc<dyn Clock>,
        storage: Storage,
        terms: Terms,
    ) -> Option<Self> {
        let limited =
            terms.any_age() || storage.max_bytes.is_some() || storage.on_full == OnFull::DropOldest;
        let noted = shared.state().catalog.belief;
        limited.then(|| Self {
            formed: clock.monotonic(),
            belief: noted,
            shared,
            clock,
            storage,
            terms,
            noted,
            seen: None,
            pause: false,
            going: Vec::new(),
        })
    }

    /// Until the store closes.
    pub(super) fn run(mut self) {
        loop {
            self.pause = self.look().unwrap_or_else(|error| {
                tracing::warn!(%error, "what was to be dropped is still there; tried again");
                true
            });
            if !self.wait() {
                return;
            }
        }
    }

    /// Sleeps until there may be something to do; `false` at the end.
    fn wait(&self) -> bool {
        let mut state = self.shared.state();
        let look = Duration::from_secs(RETENTION_LOOK_S);
        let pause = if self.pause { Duration::from_secs(SEAL_RETRY_S) } else { look };
        let begun = self.clock.monotonic();
        let mut slept = false;
        loop {
            if state.closing {
                return false;
            }
            // Who was refused waits for it.
            let full = self.storage.on_full == OnFull::DropOldest && state.full_at.is_some();
            if slept || (!self.pause && (self.seen != Some(state.generation) || full)) {
                return true;
            }
            let (guard, timeout) = self
                .shared
                .changed
                .wait_timeout(state, pause)
                .unwrap_or_else(PoisonError::into_inner);
            state = guard;
            // Others wake this thread, too.
            slept = timeout.timed_out() || self.clock.monotonic() >= begun + pause;
        }
    }

    /// Drops what is due; `true` where it should be looked at again soon.
    fn look(&mut self) -> Result<bool> {
        self.tell_time()?;
        let state = self.shared.state();
        self.seen = Some(state.generation);
        drop(state);
        if self.terms.any_age() {
            self.close_old_part();
            let gone = Kept::expired(&self.kept(), self.belief.day());
            self.drop_all(&gone, Why::Age)?;
        }
        if let Some(max) = self.storage.max_bytes {
            let state = self.shared.state();
            let log: u64 = state.log_bytes.values().sum();
            let total = state.catalog.segments.iter().map(|s| s.len).sum::<u64>() + log;
            drop(state);
            let gone = Kept::beyond(&self.kept(), total.saturating_sub(max));
            self.drop_all(&gone, Why::Size)?;
        }
        if self.storage.on_full == OnFull::DropOldest { self.make_room() } else { Ok(false) }
    }

    fn kept(&self) -> Vec<Kept> {
        Kept::all(&self.shared.state().catalog.segments, &self.terms)
    }

    /// Forms the belief of now, and notes it where it would else be too old after a restart.
    fn tell_time(&mut self) -> Result<()> {
        let now = self.clock.monotonic();
        let doubted = self.belief.doubted > Duration::ZERO;
        let wall = self.clock.now();
        self.belief = self.belief.next(wall, now.saturating_sub(self.formed));
        self.formed = now;
        let doubts = self.belief.at != wall;
        if doubts && !doubted {
            tracing::warn!(
                clock = %wall, believed = %self.belief.at,
                "the clock has leapt ahead; until it has stood so for a while, ages count as before"
            );
        } else if doubted && !doubts {
            tracing::info!(clock = %wall, "the clock is believed again; ages count by it");
        }
        let belief = self.belief;
        let mut state = self.shared.state();
        state.catalog.belief = belief;
        state.clock_doubted = doubts;
        drop(state);
        let age = Duration::from_nanos(belief.at.0.abs_diff(self.noted.at.0));
        let is_old = age >= Duration::from_secs(RETENTION_NOTE_S)
            || belief.doubted.abs_diff(self.noted.doubted) >= Duration::from_secs(RETENTION_NOTE_S);
        if self.terms.any_age() && is_old {
            self.shared.note(|catalog| catalog.belief = belief)?;
            self.noted = belief;
        }
        Ok(())
    }

    /// Below the floor: drops what makes up for it, and a quarter more, so that merges have room too.
    /// `true` where it is still below.
    fn make_room(&mut self) -> Result<bool> {
        let shared = Arc::clone(&self.shared);
        let free = shared.disk.free_bytes(&shared.dirs.data)?;
        let floor = self.storage.min_free_bytes.max(DROP_FREE_BYTES_MIN);
        if free >= floor {
            self.going.clear();
            if shared.state().full_at.take().is_some() {
                tracing::info!(free, "the disk has room again");
            }
            return Ok(false);
        }
        // What a reader still holds gives its room back later; nothing more goes instead of it.
        self.going.retain(|(segment, _)| segment.strong_count() > 0);
        let going: u64 = self.going.iter().map(|(_, bytes)| bytes).sum();
        let missing = (floor + floor / 4).saturating_sub(free.saturating_add(going));
        let gone = Kept::beyond(&self.kept(), missing);
        let state = shared.state();
        let segments = state.segments.iter().filter(|s| gone.contains(&s.meta().number));
        let held: Vec<_> = segments.map(|s| (Arc::downgrade(s), s.meta().len)).collect();
        drop(state);
        self.drop_all(&gone, Why::DiskFull)?;
        self.going.extend(held);
        Ok(true)
    }

    /// What is live and of a day that is over would else be old before it is in a segment, where
    /// nothing arrives any more.
    fn close_old_part(&self) {
        let state = self.shared.state();
        let is_old = state.day.is_some_and(|day| day.number() < self.belief.day());
        let is_due = is_old && state.live.records > 0;
        drop(state);
        if is_due {
            let mut queue = self.shared.queue();
            // Nobody waits for the answer.
            queue.tasks.push_back(Task::Freeze { reply: mpsc::channel().0 });
            drop(queue);
            self.shared.queued.notify_one();
        }
    }

    fn drop_all(&self, numbers: &[u64], why: Why) -> Result<()> {
        if numbers.is_empty() {
            return Ok(());
        }
        let change =
            || Change { kind: Kind::Dropped, added: Vec::new(), removed: numbers.to_vec() };
        let state = self.shared.state();
        let gone: Vec<SegmentMeta> = state
            .catalog
            .segments
            .iter()
            .filter(|m| numbers.contains(&m.number))
            .cloned()
            .collect();
        drop(state);
        let in_state = |state: &mut State| state.sources = None;
        let done = self.shared.commit(change(), |_| (), in_state);
        if let Err(error) = done {
            let first = gone.first().filter(|_| error.is_disk_full());
            let Some(first) = first else { return Err(error) };
            // Not even this can be written down. The file goes first then; should the machine die
            // now, the next start says that it is missing.
            tracing::warn!(%error, number = first.number, "the disk is full: a file goes before its entry");
            self.shared.disk.remove(&first.path(&self.shared.dirs.segments))?;
            self.shared.commit(change(), |_: &mut Catalog| (), in_state)?;
        }
        let records: u64 = gone.iter().map(SegmentMeta::records).sum();
        let bytes: u64 = gone.iter().map(|meta| meta.len).sum();
        let first = gone.iter().map(|meta| meta.day.as_str()).min().unwrap_or_default();
        let last = gone.iter().map(|meta| meta.day.as_str()).max().unwrap_or_default();
        let segments = gone.len();
        let reason = why.name();
        tracing::info!(
            segments,
            records,
            bytes,
            first,
            last,
            reason,
            "retention dropped the oldest"
        );
        let metrics = &self.shared.metrics;
        metrics.add(Counter::RetentionSegments, &[reason], segments as u64);
        metrics.add(Counter::RetentionRecords, &[reason], records);
        metrics.add(Counter::RetentionBytes, &[reason], bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn at(days: f64) -> Timestamp {
        #[expect(clippy::cast_possible_truncation, reason = "days of a test")]
        Timestamp((days * 86_400.0) as i64 * 1_000_000_000)
    }

    #[test]
    fn a_clock_that_leaps_is_believed_when_it_has_stood_for_a_while() {
        let hour = Duration::from_hours(1);
        let none = Duration::ZERO;
        for (before, doubted, wall, passed, want, still_doubted) in [
            // Nothing was noted yet.
            (at(0.0), none, at(900.0), none, at(900.0), none),
            // Time passes; a little more than the clock that does not leap says is fine.
            (at(100.0), none, at(100.5), hour, at(100.5), none),
            (at(100.0), none, at(101.0), none, at(101.0), none),
            // Back is believed at once, also out of doubt.
            (at(100.0), none, at(3.0), hour, at(3.0), none),
            (at(100.0), 2 * DAY, at(100.1), hour, at(100.1), none),
            // A year ahead is not; ages count on.
            (at(100.0), none, at(465.0), hour, at(100.0 + 1.0 / 24.0), hour),
            (at(100.0), 6 * DAY, at(465.0), DAY / 2, at(100.5), 6 * DAY + DAY / 2),
            // A week of running time later it is.
            (at(100.0), 6 * DAY, at(465.0), DAY, at(465.0), none),
            // Off for three days: believed after three days.
            (at(100.0), none, at(103.0), none, at(100.0), none),
            (at(100.0), 2 * DAY, at(104.0), DAY, at(104.0), none),
        ] {
            let belief = Belief { at: before, doubted }.next(wall, passed);
            assert_eq!(belief, Belief { at: want, doubted: still_doubted }, "{before} {wall}");
        }
    }

    fn kept(number: u64, day: i64, keep: Option<Keep>) -> Kept {
        Kept { number, day: Some(day), len: 10, keep }
    }

    #[test]
    fn what_has_had_its_days_goes() {
        let days = |n| Some(Keep::Days(n));
        let cases: [(&str, Vec<Kept>, i64, &[u64]); 8] = [
            ("nothing set", vec![kept(1, 0, None)], 9_999, &[]),
            ("for ever", vec![kept(1, 0, Some(Keep::Forever))], 9_999, &[]),
            ("on its last day", vec![kept(1, 100, days(30))], 130, &[]),
            ("the day after", vec![kept(1, 100, days(30))], 131, &[1]),
            (
                "each by its own class",
                vec![kept(1, 100, days(30)), kept(2, 100, days(3)), kept(3, 120, days(3))],
                120,
                &[2],
            ),
            (
                "of a day that is to come",
                vec![kept(1, 500, days(1)), kept(2, 100, days(1))],
                102,
                &[2],
            ),
            (
                "what a clock of 1970 gave its day is as old as what came before",
                vec![kept(1, 100, days(30)), kept(2, 0, days(30)), kept(3, 101, days(30))],
                131,
                &[1, 2],
            ),
            (
                "its neighbours stay where it would go alone",
                vec![kept(1, 100, days(30)), kept(2, 0, days(30)), kept(3, 101, days(30))],
                130,
                &[],
            ),
        ];
        for (what, all, today, want) in cases {
            assert_eq!(Kept::expired(&all, today), want, "{what}");
        }
    }

    #[test]
    fn what_is_beyond_its_room_goes_oldest_first() {
        let all = [
            kept(4, 100, None),
            kept(5, 100, Some(Keep::Forever)),
            kept(2, 101, Some(Keep::Days(3))),
            kept(9, 102, None),
        ];
        for (bytes, want) in [
            (0, &[][..]),
            (1, &[4]),
            (10, &[4]),
            (11, &[4, 2]),
            (21, &[4, 2, 9]),
            (999, &[4, 2, 9]),
        ] {
            assert_eq!(Kept::beyond(&all, bytes), want, "{bytes}");
        }
    }

    #[test]
    fn a_class_without_its_rule_is_kept_as_the_default() {
        let rule = |name: &str, keep| Retention {
            name: name.to_owned(),
            hosts: Vec::new(),
            apps: Vec::new(),
            severities: None,
            keep,
        };
        let terms = Terms::new(&[rule("a", Keep::Days(3))]);
        assert_eq!(
            (terms.of("a"), terms.of("gone"), terms.of("default")),
            (Some(Keep::Days(3)), None, None)
        );
        let terms = Terms::new(&[rule("a", Keep::Forever), rule("default", Keep::Days(7))]);
        assert_eq!((terms.of("a"), terms.of("gone")), (Some(Keep::Forever), Some(Keep::Days(7))));
        assert!(terms.any_age() && !Terms::default().any_age());
    }

    #[test]
    fn days_are_counted() {
        assert_eq!(day_number("1970-01-02"), Some(1));
        assert_eq!(day_number("2026-03-01"), Some(20_513));
        assert_eq!(day_number("2026-02-31"), None);
    }
}
