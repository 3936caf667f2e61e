use std::{str::FromStr, sync::Arc};

use prometheus::IntCounter;

use super::breach_filter::BreachFilter;
use crate::domain::{
    email_address::EmailAddress,
    plain_password::{PasswordError, PlainPassword},
};

/// What happens to a chosen password that the breach filter knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreachMode {
    /// There is no filter.
    Off,
    /// It is counted, logged and accepted.
    Warn,
    /// It is counted and refused.
    Enforce,
}

impl FromStr for BreachMode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self::Off),
            "warn" => Ok(Self::Warn),
            "enforce" => Ok(Self::Enforce),
            _ => Err("expected `off`, `warn` or `enforce`"),
        }
    }
}

/// Which passwords may be chosen: the rules that need no data of the deployment's own, and the breach filter where there is one.
#[derive(Clone, Default)]
pub struct PasswordPolicy {
    breaches: Option<Breaches>,
    found: Option<IntCounter>,
}

#[derive(Clone)]
struct Breaches {
    filter: Arc<BreachFilter>,
    is_enforced: bool,
}

impl PasswordPolicy {
    /// The rules with a breach filter; without one use the default.
    #[must_use]
    pub fn with_breach_filter(filter: BreachFilter, mode: BreachMode) -> Self {
        let breaches = match mode {
            BreachMode::Off => None,
            BreachMode::Warn | BreachMode::Enforce => {
                Some(Breaches { filter: Arc::new(filter), is_enforced: mode == BreachMode::Enforce })
            }
        };
        Self { breaches, found: None }
    }

    /// The same policy, which counts what the breach filter finds.
    #[must_use]
    pub fn counting(self, found: IntCounter) -> Self {
        Self { found: Some(found), ..self }
    }

    /// A password that somebody chooses for the account `email`. Does no work to speak of for what is too long.
    pub fn choose(
        &self,
        text: &str,
        email: &EmailAddress,
        display_name: Option<&str>,
    ) -> Result<PlainPassword, PasswordError> {
        let password = PlainPassword::chosen(text, email, display_name)?;
        let Some(breaches) = &self.breaches else { return Ok(password) };
        // Published hashes are of passwords as they were typed, which is not always NFKC.
        let is_known =
            [text.as_bytes(), password.as_bytes()].iter().any(|form| breaches.filter.contains(form));
        if !is_known {
            return Ok(password);
        }
        if let Some(found) = &self.found {
            found.inc();
        }
        if breaches.is_enforced {
            return Err(PasswordError::Breached);
        }
        tracing::warn!("A password was chosen that the breach filter knows");
        Ok(password)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BREACHED: &str = "three ﬁne old shoes";

    fn choose(mode: BreachMode, text: &str) -> (bool, u64) {
        let list = format!("{}:7\n", hex::encode(super::super::breach_filter::sha1(BREACHED.as_bytes())));
        let filter = BreachFilter::build(list.as_bytes(), 1).unwrap();
        let found = IntCounter::new("found", "found").unwrap();
        let policy = PasswordPolicy::with_breach_filter(filter, mode).counting(found.clone());
        let email = EmailAddress::parse("ada@example.test").unwrap();
        let outcome = policy.choose(text, &email, None);
        assert!(outcome.is_ok() || outcome.unwrap_err() == PasswordError::Breached);
        (policy.choose(text, &email, None).is_ok(), found.get())
    }

    #[test]
    fn a_breached_password_is_ignored_noted_or_refused() {
        assert_eq!(choose(BreachMode::Off, BREACHED), (true, 0));
        assert_eq!(choose(BreachMode::Warn, BREACHED), (true, 2));
        assert_eq!(choose(BreachMode::Enforce, BREACHED), (false, 2));
        assert_eq!(choose(BreachMode::Enforce, "three fine new shoes"), (true, 0));
    }
}
