//! The bars of the store's design, row by row as they stand there: what a run must reach first, and
//! what it aims at.

use crate::table::Bar::{self, AtMost, Millis, MillisPerGib, Part, Times};
use crate::table::{Spec, Table};

/// Milliseconds that `rg -c onnecti` takes over a GiB of the fleet corpus on the machine that the
/// milliseconds below are meant for.
pub(crate) const RG_MS_PER_GIB: f64 = 270.0;

/// All tables of a run.
pub(crate) struct Tables {
    pub(crate) disk: Table,
    pub(crate) real: Table,
    pub(crate) ingest: Table,
    pub(crate) asking: Table,
    pub(crate) growth: Table,
    pub(crate) rivals: Table,
    /// What went wrong: the run fails.
    pub(crate) faults: Vec<String>,
}

impl Tables {
    pub(crate) fn new() -> Self {
        let ingest =
            "Ingest: the server's CPU from socket to sealed and synced, in Z (less is better)";
        Self {
            disk: Table::new(
                "Disk: z3 / ours, everything below the data directory, merged (more is better)",
                DISK,
            ),
            real: Table::new("Real files of 1 MB and more, one by one: z3 / ours", &[]),
            ingest: Table::new(ingest, INGEST),
            asking: Table::new("Asking: over HTTP, warm, median of 7 (ms by the clock)", ASKING),
            growth: Table::new("Growth", GROWTH),
            rivals: Table::new("Rivals, on the same text in the same run", &[]),
            faults: Vec::new(),
        }
    }

    pub(crate) fn print(&self, markdown: bool) {
        let Self { disk, real, ingest, asking, growth, rivals, .. } = self;
        for table in [disk, ingest, asking, growth, real, rivals] {
            table.print(markdown);
        }
    }
}

const fn row(name: &'static str, rival: &'static str, unit: &'static str, bar: Bar) -> Spec {
    Spec { name, rival, unit, bar }
}

const DISK: &[Spec] = &[
    row("fleet", "0.57-0.94", "", Times(2.2, 3.2)),
    row("json", "1.19", "", Times(2.0, 2.7)),
    row("nginx-access-shop", "–", "", Times(1.8, 2.8)),
    row("postgresql-rds", "–", "", Times(2.7, 5.0)),
    row("pgbouncer-old", "–", "", Times(2.7, 7.0)),
    row("linux-syslog", "–", "", Times(2.4, 3.0)),
    row("mixed small files (loghub 2k, all together)", "–", "", Times(1.3, 1.7)),
    row("the worst single file of 1 MB and more", "–", "", Times(1.0, 1.05)),
    row("hostile", "–", "", Times(1.1, 1.25)),
];

const INGEST: &[Spec] = &[
    row("fleet, syslog TCP", "13", "Z", AtMost(6.0, 3.0)),
    row("fleet, fluent-forward PackedForward with ack", "–", "Z", AtMost(6.0, 3.0)),
    row("json, HTTP", "9.5", "Z", AtMost(8.0, 4.0)),
    row("of which the encoding alone, fleet", "–", "Z", AtMost(3.5, 1.5)),
    row("of which the encoding alone, json", "–", "Z", AtMost(3.5, 2.0)),
    row("background merge, fleet", "–", "Z", AtMost(15.0, 6.0)),
    row("background merge, json", "–", "Z", AtMost(15.0, 6.0)),
    row("hostile", "–", "Z", AtMost(12.0, 5.0)),
    row("peak memory while ingesting, fleet", "390-460", "MB", AtMost(400.0, 200.0)),
    row("peak memory while ingesting, json", "390-460", "MB", AtMost(400.0, 200.0)),
    row("peak memory while ingesting, hostile", "–", "MB", AtMost(400.0, 200.0)),
    row("idle after start, memory", "14", "MB", AtMost(60.0, 25.0)),
    row("idle after start, CPU over 10 s", "–", "%", AtMost(1.0, 1.0)),
    row("sender's line to search result, median", "1 s", "ms", Millis(200.0, 20.0)),
    row("sender's line to search result, p99", "1 s", "ms", Millis(1_000.0, 100.0)),
];

const ASKING: &[Spec] = &[
    row("needle (an id in one line)", "8", "× rg", Part(10.0, 100.0)),
    row("an id that is nowhere", "8", "× rg", Part(10.0, 100.0)),
    row("count of a word, any case", "2340", "× rg", Part(8.0, 80.0)),
    row("count of two words", "1870", "ms", MillisPerGib(50.0, 10.0)),
    row("count of a phrase", "500", "× rg", Part(4.0, 30.0)),
    row("count of a fragment of words", "1200", "× rg", Part(4.0, 25.0)),
    row("count of a fragment of words, in Japanese", "520", "× rg", Part(4.0, 25.0)),
    row("count of a fragment of numbers", "1100", "× rg", Part(1.0, 5.0)),
    row("count of a fragment of ids", "1100", "× rg", Part(1.0, 5.0)),
    row("regular expression over all, any case", "19000", "× rg", Part(1.0, 5.0)),
    row("newest 100: of all", "70", "ms", Millis(20.0, 3.0)),
    row("newest 100: of a word", "258", "ms", Millis(20.0, 3.0)),
    row("newest 100: of host X and severity error", "24", "ms", Millis(20.0, 3.0)),
    row("histogram: of all", "70", "ms", MillisPerGib(40.0, 3.0)),
    row("histogram: of a word", "570", "ms", MillisPerGib(120.0, 16.0)),
    row("count by host", "13", "ms", MillisPerGib(20.0, 3.0)),
    row("top 20 of a field of the message", "–", "ms", MillisPerGib(150.0, 30.0)),
    row("json: http.status>=500 count", "11", "ms", MillisPerGib(15.0, 3.0)),
    row("json: p99(duration_ms) by service", "313", "ms", MillisPerGib(100.0, 30.0)),
    row("100 scattered records by id", "–", "ms", Millis(60.0, 10.0)),
];

const GROWTH: &[Spec] = &[
    row("needle as word:ID", "–", "×", AtMost(3.0, 1.5)),
    row("needle as a bare fragment", "–", "×", AtMost(10.0, 3.0)),
    row("newest 100", "–", "×", AtMost(1.5, 1.1)),
    row("start to ready after a clean stop", "–", "ms", Millis(1_000.0, 100.0)),
    row(
        "start to ready after a kill, beyond that, per 100 MiB of log",
        "–",
        "ms",
        Millis(1_000.0, 1_000.0),
    ),
    row("memory: ingest, last GiB / second", "–", "×", AtMost(1.1, 1.1)),
    row("ingest CPU, last GiB / second", "–", "×", AtMost(1.1, 1.1)),
    row("memory: query", "–", "×", AtMost(2.0, 1.1)),
];
