//! Limits of requests, charged by handlers before anything costs.

use std::{borrow::Cow, time::Duration};

use auth_events::{
    Client, Fact, Severity,
    facts::{SecurityCredentialStuffing, SecurityRateLimited},
};
use auth_ids::UserId;
use base64::prelude::*;
use rate_limit::{Charge, Decision, Scope};
use secrecy::{ExposeSecret, SecretString};
use service_error::{ErrorKind, ServiceError};
use sha2::{Digest, Sha256};

use super::request_client::RequestClient;
pub use crate::domain::route_limits::Route;
use crate::{
    domain::route_limits::{Payer, REFUSALS_WRITTEN_DOWN, ROUTE_LIMITS},
    state::AppState,
};

/// The bucket of everybody whose address is not known.
const UNKNOWN_ADDRESS: &str = "unknown";
/// The characters of a refresh token that are the same for all tokens of a session: its prefix, and base64 of version and session id but for half a byte.
const CONSTANT_CHARACTERS: usize = "far_".len() + 22;

/// A limit is used up.
#[derive(Debug, thiserror::Error)]
#[error("the limit {limit} is used up")]
pub struct RateLimited {
    limit: &'static str,
    retry_after: Duration,
}

impl ServiceError for RateLimited {
    fn kind(&self) -> ErrorKind {
        ErrorKind::TooManyRequests
    }

    fn reason(&self) -> &'static str {
        "rate_limited"
    }

    fn public_detail(&self) -> Cow<'static, str> {
        "Too many requests. Wait a while.".into()
    }

    fn retry_after(&self) -> Option<Duration> {
        Some(self.retry_after)
    }
}

/// Charges a request for `route` to its client. How the client stands is said in the headers of the answer, whatever that will be.
pub async fn charge(state: &AppState, client: &RequestClient, route: Route) -> Result<(), RateLimited> {
    charge_all(state, client, route, None).await
}

/// [`charge`] for a refresh, and also to the session of the token, as far as it says which that is, at the client's address: anybody who has seen an
/// access token knows the id of its session, and must not use up what its owner has.
pub async fn charge_refresh(
    state: &AppState,
    client: &RequestClient,
    token: &SecretString,
) -> Result<(), RateLimited> {
    let session = session_of(token.expose_secret());
    let subject = format!("{session}:{}", address(&client.0, Scope::Host));
    charge_all(state, client, Route::Refresh, Some(subject)).await
}

/// A key that is the same for all refresh tokens of a session. Nothing is proved by it.
fn session_of(token: &str) -> String {
    let constant = token.chars().take(CONSTANT_CHARACTERS).collect::<String>();
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(constant.as_bytes()))
}

/// Charges a request with an access token to its user.
pub async fn charge_user(state: &AppState, client: &RequestClient, user: UserId) -> Result<(), RateLimited> {
    charge_all(state, client, Route::Authenticated, Some(user.to_string())).await
}

async fn charge_all(
    state: &AppState,
    client: &RequestClient,
    route: Route,
    subject: Option<String>,
) -> Result<(), RateLimited> {
    let charges: Vec<Charge> = ROUTE_LIMITS
        .iter()
        .filter(|(limited, ..)| *limited == route)
        .filter_map(|(_, payer, limit)| {
            Some(Charge { limit: *limit, key: key(*payer, &client.0, subject.as_deref())? })
        })
        .collect();
    let decision = state.limiter.charge(&charges).await;
    if let Some(standing) = decision.standing() {
        client.stands(standing);
    }
    let Decision::Refused { standing, retry_after } = decision else { return Ok(()) };
    let refused = charges.iter().find(|charge| charge.limit.name == standing.name);
    write_down(state, &client.0, standing.name, refused.map_or("", |charge| &charge.key)).await;
    Err(RateLimited { limit: standing.name, retry_after })
}

fn key(payer: Payer, client: &Client, subject: Option<&str>) -> Option<String> {
    match payer {
        Payer::Host => Some(address(client, Scope::Host)),
        Payer::Neighbourhood => Some(address(client, Scope::Neighbourhood)),
        Payer::Subject => subject.map(str::to_owned),
    }
}

fn address(client: &Client, scope: Scope) -> String {
    client.ip.map_or_else(|| UNKNOWN_ADDRESS.to_owned(), |ip| scope.key(ip))
}

/// Audits a refusal, but not every one: whoever is refused must not be able to fill the log.
async fn write_down(state: &AppState, client: &Client, limit: &'static str, key: &str) {
    let charge = Charge { limit: REFUSALS_WRITTEN_DOWN, key: format!("{limit}:{key}") };
    if !state.limiter.charge_uncounted(&[charge]).await.is_allowed() {
        return;
    }
    match append(state, client, limit).await {
        Ok(()) => state.outbox.wake(),
        Err(error) => tracing::warn!("A refusal could not be audited: {error}"),
    }
}

/// The fact of a refusal; where a whole network tries too many logins, that of somebody who tries a list of accounts.
async fn append(state: &AppState, client: &Client, limit: &'static str) -> pg::Result<()> {
    let mut conn = state.database.connection().await?;
    let is_network = ROUTE_LIMITS.iter().any(|(route, payer, limited)| {
        (*route, *payer, limited.name) == (Route::Login, Payer::Neighbourhood, limit)
    });
    let limit = limit.to_owned();
    if is_network {
        let fact = Fact::by_anonymous(SecurityCredentialStuffing { limit }).denied("rate_limited");
        let fact = fact.with_severity(Severity::Warning).from_client(client.clone());
        outbox::append_fact(&mut conn, state.fact(None, fact)).await
    } else {
        let fact = Fact::by_anonymous(SecurityRateLimited { limit }).denied("rate_limited");
        outbox::append_fact(&mut conn, state.fact(None, fact.from_client(client.clone()))).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tokens_of_a_session_have_one_key() {
        // Version, session, generation and MAC, as session-service writes them.
        let token = |session: u8, generation: u8, mac: u8| {
            let bytes = [&[1][..], &[session; 16], &[0, 0, 0, 0, 0, 0, 0, generation], &[mac; 32]].concat();
            format!("far_{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))
        };
        assert_eq!(session_of(&token(7, 1, 3)), session_of(&token(7, 255, 250)));
        assert_ne!(session_of(&token(7, 1, 3)), session_of(&token(8, 1, 3)));
        assert_eq!(session_of("far_ü").len(), session_of("").len());
    }

    #[test]
    fn every_route_has_a_limit_for_whoever_has_no_address() {
        let nobody = Client { ip: None, user_agent: None, request_id: None };
        for (route, payer, limit) in ROUTE_LIMITS {
            let key = key(*payer, &nobody, Some("subject"));
            assert!(key.is_some_and(|key| !key.is_empty()), "{route:?} {}", limit.name);
        }
    }
}
