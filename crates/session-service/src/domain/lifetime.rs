//! How long a session may live.

use chrono::TimeDelta;

/// The role whose sessions are short.
const ADMIN: &str = "admin";

/// How long a session lives without being refreshed, and at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    pub idle: TimeDelta,
    pub absolute: TimeDelta,
}

impl Lifetime {
    const REMEMBERED: Self = Self { idle: TimeDelta::days(14), absolute: TimeDelta::days(30) };
    const NOT_REMEMBERED: Self = Self { idle: TimeDelta::hours(12), absolute: TimeDelta::hours(12) };
    const PRIVILEGED: Self = Self { idle: TimeDelta::hours(1), absolute: TimeDelta::hours(12) };

    /// What no session with `roles` outlives; `None` where the roles do not matter.
    pub fn limit_of(roles: &[String]) -> Option<Self> {
        roles.iter().any(|role| role == ADMIN).then_some(Self::PRIVILEGED)
    }

    /// The lifetime of a session: the more it may do, the shorter.
    pub fn of(remember_me: bool, aal: u8, roles: &[String]) -> Self {
        if aal >= 2 || Self::limit_of(roles).is_some() {
            Self::PRIVILEGED
        } else if remember_me {
            Self::REMEMBERED
        } else {
            Self::NOT_REMEMBERED
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn privilege_beats_remember_me() {
        let user = ["user".to_owned()];
        let admin = ["user".to_owned(), "admin".to_owned()];
        let cases = [
            (true, 1, &user[..], Lifetime::REMEMBERED),
            (false, 1, &user, Lifetime::NOT_REMEMBERED),
            (true, 2, &user, Lifetime::PRIVILEGED),
            (true, 1, &admin, Lifetime::PRIVILEGED),
            (false, 2, &admin, Lifetime::PRIVILEGED),
            (true, 1, &[], Lifetime::REMEMBERED),
        ];
        for (remember_me, aal, roles, expected) in cases {
            assert_eq!(Lifetime::of(remember_me, aal, roles), expected, "{remember_me} {aal} {roles:?}");
        }
    }
}
