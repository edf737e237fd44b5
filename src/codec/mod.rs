#![doc = include_str!("FORMAT.md")]

pub mod ask;
mod bins;
mod body;
mod chunk_fields;
mod column;
mod derived;
mod directory;
mod dump;
mod encoders;
mod families;
mod fields;
pub mod filter;
mod hex;
mod integers;
mod items;
mod lines;
mod merge;
mod names;
mod numbers;
mod outline;
mod own;
mod pack;
mod parents;
mod places;
mod pool;
mod predict;
mod probe;
mod question;
mod rebuild;
pub mod record;
mod rows;
#[cfg(test)]
mod sample;
mod set;
mod skeleton;
mod spans;
mod template;
#[cfg(test)]
mod tests;
mod texts;
mod told;
mod value_text;
mod words;
mod work;

pub use merge::merge;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::base::error::Result;
use crate::base::find::Finder;
use crate::base::machine::ReadAt;
use crate::base::record::{Facility, Record, Severity};
use crate::base::time::Timestamp;
use crate::base::value::{Field, Value};
use ask::{Asked, By, Groups, Watch};

pub use dump::{Column, Template};
pub use set::RowSet;
pub use work::Work;

/// How much time may be spent on making columns small. The format is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strength {
    /// As little as possible: records are sealed.
    Quick,
    /// The best few ways to write a column are tried: segments are merged.
    Strong,
}

/// What is known of a chunk without opening it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkMeta {
    /// Records in it.
    pub rows: usize,
    /// Smallest id; ids rise with the row.
    pub first_id: u64,
    /// Largest id.
    pub last_id: u64,
    /// Smallest time.
    pub min_time: Timestamp,
    /// Largest time.
    pub max_time: Timestamp,
}

/// A segment's records as bytes, and what the store builds its index and catalogue from.
#[derive(Debug)]
pub struct Encoded {
    /// All sections and their table; offsets are relative to its start.
    pub body: Vec<u8>,
    /// One for each chunk.
    pub chunks: Vec<ChunkMeta>,
    /// The folded letter runs of each chunk: message, host, app, and field values.
    pub words: Vec<BTreeSet<String>>,
    /// Hashes of folded tokens of 8 and more characters with a digit, for the filter.
    pub tokens: Vec<u64>,
}

/// Encodes the records of one segment; each slice is one chunk, ids rising.
///
/// A chunk has at most [`crate::base::limits::CHUNK_ROWS_MAX`] rows; empty ones are left out.
pub fn encode(chunks: &[&[Arc<Record>]]) -> Encoded {
    body::encode(chunks, false, Strength::Quick)
}

/// The same, smaller, with more time.
pub fn encode_strong(chunks: &[&[Arc<Record>]]) -> Encoded {
    body::encode(chunks, false, Strength::Strong)
}

/// The same in the simplest way, large: texts are kept whole, and fields as bytes. For records
/// that [`encode`] cannot take, which would be a fault of its own, and must not cost them.
pub fn encode_whole(chunks: &[&[Arc<Record>]]) -> Encoded {
    body::encode(chunks, true, Strength::Quick)
}

/// Any bytes as a frame, packed where that is smaller.
pub fn framed(bytes: &[u8]) -> Vec<u8> {
    pack::pack_section(bytes)
}

/// What [`framed`] was given, of which there are at most `max` bytes; `place` is what errors name.
pub fn unframed(mut frame: &[u8], max: usize, place: &str) -> Result<Vec<u8>> {
    let bytes = pack::take_frame(&mut frame, max);
    bytes.and_then(|bytes| pack::done(frame).map(|()| bytes)).map_err(|damage| damage.at(place))
}

/// Reads what [`encode`] wrote.
#[derive(Clone, Debug)]
pub struct Body(Arc<body::Open>);

impl Body {
    /// Opens the body that stands at `at` in `file`, `len` bytes long; reads its table only.
    pub fn open(file: Arc<dyn ReadAt>, at: u64, len: u64) -> Result<Self> {
        body::Open::new(file, at, len).map(|open| Self(Arc::new(open)))
    }

    /// One for each chunk.
    pub fn chunks(&self) -> &[ChunkMeta] {
        self.0.chunks()
    }

    /// Bytes in memory now; grows as what the chunks share is first asked for.
    pub fn weight(&self) -> usize {
        self.0.weight()
    }

    /// Opens a chunk; columns are decoded when first asked for.
    pub fn chunk(&self, n: usize) -> Result<Arc<dyn Rows>> {
        Ok(Arc::new(rows::ChunkRows::new(Arc::clone(&self.0), n)?))
    }
}

/// Where a text is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Look {
    /// In the message, the host, the app, and the values of fields.
    Everywhere,
    /// In the message alone.
    Message,
}

/// A text that a record has once, and many records alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// Every record has one.
    Host,
    /// Every record has one.
    App,
    /// The facility's name.
    Facility,
    /// As in the record.
    Pid,
    /// As in the record.
    Format,
    /// As in the record.
    Tag,
    /// Of the record's `via`, as the following.
    WireFormat,
    /// The listener's name.
    Listener,
    /// `tcp`, `udp`, …
    Transport,
    /// The sender's address.
    Peer,
}

impl Name {
    /// What a record has of this name.
    pub fn of(self, record: &Record) -> Option<&str> {
        match self {
            Self::Host => Some(&record.host),
            Self::App => Some(&record.app),
            Self::Facility => record.facility.map(Facility::name),
            Self::Pid => record.pid.as_deref(),
            Self::Format => record.format.as_deref(),
            Self::Tag => record.tag.as_deref(),
            Self::WireFormat => Some(&record.via.format),
            Self::Listener => Some(&record.via.listener),
            Self::Transport => Some(&record.via.transport),
            Self::Peer => Some(&record.via.peer),
        }
    }
}

/// The rows of one chunk, live or sealed: what a scan works on.
///
/// Columns are decoded at the first call that needs them and kept until the chunk is dropped.
/// Every method with `row` answers [`crate::base::error::Error::Corrupt`] beyond the last row.
/// Those with `among` answer which of these rows are meant; they look at as little as they can.
pub trait Rows: Send + Sync {
    /// What is known without decoding.
    fn meta(&self) -> &ChunkMeta;
    /// All ids, rising.
    fn ids(&self) -> Result<&[u64]>;
    /// All times, in the order of the ids.
    fn times(&self) -> Result<&[Timestamp]>;
    /// A row's severity.
    fn severity(&self, row: usize) -> Result<Option<Severity>>;
    /// A row's host.
    fn host(&self, row: usize) -> Result<&str>;
    /// A row's app.
    fn app(&self, row: usize) -> Result<&str>;
    /// A row's message.
    fn message(&self, row: usize) -> Result<Cow<'_, str>>;
    /// A row's fields.
    fn fields(&self, row: usize) -> Result<Cow<'_, [Field]>>;
    /// Those where a text is found.
    fn find(
        &self,
        finder: &Finder,
        look: Look,
        among: &RowSet,
        watch: &mut dyn Watch,
    ) -> Asked<RowSet> {
        ask::find(self, finder, look, among, watch)
    }
    /// Those whose message passes.
    fn with_message(
        &self,
        among: &RowSet,
        watch: &mut dyn Watch,
        is: &mut dyn FnMut(&str) -> bool,
    ) -> Asked<RowSet> {
        ask::filter(among, watch, |row| self.message(row).map(|text| is(&text)))
    }
    /// Those that have such a name, and it passes.
    fn with_name(
        &self,
        name: Name,
        among: &RowSet,
        watch: &mut dyn Watch,
        is: &mut dyn FnMut(&str) -> bool,
    ) -> Asked<RowSet> {
        ask::with_name(self, name, among, watch, is)
    }
    /// Those that have a severity, and it passes.
    fn with_severity(
        &self,
        among: &RowSet,
        watch: &mut dyn Watch,
        is: &mut dyn FnMut(Severity) -> bool,
    ) -> Asked<RowSet> {
        ask::with_severity(self, among, watch, is)
    }
    /// Those that have a field of a name that is meant, whose value passes.
    fn with_field(
        &self,
        named: &dyn Fn(&str) -> bool,
        among: &RowSet,
        watch: &mut dyn Watch,
        is: &mut dyn FnMut(&Value) -> bool,
    ) -> Asked<RowSet> {
        ask::with_field(self, named, among, watch, is)
    }
    /// Those whose record passes.
    fn with_record(
        &self,
        among: &RowSet,
        watch: &mut dyn Watch,
        is: &mut dyn FnMut(&Record) -> bool,
    ) -> Asked<RowSet> {
        ask::filter(among, watch, |row| self.record(row).map(|record| is(&record)))
    }
    /// Tells these rows apart.
    fn group(&self, by: &By<'_>, among: &RowSet, watch: &mut dyn Watch) -> Asked<Groups> {
        ask::group(self, by, among, watch)
    }
    /// Has any row a field of a name that is meant?
    fn has_field(&self, named: &dyn Fn(&str) -> bool) -> Result<bool> {
        for row in 0..self.meta().rows {
            if self.fields(row)?.iter().any(|field| named(&field.name)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
    /// The whole record.
    fn record(&self, row: usize) -> Result<Arc<Record>>;
    /// These records, in the order of the rows.
    fn records(&self, rows: &RowSet) -> Result<Vec<Arc<Record>>> {
        rows.iter().map(|row| self.record(row)).collect()
    }
    /// Bytes it holds in memory now, for the cache's budget.
    fn weight(&self) -> usize;
    /// Lets go of decoded columns, which are decoded again when they are asked for.
    fn shed(&self) {}
}
