//! Numbers in bins of like ones: the one door to pco, whose format its own documents describe.
//!
//! Takes less than byte planes where numbers are wide and uneven (durations, sizes, ids of large
//! dictionaries), and finds differences by itself. Slower to write, so for merges only.

use pco::ChunkConfig;
use pco::standalone::{simple_compress, simple_decompress_into};

use super::pack::{Damage, Read};

/// Fewer numbers do not pay for the head of a stream.
const NUMBERS_MIN: usize = 64;

/// Numbers up to this are packed as `u32`.
const NARROW_MAX: u64 = u32::MAX as u64;

/// The stream of these numbers and whether it is one of wide ones; none where it cannot pay.
pub(super) fn pack_bins(numbers: &[u64]) -> Option<(bool, Vec<u8>)> {
    if numbers.len() < NUMBERS_MIN {
        return None;
    }
    let config = ChunkConfig::default();
    let narrow: Option<Vec<u32>> = numbers
        .iter()
        .map(|n| if *n <= NARROW_MAX { u32::try_from(*n).ok() } else { None })
        .collect();
    let bytes = match &narrow {
        Some(narrow) => simple_compress(narrow, &config),
        None => simple_compress(numbers, &config),
    };
    bytes.ok().map(|bytes| (narrow.is_none(), bytes))
}

/// Exactly `count` numbers of a stream.
pub(super) fn take_bins(bytes: &[u8], wide: bool, count: usize) -> Read<Vec<u64>> {
    let damage = Damage("numbers that do not unpack");
    let fits = |progress: pco::Progress| progress.finished && progress.n_processed == count;
    // One more than there may be, so that a stream of more is told.
    if wide {
        let mut numbers = vec![0_u64; count + 1];
        let progress = simple_decompress_into(bytes, &mut numbers).map_err(|_| damage)?;
        numbers.truncate(count);
        return fits(progress).then_some(numbers).ok_or(damage);
    }
    let mut numbers = vec![0_u32; count + 1];
    let progress = simple_decompress_into(bytes, &mut numbers).map_err(|_| damage)?;
    let all = numbers.into_iter().take(count).map(u64::from).collect();
    if fits(progress) { Ok(all) } else { Err(damage) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(numbers in prop::collection::vec(any::<u64>(), 64..400), shift in 0..64_u32) {
            let numbers: Vec<u64> = numbers.iter().map(|n| n >> shift).collect();
            let (wide, bytes) = pack_bins(&numbers).unwrap();
            prop_assert_eq!(take_bins(&bytes, wide, numbers.len()), Ok(numbers.clone()));
            prop_assert!(take_bins(&bytes, wide, numbers.len() - 1).is_err());
            prop_assert!(take_bins(&bytes, wide, numbers.len() + 1).is_err());
        }

        #[test]
        fn damaged_streams_are_no_panic(
            numbers in prop::collection::vec(0..5_000_u64, 64..400),
            at: prop::sample::Index,
            flip in 1..=255_u8,
            cut: prop::sample::Index,
        ) {
            let (wide, mut bytes) = pack_bins(&numbers).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            drop(take_bins(&bytes, wide, numbers.len()));
            bytes.truncate(cut.index(bytes.len()));
            drop(take_bins(&bytes, wide, numbers.len()));
        }

        #[test]
        fn garbage_is_damage_never_a_panic(bytes: Vec<u8>, wide: bool, count in 0_usize..100) {
            prop_assert!(take_bins(&bytes, wide, count).is_err() || count == 0);
        }
    }
}
