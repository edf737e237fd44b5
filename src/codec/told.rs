//! Small numbers, one a row, that what stands beside them mostly tells: the shape of the fields
//! by the templates of the lines, the severity by that of the message.
//!
//! The same prediction as [`super::predict`] makes for columns of texts, for the few parts of a
//! record that are numbers from the start.

use super::pack::{Damage, Read, put_planes, put_varint, take_planes, take_u8, take_varint};
use super::parents::RowIds;
use super::predict::Misses;

/// The numbers themselves, or what their parent does not tell.
const PLAIN: u8 = 0;
const TOLD: u8 = 1;

/// A parent pays where at most one row in so many is missed.
const ROWS_A_MISS: usize = 4;

/// Writes numbers, told by the parent that tells most of them.
pub(super) fn put_told(numbers: &[u64], parents: &[&RowIds], out: &mut Vec<u8>) {
    let rows: Vec<u32> = (0..).take(numbers.len()).collect();
    let told = parents.iter().filter_map(|parent| {
        let ids = parent.beside(&rows)?.into_rows().ids;
        let misses = Misses::of(&ids, numbers.len(), |a, b| numbers.get(a) == numbers.get(b));
        Some((parent.which, misses))
    });
    let best = told.min_by_key(|(_, misses)| misses.rows.len());
    let pays = |misses: &Misses| misses.rows.len() * ROWS_A_MISS <= numbers.len();
    if let Some((which, misses)) = best.filter(|(_, misses)| pays(misses)) {
        out.push(TOLD);
        put_varint(out, which.into());
        put_planes(out, &misses.flags);
        let missed = misses.rows.iter().filter_map(|row| numbers.get(*row as usize).copied());
        put_planes(out, &missed.collect::<Vec<_>>());
    } else {
        out.push(PLAIN);
        put_planes(out, numbers);
    }
}

/// Reads what [`put_told`] wrote; `parent` gives the rows of the one that is named.
pub(super) fn take_told(
    input: &mut &[u8],
    count: usize,
    parent: impl FnOnce(u32) -> Option<RowIds>,
) -> Read<Vec<u64>> {
    match take_u8(input)? {
        PLAIN => take_planes(input, count),
        TOLD => {
            let unknown = Damage("numbers told by what there is not");
            let which = u32::try_from(take_varint(input)?).map_err(|_| unknown)?;
            let rows: Vec<u32> = (0..).take(count).collect();
            let parent = parent(which).and_then(|parent| parent.beside(&rows)).ok_or(unknown)?;
            let ids = parent.into_rows().ids;
            let parents = ids.iter().max().map_or(0, |most| *most as usize + 1);
            let many = count.checked_sub(parents).ok_or(unknown)?;
            let flags = take_planes(input, many)?;
            let missed = flags.iter().filter(|flag| **flag > 0).count() + parents;
            let mut missed = take_planes(input, missed)?.into_iter();
            let mut flags = flags.into_iter();
            let mut last: Vec<Option<u64>> = vec![None; parents];
            let mut numbers = Vec::with_capacity(count);
            for id in ids.iter() {
                let last = last.get_mut(*id as usize).ok_or(unknown)?;
                if last.is_none() || flags.next().is_some_and(|flag| flag > 0) {
                    *last = Some(missed.next().ok_or(unknown)?);
                }
                numbers.push(last.ok_or(unknown)?);
            }
            Ok(numbers)
        }
        _ => Err(Damage("numbers of an unknown kind")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::parents::{APP, MESSAGE};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(
            rows in prop::collection::vec((0_u32..5, 0_u32..3, any::<u64>(), 0_u8..10), 0..200),
        ) {
            // Mostly what the first parent says; now and then anything.
            let number = |(a, _, any, odd): &(u32, u32, u64, u8)| {
                if *odd == 0 { *any } else { u64::from(*a) * 7 }
            };
            let numbers: Vec<u64> = rows.iter().map(number).collect();
            let ids = |which, pick: fn(&(u32, u32, u64, u8)) -> u32| RowIds {
                which,
                rows: rows.iter().map(pick).collect(),
                texts: None,
            };
            let parents = || [ids(APP, |row| row.1), ids(MESSAGE, |row| row.0)];
            let mut out = Vec::new();
            put_told(&numbers, &parents().iter().collect::<Vec<_>>(), &mut out);
            let parent = |which| parents().into_iter().find(|parent| parent.which == which);
            let mut input = &out[..];
            prop_assert_eq!(take_told(&mut input, numbers.len(), parent), Ok(numbers));
            prop_assert!(input.is_empty());
        }

        #[test]
        fn garbage_is_damage_never_a_panic(bytes: Vec<u8>, kind in 0_u8..3, count in 0_usize..50) {
            let mut input = bytes;
            input.insert(0, kind);
            let parent = |which| {
                Some(RowIds { which, rows: (0..).take(count).map(|n: u32| n % 3).collect(), texts: None })
            };
            drop(take_told(&mut &input[..], count, parent));
        }
    }
}
