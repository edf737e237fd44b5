//! Columns and dictionaries, and what stands beside them.

use std::collections::{BTreeMap, HashMap};

use super::bytes::{Bytes, meet};

/// What the rows of a chunk have of each parent, by its number. `None`: no pid, which is another
/// than an empty one.
pub(super) type Parents = BTreeMap<u64, Vec<Option<Vec<u8>>>>;

/// A parent of numbers.
pub(super) fn of_numbers<T: ToString>(numbers: &[T]) -> Vec<Option<Vec<u8>>> {
    numbers.iter().map(|n| Some(n.to_string().into_bytes())).collect()
}

/// Two parents together.
pub(super) fn of_both(parents: &Parents, a: u64, b: u64) -> Vec<Option<Vec<u8>>> {
    let pairs = parents[&a].iter().zip(&parents[&b]);
    pairs.map(|pair| Some(format!("{pair:?}").into_bytes())).collect()
}

/// The values that stand in these rows of a chunk.
pub(super) fn column(
    from: &mut Bytes<'_>,
    rows: &[usize],
    dictionary: &[Vec<u8>],
    parents: &Parents,
) -> Vec<Vec<u8>> {
    let n = rows.len();
    if n == 0 {
        return Vec::new();
    }
    let tag = from.u8();
    meet("column", tag);
    match tag {
        0 => vec![from.bytes().to_vec(); n],
        1 => from.planes(n).into_iter().map(|id| dictionary[place(id)].clone()).collect(),
        2..=4 => {
            let spelling = Spelling::read(tag, from);
            spelling.write_all(from.ints(n))
        }
        5 => {
            let (digits, upper) = (from.len(), from.u8() == 1);
            let packed = from.frame();
            let digit = |at: usize| {
                let half =
                    if at.is_multiple_of(2) { packed[at / 2] >> 4 } else { packed[at / 2] & 15 };
                let digits = if upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
                digits[usize::from(half)]
            };
            (0..n).map(|row| (row * digits..(row + 1) * digits).map(digit).collect()).collect()
        }
        6 => from.frame().chunks(16).map(uuid).collect(),
        7 => {
            let begins = from.bytes().to_vec();
            let rest = column(from, rows, dictionary, parents);
            rest.into_iter().map(|end| [begins.clone(), end].concat()).collect()
        }
        8 => texts(from, n),
        9 => {
            let (picks, missed) = last_of_parent(from, rows, parents);
            let missed: Vec<usize> = missed.into_iter().map(|at| rows[at]).collect();
            let values = column(from, &missed, dictionary, parents);
            picks.into_iter().map(|pick| values[pick].clone()).collect()
        }
        10 => {
            let tag = from.u8();
            let spelling = Spelling::read(tag, from);
            spelling.write_all(differences(from, rows, parents))
        }
        11 => {
            let parent = parent(from, parents);
            let flags = from.planes(n);
            let others: Vec<usize> = rows
                .iter()
                .zip(&flags)
                .filter(|(_, flag)| **flag > 0)
                .map(|(row, _)| *row)
                .collect();
            let mut others = column(from, &others, dictionary, parents).into_iter();
            let one = |(row, flag): (&usize, u64)| match flag {
                0 => parent[*row].clone().unwrap_or_default(),
                _ => others.next().expect("another"),
            };
            rows.iter().zip(flags).map(one).collect()
        }
        other => panic!("a column of kind {other}"),
    }
}

/// A dictionary; nothing stands beside its entries.
pub(super) fn dictionary(from: &mut Bytes<'_>) -> Vec<Vec<u8>> {
    let rows: Vec<usize> = (0..from.len()).collect();
    column(from, &rows, &[], &Parents::new())
}

/// Numbers that what stands beside them tells.
pub(super) fn told(from: &mut Bytes<'_>, n: usize, parents: &Parents) -> Vec<u64> {
    let kind = from.u8();
    meet("told", kind);
    if kind == 0 {
        return from.planes(n);
    }
    let rows: Vec<usize> = (0..n).collect();
    let (picks, missed) = last_of_parent(from, &rows, parents);
    let numbers = from.planes(missed.len());
    picks.into_iter().map(|pick| numbers[pick]).collect()
}

/// Parent and flags: for each value its number among those that are stored, and the places of
/// these.
fn last_of_parent(
    from: &mut Bytes<'_>,
    rows: &[usize],
    parents: &Parents,
) -> (Vec<usize>, Vec<usize>) {
    let parent = parent(from, parents);
    let different: std::collections::HashSet<_> = rows.iter().map(|row| &parent[*row]).collect();
    let mut flags = from.planes(rows.len() - different.len()).into_iter();
    let mut last = HashMap::new();
    let (mut picks, mut stored) = (Vec::new(), Vec::new());
    for (at, row) in rows.iter().enumerate() {
        let key = &parent[*row];
        if !last.contains_key(key) || flags.next().expect("a flag") > 0 {
            last.insert(key, stored.len());
            stored.push(at);
        }
        picks.push(last[key]);
    }
    (picks, stored)
}

fn differences(from: &mut Bytes<'_>, rows: &[usize], parents: &Parents) -> Vec<i64> {
    let parent = parent(from, parents);
    let different: std::collections::HashSet<_> = rows.iter().map(|row| &parent[*row]).collect();
    let mut firsts = from.ints(different.len()).into_iter();
    let mut others = from.ints(rows.len() - different.len()).into_iter();
    let mut last = HashMap::new();
    let one = |row: &usize| {
        let n: i64 = match last.get(&parent[*row]) {
            None => firsts.next().expect("a first one"),
            Some(last) => others.next().expect("a difference").wrapping_add(*last),
        };
        last.insert(&parent[*row], n);
        n
    };
    rows.iter().map(one).collect()
}

fn parent<'a>(from: &mut Bytes<'_>, parents: &'a Parents) -> &'a [Option<Vec<u8>>] {
    let which = from.var();
    meet("parent", u8::try_from(which).expect("few"));
    &parents[&which]
}

/// How integers are written.
enum Spelling {
    Plain,
    Width(usize),
    Scale(usize),
}

impl Spelling {
    fn read(tag: u8, from: &mut Bytes<'_>) -> Self {
        match tag {
            2 => Self::Plain,
            3 => Self::Width(from.u8().into()),
            4 => Self::Scale(from.u8().into()),
            other => panic!("numbers spelled as {other}"),
        }
    }

    fn write_all(&self, numbers: Vec<i64>) -> Vec<Vec<u8>> {
        let write = |n: i64| match self {
            Self::Plain => n.to_string(),
            Self::Width(width) => format!("{n:0width$}"),
            Self::Scale(scale) => {
                let sign = if n < 0 { "-" } else { "" };
                let digits = format!("{:0width$}", n.unsigned_abs(), width = scale + 1);
                let (whole, fraction) = digits.split_at(digits.len() - scale);
                format!("{sign}{whole}.{fraction}")
            }
        };
        numbers.into_iter().map(|n| write(n).into_bytes()).collect()
    }
}

fn uuid(bytes: &[u8]) -> Vec<u8> {
    let hex = format!("{:032x}", u128::from_be_bytes(bytes.try_into().expect("16")));
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-").into_bytes()
}

fn texts(from: &mut Bytes<'_>, n: usize) -> Vec<Vec<u8>> {
    let kind = from.u8();
    meet("text", kind);
    if kind == 0 {
        let text = from.frame();
        return text.split(|b| *b == 0).take(n).map(<[u8]>::to_vec).collect();
    }
    let lens = from.ints(n);
    let text = from.frame();
    let mut rest = Bytes(&text);
    let texts = lens.into_iter().map(|len| rest.take(place(len.cast_unsigned())).to_vec());
    texts.collect()
}

/// A number that says where something is.
pub(super) fn place(n: u64) -> usize {
    usize::try_from(n).expect("a place")
}
