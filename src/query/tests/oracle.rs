//! A naive evaluator: other code, the same answers.
//!
//! Random records in chunks that overlap in time, random queries; matches, order, paging, counts
//! and histograms must be those of a plain loop over all records. `SEED=` repeats a run.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::base::fold::{fold, is_mark};
use crate::base::machine::ReadAt;
use crate::base::split;
use crate::codec::{self, ChunkMeta, Rows};
use crate::store::{Chunk, Key};

/// splitmix64.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % sides as u64).unwrap()
    }

    pub(super) fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.roll(of.len())]
    }
}

const WORDS: &[&str] = &[
    "error",
    "Error",
    "time",
    "timeout",
    "out",
    "time out",
    "ERR",
    "ann",
    "Ann Lee",
    "bob",
    "500",
    "404",
    "12:30:01",
    "user:bob",
    "nope:x",
    "status:500",
    "検索",
    "調べ",
    "ガ",
    "カ",
    "ｶﾞ",
    "é",
    "e",
    "x",
    "a_b",
    "b",
    "abc12345",
    "c12345",
    "/var/log",
    "\"q\"",
    "\\",
    "\n",
    "ﬁ",
    "f",
    "true",
];
const NAMES: &[&str] = &["user", "auth.user", "status", "labels.zone", "x", "level", "12", "a.b.x"];
const HOSTS: &[&str] = &["web-1", "Web-2", "db.example", "検索"];
const APPS: &[&str] = &["nginx", "shop", "-"];
const SECOND: i64 = 1_000_000_000;

fn any_value(dice: &mut Dice) -> Value {
    match dice.roll(8) {
        0 => Value::Int(i64::try_from(dice.roll(600)).unwrap()),
        1 => Value::Float([1.5, 500.0, -2.25, 1e300][dice.roll(4)]),
        2 => Value::Bool(dice.roll(2) == 0),
        3 => Value::Null,
        4 => Value::Array(vec![Value::str(dice.pick(WORDS)), Value::Int(7)]),
        5 => Value::str(["500", "404.0", "10.1.2.3", " 7"][dice.roll(4)]),
        _ => Value::str(dice.pick(WORDS)),
    }
}

fn any_record(dice: &mut Dice, id: u64) -> Record {
    let spread = 1 + dice.roll(60);
    let time = i64::try_from(dice.roll(spread)).unwrap() * SECOND / 3;
    let text: Vec<&str> = (0..dice.roll(5)).map(|_| dice.pick(WORDS)).collect();
    let mut made = record(id, time, &text.join(["", " ", "  "][dice.roll(3)]));
    made.host = dice.pick(HOSTS).into();
    made.app = dice.pick(APPS).into();
    made.severity = Severity::ALL.get(dice.roll(12)).copied();
    let names: BTreeSet<&str> = (0..dice.roll(4)).map(|_| dice.pick(NAMES)).collect();
    made.fields = names.into_iter().map(|name| field(name, any_value(dice))).collect();
    made
}

/// A query as the oracle sees it.
#[derive(Clone, Debug)]
enum Ask {
    All,
    And(Vec<Ask>),
    Or(Vec<Ask>),
    Not(Box<Ask>),
    Plain(String),
    Exact(String),
    Word(String),
    Holes(String, String),
    Regex(&'static str),
    Field(&'static str, &'static str, String),
}

const ASKED: &[&str] = &[
    "user",
    "auth.user",
    "status",
    "labels.*",
    "x",
    "nope",
    "12",
    "fields.level",
    "host",
    "app",
    "message",
    "severity",
    "id",
];

fn any_ask(dice: &mut Dice, depth: usize) -> Ask {
    let word = dice.pick(WORDS);
    let chars: Vec<char> = word.chars().collect();
    let start = dice.roll(chars.len());
    let piece: String = chars[start..].iter().take(1 + dice.roll(chars.len() - start)).collect();
    match dice.roll(if depth == 0 { 9 } else { 14 }) {
        0 => Ask::All,
        1 | 2 => Ask::Plain(piece),
        3 => Ask::Exact(piece),
        4 => Ask::Word(word.to_owned()),
        5 => Ask::Holes("t".to_owned(), piece.chars().filter(|c| c.is_alphanumeric()).collect()),
        6 => Ask::Regex(["time ?out", "^e", "\\d+", "(?i)ERR.R", "索|調"][dice.roll(5)]),
        7 | 8 => {
            let name = dice.pick(ASKED);
            let op = match name {
                "severity" => [":", ">=", "<"][dice.roll(3)],
                "id" => [":", ">", "<="][dice.roll(3)],
                // A star alone asks for the field, not for a text.
                _ if glob_stem(word).is_empty() => [":", "~", ":*"][dice.roll(3)],
                _ => [":", "~", ">=", "<", ":*", "glob"][dice.roll(6)],
            };
            let value = match name {
                "severity" => ["error", "info", "trace"][dice.roll(3)].to_owned(),
                "id" => dice.roll(40).to_string(),
                _ if matches!(op, ">=" | "<") => dice.roll(600).to_string(),
                "host" => dice.pick(HOSTS).to_owned(),
                "app" => dice.pick(APPS).to_owned(),
                _ => word.to_owned(),
            };
            Ask::Field(name, op, value)
        }
        9 | 10 => Ask::And((0..=dice.roll(3)).map(|_| any_ask(dice, depth - 1)).collect()),
        11 | 12 => Ask::Or((0..=dice.roll(3)).map(|_| any_ask(dice, depth - 1)).collect()),
        _ => Ask::Not(Box::new(any_ask(dice, depth - 1))),
    }
}

fn in_quotes(text: &str, quote: char) -> String {
    let escaped: String = text
        .chars()
        .flat_map(|c| (c == quote || c == '\\').then_some('\\').into_iter().chain([c]))
        .collect();
    format!("{quote}{escaped}{quote}")
}

/// As a person would type it.
fn typed(ask: &Ask, dice: &mut Dice) -> String {
    let join = |asks: &[Ask], between: &str, dice: &mut Dice| {
        let parts: Vec<String> = asks.iter().map(|a| typed(a, dice)).collect();
        format!("({})", parts.join(between))
    };
    match ask {
        Ask::All => "*".to_owned(),
        Ask::And(asks) => {
            let between = [" ", " AND ", " && "][dice.roll(3)];
            join(asks, between, dice)
        }
        Ask::Or(asks) => {
            let between = [" OR ", " || "][dice.roll(2)];
            join(asks, between, dice)
        }
        Ask::Not(ask) => {
            let sign = ["-", "!", "NOT "][dice.roll(3)];
            format!("{sign}({})", typed(ask, dice))
        }
        Ask::Plain(text) => in_quotes(text, '"'),
        Ask::Exact(text) => in_quotes(text, '\''),
        Ask::Word(text) => format!("word:{}", in_quotes(text, '"')),
        Ask::Holes(a, b) => format!("{a}*{b}"),
        Ask::Regex(source) => format!("/{source}/"),
        Ask::Field(name, ":*", _) => format!("{name}:*"),
        Ask::Field(name, "glob", value) => format!("{name}:{}*", glob_stem(value)),
        Ask::Field(name, op, value) if value.chars().all(|c| c.is_ascii_alphanumeric()) => {
            format!("{name}{op}{value}")
        }
        Ask::Field(name, op, value) => format!("{name}{op}{}", in_quotes(value, '"')),
    }
}

fn glob_stem(value: &str) -> String {
    value.chars().filter(|c| c.is_alphanumeric()).take(3).collect()
}

/// The texts of a value that a term looks at.
fn value_texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().flat_map(value_texts).collect(),
        other => vec![other.to_string()],
    }
}

fn texts(record: &Record) -> Vec<String> {
    let base = [record.message(), &record.host, &record.app].map(str::to_owned);
    let values = record.fields.iter().flat_map(|f| value_texts(&f.value));
    base.into_iter().chain(values).collect()
}

fn contains(text: &str, needle: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let needle: Vec<char> = needle.chars().collect();
    (0..=text.len().saturating_sub(needle.len())).any(|at| {
        text[at..].starts_with(&needle)
            && !text.get(at + needle.len()).copied().is_some_and(is_mark)
    })
}

fn folded(text: &str) -> String {
    fold(text).into_owned()
}

fn has_word(text: &str, word: &str) -> bool {
    let (text, word) = (folded(text), folded(word));
    text.match_indices(&word).any(|(at, _)| {
        let (before, rest) = text.split_at(at);
        let before = before.chars().next_back();
        let behind = rest.split_at(word.len()).1.chars().next();
        let first = word.chars().next().unwrap();
        let last = word.chars().next_back().unwrap();
        let joins_left = split::is_token_char(first)
            && before.is_some_and(|c| split::is_token_char(c) || is_mark(c));
        let joins_right = split::is_token_char(last) && behind.is_some_and(split::is_token_char);
        !joins_left && !joins_right && !behind.is_some_and(is_mark)
    })
}

fn named<'r>(record: &'r Record, name: &str) -> Vec<&'r Value> {
    let is = |key: &str| match name {
        "labels.*" => key.starts_with("labels.") && key != "labels.",
        "fields.level" => key == "level",
        "status" => key == "status" || key.ends_with(".status"),
        _ if name.contains('.') => key == name,
        _ => key == name || key.ends_with(&format!(".{name}")),
    };
    record.fields.iter().filter(|f| is(&f.name)).map(|f| &f.value).collect()
}

/// A number as the tables of numbers here have it: small enough for floats.
fn number(text: &str) -> Option<f64> {
    let looks = text.trim().starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    looks.then(|| text.trim().parse().ok()).flatten()
}

fn value_is(op: &str, value: &str, text: &str) -> bool {
    match op {
        ":*" => true,
        "glob" => !text.contains('\n') && folded(text).starts_with(&folded(&glob_stem(value))),
        "~" => contains(&folded(text), &folded(value)),
        ":" => {
            folded(text) == folded(value) || number(text).is_some_and(|a| number(value) == Some(a))
        }
        ">=" => number(text).is_some_and(|n| n >= number(value).unwrap()),
        "<" => number(text).is_some_and(|n| n < number(value).unwrap()),
        _ => unreachable!("{op}"),
    }
}

fn holds(ask: &Ask, record: &Record, known: &BTreeSet<&str>) -> bool {
    let any = |f: &dyn Fn(&str) -> bool| texts(record).iter().any(|t| f(t));
    match ask {
        Ask::All => true,
        Ask::And(asks) => asks.iter().all(|a| holds(a, record, known)),
        Ask::Or(asks) => asks.iter().any(|a| holds(a, record, known)),
        Ask::Not(ask) => !holds(ask, record, known),
        Ask::Plain(text) => any(&|t| contains(&folded(t), &folded(text))),
        Ask::Exact(text) => any(&|t| contains(t, text)),
        Ask::Word(text) => any(&|t| has_word(t, text)),
        Ask::Holes(a, b) => any(&|t| {
            folded(t).lines().any(|line| {
                line.find(a.as_str()).is_some_and(|at| {
                    b.is_empty() || contains(line.split_at(at + a.len()).1, &folded(b))
                })
            })
        }),
        Ask::Regex(source) => regex::Regex::new(source).unwrap().is_match(record.message()),
        Ask::Field("host", op, value) => value_is(op, value, &record.host),
        Ask::Field("app", op, value) => value_is(op, value, &record.app),
        Ask::Field("message", op, value) => value_is(op, value, record.message()),
        Ask::Field("id", op, value) => {
            let (a, b) = (record.id, value.parse::<u64>().unwrap());
            match *op {
                ":" => a == b,
                ">" => a > b,
                _ => a <= b,
            }
        }
        Ask::Field("severity", op, value) => record.severity.is_some_and(|s| {
            let wanted = Severity::from_text(value).unwrap();
            match *op {
                ":" => s == wanted,
                ">=" => s <= wanted,
                _ => s > wanted,
            }
        }),
        Ask::Field(name, op, _) if !known.contains(name) && *op != ":*" => {
            let mut unused = Dice(0);
            let text = typed(ask, &mut unused);
            any(&|t| match text.strip_suffix('*') {
                Some(stem) => folded(t).contains(&folded(stem)),
                None => contains(&folded(t), &folded(&text)),
            })
        }
        Ask::Field(name, op, value) => named(record, name)
            .into_iter()
            .any(|v| value_texts(v).iter().any(|t| value_is(op, value, t))),
    }
}

/// A chunk with an index, as a sealed one has it.
struct Indexed {
    chunk: Arc<dyn Rows>,
    runs: BTreeSet<String>,
    tokens: Box<dyn Fn(&str) -> bool + Send + Sync>,
}

impl Chunk for Indexed {
    fn meta(&self) -> &ChunkMeta {
        self.chunk.meta()
    }
    fn may_hold(&self, key: &Key) -> Result<bool> {
        Ok(match key {
            Key::Letters(letters) => self.runs.iter().any(|run| run.contains(letters)),
            Key::Token(token) => (self.tokens)(token),
        })
    }
    fn rows(&self) -> Result<Arc<dyn Rows>> {
        Ok(Arc::clone(&self.chunk))
    }
}

/// A segment's body in memory.
struct Memory(Vec<u8>);

impl ReadAt for Memory {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }
    fn read_at(&self, at: u64, len: usize) -> Result<Vec<u8>> {
        let at = usize::try_from(at).unwrap();
        Ok(self.0[at..at + len].to_vec())
    }
}

/// Chunks of one segment, encoded and opened.
pub(super) fn body(chunks: &[&[Arc<Record>]]) -> codec::Body {
    let body = codec::encode(chunks).body;
    let len = body.len() as u64;
    codec::Body::open(Arc::new(Memory(body)), 0, len).unwrap()
}

/// A chunk of it that nothing is pruned of.
pub(super) struct Sealed {
    pub(super) meta: ChunkMeta,
    pub(super) rows: Arc<dyn Rows>,
}

impl Chunk for Sealed {
    fn meta(&self) -> &ChunkMeta {
        &self.meta
    }
    fn may_hold(&self, _: &Key) -> Result<bool> {
        Ok(true)
    }
    fn rows(&self) -> Result<Arc<dyn Rows>> {
        Ok(Arc::clone(&self.rows))
    }
}

/// The same rows, encoded and read back, with what the index and the filter are made from.
fn seal(records: &[Arc<Record>]) -> Indexed {
    let mut encoded = codec::encode(&[records]);
    let len = encoded.body.len() as u64;
    let body = codec::Body::open(Arc::new(Memory(encoded.body)), 0, len).unwrap();
    let tokens = encoded.tokens;
    let tokens = move |token: &str| {
        !codec::filter::is_filtered(token) || tokens.contains(&codec::filter::token_hash(token))
    };
    let (chunk, runs) = (body.chunk(0).unwrap(), encoded.words.remove(0));
    Indexed { chunk, runs, tokens: Box::new(tokens) }
}

fn cut(records: &[Record], dice: &mut Dice) -> Snapshot {
    let mut chunks: Vec<Arc<dyn Chunk>> = Vec::new();
    let mut rest = records;
    while !rest.is_empty() {
        let (head, tail) = rest.split_at(1 + dice.roll(rest.len()));
        rest = tail;
        let texts: Vec<String> = head.iter().flat_map(texts).map(|text| folded(&text)).collect();
        let records: Vec<Arc<Record>> = head.iter().cloned().map(Arc::new).collect();
        if dice.roll(3) == 0 {
            chunks.push(Arc::new(seal(&records)));
            continue;
        }
        let runs = texts.iter().flat_map(|t| split::letter_runs(t)).map(str::to_owned).collect();
        let tokens: BTreeSet<String> =
            texts.iter().flat_map(|t| split::tokens(t)).map(str::to_owned).collect();
        let chunk = Live(LiveChunk::new(records).unwrap()).rows().unwrap();
        let tokens = Box::new(move |token: &str| tokens.contains(token));
        chunks.push(Arc::new(Indexed { chunk, runs, tokens }));
    }
    Snapshot::new(chunks)
}

fn any_range(dice: &mut Dice) -> TimeRange {
    let mut end = |open| match dice.roll(3) {
        0 => Timestamp(i64::try_from(dice.roll(24)).unwrap() * SECOND),
        _ => open,
    };
    TimeRange { from: end(Timestamp::MIN), to: end(Timestamp::MAX) }
}

#[test]
fn answers_are_those_of_a_loop() {
    let seed = std::env::var("SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(|| {
        u64::from(std::process::id()) // another run, another seed
    });
    let rounds = std::env::var("ROUNDS").ok().and_then(|s| s.parse().ok()).unwrap_or(300);
    println!("SEED={seed} ROUNDS={rounds}");
    let mut dice = Dice(seed);
    for _ in 0..rounds {
        let many = dice.roll(40);
        let mut records: Vec<Record> =
            (0..many).map(|n| any_record(&mut dice, 1 + 2 * n as u64)).collect();
        for _ in 0..8 {
            let ask = any_ask(&mut dice, 3);
            let text = typed(&ask, &mut dice);
            let range = any_range(&mut dice);
            check(&ask, &text, range, &mut records.clone(), &mut dice);
        }
        records.clear();
    }
}

fn check(ask: &Ask, text: &str, range: TimeRange, records: &mut Vec<Record>, dice: &mut Dice) {
    let query = Query::parse(text, &context()).unwrap_or_else(|e| panic!("{text}: {e:?}"));
    let printed = query.to_string();
    assert_eq!(Query::parse(&printed, &context()).as_ref(), Ok(&query), "{text} as {printed}");

    let within: Vec<&Record> = records.iter().filter(|r| range.contains(r.time)).collect();
    let is_known = |name: &&&str| within.iter().any(|r| !named(r, name).is_empty());
    let known: BTreeSet<&str> = ASKED.iter().filter(is_known).copied().collect();
    let mut want: Vec<Record> =
        within.into_iter().filter(|r| holds(ask, r, &known)).cloned().collect();
    let snapshot = cut(records, dice);

    let got = count(&snapshot, &query, range, &budget()).unwrap();
    assert_eq!((got.value, got.partial), (want.len() as u64, None), "{text}");
    draw(&snapshot, &query, text, range, records, &want, dice);

    let order = if dice.roll(2) == 0 { Order::Asc } else { Order::Desc };
    want.sort_by_key(|r| (r.time, r.id));
    if order == Order::Desc {
        want.reverse();
    }
    let want: Vec<u64> = want.iter().map(|r| r.id).collect();
    let limit = 1 + dice.roll(9);
    let (mut found, mut cursor, mut snapshot) = (Vec::new(), None, snapshot);
    loop {
        let page = search(&snapshot, &query, range, order, limit, cursor, &budget()).unwrap();
        assert_eq!(page.partial, None);
        found.extend(page.value.records.iter().map(|r| r.id));
        cursor = page.value.next;
        if cursor.is_none() {
            break;
        }
        assert_eq!(page.value.records.len(), limit);
        // More arrives, and chunks are merged or cut anew, between the pages.
        let last = records.last().map_or(1, |r| r.id + 1);
        let more: Vec<Record> =
            (0..dice.roll(4)).map(|n| any_record(dice, last + n as u64)).collect();
        records.extend(more);
        snapshot = cut(records, dice);
    }
    assert_eq!(found, want, "{text} {range:?} {order:?} by {limit}");
}

fn draw(
    snapshot: &Snapshot,
    query: &Query,
    text: &str,
    range: TimeRange,
    records: &[Record],
    want: &[Record],
    dice: &mut Dice,
) {
    let zone = Zone::named(dice.pick(&["UTC", "Asia/Tokyo", "Asia/Kathmandu"])).unwrap();
    let context = Context { zone, ..context() };
    let width = [250, 1_000, 7_000, 60_000][dice.roll(4)];
    let by = [None, Some("severity"), Some("host"), Some("user"), Some("x")][dice.roll(5)];
    let buckets = Buckets::Every(Duration::from_millis(width));
    let got = histogram(snapshot, query, range, &buckets, by, &context, &budget()).unwrap().value;
    assert_eq!((got.interval_ms, got.total), (width, want.len() as u64), "{text}");
    let ahead = i64::from(Timestamp(0).in_zone(&context.zone).offset().seconds()) * SECOND;
    let step = i64::try_from(width).unwrap() * 1_000_000;
    let floor = |t: i64| (t + ahead).div_euclid(step) * step - ahead;
    let first = if range.from == Timestamp::MIN {
        records.iter().map(|r| r.time.0).min()
    } else {
        Some(range.from.0)
    };
    let last = if range.to == Timestamp::MAX {
        records.iter().map(|r| r.time.0).max()
    } else {
        Some(range.to.0 - 1)
    };
    let (Some(first), Some(last)) = (first, last) else { return };
    let mut at = floor(first);
    let mut edges = Vec::new();
    while at <= last && first <= last {
        edges.push(at);
        at += step;
    }
    if records.is_empty() {
        return;
    }
    assert_eq!(got.buckets.iter().map(|b| b.time.0).collect::<Vec<_>>(), edges, "{text} {range:?}");
    for bucket in &got.buckets {
        let inside: Vec<&Record> =
            want.iter().filter(|r| floor(r.time.0) == bucket.time.0).collect();
        assert_eq!(bucket.count, inside.len() as u64);
        let Some(by) = by else {
            assert!(bucket.by.is_empty());
            continue;
        };
        let mut values: BTreeMap<String, u64> = BTreeMap::new();
        for record in inside {
            let value = match by {
                "severity" => record.severity.map(|s| s.name().to_owned()),
                "host" => Some(record.host.to_string()),
                _ => named(record, by).first().map(ToString::to_string),
            };
            *values.entry(value.unwrap_or_else(|| "-".to_owned())).or_default() += 1;
        }
        let others = bucket.by.iter().filter(|v| v.0 == "other").map(|v| v.1).sum::<u64>();
        let shown: BTreeMap<String, u64> =
            bucket.by.iter().filter(|v| v.0 != "other").cloned().collect();
        assert!(shown.iter().all(|(value, many)| values.get(value) == Some(many)), "{text}");
        assert_eq!(shown.values().sum::<u64>() + others, bucket.count);
        if by == "severity" {
            assert_eq!(others, 0);
        }
    }
}
