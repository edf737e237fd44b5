//! Real log files that nobody here wrote: imported by the built program, not a line may be lost or
//! changed. Read in place beside the checkout; said loudly when they are not there.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::support::{Server, corpora, shirabe};

/// The small ones in every run.
#[test]
fn small_files_come_back_byte_for_byte() {
    import_all(|bytes| bytes <= 48 << 10);
}

/// All 741,611 lines, one by one.
#[test]
fn slow_all_files_come_back_byte_for_byte() {
    import_all(|_| true);
}

fn import_all(wanted: impl Fn(u64) -> bool) {
    let Some(dir) = corpora() else { return };
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir.join("lines"))
        .expect("lines/")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.metadata().is_ok_and(|m| wanted(m.len())))
        .collect();
    files.sort();
    let server = Server::start();
    println!("{:<40} {:>8} {:>8} {:>8}", "file", "lines", "records", "changed");
    let mut wrong = Vec::new();
    let mut last_id = 0;
    for file in &files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let lines = lines_of(file);
        import(&server, file);
        let counted = server.count("*") - last_id;
        server.seal();
        let changed = lines
            .iter()
            .enumerate()
            .filter(|(n, line)| {
                server.get(&raw_of(last_id + 1 + *n as u64)) != (200, line.to_vec())
            })
            .map(|(n, _)| n)
            .collect::<Vec<_>>();
        println!("{name:<40} {:>8} {counted:>8} {:>8}", lines.len(), changed.len());
        if counted != lines.len() as u64 || !changed.is_empty() {
            wrong.push(format!(
                "{name}: {} lines, {counted} records, changed {changed:?}",
                lines.len()
            ));
        }
        last_id += counted;
    }
    let first = server.json("/api/v1/search?limit=3&order=asc");
    let ids: BTreeSet<&str> = first["records"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|r| r["id"].as_str())
        .collect();
    assert!(!ids.is_empty(), "nothing was imported");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn raw_of(id: u64) -> String {
    format!("/api/v1/records/{id}/raw")
}

fn import(server: &Server, file: &Path) {
    let output = shirabe()
        .args(["import", "--url", &server.url()])
        .arg(file)
        .output()
        .expect("start the built program");
    assert!(
        output.status.success(),
        "import of {}: {}",
        file.display(),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Ended by LF, and an unended last one; empty ones do not count.
fn lines_of(file: &Path) -> Vec<Box<[u8]>> {
    let bytes = std::fs::read(file).expect("a corpus file");
    let bytes = if file.extension().is_some_and(|e| e == "zst") { unzstd(&bytes) } else { bytes };
    bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty()).map(Into::into).collect()
}

fn unzstd(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    zstd::stream::read::Decoder::new(bytes)
        .and_then(|mut decoder| decoder.read_to_end(&mut text))
        .expect("a zstd file");
    text
}
