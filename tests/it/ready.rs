//! Every file of `ingest-config/` reads, names the ports that we listen on by default, and is
//! exercised: rsyslog and syslog-ng by the real programs (`senders`), fluent-bit by its recorded
//! bytes (`recordings`), Docker and `FireLens` here by messages of the shape that they send.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use crate::support::{Server, repository};

/// File, and the test that exercises it.
const EXERCISED: &[(&str, &str)] = &[
    ("rsyslog.conf", "senders::rsyslog_tcp_with_our_configuration"),
    ("rsyslog-udp.conf", "senders::rsyslog_udp_with_our_configuration"),
    ("rsyslog-tls.conf", "senders::rsyslog_tls_with_our_configuration"),
    ("syslog-ng.conf", "senders::syslog_ng_syslog_driver_with_our_configuration"),
    ("syslog-ng-3164.conf", "senders::syslog_ng_network_driver_with_our_configuration"),
    ("fluent-bit.yaml", "recordings: fluent-bit-5.1.1/forward-gzip-ack"),
    ("docker-fluentd.json", "ready::docker_fluentd_driver"),
    ("docker-syslog.json", "ready::docker_syslog_driver"),
    ("ecs-firelens.json", "ready::ecs_firelens"),
];

#[test]
fn every_ready_configuration_is_exercised() {
    let folder = std::fs::read_dir(repository("ingest-config")).expect("ingest-config");
    for entry in folder.map(|entry| entry.expect("an entry")) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == "README.md" || entry.path().is_dir() {
            continue;
        }
        let listed = EXERCISED.iter().any(|(file, _)| *file == name);
        assert!(listed, "ingest-config/{name} is exercised by no test");
        let text = std::fs::read_to_string(entry.path()).expect("a configuration");
        let ports = ["5514", "6514", "24224"];
        assert!(ports.iter().any(|port| text.contains(port)), "{name} names no port of ours");
        if entry.path().extension().is_some_and(|e| e == "json") {
            let read: Result<Value, _> = serde_json::from_str(&text);
            assert!(read.is_ok(), "{name}: {read:?}");
        }
    }
    for (file, _) in EXERCISED {
        assert!(repository("ingest-config").join(file).is_file(), "{file} is gone");
    }
}

/// msgpack of `[tag, EventTime, {…}, {"chunk": …}]`, as fluent-logger-golang writes it.
fn message(tag: &str, record: &[(&str, &str)], chunk: Option<&str>) -> Vec<u8> {
    let mut out = Vec::new();
    let elements = if chunk.is_some() { 4 } else { 3 };
    rmp::encode::write_array_len(&mut out, elements).expect("memory");
    rmp::encode::write_str(&mut out, tag).expect("memory");
    rmp::encode::write_ext_meta(&mut out, 8, 0).expect("memory");
    out.extend(1_790_000_000_u32.to_be_bytes());
    out.extend(123_456_789_u32.to_be_bytes());
    rmp::encode::write_map_len(&mut out, u32::try_from(record.len()).expect("few"))
        .expect("memory");
    for (key, value) in record {
        rmp::encode::write_str(&mut out, key).expect("memory");
        rmp::encode::write_str(&mut out, value).expect("memory");
    }
    if let Some(chunk) = chunk {
        rmp::encode::write_map_len(&mut out, 1).expect("memory");
        rmp::encode::write_str(&mut out, "chunk").expect("memory");
        rmp::encode::write_str(&mut out, chunk).expect("memory");
    }
    out
}

fn send(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("connect");
    stream.write_all(bytes).expect("send");
    stream.shutdown(std::net::Shutdown::Write).expect("end");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the server's answer and end");
    answer
}

fn only_record(server: &Server, q: &str) -> Value {
    server.wait_count(q, 1);
    server.all(q, 10).remove(0)
}

#[test]
fn docker_fluentd_driver() {
    let server = Server::start();
    let record = [
        ("container_id", "3f2a9c1b7d10"),
        ("container_name", "/web"),
        ("source", "stderr"),
        ("log", "docker says 調べ"),
    ];
    send(&server.address("forward", "tcp"), &message("docker.web", &record, None));
    let got = only_record(&server, "docker 調べ");
    assert_eq!(got["message"], "docker says 調べ");
    assert_eq!(got["app"], "/web", "the name of the container");
    assert_eq!(got["via"]["tag"], "docker.web");
    assert_eq!(got["time"], "2026-09-21T14:13:20.123456789Z");
    assert_eq!(got["fields"]["source"], "stderr");
}

#[test]
fn docker_syslog_driver() {
    let server = Server::start();
    let line = "<30>1 2026-02-05T17:32:18.123456+09:00 node1 web 912 web - GET / 200 調べ\n";
    send(&server.address("syslog", "tcp"), line.as_bytes());
    let got = only_record(&server, "調べ");
    assert_eq!(
        (&got["host"], &got["app"], &got["pid"]),
        (&"node1".into(), &"web".into(), &"912".into())
    );
    assert_eq!(got["message"], "GET / 200 調べ");
    assert_eq!(got["time"], "2026-02-05T08:32:18.123456Z");
}

#[test]
fn ecs_firelens() {
    let server = Server::start();
    let record = [
        ("container_id", "0123456789abcdef-1"),
        ("container_name", "web"),
        ("source", "stdout"),
        ("log", "GET /checkout 200"),
        ("ecs_cluster", "shop"),
        ("ecs_task_arn", "arn:aws:ecs:ap-northeast-1:111122223333:task/shop/0123456789abcdef"),
        ("ecs_task_definition", "shop:7"),
    ];
    let bytes = message("web-firelens-0123456789abcdef", &record, Some("Y2h1bmsgb25l"));
    let answer = send(&server.address("forward", "tcp"), &bytes);
    assert_eq!(answer, b"\x81\xa3ack\xacY2h1bmsgb25l", "acked, once it is durable");
    let got = only_record(&server, "ecs_cluster:shop checkout");
    assert_eq!(got["app"], "web");
    assert_eq!(got["fields"]["ecs_task_definition"], "shop:7");
}

/// Below the floor a sender is told how much is free and which setting keeps it so; nothing is lost,
/// and nothing is said to be.
#[test]
fn what_keeps_records_out_is_said_in_figures() {
    let server = Server::with_config("[storage]\nmin_free = \"900TB\"\n");
    let (status, answer) = server.post("/api/v1/ingest", "text/plain", b"a line\n");
    let detail = answer["detail"].as_str().unwrap_or_default();
    assert_eq!(status, 503, "{answer}");
    let want = " free on the disk, less than storage.min_free (818 TiB)";
    assert!(detail.starts_with("not accepted: ") && detail.ends_with(want), "{detail}");
    let page = String::from_utf8(server.get("/?q=line").1).expect("text");
    assert!(page.contains(" free, storage.min_free is 818 TiB: nothing is taken"), "{page}");
    assert!(page.contains("nothing dropped") && !page.contains("disk is full"), "{page}");
}
