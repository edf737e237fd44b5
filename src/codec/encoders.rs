//! The ways to write a column of values: collect, estimate, write. `column` reads them again.
//!
//! Each chunk of a pool is written in the way that is expected to need the fewest bytes; where
//! there is time ([`Strength::Strong`]) the best few are tried. Every way gives back the exact
//! spelling; one that cannot is not among the choices. A new way is one line in [`NAMES`], one
//! [`Way`] and its arms here and in `column::take`.

use super::Strength;
use super::hex::{Digits, put_hex};
use super::integers::{Integers, put_integers};
use super::numbers::{Agreement, Form, Spelling, parse};
use super::pack::{packed_column_len, packed_len, put_bytes, put_numbers, put_planes, put_text};
use super::predict::{Misses, Parent, differences, differing, put_parent};
use super::texts::Values;

/// Their numbers in the file, never given to another.
pub(super) const SAME: u8 = 0;
pub(super) const IDS: u8 = 1;
pub(super) const INTEGERS: u8 = 2;
pub(super) const DIGITS: u8 = 3;
pub(super) const DECIMALS: u8 = 4;
pub(super) const HEX: u8 = 5;
pub(super) const UUID: u8 = 6;
pub(super) const PREFIXED: u8 = 7;
pub(super) const TEXT: u8 = 8;
pub(super) const GIVEN: u8 = 9;
pub(super) const DIFFERENCES: u8 = 10;
pub(super) const COPY: u8 = 11;

/// What `FORMAT.md` calls them, by their numbers.
pub(super) const NAMES: &[&str] = &[
    "same",
    "ids",
    "integers",
    "digits",
    "decimals",
    "hex",
    "uuid",
    "prefixed",
    "text",
    "given",
    "differences",
    "copy",
];

/// How a text column tells where its values end.
pub(super) const ENDED: u8 = 0;
pub(super) const LENGTHS: u8 = 1;

/// The values of one chunk, and what is known of them.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    pub(super) values: Values<'a>,
    /// Where the values are entries of a dictionary; their numbers are its entries'.
    pub(super) entries: Option<Entries<'a>>,
    pub(super) parents: &'a [Parent<'a>],
    pub(super) strength: Strength,
}

/// The dictionary that values are entries of.
#[derive(Clone, Copy)]
pub(super) struct Entries<'a> {
    pub(super) facts: &'a Facts,
    /// How many there are.
    pub(super) of: usize,
    /// What the dictionary costs, bytes, and how many values of the segment share that.
    pub(super) cost: usize,
    pub(super) uses: usize,
    /// Is it worth keeping at all?
    pub(super) kept: bool,
}

/// What was found out about values, looking at each once.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Each as a number; empty where they are mostly none.
    numbers: Vec<(Form, i64)>,
    /// The digits that all of them are.
    digits: Option<Digits>,
    /// Bytes up to the last sign with which all of them begin, and what is behind these.
    prefix: usize,
    rest: Option<Box<Facts>>,
}

/// Values looked at before all are.
const LOOKS: usize = 16;

impl Facts {
    /// Looks at the values.
    pub(super) fn of(values: &Values<'_>) -> Self {
        let mut facts = Self::of_whole(values);
        facts.prefix = if facts.digits.is_none() { prefix(values) } else { 0 };
        if facts.prefix > 0 {
            facts.rest = Some(Box::new(Self::of_whole(&values.after(facts.prefix))));
        }
        facts
    }

    fn of_whole(values: &Values<'_>) -> Self {
        let mut facts = Self::default();
        if values.len() == 0 {
            return facts;
        }
        let step = (values.len() / LOOKS).max(1);
        let mut looks = (0..values.len()).step_by(step).map(|n| values.get(n));
        if looks.clone().all(|text| parse(text).0 != Form::Other) {
            facts.numbers = values.iter().map(parse).collect();
        }
        let mut digits = Digits::of(values.get(0));
        if looks.all(|text| {
            digits = digits.map(|digits| digits.with_case_of(text));
            digits.is_some_and(|digits| digits.fits(text))
        }) {
            facts.digits = digits.filter(|digits| values.iter().all(|text| digits.fits(text)));
        }
        facts
    }
}

/// With how many bytes all begin, up to a sign, so that it does not cut into a number or an id.
fn prefix(values: &Values<'_>) -> usize {
    let first = values.get(0);
    let mut common = first;
    for text in values.iter() {
        let len = common.iter().zip(text).take_while(|(a, b)| a == b).count();
        common = common.get(..len).unwrap_or_default();
        if len == 0 {
            return 0;
        }
    }
    let sign = common.iter().rposition(|b| !b.is_ascii_alphanumeric() && *b < 0x80);
    sign.map_or(0, |sign| sign + 1)
}

/// A way to write a column, with all it needs.
enum Way<'a> {
    Same,
    Ids,
    Numbers(Spelling, Integers),
    Digits(Digits),
    Prefixed(usize, Box<Choice<'a>>),
    Text,
    Given(&'a Parent<'a>),
    Differences(&'a Parent<'a>, Spelling, Vec<i64>),
    Copy(&'a Parent<'a>, Vec<u32>),
}

/// A way, and how many bytes it expects to need.
struct Choice<'a> {
    estimate: usize,
    way: Way<'a>,
}

/// Where values come again so many times and more, text is no choice beside a dictionary.
const TEXT_COMES_AGAIN: usize = 4;

/// Ways that are tried where there is time.
const TRIALS: usize = 3;

/// Ways that are expected to take more than so many times the best are not tried.
const TRIAL_TIMES_MAX: usize = 2;

/// Writes the values (at least one) in the best way; does it use the dictionary?
pub(super) fn put_best(input: &Input<'_>, out: &mut Vec<u8>) -> bool {
    let facts;
    let known = if let Some(entries) = &input.entries {
        entries.facts
    } else {
        facts = Facts::of(&input.values);
        &facts
    };
    let mut choices = choices(input, known);
    choices.sort_by_key(|choice| choice.estimate);
    let least = choices.first().map_or(0, |choice| choice.estimate);
    let tried = if input.strength == Strength::Strong { TRIALS } else { 1 };
    choices.truncate(tried);
    choices.retain(|choice| choice.estimate <= least.saturating_mul(TRIAL_TIMES_MAX));
    let share = input.entries.map_or(0, |entries| share(&entries, input.values.len()));
    let mut best: Option<(usize, Vec<u8>, bool)> = None;
    if choices.len() == 1 {
        return choices.pop().is_some_and(|choice| choice.way.put(input, out));
    }
    for choice in choices {
        let mut bytes = Vec::new();
        let uses = choice.way.put(input, &mut bytes);
        let size = packed_column_len(&bytes) + if uses { share } else { 0 };
        if best.as_ref().is_none_or(|(least, ..)| size < *least) {
            best = Some((size, bytes, uses));
        }
    }
    best.is_some_and(|(_, bytes, uses)| {
        out.extend_from_slice(&bytes);
        uses
    })
}

/// What a dictionary costs, in the share that so many values have of its use.
fn share(entries: &Entries<'_>, values: usize) -> usize {
    entries.cost * values / entries.uses.max(1)
}

/// All ways that give the values back.
fn choices<'a>(input: &Input<'a>, facts: &Facts) -> Vec<Choice<'a>> {
    let values = &input.values;
    if is_same(values) {
        return vec![Choice { estimate: 0, way: Way::Same }];
    }
    let mut choices = Vec::new();
    if let Some(entries) = input.entries.filter(|entries| entries.kept) {
        let estimate = entropy_bytes(values, entries.of) + share(&entries, values.len()) + 8;
        choices.push(Choice { estimate, way: Way::Ids });
    }
    if let Some((spelling, numbers)) = numbers_of(input, facts) {
        choices.extend(told_differences(input, spelling, &numbers));
        let integers = Integers::of(&numbers);
        choices
            .push(Choice { estimate: integers.estimate(), way: Way::Numbers(spelling, integers) });
    }
    if let Some(digits) = facts.digits {
        choices.push(Choice { estimate: digits.bytes(values.len()), way: Way::Digits(digits) });
    }
    if let Some(rest) = &facts.rest
        && let Some(inner) = rest_of(input, facts.prefix, rest)
    {
        choices.push(Choice {
            estimate: inner.estimate + facts.prefix + 2,
            way: Way::Prefixed(facts.prefix, Box::new(inner)),
        });
    }
    let distinct = input.entries.filter(|entries| entries.kept).map_or(usize::MAX, |e| e.of);
    let like_ids = distinct.saturating_mul(TEXT_COMES_AGAIN) < input.entries.map_or(0, |e| e.uses);
    // Digits are looked for packed, whatever else would take a little less.
    let may_be_text = facts.digits.is_none() && !like_ids;
    if choices.is_empty() || input.strength == Strength::Strong && may_be_text {
        choices.push(Choice { estimate: text_estimate(values), way: Way::Text });
    }
    let least = choices.iter().map(|choice| choice.estimate).min().unwrap_or(0);
    choices.extend(told(input, least));
    choices
}

/// The best way for what stands behind a prefix, where that is numbers or digits: for texts the
/// prefix is nothing that packing would not find.
fn rest_of<'a>(input: &Input<'a>, prefix: usize, facts: &Facts) -> Option<Choice<'a>> {
    let inner = Input { values: input.values.after(prefix), ..*input };
    let digits = facts.digits.map(|digits| Choice {
        estimate: digits.bytes(inner.values.len()),
        way: Way::Digits(digits),
    });
    let numbers = numbers_of(&inner, facts).map(|(spelling, numbers)| {
        let integers = Integers::of(&numbers);
        Choice { estimate: integers.estimate(), way: Way::Numbers(spelling, integers) }
    });
    [numbers, digits].into_iter().flatten().min_by_key(|choice| choice.estimate)
}

fn is_same(values: &Values<'_>) -> bool {
    let first = values.get(0);
    let number = values.number(0);
    (1..values.len()).all(|n| values.number(n) == number || values.get(n) == first)
}

/// The values as numbers of one spelling.
fn numbers_of(input: &Input<'_>, facts: &Facts) -> Option<(Spelling, Vec<i64>)> {
    if facts.numbers.is_empty() {
        return None;
    }
    let values = &input.values;
    let mut agreement = Agreement::NEW;
    let mut numbers = Vec::with_capacity(values.len());
    for n in 0..values.len() {
        let place = if input.entries.is_some() { values.number(n)? as usize } else { n };
        let (form, number) = facts.numbers.get(place)?;
        if !agreement.add(*form) {
            return None;
        }
        numbers.push(*number);
    }
    Some((agreement.spelling()?, numbers))
}

/// Values on which it is decided whether a parent tells a column.
const TOLD_SAMPLE: usize = 4_096;

/// A parent has to save at least so much of a hundred, as it costs time to read.
const TOLD_SAVES_PERCENT_MIN: usize = 20;

/// Ways that a parent offers, better than `least` bytes.
fn told<'a>(input: &Input<'a>, least: usize) -> Vec<Choice<'a>> {
    let values = &input.values;
    let mut best: Option<Choice<'a>> = None;
    let mut ways = Vec::new();
    let enough = least - least * TOLD_SAVES_PERCENT_MIN / 100;
    for parent in input.parents.iter().filter(|parent| parent.ids.len() == values.len()) {
        if let Some(odd) = differing(parent, values) {
            let estimate = odd.len() * least / values.len() + odd.len().min(8) + 4;
            ways.push(Choice { estimate, way: Way::Copy(parent, odd) });
        }
        let sample = values.len().min(TOLD_SAMPLE);
        let misses = Misses::of(parent.ids, sample, |a, b| same(input, a, b));
        let flags = misses.flags.len();
        let told = misses.rows.len() * least / sample
            + binary_entropy_bytes(misses.missed(), flags) * values.len() / sample
            + 8;
        if told < enough && best.as_ref().is_none_or(|best| told < best.estimate) {
            best = Some(Choice { estimate: told, way: Way::Given(parent) });
        }
    }
    ways.extend(best);
    ways.retain(|choice| choice.estimate < enough);
    ways
}

fn same(input: &Input<'_>, a: usize, b: usize) -> bool {
    let values = &input.values;
    values.number(a) == values.number(b)
        || input.entries.is_none() && values.get(a) == values.get(b)
}

/// Numbers as differences to the last one beside the same parent, where that is worth it.
fn told_differences<'a>(
    input: &Input<'a>,
    spelling: Spelling,
    numbers: &[i64],
) -> Option<Choice<'a>> {
    let sample = numbers.len().min(TOLD_SAMPLE);
    let looked = numbers.get(..sample)?;
    let alone = Integers::of(looked).estimate();
    let tries = input.parents.iter().filter(|parent| parent.ids.len() == numbers.len());
    let costs = tries.map(|parent| {
        let (firsts, others) = differences(parent.ids.get(..sample).unwrap_or_default(), looked);
        (Integers::of(&firsts).estimate() + Integers::of(&others).estimate(), parent)
    });
    let (cost, parent) = costs.min_by_key(|(cost, _)| *cost)?;
    let pays = cost < alone - alone * TOLD_SAVES_PERCENT_MIN / 100;
    pays.then(|| Choice {
        estimate: cost * numbers.len() / sample.max(1),
        way: Way::Differences(parent, spelling, numbers.to_vec()),
    })
}

/// Order-0 entropy of the values' numbers, of which there are `of`, bytes.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate"
)]
fn entropy_bytes(values: &Values<'_>, of: usize) -> usize {
    let numbers = (0..values.len()).filter_map(|n| values.number(n));
    let counts = if of <= 4 * values.len() {
        let mut counts = vec![0_u32; of];
        for number in numbers {
            if let Some(count) = counts.get_mut(number as usize) {
                *count += 1;
            }
        }
        counts
    } else {
        let mut sorted: Vec<u32> = numbers.collect();
        sorted.sort_unstable();
        let runs = sorted.chunk_by(|a, b| a == b);
        runs.map(|run| u32::try_from(run.len()).unwrap_or(u32::MAX)).collect()
    };
    let total = values.len() as f64;
    let bits: f64 = counts
        .iter()
        .filter(|c| **c > 0)
        .map(|c| f64::from(*c) * (total / f64::from(*c)).log2())
        .sum();
    (bits / 8.0) as usize
}

/// Entropy of flags of which so many are set, bytes.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate"
)]
fn binary_entropy_bytes(set: usize, of: usize) -> usize {
    let part = |n: usize| if n == 0 { 0.0 } else { n as f64 * (of as f64 / n as f64).log2() };
    ((part(set) + part(of - set)) / 8.0) as usize
}

/// Bytes from which the packed size of a text column is guessed.
const TEXT_SAMPLE_BYTES: usize = 8 << 10;

fn text_estimate(values: &Values<'_>) -> usize {
    let mut sample = Vec::with_capacity(TEXT_SAMPLE_BYTES);
    let mut looked = 0;
    for text in values.iter().take_while(|_| true) {
        sample.extend_from_slice(text);
        looked += 1;
        if sample.len() >= TEXT_SAMPLE_BYTES {
            break;
        }
    }
    packed_len(&sample) * values.len() / looked.max(1) + values.len() / 4
}

impl Way<'_> {
    fn tag(&self) -> u8 {
        match self {
            Self::Same => SAME,
            Self::Ids => IDS,
            Self::Numbers(spelling, _) => number_tag(*spelling),
            Self::Digits(Digits::Plain(..)) => HEX,
            Self::Digits(Digits::Uuid) => UUID,
            Self::Prefixed(..) => PREFIXED,
            Self::Text => TEXT,
            Self::Given(_) => GIVEN,
            Self::Differences(..) => DIFFERENCES,
            Self::Copy(..) => COPY,
        }
    }

    /// Writes tag and content; does it use the dictionary?
    fn put(self, input: &Input<'_>, out: &mut Vec<u8>) -> bool {
        let values = &input.values;
        out.push(self.tag());
        match self {
            Self::Same => put_bytes(out, values.get(0)),
            Self::Ids => {
                let ids = (0..values.len()).filter_map(|n| values.number(n)).map(u64::from);
                put_numbers(out, &ids.collect::<Vec<_>>(), input.strength);
                return true;
            }
            Self::Numbers(spelling, integers) => {
                spelling.put(out);
                integers.put(input.strength, out);
            }
            Self::Digits(digits) => put_hex(values, digits, out),
            Self::Prefixed(prefix, inner) => {
                let whole = values.get(0);
                put_bytes(out, whole.get(..prefix).unwrap_or_default());
                let inner_input = Input { values: values.after(prefix), ..*input };
                return inner.way.put(&inner_input, out);
            }
            Self::Text => put_texts(values, input.strength, out),
            Self::Given(parent) => {
                let misses = Misses::of(parent.ids, values.len(), |a, b| same(input, a, b));
                put_parent(parent, out);
                put_planes(out, &misses.flags);
                return put_some(input, &misses.rows, out);
            }
            Self::Differences(parent, spelling, numbers) => {
                out.push(number_tag(spelling));
                spelling.put(out);
                put_parent(parent, out);
                let (firsts, others) = differences(parent.ids, &numbers);
                Integers::of(&firsts).put(input.strength, out);
                Integers::of(&others).put(input.strength, out);
            }
            Self::Copy(parent, odd) => {
                put_parent(parent, out);
                let mut flags = vec![0; values.len()];
                for n in &odd {
                    if let Some(flag) = flags.get_mut(*n as usize) {
                        *flag = 1;
                    }
                }
                put_planes(out, &flags);
                return !odd.is_empty() && put_some(input, &odd, out);
            }
        }
        false
    }
}

fn number_tag(spelling: Spelling) -> u8 {
    match spelling {
        Spelling::Plain => INTEGERS,
        Spelling::Width(_) => DIGITS,
        Spelling::Scale(_) => DECIMALS,
    }
}

/// Writes the values of these rows as a column of their own.
fn put_some(input: &Input<'_>, rows: &[u32], out: &mut Vec<u8>) -> bool {
    let values = &input.values;
    let numbers: Vec<u32> = rows.iter().filter_map(|row| values.number(*row as usize)).collect();
    put_best(&Input { values: values.with_numbers(&numbers), parents: &[], ..*input }, out)
}

fn put_texts(values: &Values<'_>, strength: Strength, out: &mut Vec<u8>) {
    let total = values.total();
    if values.iter().any(|text| memchr::memchr(0, text).is_some()) {
        out.push(LENGTHS);
        let length = |text: &[u8]| i64::try_from(text.len()).unwrap_or(0);
        put_integers(out, &values.iter().map(length).collect::<Vec<_>>());
        let mut joined = Vec::with_capacity(total);
        values.iter().for_each(|text| joined.extend_from_slice(text));
        put_text(out, &joined, strength);
    } else {
        out.push(ENDED);
        let mut joined = Vec::with_capacity(total + values.len());
        for text in values.iter() {
            joined.extend_from_slice(text);
            joined.push(0);
        }
        put_text(out, &joined, strength);
    }
}
