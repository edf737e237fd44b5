//! Several bodies as one: what small segments have in common is said once, small chunks are joined.
//!
//! Stands behind `store`, which chooses what is merged. The records of the new body are those of
//! the old ones in their order, to the byte, but hardly one of them is put together and no line is
//! parsed again:
//!
//! ```text
//! inputs    which template and names each row has; the few rows that are cut anew as records
//! lines     templates united by their keys, families among all of them; where each slot goes
//! fields    shapes of the old templates as shapes of the new; their columns
//! columns   the columns of messages, then of what is around them: some pools at a time
//! feed      old columns into new pools
//! names     hosts, apps, …, numbers and codes
//! told      what the index and the filter are built from
//! ```
//!
//! Memory: what is known of each row (some 12 bytes), the dictionaries of one place, and the values
//! of some pools.

mod columns;
mod feed;
mod fields;
mod inputs;
mod lines;
mod names;
mod told;

use super::body::Writer;
use super::template::Lines;
use super::{Body, ChunkMeta, Encoded};
use crate::base::error::Result;
use crate::base::limits::{MERGE_RECORDS_BYTES_MAX, MERGE_VALUES_MAX};
use columns::Columns;
use fields::Fields;
use inputs::{AROUND, Inputs, MESSAGES};
use lines::Gathered;
use told::Told;

/// Merges bodies, each with the bytes of its lines, one behind the other: their records in this
/// order, a record's id above that of the one before it for those that share a chunk.
///
/// `go_on` is asked between chunks; where it answers no, nothing comes out.
///
/// # Errors
///
/// The first that reading the bodies gives; those that are damaged cannot be merged.
pub fn merge(bodies: &[(Body, u64)], go_on: &mut dyn FnMut() -> bool) -> Result<Option<Encoded>> {
    merge_within(bodies, Bounds::default(), go_on)
}

/// How much of the inputs is in memory at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes of the records that are cut anew.
    pub(super) records: usize,
    /// Values of a place.
    pub(super) values: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { records: MERGE_RECORDS_BYTES_MAX, values: MERGE_VALUES_MAX }
    }
}

/// The same within other bounds.
pub(super) fn merge_within(
    bodies: &[(Body, u64)],
    bounds: Bounds,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Option<Encoded>> {
    let Some(mut inputs) = Inputs::read(bodies, bounds.records, go_on)? else { return Ok(None) };
    let (mut around, mut messages) = (Lines::new(false), Lines::new(false));
    let gathered = [
        Gathered::new(AROUND, &inputs, &mut around)?,
        Gathered::new(MESSAGES, &inputs, &mut messages)?,
    ];
    inputs.let_go();
    // The records of loose rows, which what follows borrows from.
    let records: Vec<_> =
        inputs.chunks.iter_mut().map(|chunk| std::mem::take(&mut chunk.records)).collect();
    for records in &records {
        around.begin(records.len());
        messages.begin(records.len());
        for record in records {
            around.push(record.line.raw(), record.line.span(), record.time);
            messages.push(record.message().as_bytes(), None, record.time);
        }
    }
    let (around, of_around) = around.settle(|_, _, _| ());
    let (messages, of_messages) = messages.settle(|_, _, _| ());
    let [gathered_around, gathered_messages] = gathered;
    let around = gathered_around.united(&around, &of_around);
    let messages = gathered_messages.united(&messages, &of_messages);
    let lines = [&around, &messages];
    let mut told = Told::new(inputs.joined.len());
    let (mut chunks, names) = names::write(&inputs, lines, &mut told)?;
    let mut fields = Fields::new(&inputs, lines, &records);
    let Some(of_fields) = fields.write(&mut told, go_on)? else { return Ok(None) };
    told.mark(fields.shapes(), &around);
    drop(fields);
    inputs.let_go();
    let values = bounds.values;
    let of_messages = Columns::write(&inputs, &messages, &mut told, (values, go_on))?;
    let Some(of_messages) = of_messages else { return Ok(None) };
    inputs.let_go();
    let of_around = Columns::write(&inputs, &around, &mut told, (values, go_on))?;
    let Some(of_around) = of_around else { return Ok(None) };
    let (words, tokens) = told.finish(&inputs)?;
    let lines = of_around.chunks.into_iter().zip(of_messages.chunks);
    let mut writer = Writer::default();
    for ((sections, lines), fields) in chunks.iter_mut().zip(lines).zip(of_fields.chunks) {
        for (_, section) in sections.drain(..) {
            writer.section(&section);
        }
        writer.section_as_is(&lines.0);
        writer.section_as_is(&lines.1);
        writer.section(&fields);
    }
    let shared = [of_around.shared, of_messages.shared, of_fields.shared];
    for section in names.iter().chain(&shared) {
        writer.section(section);
    }
    let metas: Vec<ChunkMeta> = inputs.joined.into_iter().map(|(_, meta)| meta).collect();
    Ok(Some(Encoded { body: writer.finish(&metas), chunks: metas, words, tokens }))
}
