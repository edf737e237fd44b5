//! Values of bytes, one after the other in one buffer.
//!
//! What pools gather, dictionaries hold and columns are decoded to: no allocation for each value.

use std::sync::OnceLock;

use crate::base::fold::fold_into;

/// A place in texts.
fn narrow(at: usize) -> u32 {
    debug_assert!(u32::try_from(at).is_ok(), "texts of 4 GiB");
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Values of bytes, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Texts {
    pub(super) bytes: Vec<u8>,
    /// Where each ends; all together have less than 4 GiB (`limits::COLUMN_BYTES_MAX`).
    pub(super) ends: Vec<u32>,
    /// Made when first asked for.
    folded: OnceLock<Box<Self>>,
}

impl Texts {
    /// From all their bytes and where each ends.
    pub(super) fn new(bytes: Vec<u8>, ends: Vec<u32>) -> Self {
        Self { bytes, ends, folded: OnceLock::new() }
    }

    /// The same, folded, for searching where they are not all ASCII; to be asked for only once they
    /// are complete. What is no UTF-8 is made such.
    pub(super) fn folded(&self) -> &Self {
        self.folded.get_or_init(|| {
            let mut all = String::with_capacity(self.bytes.len());
            let mut ends = Vec::with_capacity(self.len());
            for text in self.iter() {
                fold_into(&String::from_utf8_lossy(text), &mut all);
                ends.push(narrow(all.len()));
            }
            Box::new(Self::new(all.into_bytes(), ends))
        })
    }

    /// Adds one at the end.
    pub(super) fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.ends.push(narrow(self.bytes.len()));
    }

    /// Ends a value that was written piece by piece through [`Texts::open`].
    pub(super) fn close(&mut self) {
        self.ends.push(narrow(self.bytes.len()));
    }

    /// Where the pieces of the next value go.
    pub(super) fn open(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// All their bytes.
    pub(super) fn total(&self) -> usize {
        self.bytes.len()
    }

    /// One of them.
    pub(super) fn get(&self, n: usize) -> Option<&[u8]> {
        let end = *self.ends.get(n)? as usize;
        self.bytes.get(self.start(n)..end)
    }

    /// Where the `n`-th starts.
    pub(super) fn start(&self, n: usize) -> usize {
        n.checked_sub(1).and_then(|n| self.ends.get(n)).map_or(0, |end| *end as usize)
    }

    /// In their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let end = end as usize;
            let text = self.bytes.get(start..end).unwrap_or_default();
            start = end;
            text
        })
    }

    /// All of them from one on to before another, as a column takes them.
    pub(super) fn values(&self, from: usize, to: usize) -> Values<'_> {
        let to = to.min(self.len());
        Values { texts: self, picks: Picks::Run(from.min(to), to), skip: 0 }
    }

    /// The ones of these numbers.
    pub(super) fn picked<'a>(&'a self, numbers: &'a [u32]) -> Values<'a> {
        Values { texts: self, picks: Picks::These(numbers), skip: 0 }
    }

    /// Bytes in memory.
    pub(super) fn weight(&self) -> usize {
        let folded = self.folded.get().map(|folded| folded.weight());
        self.bytes.len() + self.ends.len() * size_of::<u32>() + folded.unwrap_or(0)
    }
}

impl<'a> FromIterator<&'a [u8]> for Texts {
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(texts: I) -> Self {
        let mut all = Self::default();
        texts.into_iter().for_each(|text| all.push(text));
        all
    }
}

/// Some of the texts in some order, less what all of them begin with: what a column is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Values<'a> {
    texts: &'a Texts,
    picks: Picks<'a>,
    /// Bytes left out at the front of each.
    skip: usize,
}

#[derive(Clone, Copy, Debug)]
enum Picks<'a> {
    Run(usize, usize),
    These(&'a [u32]),
}

impl<'a> Values<'a> {
    /// How many.
    pub(super) fn len(&self) -> usize {
        match self.picks {
            Picks::Run(from, to) => to - from,
            Picks::These(numbers) => numbers.len(),
        }
    }

    /// One of them; empty beyond the last.
    pub(super) fn get(&self, n: usize) -> &'a [u8] {
        let number = match self.picks {
            Picks::Run(from, _) => Some(from + n),
            Picks::These(numbers) => numbers.get(n).map(|number| *number as usize),
        };
        let text = number.and_then(|number| self.texts.get(number)).unwrap_or_default();
        text.get(self.skip..).unwrap_or_default()
    }

    /// In their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let values = *self;
        (0..values.len()).map(move |n| values.get(n))
    }

    /// The same less so many more bytes at the front of each.
    pub(super) fn after(mut self, bytes: usize) -> Self {
        self.skip += bytes;
        self
    }

    /// All their bytes.
    pub(super) fn total(&self) -> usize {
        match self.picks {
            Picks::Run(from, to) => {
                let skipped = self.skip * (to - from);
                (self.texts.start(to) - self.texts.start(from)).saturating_sub(skipped)
            }
            Picks::These(_) => self.iter().map(<[u8]>::len).sum(),
        }
    }

    /// Their numbers among the texts.
    pub(super) fn number(&self, n: usize) -> Option<u32> {
        match self.picks {
            Picks::Run(from, to) => u32::try_from(from + n).ok().filter(|_| from + n < to),
            Picks::These(numbers) => numbers.get(n).copied(),
        }
    }

    /// The same texts, of other numbers.
    pub(super) fn with_numbers(mut self, numbers: &'a [u32]) -> Self {
        self.picks = Picks::These(numbers);
        self
    }
}
