//! Sizes for people.

use std::fmt;

/// A number of bytes; displays as `512 B`, `1.5 KiB`, `23 GiB`: two digits at least, rounded down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((shift, unit)) = (1..=4_u32)
            .rev()
            .zip(["TiB", "GiB", "MiB", "KiB"])
            .map(|(power, unit)| (10 * power, unit))
            .find(|(shift, _)| self.0 >> shift > 0)
        else {
            return write!(f, "{} B", self.0);
        };
        let whole = self.0 >> shift;
        let tenths = (((self.0 >> (shift - 10)) & 1023) * 10) >> 10;
        if whole < 10 && tenths > 0 {
            return write!(f, "{whole}.{tenths} {unit}");
        }
        write!(f, "{whole} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (1 << 30, "1 GiB"),
            ((1 << 30) - 1, "1023 MiB"),
            (23 << 30, "23 GiB"),
            (9 << 40, "9 TiB"),
            (u64::MAX, "16777215 TiB"),
        ] {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }
}
