//! Columns told by what stands beside them: the host, the app, the template of the same rows.
//!
//! The writer is given some [`Parent`]s, aligned with the values; which one a column was told by
//! is stored, and the reader asks [`Beside`] for the same. Nothing is remembered from one chunk to
//! the next, so that each decodes alone.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use super::pack::{Damage, Read, put_varint, take_planes, take_varint};
use super::texts::{Texts, Values};

/// What stands beside the values of a column, one for each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parent<'a> {
    /// What it is, as the reader is asked for it; the place that has the column says.
    pub(super) which: u32,
    /// For each value what stands beside it, numbered as they first appear (see [`dense`]).
    pub(super) ids: &'a [u32],
    /// The texts of these, where it has some that may stand in the column too.
    pub(super) texts: Option<&'a Texts>,
}

/// The same, read.
#[derive(Clone, Debug)]
pub(super) struct ParentRows {
    pub(super) ids: Arc<[u32]>,
    pub(super) texts: Option<Arc<Texts>>,
}

/// Who knows what stands beside the values of a column that is read.
pub(super) trait Beside {
    /// The parent of that name; as many ids as the column has values.
    fn parent(&self, which: u32) -> Read<ParentRows>;
}

/// Nothing does.
#[derive(Debug)]
pub(super) struct Alone;

impl Beside for Alone {
    fn parent(&self, _: u32) -> Read<ParentRows> {
        Err(Damage("a column told by what there is not"))
    }
}

/// Numbers keys as they first appear: 0, then 1 for the first other, …
pub(super) fn dense<K: Hash + Eq>(keys: impl Iterator<Item = K>) -> Vec<u32> {
    let mut seen: HashMap<K, u32, foldhash::fast::RandomState> = HashMap::default();
    keys.map(|key| {
        let next = u32::try_from(seen.len()).unwrap_or(u32::MAX);
        *seen.entry(key).or_insert(next)
    })
    .collect()
}

/// How many parents there are, where they are numbered as they first appear.
fn count_dense(ids: &[u32]) -> Read<usize> {
    ids.iter().try_fold(0_usize, |next, id| match (*id as usize).cmp(&next) {
        std::cmp::Ordering::Less => Ok(next),
        std::cmp::Ordering::Equal => Ok(next + 1),
        std::cmp::Ordering::Greater => Err(Damage("parents that are not numbered in order")),
    })
}

/// What of a column its parent does not tell: values that are not the last one beside the same.
#[derive(Debug, Default)]
pub(super) struct Misses {
    /// For each value that is not the first of its parent: 1 where it is not the last one again.
    pub(super) flags: Vec<u64>,
    /// The places of those, and of the first ones.
    pub(super) rows: Vec<u32>,
}

impl Misses {
    /// Looks at the first so many values; `same` compares two of them.
    pub(super) fn of(ids: &[u32], len: usize, same: impl Fn(usize, usize) -> bool) -> Self {
        let mut misses = Self::default();
        let mut last: Vec<usize> = Vec::new();
        for (row, id) in ids.iter().take(len).enumerate() {
            let missed = if let Some(last) = last.get_mut(*id as usize) {
                let missed = !same(std::mem::replace(last, row), row);
                misses.flags.push(u64::from(missed));
                missed
            } else {
                last.push(row);
                true
            };
            if missed {
                misses.rows.push(u32::try_from(row).unwrap_or(u32::MAX));
            }
        }
        misses
    }

    /// How many were missed that had one before them.
    pub(super) fn missed(&self) -> usize {
        self.flags.iter().filter(|flag| **flag > 0).count()
    }
}

/// For each of `count` values its number among those that were missed, and how many these are.
pub(super) fn take_given(
    input: &mut &[u8],
    count: usize,
    beside: &dyn Beside,
) -> Read<(Vec<u32>, usize)> {
    let parent = take_parent(input, count, beside)?;
    let parents = count_dense(&parent.ids)?;
    let mut flags = take_planes(input, count - parents)?.into_iter();
    let mut last: Vec<u32> = Vec::with_capacity(parents);
    let mut missed = 0_u32;
    let mut picks = Vec::with_capacity(count);
    for id in parent.ids.iter() {
        let pick = if let Some(last) = last.get_mut(*id as usize) {
            if flags.next().is_some_and(|flag| flag > 0) {
                *last = missed;
                missed += 1;
            }
            *last
        } else {
            last.push(missed);
            missed += 1;
            missed - 1
        };
        picks.push(pick);
    }
    Ok((picks, missed as usize))
}

/// Numbers told by the last one beside the same parent: the first of each parent, then the
/// differences of all others.
pub(super) fn differences(ids: &[u32], numbers: &[i64]) -> (Vec<i64>, Vec<i64>) {
    let (mut firsts, mut differences) = (Vec::new(), Vec::new());
    let mut last: Vec<i64> = Vec::new();
    for (id, n) in ids.iter().zip(numbers) {
        if let Some(last) = last.get_mut(*id as usize) {
            differences.push(n.wrapping_sub(std::mem::replace(last, *n)));
        } else {
            last.push(*n);
            firsts.push(*n);
        }
    }
    (firsts, differences)
}

/// The numbers of which [`differences`] were read by `take`.
pub(super) fn take_differences(
    input: &mut &[u8],
    count: usize,
    beside: &dyn Beside,
    take: fn(&mut &[u8], usize) -> Read<Vec<i64>>,
) -> Read<Vec<i64>> {
    let parent = take_parent(input, count, beside)?;
    let parents = count_dense(&parent.ids)?;
    let mut firsts = take(input, parents)?.into_iter();
    let mut differences = take(input, count - parents)?.into_iter();
    let mut last: Vec<i64> = Vec::with_capacity(parents);
    let mut numbers = Vec::with_capacity(count);
    for id in parent.ids.iter() {
        let n = if let Some(last) = last.get_mut(*id as usize) {
            *last = last.wrapping_add(differences.next().unwrap_or_default());
            *last
        } else {
            last.push(firsts.next().unwrap_or_default());
            last.last().copied().unwrap_or_default()
        };
        numbers.push(n);
    }
    Ok(numbers)
}

/// Which parent, and its rows.
pub(super) fn take_parent(
    input: &mut &[u8],
    count: usize,
    beside: &dyn Beside,
) -> Read<ParentRows> {
    let which = u32::try_from(take_varint(input)?).map_err(|_| Damage("a parent beyond all"))?;
    let parent = beside.parent(which)?;
    if parent.ids.len() == count { Ok(parent) } else { Err(Damage("a parent of other rows")) }
}

/// Which parent.
pub(super) fn put_parent(parent: &Parent<'_>, out: &mut Vec<u8>) {
    put_varint(out, parent.which.into());
}

/// The places where the values are not the texts that their parent has there.
pub(super) fn differing(parent: &Parent<'_>, values: &Values<'_>) -> Option<Vec<u32>> {
    let texts = parent.texts?;
    let differs = |n: &u32| {
        let id = parent.ids.get(*n as usize).copied().unwrap_or(u32::MAX);
        texts.get(id as usize) != Some(values.get(*n as usize))
    };
    let len = u32::try_from(values.len()).ok()?;
    // Most have nothing in common at all.
    let step = (len / COPY_LOOKS).max(1) as usize;
    let odd = (0..len).step_by(step).filter(differs).count();
    let few = odd * step * COPY_SHARE_MIN <= values.len();
    few.then(|| (0..len).filter(differs).collect())
}

/// Values looked at before all are compared with a parent's text.
const COPY_LOOKS: u32 = 64;

/// A copy pays where one in so many at most differs.
const COPY_SHARE_MIN: usize = 8;
