//! What Cisco puts before the time (`45: rtr1: *`) and after it (`%LINK-3-UPDOWN:`).

use crate::base::written;

use super::{host, skip_spaces};

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
    let mut rest = bytes;
    let mut sequence: &[u8] = &[];
    for _ in 0..2 {
        if let Some((digits @ [_, ..], after)) = before_colon(rest, u8::is_ascii_digit) {
            (sequence, rest) = (digits, after);
        }
    }
    // NX-OS leaves the number out but not its colon.
    rest = rest.strip_prefix(b": ").unwrap_or(rest);
    let mut host: &[u8] = &[];
    let is_name = |b: &u8| *b != b':' && *b > b' ';
    if let Some((name, after)) = before_colon(rest, is_name)
        && host::is_host(name)
        && is_dated(after)
    {
        (host, rest) = (name, after);
    }
    if let Some(time) = rest.strip_prefix(b"*").or(rest.strip_prefix(b"."))
        && written::scan(time).is_some()
    {
        rest = time;
    } else if let Some(after) = uptime(rest)
        && mnemonic(after).is_some()
    {
        rest = after;
    }
    let follows = is_dated(rest) || mnemonic(rest).is_some();
    (follows && rest.len() < bytes.len()).then_some(Prefix { sequence, host, rest })
}

fn is_dated(rest: &[u8]) -> bool {
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
    let end = bytes.windows(2).take(32).position(|pair| pair == b": ")?;
    let (span, rest) = bytes.split_at_checked(end)?;
    let is_span = |b: &u8| b.is_ascii_digit() || b":ywdhms.".contains(b);
    (span.first().is_some_and(u8::is_ascii_digit) && span.iter().all(is_span))
        .then(|| skip_spaces(rest.get(1..).unwrap_or_default()))
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
