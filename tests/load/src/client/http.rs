use std::sync::Arc;

use anyhow::{Context, bail};
use http::{HeaderValue, Request, Response, header::HOST, uri::PathAndQuery};
use http_body_util::{BodyExt, Full};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::TlsConnector;
use url::Url;

use crate::{Client, Outcome};

/// A server that speaks HTTP/1.1.
#[derive(Clone)]
pub struct HttpTarget {
    authority: String,
    host: HeaderValue,
    path: PathAndQuery,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl HttpTarget {
    /// Understands `http://…` and `https://…`; the authorities of the system are trusted, and those in `ca` (PEM).
    pub fn parse(url: &str, ca: Option<&[u8]>) -> anyhow::Result<Self> {
        let url = Url::parse(url).with_context(|| format!("{url} is no URL"))?;
        let host = url.host_str().context("the URL names no host")?.to_owned();
        let port = url.port_or_known_default().context("the URL names no port")?;
        let tls = match url.scheme() {
            "http" => None,
            "https" => {
                Some((connector(ca)?, ServerName::try_from(host.trim_matches(['[', ']']).to_owned())?))
            }
            other => bail!("{other} is not HTTP"),
        };
        let path =
            url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let given_host = url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
        Ok(Self {
            authority: format!("{host}:{port}"),
            host: HeaderValue::from_str(&given_host)?,
            path: path.parse()?,
            tls,
        })
    }

    /// The path and the query of the URL.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path.as_str()
    }

    async fn connect(&self) -> anyhow::Result<Open> {
        let stream = TcpStream::connect(&self.authority).await;
        let stream = stream.with_context(|| format!("cannot connect to {}", self.authority))?;
        stream.set_nodelay(true)?;
        match &self.tls {
            Some((connector, name)) => Open::over(connector.connect(name.clone(), stream).await?).await,
            None => Open::over(stream).await,
        }
    }
}

fn connector(ca: Option<&[u8]>) -> anyhow::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(pem) = ca {
        let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>()?;
        roots.add_parsable_certificates(certificates);
    }
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// One connection that is kept alive, and made again when it is lost. Nothing else is between the caller and the socket: a pool, redirects
/// and cookies would cost time that is not the server's.
pub struct HttpConnection {
    target: HttpTarget,
    open: Option<Open>,
}

struct Open {
    sender: http1::SendRequest<Full<Bytes>>,
    /// Reads and writes; ends with this value.
    _driver: JoinSet<()>,
}

impl Open {
    async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> anyhow::Result<Self> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // Whoever waits for an answer is told.
            connection.await.ok();
        });
        Ok(Self { sender, _driver: driver })
    }
}

impl HttpConnection {
    /// Connects with the first request.
    #[must_use]
    pub fn new(target: HttpTarget) -> Self {
        Self { target, open: None }
    }

    /// Sends a request and reads the whole answer. The request needs a path only.
    pub async fn exchange(&mut self, mut request: Request<Full<Bytes>>) -> anyhow::Result<Response<Bytes>> {
        request.headers_mut().insert(HOST, self.target.host.clone());
        // Taken out, so that a request that nobody waits for any more leaves no connection with half an answer on it.
        let kept = self.open.take().filter(|open| !open.sender.is_closed());
        let was_kept = kept.is_some();
        let mut open = match kept {
            Some(open) => open,
            None => self.target.connect().await?,
        };
        let response = match open.sender.try_send_request(request).await {
            Ok(response) => response,
            // The server closed an idle connection before it saw the request.
            Err(mut error) => match error.take_message() {
                Some(request) if was_kept => {
                    open = self.target.connect().await?;
                    open.sender.send_request(request).await?
                }
                _ => return Err(error.into_error().into()),
            },
        };
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        self.open = Some(open);
        Ok(Response::from_parts(head, body))
    }
}

/// Sends requests that do not depend on answers.
pub struct HttpClient<N> {
    connection: HttpConnection,
    next: N,
}

impl<N> HttpClient<N> {
    /// A client with a connection of its own; `next` makes its requests.
    pub fn new(target: HttpTarget, next: N) -> Self {
        Self { connection: HttpConnection::new(target), next }
    }
}

impl<N: Fn() -> Request<Full<Bytes>> + Send + 'static> Client for HttpClient<N> {
    async fn request(&mut self) -> Outcome {
        let request = (self.next)();
        match self.connection.exchange(request).await {
            Ok(response) => Outcome::Http(response.status().as_u16()),
            Err(_) => Outcome::Silence,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_understood() {
        let target = HttpTarget::parse("http://127.0.0.1:8000/v1/auth/me?a=b", None).unwrap();
        assert_eq!((target.authority.as_str(), target.path()), ("127.0.0.1:8000", "/v1/auth/me?a=b"));
        assert_eq!(target.host, "127.0.0.1:8000");
        let target = HttpTarget::parse("http://example.com", None).unwrap();
        assert_eq!((target.authority.as_str(), target.path()), ("example.com:80", "/"));
        assert_eq!(target.host, "example.com");
        for bad in ["", "example.com", "ftp://example.com"] {
            assert!(HttpTarget::parse(bad, None).is_err(), "{bad}");
        }
    }
}
