//! What both examples are told by their environment.

use std::{fs, path::PathBuf};

use anyhow::Context;
use clap::Parser;
use session_verifier::{TlsIdentity, VerifierConfig};

#[derive(Parser)]
pub struct Settings {
    /// The replicas of session-service, with commas between them.
    #[arg(long, env = "SESSION_SERVICE")]
    session_service: String,
    /// The authority of session-service's certificate, the certificate of this service, and its key: PEM files. Without them there is no TLS.
    #[arg(long, env = "TLS_CA")]
    tls_ca: Option<PathBuf>,
    #[arg(long, env = "TLS_CERT", requires = "tls_ca")]
    tls_cert: Option<PathBuf>,
    #[arg(long, env = "TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    #[arg(long, env = "TOKEN_ISSUER")]
    token_issuer: String,
    #[arg(long, env = "TOKEN_AUDIENCE")]
    token_audience: String,
    /// `production` or `development`.
    #[arg(long, env = "ENVIRONMENT", default_value = "production")]
    environment: String,
    /// Where this service listens; port 0 finds a free one.
    #[arg(long, env = "LISTEN", default_value = "127.0.0.1:0")]
    pub listen: String,
}

impl Settings {
    pub fn verifier(&self) -> anyhow::Result<VerifierConfig> {
        let mut config = VerifierConfig::new(&self.session_service, &self.token_issuer, &self.token_audience);
        config.environment.clone_from(&self.environment);
        if let (Some(ca), Some(certificate), Some(key)) = (&self.tls_ca, &self.tls_cert, &self.tls_key) {
            let read =
                |path: &PathBuf| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
            config.identity = Some(TlsIdentity::from_pem(read(ca)?, read(certificate)?, read(key)?));
        }
        Ok(config)
    }
}
