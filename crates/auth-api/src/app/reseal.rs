//! Encrypts what is stored under a key that was replaced again, with the key that seals today, so that the old one can be thrown away.

use auth_ids::{GenericUuid, UserId, Uuid};
use diesel_async::AsyncConnection;
use pg::Database;
use sealing::KeyRing;

use crate::{
    app::second_factor::factor_binding,
    password::PasswordVault,
    store::sealed_columns::{self, SealedColumn, SealedValue},
};

/// A column, the ring that seals it, and what its values are bound to by the id of their row.
pub struct Sealed {
    /// Where the values are.
    pub column: SealedColumn,
    /// What seals them.
    pub ring: KeyRing,
    /// What they are bound to.
    pub binding: fn(Uuid) -> Vec<u8>,
}

/// What became of a column's values.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Resealed {
    /// Sealed anew.
    pub resealed: usize,
    /// Sealed with today's key already.
    pub current: usize,
    /// Changed or deleted by somebody else meanwhile; what they wrote is sealed with the key of the service that wrote it.
    pub changed: usize,
    /// Not to be opened with any key of the ring.
    pub unreadable: usize,
}

/// Everything that is stored for long under a key ring. What lives for a day or less is not in it: wait before the old key goes.
#[must_use]
pub fn sealed_columns(password_keys: &KeyRing, data_keys: &KeyRing) -> Vec<Sealed> {
    vec![
        Sealed {
            column: SealedColumn { table: "users", id: "id", value: "password" },
            ring: password_keys.clone(),
            binding: |id| PasswordVault::binding(UserId::from_untyped_uuid(id)),
        },
        Sealed {
            column: SealedColumn { table: "totp_factors", id: "user_id", value: "secret" },
            ring: data_keys.clone(),
            binding: |id| factor_binding(UserId::from_untyped_uuid(id)),
        },
    ]
}

/// Seals the values of one column anew, `batch` rows at a time in the order of their ids. May be stopped and started at any time, also while
/// the service runs.
pub async fn reseal(database: &Database, sealed: &Sealed, batch: i64) -> pg::Result<Resealed> {
    let (mut done, mut after) = (Resealed::default(), Uuid::nil());
    loop {
        let mut conn = database.connection().await?;
        let rows = sealed_columns::page(&mut conn, sealed.column, after, batch).await?;
        let Some(last) = rows.last() else { return Ok(done) };
        after = last.id;
        // Both lists are in the order of the ids, so two that reseal at once wait for each other instead of dead-locking.
        let replacements: Vec<_> =
            rows.iter().filter_map(|row| replacement(sealed, row, &mut done)).collect();
        conn.transaction(async |conn| {
            for (row, value) in &replacements {
                let is_replaced = sealed_columns::replace(conn, sealed.column, row, value).await?;
                *(if is_replaced { &mut done.resealed } else { &mut done.changed }) += 1;
            }
            Ok::<_, pg::Error>(())
        })
        .await?;
    }
}

/// The row's value under today's key, if it is under another one.
fn replacement<'a>(
    sealed: &Sealed,
    row: &'a SealedValue,
    done: &mut Resealed,
) -> Option<(&'a SealedValue, Vec<u8>)> {
    if sealed.ring.is_current(&row.value) {
        done.current += 1;
        return None;
    }
    let binding = (sealed.binding)(row.id);
    if let Ok(opened) = sealed.ring.open(&row.value, &binding) {
        return Some((row, sealed.ring.seal(&opened, &binding, &mut clock::secure_rng())));
    }
    let SealedColumn { table, value, .. } = sealed.column;
    tracing::error!(row.id = %row.id, "{table}.{value} of {} opens with no key of the ring", row.id);
    done.unreadable += 1;
    None
}
