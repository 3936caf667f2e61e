use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use http::Request;
use http_body_util::Full;
use hyper::body::Bytes;

use super::{login, me};
use crate::{
    MeasuredLoad, Outcome,
    bench::{
        Bench, Findings, Pair, good_rate, report,
        users::{self, Turns},
    },
    client::HttpClient,
    open_loop,
};

/// As many requests for `/me` a second.
const PER_SECOND: f64 = 50.0;
/// A login is answered or refused within two seconds or so; so many may be on their way at once.
const STORM_CONNECTIONS: usize = 1_500;
const TIMES_CAPACITY: f64 = 4.0;
/// The p95 may grow so many times.
const FACTOR: f64 = 3.0;

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Findings> {
    let turns = Turns::default();
    let capacity = login::unknown(bench, &turns, 4, bench.timing()).await?.good_per_second();
    let mut findings = Findings::default();
    let (mut answers, mut slowest) = (BTreeMap::<Outcome, u64>::new(), 0.0_f64);
    for _ in 0..bench.runs {
        bench.settle().await?;
        let idle = p95(&open_loop(owners(bench).await?, PER_SECOND, bench.timing()).await?)?;
        // They log in before the storm does.
        let owners = owners(bench).await?;
        let busy = open_loop(owners, PER_SECOND, bench.timing());
        let (storm, busy) = tokio::try_join!(storm(bench, &turns, TIMES_CAPACITY * capacity), busy)?;
        let pair = Pair { ours: p95(&busy)?, ceiling: FACTOR * idle };
        report(pair);
        findings.pairs.push(pair);
        for (outcome, count) in storm.outcomes() {
            *answers.entry(outcome).or_default() += count;
        }
        slowest = slowest.max(storm.quantile(1.0).as_secs_f64());
    }
    let wrong = answers.keys().any(|outcome| ![Outcome::Http(200), Outcome::Http(503)].contains(outcome));
    let answers: Vec<_> = answers.iter().map(|(outcome, count)| format!("{outcome}: {count}")).collect();
    let answers = answers.join(", ");
    ensure!(!wrong, "logins were answered with {answers}");
    findings.notes = vec![format!(
        "{:.0} logins a second arrived, where {capacity:.0} can be done; the answers were {answers}, the slowest after {slowest:.2} s.",
        TIMES_CAPACITY * capacity
    )];
    Ok(findings)
}

/// Clients that ask who they are, each with a session of its own.
async fn owners(
    bench: &Bench,
) -> anyhow::Result<Vec<HttpClient<impl Fn() -> Request<Full<Bytes>> + Send + use<>>>> {
    me::clients(bench, &bench.platform.api()?, "/v1/auth/me").await
}

async fn storm(bench: &Bench, turns: &Turns, per_second: f64) -> anyhow::Result<MeasuredLoad> {
    let target = bench.platform.api()?;
    let client = || {
        let turns = turns.clone();
        HttpClient::new(target.clone(), move || users::login(turns.next()))
    };
    let clients = std::iter::repeat_with(client).take(STORM_CONNECTIONS).collect();
    open_loop(clients, per_second, bench.timing()).await
}

/// In milliseconds, of answers that are good.
fn p95(load: &MeasuredLoad) -> anyhow::Result<f64> {
    good_rate(load).context("/me")?;
    Ok(load.quantile(0.95).as_secs_f64() * 1_000.0)
}
