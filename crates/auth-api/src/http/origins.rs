use actix_cors::Cors;
use actix_web::http::{
    Method,
    header::{self, HeaderMap, HeaderName},
};

use super::{edge_error::EdgeError, idempotency, request_id, token_transport};
use crate::domain::web_origin::WebOrigin;

const MAX_AGE_SECONDS: usize = 600;

/// The web pages that may do more than any other page.
#[derive(Debug, Clone)]
pub struct Origins {
    /// Whose scripts may read answers.
    pub cors: Vec<WebOrigin>,
    /// Those of this interface and of the frontend.
    pub own: Vec<WebOrigin>,
}

impl Origins {
    /// Cross-origin resource sharing for exactly the listed origins.
    pub fn cors(&self) -> Cors {
        let cors = Cors::default()
            .allowed_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
            .allowed_headers([
                header::AUTHORIZATION,
                header::CONTENT_TYPE,
                HeaderName::from_static(idempotency::HEADER),
                HeaderName::from_static(request_id::HEADER),
                HeaderName::from_static(token_transport::HEADER),
                HeaderName::from_static("traceparent"),
            ])
            .expose_headers([
                HeaderName::from_static(request_id::HEADER),
                header::RETRY_AFTER,
                HeaderName::from_static("ratelimit"),
                HeaderName::from_static("ratelimit-policy"),
            ])
            .supports_credentials()
            .max_age(MAX_AGE_SECONDS);
        self.cors.iter().fold(cors, |cors, origin| cors.allowed_origin(origin.as_str()))
    }

    /// Checks that the page that sent the request may use our cookies: `Origin` names one of the listed origins or of our own, or, without `Origin`, the
    /// browser says that page and interface are of one origin. What is no browser has no cookies either.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), EdgeError> {
        let mut given = headers.get_all(header::ORIGIN);
        let is_allowed = match (given.next(), given.next()) {
            (Some(origin), None) => {
                let mut allowed = self.cors.iter().chain(&self.own);
                allowed.any(|allowed| allowed.as_str().as_bytes() == origin.as_bytes())
            }
            (None, _) => headers.get("sec-fetch-site").is_some_and(|site| site == "same-origin"),
            _ => false,
        };
        if is_allowed { Ok(()) } else { Err(EdgeError::OriginNotAllowed) }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn cookies_are_for_listed_pages_only() {
        let origins = Origins {
            cors: vec!["https://shop.example.com".parse().unwrap()],
            own: vec!["https://app.example.com".parse().unwrap()],
        };
        for (given, site, is_allowed) in [
            (vec!["https://app.example.com"], None, true),
            (vec!["https://shop.example.com"], Some("cross-site"), true),
            (vec!["https://app.example.com", "https://app.example.com"], None, false),
            (vec!["https://evil.example"], Some("same-origin"), false),
            (vec!["null"], Some("same-origin"), false),
            (vec![""], Some("same-origin"), false),
            (vec![], Some("same-origin"), true),
            (vec![], Some("same-site"), false),
            (vec![], Some("cross-site"), false),
            (vec![], Some("none"), false),
            (vec![], None, false),
        ] {
            let mut headers = HeaderMap::new();
            for origin in &given {
                headers.append(header::ORIGIN, HeaderValue::from_static(origin));
            }
            if let Some(site) = site {
                headers.insert(HeaderName::from_static("sec-fetch-site"), HeaderValue::from_static(site));
            }
            assert_eq!(origins.check(&headers).is_ok(), is_allowed, "{given:?} {site:?}");
        }
    }
}
