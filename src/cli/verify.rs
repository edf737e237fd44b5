//! `shirabe verify`: reads a data directory and says what is damaged and what it costs.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::base::machine::SystemDisk;
use crate::cli::{Failure, Outcome, Settings, config, print};
use crate::store::verify::dump::dump;
use crate::store::verify::{Event, Summary, verify};

/// Reads everything below the data directory: is it what was written?
///
/// Changes nothing and takes no lock: works on a copy, and beside a running server. One line for each
/// damage, with what it costs; exit status 0 where everything is whole, 1 where something is damaged.
#[derive(Args)]
pub(super) struct Verify {
    /// Data directory [default: as the server's]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Configuration file that names the data directory [default: as the server's]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print what is stored instead: of one segment (its number, or a file), or of all
    #[arg(long, value_name = "SEGMENT", num_args = 0..=1, default_missing_value = "")]
    dump: Option<String>,
}

/// Runs the command.
pub(super) fn run(verify: &Verify) -> Outcome {
    let settings = Settings {
        config: verify.config.clone(),
        data_dir: verify.data_dir.clone(),
        ..Settings::default()
    };
    let data = config::read(&settings)?.config.data_dir;
    match &verify.dump {
        None => check(&data),
        Some(which) => {
            let which = Some(which.as_str()).filter(|which| !which.is_empty());
            Ok(dump(&SystemDisk, &data, which, &mut |text| print(text))?)
        }
    }
}

fn check(data: &std::path::Path) -> Outcome {
    let bar = progress();
    let tell = |line: String| bar.suspend(|| print(&(line + "\n")));
    let summary = verify(&SystemDisk, data, &mut |event| match event {
        Event::Damage(damage) => tell(format!("damaged: {damage}")),
        Event::Note(note) => tell(format!("note: {note}")),
        Event::Progress(done, all) => {
            bar.set_length(all);
            bar.set_position(done);
        }
    });
    bar.finish_and_clear();
    let summary = summary?;
    print(&(told(&summary) + "\n"));
    if summary.damages == 0 { Ok(()) } else { Err(Failure::Told) }
}

fn told(summary: &Summary) -> String {
    let Summary { segments, logs, bytes, records, damages, lost } = summary;
    let read =
        format!("{segments} segments and {logs} log files, {bytes} bytes, {records} records");
    if *damages == 0 {
        format!("whole: {read}")
    } else {
        let things =
            if *damages == 1 { "1 damage".to_owned() } else { format!("{damages} damages") };
        format!("{things}, {lost} records lost: {read} read")
    }
}

/// On a terminal only.
fn progress() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    let template = "{bar:30} {bytes} of {total_bytes}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
