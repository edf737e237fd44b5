//! Bytes to records: pure, no I/O, no clock, no panic.
//!
//! Floor 1. *Invariant:* knows nothing of sockets, tokio, the store, the rules. A decoder takes
//! bytes and an [`Origin`], gives records, and says of the bytes that are left whether it needs
//! more of them, or cannot go on.
//!
//! | wire | framing | reading |
//! |---|---|---|
//! | syslog UDP, TCP | `frame` (RFC 6587, LF, NUL) | `syslog` (RFC 5424, RFC 3164, dialects) |
//! | fluent-forward | `forward` (msgpack arrays) | `forward`, `object` for the mapping of keys |
//! | HTTP, import | `lines` (LF), `json` (objects) | `lines`, `json`, `object` |

pub mod forward;
pub mod frame;
pub mod json;
pub mod lines;
mod object;
pub mod syslog;

pub use object::name;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::record::{Record, Via};
use crate::base::time::{Timestamp, Zone};

/// What a decoder must know of where bytes come from; one a connection, datagram or request.
#[derive(Debug)]
pub struct Origin {
    /// The listener's name.
    pub listener: Arc<str>,
    /// `udp`, `tcp`, `tls`, `http`.
    pub transport: Arc<str>,
    /// The peer's address without its port.
    pub peer: Arc<str>,
    /// For times that carry no zone.
    pub zone: Zone,
    /// What bytes that are not UTF-8 are tried as; `None`: replacement characters.
    pub encoding: Option<&'static encoding_rs::Encoding>,
    vias: Mutex<BTreeMap<&'static str, Arc<Via>>>,
}

impl Origin {
    /// An origin in UTC, UTF-8 only.
    pub fn new(listener: &str, transport: &str, peer: &str) -> Self {
        Self {
            listener: listener.into(),
            transport: transport.into(),
            peer: peer.into(),
            zone: Zone::utc(),
            encoding: None,
            vias: Mutex::default(),
        }
    }

    /// Text of bytes that are not UTF-8: in this origin's encoding where it has one that fits, else
    /// with replacement characters.
    #[must_use]
    pub fn decoded<'b>(&self, bytes: &'b [u8]) -> Cow<'b, str> {
        self.encoding
            .and_then(|e| e.decode_without_bom_handling_and_without_replacement(bytes))
            .unwrap_or_else(|| String::from_utf8_lossy(bytes))
    }

    /// The shared [`Via`] of this origin's records of one wire format.
    pub fn via(&self, format: &'static str) -> Arc<Via> {
        let mut vias = self.vias.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(vias.entry(format).or_insert_with(|| {
            Arc::new(Via {
                format: format.into(),
                listener: Arc::clone(&self.listener),
                transport: Arc::clone(&self.transport),
                peer: Arc::clone(&self.peer),
            })
        }))
    }
}

/// What came out of some bytes.
#[derive(Debug, Default)]
pub struct Decoded {
    /// In the order of the bytes; ids 0.
    pub records: Vec<Record>,
    /// What was refused, each once.
    pub rejects: Vec<Reject>,
}

/// Something that is no record and never will be: counted by reason, never stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Short code for the counter: `frame-too-large`, `zlib-stream`, `not-msgpack`, …
    pub reason: &'static str,
    /// A sentence for the log.
    pub detail: String,
    /// May the connection go on after it?
    pub can_continue: bool,
}

/// Reads one record's worth: bytes, when they came, from where.
pub type ReadLine = fn(&[u8], Timestamp, &Origin) -> Option<Record>;
