//! Look-ups while members come and go (ToN 2003, section VI-E, Table III), with the join kick and without.

use std::time::Duration;

use super::life::{Life, Way};
use crate::lab::Lab;
use crate::progress::Progress;
use crate::proto::ring::Settings;
use crate::published::CHURN;
use crate::report::{Bound, Table, two};
use crate::tally::Tally;

#[derive(Clone, Copy)]
pub struct Cell {
    pub members: usize,
    /// Of Table III, for 1000 members; a ring of ten times as many has ten times as many joins and leaves.
    pub row: usize,
    pub way: Way,
    pub kick: bool,
    look_ups: usize,
    seed: u64,
}

#[derive(Default)]
pub struct Outcome {
    path: Tally,
    timeouts: Tally,
    pub failed: u64,
    wrong: u64,
    pub look_ups: u64,
    joined: u64,
    not_joined: u64,
    members_at_end: usize,
}

const LIST: usize = 20;
const A_SECOND: f64 = 100.0;
/// Before the first look-up that counts.
const WARM_UP: Duration = Duration::from_secs(300);

pub fn run(lab: &mut Lab) {
    let rows: &[usize] = lab.size(&[0, 1, 2, 3, 4, 5, 6, 7], &[3, 7]);
    // Of all rates together it is a million.
    let look_ups = lab.size(125_000, 100_000);
    experiment(lab, 1000, rows, [look_ups, lab.size(look_ups, look_ups / 5)]);
}

/// Only at full size: CI has the small ring alone.
pub fn run_large(lab: &mut Lab) {
    if lab.is_ci {
        return lab.report.note("Only at full size.");
    }
    experiment(lab, 10_000, &[0, 1, 2, 3, 4, 5, 6, 7], [125_000, 25_000]);
}

/// So many look-ups a row: with the kick, and without it.
fn experiment(lab: &mut Lab, members: usize, rows: &[usize], look_ups: [usize; 2]) {
    let mut cells = Vec::new();
    for &row in rows {
        for way in [Way::Crashes, Way::Leaves] {
            let seed = lab.seed_of("churn", (members * 100 + row * 4) as u64);
            let cell = Cell { members, row, way, kick: true, look_ups: look_ups[0], seed };
            cells.extend([cell, Cell { kick: false, look_ups: look_ups[1], ..cell }]);
        }
    }
    let outcomes = lab.each("churn", &cells, measure);
    let results: Vec<(Cell, Outcome)> = cells.into_iter().zip(outcomes).collect();
    table(lab, members, &results);
    crate::pictures::churn::draw(lab, &results);
}

fn measure(cell: &Cell, progress: &mut Progress) -> Outcome {
    let Cell { members, row, way, kick, look_ups, seed } = *cell;
    let settings =
        Settings { list: LIST, stabilise_every: Duration::from_secs(30), kick, ..Settings::default() };
    let rate = CHURN[row].rate * members as f64 / 1000.0;
    let mut life = Life::new(members, settings, rate, way, seed);
    life.run_for(WARM_UP);
    life.look_ups_a_second(A_SECOND);
    let time = look_ups as f64 / A_SECOND;
    (0..100).for_each(|step| {
        life.run_for(Duration::from_secs_f64(time / 100.0));
        progress.at(f64::from(step + 1) / 100.0);
    });
    life.look_ups_a_second(0.0);
    life.run_for(Duration::from_secs(20));
    let mut outcome = Outcome::default();
    for ended in life.world.ended.drain(..) {
        outcome.look_ups += 1;
        outcome.failed += u64::from(!ended.is_right);
        if let Ok(found) = ended.outcome {
            outcome.wrong += u64::from(!ended.is_right);
            outcome.path.add(found.hops.into());
            outcome.timeouts.add(found.timeouts.into());
        }
    }
    (outcome.joined, outcome.not_joined) = life.joins();
    outcome.members_at_end = life.world.census.len();
    outcome
}

fn table(lab: &mut Lab, members: usize, results: &[(Cell, Outcome)]) {
    let mut table = Table::new(&[
        "joins and leaves a second",
        "they",
        "look-ups",
        "failed of 10,000",
        "(of them wrong)",
        "without kick",
        "of look-ups",
        "paper",
        "path (p1, p99)",
        "paper",
        "timeouts (p1, p99)",
        "paper",
        "joined",
        "not (yet)",
    ]);
    let (mut failed, mut look_ups) = (0, 0);
    for (cell, outcome) in results.iter().filter(|(cell, _)| cell.members == members && cell.kick) {
        let published = &CHURN[cell.row];
        let rate = published.rate * members as f64 / 1000.0;
        let without = results.iter().find(|(other, _)| {
            (other.members, other.row, other.way, other.kick) == (members, cell.row, cell.way, false)
        });
        let tally = |tally: &Tally| {
            format!("{} ({}, {})", two(tally.mean()), tally.quantile(0.01), tally.quantile(0.99))
        };
        let theirs = |(mean, [p1, p99]): (f64, [usize; 2])| format!("{} ({p1}, {p99})", two(mean));
        let of_ten_thousand = |part: u64| two(1e4 * part as f64 / outcome.look_ups as f64);
        table.row([
            two(rate),
            cell.way.to_string(),
            outcome.look_ups.to_string(),
            of_ten_thousand(outcome.failed),
            of_ten_thousand(outcome.wrong),
            without.map_or("-".into(), |(_, without)| two(without.failures())),
            without.map_or("-".into(), |(_, without)| without.look_ups.to_string()),
            published.failures.to_string(),
            tally(&outcome.path),
            theirs(published.path),
            tally(&outcome.timeouts),
            theirs(published.timeouts),
            outcome.joined.to_string(),
            outcome.not_joined.to_string(),
        ]);
        failed += outcome.failed;
        look_ups += outcome.look_ups;
        let row = format!("N = {members}, {rate} a second, they {}", cell.way);
        lab.report.require(&row, "failed of 10,000", outcome.failures(), Bound::AtMost(2.0));
    }
    for way in [Way::Crashes, Way::Leaves] {
        let of_this = || results.iter().filter(|(cell, _)| cell.way == way && cell.kick);
        let failed: u64 = of_this().map(|(_, outcome)| outcome.failed).sum();
        let look_ups: u64 = of_this().map(|(_, outcome)| outcome.look_ups).sum();
        let row = format!("N = {members}, they {way}, all {look_ups}");
        lab.report.require(
            &row,
            "failed of 10,000",
            1e4 * failed as f64 / look_ups as f64,
            Bound::AtMost(2.0),
        );
    }
    let about = format!(
        "{members} members, r = {LIST}, each stabilises and looks after one finger in 15 to 45 s, 100 ms round trip, 100 \
         look-ups a second; who asked never asks again, hops go around those who do not answer. Failed: no answer, or one \
         that was not the owner at any instant of the look-up. The paper's figures are for 1000 members, 1 look-up a \
         second and leaves. With the join kick {} of 10,000 failed over all {look_ups}.",
        two(1e4 * failed as f64 / look_ups.max(1) as f64),
    );
    lab.report.table(&about, &table);
}

impl Outcome {
    /// Of 10,000.
    pub fn failures(&self) -> f64 {
        1e4 * self.failed as f64 / self.look_ups as f64
    }
}
