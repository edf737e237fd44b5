//! The ways in, over real sockets: what is kept, what is answered, and what bad input comes to:
//! a record with a defect, a closed connection with a counted reason, or a refusal; never a panic
//! and never a stall of other senders.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::{Value, json};
use sha2::{Digest, Sha512};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, ServerName, pem::PemObject};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::{PATIENCE, Server, eventually};

fn connect(server: &Server, name: &str, transport: &str) -> TcpStream {
    let stream = TcpStream::connect(server.address(name, transport)).expect("a connection");
    stream.set_nodelay(true).expect("nodelay");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

fn syslog(server: &Server) -> TcpStream {
    connect(server, "syslog", "tcp")
}

fn forward(server: &Server) -> TcpStream {
    connect(server, "forward", "tcp")
}

/// A counter's value, summed over what its labels do not name.
fn metric(server: &Server, start: &str) -> u64 {
    let (_, text) = server.get("/metrics");
    String::from_utf8(text)
        .expect("text")
        .lines()
        .filter(|line| line.starts_with(start))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

fn wait_metric(server: &Server, start: &str, n: u64) {
    let mut last = 0;
    let came = eventually(|| {
        last = metric(server, start);
        last >= n
    });
    assert!(came && last == n, "{start} is {last}, expected {n}");
}

/// The server has closed: nothing more comes.
fn assert_closed(stream: &mut TcpStream, what: &str) {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(e) => assert_eq!(e.kind(), ErrorKind::ConnectionReset, "{what}: {e}"),
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("gzip");
    encoder.finish().expect("gzip")
}

// ---- msgpack, as much as a sender needs ----

fn pack(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, value);
    out
}

fn put(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => rmp::encode::write_nil(out).expect("nil"),
        Value::Bool(b) => rmp::encode::write_bool(out, *b).expect("bool"),
        Value::Number(n) => {
            rmp::encode::write_sint(out, n.as_i64().expect("an integer")).expect("integer");
        }
        Value::String(text) => rmp::encode::write_str(out, text).expect("text"),
        Value::Array(items) => {
            rmp::encode::write_array_len(out, u32::try_from(items.len()).expect("len"))
                .expect("array");
            for item in items {
                put(out, item);
            }
        }
        Value::Object(entries) => {
            rmp::encode::write_map_len(out, u32::try_from(entries.len()).expect("len"))
                .expect("map");
            for (key, item) in entries {
                rmp::encode::write_str(out, key).expect("key");
                put(out, item);
            }
        }
    }
}

/// A message in forward mode.
fn message(tag: &str, lines: &[String], chunk: Option<&str>) -> Vec<u8> {
    let entries: Vec<Value> =
        lines.iter().map(|l| json!([1_772_355_600, {"message": l, "host": "web-1"}])).collect();
    match chunk {
        Some(chunk) => pack(&json!([tag, entries, {"chunk": chunk}])),
        None => pack(&json!([tag, entries])),
    }
}

fn ack(chunk: &str) -> Vec<u8> {
    pack(&json!({"ack": chunk}))
}

fn read_exactly(stream: &mut impl Read, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).expect("an answer");
    bytes
}

fn expect_ack(stream: &mut impl Read, chunk: &str) {
    let wanted = ack(chunk);
    assert_eq!(read_exactly(stream, wanted.len()), wanted, "the ack of {chunk}");
}

// ---- what is kept and answered ----

#[test]
fn syslog_is_cut_anywhere() {
    let server = Server::start();
    let text = "31 <13>1 - web-1 a - - - counted 調\n<13>1 - web-1 a - - - delimited\n".as_bytes();
    for at in 1..text.len() {
        let mut stream = syslog(&server);
        let (first, second) = text.split_at(at);
        stream.write_all(first).expect("send");
        stream.flush().expect("send");
        stream.write_all(second).expect("send");
    }
    let n = text.len() as u64 - 1;
    server.wait_count("counted", n);
    server.wait_count("delimited", n);
    assert_eq!(metric(&server, "shirabe_rejected_total"), 0);
}

#[test]
fn forward_is_cut_anywhere_and_acked_once_durable() {
    let server = Server::start();
    let text = message("app.web", &["one".into(), "two".into()], Some("chunk-1"));
    for at in 1..text.len() {
        let mut stream = forward(&server);
        let (first, second) = text.split_at(at);
        stream.write_all(first).expect("send");
        stream.flush().expect("send");
        stream.write_all(second).expect("send");
        expect_ack(&mut stream, "chunk-1");
        // Acknowledged is durable, and durable is visible.
        assert_eq!(server.count("two"), at as u64);
    }
}

#[test]
fn forward_acks_in_order_what_was_sent_ahead() {
    let server = Server::start();
    let mut stream = forward(&server);
    let chunks: Vec<String> = (0..300).map(|n| format!("chunk-{n}")).collect();
    let all: Vec<u8> =
        chunks.iter().flat_map(|c| message("t", &[format!("line of {c}")], Some(c))).collect();
    let mut sender = stream.try_clone().expect("a clone");
    let sending = std::thread::spawn(move || sender.write_all(&all).expect("send"));
    for chunk in &chunks {
        expect_ack(&mut stream, chunk);
    }
    sending.join().expect("sent");
    assert_eq!(server.count("line"), 300);
}

#[test]
fn forward_heartbeats_are_answered() {
    let server = Server::start();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let address = server.address("forward", "udp");
    assert_eq!(address, server.address("forward", "tcp"));
    socket.send_to(&[0], &address).expect("send");
    let mut buffer = [1; 8];
    let (len, from) = socket.recv_from(&mut buffer).expect("an answer");
    assert_eq!((&buffer[..len], from.to_string()), (&[0][..], address));
}

fn hex_sha512(parts: &[&[u8]]) -> String {
    let hash = parts.iter().fold(Sha512::new(), Digest::chain_update).finalize();
    hash.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().concat()
}

/// Sends a PING with this key and user; what the PONG begins with tells whether it is let in.
fn shake_hands(stream: &mut TcpStream, key: &str, user: &str, password: &str) -> bool {
    let mut hello = Vec::new();
    let after = |hello: &[u8], name: &[u8]| {
        let at = hello.windows(name.len()).position(|w| w == name)? + name.len();
        let len = usize::from(*hello.get(at + 1)?);
        hello.get(at + 2..at + 2 + len).map(<[u8]>::to_vec)
    };
    while !hello.ends_with(b"\xa9keepalive\xc3") {
        hello.extend(read_exactly(stream, 1));
    }
    let nonce = after(&hello, b"nonce").expect("a nonce");
    let salt = after(&hello, b"\xa4auth").expect("a salt");
    let own_salt = "0123456789abcdef";
    let digest = hex_sha512(&[own_salt.as_bytes(), b"web-1", &nonce, key.as_bytes()]);
    let password = hex_sha512(&[&salt, user.as_bytes(), password.as_bytes()]);
    let ping = pack(&json!(["PING", "web-1", own_salt, digest, user, password]));
    stream.write_all(&ping).expect("send");
    let pong = read_exactly(stream, 7);
    assert_eq!(&pong[..6], b"\x95\xa4PONG");
    pong[6] == 0xc3
}

#[test]
fn forward_asks_for_key_and_user() {
    let server = Server::with_config(
        "[[forward]]\nlisten = \"127.0.0.1:0\"\nshared_key = \"secret\"\n\
         self_hostname = \"logs\"\nusers = [{name = \"web\", password = \"pw\"}]\n",
    );
    let mut stream = forward(&server);
    assert!(shake_hands(&mut stream, "secret", "web", "pw"));
    let wanted = pack(&json!(["", "logs"]));
    assert_eq!(read_exactly(&mut stream, wanted.len() - 1), wanted[1..]);
    read_exactly(&mut stream, 3 + 128 - 1); // the digest, a str 8 of 128 hex digits
    stream.write_all(&message("t", &["inside".into()], Some("c"))).expect("send");
    expect_ack(&mut stream, "c");

    for (key, user, password) in
        [("wrong", "web", "pw"), ("secret", "web", "no"), ("secret", "x", "pw")]
    {
        let mut stream = forward(&server);
        assert!(!shake_hands(&mut stream, key, user, password), "{key} {user} {password}");
        assert_closed(&mut stream, "a refused handshake");
    }
    let mut stream = forward(&server);
    stream.write_all(&message("t", &["outside".into()], Some("c"))).expect("send");
    assert_closed(&mut stream, "no handshake");
    assert_eq!(server.count("outside"), 0);
    assert_eq!(server.count("inside"), 1);
    let closed =
        "shirabe_connections_closed_total{listener=\"forward\",reason=\"handshake-refused\"}";
    wait_metric(&server, closed, 3);
}

#[test]
fn kill_nine_loses_and_doubles_nothing_acknowledged() {
    let mut server = Server::start();
    let mut acked = Vec::new();
    for round in 0..3 {
        let mut stream = forward(&server);
        let mut sent = 0;
        // Twenty messages are on their way at any time; the kill comes amid them.
        for n in 0..120 {
            while sent < n + 20 {
                let chunk = format!("r{round}c{sent}e");
                let lines: Vec<String> = (0..10).map(|i| format!("{chunk} i{i}e")).collect();
                stream.write_all(&message("t", &lines, Some(&chunk))).expect("send");
                sent += 1;
            }
            let chunk = format!("r{round}c{n}e");
            expect_ack(&mut stream, &chunk);
            acked.push(chunk);
        }
        server = server.kill_and_restart();
    }
    let mut found: Vec<String> = server
        .all("*", 10_000)
        .iter()
        .map(|r| r["message"].as_str().expect("a message").to_owned())
        .collect();
    found.sort_unstable();
    let total = found.len();
    found.dedup();
    assert_eq!(found.len(), total, "a record is there twice");
    for chunk in &acked {
        for i in 0..10 {
            let line = format!("{chunk} i{i}e");
            assert!(found.binary_search(&line).is_ok(), "{line} was acknowledged and is gone");
        }
    }
}

#[test]
fn http_takes_each_kind_of_body() {
    let server = Server::start();
    let post = |query: &str, media: &str, body: &[u8]| {
        let (status, answer) = server.post(&format!("/api/v1/ingest{query}"), media, body);
        assert_eq!(status, 200, "{media}: {answer}");
        assert_eq!(answer["rejected"], json!([]));
        answer["accepted"].as_u64().expect("a number")
    };
    let lines = b"{\"message\":\"nd one\"}\n\n{\"message\":\"nd two\"}";
    assert_eq!(post("", "application/x-ndjson", lines), 2);
    assert_eq!(
        post("", "application/json", b"[{\"message\":\"in array\"}, {\"log\":\"in array\"}]"),
        2
    );
    assert_eq!(post("", "text/plain", b"plain a\nplain b\r\n\nplain c"), 3);
    // What curl says when it was told nothing: the body tells.
    let curl = "application/x-www-form-urlencoded";
    assert_eq!(post("", curl, b"{\"message\":\"sniffed\"}\n{\"message\":\"sniffed\"}\n"), 2);
    assert_eq!(post("", curl, b"[{\"message\":\"sniffed\"}]"), 1);
    assert_eq!(post("", curl, b"[12:00:01] no array\n"), 1);
    assert_eq!(post("", "text/plain; charset=shift_jis", b"\x92\xb2\x82\xd7\n"), 1);
    let named = "?host=h9&time_field=at&message_field=said";
    let body = br#"{"said":"by name","at":"2026-03-01T09:00:00Z"}"#;
    assert_eq!(post(named, "application/x-ndjson", body), 1);
    assert_eq!(server.count("sniffed"), 3);
    assert_eq!(server.count("調べ"), 1);
    let found = server.all("\"by name\"", 10);
    assert_eq!(
        (&found[0]["host"], &found[0]["time"]),
        (&json!("h9"), &json!("2026-03-01T09:00:00Z"))
    );
    let raw = server.get(&format!(
        "/api/v1/records/{}/raw",
        server.all("\"plain b\"", 9)[0]["id"].as_str().expect("id")
    ));
    assert_eq!(raw, (200, b"plain b\r".to_vec()));
}

#[test]
fn http_says_which_parameter_does_not_read() {
    let server = Server::start();
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).build().into();
    for query in ["year=abc", "host=a&host=b", "time_zone=Nowhere/City", "encoding=klingon"] {
        let url = format!("{}/api/v1/ingest?{query}", server.url());
        let mut answer = agent.post(&url).send("a line\n").expect("an answer");
        let kind = answer.headers().get("content-type").and_then(|v| v.to_str().ok());
        assert_eq!(kind, Some("application/problem+json"), "{query}");
        let text = answer.body_mut().read_to_string().expect("text");
        let problem: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((answer.status().as_u16(), &problem["status"]), (400, &400.into()), "{query}");
        let name = query.split('=').next().unwrap();
        assert!(problem["detail"].as_str().unwrap().contains(name), "{query}: {problem}");
    }
}

fn post_packed(server: &Server, coding: &str, body: &[u8]) -> (u16, Value) {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut answer = agent
        .post(format!("{}/api/v1/ingest", server.url()))
        .header("Content-Encoding", coding)
        .content_type("text/plain")
        .send(body)
        .expect("an answer");
    let body = answer.body_mut().read_to_vec().expect("a body");
    (answer.status().as_u16(), serde_json::from_slice(&body).expect("JSON"))
}

#[test]
fn http_unpacks_within_bounds() {
    let server = Server::start();
    let text = b"packed line\npacked line\n";
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(text).expect("zlib");
    let zlib = zlib.finish().expect("zlib");
    let zstd = zstd::encode_all(&text[..], 3).expect("zstd");
    for (coding, body) in [
        ("gzip", gzip(text)),
        ("deflate", zlib.clone()),
        ("zstd", zstd),
        ("deflate, gzip", gzip(&zlib)),
        ("identity", text.to_vec()),
    ] {
        let (status, answer) = post_packed(&server, coding, &body);
        assert_eq!((status, &answer["accepted"]), (200, &json!(2)), "{coding}: {answer}");
    }
    assert_eq!(server.count("packed"), 10);
    for (coding, body, wanted) in [
        ("br", text.to_vec(), 415),
        ("gzip", text.to_vec(), 400),
        ("gzip", gzip(&vec![b'\n'; 300 << 20]), 413),
    ] {
        let (status, answer) = post_packed(&server, coding, &body);
        assert_eq!(status, wanted, "{coding}: {answer}");
        assert!(answer["detail"].is_string(), "{answer}");
    }
    // Refused by what its head says, before a byte of it is sent.
    let address = server.url().trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(&address).expect("a connection");
    write!(
        stream,
        "POST /api/v1/ingest HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n",
        65 << 20
    )
    .expect("send");
    assert_eq!(read_exactly(&mut stream, 12), b"HTTP/1.1 413");
    assert_eq!(server.count("packed"), 10);
    for reason in ["content-encoding", "bad-compression", "unpacks-too-large", "body-too-large"] {
        let name = format!("shirabe_rejected_total{{listener=\"http\",reason=\"{reason}\"}}");
        assert_eq!(metric(&server, &name), 1, "{reason}");
    }
}

// ---- TLS ----

struct Authority {
    certificate: rcgen::Certificate,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { certificate, issuer: rcgen::Issuer::new(params, key) }
    }

    /// Certificate and key as PEM.
    fn sign(&self, name: &str) -> (String, String) {
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }
}

type TlsStream = StreamOwned<ClientConnection, TcpStream>;

fn tls(
    server: &Server,
    name: &str,
    trusted: &Authority,
    own: Option<&(String, String)>,
) -> TlsStream {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.certificate.der().clone()).expect("a root");
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let cert =
                tokio_rustls::rustls::pki_types::CertificateDer::from_pem_slice(cert.as_bytes());
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
            builder
                .with_client_auth_cert(vec![cert.expect("PEM")], key.expect("PEM"))
                .expect("a certificate of our own")
        }
    };
    let host = ServerName::try_from("localhost").expect("a name");
    let client = ClientConnection::new(Arc::new(config), host).expect("a client");
    StreamOwned::new(client, connect(server, name, "tls"))
}

#[test]
fn tls_with_and_without_clients_certificates() {
    let ours = Authority::new();
    let theirs = Authority::new();
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (cert, key) = ours.sign("localhost");
    std::fs::write(path("cert.pem"), cert).expect("write");
    std::fs::write(path("key.pem"), key).expect("write");
    std::fs::write(path("ca.pem"), theirs.certificate.pem()).expect("write");
    let files = format!("cert = {:?}\nkey = {:?}\n", path("cert.pem"), path("key.pem"));
    let client_ca = format!("client_ca = {:?}\n", path("ca.pem"));
    let server = Server::with_config(&format!(
        "[[syslog]]\nlisten = \"127.0.0.1:0\"\n\
         [[syslog]]\nname = \"secure\"\nlisten = \"127.0.0.1:0\"\ntransport = [\"tls\"]\n{files}\
         [[syslog]]\nname = \"mutual\"\nlisten = \"127.0.0.1:0\"\ntransport = [\"tls\"]\n{files}{client_ca}\
         [[forward]]\nlisten = \"127.0.0.1:0\"\n{files}"
    ));
    let mut stream = tls(&server, "secure", &ours, None);
    stream.write_all(b"<13>1 - h a - - - over tls\n").expect("send");
    stream.flush().expect("send");
    let mut stream = tls(&server, "forward", &ours, None);
    stream.write_all(&message("t", &["forward over tls".into()], Some("c"))).expect("send");
    expect_ack(&mut stream, "c");
    let mut stream = tls(&server, "mutual", &ours, Some(&theirs.sign("client")));
    stream.write_all(b"<13>1 - h a - - - known client\n").expect("send");
    stream.flush().expect("send");
    server.wait_count("\"over tls\"", 2);
    server.wait_count("\"known client\"", 1);
    let record = &server.all("\"known client\"", 1)[0];
    assert_eq!(record["via"]["transport"], "tls");

    for own in [None, Some(ours.sign("client"))] {
        let mut stream = tls(&server, "mutual", &ours, own.as_ref());
        // In TLS 1.3 the client learns of its refusal when it reads.
        drop(stream.write_all(b"<13>1 - h a - - - stranger\n"));
        assert!(stream.read(&mut [0; 1]).is_err(), "a stranger was let in");
    }
    let mut plain = connect(&server, "secure", "tls");
    plain.write_all(b"<13>1 - h a - - - stranger\n").expect("send");
    assert_closed(&mut plain, "no TLS at all");
    assert_eq!(server.count("stranger"), 0);
    let closed = "shirabe_connections_closed_total{listener=\"mutual\",reason=\"tls-handshake\"}";
    wait_metric(&server, closed, 2);
}

// ---- bad input ----

/// Whatever was done to it, the server takes and finds other senders' lines at once.
fn assert_alive(server: &Server, mark: &str) {
    let mut stream = syslog(server);
    stream.write_all(format!("<13>1 - h a - - - alive {mark}\n").as_bytes()).expect("send");
    server.wait_count(&format!("\"alive {mark}\""), 1);
}

#[test]
fn bad_lines_are_kept_with_a_defect() {
    let server = Server::start();
    let mut stream = syslog(&server);
    let long = [b"<13>1 - h a - - - long ".as_slice(), &vec![b'x'; 10 << 20], b"\n"].concat();
    stream.write_all(b"this is not syslog\n").expect("send");
    stream.write_all(b"<13>1 - h a - - - caf\xe9\n").expect("send");
    stream.write_all(b"<13>1 2200-01-01T00:00:00Z h a - - - from the future\n").expect("send");
    stream.write_all(b"<13>1 1970-01-02T00:00:00Z h a - - - from the past\n").expect("send");
    stream.write_all(&long).expect("send");
    stream.write_all(b"<13>1 - h a - - - after the long one\n").expect("send");
    server.wait_count("\"after the long one\"", 1);
    for (q, defect) in [
        ("\"not syslog\"", None),
        ("caf", Some("not-utf8")),
        ("future", Some("future-time")),
        ("past", Some("ancient-time")),
        ("\"long x\"", Some("truncated")),
    ] {
        let records = server.all(q, 10);
        assert_eq!(records.len(), 1, "{q}");
        let defects = records[0]["defects"].as_array().expect("defects");
        if let Some(defect) = defect {
            assert!(defects.contains(&json!(defect)), "{q}: {defects:?}");
        }
    }
    let long = &server.all("\"long x\"", 1)[0];
    assert_eq!(long["message"].as_str().map(str::len), Some((1 << 20) - 18));
    assert!(metric(&server, "shirabe_cut_bytes_total") > 9 << 20);
}

#[test]
fn a_length_that_cannot_be_closes_the_connection() {
    let server = Server::start();
    let mut stream = syslog(&server);
    stream.write_all(b"<13>1 - h a - - - before\n99999999999 <13>1 - h a - - - x").expect("send");
    assert_closed(&mut stream, "a frame of 99999999999 bytes");
    server.wait_count("before", 1);
    let reason = "{listener=\"syslog\",reason=\"frame-too-large\"}";
    wait_metric(&server, &format!("shirabe_rejected_total{reason}"), 1);
    wait_metric(&server, &format!("shirabe_connections_closed_total{reason}"), 1);
    assert_alive(&server, "length");
}

#[test]
fn hostile_forward_messages_are_refused_and_counted() {
    let server = Server::start();
    let nested = [b"\x93\xa1t\x01".as_slice(), &vec![0x91; 100_000], b"\xc0"].concat();
    let types = pack(&json!([{"no": "tag"}, 5, "x"]));
    let bomb = {
        let entries = gzip(&vec![0; 300 << 20]);
        let mut out = vec![0x93];
        put(&mut out, &json!("t"));
        rmp::encode::write_bin(&mut out, &entries).expect("bin");
        put(&mut out, &json!({"compressed": "gzip", "chunk": "bomb"}));
        out
    };
    let huge = [b"\x92\xa1t".as_slice(), b"\xc6\xff\xff\xff\xff"].concat();
    for (what, bytes) in [
        ("nested", &nested),
        ("wrong types", &types),
        ("bomb", &bomb),
        ("4 GiB announced", &huge),
        ("no msgpack", &b"\xc1\xc1\xc1\xc1".to_vec()),
        ("http", &b"GET / HTTP/1.1\r\n\r\n".to_vec()),
    ] {
        let before = metric(&server, "shirabe_rejected_total{listener=\"forward\"");
        let mut stream = forward(&server);
        // The server may close before all of it is sent.
        drop(stream.write_all(bytes));
        let counted =
            eventually(|| metric(&server, "shirabe_rejected_total{listener=\"forward\"") > before);
        assert!(counted, "{what} was not counted");
        assert_alive(&server, what);
    }
    // Ten thousand deep is odd, but a record.
    let mut stream = forward(&server);
    let deep = [b"\x94\xa1t\x01\x81\xa1a".as_slice(), &[0x91; 10_000], b"\xc0"].concat();
    stream.write_all(&[deep, pack(&json!({"chunk": "deep"}))].concat()).expect("send");
    expect_ack(&mut stream, "deep");
    let keys: serde_json::Map<String, Value> =
        (0..100_000).map(|n| (format!("k{n}"), json!(n))).collect();
    let mut stream = forward(&server);
    let wide = json!(["t", 1_772_355_600, keys, {"chunk": "wide"}]);
    stream.write_all(&pack(&wide)).expect("send");
    expect_ack(&mut stream, "wide");
    let records = server.all("defect:too-many-fields", 10);
    assert_eq!(records.len(), 1);
    assert!(records[0]["fields"].as_object().is_some_and(|f| f.len() <= 1_000));
}

#[test]
fn datagrams_of_all_kinds() {
    let server = Server::start();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = server.address("syslog", "udp");
    socket.send_to(b"", &address).expect("send");
    socket.send_to(b"\n", &address).expect("send");
    socket.send_to(b"zx\x9c\x03\x00\x00\x00\x00\x01", &address).expect("send");
    socket.send_to(b"<13>1 - h a - - - a datagram\n", &address).expect("send");
    let large = [b"<13>1 - h a - - - large ".as_slice(), &vec![b'y'; 60_000]].concat();
    socket.send_to(&large, &address).expect("send");
    server.wait_count("\"a datagram\"", 1);
    server.wait_count("large", 1);
    wait_metric(&server, "shirabe_rejected_total{listener=\"syslog\",reason=\"empty\"}", 2);
    wait_metric(&server, "shirabe_rejected_total{listener=\"syslog\",reason=\"zlib-datagram\"}", 1);
}

#[test]
fn idle_and_slow_clients_cost_only_themselves() {
    let server = Server::start();
    let mut slow = syslog(&server);
    slow.write_all(b"<13>1 - h a - - - sl").expect("send");
    let mut slow_forward = forward(&server);
    slow_forward.write_all(b"\x93\xa1t").expect("send");
    let idle: Vec<TcpStream> = (0..1_000).map(|_| syslog(&server)).collect();
    let idle_forward: Vec<TcpStream> = (0..1_000).map(|_| forward(&server)).collect();
    wait_metric(&server, "shirabe_connections_total{listener=\"syslog\"}", 1_001);
    wait_metric(&server, "shirabe_connections_total{listener=\"forward\"}", 1_001);
    assert_alive(&server, "idle");
    let resident = metric(&server, "process_resident_memory_bytes");
    assert!(resident < 200 << 20, "2,000 idle connections and {resident} bytes of memory");
    // The one that is slow is still read, byte by byte, and what it leaves is kept.
    for byte in b"ow but there" {
        slow.write_all(&[*byte]).expect("send");
    }
    drop(slow);
    server.wait_count("\"slow but there\"", 1);
    drop((idle, idle_forward, slow_forward));
    wait_metric(&server, "shirabe_rejected_total{listener=\"forward\",reason=\"cut-message\"}", 1);
    assert_alive(&server, "after");
}

/// As `ulimit -f` does, but of the server alone, and it can be lifted.
fn limit_file_sizes(server: &Server, bytes: Option<u64>) {
    let pid = i32::try_from(server.child.id()).ok().and_then(Pid::from_raw);
    let old = getrlimit(Resource::Fsize);
    prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: old.maximum })
        .expect("limit the server's files");
}

#[test]
fn a_limit_of_file_sizes_is_a_full_disk() {
    let server = Server::start();
    let line = |text: &str| server.post("/api/v1/ingest", "text/plain", text.as_bytes());
    assert_eq!(line("before").0, 200);
    limit_file_sizes(&server, Some(1 << 10));
    let large = "x".repeat(10_000);
    let (status, problem) = line(&large);
    assert_eq!((status, &problem["detail"]), (503, &json!("not accepted: the disk is full")));
    assert_eq!(server.count("before"), 1);
    limit_file_sizes(&server, None);
    assert_eq!(line("after").0, 200);
    assert_eq!((server.count("after"), server.count("xxx")), (1, 0));
}

#[test]
fn a_stop_hands_in_what_was_sent() {
    let mut server = Server::start();
    let mut stream = syslog(&server);
    for n in 0..20_000 {
        writeln!(stream, "<13>1 - h a - - - line {n}").expect("send");
    }
    stream.flush().expect("send");
    let mut chunk = forward(&server);
    chunk.write_all(&message("t", &["chunked".into()], Some("c"))).expect("send");
    assert_eq!(server.stop(), Some(0));
    expect_ack(&mut chunk, "c");
    let server = server.kill_and_restart();
    assert_eq!(server.count("line"), 20_000);
    assert_eq!(server.count("chunked"), 1);
}
