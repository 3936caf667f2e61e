//! What clients of a service in actix-web get.

use std::time::Duration;

use access_tokens::AccessClaims;
use actix_web::{
    App, HttpResponse,
    dev::ServiceResponse,
    http::header,
    test::{TestRequest, call_service, init_service, read_body},
    web,
};
use auth_proto::session::v1::InactiveReason;
use chrono::TimeDelta;
use serde_json::Value;
use session_verifier::{
    Verifier,
    actix::{Authenticated, RequireAal2, RequirePermission, RequireRecent},
};

use crate::fake::{Answer, Fake, claims, config, now};

async fn whoami(Authenticated(session): Authenticated) -> HttpResponse {
    HttpResponse::Ok().body(session.user_id().to_string())
}

/// The status, the challenge and the body of the answer.
async fn answer(verifier: &Verifier, path: &str, headers: &[String]) -> (u16, Option<String>, String) {
    let guarded = || web::get().to(whoami);
    let app = App::new()
        .app_data(web::Data::new(verifier.clone()))
        .route("/whoami", guarded())
        .service(web::resource("/reports").wrap(RequirePermission::new("reports.read")).route(guarded()))
        .service(web::resource("/money").wrap(RequireAal2::new()).route(guarded()))
        .service(
            web::resource("/secrets")
                .wrap(RequireRecent::new(Duration::from_mins(5)))
                .wrap(RequireAal2::new())
                .route(guarded()),
        );
    let app = init_service(app).await;
    let mut request = TestRequest::get().uri(path);
    for header in headers {
        request = request.append_header((header::AUTHORIZATION, header.as_str()));
    }
    read(call_service(&app, request.to_request()).await).await
}

async fn read(response: ServiceResponse<impl actix_web::body::MessageBody>) -> (u16, Option<String>, String) {
    let status = response.status().as_u16();
    let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let challenge = header(header::WWW_AUTHENTICATE);
    if status != 200 {
        assert_eq!(header(header::CONTENT_TYPE).as_deref(), Some("application/problem+json"));
        assert_eq!(header(header::CACHE_CONTROL).as_deref(), Some("no-store"));
        assert_eq!(header(header::RETRY_AFTER).is_some(), status == 503);
    }
    (status, challenge, String::from_utf8(read_body(response).await.to_vec()).unwrap())
}

fn code(body: &str) -> String {
    let problem: Value = serde_json::from_str(body).unwrap();
    assert_eq!(problem["type"], "about:blank");
    problem["code"].as_str().unwrap().to_owned()
}

fn bearer(fake: &Fake, claims: &AccessClaims) -> [String; 1] {
    [format!("Bearer {}", fake.mint(claims))]
}

#[actix_web::test]
async fn a_handler_gets_the_session_of_a_good_token() {
    let fake = Fake::start().await;
    let verifier = fake.verifier().await;
    let claims = claims();
    for path in ["/whoami", "/reports"] {
        let (status, _, body) = answer(&verifier, path, &bearer(&fake, &claims)).await;
        assert_eq!((status, body), (200, claims.sub.to_string()), "{path}");
    }
}

#[actix_web::test]
async fn requests_without_one_good_token_are_told_what_is_wrong() {
    let fake = Fake::start().await;
    let verifier = fake.verifier().await;
    let mut old = claims();
    (old.iat, old.exp) = (now() - TimeDelta::minutes(5), now() - TimeDelta::seconds(1));
    for time in [&mut old.iat, &mut old.exp] {
        *time = chrono::SubsecRound::trunc_subsecs(*time, 0);
    }
    let [good] = bearer(&fake, &claims());
    let [expired] = bearer(&fake, &old);
    let not_good = "Bearer error=\"invalid_token\", error_description=\"The access token is not good\"";
    let is_expired = "Bearer error=\"invalid_token\", error_description=\"The access token is expired\"";
    for (headers, challenge, expected) in [
        (vec![], "Bearer", "missing_token"),
        (vec!["Basic YTpi".to_owned()], "Bearer", "missing_token"),
        (vec!["Bearer nonsense".to_owned()], not_good, "invalid_token"),
        (vec![good.clone(), good], not_good, "invalid_token"),
        (vec![expired], is_expired, "invalid_token"),
    ] {
        for path in ["/whoami", "/reports"] {
            let (status, given, body) = answer(&verifier, path, &headers).await;
            assert_eq!((status, given.as_deref()), (401, Some(challenge)), "{headers:?}");
            assert_eq!(code(&body), expected);
        }
    }
}

#[actix_web::test]
async fn what_is_required_of_a_session_is_told() {
    let fake = Fake::start().await;
    let verifier = fake.verifier().await;
    let mut poor = claims();
    poor.permissions.clear();
    let (status, challenge, body) = answer(&verifier, "/reports", &bearer(&fake, &poor)).await;
    assert_eq!((status, code(&body).as_str()), (403, "missing_permission"));
    assert_eq!(challenge.unwrap(), "Bearer error=\"insufficient_scope\", scope=\"reports.read\"");

    let (status, challenge, body) = answer(&verifier, "/secrets", &bearer(&fake, &poor)).await;
    assert_eq!((status, code(&body).as_str()), (401, "otp_required"));
    assert_eq!(challenge.unwrap(), "Bearer error=\"insufficient_user_authentication\", acr_values=\"aal2\"");

    let mut stale = claims();
    stale.aal = 2;
    assert_eq!(answer(&verifier, "/money", &bearer(&fake, &stale)).await.0, 200);
    let (status, challenge, body) = answer(&verifier, "/secrets", &bearer(&fake, &stale)).await;
    assert_eq!((status, code(&body).as_str()), (401, "reauth_required"));
    assert_eq!(challenge.unwrap(), "Bearer error=\"insufficient_user_authentication\", max_age=300");

    stale.auth_time = stale.iat;
    assert_eq!(answer(&verifier, "/secrets", &bearer(&fake, &stale)).await.0, 200);
}

#[actix_web::test]
async fn while_session_service_is_away_requests_are_asked_to_come_back() {
    let mut config = config("http://127.0.0.1:1");
    config.first_contact = Duration::ZERO;
    let verifier = Verifier::connect(config).await.unwrap();
    let token = [format!("Bearer {}", crate::fake::Key::new().mint(&claims()))];
    for path in ["/whoami", "/reports"] {
        let (status, challenge, body) = answer(&verifier, path, &token).await;
        assert_eq!((status, challenge), (503, None));
        assert_eq!(code(&body), "unavailable");
        assert!(body.contains("\"retryAfter\":1"), "{body}");
    }
}

#[actix_web::test]
async fn a_token_is_verified_once_for_each_request() {
    let fake = Fake::start().await;
    let verifier = fake.verifier().await;
    fake.answer(Answer::Inactive(InactiveReason::Revoked));
    let token = [format!("Bearer {}", crate::fake::Key::new().mint(&claims()))];
    assert_eq!(answer(&verifier, "/secrets", &token).await.0, 401);
    let mut strong = claims();
    (strong.aal, strong.auth_time) = (2, strong.iat);
    fake.answer_active(&strong);
    assert_eq!(answer(&verifier, "/secrets", &token).await.0, 200);
    assert_eq!(fake.asked(), 2);
}

#[actix_web::test]
async fn a_service_that_forgot_its_verifier_lets_nobody_pass() {
    let app = App::new()
        .route("/whoami", web::get().to(whoami))
        .service(web::resource("/money").wrap(RequireAal2::new()).route(web::get().to(whoami)));
    let app = init_service(app).await;
    for path in ["/whoami", "/money"] {
        let request = TestRequest::get().uri(path).append_header((header::AUTHORIZATION, "Bearer v4"));
        let (status, challenge, body) = read(call_service(&app, request.to_request()).await).await;
        assert_eq!((status, challenge, code(&body).as_str()), (500, None, "internal"));
    }
}
