//! One address of a service: which hosts it stands for, and how a request names it.

use std::{io, net::SocketAddr, sync::Arc};

use anyhow::{Context, bail};
use http::{Uri, uri::Parts};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use tokio::net::lookup_host;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use crate::{TlsIdentity, Transport};

pub(super) struct Origin {
    uri: Uri,
    host: Host,
    port: u16,
    tls: Option<Tls>,
}

/// How to encrypt, and which name the certificate must have. It is that of the URL, whatever it resolves to.
pub(super) struct Tls {
    pub connector: TlsConnector,
    pub server_name: ServerName<'static>,
}

impl Origin {
    /// Fails when the address and the transport contradict each other.
    pub fn new(url: &Url, transport: &Transport) -> anyhow::Result<Self> {
        let host = url.host().with_context(|| format!("{url} names no host"))?.to_owned();
        let tls = match (url.scheme(), transport) {
            ("http", Transport::Plaintext) => None,
            ("https", Transport::MutualTls(identity)) => {
                let connector = connector(identity).context("the TLS identity cannot be used")?;
                Some(Tls { connector, server_name: server_name(&host)? })
            }
            (_, Transport::Plaintext) => bail!("{url} must begin with http://, because gRPC is plaintext"),
            (_, Transport::MutualTls(_)) => bail!("{url} must begin with https://, because gRPC uses TLS"),
        };
        Ok(Self {
            uri: url
                .as_str()
                .parse()
                .with_context(|| format!("{url} is not an address of a gRPC service"))?,
            host,
            port: url.port_or_known_default().with_context(|| format!("{url} names no port"))?,
            tls,
        })
    }

    pub fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// The replicas behind the address.
    pub async fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        match &self.host {
            Host::Domain(name) => Ok(lookup_host((name.as_str(), self.port)).await?.collect()),
            Host::Ipv4(ip) => Ok(vec![(*ip, self.port).into()]),
            Host::Ipv6(ip) => Ok(vec![(*ip, self.port).into()]),
        }
    }

    /// The URI of a request for the method `uri`.
    pub fn uri_of(&self, uri: Uri) -> Result<Uri, http::Error> {
        let mut parts = Parts::from(uri);
        parts.scheme = self.uri.scheme().cloned();
        parts.authority = self.uri.authority().cloned();
        Ok(Uri::from_parts(parts)?)
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

fn connector(identity: &TlsIdentity) -> anyhow::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&identity.ca).filter_map(Result::ok));
    let chain = CertificateDer::pem_slice_iter(&identity.certificate).collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(&identity.key)?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn server_name(host: &Host) -> anyhow::Result<ServerName<'static>> {
    Ok(match host {
        Host::Domain(name) => ServerName::try_from(name.clone())?,
        Host::Ipv4(ip) => ServerName::IpAddress((*ip).into()),
        Host::Ipv6(ip) => ServerName::IpAddress((*ip).into()),
    })
}
