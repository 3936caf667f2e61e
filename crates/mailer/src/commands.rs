//! What `mailer` can do besides serving.

use std::process::ExitCode;

use auth_events::{
    commands::{Lane, Locale},
    routing::{MAILER_DEAD_QUEUE, mailer_queue},
};
use clap::{Args, Subcommand};
use clock::SystemClock;
use event_bus::{DeadLetter, EventBus, topology};
use pg::Database;
use prometheus::Registry;
use service_runtime::CommonConfig;

use crate::{
    NAME,
    app::{
        list_dead_letters::list_dead_letters,
        redrive::{Selection, redrive},
        send_test::send_test,
    },
    config::Config,
    domain::{mail_command::recipient, message::Message},
    keys::KeysCommand,
    store::upkeep,
    templates_command::TemplatesCommand,
};

/// Who brings dead letters back here, in the history.
const ACTOR: &str = "operator (command line)";
/// How many dead letters are listed.
const LISTED: usize = 100;

/// What `mailer` can do besides serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Keys for sealed mail commands.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// What mails look like: templates of one's own, and a gallery of all.
    #[command(subcommand)]
    Templates(TemplatesCommand),
    /// The queues of mail commands, and the messages that are under way.
    #[command(subcommand)]
    Queue(QueueCommand),
    /// What was given up and could be tried again.
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// Asks for a test mail, the way of every other mail: sealed, through the broker. Prints its id.
    SendTest(TestMail),
}

/// What can be done with queues.
#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// Prints how many commands wait in each queue, and how many messages are in each state that is not an end.
    Status,
}

/// What can be done with dead letters.
#[derive(Debug, Subcommand)]
pub enum DeadLettersCommand {
    /// Lists messages that failed, and what the broker keeps because it is no mail command; up to 100 of each.
    List,
    /// Tries dead letters again: those with the ids, or all. A mail keeps its Message-ID.
    Redrive(Letters),
}

/// Which dead letters.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Letters {
    /// The ids, as `list` prints them.
    ids: Vec<String>,
    /// All of them, up to 1000 of each kind.
    #[arg(long)]
    all: bool,
    /// All with this reason.
    #[arg(long)]
    reason: Option<String>,
}

/// A test mail.
#[derive(Debug, Args)]
pub struct TestMail {
    /// The address that it goes to.
    to: String,
    /// Its language.
    #[arg(long, default_value = "en")]
    locale: String,
}

impl Command {
    /// Does it, and says what came of it.
    pub(crate) async fn run(self, config: &Config, common: &CommonConfig) -> anyhow::Result<ExitCode> {
        let bus = EventBus::new(&common.amqp_url, NAME, &Registry::new())?;
        let database = Database::new(&common.command_database_settings(NAME))?;
        match self {
            Self::Keys(_) | Self::Templates(_) => anyhow::bail!("it works without configuration"),
            Self::Queue(QueueCommand::Status) => print!("{}", queue_status(&database, &bus).await?),
            Self::DeadLetters(DeadLettersCommand::List) => {
                print!("{}", dead_letters(&database, &bus).await?);
            }
            Self::DeadLetters(DeadLettersCommand::Redrive(letters)) => {
                return bring_back(&database, &bus, letters).await;
            }
            Self::SendTest(TestMail { to, locale }) => {
                let to = recipient(&to).map_err(|error| anyhow::anyhow!("{error}"))?;
                let locale = Locale::from_tag(&locale).ok_or_else(|| anyhow::anyhow!("no such language"))?;
                let key = config.private_key.public();
                println!("{}", send_test(&bus.publisher(), &key, &SystemClock, &to, locale).await?);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn queue_status(database: &Database, bus: &EventBus) -> anyhow::Result<String> {
    let mut lines = String::new();
    for lane in Lane::ALL {
        let queue = mailer_queue(*lane);
        lines.extend([format!("{queue:<24} {}\n", bus.queue_length(queue).await?)]);
        for (_, delay) in topology::DELAYS {
            let delay = topology::delay_queue(queue, delay);
            // The delay queues are there since a mailer consumed the lane for the first time.
            let length = bus.queue_length(&delay).await.unwrap_or(0);
            if length > 0 {
                lines.extend([format!("{delay:<24} {length}\n")]);
            }
        }
    }
    lines.extend([format!("{MAILER_DEAD_QUEUE:<24} {}\n", bus.queue_length(MAILER_DEAD_QUEUE).await?)]);
    let mut conn = database.connection().await?;
    for (state, count) in upkeep::count_unfinished(&mut conn).await? {
        lines.extend([format!("{:<24} {count}\n", format!("messages {}", state.name()))]);
    }
    Ok(lines)
}

async fn dead_letters(database: &Database, bus: &EventBus) -> anyhow::Result<String> {
    let page = list_dead_letters(database, bus, None, LISTED).await?;
    let mut lines: String = page.failed.messages.iter().map(failed).collect();
    lines.extend(page.refused.iter().map(refused));
    if page.failed.next.is_some() || usize::try_from(page.in_broker)? > page.refused.len() {
        lines += "and more\n";
    }
    Ok(lines)
}

fn failed(message: &Message) -> String {
    let Message { id, failure, template, last_reply, updated_at, .. } = message;
    let (reason, reply) = (failure.as_deref().unwrap_or_default(), last_reply.as_deref().unwrap_or_default());
    format!("{id} {} {reason} {template}: {reply}\n", updated_at.format("%Y-%m-%dT%H:%M:%SZ"))
}

fn refused(letter: &DeadLetter) -> String {
    let DeadLetter { id, reason, queue, bytes, .. } = letter;
    format!("{id} {reason} {}, {bytes} bytes\n", queue.as_deref().unwrap_or("from an unknown queue"))
}

async fn bring_back(database: &Database, bus: &EventBus, letters: Letters) -> anyhow::Result<ExitCode> {
    let Letters { ids, all: _, reason } = letters;
    let selection = if ids.is_empty() { Selection::All { reason } } else { Selection::Ids(ids) };
    let redriven = redrive(database, bus, &SystemClock, selection, ACTOR).await?;
    println!("{} redriven", redriven.count);
    for id in &redriven.not_redriven {
        println!("{id} is no dead letter, can be tried no more, or is being changed right now");
    }
    Ok(if redriven.not_redriven.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
