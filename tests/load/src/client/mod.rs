//! Connections to what is measured.

mod echo;
mod grpc;
mod http;
mod validate;

pub use echo::EchoClient;
pub use grpc::{Identity, channel};
pub use http::{HttpClient, HttpConnection, HttpTarget};
pub use validate::ValidateClient;
