//! What can be set, through the program's own doors: `config check`, `config show`, a start.

use std::process::{Command, Output};

use crate::support::{Server, repository, shirabe};

fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("start the built program");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn nothing_needs_to_be_set() {
    let dir = tempfile::tempdir().expect("a directory");
    let (code, out, err) = run(shirabe().args(["config", "check"]).current_dir(&dir));
    assert_eq!((code, &*out, &*err), (Some(0), "the configuration is good\n", ""));
}

#[test]
fn all_problems_are_told_one_a_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = "memroy = \"1GB\"\n[http]\nlisten = \"0.0.0.0:8514\"\n[[syslog]]\nlisten = 7\n";
    std::fs::write(dir.path().join("shirabe.toml"), file).expect("write");
    // The same is told by every command that needs a configuration.
    for command in [&["config", "check"][..], &["config", "show"], &["serve"], &[]] {
        let (code, out, err) = run(shirabe().args(command).current_dir(&dir));
        assert_eq!((code, &*out), (Some(2), ""), "{err}");
        let lines: Vec<&str> = err.lines().collect();
        let [listen, typo, open] = &lines[..] else { panic!("not three lines: {err}") };
        assert!(
            listen.starts_with("shirabe: shirabe.toml:5: syslog[0].listen: found 7, expected"),
            "{listen}"
        );
        assert!(
            typo.contains("shirabe.toml:1: memroy") && typo.contains("did you mean `memory`?"),
            "{typo}"
        );
        assert!(open.contains("auth.token") && open.contains("auth.mode = \"none\""), "{open}");
    }
}

#[test]
fn wrong_flags_are_told() {
    for (args, wanted) in [
        (&["--htpp", "x"][..], "--http"),
        (&["serve", "--http", "nowhere"], "--http: http.listen: found \"nowhere\", expected"),
        (&["--set", "http.lisen=1"], "did you mean `http.listen`?"),
        (&["--set", "nonsense"], "expected KEY=VALUE"),
        (&["--config", "/no/such/file.toml"], "cannot read /no/such/file.toml"),
        (&["serve", "demo"], "unexpected argument"),
    ] {
        let (code, out, err) = run(shirabe().args(args));
        assert_eq!((code, &*out), (Some(2), ""), "{args:?}: {err}");
        assert!(err.contains(wanted), "{args:?}: {err}");
    }
}

#[test]
fn every_value_says_where_it_comes_from() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("my.toml");
    std::fs::write(&path, "time_zone = \"Asia/Tokyo\"\n[auth]\ntoken = \"geheim\"\n")
        .expect("write");
    let (code, out, err) = run(shirabe()
        .args(["config", "show", "--http", "127.0.0.1:1", "--config"])
        .arg(&path)
        .env("SHIRABE_MEMORY", "1GiB")
        .env("SHIRABE_SYSLOG", "[{listen=\"127.0.0.1:0\"}, {name=\"b\", listen=\"127.0.0.1:0\"}]"));
    assert_eq!(code, Some(0), "{err}");
    let file = path.display();
    for (key, origin) in [
        ("time_zone = \"Asia/Tokyo\"", format!("{file}:1")),
        ("token = \"********\"", format!("{file}:3")),
        ("listen = \"127.0.0.1:1\"", "--http".to_owned()),
        ("memory = \"1GiB\"", "SHIRABE_MEMORY".to_owned()),
        ("name = \"b\"", "SHIRABE_SYSLOG".to_owned()),
        ("data_dir = \"./shirabe-data\"", "default".to_owned()),
    ] {
        let found = out.lines().any(|l| l.starts_with(key) && l.ends_with(&format!("# {origin}")));
        assert!(found, "{key} from {origin}: {out}");
    }
    assert!(!out.contains("geheim"));
    // What is shown can be read again, secrets apart.
    std::fs::write(&path, out.replace("********", "x")).expect("write");
    let (code, _, err) = run(shirabe().args(["config", "check", "--config"]).arg(&path));
    assert_eq!(code, Some(0), "{err}");
}

#[test]
fn foreign_names_in_the_environment_only_warn() {
    let dir = tempfile::tempdir().expect("a directory");
    let (code, _, err) = run(shirabe()
        .args(["config", "check"])
        .current_dir(&dir)
        .env("SHIRABE_SERVICE_PORT", "8514")
        .env("SHIRABE_URL", "http://x")
        .env("SHIRABE_TOKEN", "x"));
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
    assert!(err.contains("SHIRABE_SERVICE_PORT"), "{err}");
}

#[test]
fn a_certificate_that_cannot_be_used_is_told_at_the_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let cert = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a pair");
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a pair");
    let write =
        |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("write");
    write("cert.pem", &cert.cert.pem());
    write("key.pem", &cert.signing_key.serialize_pem());
    write("other.pem", &other.signing_key.serialize_pem());
    for (cert, key, wanted) in [
        ("cert.pem", "key.pem", None),
        ("cert.pem", "other.pem", Some("cert.pem and other.pem cannot be used")),
        ("cert.pem", "no.pem", Some("cannot read no.pem")),
        ("key.pem", "key.pem", Some("key.pem has no certificate in PEM form")),
        ("cert.pem", "cert.pem", Some("cert.pem has no private key in PEM form")),
    ] {
        let file = format!(
            "[[syslog]]\nlisten = \"127.0.0.1:0\"\ntransport = [\"tls\"]\ncert = \"{cert}\"\nkey = \"{key}\"\n"
        );
        write("shirabe.toml", &file);
        let (code, _, err) = run(shirabe().args(["config", "check"]).current_dir(&dir));
        match wanted {
            None => assert_eq!(code, Some(0), "{err}"),
            Some(wanted) => {
                assert_eq!(code, Some(2), "{err}");
                assert!(err.contains(wanted), "{err}");
            }
        }
    }
}

#[test]
fn a_token_is_asked_for_where_one_is_set() {
    let server = Server::with_config("[auth]\ntoken = \"open-sesame\"\n");
    let ingest = format!("{}/api/v1/ingest", server.url());
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).build().into();
    for (token, status) in [("", 401), ("Bearer wrong", 401), ("Bearer open-sesame", 200)] {
        let mut request = agent.post(&ingest).content_type("text/plain");
        if !token.is_empty() {
            request = request.header("Authorization", token);
        }
        let answer = request.send("a line\n").expect("an answer");
        assert_eq!(answer.status().as_u16(), status, "{token}");
    }
}

#[test]
fn what_the_readme_shows_is_good() {
    let readme = std::fs::read_to_string(repository("README.md")).expect("README.md");
    let (_, rest) = readme.split_once("```toml\n").expect("a file to copy");
    let (file, _) = rest.split_once("```").expect("its end");
    let dir = tempfile::tempdir().expect("a directory");
    let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a pair");
    for (name, text) in [
        ("shirabe.toml", file),
        ("server.pem", &pair.cert.pem()),
        ("server.key", &pair.signing_key.serialize_pem()),
    ] {
        std::fs::write(dir.path().join(name), text).expect("write");
    }
    let (code, out, err) = run(shirabe().args(["config", "check"]).current_dir(&dir));
    assert_eq!((code, &*out, &*err), (Some(0), "the configuration is good\n", ""));
}
