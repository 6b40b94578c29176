//! Looks at single calls, and adds up what they cost.

use crate::statistics::Rounds;
use crate::usage;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub const CALLS: &str = "calls";
pub const WAITED: &str = "calls that waited";
pub const MEDIAN: &str = "median, us";
pub const TAIL: &str = "p99.9, us";
pub const MAX: &str = "max, us";
const BY_CALL: &str = "p99.9 by call, us";

/// The processor microseconds of each call, by the call's name.
#[derive(Default)]
pub struct Tally {
    costs: BTreeMap<&'static str, Rounds>,
    waited: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub fn call<T>(&mut self, name: &'static str, call: impl FnOnce() -> T) -> T {
        let waits = usage::waits();
        let begin = usage::thread_time();
        let result = call();
        let cost = usage::thread_time() - begin;
        if usage::waits() != waits {
            *self.waited.entry(name).or_default() += 1;
        }
        self.costs.entry(name).or_default().push(cost.as_nanos() as f64 / 1000.0);
        result
    }

    /// How many calls waited.
    pub fn waited(&self) -> u64 {
        self.waited.values().sum()
    }

    pub fn numbers(&self) -> Value {
        for (name, count) in &self.waited {
            eprintln!("peers: calls: {name} waited {count} times");
        }
        let mut all = Rounds::default();
        self.costs.values().flat_map(Rounds::values).for_each(|&cost| all.push(cost));
        let tails: BTreeMap<_, _> =
            self.costs.iter().map(|(name, costs)| (*name, costs.quantile(0.999))).collect();
        json!({
            CALLS: all.values().len(), WAITED: self.waited(),
            MEDIAN: all.median(), TAIL: all.quantile(0.999), MAX: all.max(), BY_CALL: tails,
        })
    }
}

/// The call of the largest 99.9th percentile. Those that cost nothing outnumber the others, and would hide them.
pub struct Costliest {
    pub name: String,
    pub tail: f64,
}

impl Costliest {
    pub fn of(numbers: &Value) -> Self {
        let tails = numbers[BY_CALL].as_object().into_iter().flatten();
        let tails = tails.map(|(name, tail)| (name.clone(), tail.as_f64().unwrap_or(f64::NAN)));
        let (name, tail) = tails.max_by(|one, other| one.1.total_cmp(&other.1)).unwrap_or_default();
        Self { name, tail }
    }
}
