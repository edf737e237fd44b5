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

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use rmp::encode as put;
    use std::io::Write;

    use super::*;
    use crate::base::limits::{
        FIELDS_MAX, LINE_BYTES_MAX, MESSAGE_RECORDS_MAX, MSGPACK_NESTING_MAX, NESTING_MAX,
    };
    use crate::base::record::{Defect, Record};
    use crate::base::value::Value;

    const RECEIVED: Timestamp = Timestamp(1_790_000_100_000_000_000);

    fn origin() -> Origin {
        Origin::new("forward", "tcp", "10.0.0.9")
    }

    /// All that one feeding gives.
    fn steps(bytes: &[u8]) -> Vec<Step> {
        let mut forward = Forward::new();
        forward.feed(bytes);
        let origin = origin();
        let mut steps = Vec::new();
        loop {
            let step = forward.step(RECEIVED, &origin);
            let is_last = match &step {
                Step::More => return steps,
                Step::Reject(reject) => !reject.can_continue,
                _ => false,
            };
            steps.push(step);
            if is_last {
                return steps;
            }
        }
    }

    fn message(bytes: &[u8]) -> Message {
        match steps(bytes).pop() {
            Some(Step::Message(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    fn only(bytes: &[u8]) -> Record {
        let mut message = message(bytes);
        assert_eq!((message.records.len(), message.rejects.as_slice()), (1, [].as_slice()));
        message.records.remove(0)
    }

    fn reason(bytes: &[u8]) -> (&'static str, bool) {
        match steps(bytes).pop() {
            Some(Step::Reject(reject)) => (reject.reason, reject.can_continue),
            other => panic!("{other:?}"),
        }
    }

    /// `[tag "t", time 5, record]`.
    fn with_record(record: &[u8]) -> Vec<u8> {
        [b"\x93\xa1t\x05", record].concat()
    }

    fn packed(container: &[u8], option: &[u8]) -> Vec<u8> {
        let mut out = b"\x93\xa1t".to_vec();
        put::write_bin(&mut out, container).unwrap();
        [out.as_slice(), option].concat()
    }

    /// Two entries: times 5 and 6, records `{"m": 1}` and `{"m": 2}`.
    const ENTRIES: &[u8] = b"\x92\x05\x81\xa1m\x01\x92\x06\x81\xa1m\x02";

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn packed_entries_come_in_any_wrapping() {
        let (first, second) = ENTRIES.split_at(6);
        let gzip_option = b"\x82\xaacompressed\xa4gzip\xa5chunk\xa2id";
        let zstd_option = b"\x81\xaacompressed\xa4zstd";
        let str_of = [b"\x92\xa1t\xac", ENTRIES].concat();
        for bytes in [
            packed(ENTRIES, b"\x80"),
            packed(ENTRIES, b"\xc0"),
            str_of,
            packed(&gzip(ENTRIES), gzip_option),
            packed(&[gzip(first), gzip(second)].concat(), gzip_option),
            packed(&zstd_of(ENTRIES), zstd_option),
        ] {
            let message = message(&bytes);
            let got: Vec<_> = message
                .records
                .iter()
                .map(|r| (r.time.millis() / 1_000, r.message(), &*r.app, &*r.host))
                .collect();
            let want = [(5, "{\"m\":1}", "t", "10.0.0.9"), (6, "{\"m\":2}", "t", "10.0.0.9")];
            assert_eq!(
                (got.as_slice(), message.rejects.as_slice()),
                (want.as_slice(), [].as_slice())
            );
        }
    }

    /// A zstd frame with one raw block (RFC 8878 3.1.1), since only `frame` may call the engine.
    fn zstd_of(bytes: &[u8]) -> Vec<u8> {
        let len = u8::try_from(bytes.len()).unwrap();
        [&[0x28, 0xb5, 0x2f, 0xfd, 0x20, len, len << 3 | 1, len >> 5, 0], bytes].concat()
    }

    #[test]
    fn times_are_read_in_all_their_kinds() {
        let no_time = [Defect::NoTimestamp];
        let bad_time = [Defect::NoTimestamp, Defect::BadValue];
        let at = |s, n| Timestamp::from_parts(s, n);
        let cases: &[(&[u8], Timestamp, &[Defect])] = &[
            (b"\xce\x6a\xb1\x3b\x80", at(1_790_000_000, 0), &[]),
            (b"\xd7\x00\x6a\xb1\x3b\x80\x00\x00\x00\x05", at(1_790_000_000, 5), &[]),
            (b"\xc7\x08\x00\x6a\xb1\x3b\x80\x00\x00\x00\x05", at(1_790_000_000, 5), &[]),
            (b"\xd7\x00\xff\xff\xff\xff\x00\x00\x00\x05", at(4_294_967_295, 5), &[]),
            (b"\xcb\x41\xda\xac\x4e\xe0\x20\x00\x00", at(1_790_000_000, 500_000_000), &[]),
            (b"\xd6\xff\x6a\xb1\x3b\x80", at(1_790_000_000, 0), &[]),
            (b"\xd7\xff\x00\x00\x00\x14\x6a\xb1\x3b\x80", at(1_790_000_000, 5), &[]),
            (b"\xc0", RECEIVED, &no_time),
            (b"\xc3", RECEIVED, &bad_time),
            (b"\xd4\x00\x01", RECEIVED, &bad_time),
        ];
        for (time, want, defects) in cases {
            let record = only(&[b"\x93\xa1t", *time, b"\x81\xa1m\x01"].concat());
            let got: Vec<Defect> = record.defects.iter().collect();
            assert_eq!((record.time, got.as_slice()), (*want, *defects), "{}", time.escape_ascii());
        }
    }

    #[test]
    fn values_that_json_cannot_say_are_kept() {
        let record = only(&with_record(
            b"\x86\x07\xc4\x02\xff\x00\xc3\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00\xa1b\xc4\x01b\
              \x92\x01\x02\xa1k\xa1e\xc7\x01\x05\x01\xa3msg\xa4caf\xe9",
        ));
        let raw = b"{\"7\":\"/wA=\",\"true\":\"inf\",\"b\":\"b\",\"kgEC\":\"k\",\"e\":\"\\u0001\",\"msg\":\"caf\xe9\"}";
        assert_eq!(record.line.raw().escape_ascii().to_string(), raw.escape_ascii().to_string());
        assert_eq!(record.message(), "caf\u{fffd}");
        assert_eq!(record.field("true"), Some(&Value::str("inf")));
        assert!(record.defects.has(Defect::Binary) && record.defects.has(Defect::NotUtf8));
    }

    #[test]
    fn numbers_do_not_grow_without_end() {
        let mut numbers = vec![0xde, 0x03, 0xe8];
        for n in 0..1_000 {
            put::write_str(&mut numbers, &n.to_string()).unwrap();
            numbers.extend([0xdc, 0x10, 0x00]);
            numbers.extend([1; 4_096]);
        }
        let record = only(&with_record(&numbers));
        assert!(record.weight() < 5 * LINE_BYTES_MAX && record.defects.has(Defect::Truncated));
    }

    #[test]
    fn what_is_no_map_is_kept_as_text() {
        let record = only(&with_record(b"\x92\x01\xa1x"));
        assert_eq!((record.message(), record.fields.len()), ("[1,\"x\"]", 0));
        assert!(record.defects.has(Defect::BadValue));
    }

    #[test]
    fn messages_of_another_shape_are_refused_and_the_next_is_read() {
        for bad in [
            b"\x01".as_slice(),
            b"\x90",
            b"\x91\xa1t",
            b"\x80",
            b"\x93\x01\x05\x80",
            b"\x92\xa1t\x05",
            b"\x93\xa1t\x90\x01",
            b"\x93\xa1t\xc4\x00\x81\xaacompressed\xa3lz4",
            b"\x93\xa1t\xc4\x01x\x81\xaacompressed\xa4gzip",
            b"\x95\xa1t\x05\x80\x80\x80",
        ] {
            let bytes = [bad, &with_record(b"\x81\xa1m\x01")].concat();
            let steps = steps(&bytes);
            let [Step::Reject(reject), Step::Message(message)] = steps.as_slice() else {
                panic!("{}: {steps:?}", bad.escape_ascii());
            };
            assert!(reject.can_continue && message.records.len() == 1, "{reject:?}");
        }
        assert!(message(b"\xc0").records.is_empty(), "nil keeps a connection alive");
    }

    #[test]
    fn entries_of_another_shape_are_counted_and_the_others_kept() {
        let message = message(
            b"\x93\xa1t\x94\x01\x92\x05\x81\xa1m\x01\x91\x05\x92\x06\x80\x81\xa5chunk\xa2id",
        );
        assert_eq!((message.records.len(), message.rejects.len()), (2, 1));
        assert_eq!(message.chunk.unwrap().ack(), b"\x81\xa3ack\xa2id");
        let cut = packed(&[ENTRIES, b"\x92\x05"].concat(), b"\x80");
        let message = super::tests::message(&cut);
        assert_eq!((message.records.len(), message.rejects[0].reason), (2, "bad-msgpack"));
    }

    #[test]
    fn signals_are_told_and_not_kept() {
        for (kind, name) in [(b'\x01', "metrics"), (b'\x02', "traces"), (b'\x09', "unknown")] {
            let option = [b"\x82\xadfluent_signal", [kind].as_slice(), b"\xa5chunk\xa2id"].concat();
            let message = message(&packed(b"\xff not entries", &option));
            assert_eq!((message.signal, message.records.len()), (Some(name), 0));
            assert!(message.chunk.is_some());
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| with_record(&[vec![0x91; depth], vec![1]].concat());
        assert_eq!(only(&nested(10_000)).message().len(), 20_001);
        assert_eq!(reason(&nested(MSGPACK_NESTING_MAX)), ("nested-too-deep", false));

        let maps = [b"\x81\xa1k".repeat(10_000), b"\x01".to_vec()].concat();
        let record = only(&with_record(&maps));
        assert_eq!(record.fields[0].name.len(), 2 * NESTING_MAX - 1);
        assert!(record.defects.has(Defect::TooManyFields));
    }

    #[test]
    fn headers_that_lie_are_refused_at_once() {
        let large = ("message-too-large", false);
        assert_eq!(reason(b"\xdd\xff\xff\xff\xff"), large);
        assert_eq!(reason(b"\x92\xdf\x7f\xff\xff\xff"), large);
        assert_eq!(reason(b"\x92\xa1t\xdb\xff\xff\xff\xff"), large);
        assert_eq!(reason(b"\x93\xa1t\x05\xc9\xff\xff\xff\xff\x00"), large);
        assert_eq!(reason(b"\xc1"), ("not-msgpack", false));
        assert_eq!(reason(b"GET / HTTP/1.1\r\n"), ("bad-message", true));
        // Inside a container a lie costs the rest of that container.
        let inner = message(&packed(b"\x92\x05\xdf\xff\xff\xff\xff", b"\x80"));
        assert_eq!((inner.records.len(), inner.rejects.len()), (0, 1));
    }

    #[test]
    fn tiny_entries_are_counted_before_they_grow() {
        let tiny = vec![0xc0; MESSAGE_RECORDS_MAX + 1];
        let option = b"\x81\xaacompressed\xa4gzip";
        assert_eq!(reason(&packed(&gzip(&tiny), option)), ("too-many-entries", true));
        let mut array = b"\x92\xa1t".to_vec();
        put::write_array_len(&mut array, u32::try_from(tiny.len()).unwrap()).unwrap();
        assert_eq!(reason(&[array, tiny].concat()), ("too-many-entries", true));
    }

    #[test]
    fn a_record_is_bounded() {
        let mut map = Vec::new();
        put::write_map_len(&mut map, 100_000).unwrap();
        for i in 0..100_000 {
            put::write_str(&mut map, &i.to_string()).unwrap();
            put::write_uint(&mut map, i).unwrap();
        }
        let record = only(&with_record(&map));
        assert_eq!(record.fields.len(), FIELDS_MAX);
        assert!(record.defects.has(Defect::TooManyFields) && record.defects.has(Defect::Truncated));

        let mut map = b"\x82\xa1a\x01\xa3log".to_vec();
        put::write_str(&mut map, &"é".repeat(5 << 20)).unwrap();
        let record = only(&with_record(&map));
        assert_eq!(
            (record.message().len(), record.line.raw().len()),
            (LINE_BYTES_MAX, LINE_BYTES_MAX)
        );
        assert!(record.defects.has(Defect::Truncated) && !record.defects.has(Defect::NotUtf8));
    }

    #[test]
    fn a_large_message_in_small_pieces_is_looked_at_once() {
        let mut entries = Vec::new();
        while entries.len() < 1 << 20 {
            entries.extend_from_slice(b"\x92\x05\x81\xa1m\x01");
        }
        let mut bytes = b"\x92\xa1t".to_vec();
        put::write_array_len(&mut bytes, u32::try_from(entries.len() / 6).unwrap()).unwrap();
        bytes.extend_from_slice(&entries);
        let mut forward = Forward::new();
        let origin = origin();
        let mut looked_at = 0;
        for piece in bytes.chunks(100) {
            let before = forward.scan_position();
            forward.feed(piece);
            if let Step::Message(message) = forward.step(RECEIVED, &origin) {
                assert_eq!(message.records.len(), entries.len() / 6);
                return;
            }
            looked_at += forward.scan_position() - before;
            assert!(looked_at <= bytes.len());
        }
        panic!("it never ended");
    }

    impl Forward {
        fn scan_position(&self) -> usize {
            self.scan.position()
        }
    }

    #[test]
    fn a_handshake_is_judged() {
        let security = |users: &[(&str, &str)]| {
            Arc::new(Security {
                shared_key: "key".into(),
                self_hostname: "us".into(),
                users: users.iter().map(|(n, p)| ((*n).into(), (*p).into())).collect(),
            })
        };
        let first = |security: Arc<Security>, bytes: &[u8]| {
            let mut forward = Forward::with_handshake(security, [1; 16], [2; 16]);
            forward.feed(bytes);
            forward.step(RECEIVED, &origin())
        };
        for (bytes, want) in [
            (with_record(b"\x80"), "no-handshake"),
            (b"\x96\xa4PING\x01\xa0\xa0\xa0\xa0".to_vec(), "no-handshake"),
            (vec![0xdb, 0, 1, 0, 0], "message-too-large"),
        ] {
            let Step::Reject(reject) = first(security(&[]), &bytes) else { panic!() };
            assert_eq!((reject.reason, reject.can_continue), (want, false));
        }
        let Step::Reply { bytes, refused } =
            first(security(&[("ann", "x")]), b"\x96\xa4PING\xa1h\xa1s\xa1d\xa3ann\xa1d")
        else {
            panic!()
        };
        assert_eq!(bytes, b"\x95\xa4PONG\xc2\xb3shared_key mismatch\xa2us\xa0");
        assert_eq!(refused.unwrap().reason, "handshake-refused");
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for bytes in [
                bytes.clone(),
                with_record(&bytes),
                packed(&bytes, b"\x80"),
                [b"\x92\xa1t\x92", bytes.as_slice()].concat(),
            ] {
                for step in steps(&bytes) {
                    let Step::Message(message) = step else { continue };
                    let is_json = |r: &Record| {
                        let raw = String::from_utf8_lossy(r.line.raw());
                        serde_json::from_str::<&serde_json::value::RawValue>(&raw).is_ok()
                    };
                    prop_assert!(message.records.iter().all(is_json));
                }
            }
        }
    }
}
