use auth_events::commands::MailTemplate;
use chrono::TimeDelta;
use futures::future::join_all;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::{
    authenticator::{EMAIL, ProtectedAccount, STEP, anywhere, by, start, token},
    harness::{FRONTEND, PASSWORD, TestApi, body, problem},
    mail_links::{CHANGE_PASSWORD, NEW_PASSWORD, device_cookie, mails_to},
};

fn request(current: &str) -> Value {
    json!({"currentPassword": current, "newPassword": NEW_PASSWORD})
}

async fn me(api: &TestApi, access: &str) -> Response {
    api.get("/v1/auth/me").bearer_auth(access).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_changed_and_every_other_session_ends() {
    let (api, clock) = start().await;
    api.verified_account(EMAIL).await;
    let other = api.login_tokens(EMAIL).await;
    let login =
        json!({"email": EMAIL, "password": PASSWORD, "deviceName": "Ada's laptop", "rememberMe": true});
    let login = api.post("/v1/auth/login", &login).await;
    let cookie = device_cookie(&login).unwrap();
    let access = token(&body(login).await, "accessToken");
    clock.advance(TimeDelta::hours(1));
    let access = api.sessions.renewed(&access);
    let other = api.sessions.renewed(&token(&other, "accessToken"));

    let change = anywhere(&api, CHANGE_PASSWORD).bearer_auth(&access).header("cookie", &cookie);
    let changed = change.json(&request(PASSWORD)).send().await.unwrap();
    assert_eq!(changed.status(), StatusCode::OK);
    assert_eq!(device_cookie(&changed).as_ref(), Some(&cookie), "the browser is known already");
    let tokens = body(changed).await;
    assert_eq!(tokens["tokenType"], "Bearer");
    for dead in [&access, &other] {
        api.until_refused(dead).await;
    }
    assert_eq!(me(&api, &token(&tokens, "accessToken")).await.status(), StatusCode::OK);
    let refresh = json!({"refreshToken": tokens["refreshToken"]});
    assert_eq!(api.post("/v1/auth/refresh", &refresh).await.status(), StatusCode::OK);
    assert_eq!(api.sessions.live(), 1);
    let sessions = api.get("/v1/auth/sessions").bearer_auth(token(&tokens, "accessToken")).send().await;
    let sessions = body(sessions.unwrap()).await.to_string();
    assert!(sessions.contains("Ada's laptop"), "{sessions}");

    problem(api.login(EMAIL, PASSWORD).await, 401, "invalid_credentials").await;
    let known = json!({"email": EMAIL, "password": NEW_PASSWORD});
    let known = anywhere(&api, "/v1/auth/login").header("cookie", &cookie).json(&known).send().await.unwrap();
    assert_eq!((known.status(), device_cookie(&known)), (StatusCode::OK, Some(cookie)));
    assert_eq!(mails_to(&api, EMAIL, MailTemplate::PasswordChanged).await.len(), 1);
    assert_eq!(mails_to(&api, EMAIL, MailTemplate::NewDevice).await.len(), 1, "of the second login");
    assert_eq!(api.facts("user.password_changed").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_current_password_is_asked_for_however_recent_the_login_is() {
    let (api, _) = start().await;
    api.verified_account(EMAIL).await;
    let access = token(&api.login_tokens(EMAIL).await, "accessToken");
    let missing = by(&api, &access, CHANGE_PASSWORD, Some(&json!({"newPassword": NEW_PASSWORD}))).await;
    problem(missing, 400, "invalid_request").await;
    let weak = json!({"currentPassword": PASSWORD, "newPassword": "short"});
    let weak =
        problem(by(&api, &access, CHANGE_PASSWORD, Some(&weak)).await, 422, "password_too_short").await;
    assert_eq!(weak["errors"][0]["field"], "newPassword");
    for _ in 0..5 {
        let wrong = by(&api, &access, CHANGE_PASSWORD, Some(&request("another wrong password"))).await;
        problem(wrong, 401, "invalid_credentials").await;
    }
    // The counter is that of logins.
    problem(by(&api, &access, CHANGE_PASSWORD, Some(&request(PASSWORD))).await, 429, "too_many_attempts")
        .await;
    problem(api.login(EMAIL, PASSWORD).await, 429, "too_many_attempts").await;
    assert_eq!(me(&api, &access).await.status(), StatusCode::OK);
    assert!(mails_to(&api, EMAIL, MailTemplate::PasswordChanged).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_is_asked_for_and_the_new_session_has_it() {
    let account = ProtectedAccount::new().await;
    let api = &account.api;
    let missing = by(api, &account.access_token, CHANGE_PASSWORD, Some(&request(PASSWORD))).await;
    problem(missing, 401, "otp_required").await;
    let mut with_code = request(PASSWORD);
    with_code["otp"] = json!(account.app.wrong_code());
    let wrong = by(api, &account.access_token, CHANGE_PASSWORD, Some(&with_code)).await;
    problem(wrong, 400, "otp_invalid").await;
    with_code["otp"] = json!(account.app.code());
    let weak = json!({"currentPassword": PASSWORD, "newPassword": "short", "otp": account.app.code()});
    let weak = by(api, &account.access_token, CHANGE_PASSWORD, Some(&weak)).await;
    problem(weak, 422, "password_too_short").await;
    let changed = by(api, &account.access_token, CHANGE_PASSWORD, Some(&with_code)).await;
    assert_eq!(changed.status(), StatusCode::OK, "a refused password uses no code up");
    let tokens = body(changed).await;
    assert_eq!(body(me(api, &token(&tokens, "accessToken")).await).await["aal"], 2);
    account.clock.advance(STEP);
    assert_eq!(body(api.login(EMAIL, NEW_PASSWORD).await).await["requires2fa"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tokens_come_as_they_are_asked_for() {
    let (api, _) = start().await;
    api.verified_account(EMAIL).await;
    let access = token(&api.login_tokens(EMAIL).await, "accessToken");
    let in_cookie =
        anywhere(&api, CHANGE_PASSWORD).bearer_auth(&access).header("x-token-transport", "cookie");
    let in_cookie = in_cookie.header("origin", FRONTEND).json(&request(PASSWORD)).send().await.unwrap();
    assert_eq!(in_cookie.status(), StatusCode::OK);
    let cookies: Vec<String> =
        in_cookie.headers().get_all("set-cookie").iter().map(|it| it.to_str().unwrap().to_owned()).collect();
    assert!(cookies.iter().any(|cookie| cookie.starts_with("__Host-refresh=")), "{cookies:?}");
    assert!(
        cookies.iter().any(|cookie| cookie.starts_with("__Host-device=")),
        "an unknown browser gets known"
    );
    assert!(body(in_cookie).await.get("refreshToken").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_parallel_changes_one_wins() {
    let (api, _) = start().await;
    api.verified_account(EMAIL).await;
    let access = token(&api.login_tokens(EMAIL).await, "accessToken");
    let passwords: Vec<String> = (0..20).map(|number| format!("new password number {number:03}")).collect();
    let answers = join_all(passwords.iter().map(|new| {
        let change = json!({"currentPassword": PASSWORD, "newPassword": new});
        let api = &api;
        let access = &access;
        async move { by(api, access, CHANGE_PASSWORD, Some(&change)).await }
    }))
    .await;
    let won = answers.iter().filter(|answer| answer.status() == StatusCode::OK).count();
    assert_eq!(won, 1);
    assert!(answers.iter().all(|answer| [200, 401, 503].contains(&answer.status().as_u16())));
    let winner = answers.iter().position(|answer| answer.status() == StatusCode::OK).unwrap();
    assert_eq!(api.sessions.live(), 1, "those that lost left no session");
    assert_eq!(api.login(EMAIL, &passwords[winner]).await.status(), StatusCode::OK);
    assert_eq!(mails_to(&api, EMAIL, MailTemplate::PasswordChanged).await.len(), 1);
}
