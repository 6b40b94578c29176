//! What is printed: tables as soon as they are done, and at the end which bounds were kept.

/// A table in Markdown.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(columns: &[&str]) -> Self {
        Self { rows: vec![columns.iter().map(|column| column.to_string()).collect()] }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// As Markdown.
    fn text(&self) -> String {
        let mut text = String::new();
        let columns = self.rows[0].len();
        let width =
            |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (number, row) in self.rows.iter().enumerate() {
            // Names to the left, numbers to the right.
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            text += &format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "));
            if number == 0 {
                let rules = widths.iter().enumerate().map(|(column, &width)| match column {
                    0 => "-".repeat(width + 2),
                    _ => "-".repeat(width + 1) + ":",
                });
                text += &format!("|{}|\n", rules.collect::<Vec<_>>().join("|"));
            }
        }
        text
    }
}

/// What a row has to reach.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    AtMost(f64),
    AtLeast(f64),
    /// So near to that.
    Near(f64, f64),
}

impl Bound {
    fn holds(self, measured: f64) -> bool {
        match self {
            Self::AtMost(most) => measured <= most,
            Self::AtLeast(least) => measured >= least,
            // The last digit that was published is rounded; what floating point does to it must not decide.
            Self::Near(target, by) => (measured - target).abs() <= by * (1.0 + 1e-9),
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtMost(most) => format!("at most {}", short(most)),
            Self::AtLeast(least) => format!("at least {}", short(least)),
            Self::Near(target, by) => format!("{} give or take {}", short(target), short(by)),
        }
    }
}

#[derive(Default)]
pub struct Report {
    experiment: &'static str,
    /// What the experiment has printed, without its title.
    section: String,
    kept: Vec<Kept>,
    missed: Vec<Missed>,
}

struct Missed {
    experiment: &'static str,
    row: String,
    what: &'static str,
    measured: f64,
    bound: Bound,
}

impl Missed {
    fn text(&self) -> String {
        let Self { experiment, row, what, measured, bound } = self;
        format!("{experiment}, {row}: {what} is {}, not {}", short(*measured), bound.text())
    }
}

struct Kept {
    experiment: &'static str,
    what: &'static str,
    kept: usize,
    of: usize,
}

impl Report {
    pub fn begin(&mut self, experiment: &'static str, title: &str) {
        self.experiment = experiment;
        println!("\n## {title}");
    }

    /// Says which bounds of the experiment were missed. All that it has printed.
    pub fn end(&mut self) -> String {
        let experiment = self.experiment;
        let (kept, of) = self
            .kept
            .iter()
            .filter(|entry| entry.experiment == experiment)
            .fold((0, 0), |(kept, of), entry| (kept + entry.kept, of + entry.of));
        self.note(&format!("Within their bounds: {kept} figures of {of}."));
        let missed: Vec<String> =
            self.missed.iter().filter(|missed| missed.experiment == experiment).map(Missed::text).collect();
        missed.iter().for_each(|missed| self.note(&format!("MISSED: {missed}")));
        std::mem::take(&mut self.section)
    }

    pub fn table(&mut self, about: &str, table: &Table) {
        self.print(&format!("\n{about}\n\n{}", table.text()));
    }

    pub fn note(&mut self, note: &str) {
        self.print(&format!("\n{note}\n"));
    }

    fn print(&mut self, text: &str) {
        print!("{text}");
        self.section += text;
    }

    /// Compares one figure of one row with its bound.
    pub fn require(&mut self, row: &str, what: &'static str, measured: f64, bound: Bound) {
        let experiment = self.experiment;
        let is_it = |kept: &&mut Kept| kept.experiment == experiment && kept.what == what;
        let holds = bound.holds(measured);
        match self.kept.iter_mut().find(is_it) {
            Some(entry) => {
                entry.of += 1;
                entry.kept += usize::from(holds);
            }
            None => self.kept.push(Kept { experiment, what, kept: usize::from(holds), of: 1 }),
        }
        if !holds {
            let missed = Missed { experiment, row: row.into(), what, measured, bound };
            eprintln!("{}", missed.text());
            self.missed.push(missed);
        }
    }

    /// The last tables. Whether all bounds were kept.
    pub fn finish(&mut self) -> bool {
        println!("\n## Bounds");
        let mut table = Table::new(&["experiment", "what", "rows within its bound", "of"]);
        for Kept { experiment, what, kept, of } in &self.kept {
            table.row([experiment.to_string(), what.to_string(), kept.to_string(), of.to_string()]);
        }
        self.table("Each figure that has a bound was compared with it.", &table);
        if self.missed.is_empty() {
            self.note("All bounds were kept.");
            return true;
        }
        let missed: Vec<String> = self.missed.iter().map(Missed::text).collect();
        missed.iter().for_each(|missed| self.note(&format!("MISSED: {missed}")));
        false
    }
}

/// As many digits as say something.
pub fn short(value: f64) -> String {
    match value {
        value if !value.is_finite() => "-".into(),
        value if value == value.trunc() && value.abs() < 1e9 => format!("{value:.0}"),
        value if value.abs() >= 1000.0 => format!("{value:.0}"),
        value if value.abs() >= 10.0 => format!("{value:.1}"),
        // Parts of one tell much by their third digit.
        value if value.abs() >= 1.0 => format!("{value:.2}"),
        value => format!("{value:.4}").trim_end_matches('0').to_string(),
    }
}

pub fn two(value: f64) -> String {
    if value.is_finite() { format!("{value:.2}") } else { "-".into() }
}

pub fn percent(part: f64) -> String {
    format!("{:.2} %", 100.0 * part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_miss_is_a_miss() {
        let mut report = Report::default();
        report.require("row", "what", 2.0, Bound::AtMost(2.0));
        report.require("row", "what", 2.0, Bound::AtLeast(2.0));
        report.require("row", "what", 2.05, Bound::Near(2.0, 0.05));
        assert!(report.finish());
        for (measured, bound) in
            [(2.1, Bound::AtMost(2.0)), (1.9, Bound::AtLeast(2.0)), (2.06, Bound::Near(2.0, 0.05))]
        {
            let mut report = Report::default();
            report.require("row", "what", measured, bound);
            assert!(!report.finish());
        }
        let mut report = Report::default();
        report.require("row", "what", f64::NAN, Bound::AtMost(2.0));
        assert!(!report.finish(), "what was not measured is not kept");
    }
}
