//! Attacks on the second factor.

use std::{collections::BTreeMap, sync::Arc};

use auth_events::commands::MailTemplate;
use chrono::TimeDelta;
use clock::Clock;
use futures::future::join_all;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::{
    authenticator::{
        Authenticator, DISABLE, EMAIL, ENABLE_COMPLETE, ENABLE_INIT, ProtectedAccount, RECOVERY_CODES, STEP,
        anywhere, by, challenge, protect, start, token, verify,
    },
    harness::{Changes, Limits, PASSWORD, TestApi, body, problem},
};

const LOCK: TimeDelta = TimeDelta::minutes(15);

/// How often each status was answered.
fn count(answers: &[Response]) -> BTreeMap<u16, usize> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer.status().as_u16()).or_default() += 1;
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn mfa_01_a_code_works_once_whatever_is_forgotten() {
    let account = ProtectedAccount::new().await;
    let (first, second) = (account.challenge().await, account.challenge().await);
    let code = account.app.code();
    assert_eq!(account.verify(&first, &code).await.status(), StatusCode::OK);
    account.clock.advance(TimeDelta::seconds(1));
    problem(account.verify(&first, &code).await, 400, "challenge_invalid").await;
    let refused = problem(account.verify(&second, &code).await, 400, "otp_invalid").await;
    assert_eq!(refused["detail"], "Invalid security code.");
    problem(account.verify(&second, &account.app.code_in(-1)).await, 400, "otp_invalid").await;

    // A new process on the same database whose part of Redis is empty, as after FLUSHALL, which would disturb other tests: nothing but
    // PostgreSQL remembers.
    let restarted = TestApi::start_with(Changes {
        clock: Some(Arc::clone(&account.clock) as Arc<dyn Clock>),
        database_url: Some(account.api.database.app_url()),
        limits: Limits::InRedis,
        ..Changes::default()
    })
    .await;
    let third = challenge(&restarted).await;
    problem(verify(&restarted, &third, &code).await, 400, "otp_invalid").await;
    account.clock.advance(STEP);
    assert_eq!(verify(&restarted, &third, &account.app.code()).await.status(), StatusCode::OK);
    let outcomes: Vec<_> = account.api.facts("mfa.totp_verify").await;
    let reasons: Vec<&str> =
        outcomes.iter().map(|fact| fact["data"]["reason"].as_str().unwrap_or("good")).collect();
    assert_eq!(reasons, ["good", "replayed", "replayed", "replayed", "good"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn mfa_03_guesses_are_counted_by_user_whatever_they_are_made_with() {
    let account = ProtectedAccount::new().await;
    let first = account.challenge().await;
    for _ in 0..5 {
        problem(account.verify(&first, &account.app.wrong_code()).await, 400, "otp_invalid").await;
    }
    problem(account.verify(&first, &account.app.code()).await, 400, "challenge_invalid").await;

    // Neither a new password login nor another kind of code, nor a session, is a way around.
    let second = account.challenge().await;
    let locked = account.verify(&second, &account.app.code()).await;
    assert_eq!(locked.headers()["retry-after"], "900");
    problem(locked, 423, "second_factor_locked").await;
    problem(account.recover(&second, &account.recovery_codes[0]).await, 423, "second_factor_locked").await;
    let by_password =
        json!({"email": EMAIL, "password": PASSWORD, "recoveryCode": account.recovery_codes[0]});
    let by_password =
        anywhere(&account.api, "/v1/auth/recovery-login").json(&by_password).send().await.unwrap();
    problem(by_password, 423, "second_factor_locked").await;
    let step_up = json!({"password": PASSWORD, "otp": account.app.code()});
    let step_up = by(&account.api, &account.access_token, DISABLE, Some(&step_up)).await;
    problem(step_up, 423, "second_factor_locked").await;
    let facts = account.api.facts("security.account_locked").await;
    assert_eq!((facts.len(), &facts[0]["data"]["detail"]["factor"]), (1, &json!("second_factor")));
    assert_eq!(facts[0]["data"]["detail"]["until"], "2030-01-01T00:15:30Z");
    assert!(account.api.metric("totp_failure_total") >= 5.0);
    assert!((account.api.metric("account_lockouts_total") - 1.0).abs() < 0.5);

    account.clock.advance(LOCK);
    let code = account.app.code();
    assert_eq!(account.verify(&account.challenge().await, &code).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn mfa_03_after_a_hundred_wrong_codes_only_a_recovery_code_is_good() {
    let account = ProtectedAccount::new().await;
    let mut judged = 0;
    let mut waited = TimeDelta::zero();
    while judged < 100 {
        let answer = account.verify(&account.challenge().await, &account.app.wrong_code()).await;
        match answer.status().as_u16() {
            400 => judged += 1,
            423 => {
                account.clock.advance(TimeDelta::minutes(5));
                waited += TimeDelta::minutes(5);
            }
            status => panic!("{status}"),
        }
    }
    assert!(waited >= LOCK * 95, "a hundred guesses took {waited}");
    account.clock.advance(LOCK);
    let request = json!({"email": EMAIL, "password": PASSWORD});
    let login = anywhere(&account.api, "/v1/auth/login").json(&request).send().await.unwrap();
    let login = body(login).await;
    assert_eq!(login["methods"], json!(["recovery_code"]));
    let challenge = token(&login, "challengeId");
    problem(account.verify(&challenge, &account.app.code()).await, 400, "otp_invalid").await;
    account.clock.advance(LOCK);
    let challenge = account.challenge().await;
    let recovered = account.recover(&challenge, &account.recovery_codes[0]).await;
    assert_eq!(recovered.status(), StatusCode::OK);
    account.log_in().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mfa_04_of_a_hundred_posts_of_the_right_code_one_succeeds() {
    let account = ProtectedAccount::new().await;
    let live = account.api.sessions.live();
    let challenge = account.challenge().await;
    let code = account.app.code();
    let answers = join_all((0..100).map(|_| account.verify(&challenge, &code))).await;
    assert_eq!(count(&answers), BTreeMap::from([(200, 1), (400, 99)]));
    assert_eq!(account.api.sessions.live(), live + 1);

    account.clock.advance(STEP);
    let code = account.app.code();
    let challenges = account.challenges(10).await;
    let answers = join_all(challenges.iter().map(|challenge| account.verify(challenge, &code))).await;
    let counts = count(&answers);
    assert_eq!(counts[&200], 1, "{counts:?}");
    assert_eq!(counts.keys().copied().collect::<Vec<_>>(), [200, 400, 423]);
    assert_eq!(account.api.sessions.live(), live + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn mfa_05_a_recovery_code_is_spent_once() {
    let account = ProtectedAccount::new().await;
    let live = account.api.sessions.live();
    for (round, code) in account.recovery_codes.iter().take(3).enumerate() {
        let challenges = account.challenges(20).await;
        let posts = (0..100).map(|index| account.recover(&challenges[index % 20], code));
        let mut answers = join_all(posts).await;
        let counts = count(&answers);
        assert_eq!(counts[&200], 1, "{counts:?}");
        assert!(counts.keys().all(|status| [200, 400, 423].contains(status)), "{counts:?}");
        let winner = answers.iter().position(|answer| answer.status() == StatusCode::OK).unwrap();
        let remaining = 9 - round;
        assert_eq!(body(answers.swap_remove(winner)).await["recoveryCodesRemaining"], remaining);
        let used =
            account.api.sql("SELECT count(*) FROM auth.recovery_codes WHERE used_at IS NOT NULL").await;
        assert_eq!(used, (round + 1).to_string());
        let mails = account.api.mails().await;
        let told = mails.iter().filter(|(mail, _)| mail.template == MailTemplate::RecoveryCodeUsed).count();
        assert_eq!(told, round + 1);
        assert_eq!(account.api.sessions.live(), live + round + 1);
        account.clock.advance(TimeDelta::hours(2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mfa_08_a_challenge_is_no_session() {
    let account = ProtectedAccount::new().await;
    let live = account.api.sessions.live();
    let request = json!({"email": EMAIL, "password": PASSWORD, "rememberMe": true});
    let login = anywhere(&account.api, "/v1/auth/login")
        .header("x-token-transport", "cookie")
        .header("origin", "https://app.example.test")
        .json(&request)
        .send()
        .await
        .unwrap();
    assert!(!login.headers().contains_key("set-cookie"));
    let login = body(login).await;
    let fields: Vec<&String> = login.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["challengeId", "methods", "requires2fa"]);
    assert_eq!(login["methods"], json!(["otp", "recovery_code"]));
    let challenge = token(&login, "challengeId");

    let code = json!({"challengeId": "fae_x", "otp": account.app.code()});
    for path in [ENABLE_INIT, DISABLE, RECOVERY_CODES] {
        problem(by(&account.api, &challenge, path, None).await, 401, "invalid_token").await;
    }
    problem(by(&account.api, &challenge, ENABLE_COMPLETE, Some(&code)).await, 401, "invalid_token").await;
    for path in ["/v1/auth/me", "/v1/auth/2fa"] {
        let answer = account.api.get(path).bearer_auth(&challenge).send().await.unwrap();
        problem(answer, 401, "invalid_token").await;
    }
    let refresh = json!({"refreshToken": challenge});
    problem(account.api.post("/v1/auth/refresh", &refresh).await, 401, "invalid_token").await;
    assert_eq!(account.api.sessions.live(), live, "nothing exists before the second factor");

    // What stands for the second factor changes: the password was checked against another account, so to speak.
    let proof = json!({"password": PASSWORD, "otp": account.app.code()});
    let disabled = by(&account.api, &account.access_token, DISABLE, Some(&proof)).await;
    assert_eq!(disabled.status(), StatusCode::OK);
    problem(account.verify(&challenge, &account.app.code_in(1)).await, 400, "challenge_invalid").await;
    problem(account.recover(&challenge, &account.recovery_codes[0]).await, 400, "challenge_invalid").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mfa_08_a_challenge_ends_with_the_credentials_it_was_given_for_and_with_time() {
    let account = ProtectedAccount::new().await;
    for change in [
        "UPDATE auth.users SET credential_epoch = credential_epoch + 1",
        "UPDATE auth.users SET password_off_since = now(), password_off_reason = 'test'",
        "UPDATE auth.users SET status = 'suspended'",
    ] {
        let challenge = account.challenge().await;
        account.api.execute(change).await;
        problem(account.verify(&challenge, &account.app.code()).await, 400, "challenge_invalid").await;
        let back =
            "UPDATE auth.users SET status = 'active', password_off_since = NULL, password_off_reason = NULL";
        account.api.execute(back).await;
    }
    let challenge = account.challenge().await;
    account.clock.advance(TimeDelta::minutes(5));
    problem(account.verify(&challenge, &account.app.code()).await, 400, "challenge_invalid").await;
    for nonsense in ["", "fac_", "null", &account.access_token] {
        problem(account.verify(nonsense, &account.app.code()).await, 400, "challenge_invalid").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mfa_09_a_stolen_session_cannot_take_the_second_factor_away() {
    let account = ProtectedAccount::new().await;
    let other = account.log_in().await;
    let good = account.app.code();
    for path in [DISABLE, RECOVERY_CODES] {
        let attempt = async |proof: Value| by(&account.api, &other, path, Some(&proof)).await;
        problem(by(&account.api, &other, path, None).await, 401, "reauth_required").await;
        problem(attempt(json!({})).await, 401, "reauth_required").await;
        problem(attempt(json!({"otp": good})).await, 401, "reauth_required").await;
        problem(attempt(json!({"password": PASSWORD})).await, 401, "otp_required").await;
        let wrong = json!({"password": "not the right password", "otp": good});
        problem(attempt(wrong).await, 401, "invalid_credentials").await;
        let wrong = json!({"password": PASSWORD, "otp": account.app.wrong_code()});
        problem(attempt(wrong).await, 400, "otp_invalid").await;
    }
    // Nor replace it.
    problem(by(&account.api, &other, ENABLE_INIT, None).await, 409, "totp_already_enabled").await;
    account.clock.advance(TimeDelta::minutes(5) + STEP);
    let (own, other) =
        (account.api.sessions.renewed(&account.access_token), account.api.sessions.renewed(&other));
    problem(by(&account.api, &other, ENABLE_INIT, None).await, 401, "reauth_required").await;

    let live = account.api.sessions.live();
    assert_eq!(live, 2);
    let proof = json!({"password": PASSWORD, "otp": account.app.code()});
    let disabled = by(&account.api, &own, DISABLE, Some(&proof)).await;
    assert_eq!(disabled.status(), StatusCode::OK);
    assert_eq!(account.api.sessions.live(), 1);
    let me = account.api.get("/v1/auth/me");
    assert_eq!(me.bearer_auth(&own).send().await.unwrap().status(), StatusCode::OK);
    problem(by(&account.api, &other, DISABLE, None).await, 401, "invalid_token").await;
    assert!(account.api.mail_to(EMAIL, MailTemplate::TotpDisabled).await.is_some());
    assert_eq!(account.api.facts("mfa.totp_disabled").await.len(), 1);
    let login = body(account.api.login(EMAIL, PASSWORD).await).await;
    assert_eq!(login["requires2fa"], false);
    assert_eq!(account.api.sql("SELECT count(*) FROM auth.recovery_codes").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn mfa_11_only_the_newest_secret_counts_and_it_is_ours() {
    let (api, clock) = start().await;
    api.verified_account(EMAIL).await;
    let access = token(&api.login_tokens(EMAIL).await, "accessToken");
    let begin = async || body(by(&api, &access, ENABLE_INIT, None).await).await;
    let complete = async |challenge: &Value, otp: &str| {
        let request = json!({"challengeId": challenge, "otp": otp});
        by(&api, &api.sessions.renewed(&access), ENABLE_COMPLETE, Some(&request)).await
    };
    let own = json!({"challengeId": "fae_x", "otp": "000000", "secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"});
    problem(by(&api, &access, ENABLE_COMPLETE, Some(&own)).await, 400, "invalid_request").await;
    let own = json!({"secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"});
    problem(by(&api, &access, ENABLE_INIT, Some(&own)).await, 400, "invalid_request").await;

    let (first, second) = (begin().await, begin().await);
    let app = |enrolment: &Value| Authenticator::new(enrolment["secret"].as_str().unwrap(), &clock);
    let (first_app, second_app) = (app(&first), app(&second));
    problem(complete(&first["challengeId"], &first_app.code()).await, 400, "enrolment_invalid").await;
    problem(complete(&first["challengeId"], &second_app.code()).await, 400, "enrolment_invalid").await;
    problem(complete(&second["challengeId"], &first_app.code()).await, 400, "otp_invalid").await;

    // Another user's enrolment is none.
    api.verified_account("eve@example.test").await;
    let eve = token(&api.login_tokens("eve@example.test").await, "accessToken");
    let request = json!({"challengeId": second["challengeId"], "otp": second_app.code()});
    problem(by(&api, &eve, ENABLE_COMPLETE, Some(&request)).await, 400, "enrolment_invalid").await;

    clock.advance(TimeDelta::minutes(10));
    problem(complete(&second["challengeId"], &second_app.code()).await, 400, "enrolment_invalid").await;
    let later = api.sessions.renewed(&access);
    problem(by(&api, &later, ENABLE_INIT, None).await, 401, "reauth_required").await;
    let proof = json!({"password": PASSWORD});
    let third = body(by(&api, &later, ENABLE_INIT, Some(&proof)).await).await;
    let code = app(&third).code();
    let answers = join_all((0..10).map(|_| complete(&third["challengeId"], &code))).await;
    assert_eq!(count(&answers), BTreeMap::from([(200, 1), (400, 9)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn mfa_12_the_secret_is_told_once_and_is_worth_nothing_to_another_user() {
    let account = ProtectedAccount::new().await;
    let api = &account.api;
    let (_, _, eve) = protect(api, &account.clock, "eve@example.test").await;
    let status = api.get("/v1/auth/2fa").bearer_auth(&account.access_token).send().await.unwrap();
    let status = body(status).await;
    let fields: Vec<&String> = status.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["enabled", "enabledAt", "recoveryCodesRemaining"]);
    problem(by(api, &account.access_token, ENABLE_INIT, None).await, 409, "totp_already_enabled").await;
    assert_eq!(api.sql("SELECT count(*) FROM auth.totp_enrolments").await, "0");

    // Eve, who can write to the database, gives Ada her own secret.
    api.execute(
        "UPDATE auth.totp_factors AS mine SET secret = other.secret FROM auth.totp_factors AS other \
         WHERE mine.user_id <> other.user_id",
    )
    .await;
    let live = api.sessions.live();
    let challenge = account.challenge().await;
    problem(account.verify(&challenge, &account.app.code()).await, 503, "unavailable").await;
    let proof = json!({"password": PASSWORD, "otp": account.app.code()});
    problem(by(api, &eve, DISABLE, Some(&proof)).await, 503, "unavailable").await;
    assert_eq!(api.sessions.live(), live);
    assert_eq!(
        api.sql("SELECT coalesce(sum(consecutive), 0) FROM auth.attempts WHERE scope = 'second_factor'")
            .await,
        "0"
    );
    let recovered = account.recover(&challenge, &account.recovery_codes[0]).await;
    assert_eq!(recovered.status(), StatusCode::OK);
}
