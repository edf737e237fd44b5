//! Names, codes and numbers of the rows of all inputs: their sections, in the order of [`Part`].

use super::inputs::{AROUND, Inputs, MESSAGES};
use super::lines::United;
use super::told::Told;
use crate::base::error::Result;
use crate::codec::Strength;
use crate::codec::body::{Part, Shared};
use crate::codec::integers::Integers;
use crate::codec::pack::put_planes;
use crate::codec::parents::{APP, Aligned, BOTH, HOST, MESSAGE, RowIds, SOURCE};
use crate::codec::pool::{Plan, Pool};
use crate::codec::predict::Parent;
use crate::codec::told::put_told;

/// A chunk's sections, one after the other, and which part each is.
pub(super) type Sections = Vec<(Part, Vec<u8>)>;

/// The names, with the part that has their column; told by what, and are they looked for?
const NAMES: [(Shared, Part, &[u32], bool); 6] = [
    (Shared::Host, Part::Host, &[], true),
    (Shared::App, Part::App, &[MESSAGE, BOTH], true),
    (Shared::Pid, Part::Pid, &[SOURCE], false),
    (Shared::Format, Part::Format, &[MESSAGE], false),
    (Shared::Via, Part::Via, &[BOTH, SOURCE], false),
    (Shared::Tag, Part::Tag, &[SOURCE], true),
];

/// Writes the sections of each chunk, and the dictionaries of names, in the order of [`Shared`].
pub(super) fn write(
    inputs: &Inputs,
    lines: [&United<'_>; 2],
    told: &mut Told,
) -> Result<(Vec<Sections>, Vec<Vec<u8>>)> {
    let mut chunks: Vec<Sections> = Vec::new();
    for joined in 0..inputs.joined.len() {
        let mut sections = Sections::new();
        for part in [Part::Id, Part::Time, Part::Received, Part::Defects] {
            let mut section = Vec::new();
            Integers::of(&inputs.integers(joined, part)?).put(Strength::Strong, &mut section);
            sections.push((part, section));
        }
        let beside = Beside { inputs, lines, joined };
        let parents = [beside.parent(MESSAGE), beside.parent(BOTH)];
        let parents: Vec<&RowIds> = parents.iter().flatten().collect();
        let codes = |codes: fn(&super::inputs::Chunk) -> &[u8]| {
            let codes = inputs.of(joined).iter().flat_map(codes);
            let mut section = Vec::new();
            put_told(
                &codes.map(|code| u64::from(*code)).collect::<Vec<_>>(),
                &parents,
                &mut section,
            );
            section
        };
        sections.push((Part::Severity, codes(|chunk| &chunk.severity)));
        sections.push((Part::Facility, codes(|chunk| &chunk.facility)));
        chunks.push(sections);
    }
    let mut dictionaries = Vec::new();
    for (shared, part, by, looked_for) in NAMES {
        let mut pool = Pool::default();
        let all = inputs.names.get(shared as usize);
        for joined in 0..inputs.joined.len() {
            for name in inputs.of(joined).iter().flat_map(|chunk| chunk.names(shared)) {
                let entry = name.checked_sub(1).and_then(|entry| all?.get(entry as usize));
                if let Some(text) = entry {
                    pool.push(joined, text);
                }
            }
        }
        let mut plan = Plan::new(&pool, Strength::Strong);
        for (joined, sections) in chunks.iter_mut().enumerate() {
            let mut section = Vec::new();
            let names = || inputs.of(joined).iter().flat_map(|chunk| chunk.names(shared));
            let mut rows: Vec<u32> = (0..).zip(names()).map(|(row, _)| row).collect();
            if matches!(shared, Shared::Pid | Shared::Format | Shared::Tag) {
                let flags: Vec<u64> = names().map(|name| u64::from(name > 0)).collect();
                put_planes(&mut section, &flags);
                let there = (0..).zip(names()).filter(|(_, name)| *name > 0);
                rows = there.map(|(row, _)| row).collect();
            }
            let beside = Beside { inputs, lines, joined };
            let parents: Vec<RowIds> = by
                .iter()
                .filter(|_| !rows.is_empty())
                .filter_map(|by| beside.parent(*by))
                .collect();
            let parents: Vec<Aligned> =
                parents.iter().filter_map(|parent| parent.beside(&rows)).collect();
            let parents: Vec<Parent<'_>> = parents.iter().filter_map(Aligned::parent).collect();
            plan.put_column(joined, &parents, &mut section);
            sections.push((part, section));
            if let Some(words) = told.chunk(joined).filter(|_| looked_for) {
                plan.for_each_distinct(joined, |text| words.add(text));
            }
        }
        let mut dictionary = Vec::new();
        plan.put_dictionary(&mut dictionary);
        dictionaries.push(dictionary);
    }
    for sections in &mut chunks {
        sections.sort_by_key(|(part, _)| *part as usize);
    }
    Ok((chunks, dictionaries))
}

/// What stands beside the rows of a chunk that is written.
struct Beside<'a, 'f> {
    inputs: &'a Inputs,
    lines: [&'a United<'f>; 2],
    joined: usize,
}

impl Beside<'_, '_> {
    fn parent(&self, which: u32) -> Option<RowIds> {
        let templates = |place: usize| {
            let united = self.lines.get(place)?;
            Some(RowIds { which, rows: united.rows(self.inputs, self.joined), texts: None })
        };
        match which {
            MESSAGE => templates(MESSAGES),
            BOTH => Some(RowIds::of_both(which, &templates(AROUND)?, &templates(MESSAGES)?)),
            SOURCE => {
                let [host, app] = [HOST, APP].map(|which| self.inputs.parent(self.joined, which));
                Some(RowIds::of_both(which, &host, &app))
            }
            _ => None,
        }
    }
}
