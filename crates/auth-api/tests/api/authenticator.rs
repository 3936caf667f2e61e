//! An account with an authenticator app, and the app.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use chrono::TimeDelta;
use clock::{Clock, ManualClock};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use totp_rs::{Builder, Secret, Totp};

use crate::harness::{Changes, PASSWORD, TestApi, body};

pub const EMAIL: &str = "ada@example.test";
pub const VERIFY: &str = "/v1/auth/2fa/verify";
pub const RECOVERY_LOGIN: &str = "/v1/auth/recovery-login";
pub const ENABLE_INIT: &str = "/v1/auth/2fa/enable-init";
pub const ENABLE_COMPLETE: &str = "/v1/auth/2fa/enable-complete";
pub const DISABLE: &str = "/v1/auth/2fa/disable";
pub const RECOVERY_CODES: &str = "/v1/auth/2fa/recovery-codes";
/// The lifetime of a code.
pub const STEP: TimeDelta = TimeDelta::seconds(30);

/// An authenticator app, whose clock is that of the service.
pub struct Authenticator {
    totp: Totp,
    clock: Arc<ManualClock>,
}

impl Authenticator {
    pub fn new(secret: &str, clock: &Arc<ManualClock>) -> Self {
        let secret = Secret::try_from_base32(secret).unwrap();
        let totp = Builder::new().with_secret(secret).with_account_name("test").build().unwrap();
        Self { totp, clock: Arc::clone(clock) }
    }

    /// The code of now.
    pub fn code(&self) -> String {
        self.code_in(0)
    }

    /// The code `steps` from now.
    pub fn code_in(&self, steps: i32) -> String {
        let time = self.clock.now() + STEP * steps;
        self.totp.generate(u64::try_from(time.timestamp()).unwrap()).to_string()
    }

    /// A code that is wrong now.
    pub fn wrong_code(&self) -> String {
        let right = [self.code_in(-1), self.code(), self.code_in(1)];
        ["000000", "111111", "222222", "333333"]
            .map(str::to_owned)
            .into_iter()
            .find(|code| !right.contains(code))
            .unwrap()
    }
}

/// A running auth-api with one account, [`EMAIL`], whose second factor is on and whose app has an unused code.
pub struct ProtectedAccount {
    pub api: TestApi,
    pub clock: Arc<ManualClock>,
    pub app: Authenticator,
    pub recovery_codes: Vec<String>,
    /// The access token of the session that set it up.
    pub access_token: String,
}

/// auth-api on a clock that stands still.
pub async fn start() -> (TestApi, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new("2030-01-01T00:00:00Z".parse().unwrap()));
    let changes = Changes { clock: Some(Arc::clone(&clock) as Arc<dyn Clock>), ..Changes::default() };
    (TestApi::start_with(changes).await, clock)
}

impl ProtectedAccount {
    pub async fn new() -> Self {
        let (api, clock) = start().await;
        let (app, recovery_codes, access_token) = protect(&api, &clock, EMAIL).await;
        Self { api, clock, app, recovery_codes, access_token }
    }

    /// A password login's challenge.
    pub async fn challenge(&self) -> String {
        challenge(&self.api).await
    }

    /// Those of several logins. One after the other: of so many at once a slow machine would refuse some as too many.
    pub async fn challenges(&self, count: usize) -> Vec<String> {
        let mut challenges = Vec::new();
        for _ in 0..count {
            challenges.push(self.challenge().await);
        }
        challenges
    }

    pub async fn verify(&self, challenge: &str, otp: &str) -> Response {
        verify(&self.api, challenge, otp).await
    }

    /// A login with the app's next code; its access token.
    pub async fn log_in(&self) -> String {
        let answer = self.verify(&self.challenge().await, &self.app.code()).await;
        assert_eq!(answer.status(), StatusCode::OK);
        self.clock.advance(STEP);
        token(&body(answer).await, "accessToken")
    }

    pub async fn recover(&self, challenge: &str, code: &str) -> Response {
        let request = json!({"challengeId": challenge, "recoveryCode": code});
        anywhere(&self.api, RECOVERY_LOGIN).json(&request).send().await.unwrap()
    }
}

/// Registers `email` and turns its second factor on; the app, the recovery codes and the access token.
pub async fn protect(
    api: &TestApi,
    clock: &Arc<ManualClock>,
    email: &str,
) -> (Authenticator, Vec<String>, String) {
    api.verified_account(email).await;
    let tokens = api.login_tokens(email).await;
    set_up(api, clock, &token(&tokens, "accessToken")).await
}

/// Turns the second factor of the account of `access_token` on; the app, the recovery codes and the new access token.
pub async fn set_up(
    api: &TestApi,
    clock: &Arc<ManualClock>,
    access_token: &str,
) -> (Authenticator, Vec<String>, String) {
    let enrolment = body(by(api, access_token, ENABLE_INIT, None).await).await;
    let app = Authenticator::new(enrolment["secret"].as_str().unwrap(), clock);
    let request = json!({"challengeId": enrolment["challengeId"], "otp": app.code()});
    let answer = by(api, access_token, ENABLE_COMPLETE, Some(&request)).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let enabled = body(answer).await;
    let codes = enabled["recoveryCodes"].as_array().unwrap();
    let codes = codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect();
    clock.advance(STEP);
    (app, codes, token(&enabled, "accessToken"))
}

pub async fn challenge(api: &TestApi) -> String {
    let request = json!({"email": EMAIL, "password": PASSWORD});
    let answer = anywhere(api, "/v1/auth/login").json(&request).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let answer = body(answer).await;
    assert_eq!(answer["requires2fa"], true);
    token(&answer, "challengeId")
}

pub async fn verify(api: &TestApi, challenge: &str, otp: &str) -> Response {
    let request = json!({"challengeId": challenge, "otp": otp});
    anywhere(api, VERIFY).json(&request).send().await.unwrap()
}

/// A request with an access token.
pub async fn by(api: &TestApi, access_token: &str, path: &str, body: Option<&Value>) -> Response {
    let request = anywhere(api, path).bearer_auth(access_token);
    match body {
        Some(body) => request.json(body).send().await.unwrap(),
        None => request.send().await.unwrap(),
    }
}

/// A POST from a network of its own, so that no limit by address is in the way.
pub fn anywhere(api: &TestApi, path: &str) -> RequestBuilder {
    static NETWORKS: AtomicU32 = AtomicU32::new(1 << 24);
    let network = NETWORKS.fetch_add(1 << 8, Ordering::Relaxed);
    api.request(Method::POST, path)
        .header("x-forwarded-for", std::net::Ipv4Addr::from_bits(network | 7).to_string())
}

pub fn token(answer: &Value, field: &str) -> String {
    answer[field].as_str().unwrap().to_owned()
}
