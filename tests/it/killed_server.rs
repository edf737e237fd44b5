//! The built program, killed at random instants while it takes lines over HTTP and syslog, seals,
//! merges and drops: what it answered 200 for, or showed to anybody, is there after the next start,
//! once, under its id; what retention dropped does not come back.
//!
//! `killed` does the same to the store alone, some hundred times as often in the same time; this is
//! about all that stands around it. 200 rounds: `SEED=1 cargo nextest run --profile full -E
//! 'test(slow_the_server)'` (`ROUNDS=` for more; a kill needs no real disk, and is quicker with
//! `TMPDIR=/dev/shm`).

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::killed::Dice;
use crate::support::{Server, shirabe};

/// Seals and merges all the time, and drops the oldest of all but `db-*`.
const CONFIG: &str = "\
live_size = \"48KiB\"
[storage]
max_size = \"384KiB\"
min_free = 0
[[retention]]
name = \"kept\"
host = \"db-*\"
keep = \"forever\"
";

/// A directory is used for so many rounds, so that looking at all of it stays quick.
const ROUNDS_OF_A_DIRECTORY: u64 = 10;

/// What the servers of one directory said.
#[derive(Default)]
struct Told {
    /// Texts for which an answer said that they are kept.
    acked: BTreeSet<String>,
    /// Everything that has an id: host and text.
    seen: BTreeMap<u64, (String, String)>,
    /// Dropped by retention.
    gone: BTreeSet<u64>,
}

impl Told {
    fn see(&mut self, record: &Value, what: &str) -> u64 {
        let text = |key: &str| record[key].as_str().expect("a text").to_owned();
        let id: u64 = text("id").parse().expect("an id");
        let is = (text("host"), text("message"));
        if let Some(before) = self.seen.insert(id, is.clone()) {
            assert_eq!(before, is, "{what}: id {id} was given twice");
        }
        id
    }

    /// Looks at everything that is there after a start.
    fn check(&mut self, server: &Server, what: &str) {
        let mut found = BTreeMap::new();
        let mut texts = BTreeSet::new();
        for record in server.all("app:shop", 10_000) {
            let id = self.see(&record, what);
            let (host, text) = self.seen[&id].clone();
            assert!(found.insert(id, host).is_none(), "{what}: id {id} is there twice");
            assert!(texts.insert(text.clone()), "{what}: {text:?} is there twice");
            assert!(!self.gone.contains(&id), "{what}: {id} came back");
        }
        // Retention takes the oldest, of one class only.
        let cut = found.iter().find(|(_, host)| *host == "web-1").map_or(u64::MAX, |(id, _)| *id);
        for (id, (host, text)) in &self.seen {
            if host == "web-1" && *id < cut && !found.contains_key(id) {
                self.gone.insert(*id);
            }
            let is_there = found.contains_key(id) || self.gone.contains(id);
            assert!(is_there, "{what}: {id} {text:?} was seen and is lost");
        }
        // What was dropped before anybody saw it has no id that we know.
        let seen: BTreeSet<&String> = self.seen.values().map(|(_, text)| text).collect();
        let lost = self.acked.iter().filter(|text| !seen.contains(text));
        let lost: Vec<&String> =
            lost.filter(|text| !text.starts_with("web-1") || cut == 1).collect();
        assert_eq!(lost, [""; 0], "{what}: answered 200 and lost");
        let aside = std::fs::read_dir(server.dir.join("quarantine")).expect("a directory");
        let aside: Vec<_> = aside.map(|entry| entry.expect("an entry").file_name()).collect();
        assert!(aside.is_empty(), "{what}: set aside: {aside:?}");
    }
}

/// Sends batches over HTTP until the server is gone; notes what was answered for.
fn send_http(server: &Server, mut dice: Dice, who: &str, told: &Mutex<Told>) {
    for n in 0.. {
        let line = |k: u64, dice: &mut Dice| {
            let host = if dice.roll(3) == 0 { "db-1" } else { "web-1" };
            let noise: Vec<String> =
                (0..dice.roll(40)).map(|_| format!("{:x}", dice.roll(u64::MAX))).collect();
            format!("{host} {who} n{n} k{k} took {}", noise.join(" "))
        };
        let texts: Vec<String> = (0..=dice.roll(30)).map(|k| line(k, &mut dice)).collect();
        let object = |text: &String| {
            let host = text.split(' ').next().unwrap_or_default();
            serde_json::json!({"host": host, "app": "shop", "msg": text}).to_string() + "\n"
        };
        let body: String = texts.iter().map(object).collect();
        match server.try_post("/api/v1/ingest", "application/x-ndjson", body.as_bytes()) {
            Some(200) => told.lock().expect("no panic").acked.extend(texts),
            Some(status) => assert!([429, 503].contains(&status), "{status}"),
            None => return,
        }
        if dice.roll(40) == 0 {
            // Refused, or cut off, where the kill comes meanwhile.
            server.try_post("/api/v1/seal?merge=true", "application/json", b"");
        }
    }
}

/// Sends lines of syslog until the server is gone.
fn send_syslog(server: &Server, round: u64, ended: &AtomicBool) {
    let Ok(mut stream) = TcpStream::connect(server.address("syslog", "tcp")) else { return };
    for n in 0.. {
        let host = if n % 4 == 0 { "db-1" } else { "web-1" };
        let time = "2026-03-01T09:00:00Z";
        let line = format!("<13>1 {time} {host} shop - - - {host} r{round} s n{n} of syslog\n");
        if n % 16 == 0 {
            // The others are to have their turn.
            pause(2);
        }
        if ended.load(Ordering::Relaxed) || stream.write_all(line.as_bytes()).is_err() {
            return;
        }
    }
}

/// Looks at the newest records until the server is gone: what was seen must stay.
fn look(server: &Server, told: &Mutex<Told>, what: &str) {
    while let Some((200, body)) = server.try_get("/api/v1/search?q=app%3Ashop&limit=500") {
        pause(10);
        let answer: Value = serde_json::from_slice(&body).expect("JSON");
        let mut told = told.lock().expect("no panic");
        for record in answer["records"].as_array().into_iter().flatten() {
            told.see(record, what);
        }
    }
}

/// A start that is killed before, or soon after, it is ready.
fn start_and_kill(dir: &Path, dice: &mut Dice) {
    let mut command = shirabe();
    command.args(["serve", "--config"]).arg(dir.with_extension("toml")).arg("--data-dir").arg(dir);
    command.args(["--http", "127.0.0.1:0", "--syslog", "127.0.0.1:0", "--forward", "127.0.0.1:0"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("start the built program");
    pause(dice.roll(80));
    child.kill().expect("kill");
    child.wait().expect("wait");
}

#[expect(clippy::disallowed_methods, reason = "the kill comes at an instant of the real clock")]
fn pause(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}

fn rounds(rounds: u64) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let rounds = number("ROUNDS").unwrap_or(rounds);
    println!("SEED={seed} ROUNDS={rounds}");
    let mut dice = Dice(seed);
    let (mut acked, mut records, mut dropped) = (0, 0, 0);
    for first in (0..rounds).step_by(usize::try_from(ROUNDS_OF_A_DIRECTORY).expect("few")) {
        let mut server = Server::with_config(CONFIG);
        let told = Mutex::new(Told::default());
        for round in first..rounds.min(first + ROUNDS_OF_A_DIRECTORY) {
            let what = format!("SEED={seed}, round {round}");
            let most = [50, 300, 900][usize::try_from(dice.roll(3)).expect("few")];
            let at = dice.roll(most);
            let pid = server.child.id();
            let ended = AtomicBool::new(false);
            std::thread::scope(|scope| {
                for thread in 0..2 {
                    let own = Dice(seed << 20 | round << 1 | thread);
                    let (server, told) = (&server, &told);
                    scope.spawn(move || {
                        send_http(server, own, &format!("r{round} t{thread}"), told);
                    });
                }
                scope.spawn(|| send_syslog(&server, round, &ended));
                scope.spawn(|| look(&server, &told, &what));
                pause(at);
                ended.store(true, Ordering::Relaxed);
                kill(pid);
            });
            for _ in 0..dice.roll(3) {
                start_and_kill(&server.dir, &mut dice);
            }
            server = server.kill_and_restart();
            told.lock().expect("no panic").check(&server, &what);
        }
        let told = told.into_inner().expect("no panic");
        (acked, records) = (acked + told.acked.len(), records + told.seen.len());
        dropped += told.gone.len();
    }
    println!("{rounds} kills, {acked} acknowledged, {records} seen, {dropped} of them dropped");
    assert!(rounds < 100 || dropped > 0, "retention had nothing to do");
}

fn kill(pid: u32) {
    let killed = std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status();
    assert!(killed.expect("kill").success());
}

#[test]
fn the_server_loses_nothing_that_it_answered_for() {
    rounds(3);
}

#[test]
fn slow_the_server_is_killed_at_200_instants() {
    rounds(200);
}
