//! audit-service is away: nobody else notices, and the log is whole afterwards.

use std::time::{Duration, Instant};

use auth_proto::audit::v1::VerifyChainRequest;
use e2e::{
    Stack, audit,
    grpc::{self, As},
    journey::{self, text},
};
use reqwest::{Method, StatusCode};
use rustix::process::Signal;
use test_support::eventually;

const PATIENCE: Duration = Duration::from_secs(90);
const USERS: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn fx_au_01_without_audit_service_everything_goes_on_and_nothing_is_lost() {
    let stack = Stack::start(&[("RATE_LIMITS", "off".to_owned())]).await;
    let mut ids = Vec::new();
    let scenario = async {
        for number in 0..USERS {
            let tokens = journey::logged_in(&stack, &format!("away-{number}@example.com")).await;
            let access = text(&tokens, "accessToken");
            let me = journey::me(&stack, access).await;
            assert_eq!(me.status(), StatusCode::OK);
            let me: serde_json::Value = me.json().await.unwrap();
            ids.push(text(&me, "id").to_owned());
            // What needs the log says so, and soon.
            let asked = Instant::now();
            let activity =
                stack.api(Method::GET, "/v1/auth/activity").bearer_auth(access).send().await.unwrap();
            assert_eq!(activity.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        }
    };
    // Whatever starts in its place is killed, too.
    let killing = async {
        loop {
            stack.signal("AUDIT_SERVICE_PID", Signal::KILL);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = scenario => {}
        () = killing => {}
    }

    for id in &ids {
        eventually("every event is there", PATIENCE, || async {
            let counts = stack
                .sql(&format!(
                    "SELECT string_agg(type || '=' || number, ' ' ORDER BY type) FROM \
                     (SELECT type, count(*) AS number FROM audit.events WHERE subject_id = '{id}' GROUP BY type) AS counted"
                ))
                .await
                .concat();
            let expected = ["auth.login=1", "session.created=1", "user.email_verified=1", "user.registered=1"];
            expected.iter().all(|it| counts.contains(it)).then_some(())
        })
        .await;
    }
    eventually("the service answers", PATIENCE, || async {
        let types =
            grpc::audit(&stack, As::Operator).search(auth_proto::audit::v1::SearchRequest::default()).await;
        types.ok().map(drop)
    })
    .await;
    assert_eq!(stack.sql("SELECT count(*) - count(DISTINCT id) FROM audit.events").await.concat(), "0");
    assert!(audit::events_about(&stack, ids.first().unwrap()).await.len() >= 4);

    let (mut from_seq, mut events) = (0, 0);
    loop {
        let request = VerifyChainRequest { from_seq, to_seq: 0 };
        let proof = grpc::audit(&stack, As::Operator).verify_chain(request).await.unwrap().into_inner();
        assert_eq!(proof.damage, None);
        events += proof.events;
        if proof.next_seq == 0 {
            break;
        }
        from_seq = proof.next_seq;
    }
    assert!(events >= 4 * u64::try_from(USERS).unwrap(), "{events}");
}
