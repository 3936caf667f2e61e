//! The seeded users, as clients over HTTP know them, and sessions, as session-service does.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, ensure};
use auth_proto::session::v1::{
    CreateSessionRequest, Device, Subject, Tokens, session_service_client::SessionServiceClient,
};
use futures::stream::{self, StreamExt, TryStreamExt};
use http::{HeaderValue, Method, Request, header};
use http_body_util::Full;
use hyper::body::Bytes;
use serde_json::{Value, json};
use tonic::transport::Channel;
use uuid::Uuid;

use super::{
    Bench,
    platform::{Platform, USERS},
};
use crate::client::{HttpConnection, HttpTarget, channel};

const CREATED_AT_ONCE: usize = 8;

/// The address of one of the seeded users, from 1 on; after the last one comes the first again.
pub(crate) fn email(number: u32) -> String {
    format!("user{}@example.com", in_turn(number))
}

fn in_turn(number: u32) -> u32 {
    number.wrapping_sub(1) % USERS + 1
}

/// A request with a body in JSON.
pub(crate) fn post(path: &'static str, body: &Value) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::from(body.to_string()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = http::Uri::from_static(path);
    request.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    request
}

/// The login of a seeded user.
pub(crate) fn login(number: u32) -> Request<Full<Bytes>> {
    let number = in_turn(number);
    let password = format!("CorrectHorseBattery{number}");
    post("/v1/auth/login", &json!({"email": email(number), "password": password}))
}

/// Hands out users in turn.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turns(Arc<AtomicU32>);

impl Turns {
    pub(crate) fn next(&self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed) % USERS + 1
    }
}

/// The tokens of somebody who logged in.
pub(crate) struct LoggedIn {
    pub(crate) access_token: String,
    pub(crate) refresh_token: String,
}

impl LoggedIn {
    pub(crate) fn read(answer: &[u8]) -> anyhow::Result<Self> {
        let answer: Value = serde_json::from_slice(answer)?;
        let token = |name: &str| {
            answer
                .get(name)
                .and_then(Value::as_str)
                .map(ToOwned::to_owned)
                .with_context(|| format!("no {name}"))
        };
        Ok(Self { access_token: token("accessToken")?, refresh_token: token("refreshToken")? })
    }
}

impl Platform {
    /// auth-api.
    pub(crate) fn api(&self) -> anyhow::Result<HttpTarget> {
        HttpTarget::parse(&self.variable("API_URL")?, None)
    }

    /// A new connection to session-service.
    pub(crate) fn session_channel(&self, identity: &str) -> anyhow::Result<Channel> {
        channel(&self.variable("SESSION_GRPC")?, &self.identity(identity)?)
    }
}

/// Users in browsers that logged in before, in turn.
#[derive(Clone)]
pub(crate) struct KnownBrowsers {
    cookies: Arc<[HeaderValue]>,
    turns: Turns,
}

impl KnownBrowsers {
    /// The next one's login.
    pub(crate) fn login(&self) -> Request<Full<Bytes>> {
        let turn = self.turns.next() as usize - 1;
        let index = turn % self.cookies.len();
        let mut request = login(u32::try_from(index + 1).unwrap_or(1));
        if let Some(cookie) = self.cookies.get(index) {
            request.headers_mut().insert(header::COOKIE, cookie.clone());
        }
        request
    }
}

impl Bench {
    /// Logs in the first users, so that their browsers are known from then on.
    pub(crate) async fn known_browsers(&self, count: u32) -> anyhow::Result<KnownBrowsers> {
        let mut connection = HttpConnection::new(self.platform.api()?);
        let mut cookies = Vec::new();
        for number in 1..=count {
            let answer = connection.exchange(login(number)).await?;
            let cookie = answer.headers().get(header::SET_COOKIE).context("a browser gets no cookie")?;
            let (value, _) = cookie.to_str()?.split_once(';').context("a cookie has no attributes")?;
            cookies.push(HeaderValue::from_str(value)?);
        }
        Ok(KnownBrowsers { cookies: cookies.into(), turns: Turns::default() })
    }

    /// Logs in the first users, one after the other.
    pub(crate) async fn logged_in(&self, count: u32) -> anyhow::Result<Vec<LoggedIn>> {
        let mut connection = HttpConnection::new(self.platform.api()?);
        let mut tokens = Vec::new();
        for number in 1..=count {
            let answer = connection.exchange(login(number)).await?;
            let status = answer.status();
            ensure!(status == http::StatusCode::OK, "a login was answered with {status}");
            tokens.push(LoggedIn::read(answer.body())?);
        }
        Ok(tokens)
    }

    /// The tokens of new sessions, each of a user that only session-service knows.
    pub(crate) async fn sessions(&self, count: usize) -> anyhow::Result<Vec<Tokens>> {
        let client = SessionServiceClient::new(self.platform.session_channel("auth-api")?);
        let creating = (0..count).map(|_| {
            let mut client = client.clone();
            async move {
                let answer = client.create_session(new_session()).await?.into_inner();
                answer.tokens.context("a session has no tokens")
            }
        });
        stream::iter(creating).buffered(CREATED_AT_ONCE).try_collect().await
    }
}

fn new_session() -> CreateSessionRequest {
    let user_id = Uuid::now_v7().to_string();
    CreateSessionRequest {
        subject: Some(Subject { user_id, roles: vec!["user".to_owned()], permissions: Vec::new() }),
        amr: vec!["pwd".to_owned()],
        aal: 1,
        device: Some(device()),
        ..CreateSessionRequest::default()
    }
}

/// The device of every session here.
pub(crate) fn device() -> Device {
    let text = |text: &str| text.to_owned();
    Device { name: text("benchmark"), ip: text("127.0.0.1"), user_agent: text("load") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_take_turns() {
        assert_eq!(email(1), "user1@example.com");
        assert_eq!(email(USERS), format!("user{USERS}@example.com"));
        assert_eq!(email(USERS + 1), "user1@example.com");
        let turns = Turns::default();
        assert_eq!((turns.next(), turns.next()), (1, 2));
    }
}
