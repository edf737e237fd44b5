//! Questions over HTTP, each beside `rg -c` of the same on the plain file.
//!
//! A question is asked of us and of ripgrep in turns, so that both meet the same load. Where a row
//! can be asked in several ways, the slowest one is the row's figure. Every answer is checked.

use std::path::Path;
use std::time::Duration;

use shirabe::decode::Origin;

use crate::bars::Tables;
use crate::generated::Corpus;
use crate::meter;
use crate::rivals::{self, rg};
use crate::server::{Server, urlencode};
use crate::table::{Table, short};

/// How often each is asked; the median counts.
const TIMES: usize = 7;

/// A call, and what it must answer.
struct Ask {
    /// What is shown: the query.
    shown: String,
    path: String,
    expect: Expect,
}

/// What an answer must say.
#[derive(Clone, Copy)]
enum Expect {
    /// `count`.
    Count(u64),
    /// So many `records`.
    Records(usize),
    /// `total` of a histogram.
    Total(u64),
}

impl Expect {
    /// What the answer says, where that is something else.
    fn differs(self, answer: &serde_json::Value) -> Option<String> {
        let (wanted, got) = match self {
            Self::Count(n) => (n, answer["count"].as_u64()),
            Self::Records(n) => {
                (n as u64, answer["records"].as_array().map(|records| records.len() as u64))
            }
            Self::Total(n) => (n, answer["total"].as_u64()),
        };
        let whole = answer["partial"].as_bool() == Some(false) || answer["partial"].is_null();
        if got == Some(wanted) && whole {
            return None;
        }
        Some(format!("{wanted} expected, {got:?} found, partial {}", answer["partial"]))
    }
}

fn count(q: &str, n: u64) -> Ask {
    let path = format!("/api/v1/count?q={}", urlencode(q));
    Ask { shown: q.to_owned(), path, expect: Expect::Count(n) }
}

fn search(q: &str, n: usize) -> Ask {
    let path = format!("/api/v1/search?limit=100&q={}", urlencode(q));
    Ask { shown: format!("{q} (search)"), path, expect: Expect::Records(n) }
}

fn histogram(q: &str, n: u64) -> Ask {
    let path = format!("/api/v1/histogram?buckets=60&q={}", urlencode(q));
    Ask { shown: q.to_owned(), path, expect: Expect::Total(n) }
}

/// How much slower than the design's machine this one is now, by `rg` over the fleet corpus.
pub(crate) fn machine(fleet: &Corpus) -> f64 {
    let times = (0..TIMES).map(|_| rg(&["onnecti"], &fleet.file).1).collect();
    meter::ms(meter::median(times)) / fleet.mib() * 1024.0 / crate::bars::RG_MS_PER_GIB
}

/// A fragment of digits that stands in few messages, and one of hex digits.
const DIGITS: &str = "77242";
const HEX: &str = "e9f4a";
/// What the regular expression is, for both.
const PATTERN: &str = "(failed|refused|denied).*from";

/// The rows of the fleet corpus.
pub(crate) fn fleet(server: &Server, corpus: &Corpus, tables: &mut Tables) {
    let file = &corpus.file;
    let naive = Naive::of(corpus);
    let ids = corpus.known["needles"].as_array().map(Vec::as_slice).unwrap_or_default();
    let id = ids.get(ids.len() / 2).and_then(|n| n["id"].as_str()).expect("a needle");
    let ci = rg(&["-i", PATTERN], file).0;
    let errors_of_host = corpus.known["by_host_severity"].as_object().into_iter().flatten();
    let (host, errors) = errors_of_host
        .filter_map(|(key, n)| Some((key.strip_suffix(" 3")?, n.as_u64()?)))
        .max_by_key(|(_, n)| *n)
        .expect("a host with errors");
    let host_errors = format!("host:{host} severity:error");
    let nowhere = "ndl00c0ffee00c0ffee00c0ffee";
    let error = corpus.count("word:error:tok_us_ci");
    let error_newest = usize::try_from(error.min(100)).expect("few");
    let host_newest = usize::try_from(errors.min(100)).expect("few");

    let mut board = Board { server, tables };
    let needle = [search(id, 1), count(id, 1), count(&format!("word:{id}"), 1)];
    board.beside_rg("needle (an id in one line)", &needle, &[id], file);
    let none = [search(nowhere, 0), count(nowhere, 0), count(&format!("word:{nowhere}"), 0)];
    board.beside_rg("an id that is nowhere", &none, &[nowhere], file);
    board.beside_rg(
        "count of a word, any case",
        &[count("word:error", error)],
        &["-iw", "error"],
        file,
    );
    let two = corpus.count("and:connection+refused:tok_us_ci");
    let two = [count("word:connection word:refused", two), count("connection refused", naive.two)];
    board.alone("count of two words", &two);
    let phrase = corpus.count("phrase:Connection refused");
    let phrases =
        [count("'Connection refused'", phrase), count("\"connection refused\"", naive.phrase)];
    board.beside_rg("count of a phrase", &phrases, &["Connection refused"], file);
    let words = [count("'onnecti'", corpus.count("substr:onnecti")), count("onnecti", naive.words)];
    board.beside_rg("count of a fragment of words", &words, &["onnecti"], file);
    let japanese = [count("不正なレコ", corpus.count("substr:不正なレコ"))];
    board.beside_rg("count of a fragment of words, in Japanese", &japanese, &["不正なレコ"], file);
    board.beside_rg(
        "count of a fragment of numbers",
        &[count(DIGITS, naive.digits)],
        &[DIGITS],
        file,
    );
    board.beside_rg("count of a fragment of ids", &[count(HEX, naive.hex)], &[HEX], file);
    let pattern = [count(&format!("/{PATTERN}/i"), ci)];
    board.beside_rg("regular expression over all, any case", &pattern, &["-i", PATTERN], file);
    board.alone("newest 100: of all", &[search("", 100)]);
    board.alone(
        "newest 100: of a word",
        &[search("error", 100), search("word:error", error_newest)],
    );
    board.alone("newest 100: of host X and severity error", &[search(&host_errors, host_newest)]);
    board.alone("histogram: of all", &[histogram("", corpus.lines)]);
    board.alone(
        "histogram: of a word",
        &[histogram("word:error", error), histogram("error", naive.error)],
    );
    for row in ["count by host", "top 20 of a field of the message"] {
        board.tables.asking.leave(row, "not yet: pipes come with \"Ask anything\" (issue 11)");
    }
    let ids = scattered(server, corpus);
    let path = format!("/api/v1/records?id={}", ids.join(","));
    let scattered = Ask { shown: "ids".into(), path, expect: Expect::Records(ids.len()) };
    board.alone("100 scattered records by id", &[scattered]);
}

/// The rows of the JSON corpus.
pub(crate) fn json(server: &Server, corpus: &Corpus, tables: &mut Tables) {
    let failed = corpus.known["fields"]["http.status>=500"].as_u64().expect("a count");
    let mut board = Board { server, tables };
    board.alone("json: http.status>=500 count", &[count("http.status>=500", failed)]);
    let row = "json: p99(duration_ms) by service";
    board.tables.asking.leave(row, "not yet: pipes come with \"Ask anything\" (issue 11)");
}

/// What a question took, medians.
#[derive(Clone, Copy)]
pub(crate) struct Took {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
}

/// What a search takes now, checked.
pub(crate) fn median(server: &Server, tables: &mut Tables, q: &str, found: usize) -> Took {
    let (wall, cpu) = Board { server, tables }.ask(&search(q, found), || ());
    Took { wall, cpu }
}

/// Ids of records from everywhere in time.
fn scattered(server: &Server, corpus: &Corpus) -> Vec<String> {
    let [first, last] = ["first_ts", "last_ts"].map(|key| corpus.known[key].as_u64().unwrap_or(0));
    let id_at = |n: u64| {
        let to = first + 1 + last.saturating_sub(first) * (n * 37 % 100) / 100;
        let answer = server.json(&format!("/api/v1/search?limit=1&to={to}"));
        answer["records"][0]["id"].as_str().map(str::to_owned)
    };
    let mut ids: Vec<String> = (0..100).filter_map(id_at).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert!(ids.len() * 10 > all * 9, "records at {all} times, {} different", ids.len());
    ids
}

/// Counts that the generator does not tell, by looking at every record in the plainest way: in
/// message, host, app and the texts of fields.
#[derive(Default)]
struct Naive {
    two: u64,
    phrase: u64,
    words: u64,
    error: u64,
    digits: u64,
    hex: u64,
}

impl Naive {
    fn of(corpus: &Corpus) -> Self {
        let text = corpus.text();
        let origin = Origin::new("syslog", "tcp", "127.0.0.1");
        let mut all = Self::default();
        for line in text.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            let record = rivals::record(line, &origin);
            let mut texts = vec![record.message().to_ascii_lowercase()];
            texts.extend([&record.host, &record.app].map(|name| name.to_ascii_lowercase()));
            texts.extend(record.fields.iter().map(|f| f.value.to_string().to_ascii_lowercase()));
            let has = |part: &str| texts.iter().any(|text| text.contains(part));
            all.two += u64::from(has("connection") && has("refused"));
            all.phrase += u64::from(has("connection refused"));
            all.words += u64::from(has("onnecti"));
            all.error += u64::from(has("error"));
            all.digits += u64::from(has(DIGITS));
            all.hex += u64::from(has(HEX));
        }
        all
    }
}

/// Asks, checks, and fills the rows.
struct Board<'a> {
    server: &'a Server,
    tables: &'a mut Tables,
}

impl Board<'_> {
    /// A row in milliseconds.
    fn alone(&mut self, row: &str, asks: &[Ask]) {
        let mut note = Vec::new();
        let mut slowest = Duration::ZERO;
        for ask in asks {
            let (wall, cpu) = self.ask(ask, || ());
            note.push(told(ask, wall, cpu));
            slowest = slowest.max(wall);
        }
        let ms = meter::ms(slowest);
        self.table().fill(row, format!("{} ms", short(ms)), ms, note.join(" · "));
    }

    /// A row as a part of what `rg` takes.
    fn beside_rg(&mut self, row: &str, asks: &[Ask], args: &[&str], file: &Path) {
        let mut note = Vec::new();
        let mut worst: Option<(f64, Duration)> = None;
        for ask in asks {
            let mut rival = Vec::new();
            let children = meter::ended_children_cpu();
            let (wall, cpu) = self.ask(ask, || rival.push(rg(args, file).1));
            let rg_cpu = meter::ended_children_cpu().saturating_sub(children) / 8;
            let rg_wall = meter::median(rival);
            let part = rg_wall.as_secs_f64() / wall.as_secs_f64();
            let rg_told =
                format!("rg {} (CPU {})", short(meter::ms(rg_wall)), short(meter::ms(rg_cpu)));
            note.push(format!("{}, {rg_told}", told(ask, wall, cpu)));
            if worst.is_none_or(|(least, _)| part < least) {
                worst = Some((part, wall));
            }
        }
        if let Some((part, wall)) = worst {
            let ours = format!("{} ms", short(meter::ms(wall)));
            self.table().fill(row, ours, part, note.join(" · "));
        }
    }

    fn table(&mut self) -> &mut Table {
        &mut self.tables.asking
    }

    /// Once to warm up and to check, then [`TIMES`] times: median by the clock, and the server's
    /// CPU for each. `between` runs once before each.
    fn ask(&mut self, ask: &Ask, mut between: impl FnMut()) -> (Duration, Duration) {
        between();
        if let Some(wrong) = ask.expect.differs(&self.server.json(&ask.path)) {
            self.tables.faults.push(format!("{}: {wrong}", ask.shown));
        }
        let before = meter::process_cpu(self.server.pid());
        let mut walls = Vec::new();
        for _ in 0..TIMES {
            between();
            walls.push(meter::timed(|| self.server.get(&ask.path)).1);
        }
        // The kernel tells 10 ms, so a short one is asked more often.
        let mut asked = 7;
        let cpu = || meter::process_cpu(self.server.pid()).saturating_sub(before);
        while asked < 100 && cpu() < Duration::from_millis(200) {
            self.server.get(&ask.path);
            asked += 1;
        }
        (meter::median(walls), cpu() / asked)
    }
}

fn told(ask: &Ask, wall: Duration, cpu: Duration) -> String {
    format!("{}: {} (CPU {})", ask.shown, short(meter::ms(wall)), short(meter::ms(cpu)))
}
