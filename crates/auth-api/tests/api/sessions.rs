use auth_events::commands::MailTemplate;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    harness::{PASSWORD, TestApi, body, problem},
    mail_links::mails_to,
};

const EMAIL: &str = "ada@example.test";

async fn logged_in(api: &TestApi) -> Value {
    api.verified_account(EMAIL).await;
    body(api.login(EMAIL, PASSWORD).await).await
}

async fn me(api: &TestApi, tokens: &Value) -> reqwest::Response {
    api.get("/v1/auth/me").bearer_auth(tokens["accessToken"].as_str().unwrap()).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn me_shows_ones_own_account() {
    let api = TestApi::start().await;
    let tokens = logged_in(&api).await;
    let me = body(me(&api, &tokens).await).await;
    assert_eq!(me["email"], EMAIL);
    assert_eq!(
        (&me["emailVerified"], &me["status"], &me["mfaEnabled"]),
        (&json!(true), &json!("active"), &json!(false))
    );
    assert_eq!((&me["roles"], &me["permissions"]), (&json!(["user"]), &json!([])));
    assert_eq!(me["id"], api.sql("SELECT id FROM auth.users").await);
    let fields: Vec<&String> = me.as_object().unwrap().keys().collect();
    assert_eq!(
        fields,
        [
            "aal",
            "authenticatedAt",
            "createdAt",
            "displayName",
            "email",
            "emailVerified",
            "id",
            "locale",
            "mfaEnabled",
            "permissions",
            "roles",
            "sessionId",
            "status"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn refresh_rotates_and_reuse_ends_the_session() {
    let api = TestApi::start().await;
    let tokens = logged_in(&api).await;
    let first = json!({"refreshToken": tokens["refreshToken"]});
    let renewed = api.post("/v1/auth/refresh", &first).await;
    assert_eq!(renewed.status(), StatusCode::OK);
    assert_ne!(body(renewed).await["refreshToken"], tokens["refreshToken"]);
    problem(api.post("/v1/auth/refresh", &first).await, 401, "refresh_reused").await;
    problem(api.post("/v1/auth/refresh", &first).await, 401, "invalid_token").await;
    problem(
        api.post("/v1/auth/refresh", &json!({"refreshToken": "far_nonsense"})).await,
        401,
        "invalid_token",
    )
    .await;
    api.until_refused(tokens["accessToken"].as_str().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_of_a_stolen_session_hears_of_it_once_even_if_the_first_answer_was_lost() {
    let api = TestApi::start().await;
    let tokens = logged_in(&api).await;
    let first = json!({"refreshToken": tokens["refreshToken"]});
    assert_eq!(api.post("/v1/auth/refresh", &first).await.status(), StatusCode::OK);
    api.sessions.lose_next_answer();
    problem(api.post("/v1/auth/refresh", &first).await, 503, "unavailable").await;
    assert!(mails_to(&api, EMAIL, MailTemplate::SessionStolen).await.is_empty());
    for _ in 0..3 {
        problem(api.post("/v1/auth/refresh", &first).await, 401, "invalid_token").await;
        assert_eq!(mails_to(&api, EMAIL, MailTemplate::SessionStolen).await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logout_ends_the_session_and_is_idempotent() {
    let api = TestApi::start().await;
    let tokens = logged_in(&api).await;
    let by_body = json!({"refreshToken": tokens["refreshToken"]});
    assert_eq!(api.post("/v1/auth/logout", &by_body).await.status(), StatusCode::OK);
    api.until_refused(tokens["accessToken"].as_str().unwrap()).await;
    assert_eq!(api.post("/v1/auth/logout", &by_body).await.status(), StatusCode::OK);
    assert_eq!(
        api.post("/v1/auth/logout", &json!({"refreshToken": "far_nonsense"})).await.status(),
        StatusCode::OK
    );
    assert_eq!(api.sessions.live(), 0);

    let tokens = body(api.login(EMAIL, PASSWORD).await).await;
    let access = tokens["accessToken"].as_str().unwrap();
    let by_bearer = api.request(Method::POST, "/v1/auth/logout").bearer_auth(access).send().await.unwrap();
    assert_eq!(by_bearer.status(), StatusCode::OK);
    api.until_refused(tokens["accessToken"].as_str().unwrap()).await;
    let nobody = api.request(Method::POST, "/v1/auth/logout").send().await.unwrap();
    problem(nobody, 401, "missing_token").await;
}
