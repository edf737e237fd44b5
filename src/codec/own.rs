//! A text searched for in fields that are derived from a record's own object, mostly without
//! reading the object: [`outline`](super::outline) tells which values stand in which slots, and
//! only rows whose values may cut it otherwise, or hold the text in some part, are read.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use memchr::memmem;

use super::ask::{self, Asked as Answer, Watch};
use super::chunk_fields::FieldsView;
use super::column::Column;
use super::fields::{Entry, LESS, Place, SharedFields, Source, WHOLE};
use super::items::Items;
use super::lines::{Values, View};
use super::numbers::Spelling;
use super::outline::{Outline, Role, Stands};
use super::places::Codes;
use super::question::Question;
use super::set::RowSet;
use super::template::Piece;
use super::texts::Texts;
use crate::base::error::Result;
use crate::base::find::Finder;
use crate::base::flatten::Flat;
use crate::base::fold::Folder;
use crate::base::json::read_scalar;
use crate::base::record::Defect;

/// Outlines that a segment remembers; the rows of further ones are read one by one.
const OUTLINES_MAX: usize = 1 << 14;

/// So few odd rows of a chunk are read at once, and their values kept for the next question.
const KEPT_ROWS: usize = 4_096;

/// What these may weigh, bytes; rows with more are read by each question.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// What decides how the object of a row is cut: its shape, and the templates of its line and of
/// its message.
type Cut = (u32, u32, u32);

type Known = HashMap<Cut, Option<Arc<Outline>>, foldhash::fast::RandomState>;

/// The outlines of a segment, each made when a chunk first needs it.
#[derive(Debug, Default)]
pub(super) struct Outlines {
    known: Mutex<(Known, Flat)>,
}

impl Outlines {
    fn get(
        &self,
        cut: Cut,
        shared: &SharedFields,
        around: &[Piece],
        message: &[Piece],
    ) -> Option<Arc<Outline>> {
        let mut guard = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, flat) = &mut *guard;
        if let Some(known) = known.get(&cut) {
            return known.clone();
        }
        let made = made(cut.0, shared, around, message, flat).map(Arc::new);
        if known.len() < OUTLINES_MAX {
            known.insert(cut, made.clone());
        }
        made
    }

    /// Bytes in memory, about.
    pub(super) fn weight(&self) -> usize {
        let guard = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        guard.0.values().flatten().map(|outline| outline.weight()).sum()
    }
}

fn made(
    shape: u32,
    shared: &SharedFields,
    around: &[Piece],
    message: &[Piece],
    flat: &mut Flat,
) -> Option<Outline> {
    if matches!(shape, WHOLE | LESS) {
        return Outline::new(Some(around), message, None, flat);
    }
    let derived = |entry: &&Entry| matches!(entry.source, Source::Derived(_));
    let entries: Vec<&Entry> = shared.shape(shape)?.iter().filter(derived).collect();
    let place = entries.first()?.source;
    if entries.iter().any(|entry| entry.source != place) {
        return None;
    }
    let names: Option<Vec<&str>> =
        entries.iter().map(|entry| Some(&**shared.name(entry.name)?)).collect();
    let around = (place == Source::Derived(Place::Around)).then_some(around);
    Outline::new(around, message, Some(&names?), flat)
}

/// The rows of a chunk whose fields are derived.
#[derive(Debug)]
pub(super) struct OwnRows {
    outlines: Vec<Arc<Outline>>,
    /// The pools around the message that have values.
    pools: Vec<u32>,
    /// For each row the number of its outline and one; 0: it has none.
    codes: Codes,
    /// Those without an outline, and those with values that may cut the object otherwise.
    odd: RowSet,
    /// Those of them with braces in front of the object, perhaps.
    braced: RowSet,
    /// Those that read as their outline says.
    plain: RowSet,
    /// Those of them with numbers that are shown otherwise than they are spelled (less a few zeros).
    respelled: RowSet,
    /// What the fields of odd rows are, once that was asked for.
    kept: OnceLock<Option<Items>>,
}

impl OwnRows {
    /// Looks at all templates and columns of a chunk that objects are cut from.
    pub(super) fn new(fields: &FieldsView<'_>, derived: &RowSet) -> Result<Self> {
        let (around, messages) = (fields.lines.around()?, fields.lines.messages()?);
        let (lines, texts) = (around.kinds()?, messages.kinds()?);
        let mut numbers: HashMap<Cut, u32, foldhash::fast::RandomState> = HashMap::default();
        let (mut outlines, mut cuts) = (Vec::new(), Vec::new());
        let mut codes = vec![0_u32; derived.rows()];
        let mut odd = Vec::new();
        for row in derived.iter() {
            let defects = fields.lines.defects(row)?;
            if defects.has(Defect::Truncated) || defects.has(Defect::TooManyFields) {
                odd.push(row);
            }
            let kind = |kinds: &Codes| kinds.get(row).unwrap_or_default();
            let shape = fields.fields.shape_of_row(row);
            let cut = (shape, kind(lines), kind(texts));
            let number = *numbers.entry(cut).or_insert_with(|| {
                let (around, message) = (around.template(cut.1), messages.template(cut.2));
                let shared = fields.fields.shared();
                let segment = (shape, around.0, message.0);
                let outline = shared.outlines().get(segment, shared, around.1, message.1);
                outline.map_or(0, |outline| {
                    outlines.push(outline);
                    cuts.push(cut);
                    u32::try_from(outlines.len()).unwrap_or(0)
                })
            });
            if number == 0 {
                odd.push(row);
            } else if let Some(code) = codes.get_mut(row) {
                *code = number;
            }
        }
        let codes = Codes::new(&codes, outlines.len() + 1);
        let mut odd = RowSet::from_rows(derived.rows(), odd);

        let mut pools = BTreeSet::new();
        for (outline, cut) in outlines.iter().zip(&cuts) {
            for (slot, _) in &outline.around {
                pools.extend(around.pool_of(cut.1, *slot)?);
            }
        }
        let pools = pools.into_iter().collect();

        // Which outlines want which values of which pools to be like what.
        let mut wanted: HashMap<(Place, u32, Role), Vec<bool>> = HashMap::new();
        for (n, (outline, cut)) in outlines.iter().zip(&cuts).enumerate() {
            for (place, slot, role) in &outline.roles {
                let (view, kind) = match place {
                    Place::Around => (&around, cut.1),
                    Place::Message => (&messages, cut.2),
                };
                let Some(pool) = view.pool_of(kind, *slot)? else { continue };
                let marked = wanted.entry((*place, pool, *role));
                let marked = marked.or_insert_with(|| vec![false; outlines.len() + 1]);
                if let Some(marked) = marked.get_mut(n + 1) {
                    *marked = true;
                }
            }
        }
        let mut respelled = RowSet::none(derived.rows());
        let mut braced = RowSet::none(derived.rows());
        for ((place, pool, role), marked) in wanted {
            let view = if place == Place::Around { &around } else { &messages };
            let with = |values: RowSet, rows: &mut RowSet| -> Result<()> {
                if !values.is_none() {
                    let more = view.rows_with(pool, &values)?;
                    *rows = rows.or(&more.and(&codes.marked(&marked)));
                }
                Ok(())
            };
            with(view.odd_values(pool, role)?, &mut odd)?;
            if role == Role::Before {
                with(view.odd_values(pool, role)?, &mut braced)?;
            }
            if role == Role::Scalar {
                with(view.odd_values(pool, Role::Exact)?, &mut respelled)?;
            }
        }
        let odd = odd.and(derived);
        let plain = derived.minus(&odd);
        let kept = OnceLock::new();
        Ok(Self { outlines, pools, codes, odd, braced, plain, respelled, kept })
    }

    /// Those of `among` with a derived value that holds the text. None of them holds it in its
    /// message.
    pub(super) fn find(
        &self,
        fields: &FieldsView<'_>,
        finder: &Finder,
        question: &Question,
        among: &RowSet,
        watch: &mut dyn Watch,
    ) -> Answer<RowSet> {
        let (mut found, mut look) = (RowSet::none(among.rows()), self.odd.and(among));
        if !look.is_none()
            && let Some(kept) = self.kept(fields, &look, watch)?
        {
            let rows = kept.find(&question.whole.probe, among.rows());
            (found, look) = (rows.and(&look), RowSet::none(among.rows()));
        }
        let is_number = |b: u8| b.is_ascii_digit() || b"+-.e".contains(&b);
        if finder.is_word() && finder.parts().all(|part| part.bytes().all(is_number)) {
            // A number may be a word as it is shown, and not as it is spelled.
            look = look.or(&self.respelled.and(among));
        }
        let plain = self.plain.and(among).minus(&look);
        if !plain.is_none() {
            let probe = &question.whole.probe;
            let holds = |texts: &Texts| !probe.of_any(texts).is_none();
            let with = |is: &dyn Fn(&Outline) -> bool| {
                let marked = std::iter::once(false).chain(self.outlines.iter().map(|o| is(o)));
                let marked: Vec<bool> = marked.collect();
                let any = marked.contains(&true);
                if any {
                    self.codes.marked(&marked).and(&plain)
                } else {
                    RowSet::none(plain.rows())
                }
            };
            found = found.or(&with(&|outline| holds(&outline.same)));
            // A text that may lie across pieces, or of which parts may.
            let across = question.may_lie_across();
            look = look.or(&with(&|outline| outline.varies && (across || holds(&outline.parts))));
            let left = plain.minus(&found).minus(&look);
            if !left.is_none() && !self.pools.is_empty() {
                let (more, maybe) = self.find_in_slots(fields, finder, &left, watch)?;
                found = found.or(&more);
                look = look.or(&maybe);
            }
        }
        let look = look.minus(&found);
        if look.is_none() {
            return Ok(found);
        }
        let (mut reader, mut folder) = (fields.reader()?, Folder::default());
        let mut holds =
            |text: &str| finder.is_in(if finder.folds() { folder.fold(text) } else { text });
        let more = ask::filter(&look, watch, |row| {
            let read = reader.read(row)?;
            Ok(read.iter().any(|field| ask::any_text(&field.value, &mut holds)))
        })?;
        Ok(found.or(&more))
    }

    /// Does the message alone give the object of a row, whatever stands around it?
    fn is_cut_in_message(&self, row: usize) -> bool {
        let code = self.codes.get(row).unwrap_or_default() as usize;
        let outline = code.checked_sub(1).and_then(|n| self.outlines.get(n));
        outline.is_some_and(|outline| outline.in_message) && !self.braced.contains(row)
    }

    /// The values of all odd rows; `None` where these are too many for what is asked, or too long.
    fn kept(
        &self,
        fields: &FieldsView<'_>,
        asked: &RowSet,
        watch: &mut dyn Watch,
    ) -> Answer<Option<&Items>> {
        if let Some(known) = self.kept.get() {
            return Ok(known.as_ref());
        }
        if self.odd.count() > KEPT_ROWS.max(2 * asked.count()) {
            return Ok(None);
        }
        let mut kept = Items::default();
        let mut reader = fields.reader()?;
        let mut all = self.odd.iter();
        let is_kept = loop {
            let Some(row) = all.next() else { break true };
            watch.worked(1)?;
            let message = reader.message(row)?;
            let in_message = self.is_cut_in_message(row);
            let stands = |text: &str| {
                let quoted = [b"\"", text.as_bytes(), b"\""].concat();
                memmem::find(&message, &quoted).is_some()
            };
            for field in reader.of_object(row, in_message)? {
                // What stands in the message within quotes was looked for there.
                kept.add(row, &field.value, &stands);
            }
            if kept.bytes() > KEPT_BYTES_MAX {
                break false;
            }
        };
        Ok(self.kept.get_or_init(|| is_kept.then_some(kept)).as_ref())
    }

    /// Those that have it in a slot around the message, and those that may.
    fn find_in_slots(
        &self,
        fields: &FieldsView<'_>,
        finder: &Finder,
        among: &RowSet,
        watch: &mut dyn Watch,
    ) -> Answer<(RowSet, RowSet)> {
        let (mut maybe, mut spelled) = (Vec::new(), Vec::new());
        let mut is_value = |row: usize, slot: usize| {
            let code = self.codes.get(row).unwrap_or_default() as usize;
            let outline = code.checked_sub(1).and_then(|n| self.outlines.get(n));
            match outline.and_then(|outline| outline.stands(slot)) {
                Some(Stands::Whole) => true,
                Some(Stands::Spelled) => {
                    spelled.push((row, slot));
                    false
                }
                Some(Stands::Part) => {
                    maybe.push(row);
                    false
                }
                None => false,
            }
        };
        let view = fields.lines.around()?;
        let known = view.shared.question(finder);
        let none = || RowSet::none(among.rows());
        let Some(Question { whole, .. }) = known.question() else { return Ok((none(), none())) };
        let mut found = view.find_in_slots(whole, &self.pools, &mut is_value, among, watch)?;
        spelled.retain(|(row, _)| !found.contains(*row));
        if !spelled.is_empty() {
            spelled.sort_unstable();
            let (mut reader, mut text, mut rows) = (view.into_reader()?, Vec::new(), Vec::new());
            for (row, slot) in spelled {
                watch.worked(1)?;
                text.clear();
                reader.slot_of(row, slot, &mut text)?;
                let value = std::str::from_utf8(&text).ok().and_then(read_scalar);
                if value.is_some_and(|value| whole.probe.holds(value.to_string().as_bytes())) {
                    rows.push(row);
                }
            }
            found = found.or(&RowSet::from_rows(among.rows(), rows));
        }
        let maybe = RowSet::from_rows(among.rows(), maybe);
        Ok((found, maybe))
    }

    /// Bytes in memory, about.
    pub(super) fn weight(&self) -> usize {
        let kept = self.kept.get().and_then(Option::as_ref).map_or(0, Items::weight);
        self.codes.weight() + self.outlines.len() * 8 + self.codes.len() / 2 + kept
    }
}

/// The values of a column that are odd in such a role.
fn odd_in(role: Role, column: &Column) -> RowSet {
    let rows = column.len();
    let is_number = |column: &Column| matches!(column, Column::Integers(..) | Column::Packed(_));
    match column {
        Column::Same(text, _) if role.is_odd(text) => RowSet::all(rows),
        Column::Same(..) | Column::Integers(_, Spelling::Plain) => RowSet::none(rows),
        column if is_number(column) && !role.is_scalar() => RowSet::none(rows),
        Column::Integers(numbers, Spelling::Scale(scale)) => {
            let mut numbers = numbers.iter();
            RowSet::of(rows, |_| numbers.next().is_some_and(|n| role.is_odd_decimal(*n, *scale)))
        }
        Column::Ids(ids, dictionary) => {
            let entries = odd_texts(role, dictionary);
            if entries.is_none() {
                return RowSet::none(rows);
            }
            let mut ids = ids.iter();
            RowSet::of(rows, |_| ids.next().is_some_and(|id| entries.contains(*id as usize)))
        }
        Column::Texts(texts) => odd_texts(role, texts),
        Column::Prefixed(prefix, rest) if !role.is_scalar() => {
            if role.is_odd(prefix) {
                RowSet::all(rows)
            } else {
                odd_in(role, rest)
            }
        }
        Column::Picks(picks, of) => {
            let found = odd_in(role, of);
            let mut picks = picks.iter();
            RowSet::of(rows, |_| picks.next().is_some_and(|pick| found.contains(*pick as usize)))
        }
        Column::Union(places, columns) => {
            let found: Vec<RowSet> = columns.iter().map(|of| odd_in(role, of)).collect();
            let mut places = places.iter();
            RowSet::of(rows, |_| {
                places.next().is_some_and(|(of, n)| {
                    found.get(usize::from(*of)).is_some_and(|of| of.contains(*n as usize))
                })
            })
        }
        column => {
            let mut room = Vec::new();
            RowSet::of(rows, |n| column.text(n, &mut room).is_none_or(|text| role.is_odd(text)))
        }
    }
}

fn odd_texts(role: Role, texts: &Texts) -> RowSet {
    // Most texts hold nothing of the kind.
    let none = match role {
        Role::Before => memchr::memchr(b'{', &texts.bytes).is_none(),
        Role::Quoted => !role.is_odd(&texts.bytes),
        Role::Scalar | Role::Exact => false,
    };
    if none {
        return RowSet::none(texts.len());
    }
    let mut values = texts.iter();
    RowSet::of(texts.len(), |_| values.next().is_some_and(|text| role.is_odd(text)))
}

impl View<'_> {
    /// The values of a pool that are odd in such a role.
    fn odd_values(&self, local: u32, role: Role) -> Result<RowSet> {
        Ok(match &*self.column(local)? {
            Values::Texts(column) => odd_in(role, column),
            Values::Stamps(_, values) if role.is_scalar() => RowSet::all(values.len()),
            Values::Stamps(_, values) => RowSet::none(values.len()),
        })
    }
}
