//! One experiment a file.

mod churn;
mod halves;
mod ideal_paths;
mod liars;
mod life;
mod load;
mod mass_failure;
mod memory;
mod million;
mod scale;
mod size;
mod small_ring;
mod trouble;
mod truth;

pub use churn::{Cell as ChurnCell, Outcome as ChurnOutcome};
pub use ideal_paths::Paths;
pub use life::Way;
pub use mass_failure::Repair;

use crate::lab::Lab;

pub struct Experiment {
    pub name: &'static str,
    title: &'static str,
    run: fn(&mut Lab),
}

impl Experiment {
    pub fn run(&self, lab: &mut Lab) {
        lab.report.begin(self.name, self.title);
        (self.run)(lab);
    }
}

pub const ALL: &[Experiment] = &[
    Experiment { name: "small", title: "A small ring", run: small_ring::run },
    Experiment { name: "paths", title: "Path length in an ideal ring", run: ideal_paths::run },
    Experiment { name: "load", title: "Keys a member, with virtual members", run: load::run },
    Experiment { name: "failure", title: "A part of the members fails at once", run: mass_failure::run },
    Experiment { name: "churn", title: "Look-ups while members come and go", run: churn::run },
    Experiment { name: "churn-large", title: "The same in a ring of 10,000", run: churn::run_large },
    Experiment { name: "trouble", title: "A bad network", run: trouble::run },
    Experiment { name: "halves", title: "Two halves, healed", run: halves::run },
    Experiment { name: "liars", title: "Droppers and liars", run: liars::run },
    Experiment { name: "scale", title: "A large ring whose members come and go", run: scale::run },
    Experiment { name: "million", title: "A very large ring", run: million::run },
    Experiment { name: "size", title: "How many are we?", run: size::run },
];
