use std::str::FromStr;

/// The names under which this interface may be called, or none: then every name will do.
#[derive(Debug, Clone, Default)]
pub struct Hosts(Vec<Host>);

/// A name with or without a port; without one, every port will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host(String);

/// Not a host.
#[derive(Debug, thiserror::Error)]
#[error("is not a list of hosts such as auth.example.com or auth.example.com:8443")]
pub struct HostError;

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        let name = without_port(text);
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-[]:".contains(&byte);
        let is_good = !name.is_empty() && text.bytes().all(is_name);
        if is_good { Ok(Self(text.to_ascii_lowercase())) } else { Err(HostError) }
    }
}

impl From<Vec<Host>> for Hosts {
    fn from(hosts: Vec<Host>) -> Self {
        Self(hosts)
    }
}

impl Hosts {
    /// Whether a request that names `host` is meant for us.
    #[must_use]
    pub fn allow(&self, host: &str) -> bool {
        let is_listed = |Host(listed): &Host| {
            listed.eq_ignore_ascii_case(host) || listed.eq_ignore_ascii_case(without_port(host))
        };
        self.is_any() || self.0.iter().any(is_listed)
    }

    /// Whether every name will do.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.0.is_empty()
    }
}

/// `[::1]:80` and `localhost:80` without their ports.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => {
            let is_address_without_port = name.starts_with('[') && !name.ends_with(']');
            if is_address_without_port { host } else { name }
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(list: &[&str]) -> Hosts {
        Hosts(list.iter().map(|host| host.parse().unwrap()).collect())
    }

    #[test]
    fn a_host_is_matched_as_a_whole() {
        let listed = hosts(&["auth.example.com", "[::1]", "other.example.com:8443"]);
        for (host, is_allowed) in [
            ("auth.example.com", true),
            ("AUTH.Example.com", true),
            ("auth.example.com:443", true),
            ("[::1]:8000", true),
            ("[::1]", true),
            ("other.example.com:8443", true),
            ("other.example.com", false),
            ("other.example.com:1", false),
            ("auth.example.com.", false),
            ("auth.example.com.evil.test", false),
            ("evil.test:auth.example.com", false),
            ("auth.example.com:evil.test", false),
            ("auth.example.com@evil.test", false),
            ("xauth.example.com", false),
            ("", false),
        ] {
            assert_eq!(listed.allow(host), is_allowed, "{host}");
        }
        assert!(Hosts::default().allow("anything"));
    }

    #[test]
    fn a_list_of_hosts_has_no_schemes_paths_or_wildcards() {
        for bad in ["", "https://auth.example.com", "auth.example.com/", "*.example.com", ":80", "a b"] {
            assert!(bad.parse::<Host>().is_err(), "{bad}");
        }
    }
}
