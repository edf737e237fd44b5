//! What reading cost: counted by each thread for itself, since a query works on a thread from
//! beginning to end. `explain` shows it, and tests hold the codec to it.

use std::cell::Cell;

/// What a thread has done since it began; a query takes the difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Columns that were decoded.
    pub columns: u64,
    /// Bytes that they had before, and those of sections that were read as a whole.
    pub bytes: u64,
    /// Texts of rows that were put together again.
    pub rebuilt: u64,
}

thread_local! {
    static WORK: Cell<Work> = const { Cell::new(Work { columns: 0, bytes: 0, rebuilt: 0 }) };
}

impl Work {
    /// Of this thread, up to now.
    pub fn so_far() -> Self {
        WORK.get()
    }

    /// What was done since.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            columns: self.columns - before.columns,
            bytes: self.bytes - before.bytes,
            rebuilt: self.rebuilt - before.rebuilt,
        }
    }

    /// Both together.
    pub fn add(&mut self, other: Self) {
        self.columns += other.columns;
        self.bytes += other.bytes;
        self.rebuilt += other.rebuilt;
    }
}

/// A column of so many bytes was decoded.
pub(super) fn decoded(bytes: usize) {
    count(Work { columns: 1, bytes: bytes as u64, rebuilt: 0 });
}

/// A section of so many bytes was unpacked.
pub(super) fn read(bytes: usize) {
    count(Work { columns: 0, bytes: bytes as u64, rebuilt: 0 });
}

/// A row's text was put together.
pub(super) fn rebuilt() {
    count(Work { columns: 0, bytes: 0, rebuilt: 1 });
}

fn count(more: Work) {
    let mut work = WORK.get();
    work.add(more);
    WORK.set(work);
}
