use url::Url;

const MAX_ISSUER_BYTES: usize = 128;
const MAX_AUDIENCE_BYTES: usize = 64;

/// For whom and where tokens are good. A token of another environment or issuer does not verify, even under the same key.
#[derive(Debug, Clone)]
pub struct TokenScope {
    /// `iss`.
    pub issuer: String,
    /// `aud`.
    pub audience: String,
    implicit_assertion: String,
}

/// A text that cannot be the issuer or the audience of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrongScope {
    /// The issuer.
    #[error("must be a URL of at most {MAX_ISSUER_BYTES} characters without `|`")]
    Issuer,
    /// The audience.
    #[error("must be 1 to {MAX_AUDIENCE_BYTES} visible ASCII characters")]
    Audience,
}

impl TokenScope {
    /// Whether `issuer` can be an issuer. The text itself is the claim, to the letter: a URL that was parsed and written again may have gained a slash.
    pub fn check_issuer(issuer: &str) -> Result<(), WrongScope> {
        // The implicit assertion has `|` between its parts.
        let good = issuer.len() <= MAX_ISSUER_BYTES && !issuer.contains('|') && Url::parse(issuer).is_ok();
        if good { Ok(()) } else { Err(WrongScope::Issuer) }
    }

    /// Whether `audience` can be an audience.
    pub fn check_audience(audience: &str) -> Result<(), WrongScope> {
        let good = (1..=MAX_AUDIENCE_BYTES).contains(&audience.len())
            && audience.bytes().all(|byte| byte.is_ascii_graphic());
        if good { Ok(()) } else { Err(WrongScope::Audience) }
    }

    /// The tokens of `issuer` for `audience` in `environment` (`development` or `production`).
    #[must_use]
    pub fn new(environment: &str, issuer: &str, audience: &str) -> Self {
        Self {
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            implicit_assertion: format!("{environment}|{issuer}|access"),
        }
    }

    /// What signatures cover and tokens do not contain (PASETO, "implicit assertions").
    #[must_use]
    pub fn implicit_assertion(&self) -> &[u8] {
        self.implicit_assertion.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuers_are_urls_and_audiences_are_visible() {
        for (issuer, good) in [
            ("https://auth.example", true),
            ("http://127.0.0.1:8000", true),
            ("auth.example", false),
            ("https://auth.example/a|b", false),
            (&format!("https://{}.example", "a".repeat(128)), false),
            ("", false),
        ] {
            assert_eq!(TokenScope::check_issuer(issuer).is_ok(), good, "{issuer}");
        }
        for (audience, good) in [
            ("feature-auth", true),
            ("", false),
            ("two words", false),
            ("ü", false),
            (&"a".repeat(65), false),
        ] {
            assert_eq!(TokenScope::check_audience(audience).is_ok(), good, "{audience}");
        }
    }
}
