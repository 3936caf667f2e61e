//! The authenticator apps of accounts.

use auth_ids::{GenericUuid, UserId, Uuid};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::schema::totp_factors;

/// The authenticator app of an account.
#[derive(Debug)]
pub struct TotpFactor {
    /// Its secret, sealed and bound to the user.
    pub secret: Vec<u8>,
    /// Since when codes are asked for.
    pub enabled_at: DateTime<Utc>,
    /// The time step of the last code that was accepted.
    pub last_step: i64,
}

/// Whether the user has one.
pub async fn exists(conn: &mut AsyncPgConnection, user: UserId) -> pg::Result<bool> {
    let factor = totp_factors::table.find(user.into_untyped_uuid());
    Ok(diesel::select(diesel::dsl::exists(factor)).get_result(conn).await?)
}

/// The user's, if there is one.
pub async fn find(conn: &mut AsyncPgConnection, user: UserId) -> pg::Result<Option<TotpFactor>> {
    let row: Option<(Vec<u8>, DateTime<Utc>, i64)> = totp_factors::table
        .find(user.into_untyped_uuid())
        .select((totp_factors::secret, totp_factors::enabled_at, totp_factors::last_step))
        .first(conn)
        .await
        .optional()?;
    Ok(row.map(|(secret, enabled_at, last_step)| TotpFactor { secret, enabled_at, last_step }))
}

/// Gives the user one, unless there is one; says whether it did.
pub async fn insert(conn: &mut AsyncPgConnection, user: UserId, factor: &TotpFactor) -> pg::Result<bool> {
    let id: Uuid = user.into_untyped_uuid();
    let inserted = diesel::insert_into(totp_factors::table)
        .values((
            totp_factors::user_id.eq(id),
            totp_factors::secret.eq(&factor.secret),
            totp_factors::enabled_at.eq(factor.enabled_at),
            totp_factors::last_step.eq(factor.last_step),
        ))
        .on_conflict(totp_factors::user_id)
        .do_nothing()
        .execute(conn)
        .await?;
    Ok(inserted == 1)
}

/// Uses up the code of `step`, and with it all earlier ones; says whether it was there to use. Of any number at once one gets it.
pub async fn use_step(conn: &mut AsyncPgConnection, user: UserId, step: i64) -> pg::Result<bool> {
    let unused = totp_factors::table
        .filter(totp_factors::user_id.eq(user.into_untyped_uuid()))
        .filter(totp_factors::last_step.lt(step));
    Ok(diesel::update(unused).set(totp_factors::last_step.eq(step)).execute(conn).await? == 1)
}

/// Takes the user's away; says whether there was one.
pub async fn delete(conn: &mut AsyncPgConnection, user: UserId) -> pg::Result<bool> {
    Ok(diesel::delete(totp_factors::table.find(user.into_untyped_uuid())).execute(conn).await? == 1)
}

/// Takes the user's away if it was set up at `since` or later; says whether it did.
pub async fn delete_since(
    conn: &mut AsyncPgConnection,
    user: UserId,
    since: DateTime<Utc>,
) -> pg::Result<bool> {
    let newer = totp_factors::table.find(user.into_untyped_uuid()).filter(totp_factors::enabled_at.ge(since));
    Ok(diesel::delete(newer).execute(conn).await? == 1)
}
