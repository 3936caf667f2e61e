use auth_ids::{EventId, GenericUuid};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use pg::AsyncPgConnection;

use super::schema::message_transitions;
use crate::domain::{message::MessageState, settlement::Reply};

/// Notes that `message` went to `state` in attempt number `attempt`, 0 before the first.
pub async fn append(
    conn: &mut AsyncPgConnection,
    message: EventId,
    state: MessageState,
    attempt: u32,
    reply: Option<&Reply>,
    at: DateTime<Utc>,
) -> pg::Result<()> {
    diesel::insert_into(message_transitions::table)
        .values((
            message_transitions::message.eq(message.into_untyped_uuid()),
            message_transitions::state.eq(state.name()),
            message_transitions::attempt.eq(i32::try_from(attempt).unwrap_or(i32::MAX)),
            message_transitions::reply.eq(reply.map(Reply::as_str)),
            message_transitions::at.eq(at),
        ))
        .execute(conn)
        .await?;
    Ok(())
}
