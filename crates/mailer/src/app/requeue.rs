//! The way back into the queue for a message whose command is still there.

use auth_events::{
    RawEnvelope,
    commands::{Lane, MAIL_SEND},
    routing::Route,
};
use auth_ids::EventId;
use chrono::{DateTime, Utc};
use diesel_async::AsyncConnection;
use event_bus::{OutgoingMessage, PublishError, Publisher};
use pg::Database;

use crate::{
    domain::message::{Circumstances, MessageState},
    store::{
        moves::{self, Requeued},
        transitions,
    },
};

/// Queues those of the messages `ids` in the database that failed or wait and could still be sent.
pub(super) async fn queue(
    database: &Database,
    ids: &[EventId],
    actor: &str,
    now: DateTime<Utc>,
) -> pg::Result<Vec<Requeued>> {
    let mut conn = database.connection().await?;
    conn.transaction(async |conn| {
        let queued = moves::requeue(conn, ids, now).await?;
        let circumstances =
            |attempt| Circumstances { attempt, actor: Some(actor), ..Circumstances::default() };
        let moved = queued.iter().map(|message| (message.id, circumstances(message.attempts))).collect();
        transitions::append_all(conn, MessageState::Queued, moved, now).await?;
        Ok(queued)
    })
    .await
}

/// Puts the commands of messages into the queues of their lanes. What the broker does not take is found by those who look after messages.
pub(super) async fn publish(publisher: &Publisher, messages: Vec<Requeued>) -> Vec<Result<(), PublishError>> {
    publisher.publish(messages.into_iter().map(posting).collect()).await
}

fn posting(message: Requeued) -> OutgoingMessage {
    // A lane of a later release has no queue that we know; the most urgent one loses no time.
    let lane = Lane::ALL.iter().copied().find(|lane| lane.name() == message.lane).unwrap_or(Lane::Security);
    let envelope: Option<RawEnvelope> = serde_json::from_slice(&message.command).ok();
    let version = envelope.as_ref().map_or(1, |envelope| envelope.version);
    OutgoingMessage {
        route: Route::mail(lane),
        message_id: message.id.to_string(),
        message_type: format!("{MAIL_SEND}.v{version}"),
        traceparent: envelope.and_then(|envelope| envelope.traceparent),
        payload: message.command,
    }
}
