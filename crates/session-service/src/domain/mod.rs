//! The rules: pure functions of their arguments, without I/O and without a clock.

pub mod access_token;
pub mod device;
pub mod key_rotation;
pub mod key_set;
pub mod lifetime;
pub mod refresh_line;
pub mod refresh_token;
pub mod session;
pub mod standing;
