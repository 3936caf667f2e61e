use auth_proto::audit::v1::{EventFilter, Scope as ScopeMessage, SearchRequest};
use chrono::{DateTime, Datelike, Utc};
use prost_types::Timestamp;

use crate::{
    app::SearchError,
    domain::{Criteria, Filter, FilterInvalid, FreeText, Scope, TypeFilter},
};

/// What a message asks for.
pub fn criteria(filter: Option<&EventFilter>, scope: Option<&ScopeMessage>) -> Result<Criteria, SearchError> {
    let filter = filter.map(self::filter).transpose()?.unwrap_or_default();
    Ok(Criteria::new(filter, self::scope(scope)?)?)
}

/// Who may see what.
pub fn scope(scope: Option<&ScopeMessage>) -> Result<Scope, FilterInvalid> {
    let Some(scope) = scope else { return Ok(Scope::default()) };
    if !Scope::is_viewer(&scope.viewer) {
        return Err(FilterInvalid { field: "scope.viewer", why: "is not a name" });
    }
    Ok(Scope {
        viewer: given(&scope.viewer).map(str::to_owned),
        subject_id: uuid("scope.subject_id", &scope.subject_id)?,
        omit_administration: scope.omit_administration,
        omit_personal_data: scope.omit_personal_data,
    })
}

/// The filter that is part of a search.
pub fn filter_of(request: &SearchRequest) -> EventFilter {
    EventFilter {
        r#type: request.r#type.clone(),
        outcome: request.outcome.clone(),
        actor_id: request.actor_id.clone(),
        subject_id: request.subject_id.clone(),
        ip: request.ip.clone(),
        from: request.from,
        to: request.to,
        request_id: request.request_id.clone(),
        q: request.q.clone(),
        severity: request.severity.clone(),
    }
}

fn filter(message: &EventFilter) -> Result<Filter, FilterInvalid> {
    let filter = Filter {
        r#type: given(&message.r#type).map(TypeFilter::parse).transpose()?,
        outcome: given(&message.outcome).map(Filter::parse_outcome).transpose()?,
        actor_id: uuid("actor_id", &message.actor_id)?,
        subject_id: uuid("subject_id", &message.subject_id)?,
        ip: given(&message.ip).map(Filter::parse_ip).transpose()?,
        request_id: given(&message.request_id).map(Filter::parse_request_id).transpose()?,
        severity: given(&message.severity).map(Filter::parse_severity).transpose()?,
        q: given(&message.q).map(FreeText::parse).transpose()?,
        from: None,
        to: None,
    };
    filter.with_times(time("from", message.from)?, time("to", message.to)?)
}

fn uuid(field: &'static str, text: &str) -> Result<Option<auth_ids::Uuid>, FilterInvalid> {
    given(text).map(|text| Filter::parse_uuid(field, text)).transpose()
}

/// In proto3 an empty text is one that was not given.
pub fn given(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// The years 1 to 9999, as `google.protobuf.Timestamp` promises.
fn time(field: &'static str, timestamp: Option<Timestamp>) -> Result<Option<DateTime<Utc>>, FilterInvalid> {
    let Some(timestamp) = timestamp else { return Ok(None) };
    let nanos = u32::try_from(timestamp.nanos).ok().filter(|nanos| *nanos < 1_000_000_000);
    nanos
        .and_then(|nanos| DateTime::from_timestamp(timestamp.seconds, nanos))
        .filter(|time| (1..=9999).contains(&time.year()))
        .map(Some)
        .ok_or(FilterInvalid { field, why: "is not a timestamp" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_given_is_no_filter() {
        assert_eq!(filter(&EventFilter::default()), Ok(Filter::default()));
        assert_eq!(scope(Some(&ScopeMessage::default())), Ok(Scope::default()));
    }

    #[test]
    fn every_field_that_makes_no_sense_is_named() {
        let wrong_time = Some(Timestamp { seconds: 0, nanos: -1 });
        let far_time = Some(Timestamp { seconds: i64::MAX, nanos: 0 });
        let cases = [
            ("type", EventFilter { r#type: "auth".into(), ..Default::default() }),
            ("outcome", EventFilter { outcome: "good".into(), ..Default::default() }),
            ("severity", EventFilter { severity: "good".into(), ..Default::default() }),
            ("actor_id", EventFilter { actor_id: "me".into(), ..Default::default() }),
            ("subject_id", EventFilter { subject_id: "me".into(), ..Default::default() }),
            ("ip", EventFilter { ip: "localhost".into(), ..Default::default() }),
            ("request_id", EventFilter { request_id: "a\nb".into(), ..Default::default() }),
            ("q", EventFilter { q: " ".into(), ..Default::default() }),
            ("from", EventFilter { from: wrong_time, ..Default::default() }),
            ("to", EventFilter { to: far_time, ..Default::default() }),
        ];
        for (field, message) in cases {
            assert_eq!(filter(&message).unwrap_err().field, field);
        }
        let cases = [
            ("scope.viewer", ScopeMessage { viewer: "a\0".into(), ..Default::default() }),
            ("scope.subject_id", ScopeMessage { subject_id: "me".into(), ..Default::default() }),
        ];
        for (field, message) in cases {
            assert_eq!(scope(Some(&message)).unwrap_err().field, field);
        }
    }
}
