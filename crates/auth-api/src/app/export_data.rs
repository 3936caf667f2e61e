//! Copies of users' data. An order is written down and done in the background, so that it survives a service that is away.

use std::{borrow::Cow, time::Duration};

use auth_events::{Client, Fact, facts::UserDataExported};
use auth_ids::{DataExportId, UserId};
use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::AsyncConnection;
use pg::AsyncPgConnection;
use serde_json::{Value, json};
use service_error::{ErrorKind, ServiceError};
use session_verifier::Session;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::{
    app::{
        dependency::{DependencyError, depends_on_the_outside},
        step_up::{self, Proof, StepUpError, lock_unchanged},
    },
    clients::{
        audit::{Activity, AuditError},
        sessions::DeviceSession,
    },
    domain::user::User,
    state::AppState,
    store::{
        data_exports::{self, DataExport},
        email_changes, known_devices, recovery_codes, totp_factors, users,
    },
};

/// How long a copy can be fetched.
const LIFETIME: TimeDelta = TimeDelta::hours(24);
/// Another copy is made after this at the earliest.
const AGAIN_AFTER: TimeDelta = TimeDelta::hours(1);
const PERIOD: Duration = Duration::from_secs(5);
/// Copies that are tried in one round: one that cannot be made must not be in the way of others.
const BATCH: i64 = 20;
const PAGE: u32 = 100;
/// So many events at most: the whole of a busy account is thousands.
const MAX_EVENTS: usize = 5_000;

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// See [`StepUpError`].
    #[error(transparent)]
    StepUp(StepUpError),
    /// There is no such copy, or it is forgotten, or somebody else's.
    #[error("there is no such copy")]
    NotFound,
    /// See [`DependencyError`].
    #[error(transparent)]
    Dependency(DependencyError),
}

depends_on_the_outside!(ExportError);

impl ServiceError for ExportError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::StepUp(error) => error.kind(),
            Self::NotFound => ErrorKind::NotFound,
            Self::Dependency(error) => error.kind(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::StepUp(error) => error.reason(),
            Self::NotFound => "export_not_found",
            Self::Dependency(error) => error.reason(),
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        match self {
            Self::StepUp(error) => error.public_detail(),
            Self::NotFound => "There is no such export, or it has expired.".into(),
            Self::Dependency(error) => error.public_detail(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::StepUp(error) => error.retry_after(),
            Self::NotFound => None,
            Self::Dependency(error) => error.retry_after(),
        }
    }
}

/// Orders a copy of the data of whoever `caller` is; the last one, if it was ordered within the hour.
pub async fn order(
    state: &AppState,
    caller: &Session,
    proof: Proof,
    client: &Client,
) -> Result<DataExport, ExportError> {
    let user =
        step_up::prove(state, caller, proof, "export_data", client).await.map_err(ExportError::StepUp)?;
    let mut conn = state.database.connection().await?;
    let export = conn
        .transaction(async |conn| {
            lock_unchanged(conn, &user).await.map_err(ExportError::StepUp)?;
            let now = state.clock.now();
            if let Some(recent) = data_exports::find_since(conn, user.id, now - AGAIN_AFTER).await? {
                return Ok(recent);
            }
            let id = auth_ids::generate(&*state.clock, &mut clock::secure_rng());
            let export = DataExport {
                id,
                user_id: user.id,
                document: None,
                created_at: now,
                expires_at: now + LIFETIME,
            };
            data_exports::insert(conn, &export).await?;
            let fact = Fact::by_user(user.id, UserDataExported {}).from_client(client.clone());
            outbox::append_fact(conn, state.fact(Some(user.id), fact)).await?;
            Ok::<_, ExportError>(export)
        })
        .await?;
    state.outbox.wake();
    Ok(export)
}

/// The copy, if it is made already, as JSON.
pub async fn fetch(
    state: &AppState,
    caller: &Session,
    id: DataExportId,
) -> Result<(DataExport, Option<Value>), ExportError> {
    let mut conn = state.database.connection().await?;
    let export = data_exports::find(&mut conn, id, caller.user_id(), state.clock.now()).await?;
    let export = export.ok_or(ExportError::NotFound)?;
    let Some(sealed) = &export.document else { return Ok((export, None)) };
    let opened = state.data_keys.open(sealed, &binding(export.id, export.user_id));
    // Its key was taken out of the ring: nobody can read it any more.
    let opened = opened.map_err(|_| ExportError::NotFound)?;
    let document = serde_json::from_slice(&opened).map_err(DependencyError::from)?;
    Ok((export, Some(document)))
}

fn binding(id: DataExportId, user: UserId) -> Vec<u8> {
    format!("data_exports/{id}/{user}").into_bytes()
}

/// Makes the copies that were ordered, until `stop`. Any number of replicas may do so at once: an order is locked by one.
pub async fn make_copies(state: AppState, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(PERIOD);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let pending = match pending(&state).await {
            Ok(pending) => pending,
            Err(error) => {
                tracing::debug!("What copies were ordered cannot be read: {error}");
                continue;
            }
        };
        for export in pending {
            if let Err(error) = make(&state, &export).await {
                tracing::warn!("A copy of a user's data is left for later: {error}");
            }
        }
    }
}

/// Some of the orders, by chance: one that never succeeds is in nobody's way.
async fn pending(state: &AppState) -> pg::Result<Vec<DataExport>> {
    data_exports::some_pending(&mut *state.database.connection().await?, state.clock.now(), BATCH).await
}

/// The order is not locked meanwhile: other services are asked, and two replicas that make the same copy do no harm.
async fn make(state: &AppState, export: &DataExport) -> Result<(), DependencyError> {
    let mut conn = state.database.connection().await?;
    let Some(stored) = stored_data(&mut conn, export.user_id).await? else { return Ok(()) };
    drop(conn);
    let sessions = state.sessions.list(export.user_id).await?;
    let activity = whole_activity(state, export.user_id).await?;
    let document = document(stored, &sessions, &activity, state.clock.now());
    let plain = Zeroizing::new(serde_json::to_vec(&document)?);
    let binding = binding(export.id, export.user_id);
    let sealed = state.data_keys.seal(&plain, &binding, &mut clock::secure_rng());
    Ok(data_exports::complete(&mut *state.database.connection().await?, export.id, &sealed).await?)
}

async fn stored_data(conn: &mut AsyncPgConnection, user: UserId) -> pg::Result<Option<Value>> {
    let Some(user) = users::find(conn, user).await? else { return Ok(None) };
    let factor = totp_factors::find(conn, user.id).await?;
    let recovery_codes = recovery_codes::remaining(conn, user.id).await?;
    let devices = known_devices::of_user(conn, user.id).await?;
    let changes = email_changes::of_user(conn, user.id).await?;
    Ok(Some(json!({
        "account": account(&user),
        "secondFactor": {
            "enabledAt": factor.map(|factor| factor.enabled_at),
            "recoveryCodesRemaining": recovery_codes,
        },
        "knownBrowsers": devices.iter().map(|device| json!({
            "firstLoginAt": device.created_at,
            "lastLoginAt": device.last_seen_at,
            "trustedUntil": device.device.trusted_until,
        })).collect::<Vec<_>>(),
        "emailChanges": changes.iter().map(|change| json!({
            "oldEmail": change.old_email,
            "newEmail": change.new_email,
            "requestedAt": change.requested_at,
            "confirmedAt": change.confirmed_at,
            "undoneAt": change.undone_at,
        })).collect::<Vec<_>>(),
    })))
}

fn account(user: &User) -> Value {
    json!({
        "id": user.id.to_string(),
        "email": user.email.as_str(),
        "displayName": user.display_name,
        "locale": user.locale.tag(),
        "status": user.status.name(),
        "roles": user.roles,
        "createdAt": user.created_at,
        "lastLoginAt": user.last_login_at,
    })
}

async fn whole_activity(state: &AppState, user: UserId) -> Result<Vec<Activity>, AuditError> {
    let mut events = Vec::new();
    let mut cursor = None;
    loop {
        let (page, next) = state.audit.activity(user, cursor.as_deref(), PAGE).await?;
        events.extend(page);
        cursor = next;
        if cursor.is_none() || events.len() >= MAX_EVENTS {
            return Ok(events);
        }
    }
}

fn document(
    mut stored: Value,
    sessions: &[DeviceSession],
    activity: &[Activity],
    now: DateTime<Utc>,
) -> Value {
    let sessions: Vec<Value> = sessions
        .iter()
        .map(|session| {
            json!({
                "id": session.id.to_string(),
                "deviceName": session.device_name,
                "ip": session.ip,
                "userAgent": session.user_agent,
                "createdAt": session.created_at,
                "lastSeenAt": session.last_seen_at,
                "expiresAt": session.expires_at,
            })
        })
        .collect();
    let activity: Vec<Value> = activity
        .iter()
        .map(|event| {
            json!({
                "id": event.id,
                "type": event.kind,
                "occurredAt": event.occurred_at,
                "outcome": event.outcome,
                "reason": event.reason,
                "ip": event.ip,
                "userAgent": event.user_agent,
            })
        })
        .collect();
    if let Some(document) = stored.as_object_mut() {
        document.insert("exportedAt".to_owned(), json!(now));
        document.insert("sessions".to_owned(), json!(sessions));
        document.insert("activity".to_owned(), json!(activity));
    }
    stored
}
