//! Framing apart from format: where one message ends and the next begins, and what is packed.
//!
//! Sans-I/O: stands between a socket's bytes and the reading of one message. *Invariant:* knows
//! nothing of what a message says, beyond the `<` that an octet count must be followed by.

use std::io::{BufRead, Read};

use flate2::bufread::{DeflateDecoder, GzDecoder, ZlibDecoder};

use crate::decode::Reject;

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

fn zstd_reader<'a, R: BufRead + 'a>(bytes: R) -> std::io::Result<impl Read + 'a> {
    let mut reader = zstd::stream::read::Decoder::with_buffer(bytes)?;
    // 8 MiB of window is what RFC 8878 asks of every decoder; 128 MiB is what `--long` writes.
    reader.window_log_max(27)?;
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

    use super::*;

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
