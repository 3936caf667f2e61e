//! The key pairs of the access tokens, with their secret halves sealed.

use chrono::{DateTime, Utc};
use diesel::{pg::Pg, prelude::*, sql_types::BigInt};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::schema::signing_keys;

/// Arbitrary, and used for nothing else in the database.
const ADVISORY_LOCK: i64 = 0x7369_676e_6b65_7973;

/// A key pair as it is stored.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = signing_keys, check_for_backend(Pg), treat_none_as_default_value = false)]
pub struct StoredKey {
    pub kid: String,
    pub paserk: String,
    /// Sealed.
    pub secret: Vec<u8>,
    pub created_at: DateTime<Utc>,
    pub not_before: DateTime<Utc>,
    pub retire_at: Option<DateTime<Utc>>,
}

/// Keeps other replicas from changing the keys until the transaction ends.
pub async fn lock(conn: &mut AsyncPgConnection) -> pg::Result<()> {
    diesel::sql_query("SELECT pg_advisory_xact_lock($1)")
        .bind::<BigInt, _>(ADVISORY_LOCK)
        .execute(conn)
        .await?;
    Ok(())
}

/// Every key, the oldest first.
pub async fn all(conn: &mut AsyncPgConnection) -> pg::Result<Vec<StoredKey>> {
    let keys = signing_keys::table
        .order((signing_keys::not_before, signing_keys::kid))
        .select(StoredKey::as_select())
        .load(conn)
        .await?;
    Ok(keys)
}

pub async fn insert(conn: &mut AsyncPgConnection, key: &StoredKey) -> pg::Result<()> {
    diesel::insert_into(signing_keys::table).values(key).execute(conn).await?;
    Ok(())
}

/// Lets every key end at `time` that would have lived longer.
pub async fn retire_all(conn: &mut AsyncPgConnection, time: DateTime<Utc>) -> pg::Result<()> {
    let lives_longer =
        signing_keys::retire_at.is_null().or(signing_keys::retire_at.gt(time).assume_not_null());
    diesel::update(signing_keys::table.filter(lives_longer))
        .set(signing_keys::retire_at.eq(time))
        .execute(conn)
        .await?;
    Ok(())
}

/// Deletes the keys that were retired before `time`.
pub async fn forget(conn: &mut AsyncPgConnection, time: DateTime<Utc>) -> pg::Result<()> {
    diesel::delete(signing_keys::table.filter(signing_keys::retire_at.le(time))).execute(conn).await?;
    Ok(())
}

/// Puts `sealed` in the place of the secret half that was read, unless another one is there by now; says whether it did.
pub async fn replace_secret(
    conn: &mut AsyncPgConnection,
    read: &StoredKey,
    sealed: &[u8],
) -> pg::Result<bool> {
    let unchanged = signing_keys::kid.eq(&read.kid).and(signing_keys::secret.eq(&read.secret));
    let replaced = diesel::update(signing_keys::table.filter(unchanged))
        .set(signing_keys::secret.eq(sealed))
        .execute(conn)
        .await?;
    Ok(replaced == 1)
}
