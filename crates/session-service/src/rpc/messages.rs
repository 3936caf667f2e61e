//! What several methods receive or answer.

use std::str::FromStr;

use auth_events::Client;
use auth_proto::session::v1 as proto;
use chrono::{DateTime, TimeDelta, Utc};
use prost_types::{Duration, Timestamp};

use super::invalid_request::InvalidRequest;
use crate::{
    app::Tokens,
    domain::{device::Device, session::Session},
};

const MAX_DEVICE_NAME_CHARS: usize = 100;
const MAX_USER_AGENT_BYTES: usize = 512;
const MAX_REQUEST_ID_BYTES: usize = 128;
const MAX_NAME_BYTES: usize = 64;
const MAX_METHODS: usize = 8;
/// Room for names in a token, each with its quotes and comma, so that no token passes its limit.
const MAX_NAMES_BYTES: usize = 2048;
const MAX_REASON_BYTES: usize = 64;
/// What the audit log shows when the caller gives no reason.
const NO_REASON: &str = "unspecified";

pub fn parse_id<T: FromStr>(field: &'static str, text: &str) -> Result<T, InvalidRequest> {
    text.parse().map_err(|_| InvalidRequest::new(field, "must be a UUID"))
}

pub fn parse_device(device: Option<proto::Device>) -> Result<Device, InvalidRequest> {
    let Some(proto::Device { name, ip, user_agent }) = device else { return Ok(Device::default()) };
    if name.chars().count() > MAX_DEVICE_NAME_CHARS || name.chars().any(char::is_control) {
        return Err(InvalidRequest::new("device.name", "must be at most 100 printable characters"));
    }
    let ip = match ip.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|_| InvalidRequest::new("device.ip", "must be an IP address"))?),
    };
    // The header is the client's own; it is made fit rather than refused.
    let user_agent: String = user_agent.chars().filter(|char| !char.is_control()).collect();
    let end = user_agent.floor_char_boundary(MAX_USER_AGENT_BYTES);
    let user_agent = user_agent.get(..end).unwrap_or_default().to_owned();
    Ok(Device { name: present(name), ip, user_agent: present(user_agent) })
}

pub fn parse_client(device: &Device, request_id: String) -> Result<Client, InvalidRequest> {
    if request_id.len() > MAX_REQUEST_ID_BYTES || !request_id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(InvalidRequest::new("request_id", "must be at most 128 visible ASCII characters"));
    }
    Ok(Client { ip: device.ip, user_agent: device.user_agent.clone(), request_id: present(request_id) })
}

/// A code for the audit log.
pub fn parse_reason(reason: String) -> Result<String, InvalidRequest> {
    let Some(reason) = present(reason) else { return Ok(NO_REASON.to_owned()) };
    let code = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if reason.len() > MAX_REASON_BYTES || !reason.bytes().all(code) {
        return Err(InvalidRequest::new("reason", "must be a code in snake_case of at most 64 characters"));
    }
    Ok(reason)
}

/// How somebody authenticated.
pub fn parse_methods(methods: Vec<String>) -> Result<Vec<String>, InvalidRequest> {
    check_names("amr", &methods)?;
    if methods.is_empty() || methods.len() > MAX_METHODS {
        return Err(InvalidRequest::new("amr", "must name 1 to 8 methods"));
    }
    Ok(methods)
}

pub fn parse_aal(aal: u32) -> Result<u8, InvalidRequest> {
    let aal = u8::try_from(aal).ok().filter(|aal| matches!(aal, 1 | 2));
    aal.ok_or(InvalidRequest::new("aal", "must be 1 or 2"))
}

pub fn check_names(field: &'static str, names: &[String]) -> Result<(), InvalidRequest> {
    let good = |name: &String| {
        (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let rule = "must be names of 1 to 64 visible ASCII characters";
    if names.iter().all(good) { Ok(()) } else { Err(InvalidRequest::new(field, rule)) }
}

/// What a session grants: names that fit in a token.
pub fn check_grant(
    field: &'static str,
    roles: &[String],
    permissions: &[String],
    amr: &[String],
) -> Result<(), InvalidRequest> {
    let names = [roles, permissions, amr].into_iter().flatten();
    if names.map(|name| name.len() + 3).sum::<usize>() > MAX_NAMES_BYTES {
        return Err(InvalidRequest::new(field, "has more roles and permissions than fit in a token"));
    }
    Ok(())
}

/// A time, if there is one.
pub fn parse_time(
    field: &'static str,
    time: Option<Timestamp>,
) -> Result<Option<DateTime<Utc>>, InvalidRequest> {
    let Some(Timestamp { seconds, nanos }) = time else { return Ok(None) };
    let time = u32::try_from(nanos).ok().and_then(|nanos| DateTime::from_timestamp(seconds, nanos));
    time.map(Some).ok_or(InvalidRequest::new(field, "must be a time"))
}

pub fn present(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

pub fn tokens(tokens: Tokens) -> proto::Tokens {
    proto::Tokens {
        access_token: tokens.access,
        access_expires_in: Some(duration(tokens.access_expires_in)),
        refresh_token: tokens.refresh,
        refresh_expires_at: Some(timestamp(tokens.refresh_expires_at)),
    }
}

pub fn session(session: Session) -> proto::Session {
    let Device { name, ip, user_agent } = session.device;
    proto::Session {
        id: session.id.to_string(),
        user_id: session.user_id.to_string(),
        device: Some(proto::Device {
            name: name.unwrap_or_default(),
            ip: ip.map(|ip| ip.to_string()).unwrap_or_default(),
            user_agent: user_agent.unwrap_or_default(),
        }),
        created_at: Some(timestamp(session.created_at)),
        last_seen_at: Some(timestamp(session.last_seen_at)),
        expires_at: Some(timestamp(session.expires_at)),
        amr: session.grant.amr,
        aal: u32::from(session.grant.aal),
    }
}

pub fn timestamp(time: DateTime<Utc>) -> Timestamp {
    let nanos = i32::try_from(time.timestamp_subsec_nanos()).unwrap_or_default();
    Timestamp { seconds: time.timestamp(), nanos }
}

pub fn duration(delta: TimeDelta) -> Duration {
    Duration { seconds: delta.num_seconds(), nanos: delta.subsec_nanos() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str, ip: &str, user_agent: &str) -> Result<Device, InvalidRequest> {
        let [name, ip, user_agent] = [name, ip, user_agent].map(str::to_owned);
        parse_device(Some(proto::Device { name, ip, user_agent }))
    }

    #[test]
    fn a_long_user_agent_is_cut_between_characters_and_loses_what_is_not_text() {
        let agent = parse("", "", &format!("a\0\n{}", "é".repeat(300))).unwrap().user_agent.unwrap();
        assert_eq!((agent.len(), agent.starts_with("aé")), (511, true));
    }

    #[test]
    fn odd_devices_are_refused_by_field() {
        let long = "x".repeat(101);
        for (name, ip, field) in
            [(long.as_str(), "", "device.name"), ("a\0b", "", "device.name"), ("", "1.2.3", "device.ip")]
        {
            assert_eq!(parse(name, ip, "").unwrap_err().field, field);
        }
        assert_eq!(parse_device(None).unwrap(), Device::default());
        assert_eq!(parse("", "", "").unwrap(), Device::default());
    }
}
