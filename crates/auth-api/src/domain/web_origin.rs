use std::{fmt, str::FromStr};

use url::{Origin, Url};

/// A web origin (RFC 6454) exactly as browsers write it: scheme, host and, unless it is the scheme's own, port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WebOrigin(String);

/// The text is not an origin as browsers write it.
#[derive(Debug, thiserror::Error)]
#[error("is not an origin as browsers write it, such as https://app.example.com")]
pub struct NotAnOrigin;

impl WebOrigin {
    /// The origin of a web address.
    #[must_use]
    pub fn of(url: &Url) -> Option<Self> {
        let is_web = matches!(url.scheme(), "http" | "https");
        match url.origin() {
            origin @ Origin::Tuple(..) if is_web => Some(Self(origin.ascii_serialization())),
            _ => None,
        }
    }

    /// As browsers write it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether only TLS leads there.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }
}

impl FromStr for WebOrigin {
    type Err = NotAnOrigin;

    fn from_str(text: &str) -> Result<Self, NotAnOrigin> {
        let origin = Url::parse(text).ok().as_ref().and_then(Self::of).ok_or(NotAnOrigin)?;
        // A URL may have an asterisk in its host. Who writes one means a pattern, and there are none.
        if origin.0 == text && !text.contains('*') { Ok(origin) } else { Err(NotAnOrigin) }
    }
}

impl fmt::Display for WebOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_browsers_write_is_an_origin() {
        for text in
            ["https://app.example.com", "http://localhost:5173", "https://[::1]:8443", "http://127.0.0.1"]
        {
            assert_eq!(text.parse::<WebOrigin>().unwrap().as_str(), text);
        }
        for text in [
            "",
            "*",
            "null",
            "app.example.com",
            "https://",
            "https://*.example.com",
            "https://app.example.com/",
            "https://app.example.com/path",
            "https://app.example.com:443",
            "https://APP.example.com",
            "HTTPS://app.example.com",
            "https://user@app.example.com",
            "https://app.example.com?x",
            "https://app.example.com#x",
            " https://app.example.com",
            "https://bücher.example",
            "ftp://app.example.com",
            "file:///tmp",
            "javascript:alert(1)",
        ] {
            assert!(text.parse::<WebOrigin>().is_err(), "{text:?}");
        }
    }
}
