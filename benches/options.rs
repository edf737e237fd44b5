//! What a run is asked to do: read from the arguments, before anything is made or measured.

use std::path::PathBuf;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
cargo bench [-- OPTION… FILE…]

Prints the bars of the store, each with what it was measured at. Without options: a gibibyte of
each generated corpus, which takes a while; `--mib 64` is a look of a few minutes.
With FILEs: only how small each of them gets, and what encoding it costs.

  --mib N        text of each generated corpus, MiB [1024]; hostile is an eighth of it
  --seed N       of the generator [1]
  --only A,B     some of: real, fleet, forward, json, hostile, rivals
  --growth[=G]   also how queries and memory grow up to G GiB [10]
  --keep DIR     keep what is generated there, and take it from there the next time
  --data DIR     where the servers' data directories are made [target/tmp]
  --markdown     tables as Markdown

SHIRABE_CORPORA: the folder of real log files; SHIRABE_MKCORPUS: the generator [beside it].";

/// Parts of a run, in their order.
const PARTS: [&str; 6] = ["real", "fleet", "forward", "json", "hostile", "rivals"];

/// A run.
pub(crate) struct Options {
    /// Text of each generated corpus, MiB.
    pub(crate) mib: u64,
    /// Of the generator.
    pub(crate) seed: u64,
    /// GiB up to which growth is measured; `None`: not at all.
    pub(crate) growth: Option<u64>,
    /// Where generated corpora are kept.
    pub(crate) keep: Option<PathBuf>,
    /// Where data directories are made.
    pub(crate) data: PathBuf,
    /// Tables as Markdown?
    pub(crate) markdown: bool,
    /// Named files; empty: the bars.
    pub(crate) files: Vec<PathBuf>,
    only: Vec<String>,
}

impl Options {
    /// From the arguments of the process; `Err` is the sentence to end with.
    pub(crate) fn read() -> Result<Self, String> {
        let mut options = Self {
            mib: 1024,
            seed: 1,
            growth: None,
            keep: None,
            data: PathBuf::from(env!("CARGO_TARGET_TMPDIR")),
            markdown: false,
            files: Vec::new(),
            only: Vec::new(),
        };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let (name, given) = match arg.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (arg.as_str(), None),
            };
            let mut value = || given.clone().or_else(|| args.next()).unwrap_or_default();
            match name {
                // Cargo's own.
                "--bench" => {}
                "--mib" => options.mib = number(name, &value())?,
                "--seed" => options.seed = number(name, &value())?,
                "--keep" => options.keep = Some(value().into()),
                "--data" => options.data = value().into(),
                "--only" => options.only = value().split(',').map(str::to_owned).collect(),
                "--growth" => {
                    let gib = given.as_deref().map_or(Ok(10), |gib| number(name, gib))?;
                    options.growth = Some(gib);
                }
                "--markdown" => options.markdown = true,
                "--help" => return Err(HELP.to_owned()),
                _ if name.starts_with("--") => return Err(format!("{name}: no option\n\n{HELP}")),
                _ => options.files.push(arg.into()),
            }
        }
        match options.only.iter().find(|part| !PARTS.contains(&part.as_str())) {
            Some(part) => Err(format!("--only {part}: one of {}", PARTS.join(", "))),
            None => Ok(options),
        }
    }

    /// Is this part of the run?
    pub(crate) fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|p| p == part)
    }
}

fn number(name: &str, text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(n) if n > 0 => Ok(n),
        _ => Err(format!("{name} {text}: a whole number is expected")),
    }
}
