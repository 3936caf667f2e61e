//! What attackers put into a search.

use std::sync::Arc;

use audit_service::{
    app::{Search, SearchError},
    domain::{Criteria, PageSize, Place, Reader},
};
use auth_proto::audit::v1::{
    EventFilter, ExportRequest, GetRequest, SearchRequest, StatsRequest, TailRequest,
};
use chrono::TimeDelta;
use clock::{Clock, ManualClock, SystemClock};
use serde_json::json;
use tonic::Code;

use crate::{
    facts::{self, login, parsed, user},
    running::Running,
    sql,
};

/// Beginnings and ends around the usual injections, as scanners combine them.
fn injections() -> Vec<String> {
    let cores = [
        "' OR '1'='1",
        "' OR 1=1 --",
        "'; DROP TABLE events; --",
        "' UNION SELECT * FROM subject_keys --",
        "1; SELECT pg_sleep(10)",
        "'||pg_sleep(10)||'",
        "$1",
        "%",
        "_",
        "%%%",
        "auth.%",
        "\\",
        "\\'",
        "\"",
        "`id`",
        "{{7*7}}",
        "$.detail ? (@ == 1)",
        "detail->>'x'",
        "(((((a+)+)+",
        "[[:alpha:]]",
        "é' OR ''='",
        "\u{202e}",
        "CASE WHEN 1=1 THEN 1 END",
        "seq DESC; --",
        "x' AND 1=(SELECT count(*) FROM pg_class) AND 'x'='x",
    ];
    let wrapped = cores.iter().flat_map(|core| {
        [
            (*core).to_owned(),
            format!("x{core}"),
            format!("{core}/**/"),
            format!("({core})"),
            format!("'{core}'"),
        ]
    });
    wrapped.filter(|text| text.len() <= 128).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn aud_07_what_is_searched_for_is_taken_literally() {
    let audit = Running::start().await;
    let injections = injections();
    assert!(injections.len() > 100);
    let mut events = vec![login(user()), login(user())];
    for text in &injections {
        let mut event = login(user());
        event["data"]["target"] = json!({"kind": "session", "id": text});
        event["data"]["client"]["requestId"] = json!(format!("r{text}"));
        events.push(event);
    }
    let all: Vec<_> = events.iter().map(parsed).collect();
    audit.another_log().record(&all).await;

    let mut client = audit.client.clone();
    for (text, event) in injections.iter().zip(&events[2..]) {
        let found =
            client.search(SearchRequest { q: text.clone(), page_size: 100, ..Default::default() }).await;
        let found: Vec<_> = found.unwrap().into_inner().events.into_iter().map(|event| event.id).collect();
        // "_" is a part of some types, though of none of these.
        assert_eq!(found, [facts::id(event)], "{text}");
        let request = SearchRequest { request_id: format!("r{text}"), ..Default::default() };
        let found = client.search(request).await.unwrap().into_inner().events;
        assert_eq!(found.len(), 1, "{text}");

        let refused = [
            SearchRequest { r#type: text.clone(), ..Default::default() },
            SearchRequest { outcome: text.clone(), ..Default::default() },
            SearchRequest { severity: text.clone(), ..Default::default() },
            SearchRequest { actor_id: text.clone(), ..Default::default() },
            SearchRequest { subject_id: text.clone(), ..Default::default() },
            SearchRequest { ip: text.clone(), ..Default::default() },
            SearchRequest { page_token: text.clone(), ..Default::default() },
        ];
        for request in refused {
            let status = client.search(request.clone()).await.unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument, "{request:?}");
        }
        let status = client.get(GetRequest { id: text.clone(), scope: None }).await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound);
    }
    assert_eq!(sql::rows(&audit.admin).await, i64::try_from(events.len()).unwrap());

    // The other methods read the same message.
    let filter = Some(EventFilter { r#type: "' OR 1=1 --".into(), ..Default::default() });
    let stats = client.stats(StatsRequest { filter: filter.clone(), scope: None }).await.map(drop);
    let tail = client.tail(TailRequest { filter: filter.clone(), ..Default::default() }).await.map(drop);
    let export = client.export(ExportRequest { filter, ..Default::default() }).await.map(drop);
    for refused in [stats, tail, export] {
        assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    }
    audit.stop_and_expect_an_empty_queue().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aud_06_a_page_token_dies_after_an_hour_and_is_its_readers_own() {
    let audit = Running::start().await;
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let log = audit.another_log().with_clock(clock.clone());
    let events: Vec<_> = (0..3).map(|_| parsed(&login(user()))).collect();
    log.record(&events).await;
    let reader = |role: &str, name: &str| Reader::of(Some(role), name.to_owned());
    let mut search = Search {
        criteria: Criteria::default(),
        place: Place::First,
        page_size: PageSize::parse(1).unwrap(),
        with_total: false,
        reader: reader("auth-api", "auth-api/1"),
    };
    let token = log.search(&search).await.unwrap().next_page_token.unwrap();
    search.place = Place::Token(token);

    clock.advance(TimeDelta::minutes(59));
    let again = Search { reader: reader("auth-api", "auth-api/2"), ..search.clone() };
    assert_eq!(log.search(&again).await.unwrap().events.len(), 1, "another replica");
    let foreign = Search { reader: reader("operator", "operator/alice"), ..search.clone() };
    assert!(matches!(log.search(&foreign).await, Err(SearchError::PageTokenInvalid(_))));
    clock.advance(TimeDelta::minutes(1));
    assert!(matches!(log.search(&search).await, Err(SearchError::PageTokenInvalid(_))));
    audit.stop_and_expect_an_empty_queue().await;
}
