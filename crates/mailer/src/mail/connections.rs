use std::{fmt, time::Duration};

use lettre::transport::smtp::client::AsyncSmtpConnection;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    conversation::{self, Interruption},
    patience::Patience,
    smtp_server::SmtpServer,
};

/// Servers close idle connections after some minutes; we do it first.
const MAX_IDLE: Duration = Duration::from_mins(1);
const MAX_IDLE_CONNECTIONS: usize = 16;

/// Connections to one server. A connection that is taken belongs to the taker; it is lost unless it is given back, so that one
/// in an unknown state, whose conversation was cut off, is never used for another mail.
pub(super) struct Connections {
    server: SmtpServer,
    idle: Mutex<Vec<(Instant, AsyncSmtpConnection)>>,
}

impl Connections {
    pub(super) fn new(server: SmtpServer) -> Self {
        Self { server, idle: Mutex::default() }
    }

    pub(super) fn server(&self) -> &SmtpServer {
        &self.server
    }

    /// A connection that just answered, or a new one.
    pub(super) async fn take(&self, patience: &Patience) -> Result<AsyncSmtpConnection, Interruption> {
        while let Some(mut connection) = self.take_idle() {
            if conversation::is_alive(&mut connection, patience).await {
                return Ok(connection);
            }
        }
        // Boxed, because what TLS needs is large and rarely needed.
        Box::pin(conversation::open(&self.server, patience)).await
    }

    /// Keeps a connection for the next mail; only after a conversation that ended well.
    pub(super) fn give_back(&self, connection: AsyncSmtpConnection) {
        let mut idle = self.idle.lock();
        if idle.len() < MAX_IDLE_CONNECTIONS {
            idle.push((Instant::now(), connection));
        }
    }

    /// Closes what is idle.
    pub(super) async fn close(&self) {
        let idle = std::mem::take(&mut *self.idle.lock());
        for (_, connection) in idle {
            conversation::close(connection).await;
        }
    }

    fn take_idle(&self) -> Option<AsyncSmtpConnection> {
        let mut idle = self.idle.lock();
        idle.retain(|(since, _)| since.elapsed() < MAX_IDLE);
        idle.pop().map(|(_, connection)| connection)
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("server", &self.server).finish_non_exhaustive()
    }
}
