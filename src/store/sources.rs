//! Who sent how much: one line for each host and app.
//!
//! Kept with every live part and every segment, and summed when first asked for, so that the answer
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
    fn of(record: &Record) -> Self {
        Self {
            first: record.received,
            last: record.received,
            records: 1,
            bytes: record.line.raw().len() as u64,
            defects: u64::from(!record.defects.is_empty()),
        }
    }

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
        self.add(&record.host, &record.app, Tally::of(record));
    }

    /// Counts records. Those of one sender share its names, so most are told apart by where their
    /// names are; only the sums are looked up by text.
    pub(super) fn count_all(&mut self, records: &[Arc<Record>]) {
        const PLACES: usize = 64;
        if records.len() < PLACES {
            return records.iter().for_each(|record| self.count(record));
        }
        let mut sums: [Option<(&Record, Tally)>; PLACES] = [None; PLACES];
        for record in records {
            let address = |name: &Arc<str>| Arc::as_ptr(name).addr() >> 4;
            let place = (address(&record.host) ^ address(&record.app).rotate_left(3)) % PLACES;
            let Some(sum) = sums.get_mut(place) else { continue };
            let tally = Tally::of(record);
            match sum {
                Some((first, all))
                    if Arc::ptr_eq(&first.host, &record.host)
                        && Arc::ptr_eq(&first.app, &record.app) =>
                {
                    all.add(tally);
                }
                _ => {
                    if let Some((first, all)) = sum.replace((record, tally)) {
                        self.add(&first.host, &first.app, all);
                    }
                }
            }
        }
        for (first, all) in sums.into_iter().flatten() {
            self.add(&first.host, &first.app, all);
        }
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
            // Not one of those that are bounded, so that what was written is read as the same.
            self.pairs += usize::from((&**host, &**app) != (OTHER, OTHER));
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

    /// As bytes, sorted, so that equal counts are equal bytes: names, then one number of all after
    /// the other, which packs to a quarter of what one pair after the other does.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let all = self.list();
        let hosts: Vec<&[Source]> = all.chunk_by(|a, b| a.host == b.host).collect();
        out.put_u32(u32::try_from(hosts.len()).unwrap_or(u32::MAX));
        for apps in hosts {
            out.put_str(apps.first().map_or("", |source| &source.host));
            out.put_u32(u32::try_from(apps.len()).unwrap_or(u32::MAX));
            for source in apps {
                out.put_str(&source.app);
            }
        }
        let numbers: [fn(&Source) -> i64; 5] = [
            |source| source.first.0,
            |source| source.last.0,
            |source| source.records.cast_signed(),
            |source| source.bytes.cast_signed(),
            |source| source.defects.cast_signed(),
        ];
        for number in numbers {
            for source in &all {
                out.put_i64(number(source));
            }
        }
    }

    /// From what [`Self::put`] wrote.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let mut names: Vec<(Arc<str>, Arc<str>)> = Vec::new();
        for _ in 0..reader.count(8)? {
            let host: Arc<str> = reader.str()?.into();
            for _ in 0..reader.count(44)? {
                names.push((Arc::clone(&host), reader.str()?.into()));
            }
        }
        let mut column = || names.iter().map(|_| reader.i64()).collect::<Result<Vec<i64>>>();
        let (first, last) = (column()?, column()?);
        let (records, bytes, defects) = (column()?, column()?, column()?);
        let mut sources = Self::default();
        let times = first.into_iter().zip(last);
        let counts = records.into_iter().zip(bytes).zip(defects);
        for (((host, app), (first, last)), ((records, bytes), defects)) in
            names.iter().zip(times).zip(counts)
        {
            let tally = Tally {
                first: Timestamp(first),
                last: Timestamp(last),
                records: records.cast_unsigned(),
                bytes: bytes.cast_unsigned(),
                defects: defects.cast_unsigned(),
            };
            sources.add(host, app, tally);
        }
        Ok(sources)
    }
}
