//! Real programs send 10,000 distinct lines each; every one must be there exactly once.
//!
//! The programs come from `tests/run`, which installs them. One that is missing fails its test
//! with its name, unless `SHIRABE_SKIP_MISSING=1` says that this machine may lack it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::{PATIENCE, Server, eventually, repository};

const LINES: u64 = 10_000;

/// Where a program is, or the test's end with a clear word.
fn program(name: &str) -> Option<PathBuf> {
    let unpacked = repository("target/senders/syslog-ng/usr/sbin").join(name);
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(name))
        .chain([unpacked])
        .find(|path| path.is_file());
    let may_lack = std::env::var_os("SHIRABE_SKIP_MISSING").is_some();
    assert!(found.is_some() || may_lack, "{name} is not installed; tests/run installs it");
    if found.is_none() {
        eprintln!("NOT TESTED: {name} is not installed");
    }
    found
}

/// `marker line 0` … each on its own line.
fn lines(marker: &str) -> String {
    (0..LINES).fold(String::new(), |mut text, n| {
        writeln!(text, "{marker} line {n}").expect("a string grows");
        text
    })
}

/// All distinct, all there, each once by the cursor.
fn check_all(server: &Server, marker: &str) {
    check_count(server, marker, LINES);
}

fn check_count(server: &Server, marker: &str, expected: u64) {
    let q = format!("\"{marker} line\"");
    server.wait_count(&q, expected);
    let found = server.all(&q, 3_000);
    let distinct: BTreeSet<&str> = found.iter().filter_map(|r| r["message"].as_str()).collect();
    assert_eq!(found.len() as u64, expected, "{marker}: the cursor gives each record once");
    assert_eq!(distinct.len() as u64, expected, "{marker}: all lines are distinct");
    let ids: BTreeSet<&str> = found.iter().filter_map(|r| r["id"].as_str()).collect();
    assert_eq!(ids.len() as u64, expected, "{marker}: no id twice");
}

/// Runs a command with these lines on its standard input; it must succeed.
fn feed(command: &mut Command, text: &str) {
    let mut child = command.stdin(Stdio::piped()).spawn().expect("start");
    let mut stdin = child.stdin.take().expect("its standard input");
    stdin.write_all(text.as_bytes()).expect("write");
    drop(stdin);
    assert!(child.wait().expect("wait").success(), "{command:?} failed");
}

fn logger(server: &Server, transport: &str, flags: &[&str], marker: &str) {
    let Some(logger) = program("logger") else { return };
    let mut command = Command::new(logger);
    let port = server.port("syslog", transport);
    command.args(["-n", "127.0.0.1", "-P", &port, "-t", "app"]).args(flags);
    feed(&mut command, &lines(marker));
    check_all(server, marker);
}

#[test]
fn logger_tcp() {
    let server = Server::start();
    logger(&server, "tcp", &["-T", "--rfc5424"], "tcp-5424");
    logger(&server, "tcp", &["-T", "--rfc3164"], "tcp-3164");
    logger(&server, "tcp", &["-T", "--rfc5424", "--octet-count"], "octets-5424");
    logger(&server, "tcp", &["-T", "--rfc3164", "--octet-count"], "octets-3164");
}

/// Paced, and what the kernel says it dropped is counted by the server.
#[test]
fn logger_udp() {
    let Some(logger) = program("logger") else { return };
    let server = Server::start();
    for format in ["--rfc5424", "--rfc3164"] {
        let marker = format!("udp{format}");
        let mut child = Command::new(&logger)
            .args(["-n", "127.0.0.1", "-P", &server.port("syslog", "udp"), "-d", "-t", "app"])
            .arg(format)
            .stdin(Stdio::piped())
            .spawn()
            .expect("start");
        let mut stdin = child.stdin.take().expect("its standard input");
        for (n, line) in lines(&marker).lines().enumerate() {
            stdin.write_all(format!("{line}\n").as_bytes()).expect("write");
            if n % 50 == 49 {
                pace(Duration::from_millis(2));
            }
        }
        drop(stdin);
        assert!(child.wait().expect("wait").success());
        let dropped = kernel_drops(&server);
        if dropped == 0 {
            check_all(&server, &marker);
        } else {
            eprintln!("the kernel dropped {dropped} datagrams");
            check_count(&server, &marker, LINES - dropped);
        }
    }
}

/// A sender's pace, not a wait for luck.
#[expect(clippy::disallowed_methods, reason = "the pace of a sender is what is tested")]
fn pace(pause: Duration) {
    std::thread::sleep(pause);
}

fn kernel_drops(server: &Server) -> u64 {
    let (_, text) = server.get("/metrics");
    String::from_utf8_lossy(&text)
        .lines()
        .filter(|line| line.starts_with("shirabe_udp_kernel_drops_total{"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

/// A daemon that is killed when the test ends.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // SIGTERM, so that it saves nothing half-written; both fail only when it has ended.
        drop(Command::new("kill").arg(self.0.id().to_string()).status());
        drop(self.0.wait());
    }
}

/// Our ready configuration with this server's port in place of the one it ships with.
fn shipped(name: &str, port: &str) -> String {
    let text = std::fs::read_to_string(repository("ingest-config").join(name)).expect("shipped");
    ["port=\"5514\"", "port=\"6514\"", "port(5514)"].iter().fold(text, |text, old| {
        let digits = old.chars().filter(char::is_ascii_digit).collect::<String>();
        text.replace(old, &old.replace(&digits, port))
    })
}

/// Starts rsyslogd with one of our configurations and a file as its input.
fn rsyslog(dir: &Path, marker: &str, action: &str) -> Option<Daemon> {
    let rsyslogd = program("rsyslogd")?;
    let input = dir.join("input.log");
    std::fs::write(&input, lines(marker)).expect("write");
    let dir = dir.display();
    let config = format!(
        "global(workDirectory=\"{dir}\")\n\
         module(load=\"imfile\" mode=\"inotify\")\n\
         input(type=\"imfile\" file=\"{}\" tag=\"app:\" freshStartTail=\"off\")\n{action}",
        input.display()
    );
    let file = input.with_file_name("rsyslog.conf");
    std::fs::write(&file, config).expect("write");
    let child = Command::new(rsyslogd)
        .args(["-n", "-i", &format!("{dir}/rsyslog.pid"), "-f"])
        .arg(&file)
        .spawn()
        .expect("start rsyslogd");
    Some(Daemon(child))
}

#[test]
fn rsyslog_tcp_with_our_configuration() {
    rsyslog_delivers("rsyslog.conf", "tcp", "rsyslog-tcp");
}

/// Paced by rsyslog's own queue; UDP on loopback drops only when our buffer is full.
#[test]
fn rsyslog_udp_with_our_configuration() {
    let server = Server::start();
    let dir = tempfile::tempdir().expect("a directory");
    let action = shipped("rsyslog-udp.conf", &server.port("syslog", "udp"));
    let Some(_daemon) = rsyslog(dir.path(), "rsyslog-udp", &action) else { return };
    let q = "\"rsyslog-udp line\"";
    let arrived = eventually(|| server.count(q) + kernel_drops(&server) >= LINES);
    assert!(arrived, "{} of {LINES}", server.count(q));
    check_count(&server, "rsyslog-udp", LINES - kernel_drops(&server));
}

fn rsyslog_delivers(config: &str, transport: &str, marker: &str) {
    let server = Server::start();
    let dir = tempfile::tempdir().expect("a directory");
    let action = shipped(config, &server.port("syslog", transport));
    let Some(_daemon) = rsyslog(dir.path(), marker, &action) else { return };
    check_all(&server, marker);
}

#[test]
fn rsyslog_plain_tcp_without_octet_counts() {
    let server = Server::start();
    let dir = tempfile::tempdir().expect("a directory");
    let port = server.port("syslog", "tcp");
    let action =
        format!("action(type=\"omfwd\" protocol=\"tcp\" target=\"127.0.0.1\" port=\"{port}\")");
    let Some(_daemon) = rsyslog(dir.path(), "rsyslog-lf", &action) else { return };
    check_all(&server, "rsyslog-lf");
}

#[test]
fn rsyslog_tls_with_our_configuration() {
    let dir = tempfile::tempdir().expect("a directory");
    let ca_key = rcgen::KeyPair::generate().expect("a key");
    let mut ca = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.distinguished_name.push(rcgen::DnType::CommonName, "shirabe test CA");
    let ca_cert = ca.self_signed(&ca_key).expect("a CA");
    let issuer = rcgen::Issuer::new(ca, &ca_key);
    let key = rcgen::KeyPair::generate().expect("a key");
    let cert = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .expect("parameters")
        .signed_by(&key, &issuer)
        .expect("a certificate");
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("write");
        path
    };
    let ca_file = write("ca.pem", &ca_cert.pem());
    let (cert, key) = (write("cert.pem", &cert.pem()), write("key.pem", &key.serialize_pem()));
    let server = Server::with_config(&format!(
        "[[syslog]]\nname = \"secure\"\nlisten = \"127.0.0.1:0\"\ntransport = [\"tls\"]\n\
         cert = {cert:?}\nkey = {key:?}\n"
    ));
    let action = shipped("rsyslog-tls.conf", &server.port("secure", "tls"))
        .replace("/etc/ssl/shirabe-ca.pem", &ca_file.display().to_string());
    let Some(_daemon) = rsyslog(dir.path(), "rsyslog-tls", &action) else { return };
    check_all(&server, "rsyslog-tls");
}

fn syslog_ng(config: &str, marker: &str) {
    let Some(syslog_ng) = program("syslog-ng") else { return };
    let server = Server::start();
    let dir = tempfile::tempdir().expect("a directory");
    let input = dir.path().join("input.log");
    std::fs::write(&input, lines(marker)).expect("write");
    let ours = shipped(config, &server.port("syslog", "tcp"));
    let text = format!(
        "@version: 3.38\noptions {{ stats-freq(0); }};\n\
         source s_src {{ file(\"{}\" flags(no-parse) program-override(\"app\") follow-freq(1)); }};\n{ours}",
        input.display()
    );
    let file = dir.path().join("syslog-ng.conf");
    std::fs::write(&file, text).expect("write");
    let root = syslog_ng.ancestors().nth(3).map(Path::to_path_buf).unwrap_or_default();
    let at = |name: &str| dir.path().join(name);
    let mut command = Command::new(&syslog_ng);
    command.args(["-F", "--no-caps", "-f"]).arg(&file);
    command.arg("-R").arg(at("persist")).arg("-c").arg(at("ctl")).arg("-p").arg(at("pid"));
    if root != Path::new("/") {
        let modules = root.join("usr/lib/syslog-ng/3.38");
        command.arg(format!("--module-path={}", modules.display()));
        command.env("LD_LIBRARY_PATH", library_path(&root));
    }
    let _daemon = Daemon(command.spawn().expect("start syslog-ng"));
    check_all(&server, marker);
}

/// Where an unpacked package keeps its libraries.
fn library_path(root: &Path) -> std::ffi::OsString {
    let mut dirs = vec![root.join("usr/lib/syslog-ng")];
    for lib in [root.join("usr/lib"), root.join("lib")] {
        dirs.extend(std::fs::read_dir(lib).into_iter().flatten().flatten().map(|e| e.path()));
    }
    std::env::join_paths(dirs).unwrap_or_default()
}

#[test]
fn syslog_ng_syslog_driver_with_our_configuration() {
    syslog_ng("syslog-ng.conf", "ng-syslog");
}

#[test]
fn syslog_ng_network_driver_with_our_configuration() {
    syslog_ng("syslog-ng-3164.conf", "ng-network");
}

fn script(interpreter: &Path, file: &str, arguments: &[&str]) {
    let status = Command::new(interpreter)
        .arg(repository("tests/senders").join(file))
        .args(arguments)
        .status()
        .expect("start");
    assert!(status.success(), "{file} {arguments:?}");
}

#[test]
fn python_fluent_logger() {
    let python = repository("target/senders/python/bin/python");
    let python = if python.is_file() { Some(python) } else { program("python3") };
    let Some(python) = python else { return };
    let server = Server::start();
    let port = server.port("forward", "tcp");
    script(&python, "fluent_python.py", &[&port, &LINES.to_string(), "python"]);
    check_all(&server, "python");
}

#[test]
fn npm_fluent_loggers_with_acks() {
    let Some(node) = program("node") else { return };
    let server = Server::start();
    let port = server.port("forward", "tcp");
    let count = LINES.to_string();
    for mode in ["Message", "Forward", "PackedForward", "CompressedPackedForward"] {
        script(&node, "fluent_org.cjs", &[&port, mode, &count, mode]);
        check_all(&server, mode);
    }
    script(&node, "fluent_logger.cjs", &[&port, &count, "older"]);
    check_all(&server, "older");
}

#[test]
fn curl_plain_lines_and_json() {
    let Some(curl) = program("curl") else { return };
    let server = Server::start();
    let url = format!("{}/api/v1/ingest?host=h&app=a", server.url());
    let post = |content_type: &str, text: &str| {
        let mut command = Command::new(&curl);
        command.args(["-sS", "--fail-with-body", "-o", "/dev/null", "--data-binary", "@-"]);
        command.args(["-H", &format!("Content-Type: {content_type}"), "-m"]);
        command.arg(PATIENCE.as_secs().to_string()).arg(&url);
        feed(&mut command, text);
    };
    post("text/plain", &lines("plain"));
    check_all(&server, "plain");
    let objects: Vec<String> =
        lines("object").lines().map(|l| format!("{{\"message\":\"{l}\"}}")).collect();
    post("application/x-ndjson", &objects.join("\n"));
    check_all(&server, "object");
    let array = objects.join(",").replace("object line", "array line");
    post("application/json", &format!("[{array}]"));
    check_all(&server, "array");
}
