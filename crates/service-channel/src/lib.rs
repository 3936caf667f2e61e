#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod answered_by;
mod attempts;
mod channel;
mod client_connection;
mod deadline;
mod error;
mod failure;
mod identity;
mod origin;
mod payload;
mod replica;
mod replicas;
mod resolution;
mod service_address;

pub use answered_by::AnsweredBy;
pub use channel::{Channel, connect_lazy};
pub use deadline::timeout_of;
pub use error::{ChannelError, IdentityError};
pub use identity::TlsIdentity;
pub use service_address::{ServiceAddress, ServiceAddressError};
