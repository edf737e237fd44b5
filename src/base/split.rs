//! The one tokenizer: what the index holds and what a query asks for are cut by the same rules.
//!
//! Both work on *folded* text (`fold`). Two views of a text:
//!
//! - **tokens**: maximal runs of letters, digits and `_`; what `word:x` compares, what the
//!   segment's filter holds.
//! - **letter runs**: maximal runs of letters only; what the chunk index holds. A text without
//!   digits and signs can only stand inside one of them, which is what makes pruning by fragment
//!   sound (engine.md 4.0).

#![expect(clippy::indexing_slicing, reason = "a byte is always within a table of 256")]

use crate::base::stamp::{self, Format};

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

/// What a slot of a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// A token with a digit or two dots, or a quoted text.
    Plain,
    /// The value behind `k=` or `"k":`; the key stands at these offsets.
    Keyed(usize, usize),
    /// A time.
    Stamp(Format),
}

/// A slot and where it stands, as byte offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// First byte.
    pub start: usize,
    /// Behind the last; slots are never empty.
    pub end: usize,
    /// What it is.
    pub slot: Slot,
}

/// Cuts a line into the slots that vary from line to line and the text between them that does
/// not; the same text always gives the same slots. Time is linear in the text.
///
/// A token with a digit or with two dots is a slot; a quoted text, the value behind `k=` and a JSON scalar are one
/// slot whatever they hold; times are slots of their own. On one side of each end of a slot
/// stands an ASCII sign that is neither letter, digit nor `_` (or nothing), so that no letter run
/// and no token goes from a slot into the text beside it.
#[derive(Debug, Default)]
pub struct Splitter {
    /// No quote that stands further on is ever closed.
    unclosed: bool,
}

/// Slots of a line; the last one takes all that is left.
pub const SLOTS_MAX: usize = 1_000;

/// Dots of a name from which on it is one of very many, such as that of a class.
const PATH_DOTS_MIN: usize = 2;

/// Longest key that is taken for one, bytes.
const KEY_BYTES_MAX: usize = 64;

impl Splitter {
    /// Appends the slots of `text`. `quoted`: the text begins inside a quoted one, which ends at
    /// its first byte. Answers whether it ends just behind a quote that opens.
    pub fn split(&mut self, text: &[u8], quoted: bool, slots: &mut Vec<Piece>) -> bool {
        self.unclosed = false;
        let first = slots.len();
        let mut at = usize::from(quoted && text.first() == Some(&b'"'));
        while let Some(skipped) = text.get(at..).and_then(begins) {
            at += skipped;
            let before = slots.len();
            at = if text.get(at) != Some(&b'"') {
                Self::token(text, at, slots)
            } else if self.unclosed {
                at + 1
            } else {
                self.quote(text, at, slots)
            };
            if slots.len() - first >= SLOTS_MAX && slots.len() > before {
                if let Some(last) = slots.last_mut() {
                    *last = Piece { start: last.start, end: text.len(), slot: Slot::Plain };
                }
                return false;
            }
        }
        self.unclosed && text.last() == Some(&b'"')
    }

    /// A token, and the value behind it where it is a key; where to go on.
    fn token(text: &[u8], start: usize, slots: &mut Vec<Piece>) -> usize {
        let rest = text.get(start..).unwrap_or_default();
        if let Some((format, len)) = stamp::find(rest) {
            let end = start + len;
            slots.push(Piece { start, end, slot: Slot::Stamp(format) });
            return end;
        }
        let (mut len, mut dots, mut seen) = (0, 0, 0);
        for byte in rest {
            let class = CLASSES[usize::from(*byte)];
            if class & PIECE == 0 {
                break;
            }
            seen |= class;
            dots += usize::from(class & DOT > 0);
            len += 1;
        }
        let end = start + len;
        if text.get(end) == Some(&b'=')
            && len <= KEY_BYTES_MAX
            && rest.first().is_some_and(u8::is_ascii_alphabetic)
        {
            return Self::value(text, end + 1, (start, end), slots);
        }
        if seen & DIGIT == 0 && dots < PATH_DOTS_MIN {
            return end;
        }
        // A full stop, or the hyphen of a range, is not part of what it follows.
        let token = rest.get(..len).unwrap_or_default();
        let more = token.iter().rev().take_while(|b| matches!(b, b'.' | b'-')).count();
        let stops = token.iter().rev().take(more).filter(|b| **b == b'.').count();
        if seen & DIGIT > 0 || dots - stops >= PATH_DOTS_MIN {
            slots.push(Piece { start, end: end - more, slot: Slot::Plain });
        }
        end
    }

    /// The value behind `k=`.
    fn value(
        text: &[u8],
        start: usize,
        (key_start, key_end): (usize, usize),
        slots: &mut Vec<Piece>,
    ) -> usize {
        let slot = Slot::Keyed(key_start, key_end);
        let rest = text.get(start..).unwrap_or_default();
        if rest.first() == Some(&b'"') {
            // A quote that is never closed is found again, and said, by `quote`.
            let Some(len) = closing(rest) else { return start };
            if len > 1 {
                let slot = stamp_of(text, start + 1, start + len).unwrap_or(slot);
                slots.push(Piece { start: start + 1, end: start + len, slot });
            }
            return start + len + 1;
        }
        let is_end = |b: &u8| {
            b.is_ascii_whitespace() || matches!(b, b',' | b';' | b'&' | b')' | b']' | b'}' | b'"')
        };
        let len = rest.iter().position(is_end).unwrap_or(rest.len());
        if len > 0 {
            let slot = stamp_of(text, start, start + len).unwrap_or(slot);
            slots.push(Piece { start, end: start + len, slot });
        }
        start + len
    }

    /// A quoted text, which is a key where a colon follows.
    fn quote(&mut self, text: &[u8], start: usize, slots: &mut Vec<Piece>) -> usize {
        let rest = text.get(start..).unwrap_or_default();
        let Some(len) = closing(rest) else {
            self.unclosed = true;
            return start + 1;
        };
        let end = start + len;
        let spaces = |at: usize| {
            let rest = text.get(at..).unwrap_or_default();
            at + rest.iter().take_while(|b| **b == b' ').count()
        };
        let colon = spaces(end + 1);
        if text.get(colon) != Some(&b':') || len > KEY_BYTES_MAX {
            if len > 1 {
                let slot = stamp_of(text, start + 1, end).unwrap_or(Slot::Plain);
                slots.push(Piece { start: start + 1, end, slot });
            }
            return end + 1;
        }
        let value = spaces(colon + 1);
        let rest = text.get(value..).unwrap_or_default();
        match rest.first() {
            Some(b'"') => Self::value(text, value, (start + 1, end), slots),
            Some(b'{' | b'[') | None => value,
            Some(_) => {
                let is_end = |b: &u8| b.is_ascii_whitespace() || matches!(b, b',' | b'}' | b']');
                let len = rest.iter().position(is_end).unwrap_or(rest.len());
                if len > 0 {
                    let slot = Slot::Keyed(start + 1, end);
                    slots.push(Piece { start: value, end: value + len, slot });
                }
                value + len
            }
        }
    }
}

/// A slot that is all one time.
fn stamp_of(text: &[u8], start: usize, end: usize) -> Option<Slot> {
    let (format, len) = stamp::find(text.get(start..end)?)?;
    (start + len == end).then_some(Slot::Stamp(format))
}

/// Where the quote that stands first is closed; backslashes escape.
fn closing(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        let next = memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text.get(at + next) == Some(&b'"') {
            return Some(at + next);
        }
        at += next + 2;
    }
}

/// Bytes that belong together: letters and digits of any script, and the signs inside of names,
/// numbers, addresses and dates.
pub const fn is_piece_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80 || matches!(byte, b'_' | b'-' | b'.')
}

/// What a byte is to the splitter, as bits.
const PIECE: u8 = 1;
const DIGIT: u8 = 2;
const DOT: u8 = 4;
const QUOTE: u8 = 8;
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0_u8;
    loop {
        let mut class = 0;
        if is_piece_byte(byte) {
            class |= PIECE;
        }
        if byte.is_ascii_digit() {
            class |= DIGIT;
        }
        if byte == b'.' {
            class |= DOT;
        }
        if byte == b'"' {
            class |= QUOTE;
        }
        classes[byte as usize] = class;
        if byte == u8::MAX {
            break classes;
        }
        byte += 1;
    }
};

/// Where the first token or quote begins.
fn begins(text: &[u8]) -> Option<usize> {
    text.iter().position(|b| CLASSES[usize::from(*b)] & (PIECE | QUOTE) > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The line with its slots in angle brackets; keys and times marked.
    fn show(text: &str) -> String {
        let mut slots = Vec::new();
        Splitter::default().split(text.as_bytes(), false, &mut slots);
        let part = |start: usize, end: usize| text.get(start..end).unwrap();
        let (mut out, mut at) = (String::new(), 0);
        for Piece { start, end, slot } in slots {
            let mark = match slot {
                Slot::Plain => String::new(),
                Slot::Keyed(a, b) => format!("{}:", part(a, b)),
                Slot::Stamp(_) => "@".into(),
            };
            for piece in [part(at, start), "<", &mark, part(start, end), ">"] {
                out.push_str(piece);
            }
            at = end;
        }
        out + part(at, text.len())
    }

    #[test]
    fn lines_are_cut_where_they_vary() {
        for (line, cut) in [
            (
                "user ann logged in from 10.1.2.3 port 22.",
                "user ann logged in from <10.1.2.3> port <22>.",
            ),
            ("took -5 ms, v1.2-", "took <-5> ms, <v1.2>-"),
            ("a=b c=\"d e\" f= g=\"\" h=x,y", "a=<a:b> c=\"<c:d e>\" f= g=\"\" h=<h:x>,y"),
            (
                r#"{"a":1,"b" : "x\"y","c":{"d":null},"e":[1,"z"]}"#,
                r#"{"a":<a:1>,"b" : "<b:x\"y>","c":{"d":<d:null>},"e":[<1>,"<z>"]}"#,
            ),
            ("GET \"/x y\" unclosed \" 5", "GET \"</x y>\" unclosed \" <5>"),
            ("2026-03-01T09:00:00.123Z x", "<@2026-03-01T09:00:00.123Z> x"),
            (
                "<13>Mar  1 09:00:00 web-1 sshd[42]: ok",
                "<<13>><@Mar  1 09:00:00> <web-1> sshd[<42>]: ok",
            ),
            ("失敗 12件 id", "失敗 <12件> id"),
            ("in org.example.Main.java: e.g. a.b", "in <org.example.Main.java>: e.g. a.b"),
            (
                "t=2026-03-01T09:00:00Z \"2026-03-01\" {\"t\":\"2026-03-01T09:00:00Z\"}",
                "t=<@2026-03-01T09:00:00Z> \"<2026-03-01>\" {\"t\":\"<@2026-03-01T09:00:00Z>\"}",
            ),
            ("k=\"unclosed 5", "k=\"unclosed <5>"),
            ("", ""),
        ] {
            assert_eq!(show(line), cut);
        }
    }

    #[test]
    fn a_line_of_quotes_takes_linear_time() {
        let text = "\"\\\"\\".repeat(200_000);
        let mut slots = Vec::new();
        Splitter::default().split(text.as_bytes(), false, &mut slots);
        let text = "a=\"\\".repeat(200_000);
        Splitter::default().split(text.as_bytes(), false, &mut slots);
    }

    proptest! {
        #[test]
        fn slots_end_where_no_token_goes_on(text in prop_oneof![
            "[ -~]{0,40}", "[a1=\"\\\\:{},. é１-]{0,40}", ".{0,20}",
            "(a=|\"b\":|\"|1|2026-03-01T09:00:00|Mar  1 09:00:00|[.-_é ]){0,12}",
        ]) {
            let mut slots = Vec::new();
            let bytes = text.as_bytes();
            Splitter::default().split(bytes, false, &mut slots);
            let sign = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_none_or(|b| {
                b.is_ascii() && !b.is_ascii_alphanumeric() && *b != b'_'
            });
            let mut last = 0;
            for Piece { start, end, .. } in slots {
                prop_assert!(last <= start && start < end && end <= bytes.len());
                for cut in [start, end] {
                    prop_assert!(sign(cut.checked_sub(1)) || sign(Some(cut)), "{cut} in {text:?}");
                }
                last = end;
            }
        }

        #[test]
        fn any_bytes_are_cut(bytes: Vec<u8>, quoted: bool) {
            Splitter::default().split(&bytes, quoted, &mut Vec::new());
        }
    }
}
