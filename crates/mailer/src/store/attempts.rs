//! Taking a message for an attempt, and writing down what came of it.

use auth_ids::{EventId, GenericUuid};
use chrono::{DateTime, TimeDelta, Utc};
use diesel::{dsl::case_when, prelude::*, sql_types::Integer};
use diesel_async::RunQueryDsl;
use pg::AsyncPgConnection;

use super::schema::messages;
use crate::domain::{
    claim::{Attempt, stale_before},
    message::MessageState,
    provider::ProviderName,
    settlement::{Outcome, Settlement},
};

/// What is to be written down about an attempt.
#[derive(Debug, Clone, Copy)]
pub struct Ending<'a> {
    /// What follows.
    pub settlement: Settlement,
    /// What was said.
    pub outcome: &'a Outcome,
    /// By whom.
    pub provider: Option<ProviderName>,
}

/// Takes the message `id` for sending, if it is due and nobody alive has it.
pub async fn claim(
    conn: &mut AsyncPgConnection,
    id: EventId,
    now: DateTime<Utc>,
) -> pg::Result<Option<Attempt>> {
    let due = messages::state
        .eq(MessageState::Queued.name())
        .or(messages::state
            .eq(MessageState::Deferred.name())
            .and(messages::retry_at.assume_not_null().le(now)))
        .or(is_stale(now));
    let left_behind =
        case_when::<_, _, Integer>(messages::state.eq(MessageState::Sending.name()), 1).otherwise(0);
    let row: Option<(i32, i32, i32, i32)> = diesel::update(
        messages::table.find(id.into_untyped_uuid()).filter(messages::expires_at.gt(now)).filter(due),
    )
    .set((
        messages::state.eq(MessageState::Sending.name()),
        messages::attempts.eq(messages::attempts + 1),
        messages::crashes.eq(messages::crashes + left_behind),
        messages::claimed_at.eq(now),
        messages::retry_at.eq(None::<DateTime<Utc>>),
        messages::updated_at.eq(now),
    ))
    .returning((messages::attempts, messages::deferrals, messages::ambiguous, messages::crashes))
    .get_result(conn)
    .await
    .optional()?;
    Ok(row.map(|(number, deferrals, ambiguous, crashes)| Attempt {
        number: number.unsigned_abs(),
        claimed_at: now,
        deferrals: deferrals.unsigned_abs(),
        ambiguous: ambiguous.unsigned_abs(),
        crashes: crashes.unsigned_abs(),
    }))
}

/// Writes down what came of `attempt`; `false` when the message was taken from us meanwhile.
pub async fn settle(
    conn: &mut AsyncPgConnection,
    id: EventId,
    attempt: Attempt,
    ending: Ending<'_>,
    now: DateTime<Utc>,
) -> pg::Result<bool> {
    let Ending { settlement, outcome, provider } = ending;
    let retry_at = match settlement {
        Settlement::Deferred(delay) => Some(now + TimeDelta::from_std(delay).unwrap_or_default()),
        _ => None,
    };
    let failure = match settlement {
        Settlement::Failed(failure) => Some(failure.code()),
        _ => None,
    };
    let sent_at = (settlement == Settlement::Sent).then_some(now);
    // An interruption is nobody's fault, and the next step of the ladder is not for it.
    let is_setback = !matches!(outcome, Outcome::Interrupted(_));
    let ours = messages::state
        .eq(MessageState::Sending.name())
        .and(messages::attempts.eq(i32::try_from(attempt.number).unwrap_or(i32::MAX)));
    let target = messages::table.find(id.into_untyped_uuid()).filter(ours);
    let changes = (
        messages::state.eq(MessageState::after(settlement).name()),
        messages::provider.eq(provider.map(ProviderName::name)),
        messages::last_reply.eq(outcome.reply().as_str()),
        messages::deferrals.eq(messages::deferrals + i32::from(is_setback)),
        messages::ambiguous.eq(messages::ambiguous + i32::from(matches!(outcome, Outcome::Ambiguous(_)))),
        messages::failure.eq(failure),
        messages::claimed_at.eq(None::<DateTime<Utc>>),
        messages::retry_at.eq(retry_at),
        messages::sent_at.eq(sent_at),
        messages::updated_at.eq(now),
    );
    let may_be_tried_again = matches!(settlement, Settlement::Deferred(_) | Settlement::Failed(_));
    let updated = if may_be_tried_again {
        diesel::update(target).set(changes).execute(conn).await?
    } else {
        diesel::update(target).set((changes, messages::command.eq(None::<Vec<u8>>))).execute(conn).await?
    };
    Ok(updated == 1)
}

#[diesel::dsl::auto_type]
pub(super) fn is_stale(now: DateTime<Utc>) -> _ {
    let before: DateTime<Utc> = stale_before(now);
    let sending: &'static str = MessageState::Sending.name();
    messages::state.eq(sending).and(messages::claimed_at.assume_not_null().lt(before))
}
