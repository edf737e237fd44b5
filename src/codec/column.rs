//! Columns as they are read: typed, each text made only when it is asked for.
//!
//! `pool` gathers values, `encoders` writes them. A scan works on what a [`Column`] holds (ids and
//! their dictionary, integers, packed digits); [`Column::write`] gives the exact text of one value.

use std::sync::Arc;

use super::encoders::{
    COPY, DECIMALS, DIFFERENCES, DIGITS, ENDED, GIVEN, HEX, IDS, INTEGERS, LENGTHS, PREFIXED, SAME,
    TEXT, UUID,
};
use super::hex::Packed;
use super::integers::take_integers;
use super::numbers::Spelling;
use super::pack::{Damage, Read, done, take_bytes, take_frame, take_planes, take_u8, take_varint};
use super::predict::{Alone, Beside, take_differences, take_given, take_parent};
use super::texts::Texts;
use crate::base::limits::{COLUMN_BYTES_MAX, COLUMN_DEPTH_MAX, DICTIONARY_ENTRIES_MAX};

/// A decoded column: what [`take_column`] gives.
#[derive(Clone, Debug)]
pub(super) enum Column {
    /// The same value in every row.
    Same(Box<[u8]>, usize),
    /// Numbers of entries of the segment's dictionary, each checked to be there.
    Ids(Vec<u32>, Arc<Texts>),
    /// Integers, all spelled alike.
    Integers(Vec<i64>, Spelling),
    /// Hexadecimal digits.
    Packed(Packed),
    /// How all begin, and the rest.
    Prefixed(Box<[u8]>, Box<Column>),
    /// For each row the value's number in another column, each checked to be there.
    Picks(Vec<u32>, Box<Column>),
    /// For each row one of the columns and the value's number there, each checked to be there.
    Union(Vec<(u8, u32)>, Vec<Column>),
    /// Values of their own.
    Texts(Texts),
}

impl Column {
    /// How many values.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Same(_, len) => *len,
            Self::Ids(ids, _) => ids.len(),
            Self::Integers(numbers, _) => numbers.len(),
            Self::Packed(packed) => packed.len,
            Self::Prefixed(_, rest) => rest.len(),
            Self::Picks(picks, _) => picks.len(),
            Self::Union(rows, _) => rows.len(),
            Self::Texts(texts) => texts.len(),
        }
    }

    /// Adds the text of a value to `out`; false where there is no value of this number.
    pub(super) fn write(&self, n: usize, out: &mut Vec<u8>) -> bool {
        let text = match self {
            Self::Integers(numbers, spelling) => {
                let Some(number) = numbers.get(n) else { return false };
                spelling.write(*number, out);
                return true;
            }
            Self::Packed(packed) => return packed.write(n, out),
            Self::Prefixed(prefix, rest) => {
                out.extend_from_slice(prefix);
                return rest.write(n, out);
            }
            Self::Picks(picks, of) => {
                return picks.get(n).is_some_and(|pick| of.write(*pick as usize, out));
            }
            Self::Union(rows, columns) => {
                let row = rows.get(n).copied();
                let column = row.and_then(|(column, _)| columns.get(usize::from(column)));
                return column.zip(row).is_some_and(|(of, (_, n))| of.write(n as usize, out));
            }
            Self::Same(text, len) => (n < *len).then_some(&**text),
            Self::Ids(ids, dictionary) => ids.get(n).and_then(|id| dictionary.get(*id as usize)),
            Self::Texts(texts) => texts.get(n),
        };
        out.extend_from_slice(text.unwrap_or_default());
        text.is_some()
    }

    /// The text of a value, in `room` where it does not stand in the column as it is.
    pub(super) fn text<'a>(&'a self, n: usize, room: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        match self {
            Self::Same(text, len) => (n < *len).then_some(text),
            Self::Ids(ids, dictionary) => dictionary.get(*ids.get(n)? as usize),
            Self::Texts(texts) => texts.get(n),
            _ => {
                room.clear();
                self.write(n, room).then_some(room)
            }
        }
    }

    /// Bytes in memory, the dictionary apart.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Same(text, _) => text.len(),
            Self::Ids(ids, _) => ids.len() * size_of::<u32>(),
            Self::Integers(numbers, _) => numbers.len() * size_of::<i64>(),
            Self::Packed(packed) => packed.bytes.len(),
            Self::Prefixed(prefix, rest) => prefix.len() + rest.weight(),
            Self::Picks(picks, of) => picks.len() * size_of::<u32>() + of.weight(),
            Self::Union(rows, columns) => {
                rows.len() * size_of::<(u8, u32)>()
                    + columns.iter().map(Self::weight).sum::<usize>()
            }
            Self::Texts(texts) => texts.weight(),
        }
    }

    /// All values one after the other.
    fn into_texts(self) -> Read<Texts> {
        if let Self::Texts(texts) = self {
            return Ok(texts);
        }
        let mut texts = Texts::default();
        for n in 0..self.len() {
            self.write(n, texts.open());
            texts.close();
            if texts.total() > COLUMN_BYTES_MAX {
                return Err(Damage("a column that is too long"));
            }
        }
        Ok(texts)
    }

    /// Values of another column, by their numbers there.
    fn picked(picks: Vec<u32>, of: Self) -> Self {
        let place = |pick: &u32| *pick as usize;
        match of {
            Self::Same(text, _) => Self::Same(text, picks.len()),
            Self::Ids(ids, dictionary) => {
                let ids = picks.iter().filter_map(|pick| ids.get(place(pick)).copied());
                Self::Ids(ids.collect(), dictionary)
            }
            Self::Integers(numbers, spelling) => {
                let numbers = picks.iter().filter_map(|pick| numbers.get(place(pick)).copied());
                Self::Integers(numbers.collect(), spelling)
            }
            of => Self::Picks(picks, Box::new(of)),
        }
    }
}

/// A dictionary from what [`super::pool::Plan::put_dictionary`] wrote.
pub(super) fn take_dictionary(input: &mut &[u8]) -> Read<Arc<Texts>> {
    let count = usize::try_from(take_varint(input)?)
        .ok()
        .filter(|n| *n <= DICTIONARY_ENTRIES_MAX)
        .ok_or(Damage("a dictionary that is too long"))?;
    let column = take_column(input, count, &Arc::default())?;
    match column {
        Column::Same(_, 2..) => Err(Damage("a dictionary with an entry twice")),
        column => column.into_texts().map(Arc::new),
    }
}

/// A column of `count` values, beside which nothing stands; nothing stands there for none.
pub(super) fn take_column(
    input: &mut &[u8],
    count: usize,
    dictionary: &Arc<Texts>,
) -> Read<Column> {
    take_column_beside(input, count, dictionary, &Alone)
}

/// A column of `count` values; nothing stands there for none.
pub(super) fn take_column_beside(
    input: &mut &[u8],
    count: usize,
    dictionary: &Arc<Texts>,
    beside: &dyn Beside,
) -> Read<Column> {
    take(input, count, &Context { dictionary, beside, depth: 0 })
}

/// What a column is read with.
struct Context<'a> {
    dictionary: &'a Arc<Texts>,
    beside: &'a dyn Beside,
    depth: usize,
}

impl Context<'_> {
    /// The same for a column in a column.
    fn inner(&self) -> Read<Self> {
        let depth = self.depth + 1;
        if depth > COLUMN_DEPTH_MAX {
            return Err(Damage("columns nested too deep"));
        }
        Ok(Self { depth, ..*self })
    }
}

fn take(input: &mut &[u8], count: usize, context: &Context<'_>) -> Read<Column> {
    if count == 0 {
        return Ok(Column::Texts(Texts::default()));
    }
    let column = match take_u8(input)? {
        SAME => Column::Same(take_bytes(input)?.into(), count),
        IDS => take_ids(input, count, context.dictionary)?,
        INTEGERS => Column::Integers(take_integers(input, count)?, Spelling::Plain),
        DIGITS => {
            let spelling = Spelling::take_width(input)?;
            Column::Integers(take_integers(input, count)?, spelling)
        }
        DECIMALS => {
            let spelling = Spelling::take_scale(input)?;
            Column::Integers(take_integers(input, count)?, spelling)
        }
        HEX => Column::Packed(Packed::take_hex(input, count)?),
        UUID => Column::Packed(Packed::take_uuid(input, count)?),
        PREFIXED => {
            let prefix = take_bytes(input)?.into();
            Column::Prefixed(prefix, Box::new(take(input, count, &context.inner()?)?))
        }
        TEXT => Column::Texts(take_texts(input, count)?),
        GIVEN => {
            let (picks, missed) = take_given(input, count, context.beside)?;
            Column::picked(picks, take(input, missed, &context.inner()?)?)
        }
        DIFFERENCES => {
            let spelling = match take_u8(input)? {
                INTEGERS => Spelling::Plain,
                DIGITS => Spelling::take_width(input)?,
                DECIMALS => Spelling::take_scale(input)?,
                _ => return Err(Damage("differences of what are no numbers")),
            };
            let numbers = take_differences(input, count, context.beside, take_integers)?;
            Column::Integers(numbers, spelling)
        }
        COPY => take_copy(input, count, context)?,
        _ => return Err(Damage("a column of an unknown encoder")),
    };
    if column.len() == count { Ok(column) } else { Err(Damage("a column of the wrong length")) }
}

fn take_ids(input: &mut &[u8], count: usize, dictionary: &Arc<Texts>) -> Read<Column> {
    let ids: Option<Vec<u32>> = take_planes(input, count)?
        .into_iter()
        .map(|id| u32::try_from(id).ok().filter(|id| (*id as usize) < dictionary.len()))
        .collect();
    let ids = ids.ok_or(Damage("an entry that the dictionary does not have"))?;
    Ok(Column::Ids(ids, Arc::clone(dictionary)))
}

fn take_copy(input: &mut &[u8], count: usize, context: &Context<'_>) -> Read<Column> {
    let parent = take_parent(input, count, context.beside)?;
    let texts = parent.texts.ok_or(Damage("a copy of what has no text"))?;
    if parent.ids.iter().any(|id| *id as usize >= texts.len()) {
        return Err(Damage("a copy of what has no text"));
    }
    let flags = take_planes(input, count)?;
    let odd = flags.iter().filter(|flag| **flag > 0).count();
    let copied = Column::Ids(parent.ids.to_vec(), texts);
    if odd == 0 {
        return Ok(copied);
    }
    let inner = take(input, odd, &context.inner()?)?;
    let mut next = 0_u32;
    let rows = flags.into_iter().zip(0_u32..).map(|(flag, row)| {
        if flag == 0 {
            return (0, row);
        }
        next += 1;
        (1, next - 1)
    });
    Ok(Column::Union(rows.collect(), vec![copied, inner]))
}

fn take_texts(input: &mut &[u8], count: usize) -> Read<Texts> {
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
            Ok(texts)
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
                ends.push(u32::try_from(end).map_err(|_| Damage("a text beyond its column"))?);
            }
            if end != bytes.len() {
                return Err(Damage("text that belongs to no row"));
            }
            Ok(Texts::new(bytes, ends))
        }
        _ => Err(Damage("a text column of an unknown kind")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Strength;
    use crate::codec::pool::{Plan, Pool};
    use crate::codec::predict::{Parent, ParentRows, dense};
    use proptest::prelude::*;

    /// What stands beside the values of a chunk: one parent with texts.
    struct One(ParentRows);

    impl Beside for One {
        fn parent(&self, which: u32) -> Read<ParentRows> {
            if which == 7 { Ok(self.0.clone()) } else { Err(Damage("another")) }
        }
    }

    /// Encodes the values as two chunks of a pool and decodes both; each stands beside its text
    /// in `beside`.
    fn check(values: &[Vec<u8>], beside: &[Vec<u8>], strength: Strength) {
        let half = values.len() / 2;
        let chunks = [(&values[..half], &beside[..half]), (&values[half..], &beside[half..])];
        let mut pool = Pool::default();
        for (n, (chunk, _)) in chunks.iter().enumerate() {
            chunk.iter().for_each(|value| pool.push(n, value));
        }
        let mut plan = Plan::new(&pool, strength);
        let (mut columns, mut shared, mut parents) = (Vec::new(), Vec::new(), Vec::new());
        for (n, (_, beside)) in chunks.iter().enumerate() {
            let ids = dense(beside.iter());
            let mut texts = Texts::default();
            for (id, text) in ids.iter().zip(*beside) {
                if *id as usize == texts.len() {
                    texts.push(text);
                }
            }
            let parent = Parent { which: 7, ids: &ids, texts: Some(&texts) };
            plan.put_column(n, &[parent], &mut columns);
            parents.push(One(ParentRows { ids: ids.into(), texts: Some(Arc::new(texts)) }));
        }
        plan.put_dictionary(&mut shared);
        let mut input = &shared[..];
        let dictionary = take_dictionary(&mut input).unwrap();
        assert!(input.is_empty());
        let mut input = &columns[..];
        for ((chunk, _), parent) in chunks.iter().zip(&parents) {
            let column = take_column_beside(&mut input, chunk.len(), &dictionary, parent).unwrap();
            assert_eq!(column.len(), chunk.len());
            let (mut out, mut room) = (Vec::new(), Vec::new());
            for (n, value) in chunk.iter().enumerate() {
                out.clear();
                assert!(column.write(n, &mut out));
                assert_eq!(&out, value, "{column:?}");
                assert_eq!(column.text(n, &mut room), Some(&value[..]));
            }
            assert!(!column.write(chunk.len(), &mut out));
            assert_eq!(column.text(chunk.len(), &mut room), None);
        }
        assert!(input.is_empty());
    }

    fn some_value() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            any::<i64>().prop_map(|n| n.to_string().into_bytes()),
            (0..50_u8).prop_map(|n| n.to_string().into_bytes()),
            "[0-9a-f]{8}".prop_map(String::into_bytes),
            "-?[0-9]{1,3}\\.[0-9]{2}".prop_map(String::into_bytes),
            "[0-9]{4}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..9),
        ]
    }

    /// Values of one kind, some of them again and again.
    fn like_values() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let pattern = prop_oneof![
            Just("[0-9]{1,6}"),
            Just("0[0-9]{3}"),
            Just("-?[1-9][0-9]{0,2}\\.[0-9]{2}"),
            Just("[0-9a-f]{12}"),
            Just("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
            Just("req-[0-9]{1,4}"),
            Just("id=[0-9A-F]{8}"),
            Just("[a-z]{1,3}"),
        ];
        let values = pattern.prop_flat_map(|pattern| {
            prop::collection::vec(prop::string::string_regex(pattern).unwrap(), 1..20)
        });
        (values, prop::collection::vec(any::<prop::sample::Index>(), 0..200)).prop_map(
            |(values, picks)| picks.iter().map(|n| n.get(&values).clone().into_bytes()).collect(),
        )
    }

    proptest! {
        #[test]
        fn any_column_comes_back(values in prop::collection::vec(some_value(), 0..60)) {
            for strength in [Strength::Quick, Strength::Strong] {
                check(&values, &values, strength);
            }
        }

        #[test]
        fn columns_of_like_values_come_back(
            values in like_values(),
            beside in prop::collection::vec("[ab]", 200),
            odd in some_value(),
            at: prop::sample::Index,
        ) {
            let beside: Vec<Vec<u8>> = beside.into_iter().map(String::into_bytes).collect();
            let mut others = values.clone();
            others.insert(at.index(values.len() + 1), odd);
            for strength in [Strength::Quick, Strength::Strong] {
                check(&values, &beside[..values.len()], strength);
                check(&others, &beside[..others.len().min(200)], strength);
            }
        }

        #[test]
        fn what_stands_beside_tells_a_column(
            beside in prop::collection::vec(0..5_u8, 0..200),
            start: Vec<u16>,
        ) {
            let mut last = [0_u64; 5];
            for (last, start) in last.iter_mut().zip(start) {
                *last = start.into();
            }
            let name = |n: &u8| format!("name {n}").into_bytes();
            let names: Vec<Vec<u8>> = beside.iter().map(name).collect();
            let rising: Vec<Vec<u8>> = beside
                .iter()
                .map(|n| {
                    last[usize::from(*n)] += 1;
                    last[usize::from(*n)].to_string().into_bytes()
                })
                .collect();
            let fixed: Vec<Vec<u8>> = beside.iter().map(|n| vec![b'a' + n, b'x']).collect();
            for strength in [Strength::Quick, Strength::Strong] {
                check(&names, &names, strength);
                check(&rising, &names, strength);
                check(&fixed, &names, strength);
            }
        }

        #[test]
        fn garbage_is_damage_never_a_panic(
            bytes: Vec<u8>,
            tag in 0_u8..13,
            count in 0_usize..50,
            ids in prop::collection::vec(0..4_u32, 50),
        ) {
            let mut input = bytes;
            input.insert(0, tag);
            let texts: Texts = [&b"a"[..], b"b"].into_iter().collect();
            let ids: Arc<[u32]> = ids[..count].into();
            let one = One(ParentRows { ids, texts: Some(Arc::new(texts)) });
            for at in [7, 0] {
                if tag > 8 && at < 7 && input.len() > 1 {
                    input[1] = 7;
                }
                drop(take_column_beside(&mut &input[..], count, &Arc::default(), &one));
            }
            drop(take_dictionary(&mut &input[..]));
        }
    }

    #[test]
    fn parents_are_used_where_they_tell() {
        let row = |n: usize| n * 7919 % 13;
        let ids = dense((0..2_000).map(row));
        let texts: Texts = std::iter::empty().collect();
        let mut pool = Pool::default();
        let mut seen = [0; 13];
        let mut counter = Pool::default();
        for n in 0..2_000 {
            pool.push(0, format!("agent {}", row(n) * row(n)).as_bytes());
            seen[row(n)] += 3;
            counter.push(0, (seen[row(n)] + row(n) * 100_000).to_string().as_bytes());
        }
        let parent = Parent { which: 7, ids: &ids, texts: Some(&texts) };
        for (pool, tag) in [(&pool, GIVEN), (&counter, DIFFERENCES)] {
            let (mut alone, mut told) = (Vec::new(), Vec::new());
            Plan::new(pool, Strength::Quick).put_column(0, &[], &mut alone);
            Plan::new(pool, Strength::Quick).put_column(0, &[parent], &mut told);
            assert_eq!(told.first(), Some(&tag));
            assert!(told.len() * 10 < alone.len(), "{} of {}", told.len(), alone.len());
        }
    }
}
