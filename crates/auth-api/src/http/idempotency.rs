//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a request that comes again gets the same answer and does nothing.

use std::{borrow::Cow, time::Duration};

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
    body::to_bytes,
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderName},
    },
};
use auth_ids::UserId;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use service_error::{ErrorKind, ServiceError};
use sha2::{Digest, Sha256};

use super::ApiError;
use crate::{
    app::dependency::{DependencyError, depends_on_the_outside},
    state::AppState,
    store::idempotency_keys::{self, NewKey, StoredKey},
};

/// The header.
pub const HEADER: &str = "idempotency-key";
const KEPT_FOR: TimeDelta = TimeDelta::hours(24);
/// Longer than any request lives: its key is that of a process that died, or of a request that was cut off.
const ABANDONED_AFTER: TimeDelta = TimeDelta::seconds(30);
/// What of an answer is given again; the rest is made anew for every answer.
const KEPT_HEADERS: &[HeaderName] = &[header::CONTENT_TYPE, header::LOCATION];

/// SHA-256 of a request's body; left in the request by whoever read it.
#[derive(Clone, PartialEq, Eq)]
pub struct BodyDigest([u8; 32]);

impl BodyDigest {
    /// The digest of `body`.
    pub fn of(body: &[u8]) -> Self {
        Self(Sha256::digest(body).into())
    }
}

/// Why a request with a key is not answered.
#[derive(Debug, thiserror::Error)]
pub enum IdempotencyError {
    /// The key breaks a rule.
    #[error("the idempotency key is not well-formed")]
    InvalidKey,
    /// The key is that of another request.
    #[error("the idempotency key belongs to a request with another body")]
    Reused,
    /// The first request with the key is not finished.
    #[error("a request with this idempotency key is being worked on")]
    InProgress,
    /// See [`DependencyError`].
    #[error(transparent)]
    Dependency(DependencyError),
}

depends_on_the_outside!(IdempotencyError);

impl ServiceError for IdempotencyError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidKey => ErrorKind::Malformed,
            Self::Reused => ErrorKind::Unprocessable,
            Self::InProgress => ErrorKind::Conflict,
            Self::Dependency(error) => error.kind(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::InvalidKey => "idempotency_key_invalid",
            Self::Reused => "idempotency_key_reused",
            Self::InProgress => "idempotency_in_progress",
            Self::Dependency(error) => error.reason(),
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        match self {
            Self::InvalidKey => "An Idempotency-Key has 16 to 255 printable ASCII characters.".into(),
            Self::Reused => "This Idempotency-Key was used for another request.".into(),
            Self::InProgress => "The first request with this Idempotency-Key is not finished yet.".into(),
            Self::Dependency(error) => error.public_detail(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::InvalidKey | Self::Reused => None,
            Self::InProgress => Some(Duration::from_secs(1)),
            Self::Dependency(error) => error.retry_after(),
        }
    }
}

/// Answers `request` by `work`; but if it has an `Idempotency-Key`, then only the first time, and for a day with the same answer. Call it after the body was
/// read and before anything has an effect. Only the answer of a request that had one is kept: after a refusal or a failure trying again makes sense, and
/// nobody fills the table with requests that lead to nothing. That of a process that died is not kept either, so `work` may run a second time half a minute
/// after that.
pub async fn answer_once(
    state: &AppState,
    request: &HttpRequest,
    work: impl AsyncFnOnce() -> Result<HttpResponse, ApiError>,
) -> Result<HttpResponse, ApiError> {
    let Some(key) = key_of(request.headers())? else { return work().await };
    let digest = request.extensions().get::<BodyDigest>().cloned().unwrap_or(BodyDigest::of(b""));
    let reservation = match reserve(state, key_hash(request, &key), &digest).await? {
        Claim::Ours(reservation) => reservation,
        Claim::Answered(answer) => return Ok(answer.into_response()),
    };
    match work().await {
        Ok(answer) if answer.status().is_success() => reservation.keep(state, answer).await,
        without_effect => {
            reservation.release(state).await;
            without_effect
        }
    }
}

fn key_of(headers: &HeaderMap) -> Result<Option<String>, IdempotencyError> {
    let mut given = headers.get_all(HEADER);
    let (key, another) = (given.next(), given.next());
    let Some(key) = key else { return Ok(None) };
    let key = key.to_str().ok().filter(|key| {
        another.is_none()
            && (16..=255).contains(&key.len())
            && key.bytes().all(|byte| (b' '..=b'~').contains(&byte))
    });
    key.map(|key| Some(key.to_owned())).ok_or(IdempotencyError::InvalidKey)
}

/// Names route, caller and key, so that neither another route nor another caller can meet this answer.
fn key_hash(request: &HttpRequest, key: &str) -> [u8; 32] {
    let caller = request.extensions().get::<UserId>().map(ToString::to_string).unwrap_or_default();
    let mut hash = Sha256::new();
    for part in [request.method().as_str(), request.path(), &caller, key].map(str::as_bytes) {
        hash.update(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

enum Claim {
    Ours(Reservation),
    Answered(StoredAnswer),
}

/// The right and the duty to answer.
struct Reservation {
    key_hash: [u8; 32],
    taken_at: DateTime<Utc>,
}

async fn reserve(
    state: &AppState,
    key_hash: [u8; 32],
    digest: &BodyDigest,
) -> Result<Claim, IdempotencyError> {
    // As precise as PostgreSQL is, because the row is recognised by it.
    let now = state.clock.now().trunc_subsecs(6);
    let binding = binding(&key_hash);
    // Sealed although it is a hash: it covers passwords, and a fast hash of one can be guessed.
    let sealed = state.data_keys.seal(&digest.0, binding.as_bytes(), &mut clock::secure_rng());
    let key =
        NewKey { key_hash: &key_hash, request_hash: &sealed, created_at: now, expires_at: now + KEPT_FOR };
    let mut conn = state.database.connection().await?;
    if idempotency_keys::reserve(&mut conn, &key, now - ABANDONED_AFTER).await? {
        return Ok(Claim::Ours(Reservation { key_hash, taken_at: now }));
    }
    // It may have been given back since; then the next attempt gets it.
    let stored = idempotency_keys::find(&mut conn, &key_hash).await?.ok_or(IdempotencyError::InProgress)?;
    open(state, &stored, &binding, digest).map(Claim::Answered)
}

/// The answer of an earlier request. What no key opens any more says nothing about this request, so it counts as another one's.
fn open(
    state: &AppState,
    stored: &StoredKey,
    binding: &str,
    digest: &BodyDigest,
) -> Result<StoredAnswer, IdempotencyError> {
    let open = |sealed: &[u8]| state.data_keys.open(sealed, binding.as_bytes());
    let said = open(&stored.request_hash).map_err(|_| IdempotencyError::Reused)?;
    if said.as_slice() != digest.0 {
        return Err(IdempotencyError::Reused);
    }
    let sealed = stored.answer.as_deref().ok_or(IdempotencyError::InProgress)?;
    let answer = open(sealed).map_err(|_| IdempotencyError::Reused)?;
    serde_json::from_slice(&answer).map_err(|_| IdempotencyError::Reused)
}

fn binding(key_hash: &[u8]) -> String {
    format!("idempotency/{}", hex::encode(key_hash))
}

impl Reservation {
    /// Stores the answer. If that fails the answer is still a good one; only its repetition is lost.
    async fn keep(self, state: &AppState, answer: HttpResponse) -> Result<HttpResponse, ApiError> {
        let answer = StoredAnswer::read(answer).await?;
        let bytes = zeroize::Zeroizing::new(serde_json::to_vec(&answer).map_err(IdempotencyError::from)?);
        let binding = binding(&self.key_hash);
        let sealed = state.data_keys.seal(&bytes, binding.as_bytes(), &mut clock::secure_rng());
        let stored = async {
            let mut conn = state.database.connection().await?;
            idempotency_keys::complete(&mut conn, &self.key_hash, self.taken_at, &sealed).await
        };
        if let Err(error) = stored.await {
            tracing::warn!("An answer could not be kept for its repetition: {error}");
        }
        Ok(answer.into_response())
    }

    /// Lets the next request with the key have it.
    async fn release(self, state: &AppState) {
        let released = async {
            let mut conn = state.database.connection().await?;
            idempotency_keys::release(&mut conn, &self.key_hash, self.taken_at).await
        };
        if let Err(error) = released.await {
            tracing::warn!("An idempotency key could not be given back: {error}");
        }
    }
}

#[derive(Serialize, Deserialize)]
struct StoredAnswer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl StoredAnswer {
    async fn read(answer: HttpResponse) -> Result<Self, ApiError> {
        let status = answer.status().as_u16();
        let kept = |name: &HeaderName| {
            let value = answer.headers().get(name)?.to_str().ok()?;
            Some((name.to_string(), value.to_owned()))
        };
        let headers = KEPT_HEADERS.iter().filter_map(kept).collect();
        let body = to_bytes(answer.into_body()).await.unwrap_or_default();
        Ok(Self { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
    }

    fn into_response(self) -> HttpResponse {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut answer = HttpResponse::build(status);
        for header in self.headers {
            answer.insert_header(header);
        }
        answer.body(self.body)
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn keys_are_printable_and_long_enough() {
        let parse = |keys: &[&str]| {
            let mut headers = HeaderMap::new();
            for key in keys {
                headers.append(
                    HeaderName::from_static(HEADER),
                    HeaderValue::from_bytes(key.as_bytes()).unwrap(),
                );
            }
            key_of(&headers)
        };
        assert!(matches!(parse(&[]), Ok(None)));
        for key in ["8e03978e-40d5-43dd-bc93-6894a57f9324", "\"8e03978e-40d5-43dd\"", &"x".repeat(255)] {
            assert_eq!(parse(&[key]).unwrap().as_deref(), Some(key));
        }
        for key in ["", "short", &"x".repeat(15), &"x".repeat(256), "a key with ümlauts", "a key with\ttab"]
        {
            assert!(parse(&[key]).is_err(), "{key:?}");
        }
        assert!(parse(&["0123456789abcdef", "0123456789abcdef"]).is_err());
    }
}
