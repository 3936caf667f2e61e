//! Forgotten passwords.

use std::collections::BTreeMap;

use auth_events::commands::MailTemplate;
use chrono::TimeDelta;
use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    authenticator::{EMAIL, ENABLE_COMPLETE, ENABLE_INIT, ProtectedAccount, anywhere, by, start, token},
    harness::{PASSWORD, TestApi, body, problem},
    log_lines::LogLines,
    mail_links::{
        CHANGE_EMAIL, CHANGE_PASSWORD, CONFIRM, FORGOT, NEW_PASSWORD, RESET, SECURE, UNDO, device_cookie,
        follow, forgot, mails_to, newest_token, reset, reset_token, tokens_to,
    },
};

const EVE: &str = "eve@example.test";
const VERIFY_EMAIL: &str = "/v1/auth/verify-email";
const RESTORE: &str = "/v1/auth/me/restore";

async fn refresh(api: &TestApi, tokens: &Value) -> reqwest::Response {
    let request = json!({"refreshToken": tokens["refreshToken"]});
    anywhere(api, "/v1/auth/refresh").json(&request).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_password_is_replaced() {
    let (api, clock) = start().await;
    api.verified_account(EMAIL).await;
    let token = reset_token(&api, &clock, EMAIL).await;
    let weak = problem(reset(&api, &token, "short").await, 422, "password_too_short").await;
    assert_eq!(weak["errors"][0]["field"], "newPassword");
    problem(reset(&api, &token, "ada@example.test 1").await, 422, "password_context").await;

    let answer = reset(&api, &token, NEW_PASSWORD).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers().get_all("set-cookie").iter().count(), 1);
    assert!(device_cookie(&answer).is_some());
    assert_eq!(body(answer).await, json!({"status": "password_reset"}));
    assert_eq!(api.sessions.live(), 0, "nobody is logged in by it");
    problem(api.login(EMAIL, PASSWORD).await, 401, "invalid_credentials").await;
    assert_eq!(api.login(EMAIL, NEW_PASSWORD).await.status(), StatusCode::OK);
    problem(reset(&api, &token, PASSWORD).await, 400, "token_invalid").await;
    assert_eq!(mails_to(&api, EMAIL, MailTemplate::PasswordChanged).await.len(), 1);
    assert_eq!(api.facts("user.password_reset").await.len(), 1);
    let requested = api.facts("user.password_reset_requested").await;
    assert_eq!(requested[0]["data"]["detail"]["mailSent"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_works_for_half_an_hour_and_only_the_newest_one() {
    let (api, clock) = start().await;
    api.verified_account(EMAIL).await;
    let first = reset_token(&api, &clock, EMAIL).await;
    let second = reset_token(&api, &clock, EMAIL).await;
    problem(reset(&api, &first, NEW_PASSWORD).await, 400, "token_invalid").await;
    clock.advance(TimeDelta::minutes(30));
    problem(reset(&api, &second, NEW_PASSWORD).await, 400, "token_invalid").await;
    let third = reset_token(&api, &clock, EMAIL).await;
    clock.advance(TimeDelta::minutes(29));
    assert_eq!(reset(&api, &third, NEW_PASSWORD).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_open_accounts_get_a_link() {
    let (api, clock) = start().await;
    api.register("new@example.test").await;
    api.verified_account("suspended@example.test").await;
    api.execute("UPDATE auth.users SET status = 'suspended' WHERE email = 'suspended@example.test'").await;
    clock.advance(TimeDelta::minutes(1));
    let mut answers = Vec::new();
    for email in ["new@example.test", "suspended@example.test", "nobody@example.test"] {
        let answer = anywhere(&api, FORGOT).json(&json!({"email": email})).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        answers.push(answer.text().await.unwrap());
        assert!(mails_to(&api, email, MailTemplate::ResetPassword).await.is_empty());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    // Whoever did not prove the address gets the mail that does so, which sets a password too.
    assert_eq!(tokens_to(&api, "new@example.test", MailTemplate::VerifyEmail).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_ends_a_lock_and_keeps_the_second_factor() {
    let account = ProtectedAccount::new().await;
    let api = &account.api;
    for _ in 0..5 {
        api.login(EMAIL, "another wrong password").await;
    }
    problem(api.login(EMAIL, PASSWORD).await, 429, "too_many_attempts").await;
    let token = reset_token(api, &account.clock, EMAIL).await;
    for _ in 0..2 {
        api.login(EMAIL, "another wrong password").await;
    }
    problem(api.login(EMAIL, PASSWORD).await, 429, "too_many_attempts").await;
    assert_eq!(reset(api, &token, NEW_PASSWORD).await.status(), StatusCode::OK);
    let login = body(api.login(EMAIL, NEW_PASSWORD).await).await;
    assert_eq!(login["requires2fa"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_reset_nobody_elses_guesses_keep_the_owner_out() {
    let account = ProtectedAccount::new().await;
    let api = &account.api;
    let token = reset_token(api, &account.clock, EMAIL).await;
    // A key keeps the answer for its repetition, but not the cookie.
    let request = anywhere(api, RESET).header("idempotency-key", "8e03978e-40d5-43dd-bc93-6894a57f9324");
    let request = request.json(&json!({"token": token, "newPassword": NEW_PASSWORD}));
    let (again, answer) = (request.try_clone().unwrap(), request.send().await.unwrap());
    let cookie = device_cookie(&answer).unwrap();
    assert_eq!(device_cookie(&again.send().await.unwrap()), None);
    for _ in 0..5 {
        api.login(EMAIL, "another wrong password").await;
    }
    problem(api.login(EMAIL, NEW_PASSWORD).await, 429, "too_many_attempts").await;
    let credentials = json!({"email": EMAIL, "password": NEW_PASSWORD});
    let login =
        anywhere(api, "/v1/auth/login").header("cookie", cookie).json(&credentials).send().await.unwrap();
    assert_eq!(login.status(), StatusCode::OK);
    assert_eq!(body(login).await["requires2fa"], true, "the browser is known and not trusted");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_sessions_cannot_end_nothing_changes() {
    let (api, clock) = start().await;
    api.verified_account(EMAIL).await;
    let tokens = api.login_tokens(EMAIL).await;
    let token = reset_token(&api, &clock, EMAIL).await;
    api.sessions.set_unavailable(true);
    let refused = reset(&api, &token, NEW_PASSWORD).await;
    assert!(refused.headers().contains_key("retry-after"));
    problem(refused, 503, "unavailable").await;
    api.sessions.set_unavailable(false);
    assert_eq!(refresh(&api, &tokens).await.status(), StatusCode::OK);

    assert_eq!(reset(&api, &token, NEW_PASSWORD).await.status(), StatusCode::OK);
    assert_eq!(api.sessions.live(), 0);
    let calls = api.sessions.revocations_of_all();
    assert_eq!(calls.len(), 2, "before and after the change");
    assert!(calls.iter().all(|call| call.reason == "password_reset" && call.except.is_none()));
    assert_eq!(api.sql("SELECT count(*) FROM auth.pending_revocations").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_with_a_key_happens_once() {
    let (api, clock) = start().await;
    api.verified_account(EMAIL).await;
    let token = reset_token(&api, &clock, EMAIL).await;
    let send = async |password: &str| {
        let request = anywhere(&api, RESET).header("idempotency-key", "8e03978e-40d5-43dd-bc93-6894a57f9324");
        request.json(&json!({"token": token, "newPassword": password})).send().await.unwrap()
    };
    for _ in 0..2 {
        assert_eq!(body(send(NEW_PASSWORD).await).await, json!({"status": "password_reset"}));
    }
    problem(send("yet another good password").await, 422, "idempotency_key_reused").await;
    assert_eq!(api.facts("user.password_reset").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn reg_04_no_session_is_older_than_the_proof_of_the_address() {
    let (api, clock) = start().await;
    let handle = api.register(EMAIL).await;
    let verify = json!({"token": api.verification_token(EMAIL).await, "registrationHandle": handle});
    problem(api.login(EMAIL, PASSWORD).await, 403, "email_unverified").await;
    assert_eq!(api.sessions.live(), 0);
    assert_eq!(api.post(VERIFY_EMAIL, &verify).await.status(), StatusCode::OK);

    let (first, second) = (api.login_tokens(EMAIL).await, api.login_tokens(EMAIL).await);
    let token = reset_token(&api, &clock, EMAIL).await;
    assert_eq!(reset(&api, &token, NEW_PASSWORD).await.status(), StatusCode::OK);
    for tokens in [first, second] {
        problem(refresh(&api, &tokens).await, 401, "invalid_token").await;
        api.until_refused(tokens["accessToken"].as_str().unwrap()).await;
    }
}

/// What somebody who knows the password begins in an account: the link that moves it to their own address, an enrolment, a known browser.
async fn begin_everything(api: &TestApi) -> (String, Value) {
    let login = api.login(EMAIL, PASSWORD).await;
    assert!(device_cookie(&login).is_some());
    let access = token(&body(login).await, "accessToken");
    let change = json!({"newEmail": EVE, "password": PASSWORD});
    assert_eq!(by(api, &access, CHANGE_EMAIL, Some(&change)).await.status(), StatusCode::ACCEPTED);
    let enrolment = body(by(api, &access, ENABLE_INIT, None).await).await;
    (newest_token(api, EVE, MailTemplate::EmailChangeConfirm).await, enrolment)
}

async fn assert_nothing_is_pending(api: &TestApi, confirm: &str, enrolment: &Value, access: &str) {
    problem(follow(api, CONFIRM, confirm).await, 400, "token_invalid").await;
    let complete = json!({"challengeId": enrolment["challengeId"], "otp": "123456"});
    let complete = by(api, access, ENABLE_COMPLETE, Some(&complete)).await;
    problem(complete, 400, "enrolment_invalid").await;
    assert_eq!(api.sql("SELECT email FROM auth.users").await, EMAIL);
}

#[tokio::test(flavor = "multi_thread")]
async fn reg_05_what_an_attacker_began_ends_with_a_new_password() {
    let (api, clock) = start().await;
    api.verified_account(EMAIL).await;
    let (confirm, enrolment) = begin_everything(&api).await;
    let link = reset_token(&api, &clock, EMAIL).await;
    assert_eq!(reset(&api, &link, NEW_PASSWORD).await.status(), StatusCode::OK);
    assert_eq!(api.sql("SELECT count(*) FROM auth.known_devices").await, "1", "the resetting browser");
    let owner = body(api.login(EMAIL, NEW_PASSWORD).await).await;
    assert_nothing_is_pending(&api, &confirm, &enrolment, &token(&owner, "accessToken")).await;

    let link = reset_token(&api, &clock, EMAIL).await;
    assert_eq!(reset(&api, &link, PASSWORD).await.status(), StatusCode::OK);
    let (confirm, enrolment) = begin_everything(&api).await;
    let owner = api.login_tokens(EMAIL).await;
    let link = reset_token(&api, &clock, EMAIL).await;
    let change = json!({"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD});
    let changed = by(&api, &token(&owner, "accessToken"), CHANGE_PASSWORD, Some(&change)).await;
    assert_eq!(api.sql("SELECT count(*) FROM auth.known_devices").await, "1", "the caller's browser");
    let owner = body(changed).await;
    assert_nothing_is_pending(&api, &confirm, &enrolment, &token(&owner, "accessToken")).await;
    problem(reset(&api, &link, PASSWORD).await, 400, "token_invalid").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rst_02_a_token_is_good_for_its_purpose_and_its_account_only() {
    let (api, clock) = start().await;
    api.verified_account(EMAIL).await;
    api.verified_account(EVE).await;
    api.register("new@example.test").await;
    let access = token(&api.login_tokens(EMAIL).await, "accessToken");
    for new in ["second@example.test", "third@example.test"] {
        let change = json!({"newEmail": new, "password": PASSWORD});
        assert_eq!(by(&api, &access, CHANGE_EMAIL, Some(&change)).await.status(), StatusCode::ACCEPTED);
        let confirm = newest_token(&api, new, MailTemplate::EmailChangeConfirm).await;
        if new == "second@example.test" {
            assert_eq!(follow(&api, CONFIRM, &confirm).await.status(), StatusCode::OK);
        }
    }
    api.login_tokens("second@example.test").await;
    let eve = token(&api.login_tokens(EVE).await, "accessToken");
    let deletion = api.request(Method::DELETE, "/v1/auth/me").bearer_auth(&eve).send().await.unwrap();
    assert_eq!(deletion.status(), StatusCode::ACCEPTED);
    let reset_link = reset_token(&api, &clock, "second@example.test").await;
    let tokens = [
        (RESET, reset_link.clone()),
        (VERIFY_EMAIL, newest_token(&api, "new@example.test", MailTemplate::VerifyEmail).await),
        (SECURE, newest_token(&api, "second@example.test", MailTemplate::NewDevice).await),
        (CONFIRM, newest_token(&api, "third@example.test", MailTemplate::EmailChangeConfirm).await),
        (UNDO, newest_token(&api, EMAIL, MailTemplate::EmailChangeNotice).await),
        (RESTORE, newest_token(&api, EVE, MailTemplate::AccountDeletion).await),
    ];
    for (purpose, good) in &tokens {
        for (path, _) in tokens.iter().filter(|(path, _)| path != purpose) {
            let request = if [RESET, VERIFY_EMAIL].contains(path) {
                json!({"token": good, "newPassword": NEW_PASSWORD})
            } else {
                json!({"token": good})
            };
            let answer = anywhere(&api, path).json(&request).send().await.unwrap();
            problem(answer, 400, "token_invalid").await;
        }
    }
    // Each is still good, for its own account.
    assert_eq!(reset(&api, &reset_link, NEW_PASSWORD).await.status(), StatusCode::OK);
    assert_eq!(api.login("second@example.test", NEW_PASSWORD).await.status(), StatusCode::OK);
    for other in [EVE, "new@example.test"] {
        problem(api.login(other, NEW_PASSWORD).await, 401, "invalid_credentials").await;
    }
    assert_eq!(follow(&api, RESTORE, &tokens[5].1).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn rst_03_of_a_hundred_resets_with_one_token_one_wins() {
    let (api, clock) = start().await;
    api.verified_account(EMAIL).await;
    let old = api.login_tokens(EMAIL).await;
    let token = reset_token(&api, &clock, EMAIL).await;
    let password = |number: usize| format!("new password number {number:03}");
    let passwords: Vec<String> = (0..100).map(password).collect();
    let answers = join_all(passwords.iter().map(|password| reset(&api, &token, password))).await;
    let mut counts = BTreeMap::new();
    for answer in &answers {
        *counts.entry(answer.status().as_u16()).or_insert(0) += 1;
    }
    assert_eq!(counts[&200], 1, "{counts:?}");
    // Whoever finds no place in the queue for hashes may try again, and the token is used by then.
    assert!(counts.keys().all(|status| [200, 400, 503].contains(status)), "{counts:?}");
    let winner = answers.iter().position(|answer| answer.status() == StatusCode::OK).unwrap();
    problem(refresh(&api, &old).await, 401, "invalid_token").await;
    assert_eq!(api.login(EMAIL, &passwords[winner]).await.status(), StatusCode::OK);
    problem(api.login(EMAIL, &passwords[(winner + 1) % 100]).await, 401, "invalid_credentials").await;
    assert_eq!(mails_to(&api, EMAIL, MailTemplate::PasswordChanged).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn rst_04_an_address_gets_few_mails_and_its_account_stays_open() {
    let (api, clock) = start().await;
    api.verified_account(EMAIL).await;
    let sent = async || mails_to(&api, EMAIL, MailTemplate::ResetPassword).await.len();
    clock.advance(TimeDelta::minutes(1));
    join_all((0..100).map(|_| forgot(&api, EMAIL))).await;
    assert_eq!(sent().await, 1);
    // The mail that verified the address counts too.
    for _ in 0..10 {
        clock.advance(TimeDelta::minutes(2));
        join_all((0..5).map(|_| forgot(&api, EMAIL))).await;
        api.deferred_done().await;
    }
    assert_eq!(sent().await, 4);
    for _ in 0..12 {
        clock.advance(TimeDelta::minutes(30));
        join_all((0..5).map(|_| forgot(&api, EMAIL))).await;
        api.deferred_done().await;
    }
    assert_eq!(sent().await, 9);
    let requested = api.facts("user.password_reset_requested").await;
    assert_eq!(requested.len(), 100 + 50 + 60, "each is audited");
    assert_eq!(api.login(EMAIL, PASSWORD).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn rst_06_tokens_travel_in_fragments_and_bodies_and_are_not_logged() {
    let lines = LogLines::capture();
    let (api, clock) = start().await;
    api.verified_account(EMAIL).await;
    let token = reset_token(&api, &clock, EMAIL).await;
    let in_query = format!("{RESET}?token={token}");
    problem(api.get(&in_query).send().await.unwrap(), 405, "method_not_allowed").await;
    let answer = anywhere(&api, &in_query).json(&json!({"newPassword": NEW_PASSWORD})).send().await.unwrap();
    assert_eq!(answer.headers()["referrer-policy"], "no-referrer");
    problem(answer, 400, "invalid_request").await;
    let in_header = anywhere(&api, RESET).bearer_auth(&token).header("cookie", format!("token={token}"));
    let answer = in_header.json(&json!({"newPassword": NEW_PASSWORD})).send().await.unwrap();
    problem(answer, 400, "invalid_request").await;

    assert_eq!(reset(&api, &token, NEW_PASSWORD).await.status(), StatusCode::OK);
    let lines = lines.text();
    assert!(lines.contains(RESET), "the requests are logged");
    assert!(!lines.contains(&token), "{lines}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rst_10_there_is_no_reset_without_a_good_token() {
    let (api, clock) = start().await;
    api.verified_account(EMAIL).await;
    api.register("new@example.test").await;
    let verification = api.verification_token("new@example.test").await;
    let good = reset_token(&api, &clock, EMAIL).await;
    let good_hash = api
        .sql("SELECT encode(token_hash, 'hex') FROM auth.one_time_tokens WHERE purpose = 'reset_password'")
        .await;
    for malformed in [json!(null), json!([]), json!([good]), json!({"$ne": ""}), json!(0), json!(true)] {
        let request = json!({"token": malformed, "newPassword": NEW_PASSWORD});
        let answer = anywhere(&api, RESET).json(&request).send().await.unwrap();
        problem(answer, 400, "invalid_request").await;
    }
    let missing = anywhere(&api, RESET).json(&json!({"newPassword": NEW_PASSWORD})).send().await.unwrap();
    problem(missing, 400, "invalid_request").await;
    let longer = format!("{good}A");
    let cut = &good[..good.len() - 1];
    for wrong in
        ["", " ", "null", "undefined", "0", "%", "*", &good_hash, cut, &longer, &good[4..], &verification]
    {
        problem(reset(&api, wrong, NEW_PASSWORD).await, 400, "token_invalid").await;
    }
    assert_eq!(api.login(EMAIL, PASSWORD).await.status(), StatusCode::OK);
    assert!(api.facts("user.password_reset").await.is_empty());
    assert_eq!(reset(&api, &good, NEW_PASSWORD).await.status(), StatusCode::OK);
}
