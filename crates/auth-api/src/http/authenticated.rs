//! Who asks. Three extractors, by how sure we have to be that the session is live at this moment:
//!
//! | extractor | for | a revocation counts | without session-service |
//! |---|---|---|---|
//! | [`Authenticated`] | ordinary routes | once the stream told it, at most when its lease is over | 503 |
//! | [`AuthenticatedOnline`] | what protects the account, and what is worth stealing | at once | 503 |
//! | [`AuthenticatedUnconfirmed`] | reading one's own account | like the first | goes on, until the token expires |

use std::{future::Future, pin::Pin, time::Instant};

use actix_web::{
    FromRequest, HttpMessage, HttpRequest,
    dev::Payload,
    http::header::{self, HeaderMap},
    web,
};
use secrecy::{ExposeSecret, SecretString};
use session_verifier::{Demands, Session, VerifyError};

use super::{
    ApiError,
    edge_error::EdgeError,
    limits::{Route, charge, charge_user},
    request_client::RequestClient,
};
use crate::{app::dependency::DependencyError, clients::sessions::SessionsError, state::AppState};

/// More than any token that session-service makes.
const MAX_TOKEN_BYTES: usize = 4096;

/// Whoever the access token of the request speaks for. It is read from the `Authorization` header and from nowhere else.
pub struct Authenticated(pub Session);

/// [`Authenticated`], and session-service was asked just now whether the session is live.
pub struct AuthenticatedOnline(pub Session);

/// [`Authenticated`], but while nobody can say whether the session is live it is taken to be.
pub struct AuthenticatedUnconfirmed(pub Session);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Certainty {
    Stream,
    Online,
    BestEffort,
}

type Extraction<T> = Pin<Box<dyn Future<Output = Result<T, ApiError>>>>;

impl FromRequest for Authenticated {
    type Error = ApiError;
    type Future = Extraction<Self>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { authenticate(&request, Certainty::Stream).await.map(Self) })
    }
}

impl FromRequest for AuthenticatedOnline {
    type Error = ApiError;
    type Future = Extraction<Self>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { authenticate(&request, Certainty::Online).await.map(Self) })
    }
}

impl FromRequest for AuthenticatedUnconfirmed {
    type Error = ApiError;
    type Future = Extraction<Self>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { authenticate(&request, Certainty::BestEffort).await.map(Self) })
    }
}

async fn authenticate(request: &HttpRequest, certainty: Certainty) -> Result<Session, ApiError> {
    let token = bearer_token(request.headers())?;
    let state = request.app_data::<web::Data<AppState>>().ok_or(EdgeError::Unexplained)?;
    let client = RequestClient::extract(request).await?;
    let session = judge(state, &client, token.expose_secret(), certainty).await?;
    request.extensions_mut().insert(session.user_id());
    Ok(session)
}

/// What can be judged here is; session-service is asked about what somebody it trusts has signed. A client that sends what nobody signed is counted, and
/// so is the user of a token, before anybody is asked about it.
async fn judge(
    state: &AppState,
    client: &RequestClient,
    token: &str,
    certainty: Certainty,
) -> Result<Session, ApiError> {
    let verifier = &state.verifier;
    let is_counted = match verifier.verify(token) {
        Ok(session) => {
            charge_session(state, client, &session, certainty).await?;
            if certainty != Certainty::Online {
                return Ok(session);
            }
            true
        }
        Err(VerifyError::Unsure) => match verifier.verify_unconfirmed(token) {
            Ok(session) => {
                charge_session(state, client, &session, certainty).await?;
                true
            }
            Err(VerifyError::Expired) => false,
            // A key that we do not know may be a new one. Without any key that is so of every token, and nobody's fault.
            Err(_) if verifier.public_keys().is_empty() => false,
            Err(_) => {
                charge(state, client, Route::BadToken).await?;
                false
            }
        },
        Err(VerifyError::Invalid) => {
            charge(state, client, Route::BadToken).await?;
            return Err(EdgeError::InvalidToken.into());
        }
        Err(error) => return Err(refusal(&error)),
    };
    let judgement = match certainty {
        Certainty::Stream => verifier.authenticate(token).await,
        Certainty::Online => verifier.ask(token, &Demands::default()).await,
        Certainty::BestEffort => while_away(state, token).await,
    };
    let session = judgement.map_err(|error| refusal(&error))?;
    if !is_counted {
        charge_session(state, client, &session, certainty).await?;
    }
    Ok(session)
}

/// Reading one's own account costs less than asking Redis whether one may.
async fn charge_session(
    state: &AppState,
    client: &RequestClient,
    session: &Session,
    certainty: Certainty,
) -> Result<(), ApiError> {
    if certainty == Certainty::BestEffort {
        return Ok(());
    }
    Ok(charge_user(state, client, session.user_id()).await?)
}

/// Session-service's word, or the signature alone while it says nothing.
async fn while_away(state: &AppState, token: &str) -> Result<Session, VerifyError> {
    let AppState { verifier, session_service_rest: rest, .. } = state;
    if rest.goes_on(Instant::now()) {
        return verifier.verify_unconfirmed(token);
    }
    let judgement = verifier.authenticate(token).await;
    if !matches!(judgement, Err(VerifyError::Unavailable)) {
        rest.end();
        return judgement;
    }
    // Before the rest begins: strangers must not bring it about.
    let session = verifier.verify_unconfirmed(token)?;
    if rest.begin(Instant::now()) {
        tracing::warn!("Accounts are shown to sessions that nobody confirms: session-service is away");
    }
    Ok(session)
}

fn refusal(error: &VerifyError) -> ApiError {
    match error {
        VerifyError::Unavailable | VerifyError::Unsure => {
            DependencyError::from(SessionsError::no_answer()).into()
        }
        _ => EdgeError::InvalidToken.into(),
    }
}

/// The token of `Authorization: Bearer <token>` (RFC 6750, section 2.1).
pub fn bearer_token(headers: &HeaderMap) -> Result<SecretString, EdgeError> {
    let mut values = headers.get_all(header::AUTHORIZATION);
    // Of several a proxy may have looked at another one than we would.
    let value = values.next().filter(|_| values.next().is_none()).and_then(|value| value.to_str().ok());
    let (scheme, token) = value.and_then(|value| value.split_once(' ')).ok_or(EdgeError::MissingToken)?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(EdgeError::MissingToken);
    }
    if token.len() > MAX_TOKEN_BYTES { Err(EdgeError::InvalidToken) } else { Ok(SecretString::from(token)) }
}
