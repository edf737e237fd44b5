//! Fields: shapes, values, and those that a record's own JSON object gives.

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::bytes::{Bytes, meet};
use super::column::{Parents, column, dictionary, place, told};

struct Entry {
    name: String,
    kind: u8,
    source: u8,
    number: usize,
}

/// What the chunks share of fields.
pub(super) struct Shared {
    shapes: Vec<Vec<Entry>>,
    loose: Vec<Vec<u8>>,
    columns: Vec<Vec<Vec<u8>>>,
}

/// The texts of a record, as fields are told by them.
pub(super) struct Texts<'a> {
    pub(super) line: &'a [u8],
    pub(super) message: &'a [u8],
    pub(super) line_slots: &'a [Vec<u8>],
    pub(super) message_slots: &'a [Vec<u8>],
}

impl Shared {
    pub(super) fn read(section: &[u8]) -> Self {
        let mut from = Bytes(section);
        let framed = from.frame();
        let mut head = Bytes(&framed);
        let names: Vec<String> = (0..head.len()).map(|_| head.text()).collect();
        let entry = |head: &mut Bytes<'_>| {
            let (name, kind, source) = (names[head.len()].clone(), head.u8(), head.u8());
            Entry { name, kind, source, number: head.len() }
        };
        let shapes = (0..head.len()).map(|_| (0..head.len()).map(|_| entry(&mut head)).collect());
        let shapes = shapes.collect();
        head.end("the shapes");
        let loose = dictionary(&mut from);
        let columns = (0..from.len()).map(|_| dictionary(&mut from)).collect();
        from.end("what fields share");
        Self { shapes, loose, columns }
    }

    /// The fields of each row of a chunk.
    pub(super) fn rows<'t>(
        &self,
        section: &[u8],
        rows: usize,
        parents: &Parents,
        texts: impl Fn(usize) -> Texts<'t>,
    ) -> Vec<Map<String, Value>> {
        let mut from = Bytes(section);
        let shapes: Vec<usize> = told(&mut from, rows, parents).into_iter().map(place).collect();
        let loose: Vec<usize> = (0..rows).filter(|row| shapes[*row] == 0).collect();
        // Nothing stands beside values of fields.
        let none = Parents::new();
        let mut loose = column(&mut from, &loose, &self.loose, &none).into_iter();
        let columns: Vec<Vec<Vec<u8>>> = (0..)
            .zip(&self.columns)
            .map(|(number, dictionary)| {
                let in_column = |row: &usize| {
                    let is = |entry: &&Entry| entry.source == 1 && entry.number == number;
                    let times = self.shapes[shapes[*row]].iter().filter(is).count();
                    std::iter::repeat_n(*row, times)
                };
                let rows: Vec<usize> = (0..rows).flat_map(|row| in_column(&row)).collect();
                column(&mut from, &rows, dictionary, &none)
            })
            .collect();
        from.end("a chunk's fields");
        let mut columns: Vec<_> = columns.into_iter().map(IntoIterator::into_iter).collect();
        let mut all = Vec::new();
        for (row, shape) in shapes.into_iter().enumerate() {
            let texts = texts(row);
            meet("shape", u8::try_from(shape.min(3)).expect("3"));
            all.push(
                match shape {
                    0 => in_log(&mut Bytes(&loose.next().expect("loose fields"))),
                    1 => derived(texts.line),
                    2 => {
                        let mut fields = derived(texts.line);
                        let is_message = |value: &Value| {
                            value.as_str().is_some_and(|text| text.as_bytes() == texts.message)
                        };
                        let message = fields.iter().position(|(_, value)| is_message(value));
                        fields.remove(message.expect("the message"));
                        fields
                    }
                    _ => {
                        let value = |entry: &Entry| {
                            meet("source", entry.source);
                            let value = match entry.source {
                                0 => Value::Null,
                                1 => {
                                    of_text(entry.kind, &columns[entry.number].next().expect("one"))
                                }
                                2 => of_text(entry.kind, &texts.line_slots[entry.number]),
                                3 => of_text(entry.kind, &texts.message_slots[entry.number]),
                                from @ (4 | 5) => {
                                    let text = if from == 4 { texts.line } else { texts.message };
                                    let found = derived(text);
                                    let own =
                                        found.into_iter().find(|(name, _)| *name == entry.name);
                                    own.expect("a field of its object").1
                                }
                                other => panic!("a source of kind {other}"),
                            };
                            (entry.name.clone(), value)
                        };
                        self.shapes[shape].iter().map(value).collect()
                    }
                }
                .into_iter()
                .collect(),
            );
        }
        all
    }
}

fn of_text(kind: u8, stored: &[u8]) -> Value {
    meet("type", kind);
    let text = String::from_utf8_lossy(stored);
    match kind {
        0 => Value::Null,
        1 => (text == "true").into(),
        2 => text.parse::<i64>().expect("an int").into(),
        3 => text.parse::<u64>().expect("a uint").into(),
        4 => text.parse::<f64>().expect("a float").into(),
        5 => text.into(),
        6 => value_in_log(&mut Bytes(stored)),
        other => panic!("a value of type {other}"),
    }
}

/// Fields as they stand in the log.
pub(super) fn in_log(from: &mut Bytes<'_>) -> Vec<(String, Value)> {
    (0..from.len()).map(|_| (from.text(), value_in_log(from))).collect()
}

fn value_in_log(from: &mut Bytes<'_>) -> Value {
    match from.u8() {
        0 => Value::Null,
        1 => false.into(),
        2 => true.into(),
        3 => from.sig().into(),
        4 => from.var().into(),
        5 => f64::from_bits(from.u64()).into(),
        6 => from.text().into(),
        7 => (0..from.len()).map(|_| value_in_log(from)).collect(),
        other => panic!("a value of kind {other}"),
    }
}

/// The fields of the object that a text ends with.
fn derived(text: &[u8]) -> Vec<(String, Value)> {
    let text = std::str::from_utf8(text).expect("text").trim_ascii_end();
    let braces = text.match_indices('{').take(4).map(|(at, _)| &text[at..]);
    let objects = braces.filter(|object| object[1..].trim_ascii_start().starts_with('"'));
    let read = objects.filter_map(|object| serde_json::from_str::<Members>(object).ok());
    let mut fields = Vec::new();
    for members in read.take(1) {
        flatten(None, members, &mut fields);
    }
    fields
}

fn flatten(path: Option<&str>, members: Members, fields: &mut Vec<(String, Value)>) {
    for (key, value) in members.0 {
        let name = path.map_or_else(|| key.clone(), |path| format!("{path}.{key}"));
        let text = value.get();
        if let Ok(inner) = serde_json::from_str::<Members>(text)
            && !inner.0.is_empty()
        {
            flatten(Some(&name), inner, fields);
            continue;
        }
        let items: Vec<Box<RawValue>> = serde_json::from_str(text).unwrap_or_default();
        let items: Option<Vec<Value>> = items.iter().map(|item| scalar(item.get())).collect();
        let value = match (scalar(text), items) {
            (Some(scalar), _) => scalar,
            (None, Some(items)) if !items.is_empty() => items.into(),
            _ => compact(text).into(),
        };
        let Some((_, before)) = fields.iter_mut().find(|(other, _)| *other == name) else {
            fields.push((name, value));
            continue;
        };
        let list = |value: Value| match value {
            Value::Array(items) => items,
            scalar => vec![scalar],
        };
        *before = Value::Array([list(before.take()), list(value)].concat());
    }
}

/// A value that is neither an object nor an array.
fn scalar(text: &str) -> Option<Value> {
    let is_number = text.starts_with(|sign: char| sign == '-' || sign.is_ascii_digit());
    if is_number && text.contains(['.', 'e', 'E']) {
        return Some(text.parse::<f64>().expect("a float").into());
    }
    let value: Value = serde_json::from_str(text).expect("JSON");
    (!value.is_object() && !value.is_array()).then_some(value)
}

/// JSON without white space between its parts, and only what must be escaped escaped.
fn compact(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            let mut strings = serde_json::Deserializer::from_str(rest).into_iter::<String>();
            let string = strings.next().expect("a string").expect("a string");
            out += &Value::from(string).to_string();
            rest = &rest[strings.byte_offset()..];
        } else {
            out.extend(Some(first).filter(|sign| !sign.is_ascii_whitespace()));
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

/// The members of an object in their order, also of the same key.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Members;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(Read)
    }
}
