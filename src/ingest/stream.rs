//! One connection from its first byte to its last: read, decode, hand in, answer.
//!
//! A connection keeps no more than the message that it is in the middle of; what is decoded goes
//! to the intake at once, one batch for what one read gave, and the next read waits until there is
//! room. That is the whole of backpressure: a sender that is too fast fills its own socket.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;

use crate::base::limits;
use crate::base::metrics::Counter;
use crate::base::record::Record;
use crate::base::time::Timestamp;
use crate::config::Forward;
use crate::decode::forward::{Forward as Decoder, Message, Security, Step};
use crate::decode::frame::{Frame, Framer};
use crate::decode::{Origin, Reject, syslog};
use crate::ingest::socket::Ways;
use crate::ingest::{Receipt, Said, tls};

/// How much is read at once from a connection that keeps sending, bytes. What it becomes, some four
/// times as much, should stay in a core's cache until it is written.
const READ_BYTES_MAX: usize = 64 << 10;

/// What a line is taken to have at least when room is made for the records of one read, bytes.
const LINE_BYTES_USUAL: usize = 200;

/// How much is read at once at first: what an idle connection costs, bytes.
const READ_BYTES_MIN: usize = 2 << 10;

/// A buffer that is larger is given back when its connection falls silent, bytes.
const READ_BYTES_KEPT: usize = 16 << 10;

/// How much of a message that is not whole each forward connection may hold without asking, bytes.
const HELD_BYTES_FREE: usize = 256 << 10;

/// Messages of a forward connection that are written at once; beyond it the reading side waits.
const ACKS_OWED_MAX: usize = 64;

/// How long a connection may still be read from once the server stops, and how long it may be
/// silent meanwhile: what a sender has handed to the kernel should not be lost.
const STOP_PATIENCE: Duration = Duration::from_secs(2);
const STOP_SILENCE: Duration = Duration::from_millis(100);

/// What a read came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Came {
    Bytes,
    /// The peer closed, or the connection broke.
    End,
    /// A message was begun too long ago.
    TooSlow,
}

/// The reading half of a connection, with a buffer that grows with what comes.
struct Reader<S> {
    stream: S,
    buffer: BytesMut,
    ways: Ways,
    /// The last read took all the room there was.
    was_full: bool,
    /// Since when a message is being read, on the clock's monotonic scale.
    amid_since: Option<Duration>,
    /// Set when the server stops: reading ends then.
    until: Option<Duration>,
}

impl<S: AsyncRead + Unpin> Reader<S> {
    fn new(stream: S, ways: Ways) -> Self {
        let buffer = BytesMut::new();
        Self { stream, buffer, ways, was_full: false, amid_since: None, until: None }
    }

    /// Adds what comes next to `buffer`. `amid`: the last bytes ended in the middle of a message.
    async fn read(&mut self, amid: bool) -> Came {
        self.make_room();
        let now = self.ways.clock.monotonic();
        self.amid_since = if amid { self.amid_since.or(Some(now)) } else { None };
        loop {
            let now = self.ways.clock.monotonic();
            let stopping = self.until.is_some();
            let patience = match (self.until, self.amid_since) {
                (Some(until), _) => Some(until.saturating_sub(now).min(STOP_SILENCE)),
                (None, Some(since)) => {
                    Some((since + self.ways.message_patience).saturating_sub(now))
                }
                (None, None) => None,
            };
            let read = self.stream.read_buf(&mut self.buffer);
            tokio::select! {
                read = at_most(patience, read) => return match read {
                    Some(Ok(1..)) => {
                        self.was_full = self.buffer.len() == self.buffer.capacity();
                        Came::Bytes
                    }
                    Some(Ok(0) | Err(_)) => Came::End,
                    None if stopping => Came::End,
                    None => Came::TooSlow,
                },
                () = self.ways.stopped(), if !stopping => self.until = Some(now + STOP_PATIENCE),
            }
        }
    }

    fn make_room(&mut self) {
        let size = self.buffer.capacity();
        if self.buffer.is_empty() && !self.was_full && size > READ_BYTES_KEPT {
            self.buffer = BytesMut::new();
        }
        if self.was_full || self.buffer.len() == self.buffer.capacity() {
            self.buffer.reserve((2 * size).clamp(READ_BYTES_MIN, READ_BYTES_MAX));
        }
    }
}

/// `None` when patience ended first.
async fn at_most<T>(patience: Option<Duration>, work: impl Future<Output = T>) -> Option<T> {
    match patience {
        Some(patience) => timeout(patience, work).await.ok(),
        None => Some(work.await),
    }
}

/// A syslog connection: frames in, nothing out. Why we closed it; `None` when the peer did.
pub(super) async fn syslog<S: AsyncRead + Unpin>(
    stream: S,
    origin: &Origin,
    ways: Ways,
) -> Option<&'static str> {
    let mut reader = Reader::new(stream, ways.clone());
    let mut framer = Framer::default();
    loop {
        let came = reader.read(framer.is_amid()).await;
        let mut lines = Lines::new(reader.buffer.len(), origin, &ways);
        let closed = match came {
            Came::Bytes => {
                let bytes = reader.buffer.len() as u64;
                ways.count(Counter::Bytes, &[&origin.listener], bytes);
                let pushed = framer.push(&reader.buffer, &mut |frame| lines.take(frame));
                reader.buffer.clear();
                pushed.err().map(|reject| Some(rejected(&reject, origin, &ways)))
            }
            Came::End | Came::TooSlow => {
                framer.finish(&mut |frame| lines.take(frame));
                Some(matches!(came, Came::TooSlow).then_some("too-slow"))
            }
        };
        let records = lines.records;
        if !records.is_empty() && ways.intake.pass(records).await.is_err() {
            return Some("stopping");
        }
        if let Some(closed) = closed {
            return closed;
        }
    }
}

/// Counts and tells it; its reason.
fn rejected(reject: &Reject, origin: &Origin, ways: &Ways) -> &'static str {
    ways.count(Counter::Rejected, &[&origin.listener, reject.reason], 1);
    let (listener, peer) = (&*origin.listener, &*origin.peer);
    tracing::info!(listener, peer, reason = reject.reason, "refused: {}", reject.detail);
    reject.reason
}

/// Frames to records of one batch.
struct Lines<'a> {
    records: Vec<Record>,
    received: Timestamp,
    origin: &'a Origin,
    ways: &'a Ways,
}

impl<'a> Lines<'a> {
    /// For those of a read of so many bytes.
    fn new(bytes: usize, origin: &'a Origin, ways: &'a Ways) -> Self {
        let received = ways.clock.now().floor_to_millis();
        let records = Vec::with_capacity(bytes / LINE_BYTES_USUAL);
        Self { records, received, origin, ways }
    }

    fn take(&mut self, frame: Frame<'_>) {
        if frame.dropped > 0 {
            let dropped = frame.dropped as u64;
            self.ways.count(Counter::CutBytes, &[&self.origin.listener], dropped);
        }
        match syslog::read_frame(&frame, self.received, self.origin) {
            Some(record) => self.records.push(record),
            None => self.ways.count(Counter::Rejected, &[&self.origin.listener, "empty"], 1),
        }
    }
}

/// What a forward connection still owes its sender, in the order of its messages.
struct Owed {
    receipt: Receipt,
    ack: Vec<u8>,
}

/// A forward connection: messages in, acks out once durable. Why we closed it; `None` when the
/// peer did.
///
/// Messages are read on while earlier ones are written, and acked in their order. One that is not
/// kept is not acked, and the connection is closed: that is how this protocol says "send again".
pub(super) async fn forward<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    origin: Origin,
    settings: &Forward,
    ways: Ways,
) -> Option<&'static str> {
    let (input, mut output) = tokio::io::split(stream);
    let decoder = match decoder(settings) {
        Ok(decoder) => decoder,
        Err(reason) => return Some(reason),
    };
    if let Some(hello) = decoder.hello()
        && write(&mut output, &hello).await.is_err()
    {
        return Some("stalled");
    }
    let (owe, mut owed) = mpsc::channel::<Owed>(ACKS_OWED_MAX);
    let mut connection =
        Messages { reader: Reader::new(input, ways.clone()), decoder, origin, ways, held: None };
    // The handshake's answers and acks never meet: there are no messages before it is done.
    if settings.shared_key.is_some()
        && let Err(closed) = connection.handshake(&mut output).await
    {
        return closed;
    }
    let answering = async {
        while let Some(Owed { receipt, ack }) = owed.recv().await {
            if receipt.durable().await.is_err() {
                return Some("not-kept");
            }
            if write(&mut output, &ack).await.is_err() {
                return Some("stalled");
            }
        }
        None
    };
    let reading = connection.read_all(owe);
    let (mut reading, mut answering) = (pin!(reading), pin!(answering));
    tokio::select! {
        closed = &mut answering => closed,
        // What was read before the end is still answered.
        closed = &mut reading => answering.await.or(closed),
    }
}

/// Writes all of it, unless the peer does not read.
async fn write(output: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    let writing = async {
        output.write_all(bytes).await?;
        output.flush().await
    };
    let patience = Duration::from_secs(limits::ANSWER_SECONDS_MAX);
    timeout(patience, writing).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()))
}

/// The decoder of one connection, with a handshake where the listener has a key.
fn decoder(settings: &Forward) -> Result<Decoder, &'static str> {
    let Some(shared_key) = &settings.shared_key else { return Ok(Decoder::new()) };
    let users = settings.users.iter().map(|u| (u.name.clone(), u.password.clone()));
    let security = Security {
        shared_key: shared_key.clone(),
        self_hostname: settings.self_hostname.clone(),
        users: users.collect(),
    };
    let random = || tls::random_bytes().ok_or("no-random-bytes");
    Ok(Decoder::with_handshake(Arc::new(security), random()?, random()?))
}

/// The reading side of a forward connection.
struct Messages<S> {
    reader: Reader<S>,
    decoder: Decoder,
    origin: Origin,
    ways: Ways,
    /// Room for a large message that is not whole yet.
    held: Option<OwnedSemaphorePermit>,
}

impl<S: AsyncRead + Unpin> Messages<S> {
    /// Until the PING is answered well. The error is why the connection ends.
    async fn handshake(
        &mut self,
        output: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), Option<&'static str>> {
        let talk = async {
            loop {
                match self.step() {
                    Step::More => self.more().await?,
                    Step::Reply { bytes, refused } => {
                        let written = write(output, &bytes).await;
                        return match refused {
                            Some(reject) => Err(Some(rejected(&reject, &self.origin, &self.ways))),
                            None => written.map_err(|_| Some("stalled")),
                        };
                    }
                    Step::Reject(reject) => {
                        return Err(Some(rejected(&reject, &self.origin, &self.ways)));
                    }
                    // A decoder that asks for a handshake reads no message before it.
                    Step::Message(_) => return Err(Some("no-handshake")),
                }
            }
        };
        let patience = Duration::from_secs(limits::HANDSHAKE_SECONDS_MAX);
        timeout(patience, talk).await.unwrap_or(Err(Some("handshake-timeout")))
    }

    /// Hands in every message and owes its ack, until the connection ends.
    async fn read_all(mut self, owe: mpsc::Sender<Owed>) -> Option<&'static str> {
        loop {
            match self.step() {
                Step::More => {
                    if let Err(closed) = self.more().await {
                        return closed;
                    }
                }
                Step::Message(message) => {
                    if let Err(closed) = self.take(message, &owe).await {
                        return Some(closed);
                    }
                }
                Step::Reject(reject) => {
                    let reason = rejected(&reject, &self.origin, &self.ways);
                    if !reject.can_continue {
                        return Some(reason);
                    }
                }
                Step::Reply { .. } => return Some("handshake-twice"),
            }
        }
    }

    fn step(&mut self) -> Step {
        let received = self.ways.clock.now().floor_to_millis();
        if self.decoder.pending() < HELD_BYTES_FREE {
            return self.decoder.step(received, &self.origin);
        }
        // Millions of records may be in there: the other connections of this thread move on.
        tokio::task::block_in_place(|| self.decoder.step(received, &self.origin))
    }

    async fn take(
        &mut self,
        message: Message,
        owe: &mpsc::Sender<Owed>,
    ) -> Result<(), &'static str> {
        let Message { records, rejects, chunk, signal } = message;
        for reject in &rejects {
            rejected(reject, &self.origin, &self.ways);
        }
        if let Some(kind) = signal {
            self.ways.count(Counter::Signals, &[&self.origin.listener, kind], 1);
        }
        match chunk {
            None if records.is_empty() => Ok(()),
            None => self.ways.intake.pass(records).await.map_err(|_| "stopping"),
            Some(chunk) => {
                let intake = &self.ways.intake;
                let refined = intake.refine(records, &Said::default());
                let receipt = intake.hand_in(refined).await.map_err(|_| "stopping")?;
                // An error means that the answering side has ended and says why.
                owe.send(Owed { receipt, ack: chunk.ack() }).await.map_err(|_| "not-kept")
            }
        }
    }

    /// Feeds the decoder with what comes next. The error is why the connection ends.
    async fn more(&mut self) -> Result<(), Option<&'static str>> {
        let amid = self.decoder.pending() > 0;
        let listener = Arc::clone(&self.origin.listener);
        match self.reader.read(amid).await {
            Came::Bytes => {
                let bytes = &self.reader.buffer;
                self.ways.count(Counter::Bytes, &[&listener], bytes.len() as u64);
                let pending = self.decoder.pending() + bytes.len();
                if pending > HELD_BYTES_FREE {
                    let have = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
                    let more = self.ways.hold(pending.div_ceil(1 << 10).saturating_sub(have));
                    match (&mut self.held, more.ok_or(Some("too-much-held"))?) {
                        (Some(held), more) => held.merge(more),
                        (held, more) => *held = Some(more),
                    }
                } else {
                    self.held = None;
                }
                self.decoder.feed(bytes);
                self.reader.buffer.clear();
                Ok(())
            }
            end => {
                if amid {
                    self.ways.count(Counter::Rejected, &[&listener, "cut-message"], 1);
                }
                Err((end == Came::TooSlow).then_some("too-slow"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::machine::SystemClock;
    use crate::ingest::tests::intake;

    fn ways() -> (Ways, crate::ingest::socket::Gate) {
        let (intake, ..) = intake(1 << 20);
        let (mut ways, gate) = Ways::new(intake, Arc::new(SystemClock::new()));
        ways.message_patience = Duration::from_millis(20);
        (ways, gate)
    }

    fn settings() -> Forward {
        Forward {
            name: "forward".into(),
            listen: ([127, 0, 0, 1], 0).into(),
            shared_key: None,
            self_hostname: "here".into(),
            users: Vec::new(),
            tls: None,
        }
    }

    fn count(ways: &Ways, counter: Counter) -> u64 {
        ways.intake.metrics().total(counter)
    }

    #[tokio::test]
    async fn a_message_that_takes_too_long_is_kept_and_its_sender_left() {
        let (ways, _gate) = ways();
        let (mut client, server) = tokio::io::duplex(1_024);
        client.write_all(b"<13>1 - h a - - - whole\n<13>1 - h a - - - begun").await.unwrap();
        let origin = Origin::new("syslog", "tcp", "10.0.0.1");
        assert_eq!(syslog(server, &origin, ways.clone()).await, Some("too-slow"));
        ways.intake.accept(Vec::new()).await.unwrap();
        drop(client);
        let kept = || count(&ways, Counter::Records) == 2;
        while !kept() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_sender_between_messages_may_be_silent() {
        let (ways, _gate) = ways();
        let (mut client, server) = tokio::io::duplex(1_024);
        let origin = Origin::new("syslog", "tcp", "10.0.0.1");
        let serving = syslog(server, &origin, ways.clone());
        let sending = async {
            client.write_all(b"<13>1 - h a - - - one\n").await.unwrap();
            tokio::time::sleep(3 * ways.message_patience).await;
            client.write_all(b"<13>1 - h a - - - two\n").await.unwrap();
            drop(client);
        };
        let (closed, ()) = tokio::join!(serving, sending);
        assert_eq!(closed, None);
    }

    #[tokio::test]
    async fn a_forward_message_that_takes_too_long_is_counted() {
        let (ways, _gate) = ways();
        let (mut client, server) = tokio::io::duplex(1_024);
        client.write_all(b"\x93\xa1t").await.unwrap();
        let origin = Origin::new("forward", "tcp", "10.0.0.1");
        assert_eq!(forward(server, origin, &settings(), ways.clone()).await, Some("too-slow"));
        assert_eq!(count(&ways, Counter::Rejected), 1);
    }

    #[tokio::test]
    async fn a_closing_gate_ends_connections_that_are_silent() {
        let (ways, gate) = ways();
        let (_client, server) = tokio::io::duplex(1_024);
        let origin = Origin::new("forward", "tcp", "10.0.0.1");
        let settings = settings();
        let serving = forward(server, origin, &settings, ways);
        let (closed, ()) = tokio::join!(serving, gate.close(Duration::from_secs(10)));
        assert_eq!(closed, None);
    }
}
