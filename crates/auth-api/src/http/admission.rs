use actix_web::{
    dev::RequestHead,
    http::{Method, header},
};

use super::{edge_error::EdgeError, hosts::Hosts};

/// The largest head of a request: its target and its headers. Proxies allow as much.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Who probes and scrapes does so by address.
const FOR_ANY_HOST: &[&str] = &["/health", "/ready", "/metrics"];

/// What can be refused by the head of a request alone, before anything is done for it.
pub fn admit(request: &RequestHead, hosts: &Hosts) -> Result<(), EdgeError> {
    // It asks for a tunnel, which no route gives.
    if request.method == Method::CONNECT {
        return Err(EdgeError::MethodNotAllowed);
    }
    let headers = request.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    let target = request.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if headers.sum::<usize>() + target > MAX_HEAD_BYTES {
        return Err(EdgeError::HeadTooLarge);
    }
    let is_for_us =
        hosts.is_any() || FOR_ANY_HOST.contains(&request.uri.path()) || named_hosts(request, hosts);
    if is_for_us { Ok(()) } else { Err(EdgeError::MisdirectedRequest) }
}

/// Whether the header, and the target where it names a host too, name one of `hosts`.
fn named_hosts(request: &RequestHead, hosts: &Hosts) -> bool {
    let header = request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let target = request.uri.authority().map(actix_web::http::uri::Authority::as_str);
    header.is_some_and(|host| hosts.allow(host)) && target.is_none_or(|host| hosts.allow(host))
}
