//! Every call of the HTTP API over a store on a real disk: shapes, errors, guards, paging while
//! records arrive, the live stream.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};
use shirabe::base::limits::{TAIL_QUEUE_RECORDS_MAX, TAILS_MAX};
use shirabe::base::machine::{Clock, SystemClock, SystemDisk};
use shirabe::base::metrics::Metrics;
use shirabe::base::record::{Defect, Defects, Line, Record, Severity, Via};
use shirabe::base::time::Timestamp;
use shirabe::base::value::{self, Field};
use shirabe::config::load::{Inputs, load};
use shirabe::serve::{self, Parts, State};
use shirabe::store::{Options, Store};
use shirabe::watch::tail::Hub;

use crate::support::{PATIENCE, eventually, urlencode};

/// A server of this process: a store, the routes, no senders.
struct Api {
    address: SocketAddr,
    state: State,
    runtime: Option<tokio::runtime::Runtime>,
    _dir: tempfile::TempDir,
}

impl Api {
    fn start() -> Self {
        Self::with_config("")
    }

    fn with_config(config: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let loaded = load(&Inputs {
            file: Some(("test.toml".into(), config.to_owned())),
            env: Vec::new(),
            flags: Vec::new(),
            machine_memory_bytes: 1 << 30,
            hostname: "test".into(),
            read: &|path| std::fs::read(path),
        })
        .expect("a configuration");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let hub = Arc::new(Hub::default());
        let metrics = Arc::new(Metrics::default());
        let publish = Arc::clone(&hub);
        let options = Options {
            data_dir: dir.path().join("data"),
            live_bytes_max: 64 << 20,
            storage: shirabe::config::Storage { min_free_bytes: 0, ..Default::default() },
            retention: Vec::new(),
            on_commit: Box::new(move |batch| publish.publish(batch)),
            metrics: Arc::clone(&metrics),
        };
        let store =
            Store::open(options, Arc::new(SystemDisk), Arc::clone(&clock)).expect("a store");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let (address, state) = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let http = listener.local_addr().expect("an address");
            let config = Arc::new(loaded.config);
            let bound = Vec::new();
            let parts = Parts { store, hub, metrics, config, clock, bound, http };
            let state = State::new(parts);
            let extra = axum::Router::new().route("/api/v1/panic", axum::routing::get(panics));
            let router = serve::router(&state, extra);
            tokio::spawn(serve::run(listener, state.clone(), router));
            (http, state)
        });
        Self { address, state, runtime: Some(runtime), _dir: dir }
    }

    /// Appends and waits until it is durable.
    fn append(&self, records: Vec<Record>) {
        let (done, wait) = channel();
        let tell = move |result| drop(done.send(result));
        self.state.store.append(records, Box::new(tell));
        wait.recv_timeout(PATIENCE).expect("an end").expect("durable");
    }

    fn append_lines(&self, lines: impl IntoIterator<Item = String>) {
        self.append(lines.into_iter().map(|text| line(&text, 0)).collect());
    }

    /// Sends a request as it stands; status, head and body of the answer.
    fn raw(&self, request: &str) -> (u16, String, Vec<u8>) {
        let mut stream = TcpStream::connect(self.address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
        let body = answer.split_off(end);
        let head = String::from_utf8(answer).expect("a head");
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
        (status, head.to_ascii_lowercase(), body)
    }

    /// A request with these header lines (each with its CRLF) and this body.
    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String, Vec<u8>) {
        let host = if headers.contains("host:") {
            String::new()
        } else {
            format!("host: {}\r\n", self.address)
        };
        let length = body.len();
        self.raw(&format!(
            "{method} {path} HTTP/1.1\r\n{host}connection: close\r\ncontent-length: {length}\r\n\
             {headers}\r\n{body}"
        ))
    }

    fn get(&self, path: &str) -> (u16, Value) {
        let (status, _, body) = self.ask("GET", path, "", "");
        (status, json_of(&body))
    }

    fn ok(&self, path: &str) -> Value {
        let (status, answer) = self.get(path);
        assert_eq!(status, 200, "GET {path}: {answer}");
        answer
    }

    /// Follows `next` to the end; `between` is called after each page.
    fn all(&self, address: &str, mut between: impl FnMut()) -> Vec<String> {
        let mut messages = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.ok(&format!("{address}{cursor}"));
            let records = page["records"].as_array().expect("records");
            messages
                .extend(records.iter().map(|r| r["message"].as_str().expect("text").to_owned()));
            between();
            let Some(next) = page["next"].as_str() else { return messages };
            cursor = format!("&cursor={}", urlencode(next));
        }
    }

    /// Follows the live stream; returns once the server has answered.
    fn tail(&self, parameters: &str, headers: &str) -> Tail {
        Tail::open(self.address, parameters, headers)
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.state.stop();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(10));
        }
        drop(self.state.store.close());
    }
}

async fn panics() -> &'static str {
    panic!("on purpose")
}

/// One event of a stream.
#[derive(Debug, PartialEq)]
struct Event {
    id: Option<String>,
    name: String,
    data: Value,
}

/// A client that reads when it is asked to.
struct Tail {
    lines: BufReader<TcpStream>,
}

impl Tail {
    fn open(address: SocketAddr, parameters: &str, headers: &str) -> Self {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        // HTTP/1.0: the body comes without chunks, as the events themselves.
        let request =
            format!("GET /api/v1/tail?{parameters} HTTP/1.0\r\nhost: {address}\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut lines = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(lines.read_line(&mut head).expect("a head") > 0, "{head}");
        }
        assert!(head.contains(" 200 "), "{head}");
        assert!(head.to_ascii_lowercase().contains("content-type: text/event-stream"), "{head}");
        Self { lines }
    }

    /// The next event with data; `None` at the end of the stream.
    fn next(&mut self) -> Option<Event> {
        let (mut id, mut name, mut data) = (None, String::new(), String::new());
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).expect("a line in time") == 0 {
                return None;
            }
            let line = line.trim_end_matches('\n');
            if line.is_empty() {
                if !data.is_empty() {
                    let data = serde_json::from_str(&data).expect("JSON");
                    return Some(Event { id, name, data });
                }
                (id, name) = (None, String::new());
            } else if let Some(value) = line.strip_prefix("id: ") {
                id = Some(value.to_owned());
            } else if let Some(value) = line.strip_prefix("event: ") {
                value.clone_into(&mut name);
            } else if let Some(value) = line.strip_prefix("data: ") {
                data.push_str(value);
            } else {
                assert!(line.starts_with(':'), "{line:?}");
            }
        }
    }

    /// The next `n` events, which must be records: their messages.
    fn messages(&mut self, n: usize) -> Vec<String> {
        let next = || {
            let event = self.next().expect("an event");
            assert_eq!((&*event.name, event.id.as_deref()), ("record", event.data["id"].as_str()));
            event.data["message"].as_str().expect("a message").to_owned()
        };
        std::iter::repeat_with(next).take(n).collect()
    }
}

fn json_of(body: &[u8]) -> Value {
    let text = String::from_utf8_lossy(body);
    serde_json::from_slice(body).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// A record of a time: `seconds` after 2026-03-01 09:00, of host `web-1` and app `nginx`.
fn line(text: &str, seconds: i64) -> Record {
    let start = Timestamp::parse_rfc3339("2026-03-01T09:00:00Z").expect("a time");
    let time = Timestamp(start.0 + seconds * 1_000_000_000);
    let via = Via {
        format: "rfc5424".into(),
        listener: "syslog".into(),
        transport: "tcp".into(),
        peer: "10.1.2.3".into(),
    };
    Record {
        id: 0,
        time,
        received: time.floor_to_millis(),
        host: "web-1".into(),
        app: "nginx".into(),
        severity: Some(Severity::Info),
        facility: None,
        pid: None,
        line: Line::text(text),
        fields: Vec::new(),
        format: None,
        via: Arc::new(via),
        tag: None,
        defects: Defects::default(),
    }
}

/// Six records of three hosts, times rising by ten seconds.
fn six() -> Vec<Record> {
    (0..6)
        .map(|n| {
            let mut record = line(&format!("request {n} took {}ms", n * 100), n * 10);
            record.host = ["web-1", "web-2", "db-1"][usize::try_from(n % 3).expect("small")].into();
            record.severity = Some(if n % 2 == 0 { Severity::Info } else { Severity::Error });
            record.fields =
                vec![Field { name: "status".into(), value: value::Value::Int(200 + n) }];
            record
        })
        .collect()
}

fn messages(answer: &Value) -> Vec<&str> {
    let records = answer["records"].as_array().expect("records");
    records.iter().map(|r| r["message"].as_str().expect("text")).collect()
}

#[test]
fn search_answers_records_newest_first() {
    let api = Api::start();
    api.append(six());
    let answer = api.ok("/api/v1/search");
    assert_eq!(messages(&answer).len(), 6);
    assert_eq!(messages(&answer)[0], "request 5 took 500ms");
    assert_eq!(answer["next"], json!(null));
    assert_eq!(answer["partial"], json!(false));
    assert!(answer["took_ms"].is_u64(), "{answer}");
    assert_eq!(answer.get("explain"), None);
    let first = &answer["records"][0];
    assert_eq!(first["time"], "2026-03-01T09:00:50Z");
    assert_eq!(first["host"], "db-1");
    assert_eq!(first["severity"], "error");
    assert_eq!(first["fields"], json!({"status": 205}));
    assert_eq!(first["via"]["peer"], "10.1.2.3");
    assert!(first["id"].as_str().is_some_and(|id| id.parse::<u64>().is_ok()), "{first}");

    let asc = api.ok("/api/v1/search?order=asc&limit=2&explain=true");
    assert_eq!(messages(&asc), ["request 0 took 0ms", "request 1 took 100ms"]);
    assert!(asc["next"].is_string() && asc["explain"].is_object(), "{asc}");

    for (parameters, expected) in [
        ("q=took", 6),
        ("q=REQUEST%203", 1),
        ("q=host:web-1", 2),
        ("q=status:%3E203", 2),
        ("q=", 6),
        ("q=nothing-like-this", 0),
        ("from=2026-03-01T09:00:10Z", 5),
        ("to=2026-03-01T09:00:10Z", 1),
        ("from=2026-03-01T09:00:10Z&to=2026-03-01T09:00:30Z", 2),
        ("from=1772355610&to=1772355630", 2),
        ("from=1772355610000&to=1772355630000", 2),
        ("from=2026-03-01T18:00:10%2B09:00", 5),
        ("from=2026-03-01%2018:00:10&tz=Asia/Tokyo", 5),
        ("to=now&from=", 6),
        ("from=-15m&to=-14m", 0),
        ("limit=4", 4),
        ("unknown=parameter", 6),
    ] {
        let answer = api.ok(&format!("/api/v1/search?{parameters}"));
        assert_eq!(messages(&answer).len(), expected, "{parameters}: {answer}");
    }
}

#[test]
fn a_form_is_as_good_as_an_address() {
    let api = Api::start();
    api.append(six());
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    for (path, member, expected) in [
        ("/api/v1/search", "/records/0/message", json!("request 3 took 300ms")),
        ("/api/v1/count", "/count", json!(1)),
        ("/api/v1/histogram", "/total", json!(1)),
    ] {
        let (status, _, body) = api.ask("POST", path, form, "q=%22request+3%22&limit=");
        let answer = json_of(&body);
        assert_eq!((status, answer.pointer(member)), (200, Some(&expected)), "{path}: {answer}");
        let (status, _, _) = api.ask("POST", &format!("{path}?q=took"), "", "");
        assert_eq!(status, 200, "{path}");
        let (status, _, body) = api.ask("POST", path, "content-type: text/xml\r\n", "<q/>");
        assert_eq!((status, &json_of(&body)["status"]), (415, &json!(415)), "{path}");
        let (status, _, body) = api.ask("POST", path, form, &"q=x".repeat(100_000));
        assert_eq!((status, &json_of(&body)["status"]), (413, &json!(413)), "{path}");
    }
}

#[test]
fn count_and_histogram_are_exact() {
    let api = Api::start();
    api.append(six());
    assert_eq!(api.ok("/api/v1/count")["count"], 6);
    let counted = api.ok("/api/v1/count?q=severity:error&from=2026-03-01T09:00:20Z&explain=1");
    assert_eq!(counted["count"], 2);
    assert_eq!(counted["partial"], false);
    assert!(counted["took_ms"].is_u64() && counted["explain"].is_object(), "{counted}");

    let range = "from=2026-03-01T09:00:00Z&to=2026-03-01T09:02:00Z";
    let answer = api.ok(&format!("/api/v1/histogram?interval=30s&by=severity&{range}"));
    assert_eq!(answer["interval_ms"], 30_000);
    assert_eq!(answer["total"], 6);
    assert_eq!(answer["partial"], false);
    assert_eq!(
        answer["buckets"],
        json!([
            {"time": "2026-03-01T09:00:00Z", "count": 3, "by": {"info": 2, "error": 1}},
            {"time": "2026-03-01T09:00:30Z", "count": 3, "by": {"info": 1, "error": 2}},
            {"time": "2026-03-01T09:01:00Z", "count": 0, "by": {}},
            {"time": "2026-03-01T09:01:30Z", "count": 0, "by": {}},
        ])
    );
    let plain = api.ok(&format!("/api/v1/histogram?{range}"));
    let buckets = plain["buckets"].as_array().expect("buckets");
    assert!((30..=120).contains(&buckets.len()), "{} buckets", buckets.len());
    assert_eq!(buckets[0].get("by"), None);
    let sum: u64 = buckets.iter().map(|b| b["count"].as_u64().expect("a count")).sum();
    assert_eq!(sum, 6);
}

#[test]
fn records_by_id_and_their_bytes() {
    let api = Api::start();
    let bytes = b"caf\xe9 \x00\x7f\r".as_slice();
    let mut odd = line("", 0);
    odd.line = Line::spanning(bytes, 0, bytes.len());
    odd.defects.add(Defect::NotUtf8);
    api.append(vec![line("plain 調べ", 0), odd]);
    let found = api.ok("/api/v1/search?order=asc");
    let id = |n: usize| found["records"][n]["id"].as_str().expect("an id").to_owned();
    let (plain, odd) = (id(0), id(1));
    for sealed in [false, true] {
        assert_eq!(api.ok(&format!("/api/v1/records/{plain}")), found["records"][0], "{sealed}");
        let (status, head, body) = api.ask("GET", &format!("/api/v1/records/{plain}/raw"), "", "");
        assert_eq!((status, &*body), (200, "plain 調べ".as_bytes()));
        assert!(head.contains("content-type: text/plain; charset=utf-8\r\n"), "{head}");
        let (status, head, body) = api.ask("GET", &format!("/api/v1/records/{odd}/raw"), "", "");
        assert_eq!((status, &*body), (200, bytes));
        assert!(head.contains("content-type: application/octet-stream\r\n"), "{head}");
        assert!(head.contains("x-content-type-options: nosniff\r\n"), "{head}");
        assert_eq!(api.ok(&format!("/api/v1/records/{odd}"))["raw"], "Y2Fm6SAAfw0=");

        let many = api.ok(&format!("/api/v1/records?id={odd},{plain},999999"));
        assert_eq!(many["records"][0]["id"], *odd);
        assert_eq!(many["records"][1]["id"], *plain);
        assert_eq!(many["missing"], json!(["999999"]));
        assert_eq!(many["partial"], false);
        for path in ["/api/v1/records/999999", "/api/v1/records/999999/raw", "/api/v1/records/%FF"]
        {
            let (status, problem) = api.get(path);
            assert_eq!((status, &problem["status"]), (404, &json!(404)), "{path}: {problem}");
        }
        if !sealed {
            let (status, _, body) = api.ask("POST", "/api/v1/seal?merge=true", "", "");
            let answer = json_of(&body);
            assert_eq!((status, &answer), (200, &json!({"segments": 1})));
        }
    }
}

#[test]
fn what_does_not_read_is_a_problem_document() {
    let api = Api::start();
    for (path, status, parameter) in [
        ("/api/v1/search?limit=0", 400, Some("limit")),
        ("/api/v1/search?limit=10001", 400, Some("limit")),
        ("/api/v1/search?limit=many", 400, Some("limit")),
        ("/api/v1/search?order=up", 400, Some("order")),
        ("/api/v1/search?cursor=AAAA", 400, Some("cursor")),
        ("/api/v1/search?explain=perhaps", 400, Some("explain")),
        ("/api/v1/search?from=whenever", 400, Some("from")),
        ("/api/v1/count?to=32.13.2026", 400, Some("to")),
        ("/api/v1/count?tz=Mars/Olympus", 400, Some("tz")),
        ("/api/v1/histogram?interval=0s", 400, Some("interval")),
        ("/api/v1/histogram?interval=soon", 400, Some("interval")),
        ("/api/v1/histogram?buckets=1000000", 400, Some("buckets")),
        ("/api/v1/tail?after=x", 400, Some("after")),
        ("/api/v1/records?id=1,b", 400, Some("id")),
        ("/api/v1/records", 400, Some("id")),
        ("/api/v1/search?q=a&q=b", 400, None),
        ("/api/v1/no-such-call", 404, None),
        ("/api/v1/search/deeper", 404, None),
        ("/no-such-page", 404, None),
        ("/api/v1/seal", 405, None),
    ] {
        let (got, head, body) = api.ask("GET", path, "", "");
        let problem = json_of(&body);
        assert_eq!(got, status, "{path}: {problem}");
        assert!(head.contains("content-type: application/problem+json\r\n"), "{path}: {head}");
        assert_eq!(problem["status"], status, "{path}: {problem}");
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
        assert_eq!(problem["parameter"].as_str(), parameter, "{path}: {problem}");
    }
    for path in ["/api/v1/search", "/api/v1/count", "/api/v1/histogram", "/api/v1/tail"] {
        for q in ["(a", "a AND", "a | count()"] {
            let (status, problem) = api.get(&format!("{path}?q={}", urlencode(q)));
            assert_eq!(status, 400, "{path} {q}: {problem}");
            assert!(problem["column"].is_u64() && problem["expected"].is_array(), "{problem}");
        }
        let (status, _) = api.get(&format!("{path}?q={}", "x".repeat(17 << 10)));
        assert_eq!(status, 400, "{path}");
    }
    let (status, head, _) = api.ask("DELETE", "/api/v1/search", "", "");
    assert_eq!(status, 405);
    assert!(head.contains("allow: "), "{head}");
}

#[test]
fn a_panic_is_an_answer() {
    let api = Api::start();
    let (status, head, body) = api.ask("GET", "/api/v1/panic", "", "");
    assert_eq!((status, &json_of(&body)["status"]), (500, &json!(500)));
    assert!(head.contains("content-type: application/problem+json\r\n"), "{head}");
    assert!(head.contains("content-security-policy: "), "{head}");
    assert_eq!(api.ok("/healthz"), json!({"status": "ok"}));
}

#[test]
fn a_cursor_returns_each_once_while_records_arrive_and_are_sealed() {
    for order in ["desc", "asc"] {
        let api = Api::start();
        // Times that are equal, and out of the order of arrival.
        api.append((0..100).map(|n| line(&format!("line {n}"), (n * 7) % 10)).collect());
        let mut arrivals = 0;
        let seen = api.all(&format!("/api/v1/search?q=line&limit=7&order={order}"), || {
            arrivals += 1;
            api.append(vec![line("line later", arrivals % 10)]);
            if arrivals % 3 == 0 {
                let (status, _, _) = api.ask("POST", "/api/v1/seal?merge=true", "", "");
                assert_eq!(status, 200);
            }
        });
        let mut each = seen.clone();
        each.sort_unstable();
        each.dedup();
        assert_eq!((seen.len(), each.len()), (100, 100), "{order}");
        assert!(!each.contains(&"line later".to_owned()), "{order}");
    }
}

#[test]
fn sources_tell_what_came() {
    let api = Api::start();
    api.append(six());
    let answer = api.ok("/api/v1/sources");
    assert_eq!(answer["sources"].as_array().map(Vec::len), Some(3), "{answer}");
    let web = &answer["hosts"][1];
    assert_eq!(web["host"], "web-1");
    assert_eq!((&web["records"], &web["defects"]), (&json!(2), &json!(0)));
    assert_eq!(
        (&web["first"], &web["last"]),
        (&json!("2026-03-01T09:00:00Z"), &json!("2026-03-01T09:00:30Z"))
    );
    assert!(web["bytes"].is_u64() && web["rate"].is_number(), "{web}");
    assert_eq!(answer["apps"][0]["app"], "nginx");
    assert_eq!(answer["apps"][0]["records"], 6);
    assert!(answer["dropped"].is_array() && answer["took_ms"].is_u64(), "{answer}");
}

#[test]
fn health_and_metrics() {
    let api = Api::start();
    api.append(six());
    assert_eq!(api.ok("/readyz"), json!({"status": "ready"}));
    let (status, head, body) = api.ask("GET", "/metrics", "", "");
    let text = String::from_utf8(body).expect("text");
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    for expected in [
        "shirabe_records 6\n",
        "shirabe_http_requests_total{status=\"200\"} 1\n",
        "# TYPE process_resident_memory_bytes gauge\n",
        "shirabe_accepting 1\n",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in {text}");
    }
}

#[test]
fn answers_are_compressed_when_asked() {
    let api = Api::start();
    api.append_lines((0..50).map(|n| format!("the same line {n}")));
    for coding in ["gzip", "zstd"] {
        let accept = format!("accept-encoding: {coding}\r\n");
        let (status, head, body) = api.ask("GET", "/api/v1/search", &accept, "");
        assert_eq!(status, 200);
        assert!(head.contains(&format!("content-encoding: {coding}\r\n")), "{head}");
        assert!(body.len() < 4_000, "{} bytes", body.len());
    }
}

#[test]
fn foreign_pages_and_names_are_refused() {
    let api = Api::start();
    let own = api.address.to_string();
    for (headers, status) in [
        (format!("origin: http://{own}\r\n"), 200),
        ("host: localhost:1\r\norigin: http://localhost:1\r\n".to_owned(), 200),
        ("origin: http://evil.example\r\n".to_owned(), 403),
        ("origin: null\r\n".to_owned(), 403),
        ("host: evil.example\r\n".to_owned(), 403),
        ("host: evil.example\r\norigin: http://evil.example\r\n".to_owned(), 403),
    ] {
        for (method, path) in
            [("GET", "/api/v1/count"), ("POST", "/api/v1/seal"), ("GET", "/healthz")]
        {
            let (got, head, _) = api.ask(method, path, &headers, "");
            assert_eq!(got, status, "{method} {path} {headers}");
            assert!(!head.contains("access-control-allow"), "{head}");
        }
    }
}

#[test]
fn the_token_is_asked_for_once() {
    let api = Api::with_config("[auth]\ntoken = \"open-sesame\"\n");
    let (status, _) = api.get("/readyz");
    assert_eq!(status, 200);
    let (status, _) = api.get("/healthz");
    assert_eq!(status, 200);
    for path in ["/api/v1/search", "/metrics", "/api/v1/no-such-call"] {
        let (status, head, body) = api.ask("GET", path, "", "");
        assert_eq!((status, &json_of(&body)["status"]), (401, &json!(401)), "{path}");
        assert!(head.contains("www-authenticate: bearer\r\n"), "{head}");
        let (status, ..) = api.ask("GET", path, "authorization: Bearer sesame\r\n", "");
        assert_eq!(status, 401, "{path}");
    }
    let (status, ..) =
        api.ask("GET", "/api/v1/search", "authorization: Bearer open-sesame\r\n", "");
    assert_eq!(status, 200);

    let form = "content-type: application/x-www-form-urlencoded\r\n";
    let (status, head, body) = api.ask("GET", "/login?next=/?q=a", "", "");
    let page = String::from_utf8(body).expect("a page");
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/html"), "{head}");
    assert!(page.contains("name=\"token\"") && page.contains("value=\"/?q=a\""), "{page}");
    let (status, head, _) = api.ask("POST", "/login", form, "token=wrong");
    assert_eq!(status, 403);
    assert!(!head.contains("set-cookie"), "{head}");
    let (status, head, _) = api.ask("POST", "/login", form, "token=open-sesame&next=/?q%3Da");
    assert_eq!(status, 303, "{head}");
    assert!(head.contains("location: /?q=a\r\n"), "{head}");
    let cookie = head.lines().find_map(|l| l.strip_prefix("set-cookie: ")).expect("a cookie");
    assert!(cookie.contains("httponly") && cookie.contains("samesite=strict"), "{cookie}");
    assert!(!cookie.contains("sesame"), "{cookie}");

    let (status, _, body) = api.ask("GET", "/?q=a", "accept: text/html\r\n", "");
    let page = String::from_utf8(body).expect("a page");
    assert_eq!(status, 401);
    assert!(page.contains("/login?next="), "{page}");
}

#[test]
fn the_cookie_opens() {
    let api = Api::with_config("[auth]\ntoken = \"open-sesame\"\n");
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).build().into();
    let answer = agent
        .post(format!("http://{}/login", api.address))
        .send_form([("token", "open-sesame")])
        .expect("an answer");
    let cookie = answer.headers()["set-cookie"].to_str().expect("text");
    let pair = cookie.split(';').next().expect("a pair");
    let (status, ..) = api.ask("GET", "/api/v1/count", &format!("cookie: {pair}\r\n"), "");
    assert_eq!(status, 200);
    // Signed in already: straight on.
    let (status, head, _) =
        api.ask("GET", "/login?next=/records/1", &format!("cookie: {pair}\r\n"), "");
    assert_eq!(status, 303);
    assert!(head.contains("location: /records/1\r\n"), "{head}");
}

#[test]
fn the_tail_gives_what_matches_from_now_on() {
    let api = Api::start();
    api.append_lines(["error before".to_owned()]);
    let mut all = api.tail("", "");
    let mut errors = api.tail("q=error", "");
    api.append_lines(["one", "an error", "two"].map(str::to_owned));
    assert_eq!(all.messages(3), ["one", "an error", "two"]);
    assert_eq!(errors.messages(1), ["an error"]);
    api.append_lines(["another ERROR".to_owned()]);
    assert_eq!(errors.messages(1), ["another ERROR"]);
    let event = all.next().expect("an event");
    assert_eq!((event.name.as_str(), event.id.as_deref()), ("record", event.data["id"].as_str()));
    assert_eq!(event.data["via"]["transport"], "tcp");
}

#[test]
fn the_tail_resumes_exactly() {
    let api = Api::start();
    api.append_lines((0..1_500).map(|n| format!("line {n}")));
    let found = api.ok("/api/v1/search?q=%22line%20299%22");
    let id = found["records"][0]["id"].as_str().expect("an id");
    let (status, ..) = api.ask("POST", "/api/v1/seal", "", "");
    assert_eq!(status, 200);
    api.append_lines((1_500..2_000).map(|n| format!("line {n}")));
    for (parameters, headers) in [
        ("q=line".to_owned(), format!("last-event-id: {id}\r\n")),
        (format!("q=line&after={id}"), String::new()),
        ("q=line&after=1".to_owned(), format!("last-event-id: {id}\r\n")),
    ] {
        let before = api.ok("/api/v1/count")["count"].as_u64().expect("a count");
        let mut tail = api.tail(&parameters, &headers);
        api.append_lines((before..before + 10).map(|n| format!("line {n}")));
        let expected: Vec<String> = (300..before + 10).map(|n| format!("line {n}")).collect();
        assert_eq!(tail.messages(expected.len()), expected, "{parameters} {headers}");
    }
    // Of another server: nothing of ours lies behind it.
    let mut tail = api.tail("", "last-event-id: 99999999999\r\n");
    api.append_lines(["after".to_owned()]);
    assert_eq!(tail.messages(1), ["after"]);
}

#[test]
fn a_reader_that_stops_is_told_what_it_missed_and_holds_up_nobody() {
    let api = Api::start();
    let mut slow = api.tail("q=line", "");
    let mut sent = 0_u64;
    let pad = "x".repeat(2_000);
    // Much more than sockets and queue hold. Every second one is not this reader's.
    while sent < 4 * TAIL_QUEUE_RECORDS_MAX as u64 {
        let batch = (0..2_000).map(|n| {
            let word = if n % 2 == 0 { "line" } else { "other" };
            format!("{word} {} {pad}", sent + n)
        });
        api.append_lines(batch);
        sent += 2_000;
    }
    let mut quick = api.tail("q=quick", "");
    api.append_lines(["quick, the last line".to_owned()]);
    assert_eq!(quick.messages(1), ["quick, the last line"]);
    let (mut got, mut skipped, mut last_id) = (0_u64, 0_u64, 0_u64);
    loop {
        let event = slow.next().expect("an event");
        match &*event.name {
            "record" => {
                got += 1;
                let id: u64 = event.id.expect("an id").parse().expect("a number");
                assert!(id > last_id);
                last_id = id;
            }
            "lag" => skipped += event.data["skipped"].as_u64().expect("a count"),
            other => panic!("{other}"),
        }
        // The last line may itself be in the gap.
        if got + skipped > sent / 2 {
            break;
        }
    }
    assert_eq!(got + skipped, sent / 2 + 1);
    assert!(skipped > 0, "nothing was skipped: {got}");
}

#[test]
fn places_of_readers_are_bounded_and_come_back() {
    let api = Api::start();
    let mut tails: Vec<Tail> = (0..TAILS_MAX).map(|_| api.tail("", "")).collect();
    let (status, head, _) = api.ask("GET", "/api/v1/tail", "", "");
    assert_eq!(status, 503);
    assert!(head.contains("retry-after: "), "{head}");
    tails.clear();
    assert!(eventually(|| api.state.hub.readers() == 0), "readers stay");
}

#[test]
fn streams_end_when_the_server_stops() {
    let api = Api::start();
    let mut tail = api.tail("", "");
    let (ended, wait): (_, Receiver<Option<Event>>) = channel();
    let reader = std::thread::spawn(move || drop(ended.send(tail.next())));
    api.state.stop();
    assert_eq!(wait.recv_timeout(Duration::from_secs(10)).expect("an end"), None);
    reader.join().expect("a thread");
    assert!(eventually(|| TcpStream::connect(api.address).is_err()), "it still accepts");
}
