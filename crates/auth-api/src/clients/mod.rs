//! The services and providers that auth-api calls.

pub mod captcha;
pub mod sessions;
