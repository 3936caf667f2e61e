//! The REST edge: parses, calls one use case, maps the result.

mod api_error;
mod authenticated;
mod client_address;
mod edge;
mod edge_error;
mod json;
pub mod openapi;
mod operations;
mod request_client;
mod request_id;
mod security_headers;
pub mod v1;

use actix_web::web;
pub use api_error::ApiError;
pub use edge::{EdgeSettings, edge};
pub use operations::{KeyDirectory, MetricsAccess, OpenApiJson};
use utoipa_actix_web::service_config::ServiceConfig;

/// The largest body of a request, in bytes.
pub const MAX_BODY_BYTES: usize = 16 * 1024;

/// Every documented route.
pub fn documented_routes(config: &mut ServiceConfig<'_>) {
    config
        .service(v1::register::register)
        .service(v1::verify_email::redirect_to_frontend)
        .service(v1::verify_email::verify_email)
        .service(v1::login::login)
        .service(v1::refresh::refresh)
        .service(v1::logout::logout)
        .service(v1::me::me)
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
        .default_service(web::to(edge_error::no_route));
}
