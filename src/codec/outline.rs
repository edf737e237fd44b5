//! What templates tell of the objects that texts end with: which values are the same in every row,
//! and which stand in slots. So a text is searched for in derived fields without reading them.
//!
//! A template is read once as JSON, a mark in place of each slot. A row reads in the same way
//! where its values cannot change how JSON is cut ([`Role::is_odd`]); others are read one by one
//! (`own`, which asks the columns).

use memchr::memmem;

use super::fields::Place;
use super::template::Piece;
use super::texts::Texts;
use crate::base::flatten::Flat;
use crate::base::json::{read_object, read_scalar};
use crate::base::value::{Field, Value};

/// Marks of slots within quotes, and of those that stand alone. A template that holds them itself
/// has no outline.
const OPEN: char = '\u{e000}';
const CLOSE: char = '\u{e001}';
const ALONE: &str = "91827364";
const ALONE_DIGITS: usize = 6;

/// Braces that are tried for the beginning of an object (`base::json`).
const BRACES: usize = 4;

/// More digits are rounded when they are read as a float.
const EXACT_DIGITS: u32 = 15;

/// What a slot is in the text of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Role {
    /// In front of the object.
    Before,
    /// Within quotes.
    Quoted,
    /// Without quotes.
    Scalar,
    /// The same, and it is shown as it is spelled.
    Exact,
}

impl Role {
    /// May this value cut the object otherwise than the template says, or be read as another text?
    pub(super) fn is_odd(self, value: &[u8]) -> bool {
        match self {
            Self::Before => memchr::memchr(b'{', value).is_some(),
            Self::Quoted => value.iter().any(|b| *b < b' ' || matches!(b, b'"' | b'\\')),
            Self::Scalar | Self::Exact => {
                let text = std::str::from_utf8(value).ok();
                let read = text.and_then(read_scalar).map(|value| value.to_string());
                let is_like = |text: &str, read: &str| {
                    if self == Self::Exact { text == read } else { text.contains(read) }
                };
                !text.zip(read).is_some_and(|(text, read)| is_like(text, &read))
            }
        }
    }

    /// Is it a number or a word?
    pub(super) fn is_scalar(self) -> bool {
        matches!(self, Self::Scalar | Self::Exact)
    }

    /// The same of a decimal: so many of its digits stand behind the point.
    pub(super) fn is_odd_decimal(self, digits: i64, scale: usize) -> bool {
        let most = 10_u64.pow(EXACT_DIGITS);
        // Smaller ones are written with an exponent.
        let least = u32::try_from(scale).ok().and_then(|scale| scale.checked_sub(5));
        let least = least.map_or(Some(0), |n| 10_u64.checked_pow(n));
        let size = digits.unsigned_abs();
        let is_odd = size >= most || size > 0 && least.is_none_or(|least| size < least);
        self.is_scalar() && is_odd || self == Self::Exact && digits % 10 == 0
    }
}

/// What a slot around the message is of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stands {
    /// All of a text.
    Whole,
    /// A number or a word, as it is spelled.
    Spelled,
    /// A part.
    Part,
}

/// The values of an object, as far as its template tells them.
#[derive(Debug, Default)]
pub(super) struct Outline {
    /// Values that are the same in every row.
    pub(super) same: Texts,
    /// What is the same in values that vary, and stand not in the message as they are.
    pub(super) parts: Texts,
    /// Has it such values?
    pub(super) varies: bool,
    /// Slots around the message, rising, each once.
    pub(super) around: Vec<(u32, Stands)>,
    /// All slots, and what they must be like.
    pub(super) roles: Vec<(Place, u32, Role)>,
    /// Does the object stand in the message, so that this gives it as well as the line?
    pub(super) in_message: bool,
}

impl Outline {
    /// Of an object that the line ends with (`around` is given) or that the message ends with.
    /// `wanted`: the names of the fields that are meant; `None`: all. `None` comes back where the
    /// templates do not tell.
    pub(super) fn new(
        around: Option<&[Piece]>,
        message: &[Piece],
        wanted: Option<&[&str]>,
        flat: &mut Flat,
    ) -> Option<Self> {
        let marked = Marked::new(around, message)?;
        let text = std::str::from_utf8(&marked.text).ok()?;
        let read = read_object(text.get(marked.object..)?.trim_ascii_end(), flat);
        let (fields, defects) = flat.take();
        if read.is_err() || !defects.is_empty() {
            return None;
        }
        let (begin, end) = marked.message;
        let behind = marked.text.get(end..)?;
        let before = marked.text.get(..begin)?;
        let in_message = (begin..end).contains(&marked.object)
            && !before.contains(&b'{')
            && behind.trim_ascii().is_empty();
        let mut outline = Self { roles: marked.roles.clone(), in_message, ..Self::default() };
        for Field { name, value } in &fields {
            match wanted {
                Some(_) if name.contains(OPEN) => return None,
                Some(wanted) if !wanted.contains(&&**name) => continue,
                _ => {}
            }
            if let Value::Array(items) = value {
                items.iter().try_for_each(|item| outline.add(item, &marked))?;
            } else {
                outline.add(value, &marked)?;
            }
        }
        outline.around.sort_unstable_by_key(|(slot, _)| *slot);
        Some(outline)
    }

    fn add(&mut self, value: &Value, marked: &Marked) -> Option<()> {
        let text = value.to_string();
        let is_text = matches!(value, Value::Str(_));
        let parts = parts(&text)?;
        match &parts[..] {
            [] => {}
            [Part::Same(same)] => self.same.push(same.as_bytes()),
            [Part::Slot(n)] => {
                let stands = if is_text { Stands::Whole } else { Stands::Spelled };
                self.slot(*n, stands, marked)?;
            }
            _ if !is_text => return None,
            parts => {
                // What is written otherwise than it is read does not stand in the line as it is.
                memmem::find(&marked.text, text.as_bytes())?;
                let message = marked.text.get(marked.message.0..marked.message.1)?;
                if memmem::find(message, text.as_bytes()).is_some() {
                    return Some(());
                }
                self.varies = true;
                for part in parts {
                    match part {
                        Part::Same(same) => self.parts.push(same.as_bytes()),
                        Part::Slot(n) => self.slot(*n, Stands::Part, marked)?,
                    }
                }
            }
        }
        Some(())
    }

    fn slot(&mut self, n: usize, stands: Stands, marked: &Marked) -> Option<()> {
        let (place, slot, _) = *marked.roles.get(n)?;
        if place == Place::Around {
            self.around.push((slot, stands));
        }
        Some(())
    }

    /// What a slot around the message is.
    pub(super) fn stands(&self, slot: usize) -> Option<Stands> {
        let slot = u32::try_from(slot).ok()?;
        let at = self.around.binary_search_by_key(&slot, |(slot, _)| *slot).ok()?;
        self.around.get(at).map(|(_, stands)| *stands)
    }

    /// Bytes in memory, about.
    pub(super) fn weight(&self) -> usize {
        size_of::<Self>()
            + self.same.weight()
            + self.parts.weight()
            + self.around.len() * size_of::<(u32, Stands)>()
            + self.roles.len() * size_of::<(Place, u32, Role)>()
    }
}

/// A template with marks in place of its slots.
struct Marked {
    text: Vec<u8>,
    /// Where the object begins.
    object: usize,
    /// Where the message begins and ends.
    message: (usize, usize),
    /// For each mark the slot.
    roles: Vec<(Place, u32, Role)>,
}

impl Marked {
    fn new(around: Option<&[Piece]>, message: &[Piece]) -> Option<Self> {
        let around = around.unwrap_or(&[Piece::Hole]);
        let hole = around.iter().position(|piece| *piece == Piece::Hole);
        let (before, behind) = around.split_at_checked(hole.unwrap_or(around.len()))?;
        let message = if behind.is_empty() { &[] } else { message };
        let behind = behind.get(1..).unwrap_or_default();
        let all = || before.iter().chain(message).chain(behind);
        let mut marked = Self {
            text: Vec::new(),
            object: usize::MAX,
            message: (usize::MAX, usize::MAX),
            roles: Vec::new(),
        };
        let (first, begins) = object(all())?;
        let mut next = [0_u32; 2];
        let mut lexer = Lexer::Before;
        for (n, piece) in all().enumerate() {
            let in_message = (before.len()..before.len() + message.len()).contains(&n);
            if n == before.len() {
                marked.message.0 = marked.text.len();
            }
            if n == before.len() + message.len() {
                marked.message.1 = marked.text.len();
            }
            match piece {
                Piece::Static(text) => {
                    let holds = |what: &[u8]| memmem::find(text, what).is_some();
                    if [ALONE, "\u{e000}", "\\u"].iter().any(|mark| holds(mark.as_bytes())) {
                        return None;
                    }
                    for (at, byte) in text.iter().enumerate() {
                        if (n, at) == (first, begins) {
                            marked.object = marked.text.len();
                            lexer = Lexer::Outside;
                        }
                        lexer.byte(*byte);
                        marked.text.push(*byte);
                    }
                }
                Piece::Hole => return None,
                Piece::Slot(_) | Piece::Keyed(..) => {
                    let role = lexer.slot()?;
                    let place = if in_message { Place::Message } else { Place::Around };
                    let slot = next.get_mut(usize::from(in_message))?;
                    marked.put_mark(role);
                    marked.roles.push((place, *slot, role));
                    *slot += 1;
                }
            }
        }
        let end = marked.text.len();
        marked.message = (marked.message.0.min(end), marked.message.1.min(end));
        Some(marked)
    }

    fn put_mark(&mut self, role: Role) {
        let n = self.roles.len();
        let mark = if role == Role::Scalar {
            format!("{ALONE}{n:0ALONE_DIGITS$}")
        } else {
            format!("{OPEN}{n}{CLOSE}")
        };
        self.text.extend_from_slice(mark.as_bytes());
    }
}

/// In which piece, and where in it, the object begins: with the first brace that a quote follows.
/// `None`: there is none, or another may in some row.
fn object<'p>(pieces: impl Iterator<Item = &'p Piece>) -> Option<(usize, usize)> {
    let (mut braces, mut last) = (0, None);
    for (n, piece) in pieces.enumerate() {
        let Piece::Static(text) = piece else {
            if last.is_some() {
                return None;
            }
            continue;
        };
        for (at, byte) in text.iter().enumerate() {
            match byte {
                b'{' => {
                    braces += 1;
                    last = Some((n, at));
                }
                b'"' if last.is_some() => return last.filter(|_| braces <= BRACES),
                byte if byte.is_ascii_whitespace() => {}
                _ => last = None,
            }
        }
    }
    None
}

/// Where in the text of an object a walk over a template is.
enum Lexer {
    /// In front of it.
    Before,
    Outside,
    Quoted,
    /// Behind a backslash.
    Escaped,
}

impl Lexer {
    fn byte(&mut self, byte: u8) {
        *self = match (&self, byte) {
            (Self::Before, _) => Self::Before,
            (Self::Outside, b'"') | (Self::Escaped, _) => Self::Quoted,
            (Self::Outside, _) | (Self::Quoted, b'"') => Self::Outside,
            (Self::Quoted, b'\\') => Self::Escaped,
            (Self::Quoted, _) => Self::Quoted,
        };
    }

    /// What a slot is that stands here; `None` where its value is no text of its own.
    fn slot(&self) -> Option<Role> {
        match self {
            Self::Before => Some(Role::Before),
            Self::Outside => Some(Role::Scalar),
            Self::Quoted => Some(Role::Quoted),
            Self::Escaped => None,
        }
    }
}

/// A part of a value.
#[derive(Debug, PartialEq, Eq)]
enum Part<'v> {
    Same(&'v str),
    /// By the number of its mark.
    Slot(usize),
}

/// Cuts a value at its marks; `None` where they do not read.
fn parts(mut value: &str) -> Option<Vec<Part<'_>>> {
    let mut parts = Vec::new();
    while !value.is_empty() {
        let quoted = value.find(OPEN).unwrap_or(value.len());
        let alone = value.find(ALONE).unwrap_or(value.len());
        let (same, mark) = value.split_at_checked(quoted.min(alone))?;
        if !same.is_empty() {
            parts.push(Part::Same(same));
        }
        if mark.is_empty() {
            break;
        }
        let (number, rest) = if quoted < alone {
            mark.get(OPEN.len_utf8()..)?.split_once(CLOSE)?
        } else {
            mark.get(ALONE.len()..)?.split_at_checked(ALONE_DIGITS)?
        };
        parts.push(Part::Slot(number.parse().ok()?));
        value = rest;
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::numbers::Spelling;
    use proptest::prelude::*;

    fn fixed(text: &str) -> Piece {
        Piece::Static(text.as_bytes().into())
    }

    fn texts(of: &Texts) -> Vec<&str> {
        of.iter().map(|text| std::str::from_utf8(text).unwrap()).collect()
    }

    #[test]
    fn values_are_told_apart() {
        let slot = || Piece::Slot(0);
        let around = [
            fixed("<"),
            slot(),
            fixed("> {"),
            fixed("\"a\":\"same\",\"b\":\""),
            slot(),
            fixed("\",\"c\":["),
            slot(),
            fixed(",1.50],\"d\":\"took "),
            slot(),
            fixed(" ms\",\"e\":\""),
            Piece::Hole,
            fixed("\"}"),
        ];
        let message = [fixed("in "), slot()];
        let flat = &mut Flat::default();
        let outline = Outline::new(Some(&around), &message, None, flat).unwrap();
        assert_eq!(texts(&outline.same), ["same", "1.5"]);
        assert_eq!(texts(&outline.parts), ["took ", " ms"]);
        assert!(outline.varies);
        let stands = [(1, Stands::Whole), (2, Stands::Spelled), (3, Stands::Part)];
        assert_eq!(outline.around, stands);
        assert_eq!(outline.stands(0), None);
        let roles: Vec<Role> = outline.roles.iter().map(|(_, _, role)| *role).collect();
        let (quoted, scalar) = (Role::Quoted, Role::Scalar);
        assert_eq!(roles, [Role::Before, quoted, scalar, quoted, quoted]);
        let outline = Outline::new(Some(&around), &message, Some(&["a"]), flat).unwrap();
        assert_eq!((texts(&outline.same), outline.varies), (vec!["same"], false));
    }

    #[test]
    fn what_may_be_cut_otherwise_has_no_outline() {
        let flat = &mut Flat::default();
        let mut is_told = |pieces: &[Piece]| Outline::new(None, pieces, None, flat).is_some();
        let slot = || Piece::Slot(0);
        assert!(is_told(&[fixed("x {\"a\":"), slot(), fixed("} ")]));
        assert!(is_told(&[fixed("{} {x {\"a\":1}")]));
        assert!(!is_told(&[slot()]));
        assert!(!is_told(&[fixed("{"), slot(), fixed(":1} {\"a\":1}")]));
        assert!(!is_told(&[fixed("{\"a\":1}"), slot()]));
        assert!(!is_told(&[fixed("{{{{{\"a\":1}")]));
        assert!(!is_told(&[fixed("{\"a\":\"\\"), slot(), fixed("\"}")]));
        assert!(!is_told(&[fixed("{\"a\":\"x\\t"), slot(), fixed("\"}")]));
        assert!(!is_told(&[fixed("{\"a\":1"), slot(), fixed("}")]));
        assert!(!is_told(&[fixed("{\"a\":\"91827364000000\"}")]));
    }

    proptest! {
        #[test]
        fn decimals_are_as_odd_as_their_texts(
            digits in prop_oneof![any::<i64>(), -2_000_i64..2_000],
            scale in 1_usize..18,
        ) {
            let mut text = Vec::new();
            Spelling::Scale(scale).write(digits, &mut text);
            for role in [Role::Before, Role::Quoted, Role::Scalar, Role::Exact] {
                prop_assert!(role.is_odd_decimal(digits, scale) || !role.is_odd(&text));
            }
        }

        #[test]
        fn a_scalar_that_is_not_odd_shows_a_part_of_itself(text in "-?[0-9]{1,20}(\\.[0-9]{1,8})?(e[0-9])?") {
            let shown = read_scalar(&text).map(|value| value.to_string());
            if !Role::Scalar.is_odd(text.as_bytes()) {
                prop_assert!(text.contains(&shown.clone().unwrap()));
            }
            if !Role::Exact.is_odd(text.as_bytes()) {
                prop_assert_eq!(text, shown.unwrap());
            }
        }
    }
}
