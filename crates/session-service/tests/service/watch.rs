//! What is revoked, as those hear it who verify tokens by themselves, and as other replicas know it.

use std::collections::HashSet;

use auth_proto::session::v1::{
    RevokeSessionRequest, RevokeUserSessionsRequest, Sighting, TouchRequest, UpdateUserClaimsRequest,
    ValidateBatchRequest, ValidateRequest, WatchRevocationsRequest, revocation::Target,
    revoke_session_request::Target as Named, watch_revocations_response::Event,
};
use test_support::eventually;
use tokio::time::timeout;
use tonic::{Code, Streaming};

use crate::harness::{
    DEADLINE, Running, execute, login, new_user, query, reason, start, start_two, until_seen,
};

type Stream = Streaming<auth_proto::session::v1::WatchRevocationsResponse>;

async fn watch(service: &Running) -> Stream {
    eventually("a replica that knows what was revoked", DEADLINE, || async {
        let answer = service.client.clone().watch_revocations(WatchRevocationsRequest {}).await;
        answer.ok().map(tonic::Response::into_inner)
    })
    .await
}

async fn next(stream: &mut Stream) -> Event {
    let message = timeout(DEADLINE, stream.message()).await.expect("an event in time");
    message.unwrap().expect("the stream goes on").event.unwrap()
}

/// Reads the beginning; the sessions and users that were revoked lately.
async fn beginning(stream: &mut Stream) -> (usize, Vec<Target>) {
    let Event::Keys(keys) = next(stream).await else { panic!("the keys come first") };
    let mut known = Vec::new();
    loop {
        let Event::Snapshot(part) = next(stream).await else { panic!("the snapshot comes next") };
        known.extend(part.revocations.into_iter().map(|revocation| revocation.target.unwrap()));
        if part.complete {
            return (keys.keys.len(), known);
        }
    }
}

/// What is revoked next, told in time however many heartbeats come before.
async fn revoked(stream: &mut Stream) -> Vec<Target> {
    let told = async {
        loop {
            match next(stream).await {
                Event::Revoked(batch) => break batch.revocations,
                Event::Heartbeat(_) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    let revocations = timeout(DEADLINE, told).await.expect("a revocation in time");
    revocations.into_iter().map(|revocation| revocation.target.unwrap()).collect()
}

async fn revoke(service: &Running, access_token: &str) -> String {
    let request = RevokeSessionRequest {
        target: Some(Named::AccessToken(access_token.to_owned())),
        ..RevokeSessionRequest::default()
    };
    service.client.clone().revoke_session(request).await.unwrap().into_inner().session_id
}

fn id_of(target: &Target) -> String {
    let bytes = match target {
        Target::SessionId(bytes) => bytes,
        Target::UserEpoch(user) => &user.user_id,
    };
    auth_ids::Uuid::from_slice(bytes).unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_hears_what_was_revoked_and_what_is() {
    let (_database, service) = start().await;
    let early = revoke(&service, &service.create(&new_user()).await.access_token).await;
    let mut stream = watch(&service).await;
    let (keys, known) = beginning(&mut stream).await;
    assert_eq!((keys, known.iter().map(id_of).collect::<Vec<_>>()), (1, vec![early]));
    assert!(matches!(next(&mut stream).await, Event::Heartbeat(_)));

    let late = revoke(&service, &service.create(&new_user()).await.access_token).await;
    assert_eq!(revoked(&mut stream).await.iter().map(id_of).collect::<Vec<_>>(), [late]);

    let user = new_user();
    service.create(&user).await;
    let request = RevokeUserSessionsRequest { user_id: user.clone(), ..RevokeUserSessionsRequest::default() };
    service.client.clone().revoke_user_sessions(request).await.unwrap();
    let told = revoked(&mut stream).await;
    assert!(matches!(&told[..], [Target::UserEpoch(epoch)] if epoch.epoch == 1));
    assert_eq!(id_of(&told[0]), user);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_concern_no_token_any_more_is_not_told() {
    let (_database, service) = start().await;
    revoke(&service, &service.create(&new_user()).await.access_token).await;
    // Five minutes of a token, one that is promised beyond, and two for whoever has another time.
    service.advance(8 * 60 - 1);
    assert_eq!(beginning(&mut watch(&service).await).await.1.len(), 1);
    service.advance(2);
    assert_eq!(beginning(&mut watch(&service).await).await.1, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_reaches_the_watchers_and_the_memory_of_every_replica() {
    let (_database, one, other) = start_two().await;
    let mut stream = watch(&other).await;
    beginning(&mut stream).await;
    let token = one.create(&new_user()).await.access_token;
    assert!(other.validate(&token).await.active);

    let session = revoke(&one, &token).await;
    assert!(!one.validate(&token).await.active, "at once where it was revoked");
    let authoritative =
        ValidateRequest { access_token: token.clone(), authoritative: true, ..ValidateRequest::default() };
    let answer = other.client.clone().validate(authoritative).await.unwrap().into_inner();
    assert!(!answer.active, "at once for whoever asks for the truth");
    assert_eq!(revoked(&mut stream).await.iter().map(id_of).collect::<Vec<_>>(), [session]);
    assert!(!other.validate(&token).await.active, "not later than its watchers know");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_commits_late_is_not_overlooked() {
    let (database, service) = start().await;
    let first = service.create(&new_user()).await;
    service.advance(1);
    let second = service.create(&new_user()).await;
    let pool = database.admin();
    let mut slow = pool.connection().await.unwrap();
    let revoke_slowly = "BEGIN; INSERT INTO revocations (session_id, revoked_at, forget_at)
        SELECT id, last_seen_at, last_seen_at + interval '16 minutes' FROM sessions ORDER BY created_at LIMIT 1";
    diesel_async::SimpleAsyncConnection::batch_execute(&mut *slow, revoke_slowly).await.unwrap();
    // Later transactions are seen meanwhile.
    revoke(&service, &second.access_token).await;
    let mut stream = watch(&service).await;
    beginning(&mut stream).await;
    execute(&database, "INSERT INTO revocations (user_id, epoch, revoked_at, forget_at) SELECT user_id, 7, last_seen_at, last_seen_at + interval '16 minutes' FROM sessions").await;
    assert_eq!(revoked(&mut stream).await.len(), 2);
    assert!(!service.validate(&second.access_token).await.active);

    diesel_async::SimpleAsyncConnection::batch_execute(&mut *slow, "COMMIT").await.unwrap();
    assert!(matches!(&revoked(&mut stream).await[..], [Target::SessionId(_)]));
    assert!(!service.validate(&first.access_token).await.active);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_roles_are_said_by_new_tokens_only_and_sessions_live_on() {
    let (_database, one, other) = start_two().await;
    let user = new_user();
    let tokens = one.create(&user).await;
    assert!(other.validate(&tokens.access_token).await.active);
    let update = UpdateUserClaimsRequest {
        user_id: user.clone(),
        roles: vec!["support".to_owned()],
        permissions: vec!["users:read".to_owned()],
    };
    let updated = one.client.clone().update_user_claims(update).await.unwrap().into_inner();
    assert_eq!((updated.sessions, updated.epoch), (1, 1));
    assert!(!one.validate(&tokens.access_token).await.active);
    eventually("the other replica to know", DEADLINE, || async {
        (!other.validate(&tokens.access_token).await.active).then_some(())
    })
    .await;

    let fresh = other.refresh(&tokens.refresh_token).await.unwrap();
    let claims = one.validate(&fresh.access_token).await.claims.unwrap();
    assert_eq!((claims.roles, claims.epoch), (vec!["support".to_owned()], 1));
    assert_eq!(claims.permissions, ["users:read"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_replica_validates_without_a_query() {
    let (database, service) = start().await;
    let token = service.create(&new_user()).await.access_token;
    assert!(service.validate(&token).await.active);
    execute(&database, "CREATE EXTENSION IF NOT EXISTS pg_stat_statements").await;
    let statements = "SELECT coalesce(sum(calls), 0)::text AS text FROM pg_stat_statements
        WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND query ILIKE '%sessions%' AND query NOT ILIKE '%pg_stat_statements%' AND query NOT ILIKE 'WITH seen%'";
    let before = query(&database, statements).await;
    for _ in 0..500 {
        assert!(service.validate(&token).await.active);
    }
    assert_eq!(query(&database, statements).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_answered_in_its_order() {
    let (_database, service) = start().await;
    let mut tokens = Vec::new();
    for _ in 0..99 {
        tokens.push(service.create(&new_user()).await.access_token);
    }
    revoke(&service, &tokens[7]).await;
    tokens.push("no token".to_owned());
    let requests = |tokens: &[String]| ValidateBatchRequest {
        requests: tokens
            .iter()
            .map(|token| ValidateRequest { access_token: token.clone(), ..ValidateRequest::default() })
            .collect(),
    };
    let answers = service.client.clone().validate_batch(requests(&tokens)).await.unwrap().into_inner();
    let refused: Vec<_> = (0..100).filter(|index| !answers.responses[*index].active).collect();
    assert_eq!(refused, [7, 99]);
    let users: HashSet<_> =
        answers.responses.iter().filter_map(|answer| Some(answer.claims.as_ref()?.user_id.clone())).collect();
    assert_eq!(users.len(), 98);

    tokens.push("one too many".to_owned());
    for wrong in [&tokens[..], &[]] {
        let status = service.client.clone().validate_batch(requests(wrong)).await.unwrap_err();
        assert_eq!(reason(&status), (Code::InvalidArgument, "invalid_request".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_verifiers_saw_counts_as_use() {
    let (database, service) = start().await;
    let created = service.client.clone().create_session(login(&new_user())).await.unwrap().into_inner();
    let (tokens, session) = (created.tokens.unwrap(), created.session.unwrap().id);
    let refreshed = service.refresh(&tokens.refresh_token).await.unwrap();
    let token_ids = query(&database, "SELECT access_token_id::text AS text FROM sessions").await;
    let sighting = Sighting { session_id: session.clone(), token_id: token_ids[0].clone(), at: None };
    let stranger = Sighting { session_id: new_user(), ..sighting.clone() };
    let touch = TouchRequest { sightings: vec![stranger, sighting] };
    service.client.clone().touch(touch).await.unwrap();
    until_seen(&database, &session).await;

    // The child was seen, so that its parent is a thief's after the grace.
    service.advance(11);
    let reused = service.refresh(&tokens.refresh_token).await.unwrap_err();
    assert_eq!(reason(&reused).1, "refresh_token_reused");
    assert!(!service.validate(&refreshed.access_token).await.active);

    let odd = TouchRequest { sightings: vec![Sighting::default()] };
    assert_eq!(service.client.clone().touch(odd).await.unwrap_err().code(), Code::InvalidArgument);
    let many = TouchRequest { sightings: vec![Sighting::default(); 501] };
    assert_eq!(service.client.clone().touch(many).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_stops_says_so_to_its_watchers() {
    let (_database, service) = start().await;
    let mut stream = watch(&service).await;
    beginning(&mut stream).await;
    service.lifecycle.request_shutdown();
    let ended = loop {
        match timeout(DEADLINE, stream.message()).await.expect("an end in time") {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ends with a reason"),
            Err(status) => break status,
        }
    };
    assert_eq!(reason(&ended), (Code::Unavailable, "stopping".to_owned()));
}
