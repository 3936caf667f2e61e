use std::time::Duration;

use access_tokens::{AccessClaims, Demands, TokenScope};
use auth_proto::session::v1::{InactiveReason, ValidateRequest, ValidateResponse};
use tokio::{sync::Semaphore, time::timeout};
use tonic::{Code, Request, Status};
use tracing::{debug, warn};

use crate::{Forbidden, VerifyError, channel::Client, messages};

/// How long a question may take in all.
const DEADLINE: Duration = Duration::from_millis(800);
/// Anybody can invent key ids. No more than so many of the questions that they cause run at once; they are not put through at the cost of everybody else.
const STRANGERS: usize = 64;

/// Asks session-service about single tokens.
pub(crate) struct Asking {
    client: Client,
    strangers: Semaphore,
}

impl Asking {
    pub fn new(client: Client) -> Self {
        Self { client, strangers: Semaphore::new(STRANGERS) }
    }

    /// What session-service says about the token. `is_strange` tokens name a key that nobody ever told us.
    pub async fn ask(
        &self,
        token: &str,
        demands: &Demands,
        authoritative: bool,
        is_strange: bool,
        scope: &TokenScope,
    ) -> Result<AccessClaims, VerifyError> {
        let _permit = if is_strange {
            Some(self.strangers.try_acquire().map_err(|_| VerifyError::Unavailable)?)
        } else {
            None
        };
        let request = ValidateRequest {
            access_token: token.to_owned(),
            min_aal: demands.min_aal,
            max_auth_age: demands.max_auth_age.map(messages::duration),
            required_permissions: demands.permissions.clone(),
            authoritative,
        };
        let mut question = Request::new(request);
        question.set_timeout(DEADLINE);
        // The deadline of a call is that of its answer's head.
        let answer = timeout(DEADLINE, self.client.clone().validate(question)).await;
        let answer = answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")));
        let response = answer.map_err(|status| unavailable(&status))?;
        judgement(response.into_inner(), demands, scope)
    }
}

fn unavailable(status: &Status) -> VerifyError {
    let error = status as &dyn std::error::Error;
    if matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled) {
        debug!(error, "Session-service cannot be asked about an access token");
    } else {
        warn!(error, "Session-service does not answer what it is asked about an access token");
    }
    VerifyError::Unavailable
}

fn judgement(
    response: ValidateResponse,
    demands: &Demands,
    scope: &TokenScope,
) -> Result<AccessClaims, VerifyError> {
    if response.active {
        return response.claims.and_then(|claims| messages::claims(claims, scope)).ok_or_else(|| {
            warn!("Session-service answered something that cannot be understood");
            VerifyError::Unavailable
        });
    }
    Err(match response.reason() {
        InactiveReason::Unspecified | InactiveReason::Invalid => VerifyError::Invalid,
        InactiveReason::Expired => VerifyError::Expired,
        InactiveReason::Revoked => VerifyError::Revoked,
        InactiveReason::InsufficientAal => Forbidden::InsufficientAal.into(),
        InactiveReason::AuthenticationTooOld => {
            let max_age = demands.max_auth_age.and_then(|age| age.to_std().ok()).unwrap_or_default();
            Forbidden::AuthenticationTooOld { max_age }.into()
        }
        InactiveReason::MissingPermission => {
            Forbidden::MissingPermission { permission: demands.permissions.join(" ") }.into()
        }
    })
}
