//! Mail commands as auth-api writes them, many at a time, and what became of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    time::{Duration, Instant},
};

use auth_events::{
    Envelope,
    commands::{Lane, Locale, MailParameters, MailSend},
    routing::Route,
};
use auth_ids::{EventId, UserId};
use base64::prelude::*;
use chrono::TimeDelta;
use clock::{Clock, SystemClock};
use e2e::Stack;
use event_bus::{EventBus, OutgoingMessage, Publisher};
use prometheus::Registry;
use sealing::MailboxPublicKey;
use secrecy::SecretString;
use test_support::smtp::{ReceivedMail, SmtpServer};

use crate::timing::percentile;

/// How many commands are published at once.
const BATCH: usize = 256;

/// The way to a mailer's queues.
pub struct Orders {
    publisher: Publisher,
    public: MailboxPublicKey,
}

/// A mail that was ordered.
#[derive(Debug, Clone)]
pub struct Order {
    /// The command's id, which the `Message-ID` begins with.
    pub id: String,
    /// The recipient.
    pub to: String,
    /// When the broker had confirmed it.
    pub at: Instant,
}

impl Orders {
    /// To the mailer of a stack, by the broker of a URL.
    ///
    /// # Panics
    /// When the stack has no key for its mailer.
    #[must_use]
    #[expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]
    pub fn to(stack: &Stack, broker: &SecretString) -> Self {
        let key = fs::read_to_string(stack.state().join("secrets/mailer-public-key")).unwrap();
        let public = MailboxPublicKey::parse(key.trim()).expect("the mailer's public key");
        let bus = EventBus::new(broker, "drill", &Registry::new()).expect("the broker's URL");
        Self { publisher: bus.publisher(), public }
    }

    /// Orders a mail to each address, worth something for `lifetime`.
    ///
    /// # Panics
    /// When the broker does not take one.
    #[expect(clippy::unwrap_used, reason = "a test may panic")]
    pub async fn mails(
        &self,
        lane: Lane,
        lifetime: TimeDelta,
        addresses: impl IntoIterator<Item = String>,
    ) -> Vec<Order> {
        let mut orders = Vec::new();
        let mut messages = Vec::new();
        for to in addresses {
            let (id, message) = self.message(lane, lifetime, &to);
            orders.push((id.to_string(), to));
            messages.push(message);
        }
        let mut done = Vec::with_capacity(orders.len());
        let mut orders = orders.into_iter();
        while !messages.is_empty() {
            let batch: Vec<_> = messages.drain(..messages.len().min(BATCH)).collect();
            for published in self.publisher.publish(batch).await {
                published.unwrap();
                let at = Instant::now();
                done.extend(orders.next().map(|(id, to)| Order { id, to, at }));
            }
        }
        done
    }

    /// Puts what is no mail command into a lane.
    ///
    /// # Panics
    /// When the broker does not take it.
    #[expect(clippy::unwrap_used, reason = "a test may panic")]
    pub async fn poison(&self, lane: Lane, count: usize) {
        let poison = |number: usize| OutgoingMessage {
            route: Route::mail(lane),
            message_id: format!("poison-{number}"),
            message_type: "mail.send.v1".to_owned(),
            traceparent: None,
            payload: b"{\"specversion\":\"1.0\",\"data\":".to_vec(),
        };
        for published in self.publisher.publish((0..count).map(poison).collect()).await {
            published.unwrap();
        }
    }

    #[expect(clippy::unwrap_used, reason = "a test may panic")]
    fn message(&self, lane: Lane, lifetime: TimeDelta, to: &str) -> (EventId, OutgoingMessage) {
        let mut rng = clock::secure_rng();
        let id: EventId = auth_ids::generate(&SystemClock, &mut rng);
        let user: UserId = auth_ids::generate(&SystemClock, &mut rng);
        let parameters = MailParameters::VerifyEmail {
            display_name: None,
            link: "https://auth.example/verify-email#token=drill".to_owned(),
            expires_in_hours: 24,
        };
        let binding = MailSend::binding(id, parameters.template());
        let sealed = self.public.seal(&serde_json::to_vec(&parameters).unwrap(), &binding, &mut rng);
        let mail = MailSend {
            template: parameters.template(),
            locale: Locale::En,
            to: to.to_owned(),
            lane,
            expires_at: SystemClock.now() + lifetime,
            supersedes: None,
            sealed: BASE64_STANDARD.encode(sealed),
        };
        let envelope = Envelope::mail_command(id, "auth-api", Some(user), mail, &SystemClock);
        let message = OutgoingMessage {
            route: Route::mail(lane),
            message_id: id.to_string(),
            message_type: "mail.send.v1".to_owned(),
            traceparent: None,
            payload: serde_json::to_vec(&envelope).unwrap(),
        };
        (id, message)
    }
}

/// How many of the ordered mails somebody finds in a mailbox of these servers.
#[must_use]
pub fn arrived(orders: &[Order], servers: &[&SmtpServer]) -> usize {
    let ids: BTreeSet<String> = servers.iter().flat_map(|server| server.delivered_ids()).collect();
    let ids: BTreeSet<&str> = ids.iter().filter_map(|id| Some(id.split_once('@')?.0)).collect();
    orders.iter().filter(|order| ids.contains(order.id.as_str())).count()
}

/// What became of orders.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// How many there were.
    pub ordered: usize,
    /// Of these, those that somebody finds in a mailbox.
    pub delivered: usize,
    /// How many mails came beyond one for each.
    pub again: usize,
    /// Of these, those that came with more than one `Message-ID` or more than one content.
    pub changed: usize,
    /// How long it took from the order to the beginning of the first attempt that came to its end.
    pub starts: Vec<Duration>,
}

impl Tally {
    /// Compares orders with the mails of all servers.
    #[must_use]
    pub fn of<'a>(orders: impl IntoIterator<Item = &'a Order>, mails: &[ReceivedMail]) -> Self {
        let mut by_id: BTreeMap<&str, Vec<&ReceivedMail>> = BTreeMap::new();
        for mail in mails {
            let id = mail.message_id.as_deref().and_then(|id| id.split_once('@')).map_or("", |(id, _)| id);
            by_id.entry(id).or_default().push(mail);
        }
        let mut tally = Self::default();
        for order in orders {
            tally.ordered += 1;
            let of_this = by_id.get(order.id.as_str()).map_or(&[][..], Vec::as_slice);
            let delivered: Vec<_> = of_this.iter().filter(|mail| mail.is_delivered()).collect();
            tally.delivered += usize::from(!delivered.is_empty());
            tally.again += delivered.len().saturating_sub(1);
            let contents: BTreeSet<_> =
                delivered.iter().map(|mail| (&mail.message_id, mail.body())).collect();
            tally.changed += usize::from(contents.len() > 1);
            let first = of_this.iter().map(|mail| mail.started).min();
            tally.starts.extend(first.map(|started| started.saturating_duration_since(order.at)));
        }
        tally
    }

    /// Whether every mail came.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.delivered == self.ordered
    }

    /// What 95 of 100 mails did not exceed until they were begun.
    #[must_use]
    pub fn start_p95(&self) -> Duration {
        percentile(&self.starts, 95)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ordered, {} delivered, {} more than once ({} of them changed), begun after {:.2?} (median), {:.2?} (p95), {:.2?} (longest)",
            self.ordered,
            self.delivered,
            self.again,
            self.changed,
            percentile(&self.starts, 50),
            self.start_p95(),
            percentile(&self.starts, 100),
        )
    }
}
