//! What other parts of the platform do to users when they fail, in numbers.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod platform;
mod redis_away;
mod sessions_away;
