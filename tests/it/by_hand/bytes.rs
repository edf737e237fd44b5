//! The building blocks of `src/codec/FORMAT.md`: numbers, frames, planes, lists of integers.

use std::cell::RefCell;
use std::collections::BTreeSet;

thread_local! {
    static MET: RefCell<BTreeSet<String>> = RefCell::default();
}

/// Notes that something of this kind and tag was read, so that a test can say what it has met.
pub(super) fn meet(kind: &str, tag: u8) {
    MET.with_borrow_mut(|met| met.insert(format!("{kind} {tag}")));
}

/// All that [`meet`] noted in this thread.
pub(super) fn met() -> BTreeSet<String> {
    MET.take()
}

/// Bytes that are read from the front.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn take(&mut self, len: usize) -> &'a [u8] {
        let (front, rest) = self.0.split_at(len);
        self.0 = rest;
        front
    }

    pub(super) fn u8(&mut self) -> u8 {
        self.take(1)[0]
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take(4).try_into().expect("4"))
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take(8).try_into().expect("8"))
    }

    pub(super) fn var(&mut self) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = self.u8();
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return value;
            }
        }
    }

    /// A `var` that is a length, a count or a number of something.
    pub(super) fn len(&mut self) -> usize {
        usize::try_from(self.var()).expect("a length")
    }

    pub(super) fn sig(&mut self) -> i64 {
        unzigzag(self.var())
    }

    pub(super) fn bytes(&mut self) -> &'a [u8] {
        let len = self.len();
        self.take(len)
    }

    pub(super) fn text(&mut self) -> String {
        String::from_utf8(self.bytes().to_vec()).expect("text")
    }

    pub(super) fn frame(&mut self) -> Vec<u8> {
        let total = self.len();
        let mut out = Vec::new();
        while out.len() < total {
            let piece = (total - out.len()).min(1 << 20);
            match self.u8() {
                0 => out.extend_from_slice(self.take(piece)),
                1 => out.extend(zstd::bulk::decompress(self.bytes(), piece).expect("zstd")),
                other => panic!("a piece of kind {other}"),
            }
        }
        out
    }

    pub(super) fn planes(&mut self, n: usize) -> Vec<u64> {
        let width = self.u8();
        meet("planes", width);
        let numbers: Vec<u64> = match width {
            0..=8 => {
                let mut numbers = vec![0; n];
                for plane in 0..width {
                    let bytes = self.frame();
                    assert_eq!(bytes.len(), n, "a plane");
                    for (number, byte) in numbers.iter_mut().zip(bytes) {
                        *number |= u64::from(byte) << (8 * plane);
                    }
                }
                numbers
            }
            9 => {
                let of_32 = pco::standalone::simple_decompress::<u32>(self.bytes()).expect("pco");
                of_32.into_iter().map(u64::from).collect()
            }
            10 => pco::standalone::simple_decompress(self.bytes()).expect("pco"),
            other => panic!("planes of kind {other}"),
        };
        assert_eq!(numbers.len(), n, "planes");
        numbers
    }

    pub(super) fn ints(&mut self, n: usize) -> Vec<i64> {
        let (kind, base, unit, largest) = (self.u8(), self.sig(), self.var(), self.var());
        meet("ints", kind);
        let mut offset = 0_u64;
        let each = self.planes(n).into_iter().map(|stored| {
            offset = match kind {
                0 => stored,
                1 => offset.wrapping_add(unzigzag(stored).cast_unsigned()),
                other => panic!("ints of kind {other}"),
            };
            assert!(offset <= largest);
            base.wrapping_add(unit.wrapping_mul(offset).cast_signed())
        });
        each.collect()
    }

    /// Nothing may be left.
    pub(super) fn end(self, what: &str) {
        assert!(self.0.is_empty(), "{} bytes are left of {what}", self.0.len());
    }
}

pub(super) fn unzigzag(n: u64) -> i64 {
    (n >> 1).cast_signed() ^ -(n & 1).cast_signed()
}
