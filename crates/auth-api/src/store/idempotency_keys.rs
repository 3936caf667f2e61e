//! Answers to requests that may come twice.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::schema::idempotency_keys;

/// A request that wants its key.
#[derive(Insertable)]
#[diesel(table_name = idempotency_keys, treat_none_as_default_value = false)]
pub struct NewKey<'a> {
    /// Names route, caller and key.
    pub key_hash: &'a [u8],
    /// What the request says, sealed.
    pub request_hash: &'a [u8],
    /// Now; also what the request recognises its own row by.
    pub created_at: DateTime<Utc>,
    /// When the answer is forgotten.
    pub expires_at: DateTime<Utc>,
}

/// What an earlier request left under the key.
#[derive(Queryable, Selectable)]
#[diesel(table_name = idempotency_keys, check_for_backend(diesel::pg::Pg))]
pub struct StoredKey {
    /// What the request said, sealed.
    pub request_hash: Vec<u8>,
    /// What it was answered, sealed; none while it is worked on.
    pub answer: Option<Vec<u8>>,
}

/// Takes the key, if nobody has it, or whoever has it expired or took it before `abandoned_before` and never answered. Of any number of requests at once exactly
/// one gets it.
pub async fn reserve(
    conn: &mut AsyncPgConnection,
    key: &NewKey<'_>,
    abandoned_before: DateTime<Utc>,
) -> pg::Result<bool> {
    let insert = diesel::insert_into(idempotency_keys::table).values(key);
    if insert.on_conflict(idempotency_keys::key_hash).do_nothing().execute(conn).await? == 1 {
        return Ok(true);
    }
    let never_answered = idempotency_keys::answer.is_null();
    let is_abandoned = never_answered.and(idempotency_keys::created_at.lt(abandoned_before));
    let is_free = is_abandoned.or(idempotency_keys::expires_at.le(key.created_at));
    let taken = diesel::update(idempotency_keys::table.find(key.key_hash).filter(is_free))
        .set((
            idempotency_keys::request_hash.eq(key.request_hash),
            idempotency_keys::answer.eq(None::<Vec<u8>>),
            idempotency_keys::created_at.eq(key.created_at),
            idempotency_keys::expires_at.eq(key.expires_at),
        ))
        .execute(conn)
        .await?;
    Ok(taken == 1)
}

/// What is stored under the key.
pub async fn find(conn: &mut AsyncPgConnection, key_hash: &[u8]) -> pg::Result<Option<StoredKey>> {
    let query = idempotency_keys::table.find(key_hash).select(StoredKey::as_select());
    Ok(query.first(conn).await.optional()?)
}

/// Stores the answer of the request that took the key at `taken_at`, unless another one has taken it over since.
pub async fn complete(
    conn: &mut AsyncPgConnection,
    key_hash: &[u8],
    taken_at: DateTime<Utc>,
    answer: &[u8],
) -> pg::Result<()> {
    let own = idempotency_keys::table
        .filter(idempotency_keys::key_hash.eq(key_hash))
        .filter(idempotency_keys::created_at.eq(taken_at));
    diesel::update(own).set(idempotency_keys::answer.eq(answer)).execute(conn).await?;
    Ok(())
}

/// Gives the key of the request back that took it at `taken_at`.
pub async fn release(
    conn: &mut AsyncPgConnection,
    key_hash: &[u8],
    taken_at: DateTime<Utc>,
) -> pg::Result<()> {
    let own = idempotency_keys::table
        .filter(idempotency_keys::key_hash.eq(key_hash))
        .filter(idempotency_keys::created_at.eq(taken_at))
        .filter(idempotency_keys::answer.is_null());
    diesel::delete(own).execute(conn).await?;
    Ok(())
}
