//! The language, by tables; the answers, against a naive evaluator (`oracle`).

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::*;
use crate::base::record::{Defect, Defects, Facility, Line, Severity, Via};
use crate::base::value::{Field, Value};
use crate::store::live::{Live, LiveChunk};

mod answers;
mod damaged;
mod hostile;
mod language;
mod oracle;
mod sealed;

pub(super) struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

pub(super) fn budget() -> Budget {
    Budget { clock: Arc::new(Still), deadline: None, cancelled: Arc::new(AtomicBool::new(false)) }
}

pub(super) fn context() -> Context {
    Context { now: Timestamp::parse_rfc3339("2026-03-02T12:00:00Z").unwrap(), zone: Zone::utc() }
}

pub(super) fn record(id: u64, time: i64, message: &str) -> Record {
    Record {
        id,
        time: Timestamp(time),
        received: Timestamp(time),
        host: "web-1".into(),
        app: "nginx".into(),
        severity: None,
        facility: None,
        pid: None,
        line: Line::text(message),
        fields: Vec::new(),
        format: None,
        via: Arc::new(Via {
            format: "rfc5424".into(),
            listener: "syslog".into(),
            transport: "udp".into(),
            peer: "10.9.9.9".into(),
        }),
        tag: None,
        defects: Defects::default(),
    }
}

pub(super) fn field(name: &str, value: Value) -> Field {
    Field { name: name.into(), value }
}

/// One chunk for each group of records.
pub(super) fn snapshot(groups: Vec<Vec<Record>>) -> Snapshot {
    let chunk = |records: Vec<Record>| -> Option<Arc<dyn crate::store::Chunk>> {
        let live = LiveChunk::new(records.into_iter().map(Arc::new).collect())?;
        Some(Arc::new(Live(live)))
    };
    Snapshot::new(groups.into_iter().filter_map(chunk).collect())
}

/// The records that the tables ask for.
fn shop() -> Vec<Record> {
    let second = 1_000_000_000;
    let base = Timestamp::parse_rfc3339("2026-03-01T09:00:00Z").unwrap().0;
    let mut id = 0;
    let mut next = |message: &str| {
        id += 1;
        record(id, base + i64::try_from(id).unwrap() * second, message)
    };
    let mut timeout = next("upstream_timeout_ms exceeded: Connection refused");
    timeout.severity = Some(Severity::Error);
    timeout.fields = vec![
        field("http.response.status_code", Value::Int(504)),
        field("client.address", Value::str("10.1.2.3")),
        field("url.path", Value::str("/login.php")),
    ];
    let mut login = next("user Ann logged in at 12:30:01 from http://x/y?z=1 [::1] (ok) -> home");
    login.host = "web-2".into();
    login.app = "shop".into();
    login.severity = Some(Severity::Info);
    login.pid = Some("4711".into());
    login.facility = Facility::from_code(4);
    login.fields =
        vec![field("auth.user", Value::str("Ann Lee")), field("size", Value::Float(1.5))];
    let mut japanese = next("検索に失敗: 調べ ガラス ﾃﾞｰﾀ ＥＲＲＯＲ");
    japanese.host = "db-3".into();
    japanese.app = "haproxy".into();
    japanese.severity = Some(Severity::Warning);
    japanese.format = Some("nginx.access".into());
    japanese.tag = Some("kube.app".into());
    japanese.fields = vec![
        field("user", Value::str("bob")),
        field("status", Value::str("404")),
        field("labels.zone", Value::str("a-1")),
        field("tags", Value::Array(vec![Value::str("red"), Value::Int(7)])),
        field("host", Value::str("inner")),
        field("odd key", Value::Bool(true)),
    ];
    let mut multi = next("ERROR: first line\n  at main.c(12) \"quoted \\ text\"\nlast time is out");
    multi.severity = Some(Severity::Crit);
    multi.defects.add(Defect::NotUtf8);
    multi.fields = vec![
        field("client.address", Value::str("2001:db8::7")),
        field("level", Value::Int(30)),
        field("status", Value::Int(200)),
        field("empty", Value::Null),
    ];
    let mut plain = next("debug msg=\"a b\" key:\"c d\" user=bob said:\"hello");
    plain.severity = Some(Severity::Debug);
    plain.app = "cron".into();
    vec![timeout, login, japanese, multi, plain]
}

fn ids(query: &str) -> Vec<u64> {
    let query = Query::parse(query, &context()).unwrap_or_else(|e| panic!("{query}: {e:?}"));
    let groups = shop().into_iter().map(|r| vec![r]).collect();
    let found = search(&snapshot(groups), &query, TimeRange::ALL, Order::Asc, 100, None, &budget())
        .unwrap();
    let printed = query.to_string();
    assert_eq!(Query::parse(&printed, &context()).as_ref(), Ok(&query), "{printed}");
    found.value.records.iter().map(|r| r.id).collect()
}

#[test]
fn words_and_texts() {
    let check = |query: &str, want: &[u64]| assert_eq!(ids(query), want, "{query}");
    check("", &[1, 2, 3, 4, 5]);
    check("*", &[1, 2, 3, 4, 5]);
    check("timeout", &[1]);
    check("TIMEOUT", &[1]);
    check("conn refused", &[1]);
    check("conn AND refused", &[1]);
    check("conn && refused", &[1]);
    check("conn&&refused", &[1]);
    check("timeout OR logged", &[1, 2]);
    check("timeout || logged", &[1, 2]);
    check("timeout||logged", &[1, 2]);
    check("conn refused OR logged in", &[1, 2]);
    check("timeout or logged", &[]);
    check("-debug", &[1, 2, 3, 4]);
    check("NOT debug", &[1, 2, 3, 4]);
    check("!debug", &[1, 2, 3, 4]);
    check("NOT NOT debug", &[5]);
    check("-(debug OR timeout)", &[2, 3, 4]);
    check("(timeout OR logged) ann", &[2]);
    check("NOT(timeout) NOT(debug)", &[2, 3, 4]);
    check("\"connection refused\"", &[1]);
    check("\"connection  refused\"", &[]);
    check("'Connection refused'", &[1]);
    check("'connection refused'", &[]);
    check("/time(out)?_ms/", &[1]);
    check("/TIMEOUT/", &[]);
    check("/TIMEOUT/i", &[1]);
    check("/^last/", &[]);
    check("/(?m)^last/", &[4]);
    check("調べ", &[3]);
    check("検索 失敗", &[3]);
    check("ﾃﾞｰﾀ", &[3]);
    check("データ", &[3]);
    check("カ", &[]);
    check("ｶﾞﾗｽ", &[3]);
    check("error", &[3, 4]);
    check("'ERROR'", &[4]);
    check("time*out", &[1, 4]);
    check("first*last", &[]);
    check("word:out", &[4]);
    check("word:time", &[4]);
    check("word:upstream_timeout_ms", &[1]);
    check("web-2", &[2]);
    check("haproxy", &[3]);
    check("10.1.2.3", &[1]);
    check("504", &[1]);
    check("red", &[3]);
    check("true", &[3]);
    check("\"\"", &[1, 2, 3, 4, 5]);
}

#[test]
fn pasted_text_is_text() {
    let check = |query: &str, want: &[u64]| assert_eq!(ids(query), want, "{query}");
    check("12:30:01", &[2]);
    check("http://x", &[2]);
    check("ERROR:", &[4]);
    check("::1", &[2]);
    check("[::1]", &[2]);
    check("(ok)", &[2]);
    check("-> home", &[2]);
    check("->", &[2]);
    check("at main.c(12)", &[4]);
    check("user Ann logged in at 12:30:01 from http://x/y?z=1 [::1] (ok) -> home", &[2]);
    check("debug msg=\"a b\" key:\"c d\" user=bob said:\"hello", &[5]);
    check("upstream_timeout_ms exceeded: Connection refused", &[1]);
    check("key:\"c d\"", &[5]);
    check("said:\"hello", &[5]);
    check("検索に失敗: 調べ", &[3]);
    check("\"\\\"quoted \\\\ text\\\"\"", &[4]);
    check("/login.php", &[1]);
    check("y?z=1", &[2]);
    check("()", &[]);
    check("main.c(12", &[4]);
    check("c(12) \"quoted", &[4]);
    check("ok) -> home", &[2]);
    check("\\ text\" last", &[4]);
    check("debug | cron", &[]);
    check("said:\"hello (x", &[]);
    check("Ann | in (ok", &[]);
    check("in 'at", &[]);
    check("x=-5, -0500] /* */", &[]);
}

#[test]
fn fields() {
    let check = |query: &str, want: &[u64]| assert_eq!(ids(query), want, "{query}");
    check("host:web-2", &[2]);
    check("host:WEB-2", &[2]);
    check("host:web", &[]);
    check("host:web-*", &[1, 2, 4, 5]);
    check("app:shop,haproxy", &[2, 3]);
    check("app:shop, haproxy", &[]);
    check("-host:web-*", &[3]);
    check("program:cron", &[5]);
    check("hostname:db-3", &[3]);
    check("service.name:cron", &[5]);
    check("level:error", &[1]);
    check("level:30", &[4]);
    check("severity:error", &[1]);
    check("severity:err,crit", &[1, 4]);
    check("severity>=warning", &[1, 3, 4]);
    check("severity:>=warning", &[1, 3, 4]);
    check("severity<info", &[5]);
    check("severity:[info TO warning]", &[2, 3]);
    check("severity:debug..info", &[2, 5]);
    check("severity:*", &[1, 2, 3, 4, 5]);
    check("severity:warn*", &[3]);
    check("status:504", &[1]);
    check("status>=404", &[1, 3]);
    check("status:400..599", &[1, 3]);
    check("status:[404 TO 504]", &[1, 3]);
    check("status:{404 TO *}", &[1]);
    check("status:[* TO 404}", &[4]);
    check("status:404.0", &[3]);
    check("status:4*", &[3]);
    check("status:200,404", &[3, 4]);
    check("status:100..300,404", &[3, 4]);
    check("size>1", &[2]);
    check("size:1.50", &[2]);
    check("client.address:10.0.0.0/8", &[1]);
    check("client.address:2001:db8::/32", &[4]);
    check("client.address:2001:0db8:0::7", &[4]);
    check("client_ip:10.1.2.3", &[1]);
    check("user:*", &[2, 3]);
    check("-user:*", &[1, 4, 5]);
    check("nowhere:*", &[]);
    check("empty:*", &[4]);
    check("url.path:/login*", &[1]);
    check("user:\"Ann Lee\"", &[2]);
    check("user:\"Ann\"", &[]);
    check("user:(\"ann lee\" OR bob)", &[2, 3]);
    check("user:(* -bob)", &[2]);
    check("user~ann", &[2]);
    check("user~'Ann'", &[2]);
    check("user~'ann'", &[]);
    check("user~/^b.b$/", &[3]);
    check("user~/^B/i", &[3]);
    check("url.path~/\\.php$/", &[1]);
    check("message~\"logged in\"", &[2]);
    check("message~/^user/", &[2]);
    check("message:\"検索に失敗*\"", &[]);
    check("message:検索に失敗*", &[3]);
    check("message:user*", &[2]);
    check("labels.*:a-1", &[3]);
    check("labels.*:*", &[3]);
    check("tags:red", &[3]);
    check("tags:7", &[3]);
    check("tags>6", &[3]);
    check("id:2", &[2]);
    check("id:2,4", &[2, 4]);
    check("id>=4", &[4, 5]);
    check("format:nginx.access", &[3]);
    check("format:*", &[3]);
    check("defect:not-utf8", &[4]);
    check("defect:*", &[4]);
    check("listener:syslog", &[1, 2, 3, 4, 5]);
    check("via.transport:udp via.peer:10.0.0.0/8 id:1", &[1]);
    check("tag:kube.*", &[3]);
    check("pid:4711", &[2]);
    check("facility:auth", &[2]);
    check("fields.host:inner", &[3]);
    check("\"odd key\":true", &[3]);
    check("\"host\":inner", &[3]);
    check("time>=2026-03-01T09:00:04Z", &[4, 5]);
    check("time:2026-03-01", &[1, 2, 3, 4, 5]);
    check("time:2026-03-02", &[]);
    check("user:bob -severity:error", &[3]);
    // `said` and `key` are no fields here, so these are texts.
    check("key:*", &[]);
    check("-nosuch:thing", &[1, 2, 3, 4, 5]);
}

#[test]
fn times() {
    let check = |query: &str, want: &[u64]| assert_eq!(ids(query), want, "{query}");
    check("since:2026-03-01T09:00:04Z", &[4, 5]);
    check("until:2026-03-01T09:00:04Z", &[1, 2, 3]);
    check("since:2026-03-01T09:00:02Z until:2026-03-01T09:00:04Z", &[2, 3]);
    check("since:2h", &[]);
    check("since:2d", &[1, 2, 3, 4, 5]);
    check("since:\"yesterday 9:00:03\"", &[3, 4, 5]);
    check("until:today timeout", &[1]);
    check("since:2d timeout OR debug", &[1, 5]);
}
