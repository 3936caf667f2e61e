//! What the database itself says.

use diesel::{QueryableByName, sql_query, sql_types::BigInt};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

/// The bigint that `expression` evaluates to.
pub async fn number(database: &pg::Database, expression: &str) -> i64 {
    let mut conn = database.connection().await.unwrap();
    let row: Number =
        sql_query(format!("SELECT {expression} AS number")).get_result(&mut conn).await.unwrap();
    row.number
}

pub async fn rows(database: &pg::Database) -> i64 {
    number(database, "(SELECT count(*) FROM events)").await
}

pub async fn execute(database: &pg::Database, statements: &str) -> Result<(), String> {
    let mut conn = database.connection().await.unwrap();
    conn.batch_execute(statements).await.map_err(|error| error.to_string())
}
