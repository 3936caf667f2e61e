//! One-time tokens: hashed, bound to a user and a purpose, the newest wins, consumed once.

use auth_ids::{GenericUuid, OneTimeTokenId, UserId, Uuid};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::schema::one_time_tokens;
use crate::domain::bearer_secret::SecretHash;

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Proves an address.
    VerifyEmail,
    /// Sets a new password.
    ResetPassword,
    /// Ends every session and turns the password off. Several may be live, so that whoever took an account over cannot end its owner's.
    SecureAccount,
    /// Takes back that an account is to be deleted.
    RestoreAccount,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
            Self::ResetPassword => "reset_password",
            Self::SecureAccount => "secure_account",
            Self::RestoreAccount => "restore_account",
        }
    }
}

/// A token to store.
pub struct NewToken<'a> {
    /// The row's id.
    pub id: OneTimeTokenId,
    /// Whose it is.
    pub user_id: UserId,
    /// What it is for.
    pub purpose: Purpose,
    /// Its hash.
    pub hash: &'a SecretHash,
    /// Now.
    pub now: DateTime<Utc>,
    /// When it stops working.
    pub expires_at: DateTime<Utc>,
}

#[derive(Insertable)]
#[diesel(table_name = one_time_tokens, treat_none_as_default_value = false)]
struct NewTokenRow<'a> {
    id: Uuid,
    user_id: Uuid,
    purpose: &'a str,
    token_hash: &'a [u8],
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
}

/// Stores a token in place of any other of the user and purpose that was not used yet, except where several may be live.
pub async fn issue(conn: &mut AsyncPgConnection, token: NewToken<'_>) -> pg::Result<()> {
    if token.purpose != Purpose::SecureAccount {
        forget_unused(conn, token.user_id, token.purpose).await?;
    }
    let row = NewTokenRow {
        id: token.id.into_untyped_uuid(),
        user_id: token.user_id.into_untyped_uuid(),
        purpose: token.purpose.name(),
        token_hash: token.hash.as_bytes(),
        created_at: token.now,
        expires_at: token.expires_at,
    };
    diesel::insert_into(one_time_tokens::table).values(row).execute(conn).await?;
    Ok(())
}

/// Whose the token is, if it is good for `purpose` at `now`. It stays good.
pub async fn find_live(
    conn: &mut AsyncPgConnection,
    hash: &SecretHash,
    purpose: Purpose,
    now: DateTime<Utc>,
) -> pg::Result<Option<UserId>> {
    let user: Option<Uuid> = one_time_tokens::table
        .filter(one_time_tokens::token_hash.eq(hash.as_bytes()))
        .filter(one_time_tokens::purpose.eq(purpose.name()))
        .filter(one_time_tokens::consumed_at.is_null())
        .filter(one_time_tokens::expires_at.gt(now))
        .select(one_time_tokens::user_id)
        .first(conn)
        .await
        .optional()?;
    Ok(user.map(UserId::from_untyped_uuid))
}

/// Uses the token up: of any number of attempts at once exactly one is told whose it was.
pub async fn consume(
    conn: &mut AsyncPgConnection,
    hash: &SecretHash,
    purpose: Purpose,
    now: DateTime<Utc>,
) -> pg::Result<Option<UserId>> {
    Ok(consume_dated(conn, hash, purpose, now).await?.map(|(user, _)| user))
}

/// [`consume`] that also tells when the token was made.
pub async fn consume_dated(
    conn: &mut AsyncPgConnection,
    hash: &SecretHash,
    purpose: Purpose,
    now: DateTime<Utc>,
) -> pg::Result<Option<(UserId, DateTime<Utc>)>> {
    let live = one_time_tokens::table
        .filter(one_time_tokens::token_hash.eq(hash.as_bytes()))
        .filter(one_time_tokens::purpose.eq(purpose.name()))
        .filter(one_time_tokens::consumed_at.is_null())
        .filter(one_time_tokens::expires_at.gt(now));
    let used: Option<(Uuid, DateTime<Utc>)> = diesel::update(live)
        .set(one_time_tokens::consumed_at.eq(now))
        .returning((one_time_tokens::user_id, one_time_tokens::created_at))
        .get_result(conn)
        .await
        .optional()?;
    Ok(used.map(|(user, created_at)| (UserId::from_untyped_uuid(user), created_at)))
}

/// Forgets every token of the user and purpose that was not used yet.
pub async fn forget_unused(conn: &mut AsyncPgConnection, user: UserId, purpose: Purpose) -> pg::Result<()> {
    let unused = one_time_tokens::table
        .filter(one_time_tokens::user_id.eq(user.into_untyped_uuid()))
        .filter(one_time_tokens::purpose.eq(purpose.name()))
        .filter(one_time_tokens::consumed_at.is_null());
    diesel::delete(unused).execute(conn).await?;
    Ok(())
}
