//! The steps of a user.

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::Stack;

pub const PASSWORD: &str = "SecurePassword123";

/// Registers, follows the mail, and logs in; the tokens.
pub async fn logged_in(stack: &Stack, email: &str) -> Value {
    let handle = register(stack, email).await;
    verify(stack, email, &handle).await;
    login(stack, email).await
}

/// Registers; the handle.
pub async fn register(stack: &Stack, email: &str) -> String {
    let answer = stack.post("/v1/auth/register", &registration(email)).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let answer: Value = answer.json().await.unwrap();
    answer.get("registrationHandle").and_then(Value::as_str).unwrap().to_owned()
}

/// The body of a registration.
#[must_use]
pub fn registration(email: &str) -> Value {
    json!({"email": email, "password": PASSWORD, "captchaToken": "DUMMY_TOKEN_FOR_TEST"})
}

/// Opens the account with the link of the newest mail.
pub async fn verify(stack: &Stack, email: &str, handle: &str) {
    let token = token_of(&stack.mail(email).await.links);
    let answer =
        stack.post("/v1/auth/verify-email", &json!({"token": token, "registrationHandle": handle})).await;
    assert_eq!(answer.status(), StatusCode::OK, "{}", answer.text().await.unwrap());
}

/// The token in the link of a verification mail.
#[must_use]
pub fn token_of(links: &[String]) -> String {
    let token = links.iter().find_map(|link| link.split_once("/verify-email#token="));
    token.unwrap_or_else(|| panic!("no verification link among {links:?}")).1.to_owned()
}

/// Logs in; the tokens.
pub async fn login(stack: &Stack, email: &str) -> Value {
    let answer = stack.post("/v1/auth/login", &json!({"email": email, "password": PASSWORD})).await;
    assert_eq!(answer.status(), StatusCode::OK, "{}", answer.text().await.unwrap());
    answer.json().await.unwrap()
}

/// One field of an answer, as text.
#[must_use]
pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_else(|| panic!("no {field} in {value}"))
}

/// Asks who one is.
pub async fn me(stack: &Stack, access_token: &str) -> Response {
    stack.api(Method::GET, "/v1/auth/me").bearer_auth(access_token).send().await.unwrap()
}
