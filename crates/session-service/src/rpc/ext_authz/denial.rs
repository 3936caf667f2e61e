//! Why a request goes no further, and the answer that its client gets instead.

use std::borrow::Cow;

use access_tokens::Unmet;
use chrono::TimeDelta;
use envoy_types::ext_authz::v3::{
    CheckResponseExt, DeniedHttpResponseBuilder,
    pb::{CheckResponse, HeaderAppendAction, HttpStatusCode},
};
use service_error::{ErrorKind, Problem, ServiceError};
use tonic::Status;

use super::route::MalformedRoute;
use crate::app::validate::Inactive;

/// Why a request goes no further.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    #[error("the request has no access token")]
    MissingToken,
    #[error("the access token is not good")]
    InvalidToken,
    #[error("the access token is expired")]
    ExpiredToken,
    #[error("a permission is missing")]
    MissingPermission { required: Vec<String> },
    #[error("the assurance level is too low")]
    InsufficientAal,
    #[error("the authentication is too old")]
    AuthenticationTooOld { max_age: TimeDelta },
    #[error(transparent)]
    Misconfigured(#[from] MalformedRoute),
    #[error("the user's role or permission {name:?} cannot stand in a list in a header")]
    NoHeader { name: String },
}

impl Denial {
    /// What a client is told of a token that is not good, or not good enough for `max_auth_age` and `required` permissions. It does not hear of
    /// revocations: that is between the user and us.
    pub fn of(why: Inactive, max_auth_age: Option<TimeDelta>, required: Vec<String>) -> Self {
        match why {
            Inactive::Invalid | Inactive::Revoked => Self::InvalidToken,
            Inactive::Expired => Self::ExpiredToken,
            Inactive::Unmet(Unmet::Aal) => Self::InsufficientAal,
            Inactive::Unmet(Unmet::AuthAge) => {
                Self::AuthenticationTooOld { max_age: max_auth_age.unwrap_or_default() }
            }
            Inactive::Unmet(Unmet::Permission) => Self::MissingPermission { required },
        }
    }

    /// The answer to the proxy, and in it the one to the client.
    pub fn answer(&self, request_id: &str) -> CheckResponse {
        let status = match self.kind() {
            ErrorKind::Forbidden => HttpStatusCode::Forbidden,
            ErrorKind::Internal => HttpStatusCode::InternalServerError,
            _ => HttpStatusCode::Unauthorized,
        };
        let mut answer = DeniedHttpResponseBuilder::new();
        answer.set_http_status(status).set_body(self.problem(request_id));
        let challenge = self.challenge().map(|challenge| ("www-authenticate", challenge));
        let fixed =
            [("content-type", Problem::MEDIA_TYPE.into()), ("cache-control", Cow::Borrowed("no-store"))];
        for (name, value) in challenge.into_iter().chain(fixed) {
            answer.add_header(name, value, Some(HeaderAppendAction::OverwriteIfExistsOrAdd), false);
        }
        let mut response = CheckResponse::with_status(Status::new(self.kind().grpc_code(), self.reason()));
        response.set_http_response(answer);
        response
    }

    /// What the client must bring (RFC 6750, RFC 9470), if anything helps.
    fn challenge(&self) -> Option<Cow<'static, str>> {
        Some(match self {
            Self::MissingToken => "Bearer".into(),
            Self::InvalidToken | Self::ExpiredToken => "Bearer error=\"invalid_token\"".into(),
            Self::MissingPermission { required } => {
                format!("Bearer error=\"insufficient_scope\", scope=\"{}\"", required.join(" ")).into()
            }
            Self::InsufficientAal => {
                "Bearer error=\"insufficient_user_authentication\", acr_values=\"aal2\"".into()
            }
            Self::AuthenticationTooOld { max_age } => {
                let seconds = max_age.num_seconds();
                format!("Bearer error=\"insufficient_user_authentication\", max_age={seconds}").into()
            }
            Self::Misconfigured(_) | Self::NoHeader { .. } => return None,
        })
    }

    /// Its type is none of its own: `code` names it.
    fn problem(&self, request_id: &str) -> String {
        let problem = Problem { r#type: "about:blank".to_owned(), ..Problem::new(self, "", request_id) };
        serde_json::to_string(&problem).unwrap_or_default()
    }
}

impl ServiceError for Denial {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::MissingPermission { .. } => ErrorKind::Forbidden,
            Self::Misconfigured(_) | Self::NoHeader { .. } => ErrorKind::Internal,
            _ => ErrorKind::Unauthenticated,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::MissingToken => "missing_token",
            Self::InvalidToken | Self::ExpiredToken => "invalid_token",
            Self::MissingPermission { .. } => "missing_permission",
            Self::InsufficientAal => "otp_required",
            Self::AuthenticationTooOld { .. } => "reauth_required",
            Self::Misconfigured(_) | Self::NoHeader { .. } => "internal",
        }
    }

    fn public_detail(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::MissingToken => "This needs an access token.",
            Self::InvalidToken => "The access token is not good.",
            Self::ExpiredToken => "The access token is expired.",
            Self::MissingPermission { .. } => "The user may not do this.",
            Self::InsufficientAal => "This needs a second factor.",
            Self::AuthenticationTooOld { .. } => "This needs a fresh authentication.",
            Self::Misconfigured(_) | Self::NoHeader { .. } => ErrorKind::Internal.title(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_denial_says_what_to_bring() {
        let of = |why| Denial::of(why, Some(TimeDelta::minutes(5)), vec!["a".to_owned(), "b".to_owned()]);
        for (why, challenge) in [
            (Inactive::Invalid, "Bearer error=\"invalid_token\""),
            (Inactive::Expired, "Bearer error=\"invalid_token\""),
            (Inactive::Revoked, "Bearer error=\"invalid_token\""),
            (Inactive::Unmet(Unmet::Permission), "Bearer error=\"insufficient_scope\", scope=\"a b\""),
            (
                Inactive::Unmet(Unmet::Aal),
                "Bearer error=\"insufficient_user_authentication\", acr_values=\"aal2\"",
            ),
            (
                Inactive::Unmet(Unmet::AuthAge),
                "Bearer error=\"insufficient_user_authentication\", max_age=300",
            ),
        ] {
            assert_eq!(of(why).challenge().as_deref(), Some(challenge), "{why:?}");
        }
    }

    #[test]
    fn a_client_cannot_tell_a_revoked_token_from_a_forged_one() {
        let answer = |why| Denial::of(why, None, Vec::new()).answer("r");
        assert_eq!(answer(Inactive::Revoked), answer(Inactive::Invalid));
    }
}
