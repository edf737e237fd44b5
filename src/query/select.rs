//! A query asked of a chunk: the rows for which it holds.
//!
//! Terms, fields and names are asked of the chunk as a whole (`codec::ask`), each only of the rows
//! that the ones before left open; AND, OR and NOT join the answers. For a record in memory,
//! `check` does the same.

use super::check::{Check, FieldCheck, Scratch, Seen, Wanted};
use super::field::{Builtin, Keys};
use crate::codec::ask::{Asked, Watch};
use crate::codec::{Look, Name, RowSet, Rows};

impl Check {
    /// Those of `among` for which it holds.
    pub(super) fn select(
        &self,
        rows: &dyn Rows,
        among: &RowSet,
        watch: &mut dyn Watch,
        scratch: &mut Scratch,
    ) -> Asked<RowSet> {
        if among.is_none() {
            return Ok(among.clone());
        }
        match self {
            Self::All => Ok(among.clone()),
            Self::And(checks) => {
                let mut left = among.clone();
                for check in checks {
                    left = check.select(rows, &left, watch, scratch)?;
                }
                Ok(left)
            }
            Self::Or(checks) => {
                let mut left = among.clone();
                for check in checks {
                    let found = check.select(rows, &left, watch, scratch)?;
                    left = left.minus(&found);
                }
                Ok(among.minus(&left))
            }
            Self::Not(check) => Ok(among.minus(&check.select(rows, among, watch, scratch)?)),
            Self::Text(finder) => rows.find(finder, Look::Everywhere, among, watch),
            Self::Regex(regex) => {
                rows.with_message(among, watch, &mut |message| regex.is_match(message))
            }
            Self::Field(check) => check.select(rows, among, watch, scratch),
            Self::Either { keys, field, text } => {
                let has = rows.with_field(&|name| keys.has(name), among, watch, &mut |_| true)?;
                let fields = field.select(rows, &has, watch, scratch)?;
                Ok(fields.or(&text.select(rows, &among.minus(&has), watch, scratch)?))
            }
        }
    }
}

impl FieldCheck {
    fn select(
        &self,
        rows: &dyn Rows,
        among: &RowSet,
        watch: &mut dyn Watch,
        scratch: &mut Scratch,
    ) -> Asked<RowSet> {
        let found = match self.builtin {
            Some(builtin) => self.select_builtin(builtin, rows, among, watch, scratch)?,
            None => RowSet::none(among.rows()),
        };
        if self.keys == Keys::None {
            return Ok(found);
        }
        let named = |name: &str| self.keys.has(name);
        let mut is = |value: &_| self.wanted.is(Seen::Value(value), scratch);
        Ok(found.or(&rows.with_field(&named, &among.minus(&found), watch, &mut is)?))
    }

    fn select_builtin(
        &self,
        builtin: Builtin,
        rows: &dyn Rows,
        among: &RowSet,
        watch: &mut dyn Watch,
        scratch: &mut Scratch,
    ) -> Asked<RowSet> {
        if let Some(name) = named(builtin) {
            return rows.with_name(name, among, watch, &mut |text| {
                self.wanted.is(Seen::Text(text), scratch)
            });
        }
        match builtin {
            Builtin::Severity => rows.with_severity(among, watch, &mut |severity| {
                self.wanted.is(Seen::Severity(severity), scratch)
            }),
            Builtin::Message => {
                if let Wanted::Containing(finder) = &self.wanted {
                    return rows.find(finder, Look::Message, among, watch);
                }
                rows.with_message(among, watch, &mut |text| {
                    self.wanted.is(Seen::Text(text), scratch)
                })
            }
            Builtin::Id => {
                let ids = rows.ids()?;
                Ok(RowSet::of(among.rows(), |row| {
                    let id = ids.get(row).filter(|_| among.contains(row));
                    id.is_some_and(|id| self.wanted.is(Seen::Id(*id), scratch))
                }))
            }
            Builtin::Time => {
                let times = rows.times()?;
                Ok(RowSet::of(among.rows(), |row| {
                    let time = times.get(row).filter(|_| among.contains(row));
                    time.is_some_and(|time| self.wanted.is(Seen::Time(*time), scratch))
                }))
            }
            rare => rows.with_record(among, watch, &mut |record| {
                self.wanted.is_of_record(rare, record, scratch)
            }),
        }
    }
}

/// What is one of few texts, as the codec calls it.
pub(super) fn named(builtin: Builtin) -> Option<Name> {
    Some(match builtin {
        Builtin::Host => Name::Host,
        Builtin::App => Name::App,
        Builtin::Facility => Name::Facility,
        Builtin::Pid => Name::Pid,
        Builtin::Format => Name::Format,
        Builtin::Tag => Name::Tag,
        Builtin::WireFormat => Name::WireFormat,
        Builtin::Listener => Name::Listener,
        Builtin::Transport => Name::Transport,
        Builtin::Peer => Name::Peer,
        Builtin::Id
        | Builtin::Time
        | Builtin::Received
        | Builtin::Severity
        | Builtin::Message
        | Builtin::Defect => return None,
    })
}
