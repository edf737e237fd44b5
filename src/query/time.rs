//! Times as people type them: words, spans back from now, dates, epochs.
//!
//! Used by the parameters `from` and `to`, by `since:` and `until:`, and by comparisons with
//! `time` and `received`.

use jiff::civil;

use super::Context;
use crate::base::time::Timestamp;

/// Nanoseconds of a second.
const SECOND: i64 = 1_000_000_000;
/// Nanoseconds of a day of 24 hours.
const DAY: i64 = 86_400 * SECOND;

/// See [`super::parse_time`].
pub(super) fn instant(text: &str, context: &Context) -> Option<Timestamp> {
    let text = text.trim();
    epoch(text)
        .or_else(|| relative(text, context))
        .or_else(|| Timestamp::parse_rfc3339(text))
        .or_else(|| local(text, context))
}

/// What `since:` and `until:` take: an instant, or a span back from now (`2h`).
pub(super) fn since(text: &str, context: &Context) -> Option<Timestamp> {
    match span(text.trim()) {
        Some(back) => Some(Timestamp(context.now.0.saturating_sub(back))),
        None => instant(text, context),
    }
}

/// The first instant of a bare date and that of the next day; `None` where it is no bare date.
pub(super) fn day(text: &str, context: &Context) -> Option<(Timestamp, Timestamp)> {
    let date = date(text.trim())?;
    let next = date.tomorrow().ok()?;
    Some((at(date.into(), context)?, at(next.into(), context)?))
}

/// Seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by size.
fn epoch(text: &str) -> Option<Timestamp> {
    let (digits, fraction) = text.split_once('.').unwrap_or((text, ""));
    let unsigned = digits.strip_prefix('-').unwrap_or(digits);
    if unsigned.len() < 5 || !unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return None; // `2026` is no second of 1970
    }
    let n: i64 = digits.parse().ok()?;
    let unit = match n.unsigned_abs() {
        0..100_000_000_000 => SECOND,
        100_000_000_000..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000,
        _ => 1,
    };
    let mut nanos = n.checked_mul(unit)?;
    if !fraction.is_empty() {
        if !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let mut place = unit;
        for digit in fraction.bytes().take(9) {
            place /= 10;
            let part = i64::from(digit - b'0') * place;
            nanos = nanos.checked_add(if n < 0 { -part } else { part })?;
        }
    } else if text.ends_with('.') {
        return None;
    }
    Some(Timestamp(nanos))
}

/// `now`, `now-15m`, `-15m`, `today`, `yesterday 17:30`, `tomorrow`, `17:30`.
fn relative(text: &str, context: &Context) -> Option<Timestamp> {
    if text.eq_ignore_ascii_case("now") {
        return Some(context.now);
    }
    let shift = strip_word(text, "now").unwrap_or(text).trim_start();
    if let Some(back) = shift.strip_prefix('-') {
        return Some(Timestamp(context.now.0.saturating_sub(span(back.trim_start())?)));
    }
    if let Some(ahead) = shift.strip_prefix('+') {
        return Some(Timestamp(context.now.0.saturating_add(span(ahead.trim_start())?)));
    }
    let today = context.now.in_zone(&context.zone).date();
    let (date, rest) = if let Some(rest) = strip_word(text, "today") {
        (today, rest)
    } else if let Some(rest) = strip_word(text, "yesterday") {
        (today.yesterday().ok()?, rest)
    } else if let Some(rest) = strip_word(text, "tomorrow") {
        (today.tomorrow().ok()?, rest)
    } else {
        // A bare clock time is today's; more than one part, so that a number is no hour.
        text.contains(':').then_some((today, text))?
    };
    let clock = rest.trim().trim_start_matches("at ").trim();
    let time: civil::Time =
        if clock.is_empty() { civil::Time::midnight() } else { clock_time(clock)? };
    at(date.to_datetime(time), context)
}

/// `17:30`, `5:30`, `17:30:05.250`.
fn clock_time(text: &str) -> Option<civil::Time> {
    let (hour, rest) = text.split_once(':')?;
    let two = matches!(hour.len(), 1 | 2) && hour.bytes().all(|b| b.is_ascii_digit());
    two.then(|| format!("{hour:0>2}:{rest}")).and_then(|padded| padded.parse().ok())
}

/// `text` behind `word`, in any case, where the word ends there.
fn strip_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(word.len())?;
    let ends = !rest.starts_with(|c: char| c.is_alphanumeric());
    (ends && head.eq_ignore_ascii_case(word)).then_some(rest)
}

/// A date, or a date and time, on the clocks of the zone.
fn local(text: &str, context: &Context) -> Option<Timestamp> {
    match date(text) {
        Some(date) => at(date.into(), context),
        None => at(text.parse().ok()?, context),
    }
}

/// A date and nothing else; the library's own reading drops a time behind it.
fn date(text: &str) -> Option<civil::Date> {
    let bare = text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    bare.then(|| text.parse().ok()).flatten()
}

fn at(civil: civil::DateTime, context: &Context) -> Option<Timestamp> {
    let zoned = civil.to_zoned(context.zone.inner().clone()).ok()?;
    i64::try_from(zoned.timestamp().as_nanosecond()).ok().map(Timestamp)
}

/// A span such as `90s`, `1h30m`, `1.5d`, `2w`, `500ms`, nanoseconds.
pub(super) fn span(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|n| *n > 0)?;
        let (number, behind) = rest.split_at_checked(digits)?;
        let letters = behind.find(|c: char| !c.is_alphabetic()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at_checked(letters)?;
        let unit = match unit {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" | "sec" | "secs" | "second" | "seconds" => SECOND,
            "m" | "min" | "mins" | "minute" | "minutes" => 60 * SECOND,
            "h" | "hour" | "hours" => 3_600 * SECOND,
            "d" | "day" | "days" => DAY,
            "w" | "week" | "weeks" => 7 * DAY,
            _ => return None,
        };
        let part = match number.parse::<i64>() {
            Ok(n) => n.checked_mul(unit)?,
            Err(_) => scaled(number.parse().ok()?, unit)?,
        };
        total = total.checked_add(part)?;
        rest = behind;
    }
    (!text.is_empty()).then_some(total)
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a fraction of a unit is rounded; the range is checked"
)]
fn scaled(number: f64, unit: i64) -> Option<i64> {
    let nanos = number * unit as f64;
    (nanos.is_finite() && nanos.abs() < 9.0e18).then_some(nanos as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Zone;

    fn context(zone: &str) -> Context {
        let now = Timestamp::parse_rfc3339("2026-03-02T03:04:05.5Z").unwrap();
        Context { now, zone: Zone::named(zone).unwrap() }
    }

    #[test]
    fn reads_what_people_type() {
        let check = |text: &str, want: &str| {
            let got = instant(text, &context("Asia/Tokyo")).map(|t| t.to_string());
            assert_eq!(got.as_deref(), (!want.is_empty()).then_some(want), "{text}");
        };
        check("2026-03-01T09:00:00.123456789Z", "2026-03-01T09:00:00.123456789Z");
        check("2026-03-01T09:00:00+09:00", "2026-03-01T00:00:00Z");
        check("2026-03-01", "2026-02-28T15:00:00Z");
        check("2026-03-01 09:30", "2026-03-01T00:30:00Z");
        check("2026-03-01T09:30:15", "2026-03-01T00:30:15Z");
        check("now", "2026-03-02T03:04:05.500Z");
        check("now-15m", "2026-03-02T02:49:05.500Z");
        check("now - 1h30m", "2026-03-02T01:34:05.500Z");
        check("-15m", "2026-03-02T02:49:05.500Z");
        check("now+1d", "2026-03-03T03:04:05.500Z");
        check("today", "2026-03-01T15:00:00Z");
        check("Yesterday 17:30", "2026-03-01T08:30:00Z");
        check("yesterday", "2026-02-28T15:00:00Z");
        check("5:30", "2026-03-01T20:30:00Z");
        check("1772355600", "2026-03-01T09:00:00Z");
        check("1772355600.25", "2026-03-01T09:00:00.250Z");
        check("1772355600123", "2026-03-01T09:00:00.123Z");
        check("1772355600123456", "2026-03-01T09:00:00.123456Z");
        check("1772355600123456789", "2026-03-01T09:00:00.123456789Z");
        for wrong in
            ["", "soon", "-", "-15", "now-", "2026", "25:00", "yesterdayx", "2026-13-01", "1.2.3"]
        {
            check(wrong, "");
        }
    }

    #[test]
    fn spans_add_up() {
        let check = |text: &str, want: Option<i64>| assert_eq!(span(text), want, "{text}");
        check("90s", Some(90 * SECOND));
        check("1h30m", Some(5_400 * SECOND));
        check("1.5d", Some(DAY + DAY / 2));
        check("500ms", Some(SECOND / 2));
        check("2w", Some(14 * DAY));
        for wrong in ["", "5", "h", "5x", "5m5", "99999999999999999999d", "-5m"] {
            check(wrong, None);
        }
    }

    #[test]
    fn a_day_ends_where_the_next_begins() {
        // The clocks of Berlin go forward on 2026-03-29: 23 hours.
        let (from, to) = day("2026-03-29", &context("Europe/Berlin")).unwrap();
        assert_eq!(to.0 - from.0, 23 * 3_600 * SECOND);
        assert_eq!(day("2026-03-29 10:00", &context("UTC")), None);
    }
}
