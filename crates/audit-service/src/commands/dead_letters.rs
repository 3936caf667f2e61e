use std::process::ExitCode;

use auth_events::routing::AUDIT_DEAD_QUEUE;
use event_bus::{DeadLetter, DeadLetters, EventBus};

/// How many dead letters are listed.
const LISTED: usize = 100;
/// How many are brought back at a time, and looked at for those that are.
const MOST: usize = 1_000;

/// What can be done with dead letters.
#[derive(Debug, clap::Subcommand)]
pub enum DeadLettersCommand {
    /// Lists the oldest 100: id, type, queue, size, and why the log did not take it.
    List,
    /// Delivers dead letters again: those with the ids, or all. What still cannot be recorded comes back. Exits with 1 if something was not redriven
    /// that was asked for by its id.
    Redrive(Letters),
}

/// Which dead letters.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Letters {
    /// The ids, as `list` prints them; of the oldest 1000.
    ids: Vec<String>,
    /// All of them, up to 1000.
    #[arg(long)]
    all: bool,
}

impl DeadLettersCommand {
    pub async fn run(self, bus: &EventBus) -> anyhow::Result<ExitCode> {
        match self {
            Self::List => {
                print!("{}", list(bus).await?);
                Ok(ExitCode::SUCCESS)
            }
            Self::Redrive(letters) => redrive(bus, letters).await,
        }
    }
}

async fn list(bus: &EventBus) -> anyhow::Result<String> {
    let DeadLetters { total, letters } = bus.dead_letters(AUDIT_DEAD_QUEUE, LISTED).await?;
    let mut lines: String = letters.iter().map(line).collect();
    if usize::try_from(total)? > letters.len() {
        lines += "and more\n";
    }
    Ok(lines)
}

fn line(letter: &DeadLetter) -> String {
    let DeadLetter { id, message_type, reason, queue, bytes } = letter;
    let name = message_type.as_deref().unwrap_or("of no type");
    let queue = queue.as_deref().unwrap_or("an unknown queue");
    format!("{id} {name} from {queue}, {bytes} bytes: {reason}\n")
}

async fn redrive(bus: &EventBus, letters: Letters) -> anyhow::Result<ExitCode> {
    let Letters { ids, all } = letters;
    let redriven = bus.redrive(AUDIT_DEAD_QUEUE, MOST, |letter| all || ids.contains(&letter.id)).await?;
    println!("{} redriven", redriven.len());
    let missed: Vec<&String> = ids.iter().filter(|id| !redriven.contains(id)).collect();
    for id in &missed {
        println!("{id} is not among the oldest {MOST} dead letters, or comes from an unknown queue");
    }
    Ok(if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
