//! The segment's filter: may a whole token stand anywhere in it?
//!
//! A binary fuse filter (about 9 bits a key, 0.4 % false positives) over hashes of folded tokens
//! of 8 and more characters with a digit: ids, mostly, which no index should spell out. It never
//! denies what is there; where it could not be built, it denies nothing.

use xorf::{BinaryFuse8, BinaryFuse8Ref, DmaSerializable as _, Filter as _, FilterRef as _};

use super::pack::{Damage, Read, checksum, done, take_bytes, take_exact, take_u8, take_u32};
use crate::base::error::Result;

/// Characters from which on a token with a digit goes into the filter.
pub const TOKEN_CHARS_MIN: usize = 8;

/// A filter so small is never left out, bytes.
const BYTES_ALWAYS: usize = 256;

/// What reading says where it is asked for the place.
const PLACE: &str = "a segment's filter";

/// What a filter knows.
const NOTHING_IS_THERE: u8 = 0;
const ANYTHING_MAY_BE: u8 = 1;
const FUSE8: u8 = 2;

/// Does the filter hold this folded token, where the segment does?
pub fn is_filtered(token: &str) -> bool {
    token.len() >= TOKEN_CHARS_MIN
        && token.bytes().any(|b| b.is_ascii_digit())
        && token.chars().nth(TOKEN_CHARS_MIN - 1).is_some()
}

/// The key of a folded token. Stored, so it changes with the format only: FNV-1a of 64 bits, but
/// over words of 8 bytes (little-endian, the last one filled up with zeros) and with its high half
/// mixed into the low one each time, started with the length as well; then the finalizer of
/// `SplitMix64`.
pub fn token_hash(token: &str) -> u64 {
    let (words, rest) = token.as_bytes().as_chunks::<8>();
    let mut last = [0; 8];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let mix = |h: u64, word: [u8; 8]| {
        let h = (h ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01b3);
        h ^ h >> 32
    };
    let start = 0xcbf2_9ce4_8422_2325_u64 ^ token.len() as u64;
    let mut h = mix(words.iter().copied().fold(start, mix), last);
    h = (h ^ (h >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    h = (h ^ (h >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    h ^ (h >> 31)
}

/// Built from all keys at once, immutable, kept with the segment.
#[derive(Debug)]
pub struct Filter(Kind);

#[derive(Debug)]
enum Kind {
    Nothing,
    Anything,
    /// The crate's own 20 bytes (seed 8, segment length 4, its mask 4, length of all but the last
    /// two segments 4), and the fingerprints.
    Fuse8([u8; DESCRIPTOR_BYTES], Box<[u8]>),
}

/// Bytes of the descriptor of a binary fuse filter.
const DESCRIPTOR_BYTES: usize = BinaryFuse8::DESCRIPTOR_LEN;

impl Filter {
    /// From all keys, in any order; doubles are fine.
    pub fn build(mut keys: Vec<u64>) -> Self {
        keys.sort_unstable();
        keys.dedup();
        if keys.is_empty() {
            return Self(Kind::Nothing);
        }
        Self(BinaryFuse8::try_from(&keys).map_or(Kind::Anything, |filter| {
            let mut descriptor = [0; DESCRIPTOR_BYTES];
            filter.dma_copy_descriptor_to(&mut descriptor);
            Kind::Fuse8(descriptor, filter.fingerprints)
        }))
    }

    /// The same; one that may hold anything where it would take more than `max` bytes.
    pub fn build_within(keys: Vec<u64>, max: usize) -> Self {
        // A byte a key, and an eighth more.
        if keys.len() + keys.len() / 8 > max.max(BYTES_ALWAYS) {
            return Self(Kind::Anything);
        }
        Self::build(keys)
    }

    /// `false` only where no token with this hash was a key.
    pub fn may_hold(&self, hash: u64) -> bool {
        match &self.0 {
            Kind::Nothing => false,
            Kind::Anything => true,
            Kind::Fuse8(descriptor, fingerprints) => {
                BinaryFuse8Ref::from_dma(descriptor, fingerprints).contains(&hash)
            }
        }
    }

    /// As it is stored, its checksum in front.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match &self.0 {
            Kind::Nothing => out.push(NOTHING_IS_THERE),
            Kind::Anything => out.push(ANYTHING_MAY_BE),
            Kind::Fuse8(descriptor, fingerprints) => {
                out.push(FUSE8);
                out.extend_from_slice(descriptor);
                super::pack::put_bytes(&mut out, fingerprints);
            }
        }
        let sum = checksum(&out);
        out.splice(0..0, sum.to_le_bytes());
        out
    }

    /// From what [`Filter::to_bytes`] gave.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self> {
        Self::take(&mut bytes).map_err(|damage| damage.at(PLACE))
    }

    fn take(input: &mut &[u8]) -> Read<Self> {
        if take_u32(input)? != checksum(input) {
            return Err(Damage("its checksum is wrong"));
        }
        let kind = match take_u8(input)? {
            NOTHING_IS_THERE => Kind::Nothing,
            ANYTHING_MAY_BE => Kind::Anything,
            FUSE8 => {
                let mut head = take_exact(input, DESCRIPTOR_BYTES)?;
                let mut descriptor = [0; DESCRIPTOR_BYTES];
                descriptor.copy_from_slice(head);
                take_exact(&mut head, 8)?;
                let length = take_u32(&mut head)?;
                let mask = take_u32(&mut head)?;
                let count_length = take_u32(&mut head)?;
                let fingerprints: Box<[u8]> = take_bytes(input)?.into();
                // The crate reads wherever these say; ones that do not fit would make it panic.
                let slots = u64::from(count_length) + 2 * u64::from(length);
                let fit = length.is_power_of_two()
                    && mask == length - 1
                    && count_length > 0
                    && count_length.is_multiple_of(length)
                    && slots == fingerprints.len() as u64;
                if !fit {
                    return Err(Damage("its sizes do not fit each other"));
                }
                Kind::Fuse8(descriptor, fingerprints)
            }
            _ => return Err(Damage("a filter of an unknown kind")),
        };
        done(input)?;
        Ok(Self(kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_hash_is_for_ever() {
        assert_eq!(token_hash(""), 0xe876_2870_b5f4_a9a7);
        assert_eq!(token_hash("deadbeef"), 0x666b_19b1_b3bc_4b26);
        assert_eq!(token_hash("deadbeef01"), 0x84b4_336c_2ea5_e0ea);
    }

    #[test]
    fn long_tokens_with_a_digit_are_filtered() {
        for (token, yes) in [
            ("abcdefg1", true),
            ("abcdefgh", false),
            ("abcdef1", false),
            ("調べ調べ調べ1べ", true),
            ("調べ12", false),
        ] {
            assert_eq!(is_filtered(token), yes, "{token}");
        }
    }

    #[test]
    fn few_strangers_pass() {
        let key = |n: u32| token_hash(&format!("request-{n}"));
        let filter = Filter::build((0..10_000).map(key).collect());
        let strangers = (10_000..20_000).filter(|n| filter.may_hold(key(*n))).count();
        assert!(strangers < 100, "{strangers} of 10000");
    }

    proptest! {
        #[test]
        fn every_key_is_held_also_after_reading(keys: Vec<u64>) {
            let filter = Filter::build(keys.clone());
            let bytes = filter.to_bytes();
            let back = Filter::from_bytes(&bytes).unwrap();
            for key in keys {
                prop_assert!(filter.may_hold(key) && back.may_hold(key));
            }
            for cut in 0..bytes.len() {
                prop_assert!(Filter::from_bytes(&bytes[..cut]).is_err());
            }
        }

        #[test]
        fn damaged_sizes_are_refused(keys: Vec<u64>, garbage: [u8; 21], probe: u64) {
            let mut bytes = Filter::build(keys).to_bytes();
            for (byte, g) in bytes.iter_mut().skip(5).zip(garbage) {
                *byte ^= g;
            }
            let sum = checksum(&bytes[4..]);
            bytes.splice(0..4, sum.to_le_bytes());
            if let Ok(filter) = Filter::from_bytes(&bytes) {
                filter.may_hold(probe);
            }
        }
    }
}
