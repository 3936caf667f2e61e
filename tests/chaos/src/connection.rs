use std::{future::pending, io, sync::Arc};

use tokio::net::TcpStream;

use crate::{
    Direction,
    proxy::Network,
    pump::{Doom, Pump},
};

enum End {
    /// Each side closed, or broke off.
    Over,
    Reset,
    Silence,
}

/// Passes on what a client and the server say, as well as the network lets it.
pub(crate) async fn pass_on(mut client: TcpStream, network: Arc<Network>) -> io::Result<()> {
    let _counted = network.connected();
    let (mut silences, mut resets) = (network.silences(), network.resets());
    let begins_silent = network.faults().borrow().silent;
    let Ok(mut server) = network.connect().await else { return client.set_zero_linger() };
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let doom = Doom::default();
    let end = {
        let pump = |direction| Pump { direction, network: Arc::clone(&network), faults: network.faults() };
        let ((client_reads, client_writes), (server_reads, server_writes)) = (client.split(), server.split());
        let talking = async {
            tokio::try_join!(
                pump(Direction::ToServer).run(client_reads, server_writes, &doom),
                pump(Direction::FromServer).run(server_reads, client_writes, &doom),
            )
        };
        let falls_silent = async {
            // A proxy that is gone says nothing either.
            let _ = if begins_silent { Ok(()) } else { silences.changed().await };
        };
        tokio::select! {
            biased;
            _ = resets.changed() => End::Reset,
            () = falls_silent => End::Silence,
            talked = talking => match talked {
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => End::Reset,
                _ => End::Over,
            },
        }
    };
    match end {
        End::Over => return Ok(()),
        End::Reset => {}
        End::Silence => {
            if resets.changed().await.is_err() {
                pending::<()>().await;
            }
        }
    }
    client.set_zero_linger()?;
    server.set_zero_linger()
}
