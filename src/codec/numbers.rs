//! Texts that are numbers: how they are spelled, so that each comes back as it was.
//!
//! A text is parsed once into an integer and its [`Form`]; a column of numbers is one whose forms
//! agree on one [`Spelling`].

use super::pack::{Damage, Read, take_u8};

/// 18 digits always fit an `i64`.
const DIGITS_MAX: usize = 18;

/// How all integers of a column are spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// In decimal, `-` in front where negative.
    Plain,
    /// In so many digits, zeros in front; none is negative.
    Width(usize),
    /// As a fraction of so many digits: 150 at scale 2 is `1.50`.
    Scale(usize),
}

impl Spelling {
    /// Writes a number.
    pub(super) fn write(self, n: i64, out: &mut Vec<u8>) {
        match self {
            Self::Plain => put_decimal(out, n.unsigned_abs(), n < 0, 0),
            Self::Width(width) => put_decimal(out, n.unsigned_abs(), false, width),
            Self::Scale(scale) => {
                put_decimal(out, n.unsigned_abs(), n < 0, scale + 1);
                let point = out.len() - scale;
                out.insert(point, b'.');
            }
        }
    }

    /// The byte in front of the integers, where the spelling has one.
    pub(super) fn put(self, out: &mut Vec<u8>) {
        if let Self::Width(n) | Self::Scale(n) = self {
            out.push(n.to_le_bytes()[0]);
        }
    }

    /// A width as read.
    pub(super) fn take_width(input: &mut &[u8]) -> Read<Self> {
        let width = usize::from(take_u8(input)?);
        let fits = (1..=DIGITS_MAX).contains(&width);
        fits.then_some(Self::Width(width)).ok_or(Damage("digits that are too wide"))
    }

    /// A scale as read.
    pub(super) fn take_scale(input: &mut &[u8]) -> Read<Self> {
        let scale = usize::from(take_u8(input)?);
        let fits = (1..DIGITS_MAX).contains(&scale);
        fits.then_some(Self::Scale(scale)).ok_or(Damage("a decimal scale beyond its bound"))
    }
}

/// The spellings that give a text back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// None: it is no number.
    Other,
    /// Plain, or with its width where it has one.
    Plain(u8),
    /// With its width only: there are zeros in front.
    Zeros(u8),
    /// With its scale.
    Fraction(u8),
}

/// What forms have in common, one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Agreement {
    plain: bool,
    width: Option<u8>,
    scale: Option<u8>,
    any: bool,
}

impl Agreement {
    /// Before the first.
    pub(super) const NEW: Self = Self { plain: true, width: None, scale: None, any: false };

    /// With one more; false where nothing is in common any more.
    pub(super) fn add(&mut self, form: Form) -> bool {
        let keep = |agreed: Option<u8>, n: u8| agreed.filter(|m| *m == n);
        let (plain, width, scale) = match form {
            Form::Other => (false, None, None),
            Form::Plain(width) => (true, Some(width).filter(|w| *w > 0), None),
            Form::Zeros(width) => (false, Some(width), None),
            Form::Fraction(scale) => (false, None, Some(scale)),
        };
        if self.any {
            self.width = width.and_then(|width| keep(self.width, width));
            self.scale = scale.and_then(|scale| keep(self.scale, scale));
        } else {
            (self.width, self.scale, self.any) = (width, scale, true);
        }
        self.plain &= plain;
        self.plain || self.width.is_some() || self.scale.is_some()
    }

    /// The spelling that gives all of them back.
    pub(super) fn spelling(self) -> Option<Spelling> {
        match (self.plain, self.width, self.scale) {
            (true, ..) => Some(Spelling::Plain),
            (_, Some(width), _) => Some(Spelling::Width(width.into())),
            (.., Some(scale)) => Some(Spelling::Scale(scale.into())),
            _ => None,
        }
    }
}

/// The integer that stands for a text, and what gives the text back.
pub(super) fn parse(text: &[u8]) -> (Form, i64) {
    const OTHER: (Form, i64) = (Form::Other, 0);
    let (unsigned, negative) = match text {
        [b'-', rest @ ..] => (rest, true),
        _ => (text, false),
    };
    if unsigned.len() > DIGITS_MAX + 1 || !unsigned.first().is_some_and(u8::is_ascii_digit) {
        return OTHER;
    }
    let mut number = 0_u64;
    let mut point = None;
    for (n, b) in unsigned.iter().enumerate() {
        if b.is_ascii_digit() {
            number = number * 10 + u64::from(b - b'0');
        } else if *b == b'.' && point.is_none() {
            point = Some(n);
        } else {
            return OTHER;
        }
    }
    let Some(value) = signed(number, negative) else { return OTHER };
    let zeros = unsigned.first() == Some(&b'0') && point.unwrap_or(unsigned.len()) > 1;
    match point {
        _ if negative && value == 0 => OTHER,
        Some(point) => {
            let scale = unsigned.len() - point - 1;
            let fits = !zeros && (1..DIGITS_MAX).contains(&scale) && point + scale <= DIGITS_MAX;
            if fits { (Form::Fraction(scale.to_le_bytes()[0]), value) } else { OTHER }
        }
        None if zeros && (negative || unsigned.len() > DIGITS_MAX) => OTHER,
        None if zeros => (Form::Zeros(unsigned.len().to_le_bytes()[0]), value),
        None if negative || unsigned.len() > DIGITS_MAX => (Form::Plain(0), value),
        None => (Form::Plain(unsigned.len().to_le_bytes()[0]), value),
    }
}

/// The number of 19 digits at most with its sign, where it fits.
fn signed(number: u64, negative: bool) -> Option<i64> {
    if negative { 0_i64.checked_sub_unsigned(number) } else { i64::try_from(number).ok() }
}

/// Digits of at least `width`, with zeros in front; after `-` where `negative`.
fn put_decimal(out: &mut Vec<u8>, mut n: u64, negative: bool, width: usize) {
    let mut digits = [b'0'; 20];
    let mut start = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (n % 10).to_le_bytes()[0];
        start -= 1;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    if negative {
        out.push(b'-');
    }
    let start = start.min(digits.len() - width.min(digits.len()));
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spelling_of(values: &[&str]) -> Option<Spelling> {
        let mut agreement = Agreement::NEW;
        let all = values.iter().all(|value| agreement.add(parse(value.as_bytes()).0));
        all.then(|| agreement.spelling()).flatten()
    }

    #[test]
    fn spellings_are_what_all_agree_on() {
        for (values, spelling) in [
            (
                &["1", "-2", "0", "9223372036854775807", "-9223372036854775808"][..],
                Some(Spelling::Plain),
            ),
            (&["007", "000", "999"], Some(Spelling::Width(3))),
            (&["12", "99"], Some(Spelling::Plain)),
            (&["1.50", "-0.01", "0.00", "123.45"], Some(Spelling::Scale(2))),
            (&["12", "007"], None),
            (&["-12", "007"], None),
            (&["1.5", "15"], None),
        ] {
            assert_eq!(spelling_of(values), spelling, "{values:?}");
        }
        for odd in ["", "-", "-0", "+1", "01", "9223372036854775808", "1 ", "１", "-01", "1-"] {
            assert_eq!(spelling_of(&["1", odd]), None, "{odd}");
        }
        for odd in ["", ".5", "1.", "01.5", "1.55", "-0.0", "1e.5", "12345678901234567890.1"] {
            assert_eq!(spelling_of(&["1.5", odd]), None, "{odd}");
        }
    }

    proptest! {
        #[test]
        fn what_parses_comes_back(
            values in prop::collection::vec("-?[0-9]{1,20}(\\.[0-9]{1,3})?|-?[0-9]{2}\\.[0-9]{2}", 1..3),
        ) {
            let mut agreement = Agreement::NEW;
            let parsed: Vec<(Form, i64)> = values.iter().map(|v| parse(v.as_bytes())).collect();
            for (form, _) in &parsed {
                agreement.add(*form);
            }
            if let Some(spelling) = agreement.spelling() {
                for (value, (_, n)) in values.iter().zip(parsed) {
                    let mut out = Vec::new();
                    spelling.write(n, &mut out);
                    prop_assert_eq!(value.as_bytes(), &out[..]);
                }
            }
        }
    }
}
