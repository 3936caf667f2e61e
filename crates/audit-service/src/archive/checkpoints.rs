//! Checkpoints outside of the database: an object each, never replaced.

use anyhow::{Context, ensure};
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload, path::Path};

use super::Archive;
use crate::domain::Checkpoint;

const CHECKPOINTS: &str = "checkpoints";
/// Checkpoints a folder, so that the newest is found by listing little.
const FOLDER: i64 = 1_000;

impl Archive {
    /// Keeps a checkpoint. Fails when another one has its number: nothing here is ever replaced.
    pub async fn keep(&self, checkpoint: &Checkpoint) -> anyhow::Result<()> {
        let path = path(checkpoint.statement.number);
        let json = serde_json::to_vec(checkpoint)?;
        match self.store.put_opts(&path, PutPayload::from(json), PutMode::Create.into()).await {
            Ok(_) => Ok(()),
            Err(object_store::Error::AlreadyExists { .. }) => {
                let kept = self.checkpoint(checkpoint.statement.number).await?;
                ensure!(
                    kept.as_ref() == Some(checkpoint),
                    "the archive has another checkpoint {}",
                    checkpoint.statement.number
                );
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The checkpoint of that number, if it is there.
    pub async fn checkpoint(&self, number: i64) -> anyhow::Result<Option<Checkpoint>> {
        match self.store.get(&path(number)).await {
            Ok(found) => {
                let bytes = found.bytes().await?;
                let checkpoint = serde_json::from_slice(&bytes);
                Ok(Some(
                    checkpoint
                        .with_context(|| format!("checkpoint {number} of the archive is unreadable"))?,
                ))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The highest number of a checkpoint that is there; 0 if none is.
    pub async fn newest_number(&self) -> anyhow::Result<i64> {
        let mut folders =
            self.store.list_with_delimiter(Some(&Path::from(CHECKPOINTS))).await?.common_prefixes;
        folders.sort_unstable();
        // A folder may be empty: a directory is made before its first file, and anybody may have put something else there.
        while let Some(newest) = folders.pop() {
            let files = self.store.list_with_delimiter(Some(&newest)).await?.objects;
            if let Some(number) = files.iter().filter_map(|file| number(&file.location)).max() {
                return Ok(number);
            }
        }
        Ok(0)
    }
}

/// The number of the checkpoint that is kept at `location`.
fn number(location: &Path) -> Option<i64> {
    let number = location.filename()?.strip_suffix(".json")?.parse().ok()?;
    (path(number) == *location).then_some(number)
}

fn path(number: i64) -> Path {
    Path::from(format!("{CHECKPOINTS}/{:09}/{number:012}.json", number / FOLDER))
}
