//! `session-service keys list`.

use std::fmt::Write;

use chrono::{DateTime, SecondsFormat, Utc};
use pg::Database;
use sealing::KeyRing;

use super::sealed_keys;
use crate::store::signing_keys;

/// A table of all signing keys for an operator, the oldest first.
pub async fn list_keys(
    database: &Database,
    key_ring: &KeyRing,
    now: DateTime<Utc>,
) -> anyhow::Result<String> {
    let mut conn = database.connection().await?;
    let stored = signing_keys::all(&mut conn).await?;
    let keys = sealed_keys::open_all(&stored, key_ring);
    let mut table = format!("{:52}{:10}{:22}{:22}{}\n", "KID", "STATE", "SIGNS FROM", "RETIRES", "SEALED");
    for row in &stored {
        let key = keys.iter().find(|key| key.id.as_str() == row.kid);
        let state = key.map_or("ignored", |key| keys.state(key, now).name());
        let opens = key.is_some_and(|key| key.secret.is_some());
        let sealed = match (opens, key_ring.is_current(&row.secret)) {
            (false, _) => "does not open",
            (true, true) => "current key",
            (true, false) => "older key",
        };
        let (begins, retires) = (spell(row.not_before), row.retire_at.map_or_else(|| "-".to_owned(), spell));
        writeln!(table, "{:52}{state:10}{begins:22}{retires:22}{sealed}", row.kid)?;
    }
    Ok(table)
}

pub fn spell(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
