use std::borrow::Cow;

use auth_events::{
    Actor, ActorKind, Client, FactDetail, Outcome, Severity, Target, facts::SystemSubjectErased,
};
use auth_ids::{GenericUuid, UserId, Uuid};
use chrono::{DateTime, SubsecRound, Utc};
use clock::Clock;
use diesel_async::AsyncConnection;
use serde_json::{Map, Value};
use service_error::{ErrorKind, ServiceError};
use tracing::info;

use super::{AuditLog, record::AppendError};
use crate::{domain::Event, store};

/// How many hashes of addresses are deleted at a time; fits into a statement's time.
const ADDRESSES: i64 = 5_000;

/// Who asks for an erasure, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    pub subject: Uuid,
    pub actor: Actor,
    /// A code in `snake_case`.
    pub reason: String,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Erased {
    pub at: DateTime<Utc>,
    /// Whether it is new.
    pub changed: bool,
}

/// Why nobody was erased.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    #[error("the log cannot be written")]
    Database(#[from] pg::Error),
    #[error("the erasure cannot be recorded")]
    Unrecorded(#[source] Box<dyn std::error::Error + Send + Sync>),
}
pg::leaves_transactions!(EraseError);

impl AuditLog {
    /// Forgets a person: their key is deleted, and with it what it sealed in rows, exports and, as they expire, backups. No row
    /// changes, so the chains stay whole. Whatever comes late about them is recorded without personal data.
    pub async fn erase(&self, erasure: &Erasure, clock: &dyn Clock) -> Result<Erased, EraseError> {
        let mut conn = self.database.connection().await?;
        let erased = conn
            .transaction(async |conn| {
                // In the order in which appends lock: the log's end first.
                store::chain::lock_heads(conn).await?;
                if let Some(at) = store::keys::erased_at(conn, erasure.subject).await? {
                    return Ok(Erased { at, changed: false });
                }
                let at = clock.now().trunc_subsecs(6);
                store::keys::erase_subject(conn, erasure.subject, at).await?;
                self.append_with(conn, &[event(erasure, at)]).await?;
                Ok::<_, EraseError>(Erased { at, changed: true })
            })
            .await?;
        // After the key, so that no new one comes in between; and again on every call, should this one not come to its end.
        while store::keys::forget_addresses(&mut conn, erasure.subject, ADDRESSES).await? > 0 {}
        if erased.changed {
            info!(subject.id = %erasure.subject, "Erased the personal data of subject {}", erasure.subject);
        }
        Ok(erased)
    }

    /// Deletes what is left of erasures that did not come to their end.
    pub async fn finish_erasures(&self) -> pg::Result<()> {
        let mut conn = self.database.connection().await?;
        while store::keys::forget_addresses_of_erased(&mut conn, ADDRESSES).await? > 0 {}
        Ok(())
    }
}

fn event(erasure: &Erasure, at: DateTime<Utc>) -> Event {
    Event {
        id: auth_ids::generate(&clock::SystemClock, &mut clock::secure_rng()),
        name: SystemSubjectErased::NAME.to_owned(),
        version: SystemSubjectErased::VERSION,
        source: "audit-service".to_owned(),
        occurred_at: at,
        subject_id: Some(UserId::from_untyped_uuid(erasure.subject)),
        actor: erasure.actor.clone(),
        outcome: Outcome::Success,
        severity: Severity::Warning,
        reason: Some(erasure.reason.clone()),
        target: Some(Target { kind: "user".to_owned(), id: erasure.subject.to_string() }),
        client: Client { ip: None, user_agent: None, request_id: None },
        trace_id: None,
        detail: Value::Object(Map::new()),
    }
}

/// The actor that a caller is: an administrator on whose behalf it comes, an operator, or the service itself.
#[must_use]
pub fn erasing_actor(caller: &str, on_behalf_of: Option<Uuid>) -> Actor {
    if let Some(id) = on_behalf_of {
        return Actor { kind: ActorKind::User, id: Some(id), name: None };
    }
    let is_service = caller.split('/').next() != Some("operator");
    let kind = if is_service { ActorKind::Service } else { ActorKind::Operator };
    Actor { kind, id: None, name: Some(caller.to_owned()) }
}

impl From<AppendError> for EraseError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Database(error) => Self::Database(error),
            unsealed @ AppendError::Unsealed(_) => Self::Unrecorded(unsealed.into()),
        }
    }
}

impl ServiceError for EraseError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Database(error) => super::database_error_kind(error),
            Self::Unrecorded(_) => ErrorKind::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Database(error) => super::database_error_reason(error),
            Self::Unrecorded(_) => "internal",
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        Cow::Borrowed(self.kind().title())
    }
}
