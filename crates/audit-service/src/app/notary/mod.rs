//! Who vouches for the log: signs where it ends, proves that it is what was recorded, and lets go what may go.

mod retention;
mod sign;
mod verify;

pub use retention::{Retained, Retention, RetentionError};
pub use sign::{SignError, Signed};
pub use verify::{Range, RangeInvalid, Report, VerifyError};

use crate::{
    archive::Archive,
    domain::{Checkpoint, CheckpointKeys},
    store,
};

/// The notary of a log. Clones are the same one.
#[derive(Clone)]
pub struct Notary {
    database: pg::Database,
    keys: CheckpointKeys,
    archive: Option<Archive>,
    retention: Retention,
}

impl Notary {
    #[must_use]
    pub fn new(
        database: pg::Database,
        keys: CheckpointKeys,
        archive: Option<Archive>,
        retention: Retention,
    ) -> Self {
        Self { database, keys, archive, retention }
    }

    /// At most `limit` checkpoints below `before`, the newest first, and the number up to which the archive has them.
    pub async fn checkpoints(
        &self,
        before: Option<i64>,
        limit: usize,
    ) -> Result<(Vec<Checkpoint>, i64), VerifyError> {
        let archived = match &self.archive {
            Some(archive) => archive.newest_number().await.map_err(VerifyError::Archive)?,
            None => 0,
        };
        let mut conn = self.database.connection().await?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let listed = store::checkpoints::before(&mut conn, before.unwrap_or(i64::MAX), limit).await?;
        Ok((listed, archived))
    }

    /// Whether it has a key to sign with.
    #[must_use]
    pub fn signs(&self) -> bool {
        self.keys.signing_id().is_some()
    }
}
