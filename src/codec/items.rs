//! Values that are not stored as people see them (items of arrays, texts with escapes), read once
//! and kept as such beside a chunk, so that each question is one pass over them.

use super::probe::Probe;
use super::set::RowSet;
use super::texts::Texts;
use crate::base::value::Value;

/// Values as people see them, each with the number of what it belongs to.
#[derive(Debug, Default)]
pub(super) struct Items {
    texts: Texts,
    of: Vec<u32>,
}

impl Items {
    /// Adds a value, or the items of one, of what has this number, but texts that are left out.
    pub(super) fn add(&mut self, of: usize, value: &Value, left_out: &dyn Fn(&str) -> bool) {
        match value {
            Value::Str(text) if left_out(text) => return,
            Value::Str(text) => self.texts.push(text.as_bytes()),
            Value::Array(items) => {
                for item in items {
                    self.add(of, item, left_out);
                }
                return;
            }
            other => self.texts.push(other.to_string().as_bytes()),
        }
        self.of.push(u32::try_from(of).unwrap_or(u32::MAX));
    }

    /// Bytes of the texts.
    pub(super) fn bytes(&self) -> usize {
        self.texts.total()
    }

    /// Which of so many have a value that passes.
    pub(super) fn find(&self, probe: &Probe, many: usize) -> RowSet {
        let values = probe.of_any(&self.texts);
        if values.is_none() {
            return RowSet::none(many);
        }
        let of = values.iter().filter_map(|n| self.of.get(n).map(|of| *of as usize));
        RowSet::from_rows(many, of)
    }

    /// Bytes in memory.
    pub(super) fn weight(&self) -> usize {
        self.texts.weight() + self.of.len() * size_of::<u32>()
    }
}
