//! Copies out of the database's reach: in a directory, or in a bucket of an S3-compatible store.

mod checkpoints;
mod segment;
mod upkeep;

use std::{fmt, sync::Arc};

use futures::TryStreamExt;
use object_store::{
    ObjectStore, ObjectStoreExt, PutPayload, aws::AmazonS3Builder, local::LocalFileSystem, path::Path,
    prefix::PrefixStore,
};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

pub use segment::{Manifest, Segment};
pub use upkeep::{ArchiveError, Archived, Upkeep};

/// Where copies are kept. Clones are the same place.
#[derive(Clone)]
pub struct Archive {
    store: Arc<dyn ObjectStore>,
    url: String,
}

/// How an S3-compatible store is reached.
#[derive(Debug, Clone, Default)]
pub struct S3Settings {
    /// Absent for AWS itself.
    pub endpoint: Option<Url>,
    pub region: Option<String>,
    /// Absent: the role that the machine has.
    pub access_key_id: Option<String>,
    pub secret_access_key: Option<SecretString>,
}

impl Archive {
    /// `s3://bucket/prefix`, or `file:///directory`, which must exist. Connects to nothing.
    pub fn new(url: &str, s3: &S3Settings) -> anyhow::Result<Self> {
        let parsed: Url = url.parse()?;
        let store: Arc<dyn ObjectStore> = match parsed.scheme() {
            "file" => {
                let directory = parsed.to_file_path().map_err(|()| anyhow::anyhow!("is not a directory"))?;
                Arc::new(LocalFileSystem::new_with_prefix(directory)?.with_fsync(true))
            }
            "s3" => {
                let bucket = parsed.host_str().ok_or_else(|| anyhow::anyhow!("has no bucket"))?;
                Arc::new(PrefixStore::new(s3.bucket(bucket)?, Path::from_url_path(parsed.path())?))
            }
            _ => anyhow::bail!("is neither s3:// nor file://"),
        };
        Ok(Self { store, url: url.to_owned() })
    }

    /// Stores an object, in place of one of that name.
    pub async fn put(&self, name: &str, content: Vec<u8>) -> object_store::Result<()> {
        self.store.put(&Path::parse(name)?, PutPayload::from(content)).await?;
        Ok(())
    }

    /// An object; `None` when there is none of that name.
    pub async fn get(&self, name: &str) -> object_store::Result<Option<Vec<u8>>> {
        match self.store.get(&Path::parse(name)?).await {
            Ok(found) => Ok(Some(found.bytes().await?.to_vec())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The names of all objects in a folder, in order.
    pub async fn names(&self, folder: &str) -> object_store::Result<Vec<String>> {
        let folder = Path::parse(folder)?;
        let found = self.store.list(Some(&folder)).map_ok(|object| object.location.to_string());
        let mut names: Vec<String> = found.try_collect().await?;
        names.sort_unstable();
        Ok(names)
    }

    /// Removes an object.
    pub async fn delete(&self, name: &str) -> object_store::Result<()> {
        self.store.delete(&Path::parse(name)?).await
    }
}

impl S3Settings {
    fn bucket(&self, bucket: &str) -> object_store::Result<impl ObjectStore + use<>> {
        let mut builder = AmazonS3Builder::new().with_bucket_name(bucket);
        if let Some(endpoint) = &self.endpoint {
            // Plaintext is for stores on this machine or behind a mesh; the configuration lets nothing else through in production.
            builder = builder.with_endpoint(endpoint.as_str()).with_allow_http(endpoint.scheme() == "http");
        }
        if let Some(region) = &self.region {
            builder = builder.with_region(region);
        }
        if let (Some(id), Some(secret)) = (&self.access_key_id, &self.secret_access_key) {
            builder = builder.with_access_key_id(id).with_secret_access_key(secret.expose_secret());
        }
        builder.build()
    }
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive").field("url", &self.url).finish_non_exhaustive()
    }
}
