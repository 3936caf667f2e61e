use std::{sync::Arc, time::Duration};

use super::{
    composer::ComposedMail,
    connections::Connections,
    conversation::{close, outcome_of, reply_from, reply_of, send},
    smtp_server::SmtpServer,
};
use crate::domain::settlement::{Outcome, Reply};

/// How long one mail may take, with everything.
const MAIL_DEADLINE: Duration = Duration::from_secs(30);

/// A mail server. Clones share the connections.
#[derive(Debug, Clone)]
pub struct Smtp {
    connections: Arc<Connections>,
}

impl Smtp {
    /// Does not connect yet.
    #[must_use]
    pub fn new(server: SmtpServer) -> Self {
        Self { connections: Arc::new(Connections::new(server)) }
    }

    /// Hands a mail over, once.
    #[tracing::instrument(name = "mail.smtp.send", skip_all, fields(otel.kind = "client", mail.bytes = mail.bytes.len()))]
    pub async fn send(&self, mail: &ComposedMail) -> Outcome {
        match tokio::time::timeout(MAIL_DEADLINE, self.hand_over(mail)).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::Postponed(Reply::new("not handed over within 30 s")),
        }
    }

    /// Whether the server can be reached and lets us in.
    pub async fn probe(&self) -> Result<(), String> {
        match self.connections.take().await {
            Ok(connection) => {
                self.connections.give_back(connection);
                Ok(())
            }
            Err(interruption) => Err(reply_of(&interruption).as_str().to_owned()),
        }
    }

    /// Says goodbye on every idle connection.
    pub async fn close(&self) {
        self.connections.close().await;
    }

    async fn hand_over(&self, mail: &ComposedMail) -> Outcome {
        let mut connection = match self.connections.take().await {
            Ok(connection) => connection,
            // Not a word was said about this mail, so no answer can be final for it.
            Err(interruption) => return Outcome::Postponed(reply_of(&interruption)),
        };
        match send(&mut connection, &mail.from, &mail.to, &mail.bytes).await {
            Ok(response) => {
                self.connections.give_back(connection);
                Outcome::Accepted(reply_from(&response))
            }
            Err(interruption) => {
                close(connection).await;
                outcome_of(&interruption)
            }
        }
    }
}
