//! `cargo bench`: the bars of the store, each row measured in one run beside its rivals.
//!
//! Corpora come from the generator and from real log files; the built program takes them in as its
//! senders would send them, seals, merges, and is asked over HTTP. What is compared are ratios of
//! the same run: CPU to that of `zstd -3` on the same text ("Z"), bytes to its output ("z3"), times
//! to those of `rg -c` on the plain file.
//!
//! | file | noun |
//! |---|---|
//! | `options` | what the run is asked to do |
//! | `bars` · `table` | the rows, and how they are judged and printed |
//! | `corpus` · `generated` | real files and records of them · generated text and its counts |
//! | `server` · `meter` | the program as a child · what it costs |
//! | `senders` · `rivals` | what sends to it · what it is held against |
//! | `ingest` · `encoding` · `asking` · `growth` | the rows' figures |

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a benchmark prints, and ends where it cannot go on"
)]

use std::process::ExitCode;

use bars::Tables;
use generated::Place;
use ingest::Names;
use options::Options;
use rivals::Zstd;
use table::{mb, short};

mod asking;
mod bars;
mod corpus;
mod encoding;
mod generated;
mod growth;
mod ingest;
mod meter;
mod options;
mod rivals;
mod senders;
mod server;
mod table;

/// Text of the fleet that is indexed by the rival, MiB at most: it builds in memory.
const INDEXED_MIB: usize = 256;

fn main() -> ExitCode {
    let options = match Options::read() {
        Ok(options) => options,
        Err(text) => {
            println!("{text}");
            return ExitCode::from(2);
        }
    };
    if !options.files.is_empty() {
        encoding::print(&options.files, options.markdown);
        return ExitCode::SUCCESS;
    }
    println!(
        "{} MiB of each generated corpus, seed {}; {} cores, load {}; built {}",
        options.mib,
        options.seed,
        std::thread::available_parallelism().map_or(0, usize::from),
        meter::load(),
        if cfg!(debug_assertions) {
            "WITHOUT optimisation: figures mean nothing"
        } else {
            "for release"
        },
    );
    let mut tables = Tables::new();
    let ((), took) = meter::timed(|| measure(&options, &mut tables));
    tables.print(options.markdown);
    println!("\n{} s; load at the end {}", short(took.as_secs_f64()), meter::load());
    for fault in &tables.faults {
        println!("WRONG ANSWER: {fault}");
    }
    if tables.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Says what is done now, since a run is long.
fn step(what: &str) {
    println!("{:>6} s  {what}; load {}", short(meter::now().as_secs_f64()), meter::load());
}

fn measure(options: &Options, tables: &mut Tables) {
    let data = &options.data;
    let place = Place::new(options);
    let needs_fleet = ["fleet", "forward", "rivals"].iter().any(|part| options.wants(part))
        || options.growth.is_some();
    // Both at once, one core each; nothing is measured meanwhile.
    let fleet = needs_fleet.then(|| place.make("fleet", options.mib, 1_000, true));
    let json = options.wants("json").then(|| place.make("json", options.mib, 500, true));
    step("generated corpora");
    let fleet = fleet.map(generated::Making::corpus);
    let json = json.map(generated::Making::corpus);
    if options.wants("real") {
        step("real files");
        ingest::real_files(data, tables);
    }
    if let Some(fleet) = &fleet {
        tables.asking.machine = asking::machine(fleet);
        tables.ingest.machine = tables.asking.machine;
        tables.growth.machine = tables.asking.machine;
        tables.asking.size = fleet.mib() / 1024.0;
        println!(
            "rg -c onnecti takes {} of what it does on the machine of the bars",
            short(tables.asking.machine)
        );
    }
    if let Some(fleet) = fleet.as_ref().filter(|_| options.wants("fleet")) {
        step("idle server, one line's way");
        ingest::idle_and_latency(data, tables);
        step("fleet over syslog");
        let names = Names {
            disk: Some("fleet"),
            ingest: "fleet, syslog TCP",
            merge: Some("background merge, fleet"),
            memory: Some("peak memory while ingesting, fleet"),
        };
        let (server, z) = ingest::corpus(data, fleet, &names, tables, senders::syslog_tcp);
        step("asking");
        asking::fleet(&server, fleet, tables);
        ingest::memory_after_asking(&server, tables);
        drop(server);
        let row = "of which the encoding alone, fleet";
        ingest::encoding_alone(&fleet.text(), z, row, tables);
    }
    if let Some(fleet) = fleet.as_ref().filter(|_| options.wants("forward")) {
        let names = Names {
            disk: None,
            ingest: "fleet, fluent-forward PackedForward with ack",
            merge: None,
            memory: None,
        };
        step("fleet over fluent-forward");
        ingest::corpus(data, fleet, &names, tables, senders::forward);
    }
    if let Some(json) = &json {
        let names = Names {
            disk: Some("json"),
            ingest: "json, HTTP",
            merge: Some("background merge, json"),
            memory: Some("peak memory while ingesting, json"),
        };
        step("json over HTTP");
        let (server, z) = ingest::corpus(data, json, &names, tables, |server, text| {
            senders::http(server, text, "application/x-ndjson", "");
        });
        asking::json(&server, json, tables);
        drop(server);
        ingest::encoding_alone(&json.text(), z, "of which the encoding alone, json", tables);
    }
    if options.wants("hostile") {
        let hostile = place.make("hostile", (options.mib / 8).max(8), 1_000, false).corpus();
        let names = Names {
            disk: Some("hostile"),
            ingest: "hostile",
            merge: None,
            memory: Some("peak memory while ingesting, hostile"),
        };
        step("hostile over HTTP");
        let (_, z) = ingest::corpus(data, &hostile, &names, tables, |server, text| {
            senders::http(server, text, "application/x-ndjson", "");
        });
        let cpu = z.ratio(encoding::alone(&hostile.text()));
        tables.rivals.tell("hostile, our encoding alone", format!("{} Z", short(cpu)), z.told());
    }
    if let Some(steps) = options.growth {
        step("growth");
        growth::grow(options, &place, steps, tables);
    }
    if options.wants("rivals") {
        step("rivals");
        for corpus in fleet.iter().chain(&json) {
            compare(corpus, tables);
        }
    }
}

/// What the rivals make of a corpus.
fn compare(corpus: &generated::Corpus, tables: &mut Tables) {
    let all = corpus.text();
    let near = all.get(..INDEXED_MIB << 20).unwrap_or(&all);
    let text = &near[..memchr::memrchr(b'\n', near).map_or(near.len(), |at| at + 1)];
    let z = Zstd::of(text);
    let indexed = rivals::indexed(text, "error");
    let name = corpus.known["corpus"].as_str().unwrap_or_default();
    let note = format!(
        "its files are {} without the text, built in {} Z; counts `error` ({} records) in {} ms",
        mb(indexed.bytes),
        short(z.ratio(indexed.cpu)),
        indexed.hits,
        short(meter::ms(indexed.count)),
    );
    let times = format!("{} of z3", short(1.0 / z.smaller(indexed.bytes)));
    let row = format!("{name}, tantivy, one document a record ({})", mb(text.len() as u64));
    tables.rivals.tell(row, times, note);
    tables.rivals.tell(
        format!("{name}, zstd -3"),
        mb(z.bytes),
        format!("Z {:.2} s", z.cpu.as_secs_f64()),
    );
}
