//! Nested values to flat fields: the one place that knows contract 3's rules of flattening.
//!
//! Whoever reads an object (JSON or msgpack, as a message of its own or inside one) walks it,
//! [`Flat::enter`]s its keys and [`Flat::put`]s its leaves. What comes out is bounded, whatever
//! went in: fields, names, texts and arrays have their limits here.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::base::limits::{
    ARRAY_ITEMS_MAX, FIELD_NAME_BYTES_MAX, FIELDS_MAX, LINE_BYTES_MAX, NESTING_MAX,
};
use crate::base::record::{Defect, Defects, Record};
use crate::base::value::{Field, Value};

/// Up to so many fields a name is looked for one by one; beyond, in a map.
const FEW: usize = 24;

/// Names that are remembered from one record to the next, and what they may weigh, bytes: a
/// connection keeps them while it is open.
const NAMES_MAX: usize = 2_048;
const NAMES_BYTES_MAX: usize = 64 << 10;

/// Collects the flat fields of one record; kept and used again for the next, which shares the
/// names of its fields with those before it.
#[derive(Debug, Default)]
pub struct Flat {
    fields: Vec<Field>,
    defects: Defects,
    path: String,
    depth: usize,
    text_bytes: usize,
    names: HashMap<Arc<str>, Place, foldhash::fast::RandomState>,
    names_bytes: usize,
    /// Number of the record at hand.
    record: u64,
}

/// Where a name was used last.
#[derive(Debug)]
struct Place {
    name: Arc<str>,
    record: u64,
    /// Which of its fields.
    field: usize,
}

/// Where the path stood before a key was entered.
#[derive(Debug)]
#[must_use = "give it to leave"]
pub struct Mark(usize);

impl Flat {
    /// Goes below `key`.
    pub fn enter(&mut self, key: &str) -> Mark {
        let mark = Mark(self.path.len());
        if self.depth > 0 {
            self.path.push('.');
        }
        self.path.push_str(key);
        self.depth += 1;
        if self.path.len() > FIELD_NAME_BYTES_MAX {
            let cut = self.path.floor_char_boundary(FIELD_NAME_BYTES_MAX);
            self.path.truncate(cut);
            self.defects.add(Defect::Truncated);
        }
        mark
    }

    /// Back to where [`Self::enter`] was called.
    #[expect(clippy::needless_pass_by_value, reason = "a mark is good once")]
    pub fn leave(&mut self, mark: Mark) {
        self.path.truncate(mark.0);
        self.depth -= 1;
    }

    /// Is this so deep that a container here is to be put as its compact JSON text?
    pub fn is_deepest(&self) -> bool {
        self.depth >= NESTING_MAX
    }

    /// The container at this path was too deep and is put as text.
    pub fn note_too_deep(&mut self) {
        self.defects.add(Defect::TooManyFields);
    }

    /// Something was wrong with a value.
    pub fn note(&mut self, defect: Defect) {
        self.defects.add(defect);
    }

    /// The value at this path; with one that is there already, an array of both.
    pub fn put(&mut self, value: Value) {
        let value = self.bounded(value);
        let at = self.fields.len();
        if let Some(known) = self.names.get_mut(self.path.as_str()) {
            if known.record == self.record {
                if let Some(field) = self.fields.get_mut(known.field) {
                    join(&mut field.value, value, &mut self.defects);
                }
            } else if at < FIELDS_MAX {
                (known.record, known.field) = (self.record, at);
                self.fields.push(Field { name: Arc::clone(&known.name), value });
            } else {
                self.defects.add(Defect::TooManyFields);
            }
        } else if at < FIELDS_MAX {
            let name: Arc<str> = self.path.as_str().into();
            let place = Place { name: Arc::clone(&name), record: self.record, field: at };
            self.names_bytes += name.len();
            self.names.insert(Arc::clone(&name), place);
            self.fields.push(Field { name, value });
        } else {
            self.defects.add(Defect::TooManyFields);
        }
    }

    /// Adds a field that is flat already, e.g. of a context that many records share.
    pub fn put_flat(&mut self, field: &Field) {
        debug_assert_eq!(self.depth, 0, "names are whole only outside of all keys");
        self.path.push_str(&field.name);
        self.put(field.value.clone());
        self.path.clear();
    }

    /// What was collected, to be added to a record that has fields already; empty again for the
    /// next one.
    #[must_use]
    pub fn found(&mut self) -> Found {
        let (fields, defects) = self.take();
        Found { fields, defects }
    }

    /// What was collected; empty again for the next record.
    pub fn take(&mut self) -> (Vec<Field>, Defects) {
        self.path.clear();
        self.depth = 0;
        self.text_bytes = 0;
        self.record += 1;
        if self.names.len() > NAMES_MAX || self.names_bytes > NAMES_BYTES_MAX {
            // Names that never come again, or too large to be kept.
            self.names = HashMap::default();
            self.names_bytes = 0;
        }
        // A copy that is not larger than it must be, since records stay in memory for a while.
        let mut fields = Vec::with_capacity(self.fields.len());
        fields.append(&mut self.fields);
        (fields, std::mem::take(&mut self.defects))
    }

    /// Cuts what would make the texts of a record longer than a line may be.
    fn bounded(&mut self, value: Value) -> Value {
        match value {
            Value::Str(text) => {
                let room = LINE_BYTES_MAX.saturating_sub(self.text_bytes);
                if text.len() <= room {
                    self.text_bytes += text.len();
                    return Value::Str(text);
                }
                self.defects.add(Defect::Truncated);
                self.text_bytes = LINE_BYTES_MAX;
                let mut text = String::from(text);
                text.truncate(text.floor_char_boundary(room));
                Value::str(text)
            }
            Value::Array(mut items) => {
                // Numbers count too: many are larger here than in any text.
                let room = LINE_BYTES_MAX.saturating_sub(self.text_bytes) / size_of::<Value>();
                if items.len() > room {
                    self.defects.add(Defect::Truncated);
                    items.truncate(room);
                }
                self.text_bytes += items.len() * size_of::<Value>();
                Value::Array(items.into_iter().map(|item| self.bounded(item)).collect())
            }
            scalar => scalar,
        }
    }
}

/// Fields that a rule has found in a text.
#[derive(Debug, Default)]
pub struct Found {
    fields: Vec<Field>,
    defects: Defects,
}

impl Found {
    /// None at all?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// They alone.
    #[must_use]
    pub fn into_fields(self) -> Vec<Field> {
        self.fields
    }

    /// Adds them to `record`. A name that it has with another value becomes an array of both.
    pub fn add_to(self, record: &mut Record) {
        record.defects.add_all(self.defects);
        let own = record.fields.len();
        if own == 0 {
            record.fields = self.fields;
            return;
        }
        let places: HashMap<Arc<str>, usize, foldhash::fast::RandomState> = if own > FEW {
            record.fields.iter().enumerate().map(|(at, f)| (Arc::clone(&f.name), at)).collect()
        } else {
            HashMap::default()
        };
        for field in self.fields {
            let at = match places.get(&field.name) {
                None if own <= FEW => {
                    record.fields.iter().take(own).position(|f| f.name == field.name)
                }
                at => at.copied(),
            };
            if let Some(there) = at.and_then(|at| record.fields.get_mut(at)) {
                if there.value != field.value {
                    join(&mut there.value, field.value, &mut record.defects);
                }
            } else if record.fields.len() < FIELDS_MAX {
                record.fields.push(field);
            } else {
                record.defects.add(Defect::TooManyFields);
            }
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, field) in self.fields.iter().enumerate() {
            let space = if at == 0 { "" } else { " " };
            write!(f, "{space}{}={}", field.name, field.value)?;
        }
        Ok(())
    }
}

/// Makes `first` the array of both.
fn join(first: &mut Value, second: Value, defects: &mut Defects) {
    if !matches!(first, Value::Array(_)) {
        *first = Value::Array(vec![std::mem::replace(first, Value::Null)]);
    }
    let Value::Array(items) = first else { return };
    let more = match second {
        Value::Array(more) => more,
        one => vec![one],
    };
    if items.len() + more.len() > ARRAY_ITEMS_MAX {
        defects.add(Defect::TooManyFields);
    }
    let room = ARRAY_ITEMS_MAX.saturating_sub(items.len());
    items.extend(more.into_iter().take(room));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(flat: &mut Flat, path: &[&str], value: Value) {
        let marks: Vec<Mark> = path.iter().map(|key| flat.enter(key)).collect();
        flat.put(value);
        marks.into_iter().rev().for_each(|mark| flat.leave(mark));
    }

    fn names(fields: &[Field]) -> Vec<&str> {
        fields.iter().map(|f| &*f.name).collect()
    }

    #[test]
    fn joins_keys_and_values() {
        let mut flat = Flat::default();
        put(&mut flat, &["a", "b"], Value::Int(1));
        put(&mut flat, &["a.b"], Value::Int(2));
        put(&mut flat, &["a", "b"], Value::Array(vec![Value::Int(3), Value::Null]));
        put(&mut flat, &[""], Value::Bool(true));
        put(&mut flat, &["", "x"], Value::Bool(true));
        let (fields, defects) = flat.take();
        assert_eq!(names(&fields), ["a.b", "", ".x"]);
        let all = [Value::Int(1), Value::Int(2), Value::Int(3), Value::Null];
        assert_eq!(fields[0].value, Value::Array(all.to_vec()));
        assert!(defects.is_empty());
        put(&mut flat, &["a", "b"], Value::Int(1));
        assert!(Arc::ptr_eq(&flat.take().0[0].name, &fields[0].name), "names are shared");
    }

    #[test]
    fn bounds_hold() {
        let mut flat = Flat::default();
        for i in 0..FIELDS_MAX * 2 {
            put(&mut flat, &[&i.to_string()], Value::Int(0));
            put(&mut flat, &[&(i / 2).to_string()], Value::Int(1));
        }
        let (fields, defects) = flat.take();
        assert_eq!(fields.len(), FIELDS_MAX);
        assert!(defects.has(Defect::TooManyFields));
        assert_eq!(
            fields[3].value,
            Value::Array(vec![Value::Int(0), Value::Int(1), Value::Int(1)])
        );

        for _ in 0..ARRAY_ITEMS_MAX * 2 {
            put(&mut flat, &["a"], Value::Null);
        }
        put(
            &mut flat,
            &[&"é".repeat(FIELD_NAME_BYTES_MAX)],
            Value::str("é".repeat(LINE_BYTES_MAX)),
        );
        put(&mut flat, &["later"], Value::str("x"));
        let (fields, defects) = flat.take();
        let lengths: Vec<usize> = fields.iter().map(|f| f.value.to_string().len()).collect();
        assert_eq!(lengths, [ARRAY_ITEMS_MAX * 5 + 1, LINE_BYTES_MAX, 0]);
        assert_eq!(fields[1].name.len(), FIELD_NAME_BYTES_MAX);
        assert!(defects.has(Defect::Truncated) && defects.has(Defect::TooManyFields));
    }
}
