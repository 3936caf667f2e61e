//! What a request that may pass carries on to the service behind the proxy.

use access_tokens::AccessClaims;
use envoy_types::ext_authz::v3::{
    CheckResponseExt, OkHttpResponseBuilder,
    pb::{CheckResponse, HeaderAppendAction},
};
use tonic::Status;

use super::{checked_request::CheckedRequest, denial::Denial};

/// What services read. Whatever a client sends under these names goes no further.
const OURS: [&str; 6] = [
    "x-auth-user-id",
    "x-auth-session-id",
    "x-auth-aal",
    "x-auth-roles",
    "x-auth-permissions",
    "x-auth-time",
];

/// The request passes as nobody's.
pub fn anonymous(request: &CheckedRequest<'_>, strip_authorization: bool) -> CheckResponse {
    pass(request, OURS.map(|name| (name, String::new())), strip_authorization)
}

/// The request passes as the one that `claims` speak of, if headers can say who that is.
pub fn authenticated(
    request: &CheckedRequest<'_>,
    claims: &AccessClaims,
    strip_authorization: bool,
) -> Result<CheckResponse, Denial> {
    let [user_id, session_id, aal, roles, permissions, time] = OURS;
    let headers = [
        (user_id, claims.sub.to_string()),
        (session_id, claims.sid.to_string()),
        (aal, claims.aal.to_string()),
        (roles, list(&claims.roles)?),
        (permissions, list(&claims.permissions)?),
        (time, claims.auth_time.timestamp().to_string()),
    ];
    Ok(pass(request, headers, strip_authorization))
}

/// The proxy sets headers first and then removes, so that a header is either set or removed. One without a value is removed: a service that reads
/// nothing grants nothing.
fn pass(
    request: &CheckedRequest<'_>,
    headers: [(&'static str, String); 6],
    strip_authorization: bool,
) -> CheckResponse {
    let mut answer = OkHttpResponseBuilder::new();
    for (name, value) in headers {
        if value.is_empty() {
            answer.remove_header(name);
        } else {
            answer.add_header(name, value, Some(HeaderAppendAction::OverwriteIfExistsOrAdd), false);
        }
    }
    for name in request.look_alikes(&OURS) {
        answer.remove_header(name);
    }
    if strip_authorization {
        answer.remove_header("authorization");
    }
    let mut response = CheckResponse::with_status(Status::ok(""));
    response.set_http_response(answer);
    response
}

/// Names with commas between them. One with a comma in it would read as two of which none was granted, and without it the list would say less than is
/// true.
fn list(names: &[String]) -> Result<String, Denial> {
    let is_plain = |name: &str| name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
    match names.iter().find(|name| !is_plain(name)) {
        Some(name) => Err(Denial::NoHeader { name: name.clone() }),
        None => Ok(names.join(",")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_can_read_as_another_one() {
        let list = |names: &[&str]| list(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(list(&[]), Ok(String::new()));
        assert_eq!(list(&["user", "reports:read"]), Ok("user,reports:read".to_owned()));
        for name in ["user,admin", ",", "a\r\nx-auth-user-id: eve", "a\0", "a b", "é"] {
            assert_eq!(list(&["user", name]), Err(Denial::NoHeader { name: name.to_owned() }));
        }
    }
}
