//! audit-service, which knows what happened.

use auth_events::ActorKind;
use auth_ids::UserId;
use auth_proto::audit::v1::{Event, Scope, SearchRequest, audit_service_client::AuditServiceClient};
use chrono::{DateTime, Utc};
use service_runtime::grpc::Channel;
use tonic::{Code, Status};

/// The client; clones share a connection.
#[derive(Clone)]
pub struct AuditLog {
    client: AuditServiceClient<Channel>,
}

/// Why audit-service did not answer.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// It cannot be reached, is at capacity or too slow.
    #[error("audit-service is not available")]
    Unavailable(#[source] Status),
    /// The cursor is none of its own.
    #[error("the cursor is not good")]
    BadCursor,
    /// Its answer breaks the contract.
    #[error("audit-service answered something unexpected")]
    Unexpected(#[source] anyhow::Error),
}

/// Something that happened to a user.
#[derive(Debug, Clone)]
pub struct Activity {
    /// The event's id.
    pub id: String,
    /// `domain.action`.
    pub kind: String,
    /// When.
    pub occurred_at: DateTime<Utc>,
    /// `success`, `failure` or `denied`.
    pub outcome: String,
    /// `info`, `warning` or `critical`.
    pub severity: String,
    /// Stable code of the reason, for outcomes other than success.
    pub reason: Option<String>,
    /// The client's address; of an administrator or operator, none.
    pub ip: Option<String>,
    /// What the client said of itself; of an administrator or operator, nothing.
    pub user_agent: Option<String>,
}

impl AuditLog {
    /// A client on `channel`.
    #[must_use]
    pub fn new(channel: Channel) -> Self {
        Self { client: AuditServiceClient::new(channel) }
    }

    /// What happened to `user`, the newest first, `limit` at a time; and where to go on, if there is more.
    pub async fn activity(
        &self,
        user: UserId,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<(Vec<Activity>, Option<String>), AuditError> {
        let user = user.to_string();
        // Whatever is asked within it, and with whatever cursor: it is this user's part of the log.
        let scope = Scope { viewer: user.clone(), subject_id: user.clone(), ..Scope::default() };
        let request = SearchRequest {
            scope: Some(scope),
            page_size: limit,
            page_token: cursor.unwrap_or_default().to_owned(),
            ..SearchRequest::default()
        };
        let answer = self.client.clone().search(request).await?.into_inner();
        let events =
            answer.events.into_iter().map(|event| activity(event, &user)).collect::<Result<_, _>>()?;
        Ok((events, given(answer.next_page_token)))
    }
}

fn activity(event: Event, user: &str) -> Result<Activity, AuditError> {
    let is_told_whence = !is_of_staff(&event, user);
    let occurred_at = event
        .occurred_at
        .and_then(|time| DateTime::from_timestamp(time.seconds, u32::try_from(time.nanos).unwrap_or(0)))
        .ok_or_else(|| AuditError::Unexpected(anyhow::anyhow!("the time of an event is missing")))?;
    Ok(Activity {
        id: event.id,
        kind: event.r#type,
        occurred_at,
        outcome: event.outcome,
        severity: event.severity,
        reason: given(event.reason),
        ip: given(event.ip).filter(|_| is_told_whence),
        user_agent: given(event.user_agent).filter(|_| is_told_whence),
    })
}

/// Whether somebody did it to `user` who may: an administrator, whose account is another one, or an operator.
fn is_of_staff(event: &Event, user: &str) -> bool {
    let Some(actor) = &event.actor else { return false };
    actor.kind == ActorKind::Operator.name() || (actor.kind == ActorKind::User.name() && actor.id != user)
}

/// Protobuf says "none" by the empty text.
fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

impl From<Status> for AuditError {
    fn from(status: Status) -> Self {
        match status.code() {
            // A timeout of tonic's own arrives as `Cancelled`.
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::ResourceExhausted => {
                Self::Unavailable(status)
            }
            Code::InvalidArgument => Self::BadCursor,
            _ => Self::Unexpected(status.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use auth_proto::audit::v1::Actor;

    use super::*;

    #[test]
    fn a_user_learns_whence_an_intruder_came_and_not_where_administrators_sit() {
        for (kind, id, told) in [
            ("anonymous", "", true),
            ("user", "ada", true),
            ("service", "", true),
            ("user", "admin", false),
            ("operator", "", false),
        ] {
            let actor = Actor { kind: kind.to_owned(), id: id.to_owned(), ..Actor::default() };
            let event = Event {
                actor: Some(actor),
                occurred_at: Some(prost_types::Timestamp::default()),
                ip: "192.0.2.1".to_owned(),
                user_agent: "curl".to_owned(),
                ..Event::default()
            };
            let Activity { ip, user_agent, .. } = activity(event, "ada").unwrap();
            assert_eq!((ip.is_some(), user_agent.is_some()), (told, told), "{kind} {id}");
        }
    }
}
