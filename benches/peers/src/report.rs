//! What is printed: a table for each measurement as soon as it is done, and at the end what was to be reached.

use crate::Result;
use serde_json::{Value, json};
use std::path::Path;

pub struct Table {
    title: String,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Table {
    pub fn new(title: impl Into<String>, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|column| column.to_string()).collect();
        Self { title: title.into(), rows: vec![columns], notes: Vec::new() }
    }

    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    fn print(&self) {
        println!("\n{}\n", self.title);
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
            println!("| {} |", cells.collect::<Vec<_>>().join(" | "));
            if number == 0 {
                let rules = widths.iter().enumerate().map(|(column, &width)| match column {
                    0 => "-".repeat(width + 2),
                    _ => "-".repeat(width + 1) + ":",
                });
                println!("|{}|", rules.collect::<Vec<_>>().join("|"));
            }
        }
        for note in &self.notes {
            println!("  {note}");
        }
    }
}

struct Target {
    what: &'static str,
    measured: String,
    wanted: &'static str,
    reached: Option<bool>,
}

#[derive(Default)]
pub struct Report {
    targets: Vec<Target>,
    rounds: Vec<Value>,
}

impl Report {
    pub fn table(&mut self, table: Table) {
        table.print();
    }

    /// Keeps all rounds for the file.
    pub fn rounds(&mut self, measurement: &str, contestant: &str, unit: &str, values: &[f64]) {
        self.rounds.push(json!({
            "measurement": measurement, "contestant": contestant, "unit": unit, "rounds": values,
        }));
    }

    /// `None`: it could not be measured in this run.
    pub fn at_least(&mut self, what: &'static str, measured: Option<f64>, least: f64, wanted: &'static str) {
        self.target(what, measured, |value| value >= least, wanted);
    }

    pub fn at_most(&mut self, what: &'static str, measured: Option<f64>, most: f64, wanted: &'static str) {
        self.target(what, measured, |value| value <= most, wanted);
    }

    pub fn below(&mut self, what: &'static str, measured: Option<f64>, bound: f64, wanted: &'static str) {
        self.target(what, measured, |value| value < bound, wanted);
    }

    fn target(
        &mut self,
        what: &'static str,
        measured: Option<f64>,
        reached: impl Fn(f64) -> bool,
        wanted: &'static str,
    ) {
        let measured = measured.filter(|value| value.is_finite());
        let text = measured.map_or("not measured".into(), |value| format!("{value:.2}"));
        self.targets.push(Target { what, measured: text, wanted, reached: measured.map(reached) });
    }

    pub fn finish(&self, file: Option<&Path>) -> Result<()> {
        let mut table = Table::new("p2poll's targets", &["what", "measured", "target", "reached"]);
        for target in &self.targets {
            let reached = match target.reached {
                Some(true) => "yes",
                Some(false) => "NO",
                None => "-",
            };
            table.row(vec![
                target.what.into(),
                target.measured.clone(),
                target.wanted.into(),
                reached.into(),
            ]);
        }
        table.print();
        match file {
            Some(file) => self.write(file),
            None => Ok(()),
        }
    }

    fn write(&self, file: &Path) -> Result<()> {
        let target = |target: &Target| {
            json!({
                "what": target.what, "measured": target.measured, "target": target.wanted, "reached": target.reached,
            })
        };
        let targets: Vec<Value> = self.targets.iter().map(target).collect();
        let text = serde_json::to_string_pretty(&json!({ "targets": targets, "measurements": self.rounds }))?;
        Ok(std::fs::write(file, text + "\n")?)
    }
}

/// `12.3 M`, `456 k`, `7.89`.
pub fn short(value: f64) -> String {
    match value {
        value if !value.is_finite() => "-".into(),
        value if value >= 1e6 => format!("{:.2} M", value / 1e6),
        value if value >= 1e4 => format!("{:.0} k", value / 1e3),
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

pub fn ratio(value: Option<f64>) -> String {
    value.filter(|value| value.is_finite()).map_or("-".into(), |value| format!("{value:.2}"))
}
