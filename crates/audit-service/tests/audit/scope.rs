//! What of the log is whose to see.

use audit_service::{
    app::{AuditLog, Search},
    domain::{Criteria, Event, Filter, FreeText, PageSize, Place, Reader, RecordedEvent, Scope, TypeFilter},
};
use auth_events::{Client, Outcome, Severity};
use auth_ids::{GenericUuid, Uuid};
use auth_proto::audit::v1::{
    self as proto, ExportFormat, ExportRequest, GetRequest, SearchRequest, TailRequest, export_response::Part,
};
use chrono::TimeDelta;
use clock::{Clock, SystemClock};
use serde_json::json;
use tonic::{Code, Status};

use crate::{
    facts::{self, login, parsed, user},
    running::Running,
};

fn event() -> Event {
    parsed(&login(user()))
}

/// Everything that matches, page by page.
async fn found(log: &AuditLog, criteria: &Criteria) -> Vec<RecordedEvent> {
    let mut search = Search {
        criteria: criteria.clone(),
        place: Place::First,
        page_size: PageSize::parse(17).unwrap(),
        with_total: true,
        reader: Reader::of(Some("auth-api"), "auth-api".to_owned()),
    };
    let mut events = Vec::new();
    loop {
        let page = log.search(&search).await.unwrap();
        events.extend(page.events);
        match page.next_page_token {
            Some(token) => search.place = Place::Token(token),
            None => break events,
        }
    }
}

/// Events that differ in all that is searched by.
fn different_events(people: &[Uuid]) -> Vec<Event> {
    let base = event();
    let types = ["auth.login", "auth.logout", "session.refreshed", "system.key_rotated", "mfa.totp_verify"];
    (0..90_usize)
        .map(|n| {
            let mut event = event();
            types[n % types.len()].clone_into(&mut event.name);
            event.outcome = Outcome::ALL[n % 7 % 3];
            event.severity = Severity::ALL[n % 11 % 3];
            event.reason = (n % 3 == 0).then(|| "locked".to_owned());
            event.subject_id = (n % 4 != 0).then(|| GenericUuid::from_untyped_uuid(people[n % 3]));
            event.actor.id = (n % 5 != 0).then(|| people[n % 2]);
            event.actor.kind = auth_events::ActorKind::ALL[n % 4];
            event.trace_id = (n % 2 == 0).then(|| format!("{:032x}", n % 6));
            // Some are recorded hours after they occurred, and some before.
            event.occurred_at = base.occurred_at - TimeDelta::minutes([0, 1, 30, 180, 3000, -90][n % 6]);
            let ip = (n % 3 != 1).then(|| format!("192.0.2.{}", n % 5).parse().unwrap());
            event.client = Client { ip, user_agent: None, request_id: Some(format!("r{}", n % 9)) };
            event
        })
        .collect()
}

fn many_filters(people: &[Uuid], events: &[Event]) -> Vec<Filter> {
    let any = Filter::default;
    let text = |text: &str| FreeText::parse(text).unwrap();
    let mut singles = vec![any()];
    singles.extend(Outcome::ALL.iter().map(|it| Filter { outcome: Some(*it), ..any() }));
    singles.extend(Severity::ALL.iter().map(|it| Filter { severity: Some(*it), ..any() }));
    singles.extend(people.iter().map(|it| Filter { actor_id: Some(*it), ..any() }));
    singles.extend(people.iter().map(|it| Filter { subject_id: Some(*it), ..any() }));
    for name in ["auth.", "auth.login", "session.", "user.registered"] {
        singles.push(Filter { r#type: TypeFilter::parse(name).ok(), ..any() });
    }
    for ip in ["192.0.2.0", "192.0.2.4", "2001:db8::1"] {
        singles.push(Filter { ip: Filter::parse_ip(ip).ok(), ..any() });
    }
    singles.push(Filter { request_id: Some("r3".to_owned()), ..any() });
    for q in ["auth", "LOGIN", "locked", "r7", "192.0.2.3", &format!("{:032x}", 4), "nothing"] {
        singles.push(Filter { q: Some(text(q)), ..any() });
    }
    singles.push(Filter { q: Some(text(&people[0].to_string())), ..any() });
    singles.push(Filter { q: Some(text(&events[7].id.to_string())), ..any() });
    let now = SystemClock.now();
    for (from, to) in [
        (Some(-200), None),
        (None, Some(-2)),
        (Some(-60), Some(60)),
        (Some(60), None),
        (Some(-9000), Some(-100)),
    ] {
        let at = |minutes: Option<i64>| minutes.map(|minutes| now + TimeDelta::minutes(minutes));
        singles.push(any().with_times(at(from), at(to)).unwrap());
    }
    let and = |a: &Filter, b: &Filter| Filter {
        r#type: a.r#type.clone().or_else(|| b.r#type.clone()),
        outcome: a.outcome.or(b.outcome),
        severity: a.severity.or(b.severity),
        actor_id: a.actor_id.or(b.actor_id),
        subject_id: a.subject_id.or(b.subject_id),
        ip: a.ip.or(b.ip),
        from: a.from.or(b.from),
        to: a.to.or(b.to),
        request_id: a.request_id.clone().or_else(|| b.request_id.clone()),
        q: a.q.clone().or_else(|| b.q.clone()),
    };
    let pairs = singles.iter().enumerate().map(|(n, one)| and(one, &singles[(n * 7 + 3) % singles.len()]));
    let pairs: Vec<_> =
        pairs.filter(|filter| filter.from.zip(filter.to).is_none_or(|(from, to)| from <= to)).collect();
    singles.into_iter().chain(pairs).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn aud_10_database_and_memory_agree_on_what_matches_and_who_sees_it() {
    let audit = Running::start().await;
    let log = audit.another_log();
    let people: Vec<Uuid> = (0..3).map(|_| user().into_untyped_uuid()).collect();
    let events = different_events(&people);
    log.record(&events).await;
    let all = found(&log, &Criteria::default()).await;
    assert_eq!(all.len(), events.len());

    let scopes = [
        Scope::default(),
        Scope { subject_id: Some(people[1]), ..Scope::default() },
        Scope { omit_administration: true, ..Scope::default() },
        Scope { omit_administration: true, omit_personal_data: true, ..Scope::default() },
    ];
    let mut hits = 0;
    for filter in many_filters(&people, &events) {
        for scope in &scopes {
            let Ok(criteria) = Criteria::new(filter.clone(), scope.clone()) else {
                assert!(filter.ip.is_some() && scope.omit_personal_data);
                continue;
            };
            let by_database: Vec<_> = found(&log, &criteria).await.iter().map(|event| event.seq).collect();
            let in_memory: Vec<_> =
                all.iter().filter(|event| criteria.matches(event)).map(|event| event.seq).collect();
            assert_eq!(by_database, in_memory, "{criteria:?}");
            hits += in_memory.len();
        }
    }
    assert!(hits > 1_000, "{hits}");
    audit.stop_and_expect_an_empty_queue().await;
}

fn forbidden(status: &Status) {
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    assert_eq!(service_error::error_reason(status).as_deref(), Some("scope_exceeded"));
}

#[tokio::test(flavor = "multi_thread")]
async fn aud_10_a_scope_holds_for_every_way_of_reading() {
    let audit = Running::start().await;
    let (alice, bob) = (user(), user());
    let mut by_operator = login(alice);
    by_operator["data"]["actor"] = json!({"kind": "operator", "name": "root"});
    let events = [login(alice), login(bob), by_operator];
    let parsed: Vec<_> = events.iter().map(parsed).collect();
    audit.another_log().record(&parsed).await;
    let own = facts::id(&events[0]);
    let scope = Some(proto::Scope {
        viewer: "support".to_owned(),
        subject_id: alice.to_string(),
        omit_administration: true,
        omit_personal_data: true,
    });
    let mut client = audit.client.clone();

    let request = SearchRequest { scope: scope.clone(), with_total: true, ..SearchRequest::default() };
    let page = client.search(request).await.unwrap().into_inner();
    assert_eq!(page.total, Some(proto::Total { events: 1, is_estimate: false }));
    let [event] = page.events.try_into().unwrap();
    assert_eq!(event.id, own);
    assert_eq!((&*event.ip, &*event.user_agent), ("", ""));
    assert!(event.detail.unwrap().fields.is_empty());
    assert_eq!(event.actor.unwrap().id, alice.to_string());

    for (event, sees) in events.iter().zip([true, false, false]) {
        let request = GetRequest { id: facts::id(event), scope: scope.clone() };
        let got = client.get(request).await;
        match got {
            Ok(answer) => assert!(sees && answer.into_inner().event.unwrap().ip.is_empty()),
            Err(status) => assert!(!sees && status.code() == Code::NotFound),
        }
    }

    let request = TailRequest { filter: None, scope: scope.clone(), after_seq: Some(0) };
    let mut stream = client.tail(request).await.unwrap().into_inner();
    let told = stream.message().await.unwrap().unwrap();
    let ids: Vec<_> = told.events.iter().map(|event| (&*event.id, &*event.ip)).collect();
    assert_eq!((ids, told.up_to_seq), (vec![(&*own, "")], 3));

    let request = ExportRequest { filter: None, scope: scope.clone(), format: ExportFormat::Ndjson.into() };
    let mut stream = client.export(request).await.unwrap().into_inner();
    let mut file = Vec::new();
    while let Some(part) = stream.message().await.unwrap() {
        if let Some(Part::Chunk(chunk)) = part.part {
            file.extend(chunk);
        }
    }
    let file = String::from_utf8(file).unwrap();
    assert!(file.lines().count() == 1 && file.contains(&own) && !file.contains("192.0.2.7"), "{file}");

    let by_address =
        SearchRequest { ip: "192.0.2.7".into(), scope: scope.clone(), ..SearchRequest::default() };
    forbidden(&client.search(by_address).await.unwrap_err());
    let filter = Some(proto::EventFilter { ip: "192.0.2.7".into(), ..Default::default() });
    let request = TailRequest { filter: filter.clone(), scope: scope.clone(), after_seq: None };
    forbidden(&client.tail(request).await.unwrap_err());
    let request = ExportRequest { filter, scope: scope.clone(), format: 0 };
    forbidden(&client.export(request).await.unwrap_err());
    // And free text does not find it by its address either.
    let by_text = SearchRequest { q: "192.0.2.7".into(), scope, ..SearchRequest::default() };
    assert!(client.search(by_text).await.unwrap().into_inner().events.is_empty());
    audit.stop_and_expect_an_empty_queue().await;
}
