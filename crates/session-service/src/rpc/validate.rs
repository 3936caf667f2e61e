use access_tokens::{AccessClaims, Demands, Unmet};
use auth_proto::session::v1::{Claims, InactiveReason, ValidateRequest, ValidateResponse};
use chrono::TimeDelta;
use prost_types::Duration;
use tonic::Status;

use super::{invalid_request::InvalidRequest, messages::timestamp, refuse};
use crate::{
    app::validate::{self, Inactive, Question, Validity},
    state::App,
};

pub async fn validate(app: &App, request: ValidateRequest) -> Result<ValidateResponse, Status> {
    let ValidateRequest { access_token, min_aal, max_auth_age, required_permissions, authoritative } =
        request;
    let max_auth_age = max_auth_age.map(parse_age).transpose()?;
    let demands = Demands { min_aal, max_auth_age, permissions: required_permissions };
    let question = Question { access_token, demands, authoritative };
    let validity = validate::validate(app, &question).await.map_err(refuse)?;
    Ok(match validity {
        Validity::Active(seen) => ValidateResponse {
            active: true,
            claims: Some(message(&seen.claims)),
            reason: InactiveReason::Unspecified.into(),
        },
        Validity::Inactive(why) => {
            ValidateResponse { active: false, claims: None, reason: reason(why).into() }
        }
    })
}

fn parse_age(age: Duration) -> Result<TimeDelta, InvalidRequest> {
    u32::try_from(age.nanos)
        .ok()
        .and_then(|nanos| TimeDelta::new(age.seconds, nanos))
        .filter(|age| *age >= TimeDelta::zero())
        .ok_or(InvalidRequest::new("max_auth_age", "must not be negative"))
}

fn reason(why: Inactive) -> InactiveReason {
    match why {
        Inactive::Invalid => InactiveReason::Invalid,
        Inactive::Expired => InactiveReason::Expired,
        Inactive::Revoked => InactiveReason::Revoked,
        Inactive::Unmet(Unmet::Aal) => InactiveReason::InsufficientAal,
        Inactive::Unmet(Unmet::AuthAge) => InactiveReason::AuthenticationTooOld,
        Inactive::Unmet(Unmet::Permission) => InactiveReason::MissingPermission,
    }
}

fn message(claims: &AccessClaims) -> Claims {
    Claims {
        user_id: claims.sub.to_string(),
        session_id: claims.sid.to_string(),
        token_id: claims.jti.to_string(),
        issued_at: Some(timestamp(claims.iat)),
        expires_at: Some(timestamp(claims.exp)),
        auth_time: Some(timestamp(claims.auth_time)),
        amr: claims.amr.clone(),
        aal: u32::from(claims.aal),
        roles: claims.roles.clone(),
        permissions: claims.permissions.clone(),
        epoch: claims.epoch,
    }
}
