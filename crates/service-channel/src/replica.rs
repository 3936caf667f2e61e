//! Keeps a connection to one replica, for as long as the replica is known.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until, timeout},
};
use tracing::{debug, info};

use crate::{client_connection, origin::Origin, replicas::Board};

const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a replica is left alone after it could not be connected to: this first, doubled each time.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(5);
/// And this while calls wait that no other replica can take.
const SHORTEST_REST: Duration = Duration::from_millis(100);

/// Connects, publishes the connection on the board, and begins anew when it has ended.
pub(crate) async fn keep_connected(
    origin: Arc<Origin>,
    address: SocketAddr,
    wanted: Arc<Notify>,
    board: Board,
) {
    let mut rest = FIRST_REST;
    loop {
        let began = Instant::now();
        let opened = timeout(CONNECT_TIMEOUT, client_connection::open(Arc::clone(&origin), address)).await;
        match opened.context("it did not answer").flatten() {
            Ok((connection, running)) => {
                debug!(%address, "Connected to a replica of {origin}");
                rest = FIRST_REST;
                board.connected(address, connection);
                let ended = running.await;
                info!(%address, error = ended.err().map(tracing::field::display), "The connection to a replica of {origin} ended");
                board.disconnected(address);
                pause(began, rest, &wanted).await;
            }
            Err(error) => {
                if board.failed(address, &error) {
                    info!(%address, "Cannot connect to a replica of {origin}: {error:#}");
                }
                pause(began, rest, &wanted).await;
                rest = (rest * 2).min(LONGEST_REST);
            }
        }
    }
}

/// One attempt in `rest`, unless a call wants another. After a connection that lasted, that is at once.
async fn pause(began: Instant, rest: Duration, wanted: &Notify) {
    sleep_until(began + SHORTEST_REST).await;
    tokio::select! {
        () = sleep_until(began + rest) => {}
        () = wanted.notified() => {}
    }
}
