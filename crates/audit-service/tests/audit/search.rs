use std::collections::BTreeSet;

use audit_service::app::AuditLog;
use auth_events::{
    Client, Fact,
    facts::{AuthLogin, AuthLogout, UserRegistered},
};
use auth_ids::UserId;
use auth_proto::audit::v1::{Event, GetRequest, SearchRequest, SearchResponse};
use prost_types::{Timestamp, value::Kind};
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::{
    facts::{self, envelope, login, parsed, user},
    running::Running,
};

async fn record(log: &AuditLog, envelopes: &[Value]) {
    let events: Vec<_> = envelopes.iter().map(parsed).collect();
    log.record(&events).await;
}

async fn search(audit: &Running, request: SearchRequest) -> Result<SearchResponse, Status> {
    audit.client.clone().search(request).await.map(tonic::Response::into_inner)
}

fn reason(status: &Status) -> String {
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    service_error::error_reason(status).unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 0 }
}

/// Five events: what each is told apart by is in the filters of the test below.
fn five_events(alice: UserId, bob: UserId) -> Vec<Value> {
    let client = |ip: &str, request: &str| Client {
        ip: Some(ip.parse().unwrap()),
        user_agent: None,
        request_id: Some(request.to_owned()),
    };
    let login = |methods: &str| AuthLogin { methods: vec![methods.to_owned()], identifier_hash: None };
    let events = [
        envelope(
            alice,
            Fact::by_anonymous(UserRegistered { locale: "en".into() }).from_client(client("192.0.2.1", "r0")),
        ),
        envelope(alice, Fact::by_user(alice, login("pwd")).from_client(client("192.0.2.1", "r1"))),
        envelope(
            bob,
            Fact::by_anonymous(login("pwd"))
                .failed("wrong_password")
                .from_client(client("2001:db8::1", "r2")),
        ),
        envelope(
            bob,
            Fact::by_user(alice, login("pwd")).denied("locked").from_client(client("192.0.2.2", "r3")),
        ),
        envelope(bob, Fact::by_user(bob, AuthLogout {})),
    ];
    let timed = events.into_iter().zip(0..).map(|(mut event, index)| {
        event["time"] = json!(format!("2030-01-01T00:00:0{index}Z"));
        event
    });
    timed.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_filter_finds_what_it_says_and_nothing_else() {
    const START: i64 = 1_893_456_000;
    let audit = Running::start().await;
    let (alice, bob) = (user(), user());
    let events = five_events(alice, bob);
    record(&audit.another_log(), &events).await;

    let any = SearchRequest::default;
    let cases: Vec<(SearchRequest, &[usize])> = vec![
        (any(), &[4, 3, 2, 1, 0]),
        (SearchRequest { r#type: "auth.login".into(), ..any() }, &[3, 2, 1]),
        (SearchRequest { r#type: "auth.".into(), ..any() }, &[4, 3, 2, 1]),
        (SearchRequest { r#type: "user.".into(), ..any() }, &[0]),
        (SearchRequest { r#type: "aut.".into(), ..any() }, &[]),
        (SearchRequest { outcome: "success".into(), ..any() }, &[4, 1, 0]),
        (SearchRequest { outcome: "failure".into(), ..any() }, &[2]),
        (SearchRequest { outcome: "denied".into(), ..any() }, &[3]),
        (SearchRequest { actor_id: alice.to_string(), ..any() }, &[3, 1]),
        (SearchRequest { subject_id: bob.to_string(), ..any() }, &[4, 3, 2]),
        (SearchRequest { subject_id: user().to_string(), ..any() }, &[]),
        (SearchRequest { ip: "192.0.2.1".into(), ..any() }, &[1, 0]),
        (SearchRequest { ip: "2001:DB8:0::1".into(), ..any() }, &[2]),
        (SearchRequest { request_id: "r3".into(), ..any() }, &[3]),
        (SearchRequest { from: Some(at(START + 3)), ..any() }, &[4, 3]),
        (SearchRequest { to: Some(at(START + 3)), ..any() }, &[2, 1, 0]),
        (SearchRequest { from: Some(at(START + 1)), to: Some(at(START + 3)), ..any() }, &[2, 1]),
        (
            SearchRequest {
                actor_id: alice.to_string(),
                outcome: "denied".into(),
                r#type: "auth.".into(),
                ..any()
            },
            &[3],
        ),
        (SearchRequest { request_id: "' OR 1=1 --".into(), ..any() }, &[]),
    ];
    for (request, expected) in cases {
        let found = search(&audit, request.clone()).await.unwrap();
        let found: Vec<_> = found.events.into_iter().map(|event| event.id).collect();
        let expected: Vec<_> = expected.iter().map(|index| facts::id(&events[*index])).collect();
        assert_eq!(found, expected, "{request:?}");
    }
    audit.stop_and_expect_an_empty_queue().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_comes_back_as_it_was_stated() {
    let audit = Running::start().await;
    let user = user();
    let mut stated = login(user);
    stated["time"] = json!("2030-01-01T00:00:00.5Z");
    stated["traceparent"] = json!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    stated["data"]["target"] = json!({"kind": "session", "id": "17"});
    record(&audit.another_log(), std::slice::from_ref(&stated)).await;

    let request = GetRequest { id: facts::id(&stated), scope: None };
    let event: Event = audit.client.clone().get(request).await.unwrap().into_inner().event.unwrap();
    let actor = event.actor.unwrap();
    let target = event.target.unwrap();
    let found = json!({
        "id": event.id, "type": event.r#type, "version": event.version, "source": event.source,
        "subject": event.subject_id, "actor": [actor.kind, actor.id, actor.name], "target": [target.kind, target.id],
        "outcome": event.outcome, "severity": event.severity, "reason": event.reason, "ip": event.ip,
        "agent": event.user_agent, "request": event.request_id, "trace": event.trace_id,
    });
    let expected = json!({
        "id": facts::id(&stated), "type": "auth.login", "version": 1, "source": "auth-api",
        "subject": user.to_string(), "actor": ["user", user.to_string(), ""], "target": ["session", "17"],
        "outcome": "success", "severity": "info", "reason": "", "ip": "192.0.2.7",
        "agent": "curl/8", "request": "request-1", "trace": "0af7651916cd43dd8448eb211c80319c",
    });
    assert_eq!(found, expected);
    assert_eq!(event.occurred_at, Some(Timestamp { seconds: 1_893_456_000, nanos: 500_000_000 }));
    assert!(event.recorded_at.unwrap().seconds > 0 && event.seq > 0);
    let detail = event.detail.unwrap().fields;
    assert!(matches!(&detail["methods"].kind, Some(Kind::ListValue(list)) if list.values.len() == 1));

    for unknown in [user.to_string(), "seven".to_owned(), String::new()] {
        let status = audit.client.clone().get(GetRequest { id: unknown, scope: None }).await.unwrap_err();
        let reason = service_error::error_reason(&status);
        assert_eq!((status.code(), reason.as_deref()), (Code::NotFound, Some("event_not_found")));
    }
    audit.stop_and_expect_an_empty_queue().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_every_row_once_while_new_ones_arrive() {
    let audit = Running::start().await;
    let log = audit.another_log();
    let original: Vec<_> = (0..250).map(|_| login(user())).collect();
    record(&log, &original).await;

    let mut request = SearchRequest { r#type: "auth.".into(), page_size: 7, ..SearchRequest::default() };
    let (mut ids, mut seqs) = (Vec::new(), Vec::new());
    loop {
        let page = search(&audit, request.clone()).await.unwrap();
        assert!((1..=7).contains(&page.events.len()));
        for event in page.events {
            ids.push(event.id);
            seqs.push(event.seq);
        }
        record(&log, &[login(user()), login(user()), login(user())]).await;
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let newest_first: Vec<_> = original.iter().rev().map(facts::id).collect();
    assert_eq!(ids, newest_first);
    assert!(seqs.is_sorted_by(|newer, older| newer > older));
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 250);
    audit.stop_and_expect_an_empty_queue().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_has_the_size_that_was_asked_for_and_the_last_one_no_token() {
    let audit = Running::start().await;
    let events: Vec<_> = (0..100).map(|_| login(user())).collect();
    record(&audit.another_log(), &events).await;
    for (page_size, expected) in [(0, 50), (1, 1), (99, 99), (100, 100)] {
        let page = search(&audit, SearchRequest { page_size, ..SearchRequest::default() }).await.unwrap();
        assert_eq!((page.events.len(), page.next_page_token.is_empty()), (expected, expected == 100));
    }
    let status =
        search(&audit, SearchRequest { page_size: 101, ..SearchRequest::default() }).await.unwrap_err();
    assert_eq!(reason(&status), "filter_invalid");
    audit.stop_and_expect_an_empty_queue().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_token_is_good_for_its_own_search_only() {
    let audit = Running::start().await;
    record(&audit.another_log(), &[login(user()), login(user())]).await;
    let request = SearchRequest { r#type: "auth.".into(), page_size: 1, ..SearchRequest::default() };
    let token = search(&audit, request.clone()).await.unwrap().next_page_token;

    let other_size = SearchRequest { page_size: 2, page_token: token.clone(), ..request.clone() };
    assert_eq!(search(&audit, other_size).await.unwrap().events.len(), 1);

    let mut edited = token.clone();
    edited.replace_range(20..21, if &token[20..21] == "A" { "B" } else { "A" });
    let wrong = [
        SearchRequest { page_token: edited, ..request.clone() },
        SearchRequest { page_token: "7".into(), ..request.clone() },
        SearchRequest { page_token: token.clone(), r#type: "auth.login".into(), ..request.clone() },
        SearchRequest { page_token: token.clone(), outcome: "success".into(), ..request.clone() },
        SearchRequest { page_token: token, r#type: String::new(), ..request },
    ];
    for request in wrong {
        assert_eq!(reason(&search(&audit, request).await.unwrap_err()), "page_token_invalid");
    }
    audit.stop_and_expect_an_empty_queue().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_makes_no_sense_is_named() {
    let audit = Running::start().await;
    let status = search(&audit, SearchRequest { actor_id: "me".into(), ..SearchRequest::default() })
        .await
        .unwrap_err();
    assert_eq!((reason(&status).as_str(), status.message()), ("filter_invalid", "actor_id is not a UUID."));
    let backwards = SearchRequest { from: Some(at(2)), to: Some(at(1)), ..SearchRequest::default() };
    assert_eq!(reason(&search(&audit, backwards).await.unwrap_err()), "filter_invalid");
    audit.stop_and_expect_an_empty_queue().await;
}
