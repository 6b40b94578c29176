//! What is printed in the end.

use std::time::Duration;

use serde_json::json;

use crate::attempt::{Attempt, End};
use crate::cells::{Cell, ROUND_TRIP, Share};

/// Of so many attempts of one cell that missed all that was said is printed.
const TOLD: usize = 2;
/// So many of the last lines of each process.
const LINES: usize = 40;

/// All of it.
pub(crate) struct Report<'a> {
    pub(crate) rows: Vec<Row<'a>>,
    pub(crate) took: Duration,
    pub(crate) parallel: usize,
}

/// One cell.
pub(crate) struct Row<'a> {
    cell: &'a Cell,
    attempts: Vec<Attempt>,
    /// With what is wrong, by the attempt's place.
    missed: Vec<(usize, String)>,
    /// In order.
    times: Vec<Duration>,
    ignored: Option<String>,
}

impl<'a> Row<'a> {
    pub(crate) fn new(cell: &'a Cell, attempts: Vec<Attempt>) -> Row<'a> {
        let missed = attempts.iter().enumerate().filter_map(|(at, one)| Some((at, cell.misses(one)?)));
        let missed = missed.collect();
        let times = attempts.iter().filter_map(|attempt| match attempt.end {
            End::Connected { took, .. } => Some(took),
            _ => None,
        });
        let mut times: Vec<_> = times.collect();
        times.sort();
        Row { cell, attempts, missed, times, ignored: None }
    }

    /// One that could not be measured here.
    pub(crate) fn ignored(cell: &'a Cell, why: String) -> Row<'a> {
        Row { ignored: Some(why), ..Row::new(cell, Vec::new()) }
    }

    /// What it misses of its goal, if anything.
    fn fault(&self) -> Option<String> {
        let count = self.attempts.len();
        let without = count - self.times.len();
        if self.ignored.is_some() {
            return None;
        }
        if without > 0 {
            return Some(format!("{without} of {count} without a connection"));
        }
        if self.missed.len() > self.cell.may_miss(count) {
            return Some(format!("{} of {count} missed", self.missed.len()));
        }
        if self.cell.goal.share == Share::Most {
            // What misses by being too late, or goes another way than by a relay, may not.
            let relayed = |(at, _): &&(usize, String)| matches!(&self.attempts[*at].end, End::Connected { via, .. } if via == "relayed");
            if self.missed.iter().filter(relayed).count() < self.missed.len() {
                return Some("what is not punched is to be relayed, in time".into());
            }
        }
        let limit = self.cell.median_limit().filter(|limit| self.median() > *limit)?;
        Some(format!("the median is {} ms, more than {} ms", self.median().as_millis(), limit.as_millis()))
    }

    /// How many took longer than half of them may.
    fn slow(&self) -> usize {
        let limit = self.cell.median_limit().unwrap_or(Duration::MAX);
        self.times.iter().filter(|took| **took > limit).count()
    }

    fn median(&self) -> Duration {
        self.part(0.5)
    }

    /// So that this part of all took no longer.
    fn part(&self, part: f64) -> Duration {
        part_of(&self.times, part)
    }

    /// Each way that was found, with how often where there is more than one.
    fn ways(&self) -> String {
        let mut ways: Vec<(&str, usize)> = Vec::new();
        for attempt in &self.attempts {
            let End::Connected { via, .. } = &attempt.end else { continue };
            match ways.iter_mut().find(|(way, _)| way == via) {
                Some((_, count)) => *count += 1,
                None => ways.push((via, 1)),
            }
        }
        match &ways[..] {
            [] => "none".into(),
            [(way, _)] => (*way).into(),
            several => several.iter().map(|(way, n)| format!("{n} {way}")).collect::<Vec<_>>().join(", "),
        }
    }

    fn round_trips(&self) -> f64 {
        self.median().saturating_sub(self.cell.skew).as_secs_f64() / ROUND_TRIP.as_secs_f64()
    }

    fn print(&self) {
        let Row { cell, attempts, missed, .. } = self;
        let (name, goal) = (cell.name(), &cell.goal);
        if let Some(why) = &self.ignored {
            println!("| {name} | {goal} | ignored: {why} | | | | | |");
            return;
        }
        let mark = if self.fault().is_some() { " **missed**" } else { "" };
        let (count, good) = (attempts.len(), attempts.len() - missed.len());
        let [median, most, worst] = [0.5, 0.95, 1.0].map(|part| self.part(part).as_millis());
        let (ways, trips) = (self.ways(), self.round_trips());
        println!(
            "| {name} | {goal} | {good}/{count}{mark} | {ways} | {median} | {trips:.1} | {most} | {worst} |"
        );
    }

    /// Why each attempt that missed did so.
    fn explain(&self) {
        if let Some(fault) = self.fault() {
            println!("- **{}**: {fault}", self.cell.name());
        }
        for (place, (at, why)) in self.missed.iter().enumerate() {
            let attempt = &self.attempts[*at];
            println!("- {}, attempt {}: {why}", self.cell.name(), attempt.number + 1);
            if place >= TOLD {
                continue;
            }
            for (who, trace) in &attempt.traces {
                println!("    - {who}:\n");
                let lines: Vec<_> = trace.lines().collect();
                let last = lines.len().saturating_sub(LINES);
                lines[last..].iter().for_each(|line| println!("          {line}"));
                println!();
            }
        }
    }

    fn print_json(&self) {
        let name = self.cell.name();
        for (at, attempt) in self.attempts.iter().enumerate() {
            let (via, took) = match &attempt.end {
                End::Connected { via, took } => (Some(via), Some(took.as_secs_f64() * 1e3)),
                _ => (None, None),
            };
            let why = self.missed.iter().find(|(missed, _)| *missed == at).map(|(_, why)| why);
            let traces: serde_json::Map<_, _> =
                attempt.traces.iter().map(|(who, trace)| ((*who).into(), trace.clone().into())).collect();
            let stalled = attempt.stalled.as_secs_f64() * 1e3;
            println!(
                "{}",
                json!({
                    "event": "attempt", "pair": name, "attempt": attempt.number + 1, "via": via, "ms": took,
                    "missed": why, "stalled_ms": stalled, "traces": traces,
                })
            );
        }
        let [median, most, worst] = [0.5, 0.95, 1.0].map(|part| self.part(part).as_secs_f64() * 1e3);
        println!(
            "{}",
            json!({
                "event": "cell", "pair": name, "expected": self.cell.goal.to_string(),
                "attempts": self.attempts.len(), "missed": self.missed.len(), "way": self.ways(),
                "median_ms": median, "median_round_trips": self.round_trips(), "p95_ms": most,
                "worst_ms": worst, "fault": self.fault(), "ignored": self.ignored,
            })
        );
    }
}

impl Report<'_> {
    /// Whether every cell has reached its goal.
    pub(crate) fn is_good(&self) -> bool {
        self.rows.iter().all(|row| row.fault().is_none()) && self.shares_are_good()
    }

    /// As Markdown.
    pub(crate) fn print(&self) {
        println!("| pair | expected | success | way | median ms | in round trips | p95 ms | worst ms |");
        println!("|---|---|---|---|---|---|---|---|");
        self.rows.iter().for_each(Row::print);
        println!("\n| kind of pair | cells | as expected | way | median ms | in round trips | p95 ms |");
        println!("|---|--:|--:|---|--:|--:|--:|");
        let mut kinds: Vec<&str> = self.rows.iter().map(|row| row.cell.kind()).collect();
        kinds.dedup();
        kinds.iter().for_each(|kind| self.print_kind(kind));
        println!("\n{}", self.summary());
        let (most, missed) = self.shares();
        if most > 0 {
            println!("Of {most} attempts of which 95 % are to succeed {missed} did not.");
        }
        self.rows.iter().for_each(Row::explain);
    }

    /// All cells of a kind in one row; what signals were late is subtracted from each time.
    fn print_kind(&self, kind: &str) {
        let rows: Vec<&Row> = self.rows.iter().filter(|row| row.cell.kind() == kind).collect();
        let count: usize = rows.iter().map(|row| row.attempts.len()).sum();
        let good = count - rows.iter().map(|row| row.missed.len()).sum::<usize>();
        let mut times: Vec<Duration> = rows
            .iter()
            .flat_map(|row| row.times.iter().map(|took| took.saturating_sub(row.cell.skew)))
            .collect();
        times.sort();
        let [median, most] = [0.5, 0.95].map(|part| part_of(&times, part));
        let trips = median.as_secs_f64() / ROUND_TRIP.as_secs_f64();
        let mut ways: Vec<&str> = rows.iter().flat_map(|row| row.cell.goal.ways).copied().collect();
        ways.sort_unstable();
        ways.dedup();
        let (ways, cells) = (ways.join(", "), rows.len());
        let (median, most) = (median.as_millis(), most.as_millis());
        println!("| {kind} | {cells} | {good}/{count} | {ways} | {median} | {trips:.1} | {most} |");
    }

    /// One object a line.
    pub(crate) fn print_json(&self) {
        self.rows.iter().for_each(Row::print_json);
        println!("{}", json!({ "event": "end", "good": self.is_good(), "seconds": self.took.as_secs_f64() }));
    }

    fn summary(&self) -> String {
        let attempts = self.rows.iter().flat_map(|row| &row.attempts);
        let mut stalls: Vec<_> = attempts.map(|attempt| attempt.stalled).collect();
        stalls.sort();
        let at = |part: f64| {
            let place = (stalls.len() as f64 * part).ceil() as usize;
            stalls.get(place.saturating_sub(1)).map_or(0.0, |stall| stall.as_secs_f64() * 1e3)
        };
        let slow: usize = self.rows.iter().map(Row::slow).sum();
        format!(
            "{} attempts in {} cells in {:.0} s, {} cells at once, {} ms from one site to the other and back. {slow} took \
             longer than the round trips (RT) that are expected of half of them. This machine stood still for {:.1} ms of an \
             attempt in the median and {:.1} ms at worst.",
            stalls.len(),
            self.rows.len(),
            self.took.as_secs_f64(),
            self.parallel,
            ROUND_TRIP.as_millis(),
            at(0.5),
            at(1.0),
        )
    }

    /// Attempts in cells of which not all have to succeed, and how many of them missed.
    fn shares(&self) -> (usize, usize) {
        let rows = self.rows.iter().filter(|row| row.cell.goal.share == Share::Most);
        rows.fold((0, 0), |(most, missed), row| (most + row.attempts.len(), missed + row.missed.len()))
    }

    /// A few attempts can not tell 95 of 100 from 90; those of all such cells together can.
    fn shares_are_good(&self) -> bool {
        let (most, missed) = self.shares();
        missed <= most.div_ceil(20)
    }
}

/// Of times in order, one that this part of all did not exceed.
fn part_of(times: &[Duration], part: f64) -> Duration {
    let at = (times.len() as f64 * part).ceil() as usize;
    times.get(at.saturating_sub(1)).copied().unwrap_or_default()
}
