//! `<134>`: facility times eight plus severity (RFC 5424 6.2.1).

use crate::base::record::{Facility, Severity};

/// What stands at the beginning of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pri {
    /// One to three digits in angle brackets; bad above 191 or with a leading zero.
    Said { value: u16, bad: bool },
    /// Nothing; bad where it looks like an attempt.
    Missing { bad: bool },
}

impl Pri {
    /// Facility and severity; a value out of range says neither.
    pub(super) fn meaning(self) -> (Option<Facility>, Option<Severity>) {
        match self {
            Self::Said { value: value @ 0..=191, .. } => {
                let code = |n: u16| u8::try_from(n).ok();
                let facility = code(value / 8).and_then(Facility::from_code);
                (facility, code(value % 8).and_then(Severity::from_code))
            }
            _ => (None, None),
        }
    }
}

/// The PRI and what follows it.
pub(super) fn read(body: &[u8]) -> (Pri, &[u8]) {
    // Some senders put a BOM, or the delimiter of the message before, in front.
    let start = body.iter().take(4).position(|b| !b"\xef\xbb\xbf\n\r\0 ".contains(b)).unwrap_or(0);
    let trimmed = body.get(start..).unwrap_or_default();
    let [b'<', inner @ ..] = trimmed else { return (Pri::Missing { bad: false }, body) };
    let digits = inner.iter().take(4).take_while(|b| b.is_ascii_digit()).count();
    match inner.split_at_checked(digits) {
        Some((digits @ [first, ..], [b'>', rest @ ..])) if digits.len() <= 3 => {
            let value = digits.iter().fold(0, |n, b| n * 10 + u16::from(b - b'0'));
            let bad = value > 191 || (*first == b'0' && digits.len() > 1);
            (Pri::Said { value, bad }, rest)
        }
        _ => {
            let bad = matches!(inner, [b'0'..=b'9' | b'-' | b' ' | b'>', ..]);
            (Pri::Missing { bad }, body)
        }
    }
}
