use auth_ids::{EventId, GenericUuid, UserId, Uuid};
use chrono::{DateTime, Utc};
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
    mail_command::MailCommand,
    message::{Message, MessageState},
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
    /// Only those of this template.
    pub template: Option<String>,
    /// Only those that failed for this reason, a code.
    pub failure: Option<String>,
    /// Only those whose command is still there.
    pub with_command: bool,
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
    supersedes: Option<&'a str>,
    state: &'a str,
    command: &'a [u8],
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
    provider: Option<String>,
    last_reply: Option<String>,
    failure: Option<String>,
    #[diesel(select_expression = messages::command.is_not_null())]
    has_command: bool,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    sent_at: Option<DateTime<Utc>>,
    retry_at: Option<DateTime<Utc>>,
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
        supersedes: command.supersedes.as_deref(),
        command: &command.envelope,
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
    if let Some(template) = &filter.template {
        query = query.filter(messages::template.eq(template));
    }
    if let Some(failure) = &filter.failure {
        query = query.filter(messages::failure.eq(failure));
    }
    if filter.with_command {
        query = query.filter(messages::command.is_not_null());
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
            provider: self.provider,
            last_reply: self.last_reply,
            failure: self.failure,
            has_command: self.has_command,
            created_at: self.created_at,
            updated_at: self.updated_at,
            expires_at: self.expires_at,
            sent_at: self.sent_at,
            retry_at: self.retry_at,
        }
    }
}
