//! One address of a service: which hosts it stands for, and how a request names it.

use std::{fmt, io, net::SocketAddr, sync::Arc};

use http::{Uri, uri::Parts};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use tokio::net::lookup_host;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use crate::{ChannelError, IdentityError, TlsIdentity};

pub(crate) struct Origin {
    uri: Uri,
    host: Host,
    port: u16,
    tls: Option<Tls>,
}

/// How to encrypt, and which name the certificate must have. It is that of the URL, whatever it resolves to.
pub(crate) struct Tls {
    pub connector: TlsConnector,
    pub server_name: ServerName<'static>,
}

impl Origin {
    /// Fails when the address and the identity contradict each other.
    pub fn new(url: &Url, identity: Option<&TlsIdentity>) -> Result<Self, ChannelError> {
        let text = url.as_str().trim_end_matches('/');
        let wrong = || ChannelError::Address(text.to_owned());
        let host = url.host().ok_or_else(wrong)?.to_owned();
        let tls = match (url.scheme(), identity) {
            ("https", Some(identity)) => {
                let server_name = server_name(&host).ok_or_else(wrong)?;
                Some(Tls { connector: connector(identity)?, server_name })
            }
            ("https", None) => return Err(ChannelError::IdentityMissing(text.to_owned())),
            (_, Some(_)) => return Err(ChannelError::IdentityUnused(text.to_owned())),
            (_, None) => None,
        };
        let uri = url.as_str().parse().map_err(|_| wrong())?;
        let port = url.port_or_known_default().ok_or_else(wrong)?;
        Ok(Self { uri, host, port, tls })
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

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

fn connector(identity: &TlsIdentity) -> Result<TlsConnector, IdentityError> {
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

fn server_name(host: &Host) -> Option<ServerName<'static>> {
    match host {
        Host::Domain(name) => ServerName::try_from(name.clone()).ok(),
        Host::Ipv4(ip) => Some(ServerName::IpAddress((*ip).into())),
        Host::Ipv6(ip) => Some(ServerName::IpAddress((*ip).into())),
    }
}
