//! Many sessions of one user, and what their owners do all day.

use std::sync::{Arc, PoisonError, RwLock};

use auth_proto::session::v1::{ValidateRequest, session_service_client::SessionServiceClient};
use futures::future::{BoxFuture, FutureExt};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use service_channel::Channel;
use tokio::sync::Mutex;

use crate::{
    Stack,
    balancer::{Balancer, Repeat},
    journey::{self, text},
};

/// What becomes of a request: nothing to complain about, or what is wrong.
pub type Done = BoxFuture<'static, Result<(), String>>;

/// The sessions.
pub struct Crowd(Vec<Arc<Held>>);

/// What the owner of a session has: the newest tokens.
struct Held {
    access_token: RwLock<String>,
    /// Exchanged by one request at a time, as a browser does.
    refresh_token: Mutex<String>,
}

impl Crowd {
    /// Registers a user, who logs in this often.
    pub async fn logged_in(stack: &Stack, email: &str, sessions: usize) -> Self {
        let mut all = vec![journey::logged_in(stack, email).await];
        while all.len() < sessions {
            all.push(journey::login(stack, email).await);
        }
        Self::of(&all)
    }

    /// The first user that a stack with `SEED_USERS` has, who logs in this often. No mail is needed for that.
    pub async fn seeded(stack: &Stack, sessions: usize) -> Self {
        let credentials = json!({"email": "user1@example.com", "password": "CorrectHorseBattery1"});
        let mut all = Vec::new();
        while all.len() < sessions {
            let answer = stack.post("/v1/auth/login", &credentials).await;
            assert_eq!(answer.status(), StatusCode::OK);
            all.push(answer.json::<Value>().await.unwrap());
        }
        Self::of(&all)
    }

    fn of(all: &[Value]) -> Self {
        let held = |tokens: &Value| Held {
            access_token: RwLock::new(text(tokens, "accessToken").to_owned()),
            refresh_token: Mutex::new(text(tokens, "refreshToken").to_owned()),
        };
        Self(all.iter().map(held).map(Arc::new).collect())
    }

    /// Asks auth-api who one is.
    #[must_use]
    pub fn me(&self, number: usize, balancer: &Balancer) -> Done {
        let (balancer, token) = (balancer.clone(), self.access_token(number));
        async move {
            let prepare = |http: &reqwest::Client, api: &str| {
                http.request(Method::GET, format!("{api}/v1/auth/me")).bearer_auth(&token)
            };
            let answer = balancer.send(Repeat::Harmless, prepare).await?;
            expect_ok("me", answer.status())
        }
        .boxed()
    }

    /// Exchanges a refresh token; the next request has the new one.
    #[must_use]
    pub fn refresh(&self, number: usize, balancer: &Balancer) -> Done {
        let (balancer, held) = (balancer.clone(), self.0.get(number % self.0.len()).cloned());
        async move {
            let held = held.ok_or("nobody is logged in")?;
            let mut token = held.refresh_token.lock().await;
            let prepare = |http: &reqwest::Client, api: &str| {
                http.request(Method::POST, format!("{api}/v1/auth/refresh"))
                    .json(&json!({"refreshToken": token.as_str()}))
            };
            let answer = balancer.send(Repeat::Harmful, prepare).await?;
            expect_ok("refresh", answer.status())?;
            let answer: Value = answer.json().await.map_err(|error| format!("refresh: {error:?}"))?;
            text(&answer, "refreshToken").clone_into(&mut token);
            let mut access_token = held.access_token.write().unwrap_or_else(PoisonError::into_inner);
            text(&answer, "accessToken").clone_into(&mut access_token);
            Ok(())
        }
        .boxed()
    }

    /// Asks session-service, as an internal service.
    pub fn validate(&self, number: usize, client: &SessionServiceClient<Channel>) -> Done {
        let (mut client, access_token) = (client.clone(), self.access_token(number));
        async move {
            let request = ValidateRequest { access_token, ..ValidateRequest::default() };
            let answer = client.validate(request).await;
            let answer =
                answer.map_err(|status| format!("validate: {:?} {}", status.code(), status.message()))?;
            answer.into_inner().active.then_some(()).ok_or_else(|| "validate: not active".to_owned())
        }
        .boxed()
    }

    /// Whether every session goes on: its newest refresh token is good.
    pub async fn is_still_logged_in(&self, balancer: &Balancer) -> Result<(), String> {
        for number in 0..self.0.len() {
            self.refresh(number, balancer).await?;
        }
        Ok(())
    }

    fn access_token(&self, number: usize) -> String {
        let held = self.0.get(number % self.0.len());
        let token = held.map(|held| held.access_token.read().unwrap_or_else(PoisonError::into_inner).clone());
        token.unwrap_or_default()
    }
}

fn expect_ok(what: &str, status: StatusCode) -> Result<(), String> {
    if status == StatusCode::OK { Ok(()) } else { Err(format!("{what}: {status}")) }
}
