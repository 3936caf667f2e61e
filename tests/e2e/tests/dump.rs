//! Whoever steals the databases and the queues finds nothing that opens anything.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{collections::BTreeSet, fmt::Write as _, time::Duration};

use e2e::{
    Stack,
    journey::{self, PASSWORD, text},
};
use futures::StreamExt;
use regex::Regex;
use reqwest::{Method, Response, StatusCode, header};
use rustix::process::Signal;
use serde_json::{Value, json};
use test_support::eventually;

const EMAIL: &str = "ada@example.com";
/// Messages that the stopped mailer has fetched already are in no queue that can be read.
const MAILS_FOR_THE_QUEUE: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_of_everything_holds_no_credential() {
    let stack = Stack::start(&[("RATE_LIMITS", "off".to_owned()), ("CAPTCHA", "off".to_owned())]).await;
    let secrets = Box::pin(every_secret_of_a_user(&stack)).await;
    stop_the_mailer_and_ask_for_mails(&stack).await;
    let dump = Box::pin(dump(&stack)).await;
    assert!(dump.len() > 50_000, "{} characters", dump.len());
    for (what, secret) in &secrets {
        assert!(!dump.contains(secret.as_str()), "{what} is in the dump");
        assert!(!dump.contains(&hex::encode(secret)), "{what} is in the dump, in hexadecimal");
        // Tokens carry a prefix that says what they are; without it they are as secret.
        let bare = secret.split_once('_').map_or(secret.as_str(), |(_, bare)| bare);
        assert!(!dump.contains(bare), "{what} is in the dump without its prefix");
    }
    let tried = nothing_in_it_is_accepted(&stack, &dump).await;
    println!("{} secrets looked for, {tried} strings of the dump tried", secrets.len());
    let refreshed = refresh(&stack, find(&secrets, "refresh token")).await;
    assert_eq!(refreshed.status(), StatusCode::OK, "the secrets that were looked for are live");
}

fn find<'a>(secrets: &'a [(&'static str, String)], what: &str) -> &'a str {
    &secrets.iter().find(|(name, _)| *name == what).unwrap().1
}

/// One of each kind, and live as far as that is possible at the same time.
async fn every_secret_of_a_user(stack: &Stack) -> Vec<(&'static str, String)> {
    let mut secrets = vec![("password", PASSWORD.to_owned())];
    let handle = journey::register(stack, EMAIL).await;
    journey::verify(stack, EMAIL, &handle).await;
    secrets.push(("registration handle", handle));
    let first = login(stack).await;
    let device = cookie(&first, "__Host-device");
    let first: Value = first.json().await.unwrap();
    let access = text(&first, "accessToken").to_owned();

    let enrolment = answer(authorized(stack, "/v1/auth/2fa/enable-init", &access, &json!({})).await).await;
    let totp_secret = text(&enrolment, "secret").to_owned();
    let otp = current_code(&totp_secret);
    let complete = json!({"challengeId": text(&enrolment, "challengeId"), "otp": otp});
    let enabled = answer(authorized(stack, "/v1/auth/2fa/enable-complete", &access, &complete).await).await;
    for code in enabled.get("recoveryCodes").and_then(Value::as_array).unwrap() {
        secrets.push(("recovery code", code.as_str().unwrap().to_owned()));
    }
    let challenge: Value = login(stack).await.json().await.unwrap();
    let used = json!({
        "challengeId": text(&challenge, "challengeId"),
        "recoveryCode": find(&secrets, "recovery code"),
    });
    let logged_in = answer(stack.post("/v1/auth/recovery-login", &used).await).await;
    let live: Value = login(stack).await.json().await.unwrap();

    // As if the last mail that anybody can ask for were more than a minute ago.
    stack.sql("DELETE FROM auth.mail_allowances").await;
    stack.post("/v1/auth/forgot-password", &json!({"email": EMAIL})).await;
    secrets.extend([
        ("device cookie", device),
        ("access token", text(&logged_in, "accessToken").to_owned()),
        ("refresh token", text(&logged_in, "refreshToken").to_owned()),
        ("secret of the authenticator app", totp_secret),
        ("login challenge", text(&live, "challengeId").to_owned()),
        ("reset link", mailed_token(stack, "/reset-password").await),
        ("secure-account link", mailed_token(stack, "/secure-account").await),
    ]);

    // Another user, whose account is about to be deleted, and one who changes their address.
    let bob = journey::logged_in(stack, "bob@example.com").await;
    let request = stack.api(Method::DELETE, "/v1/auth/me").bearer_auth(text(&bob, "accessToken"));
    assert_eq!(request.send().await.unwrap().status(), StatusCode::ACCEPTED);
    secrets.push(("restore link", token_to(stack, "bob@example.com", "/restore-account").await));
    let eve = journey::logged_in(stack, "eve@example.com").await;
    let change = json!({"newEmail": "eve@example.net", "password": PASSWORD});
    let changed = authorized(stack, "/v1/auth/change-email", text(&eve, "accessToken"), &change).await;
    assert_eq!(changed.status(), StatusCode::ACCEPTED);
    secrets.push(("confirmation link", token_to(stack, "eve@example.net", "/change-email/confirm").await));
    journey::register(stack, "unverified@example.com").await;
    secrets.push(("verification link", token_to(stack, "unverified@example.com", "/verify-email").await));
    secrets
}

async fn login(stack: &Stack) -> Response {
    let answer = stack.post("/v1/auth/login", &json!({"email": EMAIL, "password": PASSWORD})).await;
    assert_eq!(answer.status(), StatusCode::OK);
    answer
}

async fn refresh(stack: &Stack, token: &str) -> Response {
    stack.post("/v1/auth/refresh", &json!({"refreshToken": token})).await
}

async fn authorized(stack: &Stack, path: &str, token: &str, body: &Value) -> Response {
    stack.api(Method::POST, path).bearer_auth(token).json(body).send().await.unwrap()
}

async fn answer(response: Response) -> Value {
    let (status, text) = (response.status(), response.text().await.unwrap());
    assert!(status.is_success(), "{status} {text}");
    serde_json::from_str(&text).unwrap()
}

fn cookie(answer: &Response, name: &str) -> String {
    let cookies = answer.headers().get_all(header::SET_COOKIE).iter();
    let mut pairs = cookies.filter_map(|cookie| cookie.to_str().unwrap().split(';').next()?.split_once('='));
    pairs.find(|(found, _)| *found == name).unwrap().1.to_owned()
}

fn current_code(secret: &str) -> String {
    let secret = totp_rs::Secret::try_from_base32(secret).unwrap();
    let totp = totp_rs::Builder::new().with_secret(secret).with_account_name("test").build().unwrap();
    totp.generate_current().to_string()
}

async fn mailed_token(stack: &Stack, page: &str) -> String {
    token_to(stack, EMAIL, page).await
}

/// The token in the link to a page of the frontend, in any mail to `address`.
async fn token_to(stack: &Stack, address: &str, page: &str) -> String {
    let wanted = format!("{page}#token=");
    eventually("the mail arrives", Duration::from_secs(20), || async {
        let mails = stack.mails(address).await;
        let mut links = mails.iter().flat_map(|mail| &mail.links);
        links.find_map(|link| link.split_once(&wanted).map(|(_, token)| token.to_owned()))
    })
    .await
}

async fn stop_the_mailer_and_ask_for_mails(stack: &Stack) {
    stack.signal("MAILER_PID", Signal::STOP);
    for number in 0..MAILS_FOR_THE_QUEUE {
        journey::register(stack, &format!("queued{number}@example.com")).await;
    }
}

/// Every row of every table, every key of Redis, every message that a queue gives.
async fn dump(stack: &Stack) -> String {
    let tables = "SELECT schemaname || '.' || quote_ident(tablename) FROM pg_tables
                  WHERE schemaname IN ('auth', 'session', 'mailer', 'audit', 'public') ORDER BY 1";
    let mut dump = String::new();
    for table in stack.sql(tables).await {
        for row in stack.sql(&format!("SELECT row_to_json(t)::text FROM {table} t")).await {
            dump.push_str(&row);
            dump.push('\n');
        }
    }
    let redis = redis::Client::open(stack.variable("REDIS_URL")).unwrap();
    let mut redis = redis.get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut redis).await.unwrap();
    for key in keys {
        let value: redis::Value = redis::cmd("DUMP").arg(&key).query_async(&mut redis).await.unwrap();
        writeln!(dump, "{key} {value:?}").unwrap();
    }
    dump + &queued(stack).await
}

/// The messages that wait for the mailer; they stay where they are.
async fn queued(stack: &Stack) -> String {
    let management = stack.variable("AMQP_MGMT_URL");
    let vhost = stack.variable("AMQP_URL").rsplit('/').next().unwrap().to_owned();
    let vhost = if vhost.is_empty() { "%2F".to_owned() } else { vhost };
    eventually("mails wait in the queue", Duration::from_secs(20), || async {
        let url = format!("{management}/api/queues/{vhost}/mailer.send.security/get");
        let request = json!({"count": 100, "ackmode": "ack_requeue_true", "encoding": "auto"});
        let messages = reqwest::Client::new().post(url).json(&request).send().await.unwrap();
        let messages = messages.text().await.unwrap();
        messages.contains("mail.send").then_some(messages)
    })
    .await
}

/// Presents each string of the dump wherever a secret is accepted; says how many there were.
async fn nothing_in_it_is_accepted(stack: &Stack, dump: &str) -> usize {
    let strings = Regex::new(r"[A-Za-z0-9+/_=.~-]{20,}").unwrap();
    let candidates: BTreeSet<&str> = strings.find_iter(dump).map(|found| found.as_str()).collect();
    // What is stored as bytes is dumped in hexadecimal.
    let decoded: BTreeSet<String> = candidates
        .iter()
        .filter_map(|candidate| String::from_utf8(hex::decode(candidate.trim_start_matches('x')).ok()?).ok())
        .collect();
    let candidates: BTreeSet<String> =
        candidates.into_iter().map(str::to_owned).chain(decoded).filter(|text| text.len() < 4_000).collect();
    let count = candidates.len();
    futures::stream::iter(candidates)
        .for_each_concurrent(16, |candidate| async move { is_refused_everywhere(stack, &candidate).await })
        .await;
    count
}

async fn is_refused_everywhere(stack: &Stack, candidate: &str) {
    let new_password = "a password of the thief";
    let attempts = [
        ("/v1/auth/refresh", json!({"refreshToken": candidate})),
        ("/v1/auth/verify-email", json!({"token": candidate, "newPassword": new_password})),
        ("/v1/auth/reset-password", json!({"token": candidate, "newPassword": new_password})),
        ("/v1/auth/secure-account", json!({"token": candidate})),
        ("/v1/auth/change-email/confirm", json!({"token": candidate})),
        ("/v1/auth/change-email/undo", json!({"token": candidate})),
        ("/v1/auth/me/restore", json!({"token": candidate})),
        ("/v1/auth/2fa/verify", json!({"challengeId": candidate, "otp": "000000"})),
    ];
    for (path, body) in attempts {
        let answer = stack.post(path, &body).await;
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!([400, 401].contains(&status.as_u16()), "{path} {candidate}: {status} {text}");
        assert!(!text.contains("otp_invalid"), "{path} {candidate}: a live challenge");
    }
    let Ok(bearer) = header::HeaderValue::from_str(&format!("Bearer {candidate}")) else { return };
    let me = stack.api(Method::GET, "/v1/auth/me").header(header::AUTHORIZATION, bearer);
    assert_eq!(me.send().await.unwrap().status(), StatusCode::UNAUTHORIZED, "{candidate}");
}
