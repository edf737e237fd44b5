//! What we are measured against, in the same run on the same text: `zstd -3`, ripgrep, and a
//! full-text index with one document a record.

use std::io::{self, Write};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use shirabe::base::record::Record;
use shirabe::base::time::Timestamp;
use shirabe::decode::json::{self, Given, Shape};
use shirabe::decode::{Origin, syslog};
use tantivy::collector::Count;
use tantivy::directory::{Directory as _, RamDirectory};
use tantivy::indexer::SingleSegmentIndexWriter;
use tantivy::query::TermQuery;
use tantivy::schema::{Field, IndexRecordOption, STRING, Schema, TextFieldIndexing, TextOptions};
use tantivy::{HasLen as _, Index, TantivyDocument, Term};

use crate::meter;
use crate::table::float;

/// `zstd -3` of a text.
#[derive(Clone, Copy)]
pub(crate) struct Zstd {
    /// CPU time: "Z".
    pub(crate) cpu: Duration,
    /// Bytes: "z3".
    pub(crate) bytes: u64,
}

impl Zstd {
    /// The same parameters as the program's, streamed. The lower CPU time of two runs.
    pub(crate) fn of(text: &[u8]) -> Self {
        let run = || {
            meter::thread_cpu(|| {
                let mut encoder = zstd::stream::Encoder::new(Sink(0), 3).expect("zstd");
                encoder.set_pledged_src_size(Some(text.len() as u64)).expect("zstd");
                encoder.write_all(text).expect("zstd");
                encoder.finish().expect("zstd").0
            })
        };
        let ((bytes, first), (_, second)) = (run(), run());
        Self { cpu: first.min(second), bytes }
    }

    /// How many Z a time is.
    pub(crate) fn ratio(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() / self.cpu.as_secs_f64()
    }

    /// How many times smaller than z3 so many bytes are.
    pub(crate) fn smaller(&self, bytes: u64) -> f64 {
        float(self.bytes) / float(bytes)
    }

    /// As a note.
    pub(crate) fn told(&self) -> String {
        format!("z3 {:.2} MB, Z {:.2} s", float(self.bytes) / 1e6, self.cpu.as_secs_f64())
    }
}

/// Counts what is written.
struct Sink(u64);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `rg -c` with these arguments on a file: how many lines, and by the clock.
pub(crate) fn rg(args: &[&str], file: &Path) -> (u64, Duration) {
    let mut command = Command::new("rg");
    command.args(["--no-config", "-c"]).args(args).arg(file);
    let (out, wall) = meter::timed(|| command.output().expect("rg"));
    assert!(out.stderr.is_empty(), "rg: {}", String::from_utf8_lossy(&out.stderr));
    let lines = String::from_utf8_lossy(&out.stdout).trim().parse().unwrap_or_default();
    (lines, wall)
}

/// An index of words with one document a record.
pub(crate) struct Indexed {
    /// Bytes of its files; the text is not among them.
    pub(crate) bytes: u64,
    /// CPU time of building it, decoding left out.
    pub(crate) cpu: Duration,
    /// Median time of counting a word.
    pub(crate) count: Duration,
    /// Records that have it.
    pub(crate) hits: usize,
}

/// Message, or the whole JSON object, as words (no positions, no frequencies), host and app as they
/// are; one writer thread, one segment. `word` is counted.
pub(crate) fn indexed(text: &[u8], word: &str) -> Indexed {
    let words = TextFieldIndexing::default()
        .set_tokenizer("default")
        .set_fieldnorms(false)
        .set_index_option(IndexRecordOption::Basic);
    let mut schema = Schema::builder();
    let options = TextOptions::default().set_indexing_options(words);
    let message = schema.add_text_field("message", options);
    let fields =
        (message, schema.add_text_field("host", STRING), schema.add_text_field("app", STRING));
    let directory = RamDirectory::create();
    let mut writer: SingleSegmentIndexWriter = Index::builder()
        .schema(schema.build())
        .single_segment_index_writer(directory.clone(), 1 << 30)
        .expect("an index");
    let mut cpu = Duration::ZERO;
    let mut documents = Vec::new();
    let origin = Origin::new("syslog", "tcp", "127.0.0.1");
    for line in text.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        documents.push(document(line, &origin, fields));
        if documents.len() == 10_000 {
            cpu += add(&mut writer, &mut documents);
        }
    }
    cpu += add(&mut writer, &mut documents);
    let (index, end) = meter::thread_cpu(|| writer.finalize().expect("an index"));
    let files = index.directory().list_managed_files();
    let bytes = files.iter().map(|file| directory.open_read(file).map_or(0, |f| f.len() as u64));
    let searcher = index.reader().expect("a reader").searcher();
    let term = Term::from_field_text(fields.0, word);
    let query = TermQuery::new(term, IndexRecordOption::Basic);
    let ask = || meter::timed(|| searcher.search(&query, &Count).expect("a count"));
    let (hits, _) = ask();
    let count = meter::median((0..7).map(|_| ask().1).collect());
    Indexed { bytes: bytes.sum(), cpu: cpu + end, count, hits }
}

fn add(writer: &mut SingleSegmentIndexWriter, documents: &mut Vec<TantivyDocument>) -> Duration {
    let add_all = || documents.drain(..).for_each(|d| writer.add_document(d).expect("room"));
    meter::thread_cpu(add_all).1
}

fn document(line: &[u8], origin: &Origin, fields: (Field, Field, Field)) -> TantivyDocument {
    let record = record(line, origin);
    let mut document = TantivyDocument::new();
    let text = match line.first() {
        Some(b'{') => String::from_utf8_lossy(line),
        _ => record.message().into(),
    };
    document.add_text(fields.0, text);
    document.add_text(fields.1, &record.host);
    document.add_text(fields.2, &record.app);
    document
}

/// A line as the server decodes it.
pub(crate) fn record(line: &[u8], origin: &Origin) -> Record {
    let received = Timestamp(1_772_323_200_000_000_000);
    let record = if line.first() == Some(&b'{') {
        let body = json::read_body(line, Shape::Lines, received, origin, &Given::default());
        body.records.into_iter().next()
    } else {
        syslog::read(line, received, origin)
    };
    record.expect("a line of a generated corpus is a record")
}
