//! The values of a place's old columns into the pools that the new ones are written from: some
//! pools at a time, so that only their values are in memory.
//!
//! A column whose values all go to one pool, which nothing else goes to, is taken as it is; others
//! are walked through row by row. What a dictionary says is looked up once for each of its entries.
//! A pool that has no dictionary is written chunk by chunk and let go of.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use crate::base::error::Result;
use crate::base::stamp::Format;
use crate::base::time::Timestamp;
use crate::codec::column::Column;
use crate::codec::lines::Values;
use crate::codec::places::Places;
use crate::codec::pool::Pool;
use crate::codec::texts::Texts;

/// Where the value of a new slot comes from.
#[derive(Clone, Debug)]
pub(super) enum From {
    /// A slot of the old template.
    Slot(usize),
    /// It is always this.
    Text(Box<[u8]>),
}

/// A new slot: its pool, and where its value comes from.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) pool: u32,
    pub(super) from: From,
}

/// A row whose values do not come from columns: texts, each with its pool, in the order of the slots.
pub(super) type Special<'a> = (u32, Vec<(u32, Cow<'a, [u8]>)>);

/// What one chunk of an input has for the pools of a place.
pub(super) struct Flow<'a> {
    /// The kinds of the rows, and their slots: pools by their numbers in this chunk.
    pub(super) places: &'a Places,
    /// For each kind its new slots.
    pub(super) routes: Vec<&'a [Route]>,
    /// Rows rising.
    pub(super) special: Vec<Special<'a>>,
    /// Reads an old column.
    pub(super) column: &'a dyn Fn(u32) -> Result<Arc<Values>>,
    /// For each row its time, which the times in its line are told by.
    pub(super) times: &'a dyn Fn() -> Result<Arc<[Timestamp]>>,
}

/// What a pool gathers while it is fed.
#[derive(Debug)]
pub(super) enum Gathered {
    Texts(Pool),
    /// The differences of the chunk at hand, and the texts whose words are to be known.
    Stamps(Format, Vec<i64>),
}

/// Who feeds a pool in a chunk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Feeder {
    Nobody,
    /// This old column, and it feeds nothing else.
    Column(u32),
    Many,
}

/// The new numbers of a dictionary's entries; `u32::MAX` where an entry has none yet.
#[derive(Default)]
struct Known {
    of: Arc<Texts>,
    numbers: Vec<u32>,
}

/// Some pools of a place, being fed.
pub(super) struct Batch {
    /// For each pool of the place where it stands in `pools`, or `usize::MAX`.
    at: Vec<usize>,
    /// Each with its number.
    pub(super) pools: Vec<(u32, Gathered)>,
    /// The body that was last read, and by new pool and old one what is known of a dictionary.
    body: usize,
    known: HashMap<(usize, u32), Known, foldhash::fast::RandomState>,
    room: Vec<u8>,
}

impl Batch {
    /// Without any.
    pub(super) fn new() -> Self {
        let (at, pools, known) = (Vec::new(), Vec::new(), HashMap::default());
        Self { at, pools, body: usize::MAX, known, room: Vec::new() }
    }

    /// Adds a pool by its number.
    pub(super) fn add(&mut self, pool: u32, gathered: Gathered) {
        let n = pool as usize;
        if self.at.len() <= n {
            self.at.resize(n + 1, usize::MAX);
        }
        if let Some(cell) = self.at.get_mut(n) {
            *cell = self.pools.len();
        }
        self.pools.push((pool, gathered));
    }

    fn place(&self, pool: u32) -> Option<usize> {
        self.at.get(pool as usize).copied().filter(|at| *at != usize::MAX)
    }

    /// Adds what a chunk of a body has, whose pools have these numbers; its values are those of
    /// chunk `joined` of what is written.
    pub(super) fn feed(
        &mut self,
        joined: usize,
        (body, pools): (usize, &[u32]),
        flow: &Flow<'_>,
    ) -> Result<()> {
        if self.body != body {
            self.known.clear();
            self.body = body;
        }
        let feeders = self.feeders(flow, pools.len());
        for (at, feeder) in feeders.iter().enumerate() {
            if let Feeder::Column(old) = feeder {
                let values = (flow.column)(*old)?;
                let global = pools.get(*old as usize).copied().unwrap_or_default();
                self.take_all(joined, at, (global, &values));
            }
        }
        if feeders.contains(&Feeder::Many) {
            self.walk(joined, flow, (pools, &feeders))?;
        }
        Ok(())
    }

    /// Who feeds each pool of the batch.
    fn feeders(&self, flow: &Flow<'_>, olds: usize) -> Vec<Feeder> {
        let kinds = flow.places.kinds();
        let mut told = vec![0_usize; flow.routes.len()];
        kinds.each(|_, kind| {
            if let Some(told) = told.get_mut(kind) {
                *told += 1;
            }
        });
        let mut odd = vec![false; told.len()];
        for (row, _) in &flow.special {
            let kind = kinds.get(*row as usize).unwrap_or(u32::MAX) as usize;
            if let (Some(told), Some(odd)) = (told.get_mut(kind), odd.get_mut(kind)) {
                *told -= 1;
                *odd = true;
            }
        }
        // The one new pool that an old one feeds.
        let mut owners: Vec<Option<u32>> = vec![None; olds];
        let mut shared = vec![false; olds];
        for ((kind, routes), (told, odd)) in (0_u32..).zip(&flow.routes).zip(told.iter().zip(&odd))
        {
            let slots = flow.places.slots(kind);
            if *odd {
                for old in slots {
                    if let Some(shared) = shared.get_mut(*old as usize) {
                        *shared = true;
                    }
                }
            }
            for route in routes.iter().filter(|_| *told > 0) {
                let From::Slot(slot) = route.from else { continue };
                let old = slots.get(slot).map_or(usize::MAX, |old| *old as usize);
                if let (Some(owner), Some(shared)) = (owners.get_mut(old), shared.get_mut(old)) {
                    *shared |= owner.is_some_and(|owner| owner != route.pool);
                    *owner = Some(route.pool);
                }
            }
        }
        let mut feeders = vec![Feeder::Nobody; self.pools.len()];
        let mut feed = |pool: u32, by: Feeder| {
            let Some(feeder) = self.place(pool).and_then(|at| feeders.get_mut(at)) else { return };
            *feeder = match *feeder {
                Feeder::Nobody => by,
                same if same == by => same,
                _ => Feeder::Many,
            };
        };
        for (kind, (routes, told)) in (0_u32..).zip(flow.routes.iter().zip(&told)) {
            let slots = flow.places.slots(kind);
            for route in routes.iter().filter(|_| *told > 0) {
                let by = match route.from {
                    From::Slot(slot) => match slots.get(slot) {
                        Some(old) if shared.get(*old as usize) == Some(&false) => {
                            Feeder::Column(*old)
                        }
                        _ => Feeder::Many,
                    },
                    From::Text(_) => Feeder::Many,
                };
                feed(route.pool, by);
            }
        }
        for (pool, _) in flow.special.iter().flat_map(|(_, values)| values) {
            feed(*pool, Feeder::Many);
        }
        feeders
    }

    /// All values of an old column.
    fn take_all(&mut self, joined: usize, at: usize, (old, values): (u32, &Values)) {
        let Self { pools, known, room, .. } = self;
        match (pools.get_mut(at), values) {
            (Some((_, Gathered::Texts(pool))), Values::Texts(column)) => {
                let known = known.entry((at, old)).or_default();
                for n in 0..column.len() {
                    take(pool, joined, (column, n), known, room);
                }
            }
            (Some((_, Gathered::Stamps(_, all))), Values::Stamps(_, values)) => {
                all.extend_from_slice(values);
            }
            _ => {}
        }
    }

    /// Goes through the rows for the pools that many feed.
    fn walk(
        &mut self,
        joined: usize,
        flow: &Flow<'_>,
        (olds, feeders): (&[u32], &[Feeder]),
    ) -> Result<()> {
        let many =
            |pool: u32| self.place(pool).filter(|at| feeders.get(*at) == Some(&Feeder::Many));
        // The new slots of each kind that are looked at, and the old pools whose values are counted.
        let steps: Vec<Vec<(usize, &From)>> = flow
            .routes
            .iter()
            .map(|routes| {
                let steps = routes.iter().filter_map(|r| Some((many(r.pool)?, &r.from)));
                steps.collect()
            })
            .collect();
        let mut columns: Vec<Option<Arc<Values>>> = vec![None; olds.len()];
        for (kind, steps) in (0_u32..).zip(&steps) {
            let slots = flow.places.slots(kind);
            for (_, from) in steps {
                let From::Slot(slot) = from else { continue };
                let Some(old) = slots.get(*slot) else { continue };
                if let Some(cell) = columns.get_mut(*old as usize)
                    && cell.is_none()
                {
                    *cell = Some((flow.column)(*old)?);
                }
            }
        }
        let counted: Vec<Vec<u32>> = (0_u32..)
            .take(steps.len())
            .map(|kind| {
                let slots = flow.places.slots(kind).iter().copied();
                let is = |old: &u32| columns.get(*old as usize).is_some_and(Option::is_some);
                slots.filter(is).collect()
            })
            .collect();
        let mut next = vec![0_usize; olds.len()];
        let mut special = flow.special.iter().peekable();
        let kinds = flow.places.kinds();
        let mut times: Option<Arc<[Timestamp]>> = None;
        for row in 0..kinds.len() {
            let kind = kinds.get(row).unwrap_or_default() as usize;
            let is_special = special.peek().is_some_and(|(at, _)| *at as usize == row);
            if let Some((_, values)) = special.next_if(|_| is_special) {
                for (pool, text) in values {
                    let Some(at) = self.place(*pool) else { continue };
                    self.take_text(joined, at, text, (row, flow, &mut times))?;
                }
            } else if let Some(steps) = steps.get(kind).filter(|steps| !steps.is_empty()) {
                let slots = flow.places.slots(u32::try_from(kind).unwrap_or(u32::MAX));
                for (at, from) in steps {
                    let slot = match from {
                        From::Text(text) => {
                            self.take_text(joined, *at, text, (row, flow, &mut times))?;
                            continue;
                        }
                        From::Slot(slot) => *slot,
                    };
                    let Some(old) = slots.get(slot).copied() else { continue };
                    let before = slots.get(..slot).unwrap_or_default();
                    let nth = before.iter().filter(|other| **other == old).count();
                    let n = next.get(old as usize).copied().unwrap_or_default() + nth;
                    let global = olds.get(old as usize).copied().unwrap_or_default();
                    let values = columns.get(old as usize).and_then(Option::as_deref);
                    self.take_one(joined, *at, (global, values, n));
                }
            }
            for old in counted.get(kind).into_iter().flatten() {
                if let Some(next) = next.get_mut(*old as usize) {
                    *next += 1;
                }
            }
        }
        Ok(())
    }

    fn take_one(
        &mut self,
        joined: usize,
        at: usize,
        (old, values, n): (u32, Option<&Values>, usize),
    ) {
        let Self { pools, known, room, .. } = self;
        match (pools.get_mut(at), values) {
            (Some((_, Gathered::Texts(pool))), Some(Values::Texts(column))) => {
                let known = known.entry((at, old)).or_default();
                take(pool, joined, (column, n), known, room);
            }
            (Some((_, Gathered::Stamps(_, all))), Some(Values::Stamps(_, values))) => {
                all.extend(values.get(n));
            }
            _ => {}
        }
    }

    fn take_text(
        &mut self,
        joined: usize,
        at: usize,
        text: &[u8],
        (row, flow, times): (usize, &Flow<'_>, &mut Option<Arc<[Timestamp]>>),
    ) -> Result<()> {
        match self.pools.get_mut(at) {
            Some((_, Gathered::Texts(pool))) => pool.push(joined, text),
            Some((_, Gathered::Stamps(format, all))) => {
                if times.is_none() {
                    *times = Some((flow.times)()?);
                }
                let time = times.as_ref().and_then(|times| times.get(row)).map_or(0, |t| t.0);
                let value = format.read(text).unwrap_or_default();
                all.push(value.wrapping_sub(format.at(time)));
            }
            None => {}
        }
        Ok(())
    }
}

/// Adds a value of a column.
fn take(
    pool: &mut Pool,
    joined: usize,
    (column, n): (&Column, usize),
    known: &mut Known,
    room: &mut Vec<u8>,
) {
    if let Column::Ids(ids, dictionary) = column
        && !pool.is_plain()
        && let Some(entry) = ids.get(n).map(|id| *id as usize)
    {
        if !Arc::ptr_eq(&known.of, dictionary) {
            let numbers = vec![u32::MAX; dictionary.len()];
            *known = Known { of: Arc::clone(dictionary), numbers };
        }
        if let Some(number) = known.numbers.get_mut(entry) {
            if *number == u32::MAX {
                *number = pool.entry(dictionary.get(entry).unwrap_or_default()).unwrap_or(u32::MAX);
            }
            pool.push_entry(joined, *number);
            return;
        }
    }
    pool.push(joined, column.text(n, room).unwrap_or_default());
}
