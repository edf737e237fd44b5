//! A date and time as somebody wrote it, and the instant that it means.
//!
//! Senders write times in a dozen shapes, many without a zone, some without a year. [`scan`] reads
//! the shape at the beginning of some bytes, [`Written::at`] supplies what was left out. Bytes, not
//! text: this runs on every line that arrives, before it is known to be UTF-8.

use jiff::tz::{AmbiguousOffset, Offset};

use crate::base::limits::YEAR_AHEAD_MAX_S;
use crate::base::time::{Timestamp, Zone};

/// What was written. All parts are in their ranges; a day that its month never has is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// `None`: RFC 3164 has no year.
    pub year: Option<i32>,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
    /// 0 to 23.
    pub hour: u32,
    /// 0 to 59.
    pub minute: u32,
    /// 0 to 60, as leap seconds are sent.
    pub second: u32,
    /// Fraction of the second, cut after nine digits.
    pub nanos: u32,
    /// Where on the globe.
    pub place: Place,
}

/// Which clocks a time was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It does not say: the listener's zone.
    Unsaid,
    /// So many seconds east of Greenwich.
    Offset(i32),
    /// An abbreviation of [`ABBREVIATIONS`]. Some of them mean several zones: the listener's own
    /// goes first.
    Named(&'static str, i32),
}

/// Zone names that devices put after a time, with their offset in minutes.
pub const ABBREVIATIONS: &[(&str, i32)] = &[
    ("UTC", 0),
    ("GMT", 0),
    ("Z", 0),
    ("JST", 540),
    ("KST", 540),
    ("HKT", 480),
    ("SGT", 480),
    ("PHT", 480),
    ("AWST", 480),
    ("ICT", 420),
    ("WIB", 420),
    ("IST", 330),
    ("ACST", 570),
    ("ACDT", 630),
    ("AEST", 600),
    ("AEDT", 660),
    ("NZST", 720),
    ("NZDT", 780),
    ("MSK", 180),
    ("TRT", 180),
    ("SAST", 120),
    ("EET", 120),
    ("EEST", 180),
    ("CET", 60),
    ("CEST", 120),
    ("MET", 60),
    ("MEST", 120),
    ("WET", 0),
    ("WEST", 60),
    ("BST", 60),
    ("BRT", -180),
    ("ART", -180),
    ("AST", -240),
    ("ADT", -180),
    ("EST", -300),
    ("EDT", -240),
    ("CST", -360),
    ("CDT", -300),
    ("MST", -420),
    ("MDT", -360),
    ("PST", -480),
    ("PDT", -420),
    ("AKST", -540),
    ("AKDT", -480),
    ("HST", -600),
];

/// How many years back a date without a year is looked for: enough for the 29 February of a sender
/// whose calendar is a little off, not so much that its record is never found.
const YEARS_BACK: i32 = 2;

impl Written {
    /// The instant that is meant. What is unsaid is taken from `zone`, the year from `near` (the
    /// moment of receipt): the latest that does not lie more than a few days ahead of it. A time
    /// that clocks showed twice is the one nearer to `near`; one that they never showed is read by
    /// the offset before the gap. Second 60 is the first of the next minute.
    ///
    /// `None` where no near year has such a day, or the instant cannot be said.
    #[must_use]
    pub fn at(&self, zone: &Zone, near: Timestamp) -> Option<Timestamp> {
        if let Some(year) = self.year {
            return self.in_year(year, zone, near);
        }
        let latest = near.0.saturating_add(YEAR_AHEAD_MAX_S * 1_000_000_000);
        let this = year_of(near.0.div_euclid(86_400_000_000_000));
        (this - YEARS_BACK..=this + 1)
            .rev()
            .filter_map(|year| self.in_year(year, zone, near))
            .find(|at| at.0 <= latest)
    }

    fn in_year(&self, year: i32, zone: &Zone, near: Timestamp) -> Option<Timestamp> {
        if self.day > days_in_month(year, self.month) {
            return None;
        }
        let local = days_before(year, self.month, self.day) * 86_400
            + i64::from(self.hour * 3_600 + self.minute * 60 + self.second);
        let offset = match self.place {
            Place::Offset(seconds) => i64::from(seconds),
            Place::Unsaid => zone_offset(zone, local, near),
            Place::Named(name, seconds) => {
                let own = zone_offset(zone, local, near);
                if is_called(zone, local - own, name) { own } else { i64::from(seconds) }
            }
        };
        let nanos = i128::from(local - offset) * 1_000_000_000 + i128::from(self.nanos);
        i64::try_from(nanos).ok().map(Timestamp)
    }
}

/// Seconds east of Greenwich where the clocks of `zone` show `local` seconds since 1970.
fn zone_offset(zone: &Zone, local: i64, near: Timestamp) -> i64 {
    let zone = zone.inner();
    if let Ok(fixed) = zone.to_fixed_offset() {
        return i64::from(fixed.seconds());
    }
    let Ok(shown) = jiff::Timestamp::from_second(local) else { return 0 };
    let ambiguous = zone.to_ambiguous_timestamp(Offset::UTC.to_datetime(shown));
    let offset = match ambiguous.offset() {
        AmbiguousOffset::Unambiguous { offset } => offset,
        AmbiguousOffset::Gap { before, .. } => before,
        AmbiguousOffset::Fold { before, after } => {
            let near = near.0.div_euclid(1_000_000_000);
            let distance = |o: Offset| (local - i64::from(o.seconds())).abs_diff(near);
            if distance(before) < distance(after) { before } else { after }
        }
    };
    i64::from(offset.seconds())
}

fn is_called(zone: &Zone, second: i64, name: &str) -> bool {
    jiff::Timestamp::from_second(second)
        .is_ok_and(|at| zone.inner().to_offset_info(at).abbreviation() == name)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar, by the months of a year that begins in
/// March, so that the leap day is its last.
fn days_before(year: i32, month: u32, day: u32) -> i64 {
    let year = i64::from(year) - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = i64::from((153 * ((month + 9) % 12) + 2) / 5 + day) - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The year of a day that is counted from 1970-01-01.
fn year_of(days: i64) -> i32 {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    // January and February (day 306 and later) belong to the next year.
    i32::try_from(era * 400 + year + i64::from(of_year >= 306)).unwrap_or(1970)
}

fn days_in_month(year: i32, month: u32) -> u32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Reads a date and time at the beginning of `bytes`; also says how many bytes it took.
///
/// | shape | who writes it |
/// |---|---|
/// | `2026-11-22T03:40:00.123+09:00`, also with `t`, a space, a comma, no zone, no seconds | RFC 3339, most programs |
/// | `2026/11/22 03:40:00` | nginx, Go |
/// | `2026:11:22-03:40:00` | Sophos |
/// | `Nov 22 03:40:00`, also with weekday, year in either place, fraction, offset, `JST` | RFC 3164, Cisco, Huawei |
/// | `2026 Nov 22 03:40:00` | NX-OS, syslog-ng |
/// | `22/Nov/2026:03:40:00 +0000` | Apache, nginx |
/// | `22 Nov 2026 03:40:00 +0000` | RFC 2822 |
/// | `11/22/2026:03:40:00 GMT` | `NetScaler` |
#[must_use]
pub fn scan(bytes: &[u8]) -> Option<(Written, usize)> {
    let mut cursor = Cursor { bytes, at: 0 };
    let written = match bytes {
        [a, b, c, d, b'-' | b'/' | b':', ..] if is_digits(&[*a, *b, *c, *d]) => cursor.iso(),
        [a, b, c, d, b' ', ..] if is_digits(&[*a, *b, *c, *d]) => cursor.year_and_month(),
        [a, b, b'/', c, ..] if is_digits(&[*a, *b, *c]) => cursor.american(),
        [b'0'..=b'9', ..] => cursor.day_first(),
        [letter, ..] if letter.is_ascii_alphabetic() => cursor.month_first(),
        _ => None,
    }?;
    let possible = written.hour < 24
        && written.minute < 60
        && written.second <= 60
        && (1..=12).contains(&written.month)
        && (1..=days_in_month(written.year.unwrap_or(2000), written.month)).contains(&written.day);
    possible.then_some((written, cursor.at))
}

fn is_digits(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_digit)
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn eat(&mut self, wanted: &[u8]) -> Option<u8> {
        let byte = self.peek().filter(|b| wanted.contains(b))?;
        self.at += 1;
        Some(byte)
    }

    /// A number of `min` to `max` digits that no further digit follows.
    fn number(&mut self, min: usize, max: usize) -> Option<u32> {
        let count = self.rest().iter().take(max + 1).take_while(|b| b.is_ascii_digit()).count();
        if count < min || count > max {
            return None;
        }
        let mut value = 0;
        for byte in self.rest().iter().take(count) {
            value = value * 10 + u32::from(byte - b'0');
        }
        self.at += count;
        Some(value)
    }

    fn year(&mut self) -> Option<i32> {
        self.number(4, 4).and_then(|year| i32::try_from(year).ok())
    }

    fn month_name(&mut self) -> Option<u32> {
        const NAMES: &[u8; 36] = b"janfebmaraprmayjunjulaugsepoctnovdec";
        let [a, b, c, ..] = self.rest() else { return None };
        let name = [a.to_ascii_lowercase(), b.to_ascii_lowercase(), c.to_ascii_lowercase()];
        let month = (1..).zip(NAMES.chunks_exact(3)).find(|(_, n)| **n == name)?.0;
        self.at += 3;
        Some(month)
    }

    /// `hh:mm[:ss[.fff]]` and an offset that follows it at once, or after a space in digits.
    fn time(&mut self, year: Option<i32>, month: u32, day: u32) -> Option<Written> {
        let hour = self.number(1, 2)?;
        self.eat(b":")?;
        let minute = self.number(2, 2)?;
        let mut second = 0;
        let mut nanos = 0;
        if self.eat(b":").is_some() {
            second = self.number(2, 2)?;
            nanos = self.fraction();
        }
        let place = self.offset();
        Some(Written { year, month, day, hour, minute, second, nanos, place })
    }

    fn fraction(&mut self) -> u32 {
        let count = match self.rest() {
            [b'.' | b',', rest @ ..] => rest.iter().take_while(|b| b.is_ascii_digit()).count(),
            // H3C writes milliseconds after a colon.
            [b':', a, b, c, rest @ ..]
                if is_digits(&[*a, *b, *c]) && !rest.first().is_some_and(u8::is_ascii_digit) =>
            {
                3
            }
            _ => 0,
        };
        if count == 0 {
            return 0;
        }
        let mut nanos = 0;
        for i in 1..=9 {
            let digit = if i <= count { self.rest().get(i).map_or(0, |b| b - b'0') } else { 0 };
            nanos = nanos * 10 + u32::from(digit);
        }
        self.at += count + 1;
        nanos
    }

    fn offset(&mut self) -> Place {
        let start = self.at;
        if matches!(self.rest(), [b'Z' | b'z', rest @ ..] if !starts_word(rest)) {
            self.at += 1;
            return Place::Offset(0);
        }
        let spaced = match self.rest() {
            [b' ', b'+' | b'-', a, b, b':', c, d, ..] | [b' ', b'+' | b'-', a, b, c, d, ..] => {
                is_digits(&[*a, *b, *c, *d])
            }
            _ => false,
        };
        self.at += usize::from(spaced);
        if let Some(seconds) = self.offset_digits() {
            return Place::Offset(seconds);
        }
        self.at = start;
        Place::Unsaid
    }

    fn offset_digits(&mut self) -> Option<i32> {
        let sign = if self.eat(b"+-")? == b'-' { -1 } else { 1 };
        let (hours, minutes) = if let Some(both) = self.number(4, 4) {
            (both / 100, both % 100)
        } else {
            let hours = self.number(2, 2)?;
            let minutes = if self.eat(b":").is_some() { self.number(2, 2)? } else { 0 };
            (hours, minutes)
        };
        let word_goes_on = self.peek().is_some_and(|b| b.is_ascii_alphanumeric());
        if hours > 23 || minutes > 59 || word_goes_on {
            return None;
        }
        i32::try_from(hours * 3_600 + minutes * 60).ok().map(|seconds| sign * seconds)
    }

    /// ` JST`, ` UTC+9`, ` TZ-6` after the time, where the word ends there.
    fn zone_name(&mut self, written: &mut Written) {
        let [b' ', rest @ ..] = self.rest() else { return };
        let length = rest.iter().take(8).take_while(|b| b.is_ascii_uppercase()).count();
        let (name, after) = rest.split_at(length);
        if written.place != Place::Unsaid || length == 0 {
            return;
        }
        if let (b"UTC" | b"GMT" | b"TZ", [sign @ (b'+' | b'-'), digits @ ..]) = (name, after) {
            let mut cursor = Cursor { bytes: digits, at: 0 };
            let Some(hours) = cursor.number(1, 2).filter(|h| *h <= 14) else { return };
            let Ok(seconds) = i32::try_from(hours * 3_600) else { return };
            if !starts_word(cursor.rest()) && cursor.peek() != Some(b':') {
                written.place = Place::Offset(if *sign == b'-' { -seconds } else { seconds });
                self.at += 2 + length + cursor.at;
            }
        } else if let Some((name, minutes)) =
            ABBREVIATIONS.iter().find(|(known, _)| known.as_bytes() == name)
            && !starts_word(after)
        {
            written.place = Place::Named(name, minutes * 60);
            self.at += 1 + length;
        }
    }

    fn iso(&mut self) -> Option<Written> {
        let year = self.year()?;
        let separator = self.eat(b"-/:")?;
        let month = self.number(1, 2)?;
        self.eat(&[separator])?;
        let day = self.number(1, 2)?;
        self.eat(if separator == b':' { b"-" } else { b"Tt " })?;
        self.time(Some(year), month, day)
    }

    fn year_and_month(&mut self) -> Option<Written> {
        let year = self.year()?;
        self.eat(b" ")?;
        let written = self.month_first()?;
        (written.year.is_none()).then_some(Written { year: Some(year), ..written })
    }

    /// `[Sun ]Nov 22 [2026 ]03:40:00[ JST][ 2026]`.
    fn month_first(&mut self) -> Option<Written> {
        if let [a, b, c, b' ' | b',', ..] = self.rest()
            && is_weekday([*a, *b, *c])
        {
            self.at += 4;
            self.eat(b" ");
            if self.peek().is_some_and(|b| b.is_ascii_digit()) {
                return self.day_first();
            }
        }
        let month = self.month_name()?;
        self.eat(b" ")?;
        self.eat(b" ");
        let day = self.number(1, 2)?;
        self.eat(b",");
        self.eat(b" ")?;
        let start = self.at;
        let mut year = self.year();
        if year.is_some() {
            self.eat(b" ")?;
        } else {
            self.at = start;
        }
        let mut written = self.time(year, month, day)?;
        self.zone_name(&mut written);
        if year.is_none() {
            let start = self.at;
            let ends = self.eat(b" ").is_some();
            year = self.year().filter(|y| ends && (1970..2200).contains(y));
            let goes_on =
                !matches!(self.rest(), [] | [b' ' | b'\t', ..] | [b':'] | [b':', b' ', ..]);
            if year.is_none() || goes_on {
                year = None;
                self.at = start;
            } else {
                self.zone_name(&mut written);
            }
        }
        Some(Written { year, ..written })
    }

    /// `22/Nov/2026:03:40:00 +0000`, `22 Nov 2026 03:40:00`.
    fn day_first(&mut self) -> Option<Written> {
        let day = self.number(1, 2)?;
        let separator = self.eat(b"/ -")?;
        let month = self.month_name()?;
        self.eat(&[separator])?;
        let year = self.year()?;
        self.eat(b": ")?;
        let mut written = self.time(Some(year), month, day)?;
        self.zone_name(&mut written);
        Some(written)
    }

    fn american(&mut self) -> Option<Written> {
        let month = self.number(2, 2)?;
        self.eat(b"/")?;
        let day = self.number(2, 2)?;
        self.eat(b"/")?;
        let year = self.year()?;
        self.eat(b": ")?;
        let mut written = self.time(Some(year), month, day)?;
        self.zone_name(&mut written);
        Some(written)
    }
}

/// Does a word begin here, rather than a space, a sign or the end?
fn starts_word(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn is_weekday(name: [u8; 3]) -> bool {
    [b"sun", b"mon", b"tue", b"wed", b"thu", b"fri", b"sat"]
        .iter()
        .any(|day| name.eq_ignore_ascii_case(*day))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, zone: &str, near: &str, expected: &str, rest: &str) {
        let near = Timestamp::parse_rfc3339(near).unwrap();
        let read = scan(text.as_bytes()).map(|(written, length)| {
            let at = written.at(&Zone::named(zone).unwrap(), near);
            (at.map_or("none".into(), |at| at.to_string()), text.split_at(length).1)
        });
        assert_eq!(read, Some((expected.to_owned(), rest)), "{text}");
    }

    #[test]
    fn reads_each_shape() {
        for (text, expected, rest) in [
            ("2026-11-22T03:40:00Z x", "2026-11-22T03:40:00Z", " x"),
            ("2026-11-22t03:40:00.5z", "2026-11-22T03:40:00.500Z", ""),
            ("2026-11-22T12:40:00.123456789123+09:00 h", "2026-11-22T03:40:00.123456789Z", " h"),
            ("2026-11-22T12:40:00+0900", "2026-11-22T03:40:00Z", ""),
            ("2026-11-22 03:40:00,123 -", "2026-11-22T03:40:00.123Z", " -"),
            ("2026-11-22 00:10:00 -0330 h", "2026-11-22T03:40:00Z", " h"),
            ("2026-11-22T03:40Z", "2026-11-22T03:40:00Z", ""),
            ("2026/11/22 03:40:00 [notice]", "2026-11-22T03:40:00Z", " [notice]"),
            ("2026:11:22-03:40:00 utm", "2026-11-22T03:40:00Z", " utm"),
            ("Nov 22 03:40:00 h", "2026-11-22T03:40:00Z", " h"),
            ("nov  2 03:40:00: %A", "2026-11-02T03:40:00Z", ": %A"),
            ("Sun Nov 22 03:40:00 2025 h", "2025-11-22T03:40:00Z", " h"),
            ("Nov 22 2025 03:40:00+09:00 h", "2025-11-21T18:40:00Z", " h"),
            ("Nov 22 12:40:00.250 JST: %A", "2026-11-22T03:40:00.250Z", ": %A"),
            ("Nov 22 12:40:00 JST 2025 h", "2025-11-22T03:40:00Z", " h"),
            ("Nov 22 03:40:00:123 2026 H3C", "2026-11-22T03:40:00.123Z", " H3C"),
            ("Nov 22 03:40:00 UTC-1x h", "2026-11-22T03:40:00Z", " UTC-1x h"),
            ("Nov 22 12:40:00 UTC+9 h", "2026-11-22T03:40:00Z", " h"),
            ("1990 Oct 22 10:52:01 TZ-6 h", "1990-10-22T16:52:01Z", " h"),
            ("Nov 22 12:40:00 +09:00 h", "2026-11-22T03:40:00Z", " h"),
            ("Nov 22 3:40:00 h", "2026-11-22T03:40:00Z", " h"),
            ("Nov 22 03:40:00 2026x h", "2026-11-22T03:40:00Z", " 2026x h"),
            ("Nov 22 03:40:00 2001:db8::17 h", "2026-11-22T03:40:00Z", " 2001:db8::17 h"),
            ("2026 Nov 22 03:40:00 UTC: %A", "2026-11-22T03:40:00Z", ": %A"),
            ("22/Nov/2026:12:40:00 +0900] \"", "2026-11-22T03:40:00Z", "] \""),
            ("22 Nov 2026 03:40:00 GMT", "2026-11-22T03:40:00Z", ""),
            ("11/22/2026:03:40:00 GMT ns1", "2026-11-22T03:40:00Z", " ns1"),
            ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z", ""),
        ] {
            check(text, "UTC", "2026-11-22T03:40:10Z", expected, rest);
        }
    }

    #[test]
    fn takes_nothing_else_for_a_time() {
        for text in [
            "",
            "Nov",
            "Nov 32 03:40:00",
            "Feb 30 03:40:00",
            "2026-13-45T99:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-11-22",
            "17:32:18 h",
            "1770312738.123 h",
            "192.0.2.1 - -",
            "1,2026/11/22 03:40:00",
            "00:00:5e:00:53:01",
            "Novel 22 03:40:00",
            "22 files",
            "Sun",
        ] {
            assert_eq!(scan(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn supplies_the_year_and_the_zone() {
        for (text, zone, near, expected) in [
            ("Dec 31 23:59:59", "UTC", "2027-01-01T00:00:03Z", "2026-12-31T23:59:59Z"),
            ("Jan  1 00:00:01", "UTC", "2026-12-31T23:59:58Z", "2027-01-01T00:00:01Z"),
            ("Mar  1 18:48:50", "UTC", "2026-11-22T03:40:10Z", "2026-03-01T18:48:50Z"),
            ("Nov 25 00:00:00", "UTC", "2026-11-22T03:40:10Z", "2026-11-25T00:00:00Z"),
            ("Dec 25 00:00:00", "UTC", "2026-11-22T03:40:10Z", "2025-12-25T00:00:00Z"),
            ("Jan  1 08:59:59", "Asia/Tokyo", "2026-12-31T23:59:59Z", "2026-12-31T23:59:59Z"),
            ("Feb 29 12:00:00", "UTC", "2028-02-29T12:00:01Z", "2028-02-29T12:00:00Z"),
            ("Feb 29 12:00:00", "UTC", "2026-03-01T09:00:00Z", "2024-02-29T12:00:00Z"),
            ("Feb 29 12:00:00", "UTC", "2027-03-01T00:00:00Z", "none"),
            ("Mar  8 02:30:00", "America/New_York", "2026-03-08T07:30:05Z", "2026-03-08T07:30:00Z"),
            ("Nov  1 01:30:00", "America/New_York", "2026-11-01T06:30:02Z", "2026-11-01T06:30:00Z"),
            ("Nov  1 01:30:00", "America/New_York", "2026-11-01T05:30:02Z", "2026-11-01T05:30:00Z"),
            (
                "Nov 22 11:40:00 CST",
                "Asia/Shanghai",
                "2026-11-22T03:40:10Z",
                "2026-11-22T03:40:00Z",
            ),
            ("Nov 21 21:40:00 CST", "UTC", "2026-11-22T03:40:10Z", "2026-11-22T03:40:00Z"),
            ("0001-01-01 00:00:00", "UTC", "2026-11-22T03:40:10Z", "none"),
        ] {
            check(text, zone, near, expected, "");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_calendar_library(seconds in -9_000_000_000_i64..9_000_000_000) {
            let at = Timestamp::from_parts(seconds, 0);
            let (written, length) = scan(at.to_string().as_bytes()).unwrap();
            prop_assert_eq!(length, at.to_string().len());
            prop_assert_eq!(written.at(&Zone::utc(), at), Some(at));
            prop_assert_eq!(written.year, Some(year_of(seconds.div_euclid(86_400))));
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>, digits in "[0-9A-Za-z :./+-]{0,40}") {
            for bytes in [&bytes[..], digits.as_bytes()] {
                if let Some((written, length)) = scan(bytes) {
                    prop_assert!(length <= bytes.len());
                    let zone = Zone::named("Asia/Tokyo").unwrap();
                    prop_assert!(written.at(&zone, Timestamp::MAX) != Some(Timestamp::MIN));
                }
            }
        }
    }
}
