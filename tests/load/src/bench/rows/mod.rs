//! How each row is measured.

mod audit;
mod login;
mod mail;
mod me;
mod refresh;
mod replicas;
mod storm;
mod validate;
mod verifier;

use super::{Bench, Findings, Row};

pub(super) async fn measure(row: Row, bench: &Bench) -> anyhow::Result<Findings> {
    match row {
        Row::ValidateGrpc => validate::measure(bench).await,
        Row::VerifierSeen => verifier::seen(bench).await,
        Row::VerifierFirst => verifier::first(bench).await,
        Row::Me => me::measure(bench).await,
        Row::Login => login::measure(bench).await,
        Row::MeUnderStorm => storm::measure(bench).await,
        Row::Refresh => refresh::measure(bench).await,
        Row::AuditIngest => audit::measure(bench).await,
        Row::MailStartP95 => mail::measure(bench).await,
        Row::Start => replicas::start(bench).await,
        Row::RssIdle => replicas::idle_memory(bench).await,
        Row::BinarySize => replicas::binary_size(bench),
    }
}
