//! The harness of `fuzz/`, over inputs mutated by a seed: a share of what the fuzzer does in every run,
//! and its beginnings. `UPDATE=1` writes these to `fuzz/seeds`.

use std::fs;

use crate::by_hand::sent::{objects, syslog_lines};
use crate::codec::corpus::chunks_of;
use crate::killed::Dice;
use crate::support::repository;

#[path = "../../fuzz/harness.rs"]
mod harness;

/// A body as `harness::assemble` takes it apart.
fn taken_apart(body: &[u8]) -> Vec<u8> {
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |n, byte| n << 8 | usize::from(*byte));
    let end = body.len() - 8;
    let table = &body[end - number(&body[end..end + 4])..end];
    let mut at = 1;
    let var = |at: &mut usize| {
        let len = table[*at..].iter().position(|byte| *byte < 0x80).expect("an end") + 1;
        let bytes = &table[*at..*at + len];
        *at += len;
        bytes.iter().rev().fold(0, |n, byte| n << 7 | usize::from(byte & 0x7f))
    };
    let chunks = var(&mut at);
    (0..5 * chunks).for_each(|_| {
        var(&mut at);
    });
    let mut out = u16::try_from(at).expect("few chunks").to_le_bytes().to_vec();
    out.extend_from_slice(&table[..at]);
    let mut rest = body;
    for n in 0.. {
        if at == table.len() {
            break;
        }
        let (section, more) = rest.split_at(var(&mut at));
        (rest, at) = (more, at + 4);
        let is_frame = n >= 15 * chunks || ![12, 13].contains(&(n % 15));
        let content = if is_frame { unframed(section) } else { section.to_vec() };
        out.push(u8::from(is_frame));
        out.extend_from_slice(&u32::try_from(content.len()).expect("small").to_le_bytes()[..3]);
        out.extend_from_slice(&content);
    }
    out
}

fn unframed(section: &[u8]) -> Vec<u8> {
    shirabe::codec::unframed(section, 1 << 24, "a section").expect("a frame")
}

/// Turns bits over, cuts, doubles and mixes, here and there.
fn mutated(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let below = |dice: &mut Dice, n: usize| usize::try_from(dice.roll(n.max(1) as u64)).expect("n");
    for _ in 0..=dice.roll(3) {
        let at = below(dice, out.len());
        match dice.roll(8) {
            0..=2 => out[at] ^= 1 << dice.roll(8),
            3 => out[at] = [0, 1, 0x7f, 0x80, 0xff][below(dice, 5)],
            4 => drop(out.drain(at..(at + below(dice, 9)).min(out.len() - 1).max(at))),
            5 => out.insert(at, u8::try_from(dice.roll(256)).expect("a byte")),
            6 => {
                let from = below(dice, bytes.len());
                let piece = &bytes[from..(from + below(dice, 40)).min(bytes.len())];
                out.splice(at..at, piece.iter().copied());
            }
            _ => out.truncate(out.len() - below(dice, 16).min(out.len() - 1)),
        }
    }
    out
}

/// So many mutations of each of the seeds, through one target.
fn fuzz(target: impl Fn(&[u8]), seeds: &[Vec<u8>], rounds: u64) {
    let seed = std::env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let scale = std::env::var("ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    println!("SEED={seed} ROUNDS={scale}");
    let mut dice = Dice(seed);
    for seed in seeds {
        target(seed);
        for _ in 0..rounds * scale {
            target(&mutated(seed, &mut dice));
        }
    }
}

/// Written by the test where asked for, so that a fuzzer begins with something that reads.
fn keep(target: &str, seeds: &[Vec<u8>]) {
    if std::env::var_os("UPDATE").is_some() {
        let dir = repository("fuzz/seeds").join(target);
        fs::create_dir_all(&dir).expect("a directory");
        for (n, seed) in seeds.iter().enumerate() {
            fs::write(dir.join(n.to_string()), seed).expect("write");
        }
    }
}

fn lines(every: usize) -> Vec<u8> {
    let all = syslog_lines(0).into_iter().chain(objects(0)).filter(|line| line.len() < 2_000);
    all.step_by(every).flat_map(|line| [line, b"\n".to_vec()].concat()).collect()
}

fn bodies() -> Vec<Vec<u8>> {
    let golden = fs::read(repository("tests/data/formats/v0/body.bin")).expect("the golden body");
    let chunks = chunks_of(&lines(31));
    let chunks: Vec<_> = chunks.iter().map(Vec::as_slice).collect();
    let quick = shirabe::codec::encode(&chunks).body;
    let strong = shirabe::codec::encode_strong(&chunks).body;
    [golden, quick, strong].iter().map(|body| taken_apart(body)).collect()
}

#[test]
fn mutated_bodies_are_damage_never_a_panic() {
    let seeds = bodies();
    for seed in &seeds {
        let read = harness::read_body(harness::assemble(seed)).expect("a body");
        assert!(read > 20, "{read}: taken apart and put together");
    }
    keep("body", &seeds);
    fuzz(harness::body, &seeds, 300);
}

/// The two kinds of file, as a store wrote them.
fn files(ending: &str) -> Vec<Vec<u8>> {
    let server = crate::support::Server::start();
    let (status, _) = server.post("/api/v1/ingest", "text/plain", &lines(131));
    assert_eq!(status, 200);
    if ending == "seg" {
        server.seal();
    }
    let path = crate::by_hand::files(&server.dir)
        .into_iter()
        .find(|path| path.extension().is_some_and(|e| e == ending));
    vec![fs::read(path.expect("one")).expect("a file")]
}

#[test]
fn mutated_logs_are_damage_never_a_panic() {
    let seeds = files("log");
    keep("log", &seeds);
    fuzz(harness::log, &seeds, 100);
}

#[test]
fn mutated_segments_are_damage_never_a_panic() {
    let seeds = files("seg");
    keep("segment", &seeds);
    fuzz(harness::segment, &seeds, 60);
}

#[test]
fn mutated_streams_are_never_a_panic() {
    let stream = [b"\x10".to_vec(), lines(61)].concat();
    keep("syslog", std::slice::from_ref(&stream));
    fuzz(harness::syslog, &[stream], 100);
    let recordings = repository("tests/data/protocol");
    let mut seeds = Vec::new();
    for path in crate::by_hand::files(&recordings) {
        let name = path.to_string_lossy().into_owned();
        if name.ends_with("client.bin") && !name.contains("http-") {
            let bytes = fs::read(&path).expect("a recording");
            seeds.push([b"\x20", &bytes[..bytes.len().min(4 << 10)]].concat());
        }
    }
    assert!(seeds.len() > 3);
    fuzz(harness::forward, &seeds, 20);
}
