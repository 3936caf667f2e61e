use auth_events::commands::MailTemplate;
use chrono::TimeDelta;
use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGaugeVec, Opts, Registry, core::Collector};

use crate::domain::mail_command::Refusal;

/// From "at once" to beyond the 30 s that are promised.
const START_BUCKETS: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0];

/// Why a mail is given up.
const GIVE_UP_REASONS: &[&str] = &["refused", "expired", "unrenderable"];

/// What the mailer counts.
#[derive(Debug, Clone)]
pub struct Metrics {
    sent: IntCounterVec,
    failed: IntCounterVec,
    refused: IntCounterVec,
    start_seconds: Histogram,
    queue_length: IntGaugeVec,
}

impl Metrics {
    /// Registers everything; fails when something of the same name is there already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            sent: registered(
                registry,
                IntCounterVec::new(
                    Opts::new("email_sent_total", "Mails that the mail server took."),
                    &["template"],
                )?,
            )?,
            failed: registered(
                registry,
                IntCounterVec::new(
                    Opts::new(
                        "email_failed_total",
                        "Mails that were given up: refused, expired or unrenderable.",
                    ),
                    &["template", "reason"],
                )?,
            )?,
            refused: registered(
                registry,
                IntCounterVec::new(
                    Opts::new(
                        "email_commands_refused_total",
                        "Messages that are no mail commands, now dead letters.",
                    ),
                    &["reason"],
                )?,
            )?,
            start_seconds: registered(
                registry,
                Histogram::with_opts(
                    HistogramOpts::new(
                        "email_delivery_start_seconds",
                        "From the request for a mail to the first attempt to hand it over.",
                    )
                    .buckets(START_BUCKETS.to_vec()),
                )?,
            )?,
            queue_length: registered(
                registry,
                IntGaugeVec::new(
                    Opts::new("email_queue_length", "Messages that wait in a queue."),
                    &["queue"],
                )?,
            )?,
        };
        metrics.show_zeros();
        Ok(metrics)
    }

    /// A rate needs a series that is there before the first event.
    fn show_zeros(&self) {
        for template in MailTemplate::ALL.iter().map(|template| template.name()) {
            self.sent.with_label_values(&[template]);
            for reason in GIVE_UP_REASONS {
                self.failed.with_label_values(&[template, reason]);
            }
        }
    }

    pub(crate) fn sent(&self, template: MailTemplate) {
        self.sent.with_label_values(&[template.name()]).inc();
    }

    pub(crate) fn failed(&self, template: MailTemplate, reason: &str) {
        self.failed.with_label_values(&[template.name(), reason]).inc();
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

fn registered<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> prometheus::Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}
