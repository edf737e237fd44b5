//! Commands: arguments, assembly, printing, exit codes (contract 1).
//!
//! Floor 6. *Invariant:* no logic worth a unit test.
//!
//! | file | command |
//! |---|---|
//! | `serve` | `shirabe`, `shirabe serve`: everything assembled, run and stopped |
//! | `demo` | `shirabe demo` |
//! | `import` | `shirabe import` |
//! | `config` | `shirabe config check`, `shirabe config show`; reads the sources of a configuration |
//! | `server` | where a client's server is |
//! | `verify` | `shirabe verify` |
//! | `log` | the program's own log, to standard error and to its own store |

mod config;
mod demo;
mod import;
mod log;
mod serve;
mod server;
mod verify;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::base::error::Error;
use crate::config::load::Problem;

/// Takes the logs of every server, keeps them small, finds any line in a browser.
#[derive(Parser)]
#[command(
    name = "shirabe",
    version = VERSION.as_str(),
    max_term_width = 100,
    args_conflicts_with_subcommands = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the server in the foreground until SIGINT or SIGTERM (the default)
    Serve(Settings),
    /// Runs a server of its own with a lively stream of a small web shop
    Demo(Settings),
    /// Loads log files into a running server: plain, gz, zst, bz2, xz, NDJSON
    Import(import::Import),
    /// Reads a data directory and says what is damaged and what it costs
    Verify(verify::Verify),
    /// Checks the configuration, or shows what is in force and why
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Checks the configuration without starting anything
    Check(Settings),
    /// Prints every value in force and where it comes from
    Show(Settings),
}

/// What can be set without a file; beats the environment (SHIRABE_HTTP__LISTEN=…) and the file.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Settings")]
#[expect(clippy::doc_markdown, reason = "printed as help, where backticks would stand")]
struct Settings {
    /// Configuration file [default: ./shirabe.toml, else /etc/shirabe/shirabe.toml, if there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where everything is kept [default: ./shirabe-data, of demo: ./shirabe-demo]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Page and API [default: 127.0.0.1:8514]
    #[arg(long, value_name = "ADDRESS")]
    http: Option<String>,
    /// First syslog listener, UDP and TCP [default: 127.0.0.1:5514]
    #[arg(long, value_name = "ADDRESS")]
    syslog: Option<String>,
    /// First fluent-forward listener [default: 127.0.0.1:24224]
    #[arg(long, value_name = "ADDRESS")]
    forward: Option<String>,
    /// Any other key, e.g. --set auth.mode=none
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Own log on standard error: text, or json (SHIRABE_LOG=debug says more)
    #[arg(long, value_name = "FORMAT", default_value = "text", hide_possible_values = true)]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Version, commit where the build knows it, and what was compiled in.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let commit = option_env!("BUILT_COMMIT").unwrap_or("unknown");
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    let version = env!("CARGO_PKG_VERSION");
    format!("{version} (commit {commit}, {build} build, tls, gzip, deflate, zstd, bzip2, xz)")
});

/// Why a command ends without success.
enum Failure {
    /// Something that the server, the machine or the data said.
    Error(Error),
    /// The configuration, or the way the command was called.
    Problems(Vec<Problem>),
    /// A request to a server did not succeed: a sentence.
    Request(String),
    /// The server does not know what an option asks for: a sentence.
    Misuse(String),
    /// What it was stands on standard output.
    Told,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<Vec<Problem>> for Failure {
    fn from(problems: Vec<Problem>) -> Self {
        Self::Problems(problems)
    }
}

type Outcome = Result<(), Failure>;

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // Help and version are answers; to whom they cannot be told does not matter.
            drop(e.print());
            return if e.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    let outcome = match cli.command {
        None => serve::run(&cli.settings, false),
        Some(Command::Serve(settings)) => serve::run(&settings, false),
        Some(Command::Demo(settings)) => serve::run(&settings, true),
        Some(Command::Import(import)) => import::run(&import),
        Some(Command::Verify(verify)) => verify::run(&verify),
        Some(Command::Config(ConfigCommand::Check(settings))) => config::check(&settings),
        Some(Command::Config(ConfigCommand::Show(settings))) => config::show(&settings),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => tell(&failure),
    }
}

/// Tells a failure on standard error, one line a problem, and turns it into an exit status.
fn tell(failure: &Failure) -> ExitCode {
    let (lines, code) = match failure {
        Failure::Problems(problems) => {
            (problems.iter().map(ToString::to_string).collect(), ExitCode::from(2))
        }
        Failure::Request(text) => (vec![text.clone()], ExitCode::from(1)),
        Failure::Misuse(text) => (vec![text.clone()], ExitCode::from(2)),
        Failure::Told => (Vec::new(), ExitCode::FAILURE),
        Failure::Error(error) => (vec![error.to_string()], exit_code(error)),
    };
    for line in lines {
        note(&format!("shirabe: {line}"));
    }
    code
}

/// Contract 1: 1 a failed run, 2 wrong use or configuration, 3 the data directory is in use.
fn exit_code(error: &Error) -> ExitCode {
    match error {
        Error::InUse { .. } => ExitCode::from(3),
        Error::Query(_) => ExitCode::from(2),
        Error::Io { .. }
        | Error::Corrupt { .. }
        | Error::Version { .. }
        | Error::Limit { .. }
        | Error::Busy(_)
        | Error::Poisoned
        | Error::Closed
        | Error::NotFound { .. } => ExitCode::FAILURE,
    }
}

/// Prints on standard output. A reader that has gone (`| head`) is no error: there is nothing left
/// to do then, so the rest is not printed.
fn print(text: &str) {
    let mut out = io::stdout().lock();
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// A line on standard error. Where that is closed there is nobody left to tell.
fn note(line: &str) {
    drop(writeln!(io::stderr().lock(), "{line}"));
}
