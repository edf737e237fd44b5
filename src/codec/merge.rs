//! Several bodies as one: what small segments have in common is said once, small chunks are joined.
//!
//! Stands behind `store`, which chooses what is merged. The records of the new body are those of
//! the old ones in their order, to the byte.

use std::sync::Arc;

use super::{Body, Encoded, RowSet, encode_strong};
use crate::base::error::Result;
use crate::base::limits::{CHUNK_BYTES_MAX, CHUNK_ROWS_MAX};
use crate::base::record::Record;

/// Merges bodies, one behind the other: their records in this order, a record's id above that of
/// the one before it for those that share a chunk.
///
/// `go_on` is asked between chunks; where it answers no, nothing comes out. Memory: the new body,
/// the records of the old ones, and one chunk of them open.
///
/// # Errors
///
/// The first that reading the bodies gives; those that are damaged cannot be merged.
pub fn merge(bodies: &[Body], go_on: &mut dyn FnMut() -> bool) -> Result<Option<Encoded>> {
    let mut chunks: Vec<Vec<Arc<Record>>> = Vec::new();
    let mut bytes = 0;
    for body in bodies {
        for n in 0..body.chunks().len() {
            if !go_on() {
                return Ok(None);
            }
            let rows = body.chunk(n)?;
            let records = rows.records(&RowSet::all(rows.meta().rows))?;
            let more: usize = records.iter().map(|record| record.line.raw().len()).sum();
            match chunks.last_mut() {
                Some(last)
                    if last.len() + records.len() <= CHUNK_ROWS_MAX
                        && bytes + more <= CHUNK_BYTES_MAX
                        && last.last().map(|r| r.id) < records.first().map(|r| r.id) =>
                {
                    last.extend(records);
                    bytes += more;
                }
                _ => {
                    chunks.push(records);
                    bytes = more;
                }
            }
        }
    }
    let slices: Vec<&[Arc<Record>]> = chunks.iter().map(Vec::as_slice).collect();
    Ok(Some(encode_strong(&slices)))
}
