//! What can be set: one struct a section, with the default and unit of every key (contract 2).
//!
//! Floor 1. Nothing below this folder sees raw text; `load` turns file, environment and flags into
//! a [`Config`] or into a list of all problems at once.

pub mod load;
mod tree;

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::base::limits::DISK_FREE_FLOOR_BYTES;
use crate::base::record::Severity;
use crate::base::time::Zone;

/// The configuration in force.
#[derive(Clone, Debug)]
pub struct Config {
    /// `data_dir`: everything that is written is below it. Default `./shirabe-data`.
    pub data_dir: PathBuf,
    /// `time_zone`: for senders' times that carry none. Default `UTC`.
    pub time_zone: Zone,
    /// `memory`: budget of the whole process, bytes. Default 25 % of the machine's or cgroup's.
    pub memory_bytes: u64,
    /// `live_size`: how much the newest records may weigh in memory before they are sealed, bytes.
    /// `None`, the default: what follows from `memory`. Tests set it low to have many segments.
    pub live_bytes: Option<usize>,
    /// `[http]`.
    pub http: Http,
    /// `[[syslog]]`: as many as wanted; one on 127.0.0.1:5514 by default.
    pub syslog: Vec<Syslog>,
    /// `[[forward]]`: as many as wanted; one on 127.0.0.1:24224 by default.
    pub forward: Vec<Forward>,
    /// `[auth]`.
    pub auth: Auth,
    /// `[storage]`.
    pub storage: Storage,
    /// `[[retention]]`: how long what is kept, in the order in which rules are tried; none by
    /// default, and then nothing goes for its age.
    pub retention: Vec<Retention>,
}

/// What is bound really (contract 2): one line on standard output, one entry of `listening.json`,
/// and the address in the page's snippets.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Bound {
    /// Name of the listener from the configuration.
    pub name: String,
    /// `syslog`, `forward`, …
    pub protocol: String,
    /// `udp`, `tcp` or `tls`.
    pub transport: String,
    /// The address with the port that the system gave.
    pub address: SocketAddr,
}

/// `[http]`: the API and the page.
#[derive(Clone, Debug)]
pub struct Http {
    /// `http.listen`. Default `127.0.0.1:8514`.
    pub listen: SocketAddr,
    /// `http.hosts`: names besides loopback ones that a loopback listener answers to.
    pub hosts: Vec<String>,
}

/// A way in for lines over the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A plain stream.
    Tcp,
    /// TLS over TCP; needs `cert` and `key`, and a port of its own.
    Tls,
}

/// One `[[syslog]]`.
#[derive(Clone, Debug)]
pub struct Syslog {
    /// `name`: in `via.listener`, counters and `listening` lines. Default `syslog`.
    pub name: String,
    /// `listen`. Default `127.0.0.1:5514`.
    pub listen: SocketAddr,
    /// `transport`. Default `["udp", "tcp"]`.
    pub transport: Vec<Transport>,
    /// `encoding`: what bytes that are not UTF-8 are tried as; `None` for UTF-8 only.
    pub encoding: Option<&'static encoding_rs::Encoding>,
    /// `time_zone` of this listener; the global one by default.
    pub time_zone: Zone,
    /// `cert`, `key`, `client_ca`.
    pub tls: Option<Tls>,
}

/// One `[[forward]]`.
#[derive(Clone, Debug)]
pub struct Forward {
    /// `name`. Default `forward`.
    pub name: String,
    /// `listen`. Default `127.0.0.1:24224`; TCP, and UDP for heartbeats.
    pub listen: SocketAddr,
    /// `shared_key`: with it a handshake is asked for.
    pub shared_key: Option<String>,
    /// `self_hostname`: how we call ourselves in the handshake. Default: the machine's name.
    pub self_hostname: String,
    /// `users`: who may send; empty: nobody is asked.
    pub users: Vec<User>,
    /// `cert`, `key`, `client_ca`: TLS instead of plain TCP (no heartbeats then).
    pub tls: Option<Tls>,
}

/// A user of the forward handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// `name`.
    pub name: String,
    /// `password`.
    pub password: String,
}

/// Files of a TLS listener, PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// `cert`: our chain.
    pub cert: PathBuf,
    /// `key`: our private key.
    pub key: PathBuf,
    /// `client_ca`: with it clients must show a certificate signed by one of these.
    pub client_ca: Option<PathBuf>,
}

/// `[auth]`: who may ask and send over HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Auth {
    /// `auth.mode`: `token` (default) or `none`.
    pub mode: AuthMode,
    /// `auth.token`, or the content of `auth.token_file`; without it nothing is asked on loopback.
    pub token: Option<String>,
}

/// `auth.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthMode {
    /// A token is asked for where one is set; without one only loopback is listened on.
    #[default]
    Token,
    /// Nothing is asked, anywhere.
    None,
}

/// One `[[retention]]`: which records make a class of their own, and how long they are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// `name`: the class; a directory is called so ([`is_class_name`]). [`DEFAULT_CLASS`] is what
    /// no other rule matches.
    pub name: String,
    /// `host`: patterns, `*` for any text; empty: every host.
    pub hosts: Vec<String>,
    /// `app`: the same.
    pub apps: Vec<String>,
    /// `severity`: these; `None`: every record, those without one too.
    pub severities: Option<Vec<Severity>>,
    /// `keep`.
    pub keep: Keep,
}

/// `keep` of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// So many whole days after the day of arrival (UTC), 1 to 36,500.
    Days(u32),
    /// For ever: neither age nor a limit of size takes it.
    Forever,
}

/// `[storage]`: how much room the records may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storage {
    /// `max_size`: bytes of segments and log beyond which the oldest go. Default none.
    pub max_bytes: Option<u64>,
    /// `min_free`: bytes that stay free on the disk; below it nothing is accepted. Default 1 GiB.
    pub min_free_bytes: u64,
    /// `on_full`. Default `refuse`.
    pub on_full: OnFull,
}

impl Default for Storage {
    fn default() -> Self {
        let min_free_bytes = DISK_FREE_FLOOR_BYTES;
        Self { max_bytes: None, min_free_bytes, on_full: OnFull::default() }
    }
}

/// `storage.on_full`: what happens where less than `min_free` is free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFull {
    /// `refuse`: senders are told to try again, nothing is deleted.
    #[default]
    Refuse,
    /// `drop-oldest`: the oldest records go until there is room.
    DropOldest,
}

/// The class of records that no rule matches.
pub const DEFAULT_CLASS: &str = "default";

/// May a class be called so? It is the name of a directory, and is read back from files.
pub fn is_class_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && !text.starts_with('.')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}
