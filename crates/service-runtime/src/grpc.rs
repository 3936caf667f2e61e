//! gRPC servers and clients: mutual TLS, who may call what, deadlines, traces and metrics.

mod call;
mod caller;
mod channel;
mod connection;
mod deadline;
mod error;
mod health;
mod metrics;
mod policy;
mod server;

pub use caller::Caller;
pub use channel::connect_lazy;
pub use policy::MethodPolicy;
pub use server::{Server, ServerSettings};
pub use service_channel::Channel;

/// The largest message that a service accepts: `.max_decoding_message_size(MAX_MESSAGE_BYTES)`.
pub const MAX_MESSAGE_BYTES: usize = 65_536;
