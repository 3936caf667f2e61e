//! How long a drill is. `make soak` has minutes for all of them; `make chaos` runs each in full.

use std::{fmt::Display, str::FromStr};

/// The value of a variable, or else what fits the soak.
///
/// # Panics
/// When the value cannot be understood.
#[must_use]
pub fn parameter<T: FromStr<Err: Display>>(variable: &str, in_the_soak: T) -> T {
    #[expect(clippy::disallowed_methods, reason = "drills have no configuration but this")]
    let Ok(value) = std::env::var(variable) else { return in_the_soak };
    value.parse().unwrap_or_else(|error| panic!("{variable}={value}: {error}"))
}
