//! What a plain line says of itself at its beginning: time, host, app, pid.
//!
//! Nothing is cut out of the message. Prose must not be taken for a header: a time stands first,
//! or alone in the first brackets; a host and an app only where syslog's files have them.

use std::sync::Arc;

use crate::base::limits::NAME_BYTES_MAX;
use crate::base::record::{Defect, Record, Severity};
use crate::base::time::{Timestamp, Zone};
use crate::base::written::{Written, scan};

/// How far into a line its first bracket is looked for, bytes: the common log format has address
/// and user before it.
const BRACKET_WITHIN: usize = 256;

/// Reads the header of `record`'s message; where the text after the time begins.
pub(super) fn read(record: &mut Record, zone: &Zone) -> usize {
    let message = record.message();
    let Some((time, end)) = leading_time(message) else { return 0 };
    let rest = message.get(end..).unwrap_or_default();
    let program = Program::read(rest, matches!(time, Time::Written(Written { year: None, .. })))
        .map(|p| (Arc::from(p.host), Arc::from(p.app), p.pid.map(Box::from)));
    if record.defects.has(Defect::NoTimestamp) {
        set_time(record, time, zone);
    }
    if let Some((host, app, pid)) = program {
        if record.host == record.via.peer {
            record.host = host;
        }
        if &*record.app == "-" {
            record.app = app;
        }
        record.pid = record.pid.take().or(pid);
    }
    end
}

/// A time as it stands in a line.
#[derive(Clone, Copy)]
enum Time {
    Written(Written),
    Counted(Timestamp),
}

fn set_time(record: &mut Record, time: Time, zone: &Zone) {
    let at = match time {
        Time::Counted(at) => Some(at),
        Time::Written(written) => {
            if written.second == 60 {
                record.defects.add(Defect::LeapSecond);
            }
            written.at(zone, record.received)
        }
    };
    match at {
        Some(at) => {
            record.time = at;
            record.defects.remove(Defect::NoTimestamp);
        }
        None => record.defects.add(Defect::BadDate),
    }
}

/// A time at the beginning, or in the first brackets; and where it ends, its brackets included.
fn leading_time(message: &str) -> Option<(Time, usize)> {
    let bytes = message.as_bytes();
    if let Some((time, len)) = scan(bytes) {
        let is_end = bytes.get(len).is_none_or(|b| !b.is_ascii_alphanumeric() && *b != b'_');
        return is_end.then_some((Time::Written(time), len));
    }
    if let Some((at, len)) = leading_count(message) {
        return Some((Time::Counted(at), len));
    }
    let head = bytes.get(..BRACKET_WITHIN).unwrap_or(bytes);
    let open = memchr::memchr(b'[', head)?;
    let is_word = open.checked_sub(1).is_none_or(|at| bytes.get(at) == Some(&b' '));
    let inner = bytes.get(open + 1..)?;
    let inner = inner.get(..memchr::memchr(b']', inner.get(..BRACKET_WITHIN).unwrap_or(inner))?)?;
    let (time, len) = scan(inner).filter(|_| is_word)?;
    (len == inner.len()).then_some((Time::Written(time), open + len + 2))
}

/// Seconds with a fraction, as squid and auditd's tools begin a line: `1700000000.123 `. Without
/// the fraction any number could stand there.
fn leading_count(message: &str) -> Option<(Timestamp, usize)> {
    let len = message.bytes().take(24).position(|b| !b.is_ascii_digit() && b != b'.')?;
    let word = message.get(..len).filter(|_| message.as_bytes().get(len) == Some(&b' '))?;
    let (seconds, fraction) = word.split_once('.')?;
    let fits = seconds.len() == 10 && matches!(fraction.len(), 3 | 6 | 9);
    fits.then(|| Timestamp::from_epoch_text(word)).flatten().map(|at| (at, len))
}

/// Host, app and pid as in `Mar  1 00:00:00 web-1 sshd[411]: text`.
struct Program<'a> {
    host: &'a str,
    app: &'a str,
    pid: Option<&'a str>,
}

impl<'a> Program<'a> {
    /// Reads what follows a time. After a time in syslog's own shape the pid may be missing; after
    /// others `word word:` is prose too often.
    fn read(rest: &'a str, is_syslog_time: bool) -> Option<Self> {
        let (host, rest) = rest.strip_prefix(' ')?.split_once(' ')?;
        let is_host = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
        if host.is_empty() || !host.bytes().all(is_host) || host.ends_with(':') {
            return None;
        }
        let (tag, _) = rest.split_once(':')?;
        let (app, pid) = match tag.strip_suffix(']') {
            Some(tag) => tag.split_once('[').map(|(app, pid)| (app, Some(pid)))?,
            None => (tag, None),
        };
        let is_app = |b: u8| {
            b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'/' | b'(' | b')')
        };
        let is_pid = |pid: &str| !pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit());
        let fits = !app.is_empty()
            && app.bytes().all(is_app)
            && pid.map_or(is_syslog_time, is_pid)
            && host.len().max(app.len()) <= NAME_BYTES_MAX
            && Severity::from_text(host).is_none()
            && Severity::from_text(app).is_none();
        fits.then_some(Self { host, app, pid })
    }
}
