//! The built program as a child, on free ports and a data directory of its own, and how much CPU,
//! memory and disk it uses.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::meter;

/// How long anything may take before the run is given up.
const PATIENCE: Duration = Duration::from_mins(30);

/// Threads that merge have this in their name.
const MERGE_THREAD: &str = "merge";

/// A running server; killed when dropped, its data removed.
pub(crate) struct Server {
    child: Child,
    listening: Value,
    agent: ureq::Agent,
    /// From the start of the process to `ready`.
    pub(crate) start: Duration,
    data: PathBuf,
    keep: Option<tempfile::TempDir>,
}

/// What a stretch of work cost the server.
#[derive(Clone, Copy, Default)]
pub(crate) struct Spent {
    /// CPU of the whole process.
    pub(crate) cpu: Duration,
    /// Of that, threads that merge.
    pub(crate) merge: Duration,
    /// By the clock.
    pub(crate) wall: Duration,
}

impl Server {
    /// On an empty data directory below `dir`.
    pub(crate) fn start(dir: &Path) -> Self {
        fs::create_dir_all(dir).expect("the folder of data directories");
        let keep = tempfile::tempdir_in(dir).expect("a temporary directory");
        Self::launch(keep.path().join("data"), Some(keep))
    }

    fn launch(data: PathBuf, keep: Option<tempfile::TempDir>) -> Self {
        let config = data.with_extension("toml");
        fs::write(&config, "").expect("an empty configuration");
        let mut command = Command::new(env!("CARGO_BIN_EXE_shirabe"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SHIRABE_")) {
            command.env_remove(name);
        }
        command.arg("serve").arg("--config").arg(config).arg("--data-dir").arg(&data);
        for flag in ["--http", "--syslog", "--forward"] {
            command.args([flag, "127.0.0.1:0"]);
        }
        let begin = meter::now();
        let mut child = command
            .env("SHIRABE_LOG", "error")
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the built program");
        let stdout = child.stdout.take().expect("its standard output");
        let mut lines = BufReader::new(stdout).lines();
        let ready = lines.by_ref().map_while(Result::ok).any(|line| line == "ready");
        assert!(ready, "the server ended before it said `ready`: {:?}", child.wait());
        let start = meter::now().saturating_sub(begin);
        std::thread::spawn(move || lines.for_each(drop));
        let listening = fs::read(data.join("listening.json")).expect("listening.json");
        let listening = serde_json::from_slice(&listening).expect("JSON");
        let agent = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).build().into();
        Self { child, listening, agent, start, data, keep }
    }

    /// Stopped cleanly, or with SIGKILL, and started again on the same data.
    pub(crate) fn again(mut self, clean: bool) -> Self {
        self.end(clean);
        let (data, keep) = (self.data.clone(), self.keep.take());
        drop(self);
        Self::launch(data, keep)
    }

    fn end(&mut self, clean: bool) {
        if clean {
            let pid = self.child.id().to_string();
            let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("kill");
            assert!(sent.success(), "kill");
        } else {
            self.child.kill().expect("kill");
        }
        self.child.wait().expect("its end");
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `address:port` of a TCP listener.
    pub(crate) fn address(&self, name: &str) -> &str {
        let listeners = self.listening["listeners"].as_array().into_iter().flatten();
        let mut named = listeners.filter(|l| l["name"] == name && l["transport"] == "tcp");
        named.find_map(|l| l["address"].as_str()).expect("the listener")
    }

    /// A GET, on a connection that is kept.
    pub(crate) fn get(&self, path: &str) -> Vec<u8> {
        let url = format!("{}{path}", self.url());
        let mut answer = self.agent.get(&url).call().unwrap_or_else(|e| panic!("{path}: {e}"));
        answer.body_mut().with_config().limit(1 << 30).read_to_vec().expect("a body")
    }

    /// The JSON of a GET.
    pub(crate) fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&self.get(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    /// The JSON of a POST.
    pub(crate) fn post(&self, path: &str, content_type: &str, body: &[u8]) -> Value {
        let url = format!("{}{path}", self.url());
        let answer = self.agent.post(&url).content_type(content_type).send(body);
        let mut answer = answer.unwrap_or_else(|e| panic!("{path}: {e}"));
        let body = answer.body_mut().with_config().limit(1 << 30).read_to_vec().expect("a body");
        serde_json::from_slice(&body).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    /// A gauge or counter of `/metrics`, summed over its labels.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = String::from_utf8(self.get("/metrics")).expect("text");
        let values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            rest.starts_with([' ', '{']).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
        });
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
        let sum = values.sum::<f64>() as u64;
        sum
    }

    /// Waits until so many records are kept.
    pub(crate) fn wait_records(&self, records: u64) {
        let mut kept = 0;
        let all = meter::wait(PATIENCE, Duration::from_millis(50), || {
            kept = self.metric("shirabe_records");
            kept >= records
        });
        assert!(all, "{kept} records are kept of {records} that were sent");
    }

    /// Closes what is open into segments, and merges them where that is asked for.
    pub(crate) fn seal(&self, merge: bool) {
        let path = if merge { "/api/v1/seal?merge=true" } else { "/api/v1/seal" };
        self.post(path, "application/json", b"");
    }

    /// What the server spent while a call ran.
    pub(crate) fn spent(&self, call: impl FnOnce()) -> Spent {
        let (cpu, merge, wall) = (meter::process_cpu(self.pid()), self.merge_cpu(), meter::now());
        call();
        Spent {
            cpu: meter::process_cpu(self.pid()).saturating_sub(cpu),
            merge: self.merge_cpu().saturating_sub(merge),
            wall: meter::now().saturating_sub(wall),
        }
    }

    fn merge_cpu(&self) -> Duration {
        let threads = meter::threads(self.pid()).into_values();
        threads.filter(|(name, _)| name.contains(MERGE_THREAD)).map(|(_, cpu)| cpu).sum()
    }

    /// Bytes of a kind of memory, as `VmHWM`.
    pub(crate) fn memory(&self, kind: &str) -> u64 {
        meter::memory(self.pid(), kind)
    }

    /// Lets the kernel measure the peak of memory anew, from what is used now.
    pub(crate) fn forget_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").expect("clear_refs");
    }

    /// All bytes below the data directory.
    pub(crate) fn disk(&self) -> u64 {
        meter::bytes_below(&self.data)
    }

    /// Of what they are: the largest entries of the data directory, in kB.
    pub(crate) fn disk_told(&self) -> String {
        let entries = fs::read_dir(&self.data).expect("the data directory").flatten();
        let mut parts: Vec<(u64, String)> = entries
            .map(|entry| {
                let len = entry.metadata().map_or(0, |meta| meta.len());
                let bytes =
                    if entry.path().is_dir() { meter::bytes_below(&entry.path()) } else { len };
                (bytes, entry.file_name().to_string_lossy().into_owned())
            })
            .filter(|(bytes, _)| *bytes >= 1_000)
            .collect();
        parts.sort_unstable_by(|a, b| b.cmp(a));
        let told: Vec<String> =
            parts.iter().map(|(bytes, name)| format!("{name} {}", bytes / 1_000)).collect();
        format!("kB: {}", told.join(", "))
    }

    /// Bytes of the log.
    pub(crate) fn log_bytes(&self) -> u64 {
        meter::bytes_below(&self.data.join("log"))
    }

    fn url(&self) -> &str {
        self.listening["http"].as_str().expect("an HTTP address")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it has ended already, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Percent-encodes everything but unreserved characters.
pub(crate) fn urlencode(text: &str) -> String {
    let encode = |b: u8| match b {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(b).to_string()
        }
        _ => format!("%{b:02X}"),
    };
    text.bytes().map(encode).collect()
}
