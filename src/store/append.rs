//! The writer thread: gives ids, writes the log, shows the records, answers.
//!
//! All that waits when it comes round is written as one group and synced once; while it syncs, the
//! next group gathers. *Invariant:* the only one who writes to the log or to the live part.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, mpsc};

use crate::base::error::{Error, Refusal, Result};
use crate::base::limits::{FROZEN_PARTS_MAX, LOG_GROUP_BYTES_MAX};
use crate::base::metrics::Counter;
use crate::base::record::Record;
use crate::base::time::Timestamp;
use crate::codec::record::write_record;
use crate::store::cut::Day;
use crate::store::live::LogFile;
use crate::store::log::{Entries, Failure, LogWriter};
use crate::store::{CommitHook, Done, Shared, State};

/// What the writer is asked for.
pub(super) enum Task {
    /// Keep these.
    Append {
        /// They get their ids here.
        records: Vec<Record>,
        /// What they weigh, bytes.
        weight: usize,
        /// Told how it went.
        done: Done,
    },
    /// Close the live part; answers how many parts must be sealed until it is.
    Freeze {
        /// Where the answer goes.
        reply: mpsc::Sender<Result<u64>>,
    },
}

/// What is done together.
enum Group {
    Appends(Vec<Incoming>),
    Freeze(mpsc::Sender<Result<u64>>),
}

/// A batch that is not written yet.
struct Incoming {
    records: Vec<Record>,
    weight: usize,
    done: Done,
}

/// A batch with its ids.
struct Kept {
    records: Vec<Arc<Record>>,
    weight: usize,
    done: Done,
}

/// The state of its thread.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) log: LogWriter,
    /// What is being written, kept for its room.
    pub(super) entries: Entries,
    /// The next record gets this.
    pub(super) next_id: u64,
    pub(super) on_commit: CommitHook,
}

impl Writer {
    /// Until the store is closed and its queue empty.
    pub(super) fn run(mut self) {
        while let Some(group) = self.next_group() {
            let shared = Arc::clone(&self.shared);
            // A panic here (of a hook, say) must not leave every sender waiting for ever.
            if catch_unwind(AssertUnwindSafe(|| self.work(group))).is_err() {
                tracing::error!("the log's writer panicked; nothing is accepted until restart");
                poison(&mut shared.state());
                shared.changed.notify_all();
            }
        }
    }

    fn work(&mut self, group: Group) {
        match group {
            Group::Appends(batches) => self.append(batches),
            Group::Freeze(reply) => {
                let answer = self.freeze();
                // Who asked may have gone.
                drop(reply.send(answer));
            }
        }
    }

    /// Sleeps until there is work; `None` at the end.
    fn next_group(&self) -> Option<Group> {
        let mut queue = self.shared.queue();
        while queue.tasks.is_empty() {
            if queue.closing {
                return None;
            }
            queue = self.shared.queued.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let (mut batches, mut group) = (Vec::new(), 0);
        while group < LOG_GROUP_BYTES_MAX {
            match queue.tasks.pop_front() {
                Some(Task::Append { records, weight, done }) => {
                    group += weight;
                    batches.push(Incoming { records, weight, done });
                }
                Some(Task::Freeze { reply }) if batches.is_empty() => {
                    return Some(Group::Freeze(reply));
                }
                // What came before it belongs to the part that it closes.
                Some(freeze) => {
                    queue.tasks.push_front(freeze);
                    break;
                }
                None => break,
            }
        }
        Some(Group::Appends(batches))
    }

    fn append(&mut self, batches: Vec<Incoming>) {
        let arrival = batches.iter().flat_map(|b| &b.records).map(|r| r.received).next();
        if let Err(refuse) = self.wait_for_room(arrival) {
            for batch in batches {
                (batch.done)(Err(refuse.error()));
            }
            return;
        }
        let before = self.next_id;
        let kept: Vec<Kept> = batches.into_iter().map(|batch| self.number(batch)).collect();
        self.entries.clear();
        for record in kept.iter().flat_map(|batch| &batch.records) {
            self.entries.add(record.id, |out| write_record(record, out));
        }
        let written = match self.entries.bytes() {
            [] => Ok(None),
            entries => self.log.write(entries).map(Some),
        };
        match written {
            Ok(grown) => {
                self.publish(&kept, grown);
                for Kept { records, done, .. } in kept {
                    if !records.is_empty() {
                        (self.on_commit)(&records);
                    }
                    done(Ok(()));
                }
            }
            Err(failure) => {
                // Nobody saw them, so the next ones may have them.
                self.next_id = before;
                let refuse = self.failed(failure);
                for batch in kept {
                    (batch.done)(Err(refuse.error()));
                }
            }
        }
    }

    fn number(&mut self, Incoming { records, weight, done }: Incoming) -> Kept {
        let number = |mut record: Record| {
            record.id = self.next_id;
            self.next_id += 1;
            Arc::new(record)
        };
        Kept { records: records.into_iter().map(number).collect(), weight, done }
    }

    /// Waits while as much is frozen as may be, since memory is bounded. What arrives on another day
    /// than what is live begins a new part, as it will stand in another segment.
    fn wait_for_room(&mut self, arrival: Option<Timestamp>) -> Result<(), Refuse> {
        let mut state = self.shared.state();
        let turns = arrival.is_some_and(|at| state.day.is_some_and(|day| !day.takes(at)));
        if turns && !state.poisoned && state.frozen.len() < FROZEN_PARTS_MAX {
            freeze(&mut state, &mut self.log);
            self.shared.changed.notify_all();
        }
        loop {
            if state.poisoned {
                return Err(Refuse::Poisoned);
            }
            if state.live.weight < self.shared.live_bytes_max || state.closing {
                break;
            }
            if state.frozen.len() < FROZEN_PARTS_MAX {
                freeze(&mut state, &mut self.log);
                self.shared.changed.notify_all();
                break;
            }
            if let Some(why) = state.sealing.stuck {
                return Err(Refuse::Busy(why));
            }
            state = self.shared.wait(state);
        }
        drop(state);
        // Where it cannot be measured, writing will tell.
        let free = self.shared.disk.free_bytes(&self.shared.dirs.data).unwrap_or(u64::MAX);
        let floor = self.shared.free_floor_bytes;
        if free < floor {
            let below_floor = Refusal::BelowFloor { free, floor };
            let mut state = self.shared.state();
            if state.full_at.is_none() {
                tracing::warn!(
                    free,
                    floor,
                    "{}: nothing is accepted until there is more",
                    below_floor
                );
                self.shared.changed.notify_all();
            }
            state.full_at = Some(free);
            drop(state);
            return Err(Refuse::Busy(below_floor));
        }
        Ok(())
    }

    fn publish(&mut self, batches: &[Kept], grown: Option<(u64, u64)>) {
        let mut state = self.shared.state();
        for batch in batches {
            state.live.push(&batch.records, batch.weight);
        }
        if let Some(record) = batches.iter().flat_map(|batch| &batch.records).next_back() {
            let day = Day::of(record.received);
            // A straggler around midnight does not turn the day back.
            let kept = state.day.filter(|today| today.takes(record.received));
            if kept.is_none_or(|today| today < day) {
                state.day = Some(day);
                self.shared.changed.notify_all();
            }
        }
        if let Some((seq, bytes)) = grown {
            state.live.note_log(LogFile { seq, damaged: false });
            *state.log_bytes.entry(seq).or_default() += bytes;
            if state.full_at.take().is_some() {
                tracing::info!("the disk has room again");
            }
            state.shown = None;
        }
        if state.live.weight >= self.shared.live_bytes_max && state.frozen.len() < FROZEN_PARTS_MAX
        {
            freeze(&mut state, &mut self.log);
            self.shared.changed.notify_all();
        }
        drop(state);
        if let Some((_, bytes)) = grown {
            self.shared.metrics.add(Counter::Syncs, &[], 1);
            self.shared.metrics.add(Counter::LogBytes, &[], bytes);
        }
    }

    fn failed(&self, failure: Failure) -> Refuse {
        let mut state = self.shared.state();
        match failure {
            Failure::Undone(error) if error.is_disk_full() => {
                let free = self.shared.disk.free_bytes(&self.shared.dirs.data);
                if state.full_at.is_none() {
                    tracing::warn!(%error, "the disk is full: nothing is accepted until it has room");
                    self.shared.changed.notify_all();
                }
                state.full_at = Some(free.unwrap_or_default());
                Refuse::Busy(Refusal::DiskFull)
            }
            Failure::Undone(error) => {
                tracing::warn!(%error, "a batch could not be written to the log");
                Refuse::Io(error.to_string(), self.shared.dirs.log.clone())
            }
            Failure::Unknown(error) => {
                tracing::error!(%error, "the log failed; nothing is accepted until restart");
                poison(&mut state);
                self.shared.changed.notify_all();
                Refuse::Poisoned
            }
        }
    }

    fn freeze(&mut self) -> Result<u64> {
        let mut state = self.shared.state();
        if state.poisoned {
            return Err(Error::Poisoned);
        }
        freeze(&mut state, &mut self.log);
        let count = state.frozen_count;
        drop(state);
        self.shared.changed.notify_all();
        Ok(count)
    }
}

/// Why a group is not kept; each of its batches is told.
enum Refuse {
    Busy(Refusal),
    Poisoned,
    Io(String, std::path::PathBuf),
}

impl Refuse {
    fn error(&self) -> Error {
        match self {
            Self::Busy(why) => Error::Busy(*why),
            Self::Poisoned => Error::Poisoned,
            Self::Io(what, path) => {
                Error::io("write the log in", path.clone(), std::io::Error::other(what.clone()))
            }
        }
    }
}

fn poison(state: &mut State) {
    state.poisoned = true;
}

/// Closes the live part, if there is anything in it; the log goes on in a new file.
fn freeze(state: &mut State, log: &mut LogWriter) {
    if state.live.records == 0 {
        return;
    }
    log.rotate();
    let part = std::mem::take(&mut state.live).closed();
    state.frozen.push_back(Arc::new(part));
    state.frozen_count += 1;
    state.changed_parts();
}
