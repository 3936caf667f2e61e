use std::net::IpAddr;

use auth_events::facts;
use auth_ids::Uuid;
use serde::Serialize;

use super::FilterInvalid;

const LONGEST: usize = 128;

/// What somebody typed into a search field, taken literally: no character of it means anything but itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FreeText(String);

impl FreeText {
    /// Up to 128 bytes without control characters; blanks around it are typing mistakes.
    pub fn parse(text: &str) -> Result<Self, FilterInvalid> {
        let text = text.trim();
        if text.is_empty() || text.len() > LONGEST || text.chars().any(char::is_control) {
            return Err(FilterInvalid { field: "q", why: "is not 1 to 128 bytes of text" });
        }
        Ok(Self(text.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text as an id.
    #[must_use]
    pub fn uuid(&self) -> Option<Uuid> {
        self.0.parse().ok()
    }

    /// The text as an address.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.0.parse().ok().map(|ip: IpAddr| ip.to_canonical())
    }

    /// The types of events that it is a part of. Their list is short and known, so that the log itself is never searched
    /// for parts of words.
    pub fn types(&self) -> impl Iterator<Item = &'static str> {
        let part = self.0.to_ascii_lowercase();
        facts::CATALOGUE.iter().map(|(name, _)| *name).filter(move |name| name.contains(&part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(text: &str) -> Vec<&'static str> {
        FreeText::parse(text).unwrap().types().collect()
    }

    #[test]
    fn it_is_a_part_of_a_type_and_no_pattern() {
        assert_eq!(types("Logout"), ["auth.logout"]);
        assert!(types("login").len() > 1);
        for pattern in ["%", "auth.%", "auth_login", ".*", "\\", "'"] {
            assert_eq!(types(pattern), Vec::<&str>::new(), "{pattern}");
        }
        assert!(types("_").iter().all(|name| name.contains('_')));
    }

    #[test]
    fn it_is_an_id_or_an_address_when_it_looks_like_one() {
        let text = |text: &str| FreeText::parse(text).unwrap();
        assert_eq!(text(" 00000000-0000-0000-0000-000000000007 ").uuid(), Some(Uuid::from_u128(7)));
        assert_eq!(text("::ffff:192.0.2.1").ip(), text("192.0.2.1").ip());
        assert_eq!((text("192.0.2.0/24").ip(), text("7").uuid()), (None, None));
    }

    #[test]
    fn what_nobody_types_is_refused() {
        for wrong in ["", "  ", "a\0b", "a\nb", &"x".repeat(129)] {
            assert_eq!(FreeText::parse(wrong).unwrap_err().field, "q");
        }
    }
}
