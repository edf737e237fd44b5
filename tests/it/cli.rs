//! The program as people and scripts call it: help, exit codes, starting, stopping, import.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::{Server, shirabe};

fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("start the built program");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn help_fits_a_screen() {
    for command in
        ["", "serve", "demo", "import", "verify", "config", "config check", "config show"]
    {
        let mut args: Vec<&str> = command.split_whitespace().collect();
        args.push("--help");
        let (code, out, _) = run(shirabe().args(&args));
        assert_eq!(code, Some(0), "{command}");
        assert!((5..=40).contains(&out.lines().count()), "{command}: {out}");
        assert!(out.lines().all(|l| l.chars().count() <= 100), "{command}: {out}");
    }
    let (code, out, _) = run(shirabe().arg("--version"));
    assert_eq!(code, Some(0));
    assert!(out.starts_with(concat!("shirabe ", env!("CARGO_PKG_VERSION"), " (commit ")), "{out}");
}

#[test]
fn a_reader_that_goes_is_no_error() {
    let mut child = shirabe()
        .args(["config", "show"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start the built program");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("wait");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn says_what_it_listens_on_and_stops_cleanly() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut child = shirabe()
        .args(["--http", "127.0.0.1:0", "--syslog", "127.0.0.1:0", "--forward", "127.0.0.1:0"])
        .args(["--log-format", "json", "--data-dir"])
        .arg(dir.path().join("data"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start the built program");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    let mut said = Vec::new();
    for line in lines.by_ref().map_while(Result::ok) {
        if line == "ready" {
            break;
        }
        said.push(line);
    }
    let file = dir.path().join("data/listening.json");
    let text = std::fs::read_to_string(&file).expect("listening.json");
    let listening: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(listening["pid"], child.id());
    let mut expected: Vec<String> = listening["listeners"]
        .as_array()
        .expect("listeners")
        .iter()
        .map(|l| {
            let part = |key: &str| l[key].as_str().expect("text").to_owned();
            assert_eq!(part("name"), part("protocol"));
            format!("listening {}+{} {}", part("name"), part("transport"), part("address"))
        })
        .collect();
    let http = listening["http"].as_str().expect("an address");
    expected.push(format!("listening http+tcp {}", http.trim_start_matches("http://")));
    assert_eq!(said, expected);
    assert_eq!(said.len(), 5);

    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill").success());
    let mut log = String::new();
    child.stderr.take().expect("stderr").read_to_string(&mut log).expect("its log");
    assert_eq!(child.wait().expect("wait").code(), Some(0), "{log}");
    assert!(!file.exists());
    for line in log.lines() {
        let event: Value = serde_json::from_str(line).expect("a line of JSON");
        assert!(event["level"].is_string(), "{line}");
    }
}

#[test]
fn a_directory_in_use_and_an_address_in_use() {
    let server = Server::start();
    let (code, out, err) = run(shirabe()
        .args(["serve", "--http", "127.0.0.1:0", "--syslog", "127.0.0.1:0"])
        .args(["--forward", "127.0.0.1:0", "--data-dir"])
        .arg(&server.dir));
    assert_eq!((code, &*out), (Some(3), ""), "{err}");
    assert!(err.contains("in use by another process"), "{err}");
    assert!(err.contains(&server.child.id().to_string()), "{err}");

    let dir = tempfile::tempdir().expect("a directory");
    let taken = server.address("syslog", "tcp");
    let (code, out, err) = run(shirabe()
        .args(["serve", "--http", "127.0.0.1:0", "--syslog", &taken])
        .args(["--forward", "127.0.0.1:0", "--data-dir"])
        .arg(dir.path().join("data")));
    assert_eq!((code, &*out), (Some(1), ""), "{err}");
    assert!(err.contains(&format!("cannot listen on syslog+tcp {taken}")), "{err}");
}

#[test]
fn warnings_of_its_own_are_found_like_others() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut child = shirabe()
        .args(["--http", "127.0.0.1:0", "--syslog", "127.0.0.1:0", "--forward", "127.0.0.1:0"])
        .arg("--data-dir")
        .arg(dir.path().join("data"))
        .env("SHIRABE_NO_SUCH_KEY", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("start the built program");
    let stdout = BufReader::new(child.stdout.take().expect("stdout"));
    let http = stdout
        .lines()
        .map_while(Result::ok)
        .take_while(|l| l != "ready")
        .find_map(|l| l.strip_prefix("listening http+tcp ").map(str::to_owned))
        .expect("an address");
    let mut found = Value::Null;
    let came = crate::support::eventually(|| {
        let url = format!("http://{http}/api/v1/search?q=app:shirabe%20SHIRABE_NO_SUCH_KEY");
        let text = ureq::get(url).call().expect("an answer").body_mut().read_to_string();
        found = serde_json::from_str(&text.expect("a body")).expect("JSON");
        found["records"].as_array().is_some_and(|r| r.len() == 1)
    });
    drop(child.kill());
    drop(child.wait());
    assert!(came, "{found}");
    assert_eq!(found["records"][0]["severity"], "warning");
}

fn import(server: &Server) -> Command {
    let mut command = shirabe();
    command.args(["import", "--url", &server.url()]);
    command
}

#[test]
fn import_takes_every_packing() {
    let server = Server::start();
    let dir = tempfile::tempdir().expect("a directory");
    let text = b"first line\n\xff\xfe bytes\r\n\nlast line without an end";
    let gz = |bytes: &[u8]| {
        let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        e.write_all(bytes).expect("gzip");
        e.finish().expect("gzip")
    };
    let mut bz = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bz.write_all(text).expect("bzip2");
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(text).expect("xz");
    let halves = text.split_at(20);
    for (name, bytes) in [
        ("plain.log", text.to_vec()),
        ("one.log.gz", gz(text)),
        ("two.log.gz", [gz(halves.0), gz(halves.1)].concat()),
        ("z.log.zst", zstd::encode_all(&text[..], 1).expect("zstd")),
        ("b.log.bz2", bz.finish().expect("bzip2")),
        ("x.log.xz", xz.finish().expect("xz")),
    ] {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).expect("write");
        let (code, out, err) = run(import(&server).arg(&path));
        assert_eq!((code, &*err), (Some(0), ""), "{name}");
        assert!(out.starts_with("3 records of 3 lines"), "{name}: {out}");
        assert_eq!(out.lines().count(), 1);
    }
    let all = server.all("*", 1_000);
    assert_eq!(all.len(), 18);
    for (record, line) in
        all.iter().zip([&text[..10], b"\xff\xfe bytes\r", &text[22..]].iter().cycle())
    {
        let id = record["id"].as_str().expect("an id");
        let (_, raw) = server.get(&format!("/api/v1/records/{id}/raw"));
        assert_eq!(raw.escape_ascii().to_string(), line.escape_ascii().to_string());
        assert_eq!(server.get(&format!("/records/{id}/raw")), (200, raw));
    }
    let apps: Vec<_> = all.iter().step_by(3).map(|r| r["app"].as_str().expect("an app")).collect();
    assert_eq!(apps, ["plain", "one", "two", "z", "b", "x"]);
}

#[test]
fn import_reads_ndjson_standard_input_and_options() {
    let server = Server::start();
    let mut child = import(&server)
        .args([
            "--host",
            "h7",
            "--app",
            "a7",
            "--encoding",
            "shift_jis",
            "--time-zone",
            "Asia/Tokyo",
        ])
        .args(["--year", "2024", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start the built program");
    let mut stdin = child.stdin.take().expect("stdin");
    stdin.write_all(b"Mar  1 09:00:00 x y: \x92\xb2\x82\xd7\n").expect("write");
    drop(stdin);
    let output = child.wait_with_output().expect("wait");
    assert!(output.status.success());
    let record = &server.all("調べ", 9)[0];
    assert_eq!((&record["host"], &record["app"]), (&"h7".into(), &"a7".into()));
    assert_eq!(record["time"], "2024-03-01T00:00:00Z");

    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("events.json");
    std::fs::write(
        &path,
        "{\"message\":\"as json\",\"n\":1}\n\nnot json\n{\"message\":\"as json\",\"n\":2}",
    )
    .expect("write");
    let (code, out, err) = run(import(&server).arg(&path));
    assert_eq!(code, Some(0), "{err}");
    assert!(out.starts_with("3 records of 3 lines"), "{out}");
    assert_eq!(server.count("\"as json\" n:2"), 1);
    assert_eq!(server.count("defect:bad-json"), 1);
}

#[test]
fn import_cuts_large_files_at_lines() {
    let server = Server::start();
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("large.log");
    let mut text = Vec::new();
    for n in 0..60_000 {
        writeln!(text, "line {n} {}", "x".repeat(n % 200)).expect("write");
    }
    text.extend(vec![b'y'; 5 << 20]);
    text.extend(b"\nafter the long one\n");
    std::fs::write(&path, &text).expect("write");
    let (code, out, err) = run(import(&server).arg(&path));
    assert_eq!(code, Some(0), "{err}");
    assert!(out.starts_with("60002 records of 60002 lines"), "{out}");
    assert!(out.contains("in 1 files, 1 cut, "), "{out}");
    assert_eq!(server.count("line"), 60_000);
    assert_eq!(server.count("\"after the long one\""), 1);
    assert_eq!(server.count("defect:truncated"), 1);
}

#[test]
fn import_says_what_it_sent_before_it_failed() {
    let server = Server::start();
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("a.log");
    std::fs::write(&path, "one\ntwo\n").expect("write");
    let (code, out, err) = run(import(&server).arg(&path).arg("/no/such.log"));
    assert_eq!(code, Some(1));
    assert!(out.starts_with("2 records of 2 lines (8 bytes) in 1 of 2 files, "), "{out}");
    assert!(err.contains("cannot read /no/such.log"), "{err}");
    assert_eq!(server.count("one OR two"), 2);
    let (code, out, err) = run(import(&server).args(["--time-zone", "Mars"]).arg(&path));
    assert_eq!((code, &*out), (Some(2), ""));
    assert!(err.starts_with("shirabe: the server refuses: the parameter time_zone"), "{err}");
}

#[test]
fn import_finds_the_server_and_says_when_there_is_none() {
    let mut server = Server::start();
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("a.log");
    std::fs::write(&path, "a line\n").expect("write");
    let found =
        |server: &Server| run(shirabe().args(["import", "--data-dir"]).arg(&server.dir).arg(&path));
    let (code, _, err) = found(&server);
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(server.count("\"a line\""), 1);
    let (code, _, err) = run(shirabe().arg("import").arg(&path).env("SHIRABE_URL", server.url()));
    assert_eq!(code, Some(0), "{err}");
    let url = server.url();
    assert_eq!(server.stop(), Some(0));
    let (code, _, err) = run(shirabe().args(["import", "--url", &url]).arg(&path));
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("no answer from"), "{err}");
    let (code, _, err) = run(shirabe().args(["import", "--url", &url, "/no/such.log"]));
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("cannot read /no/such.log"), "{err}");
    let (code, _, _) = run(shirabe().arg("import"));
    assert_eq!(code, Some(2));
}
