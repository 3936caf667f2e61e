use std::{collections::BTreeSet, sync::Arc, time::Duration};

use auth_api::{app::forget_unverified::forget_unverified, config::CaptchaConfig};
use auth_events::commands::{Lane, Locale, MailParameters, MailTemplate};
use clock::{SharedClock, SystemClock};
use dev_stack::turnstile::FakeTurnstile;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Changes, PASSWORD, TestApi, body, problem};

/// An answer without what differs from request to request.
async fn comparable(response: Response) -> (StatusCode, BTreeSet<String>, Value) {
    let names = response.headers().keys().map(ToString::to_string).collect();
    let status = response.status();
    let mut answer = body(response).await;
    answer["registrationHandle"] = Value::Null;
    (status, names, answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_leaves_an_account_a_sealed_mail_and_a_fact() {
    let api = TestApi::start().await;
    let request =
        api.request(reqwest::Method::POST, "/v1/auth/register").header("user-agent", "test browser");
    let request = request.header("accept-language", "de").header("x-forwarded-for", "203.0.113.9");
    let answer = request
        .json(&json!({"email": "Ada@Example.test", "password": PASSWORD, "displayName": "Ada"}))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);

    let (mail, parameters) = api.mails().await.remove(0);
    assert_eq!(
        (mail.to.as_str(), mail.template, mail.lane),
        ("ada@example.test", MailTemplate::VerifyEmail, Lane::Security)
    );
    assert_eq!(mail.locale, Locale::De);
    let MailParameters::VerifyEmail { display_name, link, expires_in_hours } = parameters else { panic!() };
    assert_eq!((display_name.as_deref(), expires_in_hours), (Some("Ada"), 24));
    let token = link.split_once("#token=").unwrap().1;
    let stored = api.sql("SELECT string_agg(payload, '') FROM auth.outbox").await;
    assert!(!stored.contains(token) && !stored.contains(PASSWORD));

    let fact = api.facts("user.registered").await.remove(0);
    assert_eq!(fact["data"]["client"]["ip"], "203.0.113.9");
    assert_eq!(fact["data"]["client"]["userAgent"], "test browser");
    assert_eq!(fact["data"]["detail"]["locale"], "de");
    assert_eq!(fact["subject"], api.sql("SELECT id FROM auth.users").await);
    assert_eq!(api.sql("SELECT email || ' ' || status FROM auth.users").await, "ada@example.test unverified");
    assert!(!format!("{fact}").contains("ada@example.test"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_says_nothing_about_the_account() {
    let api = TestApi::start().await;
    api.verified_account("known@example.test").await;
    let mut answers = Vec::new();
    for email in ["new@example.test", "new@example.test", "known@example.test", "KNOWN@example.test"] {
        let request = json!({"email": email, "password": "another good password"});
        answers.push(comparable(api.post("/v1/auth/register", &request).await).await);
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");

    let told: Vec<_> =
        api.mails().await.iter().map(|(mail, _)| (mail.template.name(), mail.to.clone())).collect();
    let notices = told.iter().filter(|(name, _)| *name == "already_registered").count();
    assert_eq!(notices, 1, "at most one notice a day: {told:?}");
    assert_eq!(api.facts("user.register_attempt_existing").await.len(), 2);
    assert_eq!(api.login("known@example.test", PASSWORD).await.status(), StatusCode::OK);
    api.execute(
        "UPDATE auth.users SET registration_notice_at = registration_notice_at - interval '25 hours'",
    )
    .await;
    api.register("known@example.test").await;
    assert_eq!(
        api.mails().await.iter().filter(|(mail, _)| mail.template == MailTemplate::AlreadyRegistered).count(),
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_registrations_of_one_address_make_one_account() {
    let api = TestApi::start().await;
    let spellings = ["ada@example.test", "Ada@example.test", "ADA@EXAMPLE.TEST"];
    let requests = (0..24).map(|index| {
        let body = json!({"email": spellings[index % 3], "password": PASSWORD});
        let api = &api;
        async move { api.post("/v1/auth/register", &body).await.status() }
    });
    let statuses = futures::future::join_all(requests).await;
    let taken = statuses.iter().filter(|status| **status == StatusCode::ACCEPTED).count();
    assert!(statuses.iter().all(|status| [202, 503].contains(&status.as_u16())), "{statuses:?}");
    assert!(taken > 0);
    assert_eq!(api.sql("SELECT count(*) FROM auth.users").await, "1");
    assert_eq!(api.sql("SELECT count(*) FROM auth.one_time_tokens WHERE consumed_at IS NULL").await, "1");
    assert_eq!(api.facts("user.registered").await.len(), taken);
    assert_eq!(api.mails().await.len(), taken);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_breaks_a_rule_is_explained_before_anything_is_hashed() {
    let api = TestApi::start().await;
    for (password, code) in [
        ("fourteen chars".to_owned(), "password_too_short"),
        ("x".repeat(257), "password_too_long"),
        ("nul \0 in a long password".to_owned(), "password_invalid"),
        ("ada@example.test".to_owned(), "password_context"),
    ] {
        let request = json!({"email": "ada@example.test", "password": password});
        let problem = problem(api.post("/v1/auth/register", &request).await, 422, code).await;
        assert_eq!(problem["errors"][0]["field"], "password");
        assert_eq!(problem["errors"][0]["code"], code);
        if code == "password_too_short" {
            assert_eq!(problem["errors"][0]["minimum"], 15);
        }
        assert!(!problem.to_string().contains(&password));
    }
    assert!(api.metric("password_hash_seconds") < 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_that_nobody_verified_is_forgotten_after_a_day() {
    let api = TestApi::start().await;
    api.verified_account("verified@example.test").await;
    api.register("old@example.test").await;
    api.register("new@example.test").await;
    api.execute(
        "UPDATE auth.users SET updated_at = updated_at - interval '25 hours' WHERE email NOT LIKE 'new@%'",
    )
    .await;
    let clock: SharedClock = Arc::new(SystemClock);
    assert_eq!(forget_unverified(&api.database.database("test"), &clock).await.unwrap(), 1);
    let left = api.sql("SELECT string_agg(email, ' ' ORDER BY email) FROM auth.users").await;
    assert_eq!(left, "new@example.test verified@example.test");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_captcha_decides() {
    let turnstile = FakeTurnstile::start("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let with_secret = |secret: &str| Changes {
        captcha: Some(CaptchaConfig::Turnstile {
            verify_url: turnstile.url(),
            secret: secret.to_owned().into(),
            site_key: "1x00000000000000000000AA".to_owned(),
        }),
        ..Changes::default()
    };
    let request =
        |token: Value| json!({"email": "ada@example.test", "password": PASSWORD, "captchaToken": token});

    let passing = TestApi::start_with(with_secret("1x0000000000000000000000000000000AA")).await;
    let accepted = passing.post("/v1/auth/register", &request("DUMMY_TOKEN_FOR_TEST".into())).await;
    assert_eq!(accepted.status(), StatusCode::ACCEPTED);
    let asked = turnstile.verifications();
    for token in [Value::Null, "".into()] {
        let refused =
            problem(passing.post("/v1/auth/register", &request(token)).await, 400, "captcha_required").await;
        assert_eq!(refused["detail"], "Captcha required.");
        assert_eq!(refused["captchaRequired"], true);
    }
    let long = "x".repeat(2049);
    problem(passing.post("/v1/auth/register", &request(long.into())).await, 400, "captcha_invalid").await;
    assert_eq!(turnstile.verifications(), asked, "local refusals ask nobody");

    let failing = TestApi::start_with(with_secret("2x0000000000000000000000000000000AA")).await;
    problem(failing.post("/v1/auth/register", &request("token".into())).await, 400, "captcha_invalid").await;
    assert_eq!(failing.facts("auth.captcha").await.len(), 1);
    assert_eq!(failing.sql("SELECT count(*) FROM auth.users").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_captcha_provider_nobody_registers_and_the_answer_comes_soon() {
    let captcha = CaptchaConfig::Turnstile {
        verify_url: "http://127.0.0.1:1/siteverify".parse().unwrap(),
        secret: "secret".to_owned().into(),
        site_key: "site".to_owned(),
    };
    let api = TestApi::start_with(Changes { captcha: Some(captcha), ..Changes::default() }).await;
    let started = std::time::Instant::now();
    let request = json!({"email": "ada@example.test", "password": PASSWORD, "captchaToken": "token"});
    let answer = api.post("/v1/auth/register", &request).await;
    assert_eq!(answer.headers()["retry-after"], "2");
    problem(answer, 503, "captcha_unavailable").await;
    assert!(started.elapsed() < Duration::from_secs(3));
}
