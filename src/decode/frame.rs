//! Framing apart from format: where one message ends and the next begins, and what is packed.
//!
//! Sans-I/O: stands between a socket's bytes and the reading of one message. *Invariant:* knows
//! nothing of what a message says, beyond the `<` that an octet count must be followed by.

use std::io::{BufRead, Read};

use flate2::bufread::{DeflateDecoder, GzDecoder, ZlibDecoder};
use memchr::{memchr, memchr2};

use crate::base::limits::{
    FRAME_BUFFER_BYTES_KEPT, FRAME_BYTES_MAX, LINE_BYTES_MAX, OCTET_COUNT_DIGITS_MAX,
    ZSTD_WINDOW_LOG_MAX,
};
use crate::decode::Reject;

/// One message as it stood between its delimiters, or as long as its octet count said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Without delimiter and without count.
    pub bytes: &'a [u8],
    /// It ends early: its rest was over [`LINE_BYTES_MAX`], or never came.
    pub truncated: bool,
    /// How many bytes over the bound were dropped; to be counted.
    pub dropped: usize,
}

/// Cuts a TCP stream of syslog into frames; one a connection.
///
/// Octet-counted frames (RFC 6587 3.4.1: a count, a space, `<`) and delimited ones (3.4.2) are told
/// apart for each message. The delimiter is LF or NUL, whichever the connection shows first, so
/// that the other one may stand inside messages. How the bytes are split over calls makes no
/// difference, and each byte is looked at once.
#[derive(Debug, Default)]
pub struct Framer {
    /// Begins a frame (its octet count, or its text), of which the end has not come yet.
    held: Vec<u8>,
    state: State,
    delimiter: Option<u8>,
    /// Bytes of this frame that found no room in `held`.
    dropped: usize,
    /// Something has come on this connection.
    begun: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// At the beginning of a frame; `held` has fewer bytes than tell its kind.
    #[default]
    Start,
    /// In a counted frame, with so many bytes to come.
    Counted { left: usize },
    /// In a delimited frame.
    Delimited,
}

/// What the first bytes of a frame say.
enum Kind {
    Unknown,
    /// So many bytes follow a count of so many digits and its space.
    Counted {
        header: usize,
        length: usize,
    },
    Delimited,
    /// Nothing but what may stand between two frames.
    Separator,
}

/// Digits that may be an octet count at all; a longer run is text.
const COUNT_DIGITS_READ: usize = 32;

impl Framer {
    /// Takes what came and hands every frame that is complete to `each`, in order.
    ///
    /// A reject ends the connection: there is no telling where the next frame begins.
    pub fn push(&mut self, bytes: &[u8], each: &mut dyn FnMut(Frame<'_>)) -> Result<(), Reject> {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = match self.state {
                State::Start => self.start(rest)?,
                State::Counted { left } => self.counted(left, rest, each),
                State::Delimited => self.delimited(rest, each),
            };
        }
        Ok(())
    }

    /// The connection has ended: hands over the frame that is not complete, if there is one. Also
    /// for one that has been silent for long in the middle of a frame, as those are that send
    /// messages without any delimiter.
    pub fn finish(&mut self, each: &mut dyn FnMut(Frame<'_>)) {
        let whole = !matches!(self.state, State::Counted { .. });
        if !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            self.emit(&held, !whole, each);
        }
        *self = Self { begun: true, ..Self::default() };
    }

    /// Does it hold the beginning of a frame?
    #[must_use]
    pub fn is_amid(&self) -> bool {
        !self.held.is_empty() || matches!(self.state, State::Counted { .. })
    }

    fn start<'a>(&mut self, rest: &'a [u8]) -> Result<&'a [u8], Reject> {
        if self.held.is_empty() {
            // The common case: enough came at once, and nothing need be copied.
            return match self.kind(rest)? {
                Kind::Separator => Ok(rest.get(1..).unwrap_or_default()),
                Kind::Counted { header, length } => {
                    self.state = State::Counted { left: length };
                    Ok(rest.get(header..).unwrap_or_default())
                }
                Kind::Delimited => {
                    self.state = State::Delimited;
                    Ok(rest)
                }
                Kind::Unknown => {
                    self.held.extend_from_slice(rest);
                    Ok(&[])
                }
            };
        }
        let Some((next, after)) = rest.split_first() else { return Ok(rest) };
        self.held.push(*next);
        let held = std::mem::take(&mut self.held);
        let kind = self.kind(&held)?;
        self.held = held;
        match kind {
            Kind::Counted { length, .. } => {
                // All but the `<`, which is the first byte of the frame.
                self.held.clear();
                self.state = State::Counted { left: length };
                Ok(rest)
            }
            Kind::Separator => {
                self.held.clear();
                Ok(rest)
            }
            Kind::Delimited => {
                // What told it apart may be the delimiter itself: back with it.
                self.held.pop();
                self.state = State::Delimited;
                Ok(rest)
            }
            Kind::Unknown => Ok(after),
        }
    }

    fn kind(&mut self, prefix: &[u8]) -> Result<Kind, Reject> {
        if !self.begun {
            match is_zlib(prefix) {
                None => return Ok(Kind::Unknown),
                Some(false) if matches!(prefix, [0x16]) => return Ok(Kind::Unknown),
                Some(false) if matches!(prefix, [0x16, 0x03, ..]) => {
                    return Err(Reject {
                        reason: "tls-handshake",
                        detail: "a TLS client speaks to a port without TLS".into(),
                        can_continue: false,
                    });
                }
                Some(true) => {
                    return Err(Reject {
                        reason: "zlib-stream",
                        detail: "the stream is compressed as rsyslog does it, which no RFC \
                                 describes: set compression.mode=\"none\" there"
                            .into(),
                        can_continue: false,
                    });
                }
                Some(false) => self.begun = true,
            }
        }
        let digits = match prefix {
            [] => return Ok(Kind::Unknown),
            [b'1'..=b'9', rest @ ..] => 1 + rest.iter().take_while(|b| b.is_ascii_digit()).count(),
            // A sender that ends lines in LF and NUL shows LF first; the NUL is none of the next line.
            [0] if self.delimiter == Some(b'\n') => return Ok(Kind::Unknown),
            [0, b'<', ..] => return Ok(Kind::Separator),
            [byte, ..] if self.is_separator(*byte) => return Ok(Kind::Separator),
            _ => return Ok(Kind::Delimited),
        };
        let (count, after) = prefix.split_at(digits);
        match after {
            _ if digits > COUNT_DIGITS_READ => Ok(Kind::Delimited),
            [] | [b' '] => Ok(Kind::Unknown),
            [b' ', b'<', ..] => {
                let length = count
                    .iter()
                    .fold(0_usize, |n, b| n.saturating_mul(10).saturating_add((b - b'0').into()));
                if digits > OCTET_COUNT_DIGITS_MAX || length > FRAME_BYTES_MAX {
                    return Err(Reject {
                        reason: "frame-too-large",
                        detail: format!(
                            "a frame of {length} bytes; the largest is {FRAME_BYTES_MAX}"
                        ),
                        can_continue: false,
                    });
                }
                Ok(Kind::Counted { header: digits + 1, length })
            }
            _ => Ok(Kind::Delimited),
        }
    }

    /// Empty frames are none: blank lines, and the LF or NUL that some add to a counted frame.
    fn is_separator(&self, byte: u8) -> bool {
        self.delimiter.map_or(byte == b'\n' || byte == 0, |delimiter| byte == delimiter)
    }

    fn counted<'a>(
        &mut self,
        left: usize,
        rest: &'a [u8],
        each: &mut dyn FnMut(Frame<'_>),
    ) -> &'a [u8] {
        let Some((body, after)) = rest.split_at_checked(left) else {
            self.hold(rest);
            self.state = State::Counted { left: left - rest.len() };
            return &[];
        };
        self.end(body, each);
        after
    }

    fn delimited<'a>(&mut self, rest: &'a [u8], each: &mut dyn FnMut(Frame<'_>)) -> &'a [u8] {
        let found = match self.delimiter {
            Some(delimiter) => memchr(delimiter, rest),
            None => memchr2(b'\n', 0, rest),
        };
        let Some((line, [delimiter, after @ ..])) = found.map(|at| rest.split_at(at)) else {
            self.hold(rest);
            return &[];
        };
        self.delimiter = Some(*delimiter);
        self.end(line, each);
        after
    }

    /// Keeps bytes of a frame that goes on, as far as there is room.
    fn hold(&mut self, bytes: &[u8]) {
        // One byte more than fits, so that a cut can be told from a line that just fits.
        let room = (LINE_BYTES_MAX + 1).saturating_sub(self.held.len());
        let (kept, dropped) = bytes.split_at(bytes.len().min(room));
        self.held.extend_from_slice(kept);
        self.dropped += dropped.len();
    }

    /// The frame ends with `bytes`.
    fn end(&mut self, bytes: &[u8], each: &mut dyn FnMut(Frame<'_>)) {
        self.state = State::Start;
        if self.held.is_empty() {
            return self.emit(bytes, false, each);
        }
        self.hold(bytes);
        let mut held = std::mem::take(&mut self.held);
        self.emit(&held, false, each);
        if held.capacity() <= FRAME_BUFFER_BYTES_KEPT {
            held.clear();
            self.held = held;
        }
    }

    fn emit(&mut self, bytes: &[u8], truncated: bool, each: &mut dyn FnMut(Frame<'_>)) {
        let kept = whole_characters(bytes, LINE_BYTES_MAX);
        let dropped = self.dropped + bytes.len() - kept.len();
        self.dropped = 0;
        each(Frame { bytes: kept, truncated: truncated || dropped > 0, dropped });
    }
}

/// The longest beginning of `bytes` that is not over `max` and splits no UTF-8 character.
pub(crate) fn whole_characters(bytes: &[u8], max: usize) -> &[u8] {
    let Some((kept, [next, ..])) = bytes.split_at_checked(max) else { return bytes };
    let is_inner = |b: &u8| b & 0xc0 == 0x80;
    if !is_inner(next) {
        return kept;
    }
    let inner = kept.iter().rev().take(3).take_while(|b| is_inner(b)).count();
    match kept.split_at_checked(kept.len().saturating_sub(inner + 1)) {
        Some((before, [lead, ..])) if *lead >= 0xc0 => before,
        _ => kept,
    }
}

/// Is a datagram syslog? rsyslog's own compression (a `z`, then zlib) is refused, to be counted.
pub fn check_datagram(bytes: &[u8]) -> Result<(), Reject> {
    match bytes {
        [b'z', rest @ ..] if is_zlib(rest) == Some(true) => Err(Reject {
            reason: "zlib-datagram",
            detail: "the datagram is compressed as rsyslog does it, which no RFC describes: \
                     set ziplevel=\"0\" there"
                .into(),
            can_continue: true,
        }),
        _ => Ok(()),
    }
}

/// Is this the beginning of a zlib stream (`x`, a check) and not of a line? `None`: too early to say.
fn is_zlib(bytes: &[u8]) -> Option<bool> {
    match bytes {
        [] | [b'x'] | [b'x', b'^'] => None,
        [b'x', 0x01 | 0x9c | 0xda, ..] => Some(true),
        // A fast level: `x^` may also begin a text.
        [b'x', b'^', next, ..] => Some(!matches!(next, b' '..=b'~' | b'\t' | b'\n' | b'\r' | 0)),
        _ => Some(false),
    }
}

/// How a body or a chunk is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// RFC 1952, one member or several.
    Gzip,
    /// RFC 1950, or RFC 1951 without its wrapper: HTTP's `deflate` is sent as both.
    Deflate,
    /// RFC 8878, one frame or several.
    Zstd,
}

impl Packing {
    /// From an HTTP content coding or fluentd's option `compressed`; `None`: not one of ours.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        if is("gzip") || is("x-gzip") {
            Some(Self::Gzip)
        } else if is("deflate") || is("zlib") {
            Some(Self::Deflate)
        } else if is("zstd") {
            Some(Self::Zstd)
        } else {
            None
        }
    }
}

/// Unpacks all of `bytes`, to at most `max` bytes: one more is a bomb and refused.
///
/// Rejects with `unpacks-too-large`, or `bad-compression` where the bytes are not what they say
/// or end early. Either can be survived: the frame around the bytes was whole.
pub fn unpack(packing: Packing, bytes: &[u8], max: usize) -> Result<Vec<u8>, Reject> {
    let mut out = Vec::new();
    match packing {
        Packing::Gzip => {
            let mut rest = bytes;
            loop {
                let mut member = GzDecoder::new(rest);
                drain(&mut member, &mut out, max)?;
                rest = member.into_inner();
                // Padding with zeros after the last member is what tapes and some proxies add.
                if rest.iter().all(|b| *b == 0) {
                    break;
                }
            }
        }
        Packing::Deflate if has_zlib_header(bytes) => {
            drain(&mut ZlibDecoder::new(bytes), &mut out, max)?;
        }
        Packing::Deflate => drain(&mut DeflateDecoder::new(bytes), &mut out, max)?,
        Packing::Zstd => {
            let mut reader = zstd_reader(bytes).map_err(|e| bad(&e))?;
            drain(&mut reader, &mut out, max)?;
        }
    }
    Ok(out)
}

/// Reads a zstd stream piece by piece, for what must not be unpacked at once.
pub fn zstd_reader<'a, R: BufRead + 'a>(bytes: R) -> std::io::Result<impl Read + 'a> {
    let mut reader = zstd::stream::read::Decoder::with_buffer(bytes)?;
    reader.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    Ok(reader)
}

/// The two bytes that a zlib stream begins with (RFC 1950 2.2): method 8, and a check modulo 31.
fn has_zlib_header(bytes: &[u8]) -> bool {
    matches!(bytes, [method, flags, ..]
        if method & 0x0f == 8 && method >> 4 <= 7 && (u16::from(*method) << 8 | u16::from(*flags)) % 31 == 0)
}

fn drain(reader: &mut impl Read, out: &mut Vec<u8>, max: usize) -> Result<(), Reject> {
    let room = (max - out.len().min(max)) as u64;
    let read = reader.take(room + 1).read_to_end(out).map_err(|e| bad(&e))?;
    if read as u64 > room {
        return Err(Reject {
            reason: "unpacks-too-large",
            detail: format!("unpacks to more than {max} bytes"),
            can_continue: true,
        });
    }
    Ok(())
}

fn bad(error: &std::io::Error) -> Reject {
    Reject { reason: "bad-compression", detail: error.to_string(), can_continue: true }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use proptest::prelude::*;

    use super::*;

    /// Bytes, whether truncated, how many dropped.
    type Seen = (Vec<u8>, bool, usize);

    fn frames(stream: &[u8], pieces: &[usize]) -> (Vec<Seen>, Option<Reject>) {
        let mut framer = Framer::default();
        let mut frames = Vec::new();
        let mut each =
            |frame: Frame<'_>| frames.push((frame.bytes.to_vec(), frame.truncated, frame.dropped));
        let (mut rest, mut sizes) = (stream, pieces.iter().cycle());
        while !rest.is_empty() {
            let size = sizes.next().map_or(rest.len(), |n| rest.len().min((*n).max(1)));
            let (piece, after) = rest.split_at(size);
            if let Err(reject) = framer.push(piece, &mut each) {
                return (frames, Some(reject));
            }
            rest = after;
        }
        framer.finish(&mut each);
        assert!(!framer.is_amid());
        (frames, None)
    }

    fn check(stream: &[u8], expected: &[&[u8]]) {
        for pieces in [&[][..], &[1], &[2, 3], &[7, 1, 4]] {
            let (frames, reject) = frames(stream, pieces);
            assert_eq!(reject, None);
            let got: Vec<_> = frames.iter().map(|(bytes, ..)| bytes.escape_ascii()).collect();
            let expected: Vec<_> = expected.iter().map(|bytes| bytes.escape_ascii()).collect();
            let text = |frames: Vec<_>| frames.iter().map(ToString::to_string).collect::<Vec<_>>();
            let (got, expected) = (text(got), text(expected));
            assert_eq!(got, expected, "{} in pieces of {pieces:?}", stream.escape_ascii());
        }
    }

    #[test]
    fn tells_counted_from_delimited_for_each_message() {
        check(b"<1>a\n<1>b\n", &[b"<1>a", b"<1>b"]);
        check(b"<1>a\n\n\n<1>b", &[b"<1>a", b"<1>b"]);
        check(b"<1>a\r\n<1>b\r\n", &[b"<1>a\r", b"<1>b\r"]);
        check(b"<1>a\nb\0<1>c\0", &[b"<1>a", b"b\0<1>c\0"]);
        check(b"<1>a\0<1>b\nc\0\0", &[b"<1>a", b"<1>b\nc"]);
        check(b"<1>a\n\0<1>b\n\0", &[b"<1>a", b"<1>b", b"\0"]);
        check(b"5 <1>a\n5 <1>b\x00", &[b"<1>a\n", b"<1>b\0"]);
        check(
            b"4 <1>a\n4 <1>b\n<1>c\n10 <1>d\n<1>e\n",
            &[b"<1>a", b"<1>b", b"<1>c", b"<1>d\n<1>e\n"],
        );
        check(
            b"10 green bottles\n1\n2 \n07 <1>\n5<1>a\n",
            &[b"10 green bottles", b"1", b"2 ", b"07 <1>", b"5<1>a"],
        );
        check(b"99", &[b"99"]);
        check(b"9 ", &[b"9 "]);
        check("9 <1>日本9 <1>ab".as_bytes(), &["<1>日本".as_bytes(), b"<1>ab"]);
        check(b"x", &[b"x"]);
        check(b"x^\nx^2 + y\n", &[b"x^", b"x^2 + y"]);
        check(b"1\x009 <1>\n\n\n\n\n\n", &[b"1", b"<1>\n\n\n\n\n\n"]);
        check(&[b'7'; 40], &[&[b'7'; 40]]);
    }

    #[test]
    fn closes_what_cannot_be_framed() {
        for (stream, reason) in [
            (b"99999999999 <13>x".as_slice(), "frame-too-large"),
            (b"33554433 <13>x", "frame-too-large"),
            (b"99999999999999999999999999 <13>x", "frame-too-large"),
            (b"x\x9c\x01\x02", "zlib-stream"),
            (b"x\xda\x01\x02", "zlib-stream"),
            (b"x^\xed\xc3", "zlib-stream"),
            (b"\x16\x03\x01\x02\0", "tls-handshake"),
        ] {
            for pieces in [&[][..], &[1]] {
                let reject = frames(stream, pieces).1.unwrap();
                assert_eq!((reject.reason, reject.can_continue), (reason, false));
            }
        }
        assert_eq!(check_datagram(b"zx\x9c\x01").unwrap_err().reason, "zlib-datagram");
        assert!(check_datagram(b"zx\x9c\x01").unwrap_err().can_continue);
        assert_eq!(check_datagram(b"z"), Ok(()));
        assert_eq!(check_datagram(b"zx^2 is text"), Ok(()));
    }

    #[test]
    fn cuts_what_is_too_long_and_counts_the_rest() {
        let long = vec![b'a'; LINE_BYTES_MAX + 3];
        let fits = &long[..LINE_BYTES_MAX];
        for (stream, expected) in [
            ([&long, b"\n<1>b\n".as_slice()].concat(), (fits.len(), true, 3)),
            ([fits, b"\n<1>b\n"].concat(), (fits.len(), false, 0)),
            (
                format!("{} <1>{}\n<1>b", long.len() + 3, "a".repeat(long.len())).into_bytes(),
                (fits.len(), true, 6),
            ),
            // A character that would be split is left out.
            (
                format!("aa{}\n<1>b", "日".repeat(LINE_BYTES_MAX / 3)).into_bytes(),
                (LINE_BYTES_MAX - 2, true, 3),
            ),
        ] {
            for pieces in [&[][..], &[1], &[65_536]] {
                let (frames, reject) = frames(&stream, pieces);
                assert_eq!(reject, None);
                let shapes: Vec<_> = frames.iter().map(|(b, cut, n)| (b.len(), *cut, *n)).collect();
                assert_eq!(shapes, [expected, (4, false, 0)]);
            }
        }
    }

    #[test]
    fn keeps_what_a_closed_connection_left() {
        assert_eq!(frames(b"20 <1>abc", &[]).0, [(b"<1>abc".to_vec(), true, 0)]);
        assert_eq!(frames(b"<1>abc", &[]).0, [(b"<1>abc".to_vec(), false, 0)]);
        assert_eq!(frames(b"20 <", &[]).0, [(b"<".to_vec(), true, 0)]);
        assert_eq!(frames(b"", &[]).0, []);
    }

    proptest! {
        #[test]
        fn splits_make_no_difference(
            stream in "([1-9]?[0-9] ?|<1>|[a日\\x00\\n]|x)*",
            pieces in prop::collection::vec(1_usize..6, 1..5),
            bytes: Vec<u8>,
        ) {
            prop_assert_eq!(frames(stream.as_bytes(), &[]), frames(stream.as_bytes(), &pieces));
            prop_assert_eq!(frames(&bytes, &[]), frames(&bytes, &pieces));
        }

        #[test]
        fn gives_back_every_counted_and_delimited_message(messages in prop::collection::vec((any::<bool>(), any::<Vec<u8>>()), 0..6)) {
            let mut stream = Vec::new();
            let mut sent = Vec::new();
            for (counted, rest) in messages {
                let mut bytes = b"<1>".to_vec();
                bytes.extend(rest.into_iter().filter(|b| counted || *b != b'\n' && *b != 0));
                if counted {
                    stream.extend(format!("{} ", bytes.len()).into_bytes());
                }
                stream.extend(&bytes);
                if !counted {
                    stream.push(b'\n');
                }
                sent.push((bytes, false, 0));
            }
            prop_assert_eq!(frames(&stream, &[3]), (sent, None));
        }
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn unpacks_each_packing() {
        let text = b"some text, some more text".as_slice();
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(text).unwrap();
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
        raw.write_all(text).unwrap();
        let zstd = zstd::stream::encode_all(text, 0).unwrap();
        for (packing, bytes, times) in [
            (Packing::Gzip, gzip(text), 1),
            (Packing::Gzip, [gzip(text), gzip(text)].concat(), 2),
            (Packing::Gzip, [gzip(text), vec![0; 5]].concat(), 1),
            (Packing::Deflate, zlib.finish().unwrap(), 1),
            (Packing::Deflate, raw.finish().unwrap(), 1),
            (Packing::Zstd, zstd.clone(), 1),
            (Packing::Zstd, [zstd.clone(), zstd].concat(), 2),
        ] {
            assert_eq!(unpack(packing, &bytes, 1_000), Ok(text.repeat(times)), "{packing:?}");
            let exact = text.len() * times;
            assert!(unpack(packing, &bytes, exact).is_ok());
            let reject = unpack(packing, &bytes, exact - 1).unwrap_err();
            assert_eq!(reject.reason, "unpacks-too-large");
            for end in [1, bytes.len() / (2 * times), bytes.len() - 6] {
                let reject = unpack(packing, &bytes[..end], 1_000).map_err(|r| r.reason);
                assert_eq!(reject, Err("bad-compression"), "{packing:?} cut at {end}");
            }
        }
    }

    #[test]
    fn refuses_a_bomb_without_holding_it() {
        let bomb = gzip(&vec![0; 50 << 20]);
        let reject = unpack(Packing::Gzip, &bomb, 1 << 20).unwrap_err();
        assert_eq!((reject.reason, reject.can_continue), ("unpacks-too-large", true));
        assert_eq!(unpack(Packing::Gzip, b"", 9).unwrap_err().reason, "bad-compression");
    }
}
