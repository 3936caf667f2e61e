use std::sync::Arc;

use super::{
    composer::ComposedMail,
    connections::Connections,
    conversation::{close, outcome_of, reply_from, reply_of, send},
    patience::Patience,
    smtp_server::SmtpServer,
};
use crate::domain::settlement::Outcome;

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
    pub async fn send(&self, mail: &ComposedMail, patience: &Patience) -> Outcome {
        let mut connection = match self.connections.take(patience).await {
            Ok(connection) => connection,
            Err(interruption) => return outcome_of(&interruption),
        };
        match send(&mut connection, &mail.from.email, &mail.to, &mail.bytes, patience).await {
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

    /// Whether the server can be reached and lets us in.
    pub async fn probe(&self, patience: &Patience) -> Result<(), String> {
        match self.connections.take(patience).await {
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

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> String {
        self.connections.server().address()
    }
}
