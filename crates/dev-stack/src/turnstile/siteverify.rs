use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
    routing::post,
};
use chrono::{DateTime, SecondsFormat, Utc};
use clock::{Clock, SystemClock};
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

use super::{ALWAYS_FAILS, ALWAYS_PASSES, TOKEN_ALREADY_SPENT, TurnstileFault};

/// What Cloudflare's test site keys give to the page; only test secrets accept it.
const DUMMY_TOKEN: &str = "XXXX.DUMMY.TOKEN.XXXX";
const MAX_TOKEN_CHARACTERS: usize = 2048;
const REDIRECT_TARGET: &str = "/turnstile/v0/elsewhere";

/// What the fake remembers.
#[derive(Debug, Default)]
pub(super) struct Verifier {
    /// Tokens that passed.
    spent: Mutex<HashMap<String, Spent>>,
    fault: Mutex<Option<TurnstileFault>>,
    calls: AtomicUsize,
    last_remote_ip: Mutex<Option<String>>,
}

#[derive(Debug)]
struct Spent {
    idempotency_key: Option<Uuid>,
    at: DateTime<Utc>,
}

pub(super) async fn serve(listener: TcpListener, verifier: Arc<Verifier>) {
    // The short paths are for people.
    let routes = ["/turnstile/v0/siteverify", "/siteverify", "/"]
        .into_iter()
        .fold(Router::new(), |routes, path| routes.route(path, post(siteverify)))
        .route(REDIRECT_TARGET, post(answer_rightly))
        .with_state(verifier);
    // Ends only with the task that runs it.
    let _ = axum::serve(listener, routes).await;
}

async fn siteverify(State(verifier): State<Arc<Verifier>>, headers: HeaderMap, body: Bytes) -> Response {
    verifier.calls.fetch_add(1, Ordering::Relaxed);
    let fault = *verifier.fault.lock();
    match fault {
        None => answer_rightly(State(verifier), headers, body).await,
        Some(TurnstileFault::InternalError) => answer(StatusCode::OK, &refusal("internal-error")),
        Some(TurnstileFault::InternalErrorOnce) => {
            verifier.set_fault(None);
            answer_rightly(State(verifier), headers, body).await;
            answer(StatusCode::OK, &refusal("internal-error"))
        }
        Some(TurnstileFault::BadRequest) => answer(StatusCode::OK, &refusal("bad-request")),
        Some(TurnstileFault::ServerError) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Some(TurnstileFault::Stall) => std::future::pending().await,
        Some(TurnstileFault::Html) => Html("<!doctype html><title>Just a moment...</title>").into_response(),
        Some(TurnstileFault::InvalidJson) => {
            ([(header::CONTENT_TYPE, "application/json")], r#"{"success":true,"#).into_response()
        }
        // With this status, clients that follow it repeat the request's body.
        Some(TurnstileFault::Redirect) => Redirect::temporary(REDIRECT_TARGET).into_response(),
        Some(TurnstileFault::Oversized) => {
            let right = answer_rightly(State(verifier), headers, body).await.into_body().into_data_stream();
            let padding = stream::repeat_with(|| Ok(Bytes::from_static(&[b' '; 1024]))).take(1024);
            let content_type = [(header::CONTENT_TYPE, "application/json")];
            (content_type, Body::from_stream(right.chain(padding))).into_response()
        }
    }
}

/// What the endpoint says when nothing is wrong with it.
async fn answer_rightly(State(verifier): State<Arc<Verifier>>, headers: HeaderMap, body: Bytes) -> Response {
    match fields(&headers, &body) {
        Some(fields) => answer(StatusCode::OK, &verifier.verify(&fields, SystemClock.now())),
        None => answer(StatusCode::BAD_REQUEST, &refusal("bad-request")),
    }
}

impl Verifier {
    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    pub(super) fn last_remote_ip(&self) -> Option<String> {
        self.last_remote_ip.lock().clone()
    }

    pub(super) fn set_fault(&self, fault: Option<TurnstileFault>) {
        *self.fault.lock() = fault;
    }

    fn verify(&self, fields: &HashMap<String, String>, now: DateTime<Utc>) -> Value {
        let field = |name: &str| fields.get(name).map(String::as_str).filter(|value| !value.is_empty());
        *self.last_remote_ip.lock() = field("remoteip").map(str::to_owned);
        let Some(secret) = field("secret") else { return refusal("missing-input-secret") };
        let Some(token) = field("response") else { return refusal("missing-input-response") };
        let Ok(idempotency_key) = field("idempotency_key").map(Uuid::parse_str).transpose() else {
            return refusal("bad-request");
        };
        if token.chars().count() > MAX_TOKEN_CHARACTERS {
            return refusal("invalid-input-response");
        }
        match secret {
            ALWAYS_PASSES => success(now, "", "example.com", true),
            ALWAYS_FAILS => refusal("invalid-input-response"),
            TOKEN_ALREADY_SPENT => refusal("timeout-or-duplicate"),
            real if real.starts_with("0x") => self.verify_once(token, idempotency_key, now),
            _ => refusal("invalid-input-secret"),
        }
    }

    fn verify_once(&self, token: &str, idempotency_key: Option<Uuid>, now: DateTime<Utc>) -> Value {
        if token == DUMMY_TOKEN {
            return refusal("invalid-input-response");
        }
        let mut spent = self.spent.lock();
        let at = match spent.get(token) {
            Some(first) if first.idempotency_key.is_some() && first.idempotency_key == idempotency_key => {
                first.at
            }
            Some(_) => return refusal("timeout-or-duplicate"),
            None => {
                spent.insert(token.to_owned(), Spent { idempotency_key, at: now });
                now
            }
        };
        let (action, hostname) =
            token.split_once(':').and_then(|(claims, _)| claims.split_once('@')).unwrap_or(("", "localhost"));
        success(at, action, hostname, false)
    }
}

fn success(at: DateTime<Utc>, action: &str, hostname: &str, testing_key: bool) -> Value {
    let metadata = if testing_key { json!({ "result_with_testing_key": true }) } else { json!({}) };
    json!({
        "success": true,
        "challenge_ts": at.to_rfc3339_opts(SecondsFormat::Millis, true),
        "hostname": hostname,
        "action": action,
        "cdata": "",
        "error-codes": [],
        "metadata": metadata,
    })
}

fn refusal(code: &str) -> Value {
    json!({ "success": false, "error-codes": [code], "messages": [] })
}

fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// The request's fields, from a form or a JSON object of strings; `None` when it is neither.
fn fields(headers: &HeaderMap, body: &[u8]) -> Option<HashMap<String, String>> {
    let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?.to_ascii_lowercase();
    if content_type.starts_with("application/json") {
        serde_json::from_slice(body).ok()
    } else if content_type.starts_with("application/x-www-form-urlencoded") {
        Some(url::form_urlencoded::parse(body).into_owned().collect())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verify(verifier: &Verifier, fields: &[(&str, &str)]) -> Value {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        verifier.verify(&fields, DateTime::UNIX_EPOCH)
    }

    #[test]
    fn the_documented_secrets_and_missing_fields() {
        let cases: [(&[(&str, &str)], Value); 6] = [
            (&[("secret", ALWAYS_FAILS), ("response", "t")], json!(["invalid-input-response"])),
            (&[("secret", TOKEN_ALREADY_SPENT), ("response", "t")], json!(["timeout-or-duplicate"])),
            (&[("response", "t")], json!(["missing-input-secret"])),
            (&[("secret", "nonsense"), ("response", "t")], json!(["invalid-input-secret"])),
            (&[("secret", ALWAYS_PASSES), ("response", "")], json!(["missing-input-response"])),
            (
                &[("secret", ALWAYS_PASSES), ("response", "t"), ("idempotency_key", "no")],
                json!(["bad-request"]),
            ),
        ];
        let verifier = Verifier::default();
        for (fields, codes) in cases {
            let answer = verify(&verifier, fields);
            assert_eq!((&answer["success"], &answer["error-codes"]), (&json!(false), &codes), "{fields:?}");
        }
        let pass = [("secret", ALWAYS_PASSES), ("response", "t")];
        assert_eq!(verify(&verifier, &pass)["success"], true);
        assert_eq!(verify(&verifier, &pass)["success"], true, "test secrets forget");
    }

    #[test]
    fn a_token_passes_once_but_a_repeated_request_is_answered_again() {
        let verifier = Verifier::default();
        let key = ("idempotency_key", "0190b7a0-0000-7000-8000-000000000001");
        let first = [("secret", "0x4AAA"), ("response", "login@example.com:1"), key];
        let answer = verify(&verifier, &first);
        assert_eq!((&answer["action"], &answer["hostname"]), (&json!("login"), &json!("example.com")));
        assert_eq!(verify(&verifier, &first), answer);
        assert_eq!(verify(&verifier, &first[..2])["error-codes"], json!(["timeout-or-duplicate"]));
    }
}
