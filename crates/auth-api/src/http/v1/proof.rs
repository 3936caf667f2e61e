//! What requests carry that protect an account.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    app::step_up::Proof,
    domain::{bearer_secret::DeviceToken, plain_password::PlainPassword},
    http::edge_error::EdgeError,
};

/// Proof of who asks.
#[derive(Deserialize, Default, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProofRequest {
    /// The password. Where a recent login is enough it may be missing for five minutes after one with all that the account has.
    #[schema(example = "SecurePassword123")]
    pub password: Option<String>,
    /// A code of the authenticator app, or a recovery code, where the account has a second factor.
    #[schema(example = "123456")]
    pub otp: Option<String>,
}

impl ProofRequest {
    /// The proof, from a browser that may be known.
    pub fn parse(self, device: Option<DeviceToken>) -> Result<Proof, EdgeError> {
        let password = self.password.as_deref().map(PlainPassword::presented).transpose();
        Ok(Proof { password: password.map_err(EdgeError::Password)?, otp: self.otp, device })
    }
}
