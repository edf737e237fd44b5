//! What can be the name of a host, where a header may have left it out.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// May this word be a host? Names, addresses, `-`; no words that say how grave a message is.
pub(super) fn is_host(word: &[u8]) -> bool {
    if let [b'[', inner @ .., b']'] = word {
        return is_ipv4(inner) || is_ipv6(inner);
    }
    if word.contains(&b':') {
        return is_ipv6(word);
    }
    let may_begin = |b: &u8| b.is_ascii_alphanumeric() || b"_-".contains(b);
    let may_stand = |b: &u8| b.is_ascii_alphanumeric() || b"._-/@#+~*$()".contains(b);
    (1..=255).contains(&word.len())
        && word.first().is_some_and(may_begin)
        && word.iter().all(may_stand)
        && (word == b"-" || word.iter().any(u8::is_ascii_alphanumeric))
        && !is_level(word)
        && !is_severity(word)
}

/// An IPv6 address, also with a zone.
fn is_ipv6(word: &[u8]) -> bool {
    let address = word.split(|b| *b == b'%').next().unwrap_or_default();
    address.len() >= 2 && parses::<Ipv6Addr>(address)
}

/// An IPv4 address.
pub(super) fn is_ipv4(word: &[u8]) -> bool {
    word.first().is_some_and(u8::is_ascii_digit) && parses::<Ipv4Addr>(word)
}

fn parses<T: FromStr>(word: &[u8]) -> bool {
    std::str::from_utf8(word).is_ok_and(|text| text.parse::<T>().is_ok())
}

/// `INFO` and its like, with which programs that know nothing of headers begin their text.
pub(super) fn is_level(word: &[u8]) -> bool {
    const LEVELS: [&[u8]; 13] = [
        b"TRACE",
        b"DEBUG",
        b"INFO",
        b"NOTICE",
        b"WARN",
        b"WARNING",
        b"ERR",
        b"ERROR",
        b"CRIT",
        b"CRITICAL",
        b"ALERT",
        b"EMERG",
        b"FATAL",
    ];
    word.first().is_some_and(u8::is_ascii_uppercase) && LEVELS.contains(&word)
}

/// A severity as `syslog.conf` writes it (F5), also with facilities before it (AIX:
/// `auth|security:info`).
pub(super) fn is_severity(word: &[u8]) -> bool {
    const NAMES: [&[u8]; 10] = [
        b"emerg", b"alert", b"crit", b"err", b"error", b"warning", b"warn", b"notice", b"info",
        b"debug",
    ];
    let name = match word.iter().rposition(|b| *b == b':') {
        Some(at) => word.get(at + 1..).unwrap_or_default(),
        None => word,
    };
    NAMES.contains(&name)
}
