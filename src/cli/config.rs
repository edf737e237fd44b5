//! `shirabe config`, and the sources that every command's configuration is read from.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use crate::base::machine;
use crate::cli::{Failure, Outcome, Settings, note, print};
use crate::config::load::{Inputs, Loaded, Problem, Shown, load};
use crate::config::{Config, Tls};
use crate::ingest::tls;

/// Looked for in this order where no file is named.
const FILES: [&str; 2] = ["./shirabe.toml", "/etc/shirabe/shirabe.toml"];

/// Reads and checks all sources.
pub(super) fn read(settings: &Settings) -> Result<Loaded, Failure> {
    let flags = settings.flags()?;
    let inputs = Inputs {
        file: file(settings.config.as_deref())?,
        env: std::env::vars_os()
            .filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()))
            .collect(),
        flags,
        machine_memory_bytes: machine::memory_bytes(),
        hostname: machine::hostname(),
        read: &machine::read_file,
    };
    let loaded = load(&inputs)?;
    let problems = certificates(&loaded.config);
    if problems.is_empty() { Ok(loaded) } else { Err(problems.into()) }
}

impl Settings {
    fn flags(&self) -> Result<Vec<(String, String, String)>, Failure> {
        let named = [
            ("--data-dir", "data_dir", &self.data_dir),
            ("--http", "http.listen", &self.http),
            ("--syslog", "syslog.0.listen", &self.syslog),
            ("--forward", "forward.0.listen", &self.forward),
        ];
        let mut flags: Vec<_> = named
            .into_iter()
            .filter_map(|(flag, key, value)| {
                Some((flag.to_owned(), key.to_owned(), value.clone()?))
            })
            .collect();
        for pair in &self.set {
            let Some((key, value)) = pair.split_once('=') else {
                let detail = format!("found {pair:?}, expected KEY=VALUE");
                return Err(vec![problem("--set", "", detail)].into());
            };
            flags.push(("--set".to_owned(), key.trim().to_owned(), value.trim().to_owned()));
        }
        Ok(flags)
    }
}

fn problem(place: &str, key: &str, detail: impl Into<String>) -> Problem {
    Problem { place: place.to_owned(), key: key.to_owned(), detail: detail.into() }
}

/// The file that is named, or the first that is there; its name and content.
fn file(named: Option<&Path>) -> Result<Option<(PathBuf, String)>, Failure> {
    let unreadable = |place: &str, path: &Path, e: &io::Error| {
        Failure::from(vec![problem(place, "", format!("cannot read {}: {e}", path.display()))])
    };
    let text = |path: &Path| -> io::Result<String> {
        String::from_utf8(machine::read_file(path)?)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
    };
    if let Some(path) = named {
        let text = text(path).map_err(|e| unreadable("--config", path, &e))?;
        return Ok(Some((path.to_owned(), text)));
    }
    for path in FILES.map(Path::new) {
        match text(path) {
            Ok(text) => {
                let name = path.strip_prefix(".").unwrap_or(path);
                return Ok(Some((name.to_owned(), text)));
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(unreadable("", path, &e)),
        }
    }
    Ok(None)
}

/// What is wrong with the certificates that are named.
fn certificates(config: &Config) -> Vec<Problem> {
    let syslog = config.syslog.iter().map(|s| ("syslog", &s.name, &s.tls));
    let forward = config.forward.iter().map(|f| ("forward", &f.name, &f.tls));
    let check = |(section, name, files): (&str, &String, &Option<Tls>)| {
        let error = tls::acceptor(files.as_ref()?).err()?;
        Some(problem("", &format!("{section} {name:?}"), error.to_string()))
    };
    syslog.chain(forward).filter_map(check).collect()
}

fn warn(loaded: &Loaded) {
    for warning in &loaded.warnings {
        note(&format!("warning: {warning}"));
    }
}

/// `config check`.
pub(super) fn check(settings: &Settings) -> Outcome {
    let loaded = read(settings)?;
    warn(&loaded);
    print("the configuration is good\n");
    Ok(())
}

/// `config show`: TOML that would give the same configuration, each value with its origin.
pub(super) fn show(settings: &Settings) -> Outcome {
    let loaded = read(settings)?;
    warn(&loaded);
    let mut sections: Vec<(&str, usize)> = Vec::new();
    for shown in &loaded.shown {
        if !sections.contains(&(&shown.section, shown.number)) {
            sections.push((&shown.section, shown.number));
        }
    }
    let mut text = String::new();
    for (section, number) in sections {
        if !section.is_empty() {
            text.push('\n');
            text.push_str(section);
            text.push('\n');
        }
        let is_here = |s: &&Shown| s.section == section && s.number == number;
        for shown in loaded.shown.iter().filter(is_here) {
            let value = format!("{} = {}", shown.key, shown.value);
            writeln!(text, "{value:<44} # {}", shown.origin).unwrap_or_default();
        }
    }
    print(&text);
    Ok(())
}
