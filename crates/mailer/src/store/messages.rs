use auth_ids::{EventId, GenericUuid, UserId, Uuid};
use chrono::{DateTime, TimeDelta, Utc};
use diesel::{
    dsl::sql,
    pg::Pg,
    prelude::*,
    sql_types::{Bool, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use pg::AsyncPgConnection;

use super::schema::messages;
use crate::domain::{
    claim::stale_before,
    mail_command::MailCommand,
    message::{Message, MessageState},
    settlement::{Reply, Settlement},
};

/// Which messages to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageFilter {
    /// Only those for this user.
    pub user_id: Option<UserId>,
    /// Only those to this address.
    pub to: Option<String>,
    /// Only those in this state.
    pub state: Option<MessageState>,
}

/// A place in the list of all messages, newest first: right after the message that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// When the message was first seen.
    pub created_at: DateTime<Utc>,
    /// Its id.
    pub id: EventId,
}

#[derive(Insertable)]
#[diesel(table_name = messages, treat_none_as_default_value = false)]
struct NewMessageRow<'a> {
    id: Uuid,
    user_id: Option<Uuid>,
    template: &'a str,
    locale: &'a str,
    lane: &'a str,
    recipient: &'a str,
    message_id_header: &'a str,
    state: &'a str,
    requested_at: DateTime<Utc>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = messages, check_for_backend(Pg))]
struct MessageRow {
    id: Uuid,
    user_id: Option<Uuid>,
    template: String,
    locale: String,
    lane: String,
    recipient: String,
    message_id_header: String,
    state: String,
    attempts: i32,
    last_reply: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    sent_at: Option<DateTime<Utc>>,
}

/// Stores `command` as queued, unless it is there already; says whether it was new.
pub async fn insert_if_new(
    conn: &mut AsyncPgConnection,
    command: &MailCommand,
    message_id_header: &str,
    now: DateTime<Utc>,
) -> pg::Result<bool> {
    let row = NewMessageRow {
        id: command.id.into_untyped_uuid(),
        user_id: command.user_id.map(GenericUuid::into_untyped_uuid),
        template: command.template().name(),
        locale: command.locale.tag(),
        lane: command.lane.name(),
        recipient: command.to.as_ref(),
        message_id_header,
        state: MessageState::Queued.name(),
        requested_at: command.requested_at,
        created_at: now,
        updated_at: now,
        expires_at: command.expires_at,
    };
    let inserted =
        diesel::insert_into(messages::table).values(row).on_conflict_do_nothing().execute(conn).await?;
    Ok(inserted == 1)
}

/// Takes the message `id` for sending, if it is due and nobody alive has it; the number of the attempt.
pub async fn claim(conn: &mut AsyncPgConnection, id: EventId, now: DateTime<Utc>) -> pg::Result<Option<u32>> {
    let due = messages::state
        .eq(MessageState::Queued.name())
        .or(messages::state
            .eq(MessageState::Deferred.name())
            .and(messages::retry_at.assume_not_null().le(now)))
        .or(is_stale(now));
    let attempt: Option<i32> = diesel::update(
        messages::table.find(id.into_untyped_uuid()).filter(messages::expires_at.gt(now)).filter(due),
    )
    .set((
        messages::state.eq(MessageState::Sending.name()),
        messages::attempts.eq(messages::attempts + 1),
        messages::claimed_at.eq(now),
        messages::retry_at.eq(None::<DateTime<Utc>>),
        messages::updated_at.eq(now),
    ))
    .returning(messages::attempts)
    .get_result(conn)
    .await
    .optional()?;
    Ok(attempt.map(i32::unsigned_abs))
}

/// Marks the message `id` as expired, if it is, and nobody alive is sending it; the number of attempts that were made.
pub async fn expire(
    conn: &mut AsyncPgConnection,
    id: EventId,
    now: DateTime<Utc>,
) -> pg::Result<Option<u32>> {
    let waiting = messages::state
        .eq_any([MessageState::Queued.name(), MessageState::Deferred.name()])
        .or(is_stale(now));
    let attempts: Option<i32> = diesel::update(
        messages::table.find(id.into_untyped_uuid()).filter(messages::expires_at.le(now)).filter(waiting),
    )
    .set((
        messages::state.eq(MessageState::Expired.name()),
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

/// Writes down what came of attempt number `attempt`; `false` when the message was taken from us meanwhile.
pub async fn settle(
    conn: &mut AsyncPgConnection,
    id: EventId,
    attempt: u32,
    settlement: Settlement,
    reply: &Reply,
    now: DateTime<Utc>,
) -> pg::Result<bool> {
    let retry_at = match settlement {
        Settlement::Deferred(delay) => Some(now + TimeDelta::from_std(delay).unwrap_or_default()),
        _ => None,
    };
    let sent_at = (settlement == Settlement::Sent).then_some(now);
    let ours = messages::state
        .eq(MessageState::Sending.name())
        .and(messages::attempts.eq(i32::try_from(attempt).unwrap_or(i32::MAX)));
    let updated = diesel::update(messages::table.find(id.into_untyped_uuid()).filter(ours))
        .set((
            messages::state.eq(MessageState::after(settlement).name()),
            messages::last_reply.eq(reply.as_str()),
            messages::claimed_at.eq(None::<DateTime<Utc>>),
            messages::retry_at.eq(retry_at),
            messages::sent_at.eq(sent_at),
            messages::updated_at.eq(now),
        ))
        .execute(conn)
        .await?;
    Ok(updated == 1)
}

/// The message `id`.
pub async fn find(conn: &mut AsyncPgConnection, id: EventId) -> pg::Result<Option<Message>> {
    let row = messages::table
        .find(id.into_untyped_uuid())
        .select(MessageRow::as_select())
        .first(conn)
        .await
        .optional()?;
    Ok(row.map(MessageRow::into_message))
}

/// Up to `limit` messages that pass `filter`, newest first, from right after `position`.
pub async fn list(
    conn: &mut AsyncPgConnection,
    filter: &MessageFilter,
    position: Option<Position>,
    limit: i64,
) -> pg::Result<Vec<Message>> {
    let mut query = messages::table.select(MessageRow::as_select()).into_boxed();
    if let Some(user_id) = filter.user_id {
        query = query.filter(messages::user_id.eq(user_id.into_untyped_uuid()));
    }
    if let Some(to) = &filter.to {
        query = query.filter(messages::recipient.eq(to));
    }
    if let Some(state) = filter.state {
        query = query.filter(messages::state.eq(state.name()));
    }
    if let Some(Position { created_at, id }) = position {
        // A row comparison, because only that one is a range of the index.
        query = query.filter(
            sql::<Bool>("(created_at, id) < (")
                .bind::<Timestamptz, _>(created_at)
                .sql(", ")
                .bind::<SqlUuid, _>(id.into_untyped_uuid())
                .sql(")"),
        );
    }
    let rows =
        query.order((messages::created_at.desc(), messages::id.desc())).limit(limit).load(conn).await?;
    Ok(rows.into_iter().map(MessageRow::into_message).collect())
}

#[diesel::dsl::auto_type]
fn is_stale(now: DateTime<Utc>) -> _ {
    let before: DateTime<Utc> = stale_before(now);
    let sending: &'static str = MessageState::Sending.name();
    messages::state.eq(sending).and(messages::claimed_at.assume_not_null().lt(before))
}

impl MessageRow {
    fn into_message(self) -> Message {
        Message {
            id: EventId::from_untyped_uuid(self.id),
            user_id: self.user_id.map(UserId::from_untyped_uuid),
            template: self.template,
            locale: self.locale,
            lane: self.lane,
            to: self.recipient,
            message_id_header: self.message_id_header,
            state: MessageState::from_name(&self.state),
            attempts: self.attempts.unsigned_abs(),
            last_reply: self.last_reply,
            created_at: self.created_at,
            updated_at: self.updated_at,
            expires_at: self.expires_at,
            sent_at: self.sent_at,
        }
    }
}
