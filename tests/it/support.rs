//! What the integration tests share: the built program on free ports in a directory of its own,
//! a small HTTP client, and waiting that polls with a deadline.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take before a test gives up; generous, since CI machines stall.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A running server. Killed (SIGKILL) when dropped.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) dir: PathBuf,
    pub(crate) listening: Value,
    config: String,
    keep: Option<tempfile::TempDir>,
}

impl Server {
    /// On free ports, with nothing configured.
    pub(crate) fn start() -> Self {
        Self::with_config("")
    }

    /// On free ports, with a configuration file of this content. Sections that listen must say
    /// port 0 themselves when they are named here.
    pub(crate) fn with_config(config: &str) -> Self {
        let keep = tempfile::tempdir().expect("a temporary directory");
        let dir = keep.path().join("data");
        Self::launch(dir, config.to_owned(), Some(keep))
    }

    fn launch(dir: PathBuf, config: String, keep: Option<tempfile::TempDir>) -> Self {
        let file = dir.with_extension("toml");
        std::fs::write(&file, &config).expect("write the configuration");
        let mut command = shirabe();
        command.args(["serve", "--config"]).arg(&file).arg("--data-dir").arg(&dir);
        for (section, flag) in
            [("[http]", "--http"), ("[[syslog]]", "--syslog"), ("[[forward]]", "--forward")]
        {
            if !config.contains(section) {
                command.args([flag, "127.0.0.1:0"]);
            }
        }
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("start the built program");
        let stdout = child.stdout.take().expect("its standard output");
        let mut lines = BufReader::new(stdout).lines();
        let ready = lines.by_ref().map_while(Result::ok).any(|line| line == "ready");
        assert!(ready, "the server ended before it said `ready`: {:?}", child.wait());
        std::thread::spawn(move || lines.for_each(drop));
        let listening =
            std::fs::read_to_string(dir.join("listening.json")).expect("listening.json");
        let listening = serde_json::from_str(&listening).expect("listening.json is JSON");
        Self { child, dir, listening, config, keep }
    }

    /// Base of all HTTP addresses, without a slash at its end.
    pub(crate) fn url(&self) -> String {
        self.listening["http"].as_str().expect("an HTTP address").to_owned()
    }

    /// `address:port` of a listener.
    pub(crate) fn address(&self, name: &str, transport: &str) -> String {
        self.listening["listeners"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|l| l["name"] == name && l["transport"] == transport)
            .and_then(|l| l["address"].as_str())
            .unwrap_or_else(|| panic!("no {name}+{transport} in {}", self.listening))
            .to_owned()
    }

    /// Its port alone.
    pub(crate) fn port(&self, name: &str, transport: &str) -> String {
        self.address(name, transport).rsplit(':').next().unwrap_or_default().to_owned()
    }

    /// Status and body of a GET.
    pub(crate) fn get(&self, path: &str) -> (u16, Vec<u8>) {
        let mut answer = agent().get(format!("{}{path}", self.url())).call().expect("an answer");
        let body = answer.body_mut().with_config().limit(1 << 30).read_to_vec().expect("a body");
        (answer.status().as_u16(), body)
    }

    /// The JSON of a GET that must succeed.
    pub(crate) fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path);
        let text = String::from_utf8_lossy(&body);
        assert_eq!(status, 200, "GET {path}: {text}");
        serde_json::from_slice(&body).unwrap_or_else(|e| panic!("GET {path}: {e}: {text}"))
    }

    /// Status and JSON (or null) of a POST.
    pub(crate) fn post(&self, path: &str, content_type: &str, body: &[u8]) -> (u16, Value) {
        let mut answer = agent()
            .post(format!("{}{path}", self.url()))
            .content_type(content_type)
            .send(body)
            .expect("an answer");
        let body = answer.body_mut().with_config().limit(1 << 30).read_to_vec().expect("a body");
        (answer.status().as_u16(), serde_json::from_slice(&body).unwrap_or_default())
    }

    /// Status and body of a GET; `None` where the server is gone.
    pub(crate) fn try_get(&self, path: &str) -> Option<(u16, Vec<u8>)> {
        let mut answer = agent().get(format!("{}{path}", self.url())).call().ok()?;
        let body = answer.body_mut().with_config().limit(1 << 30).read_to_vec().ok()?;
        Some((answer.status().as_u16(), body))
    }

    /// Status of a POST; `None` where the server is gone.
    pub(crate) fn try_post(&self, path: &str, content_type: &str, body: &[u8]) -> Option<u16> {
        let request = agent().post(format!("{}{path}", self.url())).content_type(content_type);
        request.send(body).ok().map(|answer| answer.status().as_u16())
    }

    /// The exact count of a query.
    pub(crate) fn count(&self, q: &str) -> u64 {
        let q = urlencode(q);
        self.json(&format!("/api/v1/count?q={q}"))["count"].as_u64().expect("a count")
    }

    /// Waits until a query counts `n`; panics with what it counts when patience ends.
    pub(crate) fn wait_count(&self, q: &str, n: u64) {
        let mut last = 0;
        let arrived = eventually(|| {
            last = self.count(q);
            last >= n
        });
        assert!(arrived && last == n, "{q:?} counts {last}, expected {n}");
    }

    /// All records of a query by following the cursor, oldest first.
    pub(crate) fn all(&self, q: &str, limit: usize) -> Vec<Value> {
        let mut records = Vec::new();
        let mut cursor = String::new();
        loop {
            let q = urlencode(q);
            let page = self.json(&format!("/api/v1/search?q={q}&order=asc&limit={limit}{cursor}"));
            records.extend(page["records"].as_array().expect("records").iter().cloned());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={}", urlencode(next)),
                None => return records,
            }
        }
    }

    /// Closes what is open into segments.
    pub(crate) fn seal(&self) {
        let (status, answer) = self.post("/api/v1/seal", "application/json", b"");
        assert_eq!(status, 200, "{answer}");
    }

    /// `kill -9`, then a new start on the same directory.
    pub(crate) fn kill_and_restart(mut self) -> Self {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
        let (dir, config, keep) = (self.dir.clone(), self.config.clone(), self.keep.take());
        drop(self);
        Self::launch(dir, config, keep)
    }

    /// SIGTERM; the exit code, once it has stopped.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("kill");
        assert!(sent.success());
        let mut code = None;
        let stopped = eventually(|| match self.child.try_wait().expect("wait") {
            Some(status) => {
                code = status.code();
                true
            }
            None => false,
        });
        assert!(stopped, "the server did not stop");
        code
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it has ended already, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The built program, with no setting of this machine in its environment.
pub(crate) fn shirabe() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shirabe"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SHIRABE_")) {
        command.env_remove(name);
    }
    command
}

#[expect(clippy::disallowed_methods, reason = "tests live on the real machine")]
/// Asks again and again until it is so, or [`PATIENCE`] ends.
pub(crate) fn eventually(mut is_so: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if is_so() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    is_so()
}

/// Percent-encodes everything but unreserved characters.
pub(crate) fn urlencode(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(b).to_string()
            }
            _ => format!("%{b:02X}"),
        })
        .collect()
}

/// A file of this repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The corpora of real log files beside the checkout; says loudly when they are not there.
pub(crate) fn corpora() -> Option<PathBuf> {
    let dir = std::env::var_os("SHIRABE_CORPORA")
        .map_or_else(|| repository("../shared/data/corpora"), PathBuf::from);
    if dir.is_dir() {
        return Some(dir);
    }
    eprintln!("NOT TESTED: no corpora at {} (set SHIRABE_CORPORA)", dir.display());
    None
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(PATIENCE))
        .build()
        .into()
}
