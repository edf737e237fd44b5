//! One syslog message to one record: RFC 5424, RFC 3164 and what devices make of them.
//!
//! Stands after `frame`. Which format it is, is told for each message. Whatever it is, nothing is
//! lost: what no header is, is message, and the line keeps all bytes.
//!
//! | file | noun |
//! |---|---|
//! | `pri` | `<134>`: facility and severity |
//! | `rfc5424` | the header with a version, and Meraki's |
//! | `data` | structured data of RFC 5424 |
//! | `rfc3164` | the header that begins with a time, or with less |
//! | `cisco` | what Cisco puts before and after the time |
//! | `tag` | `sshd[99]:` |
//! | `host` | what can be the name of a host |

mod cisco;
mod data;
mod host;
mod pri;
mod rfc3164;
mod rfc5424;
mod tag;

use std::borrow::Cow;
use std::sync::Arc;

use crate::base::limits::NAME_BYTES_MAX;
use crate::base::names;
use crate::base::record::{Defect, Defects, Line, Record};
use crate::base::time::Timestamp;
use crate::base::value::{Field, Value};
use crate::base::written::Written;
use crate::decode::frame::Frame;
use crate::decode::{Origin, Reject, frame};

use pri::Pri;

/// What a header says. Names are stretches of the frame, empty where it says nothing.
#[derive(Debug, Default)]
struct Header<'a> {
    time: Option<Timestamp>,
    host: &'a [u8],
    app: &'a [u8],
    pid: &'a [u8],
    fields: Vec<Field>,
    /// MSG, to the end of the frame.
    message: &'a [u8],
}

/// What reading a header needs to know and to note.
struct Context<'a> {
    received: Timestamp,
    origin: &'a Origin,
    defects: Defects,
}

impl Context<'_> {
    /// The instant that is meant, its oddities noted.
    fn instant(&mut self, written: &Written) -> Option<Timestamp> {
        if written.second == 60 {
            self.defects.add(Defect::LeapSecond);
        }
        let at = written.at(&self.origin.zone, self.received);
        let is_leap_day = written.year.is_none() && (written.month, written.day) == (2, 29);
        let is_far =
            at.is_none_or(|at| at.0.abs_diff(self.received.0) > 366 * 86_400 * 1_000_000_000);
        if is_leap_day && is_far {
            self.defects.add(Defect::BadDate);
        }
        at
    }

    /// Bytes as text: UTF-8, else the listener's encoding, else with replacement characters.
    fn text<'b>(&mut self, bytes: &'b [u8]) -> Cow<'b, str> {
        if let Ok(text) = std::str::from_utf8(bytes) {
            return Cow::Borrowed(text);
        }
        self.defects.add(Defect::NotUtf8);
        self.origin.decoded(bytes)
    }

    /// A host, an app, a pid; cut where it is too long to be a name.
    fn name<'b>(&mut self, bytes: &'b [u8]) -> Cow<'b, str> {
        self.text(frame::whole_characters(bytes, NAME_BYTES_MAX))
    }
}

/// Reads the message of a TCP frame.
pub fn read_frame(frame: &Frame<'_>, received: Timestamp, origin: &Origin) -> Option<Record> {
    let mut record = read(frame.bytes, received, origin)?;
    if frame.truncated {
        record.defects.add(Defect::Truncated);
    }
    Some(record)
}

/// Reads the message of a datagram; rejects what rsyslog packed in a way of its own.
pub fn read_datagram(
    bytes: &[u8],
    received: Timestamp,
    origin: &Origin,
) -> Result<Option<Record>, Reject> {
    frame::check_datagram(bytes)?;
    Ok(read(bytes, received, origin))
}

/// Reads one message; `None` where it is empty. `raw` is `frame` as it came, and the message a
/// stretch of it wherever it is UTF-8.
pub fn read(frame: &[u8], received: Timestamp, origin: &Origin) -> Option<Record> {
    let kept = frame.iter().rposition(|b| !matches!(b, b'\n' | b'\r' | 0)).map_or(0, |at| at + 1);
    let body = frame.get(..kept).unwrap_or_default();
    if body.trim_ascii().is_empty() {
        return None;
    }
    let mut context = Context { received, origin, defects: Defects::default() };
    let (pri, rest) = pri::read(body);
    let (format, header) = match pri {
        Pri::Missing { bad } => {
            if bad {
                context.defects.add(Defect::BadPri);
            }
            ("none", rfc3164::read(rest, false, &mut context))
        }
        Pri::Said { bad, .. } => {
            if bad {
                context.defects.add(Defect::BadPri);
            }
            match rfc5424::read(rest, &mut context) {
                Some(header) => ("rfc5424", header),
                None => ("rfc3164", rfc3164::read(rest, true, &mut context)),
            }
        }
    };
    let (facility, severity) = pri.meaning();
    if header.time.is_none() {
        context.defects.add(Defect::NoTimestamp);
    }
    Some(Record {
        id: 0,
        time: header.time.unwrap_or(received),
        received,
        host: match header.host {
            [] => Arc::clone(&origin.peer),
            bytes => names::shared(&context.name(bytes)),
        },
        app: match header.app {
            [] => names::shared("-"),
            bytes => names::shared(&context.name(bytes)),
        },
        severity,
        facility,
        pid: (!header.pid.is_empty()).then(|| context.name(header.pid).into()),
        line: line(frame, kept, header.message, &mut context),
        fields: header.fields,
        format: None,
        via: origin.via(format),
        tag: None,
        defects: context.defects,
    })
}

/// `message` is what of `frame` ends at `kept`; its BOM (RFC 5424 6.4) is none of the text.
fn line(frame: &[u8], kept: usize, message: &[u8], context: &mut Context<'_>) -> Line {
    let message = without_bom(message);
    if let Ok(text) = std::str::from_utf8(frame) {
        return Line::in_text(text, kept - message.len().min(kept), kept);
    }
    match context.text(message) {
        Cow::Borrowed(_) => Line::spanning(frame, kept - message.len().min(kept), kept),
        Cow::Owned(text) => Line::with_message(frame, text),
    }
}

fn without_bom(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// Splits at the first space, which belongs to neither part.
fn word(bytes: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b' ', bytes).map(|at| bytes.split_at(at)) {
        Some((word, [_, rest @ ..])) => (word, rest),
        _ => (bytes, &[]),
    }
}

fn skip_spaces(bytes: &[u8]) -> &[u8] {
    let count = bytes.iter().take_while(|b| **b == b' ').count();
    bytes.get(count..).unwrap_or_default()
}

/// The name that a header gives, where `-` is RFC 5424's way to say none.
fn unless_nil(name: &[u8]) -> &[u8] {
    if name == b"-" { &[] } else { name }
}

/// A field of text.
fn field(name: &Arc<str>, text: Cow<'_, str>) -> Field {
    Field { name: Arc::clone(name), value: Value::Str(text.into()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::time::Zone;

    const PEER: &str = "198.51.100.7";

    fn record(frame: &[u8], zone: &str) -> Option<Record> {
        let mut origin = Origin::new("syslog", "udp", PEER);
        origin.zone = Zone::named(zone).unwrap();
        let received = Timestamp::parse_rfc3339("2026-11-22T03:40:10.500Z").unwrap();
        read(frame, received, &origin)
    }

    /// Host, app, pid, message, minutes and seconds; what is not said is empty.
    fn check(frame: &str, expected: [&str; 5]) {
        let record = record(frame.as_bytes(), "UTC").unwrap();
        let time = record.time.to_string();
        let got = [
            if &*record.host == PEER { "" } else { &*record.host },
            if &*record.app == "-" { "" } else { &*record.app },
            record.pid.as_deref().unwrap_or_default(),
            record.message(),
            if record.defects.has(Defect::NoTimestamp) { "" } else { time.get(14..19).unwrap() },
        ];
        assert_eq!(got, expected, "{frame}");
        assert_eq!(record.line.raw(), frame.as_bytes());
        assert!(record.line.span().is_some(), "{frame}: the message is stored twice");
    }

    #[test]
    fn reads_what_devices_send() {
        // Cisco: IOS XR, wireless controllers, FTD, counters twice, uptime in days.
        check(
            "<189>1234: RP/0/RSP0/CPU0:Nov 22 03:40:00.123 UTC: config[65738]: %MGBL-CONFIG-6-DB_COMMIT : done",
            ["", "config", "65738", "%MGBL-CONFIG-6-DB_COMMIT : done", "40:00"],
        );
        check(
            "<189>99: xr1 RP/0/RSP0/CPU0:Nov 22 03:40:00 UTC: ifmgr[9]: %PKT_INFRA-LINK-3-UPDOWN : x",
            ["xr1", "ifmgr", "9", "%PKT_INFRA-LINK-3-UPDOWN : x", "40:00"],
        );
        check(
            "<132>WLC1: *spamApTask0: Nov 22 03:40:00.123: %CAPWAP-3-ECHO_ERR: capwap.c:1 lost",
            ["WLC1", "%CAPWAP-3-ECHO_ERR", "", "%CAPWAP-3-ECHO_ERR: capwap.c:1 lost", "40:00"],
        );
        check(
            "<113>2026-11-22T03:40:00Z ftd1  %FTD-1-430003: EventPriority: Low",
            ["ftd1", "%FTD-1-430003", "", "%FTD-1-430003: EventPriority: Low", "40:00"],
        );
        check(
            "<189>29: 000045: *Nov 22 03:40:00.123: %SYS-5-RESTART: x",
            ["", "%SYS-5-RESTART", "", "%SYS-5-RESTART: x", "40:00"],
        );
        check(
            "<189>29: 1w2d: %SYS-5-RESTART: x",
            ["", "%SYS-5-RESTART", "", "%SYS-5-RESTART: x", ""],
        );
        check(
            "<189>45: rtr1: 000046: Nov 22 03:40:00.123: %SYS-5-RESTART: x",
            ["rtr1", "%SYS-5-RESTART", "", "%SYS-5-RESTART: x", "40:00"],
        );
        check(
            "<166>:Nov 22 03:40:00 UTC: %ASA-config-5-111008: x",
            ["", "%ASA-config-5-111008", "", "%ASA-config-5-111008: x", "40:00"],
        );
        check(
            "<166>2026-11-22T03:40:00Z: %ASA-6-302013: x",
            ["", "%ASA-6-302013", "", "%ASA-6-302013: x", "40:00"],
        );
        check("<13>42: the answer", ["", "", "", "42: the answer", ""]);
        check("<13>rtr1: nothing dated", ["", "rtr1", "", "nothing dated", ""]);
        // Huawei, H3C, Arista, Aruba.
        check(
            "<190>Nov 22 2026 03:40:00+00:00 HW %%01SHELL/5/CMD(s)[3]:Recorded",
            ["HW", "%%01SHELL/5/CMD(s)", "", "%%01SHELL/5/CMD(s)[3]:Recorded", "40:00"],
        );
        check(
            "<190>Nov 22 03:40:00:123 2026 H3C %%10SHELL/6/SHELL_CMD: -Task=x",
            ["H3C", "%%10SHELL/6/SHELL_CMD", "", "%%10SHELL/6/SHELL_CMD: -Task=x", "40:00"],
        );
        check(
            "<190>Nov 22 03:40:00 sw1 Ebra: 117: %LINEPROTO-5-UPDOWN: up",
            ["sw1", "Ebra", "", "117: %LINEPROTO-5-UPDOWN: up", "40:00"],
        );
        check(
            "<141>Nov 22 03:40:00 2026 [10.1.1.5] authmgr[3711]: <522008> <NOTI> ok",
            ["[10.1.1.5]", "authmgr", "3711", "<522008> <NOTI> ok", "40:00"],
        );
        // F5, AIX, UniFi: more before the tag than a host; all of it is message.
        check(
            "<134>Nov 22 03:40:00 big1 notice mcpd[56]: 01070639:5: x",
            ["big1", "mcpd", "56", "notice mcpd[56]: 01070639:5: x", "40:00"],
        );
        check(
            "<131>Nov 22 03:40:00 big1 ASM:unit_hostname=\"big1\"",
            ["big1", "ASM", "", "unit_hostname=\"big1\"", "40:00"],
        );
        check(
            "<38>Nov 22 03:40:00 aix1 auth|security:info sshd[345]: Accepted",
            ["aix1", "sshd", "345", "auth|security:info sshd[345]: Accepted", "40:00"],
        );
        check(
            "<30>Nov 22 03:40:00 ap1 f09fc2abcdef,UAP-6.0.21+13673: hostapd[12]: ath0: STA",
            [
                "ap1",
                "hostapd",
                "12",
                "f09fc2abcdef,UAP-6.0.21+13673: hostapd[12]: ath0: STA",
                "40:00",
            ],
        );
        // Appliances whose text has words before a colon, or none.
        check(
            "<14>Nov 22 03:40:00 nas WinFileService Event: read, Path: /x",
            ["nas", "", "", "WinFileService Event: read, Path: /x", "40:00"],
        );
        check(
            "<14>Nov 22 03:40:00 nas Connection: User [admin] logged in",
            ["nas", "Connection", "", "User [admin] logged in", "40:00"],
        );
        check(
            "<13>Nov 22 03:40:00 192.0.2.3: On battery",
            ["192.0.2.3", "", "", "On battery", "40:00"],
        );
        check(
            "<190>raslogd: 2026/11/22-03:40:00, [SEC-1203], x",
            ["", "raslogd", "", "2026/11/22-03:40:00, [SEC-1203], x", ""],
        );
        check(
            "<13>Nov 22 03:40:00 mac --- last message repeated 1 time ---",
            ["mac", "", "", "--- last message repeated 1 time ---", "40:00"],
        );
        check(
            "<13>Nov 22 03:40:00 last message repeated 3 times",
            ["", "", "", "last message repeated 3 times", "40:00"],
        );
        check(
            "<13>Nov 22 03:40:00 relay Nov 22 03:39:59 web01 app: x",
            ["relay", "", "", "Nov 22 03:39:59 web01 app: x", "40:00"],
        );
        // Programs that log to a handler and know nothing of headers.
        check(
            "<14>2026-11-22 03:40:00,123 INFO starting",
            ["", "", "", "2026-11-22 03:40:00,123 INFO starting", "40:00"],
        );
        check(
            "<14>Nov 22 03:40:00 ERROR: disk is full",
            ["", "", "", "ERROR: disk is full", "40:00"],
        );
        check(
            "<14>Nov 22 03:40:00 web01 @cee: {\"a\":1}",
            ["web01", "", "", "@cee: {\"a\":1}", "40:00"],
        );
        check("<14>Nov 22 03:40:00 web01   indented", ["web01", "", "", "  indented", "40:00"]);
        check("<14>Nov 22 03:40:00 {\"a\": 1}", ["", "", "", "{\"a\": 1}", "40:00"]);
        check("<14>Nov 22 03:40:00", ["", "", "", "", "40:00"]);
        check("\u{feff}<14>Nov 22 03:40:00 h a: x", ["h", "a", "", "x", "40:00"]);
        check("<14>\u{feff}x y", ["", "", "", "x y", ""]);
        // The examples of RFC 3164 5.4.
        check(
            "<34>Oct 11 22:14:15 mymachine su: 'su root' failed",
            ["mymachine", "su", "", "'su root' failed", "14:15"],
        );
        check("Use the BFG!", ["", "", "", "Use the BFG!", ""]);
        check(
            "<165>Aug 24 05:34:00 CST 1987 mymachine myproc[10]: %% Mix=OK",
            ["mymachine", "myproc", "10", "%% Mix=OK", "34:00"],
        );
        check(
            "<0>1990 Oct 22 10:52:01 TZ-6 scapegoat.dmz.example.org 10.1.2.3 sched[0]: That's All",
            ["scapegoat.dmz.example.org", "sched", "0", "10.1.2.3 sched[0]: That's All", "52:01"],
        );
        check("<13>Nov 22 03:40:00 web01 LOGSTASH[-]: x", ["web01", "LOGSTASH", "", "x", "40:00"]);
        check(
            "<14>Nov 22 03:40:00 web01 [main] INFO com.x - m",
            ["web01", "", "", "[main] INFO com.x - m", "40:00"],
        );
        check(
            "<13>Nov 22 03:40:00 mac Google Chrome[85294]: objc",
            ["mac", "Google Chrome", "85294", "objc", "40:00"],
        );
        check(
            "<13>Nov 22 03:40:00 mac Google Chrome: objc",
            ["mac", "", "", "Google Chrome: objc", "40:00"],
        );
        check(
            "<13>2026-11-22T03:40:00.193Z info vpxd[03516] [Originator@6876] x",
            ["", "vpxd", "03516", "info vpxd[03516] [Originator@6876] x", "40:00"],
        );
        check("<13>#Date: 2026-11-22 03:40:00", ["", "", "", "#Date: 2026-11-22 03:40:00", ""]);
        // Process ids that are names of threads, and a colon that stands apart.
        check(
            "<14>Nov 22 03:40:00 h java[main thread]: x",
            ["h", "java", "main thread", "x", "40:00"],
        );
        check("<14>Nov 22 03:40:00 h app[12] : x", ["h", "app", "12", "x", "40:00"]);
        check(
            "<14>Nov 22 03:40:00 h app[some words] x",
            ["h", "", "", "app[some words] x", "40:00"],
        );
        // No PRI: a file's line with host and tag is taken apart, any other only dated.
        check("2026-11-22T03:40:00Z web01 app[7]: x", ["web01", "app", "7", "x", "40:00"]);
        check("2026-11-22T03:40:00Z app: x", ["", "", "", "2026-11-22T03:40:00Z app: x", "40:00"]);
        check("app: x", ["", "", "", "app: x", ""]);
        // RFC 5424 in name: Heroku leaves SD out, others go on as RFC 3164 does.
        check(
            "<40>1 2026-11-22T03:40:00+00:00 d.x app web.3 - State changed",
            ["d.x", "app", "web.3", "State changed", "40:00"],
        );
        check(
            "<14>1 2026-11-22T03:40:00Z h app[12]: some text with words",
            ["h", "app", "12", "some text with words", "40:00"],
        );
        check(
            "<134>1 1795318800.5 MX84 security_event ids_alerted signature=1:2",
            ["MX84", "security_event", "", "ids_alerted signature=1:2", "40:00"],
        );
        check("<14>1 file changed", ["", "", "", "1 file changed", ""]);
        check("<14>1 2026-11-22T03:40:00Z h", ["h", "", "", "", "40:00"]);
        check(
            "<14>1 2026-11-22T03:40:00Z h a - - [x@1 a=\"1\"",
            ["h", "a", "", "[x@1 a=\"1\"", "40:00"],
        );
    }

    fn defects(frame: &[u8]) -> Vec<&'static str> {
        record(frame, "UTC").unwrap().defects.iter().map(Defect::code).collect()
    }

    #[test]
    fn says_what_was_wrong() {
        for (frame, expected) in [
            (b"<14>1 2026-11-22T03:40:00Z h a - - - m".as_slice(), &[][..]),
            (b"<14>Nov 22 03:40:00 h a: m", &[]),
            (b"<192>Nov 22 03:40:00 h a: m", &["bad-pri"]),
            (b"<014>Nov 22 03:40:00 h a: m", &["bad-pri"]),
            (b"<14 x", &["no-timestamp", "bad-pri", "bad-header"]),
            (b"<event/>", &["no-timestamp", "bad-header"]),
            (b"<14>x", &["no-timestamp"]),
            (b"<14>1 - h a - - - m", &["no-timestamp"]),
            (b"<14>2 2026-11-22T03:40:00Z h a - - - m", &["unknown-version"]),
            (b"<14>1 2026-11-22T03:40:00Z h a - - [x m", &["bad-structured-data"]),
            (b"<14>1 2026-11-22T03:40:00Z h", &["bad-header"]),
            (b"<14>1 2026-11-22T03:40:00Z h a - - - \xff", &["not-utf8"]),
            (b"<14>1 2026-11-22T03:40:00Z \xff a - - - m", &["not-utf8"]),
            (b"<14>1 2016-12-31T23:59:60Z h a - - - m", &["leap-second"]),
            (b"<14>Feb 29 03:40:00 h a: m", &["bad-date"]),
        ] {
            assert_eq!(defects(frame), expected, "{}", frame.escape_ascii());
        }
    }

    #[test]
    fn tries_the_encoding_of_the_listener() {
        let mut origin = Origin::new("syslog", "udp", PEER);
        let received = Timestamp::from_parts(1_795_318_800, 0);
        let frame = b"<14>Nov 22 03:40:00 h a: \x83\x47\x83\x89\x81\x5b\0";
        let lossy = read(frame, received, &origin).unwrap();
        assert_eq!(lossy.message(), "\u{fffd}G\u{fffd}\u{fffd}\u{fffd}[");
        origin.encoding = encoding_rs::Encoding::for_label(b"shift_jis");
        let record = read(frame, received, &origin).unwrap();
        assert_eq!(record.message(), "エラー");
        assert!(record.defects.has(Defect::NotUtf8));
        assert_eq!(record.line.raw(), frame);
    }

    #[test]
    fn bounds_what_structured_data_may_bring() {
        let many: String =
            (0..2_000).flat_map(|n| [" k".into(), n.to_string(), "=\"v\"".into()]).collect();
        let name = "n".repeat(1_000);
        let frame = format!("<14>1 - h a - m [x@1{many}] m");
        let record = record(frame.as_bytes(), "UTC").unwrap();
        assert!(record.defects.has(Defect::TooManyFields));
        assert_eq!(record.message(), "m");
        let frame = format!("<14>1 - h {name}{name} - - [x {name}=\"v\"][bare] m");
        let record = read(frame.as_bytes(), Timestamp(0), &Origin::new("s", "udp", "p")).unwrap();
        assert_eq!(record.app.len(), NAME_BYTES_MAX);
        assert_eq!(record.fields[0].name.len(), crate::base::limits::FIELD_NAME_BYTES_MAX);
        assert_eq!(record.field("sd.bare"), Some(&Value::Bool(true)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_record_with_these_bytes(
            bytes: Vec<u8>,
            shaped in "(<[0-9]{1,3}>)?(1 )?([A-Z][a-z]{2} [0-9]{2} [0-9:]{8}|2026-11-22T03:40:00Z|[*:.0-9 ]{0,12})?[ -~]{0,30}(\\[[a-z]{1,3}( [a-z]=\"[ -~]{0,4}\"){0,3}\\])?[ -~あ\u{0}\r\n]{0,8}",
        ) {
            for frame in [&bytes[..], shaped.as_bytes()] {
                match record(frame, "Asia/Tokyo") {
                    Some(record) => {
                        prop_assert_eq!(record.line.raw(), frame);
                        prop_assert!(!record.host.is_empty() && !record.app.is_empty());
                        if record.line.span().is_none() {
                            prop_assert!(record.defects.has(Defect::NotUtf8));
                        }
                    }
                    None => prop_assert!(frame.iter().all(|b| b.is_ascii_whitespace() || *b == 0)),
                }
            }
        }
    }
}
