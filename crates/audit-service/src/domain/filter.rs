use std::net::IpAddr;

use auth_events::{Outcome, Severity};
use auth_ids::Uuid;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::FreeText;

/// What a search is narrowed to; every part that is set must match.
///
/// Unset parts are left out of the serialised form, so that cursors survive a release that adds a part.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Filter {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<TypeFilter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// Not before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<DateTime<Utc>>,
    /// Before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub q: Option<FreeText>,
}

/// A part of a search that makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field} {why}")]
pub struct FilterInvalid {
    pub field: &'static str,
    pub why: &'static str,
}

/// Which types of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TypeFilter {
    /// `auth.login`
    Exact(String),
    /// `auth.`: all types of the domain `auth`.
    Domain(String),
}

impl Filter {
    /// Refuses a time range that ends before it begins.
    pub fn with_times(
        mut self,
        from: Option<DateTime<Utc>>,
        to: Option<DateTime<Utc>>,
    ) -> Result<Self, FilterInvalid> {
        if from.zip(to).is_some_and(|(from, to)| from > to) {
            return Err(FilterInvalid { field: "to", why: "is before from" });
        }
        (self.from, self.to) = (from, to);
        Ok(self)
    }

    /// Narrows to an outcome: `success`, `failure` or `denied`.
    pub fn parse_outcome(text: &str) -> Result<Outcome, FilterInvalid> {
        let outcome = Outcome::ALL.iter().copied().find(|outcome| outcome.name() == text);
        outcome.ok_or(FilterInvalid { field: "outcome", why: "is not success, failure or denied" })
    }

    /// Narrows to a severity: `info`, `warning` or `critical`.
    pub fn parse_severity(text: &str) -> Result<Severity, FilterInvalid> {
        let severity = Severity::ALL.iter().copied().find(|severity| severity.name() == text);
        severity.ok_or(FilterInvalid { field: "severity", why: "is not info, warning or critical" })
    }

    pub fn parse_uuid(field: &'static str, text: &str) -> Result<Uuid, FilterInvalid> {
        text.parse().map_err(|_| FilterInvalid { field, why: "is not a UUID" })
    }

    pub fn parse_ip(text: &str) -> Result<IpAddr, FilterInvalid> {
        let ip: IpAddr =
            text.parse().map_err(|_| FilterInvalid { field: "ip", why: "is not an IP address" })?;
        Ok(ip.to_canonical())
    }

    pub fn parse_request_id(text: &str) -> Result<String, FilterInvalid> {
        let printable = text.chars().all(|character| !character.is_control());
        if text.len() <= 128 && printable {
            Ok(text.to_owned())
        } else {
            Err(FilterInvalid { field: "request_id", why: "is not a request id" })
        }
    }
}

impl TypeFilter {
    /// `domain.action`, or `domain.` for all of a domain.
    pub fn parse(text: &str) -> Result<Self, FilterInvalid> {
        let invalid = FilterInvalid { field: "type", why: "is neither domain.action nor domain." };
        let (domain, action) = text.split_once('.').ok_or(invalid)?;
        let is_name = |part: &str| {
            (1..=64).contains(&part.len())
                && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        match action {
            "" if is_name(domain) => Ok(Self::Domain(domain.to_owned())),
            _ if is_name(domain) && is_name(action) => Ok(Self::Exact(text.to_owned())),
            _ => Err(invalid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_exact_or_a_domain() {
        assert_eq!(TypeFilter::parse("auth.login"), Ok(TypeFilter::Exact("auth.login".to_owned())));
        assert_eq!(TypeFilter::parse("auth."), Ok(TypeFilter::Domain("auth".to_owned())));
        for wrong in [
            "auth",
            ".",
            ".login",
            "auth.lo%",
            "auth.login.",
            "auth.login.x",
            "Auth.",
            "a b.",
            "auth.\0",
            "'--.",
        ] {
            assert_eq!(TypeFilter::parse(wrong).unwrap_err().field, "type", "{wrong}");
        }
    }

    #[test]
    fn every_part_refuses_what_it_cannot_be() {
        assert_eq!(Filter::parse_outcome("Success").unwrap_err().field, "outcome");
        assert_eq!(Filter::parse_severity("loud").unwrap_err().field, "severity");
        assert_eq!(Filter::parse_uuid("actor_id", "7").unwrap_err().field, "actor_id");
        assert_eq!(Filter::parse_ip("192.0.2.0/24").unwrap_err().field, "ip");
        assert_eq!(Filter::parse_ip("::ffff:192.0.2.1"), Filter::parse_ip("192.0.2.1"));
        assert_eq!(Filter::parse_request_id("a\0b").unwrap_err().field, "request_id");
        assert_eq!(Filter::parse_request_id(&"x".repeat(129)).unwrap_err().field, "request_id");
        let (early, late) = (DateTime::UNIX_EPOCH, DateTime::from_timestamp(1, 0));
        assert_eq!(Filter::default().with_times(late, Some(early)).unwrap_err().field, "to");
    }
}
