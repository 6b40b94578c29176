//! Counts of small whole numbers: their mean and quantiles.

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    counts: Vec<u64>,
    total: u64,
}

impl Tally {
    pub fn add(&mut self, value: usize) {
        if self.counts.len() <= value {
            self.counts.resize(value + 1, 0);
        }
        self.counts[value] += 1;
        self.total += 1;
    }

    pub fn total(&self) -> u64 {
        self.total
    }

    pub fn mean(&self) -> f64 {
        let sum: u64 = self.counts.iter().zip(0..).map(|(count, value)| count * value).sum();
        sum as f64 / self.total as f64
    }

    /// The smallest value that so many, as a part, do not exceed.
    pub fn quantile(&self, part: f64) -> usize {
        let wanted = part * self.total as f64;
        let mut so_far = 0;
        let reaches = |count: &u64| {
            so_far += count;
            so_far as f64 >= wanted
        };
        self.counts.iter().position(reaches).unwrap_or(self.counts.len().saturating_sub(1))
    }

    pub fn max(&self) -> usize {
        self.counts.iter().rposition(|&count| count > 0).unwrap_or_default()
    }

    /// How many had that value, as a part.
    pub fn part(&self, value: usize) -> f64 {
        self.counts.get(value).map_or(0.0, |&count| count as f64 / self.total as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_and_mean() {
        let mut tally = Tally::default();
        (1..=100).for_each(|value| tally.add(value));
        assert_eq!((tally.quantile(0.01), tally.quantile(0.5), tally.quantile(0.99)), (1, 50, 99));
        assert_eq!((tally.max(), tally.total()), (100, 100));
        assert_eq!(tally.mean(), 50.5);
    }
}
