use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};

const STRICT_POLICY: &str = "default-src 'none'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'";
/// The documentation page runs its own script and styles.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                           connect-src 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'";

/// Puts the security headers on an answer, errors included. A handler's own `Cache-Control` stays.
pub fn insert(headers: &mut HeaderMap, path: &str) {
    let is_docs = path == "/docs" || path.starts_with("/docs/");
    let policy = if is_docs { DOCS_POLICY } else { STRICT_POLICY };
    let fixed = [
        (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000; includeSubDomains"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-site"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}
