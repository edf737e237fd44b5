//! The question of a page, asked: which range was meant, which lines are there, how many and when;
//! laid out as the viewer shows it.

use std::sync::Arc;

use axum::http::StatusCode;

use crate::base::error::Refusal;
use crate::base::limits::{PAGE_BARS, PAGE_LINES};
use crate::base::metrics::{Counter, Metrics};
use crate::base::record::{INTERNAL, Record};
use crate::base::size::Size;
use crate::base::time::{TimeRange, Timestamp};
use crate::query::{self, Buckets, Budget, Cursor, Histogram, Order};
use crate::reply::Problem;
use crate::serve::State;
use crate::serve::params::{Params, Question, cursor_text};
use crate::serve::record_json::RecordJson;
use crate::store::{Snapshot, Status};

use super::address::Address;
use super::range::{self, RangeView};
use super::rows::Detail;
use super::words::{Lang, grouped, length};
use super::{Ask, Foot, Future, Live, Nothing, Page, Reader, Scene, Viewer, Way, Wrong, chart};

/// How far behind now a clock that is merely not ours may be ahead, nanoseconds.
const SOON_NANOS: i64 = 60_000_000_000;

/// What was found.
struct Found {
    question: Question,
    /// What was looked at.
    range: TimeRange,
    /// Nobody said when, and the usual range was taken.
    is_usual: bool,
    records: Vec<Arc<Record>>,
    /// A line that is open and stands on another page.
    pinned: Option<Arc<Record>>,
    pages: Vec<Page>,
    histogram: Histogram,
    /// Lines that lie behind the end of the histogram.
    future: u64,
    /// Of all records, when the last came.
    newest: Option<Timestamp>,
    partial: Option<String>,
    /// The newest line that the question finds at any time; asked for where it finds none.
    elsewhere: Option<Arc<Record>>,
}

/// The viewer's page, and its status: 400 where the question does not read.
pub(super) async fn viewer(
    state: &State,
    address: Address,
    reader: &Reader,
) -> Result<(StatusCode, Viewer), Problem> {
    let began = state.clock.monotonic();
    let now = state.clock.now();
    let metrics = Arc::clone(&state.metrics);
    let clock = Arc::clone(&state.clock);
    let store = Arc::clone(&state.store);
    let reader = reader.clone();
    state
        .ask(move |snapshot, budget| {
            let (status, mut viewer) = match look(snapshot, budget, &address, &reader, now) {
                Ok(found) => (StatusCode::OK, lay_out(&found, &address, &reader)),
                Err(problem) if problem.status() == StatusCode::BAD_REQUEST => {
                    (StatusCode::BAD_REQUEST, unread(&problem, &address, &reader))
                }
                Err(problem) => return Err(problem),
            };
            let l = reader.l;
            let took = clock.monotonic().saturating_sub(began).as_millis();
            viewer.foot.took = format!("{took} ms");
            let dropped = lost_by_senders(&metrics);
            viewer.foot.lost = dropped > 0;
            viewer.foot.dropped = if dropped == 0 {
                l.t("nothing dropped", "欠落なし").to_owned()
            } else {
                format!("{} {}", grouped(dropped), l.t("dropped", "行が欠落"))
            };
            viewer.foot.trouble = trouble(&store.status(), l);
            let gone = metrics.total(Counter::RetentionRecords);
            viewer.foot.gone = (gone > 0).then(|| {
                let n = grouped(gone);
                l.t(format!("retention took {n}"), format!("保持期限・容量で {n} 行を削除"))
            });
            viewer.foot.lang_href = address.speaking(l.t("ja", "en")).href();
            Ok((status, viewer))
        })
        .await
}

/// Records that senders cannot send again. What the program says of itself stands on standard error
/// all the same.
fn lost_by_senders(metrics: &Metrics) -> u64 {
    let dropped = metrics.each(Counter::Dropped).into_iter();
    let of_senders = dropped.filter(|(labels, _)| labels.first().is_none_or(|l| l != INTERNAL));
    of_senders.map(|(_, n)| n).sum::<u64>() + metrics.total(Counter::UdpKernelDrops)
}

/// What keeps records from coming in, or from going when their time is over.
fn trouble(status: &Status, l: Lang) -> Option<String> {
    if status.poisoned {
        let failed = l
            .t("a sync failed: nothing is taken until a restart", "同期に失敗：再起動まで受信停止");
        return Some(failed.to_owned());
    }
    let text = match status.refusing {
        Some(Refusal::BelowFloor { free, floor }) => {
            let (free, floor) = (Size(free), Size(floor));
            return Some(l.t(
                format!("{free} free, storage.min_free is {floor}: nothing is taken"),
                format!("空き {free}、storage.min_free は {floor}：受信停止中"),
            ));
        }
        Some(Refusal::DiskFull) => {
            l.t("the disk is full: nothing is taken", "ディスク満杯：受信停止中")
        }
        Some(_) => l.t("nothing is taken just now", "受信を一時停止中"),
        None if status.clock_doubted => l.t(
            "the clock has leapt: ages count as before",
            "時計が飛びました：保持期限は以前の時刻で計算",
        ),
        None => return None,
    };
    Some(text.to_owned())
}

/// One record, opened on a page of its own; its title.
pub(super) async fn record(
    state: &State,
    id: &str,
    address: &Address,
    reader: &Reader,
) -> Result<(String, Detail), Problem> {
    let missing = Problem::not_found(format!(
        "record {}: there never was one, or its time is over",
        id.chars().take(30).collect::<String>()
    ));
    let Ok(number) = id.parse::<u64>() else { return Err(missing) };
    let (address, reader, now) = (address.clone(), reader.clone(), state.clock.now());
    let found = state
        .ask(move |snapshot, _| {
            let Some(record) = snapshot.record(number)? else { return Ok(None) };
            let asked = Params::new(vec![("q".to_owned(), address.q.clone())])?;
            // A question that does not read marks nothing; the record is there all the same.
            let query = match asked.question(now, &reader.zone) {
                Ok(question) => question.query,
                Err(_) => Params::default().question(now, &reader.zone)?.query,
            };
            let mark = |text: &str| query.highlights(text);
            let scene = Scene { address: &address, mark: &mark, zone: &reader.zone, l: reader.l };
            let title = format!(
                "{} · {} · {}",
                record.time.in_zone(&reader.zone).strftime("%Y-%m-%d %H:%M:%S%.3f"),
                record.host,
                record.app
            );
            Ok(Some((title, scene.detail(&record, pretty(&record), false))))
        })
        .await?;
    found.ok_or(missing)
}

fn pretty(record: &Record) -> String {
    serde_json::to_string_pretty(&RecordJson(record)).unwrap_or_default()
}

/// Reads the question of an address.
fn read(address: &Address, reader: &Reader, now: Timestamp) -> Result<Question, Problem> {
    let from = if address.from == range::ALL { "" } else { &address.from };
    let pairs = [
        ("q", &*address.q),
        ("from", from),
        ("to", &address.to),
        ("tz", &address.tz),
        ("cursor", &address.cursor),
    ];
    let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Params::new(pairs.to_vec())?.question(now, &reader.zone)
}

fn look(
    snapshot: &Snapshot,
    budget: &Budget,
    address: &Address,
    reader: &Reader,
    now: Timestamp,
) -> Result<Found, Problem> {
    let question = read(address, reader, now)?;
    let (query, now) = (&question.query, question.context.now);
    let mut partial = None;

    // Nobody said when: the last hour, or everything where that is empty.
    let mut range = question.range;
    let mut paged = address.clone();
    let mut is_usual = false;
    let unsaid = address.from.is_empty() && address.to.is_empty();
    if unsaid && query.range() == TimeRange::ALL {
        let usual = TimeRange {
            from: Timestamp(now.0.saturating_sub(range::USUAL_NANOS)),
            to: Timestamp::MAX,
        };
        let any = query::search(snapshot, query, usual, Order::Desc, 1, None, budget)?;
        if any.value.records.is_empty() && any.partial.is_none() {
            range::ALL.clone_into(&mut paged.from);
        } else {
            range::USUAL.clone_into(&mut paged.from);
            range = usual;
            is_usual = true;
        }
    }

    let range = range.and(query.range());
    let (records, pages) = lines(snapshot, budget, &question, range, &paged, reader, &mut partial)?;

    let soon = Timestamp(now.0.saturating_add(SOON_NANOS));
    let newest = snapshot.chunks().iter().map(|c| c.meta().max_time).max();
    let ahead = range.to == Timestamp::MAX && newest.is_some_and(|at| at >= soon);
    // Drawn up to now; everything that is kept only up to its newest line. What senders date into
    // the future would press all the rest into one bar: it is counted beside.
    let drawn = if ahead || (range.to == Timestamp::MAX && range.from != Timestamp::MIN) {
        TimeRange { to: soon, ..range }
    } else {
        range
    };
    let (buckets, by, context) = (Buckets::About(PAGE_BARS), Some("severity"), &question.context);
    let histogram = query::histogram(snapshot, query, drawn, &buckets, by, context, budget)?;
    partial = partial.or(histogram.partial);
    let mut histogram = histogram.value;
    while histogram.buckets.pop_if(|b| b.count == 0 && b.time > now).is_some() {}
    let mut future = 0;
    if ahead {
        let behind = TimeRange { from: soon.max(range.from), to: Timestamp::MAX };
        let count = query::count(snapshot, query, behind, budget)?;
        future = count.value;
        partial = partial.or(count.partial);
    }

    let newest = match snapshot.last_id() {
        Some(id) => snapshot.record(id)?.map(|record| record.received),
        None => None,
    };
    let open = address.open.parse::<u64>().ok();
    let pinned = match open.filter(|id| records.iter().all(|r| r.id != *id)) {
        Some(id) => snapshot.record(id)?,
        None => None,
    };
    let elsewhere = if records.is_empty() && address.cursor.is_empty() {
        let any = query::search(snapshot, query, TimeRange::ALL, Order::Desc, 1, None, budget)?;
        any.value.records.into_iter().next()
    } else {
        None
    };
    Ok(Found {
        question,
        range,
        is_usual,
        records,
        pinned,
        pages,
        histogram,
        future,
        newest,
        partial,
        elsewhere,
    })
}

/// One page of lines in the order of the page, and the ways to those beside it.
fn lines(
    snapshot: &Snapshot,
    budget: &Budget,
    question: &Question,
    range: TimeRange,
    address: &Address,
    reader: &Reader,
    partial: &mut Option<String>,
) -> Result<(Vec<Arc<Record>>, Vec<Page>), Problem> {
    let (l, query, now) = (reader.l, &question.query, question.context.now);
    let newest_first = address.order != "asc";
    let order = if newest_first { Order::Desc } else { Order::Asc };
    let opposite = if newest_first { Order::Asc } else { Order::Desc };
    let search =
        |order, cursor| query::search(snapshot, query, range, order, PAGE_LINES, cursor, budget);

    let mut cursor = question.cursor;
    let mut back = None;
    if !address.newer.is_empty() && cursor.is_some() {
        let mut answer = search(opposite, cursor)?;
        // The last page before the first is the first itself.
        if answer.value.next.is_some() {
            answer.value.records.reverse();
            back = Some(answer);
        } else {
            cursor = None;
        }
    }
    let went_back = back.is_some();
    let answer = match back {
        Some(answer) => answer,
        None => search(order, cursor)?,
    };
    *partial = partial.take().or(answer.partial);

    let records = answer.value.records;
    let last_id = cursor.or(answer.value.next).map_or(u64::MAX, |c| c.last_id);
    let beside = |record: &Arc<Record>| {
        cursor_text(&Cursor { time: record.time, id: record.id, last_id }, now)
    };
    let mut pages = Vec::new();
    if let Some(first) = records.first().filter(|_| cursor.is_some()) {
        pages.push(Page {
            rel: "prev",
            label: if newest_first {
                l.t("← newer lines", "← 新しい行")
            } else {
                l.t("← earlier lines", "← 前の行")
            },
            href: address.at(beside(first), true).href(),
        });
    }
    // An answer that ended early goes on where it stopped, also where it has no line yet.
    let behind = match (went_back, answer.value.next) {
        (true, _) => records.last().map(beside),
        (false, next) => next.map(|next| cursor_text(&next, now)),
    };
    if let Some(behind) = behind {
        pages.push(Page {
            rel: "next",
            label: if newest_first {
                l.t("older lines →", "古い行 →")
            } else {
                l.t("later lines →", "次の行 →")
            },
            href: address.at(behind, false).href(),
        });
    }
    if cursor.is_some() {
        pages.push(Page {
            rel: "first",
            label: if newest_first { l.t("newest", "最新") } else { l.t("first", "先頭") },
            href: address.at(String::new(), false).href(),
        });
    }
    Ok((records, pages))
}

fn lay_out(found: &Found, address: &Address, reader: &Reader) -> Viewer {
    let l = reader.l;
    let now = found.question.context.now;
    let query = &found.question.query;
    let mark = |text: &str| query.highlights(text);
    let scene = Scene { address, mark: &mark, zone: &reader.zone, l };
    let open = address.open.parse().ok();
    let mut rows = scene.rows(&found.records, open, &pretty);
    if let Some(pinned) = &found.pinned {
        let mut all = scene.rows(std::slice::from_ref(pinned), open, &pretty);
        all.append(&mut rows);
        rows = all;
    }
    let today = now.in_zone(&reader.zone).date();
    let of_today = |record: &Arc<Record>| record.time.in_zone(&reader.zone).date() == today;
    let days = !found.records.iter().chain(&found.pinned).all(of_today);
    let total = found.histogram.total + found.future;

    let mut viewer = blank(address, reader);
    viewer.ask.range = RangeView::resolved(address, reader, found.range, now);
    if found.is_usual {
        let said = Address { from: range::USUAL.into(), ..address.clone() };
        let view = RangeView::resolved(&said, reader, found.range, now);
        viewer.ask.range = RangeView { from: String::new(), ..view };
    }
    if total > 0 || !found.records.is_empty() {
        viewer.chart = Some(chart::chart(&found.histogram, address, &reader.zone, l));
        viewer.legend = chart::legend(&found.histogram, address, l);
    }
    viewer.future = (found.future > 0)
        .then(|| Future { count: grouped(found.future), href: address.over("now", "").href() });
    viewer.nothing = (found.records.is_empty()).then(|| nothing(found, address, reader));
    viewer.total = grouped(total);
    viewer.rows = rows;
    viewer.days = days;
    viewer.pages = found
        .pages
        .iter()
        .map(|p| Page { rel: p.rel, label: p.label, href: p.href.clone() })
        .collect();
    viewer.foot = Foot {
        count: match (found.partial.is_some(), total) {
            (true, _) => format!("{} {}", grouped(total), l.t("lines so far", "行（途中まで）")),
            (false, 1) => l.t("1 line, exact", "1 行（正確）").to_owned(),
            (false, _) => format!("{} {}", grouped(total), l.t("lines, exact", "行（正確）")),
        },
        newest: found.newest.map(|at| {
            let age = length(l, now.millis() - at.millis());
            l.t(format!("newest {age} ago"), format!("最新は {age} 前"))
        }),
        partial: found.partial.clone(),
        ..Foot::default()
    };
    viewer
}

/// A page with the question and nothing else yet.
fn blank(address: &Address, reader: &Reader) -> Viewer {
    let l = reader.l;
    let on = !address.live.is_empty()
        && address.to.is_empty()
        && address.cursor.is_empty()
        && address.order != "asc";
    let tail = Address { q: address.q.clone(), tz: address.tz.clone(), ..Address::default() };
    let kept = [("order", &address.order), ("lang", &address.lang), ("live", &address.live)];
    let title = if address.q.is_empty() {
        "shirabe".to_owned()
    } else {
        format!("{} · shirabe", address.q)
    };
    Viewer {
        f: reader.frame(title),
        ask: Ask {
            q: address.q.clone(),
            hidden: kept
                .into_iter()
                .filter(|(_, value)| !value.is_empty())
                .map(|(name, value)| (name, value.clone()))
                .collect(),
            wrong: None,
            range: RangeView::of(address, reader),
            live: Some(Live {
                on,
                href: address.following(!on).href(),
                tail: tail.below("/api/v1/tail"),
            }),
        },
        chart: None,
        legend: Vec::new(),
        total: String::new(),
        future: None,
        order: Way {
            label: if address.order == "asc" {
                l.t("oldest first", "古い順").to_owned()
            } else {
                l.t("newest first", "新しい順").to_owned()
            },
            href: address.turned().href(),
            note: String::new(),
        },
        rows: Vec::new(),
        days: false,
        pages: Vec::new(),
        nothing: None,
        foot: Foot::default(),
    }
}

/// A page whose question does not read: where, and what would.
fn unread(problem: &Problem, address: &Address, reader: &Reader) -> Viewer {
    let mut viewer = blank(address, reader);
    let column = problem.column().unwrap_or(0);
    let take = |from: usize, n: usize| address.q.chars().skip(from).take(n).collect::<String>();
    let at = take(column.saturating_sub(1), 1);
    viewer.ask.wrong = Some(Wrong {
        column,
        before: take(0, column.saturating_sub(1)),
        at: if at.is_empty() { "\u{a0}\u{a0}".to_owned() } else { at },
        after: take(column, usize::MAX),
        detail: problem.detail().to_owned(),
        expected: problem.expected().join(", "),
    });
    viewer.ask.live = None;
    viewer.nothing = Some(Nothing {
        title: reader.l.t("What one can ask", "検索の書き方"),
        examples: examples(address, reader.l),
        ..Nothing::default()
    });
    viewer
}

/// What one can ask: a line for each thing that the language can say.
fn examples(address: &Address, l: Lang) -> Vec<Way> {
    [
        (
            "timeout",
            l.t(
                "lines that contain it, in any case, also inside of a word",
                "この語を含む行（大文字小文字の区別なし、単語の途中でも）",
            ),
        ),
        (
            "\"connection refused\"",
            l.t("this text with its spaces", "空白も含めてこのとおりの文字列"),
        ),
        (
            "failed -app:cron",
            l.t("the first, but not from cron", "failed を含み、cron のものを除く"),
        ),
        (
            "(error OR 失敗) host:web-1",
            l.t("either word, on one host", "どちらかの語、ホストは web-1"),
        ),
        ("severity>=warning", l.t("warnings and graver", "警告とそれより重大なもの")),
        (
            "status:500..599",
            l.t("a field whose number is in this range", "この範囲の数値を持つフィールド"),
        ),
        ("url.path:/login*", l.t("a field that begins so", "この文字列で始まるフィールド")),
    ]
    .into_iter()
    .map(|(q, note)| Way {
        label: q.to_owned(),
        href: address.asking(q).href(),
        note: note.to_owned(),
    })
    .collect()
}

fn nothing(found: &Found, address: &Address, reader: &Reader) -> Nothing {
    let l = reader.l;
    let way =
        |label: &str, href: String| Way { label: label.to_owned(), href, note: String::new() };
    if let Some(partial) = &found.partial {
        let next = found.pages.iter().filter(|page| page.rel == "next");
        return Nothing {
            title: l.t("Nothing found so far", "まだ見つかっていません"),
            text: partial.clone(),
            ways: next.map(|page| way(page.label, page.href.clone())).collect(),
            ..Nothing::default()
        };
    }
    let everything = address.over(range::ALL, "");
    let all = way(l.t("Everything that is kept", "保存されている全期間"), everything.href());
    if let Some(newest) = &found.elsewhere {
        let at = newest.time.in_zone(&reader.zone).strftime("%Y-%m-%d %H:%M:%S").to_string();
        let near = |nanos: i64| {
            let at = Timestamp(newest.time.0.saturating_add(nanos)).floor_to_millis();
            chart::stamp(at, &reader.zone)
        };
        let half_hour = range::USUAL_NANOS / 2;
        let around = address.over(near(-half_hour), near(half_hour)).href();
        return Nothing {
            title: l.t("Nothing in this range", "この期間には該当する行がありません"),
            text: l.t(
                format!("Outside of it there are such lines; the newest is of {at}."),
                format!("期間の外にはあります。最新は {at} です。"),
            ),
            ways: vec![
                way(l.t("The hour around the newest one", "最新の行の前後1時間"), around),
                all,
            ],
            ..Nothing::default()
        };
    }
    if address.q.is_empty() {
        return Nothing {
            title: l.t("Nothing in this range", "この期間には行がありません"),
            ways: vec![all],
            ..Nothing::default()
        };
    }
    let unasked = Address { q: String::new(), ..everything };
    Nothing {
        title: l.t("Nothing that is kept matches", "該当する行はありません"),
        ways: vec![way(
            l.t("All lines, without the query", "検索語なしですべての行"),
            unasked.href(),
        )],
        examples: examples(address, l),
        ..Nothing::default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::base::machine::SystemClock;
    use crate::base::time::Zone;
    use crate::decode::{Origin, syslog};
    use crate::store::Chunk;
    use crate::store::live::{Live, LiveChunk};

    /// It may be there: the page does not say that it is not, and goes on where it stopped.
    #[test]
    fn an_answer_that_ended_early_is_no_answer() {
        let origin = Origin::new("syslog", "udp", "10.0.0.1");
        let now = Timestamp::parse_rfc3339("2026-11-22T12:00:00Z").expect("a time");
        let record = syslog::read(b"<13>1 - h a - - - text", now, &origin).expect("a record");
        let live = LiveChunk::new(vec![Arc::new(record)]).expect("a chunk");
        let chunk: Arc<dyn Chunk> = Arc::new(Live(live));
        let snapshot = Snapshot::new(vec![chunk]);
        let reader =
            Reader { l: Lang::En, zone: Zone::utc(), zone_name: "UTC".into(), cookie: None };
        let address = Address { q: "nowhere".into(), ..Address::default() };
        for (spent, title) in
            [(true, "Nothing found so far"), (false, "Nothing that is kept matches")]
        {
            let budget = Budget {
                clock: Arc::new(SystemClock::new()),
                deadline: None,
                cancelled: Arc::new(AtomicBool::new(spent)),
            };
            let found = look(&snapshot, &budget, &address, &reader, now).expect("an answer");
            let nothing = nothing(&found, &address, &reader);
            assert_eq!(nothing.title, title);
            let goes_on = nothing.ways.iter().any(|way| way.href.contains("cursor="));
            assert_eq!(goes_on, spent, "{title}");
        }
    }
}
