//! Which replicas an address leads to: asked at the start and every five seconds.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use tokio::{
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};
use tracing::{info, warn};

use crate::{origin::Origin, replica, replicas::Board};

const INTERVAL: Duration = Duration::from_secs(5);
/// While not a single replica is known.
const IMPATIENT_INTERVAL: Duration = Duration::from_secs(1);
const RESOLUTION_TIMEOUT: Duration = Duration::from_secs(2);

/// Keeps a connection to each replica that `origin` resolves to. While it does not resolve, those that were known last stay.
pub(crate) async fn follow(origin: Arc<Origin>, board: Board) {
    let mut tasks = JoinSet::new();
    let mut keepers: BTreeMap<SocketAddr, AbortHandle> = BTreeMap::new();
    let mut was_resolved = true;
    loop {
        match resolve(&origin).await {
            Ok(addresses) => {
                if !was_resolved {
                    info!("{origin} resolves again");
                }
                was_resolved = true;
                for (address, wanted) in board.resolved(&addresses) {
                    let keeping =
                        replica::keep_connected(Arc::clone(&origin), address, wanted, board.clone());
                    keepers.insert(address, tasks.spawn(keeping));
                }
                // Calls on a connection that nobody keeps any more still end in peace.
                keepers
                    .extract_if(.., |address, _| !addresses.contains(address))
                    .for_each(|(_, keeper)| keeper.abort());
                // What has been ended need not be remembered.
                while tasks.try_join_next().is_some() {}
            }
            Err(error) => {
                let why = format!("{origin} does not resolve: {error:#}");
                if board.unresolved(why.clone()) {
                    warn!("{why}");
                }
                was_resolved = false;
            }
        }
        sleep(if keepers.is_empty() { IMPATIENT_INTERVAL } else { INTERVAL }).await;
    }
}

async fn resolve(origin: &Origin) -> anyhow::Result<Vec<SocketAddr>> {
    let addresses = timeout(RESOLUTION_TIMEOUT, origin.resolve()).await.context("no answer in time")??;
    ensure!(!addresses.is_empty(), "it has no addresses");
    Ok(addresses)
}
