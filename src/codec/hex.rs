//! Texts of hexadecimal digits, packed two to a byte, and UUIDs among them.
//!
//! Random ids do not pack any further, so their frames are left as they are: a scan looks for an
//! id in the packed bytes themselves.

use super::pack::{Damage, Read, put_stored, put_varint, take_frame, take_u8, take_varint};
use super::texts::Values;
use crate::base::limits::COLUMN_BYTES_MAX;

/// Where the hyphens of a UUID stand, and how long it is.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];
const UUID_BYTES: usize = 36;
const UUID_DIGITS: usize = 32;

/// How the digits of each value are spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Digits {
    /// So many, in upper case or not.
    Plain(usize, bool),
    /// 32 in lower case, with the hyphens of a UUID.
    Uuid,
}

impl Digits {
    /// How a text may be spelled, for others to be compared with.
    pub(super) fn of(text: &[u8]) -> Option<Self> {
        if Self::Uuid.fits(text) {
            return Some(Self::Uuid);
        }
        let upper = text.iter().any(u8::is_ascii_uppercase);
        let plain = Self::Plain(text.len(), upper);
        (!text.is_empty() && plain.fits(text)).then_some(plain)
    }

    /// Does a text come back from its digits?
    pub(super) fn fits(self, text: &[u8]) -> bool {
        match self {
            Self::Plain(width, upper) => {
                text.len() == width && text.iter().all(|b| nibble(*b, upper).is_some())
            }
            Self::Uuid => {
                let fits = |(n, b): (usize, &u8)| {
                    if HYPHENS.contains(&n) { *b == b'-' } else { nibble(*b, false).is_some() }
                };
                text.len() == UUID_BYTES && text.iter().enumerate().all(fits)
            }
        }
    }

    /// The same for all digits, where neither has letters.
    pub(super) fn with_case_of(self, text: &[u8]) -> Self {
        match self {
            Self::Plain(width, false) if text.iter().any(u8::is_ascii_uppercase) => {
                Self::Plain(width, true)
            }
            other => other,
        }
    }

    /// Does a hyphen stand between these digits of a value?
    pub(super) fn is_cut_within(self, first: usize, behind: usize) -> bool {
        self == Self::Uuid && [8, 12, 16, 20].iter().any(|cut| first < *cut && *cut < behind)
    }

    /// Digits of a value.
    pub(super) fn count(self) -> usize {
        match self {
            Self::Plain(width, _) => width,
            Self::Uuid => UUID_DIGITS,
        }
    }

    /// Bytes that so many values take.
    pub(super) fn bytes(self, values: usize) -> usize {
        (self.count() * values).div_ceil(2) + 4
    }
}

/// Values of digits, packed.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    /// All digits, two a byte, the high half first.
    pub(super) bytes: Vec<u8>,
    pub(super) digits: Digits,
    pub(super) len: usize,
}

impl Packed {
    /// Writes a value; false where there is none of this number.
    pub(super) fn write(&self, n: usize, out: &mut Vec<u8>) -> bool {
        if n >= self.len {
            return false;
        }
        let count = self.digits.count();
        let upper = matches!(self.digits, Digits::Plain(_, true));
        let letters: &[u8; 16] = if upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
        for (i, at) in (n * count..(n + 1) * count).enumerate() {
            let byte = self.bytes.get(at / 2).copied().unwrap_or_default();
            let digit = if at.is_multiple_of(2) { byte >> 4 } else { byte & 15 };
            if self.digits == Digits::Uuid && matches!(i, 8 | 12 | 16 | 20) {
                out.push(b'-');
            }
            out.push(letters.get(usize::from(digit)).copied().unwrap_or_default());
        }
        true
    }

    /// Reads values whose digits are as said.
    fn take(input: &mut &[u8], digits: Digits, len: usize) -> Read<Self> {
        let damage = Damage("hex of the wrong length");
        let total = len.checked_mul(digits.count()).filter(|n| *n <= COLUMN_BYTES_MAX);
        let total = total.filter(|_| digits.count() > 0).ok_or(damage)?.div_ceil(2);
        let bytes = take_frame(input, total)?;
        if bytes.len() == total { Ok(Self { bytes, digits, len }) } else { Err(damage) }
    }

    /// Reads what [`put_hex`] wrote.
    pub(super) fn take_hex(input: &mut &[u8], len: usize) -> Read<Self> {
        let width = usize::try_from(take_varint(input)?).map_err(|_| Damage("hex too wide"))?;
        let upper = take_u8(input)? == 1;
        Self::take(input, Digits::Plain(width, upper), len)
    }

    /// Reads what [`put_uuid`] wrote.
    pub(super) fn take_uuid(input: &mut &[u8], len: usize) -> Read<Self> {
        Self::take(input, Digits::Uuid, len)
    }
}

/// Writes values that all fit `digits`.
pub(super) fn put_hex(values: &Values<'_>, digits: Digits, out: &mut Vec<u8>) {
    if let Digits::Plain(width, upper) = digits {
        put_varint(out, width as u64);
        out.push(u8::from(upper));
    }
    let mut packed = Vec::with_capacity(digits.bytes(values.len()));
    let mut high = None;
    for text in values.iter() {
        for digit in text.iter().filter_map(|b| nibble(*b, b.is_ascii_uppercase())) {
            match high.take() {
                None => high = Some(digit << 4),
                Some(high) => packed.push(high | digit),
            }
        }
    }
    packed.extend(high);
    put_stored(out, &packed);
}

/// A digit's value, of one case only.
fn nibble(digit: u8, upper: bool) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' if !upper => Some(digit - b'a' + 10),
        b'A'..=b'F' if upper => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::texts::Texts;
    use proptest::prelude::*;

    fn check(values: &[String]) {
        let texts: Texts = values.iter().map(String::as_bytes).collect();
        let all = values.iter().fold(Digits::of(values[0].as_bytes()).unwrap(), |digits, text| {
            digits.with_case_of(text.as_bytes())
        });
        assert!(values.iter().all(|text| all.fits(text.as_bytes())), "{values:?}");
        let mut out = Vec::new();
        put_hex(&texts.values(0, values.len()), all, &mut out);
        let packed = match all {
            Digits::Plain(..) => Packed::take_hex(&mut &out[..], values.len()),
            Digits::Uuid => Packed::take_uuid(&mut &out[..], values.len()),
        };
        let packed = packed.unwrap();
        for (n, value) in values.iter().enumerate() {
            let mut text = Vec::new();
            assert!(packed.write(n, &mut text));
            assert_eq!(text, value.as_bytes());
        }
        assert!(!packed.write(values.len(), &mut Vec::new()));
    }

    fn digits_like(pattern: &str) -> impl Strategy<Value = Vec<String>> + use<> {
        prop::collection::vec(prop::string::string_regex(pattern).unwrap(), 1..9)
    }

    proptest! {
        #[test]
        fn digits_come_back(
            values in (1_usize..20).prop_flat_map(|n| {
                prop_oneof![
                    digits_like(&format!("[0-9a-f]{{{n}}}")),
                    digits_like(&format!("[0-9A-F]{{{n}}}")),
                    digits_like("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
                ]
            }),
        ) {
            check(&values);
        }
    }

    #[test]
    fn what_would_not_come_back_is_left() {
        let lower = Digits::of(b"deadbeef").unwrap();
        assert!(!lower.fits(b"DEADBEEF") && !lower.fits(b"dead"));
        assert_eq!(Digits::of(b"deadBEEF"), None);
        assert_eq!(Digits::of(b""), None);
        assert!(!Digits::Uuid.fits(b"550E8400-e29b-41d4-a716-446655440000"));
    }
}
