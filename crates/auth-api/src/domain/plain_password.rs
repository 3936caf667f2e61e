use std::fmt;

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use super::{email_address::EmailAddress, guessable_password::Guessable};

/// The fewest code points of a password that is the only factor (NIST SP 800-63B-4, section 3.1.1.2).
pub const MIN_CODE_POINTS: usize = 15;
/// The most code points; every one of them counts.
pub const MAX_CODE_POINTS: usize = 256;
/// The most bytes, so that normalisation and hashing have a bound.
pub const MAX_BYTES: usize = 1024;
const PRODUCT_NAME: &str = "featureauth";
/// A shorter name or address would forbid too many good passwords.
const MIN_CONTEXT_CODE_POINTS: usize = 4;

/// A password as a person typed it, in NFKC so that it is the same from every keyboard. It is wiped from memory when dropped.
#[derive(Clone)]
pub struct PlainPassword(Zeroizing<String>);

/// Why a password cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Fewer than [`MIN_CODE_POINTS`].
    #[error("the password is too short")]
    TooShort,
    /// More than [`MAX_CODE_POINTS`] or [`MAX_BYTES`].
    #[error("the password is too long")]
    TooLong,
    /// It contains U+0000, which many systems would cut it at.
    #[error("the password contains a NUL character")]
    ContainsNul,
    /// It is little more than the user's address or name, or the product's name.
    #[error("the password is easily guessed from its context")]
    Context,
    /// Everybody can guess it.
    #[error("the password is easily guessed: {0}")]
    Guessable(Guessable),
    /// It is known from a breach.
    #[error("the password is known from a breach")]
    Breached,
}

impl PlainPassword {
    /// A password that somebody presents to be compared. Only its size is checked, before any work is spent on it.
    pub fn presented(text: &str) -> Result<Self, PasswordError> {
        if text.len() > MAX_BYTES {
            return Err(PasswordError::TooLong);
        }
        if text.contains('\0') {
            return Err(PasswordError::ContainsNul);
        }
        let normalized = Zeroizing::new(text.nfkc().collect::<String>());
        if normalized.len() > MAX_BYTES || normalized.chars().count() > MAX_CODE_POINTS {
            return Err(PasswordError::TooLong);
        }
        Ok(Self(normalized))
    }

    /// A password that somebody chooses for the account `email`. Callers ask [`PasswordPolicy::choose`](crate::password::PasswordPolicy::choose),
    /// which knows of breaches too.
    pub(crate) fn chosen(
        text: &str,
        email: &EmailAddress,
        display_name: Option<&str>,
    ) -> Result<Self, PasswordError> {
        let password = Self::presented(text)?;
        if password.0.chars().count() < MIN_CODE_POINTS {
            return Err(PasswordError::TooShort);
        }
        let context = [email.as_str(), email.local_part(), display_name.unwrap_or_default(), PRODUCT_NAME];
        if context.into_iter().any(|word| password.is_little_more_than(word)) {
            return Err(PasswordError::Context);
        }
        match Guessable::judge(&password.0) {
            Some(why) => Err(PasswordError::Guessable(why)),
            None => Ok(password),
        }
    }

    /// The normalised bytes, for hashing.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Whether fewer than eight letters or digits remain when `word` is taken out.
    fn is_little_more_than(&self, word: &str) -> bool {
        let letters = |text: &str| -> String {
            text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
        };
        let (password, word) = (Zeroizing::new(letters(&self.0)), letters(word));
        word.chars().count() >= MIN_CONTEXT_CODE_POINTS
            && password.contains(&word)
            && password.replace(&word, "").chars().count() < 8
    }
}

impl fmt::Debug for PlainPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlainPassword")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(text: &str) -> Result<PlainPassword, PasswordError> {
        PlainPassword::chosen(
            text,
            &EmailAddress::parse("ada.lovelace@example.test").unwrap(),
            Some("Countess"),
        )
    }

    #[test]
    fn length_is_counted_in_code_points_after_normalisation() {
        assert!(chosen("SecurePassword123").is_ok());
        assert!(chosen("äbçdéfghïjk lmn").is_ok());
        assert!(chosen("a\u{308}bc\u{327}de\u{301}fghi\u{308}jk lmn").is_ok());
        assert_eq!(chosen(&"a\u{308}".repeat(14)).unwrap_err(), PasswordError::TooShort);
        assert_eq!(chosen("fourteen chars").unwrap_err(), PasswordError::TooShort);
        assert!(chosen(&"été à la plage, ".repeat(16)).is_ok());
        assert_eq!(chosen(&"x".repeat(257)).unwrap_err(), PasswordError::TooLong);
        assert_eq!(chosen(&"x".repeat(1025)).unwrap_err(), PasswordError::TooLong);
        // One code point that NFKC turns into eighteen.
        assert_eq!(chosen(&"\u{FDFA}".repeat(20)).unwrap_err(), PasswordError::TooLong);
        assert_eq!(chosen("a password with \0 inside").unwrap_err(), PasswordError::ContainsNul);
    }

    #[test]
    fn words_of_the_context_are_refused() {
        for text in [
            "ada.lovelace@example.test",
            "AdaLovelace-2030!!",
            "Countess1234567",
            "feature-auth-feature-auth",
        ] {
            assert_eq!(chosen(text).unwrap_err(), PasswordError::Context, "{text}");
        }
        assert!(chosen("ada.lovelace likes engines").is_ok());
    }

    #[test]
    fn one_password_from_every_keyboard() {
        let composed = PlainPassword::presented("p\u{E4}ssw\u{F6}rd ﬁle").unwrap();
        let decomposed = PlainPassword::presented("pa\u{308}sswo\u{308}rd file").unwrap();
        assert_eq!(composed.as_bytes(), decomposed.as_bytes());
        assert_eq!(format!("{composed:?}"), "PlainPassword");
    }
}
