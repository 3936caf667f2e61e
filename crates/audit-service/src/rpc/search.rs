use auth_proto::audit::v1::{SearchRequest, SearchResponse};
use chrono::{DateTime, Datelike, Utc};
use prost_types::Timestamp;

use super::event::event;
use crate::{
    app::{AuditLog, SearchError},
    domain::{Filter, FilterInvalid, PageSize, TypeFilter},
};

pub async fn search(log: &AuditLog, request: &SearchRequest) -> Result<SearchResponse, SearchError> {
    let filter = filter(request)?;
    let page_size = PageSize::parse(request.page_size)?;
    let page = log.search(&filter, page_size, given(&request.page_token)).await?;
    Ok(SearchResponse {
        events: page.events.into_iter().map(event).collect(),
        next_page_token: page.next_page_token.unwrap_or_default(),
        total: None,
    })
}

fn filter(request: &SearchRequest) -> Result<Filter, FilterInvalid> {
    let uuid = |field, text| given(text).map(|text| Filter::parse_uuid(field, text)).transpose();
    let filter = Filter {
        r#type: given(&request.r#type).map(TypeFilter::parse).transpose()?,
        outcome: given(&request.outcome).map(Filter::parse_outcome).transpose()?,
        actor_id: uuid("actor_id", &request.actor_id)?,
        subject_id: uuid("subject_id", &request.subject_id)?,
        ip: given(&request.ip).map(Filter::parse_ip).transpose()?,
        request_id: given(&request.request_id).map(Filter::parse_request_id).transpose()?,
        from: None,
        to: None,
    };
    filter.with_times(time("from", request.from)?, time("to", request.to)?)
}

/// In proto3 an empty text is one that was not given.
fn given(text: &str) -> Option<&str> {
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
        assert_eq!(filter(&SearchRequest::default()), Ok(Filter::default()));
    }

    #[test]
    fn every_field_that_makes_no_sense_is_named() {
        let wrong_time = Some(Timestamp { seconds: 0, nanos: -1 });
        let far_time = Some(Timestamp { seconds: i64::MAX, nanos: 0 });
        let cases = [
            ("type", SearchRequest { r#type: "auth".into(), ..Default::default() }),
            ("outcome", SearchRequest { outcome: "good".into(), ..Default::default() }),
            ("actor_id", SearchRequest { actor_id: "me".into(), ..Default::default() }),
            ("subject_id", SearchRequest { subject_id: "me".into(), ..Default::default() }),
            ("ip", SearchRequest { ip: "localhost".into(), ..Default::default() }),
            ("request_id", SearchRequest { request_id: "a\nb".into(), ..Default::default() }),
            ("from", SearchRequest { from: wrong_time, ..Default::default() }),
            ("to", SearchRequest { to: far_time, ..Default::default() }),
        ];
        for (field, request) in cases {
            assert_eq!(filter(&request).unwrap_err().field, field);
        }
    }
}
