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
        let folders = self.store.list_with_delimiter(Some(&Path::from(CHECKPOINTS))).await?;
        let Some(newest) = folders.common_prefixes.into_iter().max() else { return Ok(0) };
        let files = self.store.list_with_delimiter(Some(&newest)).await?.objects;
        let numbers = files.iter().filter_map(|file| {
            file.location
                .filename()
                .and_then(|name| name.strip_suffix(".json"))
                .and_then(|it| it.parse().ok())
        });
        Ok(numbers.max().unwrap_or_default())
    }
}

fn path(number: i64) -> Path {
    Path::from(format!("{CHECKPOINTS}/{:09}/{number:012}.json", number / FOLDER))
}
