//! Measures the platform against its budgets.

mod budgets;
mod ceiling_process;
mod figures;
mod machine;
mod page;
mod platform;
mod plot;
mod results;
mod rows;
mod settling;
mod statistics;
mod users;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, ensure};
use prometheus::Registry;

pub use budgets::{Budget, Ceiling, Demand, Row};
pub use machine::Machine;
pub use platform::Platform;
pub use results::{Measured, Results};
pub use statistics::{Pair, Summary, median};

use crate::{MeasuredLoad, Timing};

/// What to measure, and for how long.
#[derive(Debug, Clone, clap::Args)]
pub struct BenchSettings {
    /// Only these rows, separated by commas; the others keep what was measured before
    #[arg(long, value_delimiter = ',')]
    only: Vec<Row>,
    /// How often ours and the ceiling are measured in turns
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// How long each is measured
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Where the page and the picture go; figures of a debug build never go there
    #[arg(long, default_value = "docs")]
    docs: PathBuf,
}

impl BenchSettings {
    fn rows(&self) -> Vec<Row> {
        Row::ALL.into_iter().filter(|row| self.only.is_empty() || self.only.contains(row)).collect()
    }

    fn command(&self) -> String {
        let only: Vec<_> = self.only.iter().map(|row| row.name()).collect();
        let only = if only.is_empty() { String::new() } else { format!(" --only {}", only.join(",")) };
        format!("load bench --runs {} --seconds {}{only}", self.runs, self.seconds)
    }
}

/// A running platform and how long to measure it.
pub(crate) struct Bench {
    pub(crate) platform: Platform,
    pub(crate) bus: event_bus::EventBus,
    pub(crate) runs: u32,
    pub(crate) measured: Duration,
}

/// What became of a row.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) pairs: Vec<Pair>,
    pub(crate) notes: Vec<String>,
}

/// Measures, and writes results, page and picture. Says at the end which rows could not be measured.
pub async fn run(settings: BenchSettings) -> anyhow::Result<()> {
    let output = output_directory()?;
    println!("Starting the platform …");
    let platform = Platform::start().await?;
    let machine = Machine::describe(&platform).await?;
    let amqp_url = platform.variable("AMQP_URL")?.into();
    let bus = event_bus::EventBus::new(&amqp_url, "load", &Registry::new())?;
    let bench = Bench { platform, bus, runs: settings.runs, measured: Duration::from_secs(settings.seconds) };

    let mut results = Results::read(&output);
    let mut failed = Vec::new();
    for row in settings.rows() {
        println!("{}", row.name());
        match rows::measure(row, &bench).await.with_context(|| row.name()) {
            Ok(Findings { pairs, notes }) => {
                results.0.insert(row, Measured { pairs, notes, commit: machine.commit.clone() });
            }
            Err(error) => {
                println!("  not measured: {error:#}");
                results.0.remove(&row);
                failed.push(row.name());
            }
        }
        // What was measured so far is not lost with a later row.
        results.write(&output)?;
    }
    write_documents(&settings, &output, &page::measured(&results, &machine, &settings.command()), &results)?;
    print_table(&results);
    ensure!(failed.is_empty(), "not measured: {}", failed.join(", "));
    Ok(())
}

impl Bench {
    /// Measures ours and the ceiling in turns; each begins when the platform has nothing left to do.
    pub(crate) async fn interleaved(
        &self,
        mut ours: impl AsyncFnMut() -> anyhow::Result<f64>,
        mut ceiling: impl AsyncFnMut() -> anyhow::Result<f64>,
    ) -> anyhow::Result<Vec<Pair>> {
        let mut pairs = Vec::new();
        for _ in 0..self.runs {
            self.settle().await?;
            let ours = ours().await?;
            self.settle().await?;
            let pair = Pair { ours, ceiling: ceiling().await? };
            report(pair);
            pairs.push(pair);
        }
        Ok(pairs)
    }

    /// Measures ours, against a budget that is the ceiling.
    pub(crate) async fn against_budget(
        &self,
        row: Row,
        mut ours: impl AsyncFnMut() -> anyhow::Result<f64>,
    ) -> anyhow::Result<Vec<Pair>> {
        let ceiling = row.absolute_budget().context("the row has no budget of its own")?;
        let mut pairs = Vec::new();
        for _ in 0..self.runs {
            self.settle().await?;
            let pair = Pair { ours: ours().await?, ceiling };
            report(pair);
            pairs.push(pair);
        }
        Ok(pairs)
    }

    pub(crate) fn timing(&self) -> Timing {
        Timing::after_warm_up(self.measured)
    }
}

fn report(pair: Pair) {
    let Pair { ours, ceiling } = pair;
    println!("  {} of {}: {:.3}", figures::shown(ours), figures::shown(ceiling), pair.ratio());
}

/// The rate of a load in which nothing went wrong, or hardly anything.
pub(crate) fn good_rate(load: &MeasuredLoad) -> anyhow::Result<f64> {
    let bad = load.count() - load.good();
    ensure!(load.good() > 0 && bad * 1_000 <= load.count(), "the answers were {}", load.answers());
    Ok(load.good_per_second())
}

/// `target/bench`, whatever it is called.
fn output_directory() -> anyhow::Result<PathBuf> {
    let programs = platform::own_directory()?;
    Ok(programs.parent().context("our program is in no build directory")?.join("bench"))
}

fn write_documents(
    settings: &BenchSettings,
    output: &Path,
    measured: &str,
    results: &Results,
) -> anyhow::Result<()> {
    // What a debug build does says nothing.
    let directory = if cfg!(debug_assertions) { output } else { &settings.docs };
    fs::create_dir_all(directory)?;
    let path = directory.join("BENCHMARKS.md");
    let before = fs::read_to_string(&path).ok();
    let page =
        page::with_measured(before.as_deref(), measured).with_context(|| path.display().to_string())?;
    fs::write(&path, page)?;
    fs::write(directory.join("benchmarks.svg"), plot::svg(results))?;
    println!("\nWritten: {} and {}", path.display(), output.join("results.json").display());
    Ok(())
}

fn print_table(results: &Results) {
    println!("\n{:<16} {:>12} {:>12}  {:<12} {:>7}  wanted", "", "ours", "ceiling", "", "ratio");
    for (row, summary, _) in results.summaries() {
        let Budget { unit, demand, .. } = row.budget();
        let verdict = if demand.is_met(summary.ratio) { "" } else { "  not reached" };
        let [ours, ceiling] = [summary.ours, summary.ceiling].map(figures::shown);
        let name = row.name();
        println!("{name:<16} {ours:>12} {ceiling:>12}  {unit:<12} {:>7.3}  {demand}{verdict}", summary.ratio);
    }
}
