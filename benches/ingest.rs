//! Taking corpora in through the doors that senders use, and what is on disk afterwards.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::bars::Tables;
use crate::corpus::read;
use crate::generated::{Corpus, corpora};
use crate::rivals::Zstd;
use crate::server::{Server, Spent};
use crate::table::{float, mb, short};
use crate::{encoding, meter, senders};

/// What the rows of one corpus are called.
pub(crate) struct Names {
    /// In the table of disk; `None`: not told there.
    pub(crate) disk: Option<&'static str>,
    /// In the table of ingest.
    pub(crate) ingest: &'static str,
    /// Its merge.
    pub(crate) merge: Option<&'static str>,
    /// Its peak of memory.
    pub(crate) memory: Option<&'static str>,
}

/// What two bars are about before anything is stored: an idle server, and one line's way.
pub(crate) fn idle_and_latency(data: &Path, tables: &mut Tables) {
    let server = Server::start(data);
    let idle = server.spent(|| meter::rest(Duration::from_secs(10)));
    let resident = float(server.memory("VmRSS")) / 1e6;
    let start = format!("ready after {} ms", short(meter::ms(server.start)));
    let ingest = &mut tables.ingest;
    ingest.fill("idle after start, memory", format!("{resident:.1} MB"), resident, start);
    let percent = idle.cpu.as_secs_f64() / idle.wall.as_secs_f64() * 100.0;
    let cpu = format!("{} ms of CPU", short(meter::ms(idle.cpu)));
    ingest.fill("idle after start, CPU over 10 s", format!("{percent:.2} %"), percent, cpu);
    let mut times = senders::line_to_answer(&server, 200);
    times.sort_unstable();
    let median = meter::median(times.clone());
    let p99 = times.get(times.len() * 99 / 100).copied().unwrap_or_default();
    for (name, time) in [("median", median), ("p99", p99)] {
        let name = format!("sender's line to search result, {name}");
        let ms = meter::ms(time);
        ingest.fill(
            &name,
            format!("{} ms", short(ms)),
            ms,
            "connect, send, poll; 200 times".into(),
        );
    }
}

/// Sends a corpus, seals, merges, and fills the rows; the server is handed on for questions.
pub(crate) fn corpus(
    data: &Path,
    corpus: &Corpus,
    names: &Names,
    tables: &mut Tables,
    send: impl FnOnce(&Server, &[u8]),
) -> (Server, Zstd) {
    let text = corpus.text();
    let z = Zstd::of(&text);
    let server = Server::start(data);
    let sent = server.spent(|| {
        send(&server, &text);
        server.wait_records(corpus.lines);
        server.seal(false);
    });
    check_kept(server.metric("shirabe_records"), corpus.lines, names.ingest, tables);
    let peak = float(server.memory("VmHWM")) / 1e6;
    let segments = server.metric("shirabe_segments");
    let sealed = server.disk();
    let merged = server.spent(|| server.seal(true));
    let disk = server.disk();
    // Merging that began meanwhile is counted by its threads, apart.
    let without_merge = sent.cpu.saturating_sub(sent.merge);
    let ingest = &mut tables.ingest;
    let rate = corpus.mib() / sent.wall.as_secs_f64();
    let note = format!(
        "{}; {:.1} s of CPU, {} MiB/s by the clock; {segments} segments, {} sealed{}",
        z.told(),
        without_merge.as_secs_f64(),
        short(rate),
        mb(sealed),
        if sent.merge.is_zero() {
            String::new()
        } else {
            format!("; {:.1} s of merging meanwhile left out", sent.merge.as_secs_f64())
        },
    );
    let ratio = z.ratio(without_merge);
    ingest.fill(names.ingest, format!("{} Z", short(ratio)), ratio, note);
    if let Some(name) = names.memory {
        ingest.fill(name, format!("{peak:.0} MB"), peak, "VmHWM until sealed".into());
    }
    if let Some(name) = names.merge {
        fill_merge(&server, name, segments, (sent, merged), z, tables);
    }
    if let Some(name) = names.disk {
        let per_record = float(disk) / float(corpus.lines);
        let note = format!(
            "{}; {} before merging; {per_record:.1} B a record; {}",
            z.told(),
            short(z.smaller(sealed)),
            server.disk_told()
        );
        tables.disk.fill(name, mb(disk), z.smaller(disk), note);
    }
    (server, z)
}

/// Every line is one record, no more and no less.
pub(crate) fn check_kept(kept: u64, sent: u64, when: &str, tables: &mut Tables) {
    if kept != sent {
        tables.faults.push(format!("{when}: {kept} records are kept of {sent} that were sent"));
    }
}

fn fill_merge(
    server: &Server,
    name: &str,
    before: u64,
    (sent, merged): (Spent, Spent),
    z: Zstd,
    tables: &mut Tables,
) {
    let after = server.metric("shirabe_segments");
    let meanwhile = sent.merge;
    if after == before && meanwhile.is_zero() && z.ratio(merged.cpu) < 0.1 {
        return tables.ingest.leave(name, "nothing was merged");
    }
    let cpu = meanwhile + merged.cpu;
    let peak = float(server.memory("VmHWM")) / 1e6;
    let note = format!(
        "{:.1} s of CPU, of them {:.1} s while ingesting (by thread name); {before} → {after} \
         segments in {:.1} s; peak {peak:.0} MB",
        cpu.as_secs_f64(),
        meanwhile.as_secs_f64(),
        merged.wall.as_secs_f64(),
    );
    tables.ingest.fill(name, format!("{} Z", short(z.ratio(cpu))), z.ratio(cpu), note);
}

/// What the server has grown to when all of a corpus's questions were asked.
pub(crate) fn memory_after_asking(server: &Server, tables: &mut Tables) {
    let [peak, now] = ["VmHWM", "VmRSS"].map(|kind| float(server.memory(kind)) / 1e6);
    let row = "memory after all questions";
    tables.asking.tell(row, format!("{now:.0} MB"), format!("peak since the start {peak:.0} MB"));
}

/// The row of the encoding alone.
pub(crate) fn encoding_alone(text: &[u8], z: Zstd, name: &str, tables: &mut Tables) {
    let cpu = encoding::alone(text);
    let note = format!("{:.2} s of CPU, in this process, 32 MiB at a time", cpu.as_secs_f64());
    let ratio = z.ratio(cpu);
    tables.ingest.fill(name, format!("{} Z", short(ratio)), ratio, note);
}

/// The real files: each large one in a store of its own, the small ones of loghub in one.
pub(crate) fn real_files(data: &Path, tables: &mut Tables) {
    let entries = std::fs::read_dir(corpora().join("lines")).expect("lines/");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let mut worst: Option<(f64, String, u64)> = None;
    for file in &files {
        let text = read(file);
        if text.len() < 1_000_000 {
            continue;
        }
        let name = name_of(file);
        let (disk, z, parts) = stored(data, &[(name.clone(), text.clone())]);
        let times = z.smaller(disk);
        let note = format!("{} of text, {}; {parts}", mb(text.len() as u64), z.told());
        tables.real.tell(name.clone(), format!("{} ({})", short(times), mb(disk)), note.clone());
        for row in ["nginx-access-shop", "postgresql-rds", "pgbouncer-old", "linux-syslog"] {
            if name.starts_with(row) {
                tables.disk.fill(row, mb(disk), times, note.clone());
            }
        }
        if worst.as_ref().is_none_or(|(least, ..)| times < *least) {
            worst = Some((times, name, disk));
        }
    }
    if let Some((times, name, disk)) = worst {
        let row = "the worst single file of 1 MB and more";
        tables.disk.fill(row, mb(disk), times, name);
    }
    let small: Vec<(String, Vec<u8>)> = files
        .iter()
        .filter(|file| name_of(file).contains("loghub2k"))
        .map(|file| (name_of(file), read(file)))
        .collect();
    let (disk, z, parts) = stored(data, &small);
    let note = format!("{} files in one store, {}; {parts}", small.len(), z.told());
    let row = "mixed small files (loghub 2k, all together)";
    tables.disk.fill(row, mb(disk), z.smaller(disk), note);
}

fn name_of(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.trim_end_matches(".zst").trim_end_matches(".log").to_owned()
}

/// Texts as plain lines in one store, each as an app: bytes at rest, `zstd -3` of all the texts, and
/// what the bytes are.
fn stored(data: &Path, texts: &[(String, Vec<u8>)]) -> (u64, Zstd, String) {
    let server = Server::start(data);
    let mut lines = 0;
    for (name, text) in texts {
        let parameters = format!("?host=real&app={name}");
        lines += senders::http(&server, text, "text/plain", &parameters);
    }
    server.wait_records(lines);
    server.seal(false);
    server.seal(true);
    let all: Vec<u8> = texts.iter().flat_map(|(_, text)| text).copied().collect();
    (server.disk(), Zstd::of(&all), server.disk_told())
}
