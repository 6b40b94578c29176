//! Which cells are measured, how often, and how many at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use crate::attempt::{Attempt, attempt};
use crate::cells::{self, Cell};
use crate::gauge::Gauge;
use crate::ground::Ground;
use crate::lab::Means;
use crate::report::{Report, Row};

const USAGE: &str = "\
Nodes behind NATs of every kind connect to each other by UNL; how often, by which way and how fast is the table.

    cargo run --release --example nat_matrix -- [OPTIONS]

    --attempts N    so many in each cell; 10 when it is left out, 100 for a release
    --cells TEXT    only cells whose name, as in the first column, has this in it; may be repeated
    --full          every combination of filters and delays of signals, not a sample that covers all pairs of them
    --parallel N    so many cells at once; 6 when it is left out
    --json          one JSON object a line instead of the table
    --list          only the names of the cells

Ends with 1 when a cell misses its goal. What an attempt that failed has said is printed; none is repeated. Needs Linux,
root, iproute2 and nftables, and miniupnpd for some cells; without, it says `ignored:` and ends with 0.
";

/// So many attempts are made in one network, one after another.
const SERIES: usize = 10;

/// What was asked for on the command line.
#[derive(Debug)]
struct Wishes {
    attempts: usize,
    parallel: usize,
    filters: Vec<String>,
    full: bool,
    json: bool,
    list: bool,
}

/// Whether every cell has reached its goal.
pub(crate) fn run(mut words: impl Iterator<Item = String>) -> Result<bool, String> {
    let Some(wishes) = Wishes::read(&mut words)? else {
        print!("{USAGE}");
        return Ok(true);
    };
    let mut cells = cells::all(wishes.full);
    cells.retain(|cell| wishes.takes(&cell.name()));
    if wishes.list {
        cells.iter().for_each(|cell| println!("{:60} {}", cell.name(), cell.goal));
        return Ok(true);
    }
    if cells.is_empty() {
        return Err("no cell has such a name; see --list".into());
    }
    let means = Means::find();
    if let Err(why) = means.meet(&[crate::lab::Need::Network]) {
        println!("ignored: {why}");
        return Ok(true);
    }
    let start = Instant::now();
    let results = measure(&cells, &means, &wishes);
    let rows = cells.iter().zip(results).map(|(cell, attempts)| match means.meet(&cell.needs()) {
        Ok(()) => Row::new(cell, attempts),
        Err(why) => Row::ignored(cell, why),
    });
    let report = Report { rows: rows.collect(), took: start.elapsed(), parallel: wishes.parallel };
    if wishes.json {
        report.print_json()
    } else {
        report.print()
    }
    Ok(report.is_good())
}

impl Wishes {
    /// `None`: help is wanted.
    fn read(words: &mut impl Iterator<Item = String>) -> Result<Option<Wishes>, String> {
        let mut wishes = Wishes {
            attempts: 10,
            // They wait for most of the time. With many more this machine would be what is measured.
            parallel: 6,
            filters: Vec::new(),
            full: false,
            json: false,
            list: false,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} wants a value"));
            match word.as_str() {
                "--help" | "-h" => return Ok(None),
                "--attempts" => wishes.attempts = number(&value()?)?,
                "--parallel" => wishes.parallel = number(&value()?)?,
                "--cells" => wishes.filters.push(value()?),
                "--full" => wishes.full = true,
                "--json" => wishes.json = true,
                "--list" => wishes.list = true,
                _ => return Err(format!("{word:?} is unknown here, see --help")),
            }
        }
        Ok(Some(wishes))
    }

    fn takes(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| name.contains(filter))
    }
}

fn number(text: &str) -> Result<usize, String> {
    // Each attempt has ports of its own.
    match text.parse() {
        Ok(number) if (1..=1000).contains(&number) => Ok(number),
        _ => Err(format!("{text:?} is no number from 1 to 1000")),
    }
}

/// All attempts of all cells, in their order; none where something is missing.
fn measure(cells: &[Cell], means: &Means, wishes: &Wishes) -> Vec<Vec<Attempt>> {
    let series = |cell: usize| {
        let starts = (0..wishes.attempts).step_by(SERIES);
        starts.map(move |from| (cell, from..wishes.attempts.min(from + SERIES)))
    };
    let can_be = |cell: &usize| means.meet(&cells[*cell].needs()).is_ok();
    let jobs: Vec<_> = (0..cells.len()).filter(can_be).flat_map(series).collect();
    let gauge = Gauge::start();
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let results: Vec<_> = cells.iter().map(|_| Mutex::new(Vec::new())).collect();
    thread::scope(|scope| {
        for _ in 0..wishes.parallel {
            scope.spawn(|| {
                while let Some((at, numbers)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let cell = &cells[*at];
                    let attempts = in_a_row(cell, &gauge, numbers.clone());
                    let missed = attempts.iter().filter(|attempt| cell.misses(attempt).is_some()).count();
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    let count = attempts.len();
                    eprintln!("{done}/{}: {}: {} of {count}", jobs.len(), cell.name(), count - missed);
                    results[*at].lock().unwrap_or_else(PoisonError::into_inner).extend(attempts);
                }
            });
        }
    });
    let results =
        results.into_iter().map(|result| result.into_inner().unwrap_or_else(PoisonError::into_inner));
    let sorted = results.map(|mut attempts: Vec<Attempt>| {
        attempts.sort_by_key(|attempt| attempt.number);
        attempts
    });
    sorted.collect()
}

fn in_a_row(cell: &Cell, gauge: &Gauge, numbers: std::ops::Range<usize>) -> Vec<Attempt> {
    match Ground::build(cell.layout, cell.busy) {
        Ok(ground) => numbers.map(|number| attempt(&ground, gauge, cell, number)).collect(),
        Err(why) => numbers.map(|number| Attempt::without_network(number, &why)).collect(),
    }
}
