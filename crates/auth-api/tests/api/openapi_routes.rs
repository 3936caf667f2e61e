use reqwest::Method;
use serde_json::Value;

use crate::harness::{TestApi, body};

/// An operation that the document protects refuses a request without credentials, and no other one does.
#[tokio::test(flavor = "multi_thread")]
async fn the_document_and_the_routes_agree_on_who_needs_a_token() {
    let api = TestApi::start().await;
    let document = body(api.get("/openapi.json").send().await.unwrap()).await;
    let mut checked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let answer = api.request(method.clone(), path).send().await.unwrap();
            let is_protected = operation["security"].as_array().is_some_and(|schemes| !schemes.is_empty());
            assert_eq!(answer.status() == 401, is_protected, "{method} {path}");
            let responses = operation["responses"].as_object().unwrap();
            assert_eq!(
                responses.contains_key("401"),
                is_protected || may_refuse_credentials(path),
                "{method} {path}"
            );
            checked += 1;
        }
    }
    assert!(checked >= 12, "{checked}");
}

/// These refuse the credentials in their body.
fn may_refuse_credentials(path: &str) -> bool {
    ["/v1/auth/login", "/v1/auth/recovery-login", "/v1/auth/refresh"].contains(&path)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_is_described() {
    let api = TestApi::start().await;
    let document = body(api.get("/openapi.json").send().await.unwrap()).await;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let has = |field: &str| operation[field] != Value::Null;
            assert!(has("summary") && has("tags") && has("operationId"), "{method} {path}");
        }
    }
}
