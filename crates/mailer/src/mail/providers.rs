use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use clock::SharedClock;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::{
    composer::ComposedMail,
    patience::Patience,
    sendgrid::{SendGrid, SendGridSettings},
    smtp::Smtp,
    smtp_server::SmtpServer,
};
use crate::{
    domain::{
        breaker::{Breaker, BreakerState},
        provider::ProviderName,
        settlement::{Outcome, Reply},
    },
    metrics::Metrics,
};

/// How long one mail may take, with everything.
const MAIL_DEADLINE: Duration = Duration::from_secs(30);
/// How long a provider may take to show that it is there.
const PROBE_DEADLINE: Duration = Duration::from_secs(10);

/// How to reach the providers, in the order in which they are asked.
#[derive(Debug, Clone)]
pub enum ProviderSettings {
    /// A mail server.
    Smtp(ProviderName, SmtpServer),
    /// `SendGrid`.
    SendGrid(SendGridSettings),
}

/// Whom mails are handed to. Clones share connections and breakers.
#[derive(Clone)]
pub struct Providers {
    in_order: Arc<[Provider]>,
    /// How long the process has to end what it began when it is stopped.
    drain: Duration,
    clock: SharedClock,
    metrics: Metrics,
}

struct Provider {
    name: ProviderName,
    transport: Transport,
    health: Mutex<Health>,
}

enum Transport {
    Smtp(Smtp),
    SendGrid(SendGrid),
}

#[derive(Debug, Clone, Default)]
struct Health {
    breaker: Breaker,
    last_error: Option<(DateTime<Utc>, String)>,
    last_success: Option<DateTime<Utc>>,
}

/// What came of handing a mail over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handover {
    /// What the last one that was asked did.
    pub outcome: Outcome,
    /// Who that was; nobody where nobody could be asked.
    pub provider: Option<ProviderName>,
    /// Those that were asked before, and did not do their work.
    pub passed_over: Vec<(ProviderName, Reply)>,
}

/// How a provider does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderReport {
    /// Which.
    pub name: ProviderName,
    /// Where it is.
    pub address: String,
    /// Whether it is asked.
    pub breaker: BreakerState,
    /// How often it failed lately.
    pub recent_failures: usize,
    /// What went wrong last, and when.
    pub last_error: Option<(DateTime<Utc>, String)>,
    /// When it did its work last.
    pub last_success: Option<DateTime<Utc>>,
}

impl Providers {
    /// Connects to nobody yet. `drain` is how long the process has to end what it began when it is stopped.
    pub fn new(
        settings: Vec<ProviderSettings>,
        drain: Duration,
        clock: SharedClock,
        metrics: Metrics,
    ) -> anyhow::Result<Self> {
        let providers: anyhow::Result<Vec<Provider>> = settings.into_iter().map(Provider::new).collect();
        let providers = Self { in_order: providers?.into(), drain, clock, metrics };
        providers.show_breakers();
        Ok(providers)
    }

    /// Brings the metrics up to date about who is asked. A pause ends without anything happening, so this has to be called once in a while.
    pub fn show_breakers(&self) {
        for provider in self.in_order.iter() {
            self.show_breaker(provider);
        }
    }

    /// Whether anybody may be asked now.
    #[must_use]
    pub fn any_admits(&self) -> bool {
        let now = self.clock.now();
        self.in_order.iter().any(|provider| provider.health.lock().breaker.would_admit(now))
    }

    /// Hands a mail over, once: to the first provider that is there and takes it. The next one is asked only where the one before certainly did not
    /// take it, and none when the mail has expired meanwhile.
    pub async fn send(
        &self,
        mail: &ComposedMail,
        expires_at: DateTime<Utc>,
        stop: &CancellationToken,
    ) -> Handover {
        let patience = Patience::new(MAIL_DEADLINE, stop.clone(), self.drain);
        let mut passed_over = Vec::new();
        let mut last = None;
        let mut left = self.in_order.len();
        for provider in self.in_order.iter() {
            // Who is asked first must leave time for the others.
            let share = patience.left() / u32::try_from(left).unwrap_or(1).max(1);
            left -= 1;
            let now = self.clock.now();
            if expires_at <= now || !provider.health.lock().breaker.admit(now) {
                continue;
            }
            self.show_breaker(provider);
            if let Some((name, Outcome::Unavailable(reply))) = last.take() {
                passed_over.push((name, reply));
            }
            let worth_it = (expires_at - now).to_std().unwrap_or_default();
            let patience = patience.at_most(share).handed_over_within(worth_it);
            let outcome = provider.transport.send(mail, &patience).await;
            // Whose time was over in the middle of it says nothing about the provider.
            let is_in_time = !matches!(outcome, Outcome::Unavailable(_)) || self.clock.now() < expires_at;
            if is_in_time {
                self.note(provider, now, &outcome);
            } else {
                provider.health.lock().breaker.undecided(now);
            }
            let ends = !matches!(outcome, Outcome::Unavailable(_));
            last = Some((provider.name, outcome));
            if ends {
                break;
            }
        }
        match last {
            Some((provider, outcome)) => Handover { outcome, provider: Some(provider), passed_over },
            // Somebody else's mail is the trial: nothing was learned about this one.
            None => Handover {
                outcome: Outcome::Interrupted(Reply::new("no provider could be asked")),
                provider: None,
                passed_over,
            },
        }
    }

    /// How each of them does.
    #[must_use]
    pub fn report(&self) -> Vec<ProviderReport> {
        let now = self.clock.now();
        self.in_order.iter().map(|provider| provider.report(now)).collect()
    }

    /// Whether any of them can be reached and lets us in; what is wrong with each where none does.
    pub async fn probe(&self, stop: &CancellationToken) -> Result<(), String> {
        let mut wrong = Vec::new();
        for provider in self.in_order.iter() {
            let patience = Patience::new(PROBE_DEADLINE, stop.clone(), self.drain);
            match provider.transport.probe(&patience).await {
                Ok(()) => return Ok(()),
                Err(why) => wrong.push(format!("{}: {why}", provider.name.name())),
            }
        }
        Err(wrong.join("; "))
    }

    /// Says goodbye on every idle connection.
    pub async fn close(&self) {
        for provider in self.in_order.iter() {
            if let Transport::Smtp(smtp) = &provider.transport {
                smtp.close().await;
            }
        }
    }

    fn note(&self, provider: &Provider, began: DateTime<Utc>, outcome: &Outcome) {
        let now = self.clock.now();
        let mut health = provider.health.lock();
        let verdict = match outcome {
            Outcome::Accepted(_) => {
                health.breaker.succeeded(now);
                health.last_success = Some(now);
                "accepted"
            }
            // It does its work: it judges mails.
            Outcome::Refused(_) => {
                health.breaker.succeeded(now);
                "refused"
            }
            Outcome::Postponed(_) => {
                health.breaker.succeeded(now);
                "postponed"
            }
            Outcome::Unavailable(_) => {
                health.breaker.failed(began, now);
                "unavailable"
            }
            Outcome::Ambiguous(_) => {
                health.breaker.failed(began, now);
                "ambiguous"
            }
            Outcome::Interrupted(_) | Outcome::Unrenderable(_) | Outcome::Crashed(_) => {
                health.breaker.undecided(now);
                "interrupted"
            }
        };
        if matches!(
            outcome,
            Outcome::Unavailable(_) | Outcome::Ambiguous(_) | Outcome::Refused(_) | Outcome::Postponed(_)
        ) {
            health.last_error = Some((now, outcome.reply().as_str().to_owned()));
        }
        drop(health);
        self.metrics.answered(provider.name, verdict);
        self.show_breaker(provider);
    }

    fn show_breaker(&self, provider: &Provider) {
        let state = provider.health.lock().breaker.state(self.clock.now());
        self.metrics.breaker(provider.name, state);
    }
}

impl Provider {
    fn new(settings: ProviderSettings) -> anyhow::Result<Self> {
        let (name, transport) = match settings {
            ProviderSettings::Smtp(name, server) => (name, Transport::Smtp(Smtp::new(server))),
            ProviderSettings::SendGrid(settings) => {
                (ProviderName::SendGrid, Transport::SendGrid(SendGrid::new(settings)?))
            }
        };
        Ok(Self { name, transport, health: Mutex::default() })
    }

    fn report(&self, now: DateTime<Utc>) -> ProviderReport {
        let Health { breaker, last_error, last_success } = self.health.lock().clone();
        ProviderReport {
            name: self.name,
            address: self.transport.address(),
            breaker: breaker.state(now),
            recent_failures: breaker.failures(),
            last_error,
            last_success,
        }
    }
}

impl Transport {
    async fn send(&self, mail: &ComposedMail, patience: &Patience) -> Outcome {
        match self {
            Self::Smtp(smtp) => smtp.send(mail, patience).await,
            Self::SendGrid(sendgrid) => sendgrid.send(mail, patience).await,
        }
    }

    async fn probe(&self, patience: &Patience) -> Result<(), String> {
        match self {
            Self::Smtp(smtp) => smtp.probe(patience).await,
            Self::SendGrid(sendgrid) => sendgrid.probe(patience).await,
        }
    }

    fn address(&self) -> String {
        match self {
            Self::Smtp(smtp) => smtp.address(),
            Self::SendGrid(sendgrid) => sendgrid.address(),
        }
    }
}
