use super::AuditLog;
use crate::store;

/// How many keys at a time.
const BATCH: i64 = 500;

/// What became of the sealed keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resealed {
    pub renewed: u64,
    /// Sealed with the current key already.
    pub current: u64,
    /// No key opens them.
    pub unreadable: u64,
}

impl AuditLog {
    /// Seals with the current key what is sealed with an older one. May be repeated, and run beside the service.
    pub async fn reseal_keys(&self) -> pg::Result<Resealed> {
        let mut resealed = Resealed::default();
        let mut conn = self.database.connection().await?;
        for (name, sealed) in store::keys::all_shared(&mut conn).await? {
            match self.personal.reseal_shared(&name, &sealed) {
                Renewal::Current => resealed.current += 1,
                Renewal::Unreadable => resealed.unreadable += 1,
                Renewal::Sealed(anew) => {
                    store::keys::replace_shared(&mut conn, &name, &sealed, &anew).await?;
                    resealed.renewed += 1;
                }
            }
        }
        let mut after = auth_ids::Uuid::nil();
        loop {
            let keys = store::keys::subjects_after(&mut conn, after, BATCH).await?;
            let Some((last, _)) = keys.last() else { return Ok(resealed) };
            after = *last;
            for (subject, sealed) in keys {
                match self.personal.reseal_subject(subject, &sealed) {
                    Renewal::Current => resealed.current += 1,
                    Renewal::Unreadable => resealed.unreadable += 1,
                    Renewal::Sealed(anew) => {
                        store::keys::replace_subject(&mut conn, subject, &sealed, &anew).await?;
                        resealed.renewed += 1;
                    }
                }
            }
        }
    }
}

/// What is to be done with a sealed key.
pub(super) enum Renewal {
    Current,
    Unreadable,
    Sealed(Vec<u8>),
}
