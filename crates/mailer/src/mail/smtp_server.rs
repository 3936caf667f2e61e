use std::{fmt, str::FromStr};

use lettre::transport::smtp::{
    authentication::Credentials,
    client::{Certificate, TlsParameters},
    extension::ClientId,
};
use url::Url;

/// A mail server and how to talk to it, as `SMTP_URL` says.
///
/// `smtps://` is TLS from the first byte (port 465), `smtp://…?tls=required` is STARTTLS or nothing (port 587), and
/// `smtp://` without that, or with `?tls=none`, is plain text (port 25).
#[derive(Clone)]
pub struct SmtpServer {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) security: Security,
    pub(super) credentials: Option<Credentials>,
    pub(super) hello_name: ClientId,
}

/// What protects the connection.
#[derive(Clone)]
pub(super) enum Security {
    Plain,
    StartTls(TlsParameters),
    Tls(TlsParameters),
}

/// Why an `SMTP_URL` was not understood. The text never contains the URL.
#[derive(Debug, thiserror::Error)]
pub enum SmtpUrlError {
    /// It is no URL.
    #[error("not a URL: {0}")]
    NotAUrl(#[from] url::ParseError),
    /// The scheme is another one.
    #[error("the scheme must be smtp or smtps")]
    Scheme,
    /// It names no host.
    #[error("the host is missing")]
    NoHost,
    /// A parameter that is not known, or not in this combination.
    #[error("the only parameter is tls, for smtp:// only: required or none")]
    Parameter,
    /// A path.
    #[error("there must be no path")]
    Path,
    /// A user without a password, or the reverse.
    #[error("user name and password belong together")]
    HalfCredentials,
    /// Not UTF-8 after percent decoding.
    #[error("user name or password is not UTF-8")]
    NotUtf8,
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] lettre::transport::smtp::Error),
}

impl SmtpServer {
    /// Whether mails and credentials would be readable on the way.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        matches!(self.security, Security::Plain)
    }

    /// The same server, whose certificate may also come from the authority with the PEM certificate `ca`.
    pub fn trusting(mut self, ca: &[u8]) -> Result<Self, SmtpUrlError> {
        let parameters = || {
            let ca = Certificate::from_pem(ca)?;
            TlsParameters::builder(self.host.clone()).add_root_certificate(ca).build()
        };
        self.security = match self.security {
            Security::Plain => Security::Plain,
            Security::StartTls(_) => Security::StartTls(parameters()?),
            Security::Tls(_) => Security::Tls(parameters()?),
        };
        Ok(self)
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl FromStr for SmtpServer {
    type Err = SmtpUrlError;

    fn from_str(text: &str) -> Result<Self, SmtpUrlError> {
        let url = Url::parse(text)?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(SmtpUrlError::NoHost)?.to_owned();
        if !matches!(url.path(), "" | "/") {
            return Err(SmtpUrlError::Path);
        }
        let parameters: Vec<_> = url.query_pairs().collect();
        let tls = match parameters.as_slice() {
            [] => None,
            [(name, value)] if name == "tls" => Some(value.as_ref()),
            _ => return Err(SmtpUrlError::Parameter),
        };
        let (security, default_port) = match (url.scheme(), tls) {
            ("smtps", None) => (Security::Tls(TlsParameters::new(host.clone())?), 465),
            ("smtp", Some("required")) => (Security::StartTls(TlsParameters::new(host.clone())?), 587),
            ("smtp", None | Some("none")) => (Security::Plain, 25),
            ("smtp" | "smtps", _) => return Err(SmtpUrlError::Parameter),
            _ => return Err(SmtpUrlError::Scheme),
        };
        Ok(Self {
            host,
            port: url.port().unwrap_or(default_port),
            security,
            credentials: credentials(&url)?,
            hello_name: ClientId::default(),
        })
    }
}

fn credentials(url: &Url) -> Result<Option<Credentials>, SmtpUrlError> {
    let decode = |text: &str| {
        let decoded = percent_encoding::percent_decode_str(text).decode_utf8();
        decoded.map(std::borrow::Cow::into_owned).map_err(|_| SmtpUrlError::NotUtf8)
    };
    match (url.username(), url.password()) {
        ("", None) => Ok(None),
        ("", Some(_)) | (_, None) => Err(SmtpUrlError::HalfCredentials),
        (user, Some(password)) => Ok(Some(Credentials::new(decode(user)?, decode(password)?))),
    }
}

impl fmt::Debug for SmtpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let security = match self.security {
            Security::Plain => "plain",
            Security::StartTls(_) => "starttls",
            Security::Tls(_) => "tls",
        };
        write!(f, "SmtpServer({}:{}, {security})", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, String> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        text.parse::<SmtpServer>().map(|server| format!("{server:?}")).map_err(|error| error.to_string())
    }

    #[test]
    fn each_way_of_talking_has_its_url() {
        for (url, server) in [
            ("smtp://mail.example", "SmtpServer(mail.example:25, plain)"),
            ("smtp://127.0.0.1:2525/", "SmtpServer(127.0.0.1:2525, plain)"),
            ("smtp://mail.example?tls=none", "SmtpServer(mail.example:25, plain)"),
            ("smtp://user:p%40ss@mail.example?tls=required", "SmtpServer(mail.example:587, starttls)"),
            ("smtps://user:pass@mail.example", "SmtpServer(mail.example:465, tls)"),
            ("smtps://user:pass@mail.example:8465", "SmtpServer(mail.example:8465, tls)"),
        ] {
            assert_eq!(parse(url).as_deref(), Ok(server), "{url}");
        }
    }

    #[test]
    fn everything_else_is_refused_without_telling_the_password() {
        for url in [
            "",
            "mail.example:25",
            "http://user:hush@mail.example",
            "smtp://",
            "smtp://user@mail.example",
            "smtp://:hush@mail.example",
            "smtp://u:hush@mail.example?tls=opportunistic",
            "smtps://u:hush@mail.example?tls=none",
            "smtp://u:hush@mail.example?timeout=5",
            "smtp://u:hush@mail.example/path",
            "smtp://u:hush%FF@mail.example",
        ] {
            let error = parse(url).unwrap_err();
            assert!(!error.contains("hush"), "{error}");
        }
    }
}
