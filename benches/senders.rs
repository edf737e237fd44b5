//! Senders as they stand on other machines: syslog over TCP, fluent-forward with acks, HTTP.
//!
//! What they send is made beforehand or in this process, so that only the server's CPU counts.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use shirabe::base::record::Record;
use shirabe::base::time::Timestamp;
use shirabe::decode::{Origin, syslog};

use crate::meter;
use crate::server::{Server, urlencode};

/// Text of one HTTP body and of one forward chunk, bytes: what shippers send at a time.
const BATCH: usize = 1 << 20;

/// When the records of a run are received, for those who decode them here: the day of the corpora.
const RECEIVED: Timestamp = Timestamp(1_772_323_200_000_000_000);

/// Lines as they are over one connection, each ended by LF; back when the server has read all.
pub(crate) fn syslog_tcp(server: &Server, text: &[u8]) {
    let mut stream = TcpStream::connect(server.address("syslog")).expect("connect");
    stream.write_all(text).expect("send");
    stream.shutdown(Shutdown::Write).expect("shutdown");
    stream.read_to_end(&mut Vec::new()).expect("the server closes");
}

/// Lines as bodies of some 1 MiB over one connection that is kept; returns how many were taken.
pub(crate) fn http(server: &Server, text: &[u8], content_type: &str, parameters: &str) -> u64 {
    let path = format!("/api/v1/ingest{parameters}");
    let take = |batch| {
        let answer = server.post(&path, content_type, batch);
        assert!(answer["rejected"].as_array().is_none_or(Vec::is_empty), "{answer}");
        answer["accepted"].as_u64().expect("how many were accepted")
    };
    batches(text).map(take).sum()
}

/// Syslog lines as a fluentd that parses them forwards them: `PackedForward`, one chunk at
/// a time, the next when the last is acknowledged.
pub(crate) fn forward(server: &Server, text: &[u8]) {
    let mut stream = TcpStream::connect(server.address("forward")).expect("connect");
    let origin = Origin::new("syslog", "tcp", "127.0.0.1");
    for (n, batch) in batches(text).enumerate() {
        let mut entries = Vec::new();
        let mut count = 0;
        for line in batch.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            let record = syslog::read(line, RECEIVED, &origin).expect("a syslog line");
            put_entry(&mut entries, &record);
            count += 1;
        }
        let id = format!("{n:024}");
        let mut message = Vec::new();
        let out = &mut message;
        rmp::encode::write_array_len(out, 3).expect("memory");
        rmp::encode::write_str(out, "syslog.fleet").expect("memory");
        rmp::encode::write_bin(out, &entries).expect("memory");
        rmp::encode::write_map_len(out, 2).expect("memory");
        rmp::encode::write_str(out, "chunk").expect("memory");
        rmp::encode::write_str(out, &id).expect("memory");
        rmp::encode::write_str(out, "size").expect("memory");
        rmp::encode::write_uint(out, count).expect("memory");
        stream.write_all(&message).expect("send");
        let mut ack = Vec::new();
        rmp::encode::write_map_len(&mut ack, 1).expect("memory");
        rmp::encode::write_str(&mut ack, "ack").expect("memory");
        rmp::encode::write_str(&mut ack, &id).expect("memory");
        let mut answer = vec![0; ack.len()];
        stream.read_exact(&mut answer).expect("an ack");
        assert_eq!(answer, ack, "the ack of the chunk");
    }
}

/// `[EventTime, {host, ident, pid, severity, message}]`, as fluentd's syslog input has them.
fn put_entry(out: &mut Vec<u8>, record: &Record) {
    rmp::encode::write_array_len(out, 2).expect("memory");
    let (seconds, nanos) = (record.time.0 / 1_000_000_000, record.time.0 % 1_000_000_000);
    rmp::encode::write_ext_meta(out, 8, 0).expect("memory");
    let seconds = u32::try_from(seconds).expect("a time before 2106");
    out.extend(seconds.to_be_bytes());
    out.extend(u32::try_from(nanos).expect("nanoseconds").to_be_bytes());
    let mut pairs = vec![("host", &*record.host), ("ident", &*record.app)];
    pairs.extend(record.pid.as_deref().map(|pid| ("pid", pid)));
    pairs.extend(record.severity.map(|severity| ("severity", severity.name())));
    pairs.push(("message", record.message()));
    let len = u32::try_from(pairs.len()).expect("few");
    rmp::encode::write_map_len(out, len).expect("memory");
    for (key, value) in pairs {
        rmp::encode::write_str(out, key).expect("memory");
        rmp::encode::write_str(out, value).expect("memory");
    }
}

/// From the moment a sender connects to the answer that has its line, each of `n` times.
pub(crate) fn line_to_answer(server: &Server, n: usize) -> Vec<Duration> {
    let one = |n: usize| {
        let word = format!("probe{n:05}{:x}", meter::now().subsec_nanos());
        let line = format!("<14>1 - probe-host probe {n} - - look for {word} here\n");
        let path = format!("/api/v1/search?q={}", urlencode(&word));
        let begin = meter::now();
        let mut stream = TcpStream::connect(server.address("syslog")).expect("connect");
        stream.write_all(line.as_bytes()).expect("send");
        let found = meter::wait(Duration::from_secs(20), Duration::from_millis(1), || {
            let answer = server.json(&path);
            answer["records"].as_array().is_some_and(|records| records.len() == 1)
        });
        assert!(found, "the line is found");
        meter::now().saturating_sub(begin)
    };
    (0..n).map(one).collect()
}

/// Whole lines, some [`BATCH`] bytes at a time.
fn batches(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let cut = if rest.len() <= BATCH {
            rest.len()
        } else {
            let (head, tail) = rest.split_at(BATCH);
            let last = memchr::memrchr(b'\n', head).map(|at| at + 1);
            last.or_else(|| memchr::memchr(b'\n', tail).map(|at| BATCH + at + 1))
                .unwrap_or(rest.len())
        };
        let (batch, after) = rest.split_at(cut);
        rest = after;
        (!batch.is_empty()).then_some(batch)
    })
}
