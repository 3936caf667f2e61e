use std::{
    convert::Infallible,
    future::{Ready, ready},
};

use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    cookie::{Cookie, SameSite, time::Duration},
    dev::Payload,
};

use crate::domain::bearer_secret::DeviceToken;

const NAME: &str = "__Host-device";
const LIFETIME: Duration = Duration::days(180);

/// Which known device the browser of the request says it is, if what it says has the form of one. Alone it opens nothing: beside the right user it has a budget
/// of attempts of its own, spares the owner a mail and may stand for a second factor.
pub struct DeviceCookie(pub Option<DeviceToken>);

impl FromRequest for DeviceCookie {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let cookie = request.cookie(NAME);
        ready(Ok(Self(cookie.and_then(|cookie| DeviceToken::parse(cookie.value())))))
    }
}

/// Makes the browser that gets `answer` a known device.
pub fn set_device_cookie(answer: &mut HttpResponse, token: &DeviceToken) {
    // It fails only for a cookie that no header can hold, and ours is base64.
    if answer.add_cookie(&device_cookie(token)).is_err() {
        tracing::error!("The device cookie could not be set");
    }
}

/// The cookie that makes a browser a known device. `SameSite=Strict` costs nothing, because only scripts of our own frontend ever need it and no page is
/// opened with it; and other sites cannot make a browser spend its own device's budget.
fn device_cookie(token: &DeviceToken) -> Cookie<'static> {
    Cookie::build(NAME, token.expose().to_owned())
        .path("/")
        .secure(true)
        .http_only(true)
        .same_site(SameSite::Strict)
        .max_age(LIFETIME)
        .finish()
}
