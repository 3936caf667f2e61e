use std::time::Duration;

use event_bus::Publisher;
use pg::Database;
use prometheus::Registry;
use tokio_util::sync::CancellationToken;

/// How the relay works.
#[derive(Debug, Clone)]
pub struct RelaySettings {
    /// How many messages one round takes.
    pub batch_size: i64,
    /// How often it looks without being woken.
    pub period: Duration,
}

impl Default for RelaySettings {
    fn default() -> Self {
        Self { batch_size: 128, period: Duration::from_millis(500) }
    }
}

/// Wakes the relay of this process after a commit; cloneable, cheap, never blocks.
#[derive(Debug, Clone, Default)]
pub struct Wake {}

impl Wake {
    /// There is something to send.
    pub fn wake(&self) {
        todo!()
    }
}

/// Brings stored messages to the broker.
pub struct Relay {}

impl Relay {
    /// A relay over the `outbox` table that `database`'s role sees; registers `outbox_pending` and `outbox_oldest_seconds`.
    pub fn new(
        _database: Database,
        _publisher: Publisher,
        _settings: RelaySettings,
        _wake: Wake,
        _registry: &Registry,
    ) -> anyhow::Result<Self> {
        todo!()
    }

    /// Relays until `stop`, then tries to bring the rest within `drain`.
    pub async fn run(self, _stop: CancellationToken, _drain: Duration) {
        todo!()
    }
}
