//! What auth-api counts, under the names that the deployment guide gives.

use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry, core::Collector};

/// The counters and histograms of this process.
#[derive(Clone)]
pub struct Metrics {
    /// Logins that gave tokens.
    pub login_success: IntCounter,
    /// Logins that were refused, by reason.
    pub login_failure: IntCounterVec,
    /// Refreshes that gave tokens.
    pub refresh_success: IntCounter,
    /// Mails handed to the outbox, by template.
    pub email_enqueued: IntCounterVec,
    /// Captcha answers that were checked, by outcome.
    pub captcha_challenges: IntCounterVec,
    /// Requests, by method, route template and status.
    pub http_requests: HistogramVec,
}

impl Metrics {
    /// Registers all of them.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        fn add<C: Collector + Clone + 'static>(registry: &Registry, metric: C) -> prometheus::Result<C> {
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        }
        let counter = |name, help| add(registry, IntCounter::new(name, help)?);
        let counters =
            |name, help, label| add(registry, IntCounterVec::new(Opts::new(name, help), &[label])?);
        // Dashboards and alerts of the deployment guide ask for these; they stay at zero while there is nothing that could be counted.
        counter("totp_failure_total", "Second factors that were refused.")?;
        counter("rate_limit_block_total", "Requests that a limit refused.")?;
        counter("account_lockouts_total", "Accounts that were locked after failures.")?;
        let buckets = vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0];
        let options = HistogramOpts::new("http_request_duration_seconds", "Time to answer a request.");
        let login_failure = counters("login_failure_total", "Logins that were refused.", "reason")?;
        // A rate needs a series that is there before the first refusal.
        for reason in ["unknown_account", "wrong_password", "email_unverified", "account_closed"] {
            login_failure.with_label_values(&[reason]);
        }
        Ok(Self {
            login_success: counter("login_success_total", "Logins that gave tokens.")?,
            login_failure,
            refresh_success: counter("refresh_success_total", "Refreshes that gave tokens.")?,
            email_enqueued: counters("email_enqueued_total", "Mails handed to the outbox.", "template")?,
            captcha_challenges: counters("captcha_challenges_total", "Captcha answers checked.", "outcome")?,
            http_requests: add(
                registry,
                HistogramVec::new(options.buckets(buckets), &["method", "route", "status"])?,
            )?,
        })
    }
}
