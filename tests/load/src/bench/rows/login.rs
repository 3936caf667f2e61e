use std::time::Duration;

use http::Request;
use http_body_util::Full;
use hyper::body::Bytes;

use crate::{
    MeasuredLoad, Timing,
    bench::{
        Bench, Findings,
        ceiling_process::CeilingProcess,
        good_rate,
        users::{self, KnownBrowsers, Turns},
    },
    client::HttpClient,
    closed_loop,
};

/// How many connections to try.
const CONNECTIONS: [usize; 4] = [2, 4, 6, 8];
/// Enough that none of them reaches the number of sessions that a user may have, few enough to log in first.
const BROWSERS: u32 = 500;

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Findings> {
    let browsers = bench.known_browsers(BROWSERS).await?;
    let connections = best_connections(bench, &browsers).await?;
    let seconds = bench.measured.as_secs().to_string();
    let ours = async || good_rate(&known(bench, &browsers, connections, bench.timing()).await?);
    let bare = async || CeilingProcess::new("argon2")?.option("--seconds", &seconds).rate().await;
    let pairs = bench.interleaved(ours, bare).await?;
    bench.settle().await?;
    let strangers = good_rate(&unknown(bench, &Turns::default(), connections, bench.timing()).await?)?;
    let notes = vec![
        format!("{connections} connections gave the best rate."),
        format!(
            "From browsers that are not known yet, each of which leads to a mail: {strangers:.0} logins/s."
        ),
    ];
    Ok(Findings { pairs, notes })
}

/// Logins in a closed loop, from browsers that are known.
async fn known(
    bench: &Bench,
    browsers: &KnownBrowsers,
    connections: usize,
    timing: Timing,
) -> anyhow::Result<MeasuredLoad> {
    let request = || {
        let browsers = browsers.clone();
        move || browsers.login()
    };
    load(bench, request, connections, timing).await
}

/// Logins in a closed loop, each from a browser of its own.
pub(super) async fn unknown(
    bench: &Bench,
    turns: &Turns,
    connections: usize,
    timing: Timing,
) -> anyhow::Result<MeasuredLoad> {
    let request = || {
        let turns = turns.clone();
        move || users::login(turns.next())
    };
    load(bench, request, connections, timing).await
}

async fn load<N: Fn() -> Request<Full<Bytes>> + Send + 'static>(
    bench: &Bench,
    request: impl Fn() -> N,
    connections: usize,
    timing: Timing,
) -> anyhow::Result<MeasuredLoad> {
    let target = bench.platform.api()?;
    let client = || HttpClient::new(target.clone(), request());
    let clients = std::iter::repeat_with(client).take(connections).collect();
    Ok(closed_loop(clients, timing).await)
}

/// What can be admitted at once is not known from outside; refusals mean that there were too many.
async fn best_connections(bench: &Bench, browsers: &KnownBrowsers) -> anyhow::Result<usize> {
    let timing = Timing::after_warm_up((bench.measured / 2).min(Duration::from_secs(3)));
    let mut best = (0.0, 0);
    for connections in CONNECTIONS {
        bench.settle().await?;
        let Ok(rate) = good_rate(&known(bench, browsers, connections, timing).await?) else { continue };
        if rate > best.0 {
            best = (rate, connections);
        }
    }
    anyhow::ensure!(best.1 > 0, "logins are refused over any number of connections");
    Ok(best.1)
}
