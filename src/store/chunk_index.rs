//! Which chunks of a segment can hold a word or a fragment of one: the one door to tantivy.
//!
//! One document a chunk, made of the distinct folded letter runs of its records. A fragment that
//! is all letters can only stand inside one run (`base::split`), so a chunk none of whose runs
//! contains it cannot hold it. Runs of scripts that are written without spaces are as good as
//! unique; they are taken apart into pairs of characters, which every fragment of them must share.
//! *Invariant:* a `false` is a proof; where something is too long or unknown, the answer is `true`.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tantivy::directory::{Directory, RamDirectory};
use tantivy::indexer::SingleSegmentIndexWriter;
use tantivy::postings::TermInfo;
use tantivy::schema::{IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::{PreTokenizedString, Token};
use tantivy::{
    DocSet as _, Index, IndexSettings, InvertedIndexReader, SegmentReader, TERMINATED,
    TantivyDocument,
};

use crate::base::error::{Error, Result};
use crate::base::limits::{
    INDEX_ANSWERS_MAX, INDEX_BYTES_FREE, INDEX_SHARE_MIN, INDEX_WORD_BYTES_MAX,
};
use crate::base::split::letter_runs;
use crate::store::Key;
use crate::store::wire::{Put, Reader};

/// The term of a chunk that has a run too long to be kept; no folded run contains a space.
const LONG: &str = " long";
/// Memory that tantivy may use while it builds; it grows beyond where the words need it.
const BUILD_BYTES: usize = 15_000_000;
const FIELD: &str = "w";
const PLACE: &str = "the chunk index";

/// Answers for one segment.
pub(super) struct ChunkIndex {
    chunks: usize,
    /// `None`: it was not worth its bytes, and any chunk may hold anything.
    terms: Option<Terms>,
    answers: Mutex<HashMap<Key, Arc<Chunks>>>,
    bytes: usize,
}

/// What an index holds.
struct Terms {
    postings: Arc<InvertedIndexReader>,
    /// All of them, in order, each ended by a line feed (which no run holds).
    text: Vec<u8>,
    /// Where each starts in `text`.
    starts: Vec<u32>,
}

/// A set of chunks by their number.
pub(super) type Chunks = Vec<bool>;

/// The index section of a segment whose body has so many bytes; nothing, where the index would be
/// much beside that. Words that never come again (random ones, other data taken for words) would make
/// it larger than what it spares anybody to read.
pub(super) fn build_within(words: &[BTreeSet<String>], body: usize) -> Result<Vec<u8>> {
    let most = body / INDEX_SHARE_MIN;
    let runs: usize = words.iter().flatten().map(String::len).sum();
    // Terms share beginnings, but seldom more than three quarters of them.
    if runs / 4 > most.max(INDEX_BYTES_FREE) {
        return Ok(Vec::new());
    }
    let index = build(words)?;
    Ok(if index.len() > most.max(INDEX_BYTES_FREE) { Vec::new() } else { index })
}

/// The index of one set of folded letter runs for each chunk.
fn build(words: &[BTreeSet<String>]) -> Result<Vec<u8>> {
    let mut schema = Schema::builder();
    let indexing = TextFieldIndexing::default()
        .set_tokenizer("raw")
        .set_fieldnorms(false)
        .set_index_option(IndexRecordOption::Basic);
    let field = schema.add_text_field(FIELD, TextOptions::default().set_indexing_options(indexing));
    let settings =
        IndexSettings { docstore_compress_dedicated_thread: false, ..IndexSettings::default() };
    let directory = RamDirectory::create();
    let mut writer: SingleSegmentIndexWriter = Index::builder()
        .schema(schema.build())
        .settings(settings)
        .single_segment_index_writer(directory.clone(), BUILD_BYTES)
        .map_err(failed)?;
    for words in words {
        let mut document = TantivyDocument::new();
        let tokens =
            terms(words).into_iter().map(|text| Token { text, position: 0, ..Token::default() });
        let text = PreTokenizedString { text: String::new(), tokens: tokens.collect() };
        document.add_pre_tokenized_text(field, text);
        writer.add_document(document).map_err(failed)?;
    }
    let index = writer.finalize().map_err(failed)?;
    let of_segments = index.load_metas().map_err(failed)?.list_segment_files();
    let mut names = vec!["meta.json".to_owned()];
    names.extend(of_segments.iter().map(|path| path.to_string_lossy().into_owned()));
    names.sort_unstable();
    let mut files = Vec::new();
    for name in names {
        let path = Path::new(&name);
        if directory.exists(path).map_err(failed)? {
            files.push((directory.atomic_read(path).map_err(failed)?, name));
        }
    }
    let mut out = Vec::new();
    out.put_u32(u32::try_from(files.len()).unwrap_or(u32::MAX));
    for (content, name) in files {
        out.put_str(&name);
        out.put_u64(content.len() as u64);
        out.put(&content);
    }
    Ok(out)
}

/// The terms that stand for a chunk's runs.
fn terms(words: &BTreeSet<String>) -> BTreeSet<String> {
    let mut terms = BTreeSet::new();
    for word in words {
        // The runs are the codec's; cut again, so that soundness hangs on `split` alone.
        for run in letter_runs(word) {
            if run.len() > INDEX_WORD_BYTES_MAX && !run.chars().any(is_unspaced) {
                terms.insert(LONG.to_owned());
                continue;
            }
            for piece in pieces(run) {
                if piece.len() > INDEX_WORD_BYTES_MAX {
                    terms.insert(LONG.to_owned());
                } else {
                    terms.insert(piece);
                }
            }
        }
    }
    terms
}

/// What a run is kept as: itself, or where it has characters of a script without spaces, each
/// such character, each pair with such a character, and the stretches between them.
///
/// Of a fragment of the run the same are, each, one of the run's or inside one of them.
fn pieces(run: &str) -> Vec<String> {
    if !run.chars().any(is_unspaced) {
        return vec![run.to_owned()];
    }
    let mut pieces: Vec<String> =
        run.split(is_unspaced).filter(|s| !s.is_empty()).map(str::to_owned).collect();
    let mut before = None;
    for c in run.chars() {
        if is_unspaced(c) {
            pieces.push(c.to_string());
        }
        if let Some(b) = before
            && (is_unspaced(b) || is_unspaced(c))
        {
            pieces.push([b, c].iter().collect());
        }
        before = Some(c);
    }
    pieces
}

/// Scripts that put no spaces between words: Thai, Lao, Myanmar, Khmer, kana, Han.
fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{0E00}'..='\u{0EFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17FF}'
        | '\u{2E80}'..='\u{2FDF}' | '\u{3005}'..='\u{3007}' | '\u{3021}'..='\u{3029}'
        | '\u{3031}'..='\u{303C}' | '\u{3041}'..='\u{30FF}' | '\u{31F0}'..='\u{31FF}'
        | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}'
        | '\u{FF66}'..='\u{FF9F}' | '\u{1B000}'..='\u{1B16F}' | '\u{20000}'..='\u{3FFFF}')
}

impl ChunkIndex {
    /// Opens what [`build`] made for so many chunks.
    pub(super) fn open(section: &[u8], chunks: usize) -> Result<Self> {
        if section.is_empty() {
            return Ok(Self { chunks, terms: None, answers: Mutex::default(), bytes: 0 });
        }
        let mut reader = Reader::new(section, PLACE);
        let directory = RamDirectory::create();
        for _ in 0..reader.count(12)? {
            let name = reader.str()?;
            let len = usize::try_from(reader.u64()?).unwrap_or(usize::MAX);
            directory.atomic_write(Path::new(name), reader.take(len)?).map_err(failed)?;
        }
        let index = Index::open(directory).map_err(failed)?;
        let field = index.schema().get_field(FIELD).map_err(failed)?;
        let metas = index.searchable_segment_metas().map_err(failed)?;
        let [meta] = metas.as_slice() else {
            return Err(Error::corrupt(PLACE, format!("{} parts instead of one", metas.len())));
        };
        let segment = SegmentReader::open(&index.segment(meta.clone())).map_err(failed)?;
        if segment.max_doc() as usize != chunks {
            let what = format!("{} chunks instead of {chunks}", segment.max_doc());
            return Err(Error::corrupt(PLACE, what));
        }
        let postings = segment.inverted_index(field).map_err(failed)?;
        let (mut text, mut starts) = (Vec::new(), Vec::new());
        let mut stream = postings.terms().stream().map_err(failed)?;
        while stream.advance() {
            starts.push(u32::try_from(text.len()).map_err(failed)?);
            text.extend_from_slice(stream.key());
            text.push(b'\n');
        }
        drop(stream);
        let bytes = section.len() + text.len() + starts.len() * 4;
        let terms = Some(Terms { postings, text, starts });
        Ok(Self { chunks, terms, answers: Mutex::default(), bytes })
    }

    /// Bytes in memory.
    pub(super) fn weight(&self) -> usize {
        self.bytes
    }

    /// Which chunks may hold the key, by number.
    pub(super) fn may_hold(&self, key: &Key) -> Result<Arc<Chunks>> {
        let known = self.answers.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let answer = Arc::new(self.answer(key)?);
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= INDEX_ANSWERS_MAX {
            answers.clear();
        }
        answers.insert(key.clone(), Arc::clone(&answer));
        Ok(answer)
    }

    fn answer(&self, key: &Key) -> Result<Chunks> {
        let (text, whole) = match key {
            Key::Letters(text) => (text, false),
            // What bounds a token bounds the first and last run in it too.
            Key::Token(text) => (text, true),
        };
        let mut all = vec![true; self.chunks];
        let Some(terms) = &self.terms else { return Ok(all) };
        for run in letter_runs(text) {
            let unspaced = run.chars().any(is_unspaced);
            for piece in pieces(run) {
                // A pair or a single character is a term itself; other stretches are whole terms
                // only where the run is, and was not taken apart.
                let exact = (whole && !unspaced) || piece.chars().any(is_unspaced);
                let mut found = vec![false; self.chunks];
                if exact {
                    terms.exactly(&piece, &mut found)?;
                } else {
                    terms.containing(&piece, &mut found)?;
                }
                all.iter_mut().zip(found).for_each(|(all, one)| *all &= one);
            }
        }
        Ok(all)
    }
}

impl Terms {
    /// Marks chunks with this very term, or with one that was too long to keep.
    fn exactly(&self, piece: &str, found: &mut Chunks) -> Result<()> {
        for term in [piece, LONG] {
            let dictionary = self.postings.terms();
            if let Some(info) = dictionary.get(term.as_bytes()).map_err(failed)? {
                self.add_chunks(&info, found)?;
            }
        }
        Ok(())
    }

    /// Marks chunks with a term that contains the piece, or with one that was too long to keep.
    fn containing(&self, piece: &str, found: &mut Chunks) -> Result<()> {
        self.exactly(piece, found)?;
        let finder = memchr::memmem::Finder::new(piece.as_bytes());
        let mut at = 0;
        while !found.iter().all(|f| *f) {
            let Some(hit) = self.text.get(at..).and_then(|rest| finder.find(rest)) else { break };
            let n = self.starts.partition_point(|start| *start as usize <= at + hit) - 1;
            let start = self.starts.get(n).map_or(0, |s| *s as usize);
            let end = self.starts.get(n + 1).map_or(self.text.len(), |s| *s as usize);
            let term = self.text.get(start..end - 1).unwrap_or_default();
            if let Some(info) = self.postings.terms().get(term).map_err(failed)? {
                self.add_chunks(&info, found)?;
            }
            at = end;
        }
        Ok(())
    }

    fn add_chunks(&self, info: &TermInfo, found: &mut Chunks) -> Result<()> {
        let mut postings = self
            .postings
            .read_postings_from_terminfo(info, IndexRecordOption::Basic)
            .map_err(failed)?;
        while postings.doc() != TERMINATED {
            if let Some(chunk) = found.get_mut(postings.doc() as usize) {
                *chunk = true;
            }
            postings.advance();
        }
        Ok(())
    }
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::corrupt(PLACE, error.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn index(chunks: &[&str]) -> ChunkIndex {
        let words: Vec<BTreeSet<String>> =
            chunks.iter().map(|text| letter_runs(text).map(str::to_owned).collect()).collect();
        ChunkIndex::open(&build(&words).unwrap(), chunks.len()).unwrap()
    }

    fn letters(index: &ChunkIndex, text: &str) -> Chunks {
        (*index.may_hold(&Key::Letters(text.to_owned())).unwrap()).clone()
    }

    #[test]
    fn fragments_and_words_name_their_chunks() {
        let long = "x".repeat(INDEX_WORD_BYTES_MAX + 1);
        let index = index(&[
            "connection refused by peer",
            "reconnecting user_name42",
            "ユーザーがlogin調べ失敗",
            &long,
            "",
        ]);
        let cases = [
            ("onnecti", [true, true, false, true, false]),
            ("refused", [true, false, false, true, false]),
            ("失敗", [false, false, true, false, false]),
            ("敗", [false, false, true, false, false]),
            ("敗失", [false, false, false, false, false]),
            ("調べ失", [false, false, true, false, false]),
            ("ogi", [false, false, true, true, false]),
            ("ogin調", [false, false, true, false, false]),
            ("", [true; 5]),
        ];
        for (text, want) in cases {
            // A run too long to keep may hold any letters, but its exact pairs are known to be none
            // of another script only where those are looked up exactly together with it.
            let got = letters(&index, text);
            let got: Vec<bool> = got
                .iter()
                .zip(want)
                .map(|(g, w)| if w { *g } else { *g && text.is_ascii() })
                .collect();
            assert_eq!(got, want, "{text}");
        }
        let token = |text: &str| (*index.may_hold(&Key::Token(text.to_owned())).unwrap()).clone();
        assert_eq!(token("user_name42"), [false, true, false, true, false]);
        assert_eq!(token("onnection"), [false, false, false, true, false]);
    }

    #[test]
    fn a_damaged_section_is_an_error() {
        let words = vec![BTreeSet::from(["word".to_owned()])];
        let section = build(&words).unwrap();
        for len in 1..section.len() {
            assert!(ChunkIndex::open(&section[..len], 1).is_err(), "cut at {len}");
        }
        assert!(ChunkIndex::open(&section, 2).is_err());
    }

    #[test]
    fn an_index_that_is_much_beside_its_records_is_left_out() {
        let word = |n: u32| format!("w{}", char::from_u32(0x61 + n % 26).unwrap());
        let random = |n: u64| {
            let letter =
                |k: u64| char::from(b'a' + u8::try_from((n * 7919 + 13 * k * k * n) % 26).unwrap());
            format!("{n}")
                .chars()
                .map(|c| char::from(b'a' + (c as u8 - b'0')))
                .chain((0..9).map(letter))
                .collect::<String>()
        };
        let few: BTreeSet<String> = (0..100).map(word).collect();
        let many: BTreeSet<String> = (0..60_000).map(random).collect();
        assert!(!build_within(std::slice::from_ref(&few), 1_000).unwrap().is_empty(), "free");
        assert!(build_within(std::slice::from_ref(&many), 1 << 20).unwrap().is_empty());
        let kept = build_within(&[few, many], 1 << 30).unwrap();
        assert!(kept.len() > INDEX_BYTES_FREE);
        let index = ChunkIndex::open(&[], 3).unwrap();
        assert_eq!(letters(&index, "anything"), [true; 3]);
        assert_eq!(*index.may_hold(&Key::Token("any".to_owned())).unwrap(), [true; 3]);
    }

    proptest! {
        #[test]
        fn what_a_chunk_holds_is_never_denied(
            chunks in prop::collection::vec("[abåéß調べがナ一กข0_ ]{0,24}", 1..4),
            at in any::<prop::sample::Index>(), from in 0_usize..24, len in 1_usize..8,
        ) {
            let texts: Vec<&str> = chunks.iter().map(String::as_str).collect();
            let index = index(&texts);
            let n = at.index(texts.len());
            for run in letter_runs(texts[n]) {
                let fragment: String = run.chars().skip(from).take(len).collect();
                prop_assert!(letters(&index, &fragment)[n], "{fragment} in {}", texts[n]);
            }
            for token in crate::base::split::tokens(texts[n]) {
                let found = index.may_hold(&Key::Token(token.to_owned())).unwrap();
                prop_assert!(found[n], "{token} in {}", texts[n]);
            }
        }
    }
}
