//! How issued tokens look in an answer.

use actix_web::HttpResponse;
use secrecy::ExposeSecret;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    app::begin_session::LoggedIn,
    clients::sessions::IssuedTokens,
    domain::bearer_secret::DeviceToken,
    http::{
        device_cookie::set_device_cookie,
        token_transport::{TokenTransport, refresh_cookie},
    },
    state::AppState,
};

/// The tokens of a session.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionTokens {
    /// PASETO v4.public, for `Authorization: Bearer`.
    #[schema(example = "v4.public.eyJpc3MiOiJodHRwczovL2F1dGguZXhhbXBsZS5jb20iLCJz…")]
    access_token: String,
    /// Exchanged at `/v1/auth/refresh`; good once. Missing where the request said `X-Token-Transport: cookie`: then only the cookie has it.
    #[schema(example = "far_AQGZ8rR6HH0-jwA7Hwydaj0…", nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    /// Always `Bearer`.
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds until the access token expires.
    #[schema(example = 296)]
    expires_in: u64,
}

/// [`answer`] for somebody who just logged in: a browser that was not known becomes a known device, and one that is, by `presented`, stays one for another
/// while.
pub fn logged_in<B: Serialize>(
    state: &AppState,
    session: &LoggedIn,
    presented: Option<&DeviceToken>,
    transport: TokenTransport,
    body: impl FnOnce(SessionTokens) -> B,
) -> HttpResponse {
    let mut answer = answer(state, &session.tokens, transport, body);
    if let Some(device) = session.device.as_ref().or(presented) {
        set_device_cookie(&mut answer, device);
    }
    answer
}

/// 200 with the tokens, which `body` may put into something larger; with the refresh token only in the cookie where `transport` says so.
pub fn answer<B: Serialize>(
    state: &AppState,
    issued: &IssuedTokens,
    transport: TokenTransport,
    body: impl FnOnce(SessionTokens) -> B,
) -> HttpResponse {
    let mut answer = HttpResponse::Ok();
    let refresh_token = match transport {
        TokenTransport::Body => Some(issued.refresh_token.expose_secret().to_owned()),
        TokenTransport::Cookie => {
            let lifetime =
                issued.refresh_expires_at.map(|end| (end - state.clock.now()).num_seconds().max(0));
            answer.cookie(refresh_cookie(&issued.refresh_token, lifetime));
            None
        }
    };
    answer.json(body(SessionTokens {
        access_token: issued.access_token.expose_secret().to_owned(),
        refresh_token,
        token_type: "Bearer",
        expires_in: issued.expires_in,
    }))
}
