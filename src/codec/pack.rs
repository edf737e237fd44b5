//! Numbers and bytes as they stand in a section: varints, zigzag, byte planes, checksums, frames.
//!
//! The lowest layer of the codec and the only door to zstd for columns. Writers cannot fail;
//! readers take from the front of a slice and answer [`Damage`] instead of trusting any length.

use std::cell::RefCell;

use super::Strength;
use super::bins::{pack_bins, take_bins};
use crate::base::error::Error;
use crate::base::limits::{COLUMN_BYTES_MAX, PACK_FRAME_BYTES_MAX};

/// What was found wrong; the caller adds the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damage(pub(super) &'static str);

impl Damage {
    /// With its place, as everybody else sees it.
    pub(super) fn at(self, place: &str) -> Error {
        Error::corrupt(place, self.0)
    }
}

/// What reading answers.
pub(super) type Read<T> = Result<T, Damage>;

/// zstd levels: of numbers always, as more brings hardly any byte there; of texts where there is
/// time (engine.md 3.5). Level 19 took as long as all of a merge.
const LEVEL: i32 = 3;
const TEXT_LEVEL: i32 = 15;

/// Shorter than this, a zstd frame's own header eats what it saves.
const ZSTD_BYTES_MIN: usize = 48;

/// A column's frame that is shorter than this is stored as it is: the section around it is packed
/// as a whole, and many small things pack better together.
const COLUMN_ZSTD_BYTES_MIN: usize = 4 << 10;

/// Bytes of a varint at most: 64 bits in sevens.
const VARINT_BYTES_MAX: u32 = 10;

/// How the bytes of a frame piece are kept. A flag, never told by the lengths (trap T1).
const STORED: u8 = 0;
const ZSTD: u8 = 1;

/// In place of the width of planes: a stream of bins of `u32`, or of `u64`.
const BINS: u8 = 9;
const WIDE_BINS: u8 = 10;

/// LEB128: seven bits a byte, lowest first, the high bit says that more follow.
pub(super) fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n.to_le_bytes()[0] | 0x80);
        n >>= 7;
    }
    out.push(n.to_le_bytes()[0]);
}

/// A length or count.
pub(super) fn put_len(out: &mut Vec<u8>, n: usize) {
    put_varint(out, n as u64);
}

/// A signed number: zigzag, then varint.
pub(super) fn put_signed(out: &mut Vec<u8>, n: i64) {
    put_varint(out, zigzag(n));
}

/// Length, then the bytes.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_len(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Small numbers of both signs as small numbers.
pub(super) fn zigzag(n: i64) -> u64 {
    (n.cast_unsigned() << 1) ^ (n >> 63).cast_unsigned()
}

/// The inverse of [`zigzag`].
pub(super) fn unzigzag(n: u64) -> i64 {
    (n >> 1).cast_signed() ^ -(n & 1).cast_signed()
}

/// One byte.
pub(super) fn take_u8(input: &mut &[u8]) -> Read<u8> {
    let (&first, rest) = input.split_first().ok_or(Damage("ends early"))?;
    *input = rest;
    Ok(first)
}

/// A varint.
pub(super) fn take_varint(input: &mut &[u8]) -> Read<u64> {
    let mut n = 0_u64;
    for i in 0..VARINT_BYTES_MAX {
        let byte = take_u8(input)?;
        let bits = u64::from(byte & 0x7f);
        if i == VARINT_BYTES_MAX - 1 && bits > 1 {
            break;
        }
        n |= bits << (7 * i);
        if byte < 0x80 {
            return Ok(n);
        }
    }
    Err(Damage("a number is too long"))
}

/// A signed varint.
pub(super) fn take_signed(input: &mut &[u8]) -> Read<i64> {
    take_varint(input).map(unzigzag)
}

/// A length or count, not above `max`.
pub(super) fn take_len(input: &mut &[u8], max: usize) -> Read<usize> {
    usize::try_from(take_varint(input)?)
        .ok()
        .filter(|n| *n <= max)
        .ok_or(Damage("a length is beyond its bound"))
}

/// Exactly `n` bytes.
pub(super) fn take_exact<'a>(input: &mut &'a [u8], n: usize) -> Read<&'a [u8]> {
    let (head, rest) = input.split_at_checked(n).ok_or(Damage("ends early"))?;
    *input = rest;
    Ok(head)
}

/// Length, then that many bytes.
pub(super) fn take_bytes<'a>(input: &mut &'a [u8]) -> Read<&'a [u8]> {
    let n = take_len(input, input.len())?;
    take_exact(input, n)
}

/// Length-prefixed text.
pub(super) fn take_str<'a>(input: &mut &'a [u8]) -> Read<&'a str> {
    std::str::from_utf8(take_bytes(input)?).map_err(|_| Damage("text is not UTF-8"))
}

/// Four bytes, little-endian.
pub(super) fn take_u32(input: &mut &[u8]) -> Read<u32> {
    let bytes = take_exact(input, 4)?;
    Ok(bytes.iter().rev().fold(0, |n, b| n << 8 | u32::from(*b)))
}

/// Nothing may be left.
pub(super) fn done(input: &[u8]) -> Read<()> {
    if input.is_empty() { Ok(()) } else { Err(Damage("holds more than it should")) }
}

/// The checksum of every section: CRC-32 (IEEE).
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

thread_local! {
    /// One context a thread and level: making one costs more than packing a small column.
    static PACKER: RefCell<Option<zstd::bulk::Compressor<'static>>> =
        RefCell::new(zstd::bulk::Compressor::new(LEVEL).ok());
    static TEXT_PACKER: RefCell<Option<zstd::bulk::Compressor<'static>>> =
        RefCell::new(zstd::bulk::Compressor::new(TEXT_LEVEL).ok());
    static UNPACKER: RefCell<Option<zstd::bulk::Decompressor<'static>>> =
        RefCell::new(zstd::bulk::Decompressor::new().ok());
}

/// Bytes of a column as a frame: total length, then pieces of up to [`PACK_FRAME_BYTES_MAX`]
/// each, packed where that is smaller. The same bytes and level always give the same frame.
pub(super) fn put_frame(out: &mut Vec<u8>, bytes: &[u8]) {
    put_pieces(out, bytes, |piece| pack_column(piece, Strength::Quick));
}

/// The same of texts, which pack better where there is time.
pub(super) fn put_text(out: &mut Vec<u8>, bytes: &[u8], strength: Strength) {
    put_pieces(out, bytes, |piece| pack_column(piece, strength));
}

/// The same of bytes that do not pack.
pub(super) fn put_stored(out: &mut Vec<u8>, bytes: &[u8]) {
    put_pieces(out, bytes, |_| None);
}

/// A whole section as a frame.
pub(super) fn pack_section(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_pieces(&mut out, bytes, |piece| pack(piece, Strength::Quick));
    out
}

/// About how many bytes these take in a packed section.
pub(super) fn packed_len(bytes: &[u8]) -> usize {
    let piece = bytes.get(..PACK_FRAME_BYTES_MAX).unwrap_or(bytes);
    pack(piece, Strength::Quick).map_or(piece.len(), |packed| packed.len())
}

fn put_pieces(out: &mut Vec<u8>, bytes: &[u8], pack: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    put_len(out, bytes.len());
    for piece in bytes.chunks(PACK_FRAME_BYTES_MAX) {
        if let Some(packed) = pack(piece) {
            out.push(ZSTD);
            put_bytes(out, &packed);
        } else {
            out.push(STORED);
            out.extend_from_slice(piece);
        }
    }
}

fn pack_column(piece: &[u8], strength: Strength) -> Option<Vec<u8>> {
    if piece.len() < COLUMN_ZSTD_BYTES_MIN { None } else { pack(piece, strength) }
}

/// `None` where packing does not make it smaller.
fn pack(piece: &[u8], strength: Strength) -> Option<Vec<u8>> {
    if piece.len() < ZSTD_BYTES_MIN {
        return None;
    }
    let packer = match strength {
        Strength::Quick => &PACKER,
        Strength::Strong => &TEXT_PACKER,
    };
    packer
        .with_borrow_mut(|packer| packer.as_mut()?.compress(piece).ok())
        .filter(|p| p.len() < piece.len())
}

/// The bytes of a frame, of which there may be at most `max`.
pub(super) fn take_frame(input: &mut &[u8], max: usize) -> Read<Vec<u8>> {
    let total = take_len(input, max)?;
    let mut bytes = Vec::new();
    while bytes.len() < total {
        let len = (total - bytes.len()).min(PACK_FRAME_BYTES_MAX);
        match take_u8(input)? {
            STORED => bytes.extend_from_slice(take_exact(input, len)?),
            ZSTD => {
                let packed = take_bytes(input)?;
                let piece = UNPACKER
                    .with_borrow_mut(|unpacker| unpacker.as_mut()?.decompress(packed, len).ok())
                    .filter(|piece| piece.len() == len)
                    .ok_or(Damage("a zstd frame does not unpack"))?;
                bytes.extend_from_slice(&piece);
            }
            _ => return Err(Damage("a frame piece of an unknown kind")),
        }
    }
    Ok(bytes)
}

/// Passes over a frame, unread.
pub(super) fn skip_frame(input: &mut &[u8]) -> Read<()> {
    let total = take_len(input, COLUMN_BYTES_MAX)?;
    let mut left = total;
    while left > 0 {
        let len = left.min(PACK_FRAME_BYTES_MAX);
        match take_u8(input)? {
            STORED => take_exact(input, len)?,
            ZSTD => take_bytes(input)?,
            _ => return Err(Damage("a frame piece of an unknown kind")),
        };
        left -= len;
    }
    Ok(())
}

/// Passes over planes, unread.
pub(super) fn skip_planes(input: &mut &[u8]) -> Read<()> {
    match take_u8(input)? {
        BINS | WIDE_BINS => take_bytes(input).map(|_| ()),
        width => (0..width).try_for_each(|_| skip_frame(input)),
    }
}

/// Numbers as byte planes: the width of the largest in bytes, then a frame of all lowest bytes,
/// one of all second ones, … Planes that hardly change cost hardly anything once packed.
pub(super) fn put_planes(out: &mut Vec<u8>, numbers: &[u64]) {
    let most = numbers.iter().fold(0, |all, n| all | n);
    let width = (0_u8..8).find(|w| most >> (8 * w) == 0).unwrap_or(8);
    out.push(width);
    let mut bytes = Vec::with_capacity(numbers.len());
    for plane in 0..width {
        bytes.clear();
        bytes.extend(numbers.iter().map(|n| (n >> (8 * plane)).to_le_bytes()[0]));
        put_frame(out, &bytes);
    }
}

/// The same, or a stream of bins where there is time and that is smaller.
pub(super) fn put_numbers(out: &mut Vec<u8>, numbers: &[u64], strength: Strength) {
    let start = out.len();
    put_planes(out, numbers);
    if strength == Strength::Quick {
        return;
    }
    let planes = out.get(start..).map_or(0, packed_column_len);
    if let Some((wide, bytes)) = pack_bins(numbers).filter(|(_, bytes)| bytes.len() + 4 < planes) {
        out.truncate(start);
        out.push(if wide { WIDE_BINS } else { BINS });
        put_bytes(out, &bytes);
    }
}

/// What a column will take, which is packed once more where it is small.
pub(super) fn packed_column_len(bytes: &[u8]) -> usize {
    if bytes.len() < COLUMN_ZSTD_BYTES_MIN { packed_len(bytes) } else { bytes.len() }
}

/// `count` numbers from their planes, or bins.
pub(super) fn take_planes(input: &mut &[u8], count: usize) -> Read<Vec<u64>> {
    let width = take_u8(input)?;
    if let BINS | WIDE_BINS = width {
        return take_bins(take_bytes(input)?, width == WIDE_BINS, count);
    }
    if width > 8 {
        return Err(Damage("numbers wider than 8 bytes"));
    }
    let mut numbers = vec![0_u64; count];
    for plane in 0..width {
        let bytes = take_frame(input, count)?;
        if bytes.len() != count {
            return Err(Damage("planes of the wrong length"));
        }
        for (n, byte) in numbers.iter_mut().zip(bytes) {
            *n |= u64::from(byte) << (8 * plane);
        }
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(n: u64, s: i64) {
            let mut out = Vec::new();
            put_varint(&mut out, n);
            put_signed(&mut out, s);
            let mut input = &out[..];
            prop_assert_eq!(take_varint(&mut input), Ok(n));
            prop_assert_eq!(take_signed(&mut input), Ok(s));
            prop_assert!(input.is_empty());
        }

        #[test]
        fn planes_and_frames_come_back(numbers: Vec<u64>, shift in 0_u32..64) {
            let numbers: Vec<u64> = numbers.into_iter().map(|n| n >> shift).collect();
            let mut out = Vec::new();
            put_planes(&mut out, &numbers);
            let mut behind = &out[..];
            prop_assert_eq!(skip_planes(&mut behind), Ok(()));
            prop_assert!(behind.is_empty());
            prop_assert_eq!(take_planes(&mut &out[..], numbers.len()), Ok(numbers));
        }

        #[test]
        fn garbage_is_damage_never_a_panic(bytes: Vec<u8>, count in 0_usize..100) {
            drop(take_planes(&mut &bytes[..], count));
            drop(take_frame(&mut &bytes[..], 1 << 16));
            let text = take_str(&mut &bytes[..]);
            prop_assert!(text.is_err() || text.is_ok_and(|text| text.len() < bytes.len()));
        }
    }

    #[test]
    fn a_frame_of_several_pieces_comes_back() {
        for len in
            [0, 1, COLUMN_ZSTD_BYTES_MIN, PACK_FRAME_BYTES_MAX, PACK_FRAME_BYTES_MAX + 1, 3 << 20]
        {
            let bytes: Vec<u8> = (0..len).map(|i| (i / 100 % 251).to_le_bytes()[0]).collect();
            let mut out = Vec::new();
            put_frame(&mut out, &bytes);
            let mut input = &out[..];
            assert_eq!(take_frame(&mut input, len).as_deref(), Ok(&bytes[..]));
            assert!(input.is_empty());
            if len > 0 {
                assert!(take_frame(&mut &out[..], len - 1).is_err(), "the bound holds");
            }
        }
    }

    #[test]
    fn a_varint_beyond_64_bits_is_damage() {
        assert!(take_varint(&mut &[0xff; 10][..]).is_err());
        assert!(take_varint(&mut &[0x80; 3][..]).is_err());
    }
}
