//! One whole forward message to records.
//!
//! The four modes of the protocol (Message, Forward, `PackedForward`, `CompressedPackedForward`)
//! all come down to entries: a time, perhaps metadata, and a record. Whatever an entry's record is, it
//! is kept; only what has no entry's shape is refused. OTLP group markers, entries with the
//! seconds -1 and -2, are no records: what they say holds for the records between them.

use std::borrow::Cow;
use std::sync::Arc;

use crate::base::flatten::Flat;
use crate::base::limits::{
    CHUNK_ID_BYTES_MAX, FRAME_BUFFER_BYTES_KEPT, MESSAGE_RECORDS_MAX, MESSAGE_WEIGHT_BYTES_MAX,
    UNPACKED_BYTES_MAX,
};
use crate::base::record::{Defect, Defects, Record};
use crate::base::time::Timestamp;
use crate::base::value::{Field, Value};
use crate::decode::forward::msgpack::{Fault, Reader, Token, members, put, write_json};
use crate::decode::frame::{Packing, unpack};
use crate::decode::object::{self, Frame};
use crate::decode::{Origin, Reject};

/// What one message said.
#[derive(Debug, Default)]
pub struct Message {
    /// In the order of the entries; ids 0.
    pub records: Vec<Record>,
    /// What could not be taken; the connection goes on after all of them.
    pub rejects: Vec<Reject>,
    /// To be answered with [`Chunk::ack`] once the records are durable.
    pub chunk: Option<Chunk>,
    /// The message carries no logs but `metrics`, `traces` or something else: answered, counted,
    /// not kept.
    pub signal: Option<&'static str>,
}

/// The id of a message that wants an answer, as msgpack came with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk(Box<[u8]>);

impl Chunk {
    /// The answer: `{"ack": id}`, the id byte for byte as it came.
    #[must_use]
    pub fn ack(&self) -> Vec<u8> {
        [b"\x81\xa3ack", &*self.0].concat()
    }
}

/// Reads entries for one connection; keeps what is worth keeping between messages.
#[derive(Debug)]
pub(super) struct MessageReader {
    flat: Flat,
    /// The JSON of the entry at hand.
    raw: Vec<u8>,
    tag: Arc<str>,
    /// What the records of one message may weigh, bytes.
    weight_max: usize,
}

impl Default for MessageReader {
    fn default() -> Self {
        let weight_max = MESSAGE_WEIGHT_BYTES_MAX;
        Self { flat: Flat::default(), raw: Vec::new(), tag: "".into(), weight_max }
    }
}

/// The option map of a message.
#[derive(Default)]
struct Options<'a> {
    chunk: Option<Chunk>,
    compressed: Option<Cow<'a, str>>,
    signal: Option<&'static str>,
    /// Of a Message; its other modes have metadata in each entry.
    metadata: Option<&'a [u8]>,
}

/// The place of records in a message.
struct Context<'a> {
    received: Timestamp,
    origin: &'a Origin,
    /// Resource and scope of the group that is open.
    group: Vec<Field>,
    /// What all records weigh until now, bytes.
    weight: usize,
    malformed_entries: u64,
}

/// A time as it stands on the wire.
#[derive(Clone, Copy)]
enum WireTime {
    Known(Timestamp),
    /// Seconds -1 of an `EventTime`, or as an integer: in the shape with metadata a group begins.
    Start(Timestamp),
    /// Seconds -2: it ends.
    End(Timestamp),
    /// Nothing was said.
    Unsaid,
    /// No time at all.
    Unreadable,
}

impl MessageReader {
    /// Reads one message, whole and well-formed msgpack.
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        received: Timestamp,
        origin: &Origin,
    ) -> Result<Message, Reject> {
        let mut reader = Reader::new(bytes);
        let count = match reader.token() {
            Ok(Token::Array(count @ 2..=4)) => count,
            // Clients may say nothing to keep a connection open.
            Ok(Token::Nil) => return Ok(Message::default()),
            _ => return Err(bad_message("is no array of two to four values")),
        };
        let Ok(Token::Str(tag) | Token::Bin(tag)) = reader.token() else {
            return Err(bad_message("has a tag that is no text"));
        };
        self.remember_tag(tag);
        let content = reader.value().map_err(malformed)?;
        let kind = Reader::new(content).token().map_err(malformed)?;
        let is_message_mode = !matches!(kind, Token::Array(_) | Token::Str(_) | Token::Bin(_));
        let mut record = None;
        if is_message_mode {
            record = Some(reader.value().map_err(|_| bad_message("has a time but no record"))?);
        }
        let options = match reader.value() {
            Ok(bytes) => Options::read(bytes)?,
            Err(_) if count == 2 + u32::from(is_message_mode) => Options::default(),
            Err(fault) => return Err(malformed(fault)),
        };
        let mut message = Message { signal: options.signal, ..Message::default() };
        if message.signal.is_none() {
            let mut context =
                Context { received, origin, group: Vec::new(), weight: 0, malformed_entries: 0 };
            let read = match (kind, record) {
                (_, Some(record)) => {
                    let metadata = options.metadata;
                    self.entry(content, metadata, record, &mut context).map(|record| {
                        message.records.push(record);
                    })
                }
                (Token::Array(n), _) => {
                    check_count(u64::from(n))?;
                    let mut entries = Reader::new(content);
                    entries.token().map_err(malformed)?;
                    self.entries(&mut entries, Some(n), &mut context, &mut message.records)
                }
                (Token::Str(packed) | Token::Bin(packed), _) => {
                    let unpacked = unpacked(packed, options.compressed.as_deref())?;
                    check_count(count_values(&unpacked))?;
                    let entries = &mut Reader::new(&unpacked);
                    self.entries(entries, None, &mut context, &mut message.records)
                }
                _ => Ok(()),
            };
            if context.weight > self.weight_max {
                return Err(too_heavy(self.weight_max));
            }
            if let Err(fault) = read {
                self.flat.take();
                message.rejects.push(malformed(fault));
            }
            if context.malformed_entries > 0 {
                message.rejects.push(Reject {
                    reason: "bad-entry",
                    detail: format!(
                        "{} entries of tag {} have no time and record",
                        context.malformed_entries, self.tag
                    ),
                    can_continue: true,
                });
            }
        }
        message.chunk = options.chunk;
        Ok(message)
    }

    fn remember_tag(&mut self, tag: &[u8]) {
        if self.tag.as_bytes() != tag {
            self.tag = object::name(&String::from_utf8_lossy(tag));
        }
    }

    /// Reads `count` entries, or all that there are. What is not msgpack ends them.
    fn entries(
        &mut self,
        reader: &mut Reader<'_>,
        count: Option<u32>,
        context: &mut Context<'_>,
        records: &mut Vec<Record>,
    ) -> Result<(), Fault> {
        let mut left = count;
        while left != Some(0) && !(left.is_none() && reader.is_empty()) {
            left = left.map(|n| n - 1);
            let mut entry = Reader::new(reader.value()?);
            let Token::Array(2..) = entry.token()? else {
                context.malformed_entries += 1;
                continue;
            };
            let mut time = entry.value()?;
            let record = entry.value()?;
            let mut head = Reader::new(time);
            let mut metadata = None;
            if let Token::Array(parts @ 1..) = head.token()? {
                time = head.value()?;
                metadata = if parts > 1 { Some(head.value()?) } else { None };
                match (metadata, read_time(time)) {
                    (Some(_), WireTime::Start(_)) => {
                        context.group = self.group(record, context)?;
                        continue;
                    }
                    (Some(_), WireTime::End(_)) => {
                        context.group.clear();
                        continue;
                    }
                    _ => {}
                }
            }
            let record = self.entry(time, metadata, record, context)?;
            context.weight += record.weight();
            records.push(record);
            if context.weight > self.weight_max {
                break;
            }
        }
        Ok(())
    }

    /// The fields that a group's start gives to each of its records.
    fn group(&mut self, body: &[u8], context: &Context<'_>) -> Result<Vec<Field>, Fault> {
        let mut reader = Reader::new(body);
        if let Token::Map(n) = reader.token()? {
            members(n, &mut reader, &mut self.flat, context.origin)?;
        }
        let (mut fields, _) = self.flat.take();
        fields.retain(|f| f.value != Value::str("{}"));
        Ok(fields)
    }

    fn entry(
        &mut self,
        time: &[u8],
        metadata: Option<&[u8]>,
        record: &[u8],
        context: &mut Context<'_>,
    ) -> Result<Record, Fault> {
        let origin = context.origin;
        self.raw.clear();
        self.raw.shrink_to(FRAME_BUFFER_BYTES_KEPT);
        let raw = &mut self.raw;
        let mut defects = Defects::default();
        write_json(record, raw, &mut defects)?;
        let mut reader = Reader::new(record);
        match reader.token()? {
            Token::Map(n) => members(n, &mut reader, &mut self.flat, origin)?,
            // No map, but what was sent: its JSON is line and message.
            _ => defects.add(Defect::BadValue),
        }
        if let Some(metadata) = metadata {
            let mut reader = Reader::new(metadata);
            let mark = self.flat.enter("metadata");
            match reader.token()? {
                Token::Map(n) => members(n, &mut reader, &mut self.flat, origin)?,
                Token::Nil => {}
                _ => put(&mut Reader::new(metadata), &mut self.flat, origin)?,
            }
            self.flat.leave(mark);
        }
        context.group.iter().for_each(|field| self.flat.put_flat(field));
        let time = match read_time(time) {
            WireTime::Known(at) | WireTime::Start(at) | WireTime::End(at) => Some(at),
            WireTime::Unsaid => None,
            WireTime::Unreadable => {
                defects.add(Defect::BadValue);
                None
            }
        };
        let frame = Frame {
            raw,
            time,
            received: context.received,
            via: origin.via("forward"),
            tag: Some(Arc::clone(&self.tag)),
            message_field: None,
        };
        let whole = || String::from_utf8_lossy(raw).into_owned();
        let mut record = object::into_record(frame, &mut self.flat, whole);
        record.defects.add_all(defects);
        Ok(record)
    }
}

impl<'a> Options<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Reject> {
        let mut options = Self::default();
        let mut reader = Reader::new(bytes);
        let count = match reader.token() {
            Ok(Token::Map(count)) => count,
            Ok(Token::Nil) => return Ok(options),
            _ => return Err(bad_message("has options that are no map")),
        };
        for _ in 0..count {
            let key = reader.token().map_err(malformed)?;
            if matches!(key, Token::Array(_) | Token::Map(_)) {
                return Err(bad_message("has an option without a name"));
            }
            let value = reader.value().map_err(malformed)?;
            let token = Reader::new(value).token().map_err(malformed)?;
            match (key, token) {
                (Token::Str(b"chunk"), Token::Str(id) | Token::Bin(id)) => {
                    if id.len() > CHUNK_ID_BYTES_MAX {
                        return Err(bad_message("has a chunk id that is far too long"));
                    }
                    options.chunk = Some(Chunk(value.into()));
                }
                (Token::Str(b"compressed"), Token::Str(name) | Token::Bin(name)) => {
                    options.compressed = Some(String::from_utf8_lossy(name));
                }
                (Token::Str(b"fluent_signal"), Token::Int(kind)) => {
                    options.signal = match kind {
                        0 => None,
                        1 => Some("metrics"),
                        2 => Some("traces"),
                        3 => Some("profiles"),
                        _ => Some("unknown"),
                    };
                }
                (Token::Str(b"metadata"), _) => options.metadata = Some(value),
                _ => {}
            }
        }
        Ok(options)
    }
}

fn unpacked<'a>(packed: &'a [u8], compressed: Option<&str>) -> Result<Cow<'a, [u8]>, Reject> {
    match compressed {
        None | Some("" | "text" | "none") => Ok(Cow::Borrowed(packed)),
        Some(name) => match Packing::named(name) {
            Some(packing) => unpack(packing, packed, UNPACKED_BYTES_MAX).map(Cow::Owned),
            None => Err(bad_message("is compressed in a way that is not known")),
        },
    }
}

/// How many values `bytes` hold, as far as they are msgpack.
fn count_values(bytes: &[u8]) -> u64 {
    let mut reader = Reader::new(bytes);
    let mut count = 0;
    while !reader.is_empty() && reader.value().is_ok() {
        count += 1;
    }
    count
}

fn check_count(entries: u64) -> Result<(), Reject> {
    if entries > MESSAGE_RECORDS_MAX as u64 {
        let detail = format!("{entries} entries, the limit is {MESSAGE_RECORDS_MAX}");
        return Err(Reject { reason: "too-many-entries", detail, can_continue: true });
    }
    Ok(())
}

/// Numbers of one byte, names of none, and what a group says to each of its records become far
/// larger in memory than they are on the wire.
fn too_heavy(max: usize) -> Reject {
    let detail = format!("its records would take more than {max} bytes");
    Reject { reason: "unpacks-too-large", detail, can_continue: true }
}

/// Reads an `EventTime` (ext 0: seconds and nanoseconds, unsigned), a msgpack timestamp (ext -1), a
/// count since the epoch, or nil.
fn read_time(value: &[u8]) -> WireTime {
    let Ok(token) = Reader::new(value).token() else { return WireTime::Unreadable };
    let at = match token {
        Token::Nil => return WireTime::Unsaid,
        Token::Ext(0, bytes) => event_time(bytes),
        Token::Ext(-1, bytes) => msgpack_timestamp(bytes),
        Token::Int(count) => Timestamp::from_epoch(count),
        Token::Float(seconds) => Timestamp::from_epoch_f64(seconds),
        _ => None,
    };
    match (token, at) {
        (_, None) => WireTime::Unreadable,
        (Token::Ext(0, [0xff, 0xff, 0xff, 0xff, ..]) | Token::Int(-1), Some(at)) => {
            WireTime::Start(at)
        }
        (Token::Ext(0, [0xff, 0xff, 0xff, 0xfe, ..]) | Token::Int(-2), Some(at)) => {
            WireTime::End(at)
        }
        (_, Some(at)) => WireTime::Known(at),
    }
}

fn event_time(bytes: &[u8]) -> Option<Timestamp> {
    let (seconds, rest) = bytes.split_first_chunk()?;
    let nanos = rest.first_chunk().filter(|_| rest.len() == 4)?;
    Some(Timestamp::from_parts(u32::from_be_bytes(*seconds).into(), u32::from_be_bytes(*nanos)))
}

fn msgpack_timestamp(bytes: &[u8]) -> Option<Timestamp> {
    if let Ok(seconds) = <[u8; 4]>::try_from(bytes) {
        return Some(Timestamp::from_parts(u32::from_be_bytes(seconds).into(), 0));
    }
    if let Ok(both) = <[u8; 8]>::try_from(bytes) {
        let both = u64::from_be_bytes(both);
        let seconds = i64::try_from(both & 0x3_ffff_ffff).ok()?;
        return Some(Timestamp::from_parts(seconds, u32::try_from(both >> 34).ok()?));
    }
    let (nanos, rest) = bytes.split_first_chunk()?;
    let seconds = <[u8; 8]>::try_from(rest).ok()?;
    Some(Timestamp::from_parts(i64::from_be_bytes(seconds), u32::from_be_bytes(*nanos)))
}

fn bad_message(what: &str) -> Reject {
    let detail = format!("a forward message {what}");
    Reject { reason: "bad-message", detail, can_continue: true }
}

fn malformed(fault: Fault) -> Reject {
    let what = match fault {
        Fault::Short => "ends early",
        Fault::Reserved => "has a byte that msgpack does not know",
        Fault::TooDeep => "is nested too deep",
        Fault::TooLarge => "is too large",
    };
    Reject { reason: "bad-msgpack", detail: format!("an entry {what}"), can_continue: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_group_says_is_not_copied_without_end() {
        let read = |entries: usize| {
            let text = [&[0xda, 0x40, 0][..], &[b'x'; 0x4000]].concat();
            let start = [b"\x92\x92\xff\x80\x81\xa1r", &text[..]].concat();
            let entries = [start, b"\x92\x92\x05\x80\x80".repeat(entries)].concat();
            let len = u32::try_from(entries.len()).unwrap().to_be_bytes();
            let message = [b"\x92\xa1t\xc6", &len[..], &entries].concat();
            let origin = Origin::new("forward", "tcp", "10.0.0.9");
            let mut reader = MessageReader { weight_max: 1 << 20, ..MessageReader::default() };
            reader.read(&message, Timestamp(5), &origin)
        };
        let records = read(9).unwrap().records;
        assert_eq!(records.iter().filter(|r| r.field("r").is_some()).count(), 9);
        assert_eq!(read(999).unwrap_err().reason, "unpacks-too-large");
    }
}
