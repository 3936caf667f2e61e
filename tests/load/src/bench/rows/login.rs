use std::time::Duration;

use crate::{
    MeasuredLoad, Timing,
    bench::{
        Bench, Findings,
        ceiling_process::CeilingProcess,
        good_rate,
        users::{self, Turns},
    },
    client::HttpClient,
    closed_loop,
};

/// How many connections to try.
const CONNECTIONS: [usize; 4] = [2, 4, 6, 8];

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Findings> {
    let turns = Turns::default();
    let connections = best_connections(bench, &turns).await?;
    let seconds = bench.measured.as_secs().to_string();
    let ours = async || good_rate(&load(bench, &turns, connections, bench.timing()).await?);
    let bare = async || CeilingProcess::new("argon2")?.option("--seconds", &seconds).rate().await;
    let pairs = bench.interleaved(ours, bare).await?;
    Ok(Findings { pairs, notes: vec![format!("{connections} connections gave the best rate.")] })
}

/// Logins in a closed loop.
pub(super) async fn load(
    bench: &Bench,
    turns: &Turns,
    connections: usize,
    timing: Timing,
) -> anyhow::Result<MeasuredLoad> {
    let target = bench.platform.api()?;
    let client = || {
        let turns = turns.clone();
        HttpClient::new(target.clone(), move || users::login(turns.next()))
    };
    let clients = std::iter::repeat_with(client).take(connections).collect();
    Ok(closed_loop(clients, timing).await)
}

/// What can be admitted at once is not known from outside; refusals mean that there were too many.
async fn best_connections(bench: &Bench, turns: &Turns) -> anyhow::Result<usize> {
    let timing = Timing::after_warm_up((bench.measured / 2).min(Duration::from_secs(3)));
    let mut best = (0.0, 0);
    for connections in CONNECTIONS {
        bench.settle().await?;
        let Ok(rate) = good_rate(&load(bench, turns, connections, timing).await?) else { continue };
        if rate > best.0 {
            best = (rate, connections);
        }
    }
    anyhow::ensure!(best.1 > 0, "logins are refused over any number of connections");
    Ok(best.1)
}
