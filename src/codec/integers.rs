//! Lists of integers as offsets or differences, in byte planes.
//!
//! Stands below the columns: ids, times and codes are such lists themselves, texts that are
//! numbers become some (`numbers`).

use super::Strength;
use super::pack::{
    Damage, Read, packed_column_len, put_numbers, put_signed, put_varint, take_planes, take_signed,
    take_u8, take_varint, unzigzag, zigzag,
};

/// How integers stand: their distance from the smallest, or from the one before.
const OFFSETS: u8 = 0;
const DELTAS: u8 = 1;

/// Integers, exact whatever they are, ready to be written: kind, smallest, unit (all distances
/// are multiples of it), largest, then planes of offsets, or of zigzagged differences of offsets.
#[derive(Debug)]
pub(super) struct Integers {
    kind: u8,
    base: i64,
    unit: u64,
    /// In units.
    offsets: Vec<u64>,
    most: u64,
    estimate: usize,
}

impl Integers {
    /// Looks for what they have in common.
    pub(super) fn of(numbers: &[i64]) -> Self {
        let base = numbers.iter().copied().min().unwrap_or(0);
        let mut unit = 0;
        let mut offsets: Vec<u64> =
            numbers.iter().map(|n| n.wrapping_sub(base).cast_unsigned()).collect();
        for n in &offsets {
            if unit == 1 {
                break;
            }
            unit = gcd(*n, unit);
        }
        let unit = unit.max(1);
        if unit > 1 {
            for n in &mut offsets {
                *n /= unit;
            }
        }
        let most = offsets.iter().copied().max().unwrap_or(0);
        let looked = offsets.get(..SAMPLE).unwrap_or(&offsets);
        let plain = planes_entropy(looked.iter().copied());
        let deltas = planes_entropy(differences(looked.iter().copied()));
        let kind = if deltas < plain { DELTAS } else { OFFSETS };
        let estimate = plain.min(deltas) * offsets.len() / looked.len().max(1) + HEAD_BYTES;
        Self { kind, base, unit, offsets, most, estimate }
    }

    /// Bytes that they will need, about.
    pub(super) fn estimate(&self) -> usize {
        self.estimate
    }

    /// Writes them.
    pub(super) fn put(self, strength: Strength, out: &mut Vec<u8>) {
        let start = out.len();
        self.put_as(self.kind, strength, out);
        if strength == Strength::Strong && self.kind == DELTAS {
            // Bins find differences by themselves.
            let deltas = out.get(start..).map_or(0, packed_column_len);
            let mut plain = Vec::new();
            self.put_as(OFFSETS, strength, &mut plain);
            if packed_column_len(&plain) < deltas {
                out.truncate(start);
                out.extend_from_slice(&plain);
            }
        }
    }

    fn put_as(&self, kind: u8, strength: Strength, out: &mut Vec<u8>) {
        out.push(kind);
        put_signed(out, self.base);
        put_varint(out, self.unit);
        put_varint(out, self.most);
        if kind == DELTAS {
            let deltas: Vec<u64> = differences(self.offsets.iter().copied()).collect();
            put_numbers(out, &deltas, strength);
        } else {
            put_numbers(out, &self.offsets, strength);
        }
    }
}

/// Numbers from which it is guessed what all of them take.
const SAMPLE: usize = 4_096;

/// Bytes in front of the planes, about.
const HEAD_BYTES: usize = 12;

/// The zigzagged difference of each to the one before.
fn differences(offsets: impl Iterator<Item = u64>) -> impl Iterator<Item = u64> {
    let mut last = 0_u64;
    offsets.map(move |n| zigzag(n.wrapping_sub(std::mem::replace(&mut last, n)).cast_signed()))
}

/// Bytes that the planes of numbers take, each byte on its own.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an estimate")]
fn planes_entropy(numbers: impl Iterator<Item = u64>) -> usize {
    let mut counts = [[0_u32; 256]; 8];
    let (mut total, mut all) = (0_u32, 0_u64);
    for n in numbers {
        total += 1;
        all |= n;
        for (counts, byte) in counts.iter_mut().zip(n.to_le_bytes()) {
            if let Some(count) = counts.get_mut(usize::from(byte)) {
                *count += 1;
            }
        }
    }
    let width = (71 - all.leading_zeros()) / 8;
    let of = |n: u32| f64::from(n) * f64::from(n).log2();
    let planes = counts.iter().take(width as usize);
    let bits: f64 = planes
        .map(|counts| of(total) - counts.iter().filter(|n| **n > 1).map(|n| of(*n)).sum::<f64>())
        .sum();
    (bits / 8.0) as usize
}

/// Writes integers.
pub(super) fn put_integers(out: &mut Vec<u8>, numbers: &[i64]) {
    Integers::of(numbers).put(Strength::Quick, out);
}

/// `count` integers from what [`put_integers`] wrote.
pub(super) fn take_integers(input: &mut &[u8], count: usize) -> Read<Vec<i64>> {
    let kind = take_u8(input)?;
    let base = take_signed(input)?;
    let unit = take_varint(input)?;
    let most = take_varint(input)?;
    let mut offsets = take_planes(input, count)?;
    match kind {
        OFFSETS => {}
        DELTAS => {
            let mut last = 0_u64;
            for n in &mut offsets {
                last = last.wrapping_add(unzigzag(*n).cast_unsigned());
                *n = last;
            }
        }
        _ => return Err(Damage("integers of an unknown kind")),
    }
    if offsets.iter().any(|n| *n > most) {
        return Err(Damage("an integer beyond the largest"));
    }
    let restore = |n: u64| base.wrapping_add(n.wrapping_mul(unit).cast_signed());
    Ok(offsets.into_iter().map(restore).collect())
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn integers_come_back(numbers in prop::collection::vec(any::<i64>(), 0..200), unit in 1_i64..1000) {
            let numbers: Vec<i64> = numbers.iter().map(|n| n.wrapping_mul(unit)).collect();
            for strength in [Strength::Quick, Strength::Strong] {
                let mut out = Vec::new();
                Integers::of(&numbers).put(strength, &mut out);
                prop_assert_eq!(take_integers(&mut &out[..], numbers.len()), Ok(numbers.clone()));
            }
        }

        #[test]
        fn garbage_is_damage_never_a_panic(bytes: Vec<u8>, count in 0_usize..100) {
            drop(take_integers(&mut &bytes[..], count));
        }
    }
}
