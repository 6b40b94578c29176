//! The experiments of Chord's paper, on p2poll's own machine under a virtual clock: see `--help`, and docs/ring.md for what
//! they gave.
//!
//! The machine and its driver are the library's own files, compiled in: they stay internal to the library.

#[allow(dead_code, unused_imports)]
#[path = "../../../src/identity/mod.rs"]
mod identity;
#[allow(dead_code, unused_imports)]
mod proto;
#[allow(dead_code)]
#[path = "../../../src/random.rs"]
mod random;
#[allow(dead_code)]
mod sim;
#[allow(dead_code)]
#[path = "../../../src/time.rs"]
mod time;
#[allow(dead_code, unused_imports)]
mod wire;

mod allocations;
mod cpu;
mod experiments;
mod lab;
mod options;
mod oracle;
mod page;
mod pictures;
mod progress;
mod published;
mod report;
mod tally;

use std::process::ExitCode;

use lab::Lab;
use options::Options;

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

fn main() -> ExitCode {
    let names: Vec<&str> = experiments::ALL.iter().map(|experiment| experiment.name).collect();
    let options = match Options::parse(std::env::args().skip(1), &names) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{}", options::HELP.replace("EXPERIMENTS", &names.join(", ")));
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("ring_sim: {error}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("ring_sim: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether all bounds were kept.
fn run(options: &Options) -> Result<bool, String> {
    let mut lab = Lab::new(options);
    let size = if options.is_ci { "the small size of CI" } else { "full size" };
    println!("# The ring's experiments: {size}, seed {}", options.seed);
    let wanted = experiments::ALL.iter().filter(|experiment| options.wants(experiment.name));
    for experiment in wanted {
        experiment.run(&mut lab);
        let printed = lab.report.end();
        if let Some(page) = &options.page {
            let section =
                format!("\nPrinted by `{}` ({size}).\n{printed}\n", options.command(experiment.name));
            page::replace(page, experiment.name, &section)
                .map_err(|error| format!("{}: {error}", page.display()))?;
        }
    }
    Ok(lab.report.finish())
}
