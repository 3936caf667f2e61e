//! What becomes of sessions and their tokens when their user logs in, out, or changes the account.

use auth_events::commands::MailTemplate;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::{
    authenticator::{
        Authenticator, EMAIL, ENABLE_COMPLETE, ENABLE_INIT, STEP, anywhere, by, challenge, start, token,
        verify,
    },
    harness::{PASSWORD, TestApi, body, problem},
    mail_links::{CHANGE_PASSWORD, NEW_PASSWORD, SECURE, follow, newest_token, reset, reset_token},
};

const LOGOUT: &str = "/v1/auth/logout";
const SESSIONS: &str = "/v1/auth/sessions";
const EVE: &str = "eve@example.test";

async fn session_of(api: &TestApi, access: &str) -> String {
    let me = api.get("/v1/auth/me").bearer_auth(access).send().await.unwrap();
    token(&body(me).await, "sessionId")
}

async fn refresh(api: &TestApi, tokens: &Value) -> Response {
    let request = json!({"refreshToken": tokens["refreshToken"]});
    anywhere(api, "/v1/auth/refresh").json(&request).send().await.unwrap()
}

async fn is_over(api: &TestApi, tokens: &Value) {
    problem(refresh(api, tokens).await, 401, "invalid_token").await;
    api.until_refused(&token(tokens, "accessToken")).await;
}

/// Each login is a session of its own, and there is none before the second factor was given. A step-up keeps the session and its refresh token: it is
/// the same user on the same device who just proved it, and other sessions, which did not, end where what they could do with the account changes. A
/// change of roles (`UpdateUserClaims` of session-service, where its test is) lets sessions live on and ends the access tokens from before.
#[tokio::test(flavor = "multi_thread")]
async fn ref_08_what_changes_what_a_session_may_do_leaves_no_old_one_behind() {
    let (api, clock) = start().await;
    api.verified_account(EMAIL).await;
    let (first, second) = (api.login_tokens(EMAIL).await, api.login_tokens(EMAIL).await);
    let access = token(&second, "accessToken");
    let (first_session, second_session) =
        (session_of(&api, &token(&first, "accessToken")).await, session_of(&api, &access).await);
    assert_ne!(first_session, second_session);

    // The second factor: the session that gave it is another one in what it may do, the other one is over.
    let enrolment = body(by(&api, &access, ENABLE_INIT, None).await).await;
    let app = Authenticator::new(enrolment["secret"].as_str().unwrap(), &clock);
    let request = json!({"challengeId": enrolment["challengeId"], "otp": app.code()});
    let enabled = body(by(&api, &access, ENABLE_COMPLETE, Some(&request)).await).await;
    assert_eq!(session_of(&api, &token(&enabled, "accessToken")).await, second_session);
    is_over(&api, &first).await;
    clock.advance(STEP);

    // A password alone begins nothing.
    let live = api.sessions.live();
    let waiting = challenge(&api).await;
    assert_eq!(api.sessions.live(), live);
    let third = body(verify(&api, &waiting, &app.code()).await).await;
    let third_session = session_of(&api, &token(&third, "accessToken")).await;
    assert!(![first_session, second_session].contains(&third_session));
    clock.advance(STEP);

    // Another password: whoever knew the old one is out, and the caller goes on in a new session.
    let change = json!({"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD, "otp": app.code()});
    let changed = by(&api, &token(&third, "accessToken"), CHANGE_PASSWORD, Some(&change)).await;
    assert_eq!(changed.status(), StatusCode::OK);
    let changed = body(changed).await;
    assert_ne!(session_of(&api, &token(&changed, "accessToken")).await, third_session);
    for old in [&second, &third] {
        is_over(&api, old).await;
    }
    assert_eq!(refresh(&api, &changed).await.status(), StatusCode::OK);
}

/// An account that nobody has proved has no session to begin with.
#[tokio::test(flavor = "multi_thread")]
async fn ref_12_a_changed_account_refreshes_no_session_from_before() {
    for change in ["password changed", "password reset", "secured", "deletion asked for"] {
        let (api, clock) = start().await;
        api.verified_account(EMAIL).await;
        let (mine, other) = (api.login_tokens(EMAIL).await, api.login_tokens(EMAIL).await);
        let access = token(&mine, "accessToken");
        let answer = match change {
            "password changed" => {
                let request = json!({"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD});
                by(&api, &access, CHANGE_PASSWORD, Some(&request)).await
            }
            "password reset" => reset(&api, &reset_token(&api, &clock, EMAIL).await, NEW_PASSWORD).await,
            "secured" => {
                let link = newest_token(&api, EMAIL, MailTemplate::NewDevice).await;
                follow(&api, SECURE, &link).await
            }
            _ => {
                let request = api.request(Method::DELETE, "/v1/auth/me").bearer_auth(&access);
                request.json(&json!({"password": PASSWORD})).send().await.unwrap()
            }
        };
        assert!(answer.status().is_success(), "{change}: {}", answer.status());
        for tokens in [&mine, &other] {
            is_over(&api, tokens).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ref_13_a_logout_ends_ones_own_session_and_no_other() {
    let (api, clock) = start().await;
    for email in [EMAIL, EVE] {
        api.verified_account(email).await;
    }
    let eves = api.login_tokens(EVE).await;
    let by_refresh =
        |tokens: &Value| anywhere(&api, LOGOUT).json(&json!({"refreshToken": tokens["refreshToken"]}));
    let by_access = |tokens: &Value| anywhere(&api, LOGOUT).bearer_auth(token(tokens, "accessToken"));
    let status = async |request: reqwest::RequestBuilder| request.send().await.unwrap().status();

    // Twice, with the refresh token only; then with that of a session that is over.
    let (mine, other) = (api.login_tokens(EMAIL).await, api.login_tokens(EMAIL).await);
    for _ in 0..2 {
        assert_eq!(status(by_refresh(&mine)).await, StatusCode::OK);
        assert_eq!(api.sessions.live(), 2);
    }
    is_over(&api, &mine).await;
    assert_eq!(status(by_access(&mine)).await, StatusCode::OK);
    assert_eq!(api.sessions.live(), 2);

    // With an access token that is expired.
    clock.advance(chrono::TimeDelta::minutes(6));
    assert_eq!(status(by_access(&other)).await, StatusCode::OK);
    assert_eq!(api.sessions.live(), 1);
    problem(refresh(&api, &other).await, 401, "invalid_token").await;

    // With what names no session.
    for nonsense in ["far_nonsense", ""] {
        let answer = anywhere(&api, LOGOUT).json(&json!({"refreshToken": nonsense})).send().await.unwrap();
        assert!([200, 400, 401].contains(&answer.status().as_u16()), "{nonsense}: {}", answer.status());
    }
    assert_eq!(status(anywhere(&api, LOGOUT).bearer_auth("v4.public.x")).await, StatusCode::OK);
    problem(anywhere(&api, LOGOUT).send().await.unwrap(), 401, "missing_token").await;
    assert_eq!(api.sessions.live(), 1);

    // Of another user: no id and no body reaches a session of Eve's.
    let mine = api.login_tokens(EMAIL).await;
    let access = token(&mine, "accessToken");
    let eves_access = api.sessions.renewed(&token(&eves, "accessToken"));
    let eves_session = session_of(&api, &eves_access).await;
    let foreign = api.request(Method::DELETE, &format!("{SESSIONS}/{eves_session}")).bearer_auth(&access);
    problem(foreign.send().await.unwrap(), 404, "session_not_found").await;
    let named = json!({"sessionId": eves_session});
    problem(by(&api, &access, "/v1/auth/logout-all", Some(&named)).await, 400, "invalid_request").await;
    assert_eq!(api.sessions.live(), 2);

    // All of one's own.
    let second = api.login_tokens(EMAIL).await;
    let all = by(&api, &access, "/v1/auth/logout-all", None).await;
    assert_eq!(body(all).await, json!({"revoked": 2}));
    for tokens in [&mine, &second] {
        is_over(&api, tokens).await;
    }
    assert_eq!(session_of(&api, &eves_access).await, eves_session);
    assert_eq!(refresh(&api, &eves).await.status(), StatusCode::OK);
}
