use std::process::ExitCode;

use crate::{app::AuditLog, config::Config, domain::CheckpointKeys};

/// What can be done with keys.
#[expect(clippy::doc_markdown, reason = "the text of --help")]
#[derive(Debug, clap::Subcommand)]
pub enum KeysCommand {
    /// Prints a new key pair for checkpoints: the private half is the service's, the public half is for whoever verifies.
    Generate,
    /// Prints id and public half of every key that verifies checkpoints, the one that signs with a star.
    List,
    /// Seals the keys of people's data that are stored under another key than the first of AUDIT_PERSONAL_KEYS again. Give every replica the new key at
    /// the end of AUDIT_PERSONAL_KEYS first, then in front; when all run with it, run this and take the old key away. Exits with 1 if something opens
    /// with no key.
    Reseal,
}

/// A new key pair as two lines of an environment file.
#[must_use]
pub fn generate() -> String {
    let private = CheckpointKeys::new_private_key();
    let keys = CheckpointKeys::parse(Some(&private), &[]).unwrap_or_default();
    let public = keys.public_keys().into_iter().map(|(_, key)| key).collect::<String>();
    format!("AUDIT_CHECKPOINT_KEY={}\nAUDIT_CHECKPOINT_PUBLIC_KEYS={public}\n", *private)
}

impl KeysCommand {
    pub async fn run(self, config: &Config, log: &AuditLog) -> anyhow::Result<ExitCode> {
        match self {
            Self::Generate => print!("{}", generate()),
            Self::List => {
                let signing = config.checkpoint_keys.signing_id();
                for (id, key) in config.checkpoint_keys.public_keys() {
                    let star = if signing == Some(&*id) { "*" } else { " " };
                    println!("{star} {id} {key}");
                }
            }
            Self::Reseal => {
                let resealed = log.reseal_keys().await?;
                let crate::app::Resealed { renewed, current, unreadable } = resealed;
                println!("{renewed} sealed anew, {current} current, {unreadable} unreadable");
                return Ok(if unreadable == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
