//! Records as lines on a page: what of a message is shown, what is marked, what is a link.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use crate::base::record::{Record, Severity};
use crate::base::time::{Timestamp, Zone};
use crate::base::value::Value;

use super::address::{Address, condition};
use super::words::{Lang, length};

/// Most characters of a message in the list; wider than any screen shows.
const SHORT_CHARS_MAX: usize = 600;

/// A match that begins behind so many characters moves the shown part, so that it is seen.
const LEAD_CHARS_MAX: usize = 110;

/// Most characters of a message, a raw line or a value that a page holds; the rest is a click away.
const LONG_CHARS_MAX: usize = 64_000;

/// Names that are built in (query.md 2); a field called so is asked for as `fields.NAME`.
const BUILT_IN: [&str; 20] = [
    "id",
    "time",
    "received",
    "host",
    "app",
    "severity",
    "facility",
    "pid",
    "message",
    "raw",
    "format",
    "listener",
    "transport",
    "peer",
    "tag",
    "defect",
    "via",
    "since",
    "until",
    "word",
];

/// A stretch of text, marked or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) kind: Kind,
}

/// How a stretch looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// As it is.
    Plain,
    /// Found by the query.
    Hit,
    /// A sign for something that cannot be shown (line end, control character, left-out text).
    Sign,
}

/// One line of the list.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) id: u64,
    /// `error`, `warning`, `info` or `debug`.
    pub(super) class: &'static str,
    pub(super) letter: &'static str,
    pub(super) severity: &'static str,
    pub(super) time: String,
    pub(super) full_time: String,
    pub(super) machine_time: String,
    /// Its day, where that is another than of the line before.
    pub(super) day: Option<String>,
    pub(super) host: Arc<str>,
    pub(super) host_href: String,
    pub(super) app: Arc<str>,
    pub(super) app_href: String,
    pub(super) hue: u32,
    pub(super) message: Vec<Piece>,
    pub(super) open_href: String,
    /// Its own page, with the question that it was found by.
    pub(super) record_href: String,
    pub(super) detail: Option<Detail>,
}

/// A line opened.
#[derive(Debug)]
pub(super) struct Detail {
    pub(super) class: &'static str,
    /// The whole message, where the list could not show it.
    pub(super) message: Option<Vec<Piece>>,
    /// What the line says, and how it came.
    pub(super) tables: [Facts; 2],
    pub(super) around: Vec<(&'static str, String)>,
    pub(super) permalink: String,
    pub(super) raw_href: String,
    pub(super) json_href: String,
    /// The line as it came, where that is not the message.
    pub(super) raw: Option<Vec<Piece>>,
    pub(super) json: String,
}

/// Facts of one kind.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) caption: &'static str,
    pub(super) facts: Vec<Fact>,
}

/// A name and a value, with what one can do about it.
#[derive(Debug)]
pub(super) struct Fact {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) only: Option<String>,
    pub(super) without: Option<String>,
}

/// What all lines of a page share.
pub(super) struct Scene<'a> {
    pub(super) address: &'a Address,
    /// What the query found in a message, rising, not overlapping.
    pub(super) mark: &'a dyn Fn(&str) -> Vec<Range<usize>>,
    pub(super) zone: &'a Zone,
    pub(super) l: Lang,
}

/// Colour and gravity in one word.
fn class(severity: Option<Severity>) -> &'static str {
    match severity {
        Some(s) if s <= Severity::Error => "error",
        Some(Severity::Warning) => "warning",
        Some(Severity::Debug | Severity::Trace) => "debug",
        _ => "info",
    }
}

/// One letter, so that gravity is read without colour; `info` is the ground that needs none.
fn letter(severity: Option<Severity>) -> &'static str {
    match severity {
        Some(Severity::Emerg) => "M",
        Some(Severity::Alert) => "A",
        Some(Severity::Crit) => "C",
        Some(Severity::Error) => "E",
        Some(Severity::Warning) => "W",
        Some(Severity::Notice) => "N",
        Some(Severity::Debug) => "D",
        Some(Severity::Trace) => "T",
        Some(Severity::Info) | None => "",
    }
}

/// A quiet colour of its own for every app, the same on every page (FNV-1a).
fn hue(app: &str) -> u32 {
    let hash =
        app.bytes().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(16_777_619));
    (hash >> 8) % 12
}

impl Scene<'_> {
    /// Lines in the order given; the one with the id `open` is open.
    pub(super) fn rows(
        &self,
        records: &[Arc<Record>],
        open: Option<u64>,
        json: &dyn Fn(&Record) -> String,
    ) -> Vec<Row> {
        let mut day = String::new();
        let mut rows = Vec::with_capacity(records.len());
        for record in records {
            let mut row = self.row(record, open == Some(record.id));
            let its_day = record
                .time
                .in_zone(self.zone)
                .strftime(self.l.t("%A, %-d %B %Y", "%Y年%-m月%-d日"))
                .to_string();
            // The first day is said only where another one follows; see `rows` of the page.
            if its_day != day {
                row.day = Some(its_day.clone());
                day = its_day;
            }
            if open == Some(record.id) {
                row.detail = Some(self.detail(record, json(record), true));
            }
            rows.push(row);
        }
        rows
    }

    fn row(&self, record: &Record, open: bool) -> Row {
        let at = record.time.in_zone(self.zone);
        let text = record.message();
        let hits = (self.mark)(text);
        Row {
            id: record.id,
            class: class(record.severity),
            letter: letter(record.severity),
            severity: record.severity.map_or("", Severity::name),
            time: at.strftime("%H:%M:%S%.3f").to_string(),
            full_time: precise(record.time, self.zone),
            machine_time: record.time.to_string(),
            day: None,
            host: Arc::clone(&record.host),
            host_href: self.address.adding(&condition("host", &record.host)).href(),
            app: Arc::clone(&record.app),
            app_href: self.address.adding(&condition("app", &record.app)).href(),
            hue: hue(&record.app),
            message: pieces(text, &hits, &shown(text, &hits)),
            open_href: format!(
                "{}#r{}",
                self.address.opening((!open).then_some(record.id)).href(),
                record.id
            ),
            record_href: self.permalink(record.id),
            detail: None,
        }
    }

    fn permalink(&self, id: u64) -> String {
        let question =
            Address { cursor: String::new(), newer: String::new(), ..self.address.clone() };
        question.opening(None).below(&format!("/records/{id}"))
    }

    /// All that is known of a record; `json` is it as the API gives it. With `beside` the list
    /// shows the message above, so that a short one is not said twice.
    pub(super) fn detail(&self, record: &Record, json: String, beside: bool) -> Detail {
        let text = record.message();
        let hits = (self.mark)(text);
        let is_seen = beside
            && text.chars().take(LEAD_CHARS_MAX).count() < LEAD_CHARS_MAX
            && !text.chars().any(char::is_control);
        let own = if record.line.raw() == text.as_bytes() {
            None
        } else {
            let raw = readable(record.line.raw());
            Some(pieces(&raw, &[], std::slice::from_ref(&within(&raw, LONG_CHARS_MAX))))
        };
        let says = record.fields.iter().map(|f| self.field(&f.name, &f.value)).collect();
        Detail {
            class: class(record.severity),
            message: (!is_seen).then(|| long_pieces(text, &hits)),
            tables: [
                Facts { caption: self.l.t("what the line says", "行の内容"), facts: says },
                Facts {
                    caption: self.l.t("how it came", "届いた経路"),
                    facts: self.origin(record),
                },
            ],
            around: self.around(record),
            permalink: format!("/records/{}", record.id),
            raw_href: format!("/api/v1/records/{}/raw", record.id),
            json_href: format!("/api/v1/records/{}", record.id),
            raw: own,
            json,
        }
    }

    fn field(&self, name: &str, value: &Value) -> Fact {
        let key = if BUILT_IN.contains(&name) { format!("fields.{name}") } else { name.to_owned() };
        let shown = value.to_string();
        let term = match value {
            Value::Array(_) | Value::Null => None,
            _ if shown.len() > 1_000 || shown.is_empty() => None,
            _ => Some(condition(&key, &shown)),
        };
        self.fact(name, &shown, term)
    }

    fn fact(&self, name: &str, value: &str, term: Option<String>) -> Fact {
        let shown: String =
            value.chars().take(LONG_CHARS_MAX).map(|c| sign(c).unwrap_or(c)).collect();
        Fact {
            name: name.to_owned(),
            value: shown,
            only: term.as_ref().map(|t| self.address.adding(t).href()),
            without: term.map(|t| self.address.adding(&format!("-{t}")).href()),
        }
    }

    fn origin(&self, record: &Record) -> Vec<Fact> {
        let l = self.l;
        let at =
            |time: Timestamp, format: &str| time.in_zone(self.zone).strftime(format).to_string();
        let asked = |name: &str, key: &str, value: &str| {
            self.fact(name, value, Some(condition(key, value)))
        };
        let said = |name: &str, value: String| self.fact(name, &value, None);
        let late = record.received.0.saturating_sub(record.time.0) / 1_000_000;
        let mut facts = vec![
            said(l.t("time", "時刻"), precise(record.time, self.zone)),
            said(
                l.t("received", "受信"),
                if (0..10_000).contains(&late) {
                    format!("+{late} ms")
                } else {
                    at(record.received, "%Y-%m-%d %H:%M:%S%.3f")
                        + &if late < 0 {
                            format!(
                                " ({} {})",
                                length(l, -late),
                                l.t("before its time", "未来の時刻")
                            )
                        } else {
                            format!(" ({} {})", length(l, late), l.t("later", "後"))
                        }
                },
            ),
            asked(l.t("host", "ホスト"), "host", &record.host),
            asked(l.t("app", "アプリ"), "app", &record.app),
        ];
        if let Some(severity) = record.severity {
            facts.push(asked(l.t("severity", "重大度"), "severity", severity.name()));
        }
        if let Some(facility) = record.facility {
            facts.push(asked(l.t("facility", "ファシリティ"), "facility", facility.name()));
        }
        if let Some(pid) = &record.pid {
            facts.push(asked("pid", "pid", pid));
        }
        if let Some(format) = &record.format {
            facts.push(asked(l.t("read by", "解析"), "format", format));
        }
        let via = &record.via;
        facts.push(said(
            l.t("via", "経路"),
            format!("{} · {} {} {}", via.format, via.transport, l.t("from", "←"), via.peer),
        ));
        facts.push(asked(l.t("listener", "リスナー"), "listener", &via.listener));
        if let Some(tag) = &record.tag {
            facts.push(asked(l.t("tag", "タグ"), "tag", tag));
        }
        for defect in record.defects.iter() {
            facts.push(asked(l.t("defect", "不備"), "defect", defect.code()));
        }
        facts.push(said("id", record.id.to_string()));
        facts
    }

    /// Half a minute before and after, on the same host, of the same app, everywhere.
    fn around(&self, record: &Record) -> Vec<(&'static str, String)> {
        let window = |seconds: i64| {
            let at = record.time.0.saturating_add(seconds * 1_000_000_000);
            super::chart::stamp(Timestamp(at).floor_to_millis(), self.zone)
        };
        let address = self.address.over(window(-30), window(30)).opening(Some(record.id));
        let of = |q: String| {
            let there = Address { q, live: String::new(), ..address.clone() };
            format!("{}#r{}", there.href(), record.id)
        };
        vec![
            (self.l.t("same host", "同じホスト"), of(condition("host", &record.host))),
            (self.l.t("same app", "同じアプリ"), of(condition("app", &record.app))),
            (self.l.t("everything", "すべて"), of(String::new())),
        ]
    }
}

/// An instant with all its digits, in threes.
fn precise(time: Timestamp, zone: &Zone) -> String {
    let fraction = match time.0.rem_euclid(1_000_000_000) {
        n if n % 1_000_000 == 0 => "%.3f",
        n if n % 1_000 == 0 => "%.6f",
        _ => "%.9f",
    };
    time.in_zone(zone).strftime(&format!("%Y-%m-%d %H:%M:%S{fraction} %:z")).to_string()
}

/// The byte range of the first `chars` characters.
fn within(text: &str, chars: usize) -> Range<usize> {
    0..text.char_indices().nth(chars).map_or(text.len(), |(at, _)| at)
}

/// What of a message the list shows: its begin, and, where the first match stands too far in to be
/// seen, the part around that instead of what lies between.
fn shown(text: &str, hits: &[Range<usize>]) -> Vec<Range<usize>> {
    let before = text.get(..hits.first().map_or(0, |hit| hit.start)).unwrap_or_default();
    if before.chars().take(LEAD_CHARS_MAX).count() < LEAD_CHARS_MAX {
        return vec![within(text, SHORT_CHARS_MAX)];
    }
    let head = within(text, LEAD_CHARS_MAX / 2);
    let start = before.char_indices().rev().nth(LEAD_CHARS_MAX / 4).map_or(0, |(at, _)| at);
    // Words stay whole where one begins soon.
    let lead = before.get(start..).unwrap_or_default();
    let start = start + lead.find(' ').filter(|at| *at < lead.len() / 2).map_or(0, |at| at + 1);
    let rest = within(text.get(start..).unwrap_or_default(), SHORT_CHARS_MAX);
    vec![head, start..start + rest.end]
}

/// What stands for a character that is no sign by itself or that turns the text around it.
fn sign(c: char) -> Option<char> {
    match c {
        '\n' | '\t' => None,
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(c)),
        '\x7f' => Some('␡'),
        '\u{80}'..='\u{9f}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}' => Some('\u{fffd}'),
        _ => None,
    }
}

/// Parts of `text` on one line.
fn pieces(text: &str, hits: &[Range<usize>], parts: &[Range<usize>]) -> Vec<Piece> {
    cut(text, hits, parts, true)
}

/// All of `text`, its line ends kept.
fn long_pieces(text: &str, hits: &[Range<usize>]) -> Vec<Piece> {
    cut(text, hits, std::slice::from_ref(&within(text, LONG_CHARS_MAX)), false)
}

fn cut(text: &str, hits: &[Range<usize>], parts: &[Range<usize>], one_line: bool) -> Vec<Piece> {
    let mut out: Vec<Piece> = Vec::new();
    let mut push = |c: char, kind: Kind| match out.last_mut() {
        Some(last) if last.kind == kind => last.text.push(c),
        _ => out.push(Piece { text: c.to_string(), kind }),
    };
    let mut hits = hits.iter().peekable();
    for part in parts {
        for (at, c) in text.get(part.clone()).unwrap_or_default().char_indices() {
            let at = at + part.start;
            while hits.next_if(|hit| hit.end <= at).is_some() {}
            let hit = hits.peek().is_some_and(|hit| hit.contains(&at));
            match sign(c) {
                Some(sign) => push(sign, Kind::Sign),
                None if one_line && c == '\n' => push('↵', Kind::Sign),
                None if one_line && c == '\t' => push(' ', Kind::Plain),
                None => push(c, if hit { Kind::Hit } else { Kind::Plain }),
            }
        }
        if part.end < text.len() {
            push('…', Kind::Sign);
        }
    }
    out
}

/// Bytes as text; what is not UTF-8 is written `\xNN`.
fn readable(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        for byte in chunk.invalid() {
            write!(out, "\\x{byte:02x}").unwrap_or_default();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(pieces: &[Piece]) -> String {
        pieces
            .iter()
            .map(|p| match p.kind {
                Kind::Plain => p.text.clone(),
                Kind::Hit => format!("[{}]", p.text),
                Kind::Sign => format!("<{}>", p.text),
            })
            .collect()
    }

    #[test]
    fn matches_are_marked_and_controls_are_shown() {
        for (text, hits, want) in [
            ("hello 調べ", &[(6, 12)][..], "hello [調べ]"),
            ("aXbX", &[(1, 2), (3, 4)], "a[X]b[X]"),
            ("a\nb\tc\x1b[0m", &[], "a<↵>b c<␛>[0m"),
            ("safe \u{202e}evil", &[], "safe <\u{fffd}>evil"),
            ("", &[], ""),
        ] {
            let hits: Vec<Range<usize>> = hits.iter().map(|(from, to)| *from..*to).collect();
            assert_eq!(flat(&pieces(text, &hits, &shown(text, &hits))), want);
        }
    }

    #[test]
    fn a_match_far_in_is_seen() {
        let text = format!("begin {} needle tail", "x".repeat(500));
        let hits = std::slice::from_ref(&(507..513));
        let seen = flat(&pieces(&text, hits, &shown(&text, hits)));
        let (head, near) = ("x".repeat(49), "x".repeat(27));
        assert_eq!(seen, format!("begin {head}<…>{near} [needle] tail"));
        let long = "調".repeat(2_000);
        assert_eq!(flat(&pieces(&long, &[], &shown(&long, &[]))).chars().count(), 603);
    }

    #[test]
    fn bytes_that_are_no_text_are_written_out() {
        assert_eq!(readable(b"caf\xe9 \xe8\xaa\xbf"), "caf\\xe9 調");
    }
}
