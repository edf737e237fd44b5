//! What sealed chunks are spared, and fragments of sealed lines found again wherever they are cut.

use std::fmt::Write as _;

use super::oracle::{Dice, Sealed};
use super::*;
use crate::base::flatten::Flat;
use crate::base::json::read_last_object;
use crate::store::Chunk;

/// A segment of several chunks, nothing of it read yet.
fn sealed(records: &[Record], rows: usize) -> Snapshot {
    let records: Vec<Arc<Record>> = records.iter().cloned().map(Arc::new).collect();
    let chunks: Vec<&[Arc<Record>]> = records.chunks(rows).collect();
    let body = super::oracle::body(&chunks);
    let chunk = |n: usize| -> Arc<dyn Chunk> {
        Arc::new(Sealed { meta: body.chunks()[n].clone(), rows: body.chunk(n).unwrap() })
    };
    Snapshot::new((0..body.chunks().len()).map(chunk).collect())
}

fn parse(text: &str) -> Query {
    Query::parse(text, &context()).unwrap_or_else(|e| panic!("{text}: {e:?}"))
}

fn asked(snapshot: &Snapshot, text: &str) -> (u64, Explain) {
    let answer = count(snapshot, &parse(text), TimeRange::ALL, &budget()).unwrap();
    assert_eq!(answer.partial, None);
    (answer.value, answer.explain)
}

/// Lines of three templates, ids in two of them.
fn lines(many: u64) -> Vec<Record> {
    let line = |n: u64| match n % 3 {
        0 => format!("request {:032x} took {} ms", n.wrapping_mul(0x9e37_79b9_7f4a_7c15), n % 97),
        1 => format!("session opened for user{} by uid={}", n % 50, n % 7),
        _ => format!("connection refused from 10.0.{}.{}", n % 3, n % 200),
    };
    (1..=many).map(|n| record(n, i64::try_from(n).unwrap() * 1_000_000, &line(n))).collect()
}

#[test]
fn a_word_of_templates_decodes_no_column_of_slots() {
    let snapshot = sealed(&lines(6_000), 2_000);
    let (found, explain) = asked(&snapshot, "REFUSED");
    assert_eq!(found, 2_000);
    // The templates of each chunk's rows; the shapes of their fields are no columns.
    assert_eq!((explain.columns, explain.rebuilt), (3, 0), "{explain:?}");
    let (found, explain) = asked(&snapshot, "opened OR refused OR request");
    assert_eq!((found, explain.columns, explain.rebuilt), (6_000, 0, 0), "{explain:?}");
    let (found, explain) = asked(&snapshot, "\"connection refused\" -session");
    assert_eq!((found, explain.columns, explain.rebuilt), (2_000, 0, 0), "{explain:?}");
}

#[test]
fn an_id_that_is_nowhere_rebuilds_no_row() {
    let snapshot = sealed(&lines(6_000), 2_000);
    for id in ["0123456789abcdef01", "\"request 0123456789abcdef01\"", "uid=99", "word:1f2e3d4c"] {
        let (found, explain) = asked(&snapshot, id);
        assert_eq!((found, explain.rebuilt), (0, 0), "{id} {explain:?}");
    }
    let (found, explain) = asked(&snapshot, "took 7777");
    assert_eq!((found, explain.rebuilt), (0, 0), "{explain:?}");
}

/// Dice, and how many rounds are played with them; `SEED` and `ROUNDS` say it otherwise.
fn thrown() -> (Dice, u64) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed = number("SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let rounds = number("ROUNDS").unwrap_or(60);
    println!("SEED={seed} ROUNDS={rounds}");
    (Dice(seed), rounds)
}

/// What a person would cut out of a line with the mouse, and worse.
#[test]
fn fragments_are_found_wherever_they_are_cut() {
    let (mut dice, rounds) = thrown();
    for _ in 0..rounds {
        let records = odd_lines(&mut dice);
        let snapshot = sealed(&records, 1 + dice.roll(records.len()));
        for _ in 0..25 {
            let from = dice.roll(records.len());
            let Some(text) = fragment(&records[from], &mut dice) else { continue };
            let query = parse(&text);
            let want = records.iter().filter(|r| query.matches(r)).count() as u64;
            let answer = count(&snapshot, &query, TimeRange::ALL, &budget()).unwrap();
            assert_eq!(answer.value, want, "{text}");
        }
    }
}

const VALUES: &[&str] = &[
    "10.1.2.3",
    "443",
    "007",
    "-5",
    "1.50",
    "deadbeef",
    "DEADBEEF01",
    "Ann",
    "ﬁne",
    "ガラス",
    "カ",
    "ｶﾞ",
    "e\u{301}x",
    "\u{3099}a",
    "検索",
    "a b",
    "x-1.",
    "550e8400-e29b-41d4-a716-446655440000",
    "2026-03-01T09:00:00.123Z",
    "true",
    "null",
    "",
    "㈱7",
    "Ａ１",
    "_",
    "7e57",
];
const FRAMES: &[&str] = &[
    "from @:@ to @",
    "user=@ status=@ took @ms",
    "{\"level\":\"@\",\"n\":@,\"text\":\"@\"}",
    "接続 @ が失敗 (@)",
    "id @ @ done.",
    "GET \"/x/@?q=@\" @",
    "Mar  1 09:00:0@ [@]: @",
    "@",
    "plain words only",
];

/// Objects, `$` for a text within quotes and `#` for a number or a word.
const OBJECTS: &[&str] = &[
    r#"{"level":"$","n":#,"message":"$"}"#,
    r#"{"message":"$","http":{"status":#,"took":[#,"$"]}, "who": "$"}"#,
    r#"{"err":[{"text":"$","n": #}],"id":"7-$/x $","id":#,"same":"ab 1.50","message":"$"}"#,
    r#"{ "deep": {"of":{"$":"v $"}}, "none":null,"message":"$", "x":"\n$" }"#,
];
const TEXTS: &[&str] =
    &["a b", "ガラス", "カ", r#"q\"x"#, r"a\nb", "{", "1.50", "null", "ｶﾞ 7", "", r"\u30ab"];
const NUMBERS: &[&str] =
    &["1.50", "1e5", "0.0000012", "-0.0", "-0", "12", "123456789012345678901", "true", "1E400"];

/// Records whose fields are those of the object that their line or their message ends with.
fn objects(dice: &mut Dice) -> Vec<Record> {
    let frames: Vec<&str> = (0..=dice.roll(3)).map(|_| dice.pick(OBJECTS)).collect();
    let fronts: Vec<&str> =
        (0..=dice.roll(2)).map(|_| dice.pick(&["", "x{ y ", "n=7 {} ", "<1> a: "])).collect();
    let many = 1 + dice.roll(90) as u64;
    (1..=many)
        .map(|n| {
            let mut text = String::from(dice.pick(&fronts));
            let front = text.len();
            for c in dice.pick(&frames).chars() {
                match (c, dice.roll(4)) {
                    ('$', 0) => write!(text, "id{:06x}", dice.roll(1 << 24)).unwrap(),
                    ('$', _) => text.push_str(dice.pick(TEXTS)),
                    ('#', 0) => write!(text, "{}", dice.roll(900)).unwrap(),
                    ('#', 1) => write!(text, "{}.{:02}", dice.roll(90), dice.roll(100)).unwrap(),
                    ('#', _) => text.push_str(dice.pick(NUMBERS)),
                    (c, _) => text.push(c),
                }
            }
            let mut made = record(n, i64::try_from(n).unwrap() * 1_000_000, &text);
            let read = read_last_object(&text, &mut Flat::default());
            read.expect(&text).add_to(&mut made);
            match dice.roll(3) {
                0 => {}
                1 => made.line = Line::in_text(&text, front, text.len()),
                _ => {
                    // As objects that are records of their own: the message is one of the values.
                    let at = made.fields.iter().position(|field| &*field.name == "message");
                    let message = made.fields.remove(at.expect("a message")).value.to_string();
                    made.line = match text.find(&format!("\"{message}\"")) {
                        Some(at) => Line::in_text(&text, at + 1, at + 1 + message.len()),
                        None => Line::with_message(text.into_bytes(), message),
                    };
                }
            }
            made
        })
        .collect()
}

/// A piece of a field's value, as people see it.
fn of_field(record: &Record, dice: &mut Dice) -> Option<String> {
    let field = record.fields.get(dice.roll(record.fields.len().max(1)))?;
    let value = match &field.value {
        Value::Array(items) => items.get(dice.roll(items.len().max(1)))?.to_string(),
        other => other.to_string(),
    };
    fragment(&super::record(1, 1, &value), dice)
}

#[test]
fn values_of_objects_are_found_wherever_they_are_cut() {
    let (mut dice, rounds) = thrown();
    for _ in 0..rounds {
        let records = objects(&mut dice);
        let snapshot = sealed(&records, 1 + dice.roll(records.len()));
        for _ in 0..25 {
            let from = dice.roll(records.len());
            let cut = if dice.roll(2) == 0 { of_field } else { fragment };
            let Some(text) = cut(&records[from], &mut dice) else { continue };
            let query = parse(&text);
            let want = records.iter().filter(|r| query.matches(r)).count() as u64;
            let answer = count(&snapshot, &query, TimeRange::ALL, &budget()).unwrap();
            assert_eq!(answer.value, want, "{text}");
        }
    }
}

fn odd_lines(dice: &mut Dice) -> Vec<Record> {
    let frames: Vec<&str> = (0..=dice.roll(3)).map(|_| dice.pick(FRAMES)).collect();
    let many = 1 + dice.roll(120) as u64;
    (1..=many)
        .map(|n| {
            let mut text = String::new();
            for piece in dice.pick(&frames).split_inclusive('@') {
                let Some(fixed) = piece.strip_suffix('@') else {
                    text.push_str(piece);
                    continue;
                };
                text.push_str(fixed);
                match dice.roll(4) {
                    0 => text.push_str(&dice.roll(3_000).to_string()),
                    1 => write!(text, "{:08x}", dice.roll(1 << 32)).unwrap(),
                    _ => text.push_str(dice.pick(VALUES)),
                }
            }
            let mut made = record(n, i64::try_from(n).unwrap() * 1_000_000, &text);
            if dice.roll(3) == 0 {
                made.fields.push(field("user", Value::str(dice.pick(VALUES))));
            }
            made
        })
        .collect()
}

/// A query that cuts a piece out of a record's message, across whatever stands there.
fn fragment(record: &Record, dice: &mut Dice) -> Option<String> {
    let chars: Vec<char> = record.message().chars().collect();
    let from = dice.roll(chars.len().max(1));
    let len = 1 + dice.roll(14);
    let mut piece: String = chars.get(from..)?.iter().take(len).collect();
    if piece.is_empty() {
        return None;
    }
    if dice.roll(3) == 0 {
        piece = piece.to_uppercase();
    }
    let quoted = |piece: &str, quote: char| {
        let escape = |c: char| (c == quote || c == '\\').then_some('\\').into_iter().chain([c]);
        format!("{quote}{}{quote}", piece.chars().flat_map(escape).collect::<String>())
    };
    Some(match dice.roll(6) {
        0 => quoted(&piece, '\''),
        1 => format!("word:{}", quoted(&piece, '"')),
        2 => format!("message~{}", quoted(&piece, '"')),
        3 => {
            let rest: String = chars.iter().skip(from + len + dice.roll(6)).take(3).collect();
            let plain =
                |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
            format!("x{}*{}", plain(&piece), plain(&rest)).trim_start_matches('x').to_owned()
        }
        _ => quoted(&piece, '"'),
    })
    .filter(|text| text != "*")
}
