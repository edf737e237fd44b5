//! Where a client's server is, and how it is let in.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;

use crate::base::machine;
use crate::cli::{Failure, Settings, config};

/// Where the server is.
#[derive(Args)]
#[command(next_help_heading = "Server (SHIRABE_TOKEN: its access token)")]
#[expect(clippy::doc_markdown, reason = "printed as help, where backticks would stand")]
pub(super) struct Server {
    /// Its address [default: SHIRABE_URL, else the one running on the data directory]
    #[arg(long)]
    url: Option<String>,
    /// Data directory of a server on this machine [default: as the server's]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Configuration file of a server on this machine [default: as the server's]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What is read of `listening.json`.
#[derive(Deserialize)]
struct Listening {
    http: String,
}

impl Server {
    /// Address without a slash at its end, and the token where one is known.
    pub(super) fn find(&self) -> Result<(String, Option<String>), Failure> {
        let token = variable("SHIRABE_TOKEN");
        if let Some(url) = self.url.clone().or_else(|| variable("SHIRABE_URL")) {
            return Ok((url.trim_end_matches('/').to_owned(), token));
        }
        let settings = Settings {
            config: self.config.clone(),
            data_dir: self.data_dir.clone(),
            ..Settings::default()
        };
        let config = config::read(&settings)?.config;
        let url =
            listening(&config.data_dir).unwrap_or_else(|| format!("http://{}", config.http.listen));
        Ok((url, token.or(config.auth.token)))
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// The address of the server that runs on a data directory.
fn listening(data_dir: &Path) -> Option<String> {
    let text = machine::read_file(&data_dir.join("listening.json")).ok()?;
    serde_json::from_slice::<Listening>(&text).ok().map(|l| l.http)
}
