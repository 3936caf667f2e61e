//! Stands between programs and the servers that they use, and spoils what they say to each other.

use std::{net::SocketAddr, str::FromStr, sync::Arc};

use anyhow::Context;
use chaos::{
    Proxy,
    control::{Routes, router},
};
use clap::Parser;
use tokio::{net::TcpListener, sync::Mutex};

/// A TCP proxy with faults that are switched by HTTP, for drills by hand.
///
/// Point a service at a route instead of its server, then change what the network does:
///
/// chaos-proxy --route amqp=127.0.0.1:5673,127.0.0.1:5672
///
/// curl -X PUT localhost:8474/amqp/faults -d '{"latencyFromServerMs": 5000}'
#[derive(Parser)]
struct Arguments {
    /// A route, `NAME=LISTEN,SERVER`; may be given several times.
    #[arg(long = "route", required = true, value_name = "NAME=LISTEN,SERVER")]
    routes: Vec<Route>,
    /// Where the faults are switched. Whoever reaches it may switch them: keep it on this host.
    #[arg(long, default_value = "127.0.0.1:8474")]
    control: SocketAddr,
}

#[derive(Clone)]
struct Route {
    name: String,
    listen: SocketAddr,
    server: String,
}

impl FromStr for Route {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || "expected NAME=LISTEN,SERVER, such as amqp=127.0.0.1:5673,127.0.0.1:5672".to_owned();
        let (name, addresses) = text.split_once('=').ok_or_else(form)?;
        let (listen, server) = addresses.split_once(',').ok_or_else(form)?;
        let (host, port) = server.rsplit_once(':').ok_or_else(form)?;
        if name.is_empty() || host.is_empty() || port.parse::<u16>().is_err() {
            return Err(form());
        }
        let listen = listen.parse().map_err(|_| form())?;
        Ok(Self { name: name.to_owned(), listen, server: format!("tcp://{server}") })
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut routes = std::collections::BTreeMap::new();
    for Route { name, listen, server } in arguments.routes {
        let mut proxy = Proxy::absent_at(listen, &server.clone().into()).await;
        proxy.appear().await;
        println!("{name}: {} stands for {server}", proxy.address());
        routes.insert(name, Mutex::new(proxy));
    }
    let routes: Routes = Arc::new(routes);
    let listener =
        TcpListener::bind(arguments.control).await.context("the address of the control is taken")?;
    println!("faults are switched at http://{}", listener.local_addr()?);
    axum::serve(listener, router(routes))
        .with_graceful_shutdown(async {
            // Without signals it runs until it is killed.
            let _ = tokio::signal::ctrl_c().await;
        })
        .await
        .context("the control ended")
}
