//! One user's whole journey, and what operators check after a deployment.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::time::{Duration, Instant};

use auth_proto::{
    audit::v1::SearchRequest,
    mailer::v1::{ListMessagesRequest, MessageState},
    session::v1::{InactiveReason, RevokeSessionRequest, ValidateRequest},
};
use e2e::{
    Stack, audit,
    grpc::{self, As},
    journey::{self, text},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn the_platform_keeps_its_promises() {
    let stack = Stack::start(&[]).await;
    the_deployment_guides_verification(&stack).await;
    every_mail_can_be_looked_at(&stack).await;
    a_users_whole_journey(&stack).await;
    an_owner_hears_of_a_second_registration(&stack).await;
    callers_without_the_right_are_refused_and_audited(&stack).await;
    nothing_secret_is_in_any_log(&stack);
    no_message_was_dropped(&stack).await;
}

/// "Post-Deployment Verification", with the guide's bodies to the letter.
async fn the_deployment_guides_verification(stack: &Stack) {
    let health = stack.api(Method::GET, "/health").send().await.unwrap();
    assert_eq!(health.json::<Value>().await.unwrap(), json!({"status": "ok"}));

    let post = |path: &str, body: &'static str| {
        stack.api(Method::POST, path).header("Content-Type", "application/json").body(body).send()
    };
    let registration = post(
        "/v1/auth/register",
        r#"{
    "email": "test@example.com",
    "password": "SecurePassword123",
    "captchaToken": "DUMMY_TOKEN_FOR_TEST"
  }"#,
    );
    let registered = registration.await.unwrap();
    assert_eq!(registered.status(), StatusCode::ACCEPTED);
    let handle = text(&registered.json().await.unwrap(), "registrationHandle").to_owned();
    journey::verify(stack, "test@example.com", &handle).await;
    let login = post(
        "/v1/auth/login",
        r#"{
    "email": "test@example.com",
    "password": "SecurePassword123"
  }"#,
    );
    assert_eq!(login.await.unwrap().status(), StatusCode::OK);

    let admin = stack.variable("ADMIN_EMAIL");
    let status = stack.sql(&format!("SELECT status FROM users WHERE email = '{admin}'")).await;
    assert_eq!(status, ["active"], "the guide's own query, unqualified");

    let metrics = stack.api(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    for name in ["login_success_total", "email_enqueued_total", "http_request_duration_seconds_bucket"] {
        assert!(metrics.contains(name), "{name}");
    }
}

/// The gallery beside the mails that were caught.
async fn every_mail_can_be_looked_at(stack: &Stack) {
    let gallery = format!("{}/templates/", stack.variable("MAILBOX_URL"));
    let get = async |url: &str| reqwest::get(url).await.unwrap().text().await.unwrap();
    let index = get(&gallery).await;
    for mail in ["verify_email.en.dark.html", "invitation.de.light.html", "test.en.light.html"] {
        assert!(index.contains(mail), "{index}");
        assert!(get(&format!("{gallery}{mail}")).await.contains("Feature Auth"), "{mail}");
    }
}

async fn a_users_whole_journey(stack: &Stack) {
    let email = "ada@example.com";
    let started = Instant::now();
    let handle = journey::register(stack, email).await;
    let mail = stack.mail(email).await;
    assert!(started.elapsed() < Duration::from_secs(2), "the mail took {:?}", started.elapsed());
    assert!(!mail.subject.is_empty() && mail.text.contains("#token=") && mail.html.contains("#token="));

    let early = stack.post("/v1/auth/login", &json!({"email": email, "password": journey::PASSWORD})).await;
    assert_eq!(early.status(), StatusCode::FORBIDDEN);
    journey::verify(stack, email, &handle).await;
    let tokens = journey::login(stack, email).await;
    let access = text(&tokens, "accessToken").to_owned();
    let me: Value = journey::me(stack, &access).await.json().await.unwrap();
    assert_eq!(text(&me, "email"), email);
    let user_id = text(&me, "id").to_owned();

    let validated = validate(stack, &access).await;
    assert!(validated.active);
    assert_eq!(validated.claims.unwrap().user_id, user_id);

    let refreshed =
        stack.post("/v1/auth/refresh", &json!({"refreshToken": text(&tokens, "refreshToken")})).await;
    let refreshed: Value = refreshed.json().await.unwrap();
    let renewed_access = text(&refreshed, "accessToken");
    assert!(validate(stack, renewed_access).await.active);

    let logout =
        stack.post("/v1/auth/logout", &json!({"refreshToken": text(&refreshed, "refreshToken")})).await;
    assert_eq!(logout.status(), StatusCode::OK);
    for token in [&access, renewed_access] {
        let refused =
            || async { (journey::me(stack, token).await.status() == StatusCode::UNAUTHORIZED).then_some(()) };
        test_support::eventually("the end of the session is known", Duration::from_secs(10), refused).await;
        let validated = validate(stack, token).await;
        assert!(!validated.active);
        assert_eq!(validated.reason(), InactiveReason::Revoked);
    }

    let types = audit::types_about(stack, &user_id, 8).await;
    assert_eq!(
        types,
        [
            "auth.login",
            "auth.login",
            "auth.logout",
            "session.created",
            "session.refreshed",
            "session.revoked",
            "user.email_verified",
            "user.registered",
        ]
    );
    let events = audit::events_about(stack, &user_id).await;
    let outcomes: Vec<(&str, &str)> = events
        .iter()
        .filter(|event| event.r#type == "auth.login")
        .map(|event| (event.outcome.as_str(), event.reason.as_str()))
        .collect();
    assert!(
        outcomes.contains(&("failure", "email_unverified")) && outcomes.contains(&("success", "")),
        "{outcomes:?}"
    );
    assert!(events.iter().all(|event| event.ip == "127.0.0.1" && event.trace_id.len() == 32), "{events:?}");

    let request = ListMessagesRequest { user_id, ..ListMessagesRequest::default() };
    let messages =
        grpc::mailer(stack, As::Operator).list_messages(request).await.unwrap().into_inner().messages;
    assert_eq!((messages.len(), messages[0].state(), messages[0].attempts), (1, MessageState::Sent, 1));
    assert_eq!(messages[0].message_id.trim_matches(['<', '>']), mail.message_id.trim_matches(['<', '>']));
}

async fn an_owner_hears_of_a_second_registration(stack: &Stack) {
    let before = stack.mail("ada@example.com").await;
    // As if the last mail that anybody can ask for were more than a minute ago.
    stack.sql("DELETE FROM auth.mail_allowances").await;
    journey::register(stack, "ADA@example.com").await;
    let told = test_support::eventually("the owner is told", Duration::from_secs(10), || async {
        stack.mails("ada@example.com").await.into_iter().find(|mail| mail.subject != before.subject)
    });
    assert!(!told.await.text.contains("#token="));
}

async fn callers_without_the_right_are_refused_and_audited(stack: &Stack) {
    let request = RevokeSessionRequest::default();
    let refused =
        grpc::sessions(stack, As::InternalService).revoke_session(request.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(grpc::sessions(stack, As::Nobody).revoke_session(request).await.is_err());
    let refused = grpc::audit(stack, As::InternalService).search(SearchRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    test_support::eventually("the refusal is in the audit log", Duration::from_secs(10), || async {
        let request = SearchRequest { r#type: "system.access_denied".to_owned(), ..SearchRequest::default() };
        let found = grpc::audit(stack, As::Operator).search(request).await.unwrap().into_inner();
        found
            .events
            .into_iter()
            .find(|event| event.actor.as_ref().is_some_and(|actor| !actor.name.is_empty()))
    })
    .await;
}

fn nothing_secret_is_in_any_log(stack: &Stack) {
    for service in ["auth-api", "session-service", "mailer", "audit-service"] {
        let log = stack.log(service);
        assert!(log.lines().count() > 0, "{service} logs");
        for canary in [journey::PASSWORD, "v4.public.", "far_", "fat_", "frh_", "ada@example.com"] {
            assert!(!log.contains(canary), "{service} logged {canary}");
        }
    }
    assert!(stack.log("auth-api").lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
}

async fn no_message_was_dropped(stack: &Stack) {
    for schema in ["auth", "session"] {
        test_support::eventually("the outbox is empty", Duration::from_secs(10), || async {
            (stack.sql(&format!("SELECT count(*) FROM {schema}.outbox")).await == ["0"]).then_some(())
        })
        .await;
    }
    let url = format!("{}/api/queues", stack.variable("AMQP_MGMT_URL"));
    let queues =
        test_support::eventually("the broker has counted its messages", Duration::from_secs(30), || async {
            let queues: Vec<Value> = stack.get(&url).await.json().await.unwrap();
            queues.iter().all(|queue| queue["messages"].is_u64()).then_some(queues)
        })
        .await;
    for queue in queues {
        let is_dead_letters = text(&queue, "name").split('.').next_back() == Some("dead");
        assert!(!is_dead_letters || queue["messages"] == 0, "{queue}");
    }
}

async fn validate(stack: &Stack, token: &str) -> auth_proto::session::v1::ValidateResponse {
    let request = ValidateRequest { access_token: token.to_owned(), ..ValidateRequest::default() };
    grpc::sessions(stack, As::InternalService).validate(request).await.unwrap().into_inner()
}
