use service_channel::Channel;

use crate::{ServiceAddress, Transport};

/// A channel to the replicas of a service, without waiting for a connection; it carries the trace on. Must be called inside a tokio runtime.
/// Fails when the address and the transport contradict each other.
pub fn connect_lazy(address: &ServiceAddress, transport: &Transport) -> anyhow::Result<Channel> {
    let identity = match transport {
        Transport::Plaintext => None,
        Transport::MutualTls(identity) => Some(identity),
    };
    let channel = service_channel::connect_lazy(address, identity)?;
    Ok(channel.writing_headers(telemetry::propagation::inject_into_headers))
}
