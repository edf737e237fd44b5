//! Times inside of lines, where they can be said as a number that gives back the same text.
//!
//! Only for storing them small: `find` takes a text for a time only where [`Format::write`] gives
//! exactly that text again. What a time *means* is read by `time`.

/// How a time is spelled; what two times of one source have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Format {
    style: Style,
    /// Between year, month and day; behind the month's name, the padding of the day.
    date_sign: u8,
    /// Between date and time.
    time_sign: u8,
    /// In front of the fraction; 0 without one.
    fraction_sign: u8,
    /// Digits of the fraction, 0 to 9.
    digits: u8,
    /// The zone as it is written behind, zeros after it.
    zone: [u8; ZONE_BYTES],
}

/// Longest zone: ` +0900` or `+09:00`.
const ZONE_BYTES: usize = 6;

/// Bytes of a stored format.
pub const FORMAT_BYTES: usize = 5 + ZONE_BYTES;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Style {
    /// `2026-03-01T09:00:00.123Z` and its relatives.
    Iso,
    /// `Mar  1 09:00:00`: no year, so counted within a leap year.
    Month,
    /// `01/Mar/2026:09:00:00 +0900`.
    Clf,
}

const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// The year within which times without one are counted: it has a February 29.
const LEAP_YEAR: i64 = 2000;

const DAY_S: i64 = 86_400;
const SECOND_NS: i64 = 1_000_000_000;

/// The time that stands first in `text` and its length; it ends where no token goes on.
pub fn find(text: &[u8]) -> Option<(Format, usize)> {
    let (format, len) = match text {
        [_, _, _, _, b'-' | b'/', ..] => iso(text)?,
        [_, _, b'/', b'A'..=b'Z', ..] => clf(text)?,
        [b'A'..=b'Z', b'a'..=b'z', b'a'..=b'z', b' ', ..] => month(text)?,
        _ => return None,
    };
    let goes_on = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_' || *b >= 0x80;
    if text.get(len).is_some_and(goes_on) {
        return None;
    }
    // What cannot be counted is no time here.
    format.read(text.get(..len)?)?;
    Some((format, len))
}

fn iso(text: &[u8]) -> Option<(Format, usize)> {
    let date_sign = *text.get(4)?;
    let time_sign = *text.get(10)?;
    let shaped = text.get(7) == Some(&date_sign)
        && matches!(time_sign, b'T' | b' ' | b't')
        && text.get(13) == Some(&b':')
        && text.get(16) == Some(&b':');
    if !shaped {
        return None;
    }
    let mut len = 19;
    let (mut fraction_sign, mut digits) = (0, 0_u8);
    if let Some(sign @ (b'.' | b',')) = text.get(len) {
        let fraction = text.get(len + 1..).unwrap_or_default();
        let count = fraction.iter().take(10).take_while(|b| b.is_ascii_digit()).count();
        if count > 9 {
            return None;
        }
        if count > 0 {
            fraction_sign = *sign;
            digits = u8::try_from(count).ok()?;
            len += 1 + count;
        }
    }
    let zone_len = match text.get(len..).unwrap_or_default() {
        [b'Z' | b'z', ..] => 1,
        [b'+' | b'-', a, b, b':', c, d, ..] if [a, b, c, d].iter().all(|d| d.is_ascii_digit()) => 6,
        [b'+' | b'-', a, b, c, d, ..] if [a, b, c, d].iter().all(|d| d.is_ascii_digit()) => 5,
        _ => 0,
    };
    let zone = zone(text.get(len..len + zone_len)?)?;
    let style = Style::Iso;
    Some((Format { style, date_sign, time_sign, fraction_sign, digits, zone }, len + zone_len))
}

fn month(text: &[u8]) -> Option<(Format, usize)> {
    let shaped = text.get(6) == Some(&b' ')
        && text.get(9) == Some(&b':')
        && text.get(12) == Some(&b':')
        && text.len() >= 15;
    if !shaped {
        return None;
    }
    // A day of two digits fits both paddings and is taken for the usual one.
    let date_sign = if text.get(4) == Some(&b'0') { b'0' } else { b' ' };
    let (style, zone) = (Style::Month, [0; ZONE_BYTES]);
    let format = Format { style, date_sign, time_sign: b' ', fraction_sign: 0, digits: 0, zone };
    Some((format, 15))
}

fn clf(text: &[u8]) -> Option<(Format, usize)> {
    let shaped = text.get(6) == Some(&b'/')
        && text.get(11) == Some(&b':')
        && text.get(14) == Some(&b':')
        && text.get(17) == Some(&b':')
        && text.len() >= 20;
    if !shaped {
        return None;
    }
    let zone_len = match text.get(20..).unwrap_or_default() {
        [b' ', b'+' | b'-', rest @ ..]
            if rest.iter().take(4).filter(|b| b.is_ascii_digit()).count() == 4 =>
        {
            6
        }
        _ => 0,
    };
    let zone = zone(text.get(20..20 + zone_len)?)?;
    let (style, date_sign, time_sign) = (Style::Clf, b'/', b':');
    Some((Format { style, date_sign, time_sign, fraction_sign: 0, digits: 0, zone }, 20 + zone_len))
}

fn zone(text: &[u8]) -> Option<[u8; ZONE_BYTES]> {
    let mut zone = [0; ZONE_BYTES];
    zone.get_mut(..text.len())?.copy_from_slice(text);
    Some(zone)
}

impl Format {
    /// Units of a second: one for each step of the last digit.
    fn units(self) -> i64 {
        10_i64.pow(u32::from(self.digits.min(9)))
    }

    /// The time as a number of its own units since 1970 on the clock that it shows; `None` where
    /// `text` is not spelled like this.
    pub fn read(self, text: &[u8]) -> Option<i64> {
        let number = |start: usize, len: usize| {
            text.get(start..start + len)?
                .iter()
                .try_fold(0_i64, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
        };
        let month_at = |start: usize| {
            let name = text.get(start..start + 3)?;
            let n = MONTHS.iter().position(|month| month.as_slice() == name)?;
            i64::try_from(n + 1).ok()
        };
        let (year, month, day, clock) = match self.style {
            Style::Iso => (number(0, 4)?, number(5, 2)?, number(8, 2)?, 11),
            Style::Month => {
                let padded = text.get(4) == Some(&b' ');
                let day = if padded { number(5, 1)? } else { number(4, 2)? };
                if padded != (day < 10 && self.date_sign == b' ') {
                    return None;
                }
                (LEAP_YEAR, month_at(0)?, day, 7)
            }
            Style::Clf => (number(7, 4)?, month_at(3)?, number(0, 2)?, 12),
        };
        let (hour, minute, second) =
            (number(clock, 2)?, number(clock + 3, 2)?, number(clock + 6, 2)?);
        if !(1..=12).contains(&month)
            || !(1..=days_of(year, month)).contains(&day)
            || hour > 23
            || minute > 59
            || second > 59
        {
            return None;
        }
        let seconds =
            days_from_civil(year, month, day) * DAY_S + hour * 3600 + minute * 60 + second;
        let fraction = if self.digits == 0 { 0 } else { number(20, usize::from(self.digits))? };
        seconds.checked_mul(self.units())?.checked_add(fraction)
    }

    /// What [`Format::read`] gives for a time spelled in UTC at this instant: where a line's time
    /// is the record's, the difference is the zone's offset and always the same.
    pub fn at(self, nanos: i64) -> i64 {
        let seconds = nanos.div_euclid(SECOND_NS);
        if self.style != Style::Month {
            return nanos.div_euclid(SECOND_NS / self.units());
        }
        let (_, month, day) = civil_from_days(seconds.div_euclid(DAY_S));
        days_from_civil(LEAP_YEAR, month, day) * DAY_S + seconds.rem_euclid(DAY_S)
    }

    /// Appends the text that [`Format::read`] read. Any number gives some text.
    pub fn write(self, value: i64, out: &mut Vec<u8>) {
        let seconds = value.div_euclid(self.units());
        let (year, month, day) = civil_from_days(seconds.div_euclid(DAY_S));
        let clock = seconds.rem_euclid(DAY_S);
        let name = usize::try_from(month - 1).ok().and_then(|n| MONTHS.get(n));
        let name = name.map_or(&b"Jan"[..], |name| name.as_slice());
        match self.style {
            Style::Iso => {
                put(out, year, 4);
                out.push(self.date_sign);
                put(out, month, 2);
                out.push(self.date_sign);
                put(out, day, 2);
                out.push(self.time_sign);
            }
            Style::Month => {
                out.extend_from_slice(name);
                out.push(b' ');
                if day < 10 {
                    out.push(self.date_sign);
                    put(out, day, 1);
                } else {
                    put(out, day, 2);
                }
                out.push(b' ');
            }
            Style::Clf => {
                put(out, day, 2);
                out.push(b'/');
                out.extend_from_slice(name);
                out.push(b'/');
                put(out, year, 4);
                out.push(b':');
            }
        }
        put(out, clock / 3600, 2);
        out.push(b':');
        put(out, clock / 60 % 60, 2);
        out.push(b':');
        put(out, clock % 60, 2);
        if self.digits > 0 {
            out.push(self.fraction_sign);
            put(out, value.rem_euclid(self.units()), self.digits);
        }
        out.extend(self.zone.iter().take_while(|b| **b != 0));
    }

    /// May two times of this format differ in the letters or the long tokens that they hold?
    pub fn holds_words(self) -> bool {
        self.style != Style::Iso || self.digits >= 7
    }

    /// As it is stored.
    pub fn to_bytes(self) -> [u8; FORMAT_BYTES] {
        let mut bytes = [0; FORMAT_BYTES];
        let head =
            [self.style as u8, self.date_sign, self.time_sign, self.fraction_sign, self.digits];
        for (byte, part) in bytes.iter_mut().zip(head.into_iter().chain(self.zone)) {
            *byte = part;
        }
        bytes
    }

    /// From what is stored.
    pub fn from_bytes(bytes: [u8; FORMAT_BYTES]) -> Option<Self> {
        let [style, date_sign, time_sign, fraction_sign, digits, zone @ ..] = bytes;
        let style =
            [Style::Iso, Style::Month, Style::Clf].into_iter().find(|s| *s as u8 == style)?;
        (digits <= 9).then_some(Self { style, date_sign, time_sign, fraction_sign, digits, zone })
    }
}

/// The last `digits` digits of a number.
fn put(out: &mut Vec<u8>, n: i64, digits: u8) {
    for place in (0..u32::from(digits)).rev() {
        let digit = n / 10_i64.pow(place) % 10;
        out.push(b'0' + u8::try_from(digit.unsigned_abs()).unwrap_or(0));
    }
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 (H. Hinnant, "chrono-compatible low-level date algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year, month and day of days since 1970-01-01 (ditto).
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_found_and_written_back() {
        for (text, len) in [
            ("2026-03-01T09:00:00.123456789+09:00 x", 35),
            ("2026/03/01 09:00:00,123", 23),
            ("2026-03-01T09:00:00", 19),
            ("2026-03-01T09:00:00.", 19),
            ("2024-02-29 23:59:59+0000", 24),
            ("Mar  1 09:00:00 x", 15),
            ("Mar 01 09:00:00", 15),
            ("Dec 31 23:59:59.5", 15),
            ("Feb 29 00:00:00", 15),
            ("01/Mar/2026:09:00:00 -0000]", 26),
            ("01/Mar/2026:09:00:00", 20),
            ("1969-12-31T23:59:59.9Z", 22),
        ] {
            let (format, found) = find(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(found, len, "{text}");
            let mut out = Vec::new();
            format.write(format.read(&text.as_bytes()[..len]).unwrap(), &mut out);
            assert_eq!(out, text.as_bytes()[..len]);
            assert_eq!(Format::from_bytes(format.to_bytes()), Some(format));
        }
    }

    #[test]
    fn what_would_not_come_back_is_no_time() {
        for text in [
            "2026-02-30T09:00:00",
            "2026-03-01T24:00:00",
            "2026-03-01T09:00:60",
            "2026-03/01T09:00:00",
            "2026-03-01T09:00:00x",
            "2026-03-01T09:00:00.1234567890",
            "9999-03-01T09:00:00.123456789",
            "Mar 1 09:00:00",
            "Mar 32 09:00:00",
            "mar  1 09:00:00",
            "Feb 30 09:00:00",
            "Mar  0 09:00:00",
            "31/Feb/2026:09:00:00 +0900",
            "2026-03-01",
            "",
            "Mar",
        ] {
            assert_eq!(find(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_found_comes_back(
            text in prop_oneof![
                "[0-9]{4}[-/][01][0-9][-/][0-3][0-9][T ][0-2][0-9]:[0-5][0-9]:[0-6][0-9]([.,][0-9]{0,10})?(Z|[+-][0-9]{2}:?[0-9]{2})?",
                "(Jan|Feb|Mar|Dec|Foo) [ 0-3][0-9] [0-2][0-9]:[0-5][0-9]:[0-6][0-9]",
                "[0-3][0-9]/(Jan|Feb|Dec)/[0-9]{4}:[0-2][0-9]:[0-5][0-9]:[0-6][0-9]( [+-][0-9]{4})?",
            ],
            now: i64,
        ) {
            if let Some((format, len)) = find(text.as_bytes()) {
                let value = format.read(&text.as_bytes()[..len]).unwrap();
                let stored = value.wrapping_sub(format.at(now));
                let mut out = Vec::new();
                format.write(stored.wrapping_add(format.at(now)), &mut out);
                prop_assert_eq!(out, &text.as_bytes()[..len]);
            }
        }

        #[test]
        fn any_bytes_and_numbers_are_fine(bytes: Vec<u8>, stored: [u8; FORMAT_BYTES], n: i64) {
            find(&bytes);
            if let Some(format) = Format::from_bytes(stored) {
                format.at(n);
                format.write(n, &mut Vec::new());
                format.read(&bytes);
            }
        }
    }
}
