//! What a body holds, to be read by people: `verify --dump`. Nothing else needs it.

use super::Body;
use std::fmt::Write as _;

use super::body::{PARTS, Part};
use super::directory::Directory;
use super::encoders::{NAMES, PREFIXED};
use super::pack::{Read, take_bytes, take_planes};
use super::rebuild::{PoolShape, Templates};
use super::template::Piece;
use crate::base::error::Result;

/// One column of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// What `FORMAT.md` calls its section.
    pub part: &'static str,
    /// Which of the section's columns, where it has several: of which slot.
    pub what: String,
    /// How its values are written.
    pub encoder: String,
    /// How many it has.
    pub values: u64,
    /// Its bytes; those of a line's column before small ones are packed together.
    pub bytes: u64,
}

/// A template of lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// What it is of: `around` or `message`.
    pub part: &'static str,
    /// Its text; `<n>` for a value of pool n, `<*>` for the message.
    pub text: String,
    /// Rows of the segment that have it.
    pub rows: u64,
}

impl Body {
    /// The columns of a chunk, in the order of the file.
    pub fn columns(&self, chunk: usize) -> Result<Vec<Column>> {
        let open = &*self.0;
        let rows = open.chunks().get(chunk).map_or(0, |meta| meta.rows);
        let mut columns = Vec::new();
        for (part, name) in SECTIONS {
            let bytes = open.part(chunk, part, |input| Ok(std::mem::take(input).to_vec()))?;
            let whole = |encoder: String, values: usize| Column {
                part: name,
                what: String::new(),
                encoder,
                values: values as u64,
                bytes: open.section_len(chunk, part),
            };
            match part {
                Part::Host | Part::App | Part::Via => columns.push(whole(named(&bytes), rows)),
                Part::Pid | Part::Format | Part::Tag => {
                    let mut input = &bytes[..];
                    let flags = open.checked(chunk, part, take_planes(&mut input, rows))?;
                    let there = flags.iter().filter(|flag| **flag == 1).count();
                    columns.push(whole(named(input), there));
                }
                Part::Around | Part::Message => {
                    let of_around = matches!(part, Part::Around);
                    let shared = if of_around { open.around()? } else { open.messages()? };
                    let lines = lines(&bytes, name, shared, (chunk, rows));
                    columns.extend(open.checked(chunk, part, lines)?);
                }
                Part::Fields => columns.push(whole("fields".to_owned(), rows)),
                _ => columns.push(whole("integers".to_owned(), rows)),
            }
        }
        Ok(columns)
    }

    /// All templates that rows have, the most frequent first.
    pub fn templates(&self) -> Result<Vec<Template>> {
        let open = &*self.0;
        let mut all = Vec::new();
        for (part, shared) in [("around", open.around()?), ("message", open.messages()?)] {
            let mut rows: std::collections::BTreeMap<u32, u64> = std::collections::BTreeMap::new();
            for (template, count) in (0..open.chunks().len()).flat_map(|n| shared.used(n)) {
                *rows.entry(*template).or_default() += u64::from(*count);
            }
            all.extend(rows.into_iter().map(|(template, rows)| Template {
                part,
                text: text_of(shared.template(template)),
                rows,
            }));
        }
        all.sort_by_key(|template| std::cmp::Reverse(template.rows));
        Ok(all)
    }
}

/// The sections of a chunk.
const SECTIONS: [(Part, &str); PARTS] = [
    (Part::Id, "id"),
    (Part::Time, "time"),
    (Part::Received, "received"),
    (Part::Host, "host"),
    (Part::App, "app"),
    (Part::Severity, "severity"),
    (Part::Facility, "facility"),
    (Part::Pid, "pid"),
    (Part::Format, "format"),
    (Part::Via, "via"),
    (Part::Tag, "tag"),
    (Part::Defects, "defects"),
    (Part::Around, "around"),
    (Part::Message, "message"),
    (Part::Fields, "fields"),
];

/// The columns of a chunk's lines.
fn lines(
    bytes: &[u8],
    part: &'static str,
    shared: &Templates,
    (chunk, rows): (usize, usize),
) -> Read<Vec<Column>> {
    let directory = Directory::take(&mut &bytes[..])?;
    let column = |number: usize| {
        let bytes = directory.column(number);
        let Some(pool) = number.checked_sub(1) else {
            let (what, encoder) = ("templates".to_owned(), "planes".to_owned());
            return Column { part, what, encoder, values: rows as u64, bytes: bytes.len() as u64 };
        };
        let is_of = |piece: &&Piece| piece.pool().is_some_and(|p| p as usize == pool);
        let slots = |template: u32| shared.template(template).iter().filter(is_of).count() as u64;
        let used = shared.used(chunk);
        let values = used.iter().map(|(n, rows)| slots(*n) * u64::from(*rows)).sum();
        let first = used.iter().find(|(n, _)| slots(*n) > 0);
        let context = first.map_or(String::new(), |(n, _)| text_of(shared.template(*n)));
        let encoder = match shared.pools().get(pool) {
            Some(PoolShape::Stamps(_)) => "times".to_owned(),
            _ => named(bytes),
        };
        let what = format!("<{pool}> as in {context}");
        Column { part, what, encoder, values, bytes: bytes.len() as u64 }
    };
    Ok(directory.numbers().map(column).collect())
}

/// The encoder that a column begins with, and that of what is behind a prefix.
fn named(column: &[u8]) -> String {
    let Some((tag, mut rest)) = column.split_first() else { return "none".to_owned() };
    let name = NAMES.get(usize::from(*tag)).copied().unwrap_or("unknown");
    if *tag == PREFIXED && take_bytes(&mut rest).is_ok() {
        return format!("{name} {}", named(rest));
    }
    name.to_owned()
}

/// Longest text of a template that is printed, characters.
const TEXT_CHARS_MAX: usize = 200;

fn text_of(template: &[Piece]) -> String {
    let mut text = String::new();
    for piece in template {
        match piece {
            Piece::Static(bytes) => text.extend(String::from_utf8_lossy(bytes).escape_debug()),
            Piece::Slot(pool) | Piece::Keyed(pool, _) => {
                write!(text, "<{pool}>").unwrap_or_default();
            }
            Piece::Hole => text += "<*>",
        }
    }
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}
