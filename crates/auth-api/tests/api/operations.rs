use std::io::Read;

use flate2::read::GzDecoder;
use reqwest::StatusCode;
use serde_json::json;

use crate::harness::{TestApi, body, problem};

#[tokio::test(flavor = "multi_thread")]
async fn operators_and_machines_get_their_answers() {
    let api = TestApi::start().await;
    let health = api.get("/health").send().await.unwrap();
    assert_eq!(health.text().await.unwrap(), r#"{"status":"ok"}"#);
    assert_eq!(body(api.get("/ready").send().await.unwrap()).await, json!({"status": "ready"}));
    assert_eq!(body(api.get("/version").send().await.unwrap()).await["service"], "auth-api");

    let keys = api.get("/.well-known/paserk.json").send().await.unwrap();
    assert_eq!(keys.headers()["cache-control"], "public, max-age=300");
    assert_eq!(body(keys).await["keys"][0]["notBefore"], "2020-03-17T17:46:40Z");

    let config = body(api.get("/v1/auth/config").send().await.unwrap()).await;
    assert_eq!(config["captcha"], json!({"provider": "off", "siteKey": null}));
    assert_eq!(config["passwordPolicy"], json!({"minLength": 15, "maxLength": 256}));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documentation_is_served() {
    let api = TestApi::start().await;
    let document = body(api.get("/openapi.json").send().await.unwrap()).await;
    assert!(document["paths"]["/v1/auth/login"]["post"].is_object());
    let redirect = api.get("/docs").send().await.unwrap();
    assert_eq!(redirect.headers()["location"], "/docs/");
    let page = api.get("/docs/").send().await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    assert!(page.headers()["content-security-policy"].to_str().unwrap().contains("script-src 'self'"));
    assert_eq!(page.headers()["content-encoding"], "gzip");
    let packed = page.bytes().await.unwrap();
    let mut text = String::new();
    GzDecoder::new(packed.as_ref()).read_to_string(&mut text).unwrap();
    assert!(text.contains("swagger"));
    let script = api.get("/docs/swagger-ui-bundle.js").send().await.unwrap();
    assert_eq!(script.status(), StatusCode::OK);
    assert_eq!(api.get("/docs/../Cargo.toml").send().await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_type_of_a_problem_leads_to_its_page() {
    let api = TestApi::start().await;
    let list = api.get("/problems").send().await.unwrap();
    assert_eq!(list.headers()["content-type"], "text/html; charset=utf-8");
    assert!(list.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    let list = list.text().await.unwrap();
    for entry in auth_api::http::problem_codes::PROBLEM_CODES {
        let path = format!("/problems/{}", entry.code);
        assert!(list.contains(&format!("href=\"{path}\"")), "{path}");
        let page = api.get(&path).send().await.unwrap();
        assert_eq!(page.status(), 200);
        assert!(page.text().await.unwrap().contains(&format!("<h1>{}</h1>", entry.code)));
    }
    problem(api.get("/problems/%3Cscript%3E").send().await.unwrap(), 404, "not_found").await;
}
