//! What users do with their own account: profile, sessions, deletion and its undoing.

use std::sync::Arc;

use auth_api::app::maintenance::maintain_once;
use auth_events::commands::{MailParameters, MailTemplate};
use chrono::TimeDelta;
use clock::{Clock, ManualClock, SystemClock};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Changes, PASSWORD, TestApi, body, problem, token_of};

const EMAIL: &str = "ada@example.test";
const ME: &str = "/v1/auth/me";
const SESSIONS: &str = "/v1/auth/sessions";

/// A verified account and the access token of a login.
async fn logged_in(api: &TestApi, email: &str) -> String {
    api.verified_account(email).await;
    access_token(&api.login_tokens(email).await)
}

fn access_token(tokens: &Value) -> String {
    tokens["accessToken"].as_str().unwrap().to_owned()
}

async fn send(api: &TestApi, method: Method, path: &str, token: &str, request: Option<Value>) -> Response {
    let sent = api.request(method, path).bearer_auth(token);
    let sent = if let Some(request) = request { sent.json(&request) } else { sent };
    sent.send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_changes_as_far_as_something_is_given() {
    let api = TestApi::start().await;
    let token = logged_in(&api, EMAIL).await;
    for (request, name, locale) in [
        (json!({"displayName": "Ada Lovelace"}), json!("Ada Lovelace"), "en"),
        (json!({"locale": "de-AT"}), json!("Ada Lovelace"), "de"),
        (json!({}), json!("Ada Lovelace"), "de"),
        (json!({"displayName": null, "locale": "en"}), Value::Null, "en"),
    ] {
        let answer = send(&api, Method::PATCH, ME, &token, Some(request)).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let me = body(answer).await;
        assert_eq!((&me["displayName"], me["locale"].as_str()), (&name, Some(locale)));
        let read = body(send(&api, Method::GET, ME, &token, None).await).await;
        assert_eq!(read, me);
    }
    assert_eq!(api.facts("user.profile_updated").await.len(), 3);
    for (request, code) in [
        (json!({"displayName": "a\u{0}b"}), "display_name_invalid"),
        (json!({"locale": "tlh"}), "locale_unknown"),
        (json!({"locale": null}), ""),
        (json!({"roles": ["admin"]}), "unknown_field"),
        (json!({"status": "active"}), "unknown_field"),
    ] {
        let answer = send(&api, Method::PATCH, ME, &token, Some(request)).await;
        if code.is_empty() {
            assert_eq!(answer.status(), StatusCode::OK);
            continue;
        }
        let refused = problem(answer, 400, "invalid_request").await;
        assert_eq!(refused["errors"][0]["code"], code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_listed_and_ended_by_their_user_only() {
    let api = TestApi::start().await;
    let first = logged_in(&api, EMAIL).await;
    let second = access_token(&api.login_tokens(EMAIL).await);
    let eve = logged_in(&api, "eve@example.test").await;
    let list = body(send(&api, Method::GET, SESSIONS, &first, None).await).await;
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), 2);
    let current: Vec<&Value> = items.iter().filter(|item| item["current"] == true).collect();
    let other = items.iter().find(|item| item["current"] == false).unwrap();
    assert_eq!(current.len(), 1);
    let path = format!("{SESSIONS}/{}", other["id"].as_str().unwrap());
    problem(send(&api, Method::DELETE, &path, &eve, None).await, 404, "session_not_found").await;
    let nonsense = format!("{SESSIONS}/nonsense");
    problem(send(&api, Method::DELETE, &nonsense, &first, None).await, 404, "session_not_found").await;
    assert_eq!(send(&api, Method::GET, ME, &second, None).await.status(), StatusCode::OK);
    assert_eq!(send(&api, Method::DELETE, &path, &first, None).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(send(&api, Method::DELETE, &path, &first, None).await.status(), StatusCode::NO_CONTENT);
    api.until_refused(&second).await;

    for _ in 0..2 {
        api.login_tokens(EMAIL).await;
    }
    let ended = body(send(&api, Method::DELETE, SESSIONS, &first, None).await).await;
    assert_eq!(ended, json!({"revoked": 2}));
    assert_eq!(send(&api, Method::GET, ME, &first, None).await.status(), StatusCode::OK);
    api.login_tokens(EMAIL).await;
    let all = "/v1/auth/logout-all";
    let kept = send(&api, Method::POST, all, &first, Some(json!({"exceptCurrent": true}))).await;
    assert_eq!(body(kept).await, json!({"revoked": 1}));
    let none = send(&api, Method::POST, all, &first, None).await;
    assert_eq!(body(none).await, json!({"revoked": 1}));
    api.until_refused(&first).await;
    assert_eq!(send(&api, Method::GET, ME, &eve, None).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_account_is_closed_at_once_and_gone_after_two_weeks() {
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let api = TestApi::start_with(Changes { clock: Some(clock.clone()), ..Changes::default() }).await;
    let token = logged_in(&api, EMAIL).await;
    clock.advance(TimeDelta::minutes(6));
    let token = api.sessions.renewed(&token);
    problem(send(&api, Method::DELETE, ME, &token, None).await, 401, "reauth_required").await;
    let wrong = json!({"password": "not the right password"});
    problem(send(&api, Method::DELETE, ME, &token, Some(wrong)).await, 401, "invalid_credentials").await;
    let right = json!({"password": PASSWORD});
    let answer = send(&api, Method::DELETE, ME, &token, Some(right.clone())).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    assert!(body(answer).await["deletesAt"].is_string());
    assert_eq!(api.sessions.live(), 0);
    problem(api.login(EMAIL, PASSWORD).await, 401, "invalid_credentials").await;

    // The owner changes their mind, once.
    let Some(MailParameters::AccountDeletion { restore_link, .. }) =
        api.mail_to(EMAIL, MailTemplate::AccountDeletion).await
    else {
        panic!("the owner is told how to keep the account")
    };
    let restore = json!({"token": token_of(&restore_link, "restore-account")});
    let answers = futures::future::join_all((0..20).map(|_| api.post("/v1/auth/me/restore", &restore))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status() == StatusCode::OK).count(), 1);
    problem(api.post("/v1/auth/me/restore", &restore).await, 400, "token_invalid").await;
    let token = access_token(&api.login_tokens(EMAIL).await);

    // And changes it again.
    assert_eq!(send(&api, Method::DELETE, ME, &token, Some(right)).await.status(), StatusCode::ACCEPTED);
    clock.advance(TimeDelta::days(13));
    maintain_once(&api.state).await.unwrap();
    assert_eq!(api.sql("SELECT status FROM auth.users").await, "pending_deletion");
    clock.advance(TimeDelta::days(1));
    maintain_once(&api.state).await.unwrap();
    for table in ["users", "known_devices", "one_time_tokens"] {
        assert_eq!(api.sql(&format!("SELECT count(*) FROM auth.{table}")).await, "0", "{table}");
    }
    assert_eq!(api.facts("user.deleted").await.len(), 1);
    problem(api.login(EMAIL, PASSWORD).await, 401, "invalid_credentials").await;
    // The address is free again.
    api.verified_account(EMAIL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_cannot_end_the_sessions_does_not_happen() {
    let api = TestApi::start().await;
    let token = logged_in(&api, EMAIL).await;
    let request = Some(json!({"password": PASSWORD}));
    api.sessions.set_unavailable(true);
    problem(send(&api, Method::DELETE, ME, &token, request.clone()).await, 503, "unavailable").await;
    api.sessions.set_unavailable(false);
    assert_eq!(api.sql("SELECT status FROM auth.users").await, "active");
    assert_eq!(send(&api, Method::DELETE, ME, &token, request).await.status(), StatusCode::ACCEPTED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_ones_data_waits_for_the_services_it_needs() {
    let api = TestApi::start().await;
    let token = logged_in(&api, EMAIL).await;
    let order = async || send(&api, Method::POST, "/v1/auth/me/export", &token, None).await;
    let ordered = order().await;
    assert_eq!(ordered.status(), StatusCode::ACCEPTED);
    let ordered = body(ordered).await;
    assert_eq!(ordered["status"], "pending");
    assert_eq!(body(order().await).await["id"], ordered["id"], "one at a time");
    let path = format!("/v1/auth/me/export/{}", ordered["id"].as_str().unwrap());
    // audit-service is away in these tests.
    let copy = body(send(&api, Method::GET, &path, &token, None).await).await;
    assert_eq!((copy["status"].as_str(), copy.get("document")), (Some("pending"), None));
    let eve = logged_in(&api, "eve@example.test").await;
    problem(send(&api, Method::GET, &path, &eve, None).await, 404, "export_not_found").await;
    problem(send(&api, Method::GET, "/v1/auth/activity", &token, None).await, 503, "unavailable").await;
    let query = "/v1/auth/activity?limit=0";
    problem(send(&api, Method::GET, query, &token, None).await, 400, "invalid_request").await;
    assert_eq!(api.facts("user.data_exported").await.len(), 1);

    api.execute("UPDATE auth.data_exports SET document = 'written'").await;
    assert_eq!(body(order().await).await["status"], "ready");
}
