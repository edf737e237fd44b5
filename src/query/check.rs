//! A query made ready, asked of one record in memory; `select` asks it of a chunk.
//!
//! `plan` builds it; nothing here looks at more than one record.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::ops::Range;

use regex::Regex;

use super::field::{Builtin, Keys, Number, gravity};
use super::select::named;
use crate::base::find::{Finder, is_glob};
use crate::base::fold::{Folder, Mapped, fold_into};
use crate::base::record::{Record, Severity};
use crate::base::time::Timestamp;
use crate::base::value::Value;

/// What a record must be.
#[derive(Clone, Debug)]
pub(super) enum Check {
    All,
    And(Vec<Check>),
    Or(Vec<Check>),
    Not(Box<Check>),
    /// In the message, the host, the app, or a field.
    Text(Finder),
    /// In the message.
    Regex(Regex),
    Field(FieldCheck),
    /// A name that no one has been able to look up: `field` where the row has such a key.
    Either {
        keys: Keys,
        field: Box<Check>,
        text: Box<Check>,
    },
}

/// What one of some values of a record must be.
#[derive(Clone, Debug)]
pub(super) struct FieldCheck {
    pub(super) builtin: Option<Builtin>,
    pub(super) keys: Keys,
    pub(super) wanted: Wanted,
}

#[derive(Clone, Debug)]
pub(super) enum Wanted {
    Any,
    OneOf(Vec<Item>),
    Containing(Finder),
    Matching(Regex),
}

/// What a whole value must be.
#[derive(Clone, Debug)]
pub(super) enum Item {
    /// This text when both are folded, this number, or an address of this network.
    Same { folded: String, number: Option<Number>, network: Option<Network> },
    /// This text to the letter.
    Exactly(String),
    /// Folded, with `*`.
    Like(String),
    /// A number between two.
    Numbers(Option<(Number, bool)>, Option<(Number, bool)>),
    /// A folded text between two.
    Texts(Option<(String, bool)>, Option<(String, bool)>),
}

/// An address, or all that share its first bits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Network {
    bits: u128,
    length: u8,
    v4: bool,
}

impl Network {
    /// `10.0.0.0/8`, `2001:db8::/32`, `::1`.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/').map_or((text, None), |(a, l)| (a, Some(l)));
        let (bits, v4) = address_bits(address)?;
        let width = if v4 { 32 } else { 128 };
        let length = match length {
            None => width,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
            Some(_) => return None,
        };
        (length <= width).then_some(Self { bits, length, v4 })
    }

    fn has(self, address: &str) -> bool {
        let Some((bits, v4)) = address_bits(address).filter(|a| a.1 == self.v4) else {
            return false;
        };
        let width = if v4 { 32 } else { 128 };
        let shift = u32::from(width - self.length);
        let cut = |bits: u128| bits.checked_shr(shift).unwrap_or(0);
        cut(bits) == cut(self.bits)
    }
}

/// The bits of an address, and whether it is one of version 4 (also written as one of 6).
fn address_bits(text: &str) -> Option<(u128, bool)> {
    if !text.starts_with(|c: char| c.is_ascii_hexdigit() || c == ':') {
        return None;
    }
    Some(match text.parse::<IpAddr>().ok()?.to_canonical() {
        IpAddr::V4(address) => (u32::from(address).into(), true),
        IpAddr::V6(address) => (u128::from(address), false),
    })
}

/// Buffers of a scan, and what is known of the row at hand.
#[derive(Default)]
pub(super) struct Scratch {
    message: String,
    message_is_folded: bool,
    folder: Folder,
    text: String,
}

/// One value, as checks see it.
#[derive(Clone, Copy)]
pub(super) enum Seen<'v> {
    Text(&'v str),
    Value(&'v Value),
    Severity(Severity),
    Time(Timestamp),
    Id(u64),
}

impl Check {
    /// Does it hold for this record?
    pub(super) fn holds(&self, record: &Record, scratch: &mut Scratch) -> bool {
        scratch.message_is_folded = false;
        self.ask(record, scratch)
    }

    fn ask(&self, record: &Record, scratch: &mut Scratch) -> bool {
        match self {
            Self::All => true,
            Self::And(checks) => checks.iter().all(|check| check.ask(record, scratch)),
            Self::Or(checks) => checks.iter().any(|check| check.ask(record, scratch)),
            Self::Not(check) => !check.ask(record, scratch),
            Self::Text(finder) => text_is_in(finder, record, scratch),
            Self::Regex(regex) => regex.is_match(record.message()),
            Self::Field(check) => check.ask(record, scratch),
            Self::Either { keys, field, text } => {
                let known = record.fields.iter().any(|f| keys.has(&f.name));
                if known { field.ask(record, scratch) } else { text.ask(record, scratch) }
            }
        }
    }
}

impl Check {
    /// Where its texts stand in a message; what is negated is not looked for.
    pub(super) fn places(&self, text: &str, mapped: &Mapped, found: &mut Vec<Range<usize>>) {
        match self {
            Self::And(checks) | Self::Or(checks) => {
                for check in checks {
                    check.places(text, mapped, found);
                }
            }
            Self::Text(finder) => finder_places(finder, text, mapped, found),
            Self::Regex(regex) => regex_places(regex, text, found),
            Self::Field(FieldCheck { builtin: Some(Builtin::Message), wanted, .. }) => match wanted
            {
                Wanted::Containing(finder) => finder_places(finder, text, mapped, found),
                Wanted::Matching(regex) => regex_places(regex, text, found),
                Wanted::Any | Wanted::OneOf(_) => {}
            },
            Self::Either { text: as_text, .. } => as_text.places(text, mapped, found),
            Self::All | Self::Not(_) | Self::Field(_) => {}
        }
    }
}

fn finder_places(finder: &Finder, text: &str, mapped: &Mapped, found: &mut Vec<Range<usize>>) {
    let haystack = if finder.folds() { mapped.folded() } else { text };
    let mut at = 0;
    while let Some(range) = finder.next(haystack, at).filter(|r| !r.is_empty()) {
        at = range.end;
        found.push(if finder.folds() { mapped.original(&range) } else { range });
    }
}

fn regex_places(regex: &Regex, text: &str, found: &mut Vec<Range<usize>>) {
    found.extend(regex.find_iter(text).map(|m| m.range()).filter(|r| !r.is_empty()));
}

/// Message, host, app, then the values of fields.
fn text_is_in(finder: &Finder, record: &Record, scratch: &mut Scratch) -> bool {
    let message = record.message();
    if finder.folds() {
        if !scratch.message_is_folded {
            scratch.message.clear();
            fold_into(message, &mut scratch.message);
            scratch.message_is_folded = true;
        }
        if finder.is_in(&scratch.message) {
            return true;
        }
    } else if finder.is_in(message) {
        return true;
    }
    finds(finder, &record.host, &mut scratch.folder)
        || finds(finder, &record.app, &mut scratch.folder)
        || record.fields.iter().any(|f| value_holds(finder, &f.value, scratch))
}

fn finds(finder: &Finder, text: &str, folder: &mut Folder) -> bool {
    finder.is_in(if finder.folds() { folder.fold(text) } else { text })
}

fn value_holds(finder: &Finder, value: &Value, scratch: &mut Scratch) -> bool {
    match value {
        Value::Str(text) => finds(finder, text, &mut scratch.folder),
        Value::Array(items) => items.iter().any(|item| value_holds(finder, item, scratch)),
        other => finds(finder, print(other, &mut scratch.text), &mut scratch.folder),
    }
}

/// A value as text, in a buffer.
fn print(value: impl std::fmt::Display, buffer: &mut String) -> &str {
    buffer.clear();
    match write!(buffer, "{value}") {
        // Writing to a string fails only where a `Display` does, and ours do not.
        Ok(()) | Err(std::fmt::Error) => buffer,
    }
}

impl FieldCheck {
    fn ask(&self, record: &Record, scratch: &mut Scratch) -> bool {
        if let Some(builtin) = self.builtin
            && self.builtin_holds(builtin, record, scratch)
        {
            return true;
        }
        if self.keys == Keys::None {
            return false;
        }
        let mut named = record.fields.iter().filter(|f| self.keys.has(&f.name));
        named.any(|f| self.wanted.is(Seen::Value(&f.value), scratch))
    }

    fn builtin_holds(&self, builtin: Builtin, record: &Record, scratch: &mut Scratch) -> bool {
        if let Some(name) = named(builtin) {
            return name.of(record).is_some_and(|text| self.wanted.is(Seen::Text(text), scratch));
        }
        let mut is = |seen: Seen<'_>| self.wanted.is(seen, scratch);
        match builtin {
            Builtin::Id => is(Seen::Id(record.id)),
            Builtin::Time => is(Seen::Time(record.time)),
            Builtin::Message => is(Seen::Text(record.message())),
            Builtin::Severity => record.severity.is_some_and(|s| is(Seen::Severity(s))),
            rare => self.wanted.is_of_record(rare, record, scratch),
        }
    }
}

impl Wanted {
    /// Is it of what a record has besides names, severity and message?
    pub(super) fn is_of_record(
        &self,
        builtin: Builtin,
        record: &Record,
        scratch: &mut Scratch,
    ) -> bool {
        match builtin {
            Builtin::Received => self.is(Seen::Time(record.received), scratch),
            Builtin::Defect => {
                record.defects.iter().any(|d| self.is(Seen::Text(d.code()), scratch))
            }
            _ => false,
        }
    }

    /// Is it of this value?
    pub(super) fn is(&self, seen: Seen<'_>, scratch: &mut Scratch) -> bool {
        if let Seen::Value(Value::Array(items)) = seen {
            return items.iter().any(|item| self.is(Seen::Value(item), scratch));
        }
        match self {
            Self::Any => true,
            Self::OneOf(items) => items.iter().any(|item| item.is(seen, scratch)),
            Self::Containing(finder) => {
                let Scratch { folder, text, .. } = scratch;
                finds(finder, seen.text(text), folder)
            }
            Self::Matching(regex) => regex.is_match(seen.text(&mut scratch.text)),
        }
    }
}

impl Item {
    fn is(&self, seen: Seen<'_>, scratch: &mut Scratch) -> bool {
        let Scratch { folder, text, .. } = scratch;
        match self {
            Self::Same { folded, number, network } => {
                if let Some(number) = number
                    && seen.number().is_some_and(|n| n.order(*number).is_eq())
                {
                    return true;
                }
                let text = seen.text(text);
                folder.fold(text) == folded || network.is_some_and(|n| n.has(text.trim()))
            }
            Self::Exactly(exact) => seen.text(text) == exact,
            Self::Like(pattern) => is_glob(pattern, folder.fold(seen.text(text))),
            Self::Numbers(low, high) => seen.number().is_some_and(|n| {
                low.is_none_or(|(at, inclusive)| {
                    let order = n.order(at);
                    order.is_gt() || (inclusive && order.is_eq())
                }) && high.is_none_or(|(at, inclusive)| {
                    let order = n.order(at);
                    order.is_lt() || (inclusive && order.is_eq())
                })
            }),
            Self::Texts(low, high) => {
                let text = folder.fold(seen.text(text));
                let above = |(at, inclusive): &(String, bool)| {
                    text > at.as_str() || (*inclusive && text == at)
                };
                let below = |(at, inclusive): &(String, bool)| {
                    text < at.as_str() || (*inclusive && text == at)
                };
                low.as_ref().is_none_or(above) && high.as_ref().is_none_or(below)
            }
        }
    }
}

impl<'v> Seen<'v> {
    fn text<'b>(self, buffer: &'b mut String) -> &'b str
    where
        'v: 'b,
    {
        match self {
            Self::Text(text) => text,
            Self::Value(Value::Str(text)) => text,
            Self::Value(value) => print(value, buffer),
            Self::Severity(severity) => severity.name(),
            Self::Time(time) => print(time, buffer),
            Self::Id(id) => print(id, buffer),
        }
    }

    fn number(self) -> Option<Number> {
        match self {
            Self::Text(text) => Number::read(text),
            Self::Value(Value::Str(text)) => Number::read(text),
            Self::Value(Value::Int(n)) => Some(Number::Int((*n).into())),
            Self::Value(Value::UInt(n)) => Some(Number::Int((*n).into())),
            Self::Value(Value::Float(x)) => Some(Number::Float(*x)),
            Self::Value(_) => None,
            Self::Severity(severity) => Some(Number::Int(gravity(severity))),
            Self::Time(time) => Some(Number::Int(time.0.into())),
            Self::Id(id) => Some(Number::Int(id.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_addresses() {
        let check = |network: &str, address: &str, want: bool| {
            assert_eq!(Network::read(network).unwrap().has(address), want, "{network} {address}");
        };
        check("10.0.0.0/8", "10.1.2.3", true);
        check("10.0.0.0/8", "11.1.2.3", false);
        check("10.0.0.0/8", "::ffff:10.1.2.3", true);
        check("0.0.0.0/0", "255.255.255.255", true);
        check("0.0.0.0/0", "::1", false);
        check("2001:db8::/32", "2001:db8:1::5", true);
        check("2001:db8::/32", "2001:db9::5", false);
        check("::/0", "::1", true);
        check("10.1.2.3", "10.1.2.3", true);
        check("10.1.2.3/32", "10.1.2.4", false);
        check("10.0.0.0/8", "10.1.2", false);
        for wrong in ["10.0.0.0/33", "10.0.0/8", "a/8", "::/129", "10.0.0.0/-1", "10.0.0.0/"] {
            assert_eq!(Network::read(wrong), None, "{wrong}");
        }
    }
}
