//! What a broker that is away, slow, mute or dying does to promises: nothing.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod alarm;
mod away;
mod kills;
mod network;
mod queues;

use e2e::far_broker::FarBroker;
use secrecy::ExposeSecret;
use soak::life::Life;
use test_support::smtp::SmtpServer;

/// A platform whose broker is far, a mail server, and users.
struct Platform {
    far: FarBroker,
    smtp: SmtpServer,
    life: Life,
}

impl Platform {
    async fn start() -> Self {
        let smtp = SmtpServer::plain().await;
        let far = FarBroker::start(&[("SMTP_URL", smtp.url().expose_secret().to_owned())]).await;
        let life = Life::begin(&far.stack).await;
        far.is_idle().await;
        Self { far, smtp, life }
    }
}
