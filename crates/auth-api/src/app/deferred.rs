//! Requests whose answer must say nothing about an address. They are written down by one statement, which is the same for every address, and done in
//! the background: neither the answer nor its time depends on whether there is an account.

use std::time::Duration;

use auth_events::{Client, commands::Locale};
use auth_ids::DeferredRequestId;
use chrono::TimeDelta;
use diesel_async::AsyncConnection;
use pg::AsyncPgConnection;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use zeroize::Zeroizing;

use crate::{
    app::{dependency::DependencyError, forgot_password, register, resend_verification},
    domain::email_address::EmailAddress,
    state::AppState,
    store::deferred_requests::{self, DeferredRow},
};

/// Others may have written something down, or what failed may be due again.
const PERIOD: Duration = Duration::from_millis(500);
/// What was written down is done at a time that has nothing to do with when it was asked for, or the next request of whoever asked would be slower by what is
/// done for this one, and that differs between addresses.
const DELAY_MILLIS: std::ops::Range<u64> = 20..250;
const FIRST_RETRY: TimeDelta = TimeDelta::seconds(1);
const LAST_RETRY: TimeDelta = TimeDelta::minutes(10);

/// What is asked for.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum DeferredRequest {
    /// To register an address.
    Register(DeferredRegistration),
    /// To send the verification mail again.
    ResendVerification {
        /// The address, canonical.
        email: String,
    },
    /// To send a link that sets a new password.
    ForgotPassword {
        /// The address, canonical.
        email: String,
    },
}

/// A registration whose password has been hashed.
#[derive(Serialize, Deserialize)]
pub struct DeferredRegistration {
    /// The address, canonical.
    pub email: String,
    /// The PHC string of the password.
    pub password: Zeroizing<String>,
    /// The hash of the registering browser's handle.
    pub handle_hash: Vec<u8>,
    /// How to greet whoever registered.
    pub display_name: Option<String>,
    /// The language of the mail.
    pub locale: Locale,
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    request: DeferredRequest,
    client: Client,
}

/// Why a request that was written down is not done.
#[derive(Debug, thiserror::Error)]
enum DeferredError {
    /// It cannot be read: its key is missing, or another row's content was put there.
    #[error("the request cannot be opened")]
    Unreadable,
    /// See [`DependencyError`].
    #[error(transparent)]
    Dependency(DependencyError),
}

crate::app::dependency::depends_on_the_outside!(DeferredError);

impl DeferredRequest {
    fn kind(&self) -> &'static str {
        match self {
            Self::Register(_) => "register",
            Self::ResendVerification { .. } => "resend_verification",
            Self::ForgotPassword { .. } => "forgot_password",
        }
    }
}

/// Writes `request` down; once this returns it will be done.
pub async fn defer(
    state: &AppState,
    request: DeferredRequest,
    client: &Client,
) -> Result<(), DependencyError> {
    let id = auth_ids::generate(&*state.clock, &mut clock::secure_rng());
    let kind = request.kind();
    let plain = Zeroizing::new(serde_json::to_vec(&Sealed { request, client: client.clone() })?);
    let row = DeferredRow {
        id,
        kind: kind.to_owned(),
        sealed: state.data_keys.seal(&plain, &binding(id, kind), &mut clock::secure_rng()),
        traceparent: telemetry::propagation::current_traceparent(),
        failures: 0,
    };
    deferred_requests::insert(&mut *state.database.connection().await?, &row, state.clock.now()).await?;
    state.deferred.notify_one();
    Ok(())
}

fn binding(id: DeferredRequestId, kind: &str) -> Vec<u8> {
    format!("deferred_requests/{id}/{kind}").into_bytes()
}

/// Does what was written down, until `stop`. Any number of replicas may do so at once: a row is locked by one.
pub async fn do_deferred(state: AppState, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(PERIOD);
    loop {
        let woken = async {
            tokio::select! {
                () = state.deferred.notified() => {}
                _ = ticks.tick() => {}
            }
        };
        if stop.run_until_cancelled(woken).await.is_none() {
            return;
        }
        let delay = Duration::from_millis(clock::random_range(DELAY_MILLIS));
        if stop.run_until_cancelled(tokio::time::sleep(delay)).await.is_none() {
            return;
        }
        while !stop.is_cancelled() && do_next(&state).await {}
    }
}

/// Does one request; says whether there may be more.
async fn do_next(state: &AppState) -> bool {
    let done = async {
        let mut conn = state.database.connection().await.map_err(DependencyError::from)?;
        let mut taken = None;
        let result = conn.transaction(async |conn| take_and_do(conn, state, &mut taken).await).await;
        match (result, taken) {
            (Ok(()), None) => Ok(false),
            (Ok(()), Some(_)) => {
                state.outbox.wake();
                Ok(true)
            }
            (Err(error), None) => Err(error),
            (Err(error), Some(row)) => {
                postpone(&mut conn, state, &row, &error).await?;
                Ok(true)
            }
        }
    };
    match done.await {
        Ok(may_be_more) => may_be_more,
        Err(error) => {
            tracing::debug!("Deferred requests cannot be read: {error}");
            false
        }
    }
}

async fn take_and_do(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    taken: &mut Option<DeferredRow>,
) -> Result<(), DeferredError> {
    let Some(row) = deferred_requests::lock_next(conn, state.clock.now()).await? else { return Ok(()) };
    let row = taken.insert(row);
    let span = tracing::info_span!("app.deferred.do", kind = row.kind);
    telemetry::propagation::continue_trace(&span, row.traceparent.as_deref());
    let plain = state.data_keys.open(&row.sealed, &binding(row.id, &row.kind));
    let plain = plain.map_err(|_| DeferredError::Unreadable)?;
    let Sealed { request, client } = serde_json::from_slice(&plain).map_err(|_| DeferredError::Unreadable)?;
    handle(conn, state, request, &client).instrument(span).await?;
    Ok(deferred_requests::delete(conn, row.id).await?)
}

async fn handle(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    request: DeferredRequest,
    client: &Client,
) -> Result<(), DeferredError> {
    let address = |text: &str| EmailAddress::parse(text).map_err(|_| DeferredError::Unreadable);
    match request {
        DeferredRequest::Register(registration) => {
            let email = address(&registration.email)?;
            register::handle(conn, state, &email, &registration, client).await?;
        }
        DeferredRequest::ResendVerification { email } => {
            resend_verification::handle(conn, state, &address(&email)?, client).await?;
        }
        DeferredRequest::ForgotPassword { email } => {
            forgot_password::handle(conn, state, &address(&email)?, client).await?;
        }
    }
    Ok(())
}

/// Nothing that was written down is forgotten: what fails comes again, ever more rarely.
async fn postpone(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    row: &DeferredRow,
    error: &DeferredError,
) -> Result<(), DeferredError> {
    let factor = 1_i32.checked_shl(row.failures.clamp(0, 20).unsigned_abs()).unwrap_or(i32::MAX);
    let wait = FIRST_RETRY.checked_mul(factor).unwrap_or(LAST_RETRY).min(LAST_RETRY);
    tracing::warn!(kind = row.kind, "Deferred request {} failed and is tried again later: {error}", row.id);
    deferred_requests::postpone(conn, row.id, state.clock.now() + wait).await?;
    Ok(())
}
