//! Messages and calls that nobody honest makes.

use std::time::{Duration, Instant};

use auth_proto::session::v1::{
    ListSessionsRequest, RevokeUserSessionsRequest, Sighting, TouchRequest, ValidateBatchRequest,
    ValidateRequest,
};
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use test_support::eventually;
use tonic::{Code, body::Body, transport::Channel};
use tower::ServiceExt;

use crate::harness::{DEADLINE, Running, execute, login, new_user, query, start};

/// The gRPC status of a call whose body is exactly `body`, and how many bytes came back.
async fn raw(service: &Running, method: &str, encoding: Option<&str>, body: Bytes) -> (Code, usize) {
    let channel = Channel::from_shared(format!("http://{}", service.address)).unwrap().connect_lazy();
    let mut request = http::Request::post(format!("/feature_auth.session.v1.SessionService/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(encoding) = encoding {
        request = request.header("grpc-encoding", encoding);
    }
    let request = request.body(Body::new(Full::new(body))).unwrap();
    let answer = channel.oneshot(request).await.unwrap();
    let in_head = answer.headers().get("grpc-status").cloned();
    let collected = answer.into_body().collect().await.unwrap();
    let in_trailers = collected.trailers().and_then(|trailers| trailers.get("grpc-status").cloned());
    let status = in_head.or(in_trailers).expect("a status");
    (Code::from_bytes(status.as_bytes()), collected.to_bytes().len())
}

/// A gRPC frame that says it has `declared` bytes.
fn frame(compressed: u8, declared: u32, content: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(compressed);
    frame.put_u32(declared);
    frame.put_slice(content);
    frame.freeze()
}

fn whole(content: &[u8]) -> Bytes {
    frame(0, u32::try_from(content.len()).unwrap(), content)
}

#[tokio::test(flavor = "multi_thread")]
async fn grp_04_what_is_too_large_or_no_message_gets_a_status_and_costs_nothing() {
    let (_database, service) = start().await;
    let megabytes = vec![b'x'; 4 * 1024 * 1024 + 1];
    let long_token = [&[0x0a, 0x80, 0x80, 0x08][..], &vec![b'x'; 131_072]].concat();
    let empty_requests = [0x0a_u8, 0].repeat(60_000);
    let nested = [0x0b_u8].repeat(50_000);
    let cases: [(&str, Option<&str>, Bytes, &[Code]); 9] = [
        ("4 MiB and 1", None, whole(&megabytes), &[Code::OutOfRange, Code::ResourceExhausted]),
        ("1 GiB is announced", None, frame(0, 1 << 30, b"x"), &[Code::OutOfRange, Code::ResourceExhausted]),
        ("a token of 128 KiB", None, whole(&long_token), &[Code::OutOfRange, Code::ResourceExhausted]),
        ("compressed, which nobody agreed on", Some("gzip"), frame(1, 1, b"x"), &[Code::Unimplemented]),
        ("compressed without saying how", None, frame(1, 1, b"x"), &[Code::Internal, Code::Unimplemented]),
        ("no protobuf", None, whole(&[0xff; 100]), &[Code::Internal, Code::InvalidArgument]),
        ("60 000 empty requests", None, whole(&empty_requests), &[Code::InvalidArgument]),
        ("groups in groups", None, whole(&nested), &[Code::Internal, Code::InvalidArgument]),
        ("nothing at all", None, Bytes::new(), &[Code::Internal, Code::InvalidArgument]),
    ];
    for (name, encoding, body, expected) in cases {
        let (code, bytes) = raw(&service, "ValidateBatch", encoding, body).await;
        assert!(expected.contains(&code), "{name}: {code:?}");
        assert!(bytes < 1024, "{name} is not repeated");
    }
    let tokens = ["x".repeat(4096), "x".repeat(4097), "\u{0}".to_owned(), "v4.public.".to_owned()];
    for access_token in tokens {
        assert!(!service.validate(&access_token).await.active);
    }
    let sighting = Sighting { session_id: "x".repeat(10_000), ..Sighting::default() };
    let status = service.client.clone().touch(TouchRequest { sightings: vec![sighting] }).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().len() < 200);
    // And it works on.
    service.create(&new_user()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grp_04_random_bytes_never_hurt() {
    let (_database, service) = start().await;
    for method in ["CreateSession", "Validate", "Refresh", "RevokeSession", "Touch", "RotateKeys"] {
        for length in [1, 7, 64, 500] {
            let noise: Vec<u8> =
                (0..length).map(|_| clock::random_bytes::<1>(&mut clock::secure_rng())[0]).collect();
            let (code, _) = raw(&service, method, None, whole(&noise)).await;
            assert!(
                !matches!(code, Code::Unknown | Code::Unavailable | Code::DataLoss),
                "{method}: {code:?}"
            );
        }
    }
    assert!(service.validate(&service.create(&new_user()).await.access_token).await.active);
}

#[tokio::test(flavor = "multi_thread")]
async fn grp_08_no_call_takes_longer_than_two_seconds_whatever_the_caller_wants() {
    let (database, service) = start().await;
    let user = new_user();
    service.create(&user).await;
    let pool = database.admin();
    let mut held = pool.connection().await.unwrap();
    diesel_async::SimpleAsyncConnection::batch_execute(&mut *held, "BEGIN; LOCK TABLE sessions, subjects")
        .await
        .unwrap();
    for wanted in [None, Some(Duration::from_hours(1))] {
        let mut request = tonic::Request::new(ListSessionsRequest { user_id: user.clone() });
        if let Some(wanted) = wanted {
            request.set_timeout(wanted);
        }
        let begin = Instant::now();
        let status = service.client.clone().list_sessions(request).await.unwrap_err();
        assert!(matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded), "{status:?}");
        assert!(begin.elapsed() < Duration::from_millis(2500), "{:?}", begin.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grp_08_a_call_that_is_cancelled_anywhere_is_done_or_not_done() {
    let (database, service) = start().await;
    let user = new_user();
    for attempt in 0..60_u64 {
        let request = login(&user);
        let mut client = service.client.clone();
        let cut = Duration::from_micros(attempt * 150);
        let _ = tokio::time::timeout(cut, client.create_session(request)).await;
        if attempt % 20 == 19 {
            let revoke =
                RevokeUserSessionsRequest { user_id: user.clone(), ..RevokeUserSessionsRequest::default() };
            let _ = tokio::time::timeout(cut / 2, client.revoke_user_sessions(revoke)).await;
        }
    }
    // Each session has its fact and each fact its session: what was cut off left nothing half done.
    let differ = "SELECT (SELECT count(*) FROM sessions)::text || '/' ||
        (SELECT count(*) FROM outbox WHERE message_type = 'auth.session.created.v1')::text AS text";
    eventually("the last calls to end", DEADLINE, || async {
        let counts = query(&database, differ).await.remove(0);
        let (sessions, facts) = counts.split_once('/')?;
        (sessions == facts).then_some(())
    })
    .await;
    execute(&database, "SELECT 1").await;
    service.create(&user).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_may_be_as_large_as_it_says() {
    let (_database, service) = start().await;
    let requests =
        vec![ValidateRequest { access_token: "x".repeat(1200), ..ValidateRequest::default() }; 100];
    let answers = service.client.clone().validate_batch(ValidateBatchRequest { requests }).await.unwrap();
    assert_eq!(answers.into_inner().responses.len(), 100);
}
