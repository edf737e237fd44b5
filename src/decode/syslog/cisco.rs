//! What Cisco puts before the time (`45: rtr1: *`) and after it (`%LINK-3-UPDOWN:`).

use crate::base::written;

use super::{host, skip_spaces, word};

/// What stood before a time or a mnemonic.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Prefix<'a> {
    /// Digits of `service sequence-numbers`, or of the counter of messages sent.
    pub(super) sequence: &'a [u8],
    /// Of `logging origin-id`.
    pub(super) host: &'a [u8],
    /// From the time on, or from the mnemonic where there is no date.
    pub(super) rest: &'a [u8],
}

/// Reads such a prefix; `None` where neither a time nor a mnemonic follows, for then it was text.
pub(super) fn prefix(bytes: &[u8]) -> Option<Prefix<'_>> {
    let mut found = Prefix { rest: bytes, ..Prefix::default() };
    for _ in 0..2 {
        if let Some((digits @ [_, ..], after)) = before_colon(found.rest, u8::is_ascii_digit) {
            (found.sequence, found.rest) = (digits, after);
        }
    }
    // NX-OS leaves the number out but not its colon; ASA's EMBLEM format also the space.
    found.rest = found.rest.strip_prefix(b":").map_or(found.rest, skip_spaces);
    if let Some((name, after)) = before_colon(found.rest, |b| *b != b':' && *b > b' ')
        && host::is_host(name)
    {
        let (digits, numbered) = before_colon(after, u8::is_ascii_digit).unwrap_or_default();
        if let Some(after) = task(after).or(is_dated(after).then_some(after)) {
            (found.host, found.rest) = (name, after);
        } else if !digits.is_empty() && is_dated(numbered) {
            found = Prefix { sequence: digits, host: name, rest: numbered };
        }
    }
    if let Some(after) = node(found.rest) {
        found.rest = after;
    } else if let (name, after) = word(found.rest)
        && host::is_host(name)
        && let Some(after) = node(after)
    {
        (found.host, found.rest) = (name, after);
    }
    found.rest = match found.rest {
        [b'*' | b'.', time @ ..] if written::scan(time).is_some() => time,
        rest => uptime(rest).filter(|after| mnemonic(after).is_some()).unwrap_or(rest),
    };
    let is_prefix =
        found.rest.len() < bytes.len() && (is_dated(found.rest) || mnemonic(found.rest).is_some());
    is_prefix.then_some(found)
}

/// `*spamApTask0: ` before the time, as wireless controllers name their threads.
fn task(bytes: &[u8]) -> Option<&[u8]> {
    let (_, after) =
        before_colon(bytes.strip_prefix(b"*")?, |b| b.is_ascii_alphanumeric() || *b == b'_')?;
    is_dated(after).then_some(after)
}

/// `RP/0/RSP0/CPU0:` right before the time, the place in an IOS XR chassis.
fn node(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().take(32).position(|b| !(b.is_ascii_alphanumeric() || *b == b'/'))?;
    let (place, rest) = bytes.split_at_checked(end)?;
    let rest = rest.strip_prefix(b":")?;
    (place.contains(&b'/') && is_dated(rest)).then_some(rest)
}

/// With a month's name, as all these devices write it; ISO dates follow other things, too.
fn is_dated(rest: &[u8]) -> bool {
    if let [_, _, _, _, b'-' | b'/' | b':', ..] = rest {
        return false;
    }
    let time = rest.strip_prefix(b"*").or(rest.strip_prefix(b".")).unwrap_or(rest);
    written::scan(time).is_some()
}

/// `word: ` of bytes that may stand in it, and what follows.
fn before_colon(bytes: &[u8], may_stand: impl Fn(&u8) -> bool) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().take(256).position(|b| !may_stand(b))?;
    let (word, rest) = bytes.split_at_checked(end)?;
    Some((word, skip_spaces(rest.strip_prefix(b": ")?)))
}

/// `00:00:46: ` or `1d02h: `, the time since the device was started.
fn uptime(bytes: &[u8]) -> Option<&[u8]> {
    let is_span = |b: &u8| b.is_ascii_digit() || b":ywdhms.".contains(b);
    let end = bytes.iter().take(32).position(|b| !is_span(b))?;
    let (span, rest) = bytes.split_at_checked(end)?;
    (matches!(span, [b'0'..=b'9', .., b':']) && rest.starts_with(b" ")).then(|| skip_spaces(rest))
}

/// `%LINK-3-UPDOWN` where that, and a colon, begins `bytes`; also Huawei's `%%01SHELL/5/…(s)[3]`.
pub(super) fn mnemonic(bytes: &[u8]) -> Option<&[u8]> {
    let [b'%', ..] = bytes else { return None };
    let end = bytes.iter().take(128).position(|b| matches!(b, b':' | b'[' | 0..=b' '))?;
    let (name, rest) = bytes.split_at_checked(end)?;
    let ends = matches!(rest, [b':' | b'[', ..] | [b' ', b':', ..]);
    let is_coded = name.len() > 3 && name.iter().any(|b| matches!(b, b'-' | b'/'));
    (ends && is_coded).then_some(name)
}
