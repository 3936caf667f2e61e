use std::process::ExitCode;

use crate::{app::Notary, vouching::MONTHS_AHEAD};

/// What can be done with them. The serving process does it all by itself, every hour.
#[derive(Debug, clap::Subcommand)]
pub enum PartitionsCommand {
    /// Lists them: class, month, size, and until when they are kept.
    List,
    /// Makes the months ahead and drops those whose time is over, if a signed checkpoint covers them.
    Maintain {
        /// For how many months after this one.
        #[arg(long, default_value_t = MONTHS_AHEAD, value_parser = clap::value_parser!(i32).range(0..=24))]
        ahead: i32,
    },
}

impl PartitionsCommand {
    pub async fn run(self, notary: &Notary) -> anyhow::Result<ExitCode> {
        match self {
            Self::List => {
                println!("{:<10} {:<8} {:>14}  kept until", "class", "month", "bytes");
                for it in notary.partitions().await? {
                    let month = it.month.format("%Y-%m");
                    println!("{:<10} {month:<8} {:>14}  {}", it.class, it.bytes, it.kept_until);
                }
            }
            Self::Maintain { ahead } => {
                let retained = notary.retain(ahead).await?;
                println!("made {} partitions", retained.created);
                for name in retained.dropped {
                    println!("dropped {name}");
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
