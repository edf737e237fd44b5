//! Errors by cause and remedy.
//!
//! Bad input is not an error but a reject (`decode::Reject`), counted by reason. One exhaustive
//! place turns these into HTTP (`reply.rs`), one into exit codes (`cli/mod.rs`).

use std::io;
use std::path::PathBuf;

use crate::base::size::Size;

/// What can go wrong with the machine, the data, or a request.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("cannot {op} {}: {source}", path.display())]
    Io {
        /// What was tried: `open`, `write`, `sync`, …
        op: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Stored bytes are not what was written.
    #[error("damaged data in {place}: {what}")]
    Corrupt {
        /// File, and offset or section.
        place: String,
        /// What was found.
        what: String,
    },
    /// A file of a format version that this program does not read.
    #[error("{place} has format version {got}, this program reads {want}")]
    Version {
        /// Which file.
        place: String,
        /// Its version.
        got: u32,
        /// Ours.
        want: u32,
    },
    /// A bound was met.
    #[error("{what} is {got}, the limit is {max}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How much was asked.
        got: u64,
        /// How much there may be.
        max: u64,
    },
    /// The data directory belongs to another process.
    #[error("the data directory {} is in use by another process{}", path.display(), pid.map_or(String::new(), |p| format!(" (pid {p})")))]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The other process, where its lock names it.
        pid: Option<u32>,
    },
    /// Nothing is accepted at the moment, try again.
    #[error("not accepted: {0}")]
    Busy(Refusal),
    /// A sync failed; what is on disk is unknown until the store is opened again.
    #[error("the log could not be synced to disk; restart the server to take records again")]
    Poisoned,
    /// The store is closing.
    #[error("the server is stopping")]
    Closed,
    /// A query does not read.
    #[error("{0}")]
    Query(#[from] QueryError),
    /// There is no such thing.
    #[error("no {what}")]
    NotFound {
        /// What was asked for.
        what: String,
    },
}

/// Why nothing is accepted just now; each heals by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// The queue to the log is full.
    #[error("more arrives than can be written")]
    QueueFull,
    /// The disk said it is full.
    #[error("the disk is full")]
    DiskFull,
    /// Less than the floor would be left free.
    #[error("{} free on the disk, less than storage.min_free ({})", Size(*free), Size(*floor))]
    BelowFloor {
        /// Bytes that are free.
        free: u64,
        /// `storage.min_free`, and what was to be written where that is much, bytes.
        floor: u64,
    },
    /// More is asked than there are threads to answer; senders are not concerned.
    #[error("more is asked than can be answered")]
    TooManyReaders,
}

/// A query that does not read: where, and what would.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {detail}")]
pub struct QueryError {
    /// 1-based, in characters.
    pub column: usize,
    /// What is wrong there, as a sentence without a full stop.
    pub detail: String,
    /// What was expected there.
    pub expected: Vec<String>,
}

/// Everything here fails with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An I/O error with its place.
    pub fn io(op: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io { op, path: path.into(), source }
    }

    /// Damage at a place.
    pub fn corrupt(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Corrupt { place: place.into(), what: what.into() }
    }

    /// Does it say that a file is not what was written? A machine that has no descriptors left, or a
    /// disk that fails just now, says nothing of the file.
    pub fn is_damage(&self) -> bool {
        use io::ErrorKind::{NotFound, UnexpectedEof};
        match self {
            Self::Corrupt { .. } | Self::Version { .. } => true,
            Self::Io { source, .. } => matches!(source.kind(), NotFound | UnexpectedEof),
            _ => false,
        }
    }

    /// Is it the disk that has no room (ENOSPC, EDQUOT), or may a file not grow (EFBIG)?
    pub fn is_disk_full(&self) -> bool {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        matches!(
            self,
            Self::Io { source, .. }
                if matches!(source.kind(), StorageFull | QuotaExceeded | FileTooLarge)
        )
    }
}
