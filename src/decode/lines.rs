//! Plain lines (HTTP text, `import`): every line is all message.
//!
//! Stands for what has no envelope at all; time, host, app and severity are derived by `refine`.

use std::sync::Arc;

use crate::base::limits::LINE_BYTES_MAX;
use crate::base::names;
use crate::base::record::{Defect, Defects, Line, Record};
use crate::base::time::Timestamp;
use crate::decode::Origin;
use crate::decode::frame::whole_characters;
use crate::decode::json::Given;

/// The record of one line without its LF. A trailing CR is part of the line, not of the message.
#[must_use]
pub fn read_line(line: &[u8], received: Timestamp, origin: &Origin, given: &Given) -> Record {
    let mut defects = Defects::default();
    defects.add(Defect::NoTimestamp);
    let raw = whole_characters(line, LINE_BYTES_MAX);
    if raw.len() < line.len() {
        defects.add(Defect::Truncated);
    }
    let message = raw.strip_suffix(b"\r").unwrap_or(raw);
    let line = if let Ok(text) = std::str::from_utf8(raw) {
        Line::in_text(text, 0, message.len())
    } else {
        defects.add(Defect::NotUtf8);
        Line::with_message(raw, origin.decoded(message))
    };
    let via = origin.via("text");
    Record {
        id: 0,
        time: received,
        received,
        host: given.host.as_ref().map_or_else(|| Arc::clone(&via.peer), Arc::clone),
        app: given.app.as_ref().map_or_else(|| names::shared("-"), Arc::clone),
        severity: None,
        facility: None,
        pid: None,
        line,
        fields: Vec::new(),
        format: None,
        via,
        tag: None,
        defects,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &[u8]) -> Record {
        let origin = Origin::new("http", "http", "10.0.0.9");
        read_line(line, Timestamp(5), &origin, &Given::default())
    }

    #[test]
    fn a_line_is_all_message_but_for_its_cr() {
        for (line, message) in [
            (b"a".as_slice(), "a"),
            (b"a\r", "a"),
            (b" b \r\r", " b \r"),
            (b"\r", ""),
            (b"caf\xe9", "caf\u{fffd}"),
        ] {
            let record = read(line);
            assert_eq!((record.line.raw(), record.message()), (line, message));
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let records = [read(b"caf\xe9"), read(b"fine")];
        let codes = |r: &Record| r.defects.iter().map(Defect::code).collect::<Vec<_>>();
        assert_eq!(codes(&records[0]), ["no-timestamp", "not-utf8"]);
        assert_eq!(codes(&records[1]), ["no-timestamp"]);
        assert_eq!((&*records[0].host, &*records[0].app), ("10.0.0.9", "-"));

        let long = read("é".repeat(LINE_BYTES_MAX).as_bytes());
        assert_eq!(codes(&long), ["no-timestamp", "truncated"]);
        assert_eq!(long.line.raw().len(), LINE_BYTES_MAX);

        let cut = read("日".repeat(LINE_BYTES_MAX).as_bytes());
        assert_eq!(codes(&cut), ["no-timestamp", "truncated"]);
        assert!(cut.message().chars().all(|c| c == '日') && cut.line.span().is_some());
    }

    #[test]
    fn an_encoding_is_tried() {
        let mut origin = Origin::new("http", "http", "p");
        origin.encoding = Some(encoding_rs::SHIFT_JIS);
        let record = read_line(b"\x92\xb2\x82\xd7", Timestamp(5), &origin, &Given::default());
        assert_eq!((record.message(), record.line.raw()), ("調べ", b"\x92\xb2\x82\xd7".as_slice()));
    }
}
