//! `sshd[99]:`, the tag of RFC 3164 4.1.3, as programs really write it.
//!
//! The RFC ends it at the first character that is not alphanumeric, which nobody does. A tag here
//! ends in a colon, or in brackets, and has none of the signs that CSV, JSON, URLs, times and
//! addresses would bring along.

use crate::base::limits::{SYSLOG_PID_BYTES_MAX, SYSLOG_TAG_BYTES_MAX};

use super::host;

/// The parts of a tag.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Tag<'a> {
    pub(super) name: &'a [u8],
    /// Empty where there is none.
    pub(super) pid: &'a [u8],
    /// What follows, without the one space that ends the tag.
    pub(super) message: &'a [u8],
}

/// How sure it is that a tag stands here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Where {
    /// After a time, or a time and a host: a colon without a space will do, or brackets alone.
    AfterHost,
    /// In a message without header: prose stands here, too.
    Alone,
}

/// Longest name of several words, bytes.
const WORDS_BYTES_MAX: usize = 64;

/// Reads a tag at the beginning of `bytes`.
pub(super) fn read(bytes: &[u8], place: Where) -> Option<Tag<'_>> {
    let end = bytes.iter().take(SYSLOG_TAG_BYTES_MAX + 1).position(|b| !may_stand(*b))?;
    let (name, rest) = bytes.split_at_checked(end)?;
    // A cookie (`@cee:`), a directive (`#Fields:`) and a level are no programs.
    let is_other = matches!(name, [] | [b'@' | b'#', ..]) || host::is_level(name);
    if is_other || (place == Where::Alone && !is_plain(name)) {
        return None;
    }
    match rest {
        [b'[', rest @ ..] => with_pid(name, rest, place),
        [b':'] | [b':', b' ' | b'\t', ..] => {
            let is_count = name.iter().all(|b| b.is_ascii_digit() || *b == b'-');
            let tag = Tag { name, pid: &[], message: after_space(rest.get(1..)?) };
            (!is_count && !host::is_ipv4(name)).then_some(tag)
        }
        [b':', next, ..] if place == Where::AfterHost => {
            let is_word =
                name.first().is_some_and(u8::is_ascii_alphabetic) && !name.contains(&b',');
            let goes_on = next.is_ascii_digit() || b":/\\|=".contains(next);
            (is_word && !goes_on && !is_hardware_address(bytes)).then_some(Tag {
                name,
                pid: &[],
                message: rest.get(1..)?,
            })
        }
        // Snare: words and numbers between tabs.
        [b'\t', message @ ..]
            if place == Where::AfterHost
                && name.iter().all(u8::is_ascii_alphabetic)
                && message.first().is_some_and(u8::is_ascii_digit) =>
        {
            Some(Tag { name, pid: &[], message })
        }
        _ => None,
    }
}

/// A tag of several words, as macOS and Windows name programs (`Google Chrome[85294]:`): each begins
/// with a capital, and a process number ends it.
pub(super) fn read_words(bytes: &[u8]) -> Option<Tag<'_>> {
    let end = bytes.iter().take(WORDS_BYTES_MAX).position(|b| !may_stand(*b) && *b != b' ')?;
    let (name, rest) = bytes.split_at_checked(end)?;
    let mut words = name.split(|b| *b == b' ');
    if !words.all(|word| word.first().is_some_and(|b| b.is_ascii_uppercase() || *b == b'(')) {
        return None;
    }
    let tag = with_pid(name, rest.strip_prefix(b"[")?, Where::Alone)?;
    tag.pid.iter().all(u8::is_ascii_digit).then_some(tag)
}

fn with_pid<'a>(name: &'a [u8], rest: &'a [u8], place: Where) -> Option<Tag<'a>> {
    let end =
        rest.iter().take(SYSLOG_PID_BYTES_MAX + 1).position(|b| matches!(b, b']' | 0..b' '))?;
    let (pid, rest) = rest.split_at_checked(end)?;
    let is_word = !pid.contains(&b' ');
    let message = match rest.strip_prefix(b"]")? {
        [b':', message @ ..] => message,
        [b' ', b':', message @ ..] if place == Where::AfterHost => message,
        message @ ([] | [b' ', ..]) if place == Where::AfterHost && is_word => message,
        _ => return None,
    };
    Some(Tag { name, pid, message: after_space(message) })
}

fn may_stand(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80 || b"_-./()@#+~,&*!$".contains(&byte)
}

/// A name as programs have it, not a word of prose in another language or a list.
fn is_plain(name: &[u8]) -> bool {
    name.iter().all(|b| b.is_ascii() && *b != b',')
}

/// `aa:bb:cc:dd:ee:ff`, `fe80:abcd::1`.
fn is_hardware_address(bytes: &[u8]) -> bool {
    let (word, _) = super::word(bytes);
    word.split(|b| *b == b':').count() > 2
        && word.iter().all(|b| b.is_ascii_hexdigit() || *b == b':')
}

fn after_space(message: &[u8]) -> &[u8] {
    message.strip_prefix(b" ").unwrap_or(message)
}
