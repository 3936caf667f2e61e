//! While something is away, users go on; once it is back, every mail arrives and every fact is in the audit log, once.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::BTreeSet,
    time::{Duration, Instant, SystemTime},
};

use e2e::{
    Stack, audit,
    journey::{self, PASSWORD, text},
    stack::Stopped,
};
use reqwest::{Method, RequestBuilder, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};
use test_support::eventually;

const PATIENCE: Duration = Duration::from_mins(1);
/// A request has three seconds; its way has some too.
const DEADLINE: Duration = Duration::from_millis(3_500);
/// What cannot be done without session-service says so by then.
const SAYS_SO: Duration = Duration::from_secs(1);
const NEW_PASSWORD: &str = "four words nobody guesses";
const CAPTCHA: &str = "DUMMY_TOKEN_FOR_TEST";

/// A user who was there before, and how many mails they had.
struct User {
    email: String,
    id: String,
    refresh_token: String,
    mails: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_users_did_while_something_was_away_is_not_lost() {
    let stack = Stack::start(&[("RATE_LIMITS", "off".to_owned())]).await;
    let broker = user(&stack, "broker").await;
    let audit = user(&stack, "audit").await;
    let sessions = user(&stack, "sessions").await;
    let smtp = user(&stack, "smtp").await;
    // As if all this had been a minute ago: an address gets one mail a minute.
    stack.sql("DELETE FROM auth.mail_allowances").await;

    Box::pin(without_the_broker(&stack, &broker)).await;
    Box::pin(without_the_audit_log(&stack, &audit)).await;
    Box::pin(without_sessions(&stack, &sessions)).await;
    Box::pin(without_mail_and_captcha(&stack, &smtp)).await;

    for (user, mails) in [(&broker, 3), (&audit, 3), (&sessions, 1), (&smtp, 2)] {
        assert_eq!(mails_once(&stack, &user.email, user.mails + mails).await, user.mails + mails);
    }
    for user in [&broker, &audit, &smtp] {
        let types = audit::types_about(&stack, &user.id, 1).await;
        let changed = types.iter().filter(|it| *it == "user.password_changed").count();
        assert_eq!(changed, 1, "{}: {types:?}", user.email);
    }
    // The links that were asked for meanwhile are good.
    for user in [&broker, &audit, &sessions] {
        let token = reset_token(&stack, &user.email).await;
        let request = json!({"token": token, "newPassword": "another four words to guess"});
        let answer = in_time(stack.api(Method::POST, "/v1/auth/reset-password").json(&request)).await;
        assert_eq!(answer, StatusCode::OK, "{}", user.email);
    }
}

/// Whatever needs to know or to change what sessions there are says that it cannot; everything else goes on.
#[tokio::test(flavor = "multi_thread")]
async fn fx_ss_01_without_session_service_only_what_needs_it_is_away() {
    let stack = Stack::start(&[("RATE_LIMITS", "off".to_owned())]).await;
    let (ada, protected) = ("ada@example.com", "protected@example.com");
    let (seen, unseen) = (journey::logged_in(&stack, ada).await, journey::login(&stack, ada).await);
    assert_eq!(journey::me(&stack, text(&seen, "accessToken")).await.status(), StatusCode::OK);
    let (challenge, secret) = challenged(&stack, protected).await;
    // As if all this had been a minute ago.
    stack.sql("DELETE FROM auth.mail_allowances").await;
    ask_for_mails(&stack, ada, StatusCode::ACCEPTED).await;
    let reset = eventually("the link to reset a password", PATIENCE, || reset_link(&stack, ada)).await;
    let newcomer = "newcomer@example.com";
    let handle = journey::register(&stack, newcomer).await;
    stack.mail(newcomer).await;
    stack.sql("DELETE FROM auth.mail_allowances").await;

    let post = |path: &str, request: Value| stack.api(Method::POST, path).json(&request);
    let access = text(&seen, "accessToken");
    let refresh = json!({"refreshToken": text(&seen, "refreshToken")});
    let new_password = json!({"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD});
    let reset = json!({"token": reset, "newPassword": NEW_PASSWORD});
    let needs_it = [
        post("/v1/auth/login", json!({"email": ada, "password": PASSWORD})),
        post("/v1/auth/2fa/verify", json!({"challengeId": challenge, "otp": next_code(&secret)})),
        post("/v1/auth/refresh", refresh.clone()),
        post("/v1/auth/logout", refresh.clone()),
        post("/v1/auth/logout-all", json!({})).bearer_auth(access),
        post("/v1/auth/2fa/enable-init", json!({})).bearer_auth(access),
        post("/v1/auth/reauthenticate", json!({"password": PASSWORD})).bearer_auth(access),
        stack.api(Method::GET, "/v1/auth/2fa").bearer_auth(access),
        stack.api(Method::GET, "/v1/auth/sessions").bearer_auth(access),
        post("/v1/auth/change-password", new_password).bearer_auth(access),
        post("/v1/auth/reset-password", reset.clone()),
    ];
    let goes_on = async {
        // What was told before the end is told no more.
        tokio::time::sleep(Duration::from_secs(5)).await;
        for tokens in [&seen, &unseen] {
            assert_eq!(journey::me(&stack, text(tokens, "accessToken")).await.status(), StatusCode::OK);
        }
        for request in needs_it {
            let began = Instant::now();
            let answer = request.send().await.unwrap();
            let (url, took) = (answer.url().to_string(), began.elapsed());
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{url}");
            assert!(answer.headers().contains_key("retry-after"), "{url}");
            assert!(took <= SAYS_SO, "{url} took {took:?}");
        }
        ask_for_mails(&stack, protected, StatusCode::ACCEPTED).await;
        journey::verify(&stack, newcomer, &handle).await;
    };
    without(&stack, "SESSION_SERVICE_PID", goes_on).await;

    eventually("session-service is back", PATIENCE, || async {
        stack.is_ready("SESSION_MGMT").await.then_some(())
    })
    .await;
    eventually("who was logged in still is", PATIENCE, || async {
        (in_time(post("/v1/auth/refresh", refresh.clone())).await == StatusCode::OK).then_some(())
    })
    .await;
    // What could not be done has not been done, and can be done now.
    journey::login(&stack, ada).await;
    assert_eq!(in_time(post("/v1/auth/reset-password", reset)).await, StatusCode::OK);
}

/// While `scenario` goes on, a service is gone: whatever starts in its place is killed.
async fn without(stack: &Stack, pid: &str, scenario: impl Future<Output = ()>) {
    let killing = async {
        loop {
            stack.signal(pid, Signal::KILL);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = scenario => {}
        () = killing => {}
    }
}

/// A user with a second factor, who has given the password: the challenge, and the secret of the app.
async fn challenged(stack: &Stack, email: &str) -> (String, String) {
    let tokens = journey::logged_in(stack, email).await;
    let enrol = async |path: &str, request: Value| {
        let request = stack.api(Method::POST, path).json(&request);
        let answer = request.bearer_auth(text(&tokens, "accessToken")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.json::<Value>().await.unwrap()
    };
    let enrolment = enrol("/v1/auth/2fa/enable-init", json!({})).await;
    let secret = text(&enrolment, "secret").to_owned();
    let otp = code_at(&secret, SystemTime::now());
    let request = json!({"challengeId": text(&enrolment, "challengeId"), "otp": otp});
    enrol("/v1/auth/2fa/enable-complete", request).await;
    let challenge = journey::login(stack, email).await;
    (text(&challenge, "challengeId").to_owned(), secret)
}

/// The code after the one of now, which is accepted too: that of now has turned the second factor on.
fn next_code(secret: &str) -> String {
    code_at(secret, SystemTime::now() + Duration::from_secs(30))
}

fn code_at(secret: &str, time: SystemTime) -> String {
    let secret = totp_rs::Secret::try_from_base32(secret).unwrap();
    let app = totp_rs::Builder::new().with_secret(secret).with_account_name("test").build().unwrap();
    app.generate(time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()).to_string()
}

async fn user(stack: &Stack, name: &str) -> User {
    let email = format!("{name}@example.com");
    let tokens = journey::logged_in(stack, &email).await;
    let me: Value = journey::me(stack, text(&tokens, "accessToken")).await.json().await.unwrap();
    // The mail that verifies; the first device of an account is no news.
    let mails = stack.mails(&email).await.len();
    let refresh_token = text(&tokens, "refreshToken").to_owned();
    User { email, id: text(&me, "id").to_owned(), refresh_token, mails }
}

async fn without_the_broker(stack: &Stack, user: &User) {
    let pid = std::fs::read_to_string(stack.state().join("rabbitmq/pid")).unwrap();
    let stopped = Stopped::new(pid.trim().parse().unwrap());
    change_password(stack, &user.email).await;
    ask_for_mails(stack, &user.email, StatusCode::ACCEPTED).await;
    drop(stopped);
    mails_once(stack, &format!("new-{}", user.email), 1).await;
    mails_once(stack, &user.email, user.mails + 3).await;
    wait_for_fact(stack, &user.id, "user.password_changed").await;
}

async fn without_the_audit_log(stack: &Stack, user: &User) {
    let stopped = Stopped::service(stack, "AUDIT_SERVICE_PID");
    let access = change_password(stack, &user.email).await;
    ask_for_mails(stack, &user.email, StatusCode::ACCEPTED).await;
    let activity = || stack.api(Method::GET, "/v1/auth/activity").bearer_auth(&access);
    assert_eq!(in_time(activity()).await, StatusCode::SERVICE_UNAVAILABLE);
    let order = stack.api(Method::POST, "/v1/auth/me/export").bearer_auth(&access).send().await.unwrap();
    assert_eq!(order.status(), StatusCode::ACCEPTED);
    let order: Value = order.json().await.unwrap();
    drop(stopped);
    wait_for_fact(stack, &user.id, "user.password_changed").await;
    eventually("the activity is told", PATIENCE, || async {
        (in_time(activity()).await == StatusCode::OK).then_some(())
    })
    .await;
    let path = format!("/v1/auth/me/export/{}", text(&order, "id"));
    eventually("the copy of one's data is there", PATIENCE, || async {
        let copy = stack.api(Method::GET, &path).bearer_auth(&access).send().await.unwrap();
        let copy: Value = copy.json().await.unwrap();
        copy.get("document").is_some_and(|document| !document.is_null()).then_some(())
    })
    .await;
}

async fn without_sessions(stack: &Stack, user: &User) {
    let stopped = Stopped::service(stack, "SESSION_SERVICE_PID");
    let refresh = json!({"refreshToken": user.refresh_token});
    for (path, request) in [
        ("/v1/auth/login", json!({"email": user.email, "password": PASSWORD})),
        ("/v1/auth/refresh", refresh.clone()),
        ("/v1/auth/logout", refresh.clone()),
    ] {
        let answer = in_time(stack.api(Method::POST, path).json(&request)).await;
        assert_eq!(answer, StatusCode::SERVICE_UNAVAILABLE, "{path}");
    }
    ask_for_mails(stack, &user.email, StatusCode::ACCEPTED).await;
    mails_once(stack, &user.email, user.mails + 1).await;
    drop(stopped);
    eventually("who was logged in still is", PATIENCE, || async {
        let request = stack.api(Method::POST, "/v1/auth/refresh").json(&refresh);
        (in_time(request).await == StatusCode::OK).then_some(())
    })
    .await;
}

/// The mail catcher and the captcha provider are parts of the program that runs the stack.
async fn without_mail_and_captcha(stack: &Stack, user: &User) {
    let stopped = Stopped::new(stack.pid());
    change_password(stack, &user.email).await;
    ask_for_mails(stack, &user.email, StatusCode::SERVICE_UNAVAILABLE).await;
    drop(stopped);
    mails_once(stack, &user.email, user.mails + 2).await;
    wait_for_fact(stack, &user.id, "user.password_changed").await;
}

/// Logs in with a new device and changes the password, of both of which the owner hears; the access token.
async fn change_password(stack: &Stack, email: &str) -> String {
    let login =
        stack.api(Method::POST, "/v1/auth/login").json(&json!({"email": email, "password": PASSWORD}));
    let started = Instant::now();
    let tokens = login.send().await.unwrap();
    assert!(started.elapsed() < DEADLINE);
    assert_eq!(tokens.status(), StatusCode::OK, "{email}");
    let tokens: Value = tokens.json().await.unwrap();
    let request = json!({"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD});
    let change = stack.api(Method::POST, "/v1/auth/change-password").json(&request);
    let started = Instant::now();
    let changed = change.bearer_auth(text(&tokens, "accessToken")).send().await.unwrap();
    assert!(started.elapsed() < DEADLINE);
    assert_eq!(changed.status(), StatusCode::OK, "{email}");
    text(&changed.json().await.unwrap(), "accessToken").to_owned()
}

/// Asks for what sends a mail to whoever proves to be a person.
async fn ask_for_mails(stack: &Stack, email: &str, expected: StatusCode) {
    for (path, request) in [
        ("/v1/auth/register", journey::registration(&format!("new-{email}"))),
        ("/v1/auth/forgot-password", json!({"email": email, "captchaToken": CAPTCHA})),
    ] {
        let answer = in_time(stack.api(Method::POST, path).json(&request)).await;
        assert_eq!(answer, expected, "{path} {email}");
    }
}

async fn in_time(request: RequestBuilder) -> StatusCode {
    let started = Instant::now();
    let answer = request.send().await.unwrap();
    assert!(started.elapsed() < DEADLINE, "{} took {:?}", answer.url(), started.elapsed());
    answer.status()
}

/// Waits for `count` mails; how many there are, none of them twice.
async fn mails_once(stack: &Stack, address: &str, count: usize) -> usize {
    let mails = eventually(&format!("{count} mails to {address}"), PATIENCE, || async {
        Some(stack.mails(address).await).filter(|mails| mails.len() >= count)
    })
    .await;
    let ids: BTreeSet<&str> = mails.iter().map(|mail| mail.message_id.as_str()).collect();
    assert_eq!(ids.len(), mails.len(), "{address} got a mail twice");
    mails.len()
}

async fn wait_for_fact(stack: &Stack, user: &str, fact: &str) {
    eventually(&format!("{fact} is audited"), PATIENCE, || async {
        audit::events_about(stack, user).await.into_iter().find(|event| event.r#type == fact)
    })
    .await;
}

async fn reset_token(stack: &Stack, address: &str) -> String {
    reset_link(stack, address).await.unwrap()
}

/// The token of the newest link that resets a password, when there is one.
async fn reset_link(stack: &Stack, address: &str) -> Option<String> {
    let mails = stack.mails(address).await;
    let mut links = mails.iter().flat_map(|mail| &mail.links);
    links.find_map(|link| Some(link.split_once("/reset-password#token=")?.1.to_owned()))
}
