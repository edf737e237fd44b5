//! Numbers and texts as bytes, for every file of the store: little-endian, texts behind their
//! length; and a reader that cannot run beyond the end.

use crate::base::error::{Error, Result};

/// Adds numbers and texts to the end of bytes.
pub(super) trait Put {
    /// Raw bytes.
    fn put(&mut self, bytes: &[u8]);
    /// Four bytes.
    fn put_u32(&mut self, n: u32) {
        self.put(&n.to_le_bytes());
    }
    /// Eight bytes.
    fn put_u64(&mut self, n: u64) {
        self.put(&n.to_le_bytes());
    }
    /// Eight bytes.
    fn put_i64(&mut self, n: i64) {
        self.put(&n.to_le_bytes());
    }
    /// Its length in four bytes, then UTF-8.
    fn put_str(&mut self, text: &str) {
        self.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.put(text.as_bytes());
    }
}

impl Put for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Takes numbers and texts from the front of bytes.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    place: &'a str,
}

impl<'a> Reader<'a> {
    /// Reads `bytes`; `place` is what errors name.
    pub(super) fn new(bytes: &'a [u8], place: &'a str) -> Self {
        Self { rest: bytes, place }
    }

    /// The next `n` bytes.
    pub(super) fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        match self.rest.split_at_checked(n) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(self.damaged(format!("{n} bytes expected, {} left", self.rest.len()))),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| self.damaged("a number is cut".to_owned()))
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64> {
        self.array().map(i64::from_le_bytes)
    }

    pub(super) fn hash(&mut self) -> Result<[u8; 32]> {
        self.array()
    }

    pub(super) fn str(&mut self) -> Result<&'a str> {
        let len = self.u32()? as usize;
        let bytes = self.take(len)?;
        std::str::from_utf8(bytes).map_err(|_| self.damaged("a text is not UTF-8".to_owned()))
    }

    /// How many things follow, each at least `least` bytes long: never more than could be there,
    /// so that a damaged count is no allocation.
    pub(super) fn count(&mut self, least: usize) -> Result<usize> {
        let n = self.u32()? as usize;
        if n.saturating_mul(least) > self.rest.len() {
            return Err(self.damaged(format!("{n} entries do not fit")));
        }
        Ok(n)
    }

    /// What is left.
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// An error of this place.
    pub(super) fn damaged(&self, what: String) -> Error {
        Error::corrupt(self.place, what)
    }
}
