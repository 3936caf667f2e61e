//! What is kept outside of the database: a directory, or a bucket of an object store that speaks S3.

use std::{fmt, sync::Arc};

use anyhow::{Context, ensure};
use object_store::{
    ClientOptions, ObjectStore, ObjectStoreExt, PutMode, PutPayload, RetryConfig, aws::AmazonS3Builder,
    local::LocalFileSystem, path::Path, prefix::PrefixStore,
};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::domain::Checkpoint;

const CHECKPOINTS: &str = "checkpoints";
/// Checkpoints a folder, so that the newest is found by listing little.
const FOLDER: i64 = 1_000;

/// Where to archive, and who asks for it.
#[derive(Debug, Clone)]
pub struct ArchiveSettings {
    /// `file:///directory` or `s3://bucket/prefix`.
    pub url: Url,
    pub access_key_id: Option<String>,
    pub secret_access_key: Option<SecretString>,
}

/// The archive. Clones are the same archive.
#[derive(Clone)]
pub struct Archive {
    store: Arc<dyn ObjectStore>,
}

impl Archive {
    /// Opens it without connecting. What `settings` leave open, S3 takes from the usual variables `AWS_…`.
    pub fn open(settings: &ArchiveSettings) -> anyhow::Result<Self> {
        let store: Arc<dyn ObjectStore> = match settings.url.scheme() {
            "file" => {
                let directory = settings.url.to_file_path().ok().context("the URL names no directory")?;
                std::fs::create_dir_all(&directory)?;
                Arc::new(LocalFileSystem::new_with_prefix(directory)?.with_fsync(true))
            }
            "s3" => Arc::new(PrefixStore::new(bucket(settings)?, Path::parse(settings.url.path())?)),
            _ => anyhow::bail!("the URL is neither file:///directory nor s3://bucket/prefix"),
        };
        Ok(Self { store })
    }

    /// The object store, for whoever archives more than checkpoints.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

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

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Archive")
    }
}

fn bucket(settings: &ArchiveSettings) -> anyhow::Result<impl ObjectStore> {
    let mut builder = AmazonS3Builder::from_env().with_url(settings.url.as_str());
    if let Some(id) = &settings.access_key_id {
        builder = builder.with_access_key_id(id);
    }
    if let Some(secret) = &settings.secret_access_key {
        builder = builder.with_secret_access_key(secret.expose_secret());
    }
    // A signer that waits for minutes is worse than one that says so and tries again.
    let options = ClientOptions::new()
        .with_timeout(std::time::Duration::from_secs(10))
        .with_connect_timeout(std::time::Duration::from_secs(3));
    let retries = RetryConfig { retry_timeout: std::time::Duration::from_secs(20), ..RetryConfig::default() };
    Ok(builder.with_client_options(options).with_retry(retries).build()?)
}

fn path(number: i64) -> Path {
    Path::from(format!("{CHECKPOINTS}/{:09}/{number:012}.json", number / FOLDER))
}
