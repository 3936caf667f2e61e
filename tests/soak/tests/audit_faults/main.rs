//! What happens to the audit log while audit-service dies, has rivals, or has no database: nothing.

mod database;
mod writers;

use std::time::Duration;

use e2e::{
    Stack,
    far_broker::FarBroker,
    sibling::{Service, says},
};
use secrecy::ExposeSecret;
use soak::life::Life;
use test_support::smtp::SmtpServer;

/// Everything that was promised is there by then.
const SETTLED: Duration = Duration::from_mins(3);

/// A platform, a mail server, and users.
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
        Self { far, smtp, life }
    }
}

/// Checks the chain as an operator does.
fn chain_is_whole(stack: &Stack) {
    let text = says(stack, Service::AuditService, &["verify"]);
    println!("audit-service verify: {}", text.trim().lines().last().unwrap_or_default());
}
