//! The recorded bytes of real senders, replayed to the built program's sockets: as many records as
//! the recording holds, and exactly the answers that the sender got then.
//!
//! What each record must hold is checked where the decoders are; this is the road around them.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{PATIENCE, Server, eventually, repository};

#[test]
fn recordings_give_their_records_and_their_answers() {
    let server = Server::start();
    let mut cases: Vec<PathBuf> =
        ["fluent-bit-5.1.1", "fluent-logger-node", "fluent-logger-python", "syslog"]
            .iter()
            .flat_map(|sender| {
                std::fs::read_dir(repository("tests/data/protocol").join(sender))
                    .expect("recordings")
            })
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.is_dir())
            .collect();
    cases.sort();
    let mut wrong = Vec::new();
    let mut replayed = 0;
    for case in &cases {
        let Some(way) = way(case) else { continue };
        replayed += 1;
        let before = server.count("*");
        let expected = records(case);
        for (client, answer) in connections(case) {
            let got = way.send(&server, &client);
            if !answer.is_empty() && got != answer {
                wrong.push(format!("{}: answered {got:02x?}, not {answer:02x?}", case.display()));
            }
        }
        let arrived = eventually(|| server.count("*") - before >= expected);
        let counted = server.count("*") - before;
        if !arrived || counted != expected {
            wrong.push(format!("{}: {counted} records, expected {expected}", case.display()));
        }
    }
    println!("{replayed} recordings replayed");
    assert!(replayed > 50, "the recordings are not where this test looks");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[derive(Clone, Copy)]
enum Way {
    Forward,
    SyslogTcp,
    SyslogUdp,
}

/// `None` for what is not replayed here: handshakes (their salts are random; the decoder's tests
/// replay them) and rsyslog's own compression (refused, see the ways in).
fn way(case: &Path) -> Option<Way> {
    let name = case.file_name()?.to_string_lossy().into_owned();
    if ["shared-key", "security", "compress", "ziplevel"].iter().any(|word| name.contains(word)) {
        return None;
    }
    let by_syslog = name.starts_with("syslog-") || case.parent()?.ends_with("syslog");
    match (by_syslog, case.join("client.dgram").is_file()) {
        (true, true) => Some(Way::SyslogUdp),
        (true, false) => Some(Way::SyslogTcp),
        (false, _) => (!name.starts_with("http-")).then_some(Way::Forward),
    }
}

impl Way {
    /// What the server answered.
    fn send(self, server: &Server, bytes: &[u8]) -> Vec<u8> {
        let address = match self {
            Self::Forward => server.address("forward", "tcp"),
            Self::SyslogTcp => server.address("syslog", "tcp"),
            Self::SyslogUdp => return datagrams(&server.address("syslog", "udp"), bytes),
        };
        let mut stream = TcpStream::connect(address).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(bytes).expect("send");
        stream.shutdown(Shutdown::Write).expect("end");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("the server's answer and end");
        answer
    }
}

/// Each datagram stands behind its length, four bytes, big-endian.
fn datagrams(address: &str, mut bytes: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let (datagram, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        socket.send_to(datagram, address).expect("send");
        bytes = rest;
    }
    Vec::new()
}

/// Each connection's bytes, and what was answered to it.
fn connections(case: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    if let Ok(bytes) = std::fs::read(case.join("client.dgram")) {
        return vec![(bytes, Vec::new())];
    }
    let name = |side: &str, n: usize| match n {
        1 => case.join(format!("{side}.bin")),
        n => case.join(format!("{side}-{n}.bin")),
    };
    (1..)
        .map_while(|n| Some((n, std::fs::read(name("client", n)).ok()?)))
        .map(|(n, client)| (client, std::fs::read(name("server", n)).unwrap_or_default()))
        .collect()
}

/// Log records of a recording: no group markers, no metrics, no empty messages.
fn records(case: &Path) -> u64 {
    let text = std::fs::read_to_string(case.join("expected.ndjson")).expect("expected.ndjson");
    text.lines()
        // Python's writer puts what JSON cannot say.
        .map(|line| line.replace(": NaN", ": null").replace(": -Infinity", ": null"))
        .map(|line| line.replace(": Infinity", ": null"))
        .map(|line| serde_json::from_str::<Value>(&line).expect("JSON"))
        .filter(|r| r["group"].is_null())
        .filter(|r| r["fluent_signal"].as_i64().is_none_or(|signal| signal == 0))
        // Metrics in fluentd's shape: a "record" that is an array.
        .filter(|r| !r["record"].is_array())
        .count() as u64
}
