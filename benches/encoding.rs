//! The codec in this process: how small what is sealed gets, and what encoding alone costs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use shirabe::base::record::Record;
use shirabe::codec::encode;
use shirabe::codec::filter::Filter;

use crate::corpus::{chunks_of, decode, read};
use crate::meter;
use crate::rivals::Zstd;
use crate::table::{Table, float, mb, short};

/// Text of one segment as it is sealed, bytes, about.
const SEALED_TEXT: usize = 32 << 20;

/// CPU time of encoding a text as segments of the size that are sealed; decoding left out.
pub(crate) fn alone(text: &[u8]) -> Duration {
    let mut rest = text;
    let mut cpu = Duration::ZERO;
    while !rest.is_empty() {
        let near = rest.len().min(SEALED_TEXT);
        let (near, far) = rest.split_at(near);
        let end = memchr::memchr(b'\n', far).map_or(rest.len(), |at| near.len() + at + 1);
        let (piece, after) = rest.split_at(end);
        rest = after;
        let chunks = chunks_of(piece);
        let slices: Vec<&[Arc<Record>]> = chunks.iter().map(Vec::as_slice).collect();
        let start = meter::own_cpu();
        let encoded = encode(&slices);
        cpu += meter::own_cpu().saturating_sub(start);
        drop(encoded);
    }
    cpu
}

/// Each file as one segment, as it is sealed, not merged.
pub(crate) fn print(files: &[PathBuf], markdown: bool) {
    let mut table =
        Table::new("Files as they are sealed, one segment each: z3 / (body + filter)", &[]);
    for file in files {
        let text = read(file);
        let z = Zstd::of(&text);
        let chunks = chunks_of(&text);
        let slices: Vec<&[Arc<Record>]> = chunks.iter().map(Vec::as_slice).collect();
        let (encoded, cpu) = meter::thread_cpu(|| encode(&slices));
        let filter = Filter::build(encoded.tokens.clone()).to_bytes().len() as u64;
        let body = encoded.body.len() as u64;
        let rows: usize = chunks.iter().map(Vec::len).sum();
        let (back, decoding) = meter::thread_cpu(|| decode(encoded.body));
        let back = back.expect("decodes");
        assert_eq!(back.iter().map(Vec::len).sum::<usize>(), rows, "all rows come back");
        let note = format!(
            "{}, {rows} records, {}, body {}, filter {}, encoded in {} Z, decoded at {} MB/s",
            mb(text.len() as u64),
            z.told(),
            mb(body),
            mb(filter),
            short(z.ratio(cpu)),
            short(float(text.len() as u64) / 1e6 / decoding.as_secs_f64()),
        );
        let name = file.file_name().unwrap_or_default().display().to_string();
        table.tell(name, short(z.smaller(body + filter)), note);
    }
    table.print(markdown);
}
