use service_runtime::Problems;

use crate::{domain::web_origin::WebOrigin, http::Origins};

/// The origins whose scripts may read answers: those listed, or that of the frontend; and our own.
pub(super) fn parse(
    listed: Option<&str>,
    public_url: Option<&str>,
    frontend_url: Option<&str>,
    is_production: bool,
    problems: &mut Problems,
) -> Option<Origins> {
    let origin = |url: Option<&str>| url?.parse().ok().as_ref().and_then(WebOrigin::of);
    let cors = match listed {
        Some(listed) => problems.parse_list::<WebOrigin>("CORS_ORIGINS", listed)?,
        None => origin(frontend_url).into_iter().collect(),
    };
    if is_production && cors.iter().any(|origin| !origin.is_https()) {
        problems.add("CORS_ORIGINS", "must begin with https:// in production");
        return None;
    }
    Some(Origins { cors, own: [public_url, frontend_url].into_iter().filter_map(origin).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(listed: Option<&str>, is_production: bool) -> Result<Vec<String>, String> {
        let mut problems = Problems::new();
        let urls = (Some("https://auth.example.com"), Some("https://app.example.com/path"));
        let origins = parse(listed, urls.0, urls.1, is_production, &mut problems);
        let names = |origins: Vec<WebOrigin>| origins.iter().map(ToString::to_string).collect();
        origins.map(|origins| names(origins.cors)).ok_or_else(|| problems.to_string())
    }

    #[test]
    fn origins_are_listed_one_by_one() {
        assert_eq!(listed(None, true).unwrap(), ["https://app.example.com"]);
        assert_eq!(listed(Some(""), true).unwrap(), [""; 0]);
        let two = listed(Some("https://a.example, https://b.example:8443"), true).unwrap();
        assert_eq!(two, ["https://a.example", "https://b.example:8443"]);
        assert_eq!(listed(Some("http://localhost:5173"), false).unwrap(), ["http://localhost:5173"]);
        for wrong in ["*", "https://*.example", "http://a.example", "https://a.example/", "null"] {
            assert!(listed(Some(wrong), true).unwrap_err().contains("CORS_ORIGINS"), "{wrong}");
        }
    }
}
