//! How the columns of a chunk are encoded and what each weighs, for people: `verify --dump`.
//!
//! Read from the stored bytes alone, without a value being made.

use super::body::{Open, Part};
use super::directory::Directory;
use super::encoders::{
    COPY, DECIMALS, DIFFERENCES, DIGITS, GIVEN, HEX, IDS, INTEGERS, LENGTHS, NAMES, PREFIXED, SAME,
    TEXT, UUID,
};
use super::integers::outline_integers;
use super::pack::{
    Damage, Read, skip_frame, skip_planes, take_bytes, take_exact, take_u8, take_varint,
};
use super::rebuild::Templates;
use crate::base::error::Result;
use crate::base::limits::COLUMN_DEPTH_MAX;

/// One column of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnOutline {
    /// Whose it is: `host`, `message templates`, `message pool 3`, …
    pub place: String,
    /// Names of its encoders as in `FORMAT.md`, of columns within columns in brackets.
    pub encoder: String,
    /// Its bytes, before those that are small are packed together.
    pub bytes: usize,
}

/// Parts that are a column, and whether flags of who has a value stand in front of it.
const COLUMNS: [(Part, &str, bool); 6] = [
    (Part::Host, "host", false),
    (Part::App, "app", false),
    (Part::Pid, "pid", true),
    (Part::Format, "format", true),
    (Part::Via, "via", false),
    (Part::Tag, "tag", true),
];

/// Parts that are integers.
const INTEGER_PARTS: [(Part, &str); 6] = [
    (Part::Id, "id"),
    (Part::Time, "time"),
    (Part::Received, "received"),
    (Part::Severity, "severity"),
    (Part::Facility, "facility"),
    (Part::Defects, "defects"),
];

/// The columns of a chunk, those of fields apart.
pub(super) fn outline(body: &Open, chunk: usize) -> Result<Vec<ColumnOutline>> {
    let mut all = Vec::new();
    for (part, place) in INTEGER_PARTS {
        all.push(body.part(chunk, part, |input| one(place, input, outline_integers))?);
    }
    for (part, place, flags) in COLUMNS {
        all.push(body.part(chunk, part, |input| {
            one(place, input, |input| {
                if flags {
                    skip_planes(input)?;
                }
                if input.is_empty() { Ok("none".into()) } else { column(input, 0) }
            })
        })?);
    }
    for (part, place, templates) in
        [(Part::Around, "around", body.around()?), (Part::Message, "message", body.messages()?)]
    {
        all.extend(body.part(chunk, part, |input| lines(place, input, templates))?);
    }
    Ok(all)
}

/// The columns of lines.
fn lines(place: &str, input: &mut &[u8], templates: &Templates) -> Read<Vec<ColumnOutline>> {
    let directory = Directory::take(input)?;
    let column_of = |number: usize| {
        let mut bytes = directory.column(number);
        match number.checked_sub(1) {
            None => one(&format!("{place} templates"), &mut bytes, |input| {
                skip_planes(input)?;
                Ok("planes".into())
            }),
            Some(pool) if templates.is_stamps(pool) => {
                one(&format!("{place} times {pool}"), &mut bytes, outline_integers)
            }
            Some(pool) => {
                one(&format!("{place} pool {pool}"), &mut bytes, |input| column(input, 0))
            }
        }
    };
    directory.numbers().map(column_of).collect()
}

/// What `read` says of all that stands in `input`.
fn one(
    place: &str,
    input: &mut &[u8],
    read: impl FnOnce(&mut &[u8]) -> Read<String>,
) -> Read<ColumnOutline> {
    let bytes = input.len();
    Ok(ColumnOutline { place: place.into(), encoder: read(input)?, bytes })
}

/// The encoders of a column.
fn column(input: &mut &[u8], depth: usize) -> Read<String> {
    if depth > COLUMN_DEPTH_MAX {
        return Err(Damage("columns nested too deep"));
    }
    let tag = take_u8(input)?;
    let unknown = Damage("a column of an unknown encoder");
    let name = *NAMES.get(usize::from(tag)).ok_or(unknown)?;
    let inner = match tag {
        SAME => take_bytes(input).map(|_| None)?,
        IDS => skip_planes(input).map(|()| None)?,
        INTEGERS => Some(outline_integers(input)?),
        DIGITS | DECIMALS => {
            take_u8(input)?;
            Some(outline_integers(input)?)
        }
        HEX => {
            take_varint(input)?;
            take_u8(input)?;
            skip_frame(input)?;
            None
        }
        UUID => skip_frame(input).map(|()| None)?,
        PREFIXED => {
            take_bytes(input)?;
            Some(column(input, depth + 1)?)
        }
        TEXT => {
            if take_u8(input)? == LENGTHS {
                outline_integers(input)?;
            }
            skip_frame(input)?;
            None
        }
        GIVEN | COPY => {
            let parent = take_varint(input)?;
            skip_planes(input)?;
            let rest = if input.is_empty() { "all".into() } else { column(input, depth + 1)? };
            Some(format!("{parent}, {rest}"))
        }
        DIFFERENCES => {
            if take_u8(input)? != INTEGERS {
                take_exact(input, 1)?;
            }
            let parent = take_varint(input)?;
            let firsts = outline_integers(input)?;
            Some(format!("{parent}, {firsts}, {}", outline_integers(input)?))
        }
        _ => return Err(unknown),
    };
    Ok(inner.map_or_else(|| name.into(), |inner| format!("{name}({inner})")))
}
