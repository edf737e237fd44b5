//! What stands beside the values of lines: the host, the app, … of the same rows.
//!
//! The writer makes [`RowIds`] of a chunk's records, the reader of its columns; both bring them in
//! line with the values of a pool in the same way ([`RowIds::beside`]), and so agree.

use std::sync::Arc;

use super::predict::{Parent, ParentRows, dense};
use super::texts::Texts;
use crate::base::record::Record;

/// As parents are named in the file.
pub(super) const HOST: u32 = 0;
pub(super) const APP: u32 = 1;
pub(super) const SEVERITY: u32 = 2;
pub(super) const PID: u32 = 3;
/// The template of the message; only for what stands around it.
pub(super) const MESSAGE: u32 = 4;
/// The template of the line itself.
pub(super) const OWN: u32 = 5;
/// Host and app together; only for names and numbers of records.
pub(super) const SOURCE: u32 = 6;
/// The templates of the message and of what stands around it, together; likewise.
pub(super) const BOTH: u32 = 7;

/// What each row of a chunk has of a parent, as a number.
#[derive(Clone, Debug)]
pub(super) struct RowIds {
    pub(super) which: u32,
    pub(super) rows: Vec<u32>,
    /// The texts of the numbers, where a column may hold them too.
    pub(super) texts: Option<Texts>,
}

/// A parent in line with the values of a pool.
#[derive(Debug)]
pub(super) struct Aligned {
    which: u32,
    ids: Vec<u32>,
    texts: Option<Texts>,
}

impl RowIds {
    /// Those of texts; for none, which is told from an empty one, an empty one.
    fn of_texts<'t>(which: u32, texts: impl Iterator<Item = Option<&'t str>> + Clone) -> Self {
        let rows = dense(texts.clone());
        let mut different = Texts::default();
        for (text, row) in texts.zip(&rows) {
            if *row as usize == different.len() {
                different.push(text.unwrap_or_default().as_bytes());
            }
        }
        Self { which, rows, texts: Some(different) }
    }

    /// Those that the records of a chunk have.
    pub(super) fn of_records(records: &[Arc<Record>]) -> Vec<Self> {
        let severity = |record: &Arc<Record>| record.severity.map_or(0, |s| s as u32 + 1);
        vec![
            Self::of_texts(HOST, records.iter().map(|record| Some(&*record.host))),
            Self::of_texts(APP, records.iter().map(|record| Some(&*record.app))),
            Self { which: SEVERITY, rows: records.iter().map(severity).collect(), texts: None },
            Self::of_texts(PID, records.iter().map(|record| record.pid.as_deref())),
        ]
    }

    /// What each row has of two parents together.
    pub(super) fn of_both(which: u32, a: &Self, b: &Self) -> Self {
        Self { which, rows: dense(a.rows.iter().zip(&b.rows)), texts: None }
    }

    /// In line with values that stand in these rows, numbered as they first appear there; `None`
    /// where a row is not there.
    pub(super) fn beside(&self, rows: &[u32]) -> Option<Aligned> {
        let mut numbers: Vec<u32> = Vec::new();
        let mut texts = self.texts.as_ref().map(|_| Texts::default());
        let mut next = 0;
        let mut ids = Vec::with_capacity(rows.len());
        for row in rows {
            let id = *self.rows.get(*row as usize)? as usize;
            if numbers.len() <= id {
                numbers.resize(id + 1, u32::MAX);
            }
            let number = numbers.get_mut(id)?;
            if *number == u32::MAX {
                *number = next;
                next += 1;
                if let (Some(to), Some(from)) = (&mut texts, &self.texts) {
                    to.push(from.get(id)?);
                }
            }
            ids.push(*number);
        }
        Some(Aligned { which: self.which, ids, texts })
    }
}

impl Aligned {
    /// As the writer of a column takes it; `None` where it tells nothing, or each value apart.
    pub(super) fn parent(&self) -> Option<Parent<'_>> {
        let different = self.ids.iter().max().map_or(0, |most| *most as usize + 1);
        let tells = self.texts.is_some() || different > 1 && different < self.ids.len();
        tells.then(|| Parent { which: self.which, ids: &self.ids, texts: self.texts.as_ref() })
    }

    /// As the reader of a column takes it.
    pub(super) fn into_rows(self) -> ParentRows {
        ParentRows { ids: self.ids.into(), texts: self.texts.map(Arc::new) }
    }
}
