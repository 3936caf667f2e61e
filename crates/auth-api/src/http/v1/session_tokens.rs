//! How issued tokens look in an answer.

use secrecy::ExposeSecret;
use serde::Serialize;
use utoipa::ToSchema;

use crate::clients::sessions::IssuedTokens;

/// The tokens of a session.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionTokens {
    /// PASETO v4.public, for `Authorization: Bearer`.
    #[schema(example = "v4.public.eyJpc3MiOiJodHRwczovL2F1dGguZXhhbXBsZS5jb20iLCJz…")]
    access_token: String,
    /// Exchanged at `/v1/auth/refresh`; good once.
    #[schema(example = "far_AQGZ8rR6HH0-jwA7Hwydaj0…")]
    refresh_token: String,
    /// Always `Bearer`.
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds until the access token expires.
    #[schema(example = 296)]
    expires_in: u64,
}

impl From<&IssuedTokens> for SessionTokens {
    fn from(issued: &IssuedTokens) -> Self {
        Self {
            access_token: issued.access_token.expose_secret().to_owned(),
            refresh_token: issued.refresh_token.expose_secret().to_owned(),
            token_type: "Bearer",
            expires_in: issued.expires_in,
        }
    }
}
