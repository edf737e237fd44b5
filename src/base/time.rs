//! Instants, half-open ranges, zones, and the texts that they are read from.
//!
//! One type for all instants: nanoseconds since 1970 in an `i64` (1677 to 2262).

use std::fmt;

use jiff::tz::TimeZone;

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
