use auth_events::{Actor, ActorKind, Client, Outcome, Severity, Target};
use auth_ids::{EventId, UserId, Uuid};
use chrono::{DateTime, Utc};
use serde_json::Value;

/// An event that is fit to be recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub id: EventId,
    /// `domain.action`
    pub name: String,
    pub version: u16,
    /// The service that said it.
    pub source: String,
    /// In whole microseconds, which is what the database keeps.
    pub occurred_at: DateTime<Utc>,
    pub subject_id: Option<UserId>,
    pub actor: Actor,
    pub outcome: Outcome,
    pub severity: Severity,
    pub reason: Option<String>,
    pub target: Option<Target>,
    pub client: Client,
    /// W3C trace id.
    pub trace_id: Option<String>,
    /// What the type adds; an object.
    pub detail: Value,
}

impl Event {
    /// An event that any database with our migrations takes. It tells a row that cannot be stored from a database that
    /// stores nothing, and is itself never kept.
    #[must_use]
    pub fn specimen() -> Self {
        Self {
            id: auth_ids::GenericUuid::from_untyped_uuid(Uuid::max()),
            name: "system.specimen".to_owned(),
            version: 1,
            source: "audit-service".to_owned(),
            occurred_at: DateTime::UNIX_EPOCH,
            subject_id: None,
            actor: Actor { kind: ActorKind::Service, id: None, name: None },
            outcome: Outcome::Success,
            severity: Severity::Info,
            reason: None,
            target: None,
            client: Client { ip: None, user_agent: None, request_id: None },
            trace_id: None,
            detail: Value::Object(serde_json::Map::new()),
        }
    }
}

/// An event as the log holds it. Names are text here: a newer build may have written ones that this build does not know.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedEvent {
    pub seq: i64,
    /// The name of a [`Class`](super::Class).
    pub class: String,
    pub id: Uuid,
    pub name: String,
    pub version: i32,
    pub source: String,
    pub occurred_at: DateTime<Utc>,
    pub recorded_at: DateTime<Utc>,
    pub subject_id: Option<Uuid>,
    pub actor_kind: String,
    pub actor_id: Option<Uuid>,
    pub actor_name: Option<String>,
    pub outcome: String,
    pub severity: String,
    pub reason: Option<String>,
    pub target: Option<Target>,
    pub client: Client,
    pub trace_id: Option<String>,
    pub detail: Value,
    /// Whether it had personal data whose key is gone.
    pub erased: bool,
    pub prev_hash: Vec<u8>,
    pub hash: Vec<u8>,
}
