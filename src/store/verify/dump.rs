//! What is stored, for people to read: `verify --dump`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::base::error::{Error, Result};
use crate::base::machine::Disk;
use crate::store::catalog::Catalog;
use crate::store::open::class_dirs;
use crate::store::segment::Open;

/// Hands over what the segments hold, a text each: sections, chunks, columns with their encoders,
/// templates. `which` is the number or the file of one; all without it.
///
/// # Errors
/// No such segment, or the first that does not read: `verify` says of all.
pub fn dump(
    disk: &dyn Disk,
    data: &Path,
    which: Option<&str>,
    show: &mut dyn FnMut(&str),
) -> Result<()> {
    let segments = data.join("segments");
    if which.is_none()
        && let Some(catalog) = Catalog::read(disk, data)?
    {
        show(&format!(
            "catalogue: {} segments; next id {}, next segment {}; in the log from id {}\n",
            catalog.segments.len(),
            catalog.next_id,
            catalog.next_segment,
            catalog.sealed_below
        ));
    }
    let mut found = false;
    for path in files(disk, &segments, which)? {
        found = true;
        show(&of_segment(disk, &path)?);
    }
    match which {
        Some(which) if !found => Err(Error::NotFound { what: format!("segment {which}") }),
        _ => Ok(()),
    }
}

fn files(disk: &dyn Disk, segments: &Path, which: Option<&str>) -> Result<Vec<PathBuf>> {
    // A file of its own, wherever it is.
    if let Some(path) = which.filter(|which| which.contains('/')) {
        return Ok(vec![PathBuf::from(path)]);
    }
    let number = which.map(|which| which.trim_end_matches(".seg").parse::<u64>().ok());
    let mut files = Vec::new();
    for dir in class_dirs(disk, segments)? {
        for entry in disk.list(&dir)? {
            let own = super::number_of(Path::new(&entry.name));
            if own.is_some() && number.is_none_or(|number| number == own) {
                files.push((own, dir.join(&entry.name)));
            }
        }
    }
    files.sort();
    Ok(files.into_iter().map(|(_, path)| path).collect())
}

struct Hex<'a>(&'a [u8]);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn of_segment(disk: &dyn Disk, path: &Path) -> Result<String> {
    let open = Open::read(disk, path)?;
    let meta = open.meta();
    let mut out = String::new();
    let mut line = |text: std::fmt::Arguments<'_>| {
        out.write_fmt(text).unwrap_or_default();
        out.push('\n');
    };
    line(format_args!("\nsegment {}: {}", meta.number, path.display()));
    line(format_args!(
        "  day {}, class {}; {} records, ids {} to {}; {} bytes of lines in {} bytes",
        meta.day,
        meta.class,
        meta.records(),
        meta.first_id(),
        meta.last_id(),
        meta.bytes,
        meta.len
    ));
    line(format_args!("  SHA-256 {}", Hex(&meta.hash)));
    for (kind, at, len) in open.sections() {
        line(format_args!("  section {kind:<8} {len:>12} bytes at {at}"));
    }
    let body = open.body();
    for (n, chunk) in meta.chunks.iter().enumerate() {
        line(format_args!(
            "  chunk {n}: {} rows, ids {} to {}, times {} to {}",
            chunk.rows, chunk.first_id, chunk.last_id, chunk.min_time, chunk.max_time
        ));
        for column in body.columns(n)? {
            line(format_args!(
                "    {:<9} {:<20} {:>10} values {:>12} bytes  {}",
                column.part, column.encoder, column.values, column.bytes, column.what
            ));
        }
    }
    for template in body.templates()? {
        line(format_args!("  {:>10} rows  {:<8} {}", template.rows, template.part, template.text));
    }
    Ok(out)
}
