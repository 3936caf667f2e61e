use auth_ids::{EventId, GenericUuid};
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

/// Notes that `message` went to `state`.
pub async fn append(
    conn: &mut AsyncPgConnection,
    message: EventId,
    state: MessageState,
    circumstances: Circumstances<'_>,
    at: DateTime<Utc>,
) -> pg::Result<()> {
    append_all(conn, state, vec![(message, circumstances)], at).await
}

/// Notes that each of `messages` went to `state`.
pub async fn append_all(
    conn: &mut AsyncPgConnection,
    state: MessageState,
    messages: Vec<(EventId, Circumstances<'_>)>,
    at: DateTime<Utc>,
) -> pg::Result<()> {
    let row = |(message, circumstances): (EventId, Circumstances<'_>)| {
        let Circumstances { attempt, provider, reply, actor } = circumstances;
        (
            message_transitions::message.eq(message.into_untyped_uuid()),
            message_transitions::state.eq(state.name()),
            message_transitions::attempt.eq(i32::try_from(attempt).unwrap_or(i32::MAX)),
            message_transitions::provider.eq(provider.map(ProviderName::name)),
            message_transitions::reply.eq(reply.map(str::to_owned)),
            message_transitions::actor.eq(actor.map(str::to_owned)),
            message_transitions::at.eq(at),
        )
    };
    let rows: Vec<_> = messages.into_iter().map(row).collect();
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
