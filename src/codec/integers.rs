//! Lists of integers as offsets or differences, in byte planes.
//!
//! Stands below the columns: ids, times and codes are such lists themselves, texts that are
//! numbers become some (`numbers`).

use super::pack::{
    Damage, Read, put_planes, put_signed, put_varint, take_planes, take_signed, take_u8,
    take_varint, unzigzag, zigzag,
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
    bits: u64,
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
        let width = |n: u64| u64::from(64 - n.leading_zeros());
        let (mut most, mut deltas, mut last) = (0, 0, 0_u64);
        for n in &offsets {
            most = most.max(*n);
            deltas += width(zigzag(n.wrapping_sub(last).cast_signed()));
            last = *n;
        }
        let plain = width(most) * offsets.len() as u64;
        let kind = if deltas < plain { DELTAS } else { OFFSETS };
        Self { kind, base, unit, offsets, most, bits: plain.min(deltas) }
    }

    /// Bytes that they will need, about.
    pub(super) fn estimate(&self) -> usize {
        usize::try_from(self.bits / 8).unwrap_or(usize::MAX) + 8
    }

    /// Writes them.
    pub(super) fn put(mut self, out: &mut Vec<u8>) {
        out.push(self.kind);
        put_signed(out, self.base);
        put_varint(out, self.unit);
        put_varint(out, self.most);
        if self.kind == DELTAS {
            let mut last = 0_u64;
            for n in &mut self.offsets {
                let delta = n.wrapping_sub(last);
                last = *n;
                *n = zigzag(delta.cast_signed());
            }
        }
        put_planes(out, &self.offsets);
    }
}

/// Writes integers.
pub(super) fn put_integers(out: &mut Vec<u8>, numbers: &[i64]) {
    Integers::of(numbers).put(out);
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
        fn integers_come_back(numbers: Vec<i64>, unit in 1_i64..1000) {
            let numbers: Vec<i64> = numbers.iter().map(|n| n.wrapping_mul(unit)).collect();
            let mut out = Vec::new();
            put_integers(&mut out, &numbers);
            prop_assert_eq!(take_integers(&mut &out[..], numbers.len()), Ok(numbers));
        }

        #[test]
        fn garbage_is_damage_never_a_panic(bytes: Vec<u8>, count in 0_usize..100) {
            drop(take_integers(&mut &bytes[..], count));
        }
    }
}
