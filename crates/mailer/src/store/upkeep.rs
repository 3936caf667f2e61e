//! What is done to messages that nobody asks for any more.

use auth_ids::{EventId, GenericUuid, Uuid};
use chrono::{DateTime, TimeDelta, Utc};
use diesel::{
    QueryableByName,
    prelude::*,
    sql_types::{BigInt, Binary, Integer, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use pg::AsyncPgConnection;

use super::{attempts::is_stale, moves::Requeued, schema::messages};
use crate::domain::{claim::stale_before, message::MessageState};

/// After this a message that is due should have been tried: what the broker held of it is lost, or was never there.
const OVERDUE_AFTER: TimeDelta = TimeDelta::minutes(2);
/// How long one that was put into its queue again may take to be tried.
const PATIENCE: TimeDelta = TimeDelta::minutes(5);

#[derive(QueryableByName)]
struct OverdueRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    lane: String,
    #[diesel(sql_type = Binary)]
    command: Vec<u8>,
    #[diesel(sql_type = Integer)]
    attempts: i32,
}

/// Up to `limit` messages of `lane` that are due for so long that the broker must have lost them; they are returned once in a while.
pub async fn take_overdue(
    conn: &mut AsyncPgConnection,
    lane: &str,
    now: DateTime<Utc>,
    limit: i64,
) -> pg::Result<Vec<Requeued>> {
    let rows: Vec<OverdueRow> = diesel::sql_query(
        "UPDATE messages SET revived_at = $1 WHERE id IN ( \
             SELECT id FROM messages \
             WHERE command IS NOT NULL AND lane = $2 AND expires_at > $1 \
               AND (state = 'queued' AND updated_at < $3 OR state = 'deferred' AND retry_at < $3 \
                    OR state = 'sending' AND claimed_at < $4) \
               AND (revived_at IS NULL OR revived_at < $5) \
             ORDER BY requested_at LIMIT $6 FOR UPDATE SKIP LOCKED) \
         RETURNING id, lane, command, attempts",
    )
    .bind::<Timestamptz, _>(now)
    .bind::<Text, _>(lane)
    .bind::<Timestamptz, _>(now - OVERDUE_AFTER)
    .bind::<Timestamptz, _>(stale_before(now) - OVERDUE_AFTER)
    .bind::<Timestamptz, _>(now - PATIENCE)
    .bind::<BigInt, _>(limit)
    .load(conn)
    .await?;
    let known = |row: OverdueRow| Requeued {
        id: EventId::from_untyped_uuid(row.id),
        lane: row.lane,
        command: row.command,
        attempts: row.attempts.unsigned_abs(),
    };
    Ok(rows.into_iter().map(known).collect())
}

/// Notes that the broker has a message that waits and holds it until `until` at the latest, so that it is not taken for lost before.
pub async fn note_held(conn: &mut AsyncPgConnection, id: EventId, until: DateTime<Utc>) -> pg::Result<()> {
    let waiting = messages::table.find(id.into_untyped_uuid()).filter(
        messages::state.eq_any([MessageState::Queued, MessageState::Deferred].map(MessageState::name)),
    );
    diesel::update(waiting).set(messages::revived_at.eq(until)).execute(conn).await?;
    Ok(())
}

/// Up to `limit` messages that expired a while ago, that nobody came back to say so of and that nobody alive is sending.
pub async fn forgotten(
    conn: &mut AsyncPgConnection,
    now: DateTime<Utc>,
    limit: i64,
) -> pg::Result<Vec<EventId>> {
    let ids: Vec<Uuid> = messages::table
        .filter(messages::command.is_not_null())
        .filter(messages::state.ne(MessageState::Failed.name()))
        .filter(messages::state.ne(MessageState::Sending.name()).or(is_stale(now)))
        .filter(messages::expires_at.lt(now - OVERDUE_AFTER))
        .select(messages::id)
        .limit(limit)
        .load(conn)
        .await?;
    Ok(ids.into_iter().map(EventId::from_untyped_uuid).collect())
}

/// Drops the commands of up to `limit` messages that failed and have expired: nobody can try them again.
pub async fn drop_dead_commands(
    conn: &mut AsyncPgConnection,
    now: DateTime<Utc>,
    limit: i64,
) -> pg::Result<usize> {
    let dropped = diesel::sql_query(
        "UPDATE messages SET command = NULL WHERE id IN ( \
             SELECT id FROM messages WHERE command IS NOT NULL AND state = 'failed' AND expires_at <= $1 \
             ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
    )
    .bind::<Timestamptz, _>(now)
    .bind::<BigInt, _>(limit)
    .execute(conn)
    .await?;
    Ok(dropped)
}

/// Deletes up to `limit` messages, with their history, that came to their end before `before`.
pub async fn delete_ended(
    conn: &mut AsyncPgConnection,
    before: DateTime<Utc>,
    limit: i64,
) -> pg::Result<usize> {
    let ended: Vec<Uuid> = messages::table
        .filter(messages::created_at.lt(before))
        .filter(messages::updated_at.lt(before))
        .filter(messages::state.ne_all([
            MessageState::Queued.name(),
            MessageState::Sending.name(),
            MessageState::Deferred.name(),
        ]))
        .order(messages::created_at)
        .select(messages::id)
        .limit(limit)
        .load(conn)
        .await?;
    if ended.is_empty() {
        return Ok(0);
    }
    Ok(diesel::delete(messages::table.filter(messages::id.eq_any(ended))).execute(conn).await?)
}

/// How many messages are in each state that is not an end, or failed.
pub async fn count_unfinished(conn: &mut AsyncPgConnection) -> pg::Result<Vec<(MessageState, u64)>> {
    let states = [MessageState::Queued, MessageState::Sending, MessageState::Deferred, MessageState::Failed];
    let counted: Vec<(String, i64)> = messages::table
        .filter(messages::state.ne(MessageState::Sent.name()))
        .filter(messages::state.eq_any(states.map(MessageState::name)))
        .group_by(messages::state)
        .select((messages::state, diesel::dsl::count_star()))
        .load(conn)
        .await?;
    let count = |state: MessageState| {
        let of_state = counted.iter().find(|(name, _)| name == state.name());
        of_state.map_or(0, |(_, count)| count.unsigned_abs())
    };
    Ok(states.map(|state| (state, count(state))).to_vec())
}
