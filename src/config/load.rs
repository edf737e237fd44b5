//! File < environment < flags, to a checked [`Config`] or all problems at once.
//!
//! Two stages: `tree` holds what was *written*, each value with the place it was written at; this
//! file reads what is *meant*, key by key, and goes on after a problem so that all are told.
//! Pure: files, environment and figures of the machine come in through [`Inputs`].

mod retention;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::base::time::Zone;
use crate::config::tree::{Node, Raw, Tree};
use crate::config::{Auth, AuthMode, Config, Forward, Http, Syslog, Tls, Transport, User};

/// Names in the environment that belong to the clients and the tests, not to the server.
const OTHERS: [&str; 4] = ["SHIRABE_URL", "SHIRABE_TOKEN", "SHIRABE_LOG", "SHIRABE_CORPORA"];

/// What the environment may set; a whole list is one value.
const KEYS: [&str; 18] = [
    "data_dir",
    "time_zone",
    "memory",
    "live_size",
    "http.listen",
    "http.hosts",
    "syslog",
    "forward",
    "auth.mode",
    "auth.token",
    "auth.token_file",
    "retention",
    "storage.max_size",
    "storage.min_free",
    "storage.on_full",
    "http",
    "auth",
    "storage",
];

/// Where values come from.
pub struct Inputs<'a> {
    /// The file's name and content, where there is one.
    pub file: Option<(PathBuf, String)>,
    /// All of the environment; names that do not begin with `SHIRABE_` are not looked at.
    pub env: Vec<(String, String)>,
    /// Flags: how they are called, the key they set, the value as text.
    pub flags: Vec<(String, String, String)>,
    /// Memory of the machine or the cgroup, bytes; what `%` is of.
    pub machine_memory_bytes: u64,
    /// How the machine calls itself.
    pub hostname: String,
    /// Reads `token_file`.
    pub read: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
}

/// A configuration, and where each of its values comes from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What is in force.
    pub config: Config,
    /// Every value in force, in the order of the file.
    pub shown: Vec<Shown>,
    /// What is odd but no reason to stop.
    pub warnings: Vec<String>,
}

/// One value in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Where it stands: empty, `[http]`, `[[syslog]]`.
    pub section: String,
    /// Which of several sections of that name.
    pub number: usize,
    /// Its key there.
    pub key: String,
    /// As TOML; secrets are masked.
    pub value: String,
    /// `default`, a flag, a name of the environment, or file and line.
    pub origin: String,
}

/// One thing that is wrong: where, with what, and what would be right. Prints as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// A flag, a name of the environment, or file and line; empty for what no place says.
    pub place: String,
    /// The key, with its section.
    pub key: String,
    /// What is wrong and what is expected.
    pub detail: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.place, &self.key] {
            if !part.is_empty() {
                write!(f, "{part}: ")?;
            }
        }
        f.write_str(&self.detail)
    }
}

/// Reads all sources in their order of force.
///
/// # Errors
/// All problems of all sources; never only the first.
pub fn load(inputs: &Inputs<'_>) -> Result<Loaded, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    let mut tree = match &inputs.file {
        Some((path, text)) => Tree::parse(path, text, &mut problems),
        None => Tree::default(),
    };
    for (name, text) in &inputs.env {
        let Some(key) = name.strip_prefix("SHIRABE_") else { continue };
        if OTHERS.contains(&name.as_str()) {
            continue;
        }
        let key = key.to_ascii_lowercase().replace("__", ".");
        if KEYS.contains(&key.as_str()) {
            tree.set(&key, Node::from_text(name, text));
        } else {
            let hint = did_you_mean(&key, KEYS).map(env_name);
            let hint = hint.map_or(String::new(), |h| format!(" (did you mean {h}?)"));
            warnings.push(format!("{name} in the environment sets nothing here{hint}"));
        }
    }
    for (flag, key, text) in &inputs.flags {
        if KEYS.contains(&key.as_str()) || key.ends_with(".0.listen") {
            tree.set(key, Node::from_text(flag, text));
        } else {
            problems.push(Problem {
                place: flag.clone(),
                key: key.clone(),
                detail: unknown_key(key, KEYS),
            });
        }
    }
    let mut reading = Reading { inputs, problems, shown: Vec::new() };
    let config = reading.config(&tree.root());
    let Reading { problems, shown, .. } = reading;
    if problems.is_empty() { Ok(Loaded { config, shown, warnings }) } else { Err(problems) }
}

fn env_name(key: &str) -> String {
    format!("SHIRABE_{}", key.to_ascii_uppercase().replace('.', "__"))
}

fn unknown_key<'k>(key: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    match did_you_mean(key, known) {
        Some(near) => format!("there is no such key; did you mean `{near}`?"),
        None => "there is no such key".to_owned(),
    }
}

fn did_you_mean<'k>(key: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    known
        .into_iter()
        .map(|k| (strsim::jaro_winkler(k, key), k))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| k)
}

/// What is in force, told, and wrong so far.
struct Reading<'a> {
    inputs: &'a Inputs<'a>,
    problems: Vec<Problem>,
    shown: Vec<Shown>,
}

/// One table while it is read: its keys are asked for one by one, what is left over is unknown.
struct Section<'t> {
    node: &'t Node,
    title: String,
    number: usize,
    prefix: String,
    asked: BTreeSet<&'static str>,
}

/// Turns a value as written into what is meant, or says what was expected.
type Read<T> = fn(&Node) -> Result<T, &'static str>;

impl Reading<'_> {
    fn config(&mut self, root: &Node) -> Config {
        let mut top = self.section(root, "", 0, "");
        let data_dir = self.required(&mut top, "data_dir", "\"./shirabe-data\"", path);
        let zone = self.required(&mut top, "time_zone", "\"UTC\"", zone);
        let zone = zone.unwrap_or_else(Zone::utc);
        let memory = self.required(&mut top, "memory", "\"25%\"", size);
        let live_bytes = self.optional(&mut top, "live_size", live_size);
        for key in ["http", "syslog", "forward", "auth", "storage", "retention"] {
            top.asked.insert(key);
        }
        let http = self.http(top.node.get("http"));
        let syslog = self.listeners(top.node, "syslog", |s, n, i| s.syslog(n, i, &zone));
        let forward = self.listeners(top.node, "forward", Self::forward);
        let auth = self.auth(top.node.get("auth"));
        let storage = self.storage(top.node.get("storage"), live_bytes);
        let retention = self.retention(top.node.get("retention"));
        self.finish(&top);
        let memory_bytes = match memory {
            Some(Size::Bytes(n)) => n,
            Some(Size::Percent(p)) => {
                let all = u128::from(self.inputs.machine_memory_bytes);
                u64::try_from(all * u128::from(p) / 100).unwrap_or(u64::MAX)
            }
            None => 0,
        };
        let config = Config {
            data_dir: data_dir.unwrap_or_default(),
            time_zone: zone,
            memory_bytes,
            live_bytes,
            http,
            syslog,
            forward,
            auth,
            storage,
            retention,
        };
        self.check_names(&config);
        self.check_addresses(&config);
        self.check_open(&config, root);
        config
    }

    fn http(&mut self, node: Option<&Node>) -> Http {
        let empty = Node::empty();
        let mut section = self.section(node.unwrap_or(&empty), "[http]", 0, "http.");
        let listen = self.required(&mut section, "listen", "\"127.0.0.1:8514\"", address);
        let hosts = self.required(&mut section, "hosts", "[]", texts);
        self.finish(&section);
        Http { listen: listen.unwrap_or(NOWHERE), hosts: hosts.unwrap_or_default() }
    }

    fn listeners<T>(
        &mut self,
        root: &Node,
        key: &str,
        mut read: impl FnMut(&mut Self, &Node, usize) -> T,
    ) -> Vec<T> {
        let empty = Node::empty();
        let entries: Vec<&Node> = match root.get(key).map(|n| (n, &n.raw)) {
            None => vec![&empty],
            Some((_, Raw::List(entries))) => entries.iter().collect(),
            Some((node, _)) => {
                self.wrong(node, key, "a list of tables such as [{listen = \"0.0.0.0:5514\"}]");
                return Vec::new();
            }
        };
        entries.into_iter().enumerate().map(|(i, node)| read(self, node, i)).collect()
    }

    fn syslog(&mut self, node: &Node, number: usize, zone: &Zone) -> Syslog {
        let prefix = format!("syslog[{number}].");
        let mut section = self.section(node, "[[syslog]]", number, &prefix);
        let name = self.required(&mut section, "name", &default_name("syslog", number), name);
        let listen = self.required(&mut section, "listen", "\"127.0.0.1:5514\"", address);
        let transport = self.required(&mut section, "transport", "[\"udp\", \"tcp\"]", transports);
        let encoding = self.required(&mut section, "encoding", "\"utf-8\"", encoding).flatten();
        let own_zone = self.optional(&mut section, "time_zone", self::zone);
        let tls = self.tls(&mut section);
        self.finish(&section);
        let transport = transport.unwrap_or_default();
        let wants_tls = transport.contains(&Transport::Tls);
        if wants_tls && transport.len() > 1 {
            self.problem(
                node,
                &format!("{prefix}transport"),
                "\"tls\" needs an entry and a port of its own",
            );
        }
        if wants_tls && tls.is_none() {
            self.problem(node, &format!("{prefix}transport"), "\"tls\" needs `cert` and `key`");
        }
        if !wants_tls && tls.is_some() {
            let detail =
                "`cert` and `key` are used by transport = [\"tls\"] only, which is not set";
            self.problem(node, &format!("{prefix}cert"), detail);
        }
        Syslog {
            name: name.unwrap_or_default(),
            listen: listen.unwrap_or(NOWHERE),
            transport,
            encoding,
            time_zone: own_zone.unwrap_or_else(|| zone.clone()),
            tls,
        }
    }

    fn forward(&mut self, node: &Node, number: usize) -> Forward {
        let prefix = format!("forward[{number}].");
        let mut section = self.section(node, "[[forward]]", number, &prefix);
        let name = self.required(&mut section, "name", &default_name("forward", number), name);
        let listen = self.required(&mut section, "listen", "\"127.0.0.1:24224\"", address);
        let shared_key = self.optional(&mut section, "shared_key", text);
        let hostname = Raw::Str(self.inputs.hostname.clone()).to_string();
        let self_hostname = self.required(&mut section, "self_hostname", &hostname, text);
        section.asked.insert("users");
        let users = self.users(node.get("users"), &prefix);
        let tls = self.tls(&mut section);
        self.finish(&section);
        if !users.is_empty() && shared_key.is_none() {
            let detail = "users are asked for in the handshake only: set `shared_key` too \
                          (it may be empty)";
            self.problem(node, &format!("{prefix}users"), detail);
        }
        Forward {
            name: name.unwrap_or_default(),
            listen: listen.unwrap_or(NOWHERE),
            shared_key,
            self_hostname: self_hostname.unwrap_or_default(),
            users,
            tls,
        }
    }

    fn users(&mut self, node: Option<&Node>, prefix: &str) -> Vec<User> {
        let Some(node) = node else { return Vec::new() };
        let Raw::List(entries) = &node.raw else {
            let expected = "a list such as [{name = \"web\", password = \"…\"}]";
            self.wrong(node, &format!("{prefix}users"), expected);
            return Vec::new();
        };
        let mut users = Vec::new();
        for (number, entry) in entries.iter().enumerate() {
            let prefix = format!("{prefix}users[{number}].");
            let mut section = self.section(entry, "[[forward.users]]", number, &prefix);
            let name = self.optional(&mut section, "name", text);
            let password = self.optional(&mut section, "password", text);
            self.finish(&section);
            match (name, password) {
                (Some(name), Some(password)) => users.push(User { name, password }),
                _ => {
                    self.problem(
                        entry,
                        prefix.trim_end_matches('.'),
                        "needs `name` and `password`",
                    );
                }
            }
        }
        users
    }

    fn tls(&mut self, section: &mut Section<'_>) -> Option<Tls> {
        let cert = self.optional(section, "cert", path);
        let key = self.optional(section, "key", path);
        let client_ca = self.optional(section, "client_ca", path);
        let at = |key: &str| format!("{}{key}", section.prefix);
        match (cert, key) {
            (Some(cert), Some(key)) => Some(Tls { cert, key, client_ca }),
            (Some(_), None) => {
                self.problem(section.node, &at("key"), "missing: `cert` and `key` go together");
                None
            }
            (None, Some(_)) => {
                self.problem(section.node, &at("cert"), "missing: `cert` and `key` go together");
                None
            }
            (None, None) => {
                if client_ca.is_some() {
                    let detail = "asks for clients' certificates, which needs `cert` and `key`";
                    self.problem(section.node, &at("client_ca"), detail);
                }
                None
            }
        }
    }

    fn auth(&mut self, node: Option<&Node>) -> Auth {
        let empty = Node::empty();
        let node = node.unwrap_or(&empty);
        let mut section = self.section(node, "[auth]", 0, "auth.");
        let mode = self.required(&mut section, "mode", "\"token\"", auth_mode).unwrap_or_default();
        let token = self.optional(&mut section, "token", text);
        let file = self.optional(&mut section, "token_file", path);
        self.finish(&section);
        if token.is_some() && file.is_some() {
            self.problem(node, "auth.token_file", "`auth.token` is set too: keep one of them");
        }
        let mut token = token;
        if let Some(file) = file {
            let place = node.get("token_file").unwrap_or(node);
            match (self.inputs.read)(&file).map(String::from_utf8) {
                Ok(Ok(text)) => token = Some(text.trim_end_matches(['\r', '\n']).to_owned()),
                Ok(Err(_)) => {
                    let detail = format!("{} is not text", file.display());
                    self.problem(place, "auth.token_file", &detail);
                }
                Err(e) => {
                    let detail = format!("cannot read {}: {e}", file.display());
                    self.problem(place, "auth.token_file", &detail);
                }
            }
        }
        if token.as_ref().is_some_and(|t| t.is_empty() || !t.bytes().all(|b| b.is_ascii_graphic()))
        {
            let detail = "a token is one or more visible ASCII characters without spaces, so that \
                          it can stand in an HTTP header";
            self.problem(node, "auth.token", detail);
        }
        Auth { mode, token }
    }

    /// Names are labels of counters and what `via.listener` says, so each stands once.
    fn check_names(&mut self, config: &Config) {
        let mut seen = BTreeSet::from(["http".to_owned(), "internal".to_owned()]);
        let named = config.syslog.iter().map(|s| ("syslog", &s.name));
        for (key, name) in named.chain(config.forward.iter().map(|f| ("forward", &f.name))) {
            if !name.is_empty() && !seen.insert(name.clone()) {
                self.problems.push(Problem {
                    place: String::new(),
                    key: format!("{key}.name"),
                    detail: format!("{name:?} is taken: every listener needs a name of its own"),
                });
            }
        }
    }

    fn check_addresses(&mut self, config: &Config) {
        let mut taken: Vec<(String, SocketAddr, bool)> = Vec::new();
        let mut sockets = vec![("http.listen".to_owned(), config.http.listen, false)];
        for (i, s) in config.syslog.iter().enumerate() {
            for transport in &s.transport {
                sockets.push((
                    format!("syslog[{i}].listen"),
                    s.listen,
                    *transport == Transport::Udp,
                ));
            }
        }
        for (i, f) in config.forward.iter().enumerate() {
            sockets.push((format!("forward[{i}].listen"), f.listen, false));
            if f.tls.is_none() {
                sockets.push((format!("forward[{i}].listen"), f.listen, true));
            }
        }
        for (key, address, udp) in sockets {
            let same = |(_, other, other_udp): &&(String, SocketAddr, bool)| {
                *other_udp == udp && address.port() != 0 && collide(*other, address)
            };
            if let Some((other, ..)) = taken.iter().find(same) {
                let detail = format!("{address} is taken by {other} already");
                self.problems.push(Problem { place: String::new(), key: key.clone(), detail });
            }
            taken.push((key, address, udp));
        }
    }

    /// Contract 2: nothing can be read from another machine by oversight.
    fn check_open(&mut self, config: &Config, root: &Node) {
        let open = !config.http.listen.ip().to_canonical().is_loopback();
        if open && config.auth.mode == AuthMode::Token && config.auth.token.is_none() {
            let node = root.get("http").and_then(|h| h.get("listen"));
            let detail = format!(
                "{} can be reached from other machines and no token is set: set `auth.token` (or \
                 `auth.token_file`), or say `auth.mode = \"none\"` to let everybody read and write",
                config.http.listen
            );
            self.problem(node.unwrap_or(root), "http.listen", &detail);
        }
    }

    fn section<'t>(
        &mut self,
        node: &'t Node,
        title: &str,
        number: usize,
        prefix: &str,
    ) -> Section<'t> {
        if !matches!(node.raw, Raw::Table(_)) {
            let key = prefix.trim_end_matches('.');
            self.wrong(node, key, "a table of keys and values");
        }
        Section {
            node,
            title: title.to_owned(),
            number,
            prefix: prefix.to_owned(),
            asked: BTreeSet::new(),
        }
    }

    /// A value that always is: `default` (TOML) where nobody says otherwise.
    fn required<T>(
        &mut self,
        section: &mut Section<'_>,
        key: &'static str,
        default: &str,
        read: Read<T>,
    ) -> Option<T> {
        if section.node.get(key).is_some() {
            return self.optional(section, key, read);
        }
        section.asked.insert(key);
        let node = Node::from_text("default", default);
        self.read(section, key, &node, read)
    }

    fn optional<T>(
        &mut self,
        section: &mut Section<'_>,
        key: &'static str,
        read: Read<T>,
    ) -> Option<T> {
        section.asked.insert(key);
        let node = section.node.get(key)?;
        self.read(section, key, node, read)
    }

    fn read<T>(
        &mut self,
        section: &Section<'_>,
        key: &'static str,
        node: &Node,
        read: Read<T>,
    ) -> Option<T> {
        match read(node) {
            Ok(value) => {
                let secret = matches!(key, "token" | "shared_key" | "password");
                let value_text =
                    if secret { "\"********\"".to_owned() } else { node.raw.to_string() };
                self.shown.push(Shown {
                    section: section.title.clone(),
                    number: section.number,
                    key: key.to_owned(),
                    value: value_text,
                    origin: node.place.clone(),
                });
                Some(value)
            }
            Err(expected) => {
                self.wrong(node, &format!("{}{key}", section.prefix), expected);
                None
            }
        }
    }

    /// Everything that was written in the section and not asked for is unknown.
    fn finish(&mut self, section: &Section<'_>) {
        let Raw::Table(entries) = &section.node.raw else { return };
        for (key, node) in entries {
            if !section.asked.contains(key.as_str()) {
                let detail = unknown_key(key, section.asked.iter().copied());
                self.problem(node, &format!("{}{key}", section.prefix), &detail);
            }
        }
    }

    fn wrong(&mut self, node: &Node, key: &str, expected: &str) {
        let found = match &node.text {
            Some(text) => format!("{text:?}"),
            None => node.raw.to_string(),
        };
        self.problem(node, key, &format!("found {found}, expected {expected}"));
    }

    fn problem(&mut self, node: &Node, key: &str, detail: &str) {
        let place = if node.place == "default" { String::new() } else { node.place.clone() };
        self.problems.push(Problem { place, key: key.to_owned(), detail: detail.to_owned() });
    }
}

/// Stands where an address could not be read: a problem was told then, so nobody uses it, and it
/// is one that no further problem can be told of.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let (x, y) = (a.ip(), b.ip());
    a.port() == b.port()
        && x.is_ipv4() == y.is_ipv4()
        && (x == y || x.is_unspecified() || y.is_unspecified())
}

fn default_name(key: &str, number: usize) -> String {
    if number == 0 { format!("\"{key}\"") } else { format!("\"{key}-{}\"", number + 1) }
}

enum Size {
    Bytes(u64),
    Percent(u64),
}

fn text(node: &Node) -> Result<String, &'static str> {
    node.as_text().map(str::to_owned).ok_or("a text in quotes")
}

fn name(node: &Node) -> Result<String, &'static str> {
    let good = |t: &&str| {
        !t.is_empty()
            && t.len() <= 64
            && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    let expected = "a name of letters, digits, `-`, `_` and `.`, at most 64";
    node.as_text().filter(good).map(str::to_owned).ok_or(expected)
}

fn path(node: &Node) -> Result<PathBuf, &'static str> {
    node.as_text().filter(|t| !t.is_empty()).map(PathBuf::from).ok_or("a path")
}

fn texts(node: &Node) -> Result<Vec<String>, &'static str> {
    let expected = "a list of texts such as [\"logs.example.org\"]";
    match &node.raw {
        Raw::List(items) => {
            items.iter().map(|i| i.as_text().map(str::to_owned).ok_or(expected)).collect()
        }
        _ => Err(expected),
    }
}

fn address(node: &Node) -> Result<SocketAddr, &'static str> {
    let expected = "an address and port such as \"127.0.0.1:5514\", \"[::1]:5514\" or \
                    \"0.0.0.0:0\" (port 0: any free one)";
    let text = node.as_text().ok_or(expected)?;
    let text =
        text.strip_prefix("localhost:").map_or(text.to_owned(), |p| format!("127.0.0.1:{p}"));
    text.parse().map_err(|_| expected)
}

fn zone(node: &Node) -> Result<Zone, &'static str> {
    let expected = "an IANA time zone such as \"UTC\" or \"Asia/Tokyo\"";
    node.as_text().and_then(Zone::named).ok_or(expected)
}

fn auth_mode(node: &Node) -> Result<AuthMode, &'static str> {
    match node.as_text() {
        Some("token") => Ok(AuthMode::Token),
        Some("none") => Ok(AuthMode::None),
        _ => Err("\"token\" or \"none\""),
    }
}

fn transports(node: &Node) -> Result<Vec<Transport>, &'static str> {
    let expected = "a list of \"udp\" and \"tcp\", or [\"tls\"]";
    let Raw::List(items) = &node.raw else { return Err(expected) };
    let mut found = BTreeSet::new();
    for item in items {
        found.insert(match item.as_text() {
            Some("udp") => Transport::Udp,
            Some("tcp") => Transport::Tcp,
            Some("tls") => Transport::Tls,
            _ => return Err(expected),
        });
    }
    if found.is_empty() { Err(expected) } else { Ok(found.into_iter().collect()) }
}

/// `None` for UTF-8, which needs no second try.
fn encoding(node: &Node) -> Result<Option<&'static encoding_rs::Encoding>, &'static str> {
    let expected = "an encoding such as \"utf-8\", \"shift_jis\", \"euc-jp\", \"iso-2022-jp\", \
                    \"latin1\", \"windows-1252\", \"gb18030\", \"euc-kr\"";
    let found = node
        .as_text()
        .and_then(|t| encoding_rs::Encoding::for_label_no_replacement(t.as_bytes()))
        .ok_or(expected)?;
    Ok(Some(found).filter(|e| *e != encoding_rs::UTF_8))
}

fn size(node: &Node) -> Result<Size, &'static str> {
    let expected = "a size such as \"512MiB\", \"1GB\" or \"25%\", at least 64MiB";
    let read = match (&node.raw, node.as_text()) {
        (Raw::Int(n), _) => u64::try_from(*n).ok().map(Size::Bytes),
        (_, Some(text)) => read_size(text),
        _ => None,
    };
    match read {
        Some(Size::Bytes(n)) if n >= 64 << 20 => Ok(Size::Bytes(n)),
        Some(Size::Percent(p)) if (1..=100).contains(&p) => Ok(Size::Percent(p)),
        _ => Err(expected),
    }
}

fn live_size(node: &Node) -> Result<usize, &'static str> {
    let read = match (&node.raw, node.as_text()) {
        (Raw::Int(n), _) => u64::try_from(*n).ok().map(Size::Bytes),
        (_, Some(text)) => read_size(text),
        _ => None,
    };
    match read {
        Some(Size::Bytes(n @ 1_024..)) => usize::try_from(n).ok(),
        _ => None,
    }
    .ok_or("a size such as \"32MiB\", at least 1KiB")
}

fn read_size(text: &str) -> Option<Size> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "%" => return Some(Size::Percent(number)),
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(factor).map(Size::Bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn load_all(
        file: &str,
        env: &[(&str, &str)],
        flags: &[(&str, &str, &str)],
    ) -> Result<Loaded, Vec<String>> {
        let own = |t: &&str| (*t).to_owned();
        let inputs = Inputs {
            file: Some((PathBuf::from("f.toml"), file.to_owned())),
            env: env.iter().map(|(k, v)| (own(k), own(v))).collect(),
            flags: flags.iter().map(|(f, k, v)| (own(f), own(k), own(v))).collect(),
            machine_memory_bytes: 16 << 30,
            hostname: "here".to_owned(),
            read: &|path| match path.to_str() {
                Some("token.txt") => Ok(b"from-file\n".to_vec()),
                _ => Err(io::Error::from(io::ErrorKind::NotFound)),
            },
        };
        load(&inputs).map_err(|p| p.iter().map(Problem::to_string).collect())
    }

    #[test]
    fn needs_nothing() {
        let loaded = load_all("", &[], &[]).unwrap();
        let config = loaded.config;
        assert_eq!(config.data_dir, PathBuf::from("./shirabe-data"));
        assert_eq!(config.memory_bytes, 4 << 30);
        assert_eq!(config.http.listen.to_string(), "127.0.0.1:8514");
        assert_eq!(config.syslog.len(), 1);
        assert_eq!(config.syslog[0].listen.to_string(), "127.0.0.1:5514");
        assert_eq!(config.syslog[0].transport, [Transport::Udp, Transport::Tcp]);
        assert_eq!(config.syslog[0].encoding, None);
        assert_eq!(config.forward[0].listen.to_string(), "127.0.0.1:24224");
        assert_eq!(config.forward[0].self_hostname, "here");
        assert_eq!(config.auth, Auth::default());
        assert!(loaded.shown.iter().all(|s| s.origin == "default"));
    }

    #[test]
    fn a_flag_beats_the_environment_which_beats_the_file() {
        let file =
            "time_zone = \"Asia/Tokyo\"\nmemory = \"1GB\"\n[http]\nlisten = \"127.0.0.1:1\"\n";
        let env = [("SHIRABE_HTTP__LISTEN", "127.0.0.1:2"), ("SHIRABE_MEMORY", "2GiB")];
        let loaded = load_all(file, &env, &[("--http", "http.listen", "127.0.0.1:3")]).unwrap();
        assert_eq!(loaded.config.http.listen.port(), 3);
        assert_eq!(loaded.config.memory_bytes, 2 << 30);
        let origin = |key: &str| {
            loaded.shown.iter().find(|s| s.key == key).map(|s| s.origin.clone()).unwrap()
        };
        assert_eq!(origin("listen"), "--http");
        assert_eq!(origin("memory"), "SHIRABE_MEMORY");
        assert_eq!(origin("time_zone"), "f.toml:1");
    }

    #[test]
    fn the_environment_takes_lists_and_bare_texts() {
        let env = [
            (
                "SHIRABE_SYSLOG",
                "[{listen=\"127.0.0.1:0\", encoding=\"shift_jis\"}, {transport=[\"udp\"]}]",
            ),
            ("SHIRABE_FORWARD", "[]"),
            ("SHIRABE_AUTH__TOKEN", "12345"),
            ("SHIRABE_DATA_DIR", "/var/lib/shirabe"),
            ("SHIRABE_URL", "http://x"),
            ("SHIRABE_PORT_8514_TCP", "tcp://10.0.0.1:8514"),
            ("SHIRABE_HTPP__LISTEN", "x"),
        ];
        let loaded = load_all("", &env, &[]).unwrap();
        assert_eq!(loaded.config.syslog.len(), 2);
        assert_eq!(loaded.config.syslog[0].encoding, Some(encoding_rs::SHIFT_JIS));
        assert_eq!(loaded.config.syslog[1].name, "syslog-2");
        assert!(loaded.config.forward.is_empty());
        assert_eq!(loaded.config.auth.token.as_deref(), Some("12345"));
        assert_eq!(loaded.config.data_dir, PathBuf::from("/var/lib/shirabe"));
        let [platform, typo] = &loaded.warnings[..] else { panic!("{:?}", loaded.warnings) };
        assert!(platform.contains("SHIRABE_PORT_8514_TCP"), "{platform}");
        assert!(typo.contains("did you mean SHIRABE_HTTP__LISTEN?"), "{typo}");
        let secret = loaded.shown.iter().find(|s| s.key == "token").unwrap();
        assert!(!secret.value.contains("12345"));
    }

    #[test]
    fn a_flag_for_the_first_listener_keeps_the_rest_of_it() {
        let file = "[[syslog]]\nencoding = \"euc-jp\"\n[[syslog]]\nlisten = \"127.0.0.1:7\"\n";
        let flags = [
            ("--syslog", "syslog.0.listen", "127.0.0.1:9"),
            ("--forward", "forward.0.listen", "127.0.0.1:8"),
        ];
        let config = load_all(file, &[], &flags).unwrap().config;
        assert_eq!(config.syslog[0].listen.port(), 9);
        assert_eq!(config.syslog[0].encoding, Some(encoding_rs::EUC_JP));
        assert_eq!(config.syslog[1].listen.port(), 7);
        assert_eq!(config.forward[0].listen.port(), 8);
    }

    #[test]
    fn tells_all_problems_with_their_lines() {
        let file = "\
memry = \"1GB\"
memory = \"lots\"
[http]
listen = \"0.0.0.0:8514\"
[[syslog]]
listen = 5
transport = [\"tls\", \"udp\"]
[[syslog]]
listen = \"127.0.0.1:24224\"
encoding = \"klingon\"
[[forward]]
cert = \"c.pem\"
usres = []
[auth]
mode = \"off\"
";
        let problems = load_all(file, &[], &[]).unwrap_err();
        let expected = [
            "f.toml:2: memory: found \"lots\", expected a size",
            "f.toml:6: syslog[0].listen: found 5, expected an address and port",
            "syslog[0].transport: \"tls\" needs an entry and a port of its own",
            "syslog[0].transport: \"tls\" needs `cert` and `key`",
            "f.toml:10: syslog[1].encoding: found \"klingon\", expected an encoding",
            "forward[0].key: missing: `cert` and `key` go together",
            "f.toml:13: forward[0].usres: there is no such key; did you mean `users`?",
            "f.toml:15: auth.mode: found \"off\", expected \"token\" or \"none\"",
            "f.toml:1: memry: there is no such key; did you mean `memory`?",
            "forward[0].listen: 127.0.0.1:24224 is taken by syslog[1].listen already",
            "f.toml:4: http.listen: 0.0.0.0:8514 can be reached from other machines and no token \
             is set: set `auth.token` (or `auth.token_file`), or say `auth.mode = \"none\"`",
        ];
        for want in expected {
            assert!(problems.iter().any(|p| p.contains(want)), "no {want:?} in {problems:#?}");
        }
        assert!(problems.iter().all(|p| !p.contains('\n')), "{problems:#?}");
    }

    #[test]
    fn tells_what_is_not_toml() {
        let problems = load_all("[http\nlisten = 3\nmemory = \"1GB\n", &[], &[]).unwrap_err();
        assert!(problems[0].starts_with("f.toml:1: not TOML: "), "{problems:#?}");
    }

    #[test]
    fn one_of_two_ways_opens_http_to_others() {
        let open = "[http]\nlisten = \"0.0.0.0:8514\"\n[auth]\n";
        for (auth, token) in [
            ("token = \"abc\"", Some("abc")),
            ("mode = \"none\"", None),
            ("token_file = \"token.txt\"", Some("from-file")),
        ] {
            let config = load_all(&format!("{open}{auth}\n"), &[], &[]).unwrap().config;
            assert_eq!(config.auth.token.as_deref(), token, "{auth}");
        }
        for (auth, want) in [
            ("token_file = \"no.txt\"", "auth.token_file: cannot read no.txt"),
            ("token_file = \"token.txt\"\ntoken = \"x\"", "`auth.token` is set too"),
            ("token = \"\"", "visible ASCII"),
            ("token = \"a b\"", "visible ASCII"),
        ] {
            let problems = load_all(&format!("{open}{auth}\n"), &[], &[]).unwrap_err();
            assert!(problems.iter().any(|p| p.contains(want)), "{auth}: {problems:#?}");
        }
    }

    #[test]
    fn nothing_is_open_to_others_by_oversight() {
        for (file, open) in [
            ("[http]\nlisten = \"0.0.0.0:0\"", true),
            ("[http]\nlisten = \"0.0.0.0:8514\"", true),
            ("[http]\nlisten = \"[::]:0\"", true),
            ("[http]\nlisten = \"192.0.2.1:80\"", true),
            ("[http]\nlisten = \"127.0.0.2:0\"", false),
            ("[http]\nlisten = \"[::1]:0\"", false),
            ("[http]\nlisten = \"0.0.0.0:0\"\n[auth]\ntoken = \"t\"", false),
            ("[http]\nlisten = \"0.0.0.0:0\"\n[auth]\nmode = \"none\"", false),
        ] {
            assert_eq!(load_all(file, &[], &[]).is_err(), open, "{file}");
        }
        // One mistake is told once.
        assert_eq!(load_all("[http]\nlisten = 5", &[], &[]).unwrap_err().len(), 1);
    }

    #[test]
    fn addresses_that_are_taken() {
        for (file, taken) in [
            ("[[syslog]]\nlisten=\"127.0.0.1:8514\"\ntransport=[\"tcp\"]", true),
            ("[[syslog]]\nlisten=\"127.0.0.1:8514\"\ntransport=[\"udp\"]", false),
            ("[[syslog]]\nlisten=\"0.0.0.0:24224\"", true),
            ("[[syslog]]\nlisten=\"127.0.0.1:0\"\n[[syslog]]\nlisten=\"127.0.0.1:0\"", false),
            ("[[syslog]]\nname=\"a\"\nlisten=\"127.0.0.1:0\"\n[[forward]]\nname=\"a\"", true),
        ] {
            let result = load_all(file, &[], &[]);
            let told = result.err().is_some_and(|p| p.iter().all(|p| p.contains("is taken")));
            assert_eq!(told, taken, "{file}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("64MiB", Some(64 << 20)),
            ("1GB", Some(1_000_000_000)),
            ("2 gib", Some(2 << 30)),
            ("1073741824", Some(1 << 30)),
            ("50%", Some(8 << 30)),
            ("101%", None),
            ("1MB", None),
            ("1XB", None),
            ("-1GB", None),
            ("99999999999999999999", None),
            ("20000000TB", None),
        ] {
            let got = load_all("", &[("SHIRABE_MEMORY", text)], &[]).map(|l| l.config.memory_bytes);
            assert_eq!(got.ok(), bytes, "{text}");
        }
    }
}
