//! The request that a proxy asks about.

use std::str;

use envoy_types::pb::envoy::service::auth::v3::attribute_context::HttpRequest;

use super::denial::Denial;

/// The head of a client's request, as the proxy tells it.
pub struct CheckedRequest<'a>(&'a HttpRequest);

impl<'a> CheckedRequest<'a> {
    pub fn new(http: &'a HttpRequest) -> Self {
        Self(http)
    }

    /// The id that operators find the request by.
    pub fn id(&self) -> &'a str {
        self.headers()
            .find(|(name, _)| name.eq_ignore_ascii_case("x-request-id"))
            .and_then(|(_, id)| id)
            .unwrap_or(&self.0.id)
    }

    /// The access token, if there is one: from `Authorization` and nowhere else. Who sends several leaves it open who asks.
    pub fn bearer_token(&self) -> Result<Option<&'a str>, Denial> {
        let mut values = self.headers().filter(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        let Some((_, value)) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(Denial::InvalidToken);
        }
        let value = value.ok_or(Denial::InvalidToken)?;
        let Some((scheme, token)) = value.split_once(' ') else { return Ok(None) };
        Ok(scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()))
    }

    /// The names of headers that a service might take for one of `names`: many servers read `-` and `_` as the same.
    pub fn look_alikes(&self, names: &[&str]) -> Vec<String> {
        let is_one = |sent: &str| {
            let dashed = sent.replace('_', "-");
            dashed != sent && names.iter().any(|name| dashed.eq_ignore_ascii_case(name))
        };
        let mut found: Vec<String> =
            self.headers().map(|(name, _)| name).filter(|name| is_one(name)).map(str::to_owned).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Whichever way the proxy is told to send them; what is no UTF-8 has no value.
    fn headers(&self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> + use<'a> {
        let merged = self.0.headers.iter().map(|(name, value)| (name.as_str(), Some(value.as_str())));
        let raw = self.0.header_map.iter().flat_map(|map| &map.headers).map(|header| {
            let raw = str::from_utf8(&header.raw_value).ok();
            (header.key.as_str(), if header.raw_value.is_empty() { Some(header.value.as_str()) } else { raw })
        });
        merged.chain(raw)
    }
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue};

    use super::*;

    fn request(headers: &[(&str, &str)]) -> HttpRequest {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        HttpRequest { headers: headers.iter().map(own).collect(), ..HttpRequest::default() }
    }

    fn raw(headers: &[(&str, &[u8])]) -> HttpRequest {
        let header = |(name, value): &(&str, &[u8])| HeaderValue {
            key: (*name).to_owned(),
            raw_value: value.to_vec(),
            ..HeaderValue::default()
        };
        let header_map = HeaderMap { headers: headers.iter().map(header).collect() };
        HttpRequest { header_map: Some(header_map), ..HttpRequest::default() }
    }

    #[test]
    fn one_bearer_token_is_read_whatever_the_case_of_its_scheme() {
        for value in ["Bearer v4", "bearer v4", "BEARER  v4 "] {
            let http = request(&[("authorization", value), ("cookie", "access=other")]);
            assert_eq!(CheckedRequest::new(&http).bearer_token(), Ok(Some("v4")), "{value}");
        }
        assert_eq!(
            CheckedRequest::new(&raw(&[("authorization", b"Bearer v4")])).bearer_token(),
            Ok(Some("v4"))
        );
        for value in ["", "Bearer", "Basic v4", "v4"] {
            let http = request(&[("authorization", value)]);
            assert_eq!(CheckedRequest::new(&http).bearer_token(), Ok(None), "{value}");
        }
        let elsewhere = request(&[("proxy-authorization", "Bearer v4"), ("x-access-token", "v4")]);
        assert_eq!(CheckedRequest::new(&elsewhere).bearer_token(), Ok(None));
    }

    #[test]
    fn several_tokens_are_none() {
        let http = raw(&[("authorization", b"Bearer v4"), ("Authorization", b"Bearer v4")]);
        assert_eq!(CheckedRequest::new(&http).bearer_token(), Err(Denial::InvalidToken));
        // So the proxy merges them, and no token has a comma.
        let http = request(&[("authorization", "Bearer v4,Bearer v5")]);
        assert_eq!(CheckedRequest::new(&http).bearer_token(), Ok(Some("v4,Bearer v5")));
    }

    #[test]
    fn a_token_that_cannot_be_read_is_not_good() {
        let http = raw(&[("authorization", b"Bearer \xff")]);
        assert_eq!(CheckedRequest::new(&http).bearer_token(), Err(Denial::InvalidToken));
    }

    #[test]
    fn headers_that_a_server_could_confuse_are_found() {
        let http =
            request(&[("x_auth_user-id", "eve"), ("X_Auth_User_Id", "eve"), ("x-auth-user-id", "eve")]);
        let found = CheckedRequest::new(&http).look_alikes(&["x-auth-user-id"]);
        assert_eq!(found, ["X_Auth_User_Id", "x_auth_user-id"]);
    }
}
