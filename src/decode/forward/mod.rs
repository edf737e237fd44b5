//! The fluent-forward protocol v1: msgpack messages on a TCP stream.
//!
//! Sans-I/O: [`Forward`] is fed with bytes cut anywhere and gives, one step at a time, what they
//! mean. Who holds the connection sends [`Forward::hello`] first, then does what each [`Step`]
//! says, and answers a message's chunk once its records are durable.
//!
//! | file | noun |
//! |---|---|
//! | `msgpack` | values, their ends, as JSON and as fields |
//! | `handshake` | HELO, PING, PONG |
//! | `message` | the four modes, entries, OTLP groups |

mod handshake;
mod message;
mod msgpack;

use std::sync::Arc;

use bytes::{Buf, BytesMut};

use crate::base::limits::{FORWARD_MESSAGE_BYTES_MAX, HANDSHAKE_BYTES_MAX};
use crate::base::time::Timestamp;
use crate::decode::{Origin, Reject};

pub use handshake::Security;
pub use message::{Chunk, Message};

use handshake::Handshake;
use message::MessageReader;
use msgpack::{Fault, Scan};

/// One connection's decoder.
#[derive(Debug, Default)]
pub struct Forward {
    buffer: BytesMut,
    scan: Scan,
    reader: MessageReader,
    handshake: Option<Handshake>,
}

/// What is to be done next.
#[derive(Debug)]
pub enum Step {
    /// Feed more bytes.
    More,
    /// Send these bytes; then close, where it was refused.
    Reply {
        /// A PONG.
        bytes: Vec<u8>,
        /// Why the peer may not go on.
        refused: Option<Reject>,
    },
    /// One message was read.
    Message(Message),
    /// One message was refused; close where the reject says so, else go on.
    Reject(Reject),
}

impl Forward {
    /// A decoder that takes messages at once.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One that wants a handshake first. `nonce` and `auth_salt` are random bytes of this
    /// connection alone.
    #[must_use]
    pub fn with_handshake(security: Arc<Security>, nonce: [u8; 16], auth_salt: [u8; 16]) -> Self {
        let handshake = Some(Handshake::new(security, nonce, auth_salt));
        Self { handshake, ..Self::default() }
    }

    /// What to send before anything is read.
    #[must_use]
    pub fn hello(&self) -> Option<Vec<u8>> {
        self.handshake.as_ref().map(Handshake::hello)
    }

    /// Takes bytes that have arrived; [`Self::step`] until it wants more.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes that are held for a message that is not whole yet; 0 where the stream may end.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// Reads the next message of what was fed. `received` is the time of its records.
    pub fn step(&mut self, received: Timestamp, origin: &Origin) -> Step {
        let max = match self.handshake {
            Some(_) => HANDSHAKE_BYTES_MAX,
            None => FORWARD_MESSAGE_BYTES_MAX,
        };
        let len = match self.scan.run(&self.buffer, max) {
            Ok(Some(len)) => len,
            Ok(None) => return Step::More,
            Err(fault) => return Step::Reject(broken(fault, max)),
        };
        self.scan = Scan::default();
        let message = self.buffer.split_to(len);
        if let Some(handshake) = &self.handshake {
            return match handshake.answer(message.chunk()) {
                Ok(pong) => {
                    if pong.refused.is_none() {
                        self.handshake = None;
                    }
                    Step::Reply { bytes: pong.bytes, refused: pong.refused }
                }
                Err(reject) => Step::Reject(reject),
            };
        }
        match self.reader.read(message.chunk(), received, origin) {
            Ok(message) => Step::Message(message),
            Err(reject) => Step::Reject(reject),
        }
    }
}

/// The stream has no next message: nothing after this place can be told apart.
fn broken(fault: Fault, max: usize) -> Reject {
    let (reason, detail) = match fault {
        Fault::Short | Fault::Reserved => ("not-msgpack", "these bytes are no msgpack".to_owned()),
        Fault::TooDeep => ("nested-too-deep", "a message is nested too deep".to_owned()),
        Fault::TooLarge => ("message-too-large", format!("a message is larger than {max} bytes")),
    };
    Reject { reason, detail, can_continue: false }
}
