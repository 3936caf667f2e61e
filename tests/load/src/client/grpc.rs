use std::path::PathBuf;

use anyhow::Context;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

/// Who a client or a server is over TLS, as files in PEM form.
#[derive(Debug, Clone, clap::Args)]
pub struct Identity {
    /// The authority that the other side's certificate must come from
    #[arg(long, env = "TLS_CA", requires = "cert")]
    pub ca: Option<PathBuf>,
    /// Our own certificate
    #[arg(long, env = "TLS_CLIENT_CERT", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Its private key
    #[arg(long, env = "TLS_CLIENT_KEY", requires = "ca")]
    pub key: Option<PathBuf>,
}

/// The three files of an identity, read.
pub(crate) struct Pem {
    pub ca: Vec<u8>,
    pub certificate: Vec<u8>,
    pub key: Vec<u8>,
}

impl Identity {
    pub(crate) fn read(&self) -> anyhow::Result<Option<Pem>> {
        let (Some(ca), Some(cert), Some(key)) = (&self.ca, &self.cert, &self.key) else { return Ok(None) };
        let read =
            |path: &PathBuf| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        Ok(Some(Pem { ca: read(ca)?, certificate: read(cert)?, key: read(key)? }))
    }
}

/// A connection to `host:port`, over mutual TLS where `identity` is given. It is made with the first call, and again when it is lost.
pub fn channel(address: &str, identity: &Identity) -> anyhow::Result<Channel> {
    let endpoint = |scheme: &str| Endpoint::from_shared(format!("{scheme}://{address}"));
    let Some(pem) = identity.read()? else { return Ok(endpoint("http")?.tcp_nodelay(true).connect_lazy()) };
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(pem.ca))
        .identity(tonic::transport::Identity::from_pem(pem.certificate, pem.key));
    Ok(endpoint("https")?.tcp_nodelay(true).tls_config(tls)?.connect_lazy())
}
