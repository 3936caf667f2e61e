use std::time::Duration;

use auth_proto::session::v1::session_service_client::SessionServiceClient;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use url::Url;

use crate::{ConnectError, VerifierConfig};

pub(crate) type Client = SessionServiceClient<Channel>;

const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// A connection into nowhere is found out soon after the lease is over: the answers of `Validate` depend on the same connection.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// A client of all the replicas that `config` names, without connecting yet. Must be called inside a tokio runtime.
pub(crate) fn client(config: &VerifierConfig) -> Result<Client, ConnectError> {
    let addresses = config.addresses.split(',').map(str::trim).filter(|address| !address.is_empty());
    let endpoints = addresses.map(|address| endpoint(address, config)).collect::<Result<Vec<_>, _>>()?;
    let channel = match endpoints.as_slice() {
        [] => return Err(ConnectError::NoAddress),
        [endpoint] => endpoint.connect_lazy(),
        _ => Channel::balance_list(endpoints.into_iter()),
    };
    Ok(SessionServiceClient::new(channel))
}

fn endpoint(address: &str, config: &VerifierConfig) -> Result<Endpoint, ConnectError> {
    let wrong = || ConnectError::Address(address.to_owned());
    let url: Url = address.parse().map_err(|_| wrong())?;
    let endpoint = Endpoint::from_shared(url.as_str().to_owned())
        .map_err(|_| wrong())?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true);
    match (url.scheme(), &config.identity) {
        ("http", Some(_)) => Err(ConnectError::IdentityUnused(address.to_owned())),
        ("http", None) if config.may_be_plaintext() => Ok(endpoint),
        ("http", None) => Err(ConnectError::PlaintextInProduction(address.to_owned())),
        ("https", None) => Err(ConnectError::IdentityMissing(address.to_owned())),
        ("https", Some(identity)) => {
            let tls = ClientTlsConfig::new()
                .ca_certificate(Certificate::from_pem(&identity.ca))
                .identity(Identity::from_pem(&identity.certificate, &identity.key));
            endpoint.tls_config(tls).map_err(ConnectError::Identity)
        }
        _ => Err(wrong()),
    }
}
