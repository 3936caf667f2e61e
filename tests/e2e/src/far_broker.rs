//! A platform whose broker is reached through a proxy, so that it can be away, slow or mute, and come back in a moment.

use std::time::Duration;

use test_support::{Proxy, TestBroker, eventually};

use crate::{Stack, ledger, stack::PATIENCE};

/// The platform. Its broker is the one of the tests, where it has a virtual host of its own.
pub struct FarBroker {
    pub stack: Stack,
    /// Between all services and the broker.
    pub way: Proxy,
    pub broker: TestBroker,
}

impl FarBroker {
    /// Starts a platform without limits and with one user, with `variables` for its services.
    pub async fn start(variables: &[(&str, String)]) -> Self {
        let broker = TestBroker::new().await;
        let way = Proxy::present(&broker.amqp_url()).await;
        let ours = [
            ("AMQP_URL", secrecy::ExposeSecret::expose_secret(&way.url()).to_owned()),
            ("RATE_LIMITS", "off".to_owned()),
            ("SEED_USERS", "1".to_owned()),
        ];
        let stack = Stack::start(&[&ours, variables].concat()).await;
        Self { stack, way, broker }
    }

    /// Waits until both consumers serve.
    pub async fn consumers_are_ready(&self, patience: Duration) {
        for management in ["MAILER_MGMT", "AUDIT_MGMT"] {
            let ready = || async { self.stack.is_ready(management).await.then_some(()) };
            eventually(&format!("{management} is ready"), patience, ready).await;
        }
    }

    /// Waits until nothing is on its way: neither in an outbox nor in a queue.
    pub async fn is_idle(&self) {
        ledger::outboxes_are_empty(&self.stack, PATIENCE).await;
        eventually("the queues are empty", PATIENCE, async || {
            (self.broker.queue_length("audit.events").await == 0).then_some(())
        })
        .await;
    }
}
