//! Values of bytes, one after the other in one buffer.
//!
//! What pools gather, dictionaries hold and columns are decoded to: no allocation for each value.

/// Values of bytes, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Texts {
    pub(super) bytes: Vec<u8>,
    pub(super) ends: Vec<usize>,
}

impl Texts {
    /// Adds one at the end.
    pub(super) fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.ends.push(self.bytes.len());
    }

    /// Ends a value that was written piece by piece through [`Texts::open`].
    pub(super) fn close(&mut self) {
        self.ends.push(self.bytes.len());
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
        let end = *self.ends.get(n)?;
        self.bytes.get(self.start(n)..end)
    }

    /// Where the `n`-th starts.
    pub(super) fn start(&self, n: usize) -> usize {
        n.checked_sub(1).and_then(|n| self.ends.get(n)).copied().unwrap_or(0)
    }

    /// In their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let text = self.bytes.get(start..end).unwrap_or_default();
            start = end;
            text
        })
    }

    /// Bytes in memory.
    pub(super) fn weight(&self) -> usize {
        self.bytes.len() + self.ends.len() * size_of::<usize>()
    }
}

impl<'a> FromIterator<&'a [u8]> for Texts {
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(texts: I) -> Self {
        let mut all = Self::default();
        texts.into_iter().for_each(|text| all.push(text));
        all
    }
}
