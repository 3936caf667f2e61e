use auth_proto::session::v1::{
    CreateSessionRequest, ElevateSessionRequest, ElevateSessionResponse, InactiveReason, Session, Tokens,
    ValidateRequest,
};
use prost_types::{Duration, Timestamp};
use tonic::{Code, Status};

use crate::harness::{Running, device, login, new_user, now, query, reason, start, start_two, until_seen};

async fn begin(service: &Running, user: &str) -> (Session, Tokens) {
    let answer = service.client.clone().create_session(login(user)).await.unwrap().into_inner();
    (answer.session.unwrap(), answer.tokens.unwrap())
}

fn proof(session: &Session, amr: &[&str], aal: u32) -> ElevateSessionRequest {
    ElevateSessionRequest {
        session_id: session.id.clone(),
        user_id: session.user_id.clone(),
        amr: amr.iter().map(|&method| method.to_owned()).collect(),
        aal,
        device: Some(device()),
    }
}

async fn elevate(
    service: &Running,
    request: ElevateSessionRequest,
) -> Result<ElevateSessionResponse, Status> {
    service.client.clone().elevate_session(request).await.map(tonic::Response::into_inner)
}

/// Whether `access_token` speaks for somebody who authenticated within five minutes.
async fn privileged(service: &Running, access_token: &str) -> InactiveReason {
    let request = ValidateRequest {
        access_token: access_token.to_owned(),
        max_auth_age: Some(Duration { seconds: 300, nanos: 0 }),
        ..ValidateRequest::default()
    };
    service.client.clone().validate(request).await.unwrap().into_inner().reason()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_new_token_says_that_the_user_has_just_authenticated_and_the_old_ones_do_not() {
    let (_database, service) = start().await;
    let (session, tokens) = begin(&service, &new_user()).await;
    service.advance(3600);
    let tokens = service.refresh(&tokens.refresh_token).await.unwrap();
    service.advance(10);
    assert_eq!(privileged(&service, &tokens.access_token).await, InactiveReason::AuthenticationTooOld);

    let elevated = elevate(&service, proof(&session, &["pwd", "otp"], 2)).await.unwrap();
    assert_eq!(privileged(&service, &elevated.access_token).await, InactiveReason::Unspecified);
    let claims = service.validate(&elevated.access_token).await.claims.unwrap();
    let authenticated = Timestamp { seconds: now(&service).timestamp(), nanos: 0 };
    assert_eq!((claims.auth_time, claims.issued_at), (Some(authenticated), Some(authenticated)));
    assert_eq!((claims.amr, claims.aal), (vec!["pwd".to_owned(), "otp".to_owned()], 2));
    assert_eq!((claims.session_id, claims.user_id), (session.id.clone(), session.user_id.clone()));
    let life = elevated.access_expires_in.unwrap().seconds;
    assert!((284..=300).contains(&life), "{life}");
    let shown = elevated.session.unwrap();
    assert_eq!((shown.aal, shown.amr.len()), (2, 2));

    let old = service.validate(&tokens.access_token).await;
    assert_eq!((old.active, old.claims.unwrap().aal), (true, 1));
    assert_eq!(privileged(&service, &tokens.access_token).await, InactiveReason::AuthenticationTooOld);
    let next = service.refresh(&tokens.refresh_token).await.unwrap();
    assert_eq!(privileged(&service, &next.access_token).await, InactiveReason::Unspecified);
    service.advance(301);
    let next = service.refresh(&next.refresh_token).await.unwrap();
    assert_eq!(privileged(&service, &next.access_token).await, InactiveReason::AuthenticationTooOld);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_of_refresh_tokens_does_not_move() {
    let (database, service) = start().await;
    let (session, parent) = begin(&service, &new_user()).await;
    let child = service.refresh(&parent.refresh_token).await.unwrap();
    let elevated = elevate(&service, proof(&session, &["pwd"], 1)).await.unwrap();
    let again = service.refresh(&parent.refresh_token).await.unwrap();
    assert_eq!(again.refresh_token, child.refresh_token, "a parallel tab gets the same child");

    // Somebody whose answer was lost can elevate with an access token of before: that does not show that the child arrived.
    assert!(service.validate(&elevated.access_token).await.active);
    let wanted = "SELECT count(*)::text AS text FROM sessions WHERE generation_seen";
    assert_eq!(query(&database, wanted).await, ["0"]);
    service.advance(60);
    assert!(service.validate(&elevated.access_token).await.active);
    let replaced = service.refresh(&parent.refresh_token).await.unwrap();
    assert_ne!(replaced.refresh_token, child.refresh_token);

    // And the token of the generation still shows it, so that a thief is noticed.
    elevate(&service, proof(&session, &["pwd"], 1)).await.unwrap();
    assert!(service.validate(&replaced.access_token).await.active);
    until_seen(&database, &session.id).await;
    service.advance(11);
    let status = service.refresh(&parent.refresh_token).await.unwrap_err();
    assert_eq!(reason(&status), (Code::Unauthenticated, "refresh_token_reused".to_owned()));
    assert_eq!(service.validate(&elevated.access_token).await.reason(), InactiveReason::Revoked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_reaches_the_second_level_lives_as_long_as_one_that_began_there() {
    let (_database, service) = start().await;
    let (session, tokens) = begin(&service, &new_user()).await;
    service.advance(86_400);
    let same = elevate(&service, proof(&session, &["pwd"], 1)).await.unwrap().session.unwrap();
    assert_eq!(same.expires_at, session.expires_at);
    let raised = elevate(&service, proof(&session, &["otp"], 2)).await.unwrap().session.unwrap();
    assert_eq!(raised.expires_at.unwrap().seconds, now(&service).timestamp() + 12 * 3600);
    service.advance(3601);
    let status = service.refresh(&tokens.refresh_token).await.unwrap_err();
    assert_eq!(reason(&status), (Code::Unauthenticated, "session_ended".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_live_session_of_the_user_is_elevated() {
    let (database, service) = start().await;
    let (session, tokens) = begin(&service, &new_user()).await;
    let (other, _) = begin(&service, &new_user()).await;
    let good = proof(&session, &["pwd"], 1);
    let rows = "SELECT string_agg(xmin::text, ' ' ORDER BY id) AS text FROM sessions";
    let before = query(&database, rows).await;

    let not_found = (Code::NotFound, "session_not_found".to_owned());
    let foreign = ElevateSessionRequest { user_id: other.user_id, ..good.clone() };
    assert_eq!(reason(&elevate(&service, foreign).await.unwrap_err()), not_found);
    let unknown = ElevateSessionRequest { session_id: new_user(), ..good.clone() };
    assert_eq!(reason(&elevate(&service, unknown).await.unwrap_err()), not_found);
    let invalid = (Code::InvalidArgument, "invalid_request".to_owned());
    for wrong in [
        ElevateSessionRequest { aal: 0, ..good.clone() },
        ElevateSessionRequest { aal: 3, ..good.clone() },
        ElevateSessionRequest { amr: vec![], ..good.clone() },
        ElevateSessionRequest { amr: vec!["a b".to_owned()], ..good.clone() },
        ElevateSessionRequest { session_id: "7".to_owned(), ..good.clone() },
    ] {
        assert_eq!(reason(&elevate(&service, wrong).await.unwrap_err()), invalid);
    }
    assert_eq!(query(&database, rows).await, before);

    service.refresh(&tokens.refresh_token).await.unwrap();
    service.advance(15 * 86_400);
    let status = elevate(&service, good).await.unwrap_err();
    assert_eq!(reason(&status), (Code::Unauthenticated, "session_ended".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_in_a_token_does_not_happen() {
    let (database, service) = start().await;
    let long = |letter: &str| (0..8).map(|n| format!("{n}{}", letter.repeat(63))).collect::<Vec<_>>();
    let mut full = CreateSessionRequest { amr: long("a"), ..login(&new_user()) };
    full.subject.as_mut().unwrap().permissions = (0..22).map(|n| format!("{n:064}")).collect();
    let created = service.client.clone().create_session(full).await.unwrap().into_inner();
    let (session, tokens) = (created.session.unwrap(), created.tokens.unwrap());
    let more = ElevateSessionRequest { amr: long("b"), ..proof(&session, &[], 2) };
    elevate(&service, more.clone()).await.unwrap();
    let too_much = ElevateSessionRequest { amr: long("c"), ..more };
    let status = elevate(&service, too_much).await.unwrap_err();
    assert_eq!(reason(&status), (Code::Internal, "internal".to_owned()));
    let methods = "SELECT cardinality(amr)::text AS text FROM sessions";
    assert_eq!(query(&database, methods).await, ["16"]);
    assert!(service.refresh(&tokens.refresh_token).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn elevations_and_refreshes_at_two_replicas_at_once_lose_nothing() {
    let (_database, service, other) = start_two().await;
    let (session, tokens) = begin(&service, &new_user()).await;
    service.advance(3600);
    let proofs = (0..10).flat_map(|_| [&service, &other].map(|at| elevate(at, proof(&session, &["otp"], 2))));
    let refreshes = (0..10).flat_map(|_| [&service, &other].map(|at| at.refresh(&tokens.refresh_token)));
    let (elevated, pairs) =
        tokio::join!(futures::future::join_all(proofs), futures::future::join_all(refreshes));
    for answer in elevated {
        let token = answer.unwrap().access_token;
        assert_eq!(privileged(&service, &token).await, InactiveReason::Unspecified);
    }
    let children: std::collections::HashSet<_> =
        pairs.into_iter().map(|answer| answer.unwrap().refresh_token).collect();
    assert_eq!(children.len(), 1);
    let child = children.into_iter().next().unwrap();
    let next = service.refresh(&child).await.unwrap();
    assert_eq!(privileged(&service, &next.access_token).await, InactiveReason::Unspecified);
}
