//! Copies of users' data.

use auth_ids::{DataExportId, GenericUuid, UserId, Uuid};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::schema::data_exports;

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

/// The user's order that is not done yet.
pub async fn find_pending(conn: &mut AsyncPgConnection, user: UserId) -> pg::Result<Option<DataExport>> {
    let row = data_exports::table
        .filter(data_exports::user_id.eq(user.into_untyped_uuid()))
        .filter(data_exports::document.is_null())
        .first::<Row>(conn)
        .await
        .optional()?;
    Ok(row.map(of_row))
}

/// The oldest order that is not done yet.
pub async fn oldest_pending(conn: &mut AsyncPgConnection) -> pg::Result<Option<DataExport>> {
    let pending = data_exports::table.filter(data_exports::document.is_null());
    let row = pending.order(data_exports::created_at).first::<Row>(conn).await.optional()?;
    Ok(row.map(of_row))
}

/// Stores the sealed document.
pub async fn complete(conn: &mut AsyncPgConnection, id: DataExportId, document: &[u8]) -> pg::Result<()> {
    diesel::update(data_exports::table.find(id.into_untyped_uuid()))
        .set(data_exports::document.eq(document))
        .execute(conn)
        .await?;
    Ok(())
}

/// Forgets copies whose time is over; says how many.
pub async fn delete_expired(conn: &mut AsyncPgConnection, now: DateTime<Utc>) -> pg::Result<usize> {
    Ok(diesel::delete(data_exports::table.filter(data_exports::expires_at.le(now))).execute(conn).await?)
}
