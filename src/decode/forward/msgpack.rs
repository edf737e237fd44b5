//! Msgpack under our limits: where a value ends, what it is, what it is as JSON and as fields.
//!
//! `rmp` knows the markers; the rest is here because nothing may be believed before it is seen: a
//! header never makes memory, nesting is counted on a stack of our own, and a value that arrives
//! in a thousand pieces is looked at once.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rmp::Marker;

use crate::base::flatten::Flat;
use crate::base::json::plain_len;
use crate::base::limits::{ARRAY_ITEMS_MAX, MSGPACK_NESTING_MAX};
use crate::base::record::{Defect, Defects};
use crate::base::value::Value;
use crate::decode::Origin;

/// Why some bytes are no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// They end early.
    Short,
    /// The marker 0xc1, which means nothing.
    Reserved,
    /// Deeper than [`MSGPACK_NESTING_MAX`].
    TooDeep,
    /// Longer than it may be, or must become so by what its headers say.
    TooLarge,
}

/// One value, or the header of one that has others in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token<'a> {
    Nil,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Float(f64),
    Str(&'a [u8]),
    Bin(&'a [u8]),
    Ext(i8, &'a [u8]),
    /// So many values follow.
    Array(u32),
    /// So many pairs follow.
    Map(u32),
}

/// A marker with what belongs to it; lengths in bytes, counts in values.
enum Head {
    Whole(Token<'static>),
    Str(u32),
    Bin(u32),
    Ext(u32),
    Array(u32),
    Map(u32),
}

fn be<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Fault> {
    bytes.first_chunk().copied().ok_or(Fault::Short)
}

/// Reads the head at the beginning of `bytes`, and how long it is without what it announces. The
/// type of an ext belongs to what is announced.
fn head(bytes: &[u8]) -> Result<(Head, usize), Fault> {
    use Token::{Bool, Float, Int, Nil};
    let (first, rest) = bytes.split_first().ok_or(Fault::Short)?;
    let u8 = || be(rest).map(|b: [u8; 1]| u32::from(u8::from_be_bytes(b)));
    let u16 = || be(rest).map(|b| u32::from(u16::from_be_bytes(b)));
    let u32 = || be(rest).map(u32::from_be_bytes);
    let uint = |n: u64| i64::try_from(n).map_or(Token::UInt(n), Int);
    let whole = |token, width: usize| Ok((Head::Whole(token), 1 + width));
    match Marker::from_u8(*first) {
        Marker::Reserved => Err(Fault::Reserved),
        Marker::Null => whole(Nil, 0),
        Marker::False => whole(Bool(false), 0),
        Marker::True => whole(Bool(true), 0),
        Marker::FixPos(n) => whole(Int(n.into()), 0),
        Marker::FixNeg(n) => whole(Int(n.into()), 0),
        Marker::U8 => whole(Int(u8()?.into()), 1),
        Marker::U16 => whole(Int(u16()?.into()), 2),
        Marker::U32 => whole(Int(u32()?.into()), 4),
        Marker::U64 => whole(uint(u64::from_be_bytes(be(rest)?)), 8),
        Marker::I8 => whole(Int(i8::from_be_bytes(be(rest)?).into()), 1),
        Marker::I16 => whole(Int(i16::from_be_bytes(be(rest)?).into()), 2),
        Marker::I32 => whole(Int(i32::from_be_bytes(be(rest)?).into()), 4),
        Marker::I64 => whole(Int(i64::from_be_bytes(be(rest)?)), 8),
        Marker::F32 => whole(Float(f32::from_be_bytes(be(rest)?).into()), 4),
        Marker::F64 => whole(Float(f64::from_be_bytes(be(rest)?)), 8),
        Marker::FixStr(len) => Ok((Head::Str(len.into()), 1)),
        Marker::Str8 => Ok((Head::Str(u8()?), 2)),
        Marker::Str16 => Ok((Head::Str(u16()?), 3)),
        Marker::Str32 => Ok((Head::Str(u32()?), 5)),
        Marker::Bin8 => Ok((Head::Bin(u8()?), 2)),
        Marker::Bin16 => Ok((Head::Bin(u16()?), 3)),
        Marker::Bin32 => Ok((Head::Bin(u32()?), 5)),
        Marker::FixExt1 => Ok((Head::Ext(1), 1)),
        Marker::FixExt2 => Ok((Head::Ext(2), 1)),
        Marker::FixExt4 => Ok((Head::Ext(4), 1)),
        Marker::FixExt8 => Ok((Head::Ext(8), 1)),
        Marker::FixExt16 => Ok((Head::Ext(16), 1)),
        Marker::Ext8 => Ok((Head::Ext(u8()?), 2)),
        Marker::Ext16 => Ok((Head::Ext(u16()?), 3)),
        Marker::Ext32 => Ok((Head::Ext(u32()?), 5)),
        Marker::FixArray(n) => Ok((Head::Array(n.into()), 1)),
        Marker::Array16 => Ok((Head::Array(u16()?), 3)),
        Marker::Array32 => Ok((Head::Array(u32()?), 5)),
        Marker::FixMap(n) => Ok((Head::Map(n.into()), 1)),
        Marker::Map16 => Ok((Head::Map(u16()?), 3)),
        Marker::Map32 => Ok((Head::Map(u32()?), 5)),
    }
}

/// Finds the end of one value in bytes that arrive bit by bit; goes on where it stopped.
#[derive(Debug)]
pub(super) struct Scan {
    /// Bytes passed; beyond the buffer where a text is still to come.
    at: usize,
    /// Values still to come, in each container that is open.
    open: Vec<u64>,
    /// The sum of `open`: each is at least one byte.
    owed: u64,
}

impl Default for Scan {
    fn default() -> Self {
        Self { at: 0, open: vec![1], owed: 1 }
    }
}

impl Scan {
    /// How far it has come.
    #[cfg(test)]
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// The length of the value that `bytes` begin with, once it is all there. Until then call it
    /// again with the same bytes and more after them.
    pub(super) fn run(&mut self, bytes: &[u8], max: usize) -> Result<Option<usize>, Fault> {
        loop {
            if self.at as u64 + self.owed > max as u64 {
                return Err(Fault::TooLarge);
            }
            while self.open.last() == Some(&0) {
                self.open.pop();
            }
            let Some(rest) = bytes.get(self.at..) else { return Ok(None) };
            let Some(left) = self.open.last_mut() else { return Ok(Some(self.at)) };
            let (head, len) = match head(rest) {
                Err(Fault::Short) => return Ok(None),
                other => other?,
            };
            *left -= 1;
            self.owed -= 1;
            self.at += len;
            let values = match head {
                Head::Whole(_) => 0,
                Head::Str(len) | Head::Bin(len) => {
                    self.at += len as usize;
                    0
                }
                Head::Ext(len) => {
                    self.at += 1 + len as usize;
                    0
                }
                Head::Array(n) => u64::from(n),
                Head::Map(n) => 2 * u64::from(n),
            };
            if values > 0 {
                self.owed += values;
                self.open.push(values);
                if self.open.len() > MSGPACK_NESTING_MAX {
                    return Err(Fault::TooDeep);
                }
            }
        }
    }
}

/// Reads values one after another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The next value, or the header of the next container.
    pub(super) fn token(&mut self) -> Result<Token<'a>, Fault> {
        let (head, len) = head(self.0)?;
        self.0 = self.0.get(len..).unwrap_or_default();
        Ok(match head {
            Head::Whole(token) => token,
            Head::Str(len) => Token::Str(self.bytes(len)?),
            Head::Bin(len) => Token::Bin(self.bytes(len)?),
            Head::Ext(len) => {
                let [kind] = be(self.bytes(1)?)?;
                Token::Ext(i8::from_be_bytes([kind]), self.bytes(len)?)
            }
            Head::Array(n) => Token::Array(n),
            Head::Map(n) => Token::Map(n),
        })
    }

    /// The bytes of the next value, with all that is in it.
    pub(super) fn value(&mut self) -> Result<&'a [u8], Fault> {
        let before = self.0;
        let mut next = *self;
        if !matches!(next.token()?, Token::Array(_) | Token::Map(_)) {
            *self = next;
            let len = before.len() - next.0.len();
            return before.get(..len).ok_or(Fault::Short);
        }
        let len = Scan::default().run(self.0, usize::MAX)?.ok_or(Fault::Short)?;
        let (value, rest) = self.0.split_at_checked(len).ok_or(Fault::Short)?;
        self.0 = rest;
        Ok(value)
    }

    fn bytes(&mut self, len: u32) -> Result<&'a [u8], Fault> {
        let (bytes, rest) = self.0.split_at_checked(len as usize).ok_or(Fault::Short)?;
        self.0 = rest;
        Ok(bytes)
    }
}

/// Appends `value` as compact JSON in the sender's order. Texts keep their bytes, also those that
/// are not UTF-8; bytes that are no text are base64; numbers that JSON cannot say are texts.
pub(super) fn write_json(
    value: &[u8],
    out: &mut Vec<u8>,
    defects: &mut Defects,
) -> Result<(), Fault> {
    struct Open {
        values: u64,
        left: u64,
        is_map: bool,
    }
    let mut reader = Reader::new(value);
    let mut open: Vec<Open> = Vec::new();
    loop {
        let mut is_key = false;
        if let Some(top) = open.last_mut() {
            is_key = top.is_map && top.left.is_multiple_of(2);
            if top.is_map && !is_key {
                out.push(b':');
            } else if top.left < top.values {
                out.push(b',');
            }
            top.left -= 1;
        }
        if is_key {
            let key = read_key(&mut reader, defects)?;
            write_string(&key, out);
            continue;
        }
        match reader.token()? {
            Token::Str(text) => write_string(text, out),
            Token::Bin(bytes) | Token::Ext(_, bytes) => {
                write_string(text_of_bytes(bytes, defects).as_bytes(), out);
            }
            Token::Array(n) => {
                out.push(b'[');
                open.push(Open { values: n.into(), left: n.into(), is_map: false });
            }
            Token::Map(n) => {
                out.push(b'{');
                let values = 2 * u64::from(n);
                open.push(Open { values, left: values, is_map: true });
            }
            number => match scalar(number) {
                Value::Str(text) => write_string(text.as_bytes(), out),
                value => out.extend_from_slice(value.to_string().as_bytes()),
            },
        }
        while let Some(done) = open.pop_if(|top| top.left == 0) {
            out.push(if done.is_map { b'}' } else { b']' });
        }
        if open.is_empty() {
            return Ok(());
        }
    }
}

/// Puts what the next value says.
pub(super) fn put(reader: &mut Reader<'_>, flat: &mut Flat, origin: &Origin) -> Result<(), Fault> {
    let start = *reader;
    match reader.token()? {
        Token::Map(n) if n > 0 && !flat.is_deepest() => members(n, reader, flat, origin)?,
        Token::Array(n) if n > 0 && n as usize <= ARRAY_ITEMS_MAX && is_flat(n, *reader)? => {
            let mut items = Vec::with_capacity(n as usize);
            for _ in 0..n {
                let item = reader.token()?;
                items.push(leaf(item, flat, origin));
            }
            flat.put(Value::Array(items));
        }
        container @ (Token::Map(_) | Token::Array(_)) => {
            *reader = start;
            let (mut text, mut defects) = (Vec::new(), Defects::default());
            write_json(reader.value()?, &mut text, &mut defects)?;
            if matches!(container, Token::Map(1..)) {
                flat.note_too_deep();
            }
            let value = leaf(Token::Str(&text), flat, origin);
            flat.put(value);
        }
        scalar => {
            let value = leaf(scalar, flat, origin);
            flat.put(value);
        }
    }
    Ok(())
}

/// Puts the `n` pairs of a map.
pub(super) fn members(
    n: u32,
    reader: &mut Reader<'_>,
    flat: &mut Flat,
    origin: &Origin,
) -> Result<(), Fault> {
    for _ in 0..n {
        let mut defects = Defects::default();
        let key = read_key(reader, &mut defects)?;
        let mark = flat.enter(&String::from_utf8_lossy(&key));
        put(reader, flat, origin)?;
        flat.leave(mark);
        defects.iter().for_each(|defect| flat.note(defect));
    }
    Ok(())
}

/// Are the next `n` values all without others in them?
fn is_flat(n: u32, mut reader: Reader<'_>) -> Result<bool, Fault> {
    for _ in 0..n {
        if matches!(reader.token()?, Token::Array(_) | Token::Map(_)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The key that comes next, as text: keys may be anything in msgpack. One that is a container is
/// the base64 of its bytes, so that no key ever nests.
fn read_key<'a>(reader: &mut Reader<'a>, defects: &mut Defects) -> Result<Cow<'a, [u8]>, Fault> {
    let start = *reader;
    Ok(match reader.token()? {
        Token::Str(text) => Cow::Borrowed(text),
        Token::Bin(bytes) | Token::Ext(_, bytes) => match text_of_bytes(bytes, defects) {
            Cow::Borrowed(_) => Cow::Borrowed(bytes),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        },
        Token::Array(_) | Token::Map(_) => {
            *reader = start;
            defects.add(Defect::Binary);
            Cow::Owned(STANDARD.encode(reader.value()?).into_bytes())
        }
        number => Cow::Owned(scalar(number).to_string().into_bytes()),
    })
}

/// The value of a token that is no container.
fn leaf(token: Token<'_>, flat: &mut Flat, origin: &Origin) -> Value {
    match token {
        Token::Str(bytes) => {
            if let Ok(text) = std::str::from_utf8(bytes) {
                return Value::str(text);
            }
            flat.note(Defect::NotUtf8);
            Value::str(origin.decoded(bytes))
        }
        Token::Bin(bytes) | Token::Ext(_, bytes) => {
            let mut defects = Defects::default();
            let text = text_of_bytes(bytes, &mut defects);
            defects.iter().for_each(|defect| flat.note(defect));
            Value::str(text)
        }
        other => scalar(other),
    }
}

/// A bin or an ext: text where it is UTF-8, else base64.
fn text_of_bytes<'a>(bytes: &'a [u8], defects: &mut Defects) -> Cow<'a, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    defects.add(Defect::Binary);
    Cow::Owned(STANDARD.encode(bytes))
}

fn scalar(token: Token<'_>) -> Value {
    match token {
        Token::Bool(b) => Value::Bool(b),
        Token::Int(n) => Value::Int(n),
        Token::UInt(n) => Value::uint(n),
        Token::Float(x) => Value::float(x),
        _ => Value::Null,
    }
}

/// A JSON string of bytes that should be UTF-8; those that are not stay as they are.
fn write_string(text: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let mut rest = text;
    loop {
        let (plain, special) = rest.split_at(plain_len(rest));
        out.extend_from_slice(plain);
        let Some((byte, after)) = special.split_first() else { break };
        out.push(b'\\');
        match byte {
            b'\n' => out.push(b'n'),
            b'\r' => out.push(b'r'),
            b'\t' => out.push(b't'),
            0x08 => out.push(b'b'),
            0x0c => out.push(b'f'),
            0..=0x1f => {
                let digit = |n: u8| HEX.get(usize::from(n)).copied().unwrap_or(b'0');
                out.extend_from_slice(&[b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
            }
            _ => out.push(*byte),
        }
        rest = after;
    }
    out.push(b'"');
}
