//! The one tokenizer: what the index holds and what a query asks for are cut by the same rules.
//!
//! Both work on *folded* text (`fold`). Two views of a text:
//!
//! - **tokens**: maximal runs of letters, digits and `_`; what `word:x` compares, what the
//!   segment's filter holds.
//! - **letter runs**: maximal runs of letters only; what the chunk index holds. A text without
//!   digits and signs can only stand inside one of them, which is what makes pruning by fragment
//!   sound (engine.md 4.0).

/// Maximal runs of alphanumeric characters and `_`.
pub fn tokens(folded: &str) -> impl Iterator<Item = &str> {
    folded.split(|c: char| !is_token_char(c)).filter(|t| !t.is_empty())
}

/// Maximal runs of alphabetic characters.
pub fn letter_runs(folded: &str) -> impl Iterator<Item = &str> {
    folded.split(|c: char| !c.is_alphabetic()).filter(|t| !t.is_empty())
}

/// Does `c` belong to a token?
pub fn is_token_char(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}
