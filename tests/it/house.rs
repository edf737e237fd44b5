//! Reads the sources and holds the house: floors, doors, module docs, no leftovers.
//! A failure says what to do instead.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::support::repository;

/// Floor of each room under `src/`; a file may use lower floors and its own room.
const FLOORS: &[(&str, u8)] = &[
    ("base", 0),
    ("config", 1),
    ("decode", 1),
    ("refine", 1),
    ("codec", 1),
    ("store", 2),
    ("query", 3),
    ("watch", 4),
    ("reply", 4),
    ("ingest", 5),
    ("serve", 5),
    ("cli", 6),
    ("main", 7),
];

/// Words that may stand in code of these places only.
const DOORS: &[(&str, &[&str], &str)] = &[
    ("tantivy::", &["store/chunk_index.rs"], "ask store::chunk_index"),
    (
        "zstd::",
        &["codec/pack.rs", "decode/frame.rs"],
        "use codec::pack or decode::frame, which bound the output",
    ),
    ("askama::", &["serve/pages.rs"], "make a view in serve/pages.rs"),
    (
        "nom::",
        &["query/grammar", "decode/", "refine/pattern.rs"],
        "parse in query/grammar or decode/",
    ),
    ("std::fs", &["base/machine.rs"], "go through base::machine"),
    ("Instant::now", &["base/machine.rs"], "take the Clock from base::machine"),
    ("SystemTime::now", &["base/machine.rs"], "take the Clock from base::machine"),
];

/// Rooms that must not know of these.
const ABSENT: &[(&str, &[&str])] = &[
    ("base", &["tokio", "axum", "tantivy"]),
    ("config", &["tokio", "axum", "tantivy"]),
    ("decode", &["tokio", "axum", "tantivy"]),
    ("refine", &["tokio", "axum", "tantivy"]),
    ("codec", &["tokio", "axum", "tantivy"]),
    ("store", &["tokio", "axum", "crate::query"]),
    ("query", &["tokio", "axum", "tantivy"]),
    ("watch", &["axum", "tokio::net"]),
];

struct Source {
    path: String,
    room: String,
    /// Without comments and without the tests at its end.
    code: Vec<(usize, String)>,
    text: String,
}

#[test]
fn the_house_stands() {
    let sources = sources();
    let mut problems = Vec::new();
    for source in &sources {
        floors(source, &mut problems);
        doors(source, &mut problems);
        habits(source, &mut problems);
    }
    circles(&sources, &mut problems);
    print_largest(&sources);
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

fn floor(room: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == room).map(|(_, floor)| *floor)
}

/// Rooms that a line of code names as `crate::room`.
fn rooms_named(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("crate::").map(|(at, word)| {
        let rest = &line[at + word.len()..];
        rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
    })
}

fn floors(source: &Source, problems: &mut Vec<String>) {
    let Some(own) = floor(&source.room) else {
        if source.path != "lib.rs" {
            problems
                .push(format!("src/{}: not a room of the house: name its floor here", source.path));
        }
        return;
    };
    for (number, line) in &source.code {
        for room in rooms_named(line) {
            if room == source.room {
                continue;
            }
            match floor(room) {
                Some(other) if other < own => {}
                Some(_) => problems.push(format!(
                    "src/{}:{number}: `{}` (floor {own}) uses `{room}`: move what both need down",
                    source.path, source.room
                )),
                None => {}
            }
        }
        for (room, words) in ABSENT.iter().filter(|(room, _)| *room == source.room) {
            for word in words.iter().filter(|word| names(line, word)) {
                problems.push(format!(
                    "src/{}:{number}: `{room}` knows nothing of `{word}`: do this on a higher floor",
                    source.path
                ));
            }
        }
    }
}

/// Does the line name the crate or path `word`, not merely a word that contains it?
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '"')
            && after.is_none_or(|c| c == ':' || c == ';' || word.contains("::"))
    })
}

fn doors(source: &Source, problems: &mut Vec<String>) {
    for (word, doors, instead) in DOORS {
        if doors.iter().any(|door| source.path.starts_with(door)) {
            continue;
        }
        for (number, line) in source.code.iter().filter(|(_, line)| names(line, word)) {
            problems.push(format!(
                "src/{}:{number}: `{word}` has its door elsewhere: {instead}",
                source.path
            ));
            let _ = line;
        }
    }
}

fn habits(source: &Source, problems: &mut Vec<String>) {
    let documented = source.text.starts_with("//!") || source.text.starts_with("#![doc");
    if !documented {
        problems
            .push(format!("src/{}:1: say why this module exists and where it stands", source.path));
    }
    for (number, line) in &source.code {
        for word in ["dbg!(", "todo!(", "unimplemented!("] {
            if line.contains(word) {
                problems.push(format!(
                    "src/{}:{number}: `{word}` is a leftover: finish it",
                    source.path
                ));
            }
        }
        // A statement of its own, not the end of a `let` on the line before.
        let before = source.text.lines().nth(number.saturating_sub(2)).unwrap_or_default();
        let begins = before.trim_end().ends_with([';', '{', '}']) || before.trim().is_empty();
        if begins && line.trim_start().starts_with("matches!(") && line.trim_end().ends_with(';') {
            problems
                .push(format!("src/{}:{number}: a test that cannot fail: assert it", source.path));
        }
    }
}

/// Rooms of one floor may not use each other; files of one room may not go in circles with
/// another room. Floors make circles between rooms impossible, so only same-floor pairs are left.
fn circles(sources: &[Source], problems: &mut Vec<String>) {
    let mut uses: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for source in sources {
        for (_, line) in &source.code {
            uses.entry(&source.room).or_default().extend(rooms_named(line));
        }
    }
    for (room, used) in &uses {
        for other in used.iter().filter(|other| *other != room) {
            if uses.get(other).is_some_and(|back| back.contains(room))
                && floor(other) == floor(room)
            {
                problems.push(format!(
                    "`{room}` and `{other}` use each other: move what both need down"
                ));
            }
        }
    }
}

/// Sizes are not policed; the largest are shown for a look.
fn print_largest(sources: &[Source]) {
    let mut sizes: Vec<(usize, &str)> = sources
        .iter()
        .map(|s| (s.code.iter().filter(|(_, l)| !l.trim().is_empty()).count(), &*s.path))
        .collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    for (lines, path) in sizes.iter().take(8) {
        println!("{lines:5} lines of code in src/{path}");
    }
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    walk(&repository("src"), "", &mut found);
    assert!(found.len() > 20, "the sources are not where this test looks");
    found
}

fn walk(dir: &Path, prefix: &str, found: &mut Vec<Source>) {
    let mut entries: Vec<_> =
        fs::read_dir(dir).expect("src").map(|e| e.expect("an entry")).collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        if entry.path().is_dir() {
            walk(&entry.path(), &format!("{path}/"), found);
        } else if entry.path().extension().is_some_and(|e| e == "rs") && name != "tests.rs" {
            let text = fs::read_to_string(entry.path()).expect("a source file");
            let room =
                path.split('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned();
            let code = text
                .lines()
                .enumerate()
                .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
                .map(|(n, line)| (n + 1, line.split("//").next().unwrap_or_default().to_owned()))
                .collect();
            found.push(Source { path, room, code, text });
        }
    }
}
