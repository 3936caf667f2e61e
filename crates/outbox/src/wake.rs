use std::sync::Arc;

use tokio::sync::Notify;

/// Wakes the relay of this process after a commit; cloneable, cheap, never blocks.
#[derive(Debug, Clone, Default)]
pub struct Wake(Arc<Notify>);

impl Wake {
    /// There is something to send.
    pub fn wake(&self) {
        // A relay that is busy finds this when it is done.
        self.0.notify_one();
    }

    pub(crate) async fn woken(&self) {
        self.0.notified().await;
    }
}
