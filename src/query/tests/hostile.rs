//! Whatever is typed: an answer or an error, soon, and never more than the bounds.

use proptest::prelude::*;

use super::*;
use crate::base::limits;

fn refused(text: &str) -> String {
    Query::parse(text, &context()).expect_err("too much").detail
}

#[test]
fn bounds_hold() {
    let deep = |n: usize| format!("{}a{}", "(".repeat(n), ")".repeat(n));
    assert!(Query::parse(&deep(limits::QUERY_DEPTH_MAX), &context()).is_ok());
    assert_eq!(refused(&deep(limits::QUERY_DEPTH_MAX + 1)), "a query may be 64 deep");
    assert_eq!(refused(&"(".repeat(16_000)), "a query may be 64 deep");
    assert_eq!(refused(&"NOT ".repeat(4_000)), "a query may be 64 deep");
    assert_eq!(refused(&format!("a:{}", "(".repeat(100))), "a query may be 64 deep");
    assert!(Query::parse(&"a ".repeat(limits::QUERY_TERMS_MAX), &context()).is_ok());
    assert_eq!(refused(&"a ".repeat(limits::QUERY_TERMS_MAX + 1)), "a query may have 1000 terms");
    assert_eq!(refused(&format!("a:{}", "b,".repeat(1_001))), "a query may have 1000 terms");
    assert!(Query::parse(&"a".repeat(limits::QUERY_BYTES_MAX), &context()).is_ok());
    let long = "a".repeat(limits::QUERY_BYTES_MAX + 1);
    assert_eq!(refused(&long), "a query may have 16384 bytes");
    let many = "/a/ ".repeat(limits::QUERY_REGEXES_MAX + 1);
    assert_eq!(refused(&many), "a query may have 32 regular expressions");
    assert!(refused("/(\\w{100}){100}{100}/").contains("size limit"));
}

/// What backtracking engines choke on costs no more here than any other scan.
#[test]
fn patterns_take_linear_time() {
    let line = "a".repeat(100_000);
    let ask = |text: &str| Query::parse(text, &context()).unwrap().matches(&record(1, 0, &line));
    assert!(!ask("/(a+)+$b/"));
    assert!(!ask("/(a|aa)+b/"));
    assert!(!ask(&format!("a{}b", "*a".repeat(900))));
    assert!(!ask("word:aaa"));
    assert!(!ask(&format!("word:{}", "a".repeat(15_000))));
}

#[test]
fn many_quotes_and_slashes_are_read_once() {
    for text in ["a\"", "\\\"", "a\"b\\", "/a ", "\"\" ", "a(", "[", "x:[", "x:\"", "a:("] {
        // An answer of either kind.
        drop(Query::parse(&text.repeat(limits::QUERY_BYTES_MAX / text.len()), &context()));
    }
}

fn read_back(text: &str) {
    if let Ok(query) = Query::parse(text, &context()) {
        let printed = query.to_string();
        assert_eq!(Query::parse(&printed, &context()).as_ref(), Ok(&query), "{text} as {printed}");
        drop(query.highlights(text));
        query.matches(&record(1, 0, text));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        read_back(&text);
    }

    #[test]
    fn what_looks_like_a_query_prints_back(
        text in "(AND|OR|NOT|TO|a|b:|host:|level|>=|>|<|~|id:|:|,|\\.\\.|\\[|\\]|\\{|\\}|\\(|\\)|\
                 \"|'|/|/i|\\*|-|!|&&|\\|\\||\\\\|[1-9]| |since:|2h|word:|fields\\.|labels\\.\\*:|調|=){0,16}",
    ) {
        read_back(&text);
    }

    /// Any text that stands in a message, put in double quotes, finds it.
    #[test]
    fn quoted_text_finds_its_line(
        before in "[^\\p{M}]{0,5}",
        text in "[^\\p{M}]{1,12}",
        behind in "[^\\p{M}]{0,5}",
    ) {
        // Half-width voicing marks are marks once they are folded.
        prop_assume!(!crate::base::fold::fold(&behind).starts_with(crate::base::fold::is_mark));
        let typed = format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let query = Query::parse(&typed, &context()).unwrap();
        let line = format!("{before}{text}{behind}");
        prop_assert!(query.matches(&record(1, 0, &line)));
        let places = query.highlights(&line);
        let at = before.len();
        prop_assert!(places.iter().any(|p| p.start <= at && p.end >= at + text.len()), "{places:?}");
        prop_assert!(places.iter().all(|p| line.get(p.clone()).is_some()));
    }
}
