//! Whatever works once works once for everybody together.

use auth_events::commands::MailTemplate;
use chrono::TimeDelta;
use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    authenticator::{
        Authenticator, EMAIL, ENABLE_COMPLETE, ENABLE_INIT, ProtectedAccount, RECOVERY_LOGIN, VERIFY,
        anywhere, by, start, token,
    },
    harness::{PASSWORD, TestApi, body},
    mail_links::{
        CHANGE_EMAIL, CHANGE_PASSWORD, CONFIRM, NEW_PASSWORD, RESET, SECURE, UNDO, forgot, newest_token,
    },
};

const AT_ONCE: usize = 20;
const VERIFY_EMAIL: &str = "/v1/auth/verify-email";
const RESTORE: &str = "/v1/auth/me/restore";

/// Something that works once: where it is presented, how, and by whom if that matters.
struct OneTimeThing {
    path: &'static str,
    request: Value,
    access_token: Option<String>,
}

fn thing(path: &'static str, request: Value) -> OneTimeThing {
    OneTimeThing { path, request, access_token: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_parallel_uses_of_a_link_exactly_one_succeeds() {
    let api = TestApi::start().await;
    let handle = api.register("verify@example.test").await;
    let verify_email = api.verification_token("verify@example.test").await;
    let things = [
        thing(VERIFY_EMAIL, json!({"token": verify_email, "registrationHandle": handle})),
        reset_password(&api).await,
        thing(CONFIRM, json!({"token": email_change(&api, "confirm").await})),
        confirmed_email_change(&api).await,
        secure_account(&api).await,
        restore_account(&api).await,
    ];
    for thing in things {
        succeeds_once(&api, thing).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_parallel_uses_of_a_code_exactly_one_succeeds() {
    let account = ProtectedAccount::new().await;
    let api = &account.api;
    let pause = TimeDelta::hours(1) + TimeDelta::minutes(1);

    let challenge = account.challenge().await;
    let code = account.app.code();
    succeeds_once(api, thing(VERIFY, json!({"challengeId": challenge, "otp": code}))).await;
    account.clock.advance(pause);
    let challenge = account.challenge().await;
    let code = &account.recovery_codes[0];
    succeeds_once(api, thing(RECOVERY_LOGIN, json!({"challengeId": challenge, "recoveryCode": code}))).await;
    account.clock.advance(pause);
    // Without a challenge there is nothing but the code itself that could be used up.
    let code = &account.recovery_codes[1];
    let request = json!({"email": EMAIL, "password": PASSWORD, "recoveryCode": code});
    succeeds_once(api, thing(RECOVERY_LOGIN, request)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_parallel_ends_of_an_enrolment_exactly_one_succeeds() {
    let (api, clock) = start().await;
    let access_token = logged_in(&api, EMAIL).await;
    let enrolment = body(by(&api, &access_token, ENABLE_INIT, None).await).await;
    let code = Authenticator::new(&token(&enrolment, "secret"), &clock).code();
    let request = json!({"challengeId": enrolment["challengeId"], "otp": code});
    let access_token = Some(access_token);
    succeeds_once(&api, OneTimeThing { path: ENABLE_COMPLETE, request, access_token }).await;
}

async fn succeeds_once(api: &TestApi, thing: OneTimeThing) {
    let OneTimeThing { path, request, access_token } = thing;
    let uses = (0..AT_ONCE).map(|_| {
        let sent = anywhere(api, path).json(&request);
        let sent = if let Some(token) = &access_token { sent.bearer_auth(token) } else { sent };
        async { sent.send().await.unwrap().status() }
    });
    let statuses = join_all(uses).await;
    let succeeded = statuses.iter().filter(|status| status.is_success()).count();
    assert_eq!(succeeded, 1, "{path} {request}: {statuses:?}");
    // A machine that is too busy for all of them may say so, which uses nothing up.
    let is_refusal = |status: &&StatusCode| status.is_client_error() || status.as_u16() == 503;
    assert_eq!(statuses.iter().filter(is_refusal).count(), AT_ONCE - 1, "{path}: {statuses:?}");
}

async fn logged_in(api: &TestApi, email: &str) -> String {
    api.verified_account(email).await;
    token(&api.login_tokens(email).await, "accessToken")
}

async fn reset_password(api: &TestApi) -> OneTimeThing {
    let email = "reset@example.test";
    api.verified_account(email).await;
    // A minute after the mail that proved the address.
    api.execute("DELETE FROM auth.mail_allowances").await;
    forgot(api, email).await;
    let token = newest_token(api, email, MailTemplate::ResetPassword).await;
    thing(RESET, json!({"token": token, "newPassword": NEW_PASSWORD}))
}

/// The token that confirms a change of address.
async fn email_change(api: &TestApi, name: &str) -> String {
    let access = logged_in(api, &format!("{name}@example.test")).await;
    let new_email = format!("{name}@example.org");
    let request = json!({"newEmail": new_email, "password": PASSWORD});
    let asked = by(api, &access, CHANGE_EMAIL, Some(&request)).await;
    assert_eq!(asked.status(), StatusCode::ACCEPTED);
    newest_token(api, &new_email, MailTemplate::EmailChangeConfirm).await
}

async fn confirmed_email_change(api: &TestApi) -> OneTimeThing {
    let confirm = json!({"token": email_change(api, "undo").await});
    let confirmed = anywhere(api, CONFIRM).json(&confirm).send().await.unwrap();
    assert_eq!(confirmed.status(), StatusCode::OK);
    let undo = newest_token(api, "undo@example.test", MailTemplate::EmailChangeNotice).await;
    thing(UNDO, json!({"token": undo}))
}

async fn secure_account(api: &TestApi) -> OneTimeThing {
    let email = "secure@example.test";
    let access = logged_in(api, email).await;
    let request = json!({"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD});
    assert_eq!(by(api, &access, CHANGE_PASSWORD, Some(&request)).await.status(), StatusCode::OK);
    thing(SECURE, json!({"token": newest_token(api, email, MailTemplate::PasswordChanged).await}))
}

async fn restore_account(api: &TestApi) -> OneTimeThing {
    let email = "restore@example.test";
    let access = logged_in(api, email).await;
    let request = api.request(Method::DELETE, "/v1/auth/me").bearer_auth(access);
    let deleted = request.json(&json!({"password": PASSWORD})).send().await.unwrap();
    assert_eq!(deleted.status(), StatusCode::ACCEPTED);
    thing(RESTORE, json!({"token": newest_token(api, email, MailTemplate::AccountDeletion).await}))
}
