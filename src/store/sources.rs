//! Who sent how much: one line for each host and app.
//!
//! Kept with every live part and every segment, and summed in the catalogue, so that the answer
//! costs no scan.

use std::collections::HashMap;
use std::sync::Arc;

use crate::base::error::Result;
use crate::base::limits::SOURCES_MAX;
use crate::base::record::Record;
use crate::base::time::Timestamp;
use crate::store::Source;
use crate::store::wire::{Put, Reader};

/// Host and app of what came after [`SOURCES_MAX`] pairs.
const OTHER: &str = "(other)";

/// Counts by host and app; bounded.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sources {
    hosts: HashMap<
        Arc<str>,
        HashMap<Arc<str>, Tally, foldhash::fast::RandomState>,
        foldhash::fast::RandomState,
    >,
    pairs: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Tally {
    first: Timestamp,
    last: Timestamp,
    records: u64,
    bytes: u64,
    defects: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.records += other.records;
        self.bytes += other.bytes;
        self.defects += other.defects;
    }
}

impl Sources {
    /// Counts a record.
    pub(super) fn count(&mut self, record: &Record) {
        let tally = Tally {
            first: record.received,
            last: record.received,
            records: 1,
            bytes: record.line.raw().len() as u64,
            defects: u64::from(!record.defects.is_empty()),
        };
        self.add(&record.host, &record.app, tally);
    }

    /// Adds all of another.
    pub(super) fn merge(&mut self, other: &Self) {
        for (host, apps) in &other.hosts {
            for (app, tally) in apps {
                self.add(host, app, *tally);
            }
        }
    }

    fn add(&mut self, host: &Arc<str>, app: &Arc<str>, tally: Tally) {
        if let Some(own) = self.hosts.get_mut(host).and_then(|apps| apps.get_mut(app)) {
            own.add(tally);
        } else if self.pairs < SOURCES_MAX || (&**host, &**app) == (OTHER, OTHER) {
            self.pairs += 1;
            self.hosts.entry(Arc::clone(host)).or_default().insert(Arc::clone(app), tally);
        } else {
            self.add(&OTHER.into(), &OTHER.into(), tally);
        }
    }

    /// Sorted by host, then app.
    pub(super) fn list(&self) -> Vec<Source> {
        let each = |host: &Arc<str>, app: &Arc<str>, tally: &Tally| Source {
            host: Arc::clone(host),
            app: Arc::clone(app),
            first: tally.first,
            last: tally.last,
            records: tally.records,
            bytes: tally.bytes,
            defects: tally.defects,
        };
        let mut all: Vec<Source> = self
            .hosts
            .iter()
            .flat_map(|(host, apps)| apps.iter().map(move |(app, tally)| each(host, app, tally)))
            .collect();
        all.sort_by(|a, b| (&a.host, &a.app).cmp(&(&b.host, &b.app)));
        all
    }

    /// As bytes, sorted, so that equal counts are equal bytes.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let all = self.list();
        out.put_u32(u32::try_from(all.len()).unwrap_or(u32::MAX));
        for source in all {
            out.put_str(&source.host);
            out.put_str(&source.app);
            out.put_i64(source.first.0);
            out.put_i64(source.last.0);
            out.put_u64(source.records);
            out.put_u64(source.bytes);
            out.put_u64(source.defects);
        }
    }

    /// From what [`Self::put`] wrote.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let mut sources = Self::default();
        for _ in 0..reader.count(48)? {
            let (host, app) = (reader.str()?.into(), reader.str()?.into());
            let tally = Tally {
                first: Timestamp(reader.i64()?),
                last: Timestamp(reader.i64()?),
                records: reader.u64()?,
                bytes: reader.u64()?,
                defects: reader.u64()?,
            };
            sources.add(&host, &app, tally);
        }
        Ok(sources)
    }
}
