use std::sync::Arc;

use access_tokens::SeenToken;
use prometheus::{
    Gauge, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};

use crate::{VerifyError, judge::Doubt, lease::Lease};

/// Gives the collector away again: a registry wants it to register it, and once more to forget it.
type Registered = Box<dyn Fn() -> Box<dyn Collector> + Send + Sync>;

/// What operators see. Leaves the registry when it is dropped.
pub(crate) struct Metrics {
    /// Whether the stream tells revocations.
    pub connected: IntGauge,
    asked: IntCounterVec,
    verifications: Verifications,
    registration: Option<(Registry, Vec<Registered>)>,
}

/// One counter each, because looking a label up costs more than counting.
struct Verifications {
    family: IntCounterVec,
    valid: IntCounter,
    invalid: IntCounter,
    expired: IntCounter,
    revoked: IntCounter,
    unsure: IntCounter,
}

impl Metrics {
    pub fn new(lease: &Arc<Lease>, registry: Option<&Registry>) -> Result<Self, prometheus::Error> {
        let connected = IntGauge::new(
            "session_verifier_stream_connected",
            "1 while session-service tells revocations, otherwise 0",
        )?;
        let asked = IntCounterVec::new(
            Opts::new(
                "session_verifier_asked_total",
                "Access tokens about which session-service was asked, by what came of it",
            ),
            &["outcome"],
        )?;
        let verifications = Verifications::new()?;
        let lag = Lag::new(Arc::clone(lease))?;
        let mut metrics = Self { connected, asked, verifications, registration: None };
        if let Some(registry) = registry {
            metrics.register(registry, lag)?;
        }
        Ok(metrics)
    }

    fn register(&mut self, registry: &Registry, lag: Lag) -> Result<(), prometheus::Error> {
        let (connected, asked) = (self.connected.clone(), self.asked.clone());
        let verifications = self.verifications.family.clone();
        let all: [Registered; 4] = [
            Box::new(move || Box::new(connected.clone())),
            Box::new(move || Box::new(asked.clone())),
            Box::new(move || Box::new(verifications.clone())),
            Box::new(move || Box::new(lag.clone())),
        ];
        for collector in all {
            registry.register(collector())?;
            // One by one, so that a verifier that cannot register leaves nothing behind.
            self.registration.get_or_insert_with(|| (registry.clone(), Vec::new())).1.push(collector);
        }
        Ok(())
    }

    pub fn judged(&self, verdict: &Result<Arc<SeenToken>, Doubt>) {
        let counter = match verdict {
            Ok(_) => &self.verifications.valid,
            Err(Doubt::Refused(VerifyError::Expired)) => &self.verifications.expired,
            Err(Doubt::Refused(VerifyError::Revoked)) => &self.verifications.revoked,
            Err(Doubt::Refused(_)) => &self.verifications.invalid,
            Err(Doubt::UnknownKey | Doubt::NotCovered) => &self.verifications.unsure,
        };
        counter.inc();
    }

    pub fn asked<T>(&self, answer: &Result<T, VerifyError>) {
        let outcome = match answer {
            Ok(_) => "valid",
            Err(VerifyError::Invalid) => "invalid",
            Err(VerifyError::Expired) => "expired",
            Err(VerifyError::Revoked) => "revoked",
            Err(VerifyError::Forbidden(_)) => "forbidden",
            Err(VerifyError::Unsure | VerifyError::Unavailable) => "unavailable",
        };
        self.asked.with_label_values(&[outcome]).inc();
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        let Some((registry, collectors)) = self.registration.take() else { return };
        for collector in collectors {
            // It is there: it was registered, and nobody else has it.
            let _ = registry.unregister(collector());
        }
    }
}

impl Verifications {
    fn new() -> Result<Self, prometheus::Error> {
        let options = Opts::new(
            "session_verifier_verifications_total",
            "Access tokens judged without asking anybody, by the verdict",
        );
        let family = IntCounterVec::new(options, &["outcome"])?;
        let of = |outcome| family.with_label_values(&[outcome]);
        Ok(Self {
            valid: of("valid"),
            invalid: of("invalid"),
            expired: of("expired"),
            revoked: of("revoked"),
            unsure: of("unsure"),
            family,
        })
    }
}

/// Read when somebody looks, so that it grows while nothing happens.
#[derive(Clone)]
struct Lag {
    gauge: Gauge,
    lease: Arc<Lease>,
}

impl Lag {
    fn new(lease: Arc<Lease>) -> Result<Self, prometheus::Error> {
        let gauge = Gauge::new(
            "revocation_stream_lag_seconds",
            "How long session-service has not said that every revocation was told",
        )?;
        Ok(Self { gauge, lease })
    }
}

impl Collector for Lag {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.gauge.set(self.lease.lag().as_secs_f64());
        self.gauge.collect()
    }
}
