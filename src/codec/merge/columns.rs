//! The columns of one place of lines: as many pools at a time as memory allows, each fed from the
//! columns of the inputs and written for all chunks.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use super::feed::{Batch, Flow, Gathered, Special};
use super::inputs::{AROUND, Chunk, Inputs, MESSAGES};
use super::lines::{Target, United, templates};
use super::told::Told;
use crate::base::error::{Error, Result};
use crate::base::time::Timestamp;
use crate::codec::Strength;
use crate::codec::body::{Open, Part, lazily};
use crate::codec::directory::put_columns;
use crate::codec::integers::Integers;
use crate::codec::lines::{ChunkLines, Cuts, Times, View};
use crate::codec::pack::put_numbers;
use crate::codec::parents::{APP, HOST, MESSAGE, OWN, PID, RowIds, SEVERITY};
use crate::codec::pool::{Plan, Pool};
use crate::codec::template::{Piece, PoolKey, count_used, put_templates, put_texts};

/// What the sections of a place are made of.
pub(super) struct Sections {
    /// For each chunk.
    pub(super) chunks: Vec<Vec<u8>>,
    pub(super) shared: Vec<u8>,
}

/// A place of lines that is being written.
pub(super) struct Columns<'a, 'f> {
    inputs: &'a Inputs,
    united: &'a United<'f>,
    keys: Vec<&'f PoolKey>,
    /// For each chunk the templates that it has, and how many rows each.
    used: Vec<Vec<(u32, u32)>>,
    /// For each chunk its columns, each with its number.
    written: Vec<Vec<(usize, Vec<u8>)>>,
    /// For each pool its dictionary.
    dictionaries: Vec<Vec<u8>>,
}

impl<'a, 'f> Columns<'a, 'f> {
    /// Writes all of them; `None` where `go_on` says no.
    pub(super) fn write(
        inputs: &'a Inputs,
        united: &'a United<'f>,
        told: &mut Told,
        (values, go_on): (usize, &mut dyn FnMut() -> bool),
    ) -> Result<Option<Sections>> {
        let keys = united.filed.pool_keys();
        let dictionaries = vec![Vec::new(); keys.len()];
        let (used, written) = (Vec::new(), Vec::new());
        let mut all = Self { inputs, united, keys, used, written, dictionaries };
        all.put_templates(told);
        for batch in all.batches(values) {
            if !all.put_batch(&batch, told, go_on)? {
                return Ok(None);
            }
        }
        let mut shared = Vec::new();
        put_templates(&all.keys, united.filed.templates(), &all.used, &mut shared);
        for dictionary in &all.dictionaries {
            shared.extend_from_slice(dictionary);
        }
        let chunks = all.written.into_iter().map(|mut columns| {
            columns.sort_unstable_by_key(|(number, _)| *number);
            let mut section = Vec::new();
            put_columns(&mut section, &columns);
            section
        });
        Ok(Some(Sections { chunks: chunks.collect(), shared }))
    }

    /// The first column of each chunk: the templates of its rows.
    fn put_templates(&mut self, told: &mut Told) {
        let templates = self.united.filed.templates();
        for joined in 0..self.inputs.joined.len() {
            let rows = self.united.rows(self.inputs, joined);
            let used = count_used(&rows);
            let mut places = vec![0_u64; templates.len()];
            for ((template, _), n) in used.iter().zip(0_u64..) {
                if let Some(place) = places.get_mut(*template as usize) {
                    *place = n;
                }
                let pieces = templates.get(*template as usize).map_or(&[][..], Vec::as_slice);
                told.template((self.united.place, joined), pieces);
            }
            let place = |template: &u32| places.get(*template as usize).copied();
            let places: Vec<u64> = rows.iter().filter_map(place).collect();
            let mut column = Vec::new();
            put_numbers(&mut column, &places, Strength::Strong);
            self.written.push(vec![(0, column)]);
            self.used.push(used);
        }
    }

    /// The pools, as many at a time as have at most so many values.
    fn batches(&self, most: usize) -> Vec<Vec<u32>> {
        let mut values = vec![0_usize; self.keys.len()];
        let templates = self.united.filed.templates();
        for (template, rows) in self.used.iter().flatten() {
            let pieces = templates.get(*template as usize).into_iter().flatten();
            for pool in pieces.filter_map(Piece::pool) {
                if let Some(values) = values.get_mut(pool as usize) {
                    *values += *rows as usize;
                }
            }
        }
        let mut batches: Vec<Vec<u32>> = Vec::new();
        let mut room = 0;
        for (pool, values) in (0_u32..).zip(values) {
            match batches.last_mut() {
                Some(batch) if values <= room => batch.push(pool),
                _ => {
                    batches.push(vec![pool]);
                    room = most;
                }
            }
            room = room.saturating_sub(values);
        }
        batches
    }

    fn put_batch(
        &mut self,
        pools: &[u32],
        told: &mut Told,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        let mut batch = Batch::new();
        for pool in pools {
            batch.add(
                *pool,
                match self.keys.get(*pool as usize) {
                    Some(PoolKey::Stamp(format)) => Gathered::Stamps(*format, Vec::new()),
                    _ => Gathered::Texts(Pool::default()),
                },
            );
        }
        let inputs = self.inputs;
        for joined in 0..inputs.joined.len() {
            if !go_on() {
                return Ok(false);
            }
            for n in inputs.numbers(joined) {
                self.feed(&mut batch, joined, n)?;
            }
            self.end_chunk(&mut batch, joined, told)?;
        }
        let mut plans: Vec<(u32, Plan<'_>)> = Vec::new();
        for (pool, gathered) in &batch.pools {
            if let Gathered::Texts(gathered) = gathered {
                plans.push((*pool, Plan::new(gathered, Strength::Strong)));
            }
        }
        for joined in 0..inputs.joined.len() {
            if !go_on() {
                return Ok(false);
            }
            self.put_columns(joined, &mut plans, told);
        }
        for (pool, plan) in &plans {
            if let Some(dictionary) = self.dictionaries.get_mut(*pool as usize) {
                plan.put_dictionary(dictionary);
            }
        }
        Ok(true)
    }

    /// Writes the columns that nothing has to be known for of the chunks behind.
    fn end_chunk(&mut self, batch: &mut Batch, joined: usize, told: &mut Told) -> Result<()> {
        let mut times: Option<Vec<i64>> = None;
        for (pool, gathered) in &mut batch.pools {
            match gathered {
                Gathered::Stamps(format, values) if !values.is_empty() => {
                    let mut column = Vec::new();
                    Integers::of(values).put(Strength::Strong, &mut column);
                    let times = match &times {
                        Some(times) => times,
                        None => times.insert(self.inputs.integers(joined, Part::Time)?),
                    };
                    // One of them, or where they may differ in words, all of them.
                    let rows = self.rows_of(joined, &[*pool]);
                    let rows = rows.first().map_or(&[][..], Vec::as_slice);
                    let some = if format.holds_words() { values.len() } else { 1 };
                    let mut last = None;
                    let mut text = Vec::new();
                    for (value, row) in values.iter().zip(rows).take(some) {
                        let time = times.get(*row as usize).copied().unwrap_or_default();
                        let value = value.wrapping_add(format.at(time));
                        if last.replace(value) != Some(value) {
                            text.clear();
                            format.write(value, &mut text);
                            told.time(joined, &text);
                        }
                    }
                    values.clear();
                    if let Some(written) = self.written.get_mut(joined) {
                        written.push((*pool as usize + 1, column));
                    }
                }
                _ => {}
            }
        }
        let mut plain: Vec<(u32, Plan<'_>)> = Vec::new();
        for (pool, gathered) in &batch.pools {
            if let Gathered::Texts(gathered) = gathered
                && gathered.is_plain()
            {
                plain.push((*pool, Plan::new(gathered, Strength::Strong)));
            }
        }
        // Those that had a dictionary until now have values of all chunks before.
        let chunks = |plan: &(u32, Plan<'_>)| plan.1.chunks().collect::<Vec<_>>();
        let mut chunks: Vec<usize> = plain.iter().flat_map(chunks).collect();
        chunks.sort_unstable();
        chunks.dedup();
        for joined in chunks {
            self.put_columns(joined, &mut plain, told);
        }
        drop(plain);
        for (_, gathered) in &mut batch.pools {
            if let Gathered::Texts(pool) = gathered {
                pool.clear_plain();
            }
        }
        Ok(())
    }

    /// Writes the columns of pools of texts of a chunk.
    fn put_columns(&mut self, joined: usize, plans: &mut [(u32, Plan<'_>)], told: &mut Told) {
        let pools: Vec<u32> = plans.iter().map(|(pool, _)| *pool).collect();
        let rows_of = self.rows_of(joined, &pools);
        let mut whiches = vec![HOST, APP, SEVERITY, PID];
        if self.united.place == AROUND {
            whiches.push(MESSAGE);
        }
        let mut parents: Vec<RowIds> =
            whiches.into_iter().map(|which| self.inputs.parent(joined, which)).collect();
        let rows = self.united.rows(self.inputs, joined);
        parents.push(RowIds { which: OWN, rows, texts: None });
        let place = (self.united.place, joined);
        for ((pool, plan), rows) in plans.iter_mut().zip(&rows_of) {
            let mut column = Vec::new();
            put_texts(plan, joined, parents.iter(), rows, &mut column);
            plan.for_each_distinct(joined, |text| told.value(place, *pool as usize, text));
            if let Some(written) = self.written.get_mut(joined).filter(|_| !column.is_empty()) {
                written.push((*pool as usize + 1, column));
            }
        }
    }

    /// For each of these pools the rows of its values in a chunk.
    fn rows_of(&self, joined: usize, pools: &[u32]) -> Vec<Vec<u32>> {
        let mut at = vec![usize::MAX; self.keys.len()];
        for (n, pool) in pools.iter().enumerate() {
            if let Some(at) = at.get_mut(*pool as usize) {
                *at = n;
            }
        }
        let templates = self.united.filed.templates().iter().map(|pieces| {
            let slots = pieces.iter().filter_map(Piece::pool);
            let slots = slots.filter_map(|pool| at.get(pool as usize).copied());
            slots.filter(|at| *at != usize::MAX).collect()
        });
        let templates: Vec<Vec<usize>> = templates.collect();
        let mut rows_of = vec![Vec::new(); pools.len()];
        for (template, row) in self.united.rows(self.inputs, joined).iter().zip(0_u32..) {
            for n in templates.get(*template as usize).into_iter().flatten() {
                if let Some(rows) = rows_of.get_mut(*n) {
                    rows.push(row);
                }
            }
        }
        rows_of
    }

    /// Feeds what a chunk of an input has.
    fn feed(&self, batch: &mut Batch, joined: usize, n: usize) -> Result<()> {
        let chunk = self.inputs.chunk(n)?;
        let near = Near::new(self.inputs, chunk)?;
        let lines = near.lines(self.united.place)?;
        let view = near.view(self.united.place, &lines)?;
        let targets = self.united.targets(chunk);
        let special = self.special(n, &near, &targets)?;
        let pools: Vec<u32> = view.lines.pools().iter().map(|(pool, _)| *pool).collect();
        let flow = Flow {
            places: view.places()?,
            routes: targets.iter().map(|target| &target.routes[..]).collect(),
            special,
            column: &|local| view.column(local),
            times: &|| Ok(near.times()?.into()),
        };
        batch.feed(joined, (chunk.body, &pools), &flow)
    }

    /// The rows that columns do not tell: those that are records, and those that are kept whole.
    fn special<'s>(
        &'s self,
        n: usize,
        near: &Near<'_>,
        targets: &[&Target],
    ) -> Result<Vec<Special<'s>>> {
        let filed = self.united.filed;
        let mut special: Vec<Special<'s>> = Vec::new();
        for (at, row) in near.chunk.loose.iter().enumerate() {
            let template = filed.number_of(n, at).unwrap_or_default() as usize;
            let pieces = filed.templates().get(template).into_iter().flatten();
            let pools = pieces.filter_map(Piece::pool).enumerate();
            let text = |slot| Cow::Borrowed(filed.slot(n, at, slot).unwrap_or_default());
            special.push((*row, pools.map(|(slot, pool)| (pool, text(slot))).collect()));
        }
        if targets.iter().any(|target| target.kept) {
            let lines = near.lines(self.united.place)?;
            let view = near.view(self.united.place, &lines)?;
            let kinds = view.places()?.kinds();
            let mut reader = near.view(self.united.place, &lines)?.into_reader()?;
            let (mut text, mut cuts) = (Vec::new(), Cuts::default());
            for row in 0..kinds.len() {
                let kind = kinds.get(row).unwrap_or_default() as usize;
                let number = u32::try_from(row).unwrap_or(u32::MAX);
                let is_kept = targets.get(kind).is_some_and(|target| target.kept);
                if !is_kept || near.chunk.loose.binary_search(&number).is_ok() {
                    continue;
                }
                text.clear();
                reader.read(row, &[], &mut text, &mut cuts)?;
                let parts = match cuts.hole.and_then(|at| text.split_at_checked(at)) {
                    Some((head, tail)) => vec![head, tail],
                    None => vec![&text[..]],
                };
                let values = parts.iter().map(|part| (0, Cow::Owned(part.to_vec())));
                special.push((number, values.collect()));
            }
            special.sort_unstable_by_key(|(row, _)| *row);
        }
        Ok(special)
    }
}

/// A chunk of an input, and what stands beside its columns, which they are read with.
pub(super) struct Near<'a> {
    inputs: &'a Inputs,
    chunk: &'a Chunk,
    body: Arc<Open>,
    times: OnceLock<Vec<Timestamp>>,
    parents: [OnceLock<RowIds>; OWN as usize],
}

impl<'a> Near<'a> {
    pub(super) fn new(inputs: &'a Inputs, chunk: &'a Chunk) -> Result<Self> {
        let (times, parents) = (OnceLock::new(), Default::default());
        Ok(Self { inputs, chunk, body: inputs.body(chunk)?, times, parents })
    }

    /// A list of integers, one a row.
    pub(super) fn integers(&self, part: Part) -> Result<Vec<i64>> {
        self.inputs.open(self.chunk)?.integers(part)
    }

    /// Where the columns of a place stand.
    pub(super) fn lines(&self, place: usize) -> Result<ChunkLines> {
        let shared = templates(&self.body, place)?;
        let part = if place == MESSAGES { Part::Message } else { Part::Around };
        let take =
            |input: &mut &[u8]| ChunkLines::take(input, shared, self.chunk.n, self.chunk.rows);
        self.body.part(self.chunk.n, part, take)
    }

    /// The same, to be read.
    pub(super) fn view<'v>(&'v self, place: usize, lines: &'v ChunkLines) -> Result<View<'v>> {
        let shared = templates(&self.body, place)?;
        Ok(View { lines, shared, times: self, here: "a merge's input" })
    }
}

impl Times for Near<'_> {
    fn times(&self) -> Result<&[Timestamp]> {
        let times = lazily(&self.times, || {
            self.integers(Part::Time).map(|all| all.into_iter().map(Timestamp).collect())
        })?;
        Ok(times)
    }

    fn row_ids(&self, which: u32) -> Result<RowIds> {
        let unknown = || Error::corrupt("a merge", "a column told by what there is not");
        let cell = self.parents.get(which as usize).ok_or_else(unknown)?;
        let parent = || self.chunk.parent(which, &self.inputs.names).ok_or_else(unknown);
        lazily(cell, parent).cloned()
    }
}
