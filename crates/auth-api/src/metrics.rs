//! What auth-api counts, under the names that the deployment guide gives.

use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry, core::Collector};

/// The counters and histograms of this process.
#[derive(Clone)]
pub struct Metrics {
    /// Logins that gave tokens.
    pub login_success: IntCounter,
    /// Logins that were refused, by reason.
    pub login_failure: IntCounterVec,
    /// Second factors that were refused, by method.
    pub totp_failure: IntCounterVec,
    /// Factors that were locked after failures, by what was counted.
    pub account_lockouts: IntCounterVec,
    /// Refreshes that gave tokens.
    pub refresh_success: IntCounter,
    /// Mails handed to the outbox, by template.
    pub email_enqueued: IntCounterVec,
    /// Captcha answers that were checked, by outcome.
    pub captcha_challenges: IntCounterVec,
    /// Passwords that were chosen, or were to be, and that the breach filter knows.
    pub password_breached: IntCounter,
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
        let buckets = vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0];
        let options = HistogramOpts::new("http_request_duration_seconds", "Time to answer a request.");
        let login_failure = counters("login_failure_total", "Logins that were refused.", "reason")?;
        // A rate needs a series that is there before the first refusal.
        for reason in [
            "unknown_account",
            "wrong_password",
            "email_unverified",
            "account_closed",
            "password_off",
            "too_many_attempts",
        ] {
            login_failure.with_label_values(&[reason]);
        }
        let totp_failure = counters("totp_failure_total", "Second factors that were refused.", "method")?;
        for method in ["otp", "recovery_code"] {
            totp_failure.with_label_values(&[method]);
        }
        let locked = "Factors that were locked after failures.";
        let account_lockouts = counters("account_lockouts_total", locked, "factor")?;
        for factor in ["password", "second_factor"] {
            account_lockouts.with_label_values(&[factor]);
        }
        Ok(Self {
            login_success: counter("login_success_total", "Logins that gave tokens.")?,
            login_failure,
            totp_failure,
            account_lockouts,
            refresh_success: counter("refresh_success_total", "Refreshes that gave tokens.")?,
            email_enqueued: counters("email_enqueued_total", "Mails handed to the outbox.", "template")?,
            captcha_challenges: counters("captcha_challenges_total", "Captcha answers checked.", "outcome")?,
            password_breached: counter(
                "password_breached_total",
                "Chosen passwords that the breach filter knows.",
            )?,
            http_requests: add(
                registry,
                HistogramVec::new(options.buckets(buckets), &["method", "route", "status"])?,
            )?,
        })
    }
}
