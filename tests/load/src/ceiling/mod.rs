//! What the machine can do at most: the same kind of work without the platform around it. Each runs as a process of its own, as the services
//! do, and ends with its standard input, so that none outlives who started it.

pub mod argon2;
pub mod commits;
pub mod echo;
pub mod select;

use std::io::Write;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;

/// What a ceiling says on standard output, as one line of JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Announcement {
    /// A server listens at this address.
    Listening(String),
    /// It is done: so much a second.
    PerSecond(f64),
}

impl Announcement {
    /// Writes the line.
    pub fn print(&self) -> anyhow::Result<()> {
        let mut output = std::io::stdout().lock();
        writeln!(output, "{}", serde_json::to_string(self)?)?;
        Ok(output.flush()?)
    }
}

/// Returns when standard input has ended.
async fn end_of_input() {
    let mut input = tokio::io::stdin();
    let mut buffer = [0; 64];
    while let Ok(1..) = input.read(&mut buffer).await {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcements_are_read_as_they_were_written() {
        for (announcement, line) in [
            (Announcement::Listening("127.0.0.1:1".to_owned()), r#"{"listening":"127.0.0.1:1"}"#),
            (Announcement::PerSecond(1.5), r#"{"perSecond":1.5}"#),
        ] {
            assert_eq!(serde_json::to_string(&announcement).unwrap(), line);
            assert_eq!(serde_json::from_str::<Announcement>(line).unwrap(), announcement);
        }
    }
}
