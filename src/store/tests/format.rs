//! `FORMAT.md` says what the constants say.

use super::*;

/// Sum of the fixed widths of the table under a heading of `FORMAT.md`, and the table's text.
fn table(heading: &str) -> (usize, &'static str) {
    let text = include_str!("../FORMAT.md").split(&format!("### {heading}\n")).nth(1).unwrap();
    let table = text.trim_start().split("\n\n").next().unwrap();
    let width = |row: &str| row.split('|').nth(1)?.trim().parse::<usize>().ok();
    (table.lines().filter_map(width).sum(), table)
}

#[test]
fn the_format_document_says_what_the_constants_say() {
    let magic = |bytes: [u8; 8]| format!("`{}`", std::str::from_utf8(&bytes).unwrap());
    for (heading, bytes, magic, version) in [
        ("Log header", log::HEADER_BYTES, magic(log::MAGIC), Some(log::VERSION)),
        ("Log entry", log::ENTRY_HEADER_BYTES, "`entr`".to_owned(), None),
        ("Segment header", segment::HEADER_BYTES, magic(segment::MAGIC), Some(segment::VERSION)),
        ("Segment trailer", segment::TRAILER_BYTES, magic(segment::END_MAGIC), None),
        (
            "Manifest header",
            manifest::HEADER_BYTES,
            magic(manifest::MAGIC),
            Some(manifest::VERSION),
        ),
        ("Around a manifest entry", manifest::ENTRY_AROUND_BYTES, String::new(), None),
        ("Catalogue header", catalog::HEADER_BYTES, magic(catalog::MAGIC), Some(catalog::VERSION)),
    ] {
        let (width, text) = table(heading);
        assert_eq!(width, bytes, "{heading}");
        assert!(text.contains(&magic), "{heading}: {magic}");
        assert!(version.is_none_or(|v| text.contains(&format!("version {v}"))), "{heading}");
    }
    let disk = sim();
    let store = open(&disk, 1 << 20).unwrap();
    put(&store, &["x"]);
    let log = disk.read(Path::new(&names(&disk, ".log")[0])).unwrap();
    assert_eq!(log[..12], *b"SHIRALOG\0\0\0\0");
    assert_eq!(log[24..28], log::ENTRY_MARK);
    assert_eq!(log[28..32], u32::try_from(log.len() - 24 - 28).unwrap().to_le_bytes());
    assert_eq!(log[32..44], [1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
    store.seal(false).unwrap();
    let file = disk.read(Path::new(&names(&disk, ".seg")[0])).unwrap();
    let end = file.len() - segment::TRAILER_BYTES;
    let footer_len = u32::from_le_bytes(file[end..end + 4].try_into().unwrap()) as usize;
    assert_eq!(
        footer_len,
        8 + 14 + 11 + 32 + 8 + 4 + 4 + 40 + 4 + 4 * 24,
        "one chunk, four sections"
    );
    assert_eq!(file[end - footer_len + 12..][..10], *b"2026-03-01");
    let version = disk.read(Path::new("/data/VERSION")).unwrap();
    let layout = open::LAYOUT_VERSION;
    assert_eq!(version, format!("shirabe data format {layout}\n").as_bytes());
}
