//! What happens to messages that nobody is sending.

use auth_ids::{EventId, GenericUuid, Uuid};
use chrono::{DateTime, Utc};
use diesel::{
    dsl::sql,
    prelude::*,
    sql_types::{Bool, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use pg::AsyncPgConnection;

use super::{attempts::is_stale, schema::messages};
use crate::domain::{mail_command::MailCommand, message::MessageState};

/// Makes whoever handles mails of the kind `key` at the same time wait until this transaction has ended, so that of two one sees the other.
pub async fn lock_kind(conn: &mut AsyncPgConnection, key: &str) -> pg::Result<()> {
    diesel::sql_query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))")
        .bind::<Text, _>(key)
        .execute(conn)
        .await?;
    Ok(())
}

/// Whether a mail of the kind `key` was requested after `command`.
pub async fn has_successor(
    conn: &mut AsyncPgConnection,
    command: &MailCommand,
    key: &str,
) -> pg::Result<bool> {
    let (at, id) = (command.requested_at, command.id.into_untyped_uuid());
    let is_later = messages::requested_at.gt(at).or(messages::requested_at.eq(at).and(messages::id.gt(id)));
    let later = messages::table.filter(messages::supersedes.eq(key).and(is_later));
    Ok(diesel::select(diesel::dsl::exists(later)).get_result(conn).await?)
}

/// Gives up the mails of the kind `key` that were requested before `command` and that nobody is sending; which, and in which attempt they were.
pub async fn supersede_older(
    conn: &mut AsyncPgConnection,
    command: &MailCommand,
    key: &str,
    now: DateTime<Utc>,
) -> pg::Result<Vec<(EventId, u32)>> {
    let older = messages::table
        .filter(messages::supersedes.eq(key))
        .filter(messages::state.eq_any([
            MessageState::Queued.name(),
            MessageState::Deferred.name(),
            MessageState::Failed.name(),
        ]))
        .filter(
            sql::<Bool>("(requested_at, id) < (")
                .bind::<Timestamptz, _>(command.requested_at)
                .sql(", ")
                .bind::<SqlUuid, _>(command.id.into_untyped_uuid())
                .sql(")"),
        );
    let rows: Vec<(Uuid, i32)> = diesel::update(older)
        .set((
            messages::state.eq(MessageState::Superseded.name()),
            messages::command.eq(None::<Vec<u8>>),
            messages::failure.eq(None::<String>),
            messages::retry_at.eq(None::<DateTime<Utc>>),
            messages::updated_at.eq(now),
        ))
        .returning((messages::id, messages::attempts))
        .get_results(conn)
        .await?;
    let known = |(id, attempts): (Uuid, i32)| (EventId::from_untyped_uuid(id), attempts.unsigned_abs());
    Ok(rows.into_iter().map(known).collect())
}

/// Moves the message `id`, which nobody alive is sending, to its end `end`, if it may go there; the number of attempts that were made.
pub async fn give_up(
    conn: &mut AsyncPgConnection,
    id: EventId,
    end: MessageState,
    now: DateTime<Utc>,
) -> pg::Result<Option<u32>> {
    let waiting: Vec<&str> = MessageState::ALL
        .iter()
        .filter(|state| **state != MessageState::Sending && state.may_become(end))
        .map(|state| state.name())
        .collect();
    let stale_too = MessageState::Sending.may_become(end);
    let attempts: Option<i32> = diesel::update(
        messages::table
            .find(id.into_untyped_uuid())
            .filter(messages::state.eq_any(waiting).or(stale_too.into_sql::<Bool>().and(is_stale(now)))),
    )
    .set((
        messages::state.eq(end.name()),
        messages::command.eq(None::<Vec<u8>>),
        messages::failure.eq(None::<String>),
        messages::claimed_at.eq(None::<DateTime<Utc>>),
        messages::retry_at.eq(None::<DateTime<Utc>>),
        messages::updated_at.eq(now),
    ))
    .returning(messages::attempts)
    .get_result(conn)
    .await
    .optional()?;
    Ok(attempts.map(i32::unsigned_abs))
}

/// A message that goes back to its queue.
#[derive(Debug, Clone)]
pub struct Requeued {
    /// Its id.
    pub id: EventId,
    /// The lane whose queue it belongs to.
    pub lane: String,
    /// The command as it came.
    pub command: Vec<u8>,
    /// How often it was tried.
    pub attempts: u32,
}

/// Queues those of the messages `ids` again, with the whole ladder before them, that failed or wait and whose command is still there. What somebody
/// else changes at the same time is passed over.
pub async fn requeue(
    conn: &mut AsyncPgConnection,
    ids: &[EventId],
    now: DateTime<Utc>,
) -> pg::Result<Vec<Requeued>> {
    let free: Vec<Uuid> = messages::table
        .filter(messages::id.eq_any(ids.iter().map(|id| id.into_untyped_uuid())))
        .filter(messages::state.eq_any([MessageState::Failed.name(), MessageState::Deferred.name()]))
        .filter(messages::expires_at.gt(now))
        .filter(messages::command.is_not_null())
        .order(messages::id)
        .select(messages::id)
        .for_no_key_update()
        .skip_locked()
        .load(conn)
        .await?;
    let queued = diesel::update(messages::table.filter(messages::id.eq_any(free)));
    let rows: Vec<(Uuid, String, Option<Vec<u8>>, i32)> = queued
        .set((
            messages::state.eq(MessageState::Queued.name()),
            messages::failure.eq(None::<String>),
            messages::retry_at.eq(None::<DateTime<Utc>>),
            messages::deferrals.eq(0),
            messages::ambiguous.eq(0),
            messages::crashes.eq(0),
            messages::revived_at.eq(None::<DateTime<Utc>>),
            messages::updated_at.eq(now),
        ))
        .returning((messages::id, messages::lane, messages::command, messages::attempts))
        .get_results(conn)
        .await?;
    let known = |(id, lane, command, attempts): (Uuid, String, Option<Vec<u8>>, i32)| {
        let id = EventId::from_untyped_uuid(id);
        Some(Requeued { id, lane, command: command?, attempts: attempts.unsigned_abs() })
    };
    Ok(rows.into_iter().filter_map(known).collect())
}
