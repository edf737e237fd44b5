//! `VERSION TIMESTAMP HOSTNAME APP-NAME PROCID MSGID STRUCTURED-DATA MSG` (RFC 5424 6).
//!
//! Doubled spaces between the parts are folded. A part that is missing or broken begins the
//! message instead, with a defect.

use std::sync::{Arc, LazyLock};

use crate::base::record::Defect;
use crate::base::time::Timestamp;
use crate::base::written;

use super::{Context, Header, data, field, skip_spaces, tag, unless_nil, word};

static MSGID: LazyLock<Arc<str>> = LazyLock::new(|| "syslog.msgid".into());

/// How the time stands there.
#[derive(PartialEq)]
enum Stamp {
    /// RFC 3339, `-`, or an attempt at it.
    Regular,
    /// Seconds since 1970, as Meraki sends them.
    Epoch,
}

/// Reads what follows the PRI; `None` where it is no header of this RFC.
pub(super) fn read<'a>(rest: &'a [u8], context: &mut Context<'_>) -> Option<Header<'a>> {
    let (version, rest) = word(rest);
    if !matches!(version, [b'1'..=b'9', more @ ..] if more.len() < 3 && more.iter().all(u8::is_ascii_digit))
    {
        return None;
    }
    let (time, stamp, rest) = timestamp(skip_spaces(rest), context)?;
    if version != b"1" {
        context.defects.add(Defect::UnknownVersion);
    }
    let (host, rest) = word(skip_spaces(rest));
    let (app, after_app) = word(skip_spaces(rest));
    let (pid, rest) = word(skip_spaces(after_app));
    let (msgid, rest) = word(skip_spaces(rest));
    let rest = skip_spaces(rest);
    let mut header = Header {
        time,
        host: unless_nil(host),
        app: unless_nil(app),
        pid: unless_nil(pid),
        ..Header::default()
    };
    let message = match rest {
        [b'-'] => Some(&[][..]),
        [b'-', b' ', message @ ..] => Some(message),
        [b'[', ..] => data::read(rest, &mut header.fields, context)
            .map(|after| after.strip_prefix(b" ").unwrap_or(after)),
        _ => None,
    };
    match message {
        Some(message) => header.message = message,
        None if stamp == Stamp::Epoch => {
            // Meraki: an epoch time, the device, the kind of event, and its text.
            header.pid = &[];
            header.message = after_app;
            return Some(header);
        }
        None if rest.is_empty() => context.defects.add(Defect::BadHeader),
        None if app.ends_with(b":") && old_tag(app).is_some() => {
            // This header's time and host before the tag of RFC 3164.
            context.defects.add(Defect::BadHeader);
            let tag = old_tag(app).unwrap_or_default();
            (header.app, header.pid, header.message) = (tag.name, tag.pid, after_app);
            return Some(header);
        }
        None => {
            context.defects.add(Defect::BadStructuredData);
            header.message = rest;
        }
    }
    let msgid = unless_nil(msgid);
    if !msgid.is_empty() {
        let text = context.name(msgid);
        header.fields.insert(0, field(&MSGID, text));
    }
    Some(header)
}

fn old_tag(app: &[u8]) -> Option<tag::Tag<'_>> {
    tag::read(app, tag::Where::AfterHost)
}

/// The time, how it was said, and what follows; `None` where nothing like a time stands there.
fn timestamp<'a>(
    rest: &'a [u8],
    context: &mut Context<'_>,
) -> Option<(Option<Timestamp>, Stamp, &'a [u8])> {
    if let [_, _, _, _, b'-', ..] = rest
        && let Some((written, length)) = written::scan(rest)
        && let Some((_, after @ ([] | [b' ', ..]))) = rest.split_at_checked(length)
    {
        return Some((context.instant(&written), Stamp::Regular, after));
    }
    let (stamp, after) = word(rest);
    match stamp {
        b"-" => Some((None, Stamp::Regular, after)),
        [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', b'-', ..] => {
            Some((None, Stamp::Regular, after))
        }
        [b'1'..=b'9', ..] if stamp.len() >= 10 => {
            let text = std::str::from_utf8(stamp).ok()?;
            Some((Some(Timestamp::from_epoch_text(text)?), Stamp::Epoch, after))
        }
        _ => None,
    }
}
