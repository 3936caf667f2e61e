//! Any column of sealed values in a table whose rows have a UUID.

use auth_ids::Uuid;
use diesel::{QueryableByName, sql_query, sql_types};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// Which column. The names go into the statements as they are.
#[derive(Debug, Clone, Copy)]
pub struct SealedColumn {
    /// Its table.
    pub table: &'static str,
    /// The primary key of the table.
    pub id: &'static str,
    /// The column.
    pub value: &'static str,
}

/// A row of it.
#[derive(Debug, QueryableByName)]
pub struct SealedValue {
    /// The row.
    #[diesel(sql_type = sql_types::Uuid)]
    pub id: Uuid,
    /// The sealed value.
    #[diesel(sql_type = sql_types::Binary)]
    pub value: Vec<u8>,
}

/// The rows after `after` that have a value, by their ids, `limit` at most.
pub async fn page(
    conn: &mut AsyncPgConnection,
    column: SealedColumn,
    after: Uuid,
    limit: i64,
) -> pg::Result<Vec<SealedValue>> {
    let SealedColumn { table, id, value } = column;
    let query = format!(
        "SELECT {id} AS id, {value} AS value FROM {table} WHERE {id} > $1 AND {value} IS NOT NULL ORDER BY {id} LIMIT $2"
    );
    let query = sql_query(query).bind::<sql_types::Uuid, _>(after).bind::<sql_types::BigInt, _>(limit);
    Ok(query.load(conn).await?)
}

/// Puts `new` in the place of the value that was read, unless another one is there by now; says whether it did.
pub async fn replace(
    conn: &mut AsyncPgConnection,
    column: SealedColumn,
    read: &SealedValue,
    new: &[u8],
) -> pg::Result<bool> {
    let SealedColumn { table, id, value } = column;
    let update = sql_query(format!("UPDATE {table} SET {value} = $1 WHERE {id} = $2 AND {value} = $3"))
        .bind::<sql_types::Binary, _>(new)
        .bind::<sql_types::Uuid, _>(read.id)
        .bind::<sql_types::Binary, _>(&read.value);
    Ok(update.execute(conn).await? == 1)
}
