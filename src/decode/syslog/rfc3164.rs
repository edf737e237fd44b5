//! `TIMESTAMP HOSTNAME TAG: CONTENT` (RFC 3164 4.1), of which anything may be missing.
//!
//! After a time stands a host, unless the word ends as a tag does, or cannot be a host. Without a
//! time there may still be a tag. What fits nothing is message, all of it.

use std::sync::{Arc, LazyLock};

use crate::base::record::Defect;
use crate::base::time::Timestamp;
use crate::base::value::{Field, Value};
use crate::base::written::{self, Place, Written};

use super::tag::Where;
use super::{Context, Header, cisco, host, skip_spaces, tag, unless_nil, without_bom, word};

static SEQUENCE: LazyLock<Arc<str>> = LazyLock::new(|| "syslog.sequence".into());

/// Reads what follows the PRI, or a message that has none.
pub(super) fn read<'a>(body: &'a [u8], has_pri: bool, context: &mut Context<'_>) -> Header<'a> {
    let rest = if has_pri { skip_spaces(without_bom(body)) } else { body };
    let prefix = if has_pri { cisco::prefix(rest) } else { None }
        .unwrap_or(cisco::Prefix { rest, ..cisco::Prefix::default() });
    let mut header = match written::scan(prefix.rest) {
        Some((written, length)) => dated(prefix.rest, &written, length, has_pri, context),
        None if has_pri => undated(prefix.rest),
        None => text(body),
    };
    if header.time.is_none() && !has_pri {
        context.defects.add(Defect::BadHeader);
    }
    if !prefix.host.is_empty() {
        header.host = prefix.host;
    }
    let number = std::str::from_utf8(prefix.sequence).ok().and_then(|s| s.parse().ok());
    if let Some(number) = number {
        header.fields.push(Field { name: Arc::clone(&SEQUENCE), value: Value::Int(number) });
    }
    header
}

/// All of it message. A count of seconds in front is its time (Meraki, Squid) and stays in it.
fn text(body: &[u8]) -> Header<'_> {
    Header { time: leading_epoch(body), message: body, ..Header::default() }
}

fn leading_epoch(body: &[u8]) -> Option<Timestamp> {
    let (stamp, after) = word(body);
    if !matches!(stamp, [b'1'..=b'9', ..]) || !(10..=20).contains(&stamp.len()) || after.is_empty()
    {
        return None;
    }
    let whole = stamp.iter().position(|b| *b == b'.').unwrap_or(stamp.len());
    let is_unit = matches!(whole, 10 | 13 | 16 | 19);
    let text = std::str::from_utf8(stamp).ok().filter(|_| is_unit)?;
    Timestamp::from_epoch_text(text)
}

/// A message with PRI, without time: a tag, or host and tag, or text.
fn undated(body: &[u8]) -> Header<'_> {
    if let Some(tag) = tag::read(body, Where::Alone) {
        return tagged(&[], &tag);
    }
    let (first, after) = word(body);
    // Prose has words before a colon, too; a process id makes the difference.
    if host::is_host(first)
        && let Some(tag) = tag::read(skip_spaces(after), Where::Alone)
        && !tag.pid.is_empty()
    {
        return tagged(unless_nil(first), &tag);
    }
    let mut header = text(body);
    header.app = cisco::mnemonic(body).unwrap_or_default();
    header
}

fn tagged<'a>(host: &'a [u8], tag: &tag::Tag<'a>) -> Header<'a> {
    let pid = unless_nil(tag.pid);
    Header { host, app: tag.name, pid, message: tag.message, ..Header::default() }
}

/// A message that begins with a time of `length` bytes.
fn dated<'a>(
    body: &'a [u8],
    written: &Written,
    length: usize,
    has_pri: bool,
    context: &mut Context<'_>,
) -> Header<'a> {
    let time = context.instant(written);
    let after = body.get(length..).unwrap_or_default();
    // RFC 3339 with a zone in full is a header's time; a date and a time with a space between them
    // may as well begin the text of a program that knows nothing of headers.
    let is_bsd = written.year.is_none() || !body.first().is_some_and(u8::is_ascii_digit);
    let is_certain = is_bsd
        || (has_pri
            && (written.place != Place::Unsaid || matches!(body, [_, _, _, _, b' ' | b':', ..])));
    let header = match after {
        [] => Some(Header::default()),
        [b':', rest @ ..] if has_pri || is_bsd => Some(without_host(skip_spaces(rest))),
        [b' ', rest @ ..] => {
            let header = after_time(rest);
            let is_whole = !header.app.is_empty() && (has_pri || !header.host.is_empty());
            (is_certain || is_whole).then_some(header)
        }
        _ => None,
    };
    let header = header.unwrap_or(Header { message: body, ..Header::default() });
    Header { time, ..header }
}

/// What follows the time and one space.
fn after_time(rest: &[u8]) -> Header<'_> {
    let spaced = matches!(rest, [b' ', ..]);
    let rest = skip_spaces(rest);
    if let Some(relayed) = rest.strip_prefix(b"Message forwarded from ")
        && let Some(end) = relayed.windows(2).take(256).position(|pair| pair == b": ")
        && let Some((name, after)) = relayed.split_at_checked(end)
    {
        // AIX.
        return Header {
            host: name,
            ..without_host(skip_spaces(after.get(1..).unwrap_or_default()))
        };
    }
    if tag::read(rest, Where::AfterHost).is_some() {
        return without_host(rest);
    }
    let (first, after) = word(rest);
    if let Some(address) = first.strip_suffix(b":").filter(|a| host::is_ipv4(a)) {
        return Header { host: address, ..without_host(skip_spaces(after)) };
    }
    let mut header = without_host(skip_spaces(after));
    if header.app.is_empty() && !header.message.is_empty() {
        // Without a tag, the spaces of an indented text are its own.
        header.message = if after.starts_with(b" ") { after } else { header.message };
    }
    // Two spaces after the time: the host is there, but empty (nginx).
    let is_left_out = spaced && header.app.is_empty();
    if is_left_out || !host::is_host(first) || rest.starts_with(b"last message repeated ") {
        return without_host(rest);
    }
    Header { host: unless_nil(first), ..header }
}

/// A tag and a message, or a message that names its app in its own way. What stands before a tag
/// and is no host stays, so that all of it is message.
fn without_host(rest: &[u8]) -> Header<'_> {
    if let Some(tag) = tag::read(rest, Where::AfterHost) {
        return match tag::read(tag.message, Where::Alone) {
            // UniFi: address, model and firmware where the tag belongs, then the tag.
            Some(inner) if tag.name.contains(&b',') => {
                Header { message: rest, ..tagged(&[], &inner) }
            }
            _ => tagged(&[], &tag),
        };
    }
    if let Some(tag) = tag::read_words(rest) {
        return tagged(&[], &tag);
    }
    if let (extra, after) = word(rest)
        && (host::is_severity(extra) || host::is_ipv4(extra))
        && let Some(tag) = tag::read(after, Where::AfterHost)
        && !tag.pid.is_empty()
    {
        return Header { message: rest, ..tagged(&[], &tag) };
    }
    // ASA: `fw1 : %ASA-…`.
    let message = match rest {
        [b':'] => &[],
        [b':', b' ', message @ ..] => message,
        _ => rest,
    };
    let app = cisco::mnemonic(message).unwrap_or_default();
    Header { app, message, ..Header::default() }
}
