//! The signs of the language: what stands at the beginning of a text, and what is left behind it.
//!
//! Each function looks at text alone; what a sign means where it stands is `grammar`'s to say.

use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while};

use super::{Fault, Read, another};

pub(super) fn skip_blanks(text: &str) -> &str {
    text.trim_start()
}

/// What stands between a name and its value.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Sign {
    Is,
    Contains,
    /// Greater; inclusive?
    Above(bool),
    /// Less; inclusive?
    Below(bool),
}

pub(super) fn operator(text: &str) -> Read<'_, Sign> {
    let (rest, sign) = alt((
        tag(":>="),
        tag(":<="),
        tag(":>"),
        tag(":<"),
        tag(":"),
        tag(">="),
        tag("<="),
        tag(">"),
        tag("<"),
        tag("~"),
    ))
    .parse(text)?;
    let sign = match sign.trim_start_matches(':') {
        ">=" => Sign::Above(true),
        ">" => Sign::Above(false),
        "<=" => Sign::Below(true),
        "<" => Sign::Below(false),
        "~" => Sign::Contains,
        _ => Sign::Is,
    };
    Ok((rest, sign))
}

/// Can a value begin here?
pub(super) fn starts_value(text: &str) -> bool {
    text.starts_with(|c: char| !c.is_whitespace() && !matches!(c, ')' | '|'))
        && !text.starts_with("&&")
}

/// A name without quotes; a `*` only at its end, behind a dot.
pub(super) fn name(text: &str) -> Read<'_, &str> {
    let inner = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '@' | '$' | '/');
    if !text.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '@' | '$')) {
        return another(text);
    }
    let (rest, name) = take_while(inner).parse(text)?;
    match rest.strip_prefix('*') {
        Some(behind) if name.ends_with('.') => {
            Ok((behind, text.get(..=name.len()).unwrap_or(name)))
        }
        _ => Ok((rest, name)),
    }
}

/// A sign, or its word in capitals.
pub(super) fn sign<'a>(
    sign: &'static str,
    word: &'static str,
) -> impl Parser<&'a str, Output = &'a str, Error = Fault<'a>> {
    alt((tag(sign), keyword(word)))
}

/// A word in capitals that stands alone.
pub(super) fn keyword<'a>(
    word: &'static str,
) -> impl Parser<&'a str, Output = &'a str, Error = Fault<'a>> {
    move |text: &'a str| {
        let (rest, found) = tag(word).parse(text)?;
        let alone = rest.is_empty()
            || rest.starts_with(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '|'));
        if alone { Ok((rest, found)) } else { another(text) }
    }
}

/// Behind a `-` or `!` that negates: one that stands in front of a term. In `->`, `--x`, `!=`,
/// `- x` it is text.
pub(super) fn minus(text: &str) -> Option<&str> {
    let rest = text.strip_prefix(['-', '!'])?;
    let negates = rest.starts_with(|c: char| {
        c.is_alphanumeric() || matches!(c, '_' | '@' | '$' | '(' | '"' | '\'' | '/' | '*')
    });
    // A number in a list, or a time zone in brackets: a piece of a line, such as `x=-5, y`.
    let digits = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let listed = digits.len() < rest.len() && digits.starts_with([',', ';', ']', '}']);
    (negates && !listed).then_some(rest)
}

/// A text in quotes, without them; a backslash makes the quote and itself literal.
pub(super) fn quoted(text: &str, quote: char) -> Read<'_, String> {
    let Some(length) = quote_length(text, quote) else {
        return Fault::stray(text, "this quote is not closed", &[&quote.to_string()]);
    };
    let (Some(inner), Some(rest)) = (text.get(1..length - 1), text.get(length..)) else {
        return another(text);
    };
    let mut plain = String::with_capacity(inner.len());
    let mut chars = inner.chars().peekable();
    while let Some(c) = chars.next() {
        let escapes = c == '\\' && chars.peek().is_some_and(|n| *n == quote || *n == '\\');
        plain.push(if escapes { chars.next().unwrap_or(c) } else { c });
    }
    Ok((rest, plain))
}

/// Bytes of the quoted text at the start, with both quotes.
pub(super) fn quote_length(text: &str, quote: char) -> Option<usize> {
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return Some(at + c.len_utf8());
        }
        if c == '\\' {
            let _ = chars.next();
        }
    }
    None
}

/// Bytes of the parentheses at the start, where they close without a blank.
pub(super) fn balanced(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1)?,
            '|' | '"' => return None,
            _ if c.is_whitespace() => return None,
            _ => {}
        }
        if depth == 0 {
            return Some(at + 1);
        }
    }
    None
}

/// `/source/` or `/source/i` where a term ends behind it, so that paths stay text.
pub(super) fn slashes(text: &str) -> Option<(&str, &str, bool)> {
    // A star cannot stand first in an expression, but opens a comment.
    let inner = text.strip_prefix('/').filter(|inner| !inner.starts_with('*'))?;
    let mut chars = inner.char_indices();
    let end = loop {
        let (at, c) = chars.next()?;
        match c {
            '/' => break at,
            '\\' => {
                let _ = chars.next();
            }
            _ => {}
        }
    };
    let (source, rest) = inner.split_at_checked(end).filter(|(source, _)| !source.is_empty())?;
    let rest = rest.strip_prefix('/')?;
    let (rest, any_case) = rest.strip_prefix('i').map_or((rest, false), |r| (r, true));
    let ends = rest.is_empty()
        || rest.starts_with(|c: char| c.is_whitespace() || matches!(c, ')' | '|'))
        || rest.starts_with("&&");
    ends.then_some((rest, source, any_case))
}
