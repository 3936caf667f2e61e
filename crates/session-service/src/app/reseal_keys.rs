//! Encrypts what is stored under a key of `SESSION_KEYS` that was replaced again, with the key that seals today, so that the old one can be thrown away.

use std::time::Duration;

use pg::Database;
use sealing::KeyRing;

use super::{issue::refresh_key_binding, sealed_keys};
use crate::store::{
    refresh_keys::{self, Replacement},
    signing_keys,
};

/// Busy sessions are busy for milliseconds.
const PAUSE: Duration = Duration::from_millis(200);

/// What became of sealed values.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Resealed {
    /// Sealed anew.
    pub renewed: usize,
    /// Sealed with today's key already.
    pub current: usize,
    /// Not to be opened with any key of the ring.
    pub unreadable: usize,
}

/// Seals the secret halves of the signing keys anew. They are few.
pub async fn reseal_signing_keys(database: &Database, key_ring: &KeyRing) -> pg::Result<Resealed> {
    let mut done = Resealed::default();
    let mut conn = database.connection().await?;
    for key in signing_keys::all(&mut conn).await? {
        if let Some(sealed) = reseal(key_ring, &key.secret, &sealed_keys::binding(&key.kid), &mut done) {
            let is_replaced = signing_keys::replace_secret(&mut conn, &key, &sealed).await?;
            // Otherwise somebody else does the same, or it is gone.
            done.renewed += usize::from(is_replaced);
        }
    }
    Ok(done)
}

/// Seals the sessions' refresh keys anew, `batch` rows at a time in the order of their ids. May be stopped and started at any time, also while the
/// service runs: a session that is busy is passed over and comes again in the next round.
pub async fn reseal_refresh_keys(
    database: &Database,
    key_ring: &KeyRing,
    batch: i64,
) -> pg::Result<Resealed> {
    let (mut done, mut were_busy) = reseal_round(database, key_ring, batch).await?;
    while were_busy > 0 {
        tokio::time::sleep(PAUSE).await;
        let (round, still_busy) = reseal_round(database, key_ring, batch).await?;
        done.renewed += round.renewed;
        were_busy = still_busy;
    }
    Ok(done)
}

/// One way through the table, and how many rows were passed over.
async fn reseal_round(database: &Database, key_ring: &KeyRing, batch: i64) -> pg::Result<(Resealed, usize)> {
    let (mut done, mut were_busy, mut after) = (Resealed::default(), 0, None);
    loop {
        let mut conn = database.connection().await?;
        let rows = refresh_keys::page(&mut conn, after, batch).await?;
        let Some(last) = rows.last() else { return Ok((done, were_busy)) };
        after = Some(last.session);
        let replacements: Vec<_> = rows
            .into_iter()
            .filter_map(|row| {
                let sealed = reseal(key_ring, &row.sealed, &refresh_key_binding(row.session), &mut done)?;
                Some(Replacement { session: row.session, old: row.sealed, new: sealed })
            })
            .collect();
        let wanted = replacements.len();
        let resealed = refresh_keys::replace(&mut conn, replacements).await?;
        done.renewed += resealed;
        were_busy += wanted - resealed;
    }
}

/// The value under today's key, if it is under another one.
fn reseal(key_ring: &KeyRing, sealed: &[u8], binding: &[u8], done: &mut Resealed) -> Option<Vec<u8>> {
    if key_ring.is_current(sealed) {
        done.current += 1;
        return None;
    }
    let Ok(opened) = key_ring.open(sealed, binding) else {
        tracing::error!("{} opens with no key of the ring", String::from_utf8_lossy(binding));
        done.unreadable += 1;
        return None;
    };
    Some(key_ring.seal(&opened, binding, &mut clock::secure_rng()))
}
