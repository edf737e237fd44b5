//! A text without what varies in it: what makes two texts lines of one template.
//!
//! Stands between the splitter, which says where slots are, and [`super::template`], which counts
//! templates by their keys. A key is written for the first text of a template only; later ones are
//! compared with it where they stand.

#![expect(clippy::indexing_slicing, reason = "works on positions that the splitter gave")]

use super::template::{HOLE, KEYED, MARK, PLAIN, STAMP};
use crate::base::split::{Piece as Cut, Slot};

/// A text without what stands in its slots and in its hole.
pub(super) struct Skeleton<'a> {
    pub(super) text: &'a [u8],
    pub(super) hole: Option<(usize, usize)>,
    pub(super) cuts: &'a [Cut],
    /// How many of the cuts stand before the hole.
    pub(super) in_head: usize,
}

impl Skeleton<'_> {
    /// Gives the parts of its key to `sink` as long as that says so; did it to the end?
    pub(super) fn parts(&self, mut sink: impl FnMut(&[u8]) -> bool) -> bool {
        let Self { text, hole, cuts, in_head } = *self;
        let mut at = 0;
        for n in 0..=cuts.len() {
            if let (true, Some((head, tail))) = (n == in_head, hole) {
                if !(sink(&text[at..head]) && sink(&[MARK, HOLE])) {
                    return false;
                }
                at = tail;
            }
            let Some(cut) = cuts.get(n) else { break };
            let go_on = sink(&text[at..cut.start])
                && match cut.slot {
                    Slot::Plain => sink(&[MARK, PLAIN]),
                    Slot::Keyed(..) => sink(&[MARK, KEYED]),
                    Slot::Stamp(format) => sink(&[MARK, STAMP]) && sink(&format.to_bytes()),
                };
            if !go_on {
                return false;
            }
            at = cut.end;
        }
        sink(&text[at..])
    }

    /// Is this its key?
    pub(super) fn is(&self, key: &[u8]) -> bool {
        let mut rest = key;
        let all = self.parts(|part| {
            let behind = rest.strip_prefix(part);
            rest = behind.unwrap_or(rest);
            behind.is_some()
        });
        all && rest.is_empty()
    }

    /// Something that texts of other keys mostly have another of.
    pub(super) fn fingerprint(&self) -> usize {
        let len = self.text.len();
        let slots: usize = self.cuts.iter().map(|cut| cut.end - cut.start).sum();
        let (head, tail) = self.hole.unwrap_or((len, len));
        let first = self.cuts.first().map_or(head, |cut| cut.start.min(head));
        let last = self.cuts.last().map_or(0, |cut| cut.end);
        let end = if last <= head { head } else { len };
        let word = |bytes: &[u8]| bytes.iter().take(8).fold(0, |n, b| n << 8 | u64::from(*b));
        let mut n = (len - slots - (tail - head)) as u64 ^ (self.cuts.len() as u64) << 32;
        for word in [word(&self.text[..first]), word(&self.text[last..end])] {
            n = (n ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            n ^= n >> 32;
        }
        usize::try_from(n & u64::from(u32::MAX)).unwrap_or(0)
    }
}
