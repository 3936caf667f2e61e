use std::collections::BTreeSet;

/// The role of somebody who may do everything.
pub const ADMIN: &str = "admin";
/// The role of everybody.
pub const USER: &str = "user";

/// The permissions that the shipped roles stand for; a role that is not known stands for none.
const ROLES: &[(&str, &[&str])] = &[
    (
        ADMIN,
        &[
            "audit.read",
            "emails.manage",
            "emails.read",
            "keys.manage",
            "roles.manage",
            "sessions.read",
            "sessions.revoke",
            "users.impersonate",
            "users.read",
            "users.unlock",
            "users.write",
        ],
    ),
    ("support", &["emails.read", "sessions.read", "users.read", "users.unlock"]),
    ("auditor", &["audit.read"]),
    (USER, &[]),
];

/// What somebody with `roles` may do, sorted.
#[must_use]
pub fn permissions_of(roles: &[String]) -> Vec<String> {
    let granted: BTreeSet<&str> = ROLES
        .iter()
        .filter(|(role, _)| roles.iter().any(|held| held == role))
        .flat_map(|(_, permissions)| permissions.iter().copied())
        .collect();
    granted.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_the_union_of_the_roles() {
        let of =
            |roles: &[&str]| permissions_of(&roles.iter().map(|role| (*role).to_owned()).collect::<Vec<_>>());
        assert!(of(&["user", "invented"]).is_empty());
        assert_eq!(of(&["auditor"]), ["audit.read"]);
        assert!(of(&["auditor", "support"]).contains(&"users.read".to_owned()));
        assert!(of(&["support"]).iter().all(|permission| of(&["admin"]).contains(permission)));
    }
}
