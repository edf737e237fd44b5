//! One syslog message to one record: RFC 5424, RFC 3164 and what devices make of them.
//!
//! Stands after `frame`. Which format it is, is told for each message. Whatever it is, nothing is
//! lost: what no header is, is message, and the line keeps all bytes.
//!
//! | file | noun |
//! |---|---|
//! | `pri` | `<134>`: facility and severity |
//! | `rfc5424` | the header with a version, and Meraki's |
//! | `data` | structured data of RFC 5424 |
//! | `rfc3164` | the header that begins with a time, or with less |
//! | `cisco` | what Cisco puts before and after the time |
//! | `tag` | `sshd[99]:` |
//! | `host` | what can be the name of a host |

mod cisco;
mod data;
mod host;
mod pri;
mod rfc3164;
mod rfc5424;
mod tag;

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use crate::base::limits::{ANCIENT_TIME_S, FUTURE_SKEW_MAX_S, NAME_BYTES_MAX};
use crate::base::record::{Defect, Defects, Line, Record};
use crate::base::time::Timestamp;
use crate::base::value::{Field, Value};
use crate::base::written::Written;
use crate::decode::frame::Frame;
use crate::decode::{Origin, Reject, frame};

use pri::Pri;

/// What a header says. Names are stretches of the frame, empty where it says nothing.
#[derive(Debug, Default)]
struct Header<'a> {
    time: Option<Timestamp>,
    host: &'a [u8],
    app: &'a [u8],
    pid: &'a [u8],
    fields: Vec<Field>,
    /// MSG, to the end of the frame.
    message: &'a [u8],
}

/// What reading a header needs to know and to note.
struct Context<'a> {
    received: Timestamp,
    origin: &'a Origin,
    defects: Defects,
}

impl Context<'_> {
    /// The instant that is meant, its oddities noted.
    fn instant(&mut self, written: &Written) -> Option<Timestamp> {
        if written.second == 60 {
            self.defects.add(Defect::LeapSecond);
        }
        let at = written.at(&self.origin.zone, self.received);
        let is_leap_day = written.year.is_none() && (written.month, written.day) == (2, 29);
        let is_far =
            at.is_none_or(|at| at.0.abs_diff(self.received.0) > 366 * 86_400 * 1_000_000_000);
        if is_leap_day && is_far {
            self.defects.add(Defect::BadDate);
        }
        at
    }

    /// Bytes as text: UTF-8, else the listener's encoding, else with replacement characters.
    fn text<'b>(&mut self, bytes: &'b [u8]) -> Cow<'b, str> {
        if let Ok(text) = std::str::from_utf8(bytes) {
            return Cow::Borrowed(text);
        }
        self.defects.add(Defect::NotUtf8);
        self.origin
            .encoding
            .and_then(|e| e.decode_without_bom_handling_and_without_replacement(bytes))
            .unwrap_or_else(|| String::from_utf8_lossy(bytes))
    }

    /// A host, an app, a pid; cut where it is too long to be a name.
    fn name<'b>(&mut self, bytes: &'b [u8]) -> Cow<'b, str> {
        self.text(frame::whole_characters(bytes, NAME_BYTES_MAX))
    }
}

/// Reads the message of a TCP frame.
pub fn read_frame(frame: &Frame<'_>, received: Timestamp, origin: &Origin) -> Option<Record> {
    let mut record = read(frame.bytes, received, origin)?;
    if frame.truncated {
        record.defects.add(Defect::Truncated);
    }
    Some(record)
}

/// Reads the message of a datagram; rejects what rsyslog packed in a way of its own.
pub fn read_datagram(
    bytes: &[u8],
    received: Timestamp,
    origin: &Origin,
) -> Result<Option<Record>, Reject> {
    frame::check_datagram(bytes)?;
    Ok(read(bytes, received, origin))
}

/// Reads one message; `None` where it is empty. `raw` is `frame` as it came, and the message a
/// stretch of it wherever it is UTF-8.
pub fn read(frame: &[u8], received: Timestamp, origin: &Origin) -> Option<Record> {
    let kept = frame.iter().rposition(|b| !matches!(b, b'\n' | b'\r' | 0)).map_or(0, |at| at + 1);
    let body = frame.get(..kept).unwrap_or_default();
    if body.trim_ascii().is_empty() {
        return None;
    }
    let mut context = Context { received, origin, defects: Defects::default() };
    let (pri, rest) = pri::read(body);
    let (format, header) = match pri {
        Pri::Missing { bad } => {
            if bad {
                context.defects.add(Defect::BadPri);
            }
            ("none", rfc3164::read(rest, false, &mut context))
        }
        Pri::Said { bad, .. } => {
            if bad {
                context.defects.add(Defect::BadPri);
            }
            match rfc5424::read(rest, &mut context) {
                Some(header) => ("rfc5424", header),
                None => ("rfc3164", rfc3164::read(rest, true, &mut context)),
            }
        }
    };
    let (facility, severity) = pri.meaning();
    Some(Record {
        id: 0,
        time: sane_time(header.time, &mut context),
        received,
        host: match header.host {
            [] => Arc::clone(&origin.peer),
            bytes => context.name(bytes).into(),
        },
        app: match header.app {
            [] => Arc::clone(&NO_APP),
            bytes => context.name(bytes).into(),
        },
        severity,
        facility,
        pid: (!header.pid.is_empty()).then(|| context.name(header.pid).into()),
        line: line(frame, kept, header.message, &mut context),
        fields: header.fields,
        format: None,
        via: origin.via(format),
        tag: None,
        defects: context.defects,
    })
}

static NO_APP: LazyLock<Arc<str>> = LazyLock::new(|| "-".into());

fn sane_time(said: Option<Timestamp>, context: &mut Context<'_>) -> Timestamp {
    let Some(at) = said else {
        context.defects.add(Defect::NoTimestamp);
        return context.received;
    };
    if at > Timestamp(context.received.0.saturating_add(FUTURE_SKEW_MAX_S * 1_000_000_000)) {
        context.defects.add(Defect::FutureTime);
    }
    if at < Timestamp::from_parts(ANCIENT_TIME_S, 0) {
        context.defects.add(Defect::AncientTime);
    }
    at
}

/// `message` is what of `frame` ends at `kept`; its BOM (RFC 5424 6.4) is none of the text.
fn line(frame: &[u8], kept: usize, message: &[u8], context: &mut Context<'_>) -> Line {
    let message = message.strip_prefix(b"\xef\xbb\xbf").unwrap_or(message);
    match context.text(message) {
        Cow::Borrowed(_) => Line::spanning(frame, kept - message.len().min(kept), kept),
        Cow::Owned(text) => Line::with_message(frame, text),
    }
}

/// Splits at the first space, which belongs to neither part.
fn word(bytes: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b' ', bytes).map(|at| bytes.split_at(at)) {
        Some((word, [_, rest @ ..])) => (word, rest),
        _ => (bytes, &[]),
    }
}

fn skip_spaces(bytes: &[u8]) -> &[u8] {
    let count = bytes.iter().take_while(|b| **b == b' ').count();
    bytes.get(count..).unwrap_or_default()
}

/// The name that a header gives, where `-` is RFC 5424's way to say none.
fn unless_nil(name: &[u8]) -> &[u8] {
    if name == b"-" { &[] } else { name }
}

/// A field of text.
fn field(name: &Arc<str>, text: Cow<'_, str>) -> Field {
    Field { name: Arc::clone(name), value: Value::Str(text.into()) }
}
