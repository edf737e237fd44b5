//! `LANGUAGE.md` says what is true: its records are made, its examples asked.

use super::*;

/// The rows of all tables, by heading; a bar inside of backticks is no border.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut inside = false;
    for line in include_str!("../LANGUAGE.md").lines() {
        inside = line.starts_with('|') && (inside || line.starts_with(heading));
        if inside && !line.starts_with(heading) && !line.starts_with("|---") {
            found.push(cells(line));
        }
    }
    assert!(!found.is_empty(), "{heading}");
    found
}

fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut code = false;
    for c in line.trim_matches('|').chars() {
        code ^= c == '`';
        match c {
            '|' if !code => cells.push(String::new()),
            _ => cells.last_mut().unwrap().push(c),
        }
    }
    cells.iter().map(|c| c.trim().to_owned()).collect()
}

fn code(cell: &str) -> &str {
    cell.strip_prefix('`').and_then(|c| c.strip_suffix('`')).unwrap_or_else(|| panic!("{cell}"))
}

fn example(cells: &[String]) -> Record {
    let [id, time, host, app, severity, message, fields] = cells else { panic!("{cells:?}") };
    let time = Timestamp::parse_rfc3339(&format!("2026-03-01T{time}Z")).unwrap();
    let mut made = record(id.parse().unwrap(), time.0, code(message));
    made.host = host.as_str().into();
    made.app = app.as_str().into();
    made.severity = Severity::from_text(severity);
    let value = |text: &str| text.parse().map_or_else(|_| Value::str(text), Value::Int);
    let pairs = fields.split(' ').filter_map(|pair| pair.split_once('='));
    made.fields = pairs.map(|(name, text)| field(name, value(text))).collect();
    made
}

#[test]
fn examples_find_what_they_say() {
    let records: Vec<Record> = rows("| id |").iter().map(|cells| example(cells)).collect();
    let snapshot = snapshot(vec![records]);
    for row in rows("| typed | means | finds") {
        let text = code(&row[0]);
        let query = Query::parse(text, &context()).unwrap_or_else(|e| panic!("{text}: {e:?}"));
        let page =
            search(&snapshot, &query, TimeRange::ALL, Order::Asc, 9, None, &budget()).unwrap();
        let found: Vec<String> = page.value.records.iter().map(|r| r.id.to_string()).collect();
        assert_eq!(found.join(" "), row[2], "{text}");
    }
}

#[test]
fn errors_point_where_they_say() {
    for row in rows("| typed | column") {
        let text = code(&row[0]);
        let error = Query::parse(text, &context()).expect_err(text);
        assert_eq!((error.column.to_string(), &error.detail), (row[1].clone(), &row[2]), "{text}");
        assert!(!error.expected.is_empty(), "{text}");
    }
}
