//! The services and providers that auth-api calls.

pub mod audit;
pub mod captcha;
pub mod sessions;
