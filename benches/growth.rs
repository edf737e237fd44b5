//! Growth: the fleet streamed GiB by GiB, each made by the generator with a seed and a stretch of
//! time of its own, sent, and not kept; questions and starts at the first and at the last.
//!
//! Two generators work ahead while the server takes in, so that how fast it goes by the clock is
//! how fast lines are made; what one GiB costs is told by CPU and memory.

use std::collections::VecDeque;
use std::time::Duration;

use crate::asking;
use crate::bars::Tables;
use crate::generated::{Corpus, Making, Place};
use crate::options::Options;
use crate::senders;
use crate::server::Server;
use crate::table::{float, mb, short};
use crate::{ingest, meter};

/// Time of one step, seconds: longer than a GiB of lines takes at the lowest rate of a day.
const STEP_S: u64 = 7_500;

/// Generators that work ahead.
const AHEAD: u64 = 2;

/// Text that is in the log only when the server is killed, bytes at most.
const UNSEALED: usize = 48 << 20;

/// What is asked and started at one size.
struct Seen {
    word: asking::Took,
    bare: asking::Took,
    newest: asking::Took,
    start: Duration,
    /// Peak of memory while these were asked, from the start on.
    memory: u64,
}

/// Streams so many steps of the size of a corpus, and fills the table.
pub(crate) fn grow(options: &Options, place: &Place, steps: u64, tables: &mut Tables) {
    let make = |n: u64| place.make_part("fleet", options.mib, 1_000, n, n * STEP_S);
    let mut making: VecDeque<Making> = (0..AHEAD.min(steps)).map(make).collect();
    let mut server = Server::start(&options.data);
    let mut records = 0;
    let mut needle = String::new();
    let mut seen = Vec::new();
    let mut costs = Vec::new();
    let mut last = Vec::new();
    for step in 0..steps {
        let corpus = making.pop_front().expect("a generator").corpus();
        if step + AHEAD < steps {
            making.push_back(make(step + AHEAD));
        }
        let text = corpus.text();
        records += corpus.lines;
        server.forget_peak();
        let spent = server.spent(|| {
            senders::syslog_tcp(&server, &text);
            server.wait_records(records);
            server.seal(false);
        });
        let peak = server.memory("VmHWM");
        let own = spent.cpu.saturating_sub(spent.merge);
        costs.push((own, peak));
        let row = format!("{} MiB number {}", options.mib, step + 1);
        let note = format!(
            "{:.1} s of CPU and {:.1} s of merging in {:.0} s; load {}; {} on disk",
            own.as_secs_f64(),
            spent.merge.as_secs_f64(),
            spent.wall.as_secs_f64(),
            meter::load(),
            mb(server.disk()),
        );
        tables.growth.tell(row, format!("peak {:.0} MB", float(peak) / 1e6), note);
        if step == 0 {
            needle = needle_of(&corpus);
        }
        if step == 0 || step + 1 == steps {
            server.seal(true);
            server = server.again(true);
            seen.push(look(&server, &needle, tables));
            last = text;
        }
        corpus.remove();
    }
    if let [first, .., large] = seen.as_slice() {
        compare(first, large, steps, tables);
    }
    if let [_, second, .., large] = costs.as_slice() {
        let told = format!("{:.0} MB", float(large.1) / 1e6);
        let times = float(large.1) / float(second.1);
        let before = format!("{:.0} MB", float(second.1) / 1e6);
        tables.growth.fill("memory: ingest, last GiB / second", told, times, before);
        let times = large.0.as_secs_f64() / second.0.as_secs_f64();
        let [told, before] = [large, second].map(|(cpu, _)| format!("{:.1} s", cpu.as_secs_f64()));
        tables.growth.fill("ingest CPU, last GiB / second", told, times, before);
    }
    killed(server, &last, records, tables);
}

fn needle_of(corpus: &Corpus) -> String {
    let text = corpus.text();
    let at = memchr::memmem::find(&text, b"ref=ndl").expect("a needle");
    let id = text.get(at + 4..at + 31).expect("an id");
    String::from_utf8(id.to_vec()).expect("ASCII")
}

fn look(server: &Server, needle: &str, tables: &mut Tables) -> Seen {
    let start = server.start;
    server.forget_peak();
    let word = asking::median(server, tables, &format!("word:{needle}"), 1);
    let bare = asking::median(server, tables, needle, 1);
    let newest = asking::median(server, tables, "", 100);
    asking::median(server, tables, "error", 100);
    asking::median(server, tables, "'onnecti'", 100);
    Seen { word, bare, newest, start, memory: server.memory("VmHWM") }
}

fn compare(first: &Seen, large: &Seen, steps: u64, tables: &mut Tables) {
    let growth = &mut tables.growth;
    let rows = [
        ("needle as word:ID", first.word, large.word),
        ("needle as a bare fragment", first.bare, large.bare),
        ("newest 100", first.newest, large.newest),
    ];
    for (row, small, large) in rows {
        let times = large.wall.as_secs_f64() / small.wall.as_secs_f64();
        let [wall, cpu, large_cpu] =
            [small.wall, small.cpu, large.cpu].map(|time| short(meter::ms(time)));
        let note = format!("{wall} ms at 1 of {steps}; CPU {large_cpu} and {cpu} ms");
        growth.fill(row, format!("{} ms", short(meter::ms(large.wall))), times, note);
    }
    let ms = meter::ms(large.start);
    let note = format!("{} ms at 1 of {steps}", short(meter::ms(first.start)));
    growth.fill("start to ready after a clean stop", format!("{} ms", short(ms)), ms, note);
    let told = format!("{:.0} MB", float(large.memory) / 1e6);
    let note =
        format!("{:.0} MB at 1 of {steps}, peaks since the start", float(first.memory) / 1e6);
    growth.fill("memory: query", told, float(large.memory) / float(first.memory), note);
}

/// Lines that are not sealed, a SIGKILL, and the next start.
fn killed(server: Server, text: &[u8], records: u64, tables: &mut Tables) {
    let near = text.get(..UNSEALED).unwrap_or(text);
    let text = &near[..memchr::memrchr(b'\n', near).map_or(near.len(), |at| at + 1)];
    let clean = server.start;
    let sent = memchr::memchr_iter(b'\n', text).count() as u64;
    senders::syslog_tcp(&server, text);
    server.wait_records(records + sent);
    let log = server.log_bytes();
    let server = server.again(false);
    let beyond = meter::ms(server.start.saturating_sub(clean));
    let per_100 = beyond / (float(log) / float(100 << 20));
    let note = format!(
        "{} ms with {} of log, {} ms after the clean stop",
        short(meter::ms(server.start)),
        mb(log),
        short(meter::ms(clean))
    );
    let row = "start to ready after a kill, beyond that, per 100 MiB of log";
    tables.growth.fill(row, format!("{} ms", short(per_100)), per_100, note);
    let kept = server.metric("shirabe_records");
    ingest::check_kept(kept, records + sent, "after the kill", tables);
}
