//! Budgets, histograms, highlights, and what pruning says of itself.

use std::sync::atomic::{AtomicU64, Ordering as Atomic};

use super::*;
use crate::base::error::Error;
use crate::base::limits;
use crate::codec::{ChunkMeta, Rows};
use crate::store::Chunk;

/// One step at every look.
struct Stepping(AtomicU64);

impl Clock for Stepping {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }
    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.0.fetch_add(1, Atomic::Relaxed))
    }
}

fn looks(many: u64) -> Budget {
    Budget {
        clock: Arc::new(Stepping(AtomicU64::new(0))),
        deadline: Some(Duration::from_secs(many)),
        cancelled: Arc::new(AtomicBool::new(false)),
    }
}

fn parse(text: &str) -> Query {
    Query::parse(text, &context()).unwrap()
}

/// 40 chunks of 5 records; neighbours overlap in time.
fn overlapping() -> Snapshot {
    let time = |chunk: i64, row: i64| (chunk * 3 + row * 2 % 5) * 1_000_000_000;
    snapshot(
        (0..40_i64)
            .map(|c| {
                let row =
                    |r: i64| record(u64::try_from(1 + c * 5 + r).unwrap(), time(c, r), "a line");
                (0..5).map(row).collect()
            })
            .collect(),
    )
}

#[test]
fn a_spent_budget_says_how_far_it_came_and_goes_on_there() {
    let snapshot = overlapping();
    for order in [Order::Asc, Order::Desc] {
        for text in ["line", "line nowhere:*", "-nowhere:x"] {
            let query = parse(text);
            let all =
                search(&snapshot, &query, TimeRange::ALL, order, 500, None, &budget()).unwrap();
            let want: Vec<u64> = all.value.records.iter().map(|r| r.id).collect();
            let (mut found, mut cursor, mut partial) = (Vec::new(), None, 0);
            for page in 0.. {
                assert!(page < 500, "no end");
                // Looking up names takes a look at each chunk.
                let some = looks(if text.starts_with('-') { 43 } else { 3 });
                let answer =
                    search(&snapshot, &query, TimeRange::ALL, order, 7, cursor, &some).unwrap();
                partial += usize::from(answer.partial.is_some());
                found.extend(answer.value.records.iter().map(|r| r.id));
                cursor = answer.value.next;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(found, want, "{text} {order:?}");
            assert!(partial > 0 || text == "line", "{text} {order:?}");
        }
    }
}

#[test]
fn a_spent_count_is_partial() {
    let snapshot = overlapping();
    let answer = count(&snapshot, &parse("line"), TimeRange::ALL, &looks(10)).unwrap();
    assert!(answer.value < 200);
    let why = answer.partial.unwrap();
    assert!(
        why.starts_with("the time budget of the query was spent: complete after 1970-"),
        "{why}"
    );
    let cancelled = budget();
    cancelled.cancelled.store(true, Atomic::Relaxed);
    let answer = count(&snapshot, &parse("line"), TimeRange::ALL, &cancelled).unwrap();
    assert_eq!(answer.value, 0);
    assert!(answer.partial.unwrap().starts_with("the query was cancelled"));
}

#[test]
fn the_newest_cost_what_they_cost() {
    let answer =
        search(&overlapping(), &parse("line"), TimeRange::ALL, Order::Desc, 4, None, &budget())
            .unwrap();
    assert_eq!(answer.value.records.iter().map(|r| r.id).collect::<Vec<_>>(), [198, 200, 197, 199]);
    assert!(answer.explain.scanned <= 3, "{:?}", answer.explain);
    assert_eq!(answer.explain.chunks, 40);
    let answer = count(&overlapping(), &parse("id:77"), TimeRange::ALL, &budget()).unwrap();
    assert_eq!((answer.value, answer.explain.scanned), (1, 1));
    let answer = count(&overlapping(), &parse(""), TimeRange::ALL, &budget()).unwrap();
    assert_eq!((answer.value, answer.explain.scanned), (200, 0));
}

/// A name means what the records of the time asked make it mean, not others.
#[test]
fn names_are_looked_up_in_the_range_asked() {
    let mut with = record(1, 10, "a");
    with.fields = vec![field("foo", Value::str("bar"))];
    let records = vec![with, record(2, 20, "foo:bar"), record(3, 30, "b")];
    for groups in [vec![records.clone()], records.iter().map(|r| vec![r.clone()]).collect()] {
        let snapshot = snapshot(groups);
        let ids = |from: i64| -> Vec<u64> {
            let range = TimeRange { from: Timestamp(from), to: Timestamp::MAX };
            let page = search(&snapshot, &parse("foo:bar"), range, Order::Asc, 9, None, &budget());
            page.unwrap().value.records.iter().map(|r| r.id).collect()
        };
        assert_eq!(ids(0), [1]);
        assert_eq!(ids(15), [2]);
    }
    let live = parse("foo:bar");
    assert_eq!(records.iter().map(|r| live.matches(r)).collect::<Vec<_>>(), [true, true, false]);
}

#[test]
fn highlights_mark_what_was_found() {
    let check = |query: &str, text: &str, want: &[&str]| {
        let places = parse(query).highlights(text);
        let got: Vec<&str> = places.iter().filter_map(|p| text.get(p.clone())).collect();
        assert_eq!(got, want, "{query}");
        assert!(places.windows(2).all(|p| p[0].end < p[1].start), "{query}");
    };
    check("error", "Error: an ERROR", &["Error", "ERROR"]);
    check("error -an", "Error: an ERROR", &["Error", "ERROR"]);
    check("fine", "so ﬁne", &["ﬁne"]);
    check("ガラス", "ｶﾞﾗｽ とガラス", &["ｶﾞﾗｽ", "ガラス"]);
    check("abc bcd", "xabcdx", &["abcd"]);
    check("/e+/ OR 'E'", "Eee x", &["Eee"]);
    check("t*t a", "time is out\nta t", &["time is out", "ta t"]);
    check("word:is", "this is", &["is"]);
    check("message~\"a b\" message~/c/", "a b c", &["a b", "c"]);
    check("12:30", "at 12:30", &["12:30"]);
    check("host:web-1 \"\"", "web-1", &[]);
}

fn edges(zone: &str, from: &str, to: &str, buckets: &Buckets) -> (u64, Vec<String>) {
    let context = Context { zone: Zone::named(zone).unwrap(), ..context() };
    let at = |text: &str| parse_time(text, &context).unwrap();
    let range = TimeRange { from: at(from), to: at(to) };
    let snapshot = snapshot(vec![vec![record(1, range.from.0, "a")]]);
    let got =
        histogram(&snapshot, &parse("a"), range, buckets, None, &context, &budget()).unwrap().value;
    assert_eq!((got.total, got.buckets[0].count), (1, 1));
    let local = |b: &Bucket| b.time.in_zone(&context.zone).strftime("%m-%d %H:%M").to_string();
    (got.interval_ms, got.buckets.iter().map(local).collect())
}

#[test]
fn buckets_are_round_on_the_clocks_of_the_zone() {
    let hours = |n: u64| Buckets::Every(Duration::from_secs(3_600 * n));
    let (_, days) = edges("Asia/Tokyo", "2026-03-01 05:00", "2026-03-03 00:00", &hours(24));
    assert_eq!(days, ["03-01 00:00", "03-02 00:00"]);
    // Berlin puts its clocks forward on 03-29 and back on 10-25.
    let (_, spring) = edges("Europe/Berlin", "2026-03-29", "2026-03-29 13:00", &hours(3));
    assert_eq!(spring, ["03-29 00:00", "03-29 03:00", "03-29 06:00", "03-29 09:00", "03-29 12:00"]);
    let (_, autumn) = edges("Europe/Berlin", "2026-10-24 12:00", "2026-10-27", &hours(24));
    assert_eq!(autumn, ["10-24 00:00", "10-25 00:00", "10-26 00:00"]);
    let (_, autumn) = edges("Europe/Berlin", "2026-10-25 01:00", "2026-10-25 04:00", &hours(1));
    assert_eq!(autumn, ["10-25 01:00", "10-25 02:00", "10-25 02:00", "10-25 03:00"]);
}

#[test]
fn about_so_many_buckets_have_a_round_width() {
    let check = |from: &str, to: &str, want_ms: u64, want: usize| {
        let (width, edges) = edges("UTC", from, to, &Buckets::About(60));
        assert_eq!((width, edges.len()), (want_ms, want), "{from} {to}");
    };
    check("2026-03-01", "2026-03-01 01:00", 60_000, 60);
    check("2026-03-01", "2026-03-01 00:15", 15_000, 60);
    check("2026-03-01", "2026-03-02", 1_800_000, 48);
    check("2026-03-01", "2026-03-08", 10_800_000, 56);
    check("2026-03-01 00:00:00", "2026-03-01 00:00:01", 20, 50);
    check("2026-01-01", "2027-01-01", 604_800_000, 53);
}

#[test]
fn histograms_are_bounded() {
    let snapshot = snapshot(vec![vec![record(1, 0, "a"), record(2, i64::MAX, "a")]]);
    let ask = |buckets: &Buckets| {
        histogram(&snapshot, &parse(""), TimeRange::ALL, buckets, None, &context(), &budget())
    };
    assert!(ask(&Buckets::Every(Duration::from_secs(1))).is_err());
    assert!(ask(&Buckets::Every(Duration::ZERO)).is_err());
    assert!(ask(&Buckets::Every(Duration::MAX)).is_err());
    let whole = ask(&Buckets::About(usize::MAX)).unwrap().value;
    assert_eq!(whole.total, 2);
    assert!(ask(&Buckets::About(0)).unwrap().value.buckets.len() <= 4);
    let empty = histogram(
        &Snapshot::new(Vec::new()),
        &parse(""),
        TimeRange::ALL,
        &Buckets::About(60),
        None,
        &context(),
        &budget(),
    );
    assert!(empty.unwrap().value.buckets.is_empty());
}

#[test]
fn the_ten_most_frequent_have_names() {
    let mut records = Vec::new();
    for n in 0..60_u64 {
        let mut made = record(n + 1, 0, "a");
        made.host = format!("h{:02}", n % 15).as_str().into();
        made.severity = Severity::from_code(u8::try_from(n % 10).unwrap());
        records.push(made);
    }
    let snapshot = snapshot(vec![records]);
    let by = |name: &str| -> Vec<(String, u64)> {
        let about = Buckets::About(60);
        let range = TimeRange::ALL;
        histogram(&snapshot, &parse("a"), range, &about, Some(name), &context(), &budget())
            .unwrap()
            .value
            .buckets
            .remove(0)
            .by
    };
    let hosts = by("host");
    assert_eq!(hosts.len(), 11);
    assert_eq!(hosts[0], ("h00".to_owned(), 4));
    assert_eq!(hosts[10], ("other".to_owned(), 20));
    let severities: Vec<String> = by("severity").into_iter().map(|s| s.0).collect();
    let names: Vec<&str> = Severity::ALL.iter().map(|s| s.name()).chain(["-"]).collect();
    assert_eq!(severities, names);
    assert_eq!(by("level"), by("severity"));
    assert_eq!(by("nowhere"), [("-".to_owned(), 60)]);
}

/// Their matches weigh more than an answer may.
#[test]
fn a_page_of_huge_records_ends_early_and_its_cursor_goes_on() {
    let text = "x".repeat(limits::LINE_BYTES_MAX);
    let all: Vec<Record> = (1..=140_u64).map(|n| record(n, 7, &text)).collect();
    let snapshot = snapshot(vec![all]);
    let query = Query::parse("", &context()).unwrap();
    for order in [Order::Asc, Order::Desc] {
        let (mut found, mut cursor, mut pages) = (Vec::new(), None, 0);
        loop {
            let range = TimeRange::ALL;
            let page = search(&snapshot, &query, range, order, 1_000, cursor, &budget()).unwrap();
            let weight: usize = page.value.records.iter().map(|r| r.weight()).sum();
            assert!(weight <= limits::ANSWER_BYTES_MAX, "{weight}");
            found.extend(page.value.records.iter().map(|r| r.id));
            pages += 1;
            cursor = page.value.next;
            if cursor.is_none() {
                break;
            }
        }
        let mut rising: Vec<u64> = (1..=140).collect();
        if order == Order::Desc {
            rising.reverse();
        }
        assert_eq!((found, pages), (rising, 3));
    }
}

/// A chunk of a segment that does not read any more.
struct Broken(Live, AtomicBool);

impl Chunk for Broken {
    fn meta(&self) -> &ChunkMeta {
        self.0.meta()
    }
    fn may_hold(&self, _: &crate::store::Key) -> Result<bool> {
        Ok(true)
    }
    fn rows(&self) -> Result<Arc<dyn Rows>> {
        let error = Err(Error::corrupt("a segment", "a checksum is wrong"));
        error.inspect_err(|error| self.distrust(error))
    }
    fn distrust(&self, _: &Error) {
        self.1.store(true, Atomic::Relaxed);
    }
    fn is_damaged(&self) -> bool {
        self.1.load(Atomic::Relaxed)
    }
}

#[test]
fn damage_costs_what_is_damaged_and_is_said() {
    let live = |ids: std::ops::Range<u64>| {
        let each = ids.map(|id| Arc::new(record(id, 1_000_000_000 * id.cast_signed(), "line")));
        Live(LiveChunk::new(each.collect()).unwrap())
    };
    let snapshot = || {
        let broken = Broken(live(10..20), AtomicBool::new(false));
        Snapshot::new(vec![Arc::new(live(1..10)), Arc::new(broken), Arc::new(live(20..30))])
    };
    let want = "10 records from 1970-01-01T00:00:10Z to 1970-01-01T00:00:19Z are damaged and \
                were left out";
    let query = parse("line");
    let counted = count(&snapshot(), &query, TimeRange::ALL, &budget()).unwrap();
    assert_eq!((counted.value, counted.partial.as_deref()), (19, Some(want)));
    let page = search(&snapshot(), &query, TimeRange::ALL, Order::Desc, 12, None, &budget());
    let page = page.unwrap();
    let ids: Vec<u64> = page.value.records.iter().map(|r| r.id).collect();
    assert_eq!(ids, [29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 9, 8]);
    assert_eq!(page.partial.as_deref(), Some(want));
    // What is damaged elsewhere makes no answer partial.
    let range = TimeRange { from: Timestamp(20_000_000_000), to: Timestamp::MAX };
    let counted = count(&snapshot(), &query, range, &budget()).unwrap();
    assert_eq!((counted.value, counted.partial), (10, None));
}
