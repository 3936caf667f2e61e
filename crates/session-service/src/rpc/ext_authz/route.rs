//! What a route of the proxy demands, as its configuration says in `context_extensions`.

use std::collections::HashMap;

use access_tokens::Demands;
use chrono::TimeDelta;

/// What a route demands.
#[derive(Debug, Default)]
pub struct Route {
    pub mode: Mode,
    pub demands: Demands,
    /// Whether PostgreSQL is asked for each request.
    pub authoritative: bool,
    /// Whether the service behind the proxy does not see the token.
    pub strip_authorization: bool,
}

/// Whether a request needs a token.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Required,
    /// A request without a token passes, as nobody's; one with a token that is not good does not.
    Optional,
}

/// A configuration that cannot be meant. Whoever mistypes a demand must not find the route open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedRoute {
    #[error("the proxy asks about no HTTP request")]
    NoHttp,
    #[error("context_extensions: {0:?} is not known")]
    UnknownKey(String),
    #[error("context_extensions: {key} must be {rule}")]
    BadValue { key: &'static str, rule: &'static str },
    #[error("context_extensions: what is optional demands nothing")]
    OptionalDemands,
}

impl Route {
    pub fn parse(extensions: &HashMap<String, String>) -> Result<Self, MalformedRoute> {
        let mut route = Self::default();
        for (key, value) in extensions {
            match key.as_str() {
                "required_permissions" => route.demands.permissions = permissions(value)?,
                "min_aal" => route.demands.min_aal = min_aal(value)?,
                "max_auth_age_seconds" => route.demands.max_auth_age = Some(max_auth_age(value)?),
                "authoritative" => route.authoritative = flag("authoritative", value)?,
                "strip_authorization" => route.strip_authorization = flag("strip_authorization", value)?,
                "mode" => route.mode = mode(value)?,
                _ => return Err(MalformedRoute::UnknownKey(key.clone())),
            }
        }
        // Envoy merges the extensions of a virtual host and of its routes, so that a demand may come to a mode that nobody thought of.
        if route.mode == Mode::Optional && route.has_demands() {
            return Err(MalformedRoute::OptionalDemands);
        }
        Ok(route)
    }

    fn has_demands(&self) -> bool {
        let Demands { min_aal, max_auth_age, permissions } = &self.demands;
        *min_aal > 0 || max_auth_age.is_some() || !permissions.is_empty()
    }
}

fn permissions(value: &str) -> Result<Vec<String>, MalformedRoute> {
    let names: Vec<String> = value.split(',').map(|name| name.trim().to_owned()).collect();
    // What may be in a scope of a challenge (RFC 6750), and nothing that would end its quotes.
    let is_name = |name: &String| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
    };
    let rule = "names of permissions with commas between them";
    if names.iter().all(is_name) { Ok(names) } else { Err(bad("required_permissions", rule)) }
}

fn min_aal(value: &str) -> Result<u32, MalformedRoute> {
    match value {
        "1" => Ok(1),
        "2" => Ok(2),
        _ => Err(bad("min_aal", "1 or 2")),
    }
}

fn max_auth_age(value: &str) -> Result<TimeDelta, MalformedRoute> {
    // "+5" is a number to Rust and to nobody else.
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = value.parse::<u32>().ok().filter(|seconds| digits && *seconds > 0);
    let seconds =
        seconds.ok_or_else(|| bad("max_auth_age_seconds", "a whole number of seconds, at least 1"))?;
    Ok(TimeDelta::seconds(seconds.into()))
}

fn flag(key: &'static str, value: &str) -> Result<bool, MalformedRoute> {
    value.parse().map_err(|_| bad(key, "true or false"))
}

fn mode(value: &str) -> Result<Mode, MalformedRoute> {
    match value {
        "required" => Ok(Mode::Required),
        "optional" => Ok(Mode::Optional),
        _ => Err(bad("mode", "required or optional")),
    }
}

fn bad(key: &'static str, rule: &'static str) -> MalformedRoute {
    MalformedRoute::BadValue { key, rule }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(extensions: &[(&str, &str)]) -> Result<Route, MalformedRoute> {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Route::parse(&extensions.iter().map(own).collect())
    }

    #[test]
    fn a_route_that_says_nothing_needs_a_token_and_no_more() {
        let route = parse(&[]).unwrap();
        assert_eq!(
            (route.mode, route.authoritative, route.strip_authorization),
            (Mode::Required, false, false)
        );
        assert!(!route.has_demands());
    }

    #[test]
    fn everything_that_is_said_is_understood() {
        let route = parse(&[
            ("required_permissions", "reports.read, reports:export"),
            ("min_aal", "2"),
            ("max_auth_age_seconds", "300"),
            ("authoritative", "true"),
            ("strip_authorization", "true"),
            ("mode", "required"),
        ])
        .unwrap();
        assert_eq!(route.demands.permissions, ["reports.read", "reports:export"]);
        assert_eq!((route.demands.min_aal, route.demands.max_auth_age), (2, Some(TimeDelta::minutes(5))));
        assert!(route.authoritative && route.strip_authorization);
        assert_eq!(parse(&[("mode", "optional")]).unwrap().mode, Mode::Optional);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (key, value) in [
            ("required_permission", "reports.read"),
            ("Mode", "required"),
            ("", ""),
            ("required_permissions", ""),
            ("required_permissions", "reports.read,"),
            ("required_permissions", "a\" scope=\"b"),
            ("required_permissions", "reports read"),
            ("min_aal", "0"),
            ("min_aal", "3"),
            ("min_aal", "aal2"),
            ("min_aal", ""),
            ("max_auth_age_seconds", "0"),
            ("max_auth_age_seconds", "-1"),
            ("max_auth_age_seconds", "+5"),
            ("max_auth_age_seconds", "5m"),
            ("max_auth_age_seconds", "4294967296"),
            ("authoritative", "yes"),
            ("strip_authorization", "TRUE"),
            ("mode", "none"),
        ] {
            assert!(parse(&[(key, value)]).is_err(), "{key}={value}");
        }
    }

    #[test]
    fn no_demand_is_made_of_what_is_optional() {
        for demand in [("required_permissions", "a"), ("min_aal", "1"), ("max_auth_age_seconds", "1")] {
            assert!(matches!(parse(&[("mode", "optional"), demand]), Err(MalformedRoute::OptionalDemands)));
        }
    }
}
