//! The embedded verifier, in this process.

use std::{
    ffi::OsStr,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use session_verifier::{TlsIdentity, Verifier, VerifierConfig};

use crate::bench::{Bench, Findings, Row};

const SEEN: usize = 64;
const NEW: usize = 1_000;
const CONNECTED_WITHIN: Duration = Duration::from_secs(10);

pub(super) async fn seen(bench: &Bench) -> anyhow::Result<Findings> {
    let verifier = connected(bench).await?;
    let again_and_again = async || {
        let tokens = tokens(bench, SEEN).await?;
        let (verifier, duration) = (verifier.clone(), bench.measured);
        // The runtime goes on beside it: without heartbeats nothing would be verified without asking.
        let measuring = move || {
            verify_all(&verifier, &tokens)?;
            let (started, mut rounds) = (Instant::now(), 0_u32);
            while started.elapsed() < duration {
                verify_all(&verifier, &tokens)?;
                rounds += 1;
            }
            anyhow::Ok(micros(started.elapsed()) / f64::from(rounds))
        };
        let round = tokio::task::spawn_blocking(measuring).await??;
        Ok(round / f64::from(u32::try_from(SEEN)?))
    };
    let pairs = bench.against_budget(Row::VerifierSeen, again_and_again).await?;
    Ok(Findings { pairs, notes: Vec::new() })
}

pub(super) async fn first(bench: &Bench) -> anyhow::Result<Findings> {
    let verifier = connected(bench).await?;
    let once = async || {
        let tokens = tokens(bench, NEW).await?;
        let verifier = verifier.clone();
        let measuring = move || {
            let started = Instant::now();
            verify_all(&verifier, &tokens)?;
            anyhow::Ok(micros(started.elapsed()))
        };
        let all = tokio::task::spawn_blocking(measuring).await??;
        Ok(all / f64::from(u32::try_from(NEW)?))
    };
    let pairs = bench.against_budget(Row::VerifierFirst, once).await?;
    Ok(Findings { pairs, notes: Vec::new() })
}

/// A verifier that is told of revocations.
async fn connected(bench: &Bench) -> anyhow::Result<Verifier> {
    let environment = bench.platform.environment_of("SESSION_SERVICE_PID")?;
    let variable = |name: &str| {
        let value = environment.get(OsStr::new(name)).and_then(|value| value.to_str());
        value.with_context(|| format!("session-service was started without {name}"))
    };
    let address = format!("https://{}", bench.platform.variable("SESSION_GRPC")?);
    let mut config = VerifierConfig::new(address, variable("TOKEN_ISSUER")?, variable("TOKEN_AUDIENCE")?);
    variable("ENVIRONMENT")?.clone_into(&mut config.environment);
    let pem = bench.platform.identity("internal")?.read()?.context("the stack has no certificates")?;
    config.identity = Some(TlsIdentity::from_pem(pem.ca, pem.certificate, pem.key));
    config.first_contact = CONNECTED_WITHIN;
    let verifier = Verifier::connect(config).await?;
    ensure!(verifier.is_current(), "session-service does not tell revocations");
    Ok(verifier)
}

async fn tokens(bench: &Bench, count: usize) -> anyhow::Result<Vec<String>> {
    Ok(bench.sessions(count).await?.into_iter().map(|tokens| tokens.access_token).collect())
}

fn verify_all(verifier: &Verifier, tokens: &[String]) -> anyhow::Result<()> {
    for token in tokens {
        std::hint::black_box(verifier.verify(token)?);
    }
    Ok(())
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
