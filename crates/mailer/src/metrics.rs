use auth_events::commands::{Lane, MailTemplate};
use chrono::TimeDelta;
use prometheus::{
    Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, core::Collector,
};

use crate::domain::{
    breaker::BreakerState, mail_command::Refusal, message::MessageState, provider::ProviderName,
    settlement::Failure,
};

/// From "at once" to beyond the 30 s that are promised.
const START_BUCKETS: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0];

/// The reason that is no failure of anybody.
const EXPIRED: &str = "expired";

/// What the mailer counts.
#[derive(Debug, Clone)]
pub struct Metrics {
    sent: IntCounterVec,
    failed: IntCounterVec,
    refused: IntCounterVec,
    start_seconds: Histogram,
    queue_length: IntGaugeVec,
    deferred: IntCounterVec,
    superseded: IntCounterVec,
    answers: IntCounterVec,
    breaker: IntGaugeVec,
    in_progress: IntGaugeVec,
    messages: IntGaugeVec,
}

impl Metrics {
    /// Registers everything; fails when something of the same name is there already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            registered(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            registered(registry, IntGaugeVec::new(Opts::new(name, help), labels)?)
        };
        let start = HistogramOpts::new(
            "email_delivery_start_seconds",
            "From the request for a mail to the first attempt to hand it over.",
        );
        let metrics = Self {
            sent: counter("email_sent_total", "Mails that a provider took.", &["template"])?,
            failed: counter(
                "email_failed_total",
                "Mails that were given up: refused, expired, unrenderable, ambiguous or crashed.",
                &["template", "reason"],
            )?,
            refused: counter(
                "email_commands_refused_total",
                "Messages that are no mail commands, now dead letters.",
                &["reason"],
            )?,
            start_seconds: registered(
                registry,
                Histogram::with_opts(start.buckets(START_BUCKETS.to_vec()))?,
            )?,
            queue_length: gauge("email_queue_length", "Messages that wait in a queue.", &["queue"])?,
            deferred: counter(
                "email_deferred_total",
                "Attempts after which a mail waits for another.",
                &["template"],
            )?,
            superseded: counter(
                "email_superseded_total",
                "Mails that were not sent because a later one of their kind took their place.",
                &["template"],
            )?,
            answers: counter(
                "email_provider_answers_total",
                "What providers did with mails, by outcome.",
                &["provider", "outcome"],
            )?,
            breaker: gauge(
                "email_provider_breaker_state",
                "Whether a provider is asked: 0 yes (closed), 1 by one mail (half open), 2 no (open).",
                &["provider"],
            )?,
            in_progress: gauge("email_in_progress", "Mails that workers have in hand.", &["lane"])?,
            messages: gauge(
                "email_messages",
                "Messages in a state that is not an end, and failed ones; the failed are dead letters.",
                &["state"],
            )?,
        };
        metrics.show_zeros();
        Ok(metrics)
    }

    /// A rate needs a series that is there before the first event.
    fn show_zeros(&self) {
        for template in MailTemplate::ALL.iter().map(|template| template.name()) {
            self.sent.with_label_values(&[template]);
            self.deferred.with_label_values(&[template]);
            self.superseded.with_label_values(&[template]);
            for reason in Failure::ALL.iter().map(|failure| failure.code()).chain([EXPIRED]) {
                self.failed.with_label_values(&[template, reason]);
            }
        }
    }

    pub(crate) fn sent(&self, template: MailTemplate) {
        self.sent.with_label_values(&[template.name()]).inc();
    }

    pub(crate) fn failed(&self, template: MailTemplate, failure: Failure) {
        self.failed.with_label_values(&[template.name(), failure.code()]).inc();
    }

    pub(crate) fn expired(&self, template: &str) {
        self.failed.with_label_values(&[template, EXPIRED]).inc();
    }

    pub(crate) fn deferred(&self, template: MailTemplate) {
        self.deferred.with_label_values(&[template.name()]).inc();
    }

    pub(crate) fn superseded(&self, template: MailTemplate, count: usize) {
        self.superseded.with_label_values(&[template.name()]).inc_by(u64::try_from(count).unwrap_or(0));
    }

    pub(crate) fn answered(&self, provider: ProviderName, outcome: &str) {
        self.answers.with_label_values(&[provider.name(), outcome]).inc();
    }

    pub(crate) fn breaker(&self, provider: ProviderName, state: BreakerState) {
        let value = match state {
            BreakerState::Closed => 0,
            BreakerState::HalfOpen => 1,
            BreakerState::Open { .. } => 2,
        };
        self.breaker.with_label_values(&[provider.name()]).set(value);
    }

    /// Counts one mail that a worker of `lane` has in hand, until the guard is dropped.
    pub(crate) fn in_progress(&self, lane: Lane) -> InProgress {
        let gauge = self.in_progress.with_label_values(&[lane.name()]);
        gauge.inc();
        InProgress(gauge)
    }

    pub(crate) fn messages(&self, state: MessageState, count: u64) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.messages.with_label_values(&[state.name()]).set(count);
    }

    pub(crate) fn refused(&self, refusal: Refusal) {
        self.refused.with_label_values(&[refusal.reason()]).inc();
    }

    /// The clocks of two machines differ a little: what seems to start before it was asked for started at once.
    pub(crate) fn started(&self, after: TimeDelta) {
        self.start_seconds.observe(after.as_seconds_f64().max(0.0));
    }

    pub(crate) fn queue_length(&self, queue: &str, length: u32) {
        self.queue_length.with_label_values(&[queue]).set(length.into());
    }
}

/// A mail that a worker has in hand.
pub(crate) struct InProgress(IntGauge);

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> prometheus::Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}
