use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
};
use service_error::{ErrorKind, Problem, ServiceError};

/// What the challenge says when the token is not good (RFC 6750, section 3.1).
const INVALID_TOKEN: &str = "Bearer error=\"invalid_token\"";
/// What the challenge says when the token is good and the proof behind it too old or too weak (RFC 9470).
const STEP_UP: &str = "Bearer error=\"insufficient_user_authentication\", max_age=300";

/// The answer that `error` is: a problem document and the headers that belong to it.
pub fn problem_answer(error: &dyn ServiceError, docs_url: &str, request_id: &str) -> HttpResponse {
    let problem = Problem::new(error, docs_url, request_id);
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = HttpResponse::build(status);
    if let Some(seconds) = problem.retry_after {
        answer.insert_header((header::RETRY_AFTER, seconds.to_string()));
    }
    if error.kind() == ErrorKind::Unauthenticated {
        let challenge = match error.reason() {
            "reauth_required" | "otp_required" => STEP_UP,
            "invalid_token" => INVALID_TOKEN,
            _ => "Bearer",
        };
        answer.insert_header((header::WWW_AUTHENTICATE, challenge));
    }
    let body = serde_json::to_string(&problem).unwrap_or_default();
    answer.content_type(Problem::MEDIA_TYPE).body(body)
}
