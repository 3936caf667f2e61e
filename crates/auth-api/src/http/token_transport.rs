use std::future::{Ready, ready};

use actix_web::{
    FromRequest, HttpRequest,
    cookie::{Cookie, SameSite, time::Duration},
    dev::Payload,
    web,
};
use secrecy::{ExposeSecret, SecretString};

use super::{ApiError, Origins, edge_error::EdgeError};

/// The header that asks for cookies.
pub const HEADER: &str = "x-token-transport";
/// The prefix makes browsers refuse it from anybody but this host, over TLS, for every path.
const COOKIE: &str = "__Host-refresh";

/// How the refresh token travels. A request that asks for the cookie comes from a page of a listed origin, or it is refused; no other page can send the
/// header, because browsers would first ask whether it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenTransport {
    /// In the JSON of request and answer.
    Body,
    /// In a cookie that scripts cannot read.
    Cookie,
}

impl FromRequest for TokenTransport {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        ready(Self::of(request).map_err(ApiError::from))
    }
}

impl TokenTransport {
    fn of(request: &HttpRequest) -> Result<Self, EdgeError> {
        let mut given = request.headers().get_all(HEADER);
        match (given.next(), given.next()) {
            (None, _) => Ok(Self::Body),
            (Some(only), None) if only == "cookie" => {
                let origins = request.app_data::<web::Data<Origins>>().ok_or(EdgeError::Unexplained)?;
                origins.check(request.headers())?;
                Ok(Self::Cookie)
            }
            _ => Err(EdgeError::invalid(
                "X-Token-Transport",
                "token_transport_unknown",
                "The only transport to ask for is: cookie.",
            )),
        }
    }

    /// The refresh token of a request: that of its body, or, where the cookie was asked for, that of the cookie.
    pub fn refresh_token(
        self,
        request: &HttpRequest,
        in_body: Option<String>,
    ) -> Result<Option<SecretString>, EdgeError> {
        match (self, in_body) {
            (Self::Body, token) => Ok(token.map(SecretString::from)),
            (Self::Cookie, None) => {
                Ok(request.cookie(COOKIE).map(|cookie| SecretString::from(cookie.value().to_owned())))
            }
            (Self::Cookie, Some(_)) => Err(EdgeError::invalid(
                "refreshToken",
                "not_with_cookies",
                "With X-Token-Transport: cookie the token travels in the cookie only.",
            )),
        }
    }
}

/// The cookie that carries `token` for `seconds`, which is as long as the session may be idle; without an end when nobody knows.
pub fn refresh_cookie(token: &SecretString, seconds: Option<i64>) -> Cookie<'static> {
    let mut cookie = bare(token.expose_secret().to_owned());
    cookie.set_max_age(seconds.map(Duration::seconds));
    cookie
}

/// Makes the browser forget the cookie.
pub fn expired_refresh_cookie() -> Cookie<'static> {
    let mut cookie = bare(String::new());
    cookie.make_removal();
    cookie
}

fn bare(value: String) -> Cookie<'static> {
    Cookie::build(COOKIE, value).path("/").secure(true).http_only(true).same_site(SameSite::Strict).finish()
}
