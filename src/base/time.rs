//! Instants, half-open ranges, zones. What people and programs write for them: `written`.
//!
//! One type for all instants: nanoseconds since 1970 in an `i64` (1677 to 2262).

use std::fmt;

use jiff::tz::TimeZone;

use crate::base::written;

/// Nanoseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The first instant that can be said.
    pub const MIN: Self = Self(i64::MIN);
    /// The last.
    pub const MAX: Self = Self(i64::MAX);

    /// From whole seconds and nanoseconds; clamped to what can be said.
    #[must_use]
    pub fn from_parts(seconds: i64, nanos: u32) -> Self {
        Self(seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(nanos)))
    }

    /// Whole milliseconds since the epoch, rounded down.
    #[must_use]
    pub fn millis(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// The same instant cut to whole milliseconds.
    #[must_use]
    pub fn floor_to_millis(self) -> Self {
        Self(self.millis() * 1_000_000)
    }

    fn to_jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_nanosecond(i128::from(self.0)).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }

    /// The same instant on a zone's clocks.
    #[must_use]
    pub fn in_zone(self, zone: &Zone) -> jiff::Zoned {
        self.to_jiff().to_zoned(zone.0.clone())
    }

    /// From a count since the epoch, its unit told by its size: seconds below 10^11, then
    /// milliseconds, microseconds and nanoseconds by three digits more each. `None` for seconds
    /// beyond the year 2262.
    #[must_use]
    pub fn from_epoch(count: i64) -> Option<Self> {
        count.checked_mul(epoch_unit_ns(count.unsigned_abs())).map(Self)
    }

    /// The same of a count with a fraction, to the nanosecond or what a float can hold of it.
    #[must_use]
    pub fn from_epoch_f64(count: f64) -> Option<Self> {
        if !count.is_finite() || count.abs() >= 1e19 {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "in the range of i128, see above")]
        let whole = count.trunc() as i128;
        let unit = epoch_unit_ns(u64::try_from(whole.unsigned_abs()).ok()?);
        #[expect(clippy::cast_precision_loss, reason = "the unit is a power of ten up to 10^9")]
        #[expect(clippy::cast_possible_truncation, reason = "a fraction of at most 10^9")]
        let fraction = (count.fract() * unit as f64).round() as i128;
        i64::try_from(whole * i128::from(unit) + fraction).ok().map(Self)
    }

    /// The same of text, exactly: `1770312738.123456789`.
    #[must_use]
    pub fn from_epoch_text(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = whole.strip_prefix('-').unwrap_or(whole);
        let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if digits.is_empty() || !all_digits(digits) || !all_digits(fraction) {
            return None;
        }
        let count: i64 = whole.parse().ok()?;
        let unit = epoch_unit_ns(count.unsigned_abs());
        let (mut nanos, mut place) = (0, unit);
        for digit in fraction.bytes() {
            place /= 10;
            nanos += i64::from(digit - b'0') * place;
        }
        let nanos = if whole.starts_with('-') { -nanos } else { nanos };
        count.checked_mul(unit)?.checked_add(nanos).map(Self)
    }

    /// Reads all of `text` as a time in any shape of [`written::scan`], or as a count since the
    /// epoch. What it leaves out is taken from `zone`, its year from `near` (the time of receipt).
    #[must_use]
    pub fn parse_any(text: &str, zone: &Zone, near: Self) -> Option<Self> {
        let text = text.trim();
        match written::scan(text.as_bytes()) {
            Some((written, length)) if length == text.len() => written.at(zone, near),
            _ => Self::from_epoch_text(text),
        }
    }

    /// Reads an RFC 3339 date-time with `Z` or an offset.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let at: jiff::Timestamp = text.parse().ok()?;
        i64::try_from(at.as_nanosecond()).ok().map(Self)
    }
}

/// RFC 3339 in UTC with as many digits of fraction as are needed, in threes.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = match self.0.rem_euclid(1_000_000_000) {
            0 => 0,
            n if n % 1_000_000 == 0 => 3,
            n if n % 1_000 == 0 => 6,
            _ => 9,
        };
        write!(f, "{:.*}", digits, self.to_jiff())
    }
}

/// Nanoseconds in the unit that a count since the epoch of this size is in.
fn epoch_unit_ns(count: u64) -> i64 {
    match count {
        0..100_000_000_000 => 1_000_000_000,
        100_000_000_000..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000,
        _ => 1,
    }
}

/// `from` inclusive, `to` exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// First instant that belongs to it.
    pub from: Timestamp,
    /// First instant that does not any more.
    pub to: Timestamp,
}

impl TimeRange {
    /// All that is kept.
    pub const ALL: Self = Self { from: Timestamp::MIN, to: Timestamp::MAX };

    /// Does it hold `at`? `MAX` as the end is inclusive, so that `ALL` is all.
    #[must_use]
    pub fn contains(self, at: Timestamp) -> bool {
        self.from <= at && (at < self.to || self.to == Timestamp::MAX)
    }

    /// What both hold.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { from: self.from.max(other.from), to: self.to.min(other.to) }
    }
}

/// A time zone: `UTC`, an IANA name, or a fixed offset.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone(TimeZone);

impl Zone {
    /// Coordinated universal time.
    #[must_use]
    pub fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    /// By IANA name, from the database in this binary; `None` where there is no such zone.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        TimeZone::get(name).ok().map(Self)
    }

    /// jiff's own, for calendar arithmetic.
    #[must_use]
    pub fn inner(&self) -> &TimeZone {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_unit_of_a_count_by_its_size() {
        for (text, expected) in [
            ("0", "1970-01-01T00:00:00Z"),
            ("1770312738", "2026-02-05T17:32:18Z"),
            ("1770312738.123456789", "2026-02-05T17:32:18.123456789Z"),
            ("1770312738123", "2026-02-05T17:32:18.123Z"),
            ("1770312738123.5", "2026-02-05T17:32:18.123500Z"),
            ("1770312738123456", "2026-02-05T17:32:18.123456Z"),
            ("1770312738123456789", "2026-02-05T17:32:18.123456789Z"),
            ("-1.5", "1969-12-31T23:59:58.500Z"),
        ] {
            let at = Timestamp::from_epoch_text(text);
            assert_eq!(at.map(|at| at.to_string()).as_deref(), Some(expected), "{text}");
            let from_float = text.parse().ok().and_then(Timestamp::from_epoch_f64).unwrap();
            assert!(from_float.0.abs_diff(at.unwrap().0) < 1_000, "{text} as a float");
            if let Ok(count) = text.parse() {
                assert_eq!(Timestamp::from_epoch(count), at, "{text} as an integer");
            }
        }
        for text in ["", "-", "1e9", "1.2.3", "99999999999", "99999999999999999999", "x"] {
            assert_eq!(Timestamp::from_epoch_text(text), None, "{text}");
        }
        assert_eq!(Timestamp::from_epoch_f64(f64::NAN), None);
        assert_eq!(Timestamp::from_epoch_f64(1e300), None);
    }

    #[test]
    fn reads_any_shape_as_a_whole() {
        let zone = Zone::named("Asia/Tokyo").unwrap();
        let near = Timestamp::parse_rfc3339("2026-11-22T03:40:10Z").unwrap();
        let read = |text| Timestamp::parse_any(text, &zone, near).map(|at| at.to_string());
        for text in [
            " 2026-11-22T03:40:00Z",
            "2026-11-22 12:40:00,000",
            "2026-11-22T12:40:00",
            "22/Nov/2026:12:40:00 +0900",
            "Sun, 22 Nov 2026 03:40:00 GMT",
            "Nov 22 12:40:00",
            "1795318800",
            "1795318800000",
        ] {
            assert_eq!(read(text).as_deref(), Some("2026-11-22T03:40:00Z"), "{text}");
        }
        for text in ["", "now", "2026-11-22T03:40:00Z and more", "2026-11-22"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
