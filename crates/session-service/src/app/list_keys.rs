//! `session-service keys list`.

use std::fmt::Write;

use chrono::{DateTime, SecondsFormat, Utc};
use pg::Database;
use sealing::KeyRing;

use crate::store::signing_keys::{self, StoredKey};

/// A table of all signing keys for an operator, the oldest first.
pub async fn list_keys(
    database: &Database,
    key_ring: &KeyRing,
    now: DateTime<Utc>,
) -> anyhow::Result<String> {
    let mut conn = database.connection().await?;
    let keys = signing_keys::all(&mut conn).await?;
    let mut table = format!("{:52}{:10}{:22}{:22}{}\n", "KID", "STATE", "SIGNS FROM", "RETIRES", "SEALED");
    let signer = keys.iter().rfind(|key| key.not_before <= now && !key.is_retired(now)).map(|key| &key.kid);
    for key in &keys {
        let retires = key.retire_at.map_or_else(|| "-".to_owned(), spell);
        let sealed = if key_ring.is_current(&key.secret) { "current key" } else { "older key" };
        let (begins, state) = (spell(key.not_before), state(key, signer, now));
        writeln!(table, "{:52}{state:10}{begins:22}{retires:22}{sealed}", key.kid)?;
    }
    Ok(table)
}

fn state(key: &StoredKey, signer: Option<&String>, now: DateTime<Utc>) -> &'static str {
    if key.is_retired(now) {
        "retired"
    } else if Some(&key.kid) == signer {
        "signs"
    } else if key.not_before > now {
        "published"
    } else {
        "verifies"
    }
}

fn spell(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
