//! What can be the name of a host, where a header may have left it out.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// May this word be a host? Names, addresses, `-`; no words that say how grave a message is.
pub(super) fn is_host(word: &[u8]) -> bool {
    if word.contains(&b':') {
        return is_ipv6(word);
    }
    let may_stand = |b: &u8| b.is_ascii_alphanumeric() || b"._-/@#+~*$()".contains(b);
    (1..=255).contains(&word.len())
        && word.iter().all(may_stand)
        && (word == b"-" || word.iter().any(u8::is_ascii_alphanumeric))
        && !is_level(word)
}

/// An IPv6 address, also in brackets or with a zone.
pub(super) fn is_ipv6(word: &[u8]) -> bool {
    let inner = match word {
        [b'[', inner @ .., b']'] => inner,
        _ => word,
    };
    let address = inner.split(|b| *b == b'%').next().unwrap_or_default();
    address.len() >= 2 && parses::<Ipv6Addr>(address)
}

/// An IPv4 address.
pub(super) fn is_ipv4(word: &[u8]) -> bool {
    word.first().is_some_and(u8::is_ascii_digit) && parses::<Ipv4Addr>(word)
}

fn parses<T: FromStr>(word: &[u8]) -> bool {
    std::str::from_utf8(word).is_ok_and(|text| text.parse::<T>().is_ok())
}

/// `INFO` and its like, with which programs that log to a handler begin their text.
fn is_level(word: &[u8]) -> bool {
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

/// A severity as `syslog.conf` writes it.
pub(super) fn is_severity(word: &[u8]) -> bool {
    const NAMES: [&[u8]; 10] = [
        b"emerg", b"alert", b"crit", b"err", b"error", b"warning", b"warn", b"notice", b"info",
        b"debug",
    ];
    NAMES.contains(&word)
}
