//! The merger thread: makes few large segments out of many small ones, while nothing else waits.
//!
//! First the pure choice ([`Bounds::choose`]): neighbours in id order of one day and class, so many that a byte is
//! rewritten once or twice in its life. Then the execution, in the sealer's order: a new file, synced
//! and read back → its name → the ledger: the inputs out, the output in, as one step → the files of the inputs go
//! once no snapshot shows them. Ids and records stay what they are, to the byte.
//! *Invariant:* one merge at a time; whatever goes wrong, the inputs stay as they are.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::base::error::{Error, Refusal, Result};
use crate::base::limits::{
    FROZEN_PARTS_MAX, MERGE_CLOSE_MS, MERGE_FAN, MERGE_FILE_BYTES_MAX, MERGE_TEXT_BYTES_MAX,
};
use crate::base::machine;
use crate::base::metrics::Counter;
use crate::codec::{self, Body, Encoded, RowSet, Rows};
use crate::store::ledger::Change;
use crate::store::manifest::Kind;
use crate::store::sealed::Segment;
use crate::store::segment::{self, Identity, Open, SegmentMeta, Text};
use crate::store::sources::Sources;
use crate::store::{Shared, State};

/// Of so many chunks of a merged segment the records of one are compared with what went into it.
/// All would cost as much again as the merge.
const CHECKED_CHUNKS: usize = 8;

/// How large a merged segment may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Text of its lines, bytes.
    pub(super) text: u64,
    /// Its file, bytes.
    pub(super) file: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { text: MERGE_TEXT_BYTES_MAX, file: MERGE_FILE_BYTES_MAX }
    }
}

/// What the choice looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    /// Day of arrival.
    pub(super) day: &'a str,
    /// Text of its lines, bytes.
    pub(super) text: u64,
    /// Its file, bytes.
    pub(super) file: u64,
    /// Stays as it is: damage was met in it, or merging it failed.
    pub(super) fixed: bool,
    /// Was never merged: what it holds can be written smaller.
    pub(super) fresh: bool,
}

impl Bounds {
    /// The segments that are due to become one, of all of one class in id order; `None` where none are. `today` is the
    /// day that still grows, `None` where none does.
    ///
    /// | of neighbours of one day | due |
    /// |---|---|
    /// | as many as fit, and the next would not | at once |
    /// | [`MERGE_FAN`] of like smallness | at once, so that many tiny ones never gather |
    /// | what is left of a day that is over | at once, unless it would be rewriting a large one for a small |
    /// | one of such a day that was never merged | at once |
    pub(super) fn choose(self, all: &[Candidate<'_>], today: Option<&str>) -> Option<Range<usize>> {
        let mut start = 0;
        for run in all.chunk_by(|a, b| a.day == b.day && !a.fixed && !b.fixed) {
            let over = run.first().is_some_and(|c| Some(c.day) != today);
            if let Some(found) = self.choose_in_run(run, over) {
                return Some(start + found.start..start + found.end);
            }
            start += run.len();
        }
        None
    }

    fn choose_in_run(self, run: &[Candidate<'_>], over: bool) -> Option<Range<usize>> {
        let mut start = 0;
        while start < run.len() {
            let rest = run.get(start..).unwrap_or_default();
            let fits = self.fitting(rest);
            let full = fits < rest.len();
            let bin = rest.get(..fits).unwrap_or_default();
            let found = if full || over { self.worthwhile(bin) } else { self.alike(bin) };
            if let Some(found) = found {
                return Some(start + found.start..start + found.end);
            }
            start += fits;
        }
        None
    }

    /// How many from the first on fit into one; one at least.
    fn fitting(self, run: &[Candidate<'_>]) -> usize {
        let (mut text, mut file) = (0_u64, 0_u64);
        let fits = run.iter().take_while(|c| {
            (text, file) = (text.saturating_add(c.text), file.saturating_add(c.file));
            text <= self.text && file <= self.file
        });
        fits.count().max(1)
    }

    /// All, or those beside the largest where that is most of it anyway.
    fn worthwhile(self, bin: &[Candidate<'_>]) -> Option<Range<usize>> {
        if bin.len() < 2 {
            let again = |c: &Candidate<'_>| {
                c.fresh && !c.fixed && c.text <= self.text && c.file <= self.file
            };
            return bin.first().is_some_and(again).then_some(0..1);
        }
        let total: u64 = bin.iter().map(|c| c.text).sum();
        let (at, largest) = bin.iter().map(|c| c.text).enumerate().max_by_key(|(_, text)| *text)?;
        if total - largest >= largest / 8 || total <= self.text / 64 {
            return Some(0..bin.len());
        }
        let found = |range: Range<usize>| {
            let found = self.worthwhile(bin.get(range.clone())?)?;
            Some(range.start + found.start..range.start + found.end)
        };
        [0..at, at + 1..bin.len(), at..at + 1].into_iter().find_map(found)
    }

    /// The smallest [`MERGE_FAN`] neighbours of like size.
    fn alike(self, bin: &[Candidate<'_>]) -> Option<Range<usize>> {
        let fan = MERGE_FAN as u64;
        let mut most = self.text / fan;
        let mut found = None;
        while most > 0 {
            let mut start = 0;
            let runs = bin.chunk_by(|a, b| a.text <= most && b.text <= most).map(|run| {
                start += run.len();
                start - run.len()..start
            });
            let Some(small) = runs.into_iter().find(|run| run.len() >= MERGE_FAN) else { break };
            found = Some(small);
            most /= fan;
        }
        found
    }
}

/// How merging goes; part of what the threads share.
#[derive(Default)]
pub(super) struct Merging {
    /// Somebody waits until no merge is due, of the day that still grows too.
    pub(super) asked: bool,
    /// How often it was asked for.
    pub(super) asks: u64,
    /// Encodes in memory, and touches no file before it has looked whether the store closes.
    pub(super) computing: bool,
    /// Why the last merge of those asked for did not go well.
    pub(super) failure: Option<Error>,
}

impl Shared {
    /// Waits until merging ends, since the store closes; `false` where it computes for longer than
    /// who closes should wait.
    pub(super) fn merging_ends(&self) -> bool {
        let mut state = self.state();
        while state.merging.computing {
            let wait = Duration::from_millis(MERGE_CLOSE_MS);
            let (guard, timeout) =
                self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner);
            state = guard;
            if timeout.timed_out() {
                return !state.merging.computing;
            }
        }
        true
    }
}

/// The state of its thread.
pub(super) struct Merger {
    shared: Arc<Shared>,
    /// Merging these went wrong: they stay as they are until the next start.
    fixed: HashSet<u64>,
    /// After a failure that may pass, nothing is tried before the segments are other ones or
    /// somebody asks: their generation, and how often it was asked for.
    waits_since: Option<(u64, u64)>,
}

impl Merger {
    /// Works on these.
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, fixed: HashSet::new(), waits_since: None }
    }

    /// Until the store closes.
    pub(super) fn run(mut self) {
        machine::lower_priority();
        while let Some(inputs) = self.next_job() {
            let mut blamed = Vec::new();
            let merged = catch_unwind(AssertUnwindSafe(|| self.merge(&inputs, &mut blamed)));
            let panicked = || Error::corrupt("segments", "merging panicked");
            if let Err(error) = merged.unwrap_or_else(|_| Err(panicked())) {
                self.failed(error, &inputs, &blamed);
            }
        }
    }

    /// Sleeps until a merge is due; `None` at the end.
    fn next_job(&mut self) -> Option<Vec<Arc<Segment>>> {
        let mut state = self.shared.state();
        loop {
            if state.closing {
                return None;
            }
            let waits = self.waits_since == Some((state.generation, state.merging.asks));
            let due = if waits { None } else { self.due(&state) };
            match due {
                // Sealing goes first: senders wait for it.
                Some(due) if state.frozen.len() < FROZEN_PARTS_MAX => return Some(due),
                None if state.merging.asked => {
                    state.merging.asked = false;
                    self.shared.changed.notify_all();
                }
                _ => {}
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn due(&self, state: &State) -> Option<Vec<Arc<Segment>>> {
        let last = state.segments.last().map(|segment| segment.meta().day.clone());
        let today = state.day.map(|day| day.to_string()).or(last);
        let today = today.as_deref().filter(|_| !state.merging.asked);
        let mut classes: BTreeMap<&str, Vec<&Arc<Segment>>> = BTreeMap::new();
        for segment in &state.segments {
            classes.entry(&segment.meta().class).or_default().push(segment);
        }
        classes.into_values().find_map(|segments| {
            let each = segments.iter().map(|segment| {
                let meta = segment.meta();
                let fixed = !segment.damaged().is_empty() || self.fixed.contains(&meta.number);
                Candidate {
                    day: &meta.day,
                    text: meta.bytes,
                    file: meta.len,
                    fixed,
                    fresh: meta.is_fresh,
                }
            });
            let range = self.shared.merge_bounds.choose(&each.collect::<Vec<_>>(), today)?;
            Some(segments.get(range)?.iter().copied().map(Arc::clone).collect())
        })
    }

    fn failed(&mut self, error: Error, inputs: &[Arc<Segment>], blamed: &[u64]) {
        // Retention was quicker: what is due is another matter now.
        if matches!(error, Error::Closed | Error::NotFound { .. }) {
            return;
        }
        tracing::warn!(%error, segments = inputs.len(), "merging failed; nothing is lost");
        let mut state = self.shared.state();
        if !error.is_damage() {
            // A full disk, or one that fails just now.
            self.waits_since = Some((state.generation, state.merging.asks));
        } else if !blamed.is_empty() {
            self.fixed.extend(blamed);
        } else if inputs.iter().all(|segment| segment.damaged().is_empty()) {
            // A fault of the program, which does not pass.
            self.fixed.extend(inputs.iter().map(|segment| segment.meta().number));
        }
        // What is damaged stays as it is: that is no failure of what was asked for.
        if state.merging.asked && !error.is_damage() {
            state.merging.failure = Some(error);
        }
    }

    /// Makes one of them; `blamed` gets the numbers of those that cannot be merged, where it is known
    /// and other chunks of them read.
    fn merge(&self, inputs: &[Arc<Segment>], blamed: &mut Vec<u64>) -> Result<()> {
        let shared = &*self.shared;
        let metas = || inputs.iter().map(|segment| segment.meta());
        let free = shared.disk.free_bytes(&shared.dirs.data)?;
        let len: u64 = metas().map(|meta| meta.len).sum();
        if free < shared.free_floor_bytes.saturating_add(len) {
            let floor = shared.free_floor_bytes.saturating_add(len);
            return Err(Error::Busy(Refusal::BelowFloor { free, floor }));
        }
        let (encoded, opens, sources) = self.encode(inputs, blamed)?;
        let Some(first) = inputs.first().map(|segment| segment.meta()) else { return Ok(()) };
        let number = shared.next_number();
        let who = Identity { number, day: &first.day, class: &first.class };
        let (temp, path) = shared.place_for(who)?;
        let text = Text { bytes: metas().map(|meta| meta.bytes).sum(), is_fresh: false };
        let written = segment::write_encoded(&*shared.disk, &temp, who, text, encoded, &sources);
        let checked = written.and_then(|meta| {
            self.check(&opens, &Open::read(&*shared.disk, &temp)?, &meta)?;
            Ok(meta)
        });
        let meta = checked.inspect_err(|_| {
            // Its room may be what is missing.
            drop(shared.disk.remove(&temp));
        })?;
        drop(opens);
        let records = meta.records();
        let done = shared.disk.rename(&temp, &path).and_then(|()| {
            let removed = metas().map(|meta| meta.number).collect();
            let change = Change { kind: Kind::Merged, added: vec![meta], removed };
            shared.commit(change, |_| (), |_| ())
        });
        done.inspect_err(|_| {
            // The catalogue that failed may be on disk all the same, and mean it.
            if shared.settle().is_ok() {
                drop(shared.disk.remove(&temp));
                drop(shared.disk.remove(&path));
            }
        })?;
        shared.metrics.add(Counter::Merges, &[], 1);
        tracing::debug!(segments = inputs.len(), number, records, "segments are merged");
        Ok(())
    }

    /// All of the inputs as one, in memory. Takes the longest, and nothing of it is on disk: who
    /// closes the store need not wait for it.
    fn encode(
        &self,
        inputs: &[Arc<Segment>],
        blamed: &mut Vec<u64>,
    ) -> Result<(Encoded, Vec<Open>, Sources)> {
        let mut sources = Sources::default();
        let mut opens = Vec::new();
        for segment in inputs {
            let open = segment.read().inspect_err(|error| segment.distrust(error))?;
            let own = open.sources();
            sources.merge(&own.inspect_err(|_| blamed.push(segment.meta().number))?);
            opens.push(open);
        }
        let bodies: Vec<(Body, u64)> =
            opens.iter().map(|open| (open.body(), open.meta().bytes)).collect();
        self.shared.state().merging.computing = true;
        let encoded =
            catch_unwind(AssertUnwindSafe(|| codec::merge(&bodies, &mut || self.go_on().is_ok())));
        let mut state = self.shared.state();
        state.merging.computing = false;
        let closing = state.closing;
        drop(state);
        self.shared.changed.notify_all();
        if closing {
            return Err(Error::Closed);
        }
        let encoded =
            encoded.unwrap_or_else(|_| Err(Error::corrupt("segments", "merging panicked")));
        let encoded = encoded.inspect_err(|error| {
            if error.is_damage() {
                find_damage(inputs, &opens);
            }
        })?;
        Ok((encoded.ok_or(Error::Closed)?, opens, sources))
    }

    /// Reads back what was written, before the inputs go: all ids in their order, and the records of
    /// every [`CHECKED_CHUNKS`]th chunk; of every chunk in a debug build.
    fn check(&self, inputs: &[Open], written: &Open, meta: &SegmentMeta) -> Result<()> {
        let differs = || Error::corrupt("a merged segment", "it reads back as another one");
        if written.meta() != meta {
            return Err(differs());
        }
        let every = if cfg!(debug_assertions) { 1 } else { CHECKED_CHUNKS };
        let chunks = |open| (0..Open::meta(open).chunks.len()).map(move |n| (open, n));
        let mut inputs = inputs.iter().flat_map(chunks);
        for (n, chunk) in meta.chunks.iter().enumerate() {
            self.go_on()?;
            let rows = written.rows(n)?;
            let mut at = 0;
            // Chunks are joined whole.
            while at < chunk.rows {
                let (open, input) = inputs.next().ok_or_else(differs)?;
                let from = open.rows(input)?;
                let ids = from.ids()?;
                let same = rows.ids()?.get(at..at + ids.len()) == Some(ids);
                if !same || n % every == 0 && !are_same(&*from, &*rows, at)? {
                    return Err(differs());
                }
                at += ids.len();
            }
        }
        if inputs.next().is_some() { Err(differs()) } else { Ok(()) }
    }

    /// Waits while sealing has more to do than it can; an error once the store closes.
    fn go_on(&self) -> Result<()> {
        let mut state = self.shared.state();
        while state.frozen.len() >= FROZEN_PARTS_MAX && !state.closing {
            state = self.shared.wait(state);
        }
        if state.closing { Err(Error::Closed) } else { Ok(()) }
    }
}

/// Tells of every chunk of the inputs that does not read.
fn find_damage(inputs: &[Arc<Segment>], opens: &[Open]) {
    for (segment, open) in inputs.iter().zip(opens) {
        for n in 0..open.meta().chunks.len() {
            if let Err(error) = open.records(n) {
                segment.distrust_chunk(n, &error);
            }
        }
    }
}

/// Records of a chunk that are compared at once.
const COMPARED_ROWS: usize = 1_024;

/// Are the records of a chunk those of another from one on?
fn are_same(from: &dyn Rows, rows: &dyn Rows, at: usize) -> Result<bool> {
    let len = from.meta().rows;
    for start in (0..len).step_by(COMPARED_ROWS) {
        let some = start..len.min(start + COMPARED_ROWS);
        let own = RowSet::from_rows(len, some.clone());
        let others = RowSet::from_rows(rows.meta().rows, some.start + at..some.end + at);
        if from.records(&own)? != rows.records(&others)? {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn of_day(day: &'static str, texts: &[u64]) -> Vec<Candidate<'static>> {
        let candidate =
            |text: &u64| Candidate { day, text: *text, file: text / 8, fixed: false, fresh: true };
        texts.iter().map(candidate).collect()
    }

    /// Merges what is due until nothing is; how many bytes were rewritten.
    fn settle(all: &mut Vec<Candidate<'_>>, today: Option<&str>) -> u64 {
        let mut rewritten = 0;
        while let Some(range) = Bounds::default().choose(all, today) {
            assert!(range.len() > 1 || all[range.start].fresh);
            let merged = all[range.clone()].iter().copied().reduce(|a, b| {
                assert_eq!((a.day, a.fixed, b.fixed), (b.day, false, false));
                Candidate { text: a.text + b.text, file: a.file + b.file, ..a }
            });
            let merged = merged.map(|merged| Candidate { fresh: false, ..merged });
            rewritten += merged.unwrap().text;
            assert!(merged.unwrap().text <= MERGE_TEXT_BYTES_MAX);
            all.splice(range, merged);
        }
        rewritten
    }

    #[test]
    fn neighbours_of_a_day_become_few_and_large() {
        let choose = |texts: &[u64], today| Bounds::default().choose(&of_day("a", texts), today);
        let max = MERGE_TEXT_BYTES_MAX;
        let part = max / 6;
        let check = |texts: &[u64], growing, over| {
            assert_eq!(choose(texts, Some("a")), growing, "{texts:?} while the day grows");
            assert_eq!(choose(texts, Some("b")), over, "{texts:?} when the day is over");
        };
        check(&[], None, None);
        check(&[MIB], None, Some(0..1));
        check(&[part; 5], None, Some(0..5));
        check(&[part; 7], Some(0..6), Some(0..6));
        check(&[MIB; 15], None, Some(0..15));
        check(&[MIB; 16], Some(0..16), Some(0..16));
        let merged = |texts: &[u64]| {
            let mut all = of_day("a", texts);
            for one in &mut all {
                one.fresh = false;
            }
            Bounds::default().choose(&all, None)
        };
        assert_eq!(merged(&[max, max, part, part]), Some(2..4));
        assert_eq!(merged(&[MIB]), None);
        // A large one is not rewritten for a small one.
        assert_eq!(merged(&[max - MIB, MIB]), None);
        check(&[max - MIB, MIB], None, Some(1..2));
    }

    #[test]
    fn what_is_damaged_or_of_another_day_stays_for_itself() {
        let mut all =
            [of_day("a", &[MIB; 2]), of_day("b", &[MIB; 3]), of_day("a", &[MIB])].concat();
        all[3].fixed = true;
        assert_eq!(Bounds::default().choose(&all, None), Some(0..2));
        all[0].fixed = true;
        assert_eq!(Bounds::default().choose(&all, None), Some(1..2));
        for one in &mut all {
            one.fresh = false;
        }
        assert_eq!(Bounds::default().choose(&all, None), None);
    }

    #[test]
    fn a_busy_day_is_rewritten_once_and_ends_as_few() {
        let mut all = Vec::new();
        let mut rewritten = 0;
        for n in 0..250 {
            all.extend(of_day("a", &[(30 + n * 7 % 20) * MIB]));
            rewritten += settle(&mut all, Some("a"));
        }
        let total: u64 = all.iter().map(|c| c.text).sum();
        rewritten += settle(&mut all, None);
        assert!(rewritten < total * 11 / 10, "{rewritten} of {total}");
        assert!(all.len() as u64 <= total / (MERGE_TEXT_BYTES_MAX * 3 / 4) + 2, "{}", all.len());
    }

    proptest! {
        #[test]
        fn any_day_ends_as_few_and_no_byte_is_rewritten_often(
            texts in prop::collection::vec(1_u64..200_000_000, 0..120),
        ) {
            let mut all = Vec::new();
            let mut rewritten = 0;
            for text in &texts {
                all.extend(of_day("a", &[*text]));
                rewritten += settle(&mut all, Some("a"));
            }
            rewritten += settle(&mut all, Some("b"));
            let total: u64 = texts.iter().sum();
            prop_assert!(rewritten <= total * 3, "{rewritten} of {total}");
            // Neighbours that could be one are one, but for a large one beside a small one.
            prop_assert!(all.len() as u64 <= 4 * total.div_ceil(MERGE_TEXT_BYTES_MAX) + 2);
            prop_assert_eq!(all.iter().map(|c| c.text).sum::<u64>(), total);
        }
    }
}
