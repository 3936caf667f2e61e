//! Lets one replica at a time clean up.

use diesel::{prelude::*, sql_types::Bool};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// Any number that nothing else in this database locks.
const LOCK: i64 = 0x6661_6d61_696e_7400;

#[derive(QueryableByName)]
struct Taken {
    #[diesel(sql_type = Bool)]
    taken: bool,
}

/// Whether it is the caller's turn, until the transaction ends.
pub async fn take(conn: &mut AsyncPgConnection) -> pg::Result<bool> {
    let query = diesel::sql_query("SELECT pg_try_advisory_xact_lock($1) AS taken");
    let answer: Taken = query.bind::<diesel::sql_types::BigInt, _>(LOCK).get_result(conn).await?;
    Ok(answer.taken)
}
