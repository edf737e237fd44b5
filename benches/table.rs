//! The tables: rows as the design names them, filled while a run goes on, judged when printed.

/// How a figure is held against its first bar and its aim.
#[derive(Clone, Copy)]
pub(crate) enum Bar {
    /// At least so many times; more is better.
    Times(f64, f64),
    /// At most so much; less is better.
    AtMost(f64, f64),
    /// At most this part of what the rival takes, given as the divisor; measured is rival / ours.
    Part(f64, f64),
    /// At most so many milliseconds, on the machine and at the size that the design means.
    Millis(f64, f64),
    /// The same, for work that grows with the corpus.
    MillisPerGib(f64, f64),
}

/// A row as the design has it.
pub(crate) struct Spec {
    /// Its name.
    pub(crate) name: &'static str,
    /// The figure of `VictoriaLogs`, as measured once on a machine of this kind.
    pub(crate) rival: &'static str,
    /// Unit of what is measured.
    pub(crate) unit: &'static str,
    /// What it is held against.
    pub(crate) bar: Bar,
}

/// What was measured of a row.
struct Figure {
    ours: String,
    measured: Option<f64>,
    note: String,
}

/// A table that is being filled.
pub(crate) struct Table {
    title: String,
    specs: &'static [Spec],
    figures: Vec<Option<Figure>>,
    /// Rows beyond the design's: name, ours, note.
    more: Vec<[String; 3]>,
    /// How much slower this machine is than the one that milliseconds are meant for.
    pub(crate) machine: f64,
    /// How large the corpus is, of the size that they are meant for.
    pub(crate) size: f64,
}

impl Table {
    /// Empty.
    pub(crate) fn new(title: &str, specs: &'static [Spec]) -> Self {
        let figures = specs.iter().map(|_| None).collect();
        let title = title.to_owned();
        Self { title, specs, figures, more: Vec::new(), machine: 1.0, size: 1.0 }
    }

    /// What a row was measured at.
    pub(crate) fn fill(&mut self, name: &str, ours: String, measured: f64, note: String) {
        self.put(name, Figure { ours, measured: Some(measured), note });
    }

    /// Why a row has no figure.
    pub(crate) fn leave(&mut self, name: &str, why: &str) {
        let (ours, note) = ("–".to_owned(), why.to_owned());
        self.put(name, Figure { ours, measured: None, note });
    }

    /// A row beyond the design's.
    pub(crate) fn tell(&mut self, name: impl Into<String>, ours: String, note: String) {
        self.more.push([name.into(), ours, note]);
    }

    fn put(&mut self, name: &str, figure: Figure) {
        let at = self.specs.iter().position(|spec| spec.name == name);
        let at = at.unwrap_or_else(|| panic!("no row is called {name}"));
        if let Some(place) = self.figures.get_mut(at) {
            *place = Some(figure);
        }
    }

    /// Prints it; nothing where nothing was measured.
    pub(crate) fn print(&self, markdown: bool) {
        let filled = self.specs.iter().zip(&self.figures);
        let rows = filled.filter_map(|(spec, figure)| Some((spec, figure.as_ref()?)));
        let mut cells: Vec<[String; 9]> = rows.map(|(spec, fig)| self.cells(spec, fig)).collect();
        cells.extend(self.more.iter().map(|[name, ours, note]| {
            let mut row: [String; 9] = Default::default();
            (row[0], row[1], row[8]) = (name.clone(), ours.clone(), note.clone());
            row
        }));
        if cells.is_empty() {
            return;
        }
        let head = ["", "ours", "measured", "first bar", "", "aim", "", "VL", "note"];
        cells.insert(0, head.map(str::to_owned));
        // A column that says nothing is left out.
        let says = |column: usize| cells.iter().skip(1).any(|row| !row[column].is_empty());
        let columns: Vec<usize> = (0..head.len()).filter(|column| says(*column)).collect();
        let cell = |row: &[String; 9], column: usize, width: usize| {
            let pad = " ".repeat(width.saturating_sub(wide(&row[column])));
            format!("{}{pad}", row[column])
        };
        if markdown {
            println!("\n### {}\n", self.title);
        } else {
            println!("\n{}", self.title);
        }
        let width =
            |column: usize| cells.iter().map(|row| wide(&row[column])).max().unwrap_or_default();
        for (n, row) in cells.iter().enumerate() {
            if markdown {
                let line: Vec<String> = columns.iter().map(|c| cell(row, *c, 0)).collect();
                println!("| {} |", line.join(" | "));
                if n == 0 {
                    println!("|{}", "---|".repeat(columns.len()));
                }
            } else {
                let line: Vec<String> = columns.iter().map(|c| cell(row, *c, width(*c))).collect();
                println!("  {}", line.join("  ").trim_end());
            }
        }
    }

    fn cells(&self, spec: &Spec, figure: &Figure) -> [String; 9] {
        let (first, aim) = self.written(spec.bar);
        let [name, vl] = [spec.name, spec.rival].map(str::to_owned);
        let (ours, note) = (figure.ours.clone(), figure.note.clone());
        let Some(measured) = figure.measured else {
            let none = String::new;
            return [name, ours, none(), first, none(), aim, none(), vl, note];
        };
        let (first_met, aim_met) = self.judged(spec.bar, measured);
        let measured = format!("{} {}", short(measured), spec.unit).trim_end().to_owned();
        [name, ours, measured, first, first_met, aim, aim_met, vl, note]
    }

    /// First bar and aim as numbers for this machine and size, and whether more is better.
    fn bars(&self, bar: Bar) -> (f64, f64, bool) {
        match bar {
            Bar::Times(first, aim) | Bar::Part(first, aim) => (first, aim, true),
            Bar::AtMost(first, aim) => (first, aim, false),
            Bar::Millis(first, aim) => (first * self.machine, aim * self.machine, false),
            Bar::MillisPerGib(first, aim) => {
                let scale = self.machine * self.size;
                (first * scale, aim * scale, false)
            }
        }
    }

    fn written(&self, bar: Bar) -> (String, String) {
        let (first, aim, _) = self.bars(bar);
        let write = |value: f64| match bar {
            Bar::Times(..) => format!("≥ {}", short(value)),
            Bar::Part(..) if value <= 1.0 => "rg".to_owned(),
            Bar::Part(..) => format!("rg/{}", short(value)),
            _ => format!("≤ {}", short(value)),
        };
        (write(first), write(aim))
    }

    fn judged(&self, bar: Bar, measured: f64) -> (String, String) {
        let (first, aim, more) = self.bars(bar);
        let judge = |bar: f64| {
            let off = if more { bar / measured } else { measured / bar };
            if off <= 1.0 { "met".to_owned() } else { format!("× {} off", short(off)) }
        };
        (judge(first), judge(aim))
    }
}

/// Three figures that count.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 99.95 || v == 0.0 => format!("{value:.0}"),
        v if v >= 9.995 => format!("{value:.1}"),
        v if v >= 0.0995 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// Bytes as MB.
pub(crate) fn mb(bytes: u64) -> String {
    format!("{} MB", short(float(bytes) / 1e6))
}

/// For ratios.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn float(n: u64) -> f64 {
    n as f64
}

/// Columns on a terminal: kana and kanji take two.
fn wide(text: &str) -> usize {
    text.chars().map(|c| if c >= '\u{2E80}' { 2 } else { 1 }).sum()
}
