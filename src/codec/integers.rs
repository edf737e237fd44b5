//! Lists of integers as offsets or differences, in byte planes.
//!
//! Stands below the columns: ids, times and codes are such lists themselves, texts that are
//! numbers become some (`encoders`).

use super::pack::{
    Damage, Read, put_planes, put_signed, put_varint, take_planes, take_signed, take_u8,
    take_varint, unzigzag, zigzag,
};

/// How integers stand: their distance from the smallest, or from the one before.
const OFFSETS: u8 = 0;
const DELTAS: u8 = 1;

/// Integers, exact whatever they are: kind, smallest, unit (all distances are multiples of it),
/// then planes of offsets, or of zigzagged differences of offsets.
pub(super) fn put_integers(out: &mut Vec<u8>, numbers: &[i64]) {
    let base = numbers.iter().copied().min().unwrap_or(0);
    let offset = |n: i64| n.wrapping_sub(base).cast_unsigned();
    let mut unit = 0;
    for n in numbers {
        unit = gcd(offset(*n), unit);
        if unit == 1 {
            break;
        }
    }
    let unit = unit.max(1);
    let mut offsets: Vec<u64> = numbers.iter().map(|n| offset(*n) / unit).collect();
    let (plain, deltas) = integer_bits(&offsets);
    out.push(if deltas < plain { DELTAS } else { OFFSETS });
    put_signed(out, base);
    put_varint(out, unit);
    if deltas < plain {
        let mut last = 0_u64;
        for n in &mut offsets {
            let delta = n.wrapping_sub(last);
            last = *n;
            *n = zigzag(delta.cast_signed());
        }
    }
    put_planes(out, &offsets);
}

/// `count` integers from what [`put_integers`] wrote.
pub(super) fn take_integers(input: &mut &[u8], count: usize) -> Read<Vec<i64>> {
    let kind = take_u8(input)?;
    let base = take_signed(input)?;
    let unit = take_varint(input)?;
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
    let restore = |n: u64| base.wrapping_add(n.wrapping_mul(unit).cast_signed());
    Ok(offsets.into_iter().map(restore).collect())
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Bits that offsets and their differences need, about.
fn integer_bits(offsets: &[u64]) -> (u64, u64) {
    let width = |n: u64| u64::from(64 - n.leading_zeros());
    let most = offsets.iter().copied().max().unwrap_or(0);
    let mut deltas = 0;
    let mut last = 0_u64;
    for n in offsets {
        deltas += width(zigzag(n.wrapping_sub(last).cast_signed()));
        last = *n;
    }
    (width(most) * offsets.len() as u64, deltas)
}

/// Bytes that [`put_integers`] will need, about.
pub(super) fn integers_estimate(numbers: &[i64]) -> usize {
    let base = numbers.iter().copied().min().unwrap_or(0);
    let offsets: Vec<u64> = numbers.iter().map(|n| n.wrapping_sub(base).cast_unsigned()).collect();
    let (plain, deltas) = integer_bits(&offsets);
    usize::try_from(plain.min(deltas) / 8).unwrap_or(usize::MAX) + 8
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
    }
}
