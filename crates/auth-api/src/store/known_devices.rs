//! Browsers that logged in before.

use auth_ids::{DeviceId, GenericUuid, UserId, Uuid};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::schema::known_devices;
use crate::domain::bearer_secret::SecretHash;

/// A browser that logged in to an account before.
#[derive(Debug, Clone, Copy)]
pub struct KnownDevice {
    /// Its id.
    pub id: DeviceId,
    /// Whose account.
    pub user_id: UserId,
    /// Until when it needs no second factor.
    pub trusted_until: Option<DateTime<Utc>>,
}

/// The device whose cookie has the hash `hash`, unless it was not seen for too long.
pub async fn find(
    conn: &mut AsyncPgConnection,
    hash: &SecretHash,
    now: DateTime<Utc>,
) -> pg::Result<Option<KnownDevice>> {
    let row: Option<(Uuid, Uuid, Option<DateTime<Utc>>)> = known_devices::table
        .filter(known_devices::token_hash.eq(hash.as_bytes()))
        .filter(known_devices::expires_at.gt(now))
        .select((known_devices::id, known_devices::user_id, known_devices::trusted_until))
        .first(conn)
        .await
        .optional()?;
    Ok(row.map(|(id, user, trusted_until)| KnownDevice {
        id: DeviceId::from_untyped_uuid(id),
        user_id: UserId::from_untyped_uuid(user),
        trusted_until,
    }))
}

/// A known device and when it logged in.
#[derive(Debug, Clone, Copy)]
pub struct DeviceHistory {
    /// The device.
    pub device: KnownDevice,
    /// When it first logged in.
    pub created_at: DateTime<Utc>,
    /// When it last logged in.
    pub last_seen_at: DateTime<Utc>,
}

type HistoryRow = (Uuid, Option<DateTime<Utc>>, DateTime<Utc>, DateTime<Utc>);

/// Every known device of the user, the newest first.
pub async fn of_user(conn: &mut AsyncPgConnection, user: UserId) -> pg::Result<Vec<DeviceHistory>> {
    let rows: Vec<HistoryRow> = known_devices::table
        .filter(known_devices::user_id.eq(user.into_untyped_uuid()))
        .order(known_devices::created_at.desc())
        .select((
            known_devices::id,
            known_devices::trusted_until,
            known_devices::created_at,
            known_devices::last_seen_at,
        ))
        .load(conn)
        .await?;
    let of_row = |(id, trusted_until, created_at, last_seen_at)| DeviceHistory {
        device: KnownDevice { id: DeviceId::from_untyped_uuid(id), user_id: user, trusted_until },
        created_at,
        last_seen_at,
    };
    Ok(rows.into_iter().map(of_row).collect())
}

/// Remembers a device.
pub async fn insert(
    conn: &mut AsyncPgConnection,
    device: KnownDevice,
    hash: &SecretHash,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> pg::Result<()> {
    diesel::insert_into(known_devices::table)
        .values((
            known_devices::id.eq(device.id.into_untyped_uuid()),
            known_devices::user_id.eq(device.user_id.into_untyped_uuid()),
            known_devices::token_hash.eq(hash.as_bytes()),
            known_devices::created_at.eq(now),
            known_devices::last_seen_at.eq(now),
            known_devices::expires_at.eq(expires_at),
            known_devices::trusted_until.eq(device.trusted_until),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Remembers that a device logged in again, and until when it is trusted if that is new.
pub async fn note_seen(
    conn: &mut AsyncPgConnection,
    id: DeviceId,
    trusted_until: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> pg::Result<()> {
    diesel::update(known_devices::table.find(id.into_untyped_uuid()))
        .set((
            known_devices::last_seen_at.eq(now),
            known_devices::expires_at.eq(expires_at),
            trusted_until.map(|until| known_devices::trusted_until.eq(until)),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// From now on every device of the user needs the second factor again; says how many did not.
pub async fn untrust_all(conn: &mut AsyncPgConnection, user: UserId) -> pg::Result<usize> {
    let trusted = known_devices::table
        .filter(known_devices::user_id.eq(user.into_untyped_uuid()))
        .filter(known_devices::trusted_until.is_not_null());
    Ok(diesel::update(trusted)
        .set(known_devices::trusted_until.eq(None::<DateTime<Utc>>))
        .execute(conn)
        .await?)
}

/// Forgets every device of the user; says how many.
pub async fn delete_all(conn: &mut AsyncPgConnection, user: UserId) -> pg::Result<usize> {
    let all = known_devices::table.filter(known_devices::user_id.eq(user.into_untyped_uuid()));
    Ok(diesel::delete(all).execute(conn).await?)
}
