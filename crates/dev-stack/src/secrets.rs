//! Random secrets, made once and kept.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

use base64::prelude::*;

use crate::private_file;

/// A directory of secrets, one file each.
#[derive(Debug, Clone)]
pub(crate) struct Secrets(PathBuf);

impl Secrets {
    pub(crate) fn in_directory(directory: &Path) -> anyhow::Result<Self> {
        private_file::directory(directory)?;
        Ok(Self(directory.to_owned()))
    }

    /// The file of a secret.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The secret of that name, made at first use.
    pub(crate) fn keep(&self, name: &str, make: impl FnOnce() -> String) -> anyhow::Result<String> {
        kept(&self.path(name), make)
    }

    /// Replaces a secret that is not random, such as an URL with a password.
    pub(crate) fn put(&self, name: &str, value: &str) -> anyhow::Result<()> {
        private_file::write(&self.path(name), value)
    }
}

/// The content of `path`, made at first use.
pub(crate) fn kept(path: &Path, make: impl FnOnce() -> String) -> anyhow::Result<String> {
    if let Ok(secret) = std::fs::read_to_string(path) {
        return Ok(secret.trim_end().to_owned());
    }
    let secret = make();
    private_file::write(path, &secret)?;
    Ok(secret)
}

/// 128 random bits in hexadecimal: needs no quoting in URLs, shells and configuration files.
pub(crate) fn password() -> String {
    let bytes: [u8; 16] = clock::random_bytes(&mut clock::secure_rng());
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A key of 32 bytes in unpadded URL-safe base64.
pub(crate) fn key() -> String {
    let bytes: [u8; 32] = clock::random_bytes(&mut clock::secure_rng());
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// A ring of one key, as `sealing::KeyRing` reads it.
pub(crate) fn key_ring() -> String {
    format!("dev1:{}", key())
}
