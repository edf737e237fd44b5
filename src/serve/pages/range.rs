//! The range of a page: in words for the header, and the ranges beside it as links.

use crate::base::time::{TimeRange, Timestamp, Zone};

use super::Reader;
use super::address::Address;
use super::chart::stamp;
use super::words::Lang;

/// What `from` says for everything that is kept.
pub(super) const ALL: &str = "all";

/// Where neither the address nor the query says a range: this, if anything is found in it.
pub(super) const USUAL: &str = "-1h";

/// Length of [`USUAL`].
pub(super) const USUAL_NANOS: i64 = 3_600_000_000_000;

const QUICK: [&str; 9] = ["-5m", "-15m", "-1h", "-6h", "-24h", "-7d", "-30d", "today", ALL];

/// The header's part about time.
#[derive(Debug, Default)]
pub(super) struct RangeView {
    /// In words, or the range itself.
    pub(super) label: String,
    /// On the clock, where the label is words.
    pub(super) span: String,
    pub(super) earlier: Option<String>,
    pub(super) later: Option<String>,
    pub(super) quick: Vec<Quick>,
    /// As typed.
    pub(super) from: String,
    pub(super) to: String,
    pub(super) tz: String,
}

/// A range to jump to.
#[derive(Debug)]
pub(super) struct Quick {
    pub(super) label: String,
    pub(super) href: String,
    pub(super) current: bool,
}

impl RangeView {
    /// Of an address that was not asked (yet).
    pub(super) fn of(address: &Address, reader: &Reader) -> Self {
        let l = reader.l;
        let label = in_words(&address.from, &address.to, l)
            .unwrap_or_else(|| l.t("time range", "期間").to_owned());
        let quick = QUICK.into_iter().map(|from| Quick {
            label: in_words(from, "", l).unwrap_or_default(),
            href: address.over(from, "").href(),
            current: address.from == from && address.to.is_empty(),
        });
        Self {
            label,
            quick: quick.collect(),
            from: if address.from == ALL { String::new() } else { address.from.clone() },
            to: address.to.clone(),
            tz: address.tz.clone(),
            ..Self::default()
        }
    }

    /// Of an address that was asked: `range` is what was looked at, at the instant `now`.
    pub(super) fn resolved(
        address: &Address,
        reader: &Reader,
        range: TimeRange,
        now: Timestamp,
    ) -> Self {
        let mut view = Self::of(address, reader);
        if range.from == Timestamp::MIN {
            if range.to == Timestamp::MAX {
                view.label = in_words(ALL, "", reader.l).unwrap_or_default();
            } else {
                let to = range.to.in_zone(&reader.zone).strftime("%Y-%m-%d %H:%M:%S %Z");
                view.label = reader.l.t(format!("until {to}"), format!("{to} まで"));
            }
            return view;
        }
        let to = if range.to == Timestamp::MAX { now } else { range.to };
        let span = span(range.from, to, now, &reader.zone);
        match in_words(&address.from, &address.to, reader.l) {
            Some(_) => view.span = span,
            None => view.label = span,
        }
        let width = to.0.saturating_sub(range.from.0).max(1);
        let at = |nanos: i64| stamp(Timestamp(nanos).floor_to_millis(), &reader.zone);
        let shifted = |by: i64| {
            let (from, to) = (range.from.0.saturating_add(by), to.0.saturating_add(by));
            address.over(at(from), at(to)).href()
        };
        view.earlier = Some(shifted(-width));
        view.later = (to < now).then(|| shifted(width));
        view
    }
}

fn in_words(from: &str, to: &str, l: Lang) -> Option<String> {
    if !to.is_empty() && to != "now" {
        return None;
    }
    match from {
        ALL => return Some(l.t("everything", "全期間").to_owned()),
        "today" => return Some(l.t("today", "今日").to_owned()),
        "yesterday" => return Some(l.t("since yesterday", "昨日から").to_owned()),
        _ => {}
    }
    let length = from.strip_prefix("now").unwrap_or(from).strip_prefix('-')?;
    let unit = length.chars().last()?;
    let n: u64 = length.strip_suffix(unit)?.parse().ok()?;
    let (one, many, ja) = match unit {
        's' => ("second", "seconds", "秒"),
        'm' => ("minute", "minutes", "分"),
        'h' => ("hour", "hours", "時間"),
        'd' => ("day", "days", "日"),
        'w' => ("week", "weeks", "週間"),
        _ => return None,
    };
    Some(match (l, n) {
        (Lang::Ja, n) => format!("直近 {n} {ja}"),
        (Lang::En, 1) => format!("last {one}"),
        (Lang::En, n) => format!("last {n} {many}"),
    })
}

/// On the clock, as short as it can be said: the day only where it is not today.
fn span(from: Timestamp, to: Timestamp, now: Timestamp, zone: &Zone) -> String {
    let (from, to, now) = (from.in_zone(zone), to.in_zone(zone), now.in_zone(zone));
    let seconds = from.second() != 0 || to.second() != 0;
    let time = if seconds { "%H:%M:%S" } else { "%H:%M" };
    let day =
        if from.year() == now.year() && to.year() == now.year() { "%m-%d " } else { "%Y-%m-%d " };
    let same_day = from.date() == to.date();
    let first = if same_day && from.date() == now.date() { "" } else { day };
    let second = if same_day { "" } else { day };
    format!(
        "{} – {}",
        from.strftime(&format!("{first}{time}")),
        to.strftime(&format!("{second}{time} %Z"))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_said_in_words() {
        for (from, to, want) in [
            ("-15m", "", Some("last 15 minutes")),
            ("-1h", "now", Some("last hour")),
            ("now-7d", "", Some("last 7 days")),
            ("all", "", Some("everything")),
            ("today", "", Some("today")),
            ("-15m", "-5m", None),
            ("2026-03-01", "", None),
            ("-", "", None),
            ("-調", "", None),
            ("", "", None),
        ] {
            assert_eq!(in_words(from, to, Lang::En).as_deref(), want, "{from}");
        }
    }

    #[test]
    fn spans_say_the_day_only_where_it_is_needed() {
        let zone = Zone::named("Asia/Tokyo").unwrap();
        let at = |text: &str| Timestamp::parse_rfc3339(text).unwrap();
        let now = at("2026-03-01T18:00:00+09:00");
        for (from, to, want) in [
            ("2026-03-01T17:00:00+09:00", "2026-03-01T18:00:00+09:00", "17:00 – 18:00 JST"),
            ("2026-03-01T17:00:01+09:00", "2026-03-01T18:00:00+09:00", "17:00:01 – 18:00:00 JST"),
            (
                "2026-02-28T17:00:00+09:00",
                "2026-03-01T18:00:00+09:00",
                "02-28 17:00 – 03-01 18:00 JST",
            ),
            ("2026-02-28T17:00:00+09:00", "2026-02-28T18:00:00+09:00", "02-28 17:00 – 18:00 JST"),
            (
                "2024-02-28T17:00:00+09:00",
                "2024-02-28T18:00:00+09:00",
                "2024-02-28 17:00 – 18:00 JST",
            ),
        ] {
            assert_eq!(span(at(from), at(to), now, &zone), want);
        }
    }
}
