//! The command line.

use std::path::PathBuf;

pub const HELP: &str = "\
The experiments of Chord's paper and some more, on p2poll's own machine under a virtual clock.
Prints tables in Markdown; what it is at, it says on standard error.

  cargo run --release --manifest-path benches/ring_sim/Cargo.toml -- [OPTIONS]

  --ci             at a small size: minutes instead of hours
  --only NAME      one experiment; may be repeated. Their names:
                   EXPERIMENTS
  --seed N         another seed than 1. The same seed prints the same tables, but for what a clock measured
  --jobs N         so many runs at once (1); the speed of the scale experiment means something with 1 only
  --pictures DIR   draws pictures of what was run there, as SVG
  --page FILE      puts the tables there, too, between the lines <!-- NAME begins --> and <!-- NAME ends -->
  --help           this text

The status is 1 when a row misses its bound: the last table names it.
";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub is_ci: bool,
    pub seed: u64,
    pub jobs: usize,
    pub pictures: Option<PathBuf>,
    pub page: Option<PathBuf>,
    only: Vec<String>,
}

impl Options {
    /// `None`: help was asked for.
    pub fn parse(
        mut arguments: impl Iterator<Item = String>,
        known: &[&str],
    ) -> Result<Option<Self>, String> {
        let mut options =
            Self { is_ci: false, seed: 1, jobs: 1, pictures: None, page: None, only: Vec::new() };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--ci" => options.is_ci = true,
                "--only" => {
                    let name = value()?;
                    if !known.contains(&name.as_str()) {
                        return Err(format!("--only {name:?}: choose of {known:?}"));
                    }
                    options.only.push(name);
                }
                "--seed" => options.seed = number(&value()?)?,
                "--jobs" => options.jobs = number(&value()?)?.clamp(1, 64) as usize,
                "--pictures" => options.pictures = Some(value()?.into()),
                "--page" => options.page = Some(value()?.into()),
                "--help" | "-h" => return Ok(None),
                other => return Err(format!("unknown argument {other:?}; --help lists what there is")),
            }
        }
        Ok(Some(options))
    }

    /// The command that does one experiment of it again.
    pub fn command(&self, experiment: &str) -> String {
        let ci = if self.is_ci { " --ci" } else { "" };
        let seed = if self.seed == 1 { String::new() } else { format!(" --seed {}", self.seed) };
        format!(
            "cargo run --release --manifest-path benches/ring_sim/Cargo.toml -- --only {experiment}{ci}{seed}"
        )
    }

    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Options>, String> {
        Options::parse(line.split_whitespace().map(str::to_owned), &["churn", "load"])
    }

    #[test]
    fn what_is_said_is_done() {
        let options = parse("--ci --only churn --seed 7 --jobs 0").expect("fine").expect("no help");
        assert!(options.is_ci && options.wants("churn") && !options.wants("load"));
        assert_eq!((options.seed, options.jobs), (7, 1));
        assert_eq!(parse("--help"), Ok(None));
        assert!(parse("").expect("fine").expect("no help").wants("load"));
        assert!(options.command("churn").ends_with(" -- --only churn --ci --seed 7"));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for line in ["--only nothing", "--seed", "--seed x", "--fast"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
