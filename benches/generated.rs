//! The generated corpora: runs the generator, keeps what it wrote, knows its exact counts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::options::Options;

/// A generated file.
pub(crate) struct Corpus {
    /// Its text, in RAM where the machine has a disk there.
    pub(crate) file: PathBuf,
    /// Bytes of it.
    pub(crate) bytes: u64,
    /// Lines of it.
    pub(crate) lines: u64,
    /// What the generator counted; null for a corpus that is not asked.
    pub(crate) known: Value,
}

/// Where generated corpora are while they are needed.
pub(crate) struct Place {
    dir: PathBuf,
    seed: u64,
    generator: PathBuf,
    _ends: Option<tempfile::TempDir>,
}

/// A generator at work.
pub(crate) struct Making {
    child: Option<Child>,
    file: PathBuf,
    counts: Option<PathBuf>,
}

impl Place {
    /// In the directory to keep, else in a temporary one, in RAM where there is such a disk.
    pub(crate) fn new(options: &Options) -> Self {
        let generator = generator();
        let (dir, ends) = if let Some(dir) = &options.keep {
            (dir.clone(), None)
        } else {
            let ram = Path::new("/dev/shm");
            let below = if ram.is_dir() { ram.to_owned() } else { std::env::temp_dir() };
            let dir = tempfile::tempdir_in(below).expect("a temporary directory");
            (dir.path().to_owned(), Some(dir))
        };
        fs::create_dir_all(&dir).expect("the directory to keep corpora in");
        Self { dir, seed: options.seed, generator, _ends: ends }
    }

    /// Starts making a corpus of so many MiB, unless it is kept from another time.
    pub(crate) fn make(&self, name: &str, mib: u64, rate: u32, count: bool) -> Making {
        let stem = format!("{name}-{}-{mib}", self.seed);
        let file = self.dir.join(format!("{stem}.log"));
        let counts = count.then(|| self.dir.join(format!("{stem}.json")));
        if file.is_file() && counts.as_ref().is_none_or(|counts| counts.is_file()) {
            return Making { child: None, file, counts };
        }
        let mut command = self.command(name, mib, rate, self.seed);
        if let Some(counts) = &counts {
            command.arg("--needles").arg(counts.with_extension("json.part"));
        }
        start(command, file, counts)
    }

    /// Starts making one part of a corpus that is longer than is kept: with a seed of its own, and
    /// so many seconds after the first.
    pub(crate) fn make_part(&self, name: &str, mib: u64, rate: u32, part: u64, at: u64) -> Making {
        let file = self.dir.join(format!("{name}-part-{part}.log"));
        let mut command = self.command(name, mib, rate, self.seed + part);
        let day = 1 + at / 86_400;
        let (hour, minute, second) = (at / 3_600 % 24, at / 60 % 60, at % 60);
        command.args(["--start", &format!("2026-03-{day:02}T{hour:02}:{minute:02}:{second:02}Z")]);
        start(command, file, None)
    }

    fn command(&self, name: &str, mib: u64, rate: u32, seed: u64) -> Command {
        let mut command = Command::new("python3");
        command.arg(&self.generator).args(["--corpus", name, "--bytes", &format!("{mib}M")]);
        command.args(["--seed", &seed.to_string(), "--rate", &rate.to_string()]);
        command
    }
}

/// Runs a generator into a file that gets its name when it is whole.
fn start(mut command: Command, file: PathBuf, counts: Option<PathBuf>) -> Making {
    let out = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(file.with_extension("log.part"))
        .expect("the corpus's file");
    let child = command.stdout(Stdio::from(out)).spawn().expect("python3");
    Making { child: Some(child), file, counts }
}

impl Making {
    /// Waits for its end.
    #[expect(clippy::disallowed_methods, reason = "nothing is lost where it is made again")]
    pub(crate) fn corpus(self) -> Corpus {
        if let Some(mut child) = self.child {
            let ended = child.wait().expect("the generator");
            assert!(ended.success(), "the generator failed: {ended}");
            for file in std::iter::once(&self.file).chain(&self.counts) {
                let part = PathBuf::from(format!("{}.part", file.display()));
                fs::rename(part, file).expect("rename");
            }
        }
        let known = self.counts.map_or(Value::Null, |file| {
            let text = fs::read(file).expect("the generator's counts");
            serde_json::from_slice(&text).expect("JSON")
        });
        let text = fs::read(&self.file).expect("the corpus");
        let lines = memchr::memchr_iter(b'\n', &text).count() as u64;
        assert!(known["lines"].as_u64().is_none_or(|known| known == lines), "lines of the corpus");
        Corpus { file: self.file, bytes: text.len() as u64, lines, known }
    }
}

impl Corpus {
    /// All of it.
    pub(crate) fn text(&self) -> Vec<u8> {
        fs::read(&self.file).expect("the corpus")
    }

    /// Removes its file.
    pub(crate) fn remove(self) {
        fs::remove_file(self.file).expect("remove the corpus");
    }

    /// MiB of it.
    pub(crate) fn mib(&self) -> f64 {
        crate::table::float(self.bytes) / f64::from(1 << 20)
    }

    /// Lines that a query finds, as the generator counted them: `key` such as
    /// `substr:onnecti`, looking at whole lines.
    pub(crate) fn count(&self, key: &str) -> u64 {
        let counts = &self.known["counts"]["line"][key];
        counts.as_u64().unwrap_or_else(|| panic!("the generator has no count of {key}"))
    }
}

/// The folder of real log files and their like.
pub(crate) fn corpora() -> PathBuf {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/corpora");
    let dir = std::env::var_os("SHIRABE_CORPORA").map_or(beside, PathBuf::from);
    assert!(dir.is_dir(), "no corpora at {}: set SHIRABE_CORPORA", dir.display());
    dir
}

/// Named in the environment, else in `tools` two folders above the corpora.
fn generator() -> PathBuf {
    let file = std::env::var_os("SHIRABE_MKCORPUS")
        .map_or_else(|| corpora().join("../../tools/mkcorpus.py"), PathBuf::from);
    assert!(file.is_file(), "no generator at {}: set SHIRABE_MKCORPUS", file.display());
    file
}
