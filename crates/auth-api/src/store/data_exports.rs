//! Copies of users' data.

use auth_ids::{DataExportId, GenericUuid, UserId, Uuid};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::schema::data_exports;

define_sql_function!(fn random() -> diesel::sql_types::Double);

/// A copy, or the order to make one.
#[derive(Debug)]
pub struct DataExport {
    /// Its id.
    pub id: DataExportId,
    /// Whose data.
    pub user_id: UserId,
    /// The document, sealed; none while it is being made.
    pub document: Option<Vec<u8>>,
    /// When it was ordered.
    pub created_at: DateTime<Utc>,
    /// When it is forgotten.
    pub expires_at: DateTime<Utc>,
}

type Row = (Uuid, Uuid, Option<Vec<u8>>, DateTime<Utc>, DateTime<Utc>);

fn of_row((id, user, document, created_at, expires_at): Row) -> DataExport {
    DataExport {
        id: DataExportId::from_untyped_uuid(id),
        user_id: UserId::from_untyped_uuid(user),
        document,
        created_at,
        expires_at,
    }
}

/// Orders a copy.
pub async fn insert(conn: &mut AsyncPgConnection, export: &DataExport) -> pg::Result<()> {
    diesel::insert_into(data_exports::table)
        .values((
            data_exports::id.eq(export.id.into_untyped_uuid()),
            data_exports::user_id.eq(export.user_id.into_untyped_uuid()),
            data_exports::created_at.eq(export.created_at),
            data_exports::expires_at.eq(export.expires_at),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// A copy of the user's, unless it is forgotten.
pub async fn find(
    conn: &mut AsyncPgConnection,
    id: DataExportId,
    user: UserId,
    now: DateTime<Utc>,
) -> pg::Result<Option<DataExport>> {
    let row = data_exports::table
        .find(id.into_untyped_uuid())
        .filter(data_exports::user_id.eq(user.into_untyped_uuid()))
        .filter(data_exports::expires_at.gt(now))
        .first::<Row>(conn)
        .await
        .optional()?;
    Ok(row.map(of_row))
}

/// The user's newest order, if it is newer than `since`.
pub async fn find_since(
    conn: &mut AsyncPgConnection,
    user: UserId,
    since: DateTime<Utc>,
) -> pg::Result<Option<DataExport>> {
    let row = data_exports::table
        .filter(data_exports::user_id.eq(user.into_untyped_uuid()))
        .filter(data_exports::created_at.gt(since))
        .order(data_exports::created_at.desc())
        .first::<Row>(conn)
        .await
        .optional()?;
    Ok(row.map(of_row))
}

/// `count` of the orders that are not done yet and still wanted, chosen at random.
pub async fn some_pending(
    conn: &mut AsyncPgConnection,
    now: DateTime<Utc>,
    count: i64,
) -> pg::Result<Vec<DataExport>> {
    let pending = data_exports::table
        .filter(data_exports::document.is_null())
        .filter(data_exports::expires_at.gt(now))
        .order(random())
        .limit(count);
    let rows: Vec<Row> = pending.load(conn).await?;
    Ok(rows.into_iter().map(of_row).collect())
}

/// Stores the sealed document.
pub async fn complete(conn: &mut AsyncPgConnection, id: DataExportId, document: &[u8]) -> pg::Result<()> {
    diesel::update(data_exports::table.find(id.into_untyped_uuid()))
        .set(data_exports::document.eq(document))
        .execute(conn)
        .await?;
    Ok(())
}
