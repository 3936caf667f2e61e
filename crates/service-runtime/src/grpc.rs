//! gRPC servers and clients: mutual TLS, who may call what, deadlines, traces and metrics.

mod attempts;
mod call;
mod caller;
mod channel;
mod client_connection;
mod connection;
mod deadline;
mod error;
mod failure;
mod health;
mod metrics;
mod origin;
mod payload;
mod policy;
mod replica;
mod replicas;
mod resolution;
mod server;

pub use caller::Caller;
pub use channel::{Channel, connect_lazy};
pub use policy::MethodPolicy;
pub use server::{Server, ServerSettings};

/// The largest message that a service accepts: `.max_decoding_message_size(MAX_MESSAGE_BYTES)`.
pub const MAX_MESSAGE_BYTES: usize = 65_536;
