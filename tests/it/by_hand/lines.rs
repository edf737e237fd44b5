//! Lines: templates, pools, and the columns of a chunk.

use std::collections::BTreeMap;

use super::bytes::{Bytes, meet};
use super::column::{Parents, column, dictionary, of_numbers, place};

enum Pool {
    Texts(Vec<Vec<u8>>),
    Times([u8; 11]),
}

enum Piece {
    Static(Vec<u8>),
    Slot(usize),
    Hole,
}

/// What the chunks share of one place.
pub(super) struct Shared {
    pools: Vec<Pool>,
    templates: Vec<Vec<Piece>>,
    /// For each chunk the numbers of its templates.
    chunks: Vec<Vec<usize>>,
}

impl Shared {
    pub(super) fn read(section: &[u8], chunks: usize) -> Self {
        let mut from = Bytes(section);
        let mut pools: Vec<Pool> = (0..from.len())
            .map(|_| {
                let kind = from.u8();
                meet("pool", kind);
                match kind {
                    0 | 1 | 3 => {}
                    2 => drop(from.text()),
                    4 => return Pool::Times(from.take(11).try_into().expect("11")),
                    other => panic!("a pool of kind {other}"),
                }
                Pool::Texts(Vec::new())
            })
            .collect();
        let count = from.len();
        let framed = from.frame();
        let mut rest = Bytes(&framed);
        let template = |_| (0..rest.len()).map(|_| piece(&mut rest)).collect();
        let templates = (0..count).map(template).collect();
        rest.end("the templates");
        let framed = from.frame();
        let mut rest = Bytes(&framed);
        let numbers = |_| {
            let (mut least, count) = (0, rest.len());
            let number = |_| {
                let number = least + rest.len();
                least = number + 1;
                assert!(rest.var() > 0, "rows of a template");
                number
            };
            (0..count).map(number).collect()
        };
        let chunks = (0..chunks).map(numbers).collect();
        rest.end("the templates of chunks");
        for pool in &mut pools {
            if let Pool::Texts(texts) = pool {
                *texts = dictionary(&mut from);
            }
        }
        from.end("what lines share");
        Self { pools, templates, chunks }
    }
}

fn piece(from: &mut Bytes<'_>) -> Piece {
    match from.u8() {
        0 => Piece::Static(from.bytes().to_vec()),
        1 => Piece::Slot(from.len()),
        2 => {
            let pool = from.len();
            from.text();
            Piece::Slot(pool)
        }
        4 => Piece::Hole,
        other => panic!("a piece of kind {other}"),
    }
}

/// The lines of a chunk, before their slots are read.
pub(super) struct Rows<'a> {
    shared: &'a Shared,
    columns: BTreeMap<usize, Vec<u8>>,
    /// The number of each row's template.
    pub(super) templates: Vec<usize>,
}

impl<'a> Rows<'a> {
    pub(super) fn read(shared: &'a Shared, section: &[u8], chunk: usize, rows: usize) -> Self {
        let columns = columns(section);
        let own = &shared.chunks[chunk];
        let mut from = Bytes(&columns[&0]);
        let templates = from.planes(rows).into_iter().map(|n| own[place(n)]).collect();
        from.end("the column of templates");
        Self { shared, columns, templates }
    }

    fn template(&self, row: usize) -> &'a [Piece] {
        &self.shared.templates[self.templates[row]]
    }

    /// The texts of the slots of each row.
    pub(super) fn slots(&self, times: &[i64], parents: &Parents) -> Vec<Vec<Vec<u8>>> {
        let mut parents = parents.clone();
        parents.insert(5, of_numbers(&self.templates));
        // Whose row each value of a pool is, in the order of rows and pieces.
        let mut rows: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for row in 0..times.len() {
            for piece in self.template(row) {
                if let Piece::Slot(pool) = piece {
                    rows.entry(*pool).or_default().push(row);
                }
            }
        }
        assert!(
            self.columns.keys().skip(1).eq(rows
                .keys()
                .map(|pool| pool + 1)
                .collect::<Vec<_>>()
                .iter())
        );
        let mut values: BTreeMap<usize, std::vec::IntoIter<Vec<u8>>> = BTreeMap::new();
        for (pool, rows) in rows {
            let mut from = Bytes(&self.columns[&(pool + 1)]);
            let read: Vec<Vec<u8>> = match &self.shared.pools[pool] {
                Pool::Texts(dictionary) => column(&mut from, &rows, dictionary, &parents),
                Pool::Times(format) => {
                    let differences = from.ints(rows.len());
                    let each = rows.iter().zip(differences);
                    each.map(|(row, by)| time(format, times[*row], by)).collect()
                }
            };
            from.end("a column of lines");
            values.insert(pool, read.into_iter());
        }
        let mut slots = Vec::new();
        for row in 0..times.len() {
            let mut own = Vec::new();
            for piece in self.template(row) {
                if let Piece::Slot(pool) = piece {
                    own.push(values.get_mut(pool).and_then(Iterator::next).expect("a value"));
                }
            }
            slots.push(own);
        }
        slots
    }

    /// The text of a row of these slots; `hole` is what stands in its hole.
    pub(super) fn text(&self, row: usize, slots: &[Vec<u8>], hole: &[u8]) -> Vec<u8> {
        let mut slots = slots.iter();
        let mut out = Vec::new();
        for piece in self.template(row) {
            out.extend_from_slice(match piece {
                Piece::Static(text) => text,
                Piece::Hole => hole,
                Piece::Slot(_) => slots.next().expect("a slot"),
            });
        }
        out
    }
}

/// The columns of a chunk's lines, by number.
fn columns(section: &[u8]) -> BTreeMap<usize, Vec<u8>> {
    let mut from = Bytes(section);
    let head = from.frame();
    let mut head = Bytes(&head);
    let mut least = 0;
    let listed: Vec<(usize, usize)> = (0..head.len())
        .map(|_| {
            let number = least + head.len();
            least = number + 1;
            (number, head.len())
        })
        .collect();
    let column = |(number, len): (usize, usize)| {
        let bytes = if len < 4096 { head.take(len) } else { from.take(len) };
        (number, bytes.to_vec())
    };
    let columns = listed.into_iter().map(column).collect();
    head.end("a head");
    from.end("a chunk's lines");
    columns
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY_S: i64 = 86_400;

/// A time that is so many units of its last digit after the record's.
fn time(format: &[u8; 11], record: i64, by: i64) -> Vec<u8> {
    let [style, date_sign, time_sign, fraction_sign, digits, zone @ ..] = *format;
    meet("time", style);
    let units = 10_i64.pow(u32::from(digits));
    let mut at = record.div_euclid(1_000_000_000 / units);
    if style == 1 {
        let (_, month, day) = date(at.div_euclid(DAY_S));
        at = at.rem_euclid(DAY_S) + DAY_S * day_of(2000, month, day);
    }
    at += by;
    let seconds = at.div_euclid(units);
    let (year, month, day) = date(seconds.div_euclid(DAY_S));
    let clock = seconds.rem_euclid(DAY_S);
    let name = MONTHS[usize::try_from(month - 1).expect("a month")];
    let (date, between) = (char::from(date_sign), char::from(time_sign));
    let day = match style {
        0 => format!("{year:04}{date}{month:02}{date}{day:02}{between}"),
        1 if day < 10 => format!("{name} {date}{day} "),
        1 => format!("{name} {day} "),
        _ => format!("{day:02}/{name}/{year:04}:"),
    };
    let clock = format!("{:02}:{:02}:{:02}", clock / 3600, clock / 60 % 60, clock % 60);
    let (sign, width) = (char::from(fraction_sign), usize::from(digits));
    let fraction = match digits {
        0 => String::new(),
        _ => format!("{sign}{:0width$}", at.rem_euclid(units)),
    };
    let zone = zone.split(|b| *b == 0).next().unwrap_or_default();
    [day.as_bytes(), clock.as_bytes(), fraction.as_bytes(), zone].concat()
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Year, month and day of a day since 1970, counted one by one.
fn date(mut days: i64) -> (i64, i64, i64) {
    let (mut year, mut month) = (1970, 1);
    let of_year = |year| 337 + days_in(year, 2);
    while days < 0 {
        year -= 1;
        days += of_year(year);
    }
    while days >= of_year(year) {
        days -= of_year(year);
        year += 1;
    }
    while days >= days_in(year, month) {
        days -= days_in(year, month);
        month += 1;
    }
    (year, month, days + 1)
}

/// The day since 1970 of a date that is not before.
fn day_of(year: i64, month: i64, day: i64) -> i64 {
    let years: i64 = (1970..year).map(|year| 337 + days_in(year, 2)).sum();
    years + (1..month).map(|month| days_in(year, month)).sum::<i64>() + day - 1
}
