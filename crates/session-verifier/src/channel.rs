use auth_proto::session::v1::session_service_client::SessionServiceClient;
use service_channel::{Channel, ServiceAddress, ServiceAddressError, connect_lazy};

use crate::{ConnectError, VerifierConfig};

pub(crate) type Client = SessionServiceClient<Channel>;

/// What changes nothing, so that a second replica may be asked too.
const READS: &[&str] = &[
    "/feature_auth.session.v1.SessionService/Validate",
    "/feature_auth.session.v1.SessionService/WatchRevocations",
];

/// A client of all the replicas that `config` names, without waiting for a connection. Must be called inside a tokio runtime.
pub(crate) fn client(config: &VerifierConfig) -> Result<Client, ConnectError> {
    let address = address(config)?;
    match &config.identity {
        Some(_) if !address.is_encrypted() => return Err(ConnectError::IdentityUnused(address.to_string())),
        None if address.is_encrypted() => return Err(ConnectError::IdentityMissing(address.to_string())),
        None if !config.may_be_plaintext() => {
            return Err(ConnectError::PlaintextInProduction(address.to_string()));
        }
        _ => {}
    }
    let channel = connect_lazy(&address, config.identity.as_ref())
        .map_err(|error| ConnectError::Identity(error.into()))?;
    Ok(SessionServiceClient::new(channel.repeating(READS)))
}

fn address(config: &VerifierConfig) -> Result<ServiceAddress, ConnectError> {
    config.addresses.parse().map_err(|error| match error {
        ServiceAddressError::Empty => ConnectError::NoAddress,
        ServiceAddressError::MixedSchemes => ConnectError::MixedSchemes,
        _ => ConnectError::Address(config.addresses.clone()),
    })
}
