use auth_ids::{EventId, GenericUuid, Uuid};
use chrono::{DateTime, Utc};
use diesel::{pg::Pg, prelude::*};
use diesel_async::RunQueryDsl;
use pg::AsyncPgConnection;

use super::schema::message_transitions;
use crate::domain::{
    message::{Circumstances, MessageState, Transition},
    provider::ProviderName,
};

#[derive(Queryable, Selectable)]
#[diesel(table_name = message_transitions, check_for_backend(Pg))]
struct TransitionRow {
    state: String,
    attempt: i32,
    provider: Option<String>,
    reply: Option<String>,
    actor: Option<String>,
    at: DateTime<Utc>,
}

#[derive(Insertable)]
#[diesel(table_name = message_transitions, check_for_backend(Pg), treat_none_as_default_value = false)]
struct NewTransitionRow<'a> {
    message: Uuid,
    state: &'static str,
    attempt: i32,
    provider: Option<&'static str>,
    reply: Option<&'a str>,
    actor: Option<&'a str>,
    at: DateTime<Utc>,
}

/// Notes that `message` went to `state`.
pub async fn append(
    conn: &mut AsyncPgConnection,
    message: EventId,
    state: MessageState,
    circumstances: Circumstances<'_>,
    at: DateTime<Utc>,
) -> pg::Result<()> {
    // Unlike that of a list, the statement of one row stays prepared.
    let row = NewTransitionRow::new(message, state, circumstances, at);
    diesel::insert_into(message_transitions::table).values(row).execute(conn).await?;
    Ok(())
}

/// Notes that each of `messages` went to `state`.
pub async fn append_all(
    conn: &mut AsyncPgConnection,
    state: MessageState,
    messages: Vec<(EventId, Circumstances<'_>)>,
    at: DateTime<Utc>,
) -> pg::Result<()> {
    let rows: Vec<_> = messages
        .into_iter()
        .map(|(message, circumstances)| NewTransitionRow::new(message, state, circumstances, at))
        .collect();
    diesel::insert_into(message_transitions::table).values(rows).execute(conn).await?;
    Ok(())
}

/// Everything that happened to `message`, oldest first.
pub async fn history(conn: &mut AsyncPgConnection, message: EventId) -> pg::Result<Vec<Transition>> {
    let rows = message_transitions::table
        .filter(message_transitions::message.eq(message.into_untyped_uuid()))
        .order(message_transitions::id)
        .select(TransitionRow::as_select())
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(TransitionRow::into_transition).collect())
}

impl<'a> NewTransitionRow<'a> {
    fn new(
        message: EventId,
        state: MessageState,
        circumstances: Circumstances<'a>,
        at: DateTime<Utc>,
    ) -> Self {
        let Circumstances { attempt, provider, reply, actor } = circumstances;
        Self {
            message: message.into_untyped_uuid(),
            state: state.name(),
            attempt: i32::try_from(attempt).unwrap_or(i32::MAX),
            provider: provider.map(ProviderName::name),
            reply,
            actor,
            at,
        }
    }
}

impl TransitionRow {
    fn into_transition(self) -> Transition {
        Transition {
            state: MessageState::from_name(&self.state),
            attempt: self.attempt.unsigned_abs(),
            provider: self.provider,
            reply: self.reply,
            actor: self.actor,
            at: self.at,
        }
    }
}
