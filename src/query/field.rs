//! What a name in a query means: what every record has, other systems' names for the same, and
//! the keys that senders chose.
//!
//! A name is a field if it is built in, an alias, or present in the range asked; else `name:x` is
//! text. Only the first two are known here, the third is found out by `plan`.

use std::cmp::Ordering;
use std::fmt;

use super::tree::quoted;
use crate::base::record::Severity;

/// A name, as far as it can be understood without looking at the data.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Name {
    /// What every record has.
    Builtin(Builtin),
    /// Another system's name for it; also a key that is called exactly so.
    Alias(Builtin, String),
    /// `fields.NAME`, `"odd key"`: one key.
    Exact(String),
    /// `labels.*`: any key that starts so (the text ends in a dot).
    Below(String),
    /// Any other: a key called so, or, where it has no dot, one whose last part is; or a key that
    /// the table of aliases has for it.
    Loose(String),
}

/// What every record has, beside its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Builtin {
    Id,
    Time,
    Received,
    Host,
    App,
    Severity,
    Facility,
    Pid,
    Message,
    Format,
    WireFormat,
    Listener,
    Transport,
    Peer,
    Tag,
    Defect,
}

impl Builtin {
    /// By its own name, as answers have it.
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "id" => Self::Id,
            "time" => Self::Time,
            "received" => Self::Received,
            "host" => Self::Host,
            "app" => Self::App,
            "severity" => Self::Severity,
            "facility" => Self::Facility,
            "pid" => Self::Pid,
            "message" => Self::Message,
            "format" => Self::Format,
            "via.format" => Self::WireFormat,
            "listener" | "via.listener" => Self::Listener,
            "via.transport" => Self::Transport,
            "via.peer" => Self::Peer,
            "tag" | "via.tag" => Self::Tag,
            "defect" | "defects" => Self::Defect,
            _ => return None,
        })
    }

    /// By a name of ECS, OpenTelemetry, Papertrail, Loki, `VictoriaLogs`, journald.
    fn alias(name: &str) -> Option<Self> {
        Some(match name {
            "hostname"
            | "host.name"
            | "host.hostname"
            | "log.syslog.hostname"
            | "source_name"
            | "kubernetes.host"
            | "k8s.node.name"
            | "_HOSTNAME" => Self::Host,
            "program"
            | "service.name"
            | "service_name"
            | "appname"
            | "app_name"
            | "app.name"
            | "application"
            | "ident"
            | "container_name"
            | "container.name"
            | "kubernetes.container_name"
            | "kubernetes.container.name"
            | "k8s.container.name"
            | "log.syslog.appname"
            | "process.name"
            | "SYSLOG_IDENTIFIER" => Self::App,
            "level"
            | "lvl"
            | "loglevel"
            | "log_level"
            | "log.level"
            | "detected_level"
            | "severity_text"
            | "severityText"
            | "SeverityText"
            | "log.syslog.severity.name"
            | "PRIORITY" => Self::Severity,
            "log.syslog.facility.name" | "syslog.facility" | "SYSLOG_FACILITY" => Self::Facility,
            "procid" | "process.pid" | "log.syslog.procid" | "_PID" => Self::Pid,
            "msg" | "_msg" | "body" | "short_message" | "event.original" => Self::Message,
            "@timestamp" | "timestamp" | "_time" => Self::Time,
            "received_at" | "event.ingested" | "observed_timestamp" => Self::Received,
            _ => return None,
        })
    }
}

/// Keys of other systems that mean the same; a short name finds all dotted ones of its row.
const SAME: &[&[&str]] = &[
    &["status", "status_code", "http.response.status_code", "http.status_code", "http.status"],
    &["method", "http.request.method", "http.method", "http.request_method"],
    &["path", "uri", "url.path", "http.target", "http.path"],
    &["url", "url.full", "url.original", "http.url"],
    &[
        "client_ip",
        "clientip",
        "remote_addr",
        "src_ip",
        "client.address",
        "client.ip",
        "source.ip",
        "source.address",
        "net.peer.ip",
    ],
    &["user", "username", "user_name", "user.name", "user.id", "enduser.id"],
    &["user_agent", "useragent", "agent", "user_agent.original", "http.user_agent"],
    &["referer", "referrer", "http.request.referrer", "http.referer"],
    &[
        "bytes",
        "size",
        "body_bytes_sent",
        "http.response.body.size",
        "http.response.body.bytes",
        "http.response.bytes",
    ],
    &["duration", "elapsed", "took", "event.duration", "http.server.request.duration"],
    &["trace_id", "traceId", "trace.id"],
    &["span_id", "spanId", "span.id"],
    &["error", "error.message", "exception.message"],
    &["namespace", "kubernetes.namespace", "kubernetes.namespace_name", "k8s.namespace.name"],
    &["pod", "kubernetes.pod.name", "kubernetes.pod_name", "k8s.pod.name"],
];

impl Name {
    /// As typed, without quotes.
    pub(super) fn read(name: &str) -> Self {
        if let Some(exact) = name.strip_prefix("fields.").filter(|rest| !rest.is_empty()) {
            return Self::Exact(exact.to_owned());
        }
        if let Some(stem) = name.strip_suffix('*').filter(|stem| stem.ends_with('.')) {
            return Self::Below(stem.to_owned());
        }
        if let Some(builtin) = Builtin::named(name) {
            return Self::Builtin(builtin);
        }
        match Builtin::alias(name) {
            Some(builtin) => Self::Alias(builtin, name.to_owned()),
            None => Self::Loose(name.to_owned()),
        }
    }

    /// What every record has under this name.
    pub(super) fn builtin(&self) -> Option<Builtin> {
        match self {
            Self::Builtin(builtin) | Self::Alias(builtin, _) => Some(*builtin),
            _ => None,
        }
    }

    /// Which keys of records it names.
    pub(super) fn keys(&self) -> Keys {
        match self {
            // Severities and times are compared as such; the keys that they came from are texts.
            Self::Builtin(_)
            | Self::Alias(Builtin::Severity | Builtin::Time | Builtin::Received, _) => Keys::None,
            Self::Alias(_, name) | Self::Exact(name) => Keys::Exact(name.clone()),
            Self::Below(stem) => Keys::Below(stem.clone()),
            Self::Loose(name) => Keys::Loose {
                also: same_keys(name),
                suffix: (!name.contains('.')).then(|| format!(".{name}")),
                name: name.clone(),
            },
        }
    }
}

fn same_keys(name: &str) -> Vec<&'static str> {
    let rows = SAME.iter().filter(|row| row.contains(&name));
    rows.flat_map(|row| row.iter().copied()).filter(|key| key.contains('.')).collect()
}

/// Prints as it is read.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin(builtin) => f.write_str(builtin.name()),
            Self::Alias(_, name) | Self::Loose(name) => f.write_str(name),
            Self::Exact(name) => quoted(f, name, '"'),
            Self::Below(stem) => write!(f, "{stem}*"),
        }
    }
}

impl Builtin {
    fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Time => "time",
            Self::Received => "received",
            Self::Host => "host",
            Self::App => "app",
            Self::Severity => "severity",
            Self::Facility => "facility",
            Self::Pid => "pid",
            Self::Message => "message",
            Self::Format => "format",
            Self::WireFormat => "via.format",
            Self::Listener => "listener",
            Self::Transport => "via.transport",
            Self::Peer => "via.peer",
            Self::Tag => "tag",
            Self::Defect => "defect",
        }
    }
}

/// Which keys of a record are meant.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Keys {
    /// None: it is built in.
    None,
    /// The one called so.
    Exact(String),
    /// All that start so.
    Below(String),
    /// Called so, ending so, or one of these.
    Loose { name: String, suffix: Option<String>, also: Vec<&'static str> },
}

impl Keys {
    /// Is `key` one of them?
    pub(super) fn has(&self, key: &str) -> bool {
        match self {
            Self::None => false,
            Self::Exact(name) => key == name,
            Self::Below(stem) => key.len() > stem.len() && key.starts_with(stem.as_str()),
            Self::Loose { name, suffix, also } => {
                key == name
                    || suffix.as_ref().is_some_and(|s| key.ends_with(s.as_str()))
                    || also.contains(&key)
            }
        }
    }
}

/// How grave: 8 for `emerg`, 0 for `trace`, so that graver is greater.
pub(super) fn gravity(severity: Severity) -> i128 {
    8 - i128::from(severity as u8)
}

/// A severity's name, abbreviation or code.
pub(super) fn severity(text: &str) -> Option<Severity> {
    let code = text.parse().ok().and_then(Severity::from_code);
    code.or_else(|| Severity::from_text(text))
}

/// A number that is compared without rounding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    /// Any integer that a field can hold.
    Int(i128),
    /// Finite.
    Float(f64),
}

impl Number {
    /// From what people and programs write; not `inf` or `NaN`.
    pub(super) fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        // Most texts are no numbers: one look at the first character says so.
        if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
            return None;
        }
        match text.parse() {
            Ok(n) => Some(Self::Int(n)),
            Err(_) => text.parse().ok().filter(|x: &f64| x.is_finite()).map(Self::Float),
        }
    }

    /// Their order; both are finite, so there always is one.
    pub(super) fn order(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a.cmp(&b),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
            (Self::Int(a), Self::Float(b)) => int_to_float(a, b),
            (Self::Float(a), Self::Int(b)) => int_to_float(b, a).reverse(),
        }
    }
}

/// Compares through the whole part of the float, which is exact; beyond `i128` it saturates.
#[expect(clippy::cast_possible_truncation, reason = "the whole part, saturating, is what is meant")]
fn int_to_float(int: i128, float: f64) -> Ordering {
    let whole = float.trunc();
    let fraction = float - whole;
    int.cmp(&(whole as i128))
        .then_with(|| 0.0_f64.partial_cmp(&fraction).unwrap_or(Ordering::Equal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_name_keys() {
        let check = |name: &str, key: &str, want: bool| {
            assert_eq!(Name::read(name).keys().has(key), want, "{name} {key}");
        };
        check("user", "user", true);
        check("user", "auth.user", true);
        check("user", "user.name", true);
        check("user", "superuser", false);
        check("auth.user", "x.auth.user", false);
        check("status", "http.response.status_code", true);
        check("http.status_code", "http.response.status_code", true);
        check("http.status_code", "status", false);
        check("fields.host", "host", true);
        check("fields.user", "auth.user", false);
        check("labels.*", "labels.a.b", true);
        check("labels.*", "labels.", false);
        check("host", "host", false);
        check("hostname", "hostname", true);
        check("hostname", "a.hostname", false);
    }

    #[test]
    fn numbers_compare_without_rounding() {
        let check = |a: &str, b: &str, want: Ordering| {
            let (a, b) = (Number::read(a).unwrap(), Number::read(b).unwrap());
            assert_eq!(a.order(b), want, "{a:?} {b:?}");
            assert_eq!(b.order(a), want.reverse());
        };
        check("9007199254740993", "9007199254740992", Ordering::Greater);
        check("9007199254740993", "9007199254740992.0", Ordering::Greater);
        check("500", "500.0", Ordering::Equal);
        check("-1", "-1.5", Ordering::Greater);
        check("1", "1.5", Ordering::Less);
        check("+5", "5", Ordering::Equal);
        check("1e3", "1000", Ordering::Equal);
        check("18446744073709551615", "18446744073709551614", Ordering::Greater);
        for wrong in ["", "inf", "NaN", "0x10", "1_000", "10MB", "-", "infinity"] {
            assert_eq!(Number::read(wrong), None, "{wrong}");
        }
    }
}
