use std::process::ExitCode;

use crate::app::{Notary, Range, Report};

/// The exit code for a log that is not what was recorded. 2 is a wrong command line.
const DAMAGED: u8 = 3;

/// Which part to look at.
#[derive(Debug, clap::Args)]
pub struct Verify {
    /// The first seq to look at; the row before it is taken for granted. By default the oldest that is kept.
    #[arg(long, default_value_t = 0, value_name = "SEQ")]
    from: i64,
    /// The last seq to look at. By default the newest; only then the ends of the chains and the archive are looked at, too.
    #[arg(long, default_value_t = 0, value_name = "SEQ")]
    to: i64,
}

impl Verify {
    pub async fn run(self, notary: &Notary) -> anyhow::Result<ExitCode> {
        let report = notary.verify(Range::parse(self.from, self.to)?, None).await?;
        println!("{}", text(&report));
        Ok(if report.damage.is_none() { ExitCode::SUCCESS } else { ExitCode::from(DAMAGED) })
    }
}

fn text(report: &Report) -> String {
    let Report { from_seq, to_seq, rows, checkpoints, .. } = report;
    let seen = format!("looked at {rows} events of seq {from_seq} to {to_seq} and {checkpoints} checkpoints");
    let archive = if report.is_archive_seen { "; the archive agrees" } else { "" };
    match &report.damage {
        Some(damage) => format!("DAMAGED: {damage}\n{seen} before that"),
        None => format!("the log is what was recorded: {seen}{archive}"),
    }
}
