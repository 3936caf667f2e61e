//! What mail servers and the mailer's own death do to mails: delay them, and little else.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod answers;
mod deaths;
mod slow_hosts;
mod storm;

use std::time::Duration;

use auth_events::commands::Lane;
use chrono::TimeDelta;
use e2e::far_broker::FarBroker;
use secrecy::ExposeSecret;
use soak::orders::{Order, Orders, Tally, arrived};
use test_support::{eventually, smtp::SmtpServer};
use tokio::time::sleep;

/// Between two looks: a drill must not measure its own looking.
const REST: Duration = Duration::from_millis(250);
/// Longer than any drill.
const LONG: TimeDelta = TimeDelta::hours(24);

/// A platform whose mailer hands mails to a server of ours.
struct Platform {
    smtp: SmtpServer,
    far: FarBroker,
    orders: Orders,
}

impl Platform {
    async fn start() -> Self {
        Self::with(&[]).await
    }

    async fn with(variables: &[(&str, String)]) -> Self {
        let smtp = SmtpServer::plain().await;
        let url = [("SMTP_URL", smtp.url().expose_secret().to_owned())];
        let far = FarBroker::start(&[&url, variables].concat()).await;
        // Not through the proxy: what is ordered is ordered, whatever happens to the mailer's connection.
        let orders = Orders::to(&far.stack, &far.broker.amqp_url());
        Self { smtp, far, orders }
    }

    async fn order(&self, count: usize, address: impl Fn(usize) -> String) -> Vec<Order> {
        self.orders.mails(Lane::Security, LONG, (0..count).map(address)).await
    }

    /// Waits until every mail is there; what became of them.
    async fn all_arrive(&self, orders: &[Order], patience: Duration) -> Tally {
        let all = async || {
            sleep(REST).await;
            (arrived(orders, &[&self.smtp]) == orders.len()).then_some(())
        };
        eventually("every mail is there", patience, all).await;
        Tally::of(orders, &self.smtp.mails())
    }

    /// Waits until the mailer knows of so many that they are sent.
    async fn all_are_known(&self, count: usize, patience: Duration) {
        let known = async || {
            sleep(REST).await;
            (self.in_state("sent").await == count).then_some(())
        };
        eventually("every mail is known to be sent", patience, known).await;
    }

    /// How many mails are in a state.
    async fn in_state(&self, state: &str) -> usize {
        self.count(&format!("state = '{state}'")).await
    }

    /// How many mails there are for which a condition holds.
    async fn count(&self, condition: &str) -> usize {
        let query = format!("SELECT count(*) FROM mailer.messages WHERE {condition}");
        self.far.stack.sql(&query).await.first().and_then(|count| count.parse().ok()).unwrap_or_default()
    }
}

/// Addresses at so many domains in turn: a mail server is asked for few mails to each at once.
fn at_domains(name: &'static str, domains: usize) -> impl Fn(usize) -> String {
    move |number| format!("{name}-{number}@{name}-{}.example", number % domains)
}
