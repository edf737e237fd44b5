//! Makes what `serve/pages/assets.rs` embeds: `page.css` and `page.js`, both in `OUT_DIR`.
//!
//! Styles are the files of `web/styles` in the order of their names; they need no tool. Scripts
//! are bundled by the esbuild that `web/package-lock.json` pins, in a copy of `web/` below
//! `OUT_DIR`: nothing is written into the source tree, and two builds at once do not meet. Cargo
//! runs this only when something there changed. Without Node.js the build goes on, says so once,
//! and the pages come without scripts; `CI=true` or `SHIRABE_REQUIRE_WEB=1` make that an error.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

/// What the bundle is made of, below `web/`.
const PARTS: [&str; 4] = ["package.json", "package-lock.json", ".npmrc", "src"];

fn main() -> Result<(), String> {
    let web = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("web");
    let out = PathBuf::from(variable("OUT_DIR")?);
    for part in PARTS {
        println!("cargo:rerun-if-changed=web/{part}");
    }
    println!("cargo:rerun-if-changed=web/styles");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=CI");
    println!("cargo:rerun-if-env-changed=SHIRABE_REQUIRE_WEB");

    if let Some(commit) = commit() {
        // No `SHIRABE_` name: `cargo run` hands it to the program, which reads those as settings.
        println!("cargo:rustc-env=BUILT_COMMIT={commit}");
    }
    let styles = styles(&web.join("styles")).map_err(|e| format!("web/styles: {e}"))?;
    fs::write(out.join("page.css"), styles).map_err(|e| format!("page.css: {e}"))?;

    let script = match bundle(&web, &out.join("web")) {
        Ok(script) => script,
        Err(why) if required() => {
            return Err(format!("the scripts of the pages cannot be bundled: {why}"));
        }
        Err(why) => {
            println!(
                "cargo:warning=the pages come without scripts (they work, but do not move by \
                 themselves): {why}. With Node.js 18 or newer installed, touch build.rs and build again."
            );
            Vec::new()
        }
    };
    fs::write(out.join("page.js"), script).map_err(|e| format!("page.js: {e}"))
}

/// The commit that is built, for `--version`; `None` outside of a checkout (an unpacked archive).
fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        (output.status.success() && !text.is_empty()).then_some(text)
    };
    // HEAD names a branch, whose own file (or the log of HEAD) changes with each commit.
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) =
            git(&["rev-parse", "--git-path", file]).filter(|p| Path::new(p).exists())
        {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "--short=10", "HEAD"])
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|e| format!("{name}: {e}"))
}

/// Must the scripts be there?
fn required() -> bool {
    let on = |name| env::var(name).is_ok_and(|v| !matches!(v.as_str(), "" | "0" | "false"));
    on("CI") || on("SHIRABE_REQUIRE_WEB")
}

fn styles(folder: &Path) -> io::Result<String> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| entry.map(|e| e.path())).collect::<io::Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|e| e == "css"));
    files.sort();
    files.iter().map(fs::read_to_string).collect()
}

/// Installs the pinned bundler beside a copy of the sources, and runs it.
fn bundle(web: &Path, work: &Path) -> Result<Vec<u8>, String> {
    copy(web, work).map_err(|e| format!("copying web/ failed ({e})"))?;
    run(npm().args(["ci", "--omit=dev", "--no-audit", "--no-fund"]).current_dir(work))?;
    run(npm().args(["run", "--silent", "build"]).current_dir(work))
}

fn npm() -> Command {
    Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" })
}

/// Its output; or what it was and how it failed, on one line.
fn run(command: &mut Command) -> Result<Vec<u8>, String> {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect();
    let what = words.join(" ");
    let output = command.output().map_err(|e| format!("`{what}` did not start ({e})"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = said.lines().map(str::trim).filter(|l| !l.is_empty()).take(4).collect();
    Err(format!("`{what}` failed ({}): {}", output.status, said.join(" / ")))
}

/// Copies [`PARTS`]; sources that are gone do not linger.
fn copy(web: &Path, work: &Path) -> io::Result<()> {
    if work.join("src").exists() {
        fs::remove_dir_all(work.join("src"))?;
    }
    fs::create_dir_all(work)?;
    for part in PARTS {
        let (from, to) = (web.join(part), work.join(part));
        if !from.is_dir() {
            fs::copy(from, to)?;
            continue;
        }
        fs::create_dir_all(&to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
