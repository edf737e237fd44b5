//! `shirabe verify`: whole where it is, and every flipped bit found, named and told by status 1;
//! beside a running server, on what a killed one left, on a copy.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::support::{Server, shirabe};

/// Exit code and standard output.
fn verify(data: &Path, more: &[&str]) -> (Option<i32>, String) {
    let mut command = shirabe();
    let output = command.arg("verify").arg("--data-dir").arg(data).args(more).output();
    let Output { status, stdout, stderr } = output.expect("start the built program");
    let err = String::from_utf8_lossy(&stderr);
    assert!(err.is_empty() || status.code() != Some(0), "{err}");
    (status.code(), String::from_utf8_lossy(&stdout).into_owned() + &err)
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

fn copy(from: &Path, to: &Path) {
    let mut found = Vec::new();
    files(from, &mut found);
    for path in found {
        let to = to.join(path.strip_prefix(from).expect("below it"));
        fs::create_dir_all(to.parent().expect("a parent")).expect("a directory");
        fs::copy(&path, &to).expect("a copy");
    }
}

const RULES: &str = "\
[[retention]]
name = \"web\"
host = \"web-*\"
keep = \"90d\"
";

/// Two classes, segments merged and not, and lines in the log.
fn fill(server: &Server) {
    for round in 0..3 {
        let line = |n: u32| {
            format!(
                "{{\"host\":\"{}\",\"app\":\"shop\",\"msg\":\"round {round} user {n} paid 調べ\",\
                 \"trace\":\"{:08x}{n:04x}\",\"status\":{}}}\n",
                if n.is_multiple_of(3) { "web-1" } else { "db-1" },
                n.wrapping_mul(2_654_435_761),
                200 + n % 3
            )
        };
        let lines: String = (0..400).map(line).collect();
        let (status, answer) =
            server.post("/api/v1/ingest", "application/x-ndjson", lines.as_bytes());
        assert_eq!((status, &answer["accepted"]), (200, &400.into()), "{answer}");
        let path = if round == 1 { "/api/v1/seal?merge=true" } else { "/api/v1/seal" };
        let (status, answer) = server.post(path, "application/json", b"");
        assert_eq!(status, 200, "{answer}");
    }
    let (status, _) = server.post("/api/v1/ingest?app=last", "text/plain", b"in the log\n");
    assert_eq!(status, 200);
}

#[test]
fn every_damage_is_found_and_named() {
    let server = Server::with_config(RULES);
    fill(&server);
    let (code, out) = verify(&server.dir, &[]);
    assert_eq!(code, Some(0), "beside the running server: {out}");
    assert!(out.starts_with("whole: ") && out.contains(" segments and "), "{out}");
    let mut server = server;
    server.child.kill().expect("kill");
    server.child.wait().expect("wait");
    let (code, out) = verify(&server.dir, &[]);
    assert_eq!(code, Some(0), "what a killed server left: {out}");

    let keep = tempfile::tempdir().expect("a directory");
    let data = keep.path().join("copy");
    copy(&server.dir, &data);
    assert_eq!(verify(&data, &[]).0, Some(0), "a copy");
    let mut all = Vec::new();
    files(&data, &mut all);
    let mut kinds = std::collections::BTreeSet::new();
    for path in all {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if name == "lock" || name == "listening.json" {
            continue;
        }
        kinds.insert(name.rsplit('.').next().unwrap_or_default().to_owned());
        let whole = fs::read(&path).expect("a file");
        // First and last bytes, and places between.
        let places = [0, 9, whole.len() - 1, whole.len() - 14];
        let between = (1..7).map(|n| whole.len() * n / 7);
        for at in places.into_iter().chain(between).filter(|at| *at < whole.len()) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(&path, &bytes).expect("write");
            let (code, out) = verify(&data, &[]);
            assert_eq!(code, Some(1), "{} at {at}: {out}", path.display());
            let line = format!("damaged: {}", path.display());
            assert!(out.lines().any(|l| l.starts_with(&line)), "{} at {at}: {out}", path.display());
        }
        fs::write(&path, &whole).expect("write");
    }
    let kinds: Vec<String> = kinds.into_iter().collect();
    assert_eq!(kinds, ["VERSION", "catalog", "log", "manifest", "seg"]);
    assert_eq!(verify(&data, &[]).0, Some(0), "as it was");
}

#[test]
fn what_is_stored_is_printed() {
    let server = Server::with_config(RULES);
    fill(&server);
    let (code, out) = verify(&server.dir, &["--dump"]);
    assert_eq!(code, Some(0), "{out}");
    for want in
        ["class web", "class default", "section body", "chunk 0: ", "host ", " same ", " rows  "]
    {
        assert!(out.contains(want), "no {want:?} in {out}");
    }
    let path = out.lines().find_map(|line| line.strip_prefix("segment ")?.split(": ").nth(1));
    let path = path.expect("a segment").to_owned();
    let (code, one) = verify(&server.dir, &["--dump", &path]);
    assert_eq!((code, one.matches("SHA-256").count()), (Some(0), 1), "{one}");
    let (code, out) = verify(&server.dir, &["--dump", "999"]);
    assert_eq!((code, out.as_str()), (Some(1), "shirabe: no segment 999\n"));
}

#[test]
fn nowhere_is_nothing_to_verify() {
    let keep = tempfile::tempdir().expect("a directory");
    let (code, out) = verify(&keep.path().join("none"), &[]);
    assert_eq!(code, Some(1));
    assert!(out.contains("no data directory at"), "{out}");
}
