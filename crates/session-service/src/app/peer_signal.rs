//! PLACEHOLDER by the lead so that others compile; the colleague who owns this file overwrites it.
use prometheus::Registry;
use secrecy::SecretString;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

#[derive(Clone)]
pub struct PeerSignal;

impl PeerSignal {
    pub fn new(_redis_url: Option<&SecretString>, _registry: &Registry) -> anyhow::Result<Self> {
        Ok(Self)
    }
    pub fn send(&self) {}
    pub async fn heard(&self) {
        std::future::pending().await
    }
    pub fn quiet_since(&self, _since: Instant) -> bool {
        false
    }
    pub async fn run(self, stop: CancellationToken) {
        stop.cancelled().await;
    }
}
