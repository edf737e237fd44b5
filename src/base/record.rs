//! One log record as it travels from decoder to screen (contract 3).
//!
//! A decoder makes it (`id` 0), `refine` adds what the text says, the store gives it its id, and
//! from then on nobody changes it. The line's bytes are never lost: [`Line::raw`] is what came,
//! and the message is a stretch of it wherever that is possible, so that it is stored once.

use std::fmt;
use std::sync::Arc;

use crate::base::time::Timestamp;
use crate::base::value::{Field, Value};

/// A record. See contract 3 for what each part means to the outside.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Rising in the order of acceptance, never reused; 0 until the store has taken it.
    pub id: u64,
    /// What the sender says; `received` where it says nothing usable (with a defect).
    pub time: Timestamp,
    /// Our time, whole milliseconds, one value a batch.
    pub received: Timestamp,
    /// Never empty: falls back to the peer's address.
    pub host: Arc<str>,
    /// Never empty: falls back to the tag, else `-`.
    pub app: Arc<str>,
    /// `None` where unknown.
    pub severity: Option<Severity>,
    /// Syslog facility; `None` where the way in has none.
    pub facility: Option<Facility>,
    /// Process id as text, since senders put names there too.
    pub pid: Option<Box<str>>,
    /// The bytes that came and the message in them.
    pub line: Line,
    /// Flat, in the sender's order; a name stands at most once.
    pub fields: Vec<Field>,
    /// The rule that read the message (`nginx.error`); `None` where none did.
    pub format: Option<Arc<str>>,
    /// How it came; shared by all records of a connection and wire format.
    pub via: Arc<Via>,
    /// The fluent tag; `None` for ways in that have none.
    pub tag: Option<Arc<str>>,
    /// What was wrong with it.
    pub defects: Defects,
}

/// Fields in which senders say the time (contract 3), the first that reads.
pub const TIME_FIELDS: [&str; 5] = ["@timestamp", "timestamp", "time", "ts", "date"];

/// Listener, transport and format of what the program itself says.
pub const INTERNAL: &str = "internal";

/// How a record came in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Via {
    /// Wire format: `rfc5424`, `rfc3164`, `none` (no PRI), `forward`, `json`, `text`, …
    pub format: Arc<str>,
    /// Name of the listener from the configuration, `http` for HTTP.
    pub listener: Arc<str>,
    /// `udp`, `tcp`, `tls`, `http`, or `internal`.
    pub transport: Arc<str>,
    /// The peer's address without its port.
    pub peer: Arc<str>,
}

/// The line as it came, and where its message stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line(Kind);

/// Text is told from bytes once, when the line comes, and never looked through again.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// The message is `raw[start..end]`, and all of `raw` is UTF-8.
    Text { raw: Box<str>, start: u32, end: u32 },
    /// The message is `raw[start..end]`, checked to be UTF-8; something around it is not.
    Bytes { raw: Box<[u8]>, start: u32, end: u32 },
    /// The message does not stand in `raw` as it is (decoded, unescaped, built).
    Own { raw: Box<[u8]>, message: Box<str> },
}

impl Line {
    /// A line whose message is `raw[start..end]`; where that is not UTF-8 (or out of range), the
    /// message is its lossy decoding instead.
    pub fn spanning(raw: impl Into<Box<[u8]>>, start: usize, end: usize) -> Self {
        let raw: Box<[u8]> = raw.into();
        let (Ok(from), Ok(to)) = (u32::try_from(start), u32::try_from(end)) else {
            return Self::of_bytes(raw, start, end);
        };
        match String::from_utf8(raw.into_vec()) {
            Ok(text) if text.get(start..end).is_some() => {
                Self(Kind::Text { raw: text.into(), start: from, end: to })
            }
            Ok(text) => Self::of_bytes(text.into_bytes().into(), start, end),
            Err(error) => Self::of_bytes(error.into_bytes().into(), start, end),
        }
    }

    /// As [`Self::spanning`], of what is known to be text.
    pub fn in_text(raw: &str, start: usize, end: usize) -> Self {
        match (raw.get(start..end), u32::try_from(start), u32::try_from(end)) {
            (Some(_), Ok(start), Ok(end)) => Self(Kind::Text { raw: raw.into(), start, end }),
            _ => Self::of_bytes(raw.as_bytes().into(), start, end),
        }
    }

    fn of_bytes(raw: Box<[u8]>, start: usize, end: usize) -> Self {
        let bytes = raw.get(start..end).unwrap_or_default();
        let is_there = bytes.len() == end.saturating_sub(start) && start <= end;
        match (std::str::from_utf8(bytes), u32::try_from(start), u32::try_from(end)) {
            (Ok(_), Ok(start), Ok(end)) if is_there => Self(Kind::Bytes { raw, start, end }),
            _ => {
                let message = String::from_utf8_lossy(bytes).into();
                Self(Kind::Own { raw, message })
            }
        }
    }

    /// A line whose message is text of its own.
    pub fn with_message(raw: impl Into<Box<[u8]>>, message: impl Into<Box<str>>) -> Self {
        Self(Kind::Own { raw: raw.into(), message: message.into() })
    }

    /// A line that is all message.
    pub fn text(text: &str) -> Self {
        Self::in_text(text, 0, text.len())
    }

    /// The bytes as they came (contract 3 says what "the line" is for each way in).
    pub fn raw(&self) -> &[u8] {
        match &self.0 {
            Kind::Text { raw, .. } => raw.as_bytes(),
            Kind::Bytes { raw, .. } | Kind::Own { raw, .. } => raw,
        }
    }

    /// The message as UTF-8.
    pub fn message(&self) -> &str {
        match &self.0 {
            Kind::Text { raw, start, end } => {
                raw.get(*start as usize..*end as usize).unwrap_or_default()
            }
            Kind::Bytes { raw, start, end } => raw
                .get(*start as usize..*end as usize)
                .and_then(|bytes| std::str::from_utf8(bytes).ok())
                .unwrap_or_default(),
            Kind::Own { message, .. } => message,
        }
    }

    /// Where the message stands in `raw`, as byte offsets; `None` when it is text of its own.
    pub fn span(&self) -> Option<(usize, usize)> {
        match &self.0 {
            Kind::Text { start, end, .. } | Kind::Bytes { start, end, .. } => {
                Some((*start as usize, *end as usize))
            }
            Kind::Own { .. } => None,
        }
    }
}

impl Record {
    /// The message as UTF-8.
    pub fn message(&self) -> &str {
        self.line.message()
    }

    /// The value of the field called exactly `name`.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|f| &*f.name == name).map(|f| &f.value)
    }

    /// Rough size in memory, bytes; what budgets count.
    pub fn weight(&self) -> usize {
        let own = if self.line.span().is_some() { 0 } else { self.message().len() };
        let fields: usize = self.fields.iter().map(Field::weight).sum();
        256 + self.line.raw().len() + own + fields
    }
}

/// Syslog severities (RFC 5424 table 2) and `trace` below them; ordered by gravity, gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are RFC 5424's")]
pub enum Severity {
    Emerg,
    Alert,
    Crit,
    Error,
    Warning,
    Notice,
    Info,
    Debug,
    Trace,
}

impl Severity {
    /// All, gravest first.
    pub const ALL: [Self; 9] = [
        Self::Emerg,
        Self::Alert,
        Self::Crit,
        Self::Error,
        Self::Warning,
        Self::Notice,
        Self::Info,
        Self::Debug,
        Self::Trace,
    ];

    /// The name in answers and queries.
    pub fn name(self) -> &'static str {
        match self {
            Self::Emerg => "emerg",
            Self::Alert => "alert",
            Self::Crit => "crit",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    /// From the low three bits of a PRI, or 8 for trace.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// From what senders write, in any case: names, abbreviations, single letters of glog kind.
    pub fn from_text(text: &str) -> Option<Self> {
        let lower = text.trim().to_ascii_lowercase();
        Some(match lower.as_str() {
            "emerg" | "emergency" | "panic" => Self::Emerg,
            "alert" => Self::Alert,
            "crit" | "critical" | "fatal" | "f" => Self::Crit,
            "error" | "err" | "eror" | "severe" | "failure" | "e" => Self::Error,
            "warning" | "warn" | "w" => Self::Warning,
            "notice" | "n" => Self::Notice,
            "info" | "information" | "informational" | "i" => Self::Info,
            "debug" | "dbg" | "d" | "fine" | "verbose" | "v" => Self::Debug,
            "trace" | "trc" | "t" | "finer" | "finest" => Self::Trace,
            _ => return None,
        })
    }
}

/// A syslog facility, 0 to 23 (RFC 5424 table 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Facility(u8);

impl Facility {
    /// Contract 3's names in the order of their codes.
    pub const NAMES: [&'static str; 24] = [
        "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron",
        "authpriv", "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2",
        "local3", "local4", "local5", "local6", "local7",
    ];

    /// From its code; `None` above 23.
    pub fn from_code(code: u8) -> Option<Self> {
        (usize::from(code) < Self::NAMES.len()).then_some(Self(code))
    }

    /// Its code, 0 to 23.
    pub fn code(self) -> u8 {
        self.0
    }

    /// Its name in answers and queries.
    pub fn name(self) -> &'static str {
        Self::NAMES.get(usize::from(self.0)).copied().unwrap_or("user")
    }
}

macro_rules! defects {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// One thing that was wrong with a record; its code is what users see and count.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Defect { $($(#[$doc])* $name,)* }

        impl Defect {
            /// All, in the order of their bits in [`Defects`]. Append only: bits are stored.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code in answers, queries (`defect:not-utf8`) and metrics.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }
        }
    };
}

defects! {
    /// The sender gave no time that could be used; `time` is ours.
    NoTimestamp = "no-timestamp",
    /// The sender's time lies further ahead than `limits::FUTURE_SKEW_MAX`; kept as sent.
    FutureTime = "future-time",
    /// The sender's time lies before `limits::ANCIENT_TIME`; kept as sent.
    AncientTime = "ancient-time",
    /// The bytes were not UTF-8; `message` is decoded, `raw` has the bytes.
    NotUtf8 = "not-utf8",
    /// Longer than the bound; the rest was dropped.
    Truncated = "truncated",
    /// PRI missing its bounds or its shape.
    BadPri = "bad-pri",
    /// RFC 5424 with a version other than 1.
    UnknownVersion = "unknown-version",
    /// Structured data that does not end or parse; it is part of the message.
    BadStructuredData = "bad-structured-data",
    /// A header that fits neither RFC 5424 nor RFC 3164; all of it is message.
    BadHeader = "bad-header",
    /// A JSON line that does not parse; kept as text.
    BadJson = "bad-json",
    /// A msgpack bin or ext that is not UTF-8; its field is base64.
    Binary = "binary",
    /// A time with second 60; read as the first second of the next minute.
    LeapSecond = "leap-second",
    /// A date that its year does not have: the last year that has it was taken, else our time.
    BadDate = "bad-date",
    /// More fields, or deeper ones, than the bounds; the rest is in the raw line only.
    TooManyFields = "too-many-fields",
    /// The value of a key is no value that it can have (a time that is text, a level unknown).
    BadValue = "bad-value",
}

/// A set of [`Defect`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Defects(u64);

impl Defects {
    /// Adds one.
    pub fn add(&mut self, defect: Defect) {
        self.0 |= 1 << defect as u8;
    }

    /// Adds all of `others`.
    pub fn add_all(&mut self, others: Self) {
        self.0 |= others.0;
    }

    /// Takes one back, e.g. `no-timestamp` once a rule has found the time.
    pub fn remove(&mut self, defect: Defect) {
        self.0 &= !(1 << defect as u8);
    }

    /// Is it there?
    pub fn has(self, defect: Defect) -> bool {
        self.0 & (1 << defect as u8) != 0
    }

    /// None at all?
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The bits, for storage.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// From stored bits; unknown ones are dropped.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits & ((1 << Defect::ALL.len()) - 1))
    }

    /// Those that are there.
    pub fn iter(self) -> impl Iterator<Item = Defect> {
        Defect::ALL.iter().copied().filter(move |d| self.has(*d))
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
