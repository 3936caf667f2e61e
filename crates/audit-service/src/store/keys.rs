//! The keys of people's data, as they are stored: sealed.

use std::collections::HashMap;

use auth_ids::Uuid;
use chrono::{DateTime, Utc};
use diesel::{
    prelude::*,
    sql_query,
    sql_types::{BigInt, Uuid as SqlUuid},
    upsert::excluded,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

diesel::table! {
    subject_keys (subject_id) {
        subject_id -> Uuid,
        sealed -> Nullable<Binary>,
        created_at -> Timestamptz,
        erased_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    shared_keys (name) {
        name -> Text,
        sealed -> Binary,
        created_at -> Timestamptz,
    }
}

/// The sealed keys of those of `subjects` that have or had one; `None` for who was erased.
pub async fn of_subjects(
    conn: &mut AsyncPgConnection,
    subjects: &[Uuid],
) -> pg::Result<HashMap<Uuid, Option<Vec<u8>>>> {
    let query = subject_keys::table
        .select((subject_keys::subject_id, subject_keys::sealed))
        .filter(subject_keys::subject_id.eq_any(subjects));
    let rows: Vec<(Uuid, Option<Vec<u8>>)> = query.load(conn).await?;
    Ok(rows.into_iter().collect())
}

/// Stores the keys of subjects that had none. Only for the holder of the log's end: nobody else does it meanwhile.
pub async fn insert_subjects(conn: &mut AsyncPgConnection, keys: &[(Uuid, Vec<u8>)]) -> pg::Result<()> {
    let rows: Vec<_> = keys
        .iter()
        .map(|(subject, sealed)| (subject_keys::subject_id.eq(subject), subject_keys::sealed.eq(sealed)))
        .collect();
    diesel::insert_into(subject_keys::table).values(rows).execute(conn).await?;
    Ok(())
}

/// When a subject was erased, if it was.
pub async fn erased_at(conn: &mut AsyncPgConnection, subject: Uuid) -> pg::Result<Option<DateTime<Utc>>> {
    let query = subject_keys::table.select(subject_keys::erased_at).find(subject);
    let row: Option<Option<DateTime<Utc>>> = query.first(conn).await.optional()?;
    Ok(row.flatten())
}

/// Deletes the key of a subject for good, also of one that has none yet.
pub async fn erase_subject(
    conn: &mut AsyncPgConnection,
    subject: Uuid,
    now: DateTime<Utc>,
) -> pg::Result<()> {
    diesel::insert_into(subject_keys::table)
        .values((
            subject_keys::subject_id.eq(subject),
            subject_keys::sealed.eq(None::<Vec<u8>>),
            subject_keys::erased_at.eq(now),
        ))
        .on_conflict(subject_keys::subject_id)
        .do_update()
        .set((
            subject_keys::sealed.eq(excluded(subject_keys::sealed)),
            subject_keys::erased_at.eq(excluded(subject_keys::erased_at)),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Deletes up to `limit` of what finds a subject's events by their address; says how many those were.
pub async fn forget_addresses(conn: &mut AsyncPgConnection, subject: Uuid, limit: i64) -> pg::Result<usize> {
    let query = sql_query(
        "DELETE FROM ip_tags WHERE owner_id = $1 AND (tag, seq, class, recorded_at) IN \
         (SELECT tag, seq, class, recorded_at FROM ip_tags WHERE owner_id = $1 LIMIT $2)",
    );
    Ok(query.bind::<SqlUuid, _>(subject).bind::<BigInt, _>(limit).execute(conn).await?)
}

/// The same for whoever was erased in the last days.
pub async fn forget_addresses_of_erased(conn: &mut AsyncPgConnection, limit: i64) -> pg::Result<usize> {
    let query = sql_query(
        "DELETE FROM ip_tags WHERE (tag, seq, class, recorded_at) IN \
         (SELECT tag, seq, class, recorded_at FROM ip_tags JOIN subject_keys ON subject_id = owner_id \
         WHERE erased_at > now() - interval '7 days' LIMIT $1)",
    );
    Ok(query.bind::<BigInt, _>(limit).execute(conn).await?)
}

/// Those of the keys with these names that there are.
pub async fn shared(conn: &mut AsyncPgConnection, names: &[String]) -> pg::Result<HashMap<String, Vec<u8>>> {
    let query = shared_keys::table
        .select((shared_keys::name, shared_keys::sealed))
        .filter(shared_keys::name.eq_any(names));
    let rows: Vec<(String, Vec<u8>)> = query.load(conn).await?;
    Ok(rows.into_iter().collect())
}

/// Stores a key under a name that has none. Only for the holder of the log's end.
pub async fn insert_shared(conn: &mut AsyncPgConnection, name: &str, sealed: &[u8]) -> pg::Result<()> {
    diesel::insert_into(shared_keys::table)
        .values((shared_keys::name.eq(name), shared_keys::sealed.eq(sealed)))
        .execute(conn)
        .await?;
    Ok(())
}

/// All shared keys.
pub async fn all_shared(conn: &mut AsyncPgConnection) -> pg::Result<Vec<(String, Vec<u8>)>> {
    Ok(shared_keys::table.select((shared_keys::name, shared_keys::sealed)).load(conn).await?)
}

/// At most `limit` keys of subjects above `after`, without those who were erased.
pub async fn subjects_after(
    conn: &mut AsyncPgConnection,
    after: Uuid,
    limit: i64,
) -> pg::Result<Vec<(Uuid, Vec<u8>)>> {
    let query = subject_keys::table
        .select((subject_keys::subject_id, subject_keys::sealed.assume_not_null()))
        .filter(subject_keys::subject_id.gt(after))
        .filter(subject_keys::sealed.is_not_null())
        .order(subject_keys::subject_id)
        .limit(limit);
    Ok(query.load(conn).await?)
}

/// Replaces a sealed shared key, unless it is another one by now.
pub async fn replace_shared(
    conn: &mut AsyncPgConnection,
    name: &str,
    sealed: &[u8],
    anew: &[u8],
) -> pg::Result<()> {
    let key = shared_keys::table.filter(shared_keys::name.eq(name)).filter(shared_keys::sealed.eq(sealed));
    diesel::update(key).set(shared_keys::sealed.eq(anew)).execute(conn).await?;
    Ok(())
}

/// Replaces a subject's sealed key, unless they were erased meanwhile.
pub async fn replace_subject(
    conn: &mut AsyncPgConnection,
    subject: Uuid,
    sealed: &[u8],
    anew: &[u8],
) -> pg::Result<()> {
    let key = subject_keys::table
        .filter(subject_keys::subject_id.eq(subject))
        .filter(subject_keys::sealed.eq(sealed));
    diesel::update(key).set(subject_keys::sealed.eq(anew)).execute(conn).await?;
    Ok(())
}
