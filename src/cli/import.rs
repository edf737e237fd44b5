//! `shirabe import`: log files into a running server.
//!
//! A client of `POST /api/v1/ingest` like any other: it cuts a file into batches of whole lines and
//! sends their bytes as they are, so that what a line says and how it is kept is decided in one
//! place, the server. Memory stays flat whatever the size of a file or of its lines.

use std::io::{self, BufReader, IsTerminal as _, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use memchr::{memchr, memchr_iter};
use serde::Deserialize;
use ureq::Agent;
use ureq::http::{Response, StatusCode};

use crate::base::limits::{INGEST_BATCH_RECORDS, INGEST_PIECE_BYTES, LINE_BYTES_MAX};
use crate::base::machine::{self, Clock as _, SystemClock};
use crate::cli::server::Server;
use crate::cli::{Failure, Outcome, note, print};
use crate::decode::frame::zstd_reader;

/// How much is sent at once, bytes: one piece to the server, so that a batch is kept or refused as
/// one.
const BATCH_BYTES: usize = INGEST_PIECE_BYTES;

/// How often a batch is tried that the server refuses for now, and the wait where it names none.
const TRIES: usize = 30;
const WAIT: Duration = Duration::from_secs(1);

/// Loads log files into a running server.
///
/// Files may be plain or packed (gz, zst, bz2, xz: told by their first bytes). A file whose first
/// line is a JSON object is read as NDJSON, any other as lines of text. Time, host, app and
/// severity are taken from the lines where they say them.
#[derive(Args)]
#[expect(clippy::doc_markdown, reason = "printed as help, where backticks would stand")]
pub(super) struct Import {
    /// Files, or - for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Host of all lines [default: what they say, else this machine's name]
    #[arg(long)]
    host: Option<String>,
    /// App of all lines [default: what they say, else the file's name without its endings]
    #[arg(long)]
    app: Option<String>,
    /// What bytes that are not UTF-8 are read as: shift_jis, euc-jp, latin1, …
    #[arg(long)]
    encoding: Option<String>,
    /// Zone of times that carry none: Asia/Tokyo, … [default: the server's time_zone]
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// Year of times that carry none [default: the one that makes them nearest to now]
    #[arg(long)]
    year: Option<i16>,
    #[command(flatten)]
    server: Server,
}

/// What was sent, and what the server made of it.
#[derive(Default)]
struct Sent {
    lines: u64,
    bytes: u64,
    accepted: u64,
    rejected: u64,
    /// Lines longer than a line may be: their begin was sent, the rest left out.
    cut: u64,
}

#[derive(Deserialize)]
struct Answer {
    accepted: u64,
    rejected: Vec<Rejected>,
}

#[derive(Deserialize)]
struct Rejected {
    line: u64,
    reason: String,
}

/// What is used of a problem+json.
#[derive(Deserialize)]
struct Refused {
    detail: String,
}

/// The road to the server.
struct Road {
    agent: Agent,
    url: String,
    token: Option<String>,
    parameters: Vec<(&'static str, String)>,
}

/// Imports all files, in their order.
pub(super) fn run(import: &Import) -> Outcome {
    let clock = SystemClock::new();
    let (url, token) = import.server.find()?;
    let texts = [
        ("host", import.host.clone()),
        ("default_host", Some(machine::hostname())),
        ("app", import.app.clone()),
        ("encoding", import.encoding.clone()),
        ("time_zone", import.time_zone.clone()),
        ("year", import.year.map(|y| y.to_string())),
    ];
    let parameters = texts.into_iter().filter_map(|(name, text)| Some((name, text?))).collect();
    let config = Agent::config_builder().http_status_as_error(false);
    let agent = config.timeout_global(Some(Duration::from_mins(5))).build().into();
    let road = Road { agent, url, token, parameters };
    let mut sent = Sent::default();
    let mut whole = 0;
    let mut outcome = Ok(());
    for path in &import.files {
        outcome = file(path, &road, &mut sent);
        if outcome.is_err() {
            break;
        }
        whole += 1;
    }
    // Told after a failure too, for what was sent until then is kept: nobody should send it again.
    if outcome.is_ok() || sent.accepted > 0 {
        print(&sent.summary(whole, import.files.len(), clock.monotonic()));
    }
    outcome?;
    if sent.rejected > 0 {
        let refused = format!("{} lines were refused by the server", sent.rejected);
        return Err(Failure::Request(refused));
    }
    Ok(())
}

impl Sent {
    /// One line: what became of the `whole` files of `all`.
    fn summary(&self, whole: usize, all: usize, took: Duration) -> String {
        let Self { lines, bytes, accepted, rejected, cut } = *self;
        let files = if whole == all { all.to_string() } else { format!("{whole} of {all}") };
        let some = |n: u64, what: &str| if n > 0 { format!(", {n} {what}") } else { String::new() };
        format!(
            "{accepted} records of {lines} lines ({bytes} bytes) in {files} files{}{}, {:.1} s\n",
            some(cut, "cut"),
            some(rejected, "refused"),
            took.as_secs_f64()
        )
    }
}

fn file(path: &Path, road: &Road, sent: &mut Sent) -> Outcome {
    let unreadable =
        |e: io::Error| Failure::Request(format!("cannot read {}: {e}", path.display()));
    let is_stdin = path == Path::new("-");
    let (source, len): (Box<dyn Read + Send>, _) = if is_stdin {
        (Box::new(io::stdin()), 0)
    } else {
        machine::open_to_read(path).map_err(unreadable)?
    };
    let bar = progress(path, len);
    let mut batches = Batches::new(unpacked(Box::new(bar.wrap_read(source))).map_err(unreadable)?);
    let cut_before = sent.cut;
    let mut kind = None;
    let app = path.file_name().filter(|_| !is_stdin).and_then(|name| stem(name.to_str()?));
    while let Some(batch) = batches.next().map_err(unreadable)? {
        let is_ndjson = *kind.get_or_insert_with(|| is_ndjson(&batch));
        let lines = batch.split(|b| *b == b'\n').filter(|line| !line.is_empty()).count() as u64;
        let answer = road.send(&batch, is_ndjson, app.as_deref())?;
        for Rejected { line, reason } in answer.rejected.iter().take(10) {
            let at = sent.lines + line;
            bar.suspend(|| note(&format!("{}: line {at} refused: {reason}", path.display())));
        }
        let rejected = answer.rejected.len() as u64;
        if !is_ndjson && answer.accepted + rejected != lines {
            let detail = format!(
                "{}: sent {lines} lines, the server accepted {}",
                path.display(),
                answer.accepted
            );
            return Err(Failure::Request(detail));
        }
        sent.lines += lines;
        sent.bytes += batch.len() as u64;
        sent.accepted += answer.accepted;
        sent.rejected += rejected;
        sent.cut = cut_before + batches.cut;
    }
    bar.finish_and_clear();
    Ok(())
}

/// A bar on a terminal, nothing elsewhere; of unknown length for standard input.
fn progress(path: &Path, len: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = if len > 0 { ProgressBar::new(len) } else { ProgressBar::new_spinner() };
    let style = if len > 0 {
        "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}"
    } else {
        "{msg} {spinner} {bytes} {bytes_per_sec}"
    };
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar.set_message(path.display().to_string());
    bar
}

/// The bytes of a file, unpacked where its first bytes say that it is packed.
fn unpacked(source: Box<dyn Read + Send>) -> io::Result<Box<dyn Read>> {
    let mut source = BufReader::with_capacity(64 << 10, source);
    let mut magic = [0; 6];
    let len = read_full(&mut source, &mut magic)?;
    let magic = magic.get(..len).unwrap_or_default().to_vec();
    let whole = BufReader::new(io::Cursor::new(magic.clone()).chain(source));
    Ok(match magic.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(whole)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd_reader(whole)?),
        [b'B', b'Z', b'h', ..] => Box::new(bzip2::bufread::MultiBzDecoder::new(whole)),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => {
            Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(whole))
        }
        _ => Box::new(whole),
    })
}

/// Reads until `buffer` is full or the end is reached; how much it was.
fn read_full(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while let Some(room) = buffer.get_mut(len..).filter(|room| !room.is_empty()) {
        match source.read(room) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(len)
}

/// Cuts a stream into batches of whole lines. A line that is longer than a line may be is sent as
/// long as it takes for the server to see that, and its rest is skipped.
struct Batches {
    source: Box<dyn Read>,
    /// Begins with what the last batch left over.
    buffer: Vec<u8>,
    /// Bytes of `buffer` that are there.
    len: usize,
    /// Lines whose rest was skipped.
    cut: u64,
}

impl Batches {
    fn new(source: Box<dyn Read>) -> Self {
        Self { source, buffer: vec![0; BATCH_BYTES + LINE_BYTES_MAX], len: 0, cut: 0 }
    }

    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let room = self.buffer.get_mut(self.len..).unwrap_or_default();
        self.len += read_full(&mut *self.source, room)?;
        let there = self.buffer.get(..self.len).unwrap_or_default();
        if there.is_empty() {
            return Ok(None);
        }
        let at_end = self.len < self.buffer.len();
        if let Some(end) = end_of_batch(there, at_end) {
            let batch = there.get(..end).unwrap_or_default().to_vec();
            self.buffer.copy_within(end..self.len, 0);
            self.len -= end;
            return Ok(Some(batch));
        }
        let mut batch = there.get(..=LINE_BYTES_MAX).unwrap_or(there).to_vec();
        self.skip_line()?;
        self.cut += 1;
        batch.push(b'\n');
        Ok(Some(batch))
    }

    /// Drops what is there and what comes, up to the end of the line.
    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            self.len = read_full(&mut *self.source, &mut self.buffer)?;
            let there = self.buffer.get(..self.len).unwrap_or_default();
            if let Some(at) = memchr(b'\n', there) {
                self.buffer.copy_within(at + 1..self.len, 0);
                self.len -= at + 1;
                return Ok(());
            }
            if self.len < self.buffer.len() {
                self.len = 0;
                return Ok(());
            }
        }
    }
}

/// Where the first batch of `there` ends; `None`: in the middle of a line that is not all there.
fn end_of_batch(there: &[u8], at_end: bool) -> Option<usize> {
    let window = there.get(..BATCH_BYTES).unwrap_or(there);
    let is_one = window.len() == there.len()
        && memchr_iter(b'\n', window).nth(INGEST_BATCH_RECORDS).is_none();
    if at_end && is_one {
        return Some(there.len());
    }
    let last = memchr_iter(b'\n', window).take(INGEST_BATCH_RECORDS).last();
    let end = last.or_else(|| memchr(b'\n', there)).map(|at| at + 1);
    end.or_else(|| at_end.then_some(there.len()))
}

/// `nginx-access` of `nginx-access.log.2.gz`.
fn stem(name: &str) -> Option<String> {
    let first = name.trim_start_matches('.').split('.').next()?;
    Some(first.to_owned()).filter(|s| !s.is_empty())
}

/// Is the first line that is not empty a JSON object?
fn is_ndjson(batch: &[u8]) -> bool {
    let mut lines = batch.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
    let first = lines.find(|line| !line.is_empty()).unwrap_or_default();
    first.starts_with(b"{") && serde_json::from_slice::<serde::de::IgnoredAny>(first).is_ok()
}

impl Road {
    /// Sends one batch, again while the server says that it cannot take it now.
    fn send(&self, batch: &[u8], is_ndjson: bool, app: Option<&str>) -> Result<Answer, Failure> {
        let url = format!("{}/api/v1/ingest", self.url);
        let media = if is_ndjson { "application/x-ndjson" } else { "text/plain" };
        let mut tries = 0;
        loop {
            let mut request = self.agent.post(&url).content_type(media);
            for (name, value) in &self.parameters {
                request = request.query(name, value);
            }
            if let Some(app) = app {
                request = request.query("default_app", app);
            }
            if let Some(token) = &self.token {
                request = request.header("Authorization", format!("Bearer {token}"));
            }
            let mut answer = request
                .send(batch)
                .map_err(|e| Failure::Request(format!("no answer from {}: {e}", self.url)))?;
            let text = answer.body_mut().read_to_string().unwrap_or_default();
            let status = answer.status();
            tries += 1;
            let not_now = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
            if not_now.contains(&status) && tries < TRIES {
                std::thread::park_timeout(wait(&answer));
                continue;
            }
            if status == StatusCode::BAD_REQUEST
                && let Ok(Refused { detail }) = serde_json::from_str(&text)
            {
                return Err(Failure::Misuse(format!("the server refuses: {detail}")));
            }
            if !status.is_success() {
                return Err(Failure::Request(format!("{} answered {status}: {text}", self.url)));
            }
            return serde_json::from_str(&text).map_err(|e| {
                Failure::Request(format!("{} does not answer as shirabe does: {e}", self.url))
            });
        }
    }
}

/// How long the server asks to wait.
fn wait<B>(answer: &Response<B>) -> Duration {
    let header = answer.headers().get("retry-after").and_then(|v| v.to_str().ok());
    header.and_then(|v| v.parse().ok()).map_or(WAIT, |s: u64| Duration::from_secs(s.min(60)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A batch that the server cut in two could be kept by half, and doubled when it is sent again.
    #[test]
    fn a_batch_is_one_piece_to_the_server() {
        let lines =
            |bytes: usize, many: usize| [vec![b'x'; bytes], vec![b'\n']].concat().repeat(many);
        let fit = BATCH_BYTES / 100;
        let mut unended = lines(99, 2 * fit + 7);
        unended.pop();
        for (text, batches) in [
            (Vec::new(), 0),
            (b"one".to_vec(), 1),
            (lines(99, fit), 1),
            (lines(99, fit + 1), 2),
            (unended, 3),
            (lines(1, INGEST_BATCH_RECORDS), 1),
            (lines(1, INGEST_BATCH_RECORDS + 1), 2),
            ([lines(9, 3), lines(BATCH_BYTES + 9, 1), lines(9, 3)].concat(), 3),
            (lines(BATCH_BYTES - 1, 3), 3),
        ] {
            let mut source = Batches::new(Box::new(io::Cursor::new(text.clone())));
            let mut all = Vec::new();
            let mut many = 0;
            while let Some(batch) = source.next().unwrap() {
                let newlines = memchr_iter(b'\n', &batch).count();
                assert!(newlines <= INGEST_BATCH_RECORDS);
                assert!(batch.len() <= BATCH_BYTES || newlines == 1, "{} bytes", batch.len());
                all.extend(batch);
                many += 1;
                assert!(all.ends_with(b"\n") || all.len() == text.len());
            }
            assert_eq!(many, batches, "{} bytes", text.len());
            assert!(all == text && source.cut == 0);
        }
    }
}
