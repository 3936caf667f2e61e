//! What a monitor sees of the signing keys, told when it asks.

use std::sync::Arc;

use chrono::SubsecRound;
use clock::SharedClock;
use prometheus::{
    Gauge, IntGaugeVec, Opts, Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use tokio::sync::watch;

use super::signing_keys::SigningKeys;
use crate::domain::key_set::{KeySet, KeyState};

struct KeyMetrics {
    known: watch::Receiver<Arc<KeySet>>,
    clock: SharedClock,
    age: Gauge,
    keys: IntGaugeVec,
}

impl SigningKeys {
    /// Shows the keys to those who collect from `registry`.
    pub fn register_metrics(&self, registry: &Registry, clock: SharedClock) -> Result<(), prometheus::Error> {
        let age = Gauge::new(
            "signing_key_age_seconds",
            "How long the key that signs access tokens has been doing so; 0 while there is none.",
        )?;
        let keys = IntGaugeVec::new(
            Opts::new("signing_keys", "Keys of access tokens, by where they are on their way."),
            &["state"],
        )?;
        registry.register(Box::new(KeyMetrics { known: self.changes(), clock, age, keys }))
    }
}

impl Collector for KeyMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.age.desc().into_iter().chain(self.keys.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let (known, now) = (Arc::clone(&self.known.borrow()), self.clock.now().trunc_subsecs(6));
        let age = known.signer(now).map(|key| (now - key.not_before).as_seconds_f64());
        self.age.set(age.unwrap_or_default());
        for state in KeyState::ALL {
            let count = known.iter().filter(|key| known.state(key, now) == state).count();
            self.keys.with_label_values(&[state.name()]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.age.collect().into_iter().chain(self.keys.collect()).collect()
    }
}
