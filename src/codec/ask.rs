//! Questions to the rows of a chunk, and the rows that answer them.
//!
//! A question is asked of some rows (those that others left over) and answered with a [`RowSet`].
//! The functions here ask row by row: what any [`Rows`] can do, and what the quicker ways of
//! sealed chunks are held to.

use std::borrow::Cow;
use std::collections::HashMap;

use super::{Look, Name, RowSet, Rows};
use crate::base::error::{Error, Result};
use crate::base::find::Finder;
use crate::base::fold::{Folder, fold_into};
use crate::base::record::{Record, Severity};
use crate::base::value::Value;

/// Why there is no answer.
#[derive(Debug)]
pub enum Halt {
    /// The [`Watch`] said so.
    Stopped,
    /// The rows cannot be read.
    Failed(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// An answer, unless it was stopped.
pub type Asked<T> = std::result::Result<T, Halt>;

/// Told how the work goes on, and may stop it.
pub trait Watch {
    /// About so many rows more were looked at, or as much was done as that takes.
    fn worked(&mut self, rows: usize) -> Asked<()>;
}

/// Those of `among` for which `is` says so.
pub(super) fn filter(
    among: &RowSet,
    watch: &mut dyn Watch,
    mut is: impl FnMut(usize) -> Result<bool>,
) -> Asked<RowSet> {
    let mut found = Vec::new();
    for row in among.iter() {
        watch.worked(1)?;
        if is(row)? {
            found.push(row);
        }
    }
    Ok(RowSet::from_rows(among.rows(), found))
}

/// See [`Rows::find`].
pub(super) fn find(
    rows: &(impl Rows + ?Sized),
    finder: &Finder,
    look: Look,
    among: &RowSet,
    watch: &mut dyn Watch,
) -> Asked<RowSet> {
    let (mut folded, mut folder) = (String::new(), Folder::default());
    filter(among, watch, |row| {
        let message = rows.message(row)?;
        let in_message = if finder.folds() {
            folded.clear();
            fold_into(&message, &mut folded);
            finder.is_in(&folded)
        } else {
            finder.is_in(&message)
        };
        if in_message || look == Look::Message {
            return Ok(in_message);
        }
        let mut holds =
            |text: &str| finder.is_in(if finder.folds() { folder.fold(text) } else { text });
        Ok(holds(rows.host(row)?)
            || holds(rows.app(row)?)
            || rows.fields(row)?.iter().any(|field| any_text(&field.value, &mut holds)))
    })
}

/// Does one of the texts of a value that a term looks at pass?
pub(super) fn any_text(value: &Value, is: &mut impl FnMut(&str) -> bool) -> bool {
    match value {
        Value::Str(text) => is(text),
        Value::Array(items) => items.iter().any(|item| any_text(item, is)),
        other => is(&other.to_string()),
    }
}

/// See [`Rows::with_name`].
pub(super) fn with_name(
    rows: &(impl Rows + ?Sized),
    name: Name,
    among: &RowSet,
    watch: &mut dyn Watch,
    is: &mut dyn FnMut(&str) -> bool,
) -> Asked<RowSet> {
    match name {
        Name::Host => filter(among, watch, |row| rows.host(row).map(&mut *is)),
        Name::App => filter(among, watch, |row| rows.app(row).map(&mut *is)),
        rare => filter(among, watch, |row| Ok(rare.of(&*rows.record(row)?).is_some_and(&mut *is))),
    }
}

/// See [`Rows::with_severity`].
pub(super) fn with_severity(
    rows: &(impl Rows + ?Sized),
    among: &RowSet,
    watch: &mut dyn Watch,
    is: &mut dyn FnMut(Severity) -> bool,
) -> Asked<RowSet> {
    filter(among, watch, |row| Ok(rows.severity(row)?.is_some_and(&mut *is)))
}

/// See [`Rows::with_field`].
pub(super) fn with_field(
    rows: &(impl Rows + ?Sized),
    named: &dyn Fn(&str) -> bool,
    among: &RowSet,
    watch: &mut dyn Watch,
    is: &mut dyn FnMut(&Value) -> bool,
) -> Asked<RowSet> {
    filter(among, watch, |row| {
        Ok(rows.fields(row)?.iter().any(|field| named(&field.name) && is(&field.value)))
    })
}

/// What rows are told apart by.
pub enum By<'a> {
    /// What they have of a name.
    Name(Name),
    /// The severity's name.
    Severity,
    /// The value of their first field of a name that is meant.
    Field(&'a dyn Fn(&str) -> bool),
    /// Any text of a record.
    Record(&'a dyn Fn(&Record) -> Option<String>),
}

/// Rows told apart.
#[derive(Debug, Default)]
pub struct Groups {
    /// For each row that was asked about, in their order, the number of its value.
    pub of: Vec<u32>,
    /// The values, each once; `None` for rows that have none.
    pub values: Vec<Option<String>>,
}

/// Gathers [`Groups`] row by row.
#[derive(Default)]
pub(super) struct Grouping {
    groups: Groups,
    numbers: HashMap<Option<String>, u32, foldhash::fast::RandomState>,
}

impl Grouping {
    /// The next row's value.
    fn add(&mut self, value: Option<Cow<'_, str>>) {
        let value = value.map(Cow::into_owned);
        let next = u32::try_from(self.groups.values.len()).unwrap_or(u32::MAX);
        let number = *self.numbers.entry(value).or_insert_with_key(|value| {
            self.groups.values.push(value.clone());
            next
        });
        self.groups.of.push(number);
    }
}

/// See [`Rows::group`].
pub(super) fn group(
    rows: &(impl Rows + ?Sized),
    by: &By<'_>,
    among: &RowSet,
    watch: &mut dyn Watch,
) -> Asked<Groups> {
    let mut grouping = Grouping::default();
    for row in among.iter() {
        watch.worked(1)?;
        match by {
            By::Name(Name::Host) => grouping.add(Some(rows.host(row)?.into())),
            By::Name(Name::App) => grouping.add(Some(rows.app(row)?.into())),
            By::Name(name) => grouping.add(name.of(&*rows.record(row)?).map(Into::into)),
            By::Severity => grouping.add(rows.severity(row)?.map(|s| s.name().into())),
            By::Field(named) => {
                let fields = rows.fields(row)?;
                let field = fields.iter().find(|field| named(&field.name));
                grouping.add(field.map(|field| match &field.value {
                    Value::Str(text) => Cow::from(&**text),
                    other => other.to_string().into(),
                }));
            }
            By::Record(text) => grouping.add(text(&*rows.record(row)?).map(Into::into)),
        }
    }
    Ok(grouping.groups)
}
