use std::{fmt, str::FromStr};

use url::Url;

/// Where a service is: `https://host:port`, whose host may resolve to all of its replicas, or several of these separated by commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAddress(Vec<Url>);

/// Why text is not the address of a service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceAddressError {
    /// There is not a single address.
    #[error("at least one address is needed")]
    Empty,
    /// One is no URL.
    #[error("an address is not a URL: {0}")]
    NotAUrl(#[from] url::ParseError),
    /// One does not say how gRPC travels.
    #[error("an address must begin with http:// or https://")]
    Scheme,
    /// One has a path, a user or a query.
    #[error("an address is a scheme, a host and a port, and nothing else")]
    MoreThanAnAddress,
    /// Some are encrypted and some are not.
    #[error("all addresses must begin with the same scheme")]
    MixedSchemes,
}

impl ServiceAddress {
    /// The addresses, at least one.
    #[must_use]
    pub fn urls(&self) -> &[Url] {
        &self.0
    }

    /// Whether connections to it are encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.0.iter().all(|url| url.scheme() == "https")
    }
}

impl FromStr for ServiceAddress {
    type Err = ServiceAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let urls: Vec<Url> = text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(parse_one)
            .collect::<Result<_, _>>()?;
        let first = urls.first().ok_or(ServiceAddressError::Empty)?;
        if urls.iter().any(|url| url.scheme() != first.scheme()) {
            return Err(ServiceAddressError::MixedSchemes);
        }
        Ok(Self(urls))
    }
}

impl fmt::Display for ServiceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, url) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            f.write_str(url.as_str().trim_end_matches('/'))?;
        }
        Ok(())
    }
}

fn parse_one(text: &str) -> Result<Url, ServiceAddressError> {
    let url = Url::parse(text)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(ServiceAddressError::Scheme);
    }
    let is_bare = url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if is_bare { Ok(url) } else { Err(ServiceAddressError::MoreThanAnAddress) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, ServiceAddressError> {
        text.parse::<ServiceAddress>().map(|address| address.to_string())
    }

    #[test]
    fn one_address_or_several_are_read_and_written() {
        assert_eq!(parse("https://sessions:50051").unwrap(), "https://sessions:50051");
        assert_eq!(parse(" https://a:1/ , https://[::1]:2,").unwrap(), "https://a:1,https://[::1]:2");
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        assert_eq!(parse(" , ").unwrap_err(), ServiceAddressError::Empty);
        assert_eq!(parse("sessions").unwrap_err(), url::ParseError::RelativeUrlWithoutBase.into());
        assert_eq!(parse("ftp://sessions").unwrap_err(), ServiceAddressError::Scheme);
        assert_eq!(parse("https://a:1,http://b:1").unwrap_err(), ServiceAddressError::MixedSchemes);
        for more in ["https://a/path", "https://a?x", "https://a#x", "https://user@a"] {
            assert_eq!(parse(more).unwrap_err(), ServiceAddressError::MoreThanAnAddress, "{more}");
        }
    }
}
