//! Logins whose password was right and whose second factor is awaited.

use auth_ids::{GenericUuid, LoginChallengeId, UserId, Uuid};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::schema::login_challenges;
use crate::domain::bearer_secret::SecretHash;

/// So many codes may be tried with one challenge.
const TRIES: i32 = 5;

/// A login that awaits its second factor.
#[derive(Debug)]
pub struct LoginChallenge {
    /// Its id.
    pub id: LoginChallengeId,
    /// Whose account the password opened.
    pub user_id: UserId,
    /// The account's credentials when it did.
    pub credential_epoch: i64,
    /// What the user calls the device.
    pub device_name: Option<String>,
    /// Whether the session may outlive twelve hours.
    pub remember_me: bool,
}

type Columns = (
    login_challenges::id,
    login_challenges::user_id,
    login_challenges::credential_epoch,
    login_challenges::device_name,
    login_challenges::remember_me,
);
const COLUMNS: Columns = (
    login_challenges::id,
    login_challenges::user_id,
    login_challenges::credential_epoch,
    login_challenges::device_name,
    login_challenges::remember_me,
);

impl From<(Uuid, Uuid, i64, Option<String>, bool)> for LoginChallenge {
    fn from(row: (Uuid, Uuid, i64, Option<String>, bool)) -> Self {
        let (id, user_id, credential_epoch, device_name, remember_me) = row;
        Self {
            id: LoginChallengeId::from_untyped_uuid(id),
            user_id: UserId::from_untyped_uuid(user_id),
            credential_epoch,
            device_name,
            remember_me,
        }
    }
}

/// Writes a challenge down.
pub async fn insert(
    conn: &mut AsyncPgConnection,
    challenge: &LoginChallenge,
    hash: &SecretHash,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> pg::Result<()> {
    diesel::insert_into(login_challenges::table)
        .values((
            login_challenges::id.eq(challenge.id.into_untyped_uuid()),
            login_challenges::challenge_hash.eq(hash.as_bytes()),
            login_challenges::user_id.eq(challenge.user_id.into_untyped_uuid()),
            login_challenges::credential_epoch.eq(challenge.credential_epoch),
            login_challenges::device_name.eq(challenge.device_name.as_deref()),
            login_challenges::remember_me.eq(challenge.remember_me),
            login_challenges::created_at.eq(now),
            login_challenges::expires_at.eq(expires_at),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// The challenge with the hash `hash`, if it is still good at `now`.
pub async fn find(
    conn: &mut AsyncPgConnection,
    hash: &SecretHash,
    now: DateTime<Utc>,
) -> pg::Result<Option<LoginChallenge>> {
    let row: Option<(Uuid, Uuid, i64, Option<String>, bool)> = login_challenges::table
        .filter(login_challenges::challenge_hash.eq(hash.as_bytes()))
        .filter(login_challenges::consumed_at.is_null())
        .filter(login_challenges::expires_at.gt(now))
        .filter(login_challenges::tries.lt(TRIES))
        .select(COLUMNS)
        .first(conn)
        .await
        .optional()?;
    Ok(row.map(LoginChallenge::from))
}

/// Takes one of the tries of a challenge, before the code is judged; says whether there was one left.
pub async fn take_try(
    conn: &mut AsyncPgConnection,
    id: LoginChallengeId,
    now: DateTime<Utc>,
) -> pg::Result<bool> {
    let live = login_challenges::table
        .filter(login_challenges::id.eq(id.into_untyped_uuid()))
        .filter(login_challenges::consumed_at.is_null())
        .filter(login_challenges::expires_at.gt(now))
        .filter(login_challenges::tries.lt(TRIES));
    let taken = diesel::update(live).set(login_challenges::tries.eq(login_challenges::tries + 1));
    Ok(taken.execute(conn).await? == 1)
}

/// Uses a challenge up; says whether it was there to use. Of any number at once one gets it.
pub async fn use_up(
    conn: &mut AsyncPgConnection,
    id: LoginChallengeId,
    now: DateTime<Utc>,
) -> pg::Result<bool> {
    let unused = login_challenges::table
        .filter(login_challenges::id.eq(id.into_untyped_uuid()))
        .filter(login_challenges::consumed_at.is_null());
    Ok(diesel::update(unused).set(login_challenges::consumed_at.eq(now)).execute(conn).await? == 1)
}

/// Forgets every challenge of the user.
pub async fn delete_all(conn: &mut AsyncPgConnection, user: UserId) -> pg::Result<()> {
    let all = login_challenges::table.filter(login_challenges::user_id.eq(user.into_untyped_uuid()));
    diesel::delete(all).execute(conn).await?;
    Ok(())
}
