//! The histogram as a drawing: counts over time become bars in percent of the width and height,
//! so that the server draws it once for every screen and no style stands in the markup.

use std::fmt::Write as _;

use crate::base::record::Severity;
use crate::base::time::{Timestamp, Zone};
use crate::query::Histogram;

use super::address::{Address, condition};
use super::words::{Lang, grouped};

/// Four bands of gravity; the order is that of the stack, from the ground up.
const BANDS: [&str; 4] = ["bar-error", "bar-warning", "bar-info", "bar-debug"];

/// Least height of a band that has anything at all, percent: one error among thousands is seen.
const LEAST_PERCENT: f64 = 3.5;

/// Most labels below the bars.
const TICKS_MAX: i64 = 9;

/// A drawing.
#[derive(Debug, Default)]
pub(super) struct Chart {
    /// Oldest first.
    pub(super) bars: Vec<Bar>,
    /// Labels of the axis.
    pub(super) ticks: Vec<Tick>,
    /// Its first instant and the one behind its last, milliseconds since the epoch.
    pub(super) from_ms: i64,
    /// See `from_ms`.
    pub(super) to_ms: i64,
}

/// One stretch of time.
#[derive(Debug)]
pub(super) struct Bar {
    pub(super) href: String,
    pub(super) title: String,
    /// Left edge and width, percent.
    pub(super) x: String,
    pub(super) step: String,
    pub(super) width: String,
    pub(super) bands: Vec<Band>,
}

/// What of a bar has one gravity.
#[derive(Debug, PartialEq)]
pub(super) struct Band {
    pub(super) class: &'static str,
    /// Upper edge and height, percent.
    pub(super) y: String,
    pub(super) height: String,
}

/// A label of the axis.
#[derive(Debug, PartialEq)]
pub(super) struct Tick {
    pub(super) x: String,
    pub(super) anchor: &'static str,
    pub(super) text: String,
}

/// One severity and how often it is there.
#[derive(Debug, PartialEq)]
pub(super) struct Share {
    pub(super) class: &'static str,
    pub(super) name: String,
    pub(super) count: String,
    pub(super) href: String,
}

fn band(severity: Option<Severity>) -> usize {
    match severity {
        Some(s) if s <= Severity::Error => 0,
        Some(Severity::Warning) => 1,
        Some(Severity::Debug | Severity::Trace) => 3,
        _ => 2,
    }
}

fn severity(name: &str) -> Option<Severity> {
    Severity::ALL.into_iter().find(|s| s.name() == name)
}

fn percent(x: f64) -> String {
    format!("{:.3}%", x.clamp(0.0, 100.0))
}

#[expect(clippy::cast_precision_loss, reason = "a drawing has no more than three digits")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// Draws `histogram` (by severity).
pub(super) fn chart(histogram: &Histogram, address: &Address, zone: &Zone, l: Lang) -> Chart {
    let n = histogram.buckets.len() as u64;
    let tallest = histogram.buckets.iter().map(|b| b.count).max().unwrap_or(0);
    let interval = i64::try_from(histogram.interval_ms).unwrap_or(i64::MAX).max(1);
    let Some(first) = histogram.buckets.first() else {
        return Chart::default();
    };
    let from_ms = first.time.millis();
    let end = |at: Timestamp| Timestamp(at.0.saturating_add(interval.saturating_mul(1_000_000)));
    let to_ms = histogram.buckets.last().map_or(from_ms, |b| end(b.time).millis());

    let mut bars = Vec::with_capacity(histogram.buckets.len());
    for (at, bucket) in (0_u64..).zip(&histogram.buckets) {
        let mut counts = [0_u64; BANDS.len()];
        let mut title = format!(
            "{} – {}\n{} {}",
            clock(bucket.time, zone, interval),
            clock(end(bucket.time), zone, interval),
            grouped(bucket.count),
            l.t(if bucket.count == 1 { "line" } else { "lines" }, "行"),
        );
        for (name, count) in by_gravity(&bucket.by) {
            if let Some(sum) = counts.get_mut(band(severity(name))) {
                *sum += count;
            }
            write!(title, "\n{} {}", label(name, l), grouped(count)).unwrap_or_default();
        }
        bars.push(Bar {
            href: address.over(stamp(bucket.time, zone), stamp(end(bucket.time), zone)).href(),
            title,
            x: percent(ratio(at, n) * 100.0),
            step: percent(ratio(1, n) * 100.0),
            width: percent(ratio(1, n) * if n > 120 { 100.0 } else { 87.0 }),
            bands: stack(counts, tallest),
        });
    }
    Chart { bars, ticks: ticks(from_ms, to_ms, zone, l), from_ms, to_ms }
}

fn stack(counts: [u64; BANDS.len()], tallest: u64) -> Vec<Band> {
    let mut top = 100.0;
    let mut bands = Vec::new();
    for (class, count) in BANDS.into_iter().zip(counts) {
        if count == 0 {
            continue;
        }
        let height = (ratio(count, tallest) * 100.0).max(LEAST_PERCENT).min(top);
        top -= height;
        bands.push(Band { class, y: percent(top), height: percent(height) });
    }
    bands
}

/// Counts per severity over the whole answer, gravest first, each a link that keeps only these.
pub(super) fn legend(histogram: &Histogram, address: &Address, l: Lang) -> Vec<Share> {
    let mut sums: Vec<(&str, u64)> = Vec::new();
    for (name, count) in histogram.buckets.iter().flat_map(|b| &b.by) {
        match sums.iter_mut().find(|(n, _)| n == name) {
            Some((_, sum)) => *sum += count,
            None => sums.push((name, *count)),
        }
    }
    let sums: Vec<(String, u64)> = sums.into_iter().map(|(n, c)| (n.to_owned(), c)).collect();
    by_gravity(&sums)
        .map(|(name, count)| {
            let severity = severity(name);
            let term = severity
                .map_or_else(|| "-severity:*".to_owned(), |s| condition("severity", s.name()));
            Share {
                class: BANDS.get(band(severity)).copied().unwrap_or_default(),
                name: label(name, l),
                count: grouped(count),
                href: address.adding(&term).href(),
            }
        })
        .collect()
}

/// Gravest first; those without a severity last; empty ones not at all.
fn by_gravity(by: &[(String, u64)]) -> impl Iterator<Item = (&str, u64)> {
    let mut sorted: Vec<(&str, u64)> =
        by.iter().filter(|(_, n)| *n > 0).map(|(s, n)| (s.as_str(), *n)).collect();
    sorted.sort_by_key(|(name, _)| severity(name).map_or(u8::MAX, |s| s as u8));
    sorted.into_iter()
}

fn label(name: &str, l: Lang) -> String {
    match severity(name) {
        Some(severity) => severity.name().to_owned(),
        None => l.t("no severity", "重大度なし").to_owned(),
    }
}

/// An instant as an address says it: exact, and readable in the field that it comes back in.
pub(super) fn stamp(at: Timestamp, zone: &Zone) -> String {
    let at = at.in_zone(zone);
    let fraction = if at.subsec_nanosecond() == 0 { "" } else { "%.3f" };
    if at.offset().is_zero() {
        at.strftime(&format!("%Y-%m-%dT%H:%M:%S{fraction}Z")).to_string()
    } else {
        at.strftime(&format!("%Y-%m-%dT%H:%M:%S{fraction}%:z")).to_string()
    }
}

/// An instant as precise as steps of `step_ms` need.
fn clock(at: Timestamp, zone: &Zone, step_ms: i64) -> String {
    let format = match step_ms {
        ..1_000 => "%H:%M:%S%.3f",
        1_000..60_000 => "%H:%M:%S",
        60_000..86_400_000 => "%m-%d %H:%M",
        _ => "%Y-%m-%d",
    };
    at.in_zone(zone).strftime(format).to_string()
}

const STEPS_MS: [i64; 25] = [
    100,
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    30_000,
    60_000,
    120_000,
    300_000,
    600_000,
    900_000,
    1_800_000,
    3_600_000,
    7_200_000,
    10_800_000,
    21_600_000,
    43_200_000,
    86_400_000,
    172_800_000,
    604_800_000,
    1_209_600_000,
    2_592_000_000,
    7_776_000_000,
    31_536_000_000,
];

fn ticks(from_ms: i64, to_ms: i64, zone: &Zone, l: Lang) -> Vec<Tick> {
    let span = to_ms.saturating_sub(from_ms).max(1);
    let step = STEPS_MS
        .into_iter()
        .find(|step| span / step <= TICKS_MAX)
        .unwrap_or_else(|| span / TICKS_MAX + 1);
    let at_ms = |ms: i64| Timestamp(ms.saturating_mul(1_000_000)).in_zone(zone);
    let offset = i64::from(at_ms(from_ms).offset().seconds()) * 1_000;
    let mut at = from_ms + (step - (from_ms + offset).rem_euclid(step)) % step;
    let mut ticks = Vec::new();
    while at < to_ms {
        #[expect(clippy::cast_precision_loss, reason = "a drawing has no more than three digits")]
        let x = (at - from_ms) as f64 / span as f64 * 100.0;
        let shown = at_ms(at);
        let midnight = shown.hour() == 0 && shown.minute() == 0 && shown.second() == 0;
        let format = match step {
            ..1_000 => "%H:%M:%S%.1f",
            1_000..60_000 => "%H:%M:%S",
            60_000..86_400_000 if !midnight => "%H:%M",
            60_000..2_592_000_000 => l.t("%b %-d", "%-m/%-d"),
            _ => "%Y-%m",
        };
        let anchor = match x {
            ..2.0 => "start",
            98.0.. => "end",
            _ => "middle",
        };
        ticks.push(Tick { x: percent(x), anchor, text: shown.strftime(format).to_string() });
        at += step;
    }
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Bucket;

    fn histogram() -> Histogram {
        let bucket = |minute: i64, by: &[(&str, u64)]| Bucket {
            time: Timestamp(1_772_355_600_000_000_000 + minute * 60_000_000_000),
            count: by.iter().map(|(_, n)| n).sum(),
            by: by.iter().map(|(s, n)| ((*s).to_owned(), *n)).collect(),
        };
        let buckets = vec![
            bucket(0, &[("info", 990), ("error", 10)]),
            bucket(1, &[]),
            bucket(2, &[("warning", 100), ("debug", 100), ("", 300)]),
            bucket(3, &[("crit", 1), ("info", 999)]),
        ];
        Histogram { interval_ms: 60_000, total: 2_500, buckets }
    }

    #[test]
    fn bands_stand_on_each_other_and_the_rare_is_seen() {
        let chart = chart(&histogram(), &Address::default(), &Zone::utc(), Lang::En);
        assert_eq!(chart.to_ms - chart.from_ms, 240_000);
        let classes =
            |n: usize| -> Vec<&str> { chart.bars[n].bands.iter().map(|b| b.class).collect() };
        assert_eq!(classes(0), ["bar-error", "bar-info"]);
        assert_eq!(classes(1), Vec::<&str>::new());
        assert_eq!(classes(2), ["bar-warning", "bar-info", "bar-debug"]);
        assert_eq!(chart.bars[3].bands[0].height, "3.500%");
        assert_eq!(chart.bars[3].bands[1].y, "0.000%");
        assert_eq!(chart.bars[2].x, "50.000%");
        assert!(chart.bars[0].title.ends_with("1,000 lines\nerror 10\ninfo 990"));
        assert_eq!(chart.bars[1].href, "/?from=2026-03-01T09:01:00Z&to=2026-03-01T09:02:00Z");
    }

    #[test]
    fn the_legend_sums_and_links() {
        let shares = legend(&histogram(), &Address::default(), Lang::En);
        let said: Vec<(&str, &str, &str)> =
            shares.iter().map(|s| (&*s.name, &*s.count, &*s.href)).collect();
        assert_eq!(
            said,
            [
                ("crit", "1", "/?q=severity:crit"),
                ("error", "10", "/?q=severity:error"),
                ("warning", "100", "/?q=severity:warning"),
                ("info", "1,989", "/?q=severity:info"),
                ("debug", "100", "/?q=severity:debug"),
                ("no severity", "300", "/?q=-severity:*"),
            ]
        );
    }

    #[test]
    fn ticks_are_round_on_the_clocks_of_the_zone() {
        let tokyo = Zone::named("Asia/Tokyo").unwrap();
        let texts = |from: i64, to: i64| -> Vec<String> {
            ticks(from, to, &tokyo, Lang::En).into_iter().map(|t| t.text).collect()
        };
        // 2026-03-01 18:00:30 in Tokyo, a quarter of an hour.
        let from = 1_772_355_630_000;
        assert_eq!(
            texts(from, from + 900_000),
            ["18:02", "18:04", "18:06", "18:08", "18:10", "18:12", "18:14"]
        );
        assert_eq!(
            texts(from, from + 43_200_000),
            ["20:00", "22:00", "Mar 2", "02:00", "04:00", "06:00"]
        );
        assert_eq!(texts(from, from + 6 * 86_400_000).first().map(String::as_str), Some("Mar 2"));
    }
}
