//! Authenticator apps that wait for their first code.

use auth_ids::{GenericUuid, UserId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::schema::totp_enrolments;
use crate::domain::bearer_secret::SecretHash;

/// Puts an enrolment in place of any other of the user.
pub async fn replace(
    conn: &mut AsyncPgConnection,
    user: UserId,
    challenge: &SecretHash,
    secret: &[u8],
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> pg::Result<()> {
    let values = (
        totp_enrolments::challenge_hash.eq(challenge.as_bytes()),
        totp_enrolments::secret.eq(secret),
        totp_enrolments::created_at.eq(now),
        totp_enrolments::expires_at.eq(expires_at),
    );
    diesel::insert_into(totp_enrolments::table)
        .values((totp_enrolments::user_id.eq(user.into_untyped_uuid()), values))
        .on_conflict(totp_enrolments::user_id)
        .do_update()
        .set(values)
        .execute(conn)
        .await?;
    Ok(())
}

/// The sealed secret that waits for a code, if `challenge` names the user's newest enrolment and it is still good at `now`.
pub async fn find(
    conn: &mut AsyncPgConnection,
    user: UserId,
    challenge: &SecretHash,
    now: DateTime<Utc>,
) -> pg::Result<Option<Vec<u8>>> {
    let live = totp_enrolments::table
        .filter(totp_enrolments::user_id.eq(user.into_untyped_uuid()))
        .filter(totp_enrolments::challenge_hash.eq(challenge.as_bytes()))
        .filter(totp_enrolments::expires_at.gt(now));
    Ok(live.select(totp_enrolments::secret).first(conn).await.optional()?)
}

/// Ends the enrolment `challenge`; says whether it was there. Of any number at once one gets it.
pub async fn take(
    conn: &mut AsyncPgConnection,
    user: UserId,
    challenge: &SecretHash,
    now: DateTime<Utc>,
) -> pg::Result<bool> {
    let live = totp_enrolments::table
        .filter(totp_enrolments::user_id.eq(user.into_untyped_uuid()))
        .filter(totp_enrolments::challenge_hash.eq(challenge.as_bytes()))
        .filter(totp_enrolments::expires_at.gt(now));
    Ok(diesel::delete(live).execute(conn).await? == 1)
}

/// Forgets the user's enrolment, as a change of credentials does.
pub async fn delete(conn: &mut AsyncPgConnection, user: UserId) -> pg::Result<()> {
    diesel::delete(totp_enrolments::table.find(user.into_untyped_uuid())).execute(conn).await?;
    Ok(())
}
