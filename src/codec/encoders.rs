//! The ways to write a column of values: collect, estimate, encode, decode.
//!
//! Each chunk of a pool is written by the encoder that says it will need the fewest bytes. Every
//! encoder gives back the exact spelling; one that cannot does not take part.
//!
//! A new encoder is one type that implements [`Encoder`] and one line in [`ENCODERS`].

#![expect(
    clippy::indexing_slicing,
    reason = "inner loops over values whose bounds were checked at the door; readers of stored \
              bytes use get()"
)]

use std::sync::Arc;

use super::column::{Column, take_column};
use super::integers::{integers_estimate, put_integers, take_integers};
use super::pack::{
    Damage, Read, done, packed_len, put_bytes, put_frame, put_planes, put_varint, take_bytes,
    take_frame, take_planes, take_u8, take_varint,
};
use super::texts::Texts;
use crate::base::limits::COLUMN_BYTES_MAX;

/// The values of one chunk, as encoders see them.
pub(super) struct Values<'a> {
    pub(super) texts: &'a Texts,
    pub(super) ids: Option<Entries<'a>>,
}

/// Where they stand in the segment's dictionary.
pub(super) struct Entries<'a> {
    pub(super) ids: &'a [u32],
    /// How many there are in it.
    pub(super) of: usize,
    pub(super) share: usize,
}

/// Writes a column.
type Write<'a> = Box<dyn FnOnce(&mut Vec<u8>) + 'a>;

/// An encoder's offer: how many bytes it expects to need, and how to write them.
pub(super) struct Offer<'a> {
    estimate: usize,
    write: Write<'a>,
}

impl<'a> Offer<'a> {
    fn new(estimate: usize, write: impl FnOnce(&mut Vec<u8>) + 'a) -> Self {
        Self { estimate, write: Box::new(write) }
    }
}

/// One way to write a column.
pub(super) trait Encoder: Sync {
    /// Its number in the file; never given to another.
    fn tag(&self) -> u8;
    /// Collects what it needs of the values (at least one) and makes an offer; `None` where some
    /// value would not come back as it is.
    fn offer<'a>(&self, values: &Values<'a>) -> Option<Offer<'a>>;
    /// Reads what the offer wrote.
    fn decode(&self, input: &mut &[u8], count: usize, dictionary: &Arc<Texts>) -> Read<Column>;
}

/// All of them; of equal offers the first is taken.
static ENCODERS: &[&dyn Encoder] =
    &[&Same, &Ids, &Integers, &Digits, &Decimals, &Hex, &Uuid, &Prefixed, &Text];

/// Tag of each and what `FORMAT.md` calls it, for the test that reads that.
#[cfg(test)]
pub(super) fn encoders() -> Vec<(u8, &'static str)> {
    let names =
        ["same", "ids", "integers", "digits", "decimals", "hex", "uuid", "prefixed", "text"];
    assert_eq!(names.len(), ENCODERS.len(), "name the new encoder here and in FORMAT.md");
    ENCODERS.iter().map(|encoder| encoder.tag()).zip(names).collect()
}

/// The tag of [`Ids`], which needs the dictionary.
pub(super) const IDS: u8 = 1;

/// The one that wrote a column with this tag.
pub(super) fn encoder_of(tag: u8) -> Option<&'static dyn Encoder> {
    ENCODERS.iter().copied().find(|encoder| encoder.tag() == tag)
}

/// Writes with the encoder of the best offer; its tag.
pub(super) fn put_best(values: &Values<'_>, out: &mut Vec<u8>) -> u8 {
    let (tag, offer) = best(values);
    out.push(tag);
    (offer.write)(out);
    tag
}

fn best<'a>(values: &Values<'a>) -> (u8, Offer<'a>) {
    if let Some(offer) = Same.offer(values) {
        return (Same.tag(), offer);
    }
    let mut best = (Text.tag(), Text::whole(values.texts));
    for encoder in ENCODERS.iter().rev() {
        if let Some(offer) = encoder.offer(values)
            && offer.estimate <= best.1.estimate
        {
            best = (encoder.tag(), offer);
        }
    }
    best
}

/// The value, once.
struct Same;

impl Encoder for Same {
    fn tag(&self) -> u8 {
        0
    }
    fn offer<'a>(&self, values: &Values<'a>) -> Option<Offer<'a>> {
        let first = values.texts.get(0)?;
        values
            .texts
            .iter()
            .all(|text| text == first)
            .then(|| Offer::new(first.len(), move |out| put_bytes(out, first)))
    }
    fn decode(&self, input: &mut &[u8], count: usize, _: &Arc<Texts>) -> Read<Column> {
        Ok(Column::Same(take_bytes(input)?.into(), count))
    }
}

/// Entries of the segment's dictionary.
struct Ids;

impl Encoder for Ids {
    fn tag(&self) -> u8 {
        IDS
    }
    fn offer<'a>(&self, values: &Values<'a>) -> Option<Offer<'a>> {
        let entries = values.ids.as_ref()?;
        let ids = entries.ids;
        let mut counts = vec![0_u32; entries.of];
        for id in ids {
            counts[*id as usize] += 1;
        }
        let estimate = entropy_bytes(&counts, ids.len()) + entries.share + 8;
        Some(Offer::new(estimate, move |out| {
            put_planes(out, &ids.iter().map(|id| u64::from(*id)).collect::<Vec<_>>());
        }))
    }
    fn decode(&self, input: &mut &[u8], count: usize, dictionary: &Arc<Texts>) -> Read<Column> {
        let ids: Option<Vec<u32>> = take_planes(input, count)?
            .into_iter()
            .map(|id| u32::try_from(id).ok().filter(|id| (*id as usize) < dictionary.len()))
            .collect();
        let ids = ids.ok_or(Damage("an entry that the dictionary does not have"))?;
        Ok(Column::Ids(ids, Arc::clone(dictionary)))
    }
}

/// Order-0 entropy of what was counted, bytes.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate"
)]
fn entropy_bytes(counts: &[u32], total: usize) -> usize {
    let total = total as f64;
    let bits: f64 = counts
        .iter()
        .filter(|c| **c > 0)
        .map(|c| f64::from(*c) * (total / f64::from(*c)).log2())
        .sum();
    (bits / 8.0) as usize
}

/// Decimal integers that fit an `i64`, spelled without leading zeros, `+` or `-0`.
struct Integers;

impl Encoder for Integers {
    fn tag(&self) -> u8 {
        2
    }
    fn offer<'a>(&self, values: &Values<'a>) -> Option<Offer<'a>> {
        let numbers: Option<Vec<i64>> = values.texts.iter().map(canonical_integer).collect();
        let numbers = numbers?;
        Some(Offer::new(integers_estimate(&numbers), move |out| put_integers(out, &numbers)))
    }
    fn decode(&self, input: &mut &[u8], count: usize, _: &Arc<Texts>) -> Read<Column> {
        let mut texts = Texts::default();
        for n in take_integers(input, count)? {
            put_decimal(texts.open(), n.unsigned_abs(), n < 0, 0);
            texts.close();
        }
        Ok(Column::Texts(texts))
    }
}

/// Decimal digits of one width, leading zeros kept.
struct Digits;

/// 18 digits always fit an `i64`.
const DIGITS_MAX: usize = 18;

impl Encoder for Digits {
    fn tag(&self) -> u8 {
        3
    }
    fn offer<'a>(&self, values: &Values<'a>) -> Option<Offer<'a>> {
        let width = common_width(values.texts).filter(|w| (1..=DIGITS_MAX).contains(w))?;
        let numbers: Option<Vec<i64>> = values.texts.iter().map(digits).collect();
        let numbers = numbers?;
        Some(Offer::new(integers_estimate(&numbers) + 1, move |out| {
            put_varint(out, width as u64);
            put_integers(out, &numbers);
        }))
    }
    fn decode(&self, input: &mut &[u8], count: usize, _: &Arc<Texts>) -> Read<Column> {
        let width = usize::from(take_u8(input)?);
        if width > DIGITS_MAX {
            return Err(Damage("digits that are too wide"));
        }
        let mut texts = Texts::default();
        for n in take_integers(input, count)? {
            put_decimal(texts.open(), n.unsigned_abs(), false, width);
            texts.close();
        }
        Ok(Column::Texts(texts))
    }
}

/// Decimal fractions of one scale, `-` allowed, spelled without further leading zeros or `-0.0`.
struct Decimals;

impl Encoder for Decimals {
    fn tag(&self) -> u8 {
        4
    }
    fn offer<'a>(&self, values: &Values<'a>) -> Option<Offer<'a>> {
        let first = values.texts.get(0)?;
        let point = first.iter().position(|b| *b == b'.')?;
        let scale = first.len() - point - 1;
        if !(1..DIGITS_MAX).contains(&scale) {
            return None;
        }
        let numbers: Option<Vec<i64>> =
            values.texts.iter().map(|text| fixed_decimal(text, scale)).collect();
        let numbers = numbers?;
        Some(Offer::new(integers_estimate(&numbers) + 1, move |out| {
            put_varint(out, scale as u64);
            put_integers(out, &numbers);
        }))
    }
    fn decode(&self, input: &mut &[u8], count: usize, _: &Arc<Texts>) -> Read<Column> {
        let scale = usize::from(take_u8(input)?);
        if !(1..DIGITS_MAX).contains(&scale) {
            return Err(Damage("a decimal scale beyond its bound"));
        }
        let mut texts = Texts::default();
        for n in take_integers(input, count)? {
            let out = texts.open();
            put_decimal(out, n.unsigned_abs(), n < 0, scale + 1);
            let point = out.len() - scale;
            out.insert(point, b'.');
            texts.close();
        }
        Ok(Column::Texts(texts))
    }
}

/// Hexadecimal digits of one width and one case, packed two to a byte.
struct Hex;

impl Encoder for Hex {
    fn tag(&self) -> u8 {
        5
    }
    fn offer<'a>(&self, values: &Values<'a>) -> Option<Offer<'a>> {
        let texts = values.texts;
        let width = common_width(texts).filter(|w| *w > 0)?;
        let upper = texts.bytes.iter().any(u8::is_ascii_uppercase);
        if !texts.bytes.iter().all(|b| nibble(*b, upper).is_some()) {
            return None;
        }
        Some(Offer::new(texts.total() / 2 + 4, move |out| {
            put_varint(out, width as u64);
            out.push(u8::from(upper));
            put_frame(out, &pack_hex(texts.bytes.iter().filter_map(|b| nibble(*b, upper))));
        }))
    }
    fn decode(&self, input: &mut &[u8], count: usize, _: &Arc<Texts>) -> Read<Column> {
        let width = usize::try_from(take_varint(input)?).map_err(|_| Damage("hex too wide"))?;
        let upper = take_u8(input)? == 1;
        let total = count.checked_mul(width).filter(|n| *n <= COLUMN_BYTES_MAX);
        let total = total.ok_or(Damage("hex too wide"))?;
        let packed = take_frame(input, total.div_ceil(2))?;
        if packed.len() != total.div_ceil(2) || width == 0 {
            return Err(Damage("hex of the wrong length"));
        }
        let mut bytes = unpack_hex(&packed, upper);
        bytes.truncate(total);
        let ends = (1..=count).map(|n| n * width).collect();
        Ok(Column::Texts(Texts { bytes, ends }))
    }
}

/// UUIDs in lower case, packed to 16 bytes.
struct Uuid;

/// Where the hyphens of a UUID stand, and how long it is.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];
const UUID_BYTES: usize = 36;

impl Encoder for Uuid {
    fn tag(&self) -> u8 {
        6
    }
    fn offer<'a>(&self, values: &Values<'a>) -> Option<Offer<'a>> {
        let texts = values.texts;
        common_width(texts).filter(|w| *w == UUID_BYTES)?;
        let fits = |(n, b): (usize, &u8)| {
            if HYPHENS.contains(&n) { *b == b'-' } else { nibble(*b, false).is_some() }
        };
        texts.iter().all(|text| text.iter().enumerate().all(fits)).then(|| {
            Offer::new(texts.len() * 16 + 4, move |out| {
                put_frame(out, &pack_hex(texts.bytes.iter().filter_map(|b| nibble(*b, false))));
            })
        })
    }
    fn decode(&self, input: &mut &[u8], count: usize, _: &Arc<Texts>) -> Read<Column> {
        let total = count.checked_mul(16).ok_or(Damage("too many UUIDs"))?;
        let packed = take_frame(input, total)?;
        if packed.len() != total {
            return Err(Damage("UUIDs of the wrong length"));
        }
        let mut texts = Texts::default();
        for digits in unpack_hex(&packed, false).chunks_exact(32) {
            for (n, digit) in digits.iter().enumerate() {
                if matches!(n, 8 | 12 | 16 | 20) {
                    texts.open().push(b'-');
                }
                texts.open().push(*digit);
            }
            texts.close();
        }
        Ok(Column::Texts(texts))
    }
}

/// A common beginning, then the rest as a column of its own.
struct Prefixed;

impl Encoder for Prefixed {
    fn tag(&self) -> u8 {
        7
    }
    fn offer<'a>(&self, values: &Values<'a>) -> Option<Offer<'a>> {
        let texts = values.texts;
        let first = texts.get(0)?;
        let mut len = first.len();
        for text in texts.iter() {
            len = first[..len].iter().zip(text).take_while(|(a, b)| a == b).count();
            if len == 0 {
                return None;
            }
        }
        // Up to a sign, so that it does not cut into a number or an id.
        let len = first[..len].iter().rposition(|b| !b.is_ascii_alphanumeric() && *b < 0x80)? + 1;
        let (prefix, rest) = (&first[..len], texts.iter().map(|text| &text[len..]).collect());
        let mut inner = Vec::new();
        put_best(&Values { texts: &rest, ids: None }, &mut inner);
        Some(Offer::new(prefix.len() + packed_len(&inner) + 2, move |out| {
            put_bytes(out, prefix);
            out.extend_from_slice(&inner);
        }))
    }
    fn decode(&self, input: &mut &[u8], count: usize, _: &Arc<Texts>) -> Read<Column> {
        let prefix = take_bytes(input)?;
        // A prefix in front of a prefix is never written: it would have been longer.
        if prefix.is_empty() || input.first() == Some(&self.tag()) {
            return Err(Damage("a prefix of nothing"));
        }
        let rest = take_column(input, count, &Arc::default())?;
        let mut texts = Texts::default();
        for text in (0..count).filter_map(|n| rest.get(n)) {
            texts.open().extend_from_slice(prefix);
            texts.push(text);
            if texts.total() > COLUMN_BYTES_MAX {
                return Err(Damage("a column that is too long"));
            }
        }
        Ok(Column::Texts(texts))
    }
}

/// Anything: the values one after the other, each ended by NUL; where one holds a NUL, their
/// lengths apart.
struct Text;

/// How the ends of values are told.
const ENDED: u8 = 0;
const LENGTHS: u8 = 1;

/// Bytes from which the packed size of a text column is guessed.
const TEXT_SAMPLE_BYTES: usize = 8 << 10;

impl Text {
    fn whole(texts: &Texts) -> Offer<'_> {
        let sample = &texts.bytes[..texts.total().min(TEXT_SAMPLE_BYTES)];
        let estimate = packed_len(sample) * texts.total() / sample.len().max(1) + texts.len() / 4;
        Offer::new(estimate, move |out| {
            if memchr::memchr(0, &texts.bytes).is_some() {
                out.push(LENGTHS);
                let lengths: Vec<i64> =
                    texts.iter().map(|text| i64::try_from(text.len()).unwrap_or(0)).collect();
                put_integers(out, &lengths);
                put_frame(out, &texts.bytes);
            } else {
                out.push(ENDED);
                let mut joined = Vec::with_capacity(texts.total() + texts.len());
                for text in texts.iter() {
                    joined.extend_from_slice(text);
                    joined.push(0);
                }
                put_frame(out, &joined);
            }
        })
    }
}

impl Encoder for Text {
    fn tag(&self) -> u8 {
        8
    }
    fn offer<'a>(&self, _: &Values<'a>) -> Option<Offer<'a>> {
        None // It is what every offer is measured against; see `best`.
    }
    fn decode(&self, input: &mut &[u8], count: usize, _: &Arc<Texts>) -> Read<Column> {
        match take_u8(input)? {
            ENDED => {
                let joined = take_frame(input, COLUMN_BYTES_MAX)?;
                let mut texts = Texts::default();
                let mut rest = &joined[..];
                while let Some(end) = memchr::memchr(0, rest) {
                    texts.push(rest.get(..end).unwrap_or_default());
                    rest = rest.get(end + 1..).unwrap_or_default();
                }
                done(rest)?;
                Ok(Column::Texts(texts))
            }
            LENGTHS => {
                let lengths = take_integers(input, count)?;
                let bytes = take_frame(input, COLUMN_BYTES_MAX)?;
                let mut ends = Vec::with_capacity(count);
                let mut end = 0_usize;
                for len in lengths {
                    let len = usize::try_from(len).ok();
                    end = len
                        .and_then(|len| end.checked_add(len))
                        .filter(|end| *end <= bytes.len())
                        .ok_or(Damage("a text beyond its column"))?;
                    ends.push(end);
                }
                if end != bytes.len() {
                    return Err(Damage("text that belongs to no row"));
                }
                Ok(Column::Texts(Texts { bytes, ends }))
            }
            _ => Err(Damage("a text column of an unknown kind")),
        }
    }
}

/// The length of all, where they have one.
fn common_width(texts: &Texts) -> Option<usize> {
    let width = *texts.ends.first()?;
    let even = texts.ends.iter().enumerate().all(|(n, end)| *end == (n + 1) * width);
    even.then_some(width)
}

/// Up to 18 digits.
fn digits(text: &[u8]) -> Option<i64> {
    if text.is_empty() || text.len() > DIGITS_MAX {
        return None;
    }
    text.iter().try_fold(0_i64, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
}

/// An integer that formats back to the same text.
fn canonical_integer(text: &[u8]) -> Option<i64> {
    let (digits_text, negative) = match text {
        [b'-', rest @ ..] => (rest, true),
        _ => (text, false),
    };
    match digits_text {
        [b'0'] if !negative => Some(0),
        [b'1'..=b'9', ..] if digits_text.len() <= DIGITS_MAX => {
            digits(digits_text).map(|n| if negative { -n } else { n })
        }
        [b'1'..=b'9', ..] if digits_text.len() == DIGITS_MAX + 1 => {
            std::str::from_utf8(text).ok()?.parse().ok()
        }
        _ => None,
    }
}

/// A decimal of that scale, as the integer of its digits, where it formats back to the same text.
fn fixed_decimal(text: &[u8], scale: usize) -> Option<i64> {
    let (unsigned, negative) = match text {
        [b'-', rest @ ..] => (rest, true),
        _ => (text, false),
    };
    let point = unsigned.len().checked_sub(scale + 1)?;
    let (whole, fraction) = (&unsigned[..point], &unsigned[point + 1..]);
    let canonical = whole == b"0" || matches!(whole, [b'1'..=b'9', ..]);
    if unsigned[point] != b'.' || !canonical || whole.len() + scale > DIGITS_MAX {
        return None;
    }
    let n = digits(whole)? * 10_i64.pow(u32::try_from(scale).ok()?) + digits(fraction)?;
    match (negative, n) {
        (true, 0) => None,
        (true, n) => Some(-n),
        (false, n) => Some(n),
    }
}

/// Digits of at least `width`, with zeros in front; after `-` where `negative`.
fn put_decimal(out: &mut Vec<u8>, mut n: u64, negative: bool, width: usize) {
    let mut digits = [b'0'; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (n % 10).to_le_bytes()[0];
        n /= 10;
        if n == 0 {
            break;
        }
    }
    if negative {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[start.min(digits.len() - width.min(digits.len()))..]);
}

/// A digit's value, of one case only.
fn nibble(digit: u8, upper: bool) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' if !upper => Some(digit - b'a' + 10),
        b'A'..=b'F' if upper => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn pack_hex(nibbles: impl Iterator<Item = u8>) -> Vec<u8> {
    let mut packed = Vec::new();
    let mut high = None;
    for nibble in nibbles {
        match high.take() {
            None => high = Some(nibble << 4),
            Some(high) => packed.push(high | nibble),
        }
    }
    packed.extend(high);
    packed
}

fn unpack_hex(packed: &[u8], upper: bool) -> Vec<u8> {
    let digits: &[u8; 16] = if upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
    packed.iter().flat_map(|b| [digits[usize::from(b >> 4)], digits[usize::from(b & 15)]]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[&str], encoder: &dyn Encoder) {
        let values: Vec<Vec<u8>> =
            values.iter().chain(values).map(|v| v.as_bytes().to_vec()).collect();
        let texts: Texts = values.iter().map(Vec::as_slice).collect();
        let offer = encoder.offer(&Values { texts: &texts, ids: None });
        let mut out = Vec::new();
        (offer.unwrap_or_else(|| panic!("no offer for {values:?}")).write)(&mut out);
        let column = encoder.decode(&mut &out[..], texts.len(), &Arc::default()).unwrap();
        let back: Vec<&[u8]> = (0..texts.len()).filter_map(|n| column.get(n)).collect();
        assert_eq!(back, values);
    }

    #[test]
    fn encoders_take_what_they_are_for() {
        check(&["x", "x"], &Same);
        check(&["1", "-2", "0", "9223372036854775807", "-9223372036854775808"], &Integers);
        check(&["007", "000", "999"], &Digits);
        check(&["1.50", "-0.01", "0.00", "123.45"], &Decimals);
        check(&["deadbeef", "00000000", "12345678"], &Hex);
        check(&["DEADBEEF1", "000000000"], &Hex);
        check(&["550e8400-e29b-41d4-a716-446655440000"], &Uuid);
        check(&["req-12", "req-ab", "req-"], &Prefixed);
    }

    #[test]
    fn encoders_leave_what_would_not_come_back() {
        let refuse = |values: &[&str], encoder: &dyn Encoder| {
            let texts: Texts = values.iter().map(|v| v.as_bytes()).collect();
            assert!(encoder.offer(&Values { texts: &texts, ids: None }).is_none(), "{values:?}");
        };
        for odd in ["", "-", "-0", "+1", "01", "9223372036854775808", "1 ", "１"] {
            refuse(&["1", odd], &Integers);
        }
        for odd in ["", ".5", "1.", "01.5", "1.55", "-0.0", "1e.5", "12345678901234567890.1"] {
            refuse(&["1.5", odd], &Decimals);
        }
        refuse(&["deadbeef", "DEADBEEF"], &Hex);
        refuse(&["deadbeef", "dead"], &Hex);
        refuse(&["12", "123"], &Digits);
        refuse(&["550E8400-e29b-41d4-a716-446655440000"], &Uuid);
    }
}
