//! The REST edge: parses, calls one use case, maps the result.

mod admission;
mod api_error;
mod authenticated;
mod client_address;
mod deadline;
mod device_cookie;
mod edge;
mod edge_error;
mod hosts;
mod idempotency;
mod json;
mod limits;
pub mod openapi;
mod operations;
mod origins;
mod problem_answer;
pub mod problem_codes;
mod problem_pages;
mod request_client;
mod request_id;
mod security_headers;
mod token_transport;
mod unread_body;
pub mod v1;

use actix_web::web;
pub use api_error::ApiError;
pub use deadline::deadline;
pub use edge::{EdgeSettings, edge};
pub use hosts::{Host, Hosts};
pub use operations::{MetricsAccess, OpenApiJson};
pub use origins::Origins;
use utoipa_actix_web::service_config::ServiceConfig;

/// The largest body of a request, in bytes.
pub const MAX_BODY_BYTES: usize = 16 * 1024;

/// Every documented route.
pub fn documented_routes(config: &mut ServiceConfig<'_>) {
    config
        .service(v1::register::register)
        .service(v1::verify_email::redirect_to_frontend)
        .service(v1::verify_email::verify_email)
        .service(v1::resend_verification::resend_verification)
        .service(v1::forgot_password::forgot_password)
        .service(v1::reset_password::reset_password)
        .service(v1::secure_account::secure_account)
        .service(v1::change_password::change_password)
        .service(v1::change_email::change_email)
        .service(v1::change_email::confirm_email_change)
        .service(v1::change_email::undo_email_change)
        .service(v1::login::login)
        .service(v1::two_factor_login::verify_second_factor)
        .service(v1::two_factor_login::recovery_login)
        .service(v1::second_factor::second_factor)
        .service(v1::second_factor::enable_init)
        .service(v1::second_factor::enable_complete)
        .service(v1::second_factor::disable)
        .service(v1::second_factor::new_recovery_codes)
        .service(v1::reauthenticate::reauthenticate)
        .service(v1::refresh::refresh)
        .service(v1::logout::logout)
        .service(v1::sessions::list_sessions)
        .service(v1::sessions::end_other_sessions)
        .service(v1::sessions::end_session)
        .service(v1::sessions::logout_all)
        .service(v1::me::me)
        .service(v1::me::update_profile)
        .service(v1::delete_account::delete_account)
        .service(v1::delete_account::restore_account)
        .service(v1::export::order_export)
        .service(v1::export::fetch_export)
        .service(v1::activity::activity)
        .service(v1::config::config)
        .service(operations::paserk)
        .service(operations::health)
        .service(operations::ready)
        .service(operations::version);
}

/// The routes that are not part of the documented interface.
pub fn undocumented_routes(config: &mut web::ServiceConfig) {
    config
        .service(operations::metrics)
        .service(operations::openapi_json)
        .service(operations::docs)
        .service(problem_pages::problems)
        .service(problem_pages::problem)
        .default_service(web::to(edge_error::no_route));
}
