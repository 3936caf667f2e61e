use std::{collections::BTreeSet, sync::Arc};

use auth_api::app::maintenance::maintain_once;
use auth_events::commands::{Lane, Locale, MailParameters, MailTemplate};
use chrono::TimeDelta;
use clock::{Clock, ManualClock, SystemClock};
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

    api.deferred_done().await;
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

/// Bytes but for ids, headers but for dates: the same for an address without, with an unverified and with a verified account.
#[tokio::test(flavor = "multi_thread")]
async fn reg_01_the_answer_says_nothing_about_the_account() {
    let api = TestApi::start().await;
    api.verified_account("known@example.test").await;
    let mut answers = Vec::new();
    for email in ["new@example.test", "new@example.test", "known@example.test", "KNOWN@example.test"] {
        let request = json!({"email": email, "password": "another good password"});
        answers.push(comparable(api.post("/v1/auth/register", &request).await).await);
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    api.deferred_done().await;
    assert_eq!(notices(&api).await, 0, "the verification mail was a moment ago");
    allow_mails(&api).await;
    for _ in 0..3 {
        api.register("known@example.test").await;
        api.deferred_done().await;
        allow_mails(&api).await;
    }
    assert_eq!(notices(&api).await, 1, "at most one notice a day");
    assert_eq!(api.facts("user.register_attempt_existing").await.len(), 5);
    assert_eq!(api.login("known@example.test", PASSWORD).await.status(), StatusCode::OK);
    api.execute(
        "UPDATE auth.users SET registration_notice_at = registration_notice_at - interval '25 hours'",
    )
    .await;
    api.register("known@example.test").await;
    api.deferred_done().await;
    assert_eq!(notices(&api).await, 2);
}

async fn notices(api: &TestApi) -> usize {
    let mails = api.mails().await;
    mails.iter().filter(|(mail, _)| mail.template == MailTemplate::AlreadyRegistered).count()
}

/// As if the last mails to every address were long ago.
async fn allow_mails(api: &TestApi) {
    api.execute("DELETE FROM auth.mail_allowances").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reg_06_spellings_of_one_mailbox_are_one_account_or_refused() {
    let api = TestApi::start().await;
    api.verified_account("victim@example.test").await;
    let mut tried = 0;
    let domains = ["example.test", "EXAMPLE.test", "Example.Test", "example.test.", "ex\u{E4}mple.test"];
    let locals = [
        "victim",
        "Victim",
        "VICTIM",
        "v\u{131}ctim",
        "v\u{130}ctim",
        "vict\u{2170}m",
        "victi\u{FF4D}",
        "victim\u{200D}",
        "victim\u{301}",
        "\u{1D42F}ictim",
        " victim",
        "victim ",
        "\"victim\"",
        "victim.",
    ];
    for (local, domain) in locals.iter().flat_map(|local| domains.iter().map(move |domain| (local, domain))) {
        let request = json!({"email": format!("{local}@{domain}"), "password": PASSWORD});
        let status = api.post("/v1/auth/register", &request).await.status();
        assert!([202, 400].contains(&status.as_u16()), "{request}: {status}");
        tried += 1;
    }
    assert!(tried >= 60);
    api.deferred_done().await;
    let accounts = api.sql("SELECT string_agg(email, ' ' ORDER BY email) FROM auth.users").await;
    assert_eq!(accounts, "victim@example.test victim@xn--exmple-cua.test");
    let stored = ["victim@example.test", "victim@xn--exmple-cua.test"];
    assert!(api.mails().await.iter().all(|(mail, _)| stored.contains(&mail.to.as_str())));
}

#[tokio::test(flavor = "multi_thread")]
async fn reg_08_parallel_registrations_of_one_address_make_one_account() {
    let api = TestApi::start().await;
    let spellings = ["ada@example.test", "Ada@example.test", "ADA@EXAMPLE.TEST"];
    let requests = (0..100).map(|index| {
        let body = json!({"email": spellings[index % 3], "password": PASSWORD});
        let api = &api;
        async move { api.post("/v1/auth/register", &body).await.status() }
    });
    let statuses = futures::future::join_all(requests).await;
    let taken = statuses.iter().filter(|status| **status == StatusCode::ACCEPTED).count();
    // The queue before the hashing is bounded: who comes when it is full is told to come again.
    assert!(statuses.iter().all(|status| [202, 503].contains(&status.as_u16())), "{statuses:?}");
    assert!(taken > 0);
    api.deferred_done().await;
    assert_eq!(api.sql("SELECT count(*) FROM auth.users").await, "1");
    assert_eq!(api.sql("SELECT count(*) FROM auth.one_time_tokens WHERE consumed_at IS NULL").await, "1");
    assert_eq!(api.facts("user.registered").await.len(), taken);
    assert_eq!(api.mails().await.len(), 1, "one mail a minute");
}

#[tokio::test(flavor = "multi_thread")]
async fn reg_13_an_address_gets_few_mails_however_often_they_are_asked_for() {
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let api = TestApi::start_with(Changes { clock: Some(clock.clone()), ..Changes::default() }).await;
    let mut sent = Vec::new();
    for minute in 0..30 {
        api.register("victim@example.test").await;
        for path in ["/v1/auth/resend-verification", "/v1/auth/forgot-password"] {
            let answer = api.post(path, &json!({"email": "victim@example.test"})).await;
            assert_eq!(answer.status(), StatusCode::ACCEPTED, "{path} in minute {minute}");
        }
        api.deferred_done().await;
        sent.push(api.mails().await.len());
        clock.advance(TimeDelta::minutes(10));
    }
    assert_eq!(&sent[..6], &[1, 2, 3, 4, 5, 5], "five an hour: {sent:?}");
    assert_eq!(sent.last(), Some(&10), "ten a day: {sent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reg_14_where_registration_is_closed_no_path_makes_an_account() {
    let api = TestApi::start_with(Changes { registration_closed: true, ..Changes::default() }).await;
    let request = json!({"email": "ada@example.test", "password": PASSWORD});
    problem(api.post("/v1/auth/register", &request).await, 403, "registration_disabled").await;
    for path in ["/v1/auth/resend-verification", "/v1/auth/forgot-password"] {
        let answer = api.post(path, &json!({"email": "ada@example.test"})).await;
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
    }
    problem(api.login("ada@example.test", PASSWORD).await, 401, "invalid_credentials").await;
    api.deferred_done().await;
    assert_eq!(api.sql("SELECT count(*) FROM auth.users").await, "0");
    assert!(api.metric("password_hash_seconds") < 1.5, "only the login hashed");
    let config = body(api.get("/v1/auth/config").send().await.unwrap()).await;
    assert_eq!(config["features"]["registration"], false);
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
    api.deferred_done().await;
    api.execute(
        "UPDATE auth.users SET updated_at = updated_at - interval '25 hours' WHERE email NOT LIKE 'new@%'",
    )
    .await;
    maintain_once(&api.state).await.unwrap();
    let kept = api.sql("SELECT count(*) FROM auth.users").await;
    assert_eq!(kept, "3", "a link that was sent again works as long as it says");
    api.execute("UPDATE auth.one_time_tokens SET expires_at = expires_at - interval '25 hours'").await;
    maintain_once(&api.state).await.unwrap();
    let left = api.sql("SELECT string_agg(email, ' ' ORDER BY email) FROM auth.users").await;
    assert_eq!(left, "new@example.test verified@example.test");
}
